/* CPython's test_streams: streams over TLS. */
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

static void try_https(Coroutine *connecting)
{
    Value both = await(connecting);
    streamwriter_write(writer_of(both), "GET / HTTP/1.0\r\n\r\n");
    Value page = await(streamreader_read(reader_of(both)));
    const char *text = as_str(format("%.*s", len(page), as_bytes(page, NULL)));
    ck_assert(strstr(text, "\r\n\r\nTest message"));
    end_writer(writer_of(both));
}

NET_TEST(StreamTests__test_open_connection_no_loop_ssl)
{
    Peer httpd;
    try_https(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_https), .ssl = V(simple_client_context())));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_open_unix_connection_no_loop_ssl)
{
    Peer httpd;
    try_https(asyncio_open_unix_connection(peer_start_unix(&httpd, serve_https), .ssl = V(simple_client_context()), .server_hostname = ""));
    peer_stop(&httpd);
    return None;
}

async_def(echo_two_lines, (StreamReader *) reader, (StreamWriter *) writer)
{
    streamwriter_write(writer, await(streamreader_readline(reader)));
    await(streamwriter_drain(writer));
    ck_assert(is_none(streamwriter_get_extra_info(writer, "sslcontext")));
    await(streamwriter_start_tls(writer, simple_server_context()));
    ck_assert(!is_none(streamwriter_get_extra_info(writer, "sslcontext")));
    streamwriter_write(writer, await(streamreader_readline(reader)));
    await(streamwriter_drain(writer));
    end_writer(writer);
    return None;
}

NET_TEST(StreamTests__test_start_tls)
{
    Server *server = as_server(await(asyncio_start_server(echo_two_lines, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    StreamWriter *writer = writer_of(both);
    streamwriter_write(writer, "hello world 1!\n");
    await(streamwriter_drain(writer));
    ck_assert(is_text(await(streamreader_readline(reader_of(both))), "hello world 1!\n"));
    ck_assert(is_none(streamwriter_get_extra_info(writer, "sslcontext")));
    await(streamwriter_start_tls(writer, simple_client_context()));
    ck_assert(!is_none(streamwriter_get_extra_info(writer, "sslcontext")));
    streamwriter_write(writer, "hello world 2!\n");
    await(streamwriter_drain(writer));
    ck_assert(is_text(await(streamreader_readline(reader_of(both))), "hello world 2!\n"));
    end_writer(writer);
    end_server(server);
    return None;
}
