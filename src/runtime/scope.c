/*
** scope.c - structured concurrency: who owns a task, and what its failure does.
**
** One idea: a scope is a list of children that have not ended. Its owner leaves
** only when the list is empty; a child that fails makes the scope cancel the
** others and the owner's own waits inside it. The root scope of a world owns
** what nobody else does, and cancels no siblings. The waiting itself is done by
** the Lua functions of src/lua/scope.c.
*/
#include "scope.h"

#include <assert.h>
#include <string.h>

#include "scheduler.h"
#include "task.h"

bool scope_is_root(const Scope *scope) { return scope->owner == NULL; }

void scope_enter(Scope *scope, Task *owner) {
  memset(scope, 0, sizeof *scope);
  scope->world = owner->world;
  scope->owner = owner;
  scope->outer = owner->scope;
  scope->shields = owner->shields;
  scope->open = true;
  owner->scope = scope;
}

void scope_leave(Scope *scope) {
  assert(scope->children == 0);
  if (!scope->open) return;
  scope->open = false;
  timer_stop(scope->world, &scope->timer);
  /* it is the innermost, but where a killed coroutine closes out of order */
  Scope **link = &scope->owner->scope;
  while (*link && *link != scope) link = &(*link)->outer;
  if (*link) *link = scope->outer;
}

void scope_add(Scope *scope, Task *child) {
  child->parent = scope;
  child->newer = NULL;
  child->older = scope->newest;
  if (scope->newest)
    scope->newest->newer = child;
  else
    scope->oldest = child;
  scope->newest = child;
  scope->children++;
}

void scope_remove(Task *child) {
  Scope *scope = child->parent;
  assert(scope && scope->children > 0);
  *(child->older ? &child->older->newer : &scope->oldest) = child->newer;
  *(child->newer ? &child->newer->older : &scope->newest) = child->older;
  child->parent = NULL;
  child->older = child->newer = NULL;
  if (--scope->children > 0) return;
  /* the owner may wait for this; another ready is harmless */
  Task *owner = scope->owner ? scope->owner : &scope->world->main;
  if (owner->state == TASK_PARKED && owner->wait == WAIT_SCOPE)
    task_ready(owner);
}

void scope_cancel(Scope *scope) {
  if (scope->cancelled) return;
  scope->cancelled = true;
  for (Task *t = scope->oldest; t; t = t->newer) task_cancel(t);
  /* a wait of the owner's inside the scope ends too */
  if (scope->owner && task_is_cancelled(scope->owner)) task_ready(scope->owner);
}

Scope *scope_innermost(Worker *worker) {
  Task *task = worker->current;
  return task->scope ? task->scope : &task->world->root;
}

void scope_each(Scope *scope, void (*visit)(Task *task, void *ud), void *ud) {
  for (Task *t = scope->oldest; t; t = t->newer) {
    for (Scope *s = t->scope; s; s = s->outer) scope_each(s, visit, ud);
    visit(t, ud);
  }
}
