/* Exercise 11, solved. The second reader of a waits at the lock; when he has it the page is there. Reading and writing the slot now lie in
 * one critical section, and pages do not wait for each other.
 */
#include "asyncio.h"

static int fetches;

async_def(fetch, (const char *) page)
{
    print("fetching", page);
    fetches++;
    await(asyncio_sleep(0.2));
    return format("<%s>", page);
}

async_def(read_page, (const char *) page, (Value) slot, (Lock *) lock)
{
    async_with (lock) {
        if (len(slot) == 0) {
            Value text = await(fetch(page));
            list_append(slot, text);
        }
    } end_with
    return list_get(slot, 0);
}

async_def(main_)
{
    double start = loop_time(asyncio_get_running_loop());
    Value slot_a = list(), slot_b = list();             /* empty, or the text of the page */
    Lock *lock_a = asyncio_Lock(), *lock_b = asyncio_Lock();
    Value texts = await(asyncio_gather(read_page("a", slot_a, lock_a), read_page("a", slot_a, lock_a), read_page("b", slot_b, lock_b)));
    print(format("%d fetches; b got %s", fetches, as_str(list_get(texts, 2))));
    if (fetches == 2) print(format("after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
