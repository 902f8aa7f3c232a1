/* Makes a scenario from a seed: a few functions that spawn, wait for and disturb each other.
 *
 * A function calls only those after it, and nothing repeats, so that every scenario ends. Each seed draws the families of
 * operations that it is about: few families make tasks meet often, many make strange meetings.
 */
#include "scenario.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Maker {
    uint64_t random;
    char *text;
    size_t length, capacity;
    int functions, function;                /* how many; the one being written */
    int references;                         /* calls of other functions that it may still make */
    unsigned families;
} Maker;

enum {
    TASKS, LOCKS, EVENTS, CONDITIONS, SEMAPHORES, BARRIERS, QUEUES, COMBINATIONS, TIMEOUTS, GROUPS, COMPLETED, FUTURES,
    CALLBACKS, ERRORS, GENERATORS, EAGER, VARIABLES, CONTEXTS, MANAGERS, RUNS, FAMILIES
};

/* Chance is asked for once in each call below: the order in which a call's arguments are made is the compiler's affair. */

/* ---- Chance and text -------------------------------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t draw(Maker *m)
{
    uint64_t z = m->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int below(Maker *m, int limit) { return (int)(draw(m) % (uint64_t)limit); }
static bool chance(Maker *m, int percent) { return below(m, 100) < percent; }
#define CHOOSE(m, ...) ((const char *[]){__VA_ARGS__}[below(m, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))])

static void out(Maker *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void out(Maker *m, const char *format, ...)
{
    if (m->length + 256 > m->capacity) {
        m->capacity = 2 * m->capacity + 1024;
        m->text = realloc(m->text, m->capacity);
        if (!m->text) abort();
    }
    va_list arguments;
    va_start(arguments, format);
    m->length += (size_t)vsnprintf(m->text + m->length, 256, format, arguments);
    va_end(arguments);
}

/* ---- Words ------------------------------------------------------------------------------------------------------ */

static void put_delay(Maker *m)
{
    if (chance(m, 3)) out(m, " -1");
    else if (chance(m, 15)) out(m, " 0");
    else out(m, " %d", 1 + below(m, chance(m, 70) ? 3 : 8));
}

static void put_timeout(Maker *m)
{
    if (chance(m, 8)) out(m, " -");
    else put_delay(m);
}

static void put_number(Maker *m)
{
    if (chance(m, 4)) { out(m, " %d:", below(m, 3)); out(m, "%d", below(m, 3)); return; }
    bool whole = !chance(m, 25);
    out(m, whole ? " %d" : " %d.0", below(m, 4));
}

static void put_task(Maker *m)
{
    if (chance(m, 6)) out(m, " Self");
    else out(m, " T%d", below(m, 4));
}

static void put_future(Maker *m)
{
    if (m->families & 1u << FUTURES && chance(m, 50)) out(m, " F%d", below(m, 3));
    else put_task(m);
}

/* Without Self: nobody can wait for oneself twice. */
static void put_futures(Maker *m)
{
    for (int left = 1 + below(m, 4); left; left--) {
        out(m, " %c", m->families & 1u << FUTURES && chance(m, 40) ? 'F' : 'T');
        out(m, "%d", below(m, 4));
    }
}

static bool has_function(Maker *m) { return m->references > 0 && m->function + 1 < m->functions; }

static void put_function(Maker *m)
{
    m->references--;
    out(m, " f%d", m->function + 1 + below(m, m->functions - m->function - 1));
}

static void put_error(Maker *m)
{
    out(m, " %s", CHOOSE(m, "ValueError", "ValueError", "RuntimeError", "TimeoutError", "KeyError", "CancelledError"));
}

static void put_caught(Maker *m)
{
    out(m, " %s", CHOOSE(m, "Exception", "CancelledError", "CancelledError", "BaseException", "TimeoutError", "ValueError", "RuntimeError", "LookupError"));
}

/* ---- What can be awaited ---------------------------------------------------------------------------------------- */

static bool about(Maker *m, int family) { return m->families >> family & 1; }

static void put_awaitable(Maker *m, int depth);

static void put_primitive_awaitable(Maker *m)
{
    for (;;) {
        int family = below(m, FAMILIES);
        if (!about(m, family)) {
            if (chance(m, 4)) break;
            continue;
        }
        switch (family) {
        case LOCKS: out(m, "(acquire L%d)", below(m, 2)); return;
        case EVENTS: out(m, "(ewait E%d)", below(m, 2)); return;
        case SEMAPHORES: out(m, "(acquire S%d)", below(m, 3)); return;
        case BARRIERS: out(m, "(bwait B%d)", below(m, 2)); return;
        case QUEUES:
            if (chance(m, 45)) out(m, "(get Q%d)", below(m, 4));
            else if (chance(m, 25)) out(m, "(join Q%d)", below(m, 4));
            else { out(m, "(put Q%d", below(m, 4)); put_number(m); out(m, ")"); }
            return;
        case FUTURES: out(m, "(await F%d)", below(m, 3)); return;
        case TASKS: out(m, "(await T%d)", below(m, 4)); return;
        default: if (chance(m, 30)) break; else continue;
        }
        break;
    }
    out(m, "(sleep");
    put_delay(m);
    out(m, ")");
}

static void put_gather(Maker *m, int depth)
{
    out(m, "(gather %d", below(m, 2));
    for (int left = below(m, 4); left >= 0; left--) {
        out(m, " ");
        put_awaitable(m, depth);
    }
    out(m, ")");
}

static void put_awaitable(Maker *m, int depth)
{
    if (depth > 0 && about(m, COMBINATIONS) && chance(m, 40)) {
        switch (below(m, 3)) {
        case 0: out(m, "(shield "); put_awaitable(m, depth - 1); out(m, ")"); return;
        case 1: out(m, "(waitfor"); put_timeout(m); out(m, " "); put_awaitable(m, depth - 1); out(m, ")"); return;
        default: put_gather(m, depth - 1); return;
        }
    }
    if (has_function(m) && chance(m, 40)) {
        out(m, "(call");
        put_function(m);
        out(m, ")");
    } else put_primitive_awaitable(m);
}

/* ---- What does not suspend -------------------------------------------------------------------------------------- */

static void put_step(Maker *m, int depth);

static void step_task(Maker *m)
{
    switch (below(m, 8)) {
    case 0: case 1: case 2: case 3: {
        out(m, "(cancel"); put_task(m); out(m, "%s)", chance(m, 30) ? " why" : ""); return;
    }
    case 4: out(m, "(uncancel"); put_task(m); out(m, ")"); return;
    case 5: out(m, "(cancelling"); put_task(m); out(m, ")"); return;
    default: out(m, "(state"); put_future(m); out(m, ")");
    }
}

static void step_spawn(Maker *m)
{
    if (!has_function(m)) { step_task(m); return; }
    out(m, "(%s", about(m, EAGER) && chance(m, 50) ? "eager" : "spawn");
    out(m, " T%d", below(m, 4));
    put_function(m);
    out(m, ")");
}

static void step_condition(Maker *m)
{
    switch (below(m, 4)) {
    case 0: out(m, "(inc)"); return;
    case 1: out(m, "(notifyall C%d)", below(m, 2)); return;
    case 2: out(m, "(release C%d)", below(m, 2)); return;
    default: out(m, "(notify C%d", below(m, 2)); out(m, " %d)", 1 + below(m, 2));
    }
}

static void step_queue(Maker *m)
{
    int queue = below(m, 4);
    switch (below(m, 7)) {
    case 0: case 1: out(m, "(putn Q%d", queue); put_number(m); out(m, ")"); return;
    case 2: case 3: out(m, "(getn Q%d)", queue); return;
    case 4: case 5: out(m, "(done Q%d)", queue); return;
    default:
        if (chance(m, 50)) out(m, "(shutdown Q%d %d)", queue, below(m, 2));
        else out(m, "(look Q%d)", queue);
    }
}

static void step_future(Maker *m)
{
    switch (below(m, 8)) {
    case 0: case 1: out(m, "(fset F%d", below(m, 3)); put_number(m); out(m, ")"); return;
    case 2: out(m, "(fraise F%d", below(m, 3)); put_error(m); out(m, ")"); return;
    case 3: out(m, "(cancel F%d", below(m, 3)); out(m, "%s)", chance(m, 30) ? " why" : ""); return;
    case 4: out(m, "(rmcb"); put_future(m); out(m, " %d)", below(m, 2)); return;
    case 5: out(m, "(fset T%d", below(m, 4)); put_number(m); out(m, ")"); return;
    default: out(m, "(addcb"); put_future(m); out(m, " %d)", below(m, 2));
    }
}

static void step_callback(Maker *m, int depth)
{
    if (chance(m, 15) || depth < 1) { out(m, "(hcancel H%d)", below(m, 3)); return; }
    if (chance(m, 50)) out(m, "(soon H%d ", below(m, 3));
    else { out(m, "(later H%d", below(m, 3)); put_delay(m); out(m, " "); }
    put_step(m, depth - 1);
    out(m, ")");
}

static void step_generator(Maker *m)
{
    if (chance(m, 70)) { out(m, "(generator G%d", below(m, 2)); out(m, " g%d)", below(m, 2)); }
    else step_task(m);
}

static void step_context(Maker *m, int depth)
{
    int context = below(m, 2);
    switch (below(m, 8)) {
    case 0: out(m, "(context V%d)", context); return;
    case 1: out(m, "(mark Y%d", below(m, 2)); out(m, " %d)", below(m, 9)); return;
    case 2: out(m, "(reset Y%d)", below(m, 2)); return;
    case 3: out(m, "(addcbin V%d", context); put_future(m); out(m, " %d)", below(m, 2)); return;
    case 4: case 5:
        if (depth < 1) break;
        out(m, "(soonin V%d H%d ", context, below(m, 3)); put_step(m, depth - 1); out(m, ")"); return;
    default:
        if (!has_function(m)) break;
        out(m, "(spawnin V%d T%d", context, below(m, 4));
        put_function(m);
        out(m, ")");
        return;
    }
    out(m, "(var %d)", below(m, 9));
}

static void step_family(Maker *m, int family, int depth)
{
    switch (family) {
    case LOCKS: out(m, "(%s", chance(m, 60) ? "release" : "look"); out(m, " L%d)", below(m, 2)); return;
    case EVENTS: out(m, "(%s", CHOOSE(m, "set", "set", "clear", "look")); out(m, " E%d)", below(m, 2)); return;
    case CONDITIONS: step_condition(m); return;
    case SEMAPHORES: out(m, "(%s", chance(m, 75) ? "release" : "look"); out(m, " S%d)", below(m, 3)); return;
    case BARRIERS: out(m, "(look B%d)", below(m, 2)); return;
    case QUEUES: step_queue(m); return;
    case COMBINATIONS: out(m, "(start T%d ", below(m, 4)); put_awaitable(m, 2); out(m, ")"); return;
    case TIMEOUTS:
        if (chance(m, 30)) { out(m, "(expired X%d)", below(m, 3)); return; }
        out(m, "(reschedule X%d", below(m, 3)); put_timeout(m); out(m, ")"); return;
    case GROUPS:
        if (!has_function(m)) { step_task(m); return; }
        out(m, "(gspawn K%d", below(m, 2)); out(m, " T%d", below(m, 4)); put_function(m); out(m, ")"); return;
    case FUTURES: step_future(m); return;
    case CALLBACKS: step_callback(m, depth); return;
    case ERRORS:
        out(m, "(raise");
        if (chance(m, 5)) out(m, " StopIteration");
        else put_error(m);
        out(m, " r%d)", below(m, 9));
        return;
    case GENERATORS: step_generator(m); return;
    case EAGER: out(m, "(factory %d)", below(m, 2)); return;
    case VARIABLES: out(m, "(var %d)", below(m, 9)); return;
    case CONTEXTS: step_context(m, depth); return;
    default: if (chance(m, 50)) step_spawn(m); else step_task(m);
    }
}

static int draw_family(Maker *m)
{
    for (;;) {
        int family = below(m, FAMILIES);
        if (about(m, family)) return family;
    }
}

static void put_step(Maker *m, int depth) { step_family(m, draw_family(m), depth); }

/* ---- What suspends ---------------------------------------------------------------------------------------------- */

static void put_block(Maker *m, int operations, int depth);
static void put_operation(Maker *m, int depth);

static void put_body(Maker *m, int depth) { put_block(m, 1 + below(m, 3), depth - 1); }

static void put_with(Maker *m, char kind, int kinds, int depth)
{
    out(m, "(with %c%d ", kind, below(m, kinds));
    put_body(m, depth);
    out(m, ")");
}

static void operation_condition(Maker *m, int depth)
{
    int condition = below(m, 2);
    switch (below(m, 5)) {
    case 0: put_with(m, 'C', 2, depth); return;
    case 1: out(m, chance(m, 50) ? "(with C%d (inc) (notifyall C%d))" : "(with C%d (inc) (notify C%d 1))", condition, condition); return;
    case 2: out(m, "(with C%d (cwaitfor C%d %d))", condition, condition, 1 + below(m, 3)); return;
    case 3: out(m, "(with C%d ", condition); put_body(m, depth); out(m, " (cwait C%d) ", condition); put_body(m, depth); out(m, ")"); return;
    default: out(m, "(with C%d (cwait C%d))", condition, condition);
    }
}

static void operation_combination(Maker *m)
{
    if (chance(m, 35)) {
        out(m, "(wait %s", CHOOSE(m, "ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"));
        put_timeout(m);
        put_futures(m);
        out(m, ")");
    } else if (chance(m, 40)) {
        out(m, "(waitfor");
        put_timeout(m);
        out(m, " ");
        put_awaitable(m, 2);
        out(m, ")");
    } else if (chance(m, 40)) {
        out(m, "(shield ");
        put_awaitable(m, 2);
        out(m, ")");
    } else put_gather(m, 2);
}

static void operation_timeout(Maker *m, int depth)
{
    if (chance(m, 80)) {
        out(m, "(timeout X%d", below(m, 3));
        put_timeout(m);
    } else {
        out(m, "(timeoutat X%d", below(m, 3));
        out(m, " %d", below(m, 10));
    }
    out(m, " ");
    put_body(m, depth);
    out(m, ")");
}

static void operation_group(Maker *m, int depth)
{
    int group = below(m, 2);
    out(m, "(group K%d ", group);
    for (int left = 1 + below(m, 3); left && has_function(m); left--) {
        out(m, "(gspawn K%d T%d", group, below(m, 4));
        put_function(m);
        out(m, ") ");
    }
    put_body(m, depth);
    out(m, ")");
}

static void operation_try(Maker *m, int depth)
{
    if (chance(m, 25)) {
        out(m, "(finally (");
        put_body(m, depth);
        out(m, ") (");
        put_body(m, depth);
        out(m, "))");
        return;
    }
    out(m, "(%s", chance(m, about(m, GROUPS) ? 40 : 10) ? "trystar" : "try");
    put_caught(m);
    out(m, " (");
    put_body(m, depth);
    out(m, ") (");
    put_block(m, below(m, 3), depth - 1);
    if (chance(m, 30)) out(m, " (reraise)");
    out(m, "))");
}

static void operation_generator(Maker *m, int depth)
{
    int generator = below(m, 2);
    switch (below(m, 7)) {
    case 0: out(m, "(anext G%d)", generator); return;
    case 1: out(m, "(asend G%d", generator); put_number(m); out(m, ")"); return;
    case 2: out(m, "(athrow G%d", generator); put_error(m); out(m, ")"); return;
    case 3: out(m, "(aclose G%d)", generator); return;
    default: out(m, "(for G%d %d ", generator, below(m, 3)); put_block(m, below(m, 2), depth - 1); out(m, ")");
    }
}

/* Not in a generator, which would manage itself without end. */
static void operation_manager(Maker *m, int depth)
{
    if (m->function >= m->functions) { put_awaitable(m, 0); return; }
    out(m, "(manage g%d ", below(m, 2));
    put_body(m, depth);
    out(m, ")");
}

static void operation_queue(Maker *m)
{
    int queue = below(m, 4);
    if (chance(m, 45)) { out(m, "(put Q%d", queue); put_number(m); out(m, ")"); }
    else if (chance(m, 85)) out(m, "(get Q%d)", queue);
    else out(m, "(join Q%d)", queue);
}

static void operation_family(Maker *m, int family, int depth)
{
    switch (family) {
    case LOCKS: if (chance(m, 75)) put_with(m, 'L', 2, depth); else out(m, "(acquire L%d)", below(m, 2)); return;
    case EVENTS: out(m, "(ewait E%d)", below(m, 2)); return;
    case CONDITIONS: operation_condition(m, depth); return;
    case SEMAPHORES: if (chance(m, 65)) put_with(m, 'S', 3, depth); else out(m, "(acquire S%d)", below(m, 3)); return;
    case BARRIERS:
        if (chance(m, 25)) put_with(m, 'B', 2, depth);
        else {
            out(m, "(%s", CHOOSE(m, "bwait", "bwait", "bwait", "bwait", "breset", "babort"));
            out(m, " B%d)", below(m, 2));
        }
        return;
    case QUEUES: operation_queue(m); return;
    case COMBINATIONS: operation_combination(m); return;
    case TIMEOUTS: operation_timeout(m, depth); return;
    case GROUPS: operation_group(m, depth); return;
    case COMPLETED: out(m, "(%s", chance(m, 50) ? "completed" : "acompleted"); put_timeout(m); put_futures(m); out(m, ")"); return;
    case FUTURES: out(m, "(await F%d)", below(m, 3)); return;
    case ERRORS: operation_try(m, depth); return;
    case GENERATORS: operation_generator(m, depth); return;
    case MANAGERS: operation_manager(m, depth); return;
    case TASKS: out(m, "(await T%d)", below(m, 4)); return;
    default: put_awaitable(m, 0);
    }
}

static void put_operation(Maker *m, int depth)
{
    if (chance(m, 20)) {
        bool valued = chance(m, 10);
        out(m, valued ? "(sleepv" : "(sleep");
        put_delay(m);
        if (valued) put_number(m);
        out(m, ")");
    } else if (chance(m, 12)) operation_try(m, depth);
    else if (chance(m, 45)) put_step(m, 2);
    else operation_family(m, draw_family(m), depth);
}

static void put_block(Maker *m, int operations, int depth)
{
    for (int i = 0; i < operations; i++) {
        out(m, i ? " " : "");
        if (depth > 0) put_operation(m, depth);
        else if (chance(m, 50)) put_step(m, 1);
        else { out(m, "(sleep"); put_delay(m); out(m, ")"); }
    }
}

/* ---- Functions -------------------------------------------------------------------------------------------------- */

static void put_first_function(Maker *m)
{
    m->function = 0;
    m->references = 6;
    out(m, " (f0");
    if (about(m, EAGER) && chance(m, 30)) out(m, " (factory 1)");
    for (int i = 0, tasks = 1 + below(m, 4); i < tasks; i++) {
        out(m, " (spawn T%d", i);
        put_function(m);
        out(m, ")");
    }
    out(m, " ");
    put_block(m, 1 + below(m, 7), 3);
    out(m, ")");
}

static void put_other_function(Maker *m, int index)
{
    m->function = index;
    m->references = 2;
    out(m, " (f%d ", index);
    put_block(m, 1 + below(m, 6), 3);
    out(m, ")");
}

static void put_generator(Maker *m, int index)
{
    m->function = m->functions;
    m->references = 0;
    out(m, " (g%d (", index);
    for (int left = 1 + below(m, 5); left; left--) {
        if (chance(m, 60)) { out(m, "(yield"); put_number(m); out(m, ") "); }
        else { put_block(m, 1, 1); out(m, " "); }
    }
    out(m, ") (");
    put_block(m, below(m, 2), 1);
    out(m, "))");
}

/* The runs of the runner, else one of f0. */
static void put_runs(Maker *m)
{
    if (!about(m, RUNS)) return;
    for (int left = 1 + below(m, 3); left; left--) {
        out(m, " (run f%d", below(m, m->functions));
        out(m, " %d)", below(m, chance(m, 70) ? 8 : 40));
    }
}

char *scenario_generate(uint64_t seed)
{
    Maker m = {.random = seed * 0x2545f4914f6cdd1du + 1};
    m.families = 1u << TASKS;
    for (int left = 1 + below(&m, chance(&m, 70) ? 4 : 12); left; left--) m.families |= 1u << below(&m, FAMILIES);
    m.functions = 2 + below(&m, 4);
    out(&m, "(scenario %llu", (unsigned long long)seed);
    put_first_function(&m);
    for (int i = 1; i < m.functions; i++) put_other_function(&m, i);
    if (about(&m, GENERATORS) || about(&m, MANAGERS)) {
        put_generator(&m, 0);
        put_generator(&m, 1);
    }
    put_runs(&m);
    out(&m, ")");
    return m.text;
}
