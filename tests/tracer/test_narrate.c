/* The sentences: each kind of event has one, and those that matter most are checked word by word. */
#include "helper.h"
#include "history.h"
#include "narrate.h"

static History h;
static Model m;                                   /* where the last question left it */
static Said said;

static void setup(void) { history_init(&h); model_init(&m); }
static void teardown(void) { model_free(&m); history_free(&h); said_free(&said); intern_free(); }

static void load(const char *name) {
    char *path = recording(name);
    ck_assert_msg(history_load(&h, path, NULL), "%s", h.log.refused);
    free(path);
}

/* A trace written by hand: its events after the first. */
#define TOLD(...) told((const char *const[]) {BEGIN, __VA_ARGS__, NULL})
static void told(const char *const *lines) {
    for (; *lines; lines++)
        history_line(&h, *lines, strlen(*lines));
}

static char *at(size_t k) {
    history_seek(&h, &m, k);
    narrate(&said, &m, &h.log);
    return xformat("%s|%s|%s", buf_text(&said.what), buf_text(&said.why), buf_text(&said.wake));
}

static bool is_kind(const Event *e, void *with) { return e->kind == *(EventKind *) with; }

static void expect(EventKind kind, int which, const char *words) {
    size_t k = 0;
    for (int i = 0; i < which; i++)
        ck_assert_msg(k = history_find(&h, k, +1, is_kind, &kind), "there are only %d of %s", i, event_name(kind));
    char *text = at(k);
    ck_assert_msg(strstr(text, words), "step %zu says:\n%s\nand lacks:\n%s", k, text, words);
    free(text);
}

START_TEST(before_the_first_step) {
    char *text = at(0);
    ck_assert_ptr_nonnull(strstr(text, "Nothing has happened yet."));
    free(text);
} END_TEST

START_TEST(a_sleep) {
    load("speakers");
    expect(EV_TASK_WAIT, 2, "Task 'Task-2' reaches await sleep(0.3) at speakers.c:7 and lets go of the loop.");
    expect(EV_TASK_WAIT, 2, "Who can wake 'Task-2' now: the timer due at +0.3");
    expect(EV_TASK_WAIT, 1, "Who can wake 'Task-1' now: the last to finish among the 3 unfinished children of gather #");
    expect(EV_TASK_WAIT, 1, "'Task-2', 'Task-3', 'Task-4'.");
    expect(EV_TIMER_ARM, 1, "Task 'Task-2' arms a timer for 0.300 s from now");
    expect(EV_TIMER_DUE, 1, "Task 'Task-3' had armed it.");
    expect(EV_TASK_DONE, 1, "finishes and returns 1.");
} END_TEST

START_TEST(a_deadlock) {
    load("deadlock");
    expect(EV_LOOP_DEADLOCK, 1, "Deadlock: nothing is ready, no timer is set, and nobody outside can wake this loop.");
    expect(EV_LOOP_DEADLOCK, 1, "'there' waits for 'back' and 'back' waits for 'there': a circle.");
    expect(EV_TRACE_END, 1, "It was a deadlock, at step ");
} END_TEST

START_TEST(a_deadlock_without_a_circle) {
    TOLD(
        EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"alone\",\"coro\":\"f\",\"parent\":0"),
        EVENT(3, "task.wait", 2, 1, ",\"task\":1,\"on\":9,\"what\":\"event.wait()\",\"kind\":\"wait\""),
        EVENT(4, "loop.deadlock", 3, 0, ""));
    expect(EV_LOOP_DEADLOCK, 1, "'alone' waits for event.wait(): no task is left that could wake them.");
} END_TEST

/* Three tasks; the first awaits the second, that a gather of the third, and that the lock that the first one holds. */
#define IN_A_CIRCLE \
    EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"a\",\"coro\":\"f\",\"parent\":0"), \
    EVENT(3, "task.create", 1, 0, ",\"task\":2,\"label\":\"b\",\"coro\":\"f\",\"parent\":0"), \
    EVENT(4, "task.create", 1, 0, ",\"task\":3,\"label\":\"c\",\"coro\":\"f\",\"parent\":0"), \
    EVENT(5, "task.wait", 2, 1, ",\"task\":1,\"on\":2,\"what\":\"task 'b'\",\"kind\":\"wait\""), \
    EVENT(6, "object.make", 3, 2, ",\"id\":9,\"type\":\"gather\",\"label\":\"gather #9\",\"state\":\"pending\",\"children\":[3]"), \
    EVENT(7, "task.wait", 4, 2, ",\"task\":2,\"on\":9,\"what\":\"gather of 1\",\"kind\":\"wait\""), \
    EVENT(8, "object.make", 5, 1, ",\"id\":8,\"type\":\"Lock\",\"label\":\"Lock #8\",\"state\":\"locked\",\"holder\":1," \
          "\"waiters\":[{\"task\":3,\"as\":\"waiter\"}]"), \
    EVENT(9, "task.wait", 6, 3, ",\"task\":3,\"on\":8,\"what\":\"lock.acquire()\",\"kind\":\"wait\"")

START_TEST(a_circle_by_way_of_a_gather_and_a_lock) {
    TOLD(IN_A_CIRCLE, EVENT(10, "loop.deadlock", 7, 0, ""));
    expect(EV_TASK_WAIT, 2, "Who can wake 'b' now: the last unfinished child of gather #9: 'c'.");
    expect(EV_TASK_WAIT, 3, "which holds Lock #8 and must release it; but 'c' waits for 'a', 'a' waits for 'b' and 'b' waits for 'c': "
                            "a circle, which only a cancellation or a timeout can break.");
    expect(EV_LOOP_DEADLOCK, 1, "'a' waits for 'b', 'b' waits for 'c' and 'c' waits for 'a': a circle. Python would hang");
} END_TEST

START_TEST(a_circle_while_the_loop_turns_for_others) {
    TOLD(IN_A_CIRCLE, EVENT(10, "select.enter", 7, 0, ",\"timeout\":0.5,\"fds\":[]"));
    expect(EV_SELECT_ENTER, 1, "Meanwhile 'a' waits for 'b', 'b' waits for 'c' and 'c' waits for 'a': a circle.");
} END_TEST

START_TEST(who_holds_the_lock_it_wants) {
    TOLD(EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"a\",\"coro\":\"f\",\"parent\":0"),
         EVENT(3, "object.make", 2, 1, ",\"id\":8,\"type\":\"Lock\",\"label\":\"Lock #8\",\"state\":\"locked\",\"holder\":1,"
               "\"waiters\":[{\"task\":1,\"as\":\"waiter\"}]"),
         EVENT(4, "task.wait", 3, 1, ",\"task\":1,\"on\":8,\"what\":\"lock.acquire()\",\"kind\":\"wait\""),
         EVENT(5, "loop.deadlock", 4, 0, ""));
    expect(EV_TASK_WAIT, 1, "nobody: it holds Lock #8 itself, and cannot release it while it waits.");
    expect(EV_LOOP_DEADLOCK, 1, "'a' waits for itself.");
} END_TEST

START_TEST(a_loop_that_hangs_on_the_world_outside) {
    TOLD(EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"a\",\"coro\":\"f\",\"parent\":0"),
         EVENT(3, "object.make", 2, 1, ",\"id\":5,\"type\":\"Process\",\"label\":\"Process #5\",\"state\":\"running\",\"note\":\"cat\""),
         EVENT(4, "object.make", 3, 1, ",\"id\":6,\"type\":\"Stream\",\"label\":\"Stream #6\",\"state\":\"open\",\"fd\":7,"
               "\"note\":\"stdin of Process #5\""),
         EVENT(5, "task.wait", 4, 1, ",\"task\":1,\"on\":5,\"what\":\"process.wait()\",\"kind\":\"io\""),
         EVENT(6, "select.enter", 5, 0, ",\"timeout\":null,\"fds\":[{\"fd\":9,\"for\":\"read\"}]"));
    expect(EV_SELECT_ENTER, 1, "Only the outside world can wake it now: 'a' waits for process.wait().");
    expect(EV_SELECT_ENTER, 1, "Who can wake 'a' now: the end of Process #5 (cat), of which select() tells; its stdin, Stream #6, is still "
                               "open, and it may be waiting for more.");
} END_TEST

START_TEST(why_a_task_wakes) {
    TOLD(EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"a\",\"coro\":\"f\",\"parent\":0"),
         EVENT(3, "object.make", 2, 1, ",\"id\":8,\"type\":\"Queue\",\"label\":\"Queue #8\",\"state\":\"0 items\",\"items\":[],\"unfinished\":2"),
         EVENT(4, "task.wait", 3, 1, ",\"task\":1,\"on\":8,\"what\":\"queue.get()\",\"kind\":\"wait\""),
         EVENT(5, "task.wake", 4, 0, ",\"task\":1,\"by\":0,\"via\":8"), EVENT(6, "task.run", 5, 1, ",\"task\":1,\"why\":\"wake\""),
         EVENT(7, "task.wait", 6, 1, ",\"task\":1,\"on\":8,\"what\":\"queue.get()\",\"kind\":\"wait\""),
         EVENT(8, "task.cancel", 7, 0, ",\"task\":1,\"by\":0"), EVENT(9, "task.wake", 8, 0, ",\"task\":1,\"by\":0,\"via\":8"));
    expect(EV_TASK_WAKE, 1, "The loop wakes Task 'a': there is an item in Queue #8.");
    expect(EV_TASK_WAKE, 2, "The loop wakes Task 'a': it is asked to cancel.");
} END_TEST

START_TEST(a_callback_is_an_actor_too) {
    TOLD(EVENT(2, "object.make", 1, 0, ",\"id\":8,\"type\":\"Queue\",\"label\":\"Queue #8\",\"state\":\"0 items\",\"items\":[],\"unfinished\":0"),
         EVENT(3, "handle.run", 2, 0, ",\"handle\":4,\"what\":\"on_wish\",\"task\":0,\"of\":0"),
         EVENT(4, "object.change", 3, 0, ",\"id\":8,\"type\":\"Queue\",\"label\":\"Queue #8\",\"state\":\"1 item\",\"items\":[\"7\"],"
               "\"unfinished\":1,\"why\":\"put 7\""),
         EVENT(5, "object.make", 4, 0, ",\"id\":9,\"type\":\"Event\",\"label\":\"Event #9\",\"state\":\"clear\""),
         EVENT(6, "object.change", 5, 0, ",\"id\":9,\"type\":\"Event\",\"label\":\"Event #9\",\"state\":\"set\",\"why\":\"set\""),
         EVENT(7, "handle.end", 6, 0, ",\"handle\":4"));
    expect(EV_OBJECT_MAKE, 1, "Queue #8 now exists: 0 items.");
    expect(EV_OBJECT_CHANGE, 1, "The callback on_wish puts 7 into Queue #8.");
    expect(EV_OBJECT_MAKE, 2, "The callback on_wish makes Event #9: clear.");
    expect(EV_OBJECT_CHANGE, 2, "The callback on_wish sets Event #9.|");
} END_TEST

START_TEST(how_much_is_left) {
    TOLD(EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"Task-1\",\"coro\":\"f\",\"parent\":0"),
         EVENT(3, "task.name", 2, 1, ",\"task\":1,\"label\":\"anna\""),
         EVENT(4, "task.create", 3, 1, ",\"task\":2,\"label\":\"b\",\"coro\":\"f\",\"parent\":1"),
         EVENT(5, "task.create", 4, 1, ",\"task\":3,\"label\":\"c\",\"coro\":\"f\",\"parent\":1"),
         EVENT(6, "object.make", 5, 1, ",\"id\":9,\"type\":\"gather\",\"label\":\"gather #9\",\"state\":\"pending\",\"children\":[2,3]"),
         EVENT(7, "task.done", 6, 2, ",\"task\":2,\"state\":\"done\""),
         EVENT(8, "object.change", 7, 0, ",\"id\":9,\"type\":\"gather\",\"label\":\"gather #9\",\"state\":\"pending\","
               "\"why\":\"one of its children is done\""),
         EVENT(9, "object.change", 8, 1, ",\"id\":10,\"type\":\"Queue\",\"label\":\"Queue #10\",\"state\":\"0 items\",\"items\":[],"
               "\"unfinished\":1,\"why\":\"a task is done\""),
         EVENT(10, "object.change", 9, 1, ",\"id\":11,\"type\":\"Semaphore\",\"label\":\"Semaphore #11\",\"state\":\"value 2\",\"why\":\"released\""));
    expect(EV_TASK_NAME, 1, "Task 'Task-1' is now called 'anna'.");
    expect(EV_OBJECT_CHANGE, 1, "gather #9: one of its children is done; 1 of 2 is still to come.");
    expect(EV_OBJECT_CHANGE, 2, "Task 'anna' reports an item of Queue #10 as done; 1 unfinished item is left.");
    expect(EV_OBJECT_CHANGE, 3, "Task 'anna' releases Semaphore #11; its value is now 2.");
} END_TEST

START_TEST(a_deadlock_that_was_handled) {
    TOLD(EVENT(2, "loop.deadlock", 1, 0, ""), EVENT(3, "loop.stop", 1, 0, ""), EVENT(4, "trace.end", 2, 0, ",\"status\":0"));
    expect(EV_LOOP_STOP, 1, "DeadlockError leaves it.");
    expect(EV_TRACE_END, 1, "The deadlock of step 2 was handled.");
} END_TEST

START_TEST(an_eager_task) {
    TOLD(
        EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"main\",\"coro\":\"f\",\"parent\":0,\"eager\":false"),
        EVENT(3, "task.run", 2, 1, ",\"task\":1,\"why\":\"start\",\"func\":\"f\""),
        EVENT(4, "task.create", 3, 1, ",\"task\":2,\"label\":\"quick\",\"coro\":\"g\",\"parent\":1,\"eager\":true"),
        EVENT(5, "task.run", 4, 2, ",\"task\":2,\"why\":\"start\",\"func\":\"g\""),
        EVENT(6, "task.wait", 5, 2, ",\"task\":2,\"on\":9,\"what\":\"event.wait()\",\"kind\":\"wait\""),
        EVENT(7, "task.wait", 6, 1, ",\"task\":1,\"on\":2,\"what\":\"task 'quick'\",\"kind\":\"wait\""));
    expect(EV_TASK_CREATE, 1, "Nothing of it runs yet");
    expect(EV_TASK_CREATE, 2, "It is an eager one: it begins at once");
    expect(EV_TASK_RUN, 2, "Task 'quick', in the middle of this step of Task 'main', starts to run g()");
    expect(EV_TASK_WAIT, 1, "Task 'main', in the middle of whose step it began, goes on.");
    expect(EV_TASK_WAIT, 2, "The ready queue is empty now.");
} END_TEST

START_TEST(children_that_are_no_tasks) {
    TOLD(
        EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"t\",\"coro\":\"f\",\"parent\":0"),
        EVENT(3, "object.make", 2, 1, ",\"id\":5,\"type\":\"Thread\",\"label\":\"Thread #5\",\"state\":\"running\""),
        EVENT(4, "object.make", 3, 1, ",\"id\":6,\"type\":\"Thread\",\"label\":\"Thread #6\",\"state\":\"running\""),
        EVENT(5, "object.make", 4, 1, ",\"id\":7,\"type\":\"gather\",\"label\":\"gather #7\",\"state\":\"pending\",\"children\":[5,6]"),
        EVENT(6, "task.wait", 5, 1, ",\"task\":1,\"on\":7,\"what\":\"gather of 2\",\"kind\":\"wait\""),
        EVENT(7, "object.change", 6, 0, ",\"id\":5,\"type\":\"Thread\",\"label\":\"Thread #5\",\"state\":\"finished\""),
        EVENT(8, "task.run", 7, 1, ",\"task\":1,\"why\":\"wake\""),
        EVENT(9, "task.wait", 8, 1, ",\"task\":1,\"on\":7,\"what\":\"gather of 2\",\"kind\":\"wait\""));
    expect(EV_TASK_WAIT, 1, "the last to finish among the 2 unfinished children of gather #7: Thread #5, Thread #6.");
    expect(EV_TASK_WAIT, 2, "the last unfinished child of gather #7: Thread #6.");
} END_TEST

START_TEST(exceptions_raised_and_handled) {
    TOLD(
        EVENT(2, "task.create", 1, 0, ",\"task\":1,\"label\":\"t\",\"coro\":\"f\",\"parent\":0"),
        EVENT(3, "exception.raise", 2, 1, ",\"task\":1,\"file\":\"/x/a.c\",\"line\":5,\"func\":\"f\",\"exception\":\"KeyError('k')\""),
        EVENT(4, "exception.handle", 3, 1, ",\"task\":1,\"file\":\"/x/a.c\",\"line\":2,\"exception\":\"KeyError('k')\""),
        EVENT(5, "exception.raise", 4, 1, ",\"task\":1,\"file\":\"/x/a.c\",\"line\":7,\"func\":\"f\",\"exception\":\"ValueError('v')\",\"context\":\"KeyError('k')\""),
        EVENT(6, "exception.raise", 5, 0, ",\"task\":0,\"file\":\"/x/a.c\",\"line\":8,\"exception\":\"E()\",\"context\":\"D()\",\"cause\":\"C()\""));
    expect(EV_EXCEPTION_RAISE, 1, "Task 't' raises KeyError('k') at a.c:5.");
    expect(EV_EXCEPTION_HANDLE, 1, "Task 't' handles KeyError('k') in an except of the try at a.c:2.");
    expect(EV_EXCEPTION_RAISE, 2, "Task 't' raises ValueError('v') at a.c:7, while it handles KeyError('k').");
    expect(EV_EXCEPTION_RAISE, 3, "The program raises E() at a.c:8, because of C().");
    ck_assert_int_eq(h.log.places.at[h.tail.place].line, 8);
} END_TEST

static bool is_long_select(const Event *e, void *with) {
    Open open = event_open(e);
    bool good = e->kind == EV_SELECT_ENTER && arg_number(open.args, "timeout", 0) > *(double *) with;
    event_close(&open);
    return good;
}

START_TEST(the_loop_sleeps) {
    load("speakers");
    size_t k = history_find(&h, 0, +1, is_long_select, &(double) {0.05});
    char *text = at(k);
    ck_assert_msg(strstr(text, "The loop has nothing ready. The next timer is due in ") &&
                  strstr(text, "(Task 'Task-3'), so it sleeps in select() for that long."), "%s", text);
    free(text);
} END_TEST

START_TEST(a_timeout_that_hits) {
    load("waitfor");
    expect(EV_TASK_WAIT, 2, "Who can wake 'Task-1' now: Task 'slow', by finishing; or its timeout, at +0.700 s.");
    expect(EV_TASK_CANCEL, 1, "The loop asks Task 'Task-1' to cancel.");
    expect(EV_TASK_DONE, 1, "Task 'slow' is cancelled");
    expect(EV_TASK_DONE, 1, "Task 'Task-1' was waiting for it.");
} END_TEST

START_TEST(a_queue) {
    load("workers");
    expect(EV_TASK_WAIT, 1, "Who can wake 'Task-1' now: the task whose queue_task_done() brings Queue #4 down to zero "
                            "unfinished items (now 20).");
    expect(EV_OBJECT_CHANGE, 1, "Task 'Task-1' puts 0.05 into Queue #4.");
} END_TEST

START_TEST(a_lock_a_full_queue_a_socket_a_failure) {
    load("mixed");
    expect(EV_TASK_WAIT, 4, "Task 'Task-3', which holds Lock #4 and must release it");
    expect(EV_TASK_WAIT, 5, "must release it; 1 task is before it in line.");
    expect(EV_TASK_WAIT, 6, "whichever task next takes an item out of Queue #5, because it is full");
    expect(EV_TASK_WAIT, 8, "select(), as soon as stream.readline() can go on (descriptor 7)");
    expect(EV_READER_ADD, 1, "The loop will watch descriptor 7 for reading");
} END_TEST

START_TEST(deeds_have_verbs) {
    load("workers");
    expect(EV_OBJECT_CHANGE, 22, "Task 'worker-0' takes 0.05 out of Queue #4.");
} END_TEST

static bool says(const Event *e, void *with) {
    (void) e;
    (void) with;
    return true;
}

/* Some step of the recording says so. */
static void expect_somewhere(const char *words) {
    for (size_t k = 0; (k = history_find(&h, k, +1, says, NULL));) {
        char *text = at(k);
        bool found = strstr(text, words);
        free(text);
        if (found)
            return;
    }
    ck_abort_msg("no step says: %s", words);
}

START_TEST(a_signal) {
    load("outside");
    expect(EV_SIGNAL_ADD, 1, "From now on the loop calls on_signal() when SIGUSR1 comes.");
    expect(EV_SIGNAL_CAME, 1, "SIGUSR1 has come, and the loop finds the note of it.");
    expect(EV_SIGNAL_REMOVE, 1, "on_signal() is no longer called when SIGUSR1 comes.");
} END_TEST

START_TEST(a_thread) {
    load("outside");
    expect_somewhere("Task 'Task-1' makes Thread #5: not begun yet, work().");
    expect_somewhere("the thread that runs work(), by finishing: it then calls back into the loop");
    expect_somewhere("Thread #5: its result has come; it is now finished.");
    expect_somewhere("The loop wakes Task 'Task-1': there is news from Thread #5.");
} END_TEST

START_TEST(a_child_and_its_pipes) {
    load("outside");
    expect_somewhere("Task 'Task-1' starts Process #9: running, pid 2, cat.");
    expect_somewhere("Stream #10: is connected, stdin of Process #9.");
    expect_somewhere("Task 'Task-2' sends b'meow' through Stream #10.");
    expect_somewhere("Who can wake 'Task-1' now: the end of Process #9 (cat), of which select() tells");
    expect_somewhere("Process #9: has ended with exit status 0.");
} END_TEST

START_TEST(a_server_and_its_streams) {
    load("outside");
    expect_somewhere("Task 'Task-1' lets Server #35 listen; it is now listening, 0 connections.");
    expect_somewhere("The loop will watch descriptor 8 for reading (transport_read_ready of Stream #43).");
    expect_somewhere("1 descriptor is ready (6 to read: Server #35).");
    expect_somewhere("Task 'Task-6' reads b'hello\\n' from Stream #43.");
    expect_somewhere("the other end of Stream #36, by sending something or by closing; select() watches descriptor 7");
} END_TEST

START_TEST(a_buffer_above_its_mark) {
    load("outside");
    expect_somewhere("Stream #43: above the high water mark: pause_writing().|80736 bytes wait to be sent; above 65536");
    expect_somewhere("the other end of Stream #43, by reading: then there is room to send");
    expect_somewhere("Stream #43: at the low water mark: resume_writing().");
    expect_somewhere("219270 bytes came that nobody has read yet.");
} END_TEST

START_TEST(every_step_has_a_sentence) {
    static const char *const names[] = {"speakers", "waitfor", "workers", "mixed", "outside"};
    load(names[_i]);
    for (size_t k = 1; k <= log_count(&h.log); k++) {
        char *text = at(k);
        size_t n = said.what.len;
        ck_assert_msg(n > 10 && said.what.s[n - 1] == '.', "step %zu: %s", k, text);
        ck_assert_msg(!strstr(text, "  ") && !strstr(text, "(null)") && !strstr(text, " ."), "step %zu: %s", k, text);
        free(text);
    }
} END_TEST

int main(void) {
    Suite *s = suite_create("tracer: sentences");
    TCase *c = one_case(s, "narrate");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, before_the_first_step);
    tcase_add_test(c, a_sleep);
    tcase_add_test(c, a_deadlock);
    tcase_add_test(c, a_circle_by_way_of_a_gather_and_a_lock);
    tcase_add_test(c, a_circle_while_the_loop_turns_for_others);
    tcase_add_test(c, who_holds_the_lock_it_wants);
    tcase_add_test(c, a_loop_that_hangs_on_the_world_outside);
    tcase_add_test(c, why_a_task_wakes);
    tcase_add_test(c, a_callback_is_an_actor_too);
    tcase_add_test(c, how_much_is_left);
    tcase_add_test(c, a_deadlock_that_was_handled);
    tcase_add_test(c, an_eager_task);
    tcase_add_test(c, children_that_are_no_tasks);
    tcase_add_test(c, exceptions_raised_and_handled);
    tcase_add_test(c, a_deadlock_without_a_circle);
    tcase_add_test(c, the_loop_sleeps);
    tcase_add_test(c, a_timeout_that_hits);
    tcase_add_test(c, a_queue);
    tcase_add_test(c, a_lock_a_full_queue_a_socket_a_failure);
    tcase_add_test(c, deeds_have_verbs);
    tcase_add_test(c, a_signal);
    tcase_add_test(c, a_thread);
    tcase_add_test(c, a_child_and_its_pipes);
    tcase_add_test(c, a_server_and_its_streams);
    tcase_add_test(c, a_buffer_above_its_mark);
    tcase_add_loop_test(c, every_step_has_a_sentence, 0, 5);
    return run_suite(s);
}
