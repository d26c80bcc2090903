#!/usr/bin/env bash
# `make demo`: redprobe at work, in a directory of its own that is removed at the end.
#
# Builds, starts a private redis-server on a free port, redprobe with short schedules and, where they are installed,
# Prometheus and Alertmanager with the shipped rules; shows some of what is measured, and which alerts fire; runs until
# Ctrl-C. With TARGET=redis://… it watches that server instead, and does nothing there but read and use a few keys of its
# own. With DEMO_PROGRAM=… it takes that redprobe and builds none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target_url=${TARGET-}
dir=''
redis_pid='' redprobe_pid='' prometheus_pid='' alertmanager_pid=''

say() { printf '%s\n' "$*"; }
alive() { [[ -n $1 ]] && kill -0 "$1" 2>/dev/null; }

# Ends a process that this script started: politely, then by force.
end() { # end PID SECONDS
  alive "$1" || return 0
  kill -TERM "$1" 2>/dev/null || return 0
  local tenths
  for ((tenths = 0; tenths < $2 * 10; tenths++)); do
    alive "$1" || return 0
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null || true
}

clean_up() {
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  # The daemon first, so that it can still remove its keys.
  end "$redprobe_pid" 40
  if alive "$redis_pid"; then
    say "demo: keys left in the private redis-server: $(redis-cli -p "$redis_port" --scan --pattern 'redprobe:*' | wc -l | tr -d ' ')"
  fi
  end "$prometheus_pid" 10
  end "$alertmanager_pid" 10
  end "$redis_pid" 10
  wait 2>/dev/null
  [[ -z $dir ]] || rm -rf "$dir"
  [[ -z $dir ]] || say "demo: stopped and removed"
  exit "$status"
}
trap clean_up EXIT
# Ctrl-C is how the demo is meant to end.
trap 'exit 0' INT
trap 'exit 143' TERM HUP

fail() { # fail SENTENCE [LOG]
  say "demo: $1" >&2
  [[ -z ${2-} || ! -s ${2-} ]] || tail -n 15 "$2" >&2
  exit 1
}

# Starts "$@" in a process group of its own, so that Ctrl-C reaches only this script, which then stops things in order.
start() {
  set -m
  "$@" </dev/null &
  set +m
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first free port of those given, else a random one.
free_port() {
  local port try
  for port in "$@"; do
    taken "$port" || { echo "$port"; return; }
  done
  for ((try = 0; try < 50; try++)); do
    port=$((20000 + RANDOM % 12000))
    taken "$port" || { echo "$port"; return; }
  done
  fail "no free port found"
}

# The body of a page.
get() { # get PORT PATH
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: demo\r\n\r\n' "$2" >&3
  sed '1,/^\r*$/d' <&3
  exec 3<&- 3>&-
} 2>/dev/null

await_port() { # await_port PID PORT NAME LOG
  local try
  for ((try = 0; try < 200; try++)); do
    alive "$1" || fail "$3 did not start:" "${4-}"
    taken "$2" && return
    sleep 0.1
  done
  fail "$3 does not listen:" "${4-}"
}

# --- build -------------------------------------------------------------------------------------------------------

if [[ -n $target_url ]]; then scripts/install-deps.sh; else scripts/install-deps.sh redis; fi
redprobe=${DEMO_PROGRAM-}
if [[ -z $redprobe ]]; then
  say "demo: building (a few minutes the first time, seconds after that)"
  cargo build --release --bin redprobe
  redprobe=${CARGO_TARGET_DIR:-target}/release/redprobe
fi

umask 077
dir=$(mktemp -d "${TMPDIR:-/tmp}/redprobe-demo.XXXXXX")

# --- a Redis to look at ------------------------------------------------------------------------------------------

if [[ -z $target_url ]]; then
  redis_port=$(free_port)
  start redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$dir" \
    --maxmemory 128mb --maxmemory-policy noeviction >"$dir/redis.log" 2>&1
  redis_pid=$!
  for ((try = 0; try < 100; try++)); do
    alive "$redis_pid" || fail "redis-server did not start:" "$dir/redis.log"
    [[ $(redis-cli -p "$redis_port" ping 2>/dev/null) != PONG ]] || break
    sleep 0.1
  done
  url="redis://127.0.0.1:$redis_port" shown=$url allow=disrupt
else
  url=$target_url allow=touch
  shown=${url/:\/\/*@/://***@}
fi

# --- redprobe ----------------------------------------------------------------------------------------------------

http_port=$(free_port 19121)
scripts/demo-config.sh "$allow" "$http_port" "$dir" >"$dir/redprobe.toml"
export REDPROBE__TARGETS__DEMO__URL=$url
start "$redprobe" serve --config "$dir/redprobe.toml"
redprobe_pid=$!
unset REDPROBE__TARGETS__DEMO__URL
await_port "$redprobe_pid" "$http_port" "redprobe"

# --- Prometheus and Alertmanager, where they are installed ---------------------------------------------------------

# The shipped files, in a hurry: a minute of theirs is ten seconds here.
alertmanager_port=''
if alertmanager=$(command -v prometheus-alertmanager || command -v alertmanager) && command -v prometheus >/dev/null; then
  alertmanager_port=$(free_port 9093)
  sed -E 's/(group_wait|group_interval): .*/\1: 5s/' config/alertmanager.yml >"$dir/alertmanager.yml"
  start "$alertmanager" --config.file="$dir/alertmanager.yml" --storage.path="$dir/alertmanager" \
    --web.listen-address="127.0.0.1:$alertmanager_port" --cluster.listen-address= >"$dir/alertmanager.log" 2>&1
  alertmanager_pid=$!
fi
if command -v prometheus >/dev/null; then
  mkdir "$dir/rules"
  for rules in alerts/*.rules.yml; do
    awk '
      $1 == "for:" {
        seconds = $2 * ($2 ~ /h$/ ? 3600 : $2 ~ /m$/ ? 60 : 1)
        sub(/for: .*/, "for: " int(seconds / 6) "s")
      }
      { print }
    ' "$rules" >"$dir/rules/${rules##*/}"
  done
  prometheus_port=$(free_port 9090)
  sed -E -e "s/redprobe:19121/127.0.0.1:$http_port/" -e "s/alertmanager:9093/127.0.0.1:${alertmanager_port:-9093}/" \
    -e 's/(scrape|evaluation)_interval: .*/\1_interval: 5s/' -e "s|\.\./alerts/|$dir/rules/|" \
    -e "s|alerts/runbook.md|$PWD/&|" config/prometheus.yml >"$dir/prometheus.yml"
  start prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/prometheus" \
    --web.listen-address="127.0.0.1:$prometheus_port" >"$dir/prometheus.log" 2>&1
  prometheus_pid=$!
  await_port "$prometheus_pid" "$prometheus_port" Prometheus "$dir/prometheus.log"
fi
[[ -z $alertmanager_pid ]] || await_port "$alertmanager_pid" "$alertmanager_port" Alertmanager "$dir/alertmanager.log"

# One line for each alert that fires: severity, name, summary.
firing() {
  get "$prometheus_port" /api/v1/alerts | sed 's/{"labels":/\n&/g' |
    grep -v RedprobeWatchdog | grep '"state":"firing"' |
    sed -nE 's/.*"alertname":"([^"]*)".*"severity":"([^"]*)".*"summary":"([^"]*)".*/\2 \1: \3/p' | sort -u
}

say
say "  watching     $shown (allow = $allow)"
say "  status       http://127.0.0.1:$http_port/"
say "  metrics      http://127.0.0.1:$http_port/metrics"
say "  runs         http://127.0.0.1:$http_port/api/v1/runs"
if [[ -n $prometheus_pid ]]; then
  say "  Prometheus   http://127.0.0.1:$prometheus_port/graph?g0.expr=redprobe_run_latency_seconds&g0.tab=0&g0.range_input=5m"
  say "  alerts       http://127.0.0.1:$prometheus_port/alerts"
fi
[[ -z $alertmanager_pid ]] || say "  Alertmanager http://127.0.0.1:$alertmanager_port/"
say "  Ctrl-C stops and removes all of it."
say

# --- until Ctrl-C ------------------------------------------------------------------------------------------------

probes=(server_info latency_baseline)
[[ $allow == touch ]] || probes+=(throughput)
shown_summary=''
touch "$dir/firing"
for ((second = 0; ; second++)); do
  alive "$redprobe_pid" || fail "redprobe ended by itself; its log is above"
  [[ -n $target_url ]] || alive "$redis_pid" || fail "redis-server ended by itself:" "$dir/redis.log"
  if [[ -z $shown_summary ]]; then
    get "$http_port" /metrics >"$dir/metrics.txt" || true
    done_probes=0
    for probe in health "${probes[@]}"; do
      if grep -q "^redprobe_run_success{.*probe=\"$probe\"" "$dir/metrics.txt"; then done_probes=$((done_probes + 1)); fi
    done
    if ((done_probes > ${#probes[@]} || second == 60)); then
      scripts/demo-summary.sh "$((${#probes[@]} == 3))" <"$dir/metrics.txt"
      shown_summary=yes
    fi
  fi
  if [[ -n $prometheus_pid ]]; then
    firing >"$dir/firing.now" || true
    comm -13 "$dir/firing" "$dir/firing.now" | sed 's/^/  ALERT     /'
    comm -23 "$dir/firing" "$dir/firing.now" | sed 's/^/  resolved  /'
    mv "$dir/firing.now" "$dir/firing"
  fi
  sleep 1 &
  wait $! || true
done
