/* Children on a system without pidfds, as before Linux 5.3: a thread waits for each. And what the system says against a start. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include "cpython/cpython_io.h"
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/wait.h>

long syscall(long number, ...)
{
    long arguments[6];
    va_list list;
    if (number == SYS_pidfd_open) { errno = ENOSYS; return -1; }
    va_start(list, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    return ((long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"))(
        number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

static int duplicate_error;

int fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    if (command == F_DUPFD_CLOEXEC && duplicate_error) { errno = duplicate_error; return -1; }
    return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl"))(fd, command, argument);
}

#define shell(command, ...) as_process(await(asyncio_create_subprocess_shell(command, __VA_ARGS__)))

NET_TEST(the_end_of_a_child_is_noticed)
{
    ck_repr(await(process_wait(shell("exit 12"))), "12");
    ck_repr(await(process_communicate(shell("cat", .stdin = PIPE, .stdout = PIPE), .input = V("text"))), "(b'text', None)");
    Process *process = shell("sleep 3600");
    process_kill(process);
    ck_repr(await(process_wait(process)), "-9");
    ck_raises(ProcessLookupError, process_kill(process));
    return None;
}

NET_TEST(many_children)
{
    Value waits = list();
    for (int i = 0; i < 50; i++) list_append(waits, process_wait(shell(as_str(format("exit %d", i)))));
    Value codes = await(asyncio_gather_list(waits));
    for (int i = 0; i < 50; i++) ck_assert_int_eq(as_int(list_get(codes, i)), i);
    return None;
}

NET_TEST(a_child_reaped_by_somebody_else_has_the_status_255)
{
    Process *process = shell("read line", .stdin = PIPE);
    process_kill(process);
    ck_assert_int_eq(waitpid(process_pid(process), NULL, 0), process_pid(process));
    logging(ck_repr(await(process_wait(process)), "255"));
    ck_contains(logged, "will report returncode 255");
    return None;
}

/* The loop closes; one child has ended without its knowledge, the other runs. */
static int left[2];

async_def(leaves_two)
{
    siginfo_t info;
    left[0] = process_pid(shell("sleep 3600", .stdout = PIPE));
    left[1] = process_pid(shell("exit 3"));
    ck_assert_int_eq(waitid(P_PID, (id_t)left[1], &info, WEXITED | WNOWAIT), 0);
    return None;
}

SYNC_TEST(a_loop_that_closes_ends_its_children)
{
    int descriptors = open_descriptors();
    asyncio_run(leaves_two());
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(kill(left[i], 0), -1);
        ck_assert_int_eq(errno, ESRCH);
    }
    ck_assert_int_eq(open_descriptors(), descriptors);
}

NET_TEST(what_stops_a_start_is_told)
{
    duplicate_error = EINVAL;
    ck_raises_text(OSError, "[Errno 22] Invalid argument: 'true'", await(asyncio_create_subprocess_exec("true", .stdout = PIPE)));
    duplicate_error = EMFILE;
    ck_raises_text(OSError, "[Errno 24] Too many open files: 'true'", await(asyncio_create_subprocess_exec("true", .stdout = PIPE)));
    return None;
}
