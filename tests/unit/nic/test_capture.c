/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A capture over a port without hardware (net_null gives packets for ever and takes all): it lasts
 * longer than its buffers, and what one began with no other gets. */
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#undef US_PER_S /* DPDK's is 32 bits wide; ours comes with drivers/clock.h */

#include "drivers/nic/capture.h"
#include "drivers/nic/steering.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEVICE "net_null0"
#define BURST  32
#define BURSTS 1000 /* many more packets than a capture has buffers */

static struct nic_port *port;
static struct rte_mempool *pool;

static int start(void **state)
{
	static const char *const devices[] = {DEVICE};
	static uint16_t owner_of_slot[NIC_STEERING_SLOTS];
	struct nic_environment environment = {
		.program = "test_capture",
		.memory_mib = 64,
		.file_prefix = "capture-test",
		.device_count = 1,
		.devices = devices,
	};
	char error[NIC_ERROR_TEXT];

	(void)state;
	if (nic_environment_start(&environment, error) < 0) {
		print_error("%s\n", error);
		return -1;
	}
	pool = nic_pool_create(0, 1023, 0, error);
	struct nic_port_settings settings = {
		.name = "null",
		.device = DEVICE,
		.queues = 1,
		.pools = &pool,
		.mtu = 1500,
		.rx_descriptors = 64,
		.tx_descriptors = 64,
		.owner_of_slot = owner_of_slot,
	};

	port = pool ? nic_port_open(&settings, error) : NULL;
	if (!port)
		print_error("%s\n", error);
	return port ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	nic_port_close(port);
	nic_environment_stop();
	return 0;
}

static int written = -1; /* the file of the capture that was opened last */

static struct nic_capture *open_capture(void)
{
	char error[NIC_ERROR_TEXT] = "", name[] = "/tmp/capture-XXXXXX";
	struct nic_capture_settings settings = {
		.ports = &port,
		.port_count = 1,
		.queues = 1,
		.filter = "",
		.fd = mkstemp(name),
		.size_max = UINT64_C(1) << 30,
	};
	struct nic_capture *capture;

	assert_true(settings.fd >= 0);
	unlink(name);
	if (written >= 0)
		close(written);
	written = dup(settings.fd);
	capture = nic_capture_open(&settings, error);
	if (!capture)
		fail_msg("%s", error);
	return capture;
}

static struct nic_capture_statistics statistics_of(const struct nic_capture *capture)
{
	struct nic_capture_statistics statistics;

	nic_capture_statistics(capture, &statistics);
	return statistics;
}

static void a_capture_lasts_longer_than_its_buffers(void **state)
{
	struct nic_capture *capture = open_capture();
	struct rte_mbuf *packets[BURST];
	uint64_t received = 0;

	(void)state;
	assert_int_equal(nic_capture_attach(capture), 0);
	for (unsigned i = 0; i < BURSTS; i++) {
		uint16_t count = nic_port_rx(port, 0, packets, BURST);

		assert_int_equal(count, BURST);
		rte_pktmbuf_free_bulk(packets, count);
		received += count;
		assert_int_equal(nic_capture_write(capture), count);
	}
	nic_capture_detach(capture);
	assert_int_equal(statistics_of(capture).missed, 0);
	assert_int_equal(statistics_of(capture).packets, received);
	nic_capture_close(capture);
}

/* pcapng, 4.3: DPDK's own clock of them jumps by centuries. */
static void packets_carry_the_time_of_day(void **state)
{
	struct nic_capture *capture = open_capture();
	struct rte_mbuf *packets[BURST];
	uint32_t block[5];
	unsigned seen = 0;

	(void)state;
	assert_int_equal(nic_capture_attach(capture), 0);
	rte_pktmbuf_free_bulk(packets, nic_port_rx(port, 0, packets, BURST));
	nic_capture_write(capture);
	nic_capture_detach(capture);
	for (off_t at = 0; pread(written, block, sizeof(block), at) == (ssize_t)sizeof(block);
	     at += block[1]) {
		uint64_t s = ((uint64_t)block[3] << 32 | block[4]) / 1000000000;

		assert_true(block[1] >= 12);
		if (block[0] != 6) /* enhanced packet block */
			continue;
		assert_in_range(s, (uint64_t)time(NULL) - 60, (uint64_t)time(NULL) + 1);
		seen++;
	}
	assert_int_equal(seen, BURST);
	nic_capture_close(capture);
}

/* ---- Two captures in turn ---- */

struct change {
	struct nic_capture *first, *second;
};

/* What the control threads may do while a worker is between its copies and the port. */
static uint16_t change_captures(uint16_t id, uint16_t queue, struct rte_mbuf *packets[],
				uint16_t count, void *argument)
{
	struct change *change = argument;

	(void)id;
	(void)queue;
	(void)packets;
	nic_capture_detach(change->first);
	assert_int_equal(nic_capture_attach(change->second), 0);
	return count;
}

static void packets_of_a_capture_that_ends_go_to_no_other(void **state)
{
	struct change change = {open_capture(), open_capture()};
	struct rte_mbuf *packet = rte_pktmbuf_alloc(pool);
	const struct rte_eth_rxtx_callback *callback;
	uint16_t id;

	(void)state;
	assert_non_null(rte_pktmbuf_append(packet, 60));
	assert_int_equal(rte_eth_dev_get_port_by_name(DEVICE, &id), 0);
	callback = rte_eth_add_tx_callback(id, 0, change_captures, &change);
	assert_non_null(callback);
	assert_int_equal(nic_capture_attach(change.first), 0);
	assert_int_equal(nic_port_tx(port, 0, &packet, 1), 1);
	assert_int_equal(rte_eth_remove_tx_callback(id, 0, callback), 0);

	assert_int_equal(nic_capture_write(change.second), 0);
	assert_int_equal(nic_capture_write(change.first), 1);
	nic_capture_close(change.first);
	nic_capture_detach(change.second);
	nic_capture_close(change.second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_capture_lasts_longer_than_its_buffers),
		cmocka_unit_test(packets_carry_the_time_of_day),
		cmocka_unit_test(packets_of_a_capture_that_ends_go_to_no_other),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
