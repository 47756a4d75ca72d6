# Sourced by the scripts that run the service: start it on ports of its own, ask it, stop it.
# shellcheck shell=bash

service=
service_log=

# start_service LOG COMMAND...: runs the serving command on free ports, and returns once it says
# that it is ready. Its lines go to LOG.
start_service() {
  service_log=$1
  shift
  "$@" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --gpu-listen 127.0.0.1:0 \
    --admin-listen 127.0.0.1:0 >"$service_log" &
  service=$!
  for _ in $(seq 600); do
    if grep -q '"ready":true' "$service_log"; then return; fi
    if ! kill -0 "$service" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "the service did not become ready:" >&2
  cat "$service_log" >&2
  return 1
}

# address LISTENER: the host and port that the ready line names for it.
address() {
  grep -m1 '"ready":true' "$service_log" | sed -E "s/.*\"$1\":\"([^\"]+)\".*/\1/"
}

# A scan is answered, and a machine without a GPU is watched for one.
ask_service() {
  curl -fsS --retry 60 --retry-delay 1 --retry-all-errors "http://$(address api)/readyz" >/dev/null
  curl -fsS -F scan=@fixtures/lack-of-fusion.tif -F alloy=Ti-6Al-4V \
    "http://$(address api)/v1/designs?wait=60" | grep '"schema":"microdiff.design/1"' >/dev/null
  curl -fsS "http://$(address gpu)/gpu-metrics" | grep '^microdiff_gpu_devices 0$' >/dev/null
}

# Asks it to drain; its exit code is the answer.
stop_service() {
  local stopping=$service
  service=
  kill -TERM "$stopping"
  wait "$stopping"
}

# For a trap: whatever still runs is ended.
end_service() {
  [ -z "$service" ] || kill "$service" 2>/dev/null || true
}
