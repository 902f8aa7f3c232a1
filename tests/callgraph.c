/* The call graph in its three forms; and looking at a loop from outside: its tasks, the contexts of its handles, its clock. */
#include "testing.h"

static Loop *running(void) { return asyncio_get_running_loop(); }
static void nothing(Value v) { (void)v; }

async_def(leaf, (Future *) future) { return await(future); }
async_def(middle, (Future *) future) { return await(leaf(future)); }
async_def(outermost, (Future *) gathered) { return await(gathered); }

/* The text without what differs from run to run: addresses, files and lines. */
static Value plain(const char *at)
{
    char out[4096], *to = out;
    while (*at) {
        if (!strncmp(at, "id=0x", 5)) { to = stpcpy(to, "id=*"); at = strchr(at, ')'); }
        else if (!strncmp(at, "File '", 6)) at = strstr(at, "in async");
        else *to++ = *at++;
    }
    *to = 0;
    return V(out);
}

/* inner waits for a future, two coroutines deep; outer for a gather of inner. */
static Future *future;
static Task *inner, *outer;

async_def(build)
{
    future = loop_create_future(running());
    inner = asyncio_create_task(middle(future), .name = "inner");
    outer = asyncio_create_task(outermost(asyncio_gather(inner)), .name = "outer");
    keep(future);
    await(asyncio_sleep(0));
    return tuple(future, inner, outer);
}

static const char graph_of_inner[] =
    "* Task(name='inner', id=*)\n"
    "  + Call stack:\n"
    "  |   in async leaf()\n"
    "  |   in async middle()\n"
    "  + Awaited by:\n"
    "    * Future(id=*)\n"
    "      + Awaited by:\n"
    "        * Task(name='outer', id=*)\n"
    "          + Call stack:\n"
    "          |   in async outermost()";

ASYNC_TEST(format_call_graph)
{
    await(build());
    const char *text = as_str(plain(as_str(asyncio_format_call_graph(.future = inner))));
    ck_assert_str_eq(text, graph_of_inner);
    text = as_str(asyncio_format_call_graph(.future = inner, .limit = 1));
    ck_assert(strstr(text, "async leaf()") && !strstr(text, "async middle()"));
    text = as_str(asyncio_format_call_graph());
    ck_assert(strstr(text, "async format_call_graph()"));
    future_set_result(future, None);
    await(outer);
    text = as_str(asyncio_format_call_graph(.future = inner));
    ck_assert(!strstr(text, "Awaited by"));
    return None;
}

ASYNC_TEST(print_call_graph)
{
    char *text = NULL;
    size_t size = 0;
    await(build());
    FILE *file = open_memstream(&text, &size);
    asyncio_print_call_graph(.future = inner, .file = file);
    fclose(file);
    Value printed = plain(text);
    free(text);
    ck_assert_int_eq(strncmp(as_str(printed), graph_of_inner, strlen(graph_of_inner)), 0);
    future_set_result(future, None);
    await(outer);
    return None;
}

ASYNC_TEST(capture_call_graph)
{
    await(build());
    Value graph = asyncio_capture_call_graph(.future = inner);
    Value frames = list_get(graph, 1), gathered = list_get(list_get(graph, 2), 0);
    ck_assert_ptr_eq(as_task(list_get(graph, 0)), inner);
    ck_assert_int_eq(len(frames), 2);
    ck_repr(list_get(list_get(frames, 0), 0), "'leaf'");
    ck_repr(list_get(list_get(frames, 1), 0), "'middle'");
    ck_assert_ptr_eq(as_task(list_get(list_get(list_get(gathered, 2), 0), 0)), outer);
    future_set_result(future, None);
    await(outer);
    return None;
}

ASYNC_TEST(awaited_by_can_be_told)
{
    Future *waited = loop_create_future(running()), *waiter = loop_create_future(running());
    asyncio_future_add_to_awaited_by(waited, waiter);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = waited), 2)), 1);
    asyncio_future_discard_from_awaited_by(waited, waiter);
    asyncio_future_discard_from_awaited_by(waited, waiter);
    ck_assert_int_eq(len(list_get(asyncio_capture_call_graph(.future = waited), 2)), 0);
    return None;
}

ASYNC_TEST(tasks_of_a_loop)
{
    Loop *other = asyncio_new_event_loop();
    Task *task = asyncio_create_task(asyncio_sleep(1));
    ck_assert(list_contains(asyncio_all_tasks(), task));
    ck_assert_int_eq(len(asyncio_all_tasks(.loop = running())), 2);
    ck_assert_int_eq(len(asyncio_all_tasks(.loop = other)), 0);
    ck_assert_ptr_eq(asyncio_current_task(.loop = running()), asyncio_current_task());
    ck_assert_ptr_null(asyncio_current_task(.loop = other));
    await(task);
    ck_assert(!list_contains(asyncio_all_tasks(), task));
    loop_close(other);
    return None;
}

ASYNC_TEST(the_context_of_a_handle)
{
    ContextVar *var = context_var("var");
    contextvar_set(var, "then");
    Context *given = asyncio_copy_context();
    contextvar_set(var, "now");
    Handle *with = loop_call_soon(running(), nothing, .context = given), *without = loop_call_later(running(), 1, nothing);
    contextvar_set(var, "later");
    ck_assert_ptr_eq(handle_get_context(with), given);
    ck_repr(context_get(handle_get_context(without), var, None), "'now'");
    handle_cancel(without);
    return None;
}

async_def(return_one) { return V(1); }

/* run() takes what can be awaited, a coroutine in a Value too. */
TEST(run_takes_any_awaitable)
{
    Value coro = V(return_one());
    ck_repr(asyncio_run(coro), "1");
    ck_raises(TypeError, asyncio_run(V(1)));
    ck_raises(ValueError, asyncio_run(V(asyncio_Lock())));
}

/* The clock of a loop goes on and never back. */
TEST(time_goes_on)
{
    Loop *loop = asyncio_new_event_loop();
    double last = loop_time(loop);
    for (int i = 0; i < 1000; i++) {
        double now = loop_time(loop);
        ck_assert_double_ge(now, last);
        last = now;
    }
    loop_close(loop);
}
