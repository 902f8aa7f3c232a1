/* Exercise 22, solved. The guard blocks a thread of his own. What he has to say he hands to the loop: heard() runs there, in its turn, and
 * only there the queue is touched.
 */
#include "asyncio.h"
#include <poll.h>
#include <unistd.h>

static int bell[2];
static Queue *news;
static Loop *loop;

static void heard(Value rang) { queue_put_nowait(news, rang); }

static Value guard_the_door(Value fd)
{
    char byte;
    for (int i = 0; i < 2; i++) {
        struct pollfd listening = {.fd = (int)as_int(fd), .events = POLLIN};
        bool rang = poll(&listening, 1, 2000) > 0 && read(listening.fd, &byte, 1) == 1;
        loop_call_soon_threadsafe(loop, heard, .arg = V(rang));
    }
    return V("the guard is done");
}

async_def(visitor, (int) number)
{
    print("visitor", number, "rings");
    if (write(bell[1], "!", 1) != 1) throw(OSError, "the bell is broken");
    print("the bell was heard:", await(queue_get(news)));
    return None;
}

async_def(main_)
{
    loop = asyncio_get_running_loop();
    news = asyncio_Queue();
    if (pipe(bell) < 0) throw(OSError, "no bell");
    Task *guard = asyncio_create_task(asyncio_to_thread(guard_the_door, .arg = V(bell[0])));
    for (int i = 1; i <= 2; i++) await(visitor(i));
    print(await(guard));
    return None;
}

int main(void) { asyncio_run(main_()); }
