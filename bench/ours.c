/* The operations that bench/run measures, on asyncio.c. bench/cpython.py has their twins.
 *
 *     ours OPERATION N        does it N times, after a warm-up, and prints the nanoseconds of processor time that each took
 *
 * Every operation is a coroutine that does it n times. What a turn of a loop makes is dropped by `scope` as in any long-running program.
 */
#include "../asyncio.h"
#include "clock.h"

async_def(nothing) { return None; }

/* Tasks. */

async_def(yielding, (int) n)
{
    for (int i = 0; i < n; i++) await(asyncio_sleep(0));
    return None;
}

async_def(bench_switch, (int) n)
{
    await(asyncio_gather(yielding(n / 2), yielding(n / 2)));
    return None;
}

async_def(bench_task, (int) n)
{
    for (int i = 0; i < n; i++) scope { await(asyncio_create_task(nothing())); }
    return None;
}

async_def(bench_await, (int) n)
{
    for (int i = 0; i < n; i++) await(nothing());
    return None;
}

async_def(bench_exception, (int) n)
{
    for (volatile int i = 0; i < n; i++) scope {
        try { throw(ValueError, "no"); } except (ValueError) { } end_try
    }
    return None;
}

/* The loop: a callback that calls itself soon, n times. */

static Loop *loop;
static Future *all_called;
static int calls_left;

static void called(Value arg)
{
    (void)arg;
    if (--calls_left) loop_call_soon(loop, called); else future_set_result(all_called, None);
}

async_def(bench_call_soon, (int) n)
{
    loop = asyncio_get_running_loop();
    all_called = loop_create_future(loop);
    calls_left = n;
    loop_call_soon(loop, called);
    await(all_called);
    return None;
}

/* Queues. */

async_def(producing, (Queue *) queue, (int) n)
{
    for (int i = 0; i < n; i++) await(queue_put(queue, i));
    return None;
}

async_def(consuming, (Queue *) queue, (int) n)
{
    for (int i = 0; i < n; i++) await(queue_get(queue));
    return None;
}

async_def(through_queue, (int) size, (int) n)
{
    Queue *queue = asyncio_Queue(.maxsize = size);
    await(asyncio_gather(producing(queue, n), consuming(queue, n)));
    return None;
}

async_def(bench_queue_1, (int) n) { return await(through_queue(1, n)); }
async_def(bench_queue_100, (int) n) { return await(through_queue(100, n)); }

/* Synchronisation: two tasks that hand something to and fro, n times in all. */

async_def(locking, (Lock *) lock, (int) n)
{
    for (volatile int i = 0; i < n; i++) { async_with (lock) { await(asyncio_sleep(0)); } end_with }
    return None;
}

async_def(bench_lock, (int) n)
{
    Lock *lock = asyncio_Lock();
    await(asyncio_gather(locking(lock, n / 2), locking(lock, n / 2)));
    return None;
}

async_def(counting_down, (Semaphore *) semaphore, (int) n)
{
    for (volatile int i = 0; i < n; i++) { async_with (semaphore) { await(asyncio_sleep(0)); } end_with }
    return None;
}

async_def(bench_semaphore, (int) n)
{
    Semaphore *semaphore = asyncio_Semaphore(.value = 1);
    await(asyncio_gather(counting_down(semaphore, n / 2), counting_down(semaphore, n / 2)));
    return None;
}

async_def(answering, (Event *) mine, (Event *) yours, (int) n)
{
    for (int i = 0; i < n; i++) {
        event_set(yours);
        await(event_wait(mine));
        event_clear(mine);
    }
    event_set(yours);
    return None;
}

async_def(bench_event, (int) n)
{
    Event *one = asyncio_Event(), *other = asyncio_Event();
    await(asyncio_gather(answering(one, other, n / 2), answering(other, one, n / 2)));
    return None;
}

static int turn;

async_def(taking_turns, (Condition *) condition, (int) me, (int) n)
{
    for (volatile int i = 0; i < n; i++) {
        async_with (condition) {
            while (turn != me) await(condition_wait(condition));
            turn = !me;
            condition_notify(condition);
        } end_with
    }
    return None;
}

async_def(bench_condition, (int) n)
{
    Condition *condition = asyncio_Condition();
    turn = 0;
    await(asyncio_gather(taking_turns(condition, 0, n / 2), taking_turns(condition, 1, n / 2)));
    return None;
}

async_def(meeting, (Barrier *) barrier, (int) n)
{
    for (int i = 0; i < n; i++) await(barrier_wait(barrier));
    return None;
}

async_def(bench_barrier, (int) n)
{
    Barrier *barrier = asyncio_Barrier(2);
    await(asyncio_gather(meeting(barrier, n / 2), meeting(barrier, n / 2)));
    return None;
}

/* Waiting. */

async_def(bench_wait_for, (int) n)
{
    for (int i = 0; i < n; i++) scope { await(asyncio_wait_for(asyncio_sleep(0), 10)); }
    return None;
}

async_def(bench_timeout, (int) n)
{
    for (volatile int i = 0; i < n; i++) scope {
        async_with (asyncio_timeout(10)) { await(asyncio_sleep(0)); } end_with
    }
    return None;
}

async_def(bench_shield, (int) n)
{
    for (int i = 0; i < n; i++) scope { await(asyncio_shield(nothing())); }
    return None;
}

static Value nothings(int n)
{
    Value all = list();
    for (int i = 0; i < n; i++) list_append(all, nothing());
    return all;
}

async_def(gathering, (int) children, (int) n)
{
    for (int done = 0; done < n; done += children) scope { await(asyncio_gather_list(nothings(children))); }
    return None;
}

async_def(bench_gather_100, (int) n) { return await(gathering(100, n)); }
async_def(bench_gather_1000, (int) n) { return await(gathering(1000, n)); }
async_def(bench_gather_10000, (int) n) { return await(gathering(10000, n)); }

async_def(bench_taskgroup, (int) n)
{
    for (volatile int done = 0; done < n; done += 100) scope {
        async_with (group, asyncio_TaskGroup()) {
            for (int i = 0; i < 100; i++) taskgroup_create_task(group, nothing());
        } end_with
    }
    return None;
}

async_def(bench_as_completed, (int) n)
{
    for (int done = 0; done < n; done += 100) scope {
        AsCompleted *it = asyncio_as_completed(nothings(100));
        for (Coroutine *next; (next = as_completed_next(it)); ) await(next);
    }
    return None;
}

async_gen(numbers, (int) n)
{
    for (int i = 0; i < n; i++) yield(i);
    return None;
}

async_def(bench_generator, (int) n)
{
    async_for (v, numbers(n)) { (void)v; }
    return None;
}

/* n tasks asleep at once, each for 0.5 to 1 second: the processor time of each, and the memory while all of them sleep. */
async_def(sleepers, (int) n)
{
    Value tasks = list();
    size_t before = resident_bytes();
    uint64_t began = processor_ns();
    for (int i = 0; i < n; i++) list_append(tasks, asyncio_create_task(asyncio_sleep(0.5 + 0.5 * (i * 7919L % n) / n)));
    await(asyncio_sleep(0));
    size_t asleep = resident_bytes();
    for_in (task, tasks) await(task);
    printf("%.2f %.0f\n", (double)(processor_ns() - began) / n, (double)(asleep - before) / n);
    return None;
}

static const struct Operation { const char *name; Coroutine *(*run)(int n); } operations[] = {
    {"switch", bench_switch}, {"task", bench_task}, {"await", bench_await}, {"exception", bench_exception}, {"call_soon", bench_call_soon},
    {"queue_1", bench_queue_1}, {"queue_100", bench_queue_100}, {"lock", bench_lock}, {"semaphore", bench_semaphore}, {"event", bench_event},
    {"condition", bench_condition}, {"barrier", bench_barrier}, {"wait_for", bench_wait_for}, {"timeout", bench_timeout},
    {"shield", bench_shield}, {"gather_100", bench_gather_100}, {"gather_1000", bench_gather_1000}, {"gather_10000", bench_gather_10000},
    {"taskgroup", bench_taskgroup}, {"as_completed", bench_as_completed}, {"generator", bench_generator},
};

async_def(measure, (const struct Operation *) operation, (int) n)
{
    await(operation->run(n / 10));
    uint64_t began = processor_ns();
    await(operation->run(n));
    printf("%.2f\n", (double)(processor_ns() - began) / n);
    return None;
}

int main(int argc, char **argv)
{
    int n = argc == 3 ? atoi(argv[2]) : 0;
    if (n <= 0) { fprintf(stderr, "usage: %s OPERATION N\n", argv[0]); return 2; }
    if (!strcmp(argv[1], "sleepers")) { asyncio_run(sleepers(n)); return 0; }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (!strcmp(argv[1], operations[i].name)) { asyncio_run(measure(&operations[i], n)); return 0; }
    fprintf(stderr, "%s: no operation %s\n", argv[0], argv[1]);
    return 2;
}
