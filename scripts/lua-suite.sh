#!/bin/sh
# lua-suite.sh DIR [PROGRAM] - runs Lua's own test suite under the program and
# under lua5.4, file by file, and tells every difference. DIR is the directory
# testes/ of Lua's repository at the tag of the version that `lua5.4 -v` tells
# (the suite is not ours and does not come with this project). PROGRAM is
# build/llmpool unless given.
#
# One idea: whatever lua5.4 makes of a file - also a failure - is what the
# program has to make of it: the same exit status, the same output but for what
# varies from run to run (numbers, and a dot for each garbage collection).
# main.lua has a race of its own (what runs in the background may print before
# its process id is told), so whoever fails at a file may try again, ten times
# at most. The suite writes files and sends signals: it gets a copy, and had
# better be run by a user who is not root.
set -u

[ $# -ge 1 ] && [ -f "$1/all.lua" ] || {
  echo "usage: sh scripts/lua-suite.sh DIR [PROGRAM]; DIR has all.lua" >&2
  exit 2
}
suite=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 1
program=$(realpath "${2:-build/llmpool}")
[ -x "$program" ] || {
  echo "there is no program $program; build it, or name it" >&2
  exit 2
}
theirs=$(command -v lua5.4) || {
  echo "lua5.4 is missing: apt-get install lua5.4" >&2
  exit 2
}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp -r "$suite" "$work/testes" && cd "$work/testes" || exit 1
headers=$(pkg-config --variable=includedir lua5.4 2>/dev/null)/lua5.4
if [ -f libs/makefile ] && [ -f "$headers/lua.h" ]; then
  make -s -C libs LUA_DIR="$headers" >/dev/null 2>&1
fi

# outcome FILE INTERPRETER ARGUMENT...: status and output, without what varies.
outcome() {
  result=$1
  shift
  for try in 1 2 3 4 5 6 7 8 9 10; do
    timeout 600 "$@" >"$work/out" 2>&1 </dev/null
    status=$?
    [ "$status" -ne 0 ] || break
  done
  echo "status $status" >"$result"
  sed -e "s|$1|PROGRAM|g" -e '/time difference from previous/d' \
    -e 's/0x[0-9a-f]*/ADDRESS/g; s/lua_[A-Za-z0-9]*/TMP/g' \
    -e 's/[0-9][0-9.]*/N/g; s/N[KM]\>/N/g; s/\.*//g; /^+*$/d' \
    "$work/out" >>"$result"
}

number=0
failures=0

# compare TITLE ARGUMENT...
compare() {
  title=$1
  shift
  number=$((number + 1))
  outcome "$work/theirs" "$theirs" "$@"
  outcome "$work/ours" "$program" "$@"
  if cmp -s "$work/theirs" "$work/ours"; then
    echo "ok $number - $title ($(head -n 1 "$work/ours"))"
    return
  fi
  echo "not ok $number - $title"
  diff "$work/theirs" "$work/ours" | sed 's/^/# /' | head -n 40
  failures=$((failures + 1))
}

compare "all.lua as a user" -e "_U=true" all.lua
compare "all.lua, all but main.lua" -W -e "_port=true" all.lua
for file in *.lua; do
  case $file in
    all.lua | heavy.lua) ;; # the second one wants all the memory there is
    *) compare "$file" -W "$file" ;;
  esac
done
echo "1..$number"
[ "$failures" -eq 0 ]
