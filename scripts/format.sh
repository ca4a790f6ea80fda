#!/usr/bin/env bash
# Formats our C++ files; with --check changes nothing and fails if a file would change. clang-format's output differs
# from version to version: 14, Debian 12's, is the one that counts.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
  "") mode=(-i) ;;
  --check) mode=(--dry-run --Werror) ;;
  *) die "usage: scripts/format.sh [--check]" ;;
esac
command -v clang-format-14 >/dev/null || install_packages clang-format-14

find . -name 'build*' -prune -o -name '.?*' -prune -o -type f \
  \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 -n 8 -P "$jobs" clang-format-14 "${mode[@]}"
