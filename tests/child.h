/* Runs a piece of a test in a process of its own, for what ends a process: an uncaught exception, an abort, a signal.
 *
 *     Child c = child(body);           runs body(), then exit(0)
 *     ck_exited(c, 1); ck_killed(c, SIGABRT);
 *     c.out, c.err                     what it wrote
 *
 * A child that is not done after a minute is killed by SIGALRM, so nothing here can hang.
 */
#ifndef CHILD_H
#define CHILD_H

#include "testing.h"
#include "under.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Child { int status; char *out, *err; } Child;

static char *child_text_(FILE *file)
{
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    char *text = calloc(size + 1, 1);
    rewind(file);
    ck_assert_uint_eq(fread(text, 1, size, file), size);
    fclose(file);
    return text;
}

__attribute__((unused)) static Child child_with(void (*body)(void *), void *argument)
{
    FILE *out = tmpfile(), *err = tmpfile();
    ck_assert(out && err);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fileno(out), 1);
        dup2(fileno(err), 2);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGINT, SIG_DFL);                        /* Check has handlers for these */
        signal(SIGTERM, SIG_DFL);
        signal(SIGALRM, SIG_DFL);
        alarm(60);
        body(argument);
        exit(0);
    }
    Child c = {0};
    ck_assert_int_eq(waitpid(pid, &c.status, 0), pid);
    c.out = child_text_(out);
    c.err = child_text_(err);
    return c;
}

static void child_call_(void *body) { (*(void (**)(void))body)(); }
__attribute__((unused)) static Child child(void (*body)(void)) { return child_with(child_call_, &body); }

__attribute__((unused)) static void child_free(Child c) { free(c.out); free(c.err); }

#define ck_exited(c, code) ck_assert_msg(WIFEXITED((c).status) && WEXITSTATUS((c).status) == (code), \
    "status %x, not exit(%d); it wrote:\n%s%s", (c).status, code, (c).out, (c).err)
#define ck_killed(c, number) ck_assert_msg(WIFSIGNALED((c).status) && WTERMSIG((c).status) == (number), \
    "status %x, not killed by %d; it wrote:\n%s%s", (c).status, number, (c).out, (c).err)
#define ck_has(text, part) ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text)
#define ck_lacks(text, part) ck_assert_msg(strstr(text, part) == NULL, "there is \"%s\" in:\n%s", part, text)

/* The folder of this file, as a prefix for others in it. */
__attribute__((unused)) static const char *beside(const char *name)
{
    static char path[1024];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - __FILE__) : 0, __FILE__, name);
    return path;
}

/* Runs a command of the shell, returns what it wrote; the caller frees it. *status may be NULL. */
__attribute__((unused)) static char *shell(int *status, const char *command)
{
    char *text = NULL;
    size_t size = 0, got;
    char part[4096];
    FILE *pipe = popen(command, "r"), *out = open_memstream(&text, &size);
    ck_assert(pipe && out);
    while ((got = fread(part, 1, sizeof part, pipe)) > 0) fwrite(part, 1, got, out);
    fclose(out);
    int ended = pclose(pipe);
    if (status) *status = ended;
    return text;
}

__attribute__((unused)) static bool have_python(void) { return system("command -v python3 >/dev/null 2>&1") == 0; }

#endif
