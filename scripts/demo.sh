#!/bin/sh
# demo.sh - from a fresh checkout to the first run: installs the packages that
# are missing, builds build/llmpool, runs scripts/verification.lua.
# stdout is the script's; what is installed and built is told on stderr.
set -eu
cd "$(dirname "$0")/.."
. scripts/prepare.sh

prepare_packages build
prepare_build release || die "the build failed"
exec build/llmpool scripts/verification.lua
