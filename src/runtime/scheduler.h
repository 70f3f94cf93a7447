/*
** scheduler.h - waiting and running: how a call parks, and who runs next.
**
** Every call that may wait has one shape: it checks (check_wait), arranges that
** something makes its task ready, and returns task_park with a continuation.
** The continuation looks whether what it waits for has come; if not - any
** ready is allowed to be spurious - it parks again.
*/
#ifndef LLMPOOL_SCHEDULER_H
#define LLMPOOL_SCHEDULER_H

#include "worker.h"

/* Raises unless the running function may wait: somewhere below is a C function
** that cannot yield, or the loop runs already. Returns the task that would
** wait. With a cancellation pending raises that. `what` names the call. */
Task *check_wait(lua_State *L, Worker *worker);
/* Only the second half: raises a pending cancellation or a deadlock. */
void check_cancel(lua_State *L, Task *task);
bool task_is_cancelled(const Task *task);

/* Parks the running task until task_ready, then continues in k. On the main
** chunk drives the world until then and calls k. Use as `return task_park`. */
int task_park(lua_State *L, Worker *worker, WaitKind kind, lua_KContext ctx,
              lua_KFunction k);
/* Makes a parked task ready; others are left alone. Worker's thread only. */
void task_ready(Task *task);
/* The same for one that yields the turn: behind all that are ready now. */
void task_enqueue(Task *task);
/* Makes it ready at `due_ns` of its world. False: no memory. */
bool task_set_deadline(Task *task, int64_t due_ns);

/* Delivers messages, and starts the tasks that events call back in. */
void world_receive(lua_State *L, const World *world);
/* Runs until `task` (a main task) is ready again. */
void world_drive(lua_State *L, World *world, Task *task);
void world_init(World *world, Worker *worker, llm_clock *clock);
void world_free(World *world);
/* From here on its chance repeats. */
void world_seed(World *world, uint64_t seed);
int64_t world_now(const World *world);

/* Whether a coroutine is parked: the sentinel is what it yielded. */
bool coroutine_is_parked(lua_State *co);
/* Resumes a coroutine with the activation kept; pops the sentinel first. */
int coroutine_resume(Worker *worker, lua_State *co, lua_State *from, int nargs,
                     int *nresults, bool base);
void push_sentinel(lua_State *L);

#endif
