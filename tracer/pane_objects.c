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
static int draw_line_of(View *v, SDL_Rect r, const Object *o, const char *role, int most, int height) {
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
        int w = text_fmt(c, SMALL, r.x, y + pt(c, 2), r.w, FAINT, "%zu", place) + pt(c, 5);
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
    return (a > b ? a : b) + (a || b ? 1 : 0) + (count_role(o, "joiner") ? 1 : 0);
}

static int card_height(Canvas *c, const Object *o) {
    Look l = look(c);
    int rows = waiter_rows(o, l.most) + (o->items ? 1 : 0) + (o->children && o->children->n ? 1 : 0) +
               (o->holder ? 1 : 0);
    return pt(c, 41) + rows * l.row + (o->items ? pt(c, 6) : 0) + pt(c, 8);
}

static int queue_rows(View *v, SDL_Rect r, const Object *o, Look l) {
    Canvas *c = v->c;
    int y = r.y, half = (r.w - pt(c, 10)) / 2;
    size_t putters = count_role(o, "putter"), getters = count_role(o, "getter"), joiners = count_role(o, "joiner");
    SDL_Rect left = {r.x, y, half, 0}, right = {r.x + r.w - half, y, half, 0};
    if (putters || getters) {
        if (putters)
            text_fit(c, SMALL, left.x, y, half, FAINT, "putters ↑");
        if (getters)
            text_fit(c, SMALL, right.x, y, half, FAINT, "↑ getters");
        left.y = right.y = y += l.row;
        int a = draw_line_of(v, left, o, "putter", l.most, l.row), b = draw_line_of(v, right, o, "getter", l.most, l.row);
        y += (a > b ? a : b) * l.row;
    }
    if (joiners) {
        int w = text_fit(c, SMALL, r.x, y + pt(c, 2), half, FAINT, "join()") + pt(c, 6);
        draw_line_of(v, (SDL_Rect) {r.x + w, y, r.w - w, 0}, o, "joiner", 1, l.row);
    }
    return y;
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

static void header(View *v, SDL_Rect r, const Object *o, bool fresh) {
    Canvas *c = v->c;
    Buf note = {0};
    buf_str(&note, o->state);
    if (o->maxsize > 0)
        buf_fmt(&note, ", room for %.0f", o->maxsize);
    if (o->unfinished >= 0)
        buf_fmt(&note, ", %.0f unfinished", o->unfinished);
    if (o->deadline >= 0)
        buf_fmt(&note, " until +%.3f", o->deadline);
    text_fit(c, STRONG, r.x, r.y, r.w, fresh ? ACCENT : TEXT, *o->label ? o->label : o->type);
    text_fit(c, SMALL, r.x, r.y + pt(c, 20), r.w, fresh ? TEXT : DIM, buf_text(&note));
    buf_free(&note);
}

static void family(View *v, SDL_Rect r, const Object *o) {
    size_t left = 0;
    for (size_t i = 0; i < o->children->n; i++) {
        const Task *t = model_task(&v->s->now, o->children->at[i].number);
        left += !t || !state_over(t->state);
    }
    text_fmt(v->c, SMALL, r.x, r.y + pt(v->c, 2), r.w, DIM, "%zu of %zu children unfinished", left, o->children->n);
}

static void card(View *v, SDL_Rect r, const Object *o) {
    Canvas *c = v->c;
    Look l = look(c);
    bool fresh = o->changed == v->s->now.k;
    header(v, r, o, fresh);
    r.y += pt(c, 41);
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
    if (o->children && o->children->n) {
        family(v, r, o);
        r.y += l.row;
    }
    if (is_queue(o))
        queue_rows(v, r, o, l);
    else
        other_rows(v, r, o, l);
}

void draw_objects(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    const Object *o;
    char note[40] = "";
    if (m->objects.count)
        snprintf(note, sizeof note, "%zu", m->objects.count);
    SDL_Rect in = pane_box(v, P_OBJECTS, r, "Primitives", note);
    pane_scroll(v, P_OBJECTS, (int) m->objects.count, 1);
    int y = in.y, skip = v->scroll[P_OBJECTS], bottom = in.y + in.h;
    size_t shown = skip;
    if (!m->objects.count)
        text_wrap(c, NORMAL, in, 3, FAINT, "No queue, lock, event or group of tasks exists.");
    clip_push(c, in);
    for (uint64_t k = 0; (o = pmap_from(&m->objects, &k)); k++) {
        if (skip-- > 0)
            continue;
        int h = card_height(c, o), rest = m->objects.count > shown + 1 ? pt(c, 18) : 0;
        if (y + h > bottom - rest && y > in.y) {
            more_row(v, in.x, bottom - pt(c, 18), in.w, m->objects.count - shown, "(wheel)");
            break;
        }
        card(v, (SDL_Rect) {in.x, y, in.w, h}, o);
        y += h;
        shown++;
        if (y < bottom - pt(c, 10))
            fill(c, (SDL_Rect) {in.x, y - pt(c, 5), in.w, 1}, EDGE);
    }
    clip_pop(c);
}
