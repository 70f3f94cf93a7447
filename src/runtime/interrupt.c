/*
** interrupt.c - signals, delivered where Lua runs or waits.
**
** One idea: the handler sets a hook on whatever coroutine runs - lua.c sets it
** on the main state only, so that a loop in a coroutine goes on - and kicks the
** loop, so that a wait ends as well. SIGINT's error is raised once, then
** cleanup runs undisturbed; a second signal has the default action and kills.
** At the prompt nobody wants to lose the session: there a second one is raised
** at every step until the main chunk has it, and only the fourth kills.
**
** SIGTERM and SIGHUP end the program as os.exit(code, true) does, and the
** process still dies of the signal, which is what whoever sent it looks for.
** They have lua's default action until there is something to be put in order:
** until the main chunk has waited once, or a recording has begun.
*/
#include "interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "loop.h"
#include "runtime.h"
#include "task.h"

/* The process's main worker: written by its thread before the handlers are
** installed, read by them and by every other worker that ends. */
static _Atomic(Worker *) interruptible;
static volatile sig_atomic_t pending;      /* how many; 0: none */
static volatile sig_atomic_t patience = 1; /* as many are no default action */

static volatile sig_atomic_t ending; /* the signal that is to end it; or 0 */
static int deadly;                   /* the signal that it is to die of; or 0 */

enum { STUBBORN = 2 }; /* so many: whoever caught the first is told again */

bool interrupt_is_pending(const Worker *worker) {
  return (pending || ending) && worker == interruptible;
}

void interrupt_forget(const Worker *worker) {
  if (worker == interruptible) interruptible = NULL;
}

/* Where no task is left, what remains to be done is done. */
static void end(lua_State *L, Worker *worker) {
  lua_sethook(L, NULL, 0, 0);
  deadly = ending;
  ending = 0;
  if (!worker->closing) end_program(L, worker, 128 + deadly);
}

void interrupt_check(lua_State *L, Worker *worker) {
  if (!interrupt_is_pending(worker)) return;
  if (ending) {
    end(L, worker);
    return;
  }
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

static void reach(const Worker *worker) {
  const Activation *running = worker->activation;
  lua_sethook(running ? running->co : worker->L, stop,
              LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  if (worker->loop) loop_kick(worker->loop);
}

static void on_sigint(int number) {
  const Worker *worker = interruptible;
  if (worker == NULL || pending + 1 >= patience)
    signal(number, SIG_DFL); /* the next one kills */
  if (worker == NULL) return;
  pending++;
  reach(worker);
}

static void catch (struct sigaction *before) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_sigint;
  sigaction(SIGINT, &action, before);
}

/* The last of exit's handlers, since it is the first that was set: the terminal
** is as it was. */
static void die(void) {
  if (deadly == 0) return;
  fflush(NULL);
  signal(deadly, SIG_DFL);
  raise(deadly);
}

void runtime_catch_sigint(lua_State *L, bool on) {
  static struct sigaction before; /* the prompt's own, say */
  static bool is_first = true;
  if (is_first) atexit(die);
  is_first = false;
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

/* ---- SIGTERM, SIGHUP ---------------------------------------------------- */

static void on_end(int number) {
  signal(SIGTERM, SIG_DFL); /* the next one kills */
  signal(SIGHUP, SIG_DFL);
  if (interruptible == NULL) {
    raise(number); /* the state has closed */
    return;
  }
  ending = number;
  reach(interruptible);
}

/* Whoever ignores it (nohup) means that. */
static void catch_end(int number) {
  struct sigaction action;
  sigaction(number, NULL, &action);
  if (action.sa_handler != SIG_DFL) return;
  action.sa_handler = on_end;
  sigaction(number, &action, NULL);
}

void runtime_end_in_order(lua_State *L) {
  static bool done; /* the main worker's, the one that is a drop-in */
  Worker *worker = worker_of(L);
  if (!worker->drop_in || done) return;
  done = true;
  interruptible = worker;
  catch_end(SIGTERM);
  catch_end(SIGHUP);
}

void runtime_be_patient(void) {
  patience = 3;
  catch (NULL);
}
