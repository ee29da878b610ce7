# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same measurements in a guest whose kernel has ip_vs, both balancers. The
# guest is emulated, and its clock counts its instructions: a second is 250
# million of them, on one CPU. So a rate is the inverse of the instructions that a
# request costs, client, server and kernel together; it is the same in each run,
# whatever else this machine does. It says nothing of caches and branches.

LAB=$HERE/../lab/lab
LAB_ROUNDS=${BENCH_LAB_ROUNDS:-1}
LAB_LIMIT=${BENCH_LAB_LIMIT:-480} # seconds
lab_is_up=

lab_possible() {
	[[ $(uname -m) == x86_64 ]] && command -v qemu-system-x86_64 >/dev/null
}

lab_down() {
	[[ -n $lab_is_up ]] || return 0
	"$LAB" down >/dev/null 2>&1 || true
	rm -rf "$LAB_RUN"
	lab_is_up=
}

lab_put() { # lab_put PATH: of the tree, at the same place in the guest's copy
	"$LAB" put n1 "$TESTS_ROOT/$1" "/root/fairlead/$1"
}

lab_measure() {
	timeout "$LAB_LIMIT" "$LAB" exec n1 env FAIRLEAD=/usr/local/bin/fairlead BENCH_PREFIX=lab- \
		BENCH_PLACE="lab, counted instructions" \
		/root/fairlead/tests/bench/run --figures-only --rounds "$LAB_ROUNDS" \
		--balancer nft --balancer ipvs vip
}

part_lab() {
	local path
	lab_possible || { progress "no lab: it needs an x86-64 machine and qemu-system-x86"; return; }
	export LAB_RUN=/run/fairlead-lab-bench LAB_NETNS=fllabbench LAB_BOOT_LIMIT=300
	export LAB_ICOUNT=shift=2,sleep=off
	"$LAB" prepare bookworm >&2
	lab_is_up=1
	"$LAB" up n1 --engine bookworm --mem 1536 --cpus 1
	"$TESTS_ROOT/tests/image.sh" >/dev/null
	for path in tests/engine tests/bench tests/lab/src tests/image.sh build/test-image; do
		lab_put "$path"
	done
	"$LAB" program n1 "$FAIRLEAD"
	if ! lab_measure >"$WORK/lab"; then
		progress "the lab's part failed or took more than $LAB_LIMIT s"
		return
	fi
	lab_down
	grep -E $'^(section|row)\t' "$WORK/lab" >>"$WORK/rows"
	grep -vE $'^(section|row)\t' "$WORK/lab" >>"$WORK/samples"
}
