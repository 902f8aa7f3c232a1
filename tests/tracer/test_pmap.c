/* The persistent map, against an array; and copies that must not see what happens to the original. */
#include "helper.h"
#include "pmap.h"

typedef struct Num {
    Cell cell;
    int value;
} Num;

static int alive;
static void keep(void *p) { (void) p; alive++; }
static void drop(void *p) { (void) p; alive--; }
static const CellKind kind = {sizeof(Num), keep, drop};

static void put(Pmap *m, uint64_t key, int value) {
    if (!pmap_get(m, key))
        alive++;
    ((Num *) pmap_make(m, key))->value = value;
}

static int get(const Pmap *m, uint64_t key) {
    const Num *n = pmap_get(m, key);
    return n ? n->value : -1;
}

START_TEST(empty_map_has_nothing) {
    Pmap m = {.kind = &kind};
    uint64_t k = 0;
    ck_assert_ptr_null(pmap_get(&m, 0));
    ck_assert_ptr_null(pmap_from(&m, &k));
    pmap_remove(&m, 7);
    ck_assert_uint_eq(m.count, 0);
} END_TEST

START_TEST(keys_of_every_size) {
    Pmap m = {.kind = &kind};
    uint64_t keys[] = {0, 1, 15, 16, 255, 256, 1ull << 32, 1ull << 63, ~0ull};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        put(&m, keys[i], (int) i);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        ck_assert_int_eq(get(&m, keys[i]), (int) i);
    uint64_t k = 0;
    size_t n = 0;
    for (; pmap_from(&m, &k); n++) {
        ck_assert_uint_eq(k, keys[n]);
        if (k++ == ~0ull) {
            n++;
            break;
        }
    }
    ck_assert_uint_eq(n, sizeof keys / sizeof *keys);
    pmap_free(&m);
    ck_assert_int_eq(alive, 0);
} END_TEST

START_TEST(copies_do_not_change) {
    Pmap m = {.kind = &kind};
    for (int i = 0; i < 1000; i++)
        put(&m, i, i);
    Pmap copy = pmap_copy(&m);
    for (int i = 0; i < 1000; i += 2)
        ((Num *) pmap_edit(&m, i))->value = -i;
    for (int i = 1; i < 1000; i += 2)
        pmap_remove(&m, i);
    put(&m, 5000, 1);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(get(&copy, i), i);
    ck_assert_uint_eq(copy.count, 1000);
    ck_assert_uint_eq(m.count, 501);
    ck_assert_int_eq(get(&copy, 5000), -1);
    pmap_free(&m);
    ck_assert_int_eq(get(&copy, 999), 999);
    pmap_free(&copy);
    ck_assert_int_eq(alive, 0);
} END_TEST

START_TEST(random_work_with_snapshots) {
    enum { KEYS = 300, ROUNDS = 20000, COPIES = 8 };
    Pmap m = {.kind = &kind}, copies[COPIES] = {{0}};
    static int truth[KEYS], truths[COPIES][KEYS];
    memset(truth, -1, sizeof truth);
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        int key = rand() % KEYS;
        if (rand() % 3) {
            put(&m, key, round);
            truth[key] = round;
        } else {
            pmap_remove(&m, key);
            truth[key] = -1;
        }
        if (round % 500 == 0) {
            int c = rand() % COPIES;
            if (copies[c].kind)
                pmap_free(&copies[c]);
            copies[c] = pmap_copy(&m);
            memcpy(truths[c], truth, sizeof truth);
        }
    }
    for (int c = 0; c < COPIES; c++)
        for (int k = 0; copies[c].kind && k < KEYS; k++)
            ck_assert_int_eq(get(&copies[c], k), truths[c][k]);
    for (int k = 0; k < KEYS; k++)
        ck_assert_int_eq(get(&m, k), truth[k]);
    for (int c = 0; c < COPIES; c++)
        if (copies[c].kind)
            pmap_free(&copies[c]);
    pmap_free(&m);
} END_TEST

int main(void) {
    Suite *s = suite_create("tracer: persistent map");
    TCase *c = one_case(s, "pmap");
    tcase_add_test(c, empty_map_has_nothing);
    tcase_add_test(c, keys_of_every_size);
    tcase_add_test(c, copies_do_not_change);
    tcase_add_test(c, random_work_with_snapshots);
    return run_suite(s);
}
