#!/bin/sh
# lint.sh - what can be said of the sources without running them, as TAP:
# luacheck, clang-format, cppcheck, the shell's own reading, and the floors
# (spec/rooms_spec.lua).
set -u
cd "$(dirname "$0")/.." || exit 1

number=0
bad=0

# check TITLE COMMAND...
check() {
  title=$1
  shift
  number=$((number + 1))
  if output=$("$@" 2>&1); then
    echo "ok $number - $title"
  else
    echo "not ok $number - $title"
    printf '%s\n' "$output" | sed 's/^/# /'
    bad=1
  fi
}

c_files() { find src spec scripts -name '*.[ch]' | sort; }

luacheck_all() { luacheck -q --no-color --codes .busted lua scripts spec; }

format() {
  unformatted=
  for file in $(c_files); do
    clang-format "$file" | cmp -s "$file" - || unformatted="$unformatted $file"
  done
  [ -z "$unformatted" ] || { echo "run: clang-format -i$unformatted" && false; }
}

# It does not know that Lua's errors do not come back, nor realloc's idioms;
# for memory the sanitizers are the judge.
cppcheck_all() {
  cppcheck -q -j2 --std=c11 --error-exitcode=1 --inline-suppr \
    --enable=warning,performance,portability --suppress=missingIncludeSystem \
    --suppress=memleak --suppress=nullPointerRedundantCheck src
}

shell_reads() {
  for file in scripts/*.sh; do
    sh -n "$file" || return 1
  done
}

rooms() {
  lua5.4 "$(command -v busted)" --run=lint -o plainTerminal
}

check "luacheck" luacheck_all
check "clang-format" format
check "cppcheck" cppcheck_all
check "sh -n" shell_reads
check "floors (spec/rooms_spec.lua)" rooms
echo "1..$number"
exit "$bad"
