#!/bin/sh
# test.sh - builds everything and runs every test. Its last line is
# "N passed, N failed" over all that ran; the exit status is 1 if any failed.
#
# One idea: a stage is a title and some commands; each command's output goes to
# a log of its own and is counted by tally.awk, to which silence is a failure.
# Logs of what failed are shown in full. As many commands of a stage run at a
# time as there are processors, the longest of the last run first; but of those
# that time themselves. It asks nothing and may be stopped with Ctrl-C at any
# time.
set -u

usage() {
  cat <<'END'
usage: sh scripts/test.sh [--quick] [-k NAME] [SPEC...]

Installs what is missing, builds, and runs every test: lint, C tests and
stress programs (plain, ThreadSanitizer, AddressSanitizer), the specs under
the program and under a plain lua5.4, the demo, the README's commands.

  --quick   only the plain build, its C tests, and the specs but the slow
  -k NAME   only tests with NAME in their names (of C tests: in the file's)
  SPEC      only these files: spec/x_spec.lua or spec/c/test_x.c; quick
  --help    this text

LLMPOOL_SEED=N repeats the stress programs of an earlier run.
END
}

cd "$(dirname "$0")/.." || exit 1
. scripts/prepare.sh

# ---- options -------------------------------------------------------------

quick=
slow= # what of the specs is left out, with its comma
name=
specs=
c_tests=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 slow=,slow ;;
    -k)
      [ $# -gt 1 ] || die "-k needs a name; see --help"
      name=$2
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    -*) die "unknown option $1; see --help" ;;
    *.c) c_tests="$c_tests $1" quick=1 ;;
    *) specs="$specs $1" quick=1 ;;
  esac
  [ -z "$specs$c_tests" ] || [ -e "$1" ] || die "there is no $1"
  shift
done
if [ -z "$specs$c_tests" ]; then
  specs=spec
  c_tests="spec/c/test_*.c"
fi
seed=${LLMPOOL_SEED:-$(date +%s)}

# ---- stages --------------------------------------------------------------

logs=$(mktemp -d) || exit 1
runs=0
passed=0
failed=0
stage= # the title of the one under way
running=0 # its commands that have not ended
processors=$(getconf _NPROCESSORS_ONLN)
jobs=$processors # how many of them may run at a time
mkfifo "$logs/ended" || exit 1
exec 8<>"$logs/ended" # who has ended: number, status, hundredths, a line each

now() { date +%s; }
started=$(now)

# The last word, whatever happened: nothing ends without the sum.
sum_up() {
  status=$?
  trap - EXIT INT TERM HUP
  for pid in "$logs"/*.pid; do
    [ ! -e "$pid" ] || kill -TERM "$(cat "$pid")" 2>/dev/null
  done
  wait
  rm -rf "$logs"
  [ -z "$stage" ] || echo "stopped"
  [ "$failed" -gt 0 ] || [ "$status" -eq 0 ] || failed=1
  [ $((passed + failed)) -gt 0 ] || failed=1
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] || [ "$status" -ne 0 ] || status=1
  exit "$status"
}
trap sum_up EXIT
trap 'say "interrupted"; exit 130' INT
trap 'say "terminated"; exit 143' TERM HUP

begin() {
  stage=$1
  stage_started=$(now)
  stage_passed=0
  stage_failed=0
  : >"$logs/failures"
  printf '%-42s ' "$stage"
}

# Sets $hundredths of seconds, of any clock; 0 where the system has none that
# can be read without a process.
read_clock() {
  hundredths=0
  [ ! -r /proc/uptime ] || read -r hundredths _ </proc/uptime
  hundredths=${hundredths%.*}${hundredths#*.}
}

# run KIND SECONDS COMMAND...: one command of the stage, beside the others. It
# gets a process group of its own (timeout's), the default action for SIGINT,
# no input.
run() {
  while [ "$running" -ge "$jobs" ]; do reap; done
  runs=$((runs + 1))
  running=$((running + 1))
  log=$logs/$runs
  printf '%s\n' "$1" "$2" >"$log.about"
  limit=$2
  shift 2
  printf '%s\n' "$*" >"$log.command"
  read_clock
  (
    export ASAN_OPTIONS="$asan_options:log_path=$log.report"
    export UBSAN_OPTIONS="print_stacktrace=1:log_path=$log.report"
    export TSAN_OPTIONS="second_deadlock_stack=1:log_path=$log.report"
    timeout -k 10 "$limit" env --default-signal=INT,QUIT,HUP,PIPE "$@" \
      >"$log.log" 2>&1 </dev/null 8>&- &
    echo $! >"$log.pid"
    wait $! 2>/dev/null # the shell would tell of a crash
    status=$?
    rm -f "$log.pid"
    begun=$hundredths
    read_clock
    echo "$runs $status $((hundredths - begun))" >&8
  ) &
}

# Waits for one of the commands to end, and counts it.
reap() {
  read -r number status took <&8
  running=$((running - 1))
  [ "$number" != "$alone" ] || alone=
  [ ! -e "$logs/$number.file" ] || {
    read -r file <"$logs/$number.file"
    echo "$took $file" >>"$logs/times"
  }
  count "$logs/$number"
}
alone= # the one under way of which only one may be
asan_options=detect_leaks=1:detect_stack_use_after_return=1
asan_options=$asan_options:allocator_may_return_null=1

# Counts the run LOG, which has just ended. A sanitizer's report counts as a
# failure even if the process that wrote it was a grandchild whose status got
# lost.
count() {
  log=$1
  { read -r kind && read -r limit; } <"$log.about"
  counts=$(awk -v kind="$kind" -v status="$status" -f scripts/tally.awk \
    "$log.log")
  run_passed=${counts% *}
  run_failed=${counts#* }
  [ "$status" -ne 124 ] || echo "stopped after $limit seconds" >>"$log.log"
  for report in "$log.report".*; do
    [ -e "$report" ] || continue
    cat "$report" >>"$log.log"
    [ "$run_failed" -gt 0 ] || run_failed=1
  done
  stage_passed=$((stage_passed + run_passed))
  stage_failed=$((stage_failed + run_failed))
  if [ "$run_failed" -gt 0 ]; then
    echo "---- $(cat "$log.command") (exit status $status)" >>"$logs/failures"
    cat "$log.log" >>"$logs/failures"
  fi
}

# Whether the stage passed. One in which nothing ran has failed, except where
# only some tests were asked for.
finish() {
  while [ "$running" -gt 0 ]; do reap; done
  jobs=$processors
  if [ $((stage_passed + stage_failed)) -eq 0 ] && [ -z "$name" ]; then
    echo "nothing ran" >>"$logs/failures"
    stage_failed=1
  fi
  passed=$((passed + stage_passed))
  failed=$((failed + stage_failed))
  printf '%5d passed %3d failed  %3d s\n' "$stage_passed" "$stage_failed" \
    $(($(now) - stage_started))
  cat "$logs/failures"
  stage=
  [ "$stage_failed" -eq 0 ]
}

# As finish, for a stage of run_file.
finish_files() {
  while [ "$running" -gt 0 ]; do reap; done
  keep_times
  finish
}

# ---- what is run ---------------------------------------------------------

# A quick run takes what the last build made if its sources are as they were.
build() {
  begin "build ($1)"
  run exit 900 sh -c '
    . scripts/prepare.sh
    { [ "$2" ] && is_built "$1"; } || prepare_build "$1"' sh "$1" "$quick"
  finish
}

# How long each file's tests took last time, in this build: "HUNDREDTHS FILE".
times_of() { times=build/$1/test-times; }

# Puts the files' names, a line each, into the order in which they are to be
# started: who takes long first, and before them who has never run.
longest_first() {
  [ -e "$times" ] || : >"$times"
  awk -v times="$times" 'FILENAME == times { took[$2] = $1; next }
    { print ($0 in took) ? took[$0] : 1e9, $0 }' "$times" - |
    sort -rn | cut -d ' ' -f 2-
}

# Remembers the times of this stage, unless it ran a part of the tests only.
keep_times() {
  if [ -z "$name" ] && [ -e "$logs/times" ]; then
    awk '{ took[$2] = $1 } END { for (file in took) print took[file], file }' \
      "$times" "$logs/times" >"$logs/new-times" && mv "$logs/new-times" "$times"
  fi
  rm -f "$logs/times"
}

# run_file FILE KIND SECONDS COMMAND...: the run of a file's tests.
run_file() {
  echo "$1" >"$logs/$((runs + 1)).file"
  shift
  run "$@"
}

# Prefix for programs of a build: ThreadSanitizer does not start where the
# kernel spreads addresses wider than it knows; without that it does.
launcher_for() {
  launcher=
  if [ "$1" = tsan ] && ! build/tsan/llmpool -e '' 2>/dev/null &&
    setarch -R build/tsan/llmpool -e '' 2>/dev/null; then
    launcher="setarch -R"
  fi
}

# Whether FILE's name fits -k.
wanted() {
  case ${1##*/} in
    *"$name"*) return 0 ;;
  esac
  return 1
}

# The files of these patterns whose names fit -k.
c_sources() {
  # shellcheck disable=SC2086 # patterns
  for source in $1; do
    [ -e "$source" ] && wanted "$source" && echo "$source"
  done
}

# c_program SOURCE KIND ARGUMENT...: runs what is made from it, in $preset.
c_program() {
  source=$1
  kind=$2
  program=${source##*/}
  program=build/$preset/spec/${program%.c}
  shift 2
  # shellcheck disable=SC2086 # nothing or two words
  run_file "$source" "$kind" 300 $launcher "$program" "$@"
}

c_tests() {
  times_of "$1"
  preset=$1
  for source in $(c_sources "$c_tests" | longest_first); do
    c_program "$source" cmocka
  done
}

stress() {
  begin "stress, seed $seed ($1)"
  times_of "$1"
  preset=$1
  jobs=1 # they take their own time
  for source in $(c_sources "spec/c/stress_*.c" | longest_first); do
    c_program "$source" exit --seconds 2 --seed "$seed"
  done
  finish_files
}

# prepare_specs BUILD INTERPRETER TAGS: specs run in that interpreter, without
# what is tagged with one of TAGS.
prepare_specs() {
  times_of "$1"
  preset=$1
  export LLMPOOL="build/$1/llmpool" LLMPOOL_BUILD="build/$1"
  export LLMPOOL_CPATH="build/$1/?.so"
  interpreter=$2
  tags=$3
}

# A process for each file.
busted_on() {
  # shellcheck disable=SC2086 # nothing or two words
  run_file "$1" tap 600 $launcher "$interpreter" "$busted" --ignore-lua \
    -o TAP -v "--exclude-tags=$tags" ${name:+"--filter=$(pattern)"} "$1"
}

test_file() {
  case $1 in
    *.c) c_program "$1" cmocka ;;
    *) busted_on "$1" ;;
  esac
}

# those with timeouts against a server's answers
timed='spec/http_\(spec\|failures\|stream\|tls\)'
timed="$timed\|spec/providers/\(cancel\|effects\|faults\|load\|stream\)"

# Those after the others, one at a time: sanitizers take all the time there is
# from who times a server's answers.
timed_last() {
  for file in $(echo "$1" | grep -v "$timed"); do test_file "$file"; done
  while [ "$running" -gt 0 ]; do reap; done
  jobs=1
  for file in $(echo "$1" | grep "$timed"); do test_file "$file"; done
}

# One of those at a time, beside the others. They wait more than they compute,
# so that they fill the whole time of the stage, and count as no job.
timed_beside() {
  jobs=$((processors + 2))
  others=$(echo "$1" | grep -v "$timed")
  # shellcheck disable=SC2046 # a list of words
  set -- $(echo "$1" | grep "$timed")
  while [ $# -gt 0 ] || [ "$others" ]; do
    while [ "$running" -ge "$jobs" ]; do reap; done
    if [ $# -gt 0 ] && [ -z "$alone" ]; then
      test_file "$1"
      alone=$runs
      shift
    elif [ "$others" ]; then
      test_file "${others%%$newline*}"
      case $others in
        *"$newline"*) others=${others#*$newline} ;;
        *) others= ;;
      esac
    else
      reap
    fi
  done
}
newline='
'

# -k's name as a Lua pattern that means just that.
pattern() { printf '%s' "$name" | sed 's/[^[:alnum:][:space:]_]/%&/g'; }

lint() {
  begin "lint"
  run tap 300 sh scripts/lint.sh
  finish
}

# The first command of the README, as a newcomer has it: only the answers on
# stdout. Which of two equal keys answers is not promised; the time is, but a
# busy machine gets three tries.
demo() {
  begin "scripts/demo.sh"
  run exit 900 sh -c '
    expected=$(for i in 0 1 2 3 4 5 6 7; do
      echo "[gpt-4:key-K] Response to: Question $i"
    done; echo; echo "Elapsed: 1.2s")
    for try in 1 2 3; do
      sh scripts/demo.sh >"$1" || exit
      cat "$1"
      [ "$(sed "s/key-[12]\]/key-K]/" "$1")" != "$expected" ] || exit 0
    done
    exit 1' sh "$logs/demo.out"
  finish
}

readme() {
  begin "commands of the README"
  export LLMPOOL=build/llmpool LLMPOOL_BUILD=build LLMPOOL_CPATH="build/?.so"
  run tap 600 build/llmpool "$busted" --ignore-lua -o TAP \
    --tags=readme spec/readme_spec.lua
  finish
}

# ---- the plan ------------------------------------------------------------

prepare_packages test
busted=$(command -v busted)

# The servers that the tests start are on this machine.
unset http_proxy https_proxy all_proxy no_proxy
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

# The specs that say something else in another interpreter; those of spec/host
# start the program themselves.
shared_specs() { find spec -name '*_spec.lua' ! -path 'spec/host/*' | sort; }

# Those of spec/host too, but for signals, which are sent by the clock. Their
# programs have one thread, so there is nothing in them for ThreadSanitizer.
specs_for() {
  shared_specs
  [ "$1" = tsan ] ||
    find spec/host -name '*_spec.lua' ! -name 'signal_spec.lua' | sort
}

# C tests and specs in one stage: the longest of the one wait, while the others
# compute. Whether there is a build to go on with.
plain() {
  build ci || return
  launcher=
  begin "C tests, specs (ci)"
  prepare_specs ci build/ci/llmpool "readme,lint$slow"
  timed_beside "$({
    c_sources "$c_tests"
    # shellcheck disable=SC2086 # a list of words
    [ -z "$specs" ] || find $specs -name '*_spec.lua'
  } | longest_first)"
  finish_files
  return 0
}

more_of_plain() {
  launcher=
  begin "specs (lua5.4)"
  prepare_specs ci lua5.4 readme,lint,once,host,slow
  timed_beside "$(shared_specs | longest_first)"
  finish_files
  stress ci
}

sanitized() {
  build "$1" || return
  launcher_for "$1"
  begin "C tests ($1)"
  c_tests "$1"
  finish_files
  stress "$1"
  begin "specs ($1)"
  prepare_specs "$1" "build/$1/llmpool" readme,lint,once,slow
  timed_last "$(specs_for "$1" | longest_first)"
  finish_files
}

if [ -n "$quick" ]; then
  plain
else
  [ -n "$name" ] || lint
  plain && more_of_plain
  sanitized asan
  sanitized tsan
  [ -n "$name" ] || { demo && readme; }
fi
echo "$(($(now) - started)) seconds in all"
