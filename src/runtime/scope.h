/*
** scope.h - structured concurrency: who owns a task, and what its failure does.
*/
#ifndef LLMPOOL_SCOPE_H
#define LLMPOOL_SCOPE_H

#include "worker.h"

/* Opens `scope` (zeroed memory of the caller's) as the innermost of the
** running task. Its error and its cancellation are kept in the two user values
** of the userdata that holds it, which is registered by address. */
void scope_enter(Scope *scope, Task *owner);
/* No children are left: unlinks it from its owner. */
void scope_leave(Scope *scope);
/* Asks every child and the owner's waits inside to end. */
void scope_cancel(Scope *scope);
void scope_add(Scope *scope, Task *child);
/* The child has ended, or moves to another scope. */
void scope_remove(Task *child);
/* Where llmpool.spawn puts a new task. */
Scope *scope_innermost(Worker *worker);
bool scope_is_root(const Scope *scope);
/* Every task beneath, one by one; false from `visit` stops. */
void scope_each(Scope *scope, void (*visit)(Task *task, void *ud), void *ud);

#endif
