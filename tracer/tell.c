/* tell.c: see tell.h. */
#include "tell.h"

#include <stdlib.h>
#include <string.h>

#include "narrate.h"

void teller_init(Teller *t, FILE *out) {
    *t = (Teller) {.out = out};
    model_init(&t->m);
}

void teller_free(Teller *t) {
    model_free(&t->m);
}

/* Wraps at `width` columns; lines after the first are indented. */
static void wrapped(FILE *out, const char *text, int indent, int width) {
    int column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        int columns = 0;
        for (size_t i = 0; i < word; i++)
            columns += (text[i] & 0xC0) != 0x80;
        if (column && column + 1 + columns > width - indent) {
            fprintf(out, "\n%*s", indent, "");
            column = 0;
        }
        column += fprintf(out, column ? " %.*s" : "%.*s", (int) word, text) ? columns + (column ? 1 : 0) : 0;
        text += word;
        while (*text == ' ')
            text++;
    }
    fputc('\n', out);
}

static void heading(Teller *t, const Model *m) {
    char title[80];
    int n = snprintf(title, sizeof title, "── tick %llu, +%.6f s ", (unsigned long long) m->tick, m->ts);
    fprintf(t->out, "\n%s", title);
    for (int i = n - 4; i < 100; i++)
        fputs("─", t->out);
    fputs("\n", t->out);
}

static void step(Teller *t, const Log *log, Said *said) {
    const Event *e = log_step(log, t->m.k);
    narrate(said, &t->m, log);
    if (e->kind == EV_TICK_BEGIN)
        heading(t, &t->m);
    Buf all = {0};
    buf_str(&all, buf_text(&said->what));
    if (said->why.len)
        buf_fmt(&all, " %s", buf_text(&said->why));
    if (said->wake.len)
        buf_fmt(&all, " %s", buf_text(&said->wake));
    fprintf(t->out, "%7zu  ", t->m.k);
    wrapped(t->out, buf_text(&all), 9, 110);
    buf_free(&all);
}

void tell(Teller *t, History *h) {
    Said said = {0};
    while (t->m.k < log_count(&h->log) && !ferror(t->out)) {
        model_apply(&t->m, &h->log, t->m.k + 1);
        step(t, &h->log, &said);
    }
    said_free(&said);
}
