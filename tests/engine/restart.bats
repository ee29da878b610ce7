# SPDX-License-Identifier: GPL-2.0-or-later
# fairlead and the engine end and come back, in every way: traffic goes on, all is
# known again, nothing is done twice, nothing is left over.

load engine
load story

setup_file() {
	engine_start
	engine_image
	fairlead_start
}

teardown_file() { engine_cleanup; }

setup() {
	network app
	client
}

teardown() {
	engine_logs_on_failure
	engine_answers || engine_start
	fairlead_answers >/dev/null || fairlead_start
	clean_up
}

# What is programmed: by handle in the namespaces, where a restart shall not touch it.
rules() {
	local c
	printf 'host\n'
	host nft -s list table inet fairlead
	host nft -s list chain ip filter DOCKER-USER 2>/dev/null
	host ip -o link show type veth | sed 's/^[0-9]*: //'
	host ip route
	printf 'sandbox\n'
	in_sandbox app nft -s -a list ruleset
	in_sandbox app ip -o -4 addr
	in_sandbox app ip route
	for c in client web1 web2 web3; do
		printf '%s\n' "$c"
		in_task "$c" nft -s -a list table inet fairlead
	done
}

# The status but for what changes by itself.
steady_status() {
	status 'del(.repairs) | del(.networks[].services[].backends[].connections)
		| .networks |= sort_by(.id) | .networks[].services[].backends |= sort_by(.container)'
}

is_synced() { holds .engine.synced; }

hold_begin() { # hold_begin WHERE ADDR PORT: an open connection that is used
	if [[ $1 == outside ]]; then
		outside "$OKHTTPD" hold "$2" "$3" "$HOLD_SECONDS" >"$BATS_TEST_TMPDIR/hold.$1" 3>&- &
	else
		docker exec "$1" okhttpd hold "$2" "$3" "$HOLD_SECONDS" >"$BATS_TEST_TMPDIR/hold.$1" 3>&- &
	fi
	HOLDS+=("$!")
}

holds_end() {
	wait "${HOLDS[@]}"
	[[ $(grep -h '^failed' "$BATS_TEST_TMPDIR"/hold.* | sort -u) == "failed 0" ]]
}

survives() { # survives END: fairlead goes by END and comes, under traffic
	local HOLDS=() HOLD_SECONDS=4
	three -p 8080:80 --network-alias web
	vip=$(vip web)
	rules >"$BATS_TEST_TMPDIR/rules.before"
	steady_status >"$BATS_TEST_TMPDIR/status.before"
	load_begin "$vip"
	hold_begin client "$vip" 80
	hold_begin outside 192.0.2.1 8080
	"$1"
	# Down (and beside a load that takes turns, too): all but new things goes on, names by Docker's own resolver.
	[[ $(get client "$vip" 60 | tally) == *"web1 "*"web2 "*"web3 "* ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(ask client web2) == "$(addr web2)" ]]
	[[ $(ask client web) == "$(for n in 1 2 3; do addr web$n; done | sort)" ]]
	fairlead_start
	wait_until 5 is_synced
	[[ $(ask client web) == "$vip" ]]
	[[ $(get client "$vip" 60 | tally) == *"web1 "*"web2 "*"web3 "* ]]
	load_end
	holds_end
	rules >"$BATS_TEST_TMPDIR/rules.after"
	steady_status >"$BATS_TEST_TMPDIR/status.after"
	diff "$BATS_TEST_TMPDIR"/rules.{before,after}
	diff "$BATS_TEST_TMPDIR"/status.{before,after}
	[[ $(leases) == 5 ]]
	# And it works on.
	docker stop web2 >/dev/null
	[[ $(get client "$vip" 4 | tally) == "web1 2 web3 2" ]]
	replica web4 web
	settled web 'web1=active web3=active web4=active'
}

@test "fairlead is killed under traffic and started again: nothing breaks" {
	survives fairlead_kill
}

@test "fairlead is stopped under traffic and started again: nothing breaks" {
	survives fairlead_stop
}

@test "killed again and again while containers come and go: all is in order after" {
	three
	for n in 1 2 3; do
		(replica "extra$n" web || replica "again$n" web) 2>/dev/null 3>&- &
		fairlead_kill
		fairlead_start
	done
	wait
	wait_until 5 is_synced
	docker ps --format '{{.Names}}=active' | grep -v client | sort | paste -sd' ' >"$BATS_TEST_TMPDIR/run"
	settled web "$(<"$BATS_TEST_TMPDIR/run")"
	count=$(wc -w <"$BATS_TEST_TMPDIR/run")
	[[ $(get client "$(vip web)" "$count" | cut -d' ' -f1 | sort -u | wc -l) == "$count" ]]
}

@test "what happened while fairlead was away is learnt at its start" {
	three
	vip=$(vip web)
	fairlead_kill
	docker pause web2 >/dev/null
	fairlead_start
	settled web 'web1=active web2=paused web3=active'
	[[ $(get client "$vip" 4 | tally) == "web1 2 web3 2" ]]
	fairlead_kill
	docker unpause web2 >/dev/null
	pid=$(docker inspect -f '{{.State.Pid}}' web3)
	docker rm -f web3 >/dev/null 3>&- & # waits for the driver
	wait_until 5 is_no_process "$pid"
	fairlead_start
	settled web 'web1=active web2=active'
	[[ $(get client "$vip" 4 | tally) == "web1 2 web2 2" ]]
	wait
}

is_no_process() { [[ ! -e /proc/$1 ]]; }

is_named() { holds ".networks | any(.name == \"$1\")"; }

@test "a network without containers has its name in the status, after a start too" {
	docker network create -d fairlead --ipam-driver fairlead empty >/dev/null
	wait_until 5 is_named empty
	fairlead_restart
	wait_until 5 is_named empty
	docker network rm empty >/dev/null
}

second() { # second STATE RUN
	host "$FAIRLEAD" serve --state-dir "$1" --run-dir "$2" \
		--plugin-socket /run/second.sock --control-socket /run/second.control
}

@test "a second fairlead is refused: same state, same sandboxes, same host" {
	status >"$BATS_TEST_TMPDIR/before" .networks
	run second /var/lib/fairlead /run/second
	[[ $status == 1 && $output == *"state folder /var/lib/fairlead is in use by another"* ]]
	run second /run/second.state /run/fairlead
	[[ $status == 1 && $output == *"run folder /run/fairlead is in use by another"* ]]
	run second /run/second.state /run/second
	[[ $status == 1 && $output == *"another fairlead serves this network namespace"* ]]
	fairlead_answers
	status .networks | diff "$BATS_TEST_TMPDIR/before" -
}

@test "rules that somebody removed are repaired, and that is counted" {
	fairlead_stop
	fairlead_start --reconcile-interval 1
	three -p 8080:80
	rules | sed 's/ # handle.*//' >"$BATS_TEST_TMPDIR/rules.before"
	repairs=$(status .repairs)
	in_task client nft delete table inet fairlead
	in_sandbox app nft delete table inet fairlead
	host nft delete table inet fairlead
	wait_until 5 are_rules_back || diff "$BATS_TEST_TMPDIR"/rules.{before,after}
	(($(status .repairs) > repairs))
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 6 | tally) == "web1 2 web2 2 web3 2" ]]
	fairlead_stop
	fairlead_start --reconcile-interval 30
}

are_rules_back() {
	rules | sed 's/ # handle.*//' >"$BATS_TEST_TMPDIR/rules.after"
	diff "$BATS_TEST_TMPDIR"/rules.{before,after}
}

no_links() { [[ -z $(host ip -o link | grep -F ': fl') ]]; }

# ---- the engine ------------------------------------------------------------------

all_addresses() {
	docker ps -q | xargs docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' | xargs -n 1
}

all_distinct() { [[ -z $(all_addresses | sort | uniq -d) ]]; }

@test "dockerd is killed with running containers: no ghosts, no address twice" {
	three -p 8080:80
	vip=$(vip web)
	[[ $(leases) == 5 ]]
	engine_kill
	engine_start
	# Its containers ended with it.
	settled web ''
	wait_until 5 holds "$(network_filter) | .endpoints == 0"
	wait_until 5 leases_are 1
	docker start client >/dev/null
	replica web4 web -p 8080:80
	for n in 3 2 1; do docker start "web$n" >/dev/null; done
	settled web 'web1=active web2=active web3=active web4=active'
	[[ $(all_addresses | wc -l) == 5 ]]
	all_distinct
	[[ $(vip web) == "$vip" ]]
	[[ $(get client "$vip" 8 | tally) == "web1 2 web2 2 web3 2 web4 2" ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 8 | tally) == "web1 2 web2 2 web3 2 web4 2" ]]
	[[ $(status "$(network_filter) | .endpoints") == 5 ]]
	[[ $(leases) == 6 ]]
}

@test "dockerd and fairlead are killed at once" {
	three -p 8080:80
	vip=$(vip web)
	fairlead_kill
	engine_kill
	fairlead_start
	engine_start
	settled web ''
	wait_until 5 holds "$(network_filter) | .endpoints == 0"
	wait_until 5 leases_are 1
	docker start client web1 web2 web3 >/dev/null
	settled web 'web1=active web2=active web3=active'
	all_distinct
	[[ $(leases) == 5 ]]
	[[ $(get client "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "the machine boots: networks are made again before the engine comes" {
	three -p 8080:80
	vip=$(vip web)
	engine_stop
	fairlead_stop
	host sh -c 'umount /run/fairlead/netns/fl-*; rm -rf /run/fairlead'
	wait_until 5 no_links
	host nft flush ruleset
	fairlead_start
	engine_start
	docker start client web1 web2 web3 >/dev/null
	settled web 'web1=active web2=active web3=active'
	[[ $(get client "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "live-restore: the engine restarts under traffic, by SIGTERM and by SIGKILL" {
	docker ps -aq | xargs docker rm -f >/dev/null
	engine_stop
	engine_start --live-restore
	client
	local HOLDS=() HOLD_SECONDS=3
	three -p 8080:80
	vip=$(vip web)
	steady_status >"$BATS_TEST_TMPDIR/status.before"
	# Not by docker exec: it would end with the engine.
	in_task client nice -n 19 "$OKHTTPD" load "$vip" 80 6 >"$BATS_TEST_TMPDIR/load" 3>&- &
	HOLDS+=("$!")
	hold_begin outside 192.0.2.1 8080
	engine_restart
	wait_until 5 is_synced
	engine_kill
	engine_start
	wait_until 5 is_synced
	wait "${HOLDS[@]}"
	grep -qx 'failed 0' "$BATS_TEST_TMPDIR/load"
	grep -qx 'failed 0' "$BATS_TEST_TMPDIR/hold.outside"
	steady_status >"$BATS_TEST_TMPDIR/status.after"
	diff "$BATS_TEST_TMPDIR"/status.{before,after}
	[[ $(leases) == 5 ]]
	docker stop web2 >/dev/null
	replica web4 web -p 8080:80
	settled web 'web1=active web3=active web4=active'
	all_distinct
	[[ $(get client "$vip" 6 | tally) == "web1 2 web3 2 web4 2" ]]
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 6 | tally) == "web1 2 web3 2 web4 2" ]]
}

@test "after all this nothing is left on the host" {
	clean_up
	[[ $(status '.networks | length') == 0 ]]
	[[ -z $(host find /run/fairlead/netns -name 'fl-*') ]]
	no_links
	[[ -z $(host ip route | grep -F flu) ]]
	[[ $(host nft list table inet fairlead) != *elements* ]]
	# No address is held: a network as small as can be has all of them to give.
	network app --subnet 10.128.0.0/29 -o vip-range=none
	for n in 1 2 3 4 5; do client "extra$n" & done
	wait
	[[ $(all_addresses | sort -u | wc -l) == 5 ]]
}
