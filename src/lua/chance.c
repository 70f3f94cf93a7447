/*
** chance.c - chance as Lua sees it: the world's generator, streams of their
** own, and the draws of a distribution from a stream.
**
** One idea: a draw is one call of a closure, whatever the distribution, so
** that a simulated request spends no time on chance. What a distribution may
** be and how its fields are checked is Lua's (distribution.lua).
*/
#include <math.h>

#include "../runtime/scheduler.h"
#include "binding.h"
#include "chance.h"

#define STREAM_TYPE "llmpool stream"

static World *world_here(lua_State *L) { return binding_of(L)->worker->world; }

/* A real world is seeded by its clock, when it is first asked. */
static World *seeded_world(lua_State *L) {
  World *world = world_here(L);
  if (world->seeded) return world;
  world_seed(world, (uint64_t)world_now(world) ^ (uint64_t)(uintptr_t)world);
  return world;
}

/* () -> a float in [0, 1) of the world that runs */
static int f_random(lua_State *L) {
  lua_pushnumber(L, random_float(&seeded_world(L)->random));
  return 1;
}

/* (integer): from here on the world's chance repeats; () -> the seed */
static int f_seed(lua_State *L) {
  if (!lua_isnone(L, 1))
    world_seed(world_here(L), (uint64_t)luaL_checkinteger(L, 1));
  lua_pushinteger(L, (lua_Integer)seeded_world(L)->seed);
  return 1;
}

/* ---- streams ----------------------------------------------------------- */

/* (name) -> a stream: a function-like value, called for a float in [0, 1) */
static int f_stream(lua_State *L) {
  size_t length;
  const char *name = luaL_checklstring(L, 1, &length);
  Random *random = lua_newuserdatauv(L, sizeof *random, 0);
  random_seed_named(random, seeded_world(L)->seed, name, length);
  luaL_setmetatable(L, STREAM_TYPE);
  return 1;
}

static Random *check_stream(lua_State *L, int index) {
  return luaL_checkudata(L, index, STREAM_TYPE);
}

static int mm_call(lua_State *L) {
  lua_pushnumber(L, random_float(check_stream(L, 1)));
  return 1;
}

/* ---- draws ------------------------------------------------------------- */

static double next_constant(const Draw *draw) { return draw->a; }

static double next_uniform(const Draw *draw) {
  return draw->a + (draw->b - draw->a) * random_float(draw->random);
}

static double next_exponential(const Draw *draw) {
  return -draw->a * log(1 - random_float(draw->random));
}

static double next_lognormal(const Draw *draw) {
  return draw->a * exp(draw->b * random_normal(draw->random));
}

static int draw_number(lua_State *L) {
  lua_pushnumber(L, draw_next(lua_touserdata(L, lua_upvalueindex(1))));
  return 1;
}

const Draw *draw_of(lua_State *L, int index) {
  if (lua_tocfunction(L, index) != draw_number) return NULL;
  lua_getupvalue(L, index, 1);
  const Draw *draw = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return draw;
}

/* (stream, kind, a, b) -> a function () -> number */
static int f_draw(lua_State *L) {
  static const char *const kinds[] = {"constant", "uniform", "exponential",
                                      "lognormal", NULL};
  static double (*const functions[])(const Draw *) = {
      next_constant, next_uniform, next_exponential, next_lognormal};
  Random *random = check_stream(L, 1);
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  double a = luaL_checknumber(L, 3), b = luaL_optnumber(L, 4, 0);
  Draw *draw = lua_newuserdatauv(L, sizeof *draw, 0);
  *draw = (Draw){functions[kind], random, a, b};
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, draw_number, 2);
  return 1;
}

/* upvalues: the sum, the draw, the draw's function */
static int sum_number(lua_State *L) {
  double *sum = lua_touserdata(L, lua_upvalueindex(1));
  const Draw *draw = lua_touserdata(L, lua_upvalueindex(2));
  *sum += draw_next(draw);
  lua_pushnumber(L, *sum);
  return 1;
}

/* (draw, from) -> a function () -> number: one draw further at each call */
static int f_sums(lua_State *L) {
  const Draw *draw = draw_of(L, 1);
  luaL_argcheck(L, draw, 1, "a function made by draw expected");
  double *sum = lua_newuserdatauv(L, sizeof *sum, 0);
  *sum = luaL_checknumber(L, 2);
  lua_pushlightuserdata(L, (void *)draw);
  lua_pushvalue(L, 1); /* keeps the draw */
  lua_pushcclosure(L, sum_number, 3);
  return 1;
}

/* ---- what belongs to a world ------------------------------------------- */

/* () -> the table that the world which runs has for Lua's own purposes */
static int f_world_table(lua_State *L) {
  World *world = world_here(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, world) == LUA_TTABLE) return 1;
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, world);
  return 1;
}

void chance_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"random", f_random},
                                       {"seed", f_seed},
                                       {"stream", f_stream},
                                       {"draw", f_draw},
                                       {"world_table", f_world_table},
                                       {"sums", f_sums},
                                       {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__call", mm_call}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, STREAM_TYPE, NULL, metamethods);
  lua_pop(L, 2);
}
