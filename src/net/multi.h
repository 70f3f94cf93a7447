/*
** multi.h - all HTTP transfers of one worker: libcurl's multi interface, driven
** by the worker's loop and timers.
**
** A Multi belongs to its worker's thread. Connections live in it from request
** to request, and so do transfers with their memory.
*/
#ifndef LLMPOOL_MULTI_H
#define LLMPOOL_MULTI_H

#include <curl/curl.h>

#include "../runtime/api.h"

typedef struct Multi Multi;
typedef struct Transfer Transfer;

/* What epoll and curl think of a descriptor. */
typedef struct Socket {
  unsigned watched : 8; /* EPOLL* that the kernel was told */
  unsigned wanted : 8;  /* ... that curl asked for */
  unsigned ours : 1;    /* opened by us: we hear of its end */
  unsigned stray : 1;   /* something came while nobody used it */
  uint16_t port;        /* this side's, of one without TLS; 0: not known */
} Socket;

struct Multi {
  const llmpool_api *api;
  struct Worker *worker;
  CURLM *curl;             /* NULL: to be made anew */
  struct Handles *handles; /* the loop's until they are closed */
  int epoll;
  Socket *sockets; /* by descriptor */
  size_t strays;   /* of them: something came while nobody used it */
  size_t socket_count;
  llmpool_timer timer; /* curl's */
  Transfer *live;      /* under way */
  Transfer *spare;     /* kept for the next request */
  unsigned spare_count;
  unsigned awaited; /* live ones that something is to come of */
  char *ca_file;    /* of the environment, or NULL */
  int64_t turn_ns;  /* when curl's present turn was; 0: nobody has asked yet */
  bool in_turn;     /* curl has one */
  bool no_proxy;    /* the environment names none */
  bool broken;      /* a socket could not be watched */
};

/* NULL: no memory, or the loop refused; nothing is left then. */
Multi *multi_new(const llmpool_api *api, struct Worker *worker);
/* Ends every transfer, closes every connection. */
void multi_free(Multi *multi);

/* The monotonic clock; in curl's turn, which ends soon, as it was when first
** asked: reading it for every callback would cost more than most of them do. */
int64_t multi_now(Multi *multi);

/* A transfer joins: false if curl refuses. It leaves; when it was not done its
** connection is closed, or the HTTP/2 stream reset. */
bool multi_add(Multi *multi, Transfer *transfer);
void multi_remove(Multi *multi, Transfer *transfer);
/* Ends all of it that is under way if curl can no longer be trusted with it. */
void multi_check(Multi *multi);
/* One more or one less that may wake a task: else the loop need not turn. */
void multi_await(Multi *multi, int change);

/* A connection without TLS has this port at our side. */
void multi_note_port(Multi *m, curl_socket_t fd, int port);
/* Whether bytes came on it that answer no request: the next one would take them
** for its own answer. */
bool multi_is_stray(const Multi *m, int port);
/* Callbacks for every easy handle: sockets of ours. */
curl_socket_t multi_open_socket(void *data, curlsocktype purpose,
                                struct curl_sockaddr *address);
int multi_close_socket(void *data, curl_socket_t fd);

#endif
