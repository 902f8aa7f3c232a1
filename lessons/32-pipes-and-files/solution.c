/* Exercise 32, solved. The loop watches the pipe, data_received feeds the reader, and the reader has lines.
 */
#include "asyncio.h"
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

static Value without_newline(Value line)
{
    size_t size;
    const char *text = as_bytes(line, &size);
    return format("%.*s", (int)size - 1, text);
}

static void feed(Value reader, const char *data, size_t size) { streamreader_feed_data(as_streamreader(reader), data, size); }

static bool end(Value reader)
{
    streamreader_feed_eof(as_streamreader(reader));
    return false;
}

static const Protocol feeder = {.data_received = feed, .eof_received = end};

async_def(commands, (void *) pipe)
{
    StreamReader *reader = asyncio_StreamReader();
    await(loop_connect_read_pipe(asyncio_get_running_loop(), &feeder, V(reader), dup(fileno(pipe))));
    async_for (line, reader) print("command:", without_newline(line));
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
