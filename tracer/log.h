/* log.h: the append-only list of events.
 *
 * Lines go in, events come out, nothing is ever changed or removed. A line that is not an event for us is left out; a
 * line that should be one but is damaged is remembered as a problem, and the rest goes on.
 */
#ifndef TRACER_LOG_H
#define TRACER_LOG_H

#include "event.h"

enum { TRACE_VERSION = 1 };

typedef struct Place {
    const char *file;                             /* interned */
    int line;
} Place;

typedef struct Log {
    VEC(Event) events;                            /* events.at[k - 1] is step k */
    VEC(Place) places;                            /* [0] is "nowhere" */
    VEC(char *) blocks;                           /* the lines' memory */
    size_t block_used, block_size;
    uint32_t *place_slots;                        /* hash table of places */
    size_t place_size;
    size_t lines;                                 /* seen so far */
    Buf mended;                                   /* a line whose stray bytes were put back */
    cJSON *fresh;                                 /* the last event as it was read, so that nobody need read it twice */
    double expected;                              /* the next event's number */
    bool began, closed;                           /* trace.begin seen; `{}]` or trace.end seen */
    char *refused;                                /* why this cannot be read at all, or NULL */
    char *problem;                                /* the first thing that is wrong but can be lived with, or NULL */
    size_t problems;
    /* from trace.begin */
    const char *program, *cwd, *clock;
    double pid, started;                          /* started: seconds since 1970; 0 = not known */
} Log;

void log_init(Log *log);
void log_free(Log *log);

/* Takes one line, with or without the commas and brackets of the file form. True if it became an event. */
bool log_line(Log *log, const char *line, size_t length);

/* Adds an event of the tracer's own. `key` and `text` describe it; see EV_RAW_OUTPUT and EV_PROGRAM_END. */
void log_own(Log *log, EventKind kind, int number, const char *text, size_t length);

void log_problem(Log *log, char *text);           /* takes the text */
Open log_open(const Log *log, size_t k);          /* as event_open(), and cheap for the last event; log_close() ends it */
void log_close(const Log *log, Open *open);
static inline size_t log_count(const Log *log) { return log->events.n; }
static inline const Event *log_step(const Log *log, size_t k) { return &log->events.at[k - 1]; }

#endif
