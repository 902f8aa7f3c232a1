/* Exercise 25: a stream has no seams.
 *
 * A server that adds: for each line "3 4" it answers "7". The author thought that one read() gives one line, since one write() sent one. It
 * works as long as the client waits for each answer. This client sends two questions in one write, and the second is never answered:
 *
 *     3 + 4 = b'7\n'
 *     10 + 20 = no answer
 *     total: no answer
 *
 * Wanted:
 *
 *     3 + 4 = b'7\n'
 *     10 + 20 = b'30\n'
 *     total: b'total 37\n'
 *
 * Let the server read lines: `async_for (line, reader)` ends when the client has said by write_eof() that nothing more will come. Then,
 * and not before, the server can answer with the total.
 */
#include "asyncio.h"

async_def(add, (StreamReader *) reader, (StreamWriter *) writer)
{
    forever {
        int a = 0, b = 0;
        Value data = await(streamreader_read(reader, .n = 100));    /* >>> one line? */
        if (len(data) == 0) break;
        sscanf(as_bytes(data, NULL), "%d %d", &a, &b);
        streamwriter_write(writer, format("%d\n", a + b));
    }
    streamwriter_close(writer);                         /* >>> the total first */
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
