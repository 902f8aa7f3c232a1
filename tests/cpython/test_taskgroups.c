/* CPython 3.13's test_taskgroups.py: TaskGroup, each method under its own name.
 *
 * What the originals see in g._tasks is seen here through repr(), which tells how many there are.
 */
#include "../testing.h"

exception_class(MyExc, Exception);
exception_class(MyBaseExc, BaseException);

/* The types of a group's members, each once, in order of first appearance. */
static Value error_types(Value group)
{
    Value names = list();
    for_in (e, exception_exceptions(group))
        if (!list_contains(names, exception_type(e)->name)) list_append(names, exception_type(e)->name);
    return names;
}
#define ck_types(group, text) ck_repr(error_types(group), text)

async_def(sleep_and_return, (double) delay, (int) result)
{
    await(asyncio_sleep(delay));
    return V(result);
}

async_def(fail_after, (double) delay, (Value) e)
{
    await(asyncio_sleep(delay));
    throw(e);
}

async_def(divide_after, (double) delay) { return await(fail_after(delay, V(ZeroDivisionError))); }

/* Sleeps; tells when it is cancelled, and when not. */
async_def(note_cancel, (double) delay, (const char *) name)
{
    try {
        await(asyncio_sleep(delay));
    } except (CancelledError) {
        note(name, "cancelled");
        rethrow;
    } end_try
    note(name, "over");
    return None;
}

/* Sleeps, and raises e however that ends. */
async_def(fail_finally, (double) delay, (Value) e)
{
    try {
        await(asyncio_sleep(delay));
    } finally {
        throw(e);
    } end_try
    return None;
}

/* Starts a task, lets it run for a while, cancels it, and awaits it. */
async_def(cancel_after, (Coroutine *) coro, (double) delay)
{
    Task *task = asyncio_create_task(coro);
    await(asyncio_sleep(delay));
    ck_assert(!task_done(task));
    task_cancel(task);
    return await(task);
}

/* The exception that awaiting the coroutine raises. */
async_def(exception_of, (Coroutine *) coro)
{
    try {
        await(coro);
    } except (BaseException, e) {
        return e;
    } end_try
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_01)
{
    Task *volatile t1 = NULL, *volatile t2 = NULL;
    async_with (g, asyncio_TaskGroup()) {
        t1 = taskgroup_create_task(g, sleep_and_return(0.1, 42));
        t2 = taskgroup_create_task(g, sleep_and_return(0.2, 11));
    } end_with
    ck_assert_int_eq(as_int(task_result(t1)), 42);
    ck_assert_int_eq(as_int(task_result(t2)), 11);
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_02)
{
    Task *volatile t1 = NULL, *volatile t2 = NULL;
    async_with (g, asyncio_TaskGroup()) {
        t1 = taskgroup_create_task(g, sleep_and_return(0.1, 42));
        await(asyncio_sleep(0.15));
        t2 = taskgroup_create_task(g, sleep_and_return(0.2, 11));
    } end_with
    ck_assert_int_eq(as_int(task_result(t1)), 42);
    ck_assert_int_eq(as_int(task_result(t2)), 11);
    return None;
}

/* A child that is cancelled from outside does not disturb the group. */
ASYNC_TEST(TestTaskGroup__test_taskgroup_03)
{
    Task *volatile t1 = NULL, *volatile t2 = NULL;
    async_with (g, asyncio_TaskGroup()) {
        t1 = taskgroup_create_task(g, sleep_and_return(1, 42));
        await(asyncio_sleep(0.15));
        task_cancel(t1);
        t2 = taskgroup_create_task(g, sleep_and_return(0.2, 11));
    } end_with
    ck_assert(task_cancelled(t1));
    ck_assert_int_eq(as_int(task_result(t2)), 11);
    return None;
}

async_def(one_fails, (Value) tasks)
{
    async_with (g, asyncio_TaskGroup()) {
        taskgroup_create_task(g, divide_after(0.1));
        list_append(tasks, taskgroup_create_task(g, note_cancel(1, "foo2")));
    } end_with
    note("after the group");
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_04)
{
    Value tasks = list();
    Value e = await(exception_of(one_fails(tasks)));
    ck_types(e, "['ZeroDivisionError']");
    ck_notes("foo2 cancelled");
    ck_assert(task_cancelled(as_task(list_get(tasks, 0))));
    return None;
}

async_def(three_fail)
{
    async_with (g, asyncio_TaskGroup()) {
        for (int i = 0; i < 3; i++) taskgroup_create_task(g, divide_after(0.1));
        taskgroup_create_task(g, note_cancel(5, "foo2"));
        await(note_cancel(10, "runner"));
    } end_with
    note("after the group");
    return None;
}

/* A child fails: the others are cancelled, and the parent; all errors come out in one group. */
ASYNC_TEST(TestTaskGroup__test_cancel_children_on_child_error)
{
    Task *runner = asyncio_create_task(three_fail());
    try {
        await(runner);
        ck_abort();
    } except (ExceptionGroup, e) {
        ck_types(e, "['ZeroDivisionError']");
        ck_assert_int_eq(len(exception_exceptions(e)), 3);
    } end_try
    ck_notes("foo2 cancelled|runner cancelled");
    return None;
}

async_def(five_sleepers, (bool) sleep_too)
{
    async_with (g, asyncio_TaskGroup()) {
        for (int i = 0; i < 5; i++) taskgroup_create_task(g, note_cancel(5, "foo"));
        if (sleep_too) await(note_cancel(10, "runner"));
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_cancellation)
{
    ck_raises(CancelledError, await(cancel_after(five_sleepers(false), 0.1)));
    ck_notes("foo cancelled|foo cancelled|foo cancelled|foo cancelled|foo cancelled");
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_07)
{
    ck_raises(CancelledError, await(cancel_after(five_sleepers(true), 0.1)));
    ck_notes("runner cancelled|foo cancelled|foo cancelled|foo cancelled|foo cancelled|foo cancelled");
    return None;
}

async_def(five_crash_in_finally)
{
    async_with (g, asyncio_TaskGroup()) {
        for (int i = 0; i < 5; i++) taskgroup_create_task(g, fail_finally(10, V(ZeroDivisionError)));
        await(asyncio_sleep(10));
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_08)
{
    Value e = await(exception_of(cancel_after(five_crash_in_finally(), 0.1)));
    ck_assert(exception_type(e) == ExceptionGroup);
    ck_types(e, "['ZeroDivisionError']");
    ck_assert_int_eq(len(exception_exceptions(e)), 5);
    return None;
}

async_def(body_fails, (double) delay, (Value) tasks)
{
    async_with (g, asyncio_TaskGroup()) {
        list_append(tasks, taskgroup_create_task(g, sleep_and_return(1, 42)));
        list_append(tasks, taskgroup_create_task(g, sleep_and_return(2, 11)));
        if (delay > 0) await(asyncio_sleep(delay));
        throw(ZeroDivisionError);
    } end_with
    return None;
}

async_def(body_fails_test, (double) delay)
{
    Value tasks = list();
    Value e = await(exception_of(body_fails(delay, tasks)));
    ck_assert(exception_type(e) == ExceptionGroup);
    ck_types(e, "['ZeroDivisionError']");
    for_in (task, tasks) ck_assert(task_cancelled(as_task(task)));
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_09) { return await(body_fails_test(0.1)); }
ASYNC_TEST(TestTaskGroup__test_taskgroup_10) { return await(body_fails_test(0)); }

async_def(nested_crashers, (bool) outer_has_a_task)
{
    async_with (g1, asyncio_TaskGroup()) {
        if (outer_has_a_task) taskgroup_create_task(g1, asyncio_sleep(10));
        await(five_crash_in_finally());
    } end_with
    return None;
}

async_def(nested_crashers_test, (bool) outer_has_a_task)
{
    Value e = await(exception_of(cancel_after(nested_crashers(outer_has_a_task), 0.1)));
    ck_types(e, "['ExceptionGroup']");
    ck_types(list_get(exception_exceptions(e), 0), "['ZeroDivisionError']");
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_11) { return await(nested_crashers_test(false)); }
ASYNC_TEST(TestTaskGroup__test_taskgroup_12) { return await(nested_crashers_test(true)); }

async_def(crash_after, (double) delay) { return await(fail_after(delay, exception_new(ValueError, "%g", delay))); }

async_def(crash_outer_and_inner, (double) outer, (double) inner)
{
    async_with (g1, asyncio_TaskGroup()) {
        taskgroup_create_task(g1, crash_after(outer));
        async_with (g2, asyncio_TaskGroup()) {
            taskgroup_create_task(g2, crash_after(inner));
        } end_with
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_13)
{
    Task *r = asyncio_create_task(crash_outer_and_inner(0.1, 10));
    try {
        await(r);
        ck_abort();
    } except (ExceptionGroup, e) {
        ck_repr(e, "ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('0.1')])");
    } end_try
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_14)
{
    Task *r = asyncio_create_task(crash_outer_and_inner(10, 0.1));
    try {
        await(r);
        ck_abort();
    } except (ExceptionGroup, e) {
        ck_types(e, "['ExceptionGroup']");
        ck_types(list_get(exception_exceptions(e), 0), "['ValueError']");
    } end_try
    return None;
}

async_def(resist_and_crash)
{
    async_with (g1, asyncio_TaskGroup()) {
        taskgroup_create_task(g1, divide_after(0.3));
        try {
            await(asyncio_sleep(10));
        } except (CancelledError) {
            await(asyncio_sleep(0.5));
            rethrow;
        } end_try
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_15)
{
    ck_types(await(exception_of(cancel_after(resist_and_crash(), 0.1))), "['ZeroDivisionError']");
    return None;
}

async_def(await_in_a_task, (Coroutine *) coro)
{
    Task *task = asyncio_create_task(coro);
    return await(task);
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_16)
{
    ck_types(await(exception_of(cancel_after(await_in_a_task(resist_and_crash()), 0.1))), "['ZeroDivisionError']");
    return None;
}

async_def(only_a_body)
{
    async_with (asyncio_TaskGroup()) {
        await(note_cancel(10, "body"));
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_17)
{
    ck_raises(CancelledError, await(cancel_after(only_a_body(), 0.1)));
    ck_notes("body cancelled");
    return None;
}

async_def(turn_cancel_into_error)
{
    async_with (asyncio_TaskGroup()) {
        try {
            await(asyncio_sleep(10));
        } except (CancelledError) {
            note("cancelled");
            throw(MyExc);
        } end_try
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_18)
{
    Value e = await(exception_of(cancel_after(turn_cancel_into_error(), 0.1)));
    ck_assert(exception_type(e) == ExceptionGroup);
    ck_types(e, "['MyExc']");
    ck_notes("cancelled");
    return None;
}

/* A child fails with one thing, the body, being cancelled for that, with another. */
async_def(child_and_body_fail, (Value) child, (Value) body)
{
    async_with (g, asyncio_TaskGroup()) {
        taskgroup_create_task(g, fail_after(0.1, child));
        await(fail_finally(10, body));
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_19)
{
    Task *r = asyncio_create_task(child_and_body_fail(V(ZeroDivisionError), V(MyExc)));
    try {
        await(r);
        ck_abort();
    } except (ExceptionGroup, e) {
        ck_types(e, "['ZeroDivisionError', 'MyExc']");
    } end_try
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_20)
{
    ck_raises(KeyboardInterrupt, await(child_and_body_fail(V(ZeroDivisionError), V(KeyboardInterrupt))));
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_20a)
{
    Value e = await(exception_of(child_and_body_fail(V(ZeroDivisionError), V(MyBaseExc))));
    ck_assert(exception_type(e) == BaseExceptionGroup);
    ck_types(e, "['ZeroDivisionError', 'MyBaseExc']");
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_21a)
{
    Value e = await(exception_of(child_and_body_fail(V(MyBaseExc), V(TypeError))));
    ck_assert(exception_type(e) == BaseExceptionGroup);
    ck_types(e, "['MyBaseExc', 'TypeError']");
    return None;
}

async_def(two_sleepers)
{
    async_with (g, asyncio_TaskGroup()) {
        taskgroup_create_task(g, sleep_and_return(1, 42));
        taskgroup_create_task(g, sleep_and_return(2, 11));
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_22)
{
    ck_raises(CancelledError, await(cancel_after(two_sleepers(), 0.05)));
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_23)
{
    async_with (g, asyncio_TaskGroup()) {
        for (int count = 0; count < 10; count++) {
            await(asyncio_sleep(0.1));
            taskgroup_create_task(g, asyncio_sleep(0.3));
            if (count == 5) ck_repr(g, "<TaskGroup tasks=4 entered>");   /* those that are done are gone */
        }
        await(asyncio_sleep(1.35));
        ck_repr(g, "<TaskGroup entered>");
    } end_with
    return None;
}

async_def(root, (TaskGroup *) g)
{
    await(asyncio_sleep(0.1));
    taskgroup_create_task(g, note_cancel(0.1, "first"));
    taskgroup_create_task(g, note_cancel(0.2, "second"));
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_24)
{
    async_with (g, asyncio_TaskGroup()) {
        taskgroup_create_task(g, root(g));
    } end_with
    ck_notes("first over|second over");
    return None;
}

static int hydras;

async_def(hydra, (TaskGroup *) g)
{
    hydras++;
    await(asyncio_sleep(0.01));
    taskgroup_create_task(g, hydra(g));
    taskgroup_create_task(g, hydra(g));
    return None;
}

async_def(hercules)
{
    while (hydras < 10) await(asyncio_sleep(0.015));
    throw(ZeroDivisionError);
}

async_def(fight)
{
    hydras = 0;
    async_with (g, asyncio_TaskGroup()) {
        taskgroup_create_task(g, hydra(g));
        taskgroup_create_task(g, hercules());
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_25)
{
    ck_types(await(exception_of(fight())), "['ZeroDivisionError']");
    ck_assert_int_ge(hydras, 10);
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_task_name)
{
    async_with (g, asyncio_TaskGroup()) {
        Task *t = taskgroup_create_task(g, asyncio_sleep(0), .name = "yolo");
        ck_assert_str_eq(task_get_name(t), "yolo");
    } end_with
    return None;
}

async_def(set_variable, (ContextVar *) var, (int) value)
{
    await(asyncio_sleep(0));
    contextvar_set(var, value);
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_task_context)
{
    ContextVar *var = context_var("cvar");
    async_with (g, asyncio_TaskGroup()) {
        Context *context = asyncio_copy_context();
        ck_assert(is_none(context_get(context, var, None)));
        Task *t1 = taskgroup_create_task(g, set_variable(var, 1), .context = context);
        await(t1);
        ck_repr(context_get(context, var, None), "1");
        Task *t2 = taskgroup_create_task(g, set_variable(var, 2), .context = context);
        await(t2);
        ck_repr(context_get(context, var, None), "2");
    } end_with
    return None;
}

async_def(create_when_cancelled, (TaskGroup *) g)
{
    try {
        await(asyncio_sleep(1));
    } except (CancelledError) {
        ck_raises(RuntimeError, taskgroup_create_task(g, divide_after(0.001)));
        note("refused");
    } end_try
    return None;
}

async_def(fail_then_create)
{
    async_with (g, asyncio_TaskGroup()) {
        taskgroup_create_task(g, divide_after(0.001));
        taskgroup_create_task(g, create_when_cancelled(g));
    } end_with
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_no_create_task_after_failure)
{
    ck_types(await(exception_of(fail_then_create())), "['ZeroDivisionError']");
    ck_notes("refused");
    return None;
}

exception_class(CustomException, Exception);

async_gen(database)
{
    try {
        yield(None);
    } finally {
        throw(CustomException);
    } end_try
    return None;
}

async_def(exit_raises)
{
    Task *task = asyncio_current_task();
    try {
        async_with (tg, asyncio_TaskGroup()) {
            async_with (asyncio_contextmanager(database())) {
                taskgroup_create_task(tg, fail_after(0, V(CustomException)));
                await(asyncio_sleep(1));
            } end_with
        } end_with
        ck_abort_msg("CustomException not raised");
    } except_star (CustomException, err) {
        ck_assert_int_eq(task_cancelling(task), 0);
        ck_assert_int_eq(len(exception_exceptions(err)), 2);
        note("both");
    } end_try
    return None;
}

/* gh-95289 */
ASYNC_TEST(TestTaskGroup__test_taskgroup_context_manager_exit_raises)
{
    Task *task = asyncio_create_task(exit_raises());
    await(task);
    ck_notes("both");
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_already_entered)
{
    async_with (tg, asyncio_TaskGroup()) {
        ck_raises_text(RuntimeError, "TaskGroup <TaskGroup entered> has already been entered", async_with (tg) { note("inside"); } end_with);
    } end_with
    ck_notes("");
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_double_enter)
{
    TaskGroup *tg = asyncio_TaskGroup();
    async_with (tg) {
        note("once");
    } end_with
    ck_raises(RuntimeError, async_with (tg) { note("twice"); } end_with);
    ck_notes("once");
    return None;
}

/* The coroutine that a finished group refuses is closed: nothing is said of it on stderr. */
async_def(create_in_finished_group)
{
    TaskGroup *tg = asyncio_TaskGroup();
    async_with (tg) {
        note("inside");
    } end_with
    Coroutine *coro = asyncio_sleep(0);
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup entered> is finished", taskgroup_create_task(tg, coro));
    ck_raises_text(RuntimeError, "cannot reuse already awaited coroutine", await(coro));
    return None;
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_finished) { return await(create_in_finished_group()); }

ASYNC_TEST(TestTaskGroup__test_taskgroup_not_entered)
{
    TaskGroup *tg = asyncio_TaskGroup();
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup> has not been entered", taskgroup_create_task(tg, asyncio_sleep(0)));
    return None;
}

static void enter_without_task(Value v)
{
    TaskGroup *tg = (TaskGroup *)v.object;
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup> cannot determine the parent task", async_with (tg) { note("inside"); } end_with);
    note("refused");
}

ASYNC_TEST(TestTaskGroup__test_taskgroup_without_parent_task)
{
    TaskGroup *tg = asyncio_TaskGroup();
    loop_call_soon(asyncio_get_running_loop(), enter_without_task, V(tg));
    await(asyncio_sleep(0));
    ck_notes("refused");
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup> has not been entered", taskgroup_create_task(tg, asyncio_sleep(0)));
    return None;
}

TEST(TestTaskGroup__test_coro_closed_when_tg_closed)
{
    Loop *loop = asyncio_new_event_loop();
    loop_run_until_complete(loop, create_in_finished_group());
    loop_close(loop);
}

ASYNC_TEST(TestTaskGroup__test_cancelling_level_preserved)
{
    try {
        async_with (tg, asyncio_TaskGroup()) {
            taskgroup_create_task(tg, fail_after(0.0, V(RuntimeError)));
        } end_with
    } except_star (RuntimeError, e) {
        note("caught");
    } end_try
    ck_notes("caught");
    ck_assert_int_eq(task_cancelling(asyncio_current_task()), 0);
    return None;
}

ASYNC_TEST(TestTaskGroup__test_nested_groups_both_cancelled)
{
    Task *me = asyncio_current_task();
    try {
        async_with (outer, asyncio_TaskGroup()) {
            try {
                async_with (inner, asyncio_TaskGroup()) {
                    taskgroup_create_task(inner, fail_after(0, V(RuntimeError)));
                    taskgroup_create_task(outer, fail_after(0, V(ValueError)));
                } end_with
                ck_abort_msg("RuntimeError not raised");
            } except_star (RuntimeError, e) {
                note("inner");
            } end_try
            ck_assert_int_eq(task_cancelling(me), 1);
        } end_with
        ck_abort_msg("ValueError not raised");
    } except_star (ValueError, e) {
        note("outer");
    } end_try
    ck_notes("inner|outer");
    ck_assert_int_eq(task_cancelling(me), 0);
    return None;
}

async_def(raise_error, (Event *) event)
{
    event_set(event);
    await(asyncio_sleep(0));
    throw(RuntimeError);
}

async_def(fail_and_be_cancelled, (Event *) event)
{
    Task *me = asyncio_current_task();
    try {
        async_with (tg, asyncio_TaskGroup()) {
            taskgroup_create_task(tg, raise_error(event));
            await(asyncio_sleep(1));
            ck_abort_msg("Sleep in group should have been cancelled");
        } end_with
    } except_star (RuntimeError, e) {
        ck_assert_int_eq(task_cancelling(me), 1);
        note("caught");
    } end_try
    ck_assert_int_eq(task_cancelling(me), 1);
    await(asyncio_sleep(1));
    ck_abort_msg("Sleep after group should have been cancelled");
    return None;
}

/* A child fails and somebody cancels the parent at once: the group is raised, and the next await is cancelled. */
ASYNC_TEST(TestTaskGroup__test_error_and_cancel)
{
    Event *event = asyncio_Event();
    Task *t = asyncio_create_task(fail_and_be_cancelled(event));
    await(event_wait(event));
    ck_assert_int_eq(task_cancelling(t), 0);
    task_cancel(t);
    ck_assert_int_eq(task_cancelling(t), 1);
    ck_raises(CancelledError, await(t));
    ck_assert(task_cancelled(t));
    ck_notes("caught");
    return None;
}
