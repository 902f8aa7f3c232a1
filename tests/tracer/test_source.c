/* Finding source files: where the trace says, above the program, in directories that were named; never the wrong one. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper.h"
#include "source.h"

static char top[] = "/tmp/tracer-test-XXXXXX";
static Sources sources;

static void put(const char *name, const char *text) {
    char *path = xformat("%s/%s", top, name);
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
    free(path);
}

static void setup(void) {
    static const char *const folders[] = {"lessons", "lessons/05", "lessons/10", "build", "build/lessons", "build/lessons/10"};
    strcpy(top + strlen(top) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = xformat("%s/%s", top, folders[i]);
        ck_assert_int_eq(mkdir(path, 0777), 0);
        free(path);
    }
    put("lessons/05/lesson.c", "five\n");
    put("lessons/10/lesson.c", "ten\r\nsecond\n\nlast");
    sources = (Sources) {0};
}

static void teardown(void) {
    sources_free(&sources);
    intern_free();
    char *command = xformat("rm -rf '%s'", top);
    ck_assert_int_eq(system(command), 0);
    free(command);
}

START_TEST(absolute) {
    char *path = xformat("%s/lessons/10/lesson.c", top);
    const Source *s = source_get(&sources, path);
    ck_assert_uint_eq(s->lines.n, 4);
    ck_assert_str_eq(s->lines.at[0], "ten");
    ck_assert_str_eq(s->lines.at[3], "last");
    ck_assert_ptr_eq(source_get(&sources, path), s);
    free(path);
} END_TEST

START_TEST(relative_to_something_above_the_program) {
    char *near = xformat("%s/build/lessons/10", top);
    vec_push(sources.near, near);
    ck_assert_str_eq(source_get(&sources, "lessons/10/lesson.c")->lines.at[0], "ten");
    ck_assert_uint_eq(source_get(&sources, "lessons/11/lesson.c")->lines.n, 0);
    free(near);
} END_TEST

START_TEST(the_same_name_elsewhere_is_not_taken) {
    char *near = xformat("%s/lessons/05", top);
    vec_push(sources.near, near);
    ck_assert_str_eq(source_get(&sources, "lessons/10/lesson.c")->lines.at[0], "ten");
    ck_assert_ptr_null(source_get(&sources, "/nowhere/lesson.c")->found);
    free(near);
} END_TEST

START_TEST(named_directory) {
    char *folder = xformat("%s/lessons/05", top);
    vec_push(sources.folders, folder);
    ck_assert_str_eq(source_get(&sources, "/nowhere/lesson.c")->lines.at[0], "five");
    free(folder);
} END_TEST

START_TEST(nothing_to_find) {
    ck_assert_uint_eq(source_get(&sources, "")->lines.n, 0);
    ck_assert_uint_eq(source_get(&sources, "/tmp")->lines.n, 0);
} END_TEST

static void write_at(const char *name, time_t when) {
    char *path = xformat("%s/%s", top, name);
    struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    free(path);
}

START_TEST(changed_since) {
    char *path = xformat("%s/lessons/10/lesson.c", top), *program = xformat("%s/build/program", top);
    put("build/program", "");
    write_at("lessons/10/lesson.c", 2000);
    write_at("build/program", 1500);
    const Source *s = source_get(&sources, path);
    ck_assert(!source_changed(s, "", 0));                         /* nothing is known */
    ck_assert(!source_changed(s, "", 3000));
    ck_assert(source_changed(s, "", 1000));                       /* after the run began */
    ck_assert(source_changed(s, program, 3000));                  /* before the run, and after the program was built */
    write_at("build/program", 2500);
    ck_assert(!source_changed(s, program, 3000));
    write_at("build/program", 5000);                              /* built again since: of no matter for this run */
    ck_assert(!source_changed(s, program, 3000));
    ck_assert(source_changed(s, program, 1000));
    free(program);
    free(path);
} END_TEST

int main(void) {
    Suite *s = suite_create("tracer: source files");
    TCase *c = one_case(s, "source");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, absolute);
    tcase_add_test(c, relative_to_something_above_the_program);
    tcase_add_test(c, the_same_name_elsewhere_is_not_taken);
    tcase_add_test(c, named_directory);
    tcase_add_test(c, nothing_to_find);
    tcase_add_test(c, changed_since);
    return run_suite(s);
}
