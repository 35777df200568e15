#!/usr/bin/env bash
# Runs the Windows tests under Wine: tools/wine.sh [test flags].
#
# Needs Go, Wine (wine64) and gcc-mingw-w64-x86-64. As root on a system with apt it
# installs missing ones. Go needs ProcessPrng of bcryptprimitives.dll, which
# Debian's Wine 8.0 lacks: the script builds a stub and copies it into the Wine
# prefix. The prefix is $WINEPREFIX, which is kept, or a temporary one. $WINEBUILD
# is the Windows build number that Wine reports.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v wine >/dev/null || missing+=(wine wine64)
command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=(gcc-mingw-w64-x86-64)
if [ ${#missing[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "needs: ${missing[*]}"; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}"
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [ -z "${WINEPREFIX:-}" ]; then
	# Ends the programs that still run in the temporary prefix.
	trap 'wineserver -k || /usr/lib/wine/wineserver64 -k || true; rm -rf "$tmp"' EXIT
fi 2>/dev/null
export WINEPREFIX=${WINEPREFIX:-$tmp/prefix} WINEDEBUG=-all WINEDLLOVERRIDES="bcryptprimitives=n;mscoree,mshtml="
[ -d "$WINEPREFIX/drive_c" ] || timeout 300 wine wineboot --init >/dev/null 2>&1

cat >"$tmp/stub.c" <<'C'
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buf, SIZE_T n) {
	while (n > 0) {
		ULONG some = n > 1 << 20 ? 1 << 20 : (ULONG)n;
		if (!SystemFunction036(buf, some)) return FALSE;
		buf += some;
		n -= some;
	}
	return TRUE;
}
C
# The poll backend needs Windows 10 2004, build 19041. Wine 8 reports an older
# version by default.
current='HKLM\Software\Microsoft\Windows NT\CurrentVersion'
wine reg add "$current" /v CurrentVersion /d 10.0 /f >/dev/null 2>&1
for value in CurrentBuild CurrentBuildNumber; do
	wine reg add "$current" /v $value /d "${WINEBUILD:-19045}" /f >/dev/null 2>&1
done

x86_64-w64-mingw32-gcc -O2 -shared -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" "$tmp/stub.c" -ladvapi32

export GOOS=windows GOARCH=amd64 CGO_ENABLED=0
status=0
for package in ./selectors ./selectors/comparetest ./selectors/internal/sys ./selectors/internal/park; do
	name=$(basename "$package").exe
	go test -c -o "$tmp/$name" "$package"
	[ -e "$tmp/$name" ] || continue # no tests
	echo "=== $package"
	(cd "$package" && timeout 900 wine "$tmp/$name" -test.timeout 10m "$@" 2> >(grep -v -e wine32 -e multiarch -e '^execute' -e '^apt-get' >&2)) || status=1
done
exit $status
