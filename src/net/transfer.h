/*
** transfer.h - one HTTP exchange: an easy handle, what has come, what it may
** take.
**
** A transfer outlives neither its Multi nor, but for draining, its owner. What
** becomes of it is told by its state and by a wake of the task that waits;
** callbacks touch no Lua.
*/
#ifndef LLMPOOL_TRANSFER_H
#define LLMPOOL_TRANSFER_H

#include <stdint.h>

#include "bytes.h"
#include "lines.h"
#include "multi.h"

typedef enum Phase {
  PHASE_CONNECT, /* until a connection stands: a name, TCP, TLS, a free one */
  PHASE_ANSWER,  /* the request goes out; until the headers are there */
  PHASE_BODY,
  PHASE_DONE /* all is there, or it failed; out of the Multi */
} Phase;

/* What we ended it for, beyond what curl reports. */
typedef enum Fault {
  FAULT_NONE,
  FAULT_CONNECT, /* timeouts */
  FAULT_FIRST,
  FAULT_IDLE,
  FAULT_TOTAL,
  FAULT_BODY, /* sizes */
  FAULT_HEADERS,
  FAULT_CUT,       /* it ended within the headers */
  FAULT_REDIRECTS, /* too many */
  FAULT_MEMORY
} Fault;

/* Spans in ns; INT64_MAX: no limit. */
typedef struct Limits {
  int64_t connect, first, idle, total;
  size_t max_bytes;
} Limits;

struct Transfer {
  CURL *easy;
  Multi *multi;
  Transfer *next, **link; /* in one of the Multi's lists */
  Transfer **owner;       /* where the owner keeps it; NULL: draining */
  struct Task *waiter;    /* to be woken by progress, or NULL */
  Phase phase;
  Fault fault;
  CURLcode result; /* when done */
  Limits limits;
  llmpool_timer timer;            /* of the nearest limit */
  int64_t started, began;         /* ns: all of it, this hop */
  int64_t opened;                 /* a socket was made for it; 0: none was */
  curl_socket_t socket;           /* the latest that was */
  int64_t connected, first, last; /* `last`: bytes came; 0: not yet */
  Bytes head, body;               /* body: what was not read yet */
  size_t received;                /* bytes of the body so far */
  size_t hints;                   /* bytes of the 1xx heads before `head` */
  long status;
  Lines lines;
  uint8_t hops;        /* redirects that may still be followed */
  uint8_t turned_away; /* how often a server had no connection for it */
  bool stream;         /* the reader takes it piece by piece */
  bool paused;         /* the reader is behind */
  bool stray;   /* its connection had bytes on it before it asked: once more */
  bool awaited; /* counted by multi_await */
  bool special; /* has options that curl would keep: for one request only */
  CURLU *address; /* the URL in its parts, from request to request */
  char *url;      /* ... in one */
  char method[16];
  char error[CURL_ERROR_SIZE];
};

/* One of the spares, or a new one; NULL: no memory. `owner` names it until it
** is ended. */
Transfer *transfer_take(Multi *multi, Transfer **owner);
/* Starts it with what was set on it. False: curl refused. */
bool transfer_start(Transfer *transfer);
/* The same for another hop of the same exchange. */
bool transfer_again(Transfer *transfer);
/* Closes its connection unless all was read, and gives it back; the owner has
** none afterwards. */
void transfer_end(Transfer *transfer);
/* Ends it with this fault, which its owner has to tell. */
void transfer_fail(Transfer *transfer, Fault fault);
/* The owner lets go; it is read to its end, so that the connection stays. */
void transfer_drain(Transfer *transfer);
/* From the Multi: curl is done with it. */
void transfer_done(Transfer *transfer, CURLcode result);
/* Memory and all; it is under way no more. */
void transfer_free(Transfer *transfer);
/* Where it goes; of the last one it knows the parts already. CURLUE_OK, or what
** is wrong with it. */
CURLUcode transfer_aim(Transfer *transfer, const char *url);
/* It believes the certificates of this file instead of the usual. False: no
** memory. */
bool transfer_trust(Transfer *transfer, const char *ca_file);
/* The reader took `length` bytes of the body. */
void transfer_take_body(Transfer *transfer, size_t length);
/* Where its answer says to ask, if it does; http and https only. */
const char *redirect_target(const Transfer *transfer);
/* Asks there. False: no memory. */
bool transfer_redirect(Transfer *transfer, const char *target);

#endif
