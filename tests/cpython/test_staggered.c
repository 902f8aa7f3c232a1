/* CPython's test_staggered: attempts that begin one after the other, the first that succeeds ends the others. There it is a
 * function of its own; here it is what .happy_eyeballs_delay does with the addresses of one name. */
#include "cpython_resolver.h"

static const Protocol nothing = {.data_received = NULL};
enum { LONG = 3600 };                                    /* a delay that is never waited for */

/* A socket that has that port of 127.0.0.1 or 127.0.0.2, without waiting when it accepts; port 0: any. -1: somebody has it. */
static int bound_at(const char *address, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &in.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) == 0) return fd;
    close(fd);
    return -1;
}

/* The two addresses of a name. Both are held, so that no other program answers there; which of them listens, each test says. */
typedef struct Pair { int first, second; } Pair;

static Pair pair_begin(void)
{
    Pair pair;
    do pair.second = bound_at("127.0.0.2", 0);
    while ((pair.first = bound_at("127.0.0.1", port_of_fd(pair.second))) < 0 && close(pair.second) == 0);
    resolves("example.com", port_of_fd(pair.first), "127.0.0.1", "127.0.0.2");
    return pair;
}

static void pair_end(Pair pair)
{
    close(pair.first);
    close(pair.second);
}

static const char *peer_of_connection(double delay)
{
    Value both = await(loop_create_connection(asyncio_get_running_loop(), &nothing, None, "example.com", resolver.port,
                                              .happy_eyeballs_delay = delay));
    Transport *transport = (Transport *)list_get(both, 0).object;
    Value peer = transport_get_extra_info(transport, "peername");
    transport_abort(transport);
    await(asyncio_sleep(0));
    return as_str(list_get(peer, 0));
}

NET_TEST(StaggeredTests__test_empty)
{
    resolves("example.com", 80);
    ck_raises_text(OSError, "getaddrinfo() returned empty list", peer_of_connection(LONG));
    return None;
}

NET_TEST(StaggeredTests__test_one_successful)
{
    Pair pair = pair_begin();
    listen(pair.first, 5);
    listen(pair.second, 5);
    ck_assert_str_eq(peer_of_connection(LONG), "127.0.0.1");
    ck_assert_int_eq(accept(pair.second, NULL, NULL), -1);    /* the second was not tried */
    pair_end(pair);
    return None;
}

NET_TEST(StaggeredTests__test_first_error_second_successful)
{
    Pair pair = pair_begin();
    listen(pair.second, 5);
    ck_assert_str_eq(peer_of_connection(LONG), "127.0.0.2");
    pair_end(pair);
    return None;
}

/* The first listens, but its queue is full: it does not answer. */
NET_TEST(StaggeredTests__test_first_timeout_second_successful)
{
    Pair pair = pair_begin();
    listen(pair.first, 0);
    listen(pair.second, 5);
    int filler = connected_socket(resolver.port);
    ck_assert_str_eq(peer_of_connection(0.05), "127.0.0.2");
    close(filler);
    pair_end(pair);
    return None;
}

NET_TEST(StaggeredTests__test_none_successful)
{
    Pair pair = pair_begin();
    Value wanted = format("Multiple exceptions: [Errno 111] Connect call failed ('127.0.0.1', %d), [Errno 111] Connect call failed ('127.0.0.2', %d)",
                          resolver.port, resolver.port);
    ck_raises_text(OSError, as_str(wanted), peer_of_connection(0));
    pair_end(pair);
    return None;
}

/* Not CPython's: whenever that is after the second attempt has won, also while the first one, cancelled, comes to its end. */
NET_TEST(a_cancelled_race_leaves_no_socket)
{
    Loop *loop = asyncio_get_running_loop();
    Pair pair = pair_begin();
    listen(pair.first, 0);
    listen(pair.second, 100);
    int filler = connected_socket(resolver.port);
    for (int passes = 0; passes < 6; passes++) scope {
        Task *task = asyncio_create_task(loop_create_connection(loop, &nothing, None, "example.com", resolver.port, .happy_eyeballs_delay = 0));
        while (len(asyncio_all_tasks()) < 4) await(asyncio_sleep(0));
        while (len(asyncio_all_tasks()) == 4) await(asyncio_sleep(0));
        for (int i = 0; i < passes; i++) await(asyncio_sleep(0));
        task_cancel(task);
        try {
            transport_abort((Transport *)list_get(await(task), 0).object);
        } except (CancelledError) {
        } end_try
        for (int i = 0; i < 4; i++) await(asyncio_sleep(0));
    }
    close(filler);
    pair_end(pair);
    return None;
}
