/* Lesson 19: what is at the bottom of every await? We build sleep() and Event ourselves. */
#include "asyncio.h"

/* ---- sleep, by hand: a future that a timer completes ---- */

static void ring(Value future) { future_set_result(as_future(future), "slept"); }

async_def(my_sleep, (double) seconds)
{
    Loop *loop = asyncio_get_running_loop();
    Future *future = loop_create_future(loop);
    loop_call_later(loop, seconds, ring, .arg = V(future));
    return await(future);
}

/* ---- Event, by hand: a flag and a line of futures. Here it is a list: [flag, [future, ...]] ---- */

static Value my_event(void) { return list(false, list()); }

async_def(my_event_wait, (Value) event)
{
    if (as_bool(list_get(event, 0))) return None;
    Future *future = loop_create_future(asyncio_get_running_loop());
    list_append(list_get(event, 1), future);
    await(future);
    return None;
}

static void my_event_set(Value event)
{
    list_set(event, 0, true);
    for_in (future, list_get(event, 1)) future_set_result(as_future(future), None);
    list_clear(list_get(event, 1));
}

/* ---- what a future can do ---- */

static void tell(Future *future, Value arg)
{
    print("  callback", arg, "sees", future_result(future));
}

async_def(guest, (const char *) name, (Value) event)
{
    await(my_event_wait(event));
    print(" ", name, "goes in");
    return None;
}

static void fail(Value future)
{
    future_set_exception(as_future(future), exception_new(OSError, "line is dead"));
}

async_def(main_)
{
    Loop *loop = asyncio_get_running_loop();

    print("a sleep of our own");
    print(" ", await(asyncio_gather(my_sleep(0.2), my_sleep(0.1))));

    print("an event of our own");
    Value event = my_event();
    Task *anna = asyncio_create_task(guest("anna", event));
    Task *bert = asyncio_create_task(guest("bert", event));
    await(my_sleep(0.1));
    my_event_set(event);
    print("  set");
    await(asyncio_gather(anna, bert));

    print("a future by itself");
    Future *future = loop_create_future(loop);
    future_add_done_callback(future, tell, .arg = V(1));
    future_add_done_callback(future, tell, .arg = V(2));
    print("  done?", future_done(future));
    future_set_result(future, 42);
    print("  done?", future_done(future), "- the callbacks have not run yet");
    print("  await gives", await(future), "without suspending");
    await(asyncio_sleep(0));

    try {
        future_set_result(future, 43);
    } except (InvalidStateError) {
        print("  only once: InvalidStateError");
    } end_try

    print("it can fail, and it can be cancelled");
    future = loop_create_future(loop);
    loop_call_soon(loop, fail, .arg = V(future));
    try {
        await(future);
    } except (OSError, e) {
        print("  failed:", e);
    } end_try
    future = loop_create_future(loop);
    future_cancel(future);
    print("  cancelled?", future_cancelled(future));

    print("whatever can be awaited becomes a future");
    Coroutine *coro = my_sleep(0.1);
    print("  coroutine?", asyncio_iscoroutine(coro), "future?", asyncio_isfuture(coro));
    future = asyncio_ensure_future(coro);
    print("  coroutine?", asyncio_iscoroutine(future), "future?", asyncio_isfuture(future));
    print("  a second time it stays what it is:", (bool)(asyncio_ensure_future(future) == future));
    future_add_done_callback(future, tell, .arg = V(3));
    print("  callbacks taken back:", future_remove_done_callback(future, tell, .arg = V(3)));
    print(" ", await(future), "- its exception:", future_exception(future), "- its loop is this one:", (bool)(future_get_loop(future) == loop));
    return None;
}

int main(void) { asyncio_run(main_()); }
