/* Exercise 03: a countdown with callbacks only, and an alarm that is switched off.
 *
 * As it stands the program says
 *
 *     3
 *     ring! ring!
 *
 * Make it count 3, 2, 1, go!, a number each 0.1 seconds, and cancel the alarm when it has said "go!", before the alarm rings:
 *
 *     3
 *     2
 *     1
 *     go!
 *     the alarm was cancelled: True
 *
 * There is no loop and no sleep in count(): a callback that wants to go on later asks to be called again. Its state, here n,
 * has to travel in .arg. (This is what programming without coroutines is like.)
 */
#include "asyncio.h"

static Loop *loop;
static Handle *alarm_clock;

static void ring(Value arg)
{
    (void)arg;
    print("ring! ring!");
    loop_stop(loop);
}

static void count(Value n)
{
    print(n);                                           /* >>> call again later with n - 1; at 0 say "go!", cancel, stop */
}

int main(void)
{
    loop = asyncio_new_event_loop();
    alarm_clock = loop_call_later(loop, 0.5, ring);
    loop_call_soon(loop, count, .arg = V(3));
    loop_run_forever(loop);
    if (handle_cancelled(alarm_clock)) print("the alarm was cancelled:", true);
    loop_close(loop);
}
