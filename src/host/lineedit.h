/*
** lineedit.h - the seam between the prompt and whatever edits a line.
**
** An editor is driven from outside: start shows the prompt, feed takes input
** until a line is there, stop gives the terminal back before the line is run.
** So an event loop can own the waiting, and call feed when standard input is
** readable. There is one terminal, so an editor keeps its state to itself.
*/
#ifndef LLMPOOL_LINEEDIT_H
#define LLMPOOL_LINEEDIT_H

#include <stddef.h>

typedef enum LineEditStatus {
  LINEEDIT_MORE, /* no line yet; feed again (a signal ends a feed, too) */
  LINEEDIT_LINE,
  LINEEDIT_EOF
} LineEditStatus;

typedef struct LineEdit {
  void (*start)(const char *prompt);
  /* Waits if there is nothing to take. With LINE, `line` is the line without
  ** its end, good until the next start. */
  LineEditStatus (*feed)(const char **line, size_t *length);
  void (*stop)(void);
  void (*remember)(const char *line); /* for the history */
} LineEdit;

extern const LineEdit lineedit_plain;
#ifdef LLMPOOL_READLINE
extern const LineEdit lineedit_readline; /* for a terminal only */
#endif

#endif
