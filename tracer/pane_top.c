/* pane_top.c: the bar at the top, the sentence, the bar of all steps at the bottom, and the help. */
#include <stdio.h>
#include <string.h>

#include "view.h"

static SDL_Color label_color(const char *label, Icon *sign) {
    bool live = !strcmp(label, "LIVE"), paused = !strcmp(label, "PAUSED");
    *sign = live ? ICON_DISC : paused ? ICON_PAUSE : ICON_BACK;
    return live ? GOOD : paused ? WARN : ACCENT;
}

/* Returns where the label ends. */
static int draw_label(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    char room[32];
    Icon sign;
    const char *label = session_label(v->s, room);
    SDL_Color color = label_color(label, &sign);
    int h = r.h - pt(c, 14), w = text_width(c, (Style) {BOLD, 18}, label, -1) + h + pt(c, 16), size = h / 2;
    SDL_Rect box = {r.x + pt(c, 8), r.y + pt(c, 7), w, h};
    round_fill(c, box, pt(c, 5), color);
    icon(c, sign, box.x + pt(c, 9), box.y + (h - size) / 2, size, RGB(0x101014));
    text(c, (Style) {BOLD, 18}, box.x + h, box.y + (h - text_height(c, (Style) {BOLD, 18})) / 2, RGB(0x101014), label, -1);
    return box.x + w + pt(c, 16);
}

static void seeks_words(const Session *s, Buf *b) {
    if (!s->seek_on)
        buf_fmt(b, "searching for \"%s\": step %zu   (Esc stops)", s->seek_text, s->seek_at);
    else
        buf_fmt(b, "running on until \"%s\"%s   (Esc stops)", s->seek_text, s->now.in_select ? ", asleep in select()" : "");
}

/* A program that computes for long is one that starves its loop: then it is said who does it. */
static void at_work(const Session *s, Buf *b) {
    const Task *t = model_task(&s->history.tail, s->history.tail.running);
    int seconds = s->program->silent;
    if (s->history.tail.in_select)
        buf_str(b, "the program sleeps in select()");
    else if (seconds && t)
        buf_fmt(b, "'%s' has been computing for %d s without an await", t->label, seconds);
    else
        buf_str(b, "the program computes …");
}

static void what_runs(const View *v, Buf *b) {
    const Session *s = v->s;
    if (s->seek == UNTIL_WORDS)
        seeks_words(s, b);
    else if (session_alive(s) && s->program->silent && s->program->asked && !s->now.in_select)
        at_work(s, b);
    else if (s->seek)
        buf_str(b, session_alive(s) && s->now.in_select ? "going on; the program sleeps in select()" : "going on …");
    else if (s->playing && session_rate(s) > 0)
        buf_fmt(b, "playing, %g steps/s", session_rate(s));
    else if (s->playing)
        buf_str(b, "playing, as fast as it goes");
    else if (session_alive(s) && !s->program->spoke)
        buf_str(b, "no trace yet: is it built with asyncio.c?");
    else if (session_alive(s) && s->program->asked)
        at_work(s, b);
    else if (session_alive(s))
        buf_str(b, "the program waits for you, its clock stands still");
    else if (s->now.k == session_count(s))
        buf_fmt(b, "%s%s", s->program ? "the program has ended" : "end of the recording",
                s->now.status && s->now.trouble ? "   (E: back to what went wrong)" : "");
    if (!s->playing && session_rate(s) > 0 && b->len == 0)
        buf_fmt(b, "Space plays at %g steps/s", session_rate(s));
}

void draw_top(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    Buf state = {0};
    fill(c, r, RGB(0x16161B));
    int x = draw_label(v, r), y = r.y + (r.h - text_height(c, NOTE)) / 2, gap = pt(c, 22);
    int right = r.w - pt(c, 92);
    x += text_fmt(c, (Style) {BOLD, 16}, x, y, right - x, TEXT, "step %zu", m->k);
    x += text_fmt(c, NOTE, x, y, right - x, FAINT, " of %zu", session_count(v->s)) + gap;
    x += text_fmt(c, NOTE, x, y, right - x, DIM, "tick %llu", (unsigned long long) m->tick) + gap;
    x += text_fmt(c, NOTE, x, y, right - x, DIM, "+%.3f s", m->ts) + gap;
    what_runs(v, &state);
    x += text_fit(c, NOTE, x, y, right - x, ACCENT, buf_text(&state)) + gap;
    const char *name = base_name(v->s->history.log.program);
    if (*name && right - x > pt(c, 40)) {
        int w = text_width(c, NOTE, name, -1);
        text_fit(c, NOTE, w < right - x ? right - w : x, y, right - x, FAINT, name);
    }
    text_fit(c, NOTE, r.w - pt(c, 72), y, pt(c, 70), FAINT, "?  help");
    buf_free(&state);
}

/* ---- the sentence ---- */

/* What there is to tell besides the sentence: a search being typed, an answer to a key, damage to the recording. */
static bool draw_note(View *v, int x, int y, int room) {
    Canvas *c = v->c;
    const Log *log = &v->s->history.log;
    if (v->searching)
        text_fmt(c, NOTE, x, y, room, ACCENT, "Search: %s▏   (Enter finds%s, Esc leaves)", buf_text(&v->words),
                 session_alive(v->s) ? " and runs the program on until it is found" : "");
    else if (v->s->note.len)
        text_fit(c, NOTE, x, y, room, WARN, buf_text(&v->s->note));
    else if (log->refused || log->problem)
        text_fit(c, NOTE, x, y, room, ALARM, log->refused ? log->refused : log->problem);
    else
        return false;
    return true;
}

void draw_say(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    uint64_t task;
    State state = event_state(v, &task);
    const Model *m = &v->s->now;
    bool over = (m->ended && m->status) || (m->deadlock && m->deadlock == m->k);
    SDL_Color bar = over ? ALARM : state ? state_color(state) : EDGE;
    round_fill(c, r, pt(c, 6), bar);              /* all of it, then all but the left edge again */
    round_fill(c, (SDL_Rect) {r.x + pt(c, 7), r.y, r.w - pt(c, 7), r.h}, pt(c, 6), RAISED);
    fill(c, (SDL_Rect) {r.x + pt(c, 7), r.y, pt(c, 14), r.h}, RAISED);
    int x = r.x + pt(c, 22), y = r.y + pt(c, 9), room = r.w - pt(c, 36), small = text_height(c, NOTE);
    int lines = text_wrap(c, LARGE, (SDL_Rect) {x, y, room, 0}, 2, over ? ALARM : TEXT, buf_text(&v->said.what));
    y += lines * text_height(c, LARGE) + pt(c, 4);
    int left = (r.y + r.h - pt(c, 6) - y) / small;
    if (left > 0 && draw_note(v, x, y, room))
        y += small, left--;
    if (left > 0 && v->said.wake.len)
        y += small * text_wrap(c, NOTE, (SDL_Rect) {x, y, room, 0}, left > 1 && !v->said.why.len ? 2 : 1,
                               state_color(ST_SLEEPING), buf_text(&v->said.wake)), left--;
    if (left > 0 && v->said.why.len)
        text_wrap(c, NOTE, (SDL_Rect) {x, y, room, 0}, left, DIM, buf_text(&v->said.why));
}

/* ---- all steps ---- */

void draw_scrub(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    size_t n = session_count(v->s), k = v->s->now.k;
    int h = pt(c, 6), y = r.y + (r.h - h) / 2;
    v->scrub = r;
    round_fill(c, (SDL_Rect) {r.x, y, r.w, h}, h / 2, EDGE);
    int at = n ? (int) ((double) k / (double) n * (r.w - 1)) : 0;
    round_fill(c, (SDL_Rect) {r.x, y, at, h}, h / 2, mix(BACK, ACCENT, 0.6));
    const uint32_t *ticks = v->s->history.ticks.at;
    size_t count = v->s->history.ticks.n;
    if (count && count < (size_t) r.w / 6)
        for (size_t i = 0; i < count; i++)
            fill(c, (SDL_Rect) {r.x + (int) ((double) ticks[i] / (double) n * (r.w - 1)), y - pt(c, 2), pt(c, 1),
                                h + pt(c, 4)}, FAINT);
    int size = pt(c, 16);
    icon(c, ICON_DISC, r.x + at - size / 2, r.y + (r.h - size) / 2, size, TEXT);
}

/* ---- help ---- */

static const char *const keys[][2] = {
    {"Space", "play and pause"},
    {"→  ←", "one step forward, back"},
    {"Shift + →  ←", "one tick of the loop"},
    {"Ctrl + →  ←", "this task's next or previous turn"},
    {"F10", "step over an await"},
    {"F9", "breakpoint on the chosen line"},
    {"Home  End", "to the first, the last step"},
    {"[  ]", "slower, faster"},
    {"/   n  N", "search; next, previous"},
    {"e  E", "next, previous failure, deadlock"},
    {"Tab, ↑  ↓", "choose a pane, move in it"},
    {"Enter  1 … 7", "one pane alone; Esc: all"},
    {"t   +  −", "lanes: time or steps; width"},
    {"F11  F12", "full screen; picture (PNG)"},
    {"Ctrl + +  −  0", "larger, smaller, usual"},
    {"q", "quit"}};

static void help_states(Canvas *c, int x, int y, int room, int row) {
    text(c, STRONG, x, y, TEXT, "What the colours mean", -1);
    y += row;
    static const char *const words[ST_COUNT] = {
        [ST_RUNNING] = "has the loop for itself", [ST_READY] = "waits for its turn in the queue",
        [ST_WAITING] = "waits for another task or object", [ST_SLEEPING] = "waits for a timer",
        [ST_IO] = "waits for the world outside", [ST_DONE] = "has returned", [ST_CANCELLED] = "was cancelled",
        [ST_FAILED] = "ended with an exception"};
    for (State s = ST_RUNNING; s < ST_COUNT; s++, y += row) {
        pattern(c, (SDL_Rect) {x, y + pt(c, 2), pt(c, 44), row - pt(c, 9)}, s);
        int w = chip(c, x + pt(c, 54), y, row - pt(c, 6), pt(c, 120), s, state_name(s));
        text_fit(c, NORMAL, x + pt(c, 66) + w, y + pt(c, 2), room - pt(c, 66) - w, DIM, words[s]);
    }
}

/* What is coloured in the lanes besides the tasks' states: arrows, and the lane of the loop. */
static void help_marks(Canvas *c, int x, int y, int row) {
    static const char *const names[][3] = {{"wakes", "creates", "asks to cancel"}, {"select()", "timers", "callback"}};
    const SDL_Color colors[][3] = {{TEXT, GOOD, ALARM}, {IN_SELECT, AT_TIMERS, IN_CALLBACK}};
    for (int line = 0; line < 2; line++, y += row) {
        int at = x + pt(c, 86);
        text(c, NORMAL, x, y, TEXT, line ? "The loop" : "Arrows", -1);
        for (int i = 0; i < 3; i++) {
            int h = line ? pt(c, 14) : pt(c, 3);
            fill(c, (SDL_Rect) {at, y + (row - pt(c, 4) - h) / 2, pt(c, 18), h}, colors[line][i]);
            at += pt(c, 24) + text(c, NORMAL, at + pt(c, 24), y, DIM, names[line][i], -1) + pt(c, 16);
        }
    }
}

static void help_page(View *v, int w, int h) {
    Canvas *c = v->c;
    SDL_Rect r = {(c->w - w) / 2, (c->h - h) / 2, w, h};
    round_frame(c, r, pt(c, 8), PANEL, ACCENT, pt(c, 2));
    clip_push(c, r);
    int x = r.x + pt(c, 28), y = r.y + pt(c, 20), row = pt(c, 31), half = w / 2;
    text(c, LARGE, x, y, TEXT, "Keys", -1);
    y += pt(c, 40);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        text_fit(c, CODE_BOLD, x, y + (int) i * row, pt(c, 168), ACCENT, keys[i][0]);
        text_fit(c, NORMAL, x + pt(c, 172), y + (int) i * row, half - pt(c, 200), TEXT, keys[i][1]);
    }
    int rx = r.x + half + pt(c, 34), rroom = half - pt(c, 60);
    help_states(c, rx, y, rroom, pt(c, 33));
    y += pt(c, 33) * 9;
    help_marks(c, rx, y, pt(c, 25));
    y += pt(c, 25) * 2 + pt(c, 8);
    text(c, STRONG, rx, y, TEXT, "Mouse", -1);
    text_wrap(c, NORMAL, (SDL_Rect) {rx, y + pt(c, 22), rroom, 0}, 6, DIM,
              "Click or drag in the lanes or the bar below to go to any step. Click a lane's name to choose that task. "
              "Click a source line to choose it, its number to set a breakpoint. Double-click a pane's title to see it "
              "alone. The wheel scrolls; with Ctrl it changes the width of the lanes' steps.");
    clip_pop(c);
}

/* Its letters become smaller where the page would not fit. */
void draw_help(View *v) {
    enum { WIDTH = 960, HEIGHT = 580, MARGIN = 10 };
    Canvas *c = v->c;
    double usual = c->scale, wide = (double) (c->w - 2 * MARGIN) / WIDTH, high = (double) (c->h - 2 * MARGIN) / HEIGHT;
    fill_alpha(c, (SDL_Rect) {0, 0, c->w, c->h}, RGB(0x000000), 170);
    c->scale = usual > wide ? wide : usual;
    c->scale = c->scale > high ? high : c->scale;
    help_page(v, pt(c, WIDTH), pt(c, HEIGHT));
    c->scale = usual;
}
