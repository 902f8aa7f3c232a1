/* The system, answering as a test wants it to: where CPython's tests put a mock in place of a socket or of the module os.
 *
 *     system_answers(SEND, fd, 2, -EAGAIN);   the next send() on fd takes two bytes, the one after fails with EAGAIN
 *     system_calls(SEND)                      how many there were on that fd since then
 *
 * An answer n > 0 lets the call through with n bytes at most, 0 is returned as it is, -E is the error E. A call that has
 * no answer left goes to the system. The functions here stand before those of libc: the tests define them, and asyncio.c
 * is linked with the tests. Include it first, before any header of libc.
 */
#ifndef CPYTHON_SYSTEM_H
#define CPYTHON_SYSTEM_H
#define _GNU_SOURCE
#include <dlfcn.h>
#include "cpython_io.h"
#include <sys/sendfile.h>

typedef enum { SEND, WRITE, READ, RECVFROM, SENDTO, SENDFILE, ACCEPT, CONNECT, SIGACTION, SYSTEM_CALLS } SystemCall;

enum { ANSWERS = 16 };
static struct { int fd, count, next, calls; long answers[ANSWERS]; } system_script[SYSTEM_CALLS];

__attribute__((unused)) static void system_answers_(SystemCall call, int fd, int count, const long *answers)
{
    ck_assert_int_le(count, ANSWERS);
    system_script[call].fd = fd;
    system_script[call].count = count;
    system_script[call].next = system_script[call].calls = 0;
    memcpy(system_script[call].answers, answers, (size_t)count * sizeof *answers);
}

#define system_answers(call, fd, ...) \
    system_answers_(call, fd, sizeof((long[]){__VA_ARGS__}) / sizeof(long), (long[]){__VA_ARGS__})
#define system_counts(call, fd)       system_answers_(call, fd, 0, (long[]){0})
#define system_calls(call)            system_script[call].calls

/* True if the script has the answer: *result, and errno. Otherwise the call is made, *size at most shortened. */
static bool system_says(SystemCall call, int fd, size_t *size, ssize_t *result)
{
    if (system_script[call].fd != fd || (!system_script[call].fd && call != SIGACTION)) return false;
    system_script[call].calls++;
    if (system_script[call].next == system_script[call].count) return false;
    long answer = system_script[call].answers[system_script[call].next++];
    if (answer > 0 && size && (size_t)answer < *size) *size = (size_t)answer;
    if (answer > 0) return false;
    if (answer < 0) errno = (int)-answer;
    *result = answer < 0 ? -1 : 0;
    return true;
}

#define LIBC(name) ({ \
    static __typeof__(&name) real_; \
    if (!real_) *(void **)&real_ = dlsym(RTLD_NEXT, #name); \
    real_; })

#define SYSTEM_CALL(call, fd, size, ...) \
    ssize_t result_; \
    return system_says(call, fd, size, &result_) ? result_ : LIBC(__VA_ARGS__)

ssize_t send(int fd, const void *data, size_t size, int flags) { SYSTEM_CALL(SEND, fd, &size, send)(fd, data, size, flags); }
ssize_t write(int fd, const void *data, size_t size) { SYSTEM_CALL(WRITE, fd, &size, write)(fd, data, size); }
ssize_t read(int fd, void *data, size_t size) { SYSTEM_CALL(READ, fd, &size, read)(fd, data, size); }
ssize_t recv(int fd, void *data, size_t size, int flags) { SYSTEM_CALL(READ, fd, &size, recv)(fd, data, size, flags); }

ssize_t sendfile(int fd, int file, off_t *at, size_t size) { SYSTEM_CALL(SENDFILE, fd, &size, sendfile)(fd, file, at, size); }

ssize_t recvfrom(int fd, void *restrict data, size_t size, int flags, struct sockaddr *restrict from, socklen_t *restrict length)
{
    SYSTEM_CALL(RECVFROM, fd, &size, recvfrom)(fd, data, size, flags, from, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length)
{
    SYSTEM_CALL(SENDTO, fd, NULL, sendto)(fd, data, size, flags, to, length);
}

int accept4(int fd, struct sockaddr *restrict from, socklen_t *restrict length, int flags)
{
    ssize_t result;
    return system_says(ACCEPT, fd, NULL, &result) ? (int)result : LIBC(accept4)(fd, from, length, flags);
}

/* ---- One end of a transport, and a protocol that notes what it is told ------------------------------------------- */

/* near: the transport's, far: the other end, a plain descriptor that does not block. */
typedef struct Wire { Transport *transport; int near, far; } Wire;

/* What the protocol does besides noting. */
static struct {
    const char *raises;          /* the callback that raises LookupError */
    bool keeps_open;             /* what eof_received() returns */
    Transport *pauses;           /* connection_made() pauses reading */
    char lent[64];
    size_t lends;                /* get_buffer() gives that much */
} wired = {.lends = sizeof wired.lent};

__attribute__((unused)) static void wire_noted(const char *name)
{
    if (wired.raises && !strcmp(wired.raises, name)) throw(LookupError, "%s", name);
}

static void wire_made(Value self, Transport *transport)
{
    (void)self;
    note("made");
    if (wired.pauses) transport_pause_reading(transport);
    wire_noted("connection_made");
}

static void wire_lost(Value self, Value e) { (void)self; note("lost", repr(e)); }
static bool wire_eof(Value self) { (void)self; note("eof"); wire_noted("eof_received"); return wired.keeps_open; }
static void wire_paused(Value self) { (void)self; note("pause"); wire_noted("pause_writing"); }
static void wire_resumed(Value self) { (void)self; note("resume"); }

static void wire_received(Value self, const char *data, size_t size)
{
    (void)self;
    note("received", format("%.*s", (int)size, data));
    wire_noted("data_received");
}

static char *wire_lends(Value self, size_t hint, size_t *size)
{
    (void)self; (void)hint;
    wire_noted("get_buffer");
    *size = wired.lends;
    return wired.lent;
}

static void wire_updated(Value self, size_t size)
{
    (void)self;
    note("updated", format("%.*s", (int)size, wired.lent));
    wire_noted("buffer_updated");
}

static void wire_datagram(Value self, const char *data, size_t size, Value address)
{
    (void)self;
    note("datagram", format("%.*s", (int)size, data), is_none(address) ? "from nobody" : "");
    wire_noted("datagram_received");
}

static void wire_error(Value self, Value e) { (void)self; note("error", exception_type(e)->name); }

__attribute__((unused)) static const Protocol wire_protocol = {
    .connection_made = wire_made, .connection_lost = wire_lost, .data_received = wire_received, .eof_received = wire_eof,
    .pause_writing = wire_paused, .resume_writing = wire_resumed, .datagram_received = wire_datagram, .error_received = wire_error};

__attribute__((unused)) static const Protocol wire_buffered = {
    .connection_made = wire_made, .connection_lost = wire_lost, .eof_received = wire_eof,
    .get_buffer = wire_lends, .buffer_updated = wire_updated, .pause_writing = wire_paused, .resume_writing = wire_resumed};

__attribute__((unused)) static void wire_pair(Wire *wire, int type)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    wire->near = ends[0];
    wire->far = ends[1];
}

__attribute__((unused)) static Transport *transport_in(Value pair) { return (Transport *)list_get(pair, 0).object; }

__attribute__((unused)) static Wire wire_with(const Protocol *protocol)
{
    Wire wire;
    wire_pair(&wire, SOCK_STREAM);
    wire.transport = transport_in(
        await(loop_create_connection(asyncio_get_running_loop(), protocol, None, NULL, None, .sock = wire.near)));
    return wire;
}

__attribute__((unused)) static Wire wire_new(void) { return wire_with(&wire_protocol); }

__attribute__((unused)) static void passes(int count) { while (count--) await(asyncio_sleep(0)); }

/* Closes both ends and waits until the protocol has been told. */
__attribute__((unused)) static void wire_end(Wire *wire)
{
    if (wire->far >= 0) close(wire->far);
    transport_abort(wire->transport);
    passes(3);
}

/* What has arrived at the far end. */
__attribute__((unused)) static const char *at_far_end(Wire *wire)
{
    static char text[4096];
    ssize_t n = LIBC(read)(wire->far, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = 0;
    return n < 0 ? "nothing yet" : n == 0 ? "the end" : text;
}

#define ck_arrives(wire, wanted) do { const char *arrived_ = at_far_end(wire), *wanted_ = wanted; ck_assert_str_eq(arrived_, wanted_); } while (0)

/* What the loop was told: the message of the last report, and the class of the exception. */
#define ck_reported(text, E) do { \
    reports_taken(1); ck_assert_str_eq(reported.message, text); ck_assert(isinstance(report_exception(), E)); } while (0)

#endif
