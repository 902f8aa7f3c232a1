/* log.c: see log.h. */
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 20 };

void log_init(Log *log) {
    *log = (Log) {.expected = 1, .program = "", .cwd = "", .clock = "real"};
    vec_push(log->places, ((Place) {.file = ""}));
}

void log_free(Log *log) {
    for (size_t i = 0; i < log->blocks.n; i++)
        free(log->blocks.at[i]);
    vec_free(log->blocks);
    vec_free(log->events);
    vec_free(log->places);
    cJSON_Delete(log->fresh);
    buf_free(&log->mended);
    free(log->place_slots);
    free(log->refused);
    free(log->problem);
    *log = (Log) {0};
}

void log_problem(Log *log, char *text) {
    log->problems++;
    if (log->problem)
        free(text);
    else
        log->problem = text;
}

static void refuse(Log *log, char *text) {
    if (log->refused)
        free(text);
    else
        log->refused = text;
}

/* Copies a line into memory that never moves. */
static const char *keep(Log *log, const char *line, size_t length) {
    if (log->block_used + length + 1 > log->block_size) {
        log->block_size = length + 1 > BLOCK ? length + 1 : BLOCK;
        log->block_used = 0;
        vec_push(log->blocks, xgrow(NULL, log->block_size));
    }
    char *at = log->blocks.at[log->blocks.n - 1] + log->block_used;
    memcpy(at, line, length);
    at[length] = '\0';
    log->block_used += length + 1;
    return at;
}

/* ---- places: (file, line) pairs by number ---- */

static size_t place_slot(const Log *log, Place p) {
    size_t i = (((uintptr_t) p.file >> 4) * 31 + (unsigned) p.line) * 2654435761u & (log->place_size - 1);
    while (log->place_slots[i]) {
        Place *there = &log->places.at[log->place_slots[i]];
        if (there->file == p.file && there->line == p.line)
            break;
        i = (i + 1) & (log->place_size - 1);
    }
    return i;
}

static void places_grow(Log *log) {
    free(log->place_slots);
    log->place_size = log->place_size ? log->place_size * 2 : 64;
    log->place_slots = xalloc(log->place_size * sizeof *log->place_slots);
    for (size_t i = 1; i < log->places.n; i++)
        log->place_slots[place_slot(log, log->places.at[i])] = i;
}

static uint32_t place_of(Log *log, const cJSON *args) {
    Place p = {intern(arg_text(args, "file")), arg_int(args, "line", 0)};
    if (!*p.file || p.line <= 0)
        return 0;
    if (log->places.n * 2 >= log->place_size)
        places_grow(log);
    uint32_t *slot = &log->place_slots[place_slot(log, p)];
    if (!*slot) {
        *slot = log->places.n;
        vec_push(log->places, p);
    }
    return *slot;
}

/* ---- lines ---- */

static bool trim(const char **line, size_t *length) {
    while (*length && strchr(" \t\r\n,[", **line))
        ++*line, --*length;
    while (*length && strchr(" \t\r\n,", (*line)[*length - 1]))
        --*length;
    return *length > 0;
}

static void check_first(Log *log, EventKind kind, const cJSON *args) {
    if (kind != EV_TRACE_BEGIN) {
        refuse(log, xformat("This is not a trace of asyncio.c: its first event is \"%s\" where \"trace.begin\" belongs "
                            "(line %zu). Was the beginning of the file lost?", event_name(kind), log->lines));
        return;
    }
    double version = arg_number(args, "version", 0);
    if (version != TRACE_VERSION) {
        refuse(log, xformat("This trace has format version %g; this tracer reads version %d. Record it again with the "
                            "asyncio.c that came with this tracer, or use the tracer that came with that asyncio.c.",
                            version, TRACE_VERSION));
        return;
    }
    log->began = true;
    log->program = intern(arg_text(args, "program"));
    log->cwd = intern(arg_text(args, "cwd"));
    log->clock = intern(arg_text(args, "clock"));
    log->pid = arg_number(args, "pid", 0);
    log->started = arg_number(args, "started", 0);
}

static void check_number(Log *log, const cJSON *args) {
    double n = arg_number(args, "n", -1);
    if (n != log->expected)
        log_problem(log, xformat("Event number %g follows number %g (line %zu): some events are missing, so what is "
                                 "shown after that may be incomplete.", n, log->expected - 1, log->lines));
    log->expected = n + 1;
}

static uint64_t task_of(EventKind kind, const cJSON *json, const cJSON *args) {
    uint64_t task = arg_id(args, "task");
    bool about_task = kind == EV_LINE_STEP || (kind >= EV_TASK_CREATE && kind <= EV_TASK_DONE);
    return about_task && task ? task : arg_id(json, "tid");
}

static void add(Log *log, EventKind kind, const cJSON *json, const char *line, size_t length) {
    const cJSON *args = arg(json, "args");
    Event e = {.kind = kind, .line = keep(log, line, length), .length = length};
    e.ts = arg_number(json, "ts", 0) / 1e6;
    if (log->events.n && e.ts < log->events.at[log->events.n - 1].ts)
        e.ts = log->events.at[log->events.n - 1].ts;
    e.task = task_of(kind, json, args);
    e.place = place_of(log, args);
    if (kind == EV_TRACE_END)
        log->closed = true;
    vec_push(log->events, e);
}

static bool accept(Log *log, const cJSON *json, const char *line, size_t length) {
    if (!cJSON_IsObject(json)) {
        enum { SHOWN = 40 };
        Buf start = {0};
        buf_visible(&start, line, length < SHOWN ? length : SHOWN);
        log_problem(log, xformat("Line %zu is not valid JSON and was left out: %s%s", log->lines, buf_text(&start),
                                 length > SHOWN ? "…" : ""));
        buf_free(&start);
        return false;
    }
    if (strcmp(arg_text(json, "cat"), "asyncio"))
        return false;                             /* for Perfetto, not for us */
    EventKind kind = event_kind(arg_text(json, "name"));
    const cJSON *args = arg(json, "args");
    if (!log->began)
        check_first(log, kind, args);
    if (log->refused)
        return false;
    if (kind == EV_UNKNOWN)
        log_problem(log, xformat("Line %zu has an event that this tracer does not know, \"%.40s\": it is shown in the "
                                 "list but changes nothing.", log->lines, arg_text(json, "name")));
    check_number(log, args);
    add(log, kind, json, line, length);
    return true;
}

static void freshen(Log *log, cJSON *json) {
    cJSON_Delete(log->fresh);
    log->fresh = json;
}

static unsigned escaped_unit(const char *p, const char *end) {
    unsigned unit = 0;
    return end - p >= 6 && p[1] == 'u' && sscanf(p + 2, "%4x", &unit) == 1 ? unit : 0;
}

/* A byte that is not UTF-8 is written as \udc80 to \udcff, half a pair, which JSON readers refuse: here it becomes the
 * byte again. */
static void put_bytes_back(Buf *out, const char *line, size_t length) {
    buf_clear(out);
    for (const char *p = line, *end = line + length; p < end;) {
        unsigned unit = *p == '\\' ? escaped_unit(p, end) : 0;
        size_t n = unit ? 6 : *p == '\\' && end - p > 1 ? 2 : 1;
        if (unit >= 0xD800 && unit < 0xDC00 && end - p >= 12)      /* a whole pair */
            n = 12;
        if (unit >= 0xDC80 && unit <= 0xDCFF)
            buf_add(out, &(char) {(char) (unit - NOT_UTF8)}, 1);
        else
            buf_add(out, p, n);
        p += n;
    }
}

/* A third of a recording is there for Perfetto only. This cannot stand inside a string: its quotes would be escaped. */
static const char for_others[] = "\"cat\":\"view\"";

bool log_line(Log *log, const char *line, size_t length) {
    log->lines++;
    if (log->refused || !trim(&line, &length))
        return false;
    if (length >= 3 && !memcmp(line, "{}]", 3)) {
        log->closed = true;
        return false;
    }
    if (length == 1 && *line == ']')
        return false;
    if (memmem(line, length, for_others, strlen(for_others)))
        return false;
    if (memmem(line, length, "\\udc", 4)) {
        put_bytes_back(&log->mended, line, length);
        line = log->mended.s;
        length = log->mended.len;
    }
    cJSON *json = cJSON_ParseWithLength(line, length);
    bool added = accept(log, json, line, length);
    if (added)
        freshen(log, json);
    else
        cJSON_Delete(json);
    return added;
}

Open log_open(const Log *log, size_t k) {
    const Event *e = log_step(log, k);
    if (k < log_count(log) || !log->fresh)
        return event_open(e);
    return (Open) {e, log->fresh, cJSON_GetObjectItemCaseSensitive(log->fresh, "args")};
}

void log_close(const Log *log, Open *open) {
    if (open->json != log->fresh)
        event_close(open);
}

void log_own(Log *log, EventKind kind, int number, const char *text, size_t length) {
    cJSON *json = cJSON_CreateObject(), *args = cJSON_AddObjectToObject(json, "args");
    Buf clean = {0};
    buf_add(&clean, text, length);
    cJSON_AddNumberToObject(json, "ts", log->events.n ? log->events.at[log->events.n - 1].ts * 1e6 : 0);
    cJSON_AddNumberToObject(args, kind == EV_RAW_OUTPUT ? "fd" : "status", number);
    cJSON_AddStringToObject(args, "text", buf_text(&clean));
    char *line = cJSON_PrintUnformatted(json);
    add(log, kind, json, line, strlen(line));
    cJSON_free(line);
    freshen(log, json);
    buf_free(&clean);
}
