/* CPython's test_base_events: what can go wrong while a connection, a server or a datagram endpoint is made, and
 * sock_sendfile() where the system has no sendfile(). Functions of the system that CPython mocks stand in front of it here. */
#include "cpython_resolver.h"
#include "cpython_sendfile.h"
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int socket_error, bind_error, connect_error, sendfile_error;

static int failed(int error) { errno = error; return -1; }
int bind(int fd, const struct sockaddr *at, socklen_t length) { return bind_error ? failed(bind_error) : (int)syscall(SYS_bind, fd, at, length); }

/* socket() fails with each of these in turn. */
static int socket_errors[4];

int socket(int family, int type, int protocol)
{
    int error = socket_error ? socket_error : socket_errors[0];
    memmove(socket_errors, socket_errors + 1, sizeof socket_errors - sizeof *socket_errors);
    return error ? failed(error) : (int)syscall(SYS_socket, family, type, protocol);
}

static struct sockaddr_storage connected_to;

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
    memcpy(&connected_to, to, length);
    return connect_error ? failed(connect_error) : (int)syscall(SYS_connect, fd, to, length);
}

static int accept_error, accept_calls;

int accept4(int fd, struct sockaddr *restrict from, socklen_t *restrict length, int flags)
{
    accept_calls++;
    return accept_error ? failed(accept_error) : (int)syscall(SYS_accept4, fd, from, length, flags);
}

static int reuse_port_error;

int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    if (option == SO_REUSEPORT && reuse_port_error) return failed(reuse_port_error);
    return (int)syscall(SYS_setsockopt, fd, level, option, value, size);
}

/* From now on no name can be looked up, since that needs a thread. */
static void no_threads(void) { await(loop_shutdown_default_executor(asyncio_get_running_loop())); }

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

/* ---- Names and addresses -------------------------------------------------------------------------------------------- */

#define ck_resolved(text, host, port, ...) do { Value infos_ = await(loop_getaddrinfo(here(), host, port, __VA_ARGS__)); ck_repr(infos_, text); } while (0)

/* An address in figures is not looked up, and needs no thread. What CPython hands to the system's resolver is so here. */
NET_TEST(BaseEventTests__test_ipaddr_info)
{
    static const char v4[] = "[(2, 1, 6, '', ('1.2.3.4', 1))]", v6[] = "[(10, 1, 6, '', ('::3', 1, 0, 0))]";
    no_threads();
    ck_resolved(v4, "1.2.3.4", 1, .family = AF_INET, .type = SOCK_STREAM, .proto = IPPROTO_TCP);
    ck_resolved(v4, "1.2.3.4", 1, .type = SOCK_STREAM, .proto = IPPROTO_TCP);
    ck_resolved("[(2, 2, 17, '', ('1.2.3.4', 1))]", "1.2.3.4", 1, .type = SOCK_DGRAM, .proto = IPPROTO_UDP);
    ck_resolved(v4, "1.2.3.4", 1, .type = SOCK_STREAM);
    ck_resolved("[(2, 2, 17, '', ('1.2.3.4', 1))]", "1.2.3.4", 1, .type = SOCK_DGRAM);
    ck_assert_int_eq(len(await(loop_getaddrinfo(here(), "1.2.3.4", 1))), 3);
    ck_raises(GaiError, await(loop_getaddrinfo(here(), "1.2.3.4", 1, .family = AF_INET6, .type = SOCK_STREAM)));
    ck_resolved(v6, "::3", 1, .family = AF_INET6, .type = SOCK_STREAM, .proto = IPPROTO_TCP);
    ck_resolved(v6, "::3", 1, .type = SOCK_STREAM, .proto = IPPROTO_TCP);
    ck_raises(GaiError, await(loop_getaddrinfo(here(), "::3", 1, .family = AF_INET, .type = SOCK_STREAM)));
    ck_raises_text(RuntimeError, "Executor shutdown has been called", await(loop_getaddrinfo(here(), "::3%lo0", 1)));
    return None;
}

NET_TEST(BaseEventTests__test_port_parameter_types)
{
    no_threads();
    ck_resolved("[(2, 1, 6, '', ('1.2.3.4', 0))]", "1.2.3.4", None, .type = SOCK_STREAM);
    ck_resolved("[(2, 1, 6, '', ('1.2.3.4', 0))]", "1.2.3.4", "", .type = SOCK_STREAM);
    ck_resolved("[(2, 1, 6, '', ('1.2.3.4', 1))]", "1.2.3.4", "1", .type = SOCK_STREAM);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_getnameinfo)
{
    ck_repr(await(loop_getnameinfo(here(), tuple("127.0.0.1", 80), NI_NUMERICHOST | NI_NUMERICSERV)), "('127.0.0.1', '80')");
    return None;
}

/* What the connection to example.com fails with, as one exception and as a group of so many. */
static void ck_fails_with(int count, const char *text, ConnectionOptions options)
{
    Loop *loop = here();
    ck_raises_text(OSError, text, await(loop_create_connection_(loop, &nothing, None, "example.com", V(80), options)));
    options.all_errors = true;
    try {
        await(loop_create_connection_(loop, &nothing, None, "example.com", V(80), options));
        ck_abort_msg("no ExceptionGroup");
    } except (ExceptionGroup, e) {
        ck_assert_int_eq(len(exception_exceptions(e)), count);
        for_in (each, exception_exceptions(e)) ck_assert(isinstance(each, OSError));
    } end_try
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_multiple_errors)
{
    static const int errors[] = {EMFILE, ENFILE, EMFILE, ENFILE};
    resolves("example.com", 80, "107.6.106.82", "107.6.106.82");
    memcpy(socket_errors, errors, sizeof errors);
    ck_fails_with(2, "Multiple exceptions: [Errno 24] Too many open files, [Errno 23] Too many open files in system", CONNECTION_());
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_multiple)
{
    resolves("example.com", 80, "0.0.0.1", "0.0.0.2");
    connect_error = ECONNREFUSED;
    ck_fails_with(2, "[Errno 111] Connection refused", CONNECTION_(.family = AF_INET));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_multiple_errors_local_addr)
{
    resolves("example.com", 80, "0.0.0.1", "0.0.0.2");
    connect_error = ECONNREFUSED;
    bind_error = EADDRINUSE;
    ck_fails_with(2, "[Errno 98] error while attempting to bind on address ('127.0.0.1', 8080): [errno 98] address already in use",
                  CONNECTION_(.family = AF_INET, .local_addr = tuple("127.0.0.1", 8080)));
    bind_error = 0;
    socket_errors[0] = socket_errors[2] = EMFILE;        /* for the first of the two addresses */
    ck_fails_with(2, "Multiple exceptions: [Errno 24] Too many open files, [Errno 111] Connection refused",
                  CONNECTION_(.family = AF_INET, .local_addr = tuple("127.0.0.1", 0)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_no_getaddrinfo)
{
    resolves("example.com", 80);
    ck_raises_text(OSError, "getaddrinfo() returned empty list", await(loop_create_connection(here(), &nothing, None, "example.com", 80)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_no_local_addr)
{
    resolves("nowhere.example", 8080);
    ck_raises_text(OSError, "getaddrinfo() returned empty list",
                   await(loop_create_connection(here(), &nothing, None, "127.0.0.1", 80, .local_addr = tuple("nowhere.example", 8080))));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_ipv6_scope)
{
    int fd = (int)syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return None;                             /* a machine without IPv6 */
    close(fd);
    connect_error = ECONNREFUSED;
    ck_raises(ConnectionRefusedError, await(loop_create_connection(here(), &nothing, None, "fe80::1%1", 80)));
    const struct sockaddr_in6 *to = (struct sockaddr_in6 *)&connected_to;
    char text[INET6_ADDRSTRLEN];
    ck_assert_str_eq(inet_ntop(AF_INET6, &to->sin6_addr, text, sizeof text), "fe80::1");
    ck_assert_int_eq(ntohs(to->sin6_port), 80);
    ck_assert_int_eq(to->sin6_scope_id, 1);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_ip_addr)
{
    int listener = listening_socket(1);
    no_threads();
    Value both = await(loop_create_connection(here(), &nothing, None, "127.0.0.1", port_of_fd(listener)));
    Transport *transport = (Transport *)list_get(both, 0).object;
    ck_repr(transport_get_extra_info(transport, "peername"), as_str(repr(address_of_fd(listener))));
    transport_close(transport);
    close(listener);
    ck_raises_text(RuntimeError, "Executor shutdown has been called", await(loop_create_connection(here(), &nothing, None, "example.com", 80)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_service_name)
{
    resolves("127.0.0.1", 80, "127.0.0.1");
    resolver.service = "http";
    connect_error = ECONNREFUSED;
    ck_raises_text(ConnectionRefusedError, "[Errno 111] Connection refused",
                   await(loop_create_connection(here(), &nothing, None, "127.0.0.1", "http")));
    ck_raises(OSError, await(loop_create_connection(here(), &nothing, None, "127.0.0.1", "nonsense")));
    return None;
}

static Coroutine *takes_nobody(StreamReader *reader, StreamWriter *writer) { (void)reader; streamwriter_close(writer); return NULL; }

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_ipv6)
{
    try {
        Server *server = as_server(await(asyncio_start_server(takes_nobody, "::1", 0)));
        ck_assert_int_ge(len(server_sockets(server)), 1);
        server_close(server);
        await(server_wait_closed(server));
    } except (OSError) {
        /* a machine without IPv6 */
    } end_try
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_empty_host)
{
    resolves("", 0);                                     /* it is asked for no host at all */
    ck_raises(OSError, await(loop_create_server(here(), &nothing, None, "", 0)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_no_getaddrinfo)
{
    resolves("python.org", 0);
    ck_raises_text(OSError, "getaddrinfo('python.org') returned empty list", await(loop_create_server(here(), &nothing, None, "python.org", 0)));
    return None;
}

/* Not in CPython's file: an address that this machine has not is passed over, and if there is no other, it is told. */
NET_TEST(a_server_without_an_address)
{
    bind_error = EADDRNOTAVAIL;
    ck_raises_text(OSError, "could not bind on any address out of [('127.0.0.1', 80)]", await(loop_create_server(here(), &nothing, None, "127.0.0.1", 80)));
    return None;
}

static const char no_reuse_port[] = "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented.";

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_nosoreuseport)
{
    reuse_port_error = ENOPROTOOPT;
    ck_raises_text(ValueError, no_reuse_port, await(loop_create_server(here(), &nothing, None, "127.0.0.1", 0, .reuse_port = true)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_soreuseport_only_defined)
{
    reuse_port_error = EINVAL;
    ck_raises_text(ValueError, no_reuse_port, await(loop_create_server(here(), &nothing, None, "127.0.0.1", 0, .reuse_port = true)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_nosoreuseport)
{
    reuse_port_error = ENOPROTOOPT;
    ck_raises_text(ValueError, no_reuse_port, await(endpoint(.local_addr = tuple("127.0.0.1", 0), .reuse_port = true)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_no_addrinfo)
{
    resolves("nowhere.example", 0);
    ck_raises_text(OSError, "getaddrinfo() returned empty list", await(endpoint(.local_addr = tuple("nowhere.example", 0))));
    return None;
}

static int option_of(Value both, int level, int option)
{
    int value = 0;
    socklen_t size = sizeof value;
    int fd = (int)as_int(transport_get_extra_info((Transport *)list_get(both, 0).object, "socket"));
    ck_assert_int_eq(getsockopt(fd, level, option, &value, &size), 0);
    return value;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_sockopts)
{
    Value both = await(endpoint(.local_addr = tuple("127.0.0.1", 0)));
    ck_assert(!option_of(both, SOL_SOCKET, SO_REUSEPORT) && !option_of(both, SOL_SOCKET, SO_BROADCAST));
    close_endpoint(both);
    both = await(endpoint(.local_addr = tuple("127.0.0.1", 0), .reuse_port = true, .allow_broadcast = true));
    ck_assert(!option_of(both, SOL_SOCKET, SO_REUSEADDR));
    ck_assert(option_of(both, SOL_SOCKET, SO_REUSEPORT) && option_of(both, SOL_SOCKET, SO_BROADCAST));
    close_endpoint(both);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_datagram_endpoint_ip_addr)
{
    no_threads();
    Value both = await(endpoint(.local_addr = tuple("127.0.0.1", 0), .reuse_port = true));
    ck_assert_int_eq(option_of(both, SOL_SOCKET, SO_DOMAIN), AF_INET);
    ck_assert_int_eq(option_of(both, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    ck_assert_int_eq(option_of(both, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
    close_endpoint(both);
    return None;
}

NET_TEST(TestSelectorUtils__test_set_nodelay)
{
    int listener = listening_socket(1);
    Value both = await(loop_create_connection(here(), &nothing, None, "127.0.0.1", port_of_fd(listener)));
    ck_assert(option_of(both, IPPROTO_TCP, TCP_NODELAY));
    transport_close((Transport *)list_get(both, 0).object);
    close(listener);
    return None;
}

/* ---- Accepting ------------------------------------------------------------------------------------------------------ */

static void made(Value self, Transport *transport) { (void)self; note("made"); transport_abort(transport); }
static const Protocol notes_made = {.connection_made = made};

/* A server with a client in its queue, and an accept() that fails. */
static Server *server_that_fails(int error, int *client)
{
    accept_error = error;
    Server *server = as_server(await(loop_create_server(here(), &notes_made, None, "127.0.0.1", 0)));
    *client = connected_socket(server_port(server));
    pass_until(accept_calls);
    return server;
}

static void end_of_server(Server *server, int client)
{
    close(client);
    server_close(server);
    await(server_wait_closed(server));
}

NET_TEST(BaseEventLoopWithSelectorTests__test_accept_connection_retry)
{
    int client;
    Server *server = server_that_fails(EAGAIN, &client);
    ck_notes("");
    accept_error = 0;
    pass_until(notes_[0]);
    ck_notes("made");
    end_of_server(server, client);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_accept_connection_exception)
{
    int client;
    Server *server = server_that_fails(EMFILE, &client);
    ck_assert_str_eq(reported.message, "socket.accept() out of system resource");
    reports_taken(1);
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    ck_assert_int_eq(accept_calls, 1);                   /* it rests for a second, though somebody waits */
    ck_notes("");
    end_of_server(server, client);
    return None;
}
