/* Exercise 14: cells that look at each other.
 *
 * Five cells in a row are alive (1) or dead (0). In each generation a cell looks at its neighbours and becomes alive if exactly one of them
 * is. Each cell is a task of its own speed, in looking and in changing. As it stands a fast cell looks at neighbours of the next generation already:
 *
 *     [0, 0, 1, 0, 0]
 *     [0, 1, 1, 1, 0]
 *
 * Two meetings per generation are needed: all have *looked* before anybody *changes*, and all have changed before anybody looks again. Put the
 * barrier where the marks are. Wanted (after two generations):
 *
 *     [0, 0, 1, 0, 0]
 *     [1, 0, 0, 0, 1]
 */
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
    (void)everybody;
    double looking = i * 0.1, changing = i == 4 ? 0.9 : 0.05;
    for (int generation = 0; generation < GENERATIONS; generation++) {
        await(asyncio_sleep(looking));
        int next = alive[i - 1] + alive[i + 1] == 1;
        /* >>> all have looked */
        await(asyncio_sleep(changing));
        alive[i] = next;
        /* >>> all have changed */
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
