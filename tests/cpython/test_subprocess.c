/* CPython's test_subprocess: children by exec and by shell. Its programs are shell commands here. */
#include "cpython_io.h"
#include "../under.h"
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define exec(...)  as_process(await(asyncio_create_subprocess_exec(__VA_ARGS__)))
#define shell(...) as_process(await(asyncio_create_subprocess_shell(__VA_ARGS__)))
#define blocked()  exec("sleep", "3600")
#define output_of(process, ...) await(process_communicate(process __VA_OPT__(,) __VA_ARGS__))

static void no_children_left(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

/* When the loop has closed no child may be left either, running or dead. */
#define PROCESS_TEST(name) \
    async_decl(name##_body_on_net_); \
    TEST(name) { RUN_ON_NET_(name##_body_on_net_()); no_children_left(); } \
    async_def(name##_body_on_net_)

enum { MORE_THAN_A_PIPE = 4 * 1024 * 1024 + 1 };
static char large[MORE_THAN_A_PIPE];

static Value large_data(void) { memset(large, 'x', sizeof large); return bytes(large, sizeof large); }

/* ---- How a child ends ------------------------------------------------------------------------------------------- */

/* What a protocol is told, one note for each; `told_all` is done when it was told that all is over. */
static Future *told_all;
static void tell_made(Value self, SubprocessTransport *transport) { (void)self; note(format("made %s", subprocesstransport_get_pid(transport) > 0 ? "with a pid" : "")); }
static void tell_data(Value self, int fd, const char *data, size_t size) { (void)self; note(format("data %d %.*s", fd, (int)size, data)); }
static void tell_pipe_lost(Value self, int fd, Value e) { (void)self; note(format("lost %d %s", fd, as_str(repr(e)))); }
static void tell_exited(Value self) { (void)self; note("exited"); }
static void tell_lost(Value self, Value e) { (void)self; note(format("over %s", as_str(repr(e)))); future_set_result(told_all, None); }
static const SubprocessProtocol telling = {.connection_made = tell_made, .pipe_data_received = tell_data, .pipe_connection_lost = tell_pipe_lost,
                                           .process_exited = tell_exited, .connection_lost = tell_lost};

#define subprocess(kind, ...) ({ \
    told_all = loop_create_future(asyncio_get_running_loop()); \
    as_subprocesstransport(list_get(await(loop_subprocess_##kind(asyncio_get_running_loop(), &telling, None, __VA_ARGS__)), 0)); })
#define subprocess_without_pipes(...) subprocess(shell, __VA_ARGS__, .stdin = INHERIT, .stdout = INHERIT, .stderr = INHERIT)

PROCESS_TEST(SubprocessTransportTests__test_proc_exited)
{
    SubprocessTransport *transport = subprocess_without_pipes("exit 6");
    await(told_all);
    ck_repr(subprocesstransport_get_returncode(transport), "6");
    ck_notes("made with a pid|exited|over None");
    ck_assert(!subprocesstransport_is_closing(transport));
    ck_raises(ProcessLookupError, subprocesstransport_send_signal(transport, SIGTERM));
    ck_raises(ProcessLookupError, subprocesstransport_terminate(transport));
    ck_raises(ProcessLookupError, subprocesstransport_kill(transport));
    subprocesstransport_close(transport);
    ck_assert(subprocesstransport_is_closing(transport));
    return None;
}

PROCESS_TEST(SubprocessTransportTests__test_subprocess_repr)
{
    SubprocessTransport *transport = subprocess(exec, "cat", .stdout = INHERIT, .stderr = INHERIT);
    int pid = subprocesstransport_get_pid(transport);
    const char *pipe = as_str(repr(subprocesstransport_get_pipe_transport(transport, 0)));
    ck_repr(transport, as_str(format("<SubprocessTransport pid=%d running stdin=%s>", pid, pipe)));
    subprocesstransport_close(transport);
    await(told_all);
    ck_repr(transport, as_str(format("<SubprocessTransport closed pid=%d returncode=-9 stdin=<Transport closed fd=-1>>", pid)));
    SubprocessTransport *other = subprocess_without_pipes("exit 6");
    await(told_all);
    ck_repr(other, as_str(format("<SubprocessTransport pid=%d returncode=6>", subprocesstransport_get_pid(other))));
    return None;
}

PROCESS_TEST(SubprocessMixin__test_shell)
{
    ck_repr(await(process_wait(shell("exit 7"))), "7");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_start_new_session)
{
    Process *process = shell("read line; exit 8", .stdin = PIPE, .start_new_session = true);
    pass_until(getsid(process_pid(process)) == process_pid(process));
    streamwriter_write(process_stdin(process), "\n");
    ck_repr(await(process_wait(process)), "8");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_kill)
{
    Process *process = blocked();
    process_kill(process);
    ck_repr(await(process_wait(process)), "-9");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_kill_issue43884)
{
    Process *process = shell("echo started; exec sleep 3600", .stdout = PIPE);
    ck_repr(await(streamreader_readline(process_stdout(process))), "b'started\\n'");
    process_kill(process);
    ck_repr(await(process_wait(process)), "-9");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_terminate)
{
    Process *process = blocked();
    process_terminate(process);
    ck_repr(await(process_wait(process)), "-15");
    return None;
}

/* A signal that the parent ignores, the child would ignore too. */
PROCESS_TEST(SubprocessMixin__test_send_signal)
{
    void (*old)(int) = signal(SIGHUP, SIG_DFL);
    Process *process = shell("echo sleeping; exec sleep 3600", .stdout = PIPE);
    ck_repr(await(streamreader_readline(process_stdout(process))), "b'sleeping\\n'");
    process_send_signal(process, SIGHUP);
    ck_repr(await(process_wait(process)), "-1");
    signal(SIGHUP, old);
    return None;
}

PROCESS_TEST(SubprocessMixin__test_subprocess_send_signal_race)
{
    for (int i = 0; i < 10; i++) scope {
        Process *volatile process = exec("true");
        siginfo_t over;
        ck_assert_int_eq(waitid(P_PID, (id_t)process_pid(process), &over, WEXITED | WNOWAIT), 0);    /* dead, and the loop has not seen it */
        try { process_send_signal(process, SIGUSR1); } except (ProcessLookupError) { } end_try
        ck_repr(await(process_wait(process)), "0");
    }
    return None;
}

PROCESS_TEST(SubprocessMixin__test_subprocess_concurrent_wait)
{
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    ck_repr(list_get(output_of(cat, V("some data")), 0), "b'some data'");
    ck_repr(process_returncode(cat), "0");
    Value waits = list();
    for (int i = 0; i < 10; i++) list_append(waits, process_wait(cat));
    ck_repr(await(asyncio_gather_list(waits)), "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]");
    return None;
}

/* ---- The streams ------------------------------------------------------------------------------------------------ */

PROCESS_TEST(SubprocessMixin__test_stdin_stdout)
{
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    streamwriter_write(process_stdin(cat), "some data");
    await(streamwriter_drain(process_stdin(cat)));
    streamwriter_close(process_stdin(cat));
    ck_repr(await(streamreader_read(process_stdout(cat))), "b'some data'");
    ck_repr(await(process_wait(cat)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_communicate)
{
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    ck_repr(output_of(cat, V("some data")), "(b'some data', None)");
    ck_repr(process_returncode(cat), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_communicate_none_input)
{
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    ck_repr(output_of(cat), "(b'', None)");
    ck_repr(process_returncode(cat), "0");
    return None;
}

async_def(print_of, (int) i)
{
    Process *process = shell(as_str(format("echo foo%d", i)), .stdout = PIPE);
    return list_get(output_of(process), 0);
}

PROCESS_TEST(SubprocessMixin__test_subprocess_communicate_stdout)
{
    Value commands = list();
    for (int i = 0; i < 10; i++) list_append(commands, print_of(i));
    Value outputs = await(asyncio_gather_list(commands));
    for (int i = 0; i < 10; i++) ck_assert(value_equal(list_get(outputs, i), bytes(as_str(format("foo%d\n", i)), 5)));
    return None;
}

/* A fifo, behind which the child stands until somebody opens it for writing. */
PROCESS_TEST(SubprocessMixin__test_stdin_broken_pipe)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    Process *process = shell(as_str(format("read line < %s", path)), .stdin = PIPE);
    streamwriter_write(process_stdin(process), large_data());
    close(open(path, O_WRONLY));
    volatile bool broken = false;
    try {
        await(streamwriter_drain(process_stdin(process)));
    } except_any (e, BrokenPipeError, ConnectionResetError) { broken = true; } end_try
    ck_assert(broken);
    ck_repr(await(process_wait(process)), "1");
    socket_path_end(&at);
    return None;
}

PROCESS_TEST(SubprocessMixin__test_communicate_ignore_broken_pipe)
{
    Process *process = exec("true", .stdin = PIPE);
    output_of(process, large_data());
    ck_repr(await(process_wait(process)), "0");
    return None;
}

/* The pipes that are full: reading has stopped, and the child stands still. */
static int full_pipes(void)
{
    int n = 0, waiting;
    for (int fd = 3; fd < 64; fd++) n += ioctl(fd, FIONREAD, &waiting) == 0 && waiting == 65536;
    return n;
}

PROCESS_TEST(SubprocessMixin__test_pause_reading)
{
    Process *process = shell("head -c 1000000 /dev/zero", .stdin = PIPE, .stdout = PIPE, .limit = 10);
    for (int still = 0; still < 20; await(asyncio_sleep(0))) still = full_pipes() ? still + 1 : 0;
    ck_repr(process_returncode(process), "None");
    ck_assert_int_eq(len(list_get(output_of(process), 0)), 1000000);
    return None;
}

#define COUNT_INPUT "wc -c"

PROCESS_TEST(SubprocessMixin__test_stdin_not_inheritable)
{
    Process *process = shell(COUNT_INPUT, .stdin = PIPE, .stdout = PIPE, .stderr = PIPE);
    ck_repr(output_of(process, V("abc")), "(b'3\\n', b'')");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_empty_input)
{
    Process *process = shell(COUNT_INPUT, .stdin = PIPE, .stdout = PIPE, .stderr = PIPE);
    ck_repr(output_of(process, V("")), "(b'0\\n', b'')");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_devnull_input)
{
    Process *process = shell(COUNT_INPUT, .stdin = DEVNULL, .stdout = PIPE, .stderr = PIPE);
    ck_repr(output_of(process), "(b'0\\n', b'')");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_devnull_output)
{
    Process *process = shell(COUNT_INPUT, .stdin = PIPE, .stdout = DEVNULL, .stderr = PIPE);
    ck_repr(output_of(process, V("abc")), "(None, b'')");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_devnull_error)
{
    Process *process = shell(COUNT_INPUT, .stdin = PIPE, .stdout = PIPE, .stderr = DEVNULL);
    ck_repr(output_of(process, V("abc")), "(b'3\\n', None)");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_devstdin_input)
{
    Process *process = shell("cat /dev/stdin | wc -c", .stdin = PIPE, .stdout = PIPE, .stderr = PIPE);
    ck_repr(output_of(process, V("abc")), "(b'3\\n', b'')");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_read_stdout_after_process_exit)
{
    Process *process = shell("head -c 262144 /dev/zero; exit 1", .stdout = PIPE);
    volatile int total = 0;
    for (volatile bool more = true; more; ) scope {
        Value data = await(streamreader_read(process_stdout(process), .n = 65536));
        total += len(data);
        more = len(data) > 0;
        for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    }
    ck_assert_int_eq(total, 262144);
    ck_repr(await(process_wait(process)), "1");
    return None;
}

/* ---- Cancelling ------------------------------------------------------------------------------------------------- */

static void cancel(Value task) { task_cancel(as_task(task)); }

PROCESS_TEST(SubprocessMixin__test_cancel_process_wait)
{
    Process *process = blocked();
    Task *task = asyncio_create_task(process_wait(process));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(task));
    ck_raises(CancelledError, await(task));
    task_cancel(task);
    process_kill(process);
    ck_repr(await(process_wait(process)), "-9");
    return None;
}

/* Whether it was in time or not: nothing stays behind. */
PROCESS_TEST(SubprocessMixin__test_cancel_make_subprocess_transport_exec)
{
    Task *task = asyncio_create_task(asyncio_create_subprocess_exec("sleep", "3600"));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(task));
    try { await(task); } except (CancelledError) { } end_try
    return None;
}

/* In the middle of connecting its pipes: then the child is ended. */
PROCESS_TEST(SubprocessMixin__test_cancel_post_init)
{
    Task *task = asyncio_create_task(asyncio_create_subprocess_exec("sleep", "3600", .stdin = PIPE, .stdout = PIPE, .stderr = PIPE));
    loop_call_soon(asyncio_get_running_loop(), cancel, V(task));
    ck_raises(CancelledError, await(task));
    no_children_left();
    return None;
}

/* ---- What is never waited for ----------------------------------------------------------------------------------- */

PROCESS_TEST(SubprocessMixin__test_close_kill_running)
{
    SubprocessTransport *transport = subprocess(exec, "sleep", "3600");
    ck_repr(subprocesstransport_get_returncode(transport), "None");
    subprocesstransport_close(transport);
    await(told_all);
    ck_repr(subprocesstransport_get_returncode(transport), "-9");
    return None;
}

/* It has ended, and the loop has not been told: the status is what it ended with. */
PROCESS_TEST(SubprocessMixin__test_close_dont_kill_finished)
{
    SubprocessTransport *transport = subprocess(exec, "cat");
    siginfo_t over;
    ck_assert_int_eq(kill(subprocesstransport_get_pid(transport), SIGTERM), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)subprocesstransport_get_pid(transport), &over, WEXITED | WNOWAIT), 0);
    ck_repr(subprocesstransport_get_returncode(transport), "None");
    subprocesstransport_close(transport);
    await(told_all);
    ck_repr(subprocesstransport_get_returncode(transport), "-15");
    return None;
}

static int running_pid;
async_def(starts_and_leaves) { running_pid = process_pid(exec("sleep", "3600", .stdin = PIPE, .stdout = PIPE)); return None; }

PROCESS_TEST(a_loop_that_closes_ends_its_children)
{
    await(starts_and_leaves());                          /* the loop closes while it runs: PROCESS_TEST finds no child */
    ck_assert_int_eq(kill(running_pid, 0), 0);
    return None;
}

/* The protocol's `self` holds the transport, and the transport `self`: neither may be left over. */
PROCESS_TEST(a_loop_that_closes_ends_its_subprocess_transports)
{
    Value self = list();
    Value both = await(loop_subprocess_exec(asyncio_get_running_loop(), &telling, self, "sleep", "3600"));
    list_append(self, list_get(both, 0));
    Value without_pipes = list();
    both = await(loop_subprocess_exec(asyncio_get_running_loop(), &telling, without_pipes, "sleep", "3600", .stdin = DEVNULL,
                                      .stdout = DEVNULL, .stderr = DEVNULL));
    list_append(without_pipes, list_get(both, 0));
    return None;
}

/* ---- What a protocol is told ------------------------------------------------------------------------------------ */

/* The order of what comes from different descriptors is the system's; of each one, the data comes before the end. */
PROCESS_TEST(SubprocessMixin__test_subprocess_protocol_events)
{
    static const char *const expected[] = {"|data 1 stdout|", "|data 2 stderr|", "|lost 1 None|", "|lost 2 None|", "|exited|"};
    SubprocessTransport *transport = subprocess(shell, "printf stdout; printf stderr >&2", .stdin = INHERIT);
    await(told_all);
    for (int i = 0; i < 5; i++) ck_assert_msg(strstr(notes_, expected[i]), "%s is not in %s", expected[i], notes_);
    for (int i = 0; i < 2; i++) ck_assert(strstr(notes_, expected[i]) < strstr(notes_, expected[i + 2]));
    ck_assert(!strncmp(notes_, "made with a pid|", 16));
    ck_assert_str_eq(strrchr(notes_, '|'), "|over None");
    subprocesstransport_close(transport);
    return None;
}

/* ---- What cannot be started ------------------------------------------------------------------------------------- */

PROCESS_TEST(SubprocessMixin__test_popen_error)
{
    if (SPAWN_TELLS_OF_FAILURE) ck_raises(FileNotFoundError, await(asyncio_create_subprocess_exec("/no/such/program")));
    return None;
}

PROCESS_TEST(SubprocessMixin__test_popen_error_with_stdin_pipe)
{
    if (SPAWN_TELLS_OF_FAILURE) ck_raises(FileNotFoundError, await(asyncio_create_subprocess_exec("/no/such/program", .stdin = PIPE)));
    return None;
}

/* ---- The environment -------------------------------------------------------------------------------------------- */

static void ck_stdout(Process *process, const char *text)
{
    ck_repr(list_get(output_of(process), 0), text);
    ck_repr(process_returncode(process), "0");
    Task *task = asyncio_create_task(process_wait(process));
    await(asyncio_sleep(0));
    ck_assert(value_equal(task_result(task), process_returncode(process)));
}

PROCESS_TEST(SubprocessMixin__test_create_subprocess_env_shell)
{
    const char *const environment[] = {"FOO=bar", NULL};
    ck_stdout(shell("printf %s \"$FOO\"", .stdout = PIPE, .env = environment), "b'bar'");
    return None;
}

PROCESS_TEST(SubprocessMixin__test_create_subprocess_env_exec)
{
    const char *const environment[] = {"FOO=baz", NULL};
    ck_stdout(exec("sh", "-c", "printf %s \"$FOO\"", .stdout = PIPE, .env = environment), "b'baz'");
    return None;
}

/* ---- Children of a loop in another thread ----------------------------------------------------------------------- */

async_def(in_thread)
{
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    Value output = list_get(output_of(cat, V("some data")), 0);
    return tuple(process_returncode(cat), output);
}

static Value runs_in_thread(Value unused) { (void)unused; return asyncio_run(in_thread()); }

PROCESS_TEST(GenericWatcherTests__test_create_subprocess_with_pidfd)
{
    ck_repr(await(asyncio_to_thread(runs_in_thread)), "(0, b'some data')");
    return None;
}

/* ---- Not in CPython's file: what else a child may do ------------------------------------------------------------ */

PROCESS_TEST(a_child_that_ends_without_reading_closes_its_stdin)
{
    Process *process = exec("true", .stdin = PIPE);
    ck_repr(await(process_wait(process)), "0");
    pass_until(streamwriter_is_closing(process_stdin(process)));
    return None;
}

PROCESS_TEST(a_child_reaped_by_somebody_else_has_the_status_255)
{
    Process *process = exec("true");
    ck_assert_int_eq(waitpid(process_pid(process), NULL, 0), process_pid(process));
    process_send_signal(process, SIGTERM);               /* to nobody: no error, as in CPython */
    logging(ck_repr(await(process_wait(process)), "255"));
    return None;
}

/* As in CPython 3.13: who waits already waits for the pipes too, who asks after the child's end has the answer at once. */
PROCESS_TEST(a_grandchild_may_keep_stdout_open)
{
    Process *process = shell("sleep 3600 & echo $!; read line; exit 5", .stdin = PIPE, .stdout = PIPE);
    int grandchild = atoi(as_bytes(await(streamreader_readline(process_stdout(process))), NULL));
    Task *waiter = asyncio_create_task(process_wait(process));
    await(asyncio_sleep(0));
    streamwriter_write(process_stdin(process), "go on\n");
    pass_until(!is_none(process_returncode(process)));
    ck_repr(await(process_wait(process)), "5");
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    ck_assert(!task_done(waiter));
    ck_assert_int_eq(kill(grandchild, SIGKILL), 0);
    ck_repr(await(waiter), "5");
    return None;
}

PROCESS_TEST(a_child_that_ended_long_ago)
{
    Process *process = shell("echo last words; exit 9", .stdout = PIPE);
    pass_until(!is_none(process_returncode(process)));
    ck_repr(output_of(process), "(b'last words\\n', None)");
    ck_repr(process_returncode(process), "9");
    return None;
}

async_def(one_of_many, (int) i) { return await(process_wait(shell(as_str(format("exit %d", i % 100))))); }

PROCESS_TEST(two_hundred_children)
{
    Value waits = list();
    for (int i = 0; i < 200; i++) list_append(waits, one_of_many(i));
    Value codes = await(asyncio_gather_list(waits));
    for (int i = 0; i < 200; i++) ck_assert_int_eq(as_int(list_get(codes, i)), i % 100);
    return None;
}

/* With ever more descriptors to be had, each step of the start fails once; it never runs with the wrong streams. */
PROCESS_TEST(no_descriptors_left)
{
    struct rlimit all, few;
    volatile int failures = 0;
    volatile bool started = false;
    getrlimit(RLIMIT_NOFILE, &all);
    for (volatile int spare = 0; !started; spare++) scope {
        int next = dup(0);
        close(next);
        few = (struct rlimit){(rlim_t)(next + spare), all.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        volatile bool failed = false;
        Process *volatile process = NULL;
        try { process = exec("cat", .stdin = PIPE, .stdout = PIPE, .stderr = PIPE); } except (OSError) { failed = true; } end_try
        setrlimit(RLIMIT_NOFILE, &all);
        if (failed) { failures++; no_children_left(); continue; }
        ck_repr(output_of(process, V("x")), "(b'x', b'')");
        started = true;
    }
    ck_assert_int_ge(failures, 6);
    return None;
}
