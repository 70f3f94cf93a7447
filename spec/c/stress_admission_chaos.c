/*
** stress_admission_chaos.c - stress_admission.c again, over a core of its own
** that yields at random at every atomic and lock point (test 56).
*/
#ifndef LLM_CHAOS
#define LLM_CHAOS
#endif
#include "lock.c"

#include "parker.c"

#include "line.c"

#include "admission.c"

#include "stress_admission.c"
