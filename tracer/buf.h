/* buf.h: memory that cannot fail, growing strings, growing arrays.
 *
 * A viewer that runs out of memory can do nothing useful, so these functions end the program with a message instead of
 * returning NULL, and no caller has to check.
 */
#ifndef TRACER_BUF_H
#define TRACER_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *xalloc(size_t size);                        /* zeroed */
void *xgrow(void *old, size_t size);
char *xcopy(const char *text);
char *xformat(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A string that grows. `s` is always terminated once anything was added; buf_text() also for an empty one. */
typedef struct Buf {
    char *s;
    size_t len, cap;
} Buf;

void buf_add(Buf *b, const void *bytes, size_t n);
void buf_str(Buf *b, const char *text);
void buf_fmt(Buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_eat(Buf *b, size_t n);                   /* drops the first n bytes */
void buf_clear(Buf *b);
void buf_free(Buf *b);
const char *buf_text(const Buf *b);

/* An array that grows: VEC(int) v = {0}; vec_push(v, 7); v.at[0] */
#define VEC(T) struct { T *at; size_t n, cap; }
#define vec_push(v, x) ((v).at = vec_room((v).at, &(v).cap, (v).n + 1, sizeof *(v).at), (void) ((v).at[(v).n++] = (x)))
#define vec_free(v) (free((v).at), (v).at = NULL, (v).n = (v).cap = 0)
void *vec_room(void *at, size_t *cap, size_t need, size_t size);  /* at, moved if it had to grow */

/* One copy of each distinct string, kept until intern_free(): so that states can be copied by copying pointers. NULL
 * gives "". */
const char *intern(const char *text);
void intern_free(void);

/* UTF-8: the code point at *s, which moves past it. A byte that is not valid counts as NOT_UTF8 + the byte, as in Python
 * (these numbers are no letters). */
enum { NOT_UTF8 = 0xDC00 };
uint32_t utf8_next(const char **s, const char *end);

/* How a letter is written that cannot be shown: \x1b, \u65e5, \U0001f600. */
const char *letter_escape(uint32_t rune, char room[16]);
void buf_visible(Buf *b, const char *text, size_t n);              /* adds it with escapes for control signs and stray bytes */

#endif
