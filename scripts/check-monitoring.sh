#!/usr/bin/env bash
# Lets Prometheus' and Alertmanager's own tools judge the rules, their tests, and the configurations beside them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in promtool amtool; do
  command -v "$tool" >/dev/null 2>&1 || {
    echo "check-monitoring: $tool is not here; scripts/install-deps.sh prometheus alertmanager installs it" >&2
    exit 1
  }
done

# Runs a check; what it says is of interest only when it fails.
check() {
  local said
  said=$("$@" 2>&1) || { printf '%s\n' "check-monitoring: $* says:" "$said" >&2; exit 1; }
}

rules=(alerts/*.rules.yml) tests=(alerts/tests/*.yml)
check promtool check rules --lint=all --lint-fatal "${rules[@]}"
check promtool check config --lint=all --lint-fatal config/prometheus.yml
check amtool check-config config/alertmanager.yml
[[ ! -e config/web.yml ]] || check promtool check web-config config/web.yml
check promtool test rules "${tests[@]}"
echo "check-monitoring: promtool and amtool have nothing to say about ${#rules[@]} files of rules, ${#tests[@]} of their tests, and the configurations"
