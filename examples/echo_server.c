/* An echo server: what comes in goes out, line by line. ./echo_server [PORT], Ctrl-C ends it.
 *
 * Try it with echo_client, or: nc localhost 8888. Under the tracer, each connection is a task of its own. */
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

async_def(main_, (int) port)
{
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", port)));
    print("listening on", list_get(list_get(server_sockets(server), 0), 1));
    async_with (server) {
        await(server_serve_forever(server));
    } end_with
    return None;
}

int main(int argc, char **argv) { asyncio_run(main_(argc > 1 ? atoi(argv[1]) : 8888)); }
