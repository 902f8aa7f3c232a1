/* Faults of the system. Every system call that the library makes fails at every place where it is made, in every way that it can
 * fail: interrupted, not now, only a part of it, and for good. What is delivered must be what was sent; what cannot be must
 * end with OSError; nothing may hang, and no object and no descriptor be left behind. The same programs are then cancelled at
 * every pass of the loop, and run out of memory at every allocation.
 *
 * The functions of the C library that are defined here take the place of the real ones, which they call. */
#define _GNU_SOURCE
#include "child.h"
#include "cpython/cpython_io.h"
#include <dirent.h>
#include <dlfcn.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

/* ---- System calls that fail ------------------------------------------------------------------------------------- */

enum { READ, WRITE, SEND, SENDTO, RECVFROM, ACCEPT, CONNECT, SELECT, PIPES, SOCKET, BIND, LISTEN, OPEN, DUPLICATE, WAITPID, SPAWN, SENDFILE, PIDFD, THREAD };
static const char *const call_names[] = {
    "read", "write", "send", "sendto", "recvfrom", "accept4", "connect", "select", "pipe2", "socket", "bind", "listen", "open", "fcntl", "waitpid",
    "posix_spawnp", "sendfile", "pidfd_open", "pthread_create"};

enum { SHORT = -1, EVERY_OTHER = -1 };

/* `at`: which of the calls it is. */
static struct { bool armed, struck; int call, at, problem, calls; } fault;

/* What this call is to fail with: an error number, SHORT, or 0. */
static int strikes(int call)
{
    if (!fault.armed || call != fault.call) return 0;
    int n = __atomic_add_fetch(&fault.calls, 1, __ATOMIC_RELAXED);
    if (fault.at == EVERY_OTHER ? n % 2 == 0 : n != fault.at) return 0;
    __atomic_store_n(&fault.struck, true, __ATOMIC_RELAXED);
    return fault.problem;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF_STRUCK(call) do { int problem_ = strikes(call); if (problem_ > 0) { errno = problem_; return -1; } } while (0)

static size_t less(int problem, size_t size) { return problem == SHORT && size > 1 ? 1 : size; }

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    return type == SOCK_STREAM;
}

ssize_t read(int fd, void *buffer, size_t size)
{
    int problem = strikes(READ);
    if (problem > 0) { errno = problem; return -1; }
    return REAL(read)(fd, buffer, less(problem, size));
}

/* The one byte that wakes the loop can be interrupted, nothing else: the loop holds both ends, and if its pipe is full it is awake. */
ssize_t write(int fd, const void *buffer, size_t size)
{
    int problem = strikes(WRITE);
    if (problem == EINTR || (problem > 0 && size > 1)) { errno = problem; return -1; }
    return REAL(write)(fd, buffer, less(problem, size));
}

ssize_t send(int fd, const void *buffer, size_t size, int flags)
{
    int problem = strikes(SEND);
    if (problem > 0) { errno = problem; return -1; }
    return REAL(send)(fd, buffer, is_stream(fd) ? less(problem, size) : size, flags);
}

ssize_t sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *to, socklen_t length)
{
    FAIL_IF_STRUCK(SENDTO);
    return REAL(sendto)(fd, buffer, size, flags, to, length);
}

ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, socklen_t *length)
{
    int problem = strikes(RECVFROM);
    if (problem > 0) { errno = problem; return -1; }
    return REAL(recvfrom)(fd, buffer, is_stream(fd) ? less(problem, size) : size, flags, from, length);
}

int accept4(int fd, struct sockaddr *from, socklen_t *length, int flags)
{
    FAIL_IF_STRUCK(ACCEPT);
    return REAL(accept4)(fd, from, length, flags);
}

/* A connect() that a signal interrupts goes on in the background. */
int connect(int fd, const struct sockaddr *to, socklen_t length)
{
    int problem = strikes(CONNECT);
    int result = problem > 0 && problem != EINTR ? -1 : REAL(connect)(fd, to, length);
    if (problem > 0 && (result == 0 || problem != EINTR || errno == EINPROGRESS)) { errno = problem; return -1; }
    return result;
}

int select(int count, fd_set *reading, fd_set *writing, fd_set *failing, struct timeval *patience)
{
    FAIL_IF_STRUCK(SELECT);
    return REAL(select)(count, reading, writing, failing, patience);
}

int pipe2(int ends[2], int flags)
{
    FAIL_IF_STRUCK(PIPES);
    return REAL(pipe2)(ends, flags);
}

int socket(int family, int type, int proto)
{
    FAIL_IF_STRUCK(SOCKET);
    return REAL(socket)(family, type, proto);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    FAIL_IF_STRUCK(BIND);
    return REAL(bind)(fd, address, length);
}

int listen(int fd, int backlog)
{
    FAIL_IF_STRUCK(LISTEN);
    return REAL(listen)(fd, backlog);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, int) : 0;
    va_end(more);
    FAIL_IF_STRUCK(OPEN);
    return REAL(open)(path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    if (command == F_DUPFD_CLOEXEC) FAIL_IF_STRUCK(DUPLICATE);
    return REAL(fcntl)(fd, command, argument);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    FAIL_IF_STRUCK(WAITPID);
    return REAL(waitpid)(pid, status, options);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const argv[], char *const env[])
{
    int problem = strikes(SPAWN);
    return problem > 0 ? problem : REAL(posix_spawnp)(pid, file, actions, attributes, argv, env);
}

ssize_t sendfile(int fd, int file, off_t *at, size_t size)
{
    int problem = strikes(SENDFILE);
    if (problem > 0) { errno = problem; return -1; }
    return REAL(sendfile)(fd, file, at, less(problem, size));
}

long syscall(long number, ...)
{
    va_list more;
    va_start(more, number);
    long arguments[6];
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_pidfd_open) FAIL_IF_STRUCK(PIDFD);
    return REAL(syscall)(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument)
{
    int problem = strikes(THREAD);
    return problem > 0 ? problem : REAL(pthread_create)(thread, attributes, main, argument);
}

/* What a test does itself does not fail. */
#define undisturbed(code) ({ bool armed_ = fault.armed; fault.armed = false; __auto_type it_ = (code); fault.armed = armed_; it_; })

/* ---- The programs ----------------------------------------------------------------------------------------------- */

enum { SIZE = 300000, PIECES = 5 };
static char pattern[SIZE];

/* How much of the pattern these bytes are; anything else is a failure. */
static int64_t matching(Value data)
{
    size_t size;
    const char *text = as_bytes(data, &size);
    ck_assert_msg(size <= SIZE && !memcmp(text, pattern, size), "other bytes have come than were sent");
    return (int64_t)size;
}

async_def(echo, (StreamReader *) reader, (StreamWriter *) writer)
{
    forever {
        Value data = await(streamreader_read(reader, 65536));
        if (!len(data)) break;
        streamwriter_write(writer, data);
        await(streamwriter_drain(writer));
    }
    streamwriter_close(writer);
    return None;
}

async_def(send_all, (StreamWriter *) writer)
{
    for (int i = 0; i < PIECES; i++) {
        streamwriter_write(writer, bytes(pattern + i * (SIZE / PIECES), SIZE / PIECES));
        await(streamwriter_drain(writer));
    }
    streamwriter_write_eof(writer);
    return None;
}

async_def(converse, (StreamReader *) reader, (StreamWriter *) writer)
{
    volatile int64_t right = 0;
    try {
        right = matching(list_get(await(asyncio_gather(streamreader_read(reader), send_all(writer))), 0));
    } finally {
        streamwriter_close(writer);
    } end_try
    await(streamwriter_wait_closed(writer));
    return V(right);
}

async_def(visit, (int) port, (const char *) path)
{
    Value both = path ? await(asyncio_open_unix_connection(path)) : await(asyncio_open_connection("127.0.0.1", port));
    return await(converse(as_streamreader(list_get(both, 0)), as_streamwriter(list_get(both, 1))));
}

async_def(two_visits, (Server *) server, (int) port, (const char *) path)
{
    volatile int64_t right = 0;
    try {
        for_in (each, await(asyncio_gather(visit(port, path), visit(port, path)))) right += as_int(each);
    } except (MemoryError) {
        server_abort_clients(server);                    /* a connection may be open that nobody has got */
        rethrow;
    } finally {
        server_close(server);
        await(server_wait_closed(server));
    } end_try
    return V(right);
}

async_def(over_tcp)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    return await(two_visits(server, server_port(server), NULL));
}

static SocketPath place;

async_def(over_a_unix_socket)
{
    Server *server = as_server(await(asyncio_start_unix_server(echo, place.path)));
    return await(two_visits(server, 0, place.path));
}

/* Datagrams: `self` is a queue of what comes in, bytes or an exception; the server answers. */

static Transport *answering;

static void keep_datagram(Value queue, const char *data, size_t size, Value from) { (void)from; queue_put_nowait(as_queue(queue), bytes(data, size)); }
static void keep_error(Value queue, Value e) { queue_put_nowait(as_queue(queue), e); }
static void answer_datagram(Value queue, const char *data, size_t size, Value from) { (void)queue; transport_sendto(answering, data, size, .address = from); }
static const Protocol asks = {.datagram_received = keep_datagram, .error_received = keep_error};
static const Protocol answers = {.datagram_received = answer_datagram, .error_received = keep_error};

async_def(over_datagrams)
{
    Loop *loop = asyncio_get_running_loop();
    Queue *queue = asyncio_Queue();
    volatile int64_t right = 0;
    answering = (Transport *)list_get(await(loop_create_datagram_endpoint(loop, &answers, queue, .local_addr = tuple("127.0.0.1", 0))), 0).object;
    try {
        Value address = transport_get_extra_info(answering, "sockname");
        Transport *asking = (Transport *)list_get(await(loop_create_datagram_endpoint(loop, &asks, queue, .remote_addr = address)), 0).object;
        try {
            for (int i = 0; i < PIECES; i++) {
                transport_sendto(asking, pattern, 1000 + (size_t)i);
                Value got = await(queue_get(queue));
                if (isinstance(got, BaseException)) throw(got);
                right += matching(got);
            }
        } finally { transport_close(asking); } end_try
    } finally { transport_close(answering); } end_try
    await(asyncio_sleep(0));
    return V(right);
}

/* A pipe: `self` is (a future of its end, how much has come). */

static void pipe_data(Value self, const char *data, size_t size)
{
    int64_t at = as_int(list_get(self, 1));
    ck_assert(at + (int64_t)size <= SIZE && !memcmp(pattern + at, data, size));
    list_set(self, 1, at + (int64_t)size);
}

static void pipe_over(Value self, Value e)
{
    Future *future = as_future(list_get(self, 0));
    if (future_done(future)) return;
    if (is_none(e)) future_set_result(future, list_get(self, 1));
    else future_set_exception(future, e);
}

static const Protocol pipe_protocol = {.data_received = pipe_data, .connection_lost = pipe_over};

static void close_unless_taken(int fd, Transport *transport)
{
    if (transport) transport_abort(transport);
    else close(fd);
}

async_def(through_a_pipe)
{
    Loop *loop = asyncio_get_running_loop();
    int ends[2];
    ck_assert_int_eq(undisturbed(pipe2(ends, O_CLOEXEC)), 0);
    Value reads = list(loop_create_future(loop), 0), writes = list(loop_create_future(loop), 0);
    Transport *volatile reading = NULL, *volatile writing = NULL;
    volatile int64_t right = 0;
    try {
        reading = (Transport *)list_get(await(loop_connect_read_pipe(loop, &pipe_protocol, reads, ends[0])), 0).object;
        writing = (Transport *)list_get(await(loop_connect_write_pipe(loop, &pipe_protocol, writes, ends[1])), 0).object;
        for (int i = 0; i < PIECES; i++) transport_write(writing, pattern + i * (SIZE / PIECES), SIZE / PIECES);
        transport_write_eof(writing);
        for_in (each, await(asyncio_gather(as_future(list_get(reads, 0)), as_future(list_get(writes, 0))))) right += as_int(each);
    } finally {
        close_unless_taken(ends[0], reading);
        close_unless_taken(ends[1], writing);
    } end_try
    return V(right);
}

async_def(with_a_child)
{
    Process *process = as_process(await(asyncio_create_subprocess_exec("cat", .stdin = PIPE, .stdout = PIPE, .stderr = DEVNULL)));
    Value both = await(process_communicate(process, .input = bytes(pattern, SIZE)));
    ck_repr(list_get(both, 1), "None");
    return V(matching(list_get(both, 0)) + as_int(process_returncode(process)));
}

async_def(answer_on_socket, (int) listener)
{
    Loop *loop = asyncio_get_running_loop();
    int fd = (int)as_int(list_get(await(loop_sock_accept(loop, listener)), 0));
    try {
        forever {
            Value data = await(loop_sock_recv(loop, fd, 50000));
            if (!len(data)) break;
            await(loop_sock_sendall(loop, fd, data));
        }
    } finally { close(fd); } end_try
    return None;
}

async_def(ask_on_socket, (int) fd, (Value) address)
{
    static char buffer[50000];
    Loop *loop = asyncio_get_running_loop();
    int64_t right = 0, n;
    await(loop_sock_connect(loop, fd, address));
    await(loop_sock_sendall(loop, fd, bytes(pattern, sizeof buffer)));
    shutdown(fd, SHUT_WR);
    for (; (n = as_int(await(loop_sock_recv_into(loop, fd, buffer, sizeof buffer)))) > 0; right += n)
        ck_assert(!memcmp(buffer, pattern + right, (size_t)n));
    return V(right);
}

async_def(with_plain_sockets)
{
    int listener = undisturbed(listening_socket(1)), fd = undisturbed(tcp_socket());
    volatile int64_t right = 0;
    Task *answering_task = asyncio_create_task(answer_on_socket(listener));
    Task *asking_task = asyncio_create_task(ask_on_socket(fd, address_of_fd(listener)));
    try {
        right = as_int(list_get(await(asyncio_gather(asking_task, answering_task)), 0));
    } finally {
        task_cancel(answering_task);
        task_cancel(asking_task);
        await(asyncio_gather(answering_task, asking_task, .return_exceptions = true));
        close(fd);
        close(listener);
    } end_try
    return V(right);
}

async_def(with_datagram_sockets)
{
    Loop *loop = asyncio_get_running_loop();
    int here_ = undisturbed(bound_socket(SOCK_DGRAM)), there = undisturbed(bound_socket(SOCK_DGRAM));
    volatile int64_t right = 0;
    try {
        right += as_int(await(loop_sock_sendto(loop, here_, bytes(pattern, 1000), address_of_fd(there))));
        right += matching(list_get(await(loop_sock_recvfrom(loop, there, 2000)), 0));
    } finally {
        close(here_);
        close(there);
    } end_try
    return V(right);
}

async_def(with_sendfile)
{
    Loop *loop = asyncio_get_running_loop();
    FILE *file = tmpfile();
    ck_assert(file && fwrite(pattern, 1, 50000, file) == 50000 && !fflush(file));
    int ends[2];
    volatile int64_t right = 0;
    ck_assert_int_eq(undisturbed(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)), 0);
    try {
        ck_repr(await(loop_sock_sendfile(loop, ends[0], fileno(file))), "50000");
        shutdown(ends[0], SHUT_WR);
        Value all = list();
        for (Value data; len(data = await(loop_sock_recv(loop, ends[1], 50000))); right += len(data))
            ck_assert(!memcmp(as_bytes(data, NULL), pattern + right, (size_t)len(data)));
        (void)all;
    } finally {
        close(ends[0]);
        close(ends[1]);
        fclose(file);
    } end_try
    return V(right);
}

static Value thousand(Value v) { (void)v; return V(1000); }
static void finish(Value future) { if (!future_done(as_future(future))) future_set_result(as_future(future), 1); }
async_def(hundred) { await(asyncio_sleep(0)); return V(100); }

/* Runs in a thread: it calls back into the loop, both ways. */
static Value call_back(Value v)
{
    Loop *loop = as_pointer(list_get(v, 0));
    loop_call_soon_threadsafe(loop, finish, list_get(v, 1));
    return threadfuture_result(asyncio_run_coroutine_threadsafe(hundred(), loop));
}

async_def(with_threads)
{
    Loop *loop = asyncio_get_running_loop();
    Future *called = loop_create_future(loop);
    int64_t right = 0;
    for_in (each, await(asyncio_gather(asyncio_to_thread(thousand), asyncio_to_thread(thousand), asyncio_to_thread(thousand)))) right += as_int(each);
    right += as_int(await(asyncio_to_thread(call_back, .arg = list((void *)loop, called))));
    return V(right + as_int(await(called)));
}

async_def(with_a_signal)
{
    Loop *loop = asyncio_get_running_loop();
    Future *came = loop_create_future(loop);
    loop_add_signal_handler(loop, SIGUSR1, finish, V(came));
    raise(SIGUSR1);
    return await(came);
}

typedef struct Program { const char *name; Coroutine *(*make)(void); int64_t right; } Program;
static const Program programs[] = {
    {"over_tcp", over_tcp, 2 * SIZE}, {"over_a_unix_socket", over_a_unix_socket, 2 * SIZE}, {"over_datagrams", over_datagrams, 5010},
    {"through_a_pipe", through_a_pipe, SIZE}, {"with_a_child", with_a_child, SIZE}, {"with_plain_sockets", with_plain_sockets, 50000},
    {"with_datagram_sockets", with_datagram_sockets, 2000}, {"with_sendfile", with_sendfile, 50000}, {"with_threads", with_threads, 3101},
    {"with_a_signal", with_a_signal, 1},
};
enum { PROGRAMS = sizeof programs / sizeof *programs };

/* ---- One run ---------------------------------------------------------------------------------------------------- */

static char point[200];                                  /* where we are, for who looks at a crash */

static void tell_point(int number)
{
    static const char said[] = "\nended by a signal (SIGALRM: it hangs) at: ";
    (void)!REAL(write)(2, said, sizeof said - 1);
    (void)!REAL(write)(2, point, strlen(point));
    (void)!REAL(write)(2, "\n", 1);
    signal(number, SIG_DFL);
    raise(number);
}

__attribute__((noinline)) static int descriptors(void)
{
    int open_now = 0;
    DIR *all = opendir("/proc/self/fd");
    while (readdir(all)) open_now++;
    closedir(all);
    return open_now;
}

static bool python_would_raise(Value e)
{
    return isinstance(e, OSError) || isinstance(e, IncompleteReadError) || !strcmp(as_str(str(e)), "can't start new thread");
}

static void check_report(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    ck_assert_msg(python_would_raise(report->exception), "%s: reported: %s: %s", point, report->message, as_str(repr(report->exception)));
}

async_def(with_checked_reports, (Coroutine *) program)
{
    loop_set_exception_handler(asyncio_get_running_loop(), check_report);
    return await(program);
}

/* What the program returned; -1 if it ended with an exception that the fault explains. */
static int64_t run_once(const Program *program)
{
    volatile int64_t result = -1;
    size_t objects = asyncio_live_objects();
    int open_before = descriptors();
    alarm(SLOWED_DOWN ? 120 : 20);
    fault.calls = 0;
    fault.struck = false;
    scope {
        try {
            fault.armed = true;
            result = as_int(asyncio_run(with_checked_reports(program->make())));
        } except (BaseException, e) {
            fault.armed = false;
            ck_assert_msg(python_would_raise(e), "%s: %s", point, as_str(repr(e)));
        } end_try
        fault.armed = false;
    }
    alarm(0);
    for (int patience = 1000; patience && asyncio_live_objects() != objects; patience--) usleep(1000);   /* a thread nobody waits for */
    ck_assert_msg(asyncio_live_objects() == objects, "%s: %ld objects left over", point, (long)(asyncio_live_objects() - objects));
    ck_assert_msg(descriptors() == open_before, "%s: %d descriptors left open", point, descriptors() - open_before);
    while (waitpid(-1, NULL, 0) > 0) {}                  /* a child whose end waitpid() would not tell */
    return result;
}

static void begin_runs(void)
{
    for (int i = 0; i < SIZE; i++) pattern[i] = (char)(i * 7 + (i >> 8));
    for (const int *number = (const int[]){SIGALRM, SIGABRT, SIGSEGV, 0}; *number; number++) signal(*number, tell_point);
    socket_path_new(&place);
}

static void end_runs(void)
{
    unlink(place.path);
    ck_assert_int_eq(rmdir(place.directory), 0);
}

typedef struct Fault { int call, problem; bool passes; } Fault;

static const char *problem_name(int problem) { return problem == SHORT ? "a part" : strerrorname_np(problem); }

/* The fault at the n-th call, for each n that there is. Returns how often it struck. */
static int run_with(const Program *program, Fault each)
{
    int struck = 0;
    fault.call = each.call;
    fault.problem = each.problem;
    for (int at = 1; ; at += SLOWED_DOWN ? 5 : 1) {
        fault.at = at;
        snprintf(point, sizeof point, "%s, call %d of %s(): %s", program->name, at, call_names[each.call], problem_name(each.problem));
        int64_t result = run_once(program);
        if (each.passes || !fault.struck) ck_assert_msg(result == program->right, "%s: the result is %ld", point, (long)result);
        if (!fault.struck) return struck;
        struck++;
        ck_assert_msg(at < 3000, "%s: there is no end", point);
    }
}

static void run_with_each(const Fault *faults, int count, int at_least)
{
    int struck = 0;
    begin_runs();
    for (int i = 0; i < PROGRAMS; i++)
        for (int j = 0; j < count; j++) struck += run_with(&programs[i], faults[j]);
    end_runs();
    ck_assert_int_ge(struck, SLOWED_DOWN ? 1 : at_least);
}

/* ---- Faults ----------------------------------------------------------------------------------------------------- */

static const Fault passing[] = {
    {READ, EINTR, true}, {READ, EAGAIN, true}, {READ, SHORT, true}, {WRITE, EINTR, true}, {WRITE, EAGAIN, true}, {WRITE, SHORT, true},
    {SEND, EINTR, true}, {SEND, EAGAIN, true}, {SEND, SHORT, true}, {SENDTO, EINTR, true}, {SENDTO, EAGAIN, true},
    {RECVFROM, EINTR, true}, {RECVFROM, EAGAIN, true}, {RECVFROM, SHORT, true}, {ACCEPT, EINTR, true}, {ACCEPT, EAGAIN, true},
    {CONNECT, EINTR, true}, {SELECT, EINTR, true}, {WAITPID, EINTR, true}, {PIDFD, EMFILE, true}, {PIDFD, ENOSYS, true},
    {SENDFILE, EINTR, true}, {SENDFILE, EAGAIN, true}, {SENDFILE, SHORT, true},
};
enum { PASSING = sizeof passing / sizeof *passing };

TEST(what_passes_does_no_harm_at_any_call) { run_with_each(passing, PASSING, 200); }

TEST(every_other_call_fails)
{
    begin_runs();
    for (int i = 0; i < PROGRAMS; i++)
        for (int j = 0; j < PASSING; j++) {
            fault.call = passing[j].call;
            fault.problem = passing[j].problem;
            fault.at = EVERY_OTHER;
            snprintf(point, sizeof point, "%s, every other %s(): %s", programs[i].name, call_names[fault.call], problem_name(fault.problem));
            int64_t result = run_once(&programs[i]);
            ck_assert_msg(result == programs[i].right, "%s: the result is %ld", point, (long)result);
        }
    end_runs();
}

/* accept4() that finds no descriptor rests for a second: that has a test of its own. */
static const Fault lasting[] = {
    {READ, ECONNRESET, false}, {READ, EIO, false}, {WRITE, EPIPE, false}, {SEND, ECONNRESET, false}, {SEND, ENOBUFS, false},
    {SENDTO, ENOBUFS, false}, {SENDTO, EPERM, false}, {RECVFROM, ECONNREFUSED, false}, {ACCEPT, ECONNABORTED, false},
    {CONNECT, ECONNREFUSED, false}, {CONNECT, EADDRNOTAVAIL, false}, {CONNECT, EAGAIN, false}, {SELECT, ENOMEM, false},
    {PIPES, EMFILE, false}, {PIPES, ENFILE, false}, {SOCKET, EMFILE, false}, {SOCKET, ENOBUFS, false}, {BIND, EADDRINUSE, false},
    {LISTEN, EADDRINUSE, false}, {OPEN, EMFILE, false}, {DUPLICATE, EMFILE, false}, {WAITPID, ECHILD, false}, {SPAWN, EAGAIN, false},
    {SPAWN, ENOMEM, false}, {SENDFILE, EIO, false}, {SENDFILE, EINVAL, false}, {THREAD, EAGAIN, false},
};

TEST(what_lasts_ends_with_pythons_exception) { run_with_each(lasting, sizeof lasting / sizeof *lasting, 150); }

static void count_report(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    ck_assert_str_eq(report->message, "socket.accept() out of system resource");
    reported.count++;
}

async_def(hears_an_echo, (int) fd)
{
    char answer[4];
    ck_repr(await(loop_sock_recv_into(asyncio_get_running_loop(), fd, answer, 4)), "4");
    close(fd);
    return None;
}

NET_TEST(accept_rests_whatever_has_run_out_and_goes_on)
{
    static const int problems[] = {ENFILE, ENOBUFS, ENOMEM};
    Value servers = list(), clients = list();
    loop_set_exception_handler(asyncio_get_running_loop(), count_report);
    for (int i = 0; i < 3; i++) {
        Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
        list_append(servers, server);
        fault.call = ACCEPT;
        fault.problem = problems[i];
        fault.calls = 0;
        fault.at = 1;
        fault.armed = true;
        int fd = connected_socket(server_port(server));
        pass_until(reported.count == i + 1);
        fault.armed = false;
        ck_assert(send_text(fd, "late", 4));
        list_append(clients, hears_an_echo(fd));
    }
    await(asyncio_gather_list(clients));
    reports_taken(3);
    for_in (each, servers) {
        server_close(as_server(each));
        await(server_wait_closed(as_server(each)));
    }
    return None;
}

/* Python takes such a socket for connected, and its first read or write fails. */
NET_TEST(a_unix_server_whose_backlog_is_full_refuses)
{
    SocketPath at;
    int listener = unix_socket_at(socket_path_new(&at), false), waiting = 0, fds[10];
    ck_assert_int_eq(listen(listener, 0), 0);
    do {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        strcpy(un.sun_path, at.path);
        fds[waiting] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fds[waiting++], (struct sockaddr *)&un, sizeof un) < 0) break;
    } while (waiting < 10);
    ck_raises(BlockingIOError, await(asyncio_open_unix_connection(at.path)));
    while (waiting) close(fds[--waiting]);
    close(listener);
    socket_path_end(&at);
    return None;
}

/* ---- Cancelled --------------------------------------------------------------------------------------------------- */

static bool cancelled_in_time;

/* Cancels the program, or all tasks, when the loop has gone round so many times. */
async_def(cancelled_after, (Coroutine *) program, (int) passes, (bool) all)
{
    Task *task = asyncio_create_task(program);
    volatile int64_t result = -1;
    for (int i = 0; i < passes && !task_done(task); i++) scope { await(asyncio_sleep(0)); }
    cancelled_in_time = !task_done(task);
    if (all) {
        for_in (each, asyncio_all_tasks()) if (as_task(each) != asyncio_current_task()) task_cancel(as_task(each));
    } else task_cancel(task);
    try {
        result = as_int(await(task));
    } except (CancelledError) {
        if (task_cancelling(asyncio_current_task())) rethrow;
    } except (BaseException, e) {
        if (!all) rethrow;
    } end_try
    return V(result);
}

static const Program *cancelled_program;
static int passes_until_cancelled;
static bool cancels_all;
async_def(cancelled_program_of_many) { return await(cancelled_after(cancelled_program->make(), passes_until_cancelled, cancels_all)); }

TEST(cancelled_at_every_pass)
{
    static const Program cancelled = {"cancelled", cancelled_program_of_many, 0};
    begin_runs();
    fault.at = 0;
    for (cancelled_program = programs; cancelled_program < programs + PROGRAMS; cancelled_program++)
        for (int whom = 0; whom < 2; whom++) {
            int runs = 0;
            cancels_all = whom;
            for (int passes = 0; runs == 0 || cancelled_in_time; passes += 1 + passes / 16 + (SLOWED_DOWN ? 5 : 0), runs++) {
                passes_until_cancelled = passes;
                snprintf(point, sizeof point, "%s: cancelled%s after %d passes", cancelled_program->name, whom ? " with all others" : "", passes);
                int64_t result = run_once(&cancelled);
                if (!cancelled_in_time) ck_assert_msg(result == cancelled_program->right, "%s: the result is %ld", point, (long)result);
            }
        }
    end_runs();
}

/* ---- Memory runs out --------------------------------------------------------------------------------------------- */

typedef struct Shortage { const Program *program; long at; } Shortage;

static void child_short_of_memory(void *argument)
{
    const Shortage *shortage = argument;
    alarm(SLOWED_DOWN ? 120 : 20);
    asyncio_fail_allocation(shortage->at);
    int64_t result = as_int(asyncio_run(shortage->program->make()));
    asyncio_fail_allocation(0);
    printf("%ld\n", (long)result);
}

/* Returns whether the program came to its end as if nothing had been. */
static bool short_of_memory(Shortage shortage)
{
    Child c = child_with(child_short_of_memory, &shortage);
    bool told = strstr(c.err, "MemoryError") != NULL, ended = WIFEXITED(c.status) && WEXITSTATUS(c.status) == 0;
    bool stopped = (WIFEXITED(c.status) && WEXITSTATUS(c.status) == 1) || (WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGABRT);
    ck_assert_msg(ended ? told || atol(c.out) == shortage.program->right : stopped && told, "%s, allocation %ld: status %x: %.200s%.3000s",
                  shortage.program->name, shortage.at, c.status, c.out, c.err);
    child_free(c);
    return ended && !told;
}

TEST(every_allocation_may_fail)
{
    int stride = SLOWED_DOWN ? 67 : 1;
    begin_runs();
    for (int i = 0; i < PROGRAMS; i++) {
        int finished = 0;
        for (long at = 1; finished < 3; at += stride) {
            finished = short_of_memory((Shortage){&programs[i], at}) ? finished + 1 : 0;
            ck_assert_int_lt(at, 100000);
        }
    }
    end_runs();
}
