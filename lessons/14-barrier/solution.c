/* Exercise 14, solved. One barrier serves both meetings: when all have left it, it starts anew. */
#include "asyncio.h"

enum { CELLS = 5, GENERATIONS = 2 };
static int alive[CELLS + 2] = {0, 0, 0, 1, 0, 0, 0};    /* with a dead one at both ends */

static Value row(void)
{
    Value cells = list();
    for (int i = 1; i <= CELLS; i++) list_append(cells, alive[i]);
    return cells;
}

async_def(cell, (int) i, (Barrier *) everybody)
{
    double looking = i * 0.1, changing = i == 4 ? 0.9 : 0.05;
    for (int generation = 0; generation < GENERATIONS; generation++) {
        await(asyncio_sleep(looking));
        int next = alive[i - 1] + alive[i + 1] == 1;
        await(barrier_wait(everybody));
        await(asyncio_sleep(changing));
        alive[i] = next;
        await(barrier_wait(everybody));
    }
    return None;
}

async_def(main_)
{
    print(row());
    Barrier *everybody = asyncio_Barrier(CELLS);
    Value cells = list();
    for (int i = 1; i <= CELLS; i++) list_append(cells, cell(i, everybody));
    await(asyncio_gather_list(cells));
    print(row());
    return None;
}

int main(void) { asyncio_run(main_()); }
