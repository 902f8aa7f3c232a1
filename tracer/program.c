/* program.c: see program.h.
 *
 * What the program prints reaches us twice: as `output` events through print(), and as bytes on its standard output,
 * where things also arrive that no event tells of (a plain printf, a crash). The bytes are compared with what the
 * events announced; what was not announced becomes a step of its own, so that nothing is shown twice and nothing is lost.
 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const double QUIET = 0.15;                 /* seconds after which bytes that nobody announced are shown anyway */

double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* ---- starting ---- */

/* A terminal for its standard output, so that its stdio flushes each line; a pipe if there is none to be had. */
static bool output_pair(int ends[2]) {
    if (openpty(&ends[0], &ends[1], NULL, NULL, &(struct winsize) {.ws_row = 50, .ws_col = 200}))
        return pipe2(ends, O_CLOEXEC) == 0;
    struct termios t;
    tcgetattr(ends[1], &t);
    cfmakeraw(&t);
    tcsetattr(ends[1], TCSANOW, &t);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return true;
}

/* In the child. Only `failed` says what went wrong: the parent reads errno from it. */
static void become(char *const argv[], int trace, const int out[3], int failed) {
    int nothing = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    if (dup2(nothing, 0) >= 0 && dup2(out[1], 1) >= 0 && dup2(out[2], 2) >= 0) {
        int fd = dup(trace);                      /* the copy survives exec */
        char number[16];
        snprintf(number, sizeof number, "%d", fd);
        setenv("ASYNCIO_TRACE_FD", number, 1);
        unsetenv("ASYNCIO_TRACE");
        execvp(argv[0], argv);
    }
    int error = errno;
    if (write(failed, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

static char *why_not(const char *name, int error) {
    if (error == ENOENT && !strchr(name, '/'))
        return xformat("There is no program or recording called %s: neither here nor in PATH. A program in this "
                       "directory is started as ./%s.", name, name);
    if (error == ENOENT)
        return xformat("%s does not exist, or the interpreter that its first line names does not.", name);
    if (error == EACCES)
        return xformat("%s is not executable. If it is a program: chmod +x %s. If it is C source: compile it first.",
                       name, name);
    if (error == ENOEXEC)
        return xformat("%s is not a program for this machine.", name);
    return xformat("%s cannot be started: %s.", name, strerror(error));
}

static int nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static void close_all(const int *fds, int n) {
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

Program *program_start(History *history, char *const argv[], char **error) {
    int trace[2], out[2], err[2], failed[2], problem = 0;
    signal(SIGPIPE, SIG_IGN);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, trace) || !output_pair(out) || pipe2(err, O_CLOEXEC) ||
        pipe2(failed, O_CLOEXEC)) {
        *error = xformat("No connection to the program can be made: %s.", strerror(errno));
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(argv, trace[1], (int[]) {-1, out[1], err[1]}, failed[1]);
    close_all((int[]) {trace[1], out[1], err[1], failed[1]}, 4);
    bool bad = pid < 0 || read(failed[0], &problem, sizeof problem) == sizeof problem;
    close(failed[0]);
    if (bad) {
        *error = why_not(argv[0], pid < 0 ? errno : problem);
        close_all((int[]) {trace[0], out[0], err[0]}, 3);
        if (pid > 0)
            waitpid(pid, NULL, 0);
        return NULL;
    }
    Program *p = xalloc(sizeof *p);
    *p = (Program) {.history = history, .pid = pid, .trace = nonblocking(trace[0]),
                    .out = {-1, nonblocking(out[0]), nonblocking(err[0])}};
    p->started = p->quiet = now_seconds();
    return p;
}

/* ---- commands ---- */

static void command(Program *p, const char *text) {
    if (p->trace < 0)
        return;
    for (size_t sent = 0, n = strlen(text); sent < n;) {
        ssize_t done = send(p->trace, text + sent, n - sent, MSG_NOSIGNAL);
        if (done > 0)
            sent += done;
        else if (errno == EAGAIN)
            poll(&(struct pollfd) {p->trace, POLLOUT, 0}, 1, 100);
        else if (errno != EINTR)
            return;
    }
}

void program_leave(Program *p, size_t events) {
    char text[40];
    snprintf(text, sizeof text, "step %zu\n", events);
    p->asked += events;
    p->asleep = false;
    p->heard = now_seconds();
    command(p, text);
}

void program_pause(Program *p) {
    p->asked = 0;
    command(p, "pause\n");
}

/* ---- output: announced or not? ---- */

static void raw(Program *p, int fd, size_t n) {
    if (n)
        history_own(p->history, EV_RAW_OUTPUT, fd, p->seen[fd].s, n);
    buf_eat(&p->seen[fd], n);
}

/* Strikes out what both sides have. What came before the announced text in the bytes was not announced. */
static void settle(Program *p, int fd) {
    Buf *seen = &p->seen[fd], *told = &p->told[fd];
    while (seen->len && told->len) {
        size_t same = 0, most = seen->len < told->len ? seen->len : told->len;
        while (same < most && seen->s[same] == told->s[same])
            same++;
        buf_eat(seen, same);
        buf_eat(told, same);
        if (!seen->len || !told->len || same)
            continue;
        const char *newline = memchr(told->s, '\n', told->len);
        size_t piece = newline ? (size_t) (newline - told->s) + 1 : told->len;
        char *there = memmem(seen->s, seen->len, told->s, piece);
        if (!there)
            return;                               /* the rest is still on its way */
        raw(p, fd, there - seen->s);
    }
}

static void settle_all(Program *p, bool patience) {
    for (int fd = 1; fd <= 2; fd++) {
        settle(p, fd);
        if (!patience)
            raw(p, fd, p->seen[fd].len);
    }
}

static bool read_output(Program *p, int fd) {
    char bytes[65536];
    if (p->out[fd] < 0)
        return false;
    ssize_t n = read(p->out[fd], bytes, sizeof bytes);
    if (n > 0) {
        buf_add(&p->seen[fd], bytes, n);
        p->quiet = now_seconds();
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(p->out[fd]);
        p->out[fd] = -1;
    }
    return false;
}

static void drain(Program *p) {
    for (int fd = 1; fd <= 2; fd++)
        while (read_output(p, fd))
            ;
}

/* ---- the trace ---- */

static void note_told(Program *p) {
    const Log *log = &p->history->log;
    Open open = event_open(log_step(log, log_count(log)));
    int fd = arg_int(open.args, "fd", 1);
    if (fd == 1 || fd == 2)
        buf_str(&p->told[fd], arg_text(open.args, "text"));
    event_close(&open);
}

/* Before the event on this line becomes a step: bytes that nobody announced belong before it. That is only certain if
 * the program now waits after this very event; one that has leave for more may have run ahead of what we have read. */
static void settle_before(Program *p, const char *line, bool last) {
    bool waits = last && p->asked <= 1, announces = strstr(line, "\"output\"") != NULL;
    drain(p);
    settle_all(p, !waits || announces);
}

/* A copy that cannot be written is given up; the program goes on. */
static void check_record(Program *p) {
    if (!p->record || !ferror(p->record))
        return;
    log_problem(&p->history->log, xformat("The recording (--record) is not complete: writing it failed: %s.", strerror(errno)));
    fclose(p->record);
    p->record = NULL;
}

static void take_line(Program *p, const char *line, size_t n, bool last) {
    p->spoke = true;
    p->heard = now_seconds();
    if (p->record)
        fprintf(p->record, "%.*s,\n", (int) n, line), check_record(p);
    if (strstr(line, "\"control\"")) {
        p->asleep = strstr(line, "paused") != NULL;
        return;
    }
    settle_before(p, line, last);
    if (!history_line(p->history, line, n))
        return;
    if (p->asked)
        p->asked--;
    const Log *log = &p->history->log;
    if (log_step(log, log_count(log))->kind == EV_OUTPUT)
        note_told(p);
}

static void take_lines(Program *p) {
    size_t start = 0;
    char *newline;
    while (p->lines.len > start && (newline = memchr(p->lines.s + start, '\n', p->lines.len - start))) {
        *newline = '\0';
        size_t n = newline - (p->lines.s + start);
        take_line(p, p->lines.s + start, n, start + n + 1 == p->lines.len);
        start += n + 1;
    }
    buf_eat(&p->lines, start);
}

static bool read_trace(Program *p) {
    char bytes[65536];
    ssize_t n = read(p->trace, bytes, sizeof bytes);
    if (n > 0) {
        buf_add(&p->lines, bytes, n);
        take_lines(p);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(p->trace);
        p->trace = -1;
    }
    return false;
}

/* ---- its end ---- */

static char *where_it_was(const Program *p) {
    const Model *m = &p->history->tail;
    const Place *place = m->place ? &p->history->log.places.at[m->place] : NULL;
    if (m->in_select)
        return xcopy(" It slept in select().");
    if (!place)
        return xcopy("");
    const char *slash = strrchr(place->file, '/');
    const Task *t = model_task(m, m->running);
    return t ? xformat(" The last line known is %s:%d, in Task '%s'.", slash ? slash + 1 : place->file, place->line, t->label)
             : xformat(" The last line known is %s:%d.", slash ? slash + 1 : place->file, place->line);
}

/* By somebody outside, that is, and not because of what it did. */
static bool was_killed(int signal) {
    return signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
}

static char *ending_with(const Program *p, const char *where) {
    const char *mute = p->history->log.began ? "" : " It wrote no trace: was it built with asyncio.c, and did it reach "
                                                    "asyncio_run()? Its output is shown.";
    if (p->stopped)
        return xformat("The program was ended by the tracer.%s%s", where, mute);
    if (WIFSIGNALED(p->status))
        return xformat("The program %s: signal %d, %s.%s%s", was_killed(WTERMSIG(p->status)) ? "was killed" : "crashed",
                       WTERMSIG(p->status), strsignal(WTERMSIG(p->status)), where, mute);
    if (WEXITSTATUS(p->status))
        return xformat("The program ended with exit status %d. Something went wrong: the end of its output may say what.%s",
                       WEXITSTATUS(p->status), mute);
    return xformat("The program has ended.%s", mute);
}

static char *ending(const Program *p) {
    char *where = where_it_was(p), *text = ending_with(p, where);
    free(where);
    return text;
}

static bool reap(Program *p) {
    if (!p->reaped)
        p->reaped = waitpid(p->pid, &p->status, WNOHANG) == p->pid;
    return p->reaped;
}

/* After the process is gone its last words may still be in the pipes; a grandchild may even hold them open for ever. */
static void finish(Program *p) {
    while (p->trace >= 0 && read_trace(p))
        ;
    drain(p);
    settle_all(p, false);
    char *text = ending(p);
    int status = WIFSIGNALED(p->status) ? 128 + WTERMSIG(p->status) : WEXITSTATUS(p->status);
    history_own(p->history, EV_PROGRAM_END, status, text, strlen(text));
    free(text);
    if (p->record && (fputs("{}]\n", p->record) < 0 || fflush(p->record) < 0))
        check_record(p);
    p->asked = 0;
    p->asleep = false;
    p->ended = true;
}

bool program_poll(Program *p, int ms) {
    if (p->ended)
        return false;
    size_t before = log_count(&p->history->log);
    struct pollfd fds[3] = {{p->trace, POLLIN, 0}, {p->out[1], POLLIN, 0}, {p->out[2], POLLIN, 0}};
    int silent = p->silent;
    bool slept = p->asleep, gone = reap(p);
    poll(fds, 3, gone ? 0 : p->trace < 0 && ms > 20 ? 20 : ms);
    if (fds[1].revents)
        read_output(p, 1);
    if (fds[2].revents)
        read_output(p, 2);
    bool more = p->trace >= 0 && fds[0].revents && read_trace(p);
    settle_all(p, true);
    if (!more && now_seconds() - p->quiet > QUIET)
        settle_all(p, false);
    if (gone)
        finish(p);
    p->silent = p->asked && !p->ended ? (int) (now_seconds() - p->heard) : 0;
    return log_count(&p->history->log) != before || p->ended || slept != p->asleep || silent != p->silent;
}

void program_stop(Program *p) {
    if (p->ended)
        return;
    p->stopped = !reap(p);
    kill(-p->pid, SIGTERM);
    for (double limit = now_seconds() + 0.5; !reap(p) && now_seconds() < limit;)
        usleep(5000);
    if (!p->reaped) {
        kill(-p->pid, SIGKILL);
        p->reaped = waitpid(p->pid, &p->status, 0) == p->pid;
    }
    finish(p);
}

void program_free(Program *p) {
    if (!p)
        return;
    program_stop(p);
    if (p->trace >= 0)
        close(p->trace);
    for (int fd = 1; fd <= 2; fd++) {
        if (p->out[fd] >= 0)
            close(p->out[fd]);
        buf_free(&p->seen[fd]);
        buf_free(&p->told[fd]);
    }
    if (p->record)
        fclose(p->record);
    buf_free(&p->lines);
    free(p);
}
