/*
** freshline.c - a line of the terminal that begins where a line begins.
**
** One idea: standard output is buffered by lines, so what is in the buffer is a
** line that has begun and has no end yet. Where somebody has flushed that,
** nobody knows how it went on: there blanks find out. What a child process
** writes is not seen.
*/
#include "freshline.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

static bool has_flushed; /* a line that had begun; there is one terminal */

/* Stands for io.flush or a file's, which is its upvalue. */
static int f_flush(lua_State *L) {
  if (__fpending(stdout) > 0) has_flushed = true;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* stack: table; puts f_flush before the table's flush */
static void watch_flush_of(lua_State *L) {
  if (lua_getfield(L, -1, "flush") == LUA_TFUNCTION) {
    lua_pushcclosure(L, f_flush, 1);
    lua_setfield(L, -2, "flush");
    return;
  }
  lua_pop(L, 1);
}

int freshline_watch(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_IOLIBNAME) == LUA_TTABLE) watch_flush_of(L);
  if (luaL_getmetatable(L, LUA_FILEHANDLE) == LUA_TTABLE &&
      lua_getfield(L, -1, "__index") == LUA_TTABLE)
    watch_flush_of(L);
  return 0;
}

/* So many blanks as there are columns, and back to the first: where a line had
** begun, that is the next one's, else it is where it was. */
static void fill_line(void) {
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
    printf("%*s\r", (int)size.ws_col, "");
}

int freshline_begin(lua_State *L) {
  const char *term = getenv("TERM");
  (void)L;
  if (__fpending(stdout) > 0)
    putchar('\n');
  else if (has_flushed && term && strcmp(term, "dumb") != 0)
    fill_line();
  has_flushed = false;
  fflush(stdout);
  return 0;
}
