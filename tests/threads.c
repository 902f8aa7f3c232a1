/* Threads: blocking functions in executors, coroutines called from other threads. */
#define _GNU_SOURCE
#include "child.h"
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

static Value twice(Value v) { return V(as_int(v) * 2); }
static Value fails(Value v) { throw(ValueError, "no %s", as_str(v)); }
static Value stops(Value v) { throw(StopIteration, "no %s", as_str(v)); }

/* Two threads that meet: neither could go on if the other did not run at the same time. */
static pthread_barrier_t meeting;
static Value meets(Value v) { pthread_barrier_wait(&meeting); return v; }

IO_TEST(to_thread_returns_the_value_of_the_function)
{
    ck_repr(await(asyncio_to_thread(twice, V(21))), "42");
    return None;
}

IO_TEST(to_thread_raises_what_the_function_raises)
{
    ck_raises_text(ValueError, "no luck", await(asyncio_to_thread(fails, V("luck"))));
    ck_raises(RuntimeError, await(asyncio_to_thread(stops, V("luck"))));
    return None;
}

IO_TEST(to_thread_runs_nothing_until_it_is_awaited)
{
    Coroutine *coro = asyncio_to_thread(fails, V("never"));
    await(asyncio_sleep(0));
    coroutine_close(coro);
    return None;
}

IO_TEST(two_threads_run_at_the_same_time)
{
    pthread_barrier_init(&meeting, NULL, 2);
    Value both = await(asyncio_gather(asyncio_to_thread(meets, V("a")), asyncio_to_thread(meets, V("b"))));
    ck_repr(both, "['a', 'b']");
    pthread_barrier_destroy(&meeting);
    return None;
}

static ContextVar *var;
static Value read_var(Value v) { (void)v; return contextvar_get(var); }
static Value set_var(Value v) { contextvar_set(var, v); return contextvar_get(var); }

IO_TEST(to_thread_runs_in_a_copy_of_the_context)
{
    var = context_var("var", V("default"));
    contextvar_set(var, "set");
    ck_repr(await(asyncio_to_thread(read_var)), "'set'");
    ck_repr(await(asyncio_to_thread(set_var, V("changed"))), "'changed'");
    ck_repr(contextvar_get(var), "'set'");
    return None;
}

IO_TEST(run_in_executor_runs_in_an_empty_context)
{
    var = context_var("var", V("default"));
    contextvar_set(var, "set");
    ck_repr(await(loop_run_in_executor(asyncio_get_running_loop(), NULL, read_var)), "'default'");
    return None;
}

IO_TEST(more_work_than_threads)
{
    Executor *executor = asyncio_ThreadPoolExecutor(2);
    Value futures = list();
    for (int i = 0; i < 200; i++) list_append(futures, loop_run_in_executor(asyncio_get_running_loop(), executor, twice, V(i)));
    Value results = await(asyncio_gather_list(futures));
    for (int i = 0; i < 200; i++) ck_assert_int_eq(as_int(list_get(results, i)), 2 * i);
    executor_shutdown(executor);
    ck_raises_text(RuntimeError, "cannot schedule new futures after shutdown", executor_submit(executor, twice, V(1)));
    ck_raises(RuntimeError, await(loop_run_in_executor(asyncio_get_running_loop(), executor, twice, V(1))));
    return None;
}

/* One thread, kept busy by the first piece of work until `gate` opens: what comes second has not begun. */
static int gate[2];
static Value waits_at_gate(Value v) { char byte; ssize_t n = read(gate[0], &byte, 1); (void)n; return v; }
static bool second_ran;
static Value second(Value v) { second_ran = true; return v; }

IO_TEST(cancelled_work_that_has_not_begun_never_runs)
{
    ck_assert_int_eq(pipe(gate), 0);
    Loop *loop = asyncio_get_running_loop();
    Executor *executor = asyncio_ThreadPoolExecutor(1);
    Future *first = loop_run_in_executor(loop, executor, waits_at_gate, V(1)), *other = loop_run_in_executor(loop, executor, second, V(2));
    ck_assert(future_cancel(other));
    ck_raises(CancelledError, await(other));
    await(asyncio_sleep(0));                             /* the executor is told by a done callback, as in Python */
    ck_assert_int_eq(write(gate[1], "!", 1), 1);
    ck_repr(await(first), "1");
    executor_shutdown(executor);
    ck_assert(!second_ran);
    return None;
}

IO_TEST(cancelling_the_await_does_not_stop_the_thread)
{
    ck_assert_int_eq(pipe(gate), 0);
    Task *task = asyncio_create_task(asyncio_to_thread(waits_at_gate, V(1)));
    await(asyncio_sleep(0));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_assert_int_eq(write(gate[1], "!", 1), 1);         /* else the shutdown would wait for it */
    return None;
}

IO_TEST(the_default_executor_is_shut_down_with_the_loop)
{
    Loop *loop = asyncio_get_running_loop();
    ck_repr(await(asyncio_to_thread(twice, V(1))), "2");
    await(loop_shutdown_default_executor(loop));
    ck_raises_text(RuntimeError, "Executor shutdown has been called", await(asyncio_to_thread(twice, V(1))));
    return None;
}

static Value slowly(Value v) { usleep(20000); return v; }
async_def(leaves_a_thread_at_work) { asyncio_create_task(asyncio_to_thread(slowly, V(1))); await(asyncio_sleep(0)); return None; }
static void child_under_a_virtual_clock(void) { asyncio_run(leaves_a_thread_at_work(), .virtual_clock = true); print("ended"); }

/* The 300 seconds that a shutdown gives its threads do not pass at once. */
TEST(a_virtual_clock_waits_for_threads_at_the_end)
{
    Child c = child(child_under_a_virtual_clock);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "ended\n");
    ck_assert_str_eq(c.err, "");
    child_free(c);
}

/* From other threads into the loop. */

static Loop *target;
async_def(add, (int) a, (int) b) { await(asyncio_sleep(0)); return V(a + b); }
async_def(raises) { await(asyncio_sleep(0)); throw(ValueError, "from the loop"); return None; }

static sem_t sleeping;
async_def(sleeps_for_ever)
{
    try {
        sem_post(&sleeping);
        await(event_wait(asyncio_Event()));
    } finally {
        note("cancelled");
    } end_try
    return None;
}

static Value asks_for_a_sum(Value v)
{
    (void)v;
    ThreadFuture *sum = asyncio_run_coroutine_threadsafe(add(20, 22), target);
    Value result = threadfuture_result(sum);
    ck_assert(threadfuture_done(sum) && !threadfuture_cancelled(sum));
    return result;
}

IO_TEST(run_coroutine_threadsafe_gives_the_result)
{
    target = asyncio_get_running_loop();
    ck_repr(await(asyncio_to_thread(asks_for_a_sum)), "42");
    return None;
}

static void note_called(Value v) { (void)v; note("called"); }
static void *calls_soon(void *loop) { loop_call_soon_threadsafe(loop, note_called); return NULL; }
async_def(notes_itself) { note("task"); return None; }

IO_TEST(what_a_thread_has_called_comes_before_the_tasks_made_after_it)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, calls_soon, asyncio_get_running_loop()), 0);
    pthread_join(thread, NULL);
    await(asyncio_create_task(notes_itself()));
    ck_notes("called|task");
    return None;
}

static Value asks_for_an_exception(Value v)
{
    (void)v;
    ck_raises_text(ValueError, "from the loop", threadfuture_result(asyncio_run_coroutine_threadsafe(raises(), target)));
    return True;
}

IO_TEST(run_coroutine_threadsafe_raises_the_exception)
{
    target = asyncio_get_running_loop();
    await(asyncio_to_thread(asks_for_an_exception));
    return None;
}

static Value gives_up(Value v)
{
    (void)v;
    ThreadFuture *tf = asyncio_run_coroutine_threadsafe(sleeps_for_ever(), target);
    sem_wait(&sleeping);
    ck_raises(TimeoutError, threadfuture_result(tf, 0.01));
    ck_assert(!threadfuture_done(tf));
    ck_assert(threadfuture_cancel(tf));
    ck_raises(CancelledError, threadfuture_result(tf));
    return True;
}

IO_TEST(a_timeout_leaves_the_coroutine_running_and_cancel_ends_it)
{
    target = asyncio_get_running_loop();
    sem_init(&sleeping, 0, 0);
    await(asyncio_to_thread(gives_up));
    while (len(asyncio_all_tasks()) > 1) await(asyncio_sleep(0));
    ck_notes("cancelled");
    return None;
}

IO_TEST(run_coroutine_threadsafe_wants_a_coroutine)
{
    ck_raises_text(TypeError, "A coroutine object is required", asyncio_run_coroutine_threadsafe(NULL, asyncio_get_running_loop()));
    return None;
}

IO_TEST(waiting_for_ones_own_loop_is_refused)
{
    ThreadFuture *tf = asyncio_run_coroutine_threadsafe(add(1, 2), asyncio_get_running_loop());
    ck_raises(RuntimeError, threadfuture_result(tf));
    while (!threadfuture_done(tf)) await(asyncio_sleep(0));
    ck_repr(threadfuture_result(tf), "3");
    return None;
}

/* A loop in each of several threads. */

static void *runs_a_loop(void *unused)
{
    (void)unused;
    scope {
        Value v = asyncio_run(add(1, 2));
        ck_assert_int_eq(as_int(v), 3);
    }
    return NULL;
}

TEST(one_loop_per_thread_several_at_once)
{
    pthread_t threads[8];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, runs_a_loop, NULL), 0);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(asyncio_live_objects(), 0);
}

/* A loop that closes while a thread still works for it waits for neither, and nothing is left over once that one is done:
 * with a future that nobody waits for; with an executor of one's own; and where the work is the last to hold the loop, and
 * so the executor that its own thread belongs to. */

static sem_t work_may_end;
static Value waits_for_semaphore(Value v) { while (sem_wait(&work_may_end) < 0) {} return v; }

static void begin_and_close(Executor *executor)
{
    Loop *loop = asyncio_new_event_loop();
    loop_run_in_executor(loop, executor, waits_for_semaphore, V(1));
    loop_close(loop);
}

async_def(waits_in_vain) { ck_raises(TimeoutError, await(asyncio_wait_for(asyncio_to_thread(waits_for_semaphore, V(1)), 0.001))); return None; }

static void give_up_and_close(Executor *unused)
{
    (void)unused;
    Loop *loop = asyncio_new_event_loop();
    loop_run_until_complete(loop, waits_in_vain());
    loop_close(loop);
}

static void closes_with(void (*body)(Executor *), bool own)
{
    size_t before = asyncio_live_objects();
    sem_init(&work_may_end, 0, 0);
    scope {
        Executor *executor = own ? asyncio_ThreadPoolExecutor(1) : NULL;
        scope body(executor);
        if (own) sem_post(&work_may_end);
    }
    if (!own) sem_post(&work_may_end);
    while (asyncio_live_objects() != before) sched_yield();
}

TEST(a_loop_may_close_while_a_thread_works_for_it) { closes_with(begin_and_close, false); }
TEST(a_loop_may_close_while_a_thread_of_an_executor_works_for_it) { closes_with(begin_and_close, true); }
TEST(work_may_be_the_last_to_hold_its_loop) { for (int i = 0; i < 20; i++) closes_with(give_up_and_close, false); }

IO_TEST(a_timeout_that_has_passed_is_no_wait)
{
    sem_init(&work_may_end, 0, 0);
    ThreadFuture *tf = executor_submit(asyncio_ThreadPoolExecutor(1), waits_for_semaphore, V(1));
    for_in (timeout, list(0.0, -1.0, -1e300, -INFINITY)) ck_raises(TimeoutError, threadfuture_result(tf, .timeout = as_float(timeout)));
    sem_post(&work_may_end);
    ck_repr(threadfuture_result(tf, .timeout = INFINITY), "1");
    return None;
}

static int threads_of_this_process(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(tasks));) count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* Four more than the processors that it may use, as in Python 3.13, not than the machine has. */
TEST(the_default_number_of_threads)
{
    cpu_set_t usable, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof usable, &usable), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; !CPU_COUNT(&one); cpu++) if (CPU_ISSET(cpu, &usable)) CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    sem_init(&work_may_end, 0, 0);
    scope {
        Executor *executor = asyncio_ThreadPoolExecutor();
        executor_submit(executor, waits_for_semaphore, V(0));
        int others = threads_of_this_process() - 1; /* a sanitizer may have begun one of its own */
        for (int i = 1; i < 10; i++) executor_submit(executor, waits_for_semaphore, V(i));
        ck_assert_int_eq(threads_of_this_process(), others + 5);
        for (int i = 0; i < 10; i++) sem_post(&work_may_end);
    }
}

/* ---- objects of a loop, used by another thread ---- */

static Value sets_event(Value event) { event_set(as_event(event)); return None; }
static Value puts_item(Value queue) { queue_put_nowait(as_queue(queue), 1); return None; }
static Value cancels_task(Value task) { task_cancel(as_task(task)); return None; }

/* Without debug mode nobody would be woken, as in Python; with it the thread is told, and those who wait still do. */
IO_TEST(in_debug_mode_the_wrong_thread_is_refused)
{
    const char *refusal = "Non-thread-safe operation invoked on an event loop other than the current one";
    Event *event = asyncio_Event();
    Queue *queue = asyncio_Queue();
    Task *waiter = asyncio_create_task(event_wait(event)), *getter = asyncio_create_task(queue_get(queue));
    await(asyncio_sleep(0));
    loop_set_debug(asyncio_get_running_loop(), true);
    ck_raises_text(RuntimeError, refusal, await(asyncio_to_thread(sets_event, .arg = V(event))));
    ck_raises_text(RuntimeError, refusal, await(asyncio_to_thread(puts_item, .arg = V(queue))));
    ck_raises_text(RuntimeError, refusal, await(asyncio_to_thread(cancels_task, .arg = V(waiter))));
    ck_assert(!task_done(waiter) && !task_done(getter));
    task_cancel(waiter);
    task_cancel(getter);
    await(asyncio_gather(waiter, getter, .return_exceptions = true));
    return None;
}
