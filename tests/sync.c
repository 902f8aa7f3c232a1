/* Lock, Event, Condition, Semaphore and Barrier, as a C program meets them: blocks left in all ways, objects that outlive their makers,
 * two loops, crowds, and a cancel at every await.
 */
#include "testing.h"

static double now(void) { return loop_time(asyncio_get_running_loop()); }
static Task *start(Coroutine *coro) { return asyncio_create_task(coro); }

typedef enum { BY_RETURN, BY_BREAK, BY_CONTINUE, BY_EXCEPTION, BY_CANCEL } Way;

/* Leaves the block of any manager in each way. */
async_def(leave, (Object *) manager, (Way) way)
{
    for (volatile int turn = 0; turn < 2; turn++) {
        async_with (V(manager)) {
            if (way == BY_RETURN) return V("returned");
            if (way == BY_BREAK) break;
            if (way == BY_CONTINUE) continue;
            if (way == BY_EXCEPTION) throw(KeyError);
            await(asyncio_sleep(10));
        } end_with
    }
    return V("went through");
}

async_def(leave_in_all_ways, (Object *) manager)
{
    ck_repr(await(leave(manager, BY_RETURN)), "'returned'");
    ck_repr(await(leave(manager, BY_BREAK)), "'went through'");
    ck_repr(await(leave(manager, BY_CONTINUE)), "'went through'");
    ck_raises(KeyError, await(leave(manager, BY_EXCEPTION)));
    Task *task = start(leave(manager, BY_CANCEL));
    await(asyncio_sleep(1));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    return None;
}

ASYNC_TEST(a_lock_is_released_however_its_block_is_left)
{
    Lock *lock = asyncio_Lock();
    await(leave_in_all_ways((Object *)lock));
    ck_repr(lock, "<Lock [unlocked]>");
    return None;
}

ASYNC_TEST(a_semaphore_is_released_however_its_block_is_left)
{
    Semaphore *semaphore = asyncio_BoundedSemaphore(2);
    await(leave_in_all_ways((Object *)semaphore));
    ck_repr(semaphore, "<BoundedSemaphore [unlocked, value:2]>");
    return None;
}

ASYNC_TEST(a_condition_is_released_however_its_block_is_left)
{
    Condition *condition = asyncio_Condition();
    await(leave_in_all_ways((Object *)condition));
    ck_repr(condition, "<Condition [unlocked]>");
    return None;
}

ASYNC_TEST(a_barrier_of_one_lets_through_however_its_block_is_left)
{
    Barrier *barrier = asyncio_Barrier(1);
    await(leave_in_all_ways((Object *)barrier));
    ck_repr(barrier, "<Barrier [filling, waiters:0/1]>");
    return None;
}

ASYNC_TEST(what_is_no_manager_is_refused)
{
    ck_raises_text(TypeError, "'Event' object does not support the asynchronous context manager protocol", async_with (asyncio_Event()) { note("in"); } end_with);
    ck_raises(TypeError, async_with (asyncio_Queue()) { note("in"); } end_with);
    ck_raises(TypeError, async_with (V(1)) { note("in"); } end_with);
    ck_notes("");
    return None;
}

async_def(hold, (Lock *) lock, (double) time) { async_with (lock) { await(asyncio_sleep(time)); } end_with return V("held"); }

/* The one who made the lock is gone; those who use it keep it. */
ASYNC_TEST(a_lock_outlives_its_maker)
{
    Value tasks = list();
    scope {
        Lock *lock = asyncio_Lock();
        for (int i = 0; i < 3; i++) list_append(tasks, start(hold(lock, 1)));
    }
    double before = now();
    await(asyncio_gather_list(tasks));
    ck_assert_double_eq_tol(now() - before, 3, 1e-6);
    return None;
}

async_def(shut_out, (Event *) event) { await(event_wait(event)); note("in"); return None; }

ASYNC_TEST(an_event_outlives_its_maker)
{
    Value box = list();
    scope {
        Event *event = asyncio_Event();
        list_append(box, event);
        start(shut_out(event));
    }
    await(asyncio_sleep(1));
    event_set((Event *)list_get(box, 0).object);
    list_clear(box);
    await(asyncio_sleep(1));
    ck_notes("in");
    return None;
}

async_def(crowd_member, (Lock *) lock, (Value) inside)
{
    async_with (lock) {
        list_append(inside, 1);
        ck_assert_int_eq(len(inside), 1);               /* nobody else */
        await(asyncio_sleep(0));
        list_clear(inside);
    } end_with
    return None;
}

/* A thousand want a lock, every third is cancelled while it waits: never two inside, and all the others get in. */
ASYNC_TEST(a_crowd_before_a_lock)
{
    Lock *lock = asyncio_Lock();
    Value tasks = list(), inside = list();
    for (int i = 0; i < 1000; i++) list_append(tasks, start(crowd_member(lock, inside)));
    await(asyncio_sleep(0));
    for (int i = 1; i < 1000; i++) {
        if (i % 3 == 0) task_cancel(as_task(list_get(tasks, i)));
        if (i % 7 == 0) await(asyncio_sleep(0));
    }
    Value results = await(asyncio_gather_list(tasks, .return_exceptions = true));
    int cancelled = 0;
    for_in (v, results) { if (!is_none(v)) { ck_assert(isinstance(v, CancelledError)); cancelled++; } }
    ck_assert_int_gt(cancelled, 100);
    ck_repr(lock, "<Lock [unlocked]>");
    return None;
}

static int inside, most;

async_def(limited, (Semaphore *) semaphore)
{
    async_with (semaphore) {
        if (++inside > most) most = inside;
        try { await(asyncio_sleep(1)); } finally { inside--; } end_try
    } end_with
    return None;
}

ASYNC_TEST(a_crowd_before_a_semaphore)
{
    Semaphore *semaphore = asyncio_BoundedSemaphore(10);
    Value tasks = list();
    double before = now();
    inside = most = 0;
    for (int i = 0; i < 1000; i++) list_append(tasks, start(limited(semaphore)));
    await(asyncio_sleep(0.5));
    for (int i = 0; i < 1000; i += 2) task_cancel(as_task(list_get(tasks, i)));
    await(asyncio_gather_list(tasks, .return_exceptions = true));
    ck_assert_int_eq(most, 10);
    ck_assert_int_eq(inside, 0);
    ck_assert_double_eq_tol(now() - before, 50.5, 0.5 + 1e-6);  /* 500 of them, ten at a time */
    ck_repr(semaphore, "<BoundedSemaphore [unlocked, value:10]>");
    return None;
}

ASYNC_TEST(a_crowd_before_an_event)
{
    Event *event = asyncio_Event();
    Value tasks = list();
    for (int i = 0; i < 1000; i++) list_append(tasks, start(event_wait(event)));
    await(asyncio_sleep(0));
    event_set(event);
    await(asyncio_gather_list(tasks));
    for_in (task, tasks) ck_assert(as_bool(task_result(as_task(task))));
    return None;
}

/* What is taken, is given back: one task goes through everything, cancelled at each await in turn. */
async_def(goes_through_all, (Lock *) lock, (Semaphore *) semaphore, (Condition *) condition, (Event *) event, (Barrier *) barrier)
{
    async_with (lock) { await(asyncio_sleep(1)); } end_with
    async_with (semaphore) { await(asyncio_sleep(1)); } end_with
    async_with (condition) { await(condition_wait(condition)); } end_with
    await(event_wait(event));
    await(barrier_wait(barrier));
    return V("done");
}

async_def(notify_at, (Condition *) condition, (double) time)
{
    await(asyncio_sleep(time));
    async_with (condition) { condition_notify(condition); } end_with
    return None;
}

static void set_event(Value event) { event_set((Event *)event.object); }

async_def(arrive_at, (Barrier *) barrier, (double) time) { await(asyncio_sleep(time)); await(barrier_wait(barrier)); return None; }

ASYNC_TEST(cancelled_at_every_await)
{
    for (int at = 0; at <= 6; at++) scope {
        Lock *lock = asyncio_Lock();
        Semaphore *semaphore = asyncio_BoundedSemaphore(1);
        Condition *condition = asyncio_Condition();
        Event *event = asyncio_Event();
        Barrier *barrier = asyncio_Barrier(2);
        Task *task = start(goes_through_all(lock, semaphore, condition, event, barrier));
        start(notify_at(condition, 3));
        loop_call_later(asyncio_get_running_loop(), 4, set_event, V(event));
        Task *other = start(arrive_at(barrier, 5));
        await(asyncio_sleep(at - 0.5));
        bool asked = task_cancel(task);
        await(asyncio_wait(list(task)));
        ck_assert_int_eq(asked, at < 6);
        ck_assert_int_eq(task_cancelled(task), at < 6);
        await(asyncio_sleep(10));
        ck_repr(lock, "<Lock [unlocked]>");
        ck_repr(semaphore, "<BoundedSemaphore [unlocked, value:1]>");
        ck_repr(condition, "<Condition [unlocked]>");
        ck_repr(event, "<Event [set]>");
        ck_assert_int_eq(barrier_n_waiting(barrier), at < 6);
        task_cancel(other);
        await(asyncio_wait(list(other)));
        ck_repr(barrier, "<Barrier [filling, waiters:0/2]>");
    }
    return None;
}

/* What has once waited in one loop cannot wait in another, even when the first is long gone. */
async_def(bind, (Lock *) lock, (Semaphore *) semaphore, (Event *) event)
{
    await(lock_acquire(lock));
    Value waiters = list(start(lock_acquire(lock)), start(semaphore_acquire(semaphore)), start(event_wait(event)));
    await(asyncio_sleep(0));
    for_in (waiter, waiters) task_cancel(as_task(waiter));
    await(asyncio_wait(waiters));
    return None;
}

async_def(use_elsewhere, (Lock *) lock, (Semaphore *) semaphore, (Event *) event)
{
    ck_raises_text(RuntimeError, "<Lock [locked]> is bound to a different event loop", await(lock_acquire(lock)));
    ck_raises_text(RuntimeError, "<Semaphore [locked]> is bound to a different event loop", await(semaphore_acquire(semaphore)));
    ck_raises_text(RuntimeError, "<Event [unset]> is bound to a different event loop", await(event_wait(event)));
    lock_release(lock);
    await(lock_acquire(lock));                          /* without waiting it works, as in Python */
    event_set(event);
    await(event_wait(event));
    return None;
}

TEST(two_loops)
{
    Lock *lock = asyncio_Lock();
    Semaphore *semaphore = asyncio_Semaphore(0);
    Event *event = asyncio_Event();
    asyncio_run(bind(lock, semaphore, event), .virtual_clock = true);
    for (int i = 0; i < 5; i++) {
        asyncio_run(use_elsewhere(lock, semaphore, event), .virtual_clock = true);
        event_clear(event);
    }
}

static void acquire_in_a_callback(Value lock)
{
    Coroutine *coro = lock_acquire((Lock *)lock.object);
    ck_raises(RuntimeError, await(coro));
    coroutine_close(coro);
    ck_raises(RuntimeError, async_with (lock) { note("inside"); } end_with);
    note("refused");
}

ASYNC_TEST(nothing_waits_in_a_plain_callback)
{
    Lock *lock = asyncio_Lock();
    loop_call_soon(asyncio_get_running_loop(), acquire_in_a_callback, V(lock));
    await(asyncio_sleep(0));
    ck_notes("refused");
    ck_assert(!lock_locked(lock));
    return None;
}

static int stock;
static Value enough(Value wanted) { return V((bool)(stock >= as_int(wanted))); }
static Value fails(Value arg) { (void)arg; throw(ZeroDivisionError, "in the predicate"); }

async_def(buy, (Condition *) condition, (int) wanted)
{
    async_with (condition) {
        await(condition_wait_for(condition, enough, V(wanted)));
        stock -= wanted;
        note("bought", wanted);
    } end_with
    return None;
}

ASYNC_TEST(a_predicate_with_an_argument)
{
    Condition *condition = asyncio_Condition();
    stock = 0;
    start(buy(condition, 3));
    start(buy(condition, 1));
    await(asyncio_sleep(0));
    for (int i = 0; i < 4; i++) {
        async_with (condition) {
            stock++;
            condition_notify_all(condition);
        } end_with
        await(asyncio_sleep(1));
    }
    ck_notes("bought 1|bought 3");
    ck_assert_int_eq(stock, 0);
    ck_raises(ZeroDivisionError, async_with (condition) { await(condition_wait_for(condition, fails, None)); } end_with);
    ck_assert(!condition_locked(condition));
    return None;
}

ASYNC_TEST(notify_of_nobody_and_of_none)
{
    Condition *condition = asyncio_Condition();
    async_with (condition) {
        condition_notify(condition);
        condition_notify(condition, 100);
        condition_notify_all(condition);
    } end_with
    Task *waiter = start(buy(condition, 1000));
    await(asyncio_sleep(0));
    async_with (condition) { condition_notify(condition, 0); condition_notify(condition, -1); } end_with
    await(asyncio_sleep(1));
    ck_repr(condition, "<Condition [unlocked, waiters:1]>");
    task_cancel(waiter);
    return None;
}

/* Two conditions on one lock: a bounded buffer. */
static int buffer;

async_def(fill, (Condition *) not_full, (Condition *) not_empty)
{
    for (volatile int i = 0; i < 5; i++) {
        async_with (not_full) {
            while (buffer == 2) await(condition_wait(not_full));
            note("+", ++buffer);
            condition_notify(not_empty);
        } end_with
    }
    return None;
}

async_def(empty, (Condition *) not_full, (Condition *) not_empty)
{
    for (volatile int i = 0; i < 5; i++) {
        async_with (not_empty) {
            while (buffer == 0) await(condition_wait(not_empty));
            note("-", --buffer);
            condition_notify(not_full);
        } end_with
    }
    return None;
}

ASYNC_TEST(two_conditions_on_one_lock)
{
    Lock *lock = asyncio_Lock();
    Condition *not_full = asyncio_Condition(lock), *not_empty = asyncio_Condition(lock);
    buffer = 0;
    await(asyncio_gather(fill(not_full, not_empty), empty(not_full, not_empty)));
    ck_assert_int_eq(buffer, 0);
    ck_notes("+ 1|+ 2|- 1|- 0|+ 1|+ 2|- 1|- 0|+ 1|- 0");
    return None;
}

ASYNC_TEST(a_semaphore_may_grow_a_bounded_one_not)
{
    Semaphore *semaphore = asyncio_Semaphore(1), *bounded = asyncio_BoundedSemaphore(1);
    for (int i = 0; i < 4; i++) semaphore_release(semaphore);
    ck_repr(semaphore, "<Semaphore [unlocked, value:5]>");
    ck_raises(ValueError, semaphore_release(bounded));
    await(semaphore_acquire(bounded));
    semaphore_release(bounded);
    ck_raises(ValueError, semaphore_release(bounded));
    return None;
}

ASYNC_TEST(the_value_of_as)
{
    Lock *lock = asyncio_Lock();
    async_with (same, lock) { ck_assert_ptr_eq(same, lock); } end_with
    async_with (i, asyncio_Barrier(1)) { ck_repr(i, "0"); } end_with
    return None;
}

ASYNC_TEST(a_semaphore_beyond_an_int)
{
    Semaphore *semaphore = asyncio_Semaphore(INT32_MAX);
    semaphore_release(semaphore);
    ck_repr(semaphore, "<Semaphore [unlocked, value:2147483648]>");
    await(semaphore_acquire(semaphore));
    ck_repr(semaphore, "<Semaphore [unlocked, value:2147483647]>");
    return None;
}
