/* event.c: see event.h. */
#include "event.h"

#include <stdlib.h>
#include <string.h>

#define X(id, name) name,
static const char *const names[] = {EVENT_KINDS(X)};
#undef X

const char *event_name(EventKind kind) {
    return names[kind];
}

static int by_name(const void *a, const void *b) {
    return strcmp(names[*(const EventKind *) a], names[*(const EventKind *) b]);
}

EventKind event_kind(const char *name) {
    static EventKind sorted[EV_KINDS];
    static bool ready;
    if (!ready) {
        for (int i = 0; i < EV_KINDS; i++)
            sorted[i] = i;
        qsort(sorted, EV_KINDS, sizeof *sorted, by_name);
        ready = true;
    }
    for (int low = 0, high = EV_KINDS - 1; low <= high;) {
        int middle = (low + high) / 2, order = strcmp(name, names[sorted[middle]]);
        if (order == 0)
            return sorted[middle];
        if (order < 0)
            high = middle - 1;
        else
            low = middle + 1;
    }
    return EV_UNKNOWN;
}

Open event_open(const Event *event) {
    Open open = {.event = event, .json = cJSON_ParseWithLength(event->line, event->length)};
    open.args = cJSON_GetObjectItemCaseSensitive(open.json, "args");
    return open;
}

void event_close(Open *open) {
    cJSON_Delete(open->json);
    *open = (Open) {0};
}

const cJSON *arg(const cJSON *args, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(args, key);
}

const char *arg_text(const cJSON *args, const char *key) {
    const char *text = cJSON_GetStringValue(arg(args, key));
    return text ? text : "";
}

double arg_number(const cJSON *args, const char *key, double otherwise) {
    const cJSON *item = arg(args, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

int arg_int(const cJSON *args, const char *key, int otherwise) {
    double value = arg_number(args, key, otherwise);
    return value > -2e9 && value < 2e9 ? (int) value : otherwise;
}

uint64_t arg_id(const cJSON *args, const char *key) {
    double value = arg_number(args, key, 0);
    return value > 0 && value < 9e15 ? (uint64_t) value : 0;
}

bool arg_true(const cJSON *args, const char *key) {
    return cJSON_IsTrue(arg(args, key));
}
