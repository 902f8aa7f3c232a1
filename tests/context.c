/* Context variables. */
#include "child.h"
#include <pthread.h>

#define LOOP asyncio_get_running_loop()
static ContextVar *var;

static void notes_it(Value arg) { note(arg, contextvar_get(var)); }
async_def(says, (const char *) name) { note(name, contextvar_get(var)); return None; }
async_def(sets, (Value) v) { contextvar_set(var, v); await(asyncio_sleep(0)); note("in task", contextvar_get(var)); return None; }
static Value shows(Value arg) { note(arg, contextvar_get(var)); return V("shown"); }
static Value changes(Value v) { contextvar_set(var, v); return contextvar_get(var); }
static Value raises(Value arg) { contextvar_set(var, "set before it raised"); throw(ValueError, "%s", as_str(arg)); }

TEST(get_set_reset)
{
    ContextVar *v = context_var("v"), *with_default = context_var("w", V(7)), *none_default = context_var("n", None);
    ck_raises(LookupError, contextvar_get(v));
    ck_repr(contextvar_get_or(v, "else"), "'else'");
    ck_repr(contextvar_get(with_default), "7");
    ck_repr(contextvar_get_or(with_default, "else"), "'else'");     /* as in Python: get(default) goes before the variable's own */
    ck_repr(contextvar_get(none_default), "None");
    Value first = contextvar_set(v, "a"), second = contextvar_set(v, "b");
    ck_repr(contextvar_get(v), "'b'");
    contextvar_reset(v, second);
    ck_repr(contextvar_get(v), "'a'");
    contextvar_reset(v, first);
    ck_raises(LookupError, contextvar_get(v));
    try { contextvar_reset(v, first); } except (RuntimeError, e) { note(e); } end_try
    ck_has(notes_, "<Token used var=<ContextVar name='v' at ");
    ck_has(notes_, " has already been used once");
    ck_has(as_str(repr(v)), "<ContextVar name='v'");
}

TEST(tokens_of_others)
{
    ContextVar *a = context_var("a"), *b = context_var("b");
    Value token = contextvar_set(a, 1);
    ck_raises(ValueError, contextvar_reset(b, token));
    ck_raises_text(TypeError, "expected an instance of Token, got 5", contextvar_reset(b, V(5)));
    ck_raises(TypeError, contextvar_reset(a, V(5)));
    ck_raises(TypeError, contextvar_reset(a, None));
    contextvar_reset(a, token);
}

static Value reset_here(Value token) { contextvar_reset(var, token); return None; }
TEST(tokens_of_other_contexts)
{
    var = context_var("var");
    Value token = contextvar_set(var, 1);
    Context *copy = asyncio_copy_context();
    try { context_run(copy, reset_here, token); ck_abort(); } except (ValueError, e) { ck_has(as_str(str(e)), "was created in a different Context"); } end_try
    contextvar_reset(var, token);
}

ASYNC_TEST(a_task_has_a_copy)
{
    var = (ContextVar *)keep(context_var("var")).object;
    contextvar_set(var, "main");
    Task *task = asyncio_create_task(sets(V("inner")));
    contextvar_set(var, "changed");
    await(task);
    note("main", contextvar_get(var));
    await(asyncio_create_task(says("new task")));
    await(sets(V("awaited")));                          /* a coroutine awaited here runs in this task's context */
    note("main", contextvar_get(var));
    ck_notes("in task inner|main changed|new task changed|in task awaited|main awaited");
    return None;
}

ASYNC_TEST(the_copy_is_of_the_time_of_creation)
{
    var = (ContextVar *)keep(context_var("var")).object;
    contextvar_set(var, 1);
    Task *task = asyncio_create_task(says("task"));
    loop_call_soon(LOOP, notes_it, .arg = V("soon"));
    loop_call_later(LOOP, 1, notes_it, .arg = V("later"));
    Future *future = loop_create_future(LOOP);
    contextvar_set(var, 2);
    await(task);
    await(asyncio_sleep(2));
    future_cancel(future);
    ck_notes("task 1|soon 1|later 1");
    return None;
}

static void done_noting(Future *future, Value arg) { (void)future; note(arg, contextvar_get(var)); }

ASYNC_TEST(callbacks_of_futures)
{
    var = (ContextVar *)keep(context_var("var")).object;
    contextvar_set(var, "at registration");
    Future *future = loop_create_future(LOOP);
    Context *other = asyncio_copy_context();
    context_run(other, changes, V("given"));
    future_add_done_callback(future, done_noting, .arg = V("a"));
    future_add_done_callback(future, done_noting, .arg = V("b"), .context = other);
    contextvar_set(var, "later");
    future_set_result(future, None);
    await(asyncio_sleep(0));
    ck_notes("a at registration|b given");
    return None;
}

ASYNC_TEST(an_explicit_context_is_shared)
{
    var = (ContextVar *)keep(context_var("var", V("default"))).object;
    Context *context = asyncio_copy_context();
    await(asyncio_create_task(sets(V("by the first")), .context = context));
    Task *second = asyncio_create_task(says("second"), .context = context);
    await(second);
    ck_assert_ptr_eq(task_get_context(second), context);
    loop_call_soon(LOOP, notes_it, .arg = V("callback"), .context = context);
    await(asyncio_sleep(0));
    note("main", contextvar_get(var), context_get(context, var, None));
    ck_notes("in task by the first|second by the first|callback by the first|main default by the first");
    return None;
}

ASYNC_TEST(run_in_a_context)
{
    var = (ContextVar *)keep(context_var("var", V("default"))).object;
    Context *context = asyncio_copy_context();
    ck_repr(context_run(context, changes, V("inside")), "'inside'");
    ck_repr(context_run(context, shows, V("again")), "'shown'");
    note("outside", contextvar_get(var));
    ck_raises_text(ValueError, "x", context_run(context, raises, V("x")));
    ck_repr(context_get(context, var, None), "'set before it raised'");
    note("outside", contextvar_get(var));
    ck_notes("again inside|outside default|outside default");
    return None;
}

static Context *entered;
static Value enters_again(Value arg) { return context_run(entered, shows, arg); }
ASYNC_TEST(entered_twice)
{
    entered = asyncio_copy_context();
    try { context_run(entered, enters_again, V("x")); ck_abort(); } except (RuntimeError, e) { ck_has(as_str(str(e)), "cannot enter context"); } end_try
    var = (ContextVar *)keep(context_var("var", V(1))).object;
    ck_repr(context_run(entered, shows, V("fine again")), "'shown'");
    notes_forget_();
    return None;
}

ASYNC_TEST(asking_a_running_task_for_its_context)
{
    var = (ContextVar *)keep(context_var("var")).object;
    contextvar_set(var, "before");
    Context *context = task_get_context(asyncio_current_task());
    contextvar_set(var, "after");
    ck_repr(context_get(context, var, None), "'after'");
    ck_assert_ptr_eq(task_get_context(asyncio_current_task()), context);
    ck_repr(contextvar_get(var), "'after'");
    return None;
}

async_gen(generator_sees) { yield(contextvar_get(var)); contextvar_set(var, "set in generator"); yield(contextvar_get(var)); return None; }
ASYNC_TEST(a_generator_runs_in_its_consumers_context)
{
    var = (ContextVar *)keep(context_var("var")).object;
    contextvar_set(var, "a");
    AsyncGenerator *gen = generator_sees();
    ck_repr(await(generator_anext(gen)), "'a'");
    await(generator_anext(gen));
    ck_repr(contextvar_get(var), "'set in generator'");
    return None;
}

async_def(sets_and_suspends, (int) id) {
    for (int i = 0; i < 5; i++) { contextvar_set(var, list(id, i)); await(asyncio_sleep(id % 2 ? 0 : 0.5)); ck_assert_int_eq(as_int(list_get(contextvar_get(var), 0)), id); }
    return None;
}
ASYNC_TEST(twenty_tasks_do_not_mix)
{
    var = (ContextVar *)keep(context_var("var", V(0))).object;
    Value all = list();
    for (int i = 0; i < 20; i++) list_append(all, sets_and_suspends(i));
    await(asyncio_gather_list(all));
    ck_repr(contextvar_get(var), "0");
    return None;
}

ASYNC_TEST(many_variables)
{
    Value vars = list();
    for (int i = 0; i < 60; i++) { ContextVar *v = context_var("many"); list_append(vars, v); contextvar_set(v, i); }
    for (int i = 0; i < 60; i++) ck_assert_int_eq(as_int(contextvar_get((ContextVar *)list_get(vars, i).object)), i);
    return None;
}

ASYNC_TEST(setting_for_ever_holds_nothing_more)
{
    var = (ContextVar *)keep(context_var("var")).object;
    scope contextvar_set(var, "x");
    size_t before = asyncio_live_objects();
    for (int i = 0; i < 1000; i++) scope contextvar_set(var, format("%d", i));
    ck_assert_uint_eq(asyncio_live_objects(), before);
    return None;
}

/* ---- somebody asks for the context while it is left for another ---- */

static Task *asked;
async_def(asks_for_it) { task_get_context(asked); return None; }
static Value asks(Value arg) { task_get_context(asked); return arg; }
static void handler_asks(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; task_get_context(asked); }

async_def(is_asked, (int) by)
{
    asked = asyncio_current_task();
    Value token = contextvar_set(var, by);
    if (by == 0) asyncio_create_task(asks_for_it(), .eager_start = true);
    if (by == 1) context_run(asyncio_copy_context(), asks, None);
    if (by == 2) loop_call_exception_handler(LOOP, &(ExceptionReport){.message = "m"});
    note(contextvar_get(var));
    contextvar_reset(var, token);
    note(contextvar_get(var));
    return None;
}

ASYNC_TEST(a_context_that_is_asked_for_from_another_one)
{
    var = (ContextVar *)keep(context_var("var", V("none"))).object;
    loop_set_exception_handler(LOOP, handler_asks);
    for (int by = 0; by < 3; by++) await(asyncio_create_task(is_asked(by)));
    ck_notes("0|none|1|none|2|none");
    return None;
}

static Handle *own_handle;
static void asks_for_its_own(Value arg)
{
    Value token = contextvar_set(var, arg);
    Context *context = handle_get_context(own_handle);
    note(contextvar_get(var), context_get(context, var, None));
    contextvar_reset(var, token);
    note(contextvar_get(var));
}

ASYNC_TEST(a_callback_asks_for_its_own_context)
{
    var = (ContextVar *)keep(context_var("var", V("none"))).object;
    own_handle = loop_call_soon(LOOP, asks_for_its_own, .arg = V("set"));
    await(asyncio_sleep(0));
    ck_notes("set set|none");
    return None;
}

/* Tasks that go as their loop closes leave the context alone of who closes it. */
static Value closes(Value loop)
{
    contextvar_set(var, "mine");
    loop_close((Loop *)loop.object);
    return contextvar_get(var);
}

static void silent_report(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; }
async_def(sleeps_on) { await(asyncio_sleep(100)); return None; }

TEST(a_loop_that_is_closed_inside_a_context)
{
    var = context_var("var", V("none"));
    Loop *loop = asyncio_new_event_loop();
    loop_set_exception_handler(loop, silent_report);
    loop_create_task(loop, sleeps_on());
    loop_run_until_complete(loop, asyncio_sleep(0));
    ck_repr(context_run(asyncio_copy_context(), closes, V(loop)), "'mine'");
    ck_repr(contextvar_get(var), "'none'");
}

/* What get() gives stays good, whatever becomes of the context. */
ASYNC_TEST(a_value_outlives_its_place_in_a_context)
{
    var = (ContextVar *)keep(context_var("var")).object;
    Context *context = asyncio_copy_context();
    scope context_run(context, changes, list("a", "b"));
    Value got = context_get(context, var, None);
    scope context_run(context, changes, V(2));
    ck_repr(got, "['a', 'b']");
    ck_raises(TypeError, context_var(NULL));
    return None;
}

/* ---- the first thing that a thread does ---- */

static Context *handed_over;
static void *gets(void *unused) { ck_repr(contextvar_get(var), "'none'"); return unused; }
static void *runs_in_it(void *unused) { ck_repr(context_run(handed_over, shows, V("thread")), "'shown'"); return unused; }
static void *only_runs(void *argument) { context_run(handed_over, shows, *(Value *)argument); return NULL; }
static void *copies(void *unused) { asyncio_copy_context(); return unused; }
static void *closes_it(void *loop) { loop_close(loop); return NULL; }

static void in_a_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    pthread_create(&thread, NULL, body, argument);
    pthread_join(thread, NULL);
}

TEST(a_thread_that_begins_with_a_context)
{
    var = context_var("var", V("none"));
    contextvar_set(var, "mine");
    handed_over = asyncio_copy_context();
    Value name = V("plain");
    in_a_thread(gets, NULL);
    in_a_thread(runs_in_it, NULL);
    in_a_thread(only_runs, &name);
    in_a_thread(copies, NULL);
    ck_notes("thread mine|plain mine");
    Loop *loop = asyncio_new_event_loop();
    loop_set_exception_handler(loop, silent_report);
    loop_create_task(loop, sleeps_on());
    loop_run_until_complete(loop, asyncio_sleep(0));
    in_a_thread(closes_it, loop);
    ck_assert(loop_is_closed(loop));
}
