/* Exercise 15, solved. The group cancels the others as soon as one fails, waits until they have stopped, and raises all failures together. */
#include "asyncio.h"

static int wasted;

async_def(trade, (const char *) name, (double) seconds, (const char *) accident)
{
    try {
        await(asyncio_sleep(seconds));
    } except (CancelledError) {
        print(name, "stopped");
        rethrow;
    } end_try
    if (accident) throw(RuntimeError, "%s", accident);
    print(name, "is done");
    wasted++;
    return None;
}

async_def(main_)
{
    try {
        async_with (group, asyncio_TaskGroup()) {
            taskgroup_create_task(group, trade("windows", 0.3, NULL));
            taskgroup_create_task(group, trade("wall", 0.1, "the wall fell over"));
            taskgroup_create_task(group, trade("roof", 0.4, NULL));
        } end_with
    } except_star (RuntimeError, group) {
        print("wall:", list_get(exception_exceptions(group), 0));
    } end_try
    await(asyncio_sleep(0.4));
    print("wasted:", wasted);
    return None;
}

int main(void) { asyncio_run(main_()); }
