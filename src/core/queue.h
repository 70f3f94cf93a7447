/*
** queue.h - an intrusive, doubly linked queue of any struct that has `prev`
** and `next` of its own type.
**
** The nodes belong to whoever puts them in: nothing is allocated, a node is in
** one queue at a time, and a node outside has no meaning in prev and next. No
** locking: whoever owns the queue guards it.
*/
#ifndef LLM_QUEUE_H
#define LLM_QUEUE_H

#include <stddef.h>

/* A queue of `type`; zeroed is empty. */
#define LLM_QUEUE(type) \
  struct {              \
    type *head, *tail;  \
  }

#define llm_queue_init(q) ((q)->head = (q)->tail = NULL)
#define llm_queue_is_empty(q) ((q)->head == NULL)

/* At the tail. Arguments are evaluated more than once. */
#define llm_queue_push(q, node) \
  do {                          \
    (node)->next = NULL;        \
    (node)->prev = (q)->tail;   \
    if ((q)->tail != NULL)      \
      (q)->tail->next = (node); \
    else                        \
      (q)->head = (node);       \
    (q)->tail = (node);         \
  } while (0)

/* A node that is in the queue, wherever it stands. */
#define llm_queue_remove(q, node)        \
  do {                                   \
    if ((node)->prev != NULL)            \
      (node)->prev->next = (node)->next; \
    else                                 \
      (q)->head = (node)->next;          \
    if ((node)->next != NULL)            \
      (node)->next->prev = (node)->prev; \
    else                                 \
      (q)->tail = (node)->prev;          \
  } while (0)

#endif
