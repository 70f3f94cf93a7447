/*
** chance.c - chance as Lua sees it: the world's generator, streams of their
** own, and the draws of a distribution from a stream.
**
** One idea: a draw is one call of a closure, whatever the distribution, so
** that a simulated request spends no time on chance. What a distribution may
** be and how its fields are checked is Lua's (distribution.lua).
*/
#include <math.h>

#include "../runtime/random.h"
#include "../runtime/scheduler.h"
#include "binding.h"

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

typedef struct Draw {
  Random *random; /* of the stream, which is the second upvalue */
  double a, b;
} Draw;

static Draw *to_draw(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

static int draw_constant(lua_State *L) {
  lua_pushnumber(L, to_draw(L)->a);
  return 1;
}

static int draw_uniform(lua_State *L) {
  Draw *draw = to_draw(L);
  lua_pushnumber(L, draw->a + (draw->b - draw->a) * random_float(draw->random));
  return 1;
}

static int draw_exponential(lua_State *L) {
  Draw *draw = to_draw(L);
  lua_pushnumber(L, -draw->a * log(1 - random_float(draw->random)));
  return 1;
}

static int draw_lognormal(lua_State *L) {
  Draw *draw = to_draw(L);
  lua_pushnumber(L, draw->a * exp(draw->b * random_normal(draw->random)));
  return 1;
}

/* (stream, kind, a, b) -> a function () -> number */
static int f_draw(lua_State *L) {
  static const char *const kinds[] = {"constant", "uniform", "exponential",
                                      "lognormal", NULL};
  static const lua_CFunction functions[] = {draw_constant, draw_uniform,
                                            draw_exponential, draw_lognormal};
  Random *random = check_stream(L, 1);
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  double a = luaL_checknumber(L, 3), b = luaL_optnumber(L, 4, 0);
  Draw *draw = lua_newuserdatauv(L, sizeof *draw, 0);
  *draw = (Draw){random, a, b};
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, functions[kind], 2);
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
  static const luaL_Reg functions[] = {
      {"random", f_random},           {"seed", f_seed},
      {"stream", f_stream},           {"draw", f_draw},
      {"world_table", f_world_table}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__call", mm_call}, {NULL, NULL}};
  set_functions(L, b, functions);
  new_type(L, b, STREAM_TYPE, NULL, metamethods);
  lua_pop(L, 2);
}
