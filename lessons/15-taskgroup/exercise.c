/* Exercise 15: the half-built house.
 *
 * Three trades work at the same time; when the wall fails, the others should stop at once, for their work is in vain. With gather they go on:
 *
 *     wall: the wall fell over
 *     windows is done
 *     roof is done
 *     wasted: 2
 *
 * Use a TaskGroup. A trade that has been stopped says so, and nothing is wasted:
 *
 *     windows stopped
 *     roof stopped
 *     wall: the wall fell over
 *     wasted: 0
 *
 * Three changes: the group, a handler for CancelledError in trade() (do not swallow it), and except_star in main_. The group hands you an
 * ExceptionGroup; list_get(exception_exceptions(group), 0) is its first exception. Add the tasks in the order of the gather.
 */
#include "asyncio.h"

static int wasted;

async_def(trade, (const char *) name, (double) seconds, (const char *) accident)
{
    await(asyncio_sleep(seconds));                      /* >>> may be cancelled */
    if (accident) throw(RuntimeError, "%s", accident);
    print(name, "is done");
    wasted++;
    return None;
}

async_def(main_)
{
    try {
        await(asyncio_gather(                           /* >>> a group */
            trade("windows", 0.3, NULL),
            trade("wall", 0.1, "the wall fell over"),
            trade("roof", 0.4, NULL)));
    } except (RuntimeError, e) {                        /* >>> except_star */
        print("wall:", e);
    } end_try
    await(asyncio_sleep(0.4));
    print("wasted:", wasted);
    return None;
}

int main(void) { asyncio_run(main_()); }
