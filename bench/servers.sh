#!/usr/bin/env bash
# Compares examples/kv with redis-server under redis-benchmark, and examples/httpd
# with net/http under wrk. Servers run on processor 0, clients on processor 1, one
# after the other. Usage:
# servers.sh [rounds [seconds of wrk [requests of redis-benchmark]]].
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
seconds=${2:-3}
requests=${3:-500000}
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
go build -o "$dir/kv" ./examples/kv
go build -o "$dir/httpd" ./examples/httpd
go build -C bench -o "$dir/contender" ./contender
mkdir "$dir/www"
echo "hello, world" >"$dir/www/hello.txt"

export GOMAXPROCS=1
taskset -c 0 "$dir/kv" -addr 127.0.0.1:16380 >/dev/null &
taskset -c 0 redis-server --port 16379 --save '' --appendonly no >/dev/null &
taskset -c 0 "$dir/httpd" -addr 127.0.0.1:18080 -dir "$dir/www" -loops 1 >/dev/null &
httpd=$!
taskset -c 0 "$dir/contender" net/http http dir="$dir/www" >"$dir/port" &
nethttp=$!
sleep 1

# The processor time of a process, in clock ticks: utime and stime of proc(5).
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

for round in $(seq "$rounds"); do
	for pipeline in 1 16; do
		for server in kv:16380 redis:16379; do
			taskset -c 1 redis-benchmark -p "${server#*:}" -c 50 -n "$requests" -P "$pipeline" -t set,get -q |
				tr '\r' '\n' | grep 'per second' | sed "s/^/round $round, -P $pipeline, ${server%:*}: /"
		done
	done
	for server in "httpd:18080:$httpd" "net/http:$(cat "$dir/port"):$nethttp"; do
		IFS=: read -r name port pid <<<"$server"
		before=$(ticks "$pid")
		taskset -c 1 wrk -t1 -c50 -d"${seconds}s" --latency "http://127.0.0.1:$port/hello.txt" >"$dir/wrk"
		after=$(ticks "$pid")
		grep -E 'Requests/sec|50%|99%' "$dir/wrk" | xargs echo "round $round, $name:"
		awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '/requests in/ { printf "\t%.1f µs of processor time a request\n", ticks / hz / $1 * 1e6 }' "$dir/wrk"
	done
done
