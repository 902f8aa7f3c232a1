/* CPython's test_base_events.py: what is not about sockets. */
#include "cpython.h"
#include <pthread.h>
#include <sched.h>

async_def(noop) { return None; }
async_def(sleeps, (double) delay) { await(asyncio_sleep(delay)); return None; }

static void nothing(Value arg) { (void)arg; }
static void note_it(Value v) { note(v); }
static void stop_it(Value loop) { loop_stop((Loop *)loop.object); }
static void divide(Value arg) { (void)arg; throw(ZeroDivisionError, "division by zero"); }

static void run_once(Loop *loop)
{
    loop_call_soon(loop, stop_it, .arg = V(loop));
    loop_run_forever(loop);
}

/* ---- BaseEventLoopTests: callbacks and timers ---------------------------------------------------------------------- */

LOOP_TEST(BaseEventLoopTests__test_close)
{
    ck_assert(!loop_is_closed(loop));
    loop_close(loop);
    ck_assert(loop_is_closed(loop));
    loop_close(loop);
    loop_close(loop);
    Future *f = loop_create_future(loop);
    ck_raises_text(RuntimeError, "Event loop is closed", loop_run_forever(loop));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_run_until_complete(loop, f));
}

/* What is added to the ready queue runs in the next round, and is no timer. */
LOOP_TEST(BaseEventLoopTests__test__add_callback_handle)
{
    double began = loop_time(loop);
    loop_call_soon(loop, note_it, .arg = V("ready"));
    ck_notes("");
    run_once(loop);
    ck_notes("ready");
    ck_elapsed(loop, began, 0);
}

LOOP_TEST(BaseEventLoopTests__test__add_callback_cancelled_handle)
{
    Handle *h = loop_call_soon(loop, note_it, .arg = V("cancelled"));
    handle_cancel(h);
    run_once(loop);
    ck_notes("");
}

LOOP_TEST(BaseEventLoopTests__test_call_soon)
{
    Handle *h = loop_call_soon(loop, note_it, .arg = V("called"));
    ck_contains(as_str(repr(h)), "<Handle note_it()");
    ck_notes("");
    run_once(loop);
    ck_notes("called");
}

LOOP_TEST(BaseEventLoopTests__test_call_soon_non_callable)
{
    ck_raises(TypeError, loop_call_soon(loop, NULL));
}

LOOP_TEST(BaseEventLoopTests__test_call_later)
{
    double began = loop_time(loop);
    Handle *h = loop_call_later(loop, 10, note_it, .arg = V("later"));
    ck_contains(as_str(repr(h)), "<TimerHandle when=");
    ck_assert_double_eq_tol(handle_when(h) - began, 10, 1e-6);
    run_once(loop);                                         /* it is not in the ready queue */
    ck_notes("");
    ck_elapsed(loop, began, 0);
    ck_raises(ValueError, loop_call_later(loop, NAN, nothing));
}

LOOP_TEST(BaseEventLoopTests__test_call_later_negative_delays)
{
    loop_call_later(loop, -1, note_it, .arg = V("a"));
    loop_call_later(loop, -2, note_it, .arg = V("b"));
    run_briefly(loop);
    ck_notes("b|a");
}

LOOP_TEST(BaseEventLoopTests__test_time_and_call_at)
{
    double began = loop_time(loop);
    loop_call_at(loop, began + 0.1, stop_it, .arg = V(loop));
    loop_run_forever(loop);
    ck_elapsed(loop, began, 0.1);
}

typedef struct Elsewhere { Loop *loop; bool debug, own_loop; int refused; } Elsewhere;

static bool refuses(Elsewhere *e, int which)
{
    Loop *loop = e->loop;
    try {
        if (which == 0) loop_call_soon(loop, nothing);
        if (which == 1) loop_call_later(loop, 60, nothing);
        if (which == 2) loop_call_at(loop, loop_time(loop) + 60, nothing);
    } except (RuntimeError, error) {
        return !strcmp(as_str(str(error)), "Non-thread-safe operation invoked on an event loop other than the current one");
    } end_try
    return false;
}

static void *check_thread(void *argument)
{
    Elsewhere *e = argument;
    Loop *own = NULL;
    scope {
        if (e->own_loop) asyncio_set_event_loop(own = new_test_loop());
        for (int which = 0; which < 3; which++) e->refused += refuses(e, which);
        if (own) {
            asyncio_set_event_loop(NULL);
            loop_close(own);
        }
    }
    return NULL;
}

/* The loop stands still in a callback while the other thread tries, so that nothing races. */
static void try_in_thread(Value elsewhere)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, check_thread, as_pointer(elsewhere)), 0);
    pthread_join(thread, NULL);
}

LOOP_TEST(BaseEventLoopTests__test_check_thread)
{
    for (int i = 0; i < 4; i++) {
        Elsewhere e = {.loop = loop, .debug = i % 2 == 0, .own_loop = i >= 2};
        loop_set_debug(loop, e.debug);
        loop_call_soon(loop, try_in_thread, .arg = V((void *)&e));
        run_once(loop);
        ck_assert_int_eq(e.refused, e.debug ? 3 : 0);
    }
}

LOOP_TEST(BaseEventLoopTests__test__run_once)
{
    double began = loop_time(loop);
    Handle *h1 = loop_call_at(loop, began + 5, note_it, .arg = V("5"));
    loop_call_at(loop, began + 10, stop_it, .arg = V(loop));
    handle_cancel(h1);
    loop_run_forever(loop);                                 /* sleeps ten seconds at one go */
    ck_elapsed(loop, began, 10);
    ck_notes("");
}

LOOP_TEST(BaseEventLoopTests__test_set_debug)
{
    loop_set_debug(loop, true);
    ck_assert(loop_get_debug(loop));
    loop_set_debug(loop, false);
    ck_assert(!loop_get_debug(loop));
}

static void schedule_another(Value loop)
{
    note("processed");
    loop_call_soon((Loop *)loop.object, note_it, .arg = V("handle"));
}

LOOP_TEST(BaseEventLoopTests__test__run_once_schedule_handle)
{
    loop_call_at(loop, loop_time(loop) - 1, schedule_another, .arg = V(loop));
    run_once(loop);
    ck_notes("processed");                                  /* what a callback schedules waits for the next round */
    run_once(loop);
    ck_notes("handle");
}

/* Timers that only the loop still knows. */
static void add_timers(Loop *loop, int count, double delay, bool cancel)
{
    for (int i = 0; i < count; i++) scope {
        Handle *h = loop_call_later(loop, delay, nothing);
        if (cancel) handle_cancel(h);
    }
}

static void run_once_and_forget(Loop *loop) { scope run_once(loop); }

LOOP_TEST(BaseEventLoopTests__test__run_once_cancelled_event_cleanup)
{
    enum { MIN_SCHEDULED = 100, HALF = MIN_SCHEDULED / 2 };
    size_t before = asyncio_live_objects();
    add_timers(loop, 1, 3000, false);                       /* keeps those after it from coming to the top */
    add_timers(loop, 2, 3600, true);
    add_timers(loop, 2, 100, true);
    ck_assert_uint_eq(asyncio_live_objects() - before, 5);
    run_once_and_forget(loop);
    ck_assert_uint_eq(asyncio_live_objects() - before, 3);  /* cancelled ones at the top go at once */

    add_timers(loop, MIN_SCHEDULED - (HALF + 1), 3600, false);
    add_timers(loop, HALF + 1, 3600, true);
    ck_assert_uint_eq(asyncio_live_objects() - before, 3 + MIN_SCHEDULED);
    run_once_and_forget(loop);
    ck_assert_uint_eq(asyncio_live_objects() - before, 1 + MIN_SCHEDULED - (HALF + 1));   /* now all of them went */
}

/* ---- BaseEventLoopTests: the executor ------------------------------------------------------------------------------ */

static Value same(Value v) { return v; }

LOOP_TEST(BaseEventLoopTests__test_set_default_executor)
{
    Executor *executor = asyncio_ThreadPoolExecutor(.max_workers = 1);
    loop_set_default_executor(loop, executor);
    executor_shutdown(executor);
    ck_raises_text(RuntimeError, "cannot schedule new futures after shutdown", loop_run_in_executor(loop, NULL, same));
    loop_run_until_complete(loop, loop_shutdown_default_executor(loop));
}

typedef struct Gate { pthread_mutex_t lock; pthread_cond_t opened; bool open; } Gate;
static Gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

static Value wait_at_gate(Value arg)
{
    pthread_mutex_lock(&gate.lock);
    while (!gate.open) pthread_cond_wait(&gate.opened, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return arg;
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
}

static void give_up_waiting(void)
{
    Loop *loop = new_test_loop();
    Future *f = loop_run_in_executor(loop, NULL, wait_at_gate);
    logging(loop_run_until_complete(loop, loop_shutdown_default_executor(loop, .timeout = 0.01)));
    ck_contains(logged, "The executor did not finishing joining its threads within 0.01 seconds.");
    ck_assert(!future_done(f));
    open_gate();
    loop_run_until_complete(loop, f);
    loop_close(loop);
}

/* The threads that nobody waits for any more end by themselves, and then nothing is left. */
TEST(BaseEventLoopTests__test_shutdown_default_executor_timeout)
{
    size_t before = asyncio_live_objects();
    gate.open = false;
    scope give_up_waiting();
    while (asyncio_live_objects() != before) sched_yield();
}

/* ---- BaseEventLoopTests: running ---------------------------------------------------------------------------------- */

LOOP_TEST(BaseEventLoopTests__test_run_until_complete_type_error)
{
    ck_raises(TypeError, loop_run_until_complete(loop, V("blah")));
}

LOOP_TEST(BaseEventLoopTests__test_run_until_complete_loop)
{
    Future *task = loop_create_future(loop);
    Loop *other = new_test_loop();
    ck_raises(ValueError, loop_run_until_complete(other, task));
    loop_close(other);
}

exception_class(ShowStopper, SystemExit);
static void stop_show(Value arg) { (void)arg; throw(ShowStopper); }

LOOP_TEST(BaseEventLoopTests__test_run_until_complete_loop_orphan_future_close_loop)
{
    double began = loop_time(loop);
    loop_call_soon(loop, stop_show);
    ck_raises(ShowStopper, loop_run_until_complete(loop, sleeps(0.1)));
    /* The first future must not stop the loop when it is done. */
    ck_assert(is_none(loop_run_until_complete(loop, sleeps(0.2))));
    ck_elapsed(loop, began, 0.2);
}

static void zero_error(Value fut)
{
    future_set_result(as_future(fut), true);
    throw(ZeroDivisionError, "division by zero");
}

static void stop_when_done(Future *future, Value arg)
{
    (void)arg;
    loop_stop(future_get_loop(future));
}

LOOP_TEST(BaseEventLoopTests__test_default_exc_handler_callback)
{
    for (int timer = 0; timer < 2; timer++) {
        Future *fut = loop_create_future(loop);
        if (timer) loop_call_later(loop, 0.01, zero_error, .arg = V(fut));
        else loop_call_soon(loop, zero_error, .arg = V(fut));
        future_add_done_callback(fut, stop_when_done);
        logging(loop_run_forever(loop));
        ck_contains(logged, "Exception in callback zero_error()");
        ck_contains(logged, "handle: <");
        ck_contains(logged, "ZeroDivisionError: division by zero");
    }
}

async_def(zero_error_coro) { await(asyncio_sleep(0.01)); throw(ZeroDivisionError, "division by zero"); }

LOOP_TEST(BaseEventLoopTests__test_default_exc_handler_coro)
{
    logging(scope {
        Future *fut = asyncio_ensure_future(zero_error_coro(), .loop = loop);
        future_add_done_callback(fut, stop_when_done);
        loop_run_forever(loop);
    });
    ck_contains(logged, "Task exception was never retrieved");
    ck_contains(logged, "ZeroDivisionError: division by zero");
    ck_contains(logged, "in zero_error_coro");
}

LOOP_TEST(BaseEventLoopTests__test_set_exc_handler_custom)
{
    loop_set_debug(loop, true);
    ck_assert(!loop_get_exception_handler(loop));
    reports_begin(loop);
    ck_assert(loop_get_exception_handler(loop) == remember_report);
    Handle *handle = loop_call_soon(loop, divide);
    run_once(loop);
    ck_assert_int_eq(reported.count, 1);
    ck_assert_str_eq(reported.message, "Exception in callback divide()");
    ck_same(reported.handle, handle);
    ck_same(reported.loop, loop);
    ck_assert(isinstance(report_exception(), ZeroDivisionError));

    loop_set_exception_handler(loop, NULL);
    loop_call_soon(loop, divide);
    logging(run_once(loop));
    ck_contains(logged, "Exception in callback divide()");
    ck_contains(logged, "ZeroDivisionError");
    ck_assert_int_eq(reported.count, 1);
}

static void raise_spam(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    (void)report;
    throw(AttributeError, "spam");
}

LOOP_TEST(BaseEventLoopTests__test_set_exc_handler_broken)
{
    loop_set_exception_handler(loop, raise_spam);
    loop_call_soon(loop, divide);
    logging(run_once(loop));
    ck_contains(logged, "Unhandled error in exception handler");
    ck_contains(logged, "AttributeError: spam");
}

/* What the broken handler was told is not lost: it is the context of what it raised. And the loop goes on. */
LOOP_TEST(BaseEventLoopTests__test_default_exc_handler_broken)
{
    loop_set_exception_handler(loop, raise_spam);
    loop_call_soon(loop, divide);
    loop_call_soon(loop, note_it, .arg = V("goes on"));
    logging(run_once(loop));
    ck_contains(logged, "ZeroDivisionError: division by zero");
    ck_contains(logged, "During handling of the above exception, another exception occurred:");
    ck_contains(logged, "AttributeError: spam");
    ck_notes("goes on");
}

/* ---- BaseEventLoopTests: making tasks ----------------------------------------------------------------------------- */

static Task *note_factory(Loop *loop, Coroutine *coro, TaskOptions options)
{
    (void)options;
    note("factory");
    return asyncio_Task(coro, .loop = loop);
}

LOOP_TEST(BaseEventLoopTests__test_set_task_factory)
{
    ck_assert(!loop_get_task_factory(loop));
    loop_set_task_factory(loop, note_factory);
    ck_assert(loop_get_task_factory(loop) == note_factory);
    Task *task = loop_create_task(loop, noop());
    ck_notes("factory");
    loop_run_until_complete(loop, task);

    loop_set_task_factory(loop, NULL);
    ck_assert(!loop_get_task_factory(loop));
    task = loop_create_task(loop, noop());
    ck_notes("");
    loop_run_until_complete(loop, task);
}

static void check_debug_by_variable(const char *value, bool debug)
{
    if (value) setenv("ASYNCIO_DEBUG", value, 1);
    else unsetenv("ASYNCIO_DEBUG");
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(loop_get_debug(loop), debug);
    loop_close(loop);
}

SYNC_TEST(BaseEventLoopTests__test_env_var_debug)
{
    check_debug_by_variable(NULL, false);
    check_debug_by_variable("", false);
    check_debug_by_variable("1", true);
    check_debug_by_variable(NULL, false);
}

/* ensure_future() makes its tasks as create_task() does. */
LOOP_TEST(BaseEventLoopTests__test_create_task)
{
    loop_set_task_factory(loop, note_factory);
    Future *task = asyncio_ensure_future(noop(), .loop = loop);
    ck_notes("factory");
    loop_run_until_complete(loop, task);
}

SYNC_TEST(BaseEventLoopTests__test_create_task_error_closes_coro)
{
    Loop *loop = asyncio_new_event_loop();
    loop_close(loop);
    logging(scope ck_raises(RuntimeError, asyncio_ensure_future(noop(), .loop = loop)));
    ck_assert_str_eq(logged, "");
}

LOOP_TEST(BaseEventLoopTests__test_create_named_task_with_default_factory)
{
    Task *task = loop_create_task(loop, noop(), .name = "test_task");
    ck_assert_str_eq(task_get_name(task), "test_task");
    loop_run_until_complete(loop, task);
}

LOOP_TEST(BaseEventLoopTests__test_create_named_task_with_custom_factory)
{
    loop_set_task_factory(loop, note_factory);              /* which takes no notice of the name */
    Task *task = loop_create_task(loop, noop(), .name = "test_task");
    ck_assert_str_eq(task_get_name(task), "test_task");
    loop_run_until_complete(loop, task);
}

/* ---- BaseEventLoopTests: ending ----------------------------------------------------------------------------------- */

async_def(raises_interrupt) { throw(KeyboardInterrupt); }

LOOP_TEST(BaseEventLoopTests__test_run_forever_keyboard_interrupt)
{
    reports_begin(loop);
    scope ck_raises(KeyboardInterrupt, loop_run_until_complete(loop, raises_interrupt()));
    loop_close(loop);
    ck_assert_int_eq(reported.count, 0);
}

static void note_and_stop(Value loop)
{
    note("called");
    stop_it(loop);
}

static void call_soon_later(Value loop) { loop_call_soon((Loop *)loop.object, note_and_stop, .arg = loop); }

LOOP_TEST(BaseEventLoopTests__test_run_until_complete_baseexception)
{
    ck_raises(KeyboardInterrupt, loop_run_until_complete(loop, raises_interrupt()));
    loop_call_soon(loop, call_soon_later, .arg = V(loop));
    loop_run_forever(loop);                                 /* no stop() is left over from the first run */
    ck_notes("called");
}

static int watched[2];

static void stop_watching(Value loop) { loop_remove_reader((Loop *)loop.object, watched[0]); }

static void on_readable(Value loop)
{
    note("event");
    loop_call_soon((Loop *)loop.object, stop_watching, .arg = loop);
}

/* The second run finds the descriptor readable again, but before that callback's turn it is taken back. */
LOOP_TEST(BaseEventLoopTests__test_single_selecter_event_callback_after_stopping)
{
    ck_assert_int_eq(pipe(watched), 0);
    ck_assert_int_eq((int)write(watched[1], "x", 1), 1);
    loop_add_reader(loop, watched[0], on_readable, .arg = V(loop));
    run_once(loop);
    ck_notes("event");
    run_once(loop);
    ck_notes("");
    close(watched[0]);
    close(watched[1]);
}

LOOP_TEST(BaseEventLoopTests__test_run_once)
{
    loop_call_soon(loop, note_it, .arg = V(1));
    run_once(loop);
    ck_notes("1");
    run_once(loop);
    ck_notes("");
}

LOOP_TEST(BaseEventLoopTests__test_run_forever_pre_stopped)
{
    double began = loop_time(loop);
    loop_call_later(loop, 10, note_it, .arg = V("never"));
    loop_stop(loop);
    loop_run_forever(loop);                                 /* one round, which does not sleep */
    ck_notes("");
    ck_elapsed(loop, began, 0);
}

static void note_running(Value loop)
{
    ck_same(asyncio_get_running_loop(), loop.object);
    note("running", loop_is_running((Loop *)loop.object));
}

/* A loop that is driven by the round: ten of them, one callback. */
LOOP_TEST(BaseEventLoopTests__test_custom_run_forever_integration)
{
    loop_call_soon(loop, note_running, .arg = V(loop));
    for (int i = 0; i < 10; i++) {
        loop_stop(loop);
        loop_run_forever(loop);
    }
    ck_notes("running True");
    ck_raises(RuntimeError, asyncio_get_running_loop());
    ck_assert(!loop_is_running(loop));
}

/* A generator that is left in its middle is finalized, in its loop, once nobody holds it any more. */
async_gen(agen)
{
    static const char *const items[] = {"ZERO", "ONE", "TWO", "THREE", "FOUR"};
    note("started");
    try {
        for (int i = 0; i < 5; i++) yield(items[i]);
    } finally {
        note("finalized");
    } end_try
    return None;
}

async_def(leaves_in_the_middle)
{
    scope {
        AsyncGenerator *ag = agen();
        for (int i = 0; i < 4; i++) note(await(generator_anext(ag)));
        ck_notes("started|ZERO|ONE|TWO|THREE");
    }
    return None;
}

LOOP_TEST(BaseEventLoopTests__test_asyncgen_finalization_by_gc)
{
    loop_run_until_complete(loop, leaves_in_the_middle());
    run_briefly(loop);
    ck_notes("finalized");
}

/* ---- BaseEventLoopWithSelectorTests ------------------------------------------------------------------------------- */

static void stop_loop_cb(Value loop) { stop_it(loop); }
async_def(stop_loop_coro) { loop_stop(asyncio_get_running_loop()); return None; }

LOOP_TEST(BaseEventLoopWithSelectorTests__test_log_slow_callbacks)
{
    loop_set_debug(loop, true);
    loop_set_slow_callback_duration(loop, 0);
    loop_call_soon(loop, stop_loop_cb, .arg = V(loop));
    logging(loop_run_forever(loop));
    ck_assert_msg(!strncmp(logged, "Executing <Handle", 17), "%s", logged);
    ck_contains(logged, "stop_loop_cb");
    ck_contains(logged, " took 0.000 seconds\n");

    asyncio_ensure_future(stop_loop_coro(), .loop = loop);
    logging(loop_run_forever(loop));
    ck_assert_msg(!strncmp(logged, "Executing <Task", 15), "%s", logged);
    ck_contains(logged, "stop_loop_coro");
    ck_contains(logged, " took 0.000 seconds\n");
}

/* ---- RunningLoopTests --------------------------------------------------------------------------------------------- */

async_def(runs_forever, (Loop *) loop) { loop_run_forever(loop); return None; }

LOOP_TEST(RunningLoopTests__test_running_loop_within_a_loop)
{
    Loop *outer = new_test_loop();
    ck_raises_text(RuntimeError, "Cannot run the event loop while another loop is running",
                   loop_run_until_complete(outer, runs_forever(loop)));
    loop_close(outer);
}
