/*
** failure.h - why a transfer failed, as an error object.
*/
#ifndef LLMPOOL_HTTP_FAILURE_H
#define LLMPOOL_HTTP_FAILURE_H

#include "transfer.h"

/* Pushes the error object of a transfer that is done and failed. It names the
** method, the server and the path, and nothing that may be a secret. */
void push_transfer_failure(lua_State *L, const Transfer *transfer);
/* Raises kind memory: "what: not enough memory". */
int no_memory(lua_State *L, const llmpool_api *api, const char *what);

#endif
