/* Lesson 31: whose threads are these, how many are there, and who waits for one? An executor. */
#include "asyncio.h"
#include <pthread.h>
#include <unistd.h>

static int gate[2];  /* a pipe: who reads from it blocks until somebody has written */
static Loop *loop;
static Queue *news;

static void deliver(Value item) { queue_put_nowait(news, item); }

static Value square(Value n) { return V(as_int(n) * as_int(n)); }

static Value square_behind_the_gate(Value n)
{
    char byte;
    if (read(gate[0], &byte, 1) != 1) throw(OSError, "the pipe is broken");
    return square(n);
}

static Value told_square(Value n)
{
    loop_call_soon_threadsafe(loop, deliver, .arg = V("begun"));
    return square_behind_the_gate(n);
}

static void open_gate(const char *for_each)
{
    for (; *for_each; for_each++)
        if (write(gate[1], for_each, 1) != 1) throw(OSError, "the pipe is broken");
}

async_def(two_threads, (Executor *) pool)
{
    Future *calls[4];
    for (int i = 0; i < 4; i++) calls[i] = loop_run_in_executor(loop, pool, told_square, .arg = V(i + 1));
    print(" ", await(queue_get(news)), "and", await(queue_get(news)), "- and the other two?", queue_qsize(news));

    print("  the first, cancelled:", future_cancel(calls[0]), "- the last, cancelled:", future_cancel(calls[3]));
    open_gate("!");
    print(" ", await(queue_get(news)), "- a thread was free again");
    open_gate("!!");
    print("  results:", await(asyncio_gather(calls[1], calls[2])));
    print("  begun after that:", queue_qsize(news), "- the last one never ran");
    return None;
}

/* Something that must not meet two threads at once, nor change from one to the other: many a database is like that. */

static pthread_t owner;

static Value open_database(Value name)
{
    owner = pthread_self();
    return format("%s is open", as_str(name));
}

static Value query(Value what)
{
    bool same = pthread_equal(owner, pthread_self());
    return tuple(what, same);
}

async_def(one_thread)
{
    loop_set_default_executor(loop, asyncio_ThreadPoolExecutor(.max_workers = 1));
    print(" ", await(asyncio_to_thread(open_database, .arg = V("database"))));
    print("  in the thread that opened it:", await(asyncio_gather(asyncio_to_thread(query, .arg = V("anna")),
                                                                  asyncio_to_thread(query, .arg = V("bert")))));
    print("  and here:", query(V("cora")));
    return None;
}

static Value fail(Value n) { throw(ValueError, "%d has no root", (int)as_int(n)); return None; }

async_def(both_kinds, (Executor *) pool)
{
    ThreadFuture *there = executor_submit(pool, square, .arg = V(8));
    print("  awaited:", await(asyncio_wrap_future(there)));
    try {
        await(asyncio_wrap_future(executor_submit(pool, fail, .arg = V(-1))));
    } except (ValueError, e) {
        print("  awaited:", repr(e));
    } end_try
    return None;
}

async_def(main_, (Executor *) pool)
{
    loop = asyncio_get_running_loop();
    news = asyncio_Queue();
    if (pipe(gate) < 0) throw(OSError, "no pipe");

    print("two threads, four calls");
    await(two_threads(pool));
    print("one thread, for what belongs to a thread");
    await(one_thread());
    print("from one kind of future to the other");
    await(both_kinds(pool));
    return None;
}

int main(void)
{
    Executor *pool = asyncio_ThreadPoolExecutor(.max_workers = 2);
    print("without any loop");
    ThreadFuture *answer = executor_submit(pool, square, .arg = V(7));
    print("  waited for:", threadfuture_result(answer), "- done:", threadfuture_done(answer));
    asyncio_run(main_(pool));

    print("shut down");
    executor_submit(pool, square_behind_the_gate, .arg = V(5));
    open_gate("!");
    executor_shutdown(pool);
    print("  it has waited for what was begun");
    try {
        executor_submit(pool, square, .arg = V(9));
    } except (RuntimeError, e) {
        print(" ", e);
    } end_try
}
