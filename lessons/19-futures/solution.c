/* Exercise 19, solved. This is how every callback interface becomes awaitable: make a future, let the callback complete it, await it. */
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
    if (!strncmp(answer, "error", 5)) future_set_exception(as_future(yours), exception_new(OSError, "%s", answer));
    else future_set_result(as_future(yours), answer);
}

async_def(async_scan, (const char *) disk)
{
    Future *future = loop_create_future(asyncio_get_running_loop());
    scan(disk, called_back, V(future));
    return await(future);
}

async_def(main_)
{
    double start = loop_time(asyncio_get_running_loop());
    print(await(async_scan("c:")));
    try {
        print(await(async_scan("x:")));
    } except (OSError, e) {
        print("failed:", e);
    } end_try
    print(format("after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
