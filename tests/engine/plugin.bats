# SPDX-License-Identifier: GPL-2.0-or-later
# fairlead as a managed plugin of the engine: the same story, and that the data path
# and the state outlive it.

load engine
load story

setup_file() {
	export DRIVER=fairlead:latest
	engine_start
	engine_image
	"$TESTS_ROOT/packaging/docker-plugin/make-dir" "$FAIRLEAD" "$BATS_FILE_TMPDIR/plugin" /var/lib/fairlead
	docker plugin create fairlead "$BATS_FILE_TMPDIR/plugin"
}

teardown_file() { engine_cleanup; }
teardown() { engine_logs_on_failure; }

enabled() { [[ $(docker plugin inspect -f '{{.Enabled}}' fairlead) == "$1" ]]; }
ready() { control_get /readyz; }

@test "it is enabled, with settings of its own" {
	docker plugin set fairlead FAIRLEAD_BALANCER=nft
	docker plugin enable fairlead
	enabled true
	wait_until 5 ready
	wait_until 5 holds '.engine.synced and .balancer.name == "nft"'
}

@test "network, three replicas, VIP, names, a published port" {
	network app
	client
	three -p 8080:80 --network-alias web
	vip=$(vip web)
	[[ $(get client "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get web1 "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(host "$OKHTTPD" get "$vip" 80 3 | tally) == "web1 1 web2 1 web3 1" ]]
	[[ $(ask client web) == "$vip" && $(ask client web2) == "$(addr web2)" ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 3 | tally) == "web1 1 web2 1 web3 1" ]]
	docker stop web2 >/dev/null
	[[ $(get client "$vip" 4 | tally) == "web1 2 web3 2" ]]
	docker start web2 >/dev/null
	settled web 'web1=active web2=active web3=active'
}

@test "disabled under traffic: all goes on; enabled again: all is known" {
	vip=$(vip web)
	status 'del(.repairs) | del(.networks[].services[].backends[].connections)' >"$BATS_TEST_TMPDIR/before"
	load_begin "$vip"
	docker plugin disable -f fairlead
	enabled false
	[[ $(get client "$vip" 6 | cut -d' ' -f1 | sort -u | wc -l) == 3 ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 3 | tally) == "web1 1 web2 1 web3 1" ]]
	[[ $(ask client web) == "$(for n in 1 2 3; do addr web$n; done | sort)" ]]
	docker plugin enable fairlead
	wait_until 5 ready
	wait_until 5 holds .engine.synced
	load_end
	status 'del(.repairs) | del(.networks[].services[].backends[].connections)' >"$BATS_TEST_TMPDIR/after"
	diff "$BATS_TEST_TMPDIR"/{before,after}
	[[ $(ask client web) == "$vip" ]]
	replica web4 web
	settled web 'web1=active web2=active web3=active web4=active'
	[[ $(get client "$vip" 8 | tally) == "web1 2 web2 2 web3 2 web4 2" ]]
}

@test "the engine restarts: the plugin comes with it, and knows all" {
	vip=$(vip web)
	engine_restart
	enabled true
	wait_until 5 holds .engine.synced
	docker start client web1 web2 web3 >/dev/null
	settled web 'web1=active web2=active web3=active'
	[[ $(vip web) == "$vip" ]]
	[[ $(get client "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 3 | tally) == "web1 1 web2 1 web3 1" ]]
}

@test "removed with all it had" {
	clean_up
	[[ -z $(host find /run/fairlead/netns -name 'fl-*') ]]
	[[ -z $(host ip -o link | grep -F ': fl') ]]
	docker plugin disable fairlead
	docker plugin rm fairlead
	[[ -z $(docker plugin ls -q) ]]
}
