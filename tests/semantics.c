/* The subtle rules of asyncio, as CPython 3.13 has them: what happens when two things happen at once, who goes first, what gets lost and
 * what must not. One test per rule or more, numbered as docs/CONFORMANCE.md numbers them. Where CPython's own tests leave a
 * rule open, what CPython does was measured, and is written here as the expected order.
 */
#include "testing.h"
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static Loop *running(void) { return asyncio_get_running_loop(); }
static double now(void) { return loop_time(running()); }
static Future *new_future(void) { return loop_create_future(running()); }
static void cancel(Value task) { task_cancel(as_task(task)); }
static void finish(Value future) { future_set_result(as_future(future), "result"); }
static void note_it(Value v) { note(v); }
static void note_done(Future *future, Value arg) { note(arg, future_cancelled(future) ? "cancelled" : "done"); }

async_def(return_value, (Value) v) { return v; }
async_def(raise, (Value) e) { throw(e); }
async_def(sleep_for, (double) delay, (const char *) name) { await(asyncio_sleep(delay)); note(name); return V(name); }
async_def(wait_on, (Future *) future) { return await(future); }

/* What awaiting it comes to: its value, or the exception. */
async_def(outcome, (Object *) awaitable)
{
    try {
        return await(awaitable);
    } except (BaseException, e) {
        return e;
    } end_try
    return None;
}
#define outcome_of(x) await(outcome((Object *)(x)))
#define ck_outcome(x, text) do { Value outcome_ = outcome_of(x); ck_repr(outcome_, text); } while (0)

/* Sleeps; what it does when cancelled is told by `then`: raise it on, return it, or first clean up for a second. */
typedef enum { RERAISE, RETURN, CLEAN_UP, FAIL } Then;

async_def(sleeper, (double) delay, (Then) then)
{
    try {
        await(asyncio_sleep(delay));
        note("slept");
    } except (CancelledError) {
        if (then == CLEAN_UP) await(asyncio_sleep(1));
        note("cancelled");
        if (then == FAIL) throw(ValueError, "on the way out");
        if (then != RETURN) rethrow;
    } end_try
    return V("value");
}

/* ---- wait_for ---------------------------------------------------------------------------------------------------- */

ASYNC_TEST(row_01_wait_for_result_and_cancel_in_the_same_iteration)
{
    Future *future = new_future();
    Task *task = asyncio_create_task(asyncio_wait_for(future, 10));
    await(asyncio_sleep(0));
    future_set_result(future, "result");
    task_cancel(task);
    ck_outcome(task, "CancelledError()");
    ck_assert(task_cancelled(task));
    ck_repr(future_result(future), "'result'");
    return None;
}

ASYNC_TEST(row_01_wait_for_result_and_timeout_in_the_same_iteration)
{
    Future *future = new_future();
    loop_call_later(running(), 0.1, finish, V(future));
    ck_outcome(asyncio_wait_for(future, 0.1), "TimeoutError()");
    ck_repr(future_result(future), "'result'");
    return None;
}

ASYNC_TEST(row_02_wait_for_waits_until_the_inner_task_is_done)
{
    double before = now();
    Task *inner = asyncio_create_task(sleeper(10, CLEAN_UP));
    Value e = outcome_of(asyncio_wait_for(inner, 0.5));
    note("after");
    ck_repr(e, "TimeoutError()");
    ck_repr(exception_cause(e), "CancelledError()");
    ck_assert_ptr_eq(exception_context(e).object, exception_cause(e).object);
    ck_assert(task_cancelled(inner));
    ck_assert_double_eq_tol(now() - before, 1.5, 1e-6); /* longer than the timeout */
    ck_notes("cancelled|after");
    return None;
}

ASYNC_TEST(row_03_wait_for_when_the_inner_swallows_the_cancellation)
{
    ck_outcome(asyncio_wait_for(sleeper(10, RETURN), 0.5), "'value'");
    ck_notes("cancelled");
    return None;
}

ASYNC_TEST(row_03_wait_for_when_the_inner_raises_something_else)
{
    ck_outcome(asyncio_wait_for(sleeper(10, FAIL), 0.5), "ValueError('on the way out')");
    ck_notes("cancelled");
    return None;
}

ASYNC_TEST(row_04_wait_for_with_no_time_at_all)
{
    for (int timeout = 0; timeout >= -5; timeout -= 5) {
        Future *done = new_future();
        future_set_result(done, 1);
        ck_outcome(asyncio_wait_for(done, timeout), "1");
        ck_outcome(asyncio_wait_for(sleep_for(1, "never runs"), timeout), "TimeoutError()");
        Task *task = asyncio_create_task(sleeper(10, CLEAN_UP));
        await(asyncio_sleep(0));
        double before = now();
        ck_outcome(asyncio_wait_for(task, timeout), "TimeoutError()");
        ck_assert_double_eq_tol(now() - before, 1, 1e-6);
        ck_assert(task_cancelled(task));
        ck_notes("cancelled");
    }
    return None;
}

ASYNC_TEST(row_04_wait_for_without_a_limit)
{
    ck_outcome(asyncio_wait_for(sleeper(86400 * 365, RERAISE), None), "'value'");
    ck_notes("slept");
    return None;
}

ASYNC_TEST(row_04_wait_for_a_shield)
{
    Task *inner = asyncio_create_task(sleeper(1, RERAISE));
    Future *shield = asyncio_shield(inner);
    ck_outcome(asyncio_wait_for(shield, 0.5), "TimeoutError()");
    ck_assert(future_cancelled(shield));
    ck_assert(!task_done(inner));
    ck_outcome(inner, "'value'");
    ck_notes("slept");
    return None;
}

async_def(never_gets_a_cancel, (Object *) awaitable, (double) timeout)
{
    Value result = outcome_of(asyncio_wait_for(awaitable, timeout));
    await(asyncio_sleep(1000));                         /* a timer left over would cancel this */
    return result;
}

ASYNC_TEST(row_05_wait_for_cancelled_from_outside)
{
    Task *inner = asyncio_create_task(sleeper(10, CLEAN_UP));
    Task *task = asyncio_create_task(asyncio_wait_for(inner, 5));
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    double before = now();
    task_cancel(task);
    ck_outcome(task, "CancelledError()");
    ck_assert(task_cancelled(task) && task_cancelled(inner));
    ck_assert_double_eq_tol(now() - before, 1, 1e-6);
    ck_notes("cancelled");
    return None;
}

ASYNC_TEST(row_05_wait_for_leaves_no_timer_behind)
{
    ck_repr(await(never_gets_a_cancel((Object *)return_value(V(1)), 5)), "1");
    ck_repr(await(never_gets_a_cancel((Object *)raise(V(ValueError)), 5)), "ValueError()");
    ck_repr(await(never_gets_a_cancel((Object *)sleeper(1, RERAISE), 5)), "'value'");
    return None;
}

/* ---- Condition, Lock, Semaphore, Event, Barrier ----------------------------------------------------------------- */

static Value never(Value arg) { (void)arg; return False; }
static Condition *shared;

async_def(wait_for_never)
{
    async_with (shared) {
        try {
            await(condition_wait_for(shared, never, None));
        } finally {
            note(condition_locked(shared) ? "has it again" : "without the lock");
        } end_try
    } end_with
    return None;
}

async_def(cancelled_while_reacquiring, (int) times)
{
    shared = asyncio_Condition();
    Task *task = asyncio_create_task(wait_for_never());
    await(asyncio_sleep(0));
    await(condition_acquire(shared));
    condition_notify(shared);
    await(asyncio_sleep(0));                            /* it is in line for the lock */
    for (int i = 0; i < times; i++) {
        task_cancel(task, .msg = V(i));
        await(asyncio_sleep(0));
        ck_assert(!task_done(task));                    /* not without the lock */
    }
    condition_release(shared);
    Value e = outcome_of(task);
    ck_assert(isinstance(e, CancelledError));
    ck_notes("has it again");
    ck_assert(!condition_locked(shared));
    return exception_args(e);
}

ASYNC_TEST(row_06_condition_has_its_lock_again_before_it_is_cancelled)
{
    ck_repr(await(cancelled_while_reacquiring(1)), "(0,)");
    ck_repr(await(cancelled_while_reacquiring(3)), "(2,)");   /* the latest */
    return None;
}

async_def(wait_once, (Condition *) condition, (int) name)
{
    async_with (condition) {
        await(condition_wait(condition));
        note(name);
    } end_with
    return None;
}

ASYNC_TEST(row_07_condition_notified_and_cancelled_at_once)
{
    Condition *condition = asyncio_Condition();
    Task *first = asyncio_create_task(wait_once(condition, 1)), *second = asyncio_create_task(wait_once(condition, 2));
    await(asyncio_sleep(0));
    async_with (condition) {
        condition_notify(condition);
        task_cancel(first);
    } end_with
    await(second);
    ck_assert(task_cancelled(first));
    ck_notes("2");
    return None;
}

async_def(notify_without_owning, (Condition *) condition)
{
    condition_notify(condition, 2);
    ck_assert(condition_locked(condition));             /* and is not let go of */
    return None;
}

ASYNC_TEST(row_07_notify_needs_the_lock_held_by_somebody)
{
    Condition *condition = asyncio_Condition();
    ck_raises_text(RuntimeError, "cannot notify on un-acquired lock", condition_notify(condition));
    Value tasks = list();
    for (int i = 0; i < 4; i++) list_append(tasks, asyncio_create_task(wait_once(condition, i)));
    await(asyncio_sleep(0));
    await(condition_acquire(condition));
    Task *other = asyncio_create_task(notify_without_owning(condition));
    await(other);
    condition_release(condition);
    await(asyncio_sleep(1));
    ck_notes("0|1");                                    /* two, in order */
    await(condition_acquire(condition));
    condition_notify_all(condition);
    condition_release(condition);
    await(asyncio_gather_list(tasks));
    ck_notes("2|3");
    return None;
}

async_def(take, (Lock *) lock, (int) name)
{
    async_with (lock) {
        note(name);
        await(asyncio_sleep(0));
    } end_with
    return None;
}

ASYNC_TEST(row_08_lock_is_fair_no_newcomer_overtakes)
{
    Lock *lock = asyncio_Lock();
    await(lock_acquire(lock));
    Task *waiter = asyncio_create_task(take(lock, 1));
    await(asyncio_sleep(0));
    lock_release(lock);
    ck_assert(!lock_locked(lock));                      /* nobody has it yet */
    await(lock_acquire(lock));
    note(2);
    ck_assert(task_done(waiter));
    ck_notes("1|2");
    lock_release(lock);
    return None;
}

async_def(release_it, (Lock *) lock) { lock_release(lock); return None; }

ASYNC_TEST(row_08_lock_knows_no_owner_and_is_not_reentrant)
{
    Lock *lock = asyncio_Lock();
    await(lock_acquire(lock));
    ck_outcome(asyncio_wait_for(lock_acquire(lock), 1), "TimeoutError()");
    Task *other = asyncio_create_task(release_it(lock));
    await(other);
    ck_assert(!lock_locked(lock));
    ck_raises_text(RuntimeError, "Lock is not acquired.", lock_release(lock));
    return None;
}

/* Four want the lock; whichever is cancelled, before or after the release, exactly one of the others gets it. */
async_def(lock_race, (int) victim, (bool) cancel_first)
{
    Lock *lock = asyncio_Lock();
    Task *tasks[4];
    await(lock_acquire(lock));
    for (int i = 0; i < 4; i++) tasks[i] = asyncio_create_task(lock_acquire(lock));
    await(asyncio_sleep(0));
    if (cancel_first) task_cancel(tasks[victim]);
    lock_release(lock);
    if (!cancel_first) task_cancel(tasks[victim]);
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    int holders = 0;
    for (int i = 0; i < 4; i++) holders += task_done(tasks[i]) && !task_cancelled(tasks[i]);
    ck_assert(task_cancelled(tasks[victim]));
    ck_assert_int_eq(holders, 1);
    ck_assert(task_done(tasks[victim == 0]));           /* the first of those that remain */
    ck_assert(lock_locked(lock));
    for (int i = 0; i < 4; i++) task_cancel(tasks[i]);
    return None;
}

ASYNC_TEST(row_09_lock_cancelled_waiter_hands_the_wake_up_over)
{
    for (int victim = 0; victim < 4; victim++) {
        await(lock_race(victim, true));
        await(lock_race(victim, false));
    }
    return None;
}

async_def(take_permit, (Semaphore *) semaphore, (int) name) { await(semaphore_acquire(semaphore)); note(name); return None; }

ASYNC_TEST(row_10_semaphore_hands_its_permit_over_at_release)
{
    Semaphore *semaphore = asyncio_Semaphore(1);
    await(semaphore_acquire(semaphore));
    Task *waiter = asyncio_create_task(take_permit(semaphore, 1));
    await(asyncio_sleep(0));
    semaphore_release(semaphore);
    ck_repr(semaphore, "<Semaphore [locked, waiters:1]>");
    ck_assert(semaphore_locked(semaphore));
    Task *late = asyncio_create_task(take_permit(semaphore, 3));
    await(waiter);
    ck_assert(!task_done(late));
    ck_notes("1");
    semaphore_release(semaphore);
    await(late);
    ck_notes("3");
    return None;
}

ASYNC_TEST(row_10_semaphore_who_releases_and_comes_back_queues_at_the_end)
{
    Semaphore *semaphore = asyncio_Semaphore(0);
    for (int i = 0; i < 3; i++) asyncio_create_task(take_permit(semaphore, i));
    await(asyncio_sleep(0));
    for (int i = 0; i < 4; i++) semaphore_release(semaphore);
    ck_assert(semaphore_locked(semaphore));             /* there is a permit left, but three are in line */
    await(semaphore_acquire(semaphore));
    note("last");
    ck_notes("0|1|2|last");
    return None;
}

ASYNC_TEST(row_11_semaphore_cancelled_after_it_was_woken)
{
    Semaphore *semaphore = asyncio_Semaphore(0);
    Task *first = asyncio_create_task(take_permit(semaphore, 1)), *second = asyncio_create_task(take_permit(semaphore, 2));
    await(asyncio_sleep(0));
    semaphore_release(semaphore);
    task_cancel(first);
    await(second);
    ck_assert(task_cancelled(first));
    ck_notes("2");
    ck_repr(semaphore, "<Semaphore [locked]>");
    return None;
}

ASYNC_TEST(row_11_semaphore_cancelled_before_gives_nothing_back)
{
    Semaphore *semaphore = asyncio_Semaphore(0);
    Task *first = asyncio_create_task(take_permit(semaphore, 1));
    await(asyncio_sleep(0));
    task_cancel(first);
    ck_outcome(first, "CancelledError()");
    ck_repr(semaphore, "<Semaphore [locked]>");
    return None;
}

ASYNC_TEST(row_11_bounded_semaphore_refuses_and_stays)
{
    Semaphore *semaphore = asyncio_BoundedSemaphore(2);
    ck_raises_text(ValueError, "BoundedSemaphore released too many times", semaphore_release(semaphore));
    ck_repr(semaphore, "<BoundedSemaphore [unlocked, value:2]>");
    ck_raises_text(ValueError, "Semaphore initial value must be >= 0", asyncio_BoundedSemaphore(-1));
    return None;
}

async_def(wait_event, (Event *) event, (int) name) { ck_repr(await(event_wait(event)), "True"); note(name); return None; }

ASYNC_TEST(row_12_event_set_and_clear_at_once_wakes_all_who_wait)
{
    Event *event = asyncio_Event();
    Task *tasks[4];
    for (int i = 0; i < 4; i++) tasks[i] = asyncio_create_task(wait_event(event, i));
    await(asyncio_sleep(0));
    task_cancel(tasks[1]);
    event_set(event);
    event_set(event);
    event_clear(event);
    Task *late = asyncio_create_task(wait_event(event, 4));
    await(asyncio_sleep(1));
    ck_notes("0|2|3");
    ck_assert(!task_done(late));
    ck_repr(event, "<Event [unset, waiters:1]>");
    event_set(event);
    await(late);
    ck_notes("4");
    return None;
}

async_def(pass_barrier, (Barrier *) barrier)
{
    try {
        note(await(barrier_wait(barrier)));
    } except (BrokenBarrierError, e) {
        note(e);
    } end_try
    return None;
}

static Value pass_together(Barrier *barrier, int count)
{
    Value tasks = list();
    for (int i = 0; i < count; i++) list_append(tasks, asyncio_create_task(pass_barrier(barrier)));
    return tasks;
}

ASYNC_TEST(row_13_barrier_gives_an_index_by_arrival)
{
    Barrier *barrier = asyncio_Barrier(3);
    await(asyncio_gather_list(pass_together(barrier, 3)));
    ck_notes("2|0|1");                                  /* the last to arrive goes on at once */
    ck_repr(barrier, "<Barrier [filling, waiters:0/3]>");
    return None;
}

ASYNC_TEST(row_13_barrier_newcomers_wait_until_it_has_drained)
{
    Barrier *barrier = asyncio_Barrier(2);
    pass_together(barrier, 3);
    await(asyncio_sleep(0));
    ck_repr(barrier, "<Barrier [draining, waiters:0/2]>");
    await(asyncio_sleep(1));
    ck_notes("1|0");
    ck_repr(barrier, "<Barrier [filling, waiters:1/2]>");
    pass_together(barrier, 1);
    await(asyncio_sleep(1));
    ck_notes("1|0");
    return None;
}

ASYNC_TEST(row_13_barrier_cancelled_waiter_breaks_nothing)
{
    Barrier *barrier = asyncio_Barrier(2);
    Task *task = asyncio_create_task(pass_barrier(barrier));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 1);
    task_cancel(task);
    ck_outcome(task, "CancelledError()");
    ck_assert_int_eq(barrier_n_waiting(barrier), 0);
    ck_assert(!barrier_broken(barrier));
    await(asyncio_gather_list(pass_together(barrier, 2)));
    ck_notes("1|0");
    return None;
}

ASYNC_TEST(row_13_barrier_reset_and_abort)
{
    Barrier *barrier = asyncio_Barrier(3);
    pass_together(barrier, 2);
    await(asyncio_sleep(0));
    await(barrier_reset(barrier));
    ck_repr(barrier, "<Barrier [resetting, waiters:0/3]>");
    await(asyncio_sleep(1));
    ck_notes("Abort or reset of barrier|Abort or reset of barrier");
    ck_repr(barrier, "<Barrier [filling, waiters:0/3]>");
    await(barrier_reset(barrier));
    ck_repr(barrier, "<Barrier [filling, waiters:0/3]>");

    pass_together(barrier, 2);
    await(asyncio_sleep(0));
    await(barrier_abort(barrier));
    await(asyncio_sleep(1));
    ck_notes("Abort or reset of barrier|Abort or reset of barrier");
    ck_assert(barrier_broken(barrier));
    ck_outcome(barrier_wait(barrier), "BrokenBarrierError('Barrier aborted')");
    await(barrier_reset(barrier));
    ck_assert(!barrier_broken(barrier));
    await(asyncio_gather_list(pass_together(barrier, 3)));
    ck_notes("2|0|1");
    return None;
}

/* ---- Queues ------------------------------------------------------------------------------------------------------ */

async_def(get_item, (Queue *) queue, (int) name) { Value v = await(queue_get(queue)); note(name, v); return v; }

ASYNC_TEST(row_14_queue_hands_nothing_over_a_woken_getter_looks_again)
{
    Queue *queue = asyncio_Queue();
    for (int i = 0; i < 2; i++) asyncio_create_task(get_item(queue, i));
    await(asyncio_sleep(0));
    queue_put_nowait(queue, "first");
    ck_assert_int_eq(queue_qsize(queue), 1);            /* getter 0 is woken, the item still here */
    ck_repr(queue_get_nowait(queue), "'first'");        /* and anyone may take it */
    await(asyncio_sleep(1));
    ck_notes("");
    queue_put_nowait(queue, "second");
    queue_put_nowait(queue, "third");
    await(asyncio_sleep(1));
    ck_notes("1 second|0 third");                       /* getter 0 is at the end of the line now */
    return None;
}

async_def(put_item, (Queue *) queue, (int) v) { await(queue_put(queue, v)); note("put", v); return None; }

ASYNC_TEST(row_14_queue_a_woken_putter_looks_again)
{
    Queue *queue = asyncio_Queue(1);
    queue_put_nowait(queue, 0);
    for (int i = 1; i <= 2; i++) asyncio_create_task(put_item(queue, i));
    await(asyncio_sleep(0));
    queue_get_nowait(queue);
    queue_put_nowait(queue, 9);                         /* before putter 1 runs */
    await(asyncio_sleep(1));
    ck_notes("");
    for (int i = 0; i < 3; i++) note(await(queue_get(queue)));
    ck_notes("9|put 2|2|put 1|1");
    return None;
}

ASYNC_TEST(row_15_queue_cancelled_getter_passes_the_wake_up_on)
{
    Queue *queue = asyncio_Queue();
    Task *first = asyncio_create_task(get_item(queue, 1)), *second = asyncio_create_task(get_item(queue, 2));
    await(asyncio_sleep(0));
    queue_put_nowait(queue, "item");
    task_cancel(first);
    ck_outcome(second, "'item'");
    ck_assert(task_cancelled(first));
    ck_notes("2 item");
    return None;
}

ASYNC_TEST(row_15_queue_cancelled_putter_passes_the_wake_up_on)
{
    Queue *queue = asyncio_Queue(1);
    queue_put_nowait(queue, 0);
    Task *first = asyncio_create_task(put_item(queue, 1)), *second = asyncio_create_task(put_item(queue, 2));
    await(asyncio_sleep(0));
    queue_get_nowait(queue);
    task_cancel(first);
    await(second);
    ck_assert(task_cancelled(first));
    ck_notes("put 2");
    ck_repr(queue, "<Queue maxsize=1 _queue=[2] tasks=2>");
    return None;
}

/* Six equal strings, told apart by where they lie. */
ASYNC_TEST(row_16_priority_queue_is_not_stable)
{
    Queue *queue = asyncio_PriorityQueue();
    Value items[6], order = list();
    for (int i = 0; i < 6; i++) queue_put_nowait(queue, items[i] = V("tie"));
    while (!queue_empty(queue)) {
        Value v = queue_get_nowait(queue);
        for (int i = 0; i < 6; i++) if (items[i].object == v.object) list_append(order, i);
    }
    ck_repr(order, "[0, 2, 5, 4, 1, 3]");
    return None;
}

ASYNC_TEST(row_17_queue_join_counts_what_is_unfinished)
{
    Queue *queue = asyncio_Queue();
    await(queue_join(queue));
    for (int i = 0; i < 2; i++) queue_put_nowait(queue, i);
    Task *join = asyncio_create_task(queue_join(queue));
    queue_get_nowait(queue);
    queue_get_nowait(queue);
    queue_task_done(queue);
    await(asyncio_sleep(1));
    ck_assert(!task_done(join));
    queue_task_done(queue);
    await(join);
    ck_raises_text(ValueError, "task_done() called too many times", queue_task_done(queue));
    return None;
}

ASYNC_TEST(row_17_queue_shutdown_wakes_both_sides)
{
    Queue *full = asyncio_Queue(1), *empty = asyncio_Queue();
    queue_put_nowait(full, 1);
    Task *putter = asyncio_create_task(queue_put(full, 2)), *getter = asyncio_create_task(queue_get(empty));
    await(asyncio_sleep(0));
    queue_shutdown(full);
    queue_shutdown(empty);
    ck_outcome(putter, "QueueShutDown()");
    ck_outcome(getter, "QueueShutDown()");
    ck_repr(await(queue_get(full)), "1");
    ck_outcome(queue_get(full), "QueueShutDown()");

    Queue *busy = asyncio_Queue();
    for (int i = 0; i < 3; i++) queue_put_nowait(busy, i);
    Task *join = asyncio_create_task(queue_join(busy));
    await(queue_get(busy));
    queue_task_done(busy);
    queue_shutdown(busy, .immediate = true);
    await(join);
    ck_raises(ValueError, queue_task_done(busy));
    return None;
}

/* ---- gather, shield ---------------------------------------------------------------------------------------------- */

async_def(cancel_gather, (bool) return_exceptions)
{
    Task *fast = asyncio_create_task(return_value(V(1))), *slow = asyncio_create_task(sleeper(10, CLEAN_UP));
    Future *outer = asyncio_gather(fast, slow, .return_exceptions = return_exceptions);
    await(asyncio_sleep(0));
    ck_assert(future_cancel(outer));
    ck_assert(!future_done(outer));                     /* not before the children are */
    ck_outcome(outer, "CancelledError()");
    ck_assert(future_done(outer) && !future_cancelled(outer));
    ck_repr(future_exception(outer), "CancelledError()");
    ck_assert(task_done(fast) && !task_cancelled(fast) && task_cancelled(slow));
    ck_assert(!future_cancel(outer));
    ck_notes("cancelled");
    return None;
}

ASYNC_TEST(row_18_gather_cancelled) { return await(cancel_gather(false)); }
ASYNC_TEST(row_18_gather_cancelled_with_return_exceptions) { return await(cancel_gather(true)); }

ASYNC_TEST(row_18_gather_that_is_done_cancels_nobody)
{
    Task *slow = asyncio_create_task(sleep_for(1, "slow"));
    Future *outer = asyncio_gather(raise(V(ValueError)), slow);
    ck_outcome(outer, "ValueError()");
    ck_assert(!future_cancel(outer));
    await(slow);
    ck_notes("slow");
    return None;
}

static int reports;
static void count_report(Loop *loop, const ExceptionReport *report) { (void)loop; reports++; note(report->message); }

ASYNC_TEST(row_19_gather_first_exception)
{
    reports = 0;
    loop_set_exception_handler(running(), count_report);
    scope {
        double before = now();
        Future *outer = asyncio_gather(sleep_for(5, "slow"), sleep_for(1, "fast"), asyncio_wait_for(sleep_for(9, ""), 2), raise(V(KeyError)));
        ck_outcome(outer, "KeyError()");
        ck_assert_double_eq_tol(now(), before, 1e-6);   /* at once */
        await(asyncio_sleep(10));
    }
    ck_notes("fast|slow");                              /* the others went on; the later TimeoutError is nobody's concern */
    ck_assert_int_eq(reports, 0);
    return None;
}

ASYNC_TEST(row_19_gather_a_cancelled_child_counts_as_failed)
{
    Task *child = asyncio_create_task(sleeper(10, RERAISE)), *other = asyncio_create_task(sleep_for(1, "other"));
    Future *outer = asyncio_gather(child, other);
    await(asyncio_sleep(0));
    task_cancel(child);
    ck_outcome(outer, "CancelledError()");
    ck_assert(!future_cancelled(outer));
    ck_assert(!task_done(other));
    await(other);
    ck_notes("cancelled|other");
    return None;
}

ASYNC_TEST(row_19_gather_exceptions_order_duplicates_and_nothing)
{
    Task *cancelled = asyncio_create_task(asyncio_sleep(10)), *twice = asyncio_create_task(sleep_for(2, "twice"));
    loop_call_soon(running(), cancel, V(cancelled));
    Value results = await(asyncio_gather(twice, raise(V(KeyError)), cancelled, twice, return_value(V(3)), .return_exceptions = true));
    ck_repr(results, "['twice', KeyError(), CancelledError(''), 'twice', 3]");
    ck_notes("twice");
    Future *nothing = asyncio_gather();
    ck_assert(future_done(nothing));
    ck_repr(await(nothing), "[]");
    return None;
}

ASYNC_TEST(row_20_shield_of_something_done_is_the_thing_itself)
{
    Future *done = new_future();
    future_set_result(done, 1);
    ck_assert_ptr_eq(asyncio_shield(done), done);
    return None;
}

ASYNC_TEST(row_20_shield_outer_cancelled)
{
    Task *inner = asyncio_create_task(sleeper(1, RERAISE));
    Future *outer = asyncio_shield(inner);
    await(asyncio_sleep(0));
    future_cancel(outer);
    ck_outcome(outer, "CancelledError()");
    ck_assert(!task_done(inner));
    ck_outcome(inner, "'value'");
    ck_notes("slept");
    return None;
}

async_def(fail_later, (double) delay) { await(asyncio_sleep(delay)); throw(ValueError); }

ASYNC_TEST(row_20_shield_inner_fails_after_the_outer_was_cancelled)
{
    reports = 0;
    loop_set_exception_handler(running(), count_report);
    scope {
        Task *inner = asyncio_create_task(fail_later(1));
        future_cancel(asyncio_shield(inner));
        await(asyncio_sleep(2));
        ck_assert(task_done(inner));
    }
    await(asyncio_sleep(1));
    ck_assert_int_eq(reports, 1);
    ck_notes("Task exception was never retrieved");
    return None;
}

ASYNC_TEST(row_20_shield_inner_cancelled)
{
    Task *inner = asyncio_create_task(asyncio_sleep(10));
    Future *outer = asyncio_shield(inner);
    await(asyncio_sleep(0));
    task_cancel(inner);
    ck_outcome(outer, "CancelledError()");
    ck_assert(future_cancelled(outer));
    return None;
}

ASYNC_TEST(row_20_shield_of_gather_and_gather_of_shields)
{
    Task *child = asyncio_create_task(sleep_for(1, "first"));
    Future *shielded = asyncio_shield(asyncio_gather(child));
    future_cancel(shielded);
    ck_outcome(shielded, "CancelledError()");
    ck_assert(future_cancelled(shielded));
    await(child);

    Task *other = asyncio_create_task(sleep_for(1, "second"));
    Future *gathered = asyncio_gather(asyncio_shield(other));
    future_cancel(gathered);
    ck_outcome(gathered, "CancelledError()");
    ck_assert(!future_cancelled(gathered));             /* an exception, for a gather */
    await(other);
    ck_notes("first|second");
    return None;
}

/* ---- Task.cancel ------------------------------------------------------------------------------------------------- */

ASYNC_TEST(row_21_cancel_reaches_what_the_task_waits_for)
{
    Future *future = new_future();
    Task *inner = asyncio_create_task(wait_on(future)), *outer = asyncio_create_task(wait_on((Future *)inner));
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_assert(task_cancel(outer));
    ck_assert(future_cancelled(future));                /* at once, through both tasks */
    ck_assert(!task_done(inner) && !task_done(outer));  /* those, later */
    ck_outcome(outer, "CancelledError()");
    ck_assert(task_cancelled(inner) && task_cancelled(outer));
    ck_assert(!task_cancel(outer));
    return None;
}

ASYNC_TEST(row_21_cancel_before_the_first_step)
{
    Task *task = asyncio_create_task(sleep_for(0, "ran"));
    task_cancel(task, .msg = V("too early"));
    ck_assert(!task_done(task));
    ck_outcome(task, "CancelledError('too early')");
    ck_notes("");
    return None;
}

async_def(stubborn)
{
    for (volatile int i = 0; i < 3; i++) {
        try {
            await(asyncio_sleep(10));
        } except (CancelledError) {
            note("no");
        } end_try
    }
    return V("my own way");
}

ASYNC_TEST(row_21_cancel_is_delivered_again_each_time)
{
    Task *task = asyncio_create_task(stubborn());
    for (int i = 0; i < 3; i++) {
        await(asyncio_sleep(0));
        ck_assert(task_cancel(task));
    }
    ck_outcome(task, "'my own way'");
    ck_assert(!task_cancelled(task));
    ck_notes("no|no|no");
    return None;
}

async_def(cancels_itself, (bool) and_awaits)
{
    task_cancel(asyncio_current_task());
    note("still here");
    if (and_awaits) await(asyncio_sleep(0));
    note("at the end");
    return V("value");
}

ASYNC_TEST(row_21_a_task_that_cancels_itself)
{
    Task *awaits = asyncio_create_task(cancels_itself(true)), *returns = asyncio_create_task(cancels_itself(false));
    ck_outcome(awaits, "CancelledError()");
    ck_outcome(returns, "CancelledError()");            /* and its value is lost */
    ck_assert(task_cancelled(awaits) && task_cancelled(returns));
    ck_notes("still here|still here|at the end");
    return None;
}

ASYNC_TEST(row_21_a_cancelled_task_may_end_otherwise)
{
    Task *returns = asyncio_create_task(sleeper(10, RETURN)), *fails = asyncio_create_task(sleeper(10, FAIL));
    await(asyncio_sleep(0));
    task_cancel(returns);
    task_cancel(fails);
    ck_outcome(returns, "'value'");
    ck_outcome(fails, "ValueError('on the way out')");
    ck_assert(!task_cancelled(returns) && !task_cancelled(fails));
    return None;
}

async_def(revokes) { await(asyncio_sleep(0)); return V(42); }

ASYNC_TEST(row_22_cancelling_and_uncancel_count)
{
    Task *task = asyncio_create_task(stubborn());
    await(asyncio_sleep(0));
    ck_assert_int_eq(task_cancelling(task), 0);
    task_cancel(task);
    task_cancel(task);
    ck_assert_int_eq(task_cancelling(task), 2);
    ck_assert_int_eq(task_uncancel(task), 1);
    ck_assert_int_eq(task_uncancel(task), 0);
    ck_assert_int_eq(task_uncancel(task), 0);
    ck_outcome(task, "'my own way'");
    task_cancel(task);
    ck_assert_int_eq(task_cancelling(task), 0);         /* of a task that is done nothing is counted */
    return None;
}

ASYNC_TEST(row_22_uncancel_to_zero_revokes_what_is_not_delivered)
{
    Task *task = asyncio_create_task(revokes());
    task_cancel(task);
    ck_assert_int_eq(task_uncancel(task), 0);
    ck_outcome(task, "42");
    Task *other = asyncio_create_task(revokes());
    task_cancel(other);
    task_cancel(other);
    ck_assert_int_eq(task_uncancel(other), 1);
    ck_outcome(other, "CancelledError()");
    return None;
}

/* ---- TaskGroup, timeout ------------------------------------------------------------------------------------------ */

async_def(group_of_failures)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, sleeper(10, FAIL));
        taskgroup_create_task(tg, sleeper(10, RERAISE));
        taskgroup_create_task(tg, raise(V(KeyError)));
        try {
            await(asyncio_sleep(10));
        } finally {
            ck_assert_int_eq(task_cancelling(asyncio_current_task()), 1);
            throw(TypeError, "body");
        } end_try
    } end_with
    return None;
}

ASYNC_TEST(row_23_taskgroup_a_failure_ends_all_and_leaves_no_mark)
{
    ck_outcome(group_of_failures(), "ExceptionGroup('unhandled errors in a TaskGroup', [KeyError(), ValueError('on the way out'), TypeError('body')])");
    ck_notes("cancelled|cancelled");
    ck_assert_int_eq(task_cancelling(asyncio_current_task()), 0);
    await(asyncio_sleep(1));
    return None;
}

async_def(adds_when_exiting, (TaskGroup *) tg)
{
    await(asyncio_sleep(1));
    taskgroup_create_task(tg, sleep_for(1, "late child"));
    return None;
}

ASYNC_TEST(row_23_taskgroup_create_task_before_while_and_after)
{
    TaskGroup *tg = asyncio_TaskGroup();
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup> has not been entered", taskgroup_create_task(tg, asyncio_sleep(0)));
    async_with (tg) {
        taskgroup_create_task(tg, adds_when_exiting(tg));
    } end_with
    ck_notes("late child");
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup entered> is finished", taskgroup_create_task(tg, asyncio_sleep(0)));
    return None;
}

ASYNC_TEST(row_23_taskgroup_a_cancelled_child_is_no_error)
{
    async_with (tg, asyncio_TaskGroup()) {
        Task *child = taskgroup_create_task(tg, asyncio_sleep(10));
        taskgroup_create_task(tg, sleep_for(1, "other"));
        await(asyncio_sleep(0));
        task_cancel(child);
    } end_with
    ck_notes("other");
    return None;
}

async_def(group_around, (Then) then, (bool) nested)
{
    async_with (tg, asyncio_TaskGroup()) {
        if (nested) await(group_around(then, false));
        else taskgroup_create_task(tg, sleeper(10, then));
    } end_with
    return None;
}

/* What comes out of a group that is cancelled from outside, and how often its parent counts as cancelled then. */
async_def(cancel_group, (Then) then, (bool) nested)
{
    Task *task = asyncio_create_task(group_around(then, nested));
    await(asyncio_sleep(1));
    task_cancel(task);
    return outcome_of(task);
}

ASYNC_TEST(row_24_taskgroup_cancelled_from_outside)
{
    ck_repr(await(cancel_group(RERAISE, false)), "CancelledError()");
    ck_repr(await(cancel_group(FAIL, false)), "ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('on the way out')])");
    ck_repr(await(cancel_group(RERAISE, true)), "CancelledError()");
    ck_repr(await(cancel_group(FAIL, true)), "ExceptionGroup('unhandled errors in a TaskGroup', "
            "[ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('on the way out')])])");
    return None;
}

async_def(outer_fails_inner_vanishes)
{
    async_with (outer, asyncio_TaskGroup()) {
        taskgroup_create_task(outer, raise(V(KeyError)));
        async_with (inner, asyncio_TaskGroup()) {
            taskgroup_create_task(inner, sleeper(10, RERAISE));
        } end_with
    } end_with
    return None;
}

ASYNC_TEST(row_24_taskgroup_an_inner_group_of_cancellations_vanishes)
{
    ck_outcome(outer_fails_inner_vanishes(), "ExceptionGroup('unhandled errors in a TaskGroup', [KeyError()])");
    ck_notes("cancelled");
    return None;
}

async_def(error_and_cancel, (Event *) event)
{
    try {
        async_with (tg, asyncio_TaskGroup()) {
            taskgroup_create_task(tg, sleeper(10, FAIL));
            event_set(event);
            await(asyncio_sleep(10));
        } end_with
    } except_star (ValueError, group) {
        note("group", len(exception_exceptions(group)));
    } end_try
    note("counts", task_cancelling(asyncio_current_task()));
    await(asyncio_sleep(1));
    note("not reached");
    return None;
}

ASYNC_TEST(row_24_taskgroup_errors_and_an_outside_cancel_the_next_await_is_cancelled)
{
    Event *event = asyncio_Event();
    Task *task = asyncio_create_task(error_and_cancel(event));
    await(event_wait(event));
    await(asyncio_sleep(0));
    task_cancel(task);
    ck_outcome(task, "CancelledError()");
    ck_notes("cancelled|group 1|counts 1");
    return None;
}

async_def(timeouts_nested, (double) outer_delay, (double) inner_delay)
{
    Timeout *outer = asyncio_timeout(outer_delay), *inner = asyncio_timeout(inner_delay);
    try {
        async_with (outer) {
            try {
                async_with (inner) {
                    await(asyncio_sleep(10));
                } end_with
            } except (BaseException, e) {
                note("inner", exception_type(e)->name);
                if (isinstance(e, CancelledError)) rethrow;
            } end_try
            await(asyncio_sleep(10));
        } end_with
    } except (BaseException, e) {
        note("outer", exception_type(e)->name);
    } end_try
    note(timeout_expired(outer), timeout_expired(inner), task_cancelling(asyncio_current_task()));
    return None;
}

ASYNC_TEST(row_25_timeout_two_nested_ones)
{
    await(timeouts_nested(1, 1));
    ck_notes("inner CancelledError|outer TimeoutError|True True 0");
    await(timeouts_nested(1, 2));
    ck_notes("inner CancelledError|outer TimeoutError|True False 0");
    await(timeouts_nested(2, 1));
    ck_notes("inner TimeoutError|outer TimeoutError|True True 0");
    return None;
}

async_def(cancelled_in_timeout, (Timeout *) timeout, (double) sleep)
{
    async_with (timeout) {
        await(asyncio_sleep(sleep));
    } end_with
    return None;
}

ASYNC_TEST(row_25_timeout_leaves_a_foreign_cancel_alone)
{
    Timeout *timeout = asyncio_timeout(5);
    Task *task = asyncio_create_task(cancelled_in_timeout(timeout, 10));
    await(asyncio_sleep(1));
    task_cancel(task);
    ck_outcome(task, "CancelledError()");
    ck_assert(!timeout_expired(timeout));

    Timeout *both = asyncio_timeout(1);                 /* expired and cancelled by somebody in the same pass */
    Task *twice = asyncio_create_task(cancelled_in_timeout(both, 10));
    loop_call_later(running(), 1, cancel, V(twice));
    ck_outcome(twice, "CancelledError()");
    ck_assert(timeout_expired(both));
    return None;
}

async_def(fails_when_late, (Timeout *) timeout)
{
    async_with (timeout) {
        await(sleeper(10, FAIL));
    } end_with
    return None;
}

ASYNC_TEST(row_26_timeout_in_the_past)
{
    Timeout *past = asyncio_timeout_at(now() - 1);
    async_with (past) {
        note("never awaits");
    } end_with
    ck_assert(!timeout_expired(past));
    Timeout *zero = asyncio_timeout(0);
    ck_outcome(cancelled_in_timeout(zero, 0), "TimeoutError()");
    ck_assert(timeout_expired(zero));
    await(asyncio_sleep(1));                            /* the call_soon of the first is gone too */
    ck_notes("never awaits");
    return None;
}

ASYNC_TEST(row_26_timeout_lets_other_exceptions_pass)
{
    Timeout *timeout = asyncio_timeout(1);
    ck_outcome(fails_when_late(timeout), "ValueError('on the way out')");
    ck_assert(timeout_expired(timeout));
    return None;
}

ASYNC_TEST(row_26_timeout_reschedule_by_state)
{
    Timeout *timeout = asyncio_timeout(1);
    ck_raises_text(RuntimeError, "Timeout has not been entered", timeout_reschedule(timeout, 1));
    async_with (timeout) {
        timeout_reschedule(timeout, now() + 5);
        await(asyncio_sleep(3));
        timeout_reschedule(timeout, None);
        await(asyncio_sleep(100));
        ck_raises_text(RuntimeError, "Timeout has already been entered", async_with (timeout) { note("twice"); } end_with);
        timeout_reschedule(timeout, now());
        ck_raises(CancelledError, await(asyncio_sleep(1)));
        ck_raises_text(RuntimeError, "Cannot change state of expiring Timeout", timeout_reschedule(timeout, 1));
    } end_with
    ck_raises_text(RuntimeError, "Cannot change state of expired Timeout", timeout_reschedule(timeout, 1));
    ck_notes("");
    return None;
}

/* ---- as_completed, wait ------------------------------------------------------------------------------------------ */

ASYNC_TEST(row_27_as_completed_gives_each_next_result)
{
    Task *twice = asyncio_create_task(sleep_for(1, "b"));
    AsCompleted *it = asyncio_as_completed(list(sleep_for(3, "c"), twice, sleep_for(0, "a"), twice));
    int count = 0;
    for (Coroutine *next; (next = as_completed_next(it)); count++) note("got", await(next));
    ck_assert_int_eq(count, 3);
    ck_notes("a|got a|b|got b|c|got c");
    return None;
}

ASYNC_TEST(row_27_as_completed_timeout_cancels_nothing)
{
    Task *fast = asyncio_create_task(sleep_for(1, "fast")), *slow = asyncio_create_task(sleep_for(5, "slow"));
    AsCompleted *it = asyncio_as_completed(list(slow, fast), .timeout = 2);
    double before = now();
    ck_outcome(as_completed_next(it), "'fast'");
    ck_outcome(as_completed_next(it), "TimeoutError()");
    ck_assert_double_eq_tol(now() - before, 2, 1e-6);
    ck_assert_ptr_null(as_completed_next(it));
    ck_assert(!task_done(slow));
    await(slow);
    ck_notes("fast|slow");
    return None;
}

ASYNC_TEST(row_27_as_completed_unused_timer_is_cancelled)
{
    double before = now();
    AsCompleted *it = asyncio_as_completed(list(sleep_for(1, "a")), .timeout = 1000);
    ck_outcome(as_completed_next(it), "'a'");
    ck_assert_double_eq_tol(now() - before, 1, 1e-6);
    return None;
}

ASYNC_TEST(row_27_as_completed_async_for_gives_the_tasks_and_goes_on)
{
    Task *a = asyncio_create_task(sleep_for(1, "a")), *b = asyncio_create_task(sleep_for(2, "b")), *c = asyncio_create_task(sleep_for(3, "c"));
    AsCompleted *it = asyncio_as_completed(list(c, b, a));
    async_for (task, it) {
        ck_assert_ptr_eq(as_task(task), a);
        break;
    }
    Value rest = list();
    async_for (task, it) list_append(rest, task);
    ck_assert_int_eq(len(rest), 2);
    ck_assert_ptr_eq(as_task(list_get(rest, 0)), b);
    ck_assert_ptr_eq(as_task(list_get(rest, 1)), c);
    return None;
}

ASYNC_TEST(row_28_wait_never_raises_and_never_cancels)
{
    Task *fast = asyncio_create_task(sleep_for(1, "fast")), *slow = asyncio_create_task(sleep_for(5, "slow"));
    Value both = await(asyncio_wait(list(slow, fast, slow), .timeout = 2));
    ck_assert_int_eq(len(list_get(both, 0)), 1);        /* done */
    ck_assert_int_eq(len(list_get(both, 1)), 1);        /* pending: duplicates count once */
    ck_assert_ptr_eq(as_task(list_get(list_get(both, 1), 0)), slow);
    ck_assert(!task_done(slow));

    Task *waiter = asyncio_create_task(asyncio_wait(list(slow)));
    await(asyncio_sleep(0));
    task_cancel(waiter);
    ck_outcome(waiter, "CancelledError()");
    ck_assert(!task_done(slow));
    await(slow);
    ck_notes("fast|slow");
    return None;
}

ASYNC_TEST(row_28_wait_counts_what_finished_meanwhile)
{
    Future *first = new_future(), *second = new_future();
    Task *waiter = asyncio_create_task(asyncio_wait(list(first, second), .return_when = FIRST_COMPLETED));
    await(asyncio_sleep(0));
    future_set_result(first, 1);
    await(asyncio_sleep(0));                            /* wakes the waiter, which has not run yet */
    future_set_result(second, 2);
    ck_assert_int_eq(len(list_get(await(waiter), 0)), 2);
    return None;
}

ASYNC_TEST(row_28_wait_first_exception_ignores_the_cancelled)
{
    Task *cancelled = asyncio_create_task(asyncio_sleep(9)), *slow = asyncio_create_task(sleep_for(1, "slow")), *bad = asyncio_create_task(sleeper(2, RERAISE));
    await(asyncio_sleep(0));
    task_cancel(cancelled);
    Value both = await(asyncio_wait(list(cancelled, slow), .return_when = FIRST_EXCEPTION));
    ck_assert_int_eq(len(list_get(both, 0)), 2);
    ck_notes("slow");
    Task *fails = asyncio_create_task(raise(V(ValueError)));
    both = await(asyncio_wait(list(bad, fails), .return_when = FIRST_EXCEPTION));
    ck_assert_int_eq(len(list_get(both, 0)), 1);
    ck_assert_ptr_eq(as_task(list_get(list_get(both, 0), 0)), fails);
    ck_raises(ValueError, task_result(fails));
    return None;
}

ASYNC_TEST(row_28_wait_refuses)
{
    Coroutine *coro = asyncio_sleep(0);
    ck_outcome(asyncio_wait(list()), "ValueError('Set of Tasks/Futures is empty.')");
    ck_outcome(asyncio_wait(list(new_future()), .return_when = 7), "ValueError('Invalid return_when value: 7')");
    ck_outcome(asyncio_wait(list(coro)), "TypeError('Passing coroutines is forbidden, use tasks explicitly.')");
    coroutine_close(coro);
    return None;
}

/* ---- Futures and callbacks --------------------------------------------------------------------------------------- */

ASYNC_TEST(row_29_future_states)
{
    Future *future = new_future();
    ck_raises_text(InvalidStateError, "Result is not set.", future_result(future));
    ck_raises_text(InvalidStateError, "Exception is not set.", future_exception(future));
    future_set_result(future, 1);
    ck_raises(InvalidStateError, future_set_result(future, 2));
    ck_raises(InvalidStateError, future_set_exception(future, ValueError));
    ck_assert(!future_cancel(future));
    ck_repr(future_result(future), "1");

    Future *cancelled = new_future();
    ck_assert(future_cancel(cancelled, .msg = V("why")));
    ck_raises_text(CancelledError, "why", future_result(cancelled));
    ck_raises(CancelledError, future_exception(cancelled));
    ck_raises(InvalidStateError, future_set_result(cancelled, 2));
    ck_assert(!future_cancel(cancelled));
    return None;
}

ASYNC_TEST(row_29_a_task_sets_its_own_result)
{
    Task *task = asyncio_create_task(return_value(V(1)));
    ck_raises_text(RuntimeError, "Task does not support set_result operation", future_set_result((Future *)task, 2));
    ck_raises_text(RuntimeError, "Task does not support set_exception operation", future_set_exception((Future *)task, ValueError));
    ck_outcome(task, "1");
    return None;
}

ASYNC_TEST(row_30_done_callbacks_in_order_and_never_at_once)
{
    Future *future = new_future();
    for (int i = 0; i < 3; i++) future_add_done_callback(future, note_done, .arg = V(i));
    future_add_done_callback(future, note_done, .arg = V(1));
    ck_assert_int_eq(future_remove_done_callback(future, note_done, .arg = V(1)), 2);
    future_set_result(future, None);
    ck_notes("");
    future_add_done_callback(future, note_done, .arg = V("late"));
    ck_assert_int_eq(future_remove_done_callback(future, note_done, .arg = V(0)), 0);   /* is on its way already */
    ck_notes("");
    await(asyncio_sleep(0));
    ck_notes("0 done|2 done|late done");
    return None;
}

ASYNC_TEST(row_30_done_callbacks_run_in_the_context_of_their_registration)
{
    ContextVar *var = context_var("var");
    Future *future = new_future();
    contextvar_set(var, "then");
    Context *then = asyncio_copy_context();
    contextvar_set(var, "now");
    future_add_done_callback(future, note_done, .arg = V("given"), .context = then);
    ck_repr(context_get(then, var, None), "'then'");
    future_set_result(future, None);
    await(asyncio_sleep(0));
    ck_notes("given done");
    return None;
}

/* ---- The loop ---------------------------------------------------------------------------------------------------- */

static void schedules_another(Value v) { note("first"); loop_call_soon(running(), note_it, v); }

ASYNC_TEST(row_31_call_soon_in_order_and_new_ones_in_the_next_iteration)
{
    Loop *loop = running();
    loop_call_soon(loop, schedules_another, V("next iteration"));
    loop_call_soon(loop, note_it, V("second"));
    await(asyncio_sleep(0));
    ck_notes("first|second");
    await(asyncio_sleep(0));
    ck_notes("next iteration");
    return None;
}

ASYNC_TEST(row_31_due_timers_run_after_what_is_ready)
{
    loop_call_later(running(), 0, note_it, V("timer"));
    loop_call_later(running(), -5, note_it, V("negative"));
    loop_call_soon(running(), note_it, V("soon"));
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_notes("soon|negative|timer");
    return None;
}

static void stop(Value loop) { note("stop"); loop_stop((Loop *)loop.object); }

TEST(row_31_stop_finishes_the_iteration)
{
    Loop *loop = asyncio_new_event_loop();
    loop_call_soon(loop, stop, V(loop));
    loop_call_soon(loop, note_it, V("same iteration"));
    loop_run_forever(loop);
    ck_notes("stop|same iteration");
    loop_stop(loop);                                    /* beforehand: one iteration */
    loop_call_soon(loop, note_it, V("once"));
    loop_run_forever(loop);
    ck_notes("once");
    loop_close(loop);
}

ASYNC_TEST(row_32_equal_deadlines_come_out_of_the_heap_as_from_heapq)
{
    double when = now() + 1;
    for (int i = 0; i < 6; i++) loop_call_at(running(), when, note_it, V(i));
    await(asyncio_sleep(2));
    ck_notes("0|2|5|1|3|4");
    return None;
}

ASYNC_TEST(row_32_call_later_zero_waits_for_what_is_ready)
{
    Value order = list();
    for (int i = 0; i < 3; i++) loop_call_later(running(), -i, note_it, V(i));
    list_append(order, (bool)(handle_when(loop_call_later(running(), -1, note_it, V("when"))) < now()));
    for (int i = 0; i < 3; i++) await(asyncio_sleep(0));
    ck_notes("2|1|when|0");
    ck_repr(order, "[True]");
    return None;
}

ASYNC_TEST(row_33_cancelled_timers)
{
    Handle *handles[1000];
    for (int i = 0; i < 1000; i++) {
        handles[i] = loop_call_later(running(), 1 + i % 7, note_it, V(i));
        if (i % 100) handle_cancel(handles[i]);
    }
    handle_cancel(handles[1]);                          /* twice counts once */
    await(asyncio_sleep(10));
    /* This order of equal deadlines is CPython's, cleaning up of the heap included. */
    ck_notes("700|0|400|100|800|500|200|900|600|300");
    handle_cancel(handles[0]);                          /* after it ran */
    loop_call_later(running(), 1, note_it, V("alive"));
    await(asyncio_sleep(2));
    ck_notes("alive");
    return None;
}

static void *from_another_thread(void *future)
{
    Future *wanted = future;
    loop_call_soon_threadsafe(future_get_loop(wanted), finish, (Value){.tag = VALUE_OBJECT, .object = (Object *)wanted});
    return NULL;
}

async_def(wait_for_a_thread)
{
    Future *future = new_future();
    pthread_t thread;
    loop_call_later(running(), 600, note_it, V("not needed"));
    ck_assert_int_eq(pthread_create(&thread, NULL, from_another_thread, future), 0);
    Value result = await(future);
    pthread_join(thread, NULL);
    return result;
}

TEST(row_34_call_soon_threadsafe_wakes_a_sleeping_loop)
{
    ck_repr(asyncio_run(wait_for_a_thread()), "'result'");
}

static void call_closed(Loop *loop) { loop_call_soon_threadsafe(loop, note_it, None); }

TEST(row_34_call_soon_threadsafe_on_a_closed_loop)
{
    Loop *loop = asyncio_new_event_loop();
    loop_close(loop);
    ck_raises_text(RuntimeError, "Event loop is closed", call_closed(loop));
}

/* ---- run() and what is left over --------------------------------------------------------------------------------- */

async_gen(endless)
{
    try {
        forever { yield(1); }
    } finally {
        note("generator closed");
    } end_try
    return None;
}

async_def(leaves_things_behind, (bool) fail, (Value) box)
{
    loop_set_exception_handler(running(), count_report);
    asyncio_create_task(sleeper(100, RERAISE));
    asyncio_create_task(sleeper(100, FAIL));
    AsyncGenerator *gen = endless();
    async_for (v, gen) break;
    list_append(box, gen);
    await(asyncio_sleep(0));
    note("main ends");
    if (fail) throw(KeyError);
    return V("value");
}

TEST(row_37_run_shuts_down_in_order)
{
    Value box = list();
    reports = 0;
    ck_repr(asyncio_run(leaves_things_behind(false, box), .virtual_clock = true), "'value'");
    ck_notes("main ends|cancelled|cancelled|unhandled exception during asyncio.run() shutdown|generator closed");
    ck_raises(KeyError, asyncio_run(leaves_things_behind(true, box), .virtual_clock = true));
    ck_notes("main ends|cancelled|cancelled|unhandled exception during asyncio.run() shutdown|generator closed");
    ck_assert_int_eq(reports, 2);
}

ASYNC_TEST(row_37_run_inside_run)
{
    Coroutine *coro = asyncio_sleep(0);
    ck_raises_text(RuntimeError, "asyncio.run() cannot be called from a running event loop", asyncio_run(coro));
    coroutine_close(coro);
    return None;
}

async_def(set_var, (ContextVar *) var, (int) add)
{
    int before = (int)as_int(contextvar_get_or(var, 0));
    contextvar_set(var, before + add);
    return V(before + add);
}

TEST(row_37_runner_keeps_one_context)
{
    ContextVar *var = context_var("var");
    Runner *runner = asyncio_Runner();
    ck_repr(runner_run(runner, set_var(var, 1)), "1");
    ck_repr(runner_run(runner, set_var(var, 1)), "2");
    runner_close(runner);
}

ASYNC_TEST(row_38_an_exception_that_nobody_reads_is_reported)
{
    reports = 0;
    loop_set_exception_handler(running(), count_report);
    scope {
        asyncio_create_task(raise(V(ValueError)));
        await(asyncio_sleep(0));
        ck_assert_int_eq(reports, 0);                   /* not before it is dropped */
    }
    await(asyncio_sleep(0));
    ck_notes("Task exception was never retrieved");
    scope future_set_exception(new_future(), ValueError);
    ck_notes("Future exception was never retrieved");
    return None;
}

ASYNC_TEST(row_38_what_disarms_the_report)
{
    reports = 0;
    loop_set_exception_handler(running(), count_report);
    for (int how = 0; how < 4; how++) scope {
        Future *future = new_future();
        future_set_exception(future, ValueError);
        if (how == 0) ck_raises(ValueError, future_result(future));
        if (how == 1) ck_repr(future_exception(future), "ValueError()");
        if (how == 2) ck_raises(ValueError, await(future));
        if (how == 3) future_cancel(future);
    }
    await(asyncio_sleep(0));
    ck_assert_int_eq(reports, 0);
    return None;
}

static void broken_handler(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; note("handler"); throw(TypeError, "in the handler"); }

ASYNC_TEST(row_38_a_handler_that_fails_does_not_stop_the_loop)
{
    int saved = dup(2), null = open("/dev/null", O_WRONLY);
    loop_set_exception_handler(running(), broken_handler);
    dup2(null, 2);
    scope future_set_exception(new_future(), ValueError);
    await(asyncio_sleep(1));
    dup2(saved, 2);
    close(saved);
    close(null);
    ck_notes("handler");
    return None;
}

/* ---- Further traps ----------------------------------------------------------------------------------------------- */

static ContextVar *colour;
static void note_colour(Value v) { (void)v; note(contextvar_get(colour)); }
static void note_colour_done(Future *future, Value v) { (void)future; (void)v; note(contextvar_get(colour)); }
async_def(task_colour) { note(contextvar_get(colour)); contextvar_set(colour, "task's own"); return None; }

ASYNC_TEST(trap_contexts_are_copied_when_things_are_registered)
{
    colour = context_var("colour");
    Future *future = new_future();
    contextvar_set(colour, "red");
    Task *task = asyncio_create_task(task_colour());
    loop_call_soon(running(), note_colour);
    future_add_done_callback(future, note_colour_done);
    contextvar_set(colour, "blue");
    future_set_result(future, None);
    await(task);
    await(asyncio_sleep(0));
    ck_notes("red|red|red");
    ck_repr(contextvar_get(colour), "'blue'");
    return None;
}

async_def(eager_child, (double) sleep)
{
    note("child of", task_get_name(asyncio_current_task()));
    if (sleep >= 0) await(asyncio_sleep(sleep));
    note("child ends");
    return V(1);
}

ASYNC_TEST(trap_eager_tasks_run_inside_create_task)
{
    Task *me = asyncio_current_task();
    Task *quick = asyncio_create_task(eager_child(-1), .name = "quick", .eager_start = true);
    ck_assert(task_done(quick));
    ck_assert_ptr_null(task_get_coro(quick));
    ck_assert_ptr_eq(asyncio_current_task(), me);
    ck_notes("child of quick|child ends");
    Task *slow = asyncio_create_task(eager_child(1), .name = "slow", .eager_start = true);
    ck_assert_ptr_eq(asyncio_current_task(), me);
    ck_assert(!task_done(slow));
    ck_notes("child of slow");
    await(slow);
    ck_notes("child ends");
    return None;
}

async_def(wants_out, (Value) box)
{
    list_append(box, asyncio_create_task(raise(V(SystemExit))));
    await(asyncio_sleep(10));
    return None;
}

TEST(trap_system_exit_is_stored_in_the_task_and_leaves_the_loop)
{
    Loop *loop = asyncio_new_event_loop();
    Value box = list();
    ck_raises(SystemExit, loop_run_until_complete(loop, wants_out(box)));
    Task *task = as_task(list_get(box, 0));
    ck_assert(task_done(task));
    ck_repr(task_exception(task), "SystemExit()");
    for_in (left, asyncio_all_tasks(loop)) task_cancel(as_task(left));
    loop_call_soon(loop, stop, V(loop));
    loop_run_forever(loop);
    loop_close(loop);
}

ASYNC_TEST(trap_a_second_reader_replaces_the_first)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    loop_add_reader(running(), ends[0], note_it, V("first"));
    loop_add_reader(running(), ends[0], note_it, V("second"));
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_assert(loop_remove_reader(running(), ends[0]));
    ck_assert(!loop_remove_reader(running(), ends[0]));
    ck_assert(strstr(notes_, "second") && !strstr(notes_, "first"));
    close(ends[0]);
    close(ends[1]);
    return None;
}

TEST(trap_run_until_complete_forgets_its_future_when_stopped)
{
    Loop *loop = asyncio_new_event_loop();
    Future *future = loop_create_future(loop);
    loop_set_virtual_clock(loop, true);
    loop_call_soon(loop, stop, V(loop));
    ck_raises_text(RuntimeError, "Event loop stopped before Future completed.", loop_run_until_complete(loop, future));
    future_set_result(future, 1);                       /* were its callback still there, it would stop the next run */
    loop_call_soon(loop, schedules_another, V("second iteration"));
    loop_call_later(loop, 1, stop, V(loop));
    loop_run_forever(loop);
    ck_notes("stop|first|second iteration|stop");
    loop_close(loop);
}

async_def(leave_failed_things)
{
    Task *task = asyncio_create_task(raise(V(ValueError)));
    Future *failed = new_future();
    loop_set_exception_handler(running(), count_report);
    future_set_exception(failed, KeyError);
    await(asyncio_sleep(0));
    return tuple(task, failed, new_future());
}

/* What a run returns may be futures of its loop, which is closed by then, and a new one may have come in its place. */
TEST(trap_futures_that_outlive_their_loop)
{
    size_t before = asyncio_live_objects();
    reports = 0;
    scope {
        Value left = asyncio_run(leave_failed_things());
        asyncio_run(return_value(None));
        ck_raises_text(RuntimeError, "Event loop is closed", future_add_done_callback(as_future(list_get(left, 0)), note_done));
        future_set_result(as_future(list_get(left, 2)), 1);
        ck_assert_int_eq(reports, 0);
    }
    ck_assert_int_eq(reports, 2);
    ck_assert(strstr(notes_, "Task exception was never retrieved") && strstr(notes_, "Future exception was never retrieved"));
    ck_assert_uint_eq(asyncio_live_objects(), before);
}
