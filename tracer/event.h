/* event.h: one line of a trace, read. docs/TRACE.md says what each kind means. */
#ifndef TRACER_EVENT_H
#define TRACER_EVENT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/* X(enumerator, name in the trace). The last three are the tracer's own: what the program did outside its trace. */
#define EVENT_KINDS(X) \
    X(TRACE_BEGIN, "trace.begin") X(TRACE_END, "trace.end") \
    X(LOOP_START, "loop.start") X(LOOP_STOP, "loop.stop") X(LOOP_DEADLOCK, "loop.deadlock") \
    X(TICK_BEGIN, "tick.begin") X(TICK_RUN, "tick.run") \
    X(SELECT_ENTER, "select.enter") X(SELECT_LEAVE, "select.leave") \
    X(HANDLE_READY, "handle.ready") X(HANDLE_RUN, "handle.run") \
    X(HANDLE_END, "handle.end") X(HANDLE_CANCEL, "handle.cancel") \
    X(TIMER_ARM, "timer.arm") X(TIMER_DUE, "timer.due") X(TIMER_CANCEL, "timer.cancel") \
    X(READER_ADD, "reader.add") X(READER_REMOVE, "reader.remove") \
    X(WRITER_ADD, "writer.add") X(WRITER_REMOVE, "writer.remove") \
    X(EXCEPTION_REPORT, "exception.report") X(EXCEPTION_RAISE, "exception.raise") X(EXCEPTION_HANDLE, "exception.handle") \
    X(SIGNAL_ADD, "signal.add") X(SIGNAL_REMOVE, "signal.remove") X(SIGNAL_CAME, "signal.came") \
    X(TASK_CREATE, "task.create") X(TASK_NAME, "task.name") X(TASK_RUN, "task.run") \
    X(TASK_WAIT, "task.wait") X(TASK_WAKE, "task.wake") X(TASK_CANCEL, "task.cancel") \
    X(TASK_DONE, "task.done") X(LINE_STEP, "line.step") \
    X(OBJECT_MAKE, "object.make") X(OBJECT_CHANGE, "object.change") X(OBJECT_DROP, "object.drop") \
    X(OUTPUT, "output") \
    X(RAW_OUTPUT, "tracer.output") X(PROGRAM_END, "tracer.end") X(UNKNOWN, "?")

#define X(id, name) EV_##id,
typedef enum EventKind { EVENT_KINDS(X) EV_KINDS } EventKind;
#undef X

const char *event_name(EventKind kind);
EventKind event_kind(const char *name);

/* What the log keeps of each event: where its line is, and what is needed to find it again quickly. */
typedef struct Event {
    const char *line;                             /* its JSON, in the log's own memory */
    uint32_t length;
    uint32_t place;                               /* index of (file, line) in the log; 0 = none */
    double ts;                                    /* seconds since the trace began */
    uint64_t task;                                /* the task it is about, or that was running; 0 = the loop */
    EventKind kind;
} Event;

/* An event opened for reading its details. `args` is never NULL: an absent object reads as an empty one. */
typedef struct Open {
    const Event *event;
    cJSON *json, *args;
} Open;

Open event_open(const Event *event);
void event_close(Open *open);

const char *arg_text(const cJSON *args, const char *key);         /* "" if absent */
double arg_number(const cJSON *args, const char *key, double otherwise);
int arg_int(const cJSON *args, const char *key, int otherwise);
uint64_t arg_id(const cJSON *args, const char *key);              /* 0 if absent */
bool arg_true(const cJSON *args, const char *key);
const cJSON *arg(const cJSON *args, const char *key);             /* NULL if absent */

#endif
