/* Exercise 01, solved: count_to(3) only makes the coroutine object; await runs it and gives what it returns. */
#include "asyncio.h"

async_def(count_to, (int) last)
{
    int total = 0;
    for (int i = 1; i <= last; i++) {
        await(asyncio_sleep(0.1));
        print(i);
        total += i;
    }
    return V(total);
}

async_def(main_)
{
    int64_t total = as_int(await(count_to(3)));
    print("total:", total);
    return None;
}

int main(void) { asyncio_run(main_()); }
