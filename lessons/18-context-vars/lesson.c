/* Lesson 18: a variable that is global for me and invisible for the others. */
#include "asyncio.h"

static ContextVar *user;

static void log_(const char *what)
{
    print(format("  [%s] %s", as_str(contextvar_get(user)), what));
}

async_def(query, (double) seconds)
{
    log_("query");  /* nobody handed the user down to here */
    await(asyncio_sleep(seconds));
    log_("answer");
    return None;
}

async_def(handle, (const char *) name, (double) seconds)
{
    contextvar_set(user, name);
    await(query(seconds));
    return None;
}

static Value who(Value greeting) { return format("%s, %s", as_str(greeting), as_str(contextvar_get(user))); }

static void later(Value what) { log_(as_str(what)); }

async_def(main_)
{
    user = context_var("user", .default_value = V("nobody"));

    print("each task has its own");
    await(asyncio_gather(handle("anna", 0.2), handle("bert", 0.1)));
    log_("main_ is untouched");

    print("a plain await shares it");
    await(handle("cora", 0.1));
    log_("main_ is changed");

    print("set and take back");
    Value token = contextvar_set(user, "root");
    log_("with care");
    contextvar_reset(user, token);
    log_("as before");

    print("a callback keeps the context in which it was made");
    loop_call_soon(asyncio_get_running_loop(), later, .arg = V("callback"));
    contextvar_set(user, "dora");
    await(asyncio_sleep(0));
    log_("main_ is dora now");

    print("a task in a context of your choice");
    Context *mine = asyncio_copy_context();
    await(asyncio_create_task(handle("emil", 0.1), .context = mine));
    print("  in it, user is", context_get(mine, user, None));
    print("  a function in it:", context_run(mine, who, V("hello")));
    log_("main_ is still dora");
    return None;
}

int main(void) { asyncio_run(main_()); }
