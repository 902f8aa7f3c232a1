/* Lesson 20: the program hangs, or an error has disappeared. Who waits for whom, and where is it? */
#include "asyncio.h"
#include <unistd.h>

async_def(transfer, (Lock *) from, (Lock *) to)
{
    async_with (from) {
        await(asyncio_sleep(0.1));
        async_with (to) {
            print("never printed");
        } end_with
    } end_with
    return None;
}

async_def(forgotten)
{
    throw(ValueError, "nobody looks at me");
    return None;
}

static void report(Loop *loop, const ExceptionReport *what)
{
    (void)loop;
    print("  handler:", what->message, "-", repr(what->exception));
}

static void show_tasks(void)
{
    for_in (task, asyncio_all_tasks()) {
        if (as_task(task) == asyncio_current_task()) continue;
        Value innermost = list_get(task_get_stack(as_task(task)), -1);
        print("  ", task_get_name(as_task(task)), "stands in", list_get(innermost, 0));
    }
}

async_def(lost_errors)
{
    loop_set_exception_handler(asyncio_get_running_loop(), report);
    print("a task fails and nobody asks");
    scope {
        asyncio_create_task(forgotten());
        await(asyncio_sleep(0.1));
    }
    Value trouble = exception_new(OSError, "the disk is nearly full");
    loop_call_exception_handler(asyncio_get_running_loop(), &(ExceptionReport){.message = "a report of our own", .exception = trouble});
    loop_set_exception_handler(asyncio_get_running_loop(), NULL);
    return None;
}

static void block(Value unused) { (void)unused; usleep(60000); }

async_def(blocked_loop)
{
    Loop *loop = asyncio_get_running_loop();
    loop_set_debug(loop, true);
    loop_set_slow_callback_duration(loop, 0.05);
    print("a callback blocks the loop; debug mode:", loop_get_debug(loop));
    loop_call_soon(loop, block);
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));  /* what debug mode says about it is on stderr */
    loop_set_debug(loop, false);
    return None;
}

/* A house is built when the permit is there; two families wait to move in. */

async_def(dig, (Future *) permit) { return await(permit); }
async_def(build, (Future *) permit) { return await(dig(permit)); }
async_def(move_in, (Task *) house) { return await(house); }

static void show_graph(Value graph, int level)
{
    Value task, frames, awaited_by, functions = list();
    unpack(graph, &task, &frames, &awaited_by);
    for_in (frame, frames) list_append(functions, list_get(frame, 0));
    print(format("%*s%s is in", 2 + 2 * level, "", task_get_name(as_task(task))), functions);
    for_in (each, awaited_by) show_graph(each, level + 1);
}

async_def(call_graph)
{
    print("who awaits whom, from the bottom up");
    Future *permit = loop_create_future(asyncio_get_running_loop());
    Task *house = asyncio_create_task(build(permit), .name = "house");
    Task *cora = asyncio_create_task(move_in(house), .name = "cora");
    Task *dora = asyncio_create_task(move_in(house), .name = "dora");
    await(asyncio_sleep(0));
    show_graph(asyncio_capture_call_graph(.future = house), 0);
    future_set_result(permit, "granted");
    await(asyncio_gather(cora, dora));
    return None;
}

async_def(main_)
{
    await(lost_errors());
    await(blocked_loop());
    await(call_graph());

    print("two tasks wait for each other");
    Lock *left = asyncio_Lock(), *right = asyncio_Lock();
    Task *anna = asyncio_create_task(transfer(left, right), .name = "anna");
    Task *bert = asyncio_create_task(transfer(right, left), .name = "bert");
    await(asyncio_sleep(0.2));
    show_tasks();
    print("  left is locked:", lock_locked(left), "- right is locked:", lock_locked(right));
    task_print_stack(anna, .file = stderr);
    asyncio_print_call_graph(.future = anna, .file = stderr);
    await(asyncio_gather(anna, bert));  /* Python would hang here for ever */
    return None;
}

int main(void)
{
    try {
        asyncio_run(main_());
    } except (DeadlockError, e) {
        print("deadlock");
        fprintf(stderr, "%s\n", as_str(str(e)));
    } end_try
}
