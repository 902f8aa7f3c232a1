/* glyphs.c: see glyphs.h. A hash table from (face, size, code point) to a white texture that is tinted when drawn. */
#include "glyphs.h"

#include <SDL_ttf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZES = 64 };

typedef struct Slot {
    uint64_t key;                                 /* 0 = free */
    Glyph glyph;
} Slot;

struct Glyphs {
    char *paths[FACES];
    struct { int px; Face face; TTF_Font *font; } fonts[SIZES];
    int opened;
    Slot *slots;
    size_t used, size;
};

static const char *const files[FACES] = {"DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf",
                                         "DejaVuSansMono-Bold.ttf"};
static const char *const folders[] = {"/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/dejavu",
                                      "/usr/share/fonts/TTF", "/usr/local/share/fonts/dejavu"};

static char *find_font(const char *file) {
    const char *own = getenv("TRACER_FONTS");
    if (own) {
        char *path = xformat("%s/%s", own, file);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = xformat("%s/%s", folders[i], file);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

struct Glyphs *glyphs_new(char **error) {
    struct Glyphs *g = xalloc(sizeof *g);
    if (TTF_Init()) {
        *error = xformat("The text library (SDL2_ttf) does not start: %s", TTF_GetError());
        free(g);
        return NULL;
    }
    for (int face = 0; face < FACES; face++) {
        g->paths[face] = find_font(files[face]);
        if (g->paths[face])
            continue;
        *error = xformat("The font %s is missing (looked in %s and similar places). On Debian: apt install "
                         "fonts-dejavu-core. Elsewhere: set TRACER_FONTS to the directory that holds it.",
                         files[face], folders[0]);
        glyphs_free(g);
        return NULL;
    }
    return g;
}

void glyphs_forget(struct Glyphs *g) {
    for (size_t i = 0; i < g->size; i++)
        if (g->slots[i].key && g->slots[i].glyph.texture)
            SDL_DestroyTexture(g->slots[i].glyph.texture);
    free(g->slots);
    g->slots = NULL;
    g->used = g->size = 0;
}

static void close_fonts(struct Glyphs *g) {
    for (int i = 0; i < g->opened; i++)
        TTF_CloseFont(g->fonts[i].font);
    g->opened = 0;
}

void glyphs_free(struct Glyphs *g) {
    glyphs_forget(g);
    close_fonts(g);
    for (int face = 0; face < FACES; face++)
        free(g->paths[face]);
    free(g);
    TTF_Quit();
}

static TTF_Font *font(struct Glyphs *g, Face face, int px) {
    for (int i = 0; i < g->opened; i++)
        if (g->fonts[i].px == px && g->fonts[i].face == face)
            return g->fonts[i].font;
    if (g->opened == SIZES)
        close_fonts(g);
    TTF_Font *f = TTF_OpenFont(g->paths[face], px);
    if (!f) {
        fprintf(stderr, "tracer: the font %s cannot be opened: %s\n", g->paths[face], TTF_GetError());
        exit(1);
    }
    TTF_SetFontHinting(f, TTF_HINTING_LIGHT);
    g->fonts[g->opened].px = px;
    g->fonts[g->opened].face = face;
    g->fonts[g->opened].font = f;
    return g->fonts[g->opened++].font;
}

int glyphs_height(struct Glyphs *g, Face face, int px) {
    return TTF_FontHeight(font(g, face, px));
}

/* A letter that the font lacks: a box with its number in it would be unreadably small, so a plain box. */
static Glyph box(SDL_Renderer *r, TTF_Font *f) {
    int h = TTF_FontAscent(f) * 3 / 4, w = h * 3 / 4;
    SDL_Surface *s = SDL_CreateRGBSurfaceWithFormat(0, w, h, 32, SDL_PIXELFORMAT_ARGB8888);
    SDL_FillRect(s, NULL, 0xFFFFFFFF);
    SDL_Rect inside = {1, 1, w - 2, h - 2};
    SDL_FillRect(s, &inside, 0x30FFFFFF);
    Glyph g = {SDL_CreateTextureFromSurface(r, s), w, h, 1, TTF_FontAscent(f) - h, w + 2};
    SDL_FreeSurface(s);
    return g;
}

static Glyph render(struct Glyphs *g, SDL_Renderer *r, Face face, int px, uint32_t rune) {
    TTF_Font *f = font(g, face, px);
    if (!TTF_GlyphIsProvided32(f, rune) && (face == MONO || face == MONO_BOLD))
        f = font(g, face == MONO ? SANS : BOLD, px);
    if (!TTF_GlyphIsProvided32(f, rune))
        return box(r, f);
    Glyph out = {0};
    int left, right, bottom, top;
    TTF_GlyphMetrics32(f, rune, &left, &right, &bottom, &top, &out.advance);
    SDL_Surface *s = TTF_RenderGlyph32_Blended(f, rune, (SDL_Color) {255, 255, 255, 255});
    if (!s)
        return out;
    out.texture = SDL_CreateTextureFromSurface(r, s);
    out.w = s->w;
    out.h = s->h;
    out.left = left < 0 ? left : 0;
    SDL_FreeSurface(s);
    return out;
}

static Slot *slot_for(Slot *slots, size_t size, uint64_t key) {
    size_t i = key * 0x9E3779B97F4A7C15u >> 20 & (size - 1);
    while (slots[i].key && slots[i].key != key)
        i = (i + 1) & (size - 1);
    return &slots[i];
}

static void grow(struct Glyphs *g) {
    size_t size = g->size ? g->size * 2 : 1024;
    Slot *slots = xalloc(size * sizeof *slots);
    for (size_t i = 0; i < g->size; i++)
        if (g->slots[i].key)
            *slot_for(slots, size, g->slots[i].key) = g->slots[i];
    free(g->slots);
    g->slots = slots;
    g->size = size;
}

const Glyph *glyph(struct Glyphs *g, SDL_Renderer *r, Face face, int px, uint32_t rune) {
    if (g->used * 2 >= g->size)
        grow(g);
    uint64_t key = 1ull << 63 | (uint64_t) face << 48 | (uint64_t) px << 32 | rune;
    Slot *slot = slot_for(g->slots, g->size, key);
    if (!slot->key) {
        slot->key = key;
        slot->glyph = render(g, r, face, px, rune);
        g->used++;
    }
    return &slot->glyph;
}
