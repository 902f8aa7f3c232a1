/* CPython's test_transports: what all transports have in common. */
#include "cpython_system.h"

NET_TEST(TransportTests__test_ctor_extra_is_none)
{
    Wire wire = wire_new();
    ck_repr(transport_get_extra_info(wire.transport, "unknown"), "None");
    wire_end(&wire);
    return None;
}

NET_TEST(TransportTests__test_get_extra_info)
{
    Wire wire = wire_new();
    ck_repr(transport_get_extra_info(wire.transport, "socket"), as_str(repr(wire.near)));
    ck_repr(transport_get_extra_info(wire.transport, "unknown"), "None");
    ck_repr(transport_get_extra_info(wire.transport, "unknown", V("default")), "'default'");
    wire_end(&wire);
    return None;
}

NET_TEST(TransportTests__test_writelines)
{
    Wire wire = wire_new();
    system_counts(SEND, wire.near);
    transport_writelines(wire.transport, list(bytes("line1", 5), bytes("line2", 5), bytes("line3", 5)));
    ck_assert_int_eq(system_calls(SEND), 1);
    ck_arrives(&wire, "line1line2line3");
    ck_raises(TypeError, transport_writelines(wire.transport, list(bytes("line4", 5), 5)));
    ck_arrives(&wire, "nothing yet");
    transport_write_eof(wire.transport);
    ck_raises_text(RuntimeError, "Cannot call writelines() after write_eof()", transport_writelines(wire.transport, list()));
    wire_end(&wire);
    return None;
}

NET_TEST(TransportTests__test_flowcontrol_mixin_set_write_limits)
{
    static char data[512];
    Wire wire = wire_new();
    Transport *transport = wire.transport;
    notes_forget_();
    system_answers(SEND, wire.near, -EAGAIN, -EAGAIN, -EAGAIN);
    transport_write(transport, data, sizeof data);
    ck_raises_text(ValueError, "high (0) must be >= low (1) must be >= 0", transport_set_write_buffer_limits(transport, .high = 0, .low = 1));
    transport_set_write_buffer_limits(transport, .high = 1024, .low = 128);
    ck_notes("");
    ck_repr(transport_get_write_buffer_limits(transport), "(128, 1024)");
    transport_set_write_buffer_limits(transport, .high = 256, .low = 128);
    ck_notes("pause");                                   /* there are 512 bytes already */
    ck_repr(transport_get_write_buffer_limits(transport), "(128, 256)");
    pass_until(notes_[0]);
    ck_notes("resume");
    wire_end(&wire);
    return None;
}
