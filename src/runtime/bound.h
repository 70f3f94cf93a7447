/*
** bound.h - running a function of the user's that must not take long: at most
** so many instructions, so much memory, and no wait.
**
** One idea: instructions are counted, not time, so that a bound holds the same
** in every run. The hook is set around the call only, since a hook slows down
** whatever runs under it, and memory is counted by putting an allocator of our
** own before the state's for as long as the call lasts. It knows no policies.
**
** What costs much in few instructions is charged for by itself: matches of
** patterns and moves of entries (guarded.c). For the rest there is a second, on
** a clock, as the last resort: large strings compared over and over. Bounds
** nest: the inner is charged to the outer too. They are against mistakes, not
** against malice: a call of os.execute, or a finalizer, takes as long as it
** takes.
*/
#ifndef LLMPOOL_BOUND_H
#define LLMPOOL_BOUND_H

#include "worker.h"

typedef enum BoundEnd {
  BOUND_OK,
  BOUND_RAISED,       /* by the function itself */
  BOUND_INSTRUCTIONS, /* it ran for too many, or too long */
  BOUND_MEMORY        /* it held too much */
} BoundEnd;

typedef struct Bound Bound;
struct Bound {
  Bound *outer;
  const char *what;     /* "a policy": who may not wait */
  int64_t instructions; /* left */
  int64_t bytes;        /* left */
  int64_t since_ns;     /* of the first look at it; 0: there was none */
  int step;             /* instructions until the next look */
  lua_Alloc alloc;      /* the next allocator, and its data */
  void *data;
  BoundEnd end;
};

/* Calls the function below `nargs` arguments, which it pops, and leaves
** `nresults` or, if it did not end well, the error; says which. An interrupt
** (Ctrl-C) is raised again. */
BoundEnd bound_call(lua_State *L, Worker *worker, Bound *bound, int nargs,
                    int nresults);
/* The program ends from inside of them: they count no more. */
void bound_abandon(lua_State *L, Worker *worker);
/* How many instructions are left; NULL: more than anybody needs. */
int64_t bound_left(const Bound *bound);
/* What a function of C has done counts as n instructions; raises if that was
** too much. Without a bound it does nothing. */
void bound_charge(lua_State *L, int64_t n);
/* guarded.c: the standard library's functions that a bound could not stop */
void guarded_open(lua_State *L, Worker *worker);
/* Before a coroutine is resumed inside: it is counted as well. */
void bound_cover(const Worker *worker, lua_State *co);

#endif
