# SPDX-License-Identifier: GPL-2.0-or-later
# How closely the balancing follows what containers do: start, stop, kill, pause,
# connect, health.

load engine
load story

setup_file() {
	engine_start
	engine_image
	FAIRLEAD_BALANCER=nft fairlead_start
	network app
	client
}

teardown_file() { engine_cleanup; }

teardown() {
	engine_logs_on_failure
	docker ps -a --format '{{.Names}}' | grep -vx client | xargs -r docker rm -f >/dev/null
}

state_is() { # state_is CONTAINER STATE: a filter
	printf '[%s | .backends[] | select(.container == "%s") | .state] == ["%s"]' \
		"$(service_filter web)" "$1" "$2"
}

not_active() { # not_active CONTAINER: a filter
	printf '[%s | .backends[] | select(.container == "%s" and .state == "active")] == []' \
		"$(service_filter web)" "$1"
}

is_gone() { # is_gone CONTAINER: a filter
	printf '[%s | .backends[] | select(.container == "%s")] == []' "$(service_filter web)" "$1"
}

connections() { in_task client ss -Htn state established | wc -l; }
connections_are() { [[ $(connections) == "$1" ]]; }

@test "scaling up: a started container is followed" {
	replica web1 web
	settled web web1=active
	follow 'docker run' web2 start "$(state_is web2 active)" replica web2 web
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web2 2" ]]
}

@test "docker stop drains: nothing new arrives, what is open goes on" {
	three -e OKHTTPD_GRACE=2500
	vip=$(vip web)
	for n in 1 2 3; do
		docker exec client okhttpd hold "$vip" 80 2 >"$BATS_TEST_TMPDIR/hold$n" 3>&- &
	done
	wait_until 2 connections_are 3
	[[ $(status "[$(service_filter web) | .backends[] | .connections] | join(\" \")") == "1 1 1" ]]
	follow 'docker stop' web2 kill "$(state_is web2 draining)" \
		kill_of_stop web2
	[[ $(get client "$vip" 12 | tally) == "web1 6 web3 6" ]]
	[[ $(get web1 "$vip" 4 | tally) == "web1 2 web3 2" ]]
	[[ $(host "$OKHTTPD" get "$vip" 80 4 | tally) == "web1 2 web3 2" ]]
	[[ $(get client "$(addr web2)" | names) == web2 ]]
	wait
	[[ $(cut -d' ' -f1 "$BATS_TEST_TMPDIR"/hold? | sort -u | paste -sd' ') == "failed web1 web2 web3" ]]
	[[ $(grep -h failed "$BATS_TEST_TMPDIR"/hold? | sort -u) == "failed 0" ]]
	settled web 'web1=active web3=active'
}

# docker stop returns when the container has ended; the signal is sent at once.
kill_of_stop() { docker stop "$1" >"$BATS_TEST_TMPDIR/stop" 3>&- & }

@test "no request fails while a replica drains, goes, comes and gets healthy" {
	three -e OKHTTPD_GRACE=500 --health-cmd 'okhttpd get 127.0.0.1 80' --health-interval 300ms
	load_begin "$(vip web)"
	docker stop web2 >/dev/null
	settled web 'web1=active web3=active'
	load_end
	load_begin "$(vip web)"
	docker start web2 >/dev/null
	settled web 'web1=active web2=active web3=active'
	wait_until 5 grep -q web2 "$BATS_TEST_TMPDIR/load"
	load_end
}

@test "docker kill, docker rm -f: followed" {
	three
	vip=$(vip web)
	follow 'docker kill' web2 kill "$(not_active web2)" docker kill web2
	[[ $(get client "$vip" 4 | tally) == "web1 2 web3 2" ]]
	follow 'docker rm -f' web3 kill "$(not_active web3)" docker rm -f web3
	[[ $(get client "$vip" 4 | tally) == "web1 4" ]]
	settled web web1=active
}

@test "a process that ends by itself: followed" {
	three
	follow 'exit' web2 die "$(not_active web2)" docker exec -d web2 kill -TERM 1
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web3 2" ]]
	settled web 'web1=active web3=active'
}

@test "docker pause takes the traffic away, unpause gives it back" {
	three
	vip=$(vip web)
	follow 'docker pause' web2 pause "$(state_is web2 paused)" docker pause web2
	[[ $(get client "$vip" 4 | tally) == "web1 2 web3 2" ]]
	follow 'docker unpause' web2 unpause "$(state_is web2 active)" docker unpause web2
	[[ $(get client "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "network disconnect and connect: followed" {
	three
	vip=$(vip web)
	follow 'network disconnect' web2 disconnect "$(is_gone web2)" \
		docker network disconnect app web2
	[[ $(get client "$vip" 4 | tally) == "web1 2 web3 2" ]]
	follow 'network connect' web2 connect "$(state_is web2 active)" \
		docker network connect app web2
	[[ $(get client "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get web2 "$vip" 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "docker restart: the same backend again" {
	three
	docker restart web2 >/dev/null
	settled web 'web1=active web2=active web3=active'
	[[ $(get client "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "the VIP stays when all replicas are made anew" {
	three
	vip=$(vip web)
	gone web1 web2 web3
	replica other1 other
	wait_until 5 are_states other other1=active
	[[ $(vip other) != "$vip" ]]
	replica web4 web
	settled web web4=active
	[[ $(vip web) == "$vip" ]]
	[[ $(get client "$vip" 2 | tally) == "web4 2" ]]
}

check=(--health-cmd 'test -e /tmp/healthy' --health-interval 100ms --health-retries 2)

@test "no traffic before the health check has succeeded" {
	replica web1 web
	replica web2 web "${check[@]}"
	settled web 'web1=active web2=starting'
	[[ $(get client "$(vip web)" 4 | tally) == "web1 4" ]]
	[[ $(ask client tasks.web) == "$(addr web1)" ]]
	follow 'healthy' web2 'health_status: healthy' "$(state_is web2 active)" \
		docker exec web2 touch /tmp/healthy
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web2 2" ]]
}

@test "none while it fails; if it fails for all, all get it, and the status tells" {
	for n in 1 2; do
		replica "web$n" web --health-start-period 0 "${check[@]}"
		docker exec "web$n" touch /tmp/healthy
	done
	settled web 'web1=active web2=active'
	follow 'unhealthy' web2 'health_status: unhealthy' "$(state_is web2 unhealthy)" \
		docker exec web2 rm /tmp/healthy
	[[ $(get client "$(vip web)" 4 | tally) == "web1 4" ]]
	docker exec web1 rm /tmp/healthy
	settled web 'web1=unhealthy web2=unhealthy'
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web2 2" ]]
	holds "$(service_filter web) | .errors | any(contains(\"no backend is healthy\"))"
	docker exec web2 touch /tmp/healthy
	settled web 'web1=unhealthy web2=active'
	[[ $(get client "$(vip web)" 4 | tally) == "web2 4" ]]
}

@test "fairlead.health=none: the check does not count" {
	replica web1 web -l fairlead.health=none "${check[@]}"
	settled web web1=active
	[[ $(get client "$(vip web)" 2 | tally) == "web1 2" ]]
}
