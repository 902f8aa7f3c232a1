/* Lesson 05: how do three coroutines run at the same time, and where do their results go? */
#include "asyncio.h"

async_def(speaker, (const char *) name, (double) pause)
{
    for (int i = 1; i <= 5; i++) {
        await(asyncio_sleep(pause));
        print(format("%s- line %d of 5", name, i));
    }
    return format("%s has spoken", name);
}

async_def(main_)
{
    Value results = await(asyncio_gather(
        speaker("3", 0.33),
        speaker("1", 0.10),
        speaker("2", 0.23)));
    print(results);
    return None;
}

int main(void) { asyncio_run(main_()); }
