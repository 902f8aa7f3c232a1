/* Children: their streams, their ends, and that nothing of them stays behind. */
#include "testing.h"
#include "under.h"
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define shell(...) as_process(await(asyncio_create_subprocess_shell(__VA_ARGS__)))
#define exec(...)  as_process(await(asyncio_create_subprocess_exec(__VA_ARGS__)))

static void no_children_left(void) { ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); }

IO_TEST(communicate_gives_both_outputs)
{
    Process *process = shell("echo out; echo err >&2; exit 3", .stdout = PIPE, .stderr = PIPE);
    ck_repr(await(process_communicate(process)), "(b'out\\n', b'err\\n')");
    ck_repr(process_returncode(process), "3");
    no_children_left();
    return None;
}

IO_TEST(communicate_gives_input)
{
    static char big[500000];
    memset(big, 'x', sizeof big);
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    Value output = await(process_communicate(cat, bytes(big, sizeof big)));
    ck_assert_int_eq(len(list_get(output, 0)), sizeof big);
    ck_repr(list_get(output, 1), "None");
    return None;
}

IO_TEST(a_child_that_does_not_read_its_input_is_no_error)
{
    static char big[500000];
    Process *process = exec("true", .stdin = PIPE);
    ck_repr(await(process_communicate(process, bytes(big, sizeof big))), "(None, None)");
    ck_repr(process_returncode(process), "0");
    return None;
}

IO_TEST(stderr_can_go_where_stdout_goes)
{
    Process *process = shell("echo out; echo err >&2", .stdout = PIPE, .stderr = STDOUT);
    ck_repr(await(process_communicate(process)), "(b'out\\nerr\\n', None)");
    return None;
}

IO_TEST(devnull_is_empty_and_swallows)
{
    Process *process = shell("cat; echo lost", .stdin = DEVNULL, .stdout = DEVNULL);
    ck_repr(await(process_wait(process)), "0");
    ck_assert(!process_stdin(process) && !process_stdout(process) && !process_stderr(process));
    return None;
}

IO_TEST(lines_can_be_read_as_they_come)
{
    Process *process = shell("echo a; echo b", .stdout = PIPE);
    async_for (line, process_stdout(process)) note(line);
    ck_notes("b'a\\n'|b'b\\n'");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

IO_TEST(a_conversation)
{
    Process *cat = exec("cat", .stdin = PIPE, .stdout = PIPE);
    for (int i = 0; i < 3; i++) {
        streamwriter_write(process_stdin(cat), format("line %d\n", i));
        await(streamwriter_drain(process_stdin(cat)));
        note(await(streamreader_readline(process_stdout(cat))));
    }
    ck_notes("b'line 0\\n'|b'line 1\\n'|b'line 2\\n'");
    streamwriter_close(process_stdin(cat));
    ck_repr(await(process_wait(cat)), "0");
    return None;
}

IO_TEST(signals_end_a_child_and_the_returncode_says_which)
{
    Process *process = exec("sleep", "1000");
    ck_repr(process_returncode(process), "None");
    ck_assert_int_gt(process_pid(process), 0);
    process_terminate(process);
    ck_repr(await(process_wait(process)), "-15");
    ck_raises(ProcessLookupError, process_kill(process));
    Process *other = exec("sleep", "1000");
    process_kill(other);
    ck_repr(await(process_wait(other)), "-9");
    no_children_left();
    return None;
}

IO_TEST(a_cancelled_wait_does_not_end_the_child)
{
    Process *process = exec("sleep", "1000");
    ck_raises(TimeoutError, await(asyncio_wait_for(process_wait(process), 0.01)));
    ck_assert_int_eq(kill(process_pid(process), 0), 0);
    process_kill(process);
    ck_repr(await(asyncio_gather(process_wait(process), process_wait(process))), "[-9, -9]");   /* several may wait */
    return None;
}

async_def(exits, (int) status)
{
    Process *process = shell(as_str(format("exit %d", status)));
    return await(process_wait(process));
}

static void until_a_child_has_ended(Value arg) { (void)arg; siginfo_t info; waitid(P_ALL, 0, &info, WEXITED | WNOWAIT); }

async_def(is_closed_when_its_child_has_ended)
{
    Process *process = exec("true", .stdin = PIPE);
    await(process_wait(process));
    return V(streamwriter_is_closing(process_stdin(process)));
}

/* Where a thread waits for the child, as under valgrind, which knows no pidfd, either may be known first. */
IO_TEST(a_child_that_ends_at_once_has_closed_its_pipes_when_its_end_is_known)
{
    if (UNDER_VALGRIND) return None;
    Task *task = asyncio_create_task(is_closed_when_its_child_has_ended());
    loop_call_soon(asyncio_get_running_loop(), until_a_child_has_ended);
    ck_repr(await(task), "True");
    return None;
}

IO_TEST(many_children_at_once_are_all_reaped)
{
    Value waits = list();
    for (int i = 0; i < 30; i++) list_append(waits, exits(i));
    Value codes = await(asyncio_gather_list(waits));
    for (int i = 0; i < 30; i++) ck_assert_int_eq(as_int(list_get(codes, i)), i);
    no_children_left();
    return None;
}

IO_TEST(commands_that_cannot_be_run_are_named)
{
    if (!SPAWN_TELLS_OF_FAILURE) return None;
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: 'no-such-command'", await(asyncio_create_subprocess_exec("no-such-command")));
    ck_raises_text(PermissionError, "[Errno 13] Permission denied: '/etc/passwd'", await(asyncio_create_subprocess_exec("/etc/passwd")));
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: '/nonexistent'", await(asyncio_create_subprocess_exec("true", .cwd = "/nonexistent")));
    ck_raises_text(NotADirectoryError, "[Errno 20] Not a directory: '/etc/passwd'", await(asyncio_create_subprocess_exec("true", .cwd = "/etc/passwd")));
    ck_raises_text(OSError, "[Errno 9] Bad file descriptor", await(asyncio_create_subprocess_exec("true", .stdout = 999)));
    ck_raises(TypeError, await(asyncio_create_subprocess_exec(NULL)));
    ck_raises(ValueError, await(asyncio_create_subprocess_shell("one", "two")));
    ck_raises(ValueError, await(asyncio_create_subprocess_exec("true", .stdout = STDOUT)));
    return None;
}

IO_TEST(cwd_and_env_are_the_childs)
{
    const char *const environment[] = {"COLOUR=blue", NULL};
    Process *process = shell("pwd; echo $COLOUR", .stdout = PIPE, .cwd = "/", .env = environment);
    ck_repr(list_get(await(process_communicate(process)), 0), "b'/\\nblue\\n'");
    return None;
}

IO_TEST(no_descriptor_leaks_into_a_child)
{
    int leaky[2];
    ck_assert_int_eq(pipe(leaky), 0);                    /* not close-on-exec */
    Process *process = shell("ls /proc/self/fd", .stdout = PIPE);
    ck_repr(list_get(await(process_communicate(process)), 0), "b'0\\n1\\n2\\n3\\n'");    /* 3 is what ls itself opened */
    close(leaky[0]);
    close(leaky[1]);
    return None;
}

__attribute__((noinline)) static int open_descriptors(void)
{
    int n = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory)) n++;
    closedir(directory);
    return n;
}

IO_TEST(no_descriptor_stays_behind)
{
    await(exits(0));
    int before = open_descriptors();
    for (int i = 0; i < 10; i++) scope { Process *p = shell("cat", .stdin = PIPE, .stdout = PIPE, .stderr = PIPE); await(process_communicate(p, V("x"))); }
    if (SPAWN_TELLS_OF_FAILURE) ck_raises(FileNotFoundError, await(asyncio_create_subprocess_exec("no-such-command", .stdin = PIPE, .stdout = PIPE)));
    await(asyncio_sleep(0));
    ck_assert_int_eq(open_descriptors(), before);
    return None;
}

IO_TEST(a_descriptor_can_be_given)
{
    FILE *file = tmpfile();
    ck_repr(await(process_wait(exec("echo", "into the file", .stdout = fileno(file)))), "0");
    char line[32] = "";
    rewind(file);
    ck_assert(fgets(line, sizeof line, file));
    ck_assert_str_eq(line, "into the file\n");
    fclose(file);
    return None;
}

/* ---- With a protocol -------------------------------------------------------------------------------------------- */

/* What a protocol is told, one note for each. `self` is a list, whose first item is done when all is over. */
static void made(Value self, SubprocessTransport *transport) { note("made"); list_append(self, transport); }
static void data(Value self, int fd, const char *text, size_t size) { (void)self; note(format("data %d %.*s", fd, (int)size, text)); }
static void pipe_lost(Value self, int fd, Value e) { (void)self; note(format("lost %d", fd), repr(e)); }
static void paused(Value self) { (void)self; note("paused"); }
static void resumed(Value self) { (void)self; note("resumed"); }
static void over(Value self, Value e) { note("over", repr(e)); future_set_result(as_future(list_get(self, 0)), None); }

static void exited(Value self)
{
    SubprocessTransport *transport = as_subprocesstransport(list_get(self, 1));
    note("exited", subprocesstransport_get_returncode(transport));
    subprocesstransport_kill(transport);                 /* there is nobody any more: no error until it is over */
}

static const SubprocessProtocol telling = {.connection_made = made, .pipe_data_received = data, .pipe_connection_lost = pipe_lost, .process_exited = exited,
                                           .connection_lost = over, .pause_writing = paused, .resume_writing = resumed};

static Value self_new(void) { return list(loop_create_future(asyncio_get_running_loop())); }
#define until_over(self) await(as_future(list_get(self, 0)))

IO_TEST(a_protocol_is_told_of_a_child)
{
    Value self = self_new();
    Value both = await(loop_subprocess_exec(asyncio_get_running_loop(), &telling, self, "cat", .stderr = DEVNULL));
    SubprocessTransport *transport = as_subprocesstransport(list_get(both, 0));
    ck_notes("made");                                    /* before the await ends */
    ck_assert_int_eq(as_int(subprocesstransport_get_extra_info(transport, "subprocess")), subprocesstransport_get_pid(transport));
    ck_repr(subprocesstransport_get_extra_info(transport, "peername", .otherwise = V(5)), "5");
    ck_assert(!subprocesstransport_get_pipe_transport(transport, 2) && !subprocesstransport_get_pipe_transport(transport, 3));
    ck_raises_text(TypeError, "this transport has no write()", transport_write(subprocesstransport_get_pipe_transport(transport, 1), "x", 1));
    Transport *in = subprocesstransport_get_pipe_transport(transport, 0);
    transport_write(in, "meow", 4);
    transport_close(in);
    until_over(self);
    ck_assert_msg(!strncmp(notes_, "lost 0 None|data 1 meow|", 24), "%s", notes_);
    ck_assert(strstr(notes_, "|lost 1 None|") && strstr(notes_, "|exited 0|"));
    ck_assert_str_eq(strrchr(notes_, '|'), "|over None");
    ck_raises_text(ProcessLookupError, "the process has ended", subprocesstransport_kill(transport));
    return None;
}

IO_TEST(a_transport_that_is_closed_kills_its_child_once)
{
    Value self = self_new();
    Value both = await(loop_subprocess_shell(asyncio_get_running_loop(), &telling, self, "exec sleep 1000", .stderr = INHERIT));
    SubprocessTransport *transport = as_subprocesstransport(list_get(both, 0));
    subprocesstransport_close(transport);
    subprocesstransport_close(transport);
    ck_assert(subprocesstransport_is_closing(transport));
    until_over(self);
    ck_notes("made|lost 0 None|lost 1 None|exited -9|over None");
    no_children_left();
    return None;
}

IO_TEST(a_protocol_hears_that_the_child_does_not_read)
{
    static char big[200000];
    Value self = self_new();
    Value both = await(loop_subprocess_shell(asyncio_get_running_loop(), &telling, self, "read line; cat >/dev/null", .stdout = INHERIT, .stderr = INHERIT));
    Transport *in = subprocesstransport_get_pipe_transport(as_subprocesstransport(list_get(both, 0)), 0);
    transport_write(in, big, sizeof big);
    ck_notes("made|paused");
    transport_write(in, "\n", 1);
    transport_close(in);
    until_over(self);
    ck_notes("resumed|lost 0 None|exited 0|over None");
    return None;
}

static void raises(Value self, int fd, const char *text, size_t size) { (void)self; (void)fd; (void)text; (void)size; throw(ValueError, "not this"); }
static void told_to_the_loop(Loop *loop, const ExceptionReport *report) { (void)loop; note(as_str(repr(report->exception))); }

IO_TEST(what_a_callback_raises_is_reported_and_the_child_goes_on)
{
    static const SubprocessProtocol raising = {.pipe_data_received = raises, .connection_lost = over};
    Value self = self_new();
    loop_set_exception_handler(asyncio_get_running_loop(), told_to_the_loop);
    await(loop_subprocess_shell(asyncio_get_running_loop(), &raising, self, "echo out", .stdin = DEVNULL));
    until_over(self);
    ck_notes("ValueError('not this')|over None");
    return None;
}

IO_TEST(a_protocol_may_want_to_know_nothing)
{
    static const SubprocessProtocol deaf = {.make = NULL};
    Value both = await(loop_subprocess_shell(asyncio_get_running_loop(), &deaf, None, "cat; echo out", .stdin = DEVNULL));
    SubprocessTransport *transport = as_subprocesstransport(list_get(both, 0));
    while (is_none(subprocesstransport_get_returncode(transport))) await(asyncio_sleep(0));
    ck_repr(subprocesstransport_get_returncode(transport), "0");
    return None;
}

/* The protocol hears how it ends. */
IO_TEST(a_child_whose_start_is_cancelled_is_ended)
{
    Value self = self_new();
    Task *task = asyncio_create_task(loop_subprocess_exec(asyncio_get_running_loop(), &telling, self, "sleep", "1000"));
    await(asyncio_sleep(0));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    no_children_left();
    ck_assert(!strncmp(notes_, "made|", 5));
    ck_assert_str_eq(strrchr(notes_, '|'), "|over None");
    return None;
}

IO_TEST(a_child_with_a_protocol_that_cannot_be_run)
{
    Loop *loop = asyncio_get_running_loop();
    if (SPAWN_TELLS_OF_FAILURE)
        ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: 'no-such-command'", await(loop_subprocess_exec(loop, &telling, None, "no-such-command")));
    ck_raises_text(TypeError, "program arguments must be strings, not NULL", await(loop_subprocess_exec(loop, &telling, None, NULL)));
    ck_raises_text(ValueError, "cmd must be one string", await(loop_subprocess_shell(loop, &telling, None, "ls", "-l")));
    ck_raises_text(TypeError, "the protocol must be a SubprocessProtocol, not NULL", await(loop_subprocess_exec(loop, NULL, None, "true")));
    ck_raises_text(TypeError, "limit is for streams: a SubprocessProtocol is given all that comes", await(loop_subprocess_exec(loop, &telling, None, "true", .limit = 10)));
    ck_raises_text(TypeError, "expected a SubprocessTransport, got int", as_subprocesstransport(V(5)));
    ck_notes("");
    no_children_left();
    return None;
}

/* As in Python: a program that was started by nohup starts others that survive too. SIGPIPE is ours. */
IO_TEST(an_ignored_signal_stays_ignored_in_the_child)
{
    void (*hangup)(int) = signal(SIGHUP, SIG_IGN), (*broken)(int) = signal(SIGPIPE, SIG_IGN);
    Process *process = shell("kill -HUP $$; echo alive; kill -PIPE $$; echo never", .stdout = PIPE);
    ck_repr(await(process_communicate(process)), "(b'alive\\n', None)");
    ck_repr(process_returncode(process), "-13");
    signal(SIGHUP, hangup);
    signal(SIGPIPE, broken);
    return None;
}

/* The PATH that counts is the child's. */
IO_TEST(a_program_is_looked_for_along_the_path_of_its_environment)
{
    char folder[] = "/tmp/asyncio-path-XXXXXX", file[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/only_here", folder);
    FILE *program = fopen(file, "w");
    fputs("#!/bin/sh\necho found\n", program);
    fchmod(fileno(program), 0700);
    fclose(program);
    const char *with[] = {"A=b", as_str(format("PATH=/nowhere::%s", folder)), NULL}, *elsewhere[] = {"PATH=/nowhere", NULL};
    const char *none[] = {NULL};
    ck_repr(await(process_communicate(exec("only_here", .stdout = PIPE, .env = with))), "(b'found\\n', None)");
    ck_repr(await(process_wait(exec("true", .env = none))), "0");
    if (SPAWN_TELLS_OF_FAILURE) try {
        await(asyncio_create_subprocess_exec("true", .env = elsewhere));
        ck_abort();
    } except (FileNotFoundError, e) {
        ck_repr(list_get(exception_details(e), 2), "'true'");
    } end_try
    unlink(file);
    rmdir(folder);
    return None;
}
