/*
** host.h - a Lua state with llmpool in it, and running chunks in it.
**
** The one way to run code: a protected call with a traceback and Ctrl-C, and
** an error printed as lua(1) prints it. Everything runs on the main thread,
** which is no task; where it has to wait, it drives the tasks.
*/
#ifndef LLMPOOL_HOST_H
#define LLMPOOL_HOST_H

#include <stdbool.h>

#include <lua.h>

#include "options.h"

#ifndef LLMPOOL_VERSION /* the build sets it, from the project's one place */
#define LLMPOOL_VERSION "(development)"
#endif

/* The name in front of messages; NULL: none, as at the prompt. Returns the
** one before. */
const char *host_rename(const char *name);
/* "name: text" on standard error. */
void host_message(const char *text);

/* Writes what is still to be written to standard output; false: not all of it
** could be, which has been said. */
bool host_has_written(void);

/* Opens the libraries and the runtime, and makes the table `arg`. May raise. */
void host_open(lua_State *L, const Options *options);

/* A protected call of what is on the stack, as lua_pcall; the error of a
** failed one is its message, with the traceback. */
int host_call(lua_State *L, int nargs, int nresults);
/* Prints and pops the error if `status` is one; returns status. */
int host_report(lua_State *L, int status);

/* Each runs something, prints its error, and returns the status. */
int host_run_string(lua_State *L, const char *code, const char *name);
int host_run_file(lua_State *L, const char *file); /* NULL: stdin */
/* "mod" or "global=mod", as after -l; writes into `spec`. */
int host_run_library(lua_State *L, char *spec);
/* The script of the command line with what `arg` holds by then. May raise. */
int host_run_script(lua_State *L, const Options *options);
/* Runs options->lua_command in the place of a script; returns the exit status
** of the program. May raise. */
int host_run_command(lua_State *L, const Options *options);
/* Runs the prompt for a terminal, which is Lua; returns the exit status. */
int host_prompt(lua_State *L, const Options *options);
/* Waits for all tasks; false: one has failed, or was interrupted. */
bool host_finish(lua_State *L);

/* --timeline, --record: begins to watch every pool, and ends it. False: it has
** been said why not. */
bool host_observe(lua_State *L, const Options *options);
bool host_observed(lua_State *L, const Options *options);
/* Pushes a slot whose closing ends it, if there is something to be ended. */
void host_close_observed(lua_State *L, const Options *options);

#endif
