/* main.c: the command line. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app.h"
#include "picture.h"
#include "tell.h"

static const char help[] =
    "Usage: tracer [OPTIONS] PROGRAM [ARGS...]     runs a program under control and shows what its event loop does\n"
    "       tracer [OPTIONS] FILE                  shows a recording (ASYNCIO_TRACE=FILE ./program)\n"
    "\n"
    "Without a window:\n"
    "  -t, --text           tell all steps in plain English on standard output\n"
    "  -p, --png FILE       draw one step into a PNG file; which one:\n"
    "      --step N           step N\n"
    "      --last             the last one (if nothing else is said)\n"
    "      --at TEXT          the first step whose sentence, or place like lesson.c:12, contains TEXT\n"
    "      --png-dir DIR    draw several steps into DIR/step-NNNNNN.png\n"
    "      --every N          every Nth of them (50)\n"
    "      --dump           write the state at one step (--step N, or the last) as text: for tests\n"
    "      --limit SECONDS  end a program that runs longer than that (60; 0 = never)\n"
    "\n"
    "In both cases:\n"
    "      --size WxH       of the window or picture (1280x800)\n"
    "      --scale F        larger or smaller letters (1)\n"
    "      --source DIR     look for source files here too; may be given several times\n"
    "  -o, --record FILE    write the trace of PROGRAM into a file as well\n"
    "  -h, --help           this text\n"
    "  -V, --version        version\n"
    "\n"
    "In the window, ? shows the keys. Exit status: 0, 1 = something could not be read or written, 2 = wrong usage or\n"
    "no display. The manual is tracer(1).\n";

enum { OPT_STEP = 256, OPT_LAST, OPT_AT, OPT_DIR, OPT_EVERY, OPT_LIMIT, OPT_SIZE, OPT_SCALE, OPT_SOURCE, OPT_DUMP };

static const struct option longs[] = {
    {"text", no_argument, NULL, 't'}, {"png", required_argument, NULL, 'p'}, {"step", required_argument, NULL, OPT_STEP},
    {"last", no_argument, NULL, OPT_LAST}, {"at", required_argument, NULL, OPT_AT},
    {"png-dir", required_argument, NULL, OPT_DIR}, {"every", required_argument, NULL, OPT_EVERY},
    {"limit", required_argument, NULL, OPT_LIMIT}, {"size", required_argument, NULL, OPT_SIZE},
    {"scale", required_argument, NULL, OPT_SCALE}, {"source", required_argument, NULL, OPT_SOURCE},
    {"record", required_argument, NULL, 'o'}, {"dump", no_argument, NULL, OPT_DUMP}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};

typedef struct Options {
    bool text, dump, last;
    const char *png, *dir, *at, *record;
    size_t step, every;
    bool has_step;
    int w, h;
    double scale, limit;
    VEC(const char *) folders;
    char **rest;
    int count;
} Options;

static void usage(const char *what, const char *value) __attribute__((noreturn));
static void usage(const char *what, const char *value) {
    fprintf(stderr, "tracer: %s%s%s. tracer --help lists what there is.\n", what, value ? ": " : "", value ? value : "");
    exit(2);
}

static double number(const char *text, const char *option, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        usage(option, text);
    return value;
}

static void size_of(Options *o, const char *text) {
    char tail;
    if (sscanf(text, "%dx%d%c", &o->w, &o->h, &tail) != 2 || o->w < LEAST_WIDTH || o->h < LEAST_HEIGHT || o->w > 16384 || o->h > 16384)
        usage("--size needs something like 1280x800 (320x240 to 16384x16384), not", text);
}

static void option(Options *o, int which) {
    switch (which) {
    case 't': o->text = true; break;
    case 'p': o->png = optarg; break;
    case 'o': o->record = optarg; break;
    case OPT_STEP: o->has_step = true; o->step = (size_t) number(optarg, "--step needs a number of a step, not", 0, 1e12); break;
    case OPT_LAST: o->last = true; break;
    case OPT_AT: o->at = optarg; break;
    case OPT_DIR: o->dir = optarg; break;
    case OPT_EVERY: o->every = (size_t) number(optarg, "--every needs a number from 1, not", 1, 1e12); break;
    case OPT_LIMIT: o->limit = number(optarg, "--limit needs seconds, not", 0, 1e9); break;
    case OPT_SIZE: size_of(o, optarg); break;
    case OPT_SCALE: o->scale = number(optarg, "--scale needs a number from 0.5 to 4, not", 0.5, 4); break;
    case OPT_SOURCE: vec_push(o->folders, optarg); break;
    case OPT_DUMP: o->dump = true; break;
    case 'h': fputs(help, stdout); exit(0);
    case 'V': puts("tracer 1.0 (trace format 1)"); exit(0);
    default: fputs("tracer --help lists what there is.\n", stderr); exit(2);
    }
}

static Options options(int argc, char **argv) {
    Options o = {.every = 50, .w = 1280, .h = 800, .scale = 1, .limit = 60};
    for (int which; (which = getopt_long(argc, argv, "+tp:o:hV", longs, NULL)) != -1;)
        option(&o, which);
    o.rest = argv + optind;
    o.count = argc - optind;
    if (!o.count)
        usage("a PROGRAM or a recording is missing", NULL);
    return o;
}

/* ---- program or recording? ---- */

static bool looks_like_recording(const char *path) {
    char start[64] = "";
    FILE *in = fopen(path, "rb");
    if (!in)
        return false;
    size_t n = fread(start, 1, sizeof start - 1, in);
    fclose(in);
    char *first = start + strspn(start, " \t\r\n");
    return n && (*first == '[' || *first == '{');
}

static bool is_recording(const Options *o) {
    const char *path = o->rest[0];
    struct stat st;
    if (o->count > 1 || stat(path, &st))
        return false;
    if (!S_ISREG(st.st_mode) || looks_like_recording(path))
        return true;
    return access(path, X_OK) != 0;
}

static void complain(const char *text) {
    fprintf(stderr, "tracer: %s\n", text);
}

/* Shown on a terminal while a large recording is read. */
static void progress(double part) {
    if (isatty(2))
        fprintf(stderr, part < 1 ? "\rreading %3.0f %% " : "\r              \r", part * 100);
}

static bool open_recording(Session *s, const Options *o) {
    const char *path = o->rest[0];
    struct stat st;
    if (!stat(path, &st) && S_ISREG(st.st_mode) && st.st_size && access(path, R_OK) == 0 && !looks_like_recording(path)) {
        fprintf(stderr, "tracer: %s is neither a program (it is not executable) nor a recording (it does not begin with "
                "[). Source code has to be compiled first; a recording is made with ASYNCIO_TRACE=FILE ./program.\n", path);
        return false;
    }
    bool good = history_load(&s->history, path, progress);
    progress(1);
    if (!good || s->history.log.refused)
        complain(s->history.log.refused ? s->history.log.refused : "there is nothing to show.");
    else if (s->history.log.problem)
        complain(s->history.log.problem);
    return good;
}

static bool open_program(Session *s, const Options *o) {
    char *error = NULL;
    s->program = program_start(&s->history, o->rest, &error);
    if (!s->program) {
        complain(error);
        free(error);
        return false;
    }
    if (!o->record)
        return true;
    s->program->record = fopen(o->record, "w");
    if (s->program->record)
        fputs("[\n", s->program->record);
    else
        fprintf(stderr, "tracer: %s cannot be written: %s.\n", o->record, strerror(errno));
    return s->program->record != NULL;
}

/* ---- without a window ---- */

/* Lets the program run, to the end or to the step that is wanted, telling meanwhile if a teller is given. */
static void run_program(Session *s, const Options *o, Teller *teller) {
    enum { CREDIT = 512 };
    Program *p = s->program;
    double began = now_seconds();
    size_t enough = o->has_step && !teller && !o->dir ? o->step : SIZE_MAX;
    while (!p->ended && session_count(s) < enough) {
        program_poll(p, 200);
        if (teller)
            tell(teller, &s->history);
        if (teller && (fflush(teller->out) || ferror(teller->out)))
            break;
        size_t left = enough - session_count(s);
        if (p->spoke && p->asked < CREDIT / 2 && !p->ended && left > p->asked)
            program_leave(p, left - p->asked < CREDIT ? left - p->asked : CREDIT);
        if (o->limit > 0 && now_seconds() - began > o->limit) {
            fprintf(stderr, "tracer: the program still runs after %g s (--limit): it is ended now.\n", o->limit);
            break;
        }
    }
    program_stop(p);
    if (teller)
        tell(teller, &s->history);
    if (s->history.log.problem)
        complain(s->history.log.problem);
}

/* Exit status: was standard output taken? The end of a pipe is no error. */
static int written_out(void) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (errno != EPIPE)
        fprintf(stderr, "tracer: standard output cannot be written: %s.\n", strerror(errno));
    return errno == EPIPE ? 0 : 1;
}

static int run_text(Session *s, const Options *o) {
    Teller teller;
    teller_init(&teller, stdout);
    if (s->program)
        run_program(s, o, &teller);
    else
        tell(&teller, &s->history);
    teller_free(&teller);
    return written_out();
}

static bool draw_step(View *v, size_t k, const char *path) {
    char *error = NULL;
    session_go(v->s, k);
    view_draw(v);
    if (picture_write(v->c, path, &error))
        return true;
    complain(error);
    free(error);
    return false;
}

static bool draw_many(View *v, const Options *o) {
    size_t n = session_count(v->s);
    if (mkdir(o->dir, 0777) && errno != EEXIST) {
        fprintf(stderr, "tracer: the directory %s cannot be made: %s.\n", o->dir, strerror(errno));
        return false;
    }
    for (size_t k = o->every; k < n + o->every; k += o->every) {
        size_t step = k < n ? k : n;
        char *path = xformat("%s/step-%06zu.png", o->dir, step);
        bool good = draw_step(v, step, path);
        free(path);
        if (!good)
            return false;
    }
    return true;
}

static bool wanted_step(Session *s, const Options *o, size_t *k) {
    *k = o->has_step ? o->step : session_count(s);
    if (*k > session_count(s)) {
        fprintf(stderr, "tracer: there is no step %zu: the last one is %zu.\n", *k, session_count(s));
        return false;
    }
    if (!o->at)
        return true;
    session_go(s, 0);
    session_find(s, o->at, +1);
    for (int wait; s->seek;)
        session_tick(s, now_seconds(), &wait);
    *k = s->now.k;
    if (!*k)
        fprintf(stderr, "tracer: no step contains \"%s\" (--at).\n", o->at);
    buf_clear(&s->note);
    return *k > 0;
}

static int run_pictures(View *v, const Options *o) {
    size_t k;
    if (v->s->program)
        run_program(v->s, o, NULL);
    if (!canvas_size(v->c, o->w, o->h, NULL)) {
        complain("the picture's surface cannot be made: is it too large?");
        return 1;
    }
    if (o->dir && !draw_many(v, o))
        return 1;
    if (!o->png)
        return 0;
    return wanted_step(v->s, o, &k) && draw_step(v, k, o->png) ? 0 : 1;
}

static int run_dump(Session *s, const Options *o) {
    Buf out = {0};
    if (s->program)
        run_program(s, o, NULL);
    session_go(s, o->has_step ? o->step : session_count(s));
    model_dump(&s->now, &out);
    fputs(buf_text(&out), stdout);
    buf_free(&out);
    return written_out();
}

/* ---- with one ---- */

/* Asked before SDL is: on its own it would try drivers that draw where nobody can see it. */
static bool has_display(void) {
    return getenv("DISPLAY") || getenv("WAYLAND_DISPLAY") || getenv("SDL_VIDEODRIVER");
}

static int no_display(const Options *o) {
    fprintf(stderr, "tracer: there is no display to open a window on (%s).\n"
            "Without one, `tracer --text %s` tells the steps and `tracer --png OUT.png %s` draws one.\n",
            has_display() ? SDL_GetError() : "neither DISPLAY nor WAYLAND_DISPLAY is set", o->rest[0], o->rest[0]);
    return 2;
}

/* A recording that was cut short is of a program that hung or crashed: its last moment is what one wants to see. */
static size_t where_to_begin(const Session *s) {
    return s->history.log.closed ? 0 : session_count(s);
}

static int run_window(View *v, const Options *o) {
    App app = {.canvas = v->c, .session = v->s, .view = *v};
    SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
    SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    if (!getenv("SDL_VIDEODRIVER"))               /* or SDL would end up with drivers that show nothing to anybody */
        SDL_SetHint(SDL_HINT_VIDEODRIVER, getenv("WAYLAND_DISPLAY") ? "x11,wayland" : "x11");
    if (SDL_Init(SDL_INIT_VIDEO)) {
        return no_display(o);
    }
    session_go(v->s, v->s->program ? 0 : o->has_step ? o->step : where_to_begin(v->s));
    int status = app_run(&app, o->w, o->h);
    *v = app.view;
    canvas_free(v->c);
    v->c = NULL;
    SDL_DestroyWindow(app.window);
    SDL_Quit();
    return status;
}

static const char *folder_of(const char *path) {
    char *copy = xcopy(path);
    const char *folder = intern(dirname(copy));
    free(copy);
    return folder;
}

static void source_folders(View *v, const Options *o) {
    const Log *log = &v->s->history.log;
    for (size_t i = 0; i < o->folders.n; i++)
        vec_push(v->sources.folders, o->folders.at[i]);
    if (!v->s->program)
        vec_push(v->sources.folders, folder_of(o->rest[0]));
    vec_push(v->sources.near, folder_of(o->rest[0]));
    if (*log->program)
        vec_push(v->sources.near, folder_of(log->program));
    if (*log->cwd)
        vec_push(v->sources.near, log->cwd);
    vec_push(v->sources.near, ".");
}

static int run_drawn(Session *s, const Options *o) {
    char *error = NULL;
    Canvas *c = canvas_new(&error);
    if (!c) {
        complain(error);
        free(error);
        return 1;
    }
    View v;
    view_init(&v, c, s);
    v.zoom = o->scale;
    source_folders(&v, o);
    int status = o->png || o->dir ? run_pictures(&v, o) : run_window(&v, o);
    view_free(&v);
    if (v.c)
        canvas_free(v.c);
    return status;
}

int main(int argc, char **argv) {
    Options o = options(argc, argv);
    Session s;
    int status = 1;
    session_init(&s);
    bool drawn = !o.text && !o.dump && !o.png && !o.dir;
    if (drawn && !has_display())
        status = no_display(&o);
    else if (is_recording(&o) ? open_recording(&s, &o) : open_program(&s, &o))
        status = o.text ? run_text(&s, &o) : o.dump ? run_dump(&s, &o) : run_drawn(&s, &o);
    session_free(&s);
    vec_free(o.folders);
    intern_free();
    return status;
}
