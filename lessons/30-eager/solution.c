/* Exercise 30, solved. An eager worker runs inside create_task(), so nobody outside can do anything for it before it begins. It puts itself into the list:
 * current_task() is known from its first line on. The list also holds it while it runs.
 */
#include "asyncio.h"

static Value workers;

static int my_number(void)
{
    for (int i = 0; i < len(workers); i++)
        if (as_task(list_get(workers, i)) == asyncio_current_task()) return i + 1;
    return 0;
}

async_def(worker, (const char *) name)
{
    list_append(workers, asyncio_current_task());
    print(name, "is number", my_number());
    await(asyncio_sleep(0.1));
    return None;
}

async_def(main_)
{
    static const char *const names[] = {"anna", "bert", "cora"};
    workers = list();
    loop_set_task_factory(asyncio_get_running_loop(), asyncio_eager_task_factory);
    for (int i = 0; i < 3; i++) asyncio_create_task(worker(names[i]));
    await(asyncio_gather_list(workers));
    print(len(workers), "workers have ended");
    return None;
}

int main(void) { asyncio_run(main_()); }
