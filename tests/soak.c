/* Long runs: what a server's millionth request costs is what its thousandth did. Objects, descriptors and memory at the end are as
 * they were after the beginning. In the suite the runs are short; `make soak` runs them at full length. */
#include "child.h"
#include "cpython/cpython_io.h"

static long length(long full, long in_the_suite)
{
    const char *wanted = getenv("SOAK");
    if (wanted && !strcmp(wanted, "full")) return full;
    return SLOWED_DOWN ? in_the_suite / 10 : in_the_suite;
}

/* ---- What there is ---------------------------------------------------------------------------------------------- */

typedef struct Stock { size_t objects; int descriptors; long kilobytes; } Stock;

static long resident_kilobytes(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert(file && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static Stock take_stock(void) { return (Stock){asyncio_live_objects(), open_descriptors(), resident_kilobytes()}; }

/* Each thread keeps some hundred blocks of each size, and malloc some pages. A sanitizer keeps what was freed. */
enum { MAY_GROW_BY = 2000 };

static void ck_same_stock(Stock before, const char *what, long count)
{
    Stock after = take_stock();
    ck_assert_msg(after.objects <= before.objects + 50, "%ld %s: %zu objects, %zu at the beginning", count, what, after.objects, before.objects);
    ck_assert_msg(after.descriptors <= before.descriptors, "%ld %s: %d descriptors, %d at the beginning", count, what, after.descriptors, before.descriptors);
    ck_assert_msg(SLOWED_DOWN || after.kilobytes <= before.kilobytes + MAY_GROW_BY, "%ld %s: %ld KiB, %ld at the beginning", count, what, after.kilobytes, before.kilobytes);
    if (getenv("SOAK")) fprintf(stderr, "%ld %s: objects %zu -> %zu, descriptors %d -> %d, KiB %ld -> %ld\n", count, what, before.objects, after.objects,
                                before.descriptors, after.descriptors, before.kilobytes, after.kilobytes);
}

/* ---- Requests through an echo server ----------------------------------------------------------------------------- */

enum { CLIENTS = 50 };

async_def(echo, (StreamReader *) reader, (StreamWriter *) writer)
{
    async_for (line, reader) {
        streamwriter_write(writer, line);
        await(streamwriter_drain(writer));
    }
    streamwriter_close(writer);
    return None;
}

static StreamReader *reader_of(Value both) { return as_streamreader(list_get(both, 0)); }
static StreamWriter *writer_of(Value both) { return as_streamwriter(list_get(both, 1)); }

static void ask(Value both, long number)
{
    Value line = format("request %ld\n", number);
    streamwriter_write(writer_of(both), line);
    Value answer = await(streamreader_readline(reader_of(both)));
    ck_assert_str_eq(as_bytes(answer, NULL), as_str(line));
}

async_def(asks, (Value) both, (long) count)
{
    long done = 0;
    forever {
        ask(both, done);
        if (++done >= count) break;
    }
    return None;
}

static void all_ask(Value connections, long count)
{
    scope {
        Value tasks = list();
        for_in (both, connections) list_append(tasks, asyncio_create_task(asks(both, count / CLIENTS)));
        await(asyncio_gather_list(tasks));
    }
}

NET_TEST(requests)
{
    long count = length(1000000, 20000);
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    Value connections = list();
    for (int i = 0; i < CLIENTS; i++) list_append(connections, await(asyncio_open_connection("127.0.0.1", server_port(server))));
    all_ask(connections, 1000);
    Stock before = take_stock();
    all_ask(connections, count);
    ck_same_stock(before, "requests", count);
    for_in (both, connections) {
        streamwriter_close(writer_of(both));
        await(streamwriter_wait_closed(writer_of(both)));
    }
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

/* ---- The same thing over and over -------------------------------------------------------------------------------- */

typedef void (*Turn)(void *argument);

/* Runs turn(argument) so many times, and looks at the stock after the first thousand (of less, a quarter) and at the end. */
async_def(over_and_over, (const char *) what, (long) count, (Turn) turn, (void *) argument)
{
    Stock before = {0};
    long done = 0, warm = count < 4000 ? (count + 3) / 4 : 1000;
    forever {
        turn(argument);
        if (++done == warm) before = take_stock();
        if (done >= count) break;
    }
    await(asyncio_sleep(0));
    ck_same_stock(before, what, count);
    return None;
}

static void connect_ask_and_close(void *server)
{
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    ask(both, 1);
    streamwriter_close(writer_of(both));
    await(streamwriter_wait_closed(writer_of(both)));
}

NET_TEST(connections)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    await(over_and_over("connections", length(20000, 1000), connect_ask_and_close, server));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

static void spawn_and_talk(void *unused)
{
    (void)unused;
    Process *process = as_process(await(asyncio_create_subprocess_exec("cat", .stdin = PIPE, .stdout = PIPE)));
    ck_repr(await(process_communicate(process, .input = bytes("to and fro", 10))), "(b'to and fro', None)");
    ck_repr(process_returncode(process), "0");
}

NET_TEST(children)
{
    await(over_and_over("children", length(1000, 100), spawn_and_talk, NULL));
    return None;
}

static Value twice(Value v) { return V(2 * as_int(v)); }
static void in_a_thread(void *unused)
{
    (void)unused;
    ck_repr(await(asyncio_to_thread(twice, .arg = V(21))), "42");
}

NET_TEST(threads)
{
    await(over_and_over("calls in threads", length(100000, 5000), in_a_thread, NULL));
    return None;
}

async_def(negative, (int) n) { await(asyncio_sleep(0)); return V(-n); }

/* In a thread: a thousand calls into the loop. */
static Value calls_back(Value loop)
{
    for (int i = 0; i < 1000; i++) scope {
        ck_assert_int_eq(as_int(threadfuture_result(asyncio_run_coroutine_threadsafe(negative(i), as_pointer(loop)))), -i);
    }
    return None;
}

static void from_a_thread(void *loop) { await(asyncio_to_thread(calls_back, .arg = V(loop))); }

NET_TEST(calls_from_threads)
{
    await(over_and_over("thousand calls from a thread", length(100, 11), from_a_thread, asyncio_get_running_loop()));
    return None;
}

async_def(sleeps, (int) n) { await(asyncio_sleep(0)); return V(n); }
async_def(some_sleep) { return await(asyncio_gather(sleeps(1), sleeps(2), sleeps(3))); }

static void *runs_a_loop(void *unused)
{
    scope { ck_repr(asyncio_run(some_sleep()), "[1, 2, 3]"); }
    return unused;
}

/* Two at a time, each with a loop of its own. */
static void threads_with_loops(void *unused)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, runs_a_loop, unused), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

NET_TEST(loops_in_threads)
{
    await(over_and_over("pairs of threads with loops", length(2000, 200), threads_with_loops, NULL));
    return None;
}
