# Debian packages by name, from board/packages. Sourced after say.sh; needs $repo.
#
#   packages_in SECTION...       prints their names
#   packages_install SECTION...  installs what is missing, without starting or enabling any service
#   packages_unpack DIR          fetches the [peers] and unpacks them under DIR, one directory each

packages_in() {
	awk -v wanted=" $* " '
		/^[[:space:]]*(#|$)/ { next }
		/^\[.*\]$/ { section = substr($0, 2, length($0) - 2); next }
		index(wanted, " " section " ") { print $1 }' "$repo/board/packages"
}

_packages_missing() {
	local name
	for name in "$@"; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
	done
}

_apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold "$@"
}

packages_install() {
	local names missing policy=/usr/sbin/policy-rc.d wrote_policy=0 status=0
	mapfile -t names < <(packages_in "$@")
	mapfile -t missing < <(_packages_missing "${names[@]}")
	if ((${#missing[@]} == 0)); then
		note "all ${#names[@]} Debian packages are installed"
		return 0
	fi
	((EUID == 0)) || die "installing packages needs root" "missing: ${missing[*]}"

	say "Debian packages: installing ${#missing[@]} of ${#names[@]}: ${missing[*]}"
	logged "$repo/build/log/apt-update.log" _apt update || warn "apt-get update failed; trying with the lists at hand"

	# Mail and DNS servers are used with configurations of our own; Debian's must not start, now or at boot.
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		wrote_policy=1
	fi
	if [[ " ${missing[*]} " == *' postfix '* ]]; then
		echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
	fi
	logged "$repo/build/log/apt-install.log" _apt install -y --no-install-recommends "${missing[@]}" || status=$?
	((wrote_policy)) && rm -f "$policy"
	((status == 0)) || die "apt-get install failed" "packages: ${missing[*]}" \
		"the whole output is in build/log/apt-install.log"

	local service
	for service in postfix nsd; do
		[[ " ${missing[*]} " == *" $service "* ]] || continue
		systemctl disable "$service" >/dev/null 2>&1 || true
	done
	mapfile -t missing < <(_packages_missing "${names[@]}")
	((${#missing[@]} == 0)) || die "still missing after the installation: ${missing[*]}"
}

packages_unpack() {
	local into=$1 name
	while read -r name; do
		[[ -e $into/$name/.unpacked ]] && continue
		say "unpacking $name beside the system (it conflicts with installed packages)"
		rm -rf "${into:?}/$name"
		mkdir -p "$into/$name"
		# A world-readable directory for APT's unprivileged fetcher; it warns and goes on otherwise.
		(cd "$into/$name" && logged "$repo/build/log/fetch-$name.log" apt-get download "$name") ||
			(logged "$repo/build/log/apt-update.log" _apt update &&
				cd "$into/$name" && logged "$repo/build/log/fetch-$name.log" apt-get download "$name") ||
			die "cannot fetch $name"
		dpkg -x "$into/$name"/*.deb "$into/$name"
		rm -f "$into/$name"/*.deb
		touch "$into/$name/.unpacked"
	done < <(packages_in peers)
}
