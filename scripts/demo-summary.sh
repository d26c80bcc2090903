#!/usr/bin/env bash
# A few lines for people out of an exposition on stdin: what the probes of the demo have found so far.
set -euo pipefail

awk '
  function label(name,   at) {
    at = index($0, name "=\"")
    return at ? substr($0, at + length(name) + 2, index(substr($0, at + length(name) + 2), "\"") - 1) : ""
  }
  function time(seconds) {
    return seconds < 0.001 ? sprintf("%.0f µs", seconds * 1e6) : seconds < 1 ? sprintf("%.2f ms", seconds * 1e3) : sprintf("%.2f s", seconds)
  }
  function thousands(number,   text, out) {
    text = sprintf("%.0f", number)
    while (length(text) > 3) { out = "," substr(text, length(text) - 2) out; text = substr(text, 1, length(text) - 3) }
    return text out
  }
  function line(name, text) { sub(/ +$/, "", text); printf "  %-18s %s\n", name, text }

  /^#/ || !/^redprobe_/ { next }
  { metric = substr($0, 10, match($0, /[{ ]/) - 10); value = $NF }
  metric == "up" { up = value }
  metric == "run_success" { ran[label("probe")] = 1 }
  metric == "server_info_connected_clients" { clients = value }
  metric == "server_info_memory_used_bytes" { used = value }
  metric == "server_info_commands_processed_total" { commands = value }
  metric == "run_latency_seconds" && label("probe") == "latency_baseline" {
    latency[label("phase"), label("operation"), label("quantile")] = value
  }
  metric == "audit_checks" && label("status") ~ /^(fail|warn)$/ { checks[label("status")] += value }
  metric == "objective_observed" && label("probe") == "pool_starvation" && label("objective") == "timeout_rate" { starved = value }
  metric == "run_operations_per_second" && label("probe") == "throughput" { rate[label("phase")] += value }

  END {
    print "  First results, as /metrics has them:"
    if (up != "") line("up", up == 1 ? "1: the last health check was answered" : "0: the last health check failed")
    if ("server_info" in ran)
      line("server_info", sprintf("%d client%s, %.1f MiB used, %s commands so far", clients, clients == 1 ? "" : "s", used / 1048576, thousands(commands)))
    count = split("basic sustained concurrent", phase, " "); split("set get del", operation, " ")
    for (i = 1; i <= count; i++) {
      text = ""
      for (j = 1; j <= 3; j++) {
        key = phase[i] SUBSEP operation[j] SUBSEP
        if ((key "0.5") in latency) text = text sprintf("%s %-8s", operation[j], time(latency[key "0.5"])) "  "
      }
      if (text != "") line(measured++ ? "" : "latency_baseline", sprintf("%-12s median of ", phase[i]) text)
    }
    count = split("baseline sustained concurrent pipelined benchmark", phase, " ")
    for (i = 1; i <= count; i++)
      if (phase[i] in rate)
        line(rates++ ? "" : "throughput", sprintf("%-12s %s operations/s", phase[i], thousands(rate[phase[i]])))
    if ("config_audit" in ran)
      line("config_audit", sprintf("%d checks fail, %d are worth a look: redprobe audit says which, and how to mend them", checks["fail"], checks["warn"]))
    if (starved != "")
      line("pool_starvation", sprintf("%.0f %% of the operations timed out, on a pool of 15 that 30 blocking readers share", starved * 100))
    if (!("server_info" in ran && measured && (rates || !load)))
      print "  (some probes have no result yet; the log above says why)"
    print ""
  }
' load="${1:-1}"
