/* Exercise 22: the guard who blocks everybody.
 *
 * guard_the_door() is an ordinary blocking function: it waits for the bell, at most two seconds, and does so twice. main_() calls it
 * directly. So nobody can ring while the guard listens: the loop stands still. It prints, after four seconds,
 *
 *     visitor 1 rings
 *     the bell was heard: False
 *     visitor 2 rings
 *     the bell was heard: False
 *     the guard is done
 *
 * Wanted, at once:
 *
 *     visitor 1 rings
 *     the bell was heard: True
 *     visitor 2 rings
 *     the bell was heard: True
 *     the guard is done
 *
 * Two changes. Let the guard run in a thread beside the visitors (asyncio_create_task takes what asyncio_to_thread returns). And
 * think about the line with queue_put_nowait: a queue belongs to the loop's thread. What may a thread call instead?
 */
#include "asyncio.h"
#include <poll.h>
#include <unistd.h>

static int bell[2];
static Queue *news;

static Value guard_the_door(Value fd)
{
    char byte;
    for (int i = 0; i < 2; i++) {
        struct pollfd listening = {.fd = (int)as_int(fd), .events = POLLIN};
        bool rang = poll(&listening, 1, 2000) > 0 && read(listening.fd, &byte, 1) == 1;
        queue_put_nowait(news, rang);                   /* >>> from a thread? */
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
    news = asyncio_Queue();
    if (pipe(bell) < 0) throw(OSError, "no bell");
    Value done = guard_the_door(V(bell[0]));            /* >>> blocks the loop */
    for (int i = 1; i <= 2; i++) await(visitor(i));
    print(done);
    return None;
}

int main(void) { asyncio_run(main_()); }
