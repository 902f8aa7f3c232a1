/* What the machine itself asks for the parts that every operation is made of.
 *
 *     limits PART N       does it N times and prints the nanoseconds of processor time that each took
 *
 *     pair        _setjmp on one stack and _longjmp to another: the least that a switch can be without assembly
 *     landing     _setjmp and a _longjmp back to it on the same stack: the least that an exception can be
 *     block       malloc() of 256 bytes and free()
 *     call        a call through a pointer
 *     sleepers    a page touched for the first time: the least that a task with a stack of its own can be
 */
#include "clock.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

/* Two stacks that jump to each other. */

static jmp_buf here, there;
static ucontext_t first, second;

__attribute__((noinline)) static void jump(jmp_buf from, jmp_buf to) { if (!_setjmp(from)) _longjmp(to, 1); }

static void partner(void)
{
    if (!_setjmp(there)) setcontext(&first);
    for (;;) jump(there, here);
}

static void pairs(int n)
{
    static char stack[64 * 1024];
    static volatile int started;
    if (!started) {
        getcontext(&first);
        if (!started++) {
            getcontext(&second);
            second.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
            makecontext(&second, partner, 0);
            setcontext(&second);
        }
    }
    for (int i = 0; i < n / 2; i++) jump(here, there);
}

__attribute__((noinline)) static void land(void)
{
    jmp_buf landing;
    if (!_setjmp(landing)) _longjmp(landing, 1);
}

static void landings(int n) { for (int i = 0; i < n; i++) land(); }

static void blocks(int n)
{
    for (int i = 0; i < n; i++) {
        void *volatile block = malloc(256);
        free(block);
    }
}

static void nothing(void) {}

static void calls(int n)
{
    void (*volatile function)(void) = nothing;
    for (int i = 0; i < n; i++) function();
}

/* Mapped as the stacks of tasks are: one page of each 64 KB is touched. */
static void sleepers(int n)
{
    size_t each = 64 * 1024, page = 4096;
    uint64_t began = processor_ns();
    size_t before = resident_bytes();
    char *memory = mmap(NULL, each * (size_t)n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    madvise(memory, each * (size_t)n, MADV_NOHUGEPAGE);
    for (int i = 0; i < n; i++) memory[each * (size_t)i + each - page] = 1;
    printf("%.2f %.0f\n", (double)(processor_ns() - began) / n, (double)(resident_bytes() - before) / n);
}

static const struct Part { const char *name; void (*run)(int n); } parts[] = {
    {"pair", pairs}, {"landing", landings}, {"block", blocks}, {"call", calls},
};

int main(int argc, char **argv)
{
    int n = argc == 3 ? atoi(argv[2]) : 0;
    if (n <= 0) { fprintf(stderr, "usage: %s PART N\n", argv[0]); return 2; }
    if (!strcmp(argv[1], "sleepers")) { sleepers(n); return 0; }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(argv[1], parts[i].name)) continue;
        parts[i].run(n / 10);
        uint64_t began = processor_ns();
        parts[i].run(n);
        printf("%.2f\n", (double)(processor_ns() - began) / n);
        return 0;
    }
    return 2;
}
