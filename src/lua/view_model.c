/*
** view_model.c - a model and its clients, as a policy sees them.
**
** One idea: fields are read by number. A key leads, through one table, to the
** number of a field; the field is computed from what was copied at the start of
** the epoch. column(name) gives a field of all clients in one list, which is
** used again: that is how a policy looks at 64 clients in a microsecond.
*/
#include "view.h"

#include <math.h>
#include <stdlib.h>

#include "../runtime/scheduler.h"

/* Fields that are numbers come first: they can be columns. */
/* clang-format off */
#define CLIENT_FIELDS(XX)                                                   \
  XX(FREE, "free") XX(LENT, "lent") XX(SLOTS, "slots")                      \
  XX(RESTING, "resting") XX(REST_UNTIL, "rest_until")                       \
  XX(LATENCY, "latency") XX(P95, "p95") XX(ERROR_RATE, "error_rate")        \
  XX(CALLS, "calls") XX(BUSY, "busy") XX(LOAD, "load") XX(WEIGHT, "weight")                  \
  XX(COST, "cost")                                                          \
  XX(INPUT_PRICE, "input_price") XX(OUTPUT_PRICE, "output_price")           \
  XX(RPM_LEFT, "rpm_left") XX(TPM_LEFT, "tpm_left")                         \
  XX(ID, "id") XX(MODEL, "model") XX(STATE, "state") XX(PRICE, "price")     \
  XX(TAGS, "tags") XX(PROVIDER, "provider")
#define MODEL_FIELDS(XX)                                                    \
  XX(FREE, "free") XX(LENT, "lent") XX(WAITING, "waiting")                  \
  XX(RESTING, "resting") XX(LIMIT, "limit") XX(SIZE, "size")                \
  XX(SLOTS, "slots") XX(PAUSED, "paused") XX(NAME, "name")                  \
  XX(OPEN, "open") XX(CLIENTS, "clients")
/* clang-format on */

#define XX(id, name) CLIENT_##id,
enum { CLIENT_NONE, CLIENT_FIELDS(XX) CLIENT_COUNT };
#undef XX
#define XX(id, name) MODEL_##id##_FIELD,
enum { MODEL_NONE, MODEL_FIELDS(XX) MODEL_COUNT };
#undef XX
#define LAST_NUMBER CLIENT_TPM_LEFT

/* ---- the copy ---------------------------------------------------------- */

/* Ids are interned: one text, one address. */
static bool is_same(const char *a, const char *b) { return a == b; }

/* Whether the places are of the clients that are known, in their order. Places
** of one client follow each other. */
static bool is_known(const ModelView *model, uint32_t places) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < places; i++) {
    const char *id = model->places[i].id;
    if (n > 0 && is_same(model->clients[n - 1].id, id)) continue;
    if (n == model->count || !is_same(model->clients[n].id, id)) return false;
    n++;
  }
  return n == model->count;
}

static void find_record(const ModelView *model, Seen *seen) {
  for (uint32_t i = 0; i < model->count; i++)
    if (is_same(model->clients[i].id, seen->id))
      seen->record = model->clients[i].record;
}

/* Clients came or went: a new list, with the records of those that stay. */
static bool renew(ModelView *model, uint32_t places) {
  Seen *clients = calloc(places + 1, sizeof *clients);
  uint32_t n = 0;
  if (clients == NULL) return false;
  for (uint32_t i = 0; i < places; i++) {
    const char *id = model->places[i].id;
    if (n > 0 && is_same(clients[n - 1].id, id)) continue;
    clients[n].id = id;
    find_record(model, &clients[n++]);
  }
  free(model->clients);
  model->clients = clients;
  model->count = n;
  model->relist = true;
  return true;
}

static void add_place(Seen *seen, const llm_peek *place) {
  seen->slots++;
  if (place->state == LLM_P_IDLE || place->state == LLM_P_VACANT) {
    seen->free++;
    return;
  }
  seen->state = place->state;
  if (place->state == LLM_P_LENT) seen->lent++;
  if (place->state == LLM_P_LENT || place->state == LLM_P_BUSY) return;
  seen->resting++;
  seen->rest_until_ns = place->rest_until_ns;
}

static void add_up(ModelView *model, uint32_t places) {
  const char *id = NULL;
  Seen *seen = NULL;
  model->versions = 0;
  for (uint32_t i = 0; i < places; i++) {
    const llm_peek *place = &model->places[i];
    if (id == NULL || !is_same(place->id, id)) {
      id = place->id;
      seen = seen == NULL ? model->clients : seen + 1;
      seen->slots = seen->free = seen->lent = seen->resting = 0;
      seen->rest_until_ns = LLM_FOREVER;
      seen->rpm_left = place->rpm_left;
      seen->tpm_left = place->tpm_left;
    }
    add_place(seen, place);
    model->versions += place->version;
  }
  model->open = 0;
  for (uint32_t i = 0; i < model->count; i++)
    if (model->clients[i].free > 0) model->open++;
}

static bool reserve(ModelView *model, uint32_t size) {
  llm_peek *places = realloc(model->places, size * sizeof *places);
  if (places == NULL) return false;
  model->places = places;
  model->size = size;
  return true;
}

void model_view_refresh(lua_State *L, ModelView *model) {
  uint64_t epoch = model->view->epoch;
  if (model->epoch == epoch) return;
  uint32_t n;
  while ((n = llm_model_peek(model->model, &model->total, model->places,
                             model->size)) > model->size)
    if (!reserve(model, n)) luaL_error(L, "not enough memory");
  if (!is_known(model, n) && !renew(model, n))
    luaL_error(L, "not enough memory");
  add_up(model, n);
  model->epoch = epoch;
}

/* ---- what changes rarely ----------------------------------------------- */

/* Makes the list of clients and the table id -> position; model at `index`. */
static void relist(lua_State *L, int index, ModelView *model) {
  lua_createtable(L, (int)model->count, 0);
  lua_createtable(L, 0, (int)model->count);
  for (uint32_t i = 0; i < model->count; i++) {
    ClientView *client = lua_newuserdatauv(L, sizeof *client, 1);
    *client = (ClientView){model, i};
    luaL_setmetatable(L, VIEW_CLIENT_TYPE);
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
    lua_rawseti(L, -3, (lua_Integer)i + 1);
    lua_pushinteger(L, (lua_Integer)i);
    lua_setfield(L, -2, model->clients[i].id);
  }
  lua_setiuservalue(L, index, MODEL_IDS);
  lua_setiuservalue(L, index, MODEL_LIST);
  lua_newtable(L);
  lua_setiuservalue(L, index, MODEL_COLUMNS);
  model->facts = 0;
  model->relist = false;
}

static void push_part(lua_State *L, int index, ModelView *model, int part) {
  model_view_refresh(L, model);
  if (model->relist) relist(L, index, model);
  lua_getiuservalue(L, index, part);
}

int model_view_find(lua_State *L, int index, ModelView *model, int id) {
  push_part(L, index, model, MODEL_IDS);
  lua_pushvalue(L, id);
  int at = lua_rawget(L, -2) == LUA_TNUMBER ? (int)lua_tointeger(L, -1) : -1;
  lua_pop(L, 2);
  return at;
}

static double number_in(lua_State *L, const char *name, double missing) {
  double value =
      lua_getfield(L, -1, name) == LUA_TNUMBER ? lua_tonumber(L, -1) : missing;
  lua_pop(L, 1);
  return value;
}

/* stack: ... fields of one client */
static void read_facts(lua_State *L, Seen *seen) {
  seen->weight = number_in(L, "weight", 1);
  seen->input_price = seen->output_price = 0;
  if (lua_getfield(L, -1, "price") == LUA_TTABLE) {
    seen->input_price = number_in(L, "input", 0);
    seen->output_price = number_in(L, "output", 0);
  }
  lua_pop(L, 1);
}

/* What pool:clients(model) tells: price, weight, tags and provider of each;
** read again when a client was added, replaced or made anew. */
static void need_facts(lua_State *L, int index, ModelView *model) {
  model_view_refresh(L, model);
  if (model->relist) relist(L, index, model);
  if (model->facts == model->versions + 1) return;
  lua_getiuservalue(L, index, MODEL_VIEW);
  lua_getiuservalue(L, -1, VIEW_POOL);
  lua_getfield(L, -1, "clients");
  lua_insert(L, -2);
  lua_pushstring(L, llm_model_name(model->model));
  lua_call(L, 2, 1);
  for (uint32_t i = 0; i < model->count; i++) {
    if (lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TTABLE)
      read_facts(L, &model->clients[i]);
    lua_pop(L, 1);
  }
  lua_setiuservalue(L, index, MODEL_FACTS);
  lua_pop(L, 1);
  model->facts = model->versions + 1;
}

/* ---- a client's fields ------------------------------------------------- */

/* Pushes the fact `name` of the client at position `at`, or nil. */
static int push_fact(lua_State *L, int index, ModelView *model, uint32_t at,
                     const char *name) {
  need_facts(L, index, model);
  lua_getiuservalue(L, index, MODEL_FACTS);
  int type = lua_rawgeti(L, -1, (lua_Integer)at + 1);
  type = type == LUA_TTABLE ? lua_getfield(L, -1, name) : LUA_TNIL;
  if (type == LUA_TNIL && !lua_isnil(L, -1)) lua_pushnil(L);
  lua_insert(L, -3);
  lua_pop(L, 2);
  return type;
}

static double number_fact(lua_State *L, int index, ModelView *model,
                          uint32_t at, int field) {
  need_facts(L, index, model);
  const Seen *seen = &model->clients[at];
  switch (field) {
  case CLIENT_WEIGHT: return seen->weight;
  case CLIENT_INPUT_PRICE: return seen->input_price;
  case CLIENT_OUTPUT_PRICE: return seen->output_price;
  case CLIENT_COST: return (seen->input_price + seen->output_price) / 2;
  default: return 0;
  }
}

/* What is not known is 0. Model view at `index` of the stack. */
static double number(lua_State *L, int index, ModelView *model, uint32_t at,
                     int field) {
  Seen *seen = &model->clients[at];
  switch (field) {
  case CLIENT_RPM_LEFT: return seen->rpm_left;
  case CLIENT_TPM_LEFT: return seen->tpm_left;
  case CLIENT_FREE: return seen->free;
  case CLIENT_LENT: return seen->lent;
  case CLIENT_SLOTS: return seen->slots;
  case CLIENT_RESTING: return seen->resting;
  case CLIENT_REST_UNTIL:
    return seen->rest_until_ns == LLM_FOREVER
               ? 0
               : (double)seen->rest_until_ns / 1e9;
  case CLIENT_LATENCY: return seen->record.latency;
  case CLIENT_P95: return record_p95(&seen->record);
  case CLIENT_ERROR_RATE: return seen->record.errors;
  case CLIENT_CALLS: return (double)seen->record.count;
  case CLIENT_LOAD: return seen->record.latency * (seen->lent + 1);
  case CLIENT_BUSY: return (double)seen->lent / (double)seen->slots;
  default: return number_fact(L, index, model, at, field);
  }
}

static bool is_count(int field) {
  return field <= CLIENT_RESTING || field == CLIENT_CALLS;
}

static void push_number(lua_State *L, int index, ModelView *model, uint32_t at,
                        int field) {
  double value = number(L, index, model, at, field);
  if (is_count(field))
    lua_pushinteger(L, (lua_Integer)value);
  else
    lua_pushnumber(L, value);
}

static const char *state_name(const Seen *seen) {
  if (seen->free > 0) return "free";
  return llm_place_state_name(seen->state);
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
  if (client->index >= model->count)
    return luaL_error(L, "this client has left its model");
  const Seen *seen = &model->clients[client->index];
  if (field > 0 && field <= LAST_NUMBER) {
    push_number(L, 3, model, client->index, field);
    return 1;
  }
  switch (field) {
  case CLIENT_ID: lua_pushstring(L, seen->id); break;
  case CLIENT_MODEL: lua_pushstring(L, llm_model_name(model->model)); break;
  case CLIENT_STATE: lua_pushstring(L, state_name(seen)); break;
  case CLIENT_NONE: lua_pushnil(L); break;
  default: push_fact(L, 3, model, client->index, lua_tostring(L, 2));
  }
  return 1;
}

static int client_tostring(lua_State *L) {
  const ClientView *client =
      view_check(L, 1, binding_of(L)->view_types[2], "client of a view");
  model_view_refresh(L, client->model);
  if (client->index >= client->model->count) {
    lua_pushliteral(L, "client of a view (left)");
    return 1;
  }
  const Seen *seen = &client->model->clients[client->index];
  lua_pushfstring(L, "client of a view (%s/%s, %s)",
                  llm_model_name(client->model->model), seen->id,
                  state_name(seen));
  return 1;
}

/* ---- a model's fields -------------------------------------------------- */

static ModelView *check_model_view(lua_State *L, int index) {
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
  case MODEL_LIMIT_FIELD: lua_pushinteger(L, total->limit); break;
  case MODEL_SIZE_FIELD: lua_pushinteger(L, model->count); break;
  case MODEL_SLOTS_FIELD: lua_pushinteger(L, total->capacity); break;
  case MODEL_OPEN_FIELD: lua_pushinteger(L, model->open); break;
  case MODEL_PAUSED_FIELD: lua_pushboolean(L, total->is_paused); break;
  case MODEL_NAME_FIELD: lua_pushstring(L, llm_model_name(model->model)); break;
  case MODEL_CLIENTS_FIELD: push_part(L, 1, model, MODEL_LIST); break;
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

/* The field named at index 2, by a table of keys that is the third upvalue. */
static int check_number_field(lua_State *L) {
  lua_pushvalue(L, 2);
  int field = lua_rawget(L, lua_upvalueindex(3)) == LUA_TNUMBER
                  ? (int)lua_tointeger(L, -1)
                  : 0;
  luaL_argcheck(L, field > 0 && field <= LAST_NUMBER, 2,
                "a client's field that is a number expected");
  lua_pop(L, 1);
  return field;
}

/* (model, field) -> the numbers of all clients, in a list that is used again
** in the next decision */
static int m_column(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  int field = check_number_field(L);
  lua_settop(L, 2);
  push_part(L, 1, model, MODEL_COLUMNS);
  if (lua_rawgeti(L, 3, field) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, (int)model->count, 0);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 3, field);
  }
  for (uint32_t i = 0; i < model->count; i++) {
    push_number(L, 1, model, i, field);
    lua_rawseti(L, 4, (lua_Integer)i + 1);
  }
  return 1;
}

/* (model, field, after) -> position, value and id of the least among the
** clients that have a free slot; of equals the first behind the position
** `after`, else the first; nil: nobody is free */
static int m_least(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  int field = check_number_field(L);
  lua_Integer after = luaL_optinteger(L, 3, 0);
  lua_settop(L, 3);
  push_part(L, 1, model, MODEL_LIST);
  lua_Integer best = 0;
  double least = 0;
  for (uint32_t i = 0; i < model->count; i++) {
    if (model->clients[i].free == 0) continue;
    double value = number(L, 1, model, i, field);
    bool is_better =
        best == 0 || value < least ||
        (value == least && best <= after && (lua_Integer)i + 1 > after);
    if (!is_better) continue;
    best = (lua_Integer)i + 1;
    least = value;
  }
  if (best == 0) return 0;
  lua_pushinteger(L, best);
  lua_pushnumber(L, least);
  lua_pushstring(L, model->clients[best - 1].id);
  return 3;
}

/* In time comes before late, free before busy; then the price, then p95. */
typedef struct Offer {
  double price, p95;
  bool is_late, is_free;
} Offer;

static bool is_better(const Offer *a, const Offer *b) {
  if (a->is_late || b->is_late) return a->p95 < b->p95;
  if (a->is_free != b->is_free) return a->is_free;
  if (a->price != b->price) return a->price < b->price;
  return a->p95 < b->p95;
}

/* (model, prompt, answer, within) -> position of the client that answers so
** many tokens for the lowest price within so many seconds, as far as is known;
** its price, its p95, whether it is free, its id */
static int m_cheapest(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  double prompt = luaL_checknumber(L, 2), answer = luaL_checknumber(L, 3);
  double within = luaL_optnumber(L, 4, HUGE_VAL);
  lua_settop(L, 4);
  need_facts(L, 1, model);
  Offer best = {0};
  lua_Integer at = 0;
  for (uint32_t i = 0; i < model->count; i++) {
    Seen *seen = &model->clients[i];
    double p95 = record_p95(&seen->record);
    Offer offer = {(seen->input_price * prompt + seen->output_price * answer) /
                       1e6,
                   p95, p95 > within, seen->free > 0};
    if (at != 0 && !is_better(&offer, &best)) continue;
    best = offer;
    at = (lua_Integer)i + 1;
  }
  if (at == 0) return 0;
  lua_pushinteger(L, at);
  lua_pushnumber(L, best.price);
  lua_pushnumber(L, best.p95);
  lua_pushboolean(L, best.is_free);
  lua_pushstring(L, model->clients[at - 1].id);
  return 5;
}

lua_Integer model_view_open(lua_State *L, ModelView *model) {
  model_view_refresh(L, model);
  return model->open;
}

void push_open_client(lua_State *L, int index, ModelView *model,
                      lua_Integer k) {
  push_part(L, index, model, MODEL_LIST);
  for (uint32_t i = 0; i < model->count; i++)
    if (model->clients[i].free > 0 && --k == 0)
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
  lua_remove(L, -2);
}

/* (model, id) -> the client, or nil */
static int m_client(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  int at = model_view_find(L, 1, model, 2);
  if (at < 0) return 0;
  push_part(L, 1, model, MODEL_LIST);
  lua_rawgeti(L, -1, (lua_Integer)at + 1);
  return 1;
}

static int model_gc(lua_State *L) {
  ModelView *model = lua_touserdata(L, 1);
  free(model->places);
  free(model->clients);
  if (model->model) llm_model_unref(model->model);
  *model = (ModelView){.view = model->view};
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

/* ---- making ------------------------------------------------------------ */

/* Takes the reference over, also if it raises for want of memory. */
void push_model_view(lua_State *L, int index, View *view, llm_model *model) {
  index = lua_absindex(L, index);
  ModelView *made = lua_newuserdatauv(L, sizeof *made, MODEL_IDS);
  *made = (ModelView){.view = view, .model = model, .relist = true};
  luaL_setmetatable(L, VIEW_MODEL_TYPE);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, MODEL_VIEW);
}

/* Adds key -> number to the table on the top. */
static void add_keys(lua_State *L, const char *const *names, int count) {
  for (int i = 1; i < count; i++) {
    lua_pushinteger(L, i);
    lua_setfield(L, -2, names[i]);
  }
}

/* stack: ... methods; one whose third upvalue is the table at `keys` */
static void add_method(lua_State *L, Binding *b, int keys, const char *name,
                       lua_CFunction function) {
  push_upvalues(L, b);
  lua_pushvalue(L, keys);
  lua_pushcclosure(L, function, 3);
  lua_setfield(L, -2, name);
}

void model_views_open(lua_State *L, Binding *b) {
#define XX(id, name) name,
  static const char *const client_keys[] = {NULL, CLIENT_FIELDS(XX)};
  static const char *const model_keys[] = {NULL, MODEL_FIELDS(XX)};
#undef XX
  static const luaL_Reg client_meta[] = {{"__tostring", client_tostring},
                                         {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"client", m_client}, {"cheapest", m_cheapest}, {NULL, NULL}};
  static const luaL_Reg model_meta[] = {
      {"__tostring", model_tostring}, {"__gc", model_gc}, {NULL, NULL}};
  new_type(L, b, VIEW_CLIENT_TYPE, NULL, client_meta);
  add_keys(L, client_keys, CLIENT_COUNT);
  view_set_index(L, b, client_index);
  b->view_types[2] = lua_topointer(L, -2);
  int keys = lua_gettop(L);
  new_type(L, b, VIEW_MODEL_TYPE, methods, model_meta);
  add_keys(L, model_keys, MODEL_COUNT);
  add_method(L, b, keys, "column", m_column);
  add_method(L, b, keys, "least", m_least);
  view_set_index(L, b, model_index);
  b->view_types[1] = lua_topointer(L, -2);
  lua_pop(L, 4);
}
