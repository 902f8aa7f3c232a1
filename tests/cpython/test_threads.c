/* CPython's test_threads: to_thread(). */
#include "cpython_io.h"

static Value sum(Value numbers) { int64_t total = 0; for_in (n, numbers) total += as_int(n); return V(total); }
static Value raise_runtime(Value unused) { (void)unused; throw(RuntimeError, "test"); }

static int calls;
static Value called(Value arg) { __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED); return arg; }

NET_TEST(ToThreadTests__test_to_thread)
{
    ck_repr(await(asyncio_to_thread(sum, list(40, 2))), "42");
    return None;
}

NET_TEST(ToThreadTests__test_to_thread_exception)
{
    ck_raises_text(RuntimeError, "test", await(asyncio_to_thread(raise_runtime)));
    return None;
}

NET_TEST(ToThreadTests__test_to_thread_once)
{
    await(asyncio_to_thread(called));
    ck_assert_int_eq(calls, 1);
    return None;
}

NET_TEST(ToThreadTests__test_to_thread_concurrent)
{
    Value all = list();
    for (int i = 0; i < 10; i++) list_append(all, asyncio_to_thread(called));
    await(asyncio_gather_list(all));
    ck_assert_int_eq(calls, 10);
    return None;
}

/* The arguments of a C function are one Value, which may be a tuple. */
NET_TEST(ToThreadTests__test_to_thread_args_kwargs)
{
    ck_repr(await(asyncio_to_thread(called, tuple("test", true))), "('test', True)");
    ck_assert_int_eq(calls, 1);
    return None;
}

static ContextVar *test_ctx;
static Value get_ctx(Value unused) { (void)unused; return contextvar_get(test_ctx); }

NET_TEST(ToThreadTests__test_to_thread_contextvars)
{
    test_ctx = context_var("test_ctx");
    contextvar_set(test_ctx, "parrot");
    ck_repr(await(asyncio_to_thread(get_ctx)), "'parrot'");
    return None;
}
