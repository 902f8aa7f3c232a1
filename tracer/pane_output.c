/* pane_output.c: what the program has written. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

enum { MOST_ROWS = 400, UNSEEN = INT_MIN };       /* MOST_ROWS of one line: what is longer than that is a flood, no line */

static int row_height(Canvas *c) {
    return text_height(c, CODE) + pt(c, 2);
}

static SDL_Color part_color(const OutPart *p) {
    return p->fd == 0 ? WARN : p->fd == 2 ? ALARM : p->raw ? DIM : TEXT;
}

/* Where does the line that contains part i begin? */
static size_t line_start(const History *h, size_t i) {
    while (i > 0 && h->output.at[i].joins)
        i--;
    return i;
}

/* Rather between words, if there is a blank near the end of the row. */
static int at_blank(const char *t, int fits) {
    enum { NEAR = 24 };
    for (int i = fits; i > 0 && i > fits - NEAR; i--)
        if (t[i - 1] == ' ')
            return i;
    return fits;
}

/* A row of a line; one that begins far above the pane has many that nobody sees. */
static void draw_part(Canvas *c, SDL_Rect in, int x, int y, SDL_Color color, const char *t, int n) {
    if (y + row_height(c) > in.y && y < in.y + in.h)
        text(c, CODE, x, y, color, t, n);
}

/* Walks along a line and breaks it where the pane ends; draws it, with its first row at y, unless that is UNSEEN. Returns
 * how many rows the line has. */
static int walk_line(View *v, SDL_Rect in, int y, size_t from, size_t end) {
    const History *h = &v->s->history;
    Canvas *c = v->c;
    int x = 0, row = 0, height = row_height(c);
    for (size_t i = from; i < end; i++) {
        const OutPart *p = &h->output.at[i];
        if (i > from && !p->joins)
            break;
        const char *t = p->text;
        for (int n = (int) strlen(t), fits; n > 0; t += fits, n -= fits) {
            fits = text_fitting(c, CODE, t, n, in.w - x);
            if (fits == 0 && x == 0)
                fits = n;                         /* not even one letter has room: no use to go on */
            if (fits < n)
                fits = at_blank(t, fits);
            if (y != UNSEEN)
                draw_part(c, in, in.x + x, y + row * height, part_color(p), t, fits);
            x += text_width(c, CODE, t, fits);
            if (fits < n)
                x = 0, row++;
            if (row == MOST_ROWS) {
                if (y != UNSEEN)
                    draw_part(c, in, in.x, y + row * height, FAINT, "… the rest of this line is not shown", -1);
                return row + 1;
            }
        }
    }
    return row + 1;
}

void draw_output(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const History *h = &v->s->history;
    size_t end = history_output(h, v->s->now.k);
    SDL_Rect in = pane_box(v, P_OUTPUT, r, "Output", v->scroll[P_OUTPUT] > 0 ? "scrolled up: back to its end with \u2193" :
                           end ? NULL : "nothing yet");
    int height = row_height(c), rows = in.h / height, skip = v->scroll[P_OUTPUT], bottom = in.y + rows * height;
    v->rows[P_OUTPUT] = (int) end + rows;
    v->seen[P_OUTPUT] = rows;
    clip_push(c, (SDL_Rect) {in.x, in.y, in.w, rows * height});
    int y = in.y, used = 0;
    size_t to = end, first = end;
    for (; to > 0 && used < rows + skip; to = first) {
        first = line_start(h, to - 1);
        used += walk_line(v, in, UNSEEN, first, to);
    }
    skip = used < rows ? 0 : used - rows < skip ? used - rows : skip;
    y = used - skip < rows ? in.y : bottom - (used - skip) * height;
    for (size_t i = first; i < end && y < bottom;) {
        size_t next = i + 1;
        while (next < end && h->output.at[next].joins)
            next++;
        y += height * walk_line(v, in, y, i, next);
        i = next;
    }
    v->scroll[P_OUTPUT] = skip;
    clip_pop(c);
}
