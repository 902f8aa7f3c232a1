/* Exercise 29: stop asking.
 *
 * receive() asks the descriptor every tenth of a second whether something has come. Most of the time nothing has, and what comes waits for the next
 * look. The program prints
 *
 *     b'first' after 5 looks in vain
 *     b'second' after 5 looks in vain
 *
 * Wanted: the loop is told to watch the descriptor, and receive() goes on when there is something, at once:
 *
 *     b'first' after 0 looks in vain
 *     b'second' after 0 looks in vain
 *
 * Write readable(fd) as in the lesson: a Future, and a reader that completes it. The reader's callback gets one Value; tuple(future, fd) is one.
 * Use it in place of the sleep, and before the first look. (loop_sock_recv(loop, fd, 100) would do as well; do it once by hand.)
 */
#include "asyncio.h"
#include <sys/socket.h>
#include <unistd.h>

async_def(receive, (int) fd)
{
    char data[100];
    ssize_t size;
    int in_vain = 0;
    while ((size = read(fd, data, sizeof data)) < 0) {
        in_vain++;
        await(asyncio_sleep(0.1));                      /* >>> instead: until there is something to read */
    }
    print(bytes(data, (size_t)size), "after", in_vain, "looks in vain");
    return None;
}

async_def(send_later, (int) fd)
{
    await(asyncio_sleep(0.45));
    await(loop_sock_sendall(asyncio_get_running_loop(), fd, bytes("first", 5)));
    await(asyncio_sleep(0.5));
    await(loop_sock_sendall(asyncio_get_running_loop(), fd, bytes("second", 6)));
    return None;
}

async_def(main_)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) throw(OSError, "no sockets");
    Task *sender = asyncio_create_task(send_later(ends[1]));
    await(receive(ends[0]));
    await(receive(ends[0]));
    await(sender);
    return None;
}

int main(void) { asyncio_run(main_()); }
