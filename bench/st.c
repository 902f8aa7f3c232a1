/* Operations of bench/run on State Threads (libst), the C library of the same kind that Debian has: setjmp, longjmp, one loop.
 *
 * It has no yield but st_usleep(0), which asks the kernel each time; so a switch is measured as a condition passed to and fro. */
#include "clock.h"

#include <st.h>

static int count;

static void join(st_thread_t a, st_thread_t b)
{
    st_thread_join(a, NULL);
    st_thread_join(b, NULL);
}

/* Two threads, each wakes the other and waits. */

static st_cond_t conditions[2];

static void *passing(void *which)
{
    long me = (long)which;
    for (int i = 0; i < count / 2; i++) {
        st_cond_signal(conditions[!me]);
        st_cond_wait(conditions[me]);
    }
    st_cond_signal(conditions[!me]);
    return NULL;
}

static void switches(int n)
{
    count = n;
    conditions[0] = st_cond_new();
    conditions[1] = st_cond_new();
    st_thread_t other = st_thread_create(passing, (void *)1, 1, 0);
    passing((void *)0);
    st_thread_join(other, NULL);
}

static void *nothing(void *unused) { return unused; }

static void tasks(int n)
{
    for (int i = 0; i < n; i++) st_thread_join(st_thread_create(nothing, NULL, 1, 0), NULL);
}

/* A bounded queue, of what the library has: two conditions. */

static struct { int items[128], first, count, size; st_cond_t not_empty, not_full; } queue;

static void *producing(void *unused)
{
    for (int i = 0; i < count; i++) {
        while (queue.count == queue.size) st_cond_wait(queue.not_full);
        queue.items[(queue.first + queue.count++) % 128] = i;
        st_cond_signal(queue.not_empty);
    }
    return unused;
}

static void *consuming(void *unused)
{
    for (int i = 0; i < count; i++) {
        while (!queue.count) st_cond_wait(queue.not_empty);
        queue.first = (queue.first + 1) % 128;
        queue.count--;
        st_cond_signal(queue.not_full);
    }
    return unused;
}

static void through_queue(int size, int n)
{
    count = n;
    queue.first = queue.count = 0;
    queue.size = size;
    queue.not_empty = st_cond_new();
    queue.not_full = st_cond_new();
    join(st_thread_create(producing, NULL, 1, 0), st_thread_create(consuming, NULL, 1, 0));
}

static void queue_1(int n) { through_queue(1, n); }
static void queue_100(int n) { through_queue(100, n); }

static void *sleeping(void *microseconds) { st_usleep((st_utime_t)microseconds); return NULL; }

static void sleepers(int n)
{
    st_thread_t *threads = malloc((size_t)n * sizeof *threads);
    size_t before = resident_bytes();
    uint64_t began = processor_ns();
    for (long i = 0; i < n; i++) threads[i] = st_thread_create(sleeping, (void *)(500000 + 500000 * (i * 7919 % n) / n), 1, 64 * 1024);
    st_usleep(1);
    size_t asleep = resident_bytes();
    for (int i = 0; i < n; i++) if (threads[i]) st_thread_join(threads[i], NULL);
    printf("%.2f %.0f\n", (double)(processor_ns() - began) / n, (double)(asleep - before) / n);
    free(threads);
}

static const struct Operation { const char *name; void (*run)(int n); } operations[] = {
    {"switch", switches}, {"task", tasks}, {"queue_1", queue_1}, {"queue_100", queue_100},
};

int main(int argc, char **argv)
{
    int n = argc == 3 ? atoi(argv[2]) : 0;
    if (n <= 0 || st_init() < 0) return 2;
    if (!strcmp(argv[1], "sleepers")) { sleepers(n); return 0; }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(argv[1], operations[i].name)) continue;
        operations[i].run(n / 10);
        uint64_t began = processor_ns();
        operations[i].run(n);
        printf("%.2f\n", (double)(processor_ns() - began) / n);
        return 0;
    }
    return 2;
}
