/* CPython's test_sock_lowlevel: the socket functions of the loop. */
#include "cpython_io.h"
#include <sys/syscall.h>

#define REQUEST "GET / HTTP/1.0\r\n\r\n"

/* Where CPython replaces a socket's method by a mock, the test's own sendto() stands in front of the system's. */
static int sendto_not_now;
ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length)
{
    if (sendto_not_now && sendto_not_now--) { errno = EAGAIN; return -1; }
    return syscall(SYS_sendto, fd, data, size, flags, to, length);
}

static void set_blocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

#define starts_with(data, text) (!strncmp(as_bytes(data, NULL), text, strlen(text)))

/* ---- A client of a server --------------------------------------------------------------------------------------- */

static void refuses_blocking(int fd, Value address)
{
    Loop *loop = asyncio_get_running_loop();
    char buffer[16];
    loop_set_debug(loop, true);
    set_blocking(fd, true);
    ck_raises_text(ValueError, "the socket must be non-blocking", await(loop_sock_connect(loop, fd, address)));
    ck_raises_text(ValueError, "the socket must be non-blocking", await(loop_sock_sendall(loop, fd, bytes(REQUEST, strlen(REQUEST)))));
    ck_raises_text(ValueError, "the socket must be non-blocking", await(loop_sock_recv(loop, fd, 1024)));
    ck_raises_text(ValueError, "the socket must be non-blocking", await(loop_sock_recv_into(loop, fd, buffer, sizeof buffer)));
    ck_raises_text(ValueError, "the socket must be non-blocking", await(loop_sock_accept(loop, fd)));
    set_blocking(fd, false);
}

static void client_ops(int fd, Value address)
{
    Loop *loop = asyncio_get_running_loop();
    refuses_blocking(fd, address);
    await(loop_sock_connect(loop, fd, address));
    await(loop_sock_sendall(loop, fd, bytes(REQUEST, strlen(REQUEST))));
    Value data = await(loop_sock_recv(loop, fd, 1024));
    ck_assert(starts_with(data, "HTTP/1.0 200 OK"));
    while (len(await(loop_sock_recv(loop, fd, 1024)))) {}
    close(fd);
}

static void recv_into_ops(int fd, Value address)
{
    Loop *loop = asyncio_get_running_loop();
    char buffer[1024] = "";
    set_blocking(fd, false);
    await(loop_sock_connect(loop, fd, address));
    await(loop_sock_sendall(loop, fd, bytes(REQUEST, strlen(REQUEST))));
    int64_t at = as_int(await(loop_sock_recv_into(loop, fd, buffer, sizeof buffer)));
    for (int64_t n; (n = as_int(await(loop_sock_recv_into(loop, fd, buffer + at, sizeof buffer - (size_t)at)))); ) at += n;
    ck_assert(!strncmp(buffer, "HTTP/1.0 200 OK", 15));
    close(fd);
}

NET_TEST(BaseSockTestsMixin__test_sock_client_ops)
{
    Peer httpd;
    Value address = tuple("127.0.0.1", peer_start(&httpd, serve_http));
    client_ops(tcp_socket(), address);
    recv_into_ops(tcp_socket(), address);
    peer_stop(&httpd);
    return None;
}

NET_TEST(BaseSockTestsMixin__test_unix_sock_client_ops)
{
    Peer httpd;
    Value path = V(peer_start_unix(&httpd, serve_http));
    client_ops(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path);
    recv_into_ops(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path);
    peer_stop(&httpd);
    return None;
}

/* ---- A cancelled operation, and at once the next ---------------------------------------------------------------- */

static void recv_racing(Value address)
{
    Loop *loop = asyncio_get_running_loop();
    int fd = tcp_socket();
    await(loop_sock_connect(loop, fd, address));
    Task *first = asyncio_create_task(loop_sock_recv(loop, fd, 1024));
    await(asyncio_sleep(0));
    task_cancel(first);
    asyncio_create_task(loop_sock_sendall(loop, fd, bytes(REQUEST, strlen(REQUEST))));
    Value data = await(loop_sock_recv(loop, fd, 1024));
    ck_assert(starts_with(data, "HTTP/1.0 200 OK"));
    ck_assert(task_cancelled(first));
    close(fd);
}

static void recv_into_racing(Value address)
{
    Loop *loop = asyncio_get_running_loop();
    char buffer[1024] = "";
    int fd = tcp_socket();
    await(loop_sock_connect(loop, fd, address));
    Task *first = asyncio_create_task(loop_sock_recv_into(loop, fd, buffer, sizeof buffer));
    await(asyncio_sleep(0));
    task_cancel(first);
    Task *sending = asyncio_create_task(loop_sock_sendall(loop, fd, bytes(REQUEST, strlen(REQUEST))));
    await(loop_sock_recv_into(loop, fd, buffer, sizeof buffer));
    ck_assert(!strncmp(buffer, "HTTP/1.0 200 OK", 15));
    await(sending);
    close(fd);
}

async_def(all_but_spaces, (int) fd)
{
    char kept[64] = "";
    size_t size = 0;
    forever {
        Value data = await(loop_sock_recv(asyncio_get_running_loop(), fd, 8192));
        if (!len(data)) break;
        const char *text = as_bytes(data, NULL);
        for (int i = 0; i < len(data); i++) if (text[i] != ' ' && size < sizeof kept - 1) kept[size++] = text[i];
    }
    return V(kept);
}

static void send_racing(void)
{
    static char spaces[8192];
    Loop *loop = asyncio_get_running_loop();
    int listener = listening_socket(1), fd = tcp_socket(), size = 1024;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    await(loop_sock_connect(loop, fd, address_of_fd(listener)));
    int server = accept(listener, NULL, NULL);
    memset(spaces, ' ', sizeof spaces);
    for (size_t block = sizeof spaces; block; block /= 2) while (send(fd, spaces, block, MSG_NOSIGNAL) > 0) {}

    Task *blocked = asyncio_create_task(loop_sock_sendall(loop, fd, bytes("hello", 5)));
    await(asyncio_sleep(0));
    ck_assert(!task_done(blocked));
    task_cancel(blocked);
    Task *taking = asyncio_create_task(all_but_spaces(server));
    await(loop_sock_sendall(loop, fd, bytes("world", 5)));
    shutdown(fd, SHUT_WR);
    ck_repr(await(taking), "'world'");
    close(listener); close(fd); close(server);
}

NET_TEST(BaseSockTestsMixin__test_sock_client_racing)
{
    Peer httpd;
    Value address = tuple("127.0.0.1", peer_start(&httpd, serve_http));
    recv_racing(address);
    recv_into_racing(address);
    peer_stop(&httpd);
    send_racing();
    return None;
}

NET_TEST(BaseSockTestsMixin__test_sock_client_connect_racing)
{
    Loop *loop = asyncio_get_running_loop();
    int listener = bound_socket(SOCK_STREAM), fd = tcp_socket();
    Value address = address_of_fd(listener);
    Task *first = asyncio_create_task(loop_sock_connect(loop, fd, address));
    await(asyncio_sleep(0));
    task_cancel(first);
    ck_assert_int_eq(listen(listener, 1), 0);
    volatile bool connected = false;
    for (int i = 0; i < 128 && !connected; i++) {          /* the refusal of the first attempt is still to be told */
        try {
            await(loop_sock_connect(loop, fd, address));
            connected = true;
        } except (ConnectionRefusedError) {
        } end_try
    }
    ck_assert(connected);
    close(listener); close(fd);
    return None;
}

/* ---- More than the system buffers ------------------------------------------------------------------------------- */

enum { HUGE_SIZE = 1000000 };

typedef int64_t (*Receive)(int fd, char *buffer, size_t size);

static int64_t receive(int fd, char *buffer, size_t size)
{
    Value data = await(loop_sock_recv(asyncio_get_running_loop(), fd, size));
    memcpy(buffer, as_bytes(data, NULL), (size_t)len(data));
    return len(data);
}

static int64_t receive_into(int fd, char *buffer, size_t size)
{
    return as_int(await(loop_sock_recv_into(asyncio_get_running_loop(), fd, buffer, size)));
}

/* Posts a million digits; the server sends them back meanwhile. */
static void huge_content(Receive receive_some)
{
    static char digits[HUGE_SIZE], buffer[HUGE_SIZE + 1024];
    Peer httpd;
    Loop *loop = asyncio_get_running_loop();
    int fd = tcp_socket();
    for (int i = 0; i < HUGE_SIZE; i++) digits[i] = (char)('0' + i % 10);
    await(loop_sock_connect(loop, fd, tuple("127.0.0.1", peer_start(&httpd, serve_http))));
    Value header = format("POST /loop HTTP/1.0\r\nContent-Length: %d\r\n\r\n", HUGE_SIZE);
    await(loop_sock_sendall(loop, fd, bytes(as_str(header), strlen(as_str(header)))));
    Task *sending = asyncio_create_task(loop_sock_sendall(loop, fd, bytes(digits, sizeof digits)));

    size_t size = 0;
    for (int64_t n = 1; n; size += (size_t)n) scope { n = receive_some(fd, buffer + size, sizeof buffer - size); }
    ck_assert(!strncmp(buffer, "HTTP/1.0 200 OK", 15));
    const char *body = strstr(buffer, "\r\n\r\n") + 4;
    ck_assert_uint_eq(size - (size_t)(body - buffer), HUGE_SIZE);
    ck_assert(!memcmp(body, digits, HUGE_SIZE));
    await(sending);
    close(fd);
    peer_stop(&httpd);
}

NET_TEST(BaseSockTestsMixin__test_huge_content) { huge_content(receive); return None; }
NET_TEST(BaseSockTestsMixin__test_huge_content_recvinto) { huge_content(receive_into); return None; }

/* ---- Datagrams -------------------------------------------------------------------------------------------------- */

/* test_utils.run_udp_echo_server(): an empty datagram ends it. */
static void *echo_datagrams(void *memory)
{
    char data[8192];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    int fd = *(int *)memory;
    for (ssize_t n; (n = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &length)) > 0; )
        sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, length);
    return NULL;
}

static void echo_end(pthread_t thread, int server, int client)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port_of_fd(server))};
    sendto(client, "", 0, 0, (struct sockaddr *)&to, sizeof to);
    pthread_join(thread, NULL);
    close(server);
    close(client);
}

static Value ones(void)
{
    static char data[4096];
    memset(data, 1, sizeof data);
    return bytes(data, sizeof data);
}

static void datagrams_come_back(int blocked)
{
    Loop *loop = asyncio_get_running_loop();
    pthread_t thread;
    int server = bound_socket(SOCK_DGRAM), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, echo_datagrams, &server), 0);
    sendto_not_now = blocked;
    ck_repr(await(loop_sock_sendto(loop, fd, ones(), address_of_fd(server))), "4096");
    ck_assert_int_eq(sendto_not_now, 0);
    Value got = await(loop_sock_recvfrom(loop, fd, 4096));
    ck_assert(value_equal(got, tuple(ones(), address_of_fd(server))));
    echo_end(thread, server, fd);
}

NET_TEST(BaseSockTestsMixin__test_recvfrom) { datagrams_come_back(0); return None; }
NET_TEST(BaseSockTestsMixin__test_sendto_blocking) { datagrams_come_back(1); return None; }

NET_TEST(BaseSockTestsMixin__test_recvfrom_into)
{
    Loop *loop = asyncio_get_running_loop();
    pthread_t thread;
    int server = bound_socket(SOCK_DGRAM), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, echo_datagrams, &server), 0);
    for (size_t room = 4096; room <= 8192; room *= 2) {
        char buffer[8192] = "";
        await(loop_sock_sendto(loop, fd, ones(), address_of_fd(server)));
        Value got = await(loop_sock_recvfrom_into(loop, fd, buffer, room));
        ck_assert(value_equal(got, tuple(4096, address_of_fd(server))));
        ck_assert(!memcmp(buffer, as_bytes(ones(), NULL), 4096));
    }
    echo_end(thread, server, fd);
    return None;
}

/* ---- connect and accept ----------------------------------------------------------------------------------------- */

NET_TEST(BaseSockTestsMixin__test_sock_client_fail)
{
    int unused = bound_socket(SOCK_STREAM), fd = tcp_socket();
    Value address = address_of_fd(unused);
    close(unused);
    ck_raises(ConnectionRefusedError, await(loop_sock_connect(asyncio_get_running_loop(), fd, address)));
    close(fd);
    return None;
}

NET_TEST(BaseSockTestsMixin__test_sock_accept)
{
    int listener = listening_socket(1), client = connected_socket(port_of_fd(listener));
    Value both = await(loop_sock_accept(asyncio_get_running_loop(), listener));
    int connection = (int)as_int(list_get(both, 0));
    ck_assert(fcntl(connection, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(connection, F_GETFD) & FD_CLOEXEC);
    ck_assert(value_equal(list_get(both, 1), address_of_fd(client)));
    close(client); close(connection); close(listener);
    return None;
}

NET_TEST(BaseSockTestsMixin__test_cancel_sock_accept)
{
    Loop *loop = asyncio_get_running_loop();
    int listener = listening_socket(1), client = tcp_socket();
    Value address = address_of_fd(listener);
    ck_raises(TimeoutError, await(asyncio_wait_for(loop_sock_accept(loop, listener), 0.01)));
    close(listener);
    ck_raises(ConnectionRefusedError, await(loop_sock_connect(loop, client, address)));
    close(client);
    return None;
}

/* ---- A transport on a socket that is connected ------------------------------------------------------------------ */

static size_t received;
static Transport *made;

static void proto_made(Value self, Transport *transport)
{
    (void)self;
    made = transport;
    transport_write(transport, "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", 37);
}

static void proto_received(Value self, const char *data, size_t size) { (void)self; (void)data; received += size; }
static void proto_lost(Value done, Value e) { ck_assert(is_none(e)); future_set_result(as_future(done), None); }
static const Protocol proto = {.connection_made = proto_made, .data_received = proto_received, .connection_lost = proto_lost};

NET_TEST(BaseSockTestsMixin__test_create_connection_sock)
{
    Peer httpd;
    Loop *loop = asyncio_get_running_loop();
    Value infos = await(loop_getaddrinfo(loop, "127.0.0.1", peer_start(&httpd, serve_http), .type = SOCK_STREAM)), info = list_get(infos, 0);
    int fd = socket((int)as_int(list_get(info, 0)), (int)as_int(list_get(info, 1)) | SOCK_CLOEXEC, (int)as_int(list_get(info, 2)));
    await(loop_sock_connect(loop, fd, list_get(info, 4)));

    Future *done = loop_create_future(loop);
    Value both = await(loop_create_connection(loop, &proto, done, NULL, None, .sock = fd));
    ck_same(list_get(both, 0).object, made);
    ck_same(list_get(both, 1).object, done);
    await(done);
    ck_assert_uint_gt(received, 0);
    peer_stop(&httpd);
    return None;
}
