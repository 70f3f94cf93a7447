/*
** worker.h - the worker: one OS thread's Lua state, its tasks and its loop.
**
** A worker runs tasks in a world: the real one, on the monotonic clock and a
** libuv loop, or a virtual one nested in it, where nothing sleeps and the
** clock jumps. A task is a coroutine that the worker resumes; the main chunk
** is a task that is never resumed: where it has to wait, it drives the world.
** Nothing here knows of pools: a wait is anything that makes its task ready.
**
** Only the worker's own thread touches any of this, but for the inbox.
*/
#ifndef LLMPOOL_WORKER_H
#define LLMPOOL_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "../core/llmpool.h"
#include "random.h"

typedef struct Worker Worker;
typedef struct World World;
typedef struct Task Task;
typedef struct Scope Scope;
typedef struct Loop Loop;

/* ---- timers: a binary heap a world ------------------------------------- */

typedef struct Timer Timer;
struct Timer {
  int64_t due_ns;
  uint64_t seq;          /* ties break by order of start */
  void (*fire)(Timer *); /* on the worker's thread, outside Lua */
  uint32_t index;        /* 1 + position in the heap; 0: not started */
};

typedef struct Timers {
  Timer **heap;
  uint32_t count, size;
  uint64_t next_seq;
} Timers;

/* False: no memory, nothing started. A started timer is moved. */
bool timer_start(World *world, Timer *timer, int64_t due_ns);
void timer_stop(World *world, Timer *timer);
int64_t timers_due(const World *world); /* LLM_FOREVER: none */
/* Fires what is due by `now_ns`, earliest first; returns how many. */
int timers_run(World *world, int64_t now_ns);
void timers_free(World *world);

/* ---- messages: what other threads tell a worker ------------------------ */

typedef struct Message Message;
struct Message {
  Message *next;
  void (*deliver)(Worker *, Message *); /* on the worker's thread */
};

/* Appends and wakes the worker; any thread. From the worker's own thread the
** message is delivered at once. */
void worker_post(Worker *worker, Message *message);
/* Delivers what has arrived; returns how many. */
int worker_receive(Worker *worker);
/* Blocks this thread until a message is there (a wake that must come). */
void worker_receive_wait(Worker *worker);

/* ---- tasks ------------------------------------------------------------- */

typedef enum TaskState {
  TASK_READY,
  TASK_RUNNING,
  TASK_PARKED,
  TASK_DONE,     /* returned; results on its stack */
  TASK_FAILED,   /* raised; the error on its stack */
  TASK_CANCELLED /* ended after a cancellation */
} TaskState;

/* What a parked task waits for; says who is told of a deadlock first. */
typedef enum WaitKind {
  WAIT_SLEEP,
  WAIT_SCOPE,
  WAIT_JOIN,
  WAIT_EXTERNAL, /* I/O or another thread */
  WAIT_LEASE
} WaitKind;

typedef struct Join Join; /* task.c: somebody waiting for a task's end */

/* Small, since there may be a million. */
struct Task {
  lua_State *co; /* NULL: the main chunk's task, or ended and closed */
  World *world;
  union {
    Task *next;         /* READY: in the ready queue */
    uint32_t parked_at; /* PARKED: the world's count of parks: who is newest */
  };
  Task *older, *newer; /* siblings in the parent scope */
  Scope *parent;       /* the scope that it belongs to */
  Scope *scope;        /* the innermost scope open in it */
  Join *joins;         /* who waits for its end */
  const char *site;    /* "file:line" of the spawn; interned */
  Timer timer;         /* of its present wait */
  void *leases;        /* the newest that it owns itself (src/lua); or NULL */
  int ref;             /* of its userdata in the worker's task table */
  uint8_t nargs;       /* on the first resume */
  uint8_t shields;     /* depth of llmpool.shield */
  uint8_t state : 4;   /* a TaskState */
  uint8_t wait : 4;    /* a WaitKind */
  bool cancelled : 1;  /* asked to end */
  bool doomed : 1;     /* its wait can never be served: deadlock */
  bool claimed : 1;    /* its failure was handed to somebody */
};

/* A block that outlives its children: llmpool.scope, timeout, the root. */
struct Scope {
  World *world;
  Task *owner;           /* NULL: a root scope */
  Scope *outer;          /* the owner's next scope outwards */
  Task *oldest, *newest; /* children that have not ended */
  size_t children;
  Timer timer;     /* llmpool.timeout */
  uint8_t shields; /* of the owner when it was opened */
  bool cancelled;  /* waits inside raise */
  bool timed_out;  /* ... because its time is over */
  bool failed;     /* a child's error is kept in the user value */
  bool open;       /* spawn is allowed */
};

/* ---- worlds ------------------------------------------------------------ */

struct World {
  Worker *worker;
  World *outer; /* the world that this one is nested in */
  llm_clock *clock;
  Task *first_ready, *last_ready;
  Timers timers;
  Scope root; /* of tasks that nobody else owns */
  Task main;  /* of the main chunk, or of simulate's caller */
  uint32_t parks;
  int64_t polled_ns; /* when I/O was last looked at between ready tasks */
  uint64_t seed;     /* of its chance, where seeded */
  Random random;
  int failures; /* root tasks that failed */
  bool is_virtual;
  bool seeded;
  bool driving; /* a drive loop is on the C stack */
};

/* ---- activations: who resumed whom, on the C stack --------------------- */

typedef struct Activation Activation;
struct Activation {
  Activation *up;
  lua_State *co;   /* what is running */
  lua_State *from; /* who resumed it */
  bool from_yieldable;
  bool base; /* from is the scheduler */
};

struct Worker {
  lua_State *L; /* the main thread */
  World real;
  World *world;           /* the innermost */
  Task *current;          /* running; &world->main on the main chunk */
  Activation *activation; /* innermost; NULL: the main thread runs */
  struct Bound *bound;    /* what runs may not wait (bound.h); or NULL */
  Loop *loop;             /* made when first needed */
  pthread_mutex_t inbox_lock;
  Message *first_message, *last_message; /* guarded by inbox_lock */
  _Atomic bool has_messages;
  pthread_cond_t arrived; /* for worker_receive_wait */
  /* what the pools tell: the earliest due time, and doing what is due */
  int64_t (*pools_due)(Worker *, bool serving);
  void (*pools_tick)(Worker *);
  void (*pools_sleep)(Worker *, bool asleep);
  /* a task ends that owns leases: they come back */
  void (*pools_reclaim)(Worker *, Task *);
  /* events have come for callbacks: start their tasks */
  void (*pools_ring)(lua_State *, Worker *);
  void *pools;        /* src/lua's own */
  struct Site *sites; /* site.c's own */
  int threads;        /* started here, whose end was not heard of yet */
  int exit_status;    /* with exit_wanted */
  bool has_bells;     /* pools_ring has something to do */
  bool exit_wanted;   /* os.exit(code, true) inside a task */
  bool ending;        /* the closer runs */
  bool closing;       /* it has run: no task is left */
  bool dates_tasks;   /* somebody will ask how old they are */
  bool drop_in;       /* a host runs us: it waits at a script's end */
};

/* The worker of this state (runtime_open made it). Never raises. */
Worker *worker_of(lua_State *L);
/* Whether a task runs, be it in a coroutine of its own making. */
bool worker_in_task(const Worker *worker);
/* The worker of this thread, or NULL. */
Worker *worker_here(void);
/* How many workers there are in this process. */
int worker_count(void);

#endif
