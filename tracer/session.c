/* session.c: see session.h. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "narrate.h"

static const double rates[] = {0.5, 1, 2, 4, 8, 15, 30, 60, 120, 500, 0};
enum { RATES = sizeof rates / sizeof *rates, USUAL_RATE = 3, CREDIT = 64 };

void session_init(Session *s) {
    *s = (Session) {.speed = USUAL_RATE};
    history_init(&s->history);
    model_init(&s->now);
    model_init(&s->scan);
}

void session_free(Session *s) {
    program_free(s->program);
    model_free(&s->now);
    model_free(&s->scan);
    history_free(&s->history);
    vec_free(s->breakpoints);
    buf_free(&s->note);
    free(s->seek_text);
}

void session_go(Session *s, size_t k) {
    size_t n = session_count(s);
    history_seek(&s->history, &s->now, k < n ? k : n);
}

static void stop(Session *s) {
    s->seek = UNTIL_NONE;
    s->seek_on = false;
    if (s->playing && session_alive(s))
        program_pause(s->program);
    s->playing = false;
}

/* ---- one step, in the log or by leave to the program ---- */

static bool at_tail(const Session *s) {
    return s->now.k == session_count(s);
}

/* Lets the program do one more step, unless it already has leave. */
static void ask(Session *s) {
    if (session_alive(s) && s->program->trace >= 0 && s->program->spoke && s->program->asked == 0)
        program_leave(s->program, 1);
}

/* A key pressed twice must count twice: what was asked for before comes first, if it comes soon. */
static void settle(Session *s) {
    double end = now_seconds() + 0.06;
    bool followed = at_tail(s);
    while (session_alive(s) && s->program->asked == 1 && now_seconds() < end)
        program_poll(s->program, 5);
    if (followed)
        session_go(s, session_count(s));
}

void session_step(Session *s, int direction) {
    stop(s);
    settle(s);
    if (direction < 0)
        session_go(s, s->now.k ? s->now.k - 1 : 0);
    else if (!at_tail(s))
        session_go(s, s->now.k + 1);
    else
        ask(s);
}

/* ---- going on until something happens ---- */

/* An exception that left a task, or one that nobody handled, a deadlock, a bad end: where to look when something went
 * wrong. */
static bool is_trouble(const Event *e) {
    switch (e->kind) {
    case EV_LOOP_DEADLOCK: case EV_EXCEPTION_REPORT: return true;
    case EV_TASK_DONE: return strstr(e->line, "\"state\":\"failed\"") != NULL;
    case EV_PROGRAM_END: return !strstr(e->line, "\"status\":0");
    default: return false;
    }
}

static bool step_has(const Log *log, const Model *m, const char *words);

static bool is_wanted(const Event *e, void *with) {
    const Session *s = with;
    switch (s->seek) {
    case UNTIL_TROUBLE:
        return is_trouble(e);
    case UNTIL_WORDS:
        return step_has(&s->history.log, &s->now, s->seek_text);
    case UNTIL_TICK:
        return e->kind == EV_TICK_BEGIN || e->kind == EV_PROGRAM_END;
    case UNTIL_RESUME:
        return e->kind == EV_TASK_RUN && (!s->seek_task || e->task == s->seek_task);
    case UNTIL_OVER:
        return e->task == s->seek_task && (e->kind == EV_TASK_RUN || e->kind == EV_LINE_STEP || e->kind == EV_TASK_DONE);
    default:
        return false;
    }
}

static uint64_t task_here(const Session *s) {
    if (s->now.running)
        return s->now.running;
    return s->now.k ? log_step(&s->history.log, s->now.k)->task : 0;
}

static const char *const seek_words[] = {"", "the next tick", "this task's next resume", "the other side of this await",
                                         "failed task, deadlock or unhandled exception"};

void session_seek(Session *s, Until what, int direction) {
    uint64_t task = s->seek == what && s->seek_task ? s->seek_task : task_here(s);
    stop(s);
    s->seek = what;
    s->seek_task = task;
    if (what == UNTIL_OVER && !task)
        s->seek = UNTIL_RESUME;
    size_t found = history_find(&s->history, s->now.k, direction, is_wanted, s);
    if (found) {
        session_go(s, found);
        s->seek = UNTIL_NONE;
    } else if (direction > 0 && session_alive(s)) {
        session_go(s, session_count(s));
        ask(s);
        s->next = 0;
    } else {
        buf_clear(&s->note);
        buf_fmt(&s->note, direction > 0 ? "There is no %s: here is the end." : "There is no earlier one of this kind.",
                seek_words[what] + 4 * !strncmp(seek_words[what], "the ", 4));
        if (what != UNTIL_TROUBLE)
            session_go(s, direction > 0 ? session_count(s) : 0);
        else if (direction > 0)
            buf_clear(&s->note), buf_fmt(&s->note, "There is no %s after this step.", seek_words[what]);
        s->seek = UNTIL_NONE;
    }
}

/* ---- searching ---- */

static bool place_has(const Log *log, const Event *e, const char *words) {
    char room[64];
    const Place *p = &log->places.at[e->place];
    const char *slash = strrchr(p->file, '/');
    snprintf(room, sizeof room, "%.40s:%d", slash ? slash + 1 : p->file, p->line);
    return e->place && !strcmp(room, words);
}

/* The step that the model stands at: the sentence is only made if nothing simpler has the words. */
static bool step_has(const Log *log, const Model *m, const char *words) {
    Said said = {0};
    const Event *e = log_step(log, m->k);
    if (place_has(log, e, words) || strcasestr(event_name(e->kind), words))
        return true;
    narrate(&said, m, log);
    bool has = strcasestr(buf_text(&said.what), words) || strcasestr(buf_text(&said.why), words);
    said_free(&said);
    return has;
}

/* The step from..to that has the words and is nearest to where the search comes from; 0 = none. Both directions look
 * forward, since a model goes forward cheaply. */
static size_t look(Session *s, size_t from, size_t to) {
    size_t found = 0;
    for (size_t k = from; k <= to; k++) {
        history_seek(&s->history, &s->scan, k);
        if (!step_has(&s->history.log, &s->scan, s->seek_text))
            continue;
        found = k;
        if (s->seek_direction > 0)
            return found;
    }
    return found;
}

static void found_words(Session *s) {
    s->seek = UNTIL_NONE;
    s->seek_on = false;
    buf_clear(&s->note);
    buf_fmt(&s->note, "Found \"%s\" in step %zu. n: next, N: previous.", s->seek_text, s->now.k);
}

static void found_nothing(Session *s) {
    buf_clear(&s->note);
    buf_fmt(&s->note, s->seek_on ? "The program has ended, and \"%s\" did not occur." : s->seek_direction > 0 ?
            "\"%s\" does not occur after here." : "\"%s\" does not occur before here.", s->seek_text);
    s->seek = UNTIL_NONE;
    s->seek_on = false;
}

/* Nothing in the log: if the program lives, it goes on, and each new step is looked at as it comes. */
static void search_is_through(Session *s) {
    if (s->seek_direction < 0 || !session_alive(s)) {
        found_nothing(s);
        return;
    }
    session_go(s, session_count(s));
    s->seek_on = true;
    s->next = 0;
    ask(s);
}

static void search(Session *s, double until) {
    enum { BLOCK = 256 };
    do {
        size_t n = session_count(s), at = s->seek_at, up = at + BLOCK - 1 < n ? at + BLOCK - 1 : n;
        bool ahead = s->seek_direction > 0;
        if (ahead ? at > n : at == 0) {
            search_is_through(s);
            return;
        }
        size_t from = ahead ? at : at > BLOCK ? at - BLOCK + 1 : 1, to = ahead ? up : at;
        size_t found = look(s, from, to);
        if (found) {
            session_go(s, found);
            found_words(s);
            return;
        }
        s->seek_at = ahead ? to + 1 : from - 1;
    } while (now_seconds() < until);
}

void session_find(Session *s, const char *words, int direction) {
    char *copy = xcopy(words);
    stop(s);
    buf_clear(&s->note);
    free(s->seek_text);
    s->seek_text = copy;
    s->seek = UNTIL_WORDS;
    s->seek_direction = direction;
    s->seek_at = direction < 0 && s->now.k == 0 ? 0 : s->now.k + direction;
    search(s, now_seconds() + 0.05);
}

void session_leave(Session *s) {
    if (!s->seek)
        return;
    bool words = s->seek == UNTIL_WORDS;
    stop(s);
    buf_clear(&s->note);
    buf_fmt(&s->note, words ? "Stopped before \"%s\" was found." : "Stopped.", s->seek_text);
}

/* ---- playing ---- */

void session_play(Session *s, bool playing) {
    if (!playing) {
        stop(s);
        return;
    }
    s->playing = true;
    s->seek = UNTIL_NONE;
    s->next = 0;
    if (at_tail(s) && !session_alive(s))
        session_go(s, 0);                         /* at the end of a recording: from the beginning again */
}

void session_faster(Session *s, int direction) {
    int speed = s->speed + direction;
    s->speed = speed < 0 ? 0 : speed >= RATES ? RATES - 1 : speed;
    s->next = 0;
}

double session_rate(const Session *s) {
    return rates[s->speed];
}

bool session_breaks(const Session *s, const char *file, int line) {
    for (size_t i = 0; i < s->breakpoints.n; i++)
        if (s->breakpoints.at[i].line == line && !strcmp(s->breakpoints.at[i].file, file))
            return true;
    return false;
}

bool session_break(Session *s, const char *file, int line) {
    for (size_t i = 0; i < s->breakpoints.n; i++) {
        if (s->breakpoints.at[i].line == line && !strcmp(s->breakpoints.at[i].file, file)) {
            s->breakpoints.at[i] = s->breakpoints.at[--s->breakpoints.n];
            return false;
        }
    }
    vec_push(s->breakpoints, ((Breakpoint) {intern(file), line}));
    return true;
}

/* Stops where a line with a breakpoint begins to matter: its await is reached, or a task goes on there. */
static bool hits_breakpoint(Session *s) {
    const Event *e = log_step(&s->history.log, s->now.k);
    const Place *p = &s->history.log.places.at[e->place];
    if (!e->place || (e->kind != EV_LINE_STEP && e->kind != EV_TASK_RUN && e->kind != EV_TASK_CREATE) ||
        !session_breaks(s, p->file, p->line))
        return false;
    stop(s);
    buf_clear(&s->note);
    buf_fmt(&s->note, "Breakpoint at line %d.", p->line);
    return true;
}

static void arrived(Session *s) {
    if (s->seek && is_wanted(log_step(&s->history.log, s->now.k), s)) {
        if (s->seek == UNTIL_WORDS)
            found_words(s);
        s->seek = UNTIL_NONE;
    }
    if (s->playing || s->seek)
        hits_breakpoint(s);
}

/* How many steps of what is known already may be made at this moment? */
static size_t due(Session *s, double now) {
    double rate = s->seek ? 0 : session_rate(s);
    if (rate == 0)
        return 2000;
    if (s->next == 0 || now - s->next > 1)
        s->next = now;
    size_t n = 0;
    for (; s->next <= now; n++)
        s->next += 1 / rate;
    return n;
}

static bool moving(const Session *s) {
    return s->playing || s->seek;
}

/* At the tail of a living program: leave for one step, or for many if nothing could want to stop between them. */
static void ask_at_pace(Session *s) {
    bool free = s->playing && session_rate(s) == 0 && !s->breakpoints.n && !s->seek;
    if (!free)
        ask(s);
    else if (s->program->spoke && s->program->trace >= 0 && s->program->asked < CREDIT / 2)
        program_leave(s->program, CREDIT);
}

static void advance(Session *s, double now) {
    size_t n = due(s, now);
    if (at_tail(s) && session_alive(s) && n)
        ask_at_pace(s);
    for (; n > 0 && moving(s) && !at_tail(s); n--) {
        session_go(s, s->now.k + 1);
        arrived(s);
    }
    if (at_tail(s) && !session_alive(s)) {
        s->playing = false;
        if (s->seek == UNTIL_WORDS)
            found_nothing(s);
        s->seek = UNTIL_NONE;
    }
}

/* New events: a cursor that stood at the tail goes with them. */
static void follow(Session *s) {
    if (!moving(s))
        session_go(s, session_count(s));
    while (moving(s) && !at_tail(s)) {
        session_go(s, s->now.k + 1);
        arrived(s);
    }
}

static bool turn(Session *s, double now, int patience) {
    if (s->seek == UNTIL_WORDS && !s->seek_on) {
        search(s, now_seconds() + 0.01);
        return true;
    }
    size_t from = s->now.k, count = session_count(s);
    bool changed = false, followed = at_tail(s), was = moving(s);
    if (session_alive(s))
        changed = program_poll(s->program, patience);
    if (followed && session_count(s) > count)
        follow(s);
    if (moving(s))
        advance(s, now);
    return changed || s->now.k != from || was != moving(s);
}

bool session_tick(Session *s, double now, int *wait) {
    enum { FRAME = 12 };                          /* milliseconds that may be spent here when it has to go fast */
    bool changed = turn(s, now, 0), fast = moving(s) && (s->seek || session_rate(s) == 0);
    for (double end = now + FRAME / 1e3; fast && moving(s) && session_alive(s) && now < end; now = now_seconds())
        changed = turn(s, now, 1) || changed;
    fast = fast && moving(s);
    *wait = fast ? 1 : moving(s) ? 8 : session_alive(s) ? 15 : 1000;
    return changed;
}

const char *session_label(const Session *s, char room[32]) {
    size_t behind = session_count(s) - s->now.k;
    if (behind && !(s->playing && session_alive(s) && behind < CREDIT))
        snprintf(room, 32, "HISTORY \u2212%zu", behind);
    else
        snprintf(room, 32, "%s", session_alive(s) && (s->playing || s->seek) ? "LIVE" : "PAUSED");
    return room;
}
