/* Exercise 31: those who wait behind somebody else's work.
 *
 * Two reports are being written, each in a thread of the default executor, which has two. They stop: there is no paper, and it will come only after half
 * a second. Meanwhile somebody wants to look up a telephone number. That takes no time at all. But there is no thread left for it, so the program prints
 *
 *     anna has 1234; the paper had come by then: True
 *     written: [1, 2]
 *
 * Wanted:
 *
 *     anna has 1234; the paper had come by then: False
 *     written: [1, 2]
 *
 * More threads would help until there are more reports. Give the reports an executor of their own. (loop_run_in_executor takes it; it gives a Future, which
 * gather takes as well. asyncio_run shuts down the default executor only: yours is yours.)
 */
#include "asyncio.h"
#include <unistd.h>

static int tray[2];                                     /* a pipe: who wants a sheet of paper waits until there is one */
static bool paper_came;

static Value write_report(Value number)
{
    char sheet;
    if (read(tray[0], &sheet, 1) != 1) throw(OSError, "the tray is broken");
    return number;
}

static Value look_up(Value name) { (void)name; return V(1234); }

static void bring_paper(Value sheets)
{
    paper_came = true;
    if (write(tray[1], "..", (size_t)as_int(sheets)) < 0) throw(OSError, "the tray is broken");
}

async_def(main_)
{
    Loop *loop = asyncio_get_running_loop();
    if (pipe(tray) < 0) throw(OSError, "no tray");
    loop_set_default_executor(loop, asyncio_ThreadPoolExecutor(.max_workers = 2));
    loop_call_later(loop, 0.5, bring_paper, .arg = V(2));

    Future *reports = asyncio_gather(                   /* >>> yours */
        asyncio_to_thread(write_report, .arg = V(1)),
        asyncio_to_thread(write_report, .arg = V(2)));
    await(asyncio_sleep(0));
    int64_t number = as_int(await(asyncio_to_thread(look_up, .arg = V("anna"))));
    print(format("anna has %d; the paper had come by then:", (int)number), paper_came);
    print("written:", await(reports));
    return None;
}

int main(void) { asyncio_run(main_()); }
