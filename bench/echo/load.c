/* Asks echo servers, all in the same way.
 *
 *     load PORT PID ACTIVE IDLE SECONDS
 *
 * Opens ACTIVE + IDLE connections to 127.0.0.1:PORT. Each of them is used once, so that the server knows it. Then each active one sends
 * 64 bytes, waits for all of them to come back, and sends again, for so long after a warm-up. Printed: requests per second, the latency
 * of the median and of the slowest hundredth in microseconds, and the microseconds of processor time that process PID, the server, used
 * for a request.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 300 * 1000 * 1000 /* ns */, SIZE = 64, BATCH = 100, EVENTS = 256, STEPS = 32, BUCKETS = 64 * STEPS };

typedef struct Connection {
    int fd, missing;
    uint64_t sent;
} Connection;

static const char message[SIZE] = "a line of sixty-four bytes, as one that is sent and comes back\n";
static uint64_t latencies[BUCKETS], answers;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Latencies are counted in buckets: 32 for each doubling, so that one is known to 3 percent. */

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS) return (unsigned)ns;
    unsigned doublings = 63 - (unsigned)__builtin_clzll(ns) - 5;
    return (doublings + 1) * STEPS + (unsigned)(ns >> doublings) - STEPS;
}

static double bucket_ns(unsigned bucket)
{
    if (bucket < STEPS) return bucket;
    return (double)((uint64_t)(bucket % STEPS + STEPS) << (bucket / STEPS - 1));
}

static double latency_us(double part)
{
    uint64_t wanted = (uint64_t)((double)answers * part), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        if ((seen += latencies[i]) > wanted) return bucket_ns(i) / 1000;
    return 0;
}

/* Connections. */

static Connection open_connection(const struct sockaddr_in *server)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (const struct sockaddr *)server, sizeof *server) < 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return (Connection){.fd = fd};
}

static void ask(Connection *connection)
{
    connection->missing = SIZE;
    if (send(connection->fd, message, SIZE, MSG_NOSIGNAL) != SIZE) fail("send");
}

/* True if the answer is complete. */
static bool listen_to(Connection *connection)
{
    char answer[SIZE];
    ssize_t n = recv(connection->fd, answer, (size_t)connection->missing, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) fail("the server has closed a connection");
    connection->missing -= (int)n;
    return !connection->missing;
}

static void open_all(Connection *connections, int count, const struct sockaddr_in *server)
{
    for (int first = 0; first < count; first += BATCH) {
        int end = first + BATCH < count ? first + BATCH : count;
        for (int i = first; i < end; i++) connections[i] = open_connection(server);
        for (int i = first; i < end; i++) ask(&connections[i]);
        for (int i = first; i < end; i++)
            while (!listen_to(&connections[i])) {}
    }
}

/* The measurement. */

static void answered(Connection *connection)
{
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    latencies[bucket_of(now - connection->sent)]++;
    answers++;
    connection->sent = now;
    ask(connection);
}

static uint64_t ask_for(int poll, uint64_t ns)
{
    struct epoll_event events[EVENTS];
    uint64_t began = clock_ns(CLOCK_MONOTONIC), now;
    answers = 0;
    memset(latencies, 0, sizeof latencies);
    while ((now = clock_ns(CLOCK_MONOTONIC)) - began < ns) {
        int count = epoll_wait(poll, events, EVENTS, 1000);
        if (count == 0) fail("no answer for a second");
        for (int i = 0; i < count; i++)
            if (listen_to(events[i].data.ptr)) answered(events[i].data.ptr);
    }
    return now - began;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s PORT PID ACTIVE IDLE SECONDS\n", argv[0]);
        return 2;
    }
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    clockid_t processor;
    if (clock_getcpuclockid(atoi(argv[2]), &processor)) fail("no such process");
    int active = atoi(argv[3]), count = active + atoi(argv[4]), poll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t wanted = (uint64_t)(atof(argv[5]) * 1e9);
    Connection *connections = calloc((size_t)count, sizeof *connections);
    if (!connections || poll < 0) fail("epoll");
    open_all(connections, count, &server);
    for (int i = 0; i < active; i++) {
        Connection *each = &connections[(long)i * count / active]; /* spread over the numbers */
        epoll_ctl(poll, EPOLL_CTL_ADD, each->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = each});
        each->sent = clock_ns(CLOCK_MONOTONIC);
        ask(each);
    }
    ask_for(poll, WARM_UP);
    uint64_t used = clock_ns(processor), took = ask_for(poll, wanted);
    used = clock_ns(processor) - used;
    if (!answers) fail("no answers");
    for (int i = 0; i < count; i++) /* an end in order, which no server has to report */
        while (connections[i].missing && !listen_to(&connections[i])) {}
    printf("%.0f %.1f %.1f %.3f\n", (double)answers / (double)took * 1e9, latency_us(0.5), latency_us(0.99), (double)used / (double)answers / 1000);
}
