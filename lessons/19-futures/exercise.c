/* Exercise 19: a library that knows only callbacks.
 *
 * scan() is an old library: it starts a scan and calls you back when the scan is over, with a text that begins with "error" if it failed.
 * main_ uses it as one does with callbacks: it gives a function, and sleeps long enough:
 *
 *     callback: 3 files
 *     callback: error: no such disk
 *     after 1.0 s
 *
 * Write the coroutine async_scan(disk): it makes a Future, lets the callback complete it, and awaits it. Then main_ needs no
 * sleep, and failures are exceptions:
 *
 *     3 files
 *     failed: error: no such disk
 *     after 0.5 s
 *
 * The callback's second parameter is for you: hand the future through. as_future(v) takes it out of the Value again.
 */
#include "asyncio.h"
#include <string.h>

/* ---- the old library; do not change ---- */

typedef void (*ScanCallback)(const char *answer, Value yours);
static ScanCallback scan_callback;
static Value scan_yours;
static const char *scan_answer;

static void scan_over(Value arg)
{
    (void)arg;
    scan_callback(scan_answer, scan_yours);
}

static void scan(const char *disk, ScanCallback callback, Value yours)
{
    scan_callback = callback;
    scan_yours = yours;
    scan_answer = strcmp(disk, "c:") ? "error: no such disk" : "3 files";
    loop_call_later(asyncio_get_running_loop(), strcmp(disk, "c:") ? 0.3 : 0.2, scan_over);
}

/* ---- yours ---- */

static void called_back(const char *answer, Value yours)
{
    (void)yours;                                        /* >>> complete the future, with a result or an exception */
    print("callback:", answer);
}

/* >>> async_def(async_scan, (const char *) disk) { ... } */

async_def(main_)
{
    double start = loop_time(asyncio_get_running_loop());
    scan("c:", called_back, None);                      /* >>> print(await(async_scan("c:"))); */
    await(asyncio_sleep(0.5));
    scan("x:", called_back, None);                      /* >>> the same in a try */
    await(asyncio_sleep(0.5));
    print(format("after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
