/* sleep() */
#include "child.h"

static double now(void) { return loop_time(asyncio_get_running_loop()); }

ASYNC_TEST(sleeps_as_long_as_asked)
{
    double delays[] = {0.001, 0.5, 1, 86400, 1e9};
    for (int i = 0; i < 5; i++) {
        double before = now();
        await(asyncio_sleep(delays[i]));
        ck_assert(fabs(now() - before - delays[i]) < 1e-5);
    }
    return None;
}

ASYNC_TEST(the_result)
{
    ck_repr(await(asyncio_sleep(1)), "None");
    ck_repr(await(asyncio_sleep(1, .result = V("r"))), "'r'");
    ck_repr(await(asyncio_sleep(0, .result = list(1))), "[1]");
    ck_repr(await(asyncio_sleep(-5, .result = V(5))), "5");
    return None;
}

ASYNC_TEST(nan_is_refused)
{
    ck_raises_text(ValueError, "Invalid delay: NaN (not a number)", await(asyncio_sleep(NAN)));
    return None;
}

async_def(ticks, (const char *) name, (int) n) { for (int i = 0; i < n; i++) { note(name, i); await(asyncio_sleep(0)); } return None; }

ASYNC_TEST(zero_is_one_round_each)
{
    await(asyncio_gather(ticks("a", 3), ticks("b", 2), ticks("c", 3)));
    ck_notes("a 0|b 0|c 0|a 1|b 1|c 1|a 2|c 2");
    return None;
}

async_def(says, (double) delay) { await(asyncio_sleep(delay)); note(delay); return None; }

ASYNC_TEST(order_of_sleepers)
{
    await(asyncio_gather(says(3), says(1), says(2), says(1.5), says(0), says(-1)));
    ck_notes("0.0|-1.0|1.0|1.5|2.0|3.0");
    return None;
}

ASYNC_TEST(cancelled_sleep_leaves_no_timer)
{
    size_t before = asyncio_live_objects();
    scope {
        Value tasks = list();
        for (int i = 0; i < 50; i++) list_append(tasks, asyncio_create_task(asyncio_sleep(1000)));
        await(asyncio_sleep(1));
        for_in (task, tasks) task_cancel(as_task(task));
        await(asyncio_gather_list(tasks, .return_exceptions = true));
    }
    await(asyncio_sleep(2000));                         /* the cancelled ones leave the heap as they come to its top */
    ck_assert_uint_le(asyncio_live_objects(), before + 4);
    return None;
}

ASYNC_TEST(cancelled_in_the_tick_in_which_it_is_due)
{
    Task *sleeper = asyncio_create_task(asyncio_sleep(1)), *other = asyncio_create_task(says(1));
    await(asyncio_sleep(1));
    ck_assert(task_cancel(sleeper));
    ck_raises(CancelledError, await(sleeper));
    await(other);
    notes_forget_();
    return None;
}

ASYNC_TEST(for_ever)
{
    Task *task = asyncio_create_task(asyncio_sleep(INFINITY));
    await(asyncio_sleep(1e6));
    ck_assert(!task_done(task));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    return None;
}
