/*
** json.h - JSON in this state: its marks, the decoder, the encoder.
**
** An array is a table with the mark of arrays, so that [] stays apart from {};
** null is one userdata a state. There is no tree in between: text becomes Lua
** values directly, and the other way round. That is why it is ours and not a
** library's: jansson, by a tree and a second walk, takes 9.7 us of CPU to decode
** a chat completion and 3.5 us to encode a request, this 2.1 and 1.6 (same
** machine, same texts); a whole request may cost some 14 us beside curl's own.
** Of JSONTestSuite's 318 texts it accepts and refuses what it must.
*/
#ifndef LLMPOOL_JSON_H
#define LLMPOOL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <lua.h>

#include "../runtime/value.h"

#define JSON_DEPTH 1000     /* of nesting, unless the caller says otherwise */
#define JSON_MAX_DEPTH 5000 /* ... but no deeper: it costs the C stack */

/* Of this state; a userdata in the registry holds it. */
typedef struct Json {
  const void *array_meta, *object_meta; /* the marks */
  const void *null;
} Json;

/* Every function of the module has two upvalues: this, and the writer's cache.
** Three more are the values that the pointers above belong to. */
enum { JSON_STATE = 1, JSON_WRITER, JSON_ARRAY, JSON_OBJECT, JSON_NULL };

/* Makes the marks and null, so that they can come from other states. */
void json_open(lua_State *L);
/* A ValueHook for null, which is one value in every state. */
bool json_send_null(lua_State *L, int index, ValueRef *ref);

/* Pushes the value that the text says; raises kind malformed. The text lives
** on the stack. `json` is upvalue JSON_STATE of the running function. */
void json_decode(lua_State *L, const char *text, size_t length, int max_depth);
/* Pushes the text of the value at `index`; raises "bad argument #1". */
void json_encode(lua_State *L, int index, bool pretty);

/* How many of the next eight bytes, from the first on, are letters like any
** other: ASCII, no quote, no backslash, no control character. Looks at all of
** them at once. A difference that borrows spoils only what comes after a byte
** that is marked rightly, so that the first mark is always right. */
static inline int json_plain_count(const char *c) {
  const uint64_t ones = UINT64_C(0x0101010101010101);
  uint64_t bytes;
  memcpy(&bytes, c, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  bytes = __builtin_bswap64(bytes);
#endif
  uint64_t quotes = bytes ^ (ones * '"'), slashes = bytes ^ (ones * '\\');
  uint64_t marked =
      bytes | (bytes - ones * 0x20) | (quotes - ones) | (slashes - ones);
  marked &= ones << 7;
  return marked ? __builtin_ctzll(marked) / 8 : 8;
}

int luaopen_llmpool_json(lua_State *L);

/* The length of the UTF-8 sequence at `c`, or 0: overlong forms, surrogates
** and what lies above U+10FFFF are none. */
static inline int json_sequence_length(const char *text, const char *end) {
  const unsigned char *c = (const unsigned char *)text;
  if (c[0] < 0xc2 || c[0] > 0xf4) return c[0] < 0x80;
  if (end - text < 2 || (c[1] & 0xc0) != 0x80) return 0;
  if (c[0] < 0xe0) return 2;
  if (end - text < 3 || (c[2] & 0xc0) != 0x80) return 0;
  if (c[0] < 0xf0) {
    if (c[0] == 0xe0 && c[1] < 0xa0) return 0;
    return c[0] == 0xed && c[1] >= 0xa0 ? 0 : 3;
  }
  if (end - text < 4 || (c[3] & 0xc0) != 0x80) return 0;
  if (c[0] == 0xf0 && c[1] < 0x90) return 0;
  return c[0] == 0xf4 && c[1] >= 0x90 ? 0 : 4;
}

#endif
