/* Exercise 24: the child that never ends.
 *
 * count_bytes() starts a program, waits for its end, and then reads what it has written. If that is much the program never comes to its end:
 * find out why (how much fits into a pipe?). As it stands it is killed after a second:
 *
 *     seq 100000: stuck, ended with -9
 *     seq 3: 6 bytes, ended with 0
 *
 * Wanted:
 *
 *     seq 100000: 588895 bytes, ended with 0
 *     seq 3: 6 bytes, ended with 0
 *     backwards: b'3\n2\n1\n'
 *
 * For the last line write backwards(): it gives the text that it gets to a child, the program `tac`, which writes the lines in reverse order.
 * process_communicate(child, .input = ...) does all that is needed in both places.
 */
#include "asyncio.h"

async_def(count_bytes, (const char *) last)
{
    Process *seq = as_process(await(asyncio_create_subprocess_exec("seq", last, .stdout = PIPE)));
    Value output = None;
    try {
        await(asyncio_wait_for(process_wait(seq), 1));  /* >>> waits for the end first, ... */
        output = await(streamreader_read(process_stdout(seq)));     /* >>> ... reads afterwards */
    } except (TimeoutError) {
        process_kill(seq);
        await(streamreader_read(process_stdout(seq)));
        await(process_wait(seq));
    } end_try
    Value what = is_none(output) ? V("stuck") : format("%d bytes", len(output));
    print(format("seq %s: %s, ended with", last, as_str(what)), process_returncode(seq));
    return None;
}

async_def(main_)
{
    await(count_bytes("100000"));
    await(count_bytes("3"));
    return None;                                        /* >>> backwards("1\n2\n3\n") */
}

int main(void) { asyncio_run(main_()); }
