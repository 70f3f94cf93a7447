/*
** guard.c - the owner of one lease, which gives it back whatever happens.
**
** One idea: the guard exists before the permit is asked for and can be ended
** at any moment - by the slot to be closed that it lies in, by the collector,
** by the function that made it - and knows itself what there is to undo: a
** wait, a check or creation, or a lease. Ended, it is reused.
*/
#include "binding.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/errors.h"
#include "../runtime/scheduler.h"

static const char alive_key = 'a'; /* registry: address -> guard, weak */
static const char quick_key = 'q'; /* registry: those of the short way */

/* ---- slots ------------------------------------------------------------- */

static bool grow_slots(Binding *b) {
  uint32_t count = b->slot_count ? b->slot_count * 2 : 64;
  Slot *slots = realloc(b->slots, count * sizeof *slots);
  if (slots == NULL) return false;
  for (uint32_t i = b->slot_count; i < count; i++)
    slots[i] = (Slot){NULL, 0, i + 1};
  b->slots = slots;
  b->free_slot = b->slot_count;
  b->slot_count = count;
  return true;
}

static void slot_take(lua_State *L, Binding *b, Guard *guard) {
  if (b->free_slot == b->slot_count && !grow_slots(b))
    luaL_error(L, "not enough memory");
  guard->slot = b->free_slot;
  b->free_slot = b->slots[guard->slot].next;
  b->slots[guard->slot].guard = guard;
}

static void slot_free(Binding *b, Guard *guard) {
  b->slots[guard->slot] = (Slot){NULL, 0, b->free_slot};
  b->free_slot = guard->slot;
}

uint64_t guard_renew(Guard *guard) {
  Binding *b = guard->binding;
  return b->slots[guard->slot].serial = ++b->serial;
}

Guard *slot_guard(const Binding *b, uint32_t slot, uint64_t serial) {
  return b->slots[slot].serial == serial ? b->slots[slot].guard : NULL;
}

/* ---- waking ------------------------------------------------------------ */

static void deliver(Worker *worker, Message *message) {
  (void)worker;
  Guard *guard = (Guard *)(void *)((char *)message - offsetof(Guard, wake));
  guard->woken = true;
  if (guard->task) task_ready(guard->task);
}

void guard_wake(llm_waiter *waiter) {
  Guard *guard = waiter->group ? ((Choice *)(void *)waiter->group)->guard
                               : (Guard *)(void *)waiter;
  worker_post(guard->binding->worker, &guard->wake);
}

void guard_await_wake(Guard *guard) {
  while (!guard->woken) worker_receive_wait(guard->binding->worker);
  guard->woken = false;
}

/* ---- ending ------------------------------------------------------------ */

/* Runs a hook that may not wait; false: it raised, the error is on top. */
static bool run_hook(lua_State *L, Guard *guard, Helper helper) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  push_helper(L, helper);
  push_model_info(L, guard->lease.model);
  push_client(L, guard, 0);
  return lua_pcall(L, 2, 0, 0) == LUA_OK;
}

static void warn_of_hook(lua_State *L) {
  const char *text = luaL_tolstring(L, -1, NULL);
  lua_warning(L, "llmpool: on_return failed, the client is replaced: ", 1);
  lua_warning(L, text, 0);
  lua_pop(L, 2);
}

void guard_release(lua_State *L, Guard *guard, llm_return how) {
  Slot *slot = &guard->binding->slots[guard->slot];
  const ModelInfo *info = llm_model_user(guard->lease.model);
  ties_end(L, guard);
  slot->serial = 0;
  if (info->on_return && llm_lease_is_held(&guard->lease)) {
    if (!run_hook(L, guard, HELPER_ON_RETURN)) {
      warn_of_hook(L);
      how = LLM_POISON;
    }
    guard->binding->slots[guard->slot].serial = 0;
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

void guard_end(lua_State *L, Guard *guard) {
  if (guard->waiting) {
    end_wait(guard);
  } else if (guard->making) {
    guard->making = false;
    guard->binding->slots[guard->slot].serial = 0;
    llm_lease_abort(&guard->lease);
  } else if (llm_lease_is_held(&guard->lease)) {
    guard_release(L, guard, LLM_KEEP);
  }
}

/* The slot to be closed: mute when a client from acquire has taken over. */
static int mm_close(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  if (!guard->detached) guard_end(L, guard);
  return 0;
}

static void warn_of_leak(lua_State *L, const Guard *guard) {
  const char *site = guard->site;
  lua_pushfstring(
      L,
      "llmpool: client %s of \"%s\" was never returned and has been "
      "collected; it was taken %s%s",
      llm_place_id(guard->lease.place), llm_model_name(guard->lease.model),
      site ? "at " : "where ",
      site ? site : "llmpool.trace_leaks(true) would tell");
  lua_warning(L, lua_tostring(L, -1), 0);
  lua_pop(L, 1);
}

static int mm_gc(lua_State *L) {
  Guard *guard = lua_touserdata(L, 1);
  if (guard->binding == NULL) return 0;
  if (!guard->waiting && !guard->making && !guard->is_quick &&
      llm_lease_is_held(&guard->lease)) {
    llm_lease_leaked(&guard->lease);
    if (!guard->binding->worker->closing) warn_of_leak(L, guard);
  }
  guard_end(L, guard);
  slot_free(guard->binding, guard);
  guard->binding = NULL;
  return 0;
}

/* ---- taking ------------------------------------------------------------ */

/* The table of guards that are not being collected: its values are weak, and
** Lua clears them before it runs a finalizer. */
static void note_alive(lua_State *L, const Guard *guard) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &alive_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, guard);
  lua_pop(L, 1);
}

bool guard_is_alive(lua_State *L, const Guard *guard) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &alive_key);
  bool alive = lua_rawgetp(L, -1, guard) != LUA_TNIL;
  lua_pop(L, 2);
  return alive;
}

static Guard *new_guard(lua_State *L, Binding *b, int user_values) {
  Guard *guard = lua_newuserdatauv(L, sizeof *guard, user_values);
  memset(guard, 0, sizeof *guard);
  note_alive(L, guard);
  guard->wake.deliver = deliver;
  luaL_setmetatable(L, GUARD_TYPE);
  slot_take(L, b, guard);
  guard->binding = b;
  return guard;
}

Guard *guard_take(lua_State *L, Binding *b, int user_values) {
  while (b->cached > 0 && user_values == 0) {
    lua_getiuservalue(L, SHELF, b->cached);
    lua_pushnil(L);
    lua_setiuservalue(L, SHELF, b->cached--);
    Guard *guard = lua_touserdata(L, -1);
    if (guard->binding) return guard;
    lua_pop(L, 1); /* a finalizer closed it while its own was due */
  }
  return new_guard(L, b, user_values);
}

void guard_recycle(lua_State *L, Guard *guard, int index) {
  Binding *b = guard->binding;
  assert(!guard->waiting && !guard->making);
  guard->detached = false;
  guard->site = NULL;
  guard->task = NULL;
  if (b->cached >= KEEP_GUARDS || guard->lease.nodes) return;
  lua_pushvalue(L, index);
  lua_setiuservalue(L, SHELF, b->cached + 1);
  b->cached++;
}

/* ---- those of the short way -------------------------------------------- */

/* They stay in a table for good: their leases need no collector. */
bool guard_make_quick(lua_State *L, Binding *b) {
  if (b->quick_made == KEEP_GUARDS) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &quick_key);
  Guard *guard = new_guard(L, b, 0);
  lua_rawsetp(L, -2, guard);
  lua_pop(L, 1);
  guard->is_quick = true;
  guard->next = b->quick;
  b->quick = guard;
  b->quick_made++;
  return true;
}

/* The task did not come back to where it would have returned them. */
void guard_reclaim(Worker *worker, Task *task) {
  const Binding *b = worker->pools;
  for (uint32_t i = 0; i < b->slot_count; i++) {
    Guard *guard = b->slots[i].guard;
    if (guard == NULL || !guard->is_quick || guard->task != task) continue;
    if (llm_lease_is_held(&guard->lease))
      guard_release(worker->L, guard, LLM_KEEP);
    guard_free_quick(guard);
  }
}

static void open_alive(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &alive_key);
}

void guards_open(lua_State *L, Binding *b) {
  open_alive(L);
  static const luaL_Reg metamethods[] = {
      {"__close", mm_close}, {"__gc", mm_gc}, {NULL, NULL}};
  new_type(L, b, GUARD_TYPE, NULL, metamethods);
  lua_pop(L, 2);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &quick_key);
}
