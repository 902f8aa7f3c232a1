"""Lesson 17: who cleans up, when cleaning up itself takes time?"""
import asyncio
from contextlib import asynccontextmanager


# A connection: opening and closing it takes a while. __aenter__ gives what stands after "as".
class Connection:
    def __init__(self, name):
        self.name = name

    async def __aenter__(self):
        await asyncio.sleep(0.1)
        print("  opened", self.name)
        return f"<{self.name}>"

    async def __aexit__(self, kind, e, traceback):
        await asyncio.sleep(0.1)
        print("  closed", self.name, "because of", "the end" if e is None else repr(e))
        return isinstance(e, KeyError)  # true: the exception ends here


# The same with a generator: what is before the yield is __aenter__, what is after it __aexit__.
@asynccontextmanager
async def transaction(name):
    print("  begin", name)
    try:
        yield name
        print("  commit", name)
    except Exception as e:
        print("  roll back", name, "because of", repr(e))
        raise


async def early():
    async with Connection("early") as c:
        return f"left {c} by return"


async def main():
    print("as usual")
    async with Connection("db") as c:
        print("  using", c)

    print("left by return")
    print("  ", await early())

    print("an exception that is swallowed")
    async with Connection("cache") as c:
        raise KeyError("no such key")
    print("  we are still here")

    print("by a generator")
    async with transaction("A") as name:
        print("  working in", name)
    try:
        async with transaction("B"):
            raise ValueError("negative amount")
    except ValueError as e:
        print("  main_ sees:", e)

    print("cancelled in the middle")
    try:
        async with asyncio.timeout(0.3):
            async with Connection("slow"):
                await asyncio.sleep(9)
    except TimeoutError:
        print("  too late")


asyncio.run(main())
