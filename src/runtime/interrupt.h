/*
** interrupt.h - SIGINT, delivered where Lua runs or waits.
*/
#ifndef LLMPOOL_INTERRUPT_H
#define LLMPOOL_INTERRUPT_H

#include "worker.h"

/* SIGINT has come and its error has not yet reached the main chunk. */
bool interrupt_is_pending(const Worker *worker);
/* Raises "interrupted!" if so; outside of tasks that settles it. */
void interrupt_check(lua_State *L, Worker *worker);

#endif
