/* pane_graph.c: who waits for whom, as a forest: under each task stands what it waits for, and under that whoever must
 * act first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

enum { DEEPEST = 12, CHILDREN = 6 };

typedef struct Walk {
    View *v;
    SDL_Rect in;
    int y, height, skip;
    size_t rows;
    uint64_t path[DEEPEST];                       /* to find circles */
    bool open[DEEPEST];                           /* does a branch go on below, at this depth? */
    uint8_t *marks;                               /* by task, as far as there are lanes: AWAITED, TOLD */
    size_t most;
} Walk;

/* TOLD: what it waits for stands further up already. SHOWN: it has a row, or is counted in one. */
enum { AWAITED = 1, TOLD = 2, SHOWN = 4 };

static void mark(Walk *w, uint64_t task, int what) {
    if (task < w->most)
        w->marks[task] |= what;
}

static bool marked(const Walk *w, uint64_t task, int what) {
    return task < w->most && w->marks[task] & what;
}

static bool begin_row(Walk *w) {
    w->rows++;
    if (w->skip > 0) {
        w->skip--;
        return false;
    }
    return w->y + w->height <= w->in.y + w->in.h;
}

/* The lines that lead to a row; returns where its text begins. */
static int elbow(Walk *w, int depth, bool last) {
    Canvas *c = w->v->c;
    int step = pt(c, 15), x = w->in.x, thick = pt(c, 1.3), middle = w->y + w->height / 2;
    for (int i = 0; i + 1 < depth; i++)
        if (w->open[i + 1])
            fill(c, (SDL_Rect) {x + i * step + pt(c, 6), w->y, thick, w->height}, FAINT);
    if (depth) {
        int at = x + (depth - 1) * step + pt(c, 6);
        fill(c, (SDL_Rect) {at, w->y, thick, last ? w->height / 2 : w->height}, FAINT);
        fill(c, (SDL_Rect) {at, middle, step - pt(c, 8), thick}, FAINT);
    }
    return x + depth * step;
}

static void words_row(Walk *w, int depth, bool last, SDL_Color color, const char *words) {
    if (!begin_row(w))
        return;
    int x = elbow(w, depth, last);
    text_fit(w->v->c, SMALL, x, w->y + (w->height - text_height(w->v->c, SMALL)) / 2, w->in.x + w->in.w - x, color, words);
    w->y += w->height;
}

static void task_row(Walk *w, const Task *t, int depth, bool last, const char *note) {
    Canvas *c = w->v->c;
    if (!begin_row(w))
        return;
    int x = elbow(w, depth, last), right = w->in.x + w->in.w, h = w->height - pt(c, 4);
    x += chip(c, x, w->y + pt(c, 2), h, right - x, t->state, t->label) + pt(c, 6);
    if (right - x > pt(c, 30))
        text_fit(c, SMALL, x, w->y + (w->height - text_height(c, SMALL)) / 2, right - x, DIM, note);
    w->y += w->height;
}

static void child_row(Walk *w, const Object *o, int depth, bool last) {
    char *words = xformat("%s: %s%s%s", *o->label ? o->label : o->type, o->state, *o->note ? ", " : "", o->note);
    words_row(w, depth, last, TEXT, words);
    free(words);
}

static void walk_task(Walk *w, const Task *t, int depth, bool last);

static void walk_children(Walk *w, const Object *o, int depth) {
    const Model *m = &w->v->s->now;
    size_t left = children_left(w->v, o), shown = 0, i = 0;
    for (; i < o->children->n && shown < CHILDREN; i++) {
        uint64_t child = o->children->at[i].number;
        if (!ask_child_left(m, child))
            continue;
        shown++;
        if (model_task(m, child))
            walk_task(w, model_task(m, child), depth, shown == left);
        else
            child_row(w, model_object(m, child), depth, shown == left);
    }
    for (; i < o->children->n; i++)
        mark(w, o->children->at[i].number, SHOWN);
    if (left > shown) {
        char words[60];
        snprintf(words, sizeof words, "… %zu more unfinished", left - shown);
        words_row(w, depth, true, DIM, words);
    }
}

static char *object_words(const Object *o, const char *role, size_t place, bool held) {
    const char *label = *o->label ? o->label : o->type, *tail = held ? ", held by" : "";
    if (ask_is_io(o->type))
        return xformat("%s: %s%s%s", o->label, o->state, *o->note ? ", " : "", o->note);
    bool alone = o->waiters && o->waiters->n == 1;
    if (!*role || (alone && held))
        return xformat("%s%s", label, tail);
    return !alone ? xformat("%s, %s %zu%s", label, role, place + 1, tail) : xformat("%s, %s%s", label, role, tail);
}

static void walk_object(Walk *w, const Object *o, const char *role, size_t place, int depth) {
    const Task *holder = model_task(&w->v->s->now, o->holder);
    bool held = holder && !state_over(holder->state);
    char *words = object_words(o, role, place, held);
    w->open[depth] = false;
    words_row(w, depth, true, TEXT, words);
    free(words);
    if (depth + 1 >= DEEPEST || ask_is_io(o->type))
        return;
    if (held)
        walk_task(w, holder, depth + 1, true);
    else if (o->children && o->children->n)
        walk_children(w, o, depth + 1);
}

static bool on_path(const Walk *w, uint64_t id, int depth) {
    for (int i = 0; i < depth; i++)
        if (w->path[i] == id)
            return true;
    return false;
}

static void note_of(const Model *m, const Task *t, Buf *b) {
    const Timer *timer = pmap_get(&m->timers, t->timer);
    if (t->state == ST_SLEEPING && timer)
        buf_fmt(b, "until +%.3f", timer->when);
    else if (t->state == ST_READY || t->state == ST_RUNNING)
        buf_str(b, state_name(t->state));
    else
        buf_str(b, t->what);
}

static void walk_task(Walk *w, const Task *t, int depth, bool last) {
    const Model *m = &w->v->s->now;
    const char *role = "";
    size_t place = 0;
    Buf note = {0};
    if (on_path(w, t->id, depth)) {
        char *words = xformat("%s: a circle!", t->label);
        words_row(w, depth, last, ALARM, words);
        free(words);
        return;
    }
    mark(w, t->id, SHOWN);
    bool told = marked(w, t->id, TOLD);
    note_of(m, t, &note);
    if (told && t->state == ST_WAITING)
        buf_str(&note, ": see above");
    task_row(w, t, depth, last, buf_text(&note));
    buf_free(&note);
    w->path[depth] = t->id;
    w->open[depth] = !last;
    if (depth + 1 >= DEEPEST || (t->state != ST_WAITING && t->state != ST_IO) || told)
        return;
    mark(w, t->id, TOLD);
    const Object *line = ask_waits_in(m, t->id, &role, &place);
    const Task *on = model_task(m, t->on);
    const Object *future = model_object(m, t->on);
    if (on && !state_over(on->state))
        walk_task(w, on, depth + 1, true);
    else if (line)
        walk_object(w, line, role, place, depth + 1);
    else if (future)
        walk_object(w, future, "", 0, depth + 1);
}

static bool is_awaited(const Model *m, const Object *o) {
    const Task *t;
    for (size_t i = 0; o->waiters && i < o->waiters->n; i++)
        if ((t = model_task(m, o->waiters->at[i].number)) && t->state == ST_WAITING)
            return true;
    return false;
}

static void mark_children(Walk *w, const Object *o) {
    for (size_t i = 0; o && o->children && i < o->children->n; i++)
        mark(w, o->children->at[i].number, AWAITED);
}

/* Who is awaited stands below whoever waits; all others stand at the left. The children of a group are awaited only
 * once its owner waits for them. */
static void mark_awaited(Walk *w) {
    const Model *m = &w->v->s->now;
    const Object *o;
    for (size_t i = 0; i < w->v->alive.n; i++) {
        const Task *t = w->v->alive.at[i];
        if (t->state != ST_WAITING)
            continue;
        if (model_task(m, t->on))
            mark(w, t->on, AWAITED);
        else
            mark_children(w, model_object(m, t->on));
    }
    for (uint64_t k = 0; (o = pmap_from(&m->objects, &k)); k++)
        if (o->children && is_awaited(m, o))
            mark_children(w, o);
}

/* Those that are not marked so; at most as many rows as somebody might scroll through. */
static void walk_all(Walk *w, int unless) {
    enum { MOST_ROWS = 4000 };
    for (size_t i = 0; i < w->v->alive.n && w->rows < MOST_ROWS; i++)
        if (!marked(w, w->v->alive.at[i]->id, unless))
            walk_task(w, w->v->alive.at[i], 0, true);
}

void draw_graph(View *v, SDL_Rect r) {
    const Model *m = &v->s->now;
    SDL_Rect in = pane_box(v, P_GRAPH, r, "Who waits for whom", "");
    Walk w = {.v = v, .in = in, .y = in.y, .height = pt(v->c, 25), .skip = v->scroll[P_GRAPH],
              .most = v->s->history.lanes.index.n};
    w.marks = xalloc(w.most + 1);
    mark_awaited(&w);
    clip_push(v->c, in);
    walk_all(&w, AWAITED);
    walk_all(&w, SHOWN);                          /* what is left has no beginning: circles */
    clip_pop(v->c);
    if (!v->alive.n)
        text_wrap(v->c, NORMAL, in, 2, FAINT, m->tasks.count ? "All tasks have finished." : "There is no task yet.");
    int seen = in.h / w.height;
    pane_scroll(v, P_GRAPH, (int) w.rows, seen);
    int below = (int) w.rows - v->scroll[P_GRAPH] - seen;
    if (below > 0 && seen > 0) {                  /* the last row makes room for saying how many there are */
        int y = in.y + (seen - 1) * w.height;
        fill(v->c, (SDL_Rect) {in.x, y, in.w, in.y + in.h - y}, PANEL);
        more_row(v, in.x, y + pt(v->c, 4), in.w, below + 1, "rows");
    }
    free(w.marks);
}
