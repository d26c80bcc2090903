#!/usr/bin/env bash
# Checks the shell scripts: with shellcheck where it is installed, at least their syntax elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts=(scripts/*.sh .ci/run)
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null 2>&1; then
  shellcheck "${scripts[@]}"
  echo "check-scripts: shellcheck has nothing to say"
else
  echo "check-scripts: syntax is good; shellcheck is not installed, so nothing more was looked at"
fi
