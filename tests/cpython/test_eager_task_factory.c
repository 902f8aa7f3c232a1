/* CPython's test_eager_task_factory.py. */
#include "cpython.h"

/* ---- EagerTaskFactoryLoopTests: a task runs inside create_task() until it first suspends --------------------------- */

static Loop *running(void) { return asyncio_get_running_loop(); }

static Value run_eagerly(Loop *loop, Coroutine *coro)
{
    loop_set_task_factory(loop, asyncio_eager_task_factory);
    return loop_run_until_complete(loop, coro);
}

async_def(noop) { return None; }

async_def(creates_noop)
{
    Task *t = loop_create_task(running(), noop());
    ck_assert_str_eq(value_type(V(t)), "Task");
    await(t);
    return None;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_eager_task_factory_set)
{
    run_eagerly(loop, creates_noop());
    ck_assert(loop_get_task_factory(loop) == asyncio_eager_task_factory);
}

async_def(sets_result, (Future *) fut, (const char *) v) { future_set_result(fut, v); return None; }

async_def(awaits_set_future)
{
    Future *fut = loop_create_future(running());
    Task *t = loop_create_task(running(), sets_result(fut, "my message"));
    ck_assert(task_done(t));
    return await(fut);
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_await_future_during_eager_step)
{
    ck_repr(run_eagerly(loop, awaits_set_future()), "'my message'");
}

async_def(hello) { return V("hello"); }

async_def(completes)
{
    Task *t = loop_create_task(running(), hello());
    ck_assert(task_done(t));
    return await(t);
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_eager_completion) { ck_repr(run_eagerly(loop, completes()), "'hello'"); }

async_def(blocks) { await(asyncio_sleep(0.1)); return V("finished after blocking"); }

async_def(waits_for_blocking)
{
    Task *t = loop_create_task(running(), blocks());
    ck_assert(!task_done(t));
    Value result = await(t);
    ck_assert(task_done(t));
    return result;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_block_after_eager_step)
{
    double began = loop_time(loop);
    ck_repr(run_eagerly(loop, waits_for_blocking()), "'finished after blocking'");
    ck_elapsed(loop, began, 0.1);
}

async_def(cancels_completed)
{
    Task *t = loop_create_task(running(), hello());
    ck_assert(!task_cancel(t));
    Value result = await(t);
    ck_assert(!task_cancelled(t));
    return result;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_cancellation_after_eager_completion)
{
    ck_repr(run_eagerly(loop, cancels_completed()), "'hello'");
}

async_def(cancels_blocked)
{
    Task *t = loop_create_task(running(), blocks());
    task_cancel(t, .msg = V("cancellation message"));
    ck_assert_int_gt(task_cancelling(t), 0);
    return await(t);
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_cancellation_after_eager_step_blocks)
{
    ck_raises_text(CancelledError, "cancellation message", run_eagerly(loop, cancels_blocked()));
}

static Task *captured;

async_def(captures_itself)
{
    captured = asyncio_current_task();
    await(asyncio_sleep(0.1));
    ck_assert_ptr_eq(asyncio_current_task(), captured);
    note("same");
    return None;
}

async_def(checks_captured)
{
    Task *me = asyncio_current_task(), *t = loop_create_task(running(), captures_itself());
    ck_assert_ptr_eq(captured, t);
    ck_assert_ptr_eq(asyncio_current_task(), me);
    await(t);
    return None;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_current_task)
{
    run_eagerly(loop, checks_captured());
    ck_notes("same");
}

async_def(captures_all, (Value) box, (Future *) fut1, (Future *) fut2)
{
    for_in (task, asyncio_all_tasks()) list_append(box, task);
    if (fut1) {
        await(fut1);
        future_set_result(fut2, None);
    }
    return None;
}

async_def(all_with_completion)
{
    Value box = list();
    Task *t = loop_create_task(running(), captures_all(box, NULL, NULL));
    ck_assert(list_contains(box, t));
    ck_assert(!list_contains(asyncio_all_tasks(), t));
    return None;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_all_tasks_with_eager_completion) { run_eagerly(loop, all_with_completion()); }

async_def(all_with_blocking)
{
    Value box = list();
    Future *fut1 = loop_create_future(running()), *fut2 = loop_create_future(running());
    Task *t = loop_create_task(running(), captures_all(box, fut1, fut2));
    ck_assert(list_contains(box, t));
    ck_assert(list_contains(asyncio_all_tasks(), t));
    future_set_result(fut1, None);
    await(fut2);
    ck_assert(!list_contains(asyncio_all_tasks(), t));
    list_clear(box);
    return None;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_all_tasks_with_blocking) { run_eagerly(loop, all_with_blocking()); }

#define ck_var(var, n) ck_assert(value_equal(contextvar_get(var), V(n)))

async_def(changes_var, (ContextVar *) cv)
{
    ck_var(cv, 1);
    contextvar_set(cv, 2);
    ck_var(cv, 2);
    note("first step");
    await(asyncio_sleep(0.1));
    ck_var(cv, 2);
    contextvar_set(cv, 3);
    ck_var(cv, 3);
    note("second step");
    return None;
}

async_def(keeps_var, (ContextVar *) cv)
{
    contextvar_set(cv, 1);
    Task *t = loop_create_task(running(), changes_var(cv));
    ck_notes("first step");
    ck_var(cv, 1);
    await(t);
    ck_notes("second step");
    ck_var(cv, 1);
    return None;
}

LOOP_TEST(EagerTaskFactoryLoopTests__test_context_vars)
{
    run_eagerly(loop, keeps_var(context_var("cv", .default_value = V(0))));
}

async_def(asks_for_coro)
{
    Task *task = loop_create_task(running(), noop());
    await(task);
    ck_assert_ptr_null(task_get_coro(task));
    return None;
}

LOOP_TEST(CEagerTaskFactoryLoopTests__test_issue122332) { run_eagerly(loop, asks_for_coro()); }

/* ---- BaseTaskCountingTests: how many tasks the loop has to schedule ------------------------------------------------ */

static int scheduled;

static Task *count_plain(Loop *loop, Coroutine *coro, TaskOptions options)
{
    scheduled++;
    return asyncio_Task(coro, .loop = loop, .name = options.name, .context = options.context);
}

static Task *count_eager(Loop *loop, Coroutine *coro, TaskOptions options)
{
    Task *task = asyncio_Task(coro, .loop = loop, .name = options.name, .context = options.context, .eager_start = true);
    if (loop_is_running(loop) && !task_done(task)) scheduled++;
    return task;
}

static Value count_tasks(Loop *loop, TaskFactory factory, Coroutine *coro, int expected)
{
    scheduled = 0;
    loop_set_task_factory(loop, factory);
    Value result = loop_run_until_complete(loop, coro);
    ck_assert_int_eq(scheduled, expected);
    return result;
}

async_decl(awaitable_chain, (int) depth);
async_def(awaitable_chain, (int) depth) { return depth ? V(1 + as_int(await(awaitable_chain(depth - 1)))) : V(0); }

async_decl(recursive_taskgroups, (int) width, (int) depth);
async_def(recursive_taskgroups, (int) width, (int) depth)
{
    if (!depth) return None;
    async_with (tg, asyncio_TaskGroup()) {
        for (int i = 0; i < width; i++) taskgroup_create_task(tg, recursive_taskgroups(width, depth - 1));
    } end_with
    return None;
}

async_decl(recursive_gather, (int) width, (int) depth);
async_def(recursive_gather, (int) width, (int) depth)
{
    if (!depth) return None;
    Value children = list();
    for (int i = 0; i < width; i++) list_append(children, recursive_gather(width, depth - 1));
    await(asyncio_gather_list(children));
    return None;
}

LOOP_TEST(BaseTaskCountingTests__test_awaitables_chain)
{
    ck_repr(count_tasks(loop, count_plain, awaitable_chain(100), 1), "100");
    ck_repr(count_tasks(loop, count_eager, awaitable_chain(100), 0), "100");
}

enum { EVERY_TASK = 1 + 5 + 25 + 125 + 625 };

LOOP_TEST(BaseTaskCountingTests__test_recursive_taskgroups)
{
    count_tasks(loop, count_plain, recursive_taskgroups(5, 4), EVERY_TASK);
    count_tasks(loop, count_eager, recursive_taskgroups(5, 4), 0);
}

LOOP_TEST(BaseTaskCountingTests__test_recursive_gather)
{
    count_tasks(loop, count_plain, recursive_gather(5, 4), EVERY_TASK);
    count_tasks(loop, count_eager, recursive_gather(5, 4), 0);
}
