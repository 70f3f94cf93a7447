/*
** lineedit_readline.c - lines from a terminal, edited by GNU readline.
**
** Uses readline's callback interface, which leaves the waiting to us. The
** handler is removed as soon as a line is there, so that the terminal is in
** its usual mode, and no prompt is shown, while the line runs. SIGINT stays
** with whoever called start, and comes only while feed waits: one that came
** between a look and a wait would be noticed at the next key only. A build
** without readline leaves this file out.
*/
#define _GNU_SOURCE /* ppoll */
#include "lineedit.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

static char *taken; /* the line that readline gave us; ours to free */
static LineEditStatus status;
static struct sigaction on_sigint; /* the caller's */
static sigset_t outside;           /* the signals blocked before start */

static void on_line(char *line) {
  rl_callback_handler_remove();
  taken = line;
  status = line ? LINEEDIT_LINE : LINEEDIT_EOF;
}

static void start(const char *prompt) {
  sigset_t sigint;
  sigemptyset(&sigint);
  sigaddset(&sigint, SIGINT);
  sigprocmask(SIG_BLOCK, &sigint, &outside);
  sigaction(SIGINT, NULL, &on_sigint);
  free(taken);
  taken = NULL;
  status = LINEEDIT_MORE;
  rl_readline_name = "lua"; /* what inputrc files know it by */
  rl_callback_handler_install(prompt, on_line);
}

static LineEditStatus feed(const char **line, size_t *length) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  sigaction(SIGINT, &on_sigint, NULL); /* readline likes to take it */
  if (ppoll(&input, 1, NULL, &outside) < 0) {
    rl_check_signals();
    return status;
  }
  rl_callback_read_char();
  if (status == LINEEDIT_LINE) {
    *line = taken;
    *length = strlen(taken);
  }
  return status;
}

static void stop(void) {
  rl_callback_handler_remove();
  sigaction(SIGINT, &on_sigint, NULL);
  sigprocmask(SIG_SETMASK, &outside, NULL);
}

static void remember(const char *line) { add_history(line); }

const LineEdit lineedit_readline = {start, feed, stop, remember};
