/* CPython 3.13's test_queues.py: Queue, LifoQueue, PriorityQueue, join() and shutdown(), each method under its own name.
 *
 * What the originals see in q._getters and q._putters is seen here through repr(). The mixins run for all three classes: their tests
 * are written once below and named for each class by FOR_EACH_QUEUE.
 */
#include "../testing.h"

static bool shows(Queue *q, const char *text) { return strstr(as_str(repr(q)), text) != NULL; }

/* ---- QueueBasicTests -------------------------------------------------------------------------------------------- */

ASYNC_TEST(QueueBasicTests__test_repr)
{
    Queue *q = asyncio_Queue();
    ck_repr(q, "<Queue maxsize=0>");
    Task *getter = asyncio_create_task(queue_get(q));
    await(asyncio_sleep(0));
    ck_repr(q, "<Queue maxsize=0 _getters[1]>");
    queue_put_nowait(q, 0);
    ck_repr(await(getter), "0");

    q = asyncio_Queue(.maxsize = 1);
    queue_put_nowait(q, 1);
    Task *putter = asyncio_create_task(queue_put(q, 2));
    await(asyncio_sleep(0));
    ck_repr(q, "<Queue maxsize=1 _queue=[1] _putters[1] tasks=1>");
    queue_get_nowait(q);
    await(putter);

    q = asyncio_Queue();
    queue_put_nowait(q, 1);
    ck_assert(shows(q, "_queue=[1]"));
    return None;
}

ASYNC_TEST(QueueBasicTests__test_empty)
{
    Queue *q = asyncio_Queue();
    ck_assert(queue_empty(q));
    await(queue_put(q, 1));
    ck_assert(!queue_empty(q));
    ck_assert_int_eq(as_int(await(queue_get(q))), 1);
    ck_assert(queue_empty(q));
    return None;
}

ASYNC_TEST(QueueBasicTests__test_full)
{
    Queue *q = asyncio_Queue();
    ck_assert(!queue_full(q));
    q = asyncio_Queue(.maxsize = 1);
    await(queue_put(q, 1));
    ck_assert(queue_full(q));
    return None;
}

/* Puts 1, 3, 2 and returns what comes out. */
async_def(put_and_get_three, (Queue *) q)
{
    Value items = list();
    await(queue_put(q, 1));
    await(queue_put(q, 3));
    await(queue_put(q, 2));
    for (int i = 0; i < 3; i++) list_append(items, await(queue_get(q)));
    return items;
}

ASYNC_TEST(QueueBasicTests__test_order)
{
    ck_repr(await(put_and_get_three(asyncio_Queue())), "[1, 3, 2]");
    return None;
}

async_def(put_three, (Queue *) q)
{
    for (int i = 0; i < 3; i++) {
        await(queue_put(q, i));
        note(i);
    }
    return True;
}

ASYNC_TEST(QueueBasicTests__test_maxsize)
{
    Queue *q = asyncio_Queue(.maxsize = 2);
    ck_assert_int_eq(queue_maxsize(q), 2);
    Task *t = asyncio_create_task(put_three(q));
    for (int i = 0; i < 2; i++) await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "0|1");                    /* it is blocked after two */
    ck_assert_int_eq(as_int(await(queue_get(q))), 0);
    await(asyncio_sleep(0));
    ck_notes("0|1|2");
    ck_assert_int_eq(as_int(await(queue_get(q))), 1);
    ck_assert_int_eq(as_int(await(queue_get(q))), 2);
    ck_assert(as_bool(task_result(t)));
    return None;
}

/* ---- QueueGetTests ---------------------------------------------------------------------------------------------- */

ASYNC_TEST(QueueGetTests__test_blocking_get)
{
    Queue *q = asyncio_Queue();
    queue_put_nowait(q, 1);
    ck_assert_int_eq(as_int(await(queue_get(q))), 1);
    return None;
}

ASYNC_TEST(QueueGetTests__test_get_with_putters)
{
    Queue *q = asyncio_Queue(1);
    await(queue_put(q, 1));
    Task *putter = asyncio_create_task(queue_put(q, 2));
    await(asyncio_sleep(0));
    ck_assert(shows(q, "_putters[1]"));
    ck_assert_int_eq(as_int(await(queue_get(q))), 1);
    ck_assert(!shows(q, "_putters"));
    await(asyncio_sleep(0));
    ck_assert(is_none(task_result(putter)));
    return None;
}

static bool finished;

async_def(get_one, (Queue *) q, (Event *) started)
{
    event_set(started);
    Value result = await(queue_get(q));
    finished = true;
    return result;
}

static void put_one(Value q) { queue_put_nowait((Queue *)q.object, 1); }
static void get_nowait(Value q) { queue_get_nowait((Queue *)q.object); }

ASYNC_TEST(QueueGetTests__test_blocking_get_wait)
{
    Queue *q = asyncio_Queue();
    Event *started = asyncio_Event();
    finished = false;
    Loop *loop = asyncio_get_running_loop();
    Task *getter = asyncio_create_task(get_one(q, started));
    await(event_wait(started));
    ck_assert(!finished);
    double before = loop_time(loop);
    loop_call_later(loop, 0.01, put_one, V(q));
    ck_assert_int_eq(as_int(await(getter)), 1);
    ck_assert(finished);
    ck_assert_double_eq_tol(loop_time(loop), before + 0.01, 1e-6);
    return None;
}

TEST(QueueGetTests__test_nonblocking_get)
{
    Queue *q = asyncio_Queue();
    queue_put_nowait(q, 1);
    ck_assert_int_eq(as_int(queue_get_nowait(q)), 1);
}

TEST(QueueGetTests__test_nonblocking_get_exception)
{
    Queue *q = asyncio_Queue();
    ck_raises(QueueEmpty, queue_get_nowait(q));
}

ASYNC_TEST(QueueGetTests__test_get_cancelled_race)
{
    Queue *q = asyncio_Queue();
    Task *t1 = asyncio_create_task(queue_get(q)), *t2 = asyncio_create_task(queue_get(q));
    await(asyncio_sleep(0));
    task_cancel(t1);
    await(asyncio_sleep(0));
    ck_assert(task_done(t1));
    await(queue_put(q, "a"));
    await(asyncio_sleep(0));
    ck_repr(await(t2), "'a'");
    return None;
}

ASYNC_TEST(QueueGetTests__test_get_with_waiting_putters)
{
    Queue *q = asyncio_Queue(.maxsize = 1);
    asyncio_create_task(queue_put(q, "a"));
    asyncio_create_task(queue_put(q, "b"));
    ck_repr(await(queue_get(q)), "'a'");
    ck_repr(await(queue_get(q)), "'b'");
    return None;
}

async_def(consume, (Queue *) q, (int) count)
{
    for (int i = 0; i < count; i++) note(await(queue_get(q)));
    return None;
}

async_def(produce, (Queue *) q, (int) count)
{
    for (int i = 0; i < count; i++) await(queue_put(q, i));
    return None;
}

ASYNC_TEST(QueueGetTests__test_why_are_getters_waiting)
{
    Queue *q = asyncio_Queue(1);
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, produce(q, 5));
        taskgroup_create_task(tg, consume(q, 5));
    } end_with
    ck_notes("0|1|2|3|4");
    return None;
}

ASYNC_TEST(QueueGetTests__test_cancelled_getters_not_being_held_in_self_getters)
{
    Queue *q = asyncio_Queue(.maxsize = 5);
    ck_raises(TimeoutError, await(asyncio_wait_for(queue_get(q), 0.1)));
    ck_assert(!shows(q, "_getters"));
    return None;
}

/* ---- QueuePutTests ---------------------------------------------------------------------------------------------- */

ASYNC_TEST(QueuePutTests__test_blocking_put)
{
    Queue *q = asyncio_Queue();
    await(queue_put(q, 1));
    ck_assert_int_eq(as_int(await(queue_get(q))), 1);
    return None;
}

async_def(put_two, (Queue *) q, (Event *) started)
{
    event_set(started);
    await(queue_put(q, 1));
    await(queue_put(q, 2));
    finished = true;
    return None;
}

ASYNC_TEST(QueuePutTests__test_blocking_put_wait)
{
    Queue *q = asyncio_Queue(.maxsize = 1);
    Event *started = asyncio_Event();
    finished = false;
    loop_call_later(asyncio_get_running_loop(), 0.01, get_nowait, V(q));
    Task *putter = asyncio_create_task(put_two(q, started));
    await(event_wait(started));
    ck_assert(!finished);
    await(putter);
    ck_assert(finished);
    return None;
}

TEST(QueuePutTests__test_nonblocking_put)
{
    Queue *q = asyncio_Queue();
    queue_put_nowait(q, 1);
    ck_assert_int_eq(as_int(queue_get_nowait(q)), 1);
}

ASYNC_TEST(QueuePutTests__test_get_cancel_drop_one_pending_reader)
{
    Queue *q = asyncio_Queue();
    Task *volatile reader = asyncio_create_task(queue_get(q));
    await(asyncio_sleep(0));
    queue_put_nowait(q, 1);
    queue_put_nowait(q, 2);
    task_cancel(reader);
    try {
        await(reader);
    } except (CancelledError) {
        reader = asyncio_create_task(queue_get(q));
        await(reader);
    } end_try
    ck_assert_int_eq(as_int(task_result(reader)), 1);   /* 2 would mean that 1 was dropped */
    return None;
}

ASYNC_TEST(QueuePutTests__test_get_cancel_drop_many_pending_readers)
{
    Queue *q = asyncio_Queue();
    Task *readers[3] = {NULL, NULL, NULL};
    async_with (tg, asyncio_TaskGroup()) {
        for (int i = 0; i < 3; i++) readers[i] = taskgroup_create_task(tg, queue_get(q));
        await(asyncio_sleep(0));
        queue_put_nowait(q, 1);
        queue_put_nowait(q, 2);
        task_cancel(readers[0]);
        ck_raises(CancelledError, await(readers[0]));
        await(readers[2]);
    } end_with
    ck_assert_int_eq(as_int(task_result(readers[1])) + as_int(task_result(readers[2])), 3);
    ck_assert(!value_equal(task_result(readers[1]), task_result(readers[2])));
    return None;
}

ASYNC_TEST(QueuePutTests__test_put_cancel_drop)
{
    Queue *q = asyncio_Queue(1);
    queue_put_nowait(q, 1);
    Task *volatile writer = asyncio_create_task(queue_put(q, 2));
    await(asyncio_sleep(0));
    ck_assert_int_eq(as_int(queue_get_nowait(q)), 1);
    task_cancel(writer);
    try {
        await(writer);
    } except (CancelledError) {
        writer = asyncio_create_task(queue_put(q, 2));
        await(writer);
    } end_try
    ck_assert_int_eq(as_int(queue_get_nowait(q)), 2);
    ck_assert_int_eq(queue_qsize(q), 0);
    return None;
}

TEST(QueuePutTests__test_nonblocking_put_exception)
{
    Queue *q = asyncio_Queue(.maxsize = 1);
    queue_put_nowait(q, 1);
    ck_raises(QueueFull, queue_put_nowait(q, 2));
}

async_def(put_true, (Queue *) q)
{
    await(queue_put(q, 1));
    return True;
}

ASYNC_TEST(QueuePutTests__test_put_cancelled)
{
    Queue *q = asyncio_Queue();
    Task *t = asyncio_create_task(put_true(q));
    ck_assert_int_eq(as_int(await(queue_get(q))), 1);
    ck_assert(as_bool(task_result(t)));
    return None;
}

ASYNC_TEST(QueuePutTests__test_put_cancelled_race)
{
    Queue *q = asyncio_Queue(.maxsize = 1);
    Task *put_a = asyncio_create_task(queue_put(q, "a"));
    Task *put_b = asyncio_create_task(queue_put(q, "b"));
    Task *put_c = asyncio_create_task(queue_put(q, "X"));
    await(asyncio_sleep(0));
    ck_assert(task_done(put_a));
    ck_assert(!task_done(put_b));
    task_cancel(put_c);
    await(asyncio_sleep(0));
    ck_assert(task_done(put_c));
    ck_repr(queue_get_nowait(q), "'a'");
    await(asyncio_sleep(0));
    ck_repr(queue_get_nowait(q), "'b'");
    await(put_b);
    return None;
}

ASYNC_TEST(QueuePutTests__test_put_with_waiting_getters)
{
    Queue *q = asyncio_Queue();
    Task *t = asyncio_create_task(queue_get(q));
    await(asyncio_sleep(0));
    await(queue_put(q, "a"));
    ck_repr(await(t), "'a'");
    return None;
}

async_def(drain_what_is_there, (Queue *) q)
{
    await(asyncio_sleep(0));
    for (int left = queue_qsize(q); left; left--) note(queue_get_nowait(q));
    return None;
}

ASYNC_TEST(QueuePutTests__test_why_are_putters_waiting)
{
    Queue *q = asyncio_Queue(2);
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, drain_what_is_there(q));
        for (int i = 0; i < 4; i++) taskgroup_create_task(tg, queue_put(q, i));
    } end_with
    ck_notes("0|1");
    ck_repr(q, "<Queue maxsize=2 _queue=[2, 3] tasks=4>");
    return None;
}

ASYNC_TEST(QueuePutTests__test_cancelled_puts_not_being_held_in_self_putters)
{
    Queue *q = asyncio_Queue(.maxsize = 1);
    queue_put_nowait(q, 1);
    Task *put = asyncio_create_task(queue_put(q, 1));
    await(asyncio_sleep(0));
    ck_assert(shows(q, "_putters[1]"));
    task_cancel(put);
    ck_raises(CancelledError, await(put));
    ck_assert(!shows(q, "_putters"));
    return None;
}

/* get_nowait() has already taken the putter out of the line when it is cancelled: only CancelledError comes out. */
ASYNC_TEST(QueuePutTests__test_cancelled_put_silence_value_error_exception)
{
    Queue *q = asyncio_Queue(1);
    queue_put_nowait(q, 1);
    Task *put = asyncio_create_task(queue_put(q, 1));
    await(asyncio_sleep(0));
    queue_get_nowait(q);
    ck_assert(!shows(q, "_putters"));
    task_cancel(put);
    ck_raises(CancelledError, await(put));
    return None;
}

ASYNC_TEST(LifoQueueTests__test_order)
{
    ck_repr(await(put_and_get_three(asyncio_LifoQueue())), "[2, 3, 1]");
    return None;
}

ASYNC_TEST(PriorityQueueTests__test_order)
{
    ck_repr(await(put_and_get_three(asyncio_PriorityQueue())), "[1, 2, 3]");
    return None;
}

/* ---- The tests that all three classes run ----------------------------------------------------------------------- */

#define FOR_EACH_QUEUE(Group, method, body) \
    ASYNC_TEST(Queue##Group##__##method)         { return await(body(asyncio_Queue())); } \
    ASYNC_TEST(LifoQueue##Group##__##method)     { return await(body(asyncio_LifoQueue())); } \
    ASYNC_TEST(PriorityQueue##Group##__##method) { return await(body(asyncio_PriorityQueue())); }
#define FOR_EACH_QUEUE_OF_ONE(Group, method, body) \
    ASYNC_TEST(Queue##Group##__##method)         { return await(body(asyncio_Queue(1))); } \
    ASYNC_TEST(LifoQueue##Group##__##method)     { return await(body(asyncio_LifoQueue(1))); } \
    ASYNC_TEST(PriorityQueue##Group##__##method) { return await(body(asyncio_PriorityQueue(1))); }

async_def(task_done_underflow, (Queue *) q)
{
    ck_raises_text(ValueError, "task_done() called too many times", queue_task_done(q));
    return None;
}
FOR_EACH_QUEUE(JoinTests, test_task_done_underflow, task_done_underflow)

static bool running;
static int64_t accumulator;

async_def(worker, (Queue *) q)
{
    while (running) {
        accumulator += as_int(await(queue_get(q)));
        queue_task_done(q);
    }
    return None;
}

/* Two workers take a hundred items; join() returns when all are done. */
async_def(task_done_by_workers, (Queue *) q)
{
    for (int i = 0; i < 100; i++) queue_put_nowait(q, i);
    accumulator = 0;
    running = true;
    async_with (tg, asyncio_TaskGroup()) {
        for (int i = 0; i < 2; i++) taskgroup_create_task(tg, worker(q));
        await(queue_join(q));
        ck_assert_int_eq(accumulator, 99 * 100 / 2);
        running = false;
        for (int i = 0; i < 2; i++) queue_put_nowait(q, 0);
    } end_with
    return None;
}
FOR_EACH_QUEUE(JoinTests, test_task_done, task_done_by_workers)

async_def(join_empty_queue, (Queue *) q)
{
    await(queue_join(q));
    await(queue_join(q));
    return None;
}
FOR_EACH_QUEUE(JoinTests, test_join_empty_queue, join_empty_queue)

async_def(join_format, (Queue *) q)
{
    ck_assert(shows(q, "Queue maxsize=0>"));
    queue_put_nowait(q, 1);
    queue_put_nowait(q, 2);
    await(queue_get(q));
    await(queue_get(q));
    ck_assert(shows(q, "Queue maxsize=0 tasks=2>"));
    return None;
}
FOR_EACH_QUEUE(JoinTests, test_format, join_format)

async_def(ck_shut_down, (Queue *) q)
{
    ck_raises(QueueShutDown, await(queue_put(q, "data")));
    ck_raises(QueueShutDown, queue_put_nowait(q, "data"));
    ck_raises(QueueShutDown, await(queue_get(q)));
    ck_raises(QueueShutDown, queue_get_nowait(q));
    return None;
}

async_def(shutdown_format, (Queue *) q)
{
    queue_shutdown(q);
    ck_assert(shows(q, "Queue maxsize=0 shutdown>"));
    return None;
}
FOR_EACH_QUEUE(ShutdownTests, test_format, shutdown_format)

async_def(shutdown_empty, (Queue *) q)
{
    Task *get = asyncio_create_task(queue_get(q));
    await(asyncio_sleep(0));
    queue_shutdown(q, .immediate = false);              /* unfinished: 0 -> 0 */
    ck_assert_int_eq(queue_qsize(q), 0);
    await(queue_join(q));
    await(asyncio_sleep(0));
    ck_assert(task_done(get));
    ck_raises(QueueShutDown, await(get));
    return await(ck_shut_down(q));
}
FOR_EACH_QUEUE(ShutdownTests, test_shutdown_empty, shutdown_empty)

async_def(shutdown_nonempty, (Queue *) q)
{
    queue_put_nowait(q, "data");
    Task *join = asyncio_create_task(queue_join(q)), *put = asyncio_create_task(queue_put(q, "data2"));
    await(asyncio_sleep(0));
    ck_assert(!task_done(put));
    queue_shutdown(q, .immediate = false);              /* unfinished: 1 -> 1 */
    ck_assert_int_eq(queue_qsize(q), 1);
    await(asyncio_sleep(0));
    ck_assert(task_done(put));
    ck_raises(QueueShutDown, await(put));
    ck_repr(await(queue_get(q)), "'data'");
    await(asyncio_sleep(0));
    ck_assert(!task_done(join));
    await(ck_shut_down(q));
    queue_task_done(q);
    await(asyncio_sleep(0));
    ck_assert(task_done(join));
    await(join);
    ck_raises(ValueError, queue_task_done(q));
    return None;
}
FOR_EACH_QUEUE_OF_ONE(ShutdownTests, test_shutdown_nonempty, shutdown_nonempty)

async_def(shutdown_immediate, (Queue *) q)
{
    queue_put_nowait(q, "data");
    Task *join = asyncio_create_task(queue_join(q));
    queue_shutdown(q, .immediate = true);               /* unfinished: 1 -> 0 */
    ck_assert_int_eq(queue_qsize(q), 0);
    await(asyncio_sleep(0));
    ck_assert(task_done(join));
    await(join);
    await(ck_shut_down(q));
    ck_raises(ValueError, queue_task_done(q));
    return None;
}
FOR_EACH_QUEUE(ShutdownTests, test_shutdown_immediate, shutdown_immediate)

async_def(shutdown_immediate_with_unfinished, (Queue *) q)
{
    queue_put_nowait(q, "data");
    queue_put_nowait(q, "data");
    Task *join = asyncio_create_task(queue_join(q));
    ck_repr(await(queue_get(q)), "'data'");
    queue_shutdown(q, .immediate = true);               /* unfinished: 2 -> 1 */
    ck_assert_int_eq(queue_qsize(q), 0);
    await(asyncio_sleep(0));
    ck_assert(!task_done(join));
    await(ck_shut_down(q));
    queue_task_done(q);
    ck_raises(ValueError, queue_task_done(q));
    await(asyncio_sleep(0));
    ck_assert(task_done(join));
    await(join);
    return None;
}
FOR_EACH_QUEUE(ShutdownTests, test_shutdown_immediate_with_unfinished, shutdown_immediate_with_unfinished)
