/*
** test_parker_portable.c - test_parker.c again, over the mutex and condition
** that stand in for the futex elsewhere: a parker of this program's own, which
** the linker then takes from no library.
*/
#ifndef LLM_PORTABLE
#define LLM_PORTABLE
#endif
#include "parker.c"
#include "test_parker.c"
