/*
** test_state.c - the allocator of our own states: every block keeps what was
** written into it, through any order of growing, shrinking and freeing, and
** what is freed is used again.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "state.h"

static void *make(Memory *memory, size_t size) {
  return memory_allocate(memory, NULL, 5, size); /* 5: a type's tag */
}

static void drop(Memory *memory, void *block, size_t size) {
  assert_null(memory_allocate(memory, block, size, 0));
}

/* ---- blocks ------------------------------------------------------------ */

static void test_a_freed_block_is_the_next_of_its_size(void **state) {
  (void)state;
  Memory *memory = memory_new();
  void *a = make(memory, 40), *b = make(memory, 40);
  assert_ptr_not_equal(a, b);
  drop(memory, a, 40);
  assert_ptr_not_equal(make(memory, 48), a);
  assert_ptr_equal(make(memory, 33), a); /* rounded up, the same size */
  assert_null(memory_allocate(memory, NULL, 0, 0));
  memory_free(memory);
}

static void test_a_block_stays_where_it_fits(void **state) {
  (void)state;
  Memory *memory = memory_new();
  void *a = make(memory, 33);
  assert_ptr_equal(memory_allocate(memory, a, 33, 40), a);
  void *b = memory_allocate(memory, a, 40, 41);
  assert_ptr_not_equal(b, a);
  assert_ptr_equal(make(memory, 40), a);
  memory_free(memory);
}

static void test_the_rest_of_a_slab_is_not_lost(void **state) {
  (void)state;
  Memory *memory = memory_new();
  char *first = make(memory, 1024), *last = first;
  for (int i = 1; i < 31; i++) last = make(memory, 1024);
  assert_ptr_equal(last, first + 30 * 1024);
  make(memory, 1000); /* leaves 24 bytes of 32 KB */
  make(memory, 32);   /* of the next slab */
  assert_ptr_equal(make(memory, 24), first + 32 * 1024 - 24);
  memory_free(memory);
}

#define BLOCKS 500

typedef struct block {
  unsigned char *at;
  size_t size;
  unsigned char mark;
} block;

static uint32_t draw(uint32_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  *seed ^= *seed << 5;
  return *seed;
}

static void check(const block *b, size_t size) {
  for (size_t i = 0; i < size; i++) assert_int_equal(b->at[i], b->mark);
}

static void change(Memory *memory, block *b, uint32_t *seed) {
  size_t size = draw(seed) % 5 == 0 ? 0 : draw(seed) % 1400, old = b->size;
  unsigned char *at = memory_allocate(memory, b->at, old, size);
  b->at = at;
  b->size = size;
  assert_true((at == NULL) == (size == 0));
  if (at == NULL) return;
  assert_int_equal((uintptr_t)at % 8, 0);
  check(b, old < size ? old : size);
  b->mark = (unsigned char)draw(seed);
  memset(at, b->mark, size);
}

static void test_blocks_keep_what_is_in_them(void **state) {
  (void)state;
  Memory *memory = memory_new();
  static block blocks[BLOCKS];
  uint32_t seed = 20240612;
  for (int i = 0; i < 200000; i++)
    change(memory, &blocks[draw(&seed) % BLOCKS], &seed);
  for (int i = 0; i < BLOCKS; i++) {
    check(&blocks[i], blocks[i].size);
    if (blocks[i].at) drop(memory, blocks[i].at, blocks[i].size);
  }
  memory_free(memory);
}

/* ---- states ------------------------------------------------------------ */

static void test_a_state_is_as_luas_own(void **state) {
  (void)state;
  lua_State *L = state_new();
  luaL_openlibs(L);
  const char code[] =
      "local t = {}\n"
      "for i = 1, 20000 do t[i] = ('x'):rep(i % 300) .. i end\n"
      "for i = 1, 20000, 2 do t[i] = nil end\n"
      "collectgarbage()\n"
      "for i = 2, 20000, 2 do\n"
      "  assert(t[i] == ('x'):rep(i % 300) .. i)\n"
      "end\n"
      "local co = coroutine.wrap(function(...)\n"
      "  local function deep(n) return n == 0 and 0 or 1 + deep(n - 1) end\n"
      "  coroutine.yield(deep(10000))\n"
      "end)\n"
      "assert(co() == 10000)\n";
  if (luaL_dostring(L, code)) fail_msg("%s", lua_tostring(L, -1));
  state_close(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_freed_block_is_the_next_of_its_size),
      cmocka_unit_test(test_a_block_stays_where_it_fits),
      cmocka_unit_test(test_the_rest_of_a_slab_is_not_lost),
      cmocka_unit_test(test_blocks_keep_what_is_in_them),
      cmocka_unit_test(test_a_state_is_as_luas_own)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
