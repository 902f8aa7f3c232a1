/* A stream, a server, a child, a thread, a signal, and a transport that is too full. outside.json was recorded from it. */
#include "asyncio.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static char block[300000];

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    Value line = await(streamreader_readline(reader));
    streamwriter_write(writer, line);
    streamwriter_write(writer, bytes(block, sizeof block));
    await(streamwriter_drain(writer));
    streamwriter_close(writer);
    return None;
}

static Value work(Value n) { return V(as_int(n) + 1); }
static void on_signal(Value event) { event_set(as_event(event)); }

async_def(main_)
{
    char folder[] = "/tmp/outside-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) < 0) throw(OSError, "%s", folder);
    Event *event = asyncio_Event();
    loop_add_signal_handler(asyncio_get_running_loop(), SIGUSR1, on_signal, .arg = V(event));
    raise(SIGUSR1);
    await(event_wait(event));
    await(asyncio_to_thread(work, V(1)));

    Process *cat = as_process(await(asyncio_create_subprocess_exec("cat", .stdin = PIPE, .stdout = PIPE)));
    await(process_communicate(cat, .input = bytes("meow", 4)));

    Server *server = as_server(await(asyncio_start_unix_server(serve, "socket")));
    Value both = await(asyncio_open_unix_connection("socket"));
    streamwriter_write(as_streamwriter(list_get(both, 1)), "hello\n");
    await(streamreader_readexactly(as_streamreader(list_get(both, 0)), 6 + sizeof block));
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    server_close(server);
    await(server_wait_closed(server));
    if (chdir("/") < 0 || rmdir(folder) < 0) throw(OSError, "%s", folder);
    return None;
}

int main(void) { asyncio_run(main_()); }
