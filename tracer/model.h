/* model.h: the state of the traced program after k events.
 *
 * A model is a pure function of (log, k): model_apply() looks at nothing but the model and the event. Everything that
 * grows with the program sits in persistent maps, so that a copy of a model costs a few increments and history.c can
 * keep thousands of them.
 */
#ifndef TRACER_MODEL_H
#define TRACER_MODEL_H

#include "log.h"
#include "pmap.h"

#define STATES(X) \
    X(RUNNING, "running") X(READY, "ready") X(WAITING, "waiting") X(SLEEPING, "sleeping") X(IO, "I/O") \
    X(DONE, "done") X(CANCELLED, "cancelled") X(FAILED, "failed")
#define X(id, name) ST_##id,
typedef enum State { ST_NONE, STATES(X) ST_COUNT } State;
#undef X
const char *state_name(State state);
static inline bool state_over(State s) { return s >= ST_DONE; }

/* An immutable list shared between copies: frames of a stack, items of a queue, waiters, children. */
typedef struct Entry {
    const char *text;                             /* a repr, a function, or a waiter's role */
    const char *file;                             /* frames only; interned */
    uint64_t number;                              /* a task's or object's id, or a frame's line */
} Entry;

typedef struct List {
    unsigned refs;
    size_t n;
    Entry at[];
} List;

typedef struct Task {
    Cell cell;
    State state;
    uint64_t id, parent;
    const char *label, *coro;
    const char *file, *func;                      /* where it is: running, waiting or raised */
    int line;
    bool cancel_asked, started;
    uint64_t inside;                              /* begun eagerly: the task in the middle of whose step it runs */
    const char *why;                              /* start, wake, throw */
    const char *what;                             /* what it waits for, in plain words */
    uint64_t on;                                  /* the future or task it waits for */
    uint64_t timer;                               /* the timer it armed last, if still armed */
    uint64_t woken_by, woken_via;
    const char *result;                           /* or the exception */
    size_t since;                                 /* the step at which it entered its state */
    size_t born;
    double since_ts;
    List *stack;                                  /* outermost first */
} Task;

typedef struct Handle {
    Cell cell;
    uint64_t id, task, by, of;                    /* of: whom a callback of the loop's own is about */
    const char *what;
    bool cancelled;
} Handle;

typedef struct Timer {
    Cell cell;
    uint64_t id, task;
    const char *what;
    double when, delay;
} Timer;

typedef struct Object {
    Cell cell;
    uint64_t id, holder;
    const char *type, *label, *state, *why;
    double maxsize, unfinished, deadline;         /* -1 = absent */
    double fd, unread, unsent, high;              /* what is connected to the outside world; -1 = absent */
    const char *note;                             /* with whom, or what it runs */
    size_t changed;                               /* the step of the last change */
    List *items, *waiters, *children;
} Object;

typedef struct Watch {
    Cell cell;
    uint64_t fd, of;
    bool reads, writes;
    const char *read_what, *write_what;
} Watch;

typedef enum Phase { PH_OUTSIDE, PH_BEGIN, PH_SELECT, PH_TIMERS, PH_READY, PH_RUN } Phase;

typedef struct Model {
    size_t k;                                     /* events applied */
    double ts;
    Phase phase;
    uint64_t tick;
    uint64_t running;                             /* the task, 0 = the loop */
    uint64_t handle;                              /* the handle that runs, 0 = none */
    uint64_t handle_task, handle_of;
    const char *handle_what;
    double select_timeout;                        /* -1 = without end */
    bool in_select, loop_runs, ended;
    uint64_t batch;                               /* handles left to run in this tick */
    uint64_t head, tail;                          /* ready.at[head..tail) */
    size_t states[ST_COUNT];                      /* how many tasks are in each */
    uint32_t place;                               /* the line that runs or ran last; index in the log */
    const char *func;
    size_t deadlock;                              /* the step at which nothing could wake the loop any more; 0 = none */
    size_t trouble;                               /* the last step at which a task failed, or something was reported */
    int status;                                   /* exit status, once ended */
    const char *ending;                           /* how it ended, in words, if the tracer saw it */
    const char *gone;                             /* the last object dropped or name given up, and the last timer gone: for sentences */
    uint64_t gone_task;
    double gone_when;
    Pmap tasks, objects, timers, ready, watches;
    struct Lanes *lanes;                          /* told of state changes; only the model at the log's end has them */
} Model;

void model_init(Model *m);
Model model_copy(const Model *m);                 /* without lanes */
void model_free(Model *m);
void model_apply(Model *m, const Log *log, size_t k);             /* k must be m->k + 1 */

static inline const Task *model_task(const Model *m, uint64_t id) { return pmap_get(&m->tasks, id); }
static inline const Object *model_object(const Model *m, uint64_t id) { return pmap_get(&m->objects, id); }
static inline size_t model_ready(const Model *m) { return m->ready.count; }

/* A text that tells two states apart: for tests, and for --dump. */
void model_dump(const Model *m, Buf *out);

#endif
