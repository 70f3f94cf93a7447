/*
** lineedit_readline.c - lines from a terminal, edited by GNU readline.
**
** Uses readline's callback interface, which leaves the waiting to us. The
** handler is removed as soon as a line is there, so that the terminal is in
** its usual mode, and no prompt is shown, while the line runs. Signals are not
** its business, nor who else writes to the terminal: it has a stream of its
** own. A build without readline leaves this file out.
*/
#define _GNU_SOURCE /* ppoll */
#include "lineedit.h"

#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define RL_VERSION_TEXT TEXT(RL_VERSION_MAJOR) "." TEXT(RL_VERSION_MINOR)

static char *taken; /* the line that readline gave us; ours to free */
static LineEditStatus status;
static bool installed; /* the handler is, and the terminal is readline's */
static LineEditComplete *completer;

static void remove_handler(void) {
  if (installed) rl_callback_handler_remove();
  installed = false;
}

static void on_line(char *line) {
  remove_handler();
  taken = line;
  status = line ? LINEEDIT_LINE : LINEEDIT_EOF;
}

/* ---- completion -------------------------------------------------------- */

/* What the completer has found, for the line up to the cursor. */
static struct {
  char **candidates; /* NULL-ended, or NULL */
  size_t from;       /* they stand from this byte on */
  size_t word;       /* readline asks for what stands from this one on */
} C;

static void free_candidates(void) {
  for (size_t i = 0; C.candidates && C.candidates[i]; i++)
    free(C.candidates[i]);
  free(C.candidates);
  C.candidates = NULL;
}

/* readline looks for the word that it completes back to one of the characters
** that this returns. Ours begins where the completer says, whatever is in it -
** a file's name has blanks - so the one before it is the only such. */
static char *find_word(void) {
  static char before[2];
  free_candidates();
  if (completer == NULL) return NULL;
  C.from = completer(rl_line_buffer, (size_t)rl_point, &C.candidates);
  before[0] = C.from > 0 ? rl_line_buffer[C.from - 1] : '\0';
  return before;
}

/* The same character may stand in the word, too: then readline's begins later
** than ours. Moves the beginning of a candidate. */
static char *moved(const char *candidate) {
  const size_t more = C.from > C.word ? C.from - C.word : 0;
  const size_t less = C.word > C.from ? C.word - C.from : 0;
  const size_t length = strlen(candidate);
  if (less > length) return NULL;
  char *word = malloc(more + length - less + 1);
  if (word == NULL) return NULL;
  memcpy(word, rl_line_buffer + C.word, more);
  memcpy(word + more, candidate + less, length - less + 1);
  return word;
}

/* For rl_completion_matches: one candidate after the other, then NULL. */
static char *next_candidate(const char *text, int state) {
  static size_t next;
  (void)text;
  if (state == 0) next = 0;
  while (C.candidates && C.candidates[next]) {
    char *word = moved(C.candidates[next++]);
    if (word) return word;
  }
  return NULL;
}

static char **complete(const char *text, int start, int end) {
  (void)end;
  rl_attempted_completion_over = 1; /* no file names where we have nothing */
  rl_completion_append_character = '\0';
  C.word = (size_t)start;
  char **matches =
      C.candidates ? rl_completion_matches(text, next_candidate) : NULL;
  free_candidates();
  return matches;
}

static void complete_by(LineEditComplete *by) { completer = by; }

/* ---- a line ------------------------------------------------------------ */

/* Enter is a newline from the terminal on, as everywhere outside of readline:
** what is typed ahead of a line's end may be for the script (io.read), which
** would get it with a carriage return. */
static void take_terminal(int meta) {
  struct termios mode;
  rl_prep_terminal(meta);
  if (tcgetattr(STDIN_FILENO, &mode) != 0) return;
  mode.c_iflag |= ICRNL;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
}

/* Where the environment names no locale, readline would take each byte for a
** character: Backspace left half of one. */
static void know_characters(void) {
  static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = getenv(names[i]);
    if (value && *value) return;
  }
  setlocale(LC_CTYPE, "C.UTF-8");
}

/* What has to be said once, before the first line. */
static void set_up(void) {
  static bool done;
  if (done) return;
  done = true;
  know_characters();
  rl_readline_name = "lua"; /* what inputrc files know it by */
  rl_catch_signals = 0;
  rl_catch_sigwinch = 0;
  rl_prep_term_function = take_terminal;
  /* io.read takes no more than it asks for: the rest is for the next line */
  setvbuf(stdin, NULL, _IONBF, 0);
  /* else Enter ended the search, and not the line that it has found */
  rl_variable_bind("isearch-terminators", "\\e");
  rl_attempted_completion_function = complete;
  rl_completion_word_break_hook = find_word;
  rl_basic_quote_characters = ""; /* the completer closes strings */
  int copy = dup(STDOUT_FILENO);  /* standard output may be put elsewhere */
  FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
  if (out) rl_outstream = out;
  atexit(remove_handler); /* os.exit while a line is typed */
}

static void start(const char *prompt) {
  free(taken);
  taken = NULL;
  status = LINEEDIT_MORE;
#if RL_READLINE_VERSION >= 0x0802
  rl_eof_found = 0; /* else a line after a Ctrl-D has an empty one behind it */
#endif
  set_up();
  /* the size may have changed while a line ran */
  if (rl_readline_state & RL_STATE_INITIALIZED) rl_reset_screen_size();
  rl_callback_handler_install(prompt, on_line);
  installed = true;
}

/* One that is blocked ends the taking of keys: they were typed behind it. */
static bool sigint_waits(void) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGINT);
}

static LineEditStatus feed(const char **line, size_t *length) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  sigset_t waiting; /* whoever has blocked SIGINT gets it here */
  sigprocmask(SIG_BLOCK, NULL, &waiting);
  sigdelset(&waiting, SIGINT);
  if (ppoll(&input, 1, NULL, &waiting) < 0) return status; /* a signal */
  do {
    rl_callback_read_char();
  } while (status == LINEEDIT_MORE && !sigint_waits() &&
           poll(&input, 1, 0) > 0);
  if (status == LINEEDIT_LINE) {
    *line = taken;
    *length = strlen(taken);
  }
  return status;
}

static void remember(const char *line) { add_history(line); }

static void hide(void) {
  rl_clear_visible_line();
  fflush(rl_outstream);
}

static void show(void) { rl_forced_update_display(); }

static void drop(void) {
  if (!installed) return;
  rl_callback_sigcleanup(); /* out of a search, say */
  rl_point = rl_end;
  rl_redisplay();
  fputs("^C", rl_outstream);
  rl_crlf();
  rl_free_line_state();
  remove_handler();
}

static void resize(void) {
  if (installed) rl_resize_terminal();
}

static void lend(void) {
  if (installed) rl_deprep_term_function();
}

/* Who had the terminal may have left it in another mode, of another size. */
static void regain(bool is_written) {
  if (!installed) return;
  rl_deprep_term_function();
  rl_prep_term_function(1);
  if (!is_written) return;
  rl_reset_screen_size();
  rl_forced_update_display();
}

const LineEdit lineedit_readline = {.version = RL_VERSION_TEXT,
                                    .start = start,
                                    .feed = feed,
                                    .stop = remove_handler,
                                    .remember = remember,
                                    .drop = drop,
                                    .hide = hide,
                                    .show = show,
                                    .resize = resize,
                                    .lend = lend,
                                    .regain = regain,
                                    .complete_by = complete_by};
