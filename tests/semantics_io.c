/* The subtle rules again, those about children, signals and streams: numbered as in semantics.c, which says more. */
#include "testing.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define pass_until(condition) do { while (!(condition)) scope { await(asyncio_sleep(0)); } } while (0)

static void note_it(Value v) { note(v); }
static void passes(int count) { while (count--) await(asyncio_sleep(0)); }

/* ---- 35: children ------------------------------------------------------------------------------------------------- */

#define shell(command, ...) as_process(await(asyncio_create_subprocess_shell(command, __VA_ARGS__)))

/* Until the system knows that it has ended; nobody has reaped it. */
static void ends_unseen(Process *process)
{
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)process_pid(process), &info, WEXITED | WNOWAIT), 0);
}

IO_TEST(row_35_children_that_end_together_are_each_reaped_once)
{
    Process *one = shell("exit 12"), *two = shell("kill -9 $$");
    ends_unseen(one);                                    /* before the loop had a chance to hear of it */
    ends_unseen(two);
    ck_repr(await(asyncio_gather(process_wait(one), process_wait(two), process_wait(one))), "[12, -9, 12]");
    ck_repr(process_returncode(one), "12");
    ck_assert_int_eq(waitpid(process_pid(one), NULL, WNOHANG), -1);
    ck_assert_int_eq(waitpid(process_pid(two), NULL, WNOHANG), -1);
    ck_raises(ProcessLookupError, process_kill(one));
    return None;
}

IO_TEST(row_35_a_child_reaped_elsewhere_reports_255)
{
    Process *process = shell("exit 3");
    ck_assert_int_eq(waitpid(process_pid(process), NULL, 0), process_pid(process));
    ck_repr(await(process_wait(process)), "255");
    return None;
}

IO_TEST(row_35_who_waits_already_waits_for_the_pipes_too)
{
    Process *process = shell("sleep 3600 & echo $!; read line; exit 5", .stdin = PIPE, .stdout = PIPE);
    int grandchild = atoi(as_bytes(await(streamreader_readline(process_stdout(process))), NULL));
    Task *waiter = asyncio_create_task(process_wait(process));
    passes(1);
    streamwriter_write(process_stdin(process), "go on\n");
    pass_until(!is_none(process_returncode(process)));
    ck_repr(await(process_wait(process)), "5");          /* but who asks when it is known, does not */
    passes(3);
    ck_assert(!task_done(waiter));
    kill(grandchild, SIGKILL);
    ck_repr(await(waiter), "5");
    return None;
}

IO_TEST(row_35_a_cancelled_wait_ends_nothing)
{
    Process *process = shell("read line; exit 7", .stdin = PIPE);
    Task *waiter = asyncio_create_task(process_wait(process)), *other = asyncio_create_task(process_wait(process));
    passes(1);
    task_cancel(waiter);
    ck_raises(CancelledError, await(waiter));
    ck_repr(process_returncode(process), "None");
    streamwriter_write(process_stdin(process), "now\n");
    ck_repr(await(other), "7");
    return None;
}

IO_TEST(row_35_communicate_does_not_mind_a_child_that_reads_nothing)
{
    static char much[1000000];
    ck_repr(await(process_communicate(shell("exec 0<&-; echo done", .stdin = PIPE, .stdout = PIPE), .input = bytes(much, sizeof much))), "(b'done\\n', None)");
    return None;
}

static int pid_left;
async_def(leaves_a_child) { pid_left = process_pid(shell("sleep 3600")); return None; }

TEST(row_35_a_loop_that_closes_ends_its_children)
{
    scope asyncio_run(leaves_a_child());
    ck_assert_int_eq(kill(pid_left, 0), -1);
    ck_assert_int_eq(errno, ESRCH);
}

/* ---- 36: signals -------------------------------------------------------------------------------------------------- */

static bool by_default(int number)
{
    struct sigaction action;
    sigaction(number, NULL, &action);
    return action.sa_handler == SIG_DFL;
}

IO_TEST(row_36_a_handler_runs_in_the_loop)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGUSR1, note_it, .arg = V("replaced"));
    loop_add_signal_handler(loop, SIGUSR1, note_it, .arg = V("signal"));
    raise(SIGUSR1);
    loop_call_soon(loop, note_it, .arg = V("soon"));
    note("here");
    passes(3);
    ck_notes("here|soon|signal");
    ck_assert(loop_remove_signal_handler(loop, SIGUSR1));
    ck_assert(!loop_remove_signal_handler(loop, SIGUSR1));
    ck_assert(by_default(SIGUSR1));
    return None;
}

IO_TEST(row_36_what_is_refused)
{
    Loop *loop = asyncio_get_running_loop();
    ck_raises_text(ValueError, "invalid signal number 65", loop_add_signal_handler(loop, 65, note_it));
    ck_raises_text(ValueError, "invalid signal number 0", loop_remove_signal_handler(loop, 0));
    ck_raises_text(RuntimeError, "sig 9 cannot be caught", loop_add_signal_handler(loop, SIGKILL, note_it));
    ck_raises_text(RuntimeError, "sig 19 cannot be caught", loop_add_signal_handler(loop, SIGSTOP, note_it));
    return None;
}

static Value adds_one(Value loop) { loop_add_signal_handler((Loop *)as_pointer(loop), SIGUSR1, note_it); return None; }

IO_TEST(row_36_only_in_the_main_thread)
{
    void *loop = asyncio_get_running_loop();
    ck_raises(RuntimeError, await(asyncio_to_thread(adds_one, .arg = V(loop))));
    return None;
}

static void fails(Value arg) { (void)arg; throw(LookupError, "no more"); }
static void cancels_its_handle(Loop *loop, const ExceptionReport *report) { (void)loop; note("reported"); handle_cancel(report->handle); }

IO_TEST(row_36_a_cancelled_handler_removes_itself)
{
    Loop *loop = asyncio_get_running_loop();
    loop_set_exception_handler(loop, cancels_its_handle);
    loop_add_signal_handler(loop, SIGUSR1, fails);
    raise(SIGUSR1);
    pass_until(notes_[0]);
    raise(SIGUSR1);
    passes(3);
    ck_notes("reported");
    ck_assert(by_default(SIGUSR1));
    ck_assert(!loop_remove_signal_handler(loop, SIGUSR1));
    return None;
}

TEST(row_36_closing_the_loop_removes_all)
{
    scope {
        Loop *loop = asyncio_new_event_loop();
        loop_add_signal_handler(loop, SIGUSR1, note_it);
        loop_add_signal_handler(loop, SIGUSR2, note_it);
        loop_close(loop);
        ck_assert(by_default(SIGUSR1) && by_default(SIGUSR2));
    }
}

/* ---- 39: StreamReader --------------------------------------------------------------------------------------------- */

static StreamReader *reader_of(const char *text, long limit)
{
    StreamReader *reader = asyncio_StreamReader(.limit = limit);
    streamreader_feed_data(reader, text, strlen(text));
    return reader;
}

static Value details_of(Coroutine *reading, const ExceptionClass *class)
{
    Value details = None;
    try {
        await(reading);
    } except (Exception, e) {
        ck_assert_str_eq(exception_type(e)->name, class->name);
        details = exception_details(e);
    } end_try
    return details;
}

ASYNC_TEST(row_39_readuntil_over_the_limit_leaves_the_buffer)
{
    StreamReader *found = reader_of("abcd<>", 3), *not_found = reader_of("abcdef", 3);
    ck_repr(details_of(streamreader_readuntil(found, "<>"), LimitOverrunError), "(4,)");
    ck_repr(await(streamreader_read(found, 100)), "b'abcd<>'");
    ck_repr(details_of(streamreader_readuntil(not_found, "<>"), LimitOverrunError), "(5,)");
    ck_repr(await(streamreader_read(not_found, 100)), "b'abcdef'");
    ck_repr(await(streamreader_readuntil(reader_of("abc<>", 3), "<>")), "b'abc<>'");     /* the separator does not count */
    return None;
}

ASYNC_TEST(row_39_readline_over_the_limit_drops_the_line)
{
    StreamReader *reader = reader_of("abcd\nef\n", 3), *endless = reader_of("abcdef", 3);
    ck_raises_text(ValueError, "Separator is found, but chunk is longer than limit", await(streamreader_readline(reader)));
    ck_repr(await(streamreader_readline(reader)), "b'ef\\n'");
    ck_raises_text(ValueError, "Separator is not found, and chunk exceed the limit", await(streamreader_readline(endless)));
    streamreader_feed_data(endless, "g\n", 2);
    ck_repr(await(streamreader_readline(endless)), "b'g\\n'");       /* what was there is gone */
    return None;
}

ASYNC_TEST(row_39_the_end_of_the_stream)
{
    StreamReader *line = reader_of("rest", 64), *exactly = reader_of("rest", 64), *until = reader_of("rest", 64), *all = reader_of("rest", 2);
    StreamReader *ended[] = {line, exactly, until, all};
    for (int i = 0; i < 4; i++) streamreader_feed_eof(ended[i]);
    ck_repr(await(streamreader_readline(line)), "b'rest'");
    ck_repr(await(streamreader_readline(line)), "b''");
    ck_repr(details_of(streamreader_readexactly(exactly, 9), IncompleteReadError), "(b'rest', 9)");
    ck_repr(await(streamreader_read(exactly)), "b''");
    ck_repr(details_of(streamreader_readuntil(until, "<>"), IncompleteReadError), "(b'rest', None)");
    ck_assert(streamreader_at_eof(until));
    ck_repr(await(streamreader_read(all)), "b'rest'");
    return None;
}

ASYNC_TEST(row_39_readexactly_and_read_know_no_limit)
{
    StreamReader *reader = reader_of("more than three", 3);
    ck_repr(await(streamreader_readexactly(reader, 9)), "b'more than'");
    ck_repr(await(streamreader_read(reader, 100)), "b' three'");
    return None;
}

ASYNC_TEST(row_39_a_separator_in_two_pieces)
{
    StreamReader *reader = reader_of("one<", 64);
    Task *task = asyncio_create_task(streamreader_readuntil(reader, "<>"));
    passes(1);
    streamreader_feed_data(reader, ">two", 4);
    ck_repr(await(task), "b'one<>'");
    return None;
}

ASYNC_TEST(row_39_one_reader_at_a_time)
{
    StreamReader *reader = asyncio_StreamReader();
    Task *task = asyncio_create_task(streamreader_readline(reader));
    passes(1);
    ck_raises_text(RuntimeError, "read() called while another coroutine is already waiting for incoming data", await(streamreader_read(reader, 1)));
    streamreader_feed_eof(reader);
    ck_repr(await(task), "b''");
    return None;
}

ASYNC_TEST(row_39_an_exception_is_for_every_read_to_come)
{
    StreamReader *reader = reader_of("data", 64);
    streamreader_set_exception(reader, exception_new(LookupError, "broken"));
    for (int i = 0; i < 2; i++) ck_raises_text(LookupError, "broken", await(streamreader_read(reader, 1)));
    ck_raises_text(LookupError, "broken", await(streamreader_readline(reader)));
    return None;
}

/* ---- 40: flow control --------------------------------------------------------------------------------------------- */

/* A stream on one end of a pair of sockets with small buffers; the other end is a plain descriptor that does not block. */
typedef struct Pair { StreamReader *reader; StreamWriter *writer; int far; } Pair;

static Pair line_new(long limit)
{
    int ends[2], small = 4096;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    Value both = await(asyncio_open_connection(NULL, None, .sock = ends[0], .limit = limit));
    return (Pair){as_streamreader(list_get(both, 0)), as_streamwriter(list_get(both, 1)), ends[1]};
}

static void line_end(Pair *line)
{
    close(line->far);
    transport_abort(streamwriter_transport(line->writer));
    passes(3);
}

static size_t drain_far_end(Pair *line)
{
    static char bin[65536];
    size_t total = 0;
    for (ssize_t n; (n = read(line->far, bin, sizeof bin)) > 0; ) total += (size_t)n;
    return total;
}

static char much[1000000];

IO_TEST(row_40_reading_pauses_above_twice_the_limit)
{
    Pair line = line_new(4);
    Transport *transport = streamwriter_transport(line.writer);
    ck_assert_int_eq(write(line.far, "12345678", 8), 8);
    passes(3);
    ck_assert(transport_is_reading(transport));
    ck_assert_int_eq(write(line.far, "9", 1), 1);
    passes(3);
    ck_assert(!transport_is_reading(transport));
    ck_repr(await(streamreader_read(line.reader, 4)), "b'1234'");
    ck_assert(!transport_is_reading(transport));         /* five are more than the limit */
    ck_repr(await(streamreader_read(line.reader, 1)), "b'5'");
    ck_assert(transport_is_reading(transport));
    line_end(&line);
    return None;
}

IO_TEST(row_40_several_may_drain)
{
    Pair line = line_new(64);
    await(streamwriter_drain(line.writer));              /* at once: nothing is buffered */
    streamwriter_write(line.writer, bytes(much, sizeof much));
    Task *one = asyncio_create_task(streamwriter_drain(line.writer)), *two = asyncio_create_task(streamwriter_drain(line.writer));
    passes(3);
    ck_assert(!task_done(one) && !task_done(two));
    size_t total = 0;
    while (!task_done(one)) scope { total += drain_far_end(&line); await(asyncio_sleep(0)); }
    await(two);
    Value limits = transport_get_write_buffer_limits(streamwriter_transport(line.writer));
    ck_repr(limits, "(16384, 65536)");
    ck_assert(transport_get_write_buffer_size(streamwriter_transport(line.writer)) <= 16384);
    while (total < sizeof much) scope { total += drain_far_end(&line); await(asyncio_sleep(0)); }
    line_end(&line);
    return None;
}

IO_TEST(row_40_drain_after_a_loss)
{
    Pair line = line_new(64);
    streamwriter_write(line.writer, bytes(much, sizeof much));
    Task *draining = asyncio_create_task(streamwriter_drain(line.writer));
    passes(1);
    transport_abort(streamwriter_transport(line.writer));
    ck_raises_text(ConnectionResetError, "Connection lost", await(streamwriter_drain(line.writer)));
    await(draining);                                     /* who waited is let go */
    ck_raises_text(ConnectionResetError, "Connection lost", await(streamwriter_drain(line.writer)));
    line_end(&line);
    return None;
}

IO_TEST(row_40_drain_raises_what_the_reader_met)
{
    Pair line = line_new(64);
    streamreader_set_exception(line.reader, exception_new(LookupError, "met"));
    ck_raises_text(LookupError, "met", await(streamwriter_drain(line.writer)));
    line_end(&line);
    return None;
}

IO_TEST(row_40_close_sends_what_is_buffered_and_abort_does_not)
{
    Pair closed = line_new(64), aborted = line_new(64);
    Pair *lines[] = {&closed, &aborted};
    for (int i = 0; i < 2; i++) streamwriter_write(lines[i]->writer, bytes(much, sizeof much));
    streamwriter_close(closed.writer);
    transport_abort(streamwriter_transport(aborted.writer));
    ck_assert(streamwriter_is_closing(closed.writer) && streamwriter_is_closing(aborted.writer));
    size_t total = 0;
    Task *waiting = asyncio_create_task(streamwriter_wait_closed(closed.writer));
    while (!task_done(waiting)) scope { total += drain_far_end(&closed); await(asyncio_sleep(0)); }
    ck_assert_uint_eq(total + drain_far_end(&closed), sizeof much);
    await(streamwriter_wait_closed(aborted.writer));
    ck_assert(drain_far_end(&aborted) < sizeof much);
    for (int i = 0; i < 2; i++) line_end(lines[i]);
    return None;
}

/* connection_lost() comes in a later pass, and once. */
static void made(Value self, Transport *transport) { (void)self; (void)transport; note("made"); }
static void lost(Value self, Value e) { (void)self; note("lost", repr(e)); }
static const Protocol notes_both = {.connection_made = made, .connection_lost = lost};

IO_TEST(row_40_the_loss_is_told_once)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    Value both = await(loop_create_connection(asyncio_get_running_loop(), &notes_both, None, NULL, None, .sock = ends[0]));
    Transport *transport = (Transport *)list_get(both, 0).object;
    transport_close(transport);
    transport_close(transport);
    transport_abort(transport);
    ck_notes("made");
    for (int i = 0; i < 3; i++) transport_write(transport, "x", 1);  /* nobody reads it, and nobody minds */
    passes(3);
    ck_notes("lost None");
    close(ends[1]);
    return None;
}

IO_TEST(row_40_no_write_after_write_eof)
{
    Pair line = line_new(64);
    streamwriter_write_eof(line.writer);
    ck_raises_text(RuntimeError, "Cannot call write() after write_eof()", streamwriter_write(line.writer, "x"));
    line_end(&line);
    return None;
}
