/* Memory: who holds what, and that nothing leaks or breaks when a program is cancelled at any await or memory runs out anywhere. */
#include "child.h"

exception_class(Hiccup, Exception);

/* ---- scope, forever, keep ---- */

TEST(scope_drops_what_was_made_in_it)
{
    size_t before = asyncio_live_objects();
    scope {
        list("a", list("b"));
        ck_assert_uint_gt(asyncio_live_objects(), before);
        scope { for (int i = 0; i < 100; i++) list(i, "text"); }
        scope { ck_repr(list(1), "[1]"); }
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

TEST(what_is_held_survives_a_scope)
{
    Value holder = list();
    scope { for (int i = 0; i < 50; i++) list_append(holder, format("item %d", i)); }
    ck_repr(list_get(holder, 49), "'item 49'");
    Value kept = None;
    scope { kept = keep(list("kept", tuple("inside"))); }
    ck_repr(kept, "['kept', ('inside',)]");
    ck_repr(keep(5), "5");
    ck_repr(keep(None), "None");
}

async_def(keeps, (int) n) {
    Value last = None;
    int turns = 0;
    forever {
        Value made = list(turns, format("turn %d", turns));
        if (turns == n / 2) last = keep(made);
        if (++turns == n) break;
        await(asyncio_sleep(0));
    }
    return last;
}

ASYNC_TEST(forever_drops_each_turn_and_keep_saves)
{
    ck_repr(await(keeps(100)), "[50, 'turn 50']");
    size_t before = asyncio_live_objects();
    int turns = 0;
    forever {
        for (int i = 0; i < 10; i++) list(i, "x");
        await(asyncio_sleep(0));
        if (++turns == 1000) break;
        ck_assert_uint_le(asyncio_live_objects(), before + 40);
    }
    return None;
}

async_def(returns_made) { Value inner = list("deep"); return tuple(inner, V("text")); }
async_def(holds_argument, (Value) v, (Queue *) queue) { await(asyncio_sleep(5)); queue_put_nowait(queue, v); return v; }

ASYNC_TEST(values_outlive_who_made_them)
{
    Value got = await(returns_made());
    ck_repr(got, "(['deep'], 'text')");
    Queue *queue = asyncio_Queue();
    Task *task = NULL;
    scope { task = (Task *)keep(asyncio_create_task(holds_argument(list("argument"), queue))).object; }
    ck_repr(await(task), "['argument']");
    ck_repr(queue_get_nowait(queue), "['argument']");
    return None;
}

/* A variable of the program's own holds nothing. What is gone says so until its memory is used again; where memory goes back to the
 * system at once, as under valgrind, that is reported by others. */
static Value kept_list, kept_text;
static Task *kept_task;
async_def(keeps_in_variables)
{
    for (int i = 0; i < 20; i++) list(i, format("text of %d", i)); /* these go last, and are used again first */
    kept_list = list(1, "two", 3.0);
    kept_text = format("text of %d", 1);
    kept_task = asyncio_create_task(returns_made());
    await(kept_task);
    return None;
}

ASYNC_TEST(what_is_gone_says_so)
{
    if (SLOWED_DOWN) return None;
    await(keeps_in_variables());
    ck_raises_text(TypeError, "expected list or tuple, got object that is gone", list_get(kept_list, 0));
    await(keeps_in_variables());
    ck_raises_text(TypeError, "object of type 'object that is gone' has no len()", len(kept_text));
    await(keeps_in_variables());
    ck_raises_text(TypeError, "expected str, got object that is gone", as_str(kept_text));
    await(keeps_in_variables());
    ck_raises_text(TypeError, "object object that is gone can't be used in 'await' expression", await(kept_task));
    await(keeps_in_variables());
    ck_repr(kept_list, "<object that is gone>");
    return None;
}

ASYNC_TEST(arguments_are_held_by_a_coroutine_not_begun)
{
    Coroutine *coro = NULL;
    Queue *queue = asyncio_Queue();
    scope { coro = (Coroutine *)keep(holds_argument(format("made %d", 1), queue)).object; }
    ck_repr(await(coro), "'made 1'");
    return None;
}

/* Whatever stands beside what among the arguments. A compiler once lost one of these counts. */
async_def(of_one_mix, (Value)a, (Queue *)q, (Value)b, (Lock *)l, (Value)c)
{
    (void)a; (void)b; (void)c; (void)q; (void)l;
    return None;
}

async_def(of_another, (Queue *)q, (Lock *)l, (Event *)e, (Value)a, (Value)b)
{
    (void)a; (void)b; (void)q; (void)l; (void)e;
    return None;
}

async_def(of_a_third, (int)i, (Queue *)q, (int)j, (Lock *)l, (Value)a, (Queue *)r, (Value)b)
{
    (void)a; (void)b; (void)q; (void)l; (void)i; (void)j; (void)r;
    return None;
}

ASYNC_TEST(every_mix_of_arguments_is_held)
{
    Queue *q = asyncio_Queue();
    Lock *l = asyncio_Lock();
    Event *e = asyncio_Event();
    Value a = list(1), b = tuple("x", 2), c = V("text");
    Object *held[] = {(Object *)q, (Object *)l, (Object *)e, a.object, b.object, c.object};
    const unsigned by_three[] = {5, 4, 2, 4, 4, 2};
    Coroutine *one = of_one_mix(a, q, b, l, c), *two = of_another(q, l, e, a, b), *three = of_a_third(1, q, 2, l, a, q, b);
    for (int i = 0; i < 6; i++) ck_assert_uint_eq(held[i]->references, by_three[i]);
    await(one);
    await(two);
    await(three);
    for (int i = 0; i < 6; i++) ck_assert_uint_eq(held[i]->references, 1);
    return None;
}

/* ---- a program with a bit of everything; each AWAIT may be where somebody cancels ---- */

static int countdown, awaits;
static enum { CURRENT, MAIN, ALL, VICTIMS } victims;
static Task *main_task;

static void strike(void)
{
    awaits++;
    if (!countdown || --countdown) return;
    if (victims == CURRENT) { task_cancel(asyncio_current_task()); return; }
    if (victims == MAIN) { task_cancel(main_task); return; }
    for_in (task, asyncio_all_tasks()) task_cancel(as_task(task), .msg = format("struck at %d", awaits));
}

#define AWAIT(x) ({ strike(); await(x); })

async_def(worker, (int) id, (Queue *) queue, (Lock *) lock, (Value) results) {
    forever {
        Value item = AWAIT(queue_get(queue));
        async_with (lock) { AWAIT(asyncio_sleep(0.1)); list_append(results, list(id, item)); } end_with
        queue_task_done(queue);
    }
    return None;
}

async_gen(numbers, (int) n) {
    try { for (int i = 0; i < n; i++) { AWAIT(asyncio_sleep(0.01)); yield(list(i)); } } finally { AWAIT(asyncio_sleep(0.01)); } end_try
    return None;
}

async_def(fails_later, (double) delay) { AWAIT(asyncio_sleep(delay)); throw(Hiccup, "after %g", delay); return None; }

async_def(pool_of_workers) {
    Queue *queue = asyncio_Queue(.maxsize = 2);
    Lock *lock = asyncio_Lock();
    Value results = list(), tasks = list();
    for (int i = 0; i < 3; i++) list_append(tasks, asyncio_create_task(worker(i, queue, lock, results)));
    try {
        for (int i = 0; i < 6; i++) AWAIT(queue_put(queue, format("item %d", i)));
        AWAIT(asyncio_wait_for(queue_join(queue), 20));
    } finally {
        for_in (task, tasks) task_cancel(as_task(task));
        Value outcomes = AWAIT(asyncio_gather_list(tasks, .return_exceptions = true));
        for_in (e, outcomes) if (isinstance(e, MemoryError)) throw(e);
    } end_try
    return V(len(results));
}

async_def(groups) {
    try {
        async_with (group, asyncio_TaskGroup()) {
            taskgroup_create_task(group, fails_later(0.5));
            taskgroup_create_task(group, asyncio_sleep(100));
            AWAIT(asyncio_sleep(200));
        } end_with
    } except_star (Hiccup, g) { return V(len(exception_exceptions(g))); } end_try
    return V(0);
}

async_def(times_out) {
    Event *event = asyncio_Event();
    Condition *condition = asyncio_Condition();
    Semaphore *semaphore = asyncio_Semaphore(.value = 2);
    int timeouts = 0;
    try { AWAIT(asyncio_wait_for(event_wait(event), 0.3)); } except (TimeoutError) { timeouts++; } end_try
    try { async_with (asyncio_timeout(0.2)) { async_with (condition) { AWAIT(condition_wait(condition)); } end_with } end_with } except (TimeoutError) { timeouts += 10; } end_try
    async_with (semaphore) { AWAIT(asyncio_shield(asyncio_create_task(asyncio_sleep(0.1)))); } end_with
    return V(timeouts);
}

async_def(iterates) {
    int sum = 0;
    async_for (v, numbers(4)) { sum += (int)as_int(list_get(v, 0)); AWAIT(asyncio_sleep(0.01)); }
    Value more = async_list(v, numbers(3), list_get(v, 0));
    async_for (v, numbers(5)) { if (as_int(list_get(v, 0)) == 2) break; }
    Value both = AWAIT(asyncio_wait(list(asyncio_create_task(asyncio_sleep(1)), asyncio_create_task(asyncio_sleep(2))), .return_when = FIRST_COMPLETED));
    for_in (task, list_get(both, 1)) task_cancel(as_task(task));
    Value aws = list(asyncio_create_task(asyncio_sleep(0.2, .result = V("b"))), asyncio_create_task(asyncio_sleep(0.1, .result = V("a"))));
    AsCompleted *completed = asyncio_as_completed(aws);
    for (Coroutine *next; (next = as_completed_next(completed)); ) list_append(more, AWAIT(next));
    return list(sum, more);
}

async_def(everything) {
    Value results = AWAIT(asyncio_gather(pool_of_workers(), groups(), times_out(), iterates()));
    print(results);
    return results;
}

static void quiet(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; }

async_def(everything_quietly) {
    main_task = asyncio_current_task();
    loop_set_exception_handler(asyncio_get_running_loop(), quiet);
    return await(everything());
}

static const char everything_printed[] = "[6, 1, 11, [6, [0, 1, 2, 'a', 'b']]]\n";

static void child_everything(void) { asyncio_run(everything(), .virtual_clock = true); }

TEST(the_program_itself)
{
    Child c = child(child_everything);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, everything_printed);
    ck_assert_str_eq(c.err, "");
    child_free(c);
}

static void run_struck(int at, int whom)
{
    countdown = at;
    victims = whom;
    awaits = 0;
    try { asyncio_run(everything_quietly(), .virtual_clock = true); } except (BaseException) { } end_try
}

static void child_cancelled_everywhere(void)
{
    run_struck(0, CURRENT);
    int all = awaits;
    for (int whom = 0; whom < VICTIMS; whom++) {
        for (int at = 1; at <= all; at += SLOWED_DOWN ? 3 : 1) {
            size_t before = asyncio_live_objects();
            scope run_struck(at, whom);
            if (asyncio_live_objects() != before) {
                fprintf(stderr, "%ld objects left over: await %d of %d, victims %d\n", (long)(asyncio_live_objects() - before), at, all, whom);
                exit(2);
            }
        }
    }
    fprintf(stderr, "%d awaits\n", all);
}

TEST(cancelled_at_every_await)
{
    Child c = child(child_cancelled_everywhere);
    ck_exited(c, 0);
    ck_assert_msg(atoi(c.err) >= 40 || strstr(c.err, "never awaited"), "%s", c.err);
    child_free(c);
}

/* ---- memory runs out ---- */

static void child_out_of_memory(void *at)
{
    asyncio_fail_allocation(*(long *)at);
    asyncio_run(everything(), .virtual_clock = true);
    asyncio_fail_allocation(0);
}

/* Returns whether the program came to its end. */
static bool out_of_memory_at(long at)
{
    Child c = child_with(child_out_of_memory, &at);
    bool finished = WIFEXITED(c.status) && WEXITSTATUS(c.status) == 0;
    if (finished) ck_assert_msg(!strcmp(c.out, everything_printed), "allocation %ld: finished with %s%s", at, c.out, c.err);
    else {
        ck_assert_msg(!strncmp(c.out, everything_printed, strlen(c.out)), "allocation %ld: %s", at, c.out);
        ck_assert_msg(strstr(c.err, "MemoryError") != NULL, "allocation %ld: no word of memory, status %x: %s", at, c.status, c.err);
        ck_assert_msg((WIFEXITED(c.status) && WEXITSTATUS(c.status) == 1) || (WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGABRT),
                      "allocation %ld: status %x: %s", at, c.status, c.err);
    }
    child_free(c);
    return finished;
}

TEST(every_allocation_may_fail)
{
    long at = 1;
    int finished = 0;
    while (finished < 3) {
        finished = out_of_memory_at(at) ? finished + 1 : 0;
        at += SLOWED_DOWN ? 29 : 1;
        ck_assert_int_lt(at, 100000);
    }
    ck_assert_int_gt(at, 300);
}

static void child_memory_error(void)
{
    Value v = list(1, 2, 3);
    try { asyncio_fail_allocation(2); Value big = format("%100000d", 1); (void)big; } except (MemoryError, e) { print("caught", e); } end_try
    asyncio_fail_allocation(0);
    try {
        asyncio_fail_allocation(1);
        for (int i = 0; i < 100; i++) list_append(v, i);
    } except (MemoryError) { asyncio_fail_allocation(0); print("list whole", len(v), list_get(v, -1)); } end_try
    print("still here");
}

TEST(a_size_the_program_chose_raises_memory_error)
{
    Child c = child(child_memory_error);
    ck_lacks(c.err, "ERROR: AddressSanitizer");
    ck_assert_msg(WIFEXITED(c.status) || strstr(c.err, "MemoryError"), "%s", c.err);
    child_free(c);
}

/* ---- what ends with the loop ---- */

static void does_nothing(Value arg) { (void)arg; }
async_def(waits_for, (Future *) future) { return await(future); }

async_def(leaves_things_behind) {
    asyncio_create_task(asyncio_sleep(1000));
    asyncio_create_task(pool_of_workers());
    loop_call_later(asyncio_get_running_loop(), 1000, does_nothing, .arg = list("argument"));
    AsyncGenerator *gen = numbers(10);
    await(generator_anext(gen));
    Future *future = loop_create_future(asyncio_get_running_loop());
    asyncio_create_task(waits_for(future));
    await(asyncio_sleep(0.1));
    return list("result");
}

TEST(closing_lets_go_of_everything)
{
    size_t before = asyncio_live_objects();
    scope { ck_repr(asyncio_run(leaves_things_behind(), .virtual_clock = true), "['result']"); }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

static void no_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message); }

TEST(a_loop_closed_with_pending_tasks)
{
    size_t before = asyncio_live_objects();
    scope {
        Loop *loop = asyncio_new_event_loop();
        loop_set_virtual_clock(loop, true);
        loop_set_exception_handler(loop, no_report);
        ck_repr(loop_run_until_complete(loop, leaves_things_behind()), "['result']");
        loop_close(loop);
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    ck_assert_ptr_nonnull(strstr(notes_, "Task was destroyed but it is pending!"));
}

/* A server's millionth request: the memory of a long run does not grow. */
async_def(serves, (Queue *) requests, (Queue *) answers) {
    forever { Value request = await(queue_get(requests)); await(queue_put(answers, format("answer to %s", as_str(request)))); }
    return None;
}

ASYNC_TEST(a_long_run_holds_no_more_than_a_short_one)
{
    Queue *requests = asyncio_Queue(), *answers = asyncio_Queue(.maxsize = 1);
    Task *server = asyncio_create_task(serves(requests, answers));
    size_t after_some = 0;
    int n = SLOWED_DOWN ? 2000 : 100000, done = 0;
    forever {
        await(queue_put(requests, format("request %d", done)));
        Value answer = await(queue_get(answers));
        if (done % 1000 == 0) ck_assert_str_eq(as_str(answer), as_str(format("answer to request %d", done)));
        if (++done == 1000) after_some = asyncio_live_objects();
        if (done == n) break;
    }
    ck_assert_uint_le(asyncio_live_objects(), after_some + 2);
    task_cancel(server);
    return None;
}
