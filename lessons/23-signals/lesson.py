"""Lesson 23: a signal interrupts anything at any moment. How does it reach a loop in good order?"""
import asyncio
import signal


def on_wish(name):
    print("  the loop calls the handler of", name)
    wishes.put_nowait(name)


def on_stop():
    print("  the loop calls on_stop(): asked to stop")
    stop.set()


async def handlers():
    global wishes
    loop = asyncio.get_running_loop()
    wishes = asyncio.Queue()
    loop.add_signal_handler(signal.SIGUSR1, on_wish, "SIGUSR1")
    loop.add_signal_handler(signal.SIGUSR2, on_wish, "SIGUSR2")

    signal.raise_signal(signal.SIGUSR1)
    print("  sent; this task still has the loop, so nobody has been called")
    print("  got", await wishes.get())

    signal.raise_signal(signal.SIGUSR2)
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    print("  sent three more")
    print("  got", await wishes.get(), "- and", wishes.qsize(), "more wait in the queue")
    print("  removed:", loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1))


async def jobs():
    job = 1
    while not stop.is_set():
        print("  job", job, "begins")
        if job == 2:
            signal.raise_signal(signal.SIGTERM)  # somebody wants us to end, in the middle of a job
        await asyncio.sleep(0.1)
        print("  job", job, "is done")
        job += 1
    return "stopped between two jobs"


async def service():
    global stop
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_stop)
    return await jobs()


async def background():
    try:
        await asyncio.sleep(3600)
    finally:
        print("  background: tidies up too")


async def interrupted():
    task = asyncio.create_task(background())
    try:
        await asyncio.sleep(0.1)
        signal.raise_signal(signal.SIGINT)  # what the terminal sends when you press Ctrl-C
        print("  Ctrl-C; still running, up to the next await")
        await asyncio.sleep(3600)
        print("  never printed")
    except asyncio.CancelledError as e:
        print("  main task:", repr(e), "at its await")
        raise
    finally:
        await asyncio.sleep(0.1)
        print("  main task: has saved its work")


async def stubborn():
    try:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("  caught, and not raised again")
    return "went on"


print("a handler is called by the loop, in its turn")
asyncio.run(handlers())

print("SIGTERM: finish what you have begun")
print("  asyncio_run gives", repr(asyncio.run(service())))

print("Ctrl-C cancels the main task")
try:
    asyncio.run(interrupted())
except KeyboardInterrupt as e:
    print("  asyncio_run raises", repr(e))

print("who swallows the cancellation swallows Ctrl-C")
print("  asyncio_run gives", repr(asyncio.run(stubborn())))
