/* TLS: what is verified, what is refused, and that nothing is lost or left behind. */
#include "tls.h"
#include <malloc.h>

static bool said(Value text, const char *what) { return len(text) == (int)strlen(what) && !memcmp(as_bytes(text, NULL), what, strlen(what)); }

async_def(echo, (StreamReader *) reader, (StreamWriter *) writer)
{
    try {
        forever {
            Value data = await(streamreader_read(reader, 65536));
            if (!len(data)) break;
            streamwriter_write(writer, data);
            await(streamwriter_drain(writer));
        }
    } except (OSError) {
        note("broken");
    } end_try
    streamwriter_close(writer);
    return None;
}

static Server *echo_server(SSLContext *context) { return as_server(await(asyncio_start_server(echo, "127.0.0.1", 0, .ssl = V(context)))); }

static Value connect_to(Server *server, SSLContext *context, const char *name)
{
    return await(asyncio_open_connection("127.0.0.1", server_port(server), .ssl = V(context), .server_hostname = name));
}

static void echoes(Value both)
{
    streamwriter_write(writer_of(both), "hello\n");
    ck_assert(said(await(streamreader_readline(reader_of(both))), "hello\n"));
}

static void connects(Server *server, SSLContext *context, const char *name)
{
    Value both = connect_to(server, context, name);
    echoes(both);
    end_writer(writer_of(both));
}

/* ---- Who is believed -------------------------------------------------------------------------------------------- */

NET_TEST(a_certificate_of_a_known_authority_is_accepted)
{
    Server *server = echo_server(server_context("localhost"));
    connects(server, client_context(), "localhost");
    connects(server, client_context(), "127.0.0.1");
    connects(server, client_context(), NULL);
    end_server(server);
    return None;
}

#define refused(problem, ...) \
    ck_raises_text(SSLCertVerificationError, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " problem, __VA_ARGS__)

NET_TEST(an_unknown_authority_is_refused)
{
    Server *server = echo_server(server_context("localhost"));
    int port = server_port(server);
    refused("unable to get local issuer certificate", await(asyncio_open_connection("localhost", port, .ssl = True)));
    refused("unable to get local issuer certificate", connects(server, ssl_create_default_context(), "localhost"));
    refused("unable to get local issuer certificate", connects(server, ssl_SSLContext(PROTOCOL_TLS_CLIENT), "localhost"));
    end_server(server);
    return None;
}

NET_TEST(ssl_true_believes_whom_the_system_believes)
{
    Server *server = echo_server(server_context("localhost"));
    setenv("SSL_CERT_FILE", certificate("ca"), 1);
    Value both = await(asyncio_open_connection("localhost", server_port(server), .ssl = True));
    echoes(both);
    end_writer(writer_of(both));
    end_server(server);
    return None;
}

NET_TEST(another_host_is_refused)
{
    Server *server = echo_server(server_context("other"));
    refused("Hostname mismatch, certificate is not valid for 'localhost'.", connects(server, client_context(), "localhost"));
    refused("IP address mismatch, certificate is not valid for '127.0.0.1'.", connects(server, client_context(), NULL));
    connects(server, client_context(), "elsewhere.example");
    connects(server, client_context(), "");
    end_server(server);
    return None;
}

NET_TEST(an_expired_certificate_is_refused)
{
    Server *server = echo_server(server_context("expired"));
    Value e = None;
    refused("certificate has expired", connects(server, client_context(), "localhost"));
    try { connects(server, client_context(), "localhost"); } except (SSLError, refusal) { e = refusal; } end_try
    ck_repr(exception_details(e), "('SSL', 'CERTIFICATE_VERIFY_FAILED', 10, 'certificate has expired')");
    ck_assert(isinstance(e, OSError) && exception_type(e) == CertificateError);
    end_server(server);
    return None;
}

NET_TEST(a_client_may_have_to_show_a_certificate)
{
    SSLContext *asking = server_context("localhost"), *showing = client_context();
    sslcontext_load_verify_locations(asking, .cafile = certificate("ca"));
    sslcontext_set_verify_mode(asking, CERT_REQUIRED);
    Server *server = echo_server(asking);
    Value both = connect_to(server, client_context(), "localhost");
    ck_raises_text(SSLError, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", await(streamreader_read(reader_of(both))));
    sslcontext_load_cert_chain(showing, certificate("client"));
    connects(server, showing, "localhost");
    end_server(server);
    return None;
}

/* ---- Contexts --------------------------------------------------------------------------------------------------- */

NET_TEST(what_a_context_refuses)
{
    SSLContext *client = ssl_create_default_context(), *server = ssl_create_default_context(.purpose = CLIENT_AUTH);
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: '/nowhere'", sslcontext_load_verify_locations(client, .cafile = "/nowhere"));
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: '/nowhere'", sslcontext_load_cert_chain(server, "/nowhere"));
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: '/nowhere'",
                   sslcontext_load_cert_chain(server, certificate("cert"), .keyfile = "/nowhere"));
    ck_raises_text(TypeError, "cafile, capath and cadata cannot be all omitted", sslcontext_load_verify_locations(client));
    ck_raises_text(SSLError, "[SSL] PEM lib", sslcontext_load_cert_chain(server, "/etc/passwd"));
    ck_raises_text(SSLError, "[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found", sslcontext_load_verify_locations(client, .cafile = "/etc/passwd"));
    ck_raises_text(SSLError, "[X509: KEY_VALUES_MISMATCH] key values mismatch",
                   sslcontext_load_cert_chain(server, certificate("cert"), .keyfile = certificate("other")));
    ck_raises_text(SSLError, "no start line: cadata does not contain a certificate", sslcontext_load_verify_locations(client, .cadata = V("x")));
    try { sslcontext_load_verify_locations(client, .cadata = V("x")); } except (SSLError, e) { ck_repr(exception_details(e), "(None, None)"); } end_try
    ck_raises_text(SSLError, "not enough data: cadata does not contain a certificate", sslcontext_load_verify_locations(client, .cadata = bytes("x", 1)));
    ck_raises_text(ValueError, "Cannot set verify_mode to CERT_NONE when check_hostname is enabled.", sslcontext_set_verify_mode(client, CERT_NONE));
    ck_raises_text(ValueError, "invalid value for verify_mode: 7", sslcontext_set_verify_mode(client, 7));
    ck_raises_text(SSLError, "ALPN protocols must be 1 to 255 in length", sslcontext_set_alpn_protocols(client, list("h2", "")));
    ck_raises(ValueError, sslcontext_set_minimum_version(client, 0x300));
    ck_raises(ValueError, ssl_SSLContext(2));
    return None;
}

NET_TEST(what_a_context_is_at_first)
{
    SSLContext *client = ssl_SSLContext(PROTOCOL_TLS_CLIENT), *server = ssl_SSLContext(PROTOCOL_TLS_SERVER);
    ck_assert(sslcontext_check_hostname(client) && sslcontext_verify_mode(client) == CERT_REQUIRED);
    ck_assert(!sslcontext_check_hostname(server) && sslcontext_verify_mode(server) == CERT_NONE);
    ck_assert_int_eq(sslcontext_minimum_version(client), TLSv1_2);
    ck_assert_int_eq(sslcontext_maximum_version(client), 0);
    sslcontext_set_check_hostname(server, true);
    ck_assert_int_eq(sslcontext_verify_mode(server), CERT_REQUIRED);
    sslcontext_set_check_hostname(client, false);
    sslcontext_set_verify_mode(client, CERT_OPTIONAL);
    ck_assert_int_eq(sslcontext_verify_mode(client), CERT_OPTIONAL);
    return None;
}

NET_TEST(a_key_with_a_password)
{
    SSLContext *context = ssl_SSLContext(PROTOCOL_TLS_SERVER);
    ck_raises(SSLError, sslcontext_load_cert_chain(context, certificate("cert"), .keyfile = certificate("locked")));
    ck_raises(SSLError, sslcontext_load_cert_chain(context, certificate("cert"), .keyfile = certificate("locked"), .password = "wrong"));
    sslcontext_load_cert_chain(context, certificate("cert"), .keyfile = certificate("locked"), .password = "secret");
    Server *server = echo_server(context);
    connects(server, client_context(), "localhost");
    end_server(server);
    return None;
}

static Value contents(const char *path)
{
    char block[8192];
    FILE *file = fopen(path, "r");
    size_t size = fread(block, 1, sizeof block - 1, file);
    block[size] = 0;
    fclose(file);
    return V((const char *)block);
}

NET_TEST(an_authority_in_memory)
{
    Server *server = echo_server(server_context("localhost"));
    Value pem = contents(certificate("ca"));
    connects(server, ssl_create_default_context(.cadata = pem), "localhost");

    SSLContext *no_checks = simple_client_context();
    Value both = connect_to(server, no_checks, "localhost");
    SSLObject *o = as_sslobject(streamwriter_get_extra_info(writer_of(both), "ssl_object"));
    Value der = sslobject_getpeercert(o, .binary_form = true);
    ck_repr(sslobject_getpeercert(o), "()");
    end_writer(writer_of(both));
    connects(server, ssl_create_default_context(.cadata = der), "localhost"); /* it may vouch for itself: a chain of one */
    end_server(server);
    return None;
}

/* ---- What is agreed on ------------------------------------------------------------------------------------------ */

NET_TEST(versions)
{
    SSLContext *old = client_context(), *server = server_context("localhost");
    sslcontext_set_maximum_version(old, TLSv1_2);
    Server *any = echo_server(server);
    Value both = connect_to(any, old, "localhost");
    ck_repr(sslobject_version(as_sslobject(streamwriter_get_extra_info(writer_of(both), "ssl_object"))), "'TLSv1.2'");
    echoes(both);
    end_writer(writer_of(both));
    end_server(any);

    SSLContext *newest = server_context("localhost");
    sslcontext_set_minimum_version(newest, TLSv1_3);
    Server *strict = echo_server(newest);
    ck_raises_text(SSLError, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version", connects(strict, old, "localhost"));
    connects(strict, client_context(), "localhost");
    end_server(strict);
    return None;
}

NET_TEST(alpn)
{
    SSLContext *server_side = server_context("localhost"), *client_side = client_context(), *silent = client_context();
    sslcontext_set_alpn_protocols(server_side, list("http/1.1", "h2"));
    sslcontext_set_alpn_protocols(client_side, list("h3", "h2", "http/1.1"));
    Server *server = echo_server(server_side);
    Value both = connect_to(server, client_side, "localhost"), plain = connect_to(server, silent, "localhost");
    ck_repr(sslobject_selected_alpn_protocol(as_sslobject(streamwriter_get_extra_info(writer_of(both), "ssl_object"))), "'http/1.1'");
    ck_repr(sslobject_selected_alpn_protocol(as_sslobject(streamwriter_get_extra_info(writer_of(plain), "ssl_object"))), "None");
    end_writer(writer_of(both));
    end_writer(writer_of(plain));
    sslcontext_set_alpn_protocols(client_side, list("spdy/1"));
    connects(server, client_side, "localhost");
    end_server(server);
    return None;
}

static Value item(Value pairs, const char *key)
{
    for_in (pair, pairs) if (value_equal(list_get(pair, 0), V(key))) return list_get(pair, 1);
    return None;
}

NET_TEST(what_is_known_of_a_connection)
{
    SSLContext *context = client_context();
    Server *server = echo_server(server_context("localhost"));
    StreamWriter *writer = writer_of(connect_to(server, context, "localhost"));
    SSLObject *o = as_sslobject(streamwriter_get_extra_info(writer, "ssl_object"));
    Value certificate = streamwriter_get_extra_info(writer, "peercert");
    ck_repr(item(certificate, "subject"), "((('commonName', 'localhost'),),)");
    ck_repr(item(certificate, "issuer"), "((('commonName', 'asyncio test authority'),),)");
    ck_repr(item(certificate, "subjectAltName"),
            "(('DNS', 'localhost'), ('IP Address', '127.0.0.1'), ('IP Address', '0:0:0:0:0:0:0:1'))");
    ck_repr(item(certificate, "version"), "3");
    ck_repr(item(certificate, "serialNumber"), "'01'");
    ck_assert(strstr(as_str(item(certificate, "notAfter")), " GMT"));
    ck_assert(value_equal(sslobject_cipher(o), streamwriter_get_extra_info(writer, "cipher")));
    ck_repr(list_get(sslobject_cipher(o), 1), "'TLSv1.3'");
    ck_repr(streamwriter_get_extra_info(writer, "compression"), "None");
    ck_assert_str_eq(sslobject_server_hostname(o), "localhost");
    ck_same(sslobject_context(o), context);
    ck_same(as_sslcontext(streamwriter_get_extra_info(writer, "sslcontext")), context);
    ck_assert(!is_none(streamwriter_get_extra_info(writer, "peername")));
    ck_repr(streamwriter_get_extra_info(writer, "nothing", .otherwise = V(1)), "1");
    ck_assert(strstr(as_str(repr(streamwriter_transport(writer))), "<SSLTransport over <Transport fd="));
    ck_assert(!streamwriter_can_write_eof(writer));
    ck_raises(NotImplementedError, streamwriter_write_eof(writer));
    end_writer(writer);
    end_server(server);
    return None;
}

/* ---- Arguments that make no sense ------------------------------------------------------------------------------- */

NET_TEST(arguments_that_make_no_sense)
{
    Loop *loop = asyncio_get_running_loop();
    SSLContext *client = client_context(), *server = server_context("localhost");
    static const Protocol nothing;
#define wrong(E, text, ...) ck_raises_text(E, text, await(__VA_ARGS__))
    wrong(ValueError, "server_hostname is only meaningful with ssl", asyncio_open_connection("localhost", 1, .server_hostname = "x"));
    wrong(ValueError, "ssl_handshake_timeout is only meaningful with ssl", asyncio_open_connection("localhost", 1, .ssl_handshake_timeout = 1));
    wrong(ValueError, "ssl_shutdown_timeout is only meaningful with ssl", asyncio_open_connection("localhost", 1, .ssl_shutdown_timeout = 1));
    wrong(ValueError, "You must set server_hostname when using ssl without a host", asyncio_open_connection(NULL, 1, .ssl = True));
    wrong(ValueError, "ssl_handshake_timeout should be a positive number, got 0", asyncio_open_connection("localhost", 1, .ssl = True, .ssl_handshake_timeout = 0));
    wrong(ValueError, "ssl_shutdown_timeout should be a positive number, got -10", asyncio_open_connection("localhost", 1, .ssl = True, .ssl_shutdown_timeout = -10));
    wrong(TypeError, "expected an SSLContext, got int", asyncio_open_connection("localhost", 1, .ssl = V(5)));
    wrong(ValueError, "you have to pass server_hostname when using ssl", asyncio_open_unix_connection("/nowhere", .ssl = True));
    wrong(ValueError, "server_hostname is only meaningful with ssl", asyncio_open_unix_connection("/nowhere", .server_hostname = "x"));
    wrong(TypeError, "ssl argument must be an SSLContext or None", asyncio_start_server(echo, "127.0.0.1", 0, .ssl = True));
    wrong(TypeError, "ssl argument must be an SSLContext or None", asyncio_start_unix_server(echo, "/nowhere", .ssl = False));
    wrong(ValueError, "ssl_handshake_timeout is only meaningful with ssl", asyncio_start_server(echo, "127.0.0.1", 0, .ssl_handshake_timeout = 1));
    wrong(ValueError, "ssl_handshake_timeout is only meaningful with ssl", loop_connect_accepted_socket(loop, &nothing, None, -1, .ssl_handshake_timeout = 1));
    wrong(ValueError, "Server side SSL needs a valid SSLContext", loop_connect_accepted_socket(loop, &nothing, None, -1, .ssl = True));

    Server *listening = echo_server(server);
    int port = server_port(listening);
    wrong(SSLError, "Cannot create a client socket with a PROTOCOL_TLS_SERVER context", asyncio_open_connection("127.0.0.1", port, .ssl = V(server)));
    wrong(ValueError, "server_hostname cannot start with a dot: '.x'", asyncio_open_connection("127.0.0.1", port, .ssl = V(client), .server_hostname = ".x"));
    end_server(listening);
    return None;
}

/* ---- Peers that do not behave ----------------------------------------------------------------------------------- */

NET_TEST(a_peer_that_never_answers)
{
    int listener = listening_socket(1);
    ck_raises_text(ConnectionAbortedError, "SSL handshake is taking longer than 0.05 seconds: aborting the connection",
                   await(asyncio_open_connection("127.0.0.1", port_of_fd(listener), .ssl = True, .ssl_handshake_timeout = 0.05)));
    close(listener);
    return None;
}

/* What comes from a descriptor until its end; -1: it was reset. */
static long drained(int fd)
{
    char block[256];
    long size = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    forever {
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n == 0) break;
        if (n < 0 && errno != EAGAIN) return -1;
        if (n > 0) size += n;
        await(asyncio_sleep(0));
    }
    return size;
}

NET_TEST(a_client_that_never_speaks_does_not_stay)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0, .ssl = V(server_context("localhost")), .ssl_handshake_timeout = 0.05)));
    int silent = connected_socket(server_port(server));
    ck_assert_int_eq(drained(silent), 0);
    close(silent);
    end_server(server);
    return None;
}

NET_TEST(a_client_that_speaks_something_else)
{
    Server *server = echo_server(server_context("localhost"));
    int plain = connected_socket(server_port(server));
    ck_assert(send_text(plain, "GET / HTTP/1.0\r\n\r\n", 18));
    drained(plain);
    close(plain);
    connects(server, client_context(), "localhost");
    end_server(server);
    return None;
}

NET_TEST(a_server_that_speaks_something_else)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    ck_raises(SSLError, connects(server, client_context(), "localhost"));
    end_server(server);
    return None;
}

NET_TEST(in_debug_mode_a_failed_handshake_is_told)
{
    loop_set_debug(asyncio_get_running_loop(), true);
    Server *server = echo_server(server_context("localhost"));
    int gone = connected_socket(server_port(server));
    close(gone);
    pass_until(reported.count);
    ck_assert_str_eq(reported.message, "Error on transport creation for incoming connection");
    ck_assert(isinstance(report_exception(), ConnectionResetError));
    reports_taken(1);
    end_server(server);
    return None;
}

/* The peer ends the connection without a word. */
static void serve_and_leave(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    tls_send(ssl, "hello\n");
    SSL_free(ssl);
}

NET_TEST(an_end_without_goodbye_is_an_end)
{
    Peer peer;
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&peer, serve_and_leave), .ssl = V(client_context()), .server_hostname = "localhost"));
    ck_assert(said(await(streamreader_read(reader_of(both))), "hello\n"));
    end_writer(writer_of(both));
    peer_stop(&peer);
    return None;
}

/* The peer hears our goodbye and says nothing. */
static void serve_and_ignore(int fd)
{
    char block[64];
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    while (recv(fd, block, sizeof block, 0) > 0) {}
    SSL_free(ssl);
}

NET_TEST(a_peer_that_never_says_goodbye)
{
    Peer peer;
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&peer, serve_and_ignore), .ssl = V(client_context()), .server_hostname = "localhost",
                                               .ssl_shutdown_timeout = 0.05));
    streamwriter_close(writer_of(both));
    ck_raises_text(TimeoutError, "SSL shutdown timed out", await(streamwriter_wait_closed(writer_of(both))));
    peer_stop(&peer);
    return None;
}

NET_TEST(the_default_timeouts)
{
    static const Protocol nothing;
    Loop *loop = asyncio_get_running_loop();
    loop_set_virtual_clock(loop, true);
    int listener = listening_socket(1);
    double began = loop_time(loop);
    ck_raises(ConnectionAbortedError, await(loop_create_connection(loop, &nothing, None, NULL, None, .sock = connected_socket(port_of_fd(listener)),
                                                                   .ssl = V(client_context()), .server_hostname = "x")));
    ck_elapsed(loop, began, 60);
    close(listener);
    return None;
}

/* ---- Nothing is lost -------------------------------------------------------------------------------------------- */

async_def(send_letters, (StreamWriter *) writer, (int) pieces)
{
    for (int i = 0; i < pieces; i++) scope {
        streamwriter_write(writer, letters((char)('a' + i % 26), 100000));
        await(streamwriter_drain(writer));
    }
    return None;
}

async_def(receive_letters, (StreamReader *) reader, (int) pieces)
{
    for (int i = 0; i < pieces; i++) scope {
        ck_assert(only_letters(await(streamreader_readexactly(reader, 100000)), (char)('a' + i % 26), 100000));
    }
    return None;
}

NET_TEST(much_in_both_directions_at_once)
{
    Server *server = echo_server(server_context("localhost"));
    Value both = connect_to(server, client_context(), "localhost");
    await(asyncio_gather(send_letters(writer_of(both), 60), receive_letters(reader_of(both), 60)));
    end_writer(writer_of(both));
    end_server(server);
    return None;
}

NET_TEST(what_was_written_arrives_though_the_writer_closes)
{
    Server *server = echo_server(server_context("localhost"));
    Value both = connect_to(server, client_context(), "localhost");
    for (int i = 0; i < 20; i++) streamwriter_write(writer_of(both), letters('x', 100000));
    Task *receiving = asyncio_create_task(streamreader_readexactly(reader_of(both), 1));
    await(receiving);
    end_writer(writer_of(both));
    end_server(server);
    return None;
}

static void serve_counting(int fd)
{
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    size_t got = tls_recv(ssl, 5000000, 'x');
    if (got == 5000000) tls_send(ssl, "all\n");
    tls_unwrap(ssl);
    SSL_free(ssl);
}

NET_TEST(a_slow_reader_slows_the_writer)
{
    Peer peer;
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&peer, serve_counting), .ssl = V(client_context()), .server_hostname = "localhost"));
    Transport *transport = streamwriter_transport(writer_of(both));
    ck_repr(transport_get_write_buffer_limits(transport), "(131072, 524288)");
    transport_set_write_buffer_limits(transport, .high = 10000);
    ck_repr(transport_get_write_buffer_limits(transport), "(2500, 10000)");
    for (int i = 0; i < 50; i++) scope {
        streamwriter_write(writer_of(both), letters('x', 100000));
        await(streamwriter_drain(writer_of(both)));
        ck_assert_uint_lt(transport_get_write_buffer_size(transport), 10000);
    }
    ck_assert(said(await(streamreader_readline(reader_of(both))), "all\n"));
    end_writer(writer_of(both));
    peer_stop(&peer);
    return None;
}

/* The peer goes on sending after our goodbye: nobody hears it, and what we sent still arrives. */
static int heard_everything;

static void serve_chattering(int fd)
{
    static char block[20000];
    SSL *ssl = tls_accept(fd);
    if (!ssl) return;
    for (int i = 0; i < 20; i++) SSL_write(ssl, block, sizeof block);
    heard_everything = tls_recv(ssl, 3000000, 'y') == 3000000 && SSL_read(ssl, block, 1) == 0;
    tls_unwrap(ssl);
    SSL_free(ssl);
}

NET_TEST(a_peer_that_talks_on_takes_nothing_away)
{
    Peer peer;
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&peer, serve_chattering), .ssl = V(client_context()), .server_hostname = "localhost"));
    for (int i = 0; i < 30; i++) streamwriter_write(writer_of(both), letters('y', 100000));
    end_writer(writer_of(both));
    peer_stop(&peer);
    ck_assert(heard_everything);
    return None;
}

/* ---- TLS in the middle ------------------------------------------------------------------------------------------ */

async_def(serve_start_tls, (StreamReader *) reader, (StreamWriter *) writer)
{
    ck_assert(said(await(streamreader_readline(reader)), "STARTTLS\n"));
    streamwriter_write(writer, "go ahead\n");
    try {
        await(streamwriter_start_tls(writer, server_context("localhost")));
        ck_assert(said(await(streamreader_readline(reader)), "secret\n"));
        streamwriter_write(writer, "heard\n");
    } except (SSLError, e) {
        note(str(e));
    } end_try
    streamwriter_close(writer);
    return None;
}

NET_TEST(a_stream_goes_on_with_tls)
{
    Server *server = as_server(await(asyncio_start_server(serve_start_tls, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    streamwriter_write(writer_of(both), "STARTTLS\n");
    ck_assert(said(await(streamreader_readline(reader_of(both))), "go ahead\n"));
    ck_assert(is_none(streamwriter_get_extra_info(writer_of(both), "sslcontext")));
    await(streamwriter_start_tls(writer_of(both), client_context(), .server_hostname = "localhost"));
    ck_assert(!is_none(streamwriter_get_extra_info(writer_of(both), "sslcontext")));
    streamwriter_write(writer_of(both), "secret\n");
    ck_assert(said(await(streamreader_readline(reader_of(both))), "heard\n"));
    ck_assert(said(await(streamreader_read(reader_of(both))), ""));
    end_writer(writer_of(both));
    end_server(server);
    return None;
}

NET_TEST(start_tls_verifies_too)
{
    Server *server = as_server(await(asyncio_start_server(serve_start_tls, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    streamwriter_write(writer_of(both), "STARTTLS\n");
    await(streamreader_readline(reader_of(both)));
    refused("Hostname mismatch, certificate is not valid for 'somebody'.",
            await(streamwriter_start_tls(writer_of(both), client_context(), .server_hostname = "somebody")));
    ck_raises(SSLCertVerificationError, await(streamwriter_wait_closed(writer_of(both))));
    end_server(server);
    ck_notes("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate");
    return None;
}

/* Somebody on the way puts a line of his own behind "STARTTLS": it must not count as one that came over TLS. */
NET_TEST(what_was_smuggled_in_before_tls_does_not_count)
{
    Server *server = as_server(await(asyncio_start_server(serve_start_tls, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    streamwriter_write(writer_of(both), "STARTTLS\nsecret\n");
    await(streamreader_readline(reader_of(both)));
    ck_raises(OSError, await(streamwriter_start_tls(writer_of(both), client_context(), .server_hostname = "localhost")));
    end_server(server);
    ck_notes("[SSL: WRONG_VERSION_NUMBER] wrong version number");
    return None;
}

/* A client that does not wait for the answer: its first words of TLS come with the request for it. */
static Value hurried_client(Value port)
{
    char block[4096] = "STARTTLS\n", answer[9];
    int fd = connected_socket((int)as_int(port));
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    BIO *words = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), words);
    SSL_connect(ssl);
    int size = 9 + BIO_read(words, block + 9, sizeof block - 9);
    bool ok = send_text(fd, block, (size_t)size) && recv(fd, answer, 9, MSG_WAITALL) == 9 && !memcmp(answer, "go ahead\n", 9);
    SSL_set_fd(ssl, fd);
    ok = ok && SSL_connect(ssl) == 1 && tls_send(ssl, "secret\n") && SSL_read(ssl, block, sizeof block) == 6 && !memcmp(block, "heard\n", 6);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    return V((bool)ok);
}

NET_TEST(what_came_early_belongs_to_tls)
{
    Server *server = as_server(await(asyncio_start_server(serve_start_tls, "127.0.0.1", 0)));
    ck_assert(as_bool(await(asyncio_to_thread(hurried_client, .arg = V(server_port(server))))));
    end_server(server);
    return None;
}

/* ---- Nothing is left over --------------------------------------------------------------------------------------- */

NET_TEST(a_loop_that_closes_with_connections_open)
{
    Server *server = echo_server(server_context("localhost"));
    Value both = connect_to(server, client_context(), "localhost");
    echoes(both);
    return None;
}

NET_TEST(a_handshake_that_is_cancelled)
{
    int listener = listening_socket(20);
    ck_raises(TimeoutError, await(asyncio_wait_for(asyncio_open_connection("127.0.0.1", port_of_fd(listener), .ssl = True), 0.05)));
    for (volatile int passes = 1; passes < 12; passes++) {
        Task *opening = asyncio_create_task(asyncio_open_connection("127.0.0.1", port_of_fd(listener), .ssl = V(client_context())));
        for (int i = 0; i < passes; i++) await(asyncio_sleep(0));
        task_cancel(opening);
        ck_raises(CancelledError, await(opening));
    }
    close(listener);
    return None;
}

NET_TEST(an_abort_in_each_state)
{
    Server *server = echo_server(server_context("localhost"));
    StreamWriter *wrapped = writer_of(connect_to(server, client_context(), "localhost"));
    transport_abort(streamwriter_transport(wrapped));
    await(streamwriter_wait_closed(wrapped));
    StreamWriter *ending = writer_of(connect_to(server, client_context(), "localhost"));
    streamwriter_close(ending);
    transport_abort(streamwriter_transport(ending));
    await(streamwriter_wait_closed(ending));
    streamwriter_write(ending, "to nobody");
    end_server(server);
    return None;
}

static int received_calls;
static void fails(Value self, const char *data, size_t size) { (void)self; (void)data; (void)size; received_calls++; throw(ZeroDivisionError, "mine"); }
static void lost(Value self, Value e) { future_set_result(as_future(self), e); }
static const Protocol failing = {.data_received = fails, .connection_lost = lost};

NET_TEST(a_protocol_that_fails_ends_its_connection)
{
    Loop *loop = asyncio_get_running_loop();
    Server *server = echo_server(server_context("localhost"));
    Future *ended = loop_create_future(loop);
    Value pair = await(loop_create_connection(loop, &failing, ended, "127.0.0.1", server_port(server), .ssl = V(client_context())));
    transport_write(as_transport(list_get(pair, 0)), "x", 1);
    ck_assert(isinstance(await(ended), ZeroDivisionError));
    ck_assert_str_eq(reported.message, "Fatal error on SSL protocol");
    reports_taken(1);
    ck_assert_int_eq(received_calls, 1);
    end_server(server);
    return None;
}

/* The two hundredth connection finds as much memory in use as the hundredth did. */
NET_TEST(connections_leave_no_memory_behind)
{
    SSLContext *context = client_context();
    Server *server = echo_server(server_context("localhost"));
    size_t in_use = 0, objects = 0;
    for (int i = 0; i < 200; i++) {
        scope { connects(server, context, "localhost"); }
        for (int passes = 0; passes < 5; passes++) await(asyncio_sleep(0));
        if (i == 100) { in_use = mallinfo2().uordblks; objects = asyncio_live_objects(); }
    }
    ck_assert_uint_eq(asyncio_live_objects(), objects);
    ck_assert_uint_lt(mallinfo2().uordblks, in_use + 65536);
    end_server(server);
    return None;
}
