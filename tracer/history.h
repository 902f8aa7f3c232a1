/* history.h: the log, the model at its end, and the way back.
 *
 * Snapshots are taken while events arrive; to go anywhere is to copy the nearest one before it and to replay at most a
 * few hundred events. So a step back costs what a step forward costs, also in a recording of a million.
 */
#ifndef TRACER_HISTORY_H
#define TRACER_HISTORY_H

#include "lanes.h"
#include "model.h"

/* The program's output over the whole log, in parts that end at a newline or where a write ended. What is shown at
 * step k are the parts that came at or before k. */
typedef struct OutPart {
    uint32_t step;
    uint8_t fd;                                   /* 1, 2, or 0: a remark of the tracer's or the loop's own */
    bool raw;                                     /* not through print(): the traced program wrote it some other way */
    bool open, joins;                             /* has no newline; goes on the line of the part before */
    char *text;
} OutPart;

typedef struct History {
    Log log;
    Model tail;                                   /* after the last event */
    Lanes lanes;
    VEC(OutPart) output;
    VEC(uint32_t) ticks;                          /* the steps of tick.begin */
    VEC(Model) snapshots;                         /* ascending by k */
    size_t spacing, most;
    size_t replayed;                              /* events applied by seeking so far: for tests */
} History;

void history_init(History *h);
void history_free(History *h);
bool history_line(History *h, const char *line, size_t length);   /* true if it made a step */
void history_own(History *h, EventKind kind, int number, const char *text, size_t length);
void history_seek(History *h, Model *m, size_t k);                /* makes m the model after k events */
size_t history_output(const History *h, size_t k);                /* parts of output at step k */

/* The first step in `direction` (+1, -1) from k, k excluded, of which `is` holds; 0 if there is none. */
typedef bool StepTest(const Event *e, void *with);
size_t history_find(const History *h, size_t k, int direction, StepTest *is, void *with);

/* Reads a recording. False if nothing can be shown; h->log.refused says why. Problems that leave something to show are
 * in h->log.problem. `progress` may be NULL. */
bool history_load(History *h, const char *path, void (*progress)(double part));

#endif
