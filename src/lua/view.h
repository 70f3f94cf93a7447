/*
** view.h - what a policy sees of a pool; shared by view.c and view_model.c.
**
** A view belongs to one router in one Lua state. It shows the numbers of one
** moment: `epoch` counts the decisions, and a model's numbers are copied from
** the core when they are first asked for in an epoch. So what nobody looks at
** costs nothing, and no table is made for a decision.
*/
#ifndef LLMPOOL_VIEW_H
#define LLMPOOL_VIEW_H

#include "binding.h"

#define VIEW_TYPE "llmpool.view"
#define VIEW_MODEL_TYPE "llmpool.view.model"
#define VIEW_CLIENT_TYPE "llmpool.view.client"

typedef struct View {
  Binding *binding;
  LuaPool *pool;   /* its userdata is user value VIEW_POOL */
  uint64_t epoch;  /* of the present decision */
  bool probe;      /* nothing will be sent: policies keep their state */
  bool explaining; /* notes are kept, in user value VIEW_NOTES */
} View;
enum { VIEW_POOL = 1, VIEW_MODELS, VIEW_NOTES };

#define RECENT 64 /* calls that p95 is taken of */

/* What is known of how a client did, from the router's outcomes. */
typedef struct Record {
  double latency; /* peak EWMA, seconds */
  double errors;  /* EWMA of 0 and 1 */
  double p95;
  int64_t at_ns; /* of the last outcome */
  uint64_t count;
  float recent[RECENT];
  bool p95_is_known;
} Record;

/* A client: all its places together. */
typedef struct Seen {
  const char *id;
  int64_t rest_until_ns;
  uint32_t slots, free, lent, resting;
  double weight, input_price, output_price; /* facts */
  llm_place_state state;     /* of its last place that is not free */
  double rpm_left, tpm_left; /* no limit: infinite */
  Record record;
} Seen;

typedef struct ModelView {
  View *view;       /* its userdata is user value 1 */
  llm_model *model; /* a reference; NULL: collected */
  uint64_t epoch;
  uint64_t versions; /* sum of the places' */
  uint64_t facts;    /* the versions that the facts were read at */
  uint32_t open;     /* clients that have a free slot */
  llm_model_peeked total;
  llm_peek *places;
  uint32_t size; /* places that there is room for */
  uint32_t count;
  Seen *clients;
  bool relist; /* the list of clients is to be made anew */
} ModelView;
enum { MODEL_VIEW = 1, MODEL_LIST, MODEL_COLUMNS, MODEL_FACTS, MODEL_IDS };

typedef struct ClientView {
  ModelView *model; /* its userdata is user value 1 */
  uint32_t index;
} ClientView;

/* The userdata at `index`, if its metatable is `type`; else raises. */
static inline void *view_check(lua_State *L, int index, const void *type,
                               const char *name) {
  void *object = lua_touserdata(L, index);
  if (object == NULL || !lua_getmetatable(L, index))
    luaL_typeerror(L, index, name);
  if (lua_topointer(L, -1) != type) luaL_typeerror(L, index, name);
  lua_pop(L, 1);
  return object;
}

/* stack: type keys; type.__index = function, with the table of keys as its
** third upvalue */
static inline void view_set_index(lua_State *L, Binding *b,
                                  lua_CFunction function) {
  push_upvalues(L, b);
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, function, 3);
  lua_setfield(L, -3, "__index");
}

/* view_model.c: pushes the view of a model, that of the view at `index`. */
void push_model_view(lua_State *L, int index, View *view, llm_model *model);
/* The numbers of this epoch. */
void model_view_refresh(lua_State *L, ModelView *model);
/* The position of a client, from 0; -1: none. Model view at `index`. */
int model_view_find(lua_State *L, int index, ModelView *model, int id);
/* How many of its clients have a free slot; pushes the k-th of them. */
lua_Integer model_view_open(lua_State *L, ModelView *model);
void push_open_client(lua_State *L, int index, ModelView *model, lua_Integer k);
void model_views_open(lua_State *L, Binding *binding);

/* record.c */
void record_outcome(Record *record, int64_t now_ns, double seconds,
                    bool failed);
double record_p95(Record *record);

#endif
