/*
** pattern.c - see pattern.h. A pattern is a row of items: a class of bytes that
** may be repeated, a capture that begins or ends, a reference to one, %b, %f.
** What can be repeated is tried with the longest or the shortest run first, and
** the rest of the pattern behind it, by recursion.
*/
#include "pattern.h"

#include <ctype.h>
#include <string.h>

#define DEEPEST 200 /* of recursion, as in the standard library */

static const char *fail(Pattern *m, const char *fault) {
  if (m->fault == NULL) m->fault = fault;
  return NULL;
}

static bool spend(Pattern *m) { return --m->steps >= 0; }

/* ---- classes ----------------------------------------------------------- */

/* The end of the set that begins with '[' before `p`. */
static const char *set_end(Pattern *m, const char *p) {
  if (*p == '^') p++;
  do { /* a ']' that comes first is a byte of the set */
    if (p == m->end) return fail(m, "malformed pattern (missing ']')");
    if (*p++ == '%' && p < m->end) p++;
  } while (p >= m->end || *p != ']');
  return p + 1;
}

static const char *class_end(Pattern *m, const char *p) {
  if (*p == '%') {
    if (p + 1 == m->end) return fail(m, "malformed pattern (ends with '%')");
    return p + 2;
  }
  return *p == '[' ? set_end(m, p + 1) : p + 1;
}

static bool is_in_class(unsigned char c, char name) {
  bool is_in;
  switch (tolower((unsigned char)name)) {
  case 'a': is_in = isalpha(c); break;
  case 'c': is_in = iscntrl(c); break;
  case 'd': is_in = isdigit(c); break;
  case 'g': is_in = isgraph(c); break;
  case 'l': is_in = islower(c); break;
  case 'p': is_in = ispunct(c); break;
  case 's': is_in = isspace(c); break;
  case 'u': is_in = isupper(c); break;
  case 'w': is_in = isalnum(c); break;
  case 'x': is_in = isxdigit(c); break;
  case 'z': is_in = c == '\0'; break; /* of old */
  default: return (unsigned char)name == c;
  }
  return isupper((unsigned char)name) ? !is_in : is_in;
}

/* The set from its '[' to its ']'. */
static bool is_in_set(unsigned char c, const char *p, const char *last) {
  bool found = true;
  if (p[1] == '^') {
    found = false;
    p++;
  }
  while (++p < last) {
    if (*p == '%') {
      if (is_in_class(c, *++p)) return found;
    } else if (p[1] == '-' && p + 2 < last) {
      if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2]) return found;
      p += 2;
    } else if ((unsigned char)*p == c) {
      return found;
    }
  }
  return !found;
}

/* Whether the byte at s, if there is one, is of the class from p to after. */
static bool fits(Pattern *m, const char *s, const char *p, const char *after) {
  if (s >= m->subject_end || !spend(m)) return false;
  unsigned char c = (unsigned char)*s;
  switch (*p) {
  case '.': return true;
  case '%': return is_in_class(c, p[1]);
  case '[': return is_in_set(c, p, after - 1);
  default: return (unsigned char)*p == c;
  }
}

/* ---- repeated classes -------------------------------------------------- */

static const char *longest(Pattern *m, const char *s, const char *p,
                           const char *after) {
  ptrdiff_t n = 0;
  while (fits(m, s + n, p, after)) n++;
  for (; n >= 0 && !pattern_has_ended(m); n--) {
    const char *end = pattern_match(m, s + n, after + 1);
    if (end != NULL) return end;
  }
  return NULL;
}

static const char *shortest(Pattern *m, const char *s, const char *p,
                            const char *after) {
  for (;; s++) {
    const char *end = pattern_match(m, s, after + 1);
    if (end != NULL || pattern_has_ended(m)) return end;
    if (!fits(m, s, p, after)) return NULL;
  }
}

/* ---- captures ---------------------------------------------------------- */

static const char *begin_capture(Pattern *m, const char *s, const char *p,
                                 ptrdiff_t length) {
  if (m->captures >= PATTERN_CAPTURES) return fail(m, "too many captures");
  m->capture[m->captures++] = (PatternCapture){s, length};
  const char *end = pattern_match(m, s, p);
  if (end == NULL) m->captures--;
  return end;
}

static const char *end_capture(Pattern *m, const char *s, const char *p) {
  int i = m->captures - 1;
  while (i >= 0 && m->capture[i].length != CAPTURE_OPEN) i--;
  if (i < 0) return fail(m, "invalid pattern capture");
  m->capture[i].length = s - m->capture[i].start;
  const char *end = pattern_match(m, s, p);
  if (end == NULL) m->capture[i].length = CAPTURE_OPEN;
  return end;
}

/* What a capture has matched comes again: its end, or NULL. */
static const char *again(Pattern *m, const char *s, char digit) {
  int i = digit - '1';
  if (i < 0 || i >= m->captures || m->capture[i].length == CAPTURE_OPEN) {
    m->index = i + 1;
    return fail(m, "invalid capture index");
  }
  size_t n = (size_t)m->capture[i].length;
  if (m->capture[i].length < 0 || (size_t)(m->subject_end - s) < n ||
      memcmp(m->capture[i].start, s, n) != 0)
    return NULL;
  m->steps -= (int64_t)n;
  return s + n;
}

/* ---- %b and %f --------------------------------------------------------- */

/* From one byte to its other, with as many of both between. */
static const char *balanced(Pattern *m, const char *s, const char *p) {
  if (m->end - p < 2)
    return fail(m, "malformed pattern (missing arguments to '%b')");
  if (s >= m->subject_end || *s != p[0]) return NULL;
  for (int depth = 1; ++s < m->subject_end && spend(m);) {
    if (*s == p[1]) {
      if (--depth == 0) return s + 1;
    } else if (*s == p[0]) {
      depth++;
    }
  }
  return NULL;
}

/* Sets *p behind the set: whether it begins at s. */
static bool is_frontier(Pattern *m, const char *s, const char **p) {
  const char *set = *p;
  if (*set != '[') {
    fail(m, "missing '[' after '%f' in pattern");
    return false;
  }
  const char *after = class_end(m, set);
  if (after == NULL) return false;
  *p = after;
  unsigned char before = s == m->subject ? 0 : (unsigned char)s[-1];
  unsigned char here = s < m->subject_end ? (unsigned char)*s : 0;
  return !is_in_set(before, set, after - 1) && is_in_set(here, set, after - 1);
}

/* ---- items ------------------------------------------------------------- */

/* One item that is no class: sets *s and *p behind it. 1: it matches; 0: it does
** not; -1: it is a class after all. */
static int special(Pattern *m, const char **s, const char **p) {
  const char *end = NULL;
  if (**p != '%') return -1;
  switch ((*p)[1]) {
  case 'b':
    end = balanced(m, *s, *p + 2);
    *p += 4;
    break;
  case 'f': *p += 2; return is_frontier(m, *s, p);
  default:
    if (!isdigit((unsigned char)(*p)[1])) return -1;
    end = again(m, *s, (*p)[1]);
    *p += 2;
  }
  if (end != NULL) *s = end;
  return end != NULL;
}

static const char *match_items(Pattern *m, const char *s, const char *p) {
  while (p < m->end) {
    if (pattern_has_ended(m)) return NULL;
    if (*p == '(')
      return p[1] == ')' ? begin_capture(m, s, p + 2, CAPTURE_POSITION)
                         : begin_capture(m, s, p + 1, CAPTURE_OPEN);
    if (*p == ')') return end_capture(m, s, p + 1);
    if (*p == '$' && p + 1 == m->end) return s == m->subject_end ? s : NULL;
    int is_special = special(m, &s, &p);
    if (is_special == 0) return NULL;
    if (is_special > 0) continue;
    const char *after = class_end(m, p);
    if (after == NULL) return NULL;
    char suffix = after < m->end ? *after : '\0';
    if (suffix == '*') return longest(m, s, p, after);
    if (suffix == '-') return shortest(m, s, p, after);
    bool is_there = fits(m, s, p, after);
    if (suffix == '+') return is_there ? longest(m, s + 1, p, after) : NULL;
    if (suffix == '?') {
      const char *end = is_there ? pattern_match(m, s + 1, after + 1) : NULL;
      if (end != NULL || pattern_has_ended(m)) return end;
      p = after + 1;
    } else if (is_there) {
      s++;
      p = after;
    } else {
      return NULL;
    }
  }
  return s;
}

const char *pattern_match(Pattern *m, const char *s, const char *p) {
  if (!spend(m)) return NULL;
  if (m->depth >= DEEPEST) return fail(m, "pattern too complex");
  m->depth++;
  const char *end = match_items(m, s, p);
  m->depth--;
  return pattern_has_ended(m) ? NULL : end;
}

void pattern_init(Pattern *m, const char *subject, size_t size, const char *end,
                  int64_t steps) {
  m->subject = subject;
  m->subject_end = subject + size;
  m->end = end;
  m->fault = NULL;
  m->steps = steps;
  m->index = -1;
  m->captures = m->depth = 0;
}
