/* helper.h: what the tracer's tests share: the check library, and a few lines of trace written by hand. */
#ifndef TRACER_TEST_HELPER_H
#define TRACER_TEST_HELPER_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define EVENT(n, name, ts, tid, args) \
    "{\"name\":\"" name "\",\"cat\":\"asyncio\",\"ph\":\"i\",\"ts\":" #ts ",\"pid\":1,\"tid\":" #tid ",\"args\":{\"n\":" #n args "}},"
#define BEGIN EVENT(1, "trace.begin", 0, 0, ",\"version\":1,\"program\":\"p\",\"cwd\":\"/\",\"clock\":\"virtual\"")

/* Runs one suite; exit status 1 if a test failed. */
static inline int run_suite(Suite *s) {
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

static inline TCase *one_case(Suite *s, const char *name) {
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 30);
    suite_add_tcase(s, c);
    return c;
}

/* The path of a recording: made by tests/tracer/run-all, or by hand with simulate.py. */
static inline char *recording(const char *name) {
    const char *folder = getenv("TRACER_RECORDINGS");
    return xformat("%s/%s.json", folder ? folder : "tests/tracer/recordings", name);
}

#endif
