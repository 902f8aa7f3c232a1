/* CPython's test_events: connections and servers over TLS. */
#include "cpython_tls.h"

static void serve_https(int fd)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\nContent-type: text/plain\r\n\r\nTest message";
    char block[4096];
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    if (SSL_read(ssl, block, sizeof block) > 0) tls_send(ssl, answer);
    end_clean(ssl);
}

static void made_asking(Value self, Transport *transport)
{
    client_made(self, transport);
    transport_write(transport, "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", 37);
}

static const Protocol asking = {.connection_made = made_asking, .data_received = client_received, .eof_received = client_eof, .connection_lost = client_lost};

static void check_extra_info(Transport *transport, Value certificate)
{
    SSLObject *o = as_sslobject(transport_get_extra_info(transport, "ssl_object"));
    Value cipher = transport_get_extra_info(transport, "cipher");
    ck_assert(!is_none(transport_get_extra_info(transport, "sockname")));
    ck_assert(!is_none(transport_get_extra_info(transport, "peername")));
    ck_assert(value_equal(transport_get_extra_info(transport, "peercert"), certificate));
    ck_assert(value_equal(sslobject_getpeercert(o), certificate));
    ck_assert_int_eq(len(cipher), 3);
    ck_assert(value_equal(sslobject_cipher(o), cipher));
    ck_assert_int_gt(as_int(list_get(cipher, 2)), 0);
    ck_assert(value_equal(sslobject_compression(o), transport_get_extra_info(transport, "compression")));
}

static void try_https(Coroutine *connecting)
{
    client_begin();
    Transport *transport = as_transport(list_get(await(connecting), 0));
    ck_assert(strstr(value_type(V(transport)), "SSL"));
    check_extra_info(transport, tuple());
    await(client.lost);
    ck_assert_uint_gt(client.bytes, 0);
    transport_close(transport);
}

static void try_refused(Coroutine *connecting)
{
    Value e = None;
    client_begin();
    try { await(connecting); } except (SSLError, refusal) { e = refusal; } end_try
    ck_repr(list_get(exception_details(e), 1), "'CERTIFICATE_VERIFY_FAILED'");
    ck_assert_int_eq(client.made, 0);
}

NET_TEST(EventLoopTestsMixin__test_create_ssl_connection)
{
    Peer httpd;
    Loop *loop = asyncio_get_running_loop();
    int port = peer_start(&httpd, serve_https);
    try_https(loop_create_connection(loop, &asking, None, "127.0.0.1", port, .ssl = V(simple_client_context())));
    try_refused(loop_create_connection(loop, &asking, None, "127.0.0.1", port, .ssl = True));
    peer_stop(&httpd);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_create_ssl_unix_connection)
{
    Peer httpd;
    Loop *loop = asyncio_get_running_loop();
    const char *path = peer_start_unix(&httpd, serve_https);
    try_https(loop_create_unix_connection(loop, &asking, None, path, .ssl = V(simple_client_context()), .server_hostname = "127.0.0.1"));
    try_refused(loop_create_unix_connection(loop, &asking, None, path, .ssl = True, .server_hostname = "127.0.0.1"));
    peer_stop(&httpd);
    return None;
}

/* ---- Servers ---------------------------------------------------------------------------------------------------- */

/* MyProto of the server's side. */
static struct { Transport *transport; Future *connected, *done; size_t bytes; } my;

static void my_made(Value self, Transport *transport) { (void)self; my.transport = transport; future_set_result(my.connected, None); }
static void my_received(Value self, const char *data, size_t size) { (void)self; (void)data; my.bytes += size; }
static void my_lost(Value self, Value e) { (void)self; (void)e; future_set_result(my.done, None); }
static const Protocol serving = {.connection_made = my_made, .data_received = my_received, .connection_lost = my_lost};

typedef struct Served { Server *server; SocketPath at; bool is_unix; } Served;

static Served serve_tls(bool is_unix)
{
    Loop *loop = asyncio_get_running_loop();
    Served s = {.is_unix = is_unix};
    Value context = V(simple_server_context());
    memset(&my, 0, sizeof my);
    my.connected = loop_create_future(loop);
    my.done = loop_create_future(loop);
    s.server = as_server(is_unix ? await(loop_create_unix_server(loop, &serving, None, socket_path_new(&s.at), .ssl = context))
                                 : await(loop_create_server(loop, &serving, None, "127.0.0.1", 0, .ssl = context)));
    return s;
}

static Transport *reach(Served *s, SSLContext *context, const char *name)
{
    Loop *loop = asyncio_get_running_loop();
    client_begin();
    Value pair = s->is_unix ? await(loop_create_unix_connection(loop, &client_proto, None, s->at.path, .ssl = V(context), .server_hostname = name))
                            : await(loop_create_connection(loop, &client_proto, None, "127.0.0.1", server_port(s->server), .ssl = V(context), .server_hostname = name));
    return as_transport(list_get(pair, 0));
}

static void end_served(Served *s)
{
    end_server(s->server);
    if (s->is_unix) socket_path_end(&s->at);
}

static void try_server(bool is_unix)
{
    Served s = serve_tls(is_unix);
    Transport *transport = reach(&s, simple_client_context(), "");
    transport_write(transport, "xxx", 3);
    await(my.connected);
    pass_until(my.bytes > 0);
    ck_assert_uint_eq(my.bytes, 3);
    if (!is_unix) check_extra_info(transport, tuple());
    transport_close(my.transport);
    await(my.done);
    await(client.lost);
    end_served(&s);
}

NET_TEST(EventLoopTestsMixin__test_create_server_ssl) { try_server(false); return None; }
NET_TEST(EventLoopTestsMixin__test_create_unix_server_ssl) { try_server(true); return None; }

#define refused(text, ...) ck_raises_text(SSLCertVerificationError, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " text, __VA_ARGS__)

static void try_unknown_authority(bool is_unix)
{
    Served s = serve_tls(is_unix);
    refused("unable to get local issuer certificate", reach(&s, ssl_SSLContext(PROTOCOL_TLS_CLIENT), is_unix ? "invalid" : NULL));
    ck_assert(!my.transport);
    end_served(&s);
}

NET_TEST(EventLoopTestsMixin__test_create_server_ssl_verify_failed) { try_unknown_authority(false); return None; }
NET_TEST(EventLoopTestsMixin__test_create_unix_server_ssl_verify_failed) { try_unknown_authority(true); return None; }

/* Whoever believes the authority, and nothing else yet. */
static SSLContext *believer(void)
{
    SSLContext *context = ssl_SSLContext(PROTOCOL_TLS_CLIENT);
    sslcontext_load_verify_locations(context, .cafile = certificate("ca"));
    return context;
}

NET_TEST(EventLoopTestsMixin__test_create_server_ssl_match_failed)
{
    Served s = serve_tls(false);
    refused("IP address mismatch, certificate is not valid for '127.0.0.2'.", reach(&s, believer(), "127.0.0.2"));
    ck_assert(!my.transport);
    end_served(&s);
    return None;
}

static void try_verified(bool is_unix)
{
    Served s = serve_tls(is_unix);
    Transport *transport = reach(&s, believer(), "localhost");
    await(my.connected);
    if (!is_unix) {
        Value certificate = transport_get_extra_info(transport, "peercert");
        ck_repr(list_get(certificate, 0), "('subject', ((('commonName', 'localhost'),),))");
        check_extra_info(transport, certificate);
    }
    transport_close(my.transport);
    transport_close(transport);
    await(my.done);
    await(client.lost);
    end_served(&s);
}

NET_TEST(EventLoopTestsMixin__test_create_unix_server_ssl_verified) { try_verified(true); return None; }
NET_TEST(EventLoopTestsMixin__test_create_server_ssl_verified) { try_verified(false); return None; }

/* ---- Sockets that somebody else has accepted -------------------------------------------------------------------- */

static Value ask_and_leave(Value port)
{
    int fd = connected_socket((int)as_int(port));
    SSL *ssl = tls_connect(fd);
    bool ok = ssl && tls_send(ssl, "test data") && tls_recv(ssl, 5, 0) == 5;
    if (ssl) end_clean(ssl);
    close(fd);
    return V((bool)ok);
}

static void answers(Value self, const char *data, size_t size)
{
    client_received(self, data, size);
    transport_write(client.transport, "roger", 5);
}

NET_TEST(EventLoopTestsMixin__test_ssl_connect_accepted_socket)
{
    static const Protocol answering = {.connection_made = client_made, .data_received = answers, .connection_lost = client_lost};
    Loop *loop = asyncio_get_running_loop();
    int listener = listening_socket(1);
    client_begin();
    Task *thread = asyncio_create_task(asyncio_to_thread(ask_and_leave, .arg = V(port_of_fd(listener))));
    int fd = (int)as_int(list_get(await(loop_sock_accept(loop, listener)), 0));
    await(loop_connect_accepted_socket(loop, &answering, None, fd, .ssl = V(simple_server_context())));
    await(client.lost);
    ck_assert(as_bool(await(thread)));
    ck_assert_uint_eq(client.bytes, 9);
    close(listener);
    return None;
}

NET_TEST(EventLoopTestsMixin__test_connect_accepted_socket_ssl_timeout_for_plain_socket)
{
    int fd = tcp_socket();
    ck_raises_text(ValueError, "ssl_handshake_timeout is only meaningful with ssl",
                   await(loop_connect_accepted_socket(asyncio_get_running_loop(), &client_proto, None, fd, .ssl_handshake_timeout = 1)));
    close(fd);
    return None;
}
