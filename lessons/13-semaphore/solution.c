/* Exercise 13, solved. The permit outlives the call: a timer gives it back. So a permit stands for "a call in the last 0.5 seconds". */
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

static void give_back(Value permits) { semaphore_release(as_semaphore(permits)); }

async_def(call, (Semaphore *) permits)
{
    await(semaphore_acquire(permits));
    loop_call_later(asyncio_get_running_loop(), 0.5, give_back, .arg = V(permits));
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
