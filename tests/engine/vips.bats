# SPDX-License-Identifier: GPL-2.0-or-later
# Addresses of services: kept by name, fixed by the user, and what happens when there
# are none; how full pools are, as shown by the pools, the metrics and the log.

load engine
load story

setup_file() {
	engine_start
	engine_image
	FAIRLEAD_BALANCER=nft fairlead_start
}

teardown_file() { engine_cleanup; }

setup() { LOG_LINES=$(wc -l <"$MACHINE_LOG/fairlead.log"); }

teardown() {
	engine_logs_on_failure
	engine_answers || engine_start
	fairlead_answers >/dev/null || fairlead_start
	clean_up
}

logged() { # logged TEXT: how many lines of this test's log have it
	tail -n "+$((LOG_LINES + 1))" "$MACHINE_LOG/fairlead.log" | grep -cF -- "$1"
}

errors() { status "$(service_filter "$@") | .errors[]"; }

has_vip() { [[ $(vip "$1" "${3:-app}") == "$2" ]]; } # has_vip SERVICE VIP [NETWORK]
is_kept() { holds "$(service_filter "$1") | .backends == []"; }

# ---- kept by name ----------------------------------------------------------------

@test "a service has its VIP again: made anew, with others in between" {
	network app
	client
	replica web1 web
	replica db1 db
	settled web web1=active
	settled db db1=active
	web=$(vip web) db=$(vip db)
	[[ $web != "$db" ]]
	gone web1 db1
	is_kept web
	is_kept db
	for n in 1 2 3; do replica "other$n" "other$n" & done
	wait
	replica db2 db
	replica web2 web
	settled web web2=active
	settled db db2=active
	has_vip web "$web"
	has_vip db "$db"
	[[ $(ask client web) == "$web" && $(get client "$web" | names) == web2 ]]
}

@test "a VIP is kept over a restart of fairlead and of dockerd, by TERM and by KILL" {
	network app
	client
	replica web1 web
	replica db1 db
	settled web web1=active
	settled db db1=active
	web=$(vip web) db=$(vip db)
	gone web1 db1
	fairlead_restart
	replica db2 db
	settled db db2=active
	has_vip db "$db"
	gone db2
	engine_restart
	replica other1 other
	fairlead_kill
	engine_kill
	fairlead_start
	engine_start
	docker start client >/dev/null
	replica web2 web
	replica db3 db
	settled web web2=active
	settled db db3=active
	has_vip web "$web"
	has_vip db "$db"
	[[ $(get client "$web" | names) == web2 ]]
}

@test "a full range: the longest unused name gives its VIP" {
	network app --subnet 10.77.0.0/24 -o vip-range=10.77.0.248/29 # six can be given
	for n in 1 2 3 4 5 6; do replica "c$n" "s$n"; done
	for n in 1 2 3 4 5 6; do settled "s$n" "c$n=active"; done
	two=$(vip s2) three=$(vip s3)
	gone c2
	gone c3
	replica new new
	settled new new=active
	has_vip new "$two"
	[[ -z $(status "$(service_filter s2) | .name") ]]
	replica again s3
	settled s3 again=active
	has_vip s3 "$three"
}

# ---- fixed -------------------------------------------------------------------------

@test "fixed VIPs of both families in one label" {
	network app --ipv6 --subnet 10.77.0.0/24 --subnet fd77::/64 \
		-o vip-range=10.77.0.192/26,fd77::c0/122
	client
	replica web1 web -l fairlead.vip=10.77.0.200,fd77::ce
	settled web web1=active
	[[ $(status "$(service_filter web) | .vip | join(\" \")") == "10.77.0.200 fd77::ce" ]]
	[[ -z $(errors web) ]]
	[[ $(ask client web A) == 10.77.0.200 && $(ask client web AAAA) == fd77::ce ]]
	[[ $(get client 10.77.0.200 | names) == web1 ]]
	[[ $(get client fd77::ce | names) == web1 ]]
}

@test "a fixed VIP that another service has: both are named, both run, the next one gets it" {
	network app --subnet 10.77.0.0/24 # VIPs: 10.77.0.192/26
	client
	replica db1 db -l fairlead.vip=10.77.0.250
	settled db db1=active
	replica web1 web -l fairlead.vip=10.77.0.250
	settled web web1=active
	has_vip db 10.77.0.250
	other=$(vip web)
	[[ $other == 10.77.0.* && $other != 10.77.0.250 ]]
	text="VIP 10.77.0.250: service web asks for it, service db has it"
	[[ $(errors web) == "$text" && -z $(errors db) ]]
	[[ $(logged "$text") == 1 ]]
	fairlead status | tr -s ' \n' ' ' | grep -qF "! $text"
	[[ $(get client "$other" | names) == web1 && $(get client 10.77.0.250 | names) == db1 ]]
	gone db1
	wait_until 5 has_vip web 10.77.0.250
	[[ -z $(errors web) && $(get client 10.77.0.250 | names) == web1 ]]
}

@test "a fixed VIP that only a gone service had is given" {
	network app
	replica web1 web
	settled web web1=active
	vip=$(vip web)
	gone web1
	replica db1 db -l "fairlead.vip=$vip"
	settled db db1=active
	has_vip db "$vip"
	[[ -z $(errors db) ]]
}

@test "backends that disagree: the first holds, and when it is gone the next is taken" {
	network app --subnet 10.77.0.0/24
	client
	replica web1 web -l fairlead.vip=10.77.0.250
	settled web web1=active
	replica web2 web -l fairlead.vip=10.77.0.251
	settled web 'web1=active web2=active'
	has_vip web 10.77.0.250
	[[ $(errors web) == "container web2 asks for VIP 10.77.0.251, but 10.77.0.250 of container web1 counts" ]]
	[[ $(get client 10.77.0.250 4 | tally) == "web1 2 web2 2" ]]
	gone web1
	wait_until 5 has_vip web 10.77.0.251
	[[ -z $(errors web) && $(ask client web) == 10.77.0.251 ]]
	[[ $(get client 10.77.0.251 | names) == web2 ]]
}

@test "a fixed VIP that cannot be: the container runs with another, the status tells why" {
	network app --subnet 10.77.0.0/24
	client
	local wrong=(10.9.9.9 10.77.0.1 10.77.0.20 10.77.0.0 10.77.0.255 fd77::1)
	for i in "${!wrong[@]}"; do replica "c$i" "s$i" -l "fairlead.vip=${wrong[i]}"; done
	for i in "${!wrong[@]}"; do
		settled "s$i" "c$i=active"
		[[ $(errors "s$i") == "VIP ${wrong[i]}: "* ]]
		[[ $(logged "VIP ${wrong[i]}: ") == 1 ]]
		[[ $(get client "$(vip "s$i")" | names) == "c$i" ]]
	done
	[[ $(errors s2) == *"not in the network's VIP range 10.77.0.192/26"* ]]
	[[ $(errors s4) == *"first or last address of the VIP range 10.77.0.192/26"* ]]
	[[ $(errors s5) == *"the network has no VIP range for it"* ]]
}

# ---- none ---------------------------------------------------------------------------

@test "no VIP is left: the container runs, the status names the range, one that comes free is taken" {
	network app --subnet 10.77.0.0/24 -o vip-range=10.77.0.252/30 # two can be given
	client
	for n in 1 2 3; do
		replica "c$n" "s$n"
		settled "s$n" "c$n=active"
	done
	[[ $(status "$(service_filter s3) | .mode + (.vip | tostring)") == "dnsrr[]" ]]
	text="no VIP: the range 10.77.0.252/30 is full, services have all of its 2 addresses"
	[[ $(errors s3) == "$text" && $(logged "$text") == 1 ]]
	[[ $(ask client s3) == "$(addr c3)" && $(get client "$(addr c3)" | names) == c3 ]]
	one=$(vip s1)
	gone c1
	wait_until 5 has_vip s3 "$one"
	[[ -z $(errors s3) && $(ask client s3) == "$one" && $(get client "$one" | names) == c3 ]]
}

@test "vip-range=none: no VIP, and the status tells why" {
	network app -o vip-range=none
	client
	replica web1 web
	replica web2 web -l fairlead.vip=10.77.0.250
	settled web 'web1=active web2=active'
	[[ $(status "$(service_filter web) | .mode + (.vip | tostring)") == "dnsrr[]" ]]
	errors web | grep -qxF 'no VIP: the network has vip-range=none'
	errors web | grep -qxF 'VIP 10.77.0.250: the network has no VIP range for it'
	[[ $(ask client web) == "$(for n in 1 2; do addr "web$n"; done | sort)" ]]
	[[ $(pool '.vip_range') == "" ]]
}

# ---- gauges --------------------------------------------------------------------------

six_is_known() { fairlead pools | grep -q six; }

@test "fairlead pools: capacity, use, VIPs, by the network's name" {
	network app --subnet 10.77.0.0/24
	client
	replica web1 web
	replica db1 db
	settled web web1=active
	settled db db1=active
	gone db1
	[[ $(pool '[.space, .pool, .network_name, .capacity, .used, .free, .vip_range] | join(" ")') == \
		"fairlead-local 10.77.0.0/24 app 191 3 188 10.77.0.192/26" ]]
	[[ $(pool '[.vips.capacity, .vips.used, .vips.kept] | join(" ")') == "62 1 1" ]]
	fairlead pools | tr -s ' ' | grep -qx '10.77.0.0/24 local app 191 3 188 2% 10.77.0.192/26 1/62'
	network six --ipv6 --subnet fd77::/64 --subnet 10.78.0.0/16 --ip-range 10.78.5.0/24 -o vip-range=none
	wait_until 5 six_is_known # Docker tells its name
	[[ $(fairlead pools --json | jq -r '.pools[] | select(.network_name == "six")
		| [.pool, .sub_pool, .capacity > 1e19, .free < 256] | join(" ")' | paste -sd,) == \
		"10.78.0.0/16 10.78.5.0/24 false true,fd77::/64  true false" ]]
	fairlead pools | tr -s ' ' | grep -qx '10.78.0.0/16 (10.78.5.0/24) local six 256 1 255 0% - -'
	fairlead pools | tr -s ' ' | grep -qx 'fd77::/64 local six 1.8e+19 1 1.8e+19 0% - -'
	docker network rm six >/dev/null
	gone client web1
	docker network rm app >/dev/null
	[[ $(fairlead pools) == "no pools" ]]
}

metric() { # metric SAMPLE: its value
	control_get /metrics | awk -v name="$1" '$1 == name { print $2 }'
}

# Prometheus' text format: a family's help and type once and before its samples, which
# follow each other; names, labels and values as they may be; no sample twice; counters,
# and only they, end in _total.
check_metrics() {
	awk '
		function bad(why) { print "line " NR ": " why ": " $0; failed = 1 }
		/^# HELP [a-z_]+ [A-Z].*\.$/ {
			if ($3 in help) bad("help again")
			help[$3] = 1; family = ""; next
		}
		/^# TYPE [a-z_]+ (gauge|counter)$/ {
			if (!($3 in help) || $3 in type) bad("type without help or again")
			if (($4 == "counter") != ($3 ~ /_total$/)) bad("type and name")
			type[$3] = $4; family = $3; next
		}
		/^fairlead_[a-z_]+(\{[a-z_]+="([^"\\]|\\["\\n])*"(,[a-z_]+="([^"\\]|\\["\\n])*")*\})? [0-9]+(\.[0-9]+)?$/ {
			name = $0; sub(/[{ ].*/, "", name)
			if (name != family) bad("sample outside of its family")
			series = $0; sub(/ [^ ]*$/, "", series)
			if (series in seen) bad("sample again")
			seen[series] = 1; count++; next
		}
		{ bad("not understood") }
		END {
			for (name in help) if (!(name in type)) { print name ": no type"; failed = 1 }
			if (!count) { print "no samples"; failed = 1 }
			exit failed
		}'
}

@test "the metrics are in Prometheus' format and tell the truth" {
	network app --subnet 10.77.0.0/24
	three
	replica db1 db -l fairlead.scheduler=lc
	settled db db1=active
	docker pause web3 >/dev/null
	settled web 'web1=active web2=active web3=paused'
	id=$(docker network inspect -f '{{.Id}}' app)
	control_get /metrics >"$BATS_TEST_TMPDIR/metrics"
	check_metrics <"$BATS_TEST_TMPDIR/metrics"
	host curl -sS -D - -o /dev/null --unix-socket /run/fairlead/control.sock http://fairlead/metrics |
		grep -qi '^content-type: text/plain; version=0.0.4'
	labels="network=\"app\",network_id=\"$id\""
	[[ $(metric "fairlead_pool_capacity_addresses{space=\"fairlead-local\",pool=\"10.77.0.0/24\",$labels}") == 191 ]]
	[[ $(metric "fairlead_pool_used_addresses{space=\"fairlead-local\",pool=\"10.77.0.0/24\",$labels}") == 5 ]]
	[[ $(metric "fairlead_vip_used_addresses{range=\"10.77.0.192/26\",$labels}") == 2 ]]
	[[ $(metric "fairlead_endpoints{$labels}") == 4 ]]
	[[ $(metric 'fairlead_leases{space="fairlead-local"}') == 5 ]]
	[[ $(metric fairlead_services) == 2 && $(metric fairlead_services_failing) == 1 ]]
	[[ $(metric 'fairlead_backends{state="active"}') == 3 && $(metric 'fairlead_backends{state="paused"}') == 1 ]]
	[[ $(metric fairlead_engine_connected) == 1 && $(metric fairlead_engine_synced) == 1 ]]
	[[ $(metric fairlead_repairs_total) == "$(status .repairs)" ]]
	joined=$(metric 'fairlead_calls_total{method="NetworkDriver.Join",result="ok"}')
	refused=$(metric 'fairlead_calls_total{method="IpamDriver.RequestAddress",result="refused"}')
	replica web4 web
	run docker run --rm --network app --ip 10.77.0.1 fairlead-test true
	[[ $status != 0 ]]
	[[ $(metric 'fairlead_calls_total{method="NetworkDriver.Join",result="ok"}') == $((joined + 1)) ]]
	(($(metric 'fairlead_calls_total{method="IpamDriver.RequestAddress",result="refused"}') > refused))
	plugin_call NetworkDriver.Join 'nonsense' >/dev/null
	[[ $(metric 'fairlead_calls_total{method="NetworkDriver.Join",result="invalid"}') == 1 ]]
	docker unpause web3 >/dev/null
}

@test "the check of the format finds what is wrong" {
	good=$'# HELP fairlead_x Text.\n# TYPE fairlead_x gauge\nfairlead_x{a="b\\"c"} 1\n'
	check_metrics <<<"${good%$'\n'}"
	for bad in 'fairlead_x{a="b\"c"} 2' 'fairlead_y 1' 'fairlead_x{a=1} 1' 'fairlead_x one' \
		'fairlead_x{a="b"c"} 1' '# HELP fairlead_x Text.' '# TYPE fairlead_x gauge' \
		$'# HELP fairlead_y Text.\n# TYPE fairlead_y counter' '# HELP fairlead_y Text.'; do
		! check_metrics <<<"$good$bad" >/dev/null || { echo "passed: $bad"; return 1; }
	done
}

@test "a pool that runs full is told of at 80 and 95 percent, and again only after it fell" {
	network app --subnet 10.77.0.0/27 -o vip-range=none # thirty can be given
	id=$(docker network inspect -f '{{.Id}}' app) pool=fairlead-local/10.77.0.0/27
	request() { plugin_call IpamDriver.RequestAddress "{\"PoolID\":\"$pool\",\"Address\":\"10.77.0.$1\"}" | jq -e .Address; }
	release() { plugin_call IpamDriver.ReleaseAddress "{\"PoolID\":\"$pool\",\"Address\":\"10.77.0.$1\"}"; }
	for n in {2..23}; do request "$n"; done
	[[ $(logged 'pool is') == 0 ]]
	request 24
	[[ $(logged "pool is 80 % full: 24 of 30 addresses are used pool=$pool net=${id:0:12}") == 1 ]]
	for n in {25..28}; do request "$n"; done
	[[ $(logged 'pool is') == 1 ]]
	request 29
	[[ $(logged "pool is 96 % full: 29 of 30 addresses are used pool=$pool net=${id:0:12}") == 1 ]]
	request 30
	for n in {30..24}; do release "$n"; done # 23: 76 %
	request 24
	[[ $(logged 'pool is') == 2 ]]
	for n in {24..22}; do release "$n"; done # 21: 70 %
	for n in {22..24}; do request "$n"; done
	[[ $(logged 'pool is 80 % full') == 2 && $(logged 'pool is') == 3 ]]
}
