/*
** alone.h - whether this thread is the only one of its process.
**
** Then a load and a store are as atomic as an exchange, and cost 5 ns less
** each; a lease has six of them. glibc keeps the answer, for this use. It turns
** false before a second thread can run, so nothing is missed, and never while a
** lock of ours is held, since nothing under one makes a thread. Elsewhere it is
** false always. What it does not do: it leaves out no step, only the locked
** instruction of it.
*/
#ifndef LLM_ALONE_H
#define LLM_ALONE_H

#include <stdbool.h>
#include <stdint.h> /* glibc's says which glibc it is */

#if defined(__GLIBC__) && __GLIBC__ * 100 + __GLIBC_MINOR__ >= 232
#include <sys/single_threaded.h>
#define LLM_KNOWS_ALONE
#endif

static inline bool llm_is_alone(void) {
#ifdef LLM_KNOWS_ALONE
  return __libc_single_threaded;
#else
  return false;
#endif
}

#endif
