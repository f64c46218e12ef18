#!/usr/bin/env bash
# How many instructions a publish takes, by callgrind: the steady figure beside the times of the benches. A queued bus's
# include the worker's. It needs valgrind (Debian: apt-get install valgrind).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null 2>&1 || {
  echo 'scripts/instructions.sh: valgrind is missing: install it (Debian: apt-get install valgrind)' >&2
  exit 2
}

cargo bench --quiet --all-features --bench instructions --no-run
binary=$(cargo bench --all-features --bench instructions --no-run --message-format=json 2>/dev/null |
  python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "instructions" and message.get("executable"):
        print(message["executable"])')

# count ARGUMENT...: the instructions of one run.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$@" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

printf '%-52s %s\n' 'a publish' instructions
for row in '0 0 inline none' '1 0 inline none' '1 1000 inline none' '10 1000 inline none' '1 1000 queued none' \
  '1 1000 inline publishing' '1 1000 inline handling' '1 1000 inline logger'; do
  read -r handlers history dispatch installed <<<"$row"
  few=$(count 20000 "$handlers" "$history" "$dispatch" "$installed")
  many=$(count 40000 "$handlers" "$history" "$dispatch" "$installed")
  printf '%-52s %d\n' "$dispatch, $handlers handlers, history $history, $installed" $(((many - few) / 20000))
done
