# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Docker Engine and a fairlead of a test's own, in a machine (machine.bash).
# In a bats file:
#
#   load engine
#   setup_file()    { engine_start; engine_image; fairlead_start; }
#   teardown_file() { engine_cleanup; }
#   teardown()      { engine_logs_on_failure; }
#
#   engine_start [DOCKERD OPTION...]  starts containerd and dockerd, in a machine
#                       that is named after the bats file if none is current;
#                       sets DOCKER_HOST, so that `docker` talks to it; after
#                       engine_stop or engine_kill it starts again with the same
#                       options (or those given) and data
#   engine_stop / engine_kill    SIGTERM and wait / SIGKILL; containers of an
#                       engine with --live-restore go on
#   engine_restart      stop and start
#   engine_image [NAME] imports the test image (fairlead-test): busybox, okhttpd
#   engine_iptables nft|legacy   which iptables the machine has; before the start
#   fairlead_start [OPTION...]   starts build/release/fairlead (FAIRLEAD: another
#                       program; FAIRLEAD_BALANCER: auto, ipvs, nft), waits for
#                       its two sockets; after stop or kill with the same options
#   fairlead_stop       SIGTERM; fails unless it ends with status 0 in time
#   fairlead_kill       SIGKILL
#   fairlead_restart    stop and start
#   fairlead CMD...     the program's own commands, in the machine
#   plugin_call METHOD [JSON]    posts a request to the plugin socket
#   engine_cleanup      ends the machine with all that is in it
#   engine_logs         the ends of all logs; they lie in build/test-logs/engine
#
# In the machine everything has its default path: /run/docker.sock,
# /run/docker/plugins/fairlead.sock, /run/fairlead, /var/lib/fairlead.

# shellcheck disable=SC2119,SC2120 # options come from the bats files
# shellcheck source=/dev/null
. "$(dirname "${BASH_SOURCE[0]}")/machine.bash"

FAIRLEAD=${FAIRLEAD:-$TESTS_ROOT/build/release/fairlead}
TEST_IMAGE=fairlead-test

# ---- engine -----------------------------------------------------------------

engine_machine() { # the current machine, started if there is none
	local base
	[[ -z ${MACHINE:-} ]] || return 0
	base=$(basename "${BATS_TEST_FILENAME:-$0}")
	machine_start "${base%.*}-${BATS_ROOT_PID:-$$}"
}

# Kept for the next start; without arguments what the last start had.
saved_options() { # saved_options DAEMON [OPTION...]: fills the array options
	local file=$MACHINE_DIR/$1.options
	shift
	if (($# > 0)) || [[ ! -e $file ]]; then
		: >"$file"
		(($# == 0)) || printf '%s\0' "$@" >"$file"
	fi
	mapfile -t -d '' options <"$file"
}

containerd_start() {
	! machine_alive "$MACHINE" containerd || return 0
	printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' \
		>"$MACHINE_DIR/containerd.toml"
	machine_spawn "$MACHINE" containerd containerd --config "$MACHINE_DIR/containerd.toml"
	wait_until 30 host test -S /run/containerd/containerd.sock
}

engine_answers() {
	machine_alive "$MACHINE" dockerd || return 1
	[[ $(curl -s -m 5 --unix-socket "$MACHINE_DIR/docker.sock" http://docker/_ping) == OK ]]
}

engine_start() {
	local options
	engine_machine
	saved_options dockerd "$@"
	containerd_start
	export DOCKER_HOST=unix://$MACHINE_DIR/docker.sock
	machine_spawn "$MACHINE" dockerd dockerd \
		-H unix:///run/docker.sock -H "$DOCKER_HOST" \
		--containerd /run/containerd/containerd.sock \
		--exec-opt native.cgroupdriver=cgroupfs \
		--cgroup-parent "/fairlead-test-$MACHINE" "${options[@]}"
	wait_until 60 engine_came
	engine_answers || { engine_logs; return 1; }
}

# Waiting ends early when dockerd does.
engine_came() { engine_answers || ! machine_alive "$MACHINE" dockerd; }

engine_stop() {
	machine_signal "$MACHINE" dockerd TERM
	machine_ended "$MACHINE" dockerd 60 >/dev/null
}

engine_kill() {
	machine_signal "$MACHINE" dockerd KILL
	machine_ended "$MACHINE" dockerd 10 >/dev/null
}

engine_restart() { engine_stop && engine_start; }

engine_image() {
	local name=${1:-$TEST_IMAGE} tar
	tar=$("$TESTS_ROOT/tests/image.sh")
	docker import -c 'CMD ["okhttpd", "80"]' \
		-c 'ENV PATH=/usr/local/bin:/bin' "$tar" "$name" >/dev/null
}

engine_iptables() { # engine_iptables nft|legacy
	local tool
	engine_machine
	for tool in iptables ip6tables; do
		host ln -sfn "/usr/sbin/$tool-$1" "/etc/alternatives/$tool"
		host ln -sfn "/usr/sbin/$tool-$1-save" "/etc/alternatives/$tool-save"
		host ln -sfn "/usr/sbin/$tool-$1-restore" "/etc/alternatives/$tool-restore"
	done
}

# ---- fairlead ---------------------------------------------------------------

plugin_call() {
	host curl -sS -m 30 --unix-socket /run/docker/plugins/fairlead.sock \
		-X POST -d "${2:-}" "http://plugin/$1"
}

control_get() { # control_get PATH: from the admin socket; fails on an HTTP error
	host curl -sS -f -m 10 --unix-socket /run/fairlead/control.sock "http://fairlead$1"
}

fairlead_answers() {
	machine_alive "$MACHINE" fairlead || return 1
	[[ $(plugin_call Plugin.Activate 2>/dev/null) == *NetworkDriver* ]] &&
		control_get /readyz
}

fairlead_came() { fairlead_answers || ! machine_alive "$MACHINE" fairlead; }

fairlead_start() {
	local options
	[[ -x $FAIRLEAD ]] || { say "no $FAIRLEAD: build it first"; return 1; }
	saved_options fairlead "$@"
	machine_spawn "$MACHINE" fairlead "$FAIRLEAD" serve \
		--state-dir /var/lib/fairlead --run-dir /run/fairlead \
		--plugin-socket /run/docker/plugins/fairlead.sock \
		--control-socket /run/fairlead/control.sock \
		--docker-host unix:///run/docker.sock \
		--balancer "${FAIRLEAD_BALANCER:-auto}" "${options[@]}"
	wait_until 30 fairlead_came
	fairlead_answers >/dev/null || { engine_logs; return 1; }
}

fairlead_stop() {
	local status
	machine_signal "$MACHINE" fairlead TERM
	status=$(machine_ended "$MACHINE" fairlead 30) || return 1
	[[ $status == 0 ]] || { say "fairlead ended with status $status"; engine_logs; return 1; }
}

fairlead_kill() {
	machine_signal "$MACHINE" fairlead KILL
	machine_ended "$MACHINE" fairlead 10 >/dev/null
}

fairlead_restart() { fairlead_stop && fairlead_start; }

fairlead() { host "$FAIRLEAD" "$@"; }

# ---- the end ----------------------------------------------------------------

engine_logs() {
	local log
	for log in "$MACHINE_LOG"/*.log; do
		printf -- '--- end of %s\n' "$log"
		tail -n 15 "$log" | cut -c1-300
	done >&2
}

engine_logs_on_failure() { # in teardown
	[[ -n ${BATS_TEST_COMPLETED:-}${BATS_TEST_SKIPPED:-} ]] || engine_logs
}

# KEEP=1 leaves the machine, until the next test starts one.
engine_cleanup() {
	[[ -n ${MACHINE:-} ]] || return 0
	if [[ -n ${KEEP:-} ]]; then
		say "kept: machine $MACHINE, DOCKER_HOST=$DOCKER_HOST"
		return
	fi
	machine_stop "$MACHINE"
	unset MACHINE DOCKER_HOST
}
