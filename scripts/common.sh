# What the scripts share; sourced, not run. Sets root, build and jobs and enters the repository's root.
#
#   ONNXRAY_BUILD_DIR   where to build (default: build)
#   JOBS                compilers at a time (default: one per processor, and 1.5 GiB of memory for each)
#   ONNXRAY_CMAKE_ARGS  further arguments for cmake
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
build=${ONNXRAY_BUILD_DIR:-build}

default_jobs() {
  local processors memory
  processors=$(nproc)
  memory=$(awk '/^MemTotal:/ { print int($2 / 1572864) }' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo $((processors < memory ? processors : memory))
}
jobs=${JOBS:-$(default_jobs)}

# ccache keeps its files below the home directory; below the build folder where there is none to write to.
if [ -z "${CCACHE_DIR:-}" ] && { [ -z "${HOME:-}" ] || [ ! -w "${HOME:-}" ]; }; then
  mkdir -p "$build"
  CCACHE_DIR=$(cd "$build" && pwd)/.ccache
  export CCACHE_DIR
fi
# Paths below the root are hashed relative to it, so another clone finds what this one compiled.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}

build_packages=(g++ cmake ninja-build ccache pkg-config libdnnl-dev libprotobuf-dev protobuf-compiler libcli11-dev
  nlohmann-json3-dev libeigen3-dev libstb-dev libjpeg-dev libpng-dev)
test_packages=(libgtest-dev libgmock-dev libonnx-testdata python3)

say() { printf '== %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Runs a command; what it printed is shown only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  [ "$status" -eq 0 ] || tail -n 40 "$log" >&2
  rm -f "$log"
  return "$status"
}

# Installs those of the named Debian packages that are missing.
install_packages() {
  local package missing=() as_root=()
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "no apt-get here: expecting the counterparts of these Debian packages: $*"
    return
  fi
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "packages are missing and this is neither root nor is there sudo; as root, run:
  apt-get update && apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  quietly "${apt[@]}" update || die "apt-get update failed"
  quietly "${apt[@]}" install --no-install-recommends "${missing[@]}" || die "apt-get install failed"
}

# configure DIR ARGUMENTS...: an existing folder keeps its generator and what is not named here.
configure() {
  local dir=$1 extra=()
  shift
  read -r -a extra <<<"${ONNXRAY_CMAKE_ARGS:-}"
  [ -e "$dir/CMakeCache.txt" ] || extra=(-G Ninja "${extra[@]}")
  quietly cmake -S . -B "$dir" "$@" "${extra[@]}" || die "cmake failed for $dir"
}
