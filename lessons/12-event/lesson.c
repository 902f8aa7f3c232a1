/* Lesson 12: how does one task tell others that something has happened? */
#include "asyncio.h"

async_def(guest, (const char *) name, (Event *) doors_open)
{
    print(name, "waits");
    await(event_wait(doors_open));
    print(name, "goes in");
    return None;
}

/* A shelf, and how many loaves lie on it. Who changes or reads the number holds the
 * condition's lock. */
static int loaves;

static Value enough(Value wanted) { return V((bool)(loaves >= as_int(wanted))); }

async_def(customer, (const char *) name, (int) wanted, (Condition *) shelf)
{
    async_with (shelf) {
        await(condition_wait_for(shelf, enough, V(wanted)));
        loaves -= wanted;
        print(format("%s takes %d, %d left", name, wanted, loaves));
    } end_with
    return None;
}

async_def(baker, (Condition *) shelf)
{
    for (int i = 1; i <= 3; i++) {
        await(asyncio_sleep(0.1));
        async_with (shelf) {
            loaves += 2;
            print("baker brings 2, there are", loaves);
            condition_notify_all(shelf);
        } end_with
    }
    return None;
}

async_def(sleeper, (const char *) name, (Condition *) bell)
{
    async_with (bell) {
        await(condition_wait(bell));
        print(name, "heard the bell");
    } end_with
    return None;
}

async_def(main_)
{
    print("an event");
    Event *doors_open = asyncio_Event();
    Task *anna = asyncio_create_task(guest("anna", doors_open));
    Task *bert = asyncio_create_task(guest("bert", doors_open));
    await(asyncio_sleep(0.1));
    print("is it set?", event_is_set(doors_open));
    event_set(doors_open);
    print("set; nobody has gone in yet");
    await(asyncio_gather(anna, bert));
    await(guest("late cora", doors_open));

    event_clear(doors_open);
    Task *dora = asyncio_create_task(guest("dora", doors_open));
    await(asyncio_sleep(0));
    event_set(doors_open);
    event_clear(doors_open);
    await(dora);

    print("a condition");
    Condition *shelf = asyncio_Condition();
    await(asyncio_gather(
        customer("hotel", 3, shelf),
        customer("child", 1, shelf),
        customer("widow", 2, shelf),
        baker(shelf)));

    print("some, not all");
    Condition *bell = asyncio_Condition();
    Future *sleepers = asyncio_gather(sleeper("emil", bell), sleeper("fritz", bell), sleeper("gerda", bell));
    await(asyncio_sleep(0.1));
    await(condition_acquire(bell));
    condition_notify(bell);
    print("rung for one; the lock is held:", condition_locked(bell));
    condition_release(bell);
    await(asyncio_sleep(0.1));
    async_with (bell) {
        condition_notify(bell, .n = 2);
        print("rung for two");
    } end_with
    await(sleepers);
    return None;
}

int main(void) { asyncio_run(main_()); }
