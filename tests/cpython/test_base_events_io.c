/* CPython's test_base_events: what can go wrong while a connection, a server or a datagram endpoint is made, and
 * sock_sendfile() where the system has no sendfile(). Functions of the system that CPython mocks stand in front of it here. */
#include "cpython_sendfile.h"
#include <netdb.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int socket_error, bind_error, connect_error, sendfile_error;

static int failed(int error) { errno = error; return -1; }
int socket(int family, int type, int protocol) { return socket_error ? failed(socket_error) : (int)syscall(SYS_socket, family, type, protocol); }
int bind(int fd, const struct sockaddr *at, socklen_t length) { return bind_error ? failed(bind_error) : (int)syscall(SYS_bind, fd, at, length); }
int connect(int fd, const struct sockaddr *to, socklen_t length) { return connect_error ? failed(connect_error) : (int)syscall(SYS_connect, fd, to, length); }
ssize_t sendfile(int out, int in, off_t *offset, size_t count) { return sendfile_error ? failed(sendfile_error) : syscall(SYS_sendfile, out, in, offset, count); }

static const Protocol nothing = {.data_received = NULL};
#define here() asyncio_get_running_loop()

/* ---- Connections ------------------------------------------------------------------------------------------------ */

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_timeout)
{
    connect_error = ETIMEDOUT;                           /* NET_TEST finds a socket that is not closed */
    ck_raises(TimeoutError, await(loop_create_connection(here(), &nothing, None, "127.0.0.1", 80)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_host_port_sock)
{
    ck_raises_text(ValueError, "host/port and sock can not be specified at the same time",
                   await(loop_create_connection(here(), &nothing, None, "example.com", 80, .sock = 0)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_wrong_sock)
{
    int fd = bound_socket(SOCK_DGRAM);
    Value wanted = format("A Stream Socket was expected, got descriptor %d", fd);
    ck_raises_text(ValueError, as_str(wanted), await(loop_create_connection(here(), &nothing, None, NULL, None, .sock = fd)));
    close(fd);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_no_host_port_sock)
{
    ck_raises(ValueError, await(loop_create_connection(here(), &nothing, None, NULL, None)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_connect_err)
{
    connect_error = ENETUNREACH;
    ck_raises(OSError, await(loop_create_connection(here(), &nothing, None, "127.0.0.1", 80)));
    try {
        await(loop_create_connection(here(), &nothing, None, "127.0.0.1", 80, .all_errors = true));
        ck_abort_msg("no ExceptionGroup");
    } except (ExceptionGroup, e) {
        ck_assert_int_eq(len(exception_exceptions(e)), 1);
        ck_assert(isinstance(list_get(exception_exceptions(e), 0), OSError));
    } end_try
    return None;
}

/* ---- Servers ---------------------------------------------------------------------------------------------------- */

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_wrong_sock)
{
    int fd = bound_socket(SOCK_DGRAM);
    Value wanted = format("A Stream Socket was expected, got descriptor %d", fd);
    ck_raises_text(ValueError, as_str(wanted), await(loop_create_server(here(), &nothing, None, NULL, None, .sock = fd)));
    close(fd);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_stream_bittype)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    Server *server = as_server(await(loop_create_server(here(), &nothing, None, NULL, None, .sock = fd)));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_host_port_sock)
{
    ck_raises(ValueError, await(loop_create_server(here(), &nothing, None, "0.0.0.0", 0, .sock = 0)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_no_host_port_sock)
{
    ck_raises(ValueError, await(loop_create_server(here(), &nothing, None, NULL, None)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_cant_bind)
{
    bind_error = EACCES;
    ck_raises(PermissionError, await(loop_create_server(here(), &nothing, None, "0.0.0.0", 0)));
    return None;
}

/* ---- Datagram endpoints ----------------------------------------------------------------------------------------- */

#define endpoint(...) loop_create_datagram_endpoint(here(), &nothing, None, __VA_ARGS__)
#define close_endpoint(both) do { transport_close((Transport *)list_get(both, 0).object); await(asyncio_sleep(0)); } while (0)

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_wrong_sock)
{
    int fd = tcp_socket();
    Value wanted = format("A datagram socket was expected, got descriptor %d", fd);
    ck_raises_text(ValueError, as_str(wanted), await(endpoint(.sock = fd)));
    close(fd);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_addr_error)
{
    ck_raises(TypeError, await(endpoint(.local_addr = V("localhost"))));
    ck_raises(TypeError, await(endpoint(.local_addr = tuple("localhost", 1, 2, 3))));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_connect_err)
{
    connect_error = ENETUNREACH;
    ck_raises(OSError, await(endpoint(.remote_addr = tuple("127.0.0.1", 0))));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_allow_broadcast)
{
    char data[8] = "";
    int fd = bound_socket(SOCK_DGRAM);
    connect_error = EISCONN;                             /* it must not be connected */
    Value both = await(endpoint(.remote_addr = address_of_fd(fd), .allow_broadcast = true));
    transport_sendto((Transport *)list_get(both, 0).object, "wide", 4);
    ck_assert_int_eq(recv(fd, data, sizeof data, 0), 4);
    close_endpoint(both);
    close(fd);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_socket_err)
{
    socket_error = EMFILE;
    ck_raises(OSError, await(endpoint(.family = AF_INET)));
    ck_raises(OSError, await(endpoint(.local_addr = tuple("127.0.0.1", 0))));
    socket_error = 0;
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_no_matching_family)
{
    ck_raises_text(ValueError, "can not get address information", await(endpoint(.remote_addr = tuple("127.0.0.1", 0), .local_addr = tuple("::1", 0))));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_noaddr_nofamily)
{
    ck_raises_text(ValueError, "unexpected address family", await(loop_create_datagram_endpoint(here(), &nothing, None)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_cant_bind)
{
    bind_error = EACCES;
    ck_raises(PermissionError, await(endpoint(.local_addr = tuple("127.0.0.1", 0), .family = AF_INET)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_sock)
{
    Value both = await(endpoint(.sock = bound_socket(SOCK_DGRAM)));
    close_endpoint(both);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_sock_unix)
{
    Value both = await(endpoint(.family = AF_UNIX));
    close_endpoint(both);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_existing_sock_unix)
{
    SocketPath at;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, socket_path_new(&at));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    Value both = await(endpoint(.local_addr = V(at.path), .family = AF_UNIX));
    close_endpoint(both);
    socket_path_end(&at);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_sock_sockopts)
{
    int fd = bound_socket(SOCK_DGRAM);
    ck_raises(ValueError, await(endpoint(.sock = fd, .local_addr = tuple("127.0.0.1", 0))));
    ck_raises(ValueError, await(endpoint(.sock = fd, .remote_addr = tuple("127.0.0.1", 0))));
    ck_raises(ValueError, await(endpoint(.sock = fd, .family = 1)));
    ck_raises(ValueError, await(endpoint(.sock = fd, .proto = 1)));
    ck_raises(ValueError, await(endpoint(.sock = fd, .reuse_port = true)));
    ck_raises(ValueError, await(endpoint(.sock = fd, .allow_broadcast = true)));
    close(fd);
    return None;
}

/* ---- sock_sendfile() -------------------------------------------------------------------------------------------- */

NET_TEST(BaseLoopSockSendfileTests__test_sock_sendfile_no_fallback)
{
    Sending s = sending_begin();
    sendfile_error = ENOSYS;
    ck_raises(SendfileNotAvailableError, await(loop_sock_sendfile(here(), s.fd, s.file, .fallback = false)));
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, 0);
    ck_position(s.file, 0);
    close(s.file);
    return None;
}

NET_TEST(BaseLoopSockSendfileTests__test_sock_sendfile_fallback)
{
    Sending s = sending_begin();
    sendfile_error = ENOSYS;
    ck_repr(await(loop_sock_sendfile(here(), s.fd, s.file)), "1114113");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, FILE_SIZE);
    ck_assert(!memcmp(arrived, file_data(), FILE_SIZE));
    ck_position(s.file, FILE_SIZE);
    close(s.file);
    return None;
}

NET_TEST(BaseLoopSockSendfileTests__test_sock_sendfile_fallback_offset_and_count)
{
    Sending s = sending_begin();
    sendfile_error = ENOSYS;
    ck_repr(await(loop_sock_sendfile(here(), s.fd, s.file, 1000, 2000)), "2000");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, 2000);
    ck_assert(!memcmp(arrived, file_data() + 1000, 2000));
    ck_position(s.file, 3000);
    close(s.file);
    return None;
}

NET_TEST(BaseLoopSockSendfileTests__test_blocking_socket)
{
    int fd = tcp_socket();
    loop_set_debug(here(), true);
    ck_raises_text(ValueError, "the socket must be non-blocking", await(loop_sock_sendfile(here(), fd, 0)));
    close(fd);
    return None;
}

NET_TEST(BaseLoopSockSendfileTests__test_nonstream_socket)
{
    int fd = bound_socket(SOCK_DGRAM);
    ck_raises_text(ValueError, "only SOCK_STREAM type sockets are supported", await(loop_sock_sendfile(here(), fd, 0)));
    close(fd);
    return None;
}

NET_TEST(BaseLoopSockSendfileTests__test_negative_count)
{
    ck_raises_text(ValueError, "count must be a positive integer (got -2)", await(loop_sock_sendfile(here(), 0, 0, .count = -2)));
    return None;
}

NET_TEST(BaseLoopSockSendfileTests__test_negative_offset)
{
    ck_raises_text(ValueError, "offset must be a non-negative integer (got -1)", await(loop_sock_sendfile(here(), 0, 0, .offset = -1)));
    return None;
}
