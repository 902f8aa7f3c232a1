/* glyphs.c: see glyphs.h. A hash table from (face, size, code point) to a white texture that is tinted when drawn.
 *
 * A letter that DejaVu lacks is taken from any other font of this machine; if none has it, its number is shown. */
#include "glyphs.h"

#include <SDL_ttf.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZES = 64 };

typedef struct Slot {
    uint64_t key;                                 /* 0 = free */
    Glyph glyph;
} Slot;

typedef struct Other {
    char *path;
    TTF_Font *probe;                              /* at a small size, to ask what letters it has */
} Other;

struct Glyphs {
    char *paths[FACES];
    VEC(Other) others;
    bool collected;
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

static void free_others(struct Glyphs *g) {
    for (size_t i = 0; i < g->others.n; i++) {
        if (g->others.at[i].probe)
            TTF_CloseFont(g->others.at[i].probe);
        free(g->others.at[i].path);
    }
    vec_free(g->others);
}

static void close_fonts(struct Glyphs *g) {
    for (int i = 0; i < g->opened; i++)
        TTF_CloseFont(g->fonts[i].font);
    g->opened = 0;
}

void glyphs_free(struct Glyphs *g) {
    glyphs_forget(g);
    close_fonts(g);
    free_others(g);
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

/* ---- letters that the usual fonts lack ---- */

enum { PROBE_SIZE = 16, MOST_OTHERS = 500 };

static struct Glyphs *collecting;                 /* nftw() passes nothing on */

static int collect(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void) st;
    const char *end = strrchr(path, '.');
    bool fits = end && (!strcasecmp(end, ".ttf") || !strcasecmp(end, ".otf") || !strcasecmp(end, ".ttc"));
    if (type == FTW_F && fits && !strstr(path + at->base, "Italic") && !strstr(path + at->base, "Oblique"))
        vec_push(collecting->others, ((Other) {xcopy(path), NULL}));
    return collecting->others.n >= MOST_OTHERS;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const Other *) a)->path, ((const Other *) b)->path);
}

/* All fonts of this machine, looked for when the first letter is missing. */
static void collect_others(struct Glyphs *g) {
    const char *home = getenv("HOME") ? getenv("HOME") : "";
    char *mine[] = {xformat("%s/.fonts", home), xformat("%s/.local/share/fonts", home)};
    const char *const roots[] = {"/usr/share/fonts", "/usr/local/share/fonts", mine[0], mine[1]};
    g->collected = true;
    collecting = g;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        nftw(roots[i], collect, 16, FTW_PHYS);
    free(mine[0]);
    free(mine[1]);
    if (g->others.n)
        qsort(g->others.at, g->others.n, sizeof *g->others.at, by_path);
}

static const char *other_with(struct Glyphs *g, uint32_t rune) {
    if (!g->collected)
        collect_others(g);
    for (size_t i = 0; i < g->others.n; i++) {
        Other *o = &g->others.at[i];
        if (!o->probe && o->path && !(o->probe = TTF_OpenFont(o->path, PROBE_SIZE))) {
            free(o->path);                        /* damaged, or none that can be scaled */
            o->path = NULL;
        }
        if (o->probe && TTF_GlyphIsProvided32(o->probe, rune))
            return o->path;
    }
    return NULL;
}

/* ---- drawing one ---- */

/* Takes the surface. */
static Glyph from_surface(SDL_Renderer *r, SDL_Surface *s) {
    Glyph out = {.texture = SDL_CreateTextureFromSurface(r, s), .w = s->w, .h = s->h, .advance = s->w};
    SDL_FreeSurface(s);
    return out;
}

static const SDL_Color white = {255, 255, 255, 255};

static Glyph with_font(SDL_Renderer *r, TTF_Font *f, uint32_t rune) {
    int left, right, bottom, top, advance;
    TTF_GlyphMetrics32(f, rune, &left, &right, &bottom, &top, &advance);
    SDL_Surface *s = TTF_RenderGlyph32_Blended(f, rune, white);
    Glyph out = {0};
    if (s)
        out = from_surface(r, s);
    out.left = left < 0 ? left : 0;
    out.advance = advance;
    return out;
}

/* From another font, on the line that the others stand on. */
static Glyph foreign(SDL_Renderer *r, const char *path, TTF_Font *usual, int px, uint32_t rune) {
    TTF_Font *f = TTF_OpenFont(path, px);
    if (!f)
        return (Glyph) {0};
    Glyph out = with_font(r, f, rune);
    out.top = TTF_FontAscent(usual) - TTF_FontAscent(f);
    TTF_CloseFont(f);
    return out;
}

static Glyph escape(SDL_Renderer *r, TTF_Font *f, uint32_t rune) {
    char room[16];
    SDL_Surface *s = TTF_RenderUTF8_Blended(f, letter_escape(rune, room), white);
    return s ? from_surface(r, s) : (Glyph) {0};
}

static Glyph render(struct Glyphs *g, SDL_Renderer *r, Face face, int px, uint32_t rune) {
    TTF_Font *f = font(g, face, px), *usual = f;
    if (!TTF_GlyphIsProvided32(f, rune) && (face == MONO || face == MONO_BOLD))
        f = font(g, face == MONO ? SANS : BOLD, px);
    if (TTF_GlyphIsProvided32(f, rune))
        return with_font(r, f, rune);
    bool letter = rune > ' ' && (rune < NOT_UTF8 || rune > NOT_UTF8 + 0xFF);
    const char *path = letter ? other_with(g, rune) : NULL;
    return path ? foreign(r, path, usual, px, rune) : escape(r, usual, rune);
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
