/*
** subject.h - what is measured side by side: things that lend a few clients to
** many threads, one caller per client at a time.
*/
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#define SUBJECT_ROOM 256 /* bytes that a caller keeps for one lease */

typedef union subject_loan {
  char room[SUBJECT_ROOM];
  void *client;
  long long align;
} subject_loan;

typedef struct subject {
  const char *name;
  void *(*open)(unsigned clients); /* exits where it cannot */
  void (*close)(void *pool);
  void (*take)(void *pool, subject_loan *loan); /* waits as long as it takes */
  void (*give)(void *pool, subject_loan *loan);
} subject;

extern const subject subject_pool;      /* llmpool's C library */
extern const subject subject_semaphore; /* sem_t, and an array in a mutex */
extern const subject subject_handoff;   /* the least that order costs */
#ifdef BENCH_APR
extern const subject subject_reslist; /* apr_reslist of libaprutil */
#endif

/* All there are, llmpool first; NULL at the end. */
static const subject *const subjects[] = {&subject_pool, &subject_semaphore,
#ifdef BENCH_APR
                                          &subject_reslist,
#endif
                                          &subject_handoff, NULL};

#endif
