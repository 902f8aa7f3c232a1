/* Lesson 16: how does a coroutine produce many values, one at a time, with pauses in between? */
#include "asyncio.h"

async_gen(countdown, (int) from)
{
    try {
        for (int i = from; i > 0; i--) {
            await(asyncio_sleep(0.1));
            yield(i);
        }
    } finally {
        print("  countdown is closed");
    } end_try
    return None;
}

async_gen(adder)
{
    int64_t total = 0;
    for (;;) {
        Value sent = yield(total);
        if (!is_none(sent)) total += as_int(sent);
    }
    return None;
}

async_gen(patient)
{
    for (volatile int i = 1;; i++) {
        try {
            yield((int)i);
        } except (ValueError, e) {
            print("  patient has caught:", e);
        } end_try
    }
    return None;
}

/* The same as countdown(), by hand: an object with __anext__. Its state is a list with one number. */
async_def(dice_next, (Value) state)
{
    int64_t left = as_int(list_get(state, 0));
    if (left == 0) throw(StopAsyncIteration);
    list_set(state, 0, left - 1);
    await(asyncio_sleep(0.1));
    return format("%d left", (int)left - 1);
}

static Coroutine *dice_anext(Value self) { return dice_next(self); }

async_def(main_)
{
    print("a generator");
    async_for (i, countdown(3)) print("  ", i);

    print("left early");
    AsyncGenerator *count = countdown(9);
    async_for (i, count) {
        print("  ", i);
        if (as_int(i) == 8) break;
    }
    await(generator_aclose(count));

    print("one by one, until the end");
    count = countdown(1);
    print("  ", await(generator_anext(count)));
    try {
        await(generator_anext(count));
    } except (StopAsyncIteration) {
        print("  no more");
    } end_try

    print("values go in, too");
    AsyncGenerator *sum = adder();
    await(generator_anext(sum));
    await(generator_asend(sum, 10));
    print("  ", await(generator_asend(sum, 5)));

    print("and exceptions");
    AsyncGenerator *calm = patient();
    print("  ", await(asyncio_anext(calm)));
    print("  ", await(generator_athrow(calm, exception_new(ValueError, "a complaint"))));
    try {
        await(generator_athrow(calm, exception_new(KeyError, "too much")));
    } except (KeyError, e) {
        print("  not caught there:", e);
    } end_try

    print("an iterator by hand");
    async_for (text, asyncio_iterator(dice_anext, list(2))) print("  ", text);

    print("comprehensions");
    print("  ", async_list(i, countdown(4), as_int(i) * as_int(i)));
    print("  ", async_list(i, countdown(4), i, as_int(i) % 2 == 0));
    Value sleeps = list(asyncio_sleep(0.1, .result = V("a")), asyncio_sleep(0.1, .result = V("b")));
    print("  ", async_list_await(sleeps));
    return None;
}

int main(void) { asyncio_run(main_()); }
