/* history.c: see history.h. */
#include "history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SPACING = 256, MOST = 4096 };

void history_init(History *h) {
    *h = (History) {.spacing = SPACING, .most = MOST};
    log_init(&h->log);
    model_init(&h->tail);
    h->tail.lanes = &h->lanes;
}

void history_free(History *h) {
    for (size_t i = 0; i < h->snapshots.n; i++)
        model_free(&h->snapshots.at[i]);
    for (size_t i = 0; i < h->output.n; i++)
        free(h->output.at[i].text);
    vec_free(h->snapshots);
    vec_free(h->output);
    vec_free(h->ticks);
    model_free(&h->tail);
    lanes_free(&h->lanes);
    log_free(&h->log);
}

/* ---- output, cut into lines ---- */

static void output_text(History *h, const char *text, size_t n, int fd, bool raw, size_t step) {
    while (n) {
        const OutPart *last = h->output.n ? &h->output.at[h->output.n - 1] : NULL;
        const char *newline = memchr(text, '\n', n);
        size_t part = newline ? (size_t) (newline - text) : n;
        OutPart p = {.step = step, .fd = fd, .raw = raw, .open = !newline, .text = xformat("%.*s", (int) part, text)};
        p.joins = last && last->open && last->fd == fd && last->raw == raw;
        vec_push(h->output, p);
        part += newline ? 1 : 0;
        text += part;
        n -= part;
    }
}

static void note_output(History *h, const Event *e, size_t k) {
    Open open = event_open(e);
    if (e->kind == EV_EXCEPTION_REPORT) {
        char *text = xformat("loop: %s: %s\n", arg_text(open.args, "message"), arg_text(open.args, "exception"));
        output_text(h, text, strlen(text), 0, false, k);
        free(text);
    } else if (e->kind == EV_PROGRAM_END) {
        const char *words = arg_text(open.args, "text"), *stop = strstr(words, ". ");
        char *text = xformat("%.*s\n", stop ? (int) (stop + 1 - words) : (int) strlen(words), words);
        output_text(h, text, strlen(text), 0, false, k);
        free(text);
    } else {
        const char *text = arg_text(open.args, "text");
        output_text(h, text, strlen(text), arg_int(open.args, "fd", 1), e->kind == EV_RAW_OUTPUT, k);
    }
    event_close(&open);
}

size_t history_output(const History *h, size_t k) {
    size_t low = 0, high = h->output.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (h->output.at[middle].step <= k)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- growing ---- */

/* Too many snapshots: every other one goes, and from now on they lie twice as far apart. */
static void thin(History *h) {
    size_t kept = 0;
    for (size_t i = 0; i < h->snapshots.n; i++) {
        if (i % 2)
            model_free(&h->snapshots.at[i]);
        else
            h->snapshots.at[kept++] = h->snapshots.at[i];
    }
    h->snapshots.n = kept;
    h->spacing *= 2;
}

static void grown(History *h) {
    size_t k = log_count(&h->log);
    const Event *e = log_step(&h->log, k);
    model_apply(&h->tail, &h->log, k);
    lanes_count(&h->lanes, &h->tail);
    if (e->kind == EV_TICK_BEGIN)
        vec_push(h->ticks, k);
    if (e->kind == EV_OUTPUT || e->kind == EV_RAW_OUTPUT || e->kind == EV_EXCEPTION_REPORT ||
        e->kind == EV_PROGRAM_END)
        note_output(h, e, k);
    if (k % h->spacing == 0)
        vec_push(h->snapshots, model_copy(&h->tail));
    if (h->snapshots.n > h->most)
        thin(h);
}

bool history_line(History *h, const char *line, size_t length) {
    if (!log_line(&h->log, line, length))
        return false;
    grown(h);
    return true;
}

void history_own(History *h, EventKind kind, int number, const char *text, size_t length) {
    log_own(&h->log, kind, number, text, length);
    grown(h);
}

/* ---- going anywhere ---- */

static const Model *snapshot_before(const History *h, size_t k) {
    size_t low = 0, high = h->snapshots.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (h->snapshots.at[middle].k <= k)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &h->snapshots.at[low - 1] : NULL;
}

void history_seek(History *h, Model *m, size_t k) {
    const Model *snapshot = k == h->tail.k ? &h->tail : snapshot_before(h, k);
    size_t from = snapshot ? snapshot->k : 0;
    if (m->k > k || m->k < from) {
        model_free(m);
        if (snapshot)
            *m = model_copy(snapshot);
        else
            model_init(m);
    }
    while (m->k < k) {
        model_apply(m, &h->log, m->k + 1);
        h->replayed++;
    }
}

size_t history_find(const History *h, size_t k, int direction, StepTest *is, void *with) {
    for (size_t i = k + direction; i >= 1 && i <= log_count(&h->log); i += direction)
        if (is(log_step(&h->log, i), with))
            return i;
    return 0;
}

/* ---- reading a recording ---- */

static FILE *open_recording(History *h, const char *path, double *size) {
    struct stat st;
    FILE *in = fopen(path, "rb");
    if (!in || fstat(fileno(in), &st)) {
        h->log.refused = xformat("%s cannot be read: %s.", path, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        h->log.refused = xformat("%s is a directory. Give the recording or the program itself.", path);
    } else {
        *size = (double) st.st_size;
        return in;
    }
    if (in)
        fclose(in);
    return NULL;
}

static void judge_end(History *h, const char *path, bool last_whole) {
    Log *log = &h->log;
    if (!log->began && !log->refused)
        log->refused = xformat("%s holds no trace of asyncio.c: there is not a single event in it%s. A trace is recorded "
                               "with ASYNCIO_TRACE=FILE ./program.", path, log->lines ? "" : " (it is empty)");
    if (log->began && !log->closed)
        log_problem(log, xformat("The recording was cut short after step %zu%s: the program was ended from outside, or "
                                 "is still running. Everything before that is shown.", log_count(log),
                                 last_whole ? "" : ", in the middle of a line"));
}

/* The last line of a file that was cut short ends anywhere; that is no damage worth a message of its own. */
static bool parses(const char *line, size_t n) {
    if (n >= 3 && !memcmp(line + n - 3, "{}]", 3))
        return true;
    cJSON *json = cJSON_ParseWithLength(line, n);
    cJSON_Delete(json);
    return json != NULL;
}

bool history_load(History *h, const char *path, void (*progress)(double part)) {
    double size = 0, done = 0;
    FILE *in = open_recording(h, path, &size);
    if (!in)
        return false;
    char *line = NULL;
    size_t room = 0;
    bool whole = true;
    for (ssize_t n; !h->log.refused && (n = getline(&line, &room, in)) > 0;) {
        whole = line[n - 1] == '\n' || parses(line, n);
        if (whole)
            history_line(h, line, n);
        done += n;
        if (progress && h->log.lines % 8192 == 0)
            progress(size > 0 ? done / size : 0);
    }
    free(line);
    fclose(in);
    judge_end(h, path, whole);
    return log_count(&h->log) > 0;
}
