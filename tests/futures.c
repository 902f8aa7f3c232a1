/* Futures: states, callbacks, misuse, and the reports about results that nobody looked at. */
#include "child.h"

static void noting_done(Future *future, Value arg) { note(arg, repr(V(future))); }
static void only_arg(Future *future, Value arg) { (void)future; note(arg); }
static void silent(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message, repr(report->exception)); }
#define LOOP asyncio_get_running_loop()

ASYNC_TEST(states)
{
    Future *f = loop_create_future(LOOP);
    ck_repr(V(f), "<Future pending>");
    ck_assert(!future_done(f) && !future_cancelled(f) && future_get_loop(f) == LOOP);
    ck_raises_text(InvalidStateError, "Result is not set.", future_result(f));
    ck_raises_text(InvalidStateError, "Exception is not set.", future_exception(f));
    future_set_result(f, list(1));
    ck_assert(future_done(f) && !future_cancelled(f));
    ck_repr(future_result(f), "[1]");
    ck_repr(future_exception(f), "None");
    ck_repr(V(f), "<Future finished result=[1]>");
    ck_raises_text(InvalidStateError, "invalid state", future_set_result(f, 2));
    ck_raises_text(InvalidStateError, "invalid state", future_set_exception(f, ValueError));
    ck_assert(!future_cancel(f));
    return None;
}

ASYNC_TEST(failed)
{
    Future *f = loop_create_future(LOOP);
    future_set_exception(f, exception_new(ValueError, "x"));
    ck_repr(V(f), "<Future finished exception=ValueError('x')>");
    ck_raises_text(ValueError, "x", future_result(f));
    ck_raises_text(ValueError, "x", await(f));
    ck_raises_text(ValueError, "x", await(f));
    ck_repr(future_exception(f), "ValueError('x')");
    f = loop_create_future(LOOP);
    future_set_exception(f, KeyError);                  /* a class is instantiated */
    ck_repr(future_exception(f), "KeyError()");
    return None;
}

ASYNC_TEST(cancelled)
{
    Future *f = loop_create_future(LOOP);
    ck_assert(future_cancel(f, .msg = V("why")));
    ck_assert(!future_cancel(f));
    ck_assert(future_done(f) && future_cancelled(f));
    ck_repr(V(f), "<Future cancelled>");
    ck_raises_text(CancelledError, "why", future_result(f));
    ck_raises_text(CancelledError, "why", future_exception(f));
    ck_raises_text(CancelledError, "why", await(f));
    ck_raises(InvalidStateError, future_set_result(f, 1));
    return None;
}

ASYNC_TEST(wrong_types)
{
    Future *f = loop_create_future(LOOP);
    ck_raises(TypeError, future_set_exception(f, "text"));
    ck_raises(TypeError, future_set_exception(f, 5));
    ck_raises(TypeError, future_set_exception(f, None));
    ck_assert(!future_done(f));
    ck_assert(asyncio_isfuture(f) && !asyncio_isfuture(5) && !asyncio_isfuture(None) && !asyncio_isfuture(list()) && asyncio_isfuture(asyncio_current_task()));
    future_set_exception(f, StopIteration);
    try { future_result(f); ck_abort(); } except (RuntimeError, e) {
        ck_assert_str_eq(as_str(str(e)), "StopIteration interacts badly with generators and cannot be raised into a Future");
        ck_assert(isinstance(exception_cause(e), StopIteration));
    } end_try
    return None;
}

/* As in Python; a queue too, where Python recurses too deep. Each cycle is taken apart: nobody collects it. */
ASYNC_TEST(one_that_holds_itself)
{
    Loop *loop = asyncio_get_running_loop();
    Value box = list();
    Future *future = loop_create_future(loop), *failed = loop_create_future(loop);
    list_append(box, future);
    future_set_result(future, box);
    ck_repr(future, "<Future finished result=[...]>");
    ck_repr(box, "[<Future finished result=[...]>]");
    list_clear(box);
    ck_repr(future, "<Future finished result=[]>");
    Value e = exception_new_args(ValueError, tuple(box));
    future_set_exception(failed, e);
    list_append(box, failed);
    ck_repr(e, "ValueError([<Future finished exception=ValueError([...])>])");
    ck_repr(failed, "<Future finished exception=ValueError([...])>");
    ck_repr(future_exception(failed), "ValueError([<Future finished exception=ValueError([...])>])");
    list_clear(box);
    Queue *queue = asyncio_Queue();
    queue_put_nowait(queue, queue);
    ck_repr(queue, "<Queue maxsize=0 _queue=[...] tasks=1>");
    queue_get_nowait(queue);
    return None;
}

ASYNC_TEST(callbacks_in_order_and_never_at_once)
{
    Future *f = loop_create_future(LOOP);
    for (int i = 0; i < 8; i++) future_add_done_callback(f, only_arg, .arg = V(i));
    future_set_result(f, None);
    ck_notes("");
    future_add_done_callback(f, only_arg, .arg = V("late"));
    ck_notes("");
    await(asyncio_sleep(0));
    ck_notes("0|1|2|3|4|5|6|7|late");
    return None;
}

ASYNC_TEST(callbacks_taken_back)
{
    Future *f = loop_create_future(LOOP);
    for (int i = 0; i < 6; i++) future_add_done_callback(f, only_arg, .arg = V(i % 2));
    future_add_done_callback(f, noting_done, .arg = V(1));
    ck_assert_int_eq(future_remove_done_callback(f, only_arg, .arg = V(1)), 3);
    ck_assert_int_eq(future_remove_done_callback(f, only_arg, .arg = V(1)), 0);
    future_cancel(f);
    await(asyncio_sleep(0));
    ck_notes("0|0|0|1 <Future cancelled>");
    ck_assert_int_eq(future_remove_done_callback(f, only_arg, .arg = V(0)), 0);
    return None;
}

static void adds_another(Future *future, Value arg) { note(arg); if (as_int(arg) < 3) future_add_done_callback(future, adds_another, .arg = V(as_int(arg) + 1)); }

ASYNC_TEST(a_callback_that_adds_a_callback)
{
    Future *f = loop_create_future(LOOP);
    future_add_done_callback(f, adds_another, .arg = V(0));
    future_set_result(f, None);
    for (int i = 0; i < 6; i++) { note("tick"); await(asyncio_sleep(0)); }
    ck_notes("tick|0|tick|1|tick|2|tick|3|tick|tick");
    return None;
}

static void throws(Future *future, Value arg) { (void)future; throw(ValueError, "%s", as_str(arg)); }

ASYNC_TEST(a_callback_that_raises_stops_nobody)
{
    Future *f = loop_create_future(LOOP);
    loop_set_exception_handler(LOOP, silent);
    future_add_done_callback(f, throws, .arg = V("a"));
    future_add_done_callback(f, only_arg, .arg = V("b"));
    future_set_result(f, None);
    await(asyncio_sleep(0));
    ck_notes("Exception in callback throws() ValueError('a')|b");
    return None;
}

async_def(awaits, (Future *) f, (int) id) { try { note(id, await(f)); } except (BaseException, e) { note(id, repr(e)); } end_try return None; }

ASYNC_TEST(many_await_one)
{
    Future *f = loop_create_future(LOOP);
    Value tasks = list();
    for (int i = 0; i < 5; i++) list_append(tasks, asyncio_create_task(awaits(f, i)));
    await(asyncio_sleep(0));
    task_cancel(as_task(list_get(tasks, 2)));           /* this cancels the future itself, and so all who await it */
    await(asyncio_gather_list(tasks));
    ck_notes("0 CancelledError()|1 CancelledError()|2 CancelledError()|3 CancelledError()|4 CancelledError()");
    f = loop_create_future(LOOP);
    list_clear(tasks);
    for (int i = 0; i < 5; i++) list_append(tasks, asyncio_create_task(awaits(f, i)));
    await(asyncio_sleep(0));
    future_set_result(f, "r");
    await(asyncio_gather_list(tasks));
    ck_notes("0 r|1 r|2 r|3 r|4 r");
    return None;
}

ASYNC_TEST(another_loops_future)
{
    Loop *other = asyncio_new_event_loop();
    Future *f = loop_create_future(other);
    try { await(f); ck_abort(); } except (RuntimeError, e) {
        ck_has(as_str(str(e)), "attached to a different loop");
        ck_has(as_str(str(e)), "<Future pending");
    } end_try
    ck_raises_text(ValueError, "The future belongs to a different loop than the one specified as the loop argument", asyncio_ensure_future(f, .loop = LOOP));
    loop_close(other);
    return None;
}

async_def(gives, (int) x) { return V(x); }

ASYNC_TEST(ensure_future)
{
    Future *f = loop_create_future(LOOP);
    ck_assert_ptr_eq(asyncio_ensure_future(f), f);
    Task *task = asyncio_create_task(gives(1));
    ck_assert_ptr_eq((Task *)asyncio_ensure_future(task), task);
    ck_assert_int_eq(as_int(await(asyncio_ensure_future(gives(7)))), 7);
    ck_raises_text(TypeError, "An asyncio.Future, a coroutine or an awaitable is required", asyncio_ensure_future(V(LOOP)));
    ck_raises_text(TypeError, "An asyncio.Future, a coroutine or an awaitable is required", asyncio_ensure_future(V(5)));
    ck_raises_text(TypeError, "An asyncio.Future, a coroutine or an awaitable is required", asyncio_shield(None));
    ck_raises_text(TypeError, "An asyncio.Future, a coroutine or an awaitable is required", asyncio_gather_list(list("x")));
    future_cancel(f);
    await(task);
    return None;
}

ASYNC_TEST(what_is_no_awaitable)
{
    ck_raises_text(TypeError, "object int can't be used in 'await' expression", await(V(5)));
    ck_raises_text(TypeError, "object NoneType can't be used in 'await' expression", await(None));
    ck_raises_text(TypeError, "object list can't be used in 'await' expression", await(list()));
    ck_raises_text(TypeError, "object Lock can't be used in 'await' expression", await(V(asyncio_Lock())));
    ck_raises_text(TypeError, "object NoneType can't be used in 'await' expression", await((Task *)NULL));
    ck_raises_text(TypeError, "object ValueError can't be used in 'await' expression", await(V(ValueError)));
    return None;
}

/* ---- never retrieved ---- */

static void fail_and_forget(Loop *loop, bool look)
{
    scope {
        Future *f = loop_create_future(loop);
        future_set_exception(f, exception_new(ValueError, "forgotten"));
        if (look) future_exception(f);
    }
}

ASYNC_TEST(an_exception_never_retrieved)
{
    loop_set_exception_handler(LOOP, silent);
    fail_and_forget(LOOP, false);
    ck_notes("Future exception was never retrieved ValueError('forgotten')");
    fail_and_forget(LOOP, true);
    ck_notes("");
    scope { Future *f = loop_create_future(LOOP); future_set_exception(f, ValueError); try { future_result(f); } except (ValueError) { } end_try }
    scope { Future *f = loop_create_future(LOOP); future_set_exception(f, ValueError); future_cancel(f); }
    scope { Future *f = loop_create_future(LOOP); future_cancel(f); }
    scope { loop_create_future(LOOP); }
    ck_notes("");
    return None;
}

static void child_never_retrieved(void)
{
    Loop *loop = asyncio_new_event_loop();
    fail_and_forget(loop, false);
    loop_close(loop);
}

TEST(the_text_of_never_retrieved)
{
    Child c = child(child_never_retrieved);
    ck_exited(c, 0);
    ck_assert_str_eq(c.err, "Future exception was never retrieved\nfuture: <Future finished exception=ValueError('forgotten')>\nValueError: forgotten\n");
    child_free(c);
}

static Future *kept_alive;
static void keeps_it(Loop *loop, const ExceptionReport *report) { (void)loop; kept_alive = as_future(keep(report->future)); }

ASYNC_TEST(a_handler_may_keep_the_future_it_is_told_of)
{
    loop_set_exception_handler(LOOP, keeps_it);
    scope { scope { Future *f = loop_create_future(LOOP); future_set_exception(f, exception_new(ValueError, "saved")); } }
    ck_assert_ptr_nonnull(kept_alive);
    ck_repr(future_exception(kept_alive), "ValueError('saved')");
    return None;
}

ASYNC_TEST(the_awaited_by_list)
{
    Future *f = loop_create_future(LOOP), *a = loop_create_future(LOOP), *b = loop_create_future(LOOP), *c = loop_create_future(LOOP);
    asyncio_future_add_to_awaited_by(f, a);
    asyncio_future_add_to_awaited_by(f, b);
    asyncio_future_add_to_awaited_by(f, c);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = f), 2)), 3);
    asyncio_future_discard_from_awaited_by(f, b);
    asyncio_future_discard_from_awaited_by(f, b);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = f), 2)), 2);
    asyncio_future_discard_from_awaited_by(f, c);
    asyncio_future_discard_from_awaited_by(f, a);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = f), 2)), 0);
    return None;
}

ASYNC_TEST(ten_thousand_callbacks)
{
    Future *f = loop_create_future(LOOP);
    for (int i = 0; i < 10000; i++) future_add_done_callback(f, only_arg, .arg = V("x"));
    ck_assert_int_eq(future_remove_done_callback(f, only_arg, .arg = V("x")), 10000);
    future_set_result(f, None);
    await(asyncio_sleep(0));
    ck_notes("");
    return None;
}

TEST(a_closed_loop_wakes_nobody)
{
    size_t before = asyncio_live_objects();
    scope {
        Loop *loop = asyncio_new_event_loop();
        Future *watched = loop_create_future(loop), *plain = loop_create_future(loop);
        future_add_done_callback(watched, only_arg);
        loop_close(loop);
        ck_raises_text(RuntimeError, "Event loop is closed", future_cancel(watched));
        ck_raises_text(RuntimeError, "Event loop is closed", future_set_result(watched, 1));
        ck_assert(future_cancel(plain));
        ck_raises_text(TypeError, "a callable object was expected by add_done_callback(), got NULL", future_add_done_callback(plain, NULL));
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}
