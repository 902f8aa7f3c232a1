/* The limit: an echo server that is nothing but select(), recv() and send(). Its sets are larger than FD_SETSIZE. Prints its port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 65536, BITS = 8 * (int)sizeof(long), WORDS = MOST / BITS };

static unsigned long watched[WORDS], ready[WORDS];
static int listener, highest;

static void watch(int fd)
{
    watched[fd / BITS] |= 1UL << fd % BITS;
    if (fd > highest) highest = fd;
}

static void accept_one(void)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0 || fd >= MOST) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(fd);
}

static void echo(int fd)
{
    static char data[65536];
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n > 0 && send(fd, data, (size_t)n, MSG_NOSIGNAL) == n) return;
    watched[fd / BITS] &= ~(1UL << fd % BITS);
    close(fd);
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 4096) < 0) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(listener);
    for (;;) {
        memcpy(ready, watched, (highest / BITS + 1) * sizeof(long));
        if (select(highest + 1, (fd_set *)ready, NULL, NULL, NULL) < 0) return 1;
        for (int word = 0; word <= highest / BITS; word++)
            for (unsigned long bits = ready[word]; bits; bits &= bits - 1) {
                int fd = word * BITS + __builtin_ctzl(bits);
                if (fd == listener) accept_one();
                else echo(fd);
            }
    }
}
