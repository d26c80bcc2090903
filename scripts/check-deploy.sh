#!/usr/bin/env bash
# Lets the programs that will read them judge the files that redprobe is deployed with: compose the stack.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

file=docker-compose.monitoring.yml
if command -v docker-compose >/dev/null 2>&1; then
  compose=(docker-compose)
elif docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
else
  echo "check-deploy: docker-compose is not here; scripts/install-deps.sh compose installs it" >&2
  exit 1
fi
# Warnings too: an unset variable or an unknown key is one.
said=$("${compose[@]}" -f "$file" config --quiet 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
[[ -z $said ]] || { printf '%s\n' "$said" >&2; exit 1; }
echo "check-deploy: ${compose[*]} has nothing to say about $file"
