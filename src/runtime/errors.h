/*
** errors.h - error objects, and the traceback that belongs to an error.
*/
#ifndef LLMPOOL_ERRORS_H
#define LLMPOOL_ERRORS_H

#include "worker.h"

/* Pushes an error object: a table {kind, message} whose tostring is the
** message; the caller adds fields. [-0, +1, m] */
void push_error(lua_State *L, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Pushes what tostring says of any error. Where that raises - an error's own
** __tostring may - it says of which type the error is. */
const char *push_error_text(lua_State *L, int index);
/* The kind of the error object at `index`, or NULL if it is none. */
const char *error_kind(lua_State *L, int index);
void errors_open(lua_State *L);
/* Pushes a name as it can be shown: control characters as \\x1b. [-0, +1, m] */
const char *push_shown(lua_State *L, const char *text);

/* A message handler: keeps the traceback of the place that raised, leaves the
** error as it is. */
int keep_traceback(lua_State *L);
/* The same for where cancellations end: they are no bugs, there may be as many
** as there are tasks, and each traceback costs as much as some tasks. */
int keep_unless_cancelled(lua_State *L);
/* Tells keep_traceback that the next error is the last one, raised anew. */
void rethrow_mark(lua_State *L);
/* Keeps the text on the top as the traceback of the error below it, which comes
** from another state, and is about to be raised. [-1, +0] */
void keep_foreign_traceback(lua_State *L);
/* Pushes the traceback kept for the error at `index`, or nil. */
void push_kept_traceback(lua_State *L, int index);
/* Pushes what was probably meant where the error is a name that stands for
** nothing ("did you mean 'generate'?"), if the handler has seen it; else nil. */
void push_kept_hint(lua_State *L, int index);
/* Who words it: hint (message) -> string or nil, called by the handler in the
** place of the error, two frames above it; report (what, error, traceback,
** hint, site) -> text. Both at these indices; for nil it stays who it was. */
void errors_word_by(lua_State *L, int hint, int report);
/* Prints an error that no one else will: message, traceback, spawn site. */
void report_error(lua_State *L, const char *what, int error, const char *site);

/* Pops a function; its name in package.loaded ("table.sort"), or NULL. */
const char *push_library_name(lua_State *L, int index);

#endif
