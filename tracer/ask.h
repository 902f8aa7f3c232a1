/* ask.h: questions that panes and sentences put to a model. */
#ifndef TRACER_ASK_H
#define TRACER_ASK_H

#include "model.h"

/* The object in whose line of waiters the task stands, or NULL; *role and *place (from 0) tell where. */
const Object *ask_waits_in(const Model *m, uint64_t task, const char **role, size_t *place);

/* The task without which this waiting one cannot go on: that it awaits, or that holds what it waits for; 0 = not known. */
uint64_t ask_first_to_act(const Model *m, const Task *t);

/* Tasks of which each waits for the next and the last for the first: how many were written into `out`; 0 = no circle. */
size_t ask_circle(const Model *m, uint64_t *out, size_t room);
/* The one to which the chain leads that begins with this task. */
size_t ask_circle_from(const Model *m, uint64_t task, uint64_t *out, size_t room);
enum { LONGEST_CIRCLE = 8 };                      /* of those that a sentence tells */
void say_circle(Buf *out, const Model *m, const uint64_t *ids, size_t n);     /* 'a' waits for 'b' and 'b' waits for 'a': a circle */

/* The armed timers by due time, at most `room` of them: the number found; *total counts all. */
size_t ask_timers(const Model *m, const Timer **out, size_t room, size_t *total);

const char *ask_label(const Model *m, uint64_t id);               /* of a task or object; "the loop" for 0 */
void say_task(Buf *out, const Model *m, uint64_t id);             /* Task 'worker-1', or: the loop */
void say_id(Buf *out, const Model *m, uint64_t id);               /* Task 'x', Queue #7, or: future #12 */
void say_seconds(Buf *out, double seconds);                       /* 1.500 s, 3.2 ms, 12 µs */
void say_place(Buf *out, const char *file, int line);             /* lesson.c:12 */
/* Is it something of the world outside: a stream, a server, a child, a thread? Who waits for it is told by the tasks. */
bool ask_is_io(const char *type);
bool ask_is_child(const char *type);              /* a process of the system, with streams or with a protocol */
/* Is this child of a gather or a group, a task or an object, still to be waited for? */
bool ask_child_left(const Model *m, uint64_t child);
size_t ask_tasks_on(const Model *m, uint64_t object, const Task **out, size_t room);

const char *base_name(const char *path);

/* Who or what can wake this task now? A clause without a full stop; empty if the task is over. */
void say_waker(Buf *out, const Model *m, const Task *t);

#endif
