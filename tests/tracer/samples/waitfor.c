/* A timeout that hits, and one that does not. */
#include "asyncio.h"

async_def(fetch, (const char *) what, (double) seconds) {
    print("fetching", what);
    await(asyncio_sleep(seconds));
    return V(what);
}

async_def(main_) {
    Value page = await(asyncio_wait_for(fetch("page", 0.2), 1.0));
    print("got", page);

    Task *slow = asyncio_create_task(fetch("film", 3600), .name = "slow");
    try {
        await(asyncio_wait_for(slow, 0.5));
    } except (TimeoutError) {
        print("timeout!");
    } end_try
    return None;
}

int main(void) {
    asyncio_run(main_());
}
