/*
** test_value.c - plain values from one Lua state to another.
**
** Most tests are pairs of Lua chunks: one makes the values in a fresh state,
** the other checks what a second fresh state received. Refusals are pairs of a
** chunk and the exact sentence. Random values are test_value_random.c's, what
** happens without memory and in several threads test_value_memory.c's.
*/
#include <stdatomic.h>
#include <stdio.h>

#include "value_support.h"

/* Packs all from `first` on: must be refused in these words. */
static void refused(lua_State *L, int first, const ValueRules *rules,
                    const char *text) {
  ValueWhy why;
  int top = lua_gettop(L);
  assert_null(value_pack(L, first, top - first + 1, rules, &why));
  assert_int_equal(lua_gettop(L), top);
  assert_string_equal(why.text, text);
  assert_false(why.out_of_memory);
}

/* ---- round trips ------------------------------------------------------- */

typedef struct Trip {
  const char *make;
  const char *check;
} Trip;

static void travel(const Trip *trip) {
  lua_State *from = new_state(), *to = new_state();
  make(from, trip->make);
  Value *value = pack_all(from, NULL);
  lua_close(from); /* nothing of the sender is needed any more */
  check(to, value, trip->check);
  check(to, value, trip->check); /* and nothing is used up */
  value_unref(value);
  lua_close(to);
}

static void test_scalars(void **state) {
  (void)state;
  static const Trip trips[] = {
      {"return", "assert(select('#', ...) == 0)"},
      {"return nil, true, false, nil",
       "assert(select('#', ...) == 4)\n"
       "local a, b, c, d = ...\n"
       "assert(a == nil and b == true and c == false and d == nil)"},
      {"return 1, 1.0, math.mininteger, math.maxinteger, 2^53, -0.0, 1/0",
       "local a, b, c, d, e, f, g = ...\n"
       "assert(math.type(a) == 'integer' and math.type(b) == 'float')\n"
       "assert(a == 1 and b == 1.0 and c == math.mininteger)\n"
       "assert(d == math.maxinteger and math.type(d) == 'integer')\n"
       "assert(e == 2^53 and math.type(e) == 'float')\n"
       "assert(math.type(f) == 'float' and 1/f == -1/0 and g == 1/0)"},
      {"return 0/0", "local nan = ... assert(nan ~= nan)"},
      {"return '', 'a\\0b\\0', ('x'):rep(127), ('y'):rep(128), '\\xff'",
       "local a, b, c, d, e = ...\n"
       "assert(a == '' and b == 'a\\0b\\0' and e == '\\xff')\n"
       "assert(c == ('x'):rep(127) and d == ('y'):rep(128))"},
  };
  for (size_t i = 0; i < COUNT(trips); i++) travel(&trips[i]);
}

static void test_tables(void **state) {
  (void)state;
  static const Trip trips[] = {
      {"return {}, {{}}", "local a, b = ...\n"
                          "assert(next(a) == nil and next(b[1]) == nil)"},
      {"return {1, 2, 3, x = 4, [2.5] = 5, [-1] = 6, [true] = 7, [1 << 40] = "
       "8}",
       "local t, n = ..., 0\n"
       "for _ in pairs(t) do n = n + 1 end\n"
       "assert(n == 8 and #t == 3 and t[1] == 1 and t[3] == 3 and t.x == 4)\n"
       "assert(t[2.5] == 5 and t[-1] == 6 and t[true] == 7 and t[1 << 40] == "
       "8)"},
      {"local t = {1, nil, 3, nil, 5} t[false] = {} return t",
       "local t = ...\n"
       "assert(t[1] == 1 and t[2] == nil and t[3] == 3 and t[5] == 5)\n"
       "assert(next(t[false]) == nil)"},
      /* a border far away is no reason to make room for it */
      {"local t = {} for i = 0, 40 do t[1 << i] = i end return t",
       "local t = ... for i = 0, 40 do assert(t[1 << i] == i) end"},
      {"local t = {list = {}} t.self, t.list[1] = t, t.list t[t] = t\n"
       "return t, t.list, t",
       "local t, list, again = ...\n"
       "assert(t == again and t.self == t and t.list == list)\n"
       "assert(list[1] == list and t[t] == t)"},
      {"local key = {name = 'k'} return {[key] = 1, [2] = key}",
       "local t = ... assert(t[t[2]] == 1 and t[2].name == 'k')"},
  };
  for (size_t i = 0; i < COUNT(trips); i++) travel(&trips[i]);
}

static void test_depth_and_width(void **state) {
  (void)state;
  static const Trip trips[] = {
      {"local t = {} for i = 1, 100000 do t = {next = t, i = i} end return t",
       "local t = ...\n"
       "for i = 100000, 1, -1 do assert(t.i == i) t = t.next end\n"
       "assert(next(t) == nil)"},
      {"local t = {} for i = 1, 200 do t = {[t] = true} end return t",
       "local t, depth = ..., 0\n"
       "while next(t) do t, depth = next(t), depth + 1 end\n"
       "assert(depth == 200)"},
      {"return table.unpack({}, 1, 100000)",
       "assert(select('#', ...) == 100000)"},
  };
  for (size_t i = 0; i < COUNT(trips); i++) travel(&trips[i]);
}

static void test_a_hundred_megabytes(void **state) {
  (void)state;
  lua_State *from = new_state(), *to = new_state();
  make(from, "return ('0123456789'):rep(10 * 1000 * 1000)");
  Value *value = pack_all(from, NULL);
  lua_close(from);
  check(to, value,
        "local s = ...\n"
        "assert(#s == 100 * 1000 * 1000 and s:sub(-4) == '6789')");
  value_unref(value);
  lua_close(to);
}

static void test_functions(void **state) {
  (void)state;
  static const Trip trips[] = {
      {"return function(a, ...) return a + select('#', ...) end",
       "local f = ... assert(f(1, 2, 3) == 3)"},
      {"x = 'sender' return function() return x end",
       "x = 'receiver' local f = ... assert(f() == x)"},
      {"local function f() end return f, {f, [f] = 1}, function() end",
       "local f, t, g = ...\n"
       "assert(t[1] == f and t[f] == 1 and f ~= g)"},
      {"return function() local n = 0\n"
       "  return function() n = n + 1 return n end end",
       "local f = ... f = f() assert(f() == 1 and f() == 2)"},
      /* lines and names stay, for tracebacks */
      {"return load('\\n\\nlocal function inner() error(\"x\") end inner()',\n"
       "            '@config.lua')",
       "local f = ...\n"
       "local trace = select(2, xpcall(f, debug.traceback))\n"
       "assert(trace:find('config.lua:3: x', 1, true), trace)\n"
       "assert(trace:find(\"in local 'inner'\", 1, true), trace)"},
      /* without names, an upvalue that is the globals can only be _ENV */
      {"y = 1 return load(string.dump(function() return y end, true))",
       "y = 2 local f = ... assert(f() == 2)"},
      {"local _ENV = {z = 1} return function() return z end",
       "z = 2 local f = ... assert(f() == 2)"},
  };
  for (size_t i = 0; i < COUNT(trips); i++) travel(&trips[i]);
}

static void test_library_functions(void **state) {
  (void)state;
  static const Trip trips[] = {
      {"return print, string.format, {require, [os.time] = coroutine.wrap}",
       "local p, f, t = ...\n"
       "assert(p == print and f == string.format and t[1] == require)\n"
       "assert(t[os.time] == coroutine.wrap)"},
      {"string.alias, string.format = string.format return string.alias",
       "local f = ... assert(f == string.format)"},
  };
  for (size_t i = 0; i < COUNT(trips); i++) travel(&trips[i]);
}

static int unpack_protected(lua_State *L) {
  return value_unpack(L, lua_touserdata(L, 1));
}

static void test_library_function_that_is_gone(void **state) {
  (void)state;
  lua_State *from = new_state(), *to = new_state();
  make(from, "return os.execute");
  Value *value = pack_all(from, NULL);
  make(to, "os.execute = nil");
  lua_pushcfunction(to, unpack_protected);
  lua_pushlightuserdata(to, value);
  assert_int_equal(lua_pcall(to, 1, 0, 0), LUA_ERRRUN);
  assert_string_equal(lua_tostring(to, -1),
                      "cannot receive a C function: it was removed from this "
                      "state's standard library");
  value_unref(value);
  lua_close(from);
  lua_close(to);
}

/* ---- metatables that every state knows --------------------------------- */

static const char point_key = 'p';

static void open_points(lua_State *L) {
  must(L, luaL_dostring(L, "return {__index = function() return 'point' end}"));
  lua_pushlightuserdata(L, (void *)&point_key);
  lua_setfield(L, -2, "__sendable");
  lua_pushvalue(L, -1);
  lua_setglobal(L, "Point");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &point_key);
}

static void test_known_metatable(void **state) {
  (void)state;
  lua_State *from = new_state(), *to = new_state(), *plain = new_state();
  open_points(from);
  open_points(to);
  make(from, "local p = setmetatable({x = 1}, Point)\n"
             "p.p = p return p, {p, 2}");
  Value *value = pack_all(from, NULL);
  check(to, value,
        "local p, t = ...\n"
        "assert(getmetatable(p) == Point and p.x == 1 and p.y == 'point')\n"
        "assert(t[1] == p and p.p == p and getmetatable(t) == nil)");
  check(plain, value,
        "local p = ...\n"
        "assert(getmetatable(p) == nil and p.x == 1)");
  value_unref(value);
  make(from, "return setmetatable({}, {__sendable = Point.__sendable})");
  refused(from, 1, NULL, "cannot send a table with a metatable (argument 1)");
  lua_close(from);
  lua_close(to);
  lua_close(plain);
}

/* ---- refusals ---------------------------------------------------------- */

typedef struct Refusal {
  const char *make;
  const char *text;
} Refusal;

static void test_what_is_refused(void **state) {
  (void)state;
  static const Refusal refusals[] = {
      {"return coroutine.create(print)",
       "cannot send a coroutine (argument 1)"},
      {"return 1, {handlers = {print, coroutine.create(print)}}",
       "cannot send a coroutine (argument 2.handlers[2])"},
      {"return io.stdout", "cannot send a FILE* (argument 1)"},
      {"return setmetatable({}, {})",
       "cannot send a table with a metatable (argument 1)"},
      {"return {log = setmetatable({}, {__sendable = true})}",
       "cannot send a table with a metatable (argument 1.log)"},
      {"return nil, coroutine.wrap(print)",
       "cannot send a C function (argument 2): call it from a Lua function"},
      {"local count = 0\n"
       "return {reply = function() count = count + 1 end}",
       "cannot send a function with the upvalue 'count' (argument 1.reply): "
       "pass it as an argument or put it in a module"},
      {"local a, b = 1, 2 return function() return x, a, b end",
       "cannot send a function with the upvalue 'a' (argument 1): "
       "pass it as an argument or put it in a module"},
      {"local f = load(string.dump(function() return x end, true))\n"
       "debug.setupvalue(f, 1, 3) return f",
       "cannot send a function with the upvalue '(no name)' (argument 1): "
       "pass it as an argument or put it in a module"},
      {"return {[{}] = 1, [coroutine.create(print)] = 2}",
       "cannot send a coroutine as a key (argument 1)"},
      {"return {a = {[io.stdout] = 2}}",
       "cannot send a FILE* as a key (argument 1.a)"},
  };
  lua_State *L = new_state();
  for (size_t i = 0; i < COUNT(refusals); i++) {
    make(L, refusals[i].make);
    refused(L, 1, NULL, refusals[i].text);
  }
  lua_close(L);
}

static void test_what_is_refused_from_c(void **state) {
  (void)state;
  lua_State *L = new_state();
  lua_pushlightuserdata(L, L);
  refused(L, 1, NULL, "cannot send a light userdata (argument 1)");
  lua_settop(L, 0);
  lua_newuserdatauv(L, 1, 0);
  refused(L, 1, NULL, "cannot send a userdata (argument 1)");
  luaL_newmetatable(L, "engine");
  lua_setmetatable(L, 1);
  refused(L, 1, NULL, "cannot send an engine (argument 1)");
  make(L, "return print, 1"); /* a closure of print's C function is not print */
  lua_pushcclosure(L, lua_tocfunction(L, 1), 1);
  refused(L, 2, NULL,
          "cannot send a C function (argument 1): call it from a Lua function");
  lua_close(L);
}

/* Each chunk returns a table with one coroutine somewhere in it. */
static void test_places(void **state) {
  (void)state;
  static const Refusal refusals[] = {
      {"return {config = {list = {1, 2, C}}}", "1.config.list[3]"},
      {"return {['a b'] = C}", "1[\"a b\"]"},
      {"return {[''] = {['1st'] = C}}", "1[\"\"][\"1st\"]"},
      {"return {['say \"hi\"\\\\\\n\\0'] = C}",
       "1[\"say \\\"hi\\\"\\\\\\010\\000\"]"},
      {"return {['\xc3\xa9t\xc3\xa9'] = C}", "1[\"\xc3\xa9t\xc3\xa9\"]"},
      {"return {[1.5] = {[-7] = {[true] = {[false] = C}}}}",
       "1[1.5][-7][true][false]"},
      {"return {[{}] = C}", "1[table]"},
      {"return {[{x = C}] = 1}", "1[table].x"},
      {"return {[print] = {C}}", "1[function][1]"},
      {"return {[('k'):rep(100)] = C}",
       "1[\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...\"]"},
      /* a character is not cut in two */
      {"return {[('k'):rep(38) .. ('\xc3\xa9'):rep(9)] = C}",
       "1[\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\xc3\xa9...\"]"},
      /* the shortest of several */
      {"local t = {C} return {deep = {deeper = {t}}, t = t}", "1.t[1]"},
      {"local t = {C} for i = 1, 1000 do t = {down = t} end return t",
       "1....down.down.down.down.down.down.down.down.down.down.down.down.down"
       ".down.down.down.down.down.down.down.down.down.down.down.down.down.down"
       ".down.down.down[1]"},
  };
  lua_State *L = new_state();
  make(L, "C = coroutine.create(print)");
  for (size_t i = 0; i < COUNT(refusals); i++) {
    char text[VALUE_TEXT];
    make(L, refusals[i].make);
    snprintf(text, sizeof text, "cannot send a coroutine (argument %s)",
             refusals[i].text);
    refused(L, 1, NULL, text);
  }
  lua_close(L);
}

static void test_words_of_the_rules(void **state) {
  (void)state;
  lua_State *L = new_state();
  make(L, "return 1, {co = coroutine.create(print)}");
  refused(L, 1, &(ValueRules){.noun = "result", .number = 1},
          "cannot send a coroutine (result 2.co)");
  refused(L, 2, &(ValueRules){.noun = "argument", .number = 3},
          "cannot send a coroutine (argument 3.co)");
  refused(L, 2, &(ValueRules){.noun = "error"},
          "cannot send a coroutine (error.co)");
  lua_close(L);
}

/* ---- the hook ---------------------------------------------------------- */

static atomic_int references; /* held by Values */

static void drop(void *ptr) {
  assert_ptr_equal(ptr, &references);
  atomic_fetch_sub(&references, 1);
}

static void push_box(lua_State *L, void *ptr) {
  *(void **)lua_newuserdatauv(L, sizeof ptr, 0) = ptr;
}

/* A userdata goes across; what else is asked about shows in the answer. */
static bool hook(lua_State *L, int index, ValueRef *ref,
                 ValueRefusal *refusal) {
  switch (lua_type(L, index)) {
  case LUA_TUSERDATA:
    lua_pushliteral(L, "a hook may leave values");
    atomic_fetch_add(&references, 1);
    *ref = (ValueRef){.ptr = &references, .unref = drop, .push = push_box};
    return true;
  case LUA_TTHREAD: return luaL_error(L, "the hook's own error");
  case LUA_TLIGHTUSERDATA: lua_newtable(L); return lua_error(L);
  case LUA_TFUNCTION: refusal->what = "a generator"; return false;
  default:
    refusal->what = lua_pushfstring(L, "a %s", "task");
    refusal->remedy = lua_pushfstring(L, "send its %s", "result");
    return false;
  }
}

static const ValueRules hooked = {
    .noun = "argument", .number = 1, .hook = hook};

static void test_hook_takes(void **state) {
  (void)state;
  lua_State *from = new_state(), *to = new_state();
  make(from, "local t = {io.stdout, io.stdout, [io.stdout] = 1, x = 2}\n"
             "return {t}, io.stderr");
  Value *value = pack_all(from, &hooked);
  lua_close(from);
  assert_int_equal(references, 2);
  check(to, value,
        "local t, b = ...\n"
        "t = t[1]\n"
        "local a = t[1]\n"
        "assert(type(a) == 'userdata' and a ~= b and t.x == 2)\n"
        "assert(t[2] == a and t[a] == 1)");
  value_unref(value_ref(value));
  assert_int_equal(references, 2);
  value_unref(value);
  assert_int_equal(references, 0);
  lua_close(to);
}

static void test_hook_refuses(void **state) {
  (void)state;
  static const Refusal refusals[] = {
      {"return io.stdout, setmetatable({}, {})",
       "cannot send a task (argument 2): send its result"},
      {"return io.stdout, {{}, {[{}] = setmetatable({}, {})}}",
       "cannot send a task (argument 2[2][table]): send its result"},
      {"local n return function() n = 1 end",
       "cannot send a generator (argument 1)"},
      {"return {io.stdout, coroutine.create(print)}", "the hook's own error"},
  };
  lua_State *L = new_state();
  for (size_t i = 0; i < COUNT(refusals); i++) {
    make(L, refusals[i].make);
    refused(L, 1, &hooked, refusals[i].text);
    assert_int_equal(references, 0);
  }
  lua_settop(L, 0);
  lua_pushlightuserdata(L, L);
  refused(L, 1, &hooked, "cannot send a value (a table was raised)");
  lua_close(L);
}

/* ---- the rest ---------------------------------------------------------- */

static void test_sendable_functions(void **state) {
  (void)state;
  lua_State *L = new_state();
  const char *upvalue;
  make(L, "local n = 0\n"
          "return function() return x end, print, coroutine.wrap(print),\n"
          "  function() return x, n end");
  assert_true(value_function_is_sendable(L, 1, &upvalue));
  assert_null(upvalue);
  assert_true(value_function_is_sendable(L, 2, &upvalue));
  assert_false(value_function_is_sendable(L, 3, &upvalue));
  assert_null(upvalue);
  assert_false(value_function_is_sendable(L, -1, &upvalue));
  assert_string_equal(upvalue, "n");
  assert_int_equal(lua_gettop(L), 4);
  lua_close(L);
}

static void test_size(void **state) {
  (void)state;
  lua_State *L = new_state();
  make(L, "return ('x'):rep(100000)");
  Value *value = pack_all(L, NULL);
  assert_in_range(value_size(value), 100000, 100100); /* nothing to spare */
  value_unref(value);
  value_unref(NULL);
  lua_close(L);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scalars),
      cmocka_unit_test(test_tables),
      cmocka_unit_test(test_depth_and_width),
      cmocka_unit_test(test_a_hundred_megabytes),
      cmocka_unit_test(test_functions),
      cmocka_unit_test(test_library_functions),
      cmocka_unit_test(test_library_function_that_is_gone),
      cmocka_unit_test(test_known_metatable),
      cmocka_unit_test(test_what_is_refused),
      cmocka_unit_test(test_what_is_refused_from_c),
      cmocka_unit_test(test_places),
      cmocka_unit_test(test_words_of_the_rules),
      cmocka_unit_test(test_hook_takes),
      cmocka_unit_test(test_hook_refuses),
      cmocka_unit_test(test_sendable_functions),
      cmocka_unit_test(test_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
