/* CPython's test_futures2.py. */
#include "cpython.h"

static int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* ---- FutureTests -------------------------------------------------------------------------------------------------- */

async_def(raises_type_error) { throw(TypeError, "42"); }

/* The traceback of a task's exception says where it is awaited now, not each place where it ever was; and to who awaits
 * it first, where it was raised. */
ASYNC_TEST(FutureTests__test_future_traceback)
{
    Task *future = asyncio_create_task(raises_type_error());
    for (int i = 0; i < 5; i++) {
        volatile bool raised = false;
        try {
            await(future);
        } except (TypeError, e) {
            raised = true;
            logging(exception_print(e, stderr));
            ck_assert_int_eq(occurrences(logged, "in FutureTests__test_future_traceback\n"), 1);
            ck_assert_int_eq(occurrences(logged, "in raises_type_error\n"), i == 0);
        } end_try
        ck_assert(raised);
    }
    return None;
}

/* The exception handler runs in the context of what failed. */

static ContextVar *name;

static void note_name(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    (void)report;
    note("handler", contextvar_get(name));
}

async_def(sets_and_fails) { contextvar_set(name, "bar"); throw(ZeroDivisionError); }

ASYNC_TEST(FutureTests__test_task_exc_handler_correct_context)
{
    name = context_var("name", .default_value = V("foo"));
    loop_set_exception_handler(asyncio_get_running_loop(), note_name);
    scope {
        asyncio_create_task(sets_and_fails());
        await(asyncio_sleep(0));
    }
    ck_notes("handler bar");
    ck_repr(contextvar_get(name), "'foo'");
    return None;
}

static void set_and_fail(Value arg)
{
    (void)arg;
    contextvar_set(name, "bar");
    throw(ZeroDivisionError);
}

ASYNC_TEST(FutureTests__test_handle_exc_handler_correct_context)
{
    Loop *loop = asyncio_get_running_loop();
    name = context_var("name", .default_value = V("foo"));
    loop_set_exception_handler(loop, note_name);
    loop_call_soon(loop, set_and_fail);
    await(asyncio_sleep(0));
    ck_notes("handler bar");
    ck_repr(contextvar_get(name), "'foo'");
    return None;
}

/* ---- FutureReprTests ---------------------------------------------------------------------------------------------- */

async_def(all_tasks) { return asyncio_all_tasks(); }

/* A task whose result contains the task itself. */
ASYNC_TEST(FutureReprTests__test_recursive_repr_for_pending_tasks)
{
    Value waiter = await(asyncio_wait_for(asyncio_create_task(all_tasks()), 10));
    ck_contains(as_str(repr(waiter)), "...");
    list_clear(waiter);
    return None;
}
