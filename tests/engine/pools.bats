# SPDX-License-Identifier: GPL-2.0-or-later
# Subnets that nobody asked for: where they come from, and what they keep away from.

load engine
load story

setup_file() {
	engine_start
	engine_image
	fairlead_start
	host ip link add vpn0 type veth peer name vpn1
	host ip link set vpn0 up
	host ip link set vpn1 up
}

teardown_file() { engine_cleanup; }

teardown() {
	engine_logs_on_failure
	docker network ls -q --filter type=custom | xargs -r docker network rm >/dev/null
	host ip route flush dev vpn0
	host ip route flush dev vpn0 table 51820
	host ip -6 route flush dev vpn0
}

net() { docker network create -d fairlead --ipam-driver fairlead "$@" >/dev/null; }
subnets() { docker network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' "$1"; }
subnet_is() { [[ $(subnets "$1") == "$2 " ]]; }

@test "the first subnet that overlaps no route, of the main table or a VPN's" {
	host ip route add 10.128.0.0/23 dev vpn0
	host ip route add 10.128.2.0/24 dev vpn0 table 51820
	host ip route add 10.128.3.128/25 dev vpn0
	net a
	subnet_is a 10.128.4.0/24
	net b
	subnet_is b 10.128.5.0/24
}

@test "nothing is free: the error names the route" {
	host ip route add 10.128.0.0/9 dev vpn0
	run net a
	[[ $output == *"no /24 is free in default pools 10.128.0.0/9: 10.128.0.0/24 overlaps route 10.128.0.0/9 dev vpn0"* ]]
	host ip route del 10.128.0.0/9 dev vpn0
	net a
}

@test "half of all: Docker would refuse every pool, so it is said at once" {
	host ip route add 0.0.0.0/1 dev vpn0 # what VPNs make of the default route
	run net a
	[[ $output == *"10.128.0.0/24 overlaps route 0.0.0.0/1 dev vpn0"* ]]
	net --subnet 10.128.0.0/24 a
}

@test "nor a network of another driver that has no route here" {
	docker network create -d ipvlan -o parent=vpn0 --subnet 10.128.0.0/22 other >/dev/null
	wait_until 5 chosen_is 10.128.4.0/24
	docker network rm other >/dev/null
	wait_until 5 chosen_is 10.128.0.0/24
}

chosen_is() { # chosen_is SUBNET: of a network that is made now
	local rc=0
	net now
	subnet_is now "$1" || rc=1
	docker network rm now >/dev/null
	return "$rc"
}

@test "a pool that was released is free at once" {
	local n
	fairlead_stop
	fairlead_start --default-pools 10.128.0.0/24:24
	for n in 1 2 3 4 5 6; do
		net again
		docker network rm again >/dev/null
	done
	fairlead_stop
	fairlead_start
}

@test "IPv6: routes are kept away from, too" {
	net --ipv6 a
	prefix=$(subnets a | tr ' ' '\n' | grep :)
	docker network rm a >/dev/null
	host ip -6 route add "$prefix" dev vpn0
	net --ipv6 b
	[[ $(subnets b) == *::/64* && $(subnets b) != *"$prefix"* ]]
}

@test "a subnet that was given and collides is refused by name" {
	host ip route add 10.77.0.0/16 dev vpn0
	run net --subnet 10.77.0.0/16 a
	[[ $output == *"10.77.0.0/16 is routed already: dev vpn0"* ]]
	net --subnet 10.78.0.0/24 a
	run net --subnet 10.78.0.0/16 b
	[[ $output == *"pool 10.78.0.0/16 overlaps pool fairlead-local/10.78.0.0/24"* ]]
}
