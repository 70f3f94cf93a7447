/*
** freshline.h - a line of the terminal that begins where a line begins.
*/
#ifndef LLMPOOL_FRESHLINE_H
#define LLMPOOL_FRESHLINE_H

#include <lua.h>

/* () -> nothing: flushes of standard output are noticed from now on */
int freshline_watch(lua_State *L);
/* () -> nothing: what comes next begins a line of the terminal */
int freshline_begin(lua_State *L);

#endif
