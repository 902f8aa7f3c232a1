/* A library without TLS: whatever needs it says what to do. */
#include "cpython/cpython_io.h"

static const char advice[] = "this asyncio was built without TLS. Build it with `make TLS=1`, or compile asyncio.c with -DASYNCIO_TLS and link "
                             "with `pkg-config --libs openssl`.";

async_def(nobody, (StreamReader *) reader, (StreamWriter *) writer) { (void)reader; (void)writer; return None; }

NET_TEST(without_tls_a_connection_says_so)
{
    static const Protocol nothing;
    Loop *loop = asyncio_get_running_loop();
    ck_raises_text(RuntimeError, advice, await(asyncio_open_connection("127.0.0.1", 1, .ssl = True)));
    ck_raises_text(RuntimeError, advice, await(asyncio_open_unix_connection("/nowhere", .ssl = True, .server_hostname = "x")));
    ck_raises_text(RuntimeError, advice, await(loop_create_connection(loop, &nothing, None, "127.0.0.1", 1, .ssl = V(1))));
    ck_raises_text(RuntimeError, advice, await(loop_connect_accepted_socket(loop, &nothing, None, -1, .ssl = True)));
    ck_raises_text(RuntimeError, advice, await(asyncio_start_server(nobody, "127.0.0.1", 0, .ssl = V(1))));
    return None;
}

NET_TEST(without_tls_start_tls_says_so)
{
    int listener = listening_socket(1);
    Value both = await(asyncio_open_connection("127.0.0.1", port_of_fd(listener)));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    ck_raises_text(RuntimeError, advice, await(streamwriter_start_tls(writer, NULL)));
    ck_raises_text(RuntimeError, advice, await(loop_start_tls(asyncio_get_running_loop(), streamwriter_transport(writer), NULL, None, NULL)));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    close(listener);
    return None;
}

NET_TEST(without_tls_there_is_no_context)
{
    ck_raises_text(RuntimeError, advice, ssl_create_default_context());
    ck_raises_text(RuntimeError, advice, ssl_create_default_context(.purpose = CLIENT_AUTH));
    ck_raises_text(RuntimeError, advice, ssl_SSLContext(PROTOCOL_TLS_SERVER));
    ck_raises_text(TypeError, "expected an SSLContext, got int", as_sslcontext(V(1)));
    return None;
}

/* What makes no sense in either build is told first, as Python does. */
NET_TEST(without_tls_arguments_are_looked_at_first)
{
    ck_raises_text(ValueError, "server_hostname is only meaningful with ssl", await(asyncio_open_connection("127.0.0.1", 1, .server_hostname = "x")));
    ck_raises_text(ValueError, "ssl_handshake_timeout is only meaningful with ssl", await(asyncio_open_connection("127.0.0.1", 1, .ssl_handshake_timeout = 1)));
    ck_raises_text(TypeError, "ssl argument must be an SSLContext or None", await(asyncio_start_server(nobody, "127.0.0.1", 0, .ssl = True)));
    return None;
}
