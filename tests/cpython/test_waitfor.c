/* CPython 3.13's test_waitfor.py: wait_for(), each method under its own name. */
#include "../testing.h"

#define EPSILON 0.0001                                  /* greater than zero, and that is all */

static double now(void) { return loop_time(asyncio_get_running_loop()); }
static void cancel(Value task) { task_cancel(as_task(task)); }

/* ---- AsyncioWaitForTest ----------------------------------------------------------------------------------------- */

#define TASK_TIMEOUT 0.2
static bool exited;

/* Runs for TASK_TIMEOUT, whoever cancels it. */
async_def(slow_task)
{
    const double exit_at = now() + TASK_TIMEOUT;
    while (now() < exit_at - 1e-9) {
        try {
            await(asyncio_sleep(exit_at - now()));
        } except (CancelledError) {
            note("ignored");
        } end_try
    }
    exited = true;
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_asyncio_wait_for_cancelled)
{
    exited = false;
    Task *task = asyncio_create_task(asyncio_wait_for(slow_task(), TASK_TIMEOUT * 2));
    await(asyncio_sleep(0));
    task_cancel(task);
    await(asyncio_wait(list(task)));
    ck_assert(exited);
    ck_notes("ignored");
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_asyncio_wait_for_timeout)
{
    exited = false;
    double t0 = now();
    try {
        await(asyncio_wait_for(slow_task(), TASK_TIMEOUT / 2));
    } except (TimeoutError) {
        note("timeout");
    } end_try
    ck_assert(exited);
    ck_assert_double_eq_tol(now(), t0 + TASK_TIMEOUT, 1e-6);
    ck_notes("ignored");                                /* the task returned, so there is no TimeoutError */
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_timeout_less_then_0_or_0_future_done)
{
    Future *future = loop_create_future(asyncio_get_running_loop());
    future_set_result(future, "done");
    ck_repr(await(asyncio_wait_for(future, 0)), "'done'");
    ck_assert(future_done(future));
    return None;
}

async_def(foo_started) { note("started"); return None; }

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_timeout_less_then_0_or_0_coroutine_do_not_started)
{
    ck_raises(TimeoutError, await(asyncio_wait_for(foo_started(), 0)));
    ck_notes("");
    return None;
}

async_def(sleep_long, (Future *) started, (double) seconds)
{
    note("running");
    if (started) future_set_result(started, None);
    try {
        await(asyncio_sleep(seconds));
    } finally {
        note("over");
    } end_try
    return V("done");
}

async_def(wait_without_time, (double) timeout)
{
    Future *started = loop_create_future(asyncio_get_running_loop());
    Task *task = asyncio_create_task(sleep_long(started, 10));
    await(started);
    ck_raises(TimeoutError, await(asyncio_wait_for(task, timeout)));
    ck_assert(task_done(task));
    ck_assert(task_cancelled(task));
    ck_notes("running|over");
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_timeout_less_then_0_or_0)
{
    await(wait_without_time(0));
    await(wait_without_time(-1));
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for)
{
    double t0 = now();
    Task *task = asyncio_create_task(sleep_long(NULL, 300));
    ck_raises(TimeoutError, await(asyncio_wait_for(task, 0.1)));
    ck_assert_double_eq_tol(now(), t0 + 0.1, 1e-6);
    ck_assert(task_done(task));
    ck_assert(task_cancelled(task));
    ck_notes("running|over");
    return None;
}

async_def(done) { return V("done"); }

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_blocking)
{
    ck_repr(await(asyncio_wait_for(done(), None)), "'done'");
    return None;
}

static void set_ok(Value future) { future_set_result(as_future(future), "ok"); }

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_race_condition)
{
    Future *future = loop_create_future(asyncio_get_running_loop());
    Coroutine *wait = asyncio_wait_for(future, 0.2);
    loop_call_soon(asyncio_get_running_loop(), set_ok, V(future));
    ck_repr(await(wait), "'ok'");
    return None;
}

async_def(swallow)
{
    ck_raises(CancelledError, await(asyncio_sleep(1)));
    return V(1);
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_cancellation_race_condition)
{
    ck_repr(await(asyncio_wait_for(swallow(), 0.01)), "1");
    return None;
}

async_def(slow_to_be_cancelled)
{
    try {
        await(asyncio_sleep(10));
    } except (CancelledError) {
        await(asyncio_sleep(EPSILON));
        rethrow;
    } finally {
        note("task done");
    } end_try
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_waits_for_task_cancellation)
{
    Task *inner = asyncio_create_task(slow_to_be_cancelled());
    try {
        await(asyncio_wait_for(inner, EPSILON));
        ck_abort();
    } except (TimeoutError, e) {
        ck_assert(exception_type(exception_context(e)) == CancelledError);
    } end_try
    ck_notes("task done");
    return None;
}

async_def(wait_for_with_timeout_0)
{
    Task *inner = asyncio_create_task(slow_to_be_cancelled());
    await(asyncio_sleep(EPSILON));
    return await(asyncio_wait_for(inner, 0));
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_waits_for_task_cancellation_w_timeout_0)
{
    try {
        await(wait_for_with_timeout_0());
        ck_abort();
    } except (TimeoutError, e) {
        ck_assert(exception_type(exception_context(e)) == CancelledError);
    } end_try
    ck_notes("task done");
    return None;
}

exception_class(FooException, Exception);

async_def(fail_when_cancelled)
{
    try {
        await(asyncio_sleep(0.2));
    } finally {
        throw(FooException);
    } end_try
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_reraises_exception_during_cancellation)
{
    Task *inner = asyncio_create_task(fail_when_cancelled());
    ck_raises(FooException, await(asyncio_wait_for(inner, EPSILON)));
    return None;
}

async_def(block_for_good) { return await(loop_create_future(asyncio_get_running_loop())); }

/* bpo-23219: cancelling the wait cancels the task too. */
async_def(cancel_the_wait, (double) timeout)
{
    Task *task = asyncio_create_task(block_for_good());
    Task *wait = asyncio_create_task(asyncio_wait_for(task, timeout));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(wait));
    ck_raises(CancelledError, await(wait));
    ck_assert(task_cancelled(task));
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_cancel_blocking_wait_for) { return await(cancel_the_wait(NO_TIMEOUT)); }
ASYNC_TEST(AsyncioWaitForTest__test_cancel_wait_for) { return await(cancel_the_wait(60.0)); }

async_def(return_42)
{
    try {
        await(asyncio_sleep(10));
    } except (CancelledError) {
        return V(42);
    } end_try
    return None;
}

ASYNC_TEST(AsyncioWaitForTest__test_wait_for_cancel_suppressed)
{
    ck_repr(await(asyncio_wait_for(return_42(), 0.1)), "42");
    return None;
}

async_def(wait_and_sleep, (Task *) inner)
{
    await(asyncio_wait_for(inner, 100));
    await(asyncio_sleep(1));
    note("reached the end");
    return None;
}

/* gh-86296: the inner task is done in the same pass in which the outer one is cancelled: the cancellation counts. */
ASYNC_TEST(AsyncioWaitForTest__test_wait_for_issue86296)
{
    Task *inner = asyncio_create_task(done());
    Task *task = asyncio_create_task(wait_and_sleep(inner));
    ck_assert(!task_done(task));
    await(asyncio_sleep(0));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_assert(task_done(inner));
    ck_repr(await(inner), "'done'");
    ck_notes("");
    return None;
}

/* ---- WaitForShieldTests ----------------------------------------------------------------------------------------- */

async_def(done_after, (double) delay)
{
    await(asyncio_sleep(delay));
    return V("done");
}

ASYNC_TEST(WaitForShieldTests__test_zero_timeout)
{
    Task *task = asyncio_create_task(done_after(0.01));
    Future *shielded = asyncio_shield(task);
    ck_raises(TimeoutError, await(asyncio_wait_for(shielded, 0)));
    ck_assert(!task_done(task));
    ck_assert(!task_cancelled(task));
    ck_assert(future_cancelled(shielded));
    await(asyncio_sleep(0.1));
    ck_assert(task_done(task));
    return None;
}

ASYNC_TEST(WaitForShieldTests__test_none_timeout)
{
    Task *task = asyncio_create_task(done_after(0.1));
    await(asyncio_wait_for(asyncio_shield(task), None));
    ck_assert(task_done(task));
    ck_repr(await(task), "'done'");
    return None;
}

ASYNC_TEST(WaitForShieldTests__test_shielded_timeout)
{
    Task *task = asyncio_create_task(done_after(0.1));
    ck_raises(TimeoutError, await(asyncio_wait_for(asyncio_shield(task), 0.01)));
    ck_assert(!task_done(task));
    ck_assert(!task_cancelled(task));
    ck_repr(await(task), "'done'");
    return None;
}
