/* Exercise 16, solved. The generator stands still at its yield until somebody wants the next item. Breaking out of async_for leaves it standing
 * there; aclose() raises GeneratorExit at that yield, and the finally runs. (`seen` changes inside try and is read in finally: volatile.)
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

async_gen(items)
{
    volatile int seen = 0;
    try {
        for (int page = 0; page < 3; page++) {
            Value some = await(fetch_page(page));
            for_in (item, some) {
                seen++;
                yield(item);
            }
        }
    } finally {
        print("closed after", (int)seen, "items");
    } end_try
    return None;
}

async_def(main_)
{
    AsyncGenerator *all = items();
    async_for (item, all) {
        if (as_int(item) > 30) {
            print("first above 30:", item);
            break;
        }
    }
    await(generator_aclose(all));
    print(pages, "pages fetched");
    return None;
}

int main(void) { asyncio_run(main_()); }
