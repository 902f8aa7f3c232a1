"""Tests of connections need the loopback interface. In an empty network namespace it is there but down: bring it up.

Says what is missing if it cannot, and is silent otherwise.
"""
import fcntl
import socket
import struct

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def request(flags):
    return struct.pack("16sH14x", b"lo", flags)


try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request(0)))[1]
        if not flags & IFF_UP:
            fcntl.ioctl(control, SIOCSIFFLAGS, request(flags | IFF_UP))
except OSError as problem:
    print(f"The loopback interface is down ({problem}): tests of connections will fail. As root: ip link set lo up")
