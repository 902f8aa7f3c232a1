/* CPython's test_events.py: what is not about sockets and processes. */
#define _GNU_SOURCE
#include "cpython.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>

async_def(noop) { return None; }
static void nothing(Value arg) { (void)arg; }
static void note_it(Value v) { note(v); }
static void stop_it(Value loop) { loop_stop((Loop *)loop.object); }

static void run_once(Loop *loop)
{
    loop_call_soon(loop, stop_it, .arg = V(loop));
    loop_run_forever(loop);
}

/* ---- EventLoopTestsMixin: running ---------------------------------------------------------------------------------- */

async_def(yields) { await(asyncio_sleep(0)); return None; }

async_def(nests)
{
    Loop *loop = asyncio_get_running_loop();
    ck_assert(loop_is_running(loop));
    return loop_run_until_complete(loop, yields());
}

LOOP_TEST(EventLoopTestsMixin__test_run_until_complete_nesting)
{
    ck_raises_text(RuntimeError, "This event loop is already running", loop_run_until_complete(loop, nests()));
}

/* This one by the real clock. */
SYNC_TEST(EventLoopTestsMixin__test_run_until_complete)
{
    Loop *loop = asyncio_new_event_loop();
    double began = loop_time(loop);
    loop_run_until_complete(loop, asyncio_sleep(0.1));
    ck_assert_double_ge(loop_time(loop) - began, 0.1 - 1e-6);
    loop_close(loop);
}

async_def(stops)
{
    loop_stop(asyncio_get_running_loop());
    await(asyncio_sleep(0.1));
    return None;
}

LOOP_TEST(EventLoopTestsMixin__test_run_until_complete_stopped)
{
    Coroutine *task = stops();
    ck_raises_text(RuntimeError, "Event loop stopped before Future completed.", loop_run_until_complete(loop, task));
}

static Loop *stopping;

static void note_and_stop(Value v)
{
    note(v);
    loop_stop(stopping);
}

LOOP_TEST(EventLoopTestsMixin__test_call_later)
{
    double began = loop_time(loop);
    stopping = loop;
    loop_call_later(loop, 0.1, note_and_stop, .arg = V("hello world"));
    loop_run_forever(loop);
    ck_notes("hello world");
    ck_elapsed(loop, began, 0.1);
}

LOOP_TEST(EventLoopTestsMixin__test_call_soon)
{
    stopping = loop;
    loop_call_soon(loop, note_and_stop, .arg = tuple("hello", "world"));
    loop_run_forever(loop);
    ck_notes("('hello', 'world')");
}

static void note_and_stop_at_two(Value v)
{
    note(v);
    if (strchr(notes_, '|')) loop_stop(stopping);           /* the second one */
}

static void *call_from_thread(void *loop)
{
    scope loop_call_soon_threadsafe((Loop *)loop, note_and_stop_at_two, .arg = V(1));
    return NULL;
}

LOOP_TEST(EventLoopTestsMixin__test_call_soon_threadsafe)
{
    pthread_t thread;
    stopping = loop;
    ck_assert_int_eq(pthread_create(&thread, NULL, call_from_thread, loop), 0);
    pthread_join(thread, NULL);
    loop_call_soon(loop, note_and_stop_at_two, .arg = V(2));
    loop_run_forever(loop);
    ck_notes("1|2");

    /* Into a loop that sleeps, by the real clock. */
    loop_set_virtual_clock(loop, false);
    loop_call_soon(loop, note_it, .arg = V(2));
    loop_call_later(loop, 60, note_and_stop, .arg = V("too late"));
    ck_assert_int_eq(pthread_create(&thread, NULL, call_from_thread, loop), 0);
    loop_run_forever(loop);
    pthread_join(thread, NULL);
    ck_notes("2|1");
}

LOOP_TEST(EventLoopTestsMixin__test_call_soon_threadsafe_same_thread)
{
    stopping = loop;
    loop_call_soon_threadsafe(loop, note_and_stop_at_two, .arg = V("hello"));
    loop_call_soon(loop, note_and_stop_at_two, .arg = V("world"));
    loop_run_forever(loop);
    ck_notes("hello|world");
}

/* ---- EventLoopTestsMixin: threads and signals ---------------------------------------------------------------------- */

static pthread_t executing;

static Value note_thread(Value v)
{
    executing = pthread_self();
    return v;
}

LOOP_TEST(EventLoopTestsMixin__test_run_in_executor)
{
    ck_repr(loop_run_until_complete(loop, loop_run_in_executor(loop, NULL, note_thread, .arg = V(5))), "5");
    ck_assert(!pthread_equal(executing, pthread_self()));
    loop_run_until_complete(loop, loop_shutdown_default_executor(loop));
}

/* Nothing comes back to a loop that has closed. */
LOOP_TEST(EventLoopTestsMixin__test_run_in_executor_cancel)
{
    reports_begin(loop);
    Future *f = loop_run_in_executor(loop, NULL, note_thread);
    future_cancel(f);
    loop_run_until_complete(loop, loop_shutdown_default_executor(loop));
    loop_close(loop);
    ck_assert(future_cancelled(f));
    ck_assert_int_eq(reported.count, 0);
}

static void check_bad_signal(Loop *loop, int number)
{
    ck_raises(ValueError, loop_add_signal_handler(loop, number, nothing));
    ck_raises(ValueError, loop_remove_signal_handler(loop, number));
}

LOOP_TEST(EventLoopTestsMixin__test_add_signal_handler)
{
    stopping = loop;
    signal(SIGINT, SIG_DFL);
    check_bad_signal(loop, NSIG + 1);
    check_bad_signal(loop, 0);
    check_bad_signal(loop, -1);
    ck_raises(RuntimeError, loop_add_signal_handler(loop, SIGKILL, nothing));
    ck_assert(!loop_remove_signal_handler(loop, SIGKILL));

    loop_add_signal_handler(loop, SIGINT, note_and_stop, .arg = V("caught"));
    kill(getpid(), SIGINT);
    loop_run_forever(loop);
    ck_notes("caught");

    struct sigaction now;
    ck_assert(loop_remove_signal_handler(loop, SIGINT));
    ck_assert(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    ck_assert(!loop_remove_signal_handler(loop, SIGINT));
}

/* A signal that comes while the loop is in select(). */
static void check_alarm(Loop *loop, Value arg, const char *expected)
{
    stopping = loop;
    loop_set_virtual_clock(loop, false);
    loop_add_signal_handler(loop, SIGALRM, note_and_stop, .arg = arg);
    struct itimerval soon = {.it_value = {0, 10000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    loop_call_later(loop, 60, note_and_stop, .arg = V("too late"));
    loop_run_forever(loop);
    ck_notes(expected);
    ck_assert(loop_remove_signal_handler(loop, SIGALRM));
}

LOOP_TEST(EventLoopTestsMixin__test_signal_handling_while_selecting) { check_alarm(loop, None, "None"); }
LOOP_TEST(EventLoopTestsMixin__test_signal_handling_args) { check_alarm(loop, tuple(42), "(42,)"); }

/* ---- EventLoopTestsMixin: descriptors ------------------------------------------------------------------------------ */

static int pair[2];
static Loop *reading;
static char received[2048];
static size_t received_size;

static void make_pair(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    received_size = 0;
}

static void read_some(Value arg)
{
    (void)arg;
    ssize_t n = recv(pair[0], received + received_size, sizeof received - received_size, 0);
    if (n < 0) { ck_assert_int_eq(errno, EAGAIN); return; }
    received_size += (size_t)n;
    if (n) { loop_stop(reading); return; }
    ck_assert(loop_remove_reader(reading, pair[0]));
    close(pair[0]);
    note("end");
}

static void send_text(Value text) { ck_assert_int_eq((int)send(pair[1], as_str(text), strlen(as_str(text)), 0), len(text)); }
static void close_writer(Value arg) { (void)arg; close(pair[1]); }

LOOP_TEST(EventLoopTestsMixin__test_reader_callback)
{
    make_pair();
    reading = loop;
    loop_add_reader(loop, pair[0], read_some);
    loop_call_soon(loop, send_text, .arg = V("abc"));
    loop_run_forever(loop);
    ck_assert_uint_eq(received_size, 3);
    loop_call_soon(loop, send_text, .arg = V("def"));
    loop_run_forever(loop);
    loop_call_soon(loop, close_writer);
    run_once(loop);
    run_once(loop);
    ck_notes("end");
    ck_assert(received_size == 6 && !memcmp(received, "abcdef", 6));
}

static void write_all(Value data)
{
    size_t size;
    const char *text = as_bytes(data, &size);
    ck_assert_int_eq((int)send(pair[1], text, size, 0), (int)size);
    loop_stop(reading);
}

LOOP_TEST(EventLoopTestsMixin__test_writer_callback)
{
    char data[1024];
    memset(data, 'x', sizeof data);
    make_pair();
    reading = loop;
    loop_add_writer(loop, pair[1], write_all, .arg = bytes(data, sizeof data));
    loop_run_forever(loop);
    ck_assert(loop_remove_writer(loop, pair[1]));
    ck_assert(!loop_remove_writer(loop, pair[1]));
    close(pair[1]);
    ck_assert_int_eq((int)recv(pair[0], received, sizeof received, MSG_WAITALL), (int)sizeof data);
    ck_assert(!memcmp(received, data, sizeof data));
    close(pair[0]);
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* The self-pipe is the only thing that a loop keeps open, and it goes with it. */
SYNC_TEST(EventLoopTestsMixin__test_internal_fds)
{
    int before = open_descriptors();
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(open_descriptors(), before + 2);
    loop_close(loop);
    ck_assert_int_eq(open_descriptors(), before);
}

/* asyncio.c's select() is this one: it counts. */
static int selects;

int select(int count, fd_set *reading_set, fd_set *writing_set, fd_set *exceptional, struct timeval *timeout)
{
    static int (*libc_select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    if (!libc_select) libc_select = (int (*)(int, fd_set *, fd_set *, fd_set *, struct timeval *))dlsym(RTLD_NEXT, "select");
    selects++;
    return libc_select(count, reading_set, writing_set, exceptional, timeout);
}

async_def(sleeps_ever_less)
{
    static const double delays[] = {1e-2, 1e-4, 1e-6, 1e-8, 1e-10};
    for (int i = 0; i < 5; i++) await(asyncio_sleep(delays[i]));
    return None;
}

/* The loop does not spin until a timer is due: about one call for each sleep. */
SYNC_TEST(EventLoopTestsMixin__test_timeout_rounding)
{
    Loop *loop = asyncio_new_event_loop();
    selects = 0;
    loop_run_until_complete(loop, sleeps_ever_less());
    ck_assert_int_ge(selects, 1);
    ck_assert_int_le(selects, 20);
    loop_close(loop);
}

LOOP_TEST(EventLoopTestsMixin__test_remove_fds_after_closing)
{
    make_pair();
    loop_add_reader(loop, pair[0], nothing);
    loop_add_writer(loop, pair[1], nothing);
    loop_close(loop);
    ck_assert(!loop_remove_reader(loop, pair[0]));
    ck_assert(!loop_remove_writer(loop, pair[1]));
    close(pair[0]);
    close(pair[1]);
}

LOOP_TEST(EventLoopTestsMixin__test_add_fds_after_closing)
{
    make_pair();
    loop_close(loop);
    ck_raises_text(RuntimeError, "Event loop is closed", loop_add_reader(loop, pair[0], nothing));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_add_writer(loop, pair[1], nothing));
    close(pair[0]);
    close(pair[1]);
}

/* ---- EventLoopTestsMixin: closing ---------------------------------------------------------------------------------- */

async_def(closes) { loop_close(asyncio_get_running_loop()); return None; }

LOOP_TEST(EventLoopTestsMixin__test_close_running_event_loop)
{
    ck_raises_text(RuntimeError, "Cannot close a running event loop", loop_run_until_complete(loop, closes()));
}

LOOP_TEST(EventLoopTestsMixin__test_close)
{
    loop_close(loop);
    Coroutine *coro = noop();
    const char *closed = "Event loop is closed";
    ck_raises_text(RuntimeError, closed, loop_run_forever(loop));
    ck_raises_text(RuntimeError, closed, loop_run_until_complete(loop, loop_create_future(loop)));
    ck_raises_text(RuntimeError, closed, loop_call_soon(loop, nothing));
    ck_raises_text(RuntimeError, closed, loop_call_soon_threadsafe(loop, nothing));
    ck_raises_text(RuntimeError, closed, loop_call_later(loop, 1.0, nothing));
    ck_raises_text(RuntimeError, closed, loop_call_at(loop, loop_time(loop), nothing));
    ck_raises_text(RuntimeError, closed, loop_create_task(loop, coro));
    ck_raises_text(RuntimeError, closed, loop_add_signal_handler(loop, SIGTERM, nothing));
    ck_raises_text(RuntimeError, closed, loop_run_in_executor(loop, NULL, note_thread));
}

/* ---- HandleTests -------------------------------------------------------------------------------------------------- */

LOOP_TEST(HandleTests__test_handle)
{
    Handle *h = loop_call_soon(loop, note_it, .arg = V("called"));
    ck_assert(!handle_cancelled(h));
    handle_cancel(h);
    ck_assert(handle_cancelled(h));
    run_once(loop);
    ck_notes("");
}

static void raise_value_error(Value arg) { (void)arg; throw(ValueError); }

LOOP_TEST(HandleTests__test_callback_with_exception)
{
    reports_begin(loop);
    Handle *h = loop_call_soon(loop, raise_value_error);
    run_once(loop);
    ck_assert_int_eq(reported.count, 1);
    ck_assert_str_eq(reported.message, "Exception in callback raise_value_error()");
    ck_assert(isinstance(report_exception(), ValueError));
    ck_same(reported.handle, h);
}

LOOP_TEST(HandleTests__test_handle_repr)
{
    Handle *h = loop_call_soon(loop, nothing);
    ck_repr(h, "<Handle nothing()>");
    handle_cancel(h);
    ck_repr(h, "<Handle cancelled>");
}

/* ---- TimerTests --------------------------------------------------------------------------------------------------- */

LOOP_TEST(TimerTests__test_when)
{
    double when = loop_time(loop) + 5;
    ck_assert_double_eq(handle_when(loop_call_at(loop, when, nothing)), when);
}

LOOP_TEST(TimerTests__test_timer)
{
    Handle *h = loop_call_at(loop, loop_time(loop), note_it, .arg = tuple(1, 2, 3));
    ck_assert(!handle_cancelled(h));
    handle_cancel(h);
    ck_assert(handle_cancelled(h));
    run_once(loop);
    ck_notes("");
}

LOOP_TEST(TimerTests__test_timer_repr)
{
    Handle *h = loop_call_at(loop, 123, nothing);
    ck_repr(h, "<TimerHandle when=123 nothing()>");
    handle_cancel(h);
    ck_repr(h, "<TimerHandle cancelled when=123>");
}

/* Timers are compared by their time alone, as the order in which they come shows. */
LOOP_TEST(TimerTests__test_timer_comparison)
{
    double when = loop_time(loop) + 1;
    stopping = loop;
    loop_call_at(loop, when + 10, note_and_stop, .arg = V("h2"));
    loop_call_at(loop, when, note_it, .arg = V("h1"));
    loop_run_forever(loop);
    ck_notes("h1|h2");
    /* Six equal ones come as Python's heap gives them. */
    when = loop_time(loop) + 1;
    for (int i = 0; i < 6; i++) loop_call_at(loop, when, note_it, .arg = V(i));
    loop_call_at(loop, when + 1, note_and_stop, .arg = V("end"));
    loop_run_forever(loop);
    ck_notes("0|2|5|1|3|4|end");
}

/* ---- GetEventLoopTestsMixin --------------------------------------------------------------------------------------- */

async_def(asks, (Loop *) loop)
{
    ck_same(asyncio_get_event_loop(), loop);
    ck_same(asyncio_get_running_loop(), loop);
    note("asked");
    return None;
}

LOOP_TEST(GetEventLoopTestsMixin__test_get_event_loop_returns_running_loop2)
{
    const char *no_current = "There is no current event loop in thread 'MainThread'.", *no_running = "no running event loop";
    ck_raises_text(RuntimeError, no_current, asyncio_get_event_loop());
    ck_raises_text(RuntimeError, no_running, asyncio_get_running_loop());
    loop_run_until_complete(loop, asks(loop));
    ck_notes("asked");
    asyncio_set_event_loop(loop);
    ck_same(asyncio_get_event_loop(), loop);
    ck_raises_text(RuntimeError, no_running, asyncio_get_running_loop());
    asyncio_set_event_loop(NULL);
    ck_raises_text(RuntimeError, no_current, asyncio_get_event_loop());
    ck_raises_text(RuntimeError, no_running, asyncio_get_running_loop());
}
