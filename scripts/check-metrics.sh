#!/usr/bin/env bash
# Lets promtool judge the golden exposition, which a test holds equal to what the daemon really serves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

golden=tests/golden/exposition.txt
[[ -s $golden ]] || { echo "check-metrics: $golden is missing or empty; 'make bless' writes it" >&2; exit 1; }
# promtool says what it dislikes on stderr, for some things without failing.
said=$(promtool check metrics <"$golden" 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
[[ -z $said ]] || { printf '%s\n' "$said" >&2; exit 1; }
echo "check-metrics: promtool has nothing to say about $golden"
