#!/usr/bin/env bash
# Runs every fuzz target for SECONDS_EACH seconds (60 unless told). Needs nightly Rust and cargo-fuzz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${SECONDS_EACH:-60}
if ! rustup run nightly rustc --version >/dev/null 2>&1; then
  echo "fuzz: nightly Rust is needed for the sanitizer: rustup toolchain install nightly" >&2
  exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzz: cargo-fuzz is needed: cargo install --locked cargo-fuzz" >&2
  exit 1
fi
for target in $(cargo +nightly fuzz list); do
  echo "fuzz: $target for $seconds s"
  cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=1
done
