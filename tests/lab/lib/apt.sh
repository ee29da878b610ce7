# shellcheck shell=bash disable=SC2016
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian packages of any suite, fetched with apt into a state directory of the
# lab's own: nothing is installed on this machine, and the mirror, proxy and
# trust settings are those of the machine's own apt.

# Prints the mirror's address: of the main archive, or (-security) of the
# security archive, as this machine's apt knows it.
apt_mirror() {
	local want=$1
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' |
		awk -v sec="$want" '$1 == "Debian" && (($2 ~ /-security$/) == (sec == "-security")) { print $3; exit }'
}

# apt_setup SUITE [NAME]: makes apt state NAME (default SUITE) for a suite.
apt_setup() {
	local suite=$1 d=$LAB_CACHE/apt/$1 main sec
	main=$(apt_mirror main)
	[[ -n $main ]] || die "this machine's apt knows no Debian mirror (apt-get update first?)"
	mkdir -p "$d"/{state/lists/partial,cache/archives/partial,parts,log}
	: >"$d/status"
	printf 'deb %s %s main\n' "$main" "$suite" >"$d/sources.list"
	sec=$(apt_mirror -security)
	if [[ $suite != sid && -n $sec ]]; then
		printf 'deb %s %s-security main\n' "$sec" "$suite" >>"$d/sources.list"
	fi
	# The machine's own Acquire settings (proxy, retries ...), none of its hooks.
	{
		apt-config dump Acquire | grep -v '^Acquire::IndexTargets'
		cat <<-CONF
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "$d/parts";
			Dir::Etc::sourcelist "$d/sources.list";
			Dir::Etc::sourceparts "/dev/null";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "/dev/null";
			Dir::State "$d/state";
			Dir::State::status "$d/status";
			Dir::Cache "$d/cache";
			Dir::Log "$d/log";
			APT::Architecture "amd64";
			APT::Architectures { "amd64"; };
			APT::Install-Recommends "false";
			APT::Sandbox::User "root";
			APT::Get::Assume-Yes "true";
			quiet "1";
		CONF
	} >"$d/apt.conf"
}

# apt_in SUITE CMD...: an apt command within a suite's state.
apt_in() {
	local suite=$1
	shift
	APT_CONFIG=$LAB_CACHE/apt/$suite/apt.conf "$@"
}

# Reads the suite's package lists, at most twice a day (LAB_REFRESH=1: now).
apt_update() {
	local suite=$1 log=$LAB_CACHE/apt/$1/update.log stamp=$LAB_CACHE/apt/$1/updated
	if [[ -z ${LAB_REFRESH:-} && -n $(find "$stamp" -mmin -720 2>/dev/null) ]]; then return; fi
	rm -f "$stamp"
	apt_setup "$suite"
	if ! apt_in "$suite" apt-get update >"$log" 2>&1 || grep -q '^[EW]:' "$log"; then
		# A suite may have lost its security archive: go on with the main one.
		sed -i '/-security main$/d' "$LAB_CACHE/apt/$suite/sources.list"
		apt_in "$suite" apt-get update >"$log" 2>&1 ||
			{ tail -n 5 "$log" >&2; die "apt cannot read suite $suite"; }
	fi
	touch "$stamp"
}

# apt_known SUITE PKG...: those of the packages that the suite has.
apt_known() {
	local suite=$1
	shift
	apt_in "$suite" apt-cache policy "$@" |
		awk '/^[^ ]/ { sub(":$", ""); name = $1 } /Candidate: [^(]/ { print name }'
}

# apt_closure SUITE PKG...: downloads the packages and all that they depend on.
# Prints the paths of the .deb files.
apt_closure() {
	local suite=$1 d=$LAB_CACHE/apt/$1 log=$LAB_CACHE/apt/$1/download.log
	shift
	apt_in "$suite" apt-get install --download-only "$@" >"$log" 2>&1 ||
		{ tail -n 15 "$log" >&2; die "apt cannot fetch from $suite: $*"; }
	# Seen from an empty archive folder, every package of the closure is listed.
	mkdir -p "$d/none/partial"
	apt_in "$suite" apt-get install --print-uris -o "Dir::Cache::archives=$d/none/" "$@" 2>>"$log" |
		awk -v at="$d/cache/archives/" -v q="'" 'substr($0, 1, 1) == q { print at $2 }'
}

# deb_version SUITE PKG: the version that apt would take.
deb_version() { apt_in "$1" apt-cache policy "$2" | awk '/Candidate:/ { print $2 }'; }
