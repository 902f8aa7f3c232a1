/* buf.c: see buf.h. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p) {
    if (p)
        return p;
    fputs("tracer: out of memory. A smaller recording, or closing other programs, helps.\n", stderr);
    exit(1);
}

void *xalloc(size_t size) {
    return checked(calloc(1, size ? size : 1));
}

void *xgrow(void *old, size_t size) {
    return checked(realloc(old, size ? size : 1));
}

char *xcopy(const char *text) {
    return checked(strdup(text));
}

char *xformat(const char *format, ...) {
    char *out = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&out, format, args);
    va_end(args);
    return checked(n < 0 ? NULL : out);
}

/* ---- growing ---- */

void *vec_room(void *at, size_t *cap, size_t need, size_t size) {
    if (need <= *cap)
        return at;
    size_t want = *cap ? *cap * 2 : 8;
    *cap = want < need ? need : want;
    return xgrow(at, *cap * size);
}

void buf_add(Buf *b, const void *bytes, size_t n) {
    b->s = vec_room(b->s, &b->cap, b->len + n + 1, 1);
    if (n)
        memcpy(b->s + b->len, bytes, n);
    b->len += n;
    b->s[b->len] = '\0';
}

void buf_str(Buf *b, const char *text) {
    buf_add(b, text, strlen(text));
}

void buf_fmt(Buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    b->s = vec_room(b->s, &b->cap, b->len + n + 1, 1);
    vsnprintf(b->s + b->len, n + 1, format, again);
    va_end(again);
    b->len += n;
}

void buf_eat(Buf *b, size_t n) {
    if (!n)
        return;
    memmove(b->s, b->s + n, b->len - n + 1);
    b->len -= n;
}

void buf_clear(Buf *b) {
    b->len = 0;
    if (b->s)
        b->s[0] = '\0';
}

void buf_free(Buf *b) {
    free(b->s);
    *b = (Buf) {0};
}

const char *buf_text(const Buf *b) {
    return b->s ? b->s : "";
}

/* ---- interning: a hash table of strings with linear probing ---- */

static struct {
    char **slots;
    size_t used, size;
} table;

static uint64_t hash(const char *s) {
    uint64_t h = 1469598103934665603u;
    for (; *s; s++)
        h = (h ^ (unsigned char) *s) * 1099511628211u;
    return h ^ h >> 29;
}

static char **slot_of(char **slots, size_t size, const char *text) {
    size_t i = hash(text) & (size - 1);
    while (slots[i] && strcmp(slots[i], text))
        i = (i + 1) & (size - 1);
    return &slots[i];
}

static void intern_grow(void) {
    size_t size = table.size ? table.size * 2 : 256;
    char **slots = xalloc(size * sizeof *slots);
    for (size_t i = 0; i < table.size; i++)
        if (table.slots[i])
            *slot_of(slots, size, table.slots[i]) = table.slots[i];
    free(table.slots);
    table.slots = slots;
    table.size = size;
}

const char *intern(const char *text) {
    if (!text || !*text)
        return "";
    if (table.used * 3 >= table.size * 2)
        intern_grow();
    char **slot = slot_of(table.slots, table.size, text);
    if (!*slot) {
        *slot = xcopy(text);
        table.used++;
    }
    return *slot;
}

void intern_free(void) {
    for (size_t i = 0; i < table.size; i++)
        free(table.slots[i]);
    free(table.slots);
    memset(&table, 0, sizeof table);
}

/* ---- UTF-8 ---- */

static int utf8_length(unsigned char first) {
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first < 0xE0)
        return 2;
    if (first >= 0xE0 && first < 0xF0)
        return 3;
    return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

uint32_t utf8_next(const char **s, const char *end) {
    const unsigned char *p = (const unsigned char *) *s;
    int n = utf8_length(*p);
    if (n == 0 || end - *s < n) {
        (*s)++;
        return NOT_UTF8 + *p;
    }
    uint32_t rune = n == 1 ? *p : *p & (0x7F >> n);
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            (*s)++;
            return NOT_UTF8 + *p;
        }
        rune = rune << 6 | (p[i] & 0x3F);
    }
    *s += n;
    return rune;
}

const char *letter_escape(uint32_t rune, char room[16]) {
    bool stray = rune >= NOT_UTF8 + 0x80 && rune <= NOT_UTF8 + 0xFF;
    snprintf(room, 16, stray || rune < 0x80 ? "\\x%02x" : rune < 0x10000 ? "\\u%04x" : "\\U%08x",
             (unsigned) (stray ? rune - NOT_UTF8 : rune));
    return room;
}

void buf_visible(Buf *b, const char *text, size_t n) {
    char room[16];
    for (const char *p = text, *end = text + n; p < end;) {
        const char *letter = p;
        uint32_t rune = utf8_next(&p, end);
        if (rune < ' ' || rune == 127 || (rune >= NOT_UTF8 && rune <= NOT_UTF8 + 0xFF))
            buf_str(b, letter_escape(rune, room));
        else
            buf_add(b, letter, p - letter);
    }
}
