/* CPython's test_pep492.py. */
#include "cpython.h"

/* ---- LockTests ---------------------------------------------------------------------------------------------------- */

#define CHECK_WITH(kind, Type, locked) \
    async_def(with_##kind, (Type *) lock) { \
        await(asyncio_sleep(0.01)); \
        ck_assert(!locked(lock)); \
        async_with (lock) { \
            ck_assert(locked(lock)); \
            await(asyncio_sleep(0.01)); \
            ck_assert(locked(lock)); \
        } end_with \
        ck_assert(!locked(lock)); \
        note(#kind); \
        return None; }

CHECK_WITH(lock, Lock, lock_locked)
CHECK_WITH(condition, Condition, condition_locked)
CHECK_WITH(semaphore, Semaphore, semaphore_locked)

LOOP_TEST(LockTests__test_context_manager_async_with)
{
    double began = loop_time(loop);
    Lock *lock = asyncio_Lock();
    Condition *condition = asyncio_Condition();
    Semaphore *semaphore = asyncio_Semaphore(), *bounded = asyncio_BoundedSemaphore();
    loop_run_until_complete(loop, with_lock(lock));
    loop_run_until_complete(loop, with_condition(condition));
    loop_run_until_complete(loop, with_semaphore(semaphore));
    loop_run_until_complete(loop, with_semaphore(bounded));
    ck_assert(!lock_locked(lock) && !condition_locked(condition) && !semaphore_locked(semaphore) && !semaphore_locked(bounded));
    ck_notes("lock|condition|semaphore|semaphore");
    ck_elapsed(loop, began, 0.08);
}

/* ---- CoroutineTests ----------------------------------------------------------------------------------------------- */

async_def(bar) { return V("spam"); }
async_def(foo) { return await(bar()); }
async_gen(generates) { yield(1); return None; }

LOOP_TEST(CoroutineTests__test_iscoroutine)
{
    Coroutine *f = foo();
    ck_assert(asyncio_iscoroutine(f));
    coroutine_close(f);
    ck_assert(asyncio_iscoroutine(f));
    ck_assert(!asyncio_iscoroutine("foo"));
}

LOOP_TEST(CoroutineTests__test_iscoroutine_generator) { ck_assert(!asyncio_iscoroutine(generates())); }

LOOP_TEST(CoroutineTests__test_async_def_coroutines)
{
    ck_repr(loop_run_until_complete(loop, foo()), "'spam'");
    loop_set_debug(loop, true);
    ck_repr(loop_run_until_complete(loop, foo()), "'spam'");
}

static Task *observed;

async_def(looks)
{
    Value stack = task_get_stack(observed, .limit = 1);
    ck_assert_int_eq(len(stack), 1);
    note(list_get(list_get(stack, 0), 0));
    return None;
}

async_def(runner)
{
    observed = asyncio_create_task(looks());
    await(observed);
    return None;
}

LOOP_TEST(CoroutineTests__test_task_print_stack)
{
    loop_run_until_complete(loop, runner());
    ck_notes("looks");
}

async_def(afunc) { await(asyncio_sleep(0.1)); return None; }

async_def(awaits_twice)
{
    Coroutine *coro = afunc();
    Task *t = asyncio_create_task(coro);
    try {
        await(asyncio_sleep(0));
        await(coro);
    } finally {
        task_cancel(t);
    } end_try
    return None;
}

LOOP_TEST(CoroutineTests__test_double_await)
{
    loop_set_debug(loop, true);
    ck_raises_text(RuntimeError, "coroutine is being awaited already", loop_run_until_complete(loop, awaits_twice()));
    run_briefly(loop);
}

/* ---- StreamReaderTests ---------------------------------------------------------------------------------------------- */

ASYNC_TEST(StreamReaderTests__test_readline)
{
    static const char data[] = "line1\nline2\nline3";
    StreamReader *reader = asyncio_StreamReader();
    Value lines = list();
    streamreader_feed_data(reader, data, sizeof data - 1);
    streamreader_feed_eof(reader);
    async_for (line, reader) list_append(lines, line);
    ck_repr(lines, "[b'line1\\n', b'line2\\n', b'line3']");
    return None;
}
