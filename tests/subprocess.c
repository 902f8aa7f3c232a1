/* Children: their streams, their ends, and that nothing of them stays behind. */
#include "testing.h"
#include <dirent.h>
#include <signal.h>
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
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: 'no-such-command'", await(asyncio_create_subprocess_exec("no-such-command")));
    ck_raises_text(PermissionError, "[Errno 13] Permission denied: '/etc/passwd'", await(asyncio_create_subprocess_exec("/etc/passwd")));
    ck_raises_text(FileNotFoundError, "[Errno 2] No such file or directory: '/nonexistent'", await(asyncio_create_subprocess_exec("true", .cwd = "/nonexistent")));
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
    ck_raises(FileNotFoundError, await(asyncio_create_subprocess_exec("no-such-command", .stdin = PIPE, .stdout = PIPE)));
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
