/*
** futex.h - the two calls to the kernel that lock.c and parker.c stand on.
**
** Linux only; LLM_PORTABLE (chosen elsewhere, or with -DLLM_PORTABLE) makes
** both fall back to a pthread mutex and condition variable. A wake that comes
** after the word's memory was freed or reused is harmless: whoever waits on a
** futex here looks at its word again.
*/
#ifndef LLM_FUTEX_H
#define LLM_FUTEX_H

#if !defined(__linux__) && !defined(LLM_PORTABLE)
#define LLM_PORTABLE
#endif

#ifndef LLM_PORTABLE
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* Sleeps while *word == expected, at most until `until` on CLOCK_MONOTONIC
** (NULL: no limit). Returns for any reason or none: look again. */
void llm_futex_wait(_Atomic uint32_t *word, uint32_t expected,
                    const struct timespec *until);
void llm_futex_wake_one(_Atomic uint32_t *word);
#endif

#endif
