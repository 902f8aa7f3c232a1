/* Exercise 35: the door and the room.
 *
 * A connection begins at the door: the first line must be the password. Then it belongs to the room, which is another protocol. Somebody has written the
 * two, and has forgotten to hand the connection over:
 *
 *     b'sesame\nhello\n' -> b'who is there?\n'
 *     b'again\n' -> b'who is there?\n'
 *
 * Wanted:
 *
 *     b'sesame\nhello\n' -> b'in the room: hello\n'
 *     b'again\n' -> b'in the room: again\n'
 *
 * Only door_received() needs a change. transport_set_protocol() exchanges the protocol, and that is all it does. What does a protocol expect to be told
 * first? And who tells the room what came together with the password?
 */
#include "asyncio.h"
#include <string.h>
#include <sys/socket.h>

static void reply(Transport *transport, Value text) { transport_write(transport, as_str(text), (size_t)len(text)); }

/* ---- the room; nothing to change ---- */

static Transport *room;

static void room_made(Value self, Transport *transport) { (void)self; room = transport; }

static void room_received(Value self, const char *data, size_t size)
{
    (void)self;
    if (room) reply(room, format("in the room: %.*s", (int)size, data));
    else print("in the room: nobody has told me my transport");
}

__attribute__((unused)) static const Protocol room_protocol = {.connection_made = room_made, .data_received = room_received};

/* ---- the door ---- */

static const char password[] = "sesame\n";
static Transport *door;

static void door_made(Value self, Transport *transport) { (void)self; door = transport; }

static void door_received(Value self, const char *data, size_t size)
{
    (void)self;
    bool right = size >= strlen(password) && !memcmp(data, password, strlen(password));
    if (right) reply(door, V("who is there?\n"));       /* >>> hand it over, with what came behind the password */
    else reply(door, V("who is there?\n"));
}

static const Protocol door_protocol = {.connection_made = door_made, .data_received = door_received};

async_def(say, (int) fd, (const char *) text)
{
    Loop *loop = asyncio_get_running_loop();
    Value said = bytes(text, strlen(text));
    await(loop_sock_sendall(loop, fd, said));
    try {
        print(said, "->", await(asyncio_wait_for(loop_sock_recv(loop, fd, 100), 1)));
    } except (TimeoutError) {
        print(said, "-> no answer");
    } end_try
    return None;
}

async_def(main_)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) throw(OSError, "no sockets");
    await(loop_create_connection(asyncio_get_running_loop(), &door_protocol, None, NULL, None, .sock = ends[0]));
    await(say(ends[1], "sesame\nhello\n"));
    await(say(ends[1], "again\n"));
    transport_close(door);
    return None;
}

int main(void) { asyncio_run(main_()); }
