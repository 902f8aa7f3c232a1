/* Lesson 02: await is a call. What makes things run at the same time? */
#include "asyncio.h"

static double start;

static double seconds(void) { return loop_time(asyncio_get_running_loop()) - start; }

async_def(boil, (const char *) what, (double) minutes)
{
    print(format("%.1f  %s: on", seconds(), what));
    await(asyncio_sleep(minutes));
    print(format("%.1f  %s: done", seconds(), what));
    return V(what);
}

async_def(main_)
{
    start = loop_time(asyncio_get_running_loop());

    print("one after the other");
    await(boil("eggs", 0.2));
    await(boil("tea", 0.3));

    print("at the same time");
    Task *eggs = asyncio_create_task(boil("eggs", 0.2), .name = "eggs");
    Task *tea = asyncio_create_task(boil("tea", 0.3), .name = "tea");
    print(format("%.1f  two tasks exist, neither has begun", seconds()));
    print("first", await(eggs));
    print("then", await(tea));

    print("is tea done?", task_done(tea), "its result:", task_result(tea));
    print(format("%.1f  finished", seconds()));
    return None;
}

int main(void) { asyncio_run(main_()); }
