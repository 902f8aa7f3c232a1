/* CPython 3.13's test_timeouts.py: timeout() and timeout_at(), each method under its own name.
 *
 * Deadlines are met to the microsecond, because the clock is virtual; where the original keeps the loop busy with time.sleep(),
 * busy() here lets the virtual clock's time really pass before the loop looks at it again.
 */
#include "../testing.h"
#include <time.h>

static double now(void) { return loop_time(asyncio_get_running_loop()); }

static void ck_is(Value e, const ExceptionClass *class)
{
    ck_assert_msg(value_is_exception(e, BaseException), "not an exception: %s", as_str(repr(e)));
    ck_assert_str_eq(exception_type(e)->name, class->name);
}

ASYNC_TEST(TimeoutTests__test_timeout_basic)
{
    Timeout *cm = asyncio_timeout(0.01);
    ck_raises(TimeoutError, async_with (cm) { await(asyncio_sleep(10)); } end_with);
    ck_assert(timeout_expired(cm));
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_at_basic)
{
    double deadline = now() + 0.01;
    Timeout *cm = asyncio_timeout_at(deadline);
    ck_raises(TimeoutError, async_with (cm) { await(asyncio_sleep(10)); } end_with);
    ck_assert(timeout_expired(cm));
    ck_assert_double_eq(timeout_when(cm), deadline);
    ck_assert_double_eq_tol(now(), deadline, 1e-6);
    return None;
}

/* Only the outermost of two with the same deadline raises TimeoutError. */
ASYNC_TEST(TimeoutTests__test_nested_timeouts)
{
    double deadline = now() + 0.01;
    Timeout *cm1 = asyncio_timeout_at(deadline), *cm2 = asyncio_timeout_at(deadline);
    try {
        async_with (cm1) {
            try {
                async_with (cm2) {
                    await(asyncio_sleep(10));
                } end_with
            } except (CancelledError) {
                note("cancelled");
                rethrow;
            } end_try
        } end_with
    } except (TimeoutError) {
        note("timeout");
    } end_try
    ck_notes("cancelled|timeout");
    ck_assert(timeout_expired(cm1));
    ck_assert(timeout_expired(cm2));
    return None;
}

ASYNC_TEST(TimeoutTests__test_waiter_cancelled)
{
    try {
        async_with (asyncio_timeout(0.01)) {
            try {
                await(asyncio_sleep(10));
            } except (CancelledError) {
                note("cancelled");
                rethrow;
            } end_try
        } end_with
    } except (TimeoutError) {
        note("timeout");
    } end_try
    ck_notes("cancelled|timeout");
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_not_called)
{
    Timeout *cm = asyncio_timeout(10);
    async_with (cm) {
        await(asyncio_sleep(0.01));
    } end_with
    ck_assert(!timeout_expired(cm));
    ck_assert_double_gt(timeout_when(cm), now());
    return None;
}

async_def(without_deadline, (Timeout *) cm)
{
    async_with (cm) {
        await(asyncio_sleep(0.01));
    } end_with
    ck_assert(!timeout_expired(cm));
    ck_assert(timeout_when(cm) == NO_TIMEOUT);
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_disabled) { return await(without_deadline(asyncio_timeout(None))); }
ASYNC_TEST(TimeoutTests__test_timeout_at_disabled) { return await(without_deadline(asyncio_timeout_at(None))); }

async_def(expires_at_once, (double) delay, (double) sleep)
{
    double t0 = now();
    Timeout *cm = asyncio_timeout(delay);
    ck_raises(TimeoutError, async_with (cm) { await(asyncio_sleep(sleep)); } end_with);
    ck_assert(timeout_expired(cm));
    ck_assert_double_eq_tol(timeout_when(cm), t0 + delay, 1e-6);
    ck_assert_double_eq_tol(now(), t0, 1e-6);
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_zero) { return await(expires_at_once(0, 10)); }
ASYNC_TEST(TimeoutTests__test_timeout_zero_sleep_zero) { return await(expires_at_once(0, 0)); }
ASYNC_TEST(TimeoutTests__test_timeout_in_the_past_sleep_zero) { return await(expires_at_once(-11, 0)); }

ASYNC_TEST(TimeoutTests__test_foreign_exception_passed)
{
    Timeout *cm = asyncio_timeout(0.01);
    ck_raises(KeyError, async_with (cm) { throw(KeyError); } end_with);
    ck_assert(!timeout_expired(cm));
    return None;
}

/* TimeoutError, from CancelledError, which came while ZeroDivisionError was handled. */
ASYNC_TEST(TimeoutTests__test_timeout_exception_context)
{
    try {
        async_with (asyncio_timeout(0.01)) {
            try {
                throw(ZeroDivisionError);
            } finally {
                await(asyncio_sleep(1));
            } end_try
        } end_with
        ck_abort();
    } except (TimeoutError, e) {
        Value cancelled = exception_cause(e);
        ck_is(cancelled, CancelledError);
        ck_assert_ptr_eq(exception_context(e).object, cancelled.object);
        ck_assert(is_none(exception_cause(cancelled)));
        ck_is(exception_context(cancelled), ZeroDivisionError);
    } end_try
    return None;
}

async_def(crash)
{
    try {
        await(asyncio_sleep(1));
    } finally {
        throw(ZeroDivisionError);
    } end_try
    return None;
}

/* ZeroDivisionError, while TimeoutError was handled, which came from CancelledError. */
ASYNC_TEST(TimeoutTests__test_foreign_exception_on_timeout)
{
    try {
        async_with (asyncio_timeout(0.01)) {
            await(crash());
        } end_with
        ck_abort();
    } except (ZeroDivisionError, e) {
        ck_assert(is_none(exception_cause(e)));
        Value timeout = exception_context(e);
        ck_is(timeout, TimeoutError);
        Value cancelled = exception_cause(timeout);
        ck_is(cancelled, CancelledError);
        ck_assert_ptr_eq(exception_context(timeout).object, cancelled.object);
    } end_try
    return None;
}

/* ZeroDivisionError, while KeyError, while TimeoutError from CancelledError, while ValueError. */
ASYNC_TEST(TimeoutTests__test_foreign_exception_on_timeout_2)
{
    try {
        async_with (asyncio_timeout(0.01)) {
            try {
                try {
                    throw(ValueError);
                } finally {
                    await(asyncio_sleep(1));
                } end_try
            } finally {
                try {
                    throw(KeyError);
                } finally {
                    throw(ZeroDivisionError);
                } end_try
            } end_try
        } end_with
        ck_abort();
    } except (ZeroDivisionError, e) {
        ck_assert(is_none(exception_cause(e)));
        Value key = exception_context(e);
        ck_is(key, KeyError);
        ck_assert(is_none(exception_cause(key)));
        Value timeout = exception_context(key);
        ck_is(timeout, TimeoutError);
        Value cancelled = exception_cause(timeout);
        ck_is(cancelled, CancelledError);
        ck_assert(is_none(exception_cause(cancelled)));
        ck_is(exception_context(cancelled), ValueError);
        ck_assert_ptr_eq(exception_context(timeout).object, cancelled.object);
    } end_try
    return None;
}

ASYNC_TEST(TimeoutTests__test_foreign_cancel_doesnt_timeout_if_not_expired)
{
    Timeout *cm = asyncio_timeout(10);
    ck_raises(CancelledError, async_with (cm) {
        task_cancel(asyncio_current_task());
        await(asyncio_sleep(10));
    } end_with);
    ck_assert(!timeout_expired(cm));
    return None;
}

async_def(times_out)
{
    ck_raises(TimeoutError, async_with (asyncio_timeout(0.001)) { await(asyncio_sleep(10)); } end_with);
    return None;
}

ASYNC_TEST(TimeoutTests__test_outer_task_is_not_cancelled)
{
    Task *task = asyncio_create_task(times_out());
    await(task);
    ck_assert(!task_cancelled(task));
    ck_assert(task_done(task));
    return None;
}

/* Time that passes while the loop cannot look. Those two tests run by the real clock; none of what they check depends on how long it takes. */
static void busy(double seconds) { nanosleep(&(struct timespec){.tv_nsec = (long)(seconds * 1e9)}, NULL); }

async_def(nested_concurrent)
{
    try {
        async_with (asyncio_timeout(0.002)) {
            ck_raises(TimeoutError, async_with (asyncio_timeout(0.1)) {
                busy(0.01);
                await(asyncio_sleep(1));
            } end_with);
            note("inner");
        } end_with
    } except (TimeoutError) {
        note("outer");
    } end_try
    ck_notes("outer");                                  /* what passed the inner one was a CancelledError */
    return None;
}

TEST(TimeoutTests__test_nested_timeouts_concurrent) { asyncio_run(nested_concurrent()); }

async_def(nested_loop_busy)
{
    double t0 = now();
    loop_set_slow_callback_duration(asyncio_get_running_loop(), 10);
    ck_raises(TimeoutError, async_with (asyncio_timeout(0.1)) {
        ck_raises(TimeoutError, async_with (asyncio_timeout(0.01)) {
            busy(0.1);
            await(asyncio_sleep(1));
        } end_with);
        await(asyncio_sleep(10));                       /* the outer one ends this */
    } end_with);
    ck_assert_double_ge(now(), t0);
    ck_assert_double_lt(now(), t0 + 10);
    return None;
}

TEST(TimeoutTests__test_nested_timeouts_loop_busy) { asyncio_run(nested_loop_busy()); }

ASYNC_TEST(TimeoutTests__test_repr_active)
{
    double when;
    int end = 0;
    async_with (cm, asyncio_timeout(10)) {
        const char *text = as_str(repr(cm));
        ck_assert_int_eq(sscanf(text, "<Timeout [active] when=%lf>%n", &when, &end), 1);
        ck_assert_int_eq(end, (int)strlen(text));
        ck_assert_double_eq_tol(when, timeout_when(cm), 0.001);
    } end_with
    return None;
}

ASYNC_TEST(TimeoutTests__test_repr_expired)
{
    Timeout *cm = asyncio_timeout(0.01);
    ck_raises(TimeoutError, async_with (cm) { await(asyncio_sleep(10)); } end_with);
    ck_repr(cm, "<Timeout [expired]>");
    return None;
}

ASYNC_TEST(TimeoutTests__test_repr_finished)
{
    Timeout *cm = asyncio_timeout(10);
    async_with (cm) {
        await(asyncio_sleep(0));
    } end_with
    ck_repr(cm, "<Timeout [finished]>");
    return None;
}

ASYNC_TEST(TimeoutTests__test_repr_disabled)
{
    async_with (cm, asyncio_timeout(None)) {
        ck_repr(cm, "<Timeout [active] when=None>");
    } end_with
    return None;
}

async_def(hand_out_timeout, (double) deadline, (Future *) future)
{
    async_with (cm, asyncio_timeout_at(deadline)) {
        future_set_result(future, cm);
        await(asyncio_sleep(50));
    } end_with
    return None;
}

ASYNC_TEST(TimeoutTests__test_reschedule)
{
    Future *future = loop_create_future(asyncio_get_running_loop());
    double deadline1 = now() + 10, deadline2 = deadline1 + 20;
    Task *task = asyncio_create_task(hand_out_timeout(deadline1, future));
    Timeout *cm = (Timeout *)await(future).object;
    ck_assert_double_eq(timeout_when(cm), deadline1);
    timeout_reschedule(cm, deadline2);
    ck_assert_double_eq(timeout_when(cm), deadline2);
    timeout_reschedule(cm, None);
    ck_assert(timeout_when(cm) == NO_TIMEOUT);
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_assert(!timeout_expired(cm));
    return None;
}

/* The inner timeout, in a finally, has for its context what was being handled there: the outer one's CancelledError. */
ASYNC_TEST(TimeoutTests__test_nested_timeout_in_finally)
{
    Value volatile e1 = None, e2 = None;
    try {
        async_with (asyncio_timeout(0.01)) {
            try {
                await(asyncio_sleep(1));
            } finally {
                try {
                    async_with (asyncio_timeout(0.01)) {
                        await(asyncio_sleep(10));
                    } end_with
                } except (TimeoutError, e) {
                    e2 = keep(e);
                } end_try
            } end_try
        } end_with
    } except (TimeoutError, e) {
        e1 = keep(e);
    } end_try
    Value outer = e1, inner = e2;
    Value e12 = exception_cause(outer);
    ck_is(e12, CancelledError);
    ck_assert(is_none(exception_cause(e12)));
    ck_assert(is_none(exception_context(e12)));
    ck_assert_ptr_eq(exception_context(outer).object, e12.object);
    Value e22 = exception_cause(inner);
    ck_is(e22, CancelledError);
    ck_assert(is_none(exception_cause(e22)));
    ck_assert_ptr_eq(exception_context(e22).object, e12.object);
    ck_assert_ptr_eq(exception_context(inner).object, e22.object);
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_after_cancellation)
{
    try {
        task_cancel(asyncio_current_task());
        await(asyncio_sleep(1));
    } except (CancelledError) {
        note("cancelled");
    } finally {
        ck_raises(TimeoutError, async_with (asyncio_timeout(0.0)) { await(asyncio_sleep(1)); } end_with);
    } end_try
    ck_notes("cancelled");
    return None;
}

ASYNC_TEST(TimeoutTests__test_cancel_in_timeout_after_cancellation)
{
    try {
        task_cancel(asyncio_current_task());
        await(asyncio_sleep(1));
    } except (CancelledError) {
        note("cancelled");
    } finally {
        ck_raises(CancelledError, async_with (asyncio_timeout(1.0)) {
            task_cancel(asyncio_current_task());
            await(asyncio_sleep(2));
        } end_with);
    } end_try
    ck_notes("cancelled");
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_already_entered)
{
    async_with (cm, asyncio_timeout(0.01)) {
        ck_raises_text(RuntimeError, "Timeout has already been entered", async_with (cm) { note("inside"); } end_with);
    } end_with
    ck_notes("");
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_double_enter)
{
    Timeout *cm = asyncio_timeout(0.01);
    async_with (cm) {
        note("once");
    } end_with
    ck_raises_text(RuntimeError, "Timeout has already been entered", async_with (cm) { note("twice"); } end_with);
    ck_notes("once");
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_finished)
{
    Timeout *cm = asyncio_timeout(0.01);
    async_with (cm) {
        note("inside");
    } end_with
    ck_raises_text(RuntimeError, "Cannot change state of finished Timeout", timeout_reschedule(cm, 0.02));
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_expired)
{
    Timeout *cm = asyncio_timeout(0.01);
    ck_raises(TimeoutError, async_with (cm) { await(asyncio_sleep(1)); } end_with);
    ck_raises_text(RuntimeError, "Cannot change state of expired Timeout", timeout_reschedule(cm, 0.02));
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_expiring)
{
    async_with (cm, asyncio_timeout(0.01)) {
        ck_raises(CancelledError, await(asyncio_sleep(1)));
        ck_raises_text(RuntimeError, "Cannot change state of expiring Timeout", timeout_reschedule(cm, 0.02));
    } end_with
    return None;
}

ASYNC_TEST(TimeoutTests__test_timeout_not_entered)
{
    Timeout *cm = asyncio_timeout(0.01);
    ck_raises_text(RuntimeError, "Timeout has not been entered", timeout_reschedule(cm, 0.02));
    return None;
}

static void enter_without_task(Value v)
{
    Timeout *cm = (Timeout *)v.object;
    ck_raises_text(RuntimeError, "Timeout should be used inside a task", async_with (cm) { note("inside"); } end_with);
    note("refused");
}

ASYNC_TEST(TimeoutTests__test_timeout_without_task)
{
    Timeout *cm = asyncio_timeout(0.01);
    loop_call_soon(asyncio_get_running_loop(), enter_without_task, V(cm));
    await(asyncio_sleep(0));
    ck_notes("refused");
    ck_raises_text(RuntimeError, "Timeout has not been entered", timeout_reschedule(cm, 0.02));
    return None;
}

async_def(crash_in_cleanup)
{
    try {
        await(asyncio_sleep(2));
    } finally {
        throw(ZeroDivisionError);
    } end_try
    return None;
}

/* The group is raised while TimeoutError was handled, from CancelledError, while ValueError; and its one member, ZeroDivisionError, while another
 * TimeoutError, from the CancelledError of that task. */
ASYNC_TEST(TimeoutTests__test_timeout_taskgroup)
{
    try {
        async_with (asyncio_timeout(0.01)) {
            async_with (tg, asyncio_TaskGroup()) {
                taskgroup_create_task(tg, crash_in_cleanup());
                try {
                    throw(ValueError);
                } finally {
                    await(asyncio_sleep(1));
                } end_try
            } end_with
        } end_with
        ck_abort();
    } except (ExceptionGroup, group) {
        ck_assert(is_none(exception_cause(group)));
        Value timeout = exception_context(group);
        ck_is(timeout, TimeoutError);
        Value cancelled = exception_cause(timeout);
        ck_is(cancelled, CancelledError);
        ck_assert(is_none(exception_cause(cancelled)));
        ck_is(exception_context(cancelled), ValueError);
        ck_assert_ptr_eq(exception_context(timeout).object, cancelled.object);

        ck_assert_int_eq(len(exception_exceptions(group)), 1);
        Value member = list_get(exception_exceptions(group), 0);
        ck_is(member, ZeroDivisionError);
        ck_assert(is_none(exception_cause(member)));
        Value timeout2 = exception_context(member);
        ck_is(timeout2, TimeoutError);
        Value cancelled2 = exception_cause(timeout2);
        ck_is(cancelled2, CancelledError);
        ck_assert(is_none(exception_context(cancelled2)));
        ck_assert(is_none(exception_cause(cancelled2)));
        ck_assert_ptr_eq(exception_context(timeout2).object, cancelled2.object);
    } end_try
    return None;
}
