/* Transports and protocols: the order of callbacks, water marks, pipes, datagrams. */
#include "testing.h"
#include <sys/socket.h>
#include <unistd.h>

/* A protocol that notes what it is told. Its self is the name in the notes. */
static Transport *made;
static void connected(Value self, Transport *transport) { made = transport; note(self, "made"); }
static void lost(Value self, Value e) { note(self, "lost", repr(e)); }
static void received(Value self, const char *data, size_t size) { note(self, bytes(data, size)); }
static void nothing(Value arg) { (void)arg; }
static bool ended(Value self) { note(self, "eof"); return false; }
static bool ended_but_stays(Value self) { note(self, "eof"); return true; }
static void paused(Value self) { note(self, "pause"); }
static void resumed(Value self) { note(self, "resume"); }

static const Protocol noting = {.connection_made = connected, .connection_lost = lost, .data_received = received,
                                .eof_received = ended, .pause_writing = paused, .resume_writing = resumed};

static int pair[2];
static void make_pair(void) { ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0); }
static void spin(int rounds) { while (rounds--) await(asyncio_sleep(0)); }

/* A transport over one end of a socket pair; the test holds the other. */
static Transport *connect_pair(const Protocol *protocol)
{
    make_pair();
    Value both = await(loop_create_connection(asyncio_get_running_loop(), protocol, V("p"), NULL, None, .sock = pair[0]));
    ck_repr(list_get(both, 1), "'p'");
    return made;
}

IO_TEST(callbacks_come_in_order)
{
    connect_pair(&noting);
    ck_assert_int_eq(write(pair[1], "hi", 2), 2);
    spin(3);
    close(pair[1]);
    spin(5);
    ck_notes("p made|p b'hi'|p eof|p lost None");
    return None;
}

IO_TEST(eof_received_may_keep_the_write_side_open)
{
    static const Protocol staying = {.connection_made = connected, .connection_lost = lost, .data_received = received, .eof_received = ended_but_stays};
    char answer[8] = "";
    Transport *transport = connect_pair(&staying);
    shutdown(pair[1], SHUT_WR);
    spin(3);
    transport_write(transport, "answer", 6);
    ck_assert_int_eq(read(pair[1], answer, sizeof answer), 6);
    transport_close(transport);
    transport_close(transport);
    spin(3);
    ck_notes("p made|p eof|p lost None");
    close(pair[1]);
    return None;
}

IO_TEST(close_writes_what_is_buffered_first)
{
    static char big[1000000], sink[65536];
    Transport *transport = connect_pair(&noting);
    transport_write(transport, big, sizeof big);
    ck_assert(transport_get_write_buffer_size(transport) > 0);
    transport_close(transport);
    ck_assert(transport_is_closing(transport));
    size_t total = 0;
    for (ssize_t n; total < sizeof big; spin(1)) while ((n = read(pair[1], sink, sizeof sink)) > 0) total += (size_t)n;
    spin(3);
    ck_assert_int_eq(read(pair[1], sink, 1), 0);
    ck_notes("p made|p pause|p resume|p lost None");
    close(pair[1]);
    return None;
}

IO_TEST(abort_does_not)
{
    static char big[1000000];
    Transport *transport = connect_pair(&noting);
    transport_write(transport, big, sizeof big);
    transport_abort(transport);
    ck_assert_uint_eq(transport_get_write_buffer_size(transport), 0);
    spin(3);
    ck_notes("p made|p pause|p lost None");
    close(pair[1]);
    return None;
}

/* As with the methods of Python's class Protocol: what a protocol does not say, does nothing. */
IO_TEST(a_protocol_without_callbacks)
{
    static const Protocol silent = {.connection_made = connected};
    Transport *transport = connect_pair(&silent);
    ck_assert_int_eq(write(pair[1], "hi", 2), 2);
    spin(3);
    ck_assert(!transport_is_closing(transport));
    close(pair[1]);
    spin(5);
    ck_assert(transport_is_closing(transport));
    ck_notes("p made");
    return None;
}

IO_TEST(the_water_marks)
{
    Transport *transport = connect_pair(&noting);
    ck_repr(transport_get_write_buffer_limits(transport), "(16384, 65536)");
    transport_set_write_buffer_limits(transport, .high = 1000);
    ck_repr(transport_get_write_buffer_limits(transport), "(250, 1000)");
    transport_set_write_buffer_limits(transport, .low = 10);
    ck_repr(transport_get_write_buffer_limits(transport), "(10, 40)");
    ck_raises(ValueError, transport_set_write_buffer_limits(transport, .high = 5, .low = 10));
    transport_close(transport);
    spin(3);
    notes_forget_();
    close(pair[1]);
    return None;
}

IO_TEST(reading_can_pause)
{
    Transport *transport = connect_pair(&noting);
    transport_pause_reading(transport);
    transport_pause_reading(transport);
    ck_assert(!transport_is_reading(transport));
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    spin(3);
    ck_notes("p made");
    transport_resume_reading(transport);
    ck_assert(transport_is_reading(transport));
    spin(3);
    ck_notes("p b'x'");
    transport_close(transport);
    spin(3);
    ck_notes("p lost None");
    close(pair[1]);
    return None;
}

static void explodes(Value self, const char *data, size_t size) { (void)self; (void)data; (void)size; throw(ValueError, "boom"); }
static void note_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message); }
static void note_exception(Loop *loop, const ExceptionReport *report) { (void)loop; note(repr(report->exception)); }

IO_TEST(what_a_protocol_raises_closes_the_connection)
{
    static const Protocol exploding = {.connection_made = connected, .connection_lost = lost, .data_received = explodes};
    loop_set_exception_handler(asyncio_get_running_loop(), note_report);
    connect_pair(&exploding);
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    spin(4);
    ck_notes("p made|Fatal error: protocol.data_received() call failed.|p lost ValueError('boom')");
    close(pair[1]);
    return None;
}

static char borrowed[4];
static char *lend(Value self, size_t hint, size_t *size) { (void)self; (void)hint; *size = sizeof borrowed; return borrowed; }
static void filled(Value self, size_t size) { note(self, bytes(borrowed, size)); }

IO_TEST(a_buffered_protocol_lends_its_memory)
{
    static const Protocol buffered = {.connection_made = connected, .connection_lost = lost, .get_buffer = lend, .buffer_updated = filled};
    connect_pair(&buffered);
    ck_assert_int_eq(write(pair[1], "abcdef", 6), 6);
    spin(4);
    close(pair[1]);
    spin(4);
    ck_notes("p made|p b'abcd'|p b'ef'|p lost None");
    return None;
}

IO_TEST(pipes_have_transports)
{
    int fds[2];
    Loop *loop = asyncio_get_running_loop();
    ck_assert_int_eq(pipe(fds), 0);
    await(loop_connect_read_pipe(loop, &noting, V("r"), fds[0]));
    await(loop_connect_write_pipe(loop, &noting, V("w"), fds[1]));
    Transport *writer = made;
    ck_repr(transport_get_extra_info(writer, "pipe"), as_str(repr(V(fds[1]))));
    ck_repr(transport_get_extra_info(writer, "socket"), "None");
    transport_write(writer, "through", 7);
    spin(3);
    transport_close(writer);
    spin(6);
    ck_notes("r made|w made|r b'through'|w lost None|r eof|r lost None");
    return None;
}

static bool ended_badly(Value self) { note(self, "eof"); throw(ValueError, "boom"); }

/* Unlike a connection: the next data, and the end, come all the same. */
IO_TEST(what_the_protocol_of_a_pipe_raises_ends_nothing)
{
    static const Protocol exploding = {.connection_lost = lost, .data_received = explodes, .eof_received = ended_badly};
    int fds[2];
    Loop *loop = asyncio_get_running_loop();
    loop_set_exception_handler(loop, note_exception);
    ck_assert_int_eq(pipe(fds), 0);
    await(loop_connect_read_pipe(loop, &exploding, V("r"), fds[0]));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        spin(2);
    }
    close(fds[1]);
    spin(4);
    ck_notes("ValueError('boom')|ValueError('boom')|r eof|ValueError('boom')|r lost None");
    return None;
}

IO_TEST(a_regular_file_is_no_pipe)
{
    FILE *file = tmpfile();
    ck_raises_text(ValueError, "Pipe transport is for pipes/sockets only.", await(loop_connect_read_pipe(asyncio_get_running_loop(), &noting, V("r"), fileno(file))));
    ck_raises_text(ValueError, "Pipe transport is only for pipes, sockets and character devices",
                   await(loop_connect_write_pipe(asyncio_get_running_loop(), &noting, V("w"), fileno(file))));
    fclose(file);
    return None;
}

static void datagram(Value self, const char *data, size_t size, Value address) { note(self, bytes(data, size), list_get(address, 0)); }
static void error(Value self, Value e) { note(self, exception_type(e)->name); }
static const Protocol packets = {.connection_made = connected, .connection_lost = lost, .datagram_received = datagram, .error_received = error};

IO_TEST(datagram_endpoints)
{
    Loop *loop = asyncio_get_running_loop();
    await(loop_create_datagram_endpoint(loop, &packets, V("server"), .local_addr = tuple("127.0.0.1", 0)));
    Transport *server = made;
    Value address = transport_get_extra_info(server, "sockname");
    ck_repr(transport_get_extra_info(server, "pipe"), "None");
    await(loop_create_datagram_endpoint(loop, &packets, V("client"), .remote_addr = address));
    Transport *client = made;
    transport_sendto(client, "ping", 4);
    transport_sendto(client, "", 0);
    spin(4);
    ck_raises(ValueError, transport_sendto(client, "x", 1, .address = tuple("127.0.0.1", 9)));
    transport_close(client);
    transport_close(server);
    spin(3);
    ck_notes("server made|client made|server b'ping' 127.0.0.1|server b'' 127.0.0.1|client lost None|server lost None");
    return None;
}

IO_TEST(a_datagram_to_nobody_breaks_its_transport)
{
    Loop *loop = asyncio_get_running_loop();
    loop_set_exception_handler(loop, note_report);
    await(loop_create_datagram_endpoint(loop, &packets, V("lonely"), .family = AF_INET));
    transport_sendto(made, "x", 1);
    ck_assert(transport_is_closing(made));
    spin(2);
    ck_notes("lonely made|Fatal write error on datagram transport|lonely lost TypeError('an address is a tuple (host, port) or a path, not None')");
    return None;
}

IO_TEST(a_descriptor_of_a_transport_is_not_for_add_reader)
{
    Transport *transport = connect_pair(&noting);
    ck_raises(RuntimeError, await(loop_sock_recv(asyncio_get_running_loop(), pair[0], 1)));
    ck_raises(RuntimeError, loop_add_reader(asyncio_get_running_loop(), pair[0], nothing));
    transport_close(transport);
    spin(3);
    notes_forget_();
    close(pair[1]);
    return None;
}

static void sends_at_once(Value self, Transport *transport) { connected(self, transport); transport_sendto(transport, "hello", 5); }

/* The remote address is known before connection_made(), also where the socket is not connected to it. */
IO_TEST(a_datagram_endpoint_may_send_as_soon_as_it_is_made)
{
    static const Protocol eager = {.connection_made = sends_at_once, .connection_lost = lost, .error_received = error};
    Loop *loop = asyncio_get_running_loop();
    await(loop_create_datagram_endpoint(loop, &packets, V("server"), .local_addr = tuple("127.0.0.1", 0)));
    Transport *server = made;
    Value address = transport_get_extra_info(server, "sockname");
    await(loop_create_datagram_endpoint(loop, &eager, V("client"), .remote_addr = address, .allow_broadcast = true));
    transport_close(made);
    spin(3);
    transport_close(server);
    spin(3);
    ck_notes("server made|client made|server b'hello' 127.0.0.1|client lost None|server lost None");
    return None;
}

IO_TEST(what_a_transport_has_not)
{
    int ends[2];
    Loop *loop = asyncio_get_running_loop();
    ck_assert_int_eq(pipe(ends), 0);
    await(loop_connect_read_pipe(loop, &noting, V("pipe"), ends[0]));
    ck_assert(!transport_can_write_eof(made));
    ck_raises_text(TypeError, "this transport has no write()", transport_write(made, "x", 1));
    ck_raises_text(TypeError, "this transport has no write_eof()", transport_write_eof(made));
    ck_raises_text(TypeError, "this transport has no sendto()", transport_sendto(made, "x", 1));
    transport_close(made);
    await(loop_create_datagram_endpoint(loop, &packets, V("endpoint"), .local_addr = tuple("127.0.0.1", 0)));
    ck_raises_text(TypeError, "this transport has no write_eof()", transport_write_eof(made));
    transport_close(made);
    spin(3);
    notes_forget_();
    close(ends[1]);
    return None;
}

IO_TEST(a_protocol_is_not_NULL)
{
    const char *text = "a protocol is a table of callbacks, a Protocol, not NULL";
    Loop *loop = asyncio_get_running_loop();
    make_pair();
    ck_raises_text(TypeError, text, await(loop_create_connection(loop, NULL, None, NULL, None, .sock = pair[0])));
    ck_raises_text(TypeError, text, await(loop_create_server(loop, NULL, None, "127.0.0.1", 0)));
    ck_raises_text(TypeError, text, await(loop_create_datagram_endpoint(loop, NULL, None, .local_addr = tuple("127.0.0.1", 0))));
    close(pair[0]);
    close(pair[1]);
    return None;
}

/* CPython's would never accept, and never sleep. */
IO_TEST(a_backlog_of_0_still_takes_one_at_a_time)
{
    Loop *loop = asyncio_get_running_loop();
    Server *server = as_server(await(loop_create_server(loop, &noting, V("server"), "127.0.0.1", 0, .backlog = 0)));
    Value port = list_get(list_get(list_get(server_sockets(server), 0), 1), 1);
    Transport *client = as_transport(list_get(await(loop_create_connection(loop, &noting, V("client"), "127.0.0.1", port)), 0));
    transport_write(client, "hi", 2);
    while (!strstr(notes_, "server b'hi'")) await(asyncio_sleep(0));
    notes_forget_();
    transport_close(client);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}
