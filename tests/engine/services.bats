# SPDX-License-Identifier: GPL-2.0-or-later
# A service of three replicas as a user sees it: status, VIP, balancing, names.

load engine
load story

setup_file() {
	engine_start
	engine_image
	FAIRLEAD_BALANCER=nft fairlead_start
	network app
	client
	three
}

teardown_file() { engine_cleanup; }
teardown() { engine_logs_on_failure; }

@test "three replicas are one service: a VIP, three active backends" {
	[[ $(status "$(service_filter web) | .mode + \" \" + .scheduler") == "vip rr" ]]
	[[ $(status "$(service_filter web) | .errors | length") == 0 ]]
	[[ $(status "[$(service_filter web) | .backends[] | .address[0]] | sort | join(\" \")") == \
		"$(for n in 1 2 3; do addr web$n; done | sort | paste -sd' ')" ]]
	# The same for people.
	fairlead status >"$BATS_TEST_TMPDIR/table"
	grep -q "service web  *vip $(vip web)" "$BATS_TEST_TMPDIR/table"
	grep -q 'web3 .* active ' "$BATS_TEST_TMPDIR/table"
}

@test "a client's requests go exactly round" {
	run get client "$(vip web)" 9
	[[ $status == 0 ]]
	turn=$(head -n 3 <<<"$output" | names)
	[[ $(names <<<"$output") == "$turn $turn $turn" ]]
	[[ $(tally <<<"$output") == "web1 3 web2 3 web3 3" ]]
}

@test "backends see the client's own address" {
	[[ $(get client "$(vip web)" 3 | cut -d' ' -f2 | sort -u) == "$(addr client)" ]]
}

@test "UDP and other ports of the VIP are balanced as well" {
	vip=$(vip web)
	for _ in 1 2 3 4 5 6; do docker exec client okhttpd udp "$vip" 80; done >"$BATS_TEST_TMPDIR/udp"
	[[ $(tally <"$BATS_TEST_TMPDIR/udp") == "web1 2 web2 2 web3 2" ]]
	for n in 1 2 3; do docker exec -d "web$n" okhttpd 8081 "second$n"; done
	wait_until 5 get client "$vip" 3 8081
	[[ $(get client "$vip" 6 8081 | tally) == "second1 2 second2 2 second3 2" ]]
}

@test "the VIP answers ping, to a client, a backend and the host" {
	docker exec client ping -c 1 -W 2 "$(vip web)"
	docker exec web1 ping -c 1 -W 2 "$(vip web)"
	host ping -c 1 -W 2 "$(vip web)"
}

@test "a backend that asks its own VIP reaches all, itself included" {
	for n in 1 2 3; do
		[[ $(get "web$n" "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	done
}

@test "the host reaches the VIP, through the network's sandbox" {
	[[ $(host "$OKHTTPD" get "$(vip web)" 80 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "a task whose own rules are lost is served by the network's sandbox" {
	for c in client web1; do in_task "$c" nft delete table inet fairlead; done
	[[ $(get client "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(get web1 "$(vip web)" 6 | tally) == "web1 2 web2 2 web3 2" ]]
}

@test "the service's name resolves to its VIP, other types are empty" {
	docker exec client nslookup -type=a web | grep -q "Address: $(vip web)\$"
	[[ $(ask client web) == "$(vip web)" ]]
	[[ $(ask client WEB) == "$(vip web)" ]]
	[[ $(ask client web +tcp) == "$(vip web)" ]]
	in_task client dig @127.0.0.11 web AAAA >"$BATS_TEST_TMPDIR/aaaa"
	grep -q 'status: NOERROR' "$BATS_TEST_TMPDIR/aaaa"
	grep -q 'ANSWER: 0' "$BATS_TEST_TMPDIR/aaaa"
	[[ $(ask client -x "$(vip web)") == web. ]]
}

@test "tasks.SERVICE resolves to the backends" {
	[[ $(ask client tasks.web) == "$(for n in 1 2 3; do addr web$n; done | sort)" ]]
	docker stop web2 >/dev/null
	[[ $(ask client tasks.web) == "$(for n in 1 3; do addr web$n; done | sort)" ]]
	docker start web2 >/dev/null
	settled web 'web1=active web2=active web3=active'
}

@test "all other names go to Docker's resolver, and from there to outside" {
	command -v perl >/dev/null || skip "perl is not on this machine"
	machine_spawn "$MACHINE" dns ip netns exec outside "$TESTS_ROOT/tests/engine/outside-dns" 192.0.2.9
	wait_until 5 host dig +time=1 +tries=1 @192.0.2.9 www.example
	[[ $(ask client web2) == "$(addr web2)" ]]
	[[ $(ask client web2 +tcp) == "$(addr web2)" ]]
	[[ $(ask client www.example) == 192.0.2.53 ]]
	docker exec client nslookup -type=a www.example
	[[ $(ask client web) == "$(vip web)" ]]
	in_task client dig @127.0.0.11 nowhere A >"$BATS_TEST_TMPDIR/nowhere"
	grep -q 'status: NXDOMAIN' "$BATS_TEST_TMPDIR/nowhere"
	machine_signal "$MACHINE" dns TERM
	# Nothing of the service was asked outside.
	[[ $(sort -u "$MACHINE_LOG/dns.log") == *nowhere*www.example* ]]
	[[ $(<"$MACHINE_LOG/dns.log") != *web* ]]
}
