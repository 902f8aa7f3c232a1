/* The loop: order of callbacks, timers, descriptors, stopping and closing, reports, deadlock, Ctrl-C, the virtual clock, threads. */
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

static void noting(Value arg) { note(arg); }
static void stopping(Value loop) { loop_stop((Loop *)loop.object); }

static Loop *virtual_loop(void)
{
    Loop *loop = asyncio_new_event_loop();
    loop_set_virtual_clock(loop, true);
    return loop;
}

static void run_for(Loop *loop, double seconds)
{
    loop_call_later(loop, seconds, stopping, .arg = V(loop));
    loop_run_forever(loop);
}

/* ---- callbacks ---- */

static void noting_and_calling(Value arg) { note(arg); loop_call_soon(asyncio_get_running_loop(), noting, .arg = format("after %s", as_str(arg))); }

TEST(call_soon_in_order_and_new_ones_in_the_next_round)
{
    Loop *loop = virtual_loop();
    loop_call_soon(loop, noting_and_calling, .arg = V("a"));
    loop_call_soon(loop, noting, .arg = V("b"));
    Handle *dropped = loop_call_soon(loop, noting, .arg = V("dropped"));
    loop_call_soon(loop, noting, .arg = V("c"));
    handle_cancel(dropped);
    ck_assert(handle_cancelled(dropped));
    handle_cancel(dropped);
    run_for(loop, 1);
    ck_notes("a|b|c|after a");
    loop_close(loop);
}

TEST(stop_before_run_forever_runs_one_round)
{
    Loop *loop = virtual_loop();
    loop_call_soon(loop, noting_and_calling, .arg = V("a"));
    loop_stop(loop);
    loop_run_forever(loop);
    ck_notes("a");
    loop_stop(loop);
    loop_run_forever(loop);
    ck_notes("after a");
    loop_close(loop);
}

/* The expected order is CPython's, whose timers lie in a heapq: equal times do not come out first in, first out. */
TEST(equal_deadlines_come_out_as_from_heapq)
{
    Loop *loop = virtual_loop();
    double when = loop_time(loop) + 1;
    for (int i = 0; i < 6; i++) loop_call_at(loop, when, noting, .arg = V(i));
    run_for(loop, 2);
    ck_notes("0|2|5|1|3|4");
    loop_close(loop);
}

static Value came;
static void note_number(Value v) { list_append(came, v); }

/* So many at so many times, each n-th cancelled: a sum over the order in which the others come. */
static uint32_t order_without_each(Loop *loop, int n, int count, int times)
{
    Value handles = list();
    uint32_t sum = 0;
    came = list();
    for (int i = 0; i < count; i++) list_append(handles, loop_call_later(loop, (i * 7919 % times) / 128.0, note_number, V(i)));
    for (int i = 0; i < count; i += n) handle_cancel((Handle *)list_get(handles, i).object);
    run_for(loop, 2);
    for_in (number, came) sum = sum * 31 + (uint32_t)as_int(number);
    return sum;
}

/* What CPython gives. It rebuilds its heap when it counts too many cancelled ones, and goes on counting those that came due:
 * so what came before decides. */
TEST(equal_deadlines_among_cancelled_ones)
{
    Loop *fresh = virtual_loop(), *used = virtual_loop();
    ck_assert_uint_eq(order_without_each(fresh, 2, 200, 9), 2321831892);
    ck_assert_uint_eq(order_without_each(used, 3, 50, 7), 287065189);
    ck_assert_uint_eq(order_without_each(used, 2, 200, 9), 1857909428);
    loop_close(fresh);
    loop_close(used);
}

TEST(timers_by_time)
{
    Loop *loop = virtual_loop();
    double delays[] = {5, 1, 3, 2, 4, 0, -1};
    for (int i = 0; i < 7; i++) loop_call_later(loop, delays[i], noting, .arg = V(delays[i]));
    run_for(loop, 10);
    ck_notes("-1.0|0.0|1.0|2.0|3.0|4.0|5.0");
    ck_raises_text(ValueError, "delay must not be NaN", loop_call_later(loop, NAN, noting));
    loop_close(loop);
}

TEST(a_large_heap_comes_out_sorted)
{
    Loop *loop = virtual_loop();
    double start = loop_time(loop), last = 0;
    Value seen = list();
    (void)seen;
    unsigned x = 1;
    for (int i = 0; i < 5000; i++) {
        x = x * 1664525u + 1013904223u;
        Handle *handle = loop_call_at(loop, start + (x >> 8) % 1000, noting);
        ck_assert(handle_when(handle) >= start);
        if (i % 2) handle_cancel(handle);               /* more than half of many: cleaned up at once */
        if (i % 100 == 0) last = fmax(last, handle_when(handle));
    }
    notes_forget_();
    loop_close(loop);
    ck_assert(last > start);
}

static double last_time;
static int ran;
static void in_order(Value when) { ck_assert(as_float(when) >= last_time); last_time = as_float(when); ran++; }

TEST(half_of_the_timers_cancelled)
{
    Loop *loop = virtual_loop();
    double start = loop_time(loop);
    size_t before = asyncio_live_objects();
    unsigned x = 7;
    scope for (int i = 0; i < 3000; i++) {
        x = x * 1664525u + 1013904223u;
        double when = start + (x >> 8) % 1000;
        Handle *handle = loop_call_at(loop, when, in_order, .arg = V(when));
        if (i % 5 < 3) handle_cancel(handle);
    }
    scope run_for(loop, 0.5);
    ck_assert_uint_le(asyncio_live_objects() - before, 1300);   /* those that were cancelled are gone */
    scope run_for(loop, 2000);
    ck_assert_int_eq(ran, 1200);
    ck_assert_uint_eq(asyncio_live_objects(), before);
    loop_close(loop);
}

static Handle *to_cancel;
static void cancelling(Value arg) { note(arg); handle_cancel(to_cancel); }

TEST(a_timer_cancelled_when_it_is_due_already)
{
    Loop *loop = virtual_loop();
    double when = loop_time(loop) + 1;
    loop_call_at(loop, when, cancelling, .arg = V("first"));
    to_cancel = loop_call_at(loop, when, noting, .arg = V("second"));
    run_for(loop, 2);
    ck_notes("first");
    loop_close(loop);
}

TEST(handles_show_themselves)
{
    Loop *loop = virtual_loop();
    Handle *handle = loop_call_soon(loop, noting), *timer = loop_call_at(loop, 5, noting);
    ck_repr(V(handle), "<Handle noting()>");
    ck_has(as_str(repr(timer)), "<TimerHandle when=5");
    handle_cancel(handle);
    ck_repr(V(handle), "<Handle cancelled>");
    ck_repr(V(loop), "<EventLoop running=False closed=False debug=False>");
    loop_close(loop);
    ck_repr(V(loop), "<EventLoop running=False closed=True debug=False>");
}

/* ---- running, stopping, closing ---- */

async_def(gives, (int) x) { await(asyncio_sleep(1)); return V(x); }

async_def(misuses, (Loop *) loop) {
    ck_assert(loop_is_running(loop));
    ck_assert_ptr_eq(asyncio_get_running_loop(), loop);
    ck_assert_ptr_eq(asyncio_get_event_loop(), loop);
    ck_raises_text(RuntimeError, "This event loop is already running", loop_run_forever(loop));
    ck_raises_text(RuntimeError, "This event loop is already running", loop_run_until_complete(loop, gives(1)));
    ck_raises_text(RuntimeError, "Cannot close a running event loop", loop_close(loop));
    ck_raises_text(RuntimeError, "asyncio.run() cannot be called from a running event loop", asyncio_run(gives(1)));
    Loop *other = asyncio_new_event_loop();
    ck_raises_text(RuntimeError, "Cannot run the event loop while another loop is running", loop_run_forever(other));
    ck_raises_text(RuntimeError, "Cannot run the event loop while another loop is running", loop_run_until_complete(other, gives(1)));
    loop_close(other);
    return None;
}

TEST(misuse_while_running)
{
    Loop *loop = virtual_loop();
    loop_run_until_complete(loop, misuses(loop));
    ck_assert(!loop_is_running(loop));
    loop_close(loop);
}

TEST(a_closed_loop)
{
    Loop *loop = virtual_loop();
    ck_assert_int_eq(as_int(loop_run_until_complete(loop, gives(5))), 5);
    loop_close(loop);
    loop_close(loop);
    ck_assert(loop_is_closed(loop));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_call_soon(loop, noting));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_call_later(loop, 1, noting));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_call_at(loop, 1, noting));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_call_soon_threadsafe(loop, noting));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_run_forever(loop));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_run_until_complete(loop, gives(1)));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_create_task(loop, gives(1)));
    ck_raises_text(RuntimeError, "Event loop is closed", loop_add_reader(loop, 0, noting));
    ck_assert(!loop_remove_reader(loop, 0));
}

TEST(without_a_loop)
{
    ck_raises_text(RuntimeError, "no running event loop", asyncio_get_running_loop());
    ck_raises_text(RuntimeError, "no running event loop", asyncio_current_task());
    ck_raises_text(RuntimeError, "no running event loop", asyncio_all_tasks());
    Coroutine *coro = gives(1);
    ck_raises_text(RuntimeError, "no running event loop", asyncio_create_task(coro));
    coroutine_close(coro);
    ck_raises(RuntimeError, asyncio_get_event_loop());
    Loop *loop = asyncio_new_event_loop();
    asyncio_set_event_loop(loop);
    ck_assert_ptr_eq(asyncio_get_event_loop(), loop);
    asyncio_set_event_loop(NULL);
    ck_raises(RuntimeError, asyncio_get_event_loop());
    loop_close(loop);
}

TEST(stopped_before_the_future_is_done)
{
    Loop *loop = virtual_loop();
    Future *future = loop_create_future(loop);
    loop_call_soon(loop, stopping, .arg = V(loop));
    ck_raises_text(RuntimeError, "Event loop stopped before Future completed.", loop_run_until_complete(loop, future));
    future_set_result(future, "late");
    ck_repr(loop_run_until_complete(loop, future), "'late'");
    loop_close(loop);
}

TEST(runs_again_and_again)
{
    Loop *loop = virtual_loop();
    size_t before = asyncio_live_objects();
    for (int i = 0; i < 100; i++) scope ck_assert_int_eq(as_int(loop_run_until_complete(loop, gives(i))), i);
    ck_assert_uint_eq(asyncio_live_objects(), before);
    loop_close(loop);
}

TEST(null_callbacks_are_refused)
{
    Loop *loop = virtual_loop();
    Callback none = NULL;
    ck_raises(TypeError, loop_call_soon(loop, none));
    ck_raises(TypeError, loop_call_later(loop, 1, none));
    ck_raises(TypeError, loop_call_at(loop, 1, none));
    ck_raises(TypeError, loop_call_soon_threadsafe(loop, none));
    ck_raises(TypeError, loop_add_reader(loop, 0, none));
    ck_raises(TypeError, loop_add_writer(loop, 0, none));
    ck_raises(TypeError, future_add_done_callback(loop_create_future(loop), NULL));
    loop_close(loop);
}

/* ---- descriptors ---- */

static int ends[2];
static void reads(Value arg)
{
    char byte;
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    note(arg, format("%c", byte));
    if (byte == 'z') loop_stop(asyncio_get_running_loop());
}

static void writes(Value text) { ck_assert_int_gt(write(ends[1], as_str(text), strlen(as_str(text))), 0); note("wrote"); loop_remove_writer(asyncio_get_running_loop(), ends[1]); }

TEST(a_reader_and_a_writer_on_a_pipe)
{
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(pipe(ends), 0);
    loop_add_reader(loop, ends[0], noting, .arg = V("replaced"));
    loop_add_reader(loop, ends[0], reads, .arg = V("read"));
    loop_add_writer(loop, ends[1], writes, .arg = V("abz"));
    loop_run_forever(loop);
    ck_notes("wrote|read a|read b|read z");
    ck_assert(loop_remove_reader(loop, ends[0]));
    ck_assert(!loop_remove_reader(loop, ends[0]));
    ck_assert(!loop_remove_writer(loop, ends[1]));
    ck_raises_text(ValueError, "Invalid file descriptor: -1", loop_remove_reader(loop, -1));
    ck_assert(!loop_remove_reader(loop, 1 << 20));
    loop_close(loop);
}

TEST(bad_descriptors_are_refused)
{
    Loop *loop = asyncio_new_event_loop();
    ck_raises(ValueError, loop_add_reader(loop, -1, noting));
    ck_raises(OSError, loop_add_reader(loop, 999, noting));
    ck_raises(OSError, loop_add_writer(loop, 999, noting));
    loop_close(loop);
}

/* A descriptor that is closed while watched: select() fails with EBADF, and the program is told which one it is. */
TEST(a_closed_descriptor_ends_the_run_with_an_error)
{
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(pipe(ends), 0);
    loop_add_reader(loop, ends[0], noting);
    close(ends[0]);
    const char *text = as_str(format(
        "[Errno 9] Bad file descriptor: 'descriptor %d was closed while the loop watched it: remove its reader and writer first'", ends[0]));
    ck_raises_text(OSError, text, loop_run_forever(loop));
    loop_close(loop);
    close(ends[1]);
}

TEST(a_reader_that_removes_another_in_the_same_round)
{
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "z", 1), 1);
    int copy = dup(ends[0]);
    loop_add_reader(loop, ends[0], reads, .arg = V("r"));
    loop_add_reader(loop, copy, reads, .arg = V("r"));
    loop_remove_reader(loop, copy);
    loop_run_forever(loop);
    ck_notes("r z");
    loop_close(loop);
}

TEST(descriptors_beyond_1024)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max > 5000 ? 5000 : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 4500) return;                  /* this machine has none */
    int first[2];
    ck_assert_int_eq(pipe(first), 0);
    for (int round = 0; round < 3; round++) {
        int far = round == 0 ? 1024 : round == 1 ? 2047 : 4400;
        ends[0] = dup2(first[0], far);
        ends[1] = dup2(first[1], far + 1);
        ck_assert_int_eq(ends[0], far);
        Loop *loop = asyncio_new_event_loop();
        loop_add_reader(loop, ends[0], reads, .arg = V(far));
        loop_add_writer(loop, ends[1], writes, .arg = V("xz"));
        loop_run_forever(loop);
        loop_close(loop);
        close(ends[0]);
        close(ends[1]);
    }
    ck_notes("wrote|1024 x|1024 z|wrote|2047 x|2047 z|wrote|4400 x|4400 z");
}

TEST(two_hundred_sockets_at_once)
{
    Loop *loop = asyncio_new_event_loop();
    int pairs[200][2];
    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        loop_add_reader(loop, pairs[i][0], in_order, .arg = V((double)i));
        ck_assert_int_eq(write(pairs[i][1], "x", 1), 1);
    }
    loop_stop(loop);
    loop_run_forever(loop);                             /* ready ones run in the order of descriptors */
    ck_assert_int_eq(ran, 200);
    loop_close(loop);
}

/* A crowd: many idle descriptors, numbered beyond FD_SETSIZE where the machine has so many, beside a busy one, which is
 * always ready. After some thousand rounds the idle ones are cold. */
enum { CROWD = 200, BUSY = 0, ROUNDS_UNTIL_COLD = 20000, SOON = 10000 };
static int crowd[CROWD][2], busy_calls, notes_wanted;
static void (*when_cold)(void);

static int numbered_high(int fd)
{
    int high = fcntl(fd, F_DUPFD, 1100);
    if (high < 0) return fd;
    close(fd);
    return high;
}

static void poke(int i) { ck_assert_int_eq(write(crowd[i][1], "x", 1), 1); }
static void busy(Value arg) { (void)arg; if (++busy_calls == ROUNDS_UNTIL_COLD) when_cold(); }
static void heard(Value i)
{
    char byte;
    ck_assert_int_eq(read(crowd[as_int(i)][0], &byte, 1), 1);
    note("heard", i);
    if (!--notes_wanted) loop_stop(asyncio_get_running_loop());
}

static Loop *crowd_new(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max > 5000 ? 5000 : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    Loop *loop = asyncio_new_event_loop();
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, crowd[i]), 0);
        crowd[i][0] = numbered_high(crowd[i][0]);
        loop_add_reader(loop, crowd[i][0], heard, .arg = V(i));
    }
    return loop;
}

/* Runs until so many were heard; `act` is called when the idle ones are cold. */
static void crowd_run(Loop *loop, void (*act)(void), int wanted)
{
    poke(BUSY);
    loop_add_reader(loop, crowd[BUSY][0], busy);
    busy_calls = 0;
    when_cold = act;
    notes_wanted = wanted;
    loop_run_forever(loop);
}

static void poke_two(void) { poke(40); poke(150); }

TEST(cold_descriptors_are_heard_soon_beside_a_busy_one)
{
    Loop *loop = crowd_new();
    crowd_run(loop, poke_two, 2);
    ck_notes("heard 40|heard 150");
    ck_assert_int_lt(busy_calls, ROUNDS_UNTIL_COLD + SOON);
    poke(150); /* it is hot now, and the first to be asked */
    notes_wanted = 1;
    loop_run_forever(loop);
    ck_notes("heard 150");
    loop_close(loop);
}

static void remove_the_other(Value i)
{
    heard(i);
    ck_assert(loop_remove_reader(asyncio_get_running_loop(), crowd[190 - as_int(i)][0]));
    loop_call_later(asyncio_get_running_loop(), 0.002, stopping, .arg = V(asyncio_get_running_loop()));
}

TEST(a_cold_descriptor_that_is_removed_while_it_is_ready)
{
    Loop *loop = crowd_new();
    loop_add_reader(loop, crowd[40][0], remove_the_other, .arg = V(40));
    loop_add_reader(loop, crowd[150][0], remove_the_other, .arg = V(150));
    crowd_run(loop, poke_two, 100);
    ck_notes("heard 40");
    loop_close(loop);
}

/* One is closed and its number is somebody else's at once, another one is closed. Then all are asked many times more. */
static void poke_one(void) { poke(40); }
static void reuse_number(void)
{
    int fd = crowd[150][0];
    ck_assert(loop_remove_reader(asyncio_get_running_loop(), fd));
    close(fd);
    ck_assert_int_eq(dup2(crowd[40][0], fd), fd);
    loop_add_reader(asyncio_get_running_loop(), fd, heard, .arg = V(150));
    loop_remove_reader(asyncio_get_running_loop(), crowd[40][0]);
    loop_remove_reader(asyncio_get_running_loop(), crowd[60][0]);
    close(crowd[60][0]);
    busy_calls = 0;
    when_cold = poke_one;
}

TEST(a_cold_descriptors_number_used_again)
{
    Loop *loop = crowd_new();
    crowd_run(loop, reuse_number, 1);
    ck_notes("heard 150");
    loop_close(loop);
}

static void close_one(void) { close(crowd[150][0]); }
TEST(a_cold_descriptor_that_is_closed_while_watched_ends_the_run)
{
    Loop *loop = crowd_new();
    ck_raises(OSError, crowd_run(loop, close_one, 1));
    ck_assert_int_lt(busy_calls, ROUNDS_UNTIL_COLD + SOON);
    loop_close(loop);
}

/* The busy one has gone: a loop that waits for the hot ones only would not hear this one. */
static void speak_in_silence(void)
{
    loop_remove_reader(asyncio_get_running_loop(), crowd[BUSY][0]);
    poke(150);
}

TEST(a_cold_descriptor_is_heard_when_nothing_else_happens)
{
    Loop *loop = crowd_new();
    crowd_run(loop, speak_in_silence, 1);
    ck_notes("heard 150");
    loop_close(loop);
}

static void timer_noting(Value when)
{
    ck_assert(loop_time(asyncio_get_running_loop()) >= as_float(when) - 1e-8);
    note("timer");
}

/* First the hot ones are waited for, then all: neither wait may be longer than to the next timer, nor miss a thread's call. */
static void fall_silent(void)
{
    Loop *loop = asyncio_get_running_loop();
    double now = loop_time(loop);
    loop_remove_reader(loop, crowd[BUSY][0]);
    for (int i = 1; i <= 3; i++) loop_call_at(loop, now + i * i * i * 0.001, timer_noting, .arg = V(now + i * i * i * 0.001));
    loop_call_at(loop, now + 0.03, stopping, .arg = V(loop));
}

static void *one_late_call(void *loop);

TEST(timers_and_threads_are_not_late_in_a_crowd)
{
    Loop *loop = crowd_new();
    pthread_t thread;
    crowd_run(loop, fall_silent, 1);
    ck_notes("timer|timer|timer");
    ck_assert_int_eq(pthread_create(&thread, NULL, one_late_call, loop), 0);
    loop_run_forever(loop);
    pthread_join(thread, NULL);
    loop_close(loop);
}

/* What a program writes to itself it sees in the next round, after what was ready before, as in CPython. A loop that always
 * has callbacks to run asks less often after a while, but asks. */
static int rounds, written_in, read_in;
static void spinning(Value arg)
{
    (void)arg;
    if (++rounds == written_in) ck_assert_int_eq(write(ends[1], "z", 1), 1);
    loop_call_soon(asyncio_get_running_loop(), spinning);
}
static void reads_and_stops(Value arg) { reads(arg); read_in = rounds; }

static void spin_and_write(int when)
{
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(pipe(ends), 0);
    written_in = when;
    loop_add_reader(loop, ends[0], reads_and_stops, .arg = V("read"));
    loop_call_soon(loop, spinning);
    loop_run_forever(loop);
    ck_notes("read z");
    loop_close(loop);
}

TEST(a_descriptor_is_asked_about_in_each_round)
{
    spin_and_write(15);
    ck_assert_int_eq(read_in, 16);
}

TEST(busy_callbacks_do_not_starve_a_descriptor)
{
    spin_and_write(5000);
    ck_assert_int_lt(read_in, 5000 + SOON);
}

/* ---- reports ---- */

static void failing(Value arg) { throw(ValueError, "%s", as_str(arg)); }
static void note_report(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    note(report->message, repr(report->exception), report->handle ? repr(report->handle) : None);
}
static void broken_handler(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; throw(KeyError, "handler"); }
static void exiting_handler(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; throw(SystemExit); }

TEST(the_exception_handler)
{
    Loop *loop = virtual_loop();
    ck_assert(loop_get_exception_handler(loop) == NULL);
    loop_set_exception_handler(loop, note_report);
    ck_assert(loop_get_exception_handler(loop) == note_report);
    loop_call_soon(loop, failing, .arg = V("x"));
    loop_call_soon(loop, noting, .arg = V("goes on"));
    run_for(loop, 0);
    ck_notes("Exception in callback failing() ValueError('x') <Handle failing()>|goes on");
    loop_close(loop);
}

static void child_default_handler(void)
{
    Loop *loop = virtual_loop();
    loop_call_soon(loop, failing, .arg = V("x"));
    run_for(loop, 0);
    puts("alive");
    loop_close(loop);
}

static void child_broken_handler(void)
{
    Loop *loop = virtual_loop();
    loop_set_exception_handler(loop, broken_handler);
    loop_call_soon(loop, failing, .arg = V("x"));
    run_for(loop, 0);
    puts("alive");
    loop_close(loop);
}

TEST(the_default_handler_and_a_broken_one)
{
    Child c = child(child_default_handler);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "alive\n");
    ck_assert_int_eq(strncmp(c.err, "Exception in callback failing()\n", 32), 0);
    ck_has(c.err, "handle: <Handle failing()>\n");
    ck_has(c.err, "Traceback (most recent call last):\n");
    ck_has(c.err, "in failing\n");
    ck_has(c.err, "\nValueError: x\n");
    child_free(c);
    c = child(child_broken_handler);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "alive\n");
    ck_has(c.err, "Unhandled error in exception handler\n");
    ck_has(c.err, "KeyError: 'handler'\n");
    child_free(c);
}

TEST(system_exit_leaves_the_loop)
{
    Loop *loop = virtual_loop();
    loop_set_exception_handler(loop, exiting_handler);
    loop_call_soon(loop, failing, .arg = V("x"));
    loop_call_soon(loop, noting, .arg = V("next run"));
    ck_raises(SystemExit, run_for(loop, 1));
    ck_assert(!loop_is_running(loop));
    loop_set_exception_handler(loop, NULL);
    run_for(loop, 0);
    ck_notes("next run");
    loop_close(loop);
}

async_def(sleeps_until_a_handler_exits)
{
    loop_set_exception_handler(asyncio_get_running_loop(), exiting_handler);
    loop_call_soon(asyncio_get_running_loop(), failing, .arg = V("x"));
    try { await(asyncio_sleep(1)); } finally { note("finally"); } end_try
    return None;
}

TEST(system_exit_of_a_handler_lets_the_tasks_end)
{
    ck_raises(SystemExit, asyncio_run(sleeps_until_a_handler_exits(), .virtual_clock = true));
    ck_notes("finally");
}

static void slow(Value arg) { (void)arg; nanosleep(&(struct timespec){0, 30 * 1000 * 1000}, NULL); }
static void child_slow(void)
{
    Loop *loop = asyncio_new_event_loop();
    ck_assert(!loop_get_debug(loop));
    loop_set_debug(loop, true);
    loop_set_slow_callback_duration(loop, 0.02);
    loop_call_soon(loop, slow);
    loop_call_soon(loop, noting, .arg = V(1));
    loop_call_soon(loop, stopping, .arg = V(loop));
    loop_run_forever(loop);
    loop_close(loop);
}

TEST(debug_mode_reports_slow_callbacks)
{
    Child c = child(child_slow);
    ck_exited(c, 0);
    ck_has(c.err, "Executing <Handle slow()");
    ck_has(c.err, " took 0.0");
    ck_has(c.err, " seconds\n");
    if (!SLOWED_DOWN) ck_lacks(c.err, "noting");
    child_free(c);
}

/* ---- deadlock ---- */

async_def(waits_for_ever, (Lock *) lock) { await(lock_acquire(lock)); await(lock_acquire(lock)); return None; }
async_def(waits_on, (Task *) task) { await(task); return None; }
async_def(deadlocked) {
    Task *a = asyncio_create_task(waits_for_ever(asyncio_Lock()), .name = "holder"), *b = asyncio_create_task(waits_on(a), .name = "second");
    await(b);
    return None;
}
static void child_deadlock(void) { asyncio_run(deadlocked()); }

TEST(a_deadlock_says_who_waits_for_whom)
{
    Child c = child(child_deadlock);
    ck_exited(c, 1);
    ck_has(c.err, "DeadlockError: nothing can wake this loop any more");
    ck_has(c.err, "task 'holder' at ");
    ck_has(c.err, "which task 'holder' holds");
    ck_has(c.err, "task 'second' at ");
    ck_has(c.err, "waits for task 'holder'");
    child_free(c);
}

TEST(an_idle_loop_is_a_deadlock_too)
{
    Loop *loop = virtual_loop();
    ck_raises(DeadlockError, loop_run_forever(loop));
    loop_close(loop);
}

/* ---- Ctrl-C ---- */

async_def(sleeps_long) { try { kill(getpid(), SIGINT); await(asyncio_sleep(3600)); } except (CancelledError) { print("cleaning up"); rethrow; } end_try return None; }
async_def(ignores_first) {
    try { kill(getpid(), SIGINT); await(asyncio_sleep(3600)); } except (CancelledError) { print("not yet"); } end_try
    kill(getpid(), SIGINT);
    await(asyncio_sleep(3600));
    return None;
}
async_def(swallows) { try { kill(getpid(), SIGINT); await(asyncio_sleep(3600)); } except (CancelledError) { print("swallowed"); } end_try return V("fine"); }
static void child_interrupt_once(void) { asyncio_run(sleeps_long()); print("never"); }
static void child_interrupt_twice(void) { asyncio_run(ignores_first()); print("never"); }
static void child_interrupt_swallowed(void) { print(asyncio_run(swallows())); }
static void child_interrupt_caught(void) { try { asyncio_run(sleeps_long()); } except (KeyboardInterrupt) { print("caught"); } end_try asyncio_run(swallows()); }
async_def(spins) { kill(getpid(), SIGINT); kill(getpid(), SIGINT); for (;;) pause(); return None; }
static void child_interrupt_busy(void) { asyncio_run(spins()); }

TEST(the_first_interrupt_cancels_main)
{
    Child c = child(child_interrupt_once);
    ck_killed(c, SIGINT);
    ck_assert_str_eq(c.out, "cleaning up\n");
    ck_has(c.err, "KeyboardInterrupt\n");
    child_free(c);
    c = child(child_interrupt_swallowed);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "swallowed\nfine\n");
    child_free(c);
    c = child(child_interrupt_caught);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "cleaning up\ncaught\nswallowed\n");
    child_free(c);
}

TEST(the_second_interrupt_ends_the_loop_at_once)
{
    Child c = child(child_interrupt_twice);
    ck_killed(c, SIGINT);
    ck_has(c.out, "not yet\n");
    ck_lacks(c.out, "never");
    child_free(c);
    c = child(child_interrupt_busy);
    ck_killed(c, SIGINT);
    ck_has(c.err, "asyncio: since the first Ctrl-C the loop has not had its turn: task 'Task-1', in coroutine spins at ");
    child_free(c);
}

static void child_interrupt_debug(void) { asyncio_run(sleeps_long(), .debug = true); }

TEST(in_debug_mode_an_interrupt_says_who_waits_for_whom)
{
    Child c = child(child_interrupt_debug);
    ck_killed(c, SIGINT);
    ck_has(c.err, "asyncio: Ctrl-C, while\n  task 'Task-1' at ");
    ck_has(c.err, " waits for sleep(3600)\n");
    child_free(c);
}

/* ---- clocks ---- */

async_def(an_hour) { double before = loop_time(asyncio_get_running_loop()); await(asyncio_sleep(3600)); return V(loop_time(asyncio_get_running_loop()) - before); }

static void child_clock_misspelt(void) { setenv("ASYNCIO_CLOCK", "Virtual", 1); asyncio_new_event_loop(); }

TEST(a_clock_that_does_not_exist_is_told)
{
    Child c = child(child_clock_misspelt);
    ck_exited(c, 0);
    ck_assert_str_eq(c.err, "asyncio: ASYNCIO_CLOCK=Virtual is ignored: it may be `virtual` or `real`\n");
    child_free(c);
}

TEST(the_virtual_clock_costs_nothing)
{
    time_t before = time(NULL);
    ck_assert(fabs(as_float(asyncio_run(an_hour(), .virtual_clock = true)) - 3600) < 1e-3);
    ck_assert_int_le(time(NULL) - before, 20);
}

static void child_clock_by_environment(void) { setenv("ASYNCIO_CLOCK", "virtual", 1); print((bool)(fabs(as_float(asyncio_run(an_hour())) - 3600) < 1e-3)); }
TEST(the_virtual_clock_by_environment)
{
    Child c = child(child_clock_by_environment);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "True\n");
    child_free(c);
}

async_def(short_nap) { double before = loop_time(asyncio_get_running_loop()); await(asyncio_sleep(0.03)); return V(loop_time(asyncio_get_running_loop()) - before); }
TEST(the_real_clock_never_wakes_early)
{
    for (int i = 0; i < 5; i++) ck_assert(as_float(asyncio_run(short_nap())) >= 0.03 - 1e-8);
}

TEST(a_virtual_clock_still_reads_descriptors)
{
    Loop *loop = virtual_loop();
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "a", 1), 1);
    loop_add_reader(loop, ends[0], reads, .arg = V("r"));
    run_for(loop, 100);
    ck_notes("r a");
    loop_close(loop);
}

/* ---- threads ---- */

static void *calls_soon(void *loop)
{
    for (int i = 0; i < 1000; i++) loop_call_soon_threadsafe(loop, in_order, .arg = V((double)i));
    loop_call_soon_threadsafe(loop, stopping, .arg = V((Loop *)loop));
    return NULL;
}

TEST(call_soon_threadsafe_wakes_a_sleeping_loop)
{
    Loop *loop = asyncio_new_event_loop();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, calls_soon, loop), 0);
    loop_run_forever(loop);
    pthread_join(thread, NULL);
    ck_assert_int_eq(ran, 1000);
    loop_close(loop);
}

static void *one_late_call(void *loop)
{
    nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
    loop_call_soon_threadsafe(loop, stopping, .arg = V((Loop *)loop));
    return NULL;
}

/* Here the loop is asleep in select() when the call comes; with nothing else to wait for that is no deadlock. */
TEST(a_late_call_from_a_thread)
{
    Loop *loop = asyncio_new_event_loop();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, one_late_call, loop), 0);
    loop_run_forever(loop);
    pthread_join(thread, NULL);
    loop_close(loop);
}

async_def(adds, (int) n) { int sum = 0; for (int i = 0; i < n; i++) { await(asyncio_sleep(i % 7 ? 0 : 0.5)); sum += i; } return V(sum); }
async_def(gathers) {
    Value results = await(asyncio_gather(adds(10), adds(100), adds(50)));
    try { await(asyncio_wait_for(asyncio_sleep(10), 1)); } except (TimeoutError) { list_append(results, "timeout"); } end_try
    return results;
}

static void *a_loop_of_its_own(void *result)
{
    for (int i = 0; i < 20; i++) {
        Value v = asyncio_run(gathers(), .virtual_clock = true);
        snprintf(result, 64, "%s", as_str(repr(v)));
    }
    return NULL;
}

TEST(one_loop_per_thread)
{
    pthread_t threads[6];
    char results[6][64];
    for (int i = 0; i < 6; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, a_loop_of_its_own, results[i]), 0);
    for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 6; i++) ck_assert_str_eq(results[i], "[45, 4950, 1225, 'timeout']");
    ck_assert_uint_eq(asyncio_live_objects(), 0);
}

static void *catches(void *ok)
{
    try { throw(ValueError, "in a thread"); } except (ValueError, e) { *(bool *)ok = !strcmp(as_str(str(e)), "in a thread"); } end_try
    return NULL;
}

TEST(exceptions_in_a_thread_without_a_loop)
{
    pthread_t thread;
    bool ok = false;
    pthread_create(&thread, NULL, catches, &ok);
    pthread_join(thread, NULL);
    ck_assert(ok);
}

static void *touches(void *loop)
{
    try { loop_call_soon((Loop *)loop, noting); } except (RuntimeError, e) { note(e); } end_try
    loop_call_soon_threadsafe(loop, stopping, .arg = V((Loop *)loop));
    return NULL;
}

TEST(debug_mode_refuses_another_threads_call_soon)
{
    Loop *loop = asyncio_new_event_loop();
    pthread_t thread;
    loop_set_debug(loop, true);
    loop_call_later(loop, 30, stopping, .arg = V(loop));
    loop_call_soon(loop, noting, .arg = V("begun"));
    loop_stop(loop);
    loop_run_forever(loop);
    pthread_create(&thread, NULL, touches, loop);
    loop_run_forever(loop);
    pthread_join(thread, NULL);
    ck_assert(strstr(notes_, "begun") == notes_);
    loop_close(loop);
}

TEST(running_twice_in_a_row)
{
    ck_assert_int_eq(as_int(asyncio_run(gives(1), .virtual_clock = true)), 1);
    ck_assert_int_eq(as_int(asyncio_run(gives(2), .virtual_clock = true)), 2);
}

/* ---- a loop made here and run there ---- */

static void *runs_for_ever(void *loop)
{
    loop_run_forever(loop);
    return NULL;
}

async_def(waits_and_stops)
{
    await(asyncio_sleep(1));
    note("in a task");
    loop_stop(asyncio_get_running_loop());
    return None;
}

TEST(run_by_a_thread_that_knows_nothing_else_of_asyncio)
{
    pthread_t thread;
    Loop *loop = virtual_loop();
    loop_create_task(loop, waits_and_stops());
    pthread_create(&thread, NULL, runs_for_ever, loop);
    pthread_join(thread, NULL);
    ck_notes("in a task");
    loop_close(loop);
}

TEST(a_time_that_is_no_number)
{
    Loop *loop = virtual_loop();
    ck_raises_text(ValueError, "the time of a timer must not be NaN", loop_call_at(loop, NAN, noting));
    loop_call_at(loop, -INFINITY, noting, .arg = V("at once"));
    run_for(loop, 1);
    ck_notes("at once");
    loop_close(loop);
}
