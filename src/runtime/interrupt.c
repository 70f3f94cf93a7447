/*
** interrupt.c - SIGINT, delivered where Lua runs or waits.
**
** One idea: the handler sets a hook on whatever coroutine runs - lua.c sets it
** on the main state only, so that a loop in a coroutine goes on - and kicks the
** loop, so that a wait ends as well. The error is raised once, then cleanup
** runs undisturbed; a second signal has the default action and kills. At the
** prompt nobody wants to lose the session: there a second one is raised at
** every step until the main chunk has it, and only the fourth kills.
*/
#include "interrupt.h"

#include <signal.h>
#include <string.h>

#include <lauxlib.h>

#include "loop.h"
#include "runtime.h"

/* of the process's main worker; written before the handler is installed */
static Worker *interruptible;
static volatile sig_atomic_t pending;      /* how many; 0: none */
static volatile sig_atomic_t patience = 1; /* as many are no default action */

enum { STUBBORN = 2 }; /* so many: whoever caught the first is told again */

bool interrupt_is_pending(const Worker *worker) {
  return pending && worker == interruptible;
}

void interrupt_check(lua_State *L, Worker *worker) {
  if (!interrupt_is_pending(worker)) return;
  bool in_task = worker_in_task(worker);
  if (!in_task || pending < STUBBORN) lua_sethook(L, NULL, 0, 0);
  /* one that ends a task is still due to the main chunk */
  if (!in_task) pending = 0;
  luaL_error(L, "interrupted!");
}

static void stop(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (interruptible) interrupt_check(L, interruptible);
  lua_sethook(L, NULL, 0, 0); /* somebody else has had it */
}

static void on_sigint(int number) {
  Worker *worker = interruptible;
  if (worker == NULL || pending + 1 >= patience)
    signal(number, SIG_DFL); /* the next one kills */
  if (worker == NULL) return;
  pending++;
  const Activation *running = worker->activation;
  lua_sethook(running ? running->co : worker->L, stop,
              LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  if (worker->loop) loop_kick(worker->loop);
}

static void catch (struct sigaction *before) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_sigint;
  sigaction(SIGINT, &action, before);
}

void runtime_catch_sigint(lua_State *L, bool on) {
  static struct sigaction before; /* the prompt's own, say */
  patience = 1;
  if (!on) {
    sigaction(SIGINT, &before, NULL);
    return;
  }
  pending = 0;
  interruptible = worker_of(L);
  catch (&before);
  if (before.sa_handler == SIG_IGN) before.sa_handler = SIG_DFL; /* as lua.c */
}

void runtime_be_patient(void) {
  patience = 3;
  catch (NULL);
}
