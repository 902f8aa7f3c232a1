/* CPython's test_futures.py. */
#include "cpython.h"
#include <pthread.h>

/* ---- BaseFutureTests -------------------------------------------------------------------------------------------- */

exception_class(MyStopIteration, StopIteration);

LOOP_TEST(BaseFutureTests__test_isfuture)
{
    Future *f = loop_create_future(loop);
    ck_assert(!asyncio_isfuture(1));
    ck_assert(!asyncio_isfuture("a future"));
    ck_assert(!asyncio_isfuture(loop));
    ck_assert(!asyncio_isfuture(RuntimeError));
    ck_assert(asyncio_isfuture(f));
    future_cancel(f);
}

LOOP_TEST(BaseFutureTests__test_initial_state)
{
    Future *f = loop_create_future(loop);
    ck_assert(!future_cancelled(f));
    ck_assert(!future_done(f));
    future_cancel(f);
    ck_assert(future_cancelled(f));
}

async_def(make_future) { return V(loop_create_future(asyncio_get_running_loop())); }

LOOP_TEST(BaseFutureTests__test_constructor_use_running_loop)
{
    Future *f = as_future(loop_run_until_complete(loop, make_future()));
    ck_same(future_get_loop(f), loop);
}

LOOP_TEST(BaseFutureTests__test_constructor_use_global_loop)
{
    asyncio_set_event_loop(loop);
    Future *f = loop_create_future(asyncio_get_event_loop());
    ck_same(future_get_loop(f), loop);
    asyncio_set_event_loop(NULL);
}

LOOP_TEST(BaseFutureTests__test_future_cancel_message_getter)
{
    Future *f = loop_create_future(loop);
    ck_assert(future_cancel(f, .msg = V("my message")));
    ck_raises_text(CancelledError, "my message", loop_run_until_complete(loop, f));
    ck_raises_text(CancelledError, "my message", future_result(f));
}

/* A second cancel() comes too late to set another message. */
LOOP_TEST(BaseFutureTests__test_future_cancel_message_setter)
{
    Future *f = loop_create_future(loop);
    ck_assert(future_cancel(f, .msg = V("my message")));
    ck_assert(!future_cancel(f, .msg = V("my new message")));
    ck_raises_text(CancelledError, "my message", loop_run_until_complete(loop, f));
}

LOOP_TEST(BaseFutureTests__test_cancel)
{
    Future *f = loop_create_future(loop);
    ck_assert(future_cancel(f));
    ck_assert(future_cancelled(f));
    ck_assert(future_done(f));
    ck_raises(CancelledError, future_result(f));
    ck_raises(CancelledError, future_exception(f));
    ck_raises(InvalidStateError, future_set_result(f, None));
    ck_raises(InvalidStateError, future_set_exception(f, None));
    ck_assert(!future_cancel(f));
}

LOOP_TEST(BaseFutureTests__test_result)
{
    Future *f = loop_create_future(loop);
    ck_raises_text(InvalidStateError, "Result is not set.", future_result(f));
    future_set_result(f, 42);
    ck_assert(!future_cancelled(f));
    ck_assert(future_done(f));
    ck_repr(future_result(f), "42");
    ck_assert(is_none(future_exception(f)));
    ck_raises(InvalidStateError, future_set_result(f, None));
    ck_raises(InvalidStateError, future_set_exception(f, None));
    ck_assert(!future_cancel(f));
}

LOOP_TEST(BaseFutureTests__test_exception)
{
    Value exc = V(RuntimeError);
    Future *f = loop_create_future(loop);
    ck_raises_text(InvalidStateError, "Exception is not set.", future_exception(f));
    future_set_exception(f, exc);
    ck_assert(!future_cancelled(f));
    ck_assert(future_done(f));
    ck_raises(RuntimeError, future_result(f));
    ck_assert(value_equal(future_exception(f), exc));
    ck_raises(InvalidStateError, future_set_result(f, None));
    ck_raises(InvalidStateError, future_set_exception(f, None));
    ck_assert(!future_cancel(f));
}

static void check_stop_iteration(Loop *loop, const ExceptionClass *class)
{
    Future *f = loop_create_future(loop);
    future_set_exception(f, class);
    ck_assert(!future_cancelled(f));
    ck_assert(future_done(f));
    ck_raises(RuntimeError, future_result(f));
    Value e = future_exception(f);
    ck_same(exception_type(e), RuntimeError);
    ck_contains(as_str(str(e)), "StopIteration ");
    ck_contains(as_str(str(e)), " cannot be raised");
    ck_same(exception_type(exception_cause(e)), class);
}

LOOP_TEST(BaseFutureTests__test_stop_iteration_exception) { check_stop_iteration(loop, StopIteration); }
LOOP_TEST(BaseFutureTests__test_stop_iteration_subclass_exception) { check_stop_iteration(loop, MyStopIteration); }

LOOP_TEST(BaseFutureTests__test_exception_class)
{
    Future *f = loop_create_future(loop);
    future_set_exception(f, RuntimeError);
    ck_assert(isinstance(future_exception(f), RuntimeError));
}

/* A future that is done may be awaited again and again, and does not suspend. */
async_def(await_twice, (Future *) f)
{
    note("A");
    note("B", await(f));
    note("C", await(f));
    return None;
}

LOOP_TEST(BaseFutureTests__test_yield_from_twice)
{
    Future *f = loop_create_future(loop);
    Task *task = loop_create_task(loop, await_twice(f));
    run_briefly(loop);
    ck_notes("A");
    future_set_result(f, 42);
    run_briefly(loop);
    ck_notes("B 42|C 42");
    ck_assert(task_done(task));
}

LOOP_TEST(BaseFutureTests__test_future_repr)
{
    Future *pending = loop_create_future(loop), *result = loop_create_future(loop), *failed = loop_create_future(loop);
    ck_repr(pending, "<Future pending>");
    future_cancel(pending);
    ck_repr(pending, "<Future cancelled>");
    future_set_result(result, 4);
    ck_repr(result, "<Future finished result=4>");
    ck_repr(future_result(result), "4");
    future_set_exception(failed, RuntimeError);
    ck_repr(failed, "<Future finished exception=RuntimeError()>");
    ck_assert(isinstance(future_exception(failed), RuntimeError));
}

/* shield() is what copies one future's state to another here. */
__attribute__((noinline)) static Future *copy_of(Loop *loop, Future *f, Value result, Value exception)
{
    Future *copy = asyncio_shield(f);
    if (!is_none(exception)) future_set_exception(f, exception);
    else if (is_none(result)) future_cancel(f);
    else future_set_result(f, result);
    run_briefly(loop);
    return copy;
}

async_def(spam_of, (Value) e) { throw(e); }

static int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

LOOP_TEST(BaseFutureTests__test_copy_state)
{
    Future *copy = copy_of(loop, loop_create_future(loop), V(10), None);
    ck_assert(future_done(copy));
    ck_repr(future_result(copy), "10");

    copy = copy_of(loop, loop_create_future(loop), None, V(RuntimeError));
    ck_assert(future_done(copy));
    ck_raises(RuntimeError, future_result(copy));

    copy = copy_of(loop, loop_create_future(loop), None, None);
    ck_assert(future_cancelled(copy));

    Value e = exception_new(InvalidStateError, "spam");
    ck_raises(InvalidStateError, loop_run_until_complete(loop, spam_of(e)));
    copy = copy_of(loop, loop_create_future(loop), None, e);
    ck_raises(InvalidStateError, future_result(copy));
    logging(exception_print(future_exception(copy), stderr));
    ck_assert_int_eq(occurrences(logged, "in spam_of"), 1);
}

/* A future that goes away with an exception that nobody has seen says so, any other goes in silence. */

LOOP_TEST(BaseFutureTests__test_tb_logger_abandoned)
{
    reports_begin(loop);
    scope loop_create_future(loop);
    ck_assert_int_eq(reported.count, 0);
}

LOOP_TEST(BaseFutureTests__test_tb_logger_not_called_after_cancel)
{
    reports_begin(loop);
    scope {
        Future *f = loop_create_future(loop);
        future_set_exception(f, Exception);
        future_cancel(f);
    }
    ck_assert_int_eq(reported.count, 0);
}

LOOP_TEST(BaseFutureTests__test_tb_logger_result_unretrieved)
{
    reports_begin(loop);
    scope future_set_result(loop_create_future(loop), 42);
    ck_assert_int_eq(reported.count, 0);
}

LOOP_TEST(BaseFutureTests__test_tb_logger_result_retrieved)
{
    reports_begin(loop);
    scope {
        Future *f = loop_create_future(loop);
        future_set_result(f, 42);
        future_result(f);
    }
    ck_assert_int_eq(reported.count, 0);
}

LOOP_TEST(BaseFutureTests__test_tb_logger_exception_unretrieved)
{
    reports_begin(loop);
    scope future_set_exception(loop_create_future(loop), exception_new(RuntimeError, "boom"));
    run_briefly(loop);
    ck_assert_int_eq(reported.count, 1);
    ck_repr(report_exception(), "RuntimeError('boom')");
}

LOOP_TEST(BaseFutureTests__test_tb_logger_exception_retrieved)
{
    reports_begin(loop);
    scope {
        Future *f = loop_create_future(loop);
        future_set_exception(f, exception_new(RuntimeError, "boom"));
        future_exception(f);
    }
    ck_assert_int_eq(reported.count, 0);
}

LOOP_TEST(BaseFutureTests__test_tb_logger_exception_result_retrieved)
{
    reports_begin(loop);
    scope {
        Future *f = loop_create_future(loop);
        future_set_exception(f, exception_new(RuntimeError, "boom"));
        ck_raises(RuntimeError, future_result(f));
    }
    ck_assert_int_eq(reported.count, 0);
}

static void check_never_retrieved(Loop *loop, bool debug)
{
    loop_set_debug(loop, debug);
    logging(scope future_set_exception(loop_create_future(loop), MemoryError); run_briefly(loop));
    ck_assert_int_eq(occurrences(logged, "exception was never retrieved"), 1);
    ck_assert_msg(!strncmp(logged, "Future exception was never retrieved\n", 37), "%s", logged);
    ck_contains(logged, "future: <Future finished exception=MemoryError()>");
    ck_contains(logged, "\nMemoryError\n");
}

LOOP_TEST(BaseFutureTests__test_future_exception_never_retrieved) { check_never_retrieved(loop, false); }
LOOP_TEST(BaseFutureTests__test_future_exception_never_retrieved_debug) { check_never_retrieved(loop, true); }

/* The timer of a sleep that is cancelled in the very round in which it is due finds its future cancelled. */
static void cancel_soon(Value task) { note("cancel", task_cancel(as_task(task))); }
static void note_late(Value arg) { note("late", arg); }

LOOP_TEST(BaseFutureTests__test_set_result_unless_cancelled)
{
    reports_begin(loop);
    Task *task = loop_create_task(loop, asyncio_sleep(1, V(2)));
    loop_call_at(loop, loop_time(loop) + 1, cancel_soon, .arg = V(task));
    run_briefly(loop);
    loop_call_at(loop, loop_time(loop) + 1, note_late);
    ck_raises(CancelledError, loop_run_until_complete(loop, task));
    ck_assert(task_cancelled(task));
    ck_notes("cancel True|late None");
    ck_assert_int_eq(reported.count, 0);
}

async_def(awaits, (Future *) f) { return await(f); }

/* A tuple is a result like any other. */
LOOP_TEST(BaseFutureTests__test_future_stop_iteration_args)
{
    Future *f = loop_create_future(loop);
    future_set_result(f, tuple(1, 2));
    ck_repr(loop_run_until_complete(loop, awaits(f)), "(1, 2)");
}

LOOP_TEST(BaseFutureTests__test_future_del_collect)
{
    size_t before = asyncio_live_objects();
    for (int i = 0; i < 100; i++) scope future_set_result(loop_create_future(loop), list(1, list(2)));
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* ---- BaseFutureDoneCallbackTests -------------------------------------------------------------------------------- */

static void put_in_bag(Future *future, Value thing)
{
    ck_assert(future_done(future));
    note(thing);
}

#define add_bag(f, thing)    future_add_done_callback(f, put_in_bag, .arg = V(thing))
#define remove_bag(f, thing) future_remove_done_callback(f, put_in_bag, .arg = V(thing))

static Future *future_with_three(Loop *loop)
{
    Future *f = loop_create_future(loop);
    add_bag(f, 42);
    add_bag(f, 17);
    add_bag(f, 100);
    return f;
}

static void finish_bag(Loop *loop, Future *f, const char *expected)
{
    ck_notes("");
    future_set_result(f, "foo");
    ck_notes("");
    run_briefly(loop);
    ck_notes(expected);
    ck_repr(future_result(f), "'foo'");
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_callbacks_remove_first_callback)
{
    Future *f = future_with_three(loop);
    ck_assert_int_eq(remove_bag(f, 42), 1);
    ck_assert_int_eq(remove_bag(f, 42), 0);
    finish_bag(loop, f, "17|100");
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_callbacks_remove_first_and_second_callback)
{
    Future *f = future_with_three(loop);
    ck_assert_int_eq(remove_bag(f, 42), 1);
    ck_assert_int_eq(remove_bag(f, 17), 1);
    ck_assert_int_eq(remove_bag(f, 42), 0);
    finish_bag(loop, f, "100");
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_callbacks_remove_third_callback)
{
    Future *f = future_with_three(loop);
    ck_assert_int_eq(remove_bag(f, 100), 1);
    ck_assert_int_eq(remove_bag(f, 100), 0);
    finish_bag(loop, f, "42|17");
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_callbacks_invoked_on_set_result)
{
    Future *f = loop_create_future(loop);
    add_bag(f, 42);
    add_bag(f, 17);
    finish_bag(loop, f, "42|17");
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_callbacks_invoked_on_set_exception)
{
    Value exc = V(RuntimeError);
    Future *f = loop_create_future(loop);
    add_bag(f, 100);
    ck_notes("");
    future_set_exception(f, exc);
    ck_notes("");
    run_briefly(loop);
    ck_notes("100");
    ck_assert(value_equal(future_exception(f), exc));
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_remove_done_callback)
{
    Future *f = loop_create_future(loop);
    add_bag(f, 1);
    add_bag(f, 2);
    ck_assert_int_eq(remove_bag(f, 2), 1);
    ck_assert_int_eq(remove_bag(f, 3), 0);
    add_bag(f, 2);
    for (int i = 0; i < 5; i++) add_bag(f, 1);
    ck_assert_int_eq(remove_bag(f, 1), 6);
    finish_bag(loop, f, "2");
}

/* What is scheduled already cannot be taken back. */
static void take_back(Future *future, Value arg)
{
    (void)arg;
    note("mut", remove_bag(future, "str"));
}

LOOP_TEST(BaseFutureDoneCallbackTests__test_schedule_callbacks_list_mutation_1)
{
    Future *f = loop_create_future(loop);
    future_add_done_callback(f, take_back);
    add_bag(f, "str");
    add_bag(f, "str");
    future_set_result(f, 1);
    run_briefly(loop);
    ck_notes("mut 0|str|str");
}

/* ---- wrap_future() ------------------------------------------------------------------------------------------------- */

static Value says_and_where(Value arg) { return tuple(arg, (int64_t)pthread_self()); }

LOOP_TEST(BaseFutureTests__test_wrap_future)
{
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    Future *future = asyncio_wrap_future(executor_submit(executor, says_and_where, .arg = V("oi")), .loop = loop);
    Value both = loop_run_until_complete(loop, future);
    ck_repr(list_get(both, 0), "'oi'");
    ck_assert(as_int(list_get(both, 1)) != (int64_t)pthread_self());
    executor_shutdown(executor);
}

LOOP_TEST(BaseFutureTests__test_wrap_future_future)
{
    Future *future = loop_create_future(loop);
    ck_same(asyncio_wrap_future(future), future);
    ck_raises(TypeError, asyncio_wrap_future(loop));
}

SYNC_TEST(BaseFutureTests__test_wrap_future_without_loop)
{
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    ThreadFuture *tf = executor_submit(executor, says_and_where, .arg = V("oi"));
    ck_raises(RuntimeError, asyncio_wrap_future(tf));
    threadfuture_result(tf);
    executor_shutdown(executor);
}

async_def(wraps, (Value) tf) { return V(asyncio_wrap_future(as_pointer(tf))); }

LOOP_TEST(BaseFutureTests__test_wrap_future_use_running_loop)
{
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    void *tf = executor_submit(executor, says_and_where, .arg = V("oi"));
    Future *future = as_future(loop_run_until_complete(loop, wraps(V(tf))));
    ck_same(future_get_loop(future), loop);
    loop_run_until_complete(loop, future);
    executor_shutdown(executor);
}

LOOP_TEST(BaseFutureTests__test_wrap_future_use_global_loop)
{
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    asyncio_set_event_loop(loop);
    Future *future = asyncio_wrap_future(executor_submit(executor, says_and_where, .arg = V("oi")));
    asyncio_set_event_loop(NULL);
    ck_same(future_get_loop(future), loop);
    loop_run_until_complete(loop, future);
    executor_shutdown(executor);
}

/* The one thread is busy until it is let go, so that what is submitted next has not begun. */
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static Value is_busy(Value arg) { pthread_mutex_lock(&busy); pthread_mutex_unlock(&busy); return arg; }

LOOP_TEST(BaseFutureTests__test_wrap_future_cancel)
{
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    pthread_mutex_lock(&busy);
    executor_submit(executor, is_busy);
    ThreadFuture *tf = executor_submit(executor, is_busy);
    Future *future = asyncio_wrap_future(tf, .loop = loop), *second = asyncio_wrap_future(tf, .loop = loop);
    future_cancel(future);
    run_briefly(loop);
    ck_assert(threadfuture_cancelled(tf));
    ck_assert(future_cancelled(future));
    run_briefly(loop);
    ck_assert(future_cancelled(second));
    pthread_mutex_unlock(&busy);
    executor_shutdown(executor);
}

LOOP_TEST(BaseFutureTests__test_wrap_future_cancel2)
{
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    ThreadFuture *tf = executor_submit(executor, is_busy, .arg = V(42));
    Future *future = asyncio_wrap_future(tf, .loop = loop);
    ck_repr(threadfuture_result(tf), "42");
    future_cancel(future);
    run_briefly(loop);
    ck_assert(!threadfuture_cancelled(tf));
    ck_repr(threadfuture_result(tf), "42");
    ck_assert(future_cancelled(future));
    executor_shutdown(executor);
}
