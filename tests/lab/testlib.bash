# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For tests/NAME.sh, which the lab's `run` starts with LAB, NODE, SUITE and ROOT:
#
#   guest CMD...            runs a command in the guest
#   check NAME CMD...       one test: ok if the command succeeds
#   skip NAME REASON        a test that cannot run
#   tap_of NAME CMD...      a command that prints TAP of its own
#   wait_until SECONDS CMD...   polls until the command succeeds, bounded
#   finish                  prints the plan; the script's last command

tests_run=0
tests_failed=0

guest() { "$LAB" exec "$NODE" "$@"; }

check() {
	local name=$1 out rc=0
	shift
	tests_run=$((tests_run + 1))
	out=$("$@" 2>&1) || rc=$?
	if ((rc == 0)); then
		printf 'ok %d - %s: %s\n' "$tests_run" "$SUITE" "$name"
		return
	fi
	tests_failed=$((tests_failed + 1))
	printf 'not ok %d - %s: %s\n# status %d of: %s\n' "$tests_run" "$SUITE" "$name" "$rc" "$*"
	[[ -z $out ]] || printf '# %s\n' "${out//$'\n'/$'\n'# }"
}

skip() {
	tests_run=$((tests_run + 1))
	printf 'ok %d - %s: %s # SKIP %s\n' "$tests_run" "$SUITE" "$1" "$2"
}

tap_of() {
	local name=$1 rc=0
	shift
	printf '#begin %s on %s\n' "$name" "$SUITE"
	"$@" || rc=$?
	printf '\n#end %s %s on %s\n' "$rc" "$name" "$SUITE"
	((rc == 0)) || tests_failed=$((tests_failed + 1))
}

wait_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.1
	done
}

finish() {
	((tests_run == 0)) || printf '1..%d\n' "$tests_run"
	exit "$((tests_failed > 0))"
}
