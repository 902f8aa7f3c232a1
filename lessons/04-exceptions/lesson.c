/* Lesson 04: how does an exception find its way out of a coroutine, and what must be volatile? */
#include "asyncio.h"

exception_class(OutOfMilk, LookupError);

async_def(pour, (int) cups)
{
    await(asyncio_sleep(0.1));
    if (cups > 2) throw(OutOfMilk, "only 2 cups left, %d wanted", cups);
    return format("%d cups", cups);
}

async_def(breakfast, (int) cups)
{
    try {
        print("poured", await(pour(cups)));
    } finally {
        print("put the milk back");
    } end_try
    return None;
}

async_def(main_)
{
    await(breakfast(2));

    try {
        await(breakfast(5));
        print("never printed");
    } except (LookupError, e) {
        print(value_type(e), "-", e);
    } end_try

    /* A task keeps its exception until somebody asks for it. */
    Task *task = asyncio_create_task(pour(9));
    await(asyncio_sleep(0.2));
    print("the task failed:", repr(task_exception(task)));
    try {
        await(task);
    } except (OutOfMilk, e) {
        print("await raises the same:", e);
    } end_try

    /* A local variable that changes inside try and is read after an exception must be volatile. */
    volatile int attempts = 0;
    try {
        forever {
            attempts++;
            await(pour(attempts));
        }
    } except (OutOfMilk) {
        print("failed at attempt", (int)attempts);
    } end_try

    try {
        try {
            throw(ValueError, "sour");
        } except (ValueError, e) {
            throw_from(e, RuntimeError, "no breakfast");
        } end_try
    } except (RuntimeError, e) {
        print(repr(e), "because of", repr(exception_cause(e)));
    } end_try

    try {
        try {
            throw(KeyError, "cup");
        } except (KeyError) {
            throw(ValueError, "no cup");
        } end_try
    } except (ValueError, e) {
        exception_add_note(e, "it was early in the morning");
        print(repr(e), "while handling", repr(exception_context(e)), "- notes:", exception_notes(e));
    } end_try
    return None;
}

int main(void) { asyncio_run(main_()); }
