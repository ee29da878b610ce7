#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab's own ground: a kernel with IPVS, an engine, an image.
# lab: bookworm sid
# shellcheck source=/dev/null
. "$ROOT/tests/lab/testlib.bash"

version() { guest docker version --format '{{.Server.Version}}'; }
engine_is() { [[ $(version) == "$1".* ]]; }
engine_at_least() { local v; v=$(version) && ((${v%%.*} >= $1)); }
says() { [[ $(guest "${@:2}") == "$1" ]]; }
status_is() { local rc=0; guest "${@:2}" || rc=$?; ((rc == $1)); }

# Asking for the family loads ip_vs: no modprobe before it.
has_family_ipvs() { guest genl ctrl get name IPVS | grep -q IPVS; }
schedules() { # the kernel takes a service with this scheduler
	guest sh -c "ipvsadm -A -f 1 -s $1 && ipvsadm -D -f 1"
}

case $SUITE in
bookworm) check "engine 20.10 answers" engine_is 20.10 ;;
*) check "engine 28 or newer answers" engine_at_least 28 ;;
esac
check "a container of the test image runs" says hello docker run --rm fairlead-test echo hello
check "exit status and output pass through" status_is 42 sh -c 'exit 42'
check "generic netlink has the family IPVS" has_family_ipvs
check "ip_vs is loaded by that" guest grep -q '^ip_vs ' /proc/modules
for scheduler in rr wrr lc wlc sed nq sh mh dh lblc lblcr fo ovf; do
	check "IPVS schedules with $scheduler" schedules "$scheduler"
done
check "nftables works in a new namespace" guest sh -ec '
	ip netns add t; ip netns exec t nft add table inet t; ip netns del t'
finish
