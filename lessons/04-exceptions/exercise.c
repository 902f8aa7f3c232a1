/* Exercise 04: the door stays open.
 *
 * A visitor enters a room, and whatever happens inside, the door must be closed behind him. It is not: somebody put the closing after the
 * work, where an exception skips it. And main_() catches too much, so the typing error of visitor 3 looks like bad luck.
 *
 *     enter 1
 *     close 1
 *     enter 2
 *     bad luck
 *     enter 3
 *     bad luck
 *     2 doors left open
 *
 * Wanted:
 *
 *     enter 1
 *     close 1
 *     enter 2
 *     close 2
 *     visitor 2: TimeoutError('waited too long')
 *     enter 3
 *     close 3
 *     visitor 3 is a bug: TypeError('expected int, got str')
 *     0 doors left open
 *
 * Use finally in visit(). In main_() write two except clauses: the first for TimeoutError, which visitors may expect, the second for every other
 * Exception, which is a bug. The special one comes first: an except clause for a class also catches its children. repr(e) is what is
 * printed behind the colon.
 */
#include "asyncio.h"

static int open_doors;

async_def(work, (Value) what)
{
    await(asyncio_sleep(0.1));
    if (isinstance(what, BaseException)) throw(what);
    return V(as_int(what) + 1);
}

async_def(visit, (int) visitor, (Value) what)
{
    print("enter", visitor);
    open_doors++;
    await(work(what));
    open_doors--;                                       /* >>> must happen in any case */
    print("close", visitor);
    return None;
}

async_def(main_)
{
    Value whats = list(1, exception_new(TimeoutError, "waited too long"), "one");
    for (int i = 0; i < len(whats); i++) {
        try {
            await(visit(i + 1, list_get(whats, i)));
        } except (BaseException) {                      /* >>> too much */
            print("bad luck");
        } end_try
    }
    print(open_doors, "doors left open");
    return None;
}

int main(void) { asyncio_run(main_()); }
