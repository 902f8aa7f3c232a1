/* Exercise 27: one sleeper holds up everybody.
 *
 * announce() writes each line to every guest and waits until he has room for it. bert reads all he gets. dora fell asleep: she reads nothing. When
 * her connection is full announce() waits for her, and bert with it, until a timeout ends it all:
 *
 *     held up by a guest who does not read
 *     bert heard all 100 lines: False
 *
 * Wanted:
 *
 *     dora is thrown out
 *     bert heard all 100 lines: True
 *
 * Give each guest a queue with .maxsize = 20 and a task deliver() that empties it into the writer, as in the lesson. announce() then only puts the
 * line into the queues, with queue_put_nowait, which never waits: whose queue is full (QueueFull) is taken off the list and thrown out by
 * transport_abort(streamwriter_transport(writer)), and his delivery is cancelled.
 */
#include "asyncio.h"
#include <sys/socket.h>

static Value guests;                                    /* a list of (name, writer) */

/* A connection without a server: the guest has one end and we the other. Returns the guest's reader. */
async_def(let_in, (const char *) name)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) throw(OSError, "no sockets");
    Value ours = await(asyncio_open_unix_connection(NULL, .sock = ends[0]));
    Value theirs = await(asyncio_open_unix_connection(NULL, .sock = ends[1]));
    list_append(guests, tuple(name, list_get(ours, 1)));    /* >>> a queue, and a task that empties it */
    return theirs;
}

async_def(announce, (Value) line)
{
    for_in (guest, guests) {
        StreamWriter *writer = as_streamwriter(list_get(guest, 1));
        streamwriter_write(writer, line);
        await(streamwriter_drain(writer));              /* >>> for as long as this guest likes */
    }
    return None;
}

async_def(speech, (StreamReader *) bert)
{
    for (int i = 1; i <= 100; i++) {
        await(announce(format("%16000d\n", i)));
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
        all = await(asyncio_wait_for(speech(as_streamreader(list_get(bert, 0))), 1));
    } except (TimeoutError) {
        print("held up by a guest who does not read");
    } end_try
    print("bert heard all 100 lines:", all);
    streamwriter_close(as_streamwriter(list_get(dora, 1)));
    return None;
}

int main(void) { asyncio_run(main_()); }
