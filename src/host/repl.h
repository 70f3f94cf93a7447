/*
** repl.h - the prompt: read a line, run it, print what it returns.
*/
#ifndef LLMPOOL_REPL_H
#define LLMPOOL_REPL_H

#include <stdbool.h>

#include <lua.h>

/* The program's name and version, unless it plays lua, then Lua's. */
void repl_banner(bool is_lua);
/* Runs until the end of the input. Leaves the stack as it was. May raise. */
void repl_run(lua_State *L);

#endif
