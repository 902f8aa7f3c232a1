/* CPython's test_unix_events: what is said of ssl= and its companions for unix sockets. */
#include "cpython_tls.h"

#define wrong(E, text, ...) ck_raises_text(E, text, await(__VA_ARGS__))

NET_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_ssl_bool)
{
    wrong(TypeError, "ssl argument must be an SSLContext or None", loop_create_unix_server(asyncio_get_running_loop(), &client_proto, None, "spam", .ssl = True));
    return None;
}

NET_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_server_ssl_timeout_with_plain_sock)
{
    wrong(ValueError, "ssl_handshake_timeout is only meaningful with ssl",
          loop_create_unix_server(asyncio_get_running_loop(), &client_proto, None, "spam", .ssl_handshake_timeout = 1));
    return None;
}

NET_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_connection_nossl_serverhost)
{
    wrong(ValueError, "server_hostname is only meaningful with ssl",
          loop_create_unix_connection(asyncio_get_running_loop(), &client_proto, None, "/dev/null", .server_hostname = "spam"));
    return None;
}

NET_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_connection_ssl_noserverhost)
{
    wrong(ValueError, "you have to pass server_hostname when using ssl",
          loop_create_unix_connection(asyncio_get_running_loop(), &client_proto, None, "/dev/null", .ssl = True));
    return None;
}

NET_TEST(SelectorEventLoopUnixSocketTests__test_create_unix_connection_ssl_timeout_with_plain_sock)
{
    wrong(ValueError, "ssl_handshake_timeout is only meaningful with ssl",
          loop_create_unix_connection(asyncio_get_running_loop(), &client_proto, None, "/dev/null", .ssl_handshake_timeout = 1));
    return None;
}
