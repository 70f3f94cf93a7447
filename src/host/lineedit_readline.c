/*
** lineedit_readline.c - lines from a terminal, edited by GNU readline.
**
** Uses readline's callback interface, which leaves the waiting to us. The
** handler is removed as soon as a line is there, so that the terminal is in
** its usual mode, and no prompt is shown, while the line runs. A build without
** readline leaves this file out.
*/
#include "lineedit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

static char *taken; /* the line that readline gave us; ours to free */
static LineEditStatus status;

static void on_line(char *line) {
  rl_callback_handler_remove();
  taken = line;
  status = line ? LINEEDIT_LINE : LINEEDIT_EOF;
}

static void start(const char *prompt) {
  free(taken);
  taken = NULL;
  status = LINEEDIT_MORE;
  rl_readline_name = "lua"; /* what inputrc files know it by */
  rl_callback_handler_install(prompt, on_line);
}

static LineEditStatus feed(const char **line, size_t *length) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  if (poll(&input, 1, -1) < 0) {
    rl_check_signals(); /* our own handler runs in here */
    return status;
  }
  rl_callback_read_char();
  if (status == LINEEDIT_LINE) {
    *line = taken;
    *length = strlen(taken);
  }
  return status;
}

static void stop(void) { rl_callback_handler_remove(); }

static void remember(const char *line) { add_history(line); }

const LineEdit lineedit_readline = {start, feed, stop, remember};
