#!/bin/sh
# run.sh - measures llmpool beside its peers and prints one Markdown table.
#
# One idea: the runs of all subjects are interleaved, so that a busy machine
# slows them alike; table.lua compares what was measured side by side. It
# asserts nothing: a target that is missed is a row that says so.
set -u

all="pair contention lease handoff waiting start policy http streams sim"

usage() {
  cat <<END
usage: sh scripts/bench/run.sh [--quick] [--smoke] [--keep FILE] [CASE...]

Builds llmpool in build/bench, measures it beside its peers, and prints a
Markdown table. What is measured is told on a terminal meanwhile.

  CASE         one or more of $all;
               else all of them
  --quick      fewer and shorter rounds: a minute instead of some five
  --smoke      a moment of each, to see that they run; the figures say nothing
  --keep FILE  leaves the samples in FILE
  --help       this text

Peers: bare pcall, POSIX sem_t with a mutexed array, apr_reslist (Debian:
libaprutil1-dev), asyncio (python3), SimPy 3 (python3-simpy3), lua5.4, libcurl's
multi loop in C (libcurl4-openssl-dev) against nginx (nginx-light). One that is
not there is left out. All traffic stays on 127.0.0.1.
END
}

cd "$(dirname "$0")/../.." || exit 1
. scripts/prepare.sh

# ---- options -------------------------------------------------------------

scale=full
keep=
cases=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) scale=quick ;;
    --smoke) scale=smoke ;;
    --keep)
      [ $# -gt 1 ] || die "--keep needs a file; see --help"
      keep=$2
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      case " $all " in
        *" $1 "*) cases="$cases $1" ;;
        *) die "there is no case $1; see --help" ;;
      esac
      ;;
  esac
  shift
done
[ -n "$cases" ] || cases=$all

# by_scale FULL QUICK SMOKE: the one that applies
by_scale() {
  case $scale in
    full) echo "$1" ;;
    quick) echo "$2" ;;
    *) echo "$3" ;;
  esac
}

# ---- what there is -------------------------------------------------------

build=${LLMPOOL_BENCH:-build/bench}
program=$build/llmpool
work=$(mktemp -d) || exit 1
samples=$work/samples
: >"$samples"
server=
clean() {
  [ -z "$server" ] || kill "$server" 2>/dev/null
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A python3 of the system's rather than one that somebody built.
python=
for candidate in /usr/bin/python3 python3; do
  [ -z "$python" ] && has "$candidate" && "$candidate" -c 'import asyncio' \
    2>/dev/null && python=$candidate
done

# One line on a terminal, that says where in the whole we are.
at= # "2 of 10, "
progress() {
  if [ -t 2 ]; then printf '\r\033[K%s%s' "${1:+$at}" "$*" >&2; fi
}

prepare() {
  [ -z "${LLMPOOL_BENCH:-}" ] || return 0 # somebody else builds
  prepare_packages build
  progress "building"
  prepare_build bench >/dev/null 2>&1 ||
    die "the build failed: cmake --preset bench && cmake --build --preset bench"
}

machine() {
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
  echo "Machine: ${cpu:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) cores," \
    "$(uname -sr); load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null) at the start"
  echo "Compiler: $(cc --version | head -1);" \
    "Lua: $("$program" -v | sed -n 's/^\(Lua [0-9.]*\).*/\1/p')"
  if [ -n "$python" ]; then echo "Python: $("$python" -V 2>&1)"; fi
  echo
}

skipped() {
  grep -q 'apr_reslist' "$samples" || [ "${cases#*pair}" = "$cases" ] ||
    echo "Left out: apr_reslist (Debian: libaprutil1-dev)"
  [ -n "$python" ] || echo "Left out: asyncio (Debian: python3)"
  grep -q 'SimPy' "$samples" || [ "${cases#*sim}" = "$cases" ] ||
    echo "Left out: SimPy (Debian: python3-simpy3)"
  grep -q '1000k' "$samples" || [ "${cases#*waiting}" = "$cases" ] ||
    [ "$scale" = smoke ] || echo "Left out: 1,000,000 tasks (2 GB of memory)"
  has lua5.4 || echo "Left out: the start of lua5.4 (Debian: lua5.4)"
  has_curl || echo "Left out: http, streams (Debian: libcurl4-openssl-dev)"
  has_nginx || echo "Left out: http (Debian: nginx-light)"
}

# measure TITLE COMMAND...: its samples are kept; one that fails is told.
measure() {
  progress "$1"
  shift
  "$@" >>"$samples" || die "failed: $*"
}

# ---- the cases -----------------------------------------------------------

run_pair() {
  measure "pair" "$build/bench/pair" --rounds "$(by_scale 401 101 3)" \
    --pairs "$(by_scale 20000 20000 200)"
}

run_contention() {
  measure "contention" "$build/bench/contention" \
    --rounds "$(by_scale 7 3 1)" --seconds "$(by_scale 1.5 0.5 0.02)"
  measure "contention, hand-over" "$build/bench/handover" \
    --rounds "$(by_scale 11 3 1)" --times "$(by_scale 500 200 20)"
}

run_lease() {
  rounds=$(by_scale 11 3 1)
  blocks=$(by_scale 11 11 1)
  calls=$(by_scale 20000 20000 200)
  round=0
  while [ "$round" -lt "$rounds" ]; do
    first=$((round * blocks))
    measure "lease, round $round of $rounds" \
      "$program" scripts/bench/lease.lua "$blocks" "$calls" "$first"
    [ -z "$python" ] || measure "lease, asyncio" \
      "$python" scripts/bench/asyncio_pool.py lease "$calls" "$first"
    round=$((round + 1))
  done
}

run_handoff() {
  tasks=$(by_scale 10000 10000 100)
  round=0
  while [ "$round" -lt "$(by_scale 11 3 1)" ]; do
    measure "handoff, round $round" \
      "$program" scripts/bench/handoff.lua "$tasks" 20 "$round"
    [ -z "$python" ] || measure "handoff, asyncio" \
      "$python" scripts/bench/asyncio_pool.py handoff "$tasks" 2 "$round"
    round=$((round + 1))
  done
}

# They take 1.5 GB.
has_room_for_a_million() {
  kilobytes=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
  [ "${kilobytes:-0}" -gt 2000000 ]
}

run_waiting() {
  round=0
  while [ "$round" -lt "$(by_scale 3 1 1)" ]; do
    for tasks in $(by_scale "100000 250000 1000000" "100000 1000000" 1000); do
      if [ "$tasks" = 1000000 ] && ! has_room_for_a_million; then continue; fi
      measure "waiting, $tasks tasks, round $round" \
        "$program" scripts/bench/waiting.lua "$tasks" "$round"
    done
    tasks=$(by_scale 250000 250000 1000)
    [ -z "$python" ] || measure "waiting, asyncio" \
      "$python" scripts/bench/asyncio_pool.py waiting "$tasks" "$round"
    round=$((round + 1))
  done
}

run_start() {
  has lua5.4 || return 0
  measure "start" "$build/bench/start" --rounds "$(by_scale 400 100 3)" \
    "$program" "$(command -v lua5.4)"
}

run_policy() {
  measure "policy" "$program" scripts/bench/policy.lua \
    "$(by_scale 21 5 1)" "$(by_scale 5000 5000 200)"
}

run_sim() {
  simpy=
  [ -z "$python" ] || ! "$python" -c "import simpy" 2>/dev/null || simpy=yes
  requests=$(by_scale 200000 100000 1000)
  round=0
  while [ "$round" -lt "$(by_scale 7 3 1)" ]; do
    measure "sim, round $round" "$program" scripts/bench/sim.lua "$requests" \
      "$round" "$(by_scale 864000 864000 0)"
    [ -z "$simpy" ] || measure "sim, SimPy" \
      "$python" scripts/bench/simpy_fallback.py "$requests" "$round"
    round=$((round + 1))
  done
}

# Debian's lies where not every PATH looks.
has_nginx() { PATH=$PATH:/usr/sbin has nginx; }
has_curl() { [ -x "$build/bench/curl_multi" ]; }

# A server in the background, whose port is written into $work/port: stopped
# again by stop_server. Its standard input stays open as long.
start_nginx() {
  mkdir -p "$work/nginx"
  first=$((20000 + $$ % 10000)) # below the ports that connections take
  for port in $(seq $first 7 $((first + 70))); do
    sed -e "s/PORT/$port/" scripts/bench/nginx.conf >"$work/nginx/nginx.conf"
    PATH=$PATH:/usr/sbin nginx -p "$work/nginx" -c nginx.conf \
      2>"$work/nginx/errors" &
    server=$!
    while kill -0 "$server" 2>/dev/null; do
      [ ! -s "$work/nginx/nginx.pid" ] || return 0
      sleep 0.1
    done
  done
  die "nginx does not start: $(cat "$work/nginx/errors")"
}

stop_server() {
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  server=
}

# beside_curl TITLE WHAT URL REQUESTS AT_ONCE ROUNDS: both, in turn.
beside_curl() {
  round=0
  while [ "$round" -lt "$6" ]; do
    measure "$1, round $round" "$program" scripts/bench/http.lua "$2" "$3" \
      "$4" "$5" "$round"
    measure "$1, curl" "$build/bench/curl_multi" "$2" "$3/chat/completions" \
      "$4" "$5" "$round"
    round=$((round + 1))
  done
}

run_http() {
  has_nginx && has_curl || return 0
  start_nginx
  beside_curl http generate "http://127.0.0.1:$port/v1" \
    "$(by_scale 5000 3000 50)" 64 "$(by_scale 15 5 1)"
  stop_server
}

run_streams() {
  has_curl || return 0
  streams=$(by_scale 1000 1000 10)
  mkfifo "$work/open"
  # shellcheck disable=SC2046 # three words
  "$build/bench/stream_server" $(by_scale "100 1000 4" "100 1000 4" "10 10 3") \
    <"$work/open" >"$work/port" &
  server=$!
  exec 3>"$work/open"
  while [ ! -s "$work/port" ]; do sleep 0.05; done
  beside_curl streams streams "http://127.0.0.1:$(cat "$work/port")/v1" \
    "$streams" 2000 "$(by_scale 5 1 1)"
  exec 3>&-
  stop_server
  rm "$work/open"
}

prepare
machine
# shellcheck disable=SC2086 # a list of words
set -- $cases
count=$#
while [ $# -gt 0 ]; do
  at="case $((count - $# + 1)) of $count: "
  "run_$1"
  shift
done
progress ""
lua=$(command -v lua5.4) || lua=$program
"$lua" scripts/bench/table.lua "$samples"
[ -z "$keep" ] || cp "$samples" "$keep"
skipped
exit 0
