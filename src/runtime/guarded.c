/*
** guarded.c - the functions of the standard library that a bound could not
** stop: pattern matching, table.move, xpcall's handlers, debug.sethook.
**
** One idea: outside a bound they are the standard library's own, called at
** once; inside one, what a call may cost is charged to the bound. The tables
** are patched in place, before user code, as coroutine's is. The bounded
** functions say what the library's say, to the letter.
*/
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "bound.h"
#include "pattern.h"

#define STEPS \
  32 /* of a match, or moved entries, that count as an instruction */
#define SPECIALS "^$*+?.([%-"

static Bound *bound_of(lua_State *L) {
  Worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  return worker->bound;
}

/* The library's own, the second upvalue; it looks at arguments only. */
static int call_original(lua_State *L) {
  return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

/* ---- a match ----------------------------------------------------------- */

typedef struct Match {
  Pattern pattern;
  const char *from; /* of the pattern, behind its anchor */
  bool is_anchored;
  int64_t owed; /* steps that were not charged yet */
} Match;

/* The subject at 1 and the pattern at 2, of which `^` is looked for. */
static void begin(lua_State *L, Match *m, bool may_anchor) {
  size_t size, length;
  const char *subject = luaL_checklstring(L, 1, &size);
  const char *pattern = luaL_checklstring(L, 2, &length);
  m->owed = 0;
  m->is_anchored = may_anchor && *pattern == '^';
  m->from = pattern + m->is_anchored;
  pattern_init(&m->pattern, subject, size, pattern + length,
               bound_left(bound_of(L)) * STEPS);
}

/* Charges what was taken; raises what is wrong. */
static void settle(lua_State *L, Match *m, int64_t before) {
  m->owed += before - m->pattern.steps;
  bool has_given_up = m->pattern.steps < 0;
  int64_t n = m->owed / STEPS;
  m->owed -= n * STEPS;
  if (n > 0 || has_given_up)
    bound_charge(L, has_given_up ? bound_left(bound_of(L)) + 1 : n);
  if (m->pattern.fault == NULL) return;
  if (m->pattern.index >= 0)
    luaL_error(L, "%s %%%d", m->pattern.fault, m->pattern.index);
  luaL_error(L, "%s", m->pattern.fault);
}

/* The end of a match that begins at s. */
static const char *match_at(lua_State *L, Match *m, const char *s) {
  int64_t before = m->pattern.steps;
  m->pattern.captures = m->pattern.depth = 0;
  const char *end = pattern_match(&m->pattern, s, m->from);
  settle(L, m, before);
  return end;
}

/* Sets *s to where the first match from *s on begins. */
static const char *match_from(lua_State *L, Match *m, const char **s) {
  int64_t before = m->pattern.steps;
  const char *end = NULL;
  for (;; ++*s) {
    m->pattern.captures = m->pattern.depth = 0;
    end = pattern_match(&m->pattern, *s, m->from);
    if (end != NULL || m->is_anchored || *s >= m->pattern.subject_end ||
        pattern_has_ended(&m->pattern))
      break;
  }
  settle(L, m, before);
  return end;
}

/* ---- captures ---------------------------------------------------------- */

/* The i-th, from 0; without captures the 0th is the whole match. */
static void push_capture(lua_State *L, const Match *m, int i, const char *s,
                         const char *end) {
  const Pattern *p = &m->pattern;
  if (i >= p->captures) {
    if (i != 0) luaL_error(L, "invalid capture index %%%d", i + 1);
    lua_pushlstring(L, s, (size_t)(end - s));
    return;
  }
  const PatternCapture *capture = &p->capture[i];
  if (capture->length == CAPTURE_OPEN) luaL_error(L, "unfinished capture");
  if (capture->length == CAPTURE_POSITION)
    lua_pushinteger(L, capture->start - p->subject + 1);
  else
    lua_pushlstring(L, capture->start, (size_t)capture->length);
}

/* All of them, or `whole` of the match if there are none. */
static int push_captures(lua_State *L, const Match *m, bool whole,
                         const char *s, const char *end) {
  int n = m->pattern.captures == 0 && whole ? 1 : m->pattern.captures;
  luaL_checkstack(L, n, "too many captures");
  for (int i = 0; i < n; i++) push_capture(L, m, i, s, end);
  return n;
}

/* ---- find, match, gmatch ----------------------------------------------- */

/* Where a search begins, from 0; more than `size`: nowhere. */
static size_t start_of(lua_State *L, int arg, size_t size) {
  lua_Integer init = luaL_optinteger(L, arg, 1);
  if (init > 0) return (size_t)init - 1;
  if (init == 0 || init < -(lua_Integer)size) return 0;
  return size - (size_t)-init;
}

static int search(lua_State *L, bool is_find) {
  Match m;
  begin(L, &m, true);
  size_t size = (size_t)(m.pattern.subject_end - m.pattern.subject);
  size_t start = start_of(L, 3, size);
  if (start > size) return luaL_pushfail(L), 1;
  const char *s = m.pattern.subject + start;
  const char *end = match_from(L, &m, &s);
  if (end == NULL) return luaL_pushfail(L), 1;
  if (!is_find) return push_captures(L, &m, true, s, end);
  lua_pushinteger(L, s - m.pattern.subject + 1);
  lua_pushinteger(L, end - m.pattern.subject);
  return 2 + push_captures(L, &m, false, s, end);
}

/* Where nothing is special the library's own is quick enough. */
static int f_find(lua_State *L) {
  if (bound_of(L) == NULL || lua_toboolean(L, 4) ||
      lua_type(L, 2) != LUA_TSTRING)
    return call_original(L);
  size_t length;
  const char *pattern = lua_tolstring(L, 2, &length);
  size_t at = 0;
  while (at < length && (pattern[at] == '\0' || !strchr(SPECIALS, pattern[at])))
    at++;
  return at == length ? call_original(L) : search(L, true);
}

static int f_match(lua_State *L) {
  return bound_of(L) ? search(L, false) : call_original(L);
}

/* upvalues as every function here, then: subject, pattern, where it goes on,
** where the last match ended (from 0; -1: none yet) */
enum { SUBJECT = 3, PATTERN, NEXT, LAST };

static int next_match(lua_State *L) {
  Match m;
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(SUBJECT));
  lua_pushvalue(L, lua_upvalueindex(PATTERN));
  begin(L, &m, false);
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(LAST));
  const char *s = m.pattern.subject + lua_tointeger(L, lua_upvalueindex(NEXT));
  while (s <= m.pattern.subject_end) {
    const char *end = match_from(L, &m, &s);
    if (end == NULL) return 0;
    if (end - m.pattern.subject == last) { /* an empty one where it ended */
      s++;
      continue;
    }
    lua_pushinteger(L, end - m.pattern.subject);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(NEXT));
    lua_replace(L, lua_upvalueindex(LAST));
    return push_captures(L, &m, true, s, end);
  }
  return 0;
}

static int f_gmatch(lua_State *L) {
  if (bound_of(L) == NULL) return call_original(L);
  size_t size;
  luaL_checklstring(L, 1, &size);
  luaL_checkstring(L, 2);
  size_t start = start_of(L, 3, size);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, (lua_Integer)(start > size ? size + 1 : start));
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, LAST);
  return 1;
}

/* ---- gsub -------------------------------------------------------------- */

enum { REPLACEMENT = 3 };

static void add_escape(lua_State *L, const Match *m, luaL_Buffer *b, char c,
                       const char *s, const char *end) {
  if (c == '%') {
    luaL_addchar(b, '%');
  } else if (c == '0') {
    luaL_addlstring(b, s, (size_t)(end - s));
  } else if (c >= '1' && c <= '9') {
    int i = c - '1';
    if (i > 0 && i >= m->pattern.captures)
      luaL_error(L, "invalid capture index %%%d", i + 1);
    push_capture(L, m, i, s, end);
    luaL_tolstring(L, -1, NULL); /* a position is a number */
    lua_remove(L, -2);
    luaL_addvalue(b);
  } else {
    luaL_error(L, "invalid use of '%%' in replacement string");
  }
}

static void add_text(lua_State *L, const Match *m, luaL_Buffer *b,
                     const char *s, const char *end) {
  size_t n;
  const char *text = lua_tolstring(L, REPLACEMENT, &n);
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '%')
      add_escape(L, m, b, text[++i], s, end);
    else
      luaL_addchar(b, text[i]);
  }
}

/* What a function or a table says; false and nil: as it was, and false. */
static bool add_value(lua_State *L, const Match *m, luaL_Buffer *b,
                      const char *s, const char *end) {
  if (lua_type(L, REPLACEMENT) == LUA_TFUNCTION) {
    lua_pushvalue(L, REPLACEMENT);
    lua_call(L, push_captures(L, m, true, s, end), 1);
  } else {
    push_capture(L, m, 0, s, end);
    lua_gettable(L, REPLACEMENT);
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(b, s, (size_t)(end - s));
    return false;
  }
  if (!lua_isstring(L, -1))
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  luaL_addvalue(b);
  return true;
}

/* Whether something has come in the place of the match. */
static bool add_replacement(lua_State *L, const Match *m, luaL_Buffer *b,
                            const char *s, const char *end) {
  if (!lua_isstring(L, REPLACEMENT)) return add_value(L, m, b, s, end);
  add_text(L, m, b, s, end);
  return true;
}

static int f_gsub(lua_State *L) {
  if (bound_of(L) == NULL) return call_original(L);
  Match m;
  luaL_Buffer b;
  begin(L, &m, true);
  int type = lua_type(L, REPLACEMENT);
  luaL_argexpected(L,
                   type == LUA_TNUMBER || type == LUA_TSTRING ||
                       type == LUA_TFUNCTION || type == LUA_TTABLE,
                   REPLACEMENT, "string/function/table");
  const char *s = m.pattern.subject, *last = NULL;
  lua_Integer most = luaL_optinteger(L, 4, m.pattern.subject_end - s + 1);
  lua_Integer n = 0;
  bool is_changed = false;
  luaL_buffinit(L, &b);
  while (n < most) {
    const char *end = match_at(L, &m, s);
    if (end != NULL && end != last) {
      n++;
      is_changed |= add_replacement(L, &m, &b, s, end);
      s = last = end;
    } else if (s < m.pattern.subject_end) {
      luaL_addchar(&b, *s++);
    } else {
      break;
    }
    if (m.is_anchored) break;
  }
  luaL_addlstring(&b, s, (size_t)(m.pattern.subject_end - s));
  luaL_pushresult(&b);
  if (!is_changed) lua_pushvalue(L, 1); /* it is the same string then */
  lua_pushinteger(L, n);
  return 2;
}

/* ---- others ------------------------------------------------------------ */

static int f_move(lua_State *L) {
  if (bound_of(L) != NULL) {
    lua_Integer from = lua_tointeger(L, 2), to = lua_tointeger(L, 3);
    if (to > from)
      bound_charge(L, (int64_t)((uint64_t)to - (uint64_t)from) / STEPS);
  }
  return call_original(L);
}

/* The handler is the upvalue. Hooks are off in one that a hook has called: it
** might run for ever, so that one is passed over. */
static int handle(lua_State *L) {
  const Bound *bound = worker_here()->bound;
  if (bound != NULL && bound->instructions <= 0) return 1;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

static int f_xpcall(lua_State *L) {
  if (bound_of(L) != NULL && lua_type(L, 2) == LUA_TFUNCTION) {
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, handle, 1);
    lua_replace(L, 2);
  }
  return call_original(L);
}

static int f_sethook(lua_State *L) {
  const Bound *bound = bound_of(L);
  if (bound != NULL)
    return luaL_error(L, "cannot set a hook in %s", bound->what);
  return call_original(L);
}

/* ---- opening ----------------------------------------------------------- */

static void patch(lua_State *L, Worker *worker, const char *library,
                  const luaL_Reg *functions) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, library) == LUA_TTABLE) {
    for (const luaL_Reg *f = functions; f->name; f++) {
      lua_pushlightuserdata(L, worker);
      if (!lua_iscfunction(L, (lua_getfield(L, -2, f->name), -1))) {
        lua_pop(L, 2);
        continue;
      }
      lua_pushcclosure(L, f->func, 2);
      lua_setfield(L, -2, f->name);
    }
  }
  lua_pop(L, 2);
}

void guarded_open(lua_State *L, Worker *worker) {
  static const luaL_Reg strings[] = {{"find", f_find},
                                     {"match", f_match},
                                     {"gmatch", f_gmatch},
                                     {"gsub", f_gsub},
                                     {NULL, NULL}};
  static const luaL_Reg tables[] = {{"move", f_move}, {NULL, NULL}};
  static const luaL_Reg base[] = {{"xpcall", f_xpcall}, {NULL, NULL}};
  static const luaL_Reg debugs[] = {{"sethook", f_sethook}, {NULL, NULL}};
  patch(L, worker, LUA_STRLIBNAME, strings);
  patch(L, worker, LUA_TABLIBNAME, tables);
  patch(L, worker, LUA_GNAME, base);
  patch(L, worker, LUA_DBLIBNAME, debugs);
}
