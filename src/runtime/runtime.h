/*
** runtime.h - the runtime of one Lua state, as a host program sees it.
**
** The runtime schedules tasks (coroutines) on a worker, one worker a Lua
** state. A drop-in `lua` needs only these few functions of it; everything
** else is private to src/runtime and src/lua.
*/
#ifndef LLMPOOL_RUNTIME_H
#define LLMPOOL_RUNTIME_H

#include <stdbool.h>

#include <lua.h>

/*
** Makes the worker of this state and patches the standard coroutine table and
** os.exit in place, so that parked tasks are respected. Call it after
** luaL_openlibs and before any user code. Idempotent. Raises on no memory.
*/
void runtime_open(lua_State *L);

/*
** Pushes a value for a to-be-closed slot (lua_toclose) of the main thread's
** outermost C frame: closing it - by leaving the frame, or by lua_close from
** os.exit(code, true) - ends everything in order: tasks are cancelled and run
** to their end, leases returned, close handlers run. [-0, +1, m]
*/
void runtime_push_closer(lua_State *L);

/*
** Runs the loop until every task of the root scope has ended, as at the end of
** a script. Returns how many root tasks have failed so far (each was reported
** when it failed). Raises "interrupted!" on SIGINT. Main thread only.
*/
int runtime_finish(lua_State *L);

/*
** SIGINT from now on: interrupts running Lua code ("interrupted!", also inside
** nested coroutines), ends a wait of the main chunk with that error; a second
** one before the first was delivered kills the process. `on` false: the
** default action again. Main thread only.
*/
void runtime_catch_sigint(lua_State *L, bool on);

/*
** While SIGINT is caught: a second and a third one before the first was
** delivered are raised too, again and again until the main chunk has them; only
** the fourth kills. To be called again once one was delivered; ends with
** runtime_catch_sigint.
*/
void runtime_be_patient(void);

/*
** SIGTERM and SIGHUP, where they are not ignored, end the program in order from
** now on, as the closer does, and the process dies of them then; a second one
** kills. Without a closer it does nothing. Done by itself when the main chunk
** waits. Main thread only.
*/
void runtime_end_in_order(lua_State *L);

/*
** For message handlers: pushes the traceback that belongs to the error value
** at `err` if the runtime kept one (a callback's, a task's), else makes one
** from `level` up, as luaL_traceback does; `message` may be NULL. [-0, +1, m]
*/
void runtime_push_traceback(lua_State *L, int err, const char *message,
                            int level);

#endif
