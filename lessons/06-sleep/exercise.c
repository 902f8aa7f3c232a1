/* Exercise 06: the progress bar that does not move.
 *
 * search() looks at 30 numbers and progress() wants to report every 0.05 seconds how far it is. As it stands the bar never moves:
 *
 *     found 30 numbers
 *     bar: 30
 *
 * One number takes 0.01 seconds: work() below is a computation and cannot be interrupted. (So that the exercise gives the same output on every
 * machine, it only pretends to compute.) Make search() let the others run, once every 10 numbers, in the cheapest way.
 * Then make the bar say 30 as well, and stop by itself. Wanted:
 *
 *     bar: 10
 *     bar: 20
 *     bar: 30
 *     found 30 numbers
 *
 * Where do you put the await, and with which delay? Let progress() do the same at the end of its loop, instead of sleeping 0.05 seconds: then the
 * two take turns.
 */
#include "asyncio.h"

static int looked_at;

static void work(void)
{
    for (volatile int i = 0; i < 10000; i++) { }
    looked_at++;
}

async_def(search)
{
    while (looked_at < 30) work();                      /* >>> let the others run after every 10 numbers */
    return V(looked_at);
}

async_def(progress)
{
    await(asyncio_sleep(0.05));                         /* >>> a loop, until 30 */
    print("bar:", looked_at);
    return None;
}

async_def(main_)
{
    Task *searching = asyncio_create_task(search());
    Task *bar = asyncio_create_task(progress());
    print("found", await(searching), "numbers");        /* >>> the bar first */
    await(bar);
    return None;
}

int main(void) { asyncio_run(main_()); }
