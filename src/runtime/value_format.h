/*
** value_format.h - what the value_*.c files share: the layout of a Value and
** the state of one packing. Private to them.
**
** A Value is flat, so nothing about it recurses and no depth is too deep:
** first the n values, then the contents of every table met, in the order of
** meeting. A table appears among the values empty, as TAG_TABLE; its record
** follows later. Tables, functions and references are objects, numbered from
** 1 as they appear; TAG_SEEN refers back to one. Numbers are in the machine's
** own form (copied, never aligned), lengths in groups of 7 bits.
*/
#ifndef LLMPOOL_VALUE_FORMAT_H
#define LLMPOOL_VALUE_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

#include "value.h"

typedef enum Tag {
  TAG_NIL,
  TAG_FALSE,
  TAG_TRUE,
  TAG_INTEGER,  /* lua_Integer */
  TAG_FLOAT,    /* lua_Number */
  TAG_STRING,   /* length, bytes */
  TAG_TABLE,    /* TableHints */
  TAG_OBJECT,   /* TableHints, void *: the metatable's registry key */
  TAG_FUNCTION, /* size_t, what lua_dump wrote */
  TAG_LIBRARY,  /* lua_CFunction of the standard library */
  TAG_REF,      /* RefRecord */
  TAG_SEEN,     /* number of an object */
  TAG_ITEM,     /* in a table's record: the key is the next integer from 1 */
  TAG_END       /* of a table's record, which starts with its object number */
} Tag;

typedef struct TableHints {
  int items;  /* keys 1, 2, 3...: for lua_createtable */
  int others; /* all other keys */
} TableHints;

typedef struct RefRecord {
  ValueRef ref;
  size_t previous; /* offset of the record before, 0: none */
} RefRecord;

struct Value {
  atomic_size_t refs;
  size_t size;     /* bytes, this header included */
  size_t objects;  /* how many are numbered */
  size_t last_ref; /* offset of the last RefRecord, 0: none */
  int count;       /* values at the top */
};

/* A table that was met: where it was first seen, and where its hints are. */
typedef struct Node {
  size_t object;    /* its number */
  size_t hints;     /* offset of its TableHints */
  ptrdiff_t parent; /* Packer.place when it was met */
} Node;

/* One packing. The memory in it belongs to value_pack's frame. */
typedef struct Packer {
  Value *value;    /* the block so far */
  size_t capacity; /* bytes allocated for it */
  Node *nodes;     /* the tables met, in order */
  size_t node_count;
  size_t node_room;
  const ValueRules *rules;
  ValueWhy *why;
  int seen;        /* stack index: object -> its number */
  int tables;      /* stack index: node number from 1 -> table */
  ptrdiff_t place; /* node being written; below 0: -1 - index of a value */
  int key;         /* stack index of the key being written */
  bool at_key;     /* the key itself is being written, not its value */
} Packer;

/*
** Raises the refusal of the value being written: a nil, with the sentence in
** p->why. `remedy` may be NULL.
*/
_Noreturn void value_l_refuse(lua_State *L, Packer *p, const char *what,
                              const char *remedy);

/*
** Pushes the standard library's function with this C function and returns
** true, or pushes nothing. Aliases do not matter: not names are compared but
** addresses, which mean the same in every state. [-0, +(0|1), m]
*/
bool value_push_library(lua_State *L, lua_CFunction function);

/* Drops what the block refers to, then the block. [-] */
void value_free(Value *value);

#endif
