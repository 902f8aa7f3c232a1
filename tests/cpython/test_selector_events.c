/* CPython's test_selector_events: readers and writers of the loop, and the transports of sockets and datagrams.
 *
 * There the socket is a mock; here it is one end of a real pair, and where the system has to refuse, or to take only a
 * part, the test says so with system_answers(). What CPython looks up inside (a buffer, a registration) is seen from what
 * arrives, from transport_get_write_buffer_size(), and from the calls that are made.
 */
#include "cpython_system.h"
#include <netdb.h>

/* ---- BaseSelectorEventLoopTests ----------------------------------------------------------------------------------- */

static void calls_nobody(Value arg) { (void)arg; ck_abort_msg("must not be called"); }
static void notes_arg(Value arg) { note(arg); }

SYNC_TEST(BaseSelectorEventLoopTests__test_make_socket_transport)
{
    Loop *loop = asyncio_new_event_loop();
    Wire wire;
    wire_pair(&wire, SOCK_STREAM);
    wire.transport = transport_in(
        loop_run_until_complete(loop, loop_create_connection(loop, &wire_protocol, None, NULL, None, .sock = wire.near)));
    ck_raises(RuntimeError, loop_add_reader(loop, wire.near, calls_nobody));
    loop_close(loop);
    ck_repr(wire.transport, "<Transport closed fd=-1>");
    close(wire.far);
}

SYNC_TEST(BaseSelectorEventLoopTests__test_close)
{
    int descriptors = open_descriptors();
    Loop *loop = asyncio_new_event_loop();
    Future *future = loop_create_future(loop);
    ck_assert(!loop_is_closed(loop));
    loop_close(loop);
    ck_assert(loop_is_closed(loop));
    loop_close(loop);
    loop_close(loop);
    ck_assert_int_eq(open_descriptors(), descriptors);
    ck_raises(RuntimeError, loop_run_forever(loop));
    ck_raises(RuntimeError, loop_run_until_complete(loop, future));
    ck_raises(RuntimeError, loop_add_reader(loop, 0, calls_nobody));
    ck_raises(RuntimeError, loop_add_writer(loop, 0, calls_nobody));
}

/* The loop's own pipe: the two lowest descriptors that were free when it was made. */
static Loop *loop_with_pipe(int ends[2])
{
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    close(ends[1]);
    return asyncio_new_event_loop();
}

static void stops(Value loop) { note("stopped"); loop_stop(as_pointer(loop)); }

SYNC_TEST(BaseSelectorEventLoopTests__test_read_from_self_tryagain)
{
    int ends[2];
    Loop *loop = loop_with_pipe(ends);
    system_answers(READ, ends[0], -EAGAIN);
    loop_call_soon_threadsafe(loop, stops, .arg = V((void *)loop));
    loop_run_forever(loop);
    ck_notes("stopped");
    ck_assert_int_ge(system_calls(READ), 1);
    loop_close(loop);
}

SYNC_TEST(BaseSelectorEventLoopTests__test_write_to_self_tryagain)
{
    int ends[2];
    Loop *loop = loop_with_pipe(ends);
    while (LIBC(write)(ends[1], notes_, sizeof notes_) > 0) {}
    ck_assert_int_eq(errno, EAGAIN);
    system_counts(WRITE, ends[1]);
    loop_call_soon_threadsafe(loop, stops, .arg = V((void *)loop));
    ck_assert_int_eq(system_calls(WRITE), 1);            /* in vain: but a full pipe wakes the loop all the same */
    loop_run_forever(loop);
    ck_notes("stopped");
    loop_close(loop);
}

/* The resolver of the tests that need one: it answers with 127.0.0.1, and remembers what it was asked. */
static struct { const char *host; char service[16]; struct addrinfo hints; struct sockaddr_in answer; } asked;

int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict hints, struct addrinfo **restrict info)
{
    if (!asked.host || !host || strcmp(host, asked.host)) return LIBC(getaddrinfo)(host, service, hints, info);
    snprintf(asked.service, sizeof asked.service, "%s", service);
    asked.hints = *hints;
    return LIBC(getaddrinfo)("127.0.0.1", "0", hints, info);
}

NET_TEST(BaseSelectorEventLoopTests__test_sock_connect_resolve_using_socket_params)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    asked.host = "need-resolution.example";
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_INET, types[i] | SOCK_CLOEXEC, 0);
        try {
            await(loop_sock_connect(asyncio_get_running_loop(), fd, tuple(asked.host, 8080)));
        } except (OSError) {
            /* nobody listens there */
        } end_try
        ck_assert_str_eq(asked.service, "8080");
        ck_assert_int_eq(asked.hints.ai_family, AF_INET);
        ck_assert_int_eq(asked.hints.ai_socktype, types[i]);
        ck_assert_int_eq(asked.hints.ai_protocol, types[i] == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
        ck_assert_int_eq(asked.hints.ai_flags, 0);
        close(fd);
    }
    return None;
}

/* A pair of sockets with a byte to read at the near end, which can also be written to. */
static Wire ready_pair(void)
{
    Wire pair;
    wire_pair(&pair, SOCK_STREAM);
    ck_assert_int_eq(LIBC(write)(pair.far, "x", 1), 1);
    return pair;
}

static void end_of_pair(Loop *loop, Wire *pair)
{
    loop_remove_reader(loop, pair->near);
    loop_remove_writer(loop, pair->near);
    close(pair->near);
    close(pair->far);
}

static struct { Loop *loop; int fd; } to_remove;
static void reads_once(Value arg) { note(arg); loop_remove_reader(to_remove.loop, to_remove.fd); }
static void writes_once(Value arg) { note(arg); loop_remove_writer(to_remove.loop, to_remove.fd); }

#define PAIR_TEST(name) \
    static void name##_with_(Loop *loop, Wire *pair); \
    NET_TEST(name) { \
        Loop *loop_ = asyncio_get_running_loop(); \
        Wire pair_ = ready_pair(); \
        to_remove.loop = loop_; \
        to_remove.fd = pair_.near; \
        name##_with_(loop_, &pair_); \
        end_of_pair(loop_, &pair_); \
        return None; } \
    static void name##_with_(Loop *loop, Wire *pair)

PAIR_TEST(BaseSelectorEventLoopTests__test_add_reader)
{
    loop_add_reader(loop, pair->near, reads_once, .arg = V("reader"));
    passes(3);
    ck_notes("reader");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_add_reader_existing)
{
    loop_add_writer(loop, pair->near, writes_once, .arg = V("writer"));
    loop_add_reader(loop, pair->near, calls_nobody);
    loop_add_reader(loop, pair->near, reads_once, .arg = V("another reader"));
    passes(3);
    ck_notes("another reader|writer");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_add_reader_existing_writer)
{
    loop_add_writer(loop, pair->near, writes_once, .arg = V("writer"));
    loop_add_reader(loop, pair->near, reads_once, .arg = V("reader"));
    passes(3);
    ck_notes("reader|writer");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_remove_reader)
{
    loop_add_reader(loop, pair->near, calls_nobody);
    ck_assert(loop_remove_reader(loop, pair->near));
    ck_assert(!loop_remove_reader(loop, pair->near));
    passes(3);
}

PAIR_TEST(BaseSelectorEventLoopTests__test_remove_reader_read_write)
{
    loop_add_reader(loop, pair->near, calls_nobody);
    loop_add_writer(loop, pair->near, writes_once, .arg = V("writer"));
    ck_assert(loop_remove_reader(loop, pair->near));
    passes(3);
    ck_notes("writer");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_remove_reader_unknown)
{
    ck_assert(!loop_remove_reader(loop, pair->near));
    ck_assert(!loop_remove_reader(loop, 4000));
}

PAIR_TEST(BaseSelectorEventLoopTests__test_add_writer)
{
    loop_add_writer(loop, pair->near, writes_once, .arg = V("writer"));
    passes(3);
    ck_notes("writer");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_add_writer_existing)
{
    loop_add_reader(loop, pair->near, reads_once, .arg = V("reader"));
    loop_add_writer(loop, pair->near, calls_nobody);
    loop_add_writer(loop, pair->near, writes_once, .arg = V("another writer"));
    passes(3);
    ck_notes("reader|another writer");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_remove_writer)
{
    loop_add_writer(loop, pair->near, calls_nobody);
    ck_assert(loop_remove_writer(loop, pair->near));
    ck_assert(!loop_remove_writer(loop, pair->near));
    passes(3);
}

PAIR_TEST(BaseSelectorEventLoopTests__test_remove_writer_read_write)
{
    loop_add_reader(loop, pair->near, reads_once, .arg = V("reader"));
    loop_add_writer(loop, pair->near, calls_nobody);
    ck_assert(loop_remove_writer(loop, pair->near));
    passes(3);
    ck_notes("reader");
}

PAIR_TEST(BaseSelectorEventLoopTests__test_remove_writer_unknown)
{
    ck_assert(!loop_remove_writer(loop, pair->near));
    ck_assert(!loop_remove_writer(loop, 4000));
}

PAIR_TEST(BaseSelectorEventLoopTests__test_process_events_read)
{
    loop_add_reader(loop, pair->near, notes_arg, .arg = V("again"));
    pass_until(!strncmp(notes_, "again|again", 11));     /* as long as there is something to read */
    notes_forget_();
}

PAIR_TEST(BaseSelectorEventLoopTests__test_process_events_write)
{
    loop_add_writer(loop, pair->near, notes_arg, .arg = V("again"));
    pass_until(!strncmp(notes_, "again|again", 11));
    notes_forget_();
}

/* Both descriptors are ready at once; the first callback takes the second one back. */
static void takes_other_reader(Value fd) { note("first"); loop_remove_reader(to_remove.loop, to_remove.fd); loop_remove_reader(to_remove.loop, (int)as_int(fd)); }
static void takes_other_writer(Value fd) { note("first"); loop_remove_writer(to_remove.loop, to_remove.fd); loop_remove_writer(to_remove.loop, (int)as_int(fd)); }

PAIR_TEST(BaseSelectorEventLoopTests__test_process_events_read_cancelled)
{
    Wire other = ready_pair();
    loop_add_reader(loop, pair->near, takes_other_reader, .arg = V(other.near));
    loop_add_reader(loop, other.near, calls_nobody);
    passes(3);
    ck_notes("first");
    end_of_pair(loop, &other);
}

PAIR_TEST(BaseSelectorEventLoopTests__test_process_events_write_cancelled)
{
    Wire other = ready_pair();
    loop_add_writer(loop, pair->near, takes_other_writer, .arg = V(other.near));
    loop_add_writer(loop, other.near, calls_nobody);
    passes(3);
    ck_notes("first");
    end_of_pair(loop, &other);
}

/* Five clients wait for a server that accepts at most three in one pass. */
NET_TEST(BaseSelectorEventLoopTests__test_accept_connection_multiple)
{
    enum { CLIENTS = 5, BACKLOG = 3 };
    int clients[CLIENTS], listener = listening_socket(CLIENTS);
    for (int i = 0; i < CLIENTS; i++) clients[i] = connected_socket(port_of_fd(listener));
    Server *server = as_server(await(loop_create_server(asyncio_get_running_loop(), &wire_protocol, None, NULL, None,
                                                        .sock = listener, .backlog = BACKLOG, .start_serving = false)));
    system_counts(ACCEPT, listener);
    Task *starting = asyncio_create_task(server_start_serving(server));
    pass_until(system_calls(ACCEPT) > 0);
    ck_assert_int_eq(system_calls(ACCEPT), BACKLOG);
    pass_until(system_calls(ACCEPT) > CLIENTS);          /* the last one found nobody */
    await(starting);
    for (int i = 0; i < CLIENTS; i++) close(clients[i]);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

/* ---- SelectorTransportTests --------------------------------------------------------------------------------------- */

NET_TEST(SelectorTransportTests__test_ctor)
{
    Wire wire = wire_new();
    ck_repr(transport_get_extra_info(wire.transport, "socket"), as_str(repr(wire.near)));
    ck_raises(RuntimeError, loop_add_reader(asyncio_get_running_loop(), wire.near, calls_nobody));
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_abort)
{
    Wire wire = wire_new();
    system_answers(SEND, wire.near, -EAGAIN);
    transport_write(wire.transport, "data", 4);
    transport_abort(wire.transport);
    passes(2);
    ck_notes("made|lost None");
    ck_arrives(&wire, "the end");
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_close)
{
    Wire wire = wire_new();
    ck_assert_int_eq(LIBC(write)(wire.far, "unread", 6), 6);
    transport_close(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    ck_notes("made");
    transport_close(wire.transport);
    passes(2);
    ck_notes("lost None");                               /* once, and nothing was read */
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_close_write_buffer)
{
    Wire wire = wire_new();
    system_answers(SEND, wire.near, -EAGAIN, -EAGAIN, -EAGAIN);
    transport_write(wire.transport, "data", 4);
    transport_close(wire.transport);
    passes(1);
    ck_notes("made");
    pass_until(notes_[0]);
    ck_notes("lost None");
    ck_arrives(&wire, "data");
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_force_close)
{
    Wire wire = wire_new();
    system_answers(SEND, wire.near, -EAGAIN);
    transport_write(wire.transport, "1", 1);
    transport_abort(wire.transport);
    ck_assert(transport_is_closing(wire.transport));
    ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 0);
    transport_abort(wire.transport);
    passes(3);
    ck_notes("made|lost None");
    ck_assert_int_eq(system_calls(SEND), 1);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_fatal_error)
{
    Wire wire = wire_new();
    system_answers(SEND, wire.near, -EIO);
    transport_write(wire.transport, "data", 4);
    passes(2);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    reports_taken(0);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_fatal_error_custom_exception)
{
    Wire wire = wire_new();
    wired.raises = "data_received";
    ck_assert_int_eq(LIBC(write)(wire.far, "x", 1), 1);
    passes(4);
    ck_notes("made|received x|lost LookupError('data_received')");
    ck_reported("Fatal error: protocol.data_received() call failed.", LookupError);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test_connection_lost)
{
    Wire wire = wire_new();
    Value self = V("anything");
    ck_assert_ptr_eq(transport_get_protocol(wire.transport, &self), &wire_protocol);
    system_answers(READ, wire.near, -EIO);
    ck_assert_int_eq(LIBC(write)(wire.far, "x", 1), 1);
    passes(4);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    ck_assert_int_eq(fcntl(wire.near, F_GETFD), -1);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorTransportTests__test__add_reader)
{
    Wire wire = wire_new();
    transport_pause_reading(wire.transport);
    transport_abort(wire.transport);
    ck_assert_int_eq(LIBC(write)(wire.far, "x", 1), 1);
    transport_resume_reading(wire.transport);            /* cannot begin again */
    passes(3);
    ck_notes("made|lost None");
    wire_end(&wire);
    return None;
}

/* ---- SelectorSocketTransportTests --------------------------------------------------------------------------------- */

NET_TEST(SelectorSocketTransportTests__test_ctor)
{
    Wire wire = wire_new();
    ck_notes("made");
    ck_assert(transport_is_reading(wire.transport));
    ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4);
    passes(2);
    ck_notes("received data");
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_ctor_with_waiter)
{
    Wire wire;
    wire_pair(&wire, SOCK_STREAM);
    Task *making = asyncio_create_task(
        loop_create_connection(asyncio_get_running_loop(), &wire_protocol, None, NULL, None, .sock = wire.near));
    pass_until(notes_[0]);
    ck_assert(!task_done(making));                       /* who waits for the connection goes on after the protocol */
    wire.transport = transport_in(await(making));
    ck_notes("made");
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_pause_resume_reading)
{
    Wire wire = wire_new();
    notes_forget_();
    ck_assert(transport_is_reading(wire.transport));
    transport_pause_reading(wire.transport);
    transport_pause_reading(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4);
    passes(3);
    ck_notes("");
    transport_resume_reading(wire.transport);
    transport_resume_reading(wire.transport);
    ck_assert(transport_is_reading(wire.transport));
    passes(3);
    ck_notes("received data");
    transport_close(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

static void made_and_pauses(Value self, Transport *transport) { (void)self; transport_pause_reading(transport); }
static const Protocol pauses_at_once = {.connection_made = made_and_pauses, .data_received = wire_received, .connection_lost = wire_lost};

NET_TEST(SelectorSocketTransportTests__test_pause_reading_connection_made)
{
    Wire wire = wire_with(&pauses_at_once);
    ck_assert(!transport_is_reading(wire.transport));
    ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4);
    passes(3);
    ck_notes("");
    transport_resume_reading(wire.transport);
    ck_assert(transport_is_reading(wire.transport));
    passes(3);
    ck_notes("received data");
    transport_close(wire.transport);
    ck_assert(!transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_read_eof_received_error)
{
    Wire wire = wire_new();
    wired.raises = "eof_received";
    shutdown(wire.far, SHUT_WR);
    passes(4);
    ck_notes("made|eof|lost LookupError('eof_received')");
    ck_reported("Fatal error: protocol.eof_received() call failed.", LookupError);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_data_received_error)
{
    Wire wire = wire_new();
    wired.raises = "data_received";
    ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4);
    passes(4);
    ck_notes("made|received data|lost LookupError('data_received')");
    ck_reported("Fatal error: protocol.data_received() call failed.", LookupError);
    wire_end(&wire);
    return None;
}

/* The near end of what the protocol is told when the far end sends, or the system says, something. */
#define READ_TEST(name, notes_wanted, ...) \
    NET_TEST(name) { \
        Wire wire = wire_new(); \
        notes_forget_(); \
        __VA_ARGS__; \
        passes(4); \
        ck_notes(notes_wanted); \
        wire_end(&wire); \
        return None; }

READ_TEST(SelectorSocketTransportTests__test_read_ready, "received data", ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4))
READ_TEST(SelectorSocketTransportTests__test_read_ready_eof, "eof|lost None", shutdown(wire.far, SHUT_WR))

NET_TEST(SelectorSocketTransportTests__test_read_ready_eof_keep_open)
{
    Wire wire = wire_new();
    wired.keeps_open = true;
    shutdown(wire.far, SHUT_WR);
    passes(4);
    ck_notes("made|eof");
    ck_assert(!transport_is_closing(wire.transport));
    transport_write(wire.transport, "answer", 6);
    ck_arrives(&wire, "answer");
    wire_end(&wire);
    return None;
}

#define READ_SAYS(problem) \
    system_answers(READ, wire.near, -problem); \
    ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4)

READ_TEST(SelectorSocketTransportTests__test_read_ready_tryagain, "received data", READ_SAYS(EAGAIN))
READ_TEST(SelectorSocketTransportTests__test_read_ready_tryagain_interrupted, "received data", READ_SAYS(EINTR))
READ_TEST(SelectorSocketTransportTests__test_read_ready_conn_reset,
          "lost ConnectionResetError(104, 'Connection reset by peer')", READ_SAYS(ECONNRESET))
READ_TEST(SelectorSocketTransportTests__test_read_ready_err, "lost OSError(5, 'Input/output error')", READ_SAYS(EIO))

/* A write that the system answers so; after it and after the next passes, what is still buffered and what has arrived. */
NET_TEST(SelectorSocketTransportTests__test_write)
{
    Wire wire = wire_new();
    system_counts(SEND, wire.near);
    transport_write(wire.transport, "data", 4);
    ck_assert_int_eq(system_calls(SEND), 1);
    ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 0);
    ck_arrives(&wire, "data");
    wire_end(&wire);
    return None;
}

static void holds_back(Wire *wire, const char *data)
{
    system_answers(SEND, wire->near, -EAGAIN);
    transport_write(wire->transport, data, strlen(data));
    ck_assert_uint_eq(transport_get_write_buffer_size(wire->transport), strlen(data));
    system_counts(SEND, wire->near);
}

NET_TEST(SelectorSocketTransportTests__test_write_no_data)
{
    Wire wire = wire_new();
    holds_back(&wire, "data");
    transport_write(wire.transport, "", 0);
    ck_assert_int_eq(system_calls(SEND), 0);
    ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 4);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_write_buffer)
{
    Wire wire = wire_new();
    holds_back(&wire, "data1");
    transport_write(wire.transport, "data2", 5);
    ck_assert_int_eq(system_calls(SEND), 0);
    ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 10);
    passes(2);
    ck_arrives(&wire, "data1data2");
    wire_end(&wire);
    return None;
}

#define WRITE_TEST(name, buffered, arrived, ...) \
    NET_TEST(name) { \
        Wire wire = wire_new(); \
        system_answers(SEND, wire.near, __VA_ARGS__); \
        transport_write(wire.transport, "data", 4); \
        ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), buffered); \
        ck_arrives(&wire, arrived); \
        passes(3); \
        ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 0); \
        const char *rest_ = at_far_end(&wire), *wanted_ = &"data"[4 - buffered]; \
        ck_assert_str_eq(rest_, wanted_); \
        wire_end(&wire); \
        return None; }

WRITE_TEST(SelectorSocketTransportTests__test_write_partial, 2, "da", 2)
WRITE_TEST(SelectorSocketTransportTests__test_write_partial_none, 4, "nothing yet", 0)
WRITE_TEST(SelectorSocketTransportTests__test_write_tryagain, 4, "nothing yet", -EAGAIN)

NET_TEST(SelectorSocketTransportTests__test_write_sendmsg_no_data)
{
    Wire wire = wire_new();
    holds_back(&wire, "data");
    transport_writelines(wire.transport, list(bytes("", 0)));
    transport_writelines(wire.transport, list());
    ck_assert_int_eq(system_calls(SEND), 0);
    ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 4);
    wire_end(&wire);
    return None;
}

#define WRITELINES_TEST(name, calls, buffered, arrived, ...) \
    NET_TEST(name) { \
        Wire wire = wire_new(); \
        system_answers(SEND, wire.near, __VA_ARGS__); \
        transport_writelines(wire.transport, list(bytes("da", 2), bytes("ta", 2))); \
        ck_assert_int_eq(system_calls(SEND), 1); \
        ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), buffered); \
        ck_arrives(&wire, arrived); \
        passes(3); \
        ck_assert_int_eq(system_calls(SEND), calls); \
        wire_end(&wire); \
        return None; }

WRITELINES_TEST(SelectorSocketTransportTests__test_writelines_sendmsg_full, 1, 0, "data", 100)
WRITELINES_TEST(SelectorSocketTransportTests__test_writelines_sendmsg_partial, 2, 2, "da", 2)
WRITELINES_TEST(SelectorSocketTransportTests__test_writelines_send_full, 1, 0, "data", 4)
WRITELINES_TEST(SelectorSocketTransportTests__test_writelines_send_partial, 2, 3, "d", 1)

/* What is buffered, and what the system takes of it when the socket is ready. */
#define WRITE_READY_TEST(name, data, arrived, calls, ...) \
    NET_TEST(name) { \
        Wire wire = wire_new(); \
        holds_back(&wire, data); \
        system_answers(SEND, wire.near, __VA_ARGS__); \
        pass_until(system_calls(SEND)); \
        ck_arrives(&wire, arrived); \
        pass_until(!transport_get_write_buffer_size(wire.transport)); \
        const char *rest_ = at_far_end(&wire), *all_ = data, *wanted_ = strcmp(arrived, all_) ? all_ : "nothing yet"; \
        if (!strncmp(all_, arrived, strlen(arrived)) && strcmp(all_, arrived)) wanted_ = all_ + strlen(arrived); \
        ck_assert_str_eq(rest_, wanted_); \
        passes(3); \
        ck_assert_int_eq(system_calls(SEND), calls);      /* it is not asked again when there is nothing to say */ \
        wire_end(&wire); \
        return None; }

WRITE_READY_TEST(SelectorSocketTransportTests__test_write_sendmsg_full, "data", "data", 1, 100)
WRITE_READY_TEST(SelectorSocketTransportTests__test_write_sendmsg_partial, "data", "da", 2, 2)
WRITE_READY_TEST(SelectorSocketTransportTests__test_write_sendmsg_half_buffer, "data1data2", "da", 2, 2)
WRITE_READY_TEST(SelectorSocketTransportTests__test_write_ready, "data", "data", 1, 4)
WRITE_READY_TEST(SelectorSocketTransportTests__test_write_ready_partial, "data", "da", 2, 2)
WRITE_READY_TEST(SelectorSocketTransportTests__test_write_ready_partial_none, "data", "nothing yet", 2, 0)
WRITE_READY_TEST(SelectorSocketTransportTests__test_write_ready_tryagain, "data1data2", "nothing yet", 2, -EAGAIN)

#define WRITE_FAILS_TEST(name) \
    NET_TEST(name) { \
        Wire wire = wire_new(); \
        holds_back(&wire, "data"); \
        system_answers(SEND, wire.near, -EIO); \
        pass_until(transport_is_closing(wire.transport)); \
        ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 0); \
        passes(2); \
        ck_notes("made|lost OSError(5, 'Input/output error')"); \
        ck_assert_int_eq(system_calls(SEND), 1); \
        wire_end(&wire); \
        return None; }

WRITE_FAILS_TEST(SelectorSocketTransportTests__test_write_sendmsg_OSError)
WRITE_FAILS_TEST(SelectorSocketTransportTests__test_write_ready_exception)

NET_TEST(SelectorSocketTransportTests__test_write_exception)
{
    Wire wire = wire_new();
    system_answers(SEND, wire.near, -EIO);
    transport_write(wire.transport, "data", 4);
    ck_assert(transport_is_closing(wire.transport));
    logging(for (int i = 0; i < 5; i++) transport_write(wire.transport, "data", 4));
    ck_contains(logged, "socket.send() raised exception.");
    ck_assert_int_eq(system_calls(SEND), 1);
    passes(2);
    ck_notes("made|lost OSError(5, 'Input/output error')");
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_write_closing)
{
    Wire wire = wire_new();
    transport_close(wire.transport);
    system_counts(SEND, wire.near);
    logging(for (int i = 0; i < 4; i++) transport_write(wire.transport, "data", 4));
    ck_assert_str_eq(logged, "");                        /* said only to who goes on and on */
    logging(transport_write(wire.transport, "data", 4));
    ck_contains(logged, "socket.send() raised exception.");
    ck_assert_int_eq(system_calls(SEND), 0);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_write_ready_closing)
{
    Wire wire = wire_new();
    holds_back(&wire, "data");
    transport_close(wire.transport);
    ck_notes("made");
    pass_until(system_calls(SEND));
    ck_notes("lost None");                               /* in the same breath */
    ck_arrives(&wire, "data");
    ck_arrives(&wire, "the end");
    ck_assert_int_eq(fcntl(wire.near, F_GETFD), -1);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_write_eof)
{
    Wire wire = wire_new();
    ck_assert(transport_can_write_eof(wire.transport));
    transport_write_eof(wire.transport);
    ck_arrives(&wire, "the end");
    transport_write_eof(wire.transport);
    ck_raises_text(RuntimeError, "Cannot call write() after write_eof()", transport_write(wire.transport, "x", 1));
    ck_assert_int_eq(LIBC(write)(wire.far, "still open", 10), 10);
    passes(2);
    ck_notes("made|received still open");
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_write_eof_buffer)
{
    Wire wire = wire_new();
    holds_back(&wire, "data");
    transport_write_eof(wire.transport);
    ck_assert_uint_eq(transport_get_write_buffer_size(wire.transport), 4);
    ck_arrives(&wire, "nothing yet");
    passes(3);
    ck_arrives(&wire, "data");
    ck_arrives(&wire, "the end");
    ck_assert(!transport_is_closing(wire.transport));
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_write_eof_after_close)
{
    Wire wire = wire_new();
    transport_close(wire.transport);
    passes(2);
    transport_write_eof(wire.transport);
    wire_end(&wire);
    return None;
}

NET_TEST(SelectorSocketTransportTests__test_transport_close_remove_writer)
{
    Wire wire = wire_new();
    holds_back(&wire, "data");
    pass_until(system_calls(SEND));
    transport_close(wire.transport);
    passes(3);
    ck_assert_int_eq(system_calls(SEND), 1);
    ck_assert_int_eq(fcntl(wire.near, F_GETFD), -1);
    wire_end(&wire);
    return None;
}

/* ---- SelectorSocketTransportBufferedProtocolTests ----------------------------------------------------------------- */

NET_TEST(SelectorSocketTransportBufferedProtocolTests__test_ctor)
{
    Wire wire = wire_with(&wire_buffered);
    ck_notes("made");
    ck_assert(transport_is_reading(wire.transport));
    wire_end(&wire);
    return None;
}

#define BUFFERED_TEST(name, notes_wanted, ...) \
    NET_TEST(name) { \
        Wire wire = wire_with(&wire_buffered); \
        notes_forget_(); \
        __VA_ARGS__; \
        passes(4); \
        ck_notes(notes_wanted); \
        wire_end(&wire); \
        return None; }

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_get_buffer_error, "lost LookupError('get_buffer')",
              wired.raises = "get_buffer"; ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4); passes(4);
              ck_reported("Fatal error: protocol.get_buffer() call failed.", LookupError))

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_get_buffer_zerosized,
              "lost RuntimeError('get_buffer() returned an empty buffer')",
              wired.lends = 0; ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4); passes(4);
              ck_reported("Fatal error: protocol.get_buffer() call failed.", RuntimeError))

NET_TEST(SelectorSocketTransportBufferedProtocolTests__test_proto_type_switch)
{
    Wire wire = wire_new();
    ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4);
    passes(2);
    ck_notes("made|received data");
    transport_set_protocol(wire.transport, &wire_buffered, None);
    ck_assert_int_eq(LIBC(write)(wire.far, "more data", 9), 9);
    passes(2);
    ck_notes("updated more data");
    wire_end(&wire);
    return None;
}

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_buffer_updated_error, "updated data|lost LookupError('buffer_updated')",
              wired.raises = "buffer_updated"; ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4); passes(4);
              ck_reported("Fatal error: protocol.buffer_updated() call failed.", LookupError))

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_eof_received_error, "eof|lost LookupError('eof_received')",
              wired.raises = "eof_received"; shutdown(wire.far, SHUT_WR); passes(4);
              ck_reported("Fatal error: protocol.eof_received() call failed.", LookupError))

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready, "updated data",
              ck_assert_int_eq(LIBC(write)(wire.far, "data", 4), 4))
BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready_eof, "eof|lost None", shutdown(wire.far, SHUT_WR))

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready_eof_keep_open, "eof",
              wired.keeps_open = true; shutdown(wire.far, SHUT_WR); passes(4); ck_assert(!transport_is_closing(wire.transport)))

BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready_tryagain, "updated data", READ_SAYS(EAGAIN))
BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready_tryagain_interrupted, "updated data", READ_SAYS(EINTR))
BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready_conn_reset,
              "lost ConnectionResetError(104, 'Connection reset by peer')", READ_SAYS(ECONNRESET))
BUFFERED_TEST(SelectorSocketTransportBufferedProtocolTests__test_read_ready_err, "lost OSError(5, 'Input/output error')", READ_SAYS(EIO))

/* ---- SelectorDatagramTransportTests ------------------------------------------------------------------------------- */

/* near: bound to a port of 127.0.0.1, far: another such socket; connected: near has far for its only peer. */
typedef struct Mail { Transport *transport; int near, far; Value to; } Mail;

static Mail mail_new(bool connected)
{
    Mail mail = {.far = bound_socket(SOCK_DGRAM | SOCK_NONBLOCK)};
    mail.to = address_of_fd(mail.far);
    Loop *loop = asyncio_get_running_loop();
    mail.transport = transport_in(connected
        ? await(loop_create_datagram_endpoint(loop, &wire_protocol, None, .remote_addr = mail.to))
        : await(loop_create_datagram_endpoint(loop, &wire_protocol, None, .local_addr = tuple("127.0.0.1", 0))));
    mail.near = (int)as_int(transport_get_extra_info(mail.transport, "socket"));
    return mail;
}

static void mail_arrives(Mail *mail, const char *data)
{
    Value address = transport_get_extra_info(mail->transport, "sockname");
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)as_int(list_get(address, 1)))};
    ck_assert_int_eq(LIBC(sendto)(mail->far, data, strlen(data), 0, (struct sockaddr *)&in, sizeof in), (int)strlen(data));
}

/* What has been sent: one datagram after the other, until there is none. */
static const char *mail_sent(Mail *mail)
{
    static char all[256];
    char one[64];
    all[0] = 0;
    for (ssize_t n; (n = LIBC(recvfrom)(mail->far, one, sizeof one - 1, 0, NULL, NULL)) >= 0; ) {
        one[n] = 0;
        snprintf(all + strlen(all), sizeof all - strlen(all), "[%s]", one);
    }
    return all;
}

#define ck_sent(mail, wanted) do { const char *sent_ = mail_sent(mail), *wanted_ = wanted; ck_assert_str_eq(sent_, wanted_); } while (0)

static void mail_end(Mail *mail)
{
    close(mail->far);
    transport_abort(mail->transport);
    passes(3);
}

#define MAIL_TEST(name, connected) \
    static void name##_with_(Mail *mail); \
    NET_TEST(name) { \
        Mail mail_ = mail_new(connected); \
        ck_notes("made"); \
        name##_with_(&mail_); \
        mail_end(&mail_); \
        return None; } \
    static void name##_with_(Mail *mail)

MAIL_TEST(SelectorDatagramTransportTests__test_read_ready, false)
{
    mail_arrives(mail, "data");
    pass_until(notes_[0]);
    ck_notes("datagram data ");
}

MAIL_TEST(SelectorDatagramTransportTests__test_read_ready_tryagain, false)
{
    system_answers(RECVFROM, mail->near, -EAGAIN, -EINTR);
    mail_arrives(mail, "data");
    pass_until(system_calls(RECVFROM) >= 2);
    reports_taken(0);
    pass_until(notes_[0]);
    ck_notes("datagram data ");
}

MAIL_TEST(SelectorDatagramTransportTests__test_read_ready_oserr, false)
{
    system_answers(RECVFROM, mail->near, -EIO);
    mail_arrives(mail, "data");
    pass_until(notes_[0]);
    ck_notes("error OSError");
    ck_assert(!transport_is_closing(mail->transport));
    pass_until(notes_[0]);
    ck_notes("datagram data ");
}

/* Not in CPython's file: there too an exception of the protocol's is a callback's, and ends nothing. */
MAIL_TEST(a_datagram_that_the_protocol_cannot_take, false)
{
    wired.raises = "datagram_received";
    mail_arrives(mail, "data");
    pass_until(reported.count);
    ck_contains(reported.message, "Exception in callback");
    ck_assert(isinstance(report_exception(), LookupError));
    reports_taken(1);
    ck_assert(!transport_is_closing(mail->transport));
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto, false)
{
    system_counts(SENDTO, mail->near);
    transport_sendto(mail->transport, "data", 4, mail->to);
    ck_assert_int_eq(system_calls(SENDTO), 1);
    ck_sent(mail, "[data]");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_no_data, false)
{
    system_counts(SENDTO, mail->near);
    transport_sendto(mail->transport, "", 0, mail->to);
    ck_assert_int_eq(system_calls(SENDTO), 1);
    ck_sent(mail, "[]");
}

/* One that cannot be sent yet. */
static void mail_waits(Mail *mail, const char *data)
{
    system_answers(SENDTO, mail->near, -EAGAIN);
    transport_sendto(mail->transport, data, strlen(data), mail->to);
    ck_assert_int_eq(system_calls(SENDTO), 1);
    system_counts(SENDTO, mail->near);
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_buffer, false)
{
    mail_waits(mail, "data1");
    transport_sendto(mail->transport, "data2", 5, mail->to);
    ck_assert_int_eq(system_calls(SENDTO), 0);
    ck_assert_uint_eq(transport_get_write_buffer_size(mail->transport), 10);
    passes(2);
    ck_sent(mail, "[data1][data2]");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_buffer_nodata, false)
{
    mail_waits(mail, "data1");
    transport_sendto(mail->transport, "", 0, mail->to);
    ck_assert_int_eq(system_calls(SENDTO), 0);
    passes(2);
    ck_sent(mail, "[data1][]");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_tryagain, false)
{
    mail_waits(mail, "data");
    ck_assert_uint_eq(transport_get_write_buffer_size(mail->transport), 4);
    ck_sent(mail, "");
    passes(2);
    ck_sent(mail, "[data]");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_exception, false)
{
    transport_sendto(mail->transport, "data", 4, tuple("no address", 1));
    ck_assert(transport_is_closing(mail->transport));
    ck_reported("Fatal write error on datagram transport", ValueError);
    logging(for (int i = 0; i < 5; i++) transport_sendto(mail->transport, "data", 4, mail->to));
    ck_contains(logged, "socket.send() raised exception.");
    passes(2);
    ck_notes("lost ValueError(\"not a numeric address: ('no address', 1)\")");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_error_received, false)
{
    system_answers(SENDTO, mail->near, -ECONNREFUSED);
    transport_sendto(mail->transport, "data", 4, mail->to);
    ck_notes("error ConnectionRefusedError");
    ck_assert(!transport_is_closing(mail->transport));
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_error_received_connected, true)
{
    system_answers(SEND, mail->near, -ECONNREFUSED);
    transport_sendto(mail->transport, "data", 4);
    ck_notes("error ConnectionRefusedError");
    ck_assert(!transport_is_closing(mail->transport));
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_connected_addr, true)
{
    ck_raises(ValueError, transport_sendto(mail->transport, "str", 3, tuple("127.0.0.2", 2)));
    ck_sent(mail, "");
    transport_sendto(mail->transport, "to its own", 10, mail->to);
    ck_sent(mail, "[to its own]");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_closing, true)
{
    transport_close(mail->transport);
    system_counts(SEND, mail->near);
    logging(for (int i = 0; i < 4; i++) transport_sendto(mail->transport, "data", 4));
    ck_assert_str_eq(logged, "");
    logging(transport_sendto(mail->transport, "data", 4));
    ck_contains(logged, "socket.send() raised exception.");
    ck_assert_int_eq(system_calls(SEND), 0);
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready, false)
{
    mail_waits(mail, "data");
    pass_until(system_calls(SENDTO));
    ck_sent(mail, "[data]");
    passes(3);
    ck_assert_int_eq(system_calls(SENDTO), 1);
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready_closing, false)
{
    mail_waits(mail, "data");
    transport_close(mail->transport);
    ck_notes("");
    pass_until(system_calls(SENDTO));
    ck_notes("lost None");
    ck_sent(mail, "[data]");
    ck_assert_int_eq(fcntl(mail->near, F_GETFD), -1);
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready_no_data, false)
{
    mail_waits(mail, "data");
    passes(2);
    ck_sent(mail, "[data]");
    system_counts(SENDTO, mail->near);
    passes(3);                                           /* ready all the time: but nobody asks */
    ck_assert_int_eq(system_calls(SENDTO), 0);
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready_tryagain, false)
{
    mail_waits(mail, "data1");
    transport_sendto(mail->transport, "data2", 5, mail->to);
    system_answers(SENDTO, mail->near, -EAGAIN);
    pass_until(system_calls(SENDTO));
    ck_assert_uint_eq(transport_get_write_buffer_size(mail->transport), 10);
    ck_sent(mail, "");
    passes(2);
    ck_sent(mail, "[data1][data2]");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready_exception, false)
{
    mail_waits(mail, "data");
    transport_sendto(mail->transport, "data", 4, tuple("no address", 1));
    pass_until(transport_is_closing(mail->transport));
    ck_reported("Fatal write error on datagram transport", ValueError);
    passes(2);
    ck_sent(mail, "[data]");
    ck_notes("lost ValueError(\"not a numeric address: ('no address', 1)\")");
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready_error_received, false)
{
    mail_waits(mail, "data");
    system_answers(SENDTO, mail->near, -ECONNREFUSED);
    pass_until(system_calls(SENDTO));
    ck_notes("error ConnectionRefusedError");
    ck_assert(!transport_is_closing(mail->transport));
    ck_assert_uint_eq(transport_get_write_buffer_size(mail->transport), 0);
}

MAIL_TEST(SelectorDatagramTransportTests__test_sendto_ready_error_received_connection, true)
{
    system_answers(SEND, mail->near, -EAGAIN, -ECONNREFUSED);
    transport_sendto(mail->transport, "data", 4);
    pass_until(system_calls(SEND) == 2);
    ck_notes("error ConnectionRefusedError");
    ck_assert(!transport_is_closing(mail->transport));
}
