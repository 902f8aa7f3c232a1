/* Lesson 06: what does sleep promise, and what does one greedy task do to the others? */
#include "asyncio.h"

static double start;

static double seconds(void) { return loop_time(asyncio_get_running_loop()) - start; }

async_def(alarm_, (double) delay)
{
    await(asyncio_sleep(delay));
    print(format("%.1f  alarm set for %.1f", seconds(), delay));
    return None;
}

async_def(counter, (const char *) name, (bool) polite)
{
    for (int i = 1; i <= 3; i++) {
        print(name, i);
        if (polite) await(asyncio_sleep(0));
    }
    return None;
}

async_def(main_)
{
    start = loop_time(asyncio_get_running_loop());

    print("alarms ring by time, not by creation");
    await(asyncio_gather(alarm_(0.3), alarm_(0.1), alarm_(0.2)));

    print("greedy");
    await(asyncio_gather(counter("a", false), counter("b", false)));
    print("polite");
    await(asyncio_gather(counter("a", true), counter("b", true)));

    print("sleep gives back a result:", await(asyncio_sleep(0.1, .result = V("good morning"))));

    print("a task that never awaits");
    Task *alarm_task = asyncio_create_task(alarm_(0.1));
    await(asyncio_sleep(0));
    Value squares = list();
    for (int64_t i = 1; i <= 5; i++) list_append(squares, i * i);
    print("computed", squares, "- has the alarm rung?", task_done(alarm_task));
    await(alarm_task);
    return None;
}

int main(void) { asyncio_run(main_()); }
