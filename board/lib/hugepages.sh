# 2 MiB hugepages for DPDK's memory. Sourced after say.sh.
#
#   hugepages_reserve MIB   raises the reservation to MIB and mounts hugetlbfs when nothing has; sets hugepages_mode to
#                           "huge" or, where the machine cannot, "no-huge" and says so; never fails
#   hugepages_restore       gives back what the reservation of this process (or of its parent by exec) added
#
# Each process that adds pages notes how many in a file of its own, named by its pid, so that two runs side by side do
# not take each other's, and what a killed run left is given back by the next one.

_hugepages_pool=/sys/kernel/mm/hugepages/hugepages-2048kB
_hugepages_shares=/run/millrace/hugepages
hugepages_mode=no-huge

hugepages_reserve() {
	local mib=$1 wanted=$(($1 / 2)) share missing
	hugepages_mode=no-huge
	if [[ ! -w $_hugepages_pool/nr_hugepages ]]; then
		_hugepages_refused "this kernel has no 2 MiB hugepages that can be set here"
		return 0
	fi
	export HUGEPAGES_OWNER=$$
	mkdir -p "$_hugepages_shares"
	for share in "$_hugepages_shares"/*; do
		[[ -e $share && ! -d /proc/${share##*/} ]] && _hugepages_give_back "$share"
	done
	_hugepages_add "$wanted"
	if (($(<"$_hugepages_pool/free_hugepages") < wanted)); then
		# Free memory may be there, but in pieces.
		echo 1 >/proc/sys/vm/compact_memory 2>/dev/null || true
		_hugepages_add "$wanted"
	fi
	missing=$((wanted - $(<"$_hugepages_pool/free_hugepages")))
	if ((missing > 0)); then
		hugepages_restore
		_hugepages_refused "of $mib MiB of hugepages $((missing * 2)) MiB cannot be had"
		return 0
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

# _hugepages_add WANTED: makes that many free, as far as the machine can, and notes what it added.
_hugepages_add() {
	local before free share=$_hugepages_shares/$HUGEPAGES_OWNER
	before=$(<"$_hugepages_pool/nr_hugepages")
	free=$(<"$_hugepages_pool/free_hugepages")
	((free < $1)) || return 0
	echo $((before + $1 - free)) 2>/dev/null >"$_hugepages_pool/nr_hugepages" || true
	echo $(($(cat "$share" 2>/dev/null || echo 0) + $(<"$_hugepages_pool/nr_hugepages") - before)) >"$share"
}

_hugepages_give_back() {
	local now
	now=$(<"$_hugepages_pool/nr_hugepages")
	echo $((now > $(<"$1") ? now - $(<"$1") : 0)) 2>/dev/null >"$_hugepages_pool/nr_hugepages" || true
	rm -f "$1"
}

_hugepages_refused() {
	warn "$1." "Millrace runs with --no-huge: ordinary 4 KiB pages, slower and not for production." \
		"Reserve them at boot (hugepagesz=2M hugepages=N on the kernel's command line) for real use."
}

hugepages_restore() {
	local share=$_hugepages_shares/${HUGEPAGES_OWNER:-$$}
	[[ ! -e $share ]] || _hugepages_give_back "$share"
}
