/*
** inspect.c - who does what at this moment: tasks, and who holds a client.
**
** For the prompt, which shows it to people. It looks at what is there and
** changes nothing; of other threads it knows nothing.
*/
#include "binding.h"

#include "../runtime/fields.h"
#include "../runtime/scheduler.h"
#include "../runtime/scope.h"
#include "../runtime/task.h"

typedef struct Search {
  const Task *task;
  const Guard *found;
} Search;

static void match(const Guard *guard, void *ud) {
  Search *search = ud;
  if (guard->waiting && guard->task == search->task) search->found = guard;
}

/* The guard in whose wait the task is, or NULL. */
static const Guard *waiting_guard(const Binding *b, const Task *task) {
  Search search = {task, NULL};
  if (task->wait != WAIT_LEASE) return NULL;
  if (task->leases) { /* its own: the newest is what it waits for */
    match(task->leases, &search);
    if (search.found) return search.found;
  }
  guards_visit(b, match, &search);
  return search.found;
}

static const char *wait_name(const Task *task) {
  static const char *const names[] = {"sleep", "scope", "join", "I/O",
                                      "client"};
  return task->state == TASK_PARKED ? names[task->wait] : NULL;
}

static const char *state_name(const Task *task) {
  static const char *const names[] = {"ready", "running", "waiting"};
  return task->state <= TASK_PARKED ? names[task->state] : NULL;
}

/* stack: ... list; adds {task, state, waits, model, site, age} */
static void add_task(Task *task, void *ud) {
  lua_State *L = ud;
  const Binding *b = binding_of(L);
  const Guard *guard = waiting_guard(b, task);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_createtable(L, 0, 6);
  task_push(L, task);
  lua_setfield(L, -2, "task");
  set_string(L, "state", state_name(task));
  set_string(L, "waits", wait_name(task));
  set_string(L, "model", guard ? llm_model_name(guard->lease.model) : NULL);
  set_string(L, "site", task->site);
  int64_t spawned_ns = task_spawned_ns(L, task);
  if (spawned_ns) set_seconds(L, "age", world_now(task->world) - spawned_ns);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* () -> the list of tasks that have not ended */
static int f_tasks(lua_State *L) {
  World *world = binding_of(L)->worker->world;
  lua_newtable(L);
  scope_each(&world->root, add_task, L);
  for (Scope *s = world->main.scope; s; s = s->outer)
    scope_each(s, add_task, L);
  return 1;
}

/* (boolean): new tasks know when they were spawned */
static int f_date_tasks(lua_State *L) {
  binding_of(L)->worker->dates_tasks = lua_toboolean(L, 1);
  return 0;
}

typedef struct Holders {
  lua_State *L; /* the list is on top */
  const llm_pool *pool;
} Holders;

static void add_holder(const Guard *guard, void *ud) {
  const Holders *holders = ud;
  lua_State *L = holders->L;
  if (!llm_lease_is_held(&guard->lease) ||
      llm_model_pool(guard->lease.model) != holders->pool)
    return;
  lua_createtable(L, 0, 3);
  set_string(L, "model", llm_model_name(guard->lease.model));
  set_string(L, "client", llm_place_id(guard->lease.place));
  set_string(L, "site", guard->is_named ? guard->named.site : NULL);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* (pool) -> the list of {model, client, site} of what is lent here */
static int f_holders(lua_State *L) {
  Holders holders = {L, check_pool(L, 1)->pool};
  lua_newtable(L);
  guards_visit(binding_of(L), add_holder, &holders);
  return 1;
}

void inspect_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"tasks", f_tasks},
                                       {"date_tasks", f_date_tasks},
                                       {"holders", f_holders},
                                       {NULL, NULL}};
  set_functions(L, b, functions);
}
