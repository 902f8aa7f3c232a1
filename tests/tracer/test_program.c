/* Programs under control: good ones (simulate.py speaks the protocol) and bad ones of every kind. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"
#include "session.h"

static Session s;
static char *error;
static char room[32];

static void setup(void) { session_init(&s); error = NULL; }
static void teardown(void) { session_free(&s); free(error); intern_free(); }

static void start(char *const argv[]) {
    s.program = program_start(&s.history, argv, &error);
    ck_assert_msg(s.program, "%s", error);
}

static void simulate(char *scenario) {
    char *script = getenv("TRACER_SIMULATE");
    char *python = getenv("PYTHON");
    start((char *[]) {python ? python : "python3", script ? script : "tests/tracer/simulate.py", scenario, NULL});
}

static void shell(char *text) { start((char *[]) {"/bin/sh", "-c", text, NULL}); }

/* Lets time pass until the condition holds; fails after ten seconds. */
#define UNTIL(condition) do { \
        double end_ = now_seconds() + 10; \
        for (int wait_; !(condition); usleep(1000)) { \
            session_tick(&s, now_seconds(), &wait_); \
            ck_assert_msg(now_seconds() < end_, "waited in vain for " #condition ": %zu steps", session_count(&s)); \
        } } while (0)

static void run_to_the_end(void) {
    s.speed = 99;
    session_faster(&s, +1);                       /* as fast as possible */
    session_play(&s, true);
    UNTIL(!session_alive(&s) && !s.playing);
}

static const char *last_words(void) { return s.history.tail.ending; }

static char *output(void) {
    Buf b = {0};
    for (size_t i = 0; i < s.history.output.n; i++)
        buf_fmt(&b, "%s%s", s.history.output.at[i].text, s.history.output.at[i].open ? "" : "\n");
    return b.s ? b.s : xcopy("");
}

START_TEST(begins_paused_and_goes_step_by_step) {
    simulate("speakers");
    UNTIL(session_count(&s) == 1);
    usleep(50000);
    int wait;
    session_tick(&s, now_seconds(), &wait);
    ck_assert_uint_eq(session_count(&s), 1);
    ck_assert_str_eq(session_label(&s, room), "PAUSED");
    for (size_t k = 2; k < 12; k++) {
        session_step(&s, +1);
        UNTIL(s.now.k == k);
        ck_assert_uint_eq(session_count(&s), k);
    }
    session_step(&s, -1);
    ck_assert_str_eq(session_label(&s, room), "HISTORY \u22121");
    session_step(&s, +1);
    ck_assert_uint_eq(session_count(&s), 11);
} END_TEST

START_TEST(same_events_as_in_the_recording) {
    simulate("speakers");
    run_to_the_end();
    History h;
    history_init(&h);
    char *path = recording("speakers");
    ck_assert(history_load(&h, path, NULL));
    free(path);
    ck_assert_uint_eq(session_count(&s), log_count(&h.log) + 1);          /* ours: the end of the process */
    for (size_t k = 1; k <= log_count(&h.log); k++)
        ck_assert_str_eq(event_name(log_step(&h.log, k)->kind), event_name(log_step(&s.history.log, k)->kind));
    char *out = output();
    ck_assert_msg(strstr(out, "[3, 1, 2]\nThe program has ended."), "%s", out);
    free(out);
    history_free(&h);
} END_TEST

START_TEST(until_the_next_tick) {
    simulate("workers");
    UNTIL(session_count(&s) == 1);
    for (int tick = 1; tick <= 3; tick++) {
        session_seek(&s, UNTIL_TICK, +1);
        UNTIL(!s.seek);
        ck_assert_uint_eq(s.now.tick, tick);
        ck_assert_uint_eq(s.now.k, session_count(&s));
    }
} END_TEST

START_TEST(search_runs_on_until_it_is_found) {
    simulate("workers");
    UNTIL(session_count(&s) == 1);
    session_find(&s, "has slept for 0.15", +1);
    ck_assert_int_eq(s.seek, UNTIL_WORDS);
    ck_assert_str_eq(session_label(&s, room), "LIVE");
    UNTIL(!s.seek);
    ck_assert_int_eq(log_step(&s.history.log, s.now.k)->kind, EV_OUTPUT);
    ck_assert_uint_eq(s.now.k, session_count(&s));
    ck_assert_ptr_nonnull(strstr(s.note.s, "Found \"has slept for 0.15\" in step"));
    ck_assert(session_alive(&s));
} END_TEST

START_TEST(search_for_what_never_comes) {
    simulate("waitfor");
    UNTIL(session_count(&s) == 1);
    session_find(&s, "no such words", +1);
    UNTIL(!s.seek);
    ck_assert(!session_alive(&s));
    ck_assert_str_eq(s.note.s, "The program has ended, and \"no such words\" did not occur.");
} END_TEST

START_TEST(search_can_be_given_up) {
    simulate("speakers");
    UNTIL(session_count(&s) == 1);
    session_find(&s, "no such words", +1);
    UNTIL(s.now.in_select && s.now.select_timeout > 0.05);
    session_leave(&s);
    ck_assert_str_eq(s.note.s, "Stopped before \"no such words\" was found.");
    size_t count = session_count(&s);
    session_go(&s, count);
    session_step(&s, +1);
    UNTIL(session_count(&s) > count);
    ck_assert_uint_le(session_count(&s), count + 2);
    ck_assert(session_alive(&s));
} END_TEST

/* speakers sleeps for real under control: paused in the middle of select(), its remaining time must be kept. */
START_TEST(paused_inside_select) {
    simulate("speakers");
    UNTIL(session_count(&s) == 1);
    for (int i = 0; i < 20; i++)
        session_faster(&s, +1);
    session_play(&s, true);
    UNTIL(s.now.in_select && s.now.select_timeout > 0.05);
    session_play(&s, false);
    UNTIL(s.program->asleep);
    size_t count = session_count(&s);
    usleep(300000);
    int wait;
    session_tick(&s, now_seconds(), &wait);
    ck_assert_uint_eq(session_count(&s), count);
    ck_assert_str_eq(session_label(&s, room), "PAUSED");
    session_step(&s, +1);
    UNTIL(session_count(&s) == count + 1);
    ck_assert_int_eq(log_step(&s.history.log, count + 1)->kind, EV_SELECT_LEAVE);
} END_TEST

START_TEST(output_is_not_shown_twice) {
    simulate("waitfor");
    run_to_the_end();
    char *out = output();
    ck_assert_str_eq(out, "fetching page\ngot page\nfetching film\ntimeout!\nThe program has ended.\n");
    free(out);
} END_TEST

START_TEST(plain_program) {
    shell("echo hello; echo trouble >&2; exit 3");
    run_to_the_end();
    ck_assert_ptr_nonnull(strstr(last_words(), "exit status 3."));
    ck_assert_ptr_nonnull(strstr(last_words(), "It wrote no trace"));
    char *out = output();
    ck_assert(strstr(out, "hello\n") && strstr(out, "trouble\n"));
    free(out);
    ck_assert_int_eq(s.history.tail.status, 3);
} END_TEST

START_TEST(crash) {
    shell("echo 'last words'; kill -SEGV $$");
    run_to_the_end();
    ck_assert_msg(strstr(last_words(), "crashed: signal 11, Segmentation fault"), "%s", last_words());
    char *out = output();
    ck_assert_ptr_nonnull(strstr(out, "last words\n"));
    free(out);
    session_go(&s, 1);
    ck_assert_uint_eq(s.now.k, 1);
} END_TEST

START_TEST(a_megabyte_of_output) {
    shell("i=0; while [ $i -lt 16 ]; do head -c 65536 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done");
    run_to_the_end();
    size_t n = 0;
    for (size_t i = 0; i < s.history.output.n; i++)
        if (s.history.output.at[i].raw)
            n += strlen(s.history.output.at[i].text);
    ck_assert_uint_eq(n, 16 * 65536);
} END_TEST

START_TEST(it_never_ends) {
    shell("trap '' TERM; echo up; while :; do sleep 0.05; done");
    UNTIL(s.history.output.n > 0);
    pid_t pid = s.program->pid;
    double began = now_seconds();
    program_stop(s.program);
    ck_assert_double_lt(now_seconds() - began, 3);
    ck_assert_ptr_nonnull(strstr(last_words(), "ended by the tracer"));
    ck_assert_int_ne(kill(pid, 0), 0);
} END_TEST

START_TEST(it_does_not_exist) {
    ck_assert_ptr_null(program_start(&s.history, (char *[]) {"no-such-program", NULL}, &error));
    ck_assert_ptr_nonnull(strstr(error, "There is no program or recording called no-such-program"));
} END_TEST

START_TEST(it_is_not_executable) {
    ck_assert_ptr_null(program_start(&s.history, (char *[]) {"/etc/passwd", NULL}, &error));
    ck_assert_ptr_nonnull(strstr(error, "/etc/passwd is not executable."));
} END_TEST

START_TEST(a_background_child_does_not_hold_us_up) {
    shell("sleep 30 & exit 0");
    double began = now_seconds();
    run_to_the_end();
    ck_assert_double_lt(now_seconds() - began, 5);
} END_TEST

START_TEST(nonsense_on_the_socket) {
    start((char *[]) {"python3", "-c", "import os; os.write(int(os.environ['ASYNCIO_TRACE_FD']), b'hello\\n{\\n\\xff\\n'*50)", NULL});
    run_to_the_end();
    ck_assert_ptr_nonnull(s.history.log.problem);
    ck_assert_ptr_nonnull(strstr(last_words(), "It wrote no trace"));
} END_TEST

/* The real thing, if it has been built: a download of 0.2 s with a limit of 0.5 s, paused for longer than both. */
START_TEST(no_timeout_expires_while_paused) {
    const char *lesson = "build/lessons/09-timeouts/lesson";
    if (access(lesson, X_OK)) {
        printf("SKIPPED: %s is not built\n", lesson);
        return;
    }
    start((char *[]) {(char *) lesson, NULL});
    UNTIL(session_count(&s) == 1);
    for (int i = 0; i < 20; i++)
        session_faster(&s, +1);
    session_play(&s, true);
    UNTIL(s.now.in_select && s.now.select_timeout > 0.1);
    session_play(&s, false);
    UNTIL(s.program->asleep);
    double ts = s.now.ts;
    sleep(2);
    session_play(&s, true);
    UNTIL(!session_alive(&s) && !s.playing);
    char *out = output();
    ck_assert_msg(strstr(out, "small: complete\ngot <small>\n"), "%s", out);
    ck_assert_msg(s.now.ts < ts + 1.9, "the loop's clock went on while it was paused: it ended at +%g", s.now.ts);
    free(out);
} END_TEST

int main(void) {
    Suite *suite = suite_create("tracer: programs under control");
    TCase *c = one_case(suite, "program");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, begins_paused_and_goes_step_by_step);
    tcase_add_test(c, same_events_as_in_the_recording);
    tcase_add_test(c, until_the_next_tick);
    tcase_add_test(c, search_runs_on_until_it_is_found);
    tcase_add_test(c, search_for_what_never_comes);
    tcase_add_test(c, search_can_be_given_up);
    tcase_add_test(c, paused_inside_select);
    tcase_add_test(c, output_is_not_shown_twice);
    tcase_add_test(c, plain_program);
    tcase_add_test(c, crash);
    tcase_add_test(c, a_megabyte_of_output);
    tcase_add_test(c, it_never_ends);
    tcase_add_test(c, it_does_not_exist);
    tcase_add_test(c, it_is_not_executable);
    tcase_add_test(c, a_background_child_does_not_hold_us_up);
    tcase_add_test(c, nonsense_on_the_socket);
    tcase_add_test(c, no_timeout_expires_while_paused);
    return run_suite(suite);
}
