/* canvas.h: a surface to draw on, in software, the same for a window and for a picture without one.
 *
 * Lengths in the drawing code are in points of a 1280x800 layout; pt() turns them into pixels at the current scale.
 */
#ifndef TRACER_CANVAS_H
#define TRACER_CANVAS_H

#include <SDL.h>

#include "theme.h"

typedef enum Face { SANS, BOLD, MONO, MONO_BOLD, FACES } Face;

typedef struct Style {
    Face face;
    int size;                                     /* in points */
} Style;

typedef struct Canvas {
    SDL_Renderer *r;
    SDL_Surface *surface;                         /* ours if `owned` */
    bool owned;
    int w, h;
    double scale;
    SDL_Rect clip[8];
    int clips;
    struct Glyphs *glyphs;
    struct Sprites *sprites;
} Canvas;

/* Opens the fonts. NULL, and *error says what to do, if there are none. */
Canvas *canvas_new(char **error);
void canvas_free(Canvas *c);
/* window: draw on its surface, of which a smaller one shows the upper left part; NULL: draw on one of our own. */
enum { LEAST_WIDTH = 320, LEAST_HEIGHT = 240 };
bool canvas_size(Canvas *c, int w, int h, SDL_Surface *window);

static inline int pt(const Canvas *c, double points) { return (int) (points * c->scale + 0.5); }

/* shapes */
void fill(Canvas *c, SDL_Rect r, SDL_Color color);
void fill_alpha(Canvas *c, SDL_Rect r, SDL_Color color, int alpha);
void frame(Canvas *c, SDL_Rect r, int thick, SDL_Color color);
void round_fill(Canvas *c, SDL_Rect r, int radius, SDL_Color color);
void round_frame(Canvas *c, SDL_Rect r, int radius, SDL_Color inside, SDL_Color edge, int thick);
void icon(Canvas *c, Icon which, int x, int y, int size, SDL_Color color);
void pattern(Canvas *c, SDL_Rect r, State state);                 /* a bar in the state's colour and pattern */
void clip_push(Canvas *c, SDL_Rect r);
void clip_pop(Canvas *c);

/* text: y is the top of the line. Widths are in pixels. All of them take UTF-8; n = -1 means up to the end. */
int text_height(Canvas *c, Style s);
int text_width(Canvas *c, Style s, const char *t, int n);
int text(Canvas *c, Style s, int x, int y, SDL_Color color, const char *t, int n);        /* returns its width */
int text_fitting(Canvas *c, Style s, const char *t, int n, int room);                     /* how many bytes of t fit */
int text_fit(Canvas *c, Style s, int x, int y, int room, SDL_Color color, const char *t); /* with … if it is too long */
int text_fit_n(Canvas *c, Style s, int x, int y, int room, SDL_Color color, const char *t, int n);
int text_fmt(Canvas *c, Style s, int x, int y, int room, SDL_Color color, const char *f, ...)
    __attribute__((format(printf, 7, 8)));
/* Wraps at spaces into at most `lines` lines; returns how many were used. */
int text_wrap(Canvas *c, Style s, SDL_Rect r, int lines, SDL_Color color, const char *t);

#endif
