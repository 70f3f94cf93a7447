/*
** loop.c - the worker's libuv loop, made when it is first needed.
**
** One idea: two handles, neither of which keeps the loop alive - an async that
** other threads and signals kick, and a timer that bounds the sleep - so that
** uv_loop_alive says exactly whether somebody's I/O is under way.
*/
#include "loop.h"

#include <stdlib.h>
#include <uv.h>

struct Loop {
  uv_loop_t uv;
  uv_async_t kick;
  uv_timer_t bound;
};

static void on_kick(uv_async_t *kick) {
  uv_stop(kick->loop); /* the sleep is over; the worker looks at its inbox */
}

static void on_bound(uv_timer_t *bound) { uv_stop(bound->loop); }

/* Handles are closed by a turn of the loop: only then may it be freed. */
static void discard(Loop *loop, int handles) {
  if (handles > 0) uv_close((uv_handle_t *)&loop->kick, NULL);
  if (handles > 1) uv_close((uv_handle_t *)&loop->bound, NULL);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  uv_loop_close(&loop->uv);
  free(loop);
}

bool loop_open(Worker *worker) {
  if (worker->loop) return true;
  Loop *loop = malloc(sizeof *loop);
  if (loop == NULL) return false;
  if (uv_loop_init(&loop->uv) != 0) {
    free(loop);
    return false;
  }
  if (uv_async_init(&loop->uv, &loop->kick, on_kick) != 0) {
    discard(loop, 0);
    return false;
  }
  uv_timer_init(&loop->uv, &loop->bound);
  uv_unref((uv_handle_t *)&loop->kick);
  pthread_mutex_lock(&worker->inbox_lock);
  worker->loop = loop;
  pthread_mutex_unlock(&worker->inbox_lock);
  return true;
}

/* libuv's timers count milliseconds: round up, so that nobody wakes early and
** spins through the rest of the millisecond. */
static uint64_t milliseconds(int64_t span_ns) {
  return ((uint64_t)span_ns + 999999) / 1000000;
}

void loop_run(Worker *worker, int64_t until_ns) {
  Loop *loop = worker->loop;
  int64_t span = until_ns;
  if (until_ns != LLM_FOREVER && until_ns != 0)
    span = until_ns - (int64_t)uv_hrtime();
  if (span <= 0) {
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    return;
  }
  /* the loop sleeps only for handles that are referenced */
  uv_ref((uv_handle_t *)&loop->kick);
  if (until_ns != LLM_FOREVER) {
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->bound, on_bound, milliseconds(span), 0);
  }
  uv_run(&loop->uv, UV_RUN_ONCE);
  uv_timer_stop(&loop->bound);
  uv_unref((uv_handle_t *)&loop->kick);
}

bool loop_is_alive(const Worker *worker) {
  return worker->loop && uv_loop_alive(&worker->loop->uv);
}

void loop_kick(Loop *loop) { uv_async_send(&loop->kick); }

void loop_close(Worker *worker) {
  if (worker->loop == NULL) return;
  pthread_mutex_lock(&worker->inbox_lock);
  Loop *loop = worker->loop;
  worker->loop = NULL;
  pthread_mutex_unlock(&worker->inbox_lock);
  discard(loop, 2);
}

void *loop_uv(Worker *worker) {
  return loop_open(worker) ? &worker->loop->uv : NULL;
}
