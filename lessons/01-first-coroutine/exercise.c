/* Exercise 01: nothing happens.
 *
 * Somebody wrote this program and wonders why it prints only
 *
 *     <coroutine object count_to at 0x...>
 *     total: 0
 *
 * and warns about something. Read the warning: it names the coroutine and the line. Repair count_to() and main_() so that it prints
 *
 *     1
 *     2
 *     3
 *     total: 6
 *
 * Two changes: wait for what you called, and let the total come back as the coroutine's result instead of a global
 * variable. as_int(v) takes the number out of a Value.
 */
#include "asyncio.h"

static int64_t total;                                   /* >>> should go away */

async_def(count_to, (int) last)
{
    for (int i = 1; i <= last; i++) {
        await(asyncio_sleep(0.1));
        print(i);
        total += i;
    }
    return None;                                        /* >>> return the sum */
}

async_def(main_)
{
    print(count_to(3));                                 /* >>> this makes a coroutine. Who runs it? */
    print("total:", total);
    return None;
}

int main(void) { asyncio_run(main_()); }
