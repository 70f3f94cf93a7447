/*
** main.c - the program: argv to exit code.
**
** The order of the steps is lua(1)'s: check the whole line, -v, -E, libraries,
** LUA_INIT, then -e, -l and -W in their order, the script, the prompt. They
** run in one protected C function on the main thread. Behind the script comes
** what lua does not have: tasks, which the program waits for.
*/
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h> /* LUA_VERSUFFIX */

#include "../runtime/runtime.h"
#include "../runtime/state.h"
#include "commands.h"
#include "host.h"
#include "options.h"
#include "repl.h"
#include "terminal.h"

/* Lua's line is the last: scripts look for it. */
static void print_version(const Options *options) {
  if (options->tells_version) puts("llmpool " LLMPOOL_VERSION);
  puts(LUA_COPYRIGHT);
  fflush(stdout);
}

static int run_init(lua_State *L) {
  const char *name = "=LUA_INIT" LUA_VERSUFFIX;
  const char *init = getenv(name + 1);
  if (init == NULL) {
    name = "=LUA_INIT";
    init = getenv(name + 1);
  }
  if (init == NULL) return LUA_OK;
  if (init[0] == '@') return host_run_file(L, init + 1);
  return host_run_string(L, init, name);
}

/* -e, -l and -W; the others have been seen to. */
static int run_options(lua_State *L, const Options *options) {
  for (int i = 1; i < options->end; i++) {
    if (options_file_follows(options->argv[i])) {
      i++; /* that word is a name, whatever letters it has */
      continue;
    }
    const char letter = options->argv[i][1];
    if (letter == 'W') lua_warning(L, "@on", 0);
    if (letter != 'e' && letter != 'l') continue;
    char *text = options->argv[i] + 2;
    if (*text == '\0') text = options->argv[++i];
    int status = letter == 'e' ? host_run_string(L, text, "=(command line)")
                               : host_run_library(L, text);
    if (status != LUA_OK) return status;
  }
  return LUA_OK;
}

static bool wants_prompt(const Options *options) {
  if (options->interactive) return true;
  return options->script == options->argc && !options->has_code &&
         !options->show_version && isatty(STDIN_FILENO);
}

static int status_of(bool done) { return done ? EXIT_SUCCESS : EXIT_FAILURE; }

/* A command's own status counts more than that of tasks it left behind. A
** report that could not be written is a failure; a script's print is not. */
static int run_command(lua_State *L, const Options *options) {
  int status = host_run_command(L, options);
  if (!host_has_written()) return EXIT_FAILURE;
  return status != EXIT_SUCCESS ? status : status_of(host_finish(L));
}

/* What the line names to be run, in order; returns the exit status. */
static int run_all(lua_State *L, const Options *options) {
  if (!options->ignore_env && run_init(L) != LUA_OK) return EXIT_FAILURE;
  if (run_options(L, options) != LUA_OK) return EXIT_FAILURE;
  if (options->lua_command) return run_command(L, options);
  const bool has_script = options->script < options->argc;
  if (has_script && host_run_script(L, options) != LUA_OK) return EXIT_FAILURE;
  if (wants_prompt(options)) {
    if (!options->show_version) repl_banner(options->is_lua);
    /* whoever calls it lua, or talks to it through a pipe, expects lua's */
    if (!options->is_lua && terminal_is_there()) return host_prompt(L, options);
    repl_run(L);
    return EXIT_SUCCESS;
  }
  /* a program on standard input without "-": lua forgets its error */
  if (!has_script && !options->has_code && !options->show_version)
    host_run_file(L, NULL);
  return status_of(host_finish(L));
}

static int pmain(lua_State *L) {
  const Options *options = lua_touserdata(L, 1);
  luaL_checkversion(L);
  if (options->show_version) print_version(options);
  host_open(L, options);
  host_close_observed(L, options); /* when all tasks have ended */
  runtime_push_closer(L);
  lua_toclose(L, -1);
  int status = host_observe(L, options) ? run_all(L, options) : EXIT_FAILURE;
  if (!host_observed(L, options)) status = EXIT_FAILURE;
  lua_pushinteger(L, status);
  return 1;
}

static int run(const Options *options) {
  lua_State *L = state_new();
  if (L == NULL) {
    host_message("cannot create state: not enough memory");
    return EXIT_FAILURE;
  }
  lua_pushcfunction(L, pmain);
  lua_pushlightuserdata(L, (void *)options);
  int status = lua_pcall(L, 1, 1, 0);
  int result = status == LUA_OK ? (int)lua_tointeger(L, -1) : EXIT_FAILURE;
  host_report(L, status);
  state_close(L);
  return result;
}

/* Whoever closed a standard file means that nothing can be read or written.
** Its number must not go to a file of ours, though: libuv does not close such,
** and a print would go there. */
static void occupy_standard_files(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0)
      open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv) {
  Options options;
  const char *program = argv[0] && argv[0][0] ? argv[0] : "llmpool";
  occupy_standard_files();
  host_rename(program);
  if (!options_read(&options, argc, argv)) {
    options_complain(&options, program);
    return EXIT_FAILURE;
  }
  switch (command_begin(&options, program)) {
  case COMMAND_DONE: return status_of(host_has_written());
  case COMMAND_FAILED: return EXIT_FAILURE;
  case COMMAND_LUA:
  case COMMAND_SCRIPT: break;
  }
  return run(&options);
}
