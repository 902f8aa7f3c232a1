/* pane_objects.c: queues, locks and their kin, with their contents and with whoever waits in line.
 *
 * A queue is drawn as what it is: putters stand on the left where things go in, getters on the right where they leave.
 */
#include <stdio.h>
#include <string.h>

#include "view.h"

static size_t count_role(const Object *o, const char *role) {
    size_t n = 0;
    for (size_t i = 0; o->waiters && i < o->waiters->n; i++)
        n += !strcmp(o->waiters->at[i].text, role);
    return n;
}

static bool is_queue(const Object *o) {
    return strstr(o->type, "Queue") != NULL;
}

/* The cells from right to left: the next to leave stands at the right end. */
static void draw_cells(View *v, SDL_Rect r, const Object *o) {
    Canvas *c = v->c;
    size_t n = o->items ? o->items->n : 0, i = 0;
    round_frame(c, r, pt(c, 3), BACK, EDGE, pt(c, 1));
    int x = r.x + r.w - pt(c, 3), h = r.h - pt(c, 6), y = r.y + pt(c, 3), tail = pt(c, 44);
    if (!n)
        text_fit(c, SMALL, r.x + pt(c, 8), r.y + (r.h - text_height(c, SMALL)) / 2, r.w - pt(c, 12), FAINT, "empty");
    for (; i < n; i++) {
        const char *t = o->items->at[i].text;
        int w = text_width(c, SMALL, t, -1) + pt(c, 12), most = n == 1 ? r.w - pt(c, 6) : r.w * 45 / 100;
        w = w > most ? most : w;
        if (x - w - (i + 1 < n ? tail : 0) < r.x)
            break;
        x -= w;
        SDL_Color back = i ? RAISED : mix(RAISED, ACCENT, 0.4);
        round_fill(c, (SDL_Rect) {x + pt(c, 1), y, w - pt(c, 2), h}, pt(c, 3), back);
        text_fit(c, SMALL, x + pt(c, 6), y + (h - text_height(c, SMALL)) / 2, w - pt(c, 11), TEXT, t);
    }
    if (i < n)
        text_fmt(c, SMALL, r.x + pt(c, 6), y + (h - text_height(c, SMALL)) / 2, tail, WARN, "+%zu …", n - i);
}

/* A column of those who wait in one role, in the order in which they will be served. Returns its rows. */
static int draw_line_of(View *v, SDL_Rect r, const Object *o, const char *role, const char *verb,
                        int most, int height) {
    Canvas *c = v->c;
    int row = 0;
    size_t n = count_role(o, role), place = 0;
    for (size_t i = 0; o->waiters && i < o->waiters->n && row < most; i++) {
        if (strcmp(o->waiters->at[i].text, role))
            continue;
        const Task *t = model_task(&v->s->now, o->waiters->at[i].number);
        int y = r.y + row++ * height;
        place++;
        if (row == most && n > place) {
            text_fmt(c, SMALL, r.x, y, r.w, DIM, "… %zu more", n - place + 1);
            break;
        }
        int w = text_fmt(c, SMALL, r.x, y + pt(c, 2), r.w, FAINT, "%s %zu", verb, place) + pt(c, 5);
        chip(c, r.x + w, y, height - pt(c, 4), r.w - w, t ? t->state : ST_WAITING, t ? t->label : "?");
    }
    return row;
}

static int rows_of(size_t n, int most) {
    return n > (size_t) most ? most : (int) n;
}

typedef struct Look {
    int row, most;
} Look;

static Look look(Canvas *c) {
    return (Look) {pt(c, 24), 5};
}

static int waiter_rows(const Object *o, int most) {
    int a = rows_of(count_role(o, "putter"), most), b = rows_of(count_role(o, "getter"), most);
    if (!is_queue(o))
        return rows_of(o->waiters ? o->waiters->n : 0, most);
    return (a > b ? a : b) + (count_role(o, "joiner") ? 1 : 0);
}

static void describe(View *v, const Object *o, Buf *b) {
    size_t n = o->children ? o->children->n : 0;
    buf_str(b, o->state);
    if (*o->note)
        buf_fmt(b, ", %s", o->note);
    if (o->fd >= 0)
        buf_fmt(b, ", fd %.0f", o->fd);
    if (o->maxsize > 0)
        buf_fmt(b, ", room for %.0f", o->maxsize);
    if (o->unfinished >= 0)
        buf_fmt(b, ", %.0f unfinished", o->unfinished);
    if (o->deadline >= 0)
        buf_fmt(b, ", deadline +%.3f", o->deadline);
    if (n)
        buf_fmt(b, ", %zu of %zu unfinished", children_left(v, o), n);
}

/* Its name and, beside it or below, what there is to say about it. Returns the height; draws only if asked to. */
static int header(View *v, SDL_Rect r, const Object *o, bool draw) {
    Canvas *c = v->c;
    bool fresh = o->changed == v->s->now.k;
    const char *label = *o->label ? o->label : o->type;
    Buf note = {0};
    describe(v, o, &note);
    int w = text_width(c, STRONG, label, -1) + pt(c, 8);
    bool beside = w + text_width(c, SMALL, buf_text(&note), -1) <= r.w;
    if (draw) {
        text_fit(c, STRONG, r.x, r.y, r.w, fresh ? ACCENT : TEXT, label);
        text_fit(c, SMALL, beside ? r.x + w : r.x, r.y + pt(c, beside ? 2 : 20), beside ? r.w - w : r.w,
                 fresh ? TEXT : DIM, buf_text(&note));
    }
    buf_free(&note);
    return pt(c, beside ? 24 : 42);
}

/* Something of the world outside: what came and is not read, what waits to be sent, and the tasks that wait for it. */

static bool holds_unread(const Object *o) {
    return o->unread > 0;
}

static int io_rows(View *v, const Object *o, int most) {
    const Task *on[8];
    return (holds_unread(o) ? 1 : 0) + (o->unsent > 0 ? 1 : 0) +
           rows_of(ask_tasks_on(&v->s->now, o->id, on, sizeof on / sizeof *on), most);
}

static void unread_row(View *v, SDL_Rect r, const Object *o) {
    Canvas *c = v->c;
    char *words = xformat("%.0f unread", o->unread);
    int w = text_fit(c, SMALL, r.x, r.y + pt(c, 3), r.w, FAINT, words) + pt(c, 6);
    free(words);
    draw_cells(v, (SDL_Rect) {r.x + w, r.y, r.w - w, r.h - pt(c, 2)}, o);
}

/* The buffer as a bar that is full at the high water mark. */
static void unsent_row(View *v, SDL_Rect r, const Object *o) {
    Canvas *c = v->c;
    double part = o->high > 0 ? o->unsent / o->high : 1;
    SDL_Rect bar = {r.x, r.y + pt(c, 1), r.w, r.h - pt(c, 4)};
    char *words = xformat("%.0f to send, mark %.0f", o->unsent, o->high);
    round_frame(c, bar, pt(c, 3), BACK, EDGE, pt(c, 1));
    round_fill(c, (SDL_Rect) {bar.x, bar.y, (int) (bar.w * (part < 1 ? part : 1)), bar.h}, pt(c, 3),
               mix(RAISED, part > 1 ? ALARM : ACCENT, 0.5));
    text_fit(c, SMALL, bar.x + pt(c, 6), bar.y + pt(c, 2), bar.w - pt(c, 10), TEXT, words);
    free(words);
}

static void io_card(View *v, SDL_Rect r, const Object *o, Look l) {
    Canvas *c = v->c;
    const Task *on[8];
    size_t n = ask_tasks_on(&v->s->now, o->id, on, sizeof on / sizeof *on);
    if (holds_unread(o)) {
        unread_row(v, (SDL_Rect) {r.x, r.y, r.w, l.row}, o);
        r.y += l.row;
    }
    if (o->unsent > 0) {
        unsent_row(v, (SDL_Rect) {r.x, r.y, r.w, l.row}, o);
        r.y += l.row;
    }
    for (size_t i = 0; i < n && i < (size_t) l.most; i++, r.y += l.row) {
        int w = text_fit(c, SMALL, r.x, r.y + pt(c, 2), r.w / 2, FAINT, on[i]->what) + pt(c, 6);
        chip(c, r.x + w, r.y, l.row - pt(c, 4), r.w - w, on[i]->state, on[i]->label);
    }
}

static int card_height(View *v, SDL_Rect r, const Object *o) {
    Canvas *c = v->c;
    Look l = look(c);
    if (ask_is_io(o->type))
        return header(v, r, o, false) + io_rows(v, o, l.most) * l.row + pt(c, 9);
    int rows = waiter_rows(o, l.most) + (o->items ? 1 : 0) + (o->holder ? 1 : 0);
    return header(v, r, o, false) + rows * l.row + (o->items ? pt(c, 6) : 0) + pt(c, 9);
}

static void queue_rows(View *v, SDL_Rect r, const Object *o, Look l) {
    Canvas *c = v->c;
    bool both = count_role(o, "putter") && count_role(o, "getter");
    int w = both ? (r.w - pt(c, 10)) / 2 : r.w * 2 / 3;
    SDL_Rect left = {r.x, r.y, w, 0}, right = {r.x + r.w - w, r.y, w, 0};
    int a = draw_line_of(v, left, o, "putter", "put", l.most, l.row);
    int b = draw_line_of(v, right, o, "getter", "get", l.most, l.row);
    r.y += (a > b ? a : b) * l.row;
    if (count_role(o, "joiner"))
        draw_line_of(v, r, o, "joiner", "join", 1, l.row);
}

static int other_rows(View *v, SDL_Rect r, const Object *o, Look l) {
    Canvas *c = v->c;
    for (size_t i = 0; o->waiters && i < o->waiters->n && i < (size_t) l.most; i++, r.y += l.row) {
        const Entry *e = &o->waiters->at[i];
        const Task *t = model_task(&v->s->now, e->number);
        if (i + 1 == (size_t) l.most && o->waiters->n > i + 1) {
            text_fmt(c, SMALL, r.x, r.y, r.w, DIM, "… %zu more", o->waiters->n - i);
            continue;
        }
        int w = text_fmt(c, SMALL, r.x, r.y + pt(c, 2), pt(c, 90), FAINT, "%zu %s", i + 1, e->text) + pt(c, 6);
        chip(c, r.x + w, r.y, l.row - pt(c, 4), r.w - w, t ? t->state : ST_WAITING, t ? t->label : "?");
    }
    return r.y;
}

static void card(View *v, SDL_Rect r, const Object *o) {
    Canvas *c = v->c;
    Look l = look(c);
    r.y += header(v, r, o, true);
    if (ask_is_io(o->type)) {
        io_card(v, r, o, l);
        return;
    }
    if (o->items) {
        draw_cells(v, (SDL_Rect) {r.x, r.y, r.w, l.row + pt(c, 2)}, o);
        r.y += l.row + pt(c, 6);
    }
    if (o->holder) {
        const Task *t = model_task(&v->s->now, o->holder);
        int w = text_fit(c, SMALL, r.x, r.y + pt(c, 2), r.w, FAINT, "held by") + pt(c, 6);
        chip(c, r.x + w, r.y, l.row - pt(c, 4), r.w - w, t ? t->state : ST_NONE, ask_label(&v->s->now, o->holder));
        r.y += l.row;
    }
    if (is_queue(o))
        queue_rows(v, r, o, l);
    else
        other_rows(v, r, o, l);
}

/* What holds something comes first; gathers and timeouts, which only watch over tasks, after that. */
static bool is_keeper(const Object *o) {
    return !o->children && strcmp(o->type, "Timeout") && strcmp(o->type, "Future") && strcmp(o->type, "shield");
}

/* What is closed or has ended is still held by somebody, but nothing happens to it any more. */
static bool is_over(const Object *o) {
    return ask_is_io(o->type) && (!strncmp(o->state, "closed", 6) || !strncmp(o->state, "ended", 5));
}

/* 0: what this step is about, if otherwise it might be out of sight; 1: what holds something; 2: the rest. */
static int rank(const View *v, const Object *o, bool crowded) {
    return crowded && o->changed == v->s->now.k ? 0 : is_keeper(o) && !is_over(o) ? 1 : 2;
}

typedef struct Stack {
    SDL_Rect in;
    int y, skip;
    size_t done;
    bool full, crowded;
} Stack;

static bool is_crowded(View *v, SDL_Rect in) {
    const Object *o;
    int height = 0;
    for (uint64_t k = 0; height <= in.h && (o = pmap_from(&v->s->now.objects, &k)); k++)
        height += card_height(v, in, o);
    return height > in.h;
}

static void stack_cards(View *v, Stack *s, int wanted) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    const Object *o;
    int bottom = s->in.y + s->in.h;
    for (uint64_t k = 0; !s->full && (o = pmap_from(&m->objects, &k)); k++) {
        if (rank(v, o, s->crowded) != wanted)
            continue;
        if (s->skip > 0) {
            s->skip--;
            s->done++;
            continue;
        }
        int h = card_height(v, s->in, o), rest = m->objects.count > s->done + 1 ? pt(c, 18) : 0;
        if (s->y + h > bottom - rest + pt(c, 9) && s->y > s->in.y) {
            more_row(v, s->in.x, bottom - pt(c, 18), s->in.w, m->objects.count - s->done, "(wheel)");
            s->full = true;
            return;
        }
        if (s->y > s->in.y)
            fill(c, (SDL_Rect) {s->in.x, s->y - pt(c, 5), s->in.w, 1}, EDGE);
        clip_push(c, (SDL_Rect) {s->in.x, s->y, s->in.w, bottom - rest - s->y});
        card(v, (SDL_Rect) {s->in.x, s->y, s->in.w, h}, o);
        clip_pop(c);
        s->y += h;
        s->done++;
    }
}

void draw_objects(View *v, SDL_Rect r) {
    const Model *m = &v->s->now;
    char note[40] = "";
    if (m->objects.count)
        snprintf(note, sizeof note, "%zu", m->objects.count);
    SDL_Rect in = pane_box(v, P_OBJECTS, r, "Primitives", note);
    pane_scroll(v, P_OBJECTS, (int) m->objects.count, 1);
    if (!m->objects.count)
        text_wrap(v->c, NORMAL, in, 3, FAINT, "No queue, lock, event or group of tasks exists.");
    Stack s = {.in = in, .y = in.y, .skip = v->scroll[P_OBJECTS], .crowded = is_crowded(v, in)};
    clip_push(v->c, in);
    for (int wanted = 0; wanted <= 2; wanted++)
        stack_cards(v, &s, wanted);
    clip_pop(v->c);
}
