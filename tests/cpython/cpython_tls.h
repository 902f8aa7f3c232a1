/* What the carried-over tests of TLS share: the peers and protocols of test_ssl and test_sslproto, which try much the same. */
#ifndef CPYTHON_TLS_H
#define CPYTHON_TLS_H

#include "../tls.h"
#include <semaphore.h>

enum { PAYLOAD_SIZE = 1024 * 100 };

/* How many clients a peer has served to its satisfaction. A test that needs it waits for the peer to end first. */
static int served;
static sem_t go_on; /* what a peer waits for */

/* ---- ClientProto: the one connection of a test ------------------------------------------------------------------ */

static struct { Transport *transport; Future *data, *hello, *eof, *lost; int made; size_t bytes; } client;

__attribute__((unused)) static void client_begin(void)
{
    Loop *loop = asyncio_get_running_loop();
    memset(&client, 0, sizeof client);
    client.data = loop_create_future(loop);
    client.hello = loop_create_future(loop);
    client.eof = loop_create_future(loop);
    client.lost = loop_create_future(loop);
    served = 0;
    sem_init(&go_on, 0, 0);
}

static void client_made(Value self, Transport *transport) { (void)self; client.transport = transport; client.made++; }

static void client_received(Value self, const char *data, size_t size)
{
    (void)self;
    client.bytes += size;
    if (!future_done(client.data)) future_set_result(client.data, bytes(data, size));
}

static bool client_eof(Value self) { (void)self; future_set_result(client.eof, True); return false; }
static void client_lost(Value self, Value e) { (void)self; future_set_result(client.lost, e); }

static const Protocol client_proto = {.connection_made = client_made, .data_received = client_received, .eof_received = client_eof, .connection_lost = client_lost};

__attribute__((unused)) static void write_hello(Transport *transport)
{
    scope {
        Value hello = letters('1', PAYLOAD_SIZE);
        transport_write(transport, as_bytes(hello, NULL), PAYLOAD_SIZE);
    }
}

static bool is_text(Value data, const char *text) { return (size_t)len(data) == strlen(text) && !memcmp(as_bytes(data, NULL), text, strlen(text)); }

__attribute__((unused)) static Transport *connect_client(int port)
{
    return as_transport(list_get(await(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port)), 0));
}

__attribute__((unused)) static Transport *connect_client_tls(int port)
{
    Value pair = await(loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port, .ssl = V(simple_client_context())));
    return as_transport(list_get(pair, 0));
}

/* ---- start_tls, as a client ------------------------------------------------------------------------------------- */

/* After `ahead` bytes in the clear TLS begins; then "O" goes out and the payload comes. */
static SSL *serve_payload(int fd, bool in_the_clear, bool twice)
{
    if (in_the_clear && recv_plain(fd, PAYLOAD_SIZE) != PAYLOAD_SIZE) return NULL;
    SSL *ssl = tls_accept(fd);
    if (!ssl) return NULL;
    bool ok = tls_send(ssl, "O") && tls_recv(ssl, PAYLOAD_SIZE, '1') == PAYLOAD_SIZE;
    if (ok && twice) ok = tls_send(ssl, "2") && tls_recv(ssl, PAYLOAD_SIZE, '1') == PAYLOAD_SIZE;
    served += ok;
    return ssl;
}

static void end_clean(SSL *ssl) { if (ssl) tls_unwrap(ssl); SSL_free(ssl); }
static void end_unclean(SSL *ssl) { if (ssl) shutdown(SSL_get_fd(ssl), SHUT_RDWR); SSL_free(ssl); }

__attribute__((unused)) static void serve_start_tls_clean(int fd) { end_clean(serve_payload(fd, true, false)); }
__attribute__((unused)) static void serve_start_tls_unclean(int fd) { end_unclean(serve_payload(fd, true, false)); }
__attribute__((unused)) static void serve_tls_clean(int fd) { end_clean(serve_payload(fd, false, false)); }
__attribute__((unused)) static void serve_tls_unclean(int fd) { end_unclean(serve_payload(fd, false, false)); }
__attribute__((unused)) static void serve_twice_clean(int fd) { end_clean(serve_payload(fd, true, true)); }
__attribute__((unused)) static void serve_twice_unclean(int fd) { end_unclean(serve_payload(fd, true, true)); }

__attribute__((unused)) static void try_start_tls_client(void (*serve)(int fd))
{
    Peer peer;
    client_begin();
    Transport *plain = connect_client(peer_start(&peer, serve));
    write_hello(plain);
    Transport *wrapped = as_transport(await(loop_start_tls(asyncio_get_running_loop(), plain, &client_proto, None, simple_client_context())));
    ck_assert(is_text(await(client.data), "O"));
    write_hello(wrapped);
    await(client.eof);
    transport_close(wrapped);
    await(client.lost);
    peer_stop(&peer);
    ck_assert_int_eq(client.made, 1);
    ck_assert_int_eq(served, 1);
}

/* What the connection held has gone with it. */
__attribute__((unused)) static void try_memory_leak(void (*serve)(int fd))
{
    Peer peer;
    int port = peer_start(&peer, serve);
    for (int i = 0; i < 3; i++) {
        size_t before = asyncio_live_objects();
        scope {
            client_begin();
            Transport *transport = connect_client_tls(port);
            ck_assert(is_text(await(client.data), "O"));
            write_hello(transport);
            await(client.eof);
            transport_close(transport);
            await(client.lost);
            for (int passes = 0; passes < 3; passes++) await(asyncio_sleep(0));
        }
        if (i) ck_assert_uint_eq(asyncio_live_objects(), before); /* the first time something may be made that stays */
    }
    peer_stop(&peer);
}

/* BufferedProtocol with room for one byte. */
static char one_byte;
static char *lend_one_byte(Value self, size_t hint, size_t *size) { (void)self; (void)hint; *size = 1; return &one_byte; }
static void got_one_byte(Value self, size_t size)
{
    (void)self;
    ck_assert_uint_eq(size, 1);
    future_set_result(client.data, bytes(&one_byte, 1));
}
static const Protocol first_proto = {.connection_made = client_made, .get_buffer = lend_one_byte, .buffer_updated = got_one_byte};

__attribute__((unused)) static void try_buffered_protocol(void (*serve)(int fd))
{
    Peer peer;
    Loop *loop = asyncio_get_running_loop();
    client_begin();
    Value pair = await(loop_create_connection(loop, &first_proto, None, "127.0.0.1", peer_start(&peer, serve)));
    Transport *plain = as_transport(list_get(pair, 0));
    write_hello(plain);
    Transport *wrapped = as_transport(await(loop_start_tls(loop, plain, &first_proto, None, simple_client_context())));
    ck_assert(is_text(await(client.data), "O"));
    write_hello(wrapped);
    client.data = loop_create_future(loop);
    transport_set_protocol(wrapped, &client_proto, None);
    ck_assert(is_text(await(client.data), "2"));
    write_hello(wrapped);
    await(client.eof);
    transport_close(wrapped);
    await(client.lost);
    peer_stop(&peer);
    ck_assert_int_eq(client.made, 1); /* start_tls() does not call it again */
    ck_assert_int_eq(served, 1);
}

/* Reads the payload, and then whatever comes, to the end. */
static void serve_silence(int fd)
{
    if (recv_plain(fd, PAYLOAD_SIZE) != PAYLOAD_SIZE) return;
    sem_post(&go_on);
    recv_plain(fd, SIZE_MAX);
    served++;
}

__attribute__((unused)) static void try_slow_client_cancel(void)
{
    Peer peer;
    client_begin();
    Transport *plain = connect_client(peer_start(&peer, serve_silence));
    write_hello(plain);
    pass_until(sem_trywait(&go_on) == 0);
    ck_raises(TimeoutError, await(asyncio_wait_for(loop_start_tls(asyncio_get_running_loop(), plain, &client_proto, None, simple_client_context()), 0.05)));
    await(client.lost);
    peer_stop(&peer);
    ck_assert_int_eq(served, 1);
}

/* ---- Handshakes that come to nothing ---------------------------------------------------------------------------- */

static void serve_nothing(int fd)
{
    recv_plain(fd, SIZE_MAX);
    served++;
}

__attribute__((unused)) static void try_slow_handshake(void)
{
    Peer peer;
    Value e = None;
    client_begin();
    int port = peer_start(&peer, serve_nothing);
    try {
        await(asyncio_open_connection("127.0.0.1", port, .ssl = V(simple_client_context()), .server_hostname = "", .ssl_handshake_timeout = 0.05));
    } except (ConnectionAbortedError, late) {
        e = late;
    } end_try
    ck_assert(isinstance(e, ConnectionAbortedError));
    ck_contains(as_str(str(e)), "SSL handshake is taking longer");
    peer_stop(&peer);
    ck_assert_int_eq(served, 1);
}

/* Whoever gives up earlier ends the connection, and nothing is reported. */
__attribute__((unused)) static void try_handshake_timeout(void)
{
    Peer peer;
    client_begin();
    int port = peer_start(&peer, serve_nothing);
    size_t before = asyncio_live_objects();
    scope {
        Coroutine *connecting = loop_create_connection(asyncio_get_running_loop(), &client_proto, None, "127.0.0.1", port, .ssl = V(simple_client_context()),
                                                       .server_hostname = "", .ssl_handshake_timeout = 10);
        ck_raises(TimeoutError, await(asyncio_wait_for(connecting, 0.05)));
        for (int passes = 0; passes < 3; passes++) await(asyncio_sleep(0));
    }
    peer_stop(&peer);
    ck_assert_int_eq(served, 1);
    ck_assert_int_eq(client.made, 0);
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

static void serve_refused(int fd) { SSL_free(tls_accept(fd)); }

__attribute__((unused)) static void try_failed_certificate(void)
{
    Peer peer;
    SSLContext *strict = ssl_create_default_context();
    sslcontext_set_check_hostname(strict, false);
    int port = peer_start(&peer, serve_refused);
    ck_raises(SSLCertVerificationError, await(asyncio_open_connection("127.0.0.1", port, .ssl = V(strict), .server_hostname = "")));
    peer_stop(&peer);
}

/* ---- A connection that is spoilt -------------------------------------------------------------------------------- */

static void serve_corrupt(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (ssl && tls_send(ssl, "A\n") && tls_recv(ssl, 1, 'B') == 1) served += send_text(fd, "please corrupt the SSL connection", 33);
    SSL_free(ssl);
}

__attribute__((unused)) static void try_corrupted(void)
{
    Peer peer;
    client_begin();
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&peer, serve_corrupt), .ssl = V(simple_client_context()), .server_hostname = ""));
    ck_assert(is_text(await(streamreader_readline(reader_of(both))), "A\n"));
    streamwriter_write(writer_of(both), "B");
    ck_raises(SSLError, await(streamreader_readline(reader_of(both))));
    streamwriter_close(writer_of(both));
    ck_raises(SSLError, await(streamwriter_wait_closed(writer_of(both))));
    peer_stop(&peer);
    ck_assert_int_eq(served, 1);
}

/* ---- start_tls, as a server ------------------------------------------------------------------------------------- */

__attribute__((unused)) static bool send_payload(SSL *ssl)
{
    static char payload[PAYLOAD_SIZE];
    memset(payload, '1', sizeof payload);
    return SSL_write(ssl, payload, sizeof payload) == sizeof payload;
}

static void server_made(Value self, Transport *transport)
{
    client_made(self, transport);
    future_set_result(client.data, V(transport));
}

static void server_received(Value self, const char *data, size_t size)
{
    (void)self; (void)data;
    client.bytes += size;
    if (client.bytes == PAYLOAD_SIZE) future_set_result(client.hello, None);
}

/* with_answer: the server answers, and its client leaves without a goodbye. */
__attribute__((unused)) static void try_start_tls_server(bool with_answer, Value (*client_thread)(Value port))
{
    static const Protocol proto = {.connection_made = server_made, .data_received = server_received, .eof_received = client_eof, .connection_lost = client_lost};
    Loop *loop = asyncio_get_running_loop();
    client_begin();
    Server *server = as_server(await(loop_create_server(loop, &proto, None, "127.0.0.1", 0)));
    Task *thread = asyncio_create_task(asyncio_to_thread(client_thread, .arg = V(server_port(server))));
    Transport *plain = as_transport(await(client.data));
    write_hello(plain);
    ck_assert_uint_eq(client.bytes, 0);
    client.transport = as_transport(await(loop_start_tls(loop, plain, &proto, None, simple_server_context(), .server_side = true)));
    await(client.hello);
    if (with_answer) transport_write(client.transport, "answer", 6);
    ck_assert(is_none(await(client.lost)));
    ck_assert_uint_eq(client.bytes, PAYLOAD_SIZE);
    ck_assert_int_eq(client.made, 1);
    transport_close(client.transport);
    ck_assert(as_bool(await(thread)));
    end_server(server);
}

#endif
