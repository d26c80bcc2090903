#!/usr/bin/env bash
# Lets the programs that will read them judge the files that redprobe is deployed with: compose the stack, and, where
# they are installed, systemd the unit and kustomize what is applied to Kubernetes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "check-deploy: $*"; }
# Fails with what a command says, be it only a warning.
silent() {
  local said
  said=$("$@" 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
  [[ -z $said ]] || { printf '%s\n' "$said" >&2; exit 1; }
}

file=docker-compose.monitoring.yml
if command -v docker-compose >/dev/null 2>&1; then
  silent docker-compose -f "$file" config --quiet
elif docker compose version >/dev/null 2>&1; then
  silent docker compose -f "$file" config --quiet
else
  say "docker-compose is not here; scripts/install-deps.sh compose installs it" >&2
  exit 1
fi
say "compose has nothing to say about $file"

unit=deploy/systemd/redprobe.service
if command -v systemd-analyze >/dev/null 2>&1; then
  # The program need not be installed here for the unit to be right: any other stands in for it.
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  sed 's#^ExecStart=/usr/local/bin/redprobe#ExecStart=/bin/true#' "$unit" >"$copy/redprobe.service"
  silent systemd-analyze verify --man=no "$copy/redprobe.service"
  # In tenths: 20 is an exposure of 2.0.
  systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" >"$copy/said" ||
    { cat "$copy/said" >&2; exit 1; }
  say "systemd has nothing to say about $unit;$(sed -n 's/.*\(Overall exposure level[^:]*: [0-9.]*\).*/ \1/p' "$copy/said")"
else
  say "systemd-analyze is not installed, so nobody looked at $unit"
fi

if command -v kubectl >/dev/null 2>&1; then
  objects=$(kubectl kustomize deploy/kubernetes)
  say "kustomize makes $(grep -c '^kind: ' <<<"$objects") objects of deploy/kubernetes"
else
  say "kubectl is not installed, so nobody put deploy/kubernetes together"
fi
