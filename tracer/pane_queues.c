/* pane_queues.c: the ready queue, front first, and the timers, next first. */
#include <stdio.h>
#include <string.h>

#include "view.h"

enum { MOST = 256 };

static bool is_step(const Handle *h) {
    return h->task && (!strcmp(h->what, "step") || !strcmp(h->what, "wakeup"));
}

/* A callback of the loop's own stands under the name of whom it is about. */
static void callback_row(View *v, SDL_Rect r, const Handle *h) {
    Canvas *c = v->c;
    const Object *of = model_object(&v->s->now, h->of);
    SDL_Color color = h->cancelled ? FAINT : TEXT;
    if (!of) {
        text_fit(c, NORMAL, r.x, r.y + pt(c, 1), r.w, color, h->what);
        return;
    }
    int w = text_fit(c, NORMAL, r.x, r.y + pt(c, 1), r.w, color, of->label) + pt(c, 6);
    if (r.w - w > pt(c, 30))
        text_fit(c, SMALL, r.x + w, r.y + pt(c, 3), r.w - w, FAINT, h->what);
}

static void ready_row(View *v, SDL_Rect r, int place, const Handle *h) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    const Task *t = model_task(m, h->task);
    int w = text_fmt(c, SMALL, r.x, r.y + pt(c, 3), pt(c, 40), FAINT, "%d", place), gap = pt(c, 22);
    (void) w;
    if (is_step(h) && t)
        w = chip(c, r.x + gap, r.y, r.h - pt(c, 4), r.w - gap, h->cancelled ? ST_CANCELLED : ST_READY, t->label);
    else
        callback_row(v, (SDL_Rect) {r.x + gap, r.y, r.w - gap, r.h}, h);
    int left = r.w - gap - w - pt(c, 8);
    if (is_step(h) && t && h->cancelled && left > pt(c, 30))
        text_fit(c, SMALL, r.x + r.w - left, r.y + pt(c, 3), left, FAINT, "cancelled");
}

static void draw_ready(View *v, SDL_Rect in, int rows, int height) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    size_t n = model_ready(m);
    const Handle *h;
    int row = 0, place = 1, skip = v->scroll[P_QUEUES];
    if (!n)
        text_fit(c, NORMAL, in.x, in.y, in.w, FAINT, "empty");
    for (uint64_t k = m->head; n && row < rows && (h = pmap_from(&m->ready, &k)); k++, place++) {
        if (skip > 0) {
            skip--;
            continue;
        }
        if (row == rows - 1 && n - place > 0) {
            more_row(v, in.x, in.y + row * height, in.w, n - place + 1, "in the queue");
            return;
        }
        ready_row(v, (SDL_Rect) {in.x, in.y + row++ * height, in.w, height}, place, h);
    }
}

typedef struct TimerText {
    char when[32], what[128], whose[128];
    int at;                                       /* where the text begins, after the time */
    bool sleeps, two_lines;
} TimerText;

/* Whose timer it is stands below what it is for, if both are too long for one line. */
static TimerText timer_text(View *v, int room, const Timer *t) {
    Canvas *c = v->c;
    const Task *task = model_task(&v->s->now, t->task);
    TimerText text = {.sleeps = task && task->timer == t->id && task->state == ST_SLEEPING};
    snprintf(text.when, sizeof text.when, "+%.3f", t->when);
    snprintf(text.what, sizeof text.what, "%s%s", t->what, task ? " " : "");
    snprintf(text.whose, sizeof text.whose, "%s%s", task ? "of " : "", task ? task->label : "");
    text.at = text_width(c, CODE, text.when, -1) + pt(c, 8);
    int together = text_width(c, SMALL, text.what, -1) + text_width(c, SMALL, text.whose, -1);
    text.two_lines = !text.sleeps && task && together > room - text.at;
    return text;
}

/* Returns how many rows it took. */
static int timer_row(View *v, SDL_Rect r, const Timer *t, bool may_break) {
    Canvas *c = v->c;
    TimerText text = timer_text(v, r.w, t);
    int x = r.x + text.at, room = r.w - text.at, y = r.y + pt(c, 1);
    bool breaks = text.two_lines && may_break;
    text_fit(c, CODE, r.x, r.y, r.w, TEXT, text.when);
    if (text.sleeps)
        chip(c, x, r.y, r.h - pt(c, 4), room, ST_SLEEPING, model_task(&v->s->now, t->task)->label);
    else if (breaks) {
        text_fit(c, SMALL, x, y, room, DIM, text.what);
        text_fit(c, SMALL, x, y + r.h - pt(c, 6), room, DIM, text.whose);
    } else
        text_fmt(c, SMALL, x, y, room, DIM, "%s%s", text.what, text.whose);
    return breaks ? 2 : 1;
}

/* Is there room for all, each on as many lines as it wants? */
static bool all_fit(View *v, const Timer **timers, size_t n, int room, size_t rows) {
    size_t lines = n;
    for (size_t i = 0; i < n && lines <= rows; i++)
        lines += timer_text(v, room, timers[i]).two_lines;
    return lines <= rows;
}

static void draw_timers(View *v, SDL_Rect in, int rows, int height) {
    const Timer *timers[MOST];
    size_t total, skip = v->scroll[P_QUEUES];
    size_t n = ask_timers(&v->s->now, timers, MOST, &total);
    if (!n)
        text_fit(v->c, NORMAL, in.x, in.y, in.w, FAINT, "none armed");
    bool may_break = all_fit(v, timers, n, in.w, rows);
    skip = skip + rows > n ? n > (size_t) rows ? n - rows : 0 : skip;
    for (int row = 0; row < rows && skip < n; skip++) {
        SDL_Rect r = {in.x, in.y + row * height, in.w, height};
        if (row == rows - 1 && total - skip > 1) {
            more_row(v, r.x, r.y, r.w, total - skip, "timers");
            return;
        }
        row += timer_row(v, r, timers[skip], may_break);
    }
}

/* One above the other, or side by side where that would leave next to nothing of each. */
static void split(View *v, SDL_Rect r, SDL_Rect *ready, SDL_Rect *timers) {
    Canvas *c = v->c;
    int gap = pt(c, 8), low = (r.h - gap) * 48 / 100, left = (r.w - gap) * 42 / 100;
    if (r.h >= pt(c, 160)) {
        *ready = (SDL_Rect) {r.x, r.y, r.w, r.h - gap - low};
        *timers = (SDL_Rect) {r.x, r.y + r.h - low, r.w, low};
    } else {
        *ready = (SDL_Rect) {r.x, r.y, left, r.h};
        *timers = (SDL_Rect) {r.x + left + gap, r.y, r.w - left - gap, r.h};
    }
}

void draw_queues(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    int height = pt(c, 26);
    SDL_Rect upper, lower;
    split(v, r, &upper, &lower);
    char note[40] = "";
    if (model_ready(m))
        snprintf(note, sizeof note, "%zu", model_ready(m));
    SDL_Rect in = pane_box(v, P_QUEUES, upper, "Ready queue", note);
    pane_scroll(v, P_QUEUES, (int) (model_ready(m) > m->timers.count ? model_ready(m) : m->timers.count), in.h / height);
    clip_push(c, in);
    draw_ready(v, in, in.h / height, height);
    clip_pop(c);
    snprintf(note, sizeof note, m->timers.count ? "%zu" : "%.0zu", m->timers.count);
    in = pane_box(v, P_QUEUES, lower, "Timer heap", note);
    clip_push(c, in);
    draw_timers(v, in, in.h / height, height);
    clip_pop(c);
    v->at[P_QUEUES] = r;
}
