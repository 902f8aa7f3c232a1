/* What the keyword arguments of connections and servers do. */
#include "cpython/cpython_resolver.h"
#include <sys/syscall.h>

/* The families of the addresses that were tried, in order, if none is to be had. */
static bool none_to_be_had;
static char tried[8];

int socket(int family, int type, int protocol)
{
    return (int)syscall(SYS_socket, none_to_be_had && family == AF_INET6 ? AF_INET : family, type, protocol);
}

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
    if (!none_to_be_had) return (int)syscall(SYS_connect, fd, to, length);
    strcat(tried, to->sa_family == AF_INET6 ? "6" : "4");
    errno = ECONNREFUSED;
    return -1;
}

static Coroutine *closes(StreamReader *reader, StreamWriter *writer) { (void)reader; streamwriter_close(writer); return NULL; }

async_def(says_line, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)reader;
    streamwriter_write(writer, "a line of some length\n");
    streamwriter_close(writer);
    return None;
}

static void end_of_server(Server *server)
{
    server_close(server);
    await(server_wait_closed(server));
}

static void end_of_streams(Value both)
{
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    await(streamwriter_wait_closed(as_streamwriter(list_get(both, 1))));
}

#define ck_asked(family, proto, flags) do { \
    ck_assert_int_eq(resolver.asked.ai_family, family); ck_assert_int_eq(resolver.asked.ai_socktype, SOCK_STREAM); \
    ck_assert_int_eq(resolver.asked.ai_protocol, proto); ck_assert_int_eq(resolver.asked.ai_flags, flags); } while (0)

NET_TEST(family_proto_and_flags_of_a_connection_go_to_the_resolver)
{
    resolves("example.com", 80);
    ck_raises(OSError, await(asyncio_open_connection("example.com", 80)));
    ck_asked(0, 0, 0);
    ck_raises(OSError, await(asyncio_open_connection("example.com", 80, .family = AF_INET6, .proto = IPPROTO_TCP, .flags = AI_CANONNAME)));
    ck_asked(AF_INET6, IPPROTO_TCP, AI_CANONNAME);
    return None;
}

NET_TEST(family_and_flags_of_a_server_go_to_the_resolver)
{
    resolves("example.com", 80);
    ck_raises(OSError, await(asyncio_start_server(closes, "example.com", 80)));
    ck_asked(0, 0, AI_PASSIVE);
    ck_raises(OSError, await(asyncio_start_server(closes, "example.com", 80, .family = AF_INET, .flags = AI_CANONNAME)));
    ck_asked(AF_INET, 0, AI_CANONNAME);
    return None;
}

NET_TEST(the_limit_of_a_connection)
{
    Server *server = as_server(await(asyncio_start_server(says_line, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server), .limit = 10));
    ck_raises_text(ValueError, "Separator is found, but chunk is longer than limit", await(streamreader_readline(as_streamreader(list_get(both, 0)))));
    end_of_streams(both);
    ck_raises_text(ValueError, "Limit cannot be <= 0", await(asyncio_open_connection("127.0.0.1", server_port(server), .limit = 0)));
    end_of_server(server);
    return None;
}

async_def(reads_line, (StreamReader *) reader, (StreamWriter *) writer)
{
    try {
        await(streamreader_readline(reader));
    } except (ValueError, e) {
        note(str(e));
    } end_try
    streamwriter_close(writer);
    return None;
}

NET_TEST(the_limit_of_a_server)
{
    Server *server = as_server(await(asyncio_start_server(reads_line, "127.0.0.1", 0, .limit = 4)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    streamwriter_write(as_streamwriter(list_get(both, 1)), "too long\n");
    ck_repr(await(streamreader_read(as_streamreader(list_get(both, 0)))), "b''");
    ck_notes("Separator is found, but chunk is longer than limit");
    end_of_streams(both);
    end_of_server(server);
    ck_raises_text(ValueError, "Limit cannot be <= 0", await(asyncio_start_server(reads_line, "127.0.0.1", 0, .limit = 0)));
    return None;
}

NET_TEST(a_socket_instead_of_an_address)
{
    Server *server = as_server(await(asyncio_start_server(says_line, NULL, None, .sock = bound_socket(SOCK_STREAM))));
    int fd = connected_socket(server_port(server));
    ck_raises(ValueError, await(asyncio_open_connection("127.0.0.1", 80, .sock = fd)));
    ck_raises(ValueError, await(asyncio_start_server(says_line, "127.0.0.1", 80, .sock = fd)));
    ck_raises(ValueError, await(asyncio_start_server(says_line, NULL, None)));
    Value both = await(asyncio_open_connection(NULL, None, .sock = fd));
    ck_repr(await(streamreader_readline(as_streamreader(list_get(both, 0)))), "b'a line of some length\\n'");
    end_of_streams(both);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);            /* the transport's, which has closed it */
    end_of_server(server);
    return None;
}

static int option_of(Server *server, int option)
{
    int value = 0;
    socklen_t size = sizeof value;
    ck_assert_int_eq(getsockopt((int)as_int(list_get(list_get(server_sockets(server), 0), 0)), SOL_SOCKET, option, &value, &size), 0);
    return value;
}

NET_TEST(the_options_of_a_servers_socket)
{
    Server *server = as_server(await(asyncio_start_server(closes, "127.0.0.1", 0)));
    ck_assert(option_of(server, SO_REUSEADDR) && !option_of(server, SO_REUSEPORT) && !option_of(server, SO_KEEPALIVE));
    end_of_server(server);
    server = as_server(await(asyncio_start_server(closes, "127.0.0.1", 0, .reuse_address = false, .reuse_port = true, .keep_alive = true)));
    ck_assert(!option_of(server, SO_REUSEADDR) && option_of(server, SO_REUSEPORT) && option_of(server, SO_KEEPALIVE));
    end_of_server(server);
    return None;
}

NET_TEST(a_server_that_does_not_serve_yet)
{
    Server *server = as_server(await(asyncio_start_server(says_line, "127.0.0.1", 0, .start_serving = false)));
    int port = server_port(server);
    ck_assert(!server_is_serving(server) && !option_of(server, SO_ACCEPTCONN));
    ck_raises(ConnectionRefusedError, await(asyncio_open_connection("127.0.0.1", port)));
    await(server_start_serving(server));
    await(server_start_serving(server));                 /* once is enough */
    ck_assert(server_is_serving(server) && option_of(server, SO_ACCEPTCONN));
    end_of_streams(await(asyncio_open_connection("127.0.0.1", port)));
    end_of_server(server);
    ck_assert(!server_is_serving(server));
    return None;
}

NET_TEST(interleave_takes_both_families_in_turn)
{
    none_to_be_had = true;
    resolves("example.com", 80, "127.0.0.1", "127.0.0.2", "::1", "::2");
    ck_raises(OSError, await(asyncio_open_connection("example.com", 80)));
    ck_assert_str_eq(tried, "4466");
    tried[0] = 0;
    ck_raises(OSError, await(asyncio_open_connection("example.com", 80, .interleave = 1)));
    ck_assert_str_eq(tried, "4646");
    tried[0] = 0;
    ck_raises(OSError, await(asyncio_open_connection("example.com", 80, .interleave = 2)));
    ck_assert_str_eq(tried, "4466");
    return None;
}
