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

#include <stdbool.h>
#include <stddef.h>

typedef enum LineEditStatus {
  LINEEDIT_MORE, /* no line yet; feed again (a signal ends a feed, too) */
  LINEEDIT_LINE,
  LINEEDIT_EOF
} LineEditStatus;

/* Asked while a line is edited: what could stand at its end. Returns the index
** of the byte from which the candidates would stand, and sets `candidates` to
** a NULL-ended array of malloc'ed strings in malloc'ed memory, or to NULL. */
typedef size_t LineEditComplete(const char *line, size_t length,
                                char ***candidates);

typedef struct LineEdit {
  const char *version; /* of the library; NULL: there is none */
  void (*start)(const char *prompt);
  /* Waits if there is nothing to take, with SIGINT let in. With LINE, `line` is
  ** the line without its end, good until the next start. */
  LineEditStatus (*feed)(const char **line, size_t *length);
  void (*stop)(void);
  void (*drop)(void);                 /* stop: the line is given up */
  void (*remember)(const char *line); /* for the history */
  /* NULL, all of these, where the terminal itself shows the line. Between start
  ** and stop: takes prompt and line off the screen, so that something can be
  ** written where they were; puts them back below that. */
  void (*hide)(void);
  void (*show)(void);
  void (*resize)(void); /* the terminal has another size */
  /* Between start and stop, around a time in which the terminal is somebody
  ** else's: as it was before; ours again, and where it has been written to,
  ** the line is on it again. */
  void (*lend)(void);
  void (*regain)(bool is_written);
  void (*complete_by)(LineEditComplete *complete);
} LineEdit;

extern const LineEdit lineedit_plain;
#ifdef LLMPOOL_READLINE
extern const LineEdit lineedit_readline; /* for a terminal only */
#endif

#endif
