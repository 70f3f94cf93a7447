/*
** test_value_memory.c - values where memory ends, and in several threads.
**
** Memory ends at the Nth allocation and stays away, for N from 0 until the
** call passes: Lua's own allocations through lua_Alloc, those of value_*.c
** because they are compiled here, over a malloc that counts. Each time the
** call must say so, hold nothing, and work when there is memory again.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "value_support.h"

/* ---- memory that ends -------------------------------------------------- */

typedef struct Memory {
  long left;   /* allocations until it ends; below 0: it does not */
  long blocks; /* that are live */
} Memory;

static Memory c_memory = {.left = -1}; /* of value_*.c */
static bool counting;                  /* c_memory is in use, by one thread */

static bool is_out(Memory *memory) {
  if (memory->left < 0) return false;
  if (memory->left == 0) return true;
  memory->left--;
  return false;
}

/* A lua_Alloc; it also stands behind malloc, realloc and free below. */
static void *lua_memory(void *data, void *block, size_t old, size_t size) {
  Memory *memory = data;
  if (size == 0) {
    if (block) memory->blocks--;
    free(block);
    return NULL;
  }
  bool grows = block == NULL || size > old;
  if (grows && is_out(memory)) return NULL;
  if (block == NULL) memory->blocks++;
  return realloc(block, size);
}

static void *c_realloc(void *block, size_t size) {
  return counting ? lua_memory(&c_memory, block, 0, size)
                  : realloc(block, size);
}

static void *c_malloc(size_t size) { return c_realloc(NULL, size); }

static void c_free(void *block) {
  if (counting)
    lua_memory(&c_memory, block, 0, 0);
  else
    free(block);
}

/* This program's own, which the linker then takes from no library. */
#define malloc c_malloc
#define realloc c_realloc
#define free c_free
#include "../../src/runtime/value.c"
#include "../../src/runtime/value_pack.c"
#include "../../src/runtime/value_path.c"
#undef malloc
#undef realloc
#undef free

static int count_memory(void **state) {
  (void)state;
  c_memory = (Memory){.left = -1};
  counting = true;
  return 0;
}

static int stop_counting(void **state) {
  (void)state;
  counting = false;
  return 0;
}

/* ---- a value with everything in it ------------------------------------- */

static const char point_key = 'p'; /* registry: a metatable of every state */
static const char box_key = 'b';   /* registry: the metatable of boxes */
static atomic_int references;      /* held by Values and boxes */

static void drop(void *ptr) { atomic_fetch_sub((atomic_int *)ptr, 1); }

static int mm_gc(lua_State *L) {
  void *ptr = *(void **)lua_touserdata(L, 1);
  if (ptr) drop(ptr);
  return 0;
}

static void push_box(lua_State *L, void *ptr) {
  void **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &box_key);
  lua_setmetatable(L, -2);
  atomic_fetch_add((atomic_int *)ptr, 1);
  *box = ptr;
}

static bool hook(lua_State *L, int index, ValueRef *ref,
                 ValueRefusal *refusal) {
  void **box = lua_touserdata(L, index);
  lua_pushfstring(L, "a hook may use memory: %p", (void *)refusal);
  atomic_fetch_add((atomic_int *)*box, 1);
  *ref = (ValueRef){.ptr = *box, .unref = drop, .push = push_box};
  return true;
}

static const ValueRules rules = {.noun = "argument", .hook = hook};

static lua_State *open_state(Memory *memory) {
  lua_State *L = lua_newstate(lua_memory, memory);
  assert_non_null(L);
  luaL_openlibs(L);
  lua_newtable(L);
  lua_pushcfunction(L, mm_gc);
  lua_setfield(L, -2, "__gc");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &box_key);
  lua_newtable(L);
  lua_pushlightuserdata(L, (void *)&point_key);
  lua_setfield(L, -2, "__sendable");
  lua_pushvalue(L, -1);
  lua_setglobal(L, "Point");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &point_key);
  return L;
}

static const char everything[] =
    "local list = {}\n"
    "for i = 1, 40 do list[i] = {i, name = ('n'):rep(i * 3)} end\n"
    "list.self, list.p = list, setmetatable({list[1]}, Point)\n"
    "list.f = function(x) return tostring(x) end\n"
    "return list, list.f, print, 1.5, ('long'):rep(1000), nil";

static const char check_everything[] =
    "local list, f, p, number, text, n, box = ...\n"
    "assert(#list == 40 and list[40].name == ('n'):rep(120))\n"
    "assert(list.self == list and list.p[1] == list[1])\n"
    "assert(getmetatable(list.p) == Point and list.f == f and f(1) == '1')\n"
    "assert(p == print and number == 1.5 and #text == 4000 and n == nil)\n"
    "assert(type(box) == 'userdata')";

static int make_everything(lua_State *L) {
  int n = make(L, everything) + 1;
  push_box(L, &references);
  return n;
}

static void collect(lua_State *L) {
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
}

/* ---- the sender -------------------------------------------------------- */

/* Packs with `memory` ending at ever later points; returns how many. */
static int pack_at_every_point(Memory *memory, Memory *lua) {
  int points = 0;
  lua_State *L = open_state(lua);
  int n = make_everything(L);
  for (Value *value = NULL; value == NULL; points++) {
    ValueWhy why;
    memory->left = points;
    value = value_pack(L, 1, n, &rules, &why);
    memory->left = -1;
    assert_int_equal(lua_gettop(L), n);
    if (value) {
      check(L, value, check_everything);
      value_unref(value);
    } else {
      assert_true(why.out_of_memory);
      assert_string_equal(why.text, "not enough memory");
      assert_int_equal(references, 1);
      assert_int_equal(c_memory.blocks, 0);
    }
  }
  lua_close(L);
  assert_int_equal(lua->blocks, 0);
  assert_int_equal(c_memory.blocks, 0);
  assert_int_equal(references, 0);
  return points;
}

static void test_sender_without_lua_memory(void **state) {
  (void)state;
  Memory lua = {.left = -1};
  assert_true(pack_at_every_point(&lua, &lua) > 10);
}

static void test_sender_without_c_memory(void **state) {
  (void)state;
  Memory lua = {.left = -1};
  assert_true(pack_at_every_point(&c_memory, &lua) > 5);
}

/* A refusal, too, may find no memory: for the places it searches, say. */
static void test_refusal_without_memory(void **state) {
  (void)state;
  Memory lua = {.left = -1};
  lua_State *L = open_state(&lua);
  make(L, "return {{x = {coroutine.create(print)}}}");
  ValueWhy why = {.out_of_memory = true};
  for (int point = 0; why.out_of_memory; point++) {
    lua.left = point;
    assert_null(value_pack(L, 1, 1, NULL, &why));
    lua.left = -1;
    assert_int_equal(c_memory.blocks, 0);
  }
  assert_string_equal(why.text, "cannot send a coroutine (argument 1[1].x[1])");
  lua_close(L);
  assert_int_equal(lua.blocks, 0);
}

/* ---- the receiver ------------------------------------------------------ */

static int l_unpack(lua_State *L) {
  return value_unpack(L, lua_touserdata(L, 1));
}

static void test_receiver_without_memory(void **state) {
  (void)state;
  Memory lua_from = {.left = -1}, lua_to = {.left = -1};
  lua_State *from = open_state(&lua_from), *to = open_state(&lua_to);
  make_everything(from);
  Value *value = pack_all(from, &rules);
  lua_close(from);
  int status = LUA_ERRMEM, points = 0;
  for (; status != LUA_OK; points++) {
    collect(to);
    assert_int_equal(references, 1);
    lua_pushcfunction(to, l_unpack);
    lua_pushlightuserdata(to, value);
    lua_to.left = points;
    status = lua_pcall(to, 1, LUA_MULTRET, 0);
    lua_to.left = -1;
    if (status != LUA_OK) assert_int_equal(status, LUA_ERRMEM);
  }
  assert_true(points > 100);
  check(to, value, check_everything);
  value_unref(value);
  lua_close(to);
  assert_int_equal(lua_to.blocks, 0);
  assert_int_equal(c_memory.blocks, 0);
  assert_int_equal(references, 0);
}

/* ---- threads ----------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 200 };

typedef struct Receiver {
  pthread_t thread;
  lua_State *L;
  Value *value; /* a reference of this thread's own */
  int good;     /* rounds that received everything */
} Receiver;

static int l_round(lua_State *L) {
  luaL_loadstring(L, check_everything);
  lua_call(L, value_unpack(L, lua_touserdata(L, 1)), 0);
  return 0;
}

static void *receive_often(void *data) {
  Receiver *receiver = data;
  for (int i = 0; i < ROUNDS; i++) {
    Value *value = value_ref(receiver->value);
    lua_pushcfunction(receiver->L, l_round);
    lua_pushlightuserdata(receiver->L, value);
    if (lua_pcall(receiver->L, 1, 0, 0) == LUA_OK) receiver->good++;
    value_unref(value);
  }
  value_unref(receiver->value);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  Memory lua_from = {.left = -1}, lua_to[THREADS];
  Receiver receivers[THREADS];
  lua_State *from = open_state(&lua_from);
  make_everything(from);
  Value *value = pack_all(from, &rules);
  lua_close(from);
  for (int i = 0; i < THREADS; i++) {
    lua_to[i] = (Memory){.left = -1};
    receivers[i] =
        (Receiver){.L = open_state(&lua_to[i]), .value = value_ref(value)};
  }
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&receivers[i].thread, NULL, receive_often,
                                    &receivers[i]),
                     0);
  value_unref(value); /* one of the receivers is the last */
  for (int i = 0; i < THREADS; i++) {
    pthread_join(receivers[i].thread, NULL);
    assert_int_equal(receivers[i].good, ROUNDS);
    lua_close(receivers[i].L);
  }
  assert_int_equal(references, 0);
}

int main(void) {
#define counted(test) \
  cmocka_unit_test_setup_teardown(test, count_memory, stop_counting)
  static const struct CMUnitTest tests[] = {
      counted(test_sender_without_lua_memory),
      counted(test_sender_without_c_memory),
      counted(test_refusal_without_memory),
      counted(test_receiver_without_memory),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
