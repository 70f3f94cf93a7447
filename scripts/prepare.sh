# prepare.sh - the packages and the builds that demo.sh and test.sh need.
#
# To be sourced from the root of the checkout. Everything is asked for by what
# it does (a command runs, pkg-config knows a library), so that tools from
# elsewhere count too and apt is not touched where nothing is missing. It
# removes nothing and asks nothing. All it says goes to stderr.

say() { printf '%s\n' "$*" >&2; }

die() {
  say "llmpool: $*"
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

has_compiler() {
  printf '#include <pthread.h>\n' | cc -std=c11 -fsyntax-only -x c - 2>/dev/null
}

has_library() { pkg-config --exists "$1" 2>/dev/null; }

# In plain lua5.4, with all that busted is made of.
has_busted() {
  has busted && has lua5.4 &&
    lua5.4 -e 'require "busted.core" require "lfs" require "term"' 2>/dev/null
}

# need PACKAGES PROBE...: PACKAGES are missing unless PROBE succeeds.
need() {
  needed=$1
  shift
  "$@" || missing="$missing $needed"
}

# missing_for build|test: sets $missing to the Debian packages to install.
missing_for() {
  missing=
  need "gcc libc6-dev" has_compiler
  need make has make
  need cmake has cmake
  need pkg-config has pkg-config
  need liblua5.4-dev has_library lua5.4
  need libuv1-dev has_library libuv
  need libreadline-dev has_library readline
  need libcurl4-openssl-dev has_library libcurl
  # without them no https: libcurl only recommends them
  need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
  if [ "$1" = test ]; then
    need libcmocka-dev has_library cmocka
    need lua5.4 has lua5.4
    need g++ has c++
    need lua-busted has_busted
    need lua-check has luacheck
    need clang-format has clang-format
    need cppcheck has cppcheck
    need universal-ctags has ctags
    need python3 has python3
    need openssl has openssl
    need tmux has tmux
    need zsh has zsh
    need fish has fish
    need mandoc has mandoc
  fi
  missing=${missing# }
}

# as_root COMMAND...: runs it as root without asking for a password.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
}

# prepare_packages build|test: installs what is missing, or says what would.
prepare_packages() {
  missing_for "$1"
  [ -n "$missing" ] || return 0
  has apt-get || die "this needs the Debian packages: $missing
(there is no apt-get here: install their like by the system's own means)"
  if [ "$(id -u)" -ne 0 ] && ! { has sudo && sudo -n true 2>/dev/null; }; then
    has sudo && sudo="sudo " || sudo=
    die "packages are missing and may not be installed from here. Run${sudo:- as root}:
  ${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends $missing"
  fi
  say "Installing: $missing"
  apt update || say "llmpool: apt-get update failed; trying with the old lists"
  # shellcheck disable=SC2086 # a list of words
  apt install -y --no-install-recommends $missing ||
    die "apt-get could not install: $missing"
  missing_for "$1"
  [ -z "$missing" ] || die "installed, but still not usable: $missing"
}

# Sets $build_dir to the directory of PRESET.
directory_of() {
  case $1 in
    release) build_dir=build ;;
    *) build_dir=build/$1 ;;
  esac
}

# is_built PRESET: whether that was built here by prepare_build, and no file
# that a build is made of has been changed, added or removed since it began.
# What the system brings (compiler, libraries) it does not look at.
is_built() {
  directory_of "$1"
  [ -x "$build_dir/llmpool" ] && [ -e "$build_dir/built" ] &&
    read -r built_in <"$build_dir/built" && [ "$built_in" = "$(pwd -P)" ] &&
    [ -z "$(find CMakeLists.txt CMakePresets.json scripts/cmake scripts/bench \
      src lua spec/c spec/support -newer "$build_dir/built")" ]
}

# prepare_build PRESET: configures where needed, and builds. A build directory
# that was made for another checkout (a copied tree) is made anew.
prepare_build() {
  directory_of "$1"
  cache=$build_dir/CMakeCache.txt
  if [ -f "$cache" ] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" "$cache"; then
    say "$build_dir was made for another checkout: configuring it anew"
    rm -rf "$cache" "$build_dir/CMakeFiles"
  fi
  mkdir -p "$build_dir"
  pwd -P >"$build_dir/building"
  cmake --preset "$1" >&2 || return 1
  # where editors look for it
  ln -sf "$build_dir/compile_commands.json" compile_commands.json
  cmake --build --preset "$1" -j "$(getconf _NPROCESSORS_ONLN)" >&2 || return 1
  mv "$build_dir/building" "$build_dir/built" # with the time of its begin
}
