"""Lesson 01: what is a coroutine, and when does it run?"""
import asyncio


async def greet(name):
    print("  greet() begins")
    await asyncio.sleep(0.5)
    print(f"  hello, {name}")
    return "bye"


async def main():
    print("values:", 1, 2.5, "text", True, None)
    print([1, "two", (3.0, None), []])

    coro = greet("Ada")
    print("made the coroutine; nothing has run yet:", coro.__name__)

    answer = await coro
    print("it returned", repr(answer))

    print("once more:", await greet("Grace"))
    return "main's result"


print("before the loop")
result = asyncio.run(main())
print("after the loop:", result)
