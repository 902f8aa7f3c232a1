/* A chat server: what one says, all others hear. ./chat_server [PORT], then from several terminals: nc localhost 8888
 *
 * The list of guests is shared by all tasks and needs no lock: a task changes it between two awaits, when no other runs.
 * Each guest has a queue and a second task that empties it, so a guest who does not read holds up nobody but himself. */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>

static Value guests;                                     /* a list of (name, queue) */

static void say_to_all(Value line, Value except_for)
{
    for_in (guest, guests) {
        Queue *queue = (Queue *)list_get(guest, 1).object;
        if (!value_equal(list_get(guest, 0), except_for) && !queue_full(queue)) queue_put_nowait(queue, line);
    }
}

async_def(deliver, (Queue *) queue, (StreamWriter *) writer)
{
    forever {
        streamwriter_write(writer, await(queue_get(queue)));
        await(streamwriter_drain(writer));
    }
    return None;
}

static Value ask_name(StreamReader *reader, StreamWriter *writer)
{
    streamwriter_write(writer, "Your name? ");
    Value line = await(streamreader_readline(reader));
    const char *text = as_bytes(line, NULL);
    return format("%.*s", (int)strcspn(text, "\r\n"), text);
}

async_def(welcome, (StreamReader *) reader, (StreamWriter *) writer)
{
    Value name = ask_name(reader, writer);
    Queue *queue = asyncio_Queue(100);
    Value guest = tuple(name, queue);
    Task *delivery = asyncio_create_task(deliver(queue, writer), .name = as_str(format("to %s", as_str(name))));
    list_append(guests, guest);
    say_to_all(format("* %s has come\n", as_str(name)), name);
    try {
        async_for (line, reader) say_to_all(format("%s: %s", as_str(name), as_bytes(line, NULL)), name);
    } finally {
        for (int i = 0; i < len(guests); i++) if (value_equal(list_get(guests, i), guest)) list_pop(guests, i--);
        say_to_all(format("* %s has gone\n", as_str(name)), name);
        task_cancel(delivery);
        streamwriter_close(writer);
    } end_try
    return None;
}

async_def(main_, (int) port)
{
    guests = list();
    Server *server = as_server(await(asyncio_start_server(welcome, "127.0.0.1", port)));
    print("listening on", list_get(list_get(server_sockets(server), 0), 1));
    await(event_wait(asyncio_Event()));                  /* until Ctrl-C; serve_forever() would then wait for the last client to go */
    return None;
}

int main(int argc, char **argv) { asyncio_run(main_(argc > 1 ? atoi(argv[1]) : 8888)); }
