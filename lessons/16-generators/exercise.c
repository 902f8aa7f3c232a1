/* Exercise 16: pages of results.
 *
 * A service gives its items in pages of three. As it stands main_ fetches all pages before it looks at the first item, and stops at the first
 * item that is large enough, having fetched too much:
 *
 *     page 0
 *     page 1
 *     page 2
 *     first above 30: 40
 *     3 pages fetched
 *
 * Write items() as an asynchronous generator that fetches a page only when its first item is wanted, and let main_ run through it
 * with async_for and break. Wanted:
 *
 *     page 0
 *     page 1
 *     first above 30: 40
 *     closed after 4 items
 *     2 pages fetched
 *
 * "closed after 4 items" is printed by a finally in items(); so main_ has to close the generator with generator_aclose().
 */
#include "asyncio.h"

static int pages;

async_def(fetch_page, (int) number)
{
    static const int items[3][3] = {{10, 20, 30}, {40, 50, 60}, {70, 80, 90}};
    print("page", number);
    pages++;
    await(asyncio_sleep(0.1));
    return list(items[number][0], items[number][1], items[number][2]);
}

/* >>> async_gen(items) { ... } and an async_for instead of the first loop. */

async_def(main_)
{
    Value items = list();
    for (int page = 0; page < 3; page++) {
        Value some = await(fetch_page(page));
        for_in (item, some) list_append(items, item);
    }
    for_in (item, items) {
        if (as_int(item) > 30) {
            print("first above 30:", item);
            break;
        }
    }
    print(pages, "pages fetched");
    return None;
}

int main(void) { asyncio_run(main_()); }
