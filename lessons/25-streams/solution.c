/* Exercise 25, solved. read() gives what has come so far: half a line, or two. Where a line ends only the newline tells; readline() and async_for
 * look for it, and keep the rest for the next time.
 */
#include "asyncio.h"

async_def(add, (StreamReader *) reader, (StreamWriter *) writer)
{
    int total = 0;
    async_for (line, reader) {
        int a = 0, b = 0;
        sscanf(as_bytes(line, NULL), "%d %d", &a, &b);
        total += a + b;
        streamwriter_write(writer, format("%d\n", a + b));
    }
    streamwriter_write(writer, format("total %d\n", total));
    streamwriter_close(writer);
    return None;
}

async_def(hear, (const char *) question, (StreamReader *) reader)
{
    Value answer = V("no answer");
    try {
        Value line = await(asyncio_wait_for(streamreader_readline(reader), 1));
        if (len(line)) answer = line;
    } except (TimeoutError) {
    } end_try
    print(question, answer);
    return None;
}

async_def(client, (int) port)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    streamwriter_write(writer, "3 4\n10 20\n");
    await(hear("3 + 4 =", reader));
    await(hear("10 + 20 =", reader));
    streamwriter_write_eof(writer);
    await(hear("total:", reader));
    streamwriter_close(writer);
    return None;
}

async_def(main_)
{
    Server *server = as_server(await(asyncio_start_server(add, "127.0.0.1", 0)));
    async_with (server) {
        await(client((int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1))));
    } end_with
    return None;
}

int main(void) { asyncio_run(main_()); }
