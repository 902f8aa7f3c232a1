/* Our side of tests/peers/streams.sh; echo.py beside it is the same program.
 *
 *     echo serve                     says its port, and sends back what comes, until Ctrl-C
 *     echo visit PORT COUNT SIZE     COUNT connections at once send SIZE bytes each, close their half, and compare what comes back
 */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    forever {
        Value data = await(streamreader_read(reader, 65536));
        if (!len(data)) break;
        streamwriter_write(writer, data);
        await(streamwriter_drain(writer));
    }
    streamwriter_close(writer);
    return None;
}

async_def(send_all, (StreamWriter *) writer, (Value) data)
{
    size_t size;
    const char *text = as_bytes(data, &size);
    for (size_t at = 0; at < size; at += 100000) scope {
        streamwriter_write(writer, bytes(text + at, size - at < 100000 ? size - at : 100000));
        await(streamwriter_drain(writer));
    }
    streamwriter_write_eof(writer);
    return None;
}

static Value data_of(int number, int size)
{
    char *text = malloc((size_t)size + 1);
    for (int i = 0; i < size; i++) text[i] = (char)(i % 65536 * 7 + (i % 65536 >> 8) + number);
    Value data = bytes(text, (size_t)size);
    free(text);
    return data;
}

async_def(visit, (int) port, (int) number, (int) size)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port)), data = data_of(number, size);
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    Value got = list_get(await(asyncio_gather(streamreader_read(reader), send_all(writer, data))), 0);
    if (!value_equal(got, data)) throw(AssertionError, "connection %d: %d bytes came back, or others than were sent", number, len(got));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(serve_until_interrupted)
{
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0, .backlog = 1000)));
    print(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    fflush(stdout);
    await(server_serve_forever(server));
    return None;
}

async_def(visit_all, (int) port, (int) count, (int) size)
{
    Value visits = list();
    for (int i = 0; i < count; i++) list_append(visits, visit(port, i, size));
    await(asyncio_gather_list(visits));
    print(count, "connections");
    return None;
}

int main(int argc, char **argv)
{
    if (argc == 5) { asyncio_run(visit_all(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]))); return 0; }
    try { asyncio_run(serve_until_interrupted()); } except (KeyboardInterrupt) { } end_try
}
