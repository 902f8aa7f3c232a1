/* CPython's test_runners.py. */
#include "cpython.h"
#include <signal.h>

/* ---- RunTests ----------------------------------------------------------------------------------------------------- */

async_def(returns_42) { await(asyncio_sleep(0)); return V(42); }

SYNC_TEST(RunTests__test_asyncio_run_return) { ck_repr(asyncio_run(returns_42()), "42"); }

async_def(raises_spam) { await(asyncio_sleep(0)); throw(ValueError, "spam"); }

SYNC_TEST(RunTests__test_asyncio_run_raises) { ck_raises_text(ValueError, "spam", asyncio_run(raises_spam())); }

async_def(expects_debug, (bool) expected)
{
    ck_assert_int_eq(loop_get_debug(asyncio_get_running_loop()), expected);
    return None;
}

SYNC_TEST(RunTests__test_asyncio_run_debug)
{
    asyncio_run(expects_debug(false), .debug = false);
    asyncio_run(expects_debug(true), .debug = true);
    setenv("ASYNCIO_DEBUG", "1", 1);
    asyncio_run(expects_debug(true));
    asyncio_run(expects_debug(false), .debug = false);
    unsetenv("ASYNCIO_DEBUG");
    asyncio_run(expects_debug(true), .debug = true);
    asyncio_run(expects_debug(false));
}

async_def(runs_another)
{
    Coroutine *coro = returns_42();
    try {
        asyncio_run(coro);
    } finally {
        coroutine_close(coro);
    } end_try
    return None;
}

SYNC_TEST(RunTests__test_asyncio_run_from_running_loop)
{
    ck_raises_text(RuntimeError, "asyncio.run() cannot be called from a running event loop", asyncio_run(runs_another()));
}

async_def(leftover) { await(asyncio_sleep(0.1)); note("never"); return None; }

async_def(leaves_over, (Value) box)
{
    list_append(box, asyncio_create_task(leftover()));
    return V(123);
}

SYNC_TEST(RunTests__test_asyncio_run_cancels_hanging_tasks)
{
    Value box = list();
    ck_repr(asyncio_run(leaves_over(box)), "123");
    ck_assert(task_done(as_task(list_get(box, 0))));
    ck_assert(task_cancelled(as_task(list_get(box, 0))));
    ck_notes("");
}

async_def(fails_when_cancelled)
{
    try { await(asyncio_sleep(0.1)); } except (CancelledError) { throw(ZeroDivisionError); } end_try
    return None;
}

async_def(leaves_failure, (Value) box)
{
    loop_set_exception_handler(asyncio_get_running_loop(), remember_report);
    list_append(box, asyncio_create_task(fails_when_cancelled()));
    await(asyncio_sleep(0));
    return V(123);
}

SYNC_TEST(RunTests__test_asyncio_run_reports_hanging_tasks_errors)
{
    Value box = list();
    memset(&reported, 0, sizeof reported);
    reported.exception = list();
    ck_repr(asyncio_run(leaves_failure(box)), "123");
    Task *task = as_task(list_get(box, 0));
    ck_assert(task_done(task));
    ck_assert_int_eq(reported.count, 1);
    ck_assert_str_eq(reported.message, "unhandled exception during asyncio.run() shutdown");
    ck_same(reported.task, task);
    ck_assert(isinstance(report_exception(), ZeroDivisionError));
}

exception_class(FancyExit, Exception);

async_gen(fidget)
{
    try {
        forever {
            yield(1);
            await(asyncio_sleep(1));
        }
    } finally {
        note("closed");
    } end_try
    return None;
}

async_def(spin, (AsyncGenerator *) spinner)
{
    try {
        async_for (meaning_of_life, spinner) {}
    } except (CancelledError) {
        note("cancelled");
        throw(ZeroDivisionError);
    } end_try
    return None;
}

async_def(exits_fancily, (AsyncGenerator *) spinner, (Value) box)
{
    loop_set_exception_handler(asyncio_get_running_loop(), remember_report);
    list_append(box, asyncio_create_task(spin(spinner)));
    await(asyncio_sleep(0));
    throw(FancyExit);
}

async_def(asks_once_more, (AsyncGenerator *) spinner)
{
    ck_raises(StopAsyncIteration, await(generator_anext(spinner)));
    return None;
}

SYNC_TEST(RunTests__test_asyncio_run_closes_gens_after_hanging_tasks_errors)
{
    Value box = list();
    AsyncGenerator *spinner = fidget();
    memset(&reported, 0, sizeof reported);
    reported.exception = list();
    ck_raises(FancyExit, asyncio_run(exits_fancily(spinner, box)));
    ck_assert(task_done(as_task(list_get(box, 0))));
    ck_assert_int_eq(reported.count, 1);
    ck_assert_ptr_nonnull(strstr(notes_, "closed"));
    asyncio_run(asks_once_more(spinner));
}

async_def(asks_for_loop)
{
    ck_same(asyncio_get_event_loop(), asyncio_get_running_loop());
    await(asyncio_sleep(0));
    note("asked");
    return None;
}

SYNC_TEST(RunTests__test_asyncio_run_set_event_loop)
{
    asyncio_run(asks_for_loop());
    ck_notes("asked");
    ck_raises(RuntimeError, asyncio_get_event_loop());
}

static int factory_calls;
static Loop *made;

static Loop *loop_factory(void)
{
    factory_calls++;
    return made = new_test_loop();
}

async_def(expects_made_loop)
{
    ck_same(asyncio_get_running_loop(), made);
    return None;
}

SYNC_TEST(RunTests__test_asyncio_run_loop_factory)
{
    factory_calls = 0;
    asyncio_run(expects_made_loop(), .loop_factory = loop_factory);
    ck_assert_int_eq(factory_calls, 1);
}

async_def(expects_event_loop)
{
    ck_assert_str_eq(value_type(V(asyncio_get_running_loop())), "EventLoop");
    return None;
}

SYNC_TEST(RunTests__test_loop_factory_default_event_loop)
{
    asyncio_run(expects_event_loop(), .loop_factory = asyncio_new_event_loop);
}

/* ---- RunnerTests -------------------------------------------------------------------------------------------------- */

/* with asyncio.Runner() as runner: its loop is closed where the block ends, whatever happens in it. */
#define with_runner(...) { Runner *runner = asyncio_Runner(__VA_ARGS__); try {
#define end_with_runner  } finally { runner_close(runner); } end_try }

SYNC_TEST(RunnerTests__test_non_debug)
{
    with_runner (.debug = false) ck_assert(!loop_get_debug(runner_get_loop(runner))); end_with_runner
}

SYNC_TEST(RunnerTests__test_debug)
{
    with_runner (.debug = true) ck_assert(loop_get_debug(runner_get_loop(runner))); end_with_runner
}

SYNC_TEST(RunnerTests__test_custom_factory)
{
    factory_calls = 0;
    with_runner (.loop_factory = loop_factory)
        ck_same(runner_get_loop(runner), made);
        ck_same(runner_get_loop(runner), made);
    end_with_runner
    ck_assert_int_eq(factory_calls, 1);
}

async_def(done) { await(asyncio_sleep(0)); return V("done"); }

static void check_runner_closed(Runner *runner, Loop *loop)
{
    ck_raises_text(RuntimeError, "Runner is closed", runner_get_loop(runner));
    ck_assert(loop_is_closed(loop));
}

SYNC_TEST(RunnerTests__test_run)
{
    Runner *runner = asyncio_Runner();
    ck_repr(runner_run(runner, done()), "'done'");
    Loop *loop = runner_get_loop(runner);
    runner_close(runner);
    check_runner_closed(runner, loop);
}

SYNC_TEST(RunnerTests__test_explicit_close)
{
    Runner *runner = asyncio_Runner();
    Loop *loop = runner_get_loop(runner);
    runner_close(runner);
    check_runner_closed(runner, loop);
}

SYNC_TEST(RunnerTests__test_double_close)
{
    Runner *runner = asyncio_Runner();
    Loop *loop = runner_get_loop(runner);
    runner_close(runner);
    ck_assert(loop_is_closed(loop));
    runner_close(runner);
    ck_assert(loop_is_closed(loop));
}

async_def(notes_number, (int) n) { note(n); return None; }

SYNC_TEST(RunnerTests__test_second_with_block_raises)
{
    Runner *runner = asyncio_Runner();
    runner_run(runner, notes_number(1));
    runner_close(runner);
    ck_raises_text(RuntimeError, "Runner is closed", runner_run(runner, notes_number(2)));
    ck_notes("1");
}

async_def(swaps, (ContextVar *) cvar, (int) v)
{
    Value old = contextvar_get(cvar);
    await(asyncio_sleep(0));
    contextvar_set(cvar, v);
    return old;
}

async_def(get_context) { return V(asyncio_copy_context()); }

SYNC_TEST(RunnerTests__test_run_keeps_context)
{
    ContextVar *cvar = context_var("cvar", .default_value = V(-1));
    with_runner ()
        ck_repr(runner_run(runner, swaps(cvar, 1)), "-1");
        ck_repr(runner_run(runner, swaps(cvar, 2)), "1");
        Value context = runner_run(runner, get_context());
        ck_repr(context_get((Context *)context.object, cvar, None), "2");
    end_with_runner
    ck_repr(contextvar_get(cvar), "-1");
}

async_def(runs_again, (Runner *) runner) { return runner_run(runner, done()); }

SYNC_TEST(RunnerTests__test_recursive_run)
{
    with_runner ()
        ck_raises_text(RuntimeError, "Runner.run() cannot be called from a running event loop", runner_run(runner, runs_again(runner)));
    end_with_runner
}

/* Ctrl-C. The test library has a handler of its own, and a Runner leaves a program's handler alone. */
#define with_interruptible_runner(...) signal(SIGINT, SIG_DFL); with_runner (__VA_ARGS__)
static void interrupt_self(Value arg) { (void)arg; raise(SIGINT); }

async_def(yields_until_cancelled)
{
    ck_raises(CancelledError, forever await(asyncio_sleep(0)));
    note("cancelled");
    throw(CancelledError);
}

SYNC_TEST(RunnerTests__test_interrupt_call_soon)
{
    /* The only case in which the task is not suspended by a future or another task. Time must pass by itself: it is never idle. */
    with_interruptible_runner ()
        loop_call_later(runner_get_loop(runner), 0.1, interrupt_self);
        ck_raises(KeyboardInterrupt, runner_run(runner, yields_until_cancelled()));
    end_with_runner
    ck_notes("cancelled");
}

async_def(waits_until_cancelled, (Future *) fut)
{
    ck_raises(CancelledError, await(fut));
    note("cancelled");
    throw(CancelledError);
}

SYNC_TEST(RunnerTests__test_interrupt_wait)
{
    with_interruptible_runner (.virtual_clock = true)
        Future *fut = loop_create_future(runner_get_loop(runner));
        loop_call_later(runner_get_loop(runner), 0.1, interrupt_self);
        ck_raises(KeyboardInterrupt, runner_run(runner, waits_until_cancelled(fut)));
        ck_assert(future_cancelled(fut));
    end_with_runner
    ck_notes("cancelled");
}

async_def(cancels_and_interrupts, (Task *) task)
{
    await(asyncio_sleep(0));
    task_cancel(task);
    raise(SIGINT);
    return None;
}

async_def(sleeps_beside_subtask)
{
    asyncio_create_task(cancels_and_interrupts(asyncio_current_task()));
    await(asyncio_sleep(10));
    return None;
}

SYNC_TEST(RunnerTests__test_interrupt_cancelled_task)
{
    with_interruptible_runner (.virtual_clock = true)
        ck_raises(CancelledError, runner_run(runner, sleeps_beside_subtask()));
    end_with_runner
}

async_def(returns_value, (Value) v) { return v; }

/* The result comes back as it is, and nobody writes it anywhere. */
SYNC_TEST(RunnerTests__test_no_repr_is_call_on_the_task_result)
{
    Value v = list("a very long result"), result = None;
    with_runner ()
        logging(result = runner_run(runner, returns_value(v)));
    end_with_runner
    ck_same(result.object, v.object);
    ck_assert_str_eq(logged, "");
}
