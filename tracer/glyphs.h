/* glyphs.h: letters as textures, each rendered once. */
#ifndef TRACER_GLYPHS_H
#define TRACER_GLYPHS_H

#include "canvas.h"

typedef struct Glyph {
    SDL_Texture *texture;                         /* NULL for a blank */
    int w, h, left, top, advance;
} Glyph;

struct Glyphs *glyphs_new(char **error);
void glyphs_free(struct Glyphs *g);
void glyphs_forget(struct Glyphs *g);             /* the renderer is going away: drop all textures */
const Glyph *glyph(struct Glyphs *g, SDL_Renderer *r, Face face, int px, uint32_t rune);
int glyphs_height(struct Glyphs *g, Face face, int px);

#endif
