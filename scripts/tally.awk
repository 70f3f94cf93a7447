# awk -v kind=tap|cmocka|exit -v status=N -f tally.awk LOG
#
# Reads what a test program printed and prints "PASSED FAILED". One idea:
# silence is a failure. A crash, a missing or a wrong summary, a bad exit
# status without a failed test each count as one failed test; so nothing that
# ran and went wrong can end as zero.

# TAP: the plan may stand first or last.
kind == "tap" && /^ok [0-9]+/ {
  seen++
  if ($0 !~ /# SKIP/) passed++
}
kind == "tap" && /^not ok [0-9]+/ { seen++; failed++ }
kind == "tap" && /^1\.\.[0-9]+/ { plans++; planned += substr($1, 4) }

# cmocka: one summary for each group of tests in the program.
kind == "cmocka" && /^\[==========\] Running [0-9]+ test/ {
  plans++
  planned += $3
}
kind == "cmocka" && /^\[  PASSED  \] [0-9]+ test/ {
  passed += $4
  seen += $4
  summaries++
}
kind == "cmocka" && /^\[  SKIPPED \] [0-9]+ test/ { seen += $4 }
kind == "cmocka" && /^\[  FAILED  \] [0-9]+ test/ { failed += $4; seen += $4 }

END {
  if (kind == "exit") {
    if (status == 0) passed = 1
  } else if (plans == 0 || seen != planned) {
    failed++
  } else if (kind == "cmocka" && summaries != plans) {
    failed++
  }
  if (status != 0 && failed == 0) failed = 1
  print passed + 0, failed + 0
}
