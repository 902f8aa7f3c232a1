/* view.h: what is on the screen: a session, seen through panes. */
#ifndef TRACER_VIEW_H
#define TRACER_VIEW_H

#include "ask.h"
#include "canvas.h"
#include "narrate.h"
#include "session.h"
#include "source.h"

typedef enum Pane { P_NONE, P_SOURCE, P_OUTPUT, P_TICK, P_LANES, P_QUEUES, P_OBJECTS, P_GRAPH, PANES } Pane;

enum { ROOM_LINES = 512 };

typedef struct RowPlace {
    int line, y, height;
} RowPlace;

typedef struct View {
    Canvas *c;
    Session *s;
    Sources sources;
    Said said;                                    /* for the cursor's step */
    VEC(const Task *) alive;                      /* the unfinished tasks, while a step is drawn */
    size_t left, left_step;                       /* of an object's children: the last count, since many may be asked for */
    uint64_t left_of;                             /* several times in a row */
    double zoom;                                  /* Ctrl + and - */
    Pane big;                                     /* shown alone, or P_NONE */
    Pane focus;                                   /* takes Up, Down, PageUp, PageDown */
    Pane low;                                     /* where there is room for one only at the lower right: which */
    SDL_Rect at[PANES], tab[PANES];               /* where each pane was drawn, or the name that brings it forward */
    SDL_Rect scrub, tracks, overview;             /* the bar of all steps; the lanes' time part; all tasks over all steps */
    int scroll[PANES];                            /* in rows; source: lines away from the running one */
    int rows[PANES], seen[PANES];                 /* how many there are, how many fit: set by drawing */
    int chosen_line;                              /* source: 0 = the running one */
    int top_line, line_height;                    /* source: what the first row shows */
    RowPlace row_line[ROOM_LINES];                /* source: where the seen[P_SOURCE] lines are; for the mouse */
    const char *shown_file;
    uint64_t chosen_task;                         /* 0 = none */
    size_t first_lane;                            /* lanes: position of the first visible */
    VEC(uint32_t) lane_rows;                      /* lanes shown now, as positions in history.lanes */
    int lane_height, lane_top;
    double step_width, step_px;                   /* lanes: points per step, and the pixels that came of it */
    size_t first_step;
    bool by_time;                                 /* lanes: the axis is time, not steps */
    bool help, searching;
    Buf words;                                    /* being typed or searched last */
} View;

void view_init(View *v, Canvas *c, Session *s);
void view_free(View *v);
void view_draw(View *v);

/* For the panes. */
extern const Style TITLE, SMALL, NORMAL, STRONG, CODE, CODE_BOLD, NOTE, LARGE, HUGE_;
SDL_Rect pane_box(View *v, Pane which, SDL_Rect r, const char *title, const char *note);  /* returns the inside */
int chip(Canvas *c, int x, int y, int h, int room, State state, const char *label);       /* returns its width */
int chip_width(Canvas *c, int h, int room, const char *label);
void more_row(View *v, int x, int y, int room, size_t n, const char *what);               /* "… 17 more tasks" */
void pane_scroll(View *v, Pane which, int rows, int seen);        /* keeps scroll[] within what there is */
size_t children_left(View *v, const Object *o);   /* how many of them are unfinished */
State event_state(const View *v, uint64_t *task);                 /* of the task that the current step is about */

void draw_top(View *v, SDL_Rect r);
void draw_say(View *v, SDL_Rect r);
void draw_scrub(View *v, SDL_Rect r);
void draw_help(View *v);
void draw_source(View *v, SDL_Rect r);
void draw_output(View *v, SDL_Rect r);
void draw_tick(View *v, SDL_Rect r);
void draw_lanes(View *v, SDL_Rect r);
void draw_queues(View *v, SDL_Rect r);
void draw_objects(View *v, SDL_Rect r);
void draw_graph(View *v, SDL_Rect r);

#endif
