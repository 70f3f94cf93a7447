/*
** sanitizer.c - what ThreadSanitizer has to be told; nothing in other builds.
**
** libuv closes its descriptors by a bare system call, which the sanitizer does
** not see: a thread that gets the number again then seems to race with the one
** that had it before. So calls that libuv makes are not looked at.
*/
#ifdef __SANITIZE_THREAD__

const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void) {
  return "called_from_lib:libuv.so\n";
}

#else

typedef int nothing_to_say; /* a file must declare something */

#endif
