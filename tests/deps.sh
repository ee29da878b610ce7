#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages that building, testing and the demo need, as far
# as they are missing. Usage: tests/deps.sh [--list] GROUP...
# groups: build test engine lab demo
set -euo pipefail

declare -A PACKAGES=(
	[build]="gcc make pkg-config libc6-dev libmicrohttpd-dev libjansson-dev
		libnl-3-dev libnl-route-3-dev libnl-genl-3-dev libnl-nf-3-dev
		libnftnl-dev libmnl-dev libc-ares-dev libsqlite3-dev
		libsystemd-dev libcurl4-openssl-dev uthash-dev"
	[test]="libcmocka-dev bats clang clang-format clang-tidy cppcheck
		shellcheck libclang-rt-14-dev iproute2 iputils-ping nftables
		iptables conntrack curl dnsutils jq procps util-linux man-db"
	[engine]="docker.io docker-compose containerd runc bats busybox-static iproute2
		iputils-ping nftables iptables conntrack curl dnsutils jq procps
		util-linux libc6-dev gcc wrk sqlite3 libsqlite3-dev"
	[lab]="qemu-system-x86 erofs-utils kmod cpio lz4 zstd xz-utils gcc
		libc6-dev iproute2 curl socat busybox-static jq util-linux"
	[demo]="docker.io containerd runc busybox-static iproute2 nftables
		iptables curl jq procps util-linux libc6-dev gcc"
)
GUARD=/usr/sbin/policy-rc.d

die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

wanted() { # wanted GROUP...: one package per line
	local group
	for group in "$@"; do
		[[ -n ${PACKAGES[$group]:-} ]] ||
			die "unknown group $group (groups: ${!PACKAGES[*]})"
		# shellcheck disable=SC2086 # names are single words
		printf '%s\n' ${PACKAGES[$group]}
	done | sort -u
}

installed() { # those of the packages that are installed, virtual ones included
	dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Provides}\n' |
		sed -n 's/^.i |//p' | tr '|,' '\n' |
		sed -e 's/^ *//' -e 's/[ (].*//' -e '/^$/d' | sort -u
}

missing() { comm -23 <(wanted "$@") <(installed); }

# While packages are installed no service is started: an engine of the tests is
# started by the tests, and one that runs already is left alone. A guard that
# is there already keeps its place.
guard_services() {
	[[ ! -e $GUARD ]] || return 0
	trap 'rm -f "$GUARD"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$GUARD"
	chmod 755 "$GUARD"
}

install_packages() {
	local lock=(-o DPkg::Lock::Timeout=600)
	export DEBIAN_FRONTEND=noninteractive
	printf 'deps: installing: %s\n' "$*"
	apt-get "${lock[@]}" update -qq || die "apt-get update failed"
	guard_services
	apt-get "${lock[@]}" install -y -qq --no-install-recommends "$@" >/dev/null ||
		die "apt-get could not install: $*"
}

main() {
	local todo list=
	if [[ ${1:-} == --list ]]; then list=1; shift; fi
	(($# > 0)) || die "which groups? (${!PACKAGES[*]})"
	wanted "$@" >/dev/null
	if [[ -n $list ]]; then wanted "$@"; return; fi
	command -v dpkg-query >/dev/null || die "not a Debian system; it needs the like of: $(wanted "$@" | tr '\n' ' ')"
	mapfile -t todo < <(missing "$@")
	((${#todo[@]} > 0)) || return 0
	[[ $(id -u) == 0 ]] || die "missing (install as root): ${todo[*]}"
	install_packages "${todo[@]}"
}

main "$@"
