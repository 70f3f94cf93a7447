/*
** host.c - a Lua state with llmpool in it, and running chunks in it.
**
** This follows lua.c step by step, since scripts can see the steps: how deep
** the stack is under a chunk, when `arg` is made, which errors get a traceback.
** What is llmpool's own stands in host_open and host_finish.
*/
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "../runtime/errors.h"
#include "../runtime/executable.h"
#include "../runtime/fields.h"
#include "../runtime/runtime.h"
#include "commands.h"
#include "terminal.h"

int luaopen_llmpool(lua_State *L);

static const char *progname;

const char *host_rename(const char *name) {
  const char *before = progname;
  progname = name;
  return before;
}

void host_message(const char *text) {
  if (progname) fprintf(stderr, "%s: ", progname);
  fprintf(stderr, "%s\n", text);
  fflush(stderr);
}

bool host_has_written(void) {
  char text[128];
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout)) return true;
  snprintf(text, sizeof text, "cannot write: %s",
           errno != 0 ? strerror(errno) : "standard output failed");
  host_message(text);
  return false;
}

/* ---- the state --------------------------------------------------------- */

/* Index 0 is the script, or the program if there is none. */
static void make_arg(lua_State *L, const Options *options) {
  const int argc = options->argc;
  const int zero = options->script == argc ? 0 : options->script;
  lua_createtable(L, argc - zero, zero + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, options->argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

/* A searcher behind preload's, for llmpool.* before llmpool itself was asked
** for: opening it fills preload. */
static int search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (strncmp(name, "llmpool.", 8) != 0) return 0;
  luaL_requiref(L, "llmpool", luaopen_llmpool, 0);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (lua_getfield(L, -1, name) == LUA_TNIL) return 0;
  lua_pushliteral(L, ":preload:");
  return 2;
}

static void preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_llmpool);
  lua_setfield(L, -2, "llmpool");
  lua_pushcfunction(L, terminal_module);
  lua_setfield(L, -2, "llmpool.terminal");
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchers"); /* stack: preload package searchers */
  for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search);
  lua_rawseti(L, -2, 2);
  lua_pop(L, 3);
}

void host_open(lua_State *L, const Options *options) {
  if (options->ignore_env) { /* the package library asks for it */
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  luaL_openlibs(L);
  runtime_open(L);
  preload(L);
  make_arg(L, options);
  lua_gc(L, LUA_GCGEN, 0, 0);
}

/* ---- protected calls --------------------------------------------------- */

/* Runs in the place of the error, so that the traceback shows it. An object
** that says something of itself has said it all, for lua; one of ours says
** what went wrong, and not where. */
static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (message == NULL) {
    bool has_said =
        luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING;
    if (has_said && error_kind(L, 1) == NULL) return 1;
    message = has_said ? lua_tostring(L, -1)
                       : lua_pushfstring(L, "(error object is a %s value)",
                                         luaL_typename(L, 1));
  }
  runtime_push_traceback(L, 1, message, 1);
  return 1;
}

int host_call(lua_State *L, int nargs, int nresults) {
  const int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  runtime_catch_sigint(L, true);
  int status = lua_pcall(L, nargs, nresults, base);
  runtime_catch_sigint(L, false);
  lua_remove(L, base);
  return status;
}

int host_report(lua_State *L, int status) {
  if (status != LUA_OK) {
    host_message(lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  return status;
}

/* ---- what a command line can run --------------------------------------- */

static int run_chunk(lua_State *L, int status) {
  if (status == LUA_OK) status = host_call(L, 0, 0);
  return host_report(L, status);
}

int host_run_string(lua_State *L, const char *code, const char *name) {
  return run_chunk(L, luaL_loadbuffer(L, code, strlen(code), name));
}

int host_run_file(lua_State *L, const char *file) {
  return run_chunk(L, luaL_loadfile(L, file));
}

int host_run_library(lua_State *L, char *spec) {
  char *module = strchr(spec, '=');
  if (module)
    *module++ = '\0';
  else
    module = spec;
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = host_call(L, 1, 1);
  if (status == LUA_OK) lua_setglobal(L, spec);
  return host_report(L, status);
}

/* The script's arguments come from `arg`, which code before it may change. */
static int push_args(lua_State *L) {
  if (lua_getglobal(L, "arg") != LUA_TTABLE)
    luaL_error(L, "'arg' is not a table");
  const int n = (int)luaL_len(L, -1);
  luaL_checkstack(L, n + 3, "too many arguments to script");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, -i, i);
  lua_remove(L, -(n + 1));
  return n;
}

/* There is no such script: was its name to be a command's? */
static void suggest_command(lua_State *L, const char *word) {
  const char *meant = command_nearest(word, false);
  if (meant == NULL || access(word, F_OK) == 0) return;
  host_message(lua_pushfstring(L, "did you mean the command '%s'?", meant));
  lua_pop(L, 1);
}

int host_run_script(lua_State *L, const Options *options) {
  char **word = options->argv + options->script;
  const bool is_stdin =
      strcmp(word[0], "-") == 0 && strcmp(word[-1], "--") != 0;
  int status = luaL_loadfile(L, is_stdin ? NULL : word[0]);
  if (status == LUA_OK) return host_report(L, host_call(L, push_args(L), 0));
  host_report(L, status);
  if (status == LUA_ERRFILE && options->command) suggest_command(L, word[0]);
  return status;
}

/* Pushes the module, and a function of it. */
static void push_function(lua_State *L, const char *module, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, name);
}

/* Where the program lies: its path without links; none: nobody knows. */
static void set_executable(lua_State *L) {
  char *path = executable_path();
  set_string(L, "executable", path); /* memory ends here: the process, too */
  free(path);
}

/* (name, {program, version, options, words...}) -> exit status */
static int f_command(lua_State *L) {
  const Options *options = lua_touserdata(L, 1);
  luaopen_llmpool(L);
  push_function(L, "llmpool.commandline", "run");
  lua_pushstring(L, options->lua_command);
  lua_createtable(L, 4, 4);
  set_string(L, "program", progname);
  set_string(L, "version", LLMPOOL_VERSION);
  lua_pushfstring(L, "%s%s", options_of_lua, options_of_ours);
  lua_setfield(L, -2, "options");
  set_executable(L);
  for (int i = options->script + 1; i < options->argc; i++) {
    lua_pushstring(L, options->argv[i]);
    lua_rawseti(L, -2, i - options->script);
  }
  lua_call(L, 2, 1);
  return 1;
}

int host_run_command(lua_State *L, const Options *options) {
  lua_pushcfunction(L, f_command);
  lua_pushlightuserdata(L, (void *)options);
  if (host_report(L, host_call(L, 1, 1)) != LUA_OK) return EXIT_FAILURE;
  int status = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return status;
}

/* (options) -> exit status */
static int f_prompt(lua_State *L) {
  const Options *options = lua_touserdata(L, 1);
  luaopen_llmpool(L);
  push_function(L, "llmpool.prompt", "run");
  lua_createtable(L, 0, 1);
  set_boolean(L, "rc", !options->no_rc && !options->ignore_env);
  lua_call(L, 1, 1);
  return 1;
}

int host_prompt(lua_State *L, const Options *options) {
  const char *name = host_rename(NULL); /* no name in front of errors here */
  lua_pushcfunction(L, f_prompt);
  lua_pushlightuserdata(L, (void *)options);
  int status = host_report(L, host_call(L, 1, 1));
  if (status == LUA_OK) {
    status = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  host_rename(name);
  return status == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int f_finish(lua_State *L) {
  lua_pushboolean(L, runtime_finish(L) == 0);
  return 1;
}

bool host_finish(lua_State *L) {
  lua_pushcfunction(L, f_finish);
  if (host_report(L, host_call(L, 0, 1)) != LUA_OK) return false;
  bool finished = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return finished;
}

/* ---- watching ---------------------------------------------------------- */

static bool is_observed(const Options *options) {
  return options->timeline || options->record;
}

static int f_observe(lua_State *L) {
  const Options *options = lua_touserdata(L, 1);
  push_function(L, "llmpool.observe", "start");
  lua_createtable(L, 0, 2);
  set_string(L, "timeline", options->timeline);
  set_string(L, "record", options->record);
  set_string(L, "program", progname);
  lua_call(L, 1, 0);
  runtime_end_in_order(L);
  lua_pushboolean(L, 1);
  return 1;
}

static int f_observed(lua_State *L) {
  push_function(L, "llmpool.observe", "finish");
  lua_call(L, 0, 1);
  return 1;
}

/* Without a traceback: what it says is for whoever wrote the command line. */
static bool call_plainly(lua_State *L, lua_CFunction function, void *argument) {
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, argument);
  if (host_report(L, lua_pcall(L, 1, 1, 0)) != LUA_OK) return false;
  bool done = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return done;
}

bool host_observe(lua_State *L, const Options *options) {
  if (!is_observed(options)) return true;
  return call_plainly(L, f_observe, (void *)options);
}

bool host_observed(lua_State *L, const Options *options) {
  if (!is_observed(options)) return true;
  return call_plainly(L, f_observed, NULL);
}

static int mm_observed(lua_State *L) {
  host_observed(L, lua_touserdata(L, lua_upvalueindex(1)));
  return 0;
}

void host_close_observed(lua_State *L, const Options *options) {
  if (!is_observed(options)) return;
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushlightuserdata(L, (void *)options);
  lua_pushcclosure(L, mm_observed, 1);
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);
}
