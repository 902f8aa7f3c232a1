/* pane_lanes.c: one lane per task over time.
 *
 * By default every step is equally wide, so that what the loop does in twelve microseconds can be seen beside a sleep of
 * an hour; `t` makes the axis proportional to time instead.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

typedef struct Axis {
    SDL_Rect r;
    size_t first, last;                           /* the steps shown: last is not beyond the cursor */
    double width;                                 /* of a step, in pixels */
    double t0, t1;                                /* by time: seconds at the edges */
    bool by_time;
} Axis;

static double step_ts(const View *v, size_t k) {
    const Log *log = &v->s->history.log;
    if (!k)
        return 0;
    return k <= log_count(log) ? log_step(log, k)->ts : log_count(log) ? log_step(log, log_count(log))->ts : 0;
}

/* The first step that is not before that time, or `last`. */
static size_t step_at(const View *v, double ts, size_t last) {
    size_t low = 0;
    while (low < last) {
        size_t middle = (low + last) / 2;
        if (step_ts(v, middle) < ts)
            low = middle + 1;
        else
            last = middle;
    }
    return low;
}

static int axis_x(const View *v, const Axis *a, size_t step) {
    double x = a->by_time ? (step_ts(v, step) - a->t0) / (a->t1 - a->t0) * a->r.w : ((double) step - (double) a->first) *
               a->width;
    x = x < 0 ? 0 : x > a->r.w ? a->r.w : x;
    return a->r.x + (int) x;
}

static Axis make_axis(View *v, SDL_Rect r) {
    size_t k = v->s->now.k;
    Axis a = {.r = r, .width = v->step_width * v->c->scale, .by_time = v->by_time};
    size_t fit = (size_t) (r.w / a.width), ahead = fit / 8;
    a.first = k + ahead > fit ? k + ahead - fit : 0;
    a.last = k;
    if (a.by_time) {
        double span = r.w / (v->step_width * v->c->scale) * 0.02, now = step_ts(v, k);
        a.t1 = now + span / 8;
        a.t0 = a.t1 - span;
        if (a.t0 < 0)
            a.t1 -= a.t0, a.t0 = 0;
        a.first = step_at(v, a.t0, k);
    }
    v->first_step = a.first;
    v->step_px = a.width;
    return a;
}

/* ---- which lanes? ---- */

/* All tasks if they fit; otherwise those that were alive in the steps shown. */
static void choose_lanes(View *v, const Axis *a, int rows) {
    const Lanes *lanes = &v->s->history.lanes;
    size_t born = 0;
    v->lane_rows.n = 0;
    while (born < lanes->at.n && lanes->at.at[born].turns.at[0].step <= v->s->now.k)
        born++;
    for (size_t i = 0; i < born; i++)
        if (born <= (size_t) rows || lane_alive(&lanes->at.at[i], a->first, a->last))
            vec_push(v->lane_rows, i);
}

/* Keeps the lane of the current step's task in sight, unless the user has scrolled. */
static void follow(View *v, int rows) {
    uint64_t task = v->chosen_task;
    if (!task)
        event_state(v, &task);
    int n = (int) v->lane_rows.n, first = (int) v->first_lane;
    for (int i = 0; task && i < n; i++) {
        if (v->s->history.lanes.at.at[v->lane_rows.at[i]].task != task)
            continue;
        if (i < first)
            first = i;
        if (i >= first + rows)
            first = i - rows + 1;
    }
    first += v->scroll[P_LANES];
    first = first > n - rows ? n - rows : first;
    v->first_lane = first < 0 ? 0 : first;
    v->scroll[P_LANES] = 0;
    v->rows[P_LANES] = n;
    v->seen[P_LANES] = rows;
}

/* ---- drawing ---- */

static void draw_span(View *v, const Axis *a, int y, int h, size_t from, size_t to, State state) {
    Canvas *c = v->c;
    int x0 = axis_x(v, a, from), x1 = axis_x(v, a, to);
    int low = state == ST_RUNNING ? 0 : state_over(state) ? h * 2 / 5 : h / 6;
    if (x1 - x0 < 1)
        x1 = x0 + 1;
    SDL_Rect bar = {x0, y + low, x1 - x0, h - 2 * low};
    pattern(c, bar, state);
    int size = h * 6 / 10;
    if (bar.w >= size + pt(c, 6) && !state_over(state)) {
        SDL_Color back = state_color(state);
        SDL_Rect spot = {x0 + pt(c, 2), y + (h - size) / 2 - pt(c, 1), size + pt(c, 2), size + pt(c, 2)};
        round_fill(c, spot, pt(c, 3), back);
        icon(c, state_icon(state), spot.x + pt(c, 1), spot.y + pt(c, 1), size, state_ink(state));
    }
}

/* The step that a column of pixels stands for: beyond a->last if it is in the future. */
static size_t column_step(const View *v, const Axis *a, int x) {
    if (!a->by_time)
        return a->first + (size_t) ((x + 0.5) / a->width);
    double ts = a->t0 + (x + 0.5) / a->r.w * (a->t1 - a->t0);
    size_t next = step_at(v, ts, a->last + 1);
    return next > a->last && ts > step_ts(v, a->last) ? a->last + 1 : next ? next - 1 : 0;
}

/* So far out that many turns share a pixel: one column per pixel, the state in its middle. */
static void draw_dense(View *v, const Axis *a, const Lane *lane, int y, int h) {
    for (int x = 0; x < a->r.w; x++) {
        size_t step = column_step(v, a, x);
        State state = step <= a->last ? lane_state(lane, step) : ST_NONE;
        int low = state == ST_RUNNING ? 0 : state_over(state) ? h * 2 / 5 : h / 6;
        if (state)
            fill(v->c, (SDL_Rect) {a->r.x + x, y + low, 1, h - 2 * low}, state_color(state));
    }
}

static void draw_track(View *v, const Axis *a, const Lane *lane, int y, int h) {
    size_t from = lane_turn(lane, a->first), to = lane_turn(lane, a->last);
    if (to - from > (size_t) a->r.w / 2) {
        draw_dense(v, a, lane, y, h);
        return;
    }
    for (size_t i = from ? from - 1 : 0; i < to; i++) {
        Turn turn = lane->turns.at[i];
        size_t end = i + 1 < to ? lane->turns.at[i + 1].step : a->last + 1;
        size_t start = turn.step > a->first ? turn.step : a->first;
        if (turn.state && end > start)
            draw_span(v, a, y, h, start, end, turn.state);
    }
}

static void draw_name(View *v, const Lane *lane, int x, int y, int room, int h) {
    Canvas *c = v->c;
    const Task *t = model_task(&v->s->now, lane->task);
    if (!t)
        return;
    int size = h * 6 / 10, ty = y + (h - text_height(c, NORMAL)) / 2;
    bool over = state_over(t->state), chosen = v->chosen_task == t->id;
    if (chosen)
        round_frame(c, (SDL_Rect) {x - pt(c, 4), y, room + pt(c, 2), h}, pt(c, 3), RAISED, DIM, 1);
    icon(c, state_icon(t->state), x, y + (h - size) / 2, size, state_color(t->state));
    text_fit(c, t->state == ST_RUNNING ? STRONG : NORMAL, x + size + pt(c, 7), ty, room - size - pt(c, 10),
             over ? FAINT : TEXT, *t->label ? t->label : "(unnamed)");
}

static void draw_ticks(View *v, const Axis *a, int top, int bottom) {
    Canvas *c = v->c;
    const uint32_t *ticks = v->s->history.ticks.at;
    int last = -1000;
    size_t n = v->s->history.ticks.n, low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ticks[middle] < a->first)
            low = middle + 1;
        else
            high = middle;
    }
    int digits = low < n && step_ts(v, a->last) - step_ts(v, ticks[low]) < 0.01 ? 5 : 3;
    int room = text_width(c, SMALL, digits == 5 ? "+00.00000" : "+00.000", -1) + pt(c, 4);
    char time[32], told[32] = "";
    for (size_t i = low; i < n && ticks[i] <= a->last; i++) {
        int x = axis_x(v, a, ticks[i]);
        if (x - last < room / 5)
            continue;
        fill(c, (SDL_Rect) {x, top, 1, bottom - top}, mix(PANEL, EDGE, 0.8));
        snprintf(time, sizeof time, "+%.*f", digits, step_ts(v, ticks[i]));
        if (x - last < room || x + room > axis_x(v, a, a->last + 1) || !strcmp(time, told))
            continue;
        text_fmt(c, SMALL, x + pt(c, 3), top, room, FAINT, "%s", time);
        strcpy(told, time);
        last = x;
    }
}

/* A wake-up: from the lane of whoever did it (or from above, the loop) down to the one that is woken. */
static int lane_y(const View *v, uint64_t task) {
    for (size_t i = v->first_lane; i < v->lane_rows.n; i++)
        if (v->s->history.lanes.at.at[v->lane_rows.at[i]].task == task)
            return v->lane_top + (int) (i - v->first_lane) * v->lane_height + v->lane_height / 2;
    return -1;
}

static void draw_wakes(View *v, const Axis *a, int bottom) {
    Canvas *c = v->c;
    if (a->last - a->first > 400)
        return;
    for (size_t k = a->first ? a->first : 1; k <= a->last; k++) {
        const Event *e = log_step(&v->s->history.log, k);
        if (e->kind != EV_TASK_WAKE && e->kind != EV_TASK_CREATE && e->kind != EV_TASK_CANCEL)
            continue;
        Open open = event_open(e);
        uint64_t by = arg_id(open.args, e->kind == EV_TASK_CREATE ? "parent" : "by");
        event_close(&open);
        int from = by ? lane_y(v, by) : v->lane_top - v->lane_height / 2, to = lane_y(v, e->task), x = axis_x(v, a, k);
        if (from < 0 || to < 0 || from == to || to > bottom || from > bottom)
            continue;
        SDL_Color color = e->kind == EV_TASK_WAKE ? TEXT : e->kind == EV_TASK_CREATE ? GOOD : ALARM;
        fill(c, (SDL_Rect) {x, from < to ? from : to, pt(c, 1.4), abs(to - from)}, color);
        int head = pt(c, 5), sign = to > from ? 1 : -1;
        for (int i = 0; i <= head; i++)
            fill(c, (SDL_Rect) {x - i + pt(c, 1) / 2, to - sign * i, 2 * i + 1, 1}, color);
    }
}

/* The legend is a count: how many tasks are in each state now. */
static void draw_counts(View *v, int x, int y, int room) {
    Canvas *c = v->c;
    for (State s = ST_RUNNING; s < ST_COUNT; s++) {
        size_t n = v->s->now.states[s];
        char label[40];
        int size = pt(c, 13);
        snprintf(label, sizeof label, "%zu %s", n, state_name(s));
        int w = size + pt(c, 5) + text_width(c, SMALL, label, -1);
        if (!n || w > room)
            continue;
        icon(c, state_icon(s), x, y + pt(c, 2), size, state_color(s));
        text(c, SMALL, x + size + pt(c, 5), y, DIM, label, -1);
        x += w + pt(c, 14);
        room -= w + pt(c, 14);
    }
}

/* ---- too many tasks to see: all of them over all steps ---- */

/* From the bottom up; what has ended lies on top. */
static void draw_column(View *v, SDL_Rect r, const Crowd *crowd, double most) {
    double low = 0;
    for (State s = ST_RUNNING; s < ST_COUNT; s++) {
        double high = low + crowd->n[s];
        int y0 = (int) (low / most * r.h + 0.5), y1 = (int) (high / most * r.h + 0.5);
        SDL_Color color = s == ST_DONE ? mix(PANEL, state_color(s), 0.5) : state_color(s);
        fill(v->c, (SDL_Rect) {r.x, r.y + r.h - y1, r.w, y1 - y0}, color);
        low = high;
    }
}

static void draw_overview(View *v, SDL_Rect in, int names, const Axis *a) {
    Canvas *c = v->c;
    const Lanes *lanes = &v->s->history.lanes;
    double steps = session_count(v->s) ? (double) session_count(v->s) : 1;
    SDL_Rect r = {in.x + names, in.y, in.w - names, in.h};
    text_fmt(c, SMALL, in.x + pt(c, 4), r.y, names - pt(c, 10), DIM, "all %zu tasks,", lanes->at.n);
    text_fit(c, SMALL, in.x + pt(c, 4), r.y + text_height(c, SMALL), names - pt(c, 10), DIM, "all steps");
    fill(c, r, BACK);
    for (int x = 0; x < r.w && lanes->crowds.n; x++) {
        size_t i = (size_t) ((x + 0.5) / r.w * steps / CROWD_EVERY);
        draw_column(v, (SDL_Rect) {r.x + x, r.y, 1, r.h}, &lanes->crowds.at[i < lanes->crowds.n ? i : lanes->crowds.n - 1],
                    (double) lanes->at.n);
    }
    int x0 = (int) ((double) a->first / steps * r.w), x1 = (int) ((double) a->last / steps * r.w);
    if (x1 - x0 > pt(c, 3))                       /* what the lanes below show of it */
        frame(c, (SDL_Rect) {r.x + x0, r.y, x1 - x0, r.h}, pt(c, 1), TEXT);
    fill(c, (SDL_Rect) {r.x + x1 - pt(c, 1), r.y - pt(c, 2), pt(c, 2), r.h + pt(c, 4)}, TEXT);
    v->overview = r;
}

/* ---- the loop's own lane: what it does between the tasks ---- */

typedef enum Doing { LOOP_NOTHING, LOOP_SELECT, LOOP_TIMERS, LOOP_CALLBACK, LOOP_TASK } Doing;

static Doing doing_after(const Event *e, Doing before) {
    switch (e->kind) {
    case EV_SELECT_ENTER: return LOOP_SELECT;
    case EV_SELECT_LEAVE: return LOOP_TIMERS;
    case EV_HANDLE_RUN: return LOOP_CALLBACK;
    case EV_TASK_RUN: return LOOP_TASK;
    case EV_TASK_WAIT: case EV_TASK_DONE: return LOOP_CALLBACK;
    case EV_HANDLE_END: case EV_TICK_RUN: case EV_TICK_BEGIN: case EV_LOOP_STOP: return LOOP_NOTHING;
    default: return before;
    }
}

static void draw_doing(View *v, const Axis *a, int y, int h, size_t from, size_t to, Doing doing) {
    static const char *const words[] = {"", "select", "timers", "callback", ""};
    Canvas *c = v->c;
    int x0 = axis_x(v, a, from), x1 = axis_x(v, a, to);
    if (doing == LOOP_NOTHING || doing == LOOP_TASK || x1 <= x0)
        return;
    SDL_Rect bar = {x0, y + h / 8, x1 - x0 - 1, h * 3 / 4};
    fill(c, bar, doing == LOOP_SELECT ? IN_SELECT : doing == LOOP_TIMERS ? AT_TIMERS : IN_CALLBACK);
    if (bar.w >= text_width(c, SMALL, words[doing], -1) + pt(c, 4))
        text(c, SMALL, x0 + pt(c, 3), y + (h - text_height(c, SMALL)) / 2, TEXT, words[doing], -1);
}

static void draw_loop_lane(View *v, const Axis *a, SDL_Rect in, int y, int h) {
    enum { FAR = 2000, BACK_AT_MOST = 20000 };
    const Log *log = &v->s->history.log;
    Canvas *c = v->c;
    int size = h * 6 / 10;
    icon(c, ICON_LOOP, in.x + pt(c, 4), y + (h - size) / 2, size, DIM);
    text_fit(c, NORMAL, in.x + pt(c, 11) + size, y + (h - text_height(c, NORMAL)) / 2, v->tracks.x - in.x - size, DIM,
             "the loop");
    if (a->last - a->first > FAR)
        return;
    Doing doing = LOOP_NOTHING;
    size_t begin = a->first > BACK_AT_MOST ? a->first - BACK_AT_MOST : 1, since = a->first;
    for (size_t k = begin; k <= a->last; k++) {
        Doing next = doing_after(log_step(log, k), doing);
        if (k >= a->first && next != doing) {
            draw_doing(v, a, y, h, since, k, doing);
            since = k;
        }
        doing = next;
    }
    draw_doing(v, a, y, h, since, a->last + 1, doing);
}

static void draw_hidden(View *v, SDL_Rect in, int rows) {
    size_t n = v->lane_rows.n, above = v->first_lane, below = n > above + rows ? n - above - rows : 0;
    if (above + below == 0 || !rows)
        return;
    text_fmt(v->c, SMALL, in.x, in.y + in.h - text_height(v->c, SMALL), in.w, DIM,
             "lanes %zu to %zu of %zu   (%zu above, %zu below: wheel or ↑ ↓)", above + 1,
             above + rows < n ? above + rows : n, n, above, below);
}

static void draw_rows(View *v, const Axis *a, int x, int names, int rows) {
    int h = v->lane_height - pt(v->c, 4);
    for (int i = 0; i < rows && v->first_lane + i < v->lane_rows.n; i++) {
        const Lane *lane = &v->s->history.lanes.at.at[v->lane_rows.at[v->first_lane + i]];
        int y = v->lane_top + i * v->lane_height;
        draw_name(v, lane, x, y, names, h);
        draw_track(v, a, lane, y, h);
    }
}

void draw_lanes(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    SDL_Rect in = pane_box(v, P_LANES, r, "Tasks", "");
    int names = in.w / 4 < pt(c, 150) ? pt(c, 150) : in.w / 5 < pt(c, 170) ? pt(c, 170) : in.w / 5, axis_h = pt(c, 19);
    draw_counts(v, r.x + pt(c, 62), r.y + pt(c, 7), r.w - pt(c, 74));
    v->lane_height = pt(c, 27);
    int strip = pt(c, 40);
    bool crowded = (int) v->s->history.lanes.at.n > 3 * ((in.h - axis_h) / v->lane_height - 1) && in.h > 5 * strip;
    SDL_Rect upper = {in.x, in.y, in.w, strip};
    if (crowded)
        in.y += strip + pt(c, 6), in.h -= strip + pt(c, 6);
    v->lane_top = in.y + axis_h + v->lane_height;
    v->tracks = (SDL_Rect) {in.x + names, in.y, in.w - names, in.h};
    int rows = (in.h - axis_h) / v->lane_height - 1;
    Axis a = make_axis(v, v->tracks);
    if (crowded)
        draw_overview(v, upper, names, &a);
    choose_lanes(v, &a, rows);
    if ((int) v->lane_rows.n > rows)
        rows = (in.h - axis_h - pt(c, 18)) / v->lane_height - 1;
    rows = rows < 0 ? 0 : rows;
    follow(v, rows);
    int bottom = v->lane_top + rows * v->lane_height;
    clip_push(c, in);
    draw_ticks(v, &a, in.y, bottom);
    draw_loop_lane(v, &a, in, in.y + axis_h, v->lane_height - pt(c, 4));
    draw_rows(v, &a, in.x + pt(c, 4), names - pt(c, 10), rows);
    draw_wakes(v, &a, bottom);
    int now = axis_x(v, &a, v->s->now.k + (a.by_time ? 0 : 1));
    fill(c, (SDL_Rect) {now, in.y, pt(c, 2), bottom - in.y}, TEXT);
    draw_hidden(v, in, rows);
    clip_pop(c);
}
