/* text.c: lines of text on a canvas. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "glyphs.h"

static int px(const Canvas *c, Style s) {
    int size = pt(c, s.size);
    return size < 6 ? 6 : size;
}

static uint32_t printable(uint32_t rune) {
    return rune == '\t' ? ' ' : rune;
}

int text_height(Canvas *c, Style s) {
    return glyphs_height(c->glyphs, s.face, px(c, s));
}

int text_width(Canvas *c, Style s, const char *t, int n) {
    const char *end = t + (n < 0 ? strlen(t) : (size_t) n);
    int width = 0;
    while (t < end)
        width += glyph(c->glyphs, c->r, s.face, px(c, s), printable(utf8_next(&t, end)))->advance;
    return width;
}

int text(Canvas *c, Style s, int x, int y, SDL_Color color, const char *t, int n) {
    const char *end = t + (n < 0 ? strlen(t) : (size_t) n);
    int start = x;
    while (t < end) {
        const Glyph *g = glyph(c->glyphs, c->r, s.face, px(c, s), printable(utf8_next(&t, end)));
        if (g->texture) {
            SDL_SetTextureColorMod(g->texture, color.r, color.g, color.b);
            SDL_SetTextureAlphaMod(g->texture, color.a);
            SDL_RenderCopy(c->r, g->texture, NULL, &(SDL_Rect) {x + g->left, y + g->top, g->w, g->h});
        }
        x += g->advance;
    }
    return x - start;
}

int text_fitting(Canvas *c, Style s, const char *t, int n, int room) {
    const char *p = t, *end = t + n;
    for (int width = 0; p < end;) {
        const char *next = p;
        width += glyph(c->glyphs, c->r, s.face, px(c, s), printable(utf8_next(&next, end)))->advance;
        if (width > room)
            break;
        p = next;
    }
    return (int) (p - t);
}

int text_fit_n(Canvas *c, Style s, int x, int y, int room, SDL_Color color, const char *t, int n) {
    int fits = text_fitting(c, s, t, n, room);
    if (fits == n)
        return text(c, s, x, y, color, t, n);
    int dots = text_width(c, s, "…", -1);
    if (dots > room)
        return 0;
    int w = text(c, s, x, y, color, t, text_fitting(c, s, t, n, room - dots));
    return w + text(c, s, x + w, y, color, "…", -1);
}

int text_fit(Canvas *c, Style s, int x, int y, int room, SDL_Color color, const char *t) {
    return text_fit_n(c, s, x, y, room, color, t, (int) strlen(t));
}

int text_fmt(Canvas *c, Style s, int x, int y, int room, SDL_Color color, const char *f, ...) {
    char *t = NULL;
    va_list args;
    va_start(args, f);
    int n = vasprintf(&t, f, args);
    va_end(args);
    int w = n < 0 ? 0 : text_fit_n(c, s, x, y, room, color, t, n);
    free(t);
    return w;
}

int text_wrap(Canvas *c, Style s, SDL_Rect r, int lines, SDL_Color color, const char *t) {
    int used = 0, height = text_height(c, s);
    for (int n = (int) strlen(t); n > 0 && used < lines; used++) {
        int fits = text_fitting(c, s, t, n, r.w);
        if (used == lines - 1 || fits == n) {
            text_fit_n(c, s, r.x, r.y + used * height, r.w, color, t, n);
            return used + 1;
        }
        int cut = fits;
        while (cut > 0 && t[cut] != ' ')
            cut--;
        if (cut == 0)
            cut = fits > 0 ? fits : 1;
        text(c, s, r.x, r.y + used * height, color, t, cut);
        t += cut, n -= cut;
        while (n > 0 && *t == ' ')
            t++, n--;
    }
    return used;
}
