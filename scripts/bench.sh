#!/usr/bin/env bash
# `make bench`: measures beside other tools, and writes the tables into README.md between its two bench markers.
#
# BENCH=ops or BENCH=scrape measures one half and prints it, and leaves the README alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck disable=SC2086 # LOCKED is empty or one flag
cargo build ${LOCKED-} --release --package redprobe --package redprobe-bench
bench=${CARGO_TARGET_DIR:-target}/release/redprobe-bench

if [[ -n ${BENCH-} ]]; then
  exec "$bench" "$BENCH"
fi

tables=$(mktemp)
trap 'rm -f "$tables" "$tables.readme"' EXIT
"$bench" | tee "$tables"
printf '\nMeasured on %s with `make bench`.\n' "$(date -u +%F)" >>"$tables"
awk -v tables="$tables" '
  /<!-- bench:end -->/ { inside = 0 }
  !inside { print }
  /<!-- bench:begin -->/ { inside = 1; print ""; while ((getline line < tables) > 0) print line; print "" }
' README.md >"$tables.readme"
cp "$tables.readme" README.md
echo "README.md has the new tables" >&2
