/*
** statefile.h - files that are nobody else's business, and lists of files.
*/
#ifndef LLMPOOL_STATEFILE_H
#define LLMPOOL_STATEFILE_H

#include <lua.h>

/* Lua: (path, text) -> true, or nil and why not. Adds to a file that only its
** owner can read, and makes the directories to it. */
int statefile_append(lua_State *L);
/* Lua: (directory) -> the list of what lies in it, directories with a / behind
** their names. */
int statefile_list(lua_State *L);

#endif
