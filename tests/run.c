/* asyncio_run() and Runner: what they return, how they shut down, what they refuse. Ctrl-C is in loop.c. */
#include "child.h"
#include <pthread.h>

async_def(gives, (Value) v) { await(asyncio_sleep(0)); return v; }
async_def(fails, (const char *) text) { await(asyncio_sleep(0)); throw(ValueError, "%s", text); return None; }
async_def(hangs, (const char *) name) { try { await(asyncio_sleep(1e6)); } finally { note("finally", name); } end_try return None; }
async_def(fails_when_cancelled) { try { await(asyncio_sleep(1e6)); } except (CancelledError) { throw(KeyError, "in shutdown"); } end_try return None; }
async_def(resists_once) { try { await(asyncio_sleep(1e6)); } except (CancelledError) { note("resists"); await(asyncio_sleep(5)); note("then ends"); } end_try return V(1); }
async_def(leaves_tasks) { asyncio_create_task(hangs("a")); asyncio_create_task(resists_once()); asyncio_create_task(hangs("b")); await(asyncio_sleep(1)); return V("main"); }
static void noting_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message, report->exception, report->task ? task_get_name(report->task) : "-"); }

TEST(the_value_of_main)
{
    size_t before = asyncio_live_objects();
    scope {
        ck_repr(asyncio_run(gives(list(1, list("x")))), "[1, ['x']]");
        ck_repr(asyncio_run(gives(None)), "None");
        ck_raises_text(ValueError, "x", asyncio_run(fails("x")));
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

TEST(other_tasks_are_cancelled_and_awaited)
{
    ck_repr(asyncio_run(leaves_tasks(), .virtual_clock = true), "'main'");
    ck_notes("finally a|resists|finally b|then ends");
}

async_def(leaves_a_failing_one) { loop_set_exception_handler(asyncio_get_running_loop(), noting_report); asyncio_create_task(fails_when_cancelled(), .name = "bad"); await(asyncio_sleep(1)); return None; }
TEST(failures_in_shutdown_are_reported)
{
    asyncio_run(leaves_a_failing_one(), .virtual_clock = true);
    ck_notes("unhandled exception during asyncio.run() shutdown 'in shutdown' bad");
}

async_def(fails_with_others) { asyncio_create_task(hangs("other")); await(asyncio_sleep(1)); throw(ValueError, "main"); return None; }
TEST(shutdown_when_main_fails)
{
    ck_raises_text(ValueError, "main", asyncio_run(fails_with_others(), .virtual_clock = true));
    ck_notes("finally other");
}

async_def(tells_its_contexts)
{
    try { await(asyncio_sleep(9)); } except (CancelledError, e) { note(repr(exception_context(e))); } end_try
    try { throw(KeyError); } except (KeyError, e) { note(repr(exception_context(e))); } end_try
    return None;
}

async_def(fails_with_a_teller) { asyncio_create_task(tells_its_contexts()); await(asyncio_sleep(1)); throw(ValueError, "main"); }
TEST(what_main_raised_is_the_context_of_what_the_shutdown_causes)
{
    ck_raises_text(ValueError, "main", asyncio_run(fails_with_a_teller(), .virtual_clock = true));
    ck_notes("ValueError('main')|ValueError('main')");
}

async_def(runs_inside) { ck_raises_text(RuntimeError, "asyncio.run() cannot be called from a running event loop", asyncio_run(gives(V(1)))); return V("still running"); }
TEST(not_within_a_run) { ck_repr(asyncio_run(runs_inside()), "'still running'"); }

TEST(what_run_refuses)
{
    Coroutine *none = NULL;
    ck_raises(ValueError, asyncio_run(none));
    ck_raises_text(ValueError, "a coroutine was expected, got <Lock [unlocked]>", asyncio_run(V(asyncio_Lock())));
    ck_raises(TypeError, asyncio_run(V(5)));
    Coroutine *coro = gives(V(1));
    asyncio_run(coro);
    ck_raises_text(RuntimeError, "cannot reuse already awaited coroutine", asyncio_run(coro));
}

async_def(cancels_main) { task_cancel(asyncio_current_task()); await(asyncio_sleep(1)); return None; }
TEST(a_cancelled_main)
{
    ck_raises(CancelledError, asyncio_run(cancels_main(), .virtual_clock = true));
}

async_def(tells_debug) { return V(loop_get_debug(asyncio_get_running_loop())); }
TEST(debug_option)
{
    unsetenv("ASYNCIO_DEBUG");
    ck_repr(asyncio_run(tells_debug()), "False");
    ck_repr(asyncio_run(tells_debug(), .debug = true), "True");
    setenv("ASYNCIO_DEBUG", "1", 1);
    ck_repr(asyncio_run(tells_debug()), "True");
    ck_repr(asyncio_run(tells_debug(), .debug = false), "False");
    setenv("ASYNCIO_DEBUG", "0", 1);
    ck_repr(asyncio_run(tells_debug()), "False");
}

static Loop *made;
static Loop *factory(void) { made = asyncio_new_event_loop(); loop_set_virtual_clock(made, true); return made; }
async_def(which_loop) { await(asyncio_sleep(1000)); return V((bool)(asyncio_get_running_loop() == made)); }
TEST(a_loop_factory) { ck_repr(asyncio_run(which_loop(), .loop_factory = factory), "True"); }

static Loop *no_loop(void) { return NULL; }
TEST(a_loop_factory_that_makes_none)
{
    Coroutine *coro = which_loop();
    ck_raises_text(TypeError, "loop_factory must return a loop, not NULL", asyncio_run(coro, .loop_factory = no_loop));
    coroutine_close(coro);
}

TEST(run_sets_no_loop_afterwards)
{
    asyncio_run(gives(V(1)));
    ck_raises(RuntimeError, asyncio_get_running_loop());
    ck_raises(RuntimeError, asyncio_get_event_loop());
}

/* ---- Runner ---- */

static ContextVar *var;
async_def(sets_var, (Value) v) { contextvar_set(var, v); return None; }
async_def(gets_var) { return contextvar_get(var); }
async_def(leaves_one_hanging) { asyncio_create_task(hangs("kept")); await(asyncio_sleep(0)); return None; }

TEST(a_runner_keeps_its_loop_and_context)
{
    size_t before = asyncio_live_objects();
    scope {
        var = context_var("var", V("default"));
        Runner *runner = asyncio_Runner(.virtual_clock = true);
        Loop *loop = runner_get_loop(runner);
        ck_assert_ptr_eq(runner_get_loop(runner), loop);
        runner_run(runner, sets_var(V("kept")));
        ck_repr(runner_run(runner, gets_var()), "'kept'");
        ck_repr(contextvar_get(var), "'default'");
        ck_repr(runner_run(runner, gets_var(), .context = asyncio_copy_context()), "'default'");
        runner_run(runner, leaves_one_hanging());
        ck_notes("");
        runner_close(runner);
        ck_notes("finally kept");
        runner_close(runner);
        ck_raises_text(RuntimeError, "Runner is closed", runner_run(runner, gives(V(1))));
        ck_raises_text(RuntimeError, "Runner is closed", runner_get_loop(runner));
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

async_def(uses_runner, (Runner *) runner) { ck_raises_text(RuntimeError, "Runner.run() cannot be called from a running event loop", runner_run(runner, gives(V(1)))); return None; }
TEST(a_runner_does_not_nest)
{
    Runner *runner = asyncio_Runner();
    runner_run(runner, uses_runner(runner));
    ck_repr(runner_run(runner, gives(V("after"))), "'after'");
    runner_close(runner);
}

TEST(a_runner_that_never_ran)
{
    size_t before = asyncio_live_objects();
    scope { asyncio_Runner(); Runner *runner = asyncio_Runner(); runner_close(runner); }
    scope { Runner *runner = asyncio_Runner(); runner_get_loop(runner); }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

TEST(a_runner_after_a_failure)
{
    Runner *runner = asyncio_Runner();
    for (int i = 0; i < 3; i++) ck_raises_text(ValueError, "again", runner_run(runner, fails("again")));
    ck_repr(runner_run(runner, gives(V(1))), "1");
    runner_close(runner);
}

static void *runs(void *result) { *(int *)result = (int)as_int(asyncio_run(gives(V(7)))); return NULL; }
TEST(run_in_another_thread)
{
    pthread_t thread;
    int result = 0;
    pthread_create(&thread, NULL, runs, &result);
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, 7);
}

async_def(starts_thread) { pthread_t thread; int result = 0; pthread_create(&thread, NULL, runs, &result); pthread_join(thread, NULL); return V(result); }
TEST(run_in_a_thread_beside_a_running_loop) { ck_repr(asyncio_run(starts_thread()), "7"); }

TEST(a_thousand_runs)
{
    size_t before = asyncio_live_objects();
    for (int i = 0; i < (SLOWED_DOWN ? 50 : 1000); i++) scope asyncio_run(gives(V(i)));
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

async_def(opens_descriptors)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    return tuple(ends[0], ends[1]);
}
static void child_without_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) close(fd);
    Value ends = asyncio_run(opens_descriptors());
    exit(as_int(list_get(ends, 0)) > 2 && as_int(list_get(ends, 1)) > 2 ? 7 : 1);
}

/* What such a program prints must not go into a connection that happens to have the number 1. */
TEST(a_program_without_stdin_stdout_and_stderr)
{
    Child c = child(child_without_standard_descriptors);
    ck_exited(c, 7);
    child_free(c);
}

async_def(prints_much) { for (int i = 0; i < 10000; i++) print("a line of text"); return None; }
static void child_prints_much(void) { ck_assert_ptr_nonnull(freopen("/dev/full", "w", stdout)); asyncio_run(prints_much()); }
static void child_prints_little(void) { ck_assert_ptr_nonnull(freopen("/dev/full", "w", stdout)); asyncio_run(gives(V(1))); print("a line"); }

TEST(a_full_disk_under_stdout)
{
    Child c = child(child_prints_much);                 /* noticed in print() */
    ck_exited(c, 1);
    ck_has(c.err, ", in prints_much\n");
    ck_has(c.err, "OSError: [Errno 28] No space left on device\n");
    child_free(c);
    c = child(child_prints_little);                     /* noticed at the end */
    ck_exited(c, 120);
    ck_assert_str_eq(c.err, "asyncio: what was printed last could not be written to stdout: No space left on device\n");
    child_free(c);
}
