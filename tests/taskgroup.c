/* TaskGroup, as a C program meets it: blocks left in all ways, nests, crowds, base exceptions, groups of errors. */
#include "child.h"

#define MANY (SLOWED_DOWN ? 400 : 10000)

static double now(void) { return loop_time(asyncio_get_running_loop()); }

async_def(sleep_and_note, (double) delay, (const char *) name)
{
    try {
        await(asyncio_sleep(delay));
        note(name);
    } except (CancelledError) {
        note(name, "cancelled");
        rethrow;
    } end_try
    return V(name);
}

async_def(fail_after, (double) delay, (Value) e) { await(asyncio_sleep(delay)); throw(e); }

async_def(returns_from_inside)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, sleep_and_note(1, "child"));
        return V("returned");
    } end_with
    return None;
}

/* return leaves the block, but not before all its tasks are done. */
ASYNC_TEST(left_by_return)
{
    double before = now();
    Value result = await(returns_from_inside());
    ck_repr(result, "'returned'");
    ck_notes("child");
    ck_assert_double_eq_tol(now() - before, 1, 1e-6);
    return None;
}

ASYNC_TEST(left_by_break_and_continue)
{
    for (volatile int i = 0; i < 3; i++) {
        async_with (tg, asyncio_TaskGroup()) {
            taskgroup_create_task(tg, sleep_and_note(1, "child"));
            if (i == 0) continue;
            break;
        } end_with
    }
    ck_notes("child|child");
    return None;
}

async_def(returns_while_a_child_fails)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, fail_after(1, V(KeyError)));
        return V("lost");
    } end_with
    return None;
}

ASYNC_TEST(left_by_return_and_a_child_fails)
{
    ck_raises(ExceptionGroup, await(returns_while_a_child_fails()));
    ck_assert_int_eq(task_cancelling(asyncio_current_task()), 0);
    await(asyncio_sleep(1));
    return None;
}

ASYNC_TEST(an_empty_group)
{
    async_with (asyncio_TaskGroup()) {
        note("inside");
    } end_with
    ck_notes("inside");
    return None;
}

ASYNC_TEST(the_group_holds_its_tasks)
{
    async_with (tg, asyncio_TaskGroup()) {
        scope for (int i = 0; i < 3; i++) taskgroup_create_task(tg, sleep_and_note(1, "child"));
    } end_with
    ck_notes("child|child|child");
    return None;
}

ASYNC_TEST(ten_thousand_children)
{
    double before = now();
    async_with (tg, asyncio_TaskGroup()) {
        for (int i = 0; i < MANY; i++) taskgroup_create_task(tg, asyncio_sleep(i % 100));
    } end_with
    ck_assert_double_eq_tol(now() - before, 99, 1e-6);
    return None;
}

async_def(ten_thousand_failures)
{
    async_with (tg, asyncio_TaskGroup()) {
        for (int i = 0; i < MANY; i++) taskgroup_create_task(tg, fail_after(1, V(ValueError)));
    } end_with
    return None;
}

ASYNC_TEST(ten_thousand_children_that_fail)
{
    try {
        await(ten_thousand_failures());
        ck_abort();
    } except (ExceptionGroup, e) {
        ck_assert_int_eq(len(exception_exceptions(e)), MANY);
    } end_try
    return None;
}

async_def(nest, (int) depth, (Value) e)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, sleep_and_note(10, "sibling"));
        if (depth) await(nest(depth - 1, e));
        else await(fail_after(1, e));
    } end_with
    return None;
}

/* Each level wraps what comes out of the one below; all siblings are cancelled, from the inside out. */
ASYNC_TEST(three_groups_deep)
{
    try {
        await(nest(2, V(KeyError)));
        ck_abort();
    } except (ExceptionGroup, e) {
        ck_repr(e, "ExceptionGroup('unhandled errors in a TaskGroup', [ExceptionGroup('unhandled errors in a TaskGroup', "
                   "[ExceptionGroup('unhandled errors in a TaskGroup', [KeyError()])])])");
    } end_try
    ck_notes("sibling cancelled|sibling cancelled|sibling cancelled");
    return None;
}

async_def(many_kinds)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, fail_after(0, exception_new(ValueError, "one")));
        taskgroup_create_task(tg, fail_after(0, exception_new(KeyError, "two")));
        taskgroup_create_task(tg, fail_after(0, exception_new(ValueError, "three")));
        taskgroup_create_task(tg, fail_after(0, exception_new(OSError, "four")));
    } end_with
    return None;
}

ASYNC_TEST(except_star_takes_them_apart)
{
    try {
        try {
            await(many_kinds());
        } except_star (ValueError, e) {
            note("values", len(exception_exceptions(e)));
        } except_star (LookupError, e) {
            note("lookups", list_get(exception_exceptions(e), 0));
        } end_try
    } except (ExceptionGroup, rest) {
        note(repr(list_get(exception_exceptions(rest), 0)), len(exception_exceptions(rest)));
    } end_try
    ck_notes("values 2|lookups 'two'|OSError('four') 1");
    return None;
}

exception_class(Alarm, BaseException);

async_def(raises_base)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, sleep_and_note(10, "sibling"));
        taskgroup_create_task(tg, fail_after(1, V(Alarm)));
    } end_with
    return None;
}

ASYNC_TEST(a_base_exception_of_a_child)
{
    try {
        await(raises_base());
        ck_abort();
    } except (BaseExceptionGroup, e) {
        ck_assert(!isinstance(e, Exception));
        ck_repr(e, "BaseExceptionGroup('unhandled errors in a TaskGroup', [Alarm()])");
    } end_try
    ck_notes("sibling cancelled");
    return None;
}

async_def(body_exits, (const ExceptionClass *) class)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, sleep_and_note(10, "sibling"));
        await(asyncio_sleep(1));
        throw(class);
    } end_with
    return None;
}

/* SystemExit and KeyboardInterrupt of the body come out as they are, when all children are done. */
ASYNC_TEST(the_body_wants_out)
{
    ck_raises(SystemExit, await(body_exits(SystemExit)));
    ck_raises(KeyboardInterrupt, await(body_exits(KeyboardInterrupt)));
    ck_notes("sibling cancelled|sibling cancelled");
    return None;
}

async_def(resists, (int) times)
{
    for (volatile int i = 0; i < times; i++) {
        try {
            await(asyncio_sleep(5));
        } except (CancelledError) {
            note("no");
        } end_try
    }
    return None;
}

async_def(with_a_resisting_child)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, resists(2));
    } end_with
    return None;
}

/* The group waits for a child that will not be cancelled; a second cancel of the parent does not reach the children again. */
ASYNC_TEST(a_child_that_resists)
{
    double before = now();
    Task *task = asyncio_create_task(with_a_resisting_child());
    await(asyncio_sleep(1));
    task_cancel(task);
    await(asyncio_sleep(1));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_assert_double_eq_tol(now() - before, 6, 1e-6);
    ck_notes("no");
    return None;
}

async_def(adds_one, (TaskGroup *) tg, (int) left)
{
    await(asyncio_sleep(1));
    note(left);
    if (left) taskgroup_create_task(tg, adds_one(tg, left - 1));
    return None;
}

ASYNC_TEST(children_that_add_children)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, adds_one(tg, 3));
    } end_with
    ck_notes("3|2|1|0");
    return None;
}

async_def(group_in_group)
{
    async_with (outer, asyncio_TaskGroup()) {
        taskgroup_create_task(outer, sleep_and_note(4, "outer"));
        await(asyncio_sleep(1));
        async_with (inner, asyncio_TaskGroup()) {
            taskgroup_create_task(inner, sleep_and_note(2, "inner"));
            await(asyncio_sleep(1));
        } end_with
    } end_with
    return V("done");
}

ASYNC_TEST(cancelled_at_every_await)
{
    const char *const told[] = {"outer cancelled", "outer cancelled", "inner cancelled|outer cancelled", "inner cancelled|outer cancelled", "inner|outer cancelled", "inner|outer"};
    for (int at = 0; at <= 5; at++) scope {
        double before = now();
        Task *task = asyncio_create_task(group_in_group());
        await(asyncio_sleep(at - 0.5));
        bool asked = task_cancel(task);
        await(asyncio_wait(list(task)));
        ck_assert_int_eq(asked, at < 5);
        ck_assert_int_eq(task_cancelled(task), at < 5);
        ck_assert_double_eq_tol(now() - before, at ? at - 0.5 : 0, 1e-6);
        ck_notes(told[at]);
        ck_assert_int_eq(len(asyncio_all_tasks()), 1);
    }
    return None;
}

async_def(group_under_timeout)
{
    async_with (asyncio_timeout(1)) {
        async_with (tg, asyncio_TaskGroup()) {
            taskgroup_create_task(tg, sleep_and_note(5, "child"));
        } end_with
    } end_with
    return None;
}

ASYNC_TEST(inside_a_timeout)
{
    ck_raises(TimeoutError, await(group_under_timeout()));
    ck_notes("child cancelled");
    ck_assert_int_eq(task_cancelling(asyncio_current_task()), 0);
    return None;
}

ASYNC_TEST(a_refused_coroutine_is_closed)
{
    size_t before = asyncio_live_objects();
    scope {
        TaskGroup *tg = asyncio_TaskGroup();
        ck_raises(RuntimeError, taskgroup_create_task(tg, sleep_and_note(1, "never")));
        async_with (tg) { note("inside"); } end_with
        ck_raises(RuntimeError, taskgroup_create_task(tg, sleep_and_note(1, "never")));
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
    ck_notes("inside");
    return None;
}

ASYNC_TEST(eager_children)
{
    async_with (tg, asyncio_TaskGroup()) {
        Task *quick = taskgroup_create_task(tg, sleep_and_note(0, "quick"), .eager_start = true, .name = "eager");
        ck_assert_str_eq(task_get_name(quick), "eager");
        ck_repr(tg, "<TaskGroup tasks=1 entered>");
    } end_with
    ck_notes("quick");
    return None;
}

async_def(until, (int) i, (Event *) event)
{
    try { await(event_wait(event)); } except (CancelledError) { note("cancelled", i); rethrow; } end_try
    note("done", i);
    return None;
}

/* Its tasks end in another order than they began; the rest keep theirs. */
ASYNC_TEST(tasks_leave_from_the_middle)
{
    Event *events[6];
    try {
        async_with (tg, asyncio_TaskGroup()) {
            for (int i = 0; i < 6; i++) {
                events[i] = asyncio_Event();
                taskgroup_create_task(tg, until(i, events[i]));
            }
            for (int i = 3; i != 0; i = i == 3 ? 5 : 0) {
                event_set(events[i]);
                await(asyncio_sleep(1));
            }
            ck_repr(tg, "<TaskGroup tasks=4 entered>");
            event_set(events[0]);
            await(asyncio_sleep(1));
            throw(ValueError, "body");
        } end_with
    } except (ExceptionGroup, e) { note(len(exception_exceptions(e))); } end_try
    ck_notes("done 3|done 5|done 0|cancelled 1|cancelled 2|cancelled 4|1");
    return None;
}

/* A generator enters the block in one task and goes on in another, when the first has gone and its memory is somebody
 * else's. */
async_gen(groups_itself)
{
    async_with (tg, asyncio_TaskGroup()) {
        taskgroup_create_task(tg, fail_after(2, exception_new(ValueError, "child")), .name = "child");
        yield("entered");
        await(asyncio_sleep(9));
    } end_with
    return None;
}

async_def(takes_one, (AsyncGenerator *) gen) { note(await(generator_anext(gen))); return None; }
static void notes_report(Loop *loop, const ExceptionReport *report) { (void)loop; note((bool)(strstr(report->message, "has errored out but its parent task <Task finished name='first'") != NULL)); }

ASYNC_TEST(a_group_outlives_the_task_that_entered_it)
{
    loop_set_exception_handler(asyncio_get_running_loop(), notes_report);
    AsyncGenerator *gen = groups_itself();
    await(asyncio_create_task(takes_one(gen), .name = "first"));
    Value others = list();
    for (int i = 0; i < 3; i++) list_append(others, asyncio_create_task(sleep_and_note(5, "undisturbed")));
    await(asyncio_sleep(3));
    ck_notes("entered|True");
    await(asyncio_wait(others));
    ck_raises(ExceptionGroup, await(generator_anext(gen)));
    ck_notes("undisturbed|undisturbed|undisturbed");
    return None;
}

async_def(gives_its_group)
{
    TaskGroup *tg = asyncio_TaskGroup();
    async_with (tg) { taskgroup_create_task(tg, sleep_and_note(1, "child")); } end_with
    return V(tg);
}

ASYNC_TEST(a_group_that_has_failed_keeps_nothing)
{
    TaskGroup *tg = asyncio_TaskGroup();
    ck_raises(ExceptionGroup, async_with (tg) { throw(ValueError, "body"); } end_with);
    ck_repr(tg, "<TaskGroup cancelling>");
    ck_raises_text(RuntimeError, "TaskGroup <TaskGroup cancelling> is finished", taskgroup_create_task(tg, fail_after(1, None)));
    return None;
}

ASYNC_TEST(a_group_that_is_its_tasks_result)
{
    ck_repr(await(asyncio_create_task(gives_its_group())), "<TaskGroup entered>");
    ck_notes("child");
    return None;
}
