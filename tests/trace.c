/* The trace: what is recorded follows docs/TRACE.md, tracing changes nothing, and the tracer's commands are obeyed.
 *
 * A recording begins with the process, so the programs traced here are this file itself: `trace --play NAME`. */
#define main test_main_
#include "child.h"
#undef main
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

exception_class(Hiccup, Exception);

/* ---- the programs ---- */

async_def(worker, (Queue *) queue, (Lock *) lock) {
    forever { Value item = await(queue_get(queue)); async_with (lock) { await(asyncio_sleep(0.01)); print("item", item); } end_with queue_task_done(queue); }
    return None;
}
async_gen(numbers) { for (int i = 0; i < 3; i++) { await(asyncio_sleep(0.01)); yield(i); } return None; }
async_def(fails) { await(asyncio_sleep(0.01)); throw(Hiccup, "text with \"quotes\", \\ and \n, ünïcödé \xff"); return None; }
static void callback(Value arg) { print("callback", arg); }
static void failing_callback(Value arg) { (void)arg; throw(ValueError, "in a callback"); }
static void quiet(Loop *loop, const ExceptionReport *report) { (void)loop; (void)report; }

async_def(everything) {
    Loop *loop = asyncio_get_running_loop();
    Queue *queue = asyncio_Queue(.maxsize = 2), *lifo = asyncio_LifoQueue(), *priority = asyncio_PriorityQueue();
    Lock *lock = asyncio_Lock();
    Event *event = asyncio_Event();
    Condition *condition = asyncio_Condition();
    Semaphore *semaphore = asyncio_Semaphore(.value = 1);
    Barrier *barrier = asyncio_Barrier(2);
    loop_set_exception_handler(loop, quiet);
    Task *a = asyncio_create_task(worker(queue, lock), .name = "a \"quoted\" name"), *b = asyncio_create_task(worker(queue, lock));
    for (int i = 0; i < 5; i++) await(queue_put(queue, format("item \"%d\" \\ \x01", i)));
    await(queue_join(queue));
    task_cancel(a, .msg = V("enough"));
    task_cancel(b);
    await(asyncio_gather(a, b, .return_exceptions = true));
    loop_call_soon(loop, callback, .arg = V("soon"));
    loop_call_later(loop, 0.01, callback, .arg = V("later"));
    handle_cancel(loop_call_later(loop, 100, callback));
    handle_cancel(loop_call_soon(loop, callback));
    loop_call_soon(loop, failing_callback);
    await(asyncio_sleep(0.02));
    try { await(asyncio_wait_for(event_wait(event), 0.01)); } except (TimeoutError) { print("timeout"); } end_try
    try { async_with (asyncio_timeout(0.01)) { async_with (condition) { await(condition_wait(condition)); } end_with } end_with } except (TimeoutError) { } end_try
    event_set(event);
    await(event_wait(event));
    async_with (semaphore) { await(asyncio_sleep(0)); } end_with
    await(asyncio_gather(barrier_wait(barrier), barrier_wait(barrier)));
    try { async_with (group, asyncio_TaskGroup()) { taskgroup_create_task(group, fails()); taskgroup_create_task(group, asyncio_sleep(10)); } end_with } except_star (Hiccup, e) { print("group", e); } end_try
    async_for (v, numbers()) print(v);
    queue_put_nowait(lifo, list(1, "x"));
    queue_put_nowait(lifo, format("%500d", 7));
    queue_put_nowait(priority, tuple(2, "b"));
    queue_put_nowait(priority, tuple(1, "a"));
    print(queue_get_nowait(priority), len(queue_get_nowait(lifo)));
    Task *eager = asyncio_create_task(asyncio_sleep(0.01, .result = V("eager")), .eager_start = true);
    print(await(eager), await(asyncio_shield(asyncio_create_task(asyncio_sleep(0.01, .result = V("shielded"))))));
    Future *future = loop_create_future(loop);
    future_set_result(future, "r");
    print(await(future));
    int ends[2];
    if (pipe(ends) < 0) abort();
    loop_add_reader(loop, ends[0], callback);
    loop_add_writer(loop, ends[1], callback, .arg = V("writable"));
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    loop_remove_writer(loop, ends[1]);
    loop_remove_reader(loop, ends[0]);
    print("end ünïcödé", bytes("\xff", 1), "\x01");
    return None;
}

/* The world outside: a stream on each side of a socket pair, a child with pipes, a thread, a signal, a protocol. */

static Value add_one(Value n) { return V(as_int(n) + 1); }
static void on_signal(Value event) { event_set(as_event(event)); }
static void protocol_made(Value self, Transport *transport) { *(Transport **)as_pointer(self) = transport; }
static const Protocol protocol = {.connection_made = protocol_made};
static void child_over(Value over, Value e) { future_set_result(as_future(over), e); }
static const SubprocessProtocol child_protocol = {.connection_lost = child_over};

async_def(outside) {
    Loop *loop = asyncio_get_running_loop();
    Event *event = asyncio_Event();
    loop_add_signal_handler(loop, SIGUSR1, on_signal, .arg = V(event));
    raise(SIGUSR1);
    await(event_wait(event));
    print(await(asyncio_to_thread(add_one, V(1))));
    Executor *pool = asyncio_ThreadPoolExecutor(.max_workers = 1);
    print(await(asyncio_gather(loop_run_in_executor(loop, pool, add_one, .arg = V(2)),
                               asyncio_wrap_future(executor_submit(pool, add_one, .arg = V(3))))));

    Process *cat = as_process(await(asyncio_create_subprocess_exec("cat", .stdin = PIPE, .stdout = PIPE)));
    print(await(process_communicate(cat, .input = bytes("meow", 4))));
    Future *over = loop_create_future(loop);
    await(loop_subprocess_shell(loop, &child_protocol, over, "echo purr", .stdin = DEVNULL, .stderr = INHERIT));
    await(over);

    int ends[2];
    Transport *transport = NULL; /* the protocol puts it here */
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) abort();
    await(loop_create_connection(loop, &protocol, (void *)&transport, NULL, None, .sock = ends[0]));
    Value both = await(asyncio_open_unix_connection(NULL, .sock = ends[1]));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    static char block[300000];
    transport_write(transport, "\xff\"\\\n", 4);
    print(await(streamreader_readline(reader)));
    transport_write(transport, block, sizeof block);
    print(len(await(streamreader_readexactly(reader, sizeof block))));
    transport_write_eof(transport);
    print(await(streamreader_read(reader)));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(a_second) { for (int i = 0; i < 3; i++) { print("step", i); await(asyncio_sleep(1)); } return None; }
async_def(times_out) { try { await(asyncio_wait_for(asyncio_sleep(30), 0.4)); } except (TimeoutError) { print("expired"); } end_try return None; }
async_def(raises) { await(asyncio_sleep(0)); throw(Hiccup, "uncaught"); return None; }
async_def(starts_a_shell) { print(system("! ls -l /proc/$$/fd | grep -v ' [012] ->' | grep -q socket")); return None; }
async_def(many_steps) { for (int i = 0; i < 3000; i++) await(asyncio_sleep(0)); print("done"); return None; }

async_def(crashes) { await(asyncio_sleep(0)); print("last words"); raise(SIGKILL); return None; }
async_def(takes, (Lock *) first, (Lock *) second) { async_with (first) { await(asyncio_sleep(0.1)); async_with (second) { } end_with } end_with return None; }
async_def(forks) { await(asyncio_sleep(0.01)); if (fork() == 0) { print("child"); exit(3); } wait(NULL); await(asyncio_sleep(0.01)); print("parent"); return None; }
async_def(deadlocks) { Lock *a = asyncio_Lock(), *b = asyncio_Lock(); await(asyncio_gather(takes(a, b), takes(b, a))); return None; }

/* Raised and handled; raised while another is handled; raised again; an exception of the library's. */
async_def(tries) {
    try { throw(Hiccup, "one"); } except (Hiccup) { print("handled"); } end_try
    try { try { throw(Hiccup, "two"); } except (Hiccup) { throw(ValueError, "three"); } end_try } except (ValueError) { } end_try
    try { try { throw(KeyError, "four"); } except (KeyError) { rethrow; } end_try } except (KeyError) { } end_try
    try { queue_get_nowait(asyncio_Queue()); } except (QueueEmpty) { } end_try
    return None;
}

/* Sockets it has of its own go too, but it needs none of them here. */
async_def(closes_its_sockets)
{
    struct stat what;
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &what) == 0 && S_ISSOCK(what.st_mode)) close(fd);
    print("nobody is there");
    print("who could show this");
    return None;
}

static int play(const char *name)
{
    if (!strcmp(name, "closes_its_sockets")) asyncio_run(closes_its_sockets());
    if (!strcmp(name, "crashes")) asyncio_run(crashes());
    if (!strcmp(name, "forks")) asyncio_run(forks());
    if (!strcmp(name, "deadlocks")) asyncio_run(deadlocks());
    if (!strcmp(name, "tries")) asyncio_run(tries());
    if (!strcmp(name, "everything")) asyncio_run(everything());
    if (!strcmp(name, "outside")) asyncio_run(outside());
    if (!strcmp(name, "a_second")) asyncio_run(a_second());
    if (!strcmp(name, "times_out")) asyncio_run(times_out());
    if (!strcmp(name, "raises")) asyncio_run(raises());
    if (!strcmp(name, "starts_a_shell")) asyncio_run(starts_a_shell());
    if (!strcmp(name, "many_steps")) asyncio_run(many_steps());
    if (!strcmp(name, "twice")) { asyncio_run(a_second()); asyncio_run(a_second()); }
    if (!strcmp(name, "nothing")) puts("nothing");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--play")) return play(argv[2]);
    return test_main_(argc, argv);
}

/* ---- recording ---- */

static const char *recording(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/asyncio-trace-test-%d.json", (int)getpid());
    return path;
}

/* Plays a program with these variables set; returns what it wrote. */
static char *played(int *status, const char *environment, const char *name)
{
    return shell(status, as_str(format("%s %s --play %s 2>&1", environment, this_program, name)));
}

static void check_recording(const char *options)
{
    int status;
    if (!have_python()) return;
    char *said = shell(&status, as_str(format("python3 '%s' %s %s 2>&1", beside("checks/trace.py"), recording(), options)));
    ck_assert_msg(status == 0, "%s", said);
    free(said);
}

TEST(recordings_follow_the_specification)
{
    const char *names[] = {"everything", "a_second", "times_out", "raises", "many_steps", "twice", "deadlocks", "tries", "forks"};
    for (int clock = 0; clock < 2; clock++)
        for (int i = 0; i < 9; i++) {
            if (clock == 0 && i % 3) continue;     /* real time makes a difference to few of them */
            free(played(NULL, as_str(format("ASYNCIO_TRACE=%s ASYNCIO_CLOCK=%s", recording(), clock ? "virtual" : "real")), names[i]));
            check_recording("");
        }
    unlink(recording());
}

TEST(a_recording_of_the_world_outside)
{
    int plain_status, traced_status;
    char *plain = played(&plain_status, "", "outside");
    char *traced = played(&traced_status, as_str(format("ASYNCIO_TRACE=%s", recording())), "outside");
    ck_assert_str_eq(plain, traced);
    ck_assert_int_eq(plain_status, 0);
    ck_assert_int_eq(traced_status, 0);
    check_recording("");
    char *text = shell(NULL, as_str(format("cat %s", recording())));
    const char *told[] = {"\"type\":\"Thread\"", "add_one()", "\"type\":\"Process\"", "has ended with exit status 0", "stdin of Process", "\"type\":\"Stream\"",
        "\"type\":\"Transport\"", "above the high water mark", "the other end has sent all it will", "signal.came", "SIGUSR1", "is closed"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) ck_assert_msg(strstr(text, told[i]) != NULL, "the trace does not tell: %s", told[i]);
    free(plain);
    free(traced);
    free(text);
    unlink(recording());
}

/* Who holds a condition's lock is told by the lock: said twice, the second would grow stale. */
TEST(a_condition_only_names_its_lock)
{
    free(played(NULL, as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", recording())), "everything"));
    char *lines = shell(NULL, as_str(format("grep '\"type\":\"Condition\"' %s", recording())));
    char *bad = shell(NULL, as_str(format("grep '\"type\":\"Condition\"' %s | grep -v '\"state\":\"with Lock #[0-9]'", recording())));
    ck_assert_str_ne(lines, "");
    ck_assert_str_eq(bad, "");
    free(lines);
    free(bad);
    unlink(recording());
}

TEST(tracing_changes_no_output)
{
    int plain_status, traced_status;
    const char *names[] = {"everything", "a_second", "raises", "many_steps"};
    for (int i = 0; i < 4; i++) {
        char *plain = played(&plain_status, "ASYNCIO_CLOCK=virtual", names[i]);
        char *traced = played(&traced_status, as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", recording())), names[i]);
        ck_assert_str_eq(plain, traced);
        ck_assert_int_eq(plain_status, traced_status);
        ck_assert(*plain);
        free(plain);
        free(traced);
    }
    unlink(recording());
}

TEST(a_recording_that_was_cut_short)
{
    if (!have_python()) return;
    free(played(NULL, as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", recording())), "everything"));
    for (int size = 1000; size < 12000; size += 2477) {
        ck_assert_int_eq(truncate(recording(), 0) || system(as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s %s --play everything >/dev/null; truncate -s %d %s",
            recording(), this_program, size, recording()))), 0);
        check_recording("--cut");
    }
    unlink(recording());
}

/* Killed, so that nothing can be written afterwards: what happened just before is in the recording all the same. */
TEST(the_last_moment_of_a_killed_program)
{
    free(played(NULL, as_str(format("ASYNCIO_TRACE=%s", recording())), "crashes"));
    char *last = shell(NULL, as_str(format("tail -n 1 %s", recording())));
    ck_has(last, "\"output\"");
    ck_has(last, "last words\\n\"}},\n");
    free(last);
    unlink(recording());
}

TEST(a_forked_child_is_not_traced)
{
    char *said = played(NULL, as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", recording())), "forks");
    ck_has(said, "child\n");
    ck_has(said, "parent\n");
    ck_lacks(said, "Traceback");
    free(said);
    char *story = shell(NULL, as_str(format("grep -c '\"trace.end\"' %s; grep -c 'child' %s", recording(), recording())));
    ck_assert_str_eq(story, "1\n0\n");
    free(story);
    unlink(recording());
}

TEST(a_deadlock_says_who_waits)
{
    free(played(NULL, as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", recording())), "deadlocks"));
    char *line = shell(NULL, as_str(format("grep '\"loop.deadlock\"' %s", recording())));
    ck_has(line, "which task 'Task-3' holds\\n");
    ck_has(line, "which task 'Task-2' holds");
    free(line);
    unlink(recording());
}

TEST(exceptions_raised_and_handled)
{
    free(played(NULL, as_str(format("ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", recording())), "tries"));
    char *story = shell(NULL, as_str(format("sed -n 's/.*\"exception\\.\\([a-z]*\\)\".*\"exception\":\"\\([^\"]*\\)\",\"context\":\\([^,]*\\),.*/\\1 \\2 \\3/p' %s",
        recording())));
    ck_assert_str_eq(story,
        "raise Hiccup('one') null\nhandle Hiccup('one') null\n"
        "raise Hiccup('two') null\nhandle Hiccup('two') null\nraise ValueError('three') \"Hiccup('two')\"\nhandle ValueError('three') \"Hiccup('two')\"\n"
        "raise KeyError('four') null\nhandle KeyError('four') null\nraise KeyError('four') null\nhandle KeyError('four') null\n"
        "handle QueueEmpty() null\n");
    free(story);
    unlink(recording());
}

TEST(the_end_tells_the_status)
{
    free(played(NULL, as_str(format("ASYNCIO_TRACE=%s", recording())), "raises"));
    char *last = shell(NULL, as_str(format("tail -n 2 %s", recording())));
    ck_has(last, "\"trace.end\"");
    ck_has(last, "\"status\":1");
    free(last);
    unlink(recording());
}

TEST(unwritable_places)
{
    int status;
    char *text = played(&status, "ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=/nonexistent/folder/file", "a_second");
    ck_assert_int_eq(status, 0);
    ck_has(text, "asyncio: no trace: cannot write /nonexistent/folder/file: No such file or directory\n");
    ck_has(text, "step 0\nstep 1\nstep 2\n");
    free(text);
    text = played(&status, "ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=", "a_second");
    ck_assert_str_eq(text, "step 0\nstep 1\nstep 2\n");
    free(text);
}

TEST(a_full_disk)
{
    int status;
    if (access("/dev/full", W_OK) != 0) return;
    const char *names[] = {"many_steps", "a_second"};
    for (int i = 0; i < 2; i++) {
        char *text = played(&status, "ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=/dev/full", names[i]);
        ck_assert_int_eq(status, 0);
        ck_has(text, i ? "step 2\n" : "done\n");
        ck_has(text, "No space left on device");
        free(text);
    }
}

/* More is told than a pipe holds, so it is noticed that nobody reads. */
TEST(a_reader_that_leaves)
{
    int status;
    const char *pipe = as_str(format("%s.pipe", recording()));
    Value environment = format("mkfifo %s; (read line <%s) & ASYNCIO_CLOCK=virtual ASYNCIO_TRACE=%s", pipe, pipe, pipe);
    char *text = played(&status, as_str(environment), "many_steps");
    unlink(pipe);
    ck_assert_int_eq(status, 0);
    ck_has(text, "done\n");
    ck_has(text, "asyncio: the trace ends here, after ");
    ck_has(text, "writing it failed: Broken pipe\n");
    free(text);
}

/* ---- under control ---- */

typedef struct Controlled { pid_t pid; int fd; char text[1 << 16]; size_t size, at; } Controlled;

static Controlled *control(const char *name)
{
    int pair[2];
    Controlled *c = calloc(1, sizeof *c);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0) {
        close(pair[0]);
        if (strcmp(name, "times_out")) setenv("ASYNCIO_CLOCK", "virtual", 1);
        setenv("ASYNCIO_TRACE_FD", as_str(format("%d", pair[1])), 1);
        alarm(60);
        execl(this_program, "trace", "--play", name, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    c->fd = pair[0];
    return c;
}

/* The next line, or NULL: nothing for `patience` milliseconds, or the end. */
static const char *next_line(Controlled *c, int patience)
{
    for (;;) {
        char *end = memchr(c->text + c->at, '\n', c->size - c->at);
        if (end) {
            *end = 0;
            const char *line = c->text + c->at;
            c->at = (size_t)(end + 1 - c->text);
            return line;
        }
        memmove(c->text, c->text + c->at, c->size - c->at);
        c->size -= c->at;
        c->at = 0;
        struct pollfd waiting = {.fd = c->fd, .events = POLLIN};
        if (poll(&waiting, 1, patience) <= 0) return NULL;
        ssize_t got = read(c->fd, c->text + c->size, sizeof c->text - c->size - 1);
        if (got <= 0) return NULL;
        c->size += (size_t)got;
    }
}

static void say(Controlled *c, const char *command) { ck_assert_int_eq(write(c->fd, command, strlen(command)), (ssize_t)strlen(command)); }

static int finish(Controlled *c)
{
    int status;
    ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
    close(c->fd);
    free(c);
    return status;
}

static long number_of(const char *line) { const char *n = strstr(line, "\"n\":"); return n ? atol(n + 4) : 0; }

enum { A_MOMENT = 150, LONG_ENOUGH = 20000 };

TEST(it_begins_paused_and_steps)
{
    Controlled *c = control("a_second");
    const char *line = next_line(c, LONG_ENOUGH);
    ck_assert_ptr_nonnull(line);
    ck_has(line, "\"trace.begin\"");
    ck_assert_ptr_null(next_line(c, A_MOMENT));
    for (long n = 2; n < 12; n++) {
        say(c, "step 1\n");
        line = next_line(c, LONG_ENOUGH);
        ck_assert_ptr_nonnull(line);
        ck_assert_int_eq(number_of(line), n);
        ck_assert_int_eq(line[strlen(line) - 1], '}');
    }
    ck_assert_ptr_null(next_line(c, A_MOMENT));
    say(c, "step 5\n");
    for (long n = 12; n < 17; n++) ck_assert_int_eq(number_of(next_line(c, LONG_ENOUGH)), n);
    ck_assert_ptr_null(next_line(c, A_MOMENT));
    say(c, "nonsense\nstep\nrun\n");                    /* what it does not know it ignores */
    long last = 16;
    bool ended = false, wrote = false;
    while ((line = next_line(c, LONG_ENOUGH))) {
        if (!number_of(line)) continue;
        ck_assert_int_eq(number_of(line), ++last);
        ended = strstr(line, "\"trace.end\"") != NULL;
        wrote = wrote || strstr(line, "\"text\":\"step 2\\n\"");
    }
    ck_assert(ended && wrote);
    ck_assert_int_eq(finish(c), 0);
}

/* The program sleeps in select() when it is told to pause; its timeout of 0.4 s does not expire while it stands still for longer. */
TEST(the_clock_stands_still_while_paused)
{
    Controlled *c = control("times_out");
    const char *line;
    say(c, "run\n");
    do line = next_line(c, LONG_ENOUGH); while (line && !strstr(line, "\"select.enter\""));
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_null(next_line(c, A_MOMENT));         /* now it is inside select() */
    say(c, "pause\n");
    do line = next_line(c, LONG_ENOUGH); while (line && !strstr(line, "\"paused\""));
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_null(next_line(c, 900));
    say(c, "run\n");
    double ended = 0;
    while ((line = next_line(c, LONG_ENOUGH))) { const char *ts = strstr(line, "\"ts\":"); if (ts) ended = atof(ts + 5); }
    ck_assert_msg(ended >= 0.4e6 && ended < 0.4e6 + 0.4e6, "the program's clock says %g us", ended);
    ck_assert_int_eq(finish(c), 0);
}

TEST(the_tracer_goes_away)
{
    for (int after = 1; after < 30; after += 7) {
        Controlled *c = control("many_steps");
        say(c, as_str(format("step %d\n", after)));
        for (int i = 0; i < after; i++) ck_assert_ptr_nonnull(next_line(c, LONG_ENOUGH));
        close(c->fd);
        c->fd = dup(0);
        ck_assert_int_eq(finish(c), 0);
    }
}

/* What outlives the traced program would keep the tracer waiting for its end. */
TEST(a_program_that_it_starts_has_not_the_tracers_socket)
{
    Controlled *c = control("starts_a_shell");
    const char *line;
    bool none = false;
    say(c, "run\n");
    while ((line = next_line(c, LONG_ENOUGH))) none = none || strstr(line, "\"text\":\"0\\n\"");
    ck_assert(none);
    ck_assert_int_eq(finish(c), 0);
}

TEST(pause_while_it_runs)
{
    Controlled *c = control("many_steps");
    say(c, "run\n");
    long last = 0;
    const char *line;
    while (last < 50) { line = next_line(c, LONG_ENOUGH); ck_assert_ptr_nonnull(line); last = number_of(line); }
    say(c, "pause\n");
    while ((line = next_line(c, A_MOMENT))) if (number_of(line)) last = number_of(line);
    say(c, "step 1\n");
    ck_assert_int_eq(number_of(next_line(c, LONG_ENOUGH)), last + 1);
    say(c, "run\n");
    while (next_line(c, LONG_ENOUGH)) {}
    ck_assert_int_eq(finish(c), 0);
}

/* What is printed when the socket is lost goes where it would go without a tracer. */
TEST(a_program_that_closes_the_tracers_socket)
{
    int pair[2], status;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(write(pair[0], "run\n", 4), 4);
    char *text = played(&status, as_str(format("ASYNCIO_TRACE_FD=%d", pair[1])), "closes_its_sockets");
    ck_assert_int_eq(status, 0);
    ck_assert_str_eq(text, "nobody is there\nwho could show this\n");
    free(text);
    close(pair[0]);
    close(pair[1]);
}

TEST(a_bad_descriptor_for_control)
{
    int status;
    char *text = played(&status, "ASYNCIO_TRACE_FD=77 ASYNCIO_CLOCK=virtual", "a_second");
    ck_assert_int_eq(status, 0);
    ck_has(text, "asyncio: no trace: cannot write to the tracer: ");
    ck_has(text, "step 0\nstep 1\nstep 2\n");
    free(text);
}
