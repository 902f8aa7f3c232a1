/* Lesson 29: what is at the bottom of all waiting for the world? A descriptor, select(), a callback. */
#include "asyncio.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static Loop *loop;
static int ends[2];
static int64_t calls;

static void on_readable(Value done)
{
    char byte;
    if (read(ends[0], &byte, 1) != 1) throw(OSError, "nothing there");
    print(format("  on_readable: '%c'", byte));
    if (byte == 'c') event_set(as_event(done));
}

static void on_writable(Value done)
{
    print("  on_writable: there is room");
    if (++calls < 3) return;
    print("  removed:", loop_remove_writer(loop, ends[1]), loop_remove_writer(loop, ends[1]));
    event_set(as_event(done));
}

async_def(callbacks)
{
    Event *done = asyncio_Event();
    loop_add_reader(loop, ends[0], on_readable, .arg = V(done));
    print("  nothing has been written: nobody is called");
    if (write(ends[1], "abc", 3) != 3) throw(OSError, "no room");
    print("  three bytes are in the pipe");
    await(event_wait(done));
    loop_remove_reader(loop, ends[0]);

    event_clear(done);
    loop_add_writer(loop, ends[1], on_writable, .arg = V(done));
    await(event_wait(done));
    return None;
}

/* With a Future between the callback and the task it is an await. This is all that sock_recv() is. */

static void complete(Value future)
{
    loop_remove_reader(loop, ends[0]);
    future_set_result(as_future(future), "readable");
}

async_def(readable)
{
    Future *future = loop_create_future(loop);
    loop_add_reader(loop, ends[0], complete, .arg = V(future));
    return await(future);
}

async_def(write_later)
{
    await(asyncio_sleep(0.1));
    print("  write_later() writes");
    if (write(ends[1], "!", 1) != 1) throw(OSError, "no room");
    return None;
}

async_def(both) { return await(asyncio_gather(readable(), write_later())); }

/* A server and a client of sockets alone. */

async_def(server, (int) listening)
{
    Value connection = await(loop_sock_accept(loop, listening)), question;
    int fd = (int)as_int(list_get(connection, 0));
    while (len(question = await(loop_sock_recv(loop, fd, 100)))) {
        print("    server: received", question);
        await(loop_sock_sendall(loop, fd, question));
    }
    print("    server: the other end has closed");
    close(fd);
    return None;
}

async_def(client, (int64_t) port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    await(loop_sock_connect(loop, fd, tuple("127.0.0.1", port)));
    await(loop_sock_sendall(loop, fd, bytes("hello", 5)));
    print("  client: received", await(loop_sock_recv(loop, fd, 100)));
    await(loop_sock_sendall(loop, fd, bytes("again", 5)));
    print("  client: received", await(loop_sock_recv(loop, fd, 100)));
    close(fd);
    return None;
}

static int listen_anywhere(int64_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1) < 0) throw(OSError, "cannot listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return fd;
}

async_def(sockets)
{
    int64_t port;
    int listening = listen_anywhere(&port);
    await(asyncio_gather(server(listening), client(port)));
    close(listening);
    return V("all closed");
}

/* A datagram has no connection, so each one has an address. A name or a literal becomes one by getaddrinfo(). */

async_def(datagrams)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    if (bind(fd, (struct sockaddr *)&own, size) < 0) throw(OSError, "no address");
    getsockname(fd, (struct sockaddr *)&own, &size);
    Value found = await(loop_getaddrinfo(loop, "127.0.0.1", ntohs(own.sin_port), .type = SOCK_DGRAM));
    Value address = list_get(list_get(found, 0), 4);
    print("  sent:", await(loop_sock_sendto(loop, fd, bytes("to myself", 9), address)), "bytes");
    Value data, from;
    unpack(await(loop_sock_recvfrom(loop, fd, 100)), &data, &from);
    bool same = value_equal(from, address);
    print("  received", data, "from where it went:", same);
    close(fd);
    return None;
}

int main(void)
{
    loop = asyncio_new_event_loop();
    if (pipe(ends) < 0) throw(OSError, "no pipe");
    print("a callback for a descriptor");
    loop_run_until_complete(loop, callbacks());
    print("a future for a descriptor");
    print(" ", loop_run_until_complete(loop, both()));
    print("sockets");
    print(" ", loop_run_until_complete(loop, sockets()));
    print("datagrams");
    loop_run_until_complete(loop, datagrams());
    loop_close(loop);
}
