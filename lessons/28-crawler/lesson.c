/* Lesson 28: fetch a page and all it links to, two at a time, and never wait for ever. */
#include "asyncio.h"
#include <string.h>

/* ---- a tiny web server ---- */

static const char *const pages[][2] = {
    {"/", "<a href=\"/cats\"> <a href=\"/dogs\"> <a href=\"/slow\">"},
    {"/cats", "<a href=\"/\"> <a href=\"/cats/tom\"> <a href=\"/gone\">"},
    {"/dogs", "<a href=\"/cats\"> <a href=\"/dogs/rex\">"},
    {"/cats/tom", "meow"},
    {"/dogs/rex", "<a href=\"/dogs\">"},
};

static const char *page_at(const char *path)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (!strcmp(pages[i][0], path)) return pages[i][1];
    return NULL;
}

static int busy, most_busy;

static Value answer_to(const char *path)
{
    const char *body = page_at(path);
    if (!body) return V("HTTP/1.0 404 Not Found\r\n\r\n");
    return format("HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    char path[100] = "";
    busy++;
    if (busy > most_busy) most_busy = busy;
    Value request = await(streamreader_readuntil(reader, bytes("\r\n\r\n", 4)));
    sscanf(as_bytes(request, NULL), "GET %99s ", path);
    if (!strcmp(path, "/slow")) await(streamreader_read(reader));  /* no answer, until the client gives up */
    else streamwriter_write(writer, answer_to(path));
    busy--;
    streamwriter_close(writer);
    return None;
}

/* ---- the crawler ---- */

static int port;
static Value found;  /* a list of (path, what came of it) */
static Value seen;

async_def(ask, (const char *) path, (StreamReader *) reader, (StreamWriter *) writer)
{
    streamwriter_write(writer, format("GET %s HTTP/1.0\r\n\r\n", path));
    return await(streamreader_read(reader));
}

async_def(fetch, (const char *) path)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    Value response = None;
    try {
        response = await(asyncio_wait_for(ask(path, as_streamreader(list_get(both, 0)), writer), 2));
    } finally {
        streamwriter_close(writer);
        await(streamwriter_wait_closed(writer));
    } end_try
    return response;
}

static void enqueue_links(const char *text, Queue *todo)
{
    for (const char *at = text; (at = strstr(at, "href=\"")); ) {
        at += strlen("href=\"");
        Value link = format("%.*s", (int)strcspn(at, "\""), at);
        if (list_contains(seen, link)) continue;
        list_append(seen, link);
        queue_put_nowait(todo, link);
    }
}

static Value status_of(const char *response)
{
    return format("%.*s", (int)strcspn(response + 9, "\r"), response + 9);
}

async_def(visit, (Value) path, (Queue *) todo)
{
    try {
        Value response = await(fetch(as_str(path)));
        list_append(found, tuple(path, status_of(as_bytes(response, NULL))));
        enqueue_links(as_bytes(response, NULL), todo);
    } except (TimeoutError) {
        list_append(found, tuple(path, "no answer"));
    } end_try
    return None;
}

async_def(worker, (Queue *) todo, (Semaphore *) slots)
{
    forever {
        Value path = await(queue_get(todo));
        async_with (slots) {
            await(visit(path, todo));
        } end_with
        queue_task_done(todo);
    }
    return None;
}

async_def(crawl, (const char *) start)
{
    Queue *todo = asyncio_Queue();
    Semaphore *slots = asyncio_Semaphore(.value = 2);
    Value workers = list();
    list_append(seen, start);
    queue_put_nowait(todo, start);
    for (int i = 1; i <= 3; i++)
        list_append(workers, asyncio_create_task(worker(todo, slots), .name = as_str(format("worker-%d", i))));
    await(queue_join(todo));
    for_in (each, workers) task_cancel(as_task(each));
    Value ends = await(asyncio_gather_list(workers, .return_exceptions = true));
    print("the workers:", ends);
    return None;
}

async_def(main_)
{
    found = list();  /* made here and not in crawl(): what a coroutine makes lives until it returns */
    seen = list();
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0)));
    port = (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    async_with (server) {
        await(crawl("/"));
    } end_with
    list_sort(found);
    for_in (each, found) print(" ", list_get(each, 0), "-", list_get(each, 1));
    print(len(found), "pages; never more than two at a time:", (bool)(most_busy <= 2));
    return None;
}

int main(void) { asyncio_run(main_()); }
