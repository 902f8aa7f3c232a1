/* The echo server on libuv. Prints its port. What can be written at once is, without an allocation: libuv at its fastest. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static char memory[65536];

static void lend(uv_handle_t *client, size_t hint, uv_buf_t *buffer)
{
    (void)client, (void)hint;
    *buffer = uv_buf_init(memory, sizeof memory);
}

static void closed(uv_handle_t *client) { free(client); }

static void written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

/* What the system does not take now is copied, and libuv writes it later. */
static void write_later(uv_stream_t *client, const char *data, size_t size)
{
    uv_write_t *request = malloc(sizeof *request + size);
    if (!request) abort();
    uv_buf_t rest = uv_buf_init(memcpy(request + 1, data, size), (unsigned)size);
    uv_write(request, client, &rest, 1, written);
}

static void received(uv_stream_t *client, ssize_t n, const uv_buf_t *buffer)
{
    if (n < 0) {
        uv_close((uv_handle_t *)client, closed);
        return;
    }
    uv_buf_t data = uv_buf_init(buffer->base, (unsigned)n);
    int sent = uv_try_write(client, &data, 1);
    if (sent < n) write_later(client, buffer->base + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
}

static void connected(uv_stream_t *server, int status)
{
    uv_tcp_t *client = malloc(sizeof *client);
    if (status < 0 || !client) abort();
    uv_tcp_init(server->loop, client);
    if (uv_accept(server, (uv_stream_t *)client)) {
        uv_close((uv_handle_t *)client, closed);
        return;
    }
    uv_tcp_nodelay(client, 1);
    uv_read_start((uv_stream_t *)client, lend, received);
}

int main(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    struct sockaddr_in address;
    int size = sizeof address;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &server);
    uv_tcp_bind(&server, (struct sockaddr *)&address, 0);
    if (uv_listen((uv_stream_t *)&server, 4096, connected)) return 1;
    uv_tcp_getsockname(&server, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
