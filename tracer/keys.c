/* keys.c: what each key does. */
#include <stdlib.h>
#include <string.h>

#include "app.h"

static void search_key(View *v, SDL_Keycode key) {
    Buf *words = &v->words;
    if (key == SDLK_BACKSPACE && words->len) {
        do
            words->len--;
        while (words->len && (words->s[words->len] & 0xC0) == 0x80);
        words->s[words->len] = '\0';
    } else if (key == SDLK_ESCAPE || key == SDLK_RETURN || key == SDLK_KP_ENTER) {
        v->searching = false;
        if (key != SDLK_ESCAPE && words->len)
            session_find(v->s, words->s, +1);
    }
}

static void move(View *v, int by) {
    const Lanes *lanes = &v->s->history.lanes;
    if (v->focus == P_SOURCE) {
        const Place *p = &v->s->history.log.places.at[v->s->now.place];
        int line = (v->chosen_line ? v->chosen_line : p->line) + by;
        v->chosen_line = line < 1 ? 1 : line;
        if (v->chosen_line < v->top_line)
            v->scroll[P_SOURCE] -= v->top_line - v->chosen_line;
        if (v->chosen_line >= v->top_line + v->seen[P_SOURCE])
            v->scroll[P_SOURCE] += v->chosen_line - v->top_line - v->seen[P_SOURCE] + 1;
    } else if (v->focus == P_LANES) {
        size_t at = 0;
        while (at < v->lane_rows.n && lanes->at.at[v->lane_rows.at[at]].task != v->chosen_task)
            at++;
        at = at == v->lane_rows.n ? v->first_lane : at + by;
        if (at < v->lane_rows.n)
            v->chosen_task = lanes->at.at[v->lane_rows.at[at]].task;
    } else {
        v->scroll[v->focus] += v->focus == P_OUTPUT ? -by : by;
    }
    if (v->scroll[v->focus] < 0 && v->focus != P_SOURCE)
        v->scroll[v->focus] = 0;
}

static void breakpoint(View *v) {
    const Place *p = &v->s->history.log.places.at[v->s->now.place];
    int line = v->chosen_line ? v->chosen_line : p->line;
    if (!line || !*p->file)
        return;
    bool set = session_break(v->s, p->file, line);
    buf_fmt(&v->s->note, set ? "Breakpoint set at line %d: playing stops there." : "Breakpoint at line %d removed.", line);
}

static void go(View *v, int direction, int mod) {
    if (mod & KMOD_CTRL) {
        v->s->seek_task = v->chosen_task;
        v->s->seek = v->chosen_task ? UNTIL_RESUME : UNTIL_NONE;
        session_seek(v->s, UNTIL_RESUME, direction);
    } else if (mod & KMOD_SHIFT) {
        session_seek(v->s, UNTIL_TICK, direction);
    } else {
        session_step(v->s, direction);
    }
    v->scroll[P_SOURCE] = v->scroll[P_OUTPUT] = 0;
    v->chosen_line = 0;
}

static void trouble(View *v, int direction) {
    session_seek(v->s, UNTIL_TROUBLE, direction);
    v->scroll[P_SOURCE] = v->scroll[P_OUTPUT] = 0;
    v->chosen_line = 0;
}

static void zoom(View *v, double zoom) {
    v->zoom = zoom < 0.6 ? 0.6 : zoom > 3 ? 3 : zoom;
}

static bool control_key(View *v, SDL_Keycode key) {
    switch (key) {
    case SDLK_PLUS: case SDLK_EQUALS: case SDLK_KP_PLUS: zoom(v, v->zoom * 1.1); return true;
    case SDLK_MINUS: case SDLK_KP_MINUS: zoom(v, v->zoom / 1.1); return true;
    case SDLK_0: case SDLK_KP_0: zoom(v, 1); return true;
    default: return false;
    }
}

static void widen(View *v, double by) {
    v->step_width *= by;
    v->step_width = v->step_width < 0.01 ? 0.01 : v->step_width > 80 ? 80 : v->step_width;
}

static void alone(View *v, Pane pane) {
    v->big = v->big == pane ? P_NONE : pane;
    if (v->big)
        v->focus = v->big;
}

static void fullscreen(App *app) {
    app->full = !app->full;
    SDL_SetWindowFullscreen(app->window, app->full ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
}

static void leave(App *app) {
    View *v = &app->view;
    if (v->s->seek) {
        session_leave(v->s);
        return;
    }
    if (v->help)
        v->help = false;
    else if (v->big)
        v->big = P_NONE;
    else if (app->full)
        fullscreen(app);
    v->chosen_task = 0;
    v->chosen_line = 0;
    memset(v->scroll, 0, sizeof v->scroll);
}

static void search(View *v) {
    v->searching = true;
    buf_clear(&v->words);
}

/* Signs, as the keyboard's layout makes them: `/` is Shift+7 on some keyboards and `[` needs AltGr. */
static void sign(App *app, char what) {
    View *v = &app->view;
    Session *s = v->s;
    switch (what) {
    case '?': case 'h': v->help = !v->help; break;
    case '/': search(v); break;
    case 'n': case 'N':
        if (v->words.len)
            session_find(s, v->words.s, what == 'N' ? -1 : +1);
        break;
    case 'e': case 'E': trouble(v, what == 'E' ? -1 : +1); break;
    case 't': v->by_time = !v->by_time; break;
    case '+': case '=': widen(v, 1.25); break;
    case '-': widen(v, 0.8); break;
    case '[': session_faster(s, -1); break;
    case ']': session_faster(s, +1); break;
    case 'q': app->quit = true; break;
    default:
        if (what >= '1' && what < '1' + PANES - 1)
            alone(v, what - '0');
    }
}

void app_text(App *app, const char *text) {
    if (app->view.searching) {
        buf_str(&app->view.words, text);
        return;
    }
    if (*text == ' ')
        return;                                   /* a key, not a sign: see below */
    buf_clear(&app->session->note);
    if (text[0] && !text[1])
        sign(app, *text);
}

/* Keys that are no signs. */
static void other_key(App *app, SDL_Keysym key) {
    View *v = &app->view;
    Session *s = v->s;
    switch (key.sym) {
    case SDLK_SPACE: session_play(s, !s->playing); break;
    case SDLK_RIGHT: go(v, +1, key.mod); break;
    case SDLK_LEFT: go(v, -1, key.mod); break;
    case SDLK_HOME: session_play(s, false); session_go(s, 0); break;
    case SDLK_END: session_play(s, false); session_go(s, session_count(s)); break;
    case SDLK_F1: v->help = !v->help; break;
    case SDLK_F9: breakpoint(v); break;
    case SDLK_F10: session_seek(s, UNTIL_OVER, +1); break;
    case SDLK_F11: fullscreen(app); break;
    case SDLK_F12: app_picture(app); break;
    case SDLK_TAB: v->focus = (v->focus + (key.mod & KMOD_SHIFT ? PANES - 3 : 0)) % (PANES - 1) + 1; break;
    case SDLK_UP: move(v, -1); break;
    case SDLK_DOWN: move(v, +1); break;
    case SDLK_PAGEUP: move(v, -10); break;
    case SDLK_PAGEDOWN: move(v, +10); break;
    case SDLK_RETURN: case SDLK_KP_ENTER: alone(v, v->focus); break;
    case SDLK_ESCAPE: leave(app); break;
    default: break;
    }
}

static bool is_modifier(SDL_Keycode key) {
    return key >= SDLK_LCTRL && key <= SDLK_RGUI;
}

void app_key(App *app, SDL_Keysym key) {
    View *v = &app->view;
    if (is_modifier(key.sym))
        return;
    if (v->searching && key.sym != SDLK_F12) {
        search_key(v, key.sym);
        return;
    }
    if (key.sym < 128 ? key.sym < ' ' : key.sym != SDLK_F12)
        buf_clear(&v->s->note);
    if (!(key.mod & KMOD_CTRL) || !control_key(v, key.sym))
        other_key(app, key);
}
