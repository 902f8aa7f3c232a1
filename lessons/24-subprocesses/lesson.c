/* Lesson 24: other programs, as children. Who feeds them, who listens, who waits for their end? */
#include "asyncio.h"
#include <signal.h>
#include <string.h>

async_def(sorted_by_sort, (const char *) text)
{
    Value child = await(asyncio_create_subprocess_exec("sort", .stdin = PIPE, .stdout = PIPE));
    Process *sort = as_process(child);
    Value both = await(process_communicate(sort, .input = bytes(text, strlen(text))));
    print("  stdout, stderr:", both);
    print("  returncode:", process_returncode(sort));
    return None;
}

async_def(lines_as_they_come)
{
    const char *script = "echo one; echo two; exit 3";
    Process *child = as_process(await(asyncio_create_subprocess_shell(script, .stdout = PIPE)));
    async_for (line, process_stdout(child)) print("  line:", line);
    print("  it ended with", await(process_wait(child)));
    return None;
}

async_def(conversation)
{
    Process *cat = as_process(await(asyncio_create_subprocess_exec("cat", .stdin = PIPE, .stdout = PIPE)));
    static const char *const words[] = {"hello\n", "again\n"};
    for (int i = 0; i < 2; i++) {
        streamwriter_write(process_stdin(cat), words[i]);
        await(streamwriter_drain(process_stdin(cat)));
        print("  cat says", await(streamreader_readline(process_stdout(cat))));
    }
    streamwriter_close(process_stdin(cat));
    print("  its stdin is closed: cat ends with", await(process_wait(cat)));
    return None;
}

async_def(too_slow)
{
    Process *sleeper = as_process(await(asyncio_create_subprocess_exec("sleep", "3600")));
    try {
        await(asyncio_wait_for(process_wait(sleeper), 0.2));
    } except (TimeoutError) {
        print("  time is up; the child does not know:", process_returncode(sleeper));
        process_kill(sleeper);
        print("  killed; now it has to be waited for:", await(process_wait(sleeper)));
    } end_try
    return None;
}

async_def(asked_to_end)
{
    const char *script = "trap 'echo bye >&2; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    Process *child = as_process(await(asyncio_create_subprocess_shell(script, .stdout = PIPE, .stderr = PIPE)));
    print("  it says", await(streamreader_readline(process_stdout(child))));
    process_send_signal(child, SIGTERM);  /* what process_terminate(child) does */
    print("  on its stderr:", await(streamreader_readline(process_stderr(child))));
    print("  it ended with", await(process_wait(child)));
    return None;
}

async_def(calculate, (const char *) expression)
{
    Value script = format("read go; echo $((%s))", expression);
    Value child = await(asyncio_create_subprocess_exec("sh", "-c", as_str(script), .stdin = PIPE, .stdout = PIPE));
    Value output = list_get(await(process_communicate(as_process(child), .input = bytes("go\n", 3))), 0);
    return tuple(expression, output);
}

/* The same with callbacks only: lesson 26 says more about protocols. */

static void child_says(Value over, int fd, const char *data, size_t size)
{
    (void)over;
    print(format("  on its %s:", fd == 1 ? "stdout" : "stderr"), bytes(data, size));
}

static void child_is_over(Value over, Value e) { (void)e; future_set_result(as_future(over), "connection_lost"); }

static const SubprocessProtocol listener = {.pipe_data_received = child_says, .connection_lost = child_is_over};

async_def(in_callbacks)
{
    Loop *loop = asyncio_get_running_loop();
    Future *over = loop_create_future(loop);
    Value both = await(loop_subprocess_exec(loop, &listener, over, "cat"));
    SubprocessTransport *cat = as_subprocesstransport(list_get(both, 0));
    Transport *its_stdin = subprocesstransport_get_pipe_transport(cat, 0);
    transport_write(its_stdin, "meow\n", 5);
    transport_close(its_stdin);
    print(" ", await(over), "- it ended with", subprocesstransport_get_returncode(cat));
    return None;
}

async_def(main_)
{
    print("give it input, take its output, wait for its end: communicate()");
    await(sorted_by_sort("pear\napple\nfig\n"));

    print("line by line");
    await(lines_as_they_come());

    print("a conversation");
    await(conversation());

    print("one that takes too long");
    await(too_slow());

    print("one that is asked to end");
    await(asked_to_end());

    print("three at once");
    print(" ", await(asyncio_gather(calculate("6 * 7"), calculate("2 + 2"), calculate("10 - 3"))));

    print("in callbacks");
    await(in_callbacks());
    return None;
}

int main(void) { asyncio_run(main_()); }
