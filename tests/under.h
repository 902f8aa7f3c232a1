/* What a test runs under. */
#ifndef UNDER_H
#define UNDER_H

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define UNDER_VALGRIND RUNNING_ON_VALGRIND
#else
#define UNDER_VALGRIND 0
#endif
#define SLOWED_DOWN (UNDER_SANITIZER || UNDER_VALGRIND)

/* valgrind makes a fork of the system's vfork, so posix_spawn() is not told that a program cannot be run. */
#define SPAWN_TELLS_OF_FAILURE (!UNDER_VALGRIND)

#endif
