/*
** api.c - the table of functions that C modules of their own call (api.h).
**
** It adds nothing but the names: each entry is a function of the runtime, or
** binds one to the real world, in which alone modules do their work.
*/
#include "api.h"

#include "errors.h"
#include "loop.h"
#include "runtime.h"
#include "scheduler.h"

_Static_assert(sizeof(llmpool_timer) == sizeof(Timer) &&
                   offsetof(llmpool_timer, fire) == offsetof(Timer, fire) &&
                   offsetof(llmpool_timer, place) == offsetof(Timer, index),
               "modules see timers as they are");
_Static_assert(sizeof(llmpool_message) == sizeof(Message) &&
                   offsetof(llmpool_message, deliver) ==
                       offsetof(Message, deliver),
               "modules see messages as they are");

static Task *check_real_wait(lua_State *L, Worker *worker, const char *what) {
  if (worker->world->is_virtual)
    luaL_error(L,
               "%s inside llmpool.simulate: nothing real happens in virtual "
               "time; use llmpool.simulated clients there",
               what);
  return check_wait(L, worker);
}

static int park(lua_State *L, Worker *worker, lua_KContext ctx,
                lua_KFunction k) {
  return task_park(L, worker, WAIT_EXTERNAL, ctx, k);
}

static int64_t now_ns(const Worker *worker) { return world_now(&worker->real); }

static bool start_timer(Worker *worker, llmpool_timer *timer, int64_t due_ns) {
  return timer_start(&worker->real, (Timer *)(void *)timer, due_ns);
}

static void stop_timer(Worker *worker, llmpool_timer *timer) {
  timer_stop(&worker->real, (Timer *)(void *)timer);
}

static void post(Worker *worker, llmpool_message *message) {
  worker_post(worker, (Message *)(void *)message);
}

static const llmpool_api api = {
    .version = LLMPOOL_API_VERSION,
    .size = sizeof api,
    .release = LLMPOOL_VERSION,
    .worker = worker_of,
    .check_wait = check_wait,
    .check_real_wait = check_real_wait,
    .check_cancel = check_cancel,
    .is_cancelled = task_is_cancelled,
    .park = park,
    .ready = task_ready,
    .uv_loop = loop_uv,
    .now_ns = now_ns,
    .timer_start = start_timer,
    .timer_stop = stop_timer,
    .post = post,
    .push_error = push_error,
};

void api_open(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&api);
  lua_setfield(L, LUA_REGISTRYINDEX, LLMPOOL_API_KEY);
}
