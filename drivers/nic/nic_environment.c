/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EAL of the process, its threads and its packet pools. See nic.h. */
#include "drivers/nic/nic.h"

#include <errno.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_version.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define ARGUMENT_TEXT 320

struct arguments {
	int count;
	char text[ARGUMENTS_MAX][ARGUMENT_TEXT];
	char *pointers[ARGUMENTS_MAX + 1];
};

static void add(struct arguments *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct arguments *a, const char *format, ...)
{
	va_list list;

	if (a->count == ARGUMENTS_MAX)
		return;
	va_start(list, format);
	vsnprintf(a->text[a->count], ARGUMENT_TEXT, format, list);
	va_end(list);
	a->pointers[a->count] = a->text[a->count];
	a->pointers[++a->count] = NULL;
}

/* 0000:03:00.0, 03:00.0 or a name behind "pci:" is hardware; anything else is one of DPDK's virtual
 * devices. */
static bool is_pci(const char *device)
{
	unsigned a, b, c, d;
	char rest;

	return sscanf(device, "%x:%x:%x.%x%c", &a, &b, &c, &d, &rest) == 4 ||
	       sscanf(device, "%x:%x.%x%c", &a, &b, &c, &rest) == 3;
}

static struct arguments eal_arguments; /* EAL keeps pointers into its argv */
static bool started;

int nic_environment_start(const struct nic_environment *environment, char *error)
{
	struct arguments *a = &eal_arguments;
	bool any_pci = false;

	add(a, "%s", environment->program);
	if (environment->hugepages) {
		add(a, "--in-memory");
		add(a, "--single-file-segments");
	} else {
		add(a, "--no-huge");
		add(a, "--no-shconf");
	}
	add(a, "-m");
	add(a, "%u", environment->memory_mib);
	/* The main lcore is never a worker: EAL's own threads live there (it floats over all
	 * allowed CPUs). */
	add(a, "--lcores=0@(0-%ld)", sysconf(_SC_NPROCESSORS_CONF) - 1);
	add(a, "--file-prefix=%s", environment->file_prefix);
	add(a, "--no-telemetry");
	add(a, "--log-level=%s", environment->verbose ? "lib.eal:info" : "*:warning");
	for (unsigned i = 0; i < environment->device_count; i++) {
		if (is_pci(environment->devices[i])) {
			add(a, "--allow=%s", environment->devices[i]);
			any_pci = true;
		} else {
			add(a, "--vdev=%s", environment->devices[i]);
		}
	}
	if (!any_pci)
		add(a, "--no-pci");
	if (a->count == ARGUMENTS_MAX) {
		snprintf(error, NIC_ERROR_TEXT, "too many devices");
		return -E2BIG;
	}
	if (rte_eal_init(a->count, a->pointers) < 0) {
		int code = rte_errno ? rte_errno : EIO;

		snprintf(
			error, NIC_ERROR_TEXT,
			"DPDK did not start: %s (%s, %u MiB; is a device already in use, or are there too few hugepages?)",
			rte_strerror(code), environment->hugepages ? "hugepages" : "no hugepages",
			environment->memory_mib);
		return -code;
	}
	started = true;
	return 0;
}

const char *nic_library_version(void)
{
	return rte_version();
}

void nic_environment_stop(void)
{
	if (started)
		rte_eal_cleanup();
	started = false;
}

struct rte_mempool *nic_pool_create(unsigned worker, unsigned count, uint16_t private_size,
				    char *error)
{
	char name[32];
	struct rte_mempool *pool;

	snprintf(name, sizeof(name), "frames_%u", worker);
	pool = rte_pktmbuf_pool_create(name, count, 256,
				       RTE_ALIGN(private_size, RTE_MBUF_PRIV_ALIGN),
				       RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!pool)
		snprintf(error, NIC_ERROR_TEXT, "no memory for %u packet buffers of worker %u: %s",
			 count, worker, rte_strerror(rte_errno));
	return pool;
}

struct rte_mempool *nic_large_pool_create(unsigned worker, unsigned count, uint16_t private_size,
					  uint16_t data_size, char *error)
{
	char name[32];
	struct rte_mempool *pool;

	snprintf(name, sizeof(name), "large_%u", worker);
	pool = rte_pktmbuf_pool_create(name, count, 32,
				       RTE_ALIGN(private_size, RTE_MBUF_PRIV_ALIGN),
				       (uint16_t)(RTE_PKTMBUF_HEADROOM + data_size), SOCKET_ID_ANY);
	if (!pool)
		snprintf(error, NIC_ERROR_TEXT, "no memory for %u large buffers of worker %u: %s",
			 count, worker, rte_strerror(rte_errno));
	return pool;
}

int nic_thread_register(void)
{
	return rte_thread_register() == 0 ? 0 : -rte_errno;
}

void nic_thread_unregister(void)
{
	rte_thread_unregister();
}
