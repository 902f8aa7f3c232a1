/* Exercise 28, solved. The limit stands inside the semaphore: the time spent waiting for a free place is not the page's fault. /slow is cancelled
 * in the middle of fetch(), whose finally closes the connection; then the server's read() sees the end, and its task ends too.
 */
#include "asyncio.h"
#include <string.h>

static int busy, flaky_asked, port;
static Semaphore *places;

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
    volatile int attempts = 0;
    Value answer = V("");
    async_with (places) {
        try {
            while (len(answer) == 0 && attempts++ < 2) answer = await(asyncio_wait_for(fetch(path), 1));
        } except (TimeoutError) {
            answer = V("no answer");
        } end_try
    } end_with
    return format("%s %s", path, as_str(answer));
}

async_def(main_)
{
    places = asyncio_Semaphore(.value = 3);
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0)));
    port = (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    async_with (server) {
        Value answers = await(asyncio_gather(get("/a"), get("/b"), get("/c"), get("/d"), get("/flaky"), get("/slow")));
        for_in (answer, answers) print(answer);
    } end_with
    return None;
}

int main(void) { asyncio_run(main_()); }
