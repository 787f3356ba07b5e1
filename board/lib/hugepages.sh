# 2 MiB hugepages for DPDK's memory. Sourced after say.sh.
#
#   hugepages_reserve MIB   raises the reservation to MIB and mounts hugetlbfs when nothing has; sets hugepages_mode to
#                           "huge" or, where the machine cannot, "no-huge" and says so; never fails
#   hugepages_restore       puts back the number that was configured before the first reservation
#
# The number found first is kept in a file until it is restored, so that a run that was killed does not leave the next
# one thinking that its own reservation was the operator's.

_hugepages_pool=/sys/kernel/mm/hugepages/hugepages-2048kB
_hugepages_original=/run/millrace/hugepages.original
hugepages_mode=no-huge

hugepages_reserve() {
	local mib=$1 wanted=$(($1 / 2)) now got
	hugepages_mode=no-huge
	if [[ ! -w $_hugepages_pool/nr_hugepages ]]; then
		_hugepages_refused "this kernel has no 2 MiB hugepages that can be set here"
		return 0
	fi
	now=$(<"$_hugepages_pool/nr_hugepages")
	if ((now < wanted)); then
		mkdir -p "${_hugepages_original%/*}"
		[[ -e $_hugepages_original ]] || echo "$now" >"$_hugepages_original"
		echo "$wanted" 2>/dev/null >"$_hugepages_pool/nr_hugepages" || true
		got=$(<"$_hugepages_pool/nr_hugepages")
		if ((got < wanted)); then
			# Free memory may be there, but in pieces.
			echo 1 >/proc/sys/vm/compact_memory 2>/dev/null || true
			echo "$wanted" 2>/dev/null >"$_hugepages_pool/nr_hugepages" || true
			got=$(<"$_hugepages_pool/nr_hugepages")
		fi
		if ((got < wanted)); then
			hugepages_restore
			_hugepages_refused "the machine can give $((got * 2)) of $mib MiB of hugepages"
			return 0
		fi
	fi
	if ((($(<"$_hugepages_pool/free_hugepages")) < wanted)); then
		warn "of $(<"$_hugepages_pool/nr_hugepages") hugepages $(<"$_hugepages_pool/free_hugepages") are free: another program uses the rest"
	fi
	if ! awk '$3 == "hugetlbfs" { found = 1 } END { exit !found }' /proc/mounts; then
		mkdir -p /dev/hugepages
		if ! mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages; then
			hugepages_restore
			_hugepages_refused "hugetlbfs cannot be mounted"
			return 0
		fi
	fi
	hugepages_mode=huge
	note "$mib MiB of hugepages reserved"
}

_hugepages_refused() {
	warn "$1." "Millrace runs with --no-huge: ordinary 4 KiB pages, slower and not for production." \
		"Reserve them at boot (hugepagesz=2M hugepages=N on the kernel's command line) for real use."
}

hugepages_restore() {
	[[ -e $_hugepages_original ]] || return 0
	cat "$_hugepages_original" >"$_hugepages_pool/nr_hugepages" 2>/dev/null || true
	rm -f "$_hugepages_original"
}
