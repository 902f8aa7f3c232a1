/* timeout(), timeout_at() and wait_for(), as a C program meets them: blocks left in all ways, objects that outlive them, values as delays. */
#include "testing.h"

static double now(void) { return loop_time(asyncio_get_running_loop()); }

async_def(returns_from_inside, (double) delay)
{
    async_with (asyncio_timeout(delay)) {
        await(asyncio_sleep(1));
        return V("left by return");
    } end_with
    return V("not reached");
}

ASYNC_TEST(left_by_return)
{
    ck_repr(await(returns_from_inside(2)), "'left by return'");
    ck_raises(TimeoutError, await(returns_from_inside(0.5)));
    await(asyncio_sleep(10));                           /* the first one's timer is gone */
    return None;
}

ASYNC_TEST(left_by_break_and_continue)
{
    for (volatile int i = 0; i < 5; i++) {
        async_with (asyncio_timeout(1)) {
            if (i == 1) continue;
            if (i == 3) break;
            note(i);
        } end_with
    }
    await(asyncio_sleep(10));
    ck_notes("0|2");
    return None;
}

ASYNC_TEST(left_by_an_exception)
{
    ck_raises(KeyError, async_with (asyncio_timeout(1)) { throw(KeyError, "x"); } end_with);
    await(asyncio_sleep(10));
    return None;
}

ASYNC_TEST(a_delay_may_be_a_value)
{
    Value delays[] = {V(0.5), V(1), None};
    for (volatile int i = 0; i < 3; i++) {
        try {
            async_with (asyncio_timeout(delays[i])) {
                await(asyncio_sleep(5));
                note("slept");
            } end_with
        } except (TimeoutError) {
            note("timeout");
        } end_try
    }
    ck_notes("timeout|timeout|slept");
    ck_raises(TypeError, asyncio_timeout(V("soon")));
    ck_raises(TypeError, await(asyncio_wait_for(asyncio_sleep(0), V("soon"))));
    return None;
}

ASYNC_TEST(infinity_is_no_deadline)
{
    async_with (t, asyncio_timeout(NO_TIMEOUT)) {
        ck_assert(timeout_when(t) == NO_TIMEOUT);
        await(asyncio_sleep(86400 * 1000.0));
    } end_with
    ck_repr(await(asyncio_wait_for(asyncio_sleep(86400, V("done")), NO_TIMEOUT)), "'done'");
    return None;
}

ASYNC_TEST(rescheduling_inside_the_block)
{
    double before = now();
    async_with (t, asyncio_timeout(1)) {
        for (int i = 0; i < 5; i++) {
            await(asyncio_sleep(0.9));
            timeout_reschedule(t, now() + 1);           /* still alive: once more */
        }
    } end_with
    ck_assert_double_eq_tol(now() - before, 4.5, 1e-6);
    Timeout *t = asyncio_timeout(100);
    ck_raises(TimeoutError, async_with (t) { timeout_reschedule(t, now() - 5); await(asyncio_sleep(0)); } end_with);
    ck_assert_double_eq_tol(now() - before, 4.5, 1e-6);
    return None;
}

async_def(ignores_the_first_cancel)
{
    async_with (asyncio_timeout(1)) {
        try {
            await(asyncio_sleep(10));
        } except (CancelledError) {
            note("swallowed");
        } end_try
    } end_with
    note("on");
    await(asyncio_sleep(1));
    return V("value");
}

/* Swallowed inside the block, a deadline leaves no trace in the task. */
ASYNC_TEST(a_swallowed_deadline)
{
    Task *task = asyncio_create_task(ignores_the_first_cancel());
    ck_repr(await(task), "'value'");
    ck_assert_int_eq(task_cancelling(task), 0);
    ck_notes("swallowed|on");
    return None;
}

async_def(two_timeouts, (double) first, (double) second)
{
    try {
        async_with (asyncio_timeout(first)) {
            await(asyncio_sleep(5));
        } end_with
    } except (TimeoutError) {
        note("first");
    } end_try
    async_with (asyncio_timeout(second)) {
        await(asyncio_sleep(5));
    } end_with
    note("end");
    return None;
}

ASYNC_TEST(one_after_the_other)
{
    ck_raises(TimeoutError, await(two_timeouts(1, 1)));
    await(two_timeouts(1, 6));
    await(two_timeouts(6, 6));
    ck_notes("first|first|end|end");
    return None;
}

/* A chain of wait_for: the innermost that is late is the one that says so. */
ASYNC_TEST(wait_for_inside_wait_for)
{
    ck_repr(await(asyncio_wait_for(asyncio_wait_for(asyncio_wait_for(asyncio_sleep(1, V("x")), 4), 3), 2)), "'x'");
    double before = now();
    ck_raises(TimeoutError, await(asyncio_wait_for(asyncio_wait_for(asyncio_sleep(9), 1), 5)));
    ck_assert_double_eq_tol(now() - before, 1, 1e-6);
    return None;
}

/* The object outlives the block, and what it was about. */
ASYNC_TEST(asked_after_it_is_over)
{
    Value kept = list();
    scope {
        Timeout *t = asyncio_timeout(1);
        list_append(kept, t);
        ck_raises(TimeoutError, async_with (t) { await(asyncio_sleep(2)); } end_with);
    }
    Timeout *t = (Timeout *)list_get(kept, 0).object;
    ck_assert(timeout_expired(t));
    ck_assert_double_eq_tol(timeout_when(t), now(), 1e-6);
    return None;
}

async_def(three_awaits)
{
    async_with (asyncio_timeout(100)) {
        await(asyncio_sleep(1));
        async_with (asyncio_timeout(100)) {
            await(asyncio_sleep(1));
        } end_with
        await(asyncio_wait_for(asyncio_sleep(1), 100));
    } end_with
    return V("done");
}

/* Cancelled at each of its awaits in turn, the task ends cancelled, and at once. */
ASYNC_TEST(cancelled_at_every_await)
{
    for (int at = 0; at <= 4; at++) scope {
        double before = now();
        Task *task = asyncio_create_task(three_awaits());
        await(asyncio_sleep(at - 0.5));
        bool asked = task_cancel(task);
        await(asyncio_wait(list(task)));
        ck_assert_int_eq(asked, at < 4);
        ck_assert_int_eq(task_cancelled(task), at < 4);
        ck_assert_double_eq_tol(now() - before, at ? at - 0.5 : 0, 1e-6);
    }
    return None;
}

ASYNC_TEST(wait_for_a_thousand)
{
    Value tasks = list();
    for (int i = 0; i < 1000; i++) list_append(tasks, asyncio_create_task(asyncio_wait_for(asyncio_sleep(i % 2 ? 5 : 1, V(i)), 3)));
    Value results = await(asyncio_gather_list(tasks, .return_exceptions = true));
    for (int i = 0; i < 1000; i++) {
        if (i % 2) ck_assert(isinstance(list_get(results, i), TimeoutError));
        else ck_assert_int_eq(as_int(list_get(results, i)), i);
    }
    return None;
}

async_def(fails_soon) { await(asyncio_sleep(0.5)); throw(ValueError, "own"); }

ASYNC_TEST(wait_for_passes_exceptions_on)
{
    ck_raises_text(ValueError, "own", await(asyncio_wait_for(fails_soon(), 1)));
    Future *future = loop_create_future(asyncio_get_running_loop());
    future_set_exception(future, KeyError);
    ck_raises(KeyError, await(asyncio_wait_for(future, 0)));
    ck_raises(KeyError, await(asyncio_wait_for(future, 1)));
    Future *cancelled = loop_create_future(asyncio_get_running_loop());
    future_cancel(cancelled);
    ck_raises(CancelledError, await(asyncio_wait_for(cancelled, 0)));
    ck_raises(CancelledError, await(asyncio_wait_for(cancelled, 1)));
    return None;
}

TEST(outside_a_loop)
{
    ck_raises_text(RuntimeError, "no running event loop", asyncio_timeout(1));
    Timeout *t = asyncio_timeout_at(1);
    ck_raises(RuntimeError, async_with (t) { note("inside"); } end_with);
    ck_notes("");
}

/* A generator enters the block in one task and goes on in another, when the first has gone and its memory is somebody
 * else's. */
async_gen(times_itself)
{
    async_with (asyncio_timeout(1)) {
        yield("entered");
        await(asyncio_sleep(5));
        yield("waited");
    } end_with
    return None;
}

async_def(takes_one, (AsyncGenerator *) gen) { note(await(generator_anext(gen))); return None; }
async_def(bystander) { await(asyncio_sleep(10)); note("undisturbed"); return None; }

ASYNC_TEST(a_block_outlives_the_task_that_entered_it)
{
    AsyncGenerator *gen = times_itself();
    await(asyncio_create_task(takes_one(gen)));
    Value others = list();
    for (int i = 0; i < 3; i++) list_append(others, asyncio_create_task(bystander()));
    await(asyncio_sleep(2));
    await(asyncio_create_task(takes_one(gen)));
    await(generator_aclose(gen));
    await(asyncio_wait(others));
    ck_notes("entered|waited|undisturbed|undisturbed|undisturbed");
    return None;
}

ASYNC_TEST(a_timeout_that_is_its_tasks_result)
{
    Timeout *t = asyncio_timeout(1);
    async_with (t) { await(asyncio_sleep(0)); } end_with
    ck_repr(t, "<Timeout [finished]>");
    return V(t);
}

/* Less than every number, and not the same as none. */
ASYNC_TEST(an_infinite_time_ago)
{
    ck_raises(TimeoutError, async_with (asyncio_timeout(-INFINITY)) { await(asyncio_sleep(1)); } end_with);
    ck_raises(TimeoutError, async_with (asyncio_timeout_at(-INFINITY)) { await(asyncio_sleep(1)); } end_with);
    ck_raises(TimeoutError, await(asyncio_wait_for(asyncio_sleep(1), -INFINITY)));
    ck_raises_text(ValueError, "the time of a timer must not be NaN", async_with (asyncio_timeout(NAN)) { note("inside"); } end_with);
    Task *sleeper = asyncio_create_task(asyncio_sleep(1));
    ck_repr(list_get(await(asyncio_wait(list(sleeper), .timeout = -INFINITY)), 0), "[]");
    ck_raises(TimeoutError, await(as_completed_next(asyncio_as_completed(list(sleeper), .timeout = -INFINITY))));
    ck_notes("");
    await(sleeper);
    return None;
}
