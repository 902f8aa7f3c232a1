/* asyncio.h - Python's asyncio, in C.
 *
 * A Python line and its C line stand side by side:
 *
 *     asyncio.name(...)            asyncio_name(...)
 *     obj.method(...)              class_method(obj, ...)          task_cancel(t), queue_put(q, v)
 *     optional argument            designated field, last          asyncio_wait(tasks, .timeout = 5)
 *       by place, as in Python     the same, without a name        asyncio_Queue(3), task_cancel(t, V("why"))
 *     await x                      await(x)                        x: a coroutine, a Task or a Future
 *     async def f(a, b):           async_def(f, (double) a, (const char *) b) { ... return None; }
 *     try / except E as e          try { } except (E, e) { } finally { } end_try
 *     raise E("text")              throw(E, "text")
 *     async with m as x:           async_with (x, m) { } end_with
 *     async for v in it:           async_for (v, it) { }
 *     yield v                      yield(v)                        in an async_gen
 *     while True:                  forever { }
 *
 * Ownership, once for all: you free nothing. An object that a function here returns, or that you receive as a
 * parameter of a coroutine, lives until that coroutine returns, and longer if something else holds it: the loop, a
 * queue, a list, a future, the value you return. `forever`, `async_for` and `scope` drop at the end of each turn
 * what the turn made; keep(v) saves a value from that. Outside a coroutine, in main(), objects live until the
 * thread ends. What a callback makes goes when the callback returns. A struct or variable of your own holds
 * nothing: what is to stay, as in Python's `self.done = loop.create_future()`, goes into a list that does
 * (as_future(list_get(self, 0))), or is made by a coroutine that lives as long as the struct. What happens when an
 * object goes, as the report of a failed task that nobody asked, may so come later than in Python.
 *
 * A compound literal of your own, as .name = (char[]){c, 0}, is gone before the call reads it: give it a variable.
 *
 * "Suspends" below means that other tasks may run before the call returns. Times are seconds, as double. Everything
 * here belongs to the thread that runs the loop, except what says "from any thread".
 */
#ifndef ASYNCIO_H
#define ASYNCIO_H

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ASYNCIO_VERSION "1.0"

#ifdef __cplusplus
#error "asyncio.h is GNU C11: it uses _Generic and statement expressions, which C++ does not have"
#endif

/* ---- Types ------------------------------------------------------------------------------------------------------ */

typedef struct Class Class;
struct ExceptionClass;
typedef struct Object { const Class *class; uint32_t references; uint32_t id; } Object;

typedef struct Coroutine Coroutine;
typedef struct AsyncGenerator AsyncGenerator;
typedef struct AsyncIterator AsyncIterator;
typedef struct ContextManager ContextManager;
typedef struct Future Future;
typedef struct Task Task;
typedef struct Handle Handle;               /* what call_soon returns; from call_later and call_at it has a time too */
typedef struct Loop Loop;
typedef struct Runner Runner;
typedef struct Context Context;
typedef struct ContextVar ContextVar;
typedef struct Timeout Timeout;
typedef struct TaskGroup TaskGroup;
typedef struct AsCompleted AsCompleted;
typedef struct Lock Lock;
typedef struct Event Event;
typedef struct Condition Condition;
typedef struct Semaphore Semaphore;         /* BoundedSemaphore too */
typedef struct Barrier Barrier;
typedef struct Executor Executor;
typedef struct Transport Transport;
typedef struct Server Server;
typedef struct StreamReader StreamReader;
typedef struct StreamWriter StreamWriter;
typedef struct SSLContext SSLContext;
typedef struct SSLObject SSLObject;
typedef struct Process Process;
typedef struct SubprocessTransport SubprocessTransport;
typedef struct ThreadFuture ThreadFuture;   /* what concurrent.futures.Future is */
typedef struct Queue Queue;                 /* LifoQueue and PriorityQueue too */

/* A place in a source file. The macros below make one for each await and throw. */
typedef struct Site { const char *file; int line; const char *function; } Site;
#define SITE_ (&(Site){__FILE__, __LINE__, __func__})
#define STATIC_SITE_ ({ static const Site site_ = {__FILE__, __LINE__, __func__}; &site_; })

/* ---- Values ----------------------------------------------------------------------------------------------------- */

typedef enum {
    VALUE_NONE, VALUE_BOOL, VALUE_INT, VALUE_FLOAT, VALUE_STR, VALUE_BYTES, VALUE_LIST, VALUE_TUPLE, VALUE_OBJECT, VALUE_POINTER,
    VALUE_UNSET_                                       /* never seen by programs: an option not given */
} ValueTag;

/* Anything Python would hold in a variable: 16 bytes, passed by value. */
typedef struct Value {
    ValueTag tag;
    union { bool boolean; int64_t integer; double number; Object *object; void *pointer; };
} Value;

#undef true
#undef false
#define true ((bool)1)                      /* <stdbool.h> makes them ints, and V(true) would print 1 */
#define false ((bool)0)
#define None ((Value){.tag = VALUE_NONE})
#define True ((Value){.tag = VALUE_BOOL, .boolean = true})
#define False ((Value){.tag = VALUE_BOOL, .boolean = false})

/* V(x): a Value from a bool, integer, double, C string (copied), Value, pointer, or any object of this library.
 * Note that C's comparisons are ints: V(a == b) is 0 or 1; write V((bool)(a == b)) for False or True. A pointer to
 * something of your own is written (void *) p, or the compiler says that it is "not compatible with any association".
 * Where it says "missing braces", V() is missing: `.arg = V(5)`. */
#define V(x) _Generic((x), \
    Value: value_itself_, bool: value_bool_, \
    char: value_int_, signed char: value_int_, unsigned char: value_int_, short: value_int_, unsigned short: value_int_, \
    int: value_int_, unsigned: value_int_, long: value_int_, unsigned long: value_int_, long long: value_int_, \
    unsigned long long: value_int_, float: value_float_, double: value_float_, \
    char *: value_str_, const char *: value_str_, void *: value_pointer_, const void *: value_pointer_, \
    const struct ExceptionClass *: value_new_exception_, struct ExceptionClass *: value_new_exception_, \
    OBJECT_TYPES_(value_object_))(x)

#define OBJECT_TYPES_(f) \
    Object *: f, Coroutine *: f, AsyncGenerator *: f, AsyncIterator *: f, ContextManager *: f, Future *: f, Task *: f, \
    Handle *: f, Loop *: f, Runner *: f, Context *: f, ContextVar *: f, Timeout *: f, TaskGroup *: f, AsCompleted *: f, \
    Lock *: f, Event *: f, Condition *: f, Semaphore *: f, Barrier *: f, Queue *: f, \
    Executor *: f, ThreadFuture *: f, \
    Transport *: f, Server *: f, StreamReader *: f, StreamWriter *: f, SSLContext *: f, SSLObject *: f, Process *: f, \
    SubprocessTransport *: f

/* Python's builtins. Each takes anything that V() takes. print() ends the line; str() and repr() are as Python
 * writes them. */
#define print(...)        value_print_(VALUES_(__VA_ARGS__))                 /* print(*args) */
#define list(...)         value_list_(VALUES_(__VA_ARGS__))                  /* [a, b, ...] */
#define tuple(...)        value_tuple_(VALUES_(__VA_ARGS__))                 /* (a, b, ...) */
#define len(v)            value_len(V(v))                                    /* len(v); TypeError if it has none */
#define str(v)            value_to_str(V(v))                                 /* str(v), as a str Value */
#define repr(v)           value_repr(V(v))                                   /* repr(v), as a str Value */
/* isinstance(v, E), E an exception class */
#define isinstance(v, E)  value_is_exception(V(v), E)

Value    format(const char *text, ...) __attribute__((format(printf, 1, 2)));  /* f"...": a str, by printf's rules */
Value    bytes(const void *data, size_t length);        /* bytes(data): copied */
int      value_len(Value v);                            /* characters of a str, bytes, items; TypeError */
Value    value_to_str(Value v);
Value    value_repr(Value v);
bool     value_truth(Value v);                          /* bool(v) */
bool     value_equal(Value a, Value b);                 /* a == b; never raises */
bool     value_less(Value a, Value b);                  /* a < b; TypeError if Python has no order for the two */
bool     value_is_exception(Value v, const struct ExceptionClass *class);
const char *value_type(Value v);                        /* type(v).__name__ */

/* What is inside. TypeError if v is of another type; the memory belongs to v. */
bool        as_bool(Value v);
int64_t     as_int(Value v);
double      as_float(Value v);                          /* an int is converted */
const char *as_str(Value v);                            /* UTF-8, ends with a zero byte */
const char *as_bytes(Value v, size_t *length);          /* length may be NULL */
void       *as_pointer(Value v);
Task       *as_task(Value v);
Queue      *as_queue(Value v);
Lock       *as_lock(Value v);
Event      *as_event(Value v);
Condition  *as_condition(Value v);
Semaphore  *as_semaphore(Value v);
Barrier    *as_barrier(Value v);
Future     *as_future(Value v);                         /* a Task too */
Coroutine  *as_coroutine(Value v);
static inline bool is_none(Value v) { return v.tag == VALUE_NONE; }

/* Lists and tuples; what reads only takes a str (of characters) or bytes (of ints) too. Negative indexes count from the
 * end; IndexError outside; TypeError for anything else. */
Value list_get(Value v, int index);                     /* v[index] */
void  list_set_(Value v, int index, Value item);
void  list_append_(Value v, Value item);
void  list_insert_(Value v, int index, Value item);
Value list_pop(Value v, int index);                     /* v.pop(index); -1: the last */
bool  list_contains_(Value v, Value item);              /* item in v; in a str or bytes: a part of it */
void  list_clear(Value v);
void  list_sort(Value v);                               /* v.sort(): stable, by value_less */
#define list_set(v, i, x)    list_set_(v, i, V(x))      /* v[i] = x */
#define list_append(v, x)    list_append_(v, V(x))
#define list_insert(v, i, x) list_insert_(v, i, V(x))
#define list_contains(v, x)  list_contains_(v, V(x))

/* a, b = v: unpack(v, &a, &b). ValueError if v has not as many items. */
#define unpack(v, ...) value_unpack_(v, sizeof((Value *[]){__VA_ARGS__}) / sizeof(Value *), (Value *[]){__VA_ARGS__})

/* for v in items: a list, tuple, str or bytes. */
#define for_in(v, items) \
    for (Value in_##v = (items), at_##v = value_int_(0), v = None; value_for_in_(in_##v, &at_##v, &v); )

/* Lifetimes, where the rule at the top of this page is not what you want. */
/* v lives until the coroutine returns, whatever scope it was made in */
#define keep(v)  value_keep_(V(v))
#define forever  for (int turn_ = scope_begin_(); ; scope_drop_(turn_))    /* while True: drops what each turn made */
#define scope    for (int turn_ = scope_begin_(), once_ = 1; once_; once_ = 0, scope_drop_(turn_)) /* the same, once */

/* ---- Exceptions ------------------------------------------------------------------------------------------------- */

typedef struct ExceptionClass { const char *name; const struct ExceptionClass *parent; const char *module; } ExceptionClass;

/* class Name(Parent): pass - at file level, with a semicolon. */
#define exception_class(Name, Parent) \
    static const ExceptionClass Name[1] __attribute__((unused)) = {{#Name, Parent, NULL}}

extern const ExceptionClass BaseException[1], Exception[1], BaseExceptionGroup[1], ExceptionGroup[1], GeneratorExit[1],
    KeyboardInterrupt[1], SystemExit[1], CancelledError[1], ArithmeticError[1], ZeroDivisionError[1], OverflowError[1],
    AssertionError[1], AttributeError[1], BufferError[1], EOFError[1], LookupError[1], IndexError[1], KeyError[1],
    MemoryError[1], NameError[1], RuntimeError[1], NotImplementedError[1], RecursionError[1], DeadlockError[1],
    StopIteration[1], StopAsyncIteration[1], SyntaxError[1], TypeError[1], ValueError[1], UnicodeError[1], OSError[1],
    BlockingIOError[1], ChildProcessError[1], ConnectionError[1], BrokenPipeError[1], ConnectionAbortedError[1],
    ConnectionRefusedError[1], ConnectionResetError[1], FileExistsError[1], FileNotFoundError[1], InterruptedError[1],
    IsADirectoryError[1], NotADirectoryError[1], PermissionError[1], ProcessLookupError[1], TimeoutError[1],
    Warning[1], RuntimeWarning[1], InvalidStateError[1], BrokenBarrierError[1], QueueEmpty[1], QueueFull[1],
    QueueShutDown[1], IncompleteReadError[1], LimitOverrunError[1], SendfileNotAvailableError[1];

/* throw(E), throw(E, "text %d", n): raise E("text"). throw(e): raise the instance e, a Value. Does not return.
 * throw_from(cause, E, ...): raise E(...) from cause. rethrow: the bare raise of an except block. */
#define throw(...)              exception_throw_(THROWN_(__VA_ARGS__), STATIC_SITE_)
#define throw_from(cause, ...)  exception_throw_(exception_with_cause_(THROWN_(__VA_ARGS__), V(cause)), STATIC_SITE_)
#define rethrow                 exception_rethrow_(STATIC_SITE_)

/* E("text") */
Value exception_new(const ExceptionClass *class, const char *text, ...) __attribute__((format(printf, 2, 3)));
/* E(*args), args a tuple. As in Python an OSError of (number, text) is of the class that fits the number. */
Value exception_new_args(const ExceptionClass *class, Value args);
/* ExceptionGroup(text, [...]); Base… if one is not an Exception */
Value exception_group(const char *text, Value exceptions);
const ExceptionClass *exception_type(Value e);                         /* type(e) */
Value exception_args(Value e);                                         /* e.args, a tuple */
Value exception_cause(Value e);                                        /* e.__cause__ or None */
Value exception_context(Value e);                                      /* e.__context__ or None */
bool  exception_suppress_context(Value e);                             /* e.__suppress_context__ */
Value exception_exceptions(Value e);                                   /* group.exceptions, a tuple; None of no group */
/* group.split(E): returns the match; either may be None */
Value exception_split(Value group, const ExceptionClass *class, Value *rest);
/* the attributes of e, a tuple: (errno, strerror, filename) of an OSError, (partial, expected) of an IncompleteReadError,
 * (consumed,) of a LimitOverrunError; empty of others. Those of your own classes: give them as arguments. */
Value exception_details(Value e);
Value exception_notes(Value e);                                        /* e.__notes__, a list */
void  exception_add_note(Value e, const char *note);                   /* e.add_note(note) */
void  exception_print(Value e, FILE *file);                            /* traceback.print_exception(e, file=file) */

/* try { ... } except (E) { ... } except (E, e) { ... } finally { ... } end_try
 *
 * except clauses as many as wanted, or none; finally once, last, or not. e is a Value. `return`, `break` and
 * `continue` may leave a try, but not one with a finally: that stops the program with a message, because C would
 * skip the finally. A local variable that is changed inside `try` or `async_with` and read after an exception must
 * be `volatile`: lessons/04 says why. gcc's -Wextra warns of such variables (-Wclobbered), and of some that are safe,
 * such as the counter of a loop around the try: `volatile` is right there too, or -Wno-clobbered.
 *
 * `except (E, F) as e` of Python is except_any (e, E, F). except_star (E, group) is `except* E as group`: it takes the
 * matching part of an ExceptionGroup and leaves the rest; `except* (E, F) as group` is except_star_any (group, E, F). */
#define try \
    { Handler try_ __attribute__((cleanup(handler_close_))); handler_open_(&try_, STATIC_SITE_); \
      { __label__ end_try_is_missing_, begin_; goto end_try_is_missing_; begin_: \
        _setjmp(try_.landing); if (try_.phase == PHASE_BODY) {
#define except(...)       EXCEPT_PICK_(__VA_ARGS__, EXCEPT_AS_, EXCEPT_)(__VA_ARGS__)
#define except_any(e, ...) \
        } else if (handler_catches_any_(&try_, (const ExceptionClass *[]){__VA_ARGS__, NULL})) { Value e = try_.exception; (void)e;
#define except_star(E, e)       EXCEPT_STAR_(e, E)
#define except_star_any(e, ...) EXCEPT_STAR_(e, __VA_ARGS__)
#define EXCEPT_STAR_(e, ...) \
        } else if (handler_catches_star_(&try_, (const ExceptionClass *[]){__VA_ARGS__, NULL})) { Value e = try_.exception; (void)e;
#define finally \
        } end_try_is_missing_: if (handler_probe_(&try_, true)) goto begin_; } \
      handler_finally_(&try_); { __label__ end_try_is_missing_, begin_; if (0) goto end_try_is_missing_; begin_: {
#define end_try \
        } end_try_is_missing_: if (handler_probe_(&try_, false)) goto begin_; } handler_end_(&try_); }

#define EXCEPT_PICK_(a, b, pick, ...) pick
#define EXCEPT_(E)        } else if (handler_catches_(&try_, E)) {
#define EXCEPT_AS_(E, e) \
        } else if (handler_catches_(&try_, E)) { Value e = try_.exception; (void)e; \
            _Static_assert(!LOOKS_LIKE_A_CLASS_(#e), "except (E, e) names the exception e; two classes are except_any (e, E, F)");
#define LOOKS_LIKE_A_CLASS_(text) \
    (__builtin_strncmp(text, "A", 1) >= 0 && __builtin_strncmp(text, "Z", 1) <= 0 && __builtin_strncmp(&text[1], "a", 1) >= 0)

typedef enum { PHASE_PROBE, PHASE_BODY, PHASE_LANDED, PHASE_HANDLING, PHASE_STAR, PHASE_FAILED, PHASE_FINALLY, PHASE_CLOSED } Phase;

/* One entered try. On the C stack of who entered it; the chain of them belongs to the running stack. */
typedef struct Handler {
    jmp_buf landing;
    struct Handler *outer, *outer_handling;
    Coroutine *frame;
    const Site *site;
    Value exception, rest, raised, kept;
    Phase phase;
    bool has_finally, reraises;
} Handler;

/* ---- Coroutines ------------------------------------------------------------------------------------------------- */

/* async def name(a, b): at file level. The parameters are written (type) name, up to twelve; the body returns a
 * Value.
 *
 *     async_def(say_after, (double) delay, (const char *) what) { await(asyncio_sleep(delay)); print(what); return None; }
 *
 * Calling say_after(1, "x") makes the coroutine object and runs nothing; arguments of wrong type do not compile.
 * Objects and Values passed in are held; what a pointer or a C string points to stays yours and must live as long.
 * A type with brackets or an asterisk in its middle needs a typedef. The function is static; async_decl(name, ...);
 * declares one that comes further down. */
#define async_def(name, ...)  ASYNC_DEFINE_(static, Coroutine, coroutine_new_, #name, name, __VA_ARGS__)
#define async_decl(name, ...) __attribute__((unused, warn_unused_result)) static Coroutine *name(ASYNC_PARAMETERS_(__VA_ARGS__))

/* async def name(...): with yield inside. name(...) makes the asynchronous generator; see "Generators" below. */
#define async_gen(name, ...)  ASYNC_DEFINE_(static, AsyncGenerator, generator_new_, #name, name, __VA_ARGS__)
#define async_gen_decl(name, ...) __attribute__((unused)) static AsyncGenerator *name(ASYNC_PARAMETERS_(__VA_ARGS__))

/* await x. A coroutine runs here and now, in this task; a Task or Future that is not done suspends this task until
 * it is. Returns its result or raises its exception. CancelledError when this task is cancelled meanwhile.
 * RuntimeError: a coroutine awaited twice, a task awaiting itself, a future of another loop, or no task running. */
#define await(x)     await_(AWAITABLE_(x), IS_CALL_(x) + IS_NEW_TASK_(x), STATIC_SITE_)
#define AWAITABLE_(x) _Generic((x), Value: awaitable_of_value_, Coroutine *: awaitable_itself_, Task *: awaitable_itself_, \
                                    Future *: awaitable_itself_, Object *: awaitable_itself_)(x)
#define OBJECT_OF_(x) _Generic((x), Value: object_of_value_, Coroutine *: awaitable_itself_, Task *: awaitable_itself_, \
                                    Future *: awaitable_itself_, Object *: awaitable_itself_)(x)

bool        asyncio_iscoroutine_(Value v);
#define     asyncio_iscoroutine(x) asyncio_iscoroutine_(V(x))         /* asyncio.iscoroutine(x) */
/* coro.close(): never run it, and no warning about that; ValueError once it runs */
void        coroutine_close(Coroutine *coro);
const char *coroutine_name(Coroutine *coro);           /* coro.__name__ */

/* ---- Running ---------------------------------------------------------------------------------------------------- */

/* asyncio.run(main): a new loop, main as its first task, then the whole shutdown: other tasks cancelled and
 * awaited, generators and threads closed, loop closed. Returns main's value. What main raises: in main(), a
 * traceback on stderr and exit status 1 (inside a try it is yours to catch). Ctrl-C cancels main and raises
 * KeyboardInterrupt; a second one does so at once; in debug mode each says who waits for whom. .debug: 1, 0, or left
 * out: as ASYNCIO_DEBUG says. .loop_factory: makes the loop. .virtual_clock: sleeping costs no time (also
 * ASYNCIO_CLOCK=virtual). RuntimeError if a loop already runs in this thread. Does not suspend: it blocks until all
 * is done. */
#define asyncio_run(main, ...) \
    asyncio_run_(AWAITABLE_(main), IS_CALL_(main), OPTIONS_(RunOptions, (.debug = -1), __VA_ARGS__))
typedef struct { char start_; int debug; Loop *(*loop_factory)(void); bool virtual_clock; } RunOptions;

/* asyncio.Runner(): the same in steps; one context over all runs. */
#define asyncio_Runner(...)          asyncio_Runner_(OPTIONS_(RunOptions, (.debug = -1), __VA_ARGS__))
#define runner_run(runner, coro, ...) \
    runner_run_(runner, AWAITABLE_(coro), OPTIONS_(RunnerRunOptions, (.context = NULL), __VA_ARGS__))
typedef struct { char start_; Context *context; } RunnerRunOptions;
Loop *runner_get_loop(Runner *runner);                 /* runner.get_loop(): makes it at the first call */
void  runner_close(Runner *runner);                    /* runner.close(), the shutdown; closing twice is fine */

/* ---- Sleeping --------------------------------------------------------------------------------------------------- */

/* asyncio.sleep(delay, result=None): suspends this task for delay seconds, <= 0 for one pass of the loop. Returns
 * result. ValueError for NaN. */
#define asyncio_sleep(delay, ...) asyncio_sleep_(delay, OPTIONS_(SleepOptions, (.start_ = 0), __VA_ARGS__).result)
typedef struct { char start_; Value result; } SleepOptions;

/* ---- Tasks ------------------------------------------------------------------------------------------------------ */

/* asyncio.create_task(coro): its first step runs in the next pass of the loop, in order of creation. The task takes
 * coro over. RuntimeError without a running loop. .name: copied, else "Task-N". .context: runs in it, else in a
 * copy of the current one. .eager_start: runs at once, inside this call, until it first suspends. Does not suspend. */
#define asyncio_create_task(coro, ...) \
    asyncio_create_task_(coro, OPTIONS_(TaskOptions, (.name = NULL), __VA_ARGS__), STATIC_SITE_)
typedef struct { char start_; const char *name; Context *context; bool eager_start; Loop *loop; } TaskOptions;

/* asyncio.ensure_future(aw): a Future or Task unchanged, a coroutine as a new Task. ValueError if .loop is not its
 * loop. */
#define asyncio_ensure_future(aw, ...) \
    asyncio_ensure_future_(OBJECT_OF_(aw), OPTIONS_(TaskOptions, (.name = NULL), __VA_ARGS__), STATIC_SITE_)

/* asyncio.current_task(loop=None): NULL in a plain callback; RuntimeError without a running loop.
 * asyncio.all_tasks(loop=None): a list of the tasks that are not done, oldest first. */
#define asyncio_current_task(...) asyncio_current_task_(OPTIONS_(LoopOptions, (.loop = NULL), __VA_ARGS__).loop)
#define asyncio_all_tasks(...)    asyncio_all_tasks_(OPTIONS_(LoopOptions, (.loop = NULL), __VA_ARGS__).loop)
typedef struct { char start_; Loop *loop; } LoopOptions;

/* The methods of a Task. Those of Future (further down) have a task_ twin that says the same. */
bool        task_cancel_(Task *task, Value message);
/* task.cancel(msg=None): asks; false if already done */
#define     task_cancel(task, ...) task_cancel_(task, OPTIONS_(CancelOptions, (.start_ = 0), __VA_ARGS__).msg)
typedef struct { char start_; Value msg; } CancelOptions;
int         task_cancelling(Task *task);               /* task.cancelling(): cancel() calls less uncancel() calls */
int         task_uncancel(Task *task);                 /* task.uncancel(): takes one back, returns what is left */
const char *task_get_name(Task *task);                 /* task.get_name(): belongs to the task */
void        task_set_name_(Task *task, Value name);
#define     task_set_name(task, name) task_set_name_(task, V(name))
Coroutine  *task_get_coro(Task *task);                 /* task.get_coro(): NULL if it finished eagerly */
Context    *task_get_context(Task *task);              /* task.get_context() */

/* task.get_stack(limit=None): list of (function, file, line), the innermost place of a suspended task, the
 * traceback of a failed one, else empty; oldest first. .limit: at most so many. print_stack writes them to .file,
 * default stdout. */
#define task_get_stack(task, ...)   task_get_stack_(task, OPTIONS_(StackOptions, (.limit = -1), __VA_ARGS__))
#define task_print_stack(task, ...) task_print_stack_(task, OPTIONS_(StackOptions, (.limit = -1), __VA_ARGS__))
typedef struct { char start_; int limit; FILE *file; } StackOptions;

#define task_done(t)                     future_done((Future *)(t))
#define task_cancelled(t)                future_cancelled((Future *)(t))
#define task_result(t)                   future_result((Future *)(t))
#define task_exception(t)                future_exception((Future *)(t))
#define task_get_loop(t)                 future_get_loop((Future *)(t))
#define task_add_done_callback(t, ...)   future_add_done_callback((Future *)(t), __VA_ARGS__)
#define task_remove_done_callback(t, ...) future_remove_done_callback((Future *)(t), __VA_ARGS__)

/* ---- Futures ---------------------------------------------------------------------------------------------------- */

/* Every function here takes a Task as well, cast or by its task_ twin. None suspends. */
typedef void (*DoneCallback)(Future *future, Value arg);

Future *loop_create_future(Loop *loop);                /* loop.create_future(): pending */
bool    asyncio_isfuture_(Value v);
#define asyncio_isfuture(x) asyncio_isfuture_(V(x))    /* asyncio.isfuture(x): a Task too */
bool    future_done(Future *future);                   /* future.done() */
bool    future_cancelled(Future *future);              /* future.cancelled() */
/* future.result(): raises what it failed with, CancelledError, InvalidStateError if pending */
Value   future_result(Future *future);
/* future.exception(): the exception or None; CancelledError, InvalidStateError */
Value   future_exception(Future *future);
/* future.set_result(v); InvalidStateError if done */
#define future_set_result(future, v) future_set_result_(future, V(v))
/* future.set_exception(e), e a class or instance; TypeError, InvalidStateError */
#define future_set_exception(future, e) future_set_exception_(future, V(e))
bool    future_cancel_(Future *future, Value message);
/* future.cancel(msg=None): false if already done */
#define future_cancel(future, ...) future_cancel_(future, OPTIONS_(CancelOptions, (.start_ = 0), __VA_ARGS__).msg)
Loop   *future_get_loop(Future *future);               /* future.get_loop() */

/* future.add_done_callback(fn, context=None): fn(future, arg) in the loop, once the future is done, in the order of
 * registration; if it is done already, soon. .arg is handed on. remove_done_callback takes back every registration
 * of the same fn and .arg and returns how many. */
#define future_add_done_callback(future, fn, ...) \
    future_add_done_callback_(future, fn, OPTIONS_(DoneOptions, (.name = #fn), __VA_ARGS__))
#define future_remove_done_callback(future, fn, ...) \
    future_remove_done_callback_(future, fn, OPTIONS_(DoneOptions, (.name = #fn), __VA_ARGS__))
typedef struct { char start_; Value arg; Context *context; const char *name; } DoneOptions;

/* ---- Running concurrently --------------------------------------------------------------------------------------- */

/* asyncio.gather(a, b, ...): runs coroutines, Tasks and Futures concurrently. Returns a Future: the list of results
 * in the order of the arguments. The first exception is raised at once and the others go on; with
 * .return_exceptions = true exceptions are results. Cancelling it cancels all. Takes up to 24; asyncio_gather_list(list,
 * ...) takes a list, of any length. TypeError for anything else. */
#define asyncio_gather(...) \
    asyncio_gather_args_(LISTED_OPTIONS_(GatherOptions, (.return_exceptions = false), __VA_ARGS__), STATIC_SITE_)
#define asyncio_gather_list(aws, ...) \
    asyncio_gather_(aws, OPTIONS_(GatherListOptions, (.return_exceptions = false), __VA_ARGS__).return_exceptions, STATIC_SITE_)
#ifdef __clang__                                       /* a type that each of the compilers names in its error */
typedef double too_many_arguments_use_asyncio_gather_list;
#else
typedef enum too_many_arguments_use_asyncio_gather_list { TOO_MANY_ } too_many_arguments_use_asyncio_gather_list;
#endif
typedef struct {
    char start_; void *awaitables[24]; too_many_arguments_use_asyncio_gather_list too_many; bool return_exceptions;
} GatherOptions;
typedef struct { char start_; bool return_exceptions; } GatherListOptions;

/* asyncio.wait_for(aw, timeout): the result of aw, or after timeout seconds aw is cancelled, awaited to its end,
 * and TimeoutError raised. timeout None or NO_TIMEOUT: no limit. Suspends. */
#define asyncio_wait_for(aw, timeout) asyncio_wait_for_(AWAITABLE_(aw), TIMEOUT_(timeout))
#define NO_TIMEOUT INFINITY
#define TIMEOUT_(t) ({ \
    _Static_assert(!BEGINS_(#t, "."), "the time stands in its place, without a name: asyncio_wait_for(f(), 1.5)"); \
    _Generic((t), Value: timeout_of_value_, default: timeout_of_number_)(t); })

/* asyncio.wait(aws): aws a list of Tasks and Futures. Returns a tuple (done, pending) of lists, in the order given.
 * Never raises TimeoutError, cancels nothing. ValueError if empty, TypeError for coroutines. Suspends. */
#define asyncio_wait(aws, ...) \
    asyncio_wait_(aws, OPTIONS_(WaitOptions, (.timeout = NO_TIMEOUT, .return_when = ALL_COMPLETED), __VA_ARGS__))
typedef struct { char start_; double timeout; int return_when; } WaitOptions;
enum { ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION };

/* asyncio.shield(aw): a Future that follows aw; cancelling it leaves aw running. */
#define asyncio_shield(aw) asyncio_shield_(OBJECT_OF_(aw), STATIC_SITE_)

/* asyncio.as_completed(aws, timeout=None): aws a list. Two ways through it:
 *     for (Coroutine *next; (next = as_completed_next(it)); ) { Value v = await(next); ... }     each next finished result
 *     async_for (task, it) { ... as_task(task) ... }                                              the tasks themselves
 * After .timeout seconds the remaining awaits raise TimeoutError; nothing is cancelled. */
#define asyncio_as_completed(aws, ...) \
    asyncio_as_completed_(aws, OPTIONS_(AsCompletedOptions, (.timeout = NO_TIMEOUT), __VA_ARGS__).timeout, STATIC_SITE_)
typedef struct { char start_; double timeout; } AsCompletedOptions;
Coroutine *as_completed_next(AsCompleted *it);         /* NULL at the end */

/* async with asyncio.timeout(delay) as t: async_with (t, asyncio_timeout(1.5)) { ... } end_with. TimeoutError where
 * the block ends if the deadline passed. delay may be None. timeout_at takes loop_time() seconds. */
#define asyncio_timeout(delay)   asyncio_timeout_(TIMEOUT_(delay))
#define asyncio_timeout_at(when) asyncio_timeout_at_(TIMEOUT_(when))
double  timeout_when(Timeout *timeout);                /* t.when(): NO_TIMEOUT if it has none */
/* t.reschedule(when); RuntimeError unless entered */
#define timeout_reschedule(t, when) timeout_reschedule_(t, TIMEOUT_(when))
bool    timeout_expired(Timeout *timeout);             /* t.expired() */

/* async with asyncio.TaskGroup() as tg: async_with (tg, asyncio_TaskGroup()) { ... } end_with. The block ends when
 * all its tasks have. If one fails the others are cancelled and an ExceptionGroup is raised: see except_star. */
TaskGroup *asyncio_TaskGroup(void);
#define taskgroup_create_task(tg, coro, ...) \
    taskgroup_create_task_(tg, coro, OPTIONS_(TaskOptions, (.name = NULL), __VA_ARGS__), STATIC_SITE_)

/* ---- Synchronisation -------------------------------------------------------------------------------------------- */

/* All are FIFO, none is for threads. async_with (x, lock) { } end_with acquires and releases. */

Lock      *asyncio_Lock(void);
Coroutine *lock_acquire(Lock *lock);                   /* await lock.acquire(): True. Suspends while locked */
void       lock_release(Lock *lock);                   /* lock.release(); RuntimeError if not locked */
bool       lock_locked(Lock *lock);

Event     *asyncio_Event(void);
Coroutine *event_wait(Event *event);                   /* await event.wait(): True. Suspends while clear */
void       event_set(Event *event);                    /* event.set(): wakes all who wait now */
void       event_clear(Event *event);
bool       event_is_set(Event *event);

/* Condition(lock=None) */
#define    asyncio_Condition(...) asyncio_Condition_(OPTIONS_(ConditionOptions, (.lock = NULL), __VA_ARGS__).lock)
typedef struct { char start_; Lock *lock; } ConditionOptions;
Coroutine *condition_acquire(Condition *condition);
void       condition_release(Condition *condition);
bool       condition_locked(Condition *condition);
/* await cond.wait(): True. Needs the lock (RuntimeError), lets go of it, waits, has it again */
Coroutine *condition_wait(Condition *condition);
/* until predicate(arg) is true; returns its value */
Coroutine *condition_wait_for(Condition *condition, Value (*predicate)(Value arg), Value arg);
/* cond.notify(n=1): needs the lock (RuntimeError) */
#define    condition_notify(condition, ...) \
    condition_notify_(condition, OPTIONS_(NotifyOptions, (.n = 1), __VA_ARGS__).n)
typedef struct { char start_; int n; } NotifyOptions;
void       condition_notify_all(Condition *condition);

/* Semaphore(value=1); ValueError if < 0 */
#define    asyncio_Semaphore(...) asyncio_Semaphore_(OPTIONS_(SemaphoreOptions, (.value = 1), __VA_ARGS__).value)
#define    asyncio_BoundedSemaphore(...) \
    asyncio_BoundedSemaphore_(OPTIONS_(SemaphoreOptions, (.value = 1), __VA_ARGS__).value)
typedef struct { char start_; int value; } SemaphoreOptions;
Coroutine *semaphore_acquire(Semaphore *semaphore);    /* await sem.acquire(): True. Suspends at zero */
/* sem.release(); a bounded one: ValueError above its initial value */
void       semaphore_release(Semaphore *semaphore);
bool       semaphore_locked(Semaphore *semaphore);     /* would acquire() suspend? */

Barrier   *asyncio_Barrier(int parties);               /* ValueError if < 1 */
/* await barrier.wait(): 0 … parties-1, in order of arrival; BrokenBarrierError */
Coroutine *barrier_wait(Barrier *barrier);
/* await barrier.reset(): those who wait get BrokenBarrierError */
Coroutine *barrier_reset(Barrier *barrier);
Coroutine *barrier_abort(Barrier *barrier);            /* await barrier.abort(): broken until reset */
int        barrier_parties(Barrier *barrier);
int        barrier_n_waiting(Barrier *barrier);
bool       barrier_broken(Barrier *barrier);

/* ---- Queues ----------------------------------------------------------------------------------------------------- */

/* asyncio.Queue(maxsize=0), <= 0: unlimited. LifoQueue gives the newest first, PriorityQueue the smallest. The
 * queue holds its items. */
#define    asyncio_Queue(...)         asyncio_Queue_(OPTIONS_(QueueOptions, (.maxsize = 0), __VA_ARGS__).maxsize)
#define    asyncio_LifoQueue(...)     asyncio_LifoQueue_(OPTIONS_(QueueOptions, (.maxsize = 0), __VA_ARGS__).maxsize)
#define    asyncio_PriorityQueue(...) \
    asyncio_PriorityQueue_(OPTIONS_(QueueOptions, (.maxsize = 0), __VA_ARGS__).maxsize)
typedef struct { char start_; int maxsize; } QueueOptions;
/* await q.put(item): suspends while full; QueueShutDown */
#define    queue_put(queue, item)        queue_put_(queue, V(item))
/* q.put_nowait(item): QueueFull, QueueShutDown */
#define    queue_put_nowait(queue, item) queue_put_nowait_(queue, V(item))
/* await q.get(): the item. Suspends while empty; QueueShutDown */
Coroutine *queue_get(Queue *queue);
Value      queue_get_nowait(Queue *queue);             /* q.get_nowait(): QueueEmpty, QueueShutDown */
Coroutine *queue_join(Queue *queue);                   /* await q.join(): suspends until every item is done */
void       queue_task_done(Queue *queue);              /* q.task_done(); ValueError if called too often */
int        queue_qsize(Queue *queue);                  /* q.qsize(): items in it */
int        queue_maxsize(Queue *queue);
bool       queue_empty(Queue *queue);
bool       queue_full(Queue *queue);
/* q.shutdown(immediate=False) */
#define    queue_shutdown(queue, ...) \
    queue_shutdown_(queue, OPTIONS_(ShutdownOptions, (.immediate = false), __VA_ARGS__).immediate)
typedef struct { char start_; bool immediate; } ShutdownOptions;

/* ---- Generators, iterators, context managers -------------------------------------------------------------------- */

/* async for v in it: it is an AsyncGenerator, AsyncIterator, AsCompleted or a Value of one. break and continue
 * work; where break leaves a generator that was made in the same line, as in async_for (v, f()), a task closes it
 * soon. Each turn suspends as the iterator does; what the turn made is dropped at its end. */
#define async_for(v, it) \
    for (Value for_##v __attribute__((cleanup(async_leave_))) = async_iter_(V(it), IS_CALL_(it), STATIC_SITE_), v = None; \
         async_next_(for_##v, &v, STATIC_SITE_); )

/* yield v, in an async_gen: hands v to the consumer and suspends until it asks for more. Returns what asend() sent,
 * else None. */
#define yield(v)      generator_yield_(V(v), STATIC_SITE_)

/* [expression async for v in it if condition]: async_list(v, it, expression) or async_list(v, it, expression,
 * condition). A list Value. [await a for a in aws] is async_list_await(aws): one after the other. */
#define async_list(v, it, expression, ...) ({ \
    Value list_##v = list(); \
    async_for (v, it) { if (true __VA_OPT__(&& (__VA_ARGS__))) list_append(list_##v, expression); } list_##v; })
#define async_list_await(aws) async_list_await_(aws, STATIC_SITE_)

Coroutine *generator_anext(AsyncGenerator *gen);                /* await anext(gen): StopAsyncIteration at the end */
Coroutine *generator_asend_(AsyncGenerator *gen, Value v);
/* await gen.athrow(e): raises e at its yield; returns what it yields next */
Coroutine *generator_athrow(AsyncGenerator *gen, Value e);
Coroutine *generator_aclose(AsyncGenerator *gen);               /* await gen.aclose(): GeneratorExit at its yield */
#define    generator_asend(gen, v) generator_asend_(gen, V(v))  /* await gen.asend(v): v is what its yield returns */

/* An object with __anext__: anext(self) makes a coroutine that returns the next value or raises StopAsyncIteration. */
#define asyncio_iterator(anext, self) asyncio_iterator_(anext, V(self))
Value   asyncio_anext_(Value iterator);
/* await(asyncio_anext(it)): await anext(it), a coroutine Value */
#define asyncio_anext(it) asyncio_anext_(V(it))

/* An object with __aenter__ and __aexit__: aenter(self) gives the value after "as"; aexit(self, e) gets the
 * exception or None, and if it returns a true value the exception ends there. asyncio_contextmanager(gen) makes one
 * of a generator that yields once. */
#define asyncio_context_manager(aenter, aexit, self) asyncio_context_manager_(aenter, aexit, V(self))
ContextManager *asyncio_contextmanager(AsyncGenerator *gen);

/* async with m as x, also async_with (m) without x: m is a Lock, Condition, Semaphore, Barrier, Timeout, TaskGroup
 * or ContextManager. x is what __aenter__ gave if m is a ContextManager, else m itself. Leaving by return, break or
 * continue runs the exit too; an exit may suspend. */
#define async_with(...) ASYNC_WITH_PICK_(__VA_ARGS__, ASYNC_WITH_AS_, ASYNC_WITH_)(__VA_ARGS__)
#define ASYNC_WITH_PICK_(a, b, pick, ...) pick
#define ASYNC_WITH_(m) ASYNC_WITH_AS_(unnamed_, m)
#define ASYNC_WITH_AS_(x, m) \
    { __label__ end_with_is_missing_; With with_ __attribute__((cleanup(with_close_))); __auto_type manager_ = (m); with_enter_(&with_, V(manager_), STATIC_SITE_); \
      __auto_type x = _Generic(manager_, ContextManager *: with_.value, Barrier *: with_.value, Value: with_.value, default: manager_); (void)x; \
      if (0) goto end_with_is_missing_; \
      _setjmp(with_.handler.landing); if (with_.handler.phase == PHASE_BODY) {
#define end_with } end_with_is_missing_: with_end_(&with_); }
typedef struct With { Handler handler; Value manager, value; int phase; const Site *site; } With;

/* ---- The loop --------------------------------------------------------------------------------------------------- */

typedef void (*Callback)(Value arg);

Loop  *asyncio_new_event_loop(void);                   /* asyncio.new_event_loop() */
/* asyncio.get_running_loop(); RuntimeError if none runs in this thread */
Loop  *asyncio_get_running_loop(void);
Loop  *asyncio_get_event_loop(void);                   /* the running one, else the one set; RuntimeError if none */
void   asyncio_set_event_loop(Loop *loop);             /* NULL: none */
/* its value, or raises */
#define loop_run_until_complete(loop, aw) loop_run_until_complete_(loop, AWAITABLE_(aw), STATIC_SITE_)
void   loop_run_forever(Loop *loop);                   /* until loop_stop(); RuntimeError if one runs already */
void   loop_stop(Loop *loop);                          /* ends run_forever after this pass */
bool   loop_is_running(Loop *loop);
bool   loop_is_closed(Loop *loop);
void   loop_close(Loop *loop);                         /* RuntimeError while running; twice is fine */
double loop_time(Loop *loop);                          /* seconds of its clock */
void   loop_set_virtual_clock(Loop *loop, bool on);    /* on: time jumps to the next timer instead of being slept */
Coroutine *loop_shutdown_asyncgens(Loop *loop);        /* await loop.shutdown_asyncgens() */

/* fn(arg) soon, in order; after delay seconds; at loop_time() when. fn is run in .context, else in a copy of the
 * current one. RuntimeError if closed, ValueError for a time that is NaN. */
#define loop_call_soon(loop, fn, ...) \
    loop_call_soon_(loop, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
#define loop_call_later(loop, delay, fn, ...) \
    loop_call_later_(loop, delay, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
#define loop_call_at(loop, when, fn, ...) \
    loop_call_at_(loop, when, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
/* from any thread, or a signal's thread; arg must be no shared object */
#define loop_call_soon_threadsafe(loop, fn, ...) \
    loop_call_soon_threadsafe_(loop, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
/* name: the function's, for reports */
typedef struct { char start_; Value arg; Context *context; const char *name; } CallOptions;
void     handle_cancel(Handle *handle);                /* handle.cancel() */
bool     handle_cancelled(Handle *handle);
double   handle_when(Handle *handle);                  /* timer.when() */
Context *handle_get_context(Handle *handle);

/* fn(arg) whenever fd is readable (writable), until removed. A second add replaces the first. remove: true if there
 * was one. ValueError for a negative fd. */
#define loop_add_reader(loop, fd, fn, ...) \
    loop_add_reader_(loop, fd, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
#define loop_add_writer(loop, fd, fn, ...) \
    loop_add_writer_(loop, fd, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
bool loop_remove_reader(Loop *loop, int fd);
bool loop_remove_writer(Loop *loop, int fd);

/* What the exception handler is told. */
typedef struct ExceptionReport { const char *message; Value exception; Future *future; Task *task; Handle *handle; AsyncGenerator *asyncgen; } ExceptionReport;
typedef void (*ExceptionHandler)(Loop *loop, const ExceptionReport *report);
void             loop_set_exception_handler(Loop *loop, ExceptionHandler handler);       /* NULL: the default one */
ExceptionHandler loop_get_exception_handler(Loop *loop);
void             loop_default_exception_handler(Loop *loop, const ExceptionReport *report);  /* writes it to stderr */
void             loop_call_exception_handler(Loop *loop, const ExceptionReport *report);
void             loop_set_debug(Loop *loop, bool on);
bool             loop_get_debug(Loop *loop);
/* loop.slow_callback_duration, 0.1; debug mode reports slower ones */
void             loop_set_slow_callback_duration(Loop *loop, double seconds);

/* Task factories. A factory makes a Task (or NULL: the usual one). asyncio_eager_task_factory starts tasks at once. */
typedef Task *(*TaskFactory)(Loop *loop, Coroutine *coro, TaskOptions options);
void        loop_set_task_factory(Loop *loop, TaskFactory factory);      /* NULL: the usual one */
TaskFactory loop_get_task_factory(Loop *loop);
Task       *asyncio_eager_task_factory(Loop *loop, Coroutine *coro, TaskOptions options);
#define     loop_create_task(loop_, coro, ...) \
    asyncio_create_task_(coro, OPTIONS_(TaskOptions, (.loop = (loop_), .name = NULL), __VA_ARGS__), STATIC_SITE_)
Task       *asyncio_Task_(Coroutine *coro, TaskOptions options, const Site *site);
/* what a factory calls */
#define     asyncio_Task(coro, ...) \
    asyncio_Task_(coro, OPTIONS_(TaskOptions, (.name = NULL), __VA_ARGS__), STATIC_SITE_)

/* ---- Context variables ------------------------------------------------------------------------------------------ */

/* ContextVar(name, default=V(...)) */
#define     context_var(name, ...) \
    context_var_(name, OPTIONS_(VarOptions, (.default_value = {.tag = VALUE_UNSET_}), __VA_ARGS__).default_value)
typedef struct { char start_; Value default_value; } VarOptions;
Value       contextvar_get(ContextVar *var);           /* var.get(); LookupError if it has neither value nor default */
Value       contextvar_get_or_(ContextVar *var, Value otherwise);
#define     contextvar_get_or(var, otherwise) contextvar_get_or_(var, V(otherwise))  /* var.get(default) */
Value       contextvar_set_(ContextVar *var, Value v);
#define     contextvar_set(var, v) contextvar_set_(var, V(v))     /* var.set(v): a token for reset */
/* var.reset(token); RuntimeError if used twice, ValueError if not its own */
void        contextvar_reset(ContextVar *var, Value token);
Context    *asyncio_copy_context(void);                /* contextvars.copy_context() */
/* ctx.run(fn, arg): what fn returns; fn may not suspend. RuntimeError if entered already */
Value       context_run(Context *context, Value (*fn)(Value arg), Value arg);
Value       context_get(Context *context, ContextVar *var, Value otherwise);    /* ctx.get(var, default) */

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

/* await asyncio.to_thread(fn, arg): fn(arg) runs in a thread of the default executor, in a copy of this task's
 * context. Returns its value or raises its exception. Cancelling the await does not stop the thread. Suspends. */
typedef Value (*ThreadFunction)(Value arg);
#define asyncio_to_thread(fn, ...) asyncio_to_thread_(fn, OPTIONS_(ThreadOptions, (.name = #fn), __VA_ARGS__))
/* name: the function's, for the trace */
typedef struct { char start_; Value arg; const char *name; } ThreadOptions;

/* concurrent.futures.ThreadPoolExecutor(max_workers): threads for blocking functions, begun as they are needed; left out
 * or 0: four more than the usable processors, at most 32. ValueError if < 0. The executor goes, and waits for its work,
 * when nothing holds it any more.
 * loop.run_in_executor(executor, fn, arg): a Future; executor NULL: the loop's default one. fn runs in an empty context.
 * executor.submit(fn, arg), from any thread: a ThreadFuture. Both: RuntimeError after shutdown. */
#define   asyncio_ThreadPoolExecutor(...) \
    asyncio_ThreadPoolExecutor_(OPTIONS_(ExecutorOptions, (.max_workers = 0), __VA_ARGS__).max_workers)
typedef struct { char start_; int max_workers; } ExecutorOptions;
#define   loop_run_in_executor(loop, executor, fn, ...) \
    loop_run_in_executor_(loop, executor, fn, OPTIONS_(ThreadOptions, (.name = #fn), __VA_ARGS__))
#define   executor_submit(executor, fn, ...) \
    executor_submit_(executor, fn, OPTIONS_(ThreadOptions, (.name = #fn), __VA_ARGS__))
/* executor.shutdown(wait=True), from any thread: takes no more work, finishes what it has, and blocks until then unless
 * .wait = false */
#define   executor_shutdown(executor, ...) \
    executor_shutdown_(executor, OPTIONS_(ExecutorShutdownOptions, (.wait = true), __VA_ARGS__).wait)
typedef struct { char start_; bool wait; } ExecutorShutdownOptions;
/* loop.set_default_executor(executor): the loop holds it; TypeError for NULL */
void      loop_set_default_executor(Loop *loop, Executor *executor);
/* await loop.shutdown_default_executor(timeout=None): until its threads have ended; after .timeout seconds a warning, and
 * they go on alone. asyncio_run() does it, with 300 seconds. Suspends. */
#define   loop_shutdown_default_executor(loop, ...) \
    loop_shutdown_default_executor_(loop, OPTIONS_(AsCompletedOptions, (.timeout = NO_TIMEOUT), __VA_ARGS__).timeout)

/* asyncio.run_coroutine_threadsafe(coro, loop), from any thread but the loop's own: runs coro as a task of that
 * loop. TypeError for no coroutine, RuntimeError if the loop is closed. The ThreadFuture's result(timeout) blocks the
 * calling thread, and raises what the task raised or CancelledError; TimeoutError after .timeout seconds leaves the task
 * running, threadfuture_cancel() cancels it; RuntimeError in that loop's own thread. exception(timeout): the exception or
 * None. */
ThreadFuture *asyncio_run_coroutine_threadsafe(Coroutine *coro, Loop *loop);
#define   threadfuture_result(tf, ...) \
    threadfuture_result_(tf, OPTIONS_(AsCompletedOptions, (.timeout = NO_TIMEOUT), __VA_ARGS__).timeout)
#define   threadfuture_exception(tf, ...) \
    threadfuture_exception_(tf, OPTIONS_(AsCompletedOptions, (.timeout = NO_TIMEOUT), __VA_ARGS__).timeout)
/* asyncio.wrap_future(future): a Future of the running loop (or of .loop) that gets the result of a ThreadFuture, of
 * executor_submit() or run_coroutine_threadsafe(); cancelling it cancels that one. A Future or Task is returned as it
 * is. TypeError for anything else, RuntimeError without a loop. In the loop's own thread. */
#define   asyncio_wrap_future(future, ...) \
    asyncio_wrap_future_(future, OPTIONS_(LoopOptions, (.loop = NULL), __VA_ARGS__).loop)
Future   *asyncio_wrap_future_(void *future, Loop *loop);
/* These from any thread. future.cancel(): false if it has a result, or a thread has begun with it */
bool      threadfuture_cancel(ThreadFuture *tf);
bool      threadfuture_cancelled(ThreadFuture *tf);
bool      threadfuture_done(ThreadFuture *tf);

/* ---- Signals ---------------------------------------------------------------------------------------------------- */

/* loop.add_signal_handler(sig, fn): fn(arg) runs in the loop whenever the signal comes; a second one replaces the
 * first. ValueError for no signal; RuntimeError for one that cannot be caught, outside the main thread, and while another
 * loop has handlers. remove: true if there was one; the signal then means what it did without it. */
#define loop_add_signal_handler(loop, number, fn, ...) \
    loop_add_signal_handler_(loop, number, fn, OPTIONS_(CallOptions, (.name = #fn), __VA_ARGS__))
bool    loop_remove_signal_handler(Loop *loop, int number);

/* ---- Sockets ---------------------------------------------------------------------------------------------------- */

/* Sockets are descriptors; these make them non-blocking. Addresses are Values as Python writes them: a tuple (host,
 * port), or a path. Each suspends until it is done, and raises OSError or the class of it that fits. RuntimeError
 * if a transport owns the descriptor, OverflowError for a port that is none. */
/* await loop.sock_recv(sock, n): bytes, empty at the end */
Coroutine *loop_sock_recv(Loop *loop, int fd, size_t size);
/* the number of bytes; buffer is yours */
Coroutine *loop_sock_recv_into(Loop *loop, int fd, void *buffer, size_t size);
Coroutine *loop_sock_recvfrom(Loop *loop, int fd, size_t size);                   /* (bytes, address) */
Coroutine *loop_sock_recvfrom_into(Loop *loop, int fd, void *buffer, size_t size); /* (the number of bytes, address) */
Coroutine *loop_sock_sendall(Loop *loop, int fd, Value data);                     /* all of it; data is bytes */
Coroutine *loop_sock_sendto(Loop *loop, int fd, Value data, Value address);       /* the number of bytes sent */
Coroutine *loop_sock_connect(Loop *loop, int fd, Value address);                  /* a host name is looked up */
/* (descriptor, address); the descriptor is yours to close */
Coroutine *loop_sock_accept(Loop *loop, int fd);
/* the bytes sent; with .fallback = false maybe SendfileNotAvailableError */
#define    loop_sock_sendfile(loop, fd, file, ...) \
    loop_sock_sendfile_(loop, fd, file, OPTIONS_(SendfileOptions, (.count = -1, .fallback = true), __VA_ARGS__))
typedef struct { char start_; int64_t offset, count; bool fallback; } SendfileOptions;
/* await loop.sendfile(transport, file, offset, count, fallback=True): the bytes sent. file: a descriptor, yours to
 * close; its position is after what was sent, also if this raises. What was written before goes first; until it is
 * done nothing is read, and transport_write() is a RuntimeError. .count = -1: to the file's end. RuntimeError for a
 * transport that is closing or is no socket's; ConnectionError if the connection is lost; where the system cannot
 * do it, with .fallback = false SendfileNotAvailableError, else a thread reads the file. Suspends. */
#define    loop_sendfile(loop, transport, file, ...) \
    loop_sendfile_(loop, transport, file, OPTIONS_(SendfileOptions, (.count = -1, .fallback = true), __VA_ARGS__))

/* await loop.getaddrinfo(host, port): a list of (family, type, proto, canonname, address). In a thread, but for
 * literal addresses. host may be NULL; port an int, a service name or None. getnameinfo: (host, service). gaierror,
 * an OSError. */
#define    loop_getaddrinfo(loop, host, port, ...) \
    loop_getaddrinfo_(loop, host, V(port), OPTIONS_(AddressOptions, (.family = 0), __VA_ARGS__))
typedef struct { char start_; int family, type, proto, flags; } AddressOptions;
Coroutine *loop_getnameinfo(Loop *loop, Value address, int flags);
extern const ExceptionClass GaiError[1];

/* ---- Transports and protocols ----------------------------------------------------------------------------------- */

/* A protocol is a table of callbacks, each given `self`, what make(arg) returned (without make: arg itself). All
 * but those used may be NULL. connection_made comes first, connection_lost last, once; eof_received returns true to
 * keep the write side open. */
typedef struct Protocol {
    Value (*make)(Value arg);                                                     /* the protocol factory */
    void (*connection_made)(Value self, Transport *transport);
    void (*connection_lost)(Value self, Value e);                                 /* e: the exception, or None */
    void (*data_received)(Value self, const char *data, size_t size);
    bool (*eof_received)(Value self);
    /* the buffer is above the high water mark */
    void (*pause_writing)(Value self);
    void (*resume_writing)(Value self);
    /* BufferedProtocol: where to read into; hint: how much may come, where Python says -1 */
    char *(*get_buffer)(Value self, size_t hint, size_t *size);
    void (*buffer_updated)(Value self, size_t size);
    void (*datagram_received)(Value self, const char *data, size_t size, Value address);
    void (*error_received)(Value self, Value e);
} Protocol;

/* Each is awaited and gives (transport, self). Errors: OSError of the last address, or all of them in one;
 * ValueError for options that exclude each other. .sock: a connected descriptor instead of an address, owned by the
 * transport from then on. .happy_eyeballs_delay: seconds until the next address is tried as well; .all_errors: an
 * ExceptionGroup.
 * .ssl = True, or V(context) with an SSLContext: over TLS, see there. .server_hostname: whose certificate the server
 * must show, if not `host`'s; "" for anybody's. SSLCertVerificationError, SSLError; ConnectionAbortedError after
 * .ssl_handshake_timeout (60) seconds. At the end the peer's goodbye is waited for, .ssl_shutdown_timeout (30) seconds
 * at most. */
#define loop_create_connection(loop, protocol, arg, host, port, ...) \
    loop_create_connection_(loop, protocol, V(arg), host, V(port), CONNECTION_(__VA_ARGS__))
#define loop_create_unix_connection(loop, protocol, arg, path, ...) \
    loop_create_unix_connection_(loop, protocol, V(arg), path, CONNECTION_(__VA_ARGS__))
#define CONNECTION_(...) \
    OPTIONS_(ConnectionOptions, (.limit = 65536, .sock = -1, .happy_eyeballs_delay = -1, TIMEOUTS_OF_TLS_), __VA_ARGS__)
#define TIMEOUTS_OF_TLS_ .ssl_handshake_timeout = NAN, .ssl_shutdown_timeout = NAN /* not given */
typedef struct {
    char start_; long limit; int family, proto, flags, sock; Value local_addr; double happy_eyeballs_delay;
    int interleave; bool all_errors;
    Value ssl; const char *server_hostname; double ssl_handshake_timeout, ssl_shutdown_timeout;
} ConnectionOptions;
/* for a connection that somebody else has accepted; .ssl is a server's */
#define loop_connect_accepted_socket(loop, protocol, arg, fd, ...) \
    loop_connect_accepted_socket_(loop, protocol, V(arg), fd, OPTIONS_(AcceptedOptions, (TIMEOUTS_OF_TLS_), __VA_ARGS__))
typedef struct { char start_; Value ssl; double ssl_handshake_timeout, ssl_shutdown_timeout; } AcceptedOptions;
/* fd: a pipe, a socket or a terminal, the transport's from then on; ValueError for anything else */
Coroutine *loop_connect_read_pipe(Loop *loop, const Protocol *protocol, Value arg, int fd);
Coroutine *loop_connect_write_pipe(Loop *loop, const Protocol *protocol, Value arg, int fd);
/* .local_addr, .remote_addr: where packets come to and go to, either or both, or .family alone; paths with .family =
 * AF_UNIX. With .allow_broadcast the socket is not connected, and hears from anybody. .sock: a datagram socket instead. */
#define loop_create_datagram_endpoint(loop, protocol, arg, ...) \
    loop_create_datagram_endpoint_(loop, protocol, V(arg), OPTIONS_(DatagramOptions, (.sock = -1), __VA_ARGS__))
typedef struct {
    char start_; Value local_addr, remote_addr; int family, proto, sock; bool reuse_port, allow_broadcast;
} DatagramOptions;

/* None of these suspends. write: data is copied, and goes out at once or later; RuntimeError after write_eof(), TypeError
 * for a transport that has no such method. After the connection is lost nothing is written, and that is no error. */
void     transport_write(Transport *transport, const void *data, size_t size);
/* transport.writelines(lines), a list of bytes; nothing is written if one is not bytes: TypeError */
void     transport_writelines(Transport *transport, Value lines);
/* ends this direction after what is buffered is written; a pipe is closed then. NotImplementedError over TLS, TypeError
 * for what has only one direction, or packets: where can_write_eof() is false */
void     transport_write_eof(Transport *transport);
bool     transport_can_write_eof(Transport *transport);
/* after what is buffered is written */
void     transport_close(Transport *transport);
void     transport_abort(Transport *transport);                                   /* at once */
bool     transport_is_closing(Transport *transport);
bool     transport_is_reading(Transport *transport);
void     transport_pause_reading(Transport *transport);
void     transport_resume_reading(Transport *transport);
size_t   transport_get_write_buffer_size(Transport *transport);                   /* bytes not written yet */
/* above .high bytes pause_writing() is called, at .low resume_writing(). Left out: 64 KiB (TLS: 512), and a quarter of
 * .high; .low alone is a quarter of what .high will be. ValueError if .high < .low */
#define  transport_set_write_buffer_limits(transport, ...) \
    transport_set_write_buffer_limits_(transport, OPTIONS_(WriteLimits, (.high = -1, .low = -1), __VA_ARGS__))
typedef struct { char start_; long high, low; } WriteLimits;
Value    transport_get_write_buffer_limits(Transport *transport);                 /* (low, high) */
/* one packet, copied; .address: to whom, if not to .remote_addr; ValueError for another one than that */
#define  transport_sendto(transport, data, size, ...) \
    transport_sendto_(transport, data, size, OPTIONS_(SendtoOptions, (.start_ = 0), __VA_ARGS__).address)
typedef struct { char start_; Value address; } SendtoOptions;
/* "peername", "sockname", "socket", of a pipe "pipe" (descriptors); over TLS also "sslcontext", "ssl_object", "peercert", "cipher", "compression" */
#define  transport_get_extra_info(transport, name, ...) \
    transport_get_extra_info_(transport, name, OPTIONS_(ExtraOptions, (.start_ = 0), __VA_ARGS__).otherwise)
typedef struct { char start_; Value otherwise; } ExtraOptions;
/* *self: what its callbacks get, unless NULL. set: from now on these callbacks, with that self */
const Protocol *transport_get_protocol(Transport *transport, Value *self);
void     transport_set_protocol(Transport *transport, const Protocol *protocol, Value self);

/* await loop.create_server(…): a Server, as a Value. .backlog: how many may wait; .start_serving = false: only at
 * server_start_serving(). .ssl = V(context): over TLS, with the certificate of an SSLContext; who does not get through
 * the handshake is dropped, and the protocol does not hear of it. */
#define  loop_create_server(loop, protocol, arg, host, port, ...) \
    loop_create_server_(loop, protocol, V(arg), host, V(port), SERVER_(__VA_ARGS__))
#define  loop_create_unix_server(loop, protocol, arg, path, ...) \
    loop_create_unix_server_(loop, protocol, V(arg), path, SERVER_(__VA_ARGS__))
#define  SERVER_(...) \
    OPTIONS_(ServerOptions, (.limit = 65536, .flags = 1 /* AI_PASSIVE */, .sock = -1, .backlog = 100, .reuse_address = true, .start_serving = true, .cleanup_socket = true, TIMEOUTS_OF_TLS_), __VA_ARGS__)
typedef struct {
    char start_; long limit; int family, flags, sock, backlog;
    bool reuse_address, reuse_port, keep_alive, start_serving, cleanup_socket;
    Value ssl; double ssl_handshake_timeout, ssl_shutdown_timeout;
} ServerOptions;
Server    *as_server(Value v);
void       server_close(Server *server);                /* no new connections; those there are go on */
void       server_close_clients(Server *server);        /* transport_close() of each connection */
void       server_abort_clients(Server *server);        /* transport_abort() */
Coroutine *server_wait_closed(Server *server);          /* await: closed, and all its connections too */
Coroutine *server_start_serving(Server *server);        /* await: it listens; again is fine. RuntimeError if closed */
Coroutine *server_serve_forever(Server *server);        /* await: until cancelled; then the server is closed */
bool       server_is_serving(Server *server);
Value      server_sockets(Server *server);              /* server.sockets: a tuple of (descriptor, address) */
Loop      *server_get_loop(Server *server);

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

/* await asyncio.open_connection(host, port, limit=65536): a tuple (reader, writer); as_streamreader(list_get(v, 0))
 * and so on. Suspends. */
#define asyncio_open_connection(host, port, ...)  asyncio_open_connection_(host, V(port), CONNECTION_(__VA_ARGS__))
#define asyncio_open_unix_connection(path, ...)   asyncio_open_unix_connection_(path, CONNECTION_(__VA_ARGS__))

/* await asyncio.start_server(connected, host, port): a Server. For each connection connected(reader, writer) runs
 * as a task:
 *     async_def(serve, (StreamReader *) reader, (StreamWriter *) writer) { … }
 * A plain function may return NULL: then there is no task. When the task returns, the connection stays open until
 * its writer is closed: close it. If it was forgotten, and nothing else holds the writer, the connection goes when
 * the other end closes. */
typedef Coroutine *(*ClientConnected)(StreamReader *reader, StreamWriter *writer);
#define asyncio_start_server(connected, host, port, ...) \
    asyncio_start_server_(connected, host, V(port), SERVER_(__VA_ARGS__))
#define asyncio_start_unix_server(connected, path, ...) \
    asyncio_start_unix_server_(connected, path, SERVER_(__VA_ARGS__))

StreamReader *as_streamreader(Value v);
StreamWriter *as_streamwriter(Value v);
/* await reader.read(n=-1): bytes, empty at the end */
#define    streamreader_read(reader, ...) streamreader_read_(reader, OPTIONS_(ReadOptions, (.n = -1), __VA_ARGS__).n)
typedef struct { char start_; long n; } ReadOptions;
/* with its \n; what is left at the end; ValueError over the limit */
Coroutine *streamreader_readline(StreamReader *reader);
/* IncompleteReadError: exception_details(e) is (partial, expected) */
Coroutine *streamreader_readexactly(StreamReader *reader, long n);
/* a str, bytes, or a tuple of bytes; LimitOverrunError: (consumed,) */
#define    streamreader_readuntil(reader, separator) streamreader_readuntil_(reader, V(separator))
bool       streamreader_at_eof(StreamReader *reader);               /* async_for (line, V(reader)) reads the lines */
Value      streamreader_exception(StreamReader *reader);            /* what each read raises, or None */
/* a str or bytes; does not suspend */
#define    streamwriter_write(writer, data) streamwriter_write_(writer, V(data))
/* a list of such; nothing is written if one is something else: TypeError */
void       streamwriter_writelines(StreamWriter *writer, Value lines);
void       streamwriter_write_eof(StreamWriter *writer);            /* as transport_write_eof() */
bool       streamwriter_can_write_eof(StreamWriter *writer);
/* await: until the buffer is low enough; ConnectionResetError */
Coroutine *streamwriter_drain(StreamWriter *writer);
void       streamwriter_close(StreamWriter *writer);
bool       streamwriter_is_closing(StreamWriter *writer);
/* await: until the connection is lost; raises why, unless it was closed */
Coroutine *streamwriter_wait_closed(StreamWriter *writer);
Transport *streamwriter_transport(StreamWriter *writer);
#define    streamwriter_get_extra_info(writer, name, ...) \
    streamwriter_get_extra_info_(writer, name, OPTIONS_(ExtraOptions, (.start_ = 0), __VA_ARGS__).otherwise)
/* A reader without a connection, for tests and protocols of one's own. */
#define    asyncio_StreamReader(...) asyncio_StreamReader_(OPTIONS_(LimitOptions, (.limit = 65536), __VA_ARGS__).limit)
typedef struct { char start_; long limit; } LimitOptions;
void       streamreader_feed_data(StreamReader *reader, const void *data, size_t size);
void       streamreader_feed_eof(StreamReader *reader);
#define    streamreader_set_exception(reader, e) streamreader_set_exception_(reader, V(e))
void       streamreader_set_transport(StreamReader *reader, Transport *transport);

/* ---- TLS -------------------------------------------------------------------------------------------------------- */

/* Only in a library that was built with TLS: by `make TLS=1`, or from asyncio.c with -DASYNCIO_TLS, linked with
 * `pkg-config --libs openssl`. Otherwise .ssl, and each function here, raises RuntimeError, which says so. */

extern const ExceptionClass SSLError[1], SSLZeroReturnError[1], SSLEOFError[1];
/* exception_details(e): (library, reason); of SSLCertVerificationError (…, verify_code, verify_message) */
extern const ExceptionClass SSLCertVerificationError[1];
#define CertificateError SSLCertVerificationError

enum { SERVER_AUTH, CLIENT_AUTH };                      /* ssl.Purpose: whose certificates are to be checked */
enum { CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED };
enum { PROTOCOL_TLS_CLIENT = 16, PROTOCOL_TLS_SERVER = 17 };
enum { TLSv1_2 = 0x303, TLSv1_3 = 0x304 };              /* ssl.TLSVersion */

/* ssl.create_default_context(purpose=SERVER_AUTH): for a client, which refuses a certificate that nobody vouches for,
 * that has expired, or that is another host's. .cafile, .capath (PEM), .cadata (a str in PEM, bytes in DER): whom to
 * believe instead of those that the system does. CLIENT_AUTH: for a server, which then loads its certificate. */
#define     ssl_create_default_context(...) \
    ssl_create_default_context_(OPTIONS_(DefaultContextOptions, (.purpose = SERVER_AUTH), __VA_ARGS__))
typedef struct { char start_; int purpose; const char *cafile, *capath; Value cadata; } DefaultContextOptions;
SSLContext *ssl_SSLContext(int protocol);               /* ssl.SSLContext(protocol): a client's believes nobody yet */
SSLContext *as_sslcontext(Value v);
/* The certificate to show, with those up to its authority, and its key, all in PEM. .keyfile: if the key is in a file
 * of its own; .password: if it is encrypted; nobody is asked for one. OSError if there is no such file, SSLError. */
#define     sslcontext_load_cert_chain(context, certfile, ...) \
    sslcontext_load_cert_chain_(context, certfile, OPTIONS_(CertChain, (.start_ = 0), __VA_ARGS__))
typedef struct { char start_; const char *keyfile, *password; } CertChain;
/* whom to believe, besides those before; TypeError if nothing is given */
#define     sslcontext_load_verify_locations(context, ...) \
    sslcontext_load_verify_locations_(context, OPTIONS_(VerifyLocations, (.start_ = 0), __VA_ARGS__))
typedef struct { char start_; const char *cafile, *capath; Value cadata; } VerifyLocations;
void        sslcontext_load_default_certs(SSLContext *context);        /* those that the system believes */
/* context.verify_mode: CERT_REQUIRED of a client; a server that asks for certificates sets it */
int         sslcontext_verify_mode(SSLContext *context);
void        sslcontext_set_verify_mode(SSLContext *context, int mode);
bool        sslcontext_check_hostname(SSLContext *context);            /* context.check_hostname */
void        sslcontext_set_check_hostname(SSLContext *context, bool on);
int         sslcontext_minimum_version(SSLContext *context);           /* TLSv1_2 if not set */
void        sslcontext_set_minimum_version(SSLContext *context, int version);
int         sslcontext_maximum_version(SSLContext *context);           /* 0: the newest there is */
void        sslcontext_set_maximum_version(SSLContext *context, int version);
/* a list of str, the best first: ["h2", "http/1.1"] */
void        sslcontext_set_alpn_protocols(SSLContext *context, Value names);

/* What writer.get_extra_info("ssl_object") gives: this end of one connection. */
SSLObject  *as_sslobject(Value v);
Value       sslobject_version(SSLObject *o);                           /* "TLSv1.3" */
Value       sslobject_cipher(SSLObject *o);                            /* (name, version, bits) or None */
Value       sslobject_compression(SSLObject *o);
Value       sslobject_selected_alpn_protocol(SSLObject *o);            /* or None */
const char *sslobject_server_hostname(SSLObject *o);                   /* or NULL */
SSLContext *sslobject_context(SSLObject *o);
/* The peer's certificate as a tuple of pairs, what dict.items() is in Python: ("subject", …), ("notAfter", …), …; empty
 * if it was not checked; None if there is none. .binary_form = true: bytes in DER, checked or not. */
#define     sslobject_getpeercert(o, ...) sslobject_getpeercert_(o, OPTIONS_(PeerCertOptions, (.start_ = 0), __VA_ARGS__))
typedef struct { char start_; bool binary_form; } PeerCertOptions;

/* await loop.start_tls(transport, protocol, context): goes on over TLS; gives the transport to use from now on.
 * protocol with `self` is the one that the connection has. The errors are those of a connection with .ssl; the
 * connection is lost then. await writer.start_tls(context): the same for a stream. A server's writer takes the server's
 * part by itself. What the peer has sent before and nobody has read is taken for TLS. Suspends. */
#define     loop_start_tls(loop, transport, protocol, self, context, ...) \
    loop_start_tls_(loop, transport, protocol, V(self), context, START_TLS_(__VA_ARGS__))
#define     streamwriter_start_tls(writer, context, ...) streamwriter_start_tls_(writer, context, START_TLS_(__VA_ARGS__))
#define     START_TLS_(...) OPTIONS_(StartTLSOptions, (TIMEOUTS_OF_TLS_), __VA_ARGS__)
typedef struct {
    char start_; bool server_side; const char *server_hostname; double ssl_handshake_timeout, ssl_shutdown_timeout;
} StartTLSOptions;
Transport  *as_transport(Value v);

/* ---- Subprocesses ----------------------------------------------------------------------------------------------- */

/* await asyncio.create_subprocess_exec(program, *args, stdin=…, stdout=…, stderr=…): a Process, as a Value. Each
 * stream is INHERIT (as left out), PIPE, DEVNULL, a descriptor, or for stderr STDOUT. .cwd, .env (an array variable of
 * "NAME=value", NULL at its end; a compound literal written in the call is gone too early), .limit of the readers,
 * .start_new_session. create_subprocess_shell(command) runs /bin/sh -c command. The program is looked for along the PATH
 * of .env, if that is given. FileNotFoundError, PermissionError: of the program, or of .cwd. No descriptor above 2 is
 * inherited. Ignored signals stay ignored, but for SIGPIPE and SIGXFSZ. */
enum { PIPE = -1, STDOUT = -2, DEVNULL = -3, INHERIT = -4 };
#define asyncio_create_subprocess_exec(...)  asyncio_create_subprocess_exec_(SUBPROCESS_(__VA_ARGS__))
#define asyncio_create_subprocess_shell(...) asyncio_create_subprocess_shell_(SUBPROCESS_(__VA_ARGS__))
#define SUBPROCESS_(...) \
    LISTED_OPTIONS_(SubprocessOptions, (.stdin = INHERIT, .stdout = INHERIT, .stderr = INHERIT, .limit = 65536), __VA_ARGS__)
typedef struct {
    char start_;
    const char *argv[32];
    double too_many_arguments_use_a_shell;
    int stdin, stdout, stderr;
    const char *cwd, *const *env;
    long limit;
    bool start_new_session;
} SubprocessOptions;
Process      *as_process(Value v);
int           process_pid(Process *process);
Value         process_returncode(Process *process);    /* None while it runs; -N if signal N ended it */
StreamWriter *process_stdin(Process *process);         /* NULL unless a PIPE */
StreamReader *process_stdout(Process *process);
StreamReader *process_stderr(Process *process);
/* await: the returncode, at once if it is known. Who waits while the child runs is woken when its pipes are closed
 * too, which a grandchild may hold open. Full pipes nobody reads block the child. A cancelled wait ends nothing. */
Coroutine    *process_wait(Process *process);
/* await: (stdout, stderr), bytes or None */
#define       process_communicate(process, ...) \
    process_communicate_(process, OPTIONS_(CommunicateOptions, (.start_ = 0), __VA_ARGS__).input)
typedef struct { char start_; Value input; } CommunicateOptions;
void          process_send_signal(Process *process, int number);   /* ProcessLookupError once it has ended */
void          process_terminate(Process *process);
void          process_kill(Process *process);

/* A SubprocessProtocol is told what happens to a child; as with a Protocol, all but those used may be NULL. First comes
 * connection_made, then, as it happens, what the child writes to fd 1 or 2 and the end of each pipe, and process_exited;
 * connection_lost when the child has ended and all its pipes are closed. Each is a callback of the loop: what one raises
 * goes to the exception handler. */
typedef struct SubprocessProtocol {
    Value (*make)(Value arg);                                                     /* the protocol factory */
    void (*connection_made)(Value self, SubprocessTransport *transport);
    void (*pipe_data_received)(Value self, int fd, const char *data, size_t size);
    void (*pipe_connection_lost)(Value self, int fd, Value e);                    /* e: the exception, or None */
    void (*process_exited)(Value self);                                           /* the returncode is known */
    void (*connection_lost)(Value self, Value e);                                 /* e: None */
    /* of the child's stdin */
    void (*pause_writing)(Value self);
    void (*resume_writing)(Value self);
} SubprocessProtocol;

/* await loop.subprocess_exec(lambda: protocol(arg), program, *args, stdin=PIPE, stdout=PIPE, stderr=PIPE), and
 * loop.subprocess_shell(…, command): a tuple (transport, self), once connection_made has been called. The options are
 * those of create_subprocess_exec, except that a stream left out is a PIPE, and that there is no limit (TypeError).
 * FileNotFoundError, PermissionError. A cancelled one ends the child. The loop holds the transport until connection_lost. */
#define loop_subprocess_exec(loop, protocol, arg, ...) \
    loop_subprocess_exec_(loop, protocol, V(arg), SUBPROCESS_PIPED_(__VA_ARGS__))
#define loop_subprocess_shell(loop, protocol, arg, ...) \
    loop_subprocess_shell_(loop, protocol, V(arg), SUBPROCESS_PIPED_(__VA_ARGS__))
#define SUBPROCESS_PIPED_(...) LISTED_OPTIONS_(SubprocessOptions, (.stdin = PIPE, .stdout = PIPE, .stderr = PIPE), __VA_ARGS__)
SubprocessTransport *as_subprocesstransport(Value v);
int        subprocesstransport_get_pid(SubprocessTransport *transport);
Value      subprocesstransport_get_returncode(SubprocessTransport *transport);        /* as process_returncode() */
/* "subprocess": the pid */
#define    subprocesstransport_get_extra_info(transport, name, ...) \
    subprocesstransport_get_extra_info_(transport, name, OPTIONS_(ExtraOptions, (.start_ = 0), __VA_ARGS__).otherwise)
/* of 0, 1 or 2: NULL unless a PIPE; transport_write() to 0 is what the child reads. The SubprocessTransport holds it. */
Transport *subprocesstransport_get_pipe_transport(SubprocessTransport *transport, int fd);
/* ProcessLookupError after connection_lost */
void       subprocesstransport_send_signal(SubprocessTransport *transport, int number);
void       subprocesstransport_terminate(SubprocessTransport *transport);
void       subprocesstransport_kill(SubprocessTransport *transport);
/* closes the pipes and kills the child if it still runs; connection_lost follows */
void       subprocesstransport_close(SubprocessTransport *transport);
bool       subprocesstransport_is_closing(SubprocessTransport *transport);

/* ---- Introspection ---------------------------------------------------------------------------------------------- */

/* asyncio.format_call_graph(future): who awaits whom, as text. .future: a Task or Future, else the current task.
 * .limit: frames per coroutine. */
#define asyncio_format_call_graph(...) \
    asyncio_format_call_graph_(OPTIONS_(GraphOptions, (.limit = -1, .future = NULL), __VA_ARGS__))
#define asyncio_print_call_graph(...) \
    asyncio_print_call_graph_(OPTIONS_(GraphOptions, (.limit = -1, .future = NULL), __VA_ARGS__))
#define asyncio_capture_call_graph(...) \
    asyncio_capture_call_graph_(OPTIONS_(GraphOptions, (.limit = -1, .future = NULL), __VA_ARGS__))
typedef struct { char start_; void *future; int limit; FILE *file; } GraphOptions;
void asyncio_future_add_to_awaited_by(Future *future, Future *waiter);
void asyncio_future_discard_from_awaited_by(Future *future, Future *waiter);
/* the chain of who waits for whom, as text: what a deadlock report says */
Value asyncio_describe_waiting(Loop *loop);

/* objects of this library that exist now, in all threads: for leak tests */
size_t asyncio_live_objects(void);
/* of each task made from now on; default 64 KiB; also ASYNCIO_STACK_SIZE. ValueError under 16 KiB, or beyond all memory */
void   asyncio_set_stack_size(size_t bytes);
void   asyncio_fail_allocation(long n);                /* the n-th allocation from now fails, for tests; 0: none */

/* ---- How the macros above work ---------------------------------------------------------------------------------- */

/* A call with keyword arguments fills a struct: first the defaults, then from its start what the caller wrote. Where the
 * struct begins with an array, what is listed without a name fills that. */
#define OPTIONS_(...)        FILLED_("GCC diagnostic error \"-Wmissing-braces\"", __VA_ARGS__)
#define LISTED_OPTIONS_(...) FILLED_("GCC diagnostic ignored \"-Wmissing-braces\"", __VA_ARGS__)
#define FILLED_(braces, Type, defaults, ...) ({ \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Woverride-init\"") \
    _Pragma(braces) _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"") \
    Type options_ = {UNPACK_ defaults, .start_ = 0, __VA_ARGS__}; _Pragma("GCC diagnostic pop") options_; })
#define UNPACK_(...) __VA_ARGS__
#define DROP_(...)

/* Is the text of x a call, as in await(f(1))? Then nobody else names what it made, and it can go as soon as it is
 * done. */
#define IS_CALL_(x) (sizeof(#x) > 1 && #x[sizeof(#x) - 2] == ')')
/* other calls may give a task that has a name elsewhere */
#define IS_NEW_TASK_(x) (IS_CALL_(x) && !__builtin_strncmp(#x, "asyncio_create_task_(", 21))

/* For static assertions about the text of an argument. */
#define BEGINS_(text, letter) (!__builtin_strncmp(text, letter, 1))

/* EACH_(m, a, b, c) is m(a) m(b) m(c), for up to 80 arguments: the first eight one by one, so that a compiler has
 * little to tell when one of them is wrong; then by a macro that names itself and is expanded again at each EXPAND. */
#define EACH_(m, ...)         __VA_OPT__(EACH1_(m, __VA_ARGS__))
#define EACH1_(m, x, ...)     m(x) __VA_OPT__(EACH2_(m, __VA_ARGS__))
#define EACH2_(m, x, ...)     m(x) __VA_OPT__(EACH3_(m, __VA_ARGS__))
#define EACH3_(m, x, ...)     m(x) __VA_OPT__(EACH4_(m, __VA_ARGS__))
#define EACH4_(m, x, ...)     m(x) __VA_OPT__(EACH5_(m, __VA_ARGS__))
#define EACH5_(m, x, ...)     m(x) __VA_OPT__(EACH6_(m, __VA_ARGS__))
#define EACH6_(m, x, ...)     m(x) __VA_OPT__(EACH7_(m, __VA_ARGS__))
#define EACH7_(m, x, ...)     m(x) __VA_OPT__(EACH8_(m, __VA_ARGS__))
#define EACH8_(m, x, ...)     m(x) __VA_OPT__(EXPAND_(EACH_STEP_(m, __VA_ARGS__)))
#define EACH_STEP_(m, x, ...) m(x) __VA_OPT__(EACH_AGAIN_ PARENTHESES_ (m, __VA_ARGS__))
#define EACH_AGAIN_()         EACH_STEP_
#define PARENTHESES_          ()
#define EXPAND_(...)          EXPAND3_(EXPAND3_(EXPAND3_(__VA_ARGS__)))
#define EXPAND3_(...)         EXPAND2_(EXPAND2_(EXPAND2_(__VA_ARGS__)))
#define EXPAND2_(...)         EXPAND1_(EXPAND1_(EXPAND1_(__VA_ARGS__)))
#define EXPAND1_(...)         EXPAND0_(EXPAND0_(EXPAND0_(__VA_ARGS__)))
#define EXPAND0_(...)         __VA_ARGS__

/* VALUES_(a, b) is 2, (Value[]){V(a), V(b)}. */
#define VALUES_(...)        (int)sizeof((char[]){0 EACH_(VALUE_COUNT_, __VA_ARGS__)}) - 1, \
                            (Value[]){None EACH_(VALUE_ITEM_, __VA_ARGS__)} + 1
#define VALUE_COUNT_(x)     , 0
#define VALUE_ITEM_(x)      , V(x)

/* A parameter is written (type) name. UNPACK_ in front of it makes a declaration of it, DROP_ leaves the name. */
#define ASYNC_FIELD_(p)           PARAMETER_CHECK_(#p, "a parameter is written (type) name") UNPACK_ p;
#define PARAMETER_CHECK_(text, should_be) \
    _Static_assert(BEGINS_(text, "(") && !BEGINS_(&text[sizeof text - 2], ")"), should_be);
#define ASYNC_DECLARE_(p)         , UNPACK_ p
#define ASYNC_NAME_(p)            , DROP_ p
#define ASYNC_ARGUMENT_(p)        , arguments_->DROP_ p
#define ASYNC_HOLD_(p)            HOLDER_(arguments_->DROP_ p)(&arguments_->DROP_ p, retain_);
#define ASYNC_PARAMETERS_(...)    WITHOUT_FIRST_(EACH_(ASYNC_DECLARE_, __VA_ARGS__)) SECOND_(__VA_OPT__(x,) , void)
#define WITHOUT_FIRST_(...)       WITHOUT_FIRST_OF_(__VA_ARGS__)
#define WITHOUT_FIRST_OF_(x, ...) __VA_ARGS__
#define SECOND_(...)              SECOND_OF_(__VA_ARGS__, )
#define SECOND_OF_(x, y, ...)     y
#define HOLDER_(x) \
    _Generic((x), Value: hold_value_, OBJECT_TYPES_(hold_object_), ConnectionOptions: hold_connection_options_, \
             ServerOptions: hold_server_options_, AcceptedOptions: hold_accepted_options_, default: hold_nothing_)

/* A coroutine function f becomes: a struct of its arguments, its body, a function that runs the body on such a
 * struct, one that holds or lets go of the objects in it, and f itself, which makes the coroutine object. */
#define ASYNC_DEFINE_(linkage, Type, make, shown, name, ...) \
    struct name##_arguments_ { EACH_(ASYNC_FIELD_, __VA_ARGS__) }; \
    static Value name##_body_(ASYNC_PARAMETERS_(__VA_ARGS__)); \
    static Value name##_enter_(void *memory_) { \
        struct name##_arguments_ *arguments_ = memory_; (void)arguments_; \
        return name##_body_(WITHOUT_FIRST_(EACH_(ASYNC_ARGUMENT_, __VA_ARGS__))); } \
    static void name##_hold_(void *memory_, bool retain_) { \
        struct name##_arguments_ *arguments_ = memory_; (void)arguments_; (void)retain_; \
        EACH_(ASYNC_HOLD_, __VA_ARGS__) } \
    __attribute__((unused, warn_unused_result)) linkage Type *name(ASYNC_PARAMETERS_(__VA_ARGS__)) { \
        static const Code code_ = {shown, __FILE__, __LINE__, sizeof(struct name##_arguments_), name##_enter_, name##_hold_}; \
        struct name##_arguments_ arguments_ = {WITHOUT_FIRST_(EACH_(ASYNC_NAME_, __VA_ARGS__))}; \
        name##_hold_(&arguments_, true); \
        return make(&code_, &arguments_); } \
    static Value name##_body_(ASYNC_PARAMETERS_(__VA_ARGS__))
typedef struct Code { const char *name, *file; int line; size_t size; Value (*enter)(void *arguments); void (*hold)(void *arguments, bool retain); } Code;

#define THROWN_(...) \
    THROWN_PICK_(__VA_ARGS__, THROWN_M_, THROWN_M_, THROWN_M_, THROWN_M_, THROWN_M_, THROWN_M_, THROWN_M_, THROWN_M_, V, V)(__VA_ARGS__)
#define THROWN_PICK_(a, b, c, d, e, f, g, h, i, pick, ...) pick
#define THROWN_M_(E, ...) exception_new(E, __VA_ARGS__)

static inline Value value_itself_(Value v) { return v; }
static inline Value value_bool_(bool b) { return (Value){.tag = VALUE_BOOL, .boolean = b}; }
static inline Value value_int_(int64_t i) { return (Value){.tag = VALUE_INT, .integer = i}; }
static inline Value value_float_(double d) { return (Value){.tag = VALUE_FLOAT, .number = d}; }
static inline Value value_pointer_(const void *p) { return (Value){.tag = VALUE_POINTER, .pointer = (void *)p}; }
static inline Object *awaitable_itself_(const void *object) { return (Object *)object; }
static inline double timeout_of_number_(double seconds) { return seconds; }
double  timeout_of_value_(Value v);
Object *awaitable_of_value_(Value v);
Object *object_of_value_(Value v);         /* NULL of what is no object */
Value   value_str_(const char *text);
Value   value_object_(const void *object);
Value   value_new_exception_(const ExceptionClass *class);
void    value_print_(int count, const Value *values);
Value   value_list_(int count, const Value *values);
Value   value_tuple_(int count, const Value *values);
Value   value_keep_(Value v);
bool    value_for_in_(Value items, Value *index, Value *item);
void    value_unpack_(Value items, size_t count, Value **places);
int     scope_begin_(void);
void    scope_drop_(int mark);
void    hold_value_(const void *value, bool retain);
void    hold_object_(const void *object, bool retain);
void    hold_connection_options_(const void *options, bool retain);
void    hold_server_options_(const void *options, bool retain);
void    hold_accepted_options_(const void *options, bool retain);
static inline void hold_nothing_(const void *value, bool retain) { (void)value; (void)retain; }

_Noreturn void exception_throw_(Value e, const Site *site);
_Noreturn void exception_rethrow_(const Site *site);
Value exception_with_cause_(Value e, Value cause);
void  handler_open_(Handler *handler, const Site *site);
bool  handler_probe_(Handler *handler, bool has_finally);
bool  handler_catches_(Handler *handler, const ExceptionClass *class);
bool  handler_catches_any_(Handler *handler, const ExceptionClass **classes);
bool  handler_catches_star_(Handler *handler, const ExceptionClass **classes);
void  handler_finally_(Handler *handler);
void  handler_end_(Handler *handler);
void  handler_close_(Handler *handler);
void  with_enter_(With *with, Value manager, const Site *site);
void  with_end_(With *with);
void  with_close_(With *with);

Coroutine      *coroutine_new_(const Code *code, const void *arguments);
AsyncGenerator *generator_new_(const Code *code, const void *arguments);
Value           await_(Object *awaitable, int made_here, const Site *site);
Value           generator_yield_(Value v, const Site *site);
Value           async_iter_(Value iterable, bool only_here, const Site *site);
void            async_leave_(Value *iteration);
bool            async_next_(Value iteration, Value *item, const Site *site);
Value           async_list_await_(Value awaitables, const Site *site);
AsyncIterator  *asyncio_iterator_(Coroutine *(*anext)(Value self), Value self);
ContextManager *asyncio_context_manager_(Coroutine *(*aenter)(Value self), Coroutine *(*aexit)(Value self, Value e), Value self);

Value      asyncio_run_(Object *main, bool only_here, RunOptions options);
Runner    *asyncio_Runner_(RunOptions options);
Value      runner_run_(Runner *runner, Object *main, RunnerRunOptions options);
Coroutine *asyncio_sleep_(double delay, Value result);
Task      *asyncio_create_task_(Coroutine *coro, TaskOptions options, const Site *site);
Future    *asyncio_ensure_future_(Object *awaitable, TaskOptions options, const Site *site);
Task      *asyncio_current_task_(Loop *loop);
Value      asyncio_all_tasks_(Loop *loop);
Value      task_get_stack_(Task *task, StackOptions options);
void       task_print_stack_(Task *task, StackOptions options);
void       future_set_result_(Future *future, Value v);
void       future_set_exception_(Future *future, Value e);
void       future_add_done_callback_(Future *future, DoneCallback fn, DoneOptions options);
int        future_remove_done_callback_(Future *future, DoneCallback fn, DoneOptions options);
Future    *asyncio_gather_args_(GatherOptions options, const Site *site);
Future    *asyncio_gather_(Value awaitables, bool return_exceptions, const Site *site);
Coroutine *asyncio_wait_for_(Object *awaitable, double timeout);
Coroutine *asyncio_wait_(Value awaitables, WaitOptions options);
Future    *asyncio_shield_(Object *awaitable, const Site *site);
AsCompleted *asyncio_as_completed_(Value awaitables, double timeout, const Site *site);
Timeout   *asyncio_timeout_(double delay);
Timeout   *asyncio_timeout_at_(double when);
void       timeout_reschedule_(Timeout *timeout, double when);
Task      *taskgroup_create_task_(TaskGroup *group, Coroutine *coro, TaskOptions options, const Site *site);
Condition *asyncio_Condition_(Lock *lock);
void       condition_notify_(Condition *condition, int n);
Semaphore *asyncio_Semaphore_(int value);
Semaphore *asyncio_BoundedSemaphore_(int value);
Queue     *asyncio_Queue_(int maxsize);
Queue     *asyncio_LifoQueue_(int maxsize);
Queue     *asyncio_PriorityQueue_(int maxsize);
Coroutine *queue_put_(Queue *queue, Value item);
void       queue_put_nowait_(Queue *queue, Value item);
void       queue_shutdown_(Queue *queue, bool immediate);
Value      loop_run_until_complete_(Loop *loop, Object *awaitable, const Site *site);
Handle    *loop_call_soon_(Loop *loop, Callback fn, CallOptions options);
Handle    *loop_call_later_(Loop *loop, double delay, Callback fn, CallOptions options);
Handle    *loop_call_at_(Loop *loop, double when, Callback fn, CallOptions options);
Handle    *loop_call_soon_threadsafe_(Loop *loop, Callback fn, CallOptions options);
void       loop_add_reader_(Loop *loop, int fd, Callback fn, CallOptions options);
void       loop_add_writer_(Loop *loop, int fd, Callback fn, CallOptions options);
ContextVar *context_var_(const char *name, Value default_value);
Coroutine *asyncio_to_thread_(ThreadFunction fn, ThreadOptions options);
Executor  *asyncio_ThreadPoolExecutor_(int max_workers);
Future    *loop_run_in_executor_(Loop *loop, Executor *executor, ThreadFunction fn, ThreadOptions options);
ThreadFuture *executor_submit_(Executor *executor, ThreadFunction fn, ThreadOptions options);
void       executor_shutdown_(Executor *executor, bool wait);
Coroutine *loop_shutdown_default_executor_(Loop *loop, double timeout);
Value      threadfuture_result_(ThreadFuture *tf, double timeout);
Value      threadfuture_exception_(ThreadFuture *tf, double timeout);
void       loop_add_signal_handler_(Loop *loop, int number, Callback fn, CallOptions options);
Coroutine *loop_getaddrinfo_(Loop *loop, const char *host, Value port, AddressOptions options);
Coroutine *loop_sock_sendfile_(Loop *loop, int fd, int file, SendfileOptions options);
Coroutine *loop_sendfile_(Loop *loop, Transport *transport, int file, SendfileOptions options);
Coroutine *loop_create_connection_(Loop *loop, const Protocol *protocol, Value arg, const char *host, Value port, ConnectionOptions options);
Coroutine *loop_create_unix_connection_(Loop *loop, const Protocol *protocol, Value arg, const char *path, ConnectionOptions options);
Coroutine *loop_create_datagram_endpoint_(Loop *loop, const Protocol *protocol, Value arg, DatagramOptions options);
Coroutine *loop_create_server_(Loop *loop, const Protocol *protocol, Value arg, const char *host, Value port, ServerOptions options);
Coroutine *loop_create_unix_server_(Loop *loop, const Protocol *protocol, Value arg, const char *path, ServerOptions options);
Coroutine *loop_connect_accepted_socket_(Loop *loop, const Protocol *protocol, Value arg, int fd, AcceptedOptions options);
void       transport_set_write_buffer_limits_(Transport *transport, WriteLimits limits);
void       transport_sendto_(Transport *transport, const void *data, size_t size, Value address);
Value      transport_get_extra_info_(Transport *transport, const char *name, Value otherwise);
Coroutine *asyncio_open_connection_(const char *host, Value port, ConnectionOptions options);
Coroutine *asyncio_open_unix_connection_(const char *path, ConnectionOptions options);
Coroutine *asyncio_start_server_(ClientConnected connected, const char *host, Value port, ServerOptions options);
Coroutine *asyncio_start_unix_server_(ClientConnected connected, const char *path, ServerOptions options);
Coroutine *streamreader_read_(StreamReader *reader, long n);
Coroutine *streamreader_readuntil_(StreamReader *reader, Value separator);
void       streamreader_set_exception_(StreamReader *reader, Value e);
StreamReader *asyncio_StreamReader_(long limit);
void       streamwriter_write_(StreamWriter *writer, Value data);
Value      streamwriter_get_extra_info_(StreamWriter *writer, const char *name, Value otherwise);
SSLContext *ssl_create_default_context_(DefaultContextOptions options);
void       sslcontext_load_cert_chain_(SSLContext *context, const char *certfile, CertChain chain);
void       sslcontext_load_verify_locations_(SSLContext *context, VerifyLocations from);
Value      sslobject_getpeercert_(SSLObject *o, PeerCertOptions options);
Coroutine *loop_start_tls_(Loop *loop, Transport *transport, const Protocol *protocol, Value self, SSLContext *context, StartTLSOptions options);
Coroutine *streamwriter_start_tls_(StreamWriter *writer, SSLContext *context, StartTLSOptions options);
Coroutine *asyncio_create_subprocess_exec_(SubprocessOptions options);
Coroutine *asyncio_create_subprocess_shell_(SubprocessOptions options);
Coroutine *process_communicate_(Process *process, Value input);
Coroutine *loop_subprocess_exec_(Loop *loop, const SubprocessProtocol *protocol, Value arg, SubprocessOptions options);
Coroutine *loop_subprocess_shell_(Loop *loop, const SubprocessProtocol *protocol, Value arg, SubprocessOptions options);
Value      subprocesstransport_get_extra_info_(SubprocessTransport *transport, const char *name, Value otherwise);
Value      asyncio_format_call_graph_(GraphOptions options);
void       asyncio_print_call_graph_(GraphOptions options);
Value      asyncio_capture_call_graph_(GraphOptions options);

/* What makes a coroutine and is not awaited does nothing: the compiler warns of it. */
#define MUST_BE_AWAITED_(f) extern __typeof__(f) f __attribute__((warn_unused_result));
EACH_(MUST_BE_AWAITED_,
      asyncio_create_subprocess_exec_, asyncio_create_subprocess_shell_, asyncio_open_connection_,
      asyncio_open_unix_connection_, asyncio_sleep_, asyncio_start_server_, asyncio_start_unix_server_,
      asyncio_to_thread_, asyncio_wait_, asyncio_wait_for_, barrier_abort, barrier_reset, barrier_wait,
      condition_acquire, condition_wait, condition_wait_for, event_wait, generator_aclose, generator_anext,
      generator_asend_, generator_athrow, lock_acquire, loop_connect_accepted_socket_, loop_connect_read_pipe,
      loop_connect_write_pipe, loop_create_connection_, loop_create_datagram_endpoint_, loop_create_server_,
      loop_create_unix_connection_, loop_create_unix_server_, loop_getaddrinfo_, loop_getnameinfo, loop_sendfile_,
      loop_shutdown_asyncgens, loop_shutdown_default_executor_, loop_sock_accept, loop_sock_connect, loop_sock_recv,
      loop_sock_recv_into, loop_sock_recvfrom, loop_sock_recvfrom_into, loop_sock_sendall, loop_sock_sendfile_,
      loop_sock_sendto, loop_start_tls_, loop_subprocess_exec_, loop_subprocess_shell_, process_communicate_,
      process_wait, queue_get, queue_join, queue_put_, semaphore_acquire, server_serve_forever, server_start_serving,
      server_wait_closed, streamreader_read_, streamreader_readexactly, streamreader_readline,
      streamreader_readuntil_, streamwriter_drain, streamwriter_start_tls_, streamwriter_wait_closed)

#endif
