/*
** binding.h - what the files of src/lua share: one Binding a Lua state.
**
** A guard is the owner of one lease: a userdata that no script sees, with the
** waiter in it, made before the permit is asked for, reused afterwards. A
** client is what scripts see: a small fresh userdata for every lease that names
** a slot and a serial number; the slot says whether that lease is still out.
** So a client can outlive its lease, and its guard, without harm.
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
#define GUARD_TYPE "llmpool.guard"
#define SCOPE_TYPE "llmpool.scope"
#define THREAD_TYPE "llmpool.thread"
#define EVENTS_TYPE "llmpool.events"

typedef struct Binding Binding;
typedef struct LuaPool LuaPool;
typedef struct Guard Guard;

typedef struct Slot {
  Guard *guard;    /* NULL: free */
  uint64_t serial; /* of the lease that is out; 0: none */
  uint32_t next;   /* in the list of free ones */
} Slot;

struct Binding {
  Worker *worker;
  LuaPool *pools; /* open in this state */
  Slot *slots;
  uint32_t slot_count, free_slot; /* free_slot == slot_count: none */
  uint64_t serial;                /* of the last lease */
  int cached;            /* guards on the shelf that is the 2nd upvalue */
  Guard *quick;          /* free ones of the short way (quick.c) */
  int quick_made;        /* of these, ever */
  const LuaPool *recent; /* the pool that was last asked; or NULL */
  const void *pool_type, *client_type; /* metatables, for quick checks */
  const void *view_types[3];           /* of a view, its models and clients */
  struct Past *pasts;                  /* simulations that were (simulate.c) */
  bool trace_leaks; /* get_client records where it was called */
};

/* Several models in one wait; lives in a user value of the guard's. */
typedef struct Choice {
  struct llm_group group; /* first: a node's group leads here */
  Guard *guard;
  uint32_t n;
  llm_model **models;
  llm_waiter *nodes;
} Choice;

struct Guard {
  llm_lease lease; /* first: a waiter leads here */
  Message wake;
  Binding *binding;
  Task *task;       /* who waits */
  const char *site; /* where it was asked for; or NULL */
  Guard *next;      /* among the free ones of the short way */
  uint32_t slot;
  bool waiting; /* between LLM_WAIT and its end */
  bool woken;
  bool making;   /* a check or create of Lua's is under way */
  bool detached; /* owned by a client from acquire: the slot's close is mute */
  bool is_quick; /* of the short way: its task owns the lease */
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
  KnownModel *known; /* models that were asked for by name, until the end: a
                     ** wait that fails still reads its model */
  uint32_t known_count, known_size;
  bool bound;  /* holds values of this state: cannot be sent */
  bool shared; /* from llmpool.open, or come from another state */
};

/* What a model carries for Lua: the core's factory.user. */
typedef struct ModelInfo {
  Value *packed;      /* hooks and options for other states; NULL: bound */
  uint64_t uid;       /* of the options' table in each state */
  int64_t timeout_ns; /* of a call that gives none; LLM_FOREVER */
  bool on_lend, on_return;
} ModelInfo;

/* A client's spec: packed for every state, or a value of one state's. */
typedef struct LuaSpec {
  Value *packed;
  lua_State *L; /* main thread of the owner, with ref */
  int ref;
  _Atomic uint32_t refs;
} LuaSpec;

/* Every function of ours has two upvalues: the binding, and the shelf, whose
** user values are guards that wait for reuse and the clients' metatable. (A
** table would do; its fields take twice as long to reach.) */
static inline Binding *binding_of(lua_State *L) {
  return (Binding *)lua_touserdata(L, lua_upvalueindex(1));
}
#define SHELF lua_upvalueindex(2)
#define KEEP_GUARDS 64                /* ended ones, for reuse */
#define CLIENT_META (KEEP_GUARDS + 1) /* where the clients' metatable lies */

/* lease.c */
int f_get_client(lua_State *L);
int f_acquire(lua_State *L);

/* quick.c: the answer, or NOT_QUICK with the stack as it was. */
#define NOT_QUICK (-1)
int quick_get_client(lua_State *L, Binding *binding);
int quick_acquire(lua_State *L, Binding *binding);

/* guard.c */
/* One more free guard of the short way; false: there are enough. */
bool guard_make_quick(lua_State *L, Binding *binding);
/* Lends it to a task whose end gives back what it still holds; and back. */
static inline Guard *guard_take_quick(Binding *binding, Task *task) {
  Guard *guard = binding->quick;
  binding->quick = guard->next;
  guard->task = task;
  task->leases++;
  return guard;
}
static inline void guard_free_quick(Guard *guard) {
  guard->task->leases--;
  guard->task = NULL;
  guard->next = guard->binding->quick;
  guard->binding->quick = guard;
}
void guard_reclaim(Worker *worker, Task *task);
void guards_open(lua_State *L, Binding *binding);
/* Pushes a guard without a lease, with user values for what it needs. */
Guard *guard_take(lua_State *L, Binding *binding, int user_values);
/* False: the collector has it, and its finalizer is still to come. */
bool guard_is_alive(lua_State *L, const Guard *guard);
/* Keeps a guard whose lease has ended, at stack index `index`, for reuse. */
void guard_recycle(lua_State *L, Guard *guard, int index);
void guard_wake(llm_waiter *waiter);
/* Consumes the wake that is due, from whatever thread it comes. */
void guard_await_wake(Guard *guard);
/* Ends whatever the guard is in the middle of; the client is back. */
void guard_end(lua_State *L, Guard *guard);
/* Ends a lease that is held, with the hooks. */
void guard_release(lua_State *L, Guard *guard, llm_return how);
/* A new serial number for the guard's slot: older clients are void. */
uint64_t guard_renew(Guard *guard);
Guard *slot_guard(const Binding *binding, uint32_t slot, uint64_t serial);

/* failure.c */
/* Pushes the error object for a lease that FAILED; the value at `cause` (0:
** none) is what the creator raised. */
void push_failure(lua_State *L, const Guard *guard, int cause);
void push_deadlock(lua_State *L, const Guard *guard);

/* callopts.c: a call's options at `index`; what stays of them there must stay
** until the call has been served */
void check_ask(lua_State *L, int index, int64_t timeout_ns, llm_clock *clock,
               llm_ask *ask);

/* Lua functions that init.lua hands over, called by name. */
typedef enum Helper {
  HELPER_CHECK,     /* (info, client) */
  HELPER_CREATE,    /* (info, client, reason) -> instance, new item */
  HELPER_ON_LEND,   /* (info, client) */
  HELPER_ON_RETURN, /* (info, client) */
  HELPER_INSTANCE,  /* (item, id, model) -> instance */
  HELPER_NEAREST,   /* (word, list) -> word or nil */
  HELPER_COUNT
} Helper;
void push_helper(lua_State *L, Helper helper);

/* tie.c */
void ties_open(lua_State *L, Binding *binding);
/* The guard's lease ends: tells what is tied to it. Never raises. */
void ties_end(lua_State *L, Guard *guard);

/* client.c */
void clients_open(lua_State *L, Binding *binding);
/* What a script sees: the name of a lease. */
typedef struct Client {
  uint64_t serial;
  uint64_t model; /* its uid: whom a second release is counted to */
  uint32_t slot;
} Client;
/* Pushes one that names nothing yet, and lets it name the guard's lease. */
Client *new_client(lua_State *L, int user_values);
void name_lease(Client *client, Guard *guard);
/* The guard of a client whose lease is out; else raises. */
Guard *check_client(lua_State *L, int index);
/* Pushes a client for the guard's present lease. */
void push_client(lua_State *L, Guard *guard, int user_values);
/* The value at `index` is this state's instance of the place's client. */
void set_instance(lua_State *L, llm_place *place, int index);

/* pool.c */
void pools_open(lua_State *L, Binding *binding);
LuaPool *check_pool(lua_State *L, int index);
/* The model named at `index`; raises unknown_model or closed. */
llm_model *check_model(lua_State *L, LuaPool *pool, int index);
void push_unknown_model(lua_State *L, LuaPool *pool, int index);
/* Seconds at `index` of the stack as ns; raises "bad argument". */
int64_t check_seconds(lua_State *L, int argument, int index, const char *name);
/* Pushes the table that this state has for a model: hooks, options. */
void push_model_info(lua_State *L, llm_model *model);
/* Raises unless the pool's clock is that of the world that runs now. */
void check_world(lua_State *L, const LuaPool *pool);
/* A ValueHook: pools go to other states by reference. */
bool send_pool(lua_State *L, int index, ValueRef *ref, ValueRefusal *refusal);

/* register.c */
/* A spec from the normalised item {spec = table} or {bound = value} at index. */
LuaSpec *make_spec(lua_State *L, int index);
void push_spec(lua_State *L, const LuaSpec *spec);
void free_spec(void *user, void *spec); /* of the core's factory */

/* the others: each adds its functions to the table on top of the stack */
void register_open(lua_State *L, Binding *binding);
void stats_open(lua_State *L, Binding *binding);
void inspect_open(lua_State *L, Binding *binding);
void task_open(lua_State *L, Binding *binding);
void scope_open(lua_State *L, Binding *binding);
void thread_open(lua_State *L, Binding *binding);
void chance_open(lua_State *L, Binding *binding);
void crew_open(lua_State *L, Binding *binding);
void recorder_open(lua_State *L, Binding *binding);
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
