/* Coroutines: made, awaited once, closed, thrown away; their arguments. */
#include "child.h"

async_def(gives, (int) x) { await(asyncio_sleep(0)); return V(x); }
async_def(nothing) { return None; }
typedef const char *Names[2];
typedef struct Point { double x, y; } Point;
async_def(twelve, (char) a, (short) b, (int) c, (long) d, (float) e, (double) f, (bool) g, (const char *) h, (Value) i, (Point) j, (void *) k, (Queue *) l) {
    await(asyncio_sleep(0));
    note((int)a, b, c, d, (double)e, f, g, h, i, j.x + j.y, (bool)(k == NULL), queue_qsize(l));
    return None;
}
async_decl(comes_later, (int) x);

ASYNC_TEST(arguments_of_all_types)
{
    Queue *queue = asyncio_Queue();
    queue_put_nowait(queue, 1);
    await(twelve(1, 2, 3, 4, 5.5f, 6.5, true, "h", list("i"), (Point){1, 2}, NULL, queue));
    ck_notes("1 2 3 4 5.5 6.5 True h ['i'] 3.0 True 1");
    ck_assert_int_eq(as_int(await(comes_later(4))), 8);
    return None;
}

async_def(comes_later, (int) x) { return V(2 * x); }

ASYNC_TEST(names_and_texts)
{
    Coroutine *coro = gives(1);
    ck_assert_str_eq(coroutine_name(coro), "gives");
    ck_has(as_str(repr(coro)), "<coroutine object gives at 0x");
    ck_assert(asyncio_iscoroutine(coro) && !asyncio_iscoroutine(5) && !asyncio_iscoroutine(asyncio_current_task()) && !asyncio_iscoroutine(None));
    ck_assert_ptr_eq(as_coroutine(V(coro)), coro);
    await(coro);
    return None;
}

ASYNC_TEST(awaited_twice)
{
    Coroutine *coro = gives(1);
    await(coro);
    ck_raises_text(RuntimeError, "cannot reuse already awaited coroutine", await(coro));
    Task *task = asyncio_create_task(coro);
    ck_raises_text(RuntimeError, "cannot reuse already awaited coroutine", await(task));
    Coroutine *failing = asyncio_wait_for(asyncio_sleep(1), 0.1);
    ck_raises(TimeoutError, await(failing));
    ck_raises_text(RuntimeError, "cannot reuse already awaited coroutine", await(failing));
    return None;
}

async_def(awaits, (Coroutine *) coro) { return await(coro); }

ASYNC_TEST(awaited_while_it_runs)
{
    Coroutine *coro = gives(5);
    Task *first = asyncio_create_task(awaits(coro)), *second = asyncio_create_task(awaits(coro));
    ck_raises_text(RuntimeError, "coroutine is being awaited already", await(second));
    ck_assert_int_eq(as_int(await(first)), 5);
    return None;
}

static Coroutine *itself;
async_def(awaits_itself) { return await(itself); }

ASYNC_TEST(awaits_itself_directly)
{
    itself = awaits_itself();
    ck_raises_text(RuntimeError, "coroutine is being awaited already", await(itself));
    return None;
}

ASYNC_TEST(closed)
{
    Coroutine *coro = gives(1);
    coroutine_close(coro);
    coroutine_close(coro);
    ck_raises_text(RuntimeError, "cannot reuse already awaited coroutine", await(coro));
    Coroutine *running = gives(2);
    Task *task = asyncio_create_task(running);
    await(asyncio_sleep(0));
    ck_raises_text(ValueError, "coroutine already executing", coroutine_close(running));
    ck_assert_int_eq(as_int(await(task)), 2);
    coroutine_close(running);
    return None;
}

static void unused(Coroutine *coro) { (void)coro; }

enum { FORGOTTEN_LINE = __LINE__ + 1 };
async_def(forgotten) { return None; }
static void child_never_awaited(void) { scope { unused(forgotten()); unused(asyncio_sleep(1)); unused(gives(1)); } }

TEST(never_awaited)
{
    Child c = child(child_never_awaited);
    ck_exited(c, 0);
    Value wanted = format("%s:%d: RuntimeWarning: coroutine 'forgotten' was never awaited\n", __FILE__, FORGOTTEN_LINE);
    ck_has(c.err, as_str(wanted));
    ck_has(c.err, "asyncio: RuntimeWarning: coroutine 'asyncio_sleep' was never awaited\n");
    ck_has(c.err, "RuntimeWarning: coroutine 'gives' was never awaited\n");
    child_free(c);
}

static void child_closed_silently(void) { scope { coroutine_close(forgotten()); } }
TEST(closed_without_a_word)
{
    Child c = child(child_closed_silently);
    ck_exited(c, 0);
    ck_assert_str_eq(c.err, "");
    child_free(c);
}

static void callback_awaiting(Value arg) { await(arg); }
static void noting_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->exception); }

ASYNC_TEST(await_in_a_plain_callback)
{
    Loop *loop = asyncio_get_running_loop();
    loop_set_exception_handler(loop, noting_report);
    Coroutine *coro = nothing();
    loop_call_soon(loop, callback_awaiting, .arg = V(coro));
    await(asyncio_sleep(0));
    await(coro);
    ck_notes("await outside a task: this is a plain callback");
    return None;
}

TEST(await_without_a_loop)
{
    Coroutine *coro = nothing();
    ck_raises_text(RuntimeError, "await outside a task: no event loop is running", await(coro));
    coroutine_close(coro);
    Loop *loop = asyncio_new_event_loop();
    ck_raises_text(RuntimeError, "await outside a task: no event loop is running", await(loop_create_future(loop)));
    loop_close(loop);
}

async_def(plain_value) { return list(1, 2); }

ASYNC_TEST(a_coroutine_that_never_suspends_lets_nobody_in)
{
    Task *task = asyncio_create_task(nothing());
    for (int i = 0; i < 100; i++) await(plain_value());
    ck_assert(!task_done(task));
    await(task);
    return None;
}

async_def(fibonacci, (int) n) { if (n < 2) return V(n); return V(as_int(await(fibonacci(n - 1))) + as_int(await(fibonacci(n - 2)))); }

ASYNC_TEST(recursion)
{
    ck_assert_int_eq(as_int(await(fibonacci(15))), 610);
    return None;
}

ASYNC_TEST(awaits_in_expressions)
{
    Value sum = V(as_int(await(gives(1))) + as_int(await(gives(2))) * as_int(await(gives(3))));
    ck_assert_int_eq(as_int(sum), 7);
    ck_repr(list(await(gives(1)), await(nothing()), await(plain_value())), "[1, None, [1, 2]]");
    if (as_int(await(gives(0)))) ck_abort();
    Value held = V(gives(9));
    ck_assert_int_eq(as_int(await(held)), 9);
    return None;
}
