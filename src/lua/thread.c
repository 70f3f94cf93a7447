/*
** thread.c - a function in an OS thread, with a Lua state of its own.
**
** One idea: a thread is joined by a task, so that it has an owner, can be
** cancelled and reports its failure as any task does. Nothing is shared but
** the pools that are sent: arguments and results are packed values. The new
** state runs the function as a task of its root scope, to the end of all.
*/
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lualib.h>

#include "../runtime/errors.h"
#include "../runtime/runtime.h"
#include "../runtime/scheduler.h"
#include "../runtime/scope.h"
#include "../runtime/state.h"
#include "../runtime/task.h"
#include "binding.h"

int luaopen_llmpool(lua_State *L);

typedef struct Thread { /* a userdata of the parent's; outlives the thread */
  pthread_t id;
  bool started, joined;
  Value *arguments;
  Value *results;     /* after done */
  bool ok;            /* results are results; else the error */
  char *traceback;    /* of the error, or NULL */
  char *path, *cpath; /* where modules are looked for, as in the parent */
  Message done;       /* to the parent */
  Worker *parent;
  Task *waiter;         /* of the parent's */
  bool ended;           /* done was delivered */
  pthread_mutex_t lock; /* guards the two below */
  Worker *child;        /* while its state is open */
  bool cancelled;       /* asked before there was a child */
  Message cancel;       /* to the child, at most once */
  bool cancel_sent;
} Thread;

#define OWNER(message, member) \
  ((Thread *)(void *)((char *)(message)-offsetof(Thread, member)))

/* ---- in the thread ----------------------------------------------------- */

/* Also what runs in a simulation there, for which the thread's task waits. */
static void on_cancel(Worker *worker, Message *message) {
  (void)message;
  for (World *world = worker->world; world; world = world->outer)
    scope_cancel(&world->root);
}

static void attach(Thread *thread, Worker *child) {
  pthread_mutex_lock(&thread->lock);
  thread->child = child;
  if (child && thread->cancelled) scope_cancel(&child->real.root);
  pthread_mutex_unlock(&thread->lock);
}

/* The new state finds the modules that its parent finds. */
static void set_path(lua_State *L, const char *name, const char *path) {
  if (path == NULL) return;
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_pushstring(L, path);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static char *copy_path(lua_State *L, const char *name) {
  char *copy = NULL;
  if (lua_getglobal(L, LUA_LOADLIBNAME) == LUA_TTABLE) {
    if (lua_getfield(L, -1, name) == LUA_TSTRING)
      copy = strdup(lua_tostring(L, -1)); /* without memory: the default */
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return copy;
}

/* stack: thread (light). Leaves the outcome of the function. */
static int run_function(lua_State *L) {
  Thread *thread = lua_touserdata(L, 1);
  luaL_openlibs(L);
  set_path(L, "path", thread->path);
  set_path(L, "cpath", thread->cpath);
  runtime_open(L);
  luaL_requiref(L, "llmpool", luaopen_llmpool, 0);
  lua_settop(L, 1);
  Worker *worker = worker_of(L);
  int n = value_unpack(L, thread->arguments);
  Join join;
  memset(&join, 0, sizeof join);
  Task *task = task_spawn(L, worker, &worker->real.root, n - 1);
  join_add(&join, task, &worker->real.main, true);
  attach(thread, worker);
  runtime_finish(L);
  n = lua_gettop(task->co);
  luaL_checkstack(L, n + 1, "too many results");
  lua_xmove(task->co, L, n);
  if (task->state == TASK_DONE) return n;
  return lua_error(L);
}

/* An error value that cannot be sent goes as its text. */
static Value *pack_outcome(lua_State *L, int first, bool *ok) {
  ValueRules rules = {*ok ? "result" : "error", *ok, send_pool};
  ValueWhy why;
  int n = lua_gettop(L) - first + 1;
  Value *value = value_pack(L, first, n, &rules, &why);
  if (value) return value;
  if (*ok) {
    *ok = false;
    lua_pushstring(L, why.text);
  } else if (error_kind(L, first)) {
    lua_pushnil(L); /* a task is the one field that cannot go */
    lua_setfield(L, first, "task");
    value = value_pack(L, first, 1, &rules, &why);
    if (value) return value;
    push_error_text(L, first);
  } else {
    push_error_text(L, first);
  }
  return value_pack(L, lua_gettop(L), 1, &rules, &why);
}

static int pack_protected(lua_State *L) {
  Thread *thread = lua_touserdata(L, 1);
  if (!thread->ok) {
    push_kept_traceback(L, 2);
    if (lua_isstring(L, -1)) thread->traceback = strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  thread->results = pack_outcome(L, 2, &thread->ok);
  return 0;
}

static void pack_results(lua_State *L, Thread *thread) {
  lua_pushcfunction(L, pack_protected);
  lua_insert(L, 1);
  lua_pushlightuserdata(L, thread);
  lua_insert(L, 2);
  lua_pcall(L, lua_gettop(L) - 1, 0, 0); /* no memory: no results */
}

static void *thread_main(void *argument) {
  Thread *thread = argument;
  lua_State *L = state_new();
  if (L) {
    lua_pushcfunction(L, run_function);
    lua_pushlightuserdata(L, thread);
    thread->ok = lua_pcall(L, 1, LUA_MULTRET, 0) == LUA_OK;
    attach(thread, NULL);
    pack_results(L, thread);
    state_close(L);
  }
  worker_post(thread->parent, &thread->done);
  return NULL;
}

/* ---- in the parent ----------------------------------------------------- */

static void on_done(Worker *worker, Message *message) {
  Thread *thread = OWNER(message, done);
  thread->ended = true;
  worker->threads--;
  if (thread->waiter) task_ready(thread->waiter);
}

static void cancel(Thread *thread) {
  pthread_mutex_lock(&thread->lock);
  thread->cancelled = true;
  if (thread->child && !thread->cancel_sent) {
    thread->cancel_sent = true;
    worker_post(thread->child, &thread->cancel);
  }
  pthread_mutex_unlock(&thread->lock);
}

static void wait_for_end(Thread *thread) {
  if (!thread->started || thread->joined) return;
  while (!thread->ended) worker_receive_wait(thread->parent);
  pthread_join(thread->id, NULL);
  thread->joined = true;
}

/* The state closes with the thread running: it is cancelled and waited for. */
static int mm_gc(lua_State *L) {
  Thread *thread = lua_touserdata(L, 1);
  thread->waiter = NULL;
  if (thread->started && !thread->joined) {
    cancel(thread);
    wait_for_end(thread);
  }
  value_unref(thread->arguments);
  value_unref(thread->results);
  thread->arguments = thread->results = NULL;
  free(thread->traceback);
  free(thread->path);
  free(thread->cpath);
  thread->traceback = thread->path = thread->cpath = NULL;
  if (thread->started) pthread_mutex_destroy(&thread->lock);
  thread->started = false;
  return 0;
}

/* Every thread but the main one leaves SIGINT to it. */
static int create(Thread *thread) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int failed = pthread_create(&thread->id, NULL, thread_main, thread);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return failed;
}

/* (function, ...) -> thread, which runs */
static int f_thread_start(lua_State *L) {
  Binding *b = binding_of(L);
  luaL_argexpected(L, lua_isfunction(L, 1), 1, "function");
  if (b->worker->world->is_virtual)
    return luaL_error(L, "llmpool.thread inside llmpool.simulate: a thread "
                         "runs in real time");
  ValueRules rules = {"argument", 0, send_pool};
  ValueWhy why;
  int n = lua_gettop(L);
  Thread *thread = lua_newuserdatauv(L, sizeof *thread, 0);
  memset(thread, 0, sizeof *thread);
  luaL_setmetatable(L, THREAD_TYPE);
  rules.number = 1;
  thread->arguments = value_pack(L, 1, n, &rules, &why);
  if (thread->arguments == NULL) {
    lua_pushstring(L, why.text); /* the Lua half adds the position */
    return lua_error(L);
  }
  thread->path = copy_path(L, "path");
  thread->cpath = copy_path(L, "cpath");
  thread->parent = b->worker;
  thread->done.deliver = on_done;
  thread->cancel.deliver = on_cancel;
  pthread_mutex_init(&thread->lock, NULL);
  int failed = create(thread);
  if (failed) {
    pthread_mutex_destroy(&thread->lock);
    return luaL_error(L, "cannot start a thread: %s", strerror(failed));
  }
  thread->started = true;
  b->worker->threads++;
  return 1;
}

static int k_wait(lua_State *L, int status, lua_KContext ctx) {
  Thread *thread = lua_touserdata(L, 1);
  Binding *b = binding_of(L);
  (void)status;
  (void)ctx;
  Task *task = b->worker->current;
  task->doomed = false;
  if (!thread->ended) {
    if (task_is_cancelled(task)) cancel(thread);
    thread->waiter = task;
    return task_park(L, b->worker, WAIT_EXTERNAL, 0, k_wait);
  }
  thread->waiter = NULL;
  wait_for_end(thread);
  check_cancel(L, task);
  lua_settop(L, 1);
  if (thread->results == NULL)
    return luaL_error(L, "not enough memory for what a thread returned");
  int n = value_unpack(L, thread->results);
  if (thread->ok) return n;
  if (thread->traceback) {
    lua_pushstring(L, thread->traceback);
    keep_foreign_traceback(L);
  }
  return lua_error(L);
}

/* (thread) -> what its function returned; raises its error */
static int f_thread_wait(lua_State *L) {
  luaL_checkudata(L, 1, THREAD_TYPE);
  lua_settop(L, 1);
  return k_wait(L, LUA_OK, 0);
}

/* () -> how many processors there are for this machine's threads */
static int f_processors(lua_State *L) {
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  lua_pushinteger(L, n > 0 ? n : 1);
  return 1;
}

void thread_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"thread_start", f_thread_start},
                                       {"thread_wait", f_thread_wait},
                                       {"processors", f_processors},
                                       {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", mm_gc}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, THREAD_TYPE, NULL, metamethods);
  lua_pop(L, 2);
}
