/* Exercise 28: be a good guest.
 *
 * The server takes at most three connections at a time; to a fourth it says 503. One of its pages, /flaky, hangs up without an answer at the first
 * attempt, and /slow takes three seconds. The client asks for all pages at once, and once. As it stands it prints something like this,
 * after three seconds:
 *
 *     /a 503
 *     /b 503
 *     /c 503
 *     /d 200
 *     /flaky
 *     /slow 200
 *
 * Wanted:
 *
 *     /a 200
 *     /b 200
 *     /c 200
 *     /d 200
 *     /flaky 200
 *     /slow no answer
 *
 * Three changes, all in get(): a semaphore so that at most three fetch at a time, a limit of one second for each attempt, and a
 * second attempt if the first one brought an empty answer.
 */
#include "asyncio.h"
#include <string.h>

static int busy, flaky_asked, port;

static Value answer_to(const char *path)
{
    if (busy > 3) return V("503");
    if (!strcmp(path, "/flaky") && ++flaky_asked == 1) return V("");
    return V("200");
}

static Task *hung_up(StreamReader *reader) { return asyncio_create_task(streamreader_read(reader)); }

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    char path[100] = "";
    busy++;
    Value line = await(streamreader_readline(reader));
    sscanf(as_bytes(line, NULL), "%99s", path);
    await(asyncio_sleep(0.05));                         /* it has to look the page up */
    if (!strcmp(path, "/slow")) await(asyncio_wait(list(hung_up(reader)), .timeout = 3));
    streamwriter_write(writer, answer_to(path));
    busy--;
    streamwriter_close(writer);
    return None;
}

async_def(fetch, (const char *) path)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    Value answer = None;
    try {
        streamwriter_write(writer, format("%s\n", path));
        answer = await(streamreader_read(as_streamreader(list_get(both, 0))));
    } finally {
        streamwriter_close(writer);
    } end_try
    return format("%.*s", len(answer), as_bytes(answer, NULL));
}

async_def(get, (const char *) path)
{
    Value answer = await(fetch(path));                  /* >>> how many at a time? for how long? how often? */
    return format("%s %s", path, as_str(answer));
}

async_def(main_)
{
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0)));
    port = (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    async_with (server) {
        Value answers = await(asyncio_gather(get("/a"), get("/b"), get("/c"), get("/d"), get("/flaky"), get("/slow")));
        for_in (answer, answers) print(answer);
    } end_with
    return None;
}

int main(void) { asyncio_run(main_()); }
