/* An echo server: what comes in goes out, line by line. ./echo_server [PORT [CERTIFICATE.pem]], Ctrl-C ends it.
 *
 * With a certificate, its key in the same file, it speaks TLS, in a build with TLS. Try it with echo_client, or: nc localhost 8888. Under the tracer, each connection is a task of its own. */
#include "asyncio.h"
#include <stdlib.h>

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    Value peer = streamwriter_get_extra_info(writer, "peername");
    print(peer, "has come");
    try {
        async_for (line, reader) {
            streamwriter_write(writer, line);
            await(streamwriter_drain(writer));           /* a slow client slows this task down, no other */
        }
    } except (ConnectionError, e) {
        print(peer, "is lost:", e);
    } end_try
    print(peer, "has gone");
    streamwriter_close(writer);
    return None;
}

async_def(main_, (int) port, (const char *) certificate)
{
    SSLContext *context = certificate ? ssl_create_default_context(.purpose = CLIENT_AUTH) : NULL;
    if (context) sslcontext_load_cert_chain(context, certificate);
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", port, .ssl = context ? V(context) : None)));
    print("listening on", list_get(list_get(server_sockets(server), 0), 1));
    await(event_wait(asyncio_Event()));                  /* until Ctrl-C; serve_forever() would then wait for the last client to go */
    return None;
}

int main(int argc, char **argv) { asyncio_run(main_(argc > 1 ? atoi(argv[1]) : 8888, argc > 2 ? argv[2] : NULL)); }
