/* Lesson 22: a function blocks. How does the loop go on meanwhile, and how does a thread reach it? */
#include "asyncio.h"
#include <pthread.h>
#include <unistd.h>

static int ends[2];  /* a pipe: who reads from it blocks until somebody has written */
static ContextVar *user;
static Loop *loop;
static Queue *news;
static pthread_t loop_thread;

static Value read_blocking(Value fd)
{
    char data[100];
    ssize_t n = read((int)as_int(fd), data, sizeof data);
    return bytes(data, (size_t)n);
}

static void write_text(const char *text)
{
    if (write(ends[1], text, 4) != 4) throw(OSError, "the pipe is broken");
}

async_def(tick)
{
    for (int i = 1; i <= 3; i++) {
        await(asyncio_sleep(0.1));
        print("  tick", i);
    }
    write_text("done");
    return V("ticked");
}

static Value fail(Value what) { throw(ValueError, "no such %s", as_str(what)); return None; }

static Value who_am_i(Value unused)
{
    (void)unused;
    Value name = contextvar_get(user);
    contextvar_set(user, "nobody");
    return name;
}

static void deliver(Value item) { queue_put_nowait(news, item); }

static Value report(Value last)
{
    for (int i = 1; i <= as_int(last); i++) loop_call_soon_threadsafe(loop, deliver, .arg = V(i));
    return V("all reported");
}

async_def(multiply, (int) a, (int) b)
{
    await(asyncio_sleep(0.1));
    bool here = pthread_equal(pthread_self(), loop_thread);
    print("  multiply() runs in the loop's thread:", here);
    return V(a * b);
}

static Value ask_the_loop(Value unused)
{
    (void)unused;
    bool here = pthread_equal(pthread_self(), loop_thread);
    print("  ask_the_loop() runs in the loop's thread:", here);
    ThreadFuture *answer = asyncio_run_coroutine_threadsafe(multiply(6, 7), loop);
    return threadfuture_result(answer);  /* blocks this thread, not the loop */
}

async_def(main_)
{
    loop = asyncio_get_running_loop();
    loop_thread = pthread_self();
    if (pipe(ends) < 0) throw(OSError, "no pipe");

    print("a thread blocks, the loop goes on");
    Value both = await(asyncio_gather(asyncio_to_thread(read_blocking, V(ends[0])), tick()));
    print(" ", both);

    print("what the function raises arrives at the await");
    try {
        await(asyncio_to_thread(fail, V("file")));
    } except (ValueError, e) {
        print("  ValueError:", e);
    } end_try

    print("context variables go along, as a copy");
    user = context_var("user", .default_value = V("nobody"));
    contextvar_set(user, "anna");
    print("  in the thread:", await(asyncio_to_thread(who_am_i)), "- afterwards here:", contextvar_get(user));

    print("from a thread into the loop: call_soon_threadsafe");
    news = asyncio_Queue();
    Task *reporter = asyncio_create_task(asyncio_to_thread(report, V(3)));
    for (int i = 0; i < 3; i++) print("  news", await(queue_get(news)));
    print(" ", await(reporter));

    print("from a thread into a coroutine: run_coroutine_threadsafe");
    print("  answer:", await(asyncio_to_thread(ask_the_loop)));

    print("a timeout ends the waiting, not the thread");
    try {
        await(asyncio_wait_for(asyncio_to_thread(read_blocking, V(ends[0])), 0.2));
    } except (TimeoutError) {
        print("  time is up, and the thread still reads");
    } end_try
    write_text("over");
    return None;
}

int main(void)
{
    asyncio_run(main_());
    print("asyncio_run has waited for the thread");
}
