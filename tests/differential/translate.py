"""Writes a scenario as a C program and as a Python program, for reading what disagrees."""

UNIT = 0.25
KINDS = {
    "L": ("asyncio.Lock()", "Lock", "asyncio_Lock()", "lock"),
    "E": ("asyncio.Event()", "Event", "asyncio_Event()", "event"),
    "C0": ("asyncio.Condition()", "Condition", "asyncio_Condition()", "condition"),
    "C1": ("asyncio.Condition(L0)", "Condition", "asyncio_Condition(.lock = L0)", "condition"),
    "S0": ("asyncio.Semaphore(1)", "Semaphore", "asyncio_Semaphore(1)", "semaphore"),
    "S1": ("asyncio.BoundedSemaphore(2)", "Semaphore", "asyncio_BoundedSemaphore(2)", "semaphore"),
    "S2": ("asyncio.Semaphore(0)", "Semaphore", "asyncio_Semaphore(0)", "semaphore"),
    "B0": ("asyncio.Barrier(2)", "Barrier", "asyncio_Barrier(2)", "barrier"),
    "B1": ("asyncio.Barrier(3)", "Barrier", "asyncio_Barrier(3)", "barrier"),
    "Q0": ("asyncio.Queue(1)", "Queue", "asyncio_Queue(1)", "queue"),
    "Q1": ("asyncio.Queue()", "Queue", "asyncio_Queue()", "queue"),
    "Q2": ("asyncio.LifoQueue(2)", "Queue", "asyncio_LifoQueue(2)", "queue"),
    "Q3": ("asyncio.PriorityQueue(3)", "Queue", "asyncio_PriorityQueue(3)", "queue"),
    "F": ("runner.get_loop().create_future()", "Future", "loop_create_future(runner_get_loop(runner))", "future"),
}
SLOTS = {"T": "Future", "F": "Future", "H": "Handle", "G": "AsyncGenerator", "X": "Timeout", "K": "TaskGroup",
         "V": "Context", "Y": "Object"}
LOOKS = {
    "L": ("{0}.locked()", "lock_locked({0})"), "C": ("{0}.locked()", "condition_locked({0})"),
    "S": ("{0}.locked()", "semaphore_locked({0})"), "E": ("{0}.is_set()", "event_is_set({0})"),
    "B": ("({0}.n_waiting, {0}.broken)", "tuple(barrier_n_waiting({0}), barrier_broken({0}))"),
    "Q": ("{0}.qsize()", "queue_qsize({0})"),
}

# {0} is the first argument; {d0} a delay; {m0} a primitive's prefix in C; {n0} a node, as an awaitable; {s0} a node, as a step.
AWAITS = {
    "sleep": ("asyncio.sleep({d0})", "asyncio_sleep({d0})"),
    "sleepv": ("asyncio.sleep({d0}, {1})", "asyncio_sleep({d0}, .result = V({1}))"),
    "await": ("{0}", "{0}"),
    "call": ("{0}()", "{0}()"),
    "acquire": ("{0}.acquire()", "{m0}_acquire({0})"),
    "ewait": ("{0}.wait()", "event_wait({0})"),
    "cwait": ("{0}.wait()", "condition_wait({0})"),
    "cwaitfor": ("{0}.wait_for(lambda: count >= {1})", "condition_wait_for({0}, counted, V({1}))"),
    "bwait": ("{0}.wait()", "barrier_wait({0})"),
    "breset": ("{0}.reset()", "barrier_reset({0})"),
    "babort": ("{0}.abort()", "barrier_abort({0})"),
    "put": ("{0}.put({1})", "queue_put({0}, {1})"),
    "get": ("{0}.get()", "queue_get({0})"),
    "join": ("{0}.join()", "queue_join({0})"),
    "waitfor": ("asyncio.wait_for({n1}, {d0})", "asyncio_wait_for({n1}, {d0})"),
    "shield": ("asyncio.shield({n0})", "asyncio_shield({n0})"),
    "anext": ("{0}.__anext__()", "generator_anext({0})"),
    "asend": ("{0}.asend({1})", "generator_asend({0}, {1})"),
    "athrow": ('{0}.athrow({1}("thrown"))', 'generator_athrow({0}, exception_new({1}, "thrown"))'),
    "aclose": ("{0}.aclose()", "generator_aclose({0})"),
}
STEPS = {
    "spawn": ("{0} = asyncio.create_task({1}())", "{0} = hold(asyncio_create_task({1}()))"),
    "eager": ("{0} = asyncio.Task({1}(), loop=asyncio.get_running_loop(), eager_start=True)",
              "{0} = hold(asyncio_Task({1}(), .eager_start = true))"),
    "start": ("{0} = asyncio.ensure_future({n1})", "{0} = hold(asyncio_ensure_future({n1}))"),
    "gspawn": ("{1} = {0}.create_task({2}())", "{1} = hold(taskgroup_create_task({0}, {2}()))"),
    "factory": ("asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory if {0} else None)",
                "loop_set_task_factory(asyncio_get_running_loop(), {0} ? asyncio_eager_task_factory : NULL)"),
    "cancel": ("{0}.cancel({q1})", "future_cancel({0}{c1})"),
    "uncancel": ("{0}.uncancel()", "task_uncancel((Task *){0})"),
    "cancelling": ("{0}.cancelling()", "task_cancelling((Task *){0})"),
    "state": ("{0}.done()", "future_done({0})"),
    "release": ("{0}.release()", "{m0}_release({0})"),
    "set": ("{0}.set()", "event_set({0})"),
    "clear": ("{0}.clear()", "event_clear({0})"),
    "notify": ("{0}.notify({1})", "condition_notify({0}, {1})"),
    "notifyall": ("{0}.notify_all()", "condition_notify_all({0})"),
    "putn": ("{0}.put_nowait({1})", "queue_put_nowait({0}, {1})"),
    "getn": ("{0}.get_nowait()", "queue_get_nowait({0})"),
    "done": ("{0}.task_done()", "queue_task_done({0})"),
    "shutdown": ("{0}.shutdown({1})", "queue_shutdown({0}, .immediate = {1})"),
    "fset": ("{0}.set_result({1})", "future_set_result({0}, {1})"),
    "fraise": ('{0}.set_exception({1}("set"))', 'future_set_exception({0}, exception_new({1}, "set"))'),
    "addcb": ("{0}.add_done_callback(callback{1})", "future_add_done_callback({0}, done_callback, .arg = V({1}))"),
    "rmcb": ("{0}.remove_done_callback(callback{1})", "future_remove_done_callback({0}, done_callback, .arg = V({1}))"),
    "soon": ("{0} = asyncio.get_running_loop().call_soon({s1})", "{0} = hold(loop_call_soon(asyncio_get_running_loop(), {s1}))"),
    "later": ("{0} = asyncio.get_running_loop().call_later({d1}, {s2})",
              "{0} = hold(loop_call_later(asyncio_get_running_loop(), {d1}, {s2}))"),
    "hcancel": ("{0}.cancel()", "handle_cancel({0})"),
    "inc": ("count += 1", "count++"),
    "var": ("variable.set({0})", "contextvar_set(variable, {0})"),
    "reschedule": ("{0}.reschedule(None if {d1} is None else asyncio.get_running_loop().time() + {d1})",
                   "timeout_reschedule({0}, loop_time(asyncio_get_running_loop()) + {d1})"),
    "expired": ("{0}.expired()", "timeout_expired({0})"),
    "generator": ("{0} = {1}()", "{0} = hold({1}())"),
    "context": ("{0} = contextvars.copy_context()", "{0} = hold(asyncio_copy_context())"),
    "mark": ("{0} = variable.set({1})", "{0} = hold(contextvar_set(variable, {1}))"),
    "reset": ("variable.reset({0})", "contextvar_reset(variable, V({0}))"),
    "addcbin": ("{1}.add_done_callback(callback{2}, context={0})",
                "future_add_done_callback({1}, done_callback, .arg = V({2}), .context = {0})"),
    "soonin": ("{1} = asyncio.get_running_loop().call_soon({s2}, context={0})",
               "{1} = hold(loop_call_soon(asyncio_get_running_loop(), {s2}, .context = {0}))"),
    "spawnin": ("{1} = asyncio.create_task({2}(), context={0})", "{1} = hold(asyncio_create_task({2}(), .context = {0}))"),
}

PYTHON_START = '''import asyncio
import contextlib
import contextvars

count = 0
variable = contextvars.ContextVar("variable", default=0)


async def part(function, horizon):
    context = asyncio.current_task().get_context()
    root = asyncio.create_task(function(), context=context)
    await asyncio.wait([root], timeout=horizon)
    return root.result() if root.done() else None


def run(runner, function, horizon):
    try:
        runner.run(part(function, horizon))
    except BaseException as e:
        print("run", repr(e))


async def told(title, awaitable):
    try:
        print(title, value := await awaitable)
        return value
    except BaseException as e:
        print(title, "!", repr(e))
        raise
'''
C_START = '''#include "asyncio.h"

static int count;
static ContextVar *variable;
static Value held;
#define hold(x) (void *)({ Value x_ = V(x); list_append(held, x_); x_.object; })
#define told(title, awaitable) do { \\
        try { print(title, await(awaitable)); } \\
        except (BaseException, e) { print(title, "!", repr(e)); rethrow; } end_try \\
    } while (0)
typedef Coroutine *(*Function)(void);
async_def(part, (Function) function, (double) horizon)
{
    Context *context = task_get_context(asyncio_current_task());
    Task *root = asyncio_create_task(function(), .context = context);
    await(asyncio_wait(list(root), .timeout = horizon));
    return task_done(root) ? task_result(root) : None;
}
static void run(Runner *runner, Function function, double horizon)
{
    try { runner_run(runner, part(function, horizon)); } except (BaseException, e) { print("run", repr(e)); } end_try
}
static Value counted(Value wanted) { return V((bool)(count >= as_int(wanted))); }
static void done_callback(Future *future, Value i) { print("callback", i, future_cancelled(future)); }
'''


def title(node):
    return " ".join(word for word in node if isinstance(word, str))


def words_in(node):
    return [node] if isinstance(node, str) else [word for child in node for word in words_in(child)]


class Writer:
    def __init__(self, tree, language):
        self.tree, self.c = tree, language == "c"
        self.lines, self.extra, self.callbacks = [], [], 0

    def line(self, depth, text):
        self.lines.append("    " * depth + text)

    def delay(self, word):
        if word == "-":
            return "NO_TIMEOUT" if self.c else "None"
        return f"{int(word) * UNIT:g}"

    def fill(self, template, arguments):
        values = {}
        for i in range(4):
            word = arguments[i] if i < len(arguments) else None
            if isinstance(word, str):
                if ":" in word:
                    arguments = list(arguments)
                    arguments[i] = f"{'tuple' * self.c}({word.replace(':', ', ')})"
                digits = word.lstrip("-").isdigit()
                values |= {f"d{i}": self.delay(word) if digits or word == "-" else "", f"q{i}": f'"{word}"', f"c{i}": f', .msg = V("{word}")'}
                values[f"m{i}"] = (KINDS.get(word) or KINDS.get(word[:1]) or ("",) * 4)[3]
            else:
                values |= {f"q{i}": "", f"c{i}": ""}
                if word and "{n" + str(i) in template:
                    values[f"n{i}"] = self.awaitable(word)
                if word and "{s" + str(i) in template:
                    values[f"s{i}"] = self.callback(word)
        own = "(Future *)asyncio_current_task()" if self.c else "asyncio.current_task()"
        plain = [own if word == "Self" else word for word in arguments]
        return template.format(*(plain + [""] * 4), **values)

    def callback(self, node):
        """A function of its own that does one step."""
        self.callbacks += 1
        name = f"callback_{self.callbacks}"
        inner = Writer(self.tree, "c" if self.c else "python")
        inner.callbacks = self.callbacks * 10
        inner.operation(node, 1)
        self.extra += inner.extra
        if self.c:
            self.extra += ["", f"static void {name}(Value arg) {{ (void)arg;", *inner.lines, "}"]
        else:
            self.extra += ["", "", f"def {name}():", "    " + self.globals(), *inner.lines]
        return name

    def awaitable(self, node):
        if node[0] == "gather":
            children = ", ".join(self.awaitable(child) for child in node[2:])
            if self.c:
                return f"asyncio_gather({children}, .return_exceptions = {node[1]})"
            return f"asyncio.gather({children}, return_exceptions={bool(int(node[1]))})"
        if node[0] == "wait":
            names = ", ".join(node[3:])
            if self.c:
                return f"asyncio_wait(list({names}), .timeout = {self.delay(node[2])}, .return_when = {node[1]})"
            return f"asyncio.wait([{names}], timeout={self.delay(node[2])}, return_when=asyncio.{node[1]})"
        return self.fill(AWAITS[node[0]][self.c], node[1:])

    def block(self, nodes, depth):
        for node in nodes:
            self.operation(node, depth)
        if not nodes and not self.c:
            self.line(depth, "pass")

    def step(self, node, depth):
        if node[0] == "look":
            text = LOOKS[node[1][0]][self.c].format(node[1])
        else:
            text = self.fill(STEPS[node[0]][self.c], node[1:])
        if self.c:
            self.line(depth, f'try {{ {text}; print("{title(node)}"); }} except (Exception, e) {{ print("{title(node)}", "!", repr(e)); }} end_try')
        else:
            self.line(depth, "try:")
            self.line(depth + 1, text)
            self.line(depth + 1, f'print("{title(node)}")')
            self.line(depth, "except Exception as e:")
            self.line(depth + 1, f'print("{title(node)}", "!", repr(e))')

    def operation(self, node, depth):
        head = node[0]
        if head in AWAITS or head in ("gather", "wait"):
            call = f'told("{title(node)}", {self.awaitable(node)})'
            self.line(depth, f"{call};" if self.c else f"await {call}")
        elif head == "yield":
            self.line(depth, f"yield({node[1]});" if self.c else f"yield {node[1]}")
        elif head == "raise":
            self.line(depth, f'throw({node[1]}, "{node[2]}");' if self.c else f'raise {self.error(node[1])}("{node[2]}")')
        elif head == "reraise":
            self.line(depth, "rethrow;" if self.c else "raise")
        elif head in ("try", "trystar", "finally"):
            self.guarded(node, depth)
        elif head in ("with", "timeout", "timeoutat", "group", "manage", "for", "completed", "acompleted"):
            self.compound(node, depth)
        else:
            self.step(node, depth)

    def error(self, name):
        return name if name in dir(__builtins__) or name in __builtins__ else f"asyncio.{name}"

    def guarded(self, node, depth):
        body, handler = (node[1], node[2]) if node[0] == "finally" else (node[2], node[3])
        star = node[0] == "trystar"
        if self.c:
            clause = "finally" if node[0] == "finally" else f"except{'_star' * star} ({node[1]}, e)"
            told = "" if node[0] == "finally" else ' print("caught", repr(e));'
            self.line(depth, "try {")
            self.block(body, depth + 1)
            self.line(depth, f"}} {clause} {{{told}")
            self.block(handler, depth + 1)
            self.line(depth, "} end_try")
            return
        self.line(depth, "try:")
        self.block(body, depth + 1)
        if node[0] == "finally":
            self.line(depth, "finally:")
        else:
            self.line(depth, f"except{'*' * star} {self.error(node[1])} as e:")
            self.line(depth + 1, 'print("caught", repr(e))')
        self.block(handler, depth + 1)

    def compound(self, node, depth):
        head, c = node[0], self.c
        if head in ("completed", "acompleted"):
            names = ", ".join(node[2:])
            it = (f"asyncio_as_completed(list({names}), .timeout = {self.delay(node[1])})" if c
                  else f"asyncio.as_completed([{names}], timeout={self.delay(node[1])})")
            if head == "acompleted":
                self.line(depth, f'async_for (each, {it}) print("{title(node)}");' if c else f"async for each in {it}:")
            else:
                self.line(depth, f"{{ AsCompleted *it = {it};" if c else f"for each in {it}:")
                if c:
                    self.line(depth, f'for (Coroutine *each; (each = as_completed_next(it)); ) told("{title(node)}", each); }}')
            if not c:
                self.line(depth + 1, f'print("{title(node)}")' if head == "acompleted" else f'await told("{title(node)}", each)')
            return
        body = {"with": 2, "timeout": 3, "timeoutat": 3, "group": 2, "manage": 2, "for": 3}[head]
        if head == "for":
            self.line(depth, f"async_for (value, {node[1]}) {{" if c else f"async for value in {node[1]}:")
            self.line(depth + 1, f'print("{title(node)}", value)' + ";" * c)
        else:
            manager, name = self.manager(node), None if head in ("with", "manage") else node[1]
            if name:
                self.line(depth, f"{name} = hold({manager});" if c else f"{name} = {manager}")
                manager = name
            self.line(depth, f"async_with ({manager}) {{" if c else f"async with {manager}:")
        self.block(node[body:], depth + 1)
        if head == "for" and node[2] != "0":
            self.line(depth + 1, "break" + ";" * c + f"   {'//' if c else '#'} in turn {node[2]}")
        if c:
            self.line(depth, "}" if head == "for" else "} end_with")
        self.line(depth, f'print("{title(node)}", "left")' + ";" * c)

    def manager(self, node):
        if node[0] == "with":
            return node[1]
        if node[0] == "manage":
            return f"asyncio_contextmanager({node[1]}())" if self.c else f"contextlib.asynccontextmanager({node[1]})()"
        if node[0] == "group":
            return "asyncio_TaskGroup()" if self.c else "asyncio.TaskGroup()"
        if node[0] == "timeout":
            return f"asyncio_timeout({self.delay(node[2])})" if self.c else f"asyncio.timeout({self.delay(node[2])})"
        return f"asyncio_timeout_at(began + {self.delay(node[2])})" if self.c else f"asyncio.timeout_at(began + {self.delay(node[2])})"

    def globals(self):
        names = sorted({word for word in words_in(self.tree[2:]) if word[:1] in SLOTS and word[1:].isdigit()} | {"count"})
        return "global " + ", ".join(names)

    def used(self):
        words = set(words_in(self.tree[2:]))
        if "C1" in words:
            words.add("L0")
        return sorted((word for word in words if len(word) == 2 and word[0] in "LECSBQF" and word[1].isdigit()), key=lambda word: ("FLECSBQ".index(word[0]), word))

    def program(self):
        functions = [node for node in self.tree[2:] if node[0] != "run"]
        written = []
        for node in functions:
            self.lines, self.extra = [], []
            generator = node[0][0] == "g"
            if generator:
                self.guarded(["finally", node[1], node[2]], 1)
            else:
                self.block(node[1:], 1)
            if self.c:
                kind = "async_gen" if generator else "async_def"
                written += self.extra + ["", f"{kind}({node[0]})", "{", *self.lines, "    return None;", "}"]
            else:
                empty = ["    if False:", "        yield"] if generator and "yield" not in words_in(node) else []
                written += self.extra + ["", "", f"async def {node[0]}():", "    " + self.globals(), *self.lines, *empty]
        return "\n".join(self.c_frame(written, functions) if self.c else self.python_frame(written))

    def python_frame(self, written):
        slots = sorted({word for word in words_in(self.tree[2:]) if len(word) == 2 and word[0] in SLOTS and word[1].isdigit()} - {"F"})
        start = [PYTHON_START] + [f"{name} = None" for name in slots]
        for i in range(3):
            if f" {i})" in str(self.tree) or any(node[:1] in (["addcb"], ["rmcb"]) for node in nested(self.tree)):
                start += [f"def callback{i}(future): print('callback', {i}, future.cancelled())"]
        names = self.used()
        main = ["", "", "with asyncio.Runner() as runner:", "    began = runner.get_loop().time()"]
        main += [f"    {name} = {(KINDS.get(name) or KINDS[name[0]])[0]}" for name in names]
        return start + written + main + [f"    run(runner, {function}, {horizon})" for function, horizon in self.runs()]

    def c_frame(self, written, functions):
        words = set(words_in(self.tree[2:]))
        start = [C_START.rstrip(), "static double began;"]
        start += [f"static {(KINDS.get(name) or KINDS[name[0]])[1]} *{name};" for name in self.used()]
        start += [f"static {SLOTS[word[0]]} *{word};" for word in sorted(words) if len(word) == 2 and word[0] in "THGXKVY" and word[1].isdigit()]
        start += [f"async_{'gen_' * (node[0][0] == 'g')}decl({node[0]});" for node in functions]
        main = ["", "int main(void)", "{", "    held = list();", '    variable = context_var("variable", .default_value = V(0));',
                "    Runner *runner = asyncio_Runner(.virtual_clock = true);", "    began = loop_time(runner_get_loop(runner));"]
        main += [f"    {name} = {(KINDS.get(name) or KINDS[name[0]])[2]};" for name in self.used()]
        main += [f"    run(runner, {function}, {horizon});" for function, horizon in self.runs()]
        return start + written + main + ["    runner_close(runner);", "}"]

    def runs(self):
        return [(node[1], self.delay(node[2])) for node in self.tree[2:] if node[0] == "run"] or [("f0", 5)]


def nested(node):
    if isinstance(node, list):
        yield node
        for child in node:
            yield from nested(child)


def to_c(tree):
    return Writer(tree, "c").program()


def to_python(tree):
    return Writer(tree, "python").program()
