/* Stacks: overflow, depth, many at once, reuse. What is large here must be quick: the whole file takes seconds. */
#include "child.h"
#include <pthread.h>
#include <sys/mman.h>

static long resident(void)
{
    long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_int_eq(fscanf(file, "%ld %ld", &total, &pages), 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* ---- overflow ---- */

static int use_up(int depth, volatile char *outer)
{
    volatile char here_[512];
    here_[0] = (char)(depth + (outer ? outer[0] : 0));
    int below = depth == INT32_MAX ? 0 : use_up(depth + 1, here_);
    return below + here_[0];
}

async_def(recurses) { await(asyncio_sleep(0)); return V(use_up(0, NULL)); }
static int awaiting_line;
async_def(guest) { awaiting_line = __LINE__; await(asyncio_sleep(0)); await(recurses()); return None; }
async_def(host) { Task *task = asyncio_create_task(guest(), .name = "greedy"); await(task); return None; }
static void child_overflow(void) { asyncio_run(host()); }
async_def(awaits_itself, (int) depth) { await(asyncio_sleep(0)); return await(awaits_itself(depth + 1)); }
static void child_overflow_by_await(void) { asyncio_run(awaits_itself(0)); }
async_gen(greedy_generator) { yield(1); yield(use_up(0, NULL)); return None; }
async_def(consumer) { async_for (v, greedy_generator()) { (void)v; } return None; }
static void child_overflow_in_generator(void) { asyncio_run(consumer()); }

TEST(overflow_names_the_task_and_the_place)
{
    if (SLOWED_DOWN) return;                            /* a sanitizer reports it its own way */
    Child c = child(child_overflow);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: stack overflow in task 'greedy', in coroutine recurses at ");
    ck_has(c.err, "stacks.c:");
    ck_has(c.err, "ASYNCIO_STACK_SIZE");
    child_free(c);
}

static void *overflows(void *unused) { asyncio_run(host()); return unused; }
static void child_overflow_in_a_thread(void)
{
    pthread_t thread;
    asyncio_run(asyncio_sleep(0));
    pthread_create(&thread, NULL, overflows, NULL);
    pthread_join(thread, NULL);
}

TEST(overflow_in_a_second_thread)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_overflow_in_a_thread);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: stack overflow in task 'greedy', in coroutine recurses at ");
    child_free(c);
}

TEST(overflow_by_await)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_overflow_by_await);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: stack overflow in ");
    ck_has(c.err, "task 'Task-1', in coroutine awaits_itself at ");
    child_free(c);
}

TEST(overflow_in_a_generator)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_overflow_in_generator);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: stack overflow in task 'Task-1', in coroutine greedy_generator at ");
    child_free(c);
}

static void child_plain_fault(void) { volatile int *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); *nowhere = 1; }
async_def(faults) { child_plain_fault(); return None; }
static void child_fault_in_task(void) { asyncio_run(faults()); }

TEST(another_fault_is_not_called_an_overflow)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_fault_in_task);
    ck_killed(c, SIGSEGV);
    ck_lacks(c.err, "overflow");
    child_free(c);
}

async_def(grows_before_it_awaits, (int) n)
{
    char pad[200];
    memset(pad, n, sizeof pad);
    return V(as_int(await(grows_before_it_awaits(n + 1))) + pad[3]);
}
static void child_overflow_before_an_await(void) { asyncio_run(grows_before_it_awaits(0)); }

TEST(overflow_before_an_await)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_overflow_before_an_await);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: stack overflow in task 'Task-1', in coroutine grows_before_it_awaits at ");
    child_free(c);
}

static int touch(char *array, int at) { __asm__ volatile("" : : "r"(array) : "memory"); return array[at] = 1; }
async_def(has_a_large_array) { char array[64 << 20]; await(asyncio_sleep(0)); return V(touch(array, 0)); }
static void child_large_array(void) { asyncio_run(has_a_large_array()); }

/* It is larger than the guard page, and nothing in it is touched on the way. */
TEST(an_array_that_steps_over_the_guard)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_large_array);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: stack overflow in task 'Task-1', in coroutine has_a_large_array at ");
    child_free(c);
}

/* ---- NULL ---- */

async_def(uses_null) { await(asyncio_sleep(0)); await(queue_put((Queue *)NULL, 1)); return None; }
static void child_null_in_task(void) { asyncio_run(uses_null()); }
static void uses_null_too(Value arg) { (void)arg; event_set(NULL); }
async_def(calls_soon) { loop_call_soon(asyncio_get_running_loop(), uses_null_too); await(asyncio_sleep(1)); return None; }
static void child_null_in_callback(void) { asyncio_run(calls_soon()); }

TEST(null_is_told)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_null_in_task);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: NULL was used as an object in task 'Task-1', in coroutine uses_null at ");
    child_free(c);
    c = child(child_null_in_callback);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: NULL was used as an object in a callback, or soon after.\n");
    child_free(c);
}

/* ---- other pointers, and other ways out ---- */

async_def(never_called) { return None; }
async_def(passes_functions) { await(asyncio_sleep(0)); await(asyncio_gather((void *)never_called, (void *)never_called)); return None; }
static void child_function_for_a_call(void) { asyncio_run(passes_functions()); }

TEST(a_pointer_that_leads_nowhere_is_told)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_function_for_a_call);
    ck_killed(c, SIGSEGV);
    ck_has(c.err, "asyncio: a pointer that leads nowhere was used in task 'Task-1', in coroutine passes_functions at ");
    ck_has(c.err, "or a function f where a call f() is wanted.\n");
    child_free(c);
}

static jmp_buf far_away;
async_def(jumps) { await(asyncio_sleep(0)); longjmp(far_away, 1); return None; }
static void child_longjmp_out_of_run(void)
{
    if (setjmp(far_away) == 0) asyncio_run(jumps());
    print("landed");
    asyncio_run(never_called());
}

async_def(lands) { if (setjmp(far_away) == 0) await(asyncio_sleep(2)); return None; }
async_def(jumps_later) { await(asyncio_sleep(1)); longjmp(far_away, 1); return None; }
async_def(two_that_jump) { await(asyncio_gather(lands(), jumps_later())); return None; }
static void child_longjmp_to_another_task(void) { asyncio_run(two_that_jump(), .virtual_clock = true); }

TEST(a_longjmp_out_of_a_coroutine_is_told)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_longjmp_out_of_run);
    ck_killed(c, SIGABRT);
    ck_assert_str_eq(c.out, "landed\n");
    ck_has(c.err, "in jumps_body_: a longjmp() of the program's own has left this coroutine.");
    child_free(c);
    c = child(child_longjmp_to_another_task);
    ck_killed(c, SIGABRT);
    ck_has(c.err, "a longjmp() of the program's own has left this coroutine.");
    child_free(c);
}

async_def(ends_its_thread) { pthread_exit(NULL); return None; }
static void child_pthread_exit(void) { asyncio_run(ends_its_thread()); }

TEST(pthread_exit_in_a_coroutine_is_told)
{
    if (SLOWED_DOWN) return;
    Child c = child(child_pthread_exit);
    ck_killed(c, SIGABRT);
    ck_has(c.err, "asyncio: the thread ended while its loop was running: ");
    child_free(c);
}

/* ---- depth ---- */

async_def(goes_down, (int) depth) {
    if (depth == 0) { await(asyncio_sleep(0)); return V(0); }
    return V(1 + as_int(await(goes_down(depth - 1))));
}

ASYNC_TEST(a_hundred_awaits_deep)
{
    ck_assert_int_eq(as_int(await(goes_down(100))), 100);
    return None;
}

async_def(raises_at, (int) depth) { if (depth == 0) { await(asyncio_sleep(0)); throw(ValueError, "bottom"); } return await(raises_at(depth - 1)); }

ASYNC_TEST(an_exception_through_a_hundred_awaits)
{
    ck_raises_text(ValueError, "bottom", await(raises_at(100)));
    return None;
}

async_def(deep_run, (int) depth) { return await(goes_down(depth)); }
static void child_larger_stack(void) { asyncio_set_stack_size(8 << 20); print(asyncio_run(deep_run(10000), .virtual_clock = true)); }

TEST(larger_stacks_on_request)
{
    Child c = child(child_larger_stack);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "10000\n");
    child_free(c);
    ck_raises(ValueError, asyncio_set_stack_size(100));
    ck_raises(ValueError, asyncio_set_stack_size(0));
}

async_def(asks_for_larger_stacks) { asyncio_set_stack_size(8 << 20); return await(asyncio_create_task(goes_down(10000))); }
static void child_larger_stack_while_it_runs(void) { print(asyncio_run(asks_for_larger_stacks(), .virtual_clock = true)); }
static void *runs_a_little(void *unused) { asyncio_run(goes_down(1), .virtual_clock = true); return unused; }
static void child_larger_stack_after_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, runs_a_little, NULL);
    pthread_join(thread, NULL);
    child_larger_stack();
}

/* Stacks that are left over are of the old size: no task is to get one. */
TEST(larger_stacks_once_there_are_small_ones)
{
    void (*const bodies[])(void) = {child_larger_stack_while_it_runs, child_larger_stack_after_a_thread};
    for (int i = 0; i < 2; i++) {
        Child c = child(bodies[i]);
        ck_exited(c, 0);
        ck_assert_str_eq(c.out, "10000\n");
        child_free(c);
    }
}

TEST(stacks_that_are_too_large_to_count)
{
    ck_raises_text(ValueError, "a stack may have at most 144115188075851776 bytes, not 18446744073709551615", asyncio_set_stack_size(SIZE_MAX));
    ck_raises(ValueError, asyncio_set_stack_size(((size_t)1 << 58) + 65536));
}

async_def(large_frame) { char buffer[40000]; memset(buffer, 1, sizeof buffer); await(asyncio_sleep(0)); return V(buffer[39999]); }

ASYNC_TEST(a_large_legal_frame)
{
    ck_assert_int_eq(as_int(await(asyncio_create_task(large_frame()))), 1);
    return None;
}

/* The environment is read as the program begins, so the program here is this test itself, asked for the one test below. */
TEST(stack_size_by_environment)
{
    int status;
    const char *sizes[] = {"4000000", "12", "nonsense", "", "1e30"};
    for (int i = 0; i < 5; i++) {
        Value command = format("CK_FORK=no ASYNCIO_STACK_SIZE=%s %s a_large_legal_frame 2>&1", sizes[i], this_program);
        char *text = shell(&status, as_str(command));
        ck_assert_msg(status == 0, "%s", text);
        if (i == 1 || i == 2) ck_has(text, "is ignored: a stack needs at least 16384 bytes");
        else if (i == 4) ck_has(text, "is ignored: a stack may have at most ");
        else ck_lacks(text, "ignored");
        free(text);
    }
}

/* ---- many ---- */

async_def(sleeps) { await(asyncio_sleep(1)); return None; }

#ifdef __OPTIMIZE__
enum { BYTES_ASLEEP = 5000 };
#else
enum { BYTES_ASLEEP = 9000 };                           /* frames are larger, and take a page more */
#endif

ASYNC_TEST(a_hundred_thousand_tasks_asleep)
{
    int n = SLOWED_DOWN ? 2000 : 100000;
    long before = resident();
    Value tasks = keep(list());
    for (int i = 0; i < n; i++) scope list_append(tasks, asyncio_create_task(sleeps()));
    await(asyncio_sleep(0));
    long each = (resident() - before) / n;
    if (!SLOWED_DOWN) ck_assert_msg(each < BYTES_ASLEEP, "%ld bytes for each sleeping task", each);
    ck_assert_int_eq(len(asyncio_all_tasks()), n + 1);
    await(asyncio_sleep(2));
    for_in (task, tasks) ck_assert(task_done(as_task(task)));
    list_clear(tasks);
    return None;
}

static long grown(long before) { return resident() - before; }

ASYNC_TEST(a_million_sleeps_of_zero)
{
    int n = SLOWED_DOWN ? 20000 : 1000000;
    for (int i = 0; i < 1000; i++) await(asyncio_sleep(0));
    long before = resident();
    size_t live = asyncio_live_objects();
    for (int i = 0; i < n; i++) await(asyncio_sleep(0));
    ck_assert_uint_le(asyncio_live_objects(), live + 2);
    if (!SLOWED_DOWN) ck_assert_int_lt(grown(before), 1 << 19);
    return None;
}

async_def(answers, (int) i) { return V(i); }

ASYNC_TEST(a_million_tasks_one_after_the_other)
{
    int n = SLOWED_DOWN ? 20000 : 1000000;
    for (int i = 0; i < 1000; i++) await(asyncio_create_task(answers(i)));
    long before = resident();
    size_t live = asyncio_live_objects();
    for (int i = 0; i < n; i++) ck_assert_int_eq(as_int(await(asyncio_create_task(answers(i)))), i);
    ck_assert_uint_le(asyncio_live_objects(), live + 4);
    if (!SLOWED_DOWN) ck_assert_int_lt(grown(before), 1 << 19);
    return None;
}

ASYNC_TEST(a_gather_of_ten_thousand)
{
    int n = SLOWED_DOWN ? 1000 : 10000;
    Value coros = list();
    for (int i = 0; i < n; i++) list_append(coros, answers(i));
    Value results = await(asyncio_gather_list(coros));
    for (int i = 0; i < n; i++) ck_assert_int_eq(as_int(list_get(results, i)), i);
    return None;
}

/* Each child has a stack, a coroutine, a task and a handle, and all of it goes with the gather's end. */
ASYNC_TEST(a_gather_of_ten_thousand_asleep)
{
    int n = SLOWED_DOWN ? 1000 : 10000;
    size_t live = asyncio_live_objects();
    scope {
        Value coros = list();
        for (int i = 0; i < n; i++) list_append(coros, sleeps());
        long before = resident();
        Future *all = asyncio_gather_list(coros);
        await(asyncio_sleep(0.5));
        if (!SLOWED_DOWN) ck_assert_int_lt(grown(before) / n, BYTES_ASLEEP + 2000);
        ck_assert_int_eq(len(await(all)), n);
    }
    ck_assert_uint_le(asyncio_live_objects(), live + 2);
    return None;
}

ASYNC_TEST(stacks_are_used_again)
{
    for (int i = 0; i < 100; i++) await(asyncio_create_task(sleeps()));
    long before = resident();
    for (int i = 0; i < 2000; i++) {
        scope { Task *a = asyncio_create_task(sleeps()), *b = asyncio_create_task(sleeps()); await(a); await(b); }
    }
    if (!SLOWED_DOWN) ck_assert_int_lt(grown(before), 1 << 19);
    return None;
}

/* Waves of tasks: the memory of the largest one is enough for all. */
ASYNC_TEST(waves_of_tasks)
{
    volatile long after_first = 0;
    for (int wave = 0; wave < 6; wave++) {
        scope {
            Value tasks = list();
            for (int i = 0; i < 2000; i++) list_append(tasks, sleeps());
            await(asyncio_gather_list(tasks));
        }
        if (wave == 0) after_first = resident();
    }
    if (!SLOWED_DOWN) ck_assert_int_lt(grown(after_first), 1 << 20);
    return None;
}

async_gen(counts, (int) n) { for (int i = 0; i < n; i++) { if (i % 1000 == 0) await(asyncio_sleep(0)); yield(i); } return None; }

ASYNC_TEST(a_long_generator_in_flat_memory)
{
    volatile long sum = 0;
    int n = SLOWED_DOWN ? 5000 : 300000;
    size_t live = asyncio_live_objects();
    async_for (v, counts(n)) { sum += as_int(v); ck_assert_uint_le(asyncio_live_objects(), live + 20); }
    ck_assert_int_eq(sum, (long)n * (n - 1) / 2);
    return None;
}

ASYNC_TEST(ten_thousand_generators_at_once)
{
    int n = SLOWED_DOWN ? 200 : 10000;
    Value all = list();
    for (int i = 0; i < n; i++) { AsyncGenerator *gen = counts(3); list_append(all, gen); await(generator_anext(gen)); }
    for_in (gen, all) ck_assert_int_eq(as_int(await(generator_anext((AsyncGenerator *)gen.object))), 1);
    return None;
}

/* ---- registers and the like survive a switch ---- */

async_def(computes, (int) id) {
    double sum = 0;
    unsigned long product = 1;
    for (int i = 1; i <= 200; i++) {
        sum += id * 0.5 / i;
        product = product * 31 + (unsigned)id;
        if (i % 3 == 0) await(asyncio_sleep(0));
    }
    return list(sum, product);
}

static Value computed(int id)
{
    double sum = 0;
    unsigned long product = 1;
    for (int i = 1; i <= 200; i++) { sum += id * 0.5 / i; product = product * 31 + (unsigned)id; }
    return list(sum, product);
}

ASYNC_TEST(locals_live_through_switches)
{
    Value coros = list();
    for (int i = 0; i < 20; i++) list_append(coros, computes(i));
    Value results = await(asyncio_gather_list(coros));
    for (int i = 0; i < 20; i++) ck_assert(value_equal(list_get(results, i), computed(i)));
    return None;
}
