/* Exercise 26, solved. Every protocol over a stream has a loop like this one at its bottom; StreamReader is nothing else.
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

/* The length of the complete message at the beginning, its digit included; 0 if there is none. */
static size_t first_complete(const Inbox *inbox)
{
    size_t length = inbox->size ? 1 + (size_t)(inbox->bytes[0] - '0') : 0;
    return length <= inbox->size ? length : 0;
}

static void received(Value self, const char *data, size_t size)
{
    Inbox *inbox = as_pointer(self);
    if (inbox->size + size > sizeof inbox->bytes) throw(ValueError, "too much without a message in it");
    memcpy(inbox->bytes + inbox->size, data, size);
    inbox->size += size;
    for (size_t length; (length = first_complete(inbox)); ) {
        message(inbox, inbox->bytes + 1, length - 1);
        inbox->size -= length;
        memmove(inbox->bytes, inbox->bytes + length, inbox->size);
    }
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
