/* Exercise 23: a program that dies too early.
 *
 * The writer collects lines and saves them only at its end. Somebody sends SIGHUP, which asks for a status, and later SIGTERM, which
 * asks the program to end. (Here the writer sends them to itself, so that every run is the same.) As it stands nobody handles
 * them; the first one ends the program, and the lines are lost:
 *
 *     line 1
 *     line 2
 *     Hangup
 *
 * Wanted:
 *
 *     line 1
 *     line 2
 *     status: 2 lines, none saved
 *     line 3
 *     line 4
 *     asked to stop
 *     saved 4 lines
 *     the end
 *
 * Set two handlers in main_(): one prints the status, the other says "asked to stop" and cancels the writer (.arg = V(task) hands it the task,
 * as_task() takes it out again). The writer saves in a finally. And main_() must not end with the writer's CancelledError.
 */
#include "asyncio.h"
#include <signal.h>

static int lines;

async_def(writer)
{
    forever {                                           /* >>> the lines must be saved, however this ends */
        await(asyncio_sleep(0.05));
        print("line", ++lines);
        if (lines == 2) raise(SIGHUP);
        if (lines == 4) raise(SIGTERM);
    }
    return None;
}

async_def(main_)
{
    Task *task = asyncio_create_task(writer());         /* >>> handlers for SIGHUP and SIGTERM */
    await(task);
    print("the end");
    return None;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);                   /* each line is written at once, even if the next thing is the end */
    asyncio_run(main_());
}
