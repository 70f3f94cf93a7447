/*
** interrupt.h - signals, delivered where Lua runs or waits.
*/
#ifndef LLMPOOL_INTERRUPT_H
#define LLMPOOL_INTERRUPT_H

#include "worker.h"

/* SIGINT has come and its error has not yet reached the main chunk; or SIGTERM
** or SIGHUP, and the end has not begun. */
bool interrupt_is_pending(const Worker *worker);
/* Raises "interrupted!" if so; outside of tasks that settles it. Or ends the
** program. */
void interrupt_check(lua_State *L, Worker *worker);
/* The worker is gone. */
void interrupt_forget(const Worker *worker);

#endif
