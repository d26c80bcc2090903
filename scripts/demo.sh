#!/usr/bin/env bash
# `make demo`: redprobe at work, in a directory of its own that is removed at the end.
#
# Builds, starts a private redis-server on a free port, redprobe with short schedules and, where it is installed,
# Prometheus; shows some of what is measured; runs until Ctrl-C. With TARGET=redis://… it watches that server instead,
# and does nothing there but read and use a few keys of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target_url=${TARGET-}
dir=''
redis_pid='' redprobe_pid='' prometheus_pid=''

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

scrape() {
  exec 3<>"/dev/tcp/127.0.0.1/$http_port" || return 1
  printf 'GET /metrics HTTP/1.0\r\nHost: demo\r\n\r\n' >&3
  cat <&3
  exec 3<&- 3>&-
} 2>/dev/null

# --- build -------------------------------------------------------------------------------------------------------

if [[ -n $target_url ]]; then scripts/install-deps.sh; else scripts/install-deps.sh redis; fi
say "demo: building (a few minutes the first time, seconds after that)"
cargo build --release --bin redprobe
redprobe=${CARGO_TARGET_DIR:-target}/release/redprobe

umask 077
dir=$(mktemp -d "${TMPDIR:-/tmp}/redprobe-demo.XXXXXX")

# --- a Redis to look at ------------------------------------------------------------------------------------------

if [[ -z $target_url ]]; then
  redis_port=$(free_port)
  start redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$dir" \
    --maxmemory 512mb --maxmemory-policy noeviction >"$dir/redis.log" 2>&1
  redis_pid=$!
  for ((try = 0; try < 100; try++)); do
    alive "$redis_pid" || fail "redis-server did not start:" "$dir/redis.log"
    [[ $(redis-cli -p "$redis_port" ping 2>/dev/null) != PONG ]] || break
    sleep 0.1
  done
  url="redis://127.0.0.1:$redis_port" shown=$url allow=load
else
  url=$target_url allow=touch
  shown=${url/:\/\/*@/://***@}
fi

# --- redprobe ----------------------------------------------------------------------------------------------------

http_port=$(free_port 19121)
cat >"$dir/redprobe.toml" <<END
state_dir = "$dir/state"

[log]
level = "info,redprobe::schedule::runner=debug"     # every run, not only those that went wrong

[http]
listen = "127.0.0.1:$http_port"

[targets.demo]               # its url comes through the environment, since it may hold a password
allow = "$allow"

[jobs.info]
probe = "server_info"
targets = ["demo"]
schedule = "every 10s"

[jobs.audit]
probe = "config_audit"
targets = ["demo"]
schedule = "every 30s"

[jobs.census]
probe = "client_census"
targets = ["demo"]
schedule = "every 15s"

[jobs.latency]
probe = "latency_baseline"
targets = ["demo"]
schedule = "every 20s"
timeout = "20s"
END
if [[ $allow == load ]]; then
  # Short, with samples enough for a p99.
  cat >>"$dir/redprobe.toml" <<END
settings = { rate = 800, sustained = "4s", ops_per_worker = 300, memory_pattern = "8MB" }

[jobs.throughput]
probe = "throughput"
targets = ["demo"]
schedule = "every 30s"
timeout = "30s"
settings = { duration = "2s" }

[jobs.starvation]
probe = "pool_starvation"
targets = ["demo"]
schedule = "every 1m"
timeout = "30s"
settings = { duration = "3s" }
END
else
  echo 'settings = { rate = 100, sustained = "5s" }' >>"$dir/redprobe.toml"
fi

export REDPROBE__TARGETS__DEMO__URL=$url
start "$redprobe" serve --config "$dir/redprobe.toml"
redprobe_pid=$!
unset REDPROBE__TARGETS__DEMO__URL
for ((try = 0; try < 100; try++)); do
  alive "$redprobe_pid" || fail "redprobe did not start; its log is above"
  taken "$http_port" && break
  sleep 0.1
done

# --- Prometheus, where there is one ------------------------------------------------------------------------------

if command -v prometheus >/dev/null 2>&1; then
  prometheus_port=$(free_port 9090)
  sed -e "s/redprobe:19121/127.0.0.1:$http_port/" -e "s|- \.\./alerts|- $PWD/alerts|" \
    -e 's/\(scrape\|evaluation\)_interval: .*/\1_interval: 5s/' config/prometheus.yml >"$dir/prometheus.yml"
  start prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/prometheus" \
    --web.listen-address="127.0.0.1:$prometheus_port" >"$dir/prometheus.log" 2>&1
  prometheus_pid=$!
fi

say
say "  watching     $shown (allow = $allow)"
say "  status       http://127.0.0.1:$http_port/"
say "  metrics      http://127.0.0.1:$http_port/metrics"
say "  runs         http://127.0.0.1:$http_port/api/v1/runs"
[[ -z $prometheus_pid ]] || say "  Prometheus   http://127.0.0.1:$prometheus_port/graph?g0.expr=redprobe_run_latency_seconds&g0.tab=0&g0.range_input=5m"
say "  Ctrl-C stops and removes all of it."
say

# --- until Ctrl-C ------------------------------------------------------------------------------------------------

probes=(server_info latency_baseline)
[[ $allow != load ]] || probes+=(throughput)
shown_summary=''
for ((second = 0; ; second++)); do
  alive "$redprobe_pid" || fail "redprobe ended by itself; its log is above"
  [[ -n $target_url ]] || alive "$redis_pid" || fail "redis-server ended by itself:" "$dir/redis.log"
  if [[ -z $shown_summary ]]; then
    scrape >"$dir/metrics.txt" || true
    done_probes=0
    for probe in health "${probes[@]}"; do
      if grep -q "^redprobe_run_success{.*probe=\"$probe\"" "$dir/metrics.txt"; then done_probes=$((done_probes + 1)); fi
    done
    if ((done_probes > ${#probes[@]} || second == 60)); then
      scripts/demo-summary.sh "$((${#probes[@]} == 3))" <"$dir/metrics.txt"
      shown_summary=yes
    fi
  fi
  sleep 1 &
  wait $! || true
done
