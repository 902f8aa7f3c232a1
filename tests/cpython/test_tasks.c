/* CPython's test_tasks.py. */
#include "cpython.h"

/* ---- What several tests use ------------------------------------------------------------------------------------- */

async_def(notmuch) { return V("ok"); }
async_def(noop) { return None; }
async_def(answer) { return V(42); }
async_def(returns, (Value) v) { return v; }
async_def(awaits, (Future *) f) { return await(f); }
async_def(awaits_and_returns, (Future *) f, (Value) v) { await(f); return v; }
async_def(sleeps, (double) delay) { await(asyncio_sleep(delay)); return None; }
async_def(raises, (Value) e) { throw(e); }

static void cancel_it(Value task) { task_cancel(as_task(task)); }
static void finish_it(Value future) { future_set_result(as_future(future), None); }

#define is_same(v, object) value_equal(v, V(object))

/* How far down the chain of contexts ends, and in what. */
static Value innermost_context(Value e, int *depth)
{
    for (*depth = 0; !is_none(exception_context(e)); ++*depth) e = exception_context(e);
    return e;
}

static void check_innermost(Value e, const ExceptionClass *type, const char *args, int expected)
{
    int depth;
    Value innermost = innermost_context(e, &depth);
    ck_same(exception_type(innermost), type);
    ck_repr(exception_args(innermost), args);
    ck_assert_int_eq(depth, expected);
}

/* The cases of cancel(): without a message, with a string, with anything else. */
enum { CANCEL_CASES = 3 };
static struct { Value message; const char *args; } cancel_cases[CANCEL_CASES];

static void make_cancel_cases(void)
{
    cancel_cases[0].message = None;
    cancel_cases[0].args = "()";
    cancel_cases[1].message = V("my message");
    cancel_cases[1].args = "('my message',)";
    cancel_cases[2].message = V(5);
    cancel_cases[2].args = "(5,)";
}

/* What a coroutine that must be cancelled was cancelled with. */
static Value cancelled_with(Loop *loop, Coroutine *coro)
{
    Task *task = loop_create_task(loop, coro);
    try { loop_run_until_complete(loop, task); } except (CancelledError, e) { return e; } end_try
    ck_abort_msg("CancelledError did not occur");
}

/* ---- BaseTaskTests: making tasks ---------------------------------------------------------------------------------- */

LOOP_TEST(BaseTaskTests__test_task_cancel_message_getter)
{
    Task *t = loop_create_task(loop, noop());
    task_cancel(t, .msg = V("my message"));
    ck_raises_text(CancelledError, "my message", loop_run_until_complete(loop, t));
}

/* The message of the last cancel() is the one. */
LOOP_TEST(BaseTaskTests__test_task_cancel_message_setter)
{
    Task *t = loop_create_task(loop, noop());
    task_cancel(t, .msg = V("my message"));
    task_cancel(t, .msg = V("my new message"));
    ck_raises_text(CancelledError, "my new message", loop_run_until_complete(loop, t));
}

LOOP_TEST(BaseTaskTests__test_other_loop_future)
{
    Loop *other = new_test_loop();
    Future *fut = loop_create_future(other);
    Value said = None;
    try { loop_run_until_complete(loop, awaits(fut)); } except (RuntimeError, e) { said = str(e); } end_try
    ck_contains(as_str(said), "Task <Task ");
    ck_contains(as_str(said), "got Future <Future pending> attached to a different loop");
    loop_close(other);
}

async_def(awaits_current) { await(asyncio_current_task()); return None; }

LOOP_TEST(BaseTaskTests__test_task_awaits_on_itself)
{
    Value said = None;
    Future *task = asyncio_ensure_future(awaits_current(), .loop = loop);
    try { loop_run_until_complete(loop, task); } except (RuntimeError, e) { said = str(e); } end_try
    ck_contains(as_str(said), "Task cannot await on itself: <Task ");
}

LOOP_TEST(BaseTaskTests__test_task_class)
{
    Task *t = loop_create_task(loop, notmuch());
    loop_run_until_complete(loop, t);
    ck_assert(task_done(t));
    ck_repr(task_result(t), "'ok'");
    ck_same(task_get_loop(t), loop);

    Loop *other = new_test_loop();
    t = loop_create_task(other, notmuch());
    ck_same(task_get_loop(t), other);
    loop_run_until_complete(other, t);
    loop_close(other);
}

static void check_ok(Loop *loop, Future *t)
{
    ck_same(future_get_loop(t), loop);
    loop_run_until_complete(loop, t);
    ck_assert(future_done(t));
    ck_repr(future_result(t), "'ok'");
}

async_def(ensures) { return V(asyncio_ensure_future(notmuch())); }

LOOP_TEST(BaseTaskTests__test_ensure_future_coroutine)
{
    check_ok(loop, asyncio_ensure_future(notmuch(), .loop = loop));
    Coroutine *a = notmuch();
    ck_raises_text(RuntimeError, "There is no current event loop in thread 'MainThread'.", asyncio_ensure_future(a));
    coroutine_close(a);
    check_ok(loop, as_future(loop_run_until_complete(loop, ensures())));
    asyncio_set_event_loop(loop);
    check_ok(loop, asyncio_ensure_future(notmuch()));
    asyncio_set_event_loop(NULL);
}

static const char another_loop[] = "The future belongs to a different loop than the one specified as the loop argument";

LOOP_TEST(BaseTaskTests__test_ensure_future_future)
{
    Future *original = loop_create_future(loop);
    future_set_result(original, "ko");
    Future *f = asyncio_ensure_future(original);
    loop_run_until_complete(loop, f);
    ck_assert(future_done(f));
    ck_repr(future_result(f), "'ko'");
    ck_same(f, original);
    Loop *other = new_test_loop();
    ck_raises(ValueError, asyncio_ensure_future(original, .loop = other));
    loop_close(other);
    ck_same(asyncio_ensure_future(original, .loop = loop), original);
}

LOOP_TEST(BaseTaskTests__test_ensure_future_task)
{
    Task *original = loop_create_task(loop, notmuch());
    Future *t = asyncio_ensure_future(original);
    check_ok(loop, t);
    ck_same(t, original);
    Loop *other = new_test_loop();
    ck_raises(ValueError, asyncio_ensure_future(original, .loop = other));
    loop_close(other);
    ck_same(asyncio_ensure_future(original, .loop = loop), original);
}

LOOP_TEST(BaseTaskTests__test_ensure_future_task_awaitable)
{
    Future *task = asyncio_ensure_future(asyncio_sleep(0, V("ok")), .loop = loop);
    loop_run_until_complete(loop, task);
    ck_assert(future_done(task));
    ck_repr(future_result(task), "'ok'");
    ck_assert(asyncio_iscoroutine(task_get_coro(as_task(V(task)))));
}

LOOP_TEST(BaseTaskTests__test_ensure_future_neither)
{
    ck_raises(TypeError, asyncio_ensure_future(V("ok"), .loop = loop));
    ck_raises(TypeError, asyncio_ensure_future(V(asyncio_Lock()), .loop = loop));
}

LOOP_TEST(BaseTaskTests__test_ensure_future_error_msg)
{
    Loop *other = new_test_loop();
    Future *f = loop_create_future(loop);
    ck_raises_text(ValueError, another_loop, asyncio_ensure_future(f, .loop = other));
    loop_close(other);
}

static Task *observed;

async_def(looks_at_stack)
{
    Value stack = task_get_stack(observed, .limit = 1);
    ck_assert_int_eq(len(stack), 1);
    logging(task_print_stack(observed, .limit = 1, .file = stderr));
    note(list_get(list_get(stack, 0), 0));
    return None;
}

async_def(foo) { await(looks_at_stack()); return None; }

async_def(runs_foo)
{
    observed = asyncio_create_task(foo());
    await(observed);
    return None;
}

LOOP_TEST(BaseTaskTests__test_get_stack)
{
    loop_run_until_complete(loop, runs_foo());
    ck_notes("foo");
    ck_contains(logged, "foo() running");
}

LOOP_TEST(BaseTaskTests__test_task_repr)
{
    Task *t = loop_create_task(loop, notmuch(), .name = "TestTask");
    ck_contains(as_str(repr(t)), "<Task pending name='TestTask' coro=<notmuch() running");
    task_cancel(t);
    ck_contains(as_str(repr(t)), "<Task cancelling name='TestTask' coro=<notmuch() running");
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
    ck_contains(as_str(repr(t)), "<Task cancelled name='TestTask' coro=<notmuch() done");
    t = loop_create_task(loop, notmuch(), .name = "TestTask");
    loop_run_until_complete(loop, t);
    ck_contains(as_str(repr(t)), "<Task finished name='TestTask' coro=<notmuch() done");
    ck_contains(as_str(repr(t)), " result='ok'>");
}

LOOP_TEST(BaseTaskTests__test_task_repr_autogenerated)
{
    Task *t1 = loop_create_task(loop, answer()), *t2 = loop_create_task(loop, answer());
    int first = 0, second = 0;
    ck_assert_int_eq(sscanf(as_str(repr(t1)), "<Task pending name='Task-%d'", &first), 1);
    ck_assert_int_eq(sscanf(as_str(repr(t2)), "<Task pending name='Task-%d'", &second), 1);
    ck_assert_int_lt(first, second);
    loop_run_until_complete(loop, t1);
    loop_run_until_complete(loop, t2);
}

LOOP_TEST(BaseTaskTests__test_task_set_name_pylong)
{
    Task *t = loop_create_task(loop, answer(), .name = "987654321");
    ck_assert_str_eq(task_get_name(t), "987654321");
    task_set_name(t, 123456789);
    ck_assert_str_eq(task_get_name(t), "123456789");
    loop_run_until_complete(loop, t);
}

LOOP_TEST(BaseTaskTests__test_task_repr_name_not_str)
{
    Task *t = loop_create_task(loop, answer());
    task_set_name(t, list(6));
    ck_assert_str_eq(task_get_name(t), "[6]");
    loop_run_until_complete(loop, t);
}

LOOP_TEST(BaseTaskTests__test_task_repr_wait_for)
{
    Future *fut = loop_create_future(loop);
    Task *task = loop_create_task(loop, awaits(fut));
    run_briefly(loop);
    ck_contains(as_str(repr(task)), " wait_for=<Future pending>>");
    future_set_result(fut, None);
    loop_run_until_complete(loop, task);
}

async_def(thousand) { return V(1000); }

async_def(adds)
{
    int64_t a = as_int(await(answer())), b = as_int(await(thousand()));
    return V(a + b);
}

LOOP_TEST(BaseTaskTests__test_task_basics) { ck_repr(loop_run_until_complete(loop, adds()), "1042"); }

async_def(chains)
{
    try {
        throw(KeyError, "3");
    } except (Exception) {
        Task *task = asyncio_create_task(raises(V(ValueError)));
        try {
            await(task);
        } except (Exception, e) {
            ck_same(exception_type(e), ValueError);
            ck_repr(exception_context(e), "KeyError('3')");
            note("chained");
        } end_try
    } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_exception_chaining_after_await)
{
    loop_run_until_complete(loop, chains());
    ck_notes("chained");
}

async_def(makes_no_cycle)
{
    try {
        throw(KeyError, "a");
    } except (Exception, e) {
        Task *task = asyncio_create_task(raises(e));
        try {
            await(task);
        } except (BaseException, again) {
            note("has_cycle", (bool)is_same(exception_context(again), again.object));
        } end_try
    } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_exception_chaining_after_await_with_context_cycle)
{
    loop_run_until_complete(loop, makes_no_cycle());
    ck_notes("has_cycle False");
}

/* ---- BaseTaskTests: cancelling ------------------------------------------------------------------------------------ */

static bool shows_cancelling(Task *t) { return strstr(as_str(repr(t)), " cancelling ") != NULL; }

LOOP_TEST(BaseTaskTests__test_cancelling)
{
    Task *t = loop_create_task(loop, sleeps(10));
    ck_assert_int_eq(task_cancelling(t), 0);
    ck_assert(!shows_cancelling(t));
    ck_assert(task_cancel(t));
    ck_assert_int_eq(task_cancelling(t), 1);
    ck_assert(shows_cancelling(t));
    ck_assert(task_cancel(t));
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
}

async_def(uncancels)
{
    try {
        await(asyncio_sleep(10));
    } except (CancelledError) {
        task_uncancel(asyncio_current_task());
        await(asyncio_sleep(10));
    } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_uncancel_basic)
{
    Task *t = loop_create_task(loop, uncancels());
    loop_run_until_complete(loop, asyncio_sleep(0.01));

    ck_assert(task_cancel(t));                              /* the first sleep */
    ck_assert(shows_cancelling(t));
    ck_assert_int_eq(task_cancelling(t), 1);
    ck_assert(!task_cancelled(t));
    loop_run_until_complete(loop, asyncio_sleep(0.01));

    ck_assert(!shows_cancelling(t));                        /* after uncancel() */
    ck_assert_int_eq(task_cancelling(t), 0);
    ck_assert(!task_cancelled(t));

    ck_assert(task_cancel(t));                              /* the second sleep */
    ck_assert_int_eq(task_cancelling(t), 1);
    ck_assert(!task_cancelled(t));
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
    ck_assert(task_cancelled(t));
    ck_assert(task_done(t));

    task_uncancel(t);                                       /* too late to change anything */
    ck_assert(task_cancelled(t));
    ck_assert(task_done(t));
}

typedef struct Request { Task *task; bool timed_out; } Request;

static void on_timeout(Value request)
{
    Request *r = as_pointer(request);
    r->timed_out = true;
    task_cancel(r->task);
}

/* What asyncio_timeout() does, by hand: CancelledError becomes TimeoutError only if this very block asked for it. */
async_def(within_timeout, (Request *) r, (double) sleep, (double) timeout)
{
    volatile bool finished = false;
    Handle *timer = loop_call_later(asyncio_get_running_loop(), timeout, on_timeout, .arg = V((void *)r));
    try {
        await(asyncio_sleep(sleep));
        finished = true;
    } except (CancelledError) {
        if (r->timed_out && task_uncancel(r->task) == 0) throw(TimeoutError);
        rethrow;
    } finally {
        handle_cancel(timer);
    } end_try
    return V(finished);
}

async_def(request_with_timeout, (double) sleep, (double) timeout)
{
    Request r = {.task = asyncio_current_task()};
    bool volatile finished = false;
    try {
        finished = as_bool(await(within_timeout(&r, sleep, timeout)));
    } except (TimeoutError) {
        ck_assert(r.timed_out);
    } end_try
    await(asyncio_sleep(0));                                /* outer code is not affected by the timeout */
    return tuple(r.timed_out, (bool)finished, true);
}

LOOP_TEST(BaseTaskTests__test_uncancel_structured_blocks)
{
    Task *t1 = loop_create_task(loop, request_with_timeout(10, 0.1));
    ck_repr(loop_run_until_complete(loop, t1), "(True, False, True)");
    ck_assert_int_eq(task_cancelling(t1), 0);
    Task *t2 = loop_create_task(loop, request_with_timeout(0, 10));
    ck_repr(loop_run_until_complete(loop, t2), "(False, True, True)");
    ck_assert_int_eq(task_cancelling(t2), 0);
}

LOOP_TEST(BaseTaskTests__test_uncancel_resets_must_cancel)
{
    Future *fut = loop_create_future(loop);
    Task *task = loop_create_task(loop, awaits_and_returns(fut, V(42)));
    loop_run_until_complete(loop, asyncio_sleep(0));        /* now it waits for fut */
    future_set_result(fut, None);                           /* now it is ready */
    ck_assert(task_cancel(task));
    ck_assert_int_eq(task_cancelling(task), 1);
    ck_assert_int_eq(task_uncancel(task), 0);
    ck_assert_int_eq(task_cancelling(task), 0);
    ck_repr(loop_run_until_complete(loop, task), "42");
}

static void check_cancelled(Loop *loop, Task *t)
{
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
    ck_assert(task_done(t));
    ck_assert(task_cancelled(t));
    ck_assert(!task_cancel(t));
}

async_def(sleeps_and_returns, (double) delay, (int) n)
{
    await(asyncio_sleep(delay));
    return V(n);
}

LOOP_TEST(BaseTaskTests__test_cancel)
{
    double began = loop_time(loop);
    Task *t = loop_create_task(loop, sleeps_and_returns(10, 12));
    loop_call_soon(loop, cancel_it, .arg = V(t));
    check_cancelled(loop, t);
    ck_elapsed(loop, began, 0);
}

async_def(asks_cancelled, (Value) message, (bool) result)
{
    Task *task = asyncio_create_task(sleeps(10));
    await(asyncio_sleep(0));
    task_cancel(task, .msg = message);
    await(asyncio_wait(list(task)));
    return result ? task_result(task) : task_exception(task);
}

static void check_message_then(Loop *loop, bool result)
{
    make_cancel_cases();
    for (int i = 0; i < CANCEL_CASES; i++) {
        Value e = cancelled_with(loop, asks_cancelled(cancel_cases[i].message, result));
        ck_repr(exception_args(e), cancel_cases[i].args);
        check_innermost(e, CancelledError, cancel_cases[i].args, 0);
    }
}

LOOP_TEST(BaseTaskTests__test_cancel_with_message_then_future_result) { check_message_then(loop, true); }
LOOP_TEST(BaseTaskTests__test_cancel_with_message_then_future_exception) { check_message_then(loop, false); }

static void cancel_with_msg(Value task) { task_cancel(as_task(task), .msg = V("msg")); }
async_def(sets_and_sleeps, (Future *) fut) { future_set_result(fut, None); await(asyncio_sleep(10)); return None; }

async_def(raises_from_cancelled)
{
    Loop *loop = asyncio_get_running_loop();
    Future *fut = loop_create_future(loop);
    Task *inner = asyncio_create_task(sets_and_sleeps(fut));
    await(fut);
    loop_call_soon(loop, cancel_with_msg, .arg = V(inner));
    try {
        await(inner);
    } except (CancelledError, e) {
        throw_from(e, ValueError, "cancelled");
    } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_cancellation_exception_context)
{
    Task *task = loop_create_task(loop, raises_from_cancelled());
    ck_raises_text(ValueError, "cancelled", loop_run_until_complete(loop, task));
    Value e = task_exception(task);
    ck_repr(exception_args(e), "('cancelled',)");
    ck_repr(exception_cause(e), "CancelledError('msg')");
    check_innermost(e, CancelledError, "('msg',)", 1);
}

async_def(cancels_before_start)
{
    Task *task = asyncio_create_task(sleeps(10));
    task_cancel(task, .msg = V("my message"));
    await(asyncio_wait(list(task)));
    return task_exception(task);
}

LOOP_TEST(BaseTaskTests__test_cancel_with_message_before_starting_task)
{
    Value e = cancelled_with(loop, cancels_before_start());
    ck_repr(exception_args(e), "('my message',)");
    check_innermost(e, CancelledError, "('my message',)", 0);
}

async_def(yields_twice) { await(asyncio_sleep(0)); await(asyncio_sleep(0)); return V(12); }

LOOP_TEST(BaseTaskTests__test_cancel_yield)
{
    Task *t = loop_create_task(loop, yields_twice());
    run_briefly(loop);
    task_cancel(t);
    check_cancelled(loop, t);
}

LOOP_TEST(BaseTaskTests__test_cancel_inner_future)
{
    Future *f = loop_create_future(loop);
    Task *t = loop_create_task(loop, awaits_and_returns(f, V(12)));
    run_briefly(loop);
    future_cancel(f);
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
    ck_assert(future_cancelled(f));
    ck_assert(task_cancelled(t));
}

LOOP_TEST(BaseTaskTests__test_cancel_both_task_and_inner_future)
{
    Future *f = loop_create_future(loop);
    Task *t = loop_create_task(loop, awaits_and_returns(f, V(12)));
    run_briefly(loop);
    future_cancel(f);
    task_cancel(t);
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
    ck_assert(task_done(t));
    ck_assert(future_cancelled(f));
    ck_assert(task_cancelled(t));
}

async_def(catches, (Future *) f1, (Future *) f2)
{
    await(f1);
    note("got f1");
    try {
        await(f2);
    } except (CancelledError) {
        return V(42);
    } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_cancel_task_catching)
{
    Future *f1 = loop_create_future(loop), *f2 = loop_create_future(loop);
    Task *t = loop_create_task(loop, catches(f1, f2));
    run_briefly(loop);
    ck_notes("");
    future_set_result(f1, None);
    run_briefly(loop);
    ck_notes("got f1");
    task_cancel(t);
    ck_assert(future_cancelled(f2));
    ck_repr(loop_run_until_complete(loop, t), "42");
    ck_assert(!task_cancelled(t));
}

async_def(ignores, (Future *) f1, (Future *) f2, (Future *) f3)
{
    await(f1);
    note("got f1");
    try { await(f2); } except (CancelledError) { note("ignored"); } end_try
    return await(f3);
}

LOOP_TEST(BaseTaskTests__test_cancel_task_ignoring)
{
    Future *f1 = loop_create_future(loop), *f2 = loop_create_future(loop), *f3 = loop_create_future(loop);
    Task *t = loop_create_task(loop, ignores(f1, f2, f3));
    run_briefly(loop);
    ck_notes("");
    future_set_result(f1, None);
    run_briefly(loop);
    ck_notes("got f1");
    task_cancel(t);
    ck_assert(future_cancelled(f2));
    run_briefly(loop);
    ck_notes("ignored");
    ck_assert(!task_done(t));
    future_set_result(f3, 42);
    ck_repr(loop_run_until_complete(loop, t), "42");
    ck_assert(!future_cancelled(f3));
    ck_assert(!task_cancelled(t));
}

async_def(cancels_itself, (bool) sleeps_on)
{
    ck_assert(task_cancel(asyncio_current_task()));
    note("asked");
    if (sleeps_on) { await(asyncio_sleep(100)); note("never"); }
    return V(12);
}

static void check_cancels_itself(Loop *loop, bool sleeps_on)
{
    double began = loop_time(loop);
    Task *t = loop_create_task(loop, cancels_itself(sleeps_on));
    ck_assert(!task_cancelled(t));
    check_cancelled(loop, t);
    ck_notes("asked");
    ck_elapsed(loop, began, 0);
}

LOOP_TEST(BaseTaskTests__test_cancel_current_task) { check_cancels_itself(loop, true); }
LOOP_TEST(BaseTaskTests__test_cancel_at_end) { check_cancels_itself(loop, false); }

async_def(cancels_then_awaits, (Future *) fut, (Value) box)
{
    Task *nested = asyncio_create_task(awaits(fut));
    list_append(box, nested);
    await(asyncio_sleep(0));
    task_cancel(asyncio_current_task());
    await(nested);                                          /* which must be cancelled at once */
    return None;
}

LOOP_TEST(BaseTaskTests__test_cancel_awaited_task)
{
    Future *fut = loop_create_future(loop);
    Value box = list();
    Task *task = loop_create_task(loop, cancels_then_awaits(fut, box));
    ck_raises(CancelledError, loop_run_until_complete(loop, task));
    ck_assert(task_cancelled(task));
    ck_assert(task_cancelled(as_task(list_get(box, 0))));
    ck_assert(future_cancelled(fut));
}

async_def(interrupted_sleep) { await(asyncio_sleep(10)); return None; }

async_def(cancels_and_asks, (bool) by_await)
{
    Task *task = asyncio_create_task(interrupted_sleep());
    await(asyncio_sleep(0));
    task_cancel(task);
    if (by_await) await(task);
    await(asyncio_wait(list(task)));
    return task_exception(task);
}

static void check_cancel_traceback(Loop *loop, bool by_await)
{
    Value e = cancelled_with(loop, cancels_and_asks(by_await));
    logging(exception_print(e, stderr));
    ck_contains(logged, "in interrupted_sleep");            /* the line that was interrupted */
    ck_contains(logged, "in cancels_and_asks");             /* and the one that asked */
}

LOOP_TEST(BaseTaskTests__test_cancel_traceback_for_future_result) { check_cancel_traceback(loop, true); }
LOOP_TEST(BaseTaskTests__test_cancel_traceback_for_future_exception) { check_cancel_traceback(loop, false); }

static int naps;

async_def(naps_and_stops)
{
    while (naps < 10) {
        await(asyncio_sleep(0.1));
        if (++naps == 2) loop_stop(asyncio_get_running_loop());
    }
    return None;
}

LOOP_TEST(BaseTaskTests__test_stop_while_run_in_complete)
{
    naps = 0;
    double began = loop_time(loop);
    Task *t = loop_create_task(loop, naps_and_stops());
    ck_raises_text(RuntimeError, "Event loop stopped before Future completed.", loop_run_until_complete(loop, t));
    ck_assert(!task_done(t));
    ck_assert_int_eq(naps, 2);
    ck_elapsed(loop, began, 0.2);
    task_cancel(t);
    ck_raises(CancelledError, loop_run_until_complete(loop, t));
}

/* ---- BaseTaskTests: wait() ---------------------------------------------------------------------------------------- */

/* Is the list exactly these, in whatever order? */
#define ck_set(v, ...) do { \
        Value set_ = v, wanted_set_ = list(__VA_ARGS__); \
        ck_assert_int_eq(len(set_), len(wanted_set_)); \
        for_in (item_, wanted_set_) ck_assert(list_contains(set_, item_)); } while (0)
#define done_of(pair)    list_get(pair, 0)
#define pending_of(pair) list_get(pair, 1)

static void finish_all(Loop *loop, Value tasks) { loop_run_until_complete(loop, asyncio_wait(tasks)); }

async_def(waits_for_both, (Value) tasks, (Task *) a, (Task *) b)
{
    Value both = await(asyncio_wait(tasks));
    ck_set(done_of(both), a, b);
    ck_assert_int_eq(len(pending_of(both)), 0);
    return V(42);
}

LOOP_TEST(BaseTaskTests__test_wait)
{
    double began = loop_time(loop);
    Task *a = loop_create_task(loop, asyncio_sleep(0.1)), *b = loop_create_task(loop, asyncio_sleep(0.15));
    ck_repr(loop_run_until_complete(loop, waits_for_both(list(b, a), a, b)), "42");
    ck_elapsed(loop, began, 0.15);
    /* Doing it again should take no time, and takes another path. */
    ck_repr(loop_run_until_complete(loop, waits_for_both(list(b, a), a, b)), "42");
    ck_elapsed(loop, began, 0.15);
}

LOOP_TEST(BaseTaskTests__test_wait_duplicate_coroutines)
{
    Task *c = loop_create_task(loop, returns(V("test")));
    Task *task = loop_create_task(loop, asyncio_wait(list(c, c, loop_create_task(loop, returns(V("spam"))))));
    Value both = loop_run_until_complete(loop, task);
    ck_assert_int_eq(len(pending_of(both)), 0);
    Value results = list();
    for_in (f, done_of(both)) list_append(results, task_result(as_task(f)));
    ck_set(results, "test", "spam");
}

LOOP_TEST(BaseTaskTests__test_wait_errors)
{
    ck_raises(ValueError, loop_run_until_complete(loop, asyncio_wait(list())));
    Coroutine *sleep = asyncio_sleep(10.0);
    ck_raises_text(ValueError, "Invalid return_when value: -1",
                   loop_run_until_complete(loop, asyncio_wait(list(sleep), .return_when = -1)));
    coroutine_close(sleep);
}

LOOP_TEST(BaseTaskTests__test_wait_first_completed)
{
    double began = loop_time(loop);
    Task *a = loop_create_task(loop, asyncio_sleep(10.0)), *b = loop_create_task(loop, asyncio_sleep(0.1));
    Task *task = loop_create_task(loop, asyncio_wait(list(b, a), .return_when = FIRST_COMPLETED));
    Value both = loop_run_until_complete(loop, task);
    ck_set(done_of(both), b);
    ck_set(pending_of(both), a);
    ck_assert(!task_done(a));
    ck_assert(task_done(b));
    ck_assert(is_none(task_result(b)));
    ck_elapsed(loop, began, 0.1);
    finish_all(loop, list(a, b));
}

async_def(yields_once) { await(asyncio_sleep(0)); return None; }

LOOP_TEST(BaseTaskTests__test_wait_really_done)
{
    /* b is done before the callback about a has run. */
    Task *a = loop_create_task(loop, yields_once()), *b = loop_create_task(loop, yields_twice());
    Task *task = loop_create_task(loop, asyncio_wait(list(b, a), .return_when = FIRST_COMPLETED));
    Value both = loop_run_until_complete(loop, task);
    ck_set(done_of(both), a, b);
    ck_assert(task_done(a));
    ck_assert(is_none(task_result(a)));
    ck_assert(task_done(b));
    ck_repr(task_result(b), "12");
}

async_def(fails_after, (double) delay, (const char *) text)
{
    if (delay > 0) await(asyncio_sleep(delay));
    throw(ZeroDivisionError, "%s", text);
}

static void check_first_exception(Loop *loop, double delay)
{
    double began = loop_time(loop);
    Task *a = loop_create_task(loop, asyncio_sleep(10.0)), *b = loop_create_task(loop, fails_after(delay, "err"));
    Value both = loop_run_until_complete(loop, asyncio_wait(list(b, a), .return_when = FIRST_EXCEPTION));
    ck_set(done_of(both), b);
    ck_set(pending_of(both), a);
    ck_elapsed(loop, began, delay);
    finish_all(loop, list(a, b));
}

LOOP_TEST(BaseTaskTests__test_wait_first_exception) { check_first_exception(loop, 0); }
LOOP_TEST(BaseTaskTests__test_wait_first_exception_in_wait) { check_first_exception(loop, 0.01); }

async_def(waits_and_counts_errors, (Task *) a, (Task *) b)
{
    Value both = await(asyncio_wait(list(b, a)));
    int errors = 0;
    ck_assert_int_eq(len(done_of(both)), 2);
    ck_assert_int_eq(len(pending_of(both)), 0);
    for_in (f, done_of(both)) errors += !is_none(task_exception(as_task(f)));
    ck_assert_int_eq(errors, 1);
    return None;
}

LOOP_TEST(BaseTaskTests__test_wait_with_exception)
{
    double began = loop_time(loop);
    Task *a = loop_create_task(loop, asyncio_sleep(0.1)), *b = loop_create_task(loop, fails_after(0.15, "really"));
    loop_run_until_complete(loop, waits_and_counts_errors(a, b));
    ck_elapsed(loop, began, 0.15);
    loop_run_until_complete(loop, waits_and_counts_errors(a, b));
    ck_elapsed(loop, began, 0.15);
}

static void check_wait_timeout(Loop *loop, double timeout)
{
    double began = loop_time(loop);
    Task *a = loop_create_task(loop, asyncio_sleep(0.1)), *b = loop_create_task(loop, asyncio_sleep(0.15));
    run_briefly(loop);
    Value both = loop_run_until_complete(loop, asyncio_wait(list(b, a), .timeout = timeout));
    ck_set(done_of(both), a);
    ck_set(pending_of(both), b);
    ck_elapsed(loop, began, timeout);
    finish_all(loop, list(a, b));
}

LOOP_TEST(BaseTaskTests__test_wait_with_timeout) { check_wait_timeout(loop, 0.11); }
LOOP_TEST(BaseTaskTests__test_wait_concurrent_complete) { check_wait_timeout(loop, 0.1); }

LOOP_TEST(BaseTaskTests__test_wait_with_iterator_of_tasks)
{
    double began = loop_time(loop);
    Task *a = loop_create_task(loop, asyncio_sleep(0.1)), *b = loop_create_task(loop, asyncio_sleep(0.15));
    ck_repr(loop_run_until_complete(loop, waits_for_both(tuple(b, a), a, b)), "42");
    ck_elapsed(loop, began, 0.15);
}

async_def(waits_for_ten)
{
    Value tasks = list();
    for (int i = 0; i < 10; i++) list_append(tasks, asyncio_create_task(returns(V(i))));
    Value both = await(asyncio_wait(tasks, .return_when = ALL_COMPLETED));
    ck_assert_int_eq(len(done_of(both)), 10);
    ck_assert_int_eq(len(pending_of(both)), 0);
    return None;
}

LOOP_TEST(BaseTaskTests__test_wait_generator) { loop_run_until_complete(loop, waits_for_ten()); }

LOOP_TEST(BaseTaskTests__test_wait_invalid_args)
{
    Future *fut = loop_create_future(loop);
    ck_raises(TypeError, loop_run_until_complete(loop, asyncio_wait(V(fut))));
    Coroutine *coro = noop();
    ck_raises(TypeError, loop_run_until_complete(loop, asyncio_wait(V(coro))));
    coroutine_close(coro);
    ck_raises(ValueError, loop_run_until_complete(loop, asyncio_wait(list())));
}

/* ---- BaseTaskTests: as_completed(), both ways through it ---------------------------------------------------------- */

typedef Coroutine *(*Iterating)(Value awaitables);

async_def(iterates, (Value) awaitables)
{
    Value values = list();
    AsCompleted *it = asyncio_as_completed(awaitables);
    for (Coroutine *f; (f = as_completed_next(it)); ) list_append(values, await(f));
    return values;
}

async_def(iterates_async, (Value) awaitables)
{
    Value values = list();
    async_for (f, asyncio_as_completed(awaitables)) list_append(values, await(f));
    return values;
}

static const Iterating both_ways[] = {iterates, iterates_async};

LOOP_TEST(BaseTaskTests__test_as_completed)
{
    for (int i = 0; i < 2; i++) {
        double began = loop_time(loop);
        Value awaitables = list(asyncio_sleep(0.01, V("b")), asyncio_sleep(0.15, V("c")), asyncio_sleep(0.01, V("a")));
        Value res = loop_run_until_complete(loop, both_ways[i](awaitables));
        ck_elapsed(loop, began, 0.15);
        ck_assert_int_eq(len(res), 3);
        ck_set(list(list_get(res, 0), list_get(res, 1)), "a", "b");
        ck_repr(list_get(res, 2), "'c'");
    }
}

async_def(collects_as_completed, (Value) awaitables)
{
    Value out = list();
    async_for (f, asyncio_as_completed(awaitables)) list_append(out, f);
    return out;
}

LOOP_TEST(BaseTaskTests__test_as_completed_same_tasks_in_as_out)
{
    Value in = list(returns(V(0)), returns(V(1)), returns(V(2)), returns(V(3)));
    Value out = loop_run_until_complete(loop, collects_as_completed(in));
    ck_assert_int_eq(len(out), 4);
    for_in (f, out) ck_assert(asyncio_isfuture(f) && !list_contains(in, f));

    Coroutine *a = returns(V("a")), *c = returns(V("c"));
    Task *b = loop_create_task(loop, returns(V("b"))), *d = loop_create_task(loop, returns(V("d")));
    in = list(a, b, c, d);
    out = loop_run_until_complete(loop, collects_as_completed(in));
    Value both = list();
    for_in (f, out) if (list_contains(in, f)) list_append(both, f);
    ck_set(both, b, d);
}

async_def(times_out, (Task *) a, (Task *) b)
{
    Value values = list();
    AsCompleted *it = asyncio_as_completed(list(a, b), .timeout = 0.12);
    for (Coroutine *f; (f = as_completed_next(it)); ) {
        try {
            list_append(values, tuple(1, await(f)));
        } except (TimeoutError, e) {
            list_append(values, tuple(2, e));
        } end_try
    }
    return values;
}

async_def(times_out_async, (Task *) a, (Task *) b)
{
    Value values = list();
    try {
        async_for (f, asyncio_as_completed(list(a, b), .timeout = 0.12)) list_append(values, tuple(1, await(f)));
    } except (TimeoutError, e) {
        list_append(values, tuple(2, e));
    } end_try
    return values;
}

LOOP_TEST(BaseTaskTests__test_as_completed_with_timeout)
{
    for (int i = 0; i < 2; i++) {
        double began = loop_time(loop);
        Task *a = loop_create_task(loop, asyncio_sleep(0.1, V("a"))), *b = loop_create_task(loop, asyncio_sleep(0.15, V("b")));
        Value res = loop_run_until_complete(loop, (i ? times_out_async : times_out)(a, b));
        ck_repr(res, "[(1, 'a'), (2, TimeoutError())]");
        ck_elapsed(loop, began, 0.12);
        finish_all(loop, list(a, b));
        ck_repr(task_result(b), "'b'");
    }
}

async_def(unused_timeout)
{
    AsCompleted *it = asyncio_as_completed(list(asyncio_sleep(0.01, V("a"))), .timeout = 1);
    for (Coroutine *f; (f = as_completed_next(it)); ) note(await(f));
    return None;
}

async_def(unused_timeout_async)
{
    async_for (f, asyncio_as_completed(list(asyncio_sleep(0.01, V("a"))), .timeout = 1)) note(await(f));
    return None;
}

/* With nothing left to do, a loop whose timers are all cancelled is at once at a deadlock. */
static void check_no_timer_left(Loop *loop)
{
    double began = loop_time(loop);
    ck_raises(DeadlockError, loop_run_until_complete(loop, loop_create_future(loop)));
    ck_elapsed(loop, began, 0);
}

LOOP_TEST(BaseTaskTests__test_as_completed_with_unused_timeout)
{
    for (int i = 0; i < 2; i++) {
        double began = loop_time(loop);
        loop_run_until_complete(loop, i ? unused_timeout_async() : unused_timeout());
        ck_notes("a");
        ck_elapsed(loop, began, 0.01);
        check_no_timer_left(loop);
    }
}

async_def(resumes, (Value) awaitables)
{
    Value collected = list();
    AsCompleted *it = asyncio_as_completed(awaitables);
    for (Coroutine *f; len(collected) < 2 && (f = as_completed_next(it)); ) list_append(collected, await(f));
    ck_assert_int_eq(len(collected), 2);
    for (Coroutine *f; (f = as_completed_next(it)); ) list_append(collected, await(f));
    return collected;
}

async_def(resumes_async, (Value) awaitables)
{
    Value collected = list();
    AsCompleted *it = asyncio_as_completed(awaitables);
    async_for (f, it) {
        list_append(collected, await(f));
        if (len(collected) == 2) break;
    }
    ck_assert_int_eq(len(collected), 2);
    async_for (f, it) list_append(collected, await(f));
    return collected;
}

LOOP_TEST(BaseTaskTests__test_as_completed_resume_iterator)
{
    for (int i = 0; i < 2; i++) {
        Value awaitables = tuple(returns(V(0)), returns(V(1)), returns(V(2)), returns(V(3)));
        Value results = loop_run_until_complete(loop, (i ? resumes_async : resumes)(awaitables));
        ck_set(results, 0, 1, 2, 3);
    }
}

async_def(waits_in_reverse)
{
    Loop *loop = asyncio_get_running_loop();
    double began = loop_time(loop);
    AsCompleted *it = asyncio_as_completed(list(asyncio_sleep(0.05, V("a")), asyncio_sleep(0.10, V("b"))));
    Coroutine *first = as_completed_next(it), *second = as_completed_next(it);
    ck_assert_ptr_null(as_completed_next(it));
    ck_repr(await(second), "'a'");
    ck_elapsed(loop, began, 0.05);
    ck_repr(await(first), "'b'");
    ck_elapsed(loop, began, 0.10);
    return None;
}

LOOP_TEST(BaseTaskTests__test_as_completed_reverse_wait) { loop_run_until_complete(loop, waits_in_reverse()); }

static Value two_sleeps(void) { return list(asyncio_sleep(0.05, V("a")), asyncio_sleep(0.05, V("b"))); }

async_def(waits_concurrently, (bool) async)
{
    Value futures = list();
    AsCompleted *it = asyncio_as_completed(two_sleeps());
    if (async) futures = async_list(f, it, f);
    else for (Coroutine *f; (f = as_completed_next(it)); ) list_append(futures, asyncio_ensure_future(f));
    ck_assert_int_eq(len(futures), 2);
    Value both = await(asyncio_wait(futures)), results = list();
    for_in (f, done_of(both)) list_append(results, future_result(as_future(f)));
    ck_set(results, "a", "b");
    return None;
}

LOOP_TEST(BaseTaskTests__test_as_completed_concurrent)
{
    for (int i = 0; i < 2; i++) {
        double began = loop_time(loop);
        loop_run_until_complete(loop, waits_concurrently(i));
        ck_elapsed(loop, began, 0.05);
    }
}

LOOP_TEST(BaseTaskTests__test_as_completed_duplicate_coroutines)
{
    for (int i = 0; i < 2; i++) {
        Coroutine *c = returns(V("ham"));
        Task *fut = loop_create_task(loop, both_ways[i](list(c, c, returns(V("spam")))));
        loop_run_until_complete(loop, fut);
        ck_set(task_result(fut), "ham", "spam");
    }
}

LOOP_TEST(BaseTaskTests__test_as_completed_coroutine_without_loop)
{
    Coroutine *a = answer();
    ck_raises_text(RuntimeError, "There is no current event loop in thread 'MainThread'.", asyncio_as_completed(list(a)));
    coroutine_close(a);
}

async_def(one_as_completed)
{
    AsCompleted *it = asyncio_as_completed(list(answer()));
    Coroutine *f = as_completed_next(it);
    ck_assert_ptr_null(as_completed_next(it));
    return await(f);
}

LOOP_TEST(BaseTaskTests__test_as_completed_coroutine_use_running_loop)
{
    ck_repr(loop_run_until_complete(loop, one_as_completed()), "42");
}

async_def(completes_value, (Value) v)
{
    async_for (f, asyncio_as_completed(v)) note("got", f);
    return None;
}

LOOP_TEST(BaseTaskTests__test_as_completed_invalid_args)
{
    Future *fut = loop_create_future(loop);
    Coroutine *coro = noop();
    asyncio_set_event_loop(loop);
    ck_raises(TypeError, asyncio_as_completed(V(fut)));
    ck_raises(TypeError, asyncio_as_completed(V(coro)));
    asyncio_set_event_loop(NULL);
    ck_raises(TypeError, loop_run_until_complete(loop, completes_value(V(fut))));
    ck_raises(TypeError, loop_run_until_complete(loop, completes_value(V(coro))));
    coroutine_close(coro);
    ck_notes("");
}

/* ---- BaseTaskTests: sleep() and the life of a task ---------------------------------------------------------------- */

async_def(sleeper, (double) delay, (Value) v)
{
    await(asyncio_sleep(delay / 2));
    return await(asyncio_sleep(delay / 2, v));
}

LOOP_TEST(BaseTaskTests__test_sleep)
{
    double began = loop_time(loop);
    Task *t = loop_create_task(loop, sleeper(0.1, V("yeah")));
    loop_run_until_complete(loop, t);
    ck_assert(task_done(t));
    ck_repr(task_result(t), "'yeah'");
    ck_elapsed(loop, began, 0.1);
}

LOOP_TEST(BaseTaskTests__test_sleep_when_delay_is_nan)
{
    ck_raises_text(ValueError, "Invalid delay: NaN (not a number)", loop_run_until_complete(loop, sleeps(NAN)));
}

LOOP_TEST(BaseTaskTests__test_sleep_cancel)
{
    Task *t = loop_create_task(loop, asyncio_sleep(10.0, V("yeah")));
    run_briefly(loop);
    ck_assert(!task_done(t));
    task_cancel(t);
    run_briefly(loop);
    ck_assert(task_cancelled(t));
    check_no_timer_left(loop);
}

async_def(cancels_sleeper)
{
    Task *sleeping = asyncio_create_task(sleeps(5000));
    loop_call_later(asyncio_get_running_loop(), 0.1, cancel_it, .arg = V(sleeping));
    try {
        await(sleeping);
    } except (CancelledError) {
        return V("cancelled");
    } end_try
    return V("slept in");
}

LOOP_TEST(BaseTaskTests__test_task_cancel_sleeping_task)
{
    double began = loop_time(loop);
    ck_repr(loop_run_until_complete(loop, cancels_sleeper()), "'cancelled'");
    ck_elapsed(loop, began, 0.1);
}

LOOP_TEST(BaseTaskTests__test_task_cancel_waiter_future)
{
    Future *fut = loop_create_future(loop);
    Task *task = loop_create_task(loop, awaits(fut));
    run_briefly(loop);
    ck_contains(as_str(repr(task)), "wait_for=<Future pending>");
    task_cancel(task);
    run_briefly(loop);
    ck_raises(CancelledError, loop_run_until_complete(loop, task));
    ck_assert_ptr_null(strstr(as_str(repr(task)), "wait_for"));
    ck_assert(future_cancelled(fut));
}

LOOP_TEST(BaseTaskTests__test_task_set_methods)
{
    Task *task = loop_create_task(loop, notmuch());
    ck_raises_text(RuntimeError, "Task does not support set_result operation", future_set_result((Future *)task, "ok"));
    ck_raises_text(RuntimeError, "Task does not support set_exception operation", future_set_exception((Future *)task, ValueError));
    ck_repr(loop_run_until_complete(loop, task), "'ok'");
}

LOOP_TEST(BaseTaskTests__test_step_result_future)
{
    Future *fut = loop_create_future(loop);
    Task *t = loop_create_task(loop, awaits(fut));
    run_briefly(loop);
    ck_assert(!task_done(t));
    future_set_result(fut, list("an object"));
    run_briefly(loop);
    ck_assert(task_done(t));
    ck_same(task_result(t).object, future_result(fut).object);
}

async_def(exits_when_cancelled, (Value) exit)
{
    try { await(sleeps(10)); } except (CancelledError) { throw(exit); } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_baseexception_during_cancel)
{
    Value exit = V(SystemExit);
    Task *task = loop_create_task(loop, exits_when_cancelled(exit));
    run_briefly(loop);
    task_cancel(task);
    ck_assert(!task_done(task));
    ck_raises(SystemExit, run_briefly(loop));
    ck_assert(task_done(task));
    ck_assert(!task_cancelled(task));
    ck_assert(value_equal(task_exception(task), exit));
}

LOOP_TEST(BaseTaskTests__test_coroutine_non_gen_function)
{
    Coroutine *coro = notmuch();
    ck_assert(asyncio_iscoroutine(coro));
    ck_assert(!asyncio_iscoroutine(loop));
    ck_repr(loop_run_until_complete(loop, coro), "'ok'");
}

async_def(sets_result, (Future *) fut, (Value) v) { future_set_result(fut, v); return None; }

LOOP_TEST(BaseTaskTests__test_coroutine_non_gen_function_return_future)
{
    Future *fut = loop_create_future(loop);
    Task *t1 = loop_create_task(loop, returns(V(fut))), *t2 = loop_create_task(loop, sets_result(fut, V("test")));
    ck_same(loop_run_until_complete(loop, t1).object, fut);
    ck_assert(is_none(task_result(t2)));
}

static Task *expected_task;

async_def(looks_at_itself, (Loop *) loop)
{
    ck_same(asyncio_current_task(), expected_task);
    ck_same(asyncio_current_task(.loop = loop), expected_task);
    ck_same(asyncio_current_task(.loop = NULL), expected_task);
    note("looked");
    return None;
}

static void check_current_task(Loop *loop)
{
    ck_assert_ptr_null(asyncio_current_task(.loop = loop));
    expected_task = loop_create_task(loop, looks_at_itself(loop));
    loop_run_until_complete(loop, expected_task);
    ck_notes("looked");
    ck_assert_ptr_null(asyncio_current_task(.loop = loop));
}

LOOP_TEST(BaseTaskTests__test_current_task) { check_current_task(loop); }

static Task *interleaved[2];

async_def(interleaves, (int) me, (Future *) mine, (Future *) other)
{
    ck_same(asyncio_current_task(), interleaved[me]);
    if (me == 1) future_set_result(other, true);
    await(mine);
    ck_same(asyncio_current_task(), interleaved[me]);
    if (me == 0) future_set_result(other, true);
    return None;
}

LOOP_TEST(BaseTaskTests__test_current_task_with_interleaving_tasks)
{
    ck_assert_ptr_null(asyncio_current_task(.loop = loop));
    Future *fut1 = loop_create_future(loop), *fut2 = loop_create_future(loop);
    interleaved[0] = loop_create_task(loop, interleaves(0, fut1, fut2));
    interleaved[1] = loop_create_task(loop, interleaves(1, fut2, fut1));
    Value both = loop_run_until_complete(loop, asyncio_wait(tuple(interleaved[0], interleaved[1])));
    for_in (task, done_of(both)) ck_assert(is_none(task_exception(as_task(task))));
    ck_assert_ptr_null(asyncio_current_task(.loop = loop));
}

/* ---- BaseTaskTests: cancellation through coroutines, wait() and shield() ------------------------------------------ */

async_def(inner_notes, (Future *) waiter)
{
    try {
        await(waiter);
        note("got past");
    } except (CancelledError) {
        note("inner");
        rethrow;
    } end_try
    return None;
}

async_def(outer_notes, (Future *) waiter)
{
    try {
        await(inner_notes(waiter));
        note("not cancelled");
    } except (CancelledError) {
        note("outer");
    } end_try
    return None;
}

LOOP_TEST(BaseTaskTests__test_yield_future_passes_cancel)
{
    Future *waiter = loop_create_future(loop), *f = asyncio_ensure_future(outer_notes(waiter), .loop = loop);
    run_briefly(loop);
    future_cancel(f);
    loop_run_until_complete(loop, f);
    ck_notes("inner|outer");
    ck_assert(future_cancelled(waiter));
}

async_def(inner_proof, (Future *) waiter) { await(waiter); note("inner"); return None; }
async_def(outer_waits, (Future *) waiter) { await(asyncio_wait(list(asyncio_create_task(inner_proof(waiter))))); note("outer"); return None; }
async_def(outer_shields, (Future *) waiter) { await(asyncio_shield(inner_proof(waiter))); note("outer"); return None; }

/* Cancelling the outer leaves the inner running. */
static void check_inner_goes_on(Loop *loop, Coroutine *outer, Future *waiter)
{
    Future *f = asyncio_ensure_future(outer, .loop = loop);
    run_briefly(loop);
    future_cancel(f);
    ck_raises(CancelledError, loop_run_until_complete(loop, f));
    future_set_result(waiter, None);
    run_briefly(loop);
    ck_notes("inner");
}

LOOP_TEST(BaseTaskTests__test_yield_wait_does_not_shield_cancel)
{
    Future *waiter = loop_create_future(loop);
    check_inner_goes_on(loop, outer_waits(waiter), waiter);
}

LOOP_TEST(BaseTaskTests__test_shield_result)
{
    Future *inner = loop_create_future(loop), *outer = asyncio_shield(inner);
    future_set_result(inner, 42);
    ck_repr(loop_run_until_complete(loop, outer), "42");
}

LOOP_TEST(BaseTaskTests__test_shield_exception)
{
    Future *inner = loop_create_future(loop), *outer = asyncio_shield(inner);
    run_briefly(loop);
    Value exc = exception_new(RuntimeError, "expected");
    future_set_exception(inner, exc);
    run_briefly(loop);
    ck_assert(value_equal(future_exception(outer), exc));
}

LOOP_TEST(BaseTaskTests__test_shield_cancel_inner)
{
    Future *inner = loop_create_future(loop), *outer = asyncio_shield(inner);
    run_briefly(loop);
    future_cancel(inner);
    run_briefly(loop);
    ck_assert(future_cancelled(outer));
}

LOOP_TEST(BaseTaskTests__test_shield_cancel_outer)
{
    Future *inner = loop_create_future(loop), *outer = asyncio_shield(inner);
    run_briefly(loop);
    future_cancel(outer);
    run_briefly(loop);
    ck_assert(future_cancelled(outer));
    ck_assert(!future_done(inner));
}

LOOP_TEST(BaseTaskTests__test_shield_shortcut)
{
    Future *fut = loop_create_future(loop);
    future_set_result(fut, 42);
    ck_same(asyncio_shield(fut), fut);
    ck_repr(loop_run_until_complete(loop, asyncio_shield(fut)), "42");
}

LOOP_TEST(BaseTaskTests__test_shield_effect)
{
    Future *waiter = loop_create_future(loop);
    check_inner_goes_on(loop, outer_shields(waiter), waiter);
}

LOOP_TEST(BaseTaskTests__test_shield_gather)
{
    Future *child1 = loop_create_future(loop), *child2 = loop_create_future(loop);
    Future *parent = asyncio_gather(child1, child2), *outer = asyncio_shield(parent);
    run_briefly(loop);
    future_cancel(outer);
    run_briefly(loop);
    ck_assert(future_cancelled(outer));
    future_set_result(child1, 1);
    future_set_result(child2, 2);
    run_briefly(loop);
    ck_repr(future_result(parent), "[1, 2]");
}

LOOP_TEST(BaseTaskTests__test_gather_shield)
{
    Future *child1 = loop_create_future(loop), *child2 = loop_create_future(loop);
    Future *inner1 = asyncio_shield(child1), *inner2 = asyncio_shield(child2), *parent = asyncio_gather(inner1, inner2);
    run_briefly(loop);
    future_cancel(parent);
    run_briefly(loop);                                      /* cancels the shields, not the children */
    ck_assert(isinstance(future_exception(parent), CancelledError));
    ck_assert(future_cancelled(inner1));
    ck_assert(future_cancelled(inner2));
    ck_assert(!future_done(child1));
    future_set_result(child1, 1);
    future_set_result(child2, 2);
    run_briefly(loop);
}

async_def(shields) { return V(asyncio_shield(answer())); }

LOOP_TEST(BaseTaskTests__test_shield_coroutine_without_loop)
{
    Coroutine *inner = answer();
    ck_raises_text(RuntimeError, "There is no current event loop in thread 'MainThread'.", asyncio_shield(inner));
    coroutine_close(inner);
}

LOOP_TEST(BaseTaskTests__test_shield_coroutine_use_running_loop)
{
    Future *outer = as_future(loop_run_until_complete(loop, shields()));
    ck_same(future_get_loop(outer), loop);
    ck_repr(loop_run_until_complete(loop, outer), "42");
}

LOOP_TEST(BaseTaskTests__test_shield_coroutine_use_global_loop)
{
    asyncio_set_event_loop(loop);
    Future *outer = asyncio_shield(answer());
    asyncio_set_event_loop(NULL);
    ck_same(future_get_loop(outer), loop);
    ck_repr(loop_run_until_complete(loop, outer), "42");
}

/* ---- BaseTaskTests: reports, gather(), contexts ------------------------------------------------------------------- */

async_def(kill_me) { await(loop_create_future(asyncio_get_running_loop())); return None; }

/* A task that only the future knows that it waits for: a cycle, which goes when its loop closes. */
LOOP_TEST(BaseTaskTests__test_log_destroyed_pending_task)
{
    reports_begin(loop);
    loop_set_debug(loop, true);
    Future *task = asyncio_ensure_future(kill_me(), .loop = loop);
    Value all = asyncio_all_tasks(.loop = loop);
    ck_assert_int_eq(len(all), 1);
    ck_assert(is_same(list_get(all, 0), task));
    run_briefly(loop);
    ck_assert_int_eq(reported.count, 0);
    loop_close(loop);
    ck_assert_int_eq(len(asyncio_all_tasks(.loop = loop)), 0);
    ck_assert_int_eq(reported.count, 1);
    ck_assert_str_eq(reported.message, "Task was destroyed but it is pending!");
    ck_same(reported.task, task);
    ck_same(reported.loop, loop);
}

async_def(cancels_failed)
{
    scope {
        Task *task = asyncio_create_task(raises(V(TypeError)));
        await(asyncio_sleep(0.05));
        ck_assert(task_done(task));
        task_cancel(task);
    }
    return None;
}

LOOP_TEST(BaseTaskTests__test_tb_logger_not_called_after_cancel)
{
    reports_begin(loop);
    loop_run_until_complete(loop, cancels_failed());
    ck_assert_int_eq(reported.count, 0);
}

async_def(gathers_one, (Future *) fut) { return V(asyncio_ensure_future(asyncio_gather(awaits(fut)))); }
static void note_cancel(Future *future, Value gathering) { (void)future; note("cancelled", future_cancel(as_future(gathering))); }

LOOP_TEST(BaseTaskTests__test_cancel_gather_1)
{
    Future *fut = loop_create_future(loop), *gathering = as_future(loop_run_until_complete(loop, gathers_one(fut)));
    future_add_done_callback(fut, note_cancel, .arg = V(gathering));
    future_set_result(fut, 42);
    loop_run_until_complete(loop, gathering);
    ck_notes("cancelled False");                            /* all children are done */
    ck_assert(!future_cancelled(gathering));
    ck_repr(future_result(gathering), "[42]");
}

async_def(gathers_on)
{
    for (double time = 0; time <= 1; time += 0.05) await(asyncio_gather(asyncio_sleep(0.05), .return_exceptions = true));
    return None;
}

async_def(cancels_gathering, (Value) message)
{
    Task *task = asyncio_create_task(gathers_on());
    await(asyncio_sleep(0.2));
    task_cancel(task, .msg = message);
    await(task);
    return None;
}

LOOP_TEST(BaseTaskTests__test_cancel_gather_2)
{
    make_cancel_cases();
    for (int i = 0; i < CANCEL_CASES; i++) {
        double began = loop_time(loop);
        Value e = cancelled_with(loop, cancels_gathering(cancel_cases[i].message));
        ck_repr(exception_args(e), cancel_cases[i].args);
        check_innermost(e, CancelledError, cancel_cases[i].args, 0);
        ck_elapsed(loop, began, 0.2);
    }
}

async_def(divides) { throw(ZeroDivisionError, "division by zero"); }

async_def(looks_at_traceback)
{
    Task *task = asyncio_create_task(divides());
    await(asyncio_sleep(0));
    Value e = task_exception(task);
    logging(exception_print(e, stderr));
    return None;
}

LOOP_TEST(BaseTaskTests__test_exception_traceback)
{
    loop_run_until_complete(loop, looks_at_traceback());
    ck_contains(logged, "Traceback (most recent call last)");
    ck_contains(logged, "in divides");
}

LOOP_TEST(BaseTaskTests__test_create_task_with_async_function)
{
    for (int i = 0; i < 2; i++) {
        Task *task = loop_create_task(loop, noop());
        ck_assert_str_eq(value_type(V(task)), "Task");
        ck_assert(is_none(loop_run_until_complete(loop, task)));
    }
}

async_def(bare, (const char *) name)
{
    Task *task = asyncio_create_task(answer(), .name = name);
    ck_assert_str_eq(value_type(V(task)), "Task");
    note(task_get_name(task), await(task));
    return None;
}

LOOP_TEST(BaseTaskTests__test_bare_create_task)
{
    loop_run_until_complete(loop, bare(NULL));
    ck_assert_msg(!strncmp(notes_, "Task-", 5) && strstr(notes_, " 42"), "%s", notes_);
}

LOOP_TEST(BaseTaskTests__test_bare_create_named_task)
{
    loop_run_until_complete(loop, bare("No-op"));
    ck_notes("No-op 42");
}

#define ck_var(var, text) ck_repr(contextvar_get(var), text)

async_def(context_1_sub, (ContextVar *) cvar)
{
    await(asyncio_sleep(0.01));
    ck_var(cvar, "'nope'");
    contextvar_set(cvar, "something else");
    return None;
}

async_def(context_1, (ContextVar *) cvar)
{
    ck_var(cvar, "'nope'");
    Task *subtask = asyncio_create_task(context_1_sub(cvar));
    contextvar_set(cvar, "yes");
    ck_var(cvar, "'yes'");
    await(subtask);
    ck_var(cvar, "'yes'");
    return None;
}

LOOP_TEST(BaseTaskTests__test_context_1)
{
    loop_run_until_complete(loop, context_1(context_var("cvar", .default_value = V("nope"))));
}

static void set_something_else(Future *future, Value cvar)
{
    (void)future;
    contextvar_set((ContextVar *)cvar.object, "something else");    /* must not reach the task's context */
    note("done");
}

async_def(context_2, (ContextVar *) cvar)
{
    Loop *loop = asyncio_get_running_loop();
    ck_var(cvar, "'nope'");
    for (int j = 0; j < 2; j++) {
        Future *fut = loop_create_future(loop);
        future_add_done_callback(fut, set_something_else, .arg = V(cvar));
        contextvar_set(cvar, format("yes%d", j));
        loop_call_soon(loop, finish_it, .arg = V(fut));
        await(fut);
        ck_assert(value_equal(contextvar_get(cvar), format("yes%d", j)));
        for (int i = 0; i < 3; i++) {
            contextvar_set(cvar, format("yes%d-%d", i, j));
            await(asyncio_sleep(0.001));
            ck_assert(value_equal(contextvar_get(cvar), format("yes%d-%d", i, j)));
        }
    }
    return None;
}

LOOP_TEST(BaseTaskTests__test_context_2)
{
    ContextVar *cvar = context_var("cvar", .default_value = V("nope"));
    loop_run_until_complete(loop, context_2(cvar));
    ck_notes("done|done");
    ck_var(cvar, "'nope'");
}

static unsigned random_state = 1;
static int random_below(int n) { return (int)((random_state = random_state * 1103515245u + 12345u) >> 16) % n; }

async_def(context_3_sub, (ContextVar *) cvar, (int) num)
{
    for (int i = 0; i < 10; i++) {
        contextvar_set(cvar, num + i);
        await(asyncio_sleep(0.001 * (1 + random_below(50))));
        ck_assert(value_equal(contextvar_get(cvar), V(num + i)));
    }
    return None;
}

async_def(context_3, (ContextVar *) cvar)
{
    Value tasks = list();
    for (int i = 0; i < 100; i++) list_append(tasks, asyncio_create_task(context_3_sub(cvar, random_below(11))));
    await(asyncio_gather_list(tasks));
    return None;
}

LOOP_TEST(BaseTaskTests__test_context_3)
{
    ContextVar *cvar = context_var("cvar", .default_value = V(-1));
    loop_run_until_complete(loop, context_3(cvar));
    ck_var(cvar, "-1");
}

async_def(sets_var, (ContextVar *) cvar, (int) v)
{
    await(asyncio_sleep(0));
    contextvar_set(cvar, v);
    return None;
}

/* 4: the constructor of Task; 5: asyncio.create_task(); 6: loop.create_task(). */
static Task *task_in_context(int way, Coroutine *coro, Context *context)
{
    if (way == 4) return asyncio_Task(coro, .context = context);
    if (way == 5) return asyncio_create_task(coro, .context = context);
    return loop_create_task(asyncio_get_running_loop(), coro, .context = context);
}

async_def(context_shared, (ContextVar *) cvar, (int) way)
{
    Value seen = list();
    Context *context = asyncio_copy_context();
    list_append(seen, context_get(context, cvar, None));
    await(task_in_context(way, sets_var(cvar, 1), context));
    list_append(seen, context_get(context, cvar, None));
    await(task_in_context(way, sets_var(cvar, 2), context));
    list_append(seen, context_get(context, cvar, None));
    return seen;
}

static void check_context_shared(Loop *loop, int way)
{
    ck_repr(loop_run_until_complete(loop, context_shared(context_var("cvar"), way)), "[None, 1, 2]");
}

LOOP_TEST(BaseTaskTests__test_context_4) { check_context_shared(loop, 4); }
LOOP_TEST(BaseTaskTests__test_context_5) { check_context_shared(loop, 5); }
LOOP_TEST(BaseTaskTests__test_context_6) { check_context_shared(loop, 6); }

LOOP_TEST(BaseTaskTests__test_get_coro)
{
    Coroutine *coro = noop();
    Task *task = loop_create_task(loop, coro);
    loop_run_until_complete(loop, task);
    ck_same(task_get_coro(task), coro);
}

LOOP_TEST(BaseTaskTests__test_get_context)
{
    Context *context = asyncio_copy_context();
    Task *task = loop_create_task(loop, noop(), .context = context);
    loop_run_until_complete(loop, task);
    ck_same(task_get_context(task), context);
}

/* ---- SetMethodsTest: nobody but the task itself decides what it comes to ------------------------------------------- */

exception_class(MyExc, Exception);

LOOP_TEST(SetMethodsTest__test_set_result_causes_invalid_state)
{
    Task *task = loop_create_task(loop, sleeps_and_returns(0.1, 10));
    run_briefly(loop);
    ck_raises(RuntimeError, future_set_result(as_future(V(task)), "spam"));
    ck_assert(!task_done(task));
    ck_repr(loop_run_until_complete(loop, task), "10");
    ck_raises(RuntimeError, future_set_result(as_future(V(task)), "spam"));
}

LOOP_TEST(SetMethodsTest__test_set_exception_causes_invalid_state)
{
    Task *task = loop_create_task(loop, sleeps_and_returns(0.1, 10));
    run_briefly(loop);
    ck_raises(RuntimeError, future_set_exception(as_future(V(task)), MyExc));
    ck_assert(!task_done(task));
    ck_repr(loop_run_until_complete(loop, task), "10");
}

/* ---- BaseTaskIntrospectionTests: which tasks there are, and which one runs ----------------------------------------- */

static Task *plain_factory(Loop *loop, Coroutine *coro, TaskOptions options)
{
    return asyncio_Task(coro, .loop = loop, .name = options.name, .context = options.context);
}

static void check_registered(Loop *loop)
{
    ck_repr(asyncio_all_tasks(.loop = loop), "[]");
    Task *task = loop_create_task(loop, noop());
    Value all = asyncio_all_tasks(.loop = loop);
    ck_assert_int_eq(len(all), 1);
    ck_assert(is_same(list_get(all, 0), task));
    loop_run_until_complete(loop, task);
}

LOOP_TEST(BaseTaskIntrospectionTests__test__register_task_1) { check_registered(loop); }

LOOP_TEST(BaseTaskIntrospectionTests__test__register_task_2)
{
    loop_set_task_factory(loop, plain_factory);
    check_registered(loop);
}

LOOP_TEST(BaseTaskIntrospectionTests__test__register_task_3)
{
    Task *done = loop_create_task(loop, noop());
    loop_run_until_complete(loop, done);
    ck_assert(task_done(done));
    ck_repr(asyncio_all_tasks(.loop = loop), "[]");
}

LOOP_TEST(BaseTaskIntrospectionTests__test__enter_task) { check_current_task(loop); }

async_def(enters_another_loop, (Loop *) other)
{
    Task *task = asyncio_current_task();
    ck_raises_text(RuntimeError, "Cannot run the event loop while another loop is running", loop_run_until_complete(other, noop()));
    ck_same(asyncio_current_task(), task);
    return None;
}

LOOP_TEST(BaseTaskIntrospectionTests__test__enter_task_failure)
{
    Loop *other = new_test_loop();
    loop_run_until_complete(loop, enters_another_loop(other));
    loop_close(other);
}

static void note_current(Value arg) { (void)arg; note(asyncio_current_task() ? "a task" : "no task"); }
async_def(leaves) { loop_call_soon(asyncio_get_running_loop(), note_current); await(asyncio_sleep(0)); return None; }

LOOP_TEST(BaseTaskIntrospectionTests__test__leave_task)
{
    loop_run_until_complete(loop, leaves());
    ck_notes("no task");
    ck_assert_ptr_null(asyncio_current_task(.loop = loop));
}

async_def(notes_name) { note(task_get_name(asyncio_current_task())); await(asyncio_sleep(0)); return None; }

async_def(starts_eagerly)
{
    Task *outer = asyncio_current_task(), *inner = asyncio_create_task(notes_name(), .name = "inner", .eager_start = true);
    ck_same(asyncio_current_task(), outer);
    await(inner);
    ck_same(asyncio_current_task(), outer);
    return None;
}

LOOP_TEST(BaseTaskIntrospectionTests__test__leave_task_failure1)
{
    loop_run_until_complete(loop, starts_eagerly());
    ck_notes("inner");
}

static void await_in_callback(Value loop)
{
    Coroutine *sleep = asyncio_sleep(1);
    ck_raises(RuntimeError, await(sleep));
    coroutine_close(sleep);
    ck_assert_ptr_null(asyncio_current_task());
    note("refused");
    loop_stop((Loop *)loop.object);
}

LOOP_TEST(BaseTaskIntrospectionTests__test__leave_task_failure2)
{
    loop_call_soon(loop, await_in_callback, .arg = V(loop));
    loop_run_forever(loop);
    ck_notes("refused");
}

LOOP_TEST(BaseTaskIntrospectionTests__test__unregister_task)
{
    Task *task = loop_create_task(loop, sleeps(1));
    run_briefly(loop);
    ck_assert_int_eq(len(asyncio_all_tasks(.loop = loop)), 1);
    loop_run_until_complete(loop, task);
    ck_repr(asyncio_all_tasks(.loop = loop), "[]");
}

LOOP_TEST(BaseTaskIntrospectionTests__test__unregister_task_not_registered)
{
    Task *task = loop_create_task(loop, sleeps(1));
    task_cancel(task);
    ck_raises(CancelledError, loop_run_until_complete(loop, task));
    ck_assert(!task_cancel(task));
    ck_repr(asyncio_all_tasks(.loop = loop), "[]");
}

/* ---- BaseCurrentLoopTests ----------------------------------------------------------------------------------------- */

LOOP_TEST(BaseCurrentLoopTests__test_current_task_no_running_loop) { ck_assert_ptr_null(asyncio_current_task(.loop = loop)); }

SYNC_TEST(BaseCurrentLoopTests__test_current_task_no_running_loop_implicit)
{
    ck_raises_text(RuntimeError, "no running event loop", asyncio_current_task());
}

LOOP_TEST(BaseCurrentLoopTests__test_current_task_with_implicit_loop) { check_current_task(loop); }

/* ---- GatherTestsBase: over futures, and over coroutines that await them ------------------------------------------- */

LOOP_TEST(GenericTaskTests__test_future_subclass)
{
    Task *task = loop_create_task(loop, noop());
    ck_assert(asyncio_isfuture(task));
    loop_run_until_complete(loop, task);
}

static void run_all(Loop *loop) { for (int i = 0; i < 4; i++) run_briefly(loop); }

async_def(gathers, (Value) futures, (bool) wrapped, (bool) return_exceptions)
{
    Value awaitables = futures;
    if (wrapped) {
        awaitables = list();
        for_in (f, futures) list_append(awaitables, awaits(as_future(f)));
    }
    return V(asyncio_gather_list(awaitables, .return_exceptions = return_exceptions));
}

static void note_done(Future *future, Value arg) { (void)arg; note("done", future_done(future)); }

static Future *gather_of(Loop *loop, Value futures, bool wrapped, bool return_exceptions)
{
    Future *fut = as_future(loop_run_until_complete(loop, gathers(futures, wrapped, return_exceptions)));
    future_add_done_callback(fut, note_done);
    return fut;
}

static Value new_futures(Loop *loop, int count)
{
    Value futures = list();
    for (int i = 0; i < count; i++) list_append(futures, loop_create_future(loop));
    return futures;
}

#define nth(futures, i) as_future(list_get(futures, i))

static void check_gather_success(Loop *loop, bool wrapped, bool return_exceptions)
{
    Value f = new_futures(loop, 3);
    Future *fut = gather_of(loop, f, wrapped, return_exceptions);
    future_set_result(nth(f, 1), 1);
    future_set_result(nth(f, 0), 2);
    run_all(loop);
    ck_notes("");
    ck_assert(!future_done(fut));
    future_set_result(nth(f, 2), 3);
    run_all(loop);
    ck_notes("done True");
    ck_repr(future_result(fut), "[2, 1, 3]");
}

LOOP_TEST(GatherTestsBase__test_success)
{
    check_gather_success(loop, false, false);
    check_gather_success(loop, true, false);
}

LOOP_TEST(GatherTestsBase__test_result_exception_success)
{
    check_gather_success(loop, false, true);
    check_gather_success(loop, true, true);
}

/* What comes after the first exception does nothing. */
static void finish_rest(Loop *loop, Value f)
{
    future_set_result(nth(f, 2), 3);
    future_cancel(nth(f, 3));
    future_set_exception(nth(f, 4), RuntimeError);
    future_exception(nth(f, 4));
    run_all(loop);
    ck_notes("");
}

LOOP_TEST(GatherTestsBase__test_one_exception)
{
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        Value f = new_futures(loop, 5), exc = V(ZeroDivisionError);
        Future *fut = gather_of(loop, f, wrapped, false);
        future_set_result(nth(f, 0), 1);
        future_set_exception(nth(f, 1), exc);
        run_all(loop);
        ck_assert(future_done(fut));
        ck_notes("done True");
        ck_assert(value_equal(future_exception(fut), exc));
        finish_rest(loop, f);
    }
}

LOOP_TEST(GatherTestsBase__test_return_exceptions)
{
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        Value f = new_futures(loop, 4), exc = V(ZeroDivisionError), exc2 = V(RuntimeError);
        Future *fut = gather_of(loop, f, wrapped, true);
        future_set_result(nth(f, 1), 1);
        future_set_exception(nth(f, 2), exc);
        future_set_result(nth(f, 0), 3);
        run_all(loop);
        ck_assert(!future_done(fut));
        future_set_exception(nth(f, 3), exc2);
        run_all(loop);
        ck_assert(future_done(fut));
        ck_notes("done True");
        ck_assert(value_equal(future_result(fut), list(3, 1, exc, exc2)));
    }
}

static void check_empty_gather(Loop *loop, Future *fut)
{
    ck_assert(asyncio_isfuture(fut));
    ck_same(future_get_loop(fut), loop);
    run_all(loop);
    ck_assert(future_done(fut));
    ck_repr(future_result(fut), "[]");
}

SYNC_TEST(FutureGatherTests__test_constructor_empty_sequence_without_loop)
{
    ck_raises_text(RuntimeError, "There is no current event loop in thread 'MainThread'.", asyncio_gather());
}

LOOP_TEST(FutureGatherTests__test_constructor_empty_sequence_use_running_loop)
{
    check_empty_gather(loop, as_future(loop_run_until_complete(loop, gathers(list(), false, false))));
}

LOOP_TEST(FutureGatherTests__test_constructor_empty_sequence_use_global_loop)
{
    asyncio_set_event_loop(loop);
    Future *fut = asyncio_gather();
    asyncio_set_event_loop(NULL);
    check_empty_gather(loop, fut);
}

LOOP_TEST(FutureGatherTests__test_constructor_heterogenous_futures)
{
    Loop *other = new_test_loop();
    Future *fut1 = loop_create_future(loop), *fut2 = loop_create_future(other);
    ck_raises_text(ValueError, another_loop, asyncio_gather(fut1, fut2));
    future_cancel(fut1);
    loop_close(other);
}

LOOP_TEST(FutureGatherTests__test_constructor_homogenous_futures)
{
    Loop *other = new_test_loop();
    Value children = new_futures(other, 3);
    for (int i = 0; i < 2; i++) {
        Future *fut = asyncio_gather_list(children);
        ck_same(future_get_loop(fut), other);
        run_all(other);
        ck_assert(!future_done(fut));
    }
    for_in (child, children) future_cancel(as_future(child));
    loop_close(other);
}

LOOP_TEST(FutureGatherTests__test_one_cancellation)
{
    Value f = new_futures(loop, 5);
    Future *fut = asyncio_gather_list(f);
    future_add_done_callback(fut, note_done);
    future_set_result(nth(f, 0), 1);
    future_cancel(nth(f, 1));
    run_all(loop);
    ck_assert(future_done(fut));
    ck_notes("done True");
    ck_assert(!future_cancelled(fut));
    ck_assert(isinstance(future_exception(fut), CancelledError));
    finish_rest(loop, f);
}

LOOP_TEST(FutureGatherTests__test_result_exception_one_cancellation)
{
    Value f = new_futures(loop, 6), zde = V(ZeroDivisionError), rte = V(RuntimeError);
    Future *fut = asyncio_gather_list(f, .return_exceptions = true);
    future_add_done_callback(fut, note_done);
    future_set_result(nth(f, 0), 1);
    future_set_exception(nth(f, 1), zde);
    future_cancel(nth(f, 2));
    run_all(loop);
    ck_assert(!future_done(fut));
    future_set_result(nth(f, 3), 3);
    future_cancel(nth(f, 4));
    future_set_exception(nth(f, 5), rte);
    Value res = loop_run_until_complete(loop, fut);
    ck_assert(isinstance(list_get(res, 2), CancelledError));
    ck_assert(isinstance(list_get(res, 4), CancelledError));
    list_set(res, 2, None);
    list_set(res, 4, None);
    ck_assert(value_equal(res, list(1, zde, None, 3, None, rte)));
    ck_notes("done True");
}

SYNC_TEST(CoroutineGatherTests__test_constructor_without_loop)
{
    Coroutine *a = answer(), *b = answer();
    ck_raises_text(RuntimeError, "There is no current event loop in thread 'MainThread'.", asyncio_gather(a, b));
    coroutine_close(a);
    coroutine_close(b);
}

async_def(gathers_two) { return V(asyncio_gather(answer(), answer())); }

LOOP_TEST(CoroutineGatherTests__test_constructor_use_running_loop)
{
    Future *fut = as_future(loop_run_until_complete(loop, gathers_two()));
    ck_same(future_get_loop(fut), loop);
    ck_repr(loop_run_until_complete(loop, fut), "[42, 42]");
}

LOOP_TEST(CoroutineGatherTests__test_constructor_use_global_loop)
{
    asyncio_set_event_loop(loop);
    Future *fut = asyncio_gather(answer(), answer());
    asyncio_set_event_loop(NULL);
    ck_same(future_get_loop(fut), loop);
    ck_repr(loop_run_until_complete(loop, fut), "[42, 42]");
}

LOOP_TEST(CoroutineGatherTests__test_duplicate_coroutines)
{
    Coroutine *c = returns(V("abc"));
    Future *fut = as_future(loop_run_until_complete(loop, gathers(list(c, c, returns(V("def")), c), false, false)));
    run_all(loop);
    ck_repr(future_result(fut), "['abc', 'abc', 'def', 'abc']");
}

async_def(awaits_gather, (Value) children, (Value) box)
{
    Future *gathering = asyncio_gather_list(children);
    list_append(box, gathering);
    await(gathering);
    note("outer");
    return None;
}

LOOP_TEST(CoroutineGatherTests__test_cancellation_broadcast)
{
    Future *waiter = loop_create_future(loop);
    Future *child1 = asyncio_ensure_future(inner_proof(waiter), .loop = loop), *child2 = asyncio_ensure_future(inner_proof(waiter), .loop = loop);
    Value box = list();
    Future *f = asyncio_ensure_future(awaits_gather(list(child1, child2), box), .loop = loop);
    run_briefly(loop);
    ck_assert(future_cancel(f));
    ck_raises(CancelledError, loop_run_until_complete(loop, f));
    ck_assert(!future_cancel(as_future(list_get(box, 0))));
    ck_assert(future_cancelled(waiter));
    ck_assert(future_cancelled(child1));
    ck_assert(future_cancelled(child2));
    run_briefly(loop);
    ck_notes("");
}

async_def(fails_later, (Future *) f) { await(f); throw(RuntimeError, "should not be ignored"); }
async_def(gathers_failures, (Future *) a, (Future *) b) { await(asyncio_gather(fails_later(a), fails_later(b))); return None; }

LOOP_TEST(CoroutineGatherTests__test_exception_marking)
{
    reports_begin(loop);
    Future *a = loop_create_future(loop), *b = loop_create_future(loop);
    Future *f = asyncio_ensure_future(gathers_failures(a, b), .loop = loop);
    run_briefly(loop);
    future_set_result(a, None);
    run_briefly(loop);
    future_set_result(b, None);
    run_briefly(loop);
    ck_assert(isinstance(future_exception(f), RuntimeError));
    ck_assert_int_eq(reported.count, 0);
}

async_def(gathers_nonsense, (Coroutine *) c) { return V(asyncio_gather_list(list(c, list()))); }

LOOP_TEST(CoroutineGatherTests__test_issue46672)
{
    reports_begin(loop);
    ck_raises(TypeError, loop_run_until_complete(loop, gathers_nonsense(returns(V("abc")))));
    run_all(loop);
    ck_assert_int_eq(reported.count, 0);
}

/* ---- SleepTests --------------------------------------------------------------------------------------------------- */

static int result;
static void increase(Value n) { result += (int)as_int(n); }

async_def(sleeps_zero)
{
    loop_call_soon(asyncio_get_running_loop(), increase, .arg = V(1));
    ck_assert_int_eq(result, 0);
    Value num = await(asyncio_sleep(0, V(10)));
    ck_assert_int_eq(result, 1);
    increase(num);
    return None;
}

LOOP_TEST(SleepTests__test_sleep_zero)
{
    result = 0;
    loop_run_until_complete(loop, sleeps_zero());
    ck_assert_int_eq(result, 11);
}

/* ---- RunCoroutineThreadsafeTests ---------------------------------------------------------------------------------- */

typedef struct Submission { Loop *loop; double timeout; bool fail, cancel; double delay; } Submission;

/* Waits for a while and returns a + b. */
async_def(add, (int) a, (int) b, (double) delay, (bool) fail, (bool) cancel)
{
    await(asyncio_sleep(delay));
    if (fail) throw(RuntimeError, "Fail!");
    if (cancel) {
        task_cancel(asyncio_current_task());
        await(asyncio_sleep(0));
    }
    return V(a + b);
}

/* What runs in the thread: submits add() to the loop and waits for its result. */
static Value submit_add(Value submission)
{
    Submission *s = as_pointer(submission);
    ThreadFuture *future = asyncio_run_coroutine_threadsafe(add(1, 2, s->delay, s->fail, s->cancel), s->loop);
    Value volatile sum = None;
    try {
        sum = threadfuture_result(future, .timeout = s->timeout);
    } finally {
        if (!threadfuture_done(future)) threadfuture_cancel(future);
    } end_try
    return sum;
}

static Value run_add(Submission *s)
{
    return loop_run_until_complete(s->loop, loop_run_in_executor(s->loop, NULL, submit_add, .arg = V((void *)s)));
}

static void end_threads(Loop *loop) { loop_run_until_complete(loop, loop_shutdown_default_executor(loop)); }

LOOP_TEST(RunCoroutineThreadsafeTests__test_run_coroutine_threadsafe)
{
    ck_repr(run_add(&(Submission){loop, NO_TIMEOUT, false, false, 0.05}), "3");
    end_threads(loop);
}

LOOP_TEST(RunCoroutineThreadsafeTests__test_run_coroutine_threadsafe_with_exception)
{
    ck_raises_text(RuntimeError, "Fail!", run_add(&(Submission){loop, NO_TIMEOUT, true, false, 0.05}));
    end_threads(loop);
}

LOOP_TEST(RunCoroutineThreadsafeTests__test_run_coroutine_threadsafe_with_timeout)
{
    loop_set_virtual_clock(loop, false);                    /* on which an hour would be over before the thread looks */
    ck_raises(TimeoutError, run_add(&(Submission){loop, 0, false, false, 3600}));
    run_all(loop);
    ck_repr(asyncio_all_tasks(.loop = loop), "[]");          /* add() was cancelled */
    end_threads(loop);
}

LOOP_TEST(RunCoroutineThreadsafeTests__test_run_coroutine_threadsafe_task_cancelled)
{
    ck_raises(CancelledError, run_add(&(Submission){loop, NO_TIMEOUT, false, true, 0.05}));
    end_threads(loop);
}

static Task *broken_factory(Loop *loop, Coroutine *coro, TaskOptions options)
{
    (void)loop;
    (void)options;
    coroutine_close(coro);
    throw(NameError, "broken");
}

LOOP_TEST(RunCoroutineThreadsafeTests__test_run_coroutine_threadsafe_task_factory_exception)
{
    reports_begin(loop);
    Submission s = {loop, NO_TIMEOUT, false, false, 0.05};
    Future *run = loop_run_in_executor(loop, NULL, submit_add, .arg = V((void *)&s));
    loop_set_task_factory(loop, broken_factory);
    ck_raises_text(NameError, "broken", loop_run_until_complete(loop, run));
    loop_set_task_factory(loop, NULL);
    ck_assert_int_eq(reported.count, 1);
    ck_repr(report_exception(), "NameError('broken')");
    end_threads(loop);
}

/* ---- What the loop lets go of --------------------------------------------------------------------------------------- */

async_def(returns_list) { return list(1, list(2)); }

static void check_hundred_tasks(Loop *loop)
{
    Value tasks = list();
    for (int i = 0; i < 100; i++) list_append(tasks, loop_create_task(loop, returns_list()));
    ck_assert_int_eq(len(loop_run_until_complete(loop, asyncio_gather_list(tasks))), 100);
}

LOOP_TEST(BaseTaskTests__test_task_del_collect) { check_hundred_tasks(loop); }

LOOP_TEST(CTask_CFuture_Tests__test_refleaks_in_task___init__)
{
    scope check_hundred_tasks(loop);
    size_t before = asyncio_live_objects();
    for (int i = 0; i < 3; i++) scope check_hundred_tasks(loop);
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

LOOP_TEST(BaseTaskTests__test_create_task_with_noncoroutine)
{
    Coroutine *not_one = (Coroutine *)loop_create_future(loop);
    for (int i = 0; i < 2; i++) {
        ck_raises_text(TypeError, "a coroutine was expected, got NULL", loop_create_task(loop, NULL));
        ck_raises_text(TypeError, "a coroutine was expected, got Future", loop_create_task(loop, not_one));
    }
}
