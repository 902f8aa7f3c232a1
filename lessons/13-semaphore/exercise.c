/* Exercise 13: a rate limit.
 *
 * A service accepts at most 3 calls in any 0.5 seconds. Eight calls are made; each answers at once. As it stands all come at +0.0 and five of them
 * are refused:
 *
 *     +0.0 +0.0 +0.0 refused refused refused refused refused
 *     5 refused
 *
 * A semaphore alone does not help: it limits how many are *inside*, and a call that answers at once is never inside for long. So let a call take a
 * permit and give the permit back 0.5 seconds after it began, whether or not the call is over. Wanted:
 *
 *     +0.0 +0.0 +0.0 +0.5 +0.5 +0.5 +1.0 +1.0
 *     0 refused
 *
 * loop_call_later(loop, 0.5, give_back, .arg = V(permits)) does the giving back, and as_semaphore(arg) is the semaphore again in
 * give_back(Value arg), a function of yours. A permit must be given back exactly once.
 */
#include "asyncio.h"

static double start, recent[3];
static int refused;

/* The service: remembers the last three calls and refuses a fourth within 0.5 seconds (with a little patience for slow clocks). */
static Value service(void)
{
    double now = loop_time(asyncio_get_running_loop());
    if (now - recent[0] < 0.49) {
        refused++;
        return V("refused");
    }
    recent[0] = recent[1];
    recent[1] = recent[2];
    recent[2] = now;
    return format("%+.1f", now - start);
}

async_def(call, (Semaphore *) permits)
{
    (void)permits;                                      /* >>> take one, and arrange for its return */
    await(asyncio_sleep(0));
    return service();
}

async_def(main_)
{
    start = loop_time(asyncio_get_running_loop());
    for (int i = 0; i < 3; i++) recent[i] = -INFINITY;
    Semaphore *permits = asyncio_Semaphore(.value = 3);
    Value calls = list();
    for (int i = 0; i < 8; i++) list_append(calls, call(permits));
    Value answers = await(asyncio_gather_list(calls));
    print(list_get(answers, 0), list_get(answers, 1), list_get(answers, 2), list_get(answers, 3),
          list_get(answers, 4), list_get(answers, 5), list_get(answers, 6), list_get(answers, 7));
    print(refused, "refused");
    return None;
}

int main(void) { asyncio_run(main_()); }
