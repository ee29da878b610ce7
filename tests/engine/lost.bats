# SPDX-License-Identifier: GPL-2.0-or-later
# What fairlead could not hear, or not write down: it finds out later, and no traffic
# goes to what is gone.

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
	host sh -c 'rm -f /var/lib/fairlead/fill; mount -o remount,size=50% /var/lib/fairlead'
	fairlead_answers >/dev/null || fairlead_start
	clean_up
}

joined() { # joined COUNT: endpoints that the database says have joined
	[[ $(host sqlite3 /var/lib/fairlead/fairlead.db \
		"select count(*) from endpoint where sandbox_key != ''") == "$1" ]]
}

only_web1() {
	vip=$(vip web)
	[[ $(get client "$vip" 20 | tally) == "web1 20" ]]
}

@test "containers that ended while fairlead was down, and Docker gave up: no traffic" {
	three -p 8080:80
	fairlead_kill
	for n in 2 3; do
		{ if ((n == 2)); then docker stop -t 1 web2; else docker rm -f web3; fi } >/dev/null 3>&- &
	done
	wait
	fairlead_start
	wait_until 2 are_states web 'web1=active'
	only_web1
	[[ $(outside "$OKHTTPD" get 192.0.2.1 8080 20 | tally) == "web1 20" ]]
	joined 2 # and client
	docker start web2 >/dev/null
	settled web 'web1=active web2=active'
	[[ $(get client "$(vip web)" 4 | tally) == "web1 2 web2 2" ]]
}

@test "containers that ended while the database was full: found as soon as it works" {
	three
	host sh -c 'mount -o remount,size=2m /var/lib/fairlead
		dd if=/dev/zero of=/var/lib/fairlead/fill bs=4k 2>/dev/null; true'
	docker rm -f web3 >/dev/null
	docker kill web2 >/dev/null
	grep -q 'asking the engine again' "$MACHINE_LOG/fairlead.log"
	host rm /var/lib/fairlead/fill
	wait_until 10 are_states web 'web1=active'
	only_web1
	joined 2
	replica web4 web
	settled web 'web1=active web4=active'
}

@test "a container that is started while fairlead learns what runs gets its traffic" {
	three
	fairlead_kill
	for n in 4 5 6; do
		(replica "web$n" web || replica "again$n" web) 2>/dev/null 3>&- &
	done
	fairlead_start
	wait
	docker ps --format '{{.Names}}=active' | grep -v client | sort | paste -sd' ' >"$BATS_TEST_TMPDIR/run"
	settled web "$(<"$BATS_TEST_TMPDIR/run")"
}

@test "all file descriptors that may be had are used" {
	fairlead_stop
	(ulimit -Sn 64 && fairlead_start)
	pid=$(<"$MACHINE_DIR/fairlead.pid")
	read -r soft hard < <(host prlimit --raw --noheadings -o SOFT,HARD --nofile --pid "$pid")
	((soft == hard && soft > 64))
	fairlead_stop
}
