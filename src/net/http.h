/*
** http.h - what the files of llmpool.http share: requests and responses as Lua
** has them.
*/
#ifndef LLMPOOL_HTTP_H
#define LLMPOOL_HTTP_H

#include "failure.h"
#include "sse.h"
#include "transfer.h"

#define RESPONSE_TYPE "llmpool.http.response"
#define HEADERS_TYPE "llmpool.http.headers"

/* Every function has these upvalues: the Multi's box, the options' numbers by
** name, the response's fields and methods by name; a response's metamethods
** have their metatable too. */
enum { UP_MULTI = 1, UP_OPTIONS, UP_FIELDS, UP_META, UP_COUNT = UP_FIELDS };

/* The box: a userdata that frees the Multi. It is made on the first request. */
typedef struct Box {
  const llmpool_api *api;
  struct Worker *worker;
  Multi *multi;
  bool closed; /* the state ends */
} Box;

/* Whom a response's to-be-closed slot serves: it is closed when a function of
** ours returns, which is not the end of the response. */
typedef enum Guard {
  GUARD_NONE,    /* no slot, or the user's own */
  GUARD_WAITING, /* ours; the function has not come to its end */
  GUARD_DONE     /* ours; the function returns */
} Guard;

typedef struct Timings {
  double queued, connected, first, total; /* seconds; -1: not known yet */
} Timings;

typedef struct Response {
  Transfer *transfer; /* NULL: it is over */
  const llmpool_api *api;
  struct Worker *worker;
  struct Task *reader; /* who waits */
  lua_State *guarded;  /* the coroutine that has our slot */
  Sse *sse;            /* once events were asked for */
  Timings timings;
  int64_t started;
  int status;
  short version; /* 10, 11, 20, 30 */
  Guard guard;
  bool stream, drain;
  bool closed; /* by the user, before its end */
  bool failed; /* VALUE_ERROR says how */
} Response;

/* Its user values. */
enum {
  VALUE_HEADERS = 1, /* as they came; a table once somebody looked */
  VALUE_BODY,        /* the request's while it runs, then the response's */
  VALUE_ERROR,
  VALUE_COUNT = VALUE_ERROR
};

/* request.c */
/* Pushes the table for the upvalue UP_OPTIONS. */
void push_option_numbers(lua_State *L);
/* Sets the request of the options table at `index` on the transfer that the
** response gets. Raises "bad argument" before anything is started. */
void check_request(lua_State *L, int index, Box *box, Response *response,
                   int response_index);

/* ({name = value}) -> headers that are checked once, for many requests */
int f_headers(lua_State *L);
/* The type of those. */
void open_headers(lua_State *L);

/* response.c */
Response *push_response(lua_State *L, Box *box);
/* Pushes the metatable's tables: fields and methods by name. */
void push_fields(lua_State *L);
void set_response_metatable(lua_State *L);
/* The response waits in a slot of its own for its task. */
void response_guard(lua_State *L, Response *response, int index,
                    struct Task *task);
/* Closes or drains what is under way, as it was asked to. */
void response_leave(Response *response, bool cancelled);
/* Its transfer has headers: status, version, headers are the response's. */
void response_take_head(lua_State *L, Response *response, int index);
/* Its transfer is done: gives it back, or raises why it failed. */
void response_finish(lua_State *L, Response *response, int index);

int m_read(lua_State *L);
int m_events(lua_State *L);
int m_close(lua_State *L);

int luaopen_llmpool_http(lua_State *L);

#endif
