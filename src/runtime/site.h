/*
** site.h - where in the user's code something was asked for.
*/
#ifndef LLMPOOL_SITE_H
#define LLMPOOL_SITE_H

#include "worker.h"

/* The "file:line" of the nearest Lua function from `level` up that is not our
** own Lua half; NULL: there is none. Lives as long as the state. Needs 4 free
** slots of the stack. [-0, +0, m] */
const char *site_of(lua_State *L, Worker *worker, int level);

#endif
