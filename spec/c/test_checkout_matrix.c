/*
** test_checkout_matrix.c - test 28 of the design's list, as far as it is C:
** check and create, each well, failing, slow or never done, inside and stepped,
** with a cancellation or a timeout at every step; the ledger after each.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

typedef enum outcome { OK, ERR, SLOW, NEVER, OUTCOMES } outcome;

/* ---- inside ------------------------------------------------------------ */

static void control(outcome check, outcome create) {
  rig.remote.fail_checks = check == ERR;
  rig.remote.fail_creates = create == ERR;
  rig.remote.check_takes = check == SLOW ? 30 * MS : 0;
  rig.remote.create_takes = create == SLOW ? 30 * MS : 0;
}

/* One idle client, due for a check; timeout 20 ms. */
static void run_inside(outcome check, outcome create) {
  asker a;
  control(check, create);
  rig_register("m", 1);
  llm_step step = ask(&a, 20 * MS);
  if (check != ERR) {
    assert_int_equal(step, LLM_READY); /* late perhaps: kept all the same */
    assert_int_equal(rig.remote.creates, 0);
    give_back(&a);
  } else if (create == ERR) {
    assert_failed(step, &a, CREATE_FAILED);
  } else {
    assert_int_equal(step, LLM_READY);
    assert_int_equal(rig.remote.creates, 1);
    give_back(&a);
  }
}

static void test_28_inside(void **state) {
  for (outcome check = OK; check <= SLOW; check++) {
    for (outcome create = OK; create <= SLOW; create++) {
      assert_int_equal(rig_setup(state), 0);
      rig.options.check_after_ns = 0;
      run_inside(check, create);
      rig_teardown(state);
    }
  }
}

/* ---- stepped ----------------------------------------------------------- */

/* The owner's end of a step that it will not finish: by abort. */
static llm_step finish(asker *a, outcome how, void *instance) {
  switch (how) {
  case OK: return llm_lease_done(&a->lease, LLM_OK, instance, NULL, NULL);
  case ERR:
    return llm_lease_done(&a->lease, LLM_CREATE_FAILED, NULL, NULL, "no");
  case SLOW:
    rig_pass(30 * MS);
    return llm_lease_done(&a->lease, LLM_TIMEOUT, NULL, NULL, "too slow");
  default: llm_lease_abort(&a->lease); return (llm_step)a->lease.step;
  }
}

static void finish_creation(asker *a, outcome create) {
  assert_int_equal(a->lease.reason, LLM_SICK);
  llm_step step = finish(a, create, create == OK ? rig_instance() : NULL);
  switch (create) {
  case OK:
    assert_int_equal(step, LLM_READY);
    give_back(a);
    break;
  case ERR: assert_failed(step, a, CREATE_FAILED); break;
  case SLOW: assert_failed(step, a, TIMEOUT); break;
  default: assert_failed(step, a, CANCELLED);
  }
}

static void run_stepped(outcome check, outcome create) {
  asker a, b;
  rig_register("m", 1);
  assert_int_equal(ask(&a, 20 * MS), LLM_CHECK);
  assert_int_equal(ask(&b, SECOND), LLM_WAIT); /* somebody wants the permit */
  llm_step step = finish(&a, check, NULL);
  if (step == LLM_READY)
    give_back(&a);
  else if (step == LLM_CREATE)
    finish_creation(&a, create);
  else if (check == NEVER)
    assert_failed(step, &a, CANCELLED);
  else
    assert_failed(step, &a, TIMEOUT);
  step = wake_up(&b); /* whatever became of a */
  if (step == LLM_CHECK) step = finish(&b, OK, NULL);
  if (step == LLM_CREATE) step = finish(&b, OK, rig_instance());
  if (step == LLM_READY)
    give_back(&b);
  else
    assert_failed(step, &b, CREATE_FAILED); /* the gate is shut */
}

static void test_28_stepped(void **state) {
  for (outcome check = OK; check < OUTCOMES; check++) {
    for (outcome create = OK; create < OUTCOMES; create++) {
      assert_int_equal(rig_setup(state), 0);
      rig.options.check_after_ns = 0;
      rig.factory.stepped = rig.factory.has_check = true;
      run_stepped(check, create);
      rig_teardown(state);
    }
  }
}

/* ---- what happens to a client in the middle of a step ------------------- */

typedef void meddle(void);

static void retire_it(void) {
  assert_int_equal(llm_model_retire(rig.model, "c1"), LLM_OK);
}

static void rest_it(void) {
  assert_int_equal(
      llm_model_cool_down(rig.model, "c1", llm_clock_now(rig.clock) + SECOND),
      LLM_OK);
}

static void replace_it(void) {
  llm_client_spec client = rig_client("c1", true);
  assert_int_equal(llm_model_replace(rig.model, &client), LLM_OK);
}

static void renew_it(void) { llm_model_renew(rig.model); }

static void unregister_it(void) {
  assert_int_equal(llm_pool_unregister(rig.pool, "m"), LLM_OK);
}

static void limit_it(void) {
  assert_int_equal(llm_model_limit(rig.model, 0), LLM_OK);
}

static void run_meddled(meddle *what, bool is_create, outcome how) {
  asker a;
  rig.vacant = is_create;
  rig_register("m", 2);
  assert_int_equal(ask(&a, SECOND), is_create ? LLM_CREATE : LLM_CHECK);
  assert_string_equal(llm_place_id(a.lease.place), "c1");
  what();
  assert_ledger(rig.model);
  llm_step step =
      finish(&a, how, is_create && how == OK ? rig_instance() : NULL);
  while (step == LLM_CHECK || step == LLM_CREATE) {
    llm_lease_abort(&a.lease);
    step = (llm_step)a.lease.step;
  }
  if (step == LLM_READY) give_back(&a);
}

static void test_28_meddled_with(void **state) {
  meddle *const all[] = {retire_it, rest_it,       replace_it,
                         renew_it,  unregister_it, limit_it};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    for (int is_create = 0; is_create < 2; is_create++) {
      for (outcome how = OK; how < OUTCOMES; how++) {
        assert_int_equal(rig_setup(state), 0);
        rig.options.check_after_ns = 0;
        rig.factory.stepped = rig.factory.has_check = true;
        run_meddled(all[i], is_create, how);
        rig_teardown(state);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_28_inside),
      cmocka_unit_test(test_28_stepped),
      cmocka_unit_test(test_28_meddled_with),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
