/* Lesson 01: what is a coroutine, and when does it run? */
#include "asyncio.h"

async_def(greet, (const char *) name)
{
    print("  greet() begins");
    await(asyncio_sleep(0.5));
    print(format("  hello, %s", name));
    return V("bye");
}

async_def(main_)
{
    print("values:", 1, 2.5, "text", true, None);
    print(list(1, "two", tuple(3.0, None), list()));

    Coroutine *coro = greet("Ada");
    print("made the coroutine; nothing has run yet:", coroutine_name(coro));

    Value answer = await(coro);
    print("it returned", repr(answer));

    print("once more:", await(greet("Grace")));
    return V("main's result");
}

int main(void)
{
    print("before the loop");
    Value result = asyncio_run(main_());
    print("after the loop:", result);
}
