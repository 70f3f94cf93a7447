/*
** bound.h - running a function of the user's that must not take long: at most
** so many instructions, so much memory, and no wait.
**
** One idea: instructions are counted, not time, so that a bound holds the same
** in every run. The hook is set around the call only, since a hook slows down
** whatever runs under it, and memory is counted by putting an allocator of our
** own before the state's for as long as the call lasts. It knows no policies.
**
** What it cannot stop: one call of a C function that takes for ever (a
** pathological pattern). Bounds nest: the inner is charged to the outer too.
*/
#ifndef LLMPOOL_BOUND_H
#define LLMPOOL_BOUND_H

#include "worker.h"

typedef enum BoundEnd {
  BOUND_OK,
  BOUND_RAISED,       /* by the function itself */
  BOUND_INSTRUCTIONS, /* it ran too long */
  BOUND_MEMORY        /* it held too much */
} BoundEnd;

typedef struct Bound Bound;
struct Bound {
  Bound *outer;
  const char *what;     /* "a policy": who may not wait */
  int64_t instructions; /* left */
  int64_t bytes;        /* left */
  lua_Alloc alloc;      /* the next allocator, and its data */
  void *data;
  BoundEnd end;
};

/* Calls the function below `nargs` arguments, which it pops, and leaves
** `nresults` or, if it did not end well, the error; says which. An interrupt
** (Ctrl-C) is raised again. */
BoundEnd bound_call(lua_State *L, Worker *worker, Bound *bound, int nargs,
                    int nresults);
/* Before a coroutine is resumed inside: it is counted as well. */
void bound_cover(const Worker *worker, lua_State *co);

#endif
