/* CPython 3.13's test_locks.py: Lock, Event, Condition, Semaphore and Barrier, each method under its own name.
 *
 * What the originals see in lock._waiters and sem._value is seen here through repr(), which tells both. The nested functions
 * of the originals, with their nonlocal variables, are coroutines beside the test, with those variables as file-level ones.
 * Of repr() the part in brackets is compared; "object at 0x..." is Python's own.
 */
#include "../testing.h"

static void cancel(Value task) { task_cancel(as_task(task)); }

/* Up to how many waiters repr() shows; 0 if it shows none. */
static int waiters(Value primitive)
{
    const char *found = strstr(as_str(value_repr(primitive)), "waiters:");
    return found ? atoi(found + strlen("waiters:")) : 0;
}

/* ---- LockTests -------------------------------------------------------------------------------------------------- */

ASYNC_TEST(LockTests__test_repr)
{
    Lock *lock = asyncio_Lock();
    ck_repr(lock, "<Lock [unlocked]>");
    await(lock_acquire(lock));
    ck_repr(lock, "<Lock [locked]>");
    return None;
}

/* In C await(lock) does not even compile; a Value that holds a lock is found out when it runs. */
ASYNC_TEST(LockTests__test_lock)
{
    Lock *lock = asyncio_Lock();
    ck_raises_text(TypeError, "object Lock can't be used in 'await' expression", await(V(lock)));
    ck_assert(!lock_locked(lock));
    return None;
}

async_def(lock_and_note, (Lock *) lock, (int) n)
{
    if (as_bool(await(lock_acquire(lock)))) note(n);
    return True;
}

ASYNC_TEST(LockTests__test_acquire)
{
    Lock *lock = asyncio_Lock();
    ck_assert(as_bool(await(lock_acquire(lock))));
    Task *t1 = asyncio_create_task(lock_and_note(lock, 1));
    Task *t2 = asyncio_create_task(lock_and_note(lock, 2));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");

    lock_release(lock);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1");
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1");

    Task *t3 = asyncio_create_task(lock_and_note(lock, 3));
    lock_release(lock);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1|2");
    lock_release(lock);
    await(asyncio_sleep(0));
    ck_notes("1|2|3");
    ck_assert(as_bool(task_result(t1)));
    ck_assert(as_bool(task_result(t2)));
    ck_assert(as_bool(task_result(t3)));
    return None;
}

ASYNC_TEST(LockTests__test_acquire_cancel)
{
    Lock *lock = asyncio_Lock();
    ck_assert(as_bool(await(lock_acquire(lock))));
    Task *task = asyncio_create_task(lock_acquire(lock));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(task));
    ck_raises(CancelledError, await(task));
    ck_assert_int_eq(waiters(V(lock)), 0);
    return None;
}

async_def(lockit, (Lock *) lock, (Future *) blocker)
{
    await(lock_acquire(lock));
    try {
        if (blocker) await(blocker);
    } finally {
        lock_release(lock);
    } end_try
    return None;
}

/* A holds the lock, B and C wait. B is cancelled and A releases in the same tick: release() must skip B and go on to C. */
ASYNC_TEST(LockTests__test_cancel_race)
{
    Lock *lock = asyncio_Lock();
    Future *fa = loop_create_future(asyncio_get_running_loop());
    Task *ta = asyncio_create_task(lockit(lock, fa));
    await(asyncio_sleep(0));
    ck_assert(lock_locked(lock));
    Task *tb = asyncio_create_task(lockit(lock, NULL));
    await(asyncio_sleep(0));
    ck_assert_int_eq(waiters(V(lock)), 1);
    Task *tc = asyncio_create_task(lockit(lock, NULL));
    await(asyncio_sleep(0));
    ck_assert_int_eq(waiters(V(lock)), 2);

    future_set_result(fa, None);
    task_cancel(tb);
    ck_assert_int_eq(waiters(V(lock)), 2);              /* cancelled, but still in line */
    await(asyncio_sleep(0));
    ck_assert(!lock_locked(lock));
    ck_assert(task_done(ta));
    ck_assert(task_cancelled(tb));
    await(tc);
    return None;
}

static int lock_count, call_count;

async_def(count_lock, (Lock *) lock)
{
    call_count++;
    await(lock_acquire(lock));
    lock_count++;
    return None;
}

static void cancel_and_release(Value task_and_lock)
{
    task_cancel(as_task(list_get(task_and_lock, 0)));
    lock_release((Lock *)list_get(task_and_lock, 1).object);
}

/* bpo-32734: of four who want the lock the second is cancelled while the first releases; exactly one of the others gets it. */
ASYNC_TEST(LockTests__test_cancel_release_race)
{
    lock_count = call_count = 0;
    Lock *lock = asyncio_Lock();
    await(lock_acquire(lock));
    Task *t1 = asyncio_create_task(count_lock(lock));
    Task *t2 = asyncio_create_task(count_lock(lock));
    Task *t3 = asyncio_create_task(count_lock(lock));
    await(asyncio_sleep(0));
    loop_call_soon(asyncio_get_running_loop(), cancel_and_release, tuple(t1, lock));
    ck_raises(CancelledError, await(t1));
    ck_assert_int_eq(lock_count, 1);
    ck_assert_int_eq(call_count, 3);
    ck_assert(task_cancelled(t1) && task_done(t2));
    task_cancel(t3);
    await(asyncio_sleep(0));
    ck_assert(task_cancelled(t3));
    return None;
}

/* A second waiter arrives, the first is woken and cancelled: the wake-up must go on to the second. */
ASYNC_TEST(LockTests__test_finished_waiter_cancelled)
{
    Lock *lock = asyncio_Lock();
    await(lock_acquire(lock));
    ck_assert(lock_locked(lock));
    Task *tb = asyncio_create_task(lock_acquire(lock));
    await(asyncio_sleep(0));
    ck_assert_int_eq(waiters(V(lock)), 1);
    Task *tc = asyncio_create_task(lock_acquire(lock));
    task_cancel(tb);
    lock_release(lock);
    await(asyncio_sleep(0));
    ck_assert(lock_locked(lock));
    ck_assert(task_cancelled(tb));
    await(tc);
    return None;
}

TEST(LockTests__test_release_not_acquired)
{
    Lock *lock = asyncio_Lock();
    ck_raises_text(RuntimeError, "Lock is not acquired.", lock_release(lock));
}

ASYNC_TEST(LockTests__test_release_no_waiters)
{
    Lock *lock = asyncio_Lock();
    await(lock_acquire(lock));
    ck_assert(lock_locked(lock));
    lock_release(lock);
    ck_assert(!lock_locked(lock));
    return None;
}

ASYNC_TEST(LockTests__test_context_manager)
{
    Lock *lock = asyncio_Lock();
    ck_assert(!lock_locked(lock));
    async_with (lock) {
        ck_assert(lock_locked(lock));
    } end_with
    ck_assert(!lock_locked(lock));
    return None;
}

/* ---- EventTests ------------------------------------------------------------------------------------------------- */

ASYNC_TEST(EventTests__test_repr)
{
    Event *event = asyncio_Event();
    ck_repr(event, "<Event [unset]>");
    Task *waiter = asyncio_create_task(event_wait(event));
    await(asyncio_sleep(0));
    ck_repr(event, "<Event [unset, waiters:1]>");
    event_set(event);
    ck_repr(event, "<Event [set, waiters:1]>");
    await(waiter);
    ck_repr(event, "<Event [set]>");
    return None;
}

async_def(wait_and_note, (Event *) event, (int) n)
{
    if (as_bool(await(event_wait(event)))) note(n);
    return None;
}

ASYNC_TEST(EventTests__test_wait)
{
    Event *event = asyncio_Event();
    ck_assert(!event_is_set(event));
    Task *t1 = asyncio_create_task(wait_and_note(event, 1));
    Task *t2 = asyncio_create_task(wait_and_note(event, 2));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");
    Task *t3 = asyncio_create_task(wait_and_note(event, 3));
    event_set(event);
    await(asyncio_sleep(0));
    ck_notes("3|1|2");
    ck_assert(is_none(task_result(t1)));
    ck_assert(is_none(task_result(t2)));
    ck_assert(is_none(task_result(t3)));
    return None;
}

ASYNC_TEST(EventTests__test_wait_on_set)
{
    Event *event = asyncio_Event();
    event_set(event);
    ck_repr(await(event_wait(event)), "True");
    return None;
}

ASYNC_TEST(EventTests__test_wait_cancel)
{
    Event *event = asyncio_Event();
    Task *wait = asyncio_create_task(event_wait(event));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(wait));
    ck_raises(CancelledError, await(wait));
    ck_assert_int_eq(waiters(V(event)), 0);
    return None;
}

ASYNC_TEST(EventTests__test_clear)
{
    Event *event = asyncio_Event();
    ck_assert(!event_is_set(event));
    event_set(event);
    ck_assert(event_is_set(event));
    event_clear(event);
    ck_assert(!event_is_set(event));
    return None;
}

ASYNC_TEST(EventTests__test_clear_with_waiters)
{
    Event *event = asyncio_Event();
    Task *t = asyncio_create_task(wait_and_note(event, 1));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");
    event_set(event);
    event_clear(event);
    ck_assert(!event_is_set(event));
    event_set(event);
    event_set(event);
    ck_assert_int_eq(waiters(V(event)), 1);
    await(asyncio_sleep(0));
    ck_notes("1");
    ck_assert_int_eq(waiters(V(event)), 0);
    ck_assert(task_done(t));
    return None;
}

/* ---- ConditionTests --------------------------------------------------------------------------------------------- */

ASYNC_TEST(ConditionTests__test_repr)
{
    Condition *cond = asyncio_Condition();
    ck_repr(cond, "<Condition [unlocked]>");
    await(condition_acquire(cond));
    ck_repr(cond, "<Condition [locked]>");
    Task *t1 = asyncio_create_task(condition_wait(cond));
    await(asyncio_sleep(0));
    ck_repr(cond, "<Condition [unlocked, waiters:1]>");
    await(condition_acquire(cond));
    Task *t2 = asyncio_create_task(condition_wait(cond));
    await(asyncio_sleep(0));
    ck_repr(cond, "<Condition [unlocked, waiters:2]>");
    await(condition_acquire(cond));
    condition_notify_all(cond);
    condition_release(cond);
    await(t1);
    condition_release(cond);
    await(t2);
    return None;
}

async_def(condition_note, (Condition *) cond, (int) n, (bool) release)
{
    await(condition_acquire(cond));
    if (as_bool(await(condition_wait(cond)))) {
        note(n);
        if (release) condition_release(cond);
    }
    return True;
}

ASYNC_TEST(ConditionTests__test_wait)
{
    Condition *cond = asyncio_Condition();
    Task *t1 = asyncio_create_task(condition_note(cond, 1, false));
    Task *t2 = asyncio_create_task(condition_note(cond, 2, false));
    Task *t3 = asyncio_create_task(condition_note(cond, 3, false));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");
    ck_assert(!condition_locked(cond));

    ck_assert(as_bool(await(condition_acquire(cond))));
    condition_notify(cond);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");
    ck_assert(condition_locked(cond));

    condition_release(cond);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1");
    ck_assert(condition_locked(cond));

    condition_notify(cond, 2);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1");
    ck_assert(condition_locked(cond));

    condition_release(cond);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1|2");
    ck_assert(condition_locked(cond));

    condition_release(cond);
    await(asyncio_sleep(0));
    ck_notes("1|2|3");
    ck_assert(condition_locked(cond));
    ck_assert(as_bool(task_result(t1)));
    ck_assert(as_bool(task_result(t2)));
    ck_assert(as_bool(task_result(t3)));
    return None;
}

ASYNC_TEST(ConditionTests__test_wait_cancel)
{
    Condition *cond = asyncio_Condition();
    await(condition_acquire(cond));
    Task *wait = asyncio_create_task(condition_wait(cond));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(wait));
    ck_raises(CancelledError, await(wait));
    ck_assert_int_eq(waiters(V(cond)), 0);
    ck_assert(condition_locked(cond));
    return None;
}

static void release_condition(Value cond) { condition_release((Condition *)cond.object); }

/* Notified, then the lock is contested, then cancelled: the waiter has the lock in the end. */
ASYNC_TEST(ConditionTests__test_wait_cancel_contested)
{
    Loop *loop = asyncio_get_running_loop();
    Condition *cond = asyncio_Condition();
    await(condition_acquire(cond));
    ck_assert(condition_locked(cond));
    Task *wait = asyncio_create_task(condition_wait(cond));
    await(asyncio_sleep(0));
    ck_assert(!condition_locked(cond));
    await(condition_acquire(cond));
    ck_assert(condition_locked(cond));
    condition_notify(cond);
    loop_call_soon(loop, cancel, V(wait));
    loop_call_soon(loop, release_condition, V(cond));
    try {
        await(wait);
    } except (CancelledError) {
        note("cancelled");
    } end_try
    ck_assert(condition_locked(cond));
    ck_notes("cancelled");
    return None;
}

async_def(wait_inside, (Condition *) cond)
{
    async_with (cond) {
        note("reached");
        await(condition_wait(cond));
    } end_with
    return None;
}

/* bpo-32841 */
ASYNC_TEST(ConditionTests__test_wait_cancel_after_notify)
{
    Condition *cond = asyncio_Condition();
    Task *waiter = asyncio_create_task(wait_inside(cond));
    await(asyncio_sleep(0));
    await(condition_acquire(cond));
    condition_notify(cond);
    await(asyncio_sleep(0));                            /* it gets to acquire() */
    task_cancel(waiter);
    await(asyncio_sleep(0));
    condition_release(cond);
    await(asyncio_sleep(0));
    ck_assert(task_cancelled(waiter));
    ck_assert(!condition_locked(cond));
    ck_notes("reached");
    return None;
}

ASYNC_TEST(ConditionTests__test_wait_unacquired)
{
    Condition *cond = asyncio_Condition();
    ck_raises_text(RuntimeError, "cannot wait on un-acquired lock", await(condition_wait(cond)));
    return None;
}

static bool presult;
static Value predicate(Value arg) { (void)arg; return V(presult); }

async_def(wait_for_predicate, (Condition *) cond)
{
    await(condition_acquire(cond));
    if (as_bool(await(condition_wait_for(cond, predicate, None)))) {
        note(1);
        condition_release(cond);
    }
    return True;
}

ASYNC_TEST(ConditionTests__test_wait_for)
{
    Condition *cond = asyncio_Condition();
    presult = false;
    Task *t = asyncio_create_task(wait_for_predicate(cond));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");

    await(condition_acquire(cond));
    condition_notify(cond);
    condition_release(cond);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");

    presult = true;
    await(condition_acquire(cond));
    condition_notify(cond);
    condition_release(cond);
    await(asyncio_sleep(0));
    ck_notes("1");
    ck_assert(as_bool(task_result(t)));
    return None;
}

static Value one_two_three(Value arg) { (void)arg; return list(1, 2, 3); }
static Value never(Value arg) { (void)arg; return False; }

ASYNC_TEST(ConditionTests__test_wait_for_unacquired)
{
    Condition *cond = asyncio_Condition();
    ck_repr(await(condition_wait_for(cond, one_two_three, None)), "[1, 2, 3]");
    ck_raises(RuntimeError, await(condition_wait_for(cond, never, None)));
    return None;
}

ASYNC_TEST(ConditionTests__test_notify)
{
    Condition *cond = asyncio_Condition();
    Task *t1 = asyncio_create_task(condition_note(cond, 1, true));
    Task *t2 = asyncio_create_task(condition_note(cond, 2, true));
    Task *t3 = asyncio_create_task(condition_note(cond, 3, true));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");

    await(condition_acquire(cond));
    condition_notify(cond, 1);
    condition_release(cond);
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1");

    await(condition_acquire(cond));
    condition_notify(cond, 1);
    condition_notify(cond, 2048);
    condition_release(cond);
    await(asyncio_sleep(0));
    ck_notes("1|2|3");
    ck_assert(as_bool(task_result(t1)));
    ck_assert(as_bool(task_result(t2)));
    ck_assert(as_bool(task_result(t3)));
    return None;
}

ASYNC_TEST(ConditionTests__test_notify_all)
{
    Condition *cond = asyncio_Condition();
    Task *t1 = asyncio_create_task(condition_note(cond, 1, true));
    Task *t2 = asyncio_create_task(condition_note(cond, 2, true));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "");
    await(condition_acquire(cond));
    condition_notify_all(cond);
    condition_release(cond);
    await(asyncio_sleep(0));
    ck_notes("1|2");
    ck_assert(as_bool(task_result(t1)));
    ck_assert(as_bool(task_result(t2)));
    return None;
}

TEST(ConditionTests__test_notify_unacquired)
{
    Condition *cond = asyncio_Condition();
    ck_raises_text(RuntimeError, "cannot notify on un-acquired lock", condition_notify(cond));
}

TEST(ConditionTests__test_notify_all_unacquired)
{
    Condition *cond = asyncio_Condition();
    ck_raises(RuntimeError, condition_notify_all(cond));
}

ASYNC_TEST(ConditionTests__test_context_manager)
{
    Condition *cond = asyncio_Condition();
    ck_assert(!condition_locked(cond));
    async_with (cond) {
        ck_assert(condition_locked(cond));
    } end_with
    ck_assert(!condition_locked(cond));
    return None;
}

async_def(use_both, (Lock *) lock, (Condition *) cond)
{
    ck_assert(!lock_locked(lock));
    ck_assert(!condition_locked(cond));
    async_with (cond) {
        ck_assert(lock_locked(lock));
        ck_assert(condition_locked(cond));
    } end_with
    ck_assert(!lock_locked(lock));
    ck_assert(!condition_locked(cond));
    async_with (lock) {
        ck_assert(lock_locked(lock));
        ck_assert(condition_locked(cond));
    } end_with
    ck_assert(!lock_locked(lock));
    ck_assert(!condition_locked(cond));
    return None;
}

ASYNC_TEST(ConditionTests__test_explicit_lock)
{
    Lock *lock = asyncio_Lock();
    await(use_both(lock, asyncio_Condition(lock)));
    await(use_both(lock, asyncio_Condition(.lock = lock)));
    return None;
}

/* Bound to another loop: the original sets a private field, here the primitive has waited in another loop before. */
async_def(bind_both, (Lock *) lock, (Condition *) cond)
{
    await(lock_acquire(lock));
    Task *waiter = asyncio_create_task(lock_acquire(lock));
    await(asyncio_sleep(0));
    lock_release(lock);
    await(waiter);
    Task *sleeper = asyncio_create_task(condition_wait(cond));
    await(asyncio_sleep(0));
    task_cancel(sleeper);
    await(asyncio_wait(list(sleeper)));
    lock_release(lock);
    return None;
}

async_def(wrong_loop_in_lock, (Lock *) lock)
{
    async_with (lock) {                                 /* the fast path asks for no loop */
        Condition *cond = asyncio_Condition(lock);
        ck_raises_text(RuntimeError, "<Lock [locked]> is bound to a different event loop", await(condition_acquire(cond)));
    } end_with
    ck_assert(!lock_locked(lock));
    return None;
}

async_def(wrong_loop_in_condition, (Condition *) cond)
{
    async_with (cond) {
        ck_raises_text(RuntimeError, "<Condition [locked]> is bound to a different event loop", await(condition_wait(cond)));
        ck_assert(condition_locked(cond));
    } end_with
    ck_assert(!condition_locked(cond));
    return None;
}

TEST(ConditionTests__test_ambiguous_loops)
{
    Lock *lock = asyncio_Lock();
    Condition *cond = asyncio_Condition(lock);
    asyncio_run(bind_both(lock, cond), .virtual_clock = true);
    asyncio_run(wrong_loop_in_lock(lock), .virtual_clock = true);
    asyncio_run(wrong_loop_in_condition(cond), .virtual_clock = true);
}

ASYNC_TEST(ConditionTests__test_timeout_in_block)
{
    Condition *cond = asyncio_Condition();
    async_with (cond) {
        ck_raises(TimeoutError, await(asyncio_wait_for(condition_wait(cond), 0.5)));
    } end_with
    return None;
}

/* The CancelledError that comes out of the wait is raised as it is: the same object, up to the one who awaits the task. */
static Value raised;

async_def(keep_the_cancellation, (Condition *) cond)
{
    async_with (cond) {
        try {
            await(condition_wait_for(cond, predicate, None));
        } except (CancelledError, e) {
            raised = e;
            throw(e);
        } end_try
    } end_with
    return None;
}

ASYNC_TEST(ConditionTests__test_cancelled_error_wakeup)
{
    Condition *cond = asyncio_Condition();
    presult = false;
    Task *task = asyncio_create_task(keep_the_cancellation(cond));
    await(asyncio_sleep(0));
    task_cancel(task, .msg = V("foo"));
    try {
        await(task);
        ck_abort();
    } except (CancelledError, e) {
        ck_repr(exception_args(e), "('foo',)");
        ck_assert_ptr_eq(e.object, raised.object);
    } end_try
    return None;
}

ASYNC_TEST(ConditionTests__test_cancelled_error_re_aquire)
{
    Condition *cond = asyncio_Condition();
    presult = false;
    Task *task = asyncio_create_task(keep_the_cancellation(cond));
    await(asyncio_sleep(0));
    await(condition_acquire(cond));
    presult = true;
    condition_notify(cond);
    await(asyncio_sleep(0));                            /* it is trying to have the lock again */
    task_cancel(task, .msg = V("foo"));
    condition_release(cond);
    try {
        await(task);
        ck_abort();
    } except (CancelledError, e) {
        ck_repr(exception_args(e), "('foo',)");
        ck_assert_ptr_eq(e.object, raised.object);
    } end_try
    return None;
}

static int state;
static Value state_not_zero(Value arg) { (void)arg; return V((bool)(state != 0)); }
static Value state_zero(Value arg) { (void)arg; return V((bool)(state == 0)); }

async_def(consumer, (Condition *) condition)
{
    async_with (condition) {
        for (;;) {
            await(condition_wait_for(condition, state_not_zero, None));
            if (state < 0) return None;
            state--;
        }
    } end_with
    return None;
}

/* Of two consumers one is notified and cancelled at once, before it runs or (relock) while it waits for the lock: the other consumes. */
async_def(cancelled_wakeup, (bool) relock)
{
    Condition *condition = asyncio_Condition();
    state = 0;
    Task *first = asyncio_create_task(consumer(condition)), *second = asyncio_create_task(consumer(condition));
    await(asyncio_sleep(0));
    async_with (condition) {
        state++;
        condition_notify(condition, 1);
        if (relock) await(asyncio_sleep(0));
        task_cancel(first);
        try {
            async_with (asyncio_timeout(0.01)) {
                await(condition_wait_for(condition, state_zero, None));
            } end_with
        } except (TimeoutError) {
        } end_try
        ck_assert_int_eq(state, 0);
        state = -1;
        condition_notify_all(condition);
    } end_with
    await(second);
    ck_assert(task_cancelled(first));
    return None;
}

ASYNC_TEST(ConditionTests__test_cancelled_wakeup) { return await(cancelled_wakeup(false)); }
ASYNC_TEST(ConditionTests__test_cancelled_wakeup_relock) { return await(cancelled_wakeup(true)); }

/* ---- SemaphoreTests --------------------------------------------------------------------------------------------- */

TEST(SemaphoreTests__test_initial_value_zero)
{
    ck_assert(semaphore_locked(asyncio_Semaphore(0)));
}

ASYNC_TEST(SemaphoreTests__test_repr)
{
    Semaphore *sem = asyncio_Semaphore();
    ck_repr(sem, "<Semaphore [unlocked, value:1]>");
    await(semaphore_acquire(sem));
    ck_repr(sem, "<Semaphore [locked]>");
    Task *t1 = asyncio_create_task(semaphore_acquire(sem)), *t2 = asyncio_create_task(semaphore_acquire(sem));
    await(asyncio_sleep(0));
    ck_repr(sem, "<Semaphore [locked, waiters:2]>");
    task_cancel(t1);
    task_cancel(t2);
    return None;
}

ASYNC_TEST(SemaphoreTests__test_semaphore)
{
    Semaphore *sem = asyncio_Semaphore();
    ck_repr(sem, "<Semaphore [unlocked, value:1]>");
    ck_raises_text(TypeError, "object Semaphore can't be used in 'await' expression", await(V(sem)));
    ck_assert(!semaphore_locked(sem));
    ck_repr(sem, "<Semaphore [unlocked, value:1]>");
    return None;
}

TEST(SemaphoreTests__test_semaphore_value)
{
    ck_raises_text(ValueError, "Semaphore initial value must be >= 0", asyncio_Semaphore(-1));
}

async_def(semaphore_note, (Semaphore *) sem, (int) n)
{
    await(semaphore_acquire(sem));
    note(n);
    return True;
}

ASYNC_TEST(SemaphoreTests__test_acquire)
{
    Semaphore *sem = asyncio_Semaphore(3);
    ck_assert(as_bool(await(semaphore_acquire(sem))));
    ck_assert(as_bool(await(semaphore_acquire(sem))));
    ck_assert(!semaphore_locked(sem));
    Task *t1 = asyncio_create_task(semaphore_note(sem, 1));
    Task *t2 = asyncio_create_task(semaphore_note(sem, 2));
    Task *t3 = asyncio_create_task(semaphore_note(sem, 3));
    await(asyncio_sleep(0));
    ck_assert_str_eq(notes_, "1");
    ck_assert(semaphore_locked(sem));
    ck_assert_int_eq(waiters(V(sem)), 2);

    Task *t4 = asyncio_create_task(semaphore_note(sem, 4));
    semaphore_release(sem);
    semaphore_release(sem);
    ck_repr(sem, "<Semaphore [locked, waiters:2]>");
    await(asyncio_sleep(0));
    ck_notes("1|2|3");
    ck_repr(sem, "<Semaphore [locked, waiters:1]>");
    ck_assert(as_bool(task_result(t1)));
    ck_assert(task_done(t2) && task_done(t3) && !task_done(t4));

    semaphore_release(sem);
    await(asyncio_gather(t2, t3, t4));
    return None;
}

ASYNC_TEST(SemaphoreTests__test_acquire_cancel)
{
    Semaphore *sem = asyncio_Semaphore();
    await(semaphore_acquire(sem));
    Task *acquire = asyncio_create_task(semaphore_acquire(sem));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(acquire));
    ck_raises(CancelledError, await(acquire));
    ck_assert_int_eq(waiters(V(sem)), 0);
    return None;
}

ASYNC_TEST(SemaphoreTests__test_acquire_cancel_before_awoken)
{
    Semaphore *sem = asyncio_Semaphore(.value = 0);
    Task *t1 = asyncio_create_task(semaphore_acquire(sem));
    Task *t2 = asyncio_create_task(semaphore_acquire(sem));
    Task *t3 = asyncio_create_task(semaphore_acquire(sem));
    Task *t4 = asyncio_create_task(semaphore_acquire(sem));
    await(asyncio_sleep(0));
    task_cancel(t1);
    task_cancel(t2);
    semaphore_release(sem);
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_assert(task_done(t3));
    ck_assert(!task_done(t4));
    task_cancel(t3);
    task_cancel(t4);
    await(asyncio_sleep(0));
    return None;
}

ASYNC_TEST(SemaphoreTests__test_acquire_hang)
{
    Semaphore *sem = asyncio_Semaphore(.value = 0);
    Task *t1 = asyncio_create_task(semaphore_acquire(sem));
    Task *t2 = asyncio_create_task(semaphore_acquire(sem));
    await(asyncio_sleep(0));
    task_cancel(t1);
    semaphore_release(sem);
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_assert(semaphore_locked(sem));
    ck_assert(task_done(t2));
    return None;
}

static Task *second_task;

async_def(hold_then_cancel_second, (Semaphore *) sem)
{
    async_with (sem) {
        await(asyncio_sleep(0));
    } end_with
    task_cancel(second_task);
    return None;
}

async_def(never_get_in, (Semaphore *) sem)
{
    async_with (sem) {
        ck_abort_msg("got in");
    } end_with
    return None;
}

ASYNC_TEST(SemaphoreTests__test_acquire_no_hang)
{
    Semaphore *sem = asyncio_Semaphore(1);
    Task *t1 = asyncio_create_task(hold_then_cancel_second(sem));
    second_task = asyncio_create_task(never_get_in(sem));
    Value results = await(asyncio_gather(t1, second_task, .return_exceptions = true));
    ck_assert(is_none(list_get(results, 0)));
    ck_assert(isinstance(list_get(results, 1), CancelledError));
    await(asyncio_wait_for(semaphore_acquire(sem), 1.0));
    return None;
}

TEST(SemaphoreTests__test_release_not_acquired)
{
    Semaphore *sem = asyncio_BoundedSemaphore();
    ck_raises_text(ValueError, "BoundedSemaphore released too many times", semaphore_release(sem));
}

ASYNC_TEST(SemaphoreTests__test_release_no_waiters)
{
    Semaphore *sem = asyncio_Semaphore();
    await(semaphore_acquire(sem));
    ck_assert(semaphore_locked(sem));
    semaphore_release(sem);
    ck_assert(!semaphore_locked(sem));
    return None;
}

async_def(twice, (Semaphore *) sem, (const char *) tag)
{
    for (int turn = 1; turn <= 2; turn++) {
        await(semaphore_acquire(sem));
        note(format("%s_%d", tag, turn));
        await(asyncio_sleep(0.01));
        semaphore_release(sem);
    }
    return None;
}

ASYNC_TEST(SemaphoreTests__test_acquire_fifo_order)
{
    Semaphore *sem = asyncio_Semaphore(1);
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, twice(sem, "c1"));
        taskgroup_create_task(tg, twice(sem, "c2"));
        taskgroup_create_task(tg, twice(sem, "c3"));
    } end_with
    ck_notes("c1_1|c2_1|c3_1|c1_2|c2_2|c3_2");
    return None;
}

async_def(release_and_take_again, (Semaphore *) sem)
{
    await(semaphore_acquire(sem));
    note(2);
    semaphore_release(sem);
    await(semaphore_acquire(sem));
    note(4);
    return True;
}

ASYNC_TEST(SemaphoreTests__test_acquire_fifo_order_2)
{
    Semaphore *sem = asyncio_Semaphore(1);
    Task *t1 = asyncio_create_task(semaphore_note(sem, 1));
    Task *t2 = asyncio_create_task(release_and_take_again(sem));
    Task *t3 = asyncio_create_task(semaphore_note(sem, 3));
    await(asyncio_sleep(0));
    semaphore_release(sem);
    semaphore_release(sem);
    await(asyncio_gather(t1, t2, t3));
    ck_notes("1|2|3|4");
    return None;
}

ASYNC_TEST(SemaphoreTests__test_acquire_fifo_order_3)
{
    Semaphore *sem = asyncio_Semaphore(0);
    Task *t1 = asyncio_create_task(semaphore_note(sem, 1));
    Task *t2 = asyncio_create_task(semaphore_note(sem, 2));
    Task *t3 = asyncio_create_task(semaphore_note(sem, 3));
    await(asyncio_sleep(0));
    task_cancel(t1);
    await(asyncio_sleep(0));
    semaphore_release(sem);
    semaphore_release(sem);
    await(asyncio_gather(t1, t2, t3, .return_exceptions = true));
    ck_notes("2|3");
    return None;
}

/* One who gets through wakes as many as there is room for. */
static Task *fourth;

async_def(note_four) { note(4); return True; }

async_def(first_of_four, (Semaphore *) sem)
{
    ck_repr(sem, "<Semaphore [locked]>");
    await(semaphore_acquire(sem));
    ck_repr(sem, "<Semaphore [locked, waiters:2]>");    /* both are woken by now, and nothing is left */
    fourth = asyncio_create_task(note_four());
    keep(fourth);
    note(1);
    return V(fourth);
}

async_def(second_of_four, (Semaphore *) sem)
{
    for (int i = 0; i < 3; i++) semaphore_release(sem);
    ck_assert(semaphore_locked(sem));                   /* the first has not woken up yet */
    await(semaphore_acquire(sem));
    note(2);
    return True;
}

async_def(third_of_four, (Semaphore *) sem)
{
    await(semaphore_acquire(sem));
    ck_assert(semaphore_locked(sem));
    note(3);
    return True;
}

ASYNC_TEST(SemaphoreTests__test_acquire_fifo_order_4)
{
    Semaphore *sem = asyncio_Semaphore(0);
    Task *t1 = asyncio_create_task(first_of_four(sem));
    Task *t2 = asyncio_create_task(second_of_four(sem));
    Task *t3 = asyncio_create_task(third_of_four(sem));
    await(asyncio_sleep(0));
    ck_repr(sem, "<Semaphore [locked, waiters:3]>");
    await(asyncio_sleep(0));
    await(asyncio_gather(t1, t2, t3, fourth));
    ck_notes("1|2|3|4");
    return None;
}

/* ---- BarrierTests ----------------------------------------------------------------------------------------------- */

enum { N = 5 };

static bool shows(Barrier *barrier, const char *word) { return strstr(as_str(repr(barrier)), word) != NULL; }

/* n tasks of the same coroutine, as a list. */
#define make_tasks(n, coro) ({ \
    Value tasks_ = list(); \
    for (int i_ = 0; i_ < (n); i_++) list_append(tasks_, asyncio_create_task(coro)); \
    tasks_; })
#define gather_tasks(n, coro) await(asyncio_gather_list(make_tasks(n, coro)))

static void ck_numbers(Value numbers, int count)
{
    list_sort(numbers);
    ck_assert_int_eq(len(numbers), count);
    for (int i = 0; i < count; i++) ck_assert_int_eq(as_int(list_get(numbers, i)), i);
}

static void ck_filling(Barrier *barrier)
{
    ck_assert_int_eq(barrier_n_waiting(barrier), 0);
    ck_assert(!barrier_broken(barrier));
    ck_assert(shows(barrier, "filling"));
}

ASYNC_TEST(BarrierTests__test_barrier)
{
    Barrier *barrier = asyncio_Barrier(N);
    ck_assert(shows(barrier, "filling"));
    ck_raises_text(TypeError, "object Barrier can't be used in 'await' expression", await(V(barrier)));
    ck_assert(shows(barrier, "filling"));
    return None;
}

TEST(BarrierTests__test_barrier_parties)
{
    ck_raises_text(ValueError, "parties must be > 0", asyncio_Barrier(0));
    ck_raises(ValueError, asyncio_Barrier(-4));
    ck_assert_int_eq(barrier_parties(asyncio_Barrier(N)), N);
}

ASYNC_TEST(BarrierTests__test_repr)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value waiters = list();
    ck_repr(barrier, "<Barrier [filling, waiters:0/5]>");
    for (int i = 0; i < 2; i++) list_append(waiters, asyncio_create_task(barrier_wait(barrier)));
    await(asyncio_sleep(0));
    ck_repr(barrier, "<Barrier [filling, waiters:2/5]>");
    for (int i = 0; i < 3; i++) list_append(waiters, asyncio_create_task(barrier_wait(barrier)));
    await(asyncio_sleep(0));
    ck_repr(barrier, "<Barrier [draining, waiters:0/5]>");
    for (int i = 0; i < 2; i++) list_append(waiters, asyncio_create_task(barrier_wait(barrier)));
    await(asyncio_sleep(0));
    await(barrier_reset(barrier));
    ck_repr(barrier, "<Barrier [resetting, waiters:0/5]>");
    for (int i = 0; i < 2; i++) list_append(waiters, asyncio_create_task(barrier_wait(barrier)));
    await(asyncio_sleep(0));
    await(barrier_abort(barrier));
    ck_repr(barrier, "<Barrier [broken]>");
    ck_assert(barrier_broken(barrier));
    await(asyncio_gather_list(waiters, .return_exceptions = true));
    return None;
}

async_def(index_inside, (Barrier *) barrier, (Value) results)
{
    async_with (i, barrier) {
        list_append(results, i);
    } end_with
    return None;
}

ASYNC_TEST(BarrierTests__test_context_manager)
{
    Barrier *barrier = asyncio_Barrier(3);
    Value results = list();
    gather_tasks(3, index_inside(barrier, results));
    ck_numbers(results, 3);
    ck_filling(barrier);
    return None;
}

async_def(true_inside, (Barrier *) barrier)
{
    async_with (i, barrier) {
        ck_assert_int_eq(as_int(i), 0);
        return True;
    } end_with
    return None;
}

ASYNC_TEST(BarrierTests__test_filling_one_task)
{
    Barrier *barrier = asyncio_Barrier(1);
    ck_assert(as_bool(await(true_inside(barrier))));
    ck_filling(barrier);
    return None;
}

ASYNC_TEST(BarrierTests__test_filling_one_task_twice)
{
    Barrier *barrier = asyncio_Barrier(1);
    Task *t1 = asyncio_create_task(barrier_wait(barrier));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 0);
    Task *t2 = asyncio_create_task(barrier_wait(barrier));
    await(asyncio_sleep(0));
    ck_assert(value_equal(task_result(t1), task_result(t2)));
    ck_assert(task_done(t1) && task_done(t2));
    ck_filling(barrier);
    return None;
}

ASYNC_TEST(BarrierTests__test_filling_task_by_task)
{
    Barrier *barrier = asyncio_Barrier(3);
    Task *t1 = asyncio_create_task(barrier_wait(barrier));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 1);
    ck_assert(shows(barrier, "filling"));
    Task *t2 = asyncio_create_task(barrier_wait(barrier));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 2);
    ck_assert(shows(barrier, "filling"));
    Task *t3 = asyncio_create_task(barrier_wait(barrier));
    await(asyncio_sleep(0));
    await(asyncio_wait(list(t1, t2, t3)));
    ck_filling(barrier);
    return None;
}

async_def(two_inside, (Barrier *) barrier, (Value) results)
{
    async_with (barrier) {
        list_append(results, true);
        async_with (barrier) {
            list_append(results, false);
        } end_with
    } end_with
    return None;
}

ASYNC_TEST(BarrierTests__test_filling_tasks_wait_twice)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value results = list();
    gather_tasks(N, two_inside(barrier, results));
    ck_repr(results, "[True, True, True, True, True, False, False, False, False, False]");
    ck_filling(barrier);
    return None;
}

async_def(return_inner_index, (Barrier *) barrier, (Value) outer, (Value) inner)
{
    async_with (barrier) {
        list_append(outer, true);
        async_with (i, barrier) {
            list_append(inner, true);
            return i;
        } end_with
    } end_with
    return None;
}

ASYNC_TEST(BarrierTests__test_filling_tasks_check_return_value)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value outer = list(), inner = list();
    Value results = gather_tasks(N, return_inner_index(barrier, outer, inner));
    ck_assert_int_eq(len(outer), N);
    ck_assert_int_eq(len(inner), N);
    ck_numbers(results, N);
    ck_filling(barrier);
    return None;
}

async_def(note_draining, (Barrier *) barrier, (Value) results)
{
    async_with (barrier) {
        list_append(results, shows(barrier, "draining"));
    } end_with
    return None;
}

ASYNC_TEST(BarrierTests__test_draining_state)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value results = list();
    gather_tasks(N, note_draining(barrier, results));
    ck_repr(results, "[True, True, True, True, False]");
    ck_filling(barrier);
    return None;
}

static int rewait_n;

async_def(wait_again, (Barrier *) barrier, (Barrier *) nowaiting)
{
    await(barrier_wait(barrier));
    if (rewait_n > 0) rewait_n--;
    else await(barrier_wait(nowaiting));
    await(barrier_wait(barrier));
    return True;
}

/* Ends only if the second barrier was waited for exactly three times. */
ASYNC_TEST(BarrierTests__test_blocking_tasks_while_draining)
{
    const int rewait = 2;
    Barrier *barrier = asyncio_Barrier(N), *nowaiting = asyncio_Barrier(N - rewait);
    rewait_n = rewait;
    ck_repr(gather_tasks(N, wait_again(barrier, nowaiting)), "[True, True, True, True, True]");
    ck_filling(barrier);
    ck_filling(nowaiting);
    return None;
}

async_def(wait_and_append, (Barrier *) barrier, (Value) results)
{
    await(barrier_wait(barrier));
    list_append(results, true);
    return None;
}

ASYNC_TEST(BarrierTests__test_filling_tasks_cancel_one)
{
    Barrier *barrier = asyncio_Barrier(3);
    Value results = list();
    Task *t1 = asyncio_create_task(wait_and_append(barrier, results));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 1);
    Task *t2 = asyncio_create_task(wait_and_append(barrier, results));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 2);

    task_cancel(t1);
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 1);
    ck_raises(CancelledError, await(t1));
    ck_assert(task_cancelled(t1));

    Task *t3 = asyncio_create_task(wait_and_append(barrier, results));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 2);
    Task *t4 = asyncio_create_task(wait_and_append(barrier, results));
    await(asyncio_gather(t2, t3, t4));
    ck_repr(results, "[True, True, True]");
    ck_filling(barrier);
    return None;
}

ASYNC_TEST(BarrierTests__test_reset_barrier)
{
    Barrier *barrier = asyncio_Barrier(1);
    asyncio_create_task(barrier_reset(barrier));
    await(asyncio_sleep(0));
    ck_filling(barrier);
    return None;
}

async_def(note_broken, (Barrier *) barrier, (Value) results)
{
    try {
        await(barrier_wait(barrier));
    } except (BrokenBarrierError) {
        list_append(results, true);
    } end_try
    return None;
}

ASYNC_TEST(BarrierTests__test_reset_barrier_while_tasks_waiting)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value results = list(), tasks = make_tasks(N - 1, note_broken(barrier, results));
    await(asyncio_sleep(0));
    asyncio_create_task(barrier_reset(barrier));
    await(asyncio_gather_list(tasks));
    ck_repr(results, "[True, True, True, True]");
    ck_filling(barrier);
    return None;
}

/* How many are still inside is private; those who got out are counted instead. */
static int got_out;

async_def(reset_when_half_out, (Barrier *) barrier, (Value) results)
{
    volatile bool passed = true;
    try {
        await(barrier_wait(barrier));
    } except (BrokenBarrierError) {
        list_append(results, true);
        passed = false;
    } end_try
    if (passed && ++got_out == N - N / 2) await(barrier_reset(barrier));
    return None;
}

ASYNC_TEST(BarrierTests__test_reset_barrier_when_tasks_half_draining)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value results = list();
    got_out = 0;
    gather_tasks(N, reset_when_half_out(barrier, results));
    ck_repr(results, "[True, True]");
    ck_filling(barrier);
    return None;
}

async_def(half_draining_half_blocking, (Barrier *) barrier, (Value) waiting, (Value) blocked)
{
    volatile bool passed = false;
    try {
        await(barrier_wait(barrier));
        passed = true;
    } except (BrokenBarrierError) {
        list_append(waiting, true);
        await(barrier_wait(barrier));
    } end_try
    if (!passed) return None;
    if (++got_out > N / 2) {
        await(barrier_reset(barrier));
        await(barrier_wait(barrier));
        return None;
    }
    try {
        await(barrier_wait(barrier));
    } except (BrokenBarrierError) {
        list_append(blocked, true);
    } end_try
    return None;
}

ASYNC_TEST(BarrierTests__test_reset_barrier_when_tasks_half_draining_half_blocking)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value waiting = list(), blocked = list();
    got_out = 0;
    gather_tasks(N, half_draining_half_blocking(barrier, waiting, blocked));
    ck_repr(waiting, "[True, True]");
    ck_repr(blocked, "[]");
    ck_filling(barrier);
    return None;
}

async_def(broken_then_again, (Barrier *) barrier, (Value) broken, (Value) again)
{
    try {
        await(barrier_wait(barrier));
    } except (BrokenBarrierError) {
        list_append(broken, true);
    } finally {
        await(barrier_wait(barrier));
        list_append(again, true);
    } end_try
    return None;
}

ASYNC_TEST(BarrierTests__test_reset_barrier_while_tasks_waiting_and_waiting_again)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value broken = list(), again = list();
    Value tasks = make_tasks(N - 1, broken_then_again(barrier, broken, again));
    asyncio_create_task(barrier_reset(barrier));
    await(asyncio_sleep(0));
    asyncio_create_task(wait_and_append(barrier, again));
    await(asyncio_gather_list(tasks));
    ck_repr(broken, "[True, True, True, True]");
    ck_repr(again, "[True, True, True, True, True]");
    ck_filling(barrier);
    return None;
}

async_def(reset_by_the_last, (Barrier *) barrier, (Value) second, (Value) failed, (Value) third)
{
    await(barrier_wait(barrier));
    if (++got_out == N) {
        await(barrier_reset(barrier));
        await(barrier_wait(barrier));
    } else {
        try {
            await(barrier_wait(barrier));
            list_append(second, true);
        } except (Exception) {
            list_append(failed, true);
        } end_try
    }
    await(barrier_wait(barrier));
    list_append(third, true);
    return None;
}

ASYNC_TEST(BarrierTests__test_reset_barrier_while_tasks_draining)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value second = list(), failed = list(), third = list();
    got_out = 0;
    gather_tasks(N, reset_by_the_last(barrier, second, failed, third));
    ck_repr(second, "[True, True, True, True]");
    ck_repr(failed, "[]");
    ck_repr(third, "[True, True, True, True, True]");
    ck_filling(barrier);
    return None;
}

ASYNC_TEST(BarrierTests__test_abort_barrier)
{
    Barrier *barrier = asyncio_Barrier(1);
    asyncio_create_task(barrier_abort(barrier));
    await(asyncio_sleep(0));
    ck_assert_int_eq(barrier_n_waiting(barrier), 0);
    ck_assert(barrier_broken(barrier));
    return None;
}

async_def(abort_when_half_out, (Barrier *) barrier, (Value) waiting, (Value) blocked)
{
    volatile bool passed = true;
    try {
        await(barrier_wait(barrier));
    } except (BrokenBarrierError) {
        list_append(waiting, true);
        passed = false;
    } end_try
    if (!passed) return None;
    if (++got_out > N / 2) {
        await(barrier_abort(barrier));
        return None;
    }
    try {
        await(barrier_wait(barrier));
    } except (BrokenBarrierError) {
        list_append(blocked, true);
    } end_try
    return None;
}

ASYNC_TEST(BarrierTests__test_abort_barrier_when_tasks_half_draining_half_blocking)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value waiting = list(), blocked = list();
    got_out = 0;
    gather_tasks(N, abort_when_half_out(barrier, waiting, blocked));
    ck_assert(barrier_broken(barrier));
    ck_repr(waiting, "[True, True]");
    ck_repr(blocked, "[True, True]");
    ck_assert_int_eq(barrier_n_waiting(barrier), 0);
    ck_assert(!shows(barrier, "resetting"));
    return None;
}

async_def(middle_one_fails, (Barrier *) barrier, (Value) passed, (Value) broken)
{
    try {
        async_with (i, barrier) {
            if (as_int(i) == N / 2) throw(RuntimeError);
        } end_with
        async_with (barrier) {
            list_append(passed, true);
        } end_with
    } except (BrokenBarrierError) {
        list_append(broken, true);
    } except (RuntimeError) {
        await(barrier_abort(barrier));
    } end_try
    return None;
}

ASYNC_TEST(BarrierTests__test_abort_barrier_when_exception)
{
    Barrier *barrier = asyncio_Barrier(N);
    Value passed = list(), broken = list();
    gather_tasks(N, middle_one_fails(barrier, passed, broken));
    ck_assert(barrier_broken(barrier));
    ck_repr(passed, "[]");
    ck_repr(broken, "[True, True, True, True]");
    ck_assert_int_eq(barrier_n_waiting(barrier), 0);
    return None;
}

async_def(fail_then_reset, (Barrier *) barrier1, (Barrier *) barrier2, (Value) passed, (Value) broken, (Value) again)
{
    await(middle_one_fails(barrier1, passed, broken));
    /* Meet at the second barrier, so that all have left the first one when it is reset, and none enters before. */
    if (as_int(await(barrier_wait(barrier2))) == N / 2) await(barrier_reset(barrier1));
    await(barrier_wait(barrier2));
    await(barrier_wait(barrier1));
    list_append(again, true);
    return None;
}

ASYNC_TEST(BarrierTests__test_abort_barrier_when_exception_then_resetting)
{
    Barrier *barrier1 = asyncio_Barrier(N), *barrier2 = asyncio_Barrier(N);
    Value passed = list(), broken = list(), again = list();
    gather_tasks(N, fail_then_reset(barrier1, barrier2, passed, broken, again));
    ck_repr(passed, "[]");
    ck_repr(broken, "[True, True, True, True]");
    ck_repr(again, "[True, True, True, True, True]");
    ck_filling(barrier1);
    return None;
}
