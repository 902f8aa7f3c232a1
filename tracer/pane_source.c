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
    for (size_t i = 0; i < v->alive.n; i++) {
        const Task *t = v->alive.at[i];
        int row = t->line - top;
        if (!t->started || row < 0 || row >= rows || strcmp(t->file, file))
            continue;
        if (at[row].n < SHOWN)
            at[row].task[at[row].n] = t;
        at[row].n++;
        if (t->state == ST_RUNNING) {             /* never among those that are only counted */
            size_t last = at[row].n <= SHOWN ? at[row].n - 1 : SHOWN - 1;
            at[row].task[last] = at[row].task[0];
            at[row].task[0] = t;
        }
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

typedef struct Lexer {
    bool comment;
    char quote;                                   /* of the string it is in, or 0 */
} Lexer;

/* Up to the blanks after the next word of a string, or up to its end. */
static size_t string_piece(Lexer *l, const char *s, size_t n) {
    while (s[n] && s[n] != l->quote && s[n] != ' ')
        n += s[n] == '\\' && s[n + 1] ? 2 : 1;
    if (s[n] == l->quote) {
        l->quote = 0;
        return n + 1;
    }
    return n + strspn(s + n, " ");
}

/* One piece of a line: a word, what stands between words; of a comment or a string, a word at a time. */
static size_t token(Lexer *l, const char *s, SDL_Color *color, bool *bold) {
    size_t n = 1;
    *color = TEXT;
    *bold = false;
    l->comment = l->comment || (!l->quote && s[0] == '/' && (s[1] == '/' || s[1] == '*'));
    if (l->comment) {
        *color = RGB(0x9AA0AA);
        n = strcspn(s, " ");
        return n + strspn(s + n, " ");
    }
    if (l->quote || *s == '"' || *s == '\'') {
        bool begins = !l->quote;
        *color = RGB(0xB7E07C);
        l->quote = begins ? *s : l->quote;
        return string_piece(l, s, begins ? 1 : 0);
    }
    if (!is_word(*s)) {
        while (s[n] && !is_word(s[n]) && !strchr("/\"'", s[n]) && (s[n] == ' ' || s[n - 1] != ' '))
            n++;
        return n;
    }
    while (is_word(s[n]) || (isdigit((unsigned char) *s) && s[n] == '.'))
        n++;
    *color = word_color(s, n, bold);
    return n;
}

static size_t blanks_at_end(const char *s, size_t n) {
    size_t blanks = 0;
    while (blanks < n && s[n - 1 - blanks] == ' ')
        blanks++;
    return blanks;
}

/* The width of a piece together with the brackets and commas that cling to it: no row should begin with those. */
static int cling_width(Canvas *c, Style style, const char *s, size_t n) {
    size_t more = s[n - 1] == ' ' ? 0 : strspn(s + n, ")]};,");
    n -= blanks_at_end(s, n);
    return text_width(c, style, s, (int) n) + text_width(c, CODE, s + n, (int) more);
}

/* A line of code in rows of r.w, of which all but the first hang under its beginning. What does not fit into MOST_ROWS
 * ends in an ellipsis. Returns the number of rows; draws only if asked to. */
static int code(Canvas *c, SDL_Rect r, const char *s, const SDL_Color *only, bool draw) {
    enum { MOST_ROWS = 3 };
    Lexer l = {.comment = !strncmp(s, " *", 2)};
    int x = r.x, row = 0, right = r.x + r.w;
    int hang = text_width(c, CODE, s, (int) strspn(s, " ")) + text_width(c, CODE, "    ", -1);
    hang = hang > r.w / 2 ? r.w / 2 : hang;
    while (*s) {
        SDL_Color color;
        bool bold;
        size_t n = token(&l, s, &color, &bold), ink = n - blanks_at_end(s, n);         /* blanks at a row's end may stick out */
        Style style = bold ? CODE_BOLD : CODE;
        if (x + cling_width(c, style, s, n) > right && x > r.x && row + 1 < MOST_ROWS)
            x = r.x + hang, row++;
        bool cut = x + text_width(c, style, s, (int) ink) > right;
        if (draw)
            text_fit_n(c, style, x, r.y + row * r.h, right - x, only ? *only : color, s, (int) ink);
        if (cut)
            break;
        x += text_width(c, style, s, (int) n);
        s += n;
    }
    return row + 1;
}

/* ---- rows ---- */

/* Room for the count of those that are not shown. */
static int tail_width(Canvas *c, size_t n) {
    char count[24];
    snprintf(count, sizeof count, "+%zu", n);
    return text_width(c, STRONG, count, -1) + pt(c, 4);
}

/* How many chips fit, and how wide they are together. */
static int fit_chips(Canvas *c, const Standing *at, int h, int room, size_t *shown) {
    int used = 0, gap = pt(c, 5), most = pt(c, at->n > 1 ? 120 : 200), tail = tail_width(c, at->n);
    size_t n = at->n < SHOWN ? at->n : SHOWN;
    for (*shown = 0; *shown < n; ++*shown) {
        int w = chip_width(c, h, most, at->task[*shown]->label) + gap;
        if (used + w > room - (*shown + 1 < at->n ? tail : 0))
            break;
        used += w;
    }
    return used + (*shown < at->n ? tail : 0);
}

static void draw_chips(View *v, const Standing *at, int x, int y, int h, size_t shown) {
    Canvas *c = v->c;
    int most = pt(c, at->n > 1 ? 120 : 200);
    int edge = pt(c, 1.5), w = shown ? chip_width(c, h, most, at->task[0]->label) : 0;
    if (shown && at->task[0]->state == ST_RUNNING)             /* or blue would stand on blue */
        round_fill(c, (SDL_Rect) {x - edge, y - edge, w + 2 * edge, h + 2 * edge}, pt(c, 5), RGB(0x0C1116));
    for (size_t i = 0; i < shown; i++)
        x += chip(c, x, y, h, most, at->task[i]->state, at->task[i]->label) + pt(c, 5);
    if (shown < at->n)
        text_fmt(c, STRONG, x, y, tail_width(c, at->n), WARN, "+%zu", at->n - shown);
}

/* A line of source as it will be drawn: the code may need two rows, and chips that do not fit beside it one more. */
typedef struct Row {
    int number, y, height, unit, code_rows, chips_w;
    bool runs, was, chips_below;
    size_t shown;
    const Standing *standing;
} Row;

static Row measure(View *v, SDL_Rect r, const Source *source, int number, int unit, const Standing *standing) {
    Canvas *c = v->c;
    const char *s = source->lines.at[number - 1];
    int room = r.w - pt(c, 46), wide = text_width(c, CODE, s, -1), h = unit - pt(c, 2);
    Row row = {.number = number, .unit = unit, .standing = standing};
    if (standing->n)
        row.chips_w = fit_chips(c, standing, h, room - wide - pt(c, 10), &row.shown);
    if (standing->n && row.shown < (standing->n < 2 ? standing->n : 2)) {
        row.chips_below = true;
        row.chips_w = fit_chips(c, standing, h, room - pt(c, 40), &row.shown);
    }
    row.code_rows = code(c, (SDL_Rect) {0, 0, room, unit}, s, NULL, false);
    row.height = unit * (row.code_rows + row.chips_below);
    return row;
}

static void draw_row(View *v, SDL_Rect r, const Source *source, Row row) {
    Canvas *c = v->c;
    SDL_Color black = RGB(0x0C1116);
    int gutter = pt(c, 46), size = pt(c, 13), th = text_height(c, CODE), h = row.unit - pt(c, 2);
    SDL_Rect whole = {r.x - pt(c, 6), row.y, r.w + pt(c, 12), row.unit * row.code_rows};
    if (row.runs)
        fill(c, whole, ACCENT);
    else if (row.was)
        fill(c, whole, mix(PANEL, ACCENT, 0.25));
    if (row.number == v->chosen_line)
        frame(c, whole, pt(c, 1), DIM);
    if (session_breaks(v->s, source->file, row.number))
        icon(c, ICON_DISC, r.x - pt(c, 4), row.y + (row.unit - size) / 2, size, ALARM);
    char number[16];
    snprintf(number, sizeof number, "%d", row.number);
    int y = row.y + (row.unit - th) / 2;
    text(c, CODE, r.x + gutter - pt(c, 12) - text_width(c, CODE, number, -1), y, row.runs ? black : FAINT, number, -1);
    code(c, (SDL_Rect) {r.x + gutter, y, r.w - gutter, row.unit}, source->lines.at[row.number - 1],
         row.runs ? &black : NULL, true);
    if (row.standing->n)
        draw_chips(v, row.standing, r.x + r.w - row.chips_w, row.y + row.height - row.unit + pt(c, 1), h, row.shown);
}

/* Do the lines from `top` to the running one fit into the pane, with the chips of those who stand there? */
static bool reaches(View *v, SDL_Rect in, const Source *source, int top, int running, int unit, Standing *at) {
    int height = 0, rows = in.h / unit, lines = (int) source->lines.n;
    memset(at, 0, (rows + 1) * sizeof *at);
    gather(v, source->file, top, rows, at);
    for (int line = top; line <= running && line <= lines && line - top < rows && height <= in.h; line++)
        height += measure(v, in, source, line, unit, &at[line - top]).height;
    return running - top < rows && height <= in.h;
}

/* The first line to show, so that the running one stands in the upper middle, or lower if the file begins or ends there. */
static int usual_top(View *v, SDL_Rect in, const Source *source, int running, int unit, Standing *at) {
    int rows = in.h / unit, top = running - rows * 2 / 5, last = (int) source->lines.n - rows + 1;
    top = top > last ? last : top;
    top = top < 1 ? 1 : top;
    while (top < running && !reaches(v, in, source, top, running, unit, at))
        top++;
    return top;
}

static int top_line(View *v, SDL_Rect in, const Source *source, int running, int unit, Standing *at) {
    int usual = usual_top(v, in, source, running, unit, at), top = usual + v->scroll[P_SOURCE];
    int last = (int) source->lines.n - in.h / unit / 2;           /* wrapped lines need more rows than there are lines */
    last = last < usual ? usual : last;
    top = top > last ? last : top;
    top = top < 1 ? 1 : top;
    v->scroll[P_SOURCE] = v->scroll[P_SOURCE] ? top - usual : 0;
    return top;
}

static void draw_missing(View *v, SDL_Rect r, const Source *source) {
    Canvas *c = v->c;
    const Model *m = &v->s->now;
    if (!*source->file) {
        text_wrap(c, NORMAL, r, 4, DIM, "No line of source has run yet.");
        return;
    }
    char *words = xformat("%s is not found: not where the trace says, nor beside the program or the recording or above "
                          "them. Start the tracer with --source DIR to say where it is.", source->file);
    int lines = text_wrap(c, NORMAL, r, 6, DIM, words);
    free(words);
    const Place *p = &v->s->history.log.places.at[m->place];
    text_fmt(c, STRONG, r.x, r.y + (lines + 1) * text_height(c, NORMAL), r.w, TEXT, "now: line %d, %s()", p->line, m->func);
}

static void draw_lines(View *v, SDL_Rect in, const Source *source, int running) {
    Canvas *c = v->c;
    int unit = text_height(c, CODE) + pt(c, 3), rows = in.h / unit, y = in.y;
    Standing *at = xalloc((rows + 1) * sizeof *at);
    int top = v->top_line = top_line(v, in, source, running, unit, at);
    v->line_height = unit;
    v->seen[P_SOURCE] = 0;
    memset(at, 0, (rows + 1) * sizeof *at);
    gather(v, source->file, top, rows, at);
    clip_push(c, (SDL_Rect) {in.x - pt(c, 10), in.y, in.w + pt(c, 20), in.h});
    for (int i = 0; i < rows && top + i <= (int) source->lines.n; i++) {
        Row row = measure(v, in, source, top + i, unit, &at[i]);
        row.y = y;
        row.runs = top + i == running && v->s->now.running;
        row.was = top + i == running && !v->s->now.running;
        if (y + row.height > in.y + in.h)
            break;
        draw_row(v, in, source, row);
        v->row_line[v->seen[P_SOURCE]++ % ROOM_LINES] = (RowPlace) {top + i, y, row.height};
        y += row.height;
    }
    clip_pop(c);
    free(at);
}

void draw_source(View *v, SDL_Rect r) {
    const Model *m = &v->s->now;
    const Place *place = &v->s->history.log.places.at[m->place];
    const Source *source = source_get(&v->sources, place->file);
    const Log *log = &v->s->history.log;
    bool moved = source_changed(source, log->program, log->started);
    char *note = *source->file ? xformat("%sline %d%s%s%s", moved ? "newer than the program, lines may have moved:  " : "", place->line,
                                         *m->func ? ", in " : "", m->func, *m->func ? "()" : "")
                               : xcopy("");
    SDL_Rect in = pane_box(v, P_SOURCE, r, *source->file ? base_name(source->file) : "Source", note);
    free(note);
    v->shown_file = source->file;
    v->line_height = 0;
    if (!source->lines.n) {
        draw_missing(v, in, source);
        return;
    }
    draw_lines(v, in, source, place->line);
}
