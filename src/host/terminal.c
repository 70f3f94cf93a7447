/*
** terminal.c - the terminal that the prompt in Lua talks to.
**
** One idea: reading a line is a wait like any other. Standard input is watched
** by the worker's loop, so that tasks go on while somebody types; a line editor
** takes the keys, and what the tasks write meanwhile is shown above the line.
** It knows nothing of what a line means.
*/
#include "terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include <lauxlib.h>

#include "../runtime/interrupt.h"
#include "../runtime/loop.h"
#include "../runtime/runtime.h"
#include "../runtime/scheduler.h"
#include "freshline.h"
#include "lineedit.h"
#include "spill.h"
#include "statefile.h"

#define READING_TYPE "llmpool.terminal.reading"
#define HELD_TYPE "llmpool.terminal.held"
#define WATCH_THREADS_MS 50 /* what other threads write wakes nobody */

typedef enum Mode { NOTHING, LINE, KEY } Mode;

/* There is one terminal. */
static struct {
  const LineEdit *editor;
  Worker *worker;
  Task *task; /* who waits for a line or a key */
  Mode mode;
  LineEditStatus status;
  const char *line;
  size_t length;
  bool has_handles;
  struct termios before, keys; /* KEY: how the terminal was, and is */
  uv_poll_t input;
  uv_prepare_t turn;
  uv_signal_t resized, stopped, continued;
  uv_timer_t threads;
} T;

static const char completer_key = 'c'; /* registry: the completer */

bool terminal_is_there(void) {
  return isatty(STDIN_FILENO) && (spill_is_active() || isatty(STDOUT_FILENO));
}

static const LineEdit *choose_editor(void) {
#ifdef LLMPOOL_READLINE
  return &lineedit_readline;
#else
  return &lineedit_plain;
#endif
}

/* ---- the loop's callbacks ---------------------------------------------- */

/* What is typed behind a Ctrl-C is for the next line. The terminal has thrown
** away what was typed before it, and the signal has been sent: so the keys are
** left where they are until it has had its effect. */
static LineEditStatus feed(void) {
  sigset_t sigint, before;
  sigemptyset(&sigint);
  sigaddset(&sigint, SIGINT);
  sigprocmask(SIG_BLOCK, &sigint, &before);
  LineEditStatus status = T.status;
  if (!interrupt_is_pending(T.worker))
    status = T.editor->feed(&T.line, &T.length);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return status;
}

static void on_input(uv_poll_t *handle, int status, int events) {
  (void)handle;
  (void)status;
  (void)events;
  if (T.mode == LINE) T.status = feed();
  if (T.mode == KEY || T.status != LINEEDIT_MORE) {
    uv_poll_stop(&T.input);
    task_ready(T.task);
  }
}

/* Before the loop sleeps: what has been written goes above the line. */
static void on_turn(uv_prepare_t *handle) {
  (void)handle;
  if (T.mode != LINE || T.status != LINEEDIT_MORE || !spill_is_there()) return;
  T.editor->hide();
  spill_show();
  T.editor->show();
}

static void on_resized(uv_signal_t *handle, int number) {
  (void)handle;
  (void)number;
  if (T.mode == LINE && T.editor->resize) T.editor->resize();
}

static void lend(void) {
  if (T.mode == LINE && T.editor->lend) T.editor->lend();
  if (T.mode == KEY) tcsetattr(STDIN_FILENO, TCSADRAIN, &T.before);
}

static void regain(bool is_written) {
  if (T.mode == LINE && T.editor->regain) T.editor->regain(is_written);
  if (T.mode == KEY) tcsetattr(STDIN_FILENO, TCSADRAIN, &T.keys);
}

/* Raises a signal that stops the process, if somebody is there who could have
** it go on: else the kernel ignores it. Whether it had to go on again. */
static bool stop_here(int number) {
  sigset_t going_on, before, pending;
  sigemptyset(&going_on);
  sigaddset(&going_on, SIGCONT);
  sigprocmask(SIG_BLOCK, &going_on, &before);
  raise(number);
  sigpending(&pending);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return sigismember(&pending, SIGCONT);
}

/* Ctrl-Z */
static void on_stopped(uv_signal_t *handle, int number) {
  lend();
  uv_signal_stop(handle);
  if (!stop_here(number)) regain(false);
  uv_signal_start(handle, on_stopped, number);
}

static void on_continued(uv_signal_t *handle, int number) {
  (void)handle;
  (void)number;
  regain(true);
}

static void on_threads(uv_timer_t *handle) { (void)handle; }

static void open_handles(lua_State *L) {
  if (T.has_handles) return;
  uv_loop_t *loop = loop_uv(T.worker);
  const int flags = fcntl(STDIN_FILENO, F_GETFL);
  if (loop == NULL || uv_poll_init(loop, &T.input, STDIN_FILENO) != 0)
    luaL_error(L, "cannot watch the terminal");
  /* libuv makes it non-blocking, for us and for the shell that we share it
  ** with */
  fcntl(STDIN_FILENO, F_SETFL, flags);
  uv_prepare_init(loop, &T.turn);
  uv_signal_init(loop, &T.resized);
  uv_signal_init(loop, &T.stopped);
  uv_signal_init(loop, &T.continued);
  uv_timer_init(loop, &T.threads);
  uv_unref((uv_handle_t *)&T.turn);
  uv_unref((uv_handle_t *)&T.resized);
  uv_unref((uv_handle_t *)&T.stopped);
  uv_unref((uv_handle_t *)&T.continued);
  T.has_handles = true;
}

static void close_handles(void) {
  if (!T.has_handles) return;
  T.has_handles = false;
  uv_close((uv_handle_t *)&T.input, NULL);
  uv_close((uv_handle_t *)&T.turn, NULL);
  uv_close((uv_handle_t *)&T.resized, NULL);
  uv_close((uv_handle_t *)&T.stopped, NULL);
  uv_close((uv_handle_t *)&T.continued, NULL);
  uv_close((uv_handle_t *)&T.threads, NULL);
}

static void watch(void) {
  uv_poll_start(&T.input, UV_READABLE, on_input);
  uv_prepare_start(&T.turn, on_turn);
  uv_signal_start(&T.resized, on_resized, SIGWINCH);
  uv_signal_start(&T.stopped, on_stopped, SIGTSTP);
  uv_signal_start(&T.continued, on_continued, SIGCONT);
  if (T.worker->threads > 0)
    uv_timer_start(&T.threads, on_threads, WATCH_THREADS_MS, WATCH_THREADS_MS);
}

static void unwatch(void) {
  if (!T.has_handles) return;
  uv_poll_stop(&T.input);
  uv_prepare_stop(&T.turn);
  uv_signal_stop(&T.resized);
  uv_signal_stop(&T.stopped);
  uv_signal_stop(&T.continued);
  uv_timer_stop(&T.threads);
}

/* ---- reading ----------------------------------------------------------- */

static void stop_line(void) {
  if (T.status == LINEEDIT_MORE)
    T.editor->drop();
  else
    T.editor->stop();
  spill_end();
}

/* The end of a reading, however it came. */
static void stop_reading(void) {
  const Mode mode = T.mode;
  T.mode = NOTHING;
  unwatch();
  if (mode == LINE) stop_line();
  if (mode == KEY) tcsetattr(STDIN_FILENO, TCSADRAIN, &T.before);
}

static int reading_close(lua_State *L) {
  (void)L;
  stop_reading();
  return 0;
}

/* os.exit while a line is typed: nothing that was written is lost */
static void on_exit_of_program(void) {
  if (T.mode == LINE && T.editor->hide) T.editor->hide();
  T.has_handles = false; /* the loop may be gone */
  stop_reading();
  spill_end();
}

/* Pushes what ends the reading when the caller's frame does. */
static void begin_reading(lua_State *L, Mode mode) {
  static bool told;
  if (T.mode != NOTHING)
    luaL_error(L, "the terminal is being read by somebody else");
  T.worker = worker_of(L);
  if (T.worker->world->is_virtual)
    luaL_error(L, "a simulation does not wait for the terminal");
  T.task = check_wait(L, T.worker);
  open_handles(L);
  lua_newuserdatauv(L, 0, 0);
  luaL_setmetatable(L, READING_TYPE);
  lua_toclose(L, -1);
  if (!told) atexit(on_exit_of_program);
  told = true;
  T.mode = mode;
  T.status = LINEEDIT_MORE;
}

/* stack: prompt reading */
static int k_line(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  if (T.status == LINEEDIT_MORE) {
    check_cancel(L, T.task);
    return task_park(L, T.worker, WAIT_EXTERNAL, 0, k_line);
  }
  if (T.status == LINEEDIT_LINE)
    lua_pushlstring(L, T.line, T.length);
  else
    luaL_pushfail(L);
  return 1;
}

/* (prompt) -> a line; nil at the end of the input */
static int f_read(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  begin_reading(L, LINE);
  T.editor->start(prompt);
  if (T.editor->hide) spill_begin();
  watch();
  return task_park(L, T.worker, WAIT_EXTERNAL, 0, k_line);
}

/* ---- one key ----------------------------------------------------------- */

static bool next_byte(char *keys, size_t *length, size_t size) {
  if (*length == size || read(STDIN_FILENO, keys + *length, 1) != 1)
    return false;
  ++*length;
  return true;
}

/* The rest of one key, of which the first byte is there: what it takes, and no
** more, for the next key may be meant for somebody else. */
static void read_rest(char *keys, size_t *length, size_t size) {
  const unsigned char first = (unsigned char)keys[0];
  if (first >= 0xc0) { /* UTF-8 */
    int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    while (more-- > 0 && next_byte(keys, length, size)) continue;
  }
  if (first != '\033' || !next_byte(keys, length, size)) return;
  if (keys[1] != '[' && keys[1] != 'O') return;
  while (next_byte(keys, length, size) && keys[*length - 1] < '@') continue;
}

/* Only what is there: whoever waits for a key does not wait in here. The end of
** the input is the key that means it. */
static void take_key(lua_State *L) {
  char keys[16];
  size_t length = 0;
  struct termios now = T.before;
  now.c_cc[VMIN] = 0;
  now.c_cc[VTIME] = 0;
  now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  tcsetattr(STDIN_FILENO, TCSANOW, &now);
  if (next_byte(keys, &length, sizeof keys))
    read_rest(keys, &length, sizeof keys);
  else
    keys[length++] = '\004';
  lua_pushlstring(L, keys, length);
}

/* stack: seconds reading */
static int k_key(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  const bool pressed = !uv_is_active((uv_handle_t *)&T.input);
  const bool late = T.task->timer.index == 0 && !lua_isnil(L, 1);
  if (!pressed && !late && !task_is_cancelled(T.task))
    return task_park(L, T.worker, WAIT_EXTERNAL, 0, k_key);
  timer_stop(T.task->world, &T.task->timer);
  check_cancel(L, T.task);
  if (pressed)
    take_key(L);
  else
    luaL_pushfail(L);
  return 1;
}

/* (seconds or nil) -> the key that was pressed; nil when the time is over */
static int f_key(lua_State *L) {
  const lua_Number seconds = luaL_optnumber(L, 1, 0);
  lua_settop(L, 1);
  if (!terminal_is_there()) return luaL_error(L, "there is no terminal");
  if (tcgetattr(STDIN_FILENO, &T.before) != 0)
    return luaL_error(L, "the terminal does not answer");
  begin_reading(L, KEY);
  T.keys = T.before;
  T.keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &T.keys);
  watch();
  if (!lua_isnil(L, 1)) {
    const int64_t now = world_now(T.task->world);
    if (!task_set_deadline(T.task, now + (int64_t)(seconds * 1e9)))
      return luaL_error(L, "not enough memory");
  }
  return task_park(L, T.worker, WAIT_EXTERNAL, 0, k_key);
}

/* ---- completion -------------------------------------------------------- */

/* stack: list; a NULL-ended array of copies of its strings, or NULL */
static char **copy_list(lua_State *L) {
  const size_t n = lua_rawlen(L, -1);
  char **list = n ? calloc(n + 1, sizeof *list) : NULL;
  size_t count = 0;
  for (size_t i = 1; list && i <= n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    if (lua_type(L, -1) == LUA_TSTRING)
      list[count] = strdup(lua_tostring(L, -1));
    if (list[count]) count++;
    lua_pop(L, 1);
  }
  return list;
}

/* The completer's own errors are nobody's business while one types. */
static size_t complete(const char *line, size_t length, char ***candidates) {
  lua_State *L = T.worker->L;
  size_t from = length;
  *candidates = NULL;
  if (!lua_checkstack(L, LUA_MINSTACK)) return from;
  const int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &completer_key);
  lua_pushlstring(L, line, length);
  if (lua_pcall(L, 1, 2, 0) == LUA_OK && lua_istable(L, -1) &&
      lua_isinteger(L, -2)) {
    const lua_Integer first = lua_tointeger(L, -2); /* as Lua counts */
    if (first >= 1 && (size_t)first <= length + 1) {
      from = (size_t)first - 1;
      *candidates = copy_list(L);
    }
  }
  lua_settop(L, top);
  return from;
}

/* (function (line) -> index, list of what could stand from there on) */
static int f_complete_by(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &completer_key);
  if (T.editor->complete_by) T.editor->complete_by(complete);
  return 0;
}

/* ---- holding back ------------------------------------------------------- */

static int held_close(lua_State *L) {
  (void)L;
  spill_end();
  return 0;
}

/* From now on what is written is held back, until the value that this returns
** is closed. */
static int f_hold(lua_State *L) {
  if (T.mode == LINE) return luaL_error(L, "a line is being read");
  lua_newuserdatauv(L, 0, 0);
  luaL_setmetatable(L, HELD_TYPE);
  spill_begin();
  return 1;
}

static int f_has_held(lua_State *L) {
  lua_pushboolean(L, spill_is_there());
  return 1;
}

/* Shows what has been held back so far: its whole lines. */
static int f_show_held(lua_State *L) {
  (void)L;
  spill_show();
  return 0;
}

/* (text) past what is held back */
static int f_write(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  spill_write(text, length);
  return 0;
}

/* ---- the rest ---------------------------------------------------------- */

static int f_remember(lua_State *L) {
  T.editor->remember(luaL_checkstring(L, 1));
  return 0;
}

/* () -> columns, rows */
static int f_size(lua_State *L) {
  struct winsize size;
  const bool known =
      ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  lua_pushinteger(L, known ? size.ws_col : 80);
  lua_pushinteger(L, known ? size.ws_row : 24);
  return 2;
}

static int f_is_there(lua_State *L) {
  lua_pushboolean(L, terminal_is_there());
  return 1;
}

/* What some task waits for: "line" or "key"; nil: nobody reads. */
static int f_is_read(lua_State *L) {
  static const char *const words[] = {
      [NOTHING] = NULL, [LINE] = "line", [KEY] = "key"};
  lua_pushstring(L, words[T.mode]);
  return 1;
}

/* () -> {name -> version} of the libraries in the program */
static int f_libraries(lua_State *L) {
  lua_createtable(L, 0, 3);
  lua_pushstring(L, uv_version_string());
  lua_setfield(L, -2, "libuv");
  lua_pushstring(L, T.editor->version);
  lua_setfield(L, -2, "readline");
  return 1;
}

/* Ctrl-C interrupts what runs next, as the prompt wants it. */
static int f_catch_interrupts(lua_State *L) {
  runtime_catch_sigint(L, true);
  runtime_be_patient();
  return 0;
}

static int mm_gc(lua_State *L) {
  (void)L;
  if (T.mode != NOTHING) stop_reading();
  close_handles();
  return 0;
}

int terminal_module(lua_State *L) {
  static const luaL_Reg functions[] = {{"read", f_read},
                                       {"key", f_key},
                                       {"complete_by", f_complete_by},
                                       {"remember", f_remember},
                                       {"size", f_size},
                                       {"is_there", f_is_there},
                                       {"is_read", f_is_read},
                                       {"hold", f_hold},
                                       {"has_held", f_has_held},
                                       {"show_held", f_show_held},
                                       {"write", f_write},
                                       {"libraries", f_libraries},
                                       {"watch_flushes", freshline_watch},
                                       {"begin_line", freshline_begin},
                                       {"append", statefile_append},
                                       {"files", statefile_list},
                                       {"catch_interrupts", f_catch_interrupts},
                                       {NULL, NULL}};
  T.editor = choose_editor();
  luaL_newmetatable(L, READING_TYPE);
  lua_pushcfunction(L, reading_close);
  lua_setfield(L, -2, "__close");
  luaL_newmetatable(L, HELD_TYPE);
  lua_pushcfunction(L, held_close);
  lua_setfield(L, -2, "__close");
  luaL_newlib(L, functions);
  /* the handles lie on the loop: they end before it does */
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, mm_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return 1;
}
