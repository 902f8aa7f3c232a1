/* Exercise 18: the request number in the log.
 *
 * Three requests are handled at the same time and share a helper that logs. The number of the request is in a global variable, and the log
 * is wrong:
 *
 *     #1 begins
 *     #2 begins
 *     #3 begins
 *     #3 reads
 *     #3 reads
 *     #3 reads
 *     outside: #3
 *
 * Make `number` a context variable with the default 0, without changing the parameters of anything. Wanted:
 *
 *     #1 begins
 *     #2 begins
 *     #3 begins
 *     #2 reads
 *     #3 reads
 *     #1 reads
 *     outside: #0
 */
#include "asyncio.h"

static int number;                                      /* >>> static ContextVar *number, made in main_ */

static void log_(const char *what) { print(format("#%d %s", number, what)); }

async_def(read_, (double) seconds)
{
    await(asyncio_sleep(seconds));
    log_("reads");
    return None;
}

async_def(request, (int) n, (double) seconds)
{
    number = n;
    log_("begins");
    await(read_(seconds));
    return None;
}

async_def(main_)
{
    await(asyncio_gather(request(1, 0.3), request(2, 0.1), request(3, 0.2)));
    print(format("outside: #%d", number));
    return None;
}

int main(void) { asyncio_run(main_()); }
