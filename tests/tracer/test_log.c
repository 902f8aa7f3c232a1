/* Reading lines: what is an event, what is left out, what is refused, and in which words. */
#include "helper.h"
#include "history.h"

static History h;

static void feed(const char *line) { history_line(&h, line, strlen(line)); }
static void setup(void) { history_init(&h); }
static void teardown(void) { history_free(&h); intern_free(); }

static const char *write_file(const char *text, size_t n) {
    static char path[] = "/tmp/tracer-test-XXXXXX";
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");
    fwrite(text, 1, n, out);
    fclose(out);
    return path;
}

static bool load(const char *text) {
    const char *path = write_file(text, strlen(text));
    bool good = history_load(&h, path, NULL);
    remove(path);
    return good;
}

START_TEST(events_and_other_lines) {
    feed("[");
    feed(BEGIN "\r\n");
    feed("{\"name\":\"thread_name\",\"ph\":\"M\",\"args\":{}},");
    feed("{\"name\":\"q\",\"cat\":\"view\",\"ph\":\"C\",\"args\":{\"size\":3}},");
    feed("");
    feed(EVENT(2, "loop.start", 12.5, 0, ",\"loop\":1"));
    feed("{}]");
    ck_assert_uint_eq(log_count(&h.log), 2);
    ck_assert_int_eq(log_step(&h.log, 2)->kind, EV_LOOP_START);
    ck_assert_double_eq_tol(log_step(&h.log, 2)->ts, 12.5e-6, 1e-12);
    ck_assert(h.log.closed);
    ck_assert_ptr_null(h.log.problem);
} END_TEST

START_TEST(not_a_trace) {
    ck_assert(!load("[\n{\"name\":\"x\",\"ph\":\"B\",\"ts\":1}\n]\n"));
    ck_assert_ptr_nonnull(strstr(h.log.refused, "not a single event"));
} END_TEST

START_TEST(first_event_must_be_the_beginning) {
    ck_assert(!load("[\n" EVENT(1, "loop.start", 1, 0, "") "\n"));
    ck_assert_ptr_nonnull(strstr(h.log.refused, "\"loop.start\" where \"trace.begin\" belongs"));
} END_TEST

START_TEST(wrong_version) {
    ck_assert(!load("[\n" EVENT(1, "trace.begin", 0, 0, ",\"version\":2") "\n"));
    ck_assert_ptr_nonnull(strstr(h.log.refused, "version 2; this tracer reads version 1"));
} END_TEST

START_TEST(empty_file) {
    ck_assert(!load(""));
    ck_assert_ptr_nonnull(strstr(h.log.refused, "it is empty"));
} END_TEST

START_TEST(file_that_is_not_there) {
    ck_assert(!history_load(&h, "/nowhere/x.json", NULL));
    ck_assert_ptr_nonnull(strstr(h.log.refused, "/nowhere/x.json cannot be read: No such file"));
} END_TEST

START_TEST(cut_in_the_middle_of_a_line) {
    ck_assert(load("[\n" BEGIN "\n" EVENT(2, "loop.start", 1, 0, "") "\n{\"name\":\"tick.beg"));
    ck_assert_uint_eq(log_count(&h.log), 2);
    ck_assert_ptr_nonnull(strstr(h.log.problem, "cut short after step 2, in the middle of a line"));
    ck_assert_uint_eq(h.log.problems, 1);
} END_TEST

START_TEST(damaged_line_is_left_out) {
    ck_assert(load("[\n" BEGIN "\n{\"name\":\"loop.start\",\"cat\":\"asyn\x01\xff,\n" EVENT(2, "loop.start", 1, 0, "") "\n{}]\n"));
    ck_assert_uint_eq(log_count(&h.log), 2);
    ck_assert_ptr_nonnull(strstr(h.log.problem, "Line 3 is not valid JSON"));
} END_TEST

/* Half a surrogate pair is how a trace writes a byte that is not UTF-8; a whole pair is a letter. */
START_TEST(stray_bytes_come_back) {
    feed(BEGIN);
    feed(EVENT(2, "output", 1, 0, ",\"fd\":1,\"text\":\"caf\\udce9 \\ud83d\\ude00 \\ud83d\\udcaf \\\\udce9\\n\""));
    ck_assert_msg(!h.log.problem, "%s", h.log.problem);
    ck_assert_str_eq(h.output.at[0].text, "caf\xe9 \xf0\x9f\x98\x80 \xf0\x9f\x92\xaf \\udce9");
} END_TEST

START_TEST(signs_that_cannot_be_shown) {
    Buf b = {0};
    buf_visible(&b, "a\x1b[0m \xe9\xc3\xa9\x7f", 10);
    ck_assert_str_eq(buf_text(&b), "a\\x1b[0m \\xe9\xc3\xa9\\x7f");
    buf_free(&b);
} END_TEST

START_TEST(lines_for_others_are_not_even_read) {
    feed(BEGIN);
    feed("{\"name\":\"q\",\"cat\":\"view\",\"ph\":broken");
    ck_assert_ptr_null(h.log.problem);
    feed(EVENT(2, "output", 1, 0, ",\"fd\":1,\"text\":\"\\\"cat\\\":\\\"view\\\"\\n\""));
    ck_assert_uint_eq(log_count(&h.log), 2);
} END_TEST

START_TEST(missing_numbers_are_noticed) {
    feed(BEGIN);
    feed(EVENT(5, "loop.start", 1, 0, ""));
    ck_assert_uint_eq(log_count(&h.log), 2);
    ck_assert_ptr_nonnull(strstr(h.log.problem, "Event number 5 follows number 1"));
} END_TEST

START_TEST(unknown_event_is_shown) {
    feed(BEGIN);
    feed(EVENT(2, "moon.rise", 1, 0, ""));
    ck_assert_int_eq(log_step(&h.log, 2)->kind, EV_UNKNOWN);
    ck_assert_ptr_nonnull(strstr(h.log.problem, "\"moon.rise\""));
} END_TEST

/* Nothing that a file may hold must crash: every kind of event with all its arguments of the wrong type. */
START_TEST(arguments_of_wrong_types) {
    static const char *const values[] = {"null", "-1", "1e300", "\"x\"", "[]", "[1,\"a\",{},null]", "{}", "true"};
    static const char *const keys[] = {"task", "on", "items", "waiters", "children", "stack", "file", "line", "handle",
                                       "timer", "id", "fd", "text", "what", "ready", "tick", "timeout", "fds", "kind"};
    feed(BEGIN);
    int n = 2;
    for (int kind = EV_TRACE_END; kind < EV_KINDS; kind++) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            Buf line = {0};
            buf_fmt(&line, "{\"name\":\"%s\",\"cat\":\"asyncio\",\"ts\":%s,\"tid\":%s,\"args\":{\"n\":%d", event_name(kind),
                    values[i], values[i], n++);
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
                buf_fmt(&line, ",\"%s\":%s", keys[k], values[i]);
            buf_str(&line, "}},");
            feed(line.s);
            buf_free(&line);
        }
    }
    ck_assert_uint_eq(log_count(&h.log), n - 1);
} END_TEST

START_TEST(output_comes_in_lines) {
    feed(BEGIN);
    feed(EVENT(2, "output", 1, 0, ",\"fd\":1,\"text\":\"one\\ntwo\""));
    feed(EVENT(3, "output", 2, 0, ",\"fd\":1,\"text\":\" more\\n\""));
    ck_assert_uint_eq(h.output.n, 3);
    ck_assert_str_eq(h.output.at[0].text, "one");
    ck_assert(h.output.at[2].joins);
    ck_assert_uint_eq(history_output(&h, 2), 2);
    ck_assert_uint_eq(history_output(&h, 3), 3);
} END_TEST

int main(void) {
    Suite *s = suite_create("tracer: log");
    TCase *c = one_case(s, "log");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, events_and_other_lines);
    tcase_add_test(c, not_a_trace);
    tcase_add_test(c, first_event_must_be_the_beginning);
    tcase_add_test(c, wrong_version);
    tcase_add_test(c, empty_file);
    tcase_add_test(c, file_that_is_not_there);
    tcase_add_test(c, cut_in_the_middle_of_a_line);
    tcase_add_test(c, damaged_line_is_left_out);
    tcase_add_test(c, stray_bytes_come_back);
    tcase_add_test(c, signs_that_cannot_be_shown);
    tcase_add_test(c, lines_for_others_are_not_even_read);
    tcase_add_test(c, missing_numbers_are_noticed);
    tcase_add_test(c, unknown_event_is_shown);
    tcase_add_test(c, arguments_of_wrong_types);
    tcase_add_test(c, output_comes_in_lines);
    return run_suite(s);
}
