/* session.h: what the keys do. A cursor in a history, playing or not, with the program behind it if there is one.
 *
 * No window in here: the tests press the same buttons.
 */
#ifndef TRACER_SESSION_H
#define TRACER_SESSION_H

#include "program.h"

typedef struct Breakpoint {
    const char *file;                             /* interned */
    int line;
} Breakpoint;

typedef enum Until { UNTIL_NONE, UNTIL_TICK, UNTIL_RESUME, UNTIL_OVER, UNTIL_TROUBLE, UNTIL_WORDS } Until;

typedef struct Session {
    History history;
    Model now;                                    /* at the cursor: now.k */
    Program *program;                             /* NULL: a recording */
    bool playing;
    int speed;                                    /* index, see session_rate() */
    double next;                                  /* when the next step is due, seconds */
    Until seek;                                    /* going on until this is found, although it is not in the log yet */
    uint64_t seek_task;
    char *seek_text;                              /* words that are searched for */
    int seek_direction;
    size_t seek_at;                               /* the next step to look at, while it is one of those in the log */
    bool seek_on;                                 /* the log has been searched: now the program runs on */
    Model scan;                                   /* where the search is, which the cursor does not follow */
    VEC(Breakpoint) breakpoints;
    Buf note;                                     /* what to tell the user, until the next key */
} Session;

void session_init(Session *s);
void session_free(Session *s);

void session_go(Session *s, size_t k);            /* the cursor to step k, as far as there is one */
void session_step(Session *s, int direction);
void session_seek(Session *s, Until what, int direction);          /* Shift+arrows, Ctrl+arrows, F10, e */

/* Search in the sentences and source places. What takes long goes on in session_tick(); what is not in the log is waited
 * for while the program, if it lives, runs on. */
void session_find(Session *s, const char *words, int direction);
void session_leave(Session *s);                   /* Esc: gives up whatever it is seeking */
void session_play(Session *s, bool playing);
void session_faster(Session *s, int direction);
double session_rate(const Session *s);            /* steps per second; 0 = as fast as possible */
bool session_break(Session *s, const char *file, int line);       /* toggles; true if it is set now */
bool session_breaks(const Session *s, const char *file, int line);

/* Lets time pass: polls the program, moves the cursor if playing. True if anything changed. `*wait` gets the
 * milliseconds after which it wants to be called again. */
bool session_tick(Session *s, double now, int *wait);

static inline size_t session_count(const Session *s) { return log_count(&s->history.log); }
static inline bool session_alive(const Session *s) { return s->program && !s->program->ended; }
const char *session_label(const Session *s, char room[32]);       /* LIVE, PAUSED or HISTORY -37 */

#endif
