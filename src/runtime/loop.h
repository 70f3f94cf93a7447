/*
** loop.h - the worker's libuv loop, made when it is first needed.
**
** It sleeps for the worker: until a time, a message or I/O. Timers and ready
** tasks are not its business (timer.c, scheduler.c).
*/
#ifndef LLMPOOL_LOOP_H
#define LLMPOOL_LOOP_H

#include "worker.h"

/* Makes the loop if it is not there. False: libuv refused. */
bool loop_open(Worker *worker);
/* Handles I/O; waits for it until `until_ns` on the monotonic clock at most
** (0: not at all; LLM_FOREVER: without end). */
void loop_run(Worker *worker, int64_t until_ns);
/* Whether I/O is under way that could make a task ready. */
bool loop_is_alive(const Worker *worker);
/* Ends a loop_run that sleeps; any thread, also a signal handler. */
void loop_kick(Loop *loop);
void loop_close(Worker *worker);
/* For modules that do I/O on the loop: the uv_loop_t. */
void *loop_uv(Worker *worker);

#endif
