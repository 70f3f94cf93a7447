/*
** view_fields.c - what can be read of a model and of its clients in a view.
**
** One idea: fields are read by number. A key leads, through one table, to the
** number of a field, and one table of expressions says what each number of a
** client is; column(name) works it out for all clients in one loop, into a list
** that is used again: that is how a policy looks at 64 clients in a
** microsecond.
*/
#include "view.h"

#include <string.h>

#include "../runtime/fields.h"
#include "../runtime/scheduler.h"

/* A client's numbers: c are its copied numbers, p its percentiles, f its facts.
** Counts come first, then what needs nothing, percentiles, facts. What is not
** known is 0. */
/* clang-format off */
#define NUMBERS(XX)                                                         \
  XX(FREE, "free", c->free) XX(LENT, "lent", c->lent)                       \
  XX(SLOTS, "slots", c->slots) XX(RESTING, "resting", c->resting)           \
  XX(CALLS, "calls", (double)c->outcomes)                                   \
  XX(REST_UNTIL, "rest_until",                                              \
     c->rest_until_ns == LLM_FOREVER ? 0 : to_seconds(c->rest_until_ns))       \
  XX(LATENCY, "latency", to_seconds(c->latency_ns))                            \
  XX(FIRST, "first_token", to_seconds(c->first_ns))                            \
  XX(ERROR_RATE, "error_rate", c->error_rate)                               \
  XX(BUSY, "busy", (double)c->lent / (double)c->slots)                      \
  XX(LOAD, "load", faded(c, model) * (c->lent + 1))                         \
  XX(RPM_LEFT, "rpm_left", c->rpm_left)                                     \
  XX(TPM_LEFT, "tpm_left", c->tpm_left)                                     \
  XX(P95, "p95", to_seconds(p->latency_ns))                                    \
  XX(FIRST_P95, "first_token_p95", to_seconds(p->first_ns))                    \
  XX(WEIGHT, "weight", f->weight)                                           \
  XX(INPUT_PRICE, "input_price", f->input_price)                            \
  XX(OUTPUT_PRICE, "output_price", f->output_price)                         \
  XX(COST, "cost", (f->input_price + f->output_price) / 2)
#define OTHERS(XX)                                                          \
  XX(ID, "id", ) XX(MODEL, "model", ) XX(STATE, "state", )                  \
  XX(PRICE, "price", ) XX(TAGS, "tags", ) XX(PROVIDER, "provider", )
#define MODEL_FIELDS(XX)                                                    \
  XX(FREE, "free", ) XX(LENT, "lent", ) XX(WAITING, "waiting", )            \
  XX(RESTING, "resting", ) XX(LIMIT, "limit", ) XX(SIZE, "size", )          \
  XX(SLOTS, "slots", ) XX(PAUSED, "paused", ) XX(NAME, "name", )            \
  XX(OPEN, "open", ) XX(CLIENTS, "clients", )
/* clang-format on */

#define XX(id, name, value) CLIENT_##id,
enum { CLIENT_NONE, NUMBERS(XX) OTHERS(XX) CLIENT_COUNT };
#undef XX
#define XX(id, name, value) MODEL_##id##_FIELD,
enum { MODEL_NONE, MODEL_FIELDS(XX) MODEL_COUNT };
#undef XX

static bool is_number(int field) {
  return field > CLIENT_NONE && field < CLIENT_ID;
}
static bool is_count(int field) { return field <= CLIENT_CALLS; }

/* ---- a client's numbers ------------------------------------------------ */

static void need(lua_State *L, int index, ModelView *model, int field) {
  if (field >= CLIENT_WEIGHT)
    model_view_need_facts(L, index, model);
  else if (field >= CLIENT_P95)
    model_view_need_p95(L, model);
  else
    model_view_refresh(L, model);
}

/* Its latency in seconds, the less the longer it was not asked. */
static double faded(const llm_peek *c, const ModelView *model) {
  return llm_faded_ns(c->latency_ns, c->latency_at_ns, model->total.now_ns) /
         1e9;
}

/* The field of n clients from the one at position `at` on. */
static void read_numbers(const ModelView *model, int field, uint32_t at,
                         uint32_t n, double *out) {
  if (n == 0) return; /* then there may be no arrays */
  const llm_peek *c = model->clients + at;
  const llm_peek_p95 *p = model->p95 + at;
  const Facts *f = model->facts + at;
  const double *end = out + n;
  switch (field) {
#define XX(id, name, value)                            \
  case CLIENT_##id:                                    \
    for (; out < end; c++, p++, f++) *out++ = (value); \
    break;
    NUMBERS(XX)
#undef XX
  default: break;
  }
}

const double *view_column(lua_State *L, int index, ModelView *model,
                          int field) {
  need(L, index, model, field);
  read_numbers(model, field, 0, model->count, model->column);
  return model->column;
}

double view_number(lua_State *L, int index, ModelView *model, uint32_t at,
                   int field) {
  double value = 0;
  need(L, index, model, field);
  read_numbers(model, field, at, 1, &value);
  return value;
}

static void push_number(lua_State *L, int field, double value) {
  if (is_count(field))
    lua_pushinteger(L, (lua_Integer)value);
  else
    lua_pushnumber(L, value);
}

int check_number_field(lua_State *L, int name) {
  lua_pushvalue(L, name);
  int type = lua_rawget(L, lua_upvalueindex(3));
  int field = type == LUA_TNUMBER ? (int)lua_tointeger(L, -1) : CLIENT_NONE;
  luaL_argcheck(L, is_number(field), name,
                "a client's field that is a number expected");
  lua_pop(L, 1);
  return field;
}

/* Where the lists of a model's columns lie: by field, and again of the free, and
** the free clients' positions. */
#define FREE_LIST(field) (CLIENT_COUNT + (field))
#define POSITIONS FREE_LIST(CLIENT_NONE)

/* Pushes the list of that number, which has room for all clients. */
static void push_list(lua_State *L, ModelView *model, int number) {
  push_model_part(L, 1, model, MODEL_COLUMNS);
  if (lua_rawgeti(L, -1, number) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, (int)model->count, 0);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, number);
  }
  lua_remove(L, -2);
}

/* The list on the top ends after n entries. */
static void cut_list(lua_State *L, lua_Integer n) {
  for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i > n; i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
}

/* stack: model field list positions; returns how many are free. */
static lua_Integer fill_free(lua_State *L, const ModelView *model, int field,
                             const double *column) {
  lua_Integer n = 0;
  for (uint32_t i = 0; i < model->count; i++) {
    if (model->clients[i].free == 0) continue;
    n++;
    push_number(L, field, column[i]);
    lua_rawseti(L, 3, n);
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_rawseti(L, 4, n);
  }
  return n;
}

/* (model, field, "free") -> the numbers of those alone that have a free slot,
** and their positions */
static int free_column(lua_State *L, ModelView *model, int field) {
  luaL_argcheck(L, strcmp(luaL_checkstring(L, 3), "free") == 0, 3,
                "\"free\" or nothing expected");
  lua_settop(L, 2);
  const double *column = view_column(L, 1, model, field);
  push_list(L, model, FREE_LIST(field));
  push_list(L, model, POSITIONS);
  lua_Integer n = fill_free(L, model, field, column);
  cut_list(L, n);
  lua_pushvalue(L, 3);
  cut_list(L, n);
  lua_pop(L, 1);
  return 2;
}

/* (model, field) -> the numbers of all clients, in a list that is used again
** in the next decision */
static int m_column(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  int field = check_number_field(L, 2);
  if (!lua_isnoneornil(L, 3)) return free_column(L, model, field);
  lua_settop(L, 2);
  const double *column = view_column(L, 1, model, field);
  push_list(L, model, field);
  bool whole = is_count(field);
  uint32_t n = model->count;
  for (uint32_t i = 0; i < n; i++) {
    if (whole)
      lua_pushinteger(L, (lua_Integer)column[i]);
    else
      lua_pushnumber(L, column[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* ---- a client ---------------------------------------------------------- */

/* Where the client is now; -1: it has left its model. */
static int find(const ClientView *client) {
  const ModelView *model = client->model;
  if (client->index < model->count && model->ids[client->index] == client->id)
    return (int)client->index;
  for (uint32_t i = 0; i < model->count; i++)
    if (model->ids[i] == client->id) return (int)i;
  return -1;
}

/* stack: client key model */
static int push_fact(lua_State *L, ModelView *model, int at) {
  model_view_need_facts(L, 3, model);
  lua_getiuservalue(L, 3, MODEL_FACTS);
  if (lua_rawgeti(L, -1, (lua_Integer)at + 1) != LUA_TTABLE) return 0;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

static const char *state_name(const llm_peek *client) {
  if (client->free > 0) return "free";
  return llm_place_state_name(client->state);
}

static int push_field(lua_State *L, ModelView *model, int at, int field) {
  if (is_number(field)) {
    push_number(L, field, view_number(L, 3, model, (uint32_t)at, field));
    return 1;
  }
  switch (field) {
  case CLIENT_NONE: return 0;
  case CLIENT_ID: lua_pushstring(L, model->ids[at]); return 1;
  case CLIENT_MODEL: lua_pushstring(L, llm_model_name(model->model)); return 1;
  case CLIENT_STATE:
    lua_pushstring(L, state_name(&model->clients[at]));
    return 1;
  default: return push_fact(L, model, at);
  }
}

/* upvalue 3: key -> the field's number */
static int client_index(lua_State *L) {
  const ClientView *client =
      view_check(L, 1, binding_of(L)->view_types[2], "client of a view");
  ModelView *model = client->model;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(3));
  int field = (int)lua_tointeger(L, -1);
  model_view_refresh(L, model);
  int at = find(client);
  if (at < 0)
    return luaL_error(L, "the client \"%s\" has left its model", client->id);
  return push_field(L, model, at, field);
}

static int client_tostring(lua_State *L) {
  const ClientView *client =
      view_check(L, 1, binding_of(L)->view_types[2], "client of a view");
  const ModelView *model = client->model;
  model_view_refresh(L, client->model);
  int at = find(client);
  lua_pushfstring(L, "client of a view (%s/%s, %s)",
                  llm_model_name(model->model), client->id,
                  at < 0 ? "left" : state_name(&model->clients[at]));
  return 1;
}

/* ---- a model ----------------------------------------------------------- */

ModelView *check_model_view(lua_State *L, int index) {
  return view_check(L, index, binding_of(L)->view_types[1], "model of a view");
}

/* How many could be lent at once, now. */
static lua_Integer free_of(const llm_model_peeked *total) {
  return total->capacity > total->lent && !total->is_paused
             ? (lua_Integer)(total->capacity - total->lent)
             : 0;
}

static int push_model_field(lua_State *L, ModelView *model, int field) {
  const llm_model_peeked *total = &model->total;
  switch (field) {
  case MODEL_FREE_FIELD: lua_pushinteger(L, free_of(total)); break;
  case MODEL_LENT_FIELD: lua_pushinteger(L, total->lent); break;
  case MODEL_WAITING_FIELD: lua_pushinteger(L, total->waiting); break;
  case MODEL_RESTING_FIELD: lua_pushinteger(L, total->resting); break;
  case MODEL_LIMIT_FIELD: push_limit(L, total->limit); break;
  case MODEL_SIZE_FIELD: lua_pushinteger(L, model->count); break;
  case MODEL_SLOTS_FIELD: lua_pushinteger(L, total->capacity); break;
  case MODEL_OPEN_FIELD: lua_pushinteger(L, total->open); break;
  case MODEL_PAUSED_FIELD: lua_pushboolean(L, total->is_paused); break;
  case MODEL_NAME_FIELD: lua_pushstring(L, llm_model_name(model->model)); break;
  case MODEL_CLIENTS_FIELD: push_model_part(L, 1, model, MODEL_LIST); break;
  default: lua_pushnil(L);
  }
  return 1;
}

/* upvalue 3: key -> a method, or the field's number */
static int model_index(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(3)) == LUA_TFUNCTION) return 1;
  model_view_refresh(L, model);
  return push_model_field(L, model, (int)lua_tointeger(L, -1));
}

/* (model, id) -> the client, or nil */
static int m_client(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  push_model_part(L, 1, model, MODEL_IDS);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 3) != LUA_TNUMBER) return 0;
  push_model_part(L, 1, model, MODEL_LIST);
  lua_rawgeti(L, -1, lua_tointeger(L, 4) + 1);
  return 1;
}

static int model_gc(lua_State *L) {
  model_view_free(lua_touserdata(L, 1));
  return 0;
}

static int model_tostring(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  model_view_refresh(L, model);
  lua_pushfstring(L, "model of a view (%s, %d free, %d lent, %d waiting)",
                  llm_model_name(model->model), (int)free_of(&model->total),
                  (int)model->total.lent, (int)model->total.waiting);
  return 1;
}

/* ---- opening ----------------------------------------------------------- */

/* Adds key -> number to the table on the top. */
static void add_keys(lua_State *L, const char *const *names, int count) {
  for (int i = 1; i < count; i++) {
    lua_pushinteger(L, i);
    lua_setfield(L, -2, names[i]);
  }
}

/* Leaves the table of a client's keys on the stack. */
void view_fields_open(lua_State *L, Binding *b) {
#define XX(id, name, value) name,
  static const char *const client_keys[] = {NULL, NUMBERS(XX) OTHERS(XX)};
  static const char *const model_keys[] = {NULL, MODEL_FIELDS(XX)};
#undef XX
  static const luaL_Reg client_meta[] = {{"__tostring", client_tostring},
                                         {NULL, NULL}};
  static const luaL_Reg methods[] = {{"client", m_client}, {NULL, NULL}};
  static const luaL_Reg model_meta[] = {
      {"__tostring", model_tostring}, {"__gc", model_gc}, {NULL, NULL}};
  new_type(L, b, VIEW_CLIENT_TYPE, NULL, client_meta);
  add_keys(L, client_keys, CLIENT_COUNT);
  view_set_index(L, b, client_index);
  b->view_types[2] = lua_topointer(L, -2);
  lua_remove(L, -2); /* stack: keys */
  int keys = lua_gettop(L);
  new_type(L, b, VIEW_MODEL_TYPE, methods, model_meta);
  add_keys(L, model_keys, MODEL_COUNT);
  view_add_method(L, b, keys, "column", m_column);
  model_choices_open(L, b, keys);
  view_set_index(L, b, model_index);
  b->view_types[1] = lua_topointer(L, -2);
  lua_pop(L, 2);
}
