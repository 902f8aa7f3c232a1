"""Lesson 04: how does an exception find its way out of a coroutine, and what must be volatile?"""
import asyncio


class OutOfMilk(LookupError):
    pass


async def pour(cups):
    await asyncio.sleep(0.1)
    if cups > 2:
        raise OutOfMilk(f"only 2 cups left, {cups} wanted")
    return f"{cups} cups"


async def breakfast(cups):
    try:
        print("poured", await pour(cups))
    finally:
        print("put the milk back")


async def main():
    await breakfast(2)

    try:
        await breakfast(5)
        print("never printed")
    except LookupError as e:
        print(type(e).__name__, "-", e)

    # A task keeps its exception until somebody asks for it.
    task = asyncio.create_task(pour(9))
    await asyncio.sleep(0.2)
    print("the task failed:", repr(task.exception()))
    try:
        await task
    except OutOfMilk as e:
        print("await raises the same:", e)

    # In Python a local variable needs no care: it lives in the frame, not in a processor register.
    attempts = 0
    try:
        while True:
            attempts += 1
            await pour(attempts)
    except OutOfMilk:
        print("failed at attempt", attempts)

    try:
        try:
            raise ValueError("sour")
        except ValueError as e:
            raise RuntimeError("no breakfast") from e
    except RuntimeError as e:
        print(repr(e), "because of", repr(e.__cause__))

    try:
        try:
            raise KeyError("cup")
        except KeyError:
            raise ValueError("no cup")
    except ValueError as e:
        e.add_note("it was early in the morning")
        print(repr(e), "while handling", repr(e.__context__), "- notes:", e.__notes__)


asyncio.run(main())
