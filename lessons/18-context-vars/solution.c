/* Exercise 18, solved. gather makes a task of each request, and each task got a copy of the context: what it sets, it sets for itself and for
 * whomever it calls.
 */
#include "asyncio.h"

static ContextVar *number;

static int current(void) { return (int)as_int(contextvar_get(number)); }
static void log_(const char *what) { print(format("#%d %s", current(), what)); }

async_def(read_, (double) seconds)
{
    await(asyncio_sleep(seconds));
    log_("reads");
    return None;
}

async_def(request, (int) n, (double) seconds)
{
    contextvar_set(number, n);
    log_("begins");
    await(read_(seconds));
    return None;
}

async_def(main_)
{
    number = context_var("number", .default_value = V(0));
    await(asyncio_gather(request(1, 0.3), request(2, 0.1), request(3, 0.2)));
    print(format("outside: #%d", current()));
    return None;
}

int main(void) { asyncio_run(main_()); }
