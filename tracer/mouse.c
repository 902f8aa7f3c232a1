/* mouse.c: what the mouse does. */
#include "app.h"

static bool within(SDL_Rect r, int x, int y) {
    return SDL_PointInRect(&(SDL_Point) {x, y}, &r);
}

static Pane pane_at(const View *v, int x, int y) {
    for (Pane p = P_SOURCE; p < PANES; p++)
        if (within(v->at[p], x, y))
            return p;
    return P_NONE;
}

static Pane tab_at(const View *v, int x, int y) {
    for (Pane p = P_SOURCE; p < PANES; p++)
        if (within(v->tab[p], x, y))
            return p;
    return P_NONE;
}

static void scrub(View *v, SDL_Rect bar, int x) {
    double part = (double) (x - bar.x) / (bar.w > 1 ? bar.w - 1 : 1);
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    session_play(v->s, false);
    session_go(v->s, (size_t) (part * (double) session_count(v->s) + 0.5));
}

static void click_lanes(View *v, int x, int y) {
    if (within(v->tracks, x, y)) {
        if (v->by_time)
            return;
        session_play(v->s, false);
        session_go(v->s, v->first_step + (size_t) ((x - v->tracks.x) / v->step_px));
        return;
    }
    size_t row = y >= v->lane_top ? v->first_lane + (y - v->lane_top) / v->lane_height : v->lane_rows.n;
    if (row >= v->lane_rows.n)
        return;
    uint64_t task = v->s->history.lanes.at.at[v->lane_rows.at[row]].task;
    v->chosen_task = v->chosen_task == task ? 0 : task;
}

static void click_source(View *v, int x, int y) {
    int n = v->line_height ? v->seen[P_SOURCE] : 0;
    for (int i = 0; i < n && i < ROOM_LINES; i++) {
        RowPlace at = v->row_line[i];
        if (y < at.y || y >= at.y + at.height)
            continue;
        v->chosen_line = at.line;
        if (x < v->at[P_SOURCE].x + v->line_height * 5 / 2)
            session_break(v->s, v->shown_file, at.line);
    }
}

static void press(App *app, const SDL_MouseButtonEvent *b) {
    View *v = &app->view;
    Pane pane = pane_at(v, b->x, b->y);
    buf_clear(&v->s->note);
    if (v->help) {
        v->help = false;
    } else if (within(v->scrub, b->x, b->y)) {
        app->dragging = true;
        scrub(v, v->scrub, b->x);
    } else if (within(v->overview, b->x, b->y)) {
        scrub(v, v->overview, b->x);
    } else if (tab_at(v, b->x, b->y)) {
        v->focus = tab_at(v, b->x, b->y);
    } else if (pane) {
        v->focus = pane;
        if (b->clicks == 2 && b->y < v->at[pane].y + pt(v->c, v->big ? 38 : 26))
            v->big = v->big ? P_NONE : pane;
        else if (pane == P_LANES)
            click_lanes(v, b->x, b->y);
        else if (pane == P_SOURCE)
            click_source(v, b->x, b->y);
    }
}

static void wheel(View *v, const SDL_MouseWheelEvent *w) {
    int x, y;
    SDL_GetMouseState(&x, &y);
    Pane pane = pane_at(v, x, y);
    if (pane == P_LANES && (SDL_GetModState() & KMOD_CTRL)) {
        v->step_width *= w->y > 0 ? 1.25 : 0.8;
        v->step_width = v->step_width < 0.01 ? 0.01 : v->step_width > 80 ? 80 : v->step_width;
    } else if (pane == P_LANES && v->chosen_task == 0) {
        v->scroll[pane] -= w->y * 2;
    } else if (pane) {
        v->scroll[pane] += pane == P_OUTPUT ? w->y * 3 : -w->y * (pane == P_OBJECTS ? 1 : 3);
    }
    if (pane && pane != P_SOURCE && pane != P_LANES && v->scroll[pane] < 0)
        v->scroll[pane] = 0;
}

void app_mouse(App *app, const SDL_Event *e) {
    View *v = &app->view;
    if (e->type == SDL_MOUSEBUTTONDOWN && e->button.button == SDL_BUTTON_LEFT)
        press(app, &e->button);
    else if (e->type == SDL_MOUSEBUTTONUP)
        app->dragging = false;
    else if (e->type == SDL_MOUSEMOTION && app->dragging)
        scrub(v, v->scrub, e->motion.x);
    else if (e->type == SDL_MOUSEMOTION && (e->motion.state & SDL_BUTTON_LMASK) && within(v->overview, e->motion.x, e->motion.y))
        scrub(v, v->overview, e->motion.x);
    else if (e->type == SDL_MOUSEMOTION && (e->motion.state & SDL_BUTTON_LMASK) && within(v->tracks, e->motion.x, e->motion.y))
        click_lanes(v, e->motion.x, e->motion.y);
    else if (e->type == SDL_MOUSEWHEEL)
        wheel(v, &e->wheel);
    else
        return;
    app->dirty = true;
}
