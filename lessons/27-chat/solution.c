/* Exercise 27, solved. Only deliver() waits for dora, and nobody waits for deliver(). A queue without a limit would do for bert as well,
 * and would keep for dora whatever is ever said: the limit turns a slow guest into a decision.
 */
#include "asyncio.h"
#include <sys/socket.h>

static Value guests; /* a list of (name, queue, writer, task) */

async_def(deliver, (Queue *) queue, (StreamWriter *) writer)
{
    forever {
        streamwriter_write(writer, await(queue_get(queue)));
        await(streamwriter_drain(writer));
    }
    return None;
}

/* A connection without a server: the guest has one end and we the other. Returns the guest's reader. */
async_def(let_in, (const char *) name)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) throw(OSError, "no sockets");
    Value ours = await(asyncio_open_unix_connection(NULL, .sock = ends[0]));
    Value theirs = await(asyncio_open_unix_connection(NULL, .sock = ends[1]));
    StreamWriter *writer = as_streamwriter(list_get(ours, 1));
    Queue *queue = asyncio_Queue(.maxsize = 20);
    Task *delivery = asyncio_create_task(deliver(queue, writer), .name = as_str(format("to %s", name)));
    list_append(guests, tuple(name, queue, writer, delivery));
    return theirs;
}

static void throw_out(int place)
{
    Value guest = list_pop(guests, place);
    print(list_get(guest, 0), "is thrown out");
    task_cancel(as_task(list_get(guest, 3)));
    transport_abort(streamwriter_transport(as_streamwriter(list_get(guest, 2))));
}

static void announce(Value line)
{
    for (int i = len(guests) - 1; i >= 0; i--) {
        try {
            queue_put_nowait(as_queue(list_get(list_get(guests, i), 1)), line);
        } except (QueueFull) {
            throw_out(i);
        } end_try
    }
}

async_def(speech, (StreamReader *) bert)
{
    for (int i = 1; i <= 100; i++) {
        announce(format("%16000d\n", i));
        Value heard = await(streamreader_readline(bert));
        if (i == 100) return V((bool)(len(heard) == 16001));
    }
    return None;
}

async_def(main_)
{
    guests = list();
    Value dora = await(let_in("dora")), bert = await(let_in("bert")), all = False;
    try {
        all = await(asyncio_wait_for(speech(as_streamreader(list_get(bert, 0))), 5));
    } except (TimeoutError) {
        print("held up by a guest who does not read");
    } end_try
    print("bert heard all 100 lines:", all);
    streamwriter_close(as_streamwriter(list_get(dora, 1)));
    return None;
}

int main(void) { asyncio_run(main_()); }
