/* What the tests carried over from CPython 3.13's test suite share.
 *
 * Each bears the name of CPython's class and method, and checks what that method checks; where CPython looks inside by mocks, the
 * same behaviour is observed from outside. A LOOP_TEST is a method of a class whose setUp makes self.loop: it gets a loop
 * of its own, on the virtual clock, not running. LEFT-OUT.md lists the methods that have no test here, and why.
 */
#ifndef CPYTHON_H
#define CPYTHON_H

#include "../testing.h"
#include <unistd.h>

/* A loop whose time passes only when it would sleep. */
__attribute__((unused)) static Loop *new_test_loop(void)
{
    Loop *loop = asyncio_new_event_loop();
    loop_set_virtual_clock(loop, true);
    return loop;
}

/* A method that makes its own loops. Nothing may be left over when they are closed and the test's own names are gone. */
#define SYNC_TEST(name) \
    static void name##_body_(void); \
    TEST(name) { \
        size_t before_ = asyncio_live_objects(); \
        scope name##_body_(); \
        notes_forget_(); \
        ck_assert_msg(asyncio_live_objects() == before_, "%ld objects left over", (long)(asyncio_live_objects() - before_)); } \
    static void name##_body_(void)

#define LOOP_TEST(name) \
    static void name##_on_(Loop *loop); \
    SYNC_TEST(name) { Loop *loop_ = new_test_loop(); name##_on_(loop_); loop_close(loop_); reports_end(loop_); } \
    static void name##_on_(__attribute__((unused)) Loop *loop)

/* test_utils.run_briefly(loop): what is ready runs, and what that makes ready. */
async_def(once_) { return None; }

__attribute__((unused)) static void run_briefly(Loop *loop)
{
    Coroutine *once = once_();
    try { loop_run_until_complete(loop, once); } finally { coroutine_close(once); } end_try
}

/* assertAlmostEqual(seconds, loop.time()): since `began`. */
#define ck_elapsed(loop, began, seconds) ck_assert_double_eq_tol(loop_time(loop) - (began), seconds, 1e-6)

#define ck_same(a, b) ck_assert_ptr_eq((const void *)(a), (const void *)(b))
#define ck_contains(text, part) do { \
        const char *text__ = text, *part__ = part; \
        ck_assert_msg(strstr(text__, part__), "'%s' is not in '%s'", part__, text__); } while (0)

/* An exception handler that only remembers: mock.Mock() as loop.call_exception_handler. */
static struct { int count; char message[200]; Value exception; const void *task, *future, *handle, *loop; } reported;

__attribute__((unused)) static void remember_report(Loop *loop, const ExceptionReport *report)
{
    reported.count++;
    snprintf(reported.message, sizeof reported.message, "%s", report->message ? report->message : "");
    list_append(reported.exception, report->exception);
    reported.task = report->task;
    reported.future = report->future;
    reported.handle = report->handle;
    reported.loop = loop;
}

__attribute__((unused)) static void reports_begin(Loop *loop)
{
    memset(&reported, 0, sizeof reported);
    reported.exception = list();
    loop_set_exception_handler(loop, remember_report);
}

__attribute__((unused)) static Value report_exception(void) { return list_get(reported.exception, -1); }

__attribute__((unused)) static void reports_end(Loop *loop)
{
    loop_set_exception_handler(loop, NULL);
    memset(&reported, 0, sizeof reported);
}

/* What the code writes to stderr: mock.patch('asyncio.base_events.logger'). */
static char logged[8192];

__attribute__((unused)) static int log_begin(FILE **file)
{
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    *file = tmpfile();
    ck_assert(saved >= 0 && *file && dup2(fileno(*file), STDERR_FILENO) >= 0);
    return saved;
}

__attribute__((unused)) static void log_end(FILE *file, int saved)
{
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    logged[fread(logged, 1, sizeof logged - 1, file)] = 0;
    fclose(file);
}

#define logging(...) do { FILE *file_; int saved_ = log_begin(&file_); __VA_ARGS__; log_end(file_, saved_); } while (0)

#endif
