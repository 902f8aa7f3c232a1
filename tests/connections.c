/* Connections under attack: peers that reset, half-closed ends, no descriptors left, many at once, cancelled attempts. Each
 * must end with Python's exception, and leave neither objects nor descriptors behind. */
#include "child.h"
#include "cpython/cpython_io.h"

static StreamReader *reader_of(Value both) { return as_streamreader(list_get(both, 0)); }
static StreamWriter *writer_of(Value both) { return as_streamwriter(list_get(both, 1)); }

static void end_server(Server *server)
{
    server_close(server);
    await(server_wait_closed(server));
}

static void end_writer(StreamWriter *writer)
{
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
}

async_def(echo, (StreamReader *) reader, (StreamWriter *) writer)
{
    forever {
        Value data = await(streamreader_read(reader, 65536));
        if (!len(data)) break;
        streamwriter_write(writer, data);
        await(streamwriter_drain(writer));
    }
    end_writer(writer);
    return None;
}

/* ---- Peers that break off --------------------------------------------------------------------------------------- */

NET_TEST(a_reset_in_the_middle_of_a_write_wakes_the_drain)
{
    static char block[1000000];
    int listener = listening_socket(1);
    StreamWriter *writer = writer_of(await(asyncio_open_connection("127.0.0.1", port_of_fd(listener))));
    int peer = accept(listener, NULL, NULL);
    while (!transport_get_write_buffer_size(streamwriter_transport(writer))) scope { streamwriter_write(writer, bytes(block, sizeof block)); }
    Task *draining = asyncio_create_task(streamwriter_drain(writer)), *closing = asyncio_create_task(streamwriter_wait_closed(writer));
    await(asyncio_sleep(0));
    ck_assert(!task_done(draining));
    reset_on_close(peer);
    close(peer);
    ck_raises(ConnectionError, await(draining));
    ck_raises(ConnectionError, await(closing));
    ck_assert(streamwriter_is_closing(writer));
    close(listener);
    return None;
}

NET_TEST(a_peer_that_resets_at_once_reaches_the_handler)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    for (int i = 0; i < 20; i++) {
        int fd = connected_socket(server_port(server));
        reset_on_close(fd);
        close(fd);
    }
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));     /* the server is as before */
    streamwriter_write(writer_of(both), "still here");
    ck_repr(await(streamreader_readexactly(reader_of(both), 10)), "b'still here'");
    end_writer(writer_of(both));
    end_server(server);
    int lost = reported.count;                            /* handlers that ended with ConnectionResetError are told */
    ck_assert_int_le(lost, 20);
    reports_taken(lost);
    return None;
}

NET_TEST(a_half_closed_connection_still_carries_the_answer)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    streamwriter_write(writer_of(both), "question");
    streamwriter_write_eof(writer_of(both));
    ck_repr(await(streamreader_read(reader_of(both))), "b'question'");
    ck_assert(streamreader_at_eof(reader_of(both)));
    end_writer(writer_of(both));
    end_server(server);
    return None;
}

/* ---- A transport that nobody but the loop holds ----------------------------------------------------------------- */

static int lost_count;
static void count_lost(Value self, Value e) { (void)self; (void)e; lost_count++; }
static void ignore(Value self, const char *data, size_t size) { (void)self; (void)data; (void)size; }
static void close_at_data(Value self, const char *data, size_t size) { (void)data; (void)size; transport_close(as_pointer(list_get(self, 0))); }
static void remember_transport(Value self, Transport *transport) { list_append(self, (void *)transport); }

static const Protocol counting = {.data_received = ignore, .connection_lost = count_lost};
static const Protocol closing = {.connection_made = remember_transport, .data_received = close_at_data, .connection_lost = count_lost};

NET_TEST(a_transport_lives_until_its_connection_is_lost)
{
    Loop *loop = asyncio_get_running_loop();
    for (int i = 0; i < 2; i++) {
        int pair[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        scope { await(loop_create_unix_connection(loop, i ? &closing : &counting, list(), NULL, .sock = pair[0])); }
        if (i) ck_assert_int_eq(write(pair[1], "x", 1), 1); else shutdown(pair[1], SHUT_WR);
        pass_until(lost_count == i + 1);
        close(pair[1]);
    }
    return None;
}

async_def(leaves_it_open, (StreamReader *) reader, (StreamWriter *) writer)
{
    ck_repr(await(streamreader_read(reader)), "b''");
    (void)writer;
    note("handler over");
    return None;
}

NET_TEST(a_server_is_closed_with_half_closed_clients_that_nobody_holds)
{
    Server *server = as_server(await(asyncio_start_server(leaves_it_open, "127.0.0.1", 0)));
    int fd = connected_socket(server_port(server));
    shutdown(fd, SHUT_WR);
    pass_until(notes_[0]);
    ck_notes("handler over");
    server_close(server);
    server_close_clients(server);
    await(server_wait_closed(server));
    close(fd);
    return None;
}

NET_TEST(a_loop_that_closes_takes_its_connections_along)
{
    Server *server = as_server(await(asyncio_start_server(leaves_it_open, "127.0.0.1", 0)));
    for (int i = 0; i < 5; i++) await(asyncio_open_connection("127.0.0.1", server_port(server)));
    return None;
}

/* ---- A protocol that cannot be made ----------------------------------------------------------------------------- */

static Value cannot(Value arg) { (void)arg; throw(ZeroDivisionError, "no protocol"); return None; }
static const Protocol broken = {.make = cannot};

NET_TEST(a_protocol_that_cannot_be_made_costs_no_descriptor)
{
    Loop *loop = asyncio_get_running_loop();
    int listener = listening_socket(10);
    ck_raises_text(ZeroDivisionError, "no protocol", await(loop_create_connection(loop, &broken, None, "127.0.0.1", port_of_fd(listener))));
    ck_raises_text(ZeroDivisionError, "no protocol", await(loop_create_datagram_endpoint(loop, &broken, None, .local_addr = tuple("127.0.0.1", 0))));
    close(listener);

    Server *server = as_server(await(loop_create_server(loop, &broken, None, "127.0.0.1", 0)));
    int fd = connected_socket(server_port(server));
    char byte;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    pass_until(recv(fd, &byte, 1, 0) == 0 || errno == ECONNRESET);
    close(fd);
    end_server(server);
    pass_until(reported.count);
    reports_taken(1);
    return None;
}

/* ---- No descriptors left ---------------------------------------------------------------------------------------- */

static rlim_t limit_descriptors(rlim_t n)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = n;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static rlim_t first_free(void)
{
    int fd = dup(0);
    close(fd);
    return (rlim_t)fd;
}

NET_TEST(without_descriptors_accept_rests_and_recovers)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    int fd = connected_socket(server_port(server));
    rlim_t before = limit_descriptors(first_free());
    pass_until(reported.count);
    ck_assert_str_eq(reported.message, "socket.accept() out of system resource");
    ck_assert(isinstance(report_exception(), OSError));
    for (int i = 0; i < 100; i++) await(asyncio_sleep(0));   /* it rests: no report for each pass */
    reports_taken(1);
    limit_descriptors(before);
    char answer[4];
    if (UNDER_VALGRIND) {                           /* which accepts and closes before it says EMFILE: another client */
        close(fd);
        fd = connected_socket(server_port(server));
    }
    ck_assert(send_text(fd, "late", 4));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ck_repr(await(loop_sock_recv_into(asyncio_get_running_loop(), fd, answer, 4)), "4");
    close(fd);
    end_server(server);
    return None;
}

NET_TEST(without_descriptors_a_connection_cannot_be_opened)
{
    int listener = listening_socket(1);
    rlim_t before = limit_descriptors(first_free());
    ck_raises(OSError, await(asyncio_open_connection("127.0.0.1", port_of_fd(listener))));
    ck_raises(OSError, await(asyncio_start_server(echo, "127.0.0.1", 0)));
    limit_descriptors(before);
    close(listener);
    return None;
}

/* ---- Many, and cancelled ---------------------------------------------------------------------------------------- */

/* A client that asks, waits until all the others are there too, and asks again; then the server has the last word. */
typedef struct Crowd { int port, wanted, there; Event *all_there; } Crowd;

static void ask_many(Value both, Value line)
{
    streamwriter_write(writer_of(both), line);
    ck_assert_str_eq(as_bytes(await(streamreader_readline(reader_of(both))), NULL), as_str(line));
}

async_def(one_of_many, (Crowd *) crowd, (int) i)
{
    Value both = await(asyncio_open_connection("127.0.0.1", crowd->port));
    ask_many(both, format("client %d\n", i));
    if (++crowd->there == crowd->wanted) event_set(crowd->all_there);
    await(event_wait(crowd->all_there));
    ask_many(both, format("client %d again\n", i));
    end_writer(writer_of(both));
    return None;
}

async_def(all_at_once, (int) wanted)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0, .backlog = 4096)));
    Crowd crowd = {server_port(server), wanted, 0, asyncio_Event()};
    Value clients = list();
    for (int i = 0; i < wanted; i++) list_append(clients, one_of_many(&crowd, i));
    await(asyncio_gather_list(clients));
    ck_assert_int_eq(crowd.there, wanted);
    end_server(server);
    return None;
}

/* Room for so many descriptors; false if it is not allowed. */
static bool allow_descriptors(rlim_t wanted)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted) return true;
    if (limit.rlim_max < wanted) return false;
    limit_descriptors(wanted);
    return true;
}

NET_TEST(a_thousand_connections_at_once)
{
    ck_assert(allow_descriptors(2100));
    await(all_at_once(1000));
    return None;
}

static long resident_pages(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert(file && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident;
}

/* Far beyond what an fd_set holds. The second time needs no more memory than the first. */
NET_TEST(five_thousand_connections_at_once)
{
    if (SLOWED_DOWN || !allow_descriptors(10100)) {
        fprintf(stderr, "five_thousand_connections_at_once SKIPPED: %s\n", SLOWED_DOWN ? "this build is slow" : "the limit of open files is too low");
        return None;
    }
    await(all_at_once(5000));
    size_t objects = asyncio_live_objects();
    long pages = resident_pages();
    await(all_at_once(5000));
    ck_assert_uint_le(asyncio_live_objects(), objects);
    ck_assert_int_le(resident_pages(), pages + pages / 10);
    return None;
}

NET_TEST(cancelled_connects_leave_nothing)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    for (int passes = 0; passes < 8; passes++) {         /* wherever it is by then */
        volatile bool opened = false;
        Task *connecting = asyncio_create_task(asyncio_open_connection("127.0.0.1", server_port(server)));
        for (int i = 0; i < passes; i++) await(asyncio_sleep(0));
        task_cancel(connecting);
        try {
            end_writer(writer_of(await(connecting)));
            opened = true;
        } except (CancelledError) {
        } end_try
        ck_assert(opened || task_cancelled(connecting));
    }
    end_server(server);
    return None;
}

async_def(fails, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)writer;
    await(streamreader_readline(reader));
    throw(ValueError, "handler");
    return None;
}

NET_TEST(a_handler_that_raises_harms_only_its_own_client)
{
    Server *server = as_server(await(asyncio_start_server(fails, "127.0.0.1", 0)));
    Value first = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    Value second = await(asyncio_open_connection("127.0.0.1", server_port(server)));
    streamwriter_write(writer_of(first), "go\n");
    ck_repr(await(streamreader_read(reader_of(first))), "b''");
    reports_taken(1);
    ck_assert(!streamreader_at_eof(reader_of(second)));
    streamwriter_write(writer_of(second), "go\n");
    ck_repr(await(streamreader_read(reader_of(second))), "b''");
    reports_taken(1);
    end_writer(writer_of(first));
    end_writer(writer_of(second));
    end_server(server);
    return None;
}
