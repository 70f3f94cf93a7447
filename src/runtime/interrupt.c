/*
** interrupt.c - SIGINT, delivered where Lua runs or waits.
**
** One idea: the handler sets a hook on whatever coroutine runs - lua.c sets it
** on the main state only, so that a loop in a coroutine goes on - and kicks the
** loop, so that a wait ends as well. The error is raised once, then cleanup
** runs undisturbed; a second signal has the default action and kills.
*/
#include "interrupt.h"

#include <signal.h>
#include <string.h>

#include <lauxlib.h>

#include "loop.h"
#include "runtime.h"

/* of the process's main worker; written before the handler is installed */
static Worker *interruptible;
static volatile sig_atomic_t pending;

bool interrupt_is_pending(const Worker *worker) {
  return pending && worker == interruptible;
}

void interrupt_check(lua_State *L, Worker *worker) {
  if (!interrupt_is_pending(worker)) return;
  /* one that ends a task is still due to the main chunk */
  if (!worker_in_task(worker)) pending = 0;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

static void stop(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  if (interruptible) interrupt_check(L, interruptible);
}

static void on_sigint(int number) {
  signal(number, SIG_DFL); /* the next one kills */
  Worker *worker = interruptible;
  if (worker == NULL) return;
  pending = 1;
  const Activation *running = worker->activation;
  lua_sethook(running ? running->co : worker->L, stop,
              LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  if (worker->loop) loop_kick(worker->loop);
}

void runtime_catch_sigint(lua_State *L, bool on) {
  static struct sigaction before; /* the prompt's own, say */
  struct sigaction action;
  if (!on) {
    sigaction(SIGINT, &before, NULL);
    return;
  }
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_sigint;
  pending = 0;
  interruptible = worker_of(L);
  sigaction(SIGINT, &action, &before);
  if (before.sa_handler == SIG_IGN) before.sa_handler = SIG_DFL; /* as lua.c */
}
