/* Tasks: steps, names, cancelling in every state, eager start, factories, reports. */
#include "child.h"

#define LOOP asyncio_get_running_loop()
async_def(gives, (Value) v) { await(asyncio_sleep(0)); return v; }
async_def(sleeps, (double) delay) { await(asyncio_sleep(delay)); return V("slept"); }
async_def(fails, (const char *) text) { await(asyncio_sleep(0)); throw(ValueError, "%s", text); return None; }
async_def(says, (const char *) text) { note(text); return None; }

ASYNC_TEST(first_steps_in_order_of_creation)
{
    for (int i = 0; i < 3; i++) asyncio_create_task(says(i == 0 ? "a" : i == 1 ? "b" : "c"));
    note("main");
    await(asyncio_sleep(0));
    ck_notes("main|a|b|c");
    return None;
}

ASYNC_TEST(states_and_results)
{
    Task *task = asyncio_create_task(gives(list(1)), .name = "giver");
    ck_assert(!task_done(task));
    ck_raises_text(InvalidStateError, "Result is not set.", task_result(task));
    ck_repr(await(task), "[1]");
    ck_repr(await(task), "[1]");
    ck_assert(task_done(task) && !task_cancelled(task));
    ck_repr(task_result(task), "[1]");
    ck_repr(task_exception(task), "None");
    ck_raises_text(RuntimeError, "Task does not support set_result operation", future_set_result((Future *)task, 1));
    ck_raises_text(RuntimeError, "Task does not support set_exception operation", future_set_exception((Future *)task, ValueError));
    Task *failed = asyncio_create_task(fails("x"));
    ck_raises_text(ValueError, "x", await(failed));
    ck_raises_text(ValueError, "x", task_result(failed));
    ck_repr(task_exception(failed), "ValueError('x')");
    return None;
}

ASYNC_TEST(only_a_task_without_a_name_has_a_number)
{
    Task *first = asyncio_create_task(sleeps(0));
    int number = atoi(task_get_name(first) + 5);
    await(asyncio_gather(first, asyncio_create_task(sleeps(0), .name = "named")));
    Task *second = asyncio_create_task(sleeps(0));
    ck_assert_int_eq(atoi(task_get_name(second) + 5), number + 1);
    await(second);
    return None;
}

static void ck_begins(Value v, const char *start) { ck_assert_int_eq(strncmp(as_str(repr(v)), start, strlen(start)), 0); }

async_def(awaits_it, (Task *) task) { await(task); return None; }

/* A name is written as a str is, and a task that is waited for says as much of its state as any. */
ASYNC_TEST(the_repr_of_a_name_and_a_state)
{
    Task *task = asyncio_create_task(sleeps(1), .name = "it's\n\\me"), *other = asyncio_create_task(awaits_it(task));
    ck_begins(V(task), "<Task pending name=\"it's\\n\\\\me\" coro=<");
    await(asyncio_sleep(0));
    task_cancel(other);
    ck_assert(strstr(as_str(repr(other)), " wait_for=<Task cancelling name=\"it's\\n\\\\me\">>"));
    await(asyncio_wait(list(other)));
    return None;
}

ASYNC_TEST(names)
{
    Task *named = asyncio_create_task(sleeps(0), .name = "it's me"), *unnamed = asyncio_create_task(sleeps(0));
    ck_assert_str_eq(task_get_name(named), "it's me");
    ck_assert_int_eq(strncmp(task_get_name(unnamed), "Task-", 5), 0);
    task_set_name(unnamed, 42);
    ck_assert_str_eq(task_get_name(unnamed), "42");
    task_set_name(unnamed, "renamed");
    ck_assert_str_eq(task_get_name(unnamed), "renamed");
    char buffer[] = "temporary";
    Task *copied = asyncio_create_task(sleeps(0), .name = buffer);
    strcpy(buffer, "changed!!");
    ck_assert_str_eq(task_get_name(copied), "temporary");
    await(asyncio_gather(named, unnamed, copied));
    return None;
}

ASYNC_TEST(how_a_task_shows_itself)
{
    Task *task = asyncio_create_task(sleeps(5), .name = "s");
    ck_has(as_str(repr(task)), "<Task pending name='s' coro=<sleeps() running at ");
    await(asyncio_sleep(1));
    ck_has(as_str(repr(task)), "<Task pending name='s' coro=<sleeps() running at ");
    ck_has(as_str(repr(task)), "tasks.c:");
    ck_has(as_str(repr(task)), "wait_for=<Future pending");
    task_cancel(task);
    ck_has(as_str(repr(task)), "<Task cancelling name='s'");
    await(asyncio_gather(task, .return_exceptions = true));
    ck_has(as_str(repr(task)), "<Task cancelled name='s' coro=<sleeps() done");
    task = asyncio_create_task(gives(V(3)), .name = "g");
    await(task);
    ck_has(as_str(repr(task)), "<Task finished name='g' coro=<gives() done, defined at ");
    ck_has(as_str(repr(task)), "result=3>");
    return None;
}

/* ---- cancelling, by state ---- */

async_def(never_begun) { note("must not run"); return None; }
async_def(swallows, (double) delay) { try { await(asyncio_sleep(delay)); } except (CancelledError) { note("swallowed"); } end_try return V("anyway"); }
async_def(raises_instead) { try { await(asyncio_sleep(9)); } except (CancelledError) { throw(KeyError, "instead"); } end_try return None; }
async_def(cancels_itself) { task_cancel(asyncio_current_task()); note("goes on"); return V("lost"); }
async_def(cancels_itself_and_waits) { task_cancel(asyncio_current_task()); try { await(asyncio_sleep(1)); } except (CancelledError) { note("at the next await"); rethrow; } end_try return None; }
async_def(resists, (int) times) { for (volatile int i = 0; i < times; ) { try { await(asyncio_sleep(100)); } except (CancelledError) { i++; note(i); } end_try } return V("done"); }

ASYNC_TEST(cancelled_before_its_first_step)
{
    Task *task = asyncio_create_task(never_begun());
    ck_assert(task_cancel(task, .msg = V("early")));
    ck_raises_text(CancelledError, "early", await(task));
    ck_assert(task_cancelled(task));
    ck_assert(!task_cancel(task));
    ck_notes("");
    return None;
}

ASYNC_TEST(cancelled_while_it_waits)
{
    Task *task = asyncio_create_task(sleeps(10));
    await(asyncio_sleep(1));
    ck_assert(task_cancel(task) && task_cancel(task));
    ck_assert_int_eq(task_cancelling(task), 2);
    ck_raises(CancelledError, await(task));
    ck_assert(task_cancelled(task));
    return None;
}

ASYNC_TEST(cancelled_through_a_chain)
{
    Task *inner = asyncio_create_task(sleeps(10)), *outer = asyncio_create_task(gives(V(1)));
    await(outer);
    outer = asyncio_create_task(asyncio_wait_for(inner, 100));
    await(asyncio_sleep(1));
    task_cancel(outer);
    ck_raises(CancelledError, await(outer));
    ck_assert(task_cancelled(inner) && task_cancelled(outer));
    return None;
}

ASYNC_TEST(what_the_task_makes_of_it)
{
    Task *task = asyncio_create_task(swallows(9));
    await(asyncio_sleep(0));
    task_cancel(task);
    ck_repr(await(task), "'anyway'");
    ck_assert(!task_cancelled(task));
    task = asyncio_create_task(raises_instead());
    await(asyncio_sleep(0));
    task_cancel(task);
    ck_raises_text(KeyError, "'instead'", await(task));
    ck_assert(!task_cancelled(task));
    task = asyncio_create_task(resists(3));
    for (int i = 0; i < 3; i++) { await(asyncio_sleep(1)); task_cancel(task); }
    ck_repr(await(task), "'done'");
    ck_notes("swallowed|1|2|3");
    return None;
}

ASYNC_TEST(cancels_itself_in_two_ways)
{
    Task *task = asyncio_create_task(cancels_itself());
    ck_raises(CancelledError, await(task));
    ck_assert(task_cancelled(task));
    task = asyncio_create_task(cancels_itself_and_waits());
    ck_raises(CancelledError, await(task));
    ck_notes("goes on|at the next await");
    return None;
}

ASYNC_TEST(uncancel)
{
    Task *me = asyncio_current_task();
    ck_assert_int_eq(task_cancelling(me), 0);
    ck_assert_int_eq(task_uncancel(me), 0);
    task_cancel(me);
    ck_raises(CancelledError, await(asyncio_sleep(1)));
    ck_assert_int_eq(task_cancelling(me), 1);
    ck_assert_int_eq(task_uncancel(me), 0);
    task_cancel(me);
    task_uncancel(me);                                  /* 3.13: takes back a request that was not delivered yet */
    await(asyncio_sleep(1));
    return None;
}

ASYNC_TEST(cancelled_when_its_future_is_done_already)
{
    Future *future = loop_create_future(LOOP);
    Task *task = asyncio_create_task(asyncio_wait_for(future, 50));
    await(asyncio_sleep(1));
    future_set_result(future, 1);
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    return None;
}

async_def(awaits_task, (Task *) task) { return await(task); }
static Task *self_task;
async_def(awaits_self) { return await(self_task); }

ASYNC_TEST(a_task_that_awaits_itself)
{
    self_task = asyncio_create_task(awaits_self(), .name = "me");
    try { await(self_task); ck_abort(); } except (RuntimeError, e) {
        ck_has(as_str(str(e)), "Task cannot await on itself: <Task pending name='me'");
    } end_try
    return None;
}

static Task *ring[2];
async_def(awaits_other, (int) other) { return await(ring[other]); }
async_def(two_in_a_ring) {
    for (int i = 0; i < 2; i++) ring[i] = asyncio_create_task(awaits_other(1 - i), .name = i ? "right" : "left");
    await(ring[0]);
    return None;
}
TEST(two_that_await_each_other)
{
    try { asyncio_run(two_in_a_ring()); ck_abort(); } except (DeadlockError, e) {
        ck_has(as_str(str(e)), "task 'left' at ");
        ck_has(as_str(str(e)), "waits for task 'left'");
    } end_try
}

async_def(awaits_ring) { return await(ring[0]); }
ASYNC_TEST(a_ring_can_be_cancelled)
{
    for (volatile int from = 0; from < 2; from++) {
        for (int i = 0; i < 2; i++) ring[i] = asyncio_create_task(awaits_other(1 - i));
        Task *outside = asyncio_create_task(awaits_ring());
        await(asyncio_sleep(0.1));
        task_cancel(from ? ring[1] : outside);
        ck_raises(CancelledError, await(outside));
        ck_assert(task_cancelled(ring[0]) && task_cancelled(ring[1]));
    }
    return None;
}

ASYNC_TEST(a_chain_of_ten_thousand_is_cancelled)
{
    Task *task = asyncio_create_task(sleeps(100)), *first = task;
    for (int i = 0; i < (SLOWED_DOWN ? 1000 : 10000); i++) task = asyncio_create_task(awaits_task(task));
    await(asyncio_sleep(1));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_assert(task_cancelled(first));
    return None;
}

/* ---- who is there ---- */

static void notes_current(Value arg) { (void)arg; note((bool)(asyncio_current_task() == NULL)); }

ASYNC_TEST(current_and_all)
{
    Task *me = asyncio_current_task();
    ck_assert_ptr_nonnull(me);
    loop_call_soon(LOOP, notes_current);
    Task *other = asyncio_create_task(sleeps(1));
    Value all = asyncio_all_tasks();
    ck_assert_int_eq(len(all), 2);
    ck_assert(as_task(list_get(all, 0)) == me && as_task(list_get(all, 1)) == other);
    await(other);
    ck_assert_int_eq(len(asyncio_all_tasks(.loop = LOOP)), 1);
    ck_assert_ptr_eq(asyncio_current_task(.loop = LOOP), me);
    ck_assert_ptr_eq(asyncio_current_task(), me);
    ck_notes("True");
    return None;
}

ASYNC_TEST(its_coroutine)
{
    Coroutine *coro = sleeps(1);
    Task *task = asyncio_create_task(coro);
    ck_assert_ptr_eq(task_get_coro(task), coro);
    await(task);
    ck_assert_ptr_eq(task_get_coro(task), coro);
    ck_assert_ptr_eq(task_get_loop(task), LOOP);
    return None;
}

static void noting_arg(Future *task, Value arg) { note(arg, task_get_name((Task *)task)); }

ASYNC_TEST(done_callbacks)
{
    Task *task = asyncio_create_task(sleeps(1), .name = "t");
    task_add_done_callback(task, noting_arg, .arg = V(1));
    task_add_done_callback(task, noting_arg, .arg = V(2));
    task_add_done_callback(task, noting_arg, .arg = V(1));
    ck_assert_int_eq(task_remove_done_callback(task, noting_arg, .arg = V(1)), 2);
    await(task);
    await(asyncio_sleep(0));
    ck_notes("2 t");
    return None;
}

/* ---- eager ---- */

async_def(begins_at_once) { note("inside", task_get_name(asyncio_current_task())); await(asyncio_sleep(0)); note("later"); return V("e"); }
async_def(never_suspends, (int) x) { note("run"); return V(x); }
static void notes_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message, repr(report->exception)); }
async_def(exits_at_once) { throw(SystemExit); }
async_def(fails_at_once) { throw(ValueError, "at once"); return None; }

ASYNC_TEST(eager_start)
{
    Task *me = asyncio_current_task();
    Task *task = asyncio_create_task(begins_at_once(), .name = "eager", .eager_start = true);
    ck_assert_ptr_eq(asyncio_current_task(), me);
    note("after create");
    ck_assert(!task_done(task));
    ck_repr(await(task), "'e'");
    ck_notes("inside eager|after create|later");
    task = asyncio_create_task(never_suspends(5), .eager_start = true);
    ck_assert(task_done(task));
    ck_assert_int_eq(as_int(task_result(task)), 5);
    ck_assert_ptr_null(task_get_coro(task));
    task = asyncio_create_task(fails_at_once(), .eager_start = true);
    ck_assert(task_done(task));
    ck_assert_ptr_null(task_get_coro(task));
    ck_raises_text(ValueError, "at once", await(task));
    ck_assert_int_eq(len(asyncio_all_tasks()), 1);
    ck_notes("run");
    loop_set_exception_handler(asyncio_get_running_loop(), notes_report);
    scope ck_raises(SystemExit, asyncio_create_task(exits_at_once(), .eager_start = true));
    await(asyncio_sleep(0)); /* caught: the loop goes on */
    ck_notes("Task exception was never retrieved SystemExit()");
    return None;
}

async_def(nests, (int) depth) {
    if (!depth) { await(asyncio_sleep(0)); return V(0); }
    Task *task = asyncio_create_task(nests(depth - 1), .eager_start = true);
    return V(1 + as_int(await(task)));
}

ASYNC_TEST(eager_tasks_within_eager_tasks)
{
    ck_assert_int_eq(as_int(await(asyncio_create_task(nests(30), .eager_start = true))), 30);
    return None;
}

async_def(cancels_outer, (Task *) outer) { task_cancel(outer); return None; }
ASYNC_TEST(an_eager_task_cancels_its_creator)
{
    asyncio_create_task(cancels_outer(asyncio_current_task()), .eager_start = true);
    ck_raises(CancelledError, await(asyncio_sleep(1)));
    task_uncancel(asyncio_current_task());
    return None;
}

/* ---- factories ---- */

static int made;
static Task *counting_factory(Loop *loop, Coroutine *coro, TaskOptions options) { made++; options.loop = loop; return asyncio_Task_(coro, options, STATIC_SITE_); }
static Task *refusing_factory(Loop *loop, Coroutine *coro, TaskOptions options) { (void)loop; (void)options; coroutine_close(coro); throw(ValueError, "no tasks today"); return NULL; }
static Task *idle_factory(Loop *loop, Coroutine *coro, TaskOptions options) { (void)loop; (void)coro; (void)options; return NULL; }

ASYNC_TEST(task_factories)
{
    ck_assert(loop_get_task_factory(LOOP) == NULL);
    loop_set_task_factory(LOOP, counting_factory);
    ck_assert(loop_get_task_factory(LOOP) == counting_factory);
    Task *task = asyncio_create_task(sleeps(1), .name = "made");
    ck_assert_str_eq(task_get_name(task), "made");
    ck_repr(await(task), "'slept'");
    await(asyncio_gather(sleeps(1), sleeps(2)));
    ck_assert_int_eq(made, 3);
    loop_set_task_factory(LOOP, idle_factory);
    ck_repr(await(asyncio_create_task(sleeps(1))), "'slept'");
    loop_set_task_factory(LOOP, refusing_factory);
    ck_raises_text(ValueError, "no tasks today", asyncio_create_task(sleeps(1)));
    loop_set_task_factory(LOOP, asyncio_eager_task_factory);
    task = asyncio_create_task(never_suspends(6));
    ck_assert(task_done(task));
    loop_set_task_factory(LOOP, NULL);
    notes_forget_();
    return None;
}

ASYNC_TEST(what_is_no_coroutine)
{
    ck_raises_text(TypeError, "a coroutine was expected, got NULL", asyncio_create_task(NULL));
    ck_raises_text(TypeError, "a coroutine was expected, got Task", asyncio_create_task((Coroutine *)asyncio_current_task()));
    return None;
}

/* ---- reports ---- */

static void noting_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message, report->exception, report->task ? task_get_name(report->task) : "-"); }

ASYNC_TEST(an_exception_nobody_asks_for)
{
    loop_set_exception_handler(LOOP, noting_report);
    scope { Task *task = asyncio_create_task(fails("forgotten")); (void)task; await(asyncio_sleep(1)); }
    ck_notes("Task exception was never retrieved forgotten -");
    scope { Task *task = asyncio_create_task(fails("seen")); await(asyncio_sleep(1)); task_exception(task); }
    scope { Task *task = asyncio_create_task(fails("waited for")); try { await(task); } except (ValueError) { } end_try }
    scope { Task *task = asyncio_create_task(sleeps(1)); task_cancel(task); await(asyncio_sleep(1)); }
    ck_notes("");
    return None;
}

async_def(waits_on, (Future *) future) { await(future); return None; }
ASYNC_TEST(destroyed_while_pending)
{
    loop_set_exception_handler(LOOP, noting_report);
    scope {
        Future *future = loop_create_future(LOOP);      /* nobody but the task knows it, and nobody knows the task */
        Task *task = asyncio_create_task(waits_on(future), .name = "lost");
        (void)task;
        await(asyncio_sleep(1));
    }
    ck_assert(!*notes_ || strstr(notes_, "Task was destroyed but it is pending! None lost"));
    notes_forget_();
    return None;
}

/* ---- base exceptions leave the loop ---- */

async_def(exits) { await(asyncio_sleep(1)); throw(SystemExit, "out"); return None; }
async_def(has_exiting_child) { try { asyncio_create_task(exits()); await(asyncio_sleep(100)); } except (CancelledError) { note("cancelled at shutdown"); rethrow; } end_try return None; }

static void child_system_exit_in_a_task(void)
{
    try { asyncio_run(has_exiting_child(), .virtual_clock = true); } except (SystemExit, e) { print(e, notes_); } end_try
}

TEST(system_exit_in_a_task_leaves_the_loop)
{
    Child c = child(child_system_exit_in_a_task);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "out cancelled at shutdown\n");
    ck_has(c.err, "Task exception was never retrieved\n");     /* Python says so too */
    child_free(c);
}

async_def(stop_iterates) { throw(StopIteration); return None; }
ASYNC_TEST(stop_iteration_becomes_a_runtime_error)
{
    ck_raises_text(RuntimeError, "coroutine raised StopIteration", await(asyncio_create_task(stop_iterates())));
    return None;
}

TEST(no_task_for_a_closed_loop)
{
    size_t before = asyncio_live_objects();
    scope {
        Loop *loop = asyncio_new_event_loop();
        loop_close(loop);
        ck_raises_text(RuntimeError, "Event loop is closed", asyncio_Task(says("never"), .loop = loop));
        ck_raises_text(RuntimeError, "Event loop is closed", loop_create_task(loop, says("never")));

    }
    ck_notes("");
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

