/* The model: what each event does to the state. */
#include "ask.h"
#include "helper.h"
#include "history.h"

static History h;

static void setup(void) { history_init(&h); }
static void teardown(void) { history_free(&h); intern_free(); }

/* The beginning is written by us, and the numbering too: "task.create" and what follows "n" in args. */
static void event(const char *name, const char *args) {
    static int n;
    n = (int) log_count(&h.log) + 1;
    char *line = n == 1 ? xcopy(BEGIN) : xformat("{\"name\":\"%s\",\"cat\":\"asyncio\",\"ts\":%d,\"tid\":0,\"args\":{\"n\":%d,%s}}",
                                                  name, n * 1000, n, args);
    ck_assert(history_line(&h, line, strlen(line)));
    free(line);
    if (n == 1)
        event(name, args);
}

static const Task *task(uint64_t id) { return model_task(&h.tail, id); }

START_TEST(a_task_from_birth_to_death) {
    event("task.create", "\"task\":2,\"label\":\"w\",\"coro\":\"worker\",\"file\":\"/a/l.c\",\"line\":9");
    ck_assert_int_eq(task(2)->state, ST_READY);
    event("task.run", "\"task\":2,\"file\":\"/a/l.c\",\"line\":3,\"func\":\"worker\",\"why\":\"start\"");
    ck_assert_int_eq(task(2)->state, ST_RUNNING);
    ck_assert_uint_eq(h.tail.running, 2);
    ck_assert_int_eq(h.log.places.at[h.tail.place].line, 3);
    event("task.wait", "\"task\":2,\"on\":5,\"what\":\"sleep(1)\",\"kind\":\"sleep\",\"file\":\"/a/l.c\",\"line\":4,"
                       "\"func\":\"worker\",\"stack\":[{\"func\":\"worker\",\"file\":\"/a/l.c\",\"line\":4}]");
    ck_assert_int_eq(task(2)->state, ST_SLEEPING);
    ck_assert_uint_eq(h.tail.running, 0);
    ck_assert_uint_eq(task(2)->stack->n, 1);
    event("task.wake", "\"task\":2,\"by\":0,\"via\":5");
    ck_assert_int_eq(task(2)->state, ST_READY);
    event("task.run", "\"task\":2,\"why\":\"wake\"");
    event("task.done", "\"task\":2,\"state\":\"failed\",\"exception\":\"ValueError\",\"message\":\"no\"");
    ck_assert_int_eq(task(2)->state, ST_FAILED);
    ck_assert_str_eq(task(2)->result, "ValueError");
    ck_assert_uint_eq(h.tail.states[ST_FAILED], 1);
    ck_assert_uint_eq(h.tail.states[ST_READY], 0);
    const Lane *lane = lanes_find(&h.lanes, 2);
    ck_assert_uint_eq(lane->turns.n, 6);
    ck_assert_int_eq(lane_state(lane, 4), ST_SLEEPING);
    ck_assert_int_eq(lane_state(lane, 1), ST_NONE);
} END_TEST

START_TEST(an_eager_task_runs_inside_the_step_of_another) {
    event("task.create", "\"task\":2,\"label\":\"creator\"");
    event("task.run", "\"task\":2,\"why\":\"start\"");
    event("task.create", "\"task\":3,\"label\":\"eager\",\"parent\":2,\"eager\":true");
    event("task.run", "\"task\":3,\"why\":\"start\"");
    ck_assert_uint_eq(h.tail.running, 3);
    ck_assert_uint_eq(task(3)->inside, 2);
    event("task.wait", "\"task\":3,\"on\":5,\"what\":\"sleep(1)\",\"kind\":\"sleep\"");
    ck_assert_uint_eq(h.tail.running, 2);
    ck_assert_int_eq(h.tail.phase, PH_RUN);
    event("task.wait", "\"task\":2,\"on\":3,\"what\":\"task 'eager'\",\"kind\":\"wait\"");
    ck_assert_uint_eq(h.tail.running, 0);
    event("task.run", "\"task\":3,\"why\":\"wake\"");
    ck_assert_uint_eq(task(3)->inside, 0);
    event("task.done", "\"task\":3,\"state\":\"done\"");
    ck_assert_uint_eq(h.tail.running, 0);
} END_TEST

START_TEST(kinds_of_waiting) {
    static const struct { const char *kind; State state; } kinds[] = {
        {"sleep", ST_SLEEPING}, {"io", ST_IO}, {"ready", ST_READY}, {"wait", ST_WAITING}, {"", ST_WAITING}};
    event("task.create", "\"task\":2,\"label\":\"w\"");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *args = xformat("\"task\":2,\"kind\":\"%s\"", kinds[i].kind);
        event("task.run", "\"task\":2,\"why\":\"wake\"");
        event("task.wait", args);
        ck_assert_int_eq(task(2)->state, kinds[i].state);
        free(args);
    }
} END_TEST

START_TEST(ready_queue_is_first_in_first_out) {
    event("handle.ready", "\"handle\":10,\"what\":\"a\"");
    event("handle.ready", "\"handle\":11,\"what\":\"b\"");
    event("handle.ready", "\"handle\":12,\"what\":\"c\"");
    event("handle.run", "\"handle\":10,\"what\":\"a\"");
    ck_assert_uint_eq(model_ready(&h.tail), 2);
    ck_assert_uint_eq(h.tail.handle, 10);
    event("handle.end", "\"handle\":10");
    ck_assert_uint_eq(h.tail.handle, 0);
} END_TEST

START_TEST(cancelled_handles_are_skipped) {
    event("handle.ready", "\"handle\":10,\"what\":\"a\"");
    event("handle.ready", "\"handle\":11,\"what\":\"b\"");
    event("handle.ready", "\"handle\":12,\"what\":\"c\"");
    event("handle.cancel", "\"handle\":10,\"what\":\"a\"");
    event("handle.cancel", "\"handle\":12,\"what\":\"c\"");
    ck_assert_uint_eq(model_ready(&h.tail), 3);
    event("handle.run", "\"handle\":11,\"what\":\"b\"");
    ck_assert_uint_eq(model_ready(&h.tail), 1);
    event("tick.begin", "\"tick\":2,\"ready\":0,\"timers\":0");
    ck_assert_uint_eq(model_ready(&h.tail), 0);
} END_TEST

START_TEST(a_handle_nobody_announced) {
    event("handle.ready", "\"handle\":10,\"what\":\"a\"");
    event("handle.run", "\"handle\":99,\"what\":\"?\"");
    ck_assert_uint_eq(model_ready(&h.tail), 1);
} END_TEST

START_TEST(timers_in_order) {
    const Timer *t[2];
    size_t total;
    event("timer.arm", "\"timer\":5,\"when\":3.0,\"delay\":3,\"what\":\"x\"");
    event("timer.arm", "\"timer\":6,\"when\":1.0,\"delay\":1,\"what\":\"x\"");
    event("timer.arm", "\"timer\":7,\"when\":2.0,\"delay\":2,\"what\":\"x\"");
    ck_assert_uint_eq(ask_timers(&h.tail, t, 2, &total), 2);
    ck_assert_uint_eq(total, 3);
    ck_assert_uint_eq(t[0]->id, 6);
    ck_assert_uint_eq(t[1]->id, 7);
    event("timer.due", "\"timer\":6,\"when\":1.0");
    event("timer.cancel", "\"timer\":7,\"what\":\"x\"");
    ck_assert_uint_eq(ask_timers(&h.tail, t, 2, &total), 1);
    ck_assert_uint_eq(t[0]->id, 5);
} END_TEST

START_TEST(queue_contents_and_lines) {
    const char *role = NULL;
    size_t place = 0;
    event("task.create", "\"task\":2,\"label\":\"w\"");
    event("object.make", "\"id\":7,\"type\":\"Queue\",\"label\":\"Queue #7\",\"state\":\"empty\",\"items\":[],\"maxsize\":2");
    event("object.change", "\"id\":7,\"type\":\"Queue\",\"label\":\"Queue #7\",\"items\":[\"'a'\",\"'b'\"],"
                           "\"waiters\":[{\"task\":9,\"as\":\"putter\"},{\"task\":2,\"as\":\"putter\"}]");
    const Object *o = model_object(&h.tail, 7);
    ck_assert_uint_eq(o->items->n, 2);
    ck_assert_str_eq(o->items->at[0].text, "'a'");
    ck_assert_ptr_eq(ask_waits_in(&h.tail, 2, &role, &place), o);
    ck_assert_str_eq(role, "putter");
    ck_assert_uint_eq(place, 1);
    event("object.drop", "\"id\":7");
    ck_assert_ptr_null(model_object(&h.tail, 7));
    ck_assert_str_eq(h.tail.gone, "Queue #7");
} END_TEST

START_TEST(children_stay_when_a_change_leaves_them_out) {
    event("object.make", "\"id\":7,\"type\":\"gather\",\"children\":[2,3]");
    event("object.change", "\"id\":7,\"type\":\"gather\",\"state\":\"done\"");
    ck_assert_uint_eq(model_object(&h.tail, 7)->children->n, 2);
    ck_assert_str_eq(model_object(&h.tail, 7)->state, "done");
} END_TEST

START_TEST(descriptors) {
    event("reader.add", "\"fd\":5,\"what\":\"accept\"");
    event("writer.add", "\"fd\":5,\"what\":\"send\"");
    event("reader.remove", "\"fd\":5");
    ck_assert_uint_eq(h.tail.watches.count, 1);
    event("writer.remove", "\"fd\":5");
    ck_assert_uint_eq(h.tail.watches.count, 0);
} END_TEST

START_TEST(a_stream_and_who_waits_for_it) {
    const Task *on[3];
    event("task.create", "\"task\":2,\"label\":\"w\"");
    event("object.make", "\"id\":7,\"type\":\"Stream\",\"label\":\"Stream #7\",\"state\":\"open\",\"note\":\"to b\",\"fd\":5,"
                         "\"items\":[\"b'x'\"],\"unread\":9,\"unsent\":30,\"low\":4,\"high\":20");
    event("reader.add", "\"fd\":5,\"what\":\"transport_read_ready\",\"of\":7");
    event("task.wait", "\"task\":2,\"on\":7,\"what\":\"readline\",\"kind\":\"io\",\"stack\":[]");
    const Object *o = model_object(&h.tail, 7);
    ck_assert_str_eq(o->note, "to b");
    ck_assert(o->fd == 5 && o->unread == 9 && o->unsent == 30 && o->high == 20);
    ck_assert_uint_eq(((const Watch *) pmap_get(&h.tail.watches, 5))->of, 7);
    ck_assert(ask_is_io(o->type) && !ask_is_io("Queue"));
    ck_assert_uint_eq(ask_tasks_on(&h.tail, 7, on, 3), 1);
    ck_assert_ptr_eq(on[0], task(2));
    event("handle.ready", "\"handle\":9,\"what\":\"transport_read_ready\",\"task\":0,\"of\":7");
    ck_assert_uint_eq(((const Handle *) pmap_get(&h.tail.ready, h.tail.head))->of, 7);
    event("task.run", "\"task\":2,\"why\":\"wake\"");
    ck_assert_uint_eq(ask_tasks_on(&h.tail, 7, on, 3), 0);
} END_TEST

START_TEST(who_goes_on_has_left_the_line) {
    event("task.create", "\"task\":2,\"label\":\"w\"");
    event("object.make", "\"id\":7,\"type\":\"Event\",\"label\":\"Event #7\",\"state\":\"set\",\"waiters\":["
                         "{\"task\":9,\"as\":\"waiter\"},{\"task\":2,\"as\":\"waiter\"},{\"task\":8,\"as\":\"waiter\"}]");
    event("task.wait", "\"task\":2,\"on\":7,\"what\":\"event.wait()\",\"kind\":\"wait\",\"stack\":[]");
    ck_assert_uint_eq(model_object(&h.tail, 7)->waiters->n, 3);
    event("task.run", "\"task\":2,\"why\":\"wake\"");
    const List *left = model_object(&h.tail, 7)->waiters;
    ck_assert_uint_eq(left->n, 2);
    ck_assert(left->at[0].number == 9 && left->at[1].number == 8);
} END_TEST

START_TEST(phases_of_a_tick) {
    event("tick.begin", "\"tick\":3,\"ready\":0,\"timers\":0");
    ck_assert_uint_eq(h.tail.tick, 3);
    event("select.enter", "\"timeout\":null,\"fds\":[]");
    ck_assert_int_eq(h.tail.phase, PH_SELECT);
    ck_assert(h.tail.in_select && h.tail.select_timeout < 0);
    event("select.leave", "\"ready\":[]");
    ck_assert_int_eq(h.tail.phase, PH_TIMERS);
    event("tick.run", "\"count\":2");
    ck_assert_int_eq(h.tail.phase, PH_READY);
    ck_assert_uint_eq(h.tail.batch, 2);
} END_TEST

int main(void) {
    Suite *s = suite_create("tracer: model");
    TCase *c = one_case(s, "model");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_task_from_birth_to_death);
    tcase_add_test(c, an_eager_task_runs_inside_the_step_of_another);
    tcase_add_test(c, kinds_of_waiting);
    tcase_add_test(c, ready_queue_is_first_in_first_out);
    tcase_add_test(c, cancelled_handles_are_skipped);
    tcase_add_test(c, a_handle_nobody_announced);
    tcase_add_test(c, timers_in_order);
    tcase_add_test(c, queue_contents_and_lines);
    tcase_add_test(c, children_stay_when_a_change_leaves_them_out);
    tcase_add_test(c, descriptors);
    tcase_add_test(c, a_stream_and_who_waits_for_it);
    tcase_add_test(c, who_goes_on_has_left_the_line);
    tcase_add_test(c, phases_of_a_tick);
    return run_suite(s);
}
