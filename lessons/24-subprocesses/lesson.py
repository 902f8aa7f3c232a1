"""Lesson 24: other programs, as children. Who feeds them, who listens, who waits for their end?"""
import asyncio
import signal
from asyncio.subprocess import PIPE


async def sorted_by_sort(text):
    sort = await asyncio.create_subprocess_exec("sort", stdin=PIPE, stdout=PIPE)
    both = await sort.communicate(text.encode())
    print("  stdout, stderr:", both)
    print("  returncode:", sort.returncode)


async def lines_as_they_come():
    script = "echo one; echo two; exit 3"
    child = await asyncio.create_subprocess_shell(script, stdout=PIPE)
    async for line in child.stdout:
        print("  line:", line)
    print("  it ended with", await child.wait())


async def conversation():
    cat = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    for word in ["hello\n", "again\n"]:
        cat.stdin.write(word.encode())
        await cat.stdin.drain()
        print("  cat says", await cat.stdout.readline())
    cat.stdin.close()
    print("  its stdin is closed: cat ends with", await cat.wait())


async def too_slow():
    sleeper = await asyncio.create_subprocess_exec("sleep", "3600")
    try:
        await asyncio.wait_for(sleeper.wait(), 0.2)
    except TimeoutError:
        print("  time is up; the child does not know:", sleeper.returncode)
        sleeper.kill()
        print("  killed; now it has to be waited for:", await sleeper.wait())


async def asked_to_end():
    script = "trap 'echo bye >&2; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    child = await asyncio.create_subprocess_shell(script, stdout=PIPE, stderr=PIPE)
    print("  it says", await child.stdout.readline())
    child.send_signal(signal.SIGTERM)  # what child.terminate() does
    print("  on its stderr:", await child.stderr.readline())
    print("  it ended with", await child.wait())


async def calculate(expression):
    script = f"read go; echo $(({expression}))"
    child = await asyncio.create_subprocess_exec("sh", "-c", script, stdin=PIPE, stdout=PIPE)
    output = (await child.communicate(b"go\n"))[0]
    return expression, output


# The same with callbacks only: lesson 26 says more about protocols.

class Listener(asyncio.SubprocessProtocol):
    def __init__(self, over):
        self.over = over

    def pipe_data_received(self, fd, data):
        print(f"  on its {'stdout' if fd == 1 else 'stderr'}:", data)

    def connection_lost(self, e):
        self.over.set_result("connection_lost")


async def in_callbacks():
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    cat, _ = await loop.subprocess_exec(lambda: Listener(over), "cat")
    its_stdin = cat.get_pipe_transport(0)
    its_stdin.write(b"meow\n")
    its_stdin.close()
    print(" ", await over, "- it ended with", cat.get_returncode())


async def main():
    print("give it input, take its output, wait for its end: communicate()")
    await sorted_by_sort("pear\napple\nfig\n")

    print("line by line")
    await lines_as_they_come()

    print("a conversation")
    await conversation()

    print("one that takes too long")
    await too_slow()

    print("one that is asked to end")
    await asked_to_end()

    print("three at once")
    print(" ", await asyncio.gather(calculate("6 * 7"), calculate("2 + 2"), calculate("10 - 3")))

    print("in callbacks")
    await in_callbacks()


asyncio.run(main())
