/* Exercise 30: who am I?
 *
 * main_ keeps a list of its workers, and each worker looks up in it which number it has. Somebody has read that eager tasks save time and has added the
 * line with the factory. Since then it prints
 *
 *     anna is number 0
 *     bert is number 0
 *     cora is number 0
 *     3 workers have ended
 *
 * Wanted, and the factory stays:
 *
 *     anna is number 1
 *     bert is number 2
 *     cora is number 3
 *     3 workers have ended
 *
 * When does a worker look, and when is it put into the list? Who could put it there in time?
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
    print(name, "is number", my_number());
    await(asyncio_sleep(0.1));
    return None;
}

async_def(main_)
{
    static const char *const names[] = {"anna", "bert", "cora"};
    workers = list();
    loop_set_task_factory(asyncio_get_running_loop(), asyncio_eager_task_factory);
    for (int i = 0; i < 3; i++) list_append(workers, asyncio_create_task(worker(names[i])));  /* >>> too late */
    await(asyncio_gather_list(workers));
    print(len(workers), "workers have ended");
    return None;
}

int main(void) { asyncio_run(main_()); }
