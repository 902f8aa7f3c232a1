# tracer.mk: how the tracer and its tests are built. Included by the Makefile at the top; paths are from there.

CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
PYTHON ?= python3

TRACER_MODEL := buf pmap event log lanes model dump history ask narrate program session source tell
TRACER_DRAW := theme glyphs sprites canvas text picture view pane_top pane_source pane_output pane_tick pane_lanes \
               pane_queues pane_objects pane_graph app keys mouse main
TRACER_TESTS := pmap log model history narrate session program source

TRACER_CFLAGS = -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -MMD -MP -Itracer
TRACER_PKG_CFLAGS = $(shell $(PKG_CONFIG) --cflags libcjson sdl2 SDL2_ttf libpng)
TRACER_PKG_LIBS = $(shell $(PKG_CONFIG) --libs sdl2 SDL2_ttf libpng)
TRACER_MODEL_LIBS = $(shell $(PKG_CONFIG) --libs libcjson) -lutil -lm
TRACER_CHECK_LIBS = $(shell $(PKG_CONFIG) --libs check)

TRACER_MODEL_OBJ := $(TRACER_MODEL:%=build/tracer-obj/%.o)
TRACER_DRAW_OBJ := $(TRACER_DRAW:%=build/tracer-obj/%.o)
TRACER_TEST_BIN := $(TRACER_TESTS:%=build/tests/tracer_%)

build/tracer: $(TRACER_DRAW_OBJ) build/libtracer-model.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TRACER_PKG_LIBS) $(TRACER_MODEL_LIBS)

# The model: no SDL in here, and the tests prove it by not linking SDL.
build/libtracer-model.a: $(TRACER_MODEL_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(TRACER_MODEL_OBJ) $(TRACER_DRAW_OBJ): build/tracer-obj/%.o: tracer/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TRACER_CFLAGS) $(TRACER_PKG_CFLAGS) -c -o $@ $<

$(TRACER_TEST_BIN): build/tests/tracer_%: tests/tracer/test_%.c tests/tracer/helper.h build/libtracer-model.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TRACER_CFLAGS) -o $@ $< build/libtracer-model.a $(TRACER_MODEL_LIBS) $(TRACER_CHECK_LIBS)

.PHONY: tracer tracer-tests test-tracer
tracer: build/tracer
tracer-tests: $(TRACER_TEST_BIN)

# All of the tracer's tests: the model's, the command line, the pictures, and the window under Xvfb if there is one.
test-tracer: build/tracer $(TRACER_TEST_BIN)
	tests/tracer/run-all

-include $(TRACER_MODEL_OBJ:.o=.d) $(TRACER_DRAW_OBJ:.o=.d)
