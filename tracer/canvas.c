/* canvas.c: see canvas.h. */
#include "canvas.h"

#include <stdlib.h>

#include "glyphs.h"
#include "sprites.h"

Canvas *canvas_new(char **error) {
    struct Glyphs *glyphs = glyphs_new(error);
    if (!glyphs)
        return NULL;
    Canvas *c = xalloc(sizeof *c);
    c->glyphs = glyphs;
    c->sprites = sprites_new();
    c->scale = 1;
    return c;
}

static void drop_renderer(Canvas *c) {
    glyphs_forget(c->glyphs);
    sprites_forget(c->sprites);
    if (c->r)
        SDL_DestroyRenderer(c->r);
    if (c->owned)
        SDL_FreeSurface(c->surface);
    c->r = NULL;
    c->surface = NULL;
}

void canvas_free(Canvas *c) {
    drop_renderer(c);
    glyphs_free(c->glyphs);
    sprites_free(c->sprites);
    free(c);
}

bool canvas_size(Canvas *c, int w, int h, SDL_Surface *window) {
    drop_renderer(c);
    c->owned = !window;
    c->surface = window ? window : SDL_CreateRGBSurfaceWithFormat(0, w, h, 32, SDL_PIXELFORMAT_ARGB8888);
    c->w = w > LEAST_WIDTH ? w : LEAST_WIDTH;
    c->h = h > LEAST_HEIGHT ? h : LEAST_HEIGHT;
    c->clips = 0;
    c->r = c->surface ? SDL_CreateSoftwareRenderer(c->surface) : NULL;
    return c->r != NULL;
}

/* Blending costs several times as much as copying, so only what lets something shine through is blended. */
static void ink(Canvas *c, SDL_Color color) {
    SDL_SetRenderDrawBlendMode(c->r, color.a == 255 ? SDL_BLENDMODE_NONE : SDL_BLENDMODE_BLEND);
    SDL_SetRenderDrawColor(c->r, color.r, color.g, color.b, color.a);
}

void fill(Canvas *c, SDL_Rect r, SDL_Color color) {
    if (r.w <= 0 || r.h <= 0)
        return;
    ink(c, color);
    SDL_RenderFillRect(c->r, &r);
}

void fill_alpha(Canvas *c, SDL_Rect r, SDL_Color color, int alpha) {
    color.a = alpha;
    fill(c, r, color);
}

void frame(Canvas *c, SDL_Rect r, int thick, SDL_Color color) {
    fill(c, (SDL_Rect) {r.x, r.y, r.w, thick}, color);
    fill(c, (SDL_Rect) {r.x, r.y + r.h - thick, r.w, thick}, color);
    fill(c, (SDL_Rect) {r.x, r.y + thick, thick, r.h - 2 * thick}, color);
    fill(c, (SDL_Rect) {r.x + r.w - thick, r.y + thick, thick, r.h - 2 * thick}, color);
}

static void tint(SDL_Texture *t, SDL_Color color) {
    SDL_SetTextureColorMod(t, color.r, color.g, color.b);
    SDL_SetTextureAlphaMod(t, color.a);
}

/* Corners from a disc, the rest from three rectangles. */
void round_fill(Canvas *c, SDL_Rect r, int radius, SDL_Color color) {
    if (radius * 2 > r.w)
        radius = r.w / 2;
    if (radius * 2 > r.h)
        radius = r.h / 2;
    if (radius < 1) {
        fill(c, r, color);
        return;
    }
    SDL_Texture *disc = sprite_disc(c->sprites, c->r, radius);
    tint(disc, color);
    for (int i = 0; i < 4; i++) {
        int right = i % 2, low = i / 2;
        SDL_Rect from = {right * radius, low * radius, radius, radius};
        SDL_Rect to = {right ? r.x + r.w - radius : r.x, low ? r.y + r.h - radius : r.y, radius, radius};
        SDL_RenderCopy(c->r, disc, &from, &to);
    }
    fill(c, (SDL_Rect) {r.x + radius, r.y, r.w - 2 * radius, radius}, color);
    fill(c, (SDL_Rect) {r.x, r.y + radius, r.w, r.h - 2 * radius}, color);
    fill(c, (SDL_Rect) {r.x + radius, r.y + r.h - radius, r.w - 2 * radius, radius}, color);
}

void round_frame(Canvas *c, SDL_Rect r, int radius, SDL_Color inside, SDL_Color edge, int thick) {
    round_fill(c, r, radius, edge);
    round_fill(c, (SDL_Rect) {r.x + thick, r.y + thick, r.w - 2 * thick, r.h - 2 * thick}, radius - thick, inside);
}

void icon(Canvas *c, Icon which, int x, int y, int size, SDL_Color color) {
    SDL_Texture *t = sprite_icon(c->sprites, c->r, which, size);
    tint(t, color);
    SDL_RenderCopy(c->r, t, NULL, &(SDL_Rect) {x, y, size, size});
}

static void tile(Canvas *c, SDL_Rect r, SDL_Texture *t, int period) {
    int x0 = r.x - r.x % period, y0 = r.y - r.y % period;
    clip_push(c, r);
    for (int y = y0; y < r.y + r.h; y += period)
        for (int x = x0; x < r.x + r.w; x += period)
            SDL_RenderCopy(c->r, t, NULL, &(SDL_Rect) {x, y, period, period});
    clip_pop(c);
}

void pattern(Canvas *c, SDL_Rect r, State state) {
    SDL_Color color = state_color(state);
    Pattern which = state_pattern(state);
    if (r.w <= 0 || r.h <= 0)
        return;
    if (which == PAT_SOLID) {
        fill(c, r, color);
        return;
    }
    fill(c, r, mix(BACK, color, which == PAT_HOLLOW ? 0.12 : which == PAT_SLASH ? 0.1 : 0.38));
    if (which != PAT_HOLLOW) {
        int period = pt(c, which == PAT_DOTS ? 9 : which == PAT_LINES ? 10 : 10);
        SDL_Texture *t = sprite_pattern(c->sprites, c->r, which, period);
        tint(t, color);
        tile(c, r, t, period);
    }
    int thick = pt(c, 1) > 0 ? pt(c, 1) : 1;
    if (r.w > 3 * thick)
        frame(c, r, thick, which == PAT_HOLLOW ? mix(BACK, color, 0.8) : color);
}

void clip_push(Canvas *c, SDL_Rect r) {
    SDL_Rect all = {0, 0, c->w, c->h}, out;
    const SDL_Rect *outer = c->clips ? &c->clip[c->clips - 1] : &all;
    if (!SDL_IntersectRect(outer, &r, &out))
        out = (SDL_Rect) {r.x, r.y, 0, 0};
    c->clip[c->clips++] = out;
    SDL_RenderSetClipRect(c->r, &out);
}

void clip_pop(Canvas *c) {
    c->clips--;
    SDL_RenderSetClipRect(c->r, c->clips ? &c->clip[c->clips - 1] : NULL);
}
