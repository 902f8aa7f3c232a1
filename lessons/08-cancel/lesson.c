/* Lesson 08: what does cancel() really do? */
#include "asyncio.h"

async_def(sleeper, (const char *) name)
{
    try {
        print(name, "goes to sleep");
        await(asyncio_sleep(9));
    } except (CancelledError, e) {
        print(name, "was told:", e);
        rethrow;
    } finally {
        print(name, "tidies up");
    } end_try
    return None;
}

async_def(stubborn)
{
    try {
        await(asyncio_sleep(9));
    } except (CancelledError) {
        print("stubborn swallows it and goes on; requests left:", task_uncancel(asyncio_current_task()));
    } end_try
    await(asyncio_sleep(0.1));
    return V("finished all the same");
}

async_def(save)
{
    await(asyncio_sleep(0.3));
    print("saved");
    return V("42 bytes");
}

async_def(customer, (Task *) saving)
{
    return await(asyncio_shield(saving));
}

async_def(main_)
{
    print("a request, not an act");
    Task *task = asyncio_create_task(sleeper("anna"));
    await(asyncio_sleep(0.1));
    print("cancel() says", task_cancel(task, .msg = V("time to get up")),
          "- done?", task_done(task), "- requests:", task_cancelling(task));
    try {
        await(task);
    } except (CancelledError, e) {
        print("await raises it here:", e);
    } end_try
    print("cancelled?", task_cancelled(task), "- cancel() again says", task_cancel(task));

    print("before the first step");
    task = asyncio_create_task(sleeper("bert"));
    task_cancel(task);
    await(asyncio_wait(list(task)));
    print("bert never began; cancelled?", task_cancelled(task));

    print("swallowed");
    task = asyncio_create_task(stubborn());
    await(asyncio_sleep(0.1));
    task_cancel(task);
    print(await(task), "- cancelled?", task_cancelled(task));

    print("shielded");
    Task *saving = asyncio_create_task(save());
    task = asyncio_create_task(customer(saving));
    await(asyncio_sleep(0.1));
    task_cancel(task);
    await(asyncio_wait(list(task)));
    print("customer cancelled?", task_cancelled(task), "- saving done?", task_done(saving));
    print("saving gave", await(saving));
    return None;
}

int main(void) { asyncio_run(main_()); }
