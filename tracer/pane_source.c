/* pane_source.c: the source, the line that runs, and who waits where. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

enum { SHOWN = 8 };

/* The unfinished tasks that stand at one line. */
typedef struct Standing {
    size_t n;
    const Task *task[SHOWN];
} Standing;

static void gather(const View *v, const char *file, int top, int rows, Standing *at) {
    const Task *t;
    for (uint64_t k = 0; (t = pmap_from(&v->s->now.tasks, &k)); k++) {
        int row = t->line - top;
        if (state_over(t->state) || !t->started || row < 0 || row >= rows || strcmp(t->file, file))
            continue;
        if (at[row].n < SHOWN)
            at[row].task[at[row].n] = t;
        at[row].n++;
    }
}

/* ---- colours of C, in three tones ---- */

static bool is_word(char ch) { return isalnum((unsigned char) ch) || ch == '_'; }

static bool among(const char *word, size_t n, const char *list) {
    for (const char *p = list; (p = strstr(p, word)); p++)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

static SDL_Color word_color(const char *s, size_t n, bool *bold) {
    char word[32] = "";
    if (n >= sizeof word)
        return TEXT;
    memcpy(word, s, n);
    *bold = among(word, n, "await async_def async_gen async_for async_with yield end_with except finally end_try try");
    if (*bold)
        return RGB(0x7CC7F2);
    if (among(word, n, "if else for while do return break continue switch case static const struct int double char void "
                       "float long bool true false None NULL Value Task Queue Lock Event Future volatile sizeof"))
        return RGB(0xE6B86A);
    return isdigit((unsigned char) *s) ? RGB(0xB7E07C) : TEXT;
}

static size_t token(const char *s, SDL_Color *color, bool *bold) {
    size_t n = 1;
    *color = TEXT;
    *bold = false;
    if (s[0] == '/' && (s[1] == '/' || s[1] == '*')) {
        *color = RGB(0x9AA0AA);
        return strlen(s);
    }
    if (*s == '"' || *s == '\'') {
        while (s[n] && s[n] != *s)
            n += s[n] == '\\' && s[n + 1] ? 2 : 1;
        *color = RGB(0xB7E07C);
        return s[n] ? n + 1 : n;
    }
    if (!is_word(*s)) {
        while (s[n] && !is_word(s[n]) && !strchr("/\"'", s[n]))
            n++;
        return n;
    }
    while (is_word(s[n]))
        n++;
    *color = word_color(s, n, bold);
    return n;
}

static void code(Canvas *c, int x, int y, int room, const char *s, const SDL_Color *only) {
    if (text_width(c, CODE, s, -1) > room) {
        text_fit(c, CODE, x, y, room, only ? *only : TEXT, s);
        return;
    }
    bool comment = !strncmp(s, " *", 2) || !strncmp(s, "/*", 2);
    while (*s) {
        SDL_Color color;
        bool bold;
        size_t n = token(s, &color, &bold);
        if (comment)
            color = RGB(0x9AA0AA);
        x += text(c, bold ? CODE_BOLD : CODE, x, y, only ? *only : color, s, (int) n);
        s += n;
    }
}

/* ---- rows ---- */

/* Chips from the right edge to the left, the code gets what is left over. Returns their width. */
static int draw_chips(View *v, const Standing *at, int right, int y, int h, int room) {
    Canvas *c = v->c;
    int used = 0, gap = pt(c, 5), widths[SHOWN];
    size_t shown = 0, n = at->n < SHOWN ? at->n : SHOWN;
    int most = n > 1 ? pt(c, 110) : pt(c, 180), tail = pt(c, 46);
    while (shown < n) {
        widths[shown] = chip_width(c, h, most, at->task[shown]->label);
        if (used + widths[shown] + gap > room - (shown + 1 < at->n ? tail : 0))
            break;
        used += widths[shown++] + gap;
    }
    if (shown < at->n)
        used += tail;
    int x = right - used;
    for (size_t i = 0; i < shown; i++) {
        chip(c, x, y, h, widths[i], at->task[i]->state, at->task[i]->label);
        x += widths[i] + gap;
    }
    if (shown < at->n)
        text_fmt(c, STRONG, x, y, tail, WARN, "+%zu", at->n - shown);
    return used ? used + gap : 0;
}

typedef struct Row {
    int number, y, height;
    bool runs, was, chosen;
    const Standing *standing;
} Row;

static void draw_row(View *v, SDL_Rect r, const Source *source, Row row) {
    Canvas *c = v->c;
    SDL_Color black = RGB(0x0C1116);
    int gutter = pt(c, 46), size = pt(c, 13), th = text_height(c, CODE);
    SDL_Rect whole = {r.x - pt(c, 6), row.y, r.w + pt(c, 12), row.height};
    if (row.runs)
        fill(c, whole, ACCENT);
    else if (row.was)
        fill(c, whole, mix(PANEL, ACCENT, 0.25));
    if (row.chosen)
        frame(c, whole, pt(c, 1), DIM);
    if (session_breaks(v->s, source->file, row.number))
        icon(c, ICON_DISC, r.x - pt(c, 4), row.y + (row.height - size) / 2, size, ALARM);
    char number[16];
    snprintf(number, sizeof number, "%d", row.number);
    int y = row.y + (row.height - th) / 2;
    text(c, CODE, r.x + gutter - pt(c, 12) - text_width(c, CODE, number, -1), y, row.runs ? black : FAINT, number, -1);
    int chips = draw_chips(v, row.standing, r.x + r.w, row.y + pt(c, 1), row.height - pt(c, 2), r.w * 55 / 100);
    code(c, r.x + gutter, y, r.w - gutter - chips, source->lines.at[row.number - 1], row.runs ? &black : NULL);
}

/* The first line to show, so that the running one stands in the upper middle. */
static int top_line(View *v, int running, int lines, int rows) {
    int top = running - rows * 2 / 5 + v->scroll[P_SOURCE];
    int last = lines - rows + 1;
    if (top > last)
        top = last;
    if (top < 1)
        top = 1;
    v->scroll[P_SOURCE] = v->scroll[P_SOURCE] ? top - (running - rows * 2 / 5) : 0;
    return top;
}

static void draw_missing(View *v, SDL_Rect r, const Source *source) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    if (!*source->file) {
        text_wrap(c, NORMAL, r, 4, DIM, "No line of source has run yet.");
        return;
    }
    char *words = xformat("%s is not here. It is looked for where the trace says, beside the recording, and in the "
                          "directories given with --source DIR.", source->file);
    int lines = text_wrap(c, NORMAL, r, 6, DIM, words);
    free(words);
    const Place *p = &v->s->history.log.places.at[m->place];
    text_fmt(c, STRONG, r.x, r.y + (lines + 1) * text_height(c, NORMAL), r.w, TEXT, "now: line %d, %s()", p->line, m->func);
}

void draw_source(View *v, SDL_Rect r) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    const Place *place = &v->s->history.log.places.at[m->place];
    const Source *source = source_get(&v->sources, place->file);
    char *note = *source->file ? xformat("line %d%s%s%s", place->line, *m->func ? ", in " : "", m->func, *m->func ? "()" : "")
                               : xcopy("");
    SDL_Rect in = pane_box(v, P_SOURCE, r, *source->file ? base_name(source->file) : "Source", note);
    free(note);
    v->shown_file = source->file;
    v->line_height = 0;
    if (!source->lines.n) {
        draw_missing(v, in, source);
        return;
    }
    int height = text_height(c, CODE) + pt(c, 3), rows = in.h / height;
    int top = v->top_line = top_line(v, place->line, (int) source->lines.n, rows);
    v->line_height = height;
    v->seen[P_SOURCE] = rows;
    Standing *at = xalloc((rows + 1) * sizeof *at);
    gather(v, source->file, top, rows, at);
    clip_push(c, (SDL_Rect) {r.x + 1, in.y, r.w - 2, in.h});
    for (int i = 0; i < rows && top + i <= (int) source->lines.n; i++) {
        bool here = top + i == place->line;
        draw_row(v, in, source, (Row) {top + i, in.y + i * height, height, here && m->running, here && !m->running,
                                       top + i == v->chosen_line, &at[i]});
    }
    clip_pop(c);
    free(at);
}
