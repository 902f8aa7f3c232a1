#!/usr/bin/env python3
"""Writes tests/values_cases.h: values as C expressions, each beside the text that Python's repr() gives it."""
import math
import random
import struct

choose = random.Random(13)


def c_text(data):
    """Bytes as a C string literal; an octal escape always has three digits, so that nothing after it belongs to it."""
    out = []
    for byte in data:
        if byte in b'"\\?':
            out.append('\\' + chr(byte))
        elif 0x20 <= byte < 0x7F:
            out.append(chr(byte))
        else:
            out.append('\\%03o' % byte)
    return '"' + ''.join(out) + '"'


def c_value(value):
    if value is None:
        return 'None'
    if value is True or value is False:
        return str(value)
    if isinstance(value, int):
        return 'INT64_MIN' if value == -2**63 else 'INT64_C(%d)' % value
    if isinstance(value, float):
        if math.isnan(value):
            return 'NAN'
        if math.isinf(value):
            return '-INFINITY' if value < 0 else 'INFINITY'
        return value.hex()
    if isinstance(value, str):
        data = value.encode('utf-8', 'surrogateescape')
        return c_text(data)
    if isinstance(value, bytes):
        return 'bytes(%s, %d)' % (c_text(value), len(value))
    name = 'list' if isinstance(value, list) else 'tuple'
    return '%s(%s)' % (name, ', '.join(map(c_value, value)))


def case(value):
    print('CASE(%s, %s)' % (c_value(value), c_text(repr(value).encode('utf-8'))))


def floats():
    yield from (0.0, -0.0, 1.0, -1.0, 0.1, 0.2, 0.1 + 0.2, 1 / 3, 2 / 3, 100.0, 1e15, 1e16, 1e17, 123456789012345680.0,
                9999999999999998.0, 0.0001, 0.00001, 0.00012345, 1e22, 1e23, 5e-324, 2.2250738585072014e-308,
                2.225073858507201e-308, 1.7976931348623157e308, math.inf, -math.inf, math.nan, math.pi, math.e, 2.0**53,
                2.0**53 + 2, 2.0**-44, 9007199254740993.0, 4.35, 0.000035, 1.5, 2.5, 1e100, 1e-7, 12345.678, 1e-5, 9.5e-5)
    for exponent in range(-320, 309, 16):
        yield float('1e%d' % exponent)
        yield float('%.17ge%d' % (choose.uniform(1, 10), exponent))
    for power in (*range(-1074, 1024, 53), -44, -1022, -24, 89, 122, 976):
        yield 2.0**power
    made = 0
    while made < 120:
        number = struct.unpack('d', choose.randbytes(8))[0]
        if not math.isnan(number) and not math.isinf(number):
            made += 1
            yield number
    for _ in range(60):
        yield round(choose.uniform(-1e6, 1e6), choose.randrange(1, 10))


def strings():
    yield from ('', 'a', "it's", 'say "hi"', '''both ' and "''', '\\', '\\n', '\n', '\r', '\t', '\v\f\a\b', '\x1b[0m', '\x7f', 'a\x01b',
                'ünïcödé', '漢字', '🐍', 'é', '\x80', '\x9f', '\xa0', '\xad', '\xff', '\u0378'[:0], '\u200b', '\u2028', '\u2029', '\u3000',
                '\u2003', '\u205f', '\u2060', '\u1680', '\ufeff', '\ue000', '\uf8ff', '\ufffd', '\U0001f600', '\U000e0001', '\U000f0000',
                '\U0010fffd', '\u0600', '\u06dd', '\u070f', '\u180e', '\ufff9', '\u061c', '\u2066', '\u202a', '{}%d%s', '??=', '\x1f7', '\x001'[1:])
    for raw in (b'\xff', b'a\xffb', b'\xc3', b'\xc3(', b'\xe2\x82', b'\xe2\x28\xa1', b'\xf0\x9f\x98', b'\xf8\x88\x80\x80\x80', b'\xc0\x80', b'\xe0\x80\x80',
                b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xf0\x80\x80\x80', b'\x80\x80', b'ok\xc3\xa9\xc3', b'\xfe\xff'):
        yield raw.decode('utf-8', 'surrogateescape')
    letters = 'ab \'"\\\n\t\r\x00\x01é漢🐍\x85\u2028'.replace('\x00', '')
    for _ in range(60):
        yield ''.join(choose.choice(letters) for _ in range(choose.randrange(1, 9)))


def byte_strings():
    yield from (b'', b'a', b"it's", b'"', b'\'"', b'\x00', b'\x00\x01\xff', b'\\', b'\n\r\t', b'\x7f', bytes(range(32)), bytes(range(120, 256)))
    for _ in range(40):
        yield choose.randbytes(choose.randrange(1, 12))


def nested(depth):
    kind = choose.randrange(9 if depth else 7)
    if kind == 0:
        return None
    if kind == 1:
        return choose.random() < 0.5
    if kind == 2:
        return choose.randrange(-1000, 1000)
    if kind == 3:
        return round(choose.uniform(-10, 10), 3)
    if kind == 4:
        return ''.join(choose.choice('ab\'"é\n') for _ in range(choose.randrange(4)))
    if kind == 5:
        return choose.randbytes(choose.randrange(3))
    if kind == 6:
        return choose.choice((math.inf, 1e300, 2**63 - 1, -2**63, 'x'))
    items = [nested(depth - 1) for _ in range(choose.randrange(4))]
    return items if kind == 7 else tuple(items)


def main():
    print('/* Written by tests/checks/values.py: each value beside what Python\'s repr() makes of it. */')
    for value in (None, True, False, 0, 1, -1, 7, 2**31 - 1, -2**31, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -2**63):
        case(value)
    for value in sorted({choose.randrange(-10**n, 10**n) for n in range(1, 19) for _ in range(2)}):
        case(value)
    for source in (floats, strings, byte_strings):
        for value in source():
            case(value)
    for value in ([], (), [[]], ((),), (1,), (None,), [()], ([],), [1, [2, [3, [4, [5]]]]], ((((1,),),),)):
        case(value)
    for _ in range(35):
        case([nested(3) for _ in range(choose.randrange(4))])
        case(tuple(nested(2) for _ in range(choose.randrange(4))))


main()
