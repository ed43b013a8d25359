#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 3s), and for less where there are so many that
# the whole would take more than a minute and a half. The targets are found, not listed, so a new one needs no entry here.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
seconds=${1:-3s}
seconds=${seconds%s}

targets=()
for dir in $(grep -rlE --include='*_test.go' '^func Fuzz[A-Z]' internal test cmd 2>/dev/null | xargs -rn1 dirname | sort -u); do
	for name in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
		targets+=("./$dir $name")
	done
done
if [ ${#targets[@]} -eq 0 ]; then
	echo 'fuzz: no fuzz targets'
	exit 0
fi
if [ "${1:-3s}" = 3s ] && [ $((seconds * ${#targets[@]})) -gt 90 ]; then
	seconds=$((90 / ${#targets[@]}))
	[ "$seconds" -ge 1 ] || seconds=1
fi
echo "fuzz: ${#targets[@]} targets, $seconds s each"
failed=0
for target in "${targets[@]}"; do
	read -r package name <<<"$target"
	if ! "$go" test "$package" -run='^$' -fuzz="^$name\$" -fuzztime="${seconds}s" -fuzzminimizetime=2s >/tmp/fuzz.$$ 2>&1; then
		failed=$((failed + 1))
		echo "fuzz: $package $name failed"
		cat /tmp/fuzz.$$
	fi
done
rm -f /tmp/fuzz.$$
echo "fuzz: $((${#targets[@]} - failed)) targets without a finding, $failed with"
[ "$failed" -eq 0 ]
