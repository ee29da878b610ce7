#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The netns layer's programs on a kernel that has ip_vs.
# lab: bookworm
# shellcheck source=/dev/null
. "$ROOT/tests/lab/testlib.bash"

run_program() { guest env CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 300 "$(basename "$1")"; }

for program in "$ROOT"/build/release/tests/netns/*/test_*; do
	[[ -x $program && ! -d $program ]] || continue
	"$LAB" program "$NODE" "$program"
	tap_of "netns/$(basename "$program")" run_program "$program"
	found=1
done
[[ -n ${found:-} ]] || check "netns programs are built" false
finish
