/*
** lineedit_plain.c - lines from standard input, without editing.
**
** For pipes, and for a terminal in a build without readline. Where standard
** input is no terminal, the line is written behind the prompt: readline does
** the same, and scripts that talk to `lua -i` have come to expect it. It reads
** through stdio, so that io.read at the prompt goes on where the line ended.
*/
#include "lineedit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *buffer; /* getline's; kept from line to line */
static size_t buffer_size;

static void start(const char *prompt) {
  fputs(prompt, stdout);
  fflush(stdout);
}

static void echo(const char *line, size_t length) {
  if (isatty(STDIN_FILENO)) return;
  fwrite(line, 1, length, stdout);
  putchar('\n');
  fflush(stdout);
}

static LineEditStatus feed(const char **line, size_t *length) {
  errno = 0;
  ssize_t count = getline(&buffer, &buffer_size, stdin);
  if (count < 0) {
    if (errno != EINTR) return LINEEDIT_EOF;
    clearerr(stdin);
    return LINEEDIT_MORE;
  }
  *length = (size_t)count;
  if (count > 0 && buffer[count - 1] == '\n') buffer[--*length] = '\0';
  *line = buffer;
  echo(*line, *length);
  return LINEEDIT_LINE;
}

static void stop(void) {}

static void remember(const char *line) { (void)line; }

static void drop(void) { putchar('\n'); }

const LineEdit lineedit_plain = {.start = start,
                                 .feed = feed,
                                 .stop = stop,
                                 .remember = remember,
                                 .drop = drop};
