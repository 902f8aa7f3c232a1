/* pane_tick.c: one turn of the loop as a diagram: select, timers due, ready queue, run, and around again. */
#include <stdio.h>
#include <string.h>

#include "view.h"

static void detail_select(const Model *m, Buf *b) {
    if (m->in_select && m->select_timeout < 0) {
        buf_str(b, "sleeps, no limit");
    } else if (m->in_select && m->select_timeout == 0) {
        buf_str(b, "only peeks");
    } else if (m->in_select) {
        buf_str(b, "sleeps ");
        say_seconds(b, m->select_timeout);
    }
    if (m->watches.count)
        buf_fmt(b, "%s%zu fd%s", b->len ? ", " : "watches ", m->watches.count, m->watches.count == 1 ? "" : "s");
    else if (!b->len)
        buf_str(b, "wait for the world");
}

static void detail_timers(const Model *m, Buf *b) {
    const Timer *t;
    size_t total;
    if (!ask_timers(m, &t, 1, &total)) {
        buf_str(b, "none armed");
        return;
    }
    buf_fmt(b, "%zu, next +%.3f", total, t->when);
}

/* For boxes that are too narrow for the whole of it. */
static void detail_short(const Model *m, int stage, Buf *b) {
    if (stage == 0)
        buf_str(b, m->in_select ? "sleeps" : "");
    else if (stage == 1)
        buf_fmt(b, "%zu armed", m->timers.count);
    else if (stage == 2)
        buf_fmt(b, "%zu", model_ready(m));
    else
        buf_str(b, m->running || m->handle || m->batch ? "" : "idle");
}

static void detail_run(const Model *m, Buf *b) {
    if (m->running)
        buf_str(b, ask_label(m, m->running));
    else if (m->handle)
        buf_str(b, m->handle_task                  ? ask_label(m, m->handle_task)
                   : model_object(m, m->handle_of) ? ask_label(m, m->handle_of)
                                                   : m->handle_what);
    else if (m->batch)
        buf_fmt(b, "%llu to go", (unsigned long long) m->batch);
    else
        buf_str(b, "nothing runs");
}

static void stage(View *v, SDL_Rect r, const char *name, const char *detail, bool lit) {
    Canvas *c = v->c;
    SDL_Color ink = lit ? RGB(0x0C1116) : TEXT;
    round_frame(c, r, pt(c, 5), lit ? ACCENT : RAISED, lit ? ACCENT : EDGE, pt(c, 1));
    text_fit(c, STRONG, r.x + pt(c, 9), r.y + pt(c, 4), r.w - pt(c, 14), ink, name);
    text_fit(c, SMALL, r.x + pt(c, 9), r.y + pt(c, 4) + text_height(c, STRONG), r.w - pt(c, 14), lit ? ink : DIM, detail);
}

/* The way back from run to select: under the boxes. */
static void back_arrow(Canvas *c, SDL_Rect in, int low, int box) {
    int y = low + pt(c, 9), left = in.x + box / 2, right = in.x + in.w - box / 2, thick = pt(c, 2), size = pt(c, 14);
    fill(c, (SDL_Rect) {left, y, right - left, thick}, FAINT);
    fill(c, (SDL_Rect) {right - thick, low, thick, y - low}, FAINT);
    fill(c, (SDL_Rect) {left, low + pt(c, 3), thick, y - low - pt(c, 2)}, FAINT);
    SDL_Rect head = {left - size / 2 + thick / 2, low, size, size / 2};
    for (int i = 0; i < head.h; i++)
        fill(c, (SDL_Rect) {head.x + head.w / 2 - i, head.y + i, 2 * i + 1, 1}, FAINT);
}

/* As large as there is room for: in a long run its digits are many. */
static void draw_number(Canvas *c, int x, int y, int room, uint64_t number) {
    char digits[24];
    Style style = LARGE;
    snprintf(digits, sizeof digits, "%llu", (unsigned long long) number);
    while (style.size > 9 && text_width(c, style, digits, -1) > room)
        style.size--;
    text(c, style, x, y + (text_height(c, LARGE) - text_height(c, style)) / 2, TEXT, digits, -1);
}

void draw_tick(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    static const char *const names[2][4] = {{"select()", "timers due", "ready queue", "run"},
                                            {"select", "timers", "ready", "run"}};
    static const Phase phases[4] = {PH_SELECT, PH_TIMERS, PH_READY, PH_RUN};
    Buf details[4] = {{0}}, shorter = {0};
    detail_select(m, &details[0]);
    detail_timers(m, &details[1]);
    buf_fmt(&details[2], "%zu ready", model_ready(m));
    detail_run(m, &details[3]);
    v->at[P_TICK] = r;
    round_frame(c, r, pt(c, 6), PANEL, v->focus == P_TICK ? mix(EDGE, ACCENT, 0.55) : EDGE, 1);
    int gap = pt(c, 24), title = pt(c, 62);
    SDL_Rect in = {r.x + pt(c, 12) + title, r.y + pt(c, 9), r.w - pt(c, 24) - title, r.h - pt(c, 18)};
    text_fit(c, TITLE, r.x + pt(c, 12), r.y + pt(c, 12), title, DIM, "Tick");
    draw_number(c, r.x + pt(c, 12), r.y + pt(c, 12) + text_height(c, TITLE), title - pt(c, 4), m->tick);
    int box = (in.w - 3 * gap) / 4, h = in.h - pt(c, 14), size = pt(c, 18);
    for (int i = 0; i < 4; i++) {
        SDL_Rect b = {in.x + i * (box + gap), in.y, box, h};
        buf_clear(&shorter);
        detail_short(m, i, &shorter);
        if (text_width(c, SMALL, buf_text(&details[i]), -1) > box - pt(c, 14) && (i < 3 || shorter.len)) {
            buf_clear(&details[i]);
            buf_str(&details[i], buf_text(&shorter));
        }
        stage(v, b, names[box < pt(c, 124)][i], buf_text(&details[i]), m->phase == phases[i] || (i == 0 && m->phase == PH_BEGIN));
        if (i < 3)
            icon(c, ICON_ARROW_RIGHT, b.x + box + (gap - size) / 2, b.y + (h - size) / 2, size, FAINT);
        buf_free(&details[i]);
    }
    buf_free(&shorter);
    back_arrow(c, in, in.y + h, box);
}
