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

printf '%-44s %s\n' 'a publish' instructions
for row in '0 0 inline' '1 0 inline' '1 1000 inline' '10 1000 inline' '1 1000 queued'; do
  read -r handlers history dispatch <<<"$row"
  few=$(count 20000 "$handlers" "$history" "$dispatch")
  many=$(count 40000 "$handlers" "$history" "$dispatch")
  printf '%-44s %d\n' "$dispatch, $handlers handlers, history $history" $(((many - few) / 20000))
done
