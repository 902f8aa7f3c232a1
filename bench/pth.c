/* Operations of bench/run on GNU Pth, the elder of the cooperative thread libraries: it keeps POSIX signals per thread, so a switch is a
 * system call. */
#include "clock.h"

#include <pth.h>

static int count;
static pth_mutex_t mutex;

static void two(void *(*one)(void *), void *(*other)(void *))
{
    pth_t a = pth_spawn(PTH_ATTR_DEFAULT, one, NULL), b = pth_spawn(PTH_ATTR_DEFAULT, other, NULL);
    pth_join(a, NULL);
    pth_join(b, NULL);
}

static void *yielding(void *unused)
{
    for (int i = 0; i < count; i++) pth_yield(NULL);
    return unused;
}

static void switches(int n)
{
    count = n / 2;
    two(yielding, yielding);
}

static void *nothing(void *unused) { return unused; }

static void tasks(int n)
{
    for (int i = 0; i < n; i++) pth_join(pth_spawn(PTH_ATTR_DEFAULT, nothing, NULL), NULL);
}

static void *locking(void *unused)
{
    for (int i = 0; i < count; i++) {
        pth_mutex_acquire(&mutex, FALSE, NULL);
        pth_yield(NULL);
        pth_mutex_release(&mutex);
    }
    return unused;
}

static void locks(int n)
{
    count = n / 2;
    pth_mutex_init(&mutex);
    two(locking, locking);
}

/* A bounded queue, of what the library has: a mutex and two conditions. */

static struct { int items[128], first, count, size; pth_cond_t not_empty, not_full; } queue;

static void *producing(void *unused)
{
    for (int i = 0; i < count; i++) {
        pth_mutex_acquire(&mutex, FALSE, NULL);
        while (queue.count == queue.size) pth_cond_await(&queue.not_full, &mutex, NULL);
        queue.items[(queue.first + queue.count++) % 128] = i;
        pth_cond_notify(&queue.not_empty, FALSE);
        pth_mutex_release(&mutex);
    }
    return unused;
}

static void *consuming(void *unused)
{
    for (int i = 0; i < count; i++) {
        pth_mutex_acquire(&mutex, FALSE, NULL);
        while (!queue.count) pth_cond_await(&queue.not_empty, &mutex, NULL);
        queue.first = (queue.first + 1) % 128;
        queue.count--;
        pth_cond_notify(&queue.not_full, FALSE);
        pth_mutex_release(&mutex);
    }
    return unused;
}

static void through_queue(int size, int n)
{
    count = n;
    queue.first = queue.count = 0;
    queue.size = size;
    pth_mutex_init(&mutex);
    pth_cond_init(&queue.not_empty);
    pth_cond_init(&queue.not_full);
    two(producing, consuming);
}

static void queue_1(int n) { through_queue(1, n); }
static void queue_100(int n) { through_queue(100, n); }

static const struct Operation { const char *name; void (*run)(int n); } operations[] = {
    {"switch", switches}, {"task", tasks}, {"lock", locks}, {"queue_1", queue_1}, {"queue_100", queue_100},
};

int main(int argc, char **argv)
{
    int n = argc == 3 ? atoi(argv[2]) : 0;
    if (n <= 0 || !pth_init()) return 2;
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
