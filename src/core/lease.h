/*
** lease.h - what the files of the checkout share: lease.c (begin, lend,
** return), wait.c (waiting, refusal), checkout.c (from a permit to a
** client), group.c (several models), acquire.c (for a thread that blocks).
**
** A lease that waits, checks or creates holds a reference of each model it
** asked. One that is lent holds none: its model is kept by the pool as long as
** anything of it is lent.
*/
#ifndef LLM_LEASE_H
#define LLM_LEASE_H

#include "place.h"

/* lease->flags */
#define LLM_ON_LINE 1u  /* waits for a permit of its model */
#define LLM_ON_LINES 2u /* waits for a permit of several */
#define LLM_ON_SLOT 4u  /* holds a permit, waits for a create slot */
#define LLM_HAS_SLOT 8u
#define LLM_IS_NOW 16u      /* never waits */
#define LLM_STARTED 32u     /* lent_ticks says since when it asks */
#define LLM_HAS_REFS 64u    /* of its model, or of all its models */
#define LLM_BACKGROUND 128u /* refills min_idle; is not counted as a lease */
#define LLM_PICKS 2048u     /* prefers or excludes */
#define LLM_BOOKED 256u     /* has taken of the client's buckets */
#define LLM_MADE_SHORT \
  512u                   /* has sent clients to rest that it was too much for */
#define LLM_ASIDE 1024u  /* waits for a client that it does not exclude */
#define LLM_NUDGED 4096u /* has left the line for a slot to look again */
#define LLM_TAG 8192u    /* times the ask's tag, up to 3 */
#define LLM_WAITS (LLM_ON_LINE | LLM_ON_LINES | LLM_ON_SLOT)

/* ---- wait.c ------------------------------------------------------------ */

/* All but the models. Inlined it is not: it would double the way of a begin. */
void llm_lease_prepare(llm_lease *lease, const llm_ask *ask,
                       void (*wake)(llm_waiter *));
/* From here on it takes time: the moment counts as that of the question. */
void llm_lease_start(llm_lease *lease);
void llm_lease_hold(llm_lease *lease);
void llm_lease_unhold(llm_lease *lease);
/* The ask has failed; nothing is held any more but references. */
llm_step llm_lease_fail(llm_lease *lease, llm_err err);
/* Fails with a permit in hand, perhaps a create slot too. */
llm_step llm_lease_give_up(llm_lease *lease, llm_err err);
void llm_lease_free_slot(llm_lease *lease);
/* It is in line: `flag` says where. */
llm_step llm_lease_park(llm_lease *lease, unsigned flag);
void llm_lease_note_queued(llm_lease *lease, llm_model *model);
/* No permit was free: waits for one, or fails. */
llm_step llm_lease_line_up(llm_lease *lease);
/* Its permit is one that is owed: gives it up and waits in front. Called with
** the model's lock held, returns without it. READY: another was free. */
llm_step llm_lease_line_up_again(llm_lease *lease);
/* With the model's lock held, returns without it, and without what else the
** lease holds: its permit is one that is owed, and the caller's to drop. */
void llm_lease_pay(llm_lease *lease);
/* The error of a wait that ended so, other than GRANTED. */
llm_err llm_wait_error(llm_wait_state state);
/* Every client that is not about to leave rests, or will; then *back_ns is
** when the first one is back. LLM_FOREVER: none will. *is_out, if not NULL:
** they all are disabled. */
bool llm_model_rests(llm_model *model, int64_t *back_ns, bool *is_out);
/* A slot of it is, and is not about to leave. Under the lock. */
bool llm_key_is_in_service(const llm_key *key);
/* Why this ask need not wait for this model; LLM_OK: it may. */
llm_err llm_lease_hopeless(llm_lease *lease, llm_model *model,
                           int64_t *back_ns);
/* Those in line are told, if no client can ever come. No lock held. */
void llm_model_dismiss(llm_model *model);
/* Clients that rest for what this ask was to take need no longer. */
void llm_lease_end_short(llm_lease *lease);

/* ---- group.c ----------------------------------------------------------- */

/* How the wait in several lines has ended. */
llm_step llm_group_next(llm_lease *lease);
/* The lending model could not create: one of those after it, now or never. */
llm_step llm_group_fall_back(llm_lease *lease);

/* A permit of a model after this one: it lends from here on, and the permit of
** this one is the caller's to give. */
bool llm_group_onward(llm_lease *lease);
/* As llm_lease_line_up_again, after clients were sent to rest for this ask. */
llm_step llm_group_again(llm_lease *lease);

/* ---- checkout.c -------------------------------------------------------- */

/* With a permit of lease->model, and nothing else, in hand. */
llm_step llm_checkout(llm_lease *lease);
/* A vacant place is the lease's to create into. Under the lock. */
void llm_lease_claim(llm_lease *lease, llm_place *place);
/* lease->place is in no list: asks for its check, or does it. */
llm_step llm_lease_check(llm_lease *lease, llm_place *place);
/* lease->place is claimed: asks for its creation, or does it. */
llm_step llm_lease_create(llm_lease *lease);

llm_step llm_checkout_handed(llm_lease *lease); /* with lease->place as well */
bool llm_lease_excludes(const llm_lease *lease, const llm_key *key);

/* ---- aside.c ----------------------------------------------------------- */

/* With the lock held and a permit, but only clients that it excludes; returns
** without the lock. READY: look again. */
llm_step llm_lease_step_aside(llm_lease *lease);
llm_step llm_aside_next(llm_lease *lease);
bool llm_aside_withdraw(llm_lease *lease, llm_wait_state why);
void llm_aside_abort(llm_lease *lease);

/* ---- outcome.c --------------------------------------------------------- */

/* Takes of the client's buckets what the lease asks for, or gives it back.
** Under the lock. */
void llm_lease_book(llm_lease *lease, llm_key *key);
void llm_lease_unbook(llm_lease *lease, llm_key *key);

/* ---- lending ----------------------------------------------------------- */

/* What its events have as their ask. */
static inline uint64_t llm_lease_ask(const llm_lease *lease, uint64_t holding) {
  return holding | (uint64_t)(lease->flags / LLM_TAG) << LLM_TAG_SHIFT;
}

/* Under the lock. The place is in no list. */
static inline void llm_lend(llm_lease *lease, llm_place *place, uint64_t now,
                            uint64_t waited) {
  llm_model *model = place->model;
  if (lease->holding == 0) lease->holding = llm_model_serial(model);
  place->holder = lease->holding;
  place->state = LLM_P_LENT;
  place->lent_ticks = lease->lent_ticks = now;
  lease->place = place;
  lease->step = LLM_READY;
  llm_counter_add(&model->counts.acquired, 1, memory_order_relaxed);
  llm_counter_add(&place->key->acquired, 1, memory_order_relaxed);
  llm_histogram_record(&model->wait, waited);
  if (llm_pool_wants(model->pool, LLM_LISTENED))
    llm_note(model, LLM_EV_LENT, place, llm_lease_ask(lease, lease->holding),
             llm_clock_ticks_to_ns(model->clock, waited));
}

#endif
