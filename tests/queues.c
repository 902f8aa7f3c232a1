/* Queue, LifoQueue, PriorityQueue, as a C program meets them: what they hold, what cannot be compared, shutdown with a crowd on both sides. */
#include "testing.h"

static Task *start(Coroutine *coro) { return asyncio_create_task(coro); }

/* Everything that is in it. */
static Value drain(Queue *queue)
{
    Value items = list();
    while (!queue_empty(queue)) list_append(items, queue_get_nowait(queue));
    return items;
}

ASYNC_TEST(it_takes_values_of_all_types)
{
    Queue *queue = asyncio_Queue();
    queue_put_nowait(queue, 1);
    queue_put_nowait(queue, 2.5);
    queue_put_nowait(queue, "text");
    queue_put_nowait(queue, None);
    queue_put_nowait(queue, true);
    queue_put_nowait(queue, tuple(1, list("a", 2)));
    queue_put_nowait(queue, ValueError);
    ck_repr(drain(queue), "[1, 2.5, 'text', None, True, (1, ['a', 2]), ValueError()]");
    return None;
}

/* What is in the queue lives as long as that, and what came out of it as long as who took it. */
ASYNC_TEST(it_holds_its_items)
{
    Queue *queue = asyncio_Queue();
    size_t before = asyncio_live_objects();
    scope for (int i = 0; i < 100; i++) queue_put_nowait(queue, list(format("item %d", i), i));
    ck_assert_uint_ge(asyncio_live_objects(), before + 200);
    scope for (int i = 0; i < 100; i++) {
        Value item = await(queue_get(queue));
        ck_assert_int_eq(as_int(list_get(item, 1)), i);
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    return None;
}

ASYNC_TEST(a_queue_dropped_with_items_in_it)
{
    size_t before = asyncio_live_objects();
    scope {
        Queue *queues[] = {asyncio_Queue(), asyncio_LifoQueue(), asyncio_PriorityQueue()};
        for (int i = 0; i < 3; i++) for (int n = 0; n < 20; n++) queue_put_nowait(queues[i], tuple(n, "text"));
        queue_shutdown(queues[1], .immediate = true);
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    return None;
}

ASYNC_TEST(maxsize_zero_and_less_is_no_limit)
{
    for (int maxsize = 0; maxsize >= -2; maxsize--) {
        Queue *queue = asyncio_Queue(maxsize);
        for (int i = 0; i < 1000; i++) queue_put_nowait(queue, i);
        ck_assert(!queue_full(queue));
        ck_assert_int_eq(queue_qsize(queue), 1000);
        ck_assert_int_eq(queue_maxsize(queue), maxsize);
    }
    return None;
}

/* The ring turns and grows, and keeps its order. */
ASYNC_TEST(a_long_time_in_and_out)
{
    Queue *queue = asyncio_Queue();
    int in = 0, out = 0;
    for (int round = 1; round < 60; round++) {
        for (int i = 0; i < round; i++) queue_put_nowait(queue, in++);
        for (int i = 0; i < round - 1; i++) ck_assert_int_eq(as_int(queue_get_nowait(queue)), out++);
        ck_assert_int_eq(queue_qsize(queue), round);
    }
    while (!queue_empty(queue)) ck_assert_int_eq(as_int(queue_get_nowait(queue)), out++);
    ck_assert_int_eq(in, out);
    return None;
}

ASYNC_TEST(priorities_are_whatever_compares)
{
    Queue *queue = asyncio_PriorityQueue();
    queue_put_nowait(queue, tuple(2, "b"));
    queue_put_nowait(queue, tuple(1, "z"));
    queue_put_nowait(queue, tuple(2, "a"));
    queue_put_nowait(queue, tuple(0.5, "y"));
    queue_put_nowait(queue, tuple(1));
    ck_repr(drain(queue), "[(0.5, 'y'), (1,), (1, 'z'), (2, 'a'), (2, 'b')]");
    queue_put_nowait(queue, "b");
    queue_put_nowait(queue, "B");
    queue_put_nowait(queue, "a");
    ck_repr(drain(queue), "['B', 'a', 'b']");
    return None;
}

ASYNC_TEST(a_thousand_priorities)
{
    Queue *queue = asyncio_PriorityQueue();
    unsigned random = 1;
    for (int i = 0; i < 1000; i++) queue_put_nowait(queue, (random = random * 1103515245 + 12345) >> 16 & 0x3ff);
    int64_t last = -1;
    while (!queue_empty(queue)) {
        int64_t v = as_int(queue_get_nowait(queue));
        ck_assert_int_ge(v, last);
        last = v;
    }
    return None;
}

/* An item that does not compare with those inside: TypeError, and as in Python it is in the queue all the same. Nothing is lost. */
ASYNC_TEST(an_item_without_order)
{
    Queue *queue = asyncio_PriorityQueue();
    queue_put_nowait(queue, 1);
    ck_raises_text(TypeError, "'<' not supported between instances of 'str' and 'int'", queue_put_nowait(queue, "a"));
    ck_assert_int_eq(queue_qsize(queue), 2);
    ck_repr(queue_get_nowait(queue), "1");
    ck_repr(queue_get_nowait(queue), "'a'");
    return None;
}

ASYNC_TEST(tuples_that_tie_and_do_not_compare)
{
    Queue *queue = asyncio_PriorityQueue();
    queue_put_nowait(queue, tuple(1, None));
    queue_put_nowait(queue, tuple(2, None));
    ck_raises(TypeError, queue_put_nowait(queue, tuple(1, "x")));
    ck_raises(TypeError, queue_put_nowait(queue, None));
    return None;
}

/* A get that fails on a comparison raises, and as in Python the item that was to come out is gone: so each try comes nearer to the end. */
ASYNC_TEST(a_get_that_cannot_compare)
{
    size_t before = asyncio_live_objects();
    scope {
        Queue *queue = asyncio_PriorityQueue();
        queue_put_nowait(queue, tuple(1, "one"));
        ck_raises(TypeError, queue_put_nowait(queue, "a"));
        queue_put_nowait(queue, tuple(2, "two"));
        ck_raises_text(TypeError, "'<' not supported between instances of 'tuple' and 'str'", queue_get_nowait(queue));
        ck_repr(queue, "<PriorityQueue maxsize=0 _queue=['a', (2, 'two')] tasks=2>");
        ck_repr(queue_get_nowait(queue), "'a'");
        ck_repr(queue_get_nowait(queue), "(2, 'two')");
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    return None;
}

/* The same in a shutdown: it raises, and the next one goes on from there. */
ASYNC_TEST(a_shutdown_that_cannot_compare)
{
    Queue *queue = asyncio_PriorityQueue();
    Task *task = asyncio_create_task(queue_join(queue));
    queue_put_nowait(queue, 1);
    ck_raises(TypeError, queue_put_nowait(queue, "a"));
    queue_put_nowait(queue, 2);
    await(asyncio_sleep(0));
    ck_raises(TypeError, queue_shutdown(queue, .immediate = true));
    ck_repr(queue, "<PriorityQueue maxsize=0 _queue=['a', 2] tasks=2 shutdown>");
    queue_shutdown(queue, .immediate = true);
    ck_repr(queue, "<PriorityQueue maxsize=0 shutdown>");
    await(task);
    return None;
}

async_def(getter, (Queue *) queue)
{
    try {
        note("got", await(queue_get(queue)));
    } except (QueueShutDown) {
        note("no more");
    } end_try
    return None;
}

async_def(putter, (Queue *) queue, (int) item)
{
    try {
        await(queue_put(queue, item));
        note("put", item);
    } except (QueueShutDown) {
        note("refused", item);
    } end_try
    return None;
}

ASYNC_TEST(shutdown_with_getters_in_line)
{
    Queue *queue = asyncio_Queue();
    for (int i = 0; i < 3; i++) start(getter(queue));
    await(asyncio_sleep(0));
    queue_put_nowait(queue, "last");
    queue_shutdown(queue);
    queue_shutdown(queue);
    await(asyncio_sleep(0));
    ck_notes("got last|no more|no more");
    return None;
}

ASYNC_TEST(shutdown_with_putters_in_line)
{
    Queue *queue = asyncio_Queue(1);
    queue_put_nowait(queue, 0);
    for (int i = 1; i < 4; i++) start(putter(queue, i));
    await(asyncio_sleep(0));
    queue_shutdown(queue);
    await(asyncio_sleep(0));
    ck_notes("refused 1|refused 2|refused 3");
    ck_repr(drain(queue), "[0]");
    ck_raises(QueueShutDown, queue_get_nowait(queue));
    return None;
}

ASYNC_TEST(shutdown_at_once_with_all_in_line)
{
    Queue *queue = asyncio_Queue(1);
    queue_put_nowait(queue, 0);
    start(putter(queue, 1));
    Task *join = start(queue_join(queue));
    await(asyncio_sleep(0));
    queue_shutdown(queue, .immediate = true);
    await(join);
    await(asyncio_sleep(0));
    ck_notes("refused 1");
    ck_repr(queue, "<Queue maxsize=1 shutdown>");
    return None;
}

async_def(worker, (Queue *) queue, (Value) done)
{
    forever {
        Value item = await(queue_get(queue));
        await(asyncio_sleep(as_float(item)));
        list_append(done, item);
        queue_task_done(queue);
    }
    return None;
}

/* The pattern of asyncio's documentation. */
ASYNC_TEST(a_pool_of_workers)
{
    Queue *queue = asyncio_Queue();
    Value workers = list(), done = list();
    double before = loop_time(asyncio_get_running_loop());
    for (int i = 0; i < 21; i++) queue_put_nowait(queue, 1 + i % 3);
    for (int i = 0; i < 3; i++) list_append(workers, start(worker(queue, done)));
    await(queue_join(queue));
    ck_assert_double_eq_tol(loop_time(asyncio_get_running_loop()) - before, 15, 1.5);
    for_in (w, workers) task_cancel(as_task(w));
    Value results = await(asyncio_gather_list(workers, .return_exceptions = true));
    for_in (e, results) ck_assert(isinstance(e, CancelledError));
    ck_assert_int_eq(len(done), 21);
    return None;
}

async_def(worker_until_shutdown, (Queue *) queue)
{
    volatile int count = 0;
    try {
        forever { await(queue_get(queue)); count++; queue_task_done(queue); }
    } except (QueueShutDown) {
        note("worker ends");
    } end_try
    return V(count);
}

ASYNC_TEST(workers_that_end_by_shutdown)
{
    Queue *queue = asyncio_Queue(5);
    Task *w1 = start(worker_until_shutdown(queue)), *w2 = start(worker_until_shutdown(queue));
    for (int i = 0; i < 100; i++) await(queue_put(queue, i));
    queue_shutdown(queue);
    Value counts = await(asyncio_gather(w1, w2));
    ck_assert_int_eq(as_int(list_get(counts, 0)) + as_int(list_get(counts, 1)), 100);
    await(queue_join(queue));
    ck_notes("worker ends|worker ends");
    return None;
}

async_def(produce, (Queue *) queue, (int) from, (int) count) { for (int i = 0; i < count; i++) await(queue_put(queue, from + i)); return None; }

async_def(collect, (Queue *) queue, (Value) into)
{
    forever list_append(into, await(queue_get(queue)));
    return None;
}

/* Producers, consumers and cancels of consumers while they wait: each item comes out once. */
ASYNC_TEST(nothing_is_lost_and_nothing_comes_twice)
{
    Queue *queue = asyncio_Queue(3);
    Value got = list();
    for (int i = 0; i < 10; i++) start(produce(queue, i * 100, 100));
    for (volatile int round = 0; len(got) + queue_qsize(queue) < 1000; round++) scope {
        Task *consumers[3];
        for (int i = 0; i < 3; i++) consumers[i] = start(collect(queue, got));
        for (int i = 0; i < 1 + round % 5; i++) await(asyncio_sleep(0));
        for (int i = 0; i < 3; i++) task_cancel(consumers[i]);
        await(asyncio_wait(list(consumers[0], consumers[1], consumers[2])));
    }
    for_in (v, drain(queue)) list_append(got, v);
    list_sort(got);
    ck_assert_int_eq(len(got), 1000);
    for (int i = 0; i < 1000; i++) ck_assert_int_eq(as_int(list_get(got, i)), i);
    return None;
}

async_def(put_get_join, (Queue *) queue)
{
    await(queue_get(queue));
    await(queue_put(queue, "b"));
    await(queue_join(queue));
    return V("done");
}

static void put_a(Value queue) { queue_put_nowait((Queue *)queue.object, "a"); queue_task_done((Queue *)queue.object); }
static void get_one(Value queue) { queue_get_nowait((Queue *)queue.object); queue_task_done((Queue *)queue.object); }

ASYNC_TEST(cancelled_at_every_await)
{
    Loop *loop = asyncio_get_running_loop();
    for (int at = 0; at <= 3; at++) scope {
        Queue *queue = asyncio_Queue(1);
        Task *task = start(put_get_join(queue));
        Value timers = list(loop_call_later(loop, 1, put_a, V(queue)), loop_call_later(loop, 2, get_one, V(queue)));
        await(asyncio_sleep(at - 0.5));
        bool asked = task_cancel(task);
        await(asyncio_wait(list(task)));
        ck_assert_int_eq(asked, at < 3);
        ck_assert_int_eq(task_cancelled(task), at < 3);
        for_in (timer, timers) handle_cancel((Handle *)timer.object);
        const char *text = as_str(repr(queue));
        ck_assert(!strstr(text, "getters") && !strstr(text, "putters"));
    }
    return None;
}

async_def(wait_to_get, (Queue *) queue)
{
    Task *task = start(queue_get(queue));
    await(asyncio_sleep(0));
    task_cancel(task);
    await(asyncio_wait(list(task)));
    return None;
}

async_def(get_elsewhere, (Queue *) queue)
{
    ck_raises_text(RuntimeError, "<Queue maxsize=0> is bound to a different event loop", await(queue_get(queue)));
    queue_put_nowait(queue, 1);
    ck_repr(await(queue_get(queue)), "1");
    return None;
}

TEST(two_loops)
{
    Queue *queue = asyncio_Queue();
    asyncio_run(wait_to_get(queue), .virtual_clock = true);
    asyncio_run(get_elsewhere(queue), .virtual_clock = true);
}

/* Without a loop a queue is a container. */
TEST(without_a_loop)
{
    Queue *queue = asyncio_PriorityQueue(2);
    queue_put_nowait(queue, 2);
    queue_put_nowait(queue, 1);
    ck_raises(QueueFull, queue_put_nowait(queue, 3));
    ck_repr(queue, "<PriorityQueue maxsize=2 _queue=[1, 2] tasks=2>");
    ck_repr(drain(queue), "[1, 2]");
    ck_raises(QueueEmpty, queue_get_nowait(queue));
    queue_task_done(queue);
    queue_task_done(queue);
    ck_raises(ValueError, queue_task_done(queue));
}
