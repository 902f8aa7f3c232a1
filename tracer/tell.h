/* tell.h: all steps as plain text, grouped by tick. */
#ifndef TRACER_TELL_H
#define TRACER_TELL_H

#include <stdio.h>

#include "session.h"

typedef struct Teller {
    FILE *out;
    Model m;                                      /* as far as it has been told */
    bool brief;                                   /* without the second sentences */
    size_t told;
} Teller;

void teller_init(Teller *t, FILE *out);
void teller_free(Teller *t);
void tell(Teller *t, History *h);                 /* every step that has not been told yet */

#endif
