/* CPython's test_sslproto: the protocol between a transport and an application, and start_tls(). */
#include "cpython_tls.h"

/* ---- SslProtoHandshakeTests ------------------------------------------------------------------------------------- */

static void try_timeout_value(double seconds, const char *text)
{
    int listener = listening_socket(1);
    ck_raises_text(ValueError, text, await(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port_of_fd(listener),
                                                                  .ssl = V(simple_client_context()), .ssl_handshake_timeout = seconds)));
    close(listener);
}

NET_TEST(SslProtoHandshakeTests__test_handshake_timeout_zero)
{
    try_timeout_value(0, "ssl_handshake_timeout should be a positive number, got 0");
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_handshake_timeout_negative)
{
    try_timeout_value(-10, "ssl_handshake_timeout should be a positive number, got -10");
    return None;
}

/* A connection whose handshake waits for `listener`'s side: the task that makes it, and that side's descriptor. */
static Task *begin_handshake(int listener, int *fd)
{
    char hello[5];
    client_begin();
    Task *connecting = asyncio_create_task(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port_of_fd(listener),
                                                                  .ssl = V(simple_client_context())));
    pass_until((*fd = accept(listener, NULL, NULL)) >= 0);
    fcntl(*fd, F_SETFL, O_NONBLOCK);
    pass_until(recv(*fd, hello, sizeof hello, 0) == sizeof hello);
    return connecting;
}

static int nonblocking_listener(void)
{
    int listener = listening_socket(1);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    return listener;
}

NET_TEST(SslProtoHandshakeTests__test_eof_received_waiter)
{
    int fd, listener = nonblocking_listener();
    Task *connecting = begin_handshake(listener, &fd);
    shutdown(fd, SHUT_WR);
    ck_raises(ConnectionResetError, await(connecting));
    close(fd);
    close(listener);
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_connection_lost)
{
    int fd, listener = nonblocking_listener();
    Task *connecting = begin_handshake(listener, &fd);
    reset_on_close(fd);
    close(fd);
    ck_raises(ConnectionResetError, await(connecting));
    ck_assert_int_eq(client.made, 0);
    ck_assert(!future_done(client.lost));
    close(listener);
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_close_during_handshake)
{
    char block[4096];
    ssize_t n;
    int fd, listener = nonblocking_listener();
    Task *connecting = begin_handshake(listener, &fd);
    task_cancel(connecting);
    ck_raises(CancelledError, await(connecting));
    pass_until((n = recv(fd, block, sizeof block, 0)) == 0 || (n < 0 && errno == ECONNRESET));
    ck_assert_int_eq(client.made, 0);
    close(fd);
    close(listener);
    return None;
}

/* Ends with the client, in a proper way. */
static void serve_to_the_end(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    tls_recv(ssl, SIZE_MAX, 0);
    end_clean(ssl);
}

/* Sends until nobody is there any more. */
static void serve_text_for_ever(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    for (int i = 0; i < 100 && tls_send(ssl, "more and more"); i++) {}
    end_clean(ssl);
}

NET_TEST(SslProtoHandshakeTests__test_close_during_ssl_over_ssl)
{
    Peer peer;
    Loop *loop = asyncio_get_running_loop();
    client_begin();
    Transport *inner = connect_client_tls(peer_start(&peer, serve_to_the_end));
    Task *starting = asyncio_create_task(loop_start_tls(loop, inner, &client_proto, None, simple_client_context()));
    for (int i = 0; i < 3; i++) await(asyncio_sleep(0));
    transport_close(inner);
    ck_raises(ConnectionError, await(starting));
    await(client.lost);
    peer_stop(&peer);
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_get_extra_info_on_closed_connection)
{
    Peer peer;
    client_begin();
    Transport *transport = connect_client_tls(peer_start(&peer, serve_to_the_end));
    ck_assert(!is_none(transport_get_extra_info(transport, "socket")));
    transport_abort(transport);
    await(client.lost);
    ck_assert(is_none(transport_get_extra_info(transport, "socket")));
    ck_repr(transport_get_extra_info(transport, "socket", .otherwise = V(5)), "5");
    peer_stop(&peer);
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_set_new_app_protocol)
{
    static const Protocol other = {.connection_lost = client_lost};
    Peer peer;
    Value self;
    client_begin();
    Transport *transport = connect_client_tls(peer_start(&peer, serve_to_the_end));
    ck_same(transport_get_protocol(transport, NULL), &client_proto);
    transport_set_protocol(transport, &other, V("me"));
    ck_same(transport_get_protocol(transport, &self), &other);
    ck_repr(self, "'me'");
    transport_abort(transport);
    await(client.lost);
    peer_stop(&peer);
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_data_received_after_closing)
{
    Peer peer;
    client_begin();
    Transport *transport = connect_client_tls(peer_start(&peer, serve_text_for_ever));
    await(client.data);
    transport_close(transport);
    size_t bytes_so_far = client.bytes;
    ck_assert(is_none(await(client.lost)));
    ck_assert_uint_eq(client.bytes, bytes_so_far);
    peer_stop(&peer);
    return None;
}

NET_TEST(SslProtoHandshakeTests__test_write_after_closing)
{
    Peer peer;
    client_begin();
    Transport *transport = connect_client_tls(peer_start(&peer, serve_to_the_end));
    transport_close(transport);
    transport_write(transport, "data", 4);
    await(client.lost);
    transport_write(transport, "data", 4);
    peer_stop(&peer);
    return None;
}

/* ---- BaseStartTLS ----------------------------------------------------------------------------------------------- */

NET_TEST(BaseStartTLS__test_start_tls_client_reg_proto_1) { try_start_tls_client(serve_start_tls_unclean); return None; }
NET_TEST(BaseStartTLS__test_create_connection_memory_leak) { try_memory_leak(serve_tls_unclean); return None; }
NET_TEST(BaseStartTLS__test_start_tls_client_buf_proto_1) { try_buffered_protocol(serve_twice_unclean); return None; }
NET_TEST(BaseStartTLS__test_start_tls_slow_client_cancel) { try_slow_client_cancel(); return None; }
NET_TEST(BaseStartTLS__test_handshake_timeout) { try_handshake_timeout(); return None; }
NET_TEST(BaseStartTLS__test_create_connection_ssl_slow_handshake) { try_slow_handshake(); return None; }
NET_TEST(BaseStartTLS__test_create_connection_ssl_failed_certificate) { try_failed_certificate(); return None; }
NET_TEST(BaseStartTLS__test_start_tls_client_corrupted_ssl) { try_corrupted(); return None; }

static Value client_with_answer(Value port)
{
    static const char answer[] = "answer";
    char block[sizeof answer];
    bool ok = false;
    int fd = connected_socket((int)as_int(port));
    SSL *ssl = recv_plain(fd, PAYLOAD_SIZE) == PAYLOAD_SIZE ? tls_connect(fd) : NULL;
    if (ssl && send_payload(ssl)) ok = SSL_read(ssl, block, sizeof block) == 6 && !memcmp(block, answer, 6);
    SSL_free(ssl);
    close(fd);
    return V((bool)ok);
}

NET_TEST(BaseStartTLS__test_start_tls_server_1) { try_start_tls_server(true, client_with_answer); return None; }

NET_TEST(BaseStartTLS__test_start_tls_wrong_args)
{
    static const Protocol nothing;
    Loop *loop = asyncio_get_running_loop();
    ck_raises_text(TypeError, "sslcontext is expected to be an instance of ssl.SSLContext, got None", await(loop_start_tls(loop, NULL, NULL, None, NULL)));
    ck_raises_text(TypeError, "transport None is not supported by start_tls()", await(loop_start_tls(loop, NULL, NULL, None, simple_server_context())));
    Value datagrams = await(loop_create_datagram_endpoint(loop, &nothing, None, .local_addr = tuple("127.0.0.1", 0)));
    Transport *transport = as_transport(list_get(datagrams, 0));
    ck_raises(TypeError, await(loop_start_tls(loop, transport, &nothing, None, simple_client_context())));
    transport_abort(transport);
    return None;
}
