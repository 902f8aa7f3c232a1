/* Exercise 24, solved. A pipe holds 64 KiB, the reader beside it some more. When both are full the child's write() blocks until somebody
 * reads; a parent that reads only after the child's end waits for ever. communicate() reads while it waits.
 */
#include "asyncio.h"
#include <string.h>

async_def(count_bytes, (const char *) last)
{
    Process *seq = as_process(await(asyncio_create_subprocess_exec("seq", last, .stdout = PIPE)));
    Value output = list_get(await(process_communicate(seq)), 0);
    print(format("seq %s: %d bytes, ended with", last, len(output)), process_returncode(seq));
    return None;
}

async_def(backwards, (const char *) text)
{
    Process *tac = as_process(await(asyncio_create_subprocess_exec("tac", .stdin = PIPE, .stdout = PIPE)));
    Value both = await(process_communicate(tac, .input = bytes(text, strlen(text))));
    print("backwards:", list_get(both, 0));
    return None;
}

async_def(main_)
{
    await(count_bytes("100000"));
    await(count_bytes("3"));
    await(backwards("1\n2\n3\n"));
    return None;
}

int main(void) { asyncio_run(main_()); }
