/* Asynchronous generators, iterators and context managers. */
#include "child.h"

#define LOOP asyncio_get_running_loop()
async_gen(counts, (int) n) { for (int i = 0; i < n; i++) yield(i); return None; }
async_gen(counts_slowly, (int) n) { for (int i = 0; i < n; i++) { await(asyncio_sleep(1)); yield(i); } return None; }
async_gen(echoes) { Value got = V("first"); for (;;) got = yield(list("got", got)); return None; }
async_gen(cleans_up) { try { for (int i = 0; ; i++) yield(i); } finally { await(asyncio_sleep(1)); note("cleaned up"); } end_try return None; }
async_gen(catches) { for (;;) { try { yield("ready"); } except (ValueError, e) { yield(format("caught %s", as_str(str(e)))); } end_try } return None; }
async_gen(ignores_exit) { for (;;) { try { yield(1); } except (GeneratorExit) { note("ignored"); yield(2); } end_try } return None; }
async_gen(empty) { return None; }
async_gen(fails_after, (int) n) { for (int i = 0; i < n; i++) yield(i); throw(KeyError, "gen"); }
async_gen(stops) { yield(1); throw(StopAsyncIteration); }

ASYNC_TEST(consumed)
{
    async_for (v, counts(3)) note(v);
    async_for (v, counts_slowly(2)) note("slow", v);
    async_for (v, empty()) note("never", v);
    async_for (v, V(counts(1))) note("as a value", v);
    ck_notes("0|1|2|slow 0|slow 1|as a value 0");
    return None;
}

ASYNC_TEST(break_and_continue)
{
    async_for (v, counts(10)) { if (as_int(v) % 2) continue; if (as_int(v) == 6) break; note(v); }
    ck_notes("0|2|4");
    return None;
}

ASYNC_TEST(step_by_step)
{
    AsyncGenerator *gen = counts(2);
    ck_has(as_str(repr(gen)), "<async_generator object counts at 0x");
    ck_assert_int_eq(as_int(await(generator_anext(gen))), 0);
    ck_assert_int_eq(as_int(await(asyncio_anext(gen))), 1);
    for (int i = 0; i < 3; i++) ck_raises(StopAsyncIteration, await(generator_anext(gen)));
    return None;
}

ASYNC_TEST(asend)
{
    AsyncGenerator *gen = echoes();
    ck_raises_text(TypeError, "can't send non-None value to a just-started async generator", await(generator_asend(gen, 1)));
    ck_repr(await(generator_asend(gen, None)), "['got', 'first']");
    ck_repr(await(generator_asend(gen, "x")), "['got', 'x']");
    ck_repr(await(generator_anext(gen)), "['got', None]");
    ck_repr(await(generator_asend(gen, list(1))), "['got', [1]]");
    await(generator_aclose(gen));
    ck_raises(StopAsyncIteration, await(generator_asend(gen, "late")));
    return None;
}

ASYNC_TEST(athrow)
{
    AsyncGenerator *gen = catches();
    ck_repr(await(generator_anext(gen)), "'ready'");
    ck_repr(await(generator_athrow(gen, exception_new(ValueError, "v"))), "'caught v'");
    ck_repr(await(generator_anext(gen)), "'ready'");
    ck_raises_text(KeyError, "'k'", await(generator_athrow(gen, exception_new(KeyError, "k"))));
    ck_raises(StopAsyncIteration, await(generator_anext(gen)));
    AsyncGenerator *fresh = counts(3);
    ck_raises_text(ValueError, "early", await(generator_athrow(fresh, exception_new(ValueError, "early"))));
    ck_raises(StopAsyncIteration, await(generator_anext(fresh)));
    ck_raises(TypeError, await(generator_athrow(counts(1), V(5))));
    return None;
}

ASYNC_TEST(aclose)
{
    AsyncGenerator *gen = cleans_up();
    await(generator_anext(gen));
    await(generator_aclose(gen));
    await(generator_aclose(gen));
    ck_notes("cleaned up");
    AsyncGenerator *fresh = cleans_up();
    await(generator_aclose(fresh));
    ck_raises(StopAsyncIteration, await(generator_anext(fresh)));
    ck_notes("");
    AsyncGenerator *stubborn = ignores_exit();
    await(generator_anext(stubborn));
    ck_raises_text(RuntimeError, "async generator ignored GeneratorExit", await(generator_aclose(stubborn)));
    ck_notes("ignored");
    return None;
}

ASYNC_TEST(exceptions_come_out)
{
    try { async_for (v, fails_after(2)) note(v); } except (KeyError, e) { note(e); } end_try
    try { async_for (v, stops()) note(v); } except (RuntimeError, e) { note(e, repr(exception_cause(e))); } end_try
    ck_notes("0|1|'gen'|1|async generator raised StopAsyncIteration StopAsyncIteration()");
    return None;
}

/* Left by break, nobody holds it any more when the scope ends: a task closes it, as in Python. */
ASYNC_TEST(finalised_after_break)
{
    scope { async_for (v, cleans_up()) { if (as_int(v) == 2) break; } }
    ck_notes("");
    await(asyncio_sleep(2));
    ck_notes("cleaned up");
    return None;
}

async_def(leaves_one_suspended) { AsyncGenerator *gen = cleans_up(); await(generator_anext(gen)); return None; }
async_def(holds_one_for_ever) { AsyncGenerator *gen = cleans_up(); await(generator_anext(gen)); await(asyncio_sleep(1000)); return None; }
async_def(main_with_open_generators) { asyncio_create_task(holds_one_for_ever()); await(leaves_one_suspended()); AsyncGenerator *gen = cleans_up(); await(generator_anext(gen)); return None; }

TEST(closed_when_the_run_ends)
{
    size_t before = asyncio_live_objects();
    scope asyncio_run(main_with_open_generators(), .virtual_clock = true);
    ck_notes("cleaned up|cleaned up|cleaned up");
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

async_gen(fails_to_close) { try { yield(1); } finally { throw(ValueError, "while closing"); } end_try return None; }
static void noting_report(Loop *loop, const ExceptionReport *report) { (void)loop; note((bool)(strstr(report->message, "an error occurred during closing of asynchronous generator <async_generator object fails_to_close at") != NULL), report->exception, (bool)(report->asyncgen != NULL)); }
async_def(main_with_failing_generator) { loop_set_exception_handler(LOOP, noting_report); AsyncGenerator *gen = (AsyncGenerator *)keep(fails_to_close()).object; await(generator_anext(gen)); await(loop_shutdown_asyncgens(LOOP)); return None; }

TEST(errors_while_closing_are_reported)
{
    asyncio_run(main_with_failing_generator(), .virtual_clock = true);
    ck_notes("True while closing True");
}

/* ---- two consumers ---- */

async_def(takes, (AsyncGenerator *) gen, (const char *) who) {
    try { for (int i = 0; i < 2; i++) note(who, await(generator_anext(gen))); } except (RuntimeError, e) { note(who, e); } end_try
    return None;
}

ASYNC_TEST(two_tasks_at_once_are_refused)
{
    AsyncGenerator *gen = counts_slowly(5);
    await(asyncio_gather(takes(gen, "a"), takes(gen, "b")));
    ck_notes("b anext(): asynchronous generator is already running|a 0|a 1");
    Task *task = asyncio_create_task(takes(gen, "c"));
    await(asyncio_sleep(0));
    ck_raises_text(RuntimeError, "aclose(): asynchronous generator is already running", await(generator_aclose(gen)));
    await(task);
    notes_forget_();
    return None;
}

ASYNC_TEST(two_tasks_by_turns)
{
    AsyncGenerator *gen = counts(4);
    await(asyncio_gather(takes(gen, "a"), takes(gen, "b")));
    ck_notes("a 0|a 1|b 2|b 3");
    return None;
}

ASYNC_TEST(cancelled_inside)
{
    Task *task = asyncio_create_task(takes(counts_slowly(5), "x"));
    await(asyncio_sleep(0.5));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_notes("");
    return None;
}

async_def(consumes_cleaner) { async_for (v, cleans_up()) { (void)v; await(asyncio_sleep(10)); } return None; }

ASYNC_TEST(the_consumer_is_cancelled)
{
    Task *task = asyncio_create_task(consumes_cleaner());
    await(asyncio_sleep(5));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    await(asyncio_sleep(2));
    ck_notes("cleaned up");
    return None;
}

/* ---- generators within generators ---- */

async_gen(doubles, (AsyncGenerator *) source) { async_for (v, source) yield(2 * as_int(v)); return None; }

ASYNC_TEST(a_pipeline)
{
    int sum = 0;
    async_for (v, doubles(doubles(doubles(counts_slowly(5))))) sum += (int)as_int(v);
    ck_assert_int_eq(sum, 80);
    try { async_for (v, doubles(doubles(fails_after(1)))) note(v); } except (KeyError, e) { note(e); } end_try
    ck_notes("0|'gen'");
    return None;
}

ASYNC_TEST(yield_in_the_wrong_place)
{
    ck_raises(RuntimeError, yield(1));
    return None;
}

/* ---- comprehensions ---- */

async_def(squares, (int) x) { await(asyncio_sleep(0)); return V(x * x); }

ASYNC_TEST(comprehensions)
{
    ck_repr(async_list(v, counts(4), v), "[0, 1, 2, 3]");
    ck_repr(async_list(v, counts_slowly(6), 10 * as_int(v), as_int(v) % 2 == 1), "[10, 30, 50]");
    ck_repr(async_list(v, counts(3), await(squares((int)as_int(v)))), "[0, 1, 4]");
    ck_repr(async_list(v, empty(), v), "[]");
    ck_repr(async_list_await(list(squares(3), squares(4))), "[9, 16]");
    ck_raises(KeyError, async_list(v, fails_after(2), v));
    return None;
}

/* ---- iterators that the program wrote ---- */

async_def(ticks, (Value) self) {
    if (!len(self)) throw(StopAsyncIteration);
    await(asyncio_sleep(1));
    return list_pop(self, 0);
}
static Coroutine *next_tick(Value self) { return ticks(self); }
async_def(stops_with_arguments, (Value) self) { throw(exception_new_args(StopAsyncIteration, self)); return None; }
static Coroutine *next_stops_with_arguments(Value self) { return stops_with_arguments(self); }
async_def(broken, (Value) self) { throw(ValueError, "%s", as_str(self)); return None; }
static Coroutine *next_broken(Value self) { return broken(self); }

/* anext() is the coroutine that the program's __anext__ made, and raises what that one raises. */
ASYNC_TEST(anext_of_an_iterator_of_ones_own)
{
    AsyncIterator *it = asyncio_iterator(next_stops_with_arguments, tuple("over", 1));
    Coroutine *first = as_coroutine(asyncio_anext(it));
    ck_assert_str_eq(coroutine_name(first), "stops_with_arguments");
    coroutine_close(first);
    try { await(asyncio_anext(it)); } except (StopAsyncIteration, e) { note(repr(e)); } end_try
    async_for (v, it) note(v);
    ck_notes("StopAsyncIteration('over', 1)");
    return None;
}

ASYNC_TEST(an_iterator_of_ones_own)
{
    AsyncIterator *it = asyncio_iterator(next_tick, list("a", "b", "c"));
    async_for (v, it) note(v);
    ck_raises(StopAsyncIteration, await(asyncio_anext(it)));
    ck_repr(async_list(v, asyncio_iterator(next_tick, list(1, 2, 3)), v, as_int(v) != 2), "[1, 3]");
    ck_raises_text(ValueError, "broken", async_for (v, asyncio_iterator(next_broken, "broken")) note(v));
    ck_notes("a|b|c");
    ck_raises(TypeError, asyncio_iterator(NULL, None));
    ck_raises_text(TypeError, "'async for' requires an object with __aiter__ method, got list", async_for (v, list(1)) note(v));
    ck_raises(TypeError, async_for (v, None) note(v));
    ck_raises_text(TypeError, "'int' object is not an async iterator", asyncio_anext(5));
    ck_raises_text(TypeError, "'Lock' object is not an async iterator", asyncio_anext(asyncio_Lock()));
    return None;
}

/* ---- context managers ---- */

async_gen(managed, (const char *) name) {
    note("enter", name);
    try { yield(format("<%s>", name)); } finally { await(asyncio_sleep(1)); note("exit", name); } end_try
    return None;
}
async_gen(suppresses) { try { yield(None); } except (ValueError, e) { note("suppressed", e); } end_try return None; }
async_gen(replaces) { try { yield(None); } except (ValueError) { throw(KeyError, "replaced"); } end_try return None; }
async_gen(yields_twice) { yield(1); yield(2); return None; }
async_gen(yields_after_error) { try { yield(1); } except (ValueError) { } end_try yield(2); return None; }

ASYNC_TEST(contextmanager)
{
    async_with (x, asyncio_contextmanager(managed("a"))) { note(x); } end_with
    try { async_with (x, asyncio_contextmanager(managed("b"))) { throw(ValueError, "body"); } end_with } except (ValueError, e) { note(e); } end_try
    async_with (asyncio_contextmanager(suppresses())) { throw(ValueError, "gone"); } end_with
    try { async_with (asyncio_contextmanager(replaces())) { throw(ValueError, "first"); } end_with } except (KeyError, e) { note(e, exception_context(e)); } end_try
    ck_notes("enter a|<a>|exit a|enter b|exit b|body|suppressed gone|'replaced' first");
    return None;
}

ASYNC_TEST(generators_that_are_no_managers)
{
    ck_raises_text(RuntimeError, "generator didn't yield", async_with (asyncio_contextmanager(empty())) { } end_with);
    ck_raises_text(RuntimeError, "generator didn't stop", async_with (asyncio_contextmanager(yields_twice())) { } end_with);
    ck_raises_text(RuntimeError, "generator didn't stop after athrow()", async_with (asyncio_contextmanager(yields_after_error())) { throw(ValueError); } end_with);
    return None;
}

async_def(returns_from_with) { for (;;) { async_with (x, asyncio_contextmanager(managed("r"))) { return x; } end_with } }

ASYNC_TEST(left_early)
{
    note(await(returns_from_with()));
    for (int i = 0; i < 2; i++) { async_with (x, asyncio_contextmanager(managed(i ? "two" : "one"))) { (void)x; if (!i) continue; break; } end_with }
    ck_notes("enter r|exit r|<r>|enter one|exit one|enter two|exit two");
    return None;
}

ASYNC_TEST(what_is_no_manager)
{
    ck_raises_text(TypeError, "'list' object does not support the asynchronous context manager protocol", async_with (list()) { } end_with);
    ck_raises_text(TypeError, "'int' object does not support the asynchronous context manager protocol", async_with (V(5)) { } end_with);
    ck_raises(TypeError, async_with (asyncio_Event()) { } end_with);
    ck_raises(TypeError, asyncio_context_manager(NULL, NULL, None));
    return None;
}

async_def(enters_forever) { async_with (x, asyncio_contextmanager(managed("c"))) { (void)x; await(asyncio_sleep(1000)); } end_with return None; }

ASYNC_TEST(cancelled_in_the_block)
{
    Task *task = asyncio_create_task(enters_forever());
    await(asyncio_sleep(5));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_notes("enter c|exit c");
    return None;
}

/* When main returns, closers are on their way, about to begin, or still to be made. */
async_def(gives_closers_no_time, (bool) some) {
    await(leaves_one_suspended());
    if (some) await(asyncio_sleep(0.5));
    return None;
}
TEST(closers_at_shutdown)
{
    size_t before = asyncio_live_objects();
    scope asyncio_run(gives_closers_no_time(false), .virtual_clock = true);
    ck_notes("cleaned up");
    scope asyncio_run(gives_closers_no_time(true), .virtual_clock = true);
    ck_notes("");                                       /* cancelled in its sleep, as a task in Python is */
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* Without a running loop a generator that is thrown away is closed on the spot; an await in its finally cannot work. */
static AsyncGenerator *leaked;
async_def(leaks_a_generator) { leaked = (AsyncGenerator *)keep(cleans_up()).object; await(generator_anext(leaked)); return None; }
TEST(a_generator_of_a_loop_that_was_closed_roughly)
{
    size_t before = asyncio_live_objects();
    scope {
        Loop *loop = asyncio_new_event_loop();
        loop_run_until_complete(loop, leaks_a_generator());
        loop_close(loop);
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* ---- what would end an iteration does not leave a coroutine; asyncio_contextmanager() is as strict as contextlib ---- */

async_def(stops_quietly) { throw(StopIteration, "quietly"); }
async_gen(stops_in_a_generator) { yield(1); throw(StopIteration, "here"); return None; }
async_gen(yields_nothing) { if (false) yield(1); return None; }
async_gen(yields_once_more) { try { yield(1); yield(2); } finally { note("closed"); } end_try return None; }
async_gen(lets_pass) { yield(1); return None; }
async_gen(takes_a_key_error) { try { yield(1); } except (KeyError, e) { note("took", repr(e)); } end_try return None; }

ASYNC_TEST(stop_iteration_stays_inside)
{
    try { await(stops_quietly()); } except (RuntimeError, e) {
        note(e, repr(exception_cause(e)), (bool)(exception_context(e).object == exception_cause(e).object));
    } end_try
    try { async_for (v, stops_in_a_generator()) note(v); } except (RuntimeError, e) { note(e, repr(exception_cause(e))); } end_try
    ck_notes("coroutine raised StopIteration StopIteration('quietly') True|1|async generator raised StopIteration StopIteration('here')");
    return None;
}

ASYNC_TEST(a_manager_of_a_generator_that_misbehaves)
{
    try { async_with (asyncio_contextmanager(yields_nothing())) { note("in"); } end_with } except (RuntimeError, e) { note(e, exception_suppress_context(e)); } end_try
    try { async_with (asyncio_contextmanager(yields_once_more())) { note("in"); } end_with } except (RuntimeError, e) { note(e); } end_try
    ck_notes("generator didn't yield True|in|closed|generator didn't stop");
    try { async_with (asyncio_contextmanager(lets_pass())) { throw(StopIteration, "out"); } end_with } except (StopIteration, e) { note(e); } end_try
    async_with (asyncio_contextmanager(takes_a_key_error())) { throw(KeyError, "in"); } end_with
    ck_notes("out|took KeyError('in')");
    return None;
}

async_gen(says_when_closed, (const char *) name)
{
    try { yield(1); yield(2); } finally { await(asyncio_sleep(0)); note(name, "closed"); } end_try
    return None;
}

ASYNC_TEST(left_by_break)
{
    async_for (v, says_when_closed("nameless")) { note(v); break; }
    for (int i = 0; i < 4; i++) await(asyncio_sleep(0));
    note("later");
    AsyncGenerator *named = says_when_closed("named");
    async_for (v, named) { note(v); break; }
    for (int i = 0; i < 4; i++) await(asyncio_sleep(0));
    async_for (v, named) note(v);
    ck_notes("1|nameless closed|later|1|2|named closed");
    Value held = list(says_when_closed("held"));
    async_for (v, list_get(held, 0)) { note(v); break; }
    for (int i = 0; i < 4; i++) await(asyncio_sleep(0));
    async_for (v, list_get(held, 0)) note(v);
    ck_notes("1|2|held closed");
    return None;
}

async_gen(never_closes, (const char *) name)
{
    try {
        for (volatile int i = 0; i < 9; i++) {
            try { yield((int)i); } except (GeneratorExit) { note(name, "stays"); } end_try
        }
    } finally { note(name, "finally"); } end_try
    return None;
}

/* As in CPython: an aclose() that failed is the last word on closing, while values still come. */
ASYNC_TEST(one_that_yields_when_it_is_closed_is_closed_once)
{
    AsyncGenerator *gen = never_closes("it");
    await(generator_anext(gen));
    ck_raises_text(RuntimeError, "async generator ignored GeneratorExit", await(generator_aclose(gen)));
    ck_raises(StopAsyncIteration, await(generator_aclose(gen)));
    ck_raises(StopAsyncIteration, await(generator_athrow(gen, V(ValueError))));
    ck_repr(await(generator_asend(gen, None)), "2");
    async_for (v, gen) note(v);
    ck_repr(await(generator_aclose(gen)), "None");
    ck_notes("it stays|3|4|5|6|7|8|it finally");
    return None;
}

async_def(leaves_one, (const char *) name) { async_for (v, never_closes(name)) { note(v); break; } return None; }

static Value kept;

async_def(drops_them)
{
    scope await(leaves_one("by a task"));
    await(asyncio_sleep(1));
    scope {
        AsyncGenerator *gen = never_closes("by hand");
        await(generator_anext(gen));
        ck_raises(RuntimeError, await(generator_aclose(gen)));
    }
    AsyncGenerator *late = never_closes("at the end");
    list_append(kept, late);
    await(generator_anext(late));
    return None;
}

static void in_a_loop(void)
{
    size_t before = asyncio_live_objects();
    scope {
        kept = list();
        asyncio_run(drops_them(), .virtual_clock = true);
        list_clear(kept);
    }
    ck_notes("0|by a task stays|by hand stays|by hand stays|at the end stays|at the end stays");
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* It is let go of where it stands: no further step, nothing left over. */
TEST(one_that_yields_when_it_is_closed_is_dropped)
{
    Child c = child(in_a_loop);
    ck_exited(c, 0);
    const char *place = c.err;
    ck_assert(place = strstr(place, "Task exception was never retrieved\n"));
    ck_assert(place = strstr(place, "RuntimeError: async generator ignored GeneratorExit\n"));
    ck_assert(place = strstr(place, "Exception ignored in: <async_generator object never_closes at "));
    ck_assert(place = strstr(place, "RuntimeError: async generator ignored GeneratorExit\n"));
    ck_assert(place = strstr(place, "an error occurred during closing of asynchronous generator <async_generator object never_closes at "));
    ck_assert(place = strstr(place, "Exception ignored in: <async_generator object never_closes at "));
    child_free(c);
}

async_def(waits_for_its_closer) { async_for (v, never_closes("it")) { (void)v; break; } await(asyncio_sleep(1)); return None; }
static void closed_while_held(void) { asyncio_run(waits_for_its_closer(), .virtual_clock = true); }

/* Its closer is over, and perhaps gone, when the loop shuts its generators. */
TEST(one_that_has_refused_its_closer_is_not_asked_again)
{
    Child c = child(closed_while_held);
    ck_exited(c, 0);
    ck_has(c.err, "Task exception was never retrieved\n");
    ck_assert(!strstr(c.err, "an error occurred during closing"));
    child_free(c);
}
