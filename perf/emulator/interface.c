/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The emulator's interfaces; see interface.h. */
#include "perf/emulator/interface.h"

#include "dataplane/net/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void interface_die(const char *what, const char *name)
{
	fprintf(stderr, "emulator: %s: %s: %s\n", name, what, strerror(errno));
	exit(1);
}

static int open_tap(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	if (fd < 0)
		interface_die("/dev/net/tun", name);
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &request) != 0)
		interface_die("cannot make the TAP device", name);
	return fd;
}

static int open_packet(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL)};
	struct packet_mreq promiscuous = {.mr_type = PACKET_MR_PROMISC};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	struct ifreq request = {0};
	int one = 1, room = 8 << 20;

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) != 0)
		interface_die("no such interface", name);
	address.sll_ifindex = request.ifr_ifindex;
	promiscuous.mr_ifindex = request.ifr_ifindex;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) != 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) !=
		    0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		interface_die("cannot capture", name);
	return fd;
}

/* A socket that carries one frame a message: SOCK_SEQPACKET, made by whoever started us. */
static int adopt(const char *name)
{
	int fd = atoi(name), room = 8 << 20;

	if (fd <= 2 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		interface_die("not an open descriptor", name);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return fd;
}

static int enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		interface_die("cannot enter the network namespace", path);
	return fd;
}

void interface_open(struct interface *it, const char *text)
{
	char *name = strdup(text);
	char *netns = name != NULL ? strchr(name, '@') : NULL;
	int home = -1, there = -1;

	if (name == NULL)
		interface_die("no memory", text);
	*it = (struct interface){.name = name};
	if (netns != NULL) {
		*netns++ = '\0';
		home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		there = enter(netns);
	}
	if (strncmp(name, "tap:", 4) == 0) {
		it->fd = open_tap(name + 4);
	} else if (strncmp(name, "fd:", 3) == 0) {
		it->fd = adopt(name + 3);
	} else {
		it->packet_socket = true;
		it->fd = open_packet(name);
	}
	if (there >= 0) {
		if (setns(home, CLONE_NEWNET) != 0)
			interface_die("cannot return from the network namespace", netns);
		close(home);
		close(there);
	}
}

void interface_close(struct interface *it)
{
	close(it->fd);
	free(it->name);
}

/* What the peer's kernel left to its hardware. */
static void finish_checksum(uint8_t *frame, size_t size, const struct virtio_net_hdr *header)
{
	size_t start = header->csum_start, field = start + header->csum_offset;

	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 || start >= size || field + 2 > size)
		return;
	/* The field holds the sum of the pseudo-header. */
	checksum_store(frame + field, checksum_add(0, frame + start, size - start));
}

ssize_t interface_receive(struct interface *it, uint8_t *frame)
{
	struct virtio_net_hdr header;
	struct sockaddr_ll from;
	struct iovec parts[2] = {{&header, sizeof(header)}, {frame, INTERFACE_ROOM}};
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = parts, .msg_iovlen = 2};
	ssize_t size;

	if (!it->packet_socket) {
		size = read(it->fd, frame, FRAME_MAX);
		return size > 0 ? size : 0;
	}
	size = recvmsg(it->fd, &message, 0);
	if (size <= (ssize_t)sizeof(header))
		return 0;
	size -= (ssize_t)sizeof(header);
	if (from.sll_pkttype == PACKET_OUTGOING)
		return -1;
	if (size > (ssize_t)FRAME_MAX || header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		if (it->oversized++ == 0)
			fprintf(stderr,
				"emulator: %s: segments of %zd bytes; switch TSO and GSO "
				"off on its peer\n",
				it->name, size);
		return -1;
	}
	finish_checksum(frame, (size_t)size, &header);
	return size;
}

void interface_transmit(struct interface *it, uint8_t *frame, size_t size)
{
	struct virtio_net_hdr header = {0};
	struct iovec parts[2] = {{&header, sizeof(header)}, {frame, size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent =
		it->packet_socket ? sendmsg(it->fd, &message, 0) : write(it->fd, frame, size);

	if (sent < 0)
		it->refused++;
}
