/* CPython's test_sendfile: loop.sock_sendfile(). */
#include "cpython_sendfile.h"

NET_TEST(SockSendfileMixin__test_sock_sendfile_success)
{
    Sending s = sending_begin();
    ck_repr(await(loop_sock_sendfile(asyncio_get_running_loop(), s.fd, s.file)), "1114113");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, FILE_SIZE);
    ck_assert(!memcmp(arrived, file_data(), FILE_SIZE));
    ck_position(s.file, FILE_SIZE);
    close(s.file);
    return None;
}

NET_TEST(SockSendfileMixin__test_sock_sendfile_with_offset_and_count)
{
    Sending s = sending_begin();
    ck_repr(await(loop_sock_sendfile(asyncio_get_running_loop(), s.fd, s.file, 1000, 2000)), "2000");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, 2000);
    ck_assert(!memcmp(arrived, file_data() + 1000, 2000));
    ck_position(s.file, 3000);
    close(s.file);
    return None;
}

NET_TEST(SockSendfileMixin__test_sock_sendfile_zero_size)
{
    Sending s = sending_begin();
    ck_assert_int_eq(ftruncate(s.file, 0), 0);
    ck_repr(await(loop_sock_sendfile(asyncio_get_running_loop(), s.fd, s.file)), "0");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, 0);
    ck_position(s.file, 0);
    close(s.file);
    return None;
}

NET_TEST(SockSendfileMixin__test_sock_sendfile_mix_with_regular_send)
{
    static char mixed[65536];
    Loop *loop = asyncio_get_running_loop();
    Sending s = sending_begin();
    for (size_t i = 0; i < sizeof mixed; i++) mixed[i] = "mix_regular_send"[i % 16];
    Value around = bytes(mixed, sizeof mixed);
    await(loop_sock_sendall(loop, s.fd, around));
    ck_repr(await(loop_sock_sendfile(loop, s.fd, s.file)), "1114113");
    await(loop_sock_sendall(loop, s.fd, around));
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, FILE_SIZE + 2 * sizeof mixed);
    ck_assert(!memcmp(arrived, mixed, sizeof mixed));
    ck_assert(!memcmp(arrived + sizeof mixed, file_data(), FILE_SIZE));
    ck_assert(!memcmp(arrived + sizeof mixed + FILE_SIZE, mixed, sizeof mixed));
    ck_position(s.file, FILE_SIZE);
    close(s.file);
    return None;
}
