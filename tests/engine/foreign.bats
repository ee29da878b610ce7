# SPDX-License-Identifier: GPL-2.0-or-later
# What belongs to others stays theirs: the host's routes, other networks' addresses,
# the users' rules. And what Docker forgot does not stand in anybody's way.

load engine
load story

setup_file() {
	engine_start
	engine_image
	fairlead_start
}

teardown_file() { engine_cleanup; }

teardown() {
	engine_logs_on_failure
	clean_up
}

create() { docker network create -d fairlead "$@" 2>&1; }
route() { host ip route show "$1"; }
reaches() { docker exec "$1" ping -c 1 -W 1 "$2" >/dev/null; }

refused() { # refused TEXT OPTION...: not created, and nothing is left of it
	local text=$1 out
	shift
	! out=$(create "$@" refused) || { echo "created: $*"; return 1; }
	[[ $out == *$text* ]] || { echo "$*: $out"; return 1; }
	[[ $(host ip -o link | grep -c ': flu') == "$(status '.networks | length')" ]]
}

# A network that is in our database and not in Docker's: as after a SIGKILL.
forgotten() { # forgotten ID: prints its pool, which Docker has released
	local answer pool id
	answer=$(plugin_call IpamDriver.RequestPool \
		'{"AddressSpace":"fairlead-local","Pool":"","SubPool":"","Options":{},"V6":false}')
	pool=$(jq -r .Pool <<<"$answer")
	id=$(jq -r .PoolID <<<"$answer")
	plugin_call NetworkDriver.CreateNetwork "{\"NetworkID\":\"$1\",\"Options\":{},\"IPv4Data\":[
		{\"AddressSpace\":\"fairlead-local\",\"Gateway\":\"${pool%.0/24}.1/24\",\"Pool\":\"$pool\"}],
		\"IPv6Data\":[]}" >/dev/null
	plugin_call IpamDriver.ReleasePool "{\"PoolID\":\"$id\"}" >/dev/null
	printf '%s\n' "$pool"
}

@test "a subnet of the host is refused, its route stays" {
	lan=$(route 192.0.2.0/24)
	refused '192.0.2.0/24 is routed already: dev eth0' --ipam-driver fairlead \
		--subnet 192.0.2.0/24
	refused '192.0.2.0/24 dev eth0' --ipam-driver fairlead --subnet 192.0.2.64/26
	[[ -n $lan && $(route 192.0.2.0/24) == "$lan" ]]
	host ip route add 10.77.0.0/24 via 192.0.2.9
	refused '10.77.0.0/24 is routed already: via 192.0.2.9 dev eth0' \
		--ipam-driver fairlead --subnet 10.77.0.0/24
	[[ $(route 10.77.0.0/24) == *"via 192.0.2.9"* ]]
	host ip route del 10.77.0.0/24
	network app --subnet 10.77.0.0/24
}

@test "one subnet by two address managements: the second network is refused" {
	network app --subnet 10.30.0.0/24
	client
	replica web1 web -p 8080:80
	settled web web1=active
	id=$(docker network inspect -f '{{.Id}}' app)
	refused "overlaps 10.30.0.0/24 of network ${id:0:12}" --subnet 10.30.0.0/24
	refused "overlaps 10.30.0.0/24 of network ${id:0:12}" --subnet 10.30.0.0/25
	[[ $(route 10.30.0.0/24) == *flu* ]]
	[[ $(host nft list set inet fairlead pools4) == *10.30.0.0/24* ]]
	reaches client 192.0.2.9
	[[ $(host "$OKHTTPD" get 192.0.2.1 8080 | names) == web1 ]]
}

@test "a network that Docker forgot makes place for the next one with its addresses" {
	pool=$(forgotten deaddeaddead00)
	[[ $(status '.networks | length') == 1 ]]
	network app --subnet "$pool"
	[[ $(status '.networks | length') == 1 ]]
	[[ $(host ip -o link) != *fludeaddeaddead* ]]
	[[ -z $(host find /run/fairlead/netns -name 'fl-dead*') ]]
	client
	reaches client 192.0.2.9
	# Should Docker ask after all: nothing of the new one goes.
	plugin_call NetworkDriver.DeleteNetwork '{"NetworkID":"deaddeaddead00"}'
	reaches client 192.0.2.9
	[[ $(host nft list set inet fairlead pools4) == *"$pool"* ]]
}

@test "a network that Docker forgot goes at the next start" {
	pool=$(forgotten beefbeefbeef00)
	[[ -n $(route "$pool") ]]
	fairlead_kill
	fairlead_start
	[[ $(status '.networks | length') == 0 && -z $(route "$pool") ]]
	[[ -z $(host find /run/fairlead/netns -name 'fl-beef*') ]]
}

@test "users' rules in DOCKER-USER hold for our networks" {
	network app
	client
	reaches client 192.0.2.9
	host iptables -A DOCKER-USER -d 192.0.2.9 -j DROP
	host iptables -D DOCKER-USER -j RETURN || true
	fairlead_restart
	run docker exec client ping -c 1 -W 1 192.0.2.9
	[[ $status != 0 ]]
	host iptables -D DOCKER-USER -d 192.0.2.9 -j DROP
	reaches client 192.0.2.9
}
