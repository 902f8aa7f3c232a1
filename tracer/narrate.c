/* narrate.c: one function per kind of event writes its sentence.
 *
 * These are the words from which students learn what a loop does. Three rules: name the actor first; say what follows
 * from it; never use a word of the implementation where one of the subject will do.
 */
#include "narrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"

#define SAY(name) static void say_##name(Said *s, const Model *m, const Event *e, const cJSON *a)
#define UNUSED (void) s, (void) m, (void) e, (void) a

void said_free(Said *s) {
    buf_free(&s->what);
    buf_free(&s->why);
    buf_free(&s->wake);
}

static void at_place(Buf *b, const cJSON *a) {
    const char *file = arg_text(a, "file");
    int line = arg_int(a, "line", 0);
    if (!*file || line <= 0)
        return;
    buf_str(b, " at ");
    say_place(b, file, line);
}

static void wake_of(Said *s, const Model *m, uint64_t task) {
    const Task *t = model_task(m, task);
    if (!t || state_over(t->state))
        return;
    Buf clause = {0};
    say_waker(&clause, m, t);
    buf_fmt(&s->wake, "Who can wake '%s' now: %s.", t->label, buf_text(&clause));
    buf_free(&clause);
}

static const char *plural(double n) {
    return n == 1 ? "" : "s";
}

/* ---- beginning and end ---- */

SAY(trace_begin) {
    (void) e, (void) m;
    buf_fmt(&s->what, "%s starts.", base_name(arg_text(a, "program")));
    if (!strcmp(arg_text(a, "clock"), "virtual"))
        buf_str(&s->why, "Its clock is virtual: sleeping costs no real time, the clock just jumps.");
    else
        buf_str(&s->why, "From here on, every step of its event loop is shown.");
}

SAY(trace_end) {
    (void) e;
    double status = arg_number(a, "status", 0);
    buf_fmt(&s->what, "The program ends with exit status %.0f.", status);
    buf_str(&s->why, status == 0 ? "That means: all is well." : "Anything but 0 means that something went wrong.");
    if (m->deadlock)
        buf_fmt(&s->why, status == 0 ? " The deadlock of step %zu was handled." : " It was a deadlock, at step %zu.", m->deadlock);
}

SAY(program_end) {
    (void) e;
    buf_str(&s->what, arg_text(a, "text"));
    if (m->deadlock)
        buf_fmt(&s->why, m->status ? "It was a deadlock: step %zu shows who waited for whom."
                                   : "It had a deadlock, and handled it: step %zu shows who waited for whom.", m->deadlock);
    else if (!m->status)
        buf_str(&s->why, "All that it did is still here: ← goes back through it.");
    else if (m->trouble)
        buf_fmt(&s->why, "The last exception that left a task did so at step %zu.", m->trouble);
}

SAY(loop_start) {
    UNUSED;
    buf_str(&s->what, "The event loop starts turning.");
    buf_str(&s->why, "Each turn, a tick: wait in select(), collect the timers that are due, then run what is ready.");
}

SAY(loop_stop) {
    (void) e, (void) a;
    bool finished = m->handle_what && !strcmp(m->handle_what, "run_until_complete_done");
    buf_str(&s->what, "The event loop stops.");
    if (m->deadlock && m->deadlock + 2 >= m->k)
        buf_str(&s->why, "DeadlockError leaves it.");
    else
        buf_str(&s->why, finished ? "The task that it ran for has finished." : "It was told to, or an exception breaks out of it.");
}

static void say_waiting(Buf *out, const Model *m) {
    enum { SHOWN = 2 };
    size_t n = 0;
    const Task *t;
    for (uint64_t k = 0; n < SHOWN && (t = pmap_from(&m->tasks, &k)); k++)
        if (t->state == ST_WAITING)
            buf_fmt(out, "%s'%s' waits for %s", n++ ? ", " : "", t->label, *t->what ? t->what : "a future");
    if (m->states[ST_WAITING] > n)
        buf_fmt(out, ", and %zu more", m->states[ST_WAITING] - n);
    buf_str(out, n ? ": no task is left that could wake them. " : "There is no task either. ");
}

SAY(loop_deadlock) {
    uint64_t ids[LONGEST_CIRCLE];
    (void) e, (void) a;
    size_t n = ask_circle(m, ids, LONGEST_CIRCLE);
    buf_str(&s->what, "Deadlock: nothing is ready, no timer is set, and nobody outside can wake this loop.");
    if (n)
        say_circle(&s->why, m, ids, n), buf_str(&s->why, ". ");
    else
        say_waiting(&s->why, m);
    buf_str(&s->why, "Python would hang here for ever; this loop raises DeadlockError.");
}

/* ---- a tick ---- */

SAY(tick_begin) {
    (void) e;
    double ready = arg_number(a, "ready", 0), timers = (double) m->timers.count;
    buf_fmt(&s->what, "Tick %llu begins: %.0f callback%s ready, %.0f timer%s armed.", (unsigned long long) m->tick,
            ready, plural(ready), timers, plural(timers));
    buf_str(&s->why, ready > 0 ? "Because something is ready, the loop will not wait in select() this time."
                               : "Because nothing is ready, the loop can afford to sleep in select().");
}

static void next_timer(Buf *out, const Model *m) {
    const Timer *timer;
    size_t total;
    if (!ask_timers(m, &timer, 1, &total))
        return;
    buf_str(out, "The next timer is due in ");
    say_seconds(out, timer->when - m->ts > 0 ? timer->when - m->ts : 0);
    if (timer->task)
        buf_fmt(out, " (Task '%s')", ask_label(m, timer->task));
}

/* Whom news from outside would wake; if it is one task only, what it needs is said in full. */
static void say_outsiders(Said *s, const Model *m) {
    enum { SHOWN = 3 };
    size_t n = 0;
    uint64_t first = 0;
    const Task *t;
    for (uint64_t k = 0; n < SHOWN && (t = pmap_from(&m->tasks, &k)); k++) {
        if (t->state != ST_IO)
            continue;
        first = first ? first : t->id;
        buf_fmt(&s->why, "%s'%s' waits for %s", n++ ? ", " : ": ", t->label, *t->what ? t->what : "it");
    }
    if (m->states[ST_IO] > n)
        buf_fmt(&s->why, ", and %zu more", m->states[ST_IO] - n);
    buf_str(&s->why, ".");
    if (m->states[ST_IO] == 1)
        wake_of(s, m, first);
}

/* A program may hang although its loop still turns, for the sake of others. */
static void say_hanging(Buf *out, const Model *m) {
    uint64_t ids[LONGEST_CIRCLE];
    size_t n = ask_circle(m, ids, LONGEST_CIRCLE);
    if (!n)
        return;
    buf_str(out, " Meanwhile ");
    say_circle(out, m, ids, n);
    buf_str(out, ".");
}

SAY(select_enter) {
    (void) e;
    int fds = cJSON_GetArraySize(arg(a, "fds"));
    double timeout = arg_number(a, "timeout", -1);
    const char *plus = fds ? fds == 1 ? " or 1 descriptor" : " or one of its descriptors" : "";
    if (timeout == 0) {
        buf_str(&s->what, "The loop peeks into select() without waiting.");
        size_t n = model_ready(m);
        buf_fmt(&s->why, "%zu callback%s ready already, so it only asks whether a descriptor is ready too.", n,
                n == 1 ? " is" : "s are");
    } else if (timeout < 0) {
        buf_fmt(&s->what, "The loop sleeps in select() with no timer set%s.",
                fds ? ", until a descriptor is ready" : " and no descriptor to watch");
        buf_str(&s->why, fds ? "Only the outside world can wake it now" : "Only a signal or another thread can wake it now");
        say_outsiders(s, m);
        say_hanging(&s->why, m);
    } else {
        buf_str(&s->what, "The loop has nothing ready. ");
        next_timer(&s->what, m);
        buf_fmt(&s->what, ", so it sleeps in select() for that long.");
        buf_fmt(&s->why, "Until that timer%s wakes it, the program uses no processor time at all.", plus);
        say_hanging(&s->why, m);
    }
}

SAY(select_leave) {
    (void) e;
    const cJSON *ready = arg(a, "ready");
    int n = cJSON_GetArraySize(ready);
    if (n > 0) {
        buf_fmt(&s->what, "select() returns: %d descriptor%s ready (", n, n == 1 ? " is" : "s are");
        for (int i = 0; i < n && i < 6; i++) {
            const cJSON *fd = cJSON_GetArrayItem(ready, i);
            buf_fmt(&s->what, "%s%.0f to %s", i ? ", " : "", arg_number(fd, "fd", 0), arg_text(fd, "for"));
            const Watch *watch = pmap_get(&m->watches, arg_id(fd, "fd"));
            if (watch && model_object(m, watch->of))
                buf_fmt(&s->what, ": %s", ask_label(m, watch->of));
        }
        buf_str(&s->what, n > 6 ? ", …)." : ").");
    } else if (arg_true(a, "woken")) {
        buf_str(&s->what, "select() returns: another thread or a signal woke the loop.");
    } else if (m->select_timeout > 0) {
        buf_str(&s->what, "select() returns: its time is up, and no descriptor is ready.");
    } else {
        buf_str(&s->what, "select() returns: no descriptor is ready.");
    }
    buf_str(&s->why, m->timers.count ? "Now the loop looks for timers whose time has come." : "No timer is armed, so the "
            "loop goes on to its ready queue.");
}

SAY(tick_run) {
    (void) e, (void) m;
    double n = arg_number(a, "count", 0);
    if (n == 0) {
        buf_str(&s->what, "Nothing is ready to run in this tick.");
        return;
    }
    if (n == 1)
        buf_str(&s->what, "The loop will now run the one callback that is ready at this moment.");
    else
        buf_fmt(&s->what, "The loop will now run the %.0f callbacks that are ready at this moment.", n);
    buf_str(&s->why, "What becomes ready meanwhile waits for the next tick: so nobody can starve the others.");
}

/* ---- handles and timers ---- */

/* " of Stream #4", or nothing. Good until the next call. */
static const char *of_whom(const Model *m, const cJSON *a) {
    static char text[80];
    const Object *o = model_object(m, arg_id(a, "of"));
    snprintf(text, sizeof text, "%s%s", o ? " of " : "", o ? o->label : "");
    return text;
}

/* Who does what an event tells of: a task, or a callback of the program's or of the loop's own. False: it is not known. */
static bool say_doer(Buf *out, const Model *m, uint64_t task) {
    const Object *of = model_object(m, m->handle_of);
    if (task)
        buf_fmt(out, "Task '%s'", ask_label(m, task));
    else if (m->handle && !m->handle_task)
        buf_fmt(out, "The callback %s%s%s", m->handle_what, of ? " of " : "", of ? of->label : "");
    return task || (m->handle && !m->handle_task);
}

static bool is_step(const cJSON *a) {
    const char *what = arg_text(a, "what");
    return arg_id(a, "task") && (!strcmp(what, "step") || !strcmp(what, "wakeup"));
}

static void say_completed(Buf *out, const Model *m, uint64_t id) {
    const Object *o = model_object(m, id);
    bool outside = o && ask_is_io(o->type);
    if (outside)
        buf_str(out, "there is news from ");
    say_id(out, m, id);
    buf_str(out, model_task(m, id) ? " has finished" : outside ? "" : " is done");
}

/* A pattern: %s is the object, "…" the rest of the cause. */
static void say_deed(Buf *out, const char *says, const char *rest, const char *label) {
    for (const char *p = says; *p; p++) {
        if (!strncmp(p, "…", 3))
            buf_str(out, rest), p += 2;
        else if (!strncmp(p, "%s", 2))
            buf_str(out, label), p++;
        else
            buf_add(out, p, 1);
    }
}

/* Why a task that waited for this goes on. A queue or a lock is never "done": what it had waited for tells what has come. */
static void say_news(Buf *out, const Model *m, uint64_t task, uint64_t via) {
    static const struct { const char *what, *news; } known[] = {
        {"queue.get()", "there is an item in %s"}, {"queue.put()", "there is room in %s"},
        {"queue.join()", "every item of %s is done"}, {"lock.acquire()", "%s is free"},
        {"semaphore.acquire()", "there is room in %s"}, {"event.wait()", "%s is set"},
        {"condition.wait()", "%s is notified"}, {"barrier.wait()", "%s opens"},
    };
    const Task *t = model_task(m, task);
    const Object *o = model_object(m, via);
    if (t && t->cancel_asked) {
        buf_str(out, "it is asked to cancel");
        return;
    }
    for (size_t i = 0; t && o && !ask_is_io(o->type) && i < sizeof known / sizeof *known; i++)
        if (!strcmp(t->what, known[i].what)) {
            say_deed(out, known[i].news, "", o->label);
            return;
        }
    say_completed(out, m, via);
}

SAY(handle_ready) {
    (void) e;
    uint64_t task = arg_id(a, "task"), by = arg_id(a, "by");
    size_t n = model_ready(m);
    if (is_step(a))
        buf_fmt(&s->what, "Task '%s' joins the end of the ready queue, at place %zu.", ask_label(m, task), n);
    else
        buf_fmt(&s->what, "The callback %s%s joins the end of the ready queue, at place %zu.", arg_text(a, "what"),
                of_whom(m, a), n);
    if (by && by == arg_id(a, "handle")) {
        buf_str(&s->why, "Its timer has come due.");
    } else if (by) {
        buf_str(&s->why, "The cause: ");
        say_news(&s->why, m, task, by);
        buf_str(&s->why, ".");
    } else if (task && model_task(m, task) && !model_task(m, task)->started) {
        buf_str(&s->why, "It is new: this will be its first step.");
    }
}

SAY(handle_run) {
    (void) e;
    uint64_t task = arg_id(a, "task");
    if (is_step(a))
        buf_fmt(&s->what, "The loop takes Task '%s' from the front of the ready queue.", ask_label(m, task));
    else
        buf_fmt(&s->what, "The loop takes the callback %s%s from the front of the ready queue and calls it.",
                arg_text(a, "what"), of_whom(m, a));
    buf_fmt(&s->why, m->batch ? "%llu more will run in this tick." : "It is the last one of this tick.",
            (unsigned long long) m->batch);
}

SAY(handle_end) {
    (void) e, (void) a;
    buf_str(&s->what, "The callback returns to the loop.");
    if (m->batch)
        buf_fmt(&s->why, "%llu of this tick %s left to run.", (unsigned long long) m->batch, m->batch == 1 ? "is" : "are");
    else
        buf_str(&s->why, "This tick's share of the ready queue is used up: the next tick begins.");
}

SAY(handle_cancel) {
    (void) e;
    bool queued = false;
    const Handle *h;
    for (uint64_t k = m->head; !queued && (h = pmap_from(&m->ready, &k)); k++)
        queued = h->id == arg_id(a, "handle");
    buf_fmt(&s->what, "The callback %s is cancelled.", arg_text(a, "what"));
    buf_str(&s->why, queued ? "It stays in the ready queue; the loop will skip it when its turn comes."
                            : "It has run already, so that changes nothing.");
}

SAY(timer_arm) {
    (void) e;
    uint64_t task = arg_id(a, "task");
    if (task)
        buf_fmt(&s->what, "Task '%s' arms a timer", ask_label(m, task));
    else
        buf_str(&s->what, "The loop arms a timer");
    buf_str(&s->what, " for ");
    say_seconds(&s->what, arg_number(a, "delay", 0));
    buf_fmt(&s->what, " from now, at +%.3f s.", arg_number(a, "when", 0));
    const Timer *first = NULL;
    size_t total;
    if (!ask_timers(m, &first, 1, &total))
        return;
    if (first->id == arg_id(a, "timer"))
        buf_fmt(&s->why, total == 1 ? "It is the only one in the heap." : "It is now the first of %zu in the heap.", total);
    else
        buf_fmt(&s->why, "%zu are in the heap; the first is due at +%.3f s.", total, first->when);
}

SAY(timer_due) {
    (void) e;
    double late = m->ts - arg_number(a, "when", 0);
    buf_fmt(&s->what, "The timer of +%.3f s is due and leaves the heap", arg_number(a, "when", 0));
    if (late > 0.001) {
        buf_str(&s->what, " (");
        say_seconds(&s->what, late);
        buf_str(&s->what, " late)");
    }
    buf_str(&s->what, ".");
    if (m->gone_task)
        buf_fmt(&s->why, "Task '%s' had armed it. ", ask_label(m, m->gone_task));
    buf_str(&s->why, "Its callback goes to the end of the ready queue; it is not called right away.");
}

SAY(timer_cancel) {
    (void) e;
    buf_fmt(&s->what, "The timer of +%.3f s", m->gone_when);
    if (m->gone_task)
        buf_fmt(&s->what, ", armed by Task '%s',", ask_label(m, m->gone_task));
    buf_fmt(&s->what, " is cancelled: nobody needs it any more (%s).", arg_text(a, "what"));
    if (m->timers.count)
        buf_fmt(&s->why, "%zu timer%s left.", m->timers.count, m->timers.count == 1 ? " is" : "s are");
    else
        buf_str(&s->why, "No timer is left.");
}

SAY(watch) {
    bool reads = e->kind == EV_READER_ADD || e->kind == EV_READER_REMOVE;
    bool adds = e->kind == EV_READER_ADD || e->kind == EV_WRITER_ADD;
    buf_fmt(&s->what, "The loop %s descriptor %.0f for %s (%s%s).", adds ? "will watch" : "no longer watches",
            arg_number(a, "fd", 0), reads ? "reading" : "writing", arg_text(a, "what"), of_whom(m, a));
    if (adds)
        buf_fmt(&s->why, "select() will return as soon as it %s.", reads ? "has something to read" : "has room to write");
}

SAY(signal) {
    (void) m;
    const char *label = arg_text(a, "label"), *what = arg_text(a, "what");
    if (e->kind == EV_SIGNAL_ADD) {
        buf_fmt(&s->what, "From now on the loop calls %s() when %s comes.", what, label);
        buf_str(&s->why, "The signal itself only leaves a note; the callback runs in the loop, in its turn, like any other.");
    } else if (e->kind == EV_SIGNAL_REMOVE) {
        buf_fmt(&s->what, "%s() is no longer called when %s comes.", what, label);
        buf_str(&s->why, "The signal does again what it does by default.");
    } else if (!strcmp(what, "Ctrl-C")) {
        buf_fmt(&s->what, "%s has come: Ctrl-C.", label);
        buf_str(&s->why, "The first one cancels the main task; a second one would stop the loop at once.");
    } else {
        buf_fmt(&s->what, "%s has come, and the loop finds the note of it.", label);
        buf_fmt(&s->why, "%s() joins the ready queue.", what);
    }
}

SAY(exception_report) {
    (void) e, (void) m;
    buf_fmt(&s->what, "The loop reports: %s", arg_text(a, "message"));
    if (*arg_text(a, "exception"))
        buf_fmt(&s->what, ": %s", arg_text(a, "exception"));
    buf_str(&s->what, ".");
    buf_str(&s->why, "An exception that no task and no callback handled ends up here.");
}

static void say_actor(Buf *out, const Model *m, uint64_t task) {
    if (task)
        say_task(out, m, task);
    else
        buf_str(out, "The program");
}

SAY(exception_raise) {
    const char *cause = arg_text(a, "cause"), *context = arg_text(a, "context");
    say_actor(&s->what, m, e->task);
    buf_fmt(&s->what, " raises %s", arg_text(a, "exception"));
    at_place(&s->what, a);
    if (*cause)
        buf_fmt(&s->what, ", because of %s", cause);
    else if (*context)
        buf_fmt(&s->what, ", while it handles %s", context);
    buf_str(&s->what, ".");
    buf_str(&s->why, "It leaves block after block and function after function, running each finally on the way, until a try "
            "has an except for it; without one the ");
    buf_str(&s->why, e->task ? "task fails with it." : "program ends with it.");
}

SAY(exception_handle) {
    say_actor(&s->what, m, e->task);
    buf_fmt(&s->what, " handles %s in an except of the try", arg_text(a, "exception"));
    at_place(&s->what, a);
    buf_str(&s->what, ".");
    buf_str(&s->why, "Unless it is raised again there, that is the end of the exception, and what comes after the try goes on.");
}

/* ---- tasks ---- */

SAY(task_create) {
    uint64_t task = arg_id(a, "task"), parent = arg_id(a, "parent");
    if (parent)
        buf_fmt(&s->what, "Task '%s' creates Task '%s' from %s()", ask_label(m, parent), ask_label(m, task),
                arg_text(a, "coro"));
    else
        buf_fmt(&s->what, "Task '%s' is created from %s()", ask_label(m, task), arg_text(a, "coro"));
    at_place(&s->what, a);
    buf_str(&s->what, ".");
    if (arg_true(a, "eager"))
        buf_str(&s->why, "It is an eager one: it begins at once, and does not wait for its turn in the ready queue.");
    else
        buf_str(&s->why, "Nothing of it runs yet: it has to wait for its turn in the ready queue.");
    (void) e;
}

SAY(task_name) {
    (void) e;
    buf_fmt(&s->what, "Task '%s' is now called '%s'.", *m->gone ? m->gone : "?", arg_text(a, "label"));
    buf_str(&s->why, "It is the same task; only its name is another.");
}

SAY(task_run) {
    (void) e;
    uint64_t task = arg_id(a, "task");
    const char *why = arg_text(a, "why"), *func = arg_text(a, "func"), *value = arg_text(a, "value");
    uint64_t inside = model_task(m, task) ? model_task(m, task)->inside : 0;
    if (inside)
        buf_fmt(&s->what, "Task '%s', in the middle of this step of Task '%s', ", ask_label(m, task), ask_label(m, inside));
    else if (m->handle)
        buf_fmt(&s->what, "Task '%s' ", ask_label(m, task));
    else
        buf_fmt(&s->what, "The loop takes Task '%s' from the ready queue: it ", ask_label(m, task));
    if (!strcmp(why, "start")) {
        buf_fmt(&s->what, "starts to run %s()", *func ? func : "its coroutine");
    } else if (!strcmp(why, "throw")) {
        buf_str(&s->what, "goes on");
        if (*func)
            buf_fmt(&s->what, " in %s()", func);
    } else {
        buf_str(&s->what, "goes on where it left off");
        if (*func)
            buf_fmt(&s->what, ", in %s()", func);
    }
    at_place(&s->what, a);
    if (!strcmp(why, "throw"))
        buf_fmt(&s->what, ", and its await raises %s", arg_text(a, "exception"));
    buf_str(&s->what, ".");
    if (*value && strcmp(value, "None"))
        buf_fmt(&s->why, "Its await gives %s. ", value);
    if (inside)
        buf_fmt(&s->why, "When it ends or has to wait, '%s' goes on where it was.", ask_label(m, inside));
    else
        buf_str(&s->why, "It has the loop for itself until its next await: no other task can run meanwhile.");
}

static void say_left(Buf *b, const Model *m) {
    if (m->handle)
        return;
    if (m->batch)
        buf_fmt(b, "%llu more will run in this tick.", (unsigned long long) m->batch);
    else
        buf_str(b, "It was the last one of this tick.");
}

SAY(task_wait) {
    (void) e;
    uint64_t task = arg_id(a, "task");
    const char *what = arg_text(a, "what"), *kind = arg_text(a, "kind");
    buf_fmt(&s->what, "Task '%s' ", ask_label(m, task));
    if (!strcmp(kind, "ready")) {
        buf_str(&s->what, "yields");
        at_place(&s->what, a);
        buf_str(&s->what, ": it lets the others go first and is ready again at once.");
        say_left(&s->why, m);
        return;
    }
    bool in_words = !strncmp(what, "the ", 4) || !strncmp(what, "a ", 2);
    buf_fmt(&s->what, "%s %s", in_words ? "has to wait for" : "reaches await", what);
    at_place(&s->what, a);
    buf_str(&s->what, " and lets go of the loop.");
    wake_of(s, m, task);
    if (m->running)
        buf_fmt(&s->why, "Task '%s', in the middle of whose step it began, goes on.", ask_label(m, m->running));
    else if (model_ready(m))
        buf_fmt(&s->why, "The loop is free for the %zu callback%s in the ready queue.", model_ready(m),
                plural(model_ready(m)));
    else
        buf_str(&s->why, "The ready queue is empty now.");
}

SAY(task_wake) {
    (void) e;
    uint64_t task = arg_id(a, "task"), by = arg_id(a, "by"), via = arg_id(a, "via");
    say_task(&s->what, m, by);
    if (!by)
        s->what.s[0] = 'T';
    buf_fmt(&s->what, " wakes Task '%s'", ask_label(m, task));
    if (via && (model_task(m, via) || model_object(m, via))) {
        buf_str(&s->what, ": ");
        say_news(&s->what, m, task, via);
    } else {
        buf_str(&s->what, model_task(m, task) && model_task(m, task)->cancel_asked ? ": it is asked to cancel"
                                                                                   : ": what it waited for is done");
    }
    buf_str(&s->what, ".");
    buf_fmt(&s->why, "'%s' does not run yet; it becomes ready and gets its turn in the queue.", ask_label(m, task));
}

SAY(task_cancel) {
    (void) e;
    uint64_t task = arg_id(a, "task");
    say_task(&s->what, m, arg_id(a, "by"));
    if (!arg_id(a, "by"))
        s->what.s[0] = 'T';
    buf_fmt(&s->what, " asks Task '%s' to cancel.", ask_label(m, task));
    buf_fmt(&s->why, "Nothing happens to it yet: at its next step, CancelledError is raised at its await%s.",
            model_task(m, task) && !model_task(m, task)->started ? ", and as it never started, its body will not run" : "");
}

static void say_waiting_for(Said *s, const Model *m, uint64_t task) {
    size_t n = 0;
    const Task *t, *first = NULL;
    for (uint64_t k = 0; (t = pmap_from(&m->tasks, &k)); k++)
        if (t->on == task && !state_over(t->state) && t->state != ST_RUNNING && (n++, !first))
            first = t;
    if (n == 1)
        buf_fmt(&s->why, "Task '%s' was waiting for it.", first->label);
    else if (n > 1)
        buf_fmt(&s->why, "%zu tasks were waiting for it, '%s' among them.", n, first->label);
}

SAY(task_done) {
    uint64_t task = arg_id(a, "task");
    const char *state = arg_text(a, "state"), *message = arg_text(a, "message");
    buf_fmt(&s->what, "Task '%s' ", ask_label(m, task));
    if (!strcmp(state, "failed")) {
        buf_fmt(&s->what, "fails with %s%s%s", arg_text(a, "exception"), *message ? ": " : "", message);
        at_place(&s->what, a);
        buf_str(&s->why, "The exception goes to whoever awaits the task. ");
    } else if (!strcmp(state, "cancelled")) {
        buf_str(&s->what, "is cancelled");
        at_place(&s->what, a);
    } else if (*arg_text(a, "result") && strcmp(arg_text(a, "result"), "None")) {
        buf_fmt(&s->what, "finishes and returns %s", arg_text(a, "result"));
    } else {
        buf_str(&s->what, "finishes");
    }
    buf_str(&s->what, ".");
    say_waiting_for(s, m, task);
    if (m->running)
        buf_fmt(&s->why, "Task '%s', in the middle of whose step it ran, goes on.", ask_label(m, m->running));
    (void) e;
}

SAY(line_step) {
    const char *what = arg_text(a, "what");
    buf_fmt(&s->what, "Task '%s' comes to %s%s", ask_label(m, e->task), strncmp(what, "async ", 6) ? "await " : "", what);
    at_place(&s->what, a);
    buf_str(&s->what, ".");
    buf_str(&s->why, "If the answer is there already, it goes on; if not, it will let go of the loop.");
}

/* ---- futures, primitives, output ---- */

SAY(object_make) {
    const char *label = arg_text(a, "label"), *type = arg_text(a, "type"), *state = arg_text(a, "state");
    if (say_doer(&s->what, m, e->task))
        buf_fmt(&s->what, " %s %s", ask_is_child(type) ? "starts" : "makes", *label ? label : type);
    else
        buf_fmt(&s->what, "%s now exists", *label ? label : type);
    if (*state)
        buf_fmt(&s->what, ": %s", state);
    if (*arg_text(a, "note"))
        buf_fmt(&s->what, ", %s", arg_text(a, "note"));
    buf_str(&s->what, ".");
    int n = cJSON_GetArraySize(arg(a, "children"));
    if (n > 0)
        buf_fmt(&s->why, "It watches over %d task%s.", n, plural(n));
    if (arg_number(a, "deadline", -1) >= 0)
        buf_fmt(&s->why, "Its deadline is +%.3f s.", arg_number(a, "deadline", 0));
}

static void say_bytes(Buf *out, const cJSON *a) {
    double unread = arg_number(a, "unread", 0), unsent = arg_number(a, "unsent", 0);
    if (unread > 0)
        buf_fmt(out, "%.0f byte%s came that nobody has read yet. ", unread, plural(unread));
    if (unsent > 0)
        buf_fmt(out, "%.0f byte%s wait%s to be sent; above %.0f, writing should pause. ", unsent, plural(unsent),
                unsent == 1 ? "s" : "", arg_number(a, "high", 0));
}

/* In which line it waits, where an object has more than one. */
static void say_role(Buf *out, const char *as, const char *role) {
    if (strcmp(role, "waiter"))
        buf_fmt(out, " (%s%s)", as, role);
}

static void say_contents(Buf *out, const Model *m, const cJSON *a) {
    if (ask_is_io(arg_text(a, "type"))) {
        say_bytes(out, a);
        return;
    }
    const cJSON *items = arg(a, "items");
    int n = cJSON_GetArraySize(items), waiters = cJSON_GetArraySize(arg(a, "waiters"));
    if (items && n == 0)
        buf_str(out, "It is empty. ");
    else if (items)
        buf_fmt(out, "It holds %d item%s; next to leave is %s. ", n, plural(n), cJSON_GetArrayItem(items, 0)->valuestring ?
                cJSON_GetArrayItem(items, 0)->valuestring : "?");
    if (waiters > 0) {
        const cJSON *first = cJSON_GetArrayItem(arg(a, "waiters"), 0);
        buf_fmt(out, waiters == 1 ? "'%s' is waiting" : "'%s' is first of %d waiting", ask_label(m, arg_id(first, "task")), waiters);
        say_role(out, "", arg_text(first, "as"));
        buf_str(out, ".");
    }
}

static bool is_role(const char *why) {
    return !strcmp(why, "getter") || !strcmp(why, "putter") || !strcmp(why, "joiner") || !strcmp(why, "waiter") ||
           !strcmp(why, "drainer");
}

/* What a task or a callback does to an object, by the cause that the trace gives. */
static const struct {
    const char *why, *says;
} deeds[] = {
    {"sent ", "sends … through %s"}, {"read ", "reads … from %s"},
    {"keeps ", "writes … to %s, which cannot send all of it yet and keeps it"},
    {"is told that no more will be written", "tells %s that it will write no more"}, {"started", "starts %s"},
    {"is to be closed", "closes %s"}, {"is to be closed once all is sent", "closes %s, once all is sent"},
    {"listens", "lets %s listen"}, {"takes no more connections", "closes %s: it takes no more connections"},
    {"handed to the threads", "hands %s to another thread"},
    {"put ", "puts … into %s"}, {"got ", "takes … out of %s"}, {"released", "releases %s"}, {"acquired", "acquires %s"},
    {"a task is done", "reports an item of %s as done"}, {"task_done()", "reports an item of %s as done"},
    {"notified", "notifies %s"}, {"set", "sets %s"}, {"cleared", "clears %s"}, {"one more has arrived", "arrives at %s"},
    {"all have arrived", "arrives at %s as the last one, and opens it"}, {"one has left", "leaves %s"},
    {"reset", "resets %s"}, {"aborted", "breaks %s"}, {"a new task", "adds a task to %s"},
    {"its result is there", "completes %s"}, {"left in time", "leaves %s in time"},
    {"a deadline is set", "sets the deadline of %s"}, {"cancelled", "cancels %s"}, {"failed", "completes %s with an exception"},
};

/* "Task 'x' puts 1 into Queue #3", or, for a cause that is not in the table, "Queue #3: one of its children is done". */
static void say_change(Buf *out, const Model *m, const Event *e, const cJSON *a, const char *label) {
    const char *why = arg_text(a, "why");
    bool own = !e->task && m->handle_of == arg_id(a, "id");       /* the callback is about this object: it need not be named */
    for (size_t i = 0; !own && i < sizeof deeds / sizeof *deeds; i++) {
        size_t n = strlen(deeds[i].why);
        if (strncmp(why, deeds[i].why, n) || (why[n] && deeds[i].why[n - 1] != ' '))
            continue;
        if (!say_doer(out, m, e->task))
            break;
        buf_str(out, " ");
        say_deed(out, deeds[i].says, why + n, label);
        return;
    }
    buf_fmt(out, "%s: %s", label, *why ? why : "changed");
}

/* What happens to a connection or a child says by itself what its state is now; so does a cause that is the state. */
static bool tells_itself(const cJSON *a) {
    const char *type = arg_text(a, "type"), *why = arg_text(a, "why");
    return !strcmp(type, "Stream") || !strcmp(type, "Transport") || ask_is_child(type) || !strcmp(why, arg_text(a, "state")) ||
           !strcmp(why, "notified");
}

static void say_children(Buf *out, const Model *m, const List *children) {
    size_t left = 0;
    for (size_t i = 0; i < children->n; i++)
        left += ask_child_left(m, children->at[i].number);
    if (left)
        buf_fmt(out, "; %zu of %zu %s still to come", left, children->n, left == 1 ? "is" : "are");
    else
        buf_str(out, "; that was the last one");
}

/* "; it is now locked", and in other words where that would be none. */
static void say_state(Buf *out, const Model *m, const cJSON *a) {
    const char *state = arg_text(a, "state");
    const Object *o = model_object(m, arg_id(a, "id"));
    if (!strcmp(arg_text(a, "why"), "one of its children is done") && o && o->children)
        say_children(out, m, o->children);
    else if (!strncmp(state, "value ", 6))
        buf_fmt(out, "; its value is now %s", state + 6);
    else
        buf_fmt(out, "; it is now %s", state);
}

static void say_unfinished(Buf *out, double n) {
    if (n)
        buf_fmt(out, "; %.0f unfinished item%s left", n, n == 1 ? " is" : "s are");
    else
        buf_str(out, "; no unfinished item is left");
}

SAY(object_change) {
    const char *label = *arg_text(a, "label") ? arg_text(a, "label") : arg_text(a, "type"), *why = arg_text(a, "why");
    if (is_role(why) && e->task) {
        buf_fmt(&s->what, "Task '%s' takes its place in the line of %s", ask_label(m, e->task), label);
        say_role(&s->what, "as ", why);
    } else
        say_change(&s->what, m, e, a, label);
    if (*arg_text(a, "note") && (!strcmp(why, "is connected") || !strcmp(why, "started") || !strcmp(why, "made")))
        buf_fmt(&s->what, ", %s", arg_text(a, "note"));
    if (*arg_text(a, "state") && !arg(a, "items") && !is_role(why) && !tells_itself(a))
        say_state(&s->what, m, a);
    if (arg(a, "unfinished") && (!strcmp(why, "a task is done") || !strcmp(why, "task_done()")))
        say_unfinished(&s->what, arg_number(a, "unfinished", 0));
    buf_str(&s->what, ".");
    say_contents(&s->why, m, a);
}

SAY(object_drop) {
    (void) e;
    (void) a;
    buf_fmt(&s->what, "%s is no longer needed and is gone.", *m->gone ? m->gone : "A helper of the loop's own");
}

/* The text in quotes; of several lines, their number and the first. */
static void quoted(Buf *out, const char *text) {
    enum { MOST = 120 };
    size_t n = strcspn(text, "\n"), lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        lines++;
    if (lines > 1)
        buf_fmt(out, "%zu lines, the first is ", lines);
    size_t shown = n;
    if (shown > MOST)
        for (shown = MOST; (text[shown] & 0xC0) == 0x80;)
            shown--;
    buf_str(out, "\"");
    buf_visible(out, text, shown);
    buf_str(out, shown < n ? "…\"" : "\"");
}

SAY(output) {
    if (e->kind == EV_RAW_OUTPUT)
        buf_str(&s->what, "The program writes");
    else if (e->task)
        buf_fmt(&s->what, "Task '%s' prints", ask_label(m, e->task));
    else
        buf_str(&s->what, "The program prints");
    buf_str(&s->what, arg_number(a, "fd", 1) == 2 ? " to standard error: " : ": ");
    quoted(&s->what, arg_text(a, "text"));
    buf_str(&s->what, ".");
    if (e->kind == EV_RAW_OUTPUT)
        buf_fmt(&s->why, "It came past the loop (%s, perhaps), so the trace does not say which task wrote it.",
                arg_int(a, "fd", 1) == 2 ? "an error message" : "a plain printf");
}

SAY(unknown) {
    (void) m, (void) a;
    buf_str(&s->what, "An event that this tracer does not know.");
    buf_fmt(&s->why, "%.*s", e->length > 200 ? 200 : (int) e->length, e->line);
}

/* ---- which function for which event ---- */

typedef void Say(Said *, const Model *, const Event *, const cJSON *);

static Say *const says[EV_KINDS] = {
    [EV_TRACE_BEGIN] = say_trace_begin, [EV_TRACE_END] = say_trace_end, [EV_PROGRAM_END] = say_program_end,
    [EV_LOOP_START] = say_loop_start, [EV_LOOP_STOP] = say_loop_stop,
    [EV_LOOP_DEADLOCK] = say_loop_deadlock,
    [EV_TICK_BEGIN] = say_tick_begin, [EV_TICK_RUN] = say_tick_run,
    [EV_SELECT_ENTER] = say_select_enter, [EV_SELECT_LEAVE] = say_select_leave,
    [EV_HANDLE_READY] = say_handle_ready, [EV_HANDLE_RUN] = say_handle_run, [EV_HANDLE_END] = say_handle_end,
    [EV_HANDLE_CANCEL] = say_handle_cancel, [EV_TIMER_ARM] = say_timer_arm, [EV_TIMER_DUE] = say_timer_due,
    [EV_TIMER_CANCEL] = say_timer_cancel, [EV_READER_ADD] = say_watch, [EV_READER_REMOVE] = say_watch,
    [EV_SIGNAL_ADD] = say_signal, [EV_SIGNAL_REMOVE] = say_signal, [EV_SIGNAL_CAME] = say_signal,
    [EV_WRITER_ADD] = say_watch, [EV_WRITER_REMOVE] = say_watch, [EV_EXCEPTION_REPORT] = say_exception_report,
    [EV_EXCEPTION_RAISE] = say_exception_raise, [EV_EXCEPTION_HANDLE] = say_exception_handle,
    [EV_TASK_CREATE] = say_task_create, [EV_TASK_NAME] = say_task_name, [EV_TASK_RUN] = say_task_run,
    [EV_TASK_WAIT] = say_task_wait, [EV_TASK_WAKE] = say_task_wake, [EV_TASK_CANCEL] = say_task_cancel,
    [EV_TASK_DONE] = say_task_done, [EV_LINE_STEP] = say_line_step, [EV_OBJECT_MAKE] = say_object_make,
    [EV_OBJECT_CHANGE] = say_object_change, [EV_OBJECT_DROP] = say_object_drop,
    [EV_OUTPUT] = say_output, [EV_RAW_OUTPUT] = say_output, [EV_UNKNOWN] = say_unknown,
};

void narrate(Said *out, const Model *m, const Log *log) {
    buf_clear(&out->what);
    buf_clear(&out->why);
    buf_clear(&out->wake);
    if (m->k == 0) {
        buf_str(&out->what, "Nothing has happened yet.");
        buf_str(&out->why, "Press → for the first step, or Space to let it run.");
        return;
    }
    const Event *e = log_step(log, m->k);
    Open open = event_open(e);
    says[e->kind](out, m, e, open.args);
    event_close(&open);
}
