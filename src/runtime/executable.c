/*
** executable.c - where the program of this process lies.
**
** One idea: the kernel says so twice, in /proc and among what it hands to every
** program. The second is the name that was executed: a script's, where a script
** names the program in its first line, and of no use once the directory has
** been changed, so it is asked only where /proc is missing (a bare chroot).
*/
#include "executable.h"

#include <stdlib.h>

#ifdef __linux__
#include <sys/auxv.h>

static char *name_at_start(void) {
  const char *name = (const char *)getauxval(AT_EXECFN);
  return name ? realpath(name, NULL) : NULL;
}
#else
static char *name_at_start(void) { return NULL; }
#endif

char *executable_path(void) {
  char *path = realpath("/proc/self/exe", NULL);
  return path ? path : name_at_start();
}
