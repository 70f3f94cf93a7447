/*
** view.h - what a policy sees of a pool; shared by view.c, view_model.c,
** view_fields.c and view_choice.c.
**
** A view belongs to one router in one Lua state. It shows the numbers of one
** moment: `epoch` counts the decisions, and a model's numbers are copied from
** the core when they are first asked for in an epoch. So what nobody looks at
** costs nothing, and no table is made for a decision. It keeps no books of its
** own: latencies and errors are the core's, for every call of a client, also
** for those that no router has made.
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
  bool streams;    /* the answer is wanted piece by piece */
  bool probe;      /* nothing will be sent: policies keep their state */
  bool explaining; /* notes are kept, in user value VIEW_NOTES */
} View;
enum { VIEW_POOL = 1, VIEW_MODELS, VIEW_NOTES };

/* What a client was registered with. */
typedef struct Facts {
  double weight, input_price, output_price;
} Facts;

/* The arrays have room for `size` clients; the first `count` count. */
typedef struct ModelView {
  View *view;         /* its userdata is user value 1 */
  llm_model *model;   /* a reference; NULL: none, or collected */
  uint64_t epoch;     /* that `total` and `clients` are of */
  uint64_t p95_epoch; /* that `p95` is of */
  uint64_t versions; /* total.versions + 1 when the facts were read; 0: never */
  llm_model_peeked total;
  llm_peek *clients;
  llm_peek_p95 *p95;
  Facts *facts;
  double *column;   /* one field of all clients */
  const char **ids; /* of the clients in the list, in its order */
  uint32_t size, count;
  bool relist; /* the list of clients is to be made anew */
} ModelView;
enum { MODEL_VIEW = 1, MODEL_LIST, MODEL_COLUMNS, MODEL_FACTS, MODEL_IDS };

typedef struct ClientView {
  ModelView *model; /* its userdata is user value 1 */
  const char *id;
  uint32_t index; /* where it was in the list */
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

/* stack: ... methods; one that has the table at `keys` as its third upvalue */
static inline void view_add_method(lua_State *L, Binding *b, int keys,
                                   const char *name, lua_CFunction function) {
  push_upvalues(L, b);
  lua_pushvalue(L, keys);
  lua_pushcclosure(L, function, 3);
  lua_setfield(L, -2, name);
}

/* view.c: pushes the view of the model named at `name`, of the view at `index`;
** raises unknown_model. */
ModelView *push_view_of(lua_State *L, int index, View *view, int name);

/* view_model.c: pushes the view of a model that is still to be set: so its
** reference has an owner as soon as it is taken. */
ModelView *push_model_view(lua_State *L, int index, View *view);
/* Below, the model's view is at `index`. The numbers of this epoch. */
void model_view_refresh(lua_State *L, ModelView *model);
void model_view_need_p95(lua_State *L, ModelView *model);
void model_view_need_facts(lua_State *L, int index, ModelView *model);
/* Pushes one of MODEL_*, as it is in this epoch. */
void push_model_part(lua_State *L, int index, ModelView *model, int part);
/* Frees what the view holds. */
void model_view_free(ModelView *model);

/* view_fields.c: the types of models and clients; pushes a client's keys. */
void view_fields_open(lua_State *L, Binding *binding);
ModelView *check_model_view(lua_State *L, int index);
/* The field named at index `name`, by the table of keys that is the function's
** third upvalue; raises if it is none that is a number. */
int check_number_field(lua_State *L, int name);
/* The field of one client, and of all; the array is used again. */
double view_number(lua_State *L, int index, ModelView *model, uint32_t at,
                   int field);
const double *view_column(lua_State *L, int index, ModelView *model, int field);

/* view_choice.c: adds the methods that choose to those of views, or of models,
** on the top; the table of a client's keys is at `keys`. */
void view_choices_open(lua_State *L, Binding *binding, int keys);
void model_choices_open(lua_State *L, Binding *binding, int keys);

#endif
