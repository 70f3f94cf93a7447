/*
** view_choice.c - the choices that policies are made of: the least of a field,
** the cheapest in time, the k-th that is free; of one model and over several.
**
** One idea: what a policy looks for among all clients it finds in one call, so
** that a decision costs a loop in C and a few instructions in Lua. It decides
** nothing: what is looked for is the policy's.
*/
#include "view.h"

#include <math.h>

#include "../runtime/fields.h"

static View *check_view(lua_State *L) {
  return view_check(L, 1, binding_of(L)->view_types[0], "view");
}

/* ---- the least --------------------------------------------------------- */

/* The best so far: of the model number `list`, at `position` from 1; 0: none. */
typedef struct Best {
  lua_Integer list, position;
  double value;
  const char *id;
} Best;

/* Looks at clients that have a free slot, at positions from `from` to `to`. */
static void look(const ModelView *model, const double *column, lua_Integer list,
                 lua_Integer from, lua_Integer to, Best *best) {
  if (from < 1) from = 1;
  if (to > model->count) to = model->count;
  for (lua_Integer i = from; i <= to; i++) {
    if (model->clients[i - 1].free == 0) continue;
    if (best->position != 0 && !(column[i - 1] < best->value)) continue;
    *best = (Best){list, i, column[i - 1], model->ids[i - 1]};
  }
}

/* Pushes position, value and id. */
static int push_best(lua_State *L, const Best *best) {
  if (best->position == 0) return 0;
  lua_pushinteger(L, best->position);
  lua_pushnumber(L, best->value);
  lua_pushstring(L, best->id);
  return 3;
}

/* (model, field, after) -> position, value and id of the least among the
** clients that have a free slot; of equals the first behind the position
** `after`, else the first; nil: nobody is free */
static int model_least(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  int field = check_number_field(L, 2);
  lua_Integer after = luaL_optinteger(L, 3, 0);
  Best best = {0};
  lua_settop(L, 3);
  const double *column = view_column(L, 1, model, field);
  if (after < 0 || after > model->count) after = 0;
  look(model, column, 1, after + 1, model->count, &best);
  look(model, column, 1, 1, after, &best);
  return push_best(L, &best);
}

/* Looks at the model number `list` of those named at 2. */
static void look_at(lua_State *L, View *view, int field, lua_Integer list,
                    lua_Integer from, lua_Integer to, Best *best) {
  lua_settop(L, 5);
  lua_rawgeti(L, 2, list);
  ModelView *model = push_view_of(L, 1, view, 6);
  look(model, view_column(L, 7, model, field), list, from, to, best);
}

/* (view, names, field, last, after) -> which model of them, position, value and
** id of the least; of equals the first behind the client `after` of the model
** number `last`, in turn */
static int view_least(lua_State *L) {
  View *view = check_view(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  int field = check_number_field(L, 3);
  lua_Integer last = luaL_optinteger(L, 4, 1), after = luaL_optinteger(L, 5, 0);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  Best best = {0};
  if (last < 1 || last > n) last = 1, after = 0;
  if (after < 0) after = 0;
  if (n == 0) return 0;
  look_at(L, view, field, last, after + 1, LUA_MAXINTEGER, &best);
  for (lua_Integer i = 1; i < n; i++)
    look_at(L, view, field, (last + i - 1) % n + 1, 1, LUA_MAXINTEGER, &best);
  if (after > 0) look_at(L, view, field, last, 1, after, &best);
  if (best.position == 0) return 0;
  lua_pushinteger(L, best.list);
  return 1 + push_best(L, &best);
}

/* ---- the cheapest ------------------------------------------------------ */

/* In time comes before late, free before busy; then the price, then p95. */
typedef struct Offer {
  double price, p95;
  bool is_late, is_free;
  const char *id; /* NULL: there is none */
  lua_Integer position;
} Offer;

static bool is_better(const Offer *a, const Offer *b) {
  if (b->id == NULL) return true;
  if (a->is_late || b->is_late) return a->p95 < b->p95;
  if (a->is_free != b->is_free) return a->is_free;
  if (a->price != b->price) return a->price < b->price;
  return a->p95 < b->p95;
}

typedef struct Wanted { /* tokens, and seconds */
  double prompt, answer, within;
} Wanted;

static Wanted check_wanted(lua_State *L, int from) {
  return (Wanted){luaL_checknumber(L, from), luaL_checknumber(L, from + 1),
                  luaL_optnumber(L, from + 2, HUGE_VAL)};
}

/* Model view at `index`. Returns whether one of its offers is the best now. */
static bool offer(lua_State *L, int index, ModelView *model, const Wanted *want,
                  Offer *best) {
  bool is_found = false;
  model_view_need_facts(L, index, model);
  model_view_need_p95(L, model);
  for (uint32_t i = 0; i < model->count; i++) {
    const Facts *facts = &model->facts[i];
    double p95 = to_seconds(model->p95[i].latency_ns);
    Offer one = {(facts->input_price * want->prompt +
                  facts->output_price * want->answer) /
                     1e6,
                 p95,
                 p95 > want->within,
                 model->clients[i].free > 0,
                 model->ids[i],
                 (lua_Integer)i + 1};
    if (!is_better(&one, best)) continue;
    *best = one;
    is_found = true;
  }
  return is_found;
}

/* Pushes price, p95, whether it is free. */
static int push_offer(lua_State *L, const Offer *best) {
  lua_pushnumber(L, best->price);
  lua_pushnumber(L, best->p95);
  lua_pushboolean(L, best->is_free);
  return 3;
}

/* (model, prompt, answer, within) -> position of the client that answers so
** many tokens for the lowest price within so many seconds, as far as is known;
** its price, its p95, whether it is free, its id */
static int model_cheapest(lua_State *L) {
  ModelView *model = check_model_view(L, 1);
  Wanted want = check_wanted(L, 2);
  Offer best = {0};
  lua_settop(L, 4);
  if (!offer(L, 1, model, &want, &best)) return 0;
  lua_pushinteger(L, best.position);
  push_offer(L, &best);
  lua_pushstring(L, best.id);
  return 5;
}

/* (view, names, prompt, answer, within) -> which model of them, and the id of
** its client, that is the cheapest; its price, p95, whether it is free */
static int view_cheapest(lua_State *L) {
  View *view = check_view(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  Wanted want = check_wanted(L, 3);
  Offer best = {0};
  lua_Integer found = 0, n = (lua_Integer)lua_rawlen(L, 2);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_settop(L, 5);
    lua_rawgeti(L, 2, i);
    ModelView *model = push_view_of(L, 1, view, 6);
    if (offer(L, 7, model, &want, &best)) found = i;
  }
  if (found == 0) return 0;
  lua_pushinteger(L, found);
  lua_pushstring(L, best.id);
  return 2 + push_offer(L, &best);
}

/* ---- who is free ------------------------------------------------------- */

/* (view, names) -> how many clients of these models have a free slot */
static int view_open_ones(lua_State *L) {
  View *view = check_view(L);
  lua_Integer n = 0;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  for (lua_Integer i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++) {
    ModelView *model = push_view_of(L, 1, view, 3);
    model_view_refresh(L, model);
    n += model->total.open;
    lua_settop(L, 2);
  }
  lua_pushinteger(L, n);
  return 1;
}

/* The k-th client of the models named at 2 that has a free slot: pushes its
** model's name and view, says its position, and which model of them; 0: none. */
static lua_Integer push_open(lua_State *L, View *view, lua_Integer k,
                             uint32_t *at) {
  for (lua_Integer m = 1; lua_rawgeti(L, 2, m) != LUA_TNIL; m++) {
    ModelView *model = push_view_of(L, 1, view, lua_gettop(L));
    model_view_refresh(L, model);
    if (k >= 1 && k <= model->total.open) {
      for (*at = 0; model->clients[*at].free == 0 || --k > 0; ++*at) continue;
      return m;
    }
    k -= model->total.open;
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
  return 0;
}

/* (view, names, k) -> the k-th client of these models that has a free slot,
** and the name of its model; or nil */
static int view_pick(lua_State *L) {
  View *view = check_view(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer k = luaL_checkinteger(L, 3);
  uint32_t at;
  lua_settop(L, 2);
  if (!push_open(L, view, k, &at)) return 0; /* stack: view names name model */
  push_model_part(L, 4, lua_touserdata(L, 4), MODEL_LIST);
  lua_rawgeti(L, 5, (lua_Integer)at + 1);
  lua_pushvalue(L, 3);
  return 2;
}

/* (view, names, field, i, j) -> which model of them, and the id of the better
** of the i-th and the j-th client that is free: the one with less of the field,
** of equals the i-th; nil: one of them is not there */
static int view_better(lua_State *L) {
  View *view = check_view(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  int field = check_number_field(L, 3);
  lua_Integer k[2] = {luaL_checkinteger(L, 4), luaL_checkinteger(L, 5)};
  Best best = {0};
  lua_settop(L, 5);
  for (int i = 0; i < 2; i++) {
    uint32_t at;
    lua_Integer list = push_open(L, view, k[i], &at);
    if (list == 0) return 0;
    const ModelView *model = lua_touserdata(L, -1);
    double value =
        view_number(L, lua_gettop(L), lua_touserdata(L, -1), at, field);
    if (i == 0 || value < best.value)
      best = (Best){list, (lua_Integer)at + 1, value, model->ids[at]};
  }
  lua_pushinteger(L, best.list);
  lua_pushstring(L, best.id);
  return 2;
}

/* ---- opening ----------------------------------------------------------- */

void view_choices_open(lua_State *L, Binding *b, int keys) {
  view_add_method(L, b, keys, "open", view_open_ones);
  view_add_method(L, b, keys, "pick", view_pick);
  view_add_method(L, b, keys, "better", view_better);
  view_add_method(L, b, keys, "least", view_least);
  view_add_method(L, b, keys, "cheapest", view_cheapest);
}

void model_choices_open(lua_State *L, Binding *b, int keys) {
  view_add_method(L, b, keys, "least", model_least);
  view_add_method(L, b, keys, "cheapest", model_cheapest);
}
