#!/usr/bin/env bash
# Runs the tests of selectors and of selectors/comparetest for other processors:
# tools/qemu.sh [GOARCH…] [-- test flags]; s390x is the big-endian one.
#
# 386 runs natively on amd64, all others under qemu-user. If qemu-user is missing
# and the script runs as root on a system with apt, it is installed.
set -euo pipefail
cd "$(dirname "$0")/../selectors"

architectures=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do architectures+=("$1") && shift; done
[ $# -eq 0 ] || shift
[ ${#architectures[@]} -gt 0 ] || architectures=(386 s390x arm64 riscv64)

# Tests that cannot pass under qemu-user 7.2. It calls select of libc, which ends
# the process for a descriptor of 1024 or more. A test that executes its own
# binary again would execute one of another processor.
select='Scale/(ManyFiles|HighNumbers)'
select="TestConformance/select/$select|TestBuffersGrowAndShrink/select|TestCPythonAboveFDSetsize/select"
select="$select|Test(LibuvWatcherCrossStop|LibkqueueFDReuse|PeersNoPointersInKernel|SelectAllocations)/select|TestSelectFindsClosed"
cannot="$select|TestWaitTable|TestFaultTableOfMissingCalls"

# Slow tests of what the kernel does, whatever the processor.
slow='TestFaultTable|TestNews|TestPressureNews|TestLastingHint|TestIdleUsesNoCPU|TestExclusiveWakesOne'

emulator() {
	case $1 in
	386) [ "$(go env GOHOSTARCH)" = amd64 ] && echo env || echo qemu-i386-static ;;
	amd64) echo qemu-x86_64-static ;;
	arm64) echo qemu-aarch64-static ;;
	loong64) echo qemu-loongarch64-static ;;
	mipsle) echo qemu-mipsel-static ;;
	mips64le) echo qemu-mips64el-static ;;
	*) echo "qemu-$1-static" ;;
	esac
}

for arch in "${architectures[@]}"; do
	command -v "$(emulator "$arch")" >/dev/null && continue
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "needs qemu-user-static, for $(emulator "$arch")"; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q qemu-user-static
	break
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0
for arch in "${architectures[@]}"; do
	for package in . comparetest; do
		CGO_ENABLED=0 GOARCH=$arch go test -c -o "$tmp/$arch-$package" "./$package"
	done
	qemu=$(emulator "$arch")
	skip="$slow"
	[ "$qemu" = env ] || skip="$slow|$cannot"
	echo "=== $arch: $("$qemu" --version | head -1)"
	: >"$tmp/log"
	failed=0
	for package in . comparetest; do # each in its folder, which has its testdata
		(cd "$package" && timeout 600 "$qemu" "$tmp/$arch-$package" -test.timeout 9m -test.short -test.v -test.skip "$skip" "$@") >>"$tmp/log" 2>&1 || failed=1
	done
	if [ $failed = 1 ]; then
		status=1
		grep -v -e '^=== ' -e '--- PASS' -e '--- SKIP' "$tmp/log" || true
	fi
	for outcome in PASS FAIL SKIP; do
		printf '%s %s, ' "$(grep -c -- "--- $outcome: " "$tmp/log" || true)" $outcome
	done
	echo "${SECONDS}s"
done
exit $status
