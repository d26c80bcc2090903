#!/usr/bin/env bash
# Licences and crates that must not come in. cargo-deny says it with deny.toml where it is installed; elsewhere the
# two rules that matter most are checked with cargo alone, against the same list of licences.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Two TLS providers in one program make rustls refuse to choose at run time: rediss:// would then panic.
if found=$(cargo tree --workspace --target all -i aws-lc-sys 2>/dev/null); then
  printf '%s\n' "$found" >&2
  echo "check-licences: aws-lc-sys came in through the above; TLS is rustls with ring only" >&2
  exit 1
fi

if cargo deny --version >/dev/null 2>&1; then
  cargo deny --all-features check bans licenses sources
  exit
fi

# allow = [ "A", "B" ] of deny.toml, one a line.
allowed=$(awk '/^allow = \[/ { on = 1; next } /^\]/ { on = 0 } on { gsub(/[" ,]/, ""); sub(/#.*/, ""); print }' deny.toml)
# An expression is fine when one of its OR parts has only allowed licences joined by AND.
cargo tree --workspace --target all --all-features --edges normal,build,dev --prefix none --format '{p}|{l}' |
  sed -e 's/ (\*)$//' -e '/^$/d' | sort -u |
  awk -F '|' -v allowed="$allowed" '
    BEGIN { count = split(allowed, list, "\n"); for (i = 1; i <= count; i++) good[list[i]] = 1 }
    {
      expression = $2
      gsub(/[()]/, "", expression); gsub(/\//, " OR ", expression)
      fine = 0
      parts = split(expression, choice, " OR ")
      for (i = 1; i <= parts && !fine; i++) {
        fine = 1
        terms = split(choice[i], term, " AND ")
        for (j = 1; j <= terms; j++) { gsub(/^ +| +$/, "", term[j]); if (!(term[j] in good)) fine = 0 }
      }
      crates++
      if (!fine) { bad++; print "check-licences: " $1 " has the licence \"" $2 "\", which deny.toml does not allow" > "/dev/stderr" }
    }
    END {
      if (bad) exit 1
      print "check-licences: " crates " crates, all licences allowed (cargo-deny is not installed; its other checks did not run)"
    }'
