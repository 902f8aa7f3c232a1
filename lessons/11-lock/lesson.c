/* Lesson 11: one thread, no preemption - and still a race? */
#include "asyncio.h"

static int64_t balance;

async_def(deposit, (int) amount)
{
    int64_t seen = balance;  /* read */
    await(asyncio_sleep(0.1));  /* meanwhile others run */
    balance = seen + amount;  /* write what was true 0.1 s ago */
    return None;
}

async_def(safe_deposit, (int) amount, (Lock *) lock)
{
    async_with (lock) {
        print("in :", amount, "- locked:", lock_locked(lock));
        await(deposit(amount));
        print("out:", amount);
    } end_with
    return None;
}

async_def(main_)
{
    await(asyncio_gather(deposit(10), deposit(20), deposit(30)));
    print("without a lock:", balance);

    balance = 0;
    Lock *lock = asyncio_Lock();
    await(asyncio_gather(
        safe_deposit(10, lock),
        safe_deposit(20, lock),
        safe_deposit(30, lock)));
    print("with a lock:", balance);

    /* A lock is fair: who asked first is served first, and nobody pushes in. */
    await(lock_acquire(lock));
    Task *first = asyncio_create_task(safe_deposit(1, lock));
    await(asyncio_sleep(0));
    lock_release(lock);
    print("released; locked:", lock_locked(lock));
    await(lock_acquire(lock));
    print("main_ has it again, after", balance);
    lock_release(lock);
    await(first);

    /* It does not know who holds it: taking it twice waits for oneself. */
    await(lock_acquire(lock));
    try {
        await(asyncio_wait_for(lock_acquire(lock), 0.2));
    } except (TimeoutError) {
        print("waited for myself");
    } end_try
    lock_release(lock);
    try {
        lock_release(lock);
    } except (RuntimeError, e) {
        print(e);
    } end_try
    return None;
}

int main(void) { asyncio_run(main_()); }
