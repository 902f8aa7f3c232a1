/* Lesson 17: who cleans up, when cleaning up itself takes time? */
#include "asyncio.h"

/* A connection: opening and closing it takes a while. aenter gives what stands after "as". */
async_def(connection_open, (Value) name)
{
    await(asyncio_sleep(0.1));
    print("  opened", name);
    return format("<%s>", as_str(name));
}

async_def(connection_close, (Value) name, (Value) e)
{
    await(asyncio_sleep(0.1));
    print("  closed", name, "because of", is_none(e) ? V("the end") : repr(e));
    return V((bool)isinstance(e, KeyError));  /* true: the exception ends here */
}

static Coroutine *aenter(Value self) { return connection_open(self); }
static Coroutine *aexit(Value self, Value e) { return connection_close(self, e); }
static ContextManager *connection(const char *name)
{
    return asyncio_context_manager(aenter, aexit, name);
}

/* The same with a generator: what is before the yield is aenter, what is after it aexit. */
async_gen(transaction, (const char *) name)
{
    print("  begin", name);
    try {
        yield(name);
        print("  commit", name);
    } except (Exception, e) {
        print("  roll back", name, "because of", repr(e));
        rethrow;
    } end_try
    return None;
}

async_def(early)
{
    async_with (c, connection("early")) {
        return format("left %s by return", as_str(c));
    } end_with
    return None;
}

async_def(main_)
{
    print("as usual");
    async_with (c, connection("db")) {
        print("  using", c);
    } end_with

    print("left by return");
    print("  ", await(early()));

    print("an exception that is swallowed");
    async_with (c, connection("cache")) {
        throw(KeyError, "no such key");
    } end_with
    print("  we are still here");

    print("by a generator");
    async_with (name, asyncio_contextmanager(transaction("A"))) {
        print("  working in", name);
    } end_with
    try {
        async_with (asyncio_contextmanager(transaction("B"))) {
            throw(ValueError, "negative amount");
        } end_with
    } except (ValueError, e) {
        print("  main_ sees:", e);
    } end_try

    print("cancelled in the middle");
    try {
        async_with (asyncio_timeout(0.3)) {
            async_with (connection("slow")) {
                await(asyncio_sleep(9));
            } end_with
        } end_with
    } except (TimeoutError) {
        print("  too late");
    } end_try
    return None;
}

int main(void) { asyncio_run(main_()); }
