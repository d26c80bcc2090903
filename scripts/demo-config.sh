#!/usr/bin/env bash
# The demo's redprobe.toml: jobs in a hurry, so that every probe has a result within two minutes.
#
#   scripts/demo-config.sh EFFECT PORT DIRECTORY
#
# EFFECT is what the target allows: disrupt for a server of the demo's own, touch for somebody's. The target's URL comes
# through the environment, since it may hold a password.
set -euo pipefail

allow=$1 port=$2 dir=$3

# A cron schedule: so many seconds from now for the first time, then every so many minutes.
at() { # at SECONDS MINUTES
  local when=$(($(date +%s) + $1))
  printf '%d %d-59/%d * * * *' $((when % 60)) $((when / 60 % $2)) "$2"
}

cat <<END
state_dir = "$dir/state"

[log]
level = "info,redprobe::schedule::runner=debug"     # every run, not only those that went wrong

[http]
listen = "127.0.0.1:$port"

[targets.demo]
allow = "$allow"
environment = "demo"

# What client_census counts as a pool. Nobody here has such connections unless you make some.
[pools.app]
match = { name = "app-*" }
max_connections = 15

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
schedule = "every 30s"
timeout = "25s"
END

if [[ $allow == touch ]]; then
  echo 'settings = { rate = 100, sustained = "5s" }'
  exit
fi

# Short, with samples enough for a p99. Each load has its place, since they run one at a time.
cat <<END
settings = { rate = 800, sustained = "4s", ops_per_worker = 300, memory_pattern = "8MB" }

[jobs.starvation]            # 30 blocking readers on a pool of 15
probe = "pool_starvation"
targets = ["demo"]
schedule = "$(at 12 1)"
timeout = "30s"
settings = { duration = "3s" }

[jobs.steady]
probe = "throughput"
variant = "steady"
targets = ["demo"]
schedule = "$(at 17 2)"
timeout = "40s"
settings = { phases = ["sustained"], duration = "6s" }

[jobs.throughput]
probe = "throughput"
targets = ["demo"]
schedule = "$(at 25 3)"
timeout = "40s"
settings = { phases = ["baseline", "concurrent", "pipelined", "benchmark"], duration = "1s", ops_per_worker = 200 }

[jobs.split]
probe = "split_pool"
targets = ["demo"]
schedule = "$(at 31 3)"
timeout = "40s"
settings = { duration = "3s", rate = 400 }

[jobs.exhaustion]
probe = "pool_exhaustion"
targets = ["demo"]
schedule = "$(at 40 3)"
timeout = "40s"
settings = { duration = "2s", cost = "500ms" }

[jobs.mixed]                 # on a pool that is large enough
probe = "mixed_workload"
targets = ["demo"]
schedule = "$(at 46 3)"
timeout = "40s"
settings = { duration = "3s", pool_size = 60, agent_rate = 20 }

[jobs.memory]                # fills the private server to 80 %, and removes it again
probe = "memory_pressure"
targets = ["demo"]
schedule = "$(at 52 3)"
timeout = "1m"
settings = { monitor = "3s", recovery = "2s" }

[jobs.sizing]
probe = "pool_sizing"
targets = ["demo"]
schedule = "$(at 63 3)"
timeout = "90s"
settings = { duration = "1200ms", rate = 1000, repeats = 1 }
END
