/* A lock, a queue with room for two, a socket, a failing task: a little of everything. */
#include "asyncio.h"

async_def(writer, (Lock *) lock, (int) number) {
    async_with (_, lock) {
        await(asyncio_sleep(0.2));
        print("writer", number, "wrote");
    } end_with
    return None;
}

async_def(producer, (Queue *) queue) {
    for (int i = 0; i < 6; i++)
        await(queue_put(queue, format("größer als %d → ∞", i)));
    return None;
}

async_def(consumer, (Queue *) queue) {
    for (int i = 0; i < 6; i++) {
        await(asyncio_sleep(0.15));
        Value v = await(queue_get(queue));
        print("consumed", v);
    }
    return None;
}

async_def(reader, (int) fd) {
    Value line = await(stream_readline(fd));
    print("read", line);
    return line;
}

async_def(fragile) {
    await(asyncio_sleep(0.3));
    throw(ValueError, "the vase fell");
}

async_def(main_) {
    Lock *lock = asyncio_Lock();
    Queue *queue = asyncio_Queue(.maxsize = 2);
    Task *vase = asyncio_create_task(fragile(), .name = "vase");
    await(asyncio_gather(writer(lock, 1), writer(lock, 2), writer(lock, 3),
                         producer(queue), consumer(queue), reader(7)));
    try {
        await(vase);
    } except (ValueError, e) {
        print("caught", e);
    } end_try
    return None;
}

int main(void) {
    asyncio_run(main_());
}
