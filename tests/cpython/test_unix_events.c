/* CPython's test_unix_events: signals, unix sockets, sendfile, pipes, children, and what a fork does to a loop. */
#include "cpython_system.h"
#include "cpython_sendfile.h"
#include <signal.h>
#include <sys/wait.h>

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
    ssize_t result;
    return action && system_says(SIGACTION, number, NULL, &result) ? (int)result : LIBC(sigaction)(number, action, old);
}

/* ---- SelectorEventLoopSignalTests --------------------------------------------------------------------------------- */

static void calls_nobody(Value arg) { (void)arg; ck_abort_msg("must not be called"); }
static void note_it(Value arg) { note(arg); }

static bool by_default(int number)
{
    struct sigaction now;
    ck_assert_int_eq(LIBC(sigaction)(number, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

NET_TEST(SelectorEventLoopSignalTests__test_check_signal)
{
    static const int wrong[] = {-1, 0, 32, 33, NSIG, NSIG + 1};     /* 32 and 33 are glibc's own */
    Loop *loop = asyncio_get_running_loop();
    for (int i = 0; i < 6; i++) {
        Value text = format("invalid signal number %d", wrong[i]);
        ck_raises_text(ValueError, as_str(text), loop_add_signal_handler(loop, wrong[i], calls_nobody));
        ck_raises_text(ValueError, as_str(text), loop_remove_signal_handler(loop, wrong[i]));
    }
    return None;
}

NET_TEST(SelectorEventLoopSignalTests__test_handle_signal_no_handler)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGHUP, calls_nobody);
    raise(SIGHUP);
    loop_remove_signal_handler(loop, SIGHUP);            /* before the loop has looked */
    passes(3);
    return None;
}

/* Only a report gives the handle of a signal's callback. */
static void cancels_it(Loop *loop, const ExceptionReport *report) { (void)loop; note("reported"); handle_cancel(report->handle); }
static void fails(Value arg) { (void)arg; note("called"); throw(LookupError, "once"); }

NET_TEST(SelectorEventLoopSignalTests__test_handle_signal_cancelled_handler)
{
    Loop *loop = asyncio_get_running_loop();
    ExceptionHandler before = loop_get_exception_handler(loop);
    loop_set_exception_handler(loop, cancels_it);
    loop_add_signal_handler(loop, SIGHUP, fails);
    raise(SIGHUP);
    pass_until(notes_[0]);
    passes(1);
    ck_notes("called|reported");
    raise(SIGHUP);
    passes(3);
    ck_notes("");
    ck_assert(by_default(SIGHUP));
    ck_assert(!loop_remove_signal_handler(loop, SIGHUP));
    loop_set_exception_handler(loop, before);
    return None;
}

static Value adds_handler(Value loop) { loop_add_signal_handler((Loop *)as_pointer(loop), SIGINT, calls_nobody); return None; }

NET_TEST(SelectorEventLoopSignalTests__test_add_signal_handler_setup_error)
{
    void *loop = asyncio_get_running_loop();
    ck_raises(RuntimeError, await(asyncio_to_thread(adds_handler, .arg = V(loop))));    /* not the main thread */
    return None;
}

NET_TEST(SelectorEventLoopSignalTests__test_add_signal_handler)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGHUP, note_it, .arg = V("hangup"));
    raise(SIGHUP);
    ck_notes("");
    passes(3);
    ck_notes("hangup");
    ck_assert(loop_remove_signal_handler(loop, SIGHUP));
    return None;
}

NET_TEST(SelectorEventLoopSignalTests__test_add_signal_handler_install_error)
{
    system_answers(SIGACTION, SIGHUP, -EFAULT);
    ck_raises_text(OSError, "[Errno 14] Bad address", loop_add_signal_handler(asyncio_get_running_loop(), SIGHUP, calls_nobody));
    ck_assert(!loop_remove_signal_handler(asyncio_get_running_loop(), SIGHUP));
    return None;
}

NET_TEST(SelectorEventLoopSignalTests__test_add_signal_handler_install_error2)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGHUP, note_it, .arg = V("hangup"));
    system_answers(SIGACTION, SIGUSR1, -EINVAL);
    ck_raises_text(RuntimeError, "sig 10 cannot be caught", loop_add_signal_handler(loop, SIGUSR1, calls_nobody));
    raise(SIGHUP);                                       /* the other one is not disturbed */
    passes(3);
    ck_notes("hangup");
    ck_assert(loop_remove_signal_handler(loop, SIGHUP));
    return None;
}

NET_TEST(SelectorEventLoopSignalTests__test_add_signal_handler_install_error3)
{
    Loop *loop = asyncio_get_running_loop();
    ck_raises_text(RuntimeError, "sig 9 cannot be caught", loop_add_signal_handler(loop, SIGKILL, calls_nobody));
    ck_raises_text(RuntimeError, "sig 19 cannot be caught", loop_add_signal_handler(loop, SIGSTOP, calls_nobody));
    ck_assert(!loop_remove_signal_handler(loop, SIGKILL));
    return None;
}

NET_TEST(SelectorEventLoopSignalTests__test_remove_signal_handler)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGHUP, calls_nobody);
    ck_assert(!by_default(SIGHUP));
    ck_assert(loop_remove_signal_handler(loop, SIGHUP));
    ck_assert(by_default(SIGHUP));
    return None;
}

/* What SIGINT means again is Ctrl-C. */
async_def(interrupted)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGINT, calls_nobody);
    loop_add_signal_handler(loop, SIGHUP, note_it, .arg = V("hangup"));
    ck_assert(loop_remove_signal_handler(loop, SIGINT));
    raise(SIGHUP);
    passes(3);
    ck_notes("hangup");
    raise(SIGINT);
    await(asyncio_sleep(3600));
    return None;
}

SYNC_TEST(SelectorEventLoopSignalTests__test_remove_signal_handler_2)
{
    signal(SIGINT, SIG_DFL);
    ck_raises(KeyboardInterrupt, asyncio_run(interrupted()));
    ck_assert(by_default(SIGHUP));
}

SYNC_TEST(SelectorEventLoopSignalTests__test_close)
{
    Loop *loop = asyncio_new_event_loop();
    loop_add_signal_handler(loop, SIGHUP, calls_nobody);
    loop_add_signal_handler(loop, SIGCHLD, calls_nobody);
    loop_close(loop);
    ck_assert(by_default(SIGHUP));
    ck_assert(by_default(SIGCHLD));
}

/* ---- SelectorEventLoopUnixSocketTests ----------------------------------------------------------------------------- */

#define UNIX_TEST(name) \
    static void name##_at_(Loop *loop, const char *path); \
    NET_TEST(name) { \
        SocketPath at_; \
        const char *path_ = socket_path_new(&at_); \
        name##_at_(asyncio_get_running_loop(), path_); \
        socket_path_end(&at_); \
        return None; } \
    static void name##_at_(__attribute__((unused)) Loop *loop, __attribute__((unused)) const char *path)

static void close_server(Value v)
{
    server_close(as_server(v));
    await(server_wait_closed(as_server(v)));
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_existing_path_sock)
{
    close(unix_socket_at(path, true));                   /* what an earlier server left behind */
    close_server(await(loop_create_unix_server(loop, &wire_protocol, None, path)));
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_existing_path_nonsock)
{
    close(open(path, O_CREAT | O_WRONLY, 0600));
    Value wanted = format("[Errno 98] Address '%s' is already in use", path);
    ck_raises_text(OSError, as_str(wanted), await(loop_create_unix_server(loop, &wire_protocol, None, path)));
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_nopath_nosock)
{
    ck_raises_text(ValueError, "path was not specified, and no sock specified",
                   await(loop_create_unix_server(loop, &wire_protocol, None, NULL)));
}

static void check_not_a_unix_stream(int fd)
{
    Loop *loop = asyncio_get_running_loop();
    Value wanted = format("A UNIX Domain Stream Socket was expected, got descriptor %d", fd);
    ck_raises_text(ValueError, as_str(wanted), await(loop_create_unix_server(loop, &wire_protocol, None, NULL, .sock = fd)));
    ck_raises_text(ValueError, as_str(wanted), await(loop_create_unix_connection(loop, &wire_protocol, None, NULL, .sock = fd)));
}

/* A socket that a call refused stays the program's. Here it went to a server that is not to be. */
UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_path_inetsock)
{
    int fd = tcp_socket();
    check_not_a_unix_stream(fd);
    ck_assert_int_eq(close(fd), 0);
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_path_dgram)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check_not_a_unix_stream(fd);
    ck_assert_int_eq(close(fd), 0);
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_connection_path_inetsock)
{
    int fd = tcp_socket();
    check_not_a_unix_stream(fd);
    ck_assert_int_eq(close(fd), 0);
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_path_stream_bittype)
{
    int fd = unix_socket_at(path, false);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    close_server(await(loop_create_unix_server(loop, &wire_protocol, None, NULL, .sock = fd)));
}

/* Nothing stays open: the test counts the descriptors. */
UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_bind_error)
{
    Value nowhere = format("%s/socket", path);
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory",
                   await(loop_create_unix_server(loop, &wire_protocol, None, as_str(nowhere))));
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_connection_path_sock)
{
    ck_raises_text(ValueError, "path and sock can not be specified at the same time",
                   await(loop_create_unix_connection(loop, &wire_protocol, None, path, .sock = 1)));
}

UNIX_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_connection_nopath_nosock)
{
    ck_raises_text(ValueError, "no path and sock were specified", await(loop_create_unix_connection(loop, &wire_protocol, None, NULL)));
}

/* ---- SelectorEventLoopUnixSockSendfileTests ----------------------------------------------------------------------- */

/* A file is to go to a socket, the system answering sendfile() so. Afterwards nobody waits for the socket any more. */
#define SENDFILE_TEST(name) \
    static void name##_with_(Loop *loop, Sending *s); \
    NET_TEST(name) { \
        Loop *loop_ = asyncio_get_running_loop(); \
        Sending s_ = sending_begin(); \
        name##_with_(loop_, &s_); \
        ck_assert(!loop_remove_writer(loop_, s_.fd)); \
        sending_end(&s_); \
        close(s_.file); \
        return None; } \
    static void name##_with_(Loop *loop, Sending *s)

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_not_available)
{
    system_answers(SENDFILE, s->fd, -ENOSYS);
    ck_raises(SendfileNotAvailableError, await(loop_sock_sendfile(loop, s->fd, s->file, .fallback = false)));
    ck_position(s->file, 0);
}

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_not_regular_file)
{
    ck_raises_text(SendfileNotAvailableError, "not a regular file", await(loop_sock_sendfile(loop, s->fd, -1, .fallback = false)));
    ck_position(s->file, 0);
}

/* The first answer of the system makes it wait. */
static Task *sending_waits(Loop *loop, Sending *s)
{
    system_answers(SENDFILE, s->fd, -EAGAIN);
    Task *task = asyncio_create_task(loop_sock_sendfile(loop, s->fd, s->file));
    pass_until(system_calls(SENDFILE) == 1);
    return task;
}

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_cancel1)
{
    Task *task = sending_waits(loop, s);
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_position(s->file, 0);
}

/* Cancelled when the socket is ready already, and the task about to go on. */
static void cancels(Value task) { task_cancel((Task *)as_pointer(task)); }

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_cancel2)
{
    Task *task = sending_waits(loop, s);
    Wire other;
    wire_pair(&other, SOCK_STREAM);
    loop_add_writer(loop, other.near, cancels, .arg = V((void *)task));
    ck_raises(CancelledError, await(task));
    loop_remove_writer(loop, other.near);
    close(other.near);
    close(other.far);
    ck_position(s->file, 0);
}

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_blocking_error)
{
    Task *task = sending_waits(loop, s);
    ck_assert(!task_done(task));
    ck_repr(await(task), "1114113");
    ck_position(s->file, FILE_SIZE);
}

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_os_error_first_call)
{
    system_answers(SENDFILE, s->fd, -EIO);
    ck_raises_text(SendfileNotAvailableError, "os.sendfile call failed", await(loop_sock_sendfile(loop, s->fd, s->file, .fallback = false)));
    ck_position(s->file, 0);
}

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_os_error_next_call)
{
    system_answers(SENDFILE, s->fd, 1000, -EIO);
    ck_raises_text(OSError, "[Errno 5] Input/output error", await(loop_sock_sendfile(loop, s->fd, s->file)));
    ck_position(s->file, 1000);
}

SENDFILE_TEST(SelectorEventLoopUnixSockSendfileTests__test_sock_sendfile_exception)
{
    system_answers(SENDFILE, s->fd, 1000, -ENOSYS);      /* too late to do it in another way */
    ck_raises(OSError, await(loop_sock_sendfile(loop, s->fd, s->file)));
    ck_position(s->file, 1000);
}

/* ---- UnixReadPipeTransportTests ----------------------------------------------------------------------------------- */

static Wire pipe_new(bool reads)
{
    int ends[2];
    Loop *loop = asyncio_get_running_loop();
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    Wire wire = {.near = ends[reads ? 0 : 1], .far = ends[reads ? 1 : 0]};
    wire.transport = transport_in(reads ? await(loop_connect_read_pipe(loop, &wire_protocol, None, wire.near))
                                        : await(loop_connect_write_pipe(loop, &wire_protocol, None, wire.near)));
    return wire;
}


static void comes(Wire *wire, const char *text) { ck_assert_int_eq(LIBC(write)(wire->far, text, strlen(text)), (int)strlen(text)); }
static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

NET_TEST(UnixReadPipeTransportTests__test_ctor)
{
    Wire wire = pipe_new(true);
    ck_notes("made");
    ck_assert(transport_is_reading(wire.transport));
    ck_repr(transport_get_extra_info(wire.transport, "pipe"), as_str(repr(wire.near)));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__read_ready)
{
    Wire wire = pipe_new(true);
    comes(&wire, "data");
    passes(2);
    ck_notes("made|received data");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__read_ready_eof)
{
    Wire wire = pipe_new(true);
    close(wire.far);
    wire.far = -1;
    passes(4);
    ck_notes("made|eof|lost None");
    ck_assert(!is_open(wire.near));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__read_ready_blocked)
{
    Wire wire = pipe_new(true);
    system_answers(READ, wire.near, -EAGAIN);
    comes(&wire, "data");
    pass_until(system_calls(READ) == 1);
    ck_notes("made");
    pass_until(notes_[0]);
    ck_notes("received data");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__read_ready_error)
{
    Wire wire = pipe_new(true);
    system_answers(READ, wire.near, -EBADMSG);
    comes(&wire, "data");
    passes(4);
    ck_notes("made|lost OSError(74, 'Bad message')");
    ck_reported("Fatal read error on pipe transport", OSError);
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_pause_reading)
{
    Wire wire = pipe_new(true);
    transport_pause_reading(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    comes(&wire, "data");
    passes(3);
    ck_notes("made");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_resume_reading)
{
    Wire wire = pipe_new(true);
    transport_pause_reading(wire.transport);
    comes(&wire, "data");
    transport_resume_reading(wire.transport);
    ck_assert(transport_is_reading(wire.transport));
    passes(3);
    ck_notes("made|received data");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_close)
{
    Wire wire = pipe_new(true);
    transport_close(wire.transport);
    passes(2);
    ck_notes("made|lost None");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_close_already_closing)
{
    Wire wire = pipe_new(true);
    transport_close(wire.transport);
    transport_close(wire.transport);
    passes(3);
    ck_notes("made|lost None");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__close)
{
    Wire wire = pipe_new(true);
    comes(&wire, "unread");
    transport_abort(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    ck_notes("made");
    passes(3);
    ck_notes("lost None");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__call_connection_lost)
{
    Wire wire = pipe_new(true);
    transport_close(wire.transport);
    ck_assert(is_open(wire.near));
    passes(2);
    ck_notes("made|lost None");
    ck_assert(!is_open(wire.near));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test__call_connection_lost_with_err)
{
    Wire wire = pipe_new(true);
    system_answers(READ, wire.near, -EIO);
    comes(&wire, "data");
    passes(4);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    ck_assert(!is_open(wire.near));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_pause_reading_on_closed_pipe)
{
    Wire wire = pipe_new(true);
    transport_close(wire.transport);
    passes(2);
    transport_pause_reading(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_pause_reading_on_paused_pipe)
{
    Wire wire = pipe_new(true);
    transport_pause_reading(wire.transport);
    transport_pause_reading(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_resume_reading_on_closed_pipe)
{
    Wire wire = pipe_new(true);
    transport_close(wire.transport);
    passes(2);
    transport_resume_reading(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixReadPipeTransportTests__test_resume_reading_on_paused_pipe)
{
    Wire wire = pipe_new(true);
    transport_resume_reading(wire.transport);            /* it is not paused */
    ck_assert(transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

/* ---- UnixWritePipeTransportTests ---------------------------------------------------------------------------------- */

NET_TEST(UnixWritePipeTransportTests__test_ctor)
{
    Wire wire = pipe_new(false);
    ck_notes("made");
    close(wire.far);                                     /* it is told when nobody reads any more */
    wire.far = -1;
    pass_until(notes_[0]);
    ck_notes("lost None");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_can_write_eof)
{
    Wire wire = pipe_new(false);
    ck_assert(transport_can_write_eof(wire.transport));
    wire_end(&wire);
    return None;
}

static size_t kept(Wire *wire) { return transport_get_write_buffer_size(wire->transport); }
static void puts_in(Wire *wire, const char *text) { transport_write(wire->transport, text, strlen(text)); }

/* What cannot be written yet. */
static void waits(Wire *wire, const char *text)
{
    system_answers(WRITE, wire->near, -EAGAIN);
    puts_in(wire, text);
    ck_assert_uint_eq(kept(wire), strlen(text));
    system_counts(WRITE, wire->near);
}

NET_TEST(UnixWritePipeTransportTests__test_write)
{
    Wire wire = pipe_new(false);
    system_counts(WRITE, wire.near);
    puts_in(&wire, "data");
    ck_assert_int_eq(system_calls(WRITE), 1);
    ck_assert_uint_eq(kept(&wire), 0);
    ck_arrives(&wire, "data");
    passes(3);
    ck_assert_int_eq(system_calls(WRITE), 1);
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_no_data)
{
    Wire wire = pipe_new(false);
    system_counts(WRITE, wire.near);
    puts_in(&wire, "");
    passes(3);
    ck_assert_int_eq(system_calls(WRITE), 0);
    ck_assert_uint_eq(kept(&wire), 0);
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_partial)
{
    Wire wire = pipe_new(false);
    system_answers(WRITE, wire.near, 2);
    puts_in(&wire, "data");
    ck_assert_uint_eq(kept(&wire), 2);
    ck_arrives(&wire, "da");
    passes(2);
    ck_arrives(&wire, "ta");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_buffer)
{
    Wire wire = pipe_new(false);
    waits(&wire, "previous");
    puts_in(&wire, "data");
    ck_assert_int_eq(system_calls(WRITE), 0);
    ck_assert_uint_eq(kept(&wire), 12);
    passes(2);
    ck_arrives(&wire, "previousdata");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_again)
{
    Wire wire = pipe_new(false);
    waits(&wire, "data");
    ck_arrives(&wire, "nothing yet");
    passes(2);
    ck_arrives(&wire, "data");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_err)
{
    Wire wire = pipe_new(false);
    system_answers(WRITE, wire.near, -EIO);
    puts_in(&wire, "data");
    ck_assert_uint_eq(kept(&wire), 0);
    ck_assert(transport_is_closing(wire.transport));
    logging(for (int i = 0; i < 5; i++) puts_in(&wire, "data"));
    ck_assert_ptr_eq(strstr(logged, "pipe closed by peer or os.write(pipe, data) raised exception.\n"), logged);
    ck_assert_int_eq(system_calls(WRITE), 1);
    transport_close(wire.transport);
    passes(2);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_close)
{
    Wire wire = pipe_new(false);
    close(wire.far);
    wire.far = -1;
    pass_until(transport_is_closing(wire.transport));
    system_counts(WRITE, wire.near);
    puts_in(&wire, "data");
    puts_in(&wire, "data");
    ck_assert_int_eq(system_calls(WRITE), 0);
    passes(2);
    ck_notes("made|lost None");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test__read_ready)
{
    Wire wire = pipe_new(false);
    waits(&wire, "unsent");
    system_answers(WRITE, wire.near, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN);
    close(wire.far);
    wire.far = -1;
    pass_until(transport_is_closing(wire.transport));
    passes(3);
    ck_notes("made|lost BrokenPipeError()");             /* something was to be written yet */
    ck_assert(!is_open(wire.near));
    wire_end(&wire);
    return None;
}

/* What is kept, what the system takes of it when the pipe is ready, and how often it is asked in all. */
#define PIPE_READY_TEST(name, first, rest, calls, ...) \
    NET_TEST(name) { \
        Wire wire = pipe_new(false); \
        waits(&wire, "data"); \
        system_answers(WRITE, wire.near, __VA_ARGS__); \
        pass_until(system_calls(WRITE)); \
        ck_arrives(&wire, first); \
        passes(3); \
        ck_arrives(&wire, rest); \
        ck_assert_uint_eq(kept(&wire), 0); \
        ck_assert_int_eq(system_calls(WRITE), calls); \
        wire_end(&wire); \
        return None; }

PIPE_READY_TEST(UnixWritePipeTransportTests__test__write_ready, "data", "nothing yet", 1, 4)
PIPE_READY_TEST(UnixWritePipeTransportTests__test__write_ready_partial, "dat", "a", 2, 3)
PIPE_READY_TEST(UnixWritePipeTransportTests__test__write_ready_again, "nothing yet", "data", 2, -EAGAIN)
PIPE_READY_TEST(UnixWritePipeTransportTests__test__write_ready_empty, "nothing yet", "data", 2, 0)

NET_TEST(UnixWritePipeTransportTests__test__write_ready_err)
{
    Wire wire = pipe_new(false);
    waits(&wire, "data");
    system_answers(WRITE, wire.near, -EIO);
    pass_until(transport_is_closing(wire.transport));
    ck_assert_uint_eq(kept(&wire), 0);
    passes(2);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    reports_taken(0);
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test__write_ready_closing)
{
    Wire wire = pipe_new(false);
    waits(&wire, "data");
    transport_close(wire.transport);
    ck_notes("made");
    pass_until(system_calls(WRITE));
    ck_notes("lost None");
    ck_assert(!is_open(wire.near));
    ck_arrives(&wire, "data");
    ck_arrives(&wire, "the end");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_abort)
{
    Wire wire = pipe_new(false);
    waits(&wire, "data");
    transport_abort(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    ck_assert_uint_eq(kept(&wire), 0);
    passes(3);
    ck_notes("made|lost None");
    ck_assert_int_eq(system_calls(WRITE), 0);
    ck_arrives(&wire, "the end");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test__call_connection_lost)
{
    Wire wire = pipe_new(false);
    transport_abort(wire.transport);
    ck_assert(is_open(wire.near));
    passes(2);
    ck_notes("made|lost None");
    ck_assert(!is_open(wire.near));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test__call_connection_lost_with_err)
{
    Wire wire = pipe_new(false);
    system_answers(WRITE, wire.near, -EIO);
    puts_in(&wire, "data");
    ck_assert(is_open(wire.near));
    passes(2);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    ck_assert(!is_open(wire.near));
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_close)
{
    Wire wire = pipe_new(false);
    transport_close(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    transport_close(wire.transport);
    passes(3);
    ck_notes("made|lost None");
    ck_arrives(&wire, "the end");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_close_closing)
{
    Wire wire = pipe_new(false);
    waits(&wire, "data");
    transport_write_eof(wire.transport);
    transport_close(wire.transport);                     /* the end is on its way already */
    transport_write_eof(wire.transport);
    passes(3);
    ck_notes("made|lost None");
    ck_arrives(&wire, "data");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_eof)
{
    Wire wire = pipe_new(false);
    transport_write_eof(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    passes(2);
    ck_notes("made|lost None");
    wire_end(&wire);
    return None;
}

NET_TEST(UnixWritePipeTransportTests__test_write_eof_pending)
{
    Wire wire = pipe_new(false);
    waits(&wire, "data");
    transport_write_eof(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    ck_notes("made");
    puts_in(&wire, "too late");
    passes(3);
    ck_arrives(&wire, "data");
    ck_arrives(&wire, "the end");
    wire_end(&wire);
    return None;
}

/* ---- ChildWatcherTestsMixin: the ends of children ------------------------------------------------------------------ */

/* A child that ends when its line comes: `exit 12`, `kill -3 $$`. */
static Process *child(void) { return as_process(await(asyncio_create_subprocess_shell("read line; eval $line", .stdin = PIPE))); }
static void child_does(Process *process, const char *line) { streamwriter_write(process_stdin(process), as_str(format("%s\n", line))); }
static bool runs(Process *process) { return is_none(process_returncode(process)); }
static void ck_reaped(Process *process) { ck_assert_int_eq(waitpid(process_pid(process), NULL, WNOHANG), -1); }

/* Until the system knows the end of the child; it is not reaped, and the loop has had no turn. */
static void ends_unseen(int pid)
{
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

NET_TEST(ChildWatcherTestsMixin__test_sigchld)
{
    Process *process = child();
    passes(3);
    ck_assert(runs(process));
    child_does(process, "exit 12");
    ck_repr(await(process_wait(process)), "12");
    ck_reaped(process);
    return None;
}

NET_TEST(ChildWatcherTestsMixin__test_sigchld_two_children)
{
    Process *one = child(), *two = child();
    passes(3);
    ck_assert(runs(one) && runs(two));
    child_does(one, "kill -3 $$");
    ck_repr(await(process_wait(one)), "-3");
    passes(3);
    ck_assert(runs(two));
    child_does(two, "exit 108");
    ck_repr(await(process_wait(two)), "108");
    ck_reaped(one);
    ck_reaped(two);
    return None;
}

NET_TEST(ChildWatcherTestsMixin__test_sigchld_two_children_terminating_together)
{
    Process *one = child(), *two = child();
    process_send_signal(one, SIGILL);
    process_send_signal(two, SIGKILL);
    ends_unseen(process_pid(one));
    ends_unseen(process_pid(two));
    ck_assert(runs(one) && runs(two));
    ck_repr(await(asyncio_gather(process_wait(one), process_wait(two))), "[-4, -9]");
    return None;
}

NET_TEST(ChildWatcherTestsMixin__test_sigchld_race_condition)
{
    Process *process = as_process(await(asyncio_create_subprocess_exec("true")));
    ends_unseen(process_pid(process));
    ck_repr(await(process_wait(process)), "0");
    return None;
}

NET_TEST(ChildWatcherTestsMixin__test_sigchld_remove_handler)
{
    Process *process = child();
    Task *waiter = asyncio_create_task(process_wait(process));
    passes(1);
    task_cancel(waiter);
    child_does(process, "exit 99");
    pass_until(!runs(process));
    ck_assert(task_cancelled(waiter));                   /* the end is for nobody, but the child is reaped */
    ck_reaped(process);
    return None;
}

/* A child that is stopped has not ended. */
NET_TEST(ChildWatcherTestsMixin__test_sigchld_unknown_status)
{
    siginfo_t info;
    Process *process = child();
    process_send_signal(process, SIGSTOP);
    ck_assert_int_eq(waitid(P_PID, (id_t)process_pid(process), &info, WSTOPPED | WNOWAIT), 0);
    passes(3);
    ck_assert(runs(process));
    process_send_signal(process, SIGCONT);
    child_does(process, "exit 5");
    ck_repr(await(process_wait(process)), "5");
    ck_reaped(process);
    return None;
}

NET_TEST(ChildWatcherTestsMixin__test_remove_child_handler)
{
    Process *children[3];
    Task *waiters[3];
    for (int i = 0; i < 3; i++) {
        children[i] = child();
        waiters[i] = asyncio_create_task(process_wait(children[i]));
    }
    passes(1);
    ck_assert(task_cancel(waiters[0]));
    ck_assert(task_cancel(waiters[1]));
    passes(1);
    ck_assert(!task_cancel(waiters[1]));
    for (int i = 0; i < 3; i++) child_does(children[i], as_str(format("exit %d", i)));
    ck_repr(await(waiters[2]), "2");
    for (int i = 0; i < 3; i++) pass_until(!runs(children[i]));
    ck_assert(task_cancelled(waiters[0]) && task_cancelled(waiters[1]));
    return None;
}

NET_TEST(ChildWatcherTestsMixin__test_sigchld_child_reaped_elsewhere)
{
    Process *process = child();
    process_kill(process);
    ck_assert_int_eq(waitpid(process_pid(process), NULL, 0), process_pid(process));
    logging(ck_repr(await(process_wait(process)), "255"));
    ck_contains(logged, "will report returncode 255");
    return None;
}

/* A child that asyncio has not started is not its to reap. */
NET_TEST(ChildWatcherTestsMixin__test_sigchld_unknown_pid_during_registration)
{
    int status, other = fork();
    if (!other) _exit(17);
    ends_unseen(other);
    Process *one = as_process(await(asyncio_create_subprocess_shell("exit 7"))), *two = child();
    ck_repr(await(process_wait(one)), "7");
    ck_assert(runs(two));
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(WEXITSTATUS(status), 17);
    child_does(two, "exit 0");
    ck_repr(await(process_wait(two)), "0");
    return None;
}

/* ---- TestFunctional ------------------------------------------------------------------------------------------------ */

NET_TEST(TestFunctional__test_add_reader_invalid_argument)
{
    Loop *loop = asyncio_get_running_loop();
    ck_raises_text(ValueError, "Invalid file descriptor: -1", loop_add_reader(loop, -1, calls_nobody));
    ck_raises_text(ValueError, "Invalid file descriptor: -1", loop_add_writer(loop, -1, calls_nobody));
    ck_raises_text(OSError, "[Errno 9] Bad file descriptor", loop_add_reader(loop, 4000, calls_nobody));
    ck_raises_text(ValueError, "Invalid file descriptor: -1", loop_remove_reader(loop, -1));
    ck_raises_text(ValueError, "Invalid file descriptor: -1", loop_remove_writer(loop, -1));
    return None;
}

NET_TEST(TestFunctional__test_add_reader_or_writer_transport_fd)
{
    Loop *loop = asyncio_get_running_loop();
    Wire wire = wire_new();
    Value wanted = format("File descriptor %d is used by transport %s", wire.near, as_str(repr(wire.transport)));
    ck_raises_text(RuntimeError, as_str(wanted), loop_add_reader(loop, wire.near, calls_nobody));
    ck_raises_text(RuntimeError, as_str(wanted), loop_remove_reader(loop, wire.near));
    ck_raises_text(RuntimeError, as_str(wanted), loop_add_writer(loop, wire.near, calls_nobody));
    ck_raises_text(RuntimeError, as_str(wanted), loop_remove_writer(loop, wire.near));
    wire_end(&wire);
    return None;
}

/* ---- TestFork ------------------------------------------------------------------------------------------------------ */

/* What a forked child makes of it: its exit status. */
static int in_child(int (*what)(void))
{
    int status, pid = fork();
    if (!pid) _exit(what());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int has_no_loop(void)
{
    volatile int answers = 0;
    try { asyncio_get_running_loop(); } except (RuntimeError) { answers += 1; } end_try
    try { asyncio_get_event_loop(); } except (RuntimeError) { answers += 2; } end_try
    return answers;
}

NET_TEST(TestFork__test_fork_not_share_event_loop)
{
    Loop *loop = asyncio_get_running_loop();
    ck_assert_int_eq(in_child(has_no_loop), 3);
    ck_same(asyncio_get_running_loop(), loop);
    return None;
}

NET_TEST(TestFork__test_fork_signal_handling)
{
    Loop *loop = asyncio_get_running_loop();
    loop_add_signal_handler(loop, SIGTERM, calls_nobody);
    Wire started;
    wire_pair(&started, SOCK_DGRAM);
    int status, pid = fork();
    if (!pid) for (comes(&started, "started"); ; ) pause();
    loop_add_reader(loop, started.near, note_it, .arg = V("started"));
    pass_until(notes_[0]);
    loop_remove_reader(loop, started.near);
    close(started.near);
    close(started.far);
    kill(pid, SIGTERM);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    passes(3);
    ck_repr(await(asyncio_create_task(asyncio_sleep(0.001, V(42)))), "42");      /* the loop still works */
    loop_remove_signal_handler(loop, SIGTERM);
    return None;
}

async_def(answer) { return await(asyncio_sleep(0.001, V(42))); }
static int runs_a_loop(void) { return (int)as_int(asyncio_run(answer())); }

async_def(starts_one) { return await(process_wait(as_process(await(asyncio_create_subprocess_shell("exit 43"))))); }
static int runs_a_child(void) { return (int)as_int(asyncio_run(starts_one())); }

NET_TEST(TestFork__test_fork_asyncio_run)
{
    ck_assert_int_eq(in_child(runs_a_loop), 42);
    return None;
}

NET_TEST(TestFork__test_fork_asyncio_subprocess)
{
    ck_assert_int_eq(in_child(runs_a_child), 43);
    return None;
}
