/* Many threads at once: what they call from outside must reach the loop, each once and whole, and loops of different threads must not
 * feel each other. `make tsan` runs this under ThreadSanitizer, which tells where two threads touch the same thing. */
#include "child.h"
#include "cpython/cpython_io.h"

enum { THREADS = 8 };
#define CALLS (SLOWED_DOWN ? 50 : 500)

/* Runs it in so many threads at once, while the loop goes on. */
typedef struct Crowd { void (*work)(Loop *loop, int number); Loop *loop; int number; } Crowd;

static Value crowd_member(Value v)
{
    Crowd *crowd = as_pointer(v);
    crowd->work(crowd->loop, __atomic_fetch_add(&crowd->number, 1, __ATOMIC_RELAXED));
    return None;
}

static void in_a_crowd(void (*work)(Loop *loop, int number))
{
    Crowd crowd = {work, asyncio_get_running_loop(), 0};
    Value members = list();
    Executor *executor = asyncio_ThreadPoolExecutor(.max_workers = THREADS);
    for (int i = 0; i < THREADS; i++) list_append(members, loop_run_in_executor(crowd.loop, executor, crowd_member, .arg = V((void *)&crowd)));
    await(asyncio_gather_list(members));
    executor_shutdown(executor);
}

/* ---- Into one loop ---------------------------------------------------------------------------------------------- */

static int seen[THREADS], out_of_order;

static void in_the_loop(Value v)
{
    int thread = (int)as_int(list_get(v, 0)), number = (int)as_int(list_get(v, 1));
    out_of_order += seen[thread] != number;
    seen[thread]++;
}

static void calls_soon(Loop *loop, int number)
{
    for (int i = 0; i < CALLS; i++) scope { loop_call_soon_threadsafe(loop, in_the_loop, tuple(number, i)); }
}

NET_TEST(calls_arrive_each_once_in_the_order_of_their_thread)
{
    in_a_crowd(calls_soon);
    await(asyncio_sleep(0));
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(seen[i], CALLS);
    ck_assert_int_eq(out_of_order, 0);
    return None;
}

async_def(sum_slowly, (int) a, (int) b) { await(asyncio_sleep(0)); return V(a + b); }

static void runs_coroutines(Loop *loop, int number)
{
    for (int i = 0; i < CALLS; i++) scope {
        ck_assert_int_eq(as_int(threadfuture_result(asyncio_run_coroutine_threadsafe(sum_slowly(i, number), loop))), i + number);
    }
}

NET_TEST(coroutines_from_many_threads_return_to_the_right_one)
{
    in_a_crowd(runs_coroutines);
    return None;
}

async_def(sleeps_long) { await(asyncio_sleep(100)); return None; }

static void cancels_coroutines(Loop *loop, int number)
{
    (void)number;
    for (volatile int i = 0; i < CALLS / 5; i++) scope {
        ThreadFuture *volatile tf = asyncio_run_coroutine_threadsafe(sleeps_long(), loop);
        ck_raises(TimeoutError, threadfuture_result(tf, .timeout = 0));
        ck_assert(threadfuture_cancel(tf));
        ck_raises(CancelledError, threadfuture_result(tf));
    }
}

NET_TEST(coroutines_are_cancelled_from_many_threads)
{
    in_a_crowd(cancels_coroutines);
    return None;
}

/* ---- Out of one loop -------------------------------------------------------------------------------------------- */

static Value square(Value v)
{
    if (as_int(v) % 7 == 0) throw(ValueError, "%d", (int)as_int(v));
    return V(as_int(v) * as_int(v));
}

async_def(squares_in_threads, (int) from)
{
    for (volatile int i = from; i < from + CALLS / 10; i++) scope {
        volatile int64_t result = -1;
        try { result = as_int(await(asyncio_to_thread(square, .arg = V((int)i)))); } except (ValueError, e) { ck_assert_int_eq(atoi(as_str(str(e))), i); } end_try
        ck_assert_int_eq(result, i % 7 ? (int64_t)i * i : -1);
    }
    return None;
}

NET_TEST(many_tasks_send_work_to_threads)
{
    Value tasks = list();
    for (int i = 0; i < 20; i++) list_append(tasks, squares_in_threads(1000 * i));
    await(asyncio_gather_list(tasks));
    return None;
}

/* ---- Many loops ------------------------------------------------------------------------------------------------- */

async_def(ping, (Queue *) in, (Queue *) out)
{
    for (int i = 0; i < CALLS / 10; i++) scope {
        Value v = await(queue_get(in));
        await(queue_put(out, as_int(v) + 1));
    }
    return None;
}

async_def(plays)
{
    Queue *there = asyncio_Queue(), *back = asyncio_Queue();
    queue_put_nowait(there, 0);
    await(asyncio_gather(ping(there, back), ping(back, there)));
    return await(asyncio_to_thread(square, .arg = queue_get_nowait(there)));
}

static void *runs_loops(void *unused)
{
    for (int i = 0; i < 5; i++) scope {
        volatile int64_t wanted = 2 * (CALLS / 10), result = -1;
        try { result = as_int(asyncio_run(plays())); } except (ValueError) { result = -7; } end_try
        ck_assert_int_eq(result, wanted % 7 ? wanted * wanted : -7);
    }
    return unused;
}

TEST(a_loop_in_each_of_many_threads)
{
    size_t before = asyncio_live_objects();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, runs_loops, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* Each of two loops calls into the other. */

typedef struct Pair { Loop *loops[2]; pthread_barrier_t ready; } Pair;

static Value asks_the_other(Value loop)
{
    for (int i = 0; i < CALLS / 10; i++) scope {
        ck_assert_int_eq(as_int(threadfuture_result(asyncio_run_coroutine_threadsafe(sum_slowly(i, 1), as_pointer(loop)))), i + 1);
    }
    return None;
}

static Value waits_at_the_barrier(Value pair)
{
    pthread_barrier_wait(&((Pair *)as_pointer(pair))->ready);
    return None;
}

async_def(one_of_two, (Pair *) pair, (int) which)
{
    pair->loops[which] = asyncio_get_running_loop();
    await(asyncio_to_thread(waits_at_the_barrier, .arg = V((void *)pair)));
    await(asyncio_to_thread(asks_the_other, .arg = V((void *)pair->loops[!which])));
    await(asyncio_to_thread(waits_at_the_barrier, .arg = V((void *)pair)));
    return None;
}

static void *second_of_two(void *pair)
{
    asyncio_run(one_of_two(pair, 1));
    return NULL;
}

TEST(two_loops_call_into_each_other)
{
    size_t before = asyncio_live_objects();
    Pair pair;
    pthread_t thread;
    pthread_barrier_init(&pair.ready, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, second_of_two, &pair), 0);
    scope { asyncio_run(one_of_two(&pair, 0)); }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&pair.ready);
    ck_assert_uint_eq(asyncio_live_objects(), before);
}
