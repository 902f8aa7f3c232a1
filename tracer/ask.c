/* ask.c: see ask.h. */
#include "ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Entry *entry_of(const Object *o, uint64_t task, size_t *place) {
    for (size_t i = 0; o->waiters && i < o->waiters->n; i++) {
        if (o->waiters->at[i].number != task)
            continue;
        *place = i;
        return &o->waiters->at[i];
    }
    return NULL;
}

/* A Timeout's "waiter" is whom it watches over, so that is no line; and who stands at a barrier also stands in the line
 * of the condition inside it, which says less. */
const Object *ask_waits_in(const Model *m, uint64_t task, const char **role, size_t *place) {
    const Object *o, *found = NULL;
    size_t at;
    for (uint64_t k = 0; (o = pmap_from(&m->objects, &k)); k++) {
        if (!strcmp(o->type, "Timeout") || (found && strcmp(o->type, "Barrier")))
            continue;
        const Entry *e = entry_of(o, task, &at);
        if (!e)
            continue;
        found = o;
        *role = e->text;
        *place = at;
    }
    return found;
}

uint64_t ask_first_to_act(const Model *m, const Task *t) {
    const char *role;
    size_t place;
    if (t->state != ST_WAITING)
        return 0;
    if (model_task(m, t->on))
        return t->on;
    const Object *line = ask_waits_in(m, t->id, &role, &place);
    return line ? line->holder : 0;
}

/* The search for circles: a chain of tasks of which each waits for the next. */
typedef struct Chain {
    const Model *m;
    uint64_t *ids;
    size_t n, room, looked_at;
} Chain;

enum { PATIENCE = 1000 };

static bool follow(Chain *c, uint64_t task);

/* Is the chain back where it has been? What lies before the circle is left out. */
static bool closed_by(Chain *c, uint64_t task) {
    size_t i = 0;
    while (i < c->n && c->ids[i] != task)
        i++;
    if (i == c->n)
        return false;
    c->n -= i;
    memmove(c->ids, c->ids + i, c->n * sizeof *c->ids);
    return true;
}

/* Whoever waits for a gather or a group waits for each of its children; asyncio_wait() may be content with one of them. */
static bool follow_children(Chain *c, const Object *o) {
    if (!o || !o->children || (!strcmp(o->type, "wait") && o->children->n > 1))
        return false;
    for (size_t i = 0; i < o->children->n && c->looked_at < PATIENCE; i++) {
        uint64_t child = o->children->at[i].number;
        if (model_task(c->m, child) ? follow(c, child) : follow_children(c, model_object(c->m, child)))
            return true;
    }
    return false;
}

static bool follow(Chain *c, uint64_t task) {
    const Task *t = model_task(c->m, task);
    if (closed_by(c, task))
        return true;
    if (!t || t->state != ST_WAITING || c->n == c->room || ++c->looked_at > PATIENCE)
        return false;
    c->ids[c->n++] = task;
    uint64_t next = ask_first_to_act(c->m, t);
    if (next ? follow(c, next) : follow_children(c, model_object(c->m, t->on)))
        return true;
    c->n--;
    return false;
}

size_t ask_circle_from(const Model *m, uint64_t task, uint64_t *out, size_t room) {
    Chain c = {m, out, 0, room, 0};
    return follow(&c, task) ? c.n : 0;
}

size_t ask_circle(const Model *m, uint64_t *out, size_t room) {
    Chain c = {m, out, 0, room, 0};
    const Task *t;
    for (uint64_t k = 0; c.looked_at < PATIENCE && (t = pmap_from(&m->tasks, &k)); k++)
        if (t->state == ST_WAITING && follow(&c, t->id))
            return c.n;
    return 0;
}

static int by_due(const void *a, const void *b) {
    const Timer *x = *(const Timer *const *) a, *y = *(const Timer *const *) b;
    if (x->when != y->when)
        return x->when < y->when ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Keeps the `room` earliest in order while walking over all. */
size_t ask_timers(const Model *m, const Timer **out, size_t room, size_t *total) {
    size_t n = 0;
    const Timer *t;
    *total = m->timers.count;
    for (uint64_t k = 0; (t = pmap_from(&m->timers, &k)); k++) {
        if (n == room && (!room || by_due(&t, &out[n - 1]) >= 0))
            continue;
        size_t i = n < room ? n++ : n - 1;
        for (; i > 0 && by_due(&t, &out[i - 1]) < 0; i--)
            out[i] = out[i - 1];
        out[i] = t;
    }
    return n;
}

bool ask_is_child(const char *type) { return !strcmp(type, "Process") || !strcmp(type, "SubprocessTransport"); }

bool ask_is_io(const char *type) {
    static const char *const types[] = {"Stream", "Transport", "Server", "Process", "SubprocessTransport", "Thread"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(type, types[i]))
            return true;
    return false;
}

size_t ask_tasks_on(const Model *m, uint64_t object, const Task **out, size_t room) {
    size_t n = 0;
    const Task *t;
    for (uint64_t k = 0; n < room && (t = pmap_from(&m->tasks, &k)); k++)
        if (t->on == object && !state_over(t->state) && t->state != ST_RUNNING)
            out[n++] = t;
    return n;
}

const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *ask_label(const Model *m, uint64_t id) {
    if (!id)
        return "the loop";
    const Task *t = model_task(m, id);
    if (t)
        return *t->label ? t->label : "a task";
    const Object *o = model_object(m, id);
    return o ? *o->label ? o->label : o->type : "a future";
}

void say_task(Buf *out, const Model *m, uint64_t id) {
    if (id)
        buf_fmt(out, "Task '%s'", ask_label(m, id));
    else
        buf_str(out, "the loop");
}

void say_id(Buf *out, const Model *m, uint64_t id) {
    if (!id || model_task(m, id)) {
        say_task(out, m, id);
        return;
    }
    const Object *o = model_object(m, id);
    if (o)
        buf_str(out, *o->label ? o->label : o->type);
    else
        buf_fmt(out, "future #%llu", (unsigned long long) id);
}

void say_seconds(Buf *out, double s) {
    if (s >= 120)
        buf_fmt(out, "%.0f s", s);
    else if (s >= 0.1 || s <= 0)
        buf_fmt(out, s <= 0 ? "0 s" : "%.3f s", s);
    else if (s >= 0.001)
        buf_fmt(out, "%.1f ms", s * 1e3);
    else
        buf_fmt(out, "%.0f µs", s * 1e6);
}

void say_place(Buf *out, const char *file, int line) {
    if (*file && line > 0)
        buf_fmt(out, "%s:%d", base_name(file), line);
}

/* ---- who can wake it ---- */

void say_circle(Buf *out, const Model *m, const uint64_t *ids, size_t n) {
    if (n == 1) {
        buf_fmt(out, "'%s' waits for itself", ask_label(m, ids[0]));
        return;
    }
    for (size_t i = 0; i < n; i++)
        buf_fmt(out, "%s'%s' waits for '%s'", i == 0 ? "" : i + 1 < n ? ", " : " and ", ask_label(m, ids[i]),
                ask_label(m, ids[(i + 1) % n]));
    buf_str(out, ": a circle");
}

/* An event and a barrier let all go at once; whoever joins a queue or waits for a child stands in no order. */
static void say_line_place(Buf *out, const Object *line, size_t place, const char *role) {
    bool opens = !strcmp(line->type, "Event") || !strcmp(line->type, "Barrier");
    if (line->waiters->n < 2 || !strcmp(role, "joiner") || ask_is_io(line->type))
        return;
    if (opens)
        buf_fmt(out, "; all %zu who wait there go on then", line->waiters->n);
    else if (place == 0)
        buf_str(out, "; it is first in line");
    else
        buf_fmt(out, "; %zu task%s before it in line", place, place == 1 ? " is" : "s are");
}

static void waker_queue(Buf *out, const Object *q, const char *role) {
    if (!strcmp(role, "putter"))
        buf_fmt(out, "whichever task next takes an item out of %s, because it is full", q->label);
    else if (!strcmp(role, "joiner"))
        buf_fmt(out, "the task whose queue_task_done() brings %s down to zero unfinished items (now %.0f)", q->label,
                q->unfinished < 0 ? 0 : q->unfinished);
    else
        buf_fmt(out, "whichever task next puts an item into %s", q->label);
}

static void waker_object(Buf *out, const Model *m, const Task *t, const Object *o, const char *role) {
    if (strstr(o->type, "Queue")) {
        waker_queue(out, o, role);
    } else if (!strcmp(o->type, "Lock") && o->holder == t->id) {
        buf_fmt(out, "nobody: it holds %s itself, and cannot release it while it waits", o->label);
    } else if (!strcmp(o->type, "Lock") && o->holder) {
        say_task(out, m, o->holder);
        buf_fmt(out, ", which holds %s and must release it", o->label);
    } else if (strstr(o->type, "Lock") || strstr(o->type, "Semaphore")) {
        buf_fmt(out, "whichever task next releases %s", o->label);
    } else if (!strcmp(o->type, "Event")) {
        buf_fmt(out, "whoever calls event_set() on %s", o->label);
    } else if (!strcmp(o->type, "Condition")) {
        buf_fmt(out, "whoever notifies %s", o->label);
    } else if (!strcmp(o->type, "Barrier")) {
        buf_fmt(out, "the last task to arrive at %s (%s)", o->label, o->state);
    } else if (ask_is_child(o->type)) {
        buf_fmt(out, "the end of %s", o->label);
    } else {
        buf_fmt(out, "whoever completes %s", o->label);
    }
}

bool ask_child_left(const Model *m, uint64_t child) {
    static const char *const over[] = {"done", "finished", "failed", "cancelled"};
    const Task *t = model_task(m, child);
    const Object *o = model_object(m, child);
    if (t || !o)
        return t && !state_over(t->state);
    for (size_t i = 0; i < sizeof over / sizeof *over; i++)
        if (!strcmp(o->state, over[i]))
            return false;
    return true;
}

static void waker_children(Buf *out, const Model *m, const Object *o) {
    size_t left = 0, shown = 0;
    for (size_t i = 0; o->children && i < o->children->n; i++)
        left += ask_child_left(m, o->children->at[i].number);
    if (!left) {
        buf_fmt(out, "the loop: all children of %s have finished", o->label);
        return;
    }
    buf_fmt(out, left == 1 ? "the last unfinished child of %s: " : "the last to finish among the %2$zu unfinished "
            "children of %1$s: ", o->label, left);
    for (size_t i = 0; i < o->children->n && shown < 4; i++) {
        uint64_t child = o->children->at[i].number;
        if (ask_child_left(m, child))
            buf_fmt(out, model_task(m, child) ? "%s'%s'" : "%s%s", shown++ ? ", " : "", ask_label(m, child));
    }
    if (left > shown)
        buf_str(out, ", …");
}

static void waker_timer(Buf *out, const Model *m, const Timer *timer) {
    buf_fmt(out, "the timer due at +%.3f s", timer->when);
    double left = timer->when - m->ts;
    if (left > 0) {
        buf_str(out, ", in ");
        say_seconds(out, left);
    }
}

/* A timeout around it may cut the wait short. */
static void add_timeout(Buf *out, const Model *m, const Task *t) {
    enum { MANY = 2000 };
    const Timer *timer, *first = NULL;
    for (uint64_t k = 0; m->timers.count < MANY && (timer = pmap_from(&m->timers, &k)); k++)
        if (timer->task == t->id && strstr(timer->what, "timeout") && (!first || timer->when < first->when))
            first = timer;
    if (first)
        buf_fmt(out, "; or its timeout, at +%.3f s", first->when);
}

/* Futures of the loop's own that belong to no object that is shown. */
static void waker_future(Buf *out, const char *what) {
    static const struct { const char *what, *who; } known[] = {
        {"the connection", "the loop, with the callback that tells the protocol of its new connection"},
        {"the pipes", "the loop, with the callbacks that connect the pipes to the child"},
        {"the TLS handshake", "the other end, by doing its part of the handshake"},
        {"the executor's threads", "the last thread of the executor, by ending"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(what, known[i].what)) {
            buf_str(out, known[i].who);
            return;
        }
    buf_fmt(out, "whoever completes what it waits for (%s)", *what ? what : "a future");
}

static void waker_wait(Buf *out, const Model *m, const Task *t) {
    const char *role = "";
    size_t place = 0;
    const Object *line = ask_waits_in(m, t->id, &role, &place);
    const Object *on = model_object(m, t->on);
    if (line) {
        waker_object(out, m, t, line, role);
        say_line_place(out, line, place, role);
    } else if (model_task(m, t->on)) {
        say_task(out, m, t->on);
        buf_str(out, ", by finishing");
    } else if (on && on->children && on->children->n) {
        waker_children(out, m, on);
    } else if (on) {
        waker_object(out, m, t, on, "waiter");
    } else {
        waker_future(out, t->what);
    }
}

/* The pipe through which the parent writes to this child, while it is open; or NULL. */
static const Object *open_stdin(const Model *m, const Object *child) {
    char *note = xformat("stdin of %s", child->label);
    const Object *o;
    for (uint64_t k = 0; (o = pmap_from(&m->objects, &k)); k++)
        if (o->fd >= 0 && !strcmp(o->note, note))
            break;
    free(note);
    return o;
}

/* A child that reads to the end of its input, as a filter does, ends no sooner than that is closed. */
static void waker_child(Buf *out, const Model *m, const Object *child) {
    const Object *pipe = open_stdin(m, child);
    buf_fmt(out, "the end of %s (%s), of which select() tells", child->label, child->note);
    if (pipe)
        buf_fmt(out, "; its stdin, %s, is still open, and it may be waiting for more", pipe->label);
}

/* It is somebody outside who acts, and the loop that notices. */
static void waker_outside(Buf *out, const Model *m, const Task *t, const Object *o) {
    const Watch *w = o->fd >= 0 ? pmap_get(&m->watches, (uint64_t) o->fd) : NULL;
    if (!strcmp(o->type, "Thread"))
        buf_fmt(out, "the thread that runs %s, by finishing: it then calls back into the loop", o->note);
    else if (ask_is_child(o->type))
        waker_child(out, m, o);
    else if (!strcmp(o->type, "Server") && strstr(t->what, "serve_forever"))
        buf_fmt(out, "whoever cancels it, or closes %s", o->label);
    else if (!strcmp(o->type, "Server"))
        buf_fmt(out, "the end of %s and of its last connection", o->label);
    else if (strstr(t->what, "drain") || strstr(t->what, "sendfile"))
        buf_fmt(out, "the other end of %s, by reading: then there is room to send", o->label);
    else if (strstr(t->what, "wait_closed"))
        buf_fmt(out, "the loop, when it has closed %s", o->label);
    else
        buf_fmt(out, "the other end of %s, by sending something or by closing", o->label);
    if (w)
        buf_fmt(out, "; select() watches descriptor %.0f for that", o->fd);
}

/* Whoever could wake it may wait for it in turn. */
static void add_circle(Buf *out, const Model *m, const Task *t) {
    uint64_t ids[LONGEST_CIRCLE];
    size_t n = ask_circle_from(m, t->id, ids, LONGEST_CIRCLE);
    if (n < 2)
        return;
    buf_str(out, "; but ");
    say_circle(out, m, ids, n);
    buf_str(out, ", which only a cancellation or a timeout can break");
}

static void waker_io(Buf *out, const Model *m, const Task *t) {
    const Watch *w;
    const Object *o = model_object(m, t->on);
    if (o && ask_is_io(o->type)) {
        waker_outside(out, m, t, o);
        return;
    }
    buf_fmt(out, "select(), as soon as %s can go on", *t->what ? t->what : "its descriptor");
    uint64_t k = 0;
    if (m->watches.count == 1 && (w = pmap_from(&m->watches, &k)))
        buf_fmt(out, " (descriptor %llu)", (unsigned long long) w->fd);
}

void say_waker(Buf *out, const Model *m, const Task *t) {
    const Timer *timer = pmap_get(&m->timers, t->timer);
    if (state_over(t->state))
        return;
    if (t->state == ST_RUNNING)
        buf_str(out, "nobody needs to: it is running");
    else if (t->state == ST_READY)
        buf_str(out, "nobody needs to: it is in the ready queue, and the loop will run it");
    else if (t->state == ST_SLEEPING && timer)
        waker_timer(out, m, timer);
    else if (t->state == ST_IO)
        waker_io(out, m, t);
    else
        waker_wait(out, m, t);
    if (t->state != ST_RUNNING && t->state != ST_READY)
        add_timeout(out, m, t);
    if (t->state == ST_WAITING)
        add_circle(out, m, t);
    if (t->cancel_asked && t->state != ST_RUNNING)
        buf_str(out, "; a cancellation is on its way to it");
}
