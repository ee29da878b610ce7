# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Paths, messages and small helpers that every part of the lab shares.
# Sourced, never run. Expects LAB_HOME (the lab's own folder) to be set.
# shellcheck disable=SC2034 # the other parts use these

LAB_CACHE=${LAB_CACHE:-/var/cache/fairlead-lab} # what `lab prepare` builds, kept
LAB_RUN=${LAB_RUN:-/run/fairlead-lab}         # what runs now: pids, sockets, consoles
LAB_NETNS=${LAB_NETNS:-fllab}               # the namespace that holds the guests' LAN
LAB_BRIDGE=lan0
LAB_LAN=${LAB_LAN:-10.77.0}                 # first three bytes of the LAN's /24
LAB_PORTS=8                                 # agent channels per guest = parallel `lab exec`s
LAB_SUITES=(bullseye bookworm trixie sid)   # Debian suites whose Docker Engine is offered
LAB_KERNEL_SUITE=${LAB_KERNEL_SUITE:-bookworm}
LAB_CPU=${LAB_CPU:-qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes}
LAB_ICOUNT=${LAB_ICOUNT:-}                  # QEMU's -icount, such as shift=0,sleep=off
LAB_APPEND=${LAB_APPEND:-}                  # more words for the kernel's command line
LAB_BOOT_LIMIT=${LAB_BOOT_LIMIT:-90}        # seconds
export LAB_CACHE LAB_RUN LAB_NETNS LAB_LAN LAB_KERNEL_SUITE

say()  { printf '%s\n' "$*" >&2; }
die()  { printf 'lab: %s\n' "$*" >&2; exit 1; }

need_root() { [[ $(id -u) == 0 ]] || die "needs root (namespaces, taps)"; }

need_tools() {
	local t missing=()
	for t in "$@"; do
		command -v "$t" >/dev/null || missing+=("$t")
	done
	((${#missing[@]} == 0)) || die "missing on this machine: ${missing[*]} (tests/deps.sh lab installs it)"
}

now_ms() { local t=$EPOCHREALTIME; printf '%s' "$((${t/[.,]/} / 1000))"; }

# step NAME CMD...: runs a step of `prepare`, says how long it took. No `||` here:
# it would switch `set -e` off within the step; step_failed names it on exit.
step() {
	local name=$1 start
	shift
	start=$(now_ms)
	LAB_STEP=$name
	"$@"
	LAB_STEP=
	printf 'prepare: %-34s %6.1f s\n' "$name" "$((($(now_ms) - start) / 100))e-1" >&2
}

step_failed() { [[ -z ${LAB_STEP:-} ]] || say "lab: step '$LAB_STEP' failed"; }

# digest FILE...: one short name for the content of some files (cache keys).
digest() { cat -- "$@" | sha256sum | cut -c1-16; }

is_suite() {
	local s
	for s in "${LAB_SUITES[@]}"; do [[ $s == "$1" ]] && return 0; done
	return 1
}

# Compiles src/NAME.c into the cache as a static program; prints its path.
compile() {
	local name=$1 src=$LAB_HOME/src/$1.c out tmp
	out=$LAB_CACHE/bin/$name-$(digest "$src")
	if [[ ! -x $out ]]; then
		mkdir -p "$LAB_CACHE/bin"
		tmp=$(mktemp "$LAB_CACHE/bin/.$name.XXXXXX")
		gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -o "$tmp" "$src" ||
			{ rm -f "$tmp"; die "cannot compile $src"; }
		chmod 755 "$tmp"
		mv "$tmp" "$out"
	fi
	printf '%s\n' "$out"
}
