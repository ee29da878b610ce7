# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Machines: hosts made of namespaces, for tests that need a Docker host of their
# own. Each has its own mounts (/run, /var/lib/docker, a writable copy of /etc
# ...), network, processes and host name, and one client outside of it at
# 192.0.2.9. A machine ends, with all that was started in it, by the end of its
# init process, which is known by pid. Nothing of it is seen on the real host
# but its folder $MACHINE_DIR, which both see under the same path.
#
#   machine_start NAME            starts a machine and makes it the current one
#   machine_use NAME              makes another running machine the current one
#   machine_exec NAME CMD...      runs a command in a machine
#   host CMD... / outside CMD...  in the current machine / as its outside client
#   machine_spawn NAME DAEMON CMD...   starts a daemon, its log in $MACHINE_LOG
#   machine_signal NAME DAEMON SIG     sends it a signal
#   machine_alive NAME DAEMON          whether it runs
#   machine_ended NAME DAEMON SECONDS  waits for its end; prints its exit status
#   machine_stop NAME             ends a machine and removes all of it
#   machine_sweep                 ends machines whose test is gone
#   wait_until SECONDS CMD...     polls until the command succeeds, bounded
# Run as a program: machine.bash sweep

MACHINES=/run/fairlead-test
TESTS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '# %s\n' "$*" >&2; }

wait_until() {
	local limit=$1 end
	shift
	end=$((${EPOCHREALTIME/[.,]/} + limit * 1000000))
	until "$@" >/dev/null 2>&1; do
		if ((${EPOCHREALTIME/[.,]/} > end)); then
			say "not within $limit s: $*"
			return 1
		fi
		sleep 0.05
	done
}

# "PID START" names a process for good: a pid alone may be another one later.
process_id() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
	# shellcheck disable=SC2086 # fields are wanted
	set -- "$1" ${stat##*) }
	printf '%s %s\n' "$1" "${21}"
}

process_lives() { # process_lives FILE: holds a "PID START" of a living process
	local pid start
	read -r pid start 2>/dev/null <"$1" && [[ -n $start ]] || return 1
	[[ $(process_id "$pid") == "$pid $start" ]]
}

# Runs a command on its own: no job of this shell, so that a test's `wait` and
# `kill %1` do not mean it, and without what the test runner reads until its end.
# Prints its pid.
detached() { # detached LOG CMD...
	local log=$1
	shift
	(
		(
			local fd
			for fd in "/proc/$BASHPID/fd"/*; do
				fd=${fd##*/}
				((fd < 3)) || eval "exec $fd>&-"
			done
			"$@"
		) </dev/null >>"$log" 2>&1 &
		printf '%s\n' "$!"
	)
}

machine_pid() { # of its init, as the real host sees it
	process_lives "$MACHINES/$1/init" || return 1
	cut -d' ' -f1 "$MACHINES/$1/init"
}

machine_use() {
	export MACHINE=$1 MACHINE_DIR=$MACHINES/$1
	export MACHINE_LOG=$TESTS_ROOT/build/test-logs/engine/$1
}

machine_exec() {
	local pid
	pid=$(machine_pid "$1") || { say "machine $1 does not run"; return 1; }
	shift
	nsenter -t "$pid" --mount --net --uts --ipc --pid -- "$@"
}

host() { machine_exec "$MACHINE" "$@"; }
outside() { host nsenter --net=/run/netns/outside -- "$@"; }

machine_start() {
	local name=$1 holder
	machine_sweep
	[[ ! -e $MACHINES/$name ]] || { say "machine $name is there already"; return 1; }
	machine_use "$name"
	mkdir -p "$MACHINE_DIR" "$MACHINE_LOG"
	process_id "${BATS_ROOT_PID:-$$}" >"$MACHINE_DIR/owner"
	holder=$(detached "$MACHINE_LOG/machine.log" exec unshare --mount \
		--propagation private --net --uts --ipc --pid --fork --kill-child --mount-proc \
		"$TESTS_ROOT/tests/engine/machine-setup" "$name" "$MACHINE_DIR")
	if ! wait_until 20 machine_came "$holder"; then
		cat "$MACHINE_LOG/machine.log" >&2
		kill -KILL "$holder" 2>/dev/null
		machine_stop "$name"
		return 1
	fi
}

# The init process is the only child of its unshare.
machine_came() {
	local init
	[[ -e $MACHINE_DIR/ready ]] || return 1
	read -r init <"/proc/$1/task/$1/children"
	process_id "$init" >"$MACHINE_DIR/init"
}

# Waits for the daemon and keeps its exit status.
machine_run() { # machine_run NAME DAEMON CMD...
	local name=$1 daemon=$2 dir=$MACHINES/$1 rc=0
	shift 2
	# shellcheck disable=SC2016 # for the inner shell
	machine_exec "$name" setsid sh -c 'echo $$ >"$1"; shift; exec "$@"' \
		sh "$dir/$daemon.pid" "$@" || rc=$?
	echo "$rc" >"$dir/$daemon.status"
}

machine_spawn() {
	local name=$1 daemon=$2 dir=$MACHINES/$1
	shift 2
	rm -f "$dir/$daemon".{pid,status}
	detached "$MACHINE_LOG/$daemon.log" machine_run "$name" "$daemon" "$@" >/dev/null
	wait_until 10 test -s "$dir/$daemon.pid"
}

machine_signal() { machine_exec "$1" kill "-$3" "$(cat "$MACHINES/$1/$2.pid")"; }
machine_alive() { [[ -s $MACHINES/$1/$2.pid && ! -s $MACHINES/$1/$2.status ]]; }

machine_ended() {
	wait_until "$3" test -s "$MACHINES/$1/$2.status" && cat "$MACHINES/$1/$2.status"
}

# Groups of a machine's containers, deepest first.
machine_cgroups() { find /sys/fs/cgroup -depth -type d -path "*/fairlead-test-$1*" 2>/dev/null; }

cgroups_removed() { machine_cgroups "$1" | xargs -r rmdir 2>/dev/null; [[ -z $(machine_cgroups "$1") ]]; }

machine_gone() { ! machine_pid "$1"; }

machine_stop() {
	local name=$1 pid
	if pid=$(machine_pid "$name"); then
		kill -KILL "$pid"
		wait_until 20 machine_gone "$name"
	fi
	wait_until 10 cgroups_removed "$name"
	rm -rf "${MACHINES:?}/${name:?}"
	rmdir "$MACHINES" 2>/dev/null || true
}

machine_sweep() {
	local dir
	for dir in "$MACHINES"/*/; do
		if [[ ! -d $dir ]] || process_lives "$dir/owner"; then continue; fi
		say "machine $(basename "$dir") is left over, ending it"
		machine_stop "$(basename "$dir")"
	done
}

if [[ ${BASH_SOURCE[0]} == "$0" && ${1:-} == sweep ]]; then machine_sweep; fi
