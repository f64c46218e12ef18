#!/usr/bin/env bash
# The long form of the stress tests, in a release build: events under strain on each kind of bus, ends of subscriptions
# raced, futures dropped at any moment, memory beside a stalled handler. Ends at the first failure, with its exit code.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'USAGE'
usage: scripts/stress.sh [--seconds N] [--seed S]

  --seconds N  how long in all, about; what is built and counted comes on top (default: 600)
  --seed S     what publishers and subscribers draw follows from it (default: a new one, which is said)
USAGE
}

fail() {
  printf 'scripts/stress.sh: %s\n' "$1" >&2
  exit 2
}

# number NAME VALUE: a whole number, without leading zeros.
number() {
  [[ $2 =~ ^(0|[1-9][0-9]{0,17})$ ]] || fail "$1 takes a number, not '$2'"
}

seconds=600
seed=$((RANDOM * 32768 + RANDOM))
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      usage
      exit 0
      ;;
    --seconds | --seed)
      [ $# -ge 2 ] || fail "$1 takes a number"
      number "$1" "$2"
      if [ "$1" = --seconds ]; then seconds=$2; else seed=$2; fi
      shift 2
      ;;
    *)
      usage >&2
      fail "there is no option '$1'"
      ;;
  esac
done

# Kinds of buses and races: eight of strain, four of ends, two of dropped futures.
each=$(((seconds + 13) / 14))
[ "$each" -gt 0 ] || each=1
export CODOMYRMEX_STRESS_SECONDS=$each CODOMYRMEX_STRESS_SEED=$seed

printf 'seed %s, %s s for each of 14 kinds\n' "$seed" "$each"
trap 'status=$?; [ $status -eq 0 ] || printf "failed: scripts/stress.sh --seconds %s --seed %s\n" "$seconds" "$seed" >&2' EXIT

for test in conservation unsubscribe_barrier cancel_safety bounded_memory; do
  printf '\n== %s (%d s)\n' "$test" "$SECONDS"
  cargo test --release --all-features --test "$test" -- --nocapture --test-threads=1
done
printf '\n== all is well (%d s)\n' "$SECONDS"
