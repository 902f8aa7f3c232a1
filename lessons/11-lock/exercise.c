/* Exercise 11: the cache that fetches everything twice.
 *
 * Three readers want two pages. A page that was fetched once should come from the cache. As it stands everybody fetches for himself:
 *
 *     fetching a
 *     fetching a
 *     fetching b
 *     3 fetches; b got <b>
 *
 * because between looking into the cache and writing to it lies an await. Guard the page, so that it prints
 *
 *     fetching a
 *     fetching b
 *     2 fetches; b got <b>
 *     after 0.2 s
 *
 * and still fetches a and b at the same time: a single lock around everything gives 2 fetches too, but takes 0.4 seconds. There is one lock
 * per page in main_ already; use them with async_with. Look into the cache again once you have the lock.
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
    (void)lock;                                         /* >>> use it */
    if (len(slot) == 0) {
        Value text = await(fetch(page));
        list_append(slot, text);
    }
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
