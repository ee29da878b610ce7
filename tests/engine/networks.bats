# SPDX-License-Identifier: GPL-2.0-or-later
# Networks of all kinds: where traffic goes and where not, addresses, MTU, IPv6,
# and what Docker's users read when they ask for something wrong.

load engine
load story

setup_file() {
	engine_start
	engine_image
	fairlead_start
	machine_spawn "$MACHINE" server ip netns exec outside "$OKHTTPD" 8000 outside
	machine_spawn "$MACHINE" dns ip netns exec outside "$TESTS_ROOT/tests/engine/outside-dns" 192.0.2.9
	wait_until 5 host "$OKHTTPD" get 192.0.2.9 8000
}

teardown_file() { engine_cleanup; }

teardown() {
	engine_logs_on_failure
	clean_up
}

reaches() { docker exec "$1" ping -c 1 -W 1 "$2"; }
connects() { docker exec "$1" nc -w 1 "$2" 80 </dev/null; }

# A packet that is dropped costs the time limit: all at once.
none_of() { # none_of VERB CONTAINER ADDR...
	local verb=$1 from=$2 to pids=() pid
	shift 2
	for to in "$@"; do
		"$verb" "$from" "$to" >/dev/null &
		pids+=("$!")
	done
	for pid in "${pids[@]}"; do ! wait "$pid" || return 1; done
}

refused() { # refused TEXT OPTION...: creating the network fails, with this text
	local text=$1 out
	shift
	! out=$(docker network create -d fairlead --ipam-driver fairlead "$@" refused 2>&1) ||
		{ echo "created: $*"; return 1; }
	[[ $out == *$text* ]] || { echo "$*: $out"; return 1; }
}

@test "containers reach outside, which sees the host's address" {
	network app
	client
	reaches client 192.0.2.9
	[[ $(get client 192.0.2.9 1 8000) == "outside 192.0.2.1" ]]
}

@test "the gateway answers, and outside does not reach in by itself" {
	network app
	replica web1 web
	settled web web1=active
	reaches web1 "$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' app)"
	host ping -c 1 -W 1 "$(addr web1)"
	outside ip route add "$(status "$(network_filter) | .pools[0]")" via 192.0.2.1
	run outside ping -c 1 -W 1 "$(addr web1)"
	[[ $status != 0 ]]
	run outside ping -c 1 -W 1 "$(vip web)"
	[[ $status != 0 ]]
}

@test "internal: the VIP works, there is no way out and none in" {
	network app --internal
	client
	three
	[[ $(get client "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(ask client web) == "$(vip web)" ]]
	[[ $(docker exec client ip route) != *default* ]]
	run docker exec client ping -c 1 -W 1 192.0.2.9
	[[ $status != 0 ]]
	run host ping -c 1 -W 1 "$(addr web1)"
	[[ $status != 0 ]]
	holds "$(network_filter) | .internal"
}

@test "two networks are isolated from each other" {
	network app
	network other
	replica web1 web
	container web2 --network other -l fairlead.service=web
	settled web web1=active
	settled web web2=active other
	client
	reaches client "$(addr web1)"
	connects client "$(addr web1)"
	other=("$(addr web2 other)" "$(vip web other)")
	none_of reaches client "${other[@]}" \
		"$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' other)"
	none_of connects client "${other[@]}"
	[[ $(ask client web) == "$(vip web)" ]]
}

@test "a container on two networks reaches the VIPs and names of both" {
	network app
	network other
	replica web1 web
	container api1 --network other -l fairlead.service=api
	client
	docker network connect other client
	settled web web1=active
	settled api api1=active other
	[[ $(get client "$(vip web)" | names) == web1 ]]
	[[ $(get client "$(vip api other)" | names) == api1 ]]
	[[ $(ask client web) == "$(vip web)" && $(ask client api) == "$(vip api other)" ]]
	# The networks themselves stay apart.
	run docker exec web1 nslookup -type=a api
	[[ $output != *"$(vip api other)"* ]]
	docker network disconnect other client
	[[ $(ask client web) == "$(vip web)" ]]
	[[ $(get client "$(vip web)" | names) == web1 ]]
}

@test "a backend on two networks serves both" {
	network app
	network other
	replica web1 web
	docker network connect other web1
	client
	container extra --network other
	settled web web1=active
	settled web web1=active other
	[[ $(get client "$(vip web)" 2 | tally) == "web1 2" ]]
	[[ $(get extra "$(vip web other)" 2 | tally) == "web1 2" ]]
}

@test "IPv6 beside IPv4: addresses, VIP, name, balancing, way out" {
	network app --ipv6 --subnet 10.20.0.0/24 --subnet fd00:20::/64
	client
	three
	vip6=$(status "$(service_filter web) | .vip[1]")
	[[ $vip6 == fd00:20:* ]]
	[[ $(ask client web AAAA) == "$vip6" && $(ask client web A) == "$(vip web)" ]]
	[[ $(get client "$vip6" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get web1 "$vip6" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(host "$OKHTTPD" get "$vip6" 80 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get client "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	own6=$(docker inspect -f '{{.NetworkSettings.Networks.app.GlobalIPv6Address}}' client)
	[[ $(get client "$vip6" | cut -d' ' -f2) == "$own6" ]]
	reaches client "$vip6"
	reaches client fd00:20::1
	# Without rules of its own a task is served by the sandbox.
	in_task client nft delete table inet fairlead
	[[ $(get client "$vip6" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get client 2001:db8:2::9 1 8000) == "outside 2001:db8:2::1" ]]
}

mtu() { docker exec "$1" cat /sys/class/net/eth0/mtu; }

@test "MTU: of the route to outside, or as the option says; big packets pass" {
	host ip link set eth0 mtu 1400
	network app
	client
	[[ $(mtu client) == 1400 ]]
	[[ $(status "$(network_filter) | .mtu") == 1400 ]]
	host ip link set eth0 mtu 1500
	network other -o com.docker.network.driver.mtu=1280
	container web1 --network other -l fairlead.service=web
	container extra --network other
	[[ $(mtu extra) == 1280 && $(status "$(network_filter other) | .mtu") == 1280 ]]
	settled web web1=active other
	[[ $(docker exec extra wget -qO- "http://$(vip web other)/bytes/300000" | wc -c) == 300000 ]]
	run docker exec extra ping -c 1 -W 1 -s 1400 "$(vip web other)"
	[[ $status == 0 ]]
}

@test "subnet, ip-range, gateway, aux-address; --ip" {
	network app --subnet 10.21.0.0/16 --ip-range 10.21.4.0/24 --gateway 10.21.4.99 \
		--aux-address router=10.21.4.2
	for n in 1 2 3; do replica "web$n" web; done
	settled web 'web1=active web2=active web3=active'
	for n in 1 2 3; do addr "web$n"; done >"$BATS_TEST_TMPDIR/given"
	[[ $(grep -c '^10\.21\.4\.' "$BATS_TEST_TMPDIR/given") == 3 ]]
	[[ $(sort -u "$BATS_TEST_TMPDIR/given" | wc -l) == 3 ]]
	run grep -xE '10\.21\.4\.(2|99)' "$BATS_TEST_TMPDIR/given"
	[[ $status != 0 ]]
	[[ $(docker exec web1 ip route) == *"default via 10.21.4.99 "* ]]
	[[ $(docker exec web1 ip -4 addr show eth0) == *"$(addr web1)/16"* ]]
	# (Docker's CLI has no --mac-address that fits all engines.)
	client client --ip 10.21.9.9
	[[ $(addr client) == 10.21.9.9 ]]
	[[ $(docker exec client cat /sys/class/net/eth0/address) == \
		"$(docker inspect -f '{{.NetworkSettings.Networks.app.MacAddress}}' client)" ]]
	[[ $(get client "$(vip web)" 3 | tally) == "web1 1 web2 1 web3 1" ]]
	run docker run --rm --network app --ip 10.21.9.9 fairlead-test true
	[[ $status != 0 && $output == *10.21.9.9* ]]
	run docker run --rm --network app --ip 10.21.4.2 fairlead-test true
	[[ $status != 0 && $output == *10.21.4.2* ]]
}

@test "vip-range: VIPs come from there, containers' addresses do not" {
	network app --subnet 10.22.0.0/28 -o vip-range=10.22.0.8/29
	for n in 1 2 3; do replica "web$n" "web$n" & done
	wait
	for n in 1 2 3; do
		settled "web$n" "web$n=active"
		vip "web$n"
	done >"$BATS_TEST_TMPDIR/vips"
	[[ $(sort -u "$BATS_TEST_TMPDIR/vips" | wc -l) == 3 ]]
	[[ $(grep -cxE '10\.22\.0\.(8|9|1[0-4])' "$BATS_TEST_TMPDIR/vips") == 3 ]]
	for n in 1 2 3; do [[ $(addr "web$n") != 10.22.0.@(8|9|1?) ]]; done
	run docker run --rm --network app --ip 10.22.0.9 fairlead-test true
	[[ $status != 0 && $output == *10.22.0.9* ]]
}

@test "Docker's own IPAM: no VIP, and the status says why; vip-range gives them" {
	docker network create -d fairlead app >/dev/null
	client
	replica web1 web
	settled web web1=active
	[[ $(status "$(service_filter web) | .vip | length") == 0 ]]
	holds "$(service_filter web) | .errors | any(contains(\"--ipam-driver\"))"
	reaches client "$(addr web1)"
	docker network create -d fairlead --subnet 10.23.0.0/24 -o vip-range=10.23.0.128/28 other >/dev/null
	container web2 --network other -l fairlead.service=web
	settled web web2=active other
	[[ $(vip web other) == 10.23.0.1[234]? ]]
	[[ $(host "$OKHTTPD" get "$(vip web other)" 80 | names) == web2 ]]
}

@test "wrong input is refused with a text that names it, nothing is left" {
	network app --subnet 10.24.0.0/24
	refused 'mtu=big' -o com.docker.network.driver.mtu=big
	refused 'mtu=20' -o com.docker.network.driver.mtu=20
	refused '10.24.0.128/25' --subnet 10.24.0.128/25
	refused 'overlaps' --subnet 10.24.0.0/16
	refused '10.1.0.0/24' -o vip-range=10.1.0.0/24
	refused 'vip-range=lots' -o vip-range=lots
	refused '10.25.0.1' --subnet 10.25.0.0/24 -o vip-range=10.25.0.0/28
	[[ $(status '.networks | length') == 1 ]]
	network other --subnet 10.25.0.0/24
	[[ $(host find /run/fairlead/netns -name 'fl-*' | wc -l) == 2 ]]
}

@test "20 containers started at once: 20 addresses, all in the service" {
	network app
	for n in {1..20}; do replica "web$n" web & done
	wait
	wait_until 10 holds "$(service_filter web) | [.backends[] | select(.state == \"active\")] | length == 20"
	[[ $(docker network inspect -f '{{range .Containers}}{{.IPv4Address}} {{end}}' app | xargs -n 1 | sort -u | wc -l) == 20 ]]
	[[ $(docker network inspect -f '{{range .Containers}}{{.MacAddress}} {{end}}' app | xargs -n 1 | sort -u | wc -l) == 20 ]]
	host "$OKHTTPD" get "$(vip web)" 80 40 >"$BATS_TEST_TMPDIR/answers"
	[[ $(cut -d' ' -f1 "$BATS_TEST_TMPDIR/answers" | sort | uniq -c | grep -c '^ *2 web') == 20 ]]
	[[ $(get web7 "$(vip web)" 20 | cut -d' ' -f1 | sort -u | wc -l) == 20 ]]
	docker ps -q | xargs docker rm -f >/dev/null # 20 at once as well
	wait_until 5 holds "$(network_filter) | .endpoints == 0"
}

@test "networks that were removed leave nothing on the host" {
	for n in 1 2 3; do network "app$n"; done
	container web1 --network app1 -p 8080:80
	gone web1
	clean_up
	[[ $(status '.networks | length') == 0 ]]
	[[ -z $(host find /run/fairlead/netns -name 'fl-*') ]]
	[[ -z $(host ip -o link | grep -F ': fl') ]]
	[[ -z $(host ip route | grep -F flu) && -z $(host ip -6 route | grep -F flu) ]]
	[[ $(host nft list table inet fairlead) != *elements* ]]
}
