/* The socket functions of the loop, over socket pairs and loopback. */
#include "testing.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];
static void make_pair(int type) { ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0); }
static void close_pair(void) { close(pair[0]); close(pair[1]); }

IO_TEST(sock_recv_waits_for_data)
{
    Loop *loop = asyncio_get_running_loop();
    make_pair(SOCK_STREAM);
    Task *reader = asyncio_create_task(loop_sock_recv(loop, pair[0], 100));
    await(asyncio_sleep(0));
    ck_assert(!task_done(reader));
    await(loop_sock_sendall(loop, pair[1], bytes("hello", 5)));
    ck_repr(await(reader), "b'hello'");
    close(pair[1]);
    ck_repr(await(loop_sock_recv(loop, pair[0], 100)), "b''");
    close(pair[0]);
    return None;
}

IO_TEST(sock_recv_into_fills_the_callers_buffer)
{
    char buffer[4] = "";
    make_pair(SOCK_STREAM);
    ck_assert_int_eq(write(pair[1], "abcdef", 6), 6);
    ck_repr(await(loop_sock_recv_into(asyncio_get_running_loop(), pair[0], buffer, 3)), "3");
    ck_assert_str_eq(buffer, "abc");
    close_pair();
    return None;
}

IO_TEST(a_cancelled_recv_leaves_the_data_for_the_next)
{
    Loop *loop = asyncio_get_running_loop();
    make_pair(SOCK_STREAM);
    ck_raises(TimeoutError, await(asyncio_wait_for(loop_sock_recv(loop, pair[0], 10), 0.001)));
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    ck_repr(await(loop_sock_recv(loop, pair[0], 10)), "b'x'");
    close_pair();
    return None;
}

async_def(collect, (int) fd, (int) wanted)
{
    int got = 0;
    while (got < wanted) scope { got += len(await(loop_sock_recv(asyncio_get_running_loop(), fd, 65536))); }
    return V(got);
}

IO_TEST(sock_sendall_sends_more_than_the_system_buffers)
{
    static char big[3000000];
    make_pair(SOCK_STREAM);
    Task *reader = asyncio_create_task(collect(pair[0], sizeof big));
    await(loop_sock_sendall(asyncio_get_running_loop(), pair[1], bytes(big, sizeof big)));
    ck_repr(await(reader), "3000000");
    close_pair();
    return None;
}

static int listener(Value *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof in;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&in, &length);
    *address = tuple("127.0.0.1", ntohs(in.sin_port));
    return fd;
}

IO_TEST(sock_connect_and_sock_accept_meet)
{
    Loop *loop = asyncio_get_running_loop();
    Value address;
    int server = listener(&address), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Value both = await(asyncio_gather(loop_sock_accept(loop, server), loop_sock_connect(loop, client, address)));
    int accepted = (int)as_int(list_get(list_get(both, 0), 0));
    await(loop_sock_sendall(loop, client, bytes("hi", 2)));
    ck_repr(await(loop_sock_recv(loop, accepted, 10)), "b'hi'");
    close(server); close(client); close(accepted);
    return None;
}

IO_TEST(sock_connect_looks_names_up)
{
    Loop *loop = asyncio_get_running_loop();
    Value address;
    int server = listener(&address), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    await(loop_sock_connect(loop, client, tuple("localhost", list_get(address, 1))));
    close(server); close(client);
    return None;
}

IO_TEST(a_refused_connection_says_to_where)
{
    Loop *loop = asyncio_get_running_loop();
    Value address;
    close(listener(&address));
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Value wanted = format("[Errno 111] Connect call failed %s", as_str(repr(address)));
    ck_raises_text(ConnectionRefusedError, as_str(wanted), await(loop_sock_connect(loop, client, address)));
    close(client);
    return None;
}

IO_TEST(a_connection_that_fails_at_once)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory",
                   await(loop_sock_connect(asyncio_get_running_loop(), client, V("/nonexistent/socket"))));
    close(client);
    return None;
}

IO_TEST(datagrams_have_addresses)
{
    Loop *loop = asyncio_get_running_loop();
    int fds[2];
    struct sockaddr_in in[2];
    for (int i = 0; i < 2; i++) {
        socklen_t length = sizeof in[i];
        in[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(fds[i], (struct sockaddr *)&in[i], length), 0);
        getsockname(fds[i], (struct sockaddr *)&in[i], &length);
    }
    ck_repr(await(loop_sock_sendto(loop, fds[0], bytes("ping", 4), tuple("127.0.0.1", ntohs(in[1].sin_port)))), "4");
    Value got = await(loop_sock_recvfrom(loop, fds[1], 100));
    ck_repr(list_get(got, 0), "b'ping'");
    ck_repr(list_get(got, 1), as_str(repr(tuple("127.0.0.1", ntohs(in[0].sin_port)))));
    close(fds[0]); close(fds[1]);
    return None;
}

IO_TEST(sendfile_sends_a_part_of_a_file)
{
    Loop *loop = asyncio_get_running_loop();
    FILE *file = tmpfile();
    fputs("0123456789", file);
    fflush(file);
    make_pair(SOCK_STREAM);
    ck_repr(await(loop_sock_sendfile(loop, pair[1], fileno(file), .offset = 2, .count = 5)), "5");
    ck_repr(await(loop_sock_recv(loop, pair[0], 100)), "b'23456'");
    ck_repr(await(loop_sock_sendfile(loop, pair[1], fileno(file))), "10");
    ck_raises(ValueError, await(loop_sock_sendfile(loop, pair[1], fileno(file), .offset = -1)));
    fclose(file);
    close_pair();
    return None;
}

IO_TEST(literal_addresses_need_no_lookup)
{
    Loop *loop = asyncio_get_running_loop();
    ck_repr(await(loop_getaddrinfo(loop, "127.0.0.1", 80, .type = SOCK_STREAM)), "[(2, 1, 6, '', ('127.0.0.1', 80))]");
    ck_repr(await(loop_getaddrinfo(loop, "::1", 80, .type = SOCK_STREAM)), "[(10, 1, 6, '', ('::1', 80, 0, 0))]");
    ck_repr(await(loop_getnameinfo(loop, tuple("127.0.0.1", 80), 1 | 2)), "('127.0.0.1', '80')");
    ck_raises(GaiError, await(loop_getaddrinfo(loop, "no.such.host.invalid", 80)));
    return None;
}

IO_TEST(sending_nothing_is_a_call_of_the_system_too)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_raises(BrokenPipeError, await(loop_sock_sendall(asyncio_get_running_loop(), fd, bytes("", 0))));
    close(fd);
    return None;
}

IO_TEST(a_bad_descriptor_is_an_error)
{
    ck_raises(OSError, await(loop_sock_recv(asyncio_get_running_loop(), 9999, 10)));
    return None;
}

/* Not the one that is left of it in 16 bits. A numeric host is checked as it is used, as in CPython. */
IO_TEST(a_port_is_at_most_65535)
{
    Loop *loop = asyncio_get_running_loop();
    static const Protocol nothing;
    int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for_in (port, list(65536, -1)) {
        Value address = tuple("127.0.0.1", port);
        ck_raises_text(OverflowError, "connect(): port must be 0-65535.", await(loop_sock_connect(loop, stream, address)));
        ck_raises_text(OverflowError, "connect(): port must be 0-65535.", await(asyncio_open_connection("127.0.0.1", str(port))));
        ck_raises_text(OverflowError, "sendto(): port must be 0-65535.", await(loop_sock_sendto(loop, datagram, bytes("x", 1), address)));
        ck_raises_text(OverflowError, "bind(): port must be 0-65535.", await(loop_create_server(loop, &nothing, None, "::1", port)));
        ck_raises_text(OverflowError, "bind(): port must be 0-65535.",
                       await(loop_create_datagram_endpoint(loop, &nothing, None, .local_addr = address)));
    }
    ck_raises_text(OverflowError, "getnameinfo(): flowinfo must be 0-1048575.", await(loop_getnameinfo(loop, tuple("::1", 80, 1 << 20), 0)));
    close(stream); close(datagram);
    return None;
}

/* And not a SIGPIPE, which would end this process: sendfile() has no flag against it. The file stays where it was, though its
 * beginning has been read. */
IO_TEST(sendfile_to_who_has_gone_is_an_error)
{
    FILE *file = tmpfile();
    fputs("some text", file);
    fflush(file);
    make_pair(SOCK_STREAM);
    close(pair[1]);
    ck_raises(OSError, await(loop_sock_sendfile(asyncio_get_running_loop(), pair[0], fileno(file))));
    ck_assert_int_eq(lseek(fileno(file), 0, SEEK_CUR), 0);
    close(pair[0]);
    fclose(file);
    return None;
}

static int gate[2];
static Value waits_at_gate(Value v) { char byte; ssize_t n = read(gate[0], &byte, 1); (void)n; return v; }

/* Its question goes with it. */
IO_TEST(a_lookup_may_be_cancelled_before_a_thread_has_begun_with_it)
{
    ck_assert_int_eq(pipe(gate), 0);
    Loop *loop = asyncio_get_running_loop();
    loop_set_default_executor(loop, asyncio_ThreadPoolExecutor(1));
    Future *first = loop_run_in_executor(loop, NULL, waits_at_gate, V(1));
    Task *lookup = asyncio_create_task(loop_getaddrinfo(loop, "localhost", 80));
    await(asyncio_sleep(0));
    task_cancel(lookup);
    ck_raises(CancelledError, await(lookup));
    await(asyncio_sleep(0));
    ck_assert_int_eq(write(gate[1], "!", 1), 1);
    ck_repr(await(first), "1");
    close(gate[0]);
    close(gate[1]);
    return None;
}
