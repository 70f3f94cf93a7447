/*
** timer.c - a world's timers: a binary heap of caller-owned nodes.
**
** One idea: each node knows its place in the heap, so that stopping one that
** never fires - the fate of most deadlines - costs O(log n) and no search.
** It does not sleep; the world asks for the earliest and sleeps until then.
*/
#include "worker.h"

#include <assert.h>
#include <stdlib.h>

static bool earlier(const Timer *a, const Timer *b) {
  if (a->due_ns != b->due_ns) return a->due_ns < b->due_ns;
  return a->seq < b->seq;
}

static void place(Timers *timers, uint32_t i, Timer *timer) {
  timers->heap[i] = timer;
  timer->index = i + 1;
}

static void sift_up(Timers *timers, uint32_t i, Timer *timer) {
  while (i > 0 && earlier(timer, timers->heap[(i - 1) / 2])) {
    place(timers, i, timers->heap[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  place(timers, i, timer);
}

static void sift_down(Timers *timers, uint32_t i, Timer *timer) {
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= timers->count) break;
    if (child + 1 < timers->count &&
        earlier(timers->heap[child + 1], timers->heap[child]))
      child++;
    if (!earlier(timers->heap[child], timer)) break;
    place(timers, i, timers->heap[child]);
    i = child;
  }
  place(timers, i, timer);
}

static bool reserve(Timers *timers) {
  if (timers->count < timers->size) return true;
  uint32_t size = timers->size ? timers->size * 2 : 64;
  Timer **heap = realloc(timers->heap, size * sizeof *heap);
  if (heap == NULL) return false;
  timers->heap = heap;
  timers->size = size;
  return true;
}

bool timer_start(World *world, Timer *timer, int64_t due_ns) {
  Timers *timers = &world->timers;
  timer_stop(world, timer);
  if (!reserve(timers)) return false;
  timer->due_ns = due_ns;
  timer->seq = timers->next_seq++;
  sift_up(timers, timers->count++, timer);
  return true;
}

void timer_stop(World *world, Timer *timer) {
  Timers *timers = &world->timers;
  if (timer->index == 0) return;
  uint32_t i = timer->index - 1;
  assert(i < timers->count && timers->heap[i] == timer);
  Timer *last = timers->heap[--timers->count];
  timer->index = 0;
  if (last == timer) return;
  if (i > 0 && earlier(last, timers->heap[(i - 1) / 2]))
    sift_up(timers, i, last);
  else
    sift_down(timers, i, last);
}

int64_t timers_due(const World *world) {
  return world->timers.count ? world->timers.heap[0]->due_ns : LLM_FOREVER;
}

int timers_run(World *world, int64_t now_ns) {
  /* a timer that a firing one starts belongs to the next turn, also when it
  ** is due at once: else two that restart each other would never end */
  uint64_t end = world->timers.next_seq;
  int fired = 0;
  while (world->timers.count) {
    Timer *timer = world->timers.heap[0];
    if (timer->due_ns > now_ns || timer->seq >= end) break;
    timer_stop(world, timer);
    timer->fire(timer);
    fired++;
  }
  return fired;
}

void timers_free(World *world) {
  free(world->timers.heap);
  world->timers.heap = NULL;
  world->timers.count = world->timers.size = 0;
}
