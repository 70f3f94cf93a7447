/*
** terminal.h - the terminal that the prompt in Lua talks to.
*/
#ifndef LLMPOOL_TERMINAL_H
#define LLMPOOL_TERMINAL_H

#include <stdbool.h>

#include <lua.h>

/* Whether somebody sits there: input and output are a terminal. */
bool terminal_is_there(void);
/* Opens the module llmpool.terminal. */
int terminal_module(lua_State *L);

#endif
