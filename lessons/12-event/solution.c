/* Exercise 12, solved: the event is "it has happened", the condition is "the number has changed, look again". */
#include "asyncio.h"

static int ready, asked;

static Value both_ready(Value arg) { (void)arg; return V((bool)(ready == 2)); }

async_def(runner, (int) number, (Condition *) marks, (Event *) fired)
{
    async_with (marks) {
        ready++;
        print(number, "is ready");
        condition_notify_all(marks);
    } end_with
    await(event_wait(fired));
    print(number, "runs");
    return None;
}

async_def(starter, (Condition *) marks, (Event *) fired)
{
    async_with (marks) {
        await(condition_wait_for(marks, both_ready, None));
    } end_with
    print("on your marks");
    await(asyncio_sleep(0.3));
    print("bang");
    event_set(fired);
    return None;
}

async_def(main_)
{
    Condition *marks = asyncio_Condition();
    Event *fired = asyncio_Event();
    await(asyncio_gather(runner(1, marks, fired), runner(2, marks, fired), starter(marks, fired)));
    print("asked", asked, "times");
    return None;
}

int main(void) { asyncio_run(main_()); }
