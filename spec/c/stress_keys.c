/*
** stress_keys.c - clients with slots, limits and breakers under real threads:
** callers lend, report, settle and refund while a controller rests, disables,
** replaces, adds and retires them.
**
** Held through it all: no client is lent more often at once than it may have
** slots, the ledger closes, permits and places add up, and nobody hangs when
** all are out of service.
*/
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lease.h"
#include "stress.h"

#define CALLERS 4
#define KEYS 4
#define MOST_SLOTS 4
#define MS INT64_C(1000000)

static llm_pool *pool;
static llm_model *model;
static const char *const ids[KEYS] = {"a", "b", "c", "d"};
static _Atomic bool stop;
static _Atomic uint64_t served, refused, out;
static _Atomic int32_t specs; /* references that are out */

/* ---- the factory: specs are counted, instances are the specs ------------ */

static void ref_spec(void *user, void *spec) {
  (void)user;
  (void)spec;
  specs++;
}

static void free_spec(void *user, void *spec) {
  (void)user;
  (void)spec;
  REQUIRE(specs-- > 0);
}

static llm_client_spec client_of(stress_rng *rng, int i) {
  static char spec;
  llm_client_spec client = {.id = ids[i], .spec = &spec};
  if (stress_chance(rng, 70)) client.instance = &spec;
  client.limits.slots = 1 + stress_random(rng, MOST_SLOTS);
  if (stress_chance(rng, 40)) client.limits.rpm = 6e6;
  if (stress_chance(rng, 40)) {
    client.limits.tpm = 6e8;
    client.limits.tpm_burst = 20000;
  }
  if (stress_chance(rng, 50))
    client.limits.breaker =
        (llm_breaker){2, 50 * MS, MS, 4 * MS, (llm_floor)stress_random(rng, 3)};
  specs++;
  return client;
}

/* ---- callers ----------------------------------------------------------- */

static void tell(stress_rng *rng, llm_lease *lease) {
  int64_t now = stress_now();
  llm_outcome o = {.kind = (int)stress_random(rng, 3),
                   .was_sent = stress_chance(rng, 80),
                   .has_tokens = stress_chance(rng, 50),
                   .tokens = stress_random(rng, 30000),
                   .latency_ns = stress_random(rng, 1000000)};
  o.is_error = o.kind == LLM_OUTCOME_FAILURE;
  if (stress_chance(rng, 5)) o.rest_until_ns = now + stress_random(rng, 500000);
  if (stress_chance(rng, 1)) {
    o.disable_until_ns = stress_chance(rng, 50) ? LLM_FOREVER : now + MS;
    o.reason = "401";
  }
  REQUIRE(llm_lease_report(lease, &o));
}

static void use(stress_rng *rng, llm_lease *lease) {
  uint32_t act = stress_random(rng, 10);
  if (act < 5) tell(rng, lease);
  if (act == 5) REQUIRE(llm_lease_settle(lease, stress_random(rng, 40000)));
  if (act == 6) REQUIRE(llm_lease_refund(lease));
  if (act == 7) stress_sleep(stress_random(rng, 50000));
  REQUIRE(
      llm_lease_return(lease, stress_chance(rng, 5) ? LLM_POISON : LLM_KEEP));
  REQUIRE(!llm_lease_settle(lease, 1));
}

static void *call(void *arg) {
  stress_rng rng = stress_rng_of((uint64_t)(uintptr_t)arg);
  while (!stop) {
    llm_lease lease = {0};
    const char *const some[] = {ids[stress_random(&rng, KEYS)],
                                ids[stress_random(&rng, KEYS)]};
    llm_ask ask = {.deadline_ns = stress_now() + 2 * MS,
                   .tokens = stress_random(&rng, 30000),
                   .now = stress_chance(&rng, 20),
                   .prefer = some,
                   .n_prefer = stress_random(&rng, 3),
                   .exclude = some,
                   .n_exclude =
                       stress_chance(&rng, 20) ? stress_random(&rng, 3) : 0};
    llm_err err = llm_acquire(&lease, model, &ask);
    if (err == LLM_OK) {
      use(&rng, &lease);
      served++;
    } else {
      REQUIRE(err == LLM_TIMEOUT || err == LLM_RESTING ||
              err == LLM_OUT_OF_SERVICE || err == LLM_EXCLUDED);
      refused++;
      if (err == LLM_OUT_OF_SERVICE) out++;
    }
  }
  return NULL;
}

/* ---- the controller ---------------------------------------------------- */

static void change(stress_rng *rng) {
  int i = (int)stress_random(rng, KEYS);
  int64_t now = stress_now();
  llm_client_spec client;
  switch (stress_random(rng, 16)) {
  case 0: llm_model_cool_down(model, ids[i], now + MS / 2); break;
  case 1: llm_model_disable(model, ids[i], LLM_FOREVER, "402"); break;
  case 2: llm_model_disable(model, ids[i], now + MS, "quota"); break;
  case 3: llm_model_retire(model, ids[i]); break;
  case 4:
    llm_model_limit(model, stress_chance(rng, 50) ? 3 : UINT32_MAX);
    break;
  case 5:
  case 6:
  case 7:
    client = client_of(rng, i);
    llm_model_add(model, &client);
    break;
  default: client = client_of(rng, i); llm_model_replace(model, &client);
  }
}

static void look(void) {
  llm_client_stats stats[KEYS];
  llm_model_peeked total;
  llm_peek peeks[KEYS];
  llm_peek_p95 p95[KEYS];
  size_t n = llm_model_clients(model, stats, KEYS);
  for (size_t i = 0; i < n; i++) {
    REQUIRE(stats[i].lent + stats[i].busy <= stats[i].slots);
    REQUIRE(stats[i].error_rate >= 0 && stats[i].error_rate <= 1);
  }
  uint32_t peeked = llm_model_peek(model, &total, peeks, KEYS);
  REQUIRE(peeked <= KEYS && total.open <= peeked);
  for (uint32_t i = 0; i < peeked; i++)
    REQUIRE(peeks[i].free + peeks[i].lent + peeks[i].resting <= peeks[i].slots);
  REQUIRE(llm_model_peek_p95(model, p95, KEYS) <= KEYS);
}

static void *control(void *arg) {
  stress_rng rng = stress_rng_of((uint64_t)(uintptr_t)arg);
  while (!stop) {
    change(&rng);
    look();
    llm_pool_tick(pool);
    stress_sleep(stress_random(&rng, 200000));
  }
  return NULL;
}

/* ---- the end ----------------------------------------------------------- */

static void settle_down(void) {
  stress_rng rng = stress_rng_of(99);
  llm_model_limit(model, UINT32_MAX);
  for (int i = 0; i < KEYS; i++) {
    llm_client_spec client = client_of(&rng, i);
    if (llm_model_replace(model, &client) == LLM_OK) continue;
    client = client_of(&rng, i);
    REQUIRE(llm_model_add(model, &client) == LLM_OK);
  }
  int64_t until = stress_now() + 500 * MS;
  do llm_pool_tick(pool);
  while (model->away > 0 && stress_now() < until);
}

static void check_ledger(void) {
  llm_stats stats;
  llm_client_stats clients[KEYS];
  uint64_t acquired = 0, returned = 0;
  llm_model_stats(model, &stats);
  size_t n = llm_model_clients(model, clients, KEYS);
  for (size_t i = 0; i < n; i++) {
    acquired += clients[i].acquired;
    returned += clients[i].returned;
  }
  REQUIRE(acquired == stats.acquired && returned == stats.returned);
  REQUIRE(stats.acquired == stats.returned && stats.lent == 0);
  REQUIRE(stats.waiting == 0 && model->owed == 0 && model->away == 0);
  REQUIRE(stats.idle + stats.vacant == stats.clients);
  REQUIRE(llm_sem_avail(&model->sem) == model->capacity);
  REQUIRE(model->capacity == stats.clients);
}

static void round_of(int64_t end) {
  pthread_t callers[CALLERS], controllers[2];
  stop = false;
  for (uintptr_t i = 0; i < CALLERS; i++)
    pthread_create(&callers[i], NULL, call, (void *)(i + 1));
  for (uintptr_t i = 0; i < 2; i++)
    pthread_create(&controllers[i], NULL, control, (void *)(i + 50));
  while (stress_now() < end) stress_sleep(5 * MS);
  stop = true;
  for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
  for (int i = 0; i < 2; i++) pthread_join(controllers[i], NULL);
}

static void make(void) {
  stress_rng rng = stress_rng_of(7);
  llm_client_spec clients[KEYS];
  llm_factory factory = {.free_spec = free_spec, .ref_spec = ref_spec};
  for (int i = 0; i < KEYS; i++) clients[i] = client_of(&rng, i);
  pool = llm_pool_new(NULL);
  REQUIRE(llm_pool_register(pool, "m", clients, KEYS, NULL, &factory, &model,
                            NULL) == LLM_OK);
}

int main(int argc, char **argv) {
  stress_start(argc, argv);
  make();
  for (int left = 4; left > 0; left--) {
    round_of(stress_slice(4));
    settle_down();
    check_ledger();
  }
  printf("%llu served, %llu refused, %llu of them for want of any client\n",
         (unsigned long long)served, (unsigned long long)refused,
         (unsigned long long)out);
  REQUIRE(served > 100);
  llm_model_unref(model);
  llm_pool_unref(pool);
  REQUIRE(specs == 0);
  return 0;
}
