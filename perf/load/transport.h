/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the generator and the sink stand on: byte streams that can turn to TLS, either over our own
 * stack and a DPDK port (transport_dpdk.c) or over kernel sockets (transport_kernel.c), so that the
 * relay and its peers are measured by the same program. One thread turns everything.
 */
#ifndef MILLRACE_PERF_LOAD_TRANSPORT_H
#define MILLRACE_PERF_LOAD_TRANSPORT_H

#include "dataplane/net/address.h"
#include "drivers/clock.h"
#include "tls/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

struct link_callbacks {
	void (*on_connected)(void *user);
	/** @return how many were taken; the rest is offered again with what comes next */
	size_t (*on_receive)(void *user, const uint8_t *data, size_t size);
	void (*on_tls)(void *user);
	/** There is room again (after link_want_room). */
	void (*on_room)(void *user);
	/** The last call. @param in_order the peer closed after we did, or cleanly */
	void (*on_closed)(void *user, bool in_order);
};

struct transport_operations {
	struct link *(*connect)(void *transport, const struct link_callbacks *callbacks,
				void *user);
	int (*listen)(void *transport, uint16_t port,
		      bool (*accept)(void *context, struct link *link,
				     const struct link_callbacks **callbacks, void **user),
		      void *context);
	bool (*turn)(void *transport, const struct mr_now *now);
	/** Sleep until something may have happened. */
	void (*wait)(void *transport, uint64_t us);
	int (*write)(struct link *link, const void *data, size_t size);
	void (*want_room)(struct link *link);
	size_t (*queued)(struct link *link);
	int (*start_tls)(struct link *link, struct tls_context *context);
	void (*close)(struct link *link);
	void (*abort)(struct link *link);
};

/** Every link begins with this. */
struct link {
	const struct transport_operations *operations;
};

struct transport {
	const struct transport_operations *operations;
	void *state;
};

static inline int link_write(struct link *link, const void *data, size_t size)
{
	return link->operations->write(link, data, size);
}

/** @param context its role decides the role */
static inline int link_start_tls(struct link *link, struct tls_context *context)
{
	return link->operations->start_tls(link, context);
}

static inline size_t link_queued(struct link *link)
{
	return link->operations->queued(link);
}

static inline void link_want_room(struct link *link)
{
	link->operations->want_room(link);
}

static inline void link_close(struct link *link)
{
	link->operations->close(link);
}

struct transport_dpdk_settings {
	const char *device; /**< DPDK's device string, as given to the environment */
	struct ip_address own;
	uint8_t prefix_length;	   /**< of the address's family */
	struct ip_address gateway; /**< unspecified: none */
	struct ip_address target;
	uint16_t target_port;
	uint16_t queues; /**< as many as the other side has workers */
	uint16_t index;	 /**< of this transport in the process */
	uint32_t connections;
	bool spread; /**< do not imitate the NIC's steering: any queue */
};

/** Ports need nic_environment_start first. @param error 256 bytes @return 0 or negative errno */
int transport_dpdk_open(struct transport *transport, const struct transport_dpdk_settings *settings,
			char *error);

struct transport_kernel_settings {
	const char *network_namespace; /**< path or name; NULL: the process's own */
	struct ip_address own;	       /**< unspecified: any */
	struct ip_address target;
	uint16_t target_port;
};
int transport_kernel_open(struct transport *transport,
			  const struct transport_kernel_settings *settings, char *error);

#endif
