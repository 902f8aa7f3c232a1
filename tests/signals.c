/* Signal handlers run in the loop, as callbacks. */
#include "testing.h"
#include <signal.h>
#include <unistd.h>

static int came;
static void count_it(Value v) { came += (int)as_int(v); }
static void replaced(Value v) { (void)v; ck_abort_msg("the first handler was replaced"); }

async_def(until, (int) wanted) { while (came < wanted) await(asyncio_sleep(0.001)); return None; }

IO_TEST(a_signal_calls_its_handler_in_the_loop)
{
    Loop *loop = asyncio_get_running_loop();
    came = 0;
    loop_add_signal_handler(loop, SIGUSR1, count_it, V(1));
    kill(getpid(), SIGUSR1);
    ck_assert_int_eq(came, 0);                           /* not in the signal's own context */
    await(until(1));
    ck_assert(loop_remove_signal_handler(loop, SIGUSR1));
    ck_assert(!loop_remove_signal_handler(loop, SIGUSR1));
    return None;
}

IO_TEST(a_signal_wakes_a_loop_that_sleeps)
{
    Loop *loop = asyncio_get_running_loop();
    came = 0;
    loop_add_signal_handler(loop, SIGALRM, count_it, V(1));
    ualarm(2000, 0);
    double began = loop_time(loop);
    Task *sleeper = asyncio_create_task(asyncio_sleep(3600));
    await(until(1));
    ck_assert(loop_time(loop) - began < 60);
    task_cancel(sleeper);
    loop_remove_signal_handler(loop, SIGALRM);
    return None;
}

IO_TEST(a_second_handler_replaces_the_first)
{
    Loop *loop = asyncio_get_running_loop();
    came = 0;
    loop_add_signal_handler(loop, SIGUSR1, replaced);
    loop_add_signal_handler(loop, SIGUSR1, count_it, V(10));
    kill(getpid(), SIGUSR1);
    await(until(10));
    loop_remove_signal_handler(loop, SIGUSR1);
    return None;
}

IO_TEST(two_signals_call_two_handlers)
{
    Loop *loop = asyncio_get_running_loop();
    came = 0;
    loop_add_signal_handler(loop, SIGUSR1, count_it, V(1));
    loop_add_signal_handler(loop, SIGUSR2, count_it, V(100));
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    await(until(101));
    loop_remove_signal_handler(loop, SIGUSR1);
    loop_remove_signal_handler(loop, SIGUSR2);
    return None;
}

static void write_down(Value name) { list_append(list_get(name, 0), list_get(name, 1)); came++; }

IO_TEST(each_signal_calls_its_handler_in_the_order_in_which_they_came)
{
    Loop *loop = asyncio_get_running_loop();
    Value names = list();
    came = 0;
    loop_add_signal_handler(loop, SIGUSR1, write_down, .arg = tuple(names, "one"));
    loop_add_signal_handler(loop, SIGTERM, write_down, .arg = tuple(names, "term"));
    raise(SIGTERM);
    raise(SIGUSR1);
    raise(SIGTERM);
    raise(SIGTERM);
    await(until(4));
    ck_repr(names, "['term', 'one', 'term', 'term']");
    for (int i = 0; i < 300; i++) raise(SIGUSR1);        /* more than are kept: the loop goes on with the last ones */
    raise(SIGTERM);
    await(until(4 + 256));
    ck_assert_str_eq(as_str(list_get(names, -1)), "term");
    raise(SIGUSR1);
    await(until(4 + 257));
    loop_remove_signal_handler(loop, SIGUSR1);
    loop_remove_signal_handler(loop, SIGTERM);
    return None;
}

IO_TEST(bad_signals_are_refused)
{
    Loop *loop = asyncio_get_running_loop();
    ck_raises(ValueError, loop_add_signal_handler(loop, 0, count_it));
    ck_raises(ValueError, loop_add_signal_handler(loop, 1000, count_it));
    ck_raises_text(RuntimeError, "sig 9 cannot be caught", loop_add_signal_handler(loop, SIGKILL, count_it));
    ck_raises(TypeError, loop_add_signal_handler(loop, SIGUSR1, NULL));
    return None;
}

async_def(adds_a_handler) { loop_add_signal_handler(asyncio_get_running_loop(), SIGUSR1, count_it); return None; }

TEST(closing_the_loop_takes_its_handlers_away)
{
    struct sigaction action;
    asyncio_run(adds_a_handler());
    sigaction(SIGUSR1, NULL, &action);
    ck_assert(action.sa_handler == SIG_DFL);
}

async_def(listens) { loop_add_signal_handler(asyncio_get_running_loop(), SIGUSR1, count_it, V(1)); return None; }

/* What came for a loop that has closed is not for the next one. */
TEST(a_signal_that_nobody_has_looked_at_goes_with_its_loop)
{
    came = 0;
    scope {
        Loop *first = asyncio_new_event_loop(), *second = asyncio_new_event_loop();
        loop_run_until_complete(first, listens());
        raise(SIGUSR1);
        loop_close(first);
        loop_run_until_complete(second, listens());
        raise(SIGUSR1);
        loop_run_until_complete(second, until(1));
        for (int i = 0; i < 3; i++) loop_run_until_complete(second, asyncio_sleep(0));
        loop_close(second);
    }
    ck_assert_int_eq(came, 1);
}

static void note_signal(Value v) { (void)v; note("signal"); }
async_def(counts) { for (int i = 0; i < 4; i++) { note(i); await(asyncio_sleep(0)); } return None; }

/* One round takes what came, the next calls: whoever is ready goes first, as in CPython. */
IO_TEST(a_handler_is_called_in_the_round_after_its_signal_was_seen)
{
    loop_add_signal_handler(asyncio_get_running_loop(), SIGUSR1, note_signal);
    Task *task = asyncio_create_task(counts());
    kill(getpid(), SIGUSR1);
    await(task);
    ck_notes("0|1|signal|2|3");
    return None;
}
