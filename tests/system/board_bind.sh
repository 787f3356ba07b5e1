#!/usr/bin/env bash
# board/bind against a sysfs of our own: what it refuses, why, and what it would do.
# timeout: 30
set -u
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sys=$TEST_DIR/sys
export BIND_SYSFS=$sys
count=0 failed=0

# device PCI CLASS DRIVER [GROUP]
device() {
	local path=$sys/bus/pci/devices/$1
	mkdir -p "$path" "$sys/bus/pci/drivers/$3"
	echo "$2" >"$path/class"
	: >"$path/driver_override"
	[[ $3 == none ]] || ln -s "../../drivers/$3" "$path/driver"
	if [[ -n ${4:-} ]]; then
		mkdir -p "$sys/kernel/iommu_groups/$4/devices/$1"
		ln -s "../../../../kernel/iommu_groups/$4" "$path/iommu_group"
	fi
}

# expect TEXT STATUS PATTERN ARGUMENT...
expect() {
	local text=$1 status=$2 pattern=$3 got
	shift 3
	got=$("$repo/board/bind" "$@" 2>&1)
	local was=$?
	count=$((count + 1))
	if [[ $was == "$status" && $got =~ $pattern ]]; then
		echo "ok $count - $text"
	else
		failed=$((failed + 1))
		echo "not ok $count - $text"
		printf '%s\n' "status $was:" "$got" | sed 's/^/# /'
	fi
}

device 0000:01:00.0 0x020000 ixgbe 1
device 0000:02:00.0 0x020000 ixgbe 2
device 0000:02:00.1 0x020000 ixgbe 2
device 0000:03:00.0 0x010802 nvme 3
device 0000:04:00.0 0x020000 mlx5_core 4
device 0000:05:00.0 0x020000 virtio-pci
mkdir -p "$sys/bus/pci/devices/0000:05:00.0/virtio3/net/lo0"
device 0000:06:00.0 0x020000 vfio-pci 6
device 0000:07:00.0 0x020000 ixgbe 7
mkdir -p "$sys/bus/pci/devices/0000:07:00.0/net/lo0"
# `ip` as it would speak of a port in use.
mkdir -p "$TEST_DIR/bin"
cat >"$TEST_DIR/bin/ip" <<'IP'
#!/bin/sh
case "$*" in
*addr*lo0*) echo "2: lo0    inet 192.0.2.77/24 scope global lo0" ;;
esac
IP
chmod +x "$TEST_DIR/bin/ip"
PATH=$TEST_DIR/bin:$PATH

expect "a free port is bound" 0 'dry run.*take it from ixgbe.*reserve it for vfio-pci.*give it to vfio-pci.*device "0000:01:00.0"' --dry-run 0000:01:00.0
expect "a dry run changes nothing" 0 'ixgbe' --status
expect "what is no PCI address is refused" 1 "not a PCI address" --dry-run eth0
expect "a device that is not there is refused" 1 "no PCI device 0000:99:00.0" --dry-run 0000:99:00.0
expect "a disk is refused" 1 "no network device" --dry-run 0000:03:00.0
expect "a port that shares its IOMMU group is refused" 1 "shares its IOMMU group with 0000:02:00.1" --dry-run 0000:02:00.0
expect "both ports of a group are bound together" 0 "0000:02:00.1: give it" --dry-run 0000:02:00.0 0000:02:00.1
expect "a Mellanox port stays with its driver" 1 "works beside this driver" --dry-run 0000:04:00.0
expect "without an IOMMU it says what to do" 1 "behind no IOMMU.*uio_pci_generic" --dry-run --force 0000:05:00.0
expect "a virtio port that the kernel uses is refused" 1 "lo0. is in use" --dry-run --driver uio_pci_generic 0000:05:00.0
expect "uio needs no IOMMU" 0 "give it to uio_pci_generic" --dry-run --force --driver uio_pci_generic 0000:05:00.0
expect "a port that is bound stays so" 0 "is with vfio-pci already" --dry-run 0000:06:00.0
expect "a port that the kernel uses is refused" 1 "lo0. is in use: it has the address 192.0.2.77/24" --dry-run 0000:07:00.0
expect "unless it is forced" 0 "take it from ixgbe" --dry-run --force 0000:07:00.0
expect "a bound port is released" 0 "let the kernel choose" --dry-run --release 0000:06:00.0
expect "a port of the kernel's is not released" 0 "with the kernel already .ixgbe" --dry-run --release 0000:01:00.0
expect "an unknown driver is refused" 1 "unknown driver 'igb_uio'" --driver igb_uio 0000:01:00.0
expect "no port is an error" 1 "no PCI address given" --dry-run
echo "1..$count"
exit $((failed > 0))
