/* What every test file shares: Check for the tests, each in a process of its own, and words for asyncio.
 *
 *     TEST(name) { ... }                a test
 *     ASYNC_TEST(name) { ... return None; }   one whose body is a coroutine, run under the virtual clock
 *     IO_TEST(name) { ... return None; }      the same under the real clock, for what talks to the outside
 *     ck_raises(E, code...)             the code raises E
 *     ck_raises_text(E, "text", code...)
 *     ck_repr(v, "['a', 1]")            repr(v) is that text
 *     note("a", 1); ... ck_notes("a 1|b");    what happened, in order
 *
 * Tests register themselves; main() is here too. `./test NAME` runs those whose names contain NAME.
 */
#ifndef TESTING_H
#define TESTING_H

#include "../asyncio.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

typedef struct RegisteredTest { const TTest *test; struct RegisteredTest *next; } RegisteredTest;
static RegisteredTest *first_test_, **next_test_ = &first_test_;

#define REGISTER_TEST_(name) \
    static const TTest name##_test_ = {#name, name##_call_, __FILE__, __LINE__}; \
    __attribute__((constructor)) static void name##_register_(void) { \
        static RegisteredTest registered_ = {&name##_test_, NULL}; \
        *next_test_ = &registered_; next_test_ = &registered_.next; }

#define TEST(name) \
    static void name##_here_(void); \
    static void name##_call_(int index_) { (void)index_; name##_here_(); } \
    REGISTER_TEST_(name) \
    static void name##_here_(void)

/* Nothing may be left over when the loop has closed. */
#define ASYNC_TEST(name) COROUTINE_TEST_(name, true)
#define IO_TEST(name)    COROUTINE_TEST_(name, false)
#define COROUTINE_TEST_(name, virtual_time) \
    async_decl(name); \
    static void name##_call_(int index_) { \
        (void)index_; \
        size_t before_ = asyncio_live_objects(); \
        scope { asyncio_run(name(), .virtual_clock = virtual_time); notes_forget_(); } \
        ck_assert_msg(asyncio_live_objects() == before_, "%ld objects left over", (long)(asyncio_live_objects() - before_)); } \
    REGISTER_TEST_(name) \
    async_def(name)

#define ck_raises(E, ...) do { \
        volatile bool raised_ = false; \
        try { __VA_ARGS__; } except (E) { raised_ = true; } end_try \
        ck_assert_msg(raised_, "%s was not raised by: %s", (E)->name, #__VA_ARGS__); \
    } while (0)

#define ck_raises_text(E, text, ...) do { \
        Value said_ = None; \
        try { __VA_ARGS__; } except (E, raised_) { said_ = str(raised_); } end_try \
        ck_assert_msg(!is_none(said_), "%s was not raised by: %s", (E)->name, #__VA_ARGS__); \
        const char *text_ = as_str(said_), *wanted_ = text; \
        ck_assert_str_eq(text_, wanted_); \
    } while (0)

#define ck_repr(v, text) do { const char *repr_ = as_str(repr(v)), *wanted_ = text; ck_assert_str_eq(repr_, wanted_); } while (0)

/* Notes: what the test's coroutines did, in order, joined by bars. */
static char notes_[16384];

__attribute__((unused)) static void notes_add_(int count, const Value *values)
{
    size_t at = strlen(notes_);
    for (int i = 0; i < count; i++) {
        Value text = value_to_str(values[i]);
        at += (size_t)snprintf(notes_ + at, sizeof notes_ - at, "%s%s", i ? " " : at ? "|" : "", as_str(text));
        ck_assert_msg(at < sizeof notes_, "too many notes");
    }
}

__attribute__((unused)) static void notes_forget_(void) { notes_[0] = 0; }
#define note(...)      notes_add_(VALUES_(__VA_ARGS__))
#define ck_notes(text) do { ck_assert_str_eq(notes_, text); notes_forget_(); } while (0)

/* Where this program is, for tests that run it once more. /proc/self/exe is valgrind, under valgrind. */
static char *this_program;

int main(int argc, char **argv)
{
    this_program = realpath(argv[0], NULL);
    Suite *suite = suite_create(argv[0]);
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 120);
    for (RegisteredTest *each = first_test_; each; each = each->next)
        if (argc < 2 || strstr(each->test->name, argv[1])) tcase_add_test(tests, each->test);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner), ran = srunner_ntests_run(runner);
    srunner_free(runner);
    free(this_program);
    return failed || !ran ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
