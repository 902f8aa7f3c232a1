/* CPython's test_ssl: connections over TLS, with blocking peers that know only OpenSSL. */
#include "cpython_tls.h"

enum { CLIENTS = 25, BLOCK = 256 * 1024 };

/* ---- Many clients of one server --------------------------------------------------------------------------------- */

static int handled;

async_def(handle_client, (StreamReader *) reader, (StreamWriter *) writer)
{
    ck_assert(only_letters(await(streamreader_readexactly(reader, BLOCK)), 'A', BLOCK));
    streamwriter_write(writer, "OK");
    ck_assert(only_letters(await(streamreader_readexactly(reader, BLOCK)), 'B', BLOCK));
    streamwriter_writelines(writer, list("SP", "A", bytes("M", 1)));
    await(streamwriter_drain(writer));
    streamwriter_close(writer);
    handled++;
    return None;
}

static bool send_block(SSL *ssl, char letter)
{
    char *block = malloc(BLOCK);
    memset(block, letter, BLOCK);
    bool ok = SSL_write(ssl, block, BLOCK) == BLOCK;
    free(block);
    return ok;
}

static bool receives(SSL *ssl, const char *text)
{
    char block[16];
    size_t got = 0, size = strlen(text);
    for (int n; got < size && (n = SSL_read(ssl, block + got, (int)(size - got))) > 0;) got += (size_t)n;
    return got == size && !memcmp(block, text, size);
}

static bool converse(SSL *ssl) { return ssl && send_block(ssl, 'A') && receives(ssl, "OK") && send_block(ssl, 'B') && receives(ssl, "SPAM"); }

static Value one_client(Value port)
{
    int fd = connected_socket((int)as_int(port));
    SSL *ssl = tls_connect(fd);
    bool ok = converse(ssl);
    SSL_free(ssl);
    close(fd);
    return V((bool)ok);
}

static void all_succeed(Value (*client_thread)(Value port), int port)
{
    Value clients = list();
    for (int i = 0; i < CLIENTS; i++) list_append(clients, asyncio_to_thread(client_thread, .arg = V(port)));
    for_in (ok, await(asyncio_gather_list(clients))) ck_assert(as_bool(ok));
}

NET_TEST(TestSSL__test_create_server_ssl_1)
{
    Server *server = as_server(await(asyncio_start_server(handle_client, "127.0.0.1", 0, .ssl = V(simple_server_context()), .ssl_handshake_timeout = 60)));
    all_succeed(one_client, server_port(server));
    end_server(server);
    ck_assert_int_eq(handled, CLIENTS);
    return None;
}

/* ---- Many connections to one peer ------------------------------------------------------------------------------- */

static void serve_conversation(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (ssl && tls_recv(ssl, BLOCK, 'A') == BLOCK && tls_send(ssl, "OK") && tls_recv(ssl, BLOCK, 'B') == BLOCK && tls_send(ssl, "SPAM")) served++;
    SSL_free(ssl);
}

async_def(converse_with, (Coroutine *) connecting)
{
    Value both = await(connecting);
    streamwriter_write(writer_of(both), letters('A', BLOCK));
    ck_assert(is_text(await(streamreader_readexactly(reader_of(both), 2)), "OK"));
    streamwriter_write(writer_of(both), letters('B', BLOCK));
    ck_assert(is_text(await(streamreader_readexactly(reader_of(both), 4)), "SPAM"));
    streamwriter_close(writer_of(both));
    try { await(streamwriter_wait_closed(writer_of(both))); } except (ConnectionError) { } end_try
    return None;
}

NET_TEST(TestSSL__test_create_connection_ssl_1)
{
    Peer peer;
    int port = peer_start(&peer, serve_conversation);
    Value context = V(simple_client_context()), all = list();
    client_begin();
    for (int i = 0; i < CLIENTS; i++)
        list_append(all, converse_with(i % 4 ? asyncio_open_connection("127.0.0.1", port, .ssl = context, .server_hostname = "", .ssl_handshake_timeout = 60)
                                             : asyncio_open_connection(NULL, None, .sock = connected_socket(port), .ssl = context, .server_hostname = "")));
    await(asyncio_gather_list(all));
    peer_stop(&peer);
    ck_assert_int_eq(served, CLIENTS);
    return None;
}

static void serve_and_shut_down(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    served += tls_recv(ssl, BLOCK, 'A') == BLOCK && tls_send(ssl, "OK") && tls_unwrap(ssl);
    SSL_free(ssl);
}

async_def(until_shut_down, (Coroutine *) connecting)
{
    Value both = await(connecting);
    streamwriter_write(writer_of(both), letters('A', BLOCK));
    ck_assert(is_text(await(streamreader_readexactly(reader_of(both), 2)), "OK"));
    ck_assert(is_text(await(streamreader_read(reader_of(both))), ""));
    end_writer(writer_of(both));
    return None;
}

NET_TEST(TestSSL__test_shutdown_cleanly)
{
    Peer peer;
    int port = peer_start(&peer, serve_and_shut_down);
    Value context = V(simple_client_context()), all = list();
    client_begin();
    for (int i = 0; i < CLIENTS; i++) list_append(all, until_shut_down(asyncio_open_connection("127.0.0.1", port, .ssl = context, .server_hostname = "")));
    await(asyncio_gather_list(all));
    peer_stop(&peer);
    ck_assert_int_eq(served, CLIENTS);
    return None;
}

/* ---- Handshakes ------------------------------------------------------------------------------------------------- */

NET_TEST(TestSSL__test_create_connection_ssl_slow_handshake) { try_slow_handshake(); return None; }
NET_TEST(TestSSL__test_create_connection_ssl_failed_certificate) { try_failed_certificate(); return None; }
NET_TEST(TestSSL__test_ssl_handshake_timeout) { try_handshake_timeout(); return None; }

static void serve_half_a_handshake(int fd)
{
    char block[1024];
    recv(fd, block, sizeof block, 0);
}

NET_TEST(TestSSL__test_ssl_handshake_connection_lost)
{
    Peer peer;
    client_begin();
    int port = peer_start(&peer, serve_half_a_handshake);
    ck_raises(ConnectionResetError, await(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port,
                                                                 .ssl = V(simple_client_context()), .server_hostname = "")));
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    ck_assert_int_eq(client.made, 0);
    ck_assert(!future_done(client.lost));
    peer_stop(&peer);
    return None;
}

NET_TEST(TestSSL__test_handshake_timeout_handler_leak)
{
    int listener = listening_socket(1);
    client_begin();
    size_t before = asyncio_live_objects();
    scope {
        ck_raises(TimeoutError, await(asyncio_wait_for(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1",
                                                                              port_of_fd(listener), .ssl = V(ssl_create_default_context())), 0.05)));
        for (int i = 0; i < 3; i++) await(asyncio_sleep(0));
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    close(listener);
    return None;
}

NET_TEST(TestSSL__test_connect_timeout_warning)
{
    int bound = bound_socket(SOCK_STREAM);
    try {
        await(asyncio_wait_for(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port_of_fd(bound), .ssl = True), 0.1));
        ck_abort_msg("connected to nobody");
    } except_any (e, ConnectionRefusedError, TimeoutError) {
        (void)e;
    } end_try
    close(bound);
    return None;
}

/* ---- Sockets that somebody else has accepted -------------------------------------------------------------------- */

static void answers(Value self, const char *data, size_t size)
{
    client_received(self, data, size);
    transport_write(client.transport, "roger", 5);
}

static const Protocol answering_proto = {.connection_made = client_made, .data_received = answers, .eof_received = client_eof, .connection_lost = client_lost};

static Value talk_plain(Value port)
{
    char block[16];
    int fd = connected_socket((int)as_int(port));
    bool ok = send_text(fd, "test data", 9) && recv(fd, block, 5, MSG_WAITALL) == 5 && !memcmp(block, "roger", 5);
    close(fd);
    return V((bool)ok);
}

static Value talk_tls(Value port)
{
    int fd = connected_socket((int)as_int(port));
    SSL *ssl = tls_connect(fd);
    bool ok = ssl && tls_send(ssl, "test data") && receives(ssl, "roger");
    end_clean(ssl);
    close(fd);
    return V((bool)ok);
}

static void try_accepted_socket(Value (*talk)(Value port), Value ssl)
{
    Loop *loop = asyncio_get_running_loop();
    int listener = listening_socket(1);
    client_begin();
    Task *thread = asyncio_create_task(asyncio_to_thread(talk, .arg = V(port_of_fd(listener))));
    int fd = (int)as_int(list_get(await(loop_sock_accept(loop, listener)), 0));
    Value pair = await(loop_connect_accepted_socket(loop, &answering_proto, None, fd, .ssl = ssl));
    await(client.lost);
    ck_assert(as_bool(await(thread)));
    ck_assert_uint_eq(client.bytes, 9);
    ck_assert_int_eq(strstr(value_type(list_get(pair, 0)), "SSL") != NULL, !is_none(ssl));
    close(listener);
}

NET_TEST(TestSSL__test_connect_accepted_socket) { try_accepted_socket(talk_plain, None); return None; }
NET_TEST(TestSSL__test_ssl_connect_accepted_socket) { try_accepted_socket(talk_tls, V(simple_server_context())); return None; }

/* ---- start_tls -------------------------------------------------------------------------------------------------- */

NET_TEST(TestSSL__test_start_tls_client_reg_proto_1) { try_start_tls_client(serve_start_tls_clean); return None; }
NET_TEST(TestSSL__test_create_connection_memory_leak) { try_memory_leak(serve_tls_clean); return None; }
NET_TEST(TestSSL__test_start_tls_client_buf_proto_1) { try_buffered_protocol(serve_twice_clean); return None; }
NET_TEST(TestSSL__test_start_tls_slow_client_cancel) { try_slow_client_cancel(); return None; }
NET_TEST(TestSSL__test_start_tls_client_corrupted_ssl) { try_corrupted(); return None; }

static Value client_with_goodbye(Value port)
{
    int fd = connected_socket((int)as_int(port));
    SSL *ssl = recv_plain(fd, PAYLOAD_SIZE) == PAYLOAD_SIZE ? tls_connect(fd) : NULL;
    bool ok = ssl && send_payload(ssl) && tls_unwrap(ssl);
    SSL_free(ssl);
    close(fd);
    return V((bool)ok);
}

NET_TEST(TestSSL__test_start_tls_server_1) { try_start_tls_server(false, client_with_goodbye); return None; }

/* TLS inside TLS: the outer one has begun when the server's protocol starts the inner one. */

typedef struct Layers { Future *ended; size_t bytes; Transport *transport; } Layers;

static void inner_received(Value self, const char *data, size_t size)
{
    Layers *layers = as_pointer(self);
    size_t before = layers->bytes;
    (void)data;
    layers->bytes += size;
    if (before < BLOCK && layers->bytes >= BLOCK) transport_write(layers->transport, "OK", 2);
    if (layers->bytes < 2 * BLOCK) return;
    transport_write(layers->transport, "SPAM", 4);
    transport_close(layers->transport);
}

static void inner_lost(Value self, Value e) { (void)e; handled++; free(as_pointer(self)); }
static const Protocol inner_proto = {.data_received = inner_received, .connection_lost = inner_lost};
static SSLContext *inner_context;

async_def(begin_inner, (Transport *) outer, (Value) self)
{
    Layers *layers = as_pointer(self);
    layers->transport = as_transport(await(loop_start_tls(asyncio_get_running_loop(), outer, &inner_proto, self, inner_context, .server_side = true)));
    return None;
}

static Value layers_make(Value arg) { (void)arg; return V((void *)calloc(1, sizeof(Layers))); }

static void outer_made(Value self, Transport *transport)
{
    transport_pause_reading(transport);
    loop_create_task(asyncio_get_running_loop(), begin_inner(transport, self));
}

static const Protocol outer_proto = {.make = layers_make, .connection_made = outer_made};

static Value layered_client(Value port)
{
    int fd = connected_socket((int)as_int(port));
    SSL *outer = tls_connect(fd), *inner;
    if (!outer) return False;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    BIO *through = BIO_new(BIO_f_ssl());
    BIO_set_ssl(through, outer, BIO_NOCLOSE);
    inner = SSL_new(context);
    SSL_set_bio(inner, through, through);
    bool ok = SSL_connect(inner) == 1 && converse(inner) && SSL_read(inner, &(char){0}, 1) == 0;
    SSL_free(inner);
    SSL_free(outer);
    SSL_CTX_free(context);
    close(fd);
    return V((bool)ok);
}

NET_TEST(TestSSL__test_create_server_ssl_over_ssl)
{
    inner_context = simple_server_context();
    Server *server = as_server(await(loop_create_server(asyncio_get_running_loop(), &outer_proto, None, "127.0.0.1", 0, .ssl = V(simple_server_context()))));
    all_succeed(layered_client, server_port(server));
    end_server(server);
    pass_until(handled == CLIENTS);
    return None;
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

enum { CHUNK = 128 * 1024, CHUNKS = 32 };

/* Answers a ping, and reads no more until it is told to: so the client is full. */
static SSL *serve_ping(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (ssl && receives(ssl, "ping") && tls_send(ssl, "pong")) return ssl;
    SSL_free(ssl);
    return NULL;
}

static void serve_late_reader(int fd)
{
    SSL *ssl = serve_ping(fd);
    if (!ssl) return;
    sem_wait(&go_on);
    served += tls_recv(ssl, CHUNK * CHUNKS, 'x') == CHUNK * CHUNKS;
    SSL_free(ssl);
}

static void serve_early_goodbye(int fd)
{
    SSL *ssl = serve_ping(fd);
    if (!ssl) return;
    sem_wait(&go_on);
    bool ok = SSL_shutdown(ssl) == 0; /* and does not wait for an answer */
    served += ok && tls_recv(ssl, SIZE_MAX, 'x') == CHUNK * CHUNKS && SSL_get_shutdown(ssl) == (SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
}

static void serve_early_end(int fd)
{
    SSL *ssl = serve_ping(fd);
    if (!ssl) return;
    sem_wait(&go_on);
    shutdown(fd, SHUT_WR);
    served += tls_recv(ssl, CHUNK * CHUNKS, 'x') == CHUNK * CHUNKS;
    SSL_free(ssl);
}

/* Written: far more than the sockets take. */
static Value ping_and_fill(Peer *peer, void (*serve)(int fd))
{
    client_begin();
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(peer, serve), .ssl = V(simple_client_context()), .server_hostname = ""));
    streamwriter_write(writer_of(both), "ping");
    ck_assert(is_text(await(streamreader_readexactly(reader_of(both), 4)), "pong"));
    for (int i = 0; i < CHUNKS; i++) scope { streamwriter_write(writer_of(both), letters('x', CHUNK)); }
    ck_assert_uint_gt(transport_get_write_buffer_size(streamwriter_transport(writer_of(both))), 0);
    return both;
}

NET_TEST(TestSSL__test_flush_before_shutdown)
{
    Peer peer;
    Value both = ping_and_fill(&peer, serve_late_reader);
    streamwriter_close(writer_of(both));
    sem_post(&go_on);
    try { await(streamwriter_wait_closed(writer_of(both))); } except (ConnectionError) { } end_try
    peer_stop(&peer);
    ck_assert_int_eq(served, 1);
    return None;
}

static void try_trailing_data(void (*serve)(int fd))
{
    Peer peer;
    Value both = ping_and_fill(&peer, serve);
    sem_post(&go_on);
    try { ck_assert(is_text(await(streamreader_read(reader_of(both))), "")); } except_any (e, BrokenPipeError, ConnectionResetError) { (void)e; } end_try
    streamwriter_close(writer_of(both));
    try { await(streamwriter_wait_closed(writer_of(both))); } except (ConnectionError) { } end_try
    peer_stop(&peer);
    ck_assert_int_eq(served, 1);
}

NET_TEST(TestSSL__test_remote_shutdown_receives_trailing_data)
{
    try_trailing_data(serve_early_goodbye);
    try_trailing_data(serve_early_end);
    return None;
}

static void serve_one_read(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    SSL_read(ssl, &(char){0}, 1);
    SSL_free(ssl);
}

NET_TEST(TestSSL__test_shutdown_timeout_handler_leak)
{
    Peer peer;
    int port = peer_start(&peer, serve_one_read);
    for (int i = 0; i < 2; i++) {
        size_t before = asyncio_live_objects();
        scope {
            client_begin();
            transport_close(connect_client_tls(port));
            await(client.lost);
            for (int passes = 0; passes < 3; passes++) await(asyncio_sleep(0));
        }
        if (i) ck_assert_uint_eq(asyncio_live_objects(), before);
    }
    peer_stop(&peer);
    return None;
}

static volatile int half_closed;
static char extra[16];

static void serve_half_closed(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    bool ok = tls_send(ssl, "hello") && receives(ssl, "world") && tls_send(ssl, "extra bytes");
    shutdown(fd, SHUT_WR);
    half_closed = 1;
    served += ok && SSL_read(ssl, &(char){0}, 1) == 0;
    SSL_free(ssl);
}

static void pauses_after_hello(Value self, const char *data, size_t size)
{
    (void)self;
    if (size == 5 && !memcmp(data, "hello", 5)) {
        transport_write(client.transport, "world", 5);
        transport_pause_reading(client.transport);
    } else snprintf(extra, sizeof extra, "%.*s", (int)size, data);
}

NET_TEST(TestSSL__test_shutdown_timeout_handler_not_set)
{
    static const Protocol pausing = {.connection_made = client_made, .data_received = pauses_after_hello, .connection_lost = client_lost};
    Peer peer;
    client_begin();
    Value pair = await(loop_create_connection(asyncio_get_running_loop(), &pausing, None, "127.0.0.1", peer_start(&peer, serve_half_closed),
                                              .ssl = V(simple_client_context())));
    pass_until(half_closed);
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    transport_resume_reading(as_transport(list_get(pair, 0)));
    ck_assert(is_none(await(client.lost)));
    peer_stop(&peer);
    ck_assert_str_eq(extra, "extra bytes");
    ck_assert_int_eq(served, 1);
    return None;
}
