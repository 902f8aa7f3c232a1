/* Lesson 30: a task begins at the next turn of the loop. What if it began at once? */
#include "asyncio.h"

static Value known;  /* what has been fetched before */

async_def(fetch, (const char *) what)
{
    print("    fetch begins:", what);
    if (list_contains(known, what)) return format("%s, known", what);
    await(asyncio_sleep(0.1));
    list_append(known, what);
    return format("%s, from afar", what);
}

/* A factory is a function that makes the loop's tasks. This one counts them. */

static int64_t made;

static Task *counting_factory(Loop *loop, Coroutine *coro, TaskOptions options)
{
    print("  task number", ++made, "is for", coroutine_name(coro));
    return asyncio_Task(coro, .loop = loop, .name = options.name, .context = options.context);
}

/* Who begins at once runs before its creator has gone on. */

static Task *worker;

async_def(work)
{
    print("    worker is set:", (bool)(worker != NULL));
    print("    current_task() is it:", (bool)(asyncio_current_task() == worker));
    return None;
}

async_def(main_)
{
    Loop *loop = asyncio_get_running_loop();
    known = list();

    print("the usual way");
    Task *task = asyncio_create_task(fetch("map"));
    print("  created; done:", task_done(task));
    print(" ", await(task));

    print("eager, and there is nothing to wait for");
    task = asyncio_create_task(fetch("map"), .eager_start = true);
    print("  created; done:", task_done(task), "- a coroutine is left:", (bool)(task_get_coro(task) != NULL));
    print(" ", await(task));

    print("eager, and it has to wait: from there on it is a task like any other");
    task = asyncio_create_task(fetch("plan"), .eager_start = true);
    print("  created; done:", task_done(task), "- a coroutine is left:", (bool)(task_get_coro(task) != NULL));
    print(" ", await(task));

    print("all of them: a task factory");
    loop_set_task_factory(loop, asyncio_eager_task_factory);
    Future *all = asyncio_gather(fetch("map"), fetch("sea"), fetch("plan"));
    print("  gathered, and nobody has been awaited yet");
    print(" ", await(all));

    print("a factory of our own");
    loop_set_task_factory(loop, counting_factory);
    await(asyncio_gather(fetch("map"), fetch("plan")));
    loop_set_task_factory(loop, NULL);

    print("the price: the next line comes too late");
    worker = asyncio_create_task(work());
    await(worker);
    worker = NULL;
    worker = asyncio_create_task(work(), .eager_start = true);
    await(worker);
    return None;
}

int main(void) { asyncio_run(main_()); }
