/*
** tape.c - a recording on its way to a file (see tape.h).
*/
#define _GNU_SOURCE /* O_CLOEXEC, sigfillset */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tape_lines.h"

#define EVENTS 65536       /* that wait for the writer */
#define BYTES (1u << 20)   /* of lines that do */
#define MUCH (1u << 16)    /* bytes: they are written at once */
#define BATCH 256          /* events taken at a time */
#define TURN_NS 500000000  /* between two looks */
#define MOMENT_NS 50000000 /* that somebody waits for the writer */

typedef struct Failed {
  uint64_t ask;
  char kind[TAPE_KIND];
} Failed;

struct Tape {
  Record *record; /* the opener's; or NULL */
  char *path, *program;
  pthread_t thread;
  TapeLines lines; /* the thread's */
  int fd;          /* the thread's, as is `whole` */
  off_t whole;     /* bytes of whole lines that are in the file */
  pthread_mutex_t lock;
  pthread_cond_t work, room;
  /* guarded by the lock: */
  Text text;      /* lines that were put */
  Failed *failed; /* BATCH of them at the least */
  size_t failed_count, failed_size;
  uint64_t lost;
  uint64_t turns; /* of the writer's */
  int64_t end_ns;
  int failure;  /* nothing is written any more */
  bool wanted;  /* the writer is to look now */
  bool stalled; /* it was waited for in vain */
  bool ends;
  bool closed; /* the opener's, as is `end` */
  TapeEnd end;
};

/* ---- waiting ----------------------------------------------------------- */

static struct timespec time_from_now(long ns) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += ns;
  t.tv_sec += t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  return t;
}

static void call_writer(Tape *tape) {
  tape->wanted = true;
  pthread_cond_signal(&tape->work);
}

/* With the lock held: until the writer has made a turn, if it does so soon. It
** is not waited for again before it has. */
static void await_writer(Tape *tape) {
  struct timespec until = time_from_now(MOMENT_NS);
  uint64_t turns = tape->turns;
  call_writer(tape);
  while (tape->turns == turns && !tape->stalled && !tape->ends)
    if (pthread_cond_timedwait(&tape->room, &tape->lock, &until) != 0)
      tape->stalled = true;
}

/* Of the record, when its queue is more than half full. */
static void on_filled(void *user) {
  Tape *tape = user;
  pthread_mutex_lock(&tape->lock);
  await_writer(tape);
  pthread_mutex_unlock(&tape->lock);
}

/* ---- writing: the thread ----------------------------------------------- */

/* The bytes up to the end of the last whole line. */
static size_t whole_lines(const char *bytes, size_t length) {
  const char *last = memrchr(bytes, '\n', length);
  return last ? (size_t)(last - bytes) + 1 : 0;
}

/* What is half a line goes, where it can. */
static void fail(Tape *tape, int failure) {
  if (ftruncate(tape->fd, tape->whole) != 0) {
    /* a pipe: its reader sees half a line */
  }
  pthread_mutex_lock(&tape->lock);
  tape->failure = failure;
  pthread_mutex_unlock(&tape->lock);
  if (tape->program)
    fprintf(stderr, "%s: cannot write the trace: %s: %s\n", tape->program,
            tape->path, strerror(failure));
}

static void write_all(Tape *tape, const char *bytes, size_t length) {
  size_t done = 0;
  if (tape->failure) return; /* this thread has set it */
  while (done < length) {
    ssize_t n = write(tape->fd, bytes + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int failure = errno;
      tape->whole += (off_t)whole_lines(bytes, done);
      fail(tape, failure);
      return;
    }
    done += (size_t)n;
  }
  tape->whole += (off_t)length;
}

static void flush(Tape *tape) {
  write_all(tape, tape->lines.text.bytes, tape->lines.text.length);
  tape->lines.text.length = 0;
}

/* Failures are told before their leases come back: those of a batch are known
** when it has been read. */
static void take_failed(Tape *tape) {
  pthread_mutex_lock(&tape->lock);
  for (size_t i = 0; i < tape->failed_count; i++)
    tape_lines_failed(&tape->lines, tape->failed[i].ask, tape->failed[i].kind);
  tape->failed_count = 0;
  pthread_mutex_unlock(&tape->lock);
}

static void take_events(Tape *tape) {
  RecordTold batch[BATCH];
  size_t n;
  while (tape->record && (n = record_next(tape->record, batch, BATCH)) > 0) {
    take_failed(tape);
    for (size_t i = 0; i < n; i++) tape_lines_take(&tape->lines, &batch[i]);
    if (tape->lines.text.length > MUCH) flush(tape);
  }
}

/* The lines that were put change places with those that are written. */
static void take_text(Tape *tape) {
  pthread_mutex_lock(&tape->lock);
  Text text = tape->text;
  tape->text = tape->lines.text;
  tape->lines.text = text;
  pthread_mutex_unlock(&tape->lock);
}

static void turn(Tape *tape) {
  take_events(tape);
  flush(tape);
  take_text(tape);
  flush(tape);
}

/* True: it is the last turn. */
static bool await_turn(Tape *tape) {
  struct timespec until = time_from_now(TURN_NS);
  pthread_mutex_lock(&tape->lock);
  tape->stalled = false;
  tape->turns++;
  pthread_cond_broadcast(&tape->room);
  while (!tape->wanted && !tape->ends)
    if (pthread_cond_timedwait(&tape->work, &tape->lock, &until) != 0) break;
  tape->wanted = false;
  bool ends = tape->ends;
  pthread_mutex_unlock(&tape->lock);
  return ends;
}

static void *write_on(void *argument) {
  Tape *tape = argument;
  bool last;
  do {
    last = await_turn(tape);
    turn(tape);
  } while (!last);
  tape_lines_end(&tape->lines, tape->end_ns);
  flush(tape);
  if (close(tape->fd) != 0 && !tape->failure) fail(tape, errno);
  return NULL;
}

/* ---- any thread -------------------------------------------------------- */

static bool is_full(const Tape *tape, size_t length) {
  return tape->text.length + length > BYTES;
}

/* The turn that is under way may have taken the lines before. */
void tape_put(Tape *tape, const char *line, size_t length) {
  pthread_mutex_lock(&tape->lock);
  for (int i = 0; i < 2 && is_full(tape, length); i++) await_writer(tape);
  if (tape->ends || is_full(tape, length) ||
      !text_add(&tape->text, line, length))
    tape->lost++;
  else if (tape->text.length > MUCH && !tape->wanted)
    call_writer(tape);
  pthread_mutex_unlock(&tape->lock);
}

static bool has_room(Tape *tape) {
  if (tape->failed_count < tape->failed_size) return true;
  if (tape->failed_size >= EVENTS) return false;
  size_t size = tape->failed_size * 2;
  Failed *list = realloc(tape->failed, size * sizeof *list);
  if (list == NULL) return false;
  tape->failed = list;
  tape->failed_size = size;
  return true;
}

/* The kind is the first word of a failure's reason. */
void tape_failed(Tape *tape, const llm_lease *lease, const char *reason) {
  if (llm_lease_tag(lease) != TAPE_LEASE) return;
  size_t n = strcspn(reason, " ");
  if (n >= TAPE_KIND) n = TAPE_KIND - 1;
  pthread_mutex_lock(&tape->lock);
  if (tape->ends || !has_room(tape)) {
    tape->lost++; /* it is recorded as answered */
  } else {
    Failed *failed = &tape->failed[tape->failed_count++];
    failed->ask = lease->holding;
    memcpy(failed->kind, reason, n);
    failed->kind[n] = '\0';
  }
  pthread_mutex_unlock(&tape->lock);
}

/* ---- opening, closing -------------------------------------------------- */

static void init_cond(pthread_cond_t *cond) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(cond, &attributes);
  pthread_condattr_destroy(&attributes);
}

/* Without signals: those of a closed pipe are an error of write's, and all
** others are for who runs Lua. */
static int start(Tape *tape) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int failure = pthread_create(&tape->thread, NULL, write_on, tape);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return failure;
}

static int begin(Tape *tape, const char *path, const char *header,
                 const char *program) {
  tape->path = strdup(path);
  tape->program = program ? strdup(program) : NULL;
  tape->failed = malloc(BATCH * sizeof *tape->failed);
  tape->failed_size = BATCH;
  if (tape->path == NULL || tape->failed == NULL ||
      (program && tape->program == NULL) ||
      !text_add(&tape->lines.text, header, strlen(header)))
    return ENOMEM;
  if (tape->record && !record_queue(tape->record, EVENTS, on_filled, tape))
    return ENOMEM;
  tape->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (tape->fd < 0) return errno;
  int failure = start(tape);
  if (failure) close(tape->fd);
  return failure;
}

Tape *tape_open(const char *path, const char *header, const char *program,
                Record *record) {
  Tape *tape = calloc(1, sizeof *tape);
  if (tape == NULL) return NULL;
  tape->record = record;
  pthread_mutex_init(&tape->lock, NULL);
  init_cond(&tape->work);
  init_cond(&tape->room);
  int failure = begin(tape, path, header, program);
  if (failure == 0) return tape;
  tape->closed = true;
  tape_free(tape);
  errno = failure;
  return NULL;
}

static void end_writer(Tape *tape, int64_t now_ns) {
  pthread_mutex_lock(&tape->lock);
  tape->ends = true;
  tape->end_ns = now_ns;
  call_writer(tape);
  pthread_cond_broadcast(&tape->room);
  pthread_mutex_unlock(&tape->lock);
  pthread_join(tape->thread, NULL);
}

TapeEnd tape_close(Tape *tape, int64_t now_ns) {
  if (tape->closed) return tape->end;
  if (tape->record) record_stop(tape->record);
  end_writer(tape, now_ns);
  pthread_mutex_lock(&tape->lock);
  tape->end = (TapeEnd){tape->failure, tape->lost + tape->lines.lost};
  pthread_mutex_unlock(&tape->lock);
  if (tape->record) tape->end.lost += tape->record->dropped;
  tape->closed = true;
  return tape->end;
}

void tape_free(Tape *tape) {
  pthread_mutex_destroy(&tape->lock);
  pthread_cond_destroy(&tape->work);
  pthread_cond_destroy(&tape->room);
  tape_lines_free(&tape->lines);
  free(tape->text.bytes);
  free(tape->failed);
  free(tape->path);
  free(tape->program);
  free(tape);
}
