/*
** secret.h - a text that is used but never shown: an API key.
*/
#ifndef LLMPOOL_SECRET_H
#define LLMPOOL_SECRET_H

#include <stdbool.h>

#include "../runtime/value.h"
#include "binding.h"

/* Adds llmpool.secret to the table on top of the stack. */
void secrets_open(lua_State *L, Binding *binding);
/* For a ValueHook: secrets go to other states by reference. */
bool send_secret(lua_State *L, int index, ValueRef *ref);

#endif
