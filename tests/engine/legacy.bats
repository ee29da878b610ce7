# SPDX-License-Identifier: GPL-2.0-or-later
# A host whose iptables is the legacy one: Docker's FORWARD policy DROP is in tables
# that nftables does not see.

load engine
load story

setup_file() {
	engine_iptables legacy
	if ! host iptables -t filter -S >/dev/null 2>&1 || ! host iptables -t nat -S >/dev/null 2>&1; then
		export NO_LEGACY="this kernel has no iptables-legacy tables"
		return
	fi
	engine_start
	engine_image
	fairlead_start
}

teardown_file() { engine_cleanup; }

setup() {
	[[ -z ${NO_LEGACY:-} ]] || skip "$NO_LEGACY"
	network app
}

teardown() {
	[[ -z ${NO_LEGACY:-} ]] || return 0
	engine_logs_on_failure
	clean_up
}

accepts() { host iptables -S DOCKER-USER | grep -c 'flu+ -j ACCEPT'; }

@test "Docker's policy is DROP, in the legacy tables" {
	[[ $(host iptables -S FORWARD) == *"-P FORWARD DROP"* ]]
	[[ $(host iptables -V) == *legacy* ]]
	run host nft list chain ip filter FORWARD
	[[ $status != 0 ]]
}

@test "traffic passes all the same: out, and in through a published port" {
	machine_spawn "$MACHINE" server ip netns exec outside "$OKHTTPD" 8000 outside
	wait_until 5 host "$OKHTTPD" get 192.0.2.9 8000
	client
	three -p 8080:80
	[[ $(get client 192.0.2.9 1 8000) == "outside 192.0.2.1" ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get client "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(accepts) == 2 ]]
}

@test "the rules are there once after restarts of fairlead, and again after the engine's" {
	fairlead_restart
	[[ $(accepts) == 2 ]]
	host iptables -F DOCKER-USER
	engine_restart
	wait_until 5 holds .engine.synced
	[[ $(accepts) == 2 ]]
	replica web1 web -p 8080:80
	settled web web1=active
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080) == "web1 192.0.2.9" ]]
}
