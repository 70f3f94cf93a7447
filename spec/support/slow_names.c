/*
** slow_names.c - to be preloaded: every look-up of a name takes two seconds
** longer, as with a name server that does not answer.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

typedef int Lookup(const char *, const char *, const struct addrinfo *,
                   struct addrinfo **);

int getaddrinfo(const char *node, const char *service,
                const struct addrinfo *hints, struct addrinfo **result) {
  Lookup *real;
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  sleep(2);
  return real(node, service, hints, result);
}
