/* Exercise 31, solved. Who may block for long gets threads of its own, so that the default executor stays free for what is short. The shutdown does not
 * block here: both reports are written.
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

    Executor *writers = asyncio_ThreadPoolExecutor(.max_workers = 2);
    Future *reports = asyncio_gather(
        loop_run_in_executor(loop, writers, write_report, .arg = V(1)),
        loop_run_in_executor(loop, writers, write_report, .arg = V(2)));
    await(asyncio_sleep(0));
    int64_t number = as_int(await(asyncio_to_thread(look_up, .arg = V("anna"))));
    print(format("anna has %d; the paper had come by then:", (int)number), paper_came);
    print("written:", await(reports));
    executor_shutdown(writers);
    return None;
}

int main(void) { asyncio_run(main_()); }
