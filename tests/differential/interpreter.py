"""Runs scenarios on CPython's asyncio and writes down what happened: the twin of interpreter.c, function by function.

README.md says what a scenario is. Time is virtual: the loop's clock stands still while anything runs, and jumps to the
next timer when the loop would sleep. Wherever CPython goes through a set, whose order means nothing, the order here is
that of insertion, which is one of those CPython may choose.
"""
import asyncio
import asyncio.taskgroups
import contextlib
import contextvars
import gc
import selectors
import sys
import warnings

HORIZON = 1000          # no scenario is still busy then
UNIT = 0.25             # what a delay of 1 means, in seconds: a power of two, so that sums are exact

ERRORS = {kind.__name__: kind for kind in (
    BaseException, Exception, ValueError, RuntimeError, TimeoutError, LookupError, KeyError, StopIteration,
    asyncio.CancelledError, asyncio.QueueEmpty, asyncio.QueueFull, asyncio.QueueShutDown, asyncio.BrokenBarrierError)}


# ---- Scenarios as text -------------------------------------------------------------------------------------------------

def parse(text):
    """Every top-level list in text: atoms are strings, lists are Python lists."""
    outermost = []
    stack = [outermost]
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    return outermost


def title(node):
    """An operation's name in the log: its words, without the lists inside it."""
    return " ".join(word for word in node if isinstance(word, str))


def number(word):
    """What is put into queues and futures: 3; 3.0, which is equal and yet can be told apart; or 3:1, a tuple."""
    if ":" in word:
        return tuple(map(int, word.split(":")))
    return float(word) if "." in word else int(word)


def delay(word):
    return None if word == "-" else int(word) * UNIT


def exception_text(e):
    """repr(e), but for a group: whether that shows a list or a tuple depends on its history."""
    if isinstance(e, BaseExceptionGroup):
        return f"{type(e).__name__}({e.message!r}, [{', '.join(map(exception_text, e.exceptions))}])"
    return repr(e)


def leads_to(e, sought, seen=None):
    """Such a context would be a circle: CPython's collector frees those, in C they are not made."""
    seen = [] if seen is None else seen
    while e is not None and e not in seen:
        if e is sought:
            return True
        seen.append(e)
        if isinstance(e, BaseExceptionGroup) and any(leads_to(member, sought, seen) for member in e.exceptions):
            return True
        e = e.__context__
    return False


def chain_text(e, depth):
    """The exception, what caused it, and what was being handled when it was raised; `depth` of each."""
    cause, context = e.__cause__, e.__context__
    text = exception_text(e)
    if not depth:
        return text
    if cause is not None:
        text += f" from [{chain_text(cause, depth - 1)}]"
    if e.__suppress_context__:
        text += " alone"
    if context is not None and not leads_to(context, e):
        text += f" in [{'it' if context is cause else chain_text(context, depth - 1)}]"
    return text


def chain(e):
    members = e.exceptions if isinstance(e, BaseExceptionGroup) else ()
    return ", ".join([chain_text(e, 6)] + [f"[{chain_text(member, 6)}]" for member in members])


def without_brackets(text):
    """What stands between < and > differs from machine to machine."""
    kept, open_ = [], 0
    for letter in text:
        open_ += letter == "<"
        if not open_:
            kept.append(letter)
        open_ -= open_ > 0 and letter == ">"
    return "".join(kept)


def digest(log):
    """FNV-1a, 32 bits."""
    value = 2166136261
    for byte in log.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return f"{value:08x}"


# ---- Time --------------------------------------------------------------------------------------------------------------

class VirtualClockLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__(JumpingSelector(self))
        self.now = 1000.0

    def time(self):
        return self.now


class JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self.loop.now = self.loop._scheduled[0].when()
        return ready


class OrderedSet(dict):
    def add(self, item):
        self[item] = None

    def discard(self, item):
        self.pop(item, None)


asyncio.taskgroups.set = OrderedSet


class Empty(Exception):
    """A slot with nothing in it that could be used here: the operation is left out."""


# ---- One scenario ------------------------------------------------------------------------------------------------------

class World:
    """What the tasks of a scenario share."""

    def __init__(self, scenario):
        self.functions = {node[0]: node[1:] for node in scenario if isinstance(node, list)}
        self.runs = [node for node in scenario if node[0] == "run"]
        self.log = []
        self.calls = 0
        self.count = 0
        self.variable = contextvars.ContextVar("variable", default=0)

    def note(self, who, *words):
        time = round((self.loop.time() - self.began) / UNIT)
        self.log.append(f"{time} {who} {without_brackets(' '.join(map(str, words)))}\n")

    def begin(self, runner):
        """Makes what the tasks share."""
        self.loop = runner.get_loop()
        self.began = self.loop.time()
        self.loop.set_exception_handler(self.report)
        self.make_primitives()
        self.tasks = []                             # every task that ran a function, in that order
        self.slots = {}                             # T0..., F0..., H0..., G0..., X0..., K0..., V0..., Y0...
        self.ranks = {}
        for i in range(4):
            self.slots[f"F{i}"] = self.loop.create_future()

    async def part(self, function, horizon):
        """One run of the runner: a function, in the context that all runs share, for so long at most."""
        context = asyncio.current_task().get_context()
        root = asyncio.Task(self.call(function), loop=self.loop, context=context)
        await asyncio.wait([root], timeout=horizon)
        self.note("part", function, self.state(root))
        return root.result() if root.done() else None

    def make_primitives(self):
        lock = asyncio.Lock()
        self.primitives = {
            "L0": lock, "L1": asyncio.Lock(), "E0": asyncio.Event(), "E1": asyncio.Event(),
            "C0": asyncio.Condition(), "C1": asyncio.Condition(lock),
            "S0": asyncio.Semaphore(1), "S1": asyncio.BoundedSemaphore(2), "S2": asyncio.Semaphore(0),
            "B0": asyncio.Barrier(2), "B1": asyncio.Barrier(3),
            "Q0": asyncio.Queue(1), "Q1": asyncio.Queue(), "Q2": asyncio.LifoQueue(2), "Q3": asyncio.PriorityQueue(3)}

    def report(self, loop, context):
        message = context["message"]
        if "never retrieved" not in message and "destroyed" not in message:
            e = context.get("exception")
            self.note("loop", *message.split()[:3], chain(e) if e else "None")

    async def finish(self):
        """Ends whatever is left, and says how everything ended."""
        self.loop.set_task_factory(None)
        await self.cancel_everybody()
        for i in range(2):
            if f"G{i}" in self.slots:
                await asyncio.wait([asyncio.create_task(self.sub(["aclose", f"G{i}"], "finish"))], timeout=20 * UNIT)
                await self.cancel_everybody()
        for turn in range(10):                      # until the last timer has gone off, and what it started is over
            await asyncio.sleep(40 * UNIT)
            await self.cancel_everybody()
        for name in [f"F{i}" for i in range(4)] + [f"T{i}" for i in range(8)]:
            if name in self.slots:
                self.note("finish", name, self.state(self.slots[name]))
                self.slots[name].cancel()
        for name in self.primitives:
            self.note("finish", name, self.look(name))
        await asyncio.sleep(0)

    async def cancel_everybody(self):
        """Again and again, for a task may refuse."""
        for turn in range(60):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                return
            self.note("finish", len(left))
            for task in left:
                task.cancel()
            for name in ("L0", "L1", "C0"):
                if self.primitives[name].locked():
                    self.primitives[name].release()
            await asyncio.sleep(UNIT)
        self.note("finish", "stuck")

    # -- Looking things up

    def slot(self, name):
        found = asyncio.current_task() if name == "Self" else self.slots.get(name)
        if found is None:
            raise Empty(name)
        return found

    def task(self, name):
        found = self.slot(name)
        if not isinstance(found, asyncio.Task):
            raise Empty(name)
        return found

    def name_of(self, found):
        names = [f"T{i}" for i in range(8)] + [f"F{i}" for i in range(4)]
        return next((name for name in names if self.slots.get(name) is found), "other")

    def state(self, future):
        if not future.done():
            return "pending"
        if future.cancelled():
            return "cancelled"
        e = future.exception()
        return f"raised {chain(e)}" if e else f"result {future.result()!r}"

    def look(self, name):
        it = self.primitives[name]
        match name[0]:
            case "E":
                return it.is_set()
            case "B":
                return f"{it.n_waiting} {it.broken}"
            case "Q":
                return f"{it.qsize()} {it.empty()} {it.full()}"
            case _:
                return it.locked()

    def rank_of_calls(self, node):
        if isinstance(node, str):
            return 99
        return self.rank(node[1]) if node[0] == "call" else min(map(self.rank_of_calls, node))

    # -- Functions and generators

    def call(self, function):
        """The coroutine of a function of the scenario."""
        label = f"{function}.{self.calls}"
        self.calls += 1
        return self.run(label, lambda: self.block(self.functions[function], label))

    def sub(self, node, who):
        """A coroutine that does nothing but await one thing."""
        label = f"{node[0]}{self.rank(who) + 1}.{self.calls}"
        self.calls += 1
        return self.run(label, lambda: self.execute(node, label))

    async def run(self, label, body):
        task = asyncio.current_task()
        if task not in self.tasks:
            self.tasks.append(task)
        self.note(label, "begin")
        try:
            await body()
        except BaseException as e:
            self.note(label, f"end {chain(e)}")
            raise
        self.note(label, "end")
        return label

    async def generator(self, name, label):
        body, last = self.functions[name]
        self.note(label, "begin")
        try:
            for node in body:
                if node[0] == "yield":
                    sent = yield number(node[1])
                    self.note(label, "sent", sent)
                else:
                    await self.execute(node, label)
        except BaseException as e:
            self.note(label, f"end {chain(e)}")
            raise
        finally:
            await self.block(last, label)
            self.note(label, "closed")

    # -- Operations

    async def block(self, nodes, who):
        for node in nodes:
            await self.execute(node, who)

    async def execute(self, node, who):
        try:
            if node[0] in self.BLOCKS:
                await self.BLOCKS[node[0]](self, node, who)
            elif node[0] in self.AWAITS:
                value = await self.awaitable(node, who)
                self.note(who, title(node), self.shown(node, value))
            else:
                self.step(node, who)
        except BaseException as e:
            self.note(who, title(node), f"! {chain(e)}")
            if not self.ends_here(node, e):
                raise

    def ends_here(self, node, e):
        """What fails at once goes no further, or nothing would ever get far; what fails after waiting is raised."""
        at_once = node[0] in self.STEPS and node[0] != "raise"
        return isinstance(e, Exception if at_once else Empty)

    def shown(self, node, value):
        if node[0] != "wait":
            return repr(value)
        done, pending = value
        return " ".join(name + ("+" if self.slots[name] in done else "-") for name in dict.fromkeys(node[3:]) if name in self.slots)

    def child(self, node, who):
        """An argument of gather() and its kind: what a task is made of must be able to be found again."""
        return self.awaitable(node, who) if node[0] in ("await", "call", "shield", "gather") else self.sub(node, who)

    def awaitable(self, node, who):
        return self.AWAITS[node[0]](self, who, *node[1:])

    def awaited(self, name, who):
        """Who is in front waits for who is further back, so that no circle comes about: Python cannot cancel one."""
        if name[0] == "T" and self.ranks.get(name, 0) <= self.rank(who):
            raise Empty(name)
        return self.slot(name)

    def rank(self, who):
        """f3.7, a call of f3, has rank 6; get7.8, made there to get something, has 7; all else comes last."""
        name = who.partition(".")[0]
        digits = name.lstrip("abcdefghijklmnopqrstuvwxyz")
        if digits and name[0] == "f":
            return 2 * int(digits)
        return int(digits) if digits.isdigit() and len(name) > len(digits) + 1 else 99

    def counted(self, wanted):
        self.note("predicate", self.count, wanted)
        return self.count >= wanted

    def present(self, names):
        return [self.slots[name] for name in names if name in self.slots]

    AWAITS = {
        "sleep": lambda self, who, d: asyncio.sleep(delay(d)),
        "sleepv": lambda self, who, d, v: asyncio.sleep(delay(d), number(v)),
        "await": lambda self, who, name: self.awaited(name, who),
        "call": lambda self, who, function: self.call(function),
        "acquire": lambda self, who, name: self.primitives[name].acquire(),
        "ewait": lambda self, who, name: self.primitives[name].wait(),
        "cwait": lambda self, who, name: self.primitives[name].wait(),
        "cwaitfor": lambda self, who, name, n: self.primitives[name].wait_for(lambda: self.counted(int(n))),
        "bwait": lambda self, who, name: self.primitives[name].wait(),
        "breset": lambda self, who, name: self.primitives[name].reset(),
        "babort": lambda self, who, name: self.primitives[name].abort(),
        "put": lambda self, who, name, v: self.primitives[name].put(number(v)),
        "get": lambda self, who, name: self.primitives[name].get(),
        "join": lambda self, who, name: self.primitives[name].join(),
        "wait": lambda self, who, mode, d, *names: asyncio.wait(
            self.present(names), timeout=delay(d), return_when=getattr(asyncio, mode)),
        "waitfor": lambda self, who, d, node: asyncio.wait_for(self.awaitable(node, who), delay(d)),
        "gather": lambda self, who, flag, *nodes: asyncio.gather(
            *[self.child(node, who) for node in nodes], return_exceptions=flag == "1"),
        "shield": lambda self, who, node: asyncio.shield(self.child(node, who)),
        "anext": lambda self, who, name: self.slot(name).__anext__(),
        "asend": lambda self, who, name, v: self.slot(name).asend(number(v)),
        "athrow": lambda self, who, name, error: self.slot(name).athrow(ERRORS[error]("thrown")),
        "aclose": lambda self, who, name: self.slot(name).aclose(),
    }

    async def block_with(self, node, who):
        async with self.primitives[node[1]] as value:
            self.note(who, title(node), "inside", value if node[1][0] == "B" else "")
            await self.block(node[2:], who)
        self.note(who, title(node), "left")

    async def block_timeout(self, node, who):
        when = delay(node[2])
        if node[0] == "timeout":
            timeout = asyncio.timeout(when)
        else:
            timeout = asyncio.timeout_at(None if when is None else self.began + when)
        self.slots[node[1]] = timeout
        async with timeout:
            await self.block(node[3:], who)
        self.note(who, title(node), "left", timeout.expired())

    async def block_group(self, node, who):
        group = asyncio.TaskGroup()
        self.keep(node[1], group, self.rank(who))
        async with group:
            await self.block(node[2:], who)
        self.note(who, title(node), "left")

    async def block_try(self, node, who):
        try:
            await self.block(node[2], who)
        except ERRORS[node[1]] as e:
            self.note(who, title(node), f"caught {chain(e)}")
            await self.block([op for op in node[3] if op != ["reraise"]], who)
            if ["reraise"] in node[3]:
                raise

    async def block_trystar(self, node, who):
        try:
            await self.block(node[2], who)
        except* ERRORS[node[1]] as e:
            self.note(who, title(node), f"caught {chain(e)}")
            await self.block([op for op in node[3] if op != ["reraise"]], who)
            if ["reraise"] in node[3]:
                raise

    async def block_finally(self, node, who):
        try:
            await self.block(node[1], who)
        finally:
            self.note(who, "finally")
            await self.block(node[2], who)

    async def block_manage(self, node, who):
        label = f"{node[1]}.{self.calls}"
        self.calls += 1
        async with contextlib.asynccontextmanager(self.generator)(node[1], label) as value:
            self.note(who, title(node), "inside", value)
            await self.block(node[2:], who)
        self.note(who, title(node), "left")

    async def block_for(self, node, who):
        left = int(node[2])
        async for value in self.slot(node[1]):
            self.note(who, title(node), value)
            await self.block(node[3:], who)
            left -= 1
            if not left:
                break
        self.note(who, title(node), "left")

    def as_completed(self, node):
        """At most one of them may be done already: their order would be that of a set."""
        chosen = []
        for future in self.present(node[2:]):
            if not (future.done() and any(other.done() for other in chosen)):
                chosen.append(future)
        return asyncio.as_completed(chosen, timeout=delay(node[1]))

    async def block_completed(self, node, who):
        for coroutine in self.as_completed(node):
            self.note(who, title(node), repr(await coroutine))
        self.note(who, title(node), "left")

    async def block_acompleted(self, node, who):
        async for future in self.as_completed(node):
            self.note(who, title(node), self.name_of(future))
        self.note(who, title(node), "left")

    BLOCKS = {
        "with": block_with, "timeout": block_timeout, "timeoutat": block_timeout, "group": block_group, "try": block_try,
        "trystar": block_trystar, "finally": block_finally, "manage": block_manage, "for": block_for, "completed": block_completed,
        "acompleted": block_acompleted,
    }

    # -- What does not suspend, and so may stand in a callback too

    def step(self, node, who):
        value = self.STEPS[node[0]](self, who, *node[1:])
        self.note(who, title(node), value)

    def group_spawn(self, who, group, name, function):
        if self.slot(group) and self.ranks[group] >= self.rank(function):
            raise Empty(group)
        self.keep(name, self.slot(group).create_task(self.call(function)), self.rank(function))

    def keep(self, name, it, rank=99):
        self.slots[name] = it
        self.ranks[name] = rank

    def eager(self, who, name, function):
        self.keep(name, asyncio.Task(self.call(function), loop=self.loop, eager_start=True), self.rank(function))

    def callback(self, name, node):
        self.note(name, "run", self.variable.get())
        try:
            self.step(node, name)
        except BaseException as e:
            self.note(name, title(node), f"! {chain(e)}")
            raise

    def spawn_in(self, who, context, name, function):
        """Not eager: CPython 3.13 breaks where the context is the running one."""
        context = self.slot(context)
        self.keep(name, asyncio.Task(self.call(function), loop=self.loop, context=context), self.rank(function))

    def add_callback_in(self, who, context, name, i):
        context = self.slot(context)
        self.slot(name).add_done_callback(CALLBACKS[int(i)], context=context)
        CALLBACKS_OF[0] = self

    def set_variable(self, who, v):
        old = self.variable.get()
        self.variable.set(int(v))
        return old

    def add_callback(self, who, name, i):
        self.slot(name).add_done_callback(CALLBACKS[int(i)])
        CALLBACKS_OF[0] = self

    def make_generator(self, who, name, function):
        if name not in self.slots:
            self.slots[name] = self.generator(function, f"{function}.{name}")

    def throw(self, who, error, message):
        raise ERRORS[error](message)

    def add(self, who):
        self.count += 1
        return self.count

    STEPS = {
        "spawn": lambda self, who, name, function: self.keep(name, asyncio.create_task(self.call(function)), self.rank(function)),
        "eager": eager,
        "start": lambda self, who, name, node: self.keep(
            name, asyncio.ensure_future(self.child(node, who)), min(self.rank(who) + 1, self.rank_of_calls(node))),
        "gspawn": group_spawn,
        "factory": lambda self, who, flag: self.loop.set_task_factory(asyncio.eager_task_factory if flag == "1" else None),
        "cancel": lambda self, who, name, *message: self.slot(name).cancel(*message),
        "uncancel": lambda self, who, name: self.task(name).uncancel(),
        "cancelling": lambda self, who, name: self.task(name).cancelling(),
        "state": lambda self, who, name: self.state(self.slot(name)),
        "look": lambda self, who, name: self.look(name),
        "release": lambda self, who, name: self.primitives[name].release(),
        "set": lambda self, who, name: self.primitives[name].set(),
        "clear": lambda self, who, name: self.primitives[name].clear(),
        "notify": lambda self, who, name, n: self.primitives[name].notify(int(n)),
        "notifyall": lambda self, who, name: self.primitives[name].notify_all(),
        "putn": lambda self, who, name, v: self.primitives[name].put_nowait(number(v)),
        "getn": lambda self, who, name: self.primitives[name].get_nowait(),
        "done": lambda self, who, name: self.primitives[name].task_done(),
        "shutdown": lambda self, who, name, flag: self.primitives[name].shutdown(flag == "1"),
        "fset": lambda self, who, name, v: self.slot(name).set_result(number(v)),
        "fraise": lambda self, who, name, error: self.slot(name).set_exception(ERRORS[error]("set")),
        "addcb": add_callback,
        "rmcb": lambda self, who, name, i: self.slot(name).remove_done_callback(CALLBACKS[int(i)]),
        "soon": lambda self, who, name, node: self.keep(name, self.loop.call_soon(self.callback, name, node)),
        "later": lambda self, who, name, d, node: self.keep(name, self.loop.call_later(delay(d), self.callback, name, node)),
        "hcancel": lambda self, who, name: self.slot(name).cancel(),
        "raise": throw,
        "inc": add,
        "var": set_variable,
        "reschedule": lambda self, who, name, d: self.slot(name).reschedule(None if d == "-" else self.loop.time() + delay(d)),
        "expired": lambda self, who, name: self.slot(name).expired(),
        "generator": make_generator,
        "context": lambda self, who, name: self.keep(name, contextvars.copy_context()),
        "spawnin": spawn_in,
        "soonin": lambda self, who, context, name, node: self.keep(
            name, self.loop.call_soon(self.callback, name, node, context=self.slot(context))),
        "addcbin": add_callback_in,
        "mark": lambda self, who, name, v: self.keep(name, self.variable.set(int(v))),
        "reset": lambda self, who, name: self.variable.reset(self.slot(name)),
    }


CALLBACKS_OF = [None]


def make_callback(i):
    def callback(future):
        world = CALLBACKS_OF[0]
        world.note(f"callback{i}", world.state(future), world.variable.get())
    return callback


CALLBACKS = [make_callback(i) for i in range(3)]


def run(scenario):
    """The log of one scenario."""
    world = World(scenario)
    parts = [(function, delay(horizon)) for _, function, horizon in world.runs] or [("f0", HORIZON * UNIT)]
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        world.begin(runner)
        for coro in (*(world.part(*part) for part in parts), world.finish()):
            try:
                runner.run(coro)
            except BaseException as e:
                world.log.append(f"run {without_brackets(chain(e))}\n")
    return "".join(world.log)


def main():
    """Scenarios on standard input; on standard output each one's log after a line `# NAME`, or digests with -d."""
    warnings.simplefilter("ignore")
    gc.disable()
    for index, scenario in enumerate(parse(sys.stdin.read())):
        log = run(scenario)
        if "-d" in sys.argv:
            print(scenario[1], digest(log))
        else:
            print(f"# {scenario[1]}\n{log}", end="")
        if index % 200 == 199:
            gc.collect()


if __name__ == "__main__":
    main()
