/* Lesson 03: what is an event loop? No coroutine here, only functions that somebody calls. */
#include "asyncio.h"

static Loop *loop;
static int ticks;

static void say(Value what) { print("  ", what); }

static void twice(Value what)
{
    print("  ", what, "and it asks for one more call");
    loop_call_soon(loop, say, .arg = V("the call it asked for"));
}

static void clock_tick(Value what)
{
    print("  ", what, ++ticks);
    if (ticks < 3) loop_call_later(loop, 0.2, clock_tick, .arg = what);
    else loop_stop(loop);
}

int main(void)
{
    loop = asyncio_new_event_loop();

    loop_call_later(loop, 0.3, say, .arg = V("after 0.3 s"));
    loop_call_later(loop, 0.1, say, .arg = V("after 0.1 s"));
    Handle *never = loop_call_at(loop, loop_time(loop) + 0.15, say, .arg = V("never"));
    loop_call_soon(loop, twice, .arg = V("soon, first"));
    loop_call_soon(loop, say, .arg = V("soon, second"));
    loop_call_later(loop, 0.2, clock_tick, .arg = V("tick"));
    handle_cancel(never);

    print("nothing has been called yet");
    loop_run_forever(loop);
    print("stopped; was `never` cancelled?", handle_cancelled(never));
    loop_close(loop);
}
