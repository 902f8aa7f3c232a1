/* Exercise 26: messages of known length.
 *
 * On this connection a message is one digit, its length, and then so many bytes: "5hello". The protocol takes whatever data_received() brings
 * for one message, and that is wrong in both directions. It prints
 *
 *     message '5hello5wor'
 *     message 'ld2ok'
 *     2 messages
 *
 * Wanted:
 *
 *     message 'hello'
 *     message 'world'
 *     message 'ok'
 *     3 messages
 *
 * Keep what has come in Inbox.bytes; take complete messages from its beginning, as many as there are; leave the rest for the next call.
 */
#include "asyncio.h"
#include <string.h>
#include <sys/socket.h>

typedef struct Inbox { Transport *transport; char bytes[100]; size_t size; int messages; } Inbox;

static void made(Value self, Transport *transport) { ((Inbox *)as_pointer(self))->transport = transport; }

static void message(Inbox *inbox, const char *text, size_t size)
{
    inbox->messages++;
    print("message", repr(format("%.*s", (int)size, text)));
    transport_write(inbox->transport, ".", 1);          /* "got it" */
}

static void received(Value self, const char *data, size_t size)
{
    Inbox *inbox = as_pointer(self);
    message(inbox, data, size);                         /* >>> a message? */
}

static const Protocol inbox_protocol = {.connection_made = made, .data_received = received};

async_def(main_)
{
    Loop *loop = asyncio_get_running_loop();
    Inbox inbox = {0};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) throw(OSError, "no sockets");
    await(loop_create_connection(loop, &inbox_protocol, (void *)&inbox, NULL, None, .sock = ends[0]));

    await(loop_sock_sendall(loop, ends[1], bytes("5hello5wor", 10)));
    await(loop_sock_recv(loop, ends[1], 1));            /* the second half is sent when the first has been seen */
    await(loop_sock_sendall(loop, ends[1], bytes("ld2ok", 5)));
    await(loop_sock_recv(loop, ends[1], 1));
    print(inbox.messages, "messages");
    transport_close(inbox.transport);
    return None;
}

int main(void) { asyncio_run(main_()); }
