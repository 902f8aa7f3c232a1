/* Three speakers take turns without a conductor. */
#include "asyncio.h"

async_def(speaker, (int) number, (double) pause) {
    for (int i = 0; i < 5; i++) {
        printf_("%d-", number);
        await(asyncio_sleep(pause));
    }
    return V(number);
}

async_def(main_) {
    Value results = await(asyncio_gather(
        speaker(3, 0.3),
        speaker(1, 0.1),
        speaker(2, 0.2)));
    print(results);
    return None;
}

int main(void) {
    asyncio_run(main_());
}
