#!/bin/sh
# Compiler launcher: runs nvcc (or ccache and nvcc) as given; the lines that -Xptxas=-v prints go to OBJECT.ptxas, all others
# to standard error as ever.
object=
previous=
for argument; do
  [ "$previous" != -o ] || object=$argument
  previous=$argument
done
if [ -z "$object" ]; then exec "$@"; fi
log=$object.log
status=0
"$@" 2>"$log" || status=$?
of_ptxas='^ptxas info|^ *[0-9]+ bytes stack frame'
grep -E "$of_ptxas" "$log" >"$object.ptxas"
grep -vE "$of_ptxas" "$log" >&2
rm -f "$log"
exit "$status"
