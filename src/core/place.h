/*
** place.h - places: made, found, and moved from state to state.
**
** A place is in somebody's hands (LENT, BUSY), in one of the model's lists
** (IDLE, VACANT, RESTING), or RETIRED. It leaves a list by llm_place_unlink
** and comes back from somebody's hands by llm_place_settle; whoever takes one
** holds a permit, or counts it in `away`.
*/
#ifndef LLM_PLACE_H
#define LLM_PLACE_H

#include "model.h"

static inline llm_place *llm_place_of(llm_link *link) {
  return link == NULL ? NULL : llm_link_owner(link, llm_place, link);
}

/* Nobody has used or checked it for so long; it is idle. */
static inline bool llm_place_is_unproven(const llm_place *place, uint64_t now,
                                         uint64_t span) {
  return llm_ticks_between(place->link.stamp, now) >= span &&
         llm_ticks_between(place->proven_ticks, now) >= span;
}

/* ---- place.c ----------------------------------------------------------- */

/* A vacant place of `key`, in no list and not in its chain yet. Takes spec and
** instance if it succeeds; NULL: no memory. */
llm_place *llm_place_new(llm_key *key, void *spec, void *instance);
void llm_place_free(llm_place *place);
/* Gives a client's parts back that no place has taken. */
void llm_client_discard(const llm_factory *factory,
                        const llm_client_spec *client);
/* Under the lock, or before anybody else knows of the place. NULL: none. */
void llm_place_install(llm_place *place, void *instance);
/* Serial numbers are unique in the process. Under the lock. */
uint64_t llm_model_serial(llm_model *model);

/* ---- settle.c: where a place goes that is in nobody's hands ------------ */

typedef enum llm_cover { /* what stands for a place that is BUSY */
                         LLM_COVER_KEPT, /* a permit that its holder goes on with */
                         LLM_COVER_GIVEN, /* a permit that goes back when the place is settled */
                         LLM_COVER_AWAY /* nothing: it is counted in `away` */
} llm_cover;

/* Called with the lock held; returns without it. Destroys what is doomed, does
** what was marked, links the place where it belongs and settles its permit.
** The model must be kept alive by the caller. */
void llm_place_settle(llm_place *place, llm_cover cover);
/* Under the lock: an IDLE, VACANT or RESTING place leaves its list. */
void llm_place_unlink(llm_place *place);
void llm_place_link_idle(llm_place *place, uint64_t stamp);
void llm_place_link_vacant(llm_place *place);
/* After all but the shortest rests it is checked before it is lent. */
void llm_place_mark_stale(llm_place *place);
/* Until its key is back. */
void llm_place_link_resting(llm_place *place, int64_t now_ns);
/* Idle or vacant, whichever it is. */
void llm_place_link_ready(llm_place *place);
void llm_place_mark(llm_place *place, unsigned marks);
void llm_place_unmark(llm_place *place, unsigned marks);
/* A client leaves its place, which stays in service; place->reason says why. */
void llm_place_note_replaced(llm_place *place);

/* A rest ends then; 0 or LLM_FOREVER: none does. No lock held. */
static inline void llm_due_after_rest(llm_model *model, int64_t until_ns) {
  if (until_ns > 0 && until_ns != LLM_FOREVER)
    llm_due_at(model, until_ns, until_ns);
}

/* Under the lock, after in_service, away or limit have changed: the permits
** that llm_model_apply has to make, without the lock; it also collects what is
** owed, as far as permits are free. */
uint32_t llm_model_recount(llm_model *model);
void llm_model_apply(llm_model *model, uint32_t grow);
/* A permit that its holder has no use for; whoever stands aside looks again. No
** lock held. */
void llm_permit_give(llm_model *model);
/* The same, by one who steps aside: nothing has changed for the others. */
void llm_permit_pass(llm_model *model);

/* checkout.c: a client became idle. The first of those who have a permit and
** wait to create one looks again: it came before those who wait for a permit.
** `key` is the client; NULL: any. No lock held. */
void llm_slot_nudge(llm_model *model, const llm_key *key);

/* aside.c: an idle place that somebody waits for who stands aside, with its
** permit; its waiter, to be woken without the lock. NULL: nobody. Under the
** lock. */
llm_waiter *llm_aside_hand(llm_place *place);
/* Whoever stands aside is told: LLM_W_AGAIN, _CLOSED, _OUT. No lock held. */
void llm_aside_end(llm_model *model, llm_wait_state state);

#endif
