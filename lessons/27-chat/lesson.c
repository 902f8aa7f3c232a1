/* Lesson 27: a chat server. Many clients, each with its own speed: who waits for whom, and who tidies up? */
#include "asyncio.h"
#include <string.h>

static Value guests;  /* a list of (name, queue) */

static Value without_newline(Value line)
{
    const char *text = as_bytes(line, NULL);
    return format("%.*s", (int)strcspn(text, "\n"), text);
}

/* ---- the server ---- */

static void tell_the_others(Value name, Value text)
{
    for_in (guest, guests)
        if (!value_equal(list_get(guest, 0), name)) queue_put_nowait(as_queue(list_get(guest, 1)), text);
}

/* The only one who writes to this client: a slow one holds up nobody but himself. */
async_def(deliver, (Queue *) queue, (StreamWriter *) writer)
{
    forever {
        Value text = await(queue_get(queue));
        if (is_none(text)) return None;
        streamwriter_write(writer, format("%s\n", as_str(text)));
        await(streamwriter_drain(writer));
    }
    return None;
}

async_def(listen_to, (Value) name, (StreamReader *) reader, (Queue *) queue)
{
    async_for (line, reader) {
        Value text = without_newline(line);
        if (!strcmp(as_str(text), "/quit")) break;
        tell_the_others(name, format("%s: %s", as_str(name), as_str(text)));
        queue_put_nowait(queue, "(told)");
    }
    queue_put_nowait(queue, "goodbye");
    queue_put_nowait(queue, None);  /* deliver() ends when it has come to here */
    return None;
}

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    Value name = without_newline(await(streamreader_readline(reader)));
    Queue *queue = asyncio_Queue();
    Value guest = tuple(name, queue);
    task_set_name(asyncio_current_task(), format("serve %s", as_str(name)));
    list_append(guests, guest);
    try {
        queue_put_nowait(queue, format("welcome, %d here", len(guests)));
        tell_the_others(name, format("* %s has come", as_str(name)));
        async_with (tg, asyncio_TaskGroup()) {
            Value to = format("to %s", as_str(name)), from = format("from %s", as_str(name));
            taskgroup_create_task(tg, deliver(queue, writer), .name = as_str(to));
            taskgroup_create_task(tg, listen_to(name, reader, queue), .name = as_str(from));
        } end_with
    } finally {
        for (int i = len(guests) - 1; i >= 0; i--)
            if (value_equal(list_get(guests, i), guest)) list_pop(guests, i);
        tell_the_others(name, format("* %s has gone", as_str(name)));
        streamwriter_close(writer);
    } end_try
    return None;
}

/* ---- the clients: a script, so that every run is the same ---- */

static int port;

async_def(come, (const char *) name)
{
    Value client = await(asyncio_open_connection("127.0.0.1", port));
    streamwriter_write(as_streamwriter(list_get(client, 1)), format("%s\n", name));
    return client;
}

static void say(Value client, const char *text)
{
    streamwriter_write(as_streamwriter(list_get(client, 1)), format("%s\n", text));
}

async_def(hears, (const char *) name, (Value) client)
{
    Value line = await(streamreader_readline(as_streamreader(list_get(client, 0))));
    print(format("  %s hears", name), line);
    return None;
}

async_def(leave, (Value) client)
{
    streamwriter_close(as_streamwriter(list_get(client, 1)));
    await(streamwriter_wait_closed(as_streamwriter(list_get(client, 1))));
    return None;
}

async_def(evening)
{
    print("they come");
    Value anna = await(come("anna"));
    await(hears("anna", anna));
    Value bert = await(come("bert"));
    await(hears("bert", bert));
    await(hears("anna", anna));
    Value cora = await(come("cora"));
    await(hears("cora", cora));
    await(hears("anna", anna));
    await(hears("bert", bert));

    print("anna speaks, twice; bert does not listen");
    say(anna, "hello all\nis it raining?");
    await(hears("cora", cora));
    await(hears("cora", cora));
    await(hears("anna", anna));
    await(hears("anna", anna));

    print("cora hangs up without a word");
    await(leave(cora));
    await(hears("anna", anna));

    print("bert listens at last, and says goodbye");
    for (int i = 0; i < 3; i++) await(hears("bert", bert));
    say(bert, "/quit");
    await(hears("bert", bert));
    await(hears("bert", bert));
    await(hears("anna", anna));
    print("  still here:", list_get(list_get(guests, 0), 0));
    await(leave(bert));
    say(anna, "/quit");
    await(hears("anna", anna));
    await(hears("anna", anna));
    await(leave(anna));
    return None;
}

async_def(main_)
{
    guests = list();
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0)));
    port = (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    async_with (server) {
        await(evening());
    } end_with
    print("closed; guests:", guests);
    return None;
}

int main(void) { asyncio_run(main_()); }
