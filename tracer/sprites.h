/* sprites.h: icons, corners and patterns, rasterised once at the size in which they are needed. */
#ifndef TRACER_SPRITES_H
#define TRACER_SPRITES_H

#include "canvas.h"

struct Sprites *sprites_new(void);
void sprites_forget(struct Sprites *s);
void sprites_free(struct Sprites *s);
SDL_Texture *sprite_icon(struct Sprites *s, SDL_Renderer *r, Icon which, int size);
SDL_Texture *sprite_disc(struct Sprites *s, SDL_Renderer *r, int radius);         /* 2 radius wide */
SDL_Texture *sprite_pattern(struct Sprites *s, SDL_Renderer *r, Pattern which, int period);

#endif
