/* pane_output.c: what the program has written. */
#include <stdlib.h>
#include <string.h>

#include "view.h"

static SDL_Color part_color(const OutPart *p) {
    return p->fd == 0 ? WARN : p->fd == 2 ? ALARM : p->raw ? DIM : TEXT;
}

/* Where does the line that contains part i begin? */
static size_t line_start(const History *h, size_t i) {
    while (i > 0 && h->output.at[i].joins)
        i--;
    return i;
}

static void draw_line(View *v, int x, int y, int room, size_t from, size_t end) {
    const History *h = &v->s->history;
    for (size_t i = from; i < end && room > 0; i++) {
        const OutPart *p = &h->output.at[i];
        if (i > from && !p->joins)
            break;
        int w = text_fit(v->c, CODE, x, y, room, part_color(p), p->text);
        x += w, room -= w;
    }
}

void draw_output(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const History *h = &v->s->history;
    size_t end = history_output(h, v->s->now.k);
    char *note = end ? NULL : xcopy("nothing yet");
    if (v->scroll[P_OUTPUT] > 0)
        note = xformat("scrolled up: End of it with ↓");
    SDL_Rect in = pane_box(v, P_OUTPUT, r, "Output", note);
    free(note);
    int height = text_height(c, CODE) + pt(c, 2), rows = in.h / height, skip = v->scroll[P_OUTPUT], row = rows;
    v->rows[P_OUTPUT] = (int) end + rows;
    v->seen[P_OUTPUT] = rows;
    clip_push(c, in);
    size_t starts[512], n = 0, to = end;
    while (to > 0 && n < 512 && (int) n < rows) {
        size_t from = line_start(h, to - 1);
        if (skip > 0)
            skip--, end = from;
        else
            starts[n++] = from;
        to = from;
    }
    v->scroll[P_OUTPUT] -= skip;
    row = (int) n;
    for (size_t i = 0; i < n; i++)
        draw_line(v, in.x, in.y + --row * height, in.w, starts[i], end);
    clip_pop(c);
}
