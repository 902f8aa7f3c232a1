"""Lesson 18: a variable that is global for me and invisible for the others."""
import asyncio
import contextvars

user = contextvars.ContextVar("user", default="nobody")


def log(what):
    print(f"  [{user.get()}] {what}")


async def query(seconds):
    log("query")  # nobody handed the user down to here
    await asyncio.sleep(seconds)
    log("answer")


async def handle(name, seconds):
    user.set(name)
    await query(seconds)


def who(greeting):
    return f"{greeting}, {user.get()}"


def later(what):
    log(what)


async def main():
    print("each task has its own")
    await asyncio.gather(handle("anna", 0.2), handle("bert", 0.1))
    log("main_ is untouched")

    print("a plain await shares it")
    await handle("cora", 0.1)
    log("main_ is changed")

    print("set and take back")
    token = user.set("root")
    log("with care")
    user.reset(token)
    log("as before")

    print("a callback keeps the context in which it was made")
    asyncio.get_running_loop().call_soon(later, "callback")
    user.set("dora")
    await asyncio.sleep(0)
    log("main_ is dora now")

    print("a task in a context of your choice")
    mine = contextvars.copy_context()
    await asyncio.create_task(handle("emil", 0.1), context=mine)
    print("  in it, user is", mine.get(user))
    print("  a function in it:", mine.run(who, "hello"))
    log("main_ is still dora")


asyncio.run(main())
