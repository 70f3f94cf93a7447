/*
** sanitizer.c - what ThreadSanitizer has to be told; nothing in other builds.
**
** libuv closes its descriptors by a bare system call, which the sanitizer does
** not see: a thread that gets the number again then seems to race with the one
** that had it before. So calls that libuv makes are not looked at.
**
** curl closes a socket that was still connecting without telling, and has it
** taken out of our epoll set later (multi.c, watch_in_epoll). By then its number
** may be another thread's; the set does not have that, so nothing happens.
**
** Debian's liblua leaves its C frames by glibc's checked longjmp, which the
** sanitizer does not see either: its copy of the stack would grow by some
** frames with every yield and error, until it gives up. So ours stands first.
*/
#ifdef __SANITIZE_THREAD__

#undef _FORTIFY_SOURCE /* longjmp is to mean longjmp here */
#include <setjmp.h>

_Noreturn void __longjmp_chk(jmp_buf env, int value);

_Noreturn void __longjmp_chk(jmp_buf env, int value) { longjmp(env, value); }

const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void) {
  return "called_from_lib:libuv.so\n"
         "race:^watch_in_epoll$\n";
}

#else

typedef int nothing_to_say; /* a file must declare something */

#endif
