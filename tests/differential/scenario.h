/* Scenarios: the small programs that run in C and in Python. README.md has their language. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stdint.h>

/* The text of the scenario that belongs to a seed: the same on every machine. Free it. */
char *scenario_generate(uint64_t seed);

#endif
