/* source.c: see source.h. */
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* When the file was written; 0 if there is none. */
static double written(const char *path) {
    struct stat at;
    return stat(path, &at) == 0 ? (double) at.st_mtim.tv_sec + (double) at.st_mtim.tv_nsec / 1e9 : 0;
}

static char *slurp(const char *path) {
    enum { LARGEST = 64 << 20 };
    FILE *in = fopen(path, "rb");
    if (!in)
        return NULL;
    Buf all = {0};
    char part[65536];
    for (size_t n; all.len < LARGEST && (n = fread(part, 1, sizeof part, in)) > 0;)
        buf_add(&all, part, n);
    bool bad = ferror(in);
    fclose(in);
    if (bad) {
        buf_free(&all);
        return NULL;
    }
    buf_add(&all, "", 0);
    return all.s;
}

static bool try_path(Source *source, char *path) {
    source->text = slurp(path);
    if (source->text)
        source->found = path, source->written = written(path);
    else
        free(path);
    return source->text != NULL;
}

/* A relative name is relative to where the compiler ran. That is not known, but it is most likely a directory above the
 * program or the recording: so `folder` is tried, and what is above it. */
static bool try_above(Source *source, const char *folder, const char *name) {
    bool found = false;
    char *at = realpath(folder, NULL);
    while (at && !found) {
        char *slash = strrchr(at, '/');
        found = try_path(source, xformat("%s/%s", at, name));
        if (!slash || !at[1])
            break;
        slash[slash == at] = '\0';
    }
    free(at);
    return found;
}

static void find(Sources *s, Source *source) {
    const char *slash = strrchr(source->file, '/'), *base = slash ? slash + 1 : source->file;
    if (!*source->file || (*source->file == '/' && try_path(source, xcopy(source->file))))
        return;
    for (size_t i = 0; *source->file != '/' && i < s->near.n; i++)
        if (try_above(source, s->near.at[i], source->file))
            return;
    for (size_t i = 0; i < s->folders.n; i++)
        if ((*source->file != '/' && try_path(source, xformat("%s/%s", s->folders.at[i], source->file))) ||
            try_path(source, xformat("%s/%s", s->folders.at[i], base)))
            return;
}

static void cut(Source *source) {
    for (char *line = source->text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        size_t n = strlen(line);
        if (n && line[n - 1] == '\r')
            line[n - 1] = '\0';
        if (next || *line)
            vec_push(source->lines, line);
    }
}

const Source *source_get(Sources *s, const char *file) {
    for (size_t i = 0; i < s->at.n; i++)
        if (!strcmp(s->at.at[i]->file, file))
            return s->at.at[i];
    Source *source = xalloc(sizeof *source);
    source->file = intern(file);
    find(s, source);
    if (source->text)
        cut(source);
    vec_push(s->at, source);
    return source;
}

bool source_changed(const Source *source, const char *program, double started) {
    double built = *program == '/' ? written(program) : 0;
    double since = built && built < started ? built : started;
    return started && source->written > since;
}

void sources_free(Sources *s) {
    for (size_t i = 0; i < s->at.n; i++) {
        free(s->at.at[i]->found);
        free(s->at.at[i]->text);
        vec_free(s->at.at[i]->lines);
        free(s->at.at[i]);
    }
    vec_free(s->at);
    vec_free(s->folders);
    vec_free(s->near);
}
