/* CPython's test_base_events: what is said of ssl= and its companions. */
#include "cpython_tls.h"

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_ssl_server_hostname_default)
{
    Loop *loop = asyncio_get_running_loop();
    SSLContext *context = client_context();
    Server *server = as_server(await(loop_create_server(loop, &(const Protocol){.make = NULL}, None, "127.0.0.1", 0, .ssl = V(simple_server_context()))));
    static const struct { const char *given, *used; } names[] = {{NULL, "127.0.0.1"}, {"localhost", "localhost"}, {"", NULL}};
    for (int i = 0; i < 3; i++) {
        client_begin();
        Value pair = await(loop_create_connection(loop, &client_proto, None, "127.0.0.1", server_port(server), .ssl = V(context), .server_hostname = names[i].given));
        Transport *transport = as_transport(list_get(pair, 0));
        const char *name = sslobject_server_hostname(as_sslobject(transport_get_extra_info(transport, "ssl_object")));
        ck_assert_pstr_eq(name, names[i].used);
        transport_close(transport);
        await(client.lost);
    }
    end_server(server);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_no_ssl_server_hostname_errors)
{
    Loop *loop = asyncio_get_running_loop();
    static const char *names[] = {"", "python.org"};
    for (int i = 0; i < 2; i++)
        ck_raises_text(ValueError, "server_hostname is only meaningful with ssl",
                       await(loop_create_connection(loop, &client_proto, None, "python.org", 80, .server_hostname = names[i])));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_ssl_server_hostname_errors)
{
    Loop *loop = asyncio_get_running_loop();
    int fd = tcp_socket();
    static const char text[] = "You must set server_hostname when using ssl without a host";
    ck_raises_text(ValueError, text, await(loop_create_connection(loop, &client_proto, None, "", 80, .ssl = True)));
    ck_raises_text(ValueError, text, await(loop_create_connection(loop, &client_proto, None, NULL, 80, .ssl = True)));
    ck_raises_text(ValueError, text, await(loop_create_connection(loop, &client_proto, None, NULL, None, .ssl = True, .sock = fd)));
    close(fd);
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_connection_ssl_timeout_for_plain_socket)
{
    ck_raises_text(ValueError, "ssl_handshake_timeout is only meaningful with ssl",
                   await(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "example.com", 80, .ssl_handshake_timeout = 1)));
    return None;
}

NET_TEST(BaseEventLoopWithSelectorTests__test_create_server_ssl_timeout_for_plain_socket)
{
    ck_raises_text(ValueError, "ssl_handshake_timeout is only meaningful with ssl",
                   await(loop_create_server(asyncio_get_running_loop(), &client_proto, None, "example.com", 80, .ssl_handshake_timeout = 1)));
    return None;
}
