-- The list of what admission and the pool must survive, by the numbers of the
-- design: which test it is, and that it is there. Tests 1 to 44 run with a
-- manual clock in spec/c (29 to 31 need Lua: spec/lease_spec.lua); the stress
-- programs (45 to 56) take --seconds and --seed, and run for a few seconds
-- each in scripts/test.sh, plain and under the sanitizers.

local read = require("spec.support.files").read

local C = "spec/c/"
local UNIT, CAPACITY = C .. "test_admission.c", C .. "test_admission_capacity.c"
local POOL, CHECKOUT = C .. "test_pool.c", C .. "test_checkout.c"
local LEASE = "spec/lease_spec.lua"
local MIX, CASES = C .. "stress_admission.c", C .. "stress_admission_cases.c"

-- number = { file, what is tested [, a text of the file's that shows it] };
-- without a text it is "test_NUMBER_"
local TESTS = {
  [1] = { UNIT, "as many tries succeed as there are permits" },
  [2] = { UNIT, "release restores, and no more" },
  [3] = { UNIT, "begin queues; release hands over, with one wake" },
  [4] = { UNIT, "first come, first served" },
  [5] = { UNIT, "nobody barges" },
  [6] = { UNIT, "withdraw at head, middle, tail, alone" },
  [7] = { UNIT, "withdraw after the grant" },
  [8] = { UNIT, "cancel after the grant" },
  [9] = { UNIT, "cancel in line" },
  [10] = { UNIT, "late callers are skipped" },
  [11] = { UNIT, "the deadline has passed at begin" },
  [12] = { UNIT, "close ends every wait once" },
  [13] = { UNIT, "closing twice" },
  [14] = { POOL, "drain" },
  [15] = { CAPACITY, "every small case" },
  [16] = { CAPACITY, "shrink below what is out, then grow" },
  [17] = { CAPACITY, "shrink to nothing and back" },
  [18] = { CAPACITY, "resize keeps the other flags" },
  [19] = { CAPACITY, "pause queues, resume grants" },
  [20] = { CAPACITY, "pause and close" },
  [21] = { UNIT, "a wake may use the semaphore" },
  [22] = { UNIT, "a woken waiter is never touched again" },
  [23] = { UNIT, "counters do not overflow" },
  [24] = { CHECKOUT, "a failed create gives the permit back" },
  [25] = { CHECKOUT, "a create that makes nothing has failed" },
  [26] = { CHECKOUT, "all idle are sick" },
  [27] = { CHECKOUT, "a check is bounded" },
  [28] = { C .. "test_checkout_matrix.c", "the matrix of outcomes" },
  [29] = { LEASE, "every error of a callback", "(admission 29)" },
  [30] = { LEASE, "a callback never resumed", "(admission 30)" },
  [31] = { LEASE, "every way out of a block", "(admission 31)" },
  [32] = { POOL, "a double return changes nothing" },
  [33] = { CHECKOUT, "lifetimes do not end together" },
  [34] = { CHECKOUT, "idle expiry, oldest first, min_idle" },
  [35] = { CHECKOUT, "renewed while lent" },
  [36] = { CHECKOUT, "max_uses" },
  [37] = { CHECKOUT, "newest first, and fifo" },
  [38] = { CHECKOUT, "background work refills and yields" },
  [39] = { C .. "test_slot.c", "a spike creates few at a time" },
  [40] = { CHECKOUT, "the backend is down: all fail fast" },
  [41] = { CHECKOUT, "a full line refuses" },
  [42] = { C .. "test_clock.c", "the clock is monotonic" },
  [43] = { POOL, "close ends the waits, in order" },
  [44] = { CHECKOUT, "nested, with one client" },
  [45] = { MIX, "random mix of all operations", "45 (all operations)" },
  [46] = { MIX, "timeouts against grants", "46 (timeouts" },
  [47] = { CASES, "cancel storms", "47 cancel" },
  [48] = { CASES, "a grant against a cancel", "48 a grant" },
  [49] = { MIX, "resize storm", "49 (resize" },
  [50] = { CASES, "close against begin", "50 close" },
  [51] = { CASES, "order by ticket", "51 order" },
  [52] = { CASES, "fairness", "52 fairness" },
  [53] = { CASES, "threads that end after a grant", "53 threads" },
  [54] = { MIX, "signals during a wait", "54 (signals)" },
  [55] = { C .. "test_parker_portable.c", "each error path once" },
  [56] = { MIX, "random yields at every atomic and lock", "(56)" },
}

describe("the list of tests #once", function()
  for number = 1, 56 do
    local test = TESTS[number]
    it(("has %d: %s"):format(number, test[2]), function()
      local text = test[3] or ("test_%d_"):format(number)
      assert.truthy(read(test[1]):find(text, 1, true),
        text .. " is not in " .. test[1])
    end)
  end
end)
