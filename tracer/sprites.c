/* sprites.c: each shape is a function that says whether a point of the unit square is inside; sixteen samples per pixel
 * make the edge smooth. Nothing here depends on a font: common ones lack half of these signs. */
#include "sprites.h"

#include <math.h>
#include <stdlib.h>

enum { ROOM = 256, SAMPLES = 4 };

struct Sprites {
    struct { int key; SDL_Texture *texture; } at[ROOM];
    int n;
};

typedef bool Inside(double x, double y);

static double distance(double x, double y, double ax, double ay, double bx, double by) {
    double dx = bx - ax, dy = by - ay, t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(x - ax - t * dx, y - ay - t * dy);
}

static bool box(double x, double y, double left, double top, double right, double bottom) {
    return x >= left && x <= right && y >= top && y <= bottom;
}

static double radius(double x, double y) { return hypot(x - 0.5, y - 0.5); }

static bool in_play(double x, double y) {
    return x > 0.2 && fabs(y - 0.5) < (0.9 - x) * 0.57;
}

static bool in_dots(double x, double y) {
    return hypot(x - 0.16, y - 0.5) < 0.12 || hypot(x - 0.5, y - 0.5) < 0.12 || hypot(x - 0.84, y - 0.5) < 0.12;
}

static bool in_hourglass(double x, double y) {
    return box(x, y, 0.18, 0.06, 0.82, 0.16) || box(x, y, 0.18, 0.84, 0.82, 0.94) ||
           (y > 0.1 && y < 0.9 && fabs(x - 0.5) < 0.04 + fabs(y - 0.5) * 0.62);
}

static bool in_clock(double x, double y) {
    double r = radius(x, y);
    return (r < 0.46 && r > 0.36) || distance(x, y, 0.5, 0.5, 0.5, 0.24) < 0.05 ||
           distance(x, y, 0.5, 0.5, 0.69, 0.6) < 0.05;
}

static bool in_plug(double x, double y) {
    return box(x, y, 0.28, 0.06, 0.38, 0.34) || box(x, y, 0.62, 0.06, 0.72, 0.34) || box(x, y, 0.16, 0.34, 0.84, 0.44) ||
           (y >= 0.4 && y < 0.72 && hypot(x - 0.5, y - 0.4) < 0.32) || box(x, y, 0.45, 0.65, 0.55, 0.96);
}

static bool in_check(double x, double y) {
    return distance(x, y, 0.14, 0.55, 0.4, 0.8) < 0.08 || distance(x, y, 0.4, 0.8, 0.86, 0.22) < 0.08;
}

static bool in_slash(double x, double y) {
    double r = radius(x, y);
    return (r < 0.46 && r > 0.35) || (r < 0.4 && distance(x, y, 0.2, 0.8, 0.8, 0.2) < 0.055);
}

static bool in_cross(double x, double y) {
    return distance(x, y, 0.18, 0.18, 0.82, 0.82) < 0.09 || distance(x, y, 0.82, 0.18, 0.18, 0.82) < 0.09;
}

static bool in_pause(double x, double y) {
    return box(x, y, 0.2, 0.12, 0.42, 0.88) || box(x, y, 0.58, 0.12, 0.8, 0.88);
}

static bool in_disc(double x, double y) { return radius(x, y) < 0.4; }
static bool in_back(double x, double y) { return x < 0.8 && fabs(y - 0.5) < (x - 0.1) * 0.57; }

static bool in_right(double x, double y) {
    return distance(x, y, 0.06, 0.5, 0.86, 0.5) < 0.06 || distance(x, y, 0.9, 0.5, 0.62, 0.24) < 0.06 ||
           distance(x, y, 0.9, 0.5, 0.62, 0.76) < 0.06;
}

static bool in_left(double x, double y) { return in_right(1 - x, y); }
static bool in_down(double x, double y) { return in_right(y, x); }

static bool in_warn(double x, double y) {
    bool triangle = y > 0.08 && y < 0.92 && fabs(x - 0.5) < (y - 0.04) * 0.54;
    bool mark = box(x, y, 0.45, 0.34, 0.55, 0.64) || hypot(x - 0.5, y - 0.77) < 0.06;
    return triangle && !mark;
}

static bool in_loop(double x, double y) {
    double r = radius(x, y);
    bool gap = x > 0.5 && y < 0.5;
    return (r > 0.3 && r < 0.42 && !gap) || (y < 0.38 && y > 0.0 && x > 0.48 && x < 0.5 + (0.3 - fabs(y - 0.14)) &&
            fabs(y - 0.14) < 0.2 && x < 0.8 - fabs(y - 0.14));
}

static Inside *const icons[ICON_COUNT] = {
    in_play, in_dots, in_hourglass, in_clock, in_plug, in_check, in_slash, in_cross, in_pause, in_disc, in_back,
    in_right, in_left, in_down, in_warn, in_loop};

/* Patterns repeat, so they are written on the unit square with wrapped edges; what is not inside is left darker. */
static bool pat_dots(double x, double y) {
    return hypot(x - 0.25, y - 0.25) < 0.17 || hypot(x - 0.75, y - 0.75) < 0.17;
}

static bool pat_hatch(double x, double y) { return fmod(x + y, 1) < 0.42; }
static bool pat_lines(double x, double y) { return (void) x, fmod(y * 2, 1) < 0.5; }
static bool pat_cross(double x, double y) { return fmod(x + y, 1) < 0.25 || fmod(x - y + 1, 1) < 0.25; }
static bool pat_slash(double x, double y) { return fmod(x + y, 1) < 0.16; }
static bool pat_all(double x, double y) { return (void) x, (void) y, true; }
static bool pat_none(double x, double y) { return (void) x, (void) y, false; }

static Inside *const patterns[] = {pat_all, pat_dots, pat_hatch, pat_lines, pat_cross, pat_none, pat_slash};

static SDL_Texture *raster(SDL_Renderer *r, Inside *inside, int size) {
    SDL_Surface *s = SDL_CreateRGBSurfaceWithFormat(0, size, size, 32, SDL_PIXELFORMAT_ARGB8888);
    for (int y = 0; y < size; y++) {
        uint32_t *row = (uint32_t *) ((char *) s->pixels + y * s->pitch);
        for (int x = 0; x < size; x++) {
            int hits = 0;
            for (int i = 0; i < SAMPLES * SAMPLES; i++)
                hits += inside((x + (i % SAMPLES + 0.5) / SAMPLES) / size, (y + (i / SAMPLES + 0.5) / SAMPLES) / size);
            row[x] = (uint32_t) (hits * 255 / (SAMPLES * SAMPLES)) << 24 | 0xFFFFFF;
        }
    }
    SDL_Texture *t = SDL_CreateTextureFromSurface(r, s);
    SDL_SetTextureBlendMode(t, SDL_BLENDMODE_BLEND);
    SDL_FreeSurface(s);
    return t;
}

struct Sprites *sprites_new(void) {
    return xalloc(sizeof(struct Sprites));
}

void sprites_forget(struct Sprites *s) {
    for (int i = 0; i < s->n; i++)
        SDL_DestroyTexture(s->at[i].texture);
    s->n = 0;
}

void sprites_free(struct Sprites *s) {
    sprites_forget(s);
    free(s);
}

static SDL_Texture *cached(struct Sprites *s, SDL_Renderer *r, int key, Inside *inside, int size) {
    for (int i = 0; i < s->n; i++)
        if (s->at[i].key == key)
            return s->at[i].texture;
    if (s->n == ROOM)
        sprites_forget(s);
    s->at[s->n].key = key;
    return s->at[s->n++].texture = raster(r, inside, size);
}

static bool in_full_disc(double x, double y) { return radius(x, y) <= 0.5; }

SDL_Texture *sprite_icon(struct Sprites *s, SDL_Renderer *r, Icon which, int size) {
    return cached(s, r, 1 << 24 | which << 16 | size, icons[which], size);
}

SDL_Texture *sprite_disc(struct Sprites *s, SDL_Renderer *r, int rad) {
    return cached(s, r, 2 << 24 | rad, in_full_disc, rad * 2);
}

SDL_Texture *sprite_pattern(struct Sprites *s, SDL_Renderer *r, Pattern which, int period) {
    return cached(s, r, 3 << 24 | which << 16 | period, patterns[which], period);
}
