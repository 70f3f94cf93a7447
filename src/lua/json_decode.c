/*
** json_decode.c - JSON text becomes Lua values, in one pass and without a tree.
**
** One idea: the parts of an array or object wait on Lua's stack until some are
** together, so that its table is made once and in the right size; a string
** without escapes goes from the text straight into Lua. The grammar is RFC
** 8259's, strictly: UTF-8 is checked, nothing may follow, of equal keys the
** last wins. Integers that a lua_Integer holds are integers, others floats.
*/
#include "json.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "../runtime/errors.h"

enum { PAIRS = 16, ITEMS = 32 }; /* that wait on the stack */

typedef struct Parser {
  lua_State *L;
  const Json *json;
  const char *start, *at, *end;
  int depth; /* how much deeper it may get */
  int max_depth;
} Parser;

/* ---- errors ------------------------------------------------------------ */

/* Raises: what is wrong at `where`, with its line, column and position. */
static int l_fail(Parser *p, const char *where, const char *what) {
  lua_State *L = p->L;
  lua_Integer line = 1;
  const char *begin = p->start;
  for (const char *c = p->start; c < where; c++) {
    if (*c != '\n') continue;
    line++;
    begin = c + 1;
  }
  lua_Integer column = where - begin + 1, position = where - p->start + 1;
  push_error(L, "malformed", "malformed JSON at line %d, column %d: %s",
             (int)line, (int)column, what);
  lua_pushinteger(L, line);
  lua_setfield(L, -2, "line");
  lua_pushinteger(L, column);
  lua_setfield(L, -2, "column");
  lua_pushinteger(L, position);
  lua_setfield(L, -2, "position");
  return lua_error(L);
}

/* The same for what stands there instead of what was expected. */
static int l_unexpected(Parser *p, const char *expected) {
  lua_State *L = p->L;
  if (p->at >= p->end)
    return l_fail(p, p->at,
                  lua_pushfstring(L, "expected %s, got the end", expected));
  unsigned char c = (unsigned char)*p->at;
  if (c < 0x20 || c >= 0x7f)
    return l_fail(
        p, p->at,
        lua_pushfstring(L, "expected %s, got the byte %d", expected, (int)c));
  return l_fail(p, p->at,
                lua_pushfstring(L, "expected %s, got '%c'", expected, (int)c));
}

static void skip_space(Parser *p) {
  while (p->at < p->end &&
         (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
    p->at++;
}

/* ---- strings ----------------------------------------------------------- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The four digits at `c`, or -1. */
static int hex_unit(const char *c, const char *end) {
  int unit = 0;
  if (end - c < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(c[i]);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

static char *put_utf8(char *out, uint32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3f));
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  }
  return out;
}

/* The code point of the \u at `*c`, which is moved behind it. */
static uint32_t l_code_point(Parser *p, const char **c, const char *end) {
  const char *escape = *c;
  int unit = hex_unit(escape + 2, end);
  if (unit < 0) l_fail(p, escape, "\\u needs four hexadecimal digits");
  *c += 6;
  if (unit < 0xd800 || unit > 0xdfff) return (uint32_t)unit;
  int low = -1;
  if (unit < 0xdc00 && end - *c >= 6 && (*c)[0] == '\\' && (*c)[1] == 'u')
    low = hex_unit(*c + 2, end);
  if (low < 0xdc00 || low > 0xdfff)
    l_fail(p, escape, "half of a surrogate pair without the other half");
  *c += 6;
  return 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

/* Decodes from..end, which has escapes, into `out`; returns its end. */
static char *l_unescape(Parser *p, const char *from, const char *end,
                        char *out) {
  static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  while (from < end) {
    const char *next = memchr(from, '\\', (size_t)(end - from));
    size_t length = (size_t)((next ? next : end) - from);
    memcpy(out, from, length);
    out += length;
    if (next == NULL) break;
    from = next;
    const char *found = from[1] ? strchr(plain, from[1]) : NULL;
    if (from[1] == 'u') {
      out = put_utf8(out, l_code_point(p, &from, end));
    } else if (found) {
      *out++ = meant[found - plain];
      from += 2;
    } else {
      l_fail(p, from, "an escape that JSON does not have");
    }
  }
  return out;
}

/* Finds the closing quote; checks what is not ASCII on the way. */
static const char *l_string_end(Parser *p, bool *escaped) {
  const char *c = p->at + 1;
  for (;;) {
    for (int plain = 8; plain == 8 && p->end - c >= 8; c += plain)
      plain = json_plain_count(c);
    if (c >= p->end) l_fail(p, p->at, "a string without its closing quote");
    unsigned char byte = (unsigned char)*c;
    if (byte == '"') return c;
    if (byte == '\\') {
      *escaped = true;
      c += 2;
    } else if (byte < 0x20) {
      l_fail(p, c, "a control character in a string; JSON escapes it");
    } else if (byte < 0x80) {
      c++;
    } else {
      int length = json_sequence_length(c, p->end);
      if (length == 0) l_fail(p, c, "bytes that are no UTF-8 in a string");
      c += length;
    }
  }
}

static void l_string(Parser *p) {
  bool escaped = false;
  const char *from = p->at + 1;
  const char *end = l_string_end(p, &escaped);
  if (escaped) {
    luaL_Buffer buffer; /* an escape is never shorter than what it means */
    char *out = luaL_buffinitsize(p->L, &buffer, (size_t)(end - from));
    char *last = l_unescape(p, from, end, out);
    luaL_pushresultsize(&buffer, (size_t)(last - out));
  } else {
    lua_pushlstring(p->L, from, (size_t)(end - from));
  }
  p->at = end + 1;
}

/* ---- numbers ----------------------------------------------------------- */

typedef struct Number {
  uint64_t digits; /* of all of it, without the point; if exact */
  int count;       /* of significant digits */
  int exponent;    /* of ten */
  bool negative, integral;
} Number;

static bool is_digit(const Parser *p) {
  return p->at < p->end && *p->at >= '0' && *p->at <= '9';
}

static int read_digits(Parser *p, Number *n) {
  int count = 0;
  for (; is_digit(p); p->at++, count++) {
    if (n->count > 0 || *p->at != '0') n->count++;
    if (n->count < 19) n->digits = n->digits * 10 + (uint64_t)(*p->at - '0');
  }
  return count;
}

static void l_read_exponent(Parser *p, Number *n) {
  bool negative = false;
  int value = 0;
  p->at++;
  if (p->at < p->end && (*p->at == '+' || *p->at == '-'))
    negative = *p->at++ == '-';
  if (!is_digit(p)) l_unexpected(p, "a digit in the exponent");
  for (; is_digit(p); p->at++)
    if (value < 100000) value = value * 10 + (*p->at - '0');
  n->exponent += negative ? -value : value;
  n->integral = false;
}

static void l_read_number(Parser *p, Number *n) {
  n->integral = true;
  if (*p->at == '-') n->negative = *p->at++ == '-';
  if (!is_digit(p)) l_unexpected(p, "a digit");
  if (*p->at == '0') {
    p->at++;
    if (is_digit(p)) l_fail(p, p->at - 1, "a number with a leading zero");
  } else {
    read_digits(p, n);
  }
  if (p->at < p->end && *p->at == '.') {
    p->at++;
    int count = read_digits(p, n);
    if (count == 0) l_unexpected(p, "a digit after the point");
    n->exponent = -count;
    n->integral = false;
  }
  if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) l_read_exponent(p, n);
}

/* Whether digits * 10^exponent is exact in one operation: both are doubles. */
static bool is_exact(const Number *n) {
  return n->digits <= UINT64_C(1) << 53 && n->exponent >= -22 &&
         n->exponent <= 22 && n->count < 19;
}

static double exact_value(const Number *n) {
  static const double powers[] = {
      1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  double value = (double)n->digits;
  if (n->exponent < 0)
    value /= powers[-n->exponent];
  else
    value *= powers[n->exponent];
  return n->negative ? -value : value;
}

/* Lua reads it: an integer too large for one becomes a float. */
static void l_push_any_number(Parser *p, const char *from) {
  lua_State *L = p->L;
  lua_pushlstring(L, from, (size_t)(p->at - from));
  if (lua_stringtonumber(L, lua_tostring(L, -1)) == 0)
    l_fail(p, from, "a number that Lua cannot read");
  if (isinf(lua_tonumber(L, -1))) l_fail(p, from, "a number that is too large");
  lua_remove(L, -2);
}

static void l_number(Parser *p) {
  Number n = {0, 0, 0, false, false};
  const char *from = p->at;
  l_read_number(p, &n);
  if (n.integral && n.count < 19 && (n.digits || !n.negative)) {
    int64_t value = (int64_t)n.digits;
    lua_pushinteger(p->L, n.negative ? -value : value);
  } else if (is_exact(&n)) {
    lua_pushnumber(p->L, exact_value(&n)); /* -0 too: it has no integer */
  } else {
    l_push_any_number(p, from);
  }
}

/* ---- values ------------------------------------------------------------ */

static void l_value(Parser *p);

static void l_enter(Parser *p) {
  if (p->depth-- == 0)
    l_fail(p, p->at,
           lua_pushfstring(p->L, "nested deeper than %d; raise max_depth",
                           p->max_depth));
  luaL_checkstack(p->L, 2 * PAIRS + LUA_MINSTACK, "JSON is nested too deep");
}

/* Moves the `count` items on the top into the table at `table`, which is made
** if it is not there; `done` items are in it already. */
static void store_items(lua_State *L, int table, int done, int count,
                        int room) {
  if (done == 0) {
    lua_createtable(L, room, 0);
    lua_replace(L, table);
  }
  for (int i = count; i > 0; i--) lua_rawseti(L, table, done + i);
}

static void l_array(Parser *p) {
  lua_State *L = p->L;
  int done = 0, count = 0;
  l_enter(p);
  p->at++;
  lua_pushnil(L);
  int table = lua_gettop(L);
  skip_space(p);
  bool more = p->at >= p->end || *p->at != ']';
  while (more) {
    l_value(p);
    if (++count == ITEMS) {
      store_items(L, table, done, count, 2 * ITEMS);
      done += count;
      count = 0;
    }
    skip_space(p);
    more = p->at < p->end && *p->at == ',';
    if (more) p->at++;
  }
  if (p->at >= p->end || *p->at != ']') l_unexpected(p, "',' or ']'");
  p->at++;
  store_items(L, table, done, count, count);
  lua_pushvalue(L, lua_upvalueindex(JSON_ARRAY));
  lua_setmetatable(L, table);
  p->depth++;
}

/* The same for pairs. In their order: of equal keys the last wins. */
static void store_pairs(lua_State *L, int table, bool first, int count,
                        int room) {
  if (first) {
    lua_createtable(L, 0, room);
    lua_replace(L, table);
  }
  int base = lua_gettop(L) - 2 * count;
  for (int i = 0; i < count; i++) {
    lua_pushvalue(L, base + 2 * i + 1);
    lua_pushvalue(L, base + 2 * i + 2);
    lua_rawset(L, table);
  }
  lua_settop(L, base);
}

static void l_pair(Parser *p) {
  skip_space(p);
  if (p->at >= p->end || *p->at != '"') l_unexpected(p, "a key in quotes");
  l_string(p);
  skip_space(p);
  if (p->at >= p->end || *p->at != ':') l_unexpected(p, "':' after the key");
  p->at++;
  l_value(p);
  skip_space(p);
}

static void l_object(Parser *p) {
  lua_State *L = p->L;
  bool first = true;
  int count = 0;
  l_enter(p);
  p->at++;
  lua_pushnil(L);
  int table = lua_gettop(L);
  skip_space(p);
  bool more = p->at >= p->end || *p->at != '}';
  while (more) {
    l_pair(p);
    if (++count == PAIRS) {
      store_pairs(L, table, first, count, 2 * PAIRS);
      first = false;
      count = 0;
    }
    more = p->at < p->end && *p->at == ',';
    if (more) p->at++;
  }
  if (p->at >= p->end || *p->at != '}') l_unexpected(p, "',' or '}'");
  p->at++;
  store_pairs(L, table, first, count, count);
  p->depth++;
}

static bool take_word(Parser *p, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length) != 0)
    return false;
  p->at += length;
  return true;
}

static void l_word(Parser *p) {
  if (take_word(p, "true"))
    lua_pushboolean(p->L, 1);
  else if (take_word(p, "false"))
    lua_pushboolean(p->L, 0);
  else if (take_word(p, "null"))
    lua_pushvalue(p->L, lua_upvalueindex(JSON_NULL));
  else
    l_unexpected(p, "a value");
}

static void l_value(Parser *p) {
  skip_space(p);
  if (p->at >= p->end) l_unexpected(p, "a value");
  switch (*p->at) {
  case '"': l_string(p); break;
  case '{': l_object(p); break;
  case '[': l_array(p); break;
  case '-': l_number(p); break;
  default:
    if (is_digit(p))
      l_number(p);
    else
      l_word(p);
  }
}

void json_decode(lua_State *L, const char *text, size_t length, int max_depth) {
  Parser p = {L,
              lua_touserdata(L, lua_upvalueindex(JSON_STATE)),
              text,
              text,
              text + length,
              max_depth,
              max_depth};
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) p.at += 3;
  l_value(&p);
  skip_space(&p);
  if (p.at < p.end) l_unexpected(&p, "the end");
}
