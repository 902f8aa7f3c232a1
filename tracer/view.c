/* view.c: the layout, and what the panes share. */
#include "view.h"

#include <stdlib.h>
#include <string.h>

const Style TITLE = {BOLD, 13}, SMALL = {SANS, 13}, NORMAL = {SANS, 15}, STRONG = {BOLD, 15}, CODE = {MONO, 15},
            CODE_BOLD = {MONO_BOLD, 15}, NOTE = {SANS, 17}, LARGE = {BOLD, 22}, HUGE_ = {BOLD, 30};

void view_init(View *v, Canvas *c, Session *s) {
    *v = (View) {.c = c, .s = s, .zoom = 1, .step_width = 12, .focus = P_SOURCE, .low = P_LANES, .shown_file = ""};
}

void view_free(View *v) {
    said_free(&v->said);
    sources_free(&v->sources);
    vec_free(v->lane_rows);
    vec_free(v->alive);
    buf_free(&v->words);
}

SDL_Rect pane_box(View *v, Pane which, SDL_Rect r, const char *title, const char *note) {
    Canvas *c = v->c;
    bool focus = v->focus == which;
    v->at[which] = r;
    round_frame(c, r, pt(c, 6), PANEL, focus ? mix(EDGE, ACCENT, 0.55) : EDGE, pt(c, 1) > 0 ? pt(c, 1) : 1);
    int x = r.x + pt(c, 12), y = r.y + pt(c, 7), room = r.w - pt(c, 24);
    int w = text_fit(c, TITLE, x, y, room, focus ? ACCENT : DIM, title);
    if (note && *note)
        text_fit(c, SMALL, x + w + pt(c, 10), y, room - w - pt(c, 10), FAINT, note);
    int top = y + text_height(c, TITLE) + pt(c, 5);
    int width = r.w - pt(c, 24), height = r.y + r.h - top - pt(c, 8);
    return (SDL_Rect) {r.x + pt(c, 12), top, width > 0 ? width : 0, height > 0 ? height : 0};
}

int chip_width(Canvas *c, int h, int room, const char *label) {
    int w = h + text_width(c, SMALL, label, -1) + pt(c, 9);
    return w < room ? w : room;
}

int chip(Canvas *c, int x, int y, int h, int room, State state, const char *label) {
    int w = chip_width(c, h, room, label), size = h * 6 / 10, ty = y + (h - text_height(c, SMALL)) / 2;
    if (w < h + pt(c, 8))
        return 0;
    SDL_Color color = state_color(state), ink = state_ink(state);
    if (state == ST_CANCELLED || state == ST_DONE)
        round_frame(c, (SDL_Rect) {x, y, w, h}, pt(c, 4), PANEL, color, pt(c, 1.5)), ink = TEXT;
    else
        round_fill(c, (SDL_Rect) {x, y, w, h}, pt(c, 4), color);
    icon(c, state_icon(state), x + (h - size) / 2, y + (h - size) / 2, size, ink);
    text_fit(c, SMALL, x + h, ty, w - h - pt(c, 6), ink, label);
    return w;
}

void more_row(View *v, int x, int y, int room, size_t n, const char *what) {
    text_fmt(v->c, SMALL, x, y, room, DIM, "… %zu more %s", n, what);
}

void pane_scroll(View *v, Pane which, int rows, int seen) {
    v->rows[which] = rows;
    v->seen[which] = seen;
    int most = rows > seen ? rows - seen : 0;
    if (v->scroll[which] > most)
        v->scroll[which] = most;
    if (v->scroll[which] < 0)
        v->scroll[which] = 0;
}

size_t children_left(View *v, const Object *o) {
    const Model *m = &v->s->now;
    if (v->left_of == o->id && v->left_step == m->k)
        return v->left;
    v->left_of = o->id;
    v->left_step = m->k;
    v->left = 0;
    for (size_t i = 0; o->children && i < o->children->n; i++)
        v->left += ask_child_left(m, o->children->at[i].number);
    return v->left;
}

static void note_alive(View *v) {
    const Task *t;
    v->alive.n = 0;
    for (uint64_t k = 0; (t = pmap_from(&v->s->now.tasks, &k)); k++)
        if (!state_over(t->state))
            vec_push(v->alive, t);
}

State event_state(const View *v, uint64_t *task) {
    const Model *m = &v->s->now;
    const Event *e = m->k ? log_step(&v->s->history.log, m->k) : NULL;
    *task = e && e->task ? e->task : m->running;
    const Task *t = model_task(m, *task);
    return t ? t->state : ST_NONE;
}

/* ---- layout ---- */

typedef void Draw(View *, SDL_Rect);

static Draw *const draws[PANES] = {NULL, draw_source, draw_output, draw_tick, draw_lanes, draw_queues, draw_objects,
                                   draw_graph};

/* The lower right: three panes side by side. */
static void draw_low(View *v, SDL_Rect r, int gap) {
    int first = r.w * 28 / 100, second = r.w * 37 / 100;
    draw_queues(v, (SDL_Rect) {r.x, r.y, first, r.h});
    draw_objects(v, (SDL_Rect) {r.x + first + gap, r.y, second, r.h});
    draw_graph(v, (SDL_Rect) {r.x + first + second + 2 * gap, r.y, r.w - first - second - 2 * gap, r.h});
}

/* One of the lanes and those three, under a row of their names to click at: the one with the keyboard's focus, or that had
 * it last. */
static void draw_tabs(View *v, SDL_Rect r) {
    static const char *const names[PANES] = {[P_LANES] = "Tasks", [P_QUEUES] = "Queue, timers", [P_OBJECTS] = "Primitives",
                                             [P_GRAPH] = "Who waits"};
    Canvas *c = v->c;
    int h = pt(c, 24), x = r.x, gap = pt(c, 6);
    if (v->focus >= P_LANES)
        v->low = v->focus;
    for (Pane p = P_LANES; p < PANES; p++) {
        int w = text_width(c, SMALL, names[p], -1) + pt(c, 14);
        SDL_Rect spot = {x, r.y, w, h};
        round_fill(c, spot, pt(c, 4), p == v->low ? mix(PANEL, ACCENT, 0.35) : PANEL);
        text(c, SMALL, x + pt(c, 7), r.y + (h - text_height(c, SMALL)) / 2, p == v->low ? TEXT : DIM, names[p], -1);
        v->tab[p] = spot;
        x += w + gap;
    }
    draws[v->low](v, (SDL_Rect) {r.x, r.y + h + gap, r.w, r.h - h - gap});
}

/* Left the source and the output, right the rest. Where the window is small or letters are large, there is room for one
 * pane only at the lower right. */
static void draw_panes(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    int gap = pt(c, 8);
    int left = (r.w - gap) * 44 / 100, right = r.w - gap - left, x = r.x + left + gap;
    int output = r.h * 25 / 100, tick = pt(c, 86), rest = r.h - tick - gap, y = r.y + tick + gap, lanes = (rest - gap) / 2;
    draw_source(v, (SDL_Rect) {r.x, r.y, left, r.h - output - gap});
    draw_output(v, (SDL_Rect) {r.x, r.y + r.h - output, left, output});
    draw_tick(v, (SDL_Rect) {x, r.y, right, tick});
    if (rest <= pt(c, 348)) {
        draw_tabs(v, (SDL_Rect) {x, y, right, rest});
        return;
    }
    draw_lanes(v, (SDL_Rect) {x, y, right, lanes});
    draw_low(v, (SDL_Rect) {x, y + lanes + gap, right, rest - gap - lanes}, gap);
}

/* One pane alone is for those who sit at the back: larger letters, as far as there is room. */
static void draw_alone(View *v, SDL_Rect r) {
    double scale = v->c->scale;
    v->c->scale *= v->big == P_TICK ? 1.75 : 1.45;
    if (v->big == P_TICK)
        r.h = pt(v->c, 90);
    draws[v->big](v, r);
    v->c->scale = scale;
}

void view_draw(View *v) {
    Canvas *c = v->c;
    double fit = c->w / 1280.0 < c->h / 800.0 ? c->w / 1280.0 : c->h / 800.0;
    c->scale = (fit < 0.9 ? 0.9 : fit) * v->zoom;
    memset(v->at, 0, sizeof v->at);
    memset(v->tab, 0, sizeof v->tab);
    v->tracks = v->overview = (SDL_Rect) {0};
    narrate(&v->said, &v->s->now, &v->s->history.log);
    note_alive(v);
    fill(c, (SDL_Rect) {0, 0, c->w, c->h}, BACK);
    int gap = pt(c, 8), top = pt(c, 44), say = pt(c, c->h < pt(c, 700) ? 92 : 112), scrub = pt(c, 26);
    draw_top(v, (SDL_Rect) {0, 0, c->w, top});
    draw_say(v, (SDL_Rect) {gap, top + gap, c->w - 2 * gap, say});
    SDL_Rect rest = {gap, top + say + 2 * gap, c->w - 2 * gap, c->h - top - say - scrub - 3 * gap};
    if (v->big)
        draw_alone(v, rest);
    else
        draw_panes(v, rest);
    draw_scrub(v, (SDL_Rect) {gap, c->h - scrub, c->w - 2 * gap, scrub});
    if (v->help)
        draw_help(v);
    SDL_RenderPresent(c->r);
}
