/* CPython's test_events: connections, servers and datagrams. */
#include "cpython_io.h"
#include <pty.h>
#include <signal.h>
#include <termios.h>

/* MyProto: what has happened to the one connection of a test. */
static struct { Transport *transport; const char *state; size_t bytes; Future *connected, *done; } my;

static void my_begin(void)
{
    Loop *loop = asyncio_get_running_loop();
    memset(&my, 0, sizeof my);
    my.state = "INITIAL";
    my.connected = loop_create_future(loop);
    my.done = loop_create_future(loop);
}

static void my_made(Value self, Transport *transport)
{
    (void)self;
    ck_assert_str_eq(my.state, "INITIAL");
    my.state = "CONNECTED";
    my.transport = transport;
    future_set_result(my.connected, None);
}

static void my_made_asking(Value self, Transport *transport)
{
    my_made(self, transport);
    transport_write(transport, "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", 37);
}

static void my_received(Value self, const char *data, size_t size)
{
    (void)self; (void)data;
    ck_assert_str_eq(my.state, "CONNECTED");
    my.bytes += size;
}

static bool my_eof(Value self)
{
    (void)self;
    ck_assert_str_eq(my.state, "CONNECTED");
    my.state = "EOF";
    return false;
}

static void my_lost(Value self, Value e)
{
    (void)self; (void)e;
    my.state = "CLOSED";
    future_set_result(my.done, None);
}

static const Protocol asking = {.connection_made = my_made_asking, .data_received = my_received, .eof_received = my_eof, .connection_lost = my_lost};
static const Protocol listening = {.connection_made = my_made, .data_received = my_received, .eof_received = my_eof, .connection_lost = my_lost};

/* The transport of a pair (transport, self). */
static Transport *as_transport_of(Value both) { return (Transport *)list_get(both, 0).object; }

/* ---- Connections ------------------------------------------------------------------------------------------------ */

static void check_connection(Coroutine *connecting)
{
    my_begin();
    Transport *transport = as_transport_of(await(connecting));
    ck_same(transport, my.transport);
    ck_assert(!is_none(transport_get_extra_info(transport, "sockname")));
    await(my.done);
    ck_assert_uint_gt(my.bytes, 0);
}

NET_TEST(EventLoopTestsMixin__test_create_connection)
{
    Peer httpd;
    check_connection(loop_create_connection(asyncio_get_running_loop(), &asking, None, "127.0.0.1", peer_start(&httpd, serve_http)));
    peer_stop(&httpd);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_unix_connection)
{
    Peer httpd;
    check_connection(loop_create_unix_connection(asyncio_get_running_loop(), &asking, None, peer_start_unix(&httpd, serve_http)));
    peer_stop(&httpd);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_connection_local_addr)
{
    Peer httpd;
    int port = peer_start(&httpd, serve_http), unused = bound_socket(SOCK_STREAM), local = port_of_fd(unused);
    close(unused);
    my_begin();
    Transport *transport = as_transport_of(await(loop_create_connection(asyncio_get_running_loop(), &asking, None, "127.0.0.1", port,
                                                                          .local_addr = tuple("127.0.0.1", local))));
    ck_assert(value_equal(transport_get_extra_info(transport, "sockname"), tuple("127.0.0.1", local)));
    await(my.done);
    peer_stop(&httpd);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_connection_local_addr_skip_different_family)
{
    int listener = listening_socket(1), port = port_of_fd(listener);
    my_begin();
    close(listener);
    ck_raises(ConnectionRefusedError, await(loop_create_connection(asyncio_get_running_loop(), &listening, None, "127.0.0.1", port,
                                                                     .local_addr = tuple("localhost", 0))));
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_connection_local_addr_nomatch_family)
{
    int listener = listening_socket(1);
    ck_raises_text(OSError, "no matching local address with family=2 found",
                   await(loop_create_connection(asyncio_get_running_loop(), &listening, None, "127.0.0.1", port_of_fd(listener), .local_addr = tuple("::1", 0))));
    close(listener);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_connection_local_addr_in_use)
{
    int listener = listening_socket(1);
    Value wanted = format("[Errno 98] error while attempting to bind on address ('127.0.0.1', %d): [errno 98] address already in use", port_of_fd(listener));
    ck_raises_text(OSError, as_str(wanted), await(loop_create_connection(asyncio_get_running_loop(), &listening, None, "127.0.0.1", port_of_fd(listener),
                                                                           .local_addr = address_of_fd(listener))));
    close(listener);
    return None;
}

static void answer(Value self, const char *data, size_t size)
{
    my_received(self, data, size);
    transport_write(my.transport, "roger", 5);
}

static const Protocol answering = {.connection_made = my_made, .data_received = answer, .eof_received = my_eof, .connection_lost = my_lost};

NET_TEST(EventLoopTestsMixin__test_connect_accepted_socket)
{
    char response[8] = "";
    int listener = listening_socket(1), client = connected_socket(port_of_fd(listener)), connection = accept(listener, NULL, NULL);
    my_begin();
    ck_assert(send_text(client, "test data", 9));
    await(loop_connect_accepted_socket(asyncio_get_running_loop(), &answering, None, connection));
    pass_until(my.bytes == 9);
    ck_assert_int_eq(recv(client, response, sizeof response, 0), 5);
    ck_assert_str_eq(response, "roger");
    close(client);
    await(my.done);
    ck_assert_str_eq(my.state, "CLOSED");
    close(listener);
    return None;
}

/* ---- Servers ---------------------------------------------------------------------------------------------------- */

/* A client sends three bytes; then the server's end is closed. */
static void meets(int client)
{
    ck_assert(send_text(client, "xxx", 3));
    await(my.connected);
    ck_assert_str_eq(my.state, "CONNECTED");
    pass_until(my.bytes);
    ck_assert_uint_eq(my.bytes, 3);
    ck_assert(!is_none(transport_get_extra_info(my.transport, "sockname")));
    transport_close(my.transport);
    await(my.done);
    ck_assert_str_eq(my.state, "CLOSED");
    close(client);
}

NET_TEST(EventLoopTestsMixin__test_create_server)
{
    my_begin();
    Server *server = as_server(await(loop_create_server(asyncio_get_running_loop(), &listening, None, "0.0.0.0", 0)));
    ck_assert_int_eq(len(server_sockets(server)), 1);
    ck_repr(list_get(list_get(list_get(server_sockets(server), 0), 1), 0), "'0.0.0.0'");
    int client = connected_socket(server_port(server));
    await(my.connected);
    ck_repr(list_get(transport_get_extra_info(my.transport, "peername"), 0), "'127.0.0.1'");
    meets(client);
    server_close(server);
    return None;
}

static int reuses_port(Server *server)
{
    int on = -1;
    socklen_t size = sizeof on;
    getsockopt((int)as_int(list_get(list_get(server_sockets(server), 0), 0)), SOL_SOCKET, SO_REUSEPORT, &on, &size);
    return on;
}

NET_TEST(EventLoopTestsMixin__test_create_server_reuse_port)
{
    Loop *loop = asyncio_get_running_loop();
    Server *server = as_server(await(loop_create_server(loop, &listening, None, "0.0.0.0", 0)));
    ck_assert_int_eq(reuses_port(server), 0);
    server_close(server);
    server = as_server(await(loop_create_server(loop, &listening, None, "0.0.0.0", 0, .reuse_port = true)));
    ck_assert_int_eq(reuses_port(server), 1);
    server_close(server);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_unix_server)
{
    SocketPath at;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    my_begin();
    Server *server = as_server(await(loop_create_unix_server(asyncio_get_running_loop(), &listening, None, socket_path_new(&at))));
    ck_assert_int_eq(len(server_sockets(server)), 1);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(un.sun_path, at.path);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&un, sizeof un), 0);
    meets(client);
    server_close(server);
    socket_path_end(&at);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_unix_server_path_socket_error)
{
    int fd = tcp_socket();
    ck_raises_text(ValueError, "path and sock can not be specified at the same time",
                   await(loop_create_unix_server(asyncio_get_running_loop(), &listening, None, "/test", .sock = fd)));
    close(fd);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_server_sock)
{
    int listener = bound_socket(SOCK_STREAM);
    my_begin();
    Server *server = as_server(await(loop_create_server(asyncio_get_running_loop(), &listening, None, NULL, None, .sock = listener)));
    ck_assert_int_eq(len(server_sockets(server)), 1);
    ck_assert_int_eq(as_int(list_get(list_get(server_sockets(server), 0), 0)), listener);
    meets(connected_socket(server_port(server)));
    server_close(server);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_server_addr_in_use)
{
    Loop *loop = asyncio_get_running_loop();
    Server *server = as_server(await(loop_create_server(loop, &listening, None, "127.0.0.1", 0)));
    Value wanted = format("[Errno 98] error while attempting to bind on address ('127.0.0.1', %d): [errno 98] address already in use", server_port(server));
    ck_raises_text(OSError, as_str(wanted), await(loop_create_server(loop, &listening, None, "127.0.0.1", server_port(server))));
    server_close(server);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_server_close)
{
    my_begin();
    Server *server = as_server(await(loop_create_server(asyncio_get_running_loop(), &listening, None, "0.0.0.0", 0)));
    int port = server_port(server), client = connected_socket(port);
    ck_assert(send_text(client, "xxx", 3));
    await(my.connected);
    server_close(server);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int late = tcp_socket();
    ck_assert(connect(late, (struct sockaddr *)&in, sizeof in) < 0 && errno == ECONNREFUSED);
    close(late);
    transport_close(my.transport);
    await(my.done);
    close(client);
    return None;
}

NET_TEST(TestServer__test_get_loop)
{
    Loop *loop = asyncio_get_running_loop();
    Server *server = as_server(await(loop_create_server(loop, &listening, None, "0.0.0.0", 0)));
    ck_same(server_get_loop(server), loop);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

/* ---- Datagrams -------------------------------------------------------------------------------------------------- */

typedef struct Datagrams { Transport *transport; size_t bytes; Future *done; Value error; } Datagrams;

static void datagrams_made(Value self, Transport *transport) { ((Datagrams *)as_pointer(self))->transport = transport; }

static void datagrams_received(Value self, const char *data, size_t size, Value address)
{
    (void)data; (void)address;
    ((Datagrams *)as_pointer(self))->bytes += size;
}

static void datagrams_answer(Value self, const char *data, size_t size, Value address)
{
    datagrams_received(self, data, size, address);
    Value response = format("resp:%.*s", (int)size, data);
    transport_sendto(((Datagrams *)as_pointer(self))->transport, as_str(response), strlen(as_str(response)), address);
}

static void datagrams_failed(Value self, Value e) { note(e); (void)self; }
static void datagrams_lost(Value self, Value e) { (void)e; future_set_result(((Datagrams *)as_pointer(self))->done, None); }

static const Protocol takes = {.connection_made = datagrams_made, .datagram_received = datagrams_received, .error_received = datagrams_failed, .connection_lost = datagrams_lost};
static const Protocol answers = {.connection_made = datagrams_made, .datagram_received = datagrams_answer, .connection_lost = datagrams_lost};

/* "xxx" to a server, and "resp:xxx" back. */
static void datagrams_meet(const char *host)
{
    Loop *loop = asyncio_get_running_loop();
    Datagrams server = {.done = loop_create_future(loop)}, client = {.done = loop_create_future(loop)};
    await(loop_create_datagram_endpoint(loop, &answers, (void *)&server, .local_addr = tuple(host, 0)));
    Value at = transport_get_extra_info(server.transport, "sockname");
    await(loop_create_datagram_endpoint(loop, &takes, (void *)&client, .remote_addr = tuple(host, list_get(at, 1))));
    transport_sendto(client.transport, "xxx", 3);
    pass_until(client.bytes);
    ck_assert_uint_eq(server.bytes, 3);
    ck_assert_uint_eq(client.bytes, 8);
    ck_assert(value_equal(list_get(transport_get_extra_info(client.transport, "peername"), 1), list_get(at, 1)));
    transport_close(client.transport);
    await(client.done);
    transport_close(server.transport);
    await(server.done);
}

NET_TEST(EventLoopTestsMixin__test_create_datagram_endpoint) { datagrams_meet("127.0.0.1"); datagrams_meet("localhost"); return None; }

NET_TEST(EventLoopTestsMixin__test_create_datagram_endpoint_sock)
{
    Loop *loop = asyncio_get_running_loop();
    Datagrams here = {.done = loop_create_future(loop)};
    int fd = bound_socket(SOCK_DGRAM);
    Value both = await(loop_create_datagram_endpoint(loop, &takes, (void *)&here, .sock = fd));
    ck_same(as_transport_of(both), here.transport);
    ck_assert(value_equal(transport_get_extra_info(here.transport, "sockname"), address_of_fd(fd)));
    transport_close(here.transport);
    await(here.done);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_datagram_send_to_non_listening_address)
{
    Loop *loop = asyncio_get_running_loop();
    Datagrams here = {.done = loop_create_future(loop)};
    int unused = bound_socket(SOCK_DGRAM);
    Value address = address_of_fd(unused);
    close(unused);
    await(loop_create_datagram_endpoint(loop, &takes, (void *)&here, .remote_addr = address));
    transport_sendto(here.transport, "x", 1);
    pass_until(notes_[0]);
    ck_contains(notes_, "[Errno 111] Connection refused");
    transport_close(here.transport);
    await(here.done);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_prompt_cancellation)
{
    Loop *loop = asyncio_get_running_loop();
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    Task *task = asyncio_create_task(asyncio_wait_for(loop_sock_recv(loop, pair[0], 1), 0.001));
    ck_raises(TimeoutError, await(task));
    ck_assert(!loop_remove_reader(loop, pair[0]));       /* nothing is watched any more */
    close(pair[0]); close(pair[1]);
    return None;
}

/* ---- Pipes and terminals -------------------------------------------------------------------------------------------- */

/* What a pipe's protocol has been told, as far as it matters: its bytes are counted, its end completes `done`. */
typedef struct PipeEnd { Transport *transport; size_t bytes; Future *done; } PipeEnd;

static void pipe_made(Value self, Transport *transport) { ((PipeEnd *)as_pointer(self))->transport = transport; }
static void pipe_received(Value self, const char *data, size_t size) { (void)data; ((PipeEnd *)as_pointer(self))->bytes += size; }
static void pipe_lost(Value self, Value e) { (void)e; future_set_result(((PipeEnd *)as_pointer(self))->done, None); }
static const Protocol pipe_protocol = {.connection_made = pipe_made, .data_received = pipe_received, .connection_lost = pipe_lost};

static void read_end(PipeEnd *end, int fd)
{
    Loop *loop = asyncio_get_running_loop();
    *end = (PipeEnd){.done = loop_create_future(loop)};
    Value both = await(loop_connect_read_pipe(loop, &pipe_protocol, V((void *)end), fd));
    ck_same(as_transport_of(both), end->transport);
    ck_assert(!is_none(transport_get_extra_info(end->transport, "pipe")));
}

static void write_end(PipeEnd *end, int fd)
{
    Loop *loop = asyncio_get_running_loop();
    *end = (PipeEnd){.done = loop_create_future(loop)};
    Value both = await(loop_connect_write_pipe(loop, &pipe_protocol, V((void *)end), fd));
    ck_same(as_transport_of(both), end->transport);
    ck_assert(!is_none(transport_get_extra_info(end->transport, "pipe")));
}

/* What is written at one plain descriptor arrives at the transport's, and what the transport writes arrives there. */
static void arrives_at(PipeEnd *end, int fd)
{
    ck_assert_int_eq(write(fd, "1", 1), 1);
    pass_until(end->bytes >= 1);
    ck_assert_int_eq(write(fd, "2345", 4), 4);
    pass_until(end->bytes >= 5);
    ck_assert(end->bytes == 5 && !future_done(end->done));
}

static void leaves_by(PipeEnd *end, int fd)
{
    char data[16] = "";
    size_t got = 0;
    transport_write(end->transport, "1", 1);
    while (got < 1) got += (size_t)read(fd, data + got, sizeof data - got);
    transport_write(end->transport, "2345", 4);
    while (got < 5) got += (size_t)read(fd, data + got, sizeof data - got);
    ck_assert_str_eq(data, "12345");
    ck_assert(!future_done(end->done));
}

NET_TEST(EventLoopTestsMixin__test_read_pipe)
{
    int ends[2];
    PipeEnd end;
    ck_assert_int_eq(pipe(ends), 0);
    read_end(&end, ends[0]);
    arrives_at(&end, ends[1]);
    close(ends[1]);
    await(end.done);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_write_pipe)
{
    int ends[2];
    PipeEnd end;
    ck_assert_int_eq(pipe(ends), 0);
    write_end(&end, ends[1]);
    leaves_by(&end, ends[0]);
    close(ends[0]);
    transport_close(end.transport);
    await(end.done);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_write_pipe_disconnect_on_close)
{
    int ends[2];
    PipeEnd end;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    write_end(&end, ends[1]);
    transport_write(end.transport, "1", 1);
    ck_repr(await(loop_sock_recv(asyncio_get_running_loop(), ends[0], 1024)), "b'1'");
    close(ends[0]);
    await(end.done);                                     /* it learns of it without writing */
    return None;
}

SYNC_TEST(EventLoopTestsMixin__test_unclosed_pipe_transport)
{
    int ends[2];
    PipeEnd ends_of[2];
    Loop *loop = asyncio_new_event_loop();
    ck_assert_int_eq(pipe(ends), 0);
    for (int i = 0; i < 2; i++) ends_of[i] = (PipeEnd){.done = loop_create_future(loop)};
    loop_run_until_complete(loop, loop_connect_read_pipe(loop, &pipe_protocol, V((void *)&ends_of[0]), ends[0]));
    loop_run_until_complete(loop, loop_connect_write_pipe(loop, &pipe_protocol, V((void *)&ends_of[1]), ends[1]));
    loop_close(loop);
    for (int i = 0; i < 2; i++) ck_repr(ends_of[i].transport, "<Transport closed fd=-1>");
}

NET_TEST(EventLoopTestsMixin__test_read_pty_output)
{
    int master, slave;
    PipeEnd end;
    if (openpty(&master, &slave, NULL, NULL, NULL) < 0) return None;     /* a machine without /dev/pts */
    read_end(&end, master);
    arrives_at(&end, slave);
    close(slave);
    transport_close(end.transport);
    await(end.done);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_write_pty)
{
    int master, slave;
    PipeEnd end;
    if (openpty(&master, &slave, NULL, NULL, NULL) < 0) return None;
    write_end(&end, slave);
    leaves_by(&end, master);
    close(master);
    transport_close(end.transport);
    await(end.done);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_bidirectional_pty)
{
    int master, slave;
    struct termios raw;
    PipeEnd reads, writes;
    if (openpty(&master, &slave, NULL, NULL, NULL) < 0) return None;
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    int second = dup(slave);
    read_end(&reads, slave);
    write_end(&writes, second);
    leaves_by(&writes, master);
    arrives_at(&reads, master);
    transport_write(writes.transport, "67", 2);
    char data[4] = "";
    ck_assert_int_eq(read(master, data, 2), 2);
    ck_assert_str_eq(data, "67");
    close(master);
    transport_close(reads.transport);
    transport_close(writes.transport);
    await(reads.done);
    await(writes.done);
    return None;
}

/* ---- Children --------------------------------------------------------------------------------------------------- */

/* MySubprocessProtocol: what has happened to the one child of a test. */
static struct {
    SubprocessTransport *transport;
    const char *state;
    char data[3][64];
    Future *connected, *completed, *disconnects[3];
    Event *got_data[3];
    int returncode;
} child;

static void child_begin(void)
{
    Loop *loop = asyncio_get_running_loop();
    memset(&child, 0, sizeof child);
    child.state = "INITIAL";
    child.connected = loop_create_future(loop);
    child.completed = loop_create_future(loop);
    for (int fd = 0; fd < 3; fd++) child.disconnects[fd] = loop_create_future(loop);
    for (int fd = 1; fd < 3; fd++) child.got_data[fd] = asyncio_Event();
}

static Value child_make(Value arg) { return tuple("made of", arg); }

static void child_made(Value self, SubprocessTransport *transport)
{
    ck_repr(self, "('made of', 1)");
    ck_assert_str_eq(child.state, "INITIAL");
    child.state = "CONNECTED";
    child.transport = transport;
    future_set_result(child.connected, None);
}

static void child_data(Value self, int fd, const char *data, size_t size)
{
    (void)self;
    ck_assert_str_eq(child.state, "CONNECTED");
    ck_assert_uint_lt(strlen(child.data[fd]) + size, sizeof child.data[fd]);
    strncat(child.data[fd], data, size);
    event_set(child.got_data[fd]);
}

static void child_disconnect(Value self, int fd, Value e)
{
    (void)self;
    ck_assert_str_eq(child.state, "CONNECTED");
    if (is_none(e)) future_set_result(child.disconnects[fd], None);
    else future_set_exception(child.disconnects[fd], e);
}

static void child_exited(Value self)
{
    (void)self;
    ck_assert_str_eq(child.state, "CONNECTED");
    child.returncode = (int)as_int(subprocesstransport_get_returncode(child.transport));
}

static void child_lost(Value self, Value e)
{
    (void)self;
    ck_assert_str_eq(child.state, "CONNECTED");
    ck_assert(is_none(e));
    child.state = "CLOSED";
    future_set_result(child.completed, None);
}

static const SubprocessProtocol watching = {.make = child_make, .connection_made = child_made, .pipe_data_received = child_data,
                                            .pipe_connection_lost = child_disconnect, .process_exited = child_exited, .connection_lost = child_lost};

#define child_of(kind, ...) ({ \
    child_begin(); \
    Value both_ = await(loop_subprocess_##kind(asyncio_get_running_loop(), &watching, 1, __VA_ARGS__)); \
    ck_repr(list_get(both_, 1), "('made of', 1)"); \
    as_subprocesstransport(list_get(both_, 0)); })

static void child_write(SubprocessTransport *transport, const char *text)
{
    transport_write(subprocesstransport_get_pipe_transport(transport, 0), text, strlen(text));
}

/* Each is one of CPython's programs: echo.py is cat. */
#define READ_ONCE "text=$(dd bs=1024 count=1 2>/dev/null)"
#define ECHO2 READ_ONCE "; printf OUT:%s \"$text\"; printf ERR:%s \"$text\" >&2"
#define ECHO3 "trap '' PIPE; while " READ_ONCE " && [ -n \"$text\" ]; do printf OUT:%s \"$text\" 2>/dev/null || printf ERR:BrokenPipeError >&2; done"

NET_TEST(SubprocessTestsMixin__test_subprocess_exec)
{
    SubprocessTransport *transport = child_of(exec, "cat");
    await(child.connected);
    ck_assert_str_eq(child.state, "CONNECTED");
    child_write(transport, "Python The Winner");
    await(event_wait(child.got_data[1]));
    subprocesstransport_close(transport);
    await(child.completed);
    ck_assert_int_eq(child.returncode, -SIGKILL);
    ck_assert_str_eq(child.data[1], "Python The Winner");
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_interactive)
{
    SubprocessTransport *transport = child_of(exec, "cat");
    await(child.connected);
    child_write(transport, "Python ");
    await(event_wait(child.got_data[1]));
    event_clear(child.got_data[1]);
    ck_assert_str_eq(child.data[1], "Python ");
    child_write(transport, "The Winner");
    await(event_wait(child.got_data[1]));
    ck_assert_str_eq(child.data[1], "Python The Winner");
    subprocesstransport_close(transport);
    await(child.completed);
    ck_assert_int_eq(child.returncode, -SIGKILL);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_shell)
{
    SubprocessTransport *transport = child_of(shell, "echo Python");
    await(child.connected);
    transport_close(subprocesstransport_get_pipe_transport(transport, 0));
    await(child.completed);
    ck_assert_int_eq(child.returncode, 0);
    for (int fd = 0; fd < 3; fd++) ck_assert(future_done(child.disconnects[fd]));
    ck_assert_str_eq(child.data[1], "Python\n");
    ck_assert_str_eq(child.data[2], "");
    subprocesstransport_close(transport);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_exitcode)
{
    SubprocessTransport *transport = child_of(shell, "exit 7", .stdin = INHERIT, .stdout = INHERIT, .stderr = INHERIT);
    await(child.completed);
    ck_assert_int_eq(child.returncode, 7);
    subprocesstransport_close(transport);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_close_after_finish)
{
    SubprocessTransport *transport = child_of(shell, "exit 7", .stdin = INHERIT, .stdout = INHERIT, .stderr = INHERIT);
    for (int fd = 0; fd < 3; fd++) ck_assert(!subprocesstransport_get_pipe_transport(transport, fd));
    await(child.completed);
    ck_assert_int_eq(child.returncode, 7);
    subprocesstransport_close(transport);
    ck_assert(subprocesstransport_is_closing(transport));
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_kill)
{
    SubprocessTransport *transport = child_of(exec, "cat");
    await(child.connected);
    subprocesstransport_kill(transport);
    await(child.completed);
    ck_assert_int_eq(child.returncode, -SIGKILL);
    subprocesstransport_close(transport);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_terminate)
{
    SubprocessTransport *transport = child_of(exec, "cat");
    await(child.connected);
    subprocesstransport_terminate(transport);
    await(child.completed);
    ck_assert_int_eq(child.returncode, -SIGTERM);
    subprocesstransport_close(transport);
    return None;
}

/* A signal that the parent ignores, the child would ignore too. */
NET_TEST(SubprocessTestsMixin__test_subprocess_send_signal)
{
    void (*old)(int) = signal(SIGHUP, SIG_DFL);
    SubprocessTransport *transport = child_of(exec, "cat");
    await(child.connected);
    subprocesstransport_send_signal(transport, SIGHUP);
    await(child.completed);
    ck_assert_int_eq(child.returncode, -SIGHUP);
    subprocesstransport_close(transport);
    signal(SIGHUP, old);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_stderr)
{
    SubprocessTransport *transport = child_of(shell, ECHO2);
    await(child.connected);
    child_write(transport, "test");
    await(child.completed);
    subprocesstransport_close(transport);
    ck_assert_str_eq(child.data[1], "OUT:test");
    ck_assert_str_eq(child.data[2], "ERR:test");
    ck_assert_int_eq(child.returncode, 0);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_stderr_redirect_to_stdout)
{
    SubprocessTransport *transport = child_of(shell, ECHO2, .stderr = STDOUT);
    await(child.connected);
    ck_assert(subprocesstransport_get_pipe_transport(transport, 1));
    ck_assert(!subprocesstransport_get_pipe_transport(transport, 2));
    child_write(transport, "test");
    await(child.completed);
    ck_assert_str_eq(child.data[1], "OUT:testERR:test");
    ck_assert_str_eq(child.data[2], "");
    subprocesstransport_close(transport);
    ck_assert_int_eq(child.returncode, 0);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_close_client_stream)
{
    SubprocessTransport *transport = child_of(shell, ECHO3);
    await(child.connected);
    child_write(transport, "test");
    await(event_wait(child.got_data[1]));
    ck_assert_str_eq(child.data[1], "OUT:test");
    transport_close(subprocesstransport_get_pipe_transport(transport, 1));
    await(child.disconnects[1]);
    child_write(transport, "xxx");
    await(event_wait(child.got_data[2]));
    ck_assert_str_eq(child.data[2], "ERR:BrokenPipeError");
    subprocesstransport_close(transport);
    await(child.completed);
    ck_assert_int_eq(child.returncode, -SIGKILL);
    return None;
}

NET_TEST(SubprocessTestsMixin__test_subprocess_wait_no_same_group)
{
    SubprocessTransport *transport = child_of(shell, "exit 7", .stdin = INHERIT, .stdout = INHERIT, .stderr = INHERIT, .start_new_session = true);
    await(child.completed);
    ck_assert_int_eq(child.returncode, 7);
    subprocesstransport_close(transport);
    return None;
}
