/*
** guard.c - the owner of one lease, which gives it back whatever happens.
**
** One idea: the guard exists before the permit is asked for and can be ended
** at any moment, and knows itself what there is to undo: a wait, a check or
** creation, or a lease. Who ends it is its own owner: the function that took
** it; else, where that does not come back, the task that it belongs to, when
** the task ends; or its holder, when the slot that it lies in is closed, or
** when nobody can reach it any more.
*/
#include "binding.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"

#define BLOCK 64 /* guards made at a time */

static const char shelf_key = 's';  /* registry: the shelf */
static const char blocks_key = 'g'; /* registry: list of blocks */

typedef struct GuardBlock {
  struct GuardBlock *older;
  Guard guards[BLOCK];
} GuardBlock;

/* ---- guards ------------------------------------------------------------ */

static void deliver(Worker *worker, Message *message) {
  (void)worker;
  Guard *guard = (Guard *)(void *)((char *)message - offsetof(Guard, wake));
  guard->woken = true;
  task_ready(guard->task);
}

void guard_unname(Guard *guard) {
  guard->is_named = false;
  guard->wake.deliver = deliver;
}

/* They lie in userdata of the registry's and go with the state, after the last
** finalizer that could use a client. */
static void make_guards(lua_State *L, Binding *b) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &blocks_key);
  GuardBlock *block = lua_newuserdatauv(L, sizeof *block, 0);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
  memset(block, 0, sizeof *block);
  block->older = b->blocks;
  b->blocks = block;
  for (int i = 0; i < BLOCK; i++) {
    Guard *guard = &block->guards[i];
    guard->next = b->free;
    b->free = guard;
  }
}

void guards_visit(const Binding *b, void (*visit)(const Guard *, void *),
                  void *ud) {
  for (const GuardBlock *block = b->blocks; block; block = block->older)
    for (int i = 0; i < BLOCK; i++) visit(&block->guards[i], ud);
}

Guard *guard_take(lua_State *L, Binding *b, bool owned) {
  if (b->free == NULL) make_guards(L, b);
  Guard *guard = b->free;
  Task *task = b->worker->current;
  b->free = guard->next;
  guard->task = task;
  guard->is_owned = owned;
  guard->till = 0;
  guard_unname(guard);
  if (!owned) return guard;
  guard->next = task->leases;
  task->leases = guard;
  return guard;
}

void guard_disown(Guard *guard) {
  Guard **link = (Guard **)&guard->task->leases;
  while (*link != guard) link = &(*link)->next;
  *link = guard->next;
  guard->is_owned = false;
}

static void each_asked(const Guard *guard, void (*action)(llm_model *)) {
  const llm_lease *lease = &guard->lease;
  if (lease->nodes == NULL) action(lease->model);
  for (uint32_t i = 0; lease->nodes && i < lease->n_models; i++)
    action(lease->models[i]);
}

static void keep_model(llm_model *model) { llm_model_ref(model); }

void guard_keep(Guard *guard) {
  if (guard->keeps) return;
  guard->keeps = true;
  each_asked(guard, keep_model);
}

/* A choice begins with its group, to which its nodes lead. */
static void free_choice(Guard *guard) {
  if (guard->lease.nodes == NULL) return;
  free(guard->lease.nodes[0].group);
  guard->lease.nodes = NULL;
}

void guard_free(Binding *b, Guard *guard) {
  assert(!guard->waiting && !guard->making && !guard->woken);
  if (guard->is_owned) guard_disown(guard);
  if (guard->keeps) each_asked(guard, llm_model_unref);
  guard->keeps = false;
  free_choice(guard);
  guard->is_named = false;
  guard->task = NULL;
  guard->next = b->free;
  b->free = guard;
}

/* ---- waking ------------------------------------------------------------ */

static Worker *worker_to_wake(const Guard *guard) {
  return guard->task->world->worker;
}

void guard_wake(llm_waiter *waiter) {
  Guard *guard = waiter->group ? ((Choice *)(void *)waiter->group)->guard
                               : (Guard *)(void *)waiter;
  worker_post(worker_to_wake(guard), &guard->wake);
}

void guard_await_wake(Guard *guard) {
  while (!guard->woken) worker_receive_wait(worker_to_wake(guard));
  guard->woken = false;
}

/* ---- ending ------------------------------------------------------------ */

/* stack: binding guard helper */
static int hook(lua_State *L) {
  Binding *b = lua_touserdata(L, 1);
  Guard *guard = lua_touserdata(L, 2);
  push_helper(L, (Helper)lua_tointeger(L, 3));
  push_model_info(L, guard->lease.model);
  name_lease(b, new_client_anywhere(L, 0), guard, NULL);
  lua_call(L, 2, 0);
  return 0;
}

bool run_hook(lua_State *L, Binding *b, Guard *guard, Helper helper) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, hook);
  lua_pushlightuserdata(L, b);
  lua_pushlightuserdata(L, guard);
  lua_pushinteger(L, helper);
  guard->hooked = true;
  int status = lua_pcall(L, 3, 0, 0);
  guard->hooked = false;
  return status == LUA_OK;
}

#define HOOK_FAILED "llmpool: on_return failed, the client is replaced"

static int warn_with_text(lua_State *L) {
  const char *text = luaL_tolstring(L, 1, NULL);
  lua_warning(L, HOOK_FAILED ": ", 1);
  lua_warning(L, text, 0);
  return 0;
}

/* Protected: the lease is still to be returned, and an error's __tostring may
** raise. */
static void warn_of_hook(lua_State *L) {
  lua_pushcfunction(L, warn_with_text);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_warning(L, HOOK_FAILED "; its error has no text", 0);
  lua_pop(L, 1);
}

void guard_release(lua_State *L, Binding *b, Guard *guard, llm_return how) {
  const ModelInfo *info = llm_model_user(guard->lease.model);
  ties_end(L, guard);
  guard->is_named = false;
  if (info->on_return && llm_lease_is_held(&guard->lease)) {
    if (!run_hook(L, b, guard, HELPER_ON_RETURN)) {
      warn_of_hook(L);
      how = LLM_POISON;
    }
    guard->is_named = false;
  }
  llm_lease_return(&guard->lease, how);
}

static void end_wait(Guard *guard) {
  guard->waiting = false;
  timer_stop(guard->task->world, &guard->task->timer);
  if (!guard->woken && llm_lease_withdraw(&guard->lease, LLM_CANCELLED)) return;
  guard_await_wake(guard);
  llm_lease_abort(&guard->lease);
}

void guard_end(lua_State *L, Binding *b, Guard *guard) {
  if (guard->waiting) {
    end_wait(guard);
  } else if (guard->making) {
    guard->making = false;
    llm_lease_abort(&guard->lease);
  } else if (llm_lease_is_held(&guard->lease)) {
    guard_release(L, b, guard, LLM_KEEP);
  }
  guard_free(b, guard);
}

/* What a finalizer acquires while the state closes has no finalizer any more:
** the holder was made too late. */
void guards_end(lua_State *L, Binding *b) {
  for (GuardBlock *block = b->blocks; block; block = block->older)
    for (int i = 0; i < BLOCK; i++) {
      Guard *guard = &block->guards[i];
      if (guard->is_owned || !llm_lease_is_held(&guard->lease)) continue;
      llm_lease_leaked(&guard->lease);
      guard_end(L, b, guard);
    }
}

void guard_reclaim(Worker *worker, Task *task) {
  while (task->leases) guard_end(worker->L, worker->pools, task->leases);
}

/* ---- holders ----------------------------------------------------------- */

/* The slot to be closed: mute when a client from acquire has taken over. */
static int mm_close(lua_State *L) {
  Holder *holder = lua_touserdata(L, 1);
  Guard *guard = holder->guard;
  if (guard == NULL || holder->detached) return 0;
  holder->guard = NULL;
  guard_end(L, binding_of(L), guard);
  return 0;
}

static void warn_of_leak(lua_State *L, const Guard *guard) {
  const char *site = guard->is_named ? guard->named.site : NULL;
  lua_pushfstring(
      L,
      "llmpool: client %s of \"%s\" was never returned and has been "
      "collected; it was taken %s%s",
      push_shown(L, llm_place_id(guard->lease.place)),
      push_shown(L, llm_model_name(guard->lease.model)),
      site ? "at " : "where ",
      site ? site : "llmpool.trace_leaks(true) would tell");
  lua_warning(L, lua_tostring(L, -1), 0);
  lua_pop(L, 3);
}

static int mm_gc(lua_State *L) {
  Binding *b = binding_of(L);
  Holder *holder = lua_touserdata(L, 1);
  Guard *guard = holder->guard;
  put_holder(b, holder); /* nobody finds it: its place on the shelf is empty */
  if (guard == NULL) return 0;
  if (!guard->waiting && !guard->making && llm_lease_is_held(&guard->lease)) {
    llm_lease_leaked(&guard->lease);
    if (!b->worker->closing) warn_of_leak(L, guard);
  }
  guard_end(L, b, guard);
  return 0;
}

Holder *new_holder(lua_State *L) {
  Holder *holder = lua_newuserdatauv(L, sizeof *holder, 0);
  *holder = (Holder){NULL, 0, true, false};
  luaL_setmetatable(L, HOLDER_TYPE);
  return holder;
}

/* For a place that is free. */
static Holder *make_holder(lua_State *L, Binding *b, int place) {
  Holder *holder = new_holder(L);
  holder->place = (uint8_t)place;
  lua_pushvalue(L, -1);
  lua_rawseti(L, SHELF, place); /* there is room: nothing is allocated */
  return b->holders[place - 1] = holder;
}

Holder *push_holder(lua_State *L, Binding *b) {
  Holder *holder;
  if (b->free_places == 0) return new_holder(L);
  int place = b->places[b->free_places - 1];
  if (lua_rawgeti(L, SHELF, place) != LUA_TNIL) {
    holder = b->holders[place - 1];
  } else {
    lua_pop(L, 1);
    holder = make_holder(L, b, place);
  }
  b->free_places--;
  holder->is_taken = true;
  return holder;
}

void put_holder(Binding *b, Holder *holder) {
  holder->guard = NULL;
  holder->detached = false;
  if (holder->place == 0 || !holder->is_taken) return;
  holder->is_taken = false;
  b->places[b->free_places++] = holder->place;
}

void push_shelf(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &shelf_key); }

static void open_shelf(lua_State *L, Binding *b) {
  lua_createtable(L, KEEP_HOLDERS, 0);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &shelf_key);
  for (int place = KEEP_HOLDERS; place > 0; place--)
    b->places[b->free_places++] = (uint8_t)place;
}

void guards_open(lua_State *L, Binding *b) {
  open_shelf(L, b);
  static const luaL_Reg metamethods[] = {
      {"__close", mm_close}, {"__gc", mm_gc}, {NULL, NULL}};
  new_type(L, b, HOLDER_TYPE, NULL, metamethods);
  lua_pop(L, 2);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &blocks_key);
}
