/*
** repl.c - the prompt: read a line, run it, print what it returns.
**
** As lua(1): a line is an expression if `return LINE` compiles, else a
** statement, which goes on over more lines while the compiler wants more. It
** runs on the main thread, as a script does. Ctrl-C drops what has been typed.
*/
#include "repl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "host.h"
#include "lineedit.h"
#include "terminal.h"

/* Ctrl-C at any time but while a line runs; on a terminal only: the reader of
** a pipe dies of it. */
static volatile sig_atomic_t interrupted;

/* Beside Lua's own statuses, which are not negative. */
enum { NO_INPUT = -1, DROPPED = -2 };

static void on_sigint(int sig) {
  (void)sig;
  interrupted = 1;
}

static const LineEdit *choose_editor(void) {
#ifdef LLMPOOL_READLINE
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) return &lineedit_readline;
#endif
  return &lineedit_plain;
}

/* Pushes the prompt: whatever the global holds, as a string. */
static const char *push_prompt(lua_State *L, bool first) {
  if (lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2") == LUA_TNIL)
    lua_pushstring(L, first ? "> " : ">> ");
  else
    luaL_tolstring(L, -1, NULL);
  lua_remove(L, -2);
  return lua_tostring(L, -1);
}

static LineEditStatus read_line(const LineEdit *editor, const char *prompt,
                                const char **line, size_t *length) {
  LineEditStatus status;
  sigset_t sigint, before;
  sigemptyset(&sigint);
  /* it comes while feed waits: one between a look and a wait would be noticed
  ** at the next key only */
  if (editor != &lineedit_plain) sigaddset(&sigint, SIGINT);
  interrupted = 0;
  sigprocmask(SIG_BLOCK, &sigint, &before);
  editor->start(prompt);
  do {
    status = editor->feed(line, length);
  } while (status == LINEEDIT_MORE && !interrupted);
  editor->stop();
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (status == LINEEDIT_MORE) puts("");
  return status;
}

/* Pushes a line and returns LUA_OK, or pushes nothing. */
static int push_line(lua_State *L, const LineEdit *editor, bool first) {
  const char *line;
  size_t length;
  LineEditStatus status =
      read_line(editor, push_prompt(L, first), &line, &length);
  lua_pop(L, 1); /* prompt */
  if (status == LINEEDIT_EOF) return NO_INPUT;
  if (status == LINEEDIT_MORE) return DROPPED;
  if (first && line[0] == '=')
    lua_pushfstring(L, "return %s", line + 1);
  else
    lua_pushlstring(L, line, length);
  return LUA_OK;
}

static bool is_incomplete(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  const size_t mark_length = sizeof mark - 1;
  size_t length;
  if (status != LUA_ERRSYNTAX) return false;
  const char *message = lua_tolstring(L, -1, &length);
  return length >= mark_length &&
         strcmp(message + length - mark_length, mark) == 0;
}

/* Replaces the line on the stack by its chunk if it is an expression. */
static bool load_expression(lua_State *L, const LineEdit *editor) {
  const char *line = lua_tostring(L, -1);
  const char *code = lua_pushfstring(L, "return %s;", line);
  if (luaL_loadbuffer(L, code, strlen(code), "=stdin") != LUA_OK) {
    lua_pop(L, 2); // stack: line
    return false;
  }
  if (line[0] != '\0') editor->remember(line);
  lua_replace(L, -3);
  lua_pop(L, 1); // stack: chunk
  return true;
}

/* Replaces the line on the stack by its chunk, or by an error; reads on while
** the statement is not complete. */
static int load_statement(lua_State *L, const LineEdit *editor) {
  for (;;) {
    size_t length;
    const char *line = lua_tolstring(L, -1, &length);
    int status = luaL_loadbuffer(L, line, length, "=stdin");
    // stack: line chunk-or-error
    if (is_incomplete(L, status)) {
      int more = push_line(L, editor, false);
      if (more == DROPPED) return DROPPED;
      if (more == LUA_OK) {
        lua_remove(L, -2);
        lua_pushliteral(L, "\n");
        lua_insert(L, -2);
        lua_concat(L, 3); // stack: longer line
        continue;
      }
    }
    editor->remember(line);
    lua_remove(L, -2);
    return status;
  }
}

static int load_line(lua_State *L, const LineEdit *editor) {
  int status = push_line(L, editor, true);
  if (status != LUA_OK || load_expression(L, editor)) return status;
  return load_statement(L, editor);
}

/* Prints what is above `base`, through the global `print`. */
static void print_results(lua_State *L, int base) {
  const int n = lua_gettop(L) - base;
  if (n == 0) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, base + 1);
  if (lua_pcall(L, n, 0, 0) != LUA_OK)
    host_message(
        lua_pushfstring(L, "error calling 'print' (%s)", lua_tostring(L, -1)));
}

void repl_banner(bool is_lua) {
  if (!is_lua)
    puts(terminal_is_there() ? "llmpool " LLMPOOL_VERSION "  (help() for help)"
                             : "llmpool " LLMPOOL_VERSION);
  puts(LUA_COPYRIGHT);
  fflush(stdout);
}

/* The line has been read, but Ctrl-C came before it could run. */
static int run_line(lua_State *L) {
  return interrupted ? DROPPED : host_call(L, 0, LUA_MULTRET);
}

static void run_lines(lua_State *L, const LineEdit *editor) {
  const int base = lua_gettop(L);
  int status;
  while ((status = load_line(L, editor)) != NO_INPUT) {
    if (status == LUA_OK) status = run_line(L);
    if (status == LUA_OK)
      print_results(L, base);
    else if (status != DROPPED)
      host_report(L, status);
    lua_settop(L, base);
  }
}

void repl_run(lua_State *L) {
  const char *name = host_rename(NULL); /* no name in front of errors here */
  const bool catches = isatty(STDIN_FILENO);
  struct sigaction catch = {.sa_handler = on_sigint}, before;
  sigemptyset(&catch.sa_mask);
  if (catches) sigaction(SIGINT, &catch, &before);
  run_lines(L, choose_editor());
  if (catches) sigaction(SIGINT, &before, NULL);
  puts("");
  fflush(stdout);
  host_rename(name);
}
