/* Lesson 07: how do you wait for the first of several, or for each as it comes? */
#include "asyncio.h"

async_def(runner, (const char *) name, (double) seconds)
{
    await(asyncio_sleep(seconds));
    return V(name);
}

static Value race(void)
{
    static const char *const names[] = {"snail", "hare", "dog"};
    static const double seconds[] = {0.5, 0.1, 0.3};
    Value tasks = list();
    for (int i = 0; i < 3; i++)
        list_append(tasks, asyncio_create_task(runner(names[i], seconds[i]), .name = names[i]));
    return tasks;
}

static void show(const char *what, Value tasks)
{
    Value names = list();
    for_in (task, tasks) list_append(names, task_get_name(as_task(task)));
    print(what, names);
}

async_def(main_)
{
    print("the first");
    Value both = await(asyncio_wait(race(), .return_when = FIRST_COMPLETED));
    show("  done:", list_get(both, 0));
    show("  pending:", list_get(both, 1));
    for_in (task, list_get(both, 1)) task_cancel(as_task(task));
    both = await(asyncio_wait(list_get(both, 1)));
    show("  now done, cancelled:", list_get(both, 0));

    print("at most 0.4 seconds");
    both = await(asyncio_wait(race(), .timeout = 0.4));
    show("  done:", list_get(both, 0));
    show("  pending, and still running:", list_get(both, 1));
    print("  the last one, a little later:", await(as_task(list_get(list_get(both, 1), 0))));

    print("each as it comes");
    AsCompleted *finished = asyncio_as_completed(race());
    for (Coroutine *next; (next = as_completed_next(finished)); ) print("  ", await(next));

    print("as they come, the tasks themselves");
    async_for (task, asyncio_as_completed(race()))
        print("  ", task_get_name(as_task(task)), "gave", await(task));
    return None;
}

int main(void) { asyncio_run(main_()); }
