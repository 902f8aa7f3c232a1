#!/usr/bin/env python3
"""A toy asyncio that writes traces as docs/TRACE.md specifies, for testing the tracer without asyncio.c.

    simulate.py SCENARIO            writes a recording to standard output
    ASYNCIO_TRACE_FD=N simulate.py SCENARIO      speaks the control protocol on descriptor N

Tasks are Python generators that yield Wait objects; the scenarios are twins of samples/*.c, and every place in the
source is found by a snippet of its text. The clock is virtual: the same scenario gives the same bytes each time.
"""
import heapq
import json
import os
import select
import sys
import time
from collections import deque

HERE = os.path.dirname(os.path.abspath(__file__))


class Source:
    """samples/NAME.c, and where in it a snippet stands."""

    def __init__(self, name):
        self.file = f"/home/student/{name}.c"
        with open(os.path.join(HERE, "samples", name + ".c"), encoding="utf-8") as f:
            self.lines = f.read().split("\n")

    def at(self, func, snippet):
        inside = False
        for i, line in enumerate(self.lines):
            inside = inside or func in line and not line.startswith(" ")
            if inside and snippet in line:
                return dict(file=self.file, line=i + 1, func=func)
        raise LookupError(f"{func}: {snippet}")


class Wire:
    """Where lines go: a file, or a socket that asks leave before each event."""

    def __init__(self):
        fd = os.environ.get("ASYNCIO_TRACE_FD")
        self.sock = None
        if fd:
            import socket
            self.sock = socket.socket(fileno=int(fd))
            self.buffer, self.leave, self.free, self.paused = b"", 0, False, False
        else:
            print("[")

    def line(self, obj):
        text = json.dumps(obj, ensure_ascii=False, separators=(",", ":"))
        if not self.sock:
            print(text + ",")
            return
        try:
            self.sock.sendall(text.encode() + b"\n")
            self.wait_for_leave()
        except OSError:
            self.sock = Null()

    def wait_for_leave(self):
        self.take(block=False)
        while not self.free and self.leave == 0:
            self.take(block=True)
        if not self.free:
            self.leave -= 1

    def take(self, block):
        while block or select.select([self.sock], [], [], 0)[0]:
            data = self.sock.recv(4096)
            if not data:
                self.free, self.sock = True, Null()
                return
            self.buffer += data
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                self.command(line.split())
            block = False

    def command(self, words):
        self.paused = words[0] == b"pause"
        if words[0] == b"step":
            self.free, self.leave = False, self.leave + int(words[1])
        elif words[0] == b"run":
            self.free = True
        elif self.paused:
            self.free, self.leave = False, 0

    def sleep(self, seconds):
        """Real time passes only under control, and stands still while we are paused."""
        end = time.monotonic() + seconds
        while self.sock and (left := end - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return
            self.take(block=True)
            if self.sock and self.paused:
                self.sock.sendall(b'{"cat":"control","name":"paused"}\n')
                left = end - time.monotonic()
                while self.sock and self.paused:
                    self.take(block=True)
                self.leave = max(0, self.leave - 1)    # it was given for what comes after this sleep
                end = time.monotonic() + left

    def close(self):
        if not self.sock:
            print("{}]")


class Null:
    def __bool__(self):
        return False

    def sendall(self, data):
        pass


class Wait:
    def __init__(self, future, where, what, kind="wait", on=0, stack=None):
        self.future, self.where, self.what, self.kind, self.on = future, where, what, kind, on
        self.stack = stack or [where]


class Cancelled(BaseException):
    pass


class Future:
    def __init__(self, loop):
        self.loop, self.done, self.result, self.error, self.callbacks = loop, False, None, None, []
        self.id = loop.next_id()

    def finish(self, result=None, error=None):
        if self.done:
            return
        self.done, self.result, self.error = True, result, error
        for callback in self.callbacks:
            callback()
        self.callbacks = []

    def cancel(self):
        self.finish(error=Cancelled())


class Task(Future):
    def __init__(self, loop, coro, name, func, where):
        super().__init__(loop)
        loop.tasks += 1
        self.coro, self.label, self.waiting, self.must_cancel, self.where = coro, name or f"Task-{loop.tasks}", None, False, where
        loop.emit("task.create", task=self.id, label=self.label, coro=func, parent=loop.current_id(),
                  file=where["file"], line=where["line"])
        loop.call_soon(lambda: self.step("start"), "step", self.id)

    def wakeup(self, future):
        self.loop.emit("task.wake", task=self.id, by=self.loop.current_id(), via=future.id)
        self.loop.call_soon(lambda: self.step("wake", future), "wakeup", self.id, future.id)

    def request_cancel(self, message=None):
        if self.done:
            return
        self.loop.emit("task.cancel", task=self.id, by=self.loop.current_id(), message=message)
        if self.waiting and not self.waiting.done:
            waiting = self.waiting
            waiting.request_cancel() if isinstance(waiting, Task) else waiting.cancel()
        else:
            self.must_cancel = True

    def step(self, why, future=None):
        error = Cancelled() if self.must_cancel else future.error if future else None
        self.must_cancel, self.waiting = False, None
        extra = dict(why="throw", exception=name_of(error)) if error else dict(why=why)
        loop = self.loop
        loop.current = self
        loop.emit("task.run", "B", task=self.id, **self.where, **extra)
        try:
            wait = self.coro.throw(error) if error else self.coro.send(future.result if future else None)
        except StopIteration as stop:
            loop.done(self, "done", result=stop.value)
        except Cancelled:
            loop.done(self, "cancelled", error=Cancelled())
        except Exception as e:
            loop.done(self, "failed", error=e)
        else:
            self.suspend(wait)
        loop.current = None

    def suspend(self, wait):
        self.where = wait.where
        self.loop.emit("task.wait", "E", task=self.id, on=wait.on, what=wait.what, kind=wait.kind, stack=wait.stack,
                       **wait.where)
        if wait.future is None:
            self.loop.call_soon(lambda: self.step("wake"), "step", self.id)
        elif wait.future.done:
            self.wakeup(wait.future)
        else:
            self.waiting = wait.future
            wait.future.callbacks.append(lambda: self.wakeup(wait.future))


def name_of(error):
    return "CancelledError" if isinstance(error, Cancelled) else type(error).__name__


def py(value):
    return repr(value)


class Loop:
    def __init__(self, name, cost=12e-6):
        self.wire, self.n, self.ids, self.tasks, self.cost = Wire(), 0, 0, 0, cost
        self.clock, self.ready, self.timers, self.current, self.ticks = 0.0, deque(), [], None, 0
        self.fds, self.src, self.stopping, self.status = {}, Source(name), False, 0
        self.emit("trace.begin", version=1, program=name, argv=[name], cwd="/home/student", clock="virtual",
                  started=0, pid=4242)

    def next_id(self):
        self.ids += 1
        return self.ids

    def current_id(self):
        return self.current.id if self.current else 0

    def emit(self, name, ph="i", **args):
        self.n += 1
        self.clock += self.cost
        self.wire.line(dict(name=name, cat="asyncio", ph=ph, ts=round(self.clock * 1e6, 3), pid=4242,
                            tid=self.current_id(), args=dict(n=self.n, **args)))

    def call_soon(self, callback, what, task=0, by=0):
        handle = self.next_id()
        self.emit("handle.ready", handle=handle, what=what, task=task, by=by)
        self.ready.append((handle, callback, what, task))

    def call_later(self, delay, callback, what):
        timer = self.next_id()
        when = self.clock + delay
        self.emit("timer.arm", timer=timer, when=round(when, 6), delay=delay, what=what, task=self.current_id())
        heapq.heappush(self.timers, [when, timer, callback, what])
        return timer

    def cancel_timer(self, timer):
        for entry in self.timers:
            if entry[1] == timer:
                self.timers.remove(entry)
                heapq.heapify(self.timers)
                self.emit("timer.cancel", timer=timer, what=entry[3])
                return

    def print(self, text, fd=1):
        self.emit("output", fd=fd, text=text)
        if self.wire.sock is not None:
            os.write(fd, text.encode(errors="surrogateescape"))

    def done(self, task, state, result=None, error=None):
        extra = dict(result=py(result)) if state == "done" else dict(exception=name_of(error), message=str(error))
        self.emit("task.done", "E", task=task.id, state=state, **extra, **task.where)
        task.finish(result, error)

    def run_once(self):
        self.ticks += 1
        self.emit("tick.begin", tick=self.ticks, ready=len(self.ready), timers=len(self.timers))
        timeout = 0 if self.ready else max(0, self.timers[0][0] - self.clock) if self.timers else None
        if self.fds:
            due = min(entry[0] for entry in self.fds.values())
            timeout = timeout if timeout is not None and self.clock + timeout < due else max(0, due - self.clock)
        if timeout is None:
            self.emit("loop.deadlock", waiting="")
            self.stopping, self.status = True, 1
            return
        self.emit("select.enter", timeout=timeout if timeout is None else round(timeout, 6),
                  fds=[{"fd": fd, "for": "read", "what": entry[2]} for fd, entry in self.fds.items()])
        self.clock += timeout or 0
        self.wire.sleep(timeout or 0)
        hot = [fd for fd, entry in self.fds.items() if entry[0] <= self.clock]
        self.emit("select.leave", ready=[{"fd": fd, "for": "read"} for fd in hot], woken=False)
        for fd in hot:
            self.call_soon(self.fds[fd][1], self.fds[fd][2])
        while self.timers and self.timers[0][0] <= self.clock:
            when, timer, callback, what = heapq.heappop(self.timers)
            self.emit("timer.due", timer=timer, when=round(when, 6))
            self.emit("handle.ready", handle=timer, what=what, task=0, by=timer)
            self.ready.append((timer, callback, what, 0))
        self.emit("tick.run", count=len(self.ready))
        for _ in range(len(self.ready)):
            handle, callback, what, task = self.ready.popleft()
            self.emit("handle.run", "B", handle=handle, what=what, task=task)
            callback()
            self.emit("handle.end", "E", handle=handle)

    def run(self, main):
        self.emit("loop.start", loop=self.next_id())
        task = Task(self, main, None, "main_", self.src.at("main", "asyncio_run"))
        task.callbacks.append(lambda: self.call_soon(self.stop, "run_until_complete's stop"))
        while not self.stopping:
            self.run_once()
        self.emit("loop.stop", loop=1)
        self.emit("trace.end", status=self.status)
        self.wire.close()

    def stop(self):
        self.stopping = True

    # ---- what awaits, as generators ----

    def line(self, where, what):
        self.emit("line.step", task=self.current_id(), what=what, **where)

    def sleep(self, seconds, where, stack=None):
        what = f"sleep({seconds:g})"
        self.line(where, what)
        future = Future(self)
        timer = self.call_later(seconds, future.finish, "set_result")
        try:
            yield Wait(future, where, what, "sleep", future.id, stack)
        finally:
            if not future.done or future.error:
                self.cancel_timer(timer)

    def gather(self, tasks, where, return_exceptions=False):
        outer, left = Future(self), [len(tasks)]
        state = dict(id=outer.id, type="gather", label=f"gather #{outer.id}")
        self.emit("object.make", state="pending", why="created", children=[t.id for t in tasks], **state)

        def one(task):
            left[0] -= 1
            if task.error and not return_exceptions:
                outer.finish(error=task.error)
            elif left[0] == 0:
                outer.finish([t.error or t.result for t in tasks])
            self.emit("object.change", state="done" if outer.done else "pending", why=f"{task.label} finished", **state)
        for task in tasks:
            task.callbacks.append(lambda t=task: self.call_soon(lambda: one(t), "gather child done", 0, t.id))
        self.line(where, "gather()")
        result = yield Wait(outer, where, f"gather of {len(tasks)}", "wait", outer.id)
        self.emit("object.drop", id=outer.id)
        return result

    def wait_for(self, inner, seconds, where, what, on=0):
        """`inner` is a generator (awaited in place) or a Task."""
        me, timeout_id, expired = self.current, self.next_id(), []
        state = dict(id=timeout_id, type="Timeout", label=f"timeout {seconds:g} s", waiters=[{"task": me.id, "as": "owner"}])
        self.line(where, what)

        def expire():
            expired.append(1)
            self.emit("object.change", state="expired", why="the deadline passed", **state)
            me.request_cancel()
        timer = self.call_later(seconds, expire, "timeout")
        self.emit("object.make", state="armed", deadline=round(self.clock + seconds, 6), why="entered", **state)
        try:
            if isinstance(inner, Task):
                return (yield Wait(inner, where, f"task '{inner.label}'", "wait", inner.id))
            return (yield from inner)
        except Cancelled:
            if expired:
                raise TimeoutError() from None
            raise
        finally:
            self.cancel_timer(timer)
            self.emit("object.drop", id=timeout_id)


class Lock:
    def __init__(self, loop):
        self.loop, self.id, self.holder, self.waiters = loop, loop.next_id(), None, deque()
        self.tell("object.make", "created")

    def tell(self, event, why):
        self.loop.emit(event, id=self.id, type="Lock", label=f"Lock #{self.id}",
                       state="locked" if self.holder else "unlocked", holder=self.holder.id if self.holder else 0,
                       waiters=[{"task": t.id, "as": "waiter"} for t, _ in self.waiters], why=why)

    def acquire(self, where):
        me = self.loop.current
        self.loop.line(where, "lock.acquire()")
        barred = self.holder or self.waiters
        while barred:
            future = Future(self.loop)
            self.waiters.append((me, future))
            self.tell("object.change", f"'{me.label}' waits in line")
            yield Wait(future, where, "lock.acquire()", "wait", future.id)
            self.waiters = deque(w for w in self.waiters if w[1] is not future)
            barred = self.holder
        self.holder = me
        self.tell("object.change", f"acquired by '{me.label}'")

    def release(self):
        self.holder = None
        self.tell("object.change", "released")
        if self.waiters:
            self.waiters[0][1].finish()


class Queue:
    def __init__(self, loop, maxsize=0):
        self.loop, self.id, self.maxsize, self.items = loop, loop.next_id(), maxsize, deque()
        self.getters, self.putters, self.joiners, self.unfinished = deque(), deque(), deque(), 0
        self.tell("object.make", "created")

    def tell(self, event, why):
        waiters = [{"task": t.id, "as": role} for role, group in (("getter", self.getters), ("putter", self.putters),
                                                                  ("joiner", self.joiners)) for t, _ in group]
        size = len(self.items)
        self.loop.emit(event, id=self.id, type="Queue", label=f"Queue #{self.id}", waiters=waiters, why=why,
                       state="empty" if not size else "full" if size == self.maxsize else f"{size} item{'s' if size > 1 else ''}",
                       items=[py(i) for i in self.items], maxsize=self.maxsize, unfinished=self.unfinished)

    def park(self, group, role, where, what):
        future, me = Future(self.loop), self.loop.current
        group.append((me, future))
        self.tell("object.change", f"'{me.label}' waits as {role}")
        try:
            yield Wait(future, where, what, "wait", future.id)
        except Cancelled:
            for entry in list(group):
                if entry[1] is future:
                    group.remove(entry)
            self.tell("object.change", f"'{me.label}' was cancelled while waiting")
            raise

    def wake(self, group):
        if group:
            group.popleft()[1].finish()

    def put_nowait(self, item):
        self.items.append(item)
        self.unfinished += 1
        self.tell("object.change", f"put {py(item)}")
        self.wake(self.getters)

    def put(self, item, where):
        self.loop.line(where, "queue.put()")
        while self.maxsize and len(self.items) >= self.maxsize:
            yield from self.park(self.putters, "putter", where, "queue.put()")
        self.put_nowait(item)

    def get(self, where):
        self.loop.line(where, "queue.get()")
        while not self.items:
            yield from self.park(self.getters, "getter", where, "queue.get()")
        item = self.items.popleft()
        self.tell("object.change", f"got {py(item)}")
        self.wake(self.putters)
        return item

    def task_done(self):
        self.unfinished -= 1
        self.tell("object.change", "task_done()")
        if not self.unfinished:
            while self.joiners:
                self.wake(self.joiners)

    def join(self, where):
        self.loop.line(where, "queue.join()")
        if self.unfinished:
            yield from self.park(self.joiners, "joiner", where, "queue.join()")


# ---- scenarios ----

def speakers(loop):
    at = loop.src.at

    def speaker(number, pause):
        for _ in range(5):
            loop.print(f"{number}-")
            yield from loop.sleep(pause, at("speaker", "asyncio_sleep"))
        return number

    def main():
        tasks = [Task(loop, speaker(n, p), None, "speaker", at("main_", f"speaker({n}"))
                 for n, p in ((3, 0.3), (1, 0.1), (2, 0.2))]
        results = yield from loop.gather(tasks, at("main_", "asyncio_gather"))
        loop.print(f"{results}\n")
    return main()


def waitfor(loop):
    at = loop.src.at

    def fetch(what, seconds, outer=None):
        where = at("fetch", "asyncio_sleep")
        loop.print(f"fetching {what}\n")
        yield from loop.sleep(seconds, where, outer and [outer, where])
        return what

    def main():
        first = at("main_", '"page"')
        page = yield from loop.wait_for(fetch("page", 0.2, first), 1.0, first, "wait_for(fetch(), 1.0)")
        loop.print(f"got {page}\n")
        slow = Task(loop, fetch("film", 3600), "slow", "fetch", at("main_", '"film"'))
        try:
            yield from loop.wait_for(slow, 0.5, at("main_", "slow, 0.5"), "wait_for(task 'slow', 0.5)", slow.id)
        except TimeoutError:
            loop.print("timeout!\n")
    return main()


def workers(loop):
    at = loop.src.at

    def worker(name, queue):
        while True:
            sleep_for = yield from queue.get(at("worker", "queue_get"))
            yield from loop.sleep(sleep_for, at("worker", "asyncio_sleep"))
            queue.task_done()
            loop.print(f"{name} has slept for {sleep_for} seconds\n")

    def main():
        queue = Queue(loop)
        for i in range(20):
            queue.put_nowait(round(0.05 + (i * 7 % 20) * 0.05, 2))
        tasks = [Task(loop, worker(f"worker-{i}", queue), f"worker-{i}", "worker", at("main_", "create_task"))
                 for i in range(3)]
        yield from queue.join(at("main_", "queue_join"))
        loop.print("3 workers slept in parallel\n")
        for task in tasks:
            task.request_cancel()
        yield from loop.gather(tasks, at("main_", "asyncio_gather"), True)
    return main()


def mixed(loop):
    at = loop.src.at

    def writer(lock, number):
        yield from lock.acquire(at("writer", "async_with"))
        yield from loop.sleep(0.2, at("writer", "asyncio_sleep"))
        loop.print(f"writer {number} wrote\n")
        lock.release()

    def producer(queue):
        for i in range(6):
            yield from queue.put(f"größer als {i} → ∞", at("producer", "queue_put"))

    def consumer(queue):
        for _ in range(6):
            yield from loop.sleep(0.15, at("consumer", "asyncio_sleep"))
            item = yield from queue.get(at("consumer", "queue_get"))
            loop.print(f"consumed {item}\n")

    def reader(fd):
        where = at("reader", "stream_readline")
        loop.line(where, "stream.readline()")
        future = Future(loop)
        loop.fds[fd] = (0.4, lambda: (loop.fds.pop(fd), loop.emit("reader.remove", fd=fd, what="readline"),
                                      future.finish("b'hello\\n'")), "readline")
        loop.emit("reader.add", fd=fd, what="readline")
        line = yield Wait(future, where, "stream.readline()", "io", future.id)
        loop.print(f"read {line}\n")
        return line

    def fragile():
        yield from loop.sleep(0.3, at("fragile", "asyncio_sleep"))
        raise ValueError("the vase fell")

    def main():
        lock, queue = Lock(loop), Queue(loop, 2)
        vase = Task(loop, fragile(), "vase", "fragile", at("main_", '"vase"'))
        where = at("main_", "asyncio_gather")
        coros = [(writer(lock, 1), "writer"), (writer(lock, 2), "writer"), (writer(lock, 3), "writer"),
                 (producer(queue), "producer"), (consumer(queue), "consumer"), (reader(7), "reader")]
        tasks = [Task(loop, coro, None, func, where) for coro, func in coros]
        yield from loop.gather(tasks, where)
        try:
            yield Wait(vase, at("main_", "await(vase)"), "task 'vase'", "wait", vase.id)
        except ValueError as e:
            loop.print(f"caught {e}\n", 2)
    return main()


def deadlock(loop):
    at = loop.src.at

    def transfer(first, second):
        yield from first.acquire(at("transfer", "async_with (_, from)"))
        yield from loop.sleep(0.1, at("transfer", "asyncio_sleep"))
        yield from second.acquire(at("transfer", "async_with (_, to)"))

    def auditor(queue):
        yield from queue.get(at("auditor", "queue_get"))

    def main():
        a, b, queue = Lock(loop), Lock(loop), Queue(loop)
        where = at("main_", "asyncio_gather")
        tasks = [Task(loop, transfer(a, b), "there", "transfer", at("main_", '"there"')),
                 Task(loop, transfer(b, a), "back", "transfer", at("main_", '"back"')),
                 Task(loop, auditor(queue), None, "auditor", where)]
        yield from loop.gather(tasks, where)
    return main()


def letters(loop):
    """Letters that no font has, stray bytes, control signs."""
    def main():
        loop.print("no letter \u0378, a control sign \x1b[31m, tab\t, a stray byte \udce9, \N{FACE WITH TEARS OF JOY}\n")
        yield from loop.sleep(0.1, loop.src.at("speaker", "asyncio_sleep"))
    return main()


def flood(loop, words=500):
    """A line that is longer than the pane for the output is high."""
    def main():
        loop.print("before\n")
        loop.print(" ".join(f"word{n}" for n in range(words)) + "\n")
        loop.print("after\n")
        yield from loop.sleep(0.1, loop.src.at("speaker", "asyncio_sleep"))
    return main()


def crowd(loop, count=200, rounds=3):
    """Many tasks: `count` speakers, a name that is much too long among them."""
    at = loop.src.at

    def speaker(number, pause):
        for _ in range(rounds):
            yield from loop.sleep(pause, at("speaker", "asyncio_sleep"))
        return number

    def main():
        names = {2: "a-task-whose-name-is-far-too-long-for-any-lane-and-then-some-more-of-it", 3: "größe-Ω-\u0378\u0379-→"}
        tasks = [Task(loop, speaker(n, 0.01 + n % 17 * 0.03), names.get(n), "speaker", at("main_", "speaker(3"))
                 for n in range(count)]
        yield from loop.gather(tasks, at("main_", "asyncio_gather"))
    return main()


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "speakers"
    scenario, source, extra = name, name, []
    if name in ("crowd", "letters", "flood"):
        source, extra = "speakers", [int(a) for a in sys.argv[2:]]
    loop = Loop(source)
    loop.run(globals()[scenario](loop, *extra))


if __name__ == "__main__":
    main()
