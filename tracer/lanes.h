/* lanes.h: when was which task in which state? An index over the whole log, only ever appended to, from which the
 * timeline is drawn. */
#ifndef TRACER_LANES_H
#define TRACER_LANES_H

#include "model.h"

typedef struct Turn {
    uint32_t step;                                /* from this step on ... */
    uint8_t state;                                /* ... the task is in this state */
} Turn;

typedef struct Lane {
    uint64_t task;
    VEC(Turn) turns;
} Lane;

/* How many tasks were in each state: taken every CROWD_EVERY steps, for the overview of many tasks. */
enum { CROWD_EVERY = 16 };
typedef struct Crowd {
    uint32_t n[ST_COUNT];
} Crowd;

typedef struct Lanes {
    VEC(Lane) at;                                 /* in order of creation */
    VEC(Crowd) crowds;                            /* crowds.at[i]: after step i * CROWD_EVERY */
    VEC(uint32_t) index;                          /* task id -> position + 1 */
} Lanes;

void lanes_free(Lanes *lanes);
void lanes_note(Lanes *lanes, uint64_t task, size_t step, State state);
void lanes_count(Lanes *lanes, const Model *m);   /* to be called after each step */
const Lane *lanes_find(const Lanes *lanes, uint64_t task);
size_t lane_turn(const Lane *lane, size_t step);  /* the number of turns that began at or before `step` */
State lane_state(const Lane *lane, size_t step);
bool lane_alive(const Lane *lane, size_t from, size_t to);        /* was it unfinished at any step in between? */

#endif
