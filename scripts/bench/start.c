/*
** start.c - how long a program takes to do nothing: from the request for a
** process to its end, for two commands in turn.
**
**   start [--rounds N] PROGRAM PROGRAM
**
** Each is run as PROGRAM -e "" with nothing on stdin and stdout.
*/
#include <spawn.h>
#include <sys/wait.h>

#include "bench.h"

extern char **environ;

/* Wall time in nanoseconds. */
static double start(const char *program) {
  char *argv[] = {(char *)program, (char *)"-e", (char *)"", NULL};
  pid_t child;
  int status;
  int64_t begun = bench_now();
  bench_require(posix_spawn(&child, program, NULL, NULL, argv, environ) == 0,
                program);
  bench_require(waitpid(child, &status, 0) == child && status == 0, program);
  return (double)(bench_now() - begun);
}

int main(int argc, char **argv) {
  int rounds = (int)bench_option(argc, argv, "--rounds", 200);
  bench_require(argc >= 3, "start PROGRAM PROGRAM");
  const char *ours = argv[argc - 2], *peer = argv[argc - 1];
  start(ours);
  start(peer);
  for (int round = 0; round < rounds; round++) {
    bench_sample("start", "llmpool", round, start(ours));
    bench_sample("start", "lua5.4", round, start(peer));
  }
  return 0;
}
