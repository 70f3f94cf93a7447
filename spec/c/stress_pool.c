/*
** stress_pool.c - everything at once: threads that lend, return, poison, give
** up and abort, while clients rest, retire, come, are replaced and renewed,
** limits and pauses change, and a model comes and goes.
**
** Each client has a flag that says it is lent and a count of its instances, so
** that two holders or two instances of one place are noticed at once. In the
** end the books of every model must close, its permits must add up, and every
** instance must have been destroyed.
*/
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parker.h"
#include "place.h"
#include "stress.h"

#define THREADS 8
#define MODELS 3 /* that stay; one more comes and goes */
#define CLIENTS 6
#define US INT64_C(1000)

static llm_pool *pool;
static llm_model *models[MODELS];
static int64_t until;
static _Atomic uint64_t lends, failures, events;

/* ---- the factory ------------------------------------------------------- */

typedef struct book { /* of one model: factory.user */
  _Atomic int live[CLIENTS], lent[CLIENTS], specs;
} book;

static book books[MODELS];

typedef struct instance {
  _Atomic int *live;
} instance;

static _Thread_local stress_rng *rng; /* of this thread */

static int index_of(const llm_place *place) {
  return llm_place_id(place)[1] - '0';
}

static instance *make(_Atomic int *live) {
  instance *made = malloc(sizeof *made);
  REQUIRE(made != NULL);
  made->live = live;
  REQUIRE(atomic_fetch_add(live, 1) == 0); /* I10, for each place */
  return made;
}

static int create(void *user, llm_place *place, llm_reason reason,
                  int64_t deadline_ns, void **out, char text[LLM_TEXT]) {
  (void)reason;
  (void)deadline_ns;
  if (stress_chance(rng, 3)) {
    snprintf(text, LLM_TEXT, "refused");
    return 1;
  }
  if (stress_chance(rng, 20)) stress_sleep(stress_random(rng, 50) * US);
  *out = make(&((book *)user)->live[index_of(place)]);
  return 0;
}

static int check(void *user, llm_place *place, int64_t deadline_ns) {
  (void)deadline_ns;
  REQUIRE(atomic_load(&((book *)user)->live[index_of(place)]) == 1);
  return stress_chance(rng, 10);
}

static void destroy(void *user, llm_place *place, void *gone) {
  (void)user;
  (void)place;
  REQUIRE(atomic_fetch_sub(((instance *)gone)->live, 1) == 1);
  free(gone);
}

static void free_spec(void *user, void *spec) {
  atomic_fetch_sub(&((book *)user)->specs, 1);
  free(spec);
}

static void free_book(void *user) {
  book *b = user;
  REQUIRE(atomic_load(&b->specs) == 0);
  for (int i = 0; i < CLIENTS; i++) REQUIRE(atomic_load(&b->live[i]) == 0);
  if (b < books || b >= books + MODELS) free(b);
}

static llm_client_spec client(book *b, const char *id) {
  void *spec = malloc(1);
  REQUIRE(spec != NULL);
  atomic_fetch_add(&b->specs, 1);
  return (llm_client_spec){.id = id, .spec = spec};
}

static const char *ids[CLIENTS] = {"c0", "c1", "c2", "c3", "c4", "c5"};

static llm_err register_model(const char *name, book *b, llm_model **model) {
  llm_options o;
  llm_client_spec clients[CLIENTS];
  llm_factory factory = {.user = b,
                         .create = create,
                         .check = check,
                         .destroy = destroy,
                         .free_spec = free_spec,
                         .free_user = free_book};
  llm_options_init(&o);
  o.check_after_ns = 100 * US;
  o.max_lifetime_ns = 20000 * US;
  o.max_uses = 500;
  o.idle_timeout_ns = 2000 * US;
  o.min_idle = 1;
  o.backoff_min_ns = 20 * US;
  o.backoff_max_ns = 100 * US;
  o.max_waiting = 50;
  for (int i = 0; i < CLIENTS; i++) clients[i] = client(b, ids[i]);
  return llm_pool_register(pool, name, clients, CLIENTS, &o, &factory, model,
                           NULL);
}

/* ---- lending ----------------------------------------------------------- */

static llm_model *some_model(void) {
  return models[stress_random(rng, MODELS)];
}

static llm_ask some_ask(void) {
  llm_ask how = {.priority = (uint8_t)stress_random(rng, LLM_PRIORITIES)};
  how.deadline_ns = stress_now() + stress_random(rng, 400) * US;
  if (stress_chance(rng, 10)) how.deadline_ns += 3000 * US;
  if (stress_chance(rng, 10)) how.now = true;
  if (stress_chance(rng, 20)) {
    how.prefer = &ids[stress_random(rng, CLIENTS)];
    how.n_prefer = 1;
  }
  return how;
}

static void use(llm_lease *lease) {
  book *b = llm_model_user(lease->model);
  _Atomic int *lent = &b->lent[index_of(lease->place)];
  REQUIRE(atomic_exchange(lent, 1) == 0);
  REQUIRE(atomic_load(&b->live[index_of(lease->place)]) == 1);
  if (stress_chance(rng, 30)) stress_sleep(stress_random(rng, 60) * US);
  if (stress_chance(rng, 2)) llm_lease_leaked(lease);
  atomic_store(lent, 0);
  llm_lease copy = *lease;
  llm_model *model = llm_model_ref(lease->model); /* for the copy's sake */
  REQUIRE(
      llm_lease_return(lease, stress_chance(rng, 5) ? LLM_POISON : LLM_KEEP));
  REQUIRE(!stress_chance(rng, 5) || !llm_lease_return(lease, LLM_KEEP));
  REQUIRE(!stress_chance(rng, 5) || !llm_lease_return(&copy, LLM_KEEP));
  llm_model_unref(model);
  atomic_fetch_add(&lends, 1);
}

static void lend(llm_model *model) {
  llm_lease lease = {0};
  llm_ask how = some_ask();
  if (llm_acquire(&lease, model, &how) == LLM_OK)
    use(&lease);
  else
    atomic_fetch_add(&failures, 1);
}

static void lend_some(void) { lend(some_model()); }

static void lend_any(void) {
  llm_lease lease = {0};
  llm_ask how = some_ask();
  llm_model *some[MODELS];
  uint32_t first = stress_random(rng, MODELS);
  for (uint32_t i = 0; i < MODELS; i++) some[i] = models[(first + i) % MODELS];
  if (llm_acquire_any(&lease, some, 2 + stress_random(rng, 2), &how) == LLM_OK)
    use(&lease);
  else
    atomic_fetch_add(&failures, 1);
}

static void lend_what_comes_and_goes(void) {
  llm_model *model = llm_pool_model(pool, "x");
  if (model == NULL) return;
  lend(model);
  llm_model_unref(model);
}

typedef struct impatient { /* gives up by itself, at any step */
  llm_lease lease;
  llm_parker *parker;
} impatient;

static void wake(llm_waiter *waiter) {
  llm_parker_wake(((impatient *)(void *)waiter)->parker);
}

static void lend_impatiently(void) {
  impatient i = {.parker = llm_parker_self()};
  llm_ask how = some_ask();
  llm_step step = llm_lease_begin(&i.lease, some_model(), &how, wake);
  while (step == LLM_WAIT) {
    if (stress_chance(rng, 50)) sched_yield();
    if (llm_lease_withdraw(&i.lease, LLM_CANCELLED)) return;
    llm_parker_take(i.parker);
    if (stress_chance(rng, 50)) {
      llm_lease_abort(&i.lease);
      return;
    }
    step = llm_lease_next(&i.lease);
  }
  if (step == LLM_READY) use(&i.lease);
}

/* ---- meddling ---------------------------------------------------------- */

static const char *some_id(void) { return ids[stress_random(rng, CLIENTS)]; }

static void cool_down(void) {
  llm_model_cool_down(some_model(), some_id(),
                      stress_now() + stress_random(rng, 300) * US);
}

static void retire(void) { llm_model_retire(some_model(), some_id()); }

static void add(void) {
  llm_model *model = some_model();
  llm_client_spec c = client(llm_model_user(model), some_id());
  llm_err err = llm_model_add(model, &c);
  REQUIRE(err == LLM_OK || err == LLM_EXISTS);
}

static void replace(void) {
  llm_model *model = some_model();
  llm_client_spec c = client(llm_model_user(model), some_id());
  llm_err err = llm_model_replace(model, &c);
  REQUIRE(err == LLM_OK || err == LLM_UNKNOWN_CLIENT);
}

static void renew(void) { llm_model_renew(some_model()); }

static void limit(void) {
  llm_model_limit(some_model(), stress_random(rng, CLIENTS + 2));
}

static void pause_one(void) {
  llm_model *model = some_model();
  llm_model_pause(model);
  stress_sleep(stress_random(rng, 100) * US);
  llm_model_resume(model);
}

static void come_and_go(void) {
  book *b = calloc(1, sizeof *b);
  REQUIRE(b != NULL);
  register_model("x", b, NULL);
  llm_pool_unregister(pool, "x");
}

static void tick(void) { llm_pool_tick(pool); }

static void refill(void) {
  llm_lease lease;
  if (llm_pool_background(pool, &lease) != LLM_READY) return;
  if (stress_chance(rng, 50))
    llm_lease_abort(&lease);
  else
    REQUIRE(llm_lease_return(&lease, LLM_KEEP));
}

static void drain(void) { llm_pool_drain(pool, stress_now() + 50 * US); }

static void notify(void *user) { atomic_fetch_add((_Atomic int *)user, 1); }

static void listen(void) {
  llm_event out[50];
  _Atomic int told = 0;
  uint64_t last = 0;
  llm_listener *l =
      llm_pool_listen(pool, 1 + stress_random(rng, 200), notify, &told);
  REQUIRE(l != NULL);
  for (int i = 0; i < 20; i++) {
    stress_sleep(20 * US);
    size_t n = llm_listener_read(l, out, 50);
    for (size_t k = 0; k < n; k++) {
      REQUIRE(out[k].seq > last);
      last = out[k].seq;
    }
    atomic_fetch_add(&events, n);
  }
  llm_listener_close(l);
}

static void look(void) {
  llm_stats stats;
  llm_client_stats clients[CLIENTS];
  llm_model *model = some_model();
  llm_model_stats(model, &stats);
  REQUIRE(stats.acquired == stats.returned + stats.lent);
  llm_model_clients(model, clients, CLIENTS);
  llm_pool_lent(pool);
}

/* ---- threads ----------------------------------------------------------- */

typedef struct action {
  uint32_t weight;
  void (*run)(void);
} action;

static const action actions[] = {{600, lend_some},
                                 {150, lend_any},
                                 {50, lend_what_comes_and_goes},
                                 {100, lend_impatiently},
                                 {30, cool_down},
                                 {10, retire},
                                 {20, add},
                                 {10, replace},
                                 {3, renew},
                                 {10, limit},
                                 {5, pause_one},
                                 {10, come_and_go},
                                 {20, tick},
                                 {10, refill},
                                 {5, drain},
                                 {1, listen},
                                 {10, look}};

static void act(void) {
  uint32_t total = 0, n = sizeof actions / sizeof actions[0];
  for (uint32_t i = 0; i < n; i++) total += actions[i].weight;
  uint32_t pick = stress_random(rng, total), i = 0;
  while (pick >= actions[i].weight) pick -= actions[i++].weight;
  actions[i].run();
}

static void *run(void *arg) {
  stress_rng own = stress_rng_of((uint64_t)(uintptr_t)arg);
  rng = &own;
  while (stress_now() < until) act();
  return NULL;
}

/* ---- the end ----------------------------------------------------------- */

/* All rests are over; nothing is in motion. */
static void check_books(llm_model *model) {
  llm_stats s;
  llm_client_stats c[CLIENTS];
  uint64_t acquired = 0;
  llm_model_limit(model, UINT32_MAX);
  llm_pool_tick(pool);
  llm_model_stats(model, &s);
  size_t n = llm_model_clients(model, c, CLIENTS);
  for (size_t i = 0; i < n; i++) {
    REQUIRE(c[i].acquired == c[i].returned);
    acquired += c[i].acquired;
  }
  REQUIRE(acquired == s.acquired && s.acquired == s.returned);
  REQUIRE(s.wait.count == s.acquired && s.hold.count == s.returned);
  REQUIRE(s.lent == 0 && s.waiting == 0 && s.resting == 0);
  REQUIRE(s.clients == s.idle + s.vacant);
  REQUIRE(model->owed == 0 && model->away == 0 && model->marked == 0);
  REQUIRE(model->capacity == s.clients);
  REQUIRE(llm_sem_cap(&model->sem) == s.clients);
  REQUIRE(llm_sem_avail(&model->sem) == s.clients);
  REQUIRE(llm_sem_avail(&model->creates) == model->options.max_creates);
}

int main(int argc, char **argv) {
  static const char *const names[MODELS] = {"a", "b", "c"};
  pthread_t threads[THREADS];
  stress_start(argc, argv);
  until = stress_slice(1);
  pool = llm_pool_new(NULL);
  REQUIRE(pool != NULL);
  for (int i = 0; i < MODELS; i++)
    REQUIRE(register_model(names[i], &books[i], &models[i]) == LLM_OK);
  for (uintptr_t i = 0; i < THREADS; i++)
    REQUIRE(pthread_create(&threads[i], NULL, run, (void *)(i + 1)) == 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  stress_sleep(1000 * US);
  for (int i = 0; i < MODELS; i++) check_books(models[i]);
  llm_pool_unref(pool);
  for (int i = 0; i < MODELS; i++) llm_model_unref(models[i]);
  for (int i = 0; i < MODELS; i++) REQUIRE(atomic_load(&books[i].specs) == 0);
  printf("%llu leases, %llu refused, %llu events: the books close\n",
         (unsigned long long)lends, (unsigned long long)failures,
         (unsigned long long)events);
  return 0;
}
