# SPDX-License-Identifier: GPL-2.0-or-later
# The database: what was answered is kept, whatever happens to the daemon, the disk or
# the file. No engine is needed.

load engine

STATE=/var/lib/fairlead
DB=$STATE/fairlead.db
SOCKET=/run/docker/plugins/fairlead.sock

setup_file() { engine_machine; }
teardown_file() { engine_cleanup; }

# Each test has a state folder of its own on a small disk.
setup() {
	host mount -n -t tmpfs -o size=2m,mode=700 tmpfs "$STATE"
	: >"$MACHINE_LOG/fairlead.log"
}

teardown() {
	engine_logs_on_failure
	if machine_alive "$MACHINE" fairlead; then fairlead_kill; fi
	host umount -n -l "$STATE"
}

# ---- requests ---------------------------------------------------------------------

pool() { # sets POOL
	POOL=$(plugin_call IpamDriver.RequestPool '{"AddressSpace":"fairlead-local",
		"Pool":"10.66.0.0/16","SubPool":"","Options":{},"V6":false}' | jq -re .PoolID)
}

request() { # request [ADDRESS]: the answer
	plugin_call IpamDriver.RequestAddress "{\"PoolID\":\"$POOL\",\"Address\":\"${1:-}\",\"Options\":null}"
}

address() { request "$@" | jq -re .Address | cut -d/ -f1; }
release() { plugin_call IpamDriver.ReleaseAddress "{\"PoolID\":\"$POOL\",\"Address\":\"$1\"}"; }
is_error() { jq -e --arg text "$1" '.Err == .Error and (.Err | contains($text))' >/dev/null; }
is_taken() { request "$1" | is_error "$1 of pool $POOL is taken"; }

# ---- starts that fail ----------------------------------------------------------------

refuses_to_start() { # refuses_to_start TEXT...: ends with status 1, having said all that
	local text
	: >"$MACHINE_LOG/fairlead.log"
	host rm -f "$SOCKET" # of one that was killed
	machine_spawn "$MACHINE" fairlead "$FAIRLEAD" serve --docker-host unix:///run/docker.sock
	[[ $(machine_ended "$MACHINE" fairlead 30) == 1 ]]
	for text; do
		grep -F "error main: " "$MACHINE_LOG/fairlead.log" | grep -qF "$text" ||
			{ echo "not said: $text"; return 1; }
	done
	host test ! -S "$SOCKET"
}

# Of what holds data: not the index of the log, nor an empty log.
sums() { host find "$STATE" -name 'fairlead.db*' -size +0 ! -name '*-shm' -exec sha256sum {} + | sort; }

# A database of some size, all of it in the file, and no daemon.
database() {
	fairlead_start
	pool
	for _ in 1 2 3; do address; done >"$BATS_TEST_TMPDIR/addresses"
	fairlead_stop
	host test ! -e "$DB-wal"
}

kept_copy() { host sh -c "ls $STATE | grep -x 'fairlead\.db\.corrupt-[0-9TZ]*'"; }

# Start, refuse and say so, keep a copy, change nothing; the same again without
# another copy; with the good file back all is as before.
is_refused_and_kept() { # is_refused_and_kept TEXT
	local before copy
	before=$(sums)
	refuses_to_start "$DB" "$1" "corrupt-" "twice"
	copy=$(kept_copy)
	[[ $(wc -l <<<"$copy") == 1 ]]
	host cmp "$DB" "$STATE/$copy"
	[[ $(sums | grep -v corrupt-) == "$before" ]]
	refuses_to_start "$DB" "$copy"
	[[ $(kept_copy) == "$copy" && $(sums | grep -v corrupt-) == "$before" ]]
}

works_with() { # works_with FILE: as the database
	host sh -c "rm -f $DB-wal $DB-shm && cp $1 $DB"
	fairlead_start
	POOL=fairlead-local/10.66.0.0/16
	while read -r a; do is_taken "$a"; done <"$BATS_TEST_TMPDIR/addresses"
	address
}

# ---- SIGKILL ---------------------------------------------------------------------------

kill_rounds() { # kill_rounds ROUNDS COMMAND...
	local rounds=$1 client
	shift
	client=$("$TESTS_ROOT/tests/clients.sh" ipamkill)
	host umount -n "$STATE"
	host mount -n -t tmpfs -o size=64m,mode=700 tmpfs "$STATE"
	host timeout 240 "$client" -r "$rounds" -c 64 ${SEED:+-s "$SEED"} "$SOCKET" "$DB" \
		"$MACHINE_LOG/fairlead.log" "$@" "$FAIRLEAD" serve --docker-host unix:///run/docker.sock |
		tee "$BATS_TEST_TMPDIR/summary"
	grep -q "^rounds $rounds .* faults 0$" "$BATS_TEST_TMPDIR/summary"
}

# SEED=N repeats a run's choices, if not its timing.
@test "SIGKILL at random moments under 64 clients, 200 rounds: no answer is forgotten, none given twice" {
	kill_rounds "${ROUNDS:-200}"
}

@test "the same with a slow disk: no answer leaves before its commit" {
	local slow
	slow=$("$TESTS_ROOT/tests/clients.sh" slowwrite.so)
	kill_rounds "${ROUNDS:-50}" /usr/bin/env "LD_PRELOAD=$slow"
}

# ---- the disk --------------------------------------------------------------------------

fill() { ! host dd if=/dev/zero of="$STATE/filler" bs=4k 2>/dev/null || false; }

until_full() { # requests until there is an error, which it prints
	local answer
	for _ in {1..200}; do
		answer=$(request)
		jq -re '.Address // empty' <<<"$answer" | cut -d/ -f1 >>"$BATS_TEST_TMPDIR/given"
		! grep -q Err <<<"$answer" || { echo "$answer"; return; }
	done
	return 1
}

@test "full disk: requests are refused with the file's name, and work again when there is room" {
	local pid a
	fairlead_start
	pool
	pid=$(<"$MACHINE_DIR/fairlead.pid")
	address >"$BATS_TEST_TMPDIR/given"
	for _ in 1 2 3; do
		fill
		until_full | is_error "database $DB: "
		a=$(head -1 "$BATS_TEST_TMPDIR/given")
		is_taken "$a" # what was given stays, and looking works
		release "$a" | is_error "No space left on device"
		host rm "$STATE/filler"
		address >>"$BATS_TEST_TMPDIR/given"
		[[ $(release "$a") == '{}' ]]
		sed -i "/^$a\$/d" "$BATS_TEST_TMPDIR/given"
	done
	machine_alive "$MACHINE" fairlead
	[[ $(<"$MACHINE_DIR/fairlead.pid") == "$pid" ]]
	[[ -z $(sort "$BATS_TEST_TMPDIR/given" | uniq -d) ]]
	fairlead_kill
	fairlead_start
	[[ $(host sqlite3 -readonly "$DB" 'SELECT count(*) FROM ipam_lease WHERE released = 0') == \
		"$(wc -l <"$BATS_TEST_TMPDIR/given")" ]]
	while read -r a; do is_taken "$a"; done < <(shuf -n 10 "$BATS_TEST_TMPDIR/given")
}

@test "a disk that fails: requests are refused with the file's name, and work again when it does" {
	local shim a b
	shim=$("$TESTS_ROOT/tests/clients.sh" failsync.so)
	machine_spawn "$MACHINE" fairlead env "LD_PRELOAD=$shim" FAILSYNC=/run/failsync \
		"$FAIRLEAD" serve --docker-host unix:///run/docker.sock
	wait_until 30 fairlead_answers
	pool
	a=$(address)
	host touch /run/failsync
	request | is_error "database $DB: COMMIT: disk I/O error"
	release "$a" | is_error "disk I/O error"
	host rm /run/failsync
	is_taken "$a"
	b=$(address)
	[[ $b != "$a" ]]
	[[ $(host sqlite3 -readonly "$DB" 'SELECT count(*) FROM ipam_lease WHERE released = 0') == 2 ]]
	fairlead_kill
	fairlead_start
	is_taken "$a"
	is_taken "$b"
}

@test "full disk at start: refused with the file's name; with room it starts" {
	fill
	refuses_to_start "database $DB: " "No space left on device"
	host rm "$STATE/filler"
	fairlead_start
	pool
	address
}

@test "full disk at a start after SIGKILL: what was answered is not lost" {
	local a
	fairlead_start
	pool
	a=$(address)
	fairlead_kill
	fill
	if ! fairlead_start; then
		grep -F "error main: " "$MACHINE_LOG/fairlead.log" | grep -qF "database $DB: "
		host rm "$STATE/filler"
		fairlead_start
	fi
	is_taken "$a"
}

@test "read-only state folder: refused with the file's name, nothing changed" {
	host mount -n -o remount,ro "$STATE"
	refuses_to_start "database $DB: " "$STATE: Read-only file system"
	host mount -n -o remount,rw "$STATE"
	database
	before=$(sums)
	host mount -n -o remount,ro "$STATE"
	refuses_to_start "database $DB: " "$STATE: Read-only file system"
	[[ $(sums) == "$before" ]]
	host mount -n -o remount,rw "$STATE"
	fairlead_start
	POOL=fairlead-local/10.66.0.0/16
	while read -r a; do is_taken "$a"; done <"$BATS_TEST_TMPDIR/addresses"
}

# ---- the file --------------------------------------------------------------------------

@test "a database of rubbish, cut off, or with a page of rubbish: refused, and a copy is kept" {
	database
	host cp "$DB" /run/good.db
	host sh -c "head -c 20000 /dev/urandom >$DB"
	is_refused_and_kept "not a database"
	works_with /run/good.db
	fairlead_stop

	host rm "$STATE/$(kept_copy)"
	host truncate -s 9000 "$DB"
	is_refused_and_kept "malformed"
	works_with /run/good.db
	fairlead_stop

	host rm "$STATE/$(kept_copy)"
	host sh -c "tr '\0' Z </dev/zero | dd of=$DB bs=4096 seek=2 count=1 iflag=fullblock conv=notrunc"
	is_refused_and_kept "in database main"
	works_with /run/good.db
}

@test "a damaged file and a log of changes: the log is kept, too" {
	database
	fairlead_start
	POOL=fairlead-local/10.66.0.0/16
	address
	fairlead_kill
	host test -s "$DB-wal"
	# A page that the log does not hold.
	host sh -c "tr '\0' Z </dev/zero | dd of=$DB bs=4096 seek=2 count=1 iflag=fullblock conv=notrunc"
	before=$(sums)
	refuses_to_start "$DB" "is damaged" "corrupt-"
	[[ $(sums | grep -v corrupt-) == "$before" ]]
	host cmp "$DB-wal" "$STATE/$(kept_copy)-wal"
}

@test "only the log of changes is left: refused, nothing thrown away" {
	fairlead_start
	pool
	a=$(address)
	fairlead_kill
	host mv "$DB" /run/moved.db
	refuses_to_start "$DB" "is missing" "$DB-wal"
	host test -s "$DB-wal"
	host touch "$DB"
	refuses_to_start "$DB" "is empty" "$DB-wal"
	host test -s "$DB-wal"
	host mv /run/moved.db "$DB"
	fairlead_start
	is_taken "$a"
}

@test "a database of a newer fairlead: refused, nothing changed, no copy" {
	database
	host sqlite3 "$DB" "UPDATE schema_version SET version = version + 100 WHERE name = 'ipam'"
	before=$(sums)
	refuses_to_start "database $DB is of a newer fairlead" "tables of ipam"
	[[ $(sums) == "$before" ]]
	host sqlite3 "$DB" "UPDATE schema_version SET version = version - 100 WHERE name = 'ipam'"
	fairlead_start
	POOL=fairlead-local/10.66.0.0/16
	while read -r a; do is_taken "$a"; done <"$BATS_TEST_TMPDIR/addresses"
}

@test "rows that make no sense: refused with the file's name, nothing changed" {
	database
	host sqlite3 "$DB" "UPDATE ipam_lease SET pool = 4711 WHERE hex(addr) = '0A420002'"
	before=$(sums)
	refuses_to_start "$DB: " "lease 10.66.0.2 is of no pool"
	[[ $(sums) == "$before" ]]
}
