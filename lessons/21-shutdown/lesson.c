/* Lesson 21: main_ returns. What happens to everything that is still running? */
#include "asyncio.h"

async_gen(numbers)
{
    try {
        for (int i = 1;; i++) yield(i);
    } finally {
        print("  3. generator: closed");
    } end_try
    return None;
}

async_def(background, (const char *) name, (double) needs)
{
    try {
        await(asyncio_sleep(9));
    } except (CancelledError) {
        await(asyncio_sleep(needs));
        print("  2.", name, "was cancelled and has saved its work");
        rethrow;
    } end_try
    return None;
}

async_def(spoiled)
{
    try {
        await(asyncio_sleep(9));
    } finally {
        await(asyncio_sleep(0.3));
        print("  2. spoiled fails while it is being cancelled");
        throw(RuntimeError, "disk full");
    } end_try
    return None;
}

static void report(Loop *loop, const ExceptionReport *what)
{
    (void)loop;
    print("  2. handler:", what->message, "-", repr(what->exception));
}

async_def(main_, (Value) kept)
{
    loop_set_exception_handler(asyncio_get_running_loop(), report);
    asyncio_create_task(background("first", 0.1));
    asyncio_create_task(background("second", 0.2));
    asyncio_create_task(spoiled());
    AsyncGenerator *standing = numbers();
    list_append(kept, standing);  /* or it would be closed when main_ returns */
    await(generator_anext(standing));
    await(asyncio_sleep(0.1));
    print("  1. main_ returns");
    return V("result");
}

async_def(failing)
{
    asyncio_create_task(background("third", 0.1));
    await(asyncio_sleep(0.1));
    throw(ValueError, "main_ failed");
    return None;
}

async_def(nested)
{
    Coroutine *inner = nested();
    try {
        asyncio_run(inner);
    } except (RuntimeError, e) {
        print(" ", e);
    } end_try
    coroutine_close(inner);
    return None;
}

async_def(count_up, (Value) counter)
{
    list_append(counter, len(counter));
    return V(len(counter));
}

int main(void)
{
    Value kept = list();
    print("everything is taken down, in order");
    print("  4. asyncio_run gives", asyncio_run(main_(kept)));

    print("also when main_ fails");
    try {
        asyncio_run(failing());
    } except (ValueError, e) {
        print("  3. asyncio_run raises", repr(e));
    } end_try

    print("one loop at a time");
    asyncio_run(nested());

    print("by hand: a Runner keeps its loop between runs");
    Value counter = list();
    Runner *runner = asyncio_Runner();
    Loop *loop = runner_get_loop(runner);
    print(" ", runner_run(runner, count_up(counter)), runner_run(runner, count_up(counter)));
    runner_close(runner);
    print("  closed?", loop_is_closed(loop));
}
