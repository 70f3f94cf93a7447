/*
** binding.h - what the files of src/lua share: one Binding a Lua state.
**
** A guard is the owner of one lease: memory of the binding's, with the waiter
** in it, taken before the permit is asked for and reused afterwards. It has an
** owner in turn, who ends it whatever happens: the task, where the running
** coroutine is the task's own, or a holder, a userdata that no script sees, in
** a slot to be closed or in a client from acquire. A client is what scripts
** see: a small fresh userdata for every lease that names a guard and a serial
** number; the guard says whether that lease is still out. So a client can
** outlive its lease without harm. Guards are freed with the state only.
*/
#ifndef LLMPOOL_BINDING_H
#define LLMPOOL_BINDING_H

#include <lauxlib.h>
#include <lua.h>

#include "../core/llmpool.h"
#include "../runtime/value.h"
#include "../runtime/worker.h"

#define POOL_TYPE "llmpool.pool"
#define CLIENT_TYPE "llmpool.client"
#define HOLDER_TYPE "llmpool.holder"
#define SCOPE_TYPE "llmpool.scope"
#define THREAD_TYPE "llmpool.thread"
#define EVENTS_TYPE "llmpool.events"

typedef struct Binding Binding;
typedef struct LuaPool LuaPool;
typedef struct Guard Guard;
typedef struct Events Events;

#define KEEP_HOLDERS 64 /* that many are used again */

/* A holder that is used again has a place on the shelf, an array with weak
** values, for as long as it lives: so nothing of Lua's need be written when it
** is taken or put back, and one that is being collected cannot be taken. */
typedef struct Holder {
  Guard *guard;  /* NULL: none */
  uint8_t place; /* on the shelf; 0: none */
  bool is_taken; /* its place is not among the free ones */
  bool detached; /* owned by a client from acquire: the slot's close is mute */
} Holder;

struct Binding {
  Worker *worker;
  LuaPool *pools;                /* open in this state */
  Events *events;                /* those that call back */
  struct GuardBlock *blocks;     /* of all guards, the youngest first */
  Guard *free;                   /* guards without a lease */
  uint64_t serial;               /* of the last lease */
  Holder *holders[KEEP_HOLDERS]; /* by place on the shelf, while it is there */
  uint8_t places[KEEP_HOLDERS];  /* free ones: of no holder that is taken */
  int free_places;
  bool has_spare;        /* a client lies there that names nothing yet */
  const LuaPool *recent; /* the pool that was last asked; or NULL */
  const void *pool_type, *client_type; /* metatables, for quick checks */
  const void *view_types[3];           /* of a view, its models and clients */
  struct Past *pasts;                  /* simulations that were (simulate.c) */
  uint32_t kept, kept_most, kept_closed; /* models; see kept.c */
  bool trace_leaks; /* get_client records where it was called */
};

/* Several models in one wait; the guard frees it. */
typedef struct Choice {
  struct llm_group group; /* first: a node's group leads here */
  Guard *guard;
  uint32_t n;
  llm_model **models;
  llm_waiter *nodes;
} Choice;

struct Guard {
  llm_lease lease; /* first: a waiter leads here */
  double till;     /* an attempt: when its time is over, in seconds; 0: never */
  union {
    Message wake; /* until it is named */
    struct {
      const char *site; /* where it was asked for; or NULL */
      uint64_t serial;  /* of the client that names its lease */
    } named;
  };
  Task *task; /* who asked, and waits */
  union {
    Guard *next;    /* the task's next older one; or the next free one */
    Holder *holder; /* whose it is, unless it is the task's */
  };
  bool is_named;
  bool waiting; /* between LLM_WAIT and its end */
  bool woken;
  bool making;   /* a check or create of Lua's is under way */
  bool hooked;   /* an on_lend or on_return is */
  bool is_owned; /* by its task */
  bool keeps;    /* references of its own to what it asks */
  bool tied;     /* something is to be told of the lease's end */
};

typedef struct KnownModel {
  const void *key;  /* lua_topointer of the name, which a user value holds */
  llm_model *model; /* a reference */
} KnownModel;

struct LuaPool {
  llm_pool *pool; /* NULL: closed and let go */
  Binding *binding;
  World *world; /* whose clock it has */
  LuaPool *next, **link;
  llm_sleeper sleeper;
  KnownModel *known; /* models that were asked for by name; see pool.c for
                     ** how long */
  uint32_t known_count, known_size;
  bool has_news;   /* one more since those that are closed were dropped */
  bool is_kept_up; /* a task does what is due and needs Lua */
  bool bound;      /* holds values of this state: cannot be sent */
  bool shared;     /* from llmpool.open, or come from another state */
};

/* What a model carries for Lua: the core's factory.user. */
typedef struct ModelInfo {
  Value *packed;      /* hooks and options for other states; NULL: bound */
  uint64_t uid;       /* of the options' table in each state */
  int64_t timeout_ns; /* of a call that gives none; LLM_FOREVER */
  bool on_lend, on_return;
} ModelInfo;

/* The model named at `index`, if this state has asked for it before and it has
** no hooks; else NULL. Of the known ones of a name only the youngest counts:
** the older ones were unregistered. */
static inline llm_model *find_hookless(lua_State *L, const LuaPool *pool,
                                       int index) {
  const void *key = lua_topointer(L, index);
  for (uint32_t i = pool->known_count; i-- > 0;) {
    llm_model *model = pool->known[i].model;
    if (pool->known[i].key != key) continue;
    const ModelInfo *info = llm_model_user(model);
    return info->on_lend || info->on_return ? NULL : model;
  }
  return NULL;
}

/* Every function of ours has two upvalues: the binding, and a userdata whose
** user values are what is reached for often. (A table would do; its fields
** take longer to reach.) Those that lend have two more: the shelf of holders,
** and the clients' metatable. */
static inline Binding *binding_of(lua_State *L) {
  return (Binding *)lua_touserdata(L, lua_upvalueindex(1));
}
#define AT_HAND lua_upvalueindex(2)
#define SHELF lua_upvalueindex(3)
#define CLIENT_META lua_upvalueindex(4)
enum {
  SPARE_CLIENT = 1, /* a client that waits for its lease */
  INSTANCES,        /* the table of client.c's */
  AT_HAND_SIZE = INSTANCES
};

/* lease.c */
/* Sets functions that lend, with all four upvalues, into the table on the top.
*/
void set_lenders(lua_State *L, Binding *binding, const luaL_Reg *functions);
/* Sets those of lease.c; stack: the table of C's functions, ..., the
** pools' methods. [-0, +0, m] */
void leases_open(lua_State *L, Binding *binding, int functions);
/* Asks a model, that no wait is barred from, with the stack of lend.h; what
** comes of it is returned. It waits for so long, or as the model says: -1. */
int ask_model(lua_State *L, Guard *guard, llm_model *model, int64_t wait_ns);

/* attempt.c: for the stack of lend.h with a request in it */
int attempt_serve(lua_State *L, Guard *guard);
/* There is no client; why is on the top. */
int attempt_refused(lua_State *L);
void attempt_open(lua_State *L, Binding *binding);

/* Pushes what is to be said of an option that is none of `known`. */
void push_unknown_option(lua_State *L, const char *name,
                         const char *const *known);

/* outcome.c */
void outcome_open(lua_State *L, Binding *binding);
/* client args... instance method: calls it, and tells the pool how it went. */
int call_generate(lua_State *L);
/* Tells the pool of a request that the guard's client has done since `began`;
** of one that has raised, after some time, what is on the top, and stays there.
*/
void outcome_success(lua_State *L, Guard *guard, int64_t began, int response);
void outcome_failure(lua_State *L, Guard *guard, double seconds);
/* A message handler: a failure that a provider has told needs no traceback,
** and a traceback costs more than the request; a bug does. */
int keep_of_bugs(lua_State *L);

/* Lua functions that init.lua hands over, called by name. */
typedef enum Helper {
  HELPER_CHECK,     /* (info, client) */
  HELPER_CREATE,    /* (info, client, reason) -> instance, new item */
  HELPER_ON_LEND,   /* (info, client) */
  HELPER_ON_RETURN, /* (info, client) */
  HELPER_INSTANCE,  /* (item, id, model) -> instance */
  HELPER_NEAREST,   /* (word, list) -> word or nil */
  HELPER_OUTCOME,   /* (error) -> outcome */
  HELPER_UPKEEP,    /* (pool): in a task */
  HELPER_COUNT
} Helper;
void push_helper(lua_State *L, Helper helper);

/* tie.c */
void ties_open(lua_State *L, Binding *binding);
/* The guard's lease ends: tells what is tied to it. Never raises. */
void ties_end(lua_State *L, Guard *guard);

/* quick.c: the answer, or NOT_QUICK with the stack as it was. */
#define NOT_QUICK (-1)
int quick_get_client(lua_State *L, Binding *binding);
int quick_acquire(lua_State *L, Binding *binding, bool told);
/* What check_wait would not object to, and cannot be abandoned. */
bool is_own_ground(lua_State *L, const Worker *worker, const Task *task);

/* guard.c */
void guards_open(lua_State *L, Binding *binding);
/* A guard without a lease; raises without memory. It belongs to the running
** task if `owned`, else to the holder that it is put into at once. */
Guard *guard_take(lua_State *L, Binding *binding, bool owned);
/* Nothing of it is under way any more. */
void guard_free(Binding *binding, Guard *guard);
/* Ends whatever it is in the middle of, and frees it; the client is back. */
void guard_end(lua_State *L, Binding *binding, Guard *guard);
/* Ends a lease that is held, with the hooks. */
void guard_release(lua_State *L, Binding *binding, Guard *guard,
                   llm_return how);
/* Clients that named the lease are void; it may wait again. */
void guard_unname(Guard *guard);
/* From here on the models that it asks outlast what Lua may do meanwhile: a
** wait that fails still reads them. Until it is freed. */
void guard_keep(Guard *guard);
/* The task gives up what it owns, which a holder gets. */
void guard_disown(Guard *guard);
/* Visits every guard there is, also those without a lease. */
void guards_visit(const Binding *binding,
                  void (*visit)(const Guard *guard, void *ud), void *ud);
/* The state closes: ends the leases that are still out. */
void guards_end(lua_State *L, Binding *binding);
/* A task has ended without coming back to where it would free its guards. */
void guard_reclaim(Worker *worker, Task *task);
void guard_wake(llm_waiter *waiter);
/* Consumes the wake that is due, from whatever thread it comes. */
void guard_await_wake(Guard *guard);
/* Runs a hook that may not wait, everything protected; false: it raised, the
** error is on top. */
bool run_hook(lua_State *L, Binding *binding, Guard *guard, Helper helper);

/* The guard is the holder's. */
static inline void hold_guard(Holder *holder, Guard *guard) {
  holder->guard = guard;
  guard->holder = holder;
}
/* Pushes the shelf, a table for holders. */
void push_shelf(lua_State *L);
/* Pushes a holder of nothing; for functions that lend. */
Holder *push_holder(lua_State *L, Binding *binding);
/* A new one without a place on the shelf, in any C function. */
Holder *new_holder(lua_State *L);
/* It holds nothing and may be used again: no slot to be closed has it. */
void put_holder(Binding *binding, Holder *holder);

/* failure.c */
/* Pushes the error object for a lease that FAILED; the value at `cause` (0:
** none) is what the creator raised. */
void push_failure(lua_State *L, const Guard *guard, int cause);
/* `stats` are of the moment before the wait was given up. */
void push_deadlock(lua_State *L, llm_model *model, const llm_stats *stats);

/* callopts.c: a call's options at `index`; what stays of them there must stay
** until the call has been served */
void check_ask(lua_State *L, int index, int64_t timeout_ns, llm_clock *clock,
               llm_ask *ask);

/* client.c */
void clients_open(lua_State *L, Binding *binding);
/* What a script sees: the name of a lease. */
typedef struct Client {
  Guard *guard;
  uint64_t serial;
  uint64_t model; /* its uid: whom a second release is counted to */
} Client;
/* Pushes one that names nothing yet; for functions that lend. */
Client *new_client(lua_State *L, int user_values);
/* The same in any C function, a little slower. */
Client *new_client_anywhere(lua_State *L, int user_values);
/* Lets it name the guard's present lease; older clients are void. `site` says
** where it was asked for; or NULL. */
void name_lease(Binding *binding, Client *client, Guard *guard,
                const char *site);
/* The lease has a new name; clients of older ones are void. */
void name_guard(Binding *binding, Guard *guard, const char *site);
/* Pushes this state's instance of the place's client, if there is one and it is
** of today's version. */
bool push_kept_instance(lua_State *L, llm_place *place);
/* The guard of a client whose lease is out; else raises. */
Guard *check_client(lua_State *L, int index);
/* The same, or NULL where its lease has ended; not a client: raises. */
Guard *find_client(lua_State *L, int index);

/* kept.c */
void kept_open(lua_State *L, Binding *binding);
/* Models may have gone; never raises. */
void kept_sweep(lua_State *L, Binding *binding);
/* The value at `index` is this state's instance of the place's client. */
void set_instance(lua_State *L, llm_place *place, int index);
/* Pushes the table of instances, by their places' versions. */
void push_instances(lua_State *L);
/* Pushes the table that this state has for a model: hooks, options. */
void push_model_info(lua_State *L, llm_model *model);
/* The options at `options` are those of a model to be; it is not to be; it is
** there, which never raises. */
void keep_info(lua_State *L, const ModelInfo *info, int options);
void forget_info(lua_State *L, uint64_t uid);
void keep_registered(lua_State *L, llm_model *model);

/* misuse.c: as luaL_argerror, luaL_typeerror and luaL_error; if a Lua function
** of ours has called, the error is that of its argument, where it was called */
int misused(lua_State *L, int argument, const char *message);
int mistyped(lua_State *L, int argument, int index, const char *wanted);
int misled(lua_State *L, const char *message);
/* The option NAME of that argument, a table, has a wrong value, at `index`. */
int wrong_option(lua_State *L, int argument, int index, const char *name,
                 const char *wanted);

/* stats.c */
/* Pushes how many a model lends at once; without a limit it is infinite. */
void push_limit(lua_State *L, uint32_t limit);

/* pool.c */
void pools_open(lua_State *L, Binding *binding);
LuaPool *check_pool(lua_State *L, int index);
/* Models of it are closed: what this state has of them may go. */
void pool_models_left(lua_State *L, LuaPool *pool, int index);
/* The model named at `index`; raises unknown_model or closed. */
llm_model *check_model(lua_State *L, LuaPool *pool, int index);
void push_unknown_model(lua_State *L, LuaPool *pool, int index);
/* Pushes the list of names at `names` as one string: "a", "b". */
const char *push_name_list(lua_State *L, int names);
/* The model of the name at `index`, a string; NULL: there is none. */
llm_model *find_registered(lua_State *L, LuaPool *pool, int index);
/* A string that C can hold. */
const char *check_name(lua_State *L, int index);
/* Seconds at `index` of the stack as ns; raises "bad argument". */
int64_t check_seconds(lua_State *L, int argument, int index, const char *name);
/* Raises unless the pool's clock is that of the world that runs now. */
void check_world(lua_State *L, const LuaPool *pool);
/* A ValueHook: pools go to other states by reference. */
bool send_pool(lua_State *L, int index, ValueRef *ref, ValueRefusal *refusal);

/* the others: each adds its functions to the table on top of the stack */
void register_open(lua_State *L, Binding *binding);
void stats_open(lua_State *L, Binding *binding);
void inspect_open(lua_State *L, Binding *binding);
void events_open(lua_State *L, Binding *binding);
void task_open(lua_State *L, Binding *binding);
void scope_open(lua_State *L, Binding *binding);
/* Pushes a function (seconds, function, ...) as llmpool.timeout is one, for our
** own modules. */
void push_timeout_inside(lua_State *L);
void thread_open(lua_State *L, Binding *binding);
void chance_open(lua_State *L, Binding *binding);
void crew_open(lua_State *L, Binding *binding);
void answer_open(lua_State *L, Binding *binding);
void recorder_open(lua_State *L, Binding *binding);
/* A pool was made, or opened: it is recorded if the process is observed. */
void observe_pool(llm_pool *pool);
typedef struct Record Record;
Record *check_record_at(lua_State *L, int index);

/* recording.c */
void recording_open(lua_State *L, Binding *binding);
/* Of the asks that routers of this worker make, while all is recorded. */
uint8_t tag_of_routers(const Worker *worker);
/* The request that the lease is for has failed, for which reason; NULL: none
** that is known. */
void observe_failure(const llm_lease *lease, const char *reason);
void terminal_open(lua_State *L, Binding *binding);
void simulate_open(lua_State *L, Binding *binding);
void signal_open(lua_State *L, Binding *binding);
void view_open(lua_State *L, Binding *binding);
void simulate_free(Binding *binding); /* the state closes */
/* Pushes the two upvalues of every function of ours. */
void push_upvalues(lua_State *L, Binding *binding);
/* Sets functions with the binding as upvalue into the table on the top. */
void set_functions(lua_State *L, Binding *binding, const luaL_Reg *functions);
/* Pushes a new metatable of that name and its table of methods, which is its
** __index. [-0, +2, m] */
void new_type(lua_State *L, Binding *binding, const char *name,
              const luaL_Reg *methods, const luaL_Reg *metamethods);

#endif
