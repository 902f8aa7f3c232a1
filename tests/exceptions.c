/* Exceptions: try in every shape, groups, chains, tracebacks, what nobody catches. */
#include "child.h"
#include <errno.h>

exception_class(MyError, Exception);
exception_class(MyFileError, OSError);
exception_class(Child2Error, MyError);

static const char *group_text(Value e)
{
    if (!isinstance(e, BaseExceptionGroup)) return as_str(repr(e));
    Value text = format("%s('%s', [", exception_type(e)->name, as_str(list_get(exception_args(e), 0)));
    Value members = exception_exceptions(e);
    for (int i = 0; i < len(members); i++) text = format("%s%s%s", as_str(text), i ? ", " : "", group_text(list_get(members, i)));
    return as_str(format("%s])", as_str(text)));
}

#define ck_group(e, text) do { const char *got_ = group_text(e), *wanted_ = text; ck_assert_str_eq(got_, wanted_); } while (0)

/* ---- try ---- */

TEST(the_first_clause_that_fits)
{
    try { throw(IndexError, "i"); } except (KeyError) { note("key"); } except (LookupError) { note("lookup"); } except (Exception) { note("any"); } end_try
    try { throw(ValueError); } except (KeyError) { note("key"); } except (Exception, e) { note(e.object == NULL, exception_type(e)->name); } end_try
    try { note("fine"); } except (Exception) { note("never"); } end_try
    try { } end_try
    try { } finally { note("finally"); } end_try
    ck_notes("lookup|0 ValueError|fine|finally");
}

TEST(except_any_takes_any_of_several)
{
    const ExceptionClass *thrown[] = {KeyError, TypeError, ValueError};
    for (int i = 0; i < 3; i++) {
        try { throw(thrown[i], "x"); } except_any (e, KeyError, TypeError) { note("one of two", e); } except (Exception, e) { note("other", e); } end_try
    }
    ck_notes("one of two 'x'|one of two x|other x");
}

TEST(finally_on_every_way_out)
{
    try { note("body"); } finally { note("f1"); } end_try
    try { try { throw(KeyError); } finally { note("f2"); } end_try } except (KeyError) { note("after"); } end_try
    try { throw(KeyError); } except (KeyError) { note("handler"); } finally { note("f3"); } end_try
    try { try { throw(KeyError); } except (KeyError) { throw(ValueError); } finally { note("f4"); } end_try } except (ValueError) { note("second"); } end_try
    try { try { throw(KeyError); } except (ValueError) { note("wrong"); } finally { note("f5"); } end_try } except (LookupError) { note("outer"); } end_try
    ck_notes("body|f1|f2|after|handler|f3|f4|second|f5|outer");
}

TEST(nested_three_deep)
{
    try {
        try {
            try { throw(KeyError, "k"); } except (ValueError) { note("no"); } finally { note("in"); } end_try
        } except (KeyError, e) { note(e); throw(ValueError, "v"); } finally { note("mid"); } end_try
    } except (ValueError, e) { note(e, exception_context(e)); } finally { note("out"); } end_try
    ck_notes("in|'k'|mid|v 'k'|out");
}

TEST(try_inside_except_and_finally)
{
    try {
        throw(KeyError, "a");
    } except (KeyError, outer) {
        try { throw(ValueError, "b"); } except (ValueError, inner) { note(inner, (bool)(exception_context(inner).object == outer.object)); } end_try
        try { rethrow; } except (KeyError, again) { note((bool)(again.object == outer.object)); } end_try
        note(outer);
    } finally {
        try { throw(TypeError, "c"); } except (TypeError, e) { note(e, exception_context(e)); } end_try
    } end_try
    ck_notes("b True|True|'a'|c None");
}

TEST(rethrow_is_the_same_exception)
{
    Value first = exception_new(ValueError, "x");
    try { try { throw(first); } except (ValueError) { rethrow; } end_try } except (ValueError, e) { note((bool)(e.object == first.object), exception_context(e)); } end_try
    ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
    try { try { throw(first); } finally { try { rethrow; } except (ValueError) { note("in finally"); } end_try } end_try } except (ValueError) { note("still flies"); } end_try
    ck_notes("True None|in finally|still flies");
}

TEST(an_exception_in_finally_replaces_the_first)
{
    try { try { throw(KeyError, "lost"); } finally { throw(ValueError, "kept"); } end_try } except (Exception, e) { note(e, repr(exception_context(e))); } end_try
    ck_notes("kept KeyError('lost')");
}

TEST(break_and_continue_out_of_try)
{
    for (int i = 0; i < 5; i++) {
        try {
            if (i == 1) continue;
            if (i == 3) break;
            note(i);
        } except (Exception) { } end_try
    }
    for (int i = 0; i < 3; i++) {
        try { throw(ValueError, "%d", i); } except (ValueError, e) { note(e); if (i == 1) break; continue; } end_try
        note("never");
    }
    ck_notes("0|2|0|1");
    ck_raises(KeyError, throw(KeyError));               /* the chain of handlers is as it was */
}

TEST(a_retry_loop_ends)
{
    volatile int tries = 0;
    while (true) {
        try { if (++tries < 4) throw(ConnectionError, "again"); break; } except (ConnectionError) { continue; } end_try
    }
    ck_assert_int_eq(tries, 4);
}

static int returns_from(int where)
{
    try {
        if (where == 0) return 10;
        throw(ValueError);
    } except (ValueError) {
        if (where == 1) return 11;
    } end_try
    return 12;
}

TEST(return_out_of_try_and_except)
{
    ck_assert_int_eq(returns_from(0), 10);
    ck_assert_int_eq(returns_from(1), 11);
    ck_assert_int_eq(returns_from(2), 12);
    ck_raises(KeyError, throw(KeyError));
    ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
}

static int returns_in_finally(void)
{
    try { throw(ValueError, "dropped"); } finally { return 5; } end_try
    return 6;
}

TEST(return_in_finally_drops_the_exception)
{
    size_t before = asyncio_live_objects();
    scope { ck_assert_int_eq(returns_in_finally(), 5); }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    for (int i = 0; i < 3; i++) {
        try { throw(KeyError); } finally { if (i == 1) break; continue; } end_try
    }
    ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
}

static int return_past_finally(void) { try { return 1; } finally { puts("skipped"); } end_try return 2; }
static void child_return_past_finally(void) { return_past_finally(); }
static void child_break_past_finally(void) { for (;;) { try { break; } finally { puts("skipped"); } end_try } }
static void child_return_from_except_past_finally(void) { try { throw(ValueError); } except (ValueError) { return; } finally { puts("skipped"); } end_try }

TEST(return_past_a_finally_stops_the_program)
{
    void (*bodies[])(void) = {child_return_past_finally, child_break_past_finally, child_return_from_except_past_finally};
    for (int i = 0; i < 3; i++) {
        Child c = child(bodies[i]);
        ck_killed(c, SIGABRT);
        ck_has(c.err, "exceptions.c:");
        ck_has(c.err, "C would skip its finally");
        ck_lacks(c.out, "skipped");
        child_free(c);
    }
}

TEST(volatile_locals_survive)
{
    volatile int a = 1;
    int untouched = 7;
    try { a = 2; throw(ValueError); } except (ValueError) { a += 10; } finally { a += 100; } end_try
    ck_assert_int_eq(a, 112);
    ck_assert_int_eq(untouched, 7);
}

static int throw_deep(int depth) { if (depth >= 0) throw(ValueError, "deep"); return depth; }
static int throw_deeper(int depth) { return depth ? 1 + throw_deeper(depth - 1) : throw_deep(depth); }

TEST(thrown_from_plain_functions)
{
    ck_raises_text(ValueError, "deep", throw_deeper(100));
    volatile int times = 0;
    while (times++ < 100000) scope { try { throw_deeper(3); } except (ValueError) { } end_try }
}

TEST(nothing_is_left_behind)
{
    size_t before = asyncio_live_objects();
    scope {
        for (int i = 0; i < 10; i++) {
            try { try { throw(KeyError, "k"); } except (KeyError, e) { throw_from(e, ValueError, "v %d", i); } finally { note(i); } end_try } except (Exception) { } end_try
            try { try { throw(KeyError); } finally { throw(TypeError); } end_try } except (TypeError) { continue; } end_try
        }
        try { throw(exception_group("g", list(V(ValueError), V(KeyError)))); } except_star (ValueError, g) { note(g); } except_star (KeyError, g) { note(len(exception_exceptions(g))); } end_try
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* ---- classes, instances ---- */

TEST(custom_classes)
{
    try { throw(MyError, "code %d", 5); } except (MyError, e) { note(e, repr(e), exception_type(e) == MyError); } end_try
    try { throw(Child2Error); } except (MyError, e) { note("child", repr(e)); } end_try
    try { throw(MyFileError, "f"); } except (OSError) { note("OSError"); } end_try
    ck_raises(MyError, try { throw(MyError); } except (OSError) { } end_try);
    ck_notes("code 5 MyError('code 5') 1|child Child2Error()|OSError");
}

TEST(the_tree_of_classes)
{
    struct { const ExceptionClass *class, *parent; } tree[] = {
        {CancelledError, BaseException}, {TimeoutError, OSError}, {KeyError, LookupError}, {IndexError, LookupError}, {ZeroDivisionError, ArithmeticError},
        {ConnectionResetError, ConnectionError}, {ConnectionError, OSError}, {OSError, Exception}, {KeyboardInterrupt, BaseException}, {SystemExit, BaseException},
        {GeneratorExit, BaseException}, {RecursionError, RuntimeError}, {NotImplementedError, RuntimeError}, {BrokenBarrierError, RuntimeError},
        {InvalidStateError, Exception}, {QueueEmpty, Exception}, {IncompleteReadError, EOFError}, {UnicodeError, ValueError}, {StopAsyncIteration, Exception}};
    for (size_t i = 0; i < sizeof tree / sizeof *tree; i++) ck_assert_msg(tree[i].class->parent == tree[i].parent, "%s", tree[i].class->name);
    ck_assert(!isinstance(V(CancelledError), Exception) && !isinstance(V(KeyboardInterrupt), Exception) && isinstance(V(TimeoutError), OSError));
    Value group = exception_group("g", list(V(ValueError)));
    ck_assert(isinstance(group, ExceptionGroup) && isinstance(group, BaseExceptionGroup) && isinstance(group, Exception));
    Value base = exception_group("g", list(V(KeyboardInterrupt)));
    ck_assert(!isinstance(base, ExceptionGroup) && isinstance(base, BaseExceptionGroup) && !isinstance(base, Exception));
    ck_assert(!isinstance("text", Exception) && !isinstance(None, BaseException));
}

TEST(an_os_error_has_a_number)
{
    Value e = exception_new_args(OSError, tuple(ENOENT, "gone", "/x"));
    ck_repr(e, "FileNotFoundError(2, 'gone')");
    ck_repr(str(e), "\"[Errno 2] gone: '/x'\"");
    ck_repr(exception_args(e), "(2, 'gone')");
    ck_repr(exception_details(e), "(2, 'gone', '/x')");
    ck_repr(str(exception_new_args(MyFileError, tuple(ENOENT, "mine"))), "'[Errno 2] mine'");
    ck_repr(exception_new_args(MyFileError, tuple(ENOENT, "mine")), "MyFileError(2, 'mine')");
    ck_repr(exception_new_args(OSError, tuple("no", "number")), "OSError('no', 'number')");
    ck_repr(str(exception_new_args(OSError, tuple(ENOENT))), "'2'");
    ck_repr(exception_details(exception_new(OSError, "text")), "()");
}

TEST(instances)
{
    Value e = exception_new_args(ValueError, tuple("a", 2));
    ck_repr(exception_args(e), "('a', 2)");
    ck_repr(exception_args(V(KeyError)), "()");
    ck_repr(exception_cause(e), "None");
    ck_repr(exception_context(e), "None");
    ck_repr(exception_exceptions(e), "None");
    ck_repr(exception_notes(e), "[]");
    exception_add_note(e, "n1");
    exception_add_note(e, "n2");
    ck_repr(exception_notes(e), "['n1', 'n2']");
    ck_raises_text(TypeError, "exceptions must derive from BaseException, not str", throw(V("no exception")));
    ck_raises(TypeError, exception_args(V(5)));
    ck_raises(TypeError, exception_new_args(ValueError, V(5)));
    ck_raises_text(ValueError, "second argument (exceptions) must be a non-empty sequence", exception_group("g", list()));
    ck_raises(ValueError, exception_group("g", list(1)));
    ck_raises_text(TypeError, "second argument (exceptions) must be a sequence", exception_group("g", V(5)));
    ck_raises(TypeError, throw_from("not an exception", ValueError, "x"));
}

TEST(cause_and_context)
{
    Value first = exception_new(KeyError, "first");
    try { try { throw(first); } except (KeyError, e) { throw_from(e, ValueError, "second"); } end_try } except (ValueError, e) {
        ck_assert_ptr_eq(exception_cause(e).object, first.object);
        ck_assert_ptr_eq(exception_context(e).object, first.object);
    } end_try
    try { try { throw(KeyError); } except (KeyError) { throw_from(None, ValueError, "alone"); } end_try } except (ValueError, e) {
        ck_repr(exception_cause(e), "None");
        ck_repr(exception_context(e), "KeyError()");
    } end_try
    try { throw(ValueError); } except (ValueError, e) { ck_repr(exception_context(e), "None"); } end_try
}

/* Raising an exception while itself, or one that it caused, is being handled makes no cycle. */
TEST(no_cycles_of_contexts)
{
    size_t before = asyncio_live_objects();
    scope {
        Value a = exception_new(ValueError, "a"), b = exception_new(KeyError, "b");
        try { throw(a); } except (ValueError) { try { throw(a); } except (ValueError, e) { ck_repr(exception_context(e), "None"); } end_try } end_try
        try {
            try { throw(a); } except (ValueError) { try { throw(b); } except (KeyError) { throw(a); } end_try } end_try
        } except (ValueError, e) { ck_assert_ptr_eq(e.object, a.object); } end_try
        ck_assert_ptr_eq(exception_context(a).object, b.object);
        ck_repr(exception_context(b), "None");
        FILE *sink = fopen("/dev/null", "w");
        exception_print(a, sink);
        exception_print(b, sink);
        fclose(sink);
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

/* ---- groups: the expected texts are CPython 3.13's ---- */

static Value nested_group(void)
{
    return exception_group("g", list(exception_new_args(ValueError, tuple(1)),
        exception_group("h", list(exception_new_args(TypeError, tuple(2)), exception_new_args(ValueError, tuple(3)))), exception_new_args(OSError, tuple(4))));
}

#define REST_OF_GROUP "ExceptionGroup('g', [ExceptionGroup('h', [TypeError(2)]), OSError(4)])"
#define WHOLE_GROUP "ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [TypeError(2), ValueError(3)]), OSError(4)])"

#define ck_group_raised(text, ...) do { \
        volatile bool raised_here_ = false; \
        try { __VA_ARGS__ } except (BaseException, e_) { raised_here_ = true; ck_group(e_, text); } end_try \
        ck_assert(raised_here_); } while (0)

TEST(star_takes_its_part)
{
    try { throw(nested_group()); }
    except_star (ValueError, g) { note(group_text(g)); }
    except_star (TypeError, g) { note(group_text(g)); }
    except_star (OSError, g) { note(group_text(g)); } end_try
    ck_notes("ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [ValueError(3)])])|ExceptionGroup('g', [ExceptionGroup('h', [TypeError(2)])])|ExceptionGroup('g', [OSError(4)])");
}

TEST(star_leaves_the_rest)
{
    ck_group_raised(REST_OF_GROUP, try { throw(nested_group()); } except_star (ValueError, g) { note(1); } end_try);
    ck_group_raised(WHOLE_GROUP, try { throw(nested_group()); } except_star (KeyError, g) { note(2); } end_try);
    ck_group_raised("BaseExceptionGroup('b', [KeyboardInterrupt()])",
        try { throw(exception_group("b", list(V(KeyboardInterrupt), V(ValueError)))); } except_star (ValueError, g) { note(3); } end_try);
    ck_notes("1|3");
}

TEST(star_any_takes_the_part_of_several)
{
    try {
        try { throw(nested_group()); } except_star_any (g, TypeError, OSError) { note(repr(g)); } except_star_any (g, KeyError, EOFError) { ck_abort(); } end_try
    } except (ExceptionGroup, rest) { note(repr(rest)); } end_try
    ck_notes("ExceptionGroup('g', [ExceptionGroup('h', [TypeError(2)]), OSError(4)])|ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [ValueError(3)])])");
}

TEST(star_with_finally)
{
    ck_group_raised(REST_OF_GROUP, try { throw(nested_group()); } except_star (ValueError, g) { note("star"); } finally { note("finally"); } end_try);
    try { throw(nested_group()); } except_star (Exception, g) { note("all"); } finally { note("finally"); } end_try
    try { note("none"); } except_star (Exception, g) { note("never"); } finally { note("finally"); } end_try
    ck_notes("star|finally|all|finally|none|finally");
}

TEST(star_raises_again)
{
    ck_group_raised(WHOLE_GROUP, try { throw(nested_group()); } except_star (ValueError, g) { rethrow; } end_try);
    ck_group_raised(WHOLE_GROUP, try { throw(nested_group()); } except_star (Exception, g) { rethrow; } end_try);
    ck_group_raised("ExceptionGroup('g', [ExceptionGroup('h', [TypeError(2)])])",
        try { throw(nested_group()); } except_star (ValueError, g) { } except_star (TypeError, g) { rethrow; } except_star (OSError, g) { } end_try);
}

TEST(star_raises_something_new)
{
    ck_group_raised("ExceptionGroup('', [MyError('new'), " REST_OF_GROUP "])", try { throw(nested_group()); } except_star (ValueError, g) { throw(MyError, "new"); } end_try);
    ck_group_raised("ExceptionGroup('', [MyError('new'), MyError('new2'), ExceptionGroup('g', [OSError(4)])])",
        try { throw(nested_group()); } except_star (ValueError, g) { throw(MyError, "new"); } except_star (TypeError, g) { throw(MyError, "new2"); } except_star (OSError, g) { rethrow; } end_try);
    ck_group_raised("ExceptionGroup('', [ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [ValueError(3)])]), " REST_OF_GROUP "])",
        try { throw(nested_group()); } except_star (ValueError, g) { throw(g); } end_try);
    ck_group_raised("ExceptionGroup('', [ValueError(1), " REST_OF_GROUP "])",
        try { throw(nested_group()); } except_star (ValueError, g) { throw(list_get(exception_exceptions(g), 0)); } end_try);
    /* Alone, and nothing left of the group: it is raised as it is, since 3.12. */
    try { try { throw(nested_group()); } except_star (Exception, g) { throw(MyError, "x"); } end_try } except (MyError, e) {
        ck_group(exception_context(e), WHOLE_GROUP);
    } end_try
}

TEST(star_and_a_naked_exception)
{
    try { throw(ValueError, "bare"); } except_star (ValueError, g) { note(group_text(g)); } end_try
    ck_notes("ExceptionGroup('', [ValueError('bare')])");
    ck_group_raised("ExceptionGroup('', [ValueError('bare')])", try { throw(ValueError, "bare"); } except_star (ValueError, g) { rethrow; } end_try);
    ck_group_raised("MyError('x')", try { throw(ValueError, "bare"); } except_star (ValueError, g) { throw(MyError, "x"); } end_try);
    ck_group_raised("ValueError('bare')", try { throw(ValueError, "bare"); } except_star (TypeError, g) { note("never"); } end_try);
    try { throw(KeyboardInterrupt); } except_star (BaseException, g) { note(exception_type(g)->name); } end_try
    ck_notes("BaseExceptionGroup");
}

TEST(star_left_by_break)
{
    size_t before = asyncio_live_objects();
    scope {
        for (int i = 0; i < 3; i++) {
            try { throw(nested_group()); } except_star (ValueError, g) { note(i); if (i == 1) break; continue; } end_try
        }
        ck_notes("0|1");
        ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

TEST(star_inside_star)
{
    try {
        try { throw(nested_group()); }
        except_star (ValueError, g) { try { throw(g); } except_star (ValueError, h) { note(group_text(h)); } end_try }
        end_try
    } except_star (OSError, g) { note(group_text(g)); } except_star (TypeError, g) { note(group_text(g)); } end_try
    ck_notes("ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [ValueError(3)])])|ExceptionGroup('g', [OSError(4)])|ExceptionGroup('g', [ExceptionGroup('h', [TypeError(2)])])");
}

TEST(split)
{
    Value rest, group = nested_group(), match = exception_split(group, ValueError, &rest);
    ck_group(match, "ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [ValueError(3)])])");
    ck_group(rest, REST_OF_GROUP);
    match = exception_split(group, KeyError, &rest);
    ck_assert(is_none(match) && rest.object != group.object && value_equal(repr(rest), repr(group)));
    match = exception_split(group, Exception, &rest);
    ck_assert(is_none(rest) && match.object == group.object);
    Value single = V(KeyError);
    ck_assert(exception_split(single, LookupError, &rest).object == single.object && is_none(rest));
    ck_assert(is_none(exception_split(single, OSError, &rest)) && rest.object == single.object);
}

/* ---- through coroutines and tasks ---- */

static int inner_line, middle_line, outer_line;
async_def(inner) { await(asyncio_sleep(0)); inner_line = __LINE__ + 1;
    throw(ValueError, "from inside"); return None; }
async_def(middle) { middle_line = __LINE__ + 1;
    await(inner()); return None; }
async_def(outer) { outer_line = __LINE__ + 1;
    await(middle()); return None; }

static Value printed(Value e)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    exception_print(e, out);
    fclose(out);
    Value v = V(text);
    free(text);
    return v;
}

ASYNC_TEST(the_traceback_leads_through_the_awaits)
{
    try { await(outer()); ck_abort(); } except (ValueError, e) {
        Value wanted = format("Traceback (most recent call last):\n"
            "  File \"%s\", line %d, in the_traceback_leads_through_the_awaits\n    try { await(outer()); ck_abort(); } except (ValueError, e) {\n"
            "  File \"%s\", line %d, in outer\n    await(middle()); return None; }\n"
            "  File \"%s\", line %d, in middle\n    await(inner()); return None; }\n"
            "  File \"%s\", line %d, in inner\n    throw(ValueError, \"from inside\"); return None; }\n"
            "ValueError: from inside\n", __FILE__, __LINE__ - 6, __FILE__, outer_line, __FILE__, middle_line, __FILE__, inner_line);
        Value got = printed(e);
        ck_assert_str_eq(as_str(got), as_str(wanted));
    } end_try
    return None;
}

ASYNC_TEST(the_traceback_of_a_task_goes_on_in_who_awaits_it)
{
    Task *task = asyncio_create_task(outer());
    try { await(task); ck_abort(); } except (ValueError, e) {
        Value got = printed(e);
        ck_assert_str_eq(as_str(list_get(list(got), 0)), as_str(got));
        ck_has(as_str(got), "in the_traceback_of_a_task_goes_on_in_who_awaits_it\n");
        ck_assert(strstr(as_str(got), "in the_traceback") < strstr(as_str(got), "in outer"));
        ck_assert(strstr(as_str(got), "in outer") < strstr(as_str(got), "in inner"));
    } end_try
    return None;
}

/* What a function of the library raises has the place of the last await before it, or of the coroutine's beginning. */
static int early_line;
async_def(releases_early) { early_line = __LINE__; lock_release(asyncio_Lock()); return None; }

ASYNC_TEST(the_traceback_has_coroutines_that_have_not_awaited_yet)
{
    try { await(releases_early()); ck_abort(); } except (RuntimeError, e) {
        char *printed = NULL;
        size_t size;
        FILE *file = open_memstream(&printed, &size);
        exception_print(e, file);
        fclose(file);
        ck_has(printed, as_str(format("line %d, in releases_early\n    async_def(releases_early)", early_line)));
        free(printed);
    } end_try
    return None;
}

/* The functions in the traceback, the outermost first. */
static Value functions_of(Value e)
{
    char *copy = strdup(as_str(printed(e))), *rest = copy;
    Value names = V("");
    for (char *line; (line = strsep(&rest, "\n")); ) {
        char *in = strstr(line, "File \"") ? strstr(line, ", in ") : NULL;
        if (in) names = format("%s%s%s", as_str(names), len(names) ? " " : "", in + 5);
    }
    free(copy);
    return names;
}

async_def(first_waiter, (Task *) task) { await(task); return None; }
async_def(second_waiter, (Task *) task) { await(task); return None; }

ASYNC_TEST(each_who_awaits_a_failed_task_has_a_traceback_of_his_own)
{
    Task *task = asyncio_create_task(outer());
    try { await(first_waiter(task)); } except (ValueError, e) { note(functions_of(e)); } end_try
    try { await(second_waiter(task)); } except (ValueError, e) { note(functions_of(e)); } end_try
    const char *here = "each_who_awaits_a_failed_task_has_a_traceback_of_his_own";
    Value wanted = format("%s first_waiter outer middle inner|%s second_waiter", here, here);
    ck_notes(as_str(wanted));
    return None;
}

async_def(raises_again) { try { await(inner()); } except (ValueError, e) { throw(e); } end_try return None; }
async_def(rethrows) { try { await(inner()); } except (ValueError) { rethrow; } end_try return None; }
async_def(throws_group) { throw(exception_group("g", list(V(KeyError), V(OSError)))); }
async_def(star_rethrows) { try { await(throws_group()); } except_star (KeyError, g) { rethrow; } end_try return None; }
async_def(star_wants_another) { try { await(throws_group()); } except_star (EOFError, g) { } end_try return None; }
async_def(star_takes_a_naked_one) { try { await(inner()); } except_star (ValueError, g) { rethrow; } end_try return None; }

ASYNC_TEST(what_is_raised_again_has_one_more_entry_only_if_the_program_says_so)
{
    for_in (coro, list(raises_again(), rethrows(), star_rethrows(), star_wants_another()))
        try { await(coro); } except (Exception, e) { note(strchr(as_str(functions_of(e)), ' ') + 1); } end_try
    ck_notes("raises_again raises_again inner|rethrows inner|star_rethrows throws_group|star_wants_another throws_group");
    const char *here = "what_is_raised_again_has_one_more_entry_only_if_the_program_says_so";
    Value wanted = format("%s star_takes_a_naked_one inner", here);
    try { await(star_takes_a_naked_one()); } except (ExceptionGroup, e) { note(functions_of(e)); } end_try
    ck_notes(as_str(wanted));
    return None;
}

/* Pairs of texts: ours, and Python's for the same program, with file names, lines and sources left out. */
static Value shape(Value text)
{
    char *copy = strdup(as_str(text)), *out = calloc(strlen(copy) + 1, 1), *rest = copy;
    for (char *line; (line = strsep(&rest, "\n")); ) {
        char *file = strstr(line, "File \""), *in = file ? strstr(line, ", in ") : NULL;
        if (in) sprintf(out + strlen(out), "%.*sFile%s\n", (int)(file - line), line, in);
        else if (!strncmp(line + strspn(line, " |"), "try {", 5) || strstr(line, "throw")) continue;
        else if (rest) sprintf(out + strlen(out), "%s\n", line);
    }
    Value v = V(out);
    free(copy);
    free(out);
    return v;
}

#define ck_shape(e, text) do { Value shape_ = shape(printed(e)); const char *wanted_ = text; ck_assert_str_eq(as_str(shape_), wanted_); } while (0)

TEST(the_text_of_cause_and_context)
{
    try { try { throw(KeyError, "k"); } except (KeyError, e) { throw_from(e, ValueError, "v"); } end_try } except (ValueError, e) {
        ck_shape(e, "Traceback (most recent call last):\n  File, in the_text_of_cause_and_context_here_\nKeyError: 'k'\n\n"
            "The above exception was the direct cause of the following exception:\n\n"
            "Traceback (most recent call last):\n  File, in the_text_of_cause_and_context_here_\nValueError: v\n");
    } end_try
    try { try { throw(KeyError); } except (KeyError) { throw(ValueError, "v"); } end_try } except (ValueError, e) {
        exception_add_note(e, "a note");
        ck_shape(e, "Traceback (most recent call last):\n  File, in the_text_of_cause_and_context_here_\nKeyError\n\n"
            "During handling of the above exception, another exception occurred:\n\n"
            "Traceback (most recent call last):\n  File, in the_text_of_cause_and_context_here_\nValueError: v\na note\n");
    } end_try
    try { try { throw(KeyError); } except (KeyError) { throw_from(None, ValueError, "v"); } end_try } except (ValueError, e) {
        ck_shape(e, "Traceback (most recent call last):\n  File, in the_text_of_cause_and_context_here_\nValueError: v\n");
    } end_try
}

TEST(the_text_of_a_group)
{
    try { throw(nested_group()); } except (ExceptionGroup, e) {
        exception_add_note(e, "a note");
        ck_shape(e,
            "  + Exception Group Traceback (most recent call last):\n"
            "  |   File, in the_text_of_a_group_here_\n"
            "  | ExceptionGroup: g (3 sub-exceptions)\n"
            "  | a note\n"
            "  +-+---------------- 1 ----------------\n"
            "    | ValueError: 1\n"
            "    +---------------- 2 ----------------\n"
            "    | ExceptionGroup: h (2 sub-exceptions)\n"
            "    +-+---------------- 1 ----------------\n"
            "      | TypeError: 2\n"
            "      +---------------- 2 ----------------\n"
            "      | ValueError: 3\n"
            "      +------------------------------------\n"
            "    +---------------- 3 ----------------\n"
            "    | OSError: 4\n"
            "    +------------------------------------\n");
    } end_try
}

TEST(the_text_of_a_deep_group_ends_somewhere)
{
    Value e = V(ValueError);
    for (int i = 0; i < 200; i++) e = exception_group("g", list(e));
    ck_has(as_str(printed(e)), "                      | ... (max_group_depth is 10)\n                      +------------------------------------\n");
}

TEST(the_text_of_a_wide_group_ends_somewhere)
{
    Value members = list();
    for (int i = 0; i < 16; i++) list_append(members, exception_new(ValueError, "e%d", i));
    ck_has(as_str(printed(exception_group("g", members))), "    | ValueError: e14\n    +---------------- ... ----------------\n    | and 1 more exception\n    +------");
    list_append(members, V(KeyError));
    ck_has(as_str(printed(exception_group("g", members))), "\n    | and 2 more exceptions\n");
}

TEST(groups_that_end_together_are_closed_by_one_line)
{
    Value inner = exception_group("inner", list(V(KeyError))), handling = V(ValueError);
    ck_shape(exception_group("outer", list(V(OSError), inner)),
        "  | ExceptionGroup: outer (2 sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | OSError\n"
        "    +---------------- 2 ----------------\n"
        "    | ExceptionGroup: inner (1 sub-exception)\n"
        "    +-+---------------- 1 ----------------\n"
        "      | KeyError\n"
        "      +------------------------------------\n");
    exception_with_cause_(handling, inner);
    ck_shape(exception_group("outer", list(handling)),
        "  | ExceptionGroup: outer (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | ExceptionGroup: inner (1 sub-exception)\n"
        "    +-+---------------- 1 ----------------\n"
        "      | KeyError\n"
        "      +------------------------------------\n"
        "    | \n"
        "    | The above exception was the direct cause of the following exception:\n"
        "    | \n"
        "    | ValueError\n");
}

TEST(modules_are_named)
{
    ck_assert_str_eq(as_str(printed(V(CancelledError))), "asyncio.exceptions.CancelledError\n");
    ck_assert_str_eq(as_str(printed(V(QueueFull))), "asyncio.queues.QueueFull\n");
    ck_assert_str_eq(as_str(printed(exception_new(TimeoutError, "t"))), "TimeoutError: t\n");
    ck_assert_str_eq(as_str(printed(exception_new(KeyError, "k"))), "KeyError: 'k'\n");
}

/* ---- what nobody catches ---- */

async_def(fails) { print("before"); await(outer()); return None; }
static void child_uncaught(void) { asyncio_run(fails()); print("never"); }
static void child_uncaught_plain(void) { print("before"); throw(MyError, "plain"); }
async_def(exits, (int) code) { throw(exception_new_args(SystemExit, tuple(code))); return None; }
static void child_exits(void *code) { asyncio_run(exits(*(int *)code)); }
static void child_exits_none(void) { throw(SystemExit); }
static void child_exits_text(void) { throw(SystemExit, "words"); }
static void child_interrupted(void) { throw(KeyboardInterrupt); }

TEST(uncaught_ends_with_a_traceback_and_status_1)
{
    Child c = child(child_uncaught);
    ck_exited(c, 1);
    ck_assert_str_eq(c.out, "before\n");
    ck_assert_int_eq(strncmp(c.err, "Traceback (most recent call last):\n  File \"", 43), 0);
    ck_has(c.err, ", in fails\n");
    ck_has(c.err, ", in inner\n");
    ck_has(c.err, "\nValueError: from inside\n");
    child_free(c);
    c = child(child_uncaught_plain);
    ck_exited(c, 1);
    ck_has(c.err, "in child_uncaught_plain\n");
    ck_has(c.err, "MyError: plain\n");
    child_free(c);
}

TEST(system_exit_gives_the_status)
{
    int codes[] = {0, 3, 255, 256 + 7};
    for (int i = 0; i < 4; i++) {
        Child c = child_with(child_exits, &codes[i]);
        ck_exited(c, codes[i] & 255);
        ck_assert_str_eq(c.err, "");
        child_free(c);
    }
    Child c = child(child_exits_none);
    ck_exited(c, 0);
    child_free(c);
    c = child(child_exits_text);
    ck_exited(c, 1);
    ck_assert_str_eq(c.err, "words\n");
    child_free(c);
}

TEST(keyboard_interrupt_dies_of_the_signal)
{
    Child c = child(child_interrupted);
    ck_killed(c, SIGINT);
    ck_has(c.err, "KeyboardInterrupt\n");
    child_free(c);
}

static void callback_that_throws(Value arg) { throw(ValueError, "in a callback, %s", as_str(arg)); }
static void handler_noting(Loop *loop, const ExceptionReport *report)
{
    (void)loop;
    note(report->message, report->exception);
}

ASYNC_TEST(thrown_in_a_plain_callback)
{
    Loop *loop = asyncio_get_running_loop();
    loop_set_exception_handler(loop, handler_noting);
    loop_call_soon(loop, callback_that_throws, .arg = V("x"));
    await(asyncio_sleep(0));
    ck_notes("Exception in callback callback_that_throws() in a callback, x");
    return None;
}

/* ---- async_with is no finally: everything may leave it ---- */

async_def(entered, (Value) self) { note("enter", self); await(asyncio_sleep(1)); return self; }
static Coroutine *enter_(Value self) { return entered(self); }
async_def(left, (Value) self, (Value) e) { await(asyncio_sleep(1)); note("exit", self, repr(e)); return V((bool)value_equal(self, V("swallow"))); }
static Coroutine *exit_(Value self, Value e) { return left(self, e); }
#define MANAGER(name) asyncio_context_manager(enter_, exit_, name)

async_def(returns_inside) { async_with (m, MANAGER("r")) { note(m); return V("value"); } end_with return None; }

ASYNC_TEST(leaving_async_with)
{
    note(await(returns_inside()));
    for (int i = 0; i < 3; i++) {
        async_with (m, MANAGER(i)) { if (i == 0) continue; if (i == 1) break; } end_with
    }
    try { async_with (m, MANAGER("t")) { throw(ValueError, "x"); } end_with } except (ValueError, e) { note("caught", e); } end_try
    async_with (m, MANAGER("swallow")) { throw(ValueError, "y"); } end_with
    ck_notes("enter r|r|exit r None|value|enter 0|exit 0 None|enter 1|exit 1 None|enter t|exit t ValueError('x')|caught x|enter swallow|exit swallow ValueError('y')");
    ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
    return None;
}

async_def(nested_withs) {
    async_with (a, MANAGER("a")) { async_with (b, MANAGER("b")) { for (int i = 0; ; i++) { if (i == 2) return V(i); await(asyncio_sleep(0)); } } end_with } end_with
    return None;
}

ASYNC_TEST(return_through_two_async_withs)
{
    note(await(nested_withs()));
    ck_notes("enter a|enter b|exit b None|exit a None|2");
    return None;
}

/* return out of async_with inside an except block: the exit sees no exception, as in Python, and the handled one is restored. */
async_def(returns_within_except) {
    try { throw(KeyError, "k"); } except (KeyError) { async_with (m, MANAGER("w")) { return V("r"); } end_with } end_try
    return None;
}

async_def(exit_raises, (Value) self, (Value) e) { (void)self; (void)e; throw(ValueError, "from exit"); return None; }
static Coroutine *exit_raising(Value self, Value e) { return exit_raises(self, e); }
async_def(returns_into_raising_exit) {
    async_with (m, asyncio_context_manager(enter_, exit_raising, "z")) { return V("lost"); } end_with
    return None;
}

ASYNC_TEST(exits_of_left_blocks)
{
    note(await(returns_within_except()));
    ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
    try { await(returns_into_raising_exit()); } except (ValueError, e) { note(e); } end_try
    try { async_with (m, asyncio_context_manager(enter_, exit_raising, "q")) { throw(KeyError, "in"); } end_with } except (ValueError, e) { note(e, repr(exception_context(e))); } end_try
    ck_notes("enter w|exit w None|r|enter z|from exit|enter q|from exit KeyError('in')");
    return None;
}

/* ---- across switches: each task has a chain of its own ---- */

async_def(handles_slowly, (int) id) {
    try { throw(ValueError, "%d", id); } except (ValueError, e) {
        await(asyncio_sleep(1 + id % 3));
        note(id, e);
        try { rethrow; } except (ValueError, again) { ck_assert_ptr_eq(again.object, e.object); } end_try
    } finally { await(asyncio_sleep(1)); note("f", id); } end_try
    return None;
}

ASYNC_TEST(what_is_handled_belongs_to_the_task)
{
    await(asyncio_gather(handles_slowly(0), handles_slowly(1), handles_slowly(2)));
    ck_notes("0 0|1 1|f 0|2 2|f 1|f 2");
    ck_raises_text(RuntimeError, "No active exception to reraise", rethrow);
    return None;
}

async_def(cleans_up) { try { await(asyncio_sleep(100)); } except (CancelledError) { note("cancelled"); rethrow; } finally { await(asyncio_sleep(1)); note("finally"); } end_try return None; }

ASYNC_TEST(finally_runs_on_cancellation)
{
    Task *task = asyncio_create_task(cleans_up());
    await(asyncio_sleep(1));
    task_cancel(task, .msg = V("why"));
    try { await(task); } except (CancelledError, e) { note("out", e, exception_args(e)); } end_try
    ck_notes("cancelled|finally|out why ('why',)");
    return None;
}

async_gen(throws_later) { yield(1); try { yield(2); } finally { note("closed"); } end_try throw(KeyError, "gen"); }

ASYNC_TEST(across_a_generator)
{
    try { async_for (v, throws_later()) { note(v); } } except (KeyError, e) {
        note(e);
        ck_has(as_str(printed(e)), "in throws_later\n");
        ck_has(as_str(printed(e)), "in across_a_generator\n");
    } end_try
    scope { try { async_for (v, throws_later()) { if (as_int(v) == 2) throw(ValueError, "consumer"); } } except (ValueError, e) { note(e); } end_try }
    await(asyncio_sleep(1));
    ck_notes("1|2|closed|'gen'|consumer|closed");
    return None;
}

/* ---- what is in sight: CPython resumes all coroutines with a result, but only the innermost with an exception ---- */

static const char *chained(Value e)
{
    Value context = exception_context(e);
    return as_str(is_none(context) ? repr(e) : format("%s in %s", as_str(repr(e)), chained(context)));
}

async_def(asleep) { await(asyncio_sleep(10)); return None; }
async_def(wakes_and_raises) { await(asyncio_sleep(0)); throw(ValueError); }
async_def(raises_at_once) { throw(ValueError); }

async_def(context_inner) { try { await(asleep()); } except (CancelledError, e) { note("inner", chained(e)); throw(ValueError, "inner"); } end_try return None; }
async_def(context_middle) { try { throw(KeyError, "middle"); } except (KeyError) { await(context_inner()); } end_try return None; }
async_def(context_outer)
{
    try { throw(OSError, "outer"); } except (OSError) {
        try { await(context_middle()); } except (ValueError, e) { note("outer", chained(e)); } end_try
    } end_try
    return None;
}

ASYNC_TEST(context_of_what_is_thrown_in)
{
    Task *task = asyncio_create_task(context_outer());
    await(asyncio_sleep(0));
    task_cancel(task);
    await(task);
    ck_notes("inner CancelledError()|outer ValueError('inner') in OSError('outer')");
    try { throw(OSError, "outer"); } except (OSError) {
        try { await(wakes_and_raises()); } except (ValueError, e) { note("resumed", chained(e)); } end_try
        try { await(asyncio_create_task(wakes_and_raises())); } except (ValueError, e) { note("task", chained(e)); } end_try
        task = asyncio_create_task(raises_at_once());
        await(asyncio_wait(list(task)));
        note("asked", chained(task_exception(task)));
    } end_try
    ck_notes("resumed ValueError() in OSError('outer')|task ValueError() in OSError('outer')|asked ValueError()");
    return None;
}

async_gen(context_in_generator)
{
    yield(1);
    try { throw(ValueError); } except (ValueError, e) { note("generator", chained(e)); } end_try
    try { yield(2); } except (KeyError, e) { note("thrown", chained(e)); } end_try
    yield(3);
    return None;
}

ASYNC_TEST(context_of_who_waits)
{
    try { throw(OSError, "outer"); } except (OSError) {
        Task *task = asyncio_Task(raises_at_once(), .eager_start = true);
        note("eager", chained(task_exception(task)));
        AsyncGenerator *gen = context_in_generator();
        await(generator_anext(gen));
        await(generator_anext(gen));
        await(generator_athrow(gen, exception_new(KeyError, "in")));
    } end_try
    ck_notes("eager ValueError() in OSError('outer')|generator ValueError() in OSError('outer')|thrown KeyError('in')");
    return None;
}

static void child_bad_group(void) { throw(exception_group("uncaught", list(exception_new(ValueError, "one"), V(KeyError)))); }

TEST(an_uncaught_group)
{
    Child c = child(child_bad_group);
    ck_exited(c, 1);
    ck_has(c.err, "  + Exception Group Traceback (most recent call last):\n  |   File \"");
    ck_has(c.err, "  | ExceptionGroup: uncaught (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | ValueError: one\n    +---------------- 2 ----------------\n    | KeyError\n    +------------------------------------\n");
    child_free(c);
}

TEST(the_text_of_many_lines_in_a_group)
{
    Value inner = exception_new(ValueError, "one\ntwo\n"), group = exception_group("first\nsecond", list(inner));
    exception_add_note(inner, "a note\nof two lines");
    ck_assert_str_eq(as_str(printed(group)),
        "  | ExceptionGroup: first\n"
        "  | second (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | ValueError: one\n"
        "    | two\n"
        "    | \n"
        "    | a note\n"
        "    | of two lines\n"
        "    +------------------------------------\n");
    ck_assert_str_eq(as_str(printed(inner)), "ValueError: one\ntwo\n\na note\nof two lines\n");
}

TEST(a_note_that_is_no_text)
{
    Value e = V(ValueError);
    exception_add_note(e, "words");
    list_append(exception_notes(e), 5);
    ck_assert_str_eq(as_str(printed(e)), "ValueError\nwords\n5\n");
    ck_raises_text(TypeError, "add_note() argument must be str, not None", exception_add_note(e, NULL));
}

TEST(what_a_group_is_made_of)
{
    ck_raises_text(ValueError, "Item 1 of second argument (exceptions) is not an exception", exception_group("g", list(V(KeyError), 5)));
    ck_raises_text(TypeError, "the message of a group must be a str, not NULL", exception_group(NULL, list(V(KeyError))));
}

TEST(arguments_from_a_list)
{
    Value args = list(1, 2), e = exception_new_args(ValueError, args);
    list_clear(args);
    ck_repr(e, "ValueError(1, 2)");
    ck_repr(exception_args(e), "(1, 2)");
    ck_assert_ptr_eq(exception_type(exception_new_args(OSError, tuple((int64_t)ENOENT + (1LL << 32), "far"))), OSError);
}

exception_class(MyExit, SystemExit);
static void child_exits_true(void) { throw(exception_new_args(SystemExit, tuple(true))); }
static void child_exits_two(void) { throw(exception_new_args(SystemExit, tuple(3, 4))); }
static void child_exits_by_a_subclass(void) { throw(exception_new_args(MyExit, tuple(3))); }

TEST(every_kind_of_system_exit)
{
    const struct { void (*body)(void); int status; const char *says; } cases[] = {
        {child_exits_true, 1, ""}, {child_exits_two, 1, "(3, 4)\n"}, {child_exits_by_a_subclass, 3, ""}};
    for (int i = 0; i < 3; i++) {
        Child c = child(cases[i].body);
        ck_exited(c, cases[i].status);
        ck_assert_str_eq(c.err, cases[i].says);
        child_free(c);
    }
}
