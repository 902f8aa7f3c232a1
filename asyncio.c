/* asyncio.c - Python's asyncio in one C file, to be read.
 *
 * What happens when a program says await(asyncio_sleep(1))? The answer is this file. asyncio is a loop that calls
 * functions, one after the other, and a way for a function to stop in its middle and be called again later. One
 * tick of the loop:
 *
 *       timers (a heap)                      descriptors
 *       12.50  wake Task-2                   5: reader
 *       13.00  timeout of Task-1             |
 *            |  due                          |  ready
 *            +--------------+   +------------+        <- select() sleeps until one of the two happens
 *                           v   v
 *       ready queue:  [ Task-3 | callback | Task-2 ]  <- call_soon(), create_task(), a future that is done
 *                       |
 *                       v   taken from the front, each runs until it awaits something that is not there yet
 *       Task-3:  main_()  ->  fetch()  ->  queue_get()        the stack of one task
 *                                            |
 *                                            v   waits for
 *       Future:  pending; callbacks: [wake Task-3]            whoever completes it puts Task-3 into the ready queue
 *
 * The words, as asyncio has them. A *coroutine* is a function that may suspend, and one call of it. A *Future* is a
 * result that is not there yet. A *Task* runs a coroutine and is the Future of its result. A *Handle* is a callback
 * in the loop's queue. To *await* a future is to suspend the running task until it is done. To *cancel* a task is
 * to raise CancelledError in it where it waits. Everything else, locks, queues, groups, timeouts, is made of these.
 *
 * The chapters, each to be found by its tag:
 *
 *     [memory]        objects, who holds them, pools       [taskgroup]      TaskGroup
 *     [values]        what print() prints                  [generators]     generators, iterators, context managers
 *     [exceptions]    try, throw, tracebacks               [context]        context variables
 *     [loop]          ready queue, timers, select()        [threads]        to_thread, executors
 *     [stacks]        many stacks: setjmp, longjmp         [signals]        add_signal_handler
 *     [futures]       results that are not there yet       [sockets]        sock_recv and its like, names
 *     [coroutines]    functions that may suspend           [transports]     protocols, connections, servers
 *     [tasks]         step, await, cancel                  [tls]            encrypted connections
 *     [sleep]         sleep()                              [streams]        StreamReader, StreamWriter
 *     [timeouts]      timeout(), wait_for()                [subprocess]     children and their pipes
 *     [gather]        wait(), gather(), shield() ...       [run]            run(), shutdown, Ctrl-C
 *     [sync]          Lock, Event, Condition ...           [introspection]  who waits for whom
 *     [queues]        Queue, LifoQueue, PriorityQueue      [trace]          telling a viewer what happens
 *
 * Where this asyncio differs from CPython's (docs/DESIGN.md says more):
 *
 *   - The loop polls descriptors less often while it has other things to do.
 *   - What Python keeps in a set, as the futures of wait() and the tasks of a group, keeps its order.
 *   - There is no collector of cycles. What holds itself goes when its loop closes, not before, or stays.
 *   - A loop that can never wake raises DeadlockError, where Python hangs.
 *   - An int has 64 bits, and `return` cannot leave a try that has a finally: that is C.
 *
 * Cleverness that was refused: assembly for the switch (faster still, on one machine only), a scheduler's stack (a
 * switch more), atomic counts everywhere, a hash table anywhere.
 */
#define _GNU_SOURCE
#include "asyncio.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/single_threaded.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef ASYNCIO_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) ((void)0)
#define RUNNING_ON_VALGRIND 0
#endif

#if defined _FORTIFY_SOURCE && _FORTIFY_SOURCE > 0 && defined __OPTIMIZE__
#error "compile asyncio.c with -U_FORTIFY_SOURCE: it would take a longjmp from one stack to another for an attack"
#endif

/* ---- What the chapters share -------------------------------------------------------------------------------------- */

typedef struct Stack Stack;
typedef struct Variables Variables;
typedef struct List List;
typedef struct Exc Exc;
typedef struct Traceback Traceback;
typedef struct Block Block;
typedef struct Writing Writing;
typedef struct Child Child;

enum { POOL_FIRST = 12, BLOCK_UNIT = 16, BLOCK_LARGEST = 512, BLOCK_SIZES = BLOCK_LARGEST / BLOCK_UNIT + 1 };
enum { SIGNALS = 65 }; /* signals have smaller numbers */

/* Where a stack goes on: see REGISTERS_SAVE(). */
#ifdef __x86_64__
typedef void *Registers[5];
#else
typedef jmp_buf Registers;
#endif

/* What runs on one stack: chapters [stacks], [memory] (the pool), [exceptions] (the handlers). What a switch needs comes
 * first: of thousands of sleeping tasks nothing is in the processor's cache, and each line of 64 bytes is waited for. */
struct Stack {
    Registers registers;
    Coroutine *frame;  /* the innermost running coroutine */
    Handler *handlers; /* the innermost entered try */
    Handler *handling; /* the innermost one whose exception is being handled */
    Object **pool;     /* what was made on it */
    int pool_size, pool_capacity;
    AsyncGenerator *generator; /* whose stack it is, if a generator's */
    Stack *resumer;            /* who waits until it stops: a generator's consumer, an eager task's creator */
    Stack *next;               /* in the list of free ones */
    char *low;                 /* its memory, from here on */
    size_t size;
    size_t slot;                    /* what asyncio_set_stack_size() said when it was made */
    bool entered;                   /* its bottom function has begun: there are registers to load */
    Object *pool_first[POOL_FIRST]; /* the pool, until it needs more room */
    void *sanitizer;                /* what a sanitizer calls it */
};

/* What belongs to one thread. */
typedef struct Thread {
    Stack *stack;               /* the running one; `own` of the loop while a callback runs */
    Stack *ground;              /* whose memory the stack pointer is in */
    Coroutine *thrown_into;     /* see exception_in_sight() */
    Exc *thrown;                /* the same; nobody holds it */
    Loop *loop;                 /* the running one, or NULL */
    Loop *set_loop;             /* of asyncio_set_event_loop() */
    Variables **variables;      /* the context in force */
    Stack *free_stacks;         /* that no task uses */
    Block *blocks[BLOCK_SIZES]; /* free ones, by size */
    Writing *writing;           /* what is being written, the innermost first */
    Value kept;                 /* what keep() saved outside coroutines */
    Variables *base_variables;  /* the context outside tasks */
    void *fault_stack;          /* where a stack overflow is told */
    Stack base;                 /* the stack that the thread was born with */
} Thread;

static __thread Thread here;

/* A thread is set up when it first makes an object, enters a try, throws, runs a loop or asks for its context: one of these
 * comes before all else. */
static void thread_begin(void);
static inline Stack *this_stack(void)
{
    if (__builtin_expect(!here.stack, 0)) thread_begin();
    return here.stack;
}
static inline Variables **this_variables(void)
{
    this_stack();
    return here.variables;
}

/* Tracing costs one test of a flag where it is off. How little that is, bench/run finds by leaving it out. */
#ifdef ASYNCIO_NO_TRACE
#define TRACING false
#else
#define TRACING __builtin_expect(trace_on, 0)
#endif
static bool trace_on;
static double trace_stood_still, trace_began;
static long trace_loops; /* loops that were given a virtual clock */

#define COLD __attribute__((cold)) /* the compiler keeps such calls out of the way of the others */
#define TRACE(...) do { if (TRACING) trace_event(__VA_ARGS__); } while (0)
#define TRACE_CHANGED_VALUE(object, why, v) do { if (TRACING) trace_changed((Object *)(object), why, v); } while (0)
#define TRACE_CHANGED(object, why) TRACE_CHANGED_VALUE(object, why, unset)
#define TRACE_MADE(object) TRACE_CHANGED(object, "made")
#define TRACE_TRANSPORT(transport, why) do { if (TRACING) trace_transport(transport, why); } while (0)
#define TRACE_BYTES(object, why, data, size) do { if (TRACING) trace_bytes(object, why, data, size); } while (0)

/* Tells the loop's exception handler of what nobody else can be told. */
#define REPORT(loop, ...) loop_call_exception_handler(loop, &(ExceptionReport){__VA_ARGS__})

/* The coroutine functions of the interface are ordinary ones, with external linkage and the names that Python has. */
#define ASYNC(shown, name, ...) ASYNC_DEFINE_(, Coroutine, coroutine_new_, #shown, name, __VA_ARGS__)

/* Compared by address: a compiler keeps one copy of a literal. */
static const char *const own_file = __FILE__;
static const Value unset = {.tag = VALUE_UNSET_};

/* What every object's class says about it. */
struct Class {
    const char *name;
    size_t size;                                   /* of an object; 0: it varies */
    bool is_io;                                    /* who waits for it waits for the outside world */
    void (*destroy)(void *object);                 /* lets go of what it holds; the memory is freed after it */
    void (*write)(void *object, FILE *out);        /* repr() */
    bool (*cancel)(Future *future, Value message); /* futures, and only they */
    Value (*enter)(void *manager);                 /* context managers: may suspend */
    bool (*leave)(void *manager, Value exception); /* true: the exception ends here */
    Value (*next)(void *iterator, bool *end);      /* iterators: may suspend */
    void (*let_go)(void *object);                  /* its loop is closing: who watches futures stops, streams end */
    void (*describe)(void *object, FILE *out);     /* the trace: its fields as JSON */
};

typedef struct Text {
    Object object;
    size_t length;
    char data[];
} Text;

struct List {
    Object object;
    int count, capacity;
    Value *items;
};

/* An exception; its Python class is `type`. */
struct Exc {
    Object object;
    const ExceptionClass *type;
    Value args, cause, context, notes;
    Value exceptions; /* of a group: a tuple */
    Value details;    /* what some classes carry besides their text, a tuple */
    bool suppress_context;
    Traceback *traceback;   /* outermost first, or NULL */
    const void *last_frame; /* the frame that the newest entry is of */
};

/* A line of a traceback, and those within. They are never changed: exceptions and futures share them. */
struct Traceback {
    Object object;
    Site site;
    Traceback *inner;
};

/* Context variables: a set of values that is never changed, only replaced. */
struct Variables {
    Object object;
    int count;
    struct {
        ContextVar *var;
        Value value;
    } entries[];
};

struct Context {
    Object object;
    Variables *variables;
    bool entered;
};

/* A coroutine object: a function and its arguments, to be run once. While it runs it is a frame. */
typedef enum { CREATED, RUNNING, CLOSED } CoroutineState;

struct Coroutine {
    Object object;
    const Code *code;
    Coroutine *caller; /* while RUNNING */
    const Site *site;  /* where it last awaited or threw */
    Task *task;        /* the one made of it, if any; not held */
    Loop *heir;        /* of a main coroutine: the loop that gets what it made */
    Value kept;        /* what keep() saved */
    int mark;          /* the pool's size when it began */
    CoroutineState state;
    max_align_t arguments[];
};

/* A future goes once from PENDING to FINISHED or CANCELLED. Invariant: its list of callbacks is empty once it has. */
typedef enum { PENDING, FINISHED, CANCELLED } FutureState;

struct Future {
    Object object;
    Loop *loop;
    Value result;          /* or the exception, if `failed` */
    Value message;         /* of cancel(); of one that failed, the traceback until then */
    Object *first, **more; /* callbacks in order, Handles and Tasks: the first here, the others allocated */
    int callback_count, more_capacity;
    FutureState state;
    bool failed;
    bool unretrieved;                      /* it failed, and nobody has asked for the exception yet */
    bool quiet;                            /* no report if it is destroyed pending */
    bool asyncio_owned;                    /* made by a primitive: the trace shows the primitive instead */
    const char *purpose;                   /* what is waited for, in words, e.g. "queue.get()" */
    Object *owner;                         /* the queue, not held */
    Future *awaited_by, **also_awaited_by; /* gather and its like, newest first, for the call graph; not held */
    int also_count;
};

/* A task is a future too. Invariant: while its coroutine is suspended it is in exactly one place, the ready queue
 * or the callbacks of the one future it waits for. */
struct Task {
    Future future;
    Coroutine *coro;
    Stack *stack;         /* where it goes on; NULL before its first step and after its last */
    Stack *eager_caller;  /* who started it eagerly and goes on when it first suspends */
    Future *waiting_on;   /* held by who waits, not by the task */
    Context *context;     /* explicit, or made when asked for */
    Variables *variables; /* its copy, while there is no context */
    int cancel_requests;
    bool must_cancel; /* its next step begins with CancelledError */
    bool in_list;
    bool abandoned;        /* its loop is closing: GeneratorExit is what it gets */
    Task *previous, *next; /* in its loop's list */
    Task *before, *after;  /* in its group's */
    char *name;            /* NULL: "Task-<number>" */
    char number_name[16];
    long number;
    long wakes; /* the number of the last wake-up, for the trace */
};

/* Whoever watches futures by callbacks and holds them at the same time is in a cycle with them, until they are done.
 * If they never are, the loop ends it when it closes. */
typedef struct Watching {
    struct Watching *previous, *next;
    Loop *loop;
    Object *watcher;
} Watching;

/* What the loop calls. */
struct Handle {
    Object object;
    Loop *loop;
    Callback callback; /* callback(arg), or done(future, arg) */
    DoneCallback done;
    Future *future;
    Value arg;
    const char *name; /* of the function, for reports and the trace */
    Context *context; /* runs in this one, or if NULL in a copy of `variables` */
    Variables *variables;
    double when, delay;                      /* timers */
    bool is_timer, armed, queued, cancelled; /* armed: in the heap; queued: in the ready queue */
};

typedef struct Timer {
    double when;
    Handle *handle;
} Timer;

/* What is known of one descriptor. */
typedef struct Watch {
    Handle *reader, *writer;
    Transport *transport;
} Watch;

struct Loop {
    Object object;
    Object **ready;                                    /* a ring: `ready_count` entries from `ready_first` on */
    unsigned ready_first, ready_count, ready_capacity; /* capacity: a power of two */
    unsigned todo;                                     /* entries that this round still runs */
    Timer *timers;                                     /* a heap by `when` */
    int timer_count, timer_capacity, timers_cancelled;
    Watch *watches;                           /* by descriptor */
    int watch_capacity, watch_count, highest; /* highest: the largest descriptor that is watched, or -1 */
    unsigned long *interest[2], *happened[2]; /* sets, for reading, for writing: what is watched; what is ready */
    unsigned long *hot;                       /* those that every poll asks about */
    unsigned long *active;                    /* those that were ready since the hot ones were chosen */
    int asked;                                /* how many descriptors the last select() was about */
    int quiet_polls;                          /* in a row: they found nothing */
    int full_polls;                           /* since the hot ones were chosen */
    double next_poll, next_full;              /* when to poll again: after quiet polls, of all descriptors */
    bool silent;                              /* none was ready since the last full poll */
    int wake_pipe[2];                         /* the self-pipe: a byte in it ends select() */
    pthread_mutex_t inbox_lock;
    Handle **inbox; /* what other threads have called soon */
    int inbox_count, inbox_capacity;
    int outside;                       /* how many threads, signals, children may still wake this loop */
    Child *children;                   /* that run */
    Executor *executor;                /* the default one, made when first needed */
    Handle *signal_handlers[SIGNALS];  /* by number */
    volatile sig_atomic_t signalled;   /* a signal came that has a handler, not looked at yet */
    volatile sig_atomic_t interrupted; /* Ctrl-C, not looked at yet */
    bool woken;                        /* something is in the inbox; atomic */
    pthread_t thread;
    Stack *home;                /* the stack that called run_forever() */
    Stack own;                  /* what callbacks run as: no frame, a pool of their own */
    Task *current;              /* the running task; held while it runs */
    Handle *handle;             /* the running callback */
    Task *tasks, *last_task;    /* all that are not done, oldest first */
    AsyncGenerator *generators; /* all that have started and are not closed */
    Watching *watching;         /* gather() and its like */
    Value legacy;               /* what main coroutines made, a list, until the loop closes */
    Exc *leaving;               /* ends run_forever with this exception */
    Runner *runner;
    TaskFactory task_factory;
    ExceptionHandler exception_handler;
    double slow_callback_duration, step_began;
    double virtual_now;
    double looked; /* the time when somebody last looked, in round `looked_at` */
    long looked_at;
    long tick;   /* the number of the round */
    long number; /* of all loops that were ever made: an address may come again */
    bool running, stopping, closed, debug, virtual, generators_shut, executor_shut;
    bool watched; /* in debug mode or traced: each callback's beginning and end is looked at */
};

/* What earlier chapters use of later ones, in the order of these; at last what the trace is told. */
static const Class list_class, coroutine_class, task_class, variables_class;
static List *list_new(const Class *class, int capacity);
static void value_write(Value v, bool as_repr, FILE *out);
static bool is_exception(Value v);
static void exception_write_str(Value e, FILE *out);
static Value os_error(const char *about);
static void memory_report(const char *what, size_t size);
static _Noreturn void fatal(const Site *site, const char *text, ...);
static void loop_empty_inbox(Loop *loop);
static void stack_park(Loop *loop);
static bool future_failed(Future *future);
static void coroutine_finish(Stack *stack, Coroutine *coro);
static Stack *task_take_turn(Loop *loop, Task *task, Stack *idle);
static Stack *task_run(Stack *me);
static void task_failed(Task *task, Value e);
static Stack *task_over(Stack *me);
static void loop_abandon_tasks(Loop *loop);
static Variables **task_variables(Task *task);
static void loop_end_watching(Loop *loop);
static Stack *generator_run(Stack *me);
static void generator_failed(AsyncGenerator *gen, Value e);
static Stack *generator_over(Stack *me);
static Coroutine *generator_body(AsyncGenerator *gen);
static void generator_delist(AsyncGenerator *gen);
static Context *context_begin(Variables **variables);
static Variables **variables_place(Variables **place);
static bool program_has_threads(void);
static void loop_take_signals(Loop *loop);
static void loop_remove_signal_handlers(Loop *loop);
static void check_no_transport(Loop *loop, int fd);
static void loop_drop_transports(Loop *loop);
static void loop_end_children(Loop *loop);
static void loop_interrupt(Loop *loop);
static void on_interrupt(int number);
static Coroutine *frame_outer(Stack **stack, Coroutine *frame);
static bool frame_shows(const Coroutine *frame);
static Site frame_site(const Coroutine *frame);
static void loop_deadlock(Loop *loop);

static int trace_task(void);
COLD static void trace_event(const char *name, char phase, const char *fields, ...);
COLD static void trace_exception(const char *name, Value e, const Site *site);
static int trace_control_fd(void);
static bool trace_heed_control(void);
COLD static void trace_drop(Object *object);
COLD static int trace_subject(const Handle *handle);
COLD static void trace_handle_ready(Handle *handle, void *cause);
COLD static void trace_transport(Transport *transport, const char *why);
COLD static void trace_bytes(void *object, const char *why, const char *data, size_t size);
static void trace_select(Loop *loop, double patience);
static void trace_selected(Loop *loop, bool any, bool woken);
COLD static void trace_future_over(Future *future, int waiting);
COLD static void trace_task_waits(Task *task);
COLD static void trace_task_made(Task *task, const Site *site, bool eager);
static void trace_thread_name(Task *task);
COLD static void trace_task_ready(Task *task, Future *cause);
COLD static void trace_task_runs(Task *task, Future *future);
COLD static void trace_line(const Site *site, Object *awaitable);
static void trace_output(const char *text, size_t size);
COLD static void trace_changed(Object *object, const char *why, Value v);
static void future_describe(void *object, FILE *out);
static void trace_finish(int status);

static Loop *volatile interruptible, *volatile signal_loop; /* whose loop Ctrl-C is for, and other signals */

/* ---- [memory] Objects, counting, pools ---------------------------------------------------------------------------
 *
 * Every object starts with an Object: its class and a count of those who hold it. Python's rule "it lives as long
 * as someone refers to it" needs a compiler that counts each variable. C has none, so a variable counts nothing;
 * instead each stack has a pool, a list of what was made or received on it. A coroutine remembers how long the list
 * was when it began, and lets go of the rest when it returns. Whoever stores an object (a list, a queue, a future)
 * holds it for itself. So a program frees nothing, and a value is good until its coroutine ends.
 *
 * Blocks come from free lists by size: a task that is created, sleeps once and is awaited takes five blocks, and a fifth
 * of its time would go to malloc. Counts are plain additions until the process starts a second thread; glibc tells, in
 * __libc_single_threaded.
 */

__attribute__((always_inline)) static inline long count(long *counter, long n)
{
    return __libc_single_threaded ? (*counter += n) : __atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* A block of up to BLOCK_LARGEST bytes comes from, and goes back to, the thread's list for its size. What one thread
 * makes another may drop, so with several threads a list that nobody takes from must not grow without end. */
struct Block {
    const Class *class; /* gone_class, for who still takes it for an object */
    long length;        /* of the list that begins here */
    Block *next;
};

/* A variable holds nothing: who keeps what a coroutine made in a variable of his own, and uses it when that coroutine has
 * returned, finds this class in it, until the block is used again. */
static void gone_write(void *object, FILE *out);
static const Class gone_class = {.name = "object that is gone", .write = gone_write};
static bool is_gone(const Object *object) { return object->class == &gone_class; }
static void gone_write(void *object, FILE *out) { fprintf(out, "<%s>", ((Object *)object)->class->name); }

enum { BLOCKS_KEPT = 500 };

/* Sizes below `block_sizes` go back to the lists. It is 0 under valgrind and the sanitizers: the lists stay empty,
 * and each block comes from malloc and goes to free, where they see it. */
static size_t block_sizes = BLOCK_SIZES;
static long live_objects, fail_allocation_at;

static _Noreturn void out_of_memory(size_t size)
{
    memory_report("out of memory", size);
    abort();
}

static bool allocation_fails(void) { return fail_allocation_at > 0 && --fail_allocation_at == 0; }

/* realloc() for what the loop cannot go on without; allocate_or_raise() is for what a program chose the size of. */
static void *reallocate(void *old, size_t size)
{
    void *memory = allocation_fails() ? NULL : realloc(old, size);
    if (!memory) out_of_memory(size);
    return memory;
}

static void *block_new(size_t units) { return reallocate(NULL, units * BLOCK_UNIT); }

static inline void *block_take(size_t size)
{
    size_t units = (size + BLOCK_UNIT - 1) / BLOCK_UNIT;
    Block *block = units < BLOCK_SIZES ? here.blocks[units] : NULL;
    if (!block) return block_new(units);
    here.blocks[units] = block->next;
    return block;
}

/* Kept by itself: where gcc knows the size, it clears by an instruction that takes ten times as long as memset(). */
__attribute__((noinline)) static void *allocate(size_t size) { return memset(block_take(size), 0, size); }

static inline void deallocate(void *memory, size_t size)
{
    size_t units = (size + BLOCK_UNIT - 1) / BLOCK_UNIT;
    Block *block = memory, *first = units < block_sizes ? here.blocks[units] : NULL;
    long length = first ? first->length : 0;
    if (units >= block_sizes || (length >= BLOCKS_KEPT && !__libc_single_threaded)) {
        free(memory);
        return;
    }
    *block = (Block){&gone_class, length + 1, first};
    here.blocks[units] = block;
}

static void blocks_free(void)
{
    for (int units = 0; units < BLOCK_SIZES; units++)
        for (Block *block; (block = here.blocks[units]); free(block)) here.blocks[units] = block->next;
}

static char *copy_string(const char *text)
{
    char *copy = allocation_fails() ? NULL : strdup(text);
    if (!copy) out_of_memory(strlen(text) + 1);
    return copy;
}

static inline Object object_begin(const Class *class)
{
    count(&live_objects, 1);
    return (Object){.class = class, .references = 1};
}

static inline void *object_new(const Class *class, size_t size)
{
    Object *object = allocate(size);
    *object = object_begin(class);
    return object;
}

static inline void *retain(const void *pointer)
{
    Object *object = (Object *)pointer;
    if (object) {
        if (__libc_single_threaded) object->references++;
        else __atomic_add_fetch(&object->references, 1, __ATOMIC_RELAXED);
    }
    return object;
}

static inline bool last_reference(Object *object)
{
    if (__libc_single_threaded) return --object->references == 0;
    return __atomic_sub_fetch(&object->references, 1, __ATOMIC_ACQ_REL) == 0;
}

/* Of one whose class does not say it. */
static size_t object_size(const Object *object)
{
    const Variables *variables = (const Variables *)object;
    if (object->class == &coroutine_class) return sizeof(Coroutine) + ((const Coroutine *)object)->code->size;
    if (object->class == &variables_class) return sizeof *variables + variables->count * sizeof *variables->entries;
    return sizeof(Text) + ((const Text *)object)->length + 1;
}

static void object_drop(Object *object)
{
    if (object->class->destroy) {
        object->references = 1; /* whole while destroy() runs; it may be looked at, even kept */
        object->class->destroy(object);
        if (!last_reference(object)) return;
    }
    if (TRACING && object->id) trace_drop(object); /* only what the trace has told of has an id */
    count(&live_objects, -1);
    deallocate(object, object->class->size ? object->class->size : object_size(object));
}

__attribute__((always_inline)) static inline void release(const void *pointer)
{
    if (pointer && last_reference((Object *)pointer)) object_drop((Object *)pointer);
}

static inline bool is_counted(Value v) { return v.tag >= VALUE_STR && v.tag <= VALUE_OBJECT; }
static inline Value value_retain(Value v)
{
    if (is_counted(v)) retain(v.object);
    return v;
}
static inline void value_release(Value v)
{
    if (is_counted(v)) release(v.object);
}

/* Puts v in the place of what was there. */
static void value_replace(Value *place, Value v)
{
    Value old = *place;
    *place = value_retain(v);
    value_release(old);
}

static void pool_grow(Stack *stack)
{
    int capacity = stack->pool_capacity * 2;
    Object **pool = reallocate(NULL, capacity * sizeof *pool);
    memcpy(pool, stack->pool, stack->pool_size * sizeof *pool);
    if (stack->pool != stack->pool_first) free(stack->pool);
    stack->pool = pool;
    stack->pool_capacity = capacity;
}

/* The pool takes over the caller's hold on an object and gives the object back, for a return statement. */
static inline void *pooled(void *pointer)
{
    Stack *stack = this_stack();
    if (stack->pool_size == stack->pool_capacity) pool_grow(stack);
    stack->pool[stack->pool_size++] = pointer;
    return pointer;
}

static inline Value value_pooled(Value v)
{
    if (is_counted(v)) pooled(v.object);
    return v;
}

/* For the program, of a value that somebody else holds, and may let go of meanwhile. */
static inline Value value_received(Value v) { return value_pooled(value_retain(v)); }

static inline void pool_drop(Stack *stack, int mark)
{
    while (stack->pool_size > mark) release(stack->pool[--stack->pool_size]);
}

/* Takes the newest object out of the pool, if it is this one: what was made only to be handed on leaves no trace. */
static inline bool unpool_newest(void *pointer)
{
    Stack *stack = here.stack;
    if (!stack->pool_size || stack->pool[stack->pool_size - 1] != pointer) return false;
    stack->pool_size--;
    return true;
}

static void pool_init(Stack *stack)
{
    stack->pool = stack->pool_first;
    stack->pool_capacity = POOL_FIRST;
}

static void pool_free(Stack *stack)
{
    pool_drop(stack, 0);
    if (stack->pool != stack->pool_first) free(stack->pool);
    pool_init(stack);
}

int scope_begin_(void) { return this_stack()->pool_size; }
void scope_drop_(int mark) { pool_drop(here.stack, mark); }

/* Appends to a list that no pool holds, and that is made when it is first needed. */
static void list_collect(Value *list, Value v)
{
    if (is_none(*list)) *list = (Value){.tag = VALUE_LIST, .object = &list_new(&list_class, 0)->object};
    list_append_(*list, v);
}

/* What is kept is in a list that belongs to the coroutine, not to the pool. */
Value value_keep_(Value v)
{
    if (!is_counted(v)) return v;
    Coroutine *frame = this_stack()->frame;
    list_collect(frame ? &frame->kept : &here.kept, v);
    return v;
}

/* Kept by itself: where gcc 12 sees through it into a constructor, it takes the new count of the second of two Values in
 * a row for a store that nobody reads, and leaves it out. */
__attribute__((noinline)) void hold_value_(const void *value, bool retaining)
{
    if (retaining) value_retain(*(const Value *)value);
    else value_release(*(const Value *)value);
}

void hold_object_(const void *object, bool retaining)
{
    if (retaining) retain(*(Object *const *)object);
    else release(*(Object *const *)object);
}

void hold_connection_options_(const void *options, bool retaining)
{
    hold_value_(&((const ConnectionOptions *)options)->local_addr, retaining);
    hold_value_(&((const ConnectionOptions *)options)->ssl, retaining);
}

void hold_server_options_(const void *options, bool retaining)
{
    hold_value_(&((const ServerOptions *)options)->ssl, retaining);
}

void hold_accepted_options_(const void *options, bool retaining)
{
    hold_value_(&((const AcceptedOptions *)options)->ssl, retaining);
}

size_t asyncio_live_objects(void) { return (size_t)count(&live_objects, 0); }

void asyncio_fail_allocation(long n)
{
    block_sizes = 0;
    blocks_free();
    fail_allocation_at = n;
}

/* ---- [values] Values ----------------------------------------------------------------------------------------------
 *
 * Strings and bytes share a layout, lists and tuples another. print() and repr() write what Python writes, because
 * a lesson compares the two outputs; the float is the shortest text that reads back as the same number.
 */

static void list_destroy(void *object);
static const Class str_class = {.name = "str"}, bytes_class = {.name = "bytes"};
static const Class list_class = {.name = "list", .size = sizeof(List), .destroy = list_destroy};
static const Class tuple_class = {.name = "tuple", .size = sizeof(List), .destroy = list_destroy};

/* Sizes that the program chooses can fail like any other operation; nothing has changed yet when they do. */
static void *allocate_or_raise(void *old, size_t size)
{
    void *memory = allocation_fails() ? NULL : realloc(old, size);
    if (!memory && size) throw(MemoryError, "cannot allocate %zu bytes", size);
    return memory;
}

/* object_new() ends the program when there is no memory, so a large size is tried out first. */
static Text *text_new(const Class *class, const void *data, size_t length)
{
    if (length > PTRDIFF_MAX - sizeof(Text) - 1) throw(MemoryError, "cannot allocate %zu bytes", length);
    size_t size = sizeof(Text) + length + 1;
    if (size > BLOCK_LARGEST) free(allocate_or_raise(NULL, size));
    Text *text = object_new(class, size);
    text->length = length;
    if (data) memcpy(text->data, data, length);
    return text;
}

static List *list_new(const Class *class, int capacity)
{
    Value *items = capacity ? allocate_or_raise(NULL, capacity * sizeof *items) : NULL; /* first, as it may raise */
    List *l = object_new(class, sizeof *l);
    l->items = items;
    l->capacity = capacity;
    return l;
}

static void list_destroy(void *object)
{
    List *l = object;
    for (int i = 0; i < l->count; i++) value_release(l->items[i]);
    free(l->items);
}

static Value str_of(const char *data, size_t length)
{
    return (Value){.tag = VALUE_STR, .object = pooled(text_new(&str_class, data, length))};
}

Value value_str_(const char *text) { return text ? str_of(text, strlen(text)) : None; }

Value bytes(const void *data, size_t length)
{
    return (Value){.tag = VALUE_BYTES, .object = pooled(text_new(&bytes_class, data, length))};
}

__attribute__((format(printf, 1, 0))) static Value vformat(const char *text, va_list args)
{
    assert(text);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, text, args);
    Text *result = text_new(&str_class, NULL, length > 0 ? (size_t)length : 0);
    if (length > 0) vsnprintf(result->data, (size_t)length + 1, text, again);
    va_end(again);
    return (Value){.tag = VALUE_STR, .object = pooled(result)};
}

Value format(const char *text, ...)
{
    va_list args;
    va_start(args, text);
    Value v = vformat(text, args);
    va_end(args);
    return v;
}

Value value_object_(const void *object)
{
    return object ? (Value){.tag = VALUE_OBJECT, .object = (Object *)object} : None;
}

static Value sequence(const Class *class, ValueTag tag, int count, const Value *values)
{
    List *l = pooled(list_new(class, count));
    for (int i = 0; i < count; i++) l->items[i] = value_retain(values[i]);
    l->count = count;
    return (Value){.tag = tag, .object = &l->object};
}

Value value_list_(int count, const Value *values) { return sequence(&list_class, VALUE_LIST, count, values); }
Value value_tuple_(int count, const Value *values) { return sequence(&tuple_class, VALUE_TUPLE, count, values); }

/* What a Value is. */

/* The tag, unless what it spoke of is gone. */
static inline ValueTag kind_of(Value v) { return is_counted(v) && is_gone(v.object) ? VALUE_OBJECT : v.tag; }

const char *value_type(Value v)
{
    static const char *const names[] = {
        "NoneType", "bool", "int", "float", "str", "bytes", "list", "tuple", "object", "pointer"};
    if (kind_of(v) == VALUE_OBJECT) return is_exception(v) ? exception_type(v)->name : v.object->class->name;
    return v.tag <= VALUE_POINTER ? names[v.tag] : "unset";
}

static inline Value expect(Value v, ValueTag tag, const char *wanted)
{
    if (kind_of(v) != tag) throw(TypeError, "expected %s, got %s", wanted, value_type(v));
    return v;
}

/* An object of that class. */
static void *expect_object(Value v, const Class *class, const char *wanted)
{
    if (v.tag != VALUE_OBJECT || v.object->class != class)
        throw(TypeError, "expected %s, got %s", wanted, value_type(v));
    return v.object;
}

bool as_bool(Value v) { return expect(v, VALUE_BOOL, "bool").boolean; }
int64_t as_int(Value v) { return v.tag == VALUE_BOOL ? v.boolean : expect(v, VALUE_INT, "int").integer; }
double as_float(Value v)
{
    if (v.tag == VALUE_INT || v.tag == VALUE_BOOL) return (double)as_int(v);
    return expect(v, VALUE_FLOAT, "float").number;
}
void *as_pointer(Value v) { return expect(v, VALUE_POINTER, "pointer").pointer; }
const char *as_str(Value v) { return ((Text *)expect(v, VALUE_STR, "str").object)->data; }

const char *as_bytes(Value v, size_t *length)
{
    Text *text = (Text *)expect(v, VALUE_BYTES, "bytes").object;
    if (length) *length = text->length;
    return text->data;
}

static List *as_sequence(Value v)
{
    if (kind_of(v) != VALUE_LIST && kind_of(v) != VALUE_TUPLE)
        throw(TypeError, "expected list or tuple, got %s", value_type(v));
    return (List *)v.object;
}

static Value tuple_of(Value l) { return value_tuple_(len(l), as_sequence(l)->items); }

static List *as_list(Value v) { return (List *)expect(v, VALUE_LIST, "list").object; }

static size_t utf8_length(const Text *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->length; i++) n += ((unsigned char)text->data[i] & 0xC0) != 0x80;
    return n;
}

int value_len(Value v)
{
    switch (kind_of(v)) {
    case VALUE_STR: return (int)utf8_length((Text *)v.object);
    case VALUE_BYTES: return (int)((Text *)v.object)->length;
    case VALUE_LIST:
    case VALUE_TUPLE: return ((List *)v.object)->count;
    default: throw(TypeError, "object of type '%s' has no len()", value_type(v));
    }
}

bool value_truth(Value v)
{
    switch (v.tag) {
    case VALUE_NONE: return false;
    case VALUE_BOOL: return v.boolean;
    case VALUE_INT: return v.integer != 0;
    case VALUE_FLOAT: return v.number != 0;
    case VALUE_STR:
    case VALUE_BYTES:
    case VALUE_LIST:
    case VALUE_TUPLE: return value_len(v) != 0;
    default: return true;
    }
}

/* Comparing. Numbers of all three kinds compare with each other, everything else only with its like. */

static bool is_number(Value v) { return v.tag == VALUE_BOOL || v.tag == VALUE_INT || v.tag == VALUE_FLOAT; }

enum { UNORDERED = 2 }; /* a NaN is neither less nor equal */

/* Exactly, as in Python: not every int is a double. */
static int compare_int_float(int64_t i, double d)
{
    if (isnan(d)) return UNORDERED;
    if (d >= 0x1p63) return -1;
    if (d < -0x1p63) return 1;
    int64_t whole = (int64_t)d;
    if (i != whole) return i < whole ? -1 : 1;
    double rest = d - (double)whole;
    return (rest < 0) - (rest > 0);
}

static int compare_numbers(Value a, Value b)
{
    if (a.tag == VALUE_FLOAT && b.tag == VALUE_FLOAT) {
        double x = a.number, y = b.number;
        return x < y ? -1 : x == y ? 0 : x > y ? 1 : UNORDERED;
    }
    if (b.tag == VALUE_FLOAT) return compare_int_float(as_int(a), b.number);
    if (a.tag == VALUE_FLOAT) {
        int order = compare_int_float(as_int(b), a.number);
        return order == UNORDERED ? UNORDERED : -order;
    }
    int64_t x = as_int(a), y = as_int(b);
    return (x > y) - (x < y);
}

static int compare_texts(const Text *a, const Text *b)
{
    int order = memcmp(a->data, b->data, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

bool value_equal(Value a, Value b)
{
    if (is_number(a) && is_number(b)) return compare_numbers(a, b) == 0;
    if (a.tag != b.tag) return false;
    switch (a.tag) {
    case VALUE_NONE: return true;
    case VALUE_STR:
    case VALUE_BYTES: return compare_texts((Text *)a.object, (Text *)b.object) == 0;
    case VALUE_LIST:
    case VALUE_TUPLE: {
        List *x = (List *)a.object, *y = (List *)b.object;
        if (x == y) return true; /* even if it holds itself, or a NaN */
        if (x->count != y->count) return false;
        for (int i = 0; i < x->count; i++)
            if (!value_equal(x->items[i], y->items[i])) return false;
        return true;
    }
    default: return a.pointer == b.pointer;
    }
}

bool value_less(Value a, Value b)
{
    if (is_number(a) && is_number(b)) return compare_numbers(a, b) == -1;
    if (a.tag == b.tag && (a.tag == VALUE_STR || a.tag == VALUE_BYTES))
        return compare_texts((Text *)a.object, (Text *)b.object) < 0;
    if (a.tag == b.tag && (a.tag == VALUE_LIST || a.tag == VALUE_TUPLE)) {
        List *x = (List *)a.object, *y = (List *)b.object;
        for (int i = 0; i < x->count && i < y->count; i++)
            if (!value_equal(x->items[i], y->items[i])) return value_less(x->items[i], y->items[i]);
        return x->count < y->count;
    }
    throw(TypeError, "'<' not supported between instances of '%s' and '%s'", value_type(a), value_type(b));
}

/* Lists. */

static int list_index(int count, int index, const char *what)
{
    int i = index < 0 ? index + count : index;
    if (i < 0 || i >= count) throw(IndexError, "%sindex out of range", what);
    return i;
}

static bool has_items(Value v) { return v.tag >= VALUE_STR && v.tag <= VALUE_TUPLE; }

/* The character that begins at that byte; where the next one does. */
static Value character_from(const Text *text, size_t from, size_t *next)
{
    size_t end = from + 1;
    while (((unsigned char)text->data[end] & 0xC0) == 0x80) end++;
    *next = end;
    return str_of(text->data + from, end - from);
}

static Value character_at(const Text *text, int index)
{
    const char *p = text->data;
    size_t next;
    for (int i = list_index((int)utf8_length(text), index, "string "); i > 0; i--)
        for (p++; ((unsigned char)*p & 0xC0) == 0x80; p++) {}
    return character_from(text, (size_t)(p - text->data), &next);
}

Value list_get(Value v, int index)
{
    if (!has_items(v)) throw(TypeError, "'%s' object is not subscriptable", value_type(v));
    if (v.tag == VALUE_STR) return character_at((Text *)v.object, index);
    if (v.tag == VALUE_BYTES) return V((unsigned char)((Text *)v.object)->data[list_index(value_len(v), index, "")]);
    List *l = as_sequence(v);
    return value_received(l->items[list_index(l->count, index, v.tag == VALUE_LIST ? "list " : "tuple ")]);
}

void list_set_(Value v, int index, Value item)
{
    if (v.tag != VALUE_LIST) throw(TypeError, "'%s' object does not support item assignment", value_type(v));
    List *l = as_list(v);
    value_replace(&l->items[list_index(l->count, index, "list assignment ")], item);
}

static void list_grow(List *l)
{
    int capacity = l->capacity ? l->capacity * 2 : 8;
    l->items = allocate_or_raise(l->items, capacity * sizeof *l->items);
    l->capacity = capacity;
}

void list_insert_(Value v, int index, Value item)
{
    List *l = as_list(v);
    if (index < 0) index += l->count;
    index = index < 0 ? 0 : index > l->count ? l->count : index;
    if (l->count == l->capacity) list_grow(l);
    memmove(l->items + index + 1, l->items + index, (l->count - index) * sizeof *l->items);
    l->items[index] = value_retain(item);
    l->count++;
}

void list_append_(Value v, Value item)
{
    List *l = as_list(v);
    if (l->count == l->capacity) list_grow(l);
    l->items[l->count++] = value_retain(item);
}

Value list_pop(Value v, int index)
{
    List *l = as_list(v);
    if (!l->count) throw(IndexError, "pop from empty list");
    int i = list_index(l->count, index, "pop ");
    Value item = l->items[i];
    memmove(l->items + i, l->items + i + 1, (l->count - i - 1) * sizeof *l->items);
    l->count--;
    return value_pooled(item);
}

static bool text_contains(const Text *text, const Text *part)
{
    return memmem(text->data, text->length, part->data, part->length);
}

static bool str_contains(const Text *text, Value part)
{
    if (part.tag != VALUE_STR) throw(TypeError, "'in <string>' requires string as left operand, not %s", value_type(part));
    return text_contains(text, (Text *)part.object);
}

static bool bytes_contain(const Text *text, Value part)
{
    if (part.tag == VALUE_INT && (part.integer < 0 || part.integer > 255)) throw(ValueError, "byte must be in range(0, 256)");
    if (part.tag == VALUE_INT) return memchr(text->data, (int)part.integer, text->length);
    if (part.tag != VALUE_BYTES) throw(TypeError, "a bytes-like object is required, not '%s'", value_type(part));
    return text_contains(text, (Text *)part.object);
}

bool list_contains_(Value v, Value item)
{
    if (!has_items(v)) throw(TypeError, "argument of type '%s' is not iterable", value_type(v));
    if (v.tag == VALUE_STR) return str_contains((Text *)v.object, item);
    if (v.tag == VALUE_BYTES) return bytes_contain((Text *)v.object, item);
    List *l = as_sequence(v);
    for (int i = 0; i < l->count; i++)
        if (value_equal(l->items[i], item)) return true;
    return false;
}

void list_clear(Value v)
{
    List *l = as_list(v);
    while (l->count) value_release(l->items[--l->count]);
}

/* A merge of two sorted halves keeps equal items in order, as Python's sort() does. The first comparison is Python's too,
 * so that of two items without an order the same one is named first. */
static void merge_sort(Value *items, Value *spare, int count)
{
    if (count < 2) return;
    int half = (count + 1) / 2, i = 0, j = half, n = 0;
    merge_sort(items, spare, half);
    merge_sort(items + half, spare, count - half);
    while (i < half && j < count) spare[n++] = value_less(items[j], items[i]) ? items[j++] : items[i++];
    while (i < half) spare[n++] = items[i++];
    memcpy(items, spare, n * sizeof *items);
}

/* A comparison may raise: until all are made the list stays as it is. The spare room is that of a list without items. */
void list_sort(Value v)
{
    List *l = as_list(v);
    Value *sorted = as_list(value_list_(l->count, l->items))->items;
    Value *spare = ((List *)pooled(list_new(&list_class, l->count)))->items;
    merge_sort(sorted, spare, l->count);
    for (int i = 0; i < l->count; i++) value_replace(&l->items[i], sorted[i]);
}

void value_unpack_(Value items, size_t count, Value **places)
{
    if (!has_items(items)) throw(TypeError, "cannot unpack non-iterable %s object", value_type(items));
    size_t n = (size_t)value_len(items);
    if (n > count) throw(ValueError, "too many values to unpack (expected %zu)", count);
    if (n < count) throw(ValueError, "not enough values to unpack (expected %zu, got %zu)", count, n);
    for (size_t i = 0; i < count; i++) *places[i] = list_get(items, (int)i);
}

static bool for_in_text(const Text *text, bool is_str, Value *index, Value *item)
{
    size_t at = (size_t)index->integer, next = at + 1;
    if (at >= text->length) return false;
    *item = is_str ? character_from(text, at, &next) : V((unsigned char)text->data[at]);
    index->integer = (int64_t)next;
    return true;
}

/* The index is that of the next item; in a str, of its first byte. */
bool value_for_in_(Value items, Value *index, Value *item)
{
    if (!has_items(items)) throw(TypeError, "'%s' object is not iterable", value_type(items));
    if (items.tag == VALUE_STR || items.tag == VALUE_BYTES)
        return for_in_text((Text *)items.object, items.tag == VALUE_STR, index, item);
    List *l = (List *)items.object;
    if (index->integer >= l->count) return false;
    *item = value_received(l->items[index->integer++]);
    return true;
}

/* The same for a list that nobody changes meanwhile: then its items need no hold but the list's. */
#define for_own(v, list) \
    for (Value *v##_at = as_sequence(list)->items, *v##_end = v##_at + as_sequence(list)->count, v; \
         v##_at < v##_end && (v = *v##_at, true); v##_at++)

/* Writing. */

/* Does d, in this many digits, read back as itself? Below a power of two doubles lie closer than above it: there
 * the nearest digits may not do while the next ones up do. */
static bool digits_suffice(double d, int precision, char digits[32])
{
    snprintf(digits, 32, "%.*e", precision, d);
    if (strtod(digits, NULL) == d) return true;
    char *last = strchr(digits, 'e') - 1;
    for (; last > digits && (*last == '9' || *last == '.'); last--)
        if (*last == '9') *last = '0';
    if (*last >= '0' && *last < '9') ++*last;
    return strtod(digits, NULL) == d;
}

/* The shortest digits that read back as the same double, laid out as in Python: an exponent below 1e-4, from 1e16. */
static void write_float(double d, FILE *out)
{
    char digits[32];
    if (isnan(d)) {
        fputs("nan", out);
        return;
    }
    if (isinf(d)) {
        fputs(d < 0 ? "-inf" : "inf", out);
        return;
    }
    int precision = 0;
    while (!digits_suffice(d, precision, digits)) precision++;
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        *strchr(digits, 'e') = 0;
        fprintf(out, "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        int decimals = precision - exponent;
        fprintf(out, "%.*f", decimals > 0 ? decimals : 1, d);
    }
}

/* All but control and format characters, spaces other than ' ', surrogates and private ones. (Python also escapes
 * what its version of Unicode has not assigned yet.) */
static bool is_printable(uint32_t c)
{
    static const uint32_t hidden[][2] = {
        {0x00, 0x1F},       {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
        {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x1680, 0x1680},
        {0x180E, 0x180E},   {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},   {0x3000, 0x3000},
        {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},   {0xFFFE, 0xFFFF},   {0x110BD, 0x110BD},
        {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE00FF},
        {0xE01F0, 0x10FFFF}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i][0] && c <= hidden[i][1]) return false;
    return true;
}

/* Decodes one character; a byte that begins none becomes a lone surrogate, as by Python's surrogateescape. */
static uint32_t utf8_next(const unsigned char **at, const unsigned char *end)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = *at;
    int more = *p >= 0xF0 && *p < 0xF5 ? 3 : *p >= 0xE0 ? 2 : *p >= 0xC2 ? 1 : 0;
    uint32_t c = more == 3 ? *p & 7 : more == 2 ? *p & 15 : more == 1 ? *p & 31 : *p;
    bool good = (*p < 0x80 || more > 0) && *p < 0xF5 && p + more < end;
    for (int i = 1; good && i <= more; i++) {
        good = (p[i] & 0xC0) == 0x80;
        c = c << 6 | (p[i] & 0x3F);
    }
    /* written longer than need be, or no character */
    if (c < smallest[more] || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF) good = false;
    *at = good ? p + more + 1 : p + 1;
    return good ? c : 0xDC00u + *p;
}

/* Single quotes, unless double ones save escaping. */
static char quote_for(const char *data, size_t length)
{
    return memchr(data, '\'', length) && !memchr(data, '"', length) ? '"' : '\'';
}

static bool write_escaped(uint32_t c, char quote, FILE *out)
{
    if (c == '\n') fputs("\\n", out);
    else if (c == '\r') fputs("\\r", out);
    else if (c == '\t') fputs("\\t", out);
    else if (c == (unsigned char)quote || c == '\\') fprintf(out, "\\%c", (int)c);
    else return false;
    return true;
}

static void write_str_repr(const char *data, size_t length, FILE *out)
{
    const unsigned char *p = (const unsigned char *)data, *end = p + length;
    char quote = quote_for(data, length);
    fputc(quote, out);
    while (p < end) {
        const unsigned char *start = p;
        uint32_t c = utf8_next(&p, end);
        if (write_escaped(c, quote, out)) continue;
        if (is_printable(c)) fwrite(start, 1, (size_t)(p - start), out);
        else fprintf(out, c < 0x100U ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    fputc(quote, out);
}

static void write_bytes_repr(const Text *text, FILE *out)
{
    char quote = quote_for(text->data, text->length);
    fprintf(out, "b%c", quote);
    for (size_t i = 0; i < text->length; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if (write_escaped(c, quote, out)) continue;
        fprintf(out, c >= 0x20 && c < 0x7F ? "%c" : "\\x%02x", c);
    }
    fputc(quote, out);
}

static void write_sequence(List *l, bool is_tuple, FILE *out)
{
    fputc(is_tuple ? '(' : '[', out);
    for (int i = 0; i < l->count; i++) {
        if (i) fputs(", ", out);
        value_write(l->items[i], true, out);
    }
    fputs(is_tuple ? l->count == 1 ? ",)" : ")" : "]", out);
}

/* What holds itself, a list or the result of a future, is told from what is being written around it. */
struct Writing {
    const Object *object;
    Writing *outer;
};

static bool is_being_written(const Object *object)
{
    for (Writing *each = here.writing; each; each = each->outer)
        if (each->object == object) return true;
    return false;
}

static void write_object(Value v, FILE *out)
{
    bool is_list = kind_of(v) == VALUE_LIST, is_tuple = kind_of(v) == VALUE_TUPLE;
    if (is_being_written(v.object)) {
        fputs(is_list ? "[...]" : is_tuple ? "(...)" : "...", out);
        return;
    }
    Writing writing = {v.object, here.writing};
    here.writing = &writing;
    if (is_list || is_tuple) write_sequence((List *)v.object, is_tuple, out);
    else if (v.object->class->write) v.object->class->write(v.object, out);
    else fprintf(out, "<%s object at %p>", v.object->class->name, (void *)v.object);
    here.writing = writing.outer;
}

/* str(v), or repr(v). */
static void value_write(Value v, bool as_repr, FILE *out)
{
    switch (kind_of(v)) {
    case VALUE_NONE: fputs("None", out); break;
    case VALUE_BOOL: fputs(v.boolean ? "True" : "False", out); break;
    case VALUE_INT: fprintf(out, "%" PRId64, v.integer); break;
    case VALUE_FLOAT: write_float(v.number, out); break;
    case VALUE_STR:
        if (as_repr) write_str_repr(((Text *)v.object)->data, ((Text *)v.object)->length, out);
        else fwrite(((Text *)v.object)->data, 1, ((Text *)v.object)->length, out);
        break;
    case VALUE_BYTES: write_bytes_repr((Text *)v.object, out); break;
    case VALUE_LIST:
    case VALUE_TUPLE: write_object(v, out); break;
    case VALUE_OBJECT:
        if (!is_exception(v)) write_object(v, out);
        else if (as_repr) v.object->class->write(v.object, out);
        else exception_write_str(v, out);
        break;
    default: fprintf(out, "<pointer %p>", v.pointer);
    }
}

/* A stream that collects what is written into memory; the caller frees *data after fclose. */
static FILE *open_memory(char **data, size_t *size)
{
    FILE *out = open_memstream(data, size);
    if (!out) out_of_memory(BUFSIZ);
    return out;
}

typedef void (*Writer)(void *what, FILE *out);

/* What a function writes, as a string; the caller frees it. */
static char *written(Writer write, void *what)
{
    char *text;
    size_t size;
    FILE *out = open_memory(&text, &size);
    write(what, out);
    fclose(out);
    return text;
}

static Value value_text(Value v, bool as_repr)
{
    char *data;
    size_t size;
    FILE *out = open_memory(&data, &size);
    value_write(v, as_repr, out);
    fclose(out);
    Value text = str_of(data, size);
    free(data);
    return text;
}

Value value_to_str(Value v) { return v.tag == VALUE_STR ? v : value_text(v, false); }
Value value_repr(Value v) { return value_text(v, true); }

static void write_line(int count, const Value *values, FILE *out)
{
    for (int i = 0; i < count; i++) {
        if (i) fputc(' ', out);
        value_write(values[i], false, out);
    }
    fputc('\n', out);
}

static void print_traced(int count, const Value *values)
{
    char *text;
    size_t size;
    FILE *out = open_memory(&text, &size);
    write_line(count, values, out);
    fclose(out);
    trace_output(text, size);
    free(text);
}

/* A full disk, or a reader that has left, is an OSError where it is noticed, as in Python: here, or as the program ends. Where there is
 * no stdout at all nothing is said. */
void value_print_(int count, const Value *values)
{
    clearerr(stdout);
    if (trace_on) print_traced(count, values);
    else write_line(count, values, stdout);
    if (ferror(stdout) && errno != EBADF) throw(os_error(NULL));
}

static void output_end(void)
{
    if (fflush(stdout) == 0 || errno == EBADF) return;
    fprintf(stderr, "asyncio: what was printed last could not be written to stdout: %s\n", strerror(errno));
    fflush(NULL);
    _exit(120); /* Python's status */
}

/* ---- [exceptions] Exceptions --------------------------------------------------------------------------------------
 *
 * An exception travels by longjmp to the innermost try of the running stack. On its way it leaves the coroutines in
 * between: each is finished, its pool dropped, its place added to the traceback. A `try` is a Handler on the C
 * stack, in one of these phases:
 *
 *     PROBE     just opened: one jump to the end of the block tells whether a finally is there
 *     BODY      the try block runs                            an exception here lands: LANDED
 *     LANDED    the except clauses are asked, in order        a match: HANDLING; none: it goes on after the finally
 *     HANDLING  an except block runs                          an exception here: FAILED, past the other clauses
 *     STAR      an except_star block runs, with what is left of the group in `rest`
 *     FAILED    what an except block raised is on its way to the end of the block
 *     FINALLY   off the chain; what is still unhandled waits in `exception`
 *     CLOSED    left
 *
 * In LANDED, FAILED and FINALLY the handler owns `exception`; in HANDLING and STAR the pool does. `return` or
 * `break` out of the block runs only the cleanup, handler_close_: that is why they cannot pass a finally.
 */

static void exc_destroy(void *object);
static void exc_repr(void *object, FILE *out);
static void traceback_destroy(void *object);
static const Class traceback_class = {.name = "traceback", .size = sizeof(Traceback), .destroy = traceback_destroy};
static const Class exc_class = {.name = "exception", .size = sizeof(Exc), .destroy = exc_destroy, .write = exc_repr};

#define CLASS(Name, Parent) const ExceptionClass Name[1] = {{#Name, Parent, "builtins"}};
#define CLASS_IN(module, Name, Parent) const ExceptionClass Name[1] = {{#Name, Parent, module}};
CLASS(BaseException, NULL) CLASS(Exception, BaseException) CLASS(GeneratorExit, BaseException)
CLASS(KeyboardInterrupt, BaseException) CLASS(SystemExit, BaseException) CLASS(BaseExceptionGroup, BaseException)
CLASS(ExceptionGroup, Exception) CLASS(ArithmeticError, Exception) CLASS(ZeroDivisionError, ArithmeticError)
CLASS(OverflowError, ArithmeticError) CLASS(AssertionError, Exception) CLASS(AttributeError, Exception)
CLASS(BufferError, Exception) CLASS(EOFError, Exception) CLASS(LookupError, Exception) CLASS(IndexError, LookupError)
CLASS(KeyError, LookupError) CLASS(MemoryError, Exception) CLASS(NameError, Exception) CLASS(RuntimeError, Exception)
CLASS(NotImplementedError, RuntimeError) CLASS(RecursionError, RuntimeError) CLASS(StopIteration, Exception)
CLASS(StopAsyncIteration, Exception) CLASS(SyntaxError, Exception) CLASS(TypeError, Exception)
CLASS(ValueError, Exception) CLASS(UnicodeError, ValueError) CLASS(OSError, Exception) CLASS(BlockingIOError, OSError)
CLASS(ChildProcessError, OSError) CLASS(ConnectionError, OSError) CLASS(BrokenPipeError, ConnectionError)
CLASS(ConnectionAbortedError, ConnectionError) CLASS(ConnectionRefusedError, ConnectionError)
CLASS(ConnectionResetError, ConnectionError) CLASS(FileExistsError, OSError) CLASS(FileNotFoundError, OSError)
CLASS(InterruptedError, OSError) CLASS(IsADirectoryError, OSError) CLASS(NotADirectoryError, OSError)
CLASS(PermissionError, OSError) CLASS(ProcessLookupError, OSError) CLASS(TimeoutError, OSError)
CLASS(Warning, Exception) CLASS(RuntimeWarning, Warning)
CLASS_IN("asyncio.exceptions", CancelledError, BaseException)
CLASS_IN("asyncio.exceptions", InvalidStateError, Exception)
CLASS_IN("asyncio.exceptions", BrokenBarrierError, RuntimeError)
CLASS_IN("asyncio.exceptions", IncompleteReadError, EOFError)
CLASS_IN("asyncio.exceptions", LimitOverrunError, Exception)
CLASS_IN("asyncio.exceptions", SendfileNotAvailableError, RuntimeError)
CLASS_IN("asyncio.queues", QueueEmpty, Exception) CLASS_IN("asyncio.queues", QueueFull, Exception)
CLASS_IN("asyncio.queues", QueueShutDown, Exception) CLASS_IN("asyncio", DeadlockError, RuntimeError)

static bool is_subclass(const ExceptionClass *class, const ExceptionClass *of)
{
    for (; class; class = class->parent)
        if (class == of || (class == ExceptionGroup && of == BaseExceptionGroup)) return true;
    return false;
}

static bool is_exception(Value v) { return v.tag == VALUE_OBJECT && v.object->class == &exc_class; }
static inline bool is_a(Value v, const ExceptionClass *class)
{
    return is_exception(v) && is_subclass(((Exc *)v.object)->type, class);
}
bool value_is_exception(Value v, const ExceptionClass *class) { return is_a(v, class); }
static bool is_group(Value v) { return value_is_exception(v, BaseExceptionGroup); }

static Exc *as_exc(Value v)
{
    if (!is_exception(v)) throw(TypeError, "exceptions must derive from BaseException, not %s", value_type(v));
    return (Exc *)v.object;
}

static const ExceptionClass *os_error_class(int64_t number);

/* OSError(number, text, file): the number says which class it is; the file is no argument of it, but in its details. */
static void exc_take_errno(Exc *x)
{
    Value number = list_get(x->args, 0), text = list_get(x->args, 1), file = len(x->args) > 2 ? list_get(x->args, 2) : None;
    x->details = value_retain(tuple(number, text, file));
    if (!is_none(file)) value_replace(&x->args, tuple(number, text));
    if (x->type == OSError && number.tag == VALUE_INT) x->type = os_error_class(number.integer);
}

Value exception_new_args(const ExceptionClass *class, Value args)
{
    as_sequence(args);
    Exc *x = pooled(object_new(&exc_class, sizeof *x));
    x->type = class;
    x->args = value_retain(args.tag == VALUE_TUPLE ? args : tuple_of(args));
    if (len(args) >= 2 && len(args) <= 3 && is_subclass(class, OSError)) exc_take_errno(x);
    return V(&x->object);
}

Value value_new_exception_(const ExceptionClass *class) { return exception_new_args(class, tuple()); }

Value exception_new(const ExceptionClass *class, const char *text, ...)
{
    va_list args;
    va_start(args, text);
    Value message = vformat(text, args);
    va_end(args);
    return exception_new_args(class, tuple(message));
}

/* ExceptionGroup(text, exceptions): it is a BaseExceptionGroup if any of them is no Exception. */
Value exception_group(const char *text, Value exceptions)
{
    const ExceptionClass *class = ExceptionGroup;
    if (exceptions.tag != VALUE_LIST && exceptions.tag != VALUE_TUPLE)
        throw(TypeError, "second argument (exceptions) must be a sequence");
    List *members = as_sequence(exceptions);
    if (!text) throw(TypeError, "the message of a group must be a str, not NULL");
    if (!members->count) throw(ValueError, "second argument (exceptions) must be a non-empty sequence");
    for (int i = 0; i < members->count; i++) {
        Value e = members->items[i];
        if (!is_exception(e)) throw(ValueError, "Item %d of second argument (exceptions) is not an exception", i);
        if (!value_is_exception(e, Exception)) class = BaseExceptionGroup;
    }
    Value group = exception_new_args(class, tuple(text, exceptions));
    value_replace(&as_exc(group)->exceptions, value_tuple_(members->count, members->items));
    return group;
}

static void exc_destroy(void *object)
{
    Exc *x = object;
    value_release(x->args);
    value_release(x->cause);
    value_release(x->context);
    value_release(x->exceptions);
    value_release(x->notes);
    value_release(x->details);
    release(x->traceback);
}

const ExceptionClass *exception_type(Value e) { return as_exc(e)->type; }
Value exception_args(Value e) { return as_exc(e)->args; }
Value exception_cause(Value e) { return value_received(as_exc(e)->cause); }
Value exception_context(Value e) { return value_received(as_exc(e)->context); }
bool exception_suppress_context(Value e) { return as_exc(e)->suppress_context; }
Value exception_exceptions(Value e) { return as_exc(e)->exceptions; }
Value exception_notes(Value e)
{
    Value notes = as_exc(e)->notes;
    return is_none(notes) ? list() : notes;
}

void exception_add_note(Value e, const char *note)
{
    Exc *x = as_exc(e);
    if (!note) throw(TypeError, "add_note() argument must be str, not None");
    if (is_none(x->notes)) value_replace(&x->notes, list());
    list_append(x->notes, note);
}

Value exception_with_cause_(Value e, Value cause)
{
    Exc *x = as_exc(e);
    if (!is_none(cause)) as_exc(cause);
    value_replace(&x->cause, cause);
    x->suppress_context = true;
    return e;
}

/* A group like `group`, of other exceptions. */
static Value group_derive(Value group, Value exceptions)
{
    if (!len(exceptions)) return None;
    Exc *from = as_exc(group);
    Value derived = exception_group(as_str(list_get(from->args, 0)), exceptions);
    Exc *x = (Exc *)derived.object;
    value_replace(&x->cause, from->cause);
    value_replace(&x->context, from->context);
    value_replace(&x->notes, from->notes);
    x->suppress_context = true; /* in CPython too: to copy the cause, even None, is to set it */
    x->traceback = retain(from->traceback);
    x->last_frame = from->last_frame;
    return derived;
}

static bool is_of_any(const ExceptionClass *type, const ExceptionClass **classes)
{
    for (; *classes; classes++)
        if (is_subclass(type, *classes)) return true;
    return false;
}

static Value exception_split_any(Value e, const ExceptionClass **classes, Value *rest)
{
    *rest = None;
    if (is_of_any(as_exc(e)->type, classes)) return e;
    if (!is_group(e)) {
        *rest = e;
        return None;
    }
    Value matched = list(), others = list();
    for_in (member, as_exc(e)->exceptions) {
        Value other, match = exception_split_any(member, classes, &other);
        if (!is_none(match)) list_append(matched, match);
        if (!is_none(other)) list_append(others, other);
    }
    *rest = group_derive(e, others);
    return group_derive(e, matched);
}

Value exception_split(Value group, const ExceptionClass *class, Value *rest)
{
    return exception_split_any(group, (const ExceptionClass *[]){class, NULL}, rest);
}

/* Throwing. */

static bool is_own_file(const char *file) { return file == own_file; }

/* Where the running coroutine is, for tracebacks and the trace: always a place in the program's own code. */
static inline bool mark_site(const Site *site)
{
    if (!here.stack->frame || is_own_file(site->file)) return false;
    here.stack->frame->site = site;
    return true;
}

static inline void mark_await(const Site *site, Object *awaitable)
{
    if (mark_site(site) && TRACING) trace_line(site, awaitable);
}

/* The function as the reader wrote it: a coroutine's body has a longer name. */
static const char *site_function(const Site *site, const Coroutine *frame)
{
    const char *name = frame ? frame->code->name : site->function;
    return strncmp(site->function, name, strlen(name)) ? site->function : name;
}

static const void *frame_or_stack(const Coroutine *frame) { return frame ? (const void *)frame : here.stack; }

/* One entry for each frame that the exception leaves or is caught in, none for this file's own. */
static void traceback_add(Exc *x, const Coroutine *frame, const Site *site)
{
    const void *of = frame_or_stack(frame);
    if (!site || is_own_file(site->file) || x->last_frame == of) return;
    Traceback *line = object_new(&traceback_class, sizeof *line);
    line->site = (Site){site->file, site->line, site_function(site, frame)};
    line->inner = x->traceback;
    x->traceback = line;
    x->last_frame = of;
}

/* What a function of this file raises has no place of its own: the frame's last await or throw is told, or its beginning. */
static void traceback_add_frame(Exc *x, const Coroutine *frame)
{
    Site site = frame_site(frame);
    traceback_add(x, frame, &site);
}

static void traceback_set(Exc *x, Traceback *traceback)
{
    retain(traceback);
    release(x->traceback);
    x->traceback = traceback;
    x->last_frame = NULL;
}

/* Line by line: a long one would need a long stack. */
static void traceback_destroy(void *object)
{
    Traceback *line = ((Traceback *)object)->inner;
    while (line && line->object.references == 1) {
        Traceback *inner = line->inner;
        line->inner = NULL;
        release(line);
        line = inner;
    }
    release(line);
}

static bool exception_leads_to(Value e, const Exc *x)
{
    for (; is_exception(e); e = as_exc(e)->context) {
        if (as_exc(e) == x) return true;
        if (is_group(e))
            for_own (member, as_exc(e)->exceptions)
                if (exception_leads_to(member, x)) return true;
    }
    return false;
}

/* The stack on which a coroutine that called this one, or waits for it, handles exceptions of its own. */
static Stack *stack_outer(Stack *stack)
{
    if (stack->resumer) return stack->resumer;
    return here.loop && stack != here.loop->home ? here.loop->home : NULL;
}

static Value handled_by(Stack *stack, Coroutine *frame)
{
    for (Handler *h = stack->handling; h; h = h->outer_handling)
        if (h->frame == frame) return h->exception;
    return None;
}

/* The innermost exception that is handled on this stack or on one further out, or None. */
static Value handled_from(Stack *stack)
{
    for (; stack; stack = stack_outer(stack))
        if (stack->handling) return stack->handling->exception;
    return None;
}

/* What was being handled when the loop was started: the loop may have been run in an except block. */
static Value handled_around_loop(void) { return here.loop ? handled_from(here.loop->home) : None; }

/* What is being handled and becomes the context of x, or None. When a task goes on with a result, Python resumes its
 * coroutines from the outermost inwards, and all that they handle is in sight. When it goes on with an exception,
 * only the innermost is resumed, and each outer one when those inside it are done: `thrown_into` is the outermost
 * that has been resumed, `thrown` the exception, which was not raised here and does not see around the loop. */
static Value exception_in_sight(Exc *x)
{
    if (!here.thrown_into) return handled_from(here.stack);
    for (Stack *stack = here.stack; stack; stack = stack->resumer)
        for (Coroutine *frame = stack->frame; frame; frame = frame->caller) {
            Value e = handled_by(stack, frame);
            if (!is_none(e)) return e;
            if (frame == here.thrown_into) return x == here.thrown ? None : handled_around_loop();
        }
    return None;
}

/* What is being handled becomes the context of x, but never so that the chain of contexts leads back to x: if x is in
 * it already, the chain ends before it; if a group in it leads to x, x has no context. */
static void exception_set_context(Exc *x, Value handled)
{
    if (!is_exception(handled) || (Exc *)handled.object == x) return;
    for (Exc *each = as_exc(handled); is_exception(each->context); each = as_exc(each->context))
        if (as_exc(each->context) == x) {
            value_replace(&each->context, None);
            break;
        }
    value_replace(&x->context, exception_leads_to(handled, x) ? None : handled);
}

/* RuntimeError(text), as if raised from e while e is handled. */
static Value exception_instead(const char *text, Value e)
{
    Value instead = exception_with_cause_(exception_new(RuntimeError, "%s", text), e);
    exception_set_context((Exc *)instead.object, e);
    return instead;
}

/* StopIteration that leaves a coroutine would end an iteration of its caller's, which it knows nothing of: so it
 * becomes a RuntimeError, as does StopAsyncIteration that leaves a generator. The caller holds what is returned. */
static Exc *exception_leaving(Exc *x, Coroutine *frame)
{
    AsyncGenerator *gen = here.stack->generator;
    bool of_generator = gen && frame == generator_body(gen);
    bool stops = is_subclass(x->type, StopIteration) || (of_generator && is_subclass(x->type, StopAsyncIteration));
    if (!stops) return x;
    Value e = value_pooled(V(&x->object));
    Value text = format("%s raised %s", of_generator ? "async generator" : "coroutine", x->type->name);
    return retain(exception_instead(as_str(text), e).object);
}

/* x enters the next coroutine outwards, and what that one handles becomes its context, whatever was it before. */
static void exception_thrown_into(Exc *x)
{
    Stack *stack = here.stack->frame ? here.stack : here.stack->resumer;
    if (here.thrown_into) exception_set_context(x, handled_by(stack, here.thrown_into));
}

static void handler_collect(Handler *handler, Exc *x);
static _Noreturn void uncaught(Exc *x);

/* Flies on with x, which the caller holds, to the innermost handler. */
static _Noreturn void exception_fly(Exc *x)
{
    Stack *stack = here.stack;
    Handler *handler = stack->handlers;
    if (!handler) uncaught(x);
    here.writing = NULL;
    while (stack->frame != handler->frame) {
        Coroutine *frame = stack->frame;
        bool resumes = frame == here.thrown_into;
        traceback_add_frame(x, frame);
        x = exception_leaving(x, frame);
        coroutine_finish(stack, frame);
        if (resumes) exception_thrown_into(x);
        x->last_frame = NULL;
    }
    if (stack->frame) traceback_add_frame(x, stack->frame);
    /* a finally that raises replaces what it delayed */
    for (Handler *h = stack->handling; h && h != handler && h != handler->outer_handling; h = h->outer_handling)
        if (h->phase == PHASE_FINALLY) value_release(h->exception);
    stack->handling = handler->outer_handling;
    if (handler->phase == PHASE_STAR) handler_collect(handler, x);
    else {
        handler->phase = handler->phase == PHASE_BODY ? PHASE_LANDED : PHASE_FAILED;
        handler->exception = V(&x->object);
    }
    _longjmp(handler->landing, 1);
}

_Noreturn void exception_throw_(Value e, const Site *site)
{
    Exc *x = as_exc(e);
    Stack *stack = this_stack();
    retain(x);
    exception_set_context(x, exception_in_sight(x));
    here.thrown = NULL;
    if (!is_own_file(site->file)) x->last_frame = NULL; /* raised by the program, it has one more entry */
    traceback_add(x, stack->frame, site);
    mark_site(site);
    if (TRACING) trace_exception("exception.raise", e, site);
    exception_fly(x);
}

/* e was thrown into the innermost coroutine where it is suspended: only what that one handles becomes its context. */
static _Noreturn void exception_enter(Value e, const Site *site)
{
    Stack *stack = here.stack;
    Exc *x = retain(as_exc(e));
    exception_set_context(x, handled_by(stack, stack->frame));
    traceback_add(x, stack->frame, site);
    exception_fly(x);
}

_Noreturn void exception_rethrow_(const Site *site)
{
    Handler *handling = this_stack()->handling;
    if (!handling) exception_throw_(exception_new(RuntimeError, "No active exception to reraise"), site);
    handling->reraises = true;
    if (TRACING) trace_exception("exception.raise", handling->exception, site);
    exception_fly(retain(handling->exception.object));
}

/* What the system said, as the exception that Python makes of it. */

static const ExceptionClass *os_error_class(int64_t number)
{
    switch (number) {
    case EAGAIN:
    case EALREADY:
    case EINPROGRESS: return BlockingIOError;
    case ECHILD: return ChildProcessError;
    case EPIPE:
    case ESHUTDOWN: return BrokenPipeError;
    case ECONNABORTED: return ConnectionAbortedError;
    case ECONNREFUSED: return ConnectionRefusedError;
    case ECONNRESET: return ConnectionResetError;
    case EEXIST: return FileExistsError;
    case ENOENT: return FileNotFoundError;
    case EINTR: return InterruptedError;
    case EISDIR: return IsADirectoryError;
    case ENOTDIR: return NotADirectoryError;
    case EACCES:
    case EPERM: return PermissionError;
    case ESRCH: return ProcessLookupError;
    case ETIMEDOUT: return TimeoutError;
    default: return OSError;
    }
}

/* about: the file, as a rule; NULL if the system's word is all there is to say. */
static Value os_error(const char *about)
{
    int number = errno;
    Value text = V(strerror(number));
    return exception_new_args(OSError, about ? tuple(number, text, about) : tuple(number, text));
}

#define throw_errno(about) throw(os_error(about))

static void os_error_write_str(Exc *x, FILE *out)
{
    Value file = list_get(x->details, 2);
    fputs("[Errno ", out);
    value_write(list_get(x->args, 0), false, out);
    fputs("] ", out);
    value_write(list_get(x->args, 1), false, out);
    if (is_none(file)) return;
    fputs(": ", out);
    value_write(file, true, out);
}

/* What str() gives for an exception. */
static void exception_write_str(Value e, FILE *out)
{
    Exc *x = as_exc(e);
    int count = len(x->args);
    if (is_group(e)) {
        int n = len(x->exceptions);
        fprintf(out, "%s (%d sub-exception%s)", as_str(list_get(x->args, 0)), n, n == 1 ? "" : "s");
    } else if (count == 2 && !is_none(x->details)) os_error_write_str(x, out);
    else if (count == 1) value_write(list_get(x->args, 0), x->type == KeyError, out);
    else if (count > 1) value_write(x->args, true, out);
}

static void exc_repr(void *object, FILE *out)
{
    Exc *x = object;
    fputs(x->type->name, out);
    if (len(x->args) == 1) {
        fputc('(', out);
        value_write(list_get(x->args, 0), true, out);
        fputc(')', out);
    } else value_write(x->args, true, out);
}

/* The try statement: what the macros of asyncio.h call. */

void handler_open_(Handler *handler, const Site *site)
{
    Stack *stack = this_stack();
    handler->outer = stack->handlers;
    handler->outer_handling = stack->handling;
    handler->frame = stack->frame;
    handler->site = site;
    handler->exception = handler->rest = handler->raised = handler->kept = None;
    handler->phase = PHASE_PROBE;
    handler->has_finally = handler->reraises = false;
    stack->handlers = handler;
}

/* After an except_star block: what is left of the group goes to the clauses again. */
static bool handler_next_star(Handler *handler)
{
    here.stack->handling = handler->outer_handling;
    handler->exception = handler->rest;
    handler->rest = None;
    handler->reraises = false;
    handler->phase = is_none(handler->exception) ? PHASE_HANDLING : PHASE_LANDED;
    return handler->phase == PHASE_LANDED;
}

/* Reached at the end of the block, and once before its start. True: go (back) to the start. */
bool handler_probe_(Handler *handler, bool has_finally)
{
    if (handler->phase == PHASE_PROBE) {
        handler->has_finally = has_finally;
        handler->phase = PHASE_BODY;
        return true;
    }
    if (handler->phase != PHASE_STAR) return false;
    return handler_next_star(handler);
}

static void handler_catch(Handler *handler, Phase phase)
{
    handler->phase = phase;
    here.stack->handling = handler;
}

bool handler_catches_(Handler *handler, const ExceptionClass *class)
{
    if (handler->phase != PHASE_LANDED || !is_a(handler->exception, class)) return false;
    value_pooled(handler->exception);
    handler_catch(handler, PHASE_HANDLING);
    if (TRACING) trace_exception("exception.handle", handler->exception, handler->site);
    return true;
}

bool handler_catches_any_(Handler *handler, const ExceptionClass **classes)
{
    for (; *classes; classes++)
        if (handler_catches_(handler, *classes)) return true;
    return false;
}

/* A group that no line of the program raises: this frame is not in its traceback. */
static Value group_of_own(Value members)
{
    Value group = exception_group("", members);
    as_exc(group)->last_frame = frame_or_stack(here.stack->frame);
    return group;
}

bool handler_catches_star_(Handler *handler, const ExceptionClass **classes)
{
    if (handler->phase != PHASE_LANDED) return false;
    Value rest, match = exception_split_any(handler->exception, classes, &rest);
    if (is_none(match)) {
        value_replace(&handler->exception, rest); /* a new group: each except* makes one, as in Python */
        return false;
    }
    if (is_none(handler->kept)) handler->kept = value_retain(list(handler->exception));
    handler->rest = value_retain(rest);
    if (is_group(match)) value_retain(match);
    else match = value_retain(group_of_own(tuple(match)));
    value_release(handler->exception);
    handler->exception = value_pooled(match);
    handler_catch(handler, PHASE_STAR);
    if (TRACING) trace_exception("exception.handle", match, handler->site);
    return true;
}

/* An except_star block raised: the other clauses still get their part, then all that was raised goes on together.
 * What a block raises again joins what no clause wanted, in `kept`, which began as the whole group alone. */
static void handler_collect(Handler *handler, Exc *x)
{
    bool again = handler->reraises && handler->exception.object == &x->object;
    if (is_none(handler->raised)) handler->raised = value_retain(list());
    list_append(again ? handler->kept : handler->raised, V(&x->object));
    release(x);
    handler_next_star(handler);
}

static bool holds_exception(Value groups, Value e)
{
    for_own (member, groups)
        if (member.object == e.object || (is_group(member) && holds_exception(as_exc(member)->exceptions, e)))
            return true;
    return false;
}

/* The group, without what is in none of `kept`. */
static Value group_project(Value group, Value kept)
{
    Value members = list();
    for_own (e, as_exc(group)->exceptions) {
        Value part = is_group(e) ? group_project(e, kept) : holds_exception(kept, e) ? e : None;
        if (!is_none(part)) list_append(members, part);
    }
    return group_derive(group, members);
}

/* What the except_star blocks raised anew, and what is left of the group, as one exception. */
static void handler_merge_raised(Handler *handler)
{
    if (handler->phase == PHASE_LANDED) {
        list_append(handler->kept, handler->exception);
        value_release(handler->exception);
    }
    Value whole = list_pop(handler->kept, 0), raised = handler->raised, left = None;
    if (is_group(whole)) left = group_project(whole, handler->kept);
    else if (len(handler->kept)) left = list_get(handler->kept, 0);
    if (!is_none(left)) list_append(raised, left);
    int count = len(raised);
    handler->exception = value_retain(count > 1 ? group_of_own(raised) : count ? list_get(raised, 0) : None);
    value_release(raised);
    handler->raised = None;
    handler->phase = PHASE_FAILED;
}

void handler_finally_(Handler *handler)
{
    Stack *stack = here.stack;
    assert(stack->handlers == handler && "a try must be left where it was entered");
    stack->handlers = handler->outer;
    if (!is_none(handler->raised)) handler_merge_raised(handler);
    if (!is_none(handler->kept)) value_replace(&handler->kept, None);
    bool unhandled = handler->phase == PHASE_LANDED || handler->phase == PHASE_FAILED;
    if (!unhandled) handler->exception = None;
    handler->phase = PHASE_FINALLY;
    stack->handling = unhandled ? handler : handler->outer_handling;
}

void handler_end_(Handler *handler)
{
    if (handler->phase == PHASE_BODY) { /* nothing was raised */
        assert(here.stack->handlers == handler && "a try must be left where it was entered");
        here.stack->handlers = handler->outer;
        handler->phase = PHASE_CLOSED;
        return;
    }
    if (handler->phase != PHASE_FINALLY) handler_finally_(handler);
    handler->phase = PHASE_CLOSED;
    here.stack->handling = handler->outer_handling;
    if (!is_none(handler->exception)) exception_fly((Exc *)handler->exception.object);
}

void handler_close_(Handler *handler)
{
    if (handler->phase == PHASE_CLOSED) return;
    Stack *stack = here.stack;
    if (handler->phase != PHASE_FINALLY) {
        if (handler->has_finally)
            fatal(handler->site, "return, break, continue or goto leaves this try, and C would skip its finally.\n"
                                 "Set a variable and leave after end_try, or use async_with, whose exit always runs");
        stack->handlers = handler->outer;
    } else value_release(handler->exception); /* as in Python, return in a finally drops what was raised */
    if (handler->phase == PHASE_STAR) value_release(handler->rest);
    value_release(handler->raised);
    value_release(handler->kept);
    stack->handling = handler->outer_handling;
    handler->phase = PHASE_CLOSED;
}

/* Printing. */

/* Writes line `number` of a source file without its indentation, if the file is there. */
static void write_source_line(const char *file, int number, const char *prefix, FILE *out)
{
    FILE *source = fopen(file, "r");
    char *line = NULL;
    size_t capacity = 0;
    if (!source) return;
    while (number > 0 && getline(&line, &capacity, source) >= 0) number--;
    if (number == 0) {
        char *text = line + strspn(line, " \t");
        text[strcspn(text, "\r\n")] = 0;
        if (*text) fprintf(out, "%s    %s\n", prefix, text);
    }
    free(line);
    fclose(source);
}

static void write_frame(const Site *site, const char *prefix, FILE *out)
{
    fprintf(out, "%s  File \"%s\", line %d, in %s\n", prefix, site->file, site->line, site->function);
    write_source_line(site->file, site->line, prefix, out);
}

/* Each line of the text after the prefix. */
static void write_lines(const char *text, const char *prefix, FILE *out)
{
    const char *end;
    for (; *(end = strchrnul(text, '\n')); text = end + 1) fprintf(out, "%s%.*s\n", prefix, (int)(end - text), text);
    fprintf(out, "%s%s\n", prefix, text);
}

static void write_exception_line(Exc *x, const char *prefix, FILE *out)
{
    const char *module = x->type->module;
    bool plain = !module || !strcmp(module, "builtins");
    scope {
        Value e = V(&x->object), text = str(e);
        if (*as_str(text)) text = format(": %s", as_str(text));
        text = format("%s%s%s%s", plain ? "" : module, plain ? "" : ".", x->type->name, as_str(text));
        write_lines(as_str(text), prefix, out);
        for_in (note, exception_notes(e)) write_lines(as_str(str(note)), prefix, out);
    }
}

static void exception_write(Exc *x, const char *prefix, bool *open, FILE *out);

enum { GROUP_WIDTH = 15, GROUP_DEPTH = 10 }; /* how much of a group is written, as in Python */

/* What is `open` is closed by a line below, one for all groups that end there. */
static void write_group_members(Exc *x, const char *prefix, bool *open, FILE *out)
{
    char inner[2 * GROUP_DEPTH + 8];
    int count = value_len(x->exceptions), more = count - GROUP_WIDTH, shown = more > 0 ? GROUP_WIDTH + 1 : count;
    int outer = (int)strlen(prefix) - 2; /* without the "| " of this level */
    snprintf(inner, sizeof inner, "%*s  | ", outer, "");
    for (int i = 0; i < shown; i++) {
        *open = i == shown - 1;
        fprintf(out, "%*s%s---------------- ", outer, "", i ? "  +" : "+-+");
        if (i < GROUP_WIDTH) {
            fprintf(out, "%d ----------------\n", i + 1);
            exception_write(as_exc(list_get(x->exceptions, i)), inner, open, out);
        } else fprintf(out, "... ----------------\n%sand %d more exception%s\n", inner, more, more > 1 ? "s" : "");
    }
    if (*open) fprintf(out, "%*s  +------------------------------------\n", outer, "");
    *open = false;
}

/* Cause or context first, as it happened first; then the frames, outermost first; then the exception. */
static void exception_write(Exc *x, const char *prefix, bool *open, FILE *out)
{
    bool group = x->exceptions.tag == VALUE_TUPLE, top = group && !*prefix;
    if (is_exception(x->cause)) {
        exception_write((Exc *)x->cause.object, prefix, open, out);
        fprintf(out, "%s\n%sThe above exception was the direct cause of the following exception:\n%s\n", prefix,
                prefix, prefix);
    } else if (is_exception(x->context) && !x->suppress_context) {
        exception_write((Exc *)x->context.object, prefix, open, out);
        fprintf(out, "%s\n%sDuring handling of the above exception, another exception occurred:\n%s\n", prefix,
                prefix, prefix);
    }
    if (group && strlen(prefix) > 2 * GROUP_DEPTH + 2) {
        fprintf(out, "%s... (max_group_depth is %d)\n", prefix, GROUP_DEPTH);
        return;
    }
    if (top) prefix = "  | ";
    if (x->traceback) {
        if (top) fputs("  + Exception Group Traceback (most recent call last):\n", out);
        else fprintf(out, "%s%sTraceback (most recent call last):\n", prefix, group ? "Exception Group " : "");
    }
    for (Traceback *line = x->traceback; line; line = line->inner) write_frame(&line->site, prefix, out);
    write_exception_line(x, prefix, out);
    if (group) write_group_members(x, prefix, open, out);
}

void exception_print(Value e, FILE *file)
{
    fflush(stdout);
    exception_write(as_exc(e), "", &(bool){false}, file);
    fflush(file);
}

/* Nobody caught it: outside a coroutine, in the program's own code. Python's exit statuses. */
static _Noreturn void uncaught(Exc *x)
{
    Value e = V(&x->object);
    if (is_subclass(x->type, SystemExit)) {
        int count = len(x->args);
        Value code = count == 1 ? list_get(x->args, 0) : count ? x->args : None;
        if (is_none(code)) exit(0);
        if (code.tag == VALUE_INT || code.tag == VALUE_BOOL) exit((int)as_int(code));
        value_write(code, false, stderr);
        fputc('\n', stderr);
    } else exception_print(e, stderr);
    bool interrupted = is_subclass(x->type, KeyboardInterrupt);
    release(x);
    if (interrupted) { /* die as the shell expects of Ctrl-C */
        fflush(NULL);
        trace_finish(130);
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    exit(1);
}

/* " (in task 'Task-1', at file:line)" where a task runs. */
static void write_where(FILE *out)
{
    Coroutine *frame = here.stack ? here.stack->frame : NULL;
    Task *task = here.loop ? here.loop->current : NULL;
    if (task) fprintf(out, " (in task '%s'", task_get_name(task));
    if (task && frame && frame->site) fprintf(out, ", at %s:%d", frame->site->file, frame->site->line);
    fputs(task ? ")\n" : "\n", out);
}

/* What a program must not do, or a broken invariant: says so, with the place, and stops. */
static _Noreturn void fatal(const Site *site, const char *text, ...)
{
    va_list args;
    fflush(stdout);
    fprintf(stderr, "asyncio: %s:%d: in %s: ", site->file, site->line, site->function);
    va_start(args, text);
    vfprintf(stderr, text, args);
    va_end(args);
    write_where(stderr);
    trace_finish(134);
    abort();
}

static void memory_report(const char *what, size_t size)
{
    fflush(stdout);
    fprintf(stderr, "asyncio: MemoryError: %s: %zu bytes could not be allocated", what, size);
    write_where(stderr);
}

/* ---- [loop] A callback loop ---------------------------------------------------------------------------------------
 *
 * The loop knows nothing of coroutines. It has a queue of what is ready to run, a heap of timers, and a set of file
 * descriptors, and it goes round:
 *
 *        +--> timers that were cancelled leave the heap
 *        |    select(): wait for a descriptor, no longer than to the next timer, not at all if something is ready
 *        |    descriptors that are ready, then timers that are due, join the ready queue
 *        +--- run what is in the queue now; what joins it meanwhile waits for the next round
 *
 * An entry of the ready queue is a Handle (a callback) or a Task (its next step). The queue holds its entries, the
 * heap its timers. A cancelled handle stays where it is and is skipped: taking it out would cost more than passing
 * it by.
 *
 * What CPython does and this loop does not: a poll of the descriptors in each round, even when none is registered or
 * none was ready the last 16 times. A system call per round would be nine tenths of a switch.
 */

static void handle_destroy(void *object);
static void handle_repr(void *object, FILE *out);
static void loop_destroy(void *object);
static void loop_repr(void *object, FILE *out);
static const Class handle_class = {
    .name = "Handle", .size = sizeof(Handle), .destroy = handle_destroy, .write = handle_repr};
static const Class loop_class = {
    .name = "EventLoop", .size = sizeof(Loop), .destroy = loop_destroy, .write = loop_repr};

/* Handles. */

static Handle *handle_new(Loop *loop, const char *name, Context *context)
{
    Variables **variables = this_variables();
    Handle *handle = object_new(&handle_class, sizeof *handle);
    handle->loop = loop;
    handle->name = name;
    handle->context = retain(context);
    handle->variables = context ? NULL : retain(*variables);
    return handle;
}

static inline Handle *handle_to_call(Loop *loop, Callback fn, CallOptions options)
{
    Handle *handle = handle_new(loop, options.name, options.context);
    handle->callback = fn;
    handle->arg = value_retain(options.arg);
    return handle;
}

/* Lets go of what the callback would have needed. */
static void handle_clear(Handle *handle)
{
    value_replace(&handle->arg, None);
    release(handle->future);
    handle->future = NULL;
}

static void handle_destroy(void *object)
{
    Handle *handle = object;
    handle_clear(handle);
    release(handle->context);
    release(handle->variables);
}

static void handle_repr(void *object, FILE *out)
{
    Handle *handle = object;
    fputs(handle->is_timer ? "<TimerHandle" : "<Handle", out);
    if (handle->cancelled) fputs(" cancelled", out);
    if (handle->is_timer) fprintf(out, " when=%g", handle->when);
    if (!handle->cancelled) fprintf(out, " %s()", handle->name);
    fputc('>', out);
}

void handle_cancel(Handle *handle)
{
    if (handle->cancelled) return;
    handle->cancelled = true;
    if (handle->armed) {
        handle->loop->timers_cancelled++;
        TRACE("timer.cancel", 'i', "timer:o what:s", handle, handle->name);
    } else if (handle->queued) TRACE("handle.cancel", 'i', "handle:o what:s", handle, handle->name);
    handle_clear(handle);
}

bool handle_cancelled(Handle *handle) { return handle->cancelled; }
double handle_when(Handle *handle) { return handle->when; }

Context *handle_get_context(Handle *handle)
{
    if (!handle->context) handle->context = context_begin(&handle->variables);
    return pooled(retain(handle->context));
}

static inline Variables **handle_variables(Handle *handle)
{
    return handle->context ? &handle->context->variables : &handle->variables;
}

static void handle_call(Handle *handle)
{
    if (handle->done) handle->done(handle->future, handle->arg);
    else handle->callback(handle->arg);
}

static bool leaves_loop(Value e)
{
    return value_is_exception(e, KeyboardInterrupt) || value_is_exception(e, SystemExit);
}

static void loop_leave(Loop *loop, Value e)
{
    if (!loop->leaving) loop->leaving = retain(e.object);
}

static void handle_failed(Handle *handle, Value e)
{
    if (leaves_loop(e)) {
        loop_leave(handle->loop, e);
        return;
    }
    /* what it had to do is lost, and somebody may wait for it for ever */
    if (isinstance(e, MemoryError)) {
        fprintf(stderr, "asyncio: no memory left in the callback %s(), stopping here:\n", handle->name);
        exception_print(e, stderr);
        abort();
    }
    Value message = format("Exception in callback %s()", handle->name);
    try {
        REPORT(handle->loop, .message = as_str(message), .exception = e, .handle = handle);
    } except (BaseException, leaving) { /* the exception handler's own */
        loop_leave(handle->loop, leaving);
    } end_try
}

/* The ready queue. */

static void ready_grow(Loop *loop)
{
    unsigned capacity = loop->ready_capacity * 2;
    Object **ring = reallocate(NULL, capacity * sizeof *ring);
    for (unsigned i = 0; i < loop->ready_count; i++)
        ring[i] = loop->ready[(loop->ready_first + i) & (loop->ready_capacity - 1)];
    free(loop->ready);
    loop->ready = ring;
    loop->ready_first = 0;
    loop->ready_capacity = capacity;
}

/* The queue takes over the caller's hold on the entry. */
static inline void ready_append(Loop *loop, void *entry)
{
    if (loop->ready_count == loop->ready_capacity) ready_grow(loop);
    loop->ready[(loop->ready_first + loop->ready_count++) & (loop->ready_capacity - 1)] = entry;
}

/* The caller holds the entry from here on. */
static inline Object *ready_take(Loop *loop)
{
    Object *entry = loop->ready[loop->ready_first];
    loop->ready_first = (loop->ready_first + 1) & (loop->ready_capacity - 1);
    loop->ready_count--;
    return entry;
}

/* This queue, too, takes over the caller's hold. `cause`, for the trace: what made it ready. */
static inline void handle_ready(Loop *loop, Handle *handle, void *cause)
{
    if (TRACING) trace_handle_ready(handle, cause);
    handle->queued = true;
    ready_append(loop, handle);
}

static void loop_check_thread(Loop *loop)
{
    if (loop->debug && here.loop != loop && loop->running)
        throw(RuntimeError, "Non-thread-safe operation invoked on an event loop other than the current one");
}

static void loop_check_usable(Loop *loop)
{
    if (loop->closed) throw(RuntimeError, "Event loop is closed");
    loop_check_thread(loop);
}

/* What was called from elsewhere before comes first. */
static inline void inbox_first(Loop *loop)
{
    if (__atomic_load_n(&loop->woken, __ATOMIC_ACQUIRE)) loop_empty_inbox(loop);
}

Handle *loop_call_soon_(Loop *loop, Callback fn, CallOptions options)
{
    loop_check_usable(loop);
    if (!fn) throw(TypeError, "a callable object was expected by call_soon(), got NULL");
    inbox_first(loop);
    Handle *handle = pooled(handle_to_call(loop, fn, options));
    handle_ready(loop, retain(handle), NULL);
    return handle;
}

/* Timers: a binary heap by time, moved through exactly as Python's heapq does, so that equal times come out in the
 * same order. Sift down to a leaf, always to the smaller child, then back up: this takes fewer comparisons than to
 * stop on the way. */

static void timers_sift_up(Timer *heap, int position)
{
    Timer timer = heap[position];
    for (int parent; position > 0 && timer.when < heap[parent = (position - 1) / 2].when; position = parent)
        heap[position] = heap[parent];
    heap[position] = timer;
}

static void timers_sift_down(Timer *heap, int count, int position)
{
    int start = position, child;
    Timer timer = heap[position];
    while ((child = 2 * position + 1) < count) {
        if (child + 1 < count && !(heap[child].when < heap[child + 1].when)) child++;
        heap[position] = heap[child];
        position = child;
    }
    heap[position] = timer;
    for (int parent; position > start && timer.when < heap[parent = (position - 1) / 2].when; position = parent) {
        heap[position] = heap[parent];
        heap[parent] = timer;
    }
}

static void timers_push(Loop *loop, Handle *handle)
{
    if (loop->timer_count == loop->timer_capacity) {
        int capacity = loop->timer_capacity ? loop->timer_capacity * 2 : 16;
        loop->timers = reallocate(loop->timers, capacity * sizeof *loop->timers);
        loop->timer_capacity = capacity;
    }
    loop->timers[loop->timer_count] = (Timer){handle->when, retain(handle)};
    handle->armed = true;
    timers_sift_up(loop->timers, loop->timer_count++);
}

static Handle *timers_pop(Loop *loop)
{
    Handle *handle = loop->timers[0].handle;
    handle->armed = false;
    loop->timers[0] = loop->timers[--loop->timer_count];
    if (loop->timer_count) timers_sift_down(loop->timers, loop->timer_count, 0);
    return handle;
}

static void timers_rebuild(Loop *loop)
{
    int kept = 0;
    for (int i = 0; i < loop->timer_count; i++) {
        Handle *handle = loop->timers[i].handle;
        if (!handle->cancelled) {
            loop->timers[kept++] = loop->timers[i];
            continue;
        }
        handle->armed = false;
        release(handle);
    }
    loop->timer_count = kept;
    loop->timers_cancelled = 0;
    for (int i = kept / 2 - 1; i >= 0; i--) timers_sift_down(loop->timers, kept, i);
}

/* Cancelled timers leave when they come to the top, or all at once when they are more than half of over a hundred.
 * The numbers are CPython's, as the order of equal times depends on them; those that come due in one batch with a live
 * one are counted on, as there. */
static void timers_drop_cancelled(Loop *loop)
{
    if (loop->timer_count > 100 && loop->timers_cancelled * 2 > loop->timer_count) {
        timers_rebuild(loop);
        return;
    }
    while (loop->timer_count && loop->timers[0].handle->cancelled) {
        loop->timers_cancelled--;
        release(timers_pop(loop));
    }
}

Handle *loop_call_at_(Loop *loop, double when, Callback fn, CallOptions options)
{
    loop_check_usable(loop);
    if (!fn) throw(TypeError, "a callable object was expected by call_at(), got NULL");
    if (isnan(when)) throw(ValueError, "the time of a timer must not be NaN");
    Handle *handle = pooled(handle_to_call(loop, fn, options));
    handle->is_timer = true;
    handle->when = when;
    timers_push(loop, handle);
    TRACE("timer.arm", 'i', "timer:o when:t delay:d what:s task:i", handle, when, when - loop_time(loop),
          handle->name, trace_task());
    return handle;
}

Handle *loop_call_later_(Loop *loop, double delay, Callback fn, CallOptions options)
{
    if (isnan(delay)) throw(ValueError, "delay must not be NaN");
    Handle *handle = loop_call_at_(loop, loop_time(loop) + delay, fn, options);
    handle->delay = delay;
    return handle;
}

/* The clock, which stands still while a viewer of the trace thinks. A virtual one moves only when the loop would
 * sleep. A look at it costs as much as two thirds of a switch: who needs the time twice in one round looks once. */

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - trace_stood_still;
}

static const double clock_resolution = 1e-9;

double loop_time(Loop *loop) { return loop->virtual ? loop->virtual_now : monotonic(); }

static double loop_look(Loop *loop)
{
    loop->looked_at = loop->tick;
    return loop->looked = loop_time(loop);
}

static double loop_last_look(Loop *loop) { return loop->looked_at == loop->tick ? loop->looked : loop_look(loop); }

void loop_set_virtual_clock(Loop *loop, bool on)
{
    if (on && !loop->virtual) {
        loop->virtual_now = ceil(monotonic());               /* a whole number: sums of quarters stay exact */
        if (!trace_loops++) trace_began = loop->virtual_now; /* so that a trace of virtual time begins at 0 */
    }
    loop->virtual = on;
}

/* Descriptors. The sets are our own arrays of bits: fd_set and FD_SET end at 1,024, select() itself does not. */

enum { FOR_READING, FOR_WRITING, WORD_BITS = 8 * sizeof(unsigned long) };

static void set_grow(unsigned long **set, size_t old, size_t words)
{
    *set = reallocate(*set, words * sizeof(long));
    memset(*set + old, 0, (words - old) * sizeof(long));
}

static void watches_grow(Loop *loop, int fd)
{
    int capacity = (fd / WORD_BITS + 1) * 2 * WORD_BITS;
    loop->watches = reallocate(loop->watches, capacity * sizeof *loop->watches);
    memset(loop->watches + loop->watch_capacity, 0, (capacity - loop->watch_capacity) * sizeof *loop->watches);
    size_t old = loop->watch_capacity / WORD_BITS, words = capacity / WORD_BITS;
    for (int direction = FOR_READING; direction <= FOR_WRITING; direction++) {
        set_grow(&loop->interest[direction], old, words);
        set_grow(&loop->happened[direction], old, words);
    }
    set_grow(&loop->hot, old, words);
    set_grow(&loop->active, old, words);
    loop->watch_capacity = capacity;
}

static bool bit_get(const unsigned long *set, int fd) { return set[fd / WORD_BITS] >> (fd % WORD_BITS) & 1; }

static void bit_set(unsigned long *set, int fd, bool on)
{
    unsigned long bit = 1UL << (fd % WORD_BITS);
    if (on) set[fd / WORD_BITS] |= bit;
    else set[fd / WORD_BITS] &= ~bit;
}

/* Where the handle is that a descriptor's readiness calls. */
static Handle **watch_place(Loop *loop, int fd, int direction)
{
    return direction == FOR_READING ? &loop->watches[fd].reader : &loop->watches[fd].writer;
}

static bool unwatch(Loop *loop, int fd, int direction)
{
    if (fd < 0 || fd >= loop->watch_capacity) return false;
    Handle **place = watch_place(loop, fd, direction);
    if (!*place) return false;
    TRACE(direction == FOR_READING ? "reader.remove" : "writer.remove", 'i', "fd:i what:s of:i", fd, (*place)->name,
          trace_subject(*place));
    handle_cancel(*place);
    release(*place);
    *place = NULL;
    bit_set(loop->interest[direction], fd, false);
    loop->watch_count--;
    while (loop->highest >= 0 && !loop->watches[loop->highest].reader && !loop->watches[loop->highest].writer)
        loop->highest--;
    return true;
}

static void check_descriptor(int fd)
{
    if (fd < 0) throw(ValueError, "Invalid file descriptor: %d", fd);
}

static void watch(Loop *loop, int fd, int direction, Callback fn, CallOptions options)
{
    loop_check_usable(loop);
    check_descriptor(fd);
    if (!fn)
        throw(TypeError, "a callable object was expected by add_%s(), got NULL",
              direction == FOR_READING ? "reader" : "writer");
    if (fcntl(fd, F_GETFD) < 0) throw_errno(NULL);
    if (fd >= loop->watch_capacity) watches_grow(loop, fd);
    unwatch(loop, fd, direction);
    Handle *handle = handle_to_call(loop, fn, options);
    *watch_place(loop, fd, direction) = handle;
    bit_set(loop->interest[direction], fd, true);
    bit_set(loop->hot, fd, true);
    loop->quiet_polls = 0;
    loop->watch_count++;
    if (fd > loop->highest) loop->highest = fd;
    TRACE(direction == FOR_READING ? "reader.add" : "writer.add", 'i', "fd:i what:s of:i", fd, options.name,
          trace_subject(handle));
}

/* The program's own readers and writers. A descriptor that a transport owns is not the program's. */

static void program_watch(Loop *loop, int fd, int direction, Callback fn, CallOptions options)
{
    check_no_transport(loop, fd);
    watch(loop, fd, direction, fn, options);
}

static bool program_unwatch(Loop *loop, int fd, int direction)
{
    check_no_transport(loop, fd);
    if (loop_is_closed(loop)) return false;
    check_descriptor(fd);
    return unwatch(loop, fd, direction);
}

void loop_add_reader_(Loop *loop, int fd, Callback fn, CallOptions options)
{
    program_watch(loop, fd, FOR_READING, fn, options);
}
void loop_add_writer_(Loop *loop, int fd, Callback fn, CallOptions options)
{
    program_watch(loop, fd, FOR_WRITING, fn, options);
}
bool loop_remove_reader(Loop *loop, int fd) { return program_unwatch(loop, fd, FOR_READING); }
bool loop_remove_writer(Loop *loop, int fd) { return program_unwatch(loop, fd, FOR_WRITING); }

/* Other threads hand their callbacks to the inbox and write a byte to the self-pipe, which select() always watches.
 * A full pipe is no harm: a wake-up is on its way already. */

static void loop_wake(Loop *loop)
{
    __atomic_store_n(&loop->woken, true, __ATOMIC_RELEASE);
    while (write(loop->wake_pipe[1], "!", 1) < 0 && errno == EINTR) {}
}

Handle *loop_call_soon_threadsafe_(Loop *loop, Callback fn, CallOptions options)
{
    if (!fn) throw(TypeError, "a callable object was expected by call_soon_threadsafe(), got NULL");
    if (here.loop == loop) return loop_call_soon_(loop, fn, options);
    Handle *handle = pooled(handle_to_call(loop, fn, options));
    pthread_mutex_lock(&loop->inbox_lock);
    if (loop->closed) {
        pthread_mutex_unlock(&loop->inbox_lock);
        throw(RuntimeError, "Event loop is closed");
    }
    if (loop->inbox_count == loop->inbox_capacity) {
        loop->inbox_capacity = loop->inbox_capacity ? loop->inbox_capacity * 2 : 16;
        loop->inbox = reallocate(loop->inbox, loop->inbox_capacity * sizeof *loop->inbox);
    }
    loop->inbox[loop->inbox_count++] = retain(handle);
    loop_wake(loop);
    pthread_mutex_unlock(&loop->inbox_lock);
    return handle;
}

static void loop_empty_inbox(Loop *loop)
{
    char bytes[64];
    while (read(loop->wake_pipe[0], bytes, sizeof bytes) == sizeof bytes) {}
    __atomic_store_n(&loop->woken, false, __ATOMIC_RELEASE);
    pthread_mutex_lock(&loop->inbox_lock);
    for (int i = 0; i < loop->inbox_count; i++) handle_ready(loop, loop->inbox[i], NULL);
    loop->inbox_count = 0;
    pthread_mutex_unlock(&loop->inbox_lock);
}

/* Waiting. */

/* How long the loop may sleep: not at all, to the next timer, or for ever (infinity). */
static double loop_patience(Loop *loop)
{
    if (loop->ready_count || loop->stopping || loop->leaving) return 0;
    if (!loop->timer_count) return INFINITY;
    double left = loop->timers[0].when - loop_time(loop);
    return left > 0 ? left : 0;
}

/* Can anything outside this thread still wake the loop? */
static bool loop_expects_outside(Loop *loop) { return loop->watch_count || loop->outside || program_has_threads(); }

/* Polling. select() costs some 0.1 us for each descriptor that it is asked about. That is little if many of them are
 * ready, and a lot if 50 of 5,000 are. So every poll asks about those that are *hot*: that are new, or were ready
 * lately. Only full polls ask about the others, the cold ones, too. A full poll comes when eight times as long has
 * passed as the last one took. Until then a loop that has nothing to do sleeps with the hot ones alone, and if none
 * was ready from one full poll to the next, with all. So a cold descriptor waits no longer than a microsecond for
 * each one that is registered, however busy the hot ones are.
 *
 * In rounds that have callbacks to run anyway, polls that find nothing are rationed in the same way, but for the
 * first 16 in a row: so a program that writes into its own pipe sees the order that CPython has.
 *
 * How long a poll takes is computed, not measured: a clock would count the time that other programs had, too. */

enum {
    FEW = 64,         /* descriptors, up to which every poll asks about all */
    QUIET_POLLS = 16, /* in a row, that are not rationed */
    FULL_POLLS = 16,  /* until the hot ones are chosen anew */
};

/* How long until a poll like the last one may come again. */
static double poll_rest(Loop *loop) { return 8 * (0.5e-6 + 0.1e-6 * loop->asked); }

static struct timeval timeval_of(double seconds)
{
    double left = fmin(seconds, 24 * 3600.0);
    long microseconds = (long)ceil(left * 1e6);
    return (struct timeval){.tv_sec = microseconds / 1000000, .tv_usec = microseconds % 1000000};
}

/* One select(), about the hot descriptors or all, and always about the self-pipe: how many are ready. */
static int sets_ask(Loop *loop, bool all, double patience)
{
    int pipe = loop->wake_pipe[0], control = trace_control_fd(), top = loop->highest;
    if (pipe > top) top = pipe;
    if (control > top) top = control;
    if (top >= loop->watch_capacity) watches_grow(loop, top);
    unsigned long **asked = loop->happened;
    loop->asked = 0;
    for (int word = 0; word <= top / WORD_BITS; word++) {
        unsigned long among = all ? ~0UL : loop->hot[word];
        asked[FOR_READING][word] = loop->interest[FOR_READING][word] & among;
        asked[FOR_WRITING][word] = loop->interest[FOR_WRITING][word] & among;
        unsigned long either = asked[FOR_READING][word] | asked[FOR_WRITING][word];
        if (either) loop->asked += __builtin_popcountl(either);
    }
    bit_set(asked[FOR_READING], pipe, true);
    if (control >= 0) bit_set(asked[FOR_READING], control, true);
    struct timeval wait = timeval_of(patience);
    return select(top + 1, (fd_set *)asked[FOR_READING], (fd_set *)asked[FOR_WRITING], NULL, &wait);
}

/* Those that were not ready since the last choice turn cold. */
static void sets_choose_hot(Loop *loop)
{
    size_t size = loop->watch_capacity / WORD_BITS * sizeof(long);
    loop->full_polls = 0;
    memcpy(loop->hot, loop->active, size);
    memset(loop->active, 0, size);
}

/* A full poll, and if nothing at all has happened since the one before, a sleep till `end`: to prepare to sleep costs
 * select() much more than a look. */
static int sets_ask_all(Loop *loop, double end)
{
    if (++loop->full_polls > FULL_POLLS) sets_choose_hot(loop);
    int count = sets_ask(loop, true, 0);
    double now = loop_time(loop);
    if (!count && loop->silent && now < end) {
        count = sets_ask(loop, true, end - now);
        now = loop_time(loop);
    }
    loop->silent = !count;
    loop->next_full = now + poll_rest(loop);
    return count;
}

/* Asks about the hot ones, and sleeps with them until it is time for all. */
static int sets_ask_in_turn(Loop *loop, double patience)
{
    double now = loop_time(loop), end = now + patience;
    if (now >= loop->next_full) return sets_ask_all(loop, end);
    int count = sets_ask(loop, false, 0);
    if (!count && patience > 0) count = sets_ask(loop, false, fmin(end, loop->next_full) - now);
    if (count) loop->silent = false;
    return count;
}

/* Every bit that select() left is a callback to run. */
static void sets_take(Loop *loop)
{
    for (int word = 0; word <= loop->highest / WORD_BITS; word++) {
        unsigned long reading = loop->happened[FOR_READING][word], writing = loop->happened[FOR_WRITING][word];
        loop->hot[word] |= reading | writing;
        loop->active[word] |= reading | writing;
        for (unsigned long left = reading | writing; left; left &= left - 1) {
            int bit = __builtin_ctzl(left);
            Watch *watch = &loop->watches[word * WORD_BITS + bit];
            if (reading >> bit & 1 && watch->reader) handle_ready(loop, retain(watch->reader), NULL);
            if (writing >> bit & 1 && watch->writer) handle_ready(loop, retain(watch->writer), NULL);
        }
    }
}

/* A traced loop asks about all, so that what the trace says is simple, and heeds the tracer meanwhile. */
static int sets_ask_traced(Loop *loop, double patience)
{
    for (;;) {
        int count = sets_ask(loop, true, patience), control = trace_control_fd();
        if (count <= 0 || control < 0 || !bit_get(loop->happened[FOR_READING], control)) return count;
        bit_set(loop->happened[FOR_READING], control, false);
        trace_heed_control();
        if (count > 1) return count - 1;
        patience = loop_patience(loop);
    }
}

static int sets_poll(Loop *loop, double patience)
{
    if (TRACING) return sets_ask_traced(loop, patience);
    if (loop->watch_count > FEW && !loop->virtual) return sets_ask_in_turn(loop, patience);
    return sets_ask(loop, true, patience);
}

/* A descriptor that the program has closed while the loop watched it, or -1. */
static int find_closed(Loop *loop)
{
    for (int fd = 0; fd <= loop->highest; fd++) {
        bool watched = bit_get(loop->interest[FOR_READING], fd) || bit_get(loop->interest[FOR_WRITING], fd);
        if (watched && fcntl(fd, F_GETFD) < 0) return fd;
    }
    return -1;
}

COLD static Value select_error(Loop *loop)
{
    int error = errno, closed = find_closed(loop);
    Value text = closed < 0 ? format("select() on %d descriptors", loop->watch_count)
                            : format("descriptor %d was closed while the loop watched it: remove its reader and writer first", closed);
    errno = error;
    return os_error(as_str(text));
}

/* Lets select() look at the descriptors, and what is ready join the queue. */
static void loop_select(Loop *loop, double patience)
{
    trace_select(loop, patience);
    int count = sets_poll(loop, patience);
    if (count < 0 && errno != EINTR) {
        loop_leave(loop, select_error(loop));
        return;
    }
    bool woken = count > 0 && bit_get(loop->happened[FOR_READING], loop->wake_pipe[0]);
    if (woken) loop_empty_inbox(loop);
    trace_selected(loop, count > 0, woken);
    loop->quiet_polls = count || patience > 0 ? 0 : loop->quiet_polls + 1;
    if (count > 0) sets_take(loop);
    else if (loop->quiet_polls > QUIET_POLLS) loop->next_poll = loop_time(loop) + poll_rest(loop);
}

/* Has it just been found that no descriptor is ready, again and again? */
static bool loop_polled_lately(Loop *loop)
{
    return loop->quiet_polls > QUIET_POLLS && !loop->virtual && !TRACING && loop_time(loop) < loop->next_poll;
}

/* What a virtual clock does instead of sleeping: unless a descriptor is ready, it is now the next timer's time. */
static void loop_skip_time(Loop *loop, double patience)
{
    if (loop->watch_count) loop_select(loop, 0);
    if (loop->ready_count) return;
    trace_select(loop, patience);
    loop->virtual_now = loop->timers[0].when;
    trace_selected(loop, false, false);
}

/* Waits as long as the loop may. Without descriptors and without time to pass there is nothing to ask the kernel. */
__attribute__((noinline)) static void loop_wait(Loop *loop)
{
    bool woken = __atomic_load_n(&loop->woken, __ATOMIC_ACQUIRE);
    double patience = loop_patience(loop);
    /* the second look at `woken`: a thread that has just ended may have left something */
    if (isinf(patience) && !loop_expects_outside(loop) && !__atomic_load_n(&loop->woken, __ATOMIC_ACQUIRE)) {
        loop_deadlock(loop);
        return;
    }
    if (loop->virtual && patience > 0 && !isinf(patience)) loop_skip_time(loop, patience);
    else if (patience > 0 || loop->watch_count) loop_select(loop, patience);
    else if (woken) loop_empty_inbox(loop);
}

/* The first comparison is for times so large that adding the resolution changes nothing. */
static void timers_due(Loop *loop)
{
    double now = loop_time(loop), end = now + clock_resolution;
    while (loop->timer_count && (loop->timers[0].when <= now || loop->timers[0].when < end)) {
        Handle *handle = timers_pop(loop);
        if (!handle->cancelled) TRACE("timer.due", 'i', "timer:o when:t", handle, handle->when);
        handle_ready(loop, handle, handle);
    }
}

/* One round, up to where the queue is run. Usually something is ready, and there is neither a timer nor a descriptor
 * to look at: then this is a few tests, and waiting is kept out of their way. */
static inline void loop_collect(Loop *loop)
{
    if (loop->interrupted) loop_interrupt(loop);
    if (loop->signalled) loop_take_signals(loop);
    if (loop->timer_count) timers_drop_cancelled(loop);
    bool looks = loop->watch_count && !loop_polled_lately(loop);
    if (!loop->ready_count || looks || __atomic_load_n(&loop->woken, __ATOMIC_ACQUIRE)) loop_wait(loop);
    if (loop->timer_count) timers_due(loop);
    loop->todo = loop->ready_count;
}

COLD static void loop_collect_traced(Loop *loop)
{
    TRACE("tick.begin", 'i', "tick:i ready:i timers:i", (int)loop->tick, loop->ready_count, loop->timer_count);
    loop_collect(loop);
    TRACE("tick.run", 'i', "count:i", loop->todo);
}

static void loop_begin_round(Loop *loop)
{
    loop->tick++;
    if (TRACING) loop_collect_traced(loop);
    else loop_collect(loop);
}

static void loop_report_slow(Loop *loop, Value what, double began)
{
    double took = loop_time(loop) - began;
    if (took < loop->slow_callback_duration) return;
    fflush(stdout);
    fputs("Executing ", stderr);
    value_write(what, true, stderr);
    fprintf(stderr, " took %.3f seconds\n", took);
}

/* Callbacks. They run as nobody's code: what one makes is dropped after it, what it raises is reported. */

COLD static void handle_begin_watched(Handle *handle)
{
    TRACE("handle.run", 'B', "handle:o what:s task:i of:i", handle, handle->name, 0, trace_subject(handle));
    if (handle->loop->debug) handle->loop->step_began = loop_time(handle->loop);
}

COLD static void handle_end_watched(Handle *handle)
{
    TRACE("handle.end", 'E', "handle:o", handle);
    if (handle->loop->debug) loop_report_slow(handle->loop, V(handle), handle->loop->step_began);
}

static inline void handle_begin(Handle *handle)
{
    here.variables = handle_variables(handle);
    if (__builtin_expect(handle->loop->watched, 0)) handle_begin_watched(handle);
}

static inline void handle_end(Handle *handle, Variables **outer)
{
    here.variables = outer;
    pool_drop(here.stack, 0);
    if (__builtin_expect(handle->loop->watched, 0)) handle_end_watched(handle);
    release(handle);
}

static inline bool loop_task_is_next(const Loop *loop) { return loop->ready[loop->ready_first]->class == &task_class; }

/* The next callback of this round, or NULL if a task's turn comes first. */
static inline Handle *loop_take_handle(Loop *loop)
{
    while (loop->todo && !loop->leaving && !loop_task_is_next(loop)) {
        Handle *handle = (Handle *)ready_take(loop);
        loop->todo--;
        handle->queued = false;
        if (!handle->cancelled) return handle;
        release(handle);
    }
    return NULL;
}

/* One try serves all callbacks up to the next task, or until one of them fails. */
static void loop_run_handles(Loop *loop)
{
    Variables **outer = here.variables;
    try {
        while ((loop->handle = loop_take_handle(loop))) {
            handle_begin(loop->handle);
            handle_call(loop->handle);
            handle_end(loop->handle, outer);
        }
    } except (BaseException, e) {
        handle_failed(loop->handle, e);
    } end_try
    if (loop->handle) handle_end(loop->handle, outer);
}

/* The task whose step has just ended is the loop's no longer. */
static void loop_end_step(Loop *loop)
{
    Task *task = loop->current;
    if (!task) return;
    if (loop->debug) loop_report_slow(loop, V(task), loop->step_began);
    loop->current = NULL;
    release(task);
}

/* The loop itself. Runs callbacks until somebody else must have the processor, and says whose stack that is: a
 * task's whose turn has come, or home, when the loop is to end. It runs on the stack of the task that has nothing
 * to do: `idle` is that stack if its task is done, so that the next new task can begin right there. */
static Stack *loop_next(Loop *loop, Stack *idle)
{
    loop_end_step(loop);
    for (;;) {
        if (loop->leaving) return loop->home;
        if (!loop->todo) {
            if (loop->stopping) return loop->home;
            loop_begin_round(loop);
            continue;
        }
        if (loop_task_is_next(loop)) {
            loop->todo--;
            return task_take_turn(loop, (Task *)ready_take(loop), idle);
        }
        loop_run_handles(loop);
    }
}

/* Running. */

static bool debug_by_default(void)
{
    const char *value = getenv("ASYNCIO_DEBUG");
    return value && *value && strcmp(value, "0");
}

static bool virtual_by_default(void)
{
    const char *clock = getenv("ASYNCIO_CLOCK");
    if (!clock || !*clock || !strcmp(clock, "real")) return false;
    if (!strcmp(clock, "virtual")) return true;
    fprintf(stderr, "asyncio: ASYNCIO_CLOCK=%s is ignored: it may be `virtual` or `real`\n", clock);
    return false;
}

/* Where a program has no stdin, stdout or stderr, the next descriptor would take its place, and what print() writes would go
 * to whoever is at its other end. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        int nothing = open("/dev/null", O_RDWR);
        if (nothing > STDERR_FILENO) close(nothing);
    }
}

Loop *asyncio_new_event_loop(void)
{
    static long loop_numbers;
    fill_standard_descriptors();
    Loop *loop = object_new(&loop_class, sizeof *loop);
    loop->number = __atomic_add_fetch(&loop_numbers, 1, __ATOMIC_RELAXED);
    if (pipe2(loop->wake_pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
        loop->closed = true;
        release(loop);
        throw_errno("cannot make the loop's self-pipe");
    }
    loop->ready_capacity = 64;
    loop->ready = reallocate(NULL, loop->ready_capacity * sizeof *loop->ready);
    loop->highest = -1;
    loop->slow_callback_duration = 0.1;
    loop->debug = debug_by_default();
    loop->watched = loop->debug || TRACING;
    pthread_mutex_init(&loop->inbox_lock, NULL);
    pool_init(&loop->own);
    loop->own.entered = true;
    loop_set_virtual_clock(loop, virtual_by_default());
    return pooled(loop);
}

static void loop_repr(void *object, FILE *out)
{
    Loop *loop = object;
    fprintf(out, "<EventLoop running=%s closed=%s debug=%s>", loop->running ? "True" : "False",
            loop->closed ? "True" : "False", loop->debug ? "True" : "False");
}

static void loop_destroy(void *object)
{
    Loop *loop = object;
    if (here.set_loop == loop) here.set_loop = NULL;
    if (!loop->closed) loop_close(loop);
    free(loop->ready);
    free(loop->timers);
    free(loop->watches);
    for (int i = 0; i < 2; i++) {
        free(loop->interest[i]);
        free(loop->happened[i]);
    }
    free(loop->hot);
    free(loop->active);
    free(loop->inbox);
    pool_free(&loop->own);
    release(loop->executor);
    pthread_mutex_destroy(&loop->inbox_lock);
}

static void loop_check_may_run(Loop *loop)
{
    if (loop->closed) throw(RuntimeError, "Event loop is closed");
    if (loop->running) throw(RuntimeError, "This event loop is already running");
    if (here.loop) throw(RuntimeError, "Cannot run the event loop while another loop is running");
}

void loop_run_forever(Loop *loop)
{
    loop_check_may_run(loop);
    loop->running = true;
    loop->thread = pthread_self();
    loop->home = this_stack();
    here.loop = loop;
    TRACE("loop.start", 'i', "loop:o", loop);
    loop->todo = loop->quiet_polls = 0;
    here.stack = &loop->own;
    loop_begin_round(loop);
    here.stack = loop->home;
    stack_park(loop);
    TRACE("loop.stop", 'i', "loop:o", loop);
    here.loop = NULL;
    loop->running = loop->stopping = false;
    if (loop->leaving) {
        Exc *x = loop->leaving;
        loop->leaving = NULL;
        exception_fly(x);
    }
}

static void run_until_complete_done(Future *future, Value arg)
{
    (void)arg;
    if (!future_cancelled(future) && leaves_loop(future_exception(future))) return; /* run_forever ends by it */
    loop_stop(future_get_loop(future));
}

Value loop_run_until_complete_(Loop *loop, Object *awaitable, const Site *site)
{
    bool made_here = awaitable->class == &coroutine_class;
    if (made_here && (loop->closed || loop->running || here.loop)) coroutine_close((Coroutine *)awaitable);
    loop_check_may_run(loop);
    Future *future = asyncio_ensure_future_(awaitable, (TaskOptions){.loop = loop}, site);
    if (made_here) future->quiet = true;
    future_add_done_callback(future, run_until_complete_done);
    try {
        loop_run_forever(loop);
    } except (BaseException) {
        if (made_here && future_failed(future)) future_exception(future); /* the caller learns of it anyway */
        future_remove_done_callback(future, run_until_complete_done);
        rethrow;
    } end_try
    future_remove_done_callback(future, run_until_complete_done);
    if (!future_done(future)) throw(RuntimeError, "Event loop stopped before Future completed.");
    return future_result(future);
}

void loop_stop(Loop *loop) { loop->stopping = true; }
bool loop_is_running(Loop *loop) { return loop->running; }
bool loop_is_closed(Loop *loop) { return loop->closed; }

void loop_close(Loop *loop)
{
    if (loop->running) throw(RuntimeError, "Cannot close a running event loop");
    if (loop->closed) return;
    loop_abandon_tasks(loop);
    value_replace(&loop->legacy, None);
    loop_end_children(loop);
    loop_drop_transports(loop);
    loop_end_watching(loop);
    loop_remove_signal_handlers(loop);
    if (loop->executor) executor_shutdown(loop->executor, .wait = false);
    pthread_mutex_lock(&loop->inbox_lock);
    loop->closed = true;
    pthread_mutex_unlock(&loop->inbox_lock);
    while (loop->ready_count) release(ready_take(loop));
    while (loop->timer_count) release(timers_pop(loop));
    for (int fd = 0; fd <= loop->highest; fd++) {
        unwatch(loop, fd, FOR_READING);
        unwatch(loop, fd, FOR_WRITING);
    }
    for (int i = 0; i < loop->inbox_count; i++) release(loop->inbox[i]);
    loop->inbox_count = 0;
    pool_drop(&loop->own, 0);
    while (loop->generators) generator_delist(loop->generators);
    close(loop->wake_pipe[0]);
    close(loop->wake_pipe[1]);
}

Loop *asyncio_get_running_loop(void)
{
    if (!here.loop) throw(RuntimeError, "no running event loop");
    return here.loop;
}

static bool is_main_thread(void) { return getpid() == (pid_t)syscall(SYS_gettid); }

Loop *asyncio_get_event_loop(void)
{
    Loop *loop = here.loop ? here.loop : here.set_loop;
    if (!loop) throw(RuntimeError, "There is no current event loop in %s", is_main_thread() ? "thread 'MainThread'." : "this thread");
    return loop;
}

void asyncio_set_event_loop(Loop *loop)
{
    retain(loop);
    release(here.set_loop);
    here.set_loop = loop;
}

/* Reports. */

void loop_set_debug(Loop *loop, bool on)
{
    loop->debug = on;
    loop->watched = on || TRACING;
    loop->step_began = loop_time(loop); /* of the step that is running, as far as one can know */
}

bool loop_get_debug(Loop *loop) { return loop->debug; }
void loop_set_slow_callback_duration(Loop *loop, double seconds) { loop->slow_callback_duration = seconds; }
void loop_set_exception_handler(Loop *loop, ExceptionHandler handler) { loop->exception_handler = handler; }
ExceptionHandler loop_get_exception_handler(Loop *loop) { return loop->exception_handler; }

static void write_reported(const char *key, const void *object)
{
    if (!object) return;
    fprintf(stderr, "%s: ", key);
    value_write(V((Object *)object), true, stderr);
    fputc('\n', stderr);
}

void loop_default_exception_handler(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    fflush(stdout);
    fprintf(stderr, "%s\n", report->message ? report->message : "Unhandled exception in event loop");
    write_reported("asyncgen", report->asyncgen);
    write_reported("future", report->future);
    write_reported("handle", report->handle);
    write_reported("task", report->task);
    if (is_exception(report->exception)) exception_print(report->exception, stderr);
    fflush(stderr);
}

/* The context of the task that failed; of anything else, the one in force. */
static Variables **report_variables(const ExceptionReport *report)
{
    const void *failed = report->task ? (void *)report->task : (void *)report->future;
    return failed && ((Object *)failed)->class == &task_class ? task_variables((Task *)failed) : here.variables;
}

void loop_call_exception_handler(Loop *loop, const ExceptionReport *report)
{
    TRACE("exception.report", 'i', "message:s exception:v", report->message, report->exception);
    if (!loop->exception_handler) {
        loop_default_exception_handler(loop, report);
        return;
    }
    Variables **outer = this_variables();
    here.variables = report_variables(report);
    try {
        loop->exception_handler(loop, report);
    } except (BaseException, e) {
        here.variables = variables_place(outer);
        if (leaves_loop(e)) rethrow;
        ExceptionReport error = {.message = "Unhandled error in exception handler", .exception = e};
        loop_default_exception_handler(loop, &error);
    } end_try
    here.variables = variables_place(outer);
}

/* ---- [stacks] Many stacks -----------------------------------------------------------------------------------------
 *
 * A coroutine that suspends must keep its place: where it is in its body, and all its callers up to the task.
 * Python keeps that in frame objects. C keeps it on the stack, so each task gets a stack of its own, and to suspend
 * is to go on using another.
 *
 * setjmp() writes down the processor's registers, the stack pointer among them; longjmp() loads them again. That is
 * all a switch takes, as long as the stack is there: stack_switch() below. A new stack has no registers to load
 * yet, so it is entered once by makecontext() and setcontext(): the one mechanism that works under valgrind and
 * every sanitizer. musl has none; there this file needs libucontext.
 *
 * A stack whose task is done waits in a list, its bottom function ready to run the next task: no stack is made
 * twice. 64 of them are mapped at a time. Only pages that are touched cost memory, a sleeping task one: the Stack
 * itself lies at the top of its memory. The lowest page is a guard: running into it is a stack overflow, and is
 * told as one.
 *
 * Whoever has nothing to do runs the loop, on his own stack, until somebody else must go on, and then switches
 * straight to that one. A scheduler with a stack of its own would cost a second switch each time.
 */

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#define __tsan_get_current_fiber() NULL
#define __tsan_create_fiber(flags) NULL
#define __tsan_switch_to_fiber(fiber, flags) ((void)0)
#define __tsan_destroy_fiber(fiber) ((void)0)
#endif

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#define __sanitizer_start_switch_fiber(save, low, size) ((void)0)
#define __sanitizer_finish_switch_fiber(save, low, size) ((void)0)
#endif

enum { STACKS_PER_SLAB = 64, STAGGERS = 16, GUARDS_BY_MPROTECT = 30000, MADV_GUARD = 102 };

static size_t stack_size = UNDER_ASAN || UNDER_TSAN ? 256 * 1024 : 64 * 1024;

void asyncio_set_stack_size(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), least = 4 * page, most = PTRDIFF_MAX / STACKS_PER_SLAB / page * page;
    if (bytes < least) throw(ValueError, "a stack needs at least %zu bytes, not %zu", least, bytes);
    if (bytes > most) throw(ValueError, "a stack may have at most %zu bytes, not %zu", most, bytes);
    stack_size = (bytes + page - 1) / page * page;
}

static void stack_size_begin(void)
{
    const char *text = getenv("ASYNCIO_STACK_SIZE");
    if (!text || !*text) return;
    try {
        asyncio_set_stack_size((size_t)fmin(fmax(0, atof(text)), 0x1p63));
    } except (ValueError, e) {
        fprintf(stderr, "asyncio: ASYNCIO_STACK_SIZE=%s is ignored: %s\n", text, as_str(str(e)));
    } end_try
}

/* Makes the page at `low` one that nobody can touch. Newer kernels do it in place; by mprotect each guard splits
 * the mapping, and the kernel allows some 65,000 mappings, so there is an end to it. */
static void stack_guard(char *low, size_t page)
{
    static long guards;
    static bool told;
    if (madvise(low, page, MADV_GUARD) == 0) return;
    if (count(&guards, 1) <= GUARDS_BY_MPROTECT && mprotect(low, page, PROT_NONE) == 0) return;
    long guarded = count(&guards, -1);
    if (__atomic_exchange_n(&told, true, __ATOMIC_RELAXED)) return;
    fprintf(stderr, "asyncio: more than %ld tasks at once: further stacks have no guard page, ", guarded);
    fputs("an overflow there goes unnoticed\n", stderr);
}

/* Where a task's stack begins differs by some cache lines from its neighbours', else a thousand tasks would share a
 * few of them. */
static void stacks_map(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), total = stack_size * STACKS_PER_SLAB;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    char *slab = allocation_fails() ? MAP_FAILED : mmap(NULL, total, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (slab == MAP_FAILED) out_of_memory(total);
    madvise(slab, total, MADV_NOHUGEPAGE);
    for (int i = STACKS_PER_SLAB - 1; i >= 0; i--) {
        char *low = slab + i * stack_size, *top = low + stack_size - (i % STAGGERS) * 64;
        Stack *stack = (Stack *)((uintptr_t)(top - sizeof(Stack)) & ~(uintptr_t)63);
        stack_guard(low, page);
        stack->low = low;
        stack->size = (size_t)((char *)stack - low);
        stack->slot = stack_size;
        pool_init(stack);
        VALGRIND_STACK_REGISTER(low, stack);
        stack->next = here.free_stacks;
        here.free_stacks = stack;
    }
}

/* A thread that ends leaves its free stacks to the next one that needs some. Their bottom function knew the old
 * thread, so they are entered anew. */

static Stack *left_stacks;
static pthread_mutex_t left_stacks_lock = PTHREAD_MUTEX_INITIALIZER;

static void stacks_leave(void)
{
    pthread_mutex_lock(&left_stacks_lock);
    for (Stack *stack; (stack = here.free_stacks);) {
        here.free_stacks = stack->next;
        if (stack->entered) __tsan_destroy_fiber(stack->sanitizer);
        stack->entered = false;
        stack->next = left_stacks;
        left_stacks = stack;
    }
    pthread_mutex_unlock(&left_stacks_lock);
}

/* Not all that are left: the next thread would find none, and make more. */
static void stacks_inherit(void)
{
    pthread_mutex_lock(&left_stacks_lock);
    for (int i = 0; i < STACKS_PER_SLAB && left_stacks; i++) {
        Stack *stack = left_stacks;
        left_stacks = stack->next;
        stack->next = here.free_stacks;
        here.free_stacks = stack;
    }
    pthread_mutex_unlock(&left_stacks_lock);
}

static void stack_overflow_watch(void);

/* No new task is to run on a stack of a size that is no longer wanted. */
static inline bool stack_is_outdated(const Stack *stack) { return stack->slot != stack_size; }

COLD static void stacks_fetch(void)
{
    while (here.free_stacks && stack_is_outdated(here.free_stacks)) here.free_stacks = here.free_stacks->next;
    if (here.free_stacks) return;
    stack_overflow_watch();
    stacks_inherit();
    if (!here.free_stacks) stacks_map();
}

static Stack *stack_take(void)
{
    while (!here.free_stacks || stack_is_outdated(here.free_stacks)) stacks_fetch();
    Stack *stack = here.free_stacks;
    here.free_stacks = stack->next;
    return stack;
}

static void stack_main(void);

__attribute__((no_sanitize_address)) static _Noreturn void stack_enter_first(Stack *stack)
{
    ucontext_t context;
    getcontext(&context);
    context.uc_stack = (stack_t){.ss_sp = stack->low, .ss_size = stack->size};
    context.uc_link = NULL;
    makecontext(&context, stack_main, 0);
    setcontext(&context);
    abort();
}

/* On x86-64 these are the compiler's own setjmp and longjmp, on other machines the library's. The difference is not
 * so much that they write three words instead of eight encrypted ones, but that they are no calls. A processor
 * predicts each return from the calls that it remembers; a call of longjmp() never returns, so from then on every
 * return is predicted wrongly: five of them after each switch, 7 ns each, and a switch takes 70 ns instead of 32. */
#ifdef __x86_64__
#define REGISTERS_SAVE(registers) __builtin_setjmp((void **)(registers))
#define REGISTERS_LOAD(registers) __builtin_longjmp((void **)(registers), 1)
#else
#define REGISTERS_SAVE(registers) _setjmp(registers)
#define REGISTERS_LOAD(registers) _longjmp(registers, 1)
#endif

/* Leaves `from`, goes on with `to`; returns when somebody switches back to `from`. Kept by itself: a compiler that
 * sees a setjmp and a loop around it in one function may move the loop's counter across it. */
__attribute__((noinline)) static void stack_switch(Stack *from, Stack *to)
{
    Stack *ground = here.ground;
    from->low = ground->low; /* `own` of a loop lies on whatever stack the loop runs on */
    from->size = ground->size;
    here.stack = here.ground = to;
    __sanitizer_start_switch_fiber(&from->sanitizer, to->low, to->size);
    if (UNDER_TSAN) from->sanitizer = __tsan_get_current_fiber();
    if (UNDER_TSAN && !to->entered) to->sanitizer = __tsan_create_fiber(0);
    if (!REGISTERS_SAVE(from->registers)) {
        __tsan_switch_to_fiber(to->sanitizer, 0);
        if (!to->entered) {
            to->entered = true;
            stack_enter_first(to);
        }
        REGISTERS_LOAD(to->registers);
    }
    here.ground = ground;
    __sanitizer_finish_switch_fiber(from->sanitizer, NULL, NULL);
}

/* The running stack has nothing to do: from here the loop runs, until this stack is to go on. */
static void stack_park(Loop *loop)
{
    Stack *me = here.stack;
    here.stack = &loop->own;
    Stack *next = loop_next(loop, NULL);
    if (next == me) here.stack = me;
    else stack_switch(me, next);
}

/* This stack's task is done: it waits in the list until a new task needs it, unless `next` is it already. */
static void stack_hand_over(Stack *me, Stack *next)
{
    if (next == me) {
        here.stack = me;
        return;
    }
    me->next = here.free_stacks;
    here.free_stacks = me;
    stack_switch(me, next);
}

/* The bottom of every stack but the thread's first: runs tasks and generators, one after the other, for ever. One try
 * serves them all, until one of them fails: only then is it left, that one settled, and a new try entered. */
static void stack_main(void)
{
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
    Stack *me = here.stack;
    for (;;) {
        try {
            for (;;) stack_hand_over(me, me->generator ? generator_run(me) : task_run(me));
        } except (BaseException, e) {
            if (me->generator) generator_failed(me->generator, e);
            else task_failed(here.loop->current, e);
        } end_try
        stack_hand_over(me, me->generator ? generator_over(me) : task_over(me));
    }
}

/* Where a stack is: "task 'Task-1', in coroutine main_ at hello.c:12". */
static void write_place(Stack *stack, char *text, size_t size)
{
    char number[32] = "";
    Stack *at = stack;
    Coroutine *shown = NULL, *outermost = NULL;
    for (Coroutine *frame = stack->frame; frame; frame = frame_outer(&at, frame)) {
        if (!shown && frame_shows(frame)) shown = frame;
        outermost = frame;
    }
    Task *task = outermost ? outermost->task : NULL;
    if (task) snprintf(number, sizeof number, "Task-%ld", task->number);
    Site site = shown ? frame_site(shown) : (Site){"?", 0, "?"};
    snprintf(text, size, "task '%s', in coroutine %s at %s:%d", task && task->name ? task->name : number,
             shown ? shown->code->name : "?", site.file, site.line);
}

static void tell(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

/* The loop and its callbacks run on the stack of a task that has nothing to do: it may be them who fill it. */
static void stack_tell_overflow(Stack *stack)
{
    char place[512], text[1024];
    write_place(stack, place, sizeof place);
    snprintf(text, sizeof text,
             "asyncio: stack overflow in %s%s: its stack of %zu KiB is full.\n"
             "Recurse less deep, put large arrays on the heap, or set ASYNCIO_STACK_SIZE to more bytes.\n",
             here.stack == stack ? "" : "the loop or a callback, on the stack of ", place, stack_size / 1024);
    tell(text);
}

static void tell_where(const char *before, const char *after)
{
    char place[512] = "a callback", text[1024];
    if (here.stack->frame) write_place(here.stack, place, sizeof place);
    snprintf(text, sizeof text, "asyncio: %s %s%s", before, place, after);
    tell(text);
}

static void null_tell(void)
{
    tell_where("NULL was used as an object in",
               ", or soon after.\nLook there for a variable that was never set, or lost its value.\n");
}

static void pointer_tell(void)
{
    tell_where("a pointer that leads nowhere was used in",
               ", or soon after.\n"
               "Look there for a variable that was never set, an object that is gone, or a function f where a call f() is wanted.\n");
}

/* At the second Ctrl-C, by the same means. */
static void blocked_tell(void)
{
    tell_where("since the first Ctrl-C the loop has not had its turn:", ", or what was called there, does not return or await.\n");
}

/* Where the stack pointer was when the fault came, on the machines where we know its name; else NULL. */
static char *stack_pointer_at(const ucontext_t *context)
{
    (void)context;
#if defined __x86_64__
    return (char *)context->uc_mcontext.gregs[REG_RSP];
#elif defined __aarch64__
    return (char *)context->uc_mcontext.sp;
#else
    return NULL;
#endif
}

enum { PAGE = 4096 };

/* In the guard page; or beyond it, where a large array has stepped over it. */
static bool is_overflow(const Stack *stack, const char *address, const char *pointer)
{
    if (!stack->low) return false;
    return (address >= stack->low - PAGE && address < stack->low + 2 * PAGE) || (pointer && pointer < stack->low);
}

/* A fault, in the running stack's guard page, near address 0, or elsewhere: says so, by such means as a signal handler may
 * use, and dies of it. */
static void fault(int number, siginfo_t *info, void *context)
{
    char *address = info->si_addr;
    if (here.loop && is_overflow(here.ground, address, stack_pointer_at(context))) stack_tell_overflow(here.ground);
    else if (here.loop && info->si_code == SEGV_MAPERR && (uintptr_t)address < PAGE) null_tell();
    else if (here.loop) pointer_tell();
    signal(number, SIG_DFL);
    raise(number);
}

/* A full stack cannot run a handler, so each thread has another one for faults. */
static void fault_stack_begin(void)
{
    enum { SIZE = 64 * 1024 };
    stack_t old;
    if (sigaltstack(NULL, &old) < 0 || !(old.ss_flags & SS_DISABLE)) return;
    here.fault_stack = malloc(SIZE);
    if (here.fault_stack) sigaltstack(&(stack_t){.ss_sp = here.fault_stack, .ss_size = SIZE}, NULL);
}

static void fault_stack_end(void)
{
    if (here.fault_stack) sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    free(here.fault_stack);
    here.fault_stack = NULL;
}

static void stack_overflow_watch(void)
{
    static bool watching;
    struct sigaction old;
    if (UNDER_ASAN) return;
    fault_stack_begin();
    if (__atomic_exchange_n(&watching, true, __ATOMIC_RELAXED)) return;
    if (sigaction(SIGSEGV, NULL, &old) < 0 || old.sa_handler != SIG_DFL) return;
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* ---- [futures] Futures --------------------------------------------------------------------------------------------
 *
 * A Future is a result that is not there yet, and the list of who wants to know: it goes once from PENDING to
 * FINISHED or CANCELLED, and then each callback of the list is put into the ready queue, in order. None is called at
 * once: whoever completes a future goes on undisturbed. A task that awaits a future is in that list too, as itself.
 */

static void future_destroy(void *object);
static void future_repr(void *object, FILE *out);
static bool future_cancel_plain(Future *future, Value message);
static const Class future_class = {
    .name = "Future", .size = sizeof(Future), .destroy = future_destroy, .write = future_repr,
    .cancel = future_cancel_plain, .describe = future_describe};

/* A future may outlive the run of its loop, and still wants to say there that nobody read its exception: so it holds
 * the loop. */
static void future_init(Future *future, Loop *loop) { future->loop = retain(loop); }

Future *loop_create_future(Loop *loop)
{
    Future *future = pooled(object_new(&future_class, sizeof *future));
    future_init(future, loop);
    TRACE_MADE(future);
    return future;
}

/* A future that only this file's code sees: the caller releases it. */
static Future *future_inner(Loop *loop, const char *purpose, void *owner)
{
    Future *future = object_new(&future_class, sizeof *future);
    future_init(future, loop);
    future->asyncio_owned = true;
    future->purpose = purpose;
    future->owner = owner;
    return future;
}

static bool is_future(const Object *object) { return object->class->cancel; }

bool asyncio_isfuture_(Value v) { return v.tag == VALUE_OBJECT && is_future(v.object); }
Future *as_future(Value v)
{
    if (!asyncio_isfuture_(v)) throw(TypeError, "expected a Future, got %s", value_type(v));
    return (Future *)v.object;
}

Task *as_task(Value v) { return expect_object(v, &task_class, "a Task"); }

bool future_done(Future *future) { return future->state != PENDING; }
bool future_cancelled(Future *future) { return future->state == CANCELLED; }
Loop *future_get_loop(Future *future) { return future->loop; }
static bool future_failed(Future *future) { return future->state == FINISHED && future->failed; }

static Value cancelled_error(Value message)
{
    return exception_new_args(CancelledError, is_none(message) ? tuple() : tuple(message));
}

/* The CancelledError that ended a task goes to the first who asks, so that its traceback grows from task to task;
 * whoever asks later, or asks a plain future, gets a new one. */
static Value future_cancelled_error(Future *future)
{
    if (future->state != CANCELLED || is_none(future->result)) return cancelled_error(future->message);
    Value e = value_pooled(future->result);
    future->result = None;
    return e;
}

static void check_done(Future *future, const char *what)
{
    if (future->state == CANCELLED) throw(future_cancelled_error(future));
    if (future->state == PENDING) throw(InvalidStateError, "%s is not set.", what);
}

/* The exception, to be raised where the future is awaited. All raise the same object: the first has the traceback that
 * it came with, for the next one it begins anew. */
static Value future_raised(Future *future)
{
    future->unretrieved = false;
    traceback_set(as_exc(future->result), is_none(future->message) ? NULL : (Traceback *)future->message.object);
    value_replace(&future->message, None);
    return future->result;
}

Value future_result(Future *future)
{
    check_done(future, "Result");
    if (future->failed) throw(future_raised(future));
    return value_received(future->result);
}

Value future_exception(Future *future)
{
    check_done(future, "Exception");
    future->unretrieved = false;
    return future->failed ? value_received(future->result) : None;
}

/* Callbacks. */

/* Entry i of the list. */
static Object **future_waiting(Future *future, int i) { return i ? &future->more[i - 1] : &future->first; }

/* The task, if it is one that waits. */
static Task *future_waiting_task(Future *future, int i)
{
    Object *entry = *future_waiting(future, i);
    return entry->class == &task_class ? (Task *)entry : NULL;
}

static void future_append_more(Future *future, void *entry)
{
    if (future->callback_count > future->more_capacity) {
        int capacity = future->more_capacity ? future->more_capacity * 2 : 4;
        future->more = reallocate(future->more, capacity * sizeof *future->more);
        future->more_capacity = capacity;
    }
    future->more[future->callback_count++ - 1] = entry;
}

/* The future holds the entry from here on. Few futures have more than one. */
static inline void future_append(Future *future, void *entry)
{
    if (future->callback_count) {
        future_append_more(future, entry);
        return;
    }
    future->first = entry;
    future->callback_count = 1;
}

/* An entry of the list goes into the ready queue, which takes over the hold. */
static inline void future_wake(Future *future, Object *entry)
{
    if (entry->class != &task_class) {
        ((Handle *)entry)->future = retain(future);
        ((Handle *)entry)->queued = true;
    }
    ready_append(future->loop, entry);
}

void future_add_done_callback_(Future *future, DoneCallback fn, DoneOptions options)
{
    if (!fn) throw(TypeError, "a callable object was expected by add_done_callback(), got NULL");
    if (future->state != PENDING && future->loop->closed) throw(RuntimeError, "Event loop is closed");
    Handle *handle = handle_new(future->loop, options.name, options.context);
    handle->done = fn;
    handle->arg = value_retain(options.arg);
    if (future->state == PENDING) {
        future_append(future, handle);
        return;
    }
    handle->future = retain(future);
    handle_ready(future->loop, handle, future);
}

/* A callback of this file's own, which needs no context: its argument is an object. */
static void future_on_done(Future *future, DoneCallback fn, void *arg, const char *name)
{
    future_add_done_callback_(future, fn, (DoneOptions){.arg = value_object_(arg), .name = name});
}

int future_remove_done_callback_(Future *future, DoneCallback fn, DoneOptions options)
{
    int kept = 0, count = future->callback_count;
    for (int i = 0; i < count; i++) {
        Object *entry = *future_waiting(future, i);
        Handle *handle = (Handle *)entry;
        if (entry->class == &handle_class && handle->done == fn && value_equal(handle->arg, options.arg))
            release(handle);
        else *future_waiting(future, kept++) = entry;
    }
    future->callback_count = kept;
    return count - kept;
}

static int future_forget(Future *future, DoneCallback fn, void *arg)
{
    return future_remove_done_callback_(future, fn, (DoneOptions){.arg = value_object_(arg)});
}

/* Puts every callback into the ready queue. The trace is told of all of them after that, in one call: the entries are
 * still in their places. */
static void future_schedule_callbacks(Future *future)
{
    int count = future->callback_count;
    future->callback_count = 0;
    for (int i = 0; i < count; i++) future_wake(future, *future_waiting(future, i));
    if (TRACING) trace_future_over(future, count);
    if (future->more) {
        free(future->more);
        future->more = NULL;
        future->more_capacity = 0;
    }
}

/* Completing: the caller has checked that it is pending. Another thread is refused, in debug mode, before anything changes. */

static inline void future_check_thread(Future *future)
{
    if (__builtin_expect(future->loop->debug, 0) && future->callback_count) loop_check_thread(future->loop);
}

static inline void future_finish(Future *future, Value result)
{
    assert(future->state == PENDING);
    future_check_thread(future);
    future->result = value_retain(result);
    future->state = FINISHED;
    future_schedule_callbacks(future);
}

static void future_fail(Future *future, Value e)
{
    assert(future->state == PENDING);
    future_check_thread(future);
    future->result = value_retain(e);
    value_replace(&future->message, V((Object *)as_exc(e)->traceback));
    future->state = FINISHED;
    future->failed = future->unretrieved = true;
    future_schedule_callbacks(future);
}

static void check_may_wake(Future *future)
{
    if (future->callback_count && future->loop->closed) throw(RuntimeError, "Event loop is closed");
}

static void check_pending(Future *future, const char *operation)
{
    if (future->object.class == &task_class) throw(RuntimeError, "Task does not support %s operation", operation);
    if (future->state != PENDING) throw(InvalidStateError, "invalid state");
    check_may_wake(future);
}

void future_set_result_(Future *future, Value v)
{
    check_pending(future, "set_result");
    future_finish(future, v);
}

void future_set_exception_(Future *future, Value e)
{
    check_pending(future, "set_exception");
    if (!is_exception(e)) throw(TypeError, "invalid exception object");
    if (value_is_exception(e, StopIteration))
        e = exception_instead("StopIteration interacts badly with generators and cannot be raised into a Future", e);
    future_fail(future, e);
}

bool future_cancel_(Future *future, Value message) { return future->object.class->cancel(future, message); }

static bool future_cancel_plain(Future *future, Value message)
{
    future->unretrieved = false;
    if (future->state != PENDING) return false;
    check_may_wake(future);
    future_check_thread(future);
    value_replace(&future->message, message);
    future->state = CANCELLED;
    future_schedule_callbacks(future);
    return true;
}

/* For whoever may come late: a timer, a pipe. */
static void future_finish_unless_done(Future *future, Value result)
{
    if (future->state == PENDING) future_finish(future, result);
}

static void future_report_unretrieved(Future *future)
{
    if (!future->unretrieved) return;
    future->unretrieved = false;
    Value message = format("%s exception was never retrieved", future->object.class->name);
    REPORT(future->loop, .message = as_str(message), .exception = future->result, .future = future);
}

/* The end of a future, unless whoever is told of its exception keeps it. */
static bool future_lives_on(Future *future)
{
    future_report_unretrieved(future);
    return future->object.references > 1;
}

static void future_destroy(void *object)
{
    Future *future = object;
    if (future_lives_on(future)) return;
    for (int i = 0; i < future->callback_count; i++) release(*future_waiting(future, i));
    if (future->more) free(future->more);
    if (future->also_awaited_by) free(future->also_awaited_by);
    value_release(future->result);
    value_release(future->message);
    release(future->loop);
}

/* Who waits for it without being a task: the newest in `awaited_by`, the others, of which there are seldom any, in
 * `also_awaited_by`. */

void asyncio_future_add_to_awaited_by(Future *future, Future *waiter)
{
    if (future->awaited_by) {
        size_t size = (future->also_count + 1) * sizeof *future->also_awaited_by;
        future->also_awaited_by = reallocate(future->also_awaited_by, size);
        future->also_awaited_by[future->also_count++] = future->awaited_by;
    }
    future->awaited_by = waiter;
}

void asyncio_future_discard_from_awaited_by(Future *future, Future *waiter)
{
    if (future->awaited_by == waiter) {
        future->awaited_by = future->also_count ? future->also_awaited_by[--future->also_count] : NULL;
        return;
    }
    int kept = 0;
    for (int i = 0; i < future->also_count; i++)
        if (future->also_awaited_by[i] != waiter) future->also_awaited_by[kept++] = future->also_awaited_by[i];
    future->also_count = kept;
}

static const char *const future_states[] = {"pending", "finished", "cancelled"};

static void future_repr_result(Future *future, FILE *out)
{
    if (future->state != FINISHED) return;
    fputs(future->failed ? " exception=" : " result=", out);
    value_write(future->result, true, out);
}

static void future_repr(void *object, FILE *out)
{
    Future *future = object;
    fprintf(out, "<%s %s", future->object.class->name, future_states[future->state]);
    future_repr_result(future, out);
    fputc('>', out);
}

/* ---- [coroutines] Coroutines --------------------------------------------------------------------------------------
 *
 * A coroutine object is a function and its arguments, to be run once. Awaiting one is calling it: its body runs on
 * the stack of who awaits it. While it runs it is a frame: the chain from the innermost coroutine outwards,
 * `caller` by `caller`, is what a traceback prints.
 */

static void coroutine_destroy(void *object);
static void coroutine_repr(void *object, FILE *out);
static const Class coroutine_class = {.name = "coroutine", .destroy = coroutine_destroy, .write = coroutine_repr};

/* The arguments are held already. Only the head is cleared, as this is done so often. */
Coroutine *coroutine_new_(const Code *code, const void *arguments)
{
    Coroutine *coro = block_take(sizeof *coro + code->size);
    *coro = (Coroutine){.object = object_begin(&coroutine_class), .code = code};
    memcpy(coro->arguments, arguments, code->size);
    return pooled(coro);
}

/* It is over: its arguments and what it kept are let go of. */
static inline void coroutine_close_now(Coroutine *coro)
{
    coro->state = CLOSED;
    coro->code->hold(coro->arguments, false);
    if (!is_none(coro->kept)) value_replace(&coro->kept, None);
}

void coroutine_close(Coroutine *coro)
{
    if (coro->state == RUNNING) throw(ValueError, "coroutine already executing");
    if (coro->state == CREATED) coroutine_close_now(coro);
}

static void coroutine_destroy(void *object)
{
    Coroutine *coro = object;
    if (coro->state == CLOSED) return;
    fflush(stdout);
    if (is_own_file(coro->code->file)) fputs("asyncio", stderr);
    else fprintf(stderr, "%s:%d", coro->code->file, coro->code->line);
    fprintf(stderr, ": RuntimeWarning: coroutine '%s' was never awaited\n", coro->code->name);
    coroutine_close_now(coro);
}

static void coroutine_repr(void *object, FILE *out)
{
    Coroutine *coro = object;
    fprintf(out, "<coroutine object %s at %p>", coro->code->name, object);
}

const char *coroutine_name(Coroutine *coro) { return coro->code->name; }
bool asyncio_iscoroutine_(Value v) { return v.tag == VALUE_OBJECT && v.object->class == &coroutine_class; }

Coroutine *as_coroutine(Value v)
{
    if (!asyncio_iscoroutine_(v)) throw(TypeError, "a coroutine was expected, got %s", value_type(v));
    return (Coroutine *)v.object;
}

/* When main has returned the other tasks are cancelled, and their finally blocks may use what main made and put into
 * a global variable. Python's variable would hold it; here the loop does, until it closes. */
static void coroutine_bequeath(Stack *stack, Coroutine *coro)
{
    Value *legacy = &coro->heir->legacy;
    for (int i = coro->mark; i < stack->pool_size; i++) list_collect(legacy, value_object_(stack->pool[i]));
    list_collect(legacy, coro->kept);
}

/* Who goes on when the innermost frame has ended or yielded. */
static Coroutine *coroutine_waiting(Stack *stack)
{
    return stack->frame || !stack->resumer ? stack->frame : stack->resumer->frame;
}

/* try and throw know which coroutines they leave; a longjmp() of the program's own does not. */
COLD static _Noreturn void left_by_longjmp(Coroutine *coro)
{
    Site site = frame_site(coro);
    fatal(&site, "a longjmp() of the program's own has left this coroutine. Only throw may do that: use try and throw");
}

/* The innermost frame ends, by return or by exception. */
static inline void coroutine_finish(Stack *stack, Coroutine *coro)
{
    if (stack->frame != coro) left_by_longjmp(stack->frame ? stack->frame : coro);
    stack->frame = coro->caller;
    if (here.thrown_into == coro) here.thrown_into = coroutine_waiting(stack);
    if (coro->heir) coroutine_bequeath(stack, coro);
    pool_drop(stack, coro->mark);
    coroutine_close_now(coro);
}

/* release() for one that is over, which is the fate of most: there is nothing left to let go of. */
static void coroutine_release(Coroutine *coro)
{
    if (!last_reference(&coro->object)) return;
    count(&live_objects, -1);
    deallocate(coro, sizeof *coro + coro->code->size);
}

/* Runs the body, here and now. The caller holds the result. */
static inline Value coroutine_call(Coroutine *coro)
{
    Stack *stack = here.stack;
    coro->state = RUNNING;
    coro->caller = stack->frame;
    coro->mark = stack->pool_size;
    stack->frame = coro;
    Value result = value_retain(coro->code->enter(coro->arguments));
    coroutine_finish(stack, coro);
    return result;
}

static inline void coroutine_check_unused(Coroutine *coro)
{
    if (coro->state == CLOSED) throw(RuntimeError, "cannot reuse already awaited coroutine");
    if (coro->state == RUNNING) throw(RuntimeError, "coroutine is being awaited already");
}

/* only_here: the coroutine was made in the await itself, so nobody else can name it, and it goes at once. */
static Value coroutine_await(Coroutine *coro, bool only_here)
{
    coroutine_check_unused(coro);
    Value result = coroutine_call(coro);
    if (only_here && unpool_newest(coro)) coroutine_release(coro);
    return value_pooled(result);
}

/* ---- [tasks] Tasks, and await --------------------------------------------------------------------------------------
 *
 * A Task runs a coroutine, step by step, and is the Future of its result. A step lasts from one suspension to the
 * next. Between steps a task is in exactly one place: in the ready queue, or in the callbacks of the one future it
 * waits for, `waiting_on`.
 *
 * What await(x) does is in await_(). A coroutine is called: coroutine_await(). For a future that is pending the task
 * joins its callbacks, task_wait(), and has then nothing to do, task_suspend(): so it runs the loop, on its own stack,
 * until the next task's turn comes, stack_park(). When the future is done, future_wake() puts the task into the ready
 * queue, and when its turn has come, task_take_turn(), it returns from all of these with the result.
 *
 * cancel() never stops anything itself. It cancels the future that the task waits for, which wakes the task with
 * CancelledError; if there is none, `must_cancel` makes the next step begin with that exception. What the coroutine
 * does with it is its own affair.
 */

static void task_destroy(void *object);
static void task_repr(void *object, FILE *out);
static bool task_cancel_future(Future *future, Value message);
static const Class task_class = {
    .name = "Task", .size = sizeof(Task), .destroy = task_destroy, .write = task_repr, .cancel = task_cancel_future};
static long task_numbers;

static Variables **task_variables(Task *task) { return task->context ? &task->context->variables : &task->variables; }

/* The loop's list of tasks that are not done. It holds none of them. */

static void task_enlist(Task *task)
{
    Loop *loop = task->future.loop;
    task->previous = loop->last_task;
    *(loop->last_task ? &loop->last_task->next : &loop->tasks) = task;
    loop->last_task = task;
    task->in_list = true;
}

static void task_delist(Task *task)
{
    Loop *loop = task->future.loop;
    if (!task->in_list) return;
    *(task->previous ? &task->previous->next : &loop->tasks) = task->next;
    *(task->next ? &task->next->previous : &loop->last_task) = task->previous;
    task->previous = task->next = NULL;
    task->in_list = false;
}

static Task *task_new(Loop *loop, Coroutine *coro, TaskOptions options)
{
    if (!coro || coro->object.class != &coroutine_class)
        throw(TypeError, "a coroutine was expected, got %s", coro ? coro->object.class->name : "NULL");
    Task *task = object_new(&task_class, sizeof *task);
    future_init(&task->future, loop);
    task->coro = retain(coro);
    coro->task = task;
    if (!options.eager_start && unpool_newest(coro)) release(coro); /* it came here straight from where it was made */
    if (options.name) task->name = copy_string(options.name);
    else task->number = count(&task_numbers, 1);
    task->context = retain(options.context);
    if (!task->context) task->variables = retain(*here.variables);
    task_enlist(task);
    return pooled(task);
}

/* An eager task runs inside create_task() until it first suspends: its creator switches to it, and it back. What leaves
 * the loop leaves the creator, too. */

static void task_start_eagerly(Task *task)
{
    Loop *loop = task->future.loop;
    Task *outer = loop->current;
    Variables **variables = here.variables;
    Coroutine *thrown_into = here.thrown_into;
    Stack *stack = stack_take();
    loop->current = retain(task);
    here.variables = task_variables(task);
    task->stack = stack;
    task->eager_caller = stack->resumer = here.stack;
    stack_switch(here.stack, stack);
    stack->resumer = NULL;
    loop->current = outer;
    here.variables = variables_place(variables);
    here.thrown_into = thrown_into;
    release(task);
    if (task->future.state == PENDING) return;
    release(task->coro);
    task->coro = NULL;
    if (future_failed(&task->future) && leaves_loop(task->future.result)) throw(task->future.result);
}

static Stack *task_return_to_caller(Task *task)
{
    Stack *caller = task->eager_caller;
    task->eager_caller = NULL;
    return caller;
}

/* The loop that is to run coro. A closed one never will: then coro need not warn that it was never awaited. */
static Loop *loop_for_task(Loop *loop, Coroutine *coro)
{
    if (!loop) loop = asyncio_get_running_loop();
    if (!loop->closed) return loop;
    if (coro && coro->object.class == &coroutine_class) coroutine_close(coro);
    throw(RuntimeError, "Event loop is closed");
}

static Task *task_make(Loop *loop, Coroutine *coro, TaskOptions options, const Site *site)
{
    Task *task = task_new(loop, coro, options);
    bool eager = options.eager_start && here.loop == loop;
    if (TRACING) trace_task_made(task, site, eager);
    if (eager) task_start_eagerly(task);
    else {
        inbox_first(loop);
        ready_append(loop, retain(task));
    }
    return task;
}

Task *asyncio_Task_(Coroutine *coro, TaskOptions options, const Site *site)
{
    return task_make(loop_for_task(options.loop, coro), coro, options, site);
}

Task *asyncio_create_task_(Coroutine *coro, TaskOptions options, const Site *site)
{
    Loop *loop = options.loop = loop_for_task(options.loop, coro);
    Task *task = loop->task_factory ? loop->task_factory(loop, coro, options) : NULL;
    if (!task) return task_make(loop, coro, options, site);
    if (options.name && strcmp(options.name, task_get_name(task))) task_set_name(task, options.name);
    return task;
}

Task *asyncio_eager_task_factory(Loop *loop, Coroutine *coro, TaskOptions options)
{
    options.loop = loop;
    options.eager_start = true;
    return asyncio_Task_(coro, options, STATIC_SITE_);
}

void loop_set_task_factory(Loop *loop, TaskFactory factory) { loop->task_factory = factory; }
TaskFactory loop_get_task_factory(Loop *loop) { return loop->task_factory; }

Object *object_of_value_(Value v) { return v.tag == VALUE_OBJECT ? v.object : NULL; }

Object *awaitable_of_value_(Value v)
{
    if (v.tag != VALUE_OBJECT) throw(TypeError, "object %s can't be used in 'await' expression", value_type(v));
    return v.object;
}

Future *asyncio_ensure_future_(Object *awaitable, TaskOptions options, const Site *site)
{
    if (awaitable && is_future(awaitable)) {
        Future *future = (Future *)awaitable;
        if (options.loop && options.loop != future->loop)
            throw(ValueError, "The future belongs to a different loop than the one specified as the loop argument");
        return future;
    }
    if (!awaitable || awaitable->class != &coroutine_class)
        throw(TypeError, "An asyncio.Future, a coroutine or an awaitable is required");
    if (!options.loop) options.loop = asyncio_get_event_loop();
    return &asyncio_create_task_((Coroutine *)awaitable, options, site)->future;
}

/* Its turn has come: who goes on? The loop's hold on the entry is now the one of `current`. */
static Stack *task_take_turn(Loop *loop, Task *task, Stack *idle)
{
    loop->current = task;
    here.variables = task_variables(task);
    if (loop->debug) loop->step_began = loop_time(loop);
    if (!task->stack) task->stack = idle ? idle : stack_take();
    return task->stack;
}

/* Settling what the coroutine came to. */

static void task_ended(Task *task)
{
    task->stack = NULL;
    task_delist(task);
}

static void task_finished(Task *task, Value result)
{
    task_ended(task);
    if (task->must_cancel) { /* it was cancelled, perhaps by itself, and returned before that took effect */
        task->must_cancel = false;
        TRACE("task.done", 'E', "task:o state:s", task, "cancelled");
        future_cancel_plain(&task->future, task->future.message);
    } else {
        TRACE("task.done", 'E', "task:o state:s result:v", task, "done", result);
        future_finish(&task->future, result);
    }
}

static const Site *exception_origin(Exc *x)
{
    Traceback *line = x->traceback;
    while (line && line->inner) line = line->inner;
    return line ? &line->site : NULL;
}

static void task_failed(Task *task, Value e)
{
    task_ended(task);
    if (value_is_exception(e, CancelledError) || task->abandoned) {
        TRACE("task.done", 'E', "task:o state:s exception:v", task, "cancelled", e);
        task->future.state = CANCELLED;
        task->future.result = value_retain(e); /* future_cancelled_error() hands it on */
        value_replace(&task->future.message, None);
        future_schedule_callbacks(&task->future);
        return;
    }
    TRACE("task.done", 'E', "task:o state:s exception:v where:S", task, "failed", e,
          exception_origin(as_exc(e)));
    future_fail(&task->future, e);
    if (leaves_loop(e) && !task->eager_caller) loop_leave(task->future.loop, e);
}

/* What the step that begins is to raise where the task waited, or None. */
static Value task_interruption(Task *task)
{
    if (task->abandoned) return V(GeneratorExit);
    if (!task->must_cancel) return None;
    task->must_cancel = false;
    return cancelled_error(task->future.message);
}

/* A whole task, on a stack of its own: the first step begins here, the last one ends here. What it raises goes to the
 * try of stack_main(), and from there to task_failed(). Returns whose stack is to go on. */
static Stack *task_run(Stack *me)
{
    Task *task = here.loop->current;
    Coroutine *coro = task->coro;
    if (TRACING) trace_task_runs(task, NULL);
    Value interruption = task_interruption(task);
    if (!is_none(interruption)) {
        coroutine_close(coro);
        throw(interruption);
    }
    coroutine_check_unused(coro);
    task_finished(task, value_pooled(coroutine_call(coro)));
    return task_over(me);
}

/* The stack's task is settled: the next one may begin on this stack. */
static Stack *task_over(Stack *me)
{
    Loop *loop = here.loop;
    Task *task = loop->current;
    assert(!me->frame);
    here.variables = &here.base_variables;
    pool_free(me);
    if (task->eager_caller) return task_return_to_caller(task);
    here.stack = &loop->own;
    return loop_next(loop, stack_is_outdated(me) ? NULL : me);
}

/* Suspending: the task is in the ready queue or in a future's callbacks already. Returns when its turn has come. */
static inline void task_let_go(Task *task)
{
    if (task->eager_caller) stack_switch(here.stack, task_return_to_caller(task));
    else stack_park(task->future.loop);
}

COLD static void task_let_go_traced(Task *task)
{
    if (!task->waiting_on) trace_task_ready(task, NULL); /* it only lets the others go first */
    trace_task_waits(task);
    task_let_go(task);
    if (TRACING) trace_task_runs(task, task->waiting_on);
}

static inline void task_suspend(Task *task)
{
    task->stack = here.stack;
    here.variables = &here.base_variables;
    here.thrown_into = NULL;
    if (TRACING) {
        task_let_go_traced(task);
        return;
    }
    task_let_go(task);
}

static inline Task *task_running(void)
{
    if (!here.loop || !here.loop->current || here.stack == &here.loop->own)
        throw(RuntimeError, "await outside a task: %s",
              here.loop ? "this is a plain callback" : "no event loop is running");
    return here.loop->current;
}

static inline Task *task_to_suspend(void)
{
    Task *task = task_running();
    if (task->abandoned) throw(RuntimeError, "coroutine ignored GeneratorExit");
    return task;
}

/* The task goes on with an exception, in its innermost coroutine: exception_in_sight() needs to know. */
static void mark_thrown(Value e)
{
    here.thrown_into = here.stack->frame;
    here.thrown = as_exc(e);
}
#define throw_into(e) do { mark_thrown(e); throw(e); } while (0)

/* await sleep(0): one round of the loop. */
static void task_yield(Task *task)
{
    ready_append(task->future.loop, retain(task));
    task_suspend(task);
    Value interruption = task_interruption(task);
    if (!is_none(interruption)) throw_into(interruption);
}

/* What a task may not wait for. It is told so a round of the loop later, as in CPython; a cancellation goes first. */
static void future_refuse(Future *future, Task *task)
{
    const char *me = as_str(repr(task));
    Value e;
    if (future == &task->future) e = exception_new(RuntimeError, "Task cannot await on itself: %s", me);
    else
        e = exception_new(RuntimeError, "Task %s got Future %s attached to a different loop", me, as_str(repr(future)));
    task_yield(task);
    throw_into(e);
}

/* What the await of a future that is done raises in this task, or None. The loop makes the CancelledError of one that is
 * cancelled, and what is handled around the loop is its context: an error of main's, when asyncio_run() cancels the rest. */
static Value future_outcome(Future *future, Task *task)
{
    bool failed = future_failed(future);
    bool cancels = future->state == CANCELLED || (failed && value_is_exception(future->result, CancelledError));
    if (task->abandoned || (task->must_cancel && !cancels)) {
        if (failed) future->unretrieved = false;
        return task_interruption(task);
    }
    assert(future->state != PENDING && "a task is woken by the future it waits for");
    task->must_cancel = false;
    if (future->state == CANCELLED) {
        Value e = future_cancelled_error(future);
        exception_set_context(as_exc(e), handled_around_loop());
        return e;
    }
    return future->failed ? future_raised(future) : None;
}

/* Suspends the running task until the future is done. Returns the exception that the await is to raise, or None: so
 * whoever waits inside this file can tidy up first, without a try. Misuse is raised. Part of its few callers, as each
 * wait would pay for the call. */
__attribute__((always_inline)) static inline Value task_wait(Task *task, Future *future)
{
    if (future == &task->future || future->loop != task->future.loop) future_refuse(future, task);
    if (future->state != PENDING) return future_outcome(future, task);
    future_append(future, retain(task));
    task->waiting_on = future;
    if (task->must_cancel && future_cancel_(future, task->future.message)) task->must_cancel = false;
    task_suspend(task);
    task->waiting_on = NULL;
    bool undisturbed = !task->must_cancel && !task->abandoned;
    if (undisturbed && future->state == FINISHED && !future->failed) return None; /* as nearly always */
    Value e = future_outcome(future, task);
    if (!is_none(e)) mark_thrown(e);
    return e;
}

__attribute__((noinline)) static Value future_wait(Future *future) { return task_wait(task_to_suspend(), future); }

/* Kept by itself, so that the await of a coroutine, the other half of await_(), saves half as many registers. */
__attribute__((noinline)) static Value future_await(Future *future, bool only_here)
{
    if (future->state != PENDING) return future_result(future);
    pooled(retain(future)); /* whoever else holds it may let go of it meanwhile */
    Value e = task_wait(task_to_suspend(), future);
    if (!is_none(e)) throw(e);
    Value result = value_retain(future->result);
    /* this hold, and, if nobody else can name it, the one of who made it */
    if (unpool_newest(future)) release(future);
    if (only_here && unpool_newest(future)) release(future);
    return value_pooled(result);
}

Value await_(Object *awaitable, int made_here, const Site *site)
{
    mark_await(site, awaitable);
    if (!awaitable) throw(TypeError, "object NoneType can't be used in 'await' expression");
    if (awaitable->class == &coroutine_class) {
        if (!here.stack->frame) task_running(); /* which says why this is no place for an await */
        return coroutine_await((Coroutine *)awaitable, made_here > 0);
    }
    if (is_future(awaitable)) return future_await((Future *)awaitable, made_here > 1);
    throw(TypeError, "object %s can't be used in 'await' expression", value_type(value_object_(awaitable)));
}

/* Cancelling. */

/* Of tasks that wait for each other in a ring no future can wake one: this one stops waiting. */
static void task_stop_waiting(Task *task)
{
    Future *future = task->waiting_on;
    int kept = 0, count = future->callback_count;
    for (int i = 0; i < count; i++) {
        Object *entry = *future_waiting(future, i);
        if (entry != &task->future.object) {
            *future_waiting(future, kept++) = entry;
            continue;
        }
        if (TRACING) trace_task_ready(task, NULL);
        ready_append(task->future.loop, task);
    }
    future->callback_count = kept;
}

/* Follows the chain of tasks that wait for tasks down to what the last one waits for. `slow` follows at half the
 * pace: if it is met again, the chain is a ring. */
static bool task_cancel_future(Future *future, Value message)
{
    Task *task = (Task *)future, *slow = task;
    future->unretrieved = false;
    if (future->state != PENDING) return false;
    for (int steps = 1;; steps++) {
        TRACE("task.cancel", 'i', "task:o by:i message:V", task, trace_task(), message);
        task->cancel_requests++;
        Future *next = task->waiting_on;
        if (!next) break;
        if (next->object.class != &task_class || next->state != PENDING) {
            if (future_cancel_(next, message)) return true;
            break;
        }
        task = (Task *)next;
        if (task == slow) {
            task_stop_waiting(task);
            break;
        }
        if (steps % 2 == 0) slow = (Task *)slow->waiting_on;
    }
    task->must_cancel = true;
    value_replace(&task->future.message, message);
    return true;
}

bool task_cancel_(Task *task, Value message) { return task_cancel_future(&task->future, message); }
int task_cancelling(Task *task) { return task->cancel_requests; }

int task_uncancel(Task *task)
{
    if (task->cancel_requests > 0 && --task->cancel_requests == 0) task->must_cancel = false;
    return task->cancel_requests;
}

/* Names and the rest. */

const char *task_get_name(Task *task)
{
    if (task->name) return task->name;
    if (!*task->number_name) snprintf(task->number_name, sizeof task->number_name, "Task-%ld", task->number);
    return task->number_name;
}

void task_set_name_(Task *task, Value name)
{
    char *copy = copy_string(as_str(value_to_str(name)));
    free(task->name);
    task->name = copy;
    TRACE("task.name", 'i', "task:o label:s", task, task->name);
    trace_thread_name(task);
}

Coroutine *task_get_coro(Task *task) { return task->coro ? pooled(retain(task->coro)) : NULL; }

Context *task_get_context(Task *task)
{
    if (!task->context) task->context = context_begin(&task->variables);
    return pooled(retain(task->context));
}

static Loop *loop_or_running(Loop *loop) { return loop ? loop : asyncio_get_running_loop(); }

Task *asyncio_current_task_(Loop *loop) { return loop_or_running(loop)->current; }

Value asyncio_all_tasks_(Loop *loop)
{
    Value tasks = list();
    for (Task *task = loop_or_running(loop)->tasks; task; task = task->next) list_append(tasks, task);
    return tasks;
}

static void task_report_pending(Task *task)
{
    if (task->future.quiet) return;
    REPORT(task->future.loop, .message = "Task was destroyed but it is pending!", .task = task);
}

static void task_destroy(void *object)
{
    Task *task = object;
    if (task->future.state == PENDING && task->in_list) task_report_pending(task);
    if (future_lives_on(&task->future)) return;
    task_delist(task);
    if (task->coro && task->coro->task == task) task->coro->task = NULL;
    release(task->coro);
    release(task->context);
    release(task->variables);
    future_destroy(&task->future);
    free(task->name);
}

static void coroutine_repr_state(Coroutine *coro, FILE *out)
{
    if (!coro) return; /* it finished eagerly */
    const Code *code = coro->code;
    fprintf(out, " coro=<%s() %s at ", code->name, coro->state == CLOSED ? "done, defined" : "running");
    if (coro->state == RUNNING && coro->site) fprintf(out, "%s:%d>", coro->site->file, coro->site->line);
    else fprintf(out, "%s:%d>", code->file, code->line);
}

/* How each repr of a task begins. */
static void task_write_head(Task *task, FILE *out)
{
    bool cancelling = task->cancel_requests && task->future.state == PENDING;
    const char *name = task_get_name(task);
    fprintf(out, "<Task %s name=", cancelling ? "cancelling" : future_states[task->future.state]);
    write_str_repr(name, strlen(name), out);
}

static void task_repr(void *object, FILE *out)
{
    Task *task = object;
    Future *awaited = task->waiting_on;
    task_write_head(task, out);
    coroutine_repr_state(task->coro, out);
    if (awaited) fputs(" wait_for=", out);
    if (awaited && awaited->object.class == &task_class) {
        task_write_head((Task *)awaited, out);
        fputc('>', out);
    } else if (awaited) {
        value_write(V(awaited), true, out);
    }
    future_repr_result(&task->future, out);
    fputc('>', out);
}

/* Switches to where the task waits, as if it were an eager one: it comes back when it ends. */
static void task_abandon(Loop *loop, Task *task)
{
    Stack *me = this_stack();
    Loop *outer = here.loop;
    Variables **variables = here.variables;
    Coroutine *thrown_into = here.thrown_into;
    here.loop = loop;
    loop->current = retain(task);
    task->abandoned = true;
    task->eager_caller = me;
    stack_switch(me, task->stack);
    loop->current = NULL;
    here.loop = outer;
    here.variables = variables;
    here.thrown_into = thrown_into;
    release(task);
}

/* The loop is closing with tasks that are not done: they will never go on. Each is told so, by GeneratorExit where
 * it waits, so that it lets go of what it holds; what it then still awaits is refused. */
static void loop_abandon_tasks(Loop *loop)
{
    for (Task *task; (task = loop->tasks);) {
        retain(task);
        task_report_pending(task);
        task->future.quiet = true;
        task_delist(task);
        if (task->stack) task_abandon(loop, task);
        release(task);
    }
}

/* ---- [sleep] sleep() ----------------------------------------------------------------------------------------------
 *
 * A future that a timer completes. From here on every wait has the same shape: make a future, arrange who completes
 * it, wait, tidy up, and only then raise what the wait was interrupted by. future_wait() hands that exception over
 * instead of raising it, so the tidying needs no try.
 */

static void sleep_over(Value future) { future_finish_unless_done((Future *)future.object, None); }

ASYNC(asyncio_sleep, asyncio_sleep_, (double)delay, (Value)result)
{
    if (delay <= 0) {
        task_yield(task_to_suspend());
        return result;
    }
    if (isnan(delay)) throw(ValueError, "Invalid delay: NaN (not a number)");
    Loop *loop = task_to_suspend()->future.loop;
    Future *future = pooled(future_inner(loop, "sleep", NULL));
    Handle *timer = loop_call_later(loop, delay, sleep_over, V(future));
    future->owner = &timer->object;
    Value interruption = future_wait(future);
    handle_cancel(timer);
    if (!is_none(interruption)) throw(interruption);
    return result;
}

/* ---- [timeouts] timeout(), wait_for() -----------------------------------------------------------------------------
 *
 * A Timeout cancels the task that is in its block. The CancelledError then comes out of the block, and becomes
 * TimeoutError only there, and only if nobody else asked for a cancellation too: uncancel() must bring the number
 * of requests back to what it was on entry. So a timeout never swallows somebody else's cancel().
 */

typedef enum { TIMEOUT_CREATED, TIMEOUT_ENTERED, TIMEOUT_EXPIRING, TIMEOUT_EXPIRED, TIMEOUT_EXITED } TimeoutState;
static const char *const timeout_states[] = {"created", "active", "expiring", "expired", "finished"};

struct Timeout {
    Object object;
    double when;
    TimeoutState state;
    Task *task; /* held while it is in the block, which another task may leave for it: in a generator */
    Handle *timer;
    int cancelling; /* how many requests there were on entry */
};

static Value timeout_enter(void *manager);
static bool timeout_leave(void *manager, Value e);
static void timeout_destroy(void *object);
static void timeout_repr(void *object, FILE *out);
static void timeout_describe(void *object, FILE *out);
static const Class timeout_class = {
    .name = "Timeout", .size = sizeof(Timeout), .destroy = timeout_destroy, .write = timeout_repr,
    .enter = timeout_enter, .leave = timeout_leave, .describe = timeout_describe};

Timeout *asyncio_timeout_at_(double when)
{
    Timeout *timeout = pooled(object_new(&timeout_class, sizeof *timeout));
    timeout->when = when;
    return timeout;
}

Timeout *asyncio_timeout_(double delay)
{
    return asyncio_timeout_at_(delay == NO_TIMEOUT ? delay : loop_look(asyncio_get_running_loop()) + delay);
}

double timeout_of_value_(Value v) { return is_none(v) ? NO_TIMEOUT : as_float(v); }
double timeout_when(Timeout *timeout) { return timeout->when; }
bool timeout_expired(Timeout *timeout)
{
    return timeout->state == TIMEOUT_EXPIRING || timeout->state == TIMEOUT_EXPIRED;
}

static void timeout_drop_timer(Timeout *timeout)
{
    if (timeout->timer) handle_cancel(timeout->timer);
    release(timeout->timer);
    timeout->timer = NULL;
}

static void timeout_destroy(void *object)
{
    timeout_drop_timer(object);
    release(((Timeout *)object)->task);
}

static void timeout_repr(void *object, FILE *out)
{
    Timeout *timeout = object;
    fprintf(out, "<Timeout [%s]", timeout_states[timeout->state]);
    if (timeout->state == TIMEOUT_ENTERED && timeout->when == NO_TIMEOUT) fputs(" when=None", out);
    else if (timeout->state == TIMEOUT_ENTERED) fprintf(out, " when=%.3f", timeout->when);
    fputc('>', out);
}

static void timeout_over(Value v)
{
    Timeout *timeout = (Timeout *)v.object;
    assert(timeout->state == TIMEOUT_ENTERED);
    timeout->state = TIMEOUT_EXPIRING;
    TRACE_CHANGED(timeout, "its deadline has passed");
    task_cancel(timeout->task);
    release(timeout->timer);
    timeout->timer = NULL;
}

void timeout_reschedule_(Timeout *timeout, double when)
{
    if (timeout->state == TIMEOUT_CREATED) throw(RuntimeError, "Timeout has not been entered");
    if (timeout->state != TIMEOUT_ENTERED)
        throw(RuntimeError, "Cannot change state of %s Timeout", timeout_states[timeout->state]);
    timeout_drop_timer(timeout);
    timeout->when = when;
    TRACE_CHANGED(timeout, when == NO_TIMEOUT ? "no deadline" : "a deadline is set");
    if (when == NO_TIMEOUT) return;
    Loop *loop = asyncio_get_running_loop();
    bool past = when <= loop_last_look(loop);
    Handle *timer;
    if (past) timer = loop_call_soon(loop, timeout_over, V(timeout));
    else timer = loop_call_at(loop, when, timeout_over, V(timeout));
    if (unpool_newest(timer)) timeout->timer = timer; /* the pool's hold is now the timeout's */
}

static Value timeout_enter(void *manager)
{
    Timeout *timeout = manager;
    if (timeout->state != TIMEOUT_CREATED) throw(RuntimeError, "Timeout has already been entered");
    Task *task = here.loop ? here.loop->current : NULL;
    if (!task) throw(RuntimeError, "Timeout should be used inside a task");
    timeout->state = TIMEOUT_ENTERED;
    timeout->task = retain(task);
    timeout->cancelling = task->cancel_requests;
    timeout_reschedule_(timeout, timeout->when);
    return V(timeout);
}

/* Somewhere behind e a CancelledError of this timeout's was being handled: a TimeoutError goes in between. */
static void timeout_explain(Value e)
{
    for (Exc *x = as_exc(e); is_exception(x->context); x = (Exc *)x->context.object) {
        if (!value_is_exception(x->context, CancelledError)) continue;
        Value explanation = exception_with_cause_(V(TimeoutError), x->context);
        value_replace(&as_exc(explanation)->context, x->context);
        value_replace(&x->context, explanation);
        return;
    }
}

static bool timeout_leave(void *manager, Value e)
{
    Timeout *timeout = manager;
    timeout_drop_timer(timeout);
    bool expired = timeout->state == TIMEOUT_EXPIRING;
    timeout->state = expired ? TIMEOUT_EXPIRED : TIMEOUT_EXITED;
    TRACE_CHANGED(timeout, expired ? "expired" : "left in time");
    bool own_cancel = expired && task_uncancel(timeout->task) <= timeout->cancelling;
    release(timeout->task);
    timeout->task = NULL;
    if (!own_cancel || is_none(e)) return false;
    if (isinstance(e, CancelledError)) throw_from(e, TimeoutError);
    timeout_explain(e);
    if (isinstance(e, ExceptionGroup))
        for_in (member, exception_exceptions(e)) timeout_explain(member);
    return false;
}

static void release_waiter(Future *future, Value waiter)
{
    (void)future;
    future_finish_unless_done((Future *)waiter.object, None);
}

/* Cancels a future and waits until that has happened. The future itself is not awaited: a cancel() of the waiting
 * task must interrupt the wait only. */
static void cancel_and_wait(Future *future)
{
    Future *waiter = pooled(future_inner(future->loop, "a cancelled task to end", future));
    future_on_done(future, release_waiter, waiter, "release_waiter");
    future_cancel(future);
    Value interruption = future_wait(waiter);
    future_forget(future, release_waiter, waiter);
    if (!is_none(interruption)) throw(interruption);
}

ASYNC(asyncio_wait_for, asyncio_wait_for_, (Object *)awaitable, (double)timeout)
{
    if (timeout <= 0) {
        Future *future = asyncio_ensure_future_(awaitable, (TaskOptions){0}, STATIC_SITE_);
        if (future_done(future)) return future_result(future);
        cancel_and_wait(future);
        try {
            return future_result(future);
        } except (CancelledError, e) {
            throw_from(e, TimeoutError);
        } end_try
    }
    async_with (asyncio_timeout(timeout)) {
        return await(awaitable);
    } end_with
    return None;
}

/* ---- [gather] wait(), gather(), shield(), as_completed() ----------------------------------------------------------
 *
 * All four watch other futures through done callbacks, and complete a future of their own when enough has happened.
 */

/* Callbacks that were in the ready queue already may come after wait() has returned: so the waiter is not on its
 * stack but held by this object, and this object by them. */
typedef struct Wait {
    Object object;
    Value futures; /* not held */
    Future *waiter;
    Handle *timer;
    int left, return_when;
} Wait;

static void wait_destroy(void *object) { release(((Wait *)object)->waiter); }
static void wait_write(void *object, FILE *out) { fprintf(out, "<%d unfinished>", ((Wait *)object)->left); }
static void wait_describe(void *object, FILE *out);
static const Class wait_class = {
    .name = "wait", .size = sizeof(Wait), .destroy = wait_destroy, .write = wait_write, .describe = wait_describe};

static void wait_over(Value waiter) { future_finish_unless_done((Future *)waiter.object, None); }

static void wait_one_done(Future *future, Value arg)
{
    Wait *wait = (Wait *)arg.object;
    bool enough = --wait->left <= 0 || wait->return_when == FIRST_COMPLETED;
    if (!enough && wait->return_when == FIRST_EXCEPTION && !future_cancelled(future))
        enough = !is_none(future_exception(future));
    if (!enough) return;
    if (wait->timer) handle_cancel(wait->timer);
    future_finish_unless_done(wait->waiter, None);
}

static int compare_pointers(const void *a, const void *b)
{
    Object *x = ((const Value *)a)->object, *y = ((const Value *)b)->object;
    return (x > y) - (x < y);
}

/* A new list of the objects of a list, each once, in order of first appearance: where Python makes a set(). Usually none
 * is there twice, and that is soon found out: sorted, equals are neighbours. */
static Value unique(Value objects)
{
    int count = len(objects), repeated = 0;
    Value sorted = value_list_(count, as_sequence(objects)->items), result = list();
    Value *items = as_sequence(sorted)->items;
    if (count) qsort(items, (size_t)count, sizeof *items, compare_pointers);
    for (int i = 1; i < count; i++) repeated += items[i].object == items[i - 1].object;
    if (!repeated) return value_list_(count, as_sequence(objects)->items);
    for_own (v, objects)
        if (!list_contains(result, v)) list_append(result, v);
    return result;
}

static Value wait_set(Value awaitables)
{
    if (!len(awaitables)) throw(ValueError, "Set of Tasks/Futures is empty.");
    for_own (v, awaitables) {
        if (asyncio_iscoroutine(v)) throw(TypeError, "Passing coroutines is forbidden, use tasks explicitly.");
        if (!asyncio_isfuture(v)) throw(TypeError, "An asyncio.Future, a coroutine or an awaitable is required");
    }
    return unique(awaitables);
}

ASYNC(asyncio_wait, asyncio_wait_, (Value)awaitables, (WaitOptions)options)
{
    if (awaitables.tag == VALUE_OBJECT) throw(TypeError, "expect a list of futures, not %s", value_type(awaitables));
    if (options.return_when < ALL_COMPLETED || options.return_when > FIRST_EXCEPTION)
        throw(ValueError, "Invalid return_when value: %d", options.return_when);
    Value futures = wait_set(awaitables);
    Loop *loop = task_to_suspend()->future.loop;
    Wait *wait = pooled(object_new(&wait_class, sizeof *wait));
    wait->futures = futures;
    wait->waiter = future_inner(loop, "asyncio_wait()", wait);
    wait->left = len(futures);
    wait->return_when = options.return_when;
    TRACE_MADE(wait);
    if (options.timeout != NO_TIMEOUT) wait->timer = loop_call_later(loop, options.timeout, wait_over, V(wait->waiter));
    for_own (v, futures) future_on_done(as_future(v), wait_one_done, wait, "wait_one_done");
    Value interruption = future_wait(wait->waiter);
    if (wait->timer) handle_cancel(wait->timer);
    wait->timer = NULL;
    TRACE_CHANGED(wait, "over");
    for_own (v, futures) future_forget(as_future(v), wait_one_done, wait);
    if (!is_none(interruption)) throw(interruption);
    Value done = list(), pending = list();
    for_own (v, futures) list_append(future_done(as_future(v)) ? done : pending, v);
    return tuple(done, pending);
}

/* The loop's list of those who watch futures and hold them; see Watching. */

static void watching_begin(Watching *watching, Loop *loop, void *watcher)
{
    *watching = (Watching){.next = loop->watching, .loop = loop, .watcher = watcher};
    if (watching->next) watching->next->previous = watching;
    loop->watching = watching;
}

static void watching_end(Watching *watching)
{
    if (!watching->loop) return;
    *(watching->previous ? &watching->previous->next : &watching->loop->watching) = watching->next;
    if (watching->next) watching->next->previous = watching->previous;
    watching->loop = NULL;
}

static void loop_end_watching(Loop *loop)
{
    for (Watching *watching; (watching = loop->watching);) {
        Object *watcher = retain(watching->watcher);
        watching_end(watching);
        watcher->class->let_go(watcher);
        release(watcher);
    }
}

/* gather() is a future of its own class: cancelling it cancels the children, and it ends when they have. */
typedef struct Gather {
    Future future;
    Watching watching;
    Value children;
    int finished, count;
    bool return_exceptions, cancel_requested;
} Gather;

static void gather_destroy(void *object);
static void gather_let_go(void *object);
static bool gather_cancel(Future *future, Value message);
static void gather_describe(void *object, FILE *out);
static const Class gather_class = {
    .name = "_GatheringFuture", .size = sizeof(Gather), .destroy = gather_destroy, .write = future_repr,
    .cancel = gather_cancel, .let_go = gather_let_go, .describe = gather_describe};

static void gather_destroy(void *object)
{
    Gather *gather = object;
    if (future_lives_on(&gather->future)) return;
    watching_end(&gather->watching);
    value_release(gather->children);
    future_destroy(gather);
}

static bool gather_cancel(Future *future, Value message)
{
    Gather *gather = (Gather *)future;
    bool any = false;
    if (future_done(future)) return false;
    for_own (child, gather->children)
        if (future_cancel_(as_future(child), message)) any = true;
    if (any) gather->cancel_requested = true; /* it then ends as cancelled, whatever the children make of it */
    return any;
}

/* What stands for the child in the list of results: an exception too, with return_exceptions, which is then seen. */
static Value gather_result(Future *child)
{
    if (future_cancelled(child))
        return exception_new_args(CancelledError, tuple(is_none(child->message) ? V("") : child->message));
    child->unretrieved = false;
    return child->result;
}

static void gather_finish(Gather *gather)
{
    Value results = list();
    for_own (v, gather->children) list_append(results, gather_result(as_future(v)));
    if (!gather->cancel_requested) future_finish(&gather->future, results);
    else future_fail(&gather->future, future_cancelled_error(as_future(list_get(gather->children, -1))));
}

static void gather_one_done(Future *child, Value arg)
{
    Gather *gather = (Gather *)arg.object;
    Future *outer = &gather->future;
    gather->finished++;
    asyncio_future_discard_from_awaited_by(child, outer);
    if (future_done(outer)) child->unretrieved = false;
    else if (!gather->return_exceptions && future_cancelled(child)) future_fail(outer, future_cancelled_error(child));
    else if (!gather->return_exceptions && future_failed(child)) future_fail(outer, future_exception(child));
    else if (gather->finished == gather->count) gather_finish(gather);
    else TRACE_CHANGED(outer, "one of its children is done");
}

static void gather_let_go(void *object)
{
    Gather *gather = object;
    for_own (child, gather->children) {
        future_forget(as_future(child), gather_one_done, gather);
        asyncio_future_discard_from_awaited_by(as_future(child), &gather->future);
    }
}

/* The future of one argument. A coroutine that is named twice is run once: the second time, its task is younger than
 * the gather. */
static Future *gather_child(Value v, Loop *loop, long newest_task, const Site *site)
{
    if (!asyncio_iscoroutine(v))
        return asyncio_ensure_future_(object_of_value_(v), (TaskOptions){.loop = loop}, site);
    Coroutine *coro = as_coroutine(v);
    if (coro->task && coro->task->number > newest_task) return &coro->task->future;
    Task *task = asyncio_create_task_(coro, (TaskOptions){.loop = loop ? loop : asyncio_get_event_loop()}, site);
    task->future.quiet = true;
    return &task->future;
}

static void gather_watch(Gather *gather, Future *child, Value done)
{
    Future *outer = &gather->future;
    if (child->awaited_by == outer) return; /* named before */
    asyncio_future_add_to_awaited_by(child, outer);
    gather->count++;
    if (future_done(child)) list_append(done, child);
    else future_on_done(child, gather_one_done, gather, "gather_one_done");
}

static Future *gather_of_nothing(void)
{
    Future *future = loop_create_future(asyncio_get_event_loop());
    future_finish(future, list());
    return future;
}

Future *asyncio_gather_(Value awaitables, bool return_exceptions, const Site *site)
{
    Gather *gather = pooled(object_new(&gather_class, sizeof *gather));
    Future *outer = &gather->future;
    gather->return_exceptions = return_exceptions;
    gather->children = value_retain(list());
    Value done = list();
    long newest_task = count(&task_numbers, 0);
    /* this may raise: so far the children know nothing of the gather */
    for_in (v, awaitables) {
        Future *child = gather_child(v, outer->loop, newest_task, site);
        if (!outer->loop) future_init(outer, child->loop);
        list_append(gather->children, child);
    }
    if (!len(gather->children)) return gather_of_nothing();
    for_own (child, gather->children) gather_watch(gather, as_future(child), done);
    watching_begin(&gather->watching, outer->loop, gather);
    TRACE_MADE(outer);
    for_own (child, done) gather_one_done(as_future(child), V(outer));
    return outer;
}

Future *asyncio_gather_args_(GatherOptions options, const Site *site)
{
    int count = 24;
    Value awaitables = list();
    while (count && !options.awaitables[count - 1]) count--;
    for (int i = 0; i < count; i++) {
        Object *object = options.awaitables[i];
        if (!object || (object->class != &coroutine_class && !is_future(object)))
            throw(TypeError, "An asyncio.Future, a coroutine or an awaitable is required "
                             "(argument %d of asyncio_gather)", i + 1);
        list_append(awaitables, object);
    }
    return asyncio_gather_(awaitables, options.return_exceptions, site);
}

/* shield() stands between the one who waits and the one who works: it passes results on, but no cancellation. */
typedef struct Shield {
    Future future;
    Watching watching;
    Future *inner;
} Shield;

static void shield_destroy(void *object);
static void shield_let_go(void *object);
static void shield_describe(void *object, FILE *out);
static const Class shield_class = {
    .name = "Future", .size = sizeof(Shield), .destroy = shield_destroy, .write = future_repr,
    .cancel = future_cancel_plain, .let_go = shield_let_go, .describe = shield_describe};

static void shield_destroy(void *object)
{
    Shield *shield = object;
    if (future_lives_on(&shield->future)) return;
    watching_end(&shield->watching);
    release(shield->inner);
    future_destroy(shield);
}

static void shield_inner_done(Future *inner, Value arg)
{
    Future *outer = as_future(arg);
    asyncio_future_discard_from_awaited_by(inner, outer);
    if (future_cancelled(outer)) {
        if (!future_cancelled(inner)) inner->unretrieved = false;
    } else if (future_cancelled(inner)) future_cancel(outer);
    else if (future_failed(inner)) future_set_exception(outer, future_exception(inner));
    else future_set_result(outer, inner->result);
}

static void shield_let_go(void *object)
{
    Shield *shield = object;
    future_forget(shield->inner, shield_inner_done, shield);
    asyncio_future_discard_from_awaited_by(shield->inner, &shield->future);
}

static void shield_outer_done(Future *outer, Value arg)
{
    (void)arg;
    if (!future_done(((Shield *)outer)->inner)) shield_let_go(outer);
}

Future *asyncio_shield_(Object *awaitable, const Site *site)
{
    Future *inner = asyncio_ensure_future_(awaitable, (TaskOptions){0}, site);
    if (future_done(inner)) return inner;
    Shield *shield = pooled(object_new(&shield_class, sizeof *shield));
    Future *outer = &shield->future;
    future_init(outer, inner->loop);
    shield->inner = retain(inner);
    watching_begin(&shield->watching, inner->loop, shield);
    TRACE_MADE(outer);
    future_on_done(inner, shield_inner_done, outer, "shield_inner_done");
    future_on_done(outer, shield_outer_done, NULL, "shield_outer_done");
    asyncio_future_add_to_awaited_by(inner, outer);
    return outer;
}

/* as_completed() puts futures into a queue as they finish, and takes them out one by one. */
struct AsCompleted {
    Object object;
    Watching watching;
    Value futures;
    Queue *done;
    Handle *timer;
    int unfinished, left; /* left: not taken out yet */
};

static void as_completed_destroy(void *object);
static void as_completed_let_go(void *object);
static Value as_completed_step(void *iterator, bool *end);
static const Class as_completed_class = {
    .name = "as_completed", .size = sizeof(AsCompleted), .destroy = as_completed_destroy,
    .let_go = as_completed_let_go, .next = as_completed_step};

static void as_completed_destroy(void *object)
{
    AsCompleted *it = object;
    watching_end(&it->watching);
    value_release(it->futures);
    release(it->done);
    release(it->timer);
}

static void as_completed_one_done(Future *future, Value arg)
{
    AsCompleted *it = (AsCompleted *)arg.object;
    if (!it->unfinished) return; /* the timeout came first */
    queue_put_nowait(it->done, future);
    if (--it->unfinished == 0 && it->timer) handle_cancel(it->timer);
}

static void as_completed_let_go(void *object)
{
    AsCompleted *it = object;
    for_own (v, it->futures) future_forget(as_future(v), as_completed_one_done, it);
}

/* None in the queue stands for: too late. */
static void as_completed_over(Value arg)
{
    AsCompleted *it = (AsCompleted *)arg.object;
    as_completed_let_go(it);
    for (; it->unfinished; it->unfinished--) queue_put_nowait(it->done, None);
    release(it->timer); /* which holds `it` in turn */
    it->timer = NULL;
}

AsCompleted *asyncio_as_completed_(Value awaitables, double timeout, const Site *site)
{
    if (awaitables.tag == VALUE_OBJECT)
        throw(TypeError, "expects an iterable of awaitables, not %s", value_type(awaitables));
    Loop *loop = asyncio_get_event_loop();
    AsCompleted *it = pooled(object_new(&as_completed_class, sizeof *it));
    it->done = retain(asyncio_Queue());
    it->futures = value_retain(list());
    for_in (v, unique(awaitables))
        list_append(it->futures, asyncio_ensure_future_(object_of_value_(v), (TaskOptions){.loop = loop}, site));
    for_own (v, it->futures) future_on_done(as_future(v), as_completed_one_done, it, "as_completed_one_done");
    it->unfinished = it->left = len(it->futures);
    watching_begin(&it->watching, loop, it);
    if (it->left && timeout != NO_TIMEOUT) it->timer = retain(loop_call_later(loop, timeout, as_completed_over, V(it)));
    return it;
}

static Future *as_completed_take(AsCompleted *it)
{
    Value v = await(queue_get(it->done));
    if (is_none(v)) throw(TimeoutError);
    return as_future(v);
}

async_def(as_completed_result, (AsCompleted *)it) { return future_result(as_completed_take(it)); }

Coroutine *as_completed_next(AsCompleted *it)
{
    if (!it->left) return NULL;
    it->left--;
    return as_completed_result(it);
}

static Value as_completed_step(void *iterator, bool *end)
{
    AsCompleted *it = iterator;
    if (!it->left) {
        *end = true;
        return None;
    }
    it->left--;
    return V(as_completed_take(it));
}

/* ---- [sync] Lock, Event, Condition, Semaphore, Barrier -------------------------------------------------------------
 *
 * Every one has the same shape: a state, and a line of waiters. A Waiter is a future and a place in the line; it
 * lives on the stack of the task that waits. To wake somebody is to complete his future; he runs later, and in
 * between others may come. So each primitive must answer: may a newcomer overtake one who has been woken? (No: he
 * looks at the line, not only at the state.) And who is woken instead, if the one that was woken is cancelled
 * before he runs? (The next in line.)
 */

typedef struct Waiter {
    Future future;
    Task *task;
    const char *role; /* for the trace: "getter" */
    struct Waiter *previous, *next;
    bool in_line;
} Waiter;

typedef struct Line {
    Waiter *first, *last;
    long loop; /* the number of the first waiter's, which may be gone by now */
} Line;

/* The task that is about to wait in this line, which belongs to one loop for good. */
static Task *line_task(Line *line, void *owner)
{
    Task *task = task_to_suspend();
    if (line->loop && line->loop != task->future.loop->number)
        throw(RuntimeError, "%s is bound to a different event loop", as_str(value_repr(value_object_(owner))));
    line->loop = task->future.loop->number;
    return task;
}

/* A future in memory of the waiter's own, field by field: to clear the whole of it first would take as long as all
 * else here. */
static void future_begin(Future *future, Loop *loop, const char *purpose, void *owner)
{
    future->object = (Object){.class = &future_class, .references = 1};
    future->loop = loop;
    future->result.tag = future->message.tag = VALUE_NONE;
    future->more = NULL;
    future->callback_count = future->more_capacity = future->also_count = 0;
    future->state = PENDING;
    future->failed = future->unretrieved = future->quiet = false;
    future->asyncio_owned = true;
    future->purpose = purpose;
    future->owner = owner;
    future->awaited_by = NULL;
    future->also_awaited_by = NULL;
}

static void line_join(Line *line, Waiter *waiter, const char *role, const char *purpose, void *owner)
{
    Task *task = line_task(line, owner);
    future_begin(&waiter->future, task->future.loop, purpose, owner);
    waiter->task = task;
    waiter->role = role;
    waiter->previous = line->last;
    waiter->next = NULL;
    waiter->in_line = true;
    *(line->last ? &line->last->next : &line->first) = waiter;
    line->last = waiter;
}

static void line_remove(Line *line, Waiter *waiter)
{
    if (!waiter->in_line) return;
    *(waiter->previous ? &waiter->previous->next : &line->first) = waiter->next;
    *(waiter->next ? &waiter->next->previous : &line->last) = waiter->previous;
    waiter->in_line = false;
}

static void future_let_go(Future *future)
{
    if (is_counted(future->result)) value_pooled(future->result);
    if (is_counted(future->message)) value_release(future->message);
    for (int i = 0; i < future->callback_count; i++) release(*future_waiting(future, i)); /* its loop has closed */
}

/* The future goes with the stack that it lies on. Its exception, if it has one, is still to be raised. */
static inline void future_end(Future *future)
{
    assert(future->object.references == 1);
    if (is_counted(future->result) || is_counted(future->message) || future->callback_count) future_let_go(future);
}

/* Waits in line. Returns the exception to raise, or None; *woken tells whether somebody had woken this waiter,
 * which may be so even then. Whoever was woken and goes away must wake the next. */
static Value line_wait(Line *line, const char *role, const char *purpose, void *owner, bool *woken)
{
    Waiter me;
    line_join(line, &me, role, purpose, owner);
    TRACE_CHANGED(owner, role);
    Value interruption = task_wait(me.task, &me.future);
    line_remove(line, &me);
    *woken = me.future.state == FINISHED;
    future_end(&me.future);
    return interruption;
}

static Waiter *line_first_asleep(Line *line)
{
    for (Waiter *waiter = line->first; waiter; waiter = waiter->next)
        if (waiter->future.state == PENDING) return waiter;
    return NULL;
}

/* Wakes the first who is still asleep; he stays in line until he runs. */
static bool line_wake_first(Line *line)
{
    Waiter *waiter = line_first_asleep(line);
    if (waiter) future_finish(&waiter->future, True);
    return waiter != NULL;
}

static bool line_has_uncancelled(Line *line)
{
    for (Waiter *waiter = line->first; waiter; waiter = waiter->next)
        if (waiter->future.state != CANCELLED) return true;
    return false;
}

static int line_length(Line *line)
{
    int n = 0;
    for (Waiter *waiter = line->first; waiter; waiter = waiter->next) n++;
    return n;
}

static void write_waiter_count(Line *line, FILE *out)
{
    int n = line_length(line);
    if (n) fprintf(out, ", waiters:%d", n);
    fputs("]>", out);
}

/* A lock is free or taken, and belongs to nobody in particular; `holder` is only for those who look. */
struct Lock {
    Object object;
    bool locked;
    Line line;
    Task *holder;
};

static void lock_destroy(void *object);
static void lock_repr(void *object, FILE *out);
static void lock_describe(void *object, FILE *out);
static Value lock_enter(void *manager);
static bool lock_leave(void *manager, Value e);
static const Class lock_class = {
    .name = "Lock", .size = sizeof(Lock), .destroy = lock_destroy, .write = lock_repr,
    .enter = lock_enter, .leave = lock_leave, .describe = lock_describe};

Lock *asyncio_Lock(void)
{
    Lock *lock = pooled(object_new(&lock_class, sizeof *lock));
    TRACE_MADE(lock);
    return lock;
}

Lock *as_lock(Value v) { return expect_object(v, &lock_class, "a Lock"); }

static void lock_destroy(void *object) { release(((Lock *)object)->holder); }

static void lock_repr(void *object, FILE *out)
{
    Lock *lock = object;
    fprintf(out, "<Lock [%s", lock->locked ? "locked" : "unlocked");
    write_waiter_count(&lock->line, out);
}

static void lock_take(Lock *lock)
{
    lock->locked = true;
    lock->holder = retain(here.loop->current);
    TRACE_CHANGED(lock, "acquired");
}

/* Wakes the head of the line and nobody else: if he is awake already, or cancelled and still in line, it is his
 * turn to take the lock or to wake the next. Two may never be awake at once: both would take it. */
static void lock_wake_head(Lock *lock)
{
    Waiter *head = lock->line.first;
    if (head && head->future.state == PENDING) future_finish(&head->future, True);
}

/* Returns the exception to raise, or None when the lock is taken. */
static Value lock_wait(Lock *lock)
{
    if (lock->locked || line_has_uncancelled(&lock->line)) {
        bool woken;
        Value interruption = line_wait(&lock->line, "waiter", "lock.acquire()", lock, &woken);
        if (!is_none(interruption)) {
            if (!lock->locked) lock_wake_head(lock);
            return interruption;
        }
    }
    lock_take(lock);
    return None;
}

static Value lock_enter(void *manager)
{
    task_running();
    Value interruption = lock_wait(manager);
    if (!is_none(interruption)) throw(interruption);
    return None;
}

ASYNC(lock_acquire, lock_acquire, (Lock *)lock)
{
    lock_enter(lock);
    return True;
}

void lock_release(Lock *lock)
{
    if (!lock->locked) throw(RuntimeError, "Lock is not acquired.");
    lock->locked = false;
    release(lock->holder);
    lock->holder = NULL;
    lock_wake_head(lock);
    TRACE_CHANGED(lock, "released");
}

static bool lock_leave(void *manager, Value e)
{
    (void)e;
    lock_release(manager);
    return false;
}

bool lock_locked(Lock *lock) { return lock->locked; }

/* An event is a flag to wait for. set() wakes exactly those who wait now, even if clear() follows at once. */
struct Event {
    Object object;
    bool set;
    Line line;
};

static void event_repr(void *object, FILE *out);
static void event_describe(void *object, FILE *out);
static const Class event_class = {
    .name = "Event", .size = sizeof(Event), .write = event_repr, .describe = event_describe};

Event *asyncio_Event(void)
{
    Event *event = pooled(object_new(&event_class, sizeof *event));
    TRACE_MADE(event);
    return event;
}

static void event_repr(void *object, FILE *out)
{
    Event *event = object;
    fprintf(out, "<Event [%s", event->set ? "set" : "unset");
    write_waiter_count(&event->line, out);
}

ASYNC(event_wait, event_wait, (Event *)event)
{
    bool woken;
    if (event->set) return True;
    Value interruption = line_wait(&event->line, "waiter", "event.wait()", event, &woken);
    if (!is_none(interruption)) throw(interruption);
    return True;
}

void event_set(Event *event)
{
    if (event->set) return;
    event->set = true;
    while (line_wake_first(&event->line)) {}
    TRACE_CHANGED(event, "set");
}

void event_clear(Event *event)
{
    event->set = false;
    TRACE_CHANGED(event, "cleared");
}

bool event_is_set(Event *event) { return event->set; }
Event *as_event(Value v) { return expect_object(v, &event_class, "an Event"); }

/* A condition is a line of its own beside a lock. wait() gives the lock up and always has it again when it ends,
 * even when it ends by being cancelled, again and again; only then is the exception raised. */
struct Condition {
    Object object;
    Lock *lock;
    Line line;
    Barrier *barrier; /* that it is part of, or NULL */
};

static void condition_destroy(void *object);
static void condition_repr(void *object, FILE *out);
static void condition_describe(void *object, FILE *out);
static Value condition_enter(void *manager);
static bool condition_leave(void *manager, Value e);
static const Class condition_class = {
    .name = "Condition", .size = sizeof(Condition), .destroy = condition_destroy, .write = condition_repr,
    .enter = condition_enter, .leave = condition_leave, .describe = condition_describe};

Condition *asyncio_Condition_(Lock *lock)
{
    Condition *condition = pooled(object_new(&condition_class, sizeof *condition));
    condition->lock = retain(lock ? lock : asyncio_Lock());
    TRACE_MADE(condition);
    return condition;
}

static void condition_destroy(void *object) { release(((Condition *)object)->lock); }

static void condition_repr(void *object, FILE *out)
{
    Condition *condition = object;
    fprintf(out, "<Condition [%s", condition->lock->locked ? "locked" : "unlocked");
    write_waiter_count(&condition->line, out);
}

static Value condition_enter(void *manager) { return lock_enter(((Condition *)manager)->lock); }
static bool condition_leave(void *manager, Value e) { return lock_leave(((Condition *)manager)->lock, e); }
Coroutine *condition_acquire(Condition *condition) { return lock_acquire(condition->lock); }
void condition_release(Condition *condition) { lock_release(condition->lock); }
Condition *as_condition(Value v) { return expect_object(v, &condition_class, "a Condition"); }
bool condition_locked(Condition *condition) { return lock_locked(condition->lock); }

static void condition_wake(Condition *condition, int n)
{
    for (; n > 0 && line_wake_first(&condition->line); n--) {}
}

void condition_notify_(Condition *condition, int n)
{
    if (!condition->lock->locked) throw(RuntimeError, "cannot notify on un-acquired lock");
    condition_wake(condition, n);
    TRACE_CHANGED(condition, "notified");
}

void condition_notify_all(Condition *condition) { condition_notify_(condition, INT_MAX); }

/* Takes the lock again, however often that is cancelled. Returns the last of those cancellations, or None. */
static Value condition_lock_again(Condition *condition)
{
    Value last = None;
    for (Value again; !is_none(again = lock_wait(condition->lock)); last = again)
        if (!isinstance(again, CancelledError)) throw(again);
    return last;
}

static void condition_sleep(Condition *condition)
{
    bool woken;
    if (!condition->lock->locked) throw(RuntimeError, "cannot wait on un-acquired lock");
    line_task(&condition->line, condition); /* while the lock is still held: it may raise */
    lock_release(condition->lock);
    Value asleep = line_wait(&condition->line, "waiter", "condition.wait()", condition, &woken);
    Value last = condition_lock_again(condition);
    if (is_none(last)) last = asleep;
    if (is_none(last)) return;
    condition_wake(condition, 1); /* the wake-up may have been this one's; one too many does no harm */
    if (is_none(asleep)) throw(last);
    exception_set_context((Exc *)last.object, asleep);
    exception_fly(retain(last.object));
}

ASYNC(condition_wait, condition_wait, (Condition *)condition)
{
    condition_sleep(condition);
    return True;
}

typedef Value (*Predicate)(Value arg);

static Value condition_until(Condition *condition, Predicate predicate, Value arg)
{
    Value result = predicate(arg);
    while (!value_truth(result)) {
        condition_sleep(condition);
        result = predicate(arg);
    }
    return result;
}

ASYNC(condition_wait_for, condition_wait_for, (Condition *)condition, (Predicate)predicate, (Value)arg)
{
    return condition_until(condition, predicate, arg);
}

/* A semaphore counts. release() hands its unit to the first in line at once, so nobody can take it in between.
 * Invariant: value > 0 only while nobody in line is asleep, once the running task lets go of the loop. */
struct Semaphore {
    Object object;
    long value, bound; /* bound: -1 if it has none */
    Line line;
};

static void semaphore_repr(void *object, FILE *out);
static void semaphore_describe(void *object, FILE *out);
static Value semaphore_enter(void *manager);
static bool semaphore_leave(void *manager, Value e);
static const Class semaphore_class = {
    .name = "Semaphore", .size = sizeof(Semaphore), .write = semaphore_repr,
    .enter = semaphore_enter, .leave = semaphore_leave, .describe = semaphore_describe};
static const Class bounded_semaphore_class = {
    .name = "BoundedSemaphore", .size = sizeof(Semaphore), .write = semaphore_repr,
    .enter = semaphore_enter, .leave = semaphore_leave, .describe = semaphore_describe};

static Semaphore *semaphore_new(const Class *class, int value, int bound)
{
    if (value < 0) throw(ValueError, "Semaphore initial value must be >= 0");
    Semaphore *semaphore = pooled(object_new(class, sizeof *semaphore));
    semaphore->value = value;
    semaphore->bound = bound;
    TRACE_MADE(semaphore);
    return semaphore;
}

Semaphore *asyncio_Semaphore_(int value) { return semaphore_new(&semaphore_class, value, -1); }
Semaphore *asyncio_BoundedSemaphore_(int value) { return semaphore_new(&bounded_semaphore_class, value, value); }

Semaphore *as_semaphore(Value v)
{
    bool bounded = v.tag == VALUE_OBJECT && v.object->class == &bounded_semaphore_class;
    return expect_object(v, bounded ? &bounded_semaphore_class : &semaphore_class, "a Semaphore");
}

bool semaphore_locked(Semaphore *semaphore)
{
    return semaphore->value == 0 || line_has_uncancelled(&semaphore->line);
}

static void semaphore_repr(void *object, FILE *out)
{
    Semaphore *semaphore = object;
    fprintf(out, "<%s [", semaphore->object.class->name);
    if (semaphore_locked(semaphore)) fputs("locked", out);
    else fprintf(out, "unlocked, value:%ld", semaphore->value);
    write_waiter_count(&semaphore->line, out);
}

/* Hands a unit to the first who is still asleep. */
static bool semaphore_wake_next(Semaphore *semaphore)
{
    if (!line_first_asleep(&semaphore->line)) return false;
    semaphore->value--;
    return line_wake_first(&semaphore->line);
}

static Value semaphore_enter(void *manager)
{
    Semaphore *semaphore = manager;
    bool woken;
    task_running();
    if (!semaphore_locked(semaphore)) {
        semaphore->value--;
        TRACE_CHANGED(semaphore, "acquired");
        return None;
    }
    Value interruption = line_wait(&semaphore->line, "waiter", "semaphore.acquire()", semaphore, &woken);
    if (!is_none(interruption) && woken) semaphore->value++; /* what was handed over, back */
    while (semaphore->value > 0 && semaphore_wake_next(semaphore)) {}
    TRACE_CHANGED(semaphore, is_none(interruption) ? "acquired" : "a waiter was cancelled");
    if (!is_none(interruption)) throw(interruption);
    return None;
}

ASYNC(semaphore_acquire, semaphore_acquire, (Semaphore *)semaphore)
{
    semaphore_enter(semaphore);
    return True;
}

void semaphore_release(Semaphore *semaphore)
{
    if (semaphore->bound >= 0 && semaphore->value >= semaphore->bound)
        throw(ValueError, "BoundedSemaphore released too many times");
    semaphore->value++;
    semaphore_wake_next(semaphore);
    TRACE_CHANGED(semaphore, "released");
}

static bool semaphore_leave(void *manager, Value e)
{
    (void)e;
    semaphore_release(manager);
    return false;
}

/* A barrier lets its parties go on once all have arrived. It fills, then drains before it may fill again; reset()
 * and abort() break it for those inside. It is a condition with four states, and reads as one. */
typedef enum { FILLING, DRAINING, RESETTING, BROKEN } BarrierState;
static const char *const barrier_states[] = {"filling", "draining", "resetting", "broken"};

struct Barrier {
    Object object;
    int parties, count;
    BarrierState state;
    Condition *condition;
};

static void barrier_destroy(void *object);
static void barrier_repr(void *object, FILE *out);
static void barrier_describe(void *object, FILE *out);
static Value barrier_enter(void *manager);
static bool barrier_leave(void *manager, Value e);
static const Class barrier_class = {
    .name = "Barrier", .size = sizeof(Barrier), .destroy = barrier_destroy, .write = barrier_repr,
    .enter = barrier_enter, .leave = barrier_leave, .describe = barrier_describe};

Barrier *asyncio_Barrier(int parties)
{
    if (parties < 1) throw(ValueError, "parties must be > 0");
    Barrier *barrier = pooled(object_new(&barrier_class, sizeof *barrier));
    barrier->parties = parties;
    barrier->condition = retain(asyncio_Condition());
    barrier->condition->barrier = barrier;
    TRACE_MADE(barrier);
    return barrier;
}

Barrier *as_barrier(Value v) { return expect_object(v, &barrier_class, "a Barrier"); }
static void barrier_destroy(void *object) { release(((Barrier *)object)->condition); }
int barrier_parties(Barrier *barrier) { return barrier->parties; }
int barrier_n_waiting(Barrier *barrier) { return barrier->state == FILLING ? barrier->count : 0; }
bool barrier_broken(Barrier *barrier) { return barrier->state == BROKEN; }

static void barrier_repr(void *object, FILE *out)
{
    Barrier *barrier = object;
    fprintf(out, "<Barrier [%s", barrier_states[barrier->state]);
    if (barrier->state != BROKEN) fprintf(out, ", waiters:%d/%d", barrier_n_waiting(barrier), barrier->parties);
    fputs("]>", out);
}

static Value barrier_may_enter(Value v)
{
    Barrier *barrier = (Barrier *)v.object;
    return V((bool)(barrier->state != DRAINING && barrier->state != RESETTING));
}

static Value barrier_is_full(Value v) { return V((bool)(((Barrier *)v.object)->state != FILLING)); }

static void barrier_await_others(Barrier *barrier, int index)
{
    if (index + 1 == barrier->parties) {
        barrier->state = DRAINING;
        condition_notify_all(barrier->condition);
        TRACE_CHANGED(barrier, "all have arrived");
        return;
    }
    TRACE_CHANGED(barrier, "one more has arrived");
    condition_until(barrier->condition, barrier_is_full, V(barrier));
    if (barrier->state == BROKEN || barrier->state == RESETTING)
        throw(BrokenBarrierError, "Abort or reset of barrier");
}

static void barrier_go(Barrier *barrier)
{
    if (--barrier->count == 0) {
        if (barrier->state == RESETTING || barrier->state == DRAINING) barrier->state = FILLING;
        condition_notify_all(barrier->condition);
    }
    TRACE_CHANGED(barrier, "one has left");
}

static Value barrier_enter(void *manager)
{
    Barrier *barrier = manager;
    async_with (barrier->condition) {
        condition_until(barrier->condition, barrier_may_enter, V(barrier));
        if (barrier->state == BROKEN) throw(BrokenBarrierError, "Barrier aborted");
        const int index = barrier->count++;
        try {
            barrier_await_others(barrier, index);
        } finally {
            barrier_go(barrier);
        } end_try
        return V(index);
    } end_with
    return None;
}

static bool barrier_leave(void *manager, Value e)
{
    (void)manager;
    (void)e;
    return false;
}

ASYNC(barrier_wait, barrier_wait, (Barrier *)barrier) { return barrier_enter(barrier); }

ASYNC(barrier_reset, barrier_reset, (Barrier *)barrier)
{
    async_with (barrier->condition) {
        barrier->state = barrier->count > 0 ? RESETTING : FILLING;
        condition_notify_all(barrier->condition);
        TRACE_CHANGED(barrier, "reset");
    } end_with
    return None;
}

ASYNC(barrier_abort, barrier_abort, (Barrier *)barrier)
{
    async_with (barrier->condition) {
        barrier->state = BROKEN;
        condition_notify_all(barrier->condition);
        TRACE_CHANGED(barrier, "aborted");
    } end_with
    return None;
}

/* ---- [queues] Queues -----------------------------------------------------------------------------------------------
 *
 * The same shape with two lines: getters wait while the queue is empty, putters while it is full. A woken getter
 * leaves the line, but the item stays in the queue: whoever comes first takes it, and the getter looks again. (In a
 * third line are those who wait in join() until all that was put has been worked off.) Three ways to store the items
 * make three queues.
 */

typedef enum { FIFO, LIFO, PRIORITY } QueueOrder;

struct Queue {
    Object object;
    QueueOrder order;
    int maxsize, unfinished; /* unfinished: put, and no task_done() for it yet */
    bool shut;
    Value *items;               /* FIFO: a ring from `first` on; LIFO: a stack; PRIORITY: a heap */
    int first, count, capacity; /* capacity: a power of two */
    Line getters, putters, joiners;
};

static void queue_destroy(void *object);
static void queue_repr(void *object, FILE *out);
static void queue_describe(void *object, FILE *out);
#define QUEUE_CLASS(shown) \
    {.name = shown, .size = sizeof(Queue), .destroy = queue_destroy, .write = queue_repr, .describe = queue_describe}
static const Class queue_classes[] = {QUEUE_CLASS("Queue"), QUEUE_CLASS("LifoQueue"), QUEUE_CLASS("PriorityQueue")};

static Queue *queue_new(QueueOrder order, int maxsize)
{
    Queue *queue = pooled(object_new(&queue_classes[order], sizeof *queue));
    queue->order = order;
    queue->maxsize = maxsize;
    TRACE_MADE(queue);
    return queue;
}

Queue *asyncio_Queue_(int maxsize) { return queue_new(FIFO, maxsize); }
Queue *asyncio_LifoQueue_(int maxsize) { return queue_new(LIFO, maxsize); }
Queue *asyncio_PriorityQueue_(int maxsize) { return queue_new(PRIORITY, maxsize); }

static Value *queue_slot(Queue *queue, int i) { return &queue->items[(queue->first + i) & (queue->capacity - 1)]; }

static void queue_destroy(void *object)
{
    Queue *queue = object;
    for (int i = 0; i < queue->count; i++) value_release(*queue_slot(queue, i));
    free(queue->items);
}

static void queue_repr(void *object, FILE *out)
{
    Queue *queue = object;
    fprintf(out, "<%s maxsize=%d", queue->object.class->name, queue->maxsize);
    if (queue->count) fputs(" _queue=[", out);
    for (int i = 0; i < queue->count; i++) {
        if (i) fputs(", ", out);
        value_write(*queue_slot(queue, i), true, out);
    }
    if (queue->count) fputc(']', out);
    if (queue->getters.first) fprintf(out, " _getters[%d]", line_length(&queue->getters));
    if (queue->putters.first) fprintf(out, " _putters[%d]", line_length(&queue->putters));
    if (queue->unfinished) fprintf(out, " tasks=%d", queue->unfinished);
    fputs(queue->shut ? " shutdown>" : ">", out);
}

Queue *as_queue(Value v)
{
    for (int i = 1; i < 3; i++)
        if (v.tag == VALUE_OBJECT && v.object->class == &queue_classes[i]) return (Queue *)v.object;
    return expect_object(v, &queue_classes[FIFO], "a Queue");
}

int queue_qsize(Queue *queue) { return queue->count; }
int queue_maxsize(Queue *queue) { return queue->maxsize; }
bool queue_empty(Queue *queue) { return queue->count == 0; }
bool queue_full(Queue *queue) { return queue->maxsize > 0 && queue->count >= queue->maxsize; }

static void queue_grow(Queue *queue)
{
    int capacity = queue->capacity ? queue->capacity * 2 : 8;
    Value *items = allocate_or_raise(NULL, (size_t)capacity * sizeof *items);
    for (int i = 0; i < queue->count; i++) items[i] = *queue_slot(queue, i);
    free(queue->items);
    queue->items = items;
    queue->first = 0;
    queue->capacity = capacity;
}

/* The heap, moved through as heapq does. A comparison may raise: items change places in pairs, so each stays there once. */

static void heap_swap(Value *heap, int a, int b)
{
    Value v = heap[a];
    heap[a] = heap[b];
    heap[b] = v;
}

static void heap_sift_up(Value *heap, int position)
{
    for (int parent; position > 0; position = parent) {
        parent = (position - 1) / 2;
        if (!value_less(heap[position], heap[parent])) return;
        heap_swap(heap, position, parent);
    }
}

static void heap_sift_down(Value *heap, int count)
{
    int position = 0;
    for (int child; (child = 2 * position + 1) < count; position = child) {
        if (child + 1 < count && !value_less(heap[child], heap[child + 1])) child++;
        heap_swap(heap, position, child);
    }
    heap_sift_up(heap, position);
}

static void queue_store(Queue *queue, Value item)
{
    if (queue->count == queue->capacity) queue_grow(queue);
    *queue_slot(queue, queue->count++) = value_retain(item);
    if (queue->order == PRIORITY) heap_sift_up(queue->items, queue->count - 1);
}

/* As heapq's, it takes the item out before it compares the others: if that raises, the item is gone. */
static Value queue_fetch(Queue *queue)
{
    int last = --queue->count;
    if (queue->order == FIFO) {
        Value item = queue->items[queue->first];
        queue->first = (queue->first + 1) & (queue->capacity - 1);
        return value_pooled(item);
    }
    if (queue->order == LIFO) return value_pooled(queue->items[last]);
    heap_swap(queue->items, 0, last);
    Value item = value_pooled(queue->items[last]);
    heap_sift_down(queue->items, last);
    return item;
}

/* Wakes the first who is still asleep; all before him leave the line, and so does he. */
static void queue_wake_next(Line *line)
{
    for (Waiter *waiter; (waiter = line->first);) {
        line_remove(line, waiter);
        if (waiter->future.state != PENDING) continue;
        future_finish(&waiter->future, None);
        return;
    }
}

void queue_put_nowait_(Queue *queue, Value item)
{
    if (queue->shut) throw(QueueShutDown);
    if (queue_full(queue)) throw(QueueFull);
    queue_store(queue, item);
    queue->unfinished++;
    queue_wake_next(&queue->getters);
    TRACE_CHANGED_VALUE(queue, "put", item);
}

Value queue_get_nowait(Queue *queue)
{
    if (!queue->count) throw(queue->shut ? QueueShutDown : QueueEmpty);
    Value item = queue_fetch(queue);
    queue_wake_next(&queue->putters);
    TRACE_CHANGED_VALUE(queue, "got", item);
    return item;
}

static bool queue_blocks(Queue *queue, bool putting) { return putting ? queue_full(queue) : !queue->count; }

/* put() and get() do the same at the two ends: wait in line as long as there is no room, or no item. */
static Value queue_pass(Queue *queue, bool putting, Value item)
{
    Line *line = putting ? &queue->putters : &queue->getters;
    while (queue_blocks(queue, putting)) {
        bool woken;
        if (queue->shut) throw(QueueShutDown);
        const char *role = putting ? "putter" : "getter", *purpose = putting ? "queue.put()" : "queue.get()";
        Value interruption = line_wait(line, role, purpose, queue, &woken);
        if (is_none(interruption)) continue;
        if (woken && !queue_blocks(queue, putting)) queue_wake_next(line);
        throw(interruption);
    }
    if (!putting) return queue_get_nowait(queue);
    queue_put_nowait_(queue, item);
    return None;
}

ASYNC(queue_put, queue_put_, (Queue *)queue, (Value)item) { return queue_pass(queue, true, item); }
ASYNC(queue_get, queue_get, (Queue *)queue) { return queue_pass(queue, false, None); }

static void queue_all_done(Queue *queue)
{
    while (line_wake_first(&queue->joiners)) {}
}

void queue_task_done(Queue *queue)
{
    if (queue->unfinished <= 0) throw(ValueError, "task_done() called too many times");
    if (--queue->unfinished == 0) queue_all_done(queue);
    TRACE_CHANGED(queue, "a task is done");
}

ASYNC(queue_join, queue_join, (Queue *)queue)
{
    bool woken;
    if (!queue->unfinished) return None;
    Value interruption = line_wait(&queue->joiners, "joiner", "queue.join()", queue, &woken);
    if (!is_none(interruption)) throw(interruption);
    return None;
}

void queue_shutdown_(Queue *queue, bool immediate)
{
    queue->shut = true;
    while (immediate && queue->count) {
        scope queue_fetch(queue);
        if (queue->unfinished > 0) queue->unfinished--;
    }
    if (immediate && !queue->unfinished) queue_all_done(queue);
    while (queue->getters.first) queue_wake_next(&queue->getters);
    while (queue->putters.first) queue_wake_next(&queue->putters);
    TRACE_CHANGED(queue, immediate ? "shut down, emptied" : "shut down");
}

/* ---- [taskgroup] TaskGroup -----------------------------------------------------------------------------------------
 *
 * Its block ends when all its tasks have. The first that fails aborts the group: the others are cancelled, and the
 * parent too if it is still inside the block. That cancel is the group's own, so the exit takes it back by
 * uncancel(), and tells somebody else's cancel from it by what is left.
 */

struct TaskGroup {
    Object object;
    Loop *loop;
    Task *parent;       /* held until all its tasks are done */
    Task *first, *last; /* its tasks that are not done, held */
    int count;
    Value errors;     /* what its tasks and its block have raised, a list until the block is left */
    Value base_error; /* KeyboardInterrupt or SystemExit: goes on alone, past all of these */
    Future *all_done; /* what the exit waits for */
    bool entered, exiting, aborting;
    bool parent_cancel_requested; /* by the group itself */
};

static void taskgroup_destroy(void *object);
static void taskgroup_repr(void *object, FILE *out);
static void taskgroup_describe(void *object, FILE *out);
static Value taskgroup_enter(void *manager);
static bool taskgroup_leave(void *manager, Value e);
static const Class taskgroup_class = {
    .name = "TaskGroup", .size = sizeof(TaskGroup), .destroy = taskgroup_destroy, .write = taskgroup_repr,
    .enter = taskgroup_enter, .leave = taskgroup_leave, .describe = taskgroup_describe};

TaskGroup *asyncio_TaskGroup(void)
{
    TaskGroup *group = pooled(object_new(&taskgroup_class, sizeof *group));
    group->errors = value_retain(list());
    return group;
}

static void taskgroup_add(TaskGroup *group, Task *task)
{
    task->before = group->last;
    *(group->last ? &group->last->after : &group->first) = retain(task);
    group->last = task;
    group->count++;
}

/* The caller gets the hold on it. */
static Task *taskgroup_remove(TaskGroup *group, Task *task)
{
    *(task->before ? &task->before->after : &group->first) = task->after;
    *(task->after ? &task->after->before : &group->last) = task->before;
    task->before = task->after = NULL;
    group->count--;
    return task;
}

static void taskgroup_destroy(void *object)
{
    TaskGroup *group = object;
    while (group->first) release(taskgroup_remove(group, group->first));
    value_release(group->errors);
    value_release(group->base_error);
    release(group->parent);
    release(group->all_done);
}

static void taskgroup_repr(void *object, FILE *out)
{
    TaskGroup *group = object;
    fputs("<TaskGroup", out);
    if (group->count) fprintf(out, " tasks=%d", group->count);
    if (!is_none(group->errors) && len(group->errors)) fprintf(out, " errors=%d", len(group->errors));
    fputs(group->aborting ? " cancelling>" : group->entered ? " entered>" : ">", out);
}

static Value taskgroup_enter(void *manager)
{
    TaskGroup *group = manager;
    if (group->entered)
        throw(RuntimeError, "TaskGroup %s has already been entered", as_str(repr(group)));
    group->loop = asyncio_get_running_loop();
    group->parent = retain(group->loop->current);
    if (!group->parent)
        throw(RuntimeError, "TaskGroup %s cannot determine the parent task", as_str(repr(group)));
    group->entered = true;
    TRACE_MADE(group);
    return V(group);
}

static void taskgroup_abort(TaskGroup *group)
{
    group->aborting = true;
    TRACE_CHANGED(group, "aborting: its tasks are cancelled");
    for (Task *task = group->first; task; task = task->after) task_cancel(task);
}

static void taskgroup_note_base_error(TaskGroup *group, Value e)
{
    if (leaves_loop(e) && is_none(group->base_error)) value_replace(&group->base_error, e);
}

static void taskgroup_failed(TaskGroup *group, Task *task, Value e)
{
    list_append(group->errors, e);
    taskgroup_note_base_error(group, e);
    if (task_done(group->parent)) {
        Value message = format("Task %s has errored out but its parent task %s is already completed",
                               as_str(repr(task)), as_str(repr(group->parent)));
        REPORT(group->loop, .message = as_str(message), .exception = e, .task = task);
    } else if (!group->aborting && !group->parent_cancel_requested) {
        taskgroup_abort(group);
        group->parent_cancel_requested = true;
        task_cancel(group->parent);
    }
}

static void taskgroup_settle(TaskGroup *group, Task *task)
{
    if (group->all_done && !group->count) future_finish_unless_done(group->all_done, True);
    TRACE_CHANGED(group, "one of its tasks is done");
    if (future_failed(&task->future)) taskgroup_failed(group, task, task_exception(task));
}

static void taskgroup_one_done(Future *future, Value arg)
{
    TaskGroup *group = (TaskGroup *)arg.object;
    Task *task = pooled(taskgroup_remove(group, (Task *)future));
    asyncio_future_discard_from_awaited_by(future, &group->parent->future);
    taskgroup_settle(group, task);
}

/* Why it takes no task, or NULL if it does. */
static const char *taskgroup_problem(const TaskGroup *group)
{
    if (!group->entered) return "has not been entered";
    if (group->exiting && !group->count) return "is finished";
    return group->aborting ? "is shutting down" : NULL;
}

Task *taskgroup_create_task_(TaskGroup *group, Coroutine *coro, TaskOptions options, const Site *site)
{
    const char *problem = taskgroup_problem(group);
    if (problem) {
        coroutine_close(coro);
        throw(RuntimeError, "TaskGroup %s %s", as_str(repr(group)), problem);
    }
    options.loop = group->loop;
    Task *task = asyncio_create_task_(coro, options, site);
    if (task_done(task)) { /* an eager one that never suspended */
        taskgroup_settle(group, task);
        return task;
    }
    taskgroup_add(group, task);
    asyncio_future_add_to_awaited_by(&task->future, &group->parent->future);
    future_on_done(&task->future, taskgroup_one_done, group, "taskgroup_one_done");
    TRACE_CHANGED(group, "a new task");
    return task;
}

/* Waits for all tasks. The parent may be cancelled meanwhile, once or often: the first time aborts the group. */
static Value taskgroup_wait(TaskGroup *group, Value cancelled)
{
    while (group->count) {
        release(group->all_done);
        group->all_done = future_inner(group->loop, "the tasks of the TaskGroup", group);
        Value interruption = future_wait(group->all_done);
        if (!is_none(interruption) && !isinstance(interruption, CancelledError)) throw(interruption);
        if (!is_none(interruption) && !group->aborting) {
            cancelled = interruption;
            taskgroup_abort(group);
        }
    }
    return cancelled;
}

static bool taskgroup_leave(void *manager, Value e)
{
    TaskGroup *group = manager;
    bool cancelled_here = isinstance(e, CancelledError);
    group->exiting = true;
    taskgroup_note_base_error(group, e);
    if (!is_none(e) && !group->aborting) taskgroup_abort(group);
    Value cancelled = taskgroup_wait(group, cancelled_here ? e : None);
    TRACE_CHANGED(group, "all its tasks are done");
    Task *parent = pooled(group->parent);
    Value errors = value_pooled(group->errors);
    group->parent = NULL;
    group->errors = None;
    if (!is_none(group->base_error)) throw(group->base_error);
    if (group->parent_cancel_requested && task_uncancel(parent) == 0) cancelled = None;
    if (!is_none(cancelled) && !len(errors)) throw(cancelled);
    if (!is_none(e) && !cancelled_here) list_append(errors, e);
    if (!len(errors)) return false;
    if (task_cancelling(parent)) { /* somebody else's cancel stays in force */
        task_uncancel(parent);
        task_cancel(parent);
    }
    throw_from(None, exception_group("unhandled errors in a TaskGroup", errors));
}

/* ---- [generators] Generators, iterators, context managers ----------------------------------------------------------
 *
 * An asynchronous generator has a stack of its own, like a task, but no turn of its own: its consumer switches to
 * it, and yield() switches back. While it runs it is part of the consumer's task, so an await in it suspends that
 * task, with the generator's stack as the place to go on.
 *
 * async_for and async_with know nothing of generators. Each class says what its objects do there: `next` is __anext__,
 * `enter` and `leave` are __aenter__ and __aexit__. They are called like any function, and suspend as any may.
 */

typedef enum { GENERATOR_CREATED, GENERATOR_SUSPENDED, GENERATOR_RUNNING, GENERATOR_CLOSED } GeneratorState;

struct AsyncGenerator {
    Object object;
    Coroutine *body; /* its frame */
    Stack *stack, *consumer;
    Loop *loop;                      /* where it was started: closes it at shutdown */
    AsyncGenerator *previous, *next; /* in that loop's list */
    Value yielded;                   /* on its way to the consumer */
    Value sent, thrown;              /* on its way to the generator; thrown: also what it lets out */
    GeneratorState state;
    bool finalising; /* nobody holds it any more: a task is about to close it */
    bool refused;    /* aclose() was answered by a yield: only anext() and asend() go on with it */
    bool discarded;  /* what it still would do is not done */
    Task *closer;    /* that task, once it has begun; not held: it holds the generator */
};

static void generator_destroy(void *object);
static void generator_repr(void *object, FILE *out);
static Value generator_next(void *iterator, bool *end);
static const Class generator_class = {
    .name = "async_generator", .size = sizeof(AsyncGenerator), .destroy = generator_destroy,
    .write = generator_repr, .next = generator_next};

AsyncGenerator *generator_new_(const Code *code, const void *arguments)
{
    AsyncGenerator *gen = object_new(&generator_class, sizeof *gen);
    gen->body = coroutine_new_(code, arguments);
    unpool_newest(gen->body);
    return pooled(gen);
}

static void generator_repr(void *object, FILE *out)
{
    fprintf(out, "<async_generator object %s at %p>", ((AsyncGenerator *)object)->body->code->name, object);
}

static void generator_enlist(AsyncGenerator *gen, Loop *loop)
{
    gen->loop = loop;
    gen->next = loop->generators;
    if (gen->next) gen->next->previous = gen;
    loop->generators = gen;
}

static void generator_delist(AsyncGenerator *gen)
{
    if (!gen->loop) return;
    *(gen->previous ? &gen->previous->next : &gen->loop->generators) = gen->next;
    if (gen->next) gen->next->previous = gen->previous;
    gen->previous = gen->next = NULL;
    gen->loop = NULL;
}

static void generator_closed(AsyncGenerator *gen)
{
    gen->state = GENERATOR_CLOSED;
    gen->stack = NULL;
    generator_delist(gen);
    if (gen->body->state == CREATED) coroutine_close_now(gen->body);
}

static Coroutine *generator_body(AsyncGenerator *gen) { return gen->body; }

/* A whole generator, on its own stack. Returns whose stack goes on: the consumer's. */
static Stack *generator_run(Stack *me)
{
    value_release(coroutine_call(me->generator->body));
    return generator_over(me);
}

/* Nobody on its stack has caught e: generator_step() raises it in the consumer. */
static void generator_failed(AsyncGenerator *gen, Value e) { gen->thrown = value_retain(e); }

static Stack *generator_over(Stack *me)
{
    Stack *consumer = me->generator->consumer;
    generator_closed(me->generator);
    me->generator = NULL;
    me->resumer = NULL;
    pool_free(me);
    return consumer;
}

/* Lets it run to its next yield: returns what it yields, or sets *end. `sent` is what its yield returns; `thrown`,
 * if not None, is raised there. */
static Value generator_step(AsyncGenerator *gen, Value sent, Value thrown, bool *end)
{
    *end = false;
    if (gen->state == GENERATOR_RUNNING) throw(RuntimeError, "anext(): asynchronous generator is already running");
    if (gen->state == GENERATOR_CREATED && !is_none(thrown)) generator_closed(gen);
    if (gen->state == GENERATOR_CLOSED) {
        if (!is_none(thrown)) exception_fly(retain(thrown.object));
        *end = true;
        return None;
    }
    if (!gen->stack) {
        gen->stack = stack_take();
        gen->stack->generator = gen;
        if (here.loop) generator_enlist(gen, here.loop);
    }
    retain(gen);
    gen->sent = value_retain(sent);
    gen->thrown = value_retain(thrown);
    gen->consumer = gen->stack->resumer = here.stack;
    gen->state = GENERATOR_RUNNING;
    stack_switch(here.stack, gen->stack);
    *end = gen->state == GENERATOR_CLOSED;
    Value raised = value_pooled(gen->thrown), yielded = value_pooled(gen->yielded);
    gen->thrown = gen->yielded = None;
    pooled(gen);
    if (!is_none(raised)) exception_fly(retain(raised.object));
    return yielded;
}

/* The next exception goes to the bottom of the stack: no `except` or `finally` on the way sees it. */
static void stack_skip_handlers(Stack *stack)
{
    while (stack->handlers->outer) stack->handlers = stack->handlers->outer;
}

Value generator_yield_(Value v, const Site *site)
{
    AsyncGenerator *gen = here.stack->generator;
    if (!gen || here.stack->frame != gen->body)
        throw(RuntimeError, "yield outside an asynchronous generator: it belongs in the body of an async_gen");
    gen->body->site = site;
    gen->yielded = value_retain(v);
    gen->state = GENERATOR_SUSPENDED;
    if (here.thrown_into == gen->body) here.thrown_into = gen->consumer->frame;
    stack_switch(here.stack, gen->consumer);
    Value sent = value_pooled(gen->sent), thrown = value_pooled(gen->thrown);
    gen->sent = gen->thrown = None;
    if (gen->discarded) stack_skip_handlers(here.stack);
    if (!is_none(thrown)) exception_enter(thrown, site);
    return sent;
}

static Value generator_next(void *iterator, bool *end) { return generator_step(iterator, None, None, end); }

static Value generator_resume(AsyncGenerator *gen, Value sent, Value thrown)
{
    bool end;
    Value v = generator_step(gen, sent, thrown, &end);
    if (end) throw(StopAsyncIteration);
    return v;
}

ASYNC(generator_anext, generator_anext, (AsyncGenerator *)gen) { return generator_resume(gen, None, None); }

ASYNC(generator_athrow, generator_athrow, (AsyncGenerator *)gen, (Value)e)
{
    if (gen->state == GENERATOR_RUNNING) throw(RuntimeError, "athrow(): asynchronous generator is already running");
    if (gen->state == GENERATOR_CLOSED) return None; /* as CPython has it */
    if (gen->refused) throw(StopAsyncIteration);
    return generator_resume(gen, None, V(&as_exc(e)->object));
}

ASYNC(generator_asend, generator_asend_, (AsyncGenerator *)gen, (Value)v)
{
    if (gen->state == GENERATOR_CREATED && !is_none(v))
        throw(TypeError, "can't send non-None value to a just-started async generator");
    return generator_resume(gen, v, None);
}

ASYNC(generator_aclose, generator_aclose, (AsyncGenerator *)gen)
{
    bool end = true;
    if (gen->state == GENERATOR_RUNNING) throw(RuntimeError, "aclose(): asynchronous generator is already running");
    if (gen->state == GENERATOR_CREATED) generator_closed(gen);
    if (gen->state == GENERATOR_CLOSED) return None;
    if (gen->refused) throw(StopAsyncIteration);
    try {
        generator_step(gen, None, V(GeneratorExit), &end);
    } except_any (e, GeneratorExit, StopAsyncIteration) {
        return None;
    } end_try
    gen->refused = !end;
    if (gen->refused && gen->closer) generator_delist(gen); /* nobody but its closer holds it */
    if (gen->refused) throw(RuntimeError, "async generator ignored GeneratorExit");
    return None;
}

/* Nobody can ask a generator for more, but its `finally` blocks are still to run, and may await. So a task closes it, as
 * Python's does, begun by a callback; without a loop it is closed where it is dropped, and an await in it fails. */

static void generator_finalise(Value v)
{
    AsyncGenerator *gen = (AsyncGenerator *)v.object;
    if (gen->state == GENERATOR_SUSPENDED) gen->closer = asyncio_create_task(generator_aclose(gen));
}

/* Can its loop still run a task that closes it? */
static bool generator_has_loop(const AsyncGenerator *gen)
{
    Loop *loop = gen->loop;
    return loop && !loop->closed && !loop->generators_shut && (here.loop == loop || !loop->running);
}

static bool generator_finalise_soon(AsyncGenerator *gen)
{
    if (gen->state != GENERATOR_SUSPENDED || gen->finalising || gen->refused || !generator_has_loop(gen)) return false;
    gen->finalising = true;
    loop_call_soon(gen->loop, generator_finalise, .arg = V(gen));
    return true;
}

/* True: it is over. */
static bool generator_exit_now(AsyncGenerator *gen)
{
    bool end;
    try {
        generator_step(gen, None, V(GeneratorExit), &end);
    } except (BaseException) {
        return true;
    } end_try
    return end;
}

/* Python closes a generator once; one that yields instead is let go of where it stands, without a further step. */
static void generator_discard(AsyncGenerator *gen)
{
    bool closed_before = gen->refused && gen->finalising;
    if (!closed_before && generator_exit_now(gen)) return;
    fflush(stdout);
    if (!closed_before)
        fprintf(stderr, "Exception ignored in: %s\nRuntimeError: async generator ignored GeneratorExit\n", as_str(repr(gen)));
    gen->discarded = true;
    generator_exit_now(gen);
}

static void generator_destroy(void *object)
{
    AsyncGenerator *gen = object;
    if (gen->state == GENERATOR_CREATED) generator_closed(gen);
    if (generator_finalise_soon(gen)) return;
    if (gen->state == GENERATOR_SUSPENDED) generator_discard(gen);
    generator_delist(gen);
    release(gen->body);
    gen->body = NULL; /* its last step may have left it in a pool: then this runs again */
}

ASYNC(loop_shutdown_asyncgens, loop_shutdown_asyncgens, (Loop *)loop)
{
    Value closing = list(), generators = list();
    loop->generators_shut = true;
    for (AsyncGenerator *gen = loop->generators; gen; gen = gen->next) {
        list_append(generators, gen);
        if (gen->closer) list_append(closing, gen->closer);
        else list_append(closing, generator_aclose(gen));
    }
    if (!len(closing)) return None;
    Value results = await(asyncio_gather_list(closing, .return_exceptions = true));
    for (int i = 0; i < len(results); i++) {
        Value e = list_get(results, i);
        if (!isinstance(e, Exception)) continue;
        AsyncGenerator *gen = (AsyncGenerator *)list_get(generators, i).object;
        Value message = format("an error occurred during closing of asynchronous generator %s", as_str(repr(gen)));
        REPORT(loop, .message = as_str(message), .exception = e, .asyncgen = gen);
    }
    return None;
}

/* Iterators that the program wrote: a function that plays __anext__. */
struct AsyncIterator {
    Object object;
    Coroutine *(*anext)(Value self);
    Value self;
};

static void iterator_destroy(void *object) { value_release(((AsyncIterator *)object)->self); }

static Value iterator_next(void *object, bool *end)
{
    AsyncIterator *it = object;
    try {
        return await(it->anext(it->self));
    } except (StopAsyncIteration) {
        *end = true;
    } end_try
    return None;
}

static const Class iterator_class = {
    .name = "async_iterator", .size = sizeof(AsyncIterator), .destroy = iterator_destroy, .next = iterator_next};

AsyncIterator *asyncio_iterator_(Coroutine *(*anext)(Value self), Value self)
{
    if (!anext) throw(TypeError, "asyncio_iterator() needs a function, got NULL");
    AsyncIterator *it = pooled(object_new(&iterator_class, sizeof *it));
    it->anext = anext;
    it->self = value_retain(self);
    return it;
}

static bool is_iterator(Value v) { return v.tag == VALUE_OBJECT && v.object->class->next; }

static Object *as_iterator(Value v)
{
    if (!is_iterator(v))
        throw(TypeError, "'async for' requires an object with __aiter__ method, got %s", value_type(v));
    return v.object;
}

static Value iterator_step(Object *iterator)
{
    bool end = false;
    Value v = iterator->class->next(iterator, &end);
    if (end) throw(StopAsyncIteration);
    return v;
}

async_def(iterator_anext, (Object *)iterator) { return iterator_step(iterator); }

Value asyncio_anext_(Value v)
{
    if (!is_iterator(v)) throw(TypeError, "'%s' object is not an async iterator", value_type(v));
    AsyncIterator *it = (AsyncIterator *)v.object;
    return V(v.object->class == &iterator_class ? it->anext(it->self) : iterator_anext(v.object));
}

/* One async_for: the iterator, and where the pool stood when the loop began. */
typedef struct Iteration {
    Object object;
    Object *iterator;
    int mark;
    bool made_here; /* the iterator has no name outside, and nobody holds it */
} Iteration;

static void iteration_destroy(void *object) { release(((Iteration *)object)->iterator); }
static const Class iteration_class = {.name = "async_for", .size = sizeof(Iteration), .destroy = iteration_destroy};

Value async_iter_(Value iterable, bool only_here, const Site *site)
{
    mark_site(site);
    Stack *stack = here.stack;
    Object *iterator = as_iterator(iterable);
    bool newest = stack->pool_size && stack->pool[stack->pool_size - 1] == iterator;
    Iteration *iteration = pooled(object_new(&iteration_class, sizeof *iteration));
    iteration->made_here = only_here && newest && iterator->references == 1;
    iteration->iterator = retain(iterator);
    iteration->mark = stack->pool_size;
    return V(&iteration->object);
}

bool async_next_(Value v, Value *item, const Site *site)
{
    Iteration *iteration = (Iteration *)v.object;
    bool end = false;
    pool_drop(here.stack, iteration->mark);
    mark_await(site, iteration->iterator);
    task_running();
    *item = iteration->iterator->class->next(iteration->iterator, &end);
    return !end;
}

/* The loop is over: a generator that was left by break is closed, as Python's would be. */
void async_leave_(Value *v)
{
    Iteration *iteration = (Iteration *)v->object;
    Object *iterator = iteration->iterator;
    if (iteration->made_here && iterator->class == &generator_class) generator_finalise_soon((AsyncGenerator *)iterator);
}

/* [await x for x in awaitables] */
Value async_list_await_(Value awaitables, const Site *site)
{
    Value results = list();
    for_in (v, awaitables) list_append(results, await_(awaitable_of_value_(v), 0, site));
    return results;
}

/* Context managers that the program wrote, or made of a generator that yields once. */
struct ContextManager {
    Object object;
    Coroutine *(*aenter)(Value self), *(*aexit)(Value self, Value e);
    Value self;
    AsyncGenerator *gen;
};

static void manager_destroy(void *object)
{
    ContextManager *manager = object;
    value_release(manager->self);
    release(manager->gen);
}

static Value generator_enter(AsyncGenerator *gen)
{
    try {
        return generator_resume(gen, None, None);
    } except (StopAsyncIteration) {
        throw_from(None, RuntimeError, "generator didn't yield");
    } end_try
    return None;
}

static Value manager_enter(void *object)
{
    ContextManager *manager = object;
    return manager->gen ? generator_enter(manager->gen) : await(manager->aenter(manager->self));
}

/* The exception that was thrown in has come out again, perhaps in the RuntimeError that it turns into if it would end
 * an iteration. */
static bool comes_out(Value raised, Value e)
{
    bool wrapped = value_is_exception(raised, RuntimeError) &&
                   (value_is_exception(e, StopIteration) || value_is_exception(e, StopAsyncIteration));
    return raised.object == e.object || (wrapped && as_exc(raised)->cause.object == e.object);
}

static bool generator_leave(AsyncGenerator *gen, Value e)
{
    bool end;
    try {
        generator_step(gen, None, e, &end);
    } except (BaseException, raised) {
        if (is_none(e) || !comes_out(raised, e)) rethrow;
        return false;
    } end_try
    if (end) return !is_none(e);
    try {
        throw(RuntimeError, is_none(e) ? "generator didn't stop" : "generator didn't stop after athrow()");
    } finally {
        await(generator_aclose(gen));
    } end_try
    return false;
}

static bool manager_leave(void *object, Value e)
{
    ContextManager *manager = object;
    return manager->gen ? generator_leave(manager->gen, e) : value_truth(await(manager->aexit(manager->self, e)));
}

static const Class manager_class = {
    .name = "async_context_manager", .size = sizeof(ContextManager), .destroy = manager_destroy,
    .enter = manager_enter, .leave = manager_leave};

ContextManager *asyncio_context_manager_(Coroutine *(*aenter)(Value), Coroutine *(*aexit)(Value, Value), Value self)
{
    if (!aenter || !aexit) throw(TypeError, "a context manager needs __aenter__ and __aexit__, got NULL");
    ContextManager *manager = pooled(object_new(&manager_class, sizeof *manager));
    manager->aenter = aenter;
    manager->aexit = aexit;
    manager->self = value_retain(self);
    return manager;
}

ContextManager *asyncio_contextmanager(AsyncGenerator *gen)
{
    ContextManager *manager = pooled(object_new(&manager_class, sizeof *manager));
    manager->gen = retain(gen);
    return manager;
}

/* The statement itself. Its handler catches what the block raises; its cleanup runs where the block is left by
 * return or break. */

void with_enter_(With *with, Value manager, const Site *site)
{
    if (manager.tag != VALUE_OBJECT || !manager.object->class->enter)
        throw(TypeError, "'%s' object does not support the asynchronous context manager protocol", value_type(manager));
    with->manager = manager;
    with->site = site;
    pooled(retain(manager.object));
    mark_await(site, manager.object);
    with->value = manager.object->class->enter(manager.object);
    handler_open_(&with->handler, site);
    with->handler.phase = PHASE_BODY;
}

static bool with_leave(With *with, Value e)
{
    Object *manager = with->manager.object;
    mark_site(with->site);
    bool suppressed = manager->class->leave(manager, e);
    /* what with_enter_() held; if the block made more, it goes with that */
    if (unpool_newest(manager)) release(manager);
    return suppressed;
}

void with_end_(With *with)
{
    Handler *handler = &with->handler;
    Stack *stack = here.stack;
    bool raised = handler->phase == PHASE_LANDED;
    stack->handlers = handler->outer;
    if (!raised) {
        handler->phase = PHASE_CLOSED;
        with_leave(with, None);
        return;
    }
    Value e = value_pooled(handler->exception);
    handler_catch(handler, PHASE_HANDLING);
    bool suppressed = with_leave(with, e);
    stack->handling = handler->outer_handling;
    handler->phase = PHASE_CLOSED;
    if (!suppressed) exception_fly(retain(e.object));
}

void with_close_(With *with)
{
    if (with->handler.phase != PHASE_BODY) return;
    with->handler.phase = PHASE_CLOSED;
    here.stack->handlers = with->handler.outer;
    with_leave(with, None);
}

/* ---- [context] Context variables -----------------------------------------------------------------------------------
 *
 * A set of values is never changed, only replaced: so a copy of a context is one more hold on the same set, and
 * every task and callback can have its own for nothing. `here.variables` is the place that holds the set in force.
 */

struct ContextVar {
    Object object;
    char *name;
    Value default_value;
};
typedef struct Token {
    Object object;
    ContextVar *var;
    Value old;
    Task *task;        /* the running one, held so that no other has its variables in the same place */
    Variables **place; /* `here.variables` then */
    bool used;
} Token;

static void contextvar_destroy(void *object)
{
    ContextVar *var = object;
    value_release(var->default_value);
    free(var->name);
}

static void contextvar_repr(void *object, FILE *out)
{
    ContextVar *var = object;
    fprintf(out, "<ContextVar name=%s", as_str(repr(var->name)));
    if (var->default_value.tag != VALUE_UNSET_) fprintf(out, " default=%s", as_str(repr(var->default_value)));
    fprintf(out, " at %p>", object);
}

static void variables_destroy(void *object)
{
    Variables *variables = object;
    for (int i = 0; i < variables->count; i++) {
        release(variables->entries[i].var);
        value_release(variables->entries[i].value);
    }
}

static void context_destroy(void *object) { release(((Context *)object)->variables); }

static void token_destroy(void *object)
{
    Token *token = object;
    release(token->var);
    release(token->task);
    value_release(token->old);
}

static void token_repr(void *object, FILE *out)
{
    Token *token = object;
    fprintf(out, "<Token%s var=", token->used ? " used" : "");
    contextvar_repr(token->var, out);
    fprintf(out, " at %p>", object);
}

static const Class contextvar_class = {
    .name = "ContextVar", .size = sizeof(ContextVar), .destroy = contextvar_destroy, .write = contextvar_repr};
static const Class variables_class = {.name = "variables", .destroy = variables_destroy};
static const Class context_class = {.name = "Context", .size = sizeof(Context), .destroy = context_destroy};
static const Class token_class = {.name = "Token", .size = sizeof(Token), .destroy = token_destroy, .write = token_repr};

ContextVar *context_var_(const char *name, Value default_value)
{
    if (!name) throw(TypeError, "context variable name must be a str, not NULL");
    ContextVar *var = pooled(object_new(&contextvar_class, sizeof *var));
    var->name = copy_string(name);
    var->default_value = value_retain(default_value);
    return var;
}

static Value variables_get(Variables *variables, ContextVar *var)
{
    for (int i = 0; variables && i < variables->count; i++)
        if (variables->entries[i].var == var) return variables->entries[i].value;
    return unset;
}

/* The same set with one value changed, added, or (unset) left out. The caller holds it. */
static Variables *variables_with(const Variables *old, ContextVar *var, Value v)
{
    int count = 0, room = (old ? old->count : 0) + 1;
    Variables *new = object_new(&variables_class, sizeof *new + room * sizeof new->entries[0]);
    new->count = room; /* what its block's size is computed from: entries that are left over stay empty */
    for (int i = 0; old && i < old->count; i++) {
        if (!old->entries[i].var || old->entries[i].var == var) continue;
        new->entries[count].var = retain(old->entries[i].var);
        new->entries[count++].value = value_retain(old->entries[i].value);
    }
    if (v.tag != VALUE_UNSET_) {
        new->entries[count].var = retain(var);
        new->entries[count].value = value_retain(v);
    }
    return new;
}

static void variables_replace(ContextVar *var, Value v)
{
    Variables *old = *here.variables;
    *here.variables = variables_with(old, var, v);
    release(old);
}

static Value variables_get_or(Variables *variables, ContextVar *var, Value otherwise)
{
    Value v = variables_get(variables, var);
    return v.tag != VALUE_UNSET_ ? value_received(v) : otherwise;
}

Value contextvar_get_or_(ContextVar *var, Value otherwise) { return variables_get_or(*this_variables(), var, otherwise); }

Value contextvar_get(ContextVar *var)
{
    Value v = contextvar_get_or_(var, var->default_value);
    if (v.tag == VALUE_UNSET_) throw(LookupError, "%s", as_str(repr(var)));
    return v;
}

/* Where the variables are now that were in this place: they move when somebody asks the running task or callback for its
 * context. */
static Variables **variables_place(Variables **place)
{
    const Loop *loop = here.loop;
    if (loop && loop->current && place == &loop->current->variables) return task_variables(loop->current);
    if (loop && loop->handle && place == &loop->handle->variables) return handle_variables(loop->handle);
    return place;
}

Value contextvar_set_(ContextVar *var, Value v)
{
    Token *token = pooled(object_new(&token_class, sizeof *token));
    token->var = retain(var);
    token->old = value_retain(variables_get(*here.variables, var));
    token->task = here.loop ? retain(here.loop->current) : NULL;
    token->place = here.variables;
    variables_replace(var, v);
    return V(&token->object);
}

void contextvar_reset(ContextVar *var, Value v)
{
    if (v.tag != VALUE_OBJECT || v.object->class != &token_class)
        throw(TypeError, "expected an instance of Token, got %s", as_str(repr(v)));
    Token *token = (Token *)v.object;
    if (token->used) throw(RuntimeError, "%s has already been used once", as_str(repr(v)));
    if (token->var != var) throw(ValueError, "%s was created by a different ContextVar", as_str(repr(v)));
    if (variables_place(token->place) != here.variables)
        throw(ValueError, "%s was created in a different Context", as_str(repr(v)));
    token->used = true;
    variables_replace(var, token->old);
}

static Context *context_of(Variables *variables)
{
    Context *context = object_new(&context_class, sizeof *context);
    context->variables = retain(variables);
    return context;
}

/* The first context of a task or callback that was not given one: its variables move there. */
static Context *context_begin(Variables **variables)
{
    Context *context = context_of(*variables);
    release(*variables);
    *variables = NULL;
    if (here.variables == variables) here.variables = &context->variables;
    return context;
}

Context *asyncio_copy_context(void) { return pooled(context_of(*this_variables())); }

Value context_get(Context *context, ContextVar *var, Value otherwise)
{
    return variables_get_or(context->variables, var, otherwise);
}

Value context_run(Context *context, Value (*fn)(Value arg), Value arg)
{
    if (context->entered) throw(RuntimeError, "cannot enter context: it is already entered");
    Variables **outer = this_variables();
    Value result = None;
    context->entered = true;
    here.variables = &context->variables;
    try {
        result = fn(arg);
    } finally {
        here.variables = variables_place(outer);
        context->entered = false;
    } end_try
    return result;
}

/* ---- [threads] Threads ---------------------------------------------------------------------------------------------
 *
 * The loop belongs to one thread. Work that blocks goes to another: an Executor runs functions in its threads, one
 * after the other. A ThreadFuture is a result that a thread may wait for, with a lock and a condition of the
 * system, where a Future is one that a task waits for. The bridge between the two, either way, is
 * call_soon_threadsafe(): whatever touches a Future does so in its loop.
 *
 *     run_in_executor()            task awaits a Future    <-  call_soon_threadsafe()  <-  a worker ends its work
 *     run_coroutine_threadsafe()   the loop runs a task    ->  its ThreadFuture        ->  a thread waits for that
 */

typedef enum { THREAD_PENDING, THREAD_RUNNING, THREAD_CANCELLED, THREAD_FINISHED } ThreadState;

typedef struct Wrapped Wrapped;

struct ThreadFuture {
    Object object;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    ThreadState state;
    bool failed;
    Value result;      /* or the exception */
    ThreadFunction fn; /* work for an executor */
    const char *name;  /* of fn, for the trace */
    Value arg;
    Variables *variables; /* the context that it runs in */
    ThreadFuture *next;   /* in the executor's queue */
    Loop *loop;           /* the other side of the bridge */
    Future *future;       /* there; only that loop's thread touches it */
    Watching watching;    /* of that loop, which ends the cycle of the two if it closes first */
    Wrapped *wrapped;     /* what wrap_future() made of it */
    Coroutine *coro;      /* of run_coroutine_threadsafe() */
};

struct Executor {
    Object object;
    pthread_mutex_t lock;
    pthread_cond_t work;
    ThreadFuture *first, *last;
    int queued, max_workers, workers, idle;
    bool shut;
    pthread_t *threads;
};

static void threadfuture_destroy(void *object);
static void threadfuture_tell_wrapped(Wrapped *wrapped);
static void threadfuture_write(void *object, FILE *out);
static void threadfuture_describe(void *object, FILE *out);
static void threadfuture_let_go(void *object);
static void executor_destroy(void *object);
static const Class threadfuture_class = {
    .name = "ThreadFuture", .size = sizeof(ThreadFuture), .destroy = threadfuture_destroy,
    .write = threadfuture_write, .describe = threadfuture_describe, .let_go = threadfuture_let_go, .is_io = true};
static const Class executor_class = {.name = "ThreadPoolExecutor", .size = sizeof(Executor), .destroy = executor_destroy};

/* Threads of this file that may be about, working or idle. */
static long library_threads;

/* Has the program threads of its own? They may call call_soon_threadsafe() at any time. */
static bool program_has_threads(void)
{
    if (__libc_single_threaded) return false;
    long threads = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return true;
    for (struct dirent *entry; (entry = readdir(tasks));) threads += entry->d_name[0] != '.';
    closedir(tasks);
    return threads - count(&library_threads, 0) > 1;
}

static ThreadFuture *threadfuture_new(void)
{
    ThreadFuture *tf = object_new(&threadfuture_class, sizeof *tf);
    pthread_condattr_t monotonic_clock;
    pthread_condattr_init(&monotonic_clock);
    pthread_condattr_setclock(&monotonic_clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&tf->lock, NULL);
    pthread_cond_init(&tf->changed, &monotonic_clock);
    pthread_condattr_destroy(&monotonic_clock);
    return tf;
}

static void threadfuture_destroy(void *object)
{
    ThreadFuture *tf = object;
    value_release(tf->result);
    value_release(tf->arg);
    release(tf->variables);
    release(tf->future);
    release(tf->coro);
    release(tf->loop);
    pthread_cond_destroy(&tf->changed);
    pthread_mutex_destroy(&tf->lock);
}

static void threadfuture_write(void *object, FILE *out)
{
    static const char *const states[] = {"pending", "running", "cancelled", "finished"};
    fprintf(out, "<ThreadFuture %s>", states[((ThreadFuture *)object)->state]);
}

static ThreadState threadfuture_state(ThreadFuture *tf)
{
    pthread_mutex_lock(&tf->lock);
    ThreadState state = tf->state;
    pthread_mutex_unlock(&tf->lock);
    return state;
}

bool threadfuture_done(ThreadFuture *tf) { return threadfuture_state(tf) >= THREAD_CANCELLED; }
bool threadfuture_cancelled(ThreadFuture *tf) { return threadfuture_state(tf) == THREAD_CANCELLED; }

/* Work for a thread is in the trace, a thread that waits for a task is not. */
static void threadfuture_show(ThreadFuture *tf, const char *why)
{
    if (tf->object.id) TRACE_CHANGED(tf, why);
}

/* Into a state, unless it is over already, or runs and can no more be cancelled. True if so. */
static bool threadfuture_become(ThreadFuture *tf, ThreadState state, Value result, bool failed)
{
    pthread_mutex_lock(&tf->lock);
    bool changes = tf->state < THREAD_CANCELLED && !(state == THREAD_CANCELLED && tf->state == THREAD_RUNNING);
    if (changes) {
        tf->state = state;
        tf->result = value_retain(result);
        tf->failed = failed;
        pthread_cond_broadcast(&tf->changed);
    }
    Wrapped *wrapped = changes && state >= THREAD_CANCELLED ? tf->wrapped : NULL;
    if (wrapped) tf->wrapped = NULL;
    pthread_mutex_unlock(&tf->lock);
    if (changes && !tf->loop) threadfuture_show(tf, "it has ended");
    threadfuture_tell_wrapped(wrapped);
    return changes;
}

/* So many seconds from now, or now if that has passed. For ever is thirty years. */
static struct timespec moment_in(double seconds)
{
    struct timespec moment;
    seconds = fmax(0, fmin(seconds, 1e9));
    clock_gettime(CLOCK_MONOTONIC, &moment);
    moment.tv_sec += (time_t)floor(seconds);
    moment.tv_nsec += (long)((seconds - floor(seconds)) * 1e9);
    if (moment.tv_nsec < 1000000000) return moment;
    moment.tv_sec++;
    moment.tv_nsec -= 1000000000;
    return moment;
}

/* Waits as long as it may. False: too late. */
static bool threadfuture_wait(ThreadFuture *tf, double timeout)
{
    struct timespec until = moment_in(timeout);
    int problem = 0;
    pthread_mutex_lock(&tf->lock);
    while (tf->state < THREAD_CANCELLED && problem != ETIMEDOUT)
        problem = pthread_cond_timedwait(&tf->changed, &tf->lock, &until);
    bool done = tf->state >= THREAD_CANCELLED;
    pthread_mutex_unlock(&tf->lock);
    return done;
}

Value threadfuture_exception_(ThreadFuture *tf, double timeout)
{
    if (here.loop && here.loop == tf->loop && !threadfuture_done(tf))
        throw(RuntimeError, "waiting here would block the very loop that is to complete it");
    if (!threadfuture_wait(tf, timeout)) throw(TimeoutError);
    if (tf->state == THREAD_CANCELLED) throw(CancelledError);
    return tf->failed ? value_received(tf->result) : None;
}

Value threadfuture_result_(ThreadFuture *tf, double timeout)
{
    Value e = threadfuture_exception_(tf, timeout);
    if (!is_none(e)) throw(e);
    return value_received(tf->result);
}

/* The executor. */

/* Four more than the processors that this process may use, at most 32. */
static int default_workers(void)
{
    cpu_set_t usable;
    int processors = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : CPU_SETSIZE;
    return processors + 4 < 32 ? processors + 4 : 32;
}

Executor *asyncio_ThreadPoolExecutor_(int max_workers)
{
    if (max_workers < 0) throw(ValueError, "max_workers must be greater than 0");
    Executor *executor = pooled(object_new(&executor_class, sizeof *executor));
    executor->max_workers = max_workers ? max_workers : default_workers();
    executor->threads = allocate_or_raise(NULL, (size_t)executor->max_workers * sizeof *executor->threads);
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->work, NULL);
    return executor;
}

static void threadfuture_deliver(ThreadFuture *tf);

/* Runs the work, in a worker's thread. What it makes is dropped after it. */
static void threadfuture_work(ThreadFuture *tf)
{
    pthread_mutex_lock(&tf->lock);
    bool cancelled = tf->state != THREAD_PENDING;
    if (!cancelled) tf->state = THREAD_RUNNING;
    pthread_mutex_unlock(&tf->lock);
    if (cancelled) return;
    threadfuture_show(tf, "a thread begins with it");
    int mark = scope_begin_();
    Variables **outer = here.variables;
    here.variables = &tf->variables;
    try {
        threadfuture_become(tf, THREAD_FINISHED, tf->fn(tf->arg), false);
    } except (BaseException, e) {
        threadfuture_become(tf, THREAD_FINISHED, e, true);
    } end_try
    here.variables = outer;
    threadfuture_deliver(tf);
    scope_drop_(mark);
}

static void *worker_main(void *arg)
{
    Executor *executor = arg;
    this_stack();
    pthread_mutex_lock(&executor->lock);
    for (;;) {
        executor->idle++;
        while (!executor->first && !executor->shut) pthread_cond_wait(&executor->work, &executor->lock);
        executor->idle--;
        ThreadFuture *tf = executor->first;
        if (!tf) break;
        executor->first = tf->next;
        executor->queued--;
        if (!executor->first) executor->last = NULL;
        pthread_mutex_unlock(&executor->lock);
        threadfuture_work(tf);
        release(tf);
        pthread_mutex_lock(&executor->lock);
    }
    pthread_mutex_unlock(&executor->lock);
    count(&library_threads, -1);
    return NULL;
}

/* Workers leave signals to the main thread. */
static int start_thread(pthread_t *thread, void *(*main)(void *), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    count(&library_threads, 1);
    int problem = pthread_create(thread, NULL, main, arg);
    if (problem) count(&library_threads, -1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return problem;
}

/* Queues the work; a thread more if all are busy and there may be more. The executor's lock is held. */
static int executor_enqueue(Executor *executor, ThreadFuture *tf)
{
    if (executor->idle <= executor->queued && executor->workers < executor->max_workers) {
        int problem = start_thread(&executor->threads[executor->workers], worker_main, executor);
        if (problem && !executor->workers) return problem;
        if (!problem) executor->workers++;
    }
    *(executor->last ? &executor->last->next : &executor->first) = retain(tf);
    executor->last = tf;
    executor->queued++;
    pthread_cond_signal(&executor->work);
    return 0;
}

/* Hands the work to the executor. Returns what is wrong, or NULL. */
static const char *executor_add(Executor *executor, ThreadFuture *tf)
{
    pthread_mutex_lock(&executor->lock);
    const char *problem = executor->shut ? "cannot schedule new futures after shutdown" : NULL;
    if (!problem && executor_enqueue(executor, tf) != 0) problem = "can't start new thread";
    pthread_mutex_unlock(&executor->lock);
    return problem;
}

static ThreadFuture *threadfuture_for(ThreadFunction fn, ThreadOptions options, Variables *variables)
{
    if (!fn) throw(TypeError, "a thread needs a function, got NULL");
    ThreadFuture *tf = pooled(threadfuture_new());
    tf->fn = fn;
    tf->name = options.name;
    tf->arg = value_retain(options.arg);
    tf->variables = retain(variables);
    return tf;
}

ThreadFuture *executor_submit_(Executor *executor, ThreadFunction fn, ThreadOptions options)
{
    ThreadFuture *tf = threadfuture_for(fn, options, NULL);
    TRACE_CHANGED(tf, "handed to the threads");
    const char *problem = executor_add(executor, tf);
    if (problem) throw(RuntimeError, "%s", problem);
    return tf;
}

void executor_shutdown_(Executor *executor, bool wait)
{
    pthread_mutex_lock(&executor->lock);
    executor->shut = true;
    pthread_cond_broadcast(&executor->work);
    int workers = executor->workers;
    if (wait) executor->workers = 0;
    pthread_mutex_unlock(&executor->lock);
    for (int i = 0; wait && i < workers; i++) pthread_join(executor->threads[i], NULL);
}

/* Work may be the last to hold a loop, and that one the executor. But a worker cannot wait for its own end: another
 * thread does, and destroys the executor then. */

static bool executor_runs_here(const Executor *executor)
{
    for (int i = 0; i < executor->workers; i++)
        if (pthread_equal(executor->threads[i], pthread_self())) return true;
    return false;
}

static void *executor_outlive(void *executor)
{
    executor_shutdown_(executor, true);
    release(executor);
    count(&library_threads, -1);
    return NULL;
}

static void executor_destroy(void *object)
{
    Executor *executor = object;
    pthread_t thread;
    if (executor_runs_here(executor)) {
        executor_shutdown_(executor, false);
        if (start_thread(&thread, executor_outlive, retain(executor)) == 0) pthread_detach(thread);
        return;
    }
    executor_shutdown_(executor, true);
    free(executor->threads);
    pthread_cond_destroy(&executor->work);
    pthread_mutex_destroy(&executor->lock);
}

/* From a thread to a task: the loop is told, and completes the Future. */

static void threadfuture_copy(const ThreadFuture *tf, Future *future)
{
    if (future->state != PENDING) return;
    if (tf->state == THREAD_CANCELLED) future_cancel(future);
    else if (tf->failed) future_set_exception_(future, tf->result);
    else future_finish(future, tf->result);
}

/* Takes the bridge down. The caller holds the Future at its end from here on; NULL: it is down already. */
static Future *threadfuture_part(ThreadFuture *tf)
{
    Future *future = tf->future;
    if (!future) return NULL;
    tf->loop->outside--;
    tf->future = NULL;
    watching_end(&tf->watching);
    return future;
}

static void threadfuture_let_go(void *object) { release(threadfuture_part(object)); }

static void threadfuture_arrived(Value v)
{
    ThreadFuture *tf = (ThreadFuture *)v.object;
    Future *future = threadfuture_part(tf);
    if (!future) return;
    threadfuture_show(tf, tf->state == THREAD_CANCELLED ? "taken back before it began" : "its result has come");
    threadfuture_copy(tf, future);
    release(future);
}

/* Calls back into the loop, if it is still there. */
static void threadfuture_tell_loop(ThreadFuture *tf, Callback fn, const char *name)
{
    if (!tf->loop) return;
    try {
        loop_call_soon_threadsafe(tf->loop, fn, V(tf), .name = name);
    } except (RuntimeError) {
        /* it has closed: nobody is left to be told */
    } end_try
}

static void threadfuture_deliver(ThreadFuture *tf) { threadfuture_tell_loop(tf, threadfuture_arrived, "threadfuture_arrived"); }

static void bridged_future_done(Future *future, Value arg)
{
    ThreadFuture *tf = (ThreadFuture *)arg.object;
    if (future->state == CANCELLED && threadfuture_become(tf, THREAD_CANCELLED, None, false))
        threadfuture_arrived(arg);
}

/* The bridge must stand before the work may begin. */
static Future *threadfuture_bridge(ThreadFuture *tf, Loop *loop)
{
    Future *future = pooled(future_inner(loop, "a thread", tf));
    tf->loop = retain(loop);
    tf->future = retain(future);
    loop->outside++;
    watching_begin(&tf->watching, loop, tf);
    future_on_done(future, bridged_future_done, tf, "bridged_future_done");
    return future;
}

/* wrap_future(): a ThreadFuture whose end any number of Futures learn of, each told in its own loop's thread. */
struct Wrapped {
    Object object;
    ThreadFuture *tf;
    Future *future;
    Wrapped *next; /* of those that wait for tf, under its lock */
};

static void wrapped_destroy(void *object)
{
    release(((Wrapped *)object)->tf);
    release(((Wrapped *)object)->future);
}

static const Class wrapped_class = {.name = "wrapped", .size = sizeof(Wrapped), .destroy = wrapped_destroy};

static void wrapped_arrived(Value v)
{
    Wrapped *wrapped = (Wrapped *)v.object;
    wrapped->future->loop->outside--;
    threadfuture_copy(wrapped->tf, wrapped->future);
}

static void wrapped_tell(Wrapped *wrapped)
{
    try {
        loop_call_soon_threadsafe(wrapped->future->loop, wrapped_arrived, V(&wrapped->object));
    } except (RuntimeError) {
        /* it has closed */
    } end_try
    release(wrapped);
}

static void threadfuture_tell_wrapped(Wrapped *wrapped)
{
    for (Wrapped *next; wrapped; wrapped = next) {
        next = wrapped->next;
        wrapped_tell(wrapped);
    }
}

static void wrapping_future_done(Future *future, Value arg)
{
    if (future->state == CANCELLED) threadfuture_cancel((ThreadFuture *)arg.object);
}

static Future *threadfuture_wrap(ThreadFuture *tf, Loop *loop)
{
    Future *future = pooled(future_inner(loop, "a thread", tf));
    Wrapped *wrapped = object_new(&wrapped_class, sizeof *wrapped);
    wrapped->tf = retain(tf);
    wrapped->future = retain(future);
    future_on_done(future, wrapping_future_done, tf, "wrapping_future_done");
    loop->outside++;
    pthread_mutex_lock(&tf->lock);
    bool over = tf->state >= THREAD_CANCELLED;
    if (!over) {
        wrapped->next = tf->wrapped;
        tf->wrapped = wrapped;
    }
    pthread_mutex_unlock(&tf->lock);
    if (over) wrapped_tell(wrapped);
    return future;
}

Future *asyncio_wrap_future_(void *future, Loop *loop)
{
    const Object *object = future;
    if (object && (object->class == &future_class || object->class == &task_class)) return future;
    if (!object || object->class != &threadfuture_class)
        throw(TypeError, "a ThreadFuture, Future or Task is expected, got %s",
              object ? as_str(repr(value_object_(object))) : "NULL");
    return threadfuture_wrap(future, loop ? loop : asyncio_get_event_loop());
}

/* run_in_executor() and to_thread(): the executor and the bridge put together. */

static Executor *loop_default_executor(Loop *loop)
{
    if (loop->executor_shut) throw(RuntimeError, "Executor shutdown has been called");
    if (!loop->executor) loop->executor = retain(asyncio_ThreadPoolExecutor());
    return loop->executor;
}

static Future *run_in_executor(Loop *loop, Executor *executor, ThreadFunction fn, ThreadOptions options,
                               Variables *variables)
{
    if (loop->closed) throw(RuntimeError, "Event loop is closed");
    if (!executor) executor = loop_default_executor(loop);
    ThreadFuture *tf = threadfuture_for(fn, options, variables);
    Future *future = threadfuture_bridge(tf, loop);
    TRACE_CHANGED(tf, "handed to the threads");
    const char *problem = executor_add(executor, tf);
    if (!problem) return future;
    future_cancel(future);
    throw(RuntimeError, "%s", problem);
}

Future *loop_run_in_executor_(Loop *loop, Executor *executor, ThreadFunction fn, ThreadOptions options)
{
    return run_in_executor(loop, executor, fn, options, NULL);
}

ASYNC(asyncio_to_thread, asyncio_to_thread_, (ThreadFunction)fn, (ThreadOptions)options)
{
    return await(run_in_executor(asyncio_get_running_loop(), NULL, fn, options, *here.variables));
}

void loop_set_default_executor(Loop *loop, Executor *executor)
{
    if (!executor) throw(TypeError, "executor must be ThreadPoolExecutor instance");
    retain(executor);
    release(loop->executor);
    loop->executor = executor;
}

/* Joining threads blocks, so a thread does it. */
typedef struct Joining {
    Executor *executor;
    Loop *loop;
    Future *done;
} Joining;

static void joined(Value done) { future_finish_unless_done((Future *)done.object, None); }

static void join_and_tell(Joining *joining)
{
    executor_shutdown_(joining->executor, true);
    try {
        loop_call_soon_threadsafe(joining->loop, joined, V(joining->done));
    } except (RuntimeError) {
        /* the loop did not wait for it */
    } end_try
    release(joining->executor);
    release(joining->done);
    release(joining->loop);
    free(joining);
}

static void *join_workers(void *joining)
{
    join_and_tell(joining);
    count(&library_threads, -1);
    return NULL;
}

ASYNC(loop_shutdown_default_executor, loop_shutdown_default_executor_, (Loop *)loop, (double)timeout)
{
    pthread_t thread;
    loop->executor_shut = true;
    if (!loop->executor) return None;
    Joining *joining = allocate_or_raise(NULL, sizeof *joining);
    Future *done = pooled(future_inner(loop, "the executor's threads", NULL));
    *joining = (Joining){retain(loop->executor), retain(loop), retain(done)};
    if (start_thread(&thread, join_workers, joining) != 0) {
        join_and_tell(joining); /* without a thread, here */
        return None;
    }
    loop->outside++;
    try {
        async_with (asyncio_timeout(timeout)) {
            await(done);
        } end_with
        pthread_join(thread, NULL);
    } except (TimeoutError) {
        fprintf(stderr, "asyncio: RuntimeWarning: "
                        "The executor did not finishing joining its threads within %g seconds.\n", timeout);
        pthread_detach(thread);
    } except (BaseException) {
        pthread_detach(thread);
        rethrow;
    } finally {
        loop->outside--;
    } end_try
    return None;
}

/* From a task to a thread: run_coroutine_threadsafe(). */

static void threadsafe_done(Future *task, Value arg)
{
    ThreadFuture *tf = (ThreadFuture *)arg.object;
    if (task->state == CANCELLED) threadfuture_become(tf, THREAD_CANCELLED, None, false);
    else threadfuture_become(tf, THREAD_FINISHED, task->result, task->failed);
    task->unretrieved = false;
    release(tf->future);
    tf->future = NULL;
}

static void threadsafe_begin(Value arg)
{
    ThreadFuture *tf = (ThreadFuture *)arg.object;
    try {
        Task *task = loop_create_task(tf->loop, tf->coro);
        tf->future = retain(task);
        future_on_done(tf->future, threadsafe_done, tf, "threadsafe_done");
        if (threadfuture_cancelled(tf)) task_cancel(task);
    } except (BaseException, e) {
        threadfuture_become(tf, THREAD_FINISHED, e, true);
        rethrow;
    } end_try
}

static void threadsafe_cancel(Value arg)
{
    Future *future = ((ThreadFuture *)arg.object)->future;
    if (future) future_cancel(future);
}

ThreadFuture *asyncio_run_coroutine_threadsafe(Coroutine *coro, Loop *loop)
{
    if (!coro || coro->object.class != &coroutine_class) throw(TypeError, "A coroutine object is required");
    ThreadFuture *tf = pooled(threadfuture_new());
    tf->coro = retain(coro);
    tf->loop = retain(loop);
    loop_call_soon_threadsafe(loop, threadsafe_begin, V(tf));
    return tf;
}

bool threadfuture_cancel(ThreadFuture *tf)
{
    if (!threadfuture_become(tf, THREAD_CANCELLED, None, false)) return threadfuture_cancelled(tf);
    threadfuture_tell_loop(tf, tf->coro ? threadsafe_cancel : threadfuture_arrived, "threadfuture_cancel");
    return true;
}

/* ---- [signals] Signals ---------------------------------------------------------------------------------------------
 *
 * A signal interrupts whatever runs, so its handler may do next to nothing: it notes the number and wakes the loop
 * through the self-pipe. The loop looks into its notes in one round, and calls the program's callbacks in the next: once
 * for each signal, in the order in which they came.
 */

enum { SIGNALS_KEPT = 256 };
static unsigned char signals[SIGNALS_KEPT]; /* a ring of numbers; 0: taken, or not yet written */
static unsigned signals_came, signals_taken;

static void on_signal(int number)
{
    int saved = errno;
    Loop *loop = signal_loop;
    unsigned place = __atomic_fetch_add(&signals_came, 1, __ATOMIC_ACQ_REL) % SIGNALS_KEPT;
    __atomic_store_n(&signals[place], (unsigned char)number, __ATOMIC_RELEASE);
    if (loop) {
        loop->signalled = 1;
        loop_wake(loop);
    }
    errno = saved;
}

/* The number of the next signal that came, or 0. Where more came than the ring holds, the oldest are lost. */
static int signal_next(void)
{
    unsigned came = __atomic_load_n(&signals_came, __ATOMIC_ACQUIRE);
    if (came - signals_taken > SIGNALS_KEPT) signals_taken = came - SIGNALS_KEPT;
    if (came == signals_taken) return 0;
    int number = __atomic_exchange_n(&signals[signals_taken % SIGNALS_KEPT], 0, __ATOMIC_ACQ_REL);
    if (number) signals_taken++;
    return number;
}

static void trace_signal(const char *event, int number, const char *what)
{
    const char *name = sigabbrev_np(number);
    TRACE(event, 'i', "signal:i label:s what:s", number, name ? as_str(format("SIG%s", name)) : "", what);
}

static void call_handlers_soon(Value v)
{
    Loop *loop = as_pointer(v);
    for (int number; (number = signal_next());) {
        Handle *handle = loop->signal_handlers[number];
        if (!handle) continue;
        trace_signal("signal.came", number, handle->name);
        if (handle->cancelled) loop_remove_signal_handler(loop, number);
        else handle_ready(loop, retain(handle), NULL);
    }
}

/* Where CPython reads the signal's byte from the pipe: by a callback of the loop. */
static void loop_take_signals(Loop *loop)
{
    loop->signalled = 0;
    handle_ready(loop, handle_to_call(loop, call_handlers_soon, (CallOptions){.arg = V((void *)loop), .name = "call_handlers_soon"}), NULL);
}

/* The system's own two real-time signals are not in its set of all. */
static void check_signal(int number)
{
    sigset_t all;
    sigfillset(&all);
    if (sigismember(&all, number) != 1) throw(ValueError, "invalid signal number %d", number);
}

void loop_add_signal_handler_(Loop *loop, int number, Callback fn, CallOptions options)
{
    check_signal(number);
    if (loop->closed) throw(RuntimeError, "Event loop is closed");
    if (!fn) throw(TypeError, "a callable object was expected by add_signal_handler(), got NULL");
    if (!is_main_thread()) throw(RuntimeError, "add_signal_handler() only works in the main thread");
    if (signal_loop && signal_loop != loop) throw(RuntimeError, "another loop has signal handlers already");
    while (!signal_loop && signal_next()) {} /* what came for a loop that has closed meanwhile */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    Handle *handle = handle_new(loop, options.name, options.context);
    handle->callback = fn;
    handle->arg = value_retain(options.arg);
    if (sigaction(number, &action, NULL) < 0) {
        int problem = errno;
        release(handle);
        if (problem == EINVAL) throw(RuntimeError, "sig %d cannot be caught", number);
        errno = problem;
        throw_errno(NULL);
    }
    if (loop->signal_handlers[number]) {
        handle_cancel(loop->signal_handlers[number]);
        release(loop->signal_handlers[number]);
    } else loop->outside++;
    loop->signal_handlers[number] = handle;
    signal_loop = loop;
    trace_signal("signal.add", number, handle->name);
}

bool loop_remove_signal_handler(Loop *loop, int number)
{
    check_signal(number);
    Handle *handle = loop->signal_handlers[number];
    if (!handle) return false;
    loop->signal_handlers[number] = NULL;
    loop->outside--;
    trace_signal("signal.remove", number, handle->name);
    if (number == SIGINT && interruptible == loop) signal(SIGINT, on_interrupt);
    else signal(number, SIG_DFL);
    release(handle);
    return true;
}

static void loop_remove_signal_handlers(Loop *loop)
{
    for (int number = 1; number < SIGNALS; number++)
        if (loop->signal_handlers[number]) loop_remove_signal_handler(loop, number);
    if (signal_loop == loop) signal_loop = NULL;
}

/* ---- [sockets] Sockets ---------------------------------------------------------------------------------------------
 *
 * Every operation on a socket is the same loop: try it; if the system says "not now", wait until select() reports
 * the descriptor, and try again. Names are looked up in a thread of the executor, because the system's resolver
 * blocks; a literal address needs none.
 */

/* An error number with a text of our own, as asyncio raises it: the class follows from the number. */
static Value os_error_saying(int number, const char *text, ...)
{
    va_list args;
    va_start(args, text);
    Value message = vformat(text, args);
    va_end(args);
    return exception_new_args(OSError, tuple(number, message));
}

/* An address as Python writes it: ("127.0.0.1", 80), ("::1", 80, 0, 0), "/path/of/a/unix/socket". */

static Value address_value(const struct sockaddr *address, socklen_t length)
{
    char text[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        return tuple(text, ntohs(in->sin_port));
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
        return tuple(text, ntohs(in6->sin6_port), ntohl(in6->sin6_flowinfo), in6->sin6_scope_id);
    }
    if (address->sa_family == AF_UNIX && length > offsetof(struct sockaddr_un, sun_path)) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)address;
        size_t room = length - offsetof(struct sockaddr_un, sun_path);
        return un->sun_path[0] ? str_of(un->sun_path, strnlen(un->sun_path, room)) : bytes(un->sun_path, room);
    }
    return V("");
}

static socklen_t address_fill_unix(struct sockaddr_un *un, const Text *path)
{
    if (path->length >= sizeof un->sun_path) throw(OSError, "AF_UNIX path too long");
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path->data, path->length);
    bool abstract = path->length && !path->data[0]; /* a name that is no file: it has no zero at its end */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path->length + (abstract ? 0 : 1));
}

static uint16_t port_fill(Value v, const char *call)
{
    int64_t port = as_int(v);
    if (port < 0 || port > UINT16_MAX) throw(OverflowError, "%s: port must be 0-65535.", call);
    return htons((uint16_t)port);
}

/* The other way, for a call of the system. ValueError if it is no such address: a host name must have been looked up before. */
static socklen_t address_fill(struct sockaddr_storage *storage, Value v, const char *call)
{
    memset(storage, 0, sizeof *storage);
    if (v.tag == VALUE_STR || v.tag == VALUE_BYTES)
        return address_fill_unix((struct sockaddr_un *)storage, (Text *)v.object);
    if (v.tag != VALUE_TUPLE || len(v) < 2)
        throw(TypeError, "an address is a tuple (host, port) or a path, not %s", as_str(repr(v)));
    struct sockaddr_in *in = (struct sockaddr_in *)storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;
    const char *host = as_str(list_get(v, 0));
    uint16_t port = port_fill(list_get(v, 1), call);
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = port;
        return sizeof *in;
    }
    memset(storage, 0, sizeof *storage);
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
        throw(ValueError, "not a numeric address: %s", as_str(repr(v)));
    in6->sin6_family = AF_INET6;
    in6->sin6_port = port;
    int64_t flowinfo = len(v) > 2 ? as_int(list_get(v, 2)) : 0;
    if (flowinfo < 0 || flowinfo > 0xFFFFF) throw(OverflowError, "%s: flowinfo must be 0-1048575.", call);
    in6->sin6_flowinfo = htonl((uint32_t)flowinfo);
    if (len(v) > 3) in6->sin6_scope_id = (uint32_t)as_int(list_get(v, 3));
    return sizeof *in6;
}

static Value socket_address(int fd, bool of_peer)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    struct sockaddr *address = (struct sockaddr *)&storage;
    int problem = of_peer ? getpeername(fd, address, &length) : getsockname(fd, address, &length);
    return problem ? None : address_value(address, length);
}

static void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

static void check_no_transport(Loop *loop, int fd)
{
    if (fd >= 0 && fd < loop->watch_capacity && loop->watches[fd].transport)
        throw(RuntimeError, "File descriptor %d is used by transport %s", fd, as_str(repr(loop->watches[fd].transport)));
}

static void fd_is_ready(Value future) { future_finish_unless_done((Future *)future.object, None); }

static const Class io_class = {.name = "descriptor", .size = sizeof(Object), .is_io = true};
static Object io_marker = {.class = &io_class, .references = 1};

/* Suspends until the descriptor is ready. Who was cancelled may find that somebody else waits for it by now. */
static void fd_wait(Loop *loop, int fd, int direction, const char *purpose)
{
    Future *future = pooled(future_inner(loop, purpose, &io_marker));
    watch(loop, fd, direction, fd_is_ready, (CallOptions){.arg = V(future), .name = purpose});
    Handle *mine = retain(*watch_place(loop, fd, direction));
    Value interruption = future_wait(future);
    if (fd < loop->watch_capacity && *watch_place(loop, fd, direction) == mine) unwatch(loop, fd, direction);
    release(mine);
    if (!is_none(interruption)) throw(interruption);
}

static bool not_now(ssize_t result)
{
    return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static int socket_option(int fd, int option)
{
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0) throw_errno(NULL);
    return value;
}

static int socket_type(int fd) { return socket_option(fd, SO_TYPE); }
static int socket_family(int fd) { return socket_option(fd, SO_DOMAIN); }

static void sock_check(Loop *loop, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) throw_errno(NULL);
    if (loop->debug && !(flags & O_NONBLOCK)) throw(ValueError, "the socket must be non-blocking");
    check_no_transport(loop, fd);
    if (!(flags & O_NONBLOCK)) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* What all four ways to receive do. */
static ssize_t sock_receive(Loop *loop, int fd, void *buffer, size_t size, struct sockaddr_storage *from,
                            socklen_t *length, const char *purpose)
{
    ssize_t n;
    sock_check(loop, fd);
    while (not_now(n = recvfrom(fd, buffer, size, 0, (struct sockaddr *)from, length)))
        fd_wait(loop, fd, FOR_READING, purpose);
    if (n < 0) throw_errno(NULL);
    return n;
}

ASYNC(loop_sock_recv, loop_sock_recv, (Loop *)loop, (int)fd, (size_t)size)
{
    Text *text = pooled(text_new(&bytes_class, NULL, size));
    ssize_t n = sock_receive(loop, fd, text->data, size, NULL, NULL, "sock_recv()");
    return bytes(text->data, (size_t)n);
}

ASYNC(loop_sock_recv_into, loop_sock_recv_into, (Loop *)loop, (int)fd, (void *)buffer, (size_t)size)
{
    return V(sock_receive(loop, fd, buffer, size, NULL, NULL, "sock_recv_into()"));
}

ASYNC(loop_sock_recvfrom, loop_sock_recvfrom, (Loop *)loop, (int)fd, (size_t)size)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    Text *text = pooled(text_new(&bytes_class, NULL, size));
    ssize_t n = sock_receive(loop, fd, text->data, size, &from, &length, "sock_recvfrom()");
    return tuple(bytes(text->data, (size_t)n), length ? address_value((struct sockaddr *)&from, length) : None);
}

ASYNC(loop_sock_recvfrom_into, loop_sock_recvfrom_into, (Loop *)loop, (int)fd, (void *)buffer, (size_t)size)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    ssize_t n = sock_receive(loop, fd, buffer, size, &from, &length, "sock_recvfrom_into()");
    return tuple(n, length ? address_value((struct sockaddr *)&from, length) : None);
}

ASYNC(loop_sock_sendall, loop_sock_sendall, (Loop *)loop, (int)fd, (Value)data)
{
    size_t size, sent = 0;
    const char *at = as_bytes(data, &size);
    sock_check(loop, fd);
    do {
        ssize_t n = send(fd, at + sent, size - sent, MSG_NOSIGNAL);
        if (not_now(n)) fd_wait(loop, fd, FOR_WRITING, "sock_sendall()");
        else if (n < 0) throw_errno(NULL);
        else sent += (size_t)n;
    } while (sent < size);
    return None;
}

ASYNC(loop_sock_sendto, loop_sock_sendto, (Loop *)loop, (int)fd, (Value)data, (Value)address)
{
    struct sockaddr_storage to;
    socklen_t length = address_fill(&to, address, "sendto()");
    size_t size;
    const char *at = as_bytes(data, &size);
    ssize_t n;
    sock_check(loop, fd);
    while (not_now(n = sendto(fd, at, size, MSG_NOSIGNAL, (struct sockaddr *)&to, length)))
        fd_wait(loop, fd, FOR_WRITING, "sock_sendto()");
    if (n < 0) throw_errno(NULL);
    return V(n);
}

static void connect_to(Loop *loop, int fd, Value address)
{
    struct sockaddr_storage to;
    socklen_t length = address_fill(&to, address, "connect()"), size = sizeof(int);
    if (connect(fd, (struct sockaddr *)&to, length) == 0) return;
    if (errno != EINPROGRESS && errno != EINTR) throw_errno(NULL);
    int problem = 0;
    fd_wait(loop, fd, FOR_WRITING, "sock_connect()");
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) throw(os_error_saying(problem, "Connect call failed %s", as_str(repr(address))));
}

ASYNC(loop_sock_accept, loop_sock_accept, (Loop *)loop, (int)fd)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    int connection;
    sock_check(loop, fd);
    while (not_now(connection = accept4(fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)))
        fd_wait(loop, fd, FOR_READING, "sock_accept()");
    if (connection < 0) throw_errno(NULL);
    return tuple(connection, address_value((struct sockaddr *)&from, length));
}

/* Names: getaddrinfo() and getnameinfo() of the system, in a thread. */

const ExceptionClass GaiError[1] = {{"gaierror", OSError, "socket"}};

/* The thread may outlive the await, so it has what it is asked in an object of its own. */
typedef struct Lookup {
    Object object;
    char *host, *service;
    struct addrinfo hints;
} Lookup;

static void lookup_destroy(void *object)
{
    free(((Lookup *)object)->host);
    free(((Lookup *)object)->service);
}

static const Class lookup_class = {.name = "lookup", .size = sizeof(Lookup), .destroy = lookup_destroy};

/* As getaddrinfo() lists them: (family, type, proto, canonname, address). */
static Value addrinfo_list(const struct addrinfo *info)
{
    Value results = list();
    for (; info; info = info->ai_next)
        list_append(results, tuple(info->ai_family, info->ai_socktype, info->ai_protocol,
                                   info->ai_canonname ? info->ai_canonname : "",
                                   address_value(info->ai_addr, info->ai_addrlen)));
    return results;
}

static int info_family(Value info) { return (int)as_int(list_get(info, 0)); }
static int info_type(Value info) { return (int)as_int(list_get(info, 1)); }
static int info_proto(Value info) { return (int)as_int(list_get(info, 2)); }
static Value info_address(Value info) { return list_get(info, 4); }

static _Noreturn void throw_gai(int problem)
{
    if (problem == EAI_SYSTEM) throw_errno(NULL);
    throw(exception_new_args(GaiError, tuple(problem, gai_strerror(problem))));
}

static Value look_up(Value v)
{
    const Lookup *lookup = (Lookup *)v.object;
    struct addrinfo *info = NULL;
    int problem = getaddrinfo(lookup->host, lookup->service, &lookup->hints, &info);
    if (problem) throw_gai(problem);
    Value results = None;
    try {
        results = addrinfo_list(info);
    } finally {
        freeaddrinfo(info);
    } end_try
    return results;
}

/* An address in numbers, or none at all: the resolver has nothing to look up. */
static bool is_literal(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return !host || inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool is_port_number(const char *service) { return !service || !service[strspn(service, "0123456789")]; }

ASYNC(loop_getaddrinfo, loop_getaddrinfo_, (Loop *)loop, (const char *)host, (Value)port, (AddressOptions)options)
{
    const char *service = is_none(port) ? "" : as_str(value_to_str(port));
    Lookup *lookup = pooled(object_new(&lookup_class, sizeof *lookup));
    lookup->host = host && *host ? copy_string(host) : NULL;
    lookup->service = *service ? copy_string(service) : NULL;
    lookup->hints = (struct addrinfo){
        .ai_family = options.family, .ai_socktype = options.type, .ai_protocol = options.proto, .ai_flags = options.flags};
    ThreadOptions work = {.arg = V(&lookup->object), .name = "getaddrinfo"};
    if (is_literal(lookup->host) && is_port_number(lookup->service)) return look_up(work.arg);
    return await(run_in_executor(loop, NULL, look_up, work, NULL));
}

/* What is written in numbers is no question: its only answer, or None. */
static Value literal_info(Value address, AddressOptions wanted)
{
    struct in6_addr ignored;
    Value host = list_get(address, 0), port = list_get(address, 1);
    if (is_none(host)) return None;
    int family = inet_pton(AF_INET, as_str(host), &ignored) == 1    ? AF_INET
                 : inet_pton(AF_INET6, as_str(host), &ignored) == 1 ? AF_INET6
                                                                    : AF_UNSPEC;
    char *end;
    Value number = V(strtoll(is_none(port) ? "" : as_str(value_to_str(port)), &end, 10));
    if (*end || !family || (wanted.family && wanted.family != family)) return None;
    Value flow = len(address) > 2 ? list_get(address, 2) : V(0), scope_id = len(address) > 3 ? list_get(address, 3) : V(0);
    return tuple(family, wanted.type, wanted.type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, "",
                 family == AF_INET ? tuple(host, number) : tuple(host, number, flow, scope_id));
}

/* What an address of the program stands for, (host, port) or longer, as getaddrinfo() lists it. */
static Value ensure_resolved(Loop *loop, Value address, AddressOptions wanted)
{
    Value literal = literal_info(address, wanted), host = list_get(address, 0);
    if (!is_none(literal)) return list(literal);
    return await(loop_getaddrinfo_(loop, is_none(host) ? NULL : as_str(host), list_get(address, 1), wanted));
}

static Value name_info(Value v)
{
    struct sockaddr_storage storage;
    char host[NI_MAXHOST], service[NI_MAXSERV];
    socklen_t length = address_fill(&storage, list_get(v, 0), "getnameinfo()");
    int problem = getnameinfo((struct sockaddr *)&storage, length, host, sizeof host, service, sizeof service,
                              (int)as_int(list_get(v, 1)));
    if (problem) throw_gai(problem);
    return tuple(host, service);
}

ASYNC(loop_getnameinfo, loop_getnameinfo, (Loop *)loop, (Value)address, (int)flags)
{
    ThreadOptions work = {.arg = tuple(address, flags), .name = "getnameinfo"};
    return await(run_in_executor(loop, NULL, name_info, work, NULL));
}

ASYNC(loop_sock_connect, loop_sock_connect, (Loop *)loop, (int)fd, (Value)address)
{
    sock_check(loop, fd);
    if (address.tag == VALUE_TUPLE && len(address) >= 2) {
        AddressOptions options = {
            .family = socket_family(fd), .type = socket_type(fd), .proto = socket_option(fd, SO_PROTOCOL)};
        address = info_address(list_get(ensure_resolved(loop, address, options), 0));
    }
    connect_to(loop, fd, address);
    return None;
}

/* sendfile: the system copies from file to socket. Where it cannot, a thread reads the file, since reading may block,
 * and the socket is written here. count < 0: to the file's end. What was sent the file's position has passed. */

enum { SENDFILE_MOST = 1 << 30, FALLBACK_BLOCK = 64 * 1024 };

static void transport_wait(Transport *transport);
static void transport_send(Transport *transport, Value block);
static void transport_drain(Transport *transport);

/* How much of it comes next. */
static int64_t sendfile_left(const SendfileOptions *options, int64_t sent, int64_t most)
{
    return options->count >= 0 && options->count - sent < most ? options->count - sent : most;
}

/* Where a file goes: to a socket, or to that of a transport. */
typedef struct Sink {
    Loop *loop;
    int fd;
    Transport *transport; /* or NULL */
} Sink;

static void sink_wait(const Sink *sink)
{
    if (sink->transport) transport_wait(sink->transport);
    else fd_wait(sink->loop, sink->fd, FOR_WRITING, "sock_sendfile()");
}

/* A write that nobody will read must not raise SIGPIPE. Only send() has a flag to say so. */
static void ignore_sigpipe(void)
{
    struct sigaction old;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

/* False if the system cannot do it for these two. */
static bool sendfile_pieces(const Sink *sink, int file, const SendfileOptions *options, off_t *at)
{
    for (;;) {
        int64_t left = sendfile_left(options, *at - options->offset, SENDFILE_MOST);
        ssize_t n = left > 0 ? sendfile(sink->fd, file, at, (size_t)left) : 0;
        if (n == 0) return true;
        if (not_now(n)) sink_wait(sink);
        else if (n < 0 && *at == options->offset) return false;
        else if (n < 0) throw_errno(NULL);
    }
}

/* How much was sent; -1 if the system cannot do it. */
static int64_t sendfile_native(const Sink *sink, int file, const SendfileOptions *options)
{
    off_t at = (off_t)options->offset;
    volatile bool done = false;
    ignore_sigpipe();
    try {
        done = sendfile_pieces(sink, file, options, &at);
    } finally {
        if (at != (off_t)options->offset) lseek(file, at, SEEK_SET);
    } end_try
    return done ? (int64_t)at - options->offset : -1;
}

/* In a thread: v is (file, size). */
static Value read_block(Value v)
{
    ssize_t n;
    Text *text = pooled(text_new(&bytes_class, NULL, (size_t)as_int(list_get(v, 1))));
    while ((n = read((int)as_int(list_get(v, 0)), text->data, text->length)) < 0 && errno == EINTR) {}
    if (n < 0) throw_errno(NULL);
    return bytes(text->data, (size_t)n);
}

static void sink_send(const Sink *sink, Value block)
{
    if (sink->transport) transport_send(sink->transport, block);
    else await(loop_sock_sendall(sink->loop, sink->fd, block));
}

static int64_t sendfile_by_reading(const Sink *sink, int file, const SendfileOptions *options)
{
    volatile int64_t sent = 0;
    if (lseek(file, (off_t)options->offset, SEEK_SET) < 0 && options->offset) throw_errno(NULL);
    try {
        forever
        {
            int64_t left = sendfile_left(options, sent, FALLBACK_BLOCK);
            if (left <= 0) break;
            Value block = await(loop_run_in_executor(sink->loop, NULL, read_block, tuple(file, left)));
            if (!len(block)) break;
            sink_send(sink, block);
            sent += len(block);
            if (sink->transport) transport_drain(sink->transport);
        }
    } finally {
        lseek(file, (off_t)(options->offset + sent), SEEK_SET); /* more may have been read */
    } end_try
    return sent;
}

static int64_t sendfile_to(const Sink *sink, int file, const SendfileOptions *options)
{
    struct stat info;
    int64_t sent = sendfile_native(sink, file, options);
    if (sent >= 0) return sent;
    if (options->fallback) return sendfile_by_reading(sink, file, options);
    throw(SendfileNotAvailableError, fstat(file, &info) < 0 ? "not a regular file" : "os.sendfile call failed");
}

static void sendfile_check(const SendfileOptions *options)
{
    if (options->count == 0 || options->count < -1)
        throw(ValueError, "count must be a positive integer (got %lld)", (long long)options->count);
    if (options->offset < 0)
        throw(ValueError, "offset must be a non-negative integer (got %lld)", (long long)options->offset);
}

ASYNC(loop_sock_sendfile, loop_sock_sendfile_, (Loop *)loop, (int)fd, (int)file, (SendfileOptions)options)
{
    sendfile_check(&options);
    if (socket_type(fd) != SOCK_STREAM) throw(ValueError, "only SOCK_STREAM type sockets are supported");
    sock_check(loop, fd);
    return V(sendfile_to(&(Sink){.loop = loop, .fd = fd}, file, &options));
}

/* ---- [transports] Transports and protocols -------------------------------------------------------------------------
 *
 * A transport moves bytes: it owns a descriptor, reads when there is something, and keeps in a buffer what cannot
 * be written at once. A protocol is told what happens, by callbacks. The two water marks of the buffer tell the
 * protocol when to stop writing and when to go on. Nothing in it suspends, loop.sendfile() excepted; streams, below,
 * put await on top.
 *
 * Every transport makes two promises: connection_made() comes first, and connection_lost() comes last, exactly
 * once.
 *
 * The chapter's order: the end of a transport, reading, writing, sending files, datagrams; then how connections come to
 * be, from this side, and from the other side, by servers.
 */

typedef enum { SOCKET_TRANSPORT, READ_PIPE, WRITE_PIPE, DATAGRAM, LAYERED } TransportKind;

/* A transport that lies on another one, as TLS does, has these in place of a descriptor. */
typedef struct Layer {
    void (*write)(Transport *transport, const char *data, size_t size);
    void (*close)(Transport *transport);
    void (*force_close)(Transport *transport, Value e);
    void (*resume_reading)(Transport *transport);
    size_t (*buffer_size)(Transport *transport);
    void (*control_writing)(Transport *transport);
    Value (*extra_info)(Transport *transport, const char *name, Value otherwise);
    long high_water;
} Layer;

/* What ssl= and its companions ask for: see [tls]. */
typedef struct TLS {
    SSLContext *context; /* NULL: a plain connection */
    const char *hostname;
    double handshake_timeout, shutdown_timeout; /* NAN: not given */
    bool server_side;
} TLS;

#define TLS_TIMEOUTS(options) .handshake_timeout = (options).ssl_handshake_timeout, \
                              .shutdown_timeout = (options).ssl_shutdown_timeout
static TLS tls_wanted(Value ssl, TLS tls);
static Transport *tls_transport_new(Loop *loop, int fd, int ours, const Protocol *protocol, Value self, Future *waiter,
                                    Server *server, const TLS *wanted);

typedef struct Packet {
    struct Packet *next;
    Value address;
    size_t size;
    char data[];
} Packet;

/* What each read or write looks at comes first, and so lies in one or two lines of the cache. */
struct Transport {
    Object object;
    const Protocol *protocol;
    Value self; /* what the protocol's callbacks get */
    TransportKind kind;
    int fd;
    int lost; /* > 0: connection_lost() is on its way; counts the writes since */
    bool connected, closing, eof, paused, protocol_paused, reading, sending_file;
    char *buffer; /* what is not yet written: from `first` on, `size` bytes */
    size_t size, first, capacity, high, low;
    Loop *loop;
    const Layer *layer;                /* of a LAYERED one */
    Packet *packets, *last_packet;     /* of a datagram transport */
    Value peername, sockname, address; /* address: the peer of a connected datagram transport */
    Value reason;                      /* why the connection is lost: an exception, or None */
    Server *server;                    /* that has accepted it, or NULL */
    Transport *previous, *next;        /* among the server's */
    Future *waiter;                    /* of loop.sendfile(), for room in the socket; not held */
};

enum { READ_SIZE = 256 * 1024, HIGH_WATER = 64 * 1024, WRITES_AFTER_LOSS = 5 };

static void transport_destroy(void *object);
static void transport_write_repr(void *object, FILE *out);
static void transport_describe(void *object, FILE *out);
static const Class transport_class = {
    .name = "Transport", .size = sizeof(Transport), .destroy = transport_destroy,
    .write = transport_write_repr, .describe = transport_describe, .is_io = true};

static void transport_read_ready(Value v);
static void transport_write_ready(Value v);
static void transport_waiter_lost(Transport *transport);
static void transport_write_packets(Transport *transport);
static void server_attach(Server *server, Transport *transport);
static void server_forget(Transport *transport);
static void server_detach(Transport *transport);

static void transport_destroy(void *object)
{
    Transport *transport = object;
    if (transport->fd >= 0) close(transport->fd);
    for (Packet *packet; (packet = transport->packets);) {
        transport->packets = packet->next;
        value_release(packet->address);
        free(packet);
    }
    free(transport->buffer);
    value_release(transport->self);
    value_release(transport->peername);
    value_release(transport->sockname);
    value_release(transport->address);
    value_release(transport->reason);
}

static void transport_write_repr(void *object, FILE *out)
{
    Transport *transport = object;
    const char *state = transport->fd < 0 ? " closed" : transport->closing ? " closing" : "";
    fprintf(out, "<Transport%s fd=%d>", state, transport->fd);
}

static void transport_watch_reading(Transport *transport, bool on)
{
    if (transport->reading == on || transport->fd < 0) return;
    transport->reading = on;
    if (on)
        watch(transport->loop, transport->fd, FOR_READING, transport_read_ready,
              (CallOptions){.arg = V(transport), .name = "transport_read_ready"});
    else unwatch(transport->loop, transport->fd, FOR_READING);
}

static void transport_watch_writing(Transport *transport, bool on)
{
    if (transport->fd < 0) return;
    if (on)
        watch(transport->loop, transport->fd, FOR_WRITING, transport_write_ready,
              (CallOptions){.arg = V(transport), .name = "transport_write_ready"});
    else unwatch(transport->loop, transport->fd, FOR_WRITING);
}

/* The near end of a pipe becomes readable when nobody is left to read at the far one. */
static bool tells_of_its_end(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

static void transport_reads_now(Value v)
{
    Transport *transport = (Transport *)v.object;
    if (transport->closing || transport->paused) return;
    if (transport->kind != WRITE_PIPE || tells_of_its_end(transport->fd)) transport_watch_reading(transport, true);
}

static void transport_made(Value v)
{
    Transport *transport = (Transport *)v.object;
    transport->connected = true;
    TRACE_TRANSPORT(transport, "connection_made() is called");
    if (transport->protocol->connection_made) transport->protocol->connection_made(transport->self, transport);
}

/* Something that was waited for has come (e is None), or never will. */
static void future_settle(Future *future, Value e)
{
    if (is_none(e)) future_finish_unless_done(future, None);
    else if (!future_done(future)) future_fail(future, e);
}

/* Takes the descriptor over. The protocol is told, reading begins, and then `waiter`, if any, is completed: in
 * three callbacks. */
static Transport *transport_new(Loop *loop, TransportKind kind, int fd, const Protocol *protocol, Value self,
                                Future *waiter, Server *server)
{
    check_no_transport(loop, fd);
    Transport *transport = pooled(object_new(&transport_class, sizeof *transport));
    *transport = (Transport){
        .object = transport->object, .loop = loop, .kind = kind, .fd = fd, .protocol = protocol,
        .self = value_retain(self), .high = HIGH_WATER, .low = HIGH_WATER / 4};
    set_nonblocking(fd);
    if (kind == WRITE_PIPE) ignore_sigpipe();
    transport->sockname = value_retain(socket_address(fd, false));
    transport->peername = value_retain(socket_address(fd, true));
    if (fd >= loop->watch_capacity) watches_grow(loop, fd);
    loop->watches[fd].transport = retain(transport); /* held to its end: a protocol need not */
    if (server) server_attach(server, transport);
    TRACE_TRANSPORT(transport, "made");
    loop_call_soon(loop, transport_made, V(transport));
    loop_call_soon(loop, transport_reads_now, V(transport));
    if (waiter) loop_call_soon(loop, fd_is_ready, V(waiter));
    return transport;
}

/* The end: close() lets what is buffered go out, abort() does not. Either way connection_lost() is called soon, and then
 * the descriptor is closed. */

static void transport_end(Transport *transport)
{
    transport_watch_reading(transport, false);
    transport_watch_writing(transport, false);
    transport->loop->watches[transport->fd].transport = NULL;
    close(transport->fd);
    transport->fd = -1;
    TRACE_TRANSPORT(transport, "its descriptor is closed");
    value_replace(&transport->self, None);
    if (transport->server) server_detach(transport);
    release(transport);
}

/* Nobody will call the protocol any more. Streams, and TLS, are in a cycle with their transport: it ends here. */
static void transport_forget_protocol(Transport *transport)
{
    Value self = transport->self;
    if (self.tag == VALUE_OBJECT && self.object->class->let_go) self.object->class->let_go(self.object);
    value_replace(&transport->self, None);
}

/* A loop that closes takes along the transports that nobody has closed. */
static void loop_drop_transports(Loop *loop)
{
    for (int fd = 0; fd < loop->watch_capacity; fd++) {
        Transport *transport = loop->watches[fd].transport;
        if (!transport) continue;
        transport->closing = true;
        transport->lost++;
        if (transport->server) server_forget(transport);
        transport_forget_protocol(transport);
        transport_end(transport);
    }
}

static void transport_lost(Value v)
{
    Transport *transport = (Transport *)v.object;
    if (transport->fd < 0) return;
    transport_waiter_lost(transport);
    try {
        if (transport->connected && transport->protocol->connection_lost)
            transport->protocol->connection_lost(transport->self, transport->reason);
    } finally {
        transport_end(transport);
    } end_try
}

static void transport_lose(Transport *transport, Value e)
{
    transport->lost++;
    value_replace(&transport->reason, e);
    loop_call_soon(transport->loop, transport_lost, V(transport));
}

static bool transport_is_empty(Transport *transport) { return !transport->size && !transport->packets; }

void transport_close(Transport *transport)
{
    if (transport->layer) {
        transport->layer->close(transport);
        return;
    }
    if (transport->closing) return;
    transport->closing = true;
    TRACE_TRANSPORT(transport, transport_is_empty(transport) ? "is to be closed" : "is to be closed once all is sent");
    transport_watch_reading(transport, false);
    if (!transport_is_empty(transport)) return;
    transport_watch_writing(transport, false);
    transport_lose(transport, None);
}

static void transport_force_close(Transport *transport, Value e)
{
    if (transport->layer) {
        transport->layer->force_close(transport, e);
        return;
    }
    if (transport->lost) return;
    transport->closing = true;
    transport_watch_reading(transport, false);
    transport_watch_writing(transport, false);
    transport->size = 0;
    TRACE_TRANSPORT(transport, is_none(e) ? "is ended at once" : "is broken");
    transport_lose(transport, e);
}

void transport_abort(Transport *transport) { transport_force_close(transport, None); }

/* What the peer does to a connection is no news; what the program's own callbacks raise is. */
static void transport_fatal(Transport *transport, Value e, const char *message)
{
    if (leaves_loop(e)) throw(e);
    if (!isinstance(e, OSError) || transport->kind == READ_PIPE)
        REPORT(transport->loop, .message = message, .exception = e);
    transport_force_close(transport, e);
}

/* way: "read" or "write". */
static void transport_fails(Transport *transport, const char *way, Value e)
{
    const char *kind = transport->kind == DATAGRAM ? "datagram" : transport->kind == SOCKET_TRANSPORT ? "socket" : "pipe";
    transport_fatal(transport, e, as_str(format("Fatal %s error on %s transport", way, kind)));
}

/* Reading. */

/* The protocol's callback that is running, or NULL: what it raises is reported under its name. */
typedef const char *volatile CallbackName;

static void pipe_eof_received(Value v)
{
    Transport *transport = (Transport *)v.object;
    if (transport->protocol->eof_received) transport->protocol->eof_received(transport->self);
}

/* The protocol of a pipe, which has no other side to keep open, is told by a callback of the loop. */
static void transport_at_eof(Transport *transport, CallbackName *callback)
{
    const Protocol *protocol = transport->protocol;
    TRACE_TRANSPORT(transport, "the other end has sent all it will");
    if (transport->kind == READ_PIPE) {
        loop_call_soon(transport->loop, pipe_eof_received, V(transport));
        transport_close(transport);
        return;
    }
    *callback = "eof_received";
    bool keep_open = protocol->eof_received && protocol->eof_received(transport->self);
    if (keep_open) transport_watch_reading(transport, false);
    else transport_close(transport);
}

static void transport_received(Transport *transport, const char *data, size_t size, CallbackName *callback)
{
    const Protocol *protocol = transport->protocol;
    TRACE_BYTES(transport, "received", data, size);
    *callback = protocol->get_buffer ? "buffer_updated" : "data_received";
    if (protocol->get_buffer) protocol->buffer_updated(transport->self, size);
    else if (protocol->data_received) protocol->data_received(transport->self, data, size);
}

/* A BufferedProtocol lends its own memory. */
static char *transport_borrow(Transport *transport, size_t *size)
{
    char *memory = transport->protocol->get_buffer(transport->self, READ_SIZE, size);
    if (!memory || !*size) throw(RuntimeError, "get_buffer() returned an empty buffer");
    return memory;
}

/* What has come, until its protocol has had it: a thread reads one thing at a time. */
static __thread char received[READ_SIZE];

static void transport_read_stream(Transport *transport, CallbackName *callback)
{
    size_t size = sizeof received;
    char *memory = received;
    if (transport->protocol->get_buffer) {
        *callback = "get_buffer";
        memory = transport_borrow(transport, &size);
        *callback = NULL;
    }
    bool is_socket = transport->kind == SOCKET_TRANSPORT; /* recv() takes nearly a tenth less time than read() */
    ssize_t n = is_socket ? recv(transport->fd, memory, size, 0) : read(transport->fd, memory, size);
    if (not_now(n)) return;
    if (n < 0 && errno == EIO && transport->kind == READ_PIPE) { /* a terminal to which nobody writes any more */
        transport_force_close(transport, os_error(NULL));
        return;
    }
    if (n < 0) throw_errno(NULL);
    if (n == 0) transport_at_eof(transport, callback);
    else transport_received(transport, memory, (size_t)n, callback);
}

static void transport_read_datagram(Transport *transport)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(transport->fd, received, sizeof received, 0, (struct sockaddr *)&from, &length);
    if (not_now(n)) return;
    const Protocol *protocol = transport->protocol;
    if (n < 0) {
        if (protocol->error_received) protocol->error_received(transport->self, os_error(NULL));
    } else if (protocol->datagram_received) {
        TRACE_BYTES(transport, "received", received, (size_t)n);
        protocol->datagram_received(transport->self, received, (size_t)n,
                                    address_value((struct sockaddr *)&from, length));
    }
}

static void transport_read_ready(Value v)
{
    Transport *transport = (Transport *)v.object;
    if (transport->lost) return;
    if (transport->kind == WRITE_PIPE) {
        transport_force_close(transport, transport->size ? V(BrokenPipeError) : None);
        return;
    }
    if (transport->kind == DATAGRAM) { /* one that its protocol cannot take ends nothing */
        transport_read_datagram(transport);
        return;
    }
    CallbackName callback = NULL;
    try {
        transport_read_stream(transport, &callback);
    } except (BaseException, e) {
        if (!callback) transport_fails(transport, "read", e);
        else if (transport->kind == READ_PIPE) rethrow; /* as in CPython: it ends nothing */
        else transport_fatal(transport, e, as_str(format("Fatal error: protocol.%s() call failed.", callback)));
    } end_try
}

bool transport_is_reading(Transport *transport) { return !transport->closing && !transport->paused; }

void transport_pause_reading(Transport *transport)
{
    if (!transport_is_reading(transport)) return;
    transport->paused = true;
    TRACE_TRANSPORT(transport, "reading pauses");
    transport_watch_reading(transport, false);
}

void transport_resume_reading(Transport *transport)
{
    if (transport->layer) {
        transport->layer->resume_reading(transport);
        return;
    }
    if (transport->closing || !transport->paused) return;
    transport->paused = false;
    TRACE_TRANSPORT(transport, "reading goes on");
    transport_watch_reading(transport, true);
}

/* Writing: at once as far as the system takes it, the rest from the buffer, when the socket is ready for more. */

static void transport_call_protocol(Transport *transport, void (*call)(Value self), const char *message)
{
    if (!call) return;
    try {
        call(transport->self);
    } except (Exception, e) {
        REPORT(transport->loop, .message = message, .exception = e);
    } end_try
}

static void transport_maybe_pause_protocol(Transport *transport)
{
    if (transport->size <= transport->high || transport->protocol_paused || transport->sending_file) return;
    transport->protocol_paused = true;
    TRACE_TRANSPORT(transport, "above the high water mark: pause_writing()");
    transport_call_protocol(transport, transport->protocol->pause_writing, "protocol.pause_writing() failed");
}

static void transport_maybe_resume_protocol(Transport *transport)
{
    if (!transport->protocol_paused || transport->size > transport->low) return;
    transport->protocol_paused = false;
    TRACE_TRANSPORT(transport, "at the low water mark: resume_writing()");
    transport_call_protocol(transport, transport->protocol->resume_writing, "protocol.resume_writing() failed");
}

size_t transport_get_write_buffer_size(Transport *transport)
{
    return transport->layer ? transport->layer->buffer_size(transport) : transport->size;
}

void transport_set_write_buffer_limits_(Transport *transport, WriteLimits limits)
{
    long high = limits.high, low = limits.low;
    if (high < 0) high = low >= 0 ? 4 * low : transport->layer ? transport->layer->high_water : HIGH_WATER;
    if (low < 0) low = high / 4;
    if (high < low) throw(ValueError, "high (%ld) must be >= low (%ld) must be >= 0", high, low);
    transport->high = (size_t)high;
    transport->low = (size_t)low;
    if (transport->layer) transport->layer->control_writing(transport);
    else transport_maybe_pause_protocol(transport);
}

Value transport_get_write_buffer_limits(Transport *transport) { return tuple(transport->low, transport->high); }

/* Puts it into the buffer, which is moved to its beginning first, and grows only if that is not enough. */
static void transport_keep(Transport *transport, const char *data, size_t size)
{
    if (transport->first && transport->first + transport->size + size > transport->capacity) {
        memmove(transport->buffer, transport->buffer + transport->first, transport->size);
        transport->first = 0;
    }
    if (transport->size + size > transport->capacity) {
        size_t capacity = transport->capacity ? transport->capacity : 4096;
        while (capacity < transport->size + size) capacity *= 2;
        transport->buffer = allocate_or_raise(transport->buffer, capacity);
        transport->capacity = capacity;
    }
    memcpy(transport->buffer + transport->first + transport->size, data, size);
    transport->size += size;
}

/* The first `size` bytes of the buffer have gone. */
static void transport_drop(Transport *transport, size_t size)
{
    transport->size -= size;
    transport->first = transport->size ? transport->first + size : 0;
}

static ssize_t transport_try(Transport *transport, const char *data, size_t size)
{
    bool is_socket = transport->kind == SOCKET_TRANSPORT;
    return is_socket ? send(transport->fd, data, size, MSG_NOSIGNAL) : write(transport->fd, data, size);
}

/* Said to who goes on writing: nobody reads it. */
static void transport_write_too_late(Transport *transport)
{
    if (transport->lost++ < WRITES_AFTER_LOSS) return;
    fprintf(stderr, "%s raised exception.\n",
            transport->kind == WRITE_PIPE ? "pipe closed by peer or os.write(pipe, data)" : "socket.send()");
}

static void transport_write_now(Transport *transport, const char *data, size_t size)
{
    if (!size) return;
    if (transport->layer) {
        transport->layer->write(transport, data, size);
        return;
    }
    if (transport->lost) {
        transport_write_too_late(transport);
        return;
    }
    if (transport->closing && transport->kind == WRITE_PIPE) return;
    if (!transport->size) {
        ssize_t n = transport_try(transport, data, size);
        if (n < 0 && !not_now(n)) {
            transport_fails(transport, "write", os_error(NULL));
            return;
        }
        if (n == (ssize_t)size) {
            TRACE_BYTES(transport, "sent", data, size);
            return;
        }
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    transport_keep(transport, data, size);
    if (transport->size == size) transport_watch_writing(transport, true); /* the first that is kept */
    TRACE_BYTES(transport, "keeps", data, size);
    transport_maybe_pause_protocol(transport);
}

void transport_write(Transport *transport, const void *data, size_t size)
{
    if (transport->kind == READ_PIPE || transport->kind == DATAGRAM)
        throw(TypeError, "this transport has no write()");
    if (transport->eof) throw(RuntimeError, "Cannot call write() after write_eof()");
    if (transport->sending_file) throw(RuntimeError, "unable to write; sendfile is in progress");
    transport_write_now(transport, data, size);
}

/* All in one piece, so that the system is asked once. */
void transport_writelines(Transport *transport, Value lines)
{
    size_t size = 0, length;
    if (transport->eof) throw(RuntimeError, "Cannot call writelines() after write_eof()");
    if (transport->sending_file) throw(RuntimeError, "unable to writelines; sendfile is in progress");
    for_in (line, lines) {
        as_bytes(line, &length);
        size += length;
    }
    Text *joined = pooled(text_new(&bytes_class, NULL, size));
    char *at = joined->data;
    for_in (line, lines) {
        const char *data = as_bytes(line, &length);
        memcpy(at, data, length);
        at += length;
    }
    transport_write(transport, joined->data, size);
}

static void transport_shut_writing(Transport *transport)
{
    if (transport->fd >= 0) shutdown(transport->fd, SHUT_WR);
}

bool transport_can_write_eof(Transport *transport)
{
    return transport->kind == SOCKET_TRANSPORT || transport->kind == WRITE_PIPE;
}

void transport_write_eof(Transport *transport)
{
    if (transport->kind == LAYERED)
        throw(NotImplementedError, "TLS has no way to end one direction only: close the transport");
    if (!transport_can_write_eof(transport)) throw(TypeError, "this transport has no write_eof()");
    if (transport->closing || transport->eof) return;
    if (transport->kind == WRITE_PIPE) {
        transport_close(transport); /* it has no other half */
        return;
    }
    transport->eof = true;
    TRACE_TRANSPORT(transport, "is told that no more will be written");
    if (!transport->size) transport_shut_writing(transport);
}

static void transport_flushed(Transport *transport)
{
    if (transport->waiter) return; /* loop.sendfile() goes on, once the socket takes more */
    transport_watch_writing(transport, false);
    if (transport->closing) transport_lost(V(transport));
    else if (transport->eof) transport_shut_writing(transport);
}

static void transport_write_ready(Value v)
{
    Transport *transport = (Transport *)v.object;
    if (transport->lost) return;
    if (transport->kind == DATAGRAM) {
        transport_write_packets(transport);
        return;
    }
    if (!transport->size) { /* then it is loop.sendfile() that waits */
        future_finish_unless_done(transport->waiter, None);
        return;
    }
    ssize_t n = transport_try(transport, transport->buffer + transport->first, transport->size);
    if (not_now(n)) return;
    if (n < 0) {
        transport_fails(transport, "write", os_error(NULL));
        return;
    }
    transport_drop(transport, (size_t)n);
    TRACE_TRANSPORT(transport, transport->size ? "has sent some of it" : "has sent all of it");
    transport_maybe_resume_protocol(transport);
    if (!transport->size && !transport->lost) transport_flushed(transport);
}

/* Sending files, past the buffer: what was written before goes first, and until the end nobody else may write or read. */

/* Suspends until the socket takes more, and the buffer is empty. */
static void transport_wait(Transport *transport)
{
    if (transport->closing) throw(ConnectionError, "Connection is closed by peer");
    Future *waiter = pooled(future_inner(transport->loop, "loop.sendfile()", transport));
    transport->waiter = waiter;
    transport_watch_writing(transport, true);
    Value interruption = future_wait(waiter);
    transport->waiter = NULL;
    if (!transport->size) transport_watch_writing(transport, false);
    if (!is_none(interruption)) throw(interruption);
}

static void transport_send(Transport *transport, Value block)
{
    if (transport->closing) throw(ConnectionError, "Connection closed by peer");
    transport_write_now(transport, as_bytes(block, NULL), (size_t)len(block));
}

static void transport_drain(Transport *transport)
{
    if (transport->layer ? transport->protocol_paused : transport->size > 0) transport_wait(transport);
}

static void transport_waiter_lost(Transport *transport)
{
    if (!transport->waiter || future_done(transport->waiter)) return;
    Value e = transport->reason;
    if (is_none(e)) e = exception_new(ConnectionError, "Connection is closed by peer");
    future_fail(transport->waiter, e);
}

ASYNC(loop_sendfile, loop_sendfile_, (Loop *)loop, (Transport *)transport, (int)file, (SendfileOptions)options)
{
    volatile int64_t sent = 0;
    if (transport->closing) throw(RuntimeError, "Transport is closing");
    if (transport->kind != SOCKET_TRANSPORT && transport->kind != LAYERED)
        throw(RuntimeError, "sendfile is not supported for transport %s", as_str(repr(transport)));
    if (transport->layer && !options.fallback)
        throw(RuntimeError, "fallback is disabled and native sendfile is not supported for transport %s",
              as_str(repr(transport)));
    if (transport->sending_file) throw(RuntimeError, "sendfile is in progress already");
    sendfile_check(&options);
    const bool was_reading = transport_is_reading(transport);
    transport_pause_reading(transport);
    transport->sending_file = true;
    try {
        if (transport->size && !transport->layer) transport_wait(transport);
        Sink sink = {.loop = loop, .fd = transport->fd, .transport = transport};
        sent = transport->layer ? sendfile_by_reading(&sink, file, &options) : sendfile_to(&sink, file, &options);
    } finally {
        transport->sending_file = false;
        if (was_reading) transport_resume_reading(transport);
    } end_try
    return V((int64_t)sent);
}

/* Datagrams: each goes or stays as a whole, so they are kept one by one. */

static socklen_t packet_address(Transport *transport, Value address, struct sockaddr_storage *to)
{
    try {
        return address_fill(to, address, "sendto()");
    } except (Exception, e) {
        transport_fails(transport, "write", e);
    } end_try
    return 0;
}

/* False if it must wait, or its address has broken the transport. */
static bool packet_sent(Transport *transport, const char *data, size_t size, Value address)
{
    struct sockaddr_storage to;
    socklen_t length = is_none(transport->peername) ? packet_address(transport, address, &to) : 0;
    if (transport->lost) return false;
    ssize_t n;
    if (length) n = sendto(transport->fd, data, size, MSG_NOSIGNAL, (struct sockaddr *)&to, length);
    else n = send(transport->fd, data, size, MSG_NOSIGNAL);
    if (not_now(n)) return false;
    TRACE_BYTES(transport, "sent", data, size);
    if (n < 0 && transport->protocol->error_received)
        transport->protocol->error_received(transport->self, os_error(NULL));
    return true;
}

void transport_sendto_(Transport *transport, const void *data, size_t size, Value address)
{
    if (transport->kind != DATAGRAM) throw(TypeError, "this transport has no sendto()");
    if (!is_none(transport->address)) {
        if (!is_none(address) && !value_equal(address, transport->address))
            throw(ValueError, "Invalid address: must be None or %s", as_str(repr(transport->address)));
        address = transport->address;
    }
    if (transport->lost) {
        transport_write_too_late(transport);
        return;
    }
    if (!transport->packets && packet_sent(transport, data, size, address)) return;
    if (transport->lost) return; /* packet_sent() has broken it */
    Packet *packet = allocate_or_raise(NULL, sizeof *packet + size);
    *packet = (Packet){.address = value_retain(address), .size = size};
    memcpy(packet->data, data, size);
    if (!transport->packets) transport_watch_writing(transport, true);
    *(transport->packets ? &transport->last_packet->next : &transport->packets) = packet;
    transport->last_packet = packet;
    transport->size += size;
    transport_maybe_pause_protocol(transport);
}

static void transport_write_packets(Transport *transport)
{
    for (Packet *packet;
         (packet = transport->packets) && packet_sent(transport, packet->data, packet->size, packet->address);) {
        if (transport->lost) return; /* its protocol has ended it, told of an error */
        transport->packets = packet->next;
        transport->size -= packet->size;
        value_release(packet->address);
        free(packet);
    }
    if (transport->lost) return;
    transport_maybe_resume_protocol(transport);
    if (!transport->packets) transport_flushed(transport);
}

/* What it is. */

bool transport_is_closing(Transport *transport) { return transport->closing; }

const Protocol *transport_get_protocol(Transport *transport, Value *self)
{
    if (self) *self = value_received(transport->self);
    return transport->protocol;
}

void transport_set_protocol(Transport *transport, const Protocol *protocol, Value self)
{
    transport->protocol = protocol;
    value_replace(&transport->self, self);
}

Value transport_get_extra_info_(Transport *transport, const char *name, Value otherwise)
{
    if (transport->layer) return transport->layer->extra_info(transport, name, otherwise);
    if (!strcmp(name, "peername")) return is_none(transport->peername) ? otherwise : value_received(transport->peername);
    if (!strcmp(name, "sockname")) return is_none(transport->sockname) ? otherwise : value_received(transport->sockname);
    bool is_pipe = transport->kind == READ_PIPE || transport->kind == WRITE_PIPE;
    return strcmp(name, is_pipe ? "pipe" : "socket") ? otherwise : V(transport->fd);
}

/* Connecting: names become addresses, one of them a connected socket, and that one a transport with its protocol. */

static int socket_new(int family, int type, int proto)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
    if (fd < 0) throw_errno(NULL);
    return fd;
}

/* Here Python writes the system's words in small letters. */
static Value bind_error(Value address)
{
    int number = errno;
    char words[128];
    snprintf(words, sizeof words, "[errno %d] %s", number, strerror(number));
    for (char *c = words; *c; c++) *c = (char)tolower((unsigned char)*c);
    return os_error_saying(number, "error while attempting to bind on address %s: %s", as_str(repr(address)), words);
}

static void set_reuse_port(int fd)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
        throw(ValueError, "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented.");
}

/* The first of the addresses that is of the socket's family and can be had. */
static void bind_local(int fd, Value locals, int family)
{
    Value problem = exception_new(OSError, "no matching local address with family=%d found", family);
    for_in (local, locals) {
        struct sockaddr_storage storage;
        socklen_t length = address_fill(&storage, local, "bind()");
        if (storage.ss_family != family) continue;
        if (bind(fd, (struct sockaddr *)&storage, length) == 0) return;
        problem = bind_error(local);
    }
    throw(problem);
}

/* An address given by the program, which may have a host name in it: the list of what it stands for. */
static Value addresses_of(Loop *loop, Value address, AddressOptions wanted)
{
    if (is_none(address)) return None;
    if (address.tag != VALUE_TUPLE || len(address) < 2) return list(address);
    Value addresses = list();
    for_in (info, ensure_resolved(loop, address, wanted)) list_append(addresses, info_address(info));
    if (!len(addresses)) throw(OSError, "getaddrinfo() returned empty list");
    return addresses;
}

/* One attempt at one address. The descriptor is closed unless it succeeds. */
async_def(connect_one, (Loop *)loop, (Value)info, (Value)locals)
{
    const int fd = socket_new(info_family(info), info_type(info), info_proto(info));
    try {
        if (!is_none(locals)) bind_local(fd, locals, info_family(info));
        connect_to(loop, fd, info_address(info));
    } except (BaseException) {
        close(fd);
        rethrow;
    } end_try
    return V(fd);
}

/* Addresses of both families in turn: the first `first` of the first family, then one of each. */
static Value interleave(Value infos, int first)
{
    Value groups[2] = {list(), list()}, result = list();
    int family = len(infos) ? info_family(list_get(infos, 0)) : 0;
    for_in (info, infos) list_append(groups[info_family(info) != family], info);
    while (first-- > 1 && len(groups[0])) list_append(result, list_pop(groups[0], 0));
    while (len(groups[0]) || len(groups[1]))
        for (int i = 0; i < 2; i++)
            if (len(groups[i])) list_append(result, list_pop(groups[i], 0));
    return result;
}

/* One exception for all attempts: the first, if the others say the same. */
static Value combine_errors(Value errors)
{
    Value texts = str(list_get(errors, 0));
    bool same = true;
    for (int i = 1; i < len(errors); i++) {
        Value text = str(list_get(errors, i));
        if (!value_equal(text, str(list_get(errors, 0)))) same = false;
        texts = format("%s, %s", as_str(texts), as_str(text));
    }
    return same ? list_get(errors, 0) : exception_new(OSError, "Multiple exceptions: %s", as_str(texts));
}

/* One after the other; the first that connects wins. */
static int connect_in_order(Loop *loop, Value infos, Value local, Value errors)
{
    for_in (info, infos) {
        try {
            return (int)as_int(await(connect_one(loop, info, local)));
        } except (OSError, e) {
            list_append(errors, e);
        } end_try
    }
    return -1;
}

/* Takes the attempts that are done out of the race. Returns who has won: the first that has connected, or -1. */
static int race_ended(Value attempts, Value done, int winner, Value errors)
{
    for_in (v, done) {
        Task *task = as_task(v);
        for (int i = 0; i < len(attempts); i++)
            if (value_equal(list_get(attempts, i), v)) list_pop(attempts, i--);
        Value e = task_exception(task);
        if (!is_none(e)) list_append(errors, e);
        else if (winner < 0) winner = (int)as_int(task_result(task));
        else close((int)as_int(task_result(task)));
    }
    return winner;
}

/* Ends the attempts that are left. A socket that one of them wins too late is closed, also if this is cancelled. */
static void race_cancel(Value attempts)
{
    if (!len(attempts)) return;
    for_in (task, attempts) task_cancel(as_task(task));
    Value interruption = future_wait(asyncio_gather_list(attempts, .return_exceptions = true));
    for_in (v, attempts) {
        Task *task = as_task(v);
        if (task_done(task) && !task_cancelled(task) && is_none(task_exception(task))) close((int)as_int(task_result(task)));
    }
    list_clear(attempts);
    if (!is_none(interruption)) throw(interruption);
}

/* Happy eyeballs: the next attempt begins when the one before has failed, or has taken `delay` seconds. The first
 * that connects wins, the others are cancelled. */
static int connect_racing(Loop *loop, Value infos, Value local, double delay, Value errors)
{
    Value attempts = list();
    volatile int winner = -1, next = 0;
    try {
        while (winner < 0 && (next < len(infos) || len(attempts))) {
            if (next < len(infos))
                list_append(attempts, asyncio_create_task(connect_one(loop, list_get(infos, next++), local)));
            double patience = next == len(infos) ? NO_TIMEOUT : delay;
            Value sets = await(asyncio_wait(attempts, .timeout = patience, .return_when = FIRST_COMPLETED));
            winner = race_ended(attempts, list_get(sets, 0), winner, errors);
        }
        race_cancel(attempts);
    } except (BaseException) {
        if (winner >= 0) close(winner);
        race_cancel(attempts);
        rethrow;
    } end_try
    return winner;
}

static int connect_socket(Loop *loop, const char *host, Value port, ConnectionOptions *options)
{
    AddressOptions wanted = {
        .family = options->family, .type = SOCK_STREAM, .proto = options->proto, .flags = options->flags};
    Value infos = ensure_resolved(loop, tuple(host ? V(host) : None, port), wanted), errors = list();
    if (!len(infos)) throw(OSError, "getaddrinfo() returned empty list");
    options->local_addr = addresses_of(loop, options->local_addr, wanted);
    bool racing = options->happy_eyeballs_delay >= 0;
    if (racing || options->interleave > 0)
        infos = interleave(infos, options->interleave > 0 ? options->interleave : 1);
    Value local = options->local_addr;
    int fd;
    if (racing) fd = connect_racing(loop, infos, local, options->happy_eyeballs_delay, errors);
    else fd = connect_in_order(loop, infos, local, errors);
    if (fd < 0 && options->all_errors) throw(exception_group("create_connection failed", errors));
    if (fd < 0) throw(combine_errors(errors));
    return fd;
}

static void check_stream_socket(int fd)
{
    if (socket_type(fd) != SOCK_STREAM) throw(ValueError, "A Stream Socket was expected, got descriptor %d", fd);
}

static void check_unix_socket(int fd)
{
    if (socket_type(fd) != SOCK_STREAM || socket_family(fd) != AF_UNIX)
        throw(ValueError, "A UNIX Domain Stream Socket was expected, got descriptor %d", fd);
}

static void check_protocol(const Protocol *protocol)
{
    if (!protocol) throw(TypeError, "a protocol is a table of callbacks, a Protocol, not NULL");
}

/* The protocol for a socket that we have made ourselves: if there is none, nobody else would close it. */
static Value protocol_make(const Protocol *protocol, Value arg, int ours)
{
    try {
        check_protocol(protocol);
        return protocol->make ? protocol->make(arg) : arg;
    } except (BaseException) {
        if (ours >= 0) close(ours);
        rethrow;
    } end_try
    return None;
}

/* What the program is given, once the protocol has been told. */
static Value transport_once_made(Transport *transport, Value self, Future *made)
{
    Value interruption = future_wait(made);
    if (is_none(interruption)) return tuple(transport, self);
    transport_close(transport);
    throw(interruption);
}

/* The transport of a connected socket. ours: the socket, unless the program gave it. */
static Value transport_of(Loop *loop, TransportKind kind, int fd, int ours, const Protocol *protocol, Value arg,
                          Server *server, const TLS *tls)
{
    Value self = protocol_make(protocol, arg, ours);
    Future *made = pooled(future_inner(loop, "the connection", NULL));
    Transport *transport;
    if (tls && tls->context) transport = tls_transport_new(loop, fd, ours, protocol, self, made, server, tls);
    else transport = transport_new(loop, kind, fd, protocol, self, made, server);
    return transport_once_made(transport, self, made);
}

static void set_nodelay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static TLS connection_tls(const ConnectionOptions *options)
{
    return tls_wanted(options->ssl, (TLS){.hostname = options->server_hostname, TLS_TIMEOUTS(*options)});
}

ASYNC(loop_create_connection, loop_create_connection_, (Loop *)loop, (const Protocol *)protocol, (Value)arg,
      (const char *)host, (Value)port, (ConnectionOptions)options)
{
    bool named = host || !is_none(port);
    if (value_truth(options.ssl) && !options.server_hostname) {
        if (!host || !*host) throw(ValueError, "You must set server_hostname when using ssl without a host");
        options.server_hostname = host;
    }
    TLS tls = connection_tls(&options);
    if (named && options.sock >= 0) throw(ValueError, "host/port and sock can not be specified at the same time");
    if (!named && options.sock < 0) throw(ValueError, "host and port was not specified and no sock specified");
    if (options.sock >= 0) check_stream_socket(options.sock);
    int fd = named ? connect_socket(loop, host, port, &options) : options.sock;
    set_nodelay(fd);
    return transport_of(loop, SOCKET_TRANSPORT, fd, named ? fd : -1, protocol, arg, NULL, &tls);
}

ASYNC(loop_create_unix_connection, loop_create_unix_connection_, (Loop *)loop, (const Protocol *)protocol, (Value)arg,
      (const char *)path, (ConnectionOptions)options)
{
    if (value_truth(options.ssl) && !options.server_hostname)
        throw(ValueError, "you have to pass server_hostname when using ssl");
    TLS tls = connection_tls(&options);
    if (path && options.sock >= 0) throw(ValueError, "path and sock can not be specified at the same time");
    if (!path && options.sock < 0) throw(ValueError, "no path and sock were specified");
    if (!path) {
        check_unix_socket(options.sock);
        return transport_of(loop, SOCKET_TRANSPORT, options.sock, -1, protocol, arg, NULL, &tls);
    }
    Value info = tuple(AF_UNIX, SOCK_STREAM, 0, "", path);
    int fd = (int)as_int(await(connect_one(loop, info, None)));
    return transport_of(loop, SOCKET_TRANSPORT, fd, fd, protocol, arg, NULL, &tls);
}

ASYNC(loop_connect_accepted_socket, loop_connect_accepted_socket_, (Loop *)loop, (const Protocol *)protocol,
      (Value)arg, (int)fd, (AcceptedOptions)options)
{
    TLS tls = tls_wanted(options.ssl, (TLS){.server_side = true, TLS_TIMEOUTS(options)});
    check_stream_socket(fd);
    return transport_of(loop, SOCKET_TRANSPORT, fd, -1, protocol, arg, NULL, &tls);
}

static void check_pipe(int fd, const char *complaint)
{
    struct stat info;
    if (fstat(fd, &info) < 0) throw_errno(NULL);
    if (!S_ISFIFO(info.st_mode) && !S_ISSOCK(info.st_mode) && !S_ISCHR(info.st_mode))
        throw(ValueError, "%s", complaint);
}

ASYNC(loop_connect_read_pipe, loop_connect_read_pipe, (Loop *)loop, (const Protocol *)protocol, (Value)arg, (int)fd)
{
    check_pipe(fd, "Pipe transport is for pipes/sockets only.");
    return transport_of(loop, READ_PIPE, fd, -1, protocol, arg, NULL, NULL);
}

ASYNC(loop_connect_write_pipe, loop_connect_write_pipe, (Loop *)loop, (const Protocol *)protocol, (Value)arg, (int)fd)
{
    check_pipe(fd, "Pipe transport is only for pipes, sockets and character devices");
    return transport_of(loop, WRITE_PIPE, fd, -1, protocol, arg, NULL, NULL);
}

/* A socket that an earlier server left behind is in the way; a file that is no socket is not ours to remove. */
static void unlink_stale(const char *path)
{
    struct stat info;
    if (*path && stat(path, &info) == 0 && S_ISSOCK(info.st_mode)) unlink(path);
}

static int datagram_socket(Loop *loop, DatagramOptions *options)
{
    Value address = is_none(options->local_addr) ? options->remote_addr : options->local_addr;
    struct sockaddr_storage storage;
    if (is_none(address) && !options->family) throw(ValueError, "unexpected address family");
    socklen_t length = is_none(address) ? 0 : address_fill(&storage, address, is_none(options->local_addr) ? "connect()" : "bind()");
    if (options->local_addr.tag == VALUE_STR) unlink_stale(as_str(options->local_addr));
    const int fd = socket_new(is_none(address) ? options->family : storage.ss_family, SOCK_DGRAM, options->proto);
    int on = 1;
    try {
        if (options->reuse_port) set_reuse_port(fd);
        if (options->allow_broadcast) setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
        if (!is_none(options->local_addr) && bind(fd, (struct sockaddr *)&storage, length) < 0) throw_errno(NULL);
        if (!is_none(options->remote_addr) && !options->allow_broadcast) connect_to(loop, fd, options->remote_addr);
    } except (BaseException) {
        close(fd);
        rethrow;
    } end_try
    return fd;
}

static void check_datagram_address(Value address)
{
    if (!is_none(address) && (address.tag != VALUE_TUPLE || len(address) != 2))
        throw(TypeError, "2-tuple is expected, got %s", as_str(repr(address)));
}

/* What the two addresses stand for: the first pair of one family. A path stands for itself. */
static void datagram_addresses(Loop *loop, DatagramOptions *options)
{
    if (options->family == AF_UNIX) return;
    check_datagram_address(options->local_addr);
    check_datagram_address(options->remote_addr);
    AddressOptions wanted = {.family = options->family, .type = SOCK_DGRAM, .proto = options->proto};
    Value locals = addresses_of(loop, options->local_addr, wanted);
    Value remotes = addresses_of(loop, options->remote_addr, wanted);
    if (!is_none(locals)) options->local_addr = list_get(locals, 0);
    if (!is_none(remotes)) options->remote_addr = list_get(remotes, 0);
    if (is_none(locals) || is_none(remotes)) return;
    for_in (local, locals)
        for_in (remote, remotes) {
            if (len(local) != len(remote)) continue;
            options->local_addr = local;
            options->remote_addr = remote;
            return;
        }
    throw(ValueError, "can not get address information");
}

ASYNC(loop_create_datagram_endpoint, loop_create_datagram_endpoint_, (Loop *)loop, (const Protocol *)protocol,
      (Value)arg, (DatagramOptions)options)
{
    int fd = options.sock;
    if (fd >= 0) {
        if (socket_type(fd) != SOCK_DGRAM) throw(ValueError, "A datagram socket was expected, got descriptor %d", fd);
        if (!is_none(options.local_addr) || !is_none(options.remote_addr) || options.family || options.proto
            || options.reuse_port || options.allow_broadcast)
            throw(ValueError, "socket modifier keyword arguments can not be used when sock is specified.");
    } else {
        datagram_addresses(loop, &options);
        fd = datagram_socket(loop, &options);
    }
    Value self = protocol_make(protocol, arg, options.sock < 0 ? fd : -1);
    Future *made = pooled(future_inner(loop, "the endpoint", NULL));
    Transport *transport = transport_new(loop, DATAGRAM, fd, protocol, self, made, NULL);
    transport->address = value_retain(options.remote_addr); /* connection_made() may send already */
    return transport_once_made(transport, self, made);
}

/* Servers: sockets that listen. Each connection that comes is a transport too, with a protocol of its own. */

struct Server {
    Object object;
    Loop *loop;
    const Protocol *protocol;
    Value arg;
    TLS tls;
    int *sockets;
    int count, backlog;
    Transport *clients;
    Line waiters;
    Future *serving_forever;
    Value unlink_path; /* of a unix socket that goes with the server */
    ino_t unlink_inode;
    bool serving, closed;
};

static void server_destroy(void *object);
static void server_write(void *object, FILE *out);
static void server_describe(void *object, FILE *out);
static Value server_enter(void *manager);
static bool server_leave(void *manager, Value e);
static const Class server_class = {
    .name = "Server", .size = sizeof(Server), .destroy = server_destroy, .write = server_write,
    .enter = server_enter, .leave = server_leave, .describe = server_describe, .is_io = true};

enum { ACCEPT_RETRY_DELAY = 1 };

static void server_destroy(void *object)
{
    Server *server = object;
    for (int i = 0; i < server->count; i++) close(server->sockets[i]);
    free(server->sockets);
    value_release(server->arg);
    release(server->tls.context);
    value_release(server->unlink_path);
    release(server->serving_forever);
}

static void server_write(void *object, FILE *out)
{
    Server *server = object;
    fputs("<Server sockets=(", out);
    for (int i = 0; i < server->count; i++) fprintf(out, i ? ", %d" : "%d", server->sockets[i]);
    fputs(")>", out);
}

static void server_attach(Server *server, Transport *transport)
{
    transport->server = retain(server);
    transport->next = server->clients;
    if (transport->next) transport->next->previous = transport;
    server->clients = transport;
    TRACE_CHANGED(server, "a connection has come");
}

static void server_wake_if_over(Server *server)
{
    if (!server->closed || server->clients) return;
    while (line_wake_first(&server->waiters)) {}
}

static void server_forget(Transport *transport)
{
    *(transport->previous ? &transport->previous->next : &transport->server->clients) = transport->next;
    if (transport->next) transport->next->previous = transport->previous;
    TRACE_CHANGED(transport->server, "a connection has gone");
    release(transport->server);
    transport->server = NULL;
}

static void server_detach(Transport *transport)
{
    Server *server = retain(transport->server);
    server_forget(transport);
    server_wake_if_over(server);
    release(server);
}

/* An accepted descriptor, until its transport owns it: a task that is cancelled before it begins closes it too. */
typedef struct Accepted {
    Object object;
    int fd;
} Accepted;

static void accepted_destroy(void *object)
{
    Accepted *accepted = object;
    if (accepted->fd >= 0) close(accepted->fd);
}

static const Class accepted_class = {.name = "accepted socket", .size = sizeof(Accepted), .destroy = accepted_destroy};

static Object *accepted_new(int fd)
{
    Accepted *accepted = pooled(object_new(&accepted_class, sizeof *accepted));
    accepted->fd = fd;
    return &accepted->object;
}

async_def(serve_connection, (Server *)server, (Object *)accepted)
{
    int fd = ((Accepted *)accepted)->fd;
    ((Accepted *)accepted)->fd = -1;
    try {
        transport_of(server->loop, SOCKET_TRANSPORT, fd, fd, server->protocol, server->arg, server, &server->tls);
    } except (OSError, e) { /* what a peer does before it is a connection is no news */
        if (server->loop->debug)
            REPORT(server->loop, .message = "Error on transport creation for incoming connection", .exception = e);
    } end_try
    return None;
}

static void server_accept(Value v);

static void server_listen(Value v)
{
    Server *server = (Server *)list_get(v, 0).object;
    int fd = (int)as_int(list_get(v, 1));
    if (server->closed) return;
    watch(server->loop, fd, FOR_READING, server_accept, (CallOptions){.arg = v, .name = "server_accept"});
}

static bool out_of_resources(int problem)
{
    return problem == EMFILE || problem == ENFILE || problem == ENOBUFS || problem == ENOMEM;
}

/* As many as there may be waiting. Without descriptors left the listening socket would be ready for ever: rest a
 * second. */
static void server_accept(Value v)
{
    Server *server = (Server *)list_get(v, 0).object;
    int fd = (int)as_int(list_get(v, 1));
    for (int i = 0; i == 0 || i < server->backlog; i++) {
        int connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection >= 0) {
            set_nodelay(connection);
            loop_create_task(server->loop, serve_connection(server, accepted_new(connection)));
        } else if (out_of_resources(errno)) {
            REPORT(server->loop, .message = "socket.accept() out of system resource", .exception = os_error(NULL));
            loop_call_later(server->loop, ACCEPT_RETRY_DELAY, server_listen, .arg = v);
            unwatch(server->loop, fd, FOR_READING); /* which held v until now */
            return;
        } else if (not_now(-1) || errno == ECONNABORTED) return;
        else throw_errno(NULL);
    }
}

static void server_start(Server *server)
{
    if (server->serving) return;
    server->serving = true;
    for (int i = 0; i < server->count; i++) {
        if (listen(server->sockets[i], server->backlog) < 0) throw_errno(NULL);
        server_listen(tuple(server, server->sockets[i]));
    }
    TRACE_CHANGED(server, "listens");
}

/* The file of a unix socket goes with its server, unless somebody has put another one in its place. */
static void server_will_unlink(Server *server, int fd)
{
    struct stat info;
    Value path = socket_address(fd, false);
    if (path.tag != VALUE_STR || stat(as_str(path), &info) < 0) return;
    server->unlink_path = value_retain(path);
    server->unlink_inode = info.st_ino;
}

static void server_unlink(Server *server)
{
    struct stat info;
    if (is_none(server->unlink_path)) return;
    const char *path = as_str(server->unlink_path);
    if (stat(path, &info) == 0 && info.st_ino == server->unlink_inode) unlink(path);
}

void server_close(Server *server)
{
    if (server->closed) return;
    server->closed = true;
    server->serving = false;
    for (int i = 0; i < server->count; i++) {
        unwatch(server->loop, server->sockets[i], FOR_READING);
        close(server->sockets[i]);
    }
    server->count = 0;
    TRACE_CHANGED(server, "takes no more connections");
    server_unlink(server);
    if (server->serving_forever) future_cancel(server->serving_forever);
    server_wake_if_over(server);
}

static void server_end_clients(Server *server, void (*end)(Transport *transport))
{
    for (Transport *transport = server->clients, *next; transport; transport = next) {
        next = transport->next;
        end(transport);
    }
}

void server_close_clients(Server *server) { server_end_clients(server, transport_close); }
void server_abort_clients(Server *server) { server_end_clients(server, transport_abort); }

bool server_is_serving(Server *server) { return server->serving; }
Loop *server_get_loop(Server *server) { return server->loop; }

Value server_sockets(Server *server)
{
    Value sockets = list();
    for (int i = 0; i < server->count; i++)
        list_append(sockets, tuple(server->sockets[i], socket_address(server->sockets[i], false)));
    return tuple_of(sockets);
}

ASYNC(server_wait_closed, server_wait_closed, (Server *)server)
{
    bool woken;
    if (server->closed && !server->clients) return None;
    Value interruption = line_wait(&server->waiters, "waiter", "server.wait_closed()", server, &woken);
    if (!is_none(interruption)) throw(interruption);
    return None;
}

static void server_check_open(Server *server)
{
    if (server->closed) throw(RuntimeError, "server %s is closed", as_str(repr(server)));
}

ASYNC(server_start_serving, server_start_serving, (Server *)server)
{
    server_check_open(server);
    server_start(server);
    await(asyncio_sleep(0));
    return None;
}

ASYNC(server_serve_forever, server_serve_forever, (Server *)server)
{
    if (server->serving_forever)
        throw(RuntimeError, "server %s is already being awaited on serve_forever()", as_str(repr(server)));
    server_check_open(server);
    server_start(server);
    server->serving_forever = future_inner(server->loop, "server.serve_forever()", server);
    Value interruption = future_wait(server->serving_forever);
    release(server->serving_forever);
    server->serving_forever = NULL;
    server_close(server);
    await(server_wait_closed(server));
    throw(interruption);
}

static Value server_enter(void *manager)
{
    (void)manager;
    return None;
}

static bool server_leave(void *manager, Value e)
{
    (void)e;
    server_close(manager);
    await(server_wait_closed(manager));
    return false;
}

static Server *server_new(Loop *loop, const Protocol *protocol, Value arg, const ServerOptions *options)
{
    check_protocol(protocol);
    if (options->ssl.tag == VALUE_BOOL) throw(TypeError, "ssl argument must be an SSLContext or None");
    TLS tls = tls_wanted(options->ssl, (TLS){.server_side = true, TLS_TIMEOUTS(*options)});
    Server *server = pooled(object_new(&server_class, sizeof *server));
    server->loop = loop;
    server->protocol = protocol;
    server->arg = value_retain(arg);
    server->tls = tls;
    retain(tls.context);
    server->backlog = options->backlog;
    TRACE_MADE(server);
    return server;
}

static void server_add_socket(Server *server, int fd)
{
    server->sockets = allocate_or_raise(server->sockets, (size_t)(server->count + 1) * sizeof *server->sockets);
    server->sockets[server->count++] = fd;
    set_nonblocking(fd);
}

/* A family that this machine has not, or an address of a family that is switched off, is passed over. */
static void server_bind(Server *server, Value info, const ServerOptions *options)
{
    int on = 1, family = info_family(info);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, info_proto(info));
    struct sockaddr_storage storage;
    Value address = info_address(info);
    if (fd < 0) return;
    server_add_socket(server, fd); /* it is closed with the server, also if what follows fails */
    socklen_t length = address_fill(&storage, address, "bind()");
    if (options->reuse_address) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (options->reuse_port) set_reuse_port(fd);
    if (options->keep_alive) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&storage, length) == 0) return;
    if (errno != EADDRNOTAVAIL) throw(bind_error(address));
    server->count--;
    close(fd);
}

static void server_bind_all(Server *server, Value infos, const ServerOptions *options)
{
    for_in (info, infos) server_bind(server, info, options);
    if (server->count) return;
    Value addresses = list();
    for_in (info, infos) list_append(addresses, info_address(info));
    throw(OSError, "could not bind on any address out of %s", as_str(repr(addresses)));
}

static Value server_begin(Server *server, bool start)
{
    if (start) await(server_start_serving(server));
    return V(server);
}

ASYNC(loop_create_server, loop_create_server_, (Loop *)loop, (const Protocol *)protocol, (Value)arg,
      (const char *)host, (Value)port, (ServerOptions)options)
{
    bool named = host || !is_none(port);
    Server *server = server_new(loop, protocol, arg, &options);
    if (named && options.sock >= 0) throw(ValueError, "host/port and sock can not be specified at the same time");
    if (!named && options.sock < 0) throw(ValueError, "Neither host/port nor sock were specified");
    if (options.sock >= 0) {
        check_stream_socket(options.sock);
        server_add_socket(server, options.sock);
        return server_begin(server, options.start_serving);
    }
    AddressOptions wanted = {.family = options.family, .type = SOCK_STREAM, .flags = options.flags};
    Value infos = ensure_resolved(loop, tuple(host ? V(host) : None, port), wanted);
    if (!len(infos)) throw(OSError, "getaddrinfo(%s) returned empty list", host ? as_str(repr(host)) : "None");
    server_bind_all(server, infos, &options);
    return server_begin(server, options.start_serving);
}

ASYNC(loop_create_unix_server, loop_create_unix_server_, (Loop *)loop, (const Protocol *)protocol, (Value)arg,
      (const char *)path, (ServerOptions)options)
{
    Server *server = server_new(loop, protocol, arg, &options);
    if (path && options.sock >= 0) throw(ValueError, "path and sock can not be specified at the same time");
    if (!path && options.sock < 0) throw(ValueError, "path was not specified, and no sock specified");
    if (path) {
        struct sockaddr_storage storage;
        socklen_t length = address_fill(&storage, V(path), "bind()");
        unlink_stale(path);
        server_add_socket(server, socket_new(AF_UNIX, SOCK_STREAM, 0));
        bool bound = bind(server->sockets[0], (struct sockaddr *)&storage, length) == 0;
        if (!bound && errno == EADDRINUSE) throw(os_error_saying(EADDRINUSE, "Address '%s' is already in use", path));
        if (!bound) throw_errno(NULL);
    } else {
        check_unix_socket(options.sock);
        server_add_socket(server, options.sock);
    }
    if (options.cleanup_socket) server_will_unlink(server, server->sockets[0]);
    return server_begin(server, options.start_serving);
}

/* ---- [tls] TLS -----------------------------------------------------------------------------------------------------
 *
 * TLS lies between a transport and a protocol, and is the other one to each of them. To the transport below it is the
 * protocol, which gets what the peer has encrypted; to the protocol above it is the transport. OpenSSL does the
 * mathematics and touches no socket: it reads from one piece of memory, writes into another, and says "want read" when
 * it can do nothing before more has come. So nothing here waits either, bytes are only moved:
 *
 *     application        data_received()       transport_write()
 *                              ^                      v
 *     SSLObject             SSL_read              SSL_write
 *                              ^                      v
 *                           incoming              outgoing         memory
 *                              ^                      v
 *     transport below   buffer_updated()       transport_write()
 *
 * The states of a connection, in this order; to UNWRAPPED, the end, a way leads from each:
 *
 *     UNWRAPPED      nothing yet, or all over
 *     DO_HANDSHAKE   certificates are shown and keys agreed on; the application does not know of the connection yet
 *     WRAPPED        data flows
 *     FLUSHING       it is to end: what was written still goes out, what has come is still delivered
 *     SHUTDOWN       "close notify" goes out, and the peer's is waited for
 *
 * All this only with -DASYNCIO_TLS, and OpenSSL 3 or newer to link with. Without, whatever needs TLS says so.
 */

#define BUILT_IN_SSL(Name, Parent) const ExceptionClass Name[1] = {{#Name, Parent, "ssl"}};
BUILT_IN_SSL(SSLError, OSError)
BUILT_IN_SSL(SSLZeroReturnError, SSLError)
BUILT_IN_SSL(SSLEOFError, SSLError)
BUILT_IN_SSL(SSLCertVerificationError, SSLError)

static void tls_required(void);
static SSLContext *tls_default_context(void);

static void check_ssl_timeout(const char *name, double seconds, bool on)
{
    if (!isnan(seconds) && !on) throw(ValueError, "%s is only meaningful with ssl", name);
    if (seconds <= 0) throw(ValueError, "%s should be a positive number, got %g", name, seconds);
}

/* What a connection was told about TLS, once it makes sense. */
static TLS tls_wanted(Value ssl, TLS tls)
{
    bool on = value_truth(ssl);
    if (!on && tls.hostname) throw(ValueError, "server_hostname is only meaningful with ssl");
    check_ssl_timeout("ssl_handshake_timeout", tls.handshake_timeout, on);
    check_ssl_timeout("ssl_shutdown_timeout", tls.shutdown_timeout, on);
    if (!on) return tls;
    tls_required();
    if (ssl.tag != VALUE_BOOL) tls.context = as_sslcontext(ssl);
    else if (tls.server_side) throw(ValueError, "Server side SSL needs a valid SSLContext");
    else {
        tls.context = tls_default_context();
        if (!*tls.hostname) sslcontext_set_check_hostname(tls.context, false);
    }
    return tls;
}

#ifdef ASYNCIO_TLS

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "TLS needs OpenSSL 3.0 or newer"
#endif

static void tls_required(void) {}

/* What OpenSSL has refused, in Python's words: "[SSL: WRONG_VERSION_NUMBER] wrong version number". */

static const char *ssl_library(unsigned long code)
{
    switch (ERR_GET_LIB(code)) {
    case ERR_LIB_SSL: return "SSL";
    case ERR_LIB_X509: return "X509";
    case ERR_LIB_X509V3: return "X509V3";
    case ERR_LIB_PEM: return "PEM";
    case ERR_LIB_ASN1: return "ASN1";
    case ERR_LIB_EVP: return "EVP";
    case ERR_LIB_RSA: return "RSA";
    case ERR_LIB_EC: return "EC";
    default: return NULL;
    }
}

/* The name of a reason is its text in capitals. One that OpenSSL's libraries share, "out of memory" say, has none. */
static Value ssl_reason(unsigned long code)
{
    const char *text = ERR_reason_error_string(code);
    if (!text || ERR_COMMON_ERROR(code)) return None;
    char name[128];
    size_t i = 0;
    for (; text[i] && i < sizeof name - 1; i++) {
        unsigned char letter = (unsigned char)text[i];
        name[i] = (char)(isalnum(letter) ? toupper(letter) : '_');
    }
    name[i] = 0;
    return V((const char *)name);
}

static Value ssl_error_saying(const ExceptionClass *class, unsigned long code, const char *text)
{
    const char *library = ssl_library(code);
    Value reason = ssl_reason(code), source = V("");
    if (library && is_none(reason)) source = format("[%s] ", library);
    else if (library) source = format("[%s: %s] ", library, as_str(reason));
    Value e = exception_new(class, "%s%s", as_str(source), text);
    as_exc(e)->details = value_retain(tuple(library ? V(library) : None, reason));
    return e;
}

/* One that is not OpenSSL's: it has neither library nor reason. */
static _Noreturn void throw_ssl(const ExceptionClass *class, const char *text) { throw(ssl_error_saying(class, 0, text)); }

/* The newest error of this thread. */
static Value ssl_error(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code);
    bool unexpected_end = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    Value e = ssl_error_saying(unexpected_end ? SSLEOFError : SSLError, code, text ? text : "unknown error");
    ERR_clear_error();
    return e;
}

static _Noreturn void throw_file_error(const char *file)
{
    if (file && access(file, R_OK) < 0) throw_errno(file);
    throw(ssl_error());
}

/* A context: whom to believe, and what to show. */

struct SSLContext {
    Object object;
    SSL_CTX *openssl;
    int protocol;
    bool check_hostname;
    unsigned char *alpn; /* each name after a byte that holds its length */
    unsigned alpn_size;
};

static void sslcontext_destroy(void *object)
{
    SSLContext *context = object;
    SSL_CTX_free(context->openssl);
    free(context->alpn);
}

static const Class sslcontext_class = {.name = "SSLContext", .size = sizeof(SSLContext), .destroy = sslcontext_destroy};

SSLContext *as_sslcontext(Value v) { return expect_object(v, &sslcontext_class, "an SSLContext"); }

SSLContext *ssl_SSLContext(int protocol)
{
    static const char ciphers[] = "ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM";
    if (protocol != PROTOCOL_TLS_CLIENT && protocol != PROTOCOL_TLS_SERVER)
        throw(ValueError, "invalid or unsupported protocol version: PROTOCOL_TLS_CLIENT or PROTOCOL_TLS_SERVER");
    bool client = protocol == PROTOCOL_TLS_CLIENT;
    SSLContext *context = pooled(object_new(&sslcontext_class, sizeof *context));
    context->openssl = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (!context->openssl) throw(ssl_error());
    context->protocol = protocol;
    SSL_CTX_set_options(context->openssl,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context->openssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_min_proto_version(context->openssl, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context->openssl, ciphers);
    SSL_CTX_set_session_id_context(context->openssl, (const unsigned char *)"asyncio", 7);
    X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(context->openssl), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    sslcontext_set_verify_mode(context, client ? CERT_REQUIRED : CERT_NONE);
    sslcontext_set_check_hostname(context, client);
    return context;
}

SSLContext *ssl_create_default_context_(DefaultContextOptions options)
{
    bool client = options.purpose == SERVER_AUTH;
    SSLContext *context = ssl_SSLContext(client ? PROTOCOL_TLS_CLIENT : PROTOCOL_TLS_SERVER);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->openssl), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_X509_STRICT);
    if (options.cafile || options.capath || !is_none(options.cadata))
        sslcontext_load_verify_locations(context, .cafile = options.cafile, .capath = options.capath, .cadata = options.cadata);
    else if (client) sslcontext_load_default_certs(context);
    return context;
}

static SSLContext *tls_default_context(void) { return ssl_create_default_context(); }

void sslcontext_load_default_certs(SSLContext *context) { SSL_CTX_set_default_verify_paths(context->openssl); }

/* Certificates in memory: text in PEM, or bytes in DER, any number of them. */
static void sslcontext_add_certificates(SSLContext *context, Value data)
{
    bool pem = data.tag == VALUE_STR;
    if (!pem && data.tag != VALUE_BYTES) throw(TypeError, "cadata should be a str or bytes, not %s", value_type(data));
    Text *text = (Text *)data.object;
    BIO *bio = BIO_new_mem_buf(text->data, (int)text->length);
    X509_STORE *store = SSL_CTX_get_cert_store(context->openssl);
    int count = 0;
    for (X509 *each; (each = pem ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : d2i_X509_bio(bio, NULL)); count++) {
        X509_STORE_add_cert(store, each);
        X509_free(each);
    }
    bool all = BIO_pending(bio) == 0;
    BIO_free(bio);
    ERR_clear_error();
    if (!count || (!pem && !all))
        throw_ssl(SSLError, pem ? "no start line: cadata does not contain a certificate" : "not enough data: cadata does not contain a certificate");
}

void sslcontext_load_verify_locations_(SSLContext *context, VerifyLocations from)
{
    if (!from.cafile && !from.capath && is_none(from.cadata))
        throw(TypeError, "cafile, capath and cadata cannot be all omitted");
    if (!is_none(from.cadata)) sslcontext_add_certificates(context, from.cadata);
    if (!from.cafile && !from.capath) return;
    if (SSL_CTX_load_verify_locations(context->openssl, from.cafile, from.capath) != 1) throw_file_error(from.cafile);
}

/* OpenSSL would ask for a password at the terminal, and the loop would stand still. */
static int give_password(char *buffer, int size, int writing, void *password)
{
    (void)writing;
    size_t length = password ? strlen(password) : 0;
    if (!length || length > (size_t)size) return -1;
    memcpy(buffer, password, length);
    return (int)length;
}

void sslcontext_load_cert_chain_(SSLContext *context, const char *certfile, CertChain chain)
{
    const char *keyfile = chain.keyfile ? chain.keyfile : certfile;
    SSL_CTX *openssl = context->openssl;
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(openssl, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(openssl, (void *)chain.password);
    if (SSL_CTX_use_certificate_chain_file(openssl, certfile) != 1) throw_file_error(certfile);
    if (SSL_CTX_use_PrivateKey_file(openssl, keyfile, SSL_FILETYPE_PEM) != 1) throw_file_error(keyfile);
    if (SSL_CTX_check_private_key(openssl) != 1) throw(ssl_error());
    SSL_CTX_set_default_passwd_cb_userdata(openssl, NULL);
}

int sslcontext_verify_mode(SSLContext *context)
{
    int mode = SSL_CTX_get_verify_mode(context->openssl);
    if (!(mode & SSL_VERIFY_PEER)) return CERT_NONE;
    return mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT ? CERT_REQUIRED : CERT_OPTIONAL;
}

void sslcontext_set_verify_mode(SSLContext *context, int mode)
{
    static const int flags[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    if (mode < CERT_NONE || mode > CERT_REQUIRED) throw(ValueError, "invalid value for verify_mode: %d", mode);
    if (mode == CERT_NONE && context->check_hostname)
        throw(ValueError, "Cannot set verify_mode to CERT_NONE when check_hostname is enabled.");
    SSL_CTX_set_verify(context->openssl, flags[mode], NULL);
}

bool sslcontext_check_hostname(SSLContext *context) { return context->check_hostname; }

void sslcontext_set_check_hostname(SSLContext *context, bool on)
{
    if (on && sslcontext_verify_mode(context) == CERT_NONE) sslcontext_set_verify_mode(context, CERT_REQUIRED);
    context->check_hostname = on;
}

int sslcontext_minimum_version(SSLContext *context) { return (int)SSL_CTX_get_min_proto_version(context->openssl); }
int sslcontext_maximum_version(SSLContext *context) { return (int)SSL_CTX_get_max_proto_version(context->openssl); }

static void check_tls_version(int version)
{
    if (version != TLSv1_2 && version != TLSv1_3)
        throw(ValueError, "unsupported TLS version %#x: TLSv1_2 or TLSv1_3", version);
}

void sslcontext_set_minimum_version(SSLContext *context, int version)
{
    check_tls_version(version);
    SSL_CTX_set_min_proto_version(context->openssl, version);
}

void sslcontext_set_maximum_version(SSLContext *context, int version)
{
    check_tls_version(version);
    SSL_CTX_set_max_proto_version(context->openssl, version);
}

/* ALPN: client and server agree on what they will talk, "h2" or "http/1.1". It is the first of the server's names that
 * the client has too; if there is none, they go on without. */
static int choose_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *size, const unsigned char *offered,
                       unsigned offered_size, void *arg)
{
    (void)ssl;
    SSLContext *context = arg;
    int found = SSL_select_next_proto((unsigned char **)chosen, size, context->alpn, context->alpn_size, offered, offered_size);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

void sslcontext_set_alpn_protocols(SSLContext *context, Value names)
{
    size_t size = 0;
    for_in (name, names) {
        size_t length = strlen(as_str(name));
        if (!length || length > 255) throw(SSLError, "ALPN protocols must be 1 to 255 in length");
        size += length + 1;
    }
    unsigned char *list = allocate_or_raise(NULL, size + 1), *end = list;
    for_in (name, names) {
        *end = (unsigned char)strlen(as_str(name));
        memcpy(end + 1, as_str(name), *end);
        end += *end + 1;
    }
    free(context->alpn);
    context->alpn = list;
    context->alpn_size = (unsigned)size;
    SSL_CTX_set_alpn_protos(context->openssl, list, (unsigned)size);
    SSL_CTX_set_alpn_select_cb(context->openssl, choose_alpn, context);
}

/* An SSLObject: one connection's end, between two pieces of memory. Its operations say that they need more from the
 * peer, or raise. */

struct SSLObject {
    Object object;
    SSLContext *context;
    SSL *openssl;
    BIO *incoming, *outgoing; /* `openssl` frees them */
    char *hostname;           /* whose certificate it must be; NULL: anybody's */
};

static void sslobject_destroy(void *object)
{
    SSLObject *o = object;
    SSL_free(o->openssl);
    free(o->hostname);
    release(o->context);
}

static const Class sslobject_class = {.name = "SSLObject", .size = sizeof(SSLObject), .destroy = sslobject_destroy};

SSLObject *as_sslobject(Value v) { return expect_object(v, &sslobject_class, "an SSLObject"); }

/* A name is told to the server, which may have several certificates; an address is not. Both are checked. */
static void sslobject_expect(SSLObject *o, const char *hostname)
{
    if (*hostname == '.') throw(ValueError, "server_hostname cannot start with a dot: '%s'", hostname);
    o->hostname = copy_string(hostname);
    X509_VERIFY_PARAM *check = SSL_get0_param(o->openssl);
    bool literal = is_literal(hostname), ok = literal || SSL_set_tlsext_host_name(o->openssl, hostname);
    if (ok && o->context->check_hostname)
        ok = literal ? X509_VERIFY_PARAM_set1_ip_asc(check, hostname) : X509_VERIFY_PARAM_set1_host(check, hostname, 0);
    if (!ok) throw(ssl_error());
}

static SSLObject *sslobject_new(const TLS *tls)
{
    bool for_server = tls->context->protocol == PROTOCOL_TLS_SERVER;
    if (tls->server_side && !for_server) throw_ssl(SSLError, "Cannot create a server socket with a PROTOCOL_TLS_CLIENT context");
    if (!tls->server_side && for_server) throw_ssl(SSLError, "Cannot create a client socket with a PROTOCOL_TLS_SERVER context");
    SSLObject *o = pooled(object_new(&sslobject_class, sizeof *o));
    o->context = retain(tls->context);
    o->openssl = SSL_new(tls->context->openssl);
    if (!o->openssl) throw(ssl_error());
    o->incoming = BIO_new(BIO_s_mem());
    o->outgoing = BIO_new(BIO_s_mem());
    if (!o->incoming || !o->outgoing) out_of_memory(sizeof(void *));
    SSL_set_bio(o->openssl, o->incoming, o->outgoing);
    BIO_set_mem_eof_return(o->incoming, -1); /* empty means "not yet", not "the end" */
    if (tls->server_side) SSL_set_accept_state(o->openssl);
    else SSL_set_connect_state(o->openssl);
    if (tls->hostname && *tls->hostname && !tls->server_side) sslobject_expect(o, tls->hostname);
    return o;
}

/* Why the certificate was refused. */
static Value certificate_error(SSLObject *o, unsigned long code)
{
    long problem = SSL_get_verify_result(o->openssl);
    Value why = V(X509_verify_cert_error_string(problem));
    if (problem == X509_V_ERR_HOSTNAME_MISMATCH || problem == X509_V_ERR_IP_ADDRESS_MISMATCH)
        why = format("%s mismatch, certificate is not valid for '%s'.",
                     problem == X509_V_ERR_HOSTNAME_MISMATCH ? "Hostname" : "IP address", o->hostname);
    Value e = ssl_error_saying(SSLCertVerificationError, code, as_str(format("certificate verify failed: %s", as_str(why))));
    Value details = as_exc(e)->details;
    value_replace(&as_exc(e)->details, tuple(list_get(details, 0), list_get(details, 1), problem, why));
    ERR_clear_error();
    return e;
}

/* An operation has not done what it should: because more must come first, or something is wrong. */
static void sslobject_check(SSLObject *o, int result)
{
    int problem = SSL_get_error(o->openssl, result);
    unsigned long code = ERR_peek_last_error();
    if (problem == SSL_ERROR_WANT_READ || problem == SSL_ERROR_WANT_WRITE) return;
    if (problem == SSL_ERROR_ZERO_RETURN) throw_ssl(SSLZeroReturnError, "TLS/SSL connection has been closed (EOF)");
    if (!code) throw_ssl(SSLEOFError, "EOF occurred in violation of protocol");
    bool refused = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    throw(refused ? certificate_error(o, code) : ssl_error());
}

static bool sslobject_do_handshake(SSLObject *o)
{
    ERR_clear_error();
    int result = SSL_do_handshake(o->openssl);
    if (result != 1) sslobject_check(o, result);
    return result == 1;
}

/* The bytes read; 0: the peer has closed; -1: nothing there yet. */
static long sslobject_read(SSLObject *o, void *data, size_t size)
{
    ERR_clear_error();
    int n = SSL_read(o->openssl, data, size > INT_MAX ? INT_MAX : (int)size);
    if (n > 0) return n;
    if (SSL_get_error(o->openssl, n) == SSL_ERROR_ZERO_RETURN) return 0;
    sslobject_check(o, n);
    return -1;
}

/* The bytes taken; -1: it must read first. */
static long sslobject_write(SSLObject *o, const void *data, size_t size)
{
    ERR_clear_error();
    int n = SSL_write(o->openssl, data, size > INT_MAX ? INT_MAX : (int)size);
    if (n > 0) return n;
    sslobject_check(o, n);
    return -1;
}

/* Says goodbye, once. What the peer says before it says goodbye too nobody will read. True: it has said so. */
static bool sslobject_unwrap(SSLObject *o)
{
    char unread[1024];
    long n;
    ERR_clear_error();
    int result = SSL_get_shutdown(o->openssl) & SSL_SENT_SHUTDOWN ? 0 : SSL_shutdown(o->openssl);
    if (result < 0) sslobject_check(o, result);
    while ((n = sslobject_read(o, unread, sizeof unread)) > 0) {}
    return n == 0;
}

static void sslobject_feed(SSLObject *o, const char *data, size_t size)
{
    if (size && BIO_write(o->incoming, data, (int)size) != (int)size)
        throw(MemoryError, "no memory for %zu received bytes", size);
}

/* What is known of the connection and of the other end. */

Value sslobject_version(SSLObject *o) { return SSL_is_init_finished(o->openssl) ? V(SSL_get_version(o->openssl)) : None; }
const char *sslobject_server_hostname(SSLObject *o) { return o->hostname; }
SSLContext *sslobject_context(SSLObject *o) { return o->context; }

Value sslobject_cipher(SSLObject *o)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(o->openssl);
    if (!cipher) return None;
    return tuple(SSL_CIPHER_get_name(cipher), SSL_CIPHER_get_version(cipher), SSL_CIPHER_get_bits(cipher, NULL));
}

Value sslobject_compression(SSLObject *o)
{
    const COMP_METHOD *method = SSL_get_current_compression(o->openssl);
    return method ? V(SSL_COMP_get_name(method)) : None;
}

Value sslobject_selected_alpn_protocol(SSLObject *o)
{
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(o->openssl, &name, &size);
    return size ? format("%.*s", (int)size, (const char *)name) : None;
}

/* A certificate as Python shows it: a tuple of pairs of texts. OpenSSL prints most of them, into a BIO. */

static Value take_text(BIO *bio)
{
    char *data;
    int size = (int)BIO_get_mem_data(bio, &data);
    Value text = format("%.*s", size, data);
    BIO_free(bio);
    return text;
}

static Value time_text(const ASN1_TIME *time)
{
    BIO *bio = BIO_new(BIO_s_mem());
    ASN1_TIME_print(bio, time);
    return take_text(bio);
}

static Value serial_text(X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    i2a_ASN1_INTEGER(bio, X509_get0_serialNumber(certificate));
    return take_text(bio);
}

/* Of ((("commonName", "localhost"),), ...): each part of a name is a set of pairs, nearly always of one. */
static Value name_parts(const X509_NAME *name)
{
    Value parts = list();
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        char key[128];
        unsigned char *text = NULL;
        OBJ_obj2txt(key, sizeof key, X509_NAME_ENTRY_get_object(entry), 0);
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
        list_append(parts, tuple(tuple((const char *)key, text ? (const char *)text : "")));
        OPENSSL_free(text);
    }
    return tuple_of(parts);
}

static Value alternative_names(X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    Value pairs = list();
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        BIO *bio = BIO_new(BIO_s_mem());
        GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i)); /* "DNS:localhost" */
        const char *text = as_str(take_text(bio));
        size_t kind = strcspn(text, ":");
        list_append(pairs, tuple(format("%.*s", (int)kind, text), text + kind + (text[kind] != 0)));
    }
    GENERAL_NAMES_free(names);
    return tuple_of(pairs);
}

static Value certificate_items(X509 *certificate)
{
    Value items = list(tuple("subject", name_parts(X509_get_subject_name(certificate))),
                       tuple("issuer", name_parts(X509_get_issuer_name(certificate))),
                       tuple("version", X509_get_version(certificate) + 1), tuple("serialNumber", serial_text(certificate)),
                       tuple("notBefore", time_text(X509_get0_notBefore(certificate))),
                       tuple("notAfter", time_text(X509_get0_notAfter(certificate))));
    Value names = alternative_names(certificate);
    if (len(names)) list_append(items, tuple("subjectAltName", names));
    return tuple_of(items);
}

static Value certificate_bytes(X509 *certificate)
{
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size < 0) throw(ssl_error());
    Value data = bytes(der, (size_t)size);
    OPENSSL_free(der);
    return data;
}

Value sslobject_getpeercert_(SSLObject *o, PeerCertOptions options)
{
    X509 *certificate = SSL_get0_peer_certificate(o->openssl);
    if (!certificate) return None;
    if (options.binary_form) return certificate_bytes(certificate);
    return SSL_get_verify_mode(o->openssl) & SSL_VERIFY_PEER ? certificate_items(certificate) : tuple();
}

/* The protocol of the transport below, and the transport of the protocol above: one object with two faces. `app` is
 * the application's side of it, `below` the transport that carries what is encrypted. */

typedef enum { UNWRAPPED, DO_HANDSHAKE, WRAPPED, FLUSHING, SHUTDOWN } TLSState;
typedef enum { APP_INIT, APP_MADE, APP_EOF, APP_LOST } AppState; /* which of its callbacks the application has had */

typedef struct SSLProtocol {
    Transport app;    /* what the application sees; its buffer holds what is not encrypted yet */
    Transport *below; /* from connection_made() to connection_lost() */
    SSLObject *object;
    Future *waiter; /* who waits for the handshake */
    Handle *handshake_timer, *shutdown_timer;
    double handshake_timeout, shutdown_timeout;
    TLSState state;
    AppState told;
    bool handshaken, eof_received;
    bool below_is_full, below_is_paused; /* by pause_writing(), by our transport_pause_reading() */
} SSLProtocol;

enum { HANDSHAKE_TIMEOUT = 60, SHUTDOWN_TIMEOUT = 30, INCOMING_HIGH = 256 * 1024, OUTGOING_HIGH = 512 * 1024 };

/* Encrypted bytes on their way between OpenSSL and the transport below, which has copied them when it returns. */
static __thread char passage[READ_SIZE];

static SSLProtocol *as_tls(Value v) { return (SSLProtocol *)v.object; }

static void tls_destroy(void *object)
{
    SSLProtocol *tls = object;
    release(tls->object);
    release(tls->waiter);
    transport_destroy(object);
}

static void tls_write_repr(void *object, FILE *out)
{
    SSLProtocol *tls = object;
    fprintf(out, "<SSLTransport%s over ", tls->app.closing ? " closing" : "");
    value_write(tls->below ? V(tls->below) : None, true, out);
    fputc('>', out);
}

static void timer_end(Handle **timer)
{
    if (*timer) handle_cancel(*timer);
    release(*timer);
    *timer = NULL;
}

static void tls_let_go(void *object)
{
    SSLProtocol *tls = object;
    tls->below = NULL;
    tls->state = UNWRAPPED;
    timer_end(&tls->handshake_timer);
    timer_end(&tls->shutdown_timer);
    transport_forget_protocol(&tls->app);
}

static const Class tls_class = {
    .name = "SSLTransport", .size = sizeof(SSLProtocol), .destroy = tls_destroy, .write = tls_write_repr,
    .let_go = tls_let_go, .is_io = true};

Transport *as_transport(Value v)
{
    bool layered = v.tag == VALUE_OBJECT && v.object->class == &tls_class;
    return layered ? (Transport *)v.object : expect_object(v, &transport_class, "a Transport");
}

static void tls_wake_waiter(SSLProtocol *tls, Value e)
{
    if (!tls->waiter) return;
    future_settle(tls->waiter, e);
    release(tls->waiter);
    tls->waiter = NULL;
}

static void tls_fatal(SSLProtocol *tls, Value e, const char *message)
{
    if (tls->below) transport_force_close(tls->below, e);
    if (!isinstance(e, OSError) && !isinstance(e, CancelledError))
        REPORT(tls->app.loop, .message = message, .exception = e);
}

/* Outwards: from the application's buffer through OpenSSL into the transport below. What is in all of them counts
 * against the application's water marks. */

static size_t tls_buffer_size(Transport *app)
{
    return app->size + BIO_pending(((SSLProtocol *)app)->object->outgoing);
}

static void tls_control_app_writing(Transport *app)
{
    size_t size = tls_buffer_size(app);
    if (size >= app->high && !app->protocol_paused) {
        app->protocol_paused = true;
        transport_call_protocol(app, app->protocol->pause_writing, "protocol.pause_writing() failed");
    } else if (size <= app->low && app->protocol_paused) {
        app->protocol_paused = false;
        if (app->waiter) future_finish_unless_done(app->waiter, None);
        transport_call_protocol(app, app->protocol->resume_writing, "protocol.resume_writing() failed");
    }
}

static void tls_send(SSLProtocol *tls)
{
    for (int n; (n = BIO_read(tls->object->outgoing, passage, sizeof passage)) > 0;)
        transport_write(tls->below, passage, (size_t)n);
}

static void tls_process_outgoing(SSLProtocol *tls)
{
    if (!tls->below_is_full) tls_send(tls);
    tls_control_app_writing(&tls->app);
}

static void tls_do_write(SSLProtocol *tls)
{
    Transport *app = &tls->app;
    for (long n; app->size && (n = sslobject_write(tls->object, app->buffer + app->first, app->size)) > 0;)
        transport_drop(app, (size_t)n);
    tls_process_outgoing(tls);
}

static void tls_write(Transport *app, const char *data, size_t size)
{
    SSLProtocol *tls = (SSLProtocol *)app;
    if (tls->state != DO_HANDSHAKE && tls->state != WRAPPED) {
        if (app->lost++ >= WRITES_AFTER_LOSS) fputs("SSL connection is closed\n", stderr);
        return;
    }
    transport_keep(app, data, size);
    try {
        if (tls->state == WRAPPED) tls_do_write(tls);
    } except (Exception, e) {
        tls_fatal(tls, e, "Fatal error on SSL protocol");
    } end_try
}

static void tls_pause_writing(Value self) { as_tls(self)->below_is_full = true; }

static void tls_resume_writing(Value self)
{
    as_tls(self)->below_is_full = false;
    tls_process_outgoing(as_tls(self));
}

/* The end, from this side or from the other: WRAPPED, FLUSHING, SHUTDOWN, and the transport below is closed. */

static void tls_end_at_once(SSLProtocol *tls, Value e)
{
    tls->state = UNWRAPPED;
    if (tls->below) transport_force_close(tls->below, e);
}

static void tls_call_eof_received(SSLProtocol *tls)
{
    const Protocol *protocol = tls->app.protocol;
    if (tls->told != APP_MADE) return;
    tls->told = APP_EOF;
    try {
        if (protocol->eof_received && protocol->eof_received(tls->app.self))
            fputs("returning true from eof_received() has no effect when using ssl\n", stderr);
    } except (BaseException, e) {
        if (leaves_loop(e)) rethrow;
        tls_fatal(tls, e, "Error calling eof_received()");
    } end_try
}

static void tls_close_below(Value below) { transport_close((Transport *)below.object); }

/* Nothing is held back any more, whatever the transport below has said: it sends all of it before it closes. */
static void tls_on_shutdown_complete(SSLProtocol *tls)
{
    timer_end(&tls->shutdown_timer);
    tls_send(tls);
    tls_call_eof_received(tls);
    loop_call_soon(tls->app.loop, tls_close_below, V(tls->below));
}

static void tls_do_shutdown(SSLProtocol *tls)
{
    volatile bool done;
    try {
        done = tls->eof_received || sslobject_unwrap(tls->object);
    } except (SSLError, e) {
        timer_end(&tls->shutdown_timer);
        tls_fatal(tls, e, "Fatal error on transport");
        return;
    } end_try
    if (done) tls_on_shutdown_complete(tls);
    else tls_process_outgoing(tls);
}

static void tls_do_read(SSLProtocol *tls);

static void tls_do_flush(SSLProtocol *tls)
{
    tls_do_read(tls);
    if (tls->state != FLUSHING) return;
    tls->state = SHUTDOWN;
    tls_do_shutdown(tls);
}

static void tls_shutdown_timed_out(Value v)
{
    SSLProtocol *tls = as_tls(v);
    if (tls->state == FLUSHING || tls->state == SHUTDOWN)
        transport_force_close(tls->below, exception_new(TimeoutError, "SSL shutdown timed out"));
}

static void tls_start_shutdown(SSLProtocol *tls)
{
    if (tls->state != DO_HANDSHAKE && tls->state != WRAPPED) return;
    tls->app.closing = true;
    if (tls->state == DO_HANDSHAKE) {
        tls_end_at_once(tls, None);
        return;
    }
    tls->state = FLUSHING;
    Handle *timer = loop_call_later(tls->app.loop, tls->shutdown_timeout, tls_shutdown_timed_out, V(&tls->app));
    tls->shutdown_timer = retain(timer);
    tls_do_flush(tls);
}

static void tls_close(Transport *app)
{
    if (app->closing) return;
    app->closing = true;
    tls_start_shutdown((SSLProtocol *)app);
}

static void tls_force_close(Transport *app, Value e)
{
    app->closing = true;
    tls_end_at_once((SSLProtocol *)app, e);
}

/* Inwards: from the transport below through OpenSSL to the application. */

static void tls_control_reading(SSLProtocol *tls)
{
    size_t size = BIO_pending(tls->object->incoming);
    if (size >= INCOMING_HIGH && !tls->below_is_paused) {
        tls->below_is_paused = true;
        transport_pause_reading(tls->below);
    } else if (size <= INCOMING_HIGH / 4 && tls->below_is_paused) {
        tls->below_is_paused = false;
        transport_resume_reading(tls->below);
    }
}

static void tls_peer_has_closed(SSLProtocol *tls)
{
    tls_call_eof_received(tls);
    tls_start_shutdown(tls);
}

/* Fills memory with what can be decrypted. True: after that the peer has said that no more will come. */
static bool tls_decrypt(SSLProtocol *tls, char *memory, size_t room, size_t *size)
{
    long n = 1;
    *size = 0;
    while (*size < room && (n = sslobject_read(tls->object, memory + *size, room - *size)) > 0) *size += (size_t)n;
    return n == 0;
}

/* All that can be decrypted, in one piece. It is never more than what came, and what OpenSSL still has of one record. */
static void tls_read_copied(SSLProtocol *tls)
{
    scope {
        size_t room = BIO_pending(tls->object->incoming) + SSL3_RT_MAX_PLAIN_LENGTH, size;
        Value data = bytes(NULL, room);
        char *memory = ((Text *)data.object)->data;
        bool over = tls_decrypt(tls, memory, room, &size);
        if (size && tls->app.protocol->data_received) tls->app.protocol->data_received(tls->app.self, memory, size);
        if (over) tls_peer_has_closed(tls);
    }
}

static void tls_read_again(Value v) { tls_do_read(as_tls(v)); }

/* Into the memory of a BufferedProtocol; if that is full there may be more. */
static void tls_read_lent(SSLProtocol *tls)
{
    size_t room, size;
    char *memory = transport_borrow(&tls->app, &room);
    bool over = tls_decrypt(tls, memory, room, &size);
    if (size == room) loop_call_soon(tls->app.loop, tls_read_again, V(&tls->app));
    if (size) tls->app.protocol->buffer_updated(tls->app.self, size);
    if (over) tls_peer_has_closed(tls);
}

static void tls_do_read(SSLProtocol *tls)
{
    if (tls->state != WRAPPED && tls->state != FLUSHING) return;
    try {
        if (!tls->app.paused) {
            if (tls->app.protocol->get_buffer) tls_read_lent(tls);
            else tls_read_copied(tls);
            if (tls->state != UNWRAPPED) tls_do_write(tls);
        }
        tls_control_reading(tls);
    } except (Exception, e) {
        tls_fatal(tls, e, "Fatal error on SSL protocol");
    } end_try
}

/* More has come, or may be read again: whatever the state, it is tried again. */
static void tls_go_on(Value v)
{
    SSLProtocol *tls = as_tls(v);
    if (tls->state == WRAPPED) tls_do_read(tls);
    else if (tls->state == FLUSHING) tls_do_flush(tls);
    else if (tls->state == SHUTDOWN) tls_do_shutdown(tls);
}

static void tls_resume_reading(Transport *app)
{
    if (!app->paused) return;
    app->paused = false;
    loop_call_soon(app->loop, tls_go_on, V(app));
}

/* The handshake: tried again each time more has come from the peer, until it is done, fails or takes too long. */

static void tls_handshake_failed(SSLProtocol *tls, Value e)
{
    timer_end(&tls->handshake_timer);
    tls->state = UNWRAPPED;
    tls_fatal(tls, e, "SSL handshake failed");
    tls_wake_waiter(tls, e);
}

static void tls_handshake_done(SSLProtocol *tls)
{
    Transport *app = &tls->app;
    timer_end(&tls->handshake_timer);
    tls->state = WRAPPED;
    tls->handshaken = true;
    if (tls->told == APP_INIT) {
        tls->told = APP_MADE;
        if (app->protocol->connection_made) app->protocol->connection_made(app->self, app);
    }
    tls_wake_waiter(tls, None);
    tls_do_read(tls);
}

/* What OpenSSL has to say goes out in each case: also the alert that tells the peer why it is refused. */
static void tls_do_handshake(SSLProtocol *tls)
{
    volatile bool done;
    try {
        done = sslobject_do_handshake(tls->object);
    } except (SSLError, e) {
        tls_process_outgoing(tls);
        tls_handshake_failed(tls, e);
        return;
    } end_try
    tls_process_outgoing(tls);
    if (done) tls_handshake_done(tls);
}

static void tls_handshake_timed_out(Value v)
{
    SSLProtocol *tls = as_tls(v);
    if (tls->state != DO_HANDSHAKE) return;
    Value e = exception_new(ConnectionAbortedError,
                            "SSL handshake is taking longer than %s seconds: aborting the connection",
                            as_str(str(tls->handshake_timeout)));
    tls_fatal(tls, e, "Fatal error on transport");
}

/* What the transport below calls: this is the protocol's face. */

static void tls_connection_made(Value self, Transport *below)
{
    SSLProtocol *tls = as_tls(self);
    if (tls->app.closing) { /* whoever wanted it has given up meanwhile */
        transport_force_close(below, None);
        return;
    }
    tls->below = below;
    tls->state = DO_HANDSHAKE;
    Handle *timer = loop_call_later(tls->app.loop, tls->handshake_timeout, tls_handshake_timed_out, self);
    tls->handshake_timer = retain(timer);
    tls_do_handshake(tls);
}

static void tls_tell_lost(Value v)
{
    Transport *app = (Transport *)list_get(v, 0).object;
    if (app->protocol->connection_lost) app->protocol->connection_lost(app->self, list_get(v, 1));
    value_replace(&app->self, None);
}

static void tls_connection_lost(Value self, Value e)
{
    SSLProtocol *tls = as_tls(self);
    tls->app.size = 0;
    tls->app.closing = true;
    tls->app.lost++;
    tls->app.reason = value_retain(e);
    transport_waiter_lost(&tls->app);
    tls->state = UNWRAPPED;
    tls->below = NULL;
    if (tls->told == APP_MADE || tls->told == APP_EOF) {
        tls->told = APP_LOST;
        loop_call_soon(tls->app.loop, tls_tell_lost, tuple(self, e));
    } else value_replace(&tls->app.self, None);
    if (is_none(e)) e = exception_new(ConnectionAbortedError, "the connection was closed during the TLS handshake");
    tls_wake_waiter(tls, e);
    timer_end(&tls->shutdown_timer);
    timer_end(&tls->handshake_timer);
}

static char *tls_get_buffer(Value self, size_t hint, size_t *size)
{
    (void)self;
    (void)hint;
    *size = sizeof passage;
    return passage;
}

static void tls_buffer_updated(Value self, size_t size)
{
    SSLProtocol *tls = as_tls(self);
    sslobject_feed(tls->object, passage, size);
    if (tls->state == DO_HANDSHAKE) tls_do_handshake(tls);
    else tls_go_on(self);
}

static bool tls_eof_received(Value self)
{
    SSLProtocol *tls = as_tls(self);
    tls->eof_received = true;
    if (tls->state == DO_HANDSHAKE) {
        Value e = exception_new(ConnectionResetError, "the peer closed the connection during the TLS handshake");
        tls_handshake_failed(tls, e);
    } else if (tls->state == WRAPPED) {
        tls->state = FLUSHING;
        if (tls->app.paused) return true;
        tls_do_flush(tls);
    } else if (tls->state == FLUSHING) {
        tls_do_write(tls);
        tls->state = SHUTDOWN;
        tls_do_shutdown(tls);
    } else if (tls->state == SHUTDOWN) tls_do_shutdown(tls);
    return false;
}

static const Protocol tls_protocol = {
    .connection_made = tls_connection_made, .connection_lost = tls_connection_lost,
    .get_buffer = tls_get_buffer, .buffer_updated = tls_buffer_updated, .eof_received = tls_eof_received,
    .pause_writing = tls_pause_writing, .resume_writing = tls_resume_writing};

/* What the application calls: the transport's face. */

static Value tls_extra_info(Transport *app, const char *name, Value otherwise)
{
    SSLProtocol *tls = (SSLProtocol *)app;
    if (!strcmp(name, "sslcontext")) return V(tls->object->context);
    if (tls->handshaken) {
        if (!strcmp(name, "ssl_object")) return V(tls->object);
        if (!strcmp(name, "peercert")) return sslobject_getpeercert(tls->object);
        if (!strcmp(name, "cipher")) return sslobject_cipher(tls->object);
        if (!strcmp(name, "compression")) return sslobject_compression(tls->object);
    }
    return tls->below ? transport_get_extra_info_(tls->below, name, otherwise) : otherwise;
}

static const Layer tls_layer = {
    .write = tls_write, .close = tls_close, .force_close = tls_force_close,
    .resume_reading = tls_resume_reading, .buffer_size = tls_buffer_size,
    .control_writing = tls_control_app_writing, .extra_info = tls_extra_info, .high_water = OUTGOING_HIGH};

/* told: APP_MADE if the application knows the connection already. */
static SSLProtocol *tls_new(Loop *loop, const Protocol *protocol, Value self, const TLS *wanted, Future *waiter,
                            AppState told)
{
    SSLObject *object = sslobject_new(wanted);
    SSLProtocol *tls = pooled(object_new(&tls_class, sizeof *tls));
    tls->app = (Transport){
        .object = tls->app.object, .loop = loop, .kind = LAYERED, .layer = &tls_layer, .fd = -1,
        .protocol = protocol, .self = value_retain(self), .high = OUTGOING_HIGH, .low = OUTGOING_HIGH / 4};
    tls->object = retain(object);
    tls->waiter = retain(waiter);
    tls->told = told;
    tls->handshake_timeout = isnan(wanted->handshake_timeout) ? HANDSHAKE_TIMEOUT : wanted->handshake_timeout;
    tls->shutdown_timeout = isnan(wanted->shutdown_timeout) ? SHUTDOWN_TIMEOUT : wanted->shutdown_timeout;
    return tls;
}

static Transport *tls_transport_new(Loop *loop, int fd, int ours, const Protocol *protocol, Value self, Future *waiter,
                                    Server *server, const TLS *wanted)
{
    SSLProtocol *volatile tls = NULL;
    try {
        tls = tls_new(loop, protocol, self, wanted, waiter, APP_INIT);
    } except (BaseException) {
        if (ours >= 0) close(ours);
        rethrow;
    } end_try
    transport_new(loop, SOCKET_TRANSPORT, fd, &tls_protocol, V(&tls->app), NULL, server);
    return &tls->app;
}

/* start_tls(): a transport that is connected already gets another protocol, and the old one another transport. */

static void tls_begin(Value v)
{
    SSLProtocol *tls = as_tls(list_get(v, 0));
    tls_connection_made(V(&tls->app), (Transport *)list_get(v, 1).object);
}

static void tls_let_below_read(Value below) { transport_resume_reading((Transport *)below.object); }

/* Reading is paused until the handshake has begun, so that nothing comes before connection_made(). */
static Transport *tls_start(Loop *loop, Transport *below, const Protocol *protocol, Value self, const TLS *wanted, Value ahead)
{
    Future *waiter = pooled(future_inner(loop, "the TLS handshake", NULL));
    SSLProtocol *tls = tls_new(loop, protocol, self, wanted, waiter, APP_MADE);
    sslobject_feed(tls->object, as_bytes(ahead, NULL), (size_t)len(ahead));
    transport_pause_reading(below);
    transport_set_protocol(below, &tls_protocol, V(&tls->app));
    Handle *begin = retain(loop_call_soon(loop, tls_begin, tuple(&tls->app, below)));
    Handle *resume = retain(loop_call_soon(loop, tls_let_below_read, V(below)));
    Value interruption = future_wait(waiter);
    if (!is_none(interruption)) {
        transport_close(below);
        handle_cancel(begin);
        handle_cancel(resume);
    }
    release(begin);
    release(resume);
    if (!is_none(interruption)) throw(interruption);
    return &tls->app;
}

#else /* not ASYNCIO_TLS */

static void tls_required(void)
{
    throw(RuntimeError, "this asyncio was built without TLS. Build it with `make TLS=1`, "
                        "or compile asyncio.c with -DASYNCIO_TLS and link with `pkg-config --libs openssl`.");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
static SSLContext *tls_default_context(void) { tls_required(); return NULL; }
static Transport *tls_transport_new(Loop *loop, int fd, int ours, const Protocol *protocol, Value self, Future *waiter,
                                    Server *server, const TLS *wanted)
{
    tls_required();
    return NULL;
}
static Transport *tls_start(Loop *loop, Transport *below, const Protocol *protocol, Value self, const TLS *wanted, Value ahead)
{
    tls_required();
    return NULL;
}
Transport *as_transport(Value v) { return expect_object(v, &transport_class, "a Transport"); }
SSLContext *as_sslcontext(Value v) { throw(TypeError, "expected an SSLContext, got %s", value_type(v)); }
SSLObject *as_sslobject(Value v) { throw(TypeError, "expected an SSLObject, got %s", value_type(v)); }
SSLContext *ssl_SSLContext(int protocol) { tls_required(); return NULL; }
SSLContext *ssl_create_default_context_(DefaultContextOptions options) { tls_required(); return NULL; }
void sslcontext_load_default_certs(SSLContext *context) { tls_required(); }
void sslcontext_load_verify_locations_(SSLContext *context, VerifyLocations from) { tls_required(); }
void sslcontext_load_cert_chain_(SSLContext *context, const char *certfile, CertChain chain) { tls_required(); }
int sslcontext_verify_mode(SSLContext *context) { tls_required(); return 0; }
void sslcontext_set_verify_mode(SSLContext *context, int mode) { tls_required(); }
bool sslcontext_check_hostname(SSLContext *context) { tls_required(); return false; }
void sslcontext_set_check_hostname(SSLContext *context, bool on) { tls_required(); }
int sslcontext_minimum_version(SSLContext *context) { tls_required(); return 0; }
int sslcontext_maximum_version(SSLContext *context) { tls_required(); return 0; }
void sslcontext_set_minimum_version(SSLContext *context, int version) { tls_required(); }
void sslcontext_set_maximum_version(SSLContext *context, int version) { tls_required(); }
void sslcontext_set_alpn_protocols(SSLContext *context, Value names) { tls_required(); }
Value sslobject_version(SSLObject *o) { tls_required(); return None; }
const char *sslobject_server_hostname(SSLObject *o) { tls_required(); return NULL; }
SSLContext *sslobject_context(SSLObject *o) { tls_required(); return NULL; }
Value sslobject_cipher(SSLObject *o) { tls_required(); return None; }
Value sslobject_compression(SSLObject *o) { tls_required(); return None; }
Value sslobject_selected_alpn_protocol(SSLObject *o) { tls_required(); return None; }
Value sslobject_getpeercert_(SSLObject *o, PeerCertOptions options) { tls_required(); return None; }
#pragma GCC diagnostic pop

#endif

/* A connection that begins in the clear and goes on with TLS. */
static TLS start_tls_wanted(Transport *below, SSLContext *context, StartTLSOptions options)
{
    tls_required();
    if (!context) throw(TypeError, "sslcontext is expected to be an instance of ssl.SSLContext, got None");
    if (!below || (below->kind != SOCKET_TRANSPORT && below->kind != LAYERED))
        throw(TypeError, "transport %s is not supported by start_tls()", below ? as_str(repr(below)) : "None");
    const char *hostname = options.server_hostname;
    return tls_wanted(V(context), (TLS){.hostname = hostname, .server_side = options.server_side, TLS_TIMEOUTS(options)});
}

ASYNC(loop_start_tls, loop_start_tls_, (Loop *)loop, (Transport *)transport, (const Protocol *)protocol, (Value)self,
      (SSLContext *)context, (StartTLSOptions)options)
{
    TLS wanted = start_tls_wanted(transport, context, options);
    return V(tls_start(loop, transport, protocol, self, &wanted, bytes("", 0)));
}

/* ---- [streams] Streams ---------------------------------------------------------------------------------------------
 *
 * A reader and a writer, made of a protocol that fills a buffer and counts its water marks. A reader pauses its
 * transport when it holds twice its limit, so that a slow reader slows the peer; a writer's drain() waits while the
 * transport holds too much.
 */

struct StreamReader {
    Object object;
    bool eof, paused;
    char *buffer; /* `size` bytes from `first` on */
    size_t first, size, capacity, limit;
    Transport *transport; /* not held: the writer holds it */
    Future *waiter;       /* who reads now: data_comes, or NULL */
    Future data_comes;
    Value exception;
    StreamWriter *writer; /* the other half of the stream; not held */
    Loop *loop;
};

struct StreamWriter {
    Object object;
    StreamReader *reader;
    Transport *transport;
    bool paused, lost;
    Loop *loop;
    Line draining;
    Future *closed;            /* completed when the connection is lost */
    const Process *process;    /* whose pipe it is, or NULL; not held */
    ClientConnected connected; /* what a server calls with it, or NULL */
};

enum { DEFAULT_LIMIT = 65536 };

static void reader_destroy(void *object);
static Value reader_next(void *iterator, bool *end);
static void reader_write_repr(void *object, FILE *out);
static void writer_destroy(void *object);
static void writer_let_go(void *object);
static void writer_describe(void *object, FILE *out);
static const Class reader_class = {
    .name = "StreamReader", .size = sizeof(StreamReader), .destroy = reader_destroy,
    .write = reader_write_repr, .next = reader_next, .is_io = true};
static const Class writer_class = {
    .name = "StreamWriter", .size = sizeof(StreamWriter), .destroy = writer_destroy,
    .describe = writer_describe, .let_go = writer_let_go, .is_io = true};

StreamReader *asyncio_StreamReader_(long limit)
{
    if (limit <= 0) throw(ValueError, "Limit cannot be <= 0");
    StreamReader *reader = pooled(object_new(&reader_class, sizeof *reader));
    reader->loop = asyncio_get_event_loop();
    reader->limit = (size_t)limit;
    return reader;
}

static void reader_destroy(void *object)
{
    StreamReader *reader = object;
    free(reader->buffer);
    value_release(reader->exception);
}

static void write_field(const char *name, Value v, FILE *out)
{
    fprintf(out, " %s=", name);
    value_write(v, true, out);
}

static void reader_write_repr(void *object, FILE *out)
{
    StreamReader *reader = object;
    fputs("<StreamReader", out);
    if (reader->size) fprintf(out, " %zu bytes", reader->size);
    if (reader->eof) fputs(" eof", out);
    if (reader->limit != DEFAULT_LIMIT) fprintf(out, " limit=%zu", reader->limit);
    if (reader->waiter) write_field("waiter", V(reader->waiter), out);
    if (!is_none(reader->exception)) write_field("exception", reader->exception, out);
    if (reader->transport) write_field("transport", V(reader->transport), out);
    fputs(reader->paused ? " paused>" : ">", out);
}

/* The reader's far side: what the protocol puts in. */

static void reader_wake(StreamReader *reader)
{
    if (reader->waiter) future_finish_unless_done(reader->waiter, None);
}

void streamreader_feed_data(StreamReader *reader, const void *data, size_t size)
{
    if (reader->eof) throw(AssertionError, "feed_data after feed_eof");
    if (!size) return;
    if (reader->first + reader->size + size > reader->capacity) {
        if (reader->size) memmove(reader->buffer, reader->buffer + reader->first, reader->size);
        reader->first = 0;
        size_t capacity = reader->capacity ? reader->capacity : 1024;
        while (capacity < reader->size + size) capacity *= 2;
        if (capacity > reader->capacity) reader->buffer = allocate_or_raise(reader->buffer, capacity);
        reader->capacity = capacity;
    }
    memcpy(reader->buffer + reader->first + reader->size, data, size);
    reader->size += size;
    reader_wake(reader);
    if (reader->transport && !reader->paused && reader->size > 2 * reader->limit) {
        transport_pause_reading(reader->transport);
        reader->paused = true;
    }
}

void streamreader_feed_eof(StreamReader *reader)
{
    reader->eof = true;
    reader_wake(reader);
}

void streamreader_set_exception_(StreamReader *reader, Value e)
{
    value_replace(&reader->exception, e);
    if (reader->waiter && !future_done(reader->waiter)) future_fail(reader->waiter, e);
}

Value streamreader_exception(StreamReader *reader) { return value_received(reader->exception); }
bool streamreader_at_eof(StreamReader *reader) { return reader->eof && !reader->size; }
void streamreader_set_transport(StreamReader *reader, Transport *transport) { reader->transport = transport; }

/* The reader's near side: what programs take out. Each way of reading waits until it has what it wants, or the end. */

static void reader_resume(StreamReader *reader)
{
    if (!reader->paused) return;
    reader->paused = false;
    if (reader->transport) transport_resume_reading(reader->transport);
}

static void reader_maybe_resume(StreamReader *reader)
{
    if (reader->size <= reader->limit) reader_resume(reader);
}

static void reader_wait(StreamReader *reader, const char *purpose)
{
    if (reader->waiter)
        throw(RuntimeError, "%s called while another coroutine is already waiting for incoming data", purpose + strlen("reader."));
    reader_resume(reader); /* a read may want more than the limit */
    future_begin(&reader->data_comes, reader->loop, purpose, reader);
    reader->waiter = &reader->data_comes;
    Value interruption = future_wait(reader->waiter);
    reader->waiter = NULL;
    future_end(&reader->data_comes);
    if (!is_none(interruption)) throw(interruption);
}

static void reader_check(StreamReader *reader)
{
    if (!is_none(reader->exception)) throw(reader->exception);
}

static char *reader_data(StreamReader *reader) { return reader->buffer + reader->first; }

static void reader_drop(StreamReader *reader, size_t size)
{
    reader->size -= size;
    reader->first = reader->size ? reader->first + size : 0;
}

static Value reader_take(StreamReader *reader, size_t size)
{
    Value data = bytes(reader->size ? reader_data(reader) : "", size);
    reader_drop(reader, size);
    if (size && reader->writer) TRACE_BYTES(reader->writer, "read", as_bytes(data, NULL), size);
    reader_maybe_resume(reader);
    return data;
}

static _Noreturn void reader_incomplete(StreamReader *reader, Value expected)
{
    Value partial = bytes(reader->size ? reader_data(reader) : "", reader->size);
    reader_drop(reader, reader->size);
    Value e = exception_new(IncompleteReadError, "%d bytes read on a total of %s expected bytes", len(partial),
                            is_none(expected) ? "undefined" : as_str(repr(expected)));
    as_exc(e)->details = value_retain(tuple(partial, expected));
    throw(e);
}

static _Noreturn void reader_overrun(const char *message, size_t consumed)
{
    Value e = exception_new(LimitOverrunError, "%s", message);
    as_exc(e)->details = value_retain(tuple(consumed));
    throw(e);
}

Value exception_details(Value e)
{
    Value details = as_exc(e)->details;
    return is_none(details) ? tuple() : details;
}

/* The separators of readuntil(): bytes, or a tuple of them. The earliest end wins. */
typedef struct Separators {
    int count;
    size_t shortest, longest;
    const Value *items;
} Separators;

static Separators separators_of(const Value *v)
{
    Separators s = {.count = v->tag == VALUE_TUPLE ? len(*v) : 1,
                    .items = v->tag == VALUE_TUPLE ? as_sequence(*v)->items : v};
    if (!s.count) throw(ValueError, "Separator should contain at least one element");
    s.shortest = SIZE_MAX;
    for (int i = 0; i < s.count; i++) {
        size_t size;
        as_bytes(s.items[i], &size);
        if (size < s.shortest) s.shortest = size;
        if (size > s.longest) s.longest = size;
    }
    if (!s.shortest) throw(ValueError, "Separator should be at least one-byte string");
    return s;
}

/* Where the first of them that is found ends, or 0. */
static size_t reader_find(StreamReader *reader, const Separators *s, size_t offset, size_t *start)
{
    size_t end = 0;
    for (int i = 0; i < s->count && offset < reader->size; i++) {
        size_t size;
        const char *separator = as_bytes(s->items[i], &size);
        char *at = memmem(reader_data(reader) + offset, reader->size - offset, separator, size);
        if (!at) continue;
        size_t from = (size_t)(at - reader_data(reader));
        if (end && from + size >= end) continue;
        *start = from;
        end = from + size;
    }
    return end;
}

/* What has been searched once is not searched again: `offset` says where the next search begins. */
static Value reader_until(StreamReader *reader, Value separator, const char *purpose)
{
    Separators s = separators_of(&separator);
    size_t offset = 0, start = 0, end;
    reader_check(reader);
    while (!(end = reader_find(reader, &s, offset, &start))) {
        if (reader->size >= offset + s.shortest) {
            offset = reader->size + 1 > s.longest ? reader->size + 1 - s.longest : 0;
            if (offset > reader->limit) reader_overrun("Separator is not found, and chunk exceed the limit", offset);
        }
        if (reader->eof) reader_incomplete(reader, None);
        reader_wait(reader, purpose);
    }
    if (start > reader->limit) reader_overrun("Separator is found, but chunk is longer than limit", start);
    return reader_take(reader, end);
}

ASYNC(streamreader_readuntil, streamreader_readuntil_, (StreamReader *)reader, (Value)separator)
{
    if (separator.tag == VALUE_STR) separator = bytes(as_str(separator), ((Text *)separator.object)->length);
    return reader_until(reader, separator, "reader.readuntil()");
}

static Value reader_line(StreamReader *reader)
{
    try {
        return reader_until(reader, bytes("\n", 1), "reader.readuntil()");
    } except (IncompleteReadError, e) {
        return list_get(exception_details(e), 0);
    } except (LimitOverrunError, e) {
        size_t consumed = (size_t)as_int(list_get(exception_details(e), 0));
        bool ends_there = consumed < reader->size && reader_data(reader)[consumed] == '\n';
        reader_drop(reader, ends_there ? consumed + 1 : reader->size);
        reader_maybe_resume(reader);
        throw(ValueError, "%s", as_str(str(e)));
    } end_try
    return None;
}

ASYNC(streamreader_readline, streamreader_readline, (StreamReader *)reader) { return reader_line(reader); }

static Value reader_some(StreamReader *reader, size_t most)
{
    if (!reader->size && !reader->eof) reader_wait(reader, "reader.read()");
    return reader_take(reader, reader->size < most ? reader->size : most);
}

static Value reader_all(StreamReader *reader)
{
    char *data;
    size_t size;
    FILE *out = open_memory(&data, &size);
    try {
        forever
        {
            Value block = reader_some(reader, reader->limit);
            if (!len(block)) break;
            fwrite(as_bytes(block, NULL), 1, (size_t)len(block), out);
        }
    } except (BaseException) {
        fclose(out);
        free(data);
        rethrow;
    } end_try
    fclose(out);
    Value all = bytes(data, size);
    free(data);
    return all;
}

ASYNC(streamreader_read, streamreader_read_, (StreamReader *)reader, (long)n)
{
    reader_check(reader);
    if (n == 0) return bytes("", 0);
    return n < 0 ? reader_all(reader) : reader_some(reader, (size_t)n);
}

ASYNC(streamreader_readexactly, streamreader_readexactly, (StreamReader *)reader, (long)n)
{
    if (n < 0) throw(ValueError, "readexactly size can not be less than zero");
    reader_check(reader);
    while (reader->size < (size_t)n) {
        if (reader->eof) reader_incomplete(reader, V(n));
        reader_wait(reader, "reader.readexactly()");
    }
    return reader_take(reader, (size_t)n);
}

static Value reader_next(void *iterator, bool *end)
{
    Value line = reader_line(iterator);
    *end = len(line) == 0;
    return line;
}

/* The protocol between the transport and the two. Its `self` is the writer, which holds the reader. */

static void writer_destroy(void *object)
{
    StreamWriter *writer = object;
    if (writer->closed) writer->closed->unretrieved = false;
    if (writer->reader) writer->reader->writer = NULL;
    release(writer->closed);
    release(writer->reader);
    release(writer->transport);
}

static StreamWriter *writer_new(Loop *loop, StreamReader *reader, const Process *process)
{
    StreamWriter *writer = pooled(object_new(&writer_class, sizeof *writer));
    writer->loop = loop;
    writer->reader = retain(reader);
    if (reader) reader->writer = writer;
    writer->closed = future_inner(loop, "writer.wait_closed()", writer);
    writer->process = process;
    TRACE_MADE(writer);
    return writer;
}

/* The other end has sent all it will, and nobody but the transport and this call holds the writer: nobody can ever
 * close it. So it is closed here, as Python's collector does. */
static void stream_let_go(Value v)
{
    StreamWriter *writer = (StreamWriter *)v.object;
    if (writer->reader && writer->reader->eof && writer->object.references == 2) transport_close(writer->transport);
}

static void handler_ended(Future *task, Value arg)
{
    StreamWriter *writer = (StreamWriter *)arg.object;
    if (future_failed(task))
        REPORT(writer->loop, .message = "Unhandled exception in client_connected_cb", .exception = future_exception(task));
    if (future_failed(task) || future_cancelled(task)) transport_close(writer->transport);
    else loop_call_soon(writer->loop, stream_let_go, V(writer));
}

static void stream_made(Value self, Transport *transport)
{
    StreamWriter *writer = (StreamWriter *)self.object;
    writer->transport = retain(transport);
    if (writer->reader) writer->reader->transport = transport;
    TRACE_CHANGED(writer, "is connected");
    Coroutine *serving = writer->connected ? writer->connected(writer->reader, writer) : NULL;
    if (!serving) return;
    Task *task = loop_create_task(writer->loop, serving);
    future_on_done(&task->future, handler_ended, writer, "handler_ended");
}

static void stream_received(Value self, const char *data, size_t size)
{
    StreamReader *reader = ((StreamWriter *)self.object)->reader;
    if (reader) streamreader_feed_data(reader, data, size);
}

static bool stream_eof(Value self)
{
    StreamReader *reader = ((StreamWriter *)self.object)->reader;
    if (reader) {
        streamreader_feed_eof(reader);
        loop_call_soon(reader->loop, stream_let_go, self);
    }
    return ((StreamWriter *)self.object)->transport->kind != LAYERED; /* TLS ends in both directions at once */
}

static void stream_lost(Value self, Value e)
{
    StreamWriter *writer = (StreamWriter *)self.object;
    if (writer->reader) {
        if (is_none(e)) streamreader_feed_eof(writer->reader);
        else streamreader_set_exception_(writer->reader, e);
        writer->reader->transport = NULL;
    }
    writer->lost = true;
    TRACE_CHANGED(writer, "is closed");
    future_settle(writer->closed, e);
    for (Waiter *waiter; (waiter = line_first_asleep(&writer->draining));) future_settle(&waiter->future, e);
}

static void writer_let_go(void *object) { stream_lost(V((StreamWriter *)object), None); }

static void stream_pause(Value self) { ((StreamWriter *)self.object)->paused = true; }

static void stream_resume(Value self)
{
    StreamWriter *writer = (StreamWriter *)self.object;
    writer->paused = false;
    while (line_wake_first(&writer->draining)) {}
}

#define STREAM_CALLBACKS .connection_made = stream_made, .data_received = stream_received, .eof_received = stream_eof, \
                         .connection_lost = stream_lost, .pause_writing = stream_pause, .resume_writing = stream_resume
static const Protocol stream_protocol = {STREAM_CALLBACKS};

/* The writer. */

static Transport *writer_transport(StreamWriter *writer)
{
    if (!writer->transport) throw(RuntimeError, "this StreamWriter is not connected");
    return writer->transport;
}

static void check_written(Value data)
{
    if (data.tag != VALUE_BYTES && data.tag != VALUE_STR)
        throw(TypeError, "data argument must be bytes or str, not %s", value_type(data));
}

void streamwriter_write_(StreamWriter *writer, Value data)
{
    check_written(data);
    transport_write(writer_transport(writer), ((Text *)data.object)->data, ((Text *)data.object)->length);
}

void streamwriter_writelines(StreamWriter *writer, Value lines)
{
    Value all = list();
    for_in (line, lines) {
        check_written(line);
        list_append(all, bytes(((Text *)line.object)->data, ((Text *)line.object)->length));
    }
    transport_writelines(writer_transport(writer), all);
}

void streamwriter_write_eof(StreamWriter *writer) { transport_write_eof(writer_transport(writer)); }
bool streamwriter_can_write_eof(StreamWriter *writer) { return transport_can_write_eof(writer_transport(writer)); }
void streamwriter_close(StreamWriter *writer) { transport_close(writer_transport(writer)); }
bool streamwriter_is_closing(StreamWriter *writer) { return transport_is_closing(writer_transport(writer)); }
Transport *streamwriter_transport(StreamWriter *writer) { return writer_transport(writer); }

Value streamwriter_get_extra_info_(StreamWriter *writer, const char *name, Value otherwise)
{
    return transport_get_extra_info_(writer_transport(writer), name, otherwise);
}

ASYNC(streamwriter_drain, streamwriter_drain, (StreamWriter *)writer)
{
    bool woken;
    if (writer->reader) reader_check(writer->reader);
    if (transport_is_closing(writer_transport(writer))) await(asyncio_sleep(0));
    if (writer->lost) throw(ConnectionResetError, "Connection lost");
    if (!writer->paused) return None;
    Value interruption = line_wait(&writer->draining, "drainer", "writer.drain()", writer, &woken);
    if (!is_none(interruption)) throw(interruption);
    return None;
}

ASYNC(streamwriter_wait_closed, streamwriter_wait_closed, (StreamWriter *)writer) { return await(writer->closed); }

/* The same protocol goes on, on another transport. What the peer has sent and nobody has read belongs to TLS: read
 * later it would pass for something that came encrypted. */
ASYNC(streamwriter_start_tls, streamwriter_start_tls_, (StreamWriter *)writer, (SSLContext *)context,
      (StartTLSOptions)options)
{
    StreamReader *reader = writer->reader;
    await(streamwriter_drain(writer));
    options.server_side = writer->connected != NULL;
    const Protocol *protocol = transport_get_protocol(writer_transport(writer), NULL);
    TLS wanted = start_tls_wanted(writer->transport, context, options);
    Value ahead = reader ? reader_take(reader, reader->size) : bytes("", 0);
    Transport *transport = tls_start(writer->loop, writer->transport, protocol, V(writer), &wanted, ahead);
    release(writer->transport);
    writer->transport = retain(transport);
    if (reader) reader->transport = transport;
    return None;
}

StreamReader *as_streamreader(Value v) { return expect_object(v, &reader_class, "a StreamReader"); }
StreamWriter *as_streamwriter(Value v) { return expect_object(v, &writer_class, "a StreamWriter"); }

/* Clients and servers. */

ASYNC(asyncio_open_connection, asyncio_open_connection_, (const char *)host, (Value)port, (ConnectionOptions)options)
{
    Loop *loop = asyncio_get_running_loop();
    StreamReader *reader = asyncio_StreamReader_(options.limit);
    StreamWriter *writer = writer_new(loop, reader, NULL);
    await(loop_create_connection_(loop, &stream_protocol, V(writer), host, port, options));
    return tuple(reader, writer);
}

ASYNC(asyncio_open_unix_connection, asyncio_open_unix_connection_, (const char *)path, (ConnectionOptions)options)
{
    Loop *loop = asyncio_get_running_loop();
    StreamReader *reader = asyncio_StreamReader_(options.limit);
    StreamWriter *writer = writer_new(loop, reader, NULL);
    await(loop_create_unix_connection_(loop, &stream_protocol, V(writer), path, options));
    return tuple(reader, writer);
}

/* A server's protocol makes a reader and a writer for each connection. */
typedef struct StreamServer {
    Object object;
    Loop *loop;
    ClientConnected connected;
    long limit;
} StreamServer;

static const Class stream_server_class = {.name = "stream server", .size = sizeof(StreamServer)};

static Value stream_server_make(Value arg)
{
    StreamServer *streams = (StreamServer *)arg.object;
    StreamWriter *writer = writer_new(streams->loop, asyncio_StreamReader_(streams->limit), NULL);
    writer->connected = streams->connected;
    return V(writer);
}

static const Protocol stream_server_protocol = {.make = stream_server_make, STREAM_CALLBACKS};

static Value stream_server_new(ClientConnected connected, long limit)
{
    if (!connected) throw(TypeError, "start_server() needs a coroutine function, got NULL");
    if (limit <= 0) throw(ValueError, "Limit cannot be <= 0");
    StreamServer *streams = pooled(object_new(&stream_server_class, sizeof *streams));
    streams->loop = asyncio_get_running_loop();
    streams->connected = connected;
    streams->limit = limit;
    return V(&streams->object);
}

ASYNC(asyncio_start_server, asyncio_start_server_, (ClientConnected)connected, (const char *)host, (Value)port,
      (ServerOptions)options)
{
    return await(loop_create_server_(asyncio_get_running_loop(), &stream_server_protocol,
                                     stream_server_new(connected, options.limit), host, port, options));
}

ASYNC(asyncio_start_unix_server, asyncio_start_unix_server_, (ClientConnected)connected, (const char *)path,
      (ServerOptions)options)
{
    return await(loop_create_unix_server_(asyncio_get_running_loop(), &stream_server_protocol,
                                          stream_server_new(connected, options.limit), path, options));
}

Server *as_server(Value v) { return expect_object(v, &server_class, "a Server"); }

/* ---- [subprocess] Subprocesses -------------------------------------------------------------------------------------
 *
 * A child is started by posix_spawn, its standard streams given or made as pipes. Its end is a readable descriptor too,
 * a pidfd, so the loop waits for it as for any other, and reaps exactly this child, once. Where the kernel has no pidfd
 * (before 5.3, and under valgrind) a thread waits instead.
 *
 * Two classes begin with a Child. A SubprocessTransport tells a protocol what happens; of a Process, the near ends of
 * the pipes are streams.
 */

/* What makes the difference. */
typedef struct ChildKind {
    Transport *(*connect)(Child *child, int which, int fd, const SubprocessOptions *options); /* the near end of a pipe */
    void (*exited)(Child *child); /* may be NULL */
    void (*over)(Child *child);   /* it has ended, and its pipes are closed too */
} ChildKind;

struct Child {
    Object object;
    const ChildKind *kind;
    Loop *loop;
    pid_t pid;
    int pidfd;
    int open_pipes;
    Value returncode;    /* None while it runs; -N if signal N ended it */
    Transport *pipes[3]; /* those of stdin, stdout, stderr that are pipes */
    Line waiters;
    char *command;       /* for the trace */
    pthread_t thread;    /* that waits for its end, where there is no pidfd */
    ThreadFuture *thread_future;
    Child *next, **place; /* among the loop's children, while it runs */
};

static void child_describe(void *object, FILE *out);

static const char *const stream_names[] = {"stdin", "stdout", "stderr"};

static void child_destroy(Child *child)
{
    for (int i = 0; i < 3; i++) release(child->pipes[i]);
    free(child->command);
}

static void child_wake_waiters(Child *child)
{
    while (line_wake_first(&child->waiters)) {}
}

static void child_maybe_over(Child *child)
{
    if (!is_none(child->returncode) && !child->open_pipes) child->kind->over(child);
}

static void child_pipe_lost(Child *child)
{
    child->open_pipes--;
    child_maybe_over(child);
}

/* The loop holds a child until it has ended. */
static void child_enlist(Child *child)
{
    child->next = child->loop->children;
    if (child->next) child->next->place = &child->next;
    child->place = &child->loop->children;
    child->loop->children = retain(child);
}

static void child_delist(Child *child)
{
    *child->place = child->next;
    if (child->next) child->next->place = child->place;
}

static void child_unwatch(Child *child)
{
    if (child->pidfd >= 0) {
        unwatch(child->loop, child->pidfd, FOR_READING);
        close(child->pidfd);
        child->pidfd = -1;
    }
    if (!child->thread_future) return;
    pthread_join(child->thread, NULL);
    threadfuture_arrived(V(child->thread_future)); /* if the loop has not heard of it: it may be closing */
    release(child->thread_future);
    child->thread_future = NULL;
}

static Value returncode_of(int status) { return WIFSIGNALED(status) ? V(-WTERMSIG(status)) : V(WEXITSTATUS(status)); }

/* flags: WNOHANG if it may still be running. */
static void child_reap(Child *child, int flags)
{
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(child->pid, &status, flags)) < 0 && errno == EINTR) {}
    if (pid == 0) return;
    child_unwatch(child);
    if (pid < 0)
        fprintf(stderr, "Unknown child process pid %d, will report returncode 255\n", (int)child->pid);
    child->returncode = pid < 0 ? V(255) : returncode_of(status);
    int64_t code = as_int(child->returncode);
    TRACE_CHANGED_VALUE(child, code < 0 ? "has been ended by signal" : "has ended with exit status", V(llabs(code)));
    if (child->kind->exited) child->kind->exited(child);
    child_maybe_over(child);
    child_delist(child);
    release(child);
}

static void child_has_ended(Value v) { child_reap((Child *)v.object, WNOHANG); }

/* Its end is told a round later: by then the loop has looked at its pipes too, which closed before. */
static void pidfd_is_ready(Value v)
{
    Child *child = (Child *)v.object;
    child_unwatch(child);
    loop_call_soon(child->loop, child_has_ended, v);
}

/* A loop that closes leaves no child behind, as Python drops none of its transports without closing it. */
static void loop_end_children(Loop *loop)
{
    while (loop->children) {
        kill(loop->children->pid, SIGKILL);
        child_reap(loop->children, 0);
    }
}

/* The thread only waits: until the loop has reaped the child, no other process can get its number. */
static Value wait_in_thread(Value pid)
{
    siginfo_t info;
    while (waitid(P_PID, (id_t)as_int(pid), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {}
    return None;
}

static void *waiter_main(void *arg)
{
    threadfuture_work(arg);
    release(arg);
    count(&library_threads, -1);
    return NULL;
}

/* The thread has told the child's end, and is about to end itself. */
static void thread_has_waited(Future *future, Value arg)
{
    (void)future;
    Child *child = (Child *)arg.object;
    if (is_none(child->returncode)) child_reap(child, 0);
}

static void child_watch_in_thread(Child *child)
{
    ThreadFuture *tf = threadfuture_for(wait_in_thread, (ThreadOptions){.arg = V(child->pid), .name = "waitpid"}, NULL);
    Future *ended = threadfuture_bridge(tf, child->loop);
    future_on_done(ended, thread_has_waited, child, "thread_has_waited");
    int problem = start_thread(&child->thread, waiter_main, retain(tf));
    if (!problem) {
        child->thread_future = retain(tf);
        return;
    }
    release(tf);
    future_cancel(ended);
    kill(child->pid, SIGKILL);
    child_reap(child, 0);
    errno = problem;
    throw_errno(as_str(format("a thread to wait for process %d", (int)child->pid)));
}

static void child_watch(Child *child)
{
    child_enlist(child);
    child->pidfd = RUNNING_ON_VALGRIND ? -1 : (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (child->pidfd < 0) {
        child_watch_in_thread(child);
        return;
    }
    watch(child->loop, child->pidfd, FOR_READING, pidfd_is_ready,
          (CallOptions){.arg = V(&child->object), .name = "pidfd_is_ready"});
}

static Value child_over(Child *child)
{
    bool woken;
    if (!is_none(child->returncode)) return child->returncode;
    Value interruption = line_wait(&child->waiters, "waiter", "process.wait()", child, &woken);
    if (!is_none(interruption)) throw(interruption);
    return child->returncode;
}

/* The far ends of the three standard streams, as the child will have them, and the near ones. */
typedef struct Plumbing {
    int far[3], near[3]; /* -1: none */
    bool ours[3];        /* the far end is not the program's own descriptor, so it is closed here */
} Plumbing;

static void plumbing_close(Plumbing *plumbing, bool near_too)
{
    for (int i = 0; i < 3; i++) {
        if (plumbing->ours[i] && plumbing->far[i] >= 0) close(plumbing->far[i]);
        if (near_too && plumbing->near[i] >= 0) close(plumbing->near[i]);
        plumbing->far[i] = -1;
    }
}

static void plumb(Plumbing *plumbing, int which, int wish)
{
    int ends[2];
    plumbing->ours[which] = wish == PIPE || wish == DEVNULL;
    if (wish == PIPE) {
        if (pipe2(ends, O_CLOEXEC) < 0) throw_errno(NULL);
        plumbing->far[which] = ends[which ? 1 : 0];
        plumbing->near[which] = ends[which ? 0 : 1];
    } else if (wish == DEVNULL) {
        plumbing->far[which] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (plumbing->far[which] < 0) throw_errno("/dev/null");
    } else if (wish == STDOUT) {
        if (which != 2) throw(ValueError, "STDOUT can only be used for stderr");
        plumbing->far[which] = plumbing->far[1] >= 0 ? plumbing->far[1] : 1;
    } else if (wish != INHERIT) {
        if (fcntl(wish, F_GETFD) < 0) throw_errno(NULL);
        plumbing->far[which] = wish;
    }
}

/* A name without a slash is looked for along the PATH that the child will have. "": it is not there. */
static const char *program_file(const char *name, const char *const *env)
{
    const char *path = "/bin:/usr/bin"; /* where it has none */
    if (!env || strchr(name, '/')) return name;
    for (; *env; env++)
        if (!strncmp(*env, "PATH=", 5)) path = *env + 5;
    for (;; path++) {
        int length = (int)strcspn(path, ":");
        const char *file = as_str(format("%.*s/%s", length ? length : 1, length ? path : ".", name));
        if (access(file, X_OK) == 0) return file;
        path += length;
        if (!*path) return "";
    }
}

/* The far ends are moved out of the way first: one may be where another has to go. A signal that is ignored here is
 * ignored in the child too, as in Python, which restores only these two; SIGPIPE we ignore ourselves. */
static int spawn(Child *child, Plumbing *plumbing, const char *const *argv, const SubprocessOptions *options)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t restored, none;
    int moved[3];
    sigemptyset(&none);
    sigemptyset(&restored);
    sigaddset(&restored, SIGPIPE);
    sigaddset(&restored, SIGXFSZ);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &restored);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
                                              | (options->start_new_session ? POSIX_SPAWN_SETSID : 0));
    int problem = 0;
    for (int i = 0; i < 3; i++) {
        moved[i] = plumbing->far[i] < 0 ? -1 : fcntl(plumbing->far[i], F_DUPFD_CLOEXEC, 3);
        if (moved[i] >= 0) posix_spawn_file_actions_adddup2(&actions, moved[i], i);
        else if (plumbing->far[i] >= 0) problem = errno;
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (options->cwd) posix_spawn_file_actions_addchdir_np(&actions, options->cwd);
    if (!problem)
        problem = posix_spawnp(&child->pid, program_file(argv[0], options->env), &actions, &attributes, (char *const *)argv,
                               options->env ? (char *const *)options->env : environ);
    for (int i = 0; i < 3; i++)
        if (moved[i] >= 0) close(moved[i]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (problem) child->pid = 0;
    return problem;
}

static void write_command(void *what, FILE *out)
{
    const char *const *argv = what;
    for (int i = 0; argv[i]; i++) fprintf(out, i ? " %s" : "%s", argv[i]);
}

static void child_start(Child *child, Plumbing *plumbing, const char *const *argv, const SubprocessOptions *options)
{
    errno = spawn(child, plumbing, argv, options);
    if (errno && options->cwd && access(as_str(format("%s/.", options->cwd)), X_OK) < 0) throw_errno(options->cwd);
    if (errno) throw_errno(argv[0]);
    if (TRACING) child->command = written(write_command, (void *)argv);
    TRACE_CHANGED(child, "started");
    child_watch(child);
}

static void child_connect(Child *child, Plumbing *plumbing, const SubprocessOptions *options)
{
    for (int i = 0; i < 3; i++) {
        if (plumbing->near[i] < 0) continue;
        child->pipes[i] = retain(child->kind->connect(child, i, plumbing->near[i], options));
        child->open_pipes++;
        plumbing->near[i] = -1;
    }
}

/* Takes its pipes away, and ends it if it still runs. */
static void child_close(Child *child)
{
    for (int i = 0; i < 3; i++)
        if (child->pipes[i]) transport_close(child->pipes[i]);
    if (is_none(child->returncode)) kill(child->pid, SIGKILL);
}

/* Nobody will ever know of it: it is ended, and waited for. */
static void child_abandon(Child *child)
{
    child_close(child);
    child_over(child);
}

/* Starts it. Nothing is heard of it, or from its pipes, before the next round of the loop. */
static void child_begin(Child *child, Loop *loop, const ChildKind *kind, const char *const *argv,
                        const SubprocessOptions *options)
{
    Plumbing plumbing = {.far = {-1, -1, -1}, .near = {-1, -1, -1}};
    child->loop = loop;
    child->kind = kind;
    child->pidfd = -1;
    try {
        plumb(&plumbing, 0, options->stdin);
        plumb(&plumbing, 1, options->stdout);
        plumb(&plumbing, 2, options->stderr);
        child_start(child, &plumbing, argv, options);
        plumbing_close(&plumbing, false);
        child_connect(child, &plumbing, options);
    } except (BaseException) {
        plumbing_close(&plumbing, true);
        if (child->pid) child_abandon(child);
        rethrow;
    } end_try
}

/* Suspends until its pipes are connected, and the callbacks that were there before have run. */
static void child_wait_connected(Child *child)
{
    Future *connected = pooled(future_inner(child->loop, "the pipes", NULL));
    loop_call_soon(child->loop, fd_is_ready, V(connected));
    Value interruption = future_wait(connected);
    if (is_none(interruption)) return;
    child_abandon(child);
    throw(interruption);
}

static void child_send_signal(Child *child, int number)
{
    if (!is_none(child->returncode)) throw(ProcessLookupError, "the process has ended");
    /* somebody else has reaped it: as good as sent */
    if (kill(child->pid, number) < 0 && errno != ESRCH) throw_errno(NULL);
}

/* What is to be run: a program and its arguments, ended by NULL. */
typedef struct Command {
    const char *words[sizeof(((SubprocessOptions *)NULL)->argv) / sizeof(char *) + 1];
} Command;

static Command exec_command(const SubprocessOptions *options)
{
    Command command = {{NULL}};
    memcpy(command.words, options->argv, sizeof options->argv);
    if (!command.words[0]) throw(TypeError, "program arguments must be strings, not NULL");
    return command;
}

static Command shell_command(const SubprocessOptions *options)
{
    if (!options->argv[0] || options->argv[1]) throw(ValueError, "cmd must be one string");
    return (Command){{"/bin/sh", "-c", options->argv[0]}};
}

/* A SubprocessTransport. All that its protocol is told it is told by callbacks of the loop, one after the other. The
 * argument of each is a tuple: the transport, the protocol's `self`, which pipe, and what of it. */

struct SubprocessTransport {
    Child child;
    const SubprocessProtocol *protocol;
    Value self;
    bool closing, lost; /* lost: connection_lost() has been called */
};

static void subprocess_destroy(void *object);
static void subprocess_write(void *object, FILE *out);
static void subprocess_let_go(void *object);
static const Class subprocess_class = {
    .name = "SubprocessTransport", .size = sizeof(SubprocessTransport), .destroy = subprocess_destroy,
    .write = subprocess_write, .describe = child_describe, .let_go = subprocess_let_go, .is_io = true};

static void subprocess_let_go(void *object) { value_replace(&((SubprocessTransport *)object)->self, None); }

static void subprocess_destroy(void *object)
{
    subprocess_let_go(object);
    child_destroy(object);
}

static void subprocess_write(void *object, FILE *out)
{
    SubprocessTransport *transport = object;
    Child *child = &transport->child;
    fprintf(out, "<SubprocessTransport%s pid=%d ", transport->closing ? " closed" : "", (int)child->pid);
    if (is_none(child->returncode)) fputs("running", out);
    else fprintf(out, "returncode=%d", (int)as_int(child->returncode));
    for (int i = 0; i < 3; i++)
        if (child->pipes[i]) write_field(stream_names[i], V(child->pipes[i]), out);
    fputc('>', out);
}

static SubprocessTransport *told_by(Value news) { return (SubprocessTransport *)list_get(news, 0).object; }

static Value news_of(SubprocessTransport *transport, int fd, Value what)
{
    return tuple(transport, transport->self, fd, what);
}

static void subprocess_made(Value news)
{
    SubprocessTransport *transport = told_by(news);
    TRACE_CHANGED(transport, "connection_made() is called");
    if (transport->protocol->connection_made) transport->protocol->connection_made(list_get(news, 1), transport);
}

static void subprocess_data_received(Value news)
{
    size_t size;
    const char *data = as_bytes(list_get(news, 3), &size);
    const SubprocessProtocol *protocol = told_by(news)->protocol;
    if (protocol->pipe_data_received)
        protocol->pipe_data_received(list_get(news, 1), (int)as_int(list_get(news, 2)), data, size);
}

static void subprocess_pipe_lost(Value news)
{
    const SubprocessProtocol *protocol = told_by(news)->protocol;
    if (protocol->pipe_connection_lost)
        protocol->pipe_connection_lost(list_get(news, 1), (int)as_int(list_get(news, 2)), list_get(news, 3));
}

static void subprocess_process_exited(Value news)
{
    const SubprocessProtocol *protocol = told_by(news)->protocol;
    if (protocol->process_exited) protocol->process_exited(list_get(news, 1));
}

static void subprocess_connection_lost(Value news)
{
    SubprocessTransport *transport = told_by(news);
    TRACE_CHANGED(transport, "connection_lost() is called");
    try {
        if (transport->protocol->connection_lost) transport->protocol->connection_lost(list_get(news, 1), None);
    } finally {
        transport->lost = true;
        child_wake_waiters(&transport->child);
    } end_try
}

/* The protocols of the pipes. */

static void pipe_has_data(Value self, int fd, const char *data, size_t size)
{
    SubprocessTransport *transport = (SubprocessTransport *)self.object;
    loop_call_soon(transport->child.loop, subprocess_data_received, news_of(transport, fd, bytes(data, size)));
}

static void pipe_is_lost(Value self, int fd, Value e)
{
    SubprocessTransport *transport = (SubprocessTransport *)self.object;
    loop_call_soon(transport->child.loop, subprocess_pipe_lost, news_of(transport, fd, e));
    child_pipe_lost(&transport->child);
}

static void stdin_lost(Value self, Value e) { pipe_is_lost(self, 0, e); }
static void stdout_received(Value self, const char *data, size_t size) { pipe_has_data(self, 1, data, size); }
static void stdout_lost(Value self, Value e) { pipe_is_lost(self, 1, e); }
static void stderr_received(Value self, const char *data, size_t size) { pipe_has_data(self, 2, data, size); }
static void stderr_lost(Value self, Value e) { pipe_is_lost(self, 2, e); }

static void stdin_pause(Value self)
{
    SubprocessTransport *transport = (SubprocessTransport *)self.object;
    if (transport->protocol->pause_writing) transport->protocol->pause_writing(transport->self);
}

static void stdin_resume(Value self)
{
    SubprocessTransport *transport = (SubprocessTransport *)self.object;
    if (transport->protocol->resume_writing) transport->protocol->resume_writing(transport->self);
}

static const Protocol pipe_protocols[] = {
    {.connection_lost = stdin_lost, .pause_writing = stdin_pause, .resume_writing = stdin_resume},
    {.connection_lost = stdout_lost, .data_received = stdout_received},
    {.connection_lost = stderr_lost, .data_received = stderr_received},
};

static Transport *subprocess_connect(Child *child, int which, int fd, const SubprocessOptions *options)
{
    (void)options;
    return transport_new(child->loop, which ? READ_PIPE : WRITE_PIPE, fd, &pipe_protocols[which], V(&child->object),
                         NULL, NULL);
}

static void subprocess_exited(Child *child)
{
    loop_call_soon(child->loop, subprocess_process_exited, news_of((SubprocessTransport *)child, -1, None));
}

/* Its `self` may hold the transport: from here on only the last callback holds `self`. */
static void subprocess_over(Child *child)
{
    loop_call_soon(child->loop, subprocess_connection_lost, news_of((SubprocessTransport *)child, -1, None));
    subprocess_let_go(child);
}

static const ChildKind subprocess_kind = {subprocess_connect, subprocess_exited, subprocess_over};

static Value subprocess(Loop *loop, const SubprocessProtocol *protocol, Value arg, Command command,
                        const SubprocessOptions *options)
{
    if (!protocol) throw(TypeError, "the protocol must be a SubprocessProtocol, not NULL");
    if (options->limit) throw(TypeError, "limit is for streams: a SubprocessProtocol is given all that comes");
    Value self = protocol->make ? protocol->make(arg) : arg;
    SubprocessTransport *transport = pooled(object_new(&subprocess_class, sizeof *transport));
    transport->protocol = protocol;
    transport->self = value_retain(self);
    child_begin(&transport->child, loop, &subprocess_kind, command.words, options);
    loop_call_soon(loop, subprocess_made, news_of(transport, -1, None));
    child_wait_connected(&transport->child);
    return tuple(transport, self);
}

ASYNC(loop_subprocess_exec, loop_subprocess_exec_, (Loop *)loop, (const SubprocessProtocol *)protocol, (Value)arg,
      (SubprocessOptions)options)
{
    return subprocess(loop, protocol, arg, exec_command(&options), &options);
}

ASYNC(loop_subprocess_shell, loop_subprocess_shell_, (Loop *)loop, (const SubprocessProtocol *)protocol, (Value)arg,
      (SubprocessOptions)options)
{
    return subprocess(loop, protocol, arg, shell_command(&options), &options);
}

SubprocessTransport *as_subprocesstransport(Value v)
{
    return expect_object(v, &subprocess_class, "a SubprocessTransport");
}

int subprocesstransport_get_pid(SubprocessTransport *transport) { return (int)transport->child.pid; }
Value subprocesstransport_get_returncode(SubprocessTransport *transport) { return transport->child.returncode; }
Value subprocesstransport_get_extra_info_(SubprocessTransport *transport, const char *name, Value otherwise)
{
    return strcmp(name, "subprocess") ? otherwise : V((int)transport->child.pid);
}
bool subprocesstransport_is_closing(SubprocessTransport *transport) { return transport->closing; }

Transport *subprocesstransport_get_pipe_transport(SubprocessTransport *transport, int fd)
{
    return fd >= 0 && fd < 3 ? transport->child.pipes[fd] : NULL;
}

/* Between its end and connection_lost() there is nobody to send a signal to, and that is no error. */
void subprocesstransport_send_signal(SubprocessTransport *transport, int number)
{
    if (is_none(transport->child.returncode) || transport->lost) child_send_signal(&transport->child, number);
}

void subprocesstransport_terminate(SubprocessTransport *transport) { subprocesstransport_send_signal(transport, SIGTERM); }
void subprocesstransport_kill(SubprocessTransport *transport) { subprocesstransport_send_signal(transport, SIGKILL); }

void subprocesstransport_close(SubprocessTransport *transport)
{
    if (transport->closing) return;
    transport->closing = true;
    TRACE_CHANGED(transport, "is to be closed");
    child_close(&transport->child);
}

/* A Process. */

struct Process {
    Child child;
    StreamWriter *streams[3]; /* those of stdin, stdout, stderr that are pipes */
};

static void process_destroy(void *object);
static void process_write(void *object, FILE *out);
static const Class process_class = {
    .name = "Process", .size = sizeof(Process), .destroy = process_destroy, .write = process_write,
    .describe = child_describe, .is_io = true};

static void process_destroy(void *object)
{
    Process *process = object;
    for (int i = 0; i < 3; i++) {
        if (process->streams[i]) process->streams[i]->process = NULL;
        release(process->streams[i]);
    }
    child_destroy(object);
}

static void process_write(void *object, FILE *out) { fprintf(out, "<Process %d>", (int)((Child *)object)->pid); }

static void pipe_closed(Future *closed, Value arg)
{
    closed->unretrieved = false;
    child_pipe_lost((Child *)arg.object);
}

static Transport *process_connect(Child *child, int which, int fd, const SubprocessOptions *options)
{
    Process *process = (Process *)child;
    StreamReader *reader = which ? asyncio_StreamReader_(options->limit) : NULL;
    StreamWriter *writer = writer_new(child->loop, reader, process);
    process->streams[which] = retain(writer);
    future_on_done(writer->closed, pipe_closed, process, "pipe_closed");
    return transport_new(child->loop, which ? READ_PIPE : WRITE_PIPE, fd, &stream_protocol, V(writer), NULL, NULL);
}

static const ChildKind process_kind = {.connect = process_connect, .over = child_wake_waiters};

static Value process_new(Command command, const SubprocessOptions *options)
{
    Process *process = pooled(object_new(&process_class, sizeof *process));
    child_begin(&process->child, asyncio_get_running_loop(), &process_kind, command.words, options);
    if (process->child.open_pipes) child_wait_connected(&process->child);
    return V(process);
}

ASYNC(asyncio_create_subprocess_exec, asyncio_create_subprocess_exec_, (SubprocessOptions)options)
{
    return process_new(exec_command(&options), &options);
}

ASYNC(asyncio_create_subprocess_shell, asyncio_create_subprocess_shell_, (SubprocessOptions)options)
{
    return process_new(shell_command(&options), &options);
}

Process *as_process(Value v) { return expect_object(v, &process_class, "a Process"); }

int process_pid(Process *process) { return (int)process->child.pid; }
Value process_returncode(Process *process) { return process->child.returncode; }
StreamWriter *process_stdin(Process *process) { return process->streams[0]; }
StreamReader *process_stdout(Process *process) { return process->streams[1] ? process->streams[1]->reader : NULL; }
StreamReader *process_stderr(Process *process) { return process->streams[2] ? process->streams[2]->reader : NULL; }

void process_send_signal(Process *process, int number) { child_send_signal(&process->child, number); }

void process_terminate(Process *process) { process_send_signal(process, SIGTERM); }
void process_kill(Process *process) { process_send_signal(process, SIGKILL); }

ASYNC(process_wait, process_wait, (Process *)process) { return child_over(&process->child); }

/* communicate(): the three pipes at once, or a child that fills one while another is waited for would wait for ever. */

async_def(feed_stdin, (StreamWriter *)writer, (Value)input)
{
    if (!writer) return None;
    try {
        if (!is_none(input)) {
            streamwriter_write_(writer, input);
            await(streamwriter_drain(writer));
        }
    } except_any (e, BrokenPipeError, ConnectionResetError) {
        /* the child has not read it all */
    } end_try
    streamwriter_close(writer);
    return None;
}

async_def(drain_stream, (StreamWriter *)writer)
{
    if (!writer) return None;
    Value output = await(streamreader_read(writer->reader));
    transport_close(writer->transport);
    return output;
}

ASYNC(process_communicate, process_communicate_, (Process *)process, (Value)input)
{
    StreamWriter *const *pipes = process->streams;
    Value outputs = await(asyncio_gather(feed_stdin(pipes[0], input), drain_stream(pipes[1]), drain_stream(pipes[2])));
    child_over(&process->child);
    return tuple(list_get(outputs, 1), list_get(outputs, 2));
}

/* ---- [run] run() and shutdown ---------------------------------------------------------------------------------------
 *
 * A Runner makes a loop, runs coroutines on it, and shuts it down: the other tasks are cancelled and awaited, what
 * they raise is reported, generators are closed, then the loop. asyncio_run() is one Runner with one run.
 *
 * Ctrl-C: the signal handler only counts, and wakes the loop. The first cancels the main task, so that every
 * finally runs; the second ends the loop at once. If the loop does not come round between two of them, the second
 * ends the process.
 */

typedef enum { RUNNER_CREATED, RUNNER_INITIALIZED, RUNNER_CLOSED } RunnerState;

enum { EXECUTOR_PATIENCE = 300 }; /* seconds for its threads to end at shutdown */

struct Runner {
    Object object;
    RunOptions options;
    RunnerState state;
    Loop *loop;
    Context *context;
    Task *main;
    int interrupts;
};

static void runner_destroy(void *object);
static const Class runner_class = {.name = "Runner", .size = sizeof(Runner), .destroy = runner_destroy};

/* The handler of Ctrl-C. */
static void on_interrupt(int number)
{
    Loop *loop = interruptible;
    if (!loop || loop->interrupted) {
        if (loop && here.loop == loop) blocked_tell();
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    int saved = errno;
    loop->interrupted = 1;
    loop_wake(loop);
    errno = saved;
}

/* For who stops a program to see why it hangs. */
static void tell_waiting(Loop *loop)
{
    fflush(stdout);
    fprintf(stderr, "asyncio: Ctrl-C, while\n%s\n", as_str(asyncio_describe_waiting(loop)));
}

/* What the loop does about it when it comes round. */
static void loop_interrupt(Loop *loop)
{
    Runner *runner = loop->runner;
    loop->interrupted = 0;
    trace_signal("signal.came", SIGINT, "Ctrl-C");
    if (loop->debug) tell_waiting(loop);
    if (runner && ++runner->interrupts == 1 && runner->main && !task_done(runner->main)) task_cancel(runner->main);
    else loop_leave(loop, V(KeyboardInterrupt));
}

Runner *asyncio_Runner_(RunOptions options)
{
    Runner *runner = pooled(object_new(&runner_class, sizeof *runner));
    runner->options = options;
    return runner;
}

static void runner_init(Runner *runner)
{
    if (runner->state == RUNNER_CLOSED) throw(RuntimeError, "Runner is closed");
    if (runner->state == RUNNER_INITIALIZED) return;
    RunOptions *options = &runner->options;
    Loop *loop = options->loop_factory ? options->loop_factory() : asyncio_new_event_loop();
    if (!loop) throw(TypeError, "loop_factory must return a loop, not NULL");
    runner->loop = retain(loop);
    if (!options->loop_factory) asyncio_set_event_loop(runner->loop);
    if (options->debug >= 0) loop_set_debug(runner->loop, options->debug);
    if (options->virtual_clock) loop_set_virtual_clock(runner->loop, true);
    runner->context = retain(asyncio_copy_context());
    runner->state = RUNNER_INITIALIZED;
}

Loop *runner_get_loop(Runner *runner)
{
    runner_init(runner);
    return runner->loop;
}

/* Takes Ctrl-C, unless the program has a handler of its own. */
static bool interrupts_begin(Runner *runner)
{
    struct sigaction old, action = {.sa_handler = on_interrupt};
    if (interruptible || !is_main_thread() || sigaction(SIGINT, NULL, &old) < 0 || old.sa_handler != SIG_DFL)
        return false;
    interruptible = runner->loop;
    runner->interrupts = 0;
    sigaction(SIGINT, &action, NULL);
    return true;
}

static void interrupts_end(void)
{
    signal(SIGINT, SIG_DFL);
    interruptible = NULL;
}

async_def(run_awaitable, (Object *)awaitable) { return await(awaitable); }

static _Noreturn void runner_refuse(Object *main, const char *why)
{
    char *at = __builtin_frame_address(0), *low = here.ground->low;
    if (low && (at < low || at > low + here.ground->size) && here.stack->frame) left_by_longjmp(here.stack->frame);
    if (main && main->class == &coroutine_class) coroutine_close((Coroutine *)main);
    throw(RuntimeError, "%s", why);
}

Value runner_run_(Runner *runner, Object *main, RunnerRunOptions options)
{
    if (!main || (main->class != &coroutine_class && !is_future(main)))
        throw(ValueError, "a coroutine was expected, got %s", main ? as_str(repr(V(main))) : "NULL");
    if (here.loop) runner_refuse(main, "Runner.run() cannot be called from a running event loop");
    if (runner->state == RUNNER_CLOSED) runner_refuse(main, "Runner is closed");
    runner_init(runner);
    Loop *loop = runner->loop;
    Coroutine *coro = main->class == &coroutine_class ? (Coroutine *)main : run_awaitable(main);
    Context *context = options.context ? options.context : runner->context;
    Task *task = asyncio_create_task_(coro, (TaskOptions){.loop = loop, .context = context}, NULL);
    value_replace(&loop->legacy, None);
    coro->heir = loop;
    bool interruptible_now = interrupts_begin(runner);
    loop->runner = runner;
    runner->main = task;
    Value result = None;
    try {
        result = loop_run_until_complete(loop, task);
    } except (CancelledError) {
        if (runner->interrupts > 0 && task_uncancel(task) == 0) throw(KeyboardInterrupt);
        rethrow;
    } finally {
        runner->main = NULL;
        loop->runner = NULL;
        if (interruptible_now) interrupts_end();
    } end_try
    return result;
}

static void loop_cancel_all_tasks(Loop *loop)
{
    Value tasks = asyncio_all_tasks(loop);
    if (!len(tasks)) return;
    for_in (task, tasks) task_cancel(as_task(task));
    loop_run_until_complete(loop, asyncio_gather_list(tasks, .return_exceptions = true));
    for_in (v, tasks) {
        Task *task = as_task(v);
        if (task_cancelled(task)) continue;
        Value e = task_exception(task);
        if (is_none(e)) continue;
        REPORT(loop, .message = "unhandled exception during asyncio.run() shutdown", .exception = e, .task = task);
    }
}

void runner_close(Runner *runner)
{
    if (runner->state != RUNNER_INITIALIZED) return;
    runner->state = RUNNER_CLOSED;
    try {
        loop_cancel_all_tasks(runner->loop);
        loop_run_until_complete(runner->loop, loop_shutdown_asyncgens(runner->loop));
        double patience = runner->loop->virtual ? NO_TIMEOUT : EXECUTOR_PATIENCE; /* virtual time would be over at once */
        loop_run_until_complete(runner->loop, loop_shutdown_default_executor(runner->loop, patience));
    } finally {
        if (!runner->options.loop_factory) asyncio_set_event_loop(NULL);
        loop_close(runner->loop);
        release(runner->context);
        release(runner->loop);
        runner->context = NULL;
        runner->loop = NULL;
    } end_try
}

static void runner_destroy(void *object) { runner_close(object); }

/* Leaves nothing behind in main()'s pool but the result. */
Value asyncio_run_(Object *main, bool only_here, RunOptions options)
{
    if (here.loop) runner_refuse(main, "asyncio.run() cannot be called from a running event loop");
    Value result = None;
    bool handed_over = main && only_here && unpool_newest(main);
    int mark = scope_begin_();
    try {
        Runner *runner = asyncio_Runner_(options);
        try {
            result = value_retain(runner_run(runner, main));
        } finally {
            runner_close(runner);
        } end_try
    } finally {
        scope_drop_(mark);
        if (handed_over) release(main);
    } end_try
    return value_pooled(result);
}

/* ---- [introspection] Who waits for whom ----------------------------------------------------------------------------
 *
 * Frames know their callers, tasks what they wait for, futures who waits for them: that is all one needs to draw
 * the graph.
 */

/* The next frame outwards; past the bottom of a generator's stack it is its consumer's. */
static Coroutine *frame_outer(Stack **stack, Coroutine *frame)
{
    if (frame->caller) return frame->caller;
    AsyncGenerator *gen = (*stack)->generator;
    if (!gen || gen->state != GENERATOR_RUNNING) return NULL;
    *stack = gen->consumer;
    return (*stack)->frame;
}

static bool frame_shows(const Coroutine *frame) { return !is_own_file(frame->code->file); }

/* Where it is: at its last await, or if there was none yet, somewhere in its function. */
static Site frame_site(const Coroutine *frame)
{
    return frame->site ? *frame->site : (Site){frame->code->file, frame->code->line, frame->code->name};
}

/* The frames of a task that runs or is suspended: (function, file, line), innermost first. */
static Value task_frames(Task *task)
{
    Value frames = list();
    bool running = here.loop && here.loop->current == task;
    Stack *stack = running ? here.stack : task->stack;
    if (!stack) return frames;
    for (Coroutine *frame = stack->frame; frame; frame = frame_outer(&stack, frame)) {
        Site site = frame_site(frame);
        if (frame_shows(frame)) list_append(frames, tuple(frame->code->name, site.file, site.line));
    }
    return frames;
}

static Value task_traceback(Task *task, int limit)
{
    Value entries = list();
    if (!future_failed(&task->future)) return entries;
    Traceback *line = as_exc(task->future.result)->traceback;
    for (; line && (limit < 0 || limit-- > 0); line = line->inner)
        list_append(entries, tuple(line->site.function, line->site.file, line->site.line));
    return entries;
}

Value task_get_stack_(Task *task, StackOptions options)
{
    if (task->future.state != PENDING) return task_traceback(task, options.limit);
    Value frames = task_frames(task);
    if (options.limit == 0) return list();
    if (len(frames)) return list(list_get(frames, -1));
    Coroutine *coro = task->coro;
    if (!coro || coro->state != CREATED) return list();
    return list(tuple(coro->code->name, coro->code->file, coro->code->line));
}

void task_print_stack_(Task *task, StackOptions options)
{
    FILE *out = options.file ? options.file : stdout;
    Value frames = task_get_stack_(task, options);
    bool failed = future_failed(&task->future);
    const char *text = as_str(repr(task));
    if (!len(frames)) fprintf(out, "No stack for %s\n", text);
    else fprintf(out, "%s for %s (most recent call last):\n", failed ? "Traceback" : "Stack", text);
    for_in (f, frames)
        write_frame(&(Site){as_str(list_get(f, 1)), (int)as_int(list_get(f, 2)), as_str(list_get(f, 0))}, "", out);
    if (failed) write_exception_line(as_exc(task->future.result), "", out);
}

/* The path from where the capture began to `future`: who is on it already waits in a ring. */
typedef struct Captured {
    Future *future;
    const struct Captured *before;
} Captured;

static Value capture(const Captured *path, int limit);

static void capture_waiter(Value awaited_by, Future *waiter, const Captured *path, int limit)
{
    for (const Captured *at = path; at; at = at->before)
        if (at->future == waiter) return;
    list_append(awaited_by, capture(&(Captured){waiter, path}, limit));
}

/* (future, frames, awaited_by): each of awaited_by is such a tuple again. */
static Value capture(const Captured *path, int limit)
{
    Future *future = path->future;
    Value frames = list(), awaited_by = list();
    if (future->object.class == &task_class && limit != 0) {
        frames = task_frames((Task *)future);
        while (limit > 0 && len(frames) > limit) list_pop(frames, -1);
    }
    for (int i = 0; i < future->callback_count; i++) {
        Task *task = future_waiting_task(future, i);
        if (task) capture_waiter(awaited_by, &task->future, path, limit);
    }
    if (future->awaited_by) capture_waiter(awaited_by, future->awaited_by, path, limit);
    for (int i = 0; i < future->also_count; i++) capture_waiter(awaited_by, future->also_awaited_by[i], path, limit);
    return tuple(future, frames, awaited_by);
}

Value asyncio_capture_call_graph_(GraphOptions options)
{
    Future *future = options.future;
    if (!future) future = (Future *)asyncio_get_running_loop()->current;
    if (!future) return None;
    if (!is_future(&future->object)) throw(TypeError, "asyncio_capture_call_graph() needs a Task or a Future");
    return capture(&(Captured){future, NULL}, options.limit);
}

static void write_graph(Value graph, int level, FILE *out)
{
    Object *object = list_get(graph, 0).object;
    Value frames = list_get(graph, 1), awaited_by = list_get(graph, 2);
    int indent = level * 4;
    if (object->class == &task_class)
        fprintf(out, "%*s* Task(name=%s, id=%p)\n", indent, "", as_str(repr(task_get_name((Task *)object))), (void *)object);
    else fprintf(out, "%*s* Future(id=%p)\n", indent, "", (void *)object);
    if (len(frames)) fprintf(out, "%*s  + Call stack:\n", indent, "");
    for_in (f, frames)
        fprintf(out, "%*s  |   File '%s', line %d, in async %s()\n", indent, "", as_str(list_get(f, 1)),
                (int)as_int(list_get(f, 2)), as_str(list_get(f, 0)));
    if (len(awaited_by)) fprintf(out, "%*s  + Awaited by:\n", indent, "");
    for_in (each, awaited_by) write_graph(each, level + 1, out);
}

static void write_whole_graph(void *graph, FILE *out) { write_graph(*(Value *)graph, 0, out); }

/* What a function writes, as a str without the end of its last line. */
static Value written_lines(Writer write, void *what)
{
    char *text = written(write, what);
    size_t size = strlen(text);
    Value v = str_of(text, size ? size - 1 : 0);
    free(text);
    return v;
}

Value asyncio_format_call_graph_(GraphOptions options)
{
    Value graph = asyncio_capture_call_graph_(options);
    return is_none(graph) ? V("") : written_lines(write_whole_graph, &graph);
}

void asyncio_print_call_graph_(GraphOptions options)
{
    FILE *out = options.file ? options.file : stdout;
    Value text = asyncio_format_call_graph_(options);
    if (len(text)) fprintf(out, "%s\n", as_str(text));
}

/* What a future is, in words: "sleep(1.5)", "queue.get()", "task 'x'". NULL: what is waited for is the loop. */
static void write_purpose(void *what, FILE *out)
{
    Future *future = what;
    if (!future) fputs("its next turn", out);
    else if (future->object.class == &task_class) fprintf(out, "task '%s'", task_get_name((Task *)future));
    else if (future->object.class == &gather_class) fprintf(out, "gather of %d", ((Gather *)future)->count);
    else if (future->object.class == &shield_class) fputs("shield", out);
    else if (!future->purpose) fputs("a Future", out);
    else if (future->owner && future->owner->class == &handle_class)
        fprintf(out, "%s(%g)", future->purpose, ((Handle *)future->owner)->delay);
    else fputs(future->purpose, out);
}

/* The program's line where a task is, or NULL. */
static const Site *task_site(Task *task)
{
    bool running = here.loop && here.loop->current == task && here.stack != &here.loop->own;
    Stack *stack = running ? here.stack : task->stack;
    if (!stack) return NULL;
    for (Coroutine *frame = stack->frame; frame; frame = frame_outer(&stack, frame))
        if (frame_shows(frame) && frame->site) return frame->site;
    return NULL;
}

/* "queue.get() of <Queue ...>". Of a barrier's condition, which says less, the barrier is told. */
static void write_waited_for(Future *future, FILE *out)
{
    Object *owner = future->owner;
    Barrier *barrier = owner && owner->class == &condition_class ? ((Condition *)owner)->barrier : NULL;
    if (barrier) {
        fputs("barrier.wait()", out);
        owner = &barrier->object;
    } else write_purpose(future, out);
    if (!owner || owner->class == &handle_class || !future->purpose) return;
    fputs(" of ", out);
    value_write(V(owner), true, out);
    if (owner->class == &lock_class && ((Lock *)owner)->holder)
        fprintf(out, ", which task '%s' holds", task_get_name(((Lock *)owner)->holder));
}

static void write_task_waiting(Task *task, FILE *out)
{
    const Site *site = task_site(task);
    Future *future = task->waiting_on;
    fprintf(out, "  task '%s'", task_get_name(task));
    if (site) fprintf(out, " at %s:%d", site->file, site->line);
    if (!future) {
        fputs(task->future.loop->current == task ? " is running\n" : " has not been given a turn\n", out);
        return;
    }
    fputs(" waits for ", out);
    write_waited_for(future, out);
    fputc('\n', out);
}

static void write_waiting(void *loop, FILE *out)
{
    for (Task *task = ((Loop *)loop)->tasks; task; task = task->next) write_task_waiting(task, out);
}

Value asyncio_describe_waiting(Loop *loop) { return written_lines(write_waiting, loop); }

/* Nothing is ready, no timer runs, nothing outside can wake the loop: where Python would hang, this one says why. */
static void loop_deadlock(Loop *loop)
{
    Value waiting = asyncio_describe_waiting(loop);
    TRACE("loop.deadlock", 'i', "waiting:s", as_str(waiting));
    const char *what = "nothing can wake this loop any more: "
                       "nothing is ready, no timer is set, no descriptor, thread or child is waited for";
    const char *who = len(waiting) ? "\n" : "; there is no task either";
    loop_leave(loop, exception_new(DeadlockError, "%s%s%s", what, who, as_str(waiting)));
    pool_drop(&loop->own, 0);
}

/* ---- [trace] The trace ---------------------------------------------------------------------------------------------
 *
 * Every chapter above tells what it does, through the macros TRACE, TRACE_MADE and TRACE_CHANGED; docs/TRACE.md
 * says what is told and how it is written. Off, each costs one test of a flag. Under control the program asks leave
 * before each event, and while it waits the clock stands still.
 *
 * First how an event is written, and how leave is asked. Then the events: of the loop, of tasks, of primitives, of the
 * world outside. A program that is traced must behave like one that is not, so nothing here may suspend or raise.
 */

static FILE *trace_file;
static int trace_control = -1;                    /* the tracer's socket, or -1 */
static long trace_events, trace_ids, trace_leave; /* leave: how many events may pass; -1: all */
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static bool trace_ended;

static uint32_t object_id(Object *object)
{
    if (!object) return 0;
    if (!object->id) object->id = (uint32_t)++trace_ids;
    return object->id;
}

static int trace_task(void)
{
    Loop *loop = here.loop;
    return loop && loop->current && here.stack != &loop->own ? (int)object_id((Object *)loop->current) : 0;
}

/* Since the trace began, by the loop's clock; another loop's clock may be behind, the trace's is not. */
static double trace_now(void)
{
    static double latest;
    double now = (here.loop ? loop_time(here.loop) : monotonic()) - trace_began;
    return latest = now > latest ? now : latest;
}

static void json_string(const char *text, size_t length, FILE *out)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + length;
    fputc('"', out);
    while (p < end) {
        const unsigned char *start = p;
        uint32_t c = utf8_next(&p, end);
        if (c == '"' || c == '\\') fprintf(out, "\\%c", (int)c);
        else if (c == '\n') fputs("\\n", out);
        else if (c < 0x20 || c == 0x7F || (c >= 0xD800 && c < 0xE000)) fprintf(out, "\\u%04x", c);
        else fwrite(start, 1, (size_t)(p - start), out);
    }
    fputc('"', out);
}

static void json_text(const char *text, FILE *out)
{
    if (text) json_string(text, strlen(text), out);
    else fputs("null", out);
}

static void json_number(double d, FILE *out)
{
    if (isfinite(d)) fprintf(out, "%.9g", d);
    else fputs("null", out);
}

enum { TRACED_REPR = 200 };

static void write_repr(void *v, FILE *out) { value_write(*(Value *)v, true, out); }

/* repr(v), or as much of it as fits on a screen. */
static void json_value(Value v, FILE *out)
{
    char *text = written(write_repr, &v);
    size_t size = strlen(text), cut = size;
    if (size > TRACED_REPR)
        for (cut = TRACED_REPR; cut && (text[cut] & 0xC0) == 0x80; cut--) {}
    if (cut < size) {
        text = reallocate(text, cut + 4);
        memcpy(text + cut, "…", 4);
        cut += 3;
    }
    json_string(text, cut, out);
    free(text);
}

static const char *absolute_path(const char *file)
{
    static const char *last;
    static char resolved[PATH_MAX];
    if (!file || *file == '/') return file;
    if (file != last) {
        if (!realpath(file, resolved)) snprintf(resolved, sizeof resolved, "%s", file);
        last = file;
    }
    return resolved;
}

static void json_site(const Site *site, FILE *out)
{
    const char *function = site ? site->function : "";
    size_t length = strlen(function);
    if (length > 6 && !strcmp(function + length - 6, "_body_")) length -= 6;
    fputs("\"file\":", out);
    json_text(site ? absolute_path(site->file) : "", out);
    fprintf(out, ",\"line\":%d,\"func\":", site ? site->line : 0);
    json_string(function, length, out);
}

static void json_value_or_null(Value v, FILE *out)
{
    if (is_none(v)) fputs("null", out);
    else json_value(v, out);
}

/* The next argument. i int, o object's id, d double, t time of the loop, s string, b bytes and their number, v value, V
 * value or null for None, S a Site (three keys), w a function that writes JSON and what about, j JSON as it stands. */
static void json_field(char type, va_list *args, FILE *out)
{
    const char *text;
    Writer write;
    switch (type) {
    case 'i': fprintf(out, "%d", va_arg(*args, int)); break;
    case 'o': fprintf(out, "%u", object_id(va_arg(*args, Object *))); break;
    case 'd': json_number(va_arg(*args, double), out); break;
    case 't': json_number(va_arg(*args, double) - trace_began, out); break;
    case 's': json_text(va_arg(*args, const char *), out); break;
    case 'b': text = va_arg(*args, const char *), json_string(text, va_arg(*args, size_t), out); break;
    case 'v': json_value(va_arg(*args, Value), out); break;
    case 'V': json_value_or_null(va_arg(*args, Value), out); break;
    case 'S': json_site(va_arg(*args, const Site *), out); break;
    case 'w': write = va_arg(*args, Writer), write(va_arg(*args, void *), out); break;
    default: fputs(va_arg(*args, const char *), out);
    }
}

/* The arguments of an event: "key:type key:type ...". */
static void json_fields(const char *fields, va_list *args, FILE *out)
{
    while (*fields) {
        const char *colon = strchr(fields, ':');
        char type = colon[1];
        fputc(',', out);
        if (type != 'S') fprintf(out, "\"%.*s\":", (int)(colon - fields), fields);
        json_field(type, args, out);
        fields = colon + 2;
        if (*fields == ' ') fields++;
    }
}

/* An event is written out at once, so that a program that hangs or crashes has told its last moment. */
static void trace_end_line(bool is_event)
{
    fputs(trace_control >= 0 ? "\n" : ",\n", trace_file);
    if (is_event) fflush(trace_file);
    if (!ferror(trace_file)) return;
    trace_on = false;
    if (trace_control < 0)
        fprintf(stderr, "asyncio: the trace ends here, after %ld events: writing it failed: %s\n", trace_events,
                strerror(errno));
}

static void trace_begin_line(const char *name, const char *category, char phase, int task)
{
    fprintf(trace_file, "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"%c\",\"ts\":%.3f,\"pid\":%d,\"tid\":%d,", name,
            category, phase, trace_now() * 1e6, (int)getpid(), task);
}

static void trace_ask_leave(void);

static void trace_event(const char *name, char phase, const char *fields, ...)
{
    va_list args;
    pthread_mutex_lock(&trace_lock);
    trace_begin_line(name, "asyncio", phase, trace_task());
    fprintf(trace_file, "\"args\":{\"n\":%ld", ++trace_events);
    va_start(args, fields);
    json_fields(fields, &args, trace_file);
    va_end(args);
    fputs("}}", trace_file);
    trace_end_line(true);
    trace_ask_leave();
    pthread_mutex_unlock(&trace_lock);
}

/* Lines for Perfetto alone: the names of its threads, arrows from a wake-up to the step it causes, counters. */
static void trace_view(const char *name, char phase, int task, const char *rest, ...)
{
    if (trace_control >= 0) return;
    va_list args;
    pthread_mutex_lock(&trace_lock);
    trace_begin_line(name, "view", phase, task);
    va_start(args, rest);
    vfprintf(trace_file, rest, args);
    va_end(args);
    fputc('}', trace_file);
    trace_end_line(false);
    pthread_mutex_unlock(&trace_lock);
}

static void write_task_name(void *task, FILE *out) { json_text(task_get_name(task), out); }

static void trace_thread_name(Task *task)
{
    if (!trace_on) return;
    char *name = written(write_task_name, task);
    trace_view("thread_name", 'M', (int)object_id((Object *)task), "\"args\":{\"name\":%s}", name);
    free(name);
}

/* Control: the tracer at the other end of a socket says how many events may pass. */

static int trace_control_fd(void) { return trace_on ? trace_control : -1; }

static void trace_abandon(void)
{
    trace_on = false;
    trace_control = -1;
}

/* Reads one command; false when the tracer has gone. */
static bool trace_read_command(void)
{
    char line[64];
    size_t n = 0;
    for (;;) {
        ssize_t got = read(trace_control, line + n, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            trace_abandon();
            return false;
        }
        if (line[n] == '\n' || n == sizeof line - 2) break;
        n++;
    }
    line[n] = 0;
    if (!strncmp(line, "step ", 5)) trace_leave = (trace_leave > 0 ? trace_leave : 0) + atol(line + 5);
    else if (!strcmp(line, "run")) trace_leave = -1;
    else if (!strcmp(line, "pause")) trace_leave = 0;
    return true;
}

static bool trace_command_waits(void)
{
    struct pollfd poll_for = {.fd = trace_control, .events = POLLIN};
    return poll(&poll_for, 1, 0) > 0;
}

static void trace_wait_for_leave(void)
{
    double began = monotonic();
    while (trace_control >= 0 && trace_leave == 0 && trace_read_command()) {}
    trace_stood_still += monotonic() - began;
}

static void trace_ask_leave(void)
{
    if (trace_control < 0) return;
    while (trace_control >= 0 && trace_command_waits() && trace_read_command()) {}
    if (trace_leave == 0) trace_wait_for_leave();
    if (trace_leave > 0) trace_leave--;
}

/* Inside select() the tracer has something to say. True: the sleep goes on. */
static bool trace_heed_control(void)
{
    pthread_mutex_lock(&trace_lock);
    if (trace_control >= 0 && trace_command_waits()) trace_read_command(); /* another thread may have read it */
    if (trace_control >= 0 && trace_leave == 0) {
        fputs("{\"cat\":\"control\",\"name\":\"paused\"}\n", trace_file);
        fflush(trace_file);
        trace_wait_for_leave();
        if (trace_leave > 0) trace_leave--; /* the event after the sleep has been asked for here */
    }
    pthread_mutex_unlock(&trace_lock);
    return true;
}

/* Events of the loop. */

static void write_fds(Loop *loop, unsigned long **sets, bool names, FILE *out)
{
    bool first = true;
    fputc('[', out);
    for (int fd = 0; fd <= loop->highest; fd++) {
        Watch *at = &loop->watches[fd];
        bool reading = at->reader && bit_get(sets[FOR_READING], fd);
        bool writing = at->writer && bit_get(sets[FOR_WRITING], fd);
        if (!reading && !writing) continue;
        const char *direction = !writing ? "read" : !reading ? "write" : "both";
        fprintf(out, "%s{\"fd\":%d,\"for\":\"%s\"", first ? "" : ",", fd, direction);
        if (names) {
            fputs(",\"what\":", out);
            json_text(reading ? at->reader->name : at->writer->name, out);
        }
        fputc('}', out);
        first = false;
    }
    fputc(']', out);
}

static void write_fds_asked(void *loop, FILE *out) { write_fds(loop, ((Loop *)loop)->interest, true, out); }
static void write_fds_ready(void *loop, FILE *out) { write_fds(loop, ((Loop *)loop)->happened, false, out); }
static void write_no_fds(void *loop, FILE *out) { (void)loop, fputs("[]", out); }

static void trace_select(Loop *loop, double patience)
{
    if (TRACING) trace_event("select.enter", 'i', "timeout:d fds:w", patience, write_fds_asked, loop);
}

static void trace_selected(Loop *loop, bool any, bool woken)
{
    Writer ready = any ? write_fds_ready : write_no_fds;
    if (TRACING) trace_event("select.leave", 'i', "ready:w woken:j", ready, loop, woken ? "true" : "false");
}

/* Events of tasks. */

static const char *waiting_kind(Future *future)
{
    if (!future) return "ready";
    if (future->purpose && !strcmp(future->purpose, "sleep")) return "sleep";
    if (future->owner && future->owner->class->is_io) return "io";
    return "wait";
}

/* What a future stands for in the trace: the primitive that made it, else itself. */
static Object *traced_object(Future *future)
{
    if (!future || !future->asyncio_owned || !future->owner) return (Object *)future;
    bool reads = future->owner->class == &reader_class && ((StreamReader *)future->owner)->writer;
    return reads ? &((StreamReader *)future->owner)->writer->object : future->owner;
}

/* The program's frames, outermost first. */
static void write_frames(void *innermost, FILE *out)
{
    Coroutine *shown[64];
    int count = 0;
    Stack *stack = innermost;
    for (Coroutine *frame = stack->frame; frame && count < 64; frame = frame_outer(&stack, frame))
        if (frame_shows(frame) && frame->site) shown[count++] = frame;
    fputc('[', out);
    while (count--) {
        fprintf(out, "{\"func\":\"%s\",\"file\":", shown[count]->code->name);
        json_text(absolute_path(shown[count]->site->file), out);
        fprintf(out, ",\"line\":%d}%s", shown[count]->site->line, count ? "," : "");
    }
    fputc(']', out);
}

static void trace_task_waits(Task *task)
{
    char *what = written(write_purpose, task->waiting_on);
    trace_event("task.wait", 'E', "task:o where:S on:o what:s kind:s stack:w", task, task_site(task),
                traced_object(task->waiting_on), what, waiting_kind(task->waiting_on), write_frames, here.stack);
    free(what);
}

static void trace_task_made(Task *task, const Site *site, bool eager)
{
    const Code *code = task->coro->code;
    Site defined = {code->file, code->line, code->name};
    if (!site || is_own_file(site->file)) site = &defined;
    trace_event("task.create", 'i', "task:o label:s coro:s parent:i eager:j where:S", task, task_get_name(task), code->name,
                trace_task(), eager ? "true" : "false", site);
    trace_thread_name(task);
    if (!eager) trace_task_ready(task, NULL);
}

static void trace_wake(Task *task, Future *cause)
{
    static long wakes;
    task->wakes = ++wakes;
    trace_event("task.wake", 'i', "task:o by:i via:o", task, trace_task(), traced_object(cause));
    trace_view("wake", 's', trace_task(), "\"id\":%ld", task->wakes);
}

/* It joins the ready queue: for a step of its own accord, or woken by a future. */
static void trace_task_ready(Task *task, Future *cause)
{
    if (cause) trace_wake(task, cause);
    trace_event("handle.ready", 'i', "handle:o what:s task:o by:o", task, cause ? "wakeup" : "step", task,
                traced_object(cause));
}

static void trace_handle_ready(Handle *handle, void *cause)
{
    trace_event("handle.ready", 'i', "handle:o what:s task:i by:o of:i", handle, handle->name, 0, cause,
                trace_subject(handle));
}

/* Who waited for it has joined the ready queue. */
static void trace_future_over(Future *future, int waiting)
{
    for (int i = 0; i < waiting; i++) {
        Object *entry = *future_waiting(future, i);
        if (entry->class == &task_class) trace_task_ready((Task *)entry, future);
        else trace_handle_ready((Handle *)entry, future);
    }
    if (future->asyncio_owned) return;
    const char *end = future->state == CANCELLED ? "cancelled" : future->failed ? "failed" : "its result is there";
    TRACE_CHANGED(future, end);
}

/* What awaiting it will raise. future_cancelled_error() would take the exception away from who awaits. */
static Value trace_raised_by(const Future *future)
{
    bool fresh = future->state == CANCELLED && is_none(future->result);
    if (fresh) return cancelled_error(future->message);
    return future->state == CANCELLED || future->failed ? future->result : None;
}

static void trace_task_runs(Task *task, Future *future)
{
    Coroutine *coro = task->coro;
    Site start = {coro->code->file, coro->code->line, coro->code->name};
    const Site *site = coro->state == CREATED ? &start : task_site(task);
    Value e = task->must_cancel ? cancelled_error(task->future.message) : future ? trace_raised_by(future) : None;
    const char *why = !is_none(e) ? "throw" : coro->state == CREATED ? "start" : "wake";
    Value value = is_none(e) && future && future->state == FINISHED ? future->result : None;
    if (future) trace_view("wake", 'f', trace_task(), "\"bp\":\"e\",\"id\":%ld", task->wakes);
    trace_event("task.run", 'B', "task:o where:S why:s exception:V value:V", task, site, why, e, value);
}

static void trace_line(const Site *site, Object *awaitable)
{
    char what[128] = "";
    if (awaitable && awaitable->class == &coroutine_class)
        snprintf(what, sizeof what, "%s()", ((Coroutine *)awaitable)->code->name);
    else if (awaitable && is_future(awaitable)) {
        char *text = written(write_purpose, awaitable);
        snprintf(what, sizeof what, "%s", text);
        free(text);
    } else if (awaitable)
        snprintf(what, sizeof what, "async %s %s", awaitable->class->enter ? "with" : "for", awaitable->class->name);
    Task *task = here.loop ? here.loop->current : NULL;
    trace_event("line.step", 'i', "task:o where:S what:s", task, site, what);
}

/* What the program itself raises and handles; the library's own exceptions are not what its reader is after. */
static void trace_exception(const char *name, Value e, const Site *site)
{
    if (is_own_file(site->file)) return;
    trace_event(name, 'i', "task:o where:S exception:v context:V cause:V", here.loop ? here.loop->current : NULL, site, e,
                as_exc(e)->context, as_exc(e)->cause);
}

static void trace_output(const char *text, size_t size)
{
    bool shown = trace_control >= 0;                      /* by the tracer, unless it is gone */
    trace_event("output", 'i', "fd:i text:b", 1, text, size);
    if (!shown || ferror(trace_file)) fwrite(text, 1, size, stdout);
}

/* Events of primitives: each class writes its own fields. Of a long list only the beginning is told, and how much is left
 * out: else a queue that fills up would be written down n * n / 2 times. */

enum { TRACED_ENTRIES = 200 };
static __thread bool trace_making; /* what never changes is told once, when the object is made */

static const char *traced_type(const Class *class)
{
    if (class == &shield_class) return "shield";
    if (class == &writer_class) return "Stream";
    if (class == &threadfuture_class) return "Thread";
    return class->name[0] == '_' ? "gather" : class->name;
}

static void write_fields(void *what, FILE *out)
{
    Object *object = what;
    const char *type = traced_type(object->class);
    fprintf(out, "\"%s\",\"label\":\"%s #%u\"", type, type, object_id(object));
    object->class->describe(object, out);
}

/* Why it changes: some words, and perhaps a value. */
static void trace_changed(Object *object, const char *why, Value v)
{
    if (!object->class->describe) return;
    trace_making = !object->id;
    const char *event = trace_making ? "object.make" : "object.change";
    char *fields = written(write_fields, object);
    int mark = scope_begin_();
    if (v.tag != VALUE_UNSET_) why = as_str(format("%s %s", why, as_str(repr(v))));
    trace_event(event, 'i', "id:o type:j why:s", object, fields, why);
    scope_drop_(mark);
    free(fields);
}

static void trace_drop(Object *object)
{
    bool inner = object->class == &future_class && ((Future *)object)->asyncio_owned;
    if (object->class->describe && !inner) trace_event("object.drop", 'i', "id:o", object);
}

static void describe_line(Line *line, bool *first, FILE *out)
{
    int told = 0;
    for (Waiter *waiter = line->first; waiter && told < TRACED_ENTRIES; waiter = waiter->next, told++) {
        fprintf(out, "%s{\"task\":%u,\"as\":\"%s\"}", *first ? "" : ",", object_id((Object *)waiter->task),
                waiter->role);
        *first = false;
    }
}

static void describe_waiters(Line *line, FILE *out)
{
    bool first = true;
    fputs(",\"waiters\":[", out);
    describe_line(line, &first, out);
    fputc(']', out);
}

static void future_describe(void *object, FILE *out)
{
    Future *future = object;
    bool first = true;
    const char *finished = future->failed ? "failed" : "done";
    const char *state = future->state == PENDING ? "pending" : future->state == CANCELLED ? "cancelled" : finished;
    fprintf(out, ",\"state\":\"%s\",\"waiters\":[", state);
    for (int i = 0; i < future->callback_count; i++) {
        Task *task = future_waiting_task(future, i);
        if (!task) continue;
        fprintf(out, "%s{\"task\":%u,\"as\":\"waiter\"}", first ? "" : ",", object_id((Object *)task));
        first = false;
    }
    fputc(']', out);
}

static void describe_children(Value children, FILE *out)
{
    bool first = true;
    fputs(",\"children\":[", out);
    for_own (child, children) {
        fprintf(out, "%s%u", first ? "" : ",", object_id(traced_object(as_future(child))));
        first = false;
    }
    fputc(']', out);
}

static void gather_describe(void *object, FILE *out)
{
    future_describe(object, out);
    if (trace_making) describe_children(((Gather *)object)->children, out);
}

static void wait_describe(void *object, FILE *out)
{
    Wait *wait = object;
    future_describe(wait->waiter, out);
    if (trace_making) describe_children(wait->futures, out);
}

static void shield_describe(void *object, FILE *out)
{
    future_describe(object, out);
    fprintf(out, ",\"children\":[%u]", object_id((Object *)((Shield *)object)->inner));
}

static void timeout_describe(void *object, FILE *out)
{
    Timeout *timeout = object;
    fprintf(out, ",\"state\":\"%s\",\"deadline\":",
            timeout->state == TIMEOUT_ENTERED ? "armed" : timeout_states[timeout->state]);
    json_number(timeout->when - trace_began, out);
}

static void lock_describe(void *object, FILE *out)
{
    Lock *lock = object;
    fprintf(out, ",\"state\":\"%s\",\"holder\":%u", lock->locked ? "locked" : "unlocked",
            object_id((Object *)lock->holder));
    describe_waiters(&lock->line, out);
}

static void event_describe(void *object, FILE *out)
{
    Event *event = object;
    fprintf(out, ",\"state\":\"%s\"", event->set ? "set" : "clear");
    describe_waiters(&event->line, out);
}

static void condition_describe(void *object, FILE *out)
{
    Condition *condition = object;
    fprintf(out, ",\"state\":\"with Lock #%u\"", object_id((Object *)condition->lock)); /* which tells itself who holds it */
    describe_waiters(&condition->line, out);
}

static void semaphore_describe(void *object, FILE *out)
{
    Semaphore *semaphore = object;
    fprintf(out, ",\"state\":\"value %ld\"", semaphore->value);
    describe_waiters(&semaphore->line, out);
}

static void barrier_describe(void *object, FILE *out)
{
    Barrier *barrier = object;
    fprintf(out, ",\"state\":\"%s %d/%d\"", barrier_states[barrier->state], barrier->count, barrier->parties);
    describe_waiters(&barrier->condition->line, out);
}

static void queue_describe(void *object, FILE *out)
{
    Queue *queue = object;
    bool first = true;
    fprintf(out, ",\"state\":\"%s%d item%s\",\"maxsize\":%d,\"unfinished\":%d,\"items\":[",
            queue->shut ? "shut down, " : "", queue->count, queue->count == 1 ? "" : "s",
            queue->maxsize > 0 ? queue->maxsize : 0, queue->unfinished);
    int told = queue->count < TRACED_ENTRIES ? queue->count : TRACED_ENTRIES;
    for (int i = 0; i < told; i++) {
        if (i) fputc(',', out);
        json_value(*queue_slot(queue, queue->order == LIFO ? queue->count - 1 - i : i), out);
    }
    fprintf(out, "],\"items_left_out\":%d,\"waiters\":[", queue->count - told);
    describe_line(&queue->getters, &first, out);
    describe_line(&queue->putters, &first, out);
    describe_line(&queue->joiners, &first, out);
    fputc(']', out);
    char name[32];
    snprintf(name, sizeof name, "%s #%u", queue->object.class->name, object_id(object));
    trace_view(name, 'C', 0, "\"args\":{\"items\":%d}", queue->count);
}

static void taskgroup_describe(void *object, FILE *out)
{
    TaskGroup *group = object;
    const char *leaving = group->count ? "waiting" : "finished";
    fprintf(out, ",\"state\":\"%s\"", group->aborting ? "aborting" : group->exiting ? leaving : "open");
    Value tasks = list();
    for (Task *task = group->first; task; task = task->after) list_append(tasks, task);
    describe_children(tasks, out);
}

/* Events of the world outside. Who waits for one of these is told by the tasks. A transport under a stream is shown as
 * the stream. */

enum { TRACED_BYTES = 60 };

static Object *transport_shown(Transport *transport)
{
    if (transport->protocol->data_received != stream_received) return &transport->object;
    if (is_none(transport->self)) return NULL;
    StreamWriter *writer = (StreamWriter *)transport->self.object;
    return writer->transport && !writer->lost ? &writer->object : NULL;
}

static void trace_transport(Transport *transport, const char *why)
{
    Object *shown = transport_shown(transport);
    if (shown) trace_changed(shown, why, unset);
}

static void trace_bytes(void *object, const char *why, const char *data, size_t size)
{
    Object *shown = ((Object *)object)->class == &transport_class ? transport_shown(object) : object;
    if (!shown) return;
    int mark = scope_begin_();
    if (size <= TRACED_BYTES) trace_changed(shown, why, bytes(data, size));
    else trace_changed(shown, as_str(format("%s %zu bytes, the first are", why, size)), bytes(data, TRACED_BYTES));
    scope_drop_(mark);
}

/* Whom a callback of the loop's own is about. */
static int trace_subject(const Handle *handle)
{
    Value arg = handle->arg.tag == VALUE_TUPLE && len(handle->arg) ? list_get(handle->arg, 0) : handle->arg;
    if (arg.tag != VALUE_OBJECT || !arg.object) return 0;
    Object *subject = arg.object->class == &transport_class ? transport_shown((Transport *)arg.object) : arg.object;
    return subject && subject->class->describe && subject->class->is_io ? (int)subject->id : 0;
}

static void describe_state(const Transport *transport, const char *state, bool at_end, bool pauses, FILE *out)
{
    fprintf(out, ",\"state\":\"%s%s%s%s%s\"", state, at_end ? ", no more will come" : "",
            transport && transport->eof ? ", no more will be sent" : "", pauses ? ", reading paused" : "",
            transport && transport->protocol_paused ? ", writing paused" : "");
}

static void describe_sending(const Transport *transport, FILE *out)
{
    if (transport->fd >= 0) fprintf(out, ",\"fd\":%d", transport->fd);
    fprintf(out, ",\"unsent\":%zu,\"low\":%zu,\"high\":%zu", transport->size, transport->low, transport->high);
}

static void describe_peer(Transport *transport, FILE *out)
{
    int mark = scope_begin_();
    Value peer = transport->peername, text = peer.tag == VALUE_STR ? peer : V("");
    if (transport->server) text = format("accepted by Server #%u", object_id(&transport->server->object));
    else if (peer.tag == VALUE_TUPLE)
        text = format("to %s port %s", as_str(str(list_get(peer, 0))), as_str(str(list_get(peer, 1))));
    fputs(",\"note\":", out);
    json_text(as_str(text), out);
    scope_drop_(mark);
}

/* Which of a child's pipes it is, if it is one. */
static void describe_pipe(const Child *child, const Transport *transport, FILE *out)
{
    for (int i = 0; i < 3; i++)
        if (child->pipes[i] == transport)
            fprintf(out, ",\"note\":\"%s of %s #%u\"", stream_names[i], child->object.class->name, child->object.id);
}

static void transport_describe(void *object, FILE *out)
{
    Transport *transport = object;
    const char *begun = transport->connected ? "open" : "new";
    const char *state = transport->fd < 0 ? "closed" : transport->closing ? "closing" : begun;
    describe_state(transport, state, false, transport->paused, out);
    describe_sending(transport, out);
    Value self = transport->self;
    if (self.tag == VALUE_OBJECT && self.object->class == &subprocess_class) describe_pipe((Child *)self.object, transport, out);
    else describe_peer(transport, out);
}

static void describe_unread(const StreamReader *reader, FILE *out)
{
    int mark = scope_begin_();
    size_t told = reader->size < TRACED_BYTES ? reader->size : TRACED_BYTES;
    fputs(",\"items\":[", out);
    if (told) json_value(bytes(reader->buffer + reader->first, told), out);
    fprintf(out, "],\"unread\":%zu", reader->size);
    scope_drop_(mark);
}

static void writer_describe(void *object, FILE *out)
{
    StreamWriter *writer = object;
    Transport *transport = writer->transport;
    const char *state = writer->lost ? "closed" : !transport ? "connecting" : transport->closing ? "closing" : "open";
    bool reads = writer->reader && !writer->lost;
    describe_state(transport, state, reads && writer->reader->eof, reads && writer->reader->paused, out);
    if (writer->reader) describe_unread(writer->reader, out);
    if (transport) describe_sending(transport, out);
    if (transport && !writer->process) describe_peer(transport, out);
    if (transport && writer->process) describe_pipe(&writer->process->child, transport, out);
}

static void server_describe(void *object, FILE *out)
{
    Server *server = object;
    int clients = 0;
    for (Transport *each = server->clients; each; each = each->next) clients++;
    const char *state = server->closed ? "closed" : server->serving ? "listening" : "not listening yet";
    fprintf(out, ",\"state\":\"%s, %d connection%s\"", state, clients, clients == 1 ? "" : "s");
    if (server->count) fprintf(out, ",\"fd\":%d", server->sockets[0]);
}

static void child_describe(void *object, FILE *out)
{
    Child *child = object;
    Value code = child->returncode;
    int number = is_none(code) ? (int)child->pid : abs((int)as_int(code));
    const char *state = is_none(code) ? "running, pid" : as_int(code) < 0 ? "ended, by signal" : "ended, exit status";
    fprintf(out, ",\"state\":\"%s %d\",\"note\":", state, number);
    json_text(child->command ? child->command : "", out);
}

static void threadfuture_describe(void *object, FILE *out)
{
    static const char *const states[] = {"not begun yet", "running", "cancelled", "finished"};
    ThreadFuture *tf = object;
    fprintf(out, ",\"state\":\"%s\",\"note\":\"%s()\"", states[threadfuture_state(tf)], tf->name);
}

/* Beginning and end. */

static void write_command_line(void *unused, FILE *out)
{
    (void)unused;
    char text[4096];
    FILE *file = fopen("/proc/self/cmdline", "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = 0;
    fputc('[', out);
    for (size_t at = 0; at < size; at += strlen(text + at) + 1) {
        if (at) fputc(',', out);
        json_text(text + at, out);
    }
    fputc(']', out);
}

/* The trace is the parent's story: a forked child tells nothing, and what was not written yet stays the parent's to
 * write. */
static void trace_before_fork(void)
{
    if (trace_on) fflush(trace_file);
}

static void trace_forked(void)
{
    if (!trace_on) return;
    close(fileno(trace_file));
    if (trace_control >= 0) close(trace_control);
    trace_abandon();
}

static void trace_finish(int status)
{
    if (!trace_on || trace_ended) return;
    trace_ended = true;
    trace_event("trace.end", 'i', "status:i", status);
    if (trace_control < 0) fputs("{}]\n", trace_file);
    trace_on = false;
    if (fclose(trace_file) != 0) fprintf(stderr, "asyncio: the trace is not complete: %s\n", strerror(errno));
}

static void trace_at_exit(int status, void *unused)
{
    (void)unused;
    trace_finish(status);
}

/* A pipe may lose its reader: then the trace ends, and the program does not. */
static void trace_open_file(const char *path)
{
    struct stat about;
    trace_file = fopen(path, "we");
    if (!trace_file) return;
    if (fstat(fileno(trace_file), &about) == 0 && S_ISFIFO(about.st_mode)) signal(SIGPIPE, SIG_IGN);
    fputs("[\n", trace_file);
}

static void trace_open(void)
{
    const char *path = getenv("ASYNCIO_TRACE"), *fd = getenv("ASYNCIO_TRACE_FD");
    if (fd) {
        trace_control = atoi(fd);
        fcntl(trace_control, F_SETFD, FD_CLOEXEC);
        trace_file = fdopen(fcntl(trace_control, F_DUPFD_CLOEXEC, 0), "w");
        signal(SIGPIPE, SIG_IGN);
        unsetenv("ASYNCIO_TRACE_FD");
    } else if (path && *path) {
        trace_open_file(path);
        unsetenv("ASYNCIO_TRACE"); /* a child must not write into the same file */
    }
    if (!trace_file && (fd || (path && *path)))
        fprintf(stderr, "asyncio: no trace: cannot write %s: %s\n", fd ? "to the tracer" : path, strerror(errno));
}

static void trace_start(void)
{
    trace_open();
    if (!trace_file) return;
    trace_on = true;
    trace_began = monotonic();
    on_exit(trace_at_exit, NULL);
    char cwd[PATH_MAX], program[PATH_MAX] = "";
    const char *clock = getenv("ASYNCIO_CLOCK");
    bool is_virtual = clock && !strcmp(clock, "virtual");
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) *program = 0;
    if (!getcwd(cwd, sizeof cwd)) *cwd = 0;
    trace_event("trace.begin", 'i', "version:i program:s argv:w cwd:s clock:s started:i pid:i", 1, program,
                write_command_line, NULL, cwd, is_virtual ? "virtual" : "real", (int)time(NULL), (int)getpid());
}

/* ---- Where threads, and the process, begin and end ----------------------------------------------------------------- */

static pthread_key_t thread_key; /* its destructor runs where a thread ends */

static void thread_begin(void)
{
    pthread_setspecific(thread_key, &here);
    here.stack = here.ground = &here.base;
    here.variables = &here.base_variables;
    pool_init(&here.base);
    here.base.entered = true;
    if (UNDER_ASAN) { /* it must be told where to switch back to */
        pthread_attr_t attributes;
        void *low;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &low, &here.base.size);
        pthread_attr_destroy(&attributes);
        here.base.low = low;
    }
}

static void thread_end(void *unused)
{
    (void)unused;
    if (here.loop) {
        tell("asyncio: the thread ended while its loop was running: who calls pthread_exit() in a coroutine should return from it.\n");
        abort();
    }
    value_replace(&here.kept, None);
    asyncio_set_event_loop(NULL);
    pool_free(&here.base);
    release(here.base_variables);
    here.base_variables = NULL;
    blocks_free();
    stacks_leave();
    fault_stack_end();
}

/* A forked child has no running loop, as in Python: its parent's goes on in the parent, and signals are not for it. */
static void forked(void)
{
    if (interruptible) signal(SIGINT, SIG_DFL);
    for (int number = 1; signal_loop && number < SIGNALS; number++)
        if (signal_loop->signal_handlers[number]) signal(number, SIG_DFL);
    interruptible = signal_loop = NULL;
    here.loop = here.set_loop = NULL;
    library_threads = 0;
    trace_forked();
}

__attribute__((constructor)) static void process_begin(void)
{
    if (UNDER_ASAN || UNDER_TSAN || RUNNING_ON_VALGRIND) block_sizes = 0;
    pthread_key_create(&thread_key, thread_end);
    thread_begin();
    pthread_atfork(trace_before_fork, NULL, forked);
    stack_size_begin();
    trace_start();
    atexit(output_end);
}

__attribute__((destructor)) static void process_end(void)
{
    if (!here.loop && here.stack == &here.base) thread_end(NULL); /* not in a child that was forked inside a coroutine */
}
