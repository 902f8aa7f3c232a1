/* Exercise 03, solved. */
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
    if (as_int(n) > 0) {
        print(n);
        loop_call_later(loop, 0.1, count, .arg = V(as_int(n) - 1));
    } else {
        print("go!");
        handle_cancel(alarm_clock);
        loop_stop(loop);
    }
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
