/* Exercise 29, solved. The reader takes itself away before it completes the future: until then select() would report the descriptor in every round.
 */
#include "asyncio.h"
#include <sys/socket.h>
#include <unistd.h>

static void complete(Value both)
{
    loop_remove_reader(asyncio_get_running_loop(), (int)as_int(list_get(both, 1)));
    future_set_result(as_future(list_get(both, 0)), None);
}

async_def(readable, (int) fd)
{
    Loop *loop = asyncio_get_running_loop();
    Future *future = loop_create_future(loop);
    loop_add_reader(loop, fd, complete, .arg = tuple(future, fd));
    return await(future);
}

async_def(receive, (int) fd)
{
    char data[100];
    ssize_t size;
    int in_vain = 0;
    await(readable(fd));
    while ((size = read(fd, data, sizeof data)) < 0) {
        in_vain++;
        await(readable(fd));
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
