#!/usr/bin/env bash
# Everything that must hold before a change goes in, from a fresh clone: installs what is missing, then checks the
# format, lints, each feature alone, all tests, the documentation and the examples. Ends at the first failure.
#
# It needs cargo, a C compiler (mimalloc is C), Python 3 (what the library finds is compared with what Python does) and git (its
# hooks are among the examples).
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

fail() {
  printf 'scripts/test.sh: %s\n' "$1" >&2
  exit 1
}

# have COMMAND PACKAGE: COMMAND is there, or is installed from Debian's PACKAGE.
have() {
  command -v "$1" >/dev/null 2>&1 && return
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "$1 is missing: install it (Debian: apt-get install $2)"
    root=(sudo -n)
  fi
  command -v apt-get >/dev/null 2>&1 || fail "$1 is missing, and so is apt-get: install it by hand"
  "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq "$2" >/dev/null ||
    fail "apt-get could not install $2"
  command -v "$1" >/dev/null 2>&1 || fail "$1 is missing although $2 is installed"
}

# have_component NAME COMMAND...: a part of the Rust toolchain.
have_component() {
  local name=$1
  shift
  "$@" >/dev/null 2>&1 && return
  command -v rustup >/dev/null 2>&1 || fail "$name is missing: add it to the Rust toolchain"
  rustup component add "$name" || fail "rustup could not add $name"
}

step "what is needed"
command -v cargo >/dev/null 2>&1 || fail "cargo is missing: install Rust, as https://rust-lang.org says"
have cc gcc
have python3 python3
have git git
have_component rustfmt cargo fmt --version
have_component clippy cargo clippy --version
cargo --version
python3 --version

step "format"
cargo fmt --all --check

# All targets: the library, the binary, tests, benches and examples.
step "lints"
cargo clippy --all-targets --all-features -- -D warnings

for features in "" schema cloudevents queued async stream websocket spans prometheus cli; do
  step "feature alone: ${features:-none}"
  cargo clippy --no-default-features --features "$features" -- -D warnings
done

step "tests of the inline engine alone, without any feature"
cargo test --no-default-features --lib --tests

step "tests of queued dispatch alone"
cargo test --no-default-features --features queued --test queued --test delayed

step "tests of asynchronous handlers alone"
cargo test --no-default-features --features async --test async_handlers

# Flags of one's own would take the place of the alias's, and there would be no model to run.
step "models of the lanes, every interleaving"
env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS cargo models

step "tests with all features, documentation tests last"
cargo test --all-features

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

step "examples"
for expected in examples/expected/*.txt; do
  name=$(basename "$expected" .txt)
  cargo run --quiet --all-features --example "$name" | diff "$expected" - || fail "example $name"
  echo "example $name: as expected"
done

# The first command of the README, without --release: 146 events of build.*, and build.complete once more.
lines=$(cargo run --quiet --all-features -- dispatch examples/data/build.ndjson --on 'build.*' --on '*.complete' | wc -l)
[ "$lines" -eq 147 ] || fail "dispatch printed $lines lines and not 147"
echo "dispatch: as expected"

# They are compiled with whatever there is; libFuzzer itself is C++.
step "fuzz targets"
not_checked=""
if cargo fuzz --version >/dev/null 2>&1 && cargo +nightly --version >/dev/null 2>&1; then
  cargo +nightly fuzz check
elif command -v c++ >/dev/null 2>&1; then
  cargo check --manifest-path fuzz/Cargo.toml
else
  not_checked="the fuzz targets: they need a C++ compiler, or cargo-fuzz with a nightly toolchain"
  printf 'NOT CHECKED: %s\n' "$not_checked"
fi

if [ -n "$not_checked" ]; then
  step "all that was checked is well; NOT CHECKED: $not_checked"
else
  step "all is well"
fi
