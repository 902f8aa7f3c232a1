# asyncio in C. `make help` says what there is to do here.
#
# A file that lies in the right place is found by itself: a test is tests/NAME.c, a lesson is lessons/NN-name/lesson.c,
# an example is examples/NAME.c. Everything that is made lies under build/. A lesson whose name ends with -tls is built with TLS.
#
# `make TLS=1` and `make TLS=1 TARGET`: the same with TLS, for which OpenSSL is needed.

CC       ?= cc
AR       ?= ar
CFLAGS   ?= -O2 -g -std=gnu11 -Wall -Wextra
PREFIX   ?= /usr/local
PKG_CONFIG ?= pkg-config

VERSION  := $(shell sed -n 's/^\#define ASYNCIO_VERSION "\(.*\)"/\1/p' asyncio.h)
TLS_LESSONS := $(patsubst lessons/%.c,build/lessons/%,$(wildcard lessons/[0-9]*-tls/*.c))
LESSONS  := $(filter-out $(TLS_LESSONS),$(patsubst lessons/%.c,build/lessons/%,$(wildcard lessons/[0-9]*/*.c)))
EXAMPLES := $(patsubst examples/%.c,build/examples/%,$(wildcard examples/*.c))
TESTS    := $(patsubst tests/%.c,build/tests/%,$(wildcard tests/*.c tests/cpython/*.c))
TLS_TESTS := $(filter %/tls %ssl %sslproto %_tls,$(TESTS))
TESTS    := $(filter-out $(TLS_TESTS),$(TESTS))

# Which asyncio.o the programs are linked with. What is about TLS always needs the second one, and is left out where there is no OpenSSL.
TLS        ?=
OBJECT     := build/$(if $(TLS),tls/)asyncio.o
OPENSSL    = `$(PKG_CONFIG) --cflags --libs openssl`
LIBS       = $(if $(TLS),$(OPENSSL)) -lm -lpthread
HAS_OPENSSL = $(shell $(PKG_CONFIG) --exists openssl 2>/dev/null && echo yes)

include tracer/tracer.mk

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all demo test lesson exercise bench differential sanitize valgrind tsan soak matrix install uninstall packages clean help \
        build-all build-tests suite always

# ---- for everybody ----

demo:  ## a lesson in the tracer: in its window, or without a display as pictures in build/demo/ and as text
	@tools/install-packages build
	@$(MAKE) $(QUIET) build/tracer $(call of_lesson,$(or $(N),05))
	@tools/show-lesson --demo $(N)

lesson:  ## make lesson N=05: that lesson in the tracer, or without a display as text
	@tools/install-packages build $(call needs_of_lesson,$(N))
	@$(MAKE) $(QUIET) build/tracer $(call of_lesson,$(N))
	@tools/show-lesson "$(N)"

exercise:  ## make exercise N=05: builds and runs your exercise.c, and says whether it does what is asked
	@tools/install-packages build $(call needs_of_lesson,$(N))
	@$(MAKE) $(QUIET) $(call of_lesson,$(N))
	@tools/check-exercise "$(N)"

all:  ## the library, the tracer, the lessons, the examples (plain `make`)
	@tools/install-packages $(if $(TLS),build tls,--check build)
	@$(MAKE) --no-print-directory build-all

test:  ## installs what is missing, builds, passes all tests
	@tools/install-packages build test $(if $(TLS),tls)
	@$(MAKE) --no-print-directory suite

install: build/libasyncio.a build/asyncio.pc build/tracer  ## header, library, pkg-config file, tracer, manuals (PREFIX=/usr/local, DESTDIR=)
	@$(foreach file,$(INSTALLED),install -D -m $(call mode_of,$(file)) $(call source_of,$(file)) $(DESTDIR)$(PREFIX)/$(call place_of,$(file)) &&) true
	@echo "Installed under $(DESTDIR)$(PREFIX)"

uninstall:  ## takes away what install put there
	@rm -f $(foreach file,$(INSTALLED),$(DESTDIR)$(PREFIX)/$(call place_of,$(file)))
	@echo "Removed from $(DESTDIR)$(PREFIX)"

packages:  ## installs the packages that are needed to build and test, if they are missing
	@tools/install-packages build test

clean:  ## removes build/
	rm -rf build

help:  ## this text
	@echo "asyncio in C $(VERSION). What make can do:"
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

# ---- for those who work on it ----

bench:  ## measures it beside CPython and other libraries
	@tools/install-packages build bench
	@bench/run

differential:  ## the same random scenarios here and in Python 3.13, compared (COUNT=1000, from a new place each time)
	@tools/install-packages build test
	@$(MAKE) $(QUIET) build/tests/differential
	@tests/differential/run $(if $(COUNT),--count $(COUNT))

sanitize:  ## the whole suite with AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/install-packages build test
	@tools/mirror build/sanitize
	@ASAN_OPTIONS=verify_asan_link_order=0 LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 $(MAKE) --no-print-directory -C build/sanitize suite \
	    CFLAGS="-O1 -g -std=gnu11 -Wall -Wextra -Wno-clobbered -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"

valgrind:  ## the tests and the lessons under valgrind
	@tools/install-packages build test valgrind
	@tools/mirror build/valgrind
	@$(MAKE) --no-print-directory -C build/valgrind suite CFLAGS="-O1 -g -std=gnu11 -Wall -Wextra" \
	    UNDER="valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --num-callers=20"

tsan:  ## the tests of threads, signals and sockets with ThreadSanitizer
	@tools/install-packages build test
	@tools/mirror build/tsan
	@$(MAKE) $(QUIET) -C build/tsan $(RACY:tests/%.c=build/tests/%) \
	    CFLAGS="-O1 -g -std=gnu11 -Wall -Wextra -Wno-clobbered -fsanitize=thread"
	@cd build/tsan && UNDER="setarch -R" tests/run $(RACY)

soak:  ## a million requests, and all else that a server does over and over, at full length
	@tools/install-packages build test
	@$(MAKE) $(QUIET) build/tests/soak
	@SOAK=full CK_TIMEOUT_MULTIPLIER=10 build/tests/soak

matrix:  ## the whole suite with gcc and clang at -O0, -O2, -O3 and -O2 -flto; a warning is an error
	@tools/install-packages build test clang
	@tools/matrix

# What ThreadSanitizer runs: all that has to do with threads.
RACY := $(patsubst %,tests/%.c,races threads signals run subprocess sockets transports streams connections soak)

# ---- how things are built ----

# Called by the targets above, with the packages in place. The suite goes on where a file does not compile, and says so.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
QUIET = -s --no-print-directory $(JOBS)
of_lesson = $(filter build/lessons/$(or $(1),none)-%,$(LESSONS) $(TLS_LESSONS))
needs_of_lesson = $(if $(filter $(TLS_LESSONS),$(call of_lesson,$(1))),tls certificates)

build-all: build/libasyncio.a build/tracer $(LESSONS) $(EXAMPLES) $(if $(TLS),$(TLS_LESSONS))
build-tests: build/libasyncio.a build/asyncio.pc build/tracer $(LESSONS) $(EXAMPLES) $(TESTS) \
             build/tests/differential build/tests/peers/echo $(TRACER_TEST_BIN) $(if $(HAS_OPENSSL),$(TLS_TESTS) $(TLS_LESSONS) build/tests/peers/tls)

suite:
	@$(MAKE) $(QUIET) -k build-tests || true
	@UNDER="$(UNDER)" tests/run

PROGRAM = $(CC) $(CPPFLAGS) $(CFLAGS) -I. -MMD -MP -MF $@.d -o $@ $< $(OBJECT) $(LDFLAGS)

# Programs are linked anew when it is another object than the last time.
build/linked-with: always
	@mkdir -p $(@D)
	@echo $(OBJECT) | cmp -s - $@ || echo $(OBJECT) >$@

# _FORTIFY_SOURCE, which some systems switch on by themselves, takes a longjmp from one stack to another for an attack.
build/asyncio.o: asyncio.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -U_FORTIFY_SOURCE -MMD -MP -c -o $@ $<

build/tls/asyncio.o: asyncio.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -U_FORTIFY_SOURCE -DASYNCIO_TLS `$(PKG_CONFIG) --cflags openssl` -MMD -MP -c -o $@ $<

build/libasyncio.a: $(OBJECT) build/linked-with
	@rm -f $@
	$(AR) rcs $@ $<

build/asyncio.pc: packaging/asyncio.pc.in always
	@mkdir -p $(@D)
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@REQUIRES@|$(if $(TLS),openssl)|' $< > $@

$(LESSONS): build/lessons/%: lessons/%.c $(OBJECT) build/linked-with
	@mkdir -p $(@D)
	$(PROGRAM) $(LIBS)

$(TLS_LESSONS): OBJECT := build/tls/asyncio.o
$(TLS_LESSONS): build/lessons/%: lessons/%.c build/tls/asyncio.o
	@mkdir -p $(@D)
	$(PROGRAM) $(OPENSSL) -lm -lpthread

$(EXAMPLES): build/examples/%: examples/%.c $(OBJECT) build/linked-with
	@mkdir -p $(@D)
	$(PROGRAM) $(LIBS)

$(TESTS): build/tests/%: tests/%.c $(OBJECT) build/linked-with
	@mkdir -p $(@D)
	$(PROGRAM) `$(PKG_CONFIG) --cflags --libs check` $(LIBS)

build/tests/tls_absent: OBJECT := build/asyncio.o
build/tests/tls_absent: build/asyncio.o

$(TLS_TESTS): OBJECT := build/tls/asyncio.o
$(TLS_TESTS): build/tests/%: tests/%.c build/tls/asyncio.o
	@mkdir -p $(@D)
	$(PROGRAM) `$(PKG_CONFIG) --cflags --libs check openssl` -lm -lpthread

build/tests/peers/echo: tests/peers/echo.c $(OBJECT) build/linked-with
	@mkdir -p $(@D)
	$(PROGRAM) $(LIBS)

build/tests/peers/tls: tests/peers/tls.c build/tls/asyncio.o
	@mkdir -p $(@D)
	$(PROGRAM) $(OPENSSL) -lm -lpthread
build/tests/peers/tls: OBJECT := build/tls/asyncio.o

build/tests/differential: tests/differential/interpreter.c tests/differential/generate.c $(OBJECT) build/linked-with
	@mkdir -p $(@D)
	$(PROGRAM) tests/differential/generate.c $(LIBS)

-include build/asyncio.d build/tls/asyncio.d build/tests/differential.d $(LESSONS:=.d) $(TLS_LESSONS:=.d) $(EXAMPLES:=.d) $(TESTS:=.d) $(TLS_TESTS:=.d) build/tests/peers/tls.d build/tests/peers/echo.d

# ---- what is installed: source=place=mode ----

INSTALLED := asyncio.h=include/asyncio.h=644 build/libasyncio.a=lib/libasyncio.a=644 \
             build/asyncio.pc=lib/pkgconfig/asyncio.pc=644 build/tracer=bin/tracer=755 \
             $(foreach page,$(wildcard packaging/*.[137] tracer/*.1),$(page)=share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page))=644)
source_of = $(word 1,$(subst =, ,$(1)))
place_of = $(word 2,$(subst =, ,$(1)))
mode_of = $(word 3,$(subst =, ,$(1)))
