#!/usr/bin/env bash
# Makes sure that the programs named as arguments are here, and says plainly what to do where it cannot.
#
#   scripts/install-deps.sh [redis] [prometheus] [alertmanager] [compose] [exporter]
#
# The Rust toolchain and a C compiler (for the TLS library) are always looked for. Silent, and without a call of apt,
# when nothing is missing. Services that a package brings along are neither started nor enabled, and a server that
# already runs is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "install-deps: $*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- what is missing ---------------------------------------------------------------------------------------------

if ! has cargo; then
  say "cargo is not here. Install Rust from https://rustup.rs (the version in rust-toolchain.toml is then fetched by itself), open a new shell and try again."
  exit 1
fi
if ! cargo --version >/dev/null 2>&1; then
  say "cargo does not start: $(cargo --version 2>&1 | head -n 1)"
  say "The toolchain named in rust-toolchain.toml is needed; with rustup: rustup toolchain install $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)"
  exit 1
fi

packages=() missing=()
need() { # need PROGRAM DEBIAN-PACKAGE
  has "$1" && return
  missing+=("$1")
  [[ " ${packages[*]-} " == *" $2 "* ]] || packages+=("$2")
}

if ! has cc && ! has gcc && ! has clang; then
  missing+=(cc) packages+=(gcc libc6-dev)
fi
for tool in "$@"; do
  case $tool in
    redis)
      need redis-server redis-server
      need redis-cli redis-tools
      need redis-benchmark redis-tools
      ;;
    prometheus)
      need prometheus prometheus
      need promtool prometheus
      ;;
    alertmanager)
      # Debian's name for it; elsewhere it is called as its makers call it.
      has alertmanager || need prometheus-alertmanager prometheus-alertmanager
      need amtool prometheus-alertmanager
      ;;
    # A program of its own, or docker's.
    compose) docker compose version >/dev/null 2>&1 || need docker-compose docker-compose ;;
    exporter) need prometheus-redis-exporter prometheus-redis-exporter ;;
    *)
      say "there is no tool called '$tool' (redis, prometheus, alertmanager, compose, exporter)"
      exit 2
      ;;
  esac
done
((${#missing[@]})) || exit 0

# --- where it cannot be installed from here ----------------------------------------------------------------------

give_up() {
  say "not here: ${missing[*]}. $1 Install it and try again:"
  say "  Debian, Ubuntu   sudo apt-get install --no-install-recommends ${packages[*]}"
  say "  Fedora, RHEL     sudo dnf install redis gcc            (newer ones: valkey valkey-compat-redis)"
  say "  macOS            brew install redis prometheus alertmanager docker-compose"
  say "                   (and xcode-select --install for a C compiler)"
  say "  promtool comes with Prometheus, amtool with Alertmanager (https://prometheus.io/download);"
  say "  docker-compose is at https://docs.docker.com/compose/install; prometheus-redis-exporter is"
  say "  redis_exporter (https://github.com/oliver006/redis_exporter/releases) under Debian's name."
  exit 1
}

has apt-get || give_up "This script installs packages on Debian and Ubuntu only."
root=()
if [[ $(id -u) != 0 ]]; then
  has sudo || give_up "Installing needs root, and there is no sudo."
  sudo -n true 2>/dev/null || [[ -t 0 ]] || give_up "Installing needs root, and sudo would ask for a password."
  root=(sudo)
fi

# --- apt ---------------------------------------------------------------------------------------------------------

say "installing ${packages[*]} (for ${missing[*]})"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=
tidy() {
  [[ -z $made_policy ]] || "${root[@]}" rm -f "$policy"
  rm -f "$log"
}
trap tidy EXIT

# Exit 101 is Debian's way of saying "start no service while installing". One that is there already stays as it is.
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
  made_policy=yes
  "${root[@]}" chmod 755 "$policy"
fi

was_there=" $({ dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${packages[@]}" 2>/dev/null || true; } | sed -n 's/^ii //p' | tr '\n' ' ') "
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=120)
if ! "${apt[@]}" install --no-install-recommends "${packages[@]}" >"$log" 2>&1; then
  # Most often the package lists are missing or old.
  "${apt[@]}" update >>"$log" 2>&1 || true
  if ! "${apt[@]}" install --no-install-recommends "${packages[@]}" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    give_up "apt-get could not install it."
  fi
fi

# A package installed just now must not start its service at the next boot either.
if has systemctl; then
  for package in "${packages[@]}"; do
    [[ $was_there == *" $package "* ]] || "${root[@]}" systemctl disable "$package.service" >/dev/null 2>&1 || true
  done
fi

hash -r
for program in "${missing[@]}"; do
  has "$program" || give_up "The package was installed, but '$program' is not on the PATH."
done
