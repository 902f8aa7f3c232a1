/* The buttons, pressed without a window, on a recording. */
#include "helper.h"
#include "session.h"

static Session s;
static char room[32];

static void setup_with(const char *name) {
    session_init(&s);
    char *path = recording(name);
    ck_assert_msg(history_load(&s.history, path, NULL), "%s", s.history.log.refused);
    free(path);
}

static void setup(void) { setup_with("workers"); }

static void teardown(void) { session_free(&s); intern_free(); }

static EventKind kind(void) { return log_step(&s.history.log, s.now.k)->kind; }

/* A search that takes longer than a moment goes on as time passes. */
static void find(const char *words, int direction) {
    session_find(&s, words, direction);
    for (int wait; s.seek;)
        session_tick(&s, now_seconds(), &wait);
}

START_TEST(arrows) {
    session_step(&s, +1);
    session_step(&s, +1);
    ck_assert_uint_eq(s.now.k, 2);
    session_step(&s, -1);
    ck_assert_uint_eq(s.now.k, 1);
    session_step(&s, -1);
    session_step(&s, -1);
    ck_assert_uint_eq(s.now.k, 0);
    session_go(&s, 1u << 30);
    ck_assert_uint_eq(s.now.k, session_count(&s));
    session_step(&s, +1);
    ck_assert_uint_eq(s.now.k, session_count(&s));
} END_TEST

START_TEST(label_says_where_we_are) {
    session_go(&s, session_count(&s) - 37);
    ck_assert_str_eq(session_label(&s, room), "HISTORY \u221237");
    session_go(&s, session_count(&s));
    ck_assert_str_eq(session_label(&s, room), "PAUSED");
} END_TEST

START_TEST(ticks) {
    session_seek(&s, UNTIL_TICK, +1);
    ck_assert_int_eq(kind(), EV_TICK_BEGIN);
    ck_assert_uint_eq(s.now.tick, 1);
    session_seek(&s, UNTIL_TICK, +1);
    ck_assert_uint_eq(s.now.tick, 2);
    session_seek(&s, UNTIL_TICK, -1);
    ck_assert_uint_eq(s.now.tick, 1);
    session_seek(&s, UNTIL_TICK, -1);
    ck_assert_uint_eq(s.now.k, 0);
    ck_assert_ptr_nonnull(strstr(buf_text(&s.note), "no earlier one"));
} END_TEST

START_TEST(the_same_task_again) {
    session_seek(&s, UNTIL_RESUME, +1);
    ck_assert_int_eq(kind(), EV_TASK_RUN);
    uint64_t task = s.now.running;
    size_t first = s.now.k;
    session_seek(&s, UNTIL_RESUME, +1);
    ck_assert_uint_eq(s.now.running, task);
    ck_assert_uint_gt(s.now.k, first);
    session_seek(&s, UNTIL_RESUME, -1);
    ck_assert_uint_eq(s.now.k, first);
} END_TEST

START_TEST(step_over_an_await) {
    find( "sleep(0.05)", +1);
    ck_assert_int_eq(kind(), EV_LINE_STEP);
    uint64_t task = s.now.running;
    session_seek(&s, UNTIL_OVER, +1);
    ck_assert_int_eq(kind(), EV_TASK_RUN);
    ck_assert_uint_eq(s.now.running, task);
} END_TEST

START_TEST(search) {
    find( "has slept for 0.05", +1);
    ck_assert_int_eq(kind(), EV_OUTPUT);
    size_t found = s.now.k;
    find( "workers.c:7", -1);
    ck_assert_uint_lt(s.now.k, found);
    size_t before = s.now.k;
    find( "no such words", +1);
    ck_assert_uint_eq(s.now.k, before);
    ck_assert_str_eq(s.note.s, "\"no such words\" does not occur after here.");
} END_TEST

/* Backwards it looks through blocks from their beginning: the nearest hit is still the one that counts. */
START_TEST(search_backwards_finds_the_nearest) {
    session_go(&s, session_count(&s));
    size_t before = session_count(&s) + 1;
    for (int i = 0; i < 20; i++) {
        find( "has slept for", -1);
        ck_assert_int_eq(kind(), EV_OUTPUT);
        ck_assert_uint_lt(s.now.k, before);
        before = s.now.k;
    }
    find( "has slept for", -1);
    ck_assert_uint_eq(s.now.k, before);
    ck_assert_str_eq(s.note.s, "\"has slept for\" does not occur before here.");
} END_TEST

START_TEST(what_went_wrong) {
    teardown();
    setup_with("mixed");
    session_seek(&s, UNTIL_TROUBLE, +1);
    ck_assert_int_eq(kind(), EV_TASK_DONE);
    size_t found = s.now.k;
    session_seek(&s, UNTIL_TROUBLE, +1);
    ck_assert_uint_eq(s.now.k, found);
    ck_assert_str_eq(s.note.s, "There is no failed task, deadlock or unhandled exception after this step.");
    session_go(&s, session_count(&s));
    session_seek(&s, UNTIL_TROUBLE, -1);
    ck_assert_uint_eq(s.now.k, found);
    teardown();
    setup_with("deadlock");
    session_seek(&s, UNTIL_TROUBLE, +1);
    ck_assert_int_eq(kind(), EV_LOOP_DEADLOCK);
} END_TEST

START_TEST(playing_goes_at_its_pace_and_stops_at_the_end) {
    int wait;
    session_play(&s, true);
    for (double now = 100; now < 101; now += 0.01)
        session_tick(&s, now, &wait);
    ck_assert_msg(s.now.k >= 3 && s.now.k <= 6, "4 steps/s made %zu steps in a second", s.now.k);
    for (int i = 0; i < 20; i++)
        session_faster(&s, +1);
    for (int i = 0; i < 5; i++)
        session_tick(&s, 102 + i, &wait);
    ck_assert_uint_eq(s.now.k, session_count(&s));
    ck_assert(!s.playing);
} END_TEST

START_TEST(breakpoints) {
    int wait;
    const char *file = s.history.log.places.at[1].file;
    ck_assert(session_break(&s, file, 13));
    for (int i = 0; i < 20; i++)
        session_faster(&s, +1);
    session_play(&s, true);
    for (int i = 0; i < 5; i++)
        session_tick(&s, 100 + i, &wait);
    ck_assert_msg(s.now.k == session_count(&s), "line 13 is no await: nothing stops there");
    ck_assert(!session_break(&s, file, 13));
    session_break(&s, file, 10);
    session_go(&s, 0);
    session_play(&s, true);
    session_tick(&s, 200, &wait);
    ck_assert(!s.playing);
    ck_assert_int_eq(s.history.log.places.at[s.now.place].line, 10);
    ck_assert_str_eq(s.note.s, "Breakpoint at line 10.");
} END_TEST

int main(void) {
    Suite *suite = suite_create("tracer: session");
    TCase *c = one_case(suite, "session");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, arrows);
    tcase_add_test(c, label_says_where_we_are);
    tcase_add_test(c, ticks);
    tcase_add_test(c, the_same_task_again);
    tcase_add_test(c, step_over_an_await);
    tcase_add_test(c, search);
    tcase_add_test(c, search_backwards_finds_the_nearest);
    tcase_add_test(c, what_went_wrong);
    tcase_add_test(c, playing_goes_at_its_pace_and_stops_at_the_end);
    tcase_add_test(c, breakpoints);
    return run_suite(suite);
}
