/* source.h: the text of source files, found where the trace says or near the recording. */
#ifndef TRACER_SOURCE_H
#define TRACER_SOURCE_H

#include "buf.h"

typedef struct Source {
    const char *file;                             /* as the trace names it; interned */
    char *found;                                  /* where it was read from; NULL = nowhere */
    double written;                               /* when, in seconds since 1970 */
    char *text;                                   /* all of it, newlines replaced by terminators */
    VEC(const char *) lines;
} Source;

typedef struct Sources {
    VEC(Source *) at;
    VEC(const char *) near;                       /* relative names are tried in these directories and above them */
    VEC(const char *) folders;                    /* and, by their last part alone too, in these */
} Sources;

const Source *source_get(Sources *s, const char *file);           /* never NULL */

/* Was it written after the run began, or after the program was built that ran? Then its lines may have moved. */
bool source_changed(const Source *source, const char *program, double started);
void sources_free(Sources *s);

#endif
