/* gather(), wait(), shield(), as_completed(): what is handed in, how many, and who keeps what alive. */
#include "child.h"

static double now(void) { return loop_time(asyncio_get_running_loop()); }

async_def(value_after, (double) delay, (Value) v) { await(asyncio_sleep(delay)); return v; }
async_def(fail_after, (double) delay, (Value) e) { await(asyncio_sleep(delay)); throw(e); }

ASYNC_TEST(coroutines_tasks_and_futures_together)
{
    Task *task = asyncio_create_task(value_after(1, V("task")));
    Future *future = loop_create_future(asyncio_get_running_loop());
    future_set_result(future, "future");
    ck_repr(await(asyncio_gather(value_after(2, V("coroutine")), task, future)), "['coroutine', 'task', 'future']");
    ck_repr(await(asyncio_gather_list(list(value_after(2, V(1)), value_after(1, V(2))))), "[1, 2]");
    ck_repr(await(asyncio_gather_list(tuple(value_after(0, V(1))))), "[1]");
    ck_repr(await(asyncio_gather_list(list())), "[]");
    return None;
}

#define SIX(v) value_after(0, V(v)), value_after(0, V(v)), value_after(0, V(v)), value_after(0, V(v)), value_after(0, V(v)), value_after(0, V(v))

ASYNC_TEST(twenty_four_in_one_call)
{
    Value results = await(asyncio_gather(SIX(1), SIX(2), SIX(3), SIX(4)));
    ck_assert_int_eq(len(results), 24);
    ck_repr(list_get(results, 0), "1");
    ck_repr(list_get(results, -1), "4");
    results = await(asyncio_gather(SIX(1), SIX(2), SIX(3), SIX(4), .return_exceptions = true));
    ck_assert_int_eq(len(results), 24);
    return None;
}

#define MANY (SLOWED_DOWN ? 400 : 10000)

ASYNC_TEST(ten_thousand_children)
{
    Value children = list();
    for (int i = 0; i < MANY; i++) list_append(children, value_after(MANY - i, V(i)));
    double before = now();
    Value results = await(asyncio_gather_list(children));
    ck_assert_int_eq(len(results), MANY);
    for (int i = 0; i < MANY; i++) ck_assert_int_eq(as_int(list_get(results, i)), i);
    ck_assert_double_eq_tol(now() - before, MANY, 1e-6);
    return None;
}

ASYNC_TEST(ten_thousand_children_of_which_all_fail)
{
    Value children = list();
    for (int i = 0; i < MANY; i++) list_append(children, fail_after(i % 10, V(ValueError)));
    Value results = await(asyncio_gather_list(children, .return_exceptions = true));
    for_in (e, results) ck_assert(isinstance(e, ValueError));
    return None;
}

ASYNC_TEST(ten_thousand_waited_for)
{
    Value tasks = list();
    for (int i = 0; i < MANY; i++) list_append(tasks, asyncio_create_task(asyncio_sleep(i)));
    Value both = await(asyncio_wait(tasks, .timeout = MANY / 2 - 0.5));
    ck_assert_int_eq(len(list_get(both, 0)), MANY / 2);
    ck_assert_int_eq(len(list_get(both, 1)), MANY / 2);
    both = await(asyncio_wait(tasks));
    ck_assert_int_eq(len(list_get(both, 0)), MANY);
    return None;
}

ASYNC_TEST(ten_thousand_as_completed)
{
    Value tasks = list();
    for (int i = 0; i < MANY; i++) list_append(tasks, value_after(MANY - i, V(i)));
    volatile int expected = MANY - 1;
    AsCompleted *it = asyncio_as_completed(tasks);
    for (Coroutine *next; (next = as_completed_next(it)); ) scope ck_assert_int_eq(as_int(await(next)), expected--);
    ck_assert_int_eq(expected, -1);
    return None;
}

/* What is no awaitable is refused when the call is made. */
ASYNC_TEST(wrong_types)
{
    Coroutine *coro = asyncio_sleep(0);
    ck_raises(TypeError, asyncio_gather(asyncio_Lock()));
    ck_raises(TypeError, asyncio_gather_list(list(1, 2)));
    ck_raises(TypeError, asyncio_gather_list(list(asyncio_Event())));
    ck_raises(TypeError, asyncio_gather_list(V(7)));
    ck_raises(TypeError, await(asyncio_wait(V(7))));
    ck_raises(TypeError, await(asyncio_wait(list(1))));
    ck_raises(TypeError, await(asyncio_wait(list(coro))));
    ck_raises(TypeError, asyncio_as_completed(V(coro)));
    ck_raises(TypeError, asyncio_as_completed(list("text")));
    ck_raises(TypeError, asyncio_shield(V(asyncio_Lock())));
    coroutine_close(coro);
    return None;
}

/* Nobody holds the tasks but gather itself, and it holds them until they are done. */
ASYNC_TEST(gather_keeps_its_children_alive)
{
    Future *gathered = NULL;
    scope {
        gathered = asyncio_gather(value_after(5, V("a")), value_after(3, V("b")));
        keep(gathered);
    }
    await(asyncio_sleep(1));
    ck_repr(await(gathered), "['a', 'b']");
    return None;
}

ASYNC_TEST(gather_that_nobody_awaits)
{
    scope asyncio_gather(value_after(1, V(1)), value_after(2, V(2)));
    await(asyncio_sleep(5));
    ck_assert_int_eq(len(asyncio_all_tasks()), 1);
    return None;
}

/* The message of a cancel travels to the children and back. */
async_def(note_why)
{
    try {
        await(asyncio_sleep(10));
    } except (CancelledError, e) {
        note(exception_args(e));
        rethrow;
    } end_try
    return None;
}

async_def(gather_two) { return await(asyncio_gather(note_why(), note_why())); }

ASYNC_TEST(a_cancel_message_goes_through_gather)
{
    Task *task = asyncio_create_task(gather_two());
    await(asyncio_sleep(1));
    task_cancel(task, .msg = V("enough"));
    ck_raises_text(CancelledError, "enough", await(task));
    ck_notes("('enough',)|('enough',)");
    return None;
}

ASYNC_TEST(gather_inside_gather)
{
    Value results = await(asyncio_gather(asyncio_gather(value_after(2, V(1)), value_after(1, V(2))), asyncio_gather(), value_after(0, V(3))));
    ck_repr(results, "[[1, 2], [], 3]");
    ck_raises(KeyError, await(asyncio_gather(asyncio_gather(fail_after(1, V(KeyError))), value_after(2, V(1)))));
    return None;
}

async_def(gather_shield_wait)
{
    await(asyncio_gather(value_after(1, None), value_after(1, None)));
    await(asyncio_shield(value_after(1, None)));
    await(asyncio_wait(list(asyncio_create_task(value_after(1, None)))));
    AsCompleted *it = asyncio_as_completed(list(value_after(1, None)));
    await(as_completed_next(it));
    return V("done");
}

ASYNC_TEST(cancelled_at_every_await)
{
    for (int at = 0; at <= 5; at++) scope {
        Task *task = asyncio_create_task(gather_shield_wait());
        await(asyncio_sleep(at - 0.5));
        bool asked = task_cancel(task);
        await(asyncio_wait(list(task)));
        ck_assert_int_eq(asked, at < 5);
        ck_assert_int_eq(task_cancelled(task), at < 5);
        await(asyncio_sleep(2));                        /* what was shielded, or only watched, ends by itself */
        ck_assert_int_eq(len(asyncio_all_tasks()), 1);
    }
    return None;
}

static Future *foreign;
async_def(make_foreign) { foreign = loop_create_future(asyncio_get_running_loop()); return V(foreign); }
async_def(use_foreign)
{
    Future *own = loop_create_future(asyncio_get_running_loop());
    ck_raises(RuntimeError, await(foreign));
    ck_raises_text(ValueError, "The future belongs to a different loop than the one specified as the loop argument", asyncio_gather(own, foreign));
    return None;
}

TEST(futures_of_two_loops)
{
    Loop *first = asyncio_new_event_loop(), *second = asyncio_new_event_loop();
    loop_run_until_complete(first, make_foreign());
    loop_run_until_complete(second, use_foreign());
    loop_close(first);
    loop_close(second);
}

ASYNC_TEST(wait_one_after_the_other_finishes)
{
    Value pending = list();
    for (int i = 3; i; i--) list_append(pending, asyncio_create_task(value_after(i, V(i))));
    while (len(pending)) {
        Value both = await(asyncio_wait(pending, .return_when = FIRST_COMPLETED));
        for_in (task, list_get(both, 0)) note(task_result(as_task(task)));
        pending = list_get(both, 1);
    }
    ck_notes("1|2|3");
    return None;
}

ASYNC_TEST(shield_a_coroutine_and_a_failing_task)
{
    ck_repr(await(asyncio_shield(value_after(1, V("x")))), "'x'");
    ck_raises(KeyError, await(asyncio_shield(fail_after(1, V(KeyError)))));
    return None;
}

ASYNC_TEST(as_completed_with_failures)
{
    AsCompleted *it = asyncio_as_completed(list(fail_after(2, V(KeyError)), value_after(1, V("one")), value_after(3, V("three"))));
    for (Coroutine *next; (next = as_completed_next(it)); ) {
        try {
            note(await(next));
        } except (KeyError) {
            note("failed");
        } end_try
    }
    ck_notes("one|failed|three");
    ck_assert_ptr_null(as_completed_next(it));
    ck_assert_ptr_null(as_completed_next(asyncio_as_completed(list())));
    return None;
}

ASYNC_TEST(as_completed_left_early)
{
    scope {
        AsCompleted *it = asyncio_as_completed(list(value_after(1, V(1)), value_after(2, V(2))), .timeout = 100);
        async_for (task, it) { note(task_result(as_task(task))); break; }
    }
    await(asyncio_sleep(5));
    ck_notes("1");
    return None;
}

async_def(waits, (Value) futures)
{
    Value both = await(asyncio_wait(futures));
    note(len(list_get(both, 0)), len(list_get(both, 1)));
    return None;
}

/* wait() is about what was in the list when it began. */
ASYNC_TEST(a_list_that_changes_while_it_is_waited_for)
{
    Value futures = list(asyncio_create_task(value_after(1, V(1))), asyncio_create_task(value_after(2, V(2))));
    Task *waiting = asyncio_create_task(waits(futures));
    await(asyncio_sleep(0.5));
    list_clear(futures);
    list_append(futures, 5);
    await(waiting);
    ck_notes("2 0");
    return None;
}

static Value kept_futures;
static void keeps_the_future(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    note(report->message);
    list_append(kept_futures, report->future);
}

async_def(forgets_a_gather) { asyncio_gather(fail_after(1, V(ValueError)), fail_after(1, V(KeyError))); await(asyncio_sleep(2)); return None; }
async_def(forgets_a_shield) { asyncio_shield(asyncio_create_task(fail_after(1, V(ValueError)))); await(asyncio_sleep(2)); return None; }

ASYNC_TEST(a_failed_one_that_the_exception_handler_keeps)
{
    kept_futures = list();
    loop_set_exception_handler(asyncio_get_running_loop(), keeps_the_future);
    await(forgets_a_gather());
    await(forgets_a_shield());
    ck_notes("_GatheringFuture exception was never retrieved|Future exception was never retrieved");
    ck_repr(kept_futures, "[<_GatheringFuture finished exception=ValueError()>, <Future finished exception=ValueError()>]");
    return None;
}

async_def(fails_instead) { try { await(asyncio_sleep(9)); } except (CancelledError) { throw(ValueError, "instead"); } end_try return None; }

ASYNC_TEST(of_nothing)
{
    Future *nothing = asyncio_gather();
    ck_repr(nothing, "<Future finished result=[]>");
    ck_assert(!future_cancel(nothing));
    ck_repr(await(nothing), "[]");
    return None;
}

/* With return_exceptions they are results, though the cancelled gather() has none: nobody is told of them. */
ASYNC_TEST(what_the_children_of_a_cancelled_gather_raise)
{
    kept_futures = list();
    loop_set_exception_handler(asyncio_get_running_loop(), keeps_the_future);
    scope {
        Future *outer = asyncio_gather(fails_instead(), fails_instead(), .return_exceptions = true);
        await(asyncio_sleep(1));
        future_cancel(outer);
        ck_raises(CancelledError, await(outer));
    }
    await(asyncio_sleep(1));
    ck_notes("");
    return None;
}

static void notes_exception(Loop *loop, const ExceptionReport *report) { (void)loop; note(repr(report->exception)); }

ASYNC_TEST(a_shield_that_somebody_else_completes)
{
    loop_set_exception_handler(asyncio_get_running_loop(), notes_exception);
    Future *inner = loop_create_future(asyncio_get_running_loop()), *outer = asyncio_shield(inner);
    future_set_result(inner, "inner");
    future_set_result(outer, "outer");
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_notes("InvalidStateError('invalid state')");
    ck_repr(await(outer), "'outer'");
    return None;
}

ASYNC_TEST(as_completed_of_what_cannot_be_awaited)
{
    ck_raises_text(TypeError, "An asyncio.Future, a coroutine or an awaitable is required", asyncio_as_completed(list(5)));
    ck_raises_text(TypeError, "An asyncio.Future, a coroutine or an awaitable is required", asyncio_as_completed(list("f")));
    return None;
}
