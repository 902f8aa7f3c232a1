/* Lesson 23: a signal interrupts anything at any moment. How does it reach a loop in good order? */
#include "asyncio.h"
#include <signal.h>

static Event *stop;
static Queue *wishes;

static void on_wish(Value name)
{
    print("  the loop calls the handler of", name);
    queue_put_nowait(wishes, name);
}

static void on_stop(Value unused)
{
    (void)unused;
    print("  the loop calls on_stop(): asked to stop");
    event_set(stop);
}

async_def(handlers)
{
    Loop *loop = asyncio_get_running_loop();
    wishes = asyncio_Queue();
    loop_add_signal_handler(loop, SIGUSR1, on_wish, .arg = V("SIGUSR1"));
    loop_add_signal_handler(loop, SIGUSR2, on_wish, .arg = V("SIGUSR2"));

    raise(SIGUSR1);
    print("  sent; this task still has the loop, so nobody has been called");
    print("  got", await(queue_get(wishes)));

    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGUSR2);
    print("  sent three more");
    print("  got", await(queue_get(wishes)), "- and", queue_qsize(wishes), "more wait in the queue");
    print("  removed:", loop_remove_signal_handler(loop, SIGUSR1), loop_remove_signal_handler(loop, SIGUSR1));
    return None;
}

async_def(jobs)
{
    for (int job = 1; !event_is_set(stop); job++) {
        print("  job", job, "begins");
        if (job == 2) raise(SIGTERM);  /* somebody wants us to end, in the middle of a job */
        await(asyncio_sleep(0.1));
        print("  job", job, "is done");
    }
    return V("stopped between two jobs");
}

async_def(service)
{
    stop = asyncio_Event();
    loop_add_signal_handler(asyncio_get_running_loop(), SIGTERM, on_stop);
    return await(jobs());
}

async_def(background)
{
    try {
        await(asyncio_sleep(3600));
    } finally {
        print("  background: tidies up too");
    } end_try
    return None;
}

async_def(interrupted)
{
    asyncio_create_task(background());
    try {
        await(asyncio_sleep(0.1));
        raise(SIGINT);  /* what the terminal sends when you press Ctrl-C */
        print("  Ctrl-C; still running, up to the next await");
        await(asyncio_sleep(3600));
        print("  never printed");
    } except (CancelledError, e) {
        print("  main task:", repr(e), "at its await");
        rethrow;
    } finally {
        await(asyncio_sleep(0.1));
        print("  main task: has saved its work");
    } end_try
    return None;
}

async_def(stubborn)
{
    try {
        raise(SIGINT);
        await(asyncio_sleep(3600));
    } except (CancelledError) {
        print("  caught, and not raised again");
    } end_try
    return V("went on");
}

int main(void)
{
    print("a handler is called by the loop, in its turn");
    asyncio_run(handlers());

    print("SIGTERM: finish what you have begun");
    print("  asyncio_run gives", repr(asyncio_run(service())));

    print("Ctrl-C cancels the main task");
    try {
        asyncio_run(interrupted());
    } except (KeyboardInterrupt, e) {
        print("  asyncio_run raises", repr(e));
    } end_try

    print("who swallows the cancellation swallows Ctrl-C");
    print("  asyncio_run gives", repr(asyncio_run(stubborn())));
}
