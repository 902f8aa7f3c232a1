/* narrate.h: a sentence in plain English for each step. */
#ifndef TRACER_NARRATE_H
#define TRACER_NARRATE_H

#include "model.h"

/* What happened, why (or what it means), and who can wake the task concerned now. `why` and `wake` may be empty. */
typedef struct Said {
    Buf what, why, wake;
} Said;

void said_free(Said *said);

/* `m` must be the model after step k; k = 0 describes the beginning. */
void narrate(Said *out, const Model *m, const Log *log);

#endif
