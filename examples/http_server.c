/* A static web server, HTTP/1.1 with keep-alive: ./http_server [DIRECTORY [PORT]], then open http://127.0.0.1:8080/
 *
 * Reading a file may block, so it happens in a thread. A request must be there within 30 seconds, or the connection is closed. */
#define _GNU_SOURCE
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root = ".";

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"}, {".css", "text/css"}, {".js", "text/javascript"},
                                           {".txt", "text/plain; charset=utf-8"}, {".md", "text/plain; charset=utf-8"}, {".png", "image/png"},
                                           {".svg", "image/svg+xml"}, {".c", "text/plain; charset=utf-8"}, {".h", "text/plain; charset=utf-8"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++) if (!strcmp(dot, types[i][0])) return types[i][1];
    return "application/octet-stream";
}

/* In a thread: the whole file as bytes. */
static Value read_file(Value path)
{
    struct stat info;
    FILE *file = fopen(as_str(path), "rb");
    if (!file || fstat(fileno(file), &info) < 0 || !S_ISREG(info.st_mode)) {
        if (file) fclose(file);
        throw(FileNotFoundError, "%s", as_str(path));
    }
    char *data = malloc((size_t)info.st_size + 1);
    size_t size = data ? fread(data, 1, (size_t)info.st_size, file) : 0;
    fclose(file);
    Value content = bytes(data, size);
    free(data);
    return content;
}

static void respond(StreamWriter *writer, const char *status, const char *type, Value body, bool keep_alive, bool head)
{
    streamwriter_write(writer, format("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n", status, type, len(body),
                                      keep_alive ? "keep-alive" : "close"));
    if (!head) streamwriter_write(writer, body);
}

static Value text_body(const char *text) { return bytes(text, strlen(text)); }

/* The request line and the headers, up to the empty line. An empty str: the client has gone. */
static Value read_request(StreamReader *reader)
{
    Value result = V("");
    try {
        Value head = await(asyncio_wait_for(streamreader_readuntil(reader, "\r\n\r\n"), 30));
        result = V(as_bytes(head, NULL));
    } except_any (e, IncompleteReadError, TimeoutError, ConnectionError, LimitOverrunError) {
        result = V("");
    } end_try
    return result;
}

static bool answer(const char *request, StreamWriter *writer)
{
    char method[8], path[512], version[16];
    if (sscanf(request, "%7s %511s %15s", method, path, version) != 3) {
        respond(writer, "400 Bad Request", "text/plain", text_body("what?\n"), false, false);
        return false;
    }
    bool keep_alive = !strcmp(version, "HTTP/1.1") ? !strcasestr(request, "\r\nConnection: close") : strcasestr(request, "\r\nConnection: keep-alive") != NULL;
    bool head = !strcmp(method, "HEAD");
    if (!head && strcmp(method, "GET")) { respond(writer, "405 Method Not Allowed", "text/plain", text_body("GET only\n"), false, false); return false; }
    path[strcspn(path, "?#")] = 0;
    if (strstr(path, "..")) { respond(writer, "403 Forbidden", "text/plain", text_body("no\n"), keep_alive, head); return keep_alive; }
    try {
        Value file = format("%s%s%s", root, path, path[strlen(path) - 1] == '/' ? "index.html" : "");
        respond(writer, "200 OK", type_of(as_str(file)), await(asyncio_to_thread(read_file, file)), keep_alive, head);
    } except (FileNotFoundError) {
        respond(writer, "404 Not Found", "text/plain", text_body("not found\n"), keep_alive, head);
    } end_try
    return keep_alive;
}

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    try {
        forever {
            Value request = read_request(reader);
            if (!len(request) || !answer(as_str(request), writer)) break;
            await(streamwriter_drain(writer));
        }
    } except (ConnectionError) {
        /* the client has gone before its answer was there */
    } end_try
    streamwriter_close(writer);
    return None;
}

async_def(main_, (int) port)
{
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", port, .backlog = 1024)));
    print("serving", root, "on", list_get(list_get(server_sockets(server), 0), 1));
    await(event_wait(asyncio_Event()));                  /* until Ctrl-C; serve_forever() would then wait for the last client to go */
    return None;
}

int main(int argc, char **argv)
{
    if (argc > 1) root = argv[1];
    asyncio_run(main_(argc > 2 ? atoi(argv[2]) : 8080));
}
