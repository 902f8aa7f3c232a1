/* program.h: the traced program as a child process: its trace, its output, and the leave that it asks for. */
#ifndef TRACER_PROGRAM_H
#define TRACER_PROGRAM_H

#include <stdio.h>
#include <sys/types.h>

#include "history.h"

typedef struct Program {
    History *history;                             /* where its events go */
    pid_t pid;
    int trace, out[3];                            /* our ends: the socket; out[1], out[2] its stdout and stderr; -1 = closed */
    Buf lines;                                    /* of the trace, not yet complete */
    Buf seen[3];                                  /* bytes that came from its output ... */
    Buf told[3];                                  /* ... and what the trace said it printed, but did not come yet */
    size_t asked;                                 /* events that it has leave for and has not sent yet */
    bool asleep;                                  /* it answered `paused`: it waits inside select() */
    bool spoke;                                   /* it has sent something on the socket */
    bool ended, reaped, stopped;                  /* stopped: it was ended because we wanted it */
    int status;                                   /* from waitpid */
    double heard;                                 /* when its trace last said something, or it was given leave */
    int silent;                                   /* whole seconds since then, while it has leave to go on */
    double started, quiet;                        /* seconds: when it began; when its output last changed */
    FILE *record;                                 /* a copy of the trace, or NULL */
} Program;

/* Starts it. NULL, and *error says why, if that is impossible. */
Program *program_start(History *history, char *const argv[], char **error);
void program_leave(Program *p, size_t events);    /* lets so many further events pass */
void program_pause(Program *p);

/* Waits at most `ms` for something to happen, and takes in what came; true if the history grew or the state changed. */
bool program_poll(Program *p, int ms);
void program_stop(Program *p);                    /* ends it, first kindly */
void program_free(Program *p);                    /* ends it if need be */

double now_seconds(void);                         /* a clock that only goes forward */

#endif
