# SPDX-License-Identifier: GPL-2.0-or-later
# Who belongs to which service - Compose, labels, driver-opts - and what the
# options do.

load engine
load story

setup_file() {
	engine_start
	engine_image
	FAIRLEAD_BALANCER=nft fairlead_start
}

teardown_file() { engine_cleanup; }

setup() {
	network app
	client
}

teardown() {
	engine_logs_on_failure
	clean_up
}

compose() { # compose PROJECT NAME [OPTION...]: a replica of Compose's service web
	local project=$1 name=$2
	shift 2
	container "$name" --network app -l "com.docker.compose.project=$project" \
		-l com.docker.compose.service=web "$@"
}

project_vip() {
	status "$(service_filter web) | select(.project == \"$1\") | .vip[0]"
}

@test "Compose projects on one network: each its own service, the own one wins" {
	compose blue web1
	compose blue web2
	compose green web3
	client extra-blue -l com.docker.compose.project=blue
	client extra-green -l com.docker.compose.project=green
	settled web 'web1=active web2=active web3=active'
	blue=$(project_vip blue) green=$(project_vip green)
	[[ $blue == 10.* && $green == 10.* && $blue != "$green" ]]
	[[ $(ask extra-blue web) == "$blue" ]]
	[[ $(ask extra-green web) == "$green" ]]
	[[ $(ask web1 web) == "$blue" ]]
	[[ $(ask extra-blue web.green) == "$green" ]]
	[[ $(ask extra-green web.blue) == "$blue" ]]
	[[ $(ask client web.blue) == "$blue" ]]
	[[ $(get extra-blue "$blue" 4 | tally) == "web1 2 web2 2" ]]
	[[ $(get extra-blue "$green" 4 | tally) == "web3 4" ]]
}

@test "a one-off container of Compose is no replica" {
	compose blue web1
	compose blue web2 -l com.docker.compose.oneoff=True
	settled web web1=active
	[[ $(ask web2 web) == "$(project_vip blue)" ]]
}

@test "a driver-opt makes a backend at once" {
	container web1 --network name=app,driver-opt=fairlead.service=web
	[[ $(states web) == *=active ]] # no waiting
	docker network create lonely >/dev/null
	container web2 --network lonely
	docker network connect --driver-opt fairlead.service=web app web2
	[[ $(states web) == *=active*=active ]]
	settled web 'web1=active web2=active'
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web2 2" ]]
}

@test "a driver-opt needs no API of the engine, a label does" {
	fairlead_stop
	fairlead_start --docker-host unix:///nowhere.sock
	container web1 --network name=app,driver-opt=fairlead.service=web
	replica web2 web
	[[ $(states web) == =active ]] # whose name nobody told
	[[ $(get client "$(vip web)" 4 | tally) == "web1 4" ]]
	[[ $(status .engine.connected) == false ]]
	fairlead_stop
	fairlead_start --docker-host unix:///run/docker.sock
	settled web 'web1=active web2=active'
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web2 2" ]]
}

@test "fairlead.enable=false: only a client" {
	replica web1 web -l fairlead.enable=false
	replica web2 web
	settled web web2=active
	[[ $(get web1 "$(vip web)" 2 | tally) == "web2 2" ]]
}

@test "weights, with wrr: in exact shares; 0 takes the traffic away" {
	replica web1 web -l fairlead.scheduler=wrr -l fairlead.weight=3
	replica web2 web -l fairlead.scheduler=wrr
	replica web3 web -l fairlead.scheduler=wrr -l fairlead.weight=0
	settled web 'web1=active web2=active web3=active'
	[[ $(status "[$(service_filter web) | .backends[] | .container + \"*\" + (.weight | tostring)] | sort | join(\" \")") == \
		"web1*3 web2*1 web3*0" ]]
	[[ $(status "$(service_filter web) | .scheduler") == wrr ]]
	[[ $(get client "$(vip web)" 12 | tally) == "web1 9 web2 3" ]]
}

@test "scheduler random: each is reached, not in turn" {
	three -l fairlead.scheduler=random
	[[ $(status "$(service_filter web) | .scheduler") == random ]]
	get client "$(vip web)" 60 >"$BATS_TEST_TMPDIR/answers"
	[[ $(cut -d' ' -f1 "$BATS_TEST_TMPDIR/answers" | sort -u | paste -sd' ') == "web1 web2 web3" ]]
	turn=$(head -n 3 "$BATS_TEST_TMPDIR/answers" | names)
	[[ $(names <"$BATS_TEST_TMPDIR/answers") != "$turn $turn $turn"* ]]
}

@test "scheduler sh: a client stays with its backend, clients differ" {
	three -l fairlead.scheduler=sh
	for n in 1 2 3 4; do client "extra$n" & done
	wait
	vip=$(vip web)
	for c in client web1 web2 web3 extra1 extra2 extra3 extra4; do
		one=$(get "$c" "$vip" 5 | cut -d' ' -f1 | sort -u)
		[[ $one == web[123] ]]
		chosen+=("$one")
	done
	[[ $(printf '%s\n' "${chosen[@]}" | sort -u | wc -l) -gt 1 ]]
}

@test "a scheduler that the balancer lacks: an error in the status, and rr" {
	three -l fairlead.scheduler=lc
	[[ $(status "$(service_filter web) | .scheduler + \" \" + .scheduler_wanted") == "rr lc" ]]
	holds "$(service_filter web) | .errors | any(test(\"lc\") and test(\"nft\"))"
	fairlead status | tr -s ' \n' ' ' | grep -q '! scheduler lc: '
	[[ $(get client "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "bad option values: the container runs, the defaults count, the status tells" {
	replica web1 web -l fairlead.weight=many -l fairlead.scheduler=fastest \
		-l fairlead.mode=anycast -l fairlead.wieght=3 -l fairlead.vip=10.0.0.0.1
	settled web web1=active
	for what in weight=many scheduler=fastest mode=anycast wieght=3 vip=10.0.0.0.1; do
		holds "$(service_filter web) | .errors | any(contains(\"fairlead.$what\"))"
		grep -q "fairlead.$what" "$MACHINE_LOG/fairlead.log"
	done
	[[ $(status "$(service_filter web) | .scheduler + \" \" + .mode") == "rr vip" ]]
	[[ $(get client "$(vip web)" 2 | tally) == "web1 2" ]]
}

@test "network options are defaults, a label wins" {
	network other -o fairlead.scheduler=wrr -o fairlead.weight=2
	container web1 --network other -l fairlead.service=web
	container web2 --network other -l fairlead.service=web -l fairlead.weight=1
	container extra --network other
	settled web 'web1=active web2=active' other
	[[ $(get extra "$(vip web other)" 6 | tally) == "web1 4 web2 2" ]]
}

@test "mode dnsrr: no VIP, the name is answered with all backends" {
	three -l fairlead.mode=dnsrr
	[[ $(status "$(service_filter web) | .mode + (.vip | tostring)") == "dnsrr[]" ]]
	[[ $(ask client web) == "$(for n in 1 2 3; do addr web$n; done | sort)" ]]
	docker stop web3 >/dev/null
	[[ $(ask client web) == "$(for n in 1 2; do addr web$n; done | sort)" ]]
}

@test "a fixed VIP" {
	vip=$(status "$(network_filter) | .vip_range[0]" | sed 's|[0-9]*/.*|250|')
	replica web1 web -l "fairlead.vip=$vip"
	settled web web1=active
	[[ $(vip web) == "$vip" && $(ask client web) == "$vip" ]]
	[[ $(get client "$vip" | names) == web1 ]]
}
