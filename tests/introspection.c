/* Who waits for whom: stacks of tasks, the call graph, the words of a deadlock. */
#include "child.h"

#define LOOP asyncio_get_running_loop()
static int inner_line, outer_line;
async_def(inner) { inner_line = __LINE__; await(asyncio_sleep(10)); return None; }
async_def(outer) { outer_line = __LINE__; await(inner()); return None; }
async_def(fails_inside) { await(asyncio_sleep(0)); throw(ValueError, "x"); return None; }
async_def(fails_outside) { await(fails_inside()); return None; }
async_def(awaits, (Task *) task) { return await(task); }

static Value printed_stack(Task *task, int limit)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    task_print_stack(task, .file = out, .limit = limit);
    fclose(out);
    Value v = V(text);
    free(text);
    return v;
}

ASYNC_TEST(the_stack_of_a_task_not_begun)
{
    Task *task = asyncio_create_task(outer());
    Value stack = task_get_stack(task);
    ck_assert_int_eq(len(stack), 1);
    ck_repr(list_get(list_get(stack, 0), 0), "'outer'");
    task_cancel(task);
    return None;
}

async_def(prints_its_stack) { task_print_stack(asyncio_current_task()); return None; }
static void prints_a_stack(void) { asyncio_run(prints_its_stack()); }
TEST(a_stack_is_printed_to_stdout)
{
    Child c = child(prints_a_stack);
    ck_has(c.out, "Stack for <Task pending name='Task-1'");
    ck_assert_str_eq(c.err, "");
    child_free(c);
}

ASYNC_TEST(the_stack_of_a_suspended_task)
{
    Task *task = asyncio_create_task(outer(), .name = "t");
    await(asyncio_sleep(1));
    Value stack = task_get_stack(task), frame = list_get(stack, 0);
    ck_assert_int_eq(len(stack), 1);                    /* as in Python: a suspended task shows one frame */
    ck_repr(list_get(frame, 0), "'outer'");
    ck_assert_int_eq(as_int(list_get(frame, 2)), outer_line);
    ck_assert_str_eq(as_str(list_get(frame, 1)), __FILE__);
    ck_assert_int_eq(len(task_get_stack(task, .limit = 0)), 0);
    Value text = printed_stack(task, -1);
    ck_has(as_str(text), "Stack for <Task pending name='t' coro=<outer() running at ");
    ck_has(as_str(text), ", in outer\n    async_def(outer) {");
    task_cancel(task);
    return None;
}

ASYNC_TEST(the_stack_of_a_failed_task)
{
    Task *task = asyncio_create_task(fails_outside(), .name = "f");
    await(asyncio_gather(task, .return_exceptions = true));
    Value stack = task_get_stack(task);
    ck_assert_int_eq(len(stack), 2);
    ck_repr(list_get(list_get(stack, 0), 0), "'fails_outside'");
    ck_repr(list_get(list_get(stack, 1), 0), "'fails_inside'");
    ck_assert_int_eq(len(task_get_stack(task, .limit = 1)), 1);
    Value text = printed_stack(task, -1);
    ck_has(as_str(text), "Traceback for <Task finished name='f'");
    ck_has(as_str(text), "(most recent call last):\n  File \"");
    ck_has(as_str(text), "\nValueError: x\n");
    return None;
}

ASYNC_TEST(the_stack_of_a_finished_task)
{
    Task *task = asyncio_create_task(asyncio_sleep(0), .name = "done");
    await(task);
    ck_assert_int_eq(len(task_get_stack(task)), 0);
    ck_has(as_str(printed_stack(task, -1)), "No stack for <Task finished name='done'");
    task = asyncio_create_task(outer());
    task_cancel(task);
    await(asyncio_gather(task, .return_exceptions = true));
    ck_assert_int_eq(len(task_get_stack(task)), 0);
    return None;
}

async_def(looks_at_itself) {
    Value stack = task_get_stack(asyncio_current_task());
    ck_assert_int_eq(len(stack), 1);
    return list_get(list_get(stack, 0), 0);
}
ASYNC_TEST(the_stack_of_the_running_task) { ck_repr(await(asyncio_create_task(looks_at_itself())), "'looks_at_itself'"); return None; }

/* ---- the call graph ---- */

ASYNC_TEST(the_graph_of_a_chain)
{
    Task *a = asyncio_create_task(outer(), .name = "a"), *b = asyncio_create_task(awaits(a), .name = "b"), *c = asyncio_create_task(awaits(b), .name = "c");
    await(asyncio_sleep(1));
    Value text = asyncio_format_call_graph(.future = a);
    ck_assert_int_eq(strncmp(as_str(text), "* Task(name='a', id=0x", 22), 0);
    ck_has(as_str(text), "\n  + Call stack:\n  |   File '");
    ck_has(as_str(text), "in async inner()\n");
    ck_has(as_str(text), "in async outer()\n");
    ck_has(as_str(text), "\n  + Awaited by:\n    * Task(name='b', id=0x");
    ck_has(as_str(text), "\n      + Awaited by:\n        * Task(name='c', id=0x");
    Value graph = asyncio_capture_call_graph(.future = a);
    ck_assert_int_eq(len(graph), 3);
    ck_assert_ptr_eq(as_task(list_get(graph, 0)), a);
    ck_assert_int_eq(len(list_get(graph, 1)), 2);
    ck_assert_int_eq(len(list_get(graph, 2)), 1);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = a, .limit = 1), 1)), 1);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = a, .limit = 0), 1)), 0);
    task_cancel(c);
    ck_raises(CancelledError, await(c));
    return None;
}

ASYNC_TEST(the_graph_of_a_gather_and_a_group)
{
    Task *child = asyncio_create_task(outer(), .name = "child");
    Future *both = asyncio_gather(child, asyncio_sleep(20));
    await(asyncio_sleep(1));
    ck_has(as_str(asyncio_format_call_graph(.future = child)), "+ Awaited by:\n    * ");
    future_cancel(both);
    try { await(both); } except (CancelledError) { } end_try
    try {
        async_with (group, asyncio_TaskGroup()) {
            Task *member = taskgroup_create_task(group, outer(), .name = "member");
            await(asyncio_sleep(1));
            Value text = asyncio_format_call_graph(.future = member);
            ck_has(as_str(text), "* Task(name='member'");
            ck_has(as_str(text), "+ Awaited by:\n    * Task(name='Task-");
            task_cancel(member);
        } end_with
    } except (CancelledError) { } end_try
    return None;
}

static void graph_in_callback(Value arg) { (void)arg; note(asyncio_format_call_graph(), repr(asyncio_capture_call_graph())); }

ASYNC_TEST(the_graph_of_the_current_task_and_of_none)
{
    ck_has(as_str(asyncio_format_call_graph()), "in async the_graph_of_the_current_task_and_of_none()");
    loop_call_soon(LOOP, graph_in_callback);
    await(asyncio_sleep(0));
    ck_notes(" None");
    ck_raises(TypeError, asyncio_capture_call_graph(.future = asyncio_Lock()));
    Future *future = loop_create_future(LOOP);
    ck_has(as_str(asyncio_format_call_graph(.future = future)), "* Future(id=0x");
    return None;
}

TEST(no_graph_without_a_loop)
{
    ck_raises_text(RuntimeError, "no running event loop", asyncio_capture_call_graph());
}

static Task *ring[2];
async_def(awaits_other, (int) i) { return await(ring[i]); }

/* A ring in the graph must not be followed for ever. */
ASYNC_TEST(the_graph_of_a_ring)
{
    for (int i = 0; i < 2; i++) ring[i] = asyncio_create_task(awaits_other(1 - i), .name = i ? "right" : "left");
    await(asyncio_sleep(1));
    Value text = asyncio_format_call_graph(.future = ring[0]);
    ck_has(as_str(text), "* Task(name='left'");
    ck_has(as_str(text), "* Task(name='right'");
    task_cancel(ring[0]);
    for (int i = 0; i < 2; i++) ck_raises(CancelledError, await(ring[i]));
    return None;
}

async_gen(slow_numbers) { await(inner()); yield(1); return None; }
async_def(consumes) { async_for (v, slow_numbers()) { (void)v; } return None; }

ASYNC_TEST(frames_through_a_generator)
{
    Task *task = asyncio_create_task(consumes());
    await(asyncio_sleep(1));
    Value frames = list_get(asyncio_capture_call_graph(.future = task), 1);
    ck_assert_int_eq(len(frames), 3);
    ck_repr(list_get(list_get(frames, 0), 0), "'inner'");
    ck_repr(list_get(list_get(frames, 1), 0), "'slow_numbers'");
    ck_repr(list_get(list_get(frames, 2), 0), "'consumes'");
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    return None;
}

/* ---- in words ---- */

async_def(gets, (Queue *) queue) { return await(queue_get(queue)); }
async_def(waits, (Event *) event) { await(event_wait(event)); return None; }
async_def(joins, (Queue *) queue) { await(queue_join(queue)); return None; }

ASYNC_TEST(what_each_task_waits_for)
{
    Queue *queue = asyncio_Queue();
    Task *a = asyncio_create_task(gets(queue), .name = "getter"), *b = asyncio_create_task(waits(asyncio_Event()), .name = "waiter"),
         *c = asyncio_create_task(asyncio_sleep(5), .name = "sleeper"), *d = asyncio_create_task(awaits(c), .name = "follower"),
         *party = asyncio_create_task(barrier_wait(asyncio_Barrier(2)), .name = "party");
    Task *fresh = NULL;
    await(asyncio_sleep(1));
    fresh = asyncio_create_task(asyncio_sleep(1), .name = "fresh");
    const char *text = as_str(asyncio_describe_waiting(LOOP));
    ck_has(text, "task 'getter' at ");
    ck_has(text, "waits for queue.get() of <Queue");
    ck_has(text, "task 'waiter' at ");
    ck_has(text, "waits for event.wait() of <");
    ck_has(text, "task 'sleeper' waits for sleep(5)");
    ck_has(text, "task 'party' waits for barrier.wait() of <Barrier [filling, waiters:1/2]>");
    ck_has(text, "task 'follower' at ");
    ck_has(text, "waits for task 'sleeper'");
    ck_has(text, "task 'fresh' has not been given a turn");
    task_cancel(a);
    task_cancel(b);
    task_cancel(party);
    await(asyncio_gather(a, b, c, d, party, fresh, .return_exceptions = true));
    return None;
}
