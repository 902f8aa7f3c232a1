/* Lesson 15: tasks that belong together: all end, or none goes on. */
#include "asyncio.h"

async_def(step_, (const char *) name, (double) seconds, (const ExceptionClass *) failure)
{
    try {
        await(asyncio_sleep(seconds));
    } except (CancelledError) {
        print(name, "is cancelled");
        if (failure) throw(failure, "%s failed while stopping", name);
        rethrow;
    } end_try
    if (failure) throw(failure, "%s failed", name);
    print(name, "is done");
    return V(name);
}

async_def(with_failures)
{
    try {
        async_with (group, asyncio_TaskGroup()) {
            taskgroup_create_task(group, step_("plan", 0.1, NULL));
            taskgroup_create_task(group, step_("dig", 0.2, ValueError));
            taskgroup_create_task(group, step_("pump", 0.4, OSError));
            await(asyncio_sleep(9));
            print("never printed");
        } end_with
    } except_star (ValueError, errors) {
        print("value errors:", exception_exceptions(errors));
    } except_star (OSError, errors) {
        print("OS errors:", exception_exceptions(errors));
    } end_try
    return None;
}

async_def(main_)
{
    print("all goes well");
    Value tasks = list();
    async_with (group, asyncio_TaskGroup()) {
        list_append(tasks, taskgroup_create_task(group, step_("plan", 0.2, NULL), .name = "plan"));
        list_append(tasks, taskgroup_create_task(group, step_("build", 0.1, NULL), .name = "build"));
        print("two steps on their way");
    } end_with
    for_in (task, tasks) print(task_get_name(as_task(task)), "gave", task_result(as_task(task)));

    print("one fails, and one more while it is being stopped");
    await(with_failures());

    print("one is not expected");
    try {
        try {
            async_with (group, asyncio_TaskGroup()) {
                taskgroup_create_task(group, step_("dig", 0.1, KeyError));
            } end_with
        } except_star (ValueError, errors) {
            print("not this one", errors);
        } end_try
    } except (ExceptionGroup, group) {
        print(group);
        print("inside:", list_get(exception_exceptions(group), 0));
    } end_try

    print("a group by hand, taken apart");
    Value cellar = exception_group("cellar", list(exception_new(ValueError, "too deep"), exception_new(OSError, "wet")));
    Value house = exception_group("house", list(cellar, exception_new(ValueError, "too high"))), rest;
    Value match = exception_split(house, ValueError, &rest);
    print("match:", repr(match));
    print("rest:", repr(rest));
    return None;
}

int main(void) { asyncio_run(main_()); }
