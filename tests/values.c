/* Values: what print() and repr() write, lists, comparing, sorting. The cases of values_cases.h come from Python itself. */
#include "child.h"

#define CASE(expression, text) do { \
        scope { \
            const char *got_ = as_str(repr(V(expression))); \
            ck_assert_msg(!strcmp(got_, text), "repr(%s) is %s, not %s", #expression, got_, text); \
        } cases_++; } while (0);

TEST(every_case_that_python_wrote)
{
    int cases_ = 0;
#include "values_cases.h"
    ck_assert_int_ge(cases_, 600);
}
#undef CASE

/* The table is as the generator makes it today, and so as today's Python writes. */
TEST(the_cases_are_what_python_says_now)
{
    if (!have_python()) return;
    Value command = format("cd '%s' && python3 checks/values.py | cmp - values_cases.h", beside("."));
    ck_assert_int_eq(system(as_str(command)), 0);
}

TEST(v_takes_every_c_type)
{
    char c = 'a';
    signed char sc = -3;
    unsigned char uc = 200;
    short s = -300;
    unsigned short us = 60000;
    unsigned u = 4000000000u;
    long l = -5000000000;
    unsigned long ul = 5;
    long long ll = INT64_MIN;
    float f = 0.5f;
    bool b = 1 == 1;
    const char *text = "t";
    char buffer[] = "buffer";
    ck_repr(list(c, sc, uc, s, us, u, l, ul, ll, f, b, text, buffer, true, false),
            "[97, -3, 200, -300, 60000, 4000000000, -5000000000, 5, -9223372036854775808, 0.5, True, 't', 'buffer', True, False]");
    ck_repr(V((const char *)NULL), "None");
    ck_repr(V((Task *)NULL), "None");
    ck_assert_ptr_eq(as_pointer(V((void *)&c)), &c);
    ck_assert_str_eq(value_type(V((void *)&c)), "pointer");
}

TEST(strings_are_copied)
{
    char text[] = "before";
    Value v = V(text);
    strcpy(text, "after!");
    ck_repr(v, "'before'");
}

TEST(str_of_a_string_is_itself_and_repr_quotes_it)
{
    ck_assert_str_eq(as_str(str("a'b")), "a'b");
    ck_repr("a'b", "\"a'b\"");
    ck_assert_str_eq(as_str(str(list("a", 1.0, None))), "['a', 1.0, None]");
    ck_assert_str_eq(as_str(str(bytes("x\0y", 3))), "b'x\\x00y'");
    ck_assert_str_eq(as_str(str(exception_new(ValueError, "no %d", 3))), "no 3");
    ck_assert_str_eq(as_str(str(exception_new(KeyError, "k"))), "'k'");
    ck_assert_str_eq(as_str(str(V(ValueError))), "");
    ck_repr(exception_new(ValueError, "no"), "ValueError('no')");
    ck_repr(V(ValueError), "ValueError()");
    ck_repr(exception_new_args(ValueError, tuple(1, "a")), "ValueError(1, 'a')");
    ck_assert_str_eq(as_str(str(exception_new_args(ValueError, tuple(1, "a")))), "(1, 'a')");
}

static void prints(void)
{
    print();
    print("");
    print("a", 1, 2.5, None, true, list("x", tuple(1)));
    print("ünïcödé", "a\nb", "it's");
    print(bytes("\xff\n", 2), -0.0, 1e16);
    print(list());
    print(format("%s has %d items, %.2f", "list", 3, 2.0 / 3));
}

TEST(print_writes_what_python_prints)
{
    Child c = child(prints);
    ck_exited(c, 0);
    ck_assert_str_eq(c.out, "\n\na 1 2.5 None True ['x', (1,)]\nünïcödé a\nb it's\nb'\\xff\\n' -0.0 1e+16\n[]\nlist has 3 items, 0.67\n");
    ck_assert_str_eq(c.err, "");
    child_free(c);
}

TEST(a_list_that_contains_itself)
{
    Value a = list(1), b = list(a), t = list();
    list_append(a, a);
    ck_repr(a, "[1, [...]]");
    ck_repr(b, "[[1, [...]]]");
    ck_repr(list(a, a), "[[1, [...]], [1, [...]]]");
    list_append(t, tuple(1, t));
    ck_repr(t, "[(1, [...])]");
    list_clear(a);                                      /* a cycle is the program's to break */
    list_clear(t);
}

TEST(deeply_nested_lists)
{
    Value v = list();
    for (int i = 0; i < 300; i++) v = list(v);
    const char *text = as_str(repr(v));
    ck_assert_uint_eq(strlen(text), 602);
    ck_assert_int_eq(text[300], '[');
    ck_assert_int_eq(text[301], ']');
}

TEST(eighty_items_in_one_call)
{
    Value v = list(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                   32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60,
                   61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79);
    ck_assert_int_eq(len(v), 80);
    for (int i = 0; i < 80; i++) ck_assert_int_eq(as_int(list_get(v, i)), i);
}

TEST(list_functions)
{
    Value v = list(1, "b", 2.5);
    ck_repr(list_get(v, 0), "1");
    ck_repr(list_get(v, -1), "2.5");
    ck_repr(list_get(v, -3), "1");
    list_set(v, 1, "B");
    list_set(v, -1, None);
    ck_repr(v, "[1, 'B', None]");
    list_append(v, list(7));
    list_insert(v, 0, "first");
    list_insert(v, -1, "before last");
    list_insert(v, 100, "end");
    list_insert(v, -100, "start");
    ck_repr(v, "['start', 'first', 1, 'B', None, 'before last', [7], 'end']");
    ck_repr(list_pop(v, -1), "'end'");
    ck_repr(list_pop(v, 0), "'start'");
    ck_repr(list_pop(v, -2), "'before last'");
    ck_repr(v, "['first', 1, 'B', None, [7]]");
    ck_assert(list_contains(v, list(7)) && list_contains(v, 1.0) && list_contains(v, true) && list_contains(v, None));
    ck_assert(!list_contains(v, "b") && !list_contains(v, tuple(7)));
    list_clear(v);
    ck_repr(v, "[]");
    ck_assert(list_contains(tuple(1, 2), 2));
}

TEST(strings_and_bytes_are_sequences_too)
{
    Value text = V("aé漢🐍"), data = bytes("\x00\x7f\xff", 3);
    ck_assert_int_eq(len(text), 4);
    ck_repr(list_get(text, 1), "'é'");
    ck_repr(list_get(text, -1), "'🐍'");
    ck_repr(list_get(text, -4), "'a'");
    ck_raises_text(IndexError, "string index out of range", list_get(text, 4));
    ck_assert_int_eq(len(data), 3);
    ck_repr(list_get(data, -1), "255");
    ck_raises_text(IndexError, "index out of range", list_get(data, 3));
    size_t length;
    ck_assert_int_eq(as_bytes(data, &length)[1], 0x7f);
    ck_assert_uint_eq(length, 3);
    ck_assert_ptr_nonnull(as_bytes(data, NULL));
}

/* A character of a string of broken UTF-8 is a byte; nothing is read past the end. */
TEST(characters_of_broken_text)
{
    ck_assert_int_ge(len("\xff\xfe"), 0);
    for (int i = -4; i < 4; i++) {
        try { repr(list_get(V("\x80" "a\xff\xc3"), i)); } except (IndexError) { } end_try
    }
}

TEST(index_errors)
{
    Value v = list(1, 2);
    ck_raises_text(IndexError, "list index out of range", list_get(v, 2));
    ck_raises_text(IndexError, "list index out of range", list_get(v, -3));
    ck_raises_text(IndexError, "tuple index out of range", list_get(tuple(1), 1));
    ck_raises_text(IndexError, "list assignment index out of range", list_set(v, 2, 0));
    ck_raises_text(IndexError, "pop index out of range", list_pop(v, 2));
    ck_raises_text(IndexError, "pop from empty list", list_pop(list(), -1));
    ck_raises(IndexError, list_get(list(), 0));
    ck_raises(IndexError, list_get(v, INT32_MIN));
    ck_raises(IndexError, list_get(v, INT32_MAX));
}

TEST(wrong_types_say_which)
{
    ck_raises_text(TypeError, "expected int, got str", as_int(V("1")));
    ck_raises_text(TypeError, "expected bool, got int", as_bool(V(1)));
    ck_raises_text(TypeError, "expected float, got str", as_float(V("1.5")));
    ck_raises_text(TypeError, "expected str, got bytes", as_str(bytes("a", 1)));
    ck_raises_text(TypeError, "expected bytes, got str", as_bytes(V("a"), NULL));
    ck_raises_text(TypeError, "expected pointer, got NoneType", as_pointer(None));
    ck_raises_text(TypeError, "expected list, got tuple", list_append(tuple(1), 1));
    ck_raises_text(TypeError, "expected list, got tuple", list_sort(tuple(1)));
    ck_raises_text(TypeError, "'int' object is not subscriptable", list_get(V(5), 0));
    ck_raises_text(TypeError, "'NoneType' object is not subscriptable", list_get(None, -1));
    ck_raises_text(TypeError, "'tuple' object does not support item assignment", list_set(tuple(1), 0, 2));
    ck_raises_text(TypeError, "'str' object does not support item assignment", list_set(V("a"), 0, "b"));
    ck_raises_text(TypeError, "argument of type 'int' is not iterable", list_contains(V(5), "a"));
    ck_raises_text(TypeError, "'in <string>' requires string as left operand, not int", list_contains(V("abc"), 1));
    ck_raises_text(TypeError, "a bytes-like object is required, not 'str'", list_contains(bytes("abc", 3), "a"));
    ck_raises_text(ValueError, "byte must be in range(0, 256)", list_contains(bytes("abc", 3), 256));
    ck_raises_text(TypeError, "'int' object is not iterable", for_in (x, V(5)) note(x));
    ck_raises_text(TypeError, "object of type 'NoneType' has no len()", len(None));
    ck_raises_text(TypeError, "object of type 'int' has no len()", len(5));
    ck_raises_text(TypeError, "expected a Task, got int", as_task(V(1)));
    ck_raises_text(TypeError, "expected a Future, got list", as_future(list()));
    ck_raises_text(TypeError, "a coroutine was expected, got str", as_coroutine(V("f")));
    ck_raises(TypeError, for_in (x, V(3)) { (void)x; });
}

/* As in Python: a str is its characters, bytes are numbers. */
TEST(texts_have_items)
{
    Value all = list(), numbers = list(), a, b;
    for_in (c, V("aé日")) list_append(all, c);
    for_in (c, V("")) list_append(all, c);
    for_in (n, bytes("a\xff", 2)) list_append(numbers, n);
    ck_repr(all, "['a', 'é', '日']");
    ck_repr(numbers, "[97, 255]");
    unpack(V("é!"), &a, &b);
    ck_repr(tuple(a, b), "('é', '!')");
    unpack(bytes("ab", 2), &a, &b);
    ck_repr(tuple(a, b), "(97, 98)");
    ck_raises_text(ValueError, "too many values to unpack (expected 2)", unpack(V("abc"), &a, &b));
    ck_raises_text(ValueError, "not enough values to unpack (expected 2, got 1)", unpack(V("日"), &a, &b));
    ck_raises_text(TypeError, "cannot unpack non-iterable int object", unpack(V(5), &a, &b));
    ck_assert(list_contains(V("abc"), "bc") && list_contains(V("abc"), "") && !list_contains(V("abc"), "ac"));
    ck_assert(list_contains(bytes("a\0b", 3), 98) && list_contains(bytes("a\0b", 3), bytes("\0b", 2)) && !list_contains(bytes("a", 1), 0));
}

TEST(numbers_convert_as_in_python)
{
    ck_assert_int_eq(as_int(V(true)), 1);
    ck_assert(as_float(V(3)) == 3.0 && as_float(V(true)) == 1.0);
    ck_assert(value_truth(V(1)) && value_truth(V(-0.5)) && value_truth(V("0")) && value_truth(list(0)) && value_truth(V(ValueError)));
    ck_assert(!value_truth(None) && !value_truth(V(0)) && !value_truth(V(0.0)) && !value_truth(V("")) && !value_truth(list()) && !value_truth(tuple()) && !value_truth(bytes("", 0)));
}

TEST(equality_never_raises)
{
    Value object = V(ValueError), many[] = {None, V(true), V(0), V(1.0), V("a"), bytes("a", 1), list(1), tuple(1), object};
    int n = sizeof many / sizeof *many;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) ck_assert_int_eq(value_equal(many[i], many[j]), i == j || (i == 1 && j == 3) || (i == 3 && j == 1));
    ck_assert(value_equal(V(1), V(1.0)) && value_equal(V(1), V(true)) && value_equal(V(0), V(-0.0)));
    ck_assert(!value_equal(V(NAN), V(NAN)));
    ck_assert(value_equal(list(1, list("a", None)), list(1.0, list("a", None))));
    ck_assert(!value_equal(list(1), list(1, 2)) && !value_equal(list(1), tuple(1)) && !value_equal(V(ValueError), object));
}

/* 2**53 + 1 is no double: Python compares an int with a float exactly. */
TEST(large_ints_compare_exactly_with_floats)
{
    ck_assert(!value_equal(V(INT64_C(9007199254740993)), V(9007199254740992.0)));
    ck_assert(value_less(V(9007199254740992.0), V(INT64_C(9007199254740993))));
    ck_assert(!value_less(V(INT64_C(9007199254740993)), V(9007199254740992.0)));
    ck_assert(!value_equal(V(INT64_MAX), V(9223372036854775808.0)));
    ck_assert(value_less(V(INT64_MAX), V(9223372036854775808.0)));
    ck_assert(value_equal(V(INT64_MIN), V(-9223372036854775808.0)));
    ck_assert(value_less(V(INT64_MAX), V(INFINITY)) && value_less(V(-INFINITY), V(INT64_MIN)));
    ck_assert(!value_less(V(1), V(NAN)) && !value_less(V(NAN), V(1)) && !value_equal(V(1), V(NAN)));
}

TEST(order)
{
    ck_assert(value_less(V(1), V(2)) && value_less(V(1), V(1.5)) && value_less(V(false), V(true)) && !value_less(V(2), V(2)));
    ck_assert(value_less(V("a"), V("b")) && value_less(V("a"), V("aa")) && value_less(V(""), V("a")) && value_less(V("Z"), V("a")) && value_less(V("z"), V("é")));
    ck_assert(value_less(bytes("\x7f", 1), bytes("\x80", 1)) && value_less(bytes("a", 1), bytes("a\0", 2)));
    ck_assert(value_less(list(1, 2), list(1, 3)) && value_less(list(1), list(1, 0)) && !value_less(list(1, 2), list(1, 2)));
    ck_assert(value_less(tuple(1, "a"), tuple(1, "b")) && value_less(tuple(), tuple(0)));
}

TEST(no_order_between_unlike_types)
{
    ck_raises_text(TypeError, "'<' not supported between instances of 'int' and 'str'", value_less(V(1), V("a")));
    ck_raises_text(TypeError, "'<' not supported between instances of 'NoneType' and 'NoneType'", value_less(None, None));
    ck_raises_text(TypeError, "'<' not supported between instances of 'list' and 'tuple'", value_less(list(1), tuple(1)));
    ck_raises_text(TypeError, "'<' not supported between instances of 'str' and 'bytes'", value_less(V("a"), bytes("a", 1)));
    ck_raises_text(TypeError, "'<' not supported between instances of 'str' and 'int'", value_less(tuple(1, "a"), tuple(1, 2)));
    ck_raises_text(TypeError, "'<' not supported between instances of 'ValueError' and 'ValueError'", value_less(V(ValueError), V(ValueError)));
    ck_assert(value_less(tuple(1, "a"), tuple(2, 2)));
}

/* Sorting moves objects about, and counts none twice. */
TEST(sorting_holds_each_once)
{
    size_t before = asyncio_live_objects();
    scope {
        Value v = list(), held = list();
        for (int i = 0; i < 50; i++) list_append(v, format("%02d", i * 37 % 50));
        for_in (each, v) list_append(held, tuple(each));
        list_sort(v);
        for (int i = 0; i < 50; i++) ck_assert_int_eq(atoi(as_str(list_get(v, i))), i);
        list_clear(v);
        for_in (each, held) ck_assert_uint_eq(strlen(as_str(list_get(each, 0))), 2);
        ck_raises_text(TypeError, "'<' not supported between instances of 'NoneType' and 'int'", list_sort(list(list(1), list(None), list(2))));
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

TEST(sorting)
{
    Value v = list(3, 1.5, 2, -7, 2.0, true, 0);
    list_sort(v);
    ck_repr(v, "[-7, 0, True, 1.5, 2, 2.0, 3]");
    v = list("pear", "Apple", "apple", "", "äpple");
    list_sort(v);
    ck_repr(v, "['', 'Apple', 'apple', 'pear', 'äpple']");
    v = list();
    list_sort(v);
    ck_repr(v, "[]");
    v = list(tuple(2, "a"), tuple(1, "z"), tuple(1, "b"));
    list_sort(v);
    ck_repr(v, "[(1, 'b'), (1, 'z'), (2, 'a')]");
}

/* Equal keys 1, 1.0 and True tell by their type which came first. */
TEST(sorting_is_stable)
{
    Value v = list();
    for (int i = 0; i < 999; i++) {
        if (i % 3 == 0) list_append(v, i * 7 % 10);
        else list_append(v, (double)(i * 7 % 10));
        list_append(v, list());
        list_pop(v, -1);
    }
    Value before = list();
    for_in (x, v) list_append(before, x);
    list_sort(v);
    for (int key = 0; key < 10; key++) {
        Value wanted = list(), got = list();
        for_in (x, before) if (as_float(x) == key) list_append(wanted, x);
        for_in (x, v) if (as_float(x) == key) list_append(got, x);
        ck_assert_str_eq(as_str(repr(got)), as_str(repr(wanted)));
    }
}

TEST(a_comparison_that_raises_leaves_the_list_whole)
{
    Value v = list(3, "a", 1, None, 2);
    ck_raises(TypeError, list_sort(v));
    ck_repr(v, "[3, 'a', 1, None, 2]");
}

TEST(for_in_sees_what_is_appended_meanwhile)
{
    Value v = list(1);
    int turns = 0;
    for_in (x, v) {
        if (++turns < 5) list_append(v, as_int(x) + 1);
    }
    ck_repr(v, "[1, 2, 3, 4, 5]");
    ck_assert_int_eq(turns, 5);
    for_in (x, tuple(1, 2, 3)) { if (as_int(x) == 2) break; turns++; }
    ck_assert_int_eq(turns, 6);
    for_in (x, list()) { (void)x; turns++; }
    ck_assert_int_eq(turns, 6);
}

/* An item may be the list's only hold on what is put in its place. */
TEST(an_item_replaced_by_its_own_part)
{
    size_t before = asyncio_live_objects();
    scope {
        Value v = list();
        scope { list_append(v, list(list("deep"))); }
        list_set(v, 0, list_get(list_get(v, 0), 0));
        list_set(v, 0, list_get(list_get(v, 0), 0));
        ck_repr(v, "['deep']");
        list_set(v, 0, list_get(v, 0));
        ck_repr(v, "['deep']");
    }
    ck_assert_uint_eq(asyncio_live_objects(), before);
}

TEST(type_names)
{
    ck_assert_str_eq(value_type(None), "NoneType");
    ck_assert_str_eq(value_type(V(true)), "bool");
    ck_assert_str_eq(value_type(V(1)), "int");
    ck_assert_str_eq(value_type(V(1.0)), "float");
    ck_assert_str_eq(value_type(V("")), "str");
    ck_assert_str_eq(value_type(bytes("", 0)), "bytes");
    ck_assert_str_eq(value_type(list()), "list");
    ck_assert_str_eq(value_type(tuple()), "tuple");
    ck_assert_str_eq(value_type(V(KeyError)), "KeyError");
}

TEST(format_of_any_length)
{
    ck_assert_int_eq(len(format("%100000d", 1)), 100000);
    ck_assert_int_eq(len(format("%s", "")), 0);
    ck_repr(format("%d%%", 5), "'5%'");
}

TEST(a_str_with_zero_bytes_from_bytes)
{
    ck_repr(bytes("a\0b", 3), "b'a\\x00b'");
    ck_assert(!value_equal(bytes("a\0b", 3), bytes("a\0c", 3)));
    ck_repr(bytes(NULL, 0), "b''");
}

/* ---- what outlives what ---- */

async_def(fills, (Value) l, (const char *) text) { list_append(l, format("%s", text)); return None; }
async_def(empties, (Value) l) { await(asyncio_sleep(1)); list_clear(l); return None; }

/* Something else comes where the freed item was. */
static Value same_size_as(const char *text) { return format("%.*s", (int)strlen(text), "????????????????????????????????"); }

ASYNC_TEST(an_item_outlives_its_place)
{
    const char *text = "an item of some length";
    Value l = list(), unpacked;
    await(fills(l, text));
    Value item = list_get(l, 0);
    unpack(l, &unpacked);
    list_set(l, 0, None);
    Value other = same_size_as(text);
    ck_assert_str_eq(as_str(item), text);
    ck_assert_str_eq(as_str(unpacked), text);
    ck_assert_str_ne(as_str(other), text);
    return None;
}

ASYNC_TEST(an_item_in_hand_outlives_its_list)
{
    const char *text = "an item of some length";
    Value l = list();
    await(fills(l, text));
    await(fills(l, text));
    asyncio_create_task(empties(l));
    for_in (item, l) {
        await(asyncio_sleep(2));
        Value other = same_size_as(text);
        ck_assert_str_eq(as_str(item), text);
        ck_assert_str_ne(as_str(other), text);
        note("once");
    }
    ck_notes("once");
    return None;
}

TEST(a_list_is_equal_to_itself_whatever_it_holds)
{
    Value own = list(), nan = list(NAN);
    list_append(own, own);
    ck_assert(value_equal(own, own));
    ck_assert(value_equal(tuple(own, nan), tuple(own, nan)));
    ck_assert(!value_equal(nan, list(NAN)));
    list_clear(own);
}

/* read() gives -1 for an error. */
TEST(bytes_of_an_impossible_length)
{
    ck_raises_text(MemoryError, "cannot allocate 18446744073709551615 bytes", bytes("abc", (size_t)-1));
    ck_raises(MemoryError, bytes("abc", (size_t)-20));
    ck_raises(MemoryError, bytes("abc", SIZE_MAX / 2));
}
