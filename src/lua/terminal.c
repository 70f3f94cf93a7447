/*
** terminal.c - whether somebody looks, and how wide the window is.
*/
#include <sys/ioctl.h>
#include <unistd.h>

#include "binding.h"

/* (1 or 2) -> columns of the terminal that the stream goes to; nil: none */
static int f_terminal(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  struct winsize size;
  if (!isatty(fd)) return 0;
  bool known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  lua_pushinteger(L, known ? size.ws_col : 80);
  return 1;
}

void terminal_open(lua_State *L, Binding *b) {
  static const luaL_Reg functions[] = {{"terminal", f_terminal}, {NULL, NULL}};
  set_functions(L, b, functions);
}
