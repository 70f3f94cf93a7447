/*
** view_model.c - a model's part of a view: the copy of its numbers, the list of
** its clients, and what they were registered with.
**
** One idea: the copy is made once an epoch, in arrays that are used again; the
** list, which is Lua's, only when clients came or went; their facts only when
** one was added, replaced or made anew. What fields there are is
** view_fields.c's business.
*/
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/scheduler.h"

/* ---- the copy ---------------------------------------------------------- */

static bool enlarge(void *array, size_t size) {
  void **block = array;
  void *larger = realloc(*block, size);
  if (larger != NULL) *block = larger;
  return larger != NULL;
}

/* Room for n clients in all the arrays. */
static bool reserve(ModelView *model, size_t n) {
  if (!enlarge(&model->clients, n * sizeof *model->clients) ||
      !enlarge(&model->p95, n * sizeof *model->p95) ||
      !enlarge(&model->facts, n * sizeof *model->facts) ||
      !enlarge(&model->column, n * sizeof *model->column) ||
      !enlarge(&model->ids, n * sizeof *model->ids))
    return false;
  model->size = (uint32_t)n;
  return true;
}

/* Ids are interned: one text, one address. */
static void follow(ModelView *model, uint32_t n) {
  bool is_same = n == model->count;
  for (uint32_t i = 0; is_same && i < n; i++)
    is_same = model->ids[i] == model->clients[i].id;
  if (is_same) return;
  for (uint32_t i = 0; i < n; i++) model->ids[i] = model->clients[i].id;
  model->count = n;
  model->relist = true;
}

void model_view_refresh(lua_State *L, ModelView *model) {
  uint64_t epoch = model->view->epoch;
  uint32_t n;
  if (model->epoch == epoch) return;
  while ((n = llm_model_peek(model->model, &model->total, model->clients,
                             model->size)) > model->size)
    if (!reserve(model, n)) luaL_error(L, "not enough memory");
  follow(model, n);
  model->epoch = epoch;
}

/* Of clients that have come or gone since, nothing is known in this epoch. */
void model_view_need_p95(lua_State *L, ModelView *model) {
  model_view_refresh(L, model);
  if (model->p95_epoch == model->epoch) return;
  uint32_t n = llm_model_peek_p95(model->model, model->p95, model->count);
  for (uint32_t i = 0; i < model->count; i++)
    if (i >= n || model->p95[i].id != model->ids[i])
      model->p95[i] = (llm_peek_p95){0};
  model->p95_epoch = model->epoch;
}

void model_view_free(ModelView *model) {
  free(model->clients);
  free(model->p95);
  free(model->facts);
  free(model->column);
  free(model->ids);
  if (model->model) llm_model_unref(model->model);
  *model = (ModelView){.view = model->view};
}

/* ---- the list ---------------------------------------------------------- */

/* Makes the list of clients and the table id -> position. */
static void relist(lua_State *L, int index, ModelView *model) {
  lua_createtable(L, (int)model->count, 0);
  lua_createtable(L, 0, (int)model->count);
  for (uint32_t i = 0; i < model->count; i++) {
    ClientView *client = lua_newuserdatauv(L, sizeof *client, 1);
    *client = (ClientView){model, model->ids[i], i};
    luaL_setmetatable(L, VIEW_CLIENT_TYPE);
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
    lua_rawseti(L, -3, (lua_Integer)i + 1);
    lua_pushinteger(L, (lua_Integer)i);
    lua_setfield(L, -2, model->ids[i]);
  }
  lua_setiuservalue(L, index, MODEL_IDS);
  lua_setiuservalue(L, index, MODEL_LIST);
  lua_newtable(L);
  lua_setiuservalue(L, index, MODEL_COLUMNS);
  model->versions = 0;
  model->relist = false;
}

void push_model_part(lua_State *L, int index, ModelView *model, int part) {
  model_view_refresh(L, model);
  if (model->relist) relist(L, index, model);
  lua_getiuservalue(L, index, part);
}

/* ---- facts ------------------------------------------------------------- */

static double number_in(lua_State *L, const char *name, double missing) {
  double value =
      lua_getfield(L, -1, name) == LUA_TNUMBER ? lua_tonumber(L, -1) : missing;
  lua_pop(L, 1);
  return value;
}

static bool is_of(lua_State *L, const char *id) {
  if (!lua_istable(L, -1)) return false;
  lua_getfield(L, -1, "id");
  const char *own = lua_tostring(L, -1);
  bool is_same = own != NULL && strcmp(own, id) == 0;
  lua_pop(L, 1);
  return is_same;
}

/* stack: ... fields of one client */
static void read_facts(lua_State *L, Facts *facts) {
  *facts = (Facts){.weight = number_in(L, "weight", 1)};
  if (lua_getfield(L, -1, "price") == LUA_TTABLE) {
    facts->input_price = number_in(L, "input", 0);
    facts->output_price = number_in(L, "output", 0);
  }
  lua_pop(L, 1);
}

/* What pool:clients(model) tells: price, weight, tags and provider of each. If
** they have changed meanwhile they are asked for again in the next epoch. */
void model_view_need_facts(lua_State *L, int index, ModelView *model) {
  model_view_refresh(L, model);
  if (model->relist) relist(L, index, model);
  if (model->versions == model->total.versions + 1) return;
  lua_getiuservalue(L, index, MODEL_VIEW);
  lua_getiuservalue(L, -1, VIEW_POOL);
  lua_getfield(L, -1, "clients");
  lua_insert(L, -2);
  lua_pushstring(L, llm_model_name(model->model));
  lua_call(L, 2, 1);
  model->versions = model->total.versions + 1;
  for (uint32_t i = 0; i < model->count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    if (is_of(L, model->ids[i])) {
      read_facts(L, &model->facts[i]);
    } else {
      model->facts[i] = (Facts){.weight = 1};
      model->versions = 0;
    }
    lua_pop(L, 1);
  }
  lua_setiuservalue(L, index, MODEL_FACTS);
  lua_pop(L, 1);
}

/* ---- making ------------------------------------------------------------ */

ModelView *push_model_view(lua_State *L, int index, View *view) {
  index = lua_absindex(L, index);
  ModelView *made = lua_newuserdatauv(L, sizeof *made, MODEL_IDS);
  *made = (ModelView){.view = view, .relist = true};
  luaL_setmetatable(L, VIEW_MODEL_TYPE);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, MODEL_VIEW);
  return made;
}
