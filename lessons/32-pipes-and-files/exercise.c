/* Exercise 32: commands that come through a pipe.
 *
 * Another program writes commands into a pipe, one per line; it takes its time between them. commands() reads them with fgets(), which blocks until there is a line.
 * Meanwhile the clock, a task of this program, stands still:
 *
 *     command: start
 *     command: stop
 *     the clock has ticked meanwhile: False
 *
 * Wanted: the clock goes on:
 *
 *     command: start
 *     command: stop
 *     the clock has ticked meanwhile: True
 *
 * A pipe is something that the loop can watch. Feed a StreamReader from it as in the lesson, and read lines from that; without_newline() makes the bytes of a line a text.
 * The transport closes the descriptor when it is done: give it a copy, dup(fileno(pipe)), because pclose() will want its own.
 */
#include "asyncio.h"
#include <string.h>
#include <unistd.h>

static int64_t ticks;

async_def(clock_)
{
    forever {
        await(asyncio_sleep(0.05));
        ticks++;
    }
    return None;
}

__attribute__((unused)) static Value without_newline(Value line)
{
    size_t size;
    const char *text = as_bytes(line, &size);
    return format("%.*s", (int)size - 1, text);
}

async_def(commands, (void *) pipe)
{
    char line[100];
    while (fgets(line, sizeof line, pipe)) {            /* >>> blocks the loop */
        print(format("command: %.*s", (int)strcspn(line, "\n"), line));
        await(asyncio_sleep(0));
    }
    return None;
}

async_def(main_)
{
    FILE *pipe = popen("echo start; sleep 0.4; echo stop", "r");
    Task *clock = asyncio_create_task(clock_());
    await(commands(pipe));
    print("the clock has ticked meanwhile:", (bool)(ticks > 0));
    task_cancel(clock);
    pclose(pipe);
    return None;
}

int main(void) { asyncio_run(main_()); }
