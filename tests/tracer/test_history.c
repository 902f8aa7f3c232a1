/* The property on which everything rests: whatever way leads to step k, the state there is the one that replaying the
 * first k events gives. Checked on whole recordings, with snapshots close together and thinned out. */
#include <time.h>

#include "helper.h"
#include "history.h"

static const char *const names[] = {"speakers", "waitfor", "workers", "mixed", "crowd", "deadlock"};

static char *state(const Model *m) {
    Buf b = {0};
    model_dump(m, &b);
    return b.s;
}

static void load(History *h, const char *name) {
    char *path = recording(name);
    ck_assert_msg(history_load(h, path, NULL), "%s: %s", path, h->log.refused ? h->log.refused : "?");
    ck_assert_msg(!h->log.problem, "%s: %s", path, h->log.problem);
    free(path);
}

static void compare(const Model *m, char **truth, size_t k, const char *how) {
    char *seen = state(m);
    ck_assert_msg(!strcmp(seen, truth[k]), "step %zu reached %s:\n--- replayed\n%s--- reached\n%s", k, how, truth[k], seen);
    free(seen);
}

typedef VEC(char *) Truth;

/* The states that replaying gives; of a long recording every so manieth, so that the test is quick. */
static void replay(Truth *truth, const History *h, size_t n, size_t stride) {
    Model plain;
    model_init(&plain);
    for (size_t k = 0; k <= n; k++) {
        if (k)
            model_apply(&plain, &h->log, k);
        vec_push(*truth, k % stride == 0 || k == n ? state(&plain) : NULL);
    }
    model_free(&plain);
}

static void check_paths(const char *name, Truth *truths, size_t spacing, size_t most) {
    History h;
    Model m;
    history_init(&h);
    model_init(&m);
    h.spacing = spacing;
    h.most = most;
    load(&h, name);
    size_t n = log_count(&h.log), stride = n / 700 + 1;
    if (!truths->n)
        replay(truths, &h, n, stride);
    char **truth = truths->at;
    compare(&h.tail, truth, n, "while reading");
    for (size_t k = n + 1; k-- > 0;) {
        if (!truth[k])
            continue;
        history_seek(&h, &m, k);
        compare(&m, truth, k, "backwards");
    }
    srand(3);
    for (int i = 0; i < 400; i++) {
        size_t k = rand() % (n + 1) / stride * stride;
        history_seek(&h, &m, k);
        compare(&m, truth, k, "by a jump");
    }
    model_free(&m);
    history_free(&h);
}

/* With the usual snapshots, with one at each step, and with so few that they are thinned out all the time. Each has to
 * give the states that the first one's replay gave. */
START_TEST(any_path_gives_the_same_state) {
    static const struct { size_t spacing, most; } snapshots[] = {{256, 4096}, {1, 1 << 30}, {2, 8}};
    Truth truth = {0};
    for (size_t i = 0; i < sizeof snapshots / sizeof *snapshots; i++)
        check_paths(names[_i], &truth, snapshots[i].spacing, snapshots[i].most);
    for (size_t k = 0; k < truth.n; k++)
        free(truth.at[k]);
    vec_free(truth);
    intern_free();
} END_TEST

/* The overview of many tasks, beside the models it was taken from. */
START_TEST(crowds_are_the_models_counts) {
    History h;
    Model m;
    history_init(&h);
    model_init(&m);
    load(&h, "crowd");
    ck_assert_uint_eq(h.lanes.crowds.n, log_count(&h.log) / CROWD_EVERY + 1);
    for (size_t i = 0; i < h.lanes.crowds.n; i++) {
        history_seek(&h, &m, i ? i * CROWD_EVERY : 1);
        for (int state = 0; state < ST_COUNT; state++)
            ck_assert_uint_eq(h.lanes.crowds.at[i].n[state], m.states[state]);
    }
    model_free(&m);
    history_free(&h);
} END_TEST

START_TEST(a_step_back_is_cheap) {
    History h;
    Model m;
    history_init(&h);
    model_init(&m);
    load(&h, "crowd");
    size_t n = log_count(&h.log);
    history_seek(&h, &m, n);
    h.replayed = 0;
    for (size_t k = n; k-- > n - 1000;)
        history_seek(&h, &m, k);
    ck_assert_msg(h.replayed <= 1000 * h.spacing, "1000 steps back replayed %zu events", h.replayed);
    model_free(&m);
    history_free(&h);
    intern_free();
} END_TEST

START_TEST(snapshots_stay_within_bounds) {
    History h;
    history_init(&h);
    h.spacing = 4;
    h.most = 16;
    load(&h, "crowd");
    ck_assert_uint_le(h.snapshots.n, 17);
    ck_assert_uint_gt(h.spacing, 4);
    history_free(&h);
    intern_free();
} END_TEST

int main(void) {
    enum { N = sizeof names / sizeof *names };
    Suite *s = suite_create("tracer: history");
    TCase *c = one_case(s, "history");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, any_path_gives_the_same_state, 0, N);
    tcase_add_test(c, crowds_are_the_models_counts);
    tcase_add_test(c, a_step_back_is_cheap);
    tcase_add_test(c, snapshots_stay_within_bounds);
    return run_suite(s);
}
