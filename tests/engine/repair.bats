# SPDX-License-Identifier: GPL-2.0-or-later
# What somebody broke is mended, and nothing that lives is thrown away while it is
# mended or asked for twice.

load engine
load story

nid() { docker network inspect -f '{{.ID}}' "$1"; }

setup_file() {
	engine_start
	engine_image
	fairlead_start --reconcile-interval 1
}

teardown_file() { engine_cleanup; }
teardown() {
	engine_logs_on_failure
	clean_up
}

repaired() { # repaired COUNT: the counter of repairs has grown beyond it
	(($(status .repairs) > $1))
}

@test "a flushed ruleset and a deleted route are back, connections go on" {
	network app
	replica web1 web -p 8080:80
	client
	settled web web1=active
	vip=$(vip web)
	before=$(status .repairs)
	in_task client nft delete table inet fairlead
	in_sandbox app nft delete table inet fairlead
	in_sandbox app ip route del local 10.128.0.192/26
	host nft delete table inet fairlead
	wait_until 5 repaired "$before"
	wait_until 5 outside "$OKHTTPD" get 192.0.2.1 8080
	[[ $(get client "$vip" | names) == web1 ]]
	wait_until 5 docker exec client ping -c 1 -W 1 "$vip"
	in_task client nft list table inet fairlead
}

@test "a bridge that was deleted is made again, with its ports" {
	network app
	replica web1 web
	client
	settled web web1=active
	in_sandbox app ip link del br0
	wait_until 5 docker exec client okhttpd get "$(addr web1)" 80
	[[ $(get client "$(vip web)" | names) == web1 ]]
}

@test "networks that cannot be made at the start are repaired with their containers" {
	network a
	network b
	container ca --network a -l fairlead.service=sa -p 17001:80
	container cb --network b -l fairlead.service=sb
	settled sa ca=active a
	fairlead_stop
	for net in a b; do # somebody else's link has the uplink's name
		uplink=flu$(nid "$net" | cut -c1-12)
		host ip link del "$uplink"
		host ip link add "$uplink" type bridge
	done
	fairlead_start
	holds '[.networks[] | select(.sandbox != "ok")] | length == 2'
	# the kernel worker is free for others
	timeout 10 docker network create -d fairlead --ipam-driver fairlead c
	for net in a b; do host ip link del "flu$(nid "$net" | cut -c1-12)"; done
	wait_until 10 holds '[.networks[] | select(.sandbox == "ok")] | length == 3'
	settled sa ca=active a
	wait_until 5 outside "$OKHTTPD" get 192.0.2.1 17001
	docker network rm c
}

@test "a second Join of a running endpoint answers the same and breaks nothing" {
	network app
	replica web1 web
	client
	settled web web1=active
	endpoint=$(docker inspect -f '{{(index .NetworkSettings.Networks "app").EndpointID}}' web1)
	key=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' web1)
	answer=$(plugin_call NetworkDriver.Join \
		"{\"NetworkID\":\"$(nid app)\",\"EndpointID\":\"$endpoint\",\"SandboxKey\":\"$key\",\"Options\":{}}")
	[[ $answer == *"\"SrcName\":\"flv${endpoint:0:12}\""* ]]
	[[ $(get client "$(vip web)" | names) == web1 ]]
	[[ $(get client "$(addr web1)" | names) == web1 ]]
}

@test "the host's own namespace is no task" {
	network app
	id=$(nid app)
	chains=$(host nft list table inet fairlead | grep -c chain)
	plugin_call NetworkDriver.CreateEndpoint "{\"NetworkID\":\"$id\",\"EndpointID\":\"hostep\",\"Interface\":{\"Address\":\"10.128.0.77/24\"},\"Options\":{}}"
	plugin_call NetworkDriver.Join "{\"NetworkID\":\"$id\",\"EndpointID\":\"hostep\",\"SandboxKey\":\"/proc/self/ns/net\",\"Options\":{}}"
	[[ $(host nft list table inet fairlead | grep -c chain) == "$chains" ]]
	plugin_call NetworkDriver.Leave "{\"NetworkID\":\"$id\",\"EndpointID\":\"hostep\"}"
	plugin_call NetworkDriver.DeleteEndpoint "{\"NetworkID\":\"$id\",\"EndpointID\":\"hostep\"}"
	[[ $(host nft list table inet fairlead | grep -c chain) == "$chains" ]]
}

@test "CreateNetwork again, with another option, keeps the containers" {
	network app
	replica web1 web
	client
	settled web web1=active
	vip=$(vip web)
	pool=$(docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' app)
	[[ $(plugin_call NetworkDriver.CreateNetwork "{\"NetworkID\":\"$(nid app)\",\"Options\":{\"com.docker.network.generic\":{\"com.docker.network.driver.mtu\":\"1400\"}},\"IPv4Data\":[{\"AddressSpace\":\"fairlead-local\",\"Gateway\":\"${pool%.0/24}.1/24\",\"Pool\":\"$pool\"}],\"IPv6Data\":[]}") == '{}' ]]
	settled web web1=active
	[[ $(get client "$vip" | names) == web1 ]]
	[[ $(ask client web) == "$vip" ]]
	in_task client nft list table inet fairlead-dns
}

@test "CreateNetwork again that fails keeps the network, which is repaired" {
	network app
	replica web1 web
	settled web web1=active
	uplink=flu$(nid app | cut -c1-12)
	pool=$(docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' app)
	host ip link del "$uplink"
	host ip link add "$uplink" type bridge
	[[ $(plugin_call NetworkDriver.CreateNetwork "{\"NetworkID\":\"$(nid app)\",\"Options\":{\"com.docker.network.generic\":{\"com.docker.network.driver.mtu\":\"1400\"}},\"IPv4Data\":[{\"AddressSpace\":\"fairlead-local\",\"Gateway\":\"${pool%.0/24}.1/24\",\"Pool\":\"$pool\"}],\"IPv6Data\":[]}") == *"$uplink"* ]]
	host ip link del "$uplink"
	wait_until 5 holds '.networks[0].sandbox == "ok"'
	settled web web1=active
	wait_until 5 host "$OKHTTPD" get "$(vip web | tr -d '\"')" 80
}
