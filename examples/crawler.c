/* A small web crawler: ./crawler HOST PORT PATH fetches the page and every page of the same server that it links to,
 * five at a time.
 *
 * The worker pool of lesson 10: a queue of what is to be fetched, workers that take from it and put into it what they
 * find, join() when all is done, cancel() for the workers. */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>

static const char *host;
static int port;
static Value seen;

static Value fetch(const char *path)
{
    Value both = await(asyncio_open_connection(host, port));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    Value page = None;
    try {
        streamwriter_write(writer, format("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host));
        await(streamwriter_drain(writer));
        page = await(asyncio_wait_for(streamreader_read(reader), 10));
    } finally {
        streamwriter_close(writer);
    } end_try
    return page;
}

static void enqueue_links(const char *page, Queue *todo)
{
    for (const char *at = page; (at = strstr(at, "href=\"/")); ) {
        at += strlen("href=\"");
        Value link = format("%.*s", (int)strcspn(at, "\"#?"), at);
        if (list_contains(seen, link)) continue;
        list_append(seen, link);
        queue_put_nowait(todo, link);
    }
}

async_def(worker, (Queue *) todo)
{
    forever {
        Value path = await(queue_get(todo));
        try {
            Value page = fetch(as_str(path));
            const char *text = as_bytes(page, NULL);
            print(format("%-30s %.*s, %d bytes", as_str(path), (int)strcspn(text, "\r\n"), text, len(page)));
            enqueue_links(text, todo);
        } except_any (e, OSError, TimeoutError) {
            print(path, "failed:", repr(e));
        } finally {
            queue_task_done(todo);
        } end_try
    }
    return None;
}

async_def(main_, (const char *) path)
{
    Queue *todo = asyncio_Queue();
    Value workers = list();
    seen = list(path);
    queue_put_nowait(todo, path);
    for (int i = 0; i < 5; i++) list_append(workers, asyncio_create_task(worker(todo)));
    await(queue_join(todo));
    for_in (each, workers) task_cancel(as_task(each));
    await(asyncio_gather_list(workers, .return_exceptions = true));
    print(len(seen), "pages");
    return None;
}

int main(int argc, char **argv)
{
    if (argc < 4) { fprintf(stderr, "usage: %s HOST PORT PATH\n", argv[0]); return 2; }
    host = argv[1];
    port = atoi(argv[2]);
    asyncio_run(main_(argv[3]));
}
