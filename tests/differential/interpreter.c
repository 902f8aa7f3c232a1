/* Runs scenarios on asyncio.c and writes down what happened: the twin of interpreter.py, function by function.
 *
 *     interpreter < FILE          the log of each scenario in FILE, after a line "# NAME"
 *     interpreter -d < FILE       only each one's digest
 *     interpreter -d FIRST LAST   the digests of the scenarios made from these seeds
 *     interpreter -s FIRST LAST   those scenarios themselves
 *     interpreter -c EXPECTED CORPUS   compares the digests with those in EXPECTED, and says how many agree
 *
 * README.md says what a scenario is. Time is virtual. An object left over at the end of a scenario is an error too.
 */
#include "asyncio.h"
#include "scenario.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HORIZON = 1000 };                    /* no scenario is still busy then */
static const double UNIT = 0.25;            /* what a delay of 1 means, in seconds: a power of two, so that sums are exact */

/* ---- Scenarios as text ------------------------------------------------------------------------------------------ */

/* An atom has a word; a list has items. */
typedef struct Node { const char *word; struct Node *items, *next; } Node;

/* What a scenario allocates is freed with it. */
typedef struct Chunk { struct Chunk *next; max_align_t memory[]; } Chunk;
static Chunk *chunks;

static void *allocate(size_t size)
{
    Chunk *chunk = calloc(1, sizeof *chunk + size);
    if (!chunk) abort();
    chunk->next = chunks;
    chunks = chunk;
    return chunk->memory;
}

static void free_all(void)
{
    for (Chunk *next; chunks; chunks = next) {
        next = chunks->next;
        free(chunks);
    }
}

static char *vtext_of(const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = allocate((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text_of(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = vtext_of(format, arguments);
    va_end(arguments);
    return text;
}

static Node *parse(const char **text)
{
    while (isspace((unsigned char)**text)) ++*text;
    if (!**text || **text == ')') return NULL;
    Node *node = allocate(sizeof *node);
    if (**text == '(') {
        ++*text;
        for (Node **end = &node->items; (*end = parse(text)); end = &(*end)->next) { }
        if (**text == ')') ++*text;
    } else {
        size_t length = strcspn(*text, "() \t\n");
        node->word = text_of("%.*s", (int)length, *text);
        *text += length;
    }
    return node;
}

static const Node *at(const Node *list, int index)
{
    const Node *node = list->items;
    while (node && index--) node = node->next;
    return node;
}

static const Node *last(const Node *list)
{
    const Node *node = list->items;
    while (node->next) node = node->next;
    return node;
}

static const char *word(const Node *list, int index) { return at(list, index)->word; }
static int whole(const Node *list, int index) { return atoi(word(list, index)); }
static bool is(const Node *list, int index, const char *text) { return !strcmp(word(list, index), text); }

/* An operation's name in the log: its words, without the lists inside it. */
static const char *title(const Node *node)
{
    const char *text = word(node, 0);
    for (const Node *item = node->items->next; item; item = item->next)
        if (item->word) text = text_of("%s %s", text, item->word);
    return text;
}

/* What is put into queues and futures: 3; 3.0, which is equal and yet can be told apart; or 3:1, a tuple. */
static Value number(const Node *list, int index)
{
    const char *text = word(list, index), *colon = strchr(text, ':');
    if (colon) return tuple(atoi(text), atoi(colon + 1));
    return strchr(text, '.') ? V(atof(text)) : V(atoi(text));
}

static double delay(const Node *list, int index)
{
    return is(list, index, "-") ? NO_TIMEOUT : whole(list, index) * UNIT;
}

static const ExceptionClass *error(const Node *list, int index)
{
    static const ExceptionClass *const all[] = {
        BaseException, Exception, ValueError, RuntimeError, TimeoutError, LookupError, KeyError, StopIteration,
        CancelledError, QueueEmpty, QueueFull, QueueShutDown, BrokenBarrierError};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (is(list, index, all[i]->name)) return all[i];
    abort();
}

/* repr(e), but for a group: whether that shows a list or a tuple depends on its history. */
static const char *exception_text(Value e)
{
    if (is_none(exception_exceptions(e))) return as_str(repr(e));
    const char *text = "", *between = "";
    for_in (member, exception_exceptions(e)) {
        text = text_of("%s%s%s", text, between, exception_text(member));
        between = ", ";
    }
    return text_of("%s(%s, [%s])", exception_type(e)->name, as_str(repr(list_get(exception_args(e), 0))), text);
}

/* The exception, what caused it, and what was being handled when it was raised; `depth` of each. */
static const char *chain_text(Value e, int depth)
{
    Value cause = exception_cause(e), context = exception_context(e);
    const char *text = exception_text(e);
    if (!depth) return text;
    if (!is_none(cause)) text = text_of("%s from [%s]", text, chain_text(cause, depth - 1));
    if (exception_suppress_context(e)) text = text_of("%s alone", text);
    if (!is_none(context)) text = text_of("%s in [%s]", text, context.object == cause.object ? "it" : chain_text(context, depth - 1));
    return text;
}

static const char *chain(Value e)
{
    const char *text = chain_text(e, 6);
    if (is_none(exception_exceptions(e))) return text;
    for_in (member, exception_exceptions(e)) text = text_of("%s, [%s]", text, chain_text(member, 6));
    return text;
}

/* A slot with nothing in it that could be used here: the operation is left out. */
exception_class(Empty, Exception);

/* ---- What the tasks of a scenario share ------------------------------------------------------------------------- */

static struct World {
    const Node *scenario;
    Loop *loop;
    double began;
    int calls, count;
    ContextVar *variable;
    Value tasks;                            /* every task that ran a function, in that order */
    Value slots;                            /* T0..., F0..., H0..., G0..., X0..., K0..., V0..., Y0... */
    int ranks[64];                          /* of what is in a slot: rank() */
    Value primitives;
    char *log;
    size_t length, capacity;
} world;

static const char slot_kinds[] = "TFHGXKVY";
static const char *const primitive_names[] = {"L0", "L1", "E0", "E1", "C0", "C1", "S0", "S1", "S2", "B0", "B1", "Q0", "Q1", "Q2", "Q3"};
enum { SLOTS_OF_A_KIND = 8, PRIMITIVES = sizeof primitive_names / sizeof *primitive_names };

static void log_add(const char *text)
{
    size_t more = strlen(text);
    if (world.length + more + 1 > world.capacity) {
        world.capacity = 2 * (world.length + more + 1);
        world.log = realloc(world.log, world.capacity);
        if (!world.log) abort();
    }
    memcpy(world.log + world.length, text, more + 1);
    world.length += more;
}

/* What stands between < and > differs from machine to machine. */
static char *without_brackets(char *text)
{
    char *to = text;
    int open = 0;
    for (const char *from = text; *from; from++) {
        open += *from == '<';
        if (!open) *to++ = *from;
        open -= open && *from == '>';
    }
    *to = 0;
    return text;
}

static void note(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(const char *who, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = vtext_of(format, arguments);
    va_end(arguments);
    int time = (int)lround((loop_time(world.loop) - world.began) / UNIT);
    log_add(text_of("%d %s %s\n", time, who, without_brackets(text)));
}

static int slot_index(const char *name)
{
    return (int)(strchr(slot_kinds, name[0]) - slot_kinds) * SLOTS_OF_A_KIND + atoi(name + 1);
}

/* None if nothing is there. */
static Value slot_or_none(const char *name)
{
    if (strcmp(name, "Self")) return list_get(world.slots, slot_index(name));
    Task *task = asyncio_current_task();
    return task ? V(task) : None;
}

static Value slot(const Node *list, int index)
{
    Value found = slot_or_none(word(list, index));
    if (is_none(found)) throw(Empty, "%s", word(list, index));
    return found;
}

static void *slot_object(const Node *list, int index) { return slot(list, index).object; }

static Task *slot_task(const Node *list, int index)
{
    Value found = slot(list, index);
    if (strcmp(value_type(found), "Task")) throw(Empty, "%s", word(list, index));
    return as_task(found);
}

static void fill(const Node *list, int index, Value v) { list_set(world.slots, slot_index(word(list, index)), v); }

/* f3.7, a call of f3, has rank 6; get7.8, made there to get something, has 7; all else comes last. */
static int rank(const char *who)
{
    size_t letters = strspn(who, "abcdefghijklmnopqrstuvwxyz");
    if (!isdigit((unsigned char)who[letters])) return 99;
    return who[0] == 'f' ? 2 * atoi(who + letters) : letters > 1 ? atoi(who + letters) : 99;
}

static int lower(int a, int b) { return a < b ? a : b; }

static int rank_of_calls(const Node *node)
{
    int least = 99;
    if (node->items && is(node, 0, "call")) return rank(word(node, 1));
    for (const Node *item = node->items; item; item = item->next) least = lower(least, rank_of_calls(item));
    return least;
}

static void fill_ranked(const Node *list, int index, Value v, int rank)
{
    fill(list, index, v);
    world.ranks[slot_index(word(list, index))] = rank;
}

static const char *name_of(Value v)
{
    for (int i = 0; i < len(world.slots); i++)
        if (list_get(world.slots, i).object == v.object && !is_none(list_get(world.slots, i)))
            return text_of("%c%d", slot_kinds[i / SLOTS_OF_A_KIND], i % SLOTS_OF_A_KIND);
    return "other";
}

static Value primitive_named(const char *name)
{
    int i = 0;
    while (strcmp(primitive_names[i], name)) i++;
    return list_get(world.primitives, i);
}

static void *primitive(const Node *list, int index) { return primitive_named(word(list, index)).object; }

static const char *state(Future *future)
{
    if (!future_done(future)) return "pending";
    if (future_cancelled(future)) return "cancelled";
    Value e = future_exception(future);
    return is_none(e) ? text_of("result %s", as_str(repr(future_result(future)))) : text_of("raised %s", chain(e));
}

static const char *truth(bool b) { return b ? "True" : "False"; }

static const char *look(const char *name)
{
    void *it = primitive_named(name).object;
    switch (name[0]) {
    case 'L': return truth(lock_locked(it));
    case 'C': return truth(condition_locked(it));
    case 'S': return truth(semaphore_locked(it));
    case 'E': return truth(event_is_set(it));
    case 'B': return text_of("%d %s", barrier_n_waiting(it), truth(barrier_broken(it)));
    default:  return text_of("%d %s %s", queue_qsize(it), truth(queue_empty(it)), truth(queue_full(it)));
    }
}

/* The futures and tasks named from index on, without the empty slots. */
static Value present(const Node *list, int index)
{
    Value found = list();
    for (const Node *name = at(list, index); name; name = name->next) {
        Value item = slot_or_none(name->word);
        if (!is_none(item)) list_append(found, item);
    }
    return found;
}

/* ---- Functions and generators ----------------------------------------------------------------------------------- */

/* Coroutines where the twin's are: which exceptions are each other's context depends on it. */
async_decl(block, (const Node *) nodes, (const char *) who);
async_decl(execute, (const Node *) node, (const char *) who);

static const Node *function_named(const char *name)
{
    for (const Node *function = at(world.scenario, 0); function; function = function->next)
        if (function->items && is(function, 0, name)) return function;
    abort();
}

/* Runs a function of the scenario, or a single operation. */
async_def(run, (const char *) label, (const Node *) body, (bool) whole_function)
{
    Task *task = asyncio_current_task();
    if (!list_contains(world.tasks, task)) list_append(world.tasks, task);
    note(label, "begin");
    try {
        if (whole_function) await(block(body, label));
        else await(execute(body, label));
    } except (BaseException, e) {
        note(label, "end %s", chain(e));
        rethrow;
    } end_try
    note(label, "end");
    return V(label);
}

/* The coroutine of a function of the scenario. */
static Coroutine *call(const char *function)
{
    return run(text_of("%s.%d", function, world.calls++), function_named(function)->items->next, true);
}

/* A coroutine that does nothing but await one thing. */
static Coroutine *sub(const Node *node, const char *who)
{
    return run(text_of("%s%d.%d", word(node, 0), rank(who) + 1, world.calls++), node, false);
}

async_gen(run_generator, (const Node *) function, (const char *) label)
{
    note(label, "begin");
    try {
        for (const Node *node = at(function, 1)->items; node; node = node->next) {
            if (is(node, 0, "yield")) {
                Value sent = yield(number(node, 1));
                note(label, "sent %s", as_str(str(sent)));
            } else await(execute(node, label));
        }
    } except (BaseException, e) {
        note(label, "end %s", chain(e));
        rethrow;
    } finally {
        await(block(at(function, 2)->items, label));
        note(label, "closed");
    } end_try
    return None;
}

/* ---- What can be awaited ---------------------------------------------------------------------------------------- */

static Value awaitable(const Node *node, const char *who);

/* An argument of gather() and its kind: what a task is made of must be able to be found again. */
static Value child(const Node *node, const char *who)
{
    bool direct = is(node, 0, "await") || is(node, 0, "call") || is(node, 0, "shield") || is(node, 0, "gather");
    return direct ? awaitable(node, who) : V(sub(node, who));
}

static Value counted(Value wanted)
{
    note("predicate", "%d %s", world.count, as_str(str(wanted)));
    return V((bool)(world.count >= as_int(wanted)));
}

/* Who is in front waits for who is further back, so that no circle comes about: Python cannot cancel one. */
static Value awaited(const Node *list, int index, const char *who)
{
    const char *name = word(list, index);
    if (name[0] == 'T' && world.ranks[slot_index(name)] <= rank(who)) throw(Empty, "%s", name);
    return slot(list, index);
}

static Value await_wait(const Node *node, const char *who)
{
    (void)who;
    int mode = is(node, 1, "FIRST_COMPLETED") ? FIRST_COMPLETED : is(node, 1, "FIRST_EXCEPTION") ? FIRST_EXCEPTION : ALL_COMPLETED;
    return V(asyncio_wait(present(node, 3), .timeout = delay(node, 2), .return_when = mode));
}

static Value await_gather(const Node *node, const char *who)
{
    Value children = list();
    for (const Node *each = at(node, 2); each; each = each->next) list_append(children, child(each, who));
    return V(asyncio_gather_list(children, .return_exceptions = is(node, 1, "1")));
}

static Value await_throw(const Node *node, const char *who)
{
    (void)who;
    AsyncGenerator *generator = slot_object(node, 1);
    return V(generator_athrow(generator, exception_new(error(node, 2), "thrown")));
}

#define AWAIT(name, expression) static Value await_##name(const Node *node, const char *who) { (void)who; return V(expression); }
AWAIT(sleep, asyncio_sleep(delay(node, 1)))
AWAIT(sleepv, asyncio_sleep(delay(node, 1), .result = number(node, 2)))
AWAIT(await, awaited(node, 1, who))
AWAIT(call, call(word(node, 1)))
AWAIT(acquire, word(node, 1)[0] == 'L' ? lock_acquire(primitive(node, 1))
             : word(node, 1)[0] == 'C' ? condition_acquire(primitive(node, 1)) : semaphore_acquire(primitive(node, 1)))
AWAIT(ewait, event_wait(primitive(node, 1)))
AWAIT(cwait, condition_wait(primitive(node, 1)))
AWAIT(cwaitfor, condition_wait_for(primitive(node, 1), counted, V(whole(node, 2))))
AWAIT(bwait, barrier_wait(primitive(node, 1)))
AWAIT(breset, barrier_reset(primitive(node, 1)))
AWAIT(babort, barrier_abort(primitive(node, 1)))
AWAIT(put, queue_put((Queue *)primitive(node, 1), number(node, 2)))
AWAIT(get, queue_get(primitive(node, 1)))
AWAIT(join, queue_join(primitive(node, 1)))
AWAIT(waitfor, asyncio_wait_for(awaitable(at(node, 2), who), delay(node, 1)))
AWAIT(shield, asyncio_shield(child(at(node, 1), who)))
AWAIT(anext, generator_anext(slot_object(node, 1)))
AWAIT(asend, generator_asend(slot_object(node, 1), number(node, 2)))
AWAIT(aclose, generator_aclose(slot_object(node, 1)))

static const struct Await { const char *name; Value (*make)(const Node *node, const char *who); } awaits[] = {
    {"sleep", await_sleep}, {"sleepv", await_sleepv}, {"await", await_await}, {"call", await_call}, {"acquire", await_acquire},
    {"ewait", await_ewait}, {"cwait", await_cwait}, {"cwaitfor", await_cwaitfor}, {"bwait", await_bwait},
    {"breset", await_breset}, {"babort", await_babort}, {"put", await_put}, {"get", await_get}, {"join", await_join},
    {"wait", await_wait}, {"waitfor", await_waitfor}, {"gather", await_gather}, {"shield", await_shield},
    {"anext", await_anext}, {"asend", await_asend}, {"athrow", await_throw}, {"aclose", await_aclose}, {NULL, NULL}};

static const struct Await *await_named(const char *name)
{
    const struct Await *each = awaits;
    while (each->name && strcmp(each->name, name)) each++;
    return each->name ? each : NULL;
}

static Value awaitable(const Node *node, const char *who) { return await_named(word(node, 0))->make(node, who); }

static const char *shown(const Node *node, Value v)
{
    if (!is(node, 0, "wait")) return as_str(repr(v));
    const char *text = "", *between = "";
    for (const Node *name = at(node, 3); name; name = name->next) {
        bool seen = false;
        for (const Node *before = at(node, 3); before != name; before = before->next) seen |= !strcmp(before->word, name->word);
        Value item = slot_or_none(name->word);
        if (seen || is_none(item)) continue;
        text = text_of("%s%s%s%c", text, between, name->word, list_contains(list_get(v, 0), item) ? '+' : '-');
        between = " ";
    }
    return text;
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

async_def(block_with, (const Node *) node, (const char *) who)
{
    bool barrier = word(node, 1)[0] == 'B';
    async_with (value, primitive_named(word(node, 1))) {
        note(who, "%s inside %s", title(node), barrier ? as_str(str(value)) : "");
        await(block(at(node, 2), who));
    } end_with
    note(who, "%s left", title(node));
    return None;
}

async_def(block_timeout, (const Node *) node, (const char *) who)
{
    double when = delay(node, 2);
    Timeout *made = is(node, 0, "timeout") ? asyncio_timeout(when) : asyncio_timeout_at(world.began + when);
    fill(node, 1, V(made));
    async_with (made) {
        await(block(at(node, 3), who));
    } end_with
    note(who, "%s left %s", title(node), truth(timeout_expired(made)));
    return None;
}

async_def(block_group, (const Node *) node, (const char *) who)
{
    TaskGroup *group = asyncio_TaskGroup();
    fill_ranked(node, 1, V(group), rank(who));
    async_with (group) {
        await(block(at(node, 2), who));
    } end_with
    note(who, "%s left", title(node));
    return None;
}

/* The operations of a handler, without the last one if that is (reraise). */
async_def(block_until_reraise, (const Node *) nodes, (const char *) who)
{
    for (; nodes; nodes = nodes->next) {
        if (is(nodes, 0, "reraise")) return V(true);
        await(execute(nodes, who));
    }
    return V(false);
}

async_def(block_try, (const Node *) node, (const char *) who)
{
    try {
        await(block(at(node, 2)->items, who));
    } except (error(node, 1), e) {
        note(who, "%s caught %s", title(node), chain(e));
        if (as_bool(await(block_until_reraise(at(node, 3)->items, who)))) rethrow;
    } end_try
    return None;
}

async_def(block_trystar, (const Node *) node, (const char *) who)
{
    try {
        await(block(at(node, 2)->items, who));
    } except_star (error(node, 1), e) {
        note(who, "%s caught %s", title(node), chain(e));
        if (as_bool(await(block_until_reraise(at(node, 3)->items, who)))) rethrow;
    } end_try
    return None;
}

async_def(block_finally, (const Node *) node, (const char *) who)
{
    try {
        await(block(at(node, 1)->items, who));
    } finally {
        note(who, "finally");
        await(block(at(node, 2)->items, who));
    } end_try
    return None;
}

async_def(block_manage, (const Node *) node, (const char *) who)
{
    const char *function = word(node, 1), *label = text_of("%s.%d", function, world.calls++);
    async_with (value, asyncio_contextmanager(run_generator(function_named(function), label))) {
        note(who, "%s inside %s", title(node), as_str(str(value)));
        await(block(at(node, 2), who));
    } end_with
    note(who, "%s left", title(node));
    return None;
}

async_def(block_for, (const Node *) node, (const char *) who)
{
    int left = whole(node, 2);
    async_for (value, slot(node, 1)) {
        note(who, "%s %s", title(node), as_str(str(value)));
        await(block(at(node, 3), who));
        if (!--left) break;
    }
    note(who, "%s left", title(node));
    return None;
}

/* At most one of them may be done already: in CPython their order would be that of a set. */
static AsCompleted *as_completed(const Node *node)
{
    Value all = present(node, 2), chosen = list();
    bool one_is_done = false;
    for_in (item, all) {
        bool done = future_done(as_future(item));
        if (done && one_is_done) continue;
        list_append(chosen, item);
        one_is_done |= done;
    }
    return asyncio_as_completed(chosen, .timeout = delay(node, 1));
}

async_def(block_completed, (const Node *) node, (const char *) who)
{
    AsCompleted *futures = as_completed(node);
    for (Coroutine *next; (next = as_completed_next(futures)); )
        note(who, "%s %s", title(node), as_str(repr(await(next))));
    note(who, "%s left", title(node));
    return None;
}

async_def(block_acompleted, (const Node *) node, (const char *) who)
{
    async_for (future, as_completed(node))
        note(who, "%s %s", title(node), name_of(future));
    note(who, "%s left", title(node));
    return None;
}

static const struct Block { const char *name; Coroutine *(*run)(const Node *node, const char *who); } blocks[] = {
    {"with", block_with}, {"timeout", block_timeout}, {"timeoutat", block_timeout}, {"group", block_group}, {"try", block_try},
    {"trystar", block_trystar}, {"finally", block_finally}, {"manage", block_manage}, {"for", block_for}, {"completed", block_completed},
    {"acompleted", block_acompleted}, {NULL, NULL}};

static const struct Block *block_named(const char *name)
{
    const struct Block *each = blocks;
    while (each->name && strcmp(each->name, name)) each++;
    return each->name ? each : NULL;
}

/* ---- What does not suspend, and so may stand in a callback too -------------------------------------------------- */

static void step(const Node *node, const char *who);

static void run_callback(Value arg)
{
    const Node *made_by = as_pointer(arg), *node = last(made_by);
    const char *name = word(made_by, is(made_by, 0, "soonin") ? 2 : 1);
    note(name, "run %s", as_str(str(contextvar_get(world.variable))));
    try {
        step(node, name);
    } except (BaseException, e) {
        note(name, "%s ! %s", title(node), chain(e));
        rethrow;
    } end_try
}

static void run_done_callback(Future *future, Value i)
{
    note(text_of("callback%d", (int)as_int(i)), "%s %s", state(future), as_str(str(contextvar_get(world.variable))));
}

static Value step_cancel(const Node *node, const char *who)
{
    (void)who;
    Future *future = slot_object(node, 1);
    bool asked = at(node, 2) ? future_cancel(future, .msg = V(word(node, 2))) : future_cancel(future);
    return V(asked);
}

static Value step_release(const Node *node, const char *who)
{
    (void)who;
    switch (word(node, 1)[0]) {
    case 'L': lock_release(primitive(node, 1)); break;
    case 'C': condition_release(primitive(node, 1)); break;
    default:  semaphore_release(primitive(node, 1));
    }
    return None;
}

static Value step_gspawn(const Node *node, const char *who)
{
    (void)who;
    TaskGroup *group = slot_object(node, 1);
    int child = rank(word(node, 3));
    if (world.ranks[slot_index(word(node, 1))] >= child) throw(Empty, "%s", word(node, 1));
    fill_ranked(node, 2, V(taskgroup_create_task(group, call(word(node, 3)))), child);
    return None;
}

static Value step_reschedule(const Node *node, const char *who)
{
    (void)who;
    Timeout *timeout = slot_object(node, 1);
    timeout_reschedule(timeout, loop_time(world.loop) + delay(node, 2));
    return None;
}

static Value step_generator(const Node *node, const char *who)
{
    (void)who;
    const char *name = word(node, 1), *function = word(node, 2);
    if (is_none(slot_or_none(name))) fill(node, 1, V(run_generator(function_named(function), text_of("%s.%s", function, name))));
    return None;
}

static Value step_var(const Node *node, const char *who)
{
    (void)who;
    Value old = contextvar_get(world.variable);
    contextvar_set(world.variable, whole(node, 1));
    return old;
}

static Value step_soonin(const Node *node, const char *who)
{
    (void)who;
    Context *context = slot_object(node, 1);
    fill(node, 2, V(loop_call_soon(world.loop, run_callback, .arg = V((void *)node), .context = context)));
    return None;
}

static Value step_addcbin(const Node *node, const char *who)
{
    (void)who;
    Context *context = slot_object(node, 1);
    future_add_done_callback((Future *)slot_object(node, 2), run_done_callback, .arg = V(whole(node, 3)), .context = context);
    return None;
}

static Value step_spawnin(const Node *node, const char *who)
{
    (void)who;
    Context *context = slot_object(node, 1);
    fill_ranked(node, 2, V(asyncio_Task(call(word(node, 3)), .context = context)), rank(word(node, 3)));
    return None;
}

#define STEP(name, expression) static Value step_##name(const Node *node, const char *who) { (void)who; return V(expression); }
#define STEP_NONE(name, ...)   static Value step_##name(const Node *node, const char *who) { (void)node; (void)who; __VA_ARGS__; return None; }
STEP_NONE(spawn, fill_ranked(node, 1, V(asyncio_create_task(call(word(node, 2)))), rank(word(node, 2))))
STEP_NONE(eager, fill_ranked(node, 1, V(asyncio_Task(call(word(node, 2)), .eager_start = true)), rank(word(node, 2))))
STEP_NONE(start, fill_ranked(node, 1, V(asyncio_ensure_future(child(at(node, 2), who))), lower(rank(who) + 1, rank_of_calls(at(node, 2)))))
STEP_NONE(factory, loop_set_task_factory(world.loop, is(node, 1, "1") ? asyncio_eager_task_factory : NULL))
STEP(uncancel, task_uncancel(slot_task(node, 1)))
STEP(cancelling, task_cancelling(slot_task(node, 1)))
STEP(state, state(slot_object(node, 1)))
STEP(look, look(word(node, 1)))
STEP_NONE(set, event_set(primitive(node, 1)))
STEP_NONE(clear, event_clear(primitive(node, 1)))
STEP_NONE(notify, condition_notify((Condition *)primitive(node, 1), whole(node, 2)))
STEP_NONE(notifyall, condition_notify_all(primitive(node, 1)))
STEP_NONE(putn, queue_put_nowait((Queue *)primitive(node, 1), number(node, 2)))
STEP(getn, queue_get_nowait(primitive(node, 1)))
STEP_NONE(done, queue_task_done(primitive(node, 1)))
STEP_NONE(shutdown, queue_shutdown((Queue *)primitive(node, 1), is(node, 2, "1")))
STEP_NONE(fset, future_set_result((Future *)slot_object(node, 1), number(node, 2)))
STEP_NONE(fraise, future_set_exception((Future *)slot_object(node, 1), exception_new(error(node, 2), "set")))
STEP_NONE(addcb, future_add_done_callback((Future *)slot_object(node, 1), run_done_callback, .arg = V(whole(node, 2))))
STEP(rmcb, future_remove_done_callback((Future *)slot_object(node, 1), run_done_callback, .arg = V(whole(node, 2))))
STEP_NONE(soon, fill(node, 1, V(loop_call_soon(world.loop, run_callback, .arg = V((void *)node)))))
STEP_NONE(later, fill(node, 1, V(loop_call_later(world.loop, delay(node, 2), run_callback, .arg = V((void *)node)))))
STEP_NONE(hcancel, handle_cancel(slot_object(node, 1)))
STEP_NONE(raise, throw(error(node, 1), "%s", word(node, 2)))
STEP_NONE(context, fill(node, 1, V(asyncio_copy_context())))
STEP_NONE(mark, fill(node, 1, contextvar_set(world.variable, whole(node, 2))))
STEP_NONE(reset, contextvar_reset(world.variable, slot(node, 1)))
STEP(inc, ((void)node, ++world.count))
STEP(expired, timeout_expired(slot_object(node, 1)))

static const struct Step { const char *name; Value (*run)(const Node *node, const char *who); } steps[] = {
    {"spawn", step_spawn}, {"eager", step_eager}, {"start", step_start}, {"gspawn", step_gspawn}, {"factory", step_factory},
    {"cancel", step_cancel}, {"uncancel", step_uncancel}, {"cancelling", step_cancelling}, {"state", step_state},
    {"look", step_look}, {"release", step_release}, {"set", step_set}, {"clear", step_clear}, {"notify", step_notify},
    {"notifyall", step_notifyall}, {"putn", step_putn}, {"getn", step_getn}, {"done", step_done}, {"shutdown", step_shutdown},
    {"fset", step_fset}, {"fraise", step_fraise}, {"addcb", step_addcb}, {"rmcb", step_rmcb}, {"soon", step_soon},
    {"later", step_later}, {"hcancel", step_hcancel}, {"raise", step_raise}, {"inc", step_inc},
    {"var", step_var}, {"reschedule", step_reschedule}, {"expired", step_expired}, {"generator", step_generator},
    {"context", step_context}, {"spawnin", step_spawnin}, {"soonin", step_soonin},
    {"addcbin", step_addcbin}, {"mark", step_mark}, {"reset", step_reset}, {NULL, NULL}};

static void step(const Node *node, const char *who)
{
    const struct Step *each = steps;
    while (each->name && !is(node, 0, each->name)) each++;
    if (!each->name) abort();
    Value v = each->run(node, who);
    note(who, "%s %s", title(node), as_str(str(v)));
}

/* ---- Operations ------------------------------------------------------------------------------------------------- */

/* What fails at once goes no further, or nothing would ever get far; what fails after waiting is raised. */
static bool ends_here(const Node *node, Value e)
{
    bool at_once = !block_named(word(node, 0)) && !await_named(word(node, 0)) && !is(node, 0, "raise");
    return isinstance(e, at_once ? Exception : Empty);
}

static void operation(const Node *node, const char *who)
{
    const struct Block *block = block_named(word(node, 0));
    if (block) await(block->run(node, who));
    else if (await_named(word(node, 0))) {
        Value v = await(awaitable(node, who));
        note(who, "%s %s", title(node), shown(node, v));
    } else step(node, who);
}

async_def(execute, (const Node *) node, (const char *) who)
{
    try {
        operation(node, who);
    } except (BaseException, e) {
        note(who, "%s ! %s", title(node), chain(e));
        if (!ends_here(node, e)) rethrow;
    } end_try
    return None;
}

async_def(block, (const Node *) nodes, (const char *) who)
{
    for (; nodes; nodes = nodes->next) await(execute(nodes, who));
    return None;
}

/* ---- One scenario ----------------------------------------------------------------------------------------------- */

/* Says what the loop reports: the first three words of it. */
static void report(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    if (strstr(report->message, "never retrieved") || strstr(report->message, "destroyed")) return;
    const char *end = report->message;
    for (int words = 3; *end && (*end != ' ' || --words); end++) { }
    note("loop", "%.*s %s", (int)(end - report->message), report->message,
         is_none(report->exception) ? "None" : chain(report->exception));
}

static void make_primitives(void)
{
    Lock *lock = asyncio_Lock();
    world.primitives = list(
        lock, asyncio_Lock(), asyncio_Event(), asyncio_Event(), asyncio_Condition(), asyncio_Condition(.lock = lock),
        asyncio_Semaphore(1), asyncio_BoundedSemaphore(2), asyncio_Semaphore(0), asyncio_Barrier(2), asyncio_Barrier(3),
        asyncio_Queue(1), asyncio_Queue(), asyncio_LifoQueue(2), asyncio_PriorityQueue(3));
}

static void release_locks(void)
{
    Lock *locks[] = {(Lock *)primitive_named("L0").object, (Lock *)primitive_named("L1").object};
    Condition *condition = (Condition *)primitive_named("C0").object;
    for (int i = 0; i < 2; i++) if (lock_locked(locks[i])) lock_release(locks[i]);
    if (condition_locked(condition)) condition_release(condition);
}

/* Cancels whoever is left. Nobody: false. */
static bool cancel_once(void)
{
    Value left = list();
    for_in (task, world.tasks) if (!task_done(as_task(task))) list_append(left, task);
    if (!len(left)) return false;
    note("finish", "%d", len(left));
    for_in (task, left) task_cancel(as_task(task));
    release_locks();
    await(asyncio_sleep(UNIT));
    return true;
}

/* Again and again, for a task may refuse. */
static void cancel_everybody(void)
{
    int turns = 60;
    while (turns && cancel_once()) turns--;
    if (!turns) note("finish", "stuck");
}

static void close_generator(const char *name)
{
    if (is_none(slot_or_none(name))) return;
    const char *operation = text_of("(aclose %s)", name);
    Task *closer = asyncio_create_task(sub(parse(&operation), "finish"));
    await(asyncio_wait(list(closer), .timeout = 20 * UNIT));
    cancel_everybody();
}

/* Ends whatever is left, and says how everything ended. */
async_def(finish)
{
    loop_set_task_factory(world.loop, NULL);
    cancel_everybody();
    close_generator("G0");
    close_generator("G1");
    for (int turn = 0; turn < 10; turn++) {         /* until the last timer has gone off, and what it started is over */
        await(asyncio_sleep(40 * UNIT));
        cancel_everybody();
    }
    for (int i = 0; i < 4 + 8; i++) {
        const char *name = i < 4 ? text_of("F%d", i) : text_of("T%d", i - 4);
        Value future = slot_or_none(name);
        if (is_none(future)) continue;
        note("finish", "%s %s", name, state(as_future(future)));
        future_cancel(as_future(future));
    }
    for (int i = 0; i < PRIMITIVES; i++) note("finish", "%s %s", primitive_names[i], look(primitive_names[i]));
    await(asyncio_sleep(0));
    return None;
}

/* Makes what the tasks share. */
static void begin(Runner *runner)
{
    world.loop = runner_get_loop(runner);
    world.began = loop_time(world.loop);
    loop_set_exception_handler(world.loop, report);
    make_primitives();
    world.variable = context_var("variable", .default_value = V(0));
    world.tasks = list();
    world.slots = list();
    for (size_t i = 0; i < strlen(slot_kinds) * SLOTS_OF_A_KIND; i++) list_append(world.slots, None);
    for (int i = 0; i < 4; i++) list_set(world.slots, slot_index("F0") + i, loop_create_future(world.loop));
}

/* One run of the runner: a function, in the context that all runs share, for so long at most. */
async_def(part, (const char *) function, (double) horizon)
{
    Context *context = task_get_context(asyncio_current_task());
    Task *root = asyncio_Task(call(function), .context = context);
    await(asyncio_wait(list(root), .timeout = horizon));
    note("part", "%s %s", function, state((Future *)root));
    return task_done(root) ? task_result(root) : None;
}

static void run_part(Runner *runner, Coroutine *coro)
{
    try {
        runner_run(runner, coro);
    } except (BaseException, e) {
        log_add(text_of("run %s\n", without_brackets(text_of("%s", chain(e)))));
    } end_try
}

static void run_all(Runner *runner)
{
    bool given = false;
    for (const Node *node = at(world.scenario, 2); node; node = node->next) {
        if (!is(node, 0, "run")) continue;
        run_part(runner, part(word(node, 1), delay(node, 2)));
        given = true;
    }
    if (!given) run_part(runner, part("f0", HORIZON * UNIT));
    run_part(runner, finish());
}

static void run_scenario(const Node *scenario)
{
    world = (struct World){.scenario = scenario, .log = world.log, .capacity = world.capacity};
    log_add("");
    size_t before = asyncio_live_objects();
    scope {
        Runner *runner = asyncio_Runner(.virtual_clock = true);
        begin(runner);
        run_all(runner);
        runner_close(runner);
    }
    size_t after = asyncio_live_objects();
    if (after != before) log_add(text_of("%ld objects left over\n", (long)(after - before)));
}

/* FNV-1a, 32 bits. */
static uint32_t digest(const char *text)
{
    uint32_t value = 2166136261u;
    for (; *text; text++) value = (value ^ (unsigned char)*text) * 16777619u;
    return value;
}

/* ---- Many of them ----------------------------------------------------------------------------------------------- */

static void run_text(const char *text, bool digests)
{
    for (const Node *scenario; (scenario = parse(&text)); free_all()) {
        alarm(20);
        run_scenario(scenario);
        if (digests) printf("%s %08x\n", word(scenario, 1), (unsigned)digest(world.log));
        else printf("# %s\n%s", word(scenario, 1), world.log);
        fflush(stdout);
    }
}

static char *read_all(FILE *file)
{
    size_t length = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    for (size_t got; text && (got = fread(text + length, 1, capacity - length - 1, file)); ) {
        length += got;
        if (length + 1 == capacity) text = realloc(text, capacity *= 2);
    }
    if (!text) abort();
    text[length] = 0;
    return text;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) { perror(path); exit(2); }
    char *text = read_all(file);
    fclose(file);
    return text;
}

/* The next scenario of the text, run: true if its digest is the expected one. */
static bool agrees(const char **text, const char *expected)
{
    const Node *scenario = parse(text);
    alarm(20);
    run_scenario(scenario);
    char found[9];
    snprintf(found, sizeof found, "%08x", (unsigned)digest(world.log));
    bool same = !strcmp(found, expected);
    if (!same) printf("scenario %s is not what CPython 3.13 does: tests/differential/run --seeds %s-%s\n",
                      word(scenario, 1), word(scenario, 1), word(scenario, 1));
    free_all();
    return same;
}

/* First the digests of the seeds from 1 on, then a name and a digest for each scenario of the corpus. */
static int check(const char *expected_path, const char *corpus_path)
{
    char *expected = read_file(expected_path), *corpus = read_file(corpus_path), *rest;
    const char *scenarios = corpus, *name = NULL;
    int counts[2] = {0, 0};
    uint64_t seed = 0;
    for (char *each = strtok_r(expected, " \n", &rest); each; each = strtok_r(NULL, " \n", &rest)) {
        if (name) {
            scenarios = strstr(scenarios, "\n(") + 1;
            counts[agrees(&scenarios, each)]++;
            name = NULL;
        } else if (strlen(each) == 8) {
            char *text = scenario_generate(++seed);
            const char *at = text;
            counts[agrees(&at, each)]++;
            free(text);
        } else name = each;
    }
    free(expected);
    free(corpus);
    printf("%d passed, %d failed\n", counts[1], counts[0]);
    return counts[0] ? 1 : 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    bool digests = !strcmp(mode, "-d");
    int status = 0;
    if (!strcmp(mode, "-c")) status = check(argv[2], argv[3]);
    else if (argc == 4) {
        for (uint64_t seed = strtoull(argv[2], NULL, 10); seed <= strtoull(argv[3], NULL, 10); seed++) {
            char *text = scenario_generate(seed);
            if (!strcmp(mode, "-s")) printf("%s\n", text);
            else run_text(text, digests);
            free(text);
        }
    } else {
        char *text = read_all(stdin);
        run_text(text, digests);
        free(text);
    }
    free(world.log);
    return status;
}
