/* Exercise 04, solved. `finally` runs however the block is left. The clause that comes first and fits wins, so the special
 * one stands first; what is neither goes on to whoever called. Note that CancelledError would pass both: it is no Exception.
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
    try {
        await(work(what));
    } finally {
        open_doors--;
        print("close", visitor);
    } end_try
    return None;
}

async_def(main_)
{
    Value whats = list(1, exception_new(TimeoutError, "waited too long"), "one");
    for (int i = 0; i < len(whats); i++) {
        try {
            await(visit(i + 1, list_get(whats, i)));
        } except (TimeoutError, e) {
            print(format("visitor %d:", i + 1), repr(e));
        } except (Exception, e) {
            print(format("visitor %d is a bug:", i + 1), repr(e));
        } end_try
    }
    print(open_doors, "doors left open");
    return None;
}

int main(void) { asyncio_run(main_()); }
