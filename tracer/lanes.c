/* lanes.c: see lanes.h. */
#include "lanes.h"

#include <stdlib.h>

void lanes_free(Lanes *lanes) {
    for (size_t i = 0; i < lanes->at.n; i++)
        vec_free(lanes->at.at[i].turns);
    vec_free(lanes->at);
    vec_free(lanes->crowds);
    vec_free(lanes->index);
}

static size_t position(Lanes *lanes, uint64_t task) {
    while (lanes->index.n <= task)
        vec_push(lanes->index, 0);
    if (!lanes->index.at[task]) {
        vec_push(lanes->at, ((Lane) {.task = task}));
        lanes->index.at[task] = lanes->at.n;
    }
    return lanes->index.at[task] - 1;
}

void lanes_note(Lanes *lanes, uint64_t task, size_t step, State state) {
    enum { SANE = 1 << 26 };                      /* an id beyond this is damage: no room is made for it */
    if (task >= SANE)
        return;
    size_t at = position(lanes, task);            /* first: it may move the lanes */
    Lane *lane = &lanes->at.at[at];
    vec_push(lane->turns, ((Turn) {.step = step, .state = state}));
}

void lanes_count(Lanes *lanes, const Model *m) {
    Crowd now;
    for (int s = 0; s < ST_COUNT; s++)
        now.n[s] = m->states[s];
    while (lanes->crowds.n * CROWD_EVERY <= m->k)
        vec_push(lanes->crowds, now);
}

const Lane *lanes_find(const Lanes *lanes, uint64_t task) {
    uint32_t at = task < lanes->index.n ? lanes->index.at[task] : 0;
    return at ? &lanes->at.at[at - 1] : NULL;
}

size_t lane_turn(const Lane *lane, size_t step) {
    size_t low = 0, high = lane->turns.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (lane->turns.at[middle].step <= step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

State lane_state(const Lane *lane, size_t step) {
    size_t n = lane_turn(lane, step);
    return n ? lane->turns.at[n - 1].state : ST_NONE;
}

bool lane_alive(const Lane *lane, size_t from, size_t to) {
    if (!lane->turns.n || lane->turns.at[0].step > to)
        return false;
    Turn last = lane->turns.at[lane->turns.n - 1];
    return !state_over(last.state) || last.step >= from;
}
