/*
** cmodule.h - the C modules of llmpool's that are loaded on first use.
*/
#ifndef LLMPOOL_CMODULE_H
#define LLMPOOL_CMODULE_H

#include <lua.h>

/* Adds their loaders to package.preload, and llmpool.json, which is in here. */
void cmodules_preload(lua_State *L);
int luaopen_llmpool_http(lua_State *L);

#endif
