/*
** chance.h - draws of a distribution, for C that takes them from Lua.
**
** A draw belongs to the function that Lua has of it, which must stay.
*/
#ifndef LLMPOOL_CHANCE_H
#define LLMPOOL_CHANCE_H

#include <lua.h>

#include "../runtime/random.h"

typedef struct Draw {
  double (*next)(const struct Draw *draw);
  Random *random; /* of the stream, which is an upvalue of the function */
  double a, b;
} Draw;

/* The draw of the function at `index`, or NULL: it is another. */
const Draw *draw_of(lua_State *L, int index);

static inline double draw_next(const Draw *draw) { return draw->next(draw); }

#endif
