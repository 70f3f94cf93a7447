/*
** task.h - tasks: spawned, run by the drive loop, joined, cancelled, ended.
*/
#ifndef LLMPOOL_TASK_H
#define LLMPOOL_TASK_H

#include "worker.h"

#define TASK_TYPE "llmpool.task" /* the metatable of a task's userdata */

/* Somebody who waits for a task's end; memory of the waiter's. */
struct Join {
  Join *next, **link;
  Task *waiter;
  Task *target; /* NULL: not linked */
  bool claims;  /* a pjoin: its failure is this waiter's business only */
};

void tasks_open(lua_State *L, Worker *worker);
/* Pops a function and `nargs` arguments, pushes the new task, which starts at
** the next wait of whoever runs now. [-(nargs+1), +1, m] */
Task *task_spawn(lua_State *L, Worker *worker, Scope *scope, int nargs);
/* Pushes the userdata of a task that has not ended. */
void task_push(lua_State *L, const Task *task);
/* When it was spawned, if the worker dates its tasks; else 0. */
int64_t task_spawned_ns(lua_State *L, const Task *task);
/* Asks it to end: the present or the next wait raises. Idempotent; a task that
** has ended keeps its outcome. */
void task_cancel(Task *task);
/* Pushes the error object that a cancelled wait of `task` raises: its own, or
** that of the outermost cancelled scope. */
void push_cancellation(lua_State *L, Task *task);
/* Gives its own cancellation, if it has none yet, the reason at `reason`. */
void set_cancellation(lua_State *L, Task *task, int reason);
/* The object of a scope's own cancellation, and a child's error kept for it. */
void push_scope_cancellation(lua_State *L, const Scope *scope);
void push_scope_error(lua_State *L, const Scope *scope);
void forget_scope(lua_State *L, const Scope *scope);

/* Resumes it once; it may have ended, and be gone, afterwards. */
void task_run(lua_State *L, Task *task);
bool task_has_ended(const Task *task);
void join_add(Join *join, Task *target, Task *waiter, bool claims);
void join_remove(Join *join);

/* Gives back the leases that the task itself owns. */
void task_reclaim(Task *task);
/* The state closes: ends what is left by force, innermost coroutine first. */
void tasks_kill(Worker *worker);

/* coroutine.c: patches the standard coroutine table in place. */
void coroutine_open(lua_State *L, Worker *worker);
/* closing.c: patches os.exit; does what os.exit(code, true) in a task asked. */
void exit_open(lua_State *L, Worker *worker);
void exit_now(lua_State *L, Worker *worker);
/* The same, as if it had been asked for here; raises in a task. */
void end_program(lua_State *L, Worker *worker, int status);

#endif
