/*
** test_value_random.c - random nested values, with cycles and shared parts, go
** from one state to another and back: everything must arrive, each time.
**
** The two states do not compare values but texts: `canon` writes down all that
** matters about the values of its own state. A failure names its seed.
*/
#include "value_support.h"

/* random_values(seed) makes them; canon(...) writes down everything that must
** arrive, tables in order of meeting, with their keys sorted. */
static const char random_values[] =
    "local floats = {0.0, -0.0, 1.0, 0.1, -1e300, 5e-324, 1/0, -1/0, 0/0}\n"
    "local ints = {0, 1, -1, 255, 1 << 31, math.mininteger, math.maxinteger}\n"
    "local R = math.random\n"
    "local function text()\n"
    "  local s = {}\n"
    "  for i = 1, R(0, R(4) == 1 and 300 or 5) do\n"
    "    s[i] = string.char(R(0, 255))\n"
    "  end\n"
    "  return table.concat(s)\n"
    "end\n"
    "local functions = {\n"
    "  function() return 1 end, function(...) return ... end,\n"
    "  function(x) return tostring(x) end, print, math.floor}\n"
    "local value\n"
    "local makers = {\n"
    "  function() return R(2) == 1 end,\n"
    "  function() return ints[R(#ints)] end,\n"
    "  function() return R(-1000, 1000) end,\n"
    "  function() return floats[R(#floats)] end,\n"
    "  function() return R() end,\n"
    "  text,\n"
    "  function() return functions[R(#functions)] end,\n"
    "  function(old) return old[R(#old)] end}\n"
    "local function key()\n"
    "  local k\n"
    "  repeat k = makers[R(6)]() until k == k\n"
    "  return k\n"
    "end\n"
    "local function tbl(old, depth)\n"
    "  local t = {}\n"
    "  old[#old + 1] = t\n"
    "  for i = 1, R(0, 6) do t[i] = value(old, depth - 1) end\n"
    "  for _ = 1, R(0, 6) do t[key()] = value(old, depth - 1) end\n"
    "  return t\n"
    "end\n"
    "function value(old, depth)\n"
    "  if depth > 0 and R(3) == 1 then return tbl(old, depth) end\n"
    "  return makers[R(#makers)](old)\n"
    "end\n"
    "function random_values(seed)\n"
    "  math.randomseed(seed)\n"
    "  local list, old = {}, {}\n"
    "  for i = 1, R(0, 5) do list[i] = value(old, R(0, 6)) end\n"
    "  return table.unpack(list, 1, R(0, 6))\n"
    "end\n"
    "local library = {[print] = 'print', [math.floor] = 'floor'}\n"
    "local function atom(v)\n"
    "  if math.type(v) == 'float' then return ('%a'):format(v) end\n"
    "  if type(v) == 'string' then return ('%q'):format(v) end\n"
    "  if library[v] then return library[v] end\n"
    "  return tostring(v)\n"
    "end\n"
    "function canon(...)\n"
    "  local seen, n, out, queue = {}, 0, {}, {}\n"
    "  local function put(v)\n"
    "    local kind = type(v)\n"
    "    if kind == 'table' or kind == 'function' and not library[v] then\n"
    "      if not seen[v] then\n"
    "        n = n + 1 seen[v] = n\n"
    "        if kind == 'table' then queue[#queue + 1] = v\n"
    "        else out[#out + 1] = string.dump(v) end\n"
    "      end\n"
    "      out[#out + 1] = kind .. seen[v]\n"
    "    else out[#out + 1] = atom(v) end\n"
    "  end\n"
    "  for i = 1, select('#', ...) do put((select(i, ...))) end\n"
    "  local done = 0\n"
    "  while done < #queue do\n"
    "    done = done + 1\n"
    "    local t, keys, byname = queue[done], {}, {}\n"
    "    for k in pairs(t) do\n"
    "      local name = type(k) .. atom(k)\n"
    "      keys[#keys + 1] = name byname[name] = k\n"
    "    end\n"
    "    table.sort(keys)\n"
    "    out[#out + 1] = '{'\n"
    "    for _, name in ipairs(keys) do\n"
    "      out[#out + 1] = name put(t[byname[name]])\n"
    "    end\n"
    "    out[#out + 1] = '}'\n"
    "  end\n"
    "  return table.concat(out, ' ')\n"
    "end\n";

/* Replaces the values on L's stack by their canonical text. */
static const char *canon(lua_State *L, size_t *len) {
  lua_getglobal(L, "canon");
  lua_insert(L, 1);
  must(L, lua_pcall(L, lua_gettop(L) - 1, 1, 0));
  return lua_tolstring(L, -1, len);
}

static void same_values(lua_State *a, lua_State *b, int seed) {
  size_t len_a, len_b;
  const char *text_a = canon(a, &len_a), *text_b = canon(b, &len_b);
  if (len_a != len_b || memcmp(text_a, text_b, len_a) != 0)
    fail_msg("seed %d:\n%s\n%s", seed, text_a, text_b);
}

static void random_trip(lua_State *from, lua_State *to, int seed) {
  lua_settop(from, 0);
  lua_settop(to, 0);
  lua_getglobal(from, "random_values");
  lua_pushinteger(from, seed);
  must(from, lua_pcall(from, 1, LUA_MULTRET, 0));
  int n = lua_gettop(from);
  Value *there = pack_all(from, NULL);
  assert_int_equal(value_unpack(to, there), n);
  Value *back = pack_all(to, NULL); /* what arrived can be sent on */
  same_values(from, to, seed);
  lua_settop(from, 1);
  value_unpack(to, back);
  lua_remove(to, 1);
  const char *text = lua_tostring(from, 1);
  size_t len;
  assert_string_equal(canon(to, &len), text);
  assert_int_equal(len, lua_rawlen(from, 1));
  value_unref(there);
  value_unref(back);
}

static void test_random_values(void **state) {
  (void)state;
  lua_State *from = new_state(), *to = new_state();
  make(from, random_values);
  make(to, random_values);
  for (int seed = 1; seed <= 400; seed++) random_trip(from, to, seed);
  lua_close(from);
  lua_close(to);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
