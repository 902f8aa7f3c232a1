/* Lesson 25: two ends of a connection. What does one see of what the other does? */
#include "asyncio.h"
#include <string.h>

static Value without_newline(Value line)
{
    const char *text = as_bytes(line, NULL);
    return format("%.*s", (int)strcspn(text, "\n"), text);
}

async_def(echo, (StreamReader *) reader, (StreamWriter *) writer)
{
    async_for (line, reader) {
        print("    server: read", line);
        streamwriter_write(writer, format("you said %s\n", as_str(without_newline(line))));
        await(streamwriter_drain(writer));
    }
    print("    server: nothing more will come; says goodbye");
    streamwriter_write(writer, "bye");
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(client, (int) port)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port)), reader_, writer_;
    unpack(both, &reader_, &writer_);
    StreamReader *reader = as_streamreader(reader_);
    StreamWriter *writer = as_streamwriter(writer_);

    streamwriter_write(writer, "hello\n");
    print("  client: wrote, and did not wait for anything");
    print("  client: read", await(streamreader_readline(reader)));

    streamwriter_write(writer, "one\ntwo\n");
    print("  client: two lines in one write");
    print("  client: read", await(streamreader_readexactly(reader, 8)), "by number of bytes");
    print("  client: read", await(streamreader_readuntil(reader, bytes("\n", 1))), "up to the end of the line");
    print("  client: read", await(streamreader_readline(reader)));

    streamwriter_write(writer, "the last, without a newline");
    streamwriter_write_eof(writer);
    print("  client: has nothing more to say, but still listens");
    print("  client: read", await(streamreader_readline(reader)));
    try {
        await(streamreader_readexactly(reader, 100));
    } except (IncompleteReadError, e) {
        print("  client: wanted 100 bytes, got", list_get(exception_details(e), 0));
    } end_try
    bool at_eof = streamreader_at_eof(reader);
    print("  client: at the end:", at_eof, await(streamreader_read(reader)));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(main_)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    Value address = list_get(list_get(server_sockets(server), 0), 1);
    int port = (int)as_int(list_get(address, 1));  /* the kernel has chosen one */
    async_with (server) {
        await(client(port));
        print("the server still listens:", server_is_serving(server));
    } end_with
    print("and after the block:", server_is_serving(server));
    return None;
}

int main(void) { asyncio_run(main_()); }
