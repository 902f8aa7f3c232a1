/* model.c: one function per kind of event, and a table that says which. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "lanes.h"

#define X(id, name) name,
static const char *const state_names[] = {"none", STATES(X)};
#undef X

const char *state_name(State state) {
    return state_names[state];
}

/* ---- shared lists ---- */

static List *list_of(const cJSON *array, void (*fill)(Entry *, const cJSON *)) {
    if (!cJSON_IsArray(array))
        return NULL;
    size_t n = cJSON_GetArraySize(array), i = 0;
    List *list = xalloc(sizeof *list + n * sizeof *list->at);
    list->refs = 1;
    list->n = n;
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
        fill(&list->at[i++], item);
    return list;
}

static void list_drop(List *list) {
    if (list && --list->refs == 0)
        free(list);
}

static void list_keep(List *list) {
    if (list)
        list->refs++;
}

static void fill_item(Entry *entry, const cJSON *item) {
    entry->text = intern(cJSON_IsString(item) ? item->valuestring : "?");
}

static void fill_number(Entry *entry, const cJSON *item) {
    entry->text = "";
    entry->number = item->valuedouble > 0 && item->valuedouble < 9e15 ? (uint64_t) item->valuedouble : 0;
}

static void fill_waiter(Entry *entry, const cJSON *item) {
    const char *role = arg_text(item, "as");
    entry->text = intern(*role ? role : "waiter");
    entry->number = arg_id(item, "task");
}

static void fill_frame(Entry *entry, const cJSON *item) {
    entry->text = intern(arg_text(item, "func"));
    entry->file = intern(arg_text(item, "file"));
    entry->number = arg_id(item, "line");
}

/* ---- what the maps hold ---- */

static void task_keep(void *p) { list_keep(((Task *) p)->stack); }
static void task_drop(void *p) { list_drop(((Task *) p)->stack); }

static void object_keep(void *p) {
    Object *o = p;
    list_keep(o->items), list_keep(o->waiters), list_keep(o->children);
}

static void object_drop(void *p) {
    Object *o = p;
    list_drop(o->items), list_drop(o->waiters), list_drop(o->children);
}

static const CellKind task_kind = {sizeof(Task), task_keep, task_drop};
static const CellKind object_kind = {sizeof(Object), object_keep, object_drop};
static const CellKind timer_kind = {sizeof(Timer), NULL, NULL};
static const CellKind handle_kind = {sizeof(Handle), NULL, NULL};
static const CellKind watch_kind = {sizeof(Watch), NULL, NULL};

void model_init(Model *m) {
    *m = (Model) {.tasks.kind = &task_kind, .objects.kind = &object_kind, .timers.kind = &timer_kind,
                  .ready.kind = &handle_kind, .watches.kind = &watch_kind, .func = "", .handle_what = "", .ending = "",
                  .gone = ""};
}

Model model_copy(const Model *m) {
    Model copy = *m;
    copy.tasks = pmap_copy(&m->tasks);
    copy.objects = pmap_copy(&m->objects);
    copy.timers = pmap_copy(&m->timers);
    copy.ready = pmap_copy(&m->ready);
    copy.watches = pmap_copy(&m->watches);
    copy.lanes = NULL;
    return copy;
}

void model_free(Model *m) {
    pmap_free(&m->tasks);
    pmap_free(&m->objects);
    pmap_free(&m->timers);
    pmap_free(&m->ready);
    pmap_free(&m->watches);
}

/* ---- helpers of the event functions ---- */

static void set_state(Model *m, Task *t, State state) {
    if (t->state == state)
        return;
    if (t->state)
        m->states[t->state]--;
    m->states[state]++;
    t->state = state;
    t->since = m->k;
    t->since_ts = m->ts;
    if (m->lanes)
        lanes_note(m->lanes, t->id, m->k, state);
}

/* The task, which is made up if its creation was lost with the beginning of a damaged trace. */
static Task *task_for(Model *m, uint64_t id) {
    if (!id)
        return NULL;
    Task *t = pmap_make(&m->tasks, id);
    if (!t->id) {
        t->id = id;
        t->label = t->coro = t->file = t->func = t->why = t->what = t->result = "";
        t->born = m->k;
    }
    return t;
}

static void set_place(Task *t, const cJSON *args) {
    if (!arg(args, "line"))
        return;
    t->file = intern(arg_text(args, "file"));
    t->line = arg_int(args, "line", 0);
    const char *func = arg_text(args, "func");
    if (*func)
        t->func = intern(func);
}

/* The line that the source pane shows: never one inside the library, whose readers are elsewhere. */
static void here(Model *m, const Log *log, const Event *e, const cJSON *args) {
    const char *file = log->places.at[e->place].file, *slash = strrchr(file, '/');
    if (!e->place || !strcmp(slash ? slash + 1 : file, "asyncio.c"))
        return;
    m->place = e->place;
    m->func = intern(arg_text(args, "func"));
}

static void pop_ready(Model *m) {
    if (m->head == m->tail)
        return;
    pmap_remove(&m->ready, m->head++);
    if (m->batch)
        m->batch--;
}

static const Handle *front(const Model *m) {
    return m->head < m->tail ? pmap_get(&m->ready, m->head) : NULL;
}

#define ON(name) static void on_##name(Model *m, const Log *log, const Event *e, const cJSON *a)
#define UNUSED (void) m, (void) log, (void) e, (void) a

/* ---- the loop ---- */

ON(nothing) { UNUSED; }

ON(loop_start) {
    UNUSED;
    m->loop_runs = true;
    m->phase = PH_BEGIN;
}

ON(loop_stop) {
    UNUSED;
    m->loop_runs = m->in_select = false;
    m->phase = PH_OUTSIDE;
}

ON(loop_deadlock) {
    UNUSED;
    m->deadlock = m->trouble = m->k;
}

ON(exception_report) {
    UNUSED;
    m->trouble = m->k;
}

/* Cancelled handles are skipped without an event; the number that the loop gives here says how many went. */
ON(tick_begin) {
    (void) log, (void) e;
    m->tick = arg_id(a, "tick");
    m->phase = PH_BEGIN;
    m->batch = m->handle = 0;
    double ready = arg_number(a, "ready", (double) model_ready(m));
    while (front(m) && model_ready(m) > ready && front(m)->cancelled)
        pop_ready(m);
}

ON(select_enter) {
    (void) log, (void) e;
    m->phase = PH_SELECT;
    m->in_select = true;
    m->select_timeout = arg_number(a, "timeout", -1);
}

ON(select_leave) {
    UNUSED;
    m->phase = PH_TIMERS;
    m->in_select = false;
}

ON(tick_run) {
    (void) log, (void) e;
    m->phase = PH_READY;
    m->batch = arg_id(a, "count");
}

/* A handle that is ready makes its task ready, unless the task is the one that runs (a bare yield comes to rest a
 * moment later, with task.wait). */
ON(handle_ready) {
    (void) log, (void) e;
    Handle *h = pmap_make(&m->ready, m->tail++);
    h->id = arg_id(a, "handle");
    h->task = arg_id(a, "task");
    h->by = arg_id(a, "by");
    h->of = arg_id(a, "of");
    h->what = intern(arg_text(a, "what"));
    Task *t = pmap_edit(&m->tasks, h->task);
    if (t && !state_over(t->state) && t->state != ST_RUNNING)
        set_state(m, t, ST_READY);
}

/* Is there a handle in the queue with this id, or of this task? Everything before it was cancelled and is skipped. */
static bool take(Model *m, uint64_t id, uint64_t task) {
    const Handle *h;
    uint64_t k = m->head;
    while ((h = pmap_from(&m->ready, &k)) && (id ? h->id != id : h->task != task || h->cancelled))
        k++;
    if (!h)
        return false;
    while (m->head <= k)
        pop_ready(m);
    return true;
}

ON(handle_run) {
    (void) log, (void) e;
    m->handle = arg_id(a, "handle");
    m->handle_task = arg_id(a, "task");
    m->handle_of = arg_id(a, "of");
    m->handle_what = intern(arg_text(a, "what"));
    m->phase = PH_RUN;
    take(m, m->handle, 0);
}

ON(handle_end) {
    UNUSED;
    m->handle = 0;
    m->phase = PH_READY;
}

ON(handle_cancel) {
    (void) log, (void) e;
    uint64_t id = arg_id(a, "handle");
    const Handle *h;
    for (uint64_t k = m->head; (h = pmap_from(&m->ready, &k)); k++)
        if (h->id == id)
            ((Handle *) pmap_edit(&m->ready, k))->cancelled = true;
}

ON(timer_arm) {
    (void) log, (void) e;
    uint64_t id = arg_id(a, "timer");
    Timer *timer = pmap_make(&m->timers, id);
    timer->id = id;
    timer->task = arg_id(a, "task");
    timer->when = arg_number(a, "when", 0);
    timer->delay = arg_number(a, "delay", 0);
    timer->what = intern(arg_text(a, "what"));
    Task *t = pmap_edit(&m->tasks, timer->task);
    if (t)
        t->timer = id;
}

ON(timer_gone) {
    (void) log, (void) e;
    uint64_t id = arg_id(a, "timer");
    const Timer *timer = pmap_get(&m->timers, id);
    const Task *t = timer ? model_task(m, timer->task) : NULL;
    m->gone_task = timer ? timer->task : 0;
    m->gone_when = timer ? timer->when : arg_number(a, "when", 0);
    if (t && t->timer == id)
        ((Task *) pmap_edit(&m->tasks, t->id))->timer = 0;
    pmap_remove(&m->timers, id);
}

static void watch(Model *m, EventKind kind, const cJSON *a) {
    uint64_t fd = arg_id(a, "fd");
    Watch *w = pmap_make(&m->watches, fd);
    const char *what = intern(arg_text(a, "what"));
    w->fd = fd;
    w->of = arg_id(a, "of");
    if (!w->read_what)
        w->read_what = w->write_what = "";
    if (kind == EV_READER_ADD || kind == EV_READER_REMOVE) {
        w->reads = kind == EV_READER_ADD;
        w->read_what = what;
    } else {
        w->writes = kind == EV_WRITER_ADD;
        w->write_what = what;
    }
    if (!w->reads && !w->writes)
        pmap_remove(&m->watches, fd);
}

ON(watch) { (void) log, watch(m, e->kind, a); }

/* ---- tasks ---- */

ON(task_create) {
    Task *t = task_for(m, arg_id(a, "task"));
    if (!t)
        return;
    t->label = intern(arg_text(a, "label"));
    t->coro = intern(arg_text(a, "coro"));
    t->func = t->coro;
    t->parent = arg_id(a, "parent");
    t->born = m->k;
    t->file = intern(arg_text(a, "file"));
    t->line = arg_int(a, "line", 0);
    set_state(m, t, ST_READY);
    here(m, log, e, a);
}

ON(task_name) {
    (void) log, (void) e;
    Task *t = task_for(m, arg_id(a, "task"));
    if (!t)
        return;
    m->gone = t->label;
    t->label = intern(arg_text(a, "label"));
}

/* Who goes on has left the line, and not every object tells of that. */
static void leave_line(Model *m, uint64_t object, uint64_t task) {
    const Object *o = model_object(m, object);
    size_t n = o && o->waiters ? o->waiters->n : 0, at = 0;
    while (at < n && o->waiters->at[at].number != task)
        at++;
    if (at == n)
        return;
    Object *mine = pmap_edit(&m->objects, object);
    List *left = xalloc(sizeof *left + (n - 1) * sizeof *left->at);
    left->refs = 1;
    left->n = n - 1;
    for (size_t i = 0; i < n - 1; i++)
        left->at[i] = mine->waiters->at[i + (i >= at)];
    list_drop(mine->waiters);
    mine->waiters = left;
}

ON(task_run) {
    Task *t = task_for(m, arg_id(a, "task"));
    if (!t)
        return;
    set_place(t, a);
    here(m, log, e, a);
    t->why = intern(arg_text(a, "why"));
    t->started = true;
    t->inside = m->running != t->id ? m->running : 0;
    t->cancel_asked = t->cancel_asked && strcmp(t->why, "throw");
    t->what = "";
    leave_line(m, t->on, t->id);
    t->on = 0;
    list_drop(t->stack);
    t->stack = NULL;
    set_state(m, t, ST_RUNNING);
    m->running = t->id;
    if (!m->handle)                               /* a step of a task needs no handle.run: this says the same */
        take(m, 0, t->id);
    m->phase = PH_RUN;
}

/* Inside whose step it ran goes on. Else no task runs any more: the loop does, unless a callback's frame is still to be closed. */
static void at_rest(Model *m, const Task *t) {
    m->running = t->inside;
    if (!m->running && !m->handle)
        m->phase = PH_READY;
}

static State waiting_state(const char *kind) {
    if (!strcmp(kind, "sleep"))
        return ST_SLEEPING;
    if (!strcmp(kind, "io"))
        return ST_IO;
    return strcmp(kind, "ready") ? ST_WAITING : ST_READY;
}

ON(task_wait) {
    Task *t = task_for(m, arg_id(a, "task"));
    if (!t)
        return;
    set_place(t, a);
    here(m, log, e, a);
    t->on = arg_id(a, "on");
    t->what = intern(arg_text(a, "what"));
    t->woken_by = t->woken_via = 0;
    list_drop(t->stack);
    t->stack = list_of(arg(a, "stack"), fill_frame);
    set_state(m, t, waiting_state(arg_text(a, "kind")));
    at_rest(m, t);
}

ON(task_wake) {
    (void) log, (void) e;
    Task *t = task_for(m, arg_id(a, "task"));
    if (!t || state_over(t->state))
        return;
    t->woken_by = arg_id(a, "by");
    t->woken_via = arg_id(a, "via");
    if (t->state != ST_RUNNING)
        set_state(m, t, ST_READY);
}

ON(task_cancel) {
    (void) log, (void) e;
    Task *t = task_for(m, arg_id(a, "task"));
    if (t && !state_over(t->state))
        t->cancel_asked = true;
}

ON(task_done) {
    Task *t = task_for(m, arg_id(a, "task"));
    if (!t)
        return;
    const char *state = arg_text(a, "state");
    set_place(t, a);
    here(m, log, e, a);
    t->result = intern(arg_text(a, *arg_text(a, "exception") ? "exception" : "result"));
    if (!strcmp(state, "failed"))
        m->trouble = m->k;
    t->cancel_asked = false;
    t->what = "";
    t->on = 0;
    list_drop(t->stack);
    t->stack = NULL;
    set_state(m, t, !strcmp(state, "failed") ? ST_FAILED : !strcmp(state, "cancelled") ? ST_CANCELLED : ST_DONE);
    if (m->running == t->id)
        at_rest(m, t);
}

ON(line_step) {
    Task *t = task_for(m, arg_id(a, "task"));
    here(m, log, e, a);
    if (t)
        set_place(t, a);
}

/* ---- futures and primitives ---- */

static void replace(List **slot, List *list) {
    list_drop(*slot);
    *slot = list;
}

ON(object) {
    (void) log;
    uint64_t id = arg_id(a, "id");
    if (!id)
        return;
    Object *o = pmap_make(&m->objects, id);
    o->id = id;
    o->type = intern(arg_text(a, "type"));
    o->label = intern(arg_text(a, "label"));
    o->state = intern(arg_text(a, "state"));
    o->why = intern(arg_text(a, "why"));
    o->holder = arg_id(a, "holder");
    o->maxsize = arg_number(a, "maxsize", -1);
    o->unfinished = arg_number(a, "unfinished", -1);
    o->deadline = arg_number(a, "deadline", -1);
    o->fd = arg_number(a, "fd", -1);
    o->unread = arg_number(a, "unread", -1);
    o->unsent = arg_number(a, "unsent", -1);
    o->high = arg_number(a, "high", -1);
    o->note = intern(arg_text(a, "note"));
    o->changed = m->k;
    replace(&o->items, list_of(arg(a, "items"), fill_item));
    replace(&o->waiters, list_of(arg(a, "waiters"), fill_waiter));
    if (e->kind == EV_OBJECT_MAKE || arg(a, "children"))          /* who is gathered never changes: may be left out */
        replace(&o->children, list_of(arg(a, "children"), fill_number));
}

ON(object_drop) {
    (void) log, (void) e;
    const Object *o = model_object(m, arg_id(a, "id"));
    m->gone = o ? *o->label ? o->label : o->type : "";
    pmap_remove(&m->objects, arg_id(a, "id"));
}

/* ---- the end ---- */

ON(trace_end) {
    (void) log, (void) e;
    m->ended = true;
    m->status = arg_int(a, "status", 0);
    m->running = m->handle = 0;
}

ON(program_end) {
    on_trace_end(m, log, e, a);
    m->ending = intern(arg_text(a, "text"));
    m->in_select = false;
}

/* ---- which function for which event ---- */

typedef void Apply(Model *, const Log *, const Event *, const cJSON *);

static Apply *const applies[EV_KINDS] = {
    [EV_TRACE_END] = on_trace_end, [EV_LOOP_START] = on_loop_start, [EV_LOOP_STOP] = on_loop_stop,
    [EV_LOOP_DEADLOCK] = on_loop_deadlock, [EV_EXCEPTION_REPORT] = on_exception_report,
    [EV_TICK_BEGIN] = on_tick_begin, [EV_TICK_RUN] = on_tick_run,
    [EV_SELECT_ENTER] = on_select_enter, [EV_SELECT_LEAVE] = on_select_leave,
    [EV_HANDLE_READY] = on_handle_ready, [EV_HANDLE_RUN] = on_handle_run,
    [EV_HANDLE_END] = on_handle_end, [EV_HANDLE_CANCEL] = on_handle_cancel,
    [EV_TIMER_ARM] = on_timer_arm, [EV_TIMER_DUE] = on_timer_gone, [EV_TIMER_CANCEL] = on_timer_gone,
    [EV_READER_ADD] = on_watch, [EV_READER_REMOVE] = on_watch,
    [EV_WRITER_ADD] = on_watch, [EV_WRITER_REMOVE] = on_watch,
    [EV_TASK_CREATE] = on_task_create, [EV_TASK_NAME] = on_task_name, [EV_TASK_RUN] = on_task_run,
    [EV_TASK_WAIT] = on_task_wait, [EV_TASK_WAKE] = on_task_wake, [EV_TASK_CANCEL] = on_task_cancel,
    [EV_TASK_DONE] = on_task_done, [EV_LINE_STEP] = on_line_step, [EV_EXCEPTION_RAISE] = on_line_step,
    [EV_OBJECT_MAKE] = on_object, [EV_OBJECT_CHANGE] = on_object, [EV_OBJECT_DROP] = on_object_drop,
    [EV_PROGRAM_END] = on_program_end,
};

void model_apply(Model *m, const Log *log, size_t k) {
    const Event *e = log_step(log, k);
    m->k = k;
    m->ts = e->ts;
    Apply *apply = applies[e->kind] ? applies[e->kind] : on_nothing;
    if (apply == on_nothing)
        return;
    Open open = log_open(log, k);
    apply(m, log, e, open.args);
    log_close(log, &open);
}
