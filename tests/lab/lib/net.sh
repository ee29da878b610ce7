# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guests' LAN: a bridge in a network namespace of its own on this machine,
# one tap per guest. No packet of it can leave the namespace.

in_netns() { nsenter --net="/run/netns/$LAB_NETNS" -- "$@"; }

net_up() {
	[[ -e /run/netns/$LAB_NETNS ]] || ip netns add "$LAB_NETNS"
	in_netns ip link show "$LAB_BRIDGE" >/dev/null 2>&1 && return
	in_netns sh -ec "
		ip link set lo up
		ip link add $LAB_BRIDGE type bridge forward_delay 0
		ip addr add $LAB_LAN.1/24 dev $LAB_BRIDGE
		ip link set $LAB_BRIDGE up
	"
}

tap_up() {
	local tap=$1
	in_netns sh -ec "
		ip link show $tap >/dev/null 2>&1 || ip tuntap add $tap mode tap
		ip link set $tap master $LAB_BRIDGE up
	"
}

tap_down() {
	[[ -e /run/netns/$LAB_NETNS ]] || return 0
	in_netns ip link del "$1" 2>/dev/null || true
}

# The namespace goes when no guest and no test's own port is left on the LAN.
net_down() {
	local left
	[[ -e /run/netns/$LAB_NETNS ]] || return 0
	left=$(in_netns ip -o link show master "$LAB_BRIDGE" 2>/dev/null | wc -l)
	((left > 0)) || ip netns del "$LAB_NETNS"
}
