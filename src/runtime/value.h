/*
** value.h - plain Lua values on their way from one Lua state to another.
**
** The one idea: the sender packs its values into a Value, one block of memory
** with no Lua in it: immutable, counted, and independent of the sender. Any
** state, in any thread, unpacks it as often as it likes.
**
** It does not wait, lock or print, and it never touches two states at once.
** [-o, +p, x] is the Lua manual's notation: values popped, values pushed, and
** what may be raised (m: memory errors, -: nothing).
*/
#ifndef LLMPOOL_VALUE_H
#define LLMPOOL_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#define VALUE_TEXT 400 /* bytes of a refusal's sentence, with its zero */

typedef struct Value Value; /* shared: value_ref, value_unref */

/* Something counted that goes across by reference: a pool, say. */
typedef struct ValueRef {
  void *ptr;                             /* the reference the Value owns */
  void (*unref)(void *ptr);              /* drops it, in any thread; or NULL */
  void (*push)(lua_State *L, void *ptr); /* wraps it: [-0, +1, e] */
} ValueRef;

/* Why a hook's value cannot be sent; NULL takes value_pack's own words. */
typedef struct ValueRefusal {
  const char *what;   /* "a lease": follows "cannot send " */
  const char *remedy; /* "acquire one in the thread": follows the place */
} ValueRefusal;

/*
** Asked about each value that would be refused otherwise: userdata, tables
** with a metatable, coroutines, functions with upvalues. True: `ref` is filled
** in, and from the moment it holds a reference the hook may not raise. False:
** the value is refused. The strings live until the hook's caller returns:
** static ones, or on L's stack. Pops nothing; may leave values.
**
** The Value calls `push` in any state that unpacks it, once per unpacking,
** with LUA_MINSTACK / 2 free slots; several threads may do so at once.
*/
typedef bool ValueHook(lua_State *L, int index, ValueRef *ref,
                       ValueRefusal *refusal);

/* How a packing speaks of its values, and whom it asks. */
typedef struct ValueRules {
  const char *noun; /* "argument": a message says (argument 2.list[3]) */
  int number;       /* the first value's number; 0: the noun alone */
  ValueHook *hook;  /* or NULL */
} ValueRules;

/* Why there is no Value. */
typedef struct ValueWhy {
  bool out_of_memory;    /* else something was refused */
  char text[VALUE_TEXT]; /* "cannot send a coroutine (argument 1.co)" */
} ValueWhy;

/*
** Packs the n values from stack index `first` on. NULL: `why` says why. What
** can be sent: nil, booleans, integers and floats (kept apart), strings,
** tables of any depth with cycles and shared parts, functions that
** value_function_is_sendable, and what the hook takes. A table with a
** metatable can be if that metatable is known to every state: it stands in
** the registry under an address (lua_rawsetp) and has that address, a light
** userdata, in its field `__sendable`. No metamethod runs. `rules` NULL:
** "argument", from 1, no hook. [-0, +0, -]
*/
Value *value_pack(lua_State *L, int first, int n, const ValueRules *rules,
                  ValueWhy *why);

/*
** Pushes the values and returns how many. What was one table, function or
** reference in the sender is one here, and a new one each time; functions get
** this state's globals. The caller keeps its reference to the Value, and since
** this may raise, keeps it in something that Lua frees. Besides memory errors
** it raises where the stack cannot hold the values, where a standard C
** function has been removed from this state, and what `push` raises.
** [-0, +n, e]
*/
int value_unpack(lua_State *L, const Value *value);

Value *value_ref(Value *value);        /* returns `value`; any thread */
void value_unref(Value *value);        /* NULL is allowed; any thread */
size_t value_size(const Value *value); /* bytes of memory it takes */

/*
** Whether the function at `index` goes across as a copy: a Lua function whose
** only upvalue, if any, is _ENV, or a C function of the standard library. If
** not, `upvalue` is the name of the first other upvalue, valid while the
** function lives, or NULL for a C function. [-0, +0, m]
*/
bool value_function_is_sendable(lua_State *L, int index, const char **upvalue);

#endif
