/* dump.c: a model as text, so that two states can be compared and tests can say what differs. */
#include "model.h"

static void dump_list(Buf *out, const char *name, const List *list) {
    if (!list)
        return;
    buf_fmt(out, " %s=[", name);
    for (size_t i = 0; i < list->n; i++)
        buf_fmt(out, "%s%s:%llu", i ? " " : "", list->at[i].text, (unsigned long long) list->at[i].number);
    buf_str(out, "]");
}

static void dump_tasks(const Model *m, Buf *out) {
    const Task *t;
    for (uint64_t k = 0; (t = pmap_from(&m->tasks, &k)); k++) {
        buf_fmt(out, "task %llu %s %s parent=%llu at %s:%d %s", (unsigned long long) t->id, t->label,
                state_name(t->state), (unsigned long long) t->parent, t->file, t->line, t->func);
        buf_fmt(out, " since=%zu born=%zu on=%llu what=%s timer=%llu", t->since, t->born, (unsigned long long) t->on,
                t->what, (unsigned long long) t->timer);
        buf_fmt(out, " cancel=%d why=%s result=%s", t->cancel_asked, t->why, t->result);
        dump_list(out, "stack", t->stack);
        buf_str(out, "\n");
    }
}

static void dump_objects(const Model *m, Buf *out) {
    const Object *o;
    for (uint64_t k = 0; (o = pmap_from(&m->objects, &k)); k++) {
        buf_fmt(out, "object %llu %s %s state=%s holder=%llu changed=%zu", (unsigned long long) o->id, o->type,
                o->label, o->state, (unsigned long long) o->holder, o->changed);
        if (*o->note || o->fd >= 0 || o->unsent >= 0)
            buf_fmt(out, " note=%s fd=%.0f unread=%.0f unsent=%.0f", o->note, o->fd, o->unread, o->unsent);
        dump_list(out, "items", o->items);
        dump_list(out, "waiters", o->waiters);
        dump_list(out, "children", o->children);
        buf_str(out, "\n");
    }
}

static void dump_loop(const Model *m, Buf *out) {
    const Handle *h;
    const Timer *t;
    const Watch *w;
    for (uint64_t k = 0; (h = pmap_from(&m->ready, &k)); k++)
        buf_fmt(out, "ready %llu %s task=%llu by=%llu%s\n", (unsigned long long) h->id, h->what,
                (unsigned long long) h->task, (unsigned long long) h->by, h->cancelled ? " cancelled" : "");
    for (uint64_t k = 0; (t = pmap_from(&m->timers, &k)); k++)
        buf_fmt(out, "timer %llu when=%.9g task=%llu %s\n", (unsigned long long) t->id, t->when,
                (unsigned long long) t->task, t->what);
    for (uint64_t k = 0; (w = pmap_from(&m->watches, &k)); k++)
        buf_fmt(out, "watch %llu r=%d w=%d of=%llu\n", (unsigned long long) w->fd, w->reads, w->writes,
                (unsigned long long) w->of);
}

void model_dump(const Model *m, Buf *out) {
    buf_fmt(out, "step %zu ts=%.6f phase=%d tick=%llu running=%llu handle=%llu %s\n", m->k, m->ts, m->phase,
            (unsigned long long) m->tick, (unsigned long long) m->running, (unsigned long long) m->handle,
            m->handle_what);
    buf_fmt(out, "select=%d timeout=%.6f batch=%llu place=%u ended=%d status=%d deadlock=%zu\n", m->in_select,
            m->select_timeout, (unsigned long long) m->batch, m->place, m->ended, m->status, m->deadlock);
    for (int s = 1; s < ST_COUNT; s++)
        buf_fmt(out, "%s=%zu ", state_name(s), m->states[s]);
    buf_str(out, "\n");
    dump_tasks(m, out);
    dump_objects(m, out);
    dump_loop(m, out);
}
