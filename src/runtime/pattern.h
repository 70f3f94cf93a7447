/*
** pattern.h - Lua's patterns, matched in so many steps and no more.
**
** One idea: some patterns take longer than anybody lives ("a*a*a*a*b"), and
** the standard library cannot be stopped in one. This one counts: it matches
** what string.find does, and gives up when its steps are used up. It knows no
** Lua state and raises nothing.
*/
#ifndef LLMPOOL_PATTERN_H
#define LLMPOOL_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_CAPTURES 32

typedef struct PatternCapture {
  const char *start;
  ptrdiff_t length; /* or one of the two */
} PatternCapture;
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

typedef struct Pattern {
  const char *subject, *subject_end;
  const char *end;   /* of the pattern; both are followed by a zero byte */
  const char *fault; /* what is wrong with the pattern; NULL: nothing */
  int64_t steps;     /* left; below 0: it has given up */
  int index;         /* of the capture that the fault is about; -1: of none */
  int captures, depth;
  PatternCapture capture[PATTERN_CAPTURES];
} Pattern;

void pattern_init(Pattern *pattern, const char *subject, size_t size,
                  const char *end, int64_t steps);
/* The end of a match of the pattern, from `p` on, that begins at `s`; NULL:
** none, or it is wrong, or it has given up. */
const char *pattern_match(Pattern *pattern, const char *s, const char *p);
static inline bool pattern_has_ended(const Pattern *pattern) {
  return pattern->fault != NULL || pattern->steps < 0;
}

#endif
