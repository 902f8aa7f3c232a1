/* The echo server on asyncio.c: `ours streams` or `ours protocol`. Prints its port. python.py is its twin. */
#include "../../asyncio.h"
#include <stdlib.h>
#include <string.h>

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    forever {
        Value data = await(streamreader_read(reader, .n = 65536));
        if (!len(data)) break;
        streamwriter_write(writer, data);
        await(streamwriter_drain(writer));
    }
    streamwriter_close(writer);
    return None;
}

/* As a protocol: self is a place for the transport. */
static Value echo_new(Value arg) { (void)arg; return V(calloc(1, sizeof(Transport *))); }
static Transport **transport_of(Value self) { return as_pointer(self); }
static void echo_made(Value self, Transport *transport) { *transport_of(self) = transport; }
static void echo_received(Value self, const char *data, size_t size) { transport_write(*transport_of(self), data, size); }
static void echo_lost(Value self, Value e) { (void)e; free(transport_of(self)); }

static const Protocol echo = {.make = echo_new, .connection_made = echo_made, .data_received = echo_received, .connection_lost = echo_lost};

async_def(main_, (bool) streams)
{
    Loop *loop = asyncio_get_running_loop();
    Value server = streams ? await(asyncio_start_server(serve, "127.0.0.1", 0, .backlog = 4096))
                           : await(loop_create_server(loop, &echo, None, "127.0.0.1", 0, .backlog = 4096));
    Value address = list_get(list_get(server_sockets(as_server(server)), 0), 1);
    print(list_get(address, 1));
    fflush(stdout);
    await(server_serve_forever(as_server(server)));
    return None;
}

int main(int argc, char **argv) { asyncio_run(main_(argc > 1 && !strcmp(argv[1], "streams"))); }
