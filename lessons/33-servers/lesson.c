/* Lesson 33: the life of a server. When does it begin to listen, when is it closed, when is it over? */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/asyncio-lesson-XXXXXX/socket";

/* It answers each line. After "much" it says more than fits into the pipes between the two. */

static char much[1000000];

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    async_for (line, reader) {
        if (len(line) == 5) streamwriter_write(writer, bytes(much, sizeof much));
        else streamwriter_writelines(writer, list(bytes("you said ", 9), line));
    }
    print("    server: this client is gone");
    streamwriter_close(writer);
    return None;
}

async_def(connect_)
{
    try {
        return await(asyncio_open_unix_connection(path));
    } except_any (e, ConnectionRefusedError, FileNotFoundError) {
        print("  nobody there:", value_type(e));
    } end_try
    return None;
}

async_def(say, (Value) both, (const char *) line)
{
    streamwriter_write(as_streamwriter(list_get(both, 1)), line);
    print("  client:", await(streamreader_readline(as_streamreader(list_get(both, 0)))));
    return None;
}

async_def(hang_up, (Value) both)
{
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    await(streamwriter_wait_closed(as_streamwriter(list_get(both, 1))));
    return None;
}

async_def(begin_and_end)
{
    Server *server = as_server(await(asyncio_start_unix_server(serve, path, .start_serving = false)));
    print("  it exists; serving:", server_is_serving(server));
    await(connect_());
    await(server_start_serving(server));
    print("  serving:", server_is_serving(server));
    Value both = await(connect_());
    await(say(both, "hello\n"));

    server_close(server);
    print("  closed; serving:", server_is_serving(server), "- sockets:", len(server_sockets(server)));
    await(connect_());
    await(say(both, "still there?\n"));
    Task *closed = asyncio_create_task(server_wait_closed(server), .name = "wait_closed");
    await(asyncio_sleep(0));
    print("  over:", task_done(closed));
    await(hang_up(both));
    await(closed);
    print("  over:", task_done(closed));
    return None;
}

async_def(rest_of, (Value) both)
{
    StreamReader *reader = as_streamreader(list_get(both, 0));
    int64_t total = 0;
    forever {
        Value some = await(streamreader_read(reader, .n = 100000));
        if (len(some) == 0) break;
        total += len(some);
    }
    await(hang_up(both));
    return V(total);
}

async_def(sent_home, (bool) politely)
{
    Server *server = as_server(await(asyncio_start_unix_server(serve, path)));
    Value both = await(connect_());
    streamwriter_write(as_streamwriter(list_get(both, 1)), "much\n");
    await(streamreader_readexactly(as_streamreader(list_get(both, 0)), 1));
    server_close(server);
    if (politely) server_close_clients(server);
    else server_abort_clients(server);
    bool all = 1 + as_int(await(rest_of(both))) == sizeof much;
    print("  all that was written has come:", all);
    await(server_wait_closed(server));
    return None;
}

async_def(for_ever)
{
    Server *server = as_server(await(asyncio_start_unix_server(serve, path)));
    Task *serving = asyncio_create_task(server_serve_forever(server), .name = "serving");
    Value both = await(connect_());
    await(say(both, "how long?\n"));
    await(hang_up(both));
    task_cancel(serving);
    try {
        await(serving);
    } except (CancelledError) {
        print("  cancelled; serving:", server_is_serving(server));
    } end_try
    return None;
}

async_def(main_)
{
    print("begin, close, over: three moments");
    await(begin_and_end());
    print("clients are sent home");
    await(sent_home(true));
    print("clients are thrown out");
    await(sent_home(false));
    print("for ever");
    await(for_ever());
    return None;
}

int main(void)
{
    char *slash = strrchr(path, '/');
    *slash = 0;
    if (!mkdtemp(path)) throw(OSError, "no directory for the socket");
    *slash = '/';
    memset(much, 'x', sizeof much);
    asyncio_run(main_());
    print("the socket's file is gone:", (bool)(access(path, F_OK) != 0));
    *slash = 0;
    rmdir(path);
}
