/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A neighbour table that strangers fill (RFC 6583): the way out and the hosts in use stay, whether
 * they ask us from a thousand addresses or make us ask for them; and an entry that went to another
 * host is never taken for the old one.
 */
#include "dataplane/net/stack.h"
#include "tests/unit/net/frames.h"

#define CAPACITY 256u
#define SCAN	 1000u
#define GATEWAY	 "10.0.0.254"
#define FAR	 "192.0.2.9"

/* 10.0.0.1 on a /16, and a gateway. */
static struct harness *routed(void)
{
	static struct view_route route;
	static const struct harness_options options = {.seed = 1, .neighbours = CAPACITY};
	struct harness *h = quiet(&options);

	h->addresses[0].prefix_length = 16;
	route = (struct view_route){.prefix = {.address = ip_from_v4(0), .length = 96}};
	assert_int_equal(ip_parse(GATEWAY, &route.gateway), 0);
	h->view.routes = &route;
	h->view.route_count = 1;
	assert_int_equal(net_stack_configure(h->stack, &h->view, &h->now), 0);
	harness_advance(h, 5000000);
	for (uint8_t frame[2048]; harness_take_frame(h, frame) != 0;)
		;
	return h;
}

static const char *host(unsigned i)
{
	static char text[32];

	snprintf(text, sizeof(text), "10.0.%u.%u", 1 + i / 250, 1 + i % 250);
	return text;
}

static struct neighbour *find(struct harness *h, const char *text)
{
	struct ip_address a;

	assert_int_equal(ip_parse(text, &a), 0);
	return neighbour_find(&h->stack->neighbours, &a, 0, 0);
}

static void hush(struct harness *h)
{
	for (uint8_t frame[2048]; harness_take_frame(h, frame) != 0;)
		;
}

/* What the table says of itself is so. */
static void check(const struct harness *h)
{
	const struct neighbour_table *t = &h->stack->neighbours;
	unsigned used = 0, unanswered = 0;

	for (unsigned i = 0; i < t->capacity; i++) {
		const struct neighbour *n = &t->entries[i];

		used += n->state != NEIGHBOUR_FREE;
		unanswered += !n->gateway &&
			      (n->state == NEIGHBOUR_INCOMPLETE || n->state == NEIGHBOUR_FAILED);
		assert_int_not_equal(n->epoch, 0);
	}
	assert_int_equal(used, t->used);
	assert_int_equal(unanswered, t->unanswered);
}

static void asked_by(struct harness *h, const char *from)
{
	uint8_t frame[2048];

	harness_feed_frame(h, frame, arp(h, frame, 1, from, "10.0.0.1"));
}

static void answered_by(struct harness *h, const char *from)
{
	uint8_t frame[2048];

	harness_feed_frame(h, frame, arp(h, frame, 2, from, "10.0.0.1"));
}

/* Somebody says to be at this address and wants to connect. */
static void syn_from(struct harness *h, const char *from)
{
	uint8_t frame[2048], *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV4), *p = ip + 20;
	struct ip_address source, own;

	memset(p, 0, 20);
	store16(p, 4000);
	store16(p + 2, 25);
	p[12] = 0x50;
	p[13] = TCP_SYN;
	store16(p + 14, 65535);
	ip_parse(from, &source);
	ip_parse("10.0.0.1", &own);
	checksum_store(p + 16,
		       checksum_add(checksum_pseudo(&source, &own, PROTOCOL_TCP, 20), p, 20));
	harness_feed_frame(h, frame, 14 + ipv4(ip, from, "10.0.0.1", PROTOCOL_TCP, 20));
}

static bool takes_ipv4(struct harness *h)
{
	uint8_t frame[2048];

	while (harness_take_frame(h, frame) != 0)
		if (load16(frame + 12) == ETHERTYPE_IPV4)
			return true;
	return false;
}

static void connect_far(struct harness *h)
{
	assert_non_null(harness_connect_from(h, "10.0.0.1", FAR, 25, 30000000));
}

static void use_gateway(struct harness *h)
{
	connect_far(h);
	hush(h);
	answered_by(h, GATEWAY);
	assert_true(takes_ipv4(h));
	assert_true(find(h, GATEWAY)->gateway);
}

static void rfc_6583_a_scan_by_arp_does_not_push_the_gateway_out(void **state)
{
	struct harness *h = routed();

	use_gateway(h);
	harness_advance(h, 20000000); /* nothing to send for a while */
	hush(h);
	for (unsigned i = 0; i < SCAN; i++) {
		asked_by(h, host(i));
		harness_advance(h, 10000);
		hush(h);
	}
	check(h);
	assert_int_equal(h->stack->neighbours.used, CAPACITY);
	assert_non_null(find(h, GATEWAY));
	connect_far(h);
	assert_true(takes_ipv4(h)); /* at once, without a question */
	harness_destroy(h);
}

static void rfc_6583_syns_from_nobody_do_not_push_the_gateway_out(void **state)
{
	struct harness *h = routed();

	harness_listen(h, 25);
	use_gateway(h);
	harness_advance(h, 20000000);
	hush(h);
	for (unsigned i = 0; i < SCAN; i++) {
		syn_from(h, host(i));
		harness_advance(h, 10000);
		hush(h);
	}
	check(h);
	assert_non_null(find(h, GATEWAY));
	connect_far(h);
	assert_true(takes_ipv4(h));
	harness_destroy(h);
}

static void rfc_6583_hosts_that_we_need_do_not_push_the_gateway_out_either(void **state)
{
	struct harness *h = routed();

	use_gateway(h);
	for (unsigned i = 0; i < 3 * CAPACITY; i++) {
		struct harness_connection *c =
			harness_connect_from(h, "10.0.0.1", host(i), 25, 30000000);

		assert_non_null(c);
		hush(h);
		answered_by(h, host(i));
		hush(h);
		harness_abort(c);
		harness_advance(h, 2000000);
		hush(h);
	}
	check(h);
	assert_int_equal(h->stack->neighbours.used, CAPACITY);
	assert_non_null(find(h, GATEWAY));
	harness_destroy(h);
}

static void rfc_6583_a_full_table_makes_room_for_a_gateway_at_once(void **state)
{
	struct harness *h = routed();

	for (unsigned i = 0; i < SCAN; i++)
		asked_by(h, host(i));
	hush(h);
	assert_int_equal(h->stack->neighbours.used, CAPACITY);
	use_gateway(h);
	check(h);
	harness_destroy(h);
}

/* So does it for a host that we connect to, when all are strangers who only asked. */
static void rfc_6583_strangers_who_only_asked_give_way_to_hosts_that_we_need(void **state)
{
	struct harness *h = routed();

	for (unsigned i = 0; i < SCAN; i++)
		asked_by(h, host(i));
	hush(h);
	assert_non_null(harness_connect_from(h, "10.0.0.1", "10.0.0.77", 25, 30000000));
	hush(h);
	answered_by(h, "10.0.0.77");
	assert_true(takes_ipv4(h));
	check(h);
	harness_destroy(h);
}

static unsigned count_hosts(const struct harness *h)
{
	unsigned count = 0;

	for (unsigned i = 0; i < h->stack->neighbours.capacity; i++) {
		const struct neighbour *n = &h->stack->neighbours.entries[i];

		count += n->sent_to && !n->gateway && n->state != NEIGHBOUR_FREE &&
			 n->state != NEIGHBOUR_INCOMPLETE && n->state != NEIGHBOUR_FAILED;
	}
	return count;
}

static void rfc_6583_addresses_where_nobody_is_fill_half_of_the_table(void **state)
{
	struct harness *h = routed();

	/* Hosts that we have sent to fill it: they asked for a connection, and answered. */
	for (unsigned i = 0; i < CAPACITY; i++) {
		syn_from(h, host(i)); /* to a closed port: the answer needs them */
		hush(h);
		answered_by(h, host(i));
		hush(h);
		harness_advance(h, 20000);
	}
	assert_int_equal(count_hosts(h), CAPACITY);
	for (unsigned i = 0; i < 20 * SCAN; i++) {
		syn_from(h, host(CAPACITY + i % 40000));
		hush(h);
		harness_advance(h, 2000);
		hush(h);
	}
	check(h);
	print_message("# %u of %u hosts are left\n", count_hosts(h), CAPACITY);
	assert_true(count_hosts(h) >= CAPACITY / 2);
	harness_destroy(h);
}

static void a_connection_whose_neighbour_gave_way_asks_anew_and_sends_to_no_other(void **state)
{
	struct harness *h = routed();
	uint8_t frame[2048], first[6] = {2, 1, 1, 1, 1, 1};
	struct neighbour *n;
	size_t size;

	assert_non_null(harness_connect_from(h, "10.0.0.1", "10.0.0.2", 25, 30000000));
	hush(h);
	size = arp(h, frame, 2, "10.0.0.2", "10.0.0.1");
	memcpy(frame + 22, first, 6);
	harness_feed_frame(h, frame, size);
	hush(h);
	/* Its slot goes to others, who all are at another station. */
	n = find(h, "10.0.0.2");
	for (unsigned i = 0; find(h, "10.0.0.2") != NULL; i++) {
		harness_advance(h, 0);
		n->used_us = 0;
		n->sent_to = false;
		asked_by(h, host(i));
		assert_in_range(i, 0, SCAN);
	}
	hush(h);
	harness_advance(h, 1100000); /* the SYN again */
	size = harness_take_frame(h, frame);
	assert_true(size > 0);
	assert_int_equal(load16(frame + 12), ETHERTYPE_ARP);
	assert_int_equal(load32(frame + 38), 0x0a000002);
	check(h);
	harness_destroy(h);
}

/* Who churns the table must not make every connection look its path up again. */
static void others_that_give_way_void_no_path(void **state)
{
	struct harness *h = routed();
	uint32_t epoch;

	use_gateway(h);
	epoch = find(h, GATEWAY)->epoch;
	for (unsigned i = 0; i < SCAN; i++) {
		asked_by(h, host(i));
		harness_advance(h, 10000);
		hush(h);
	}
	assert_int_equal(find(h, GATEWAY)->epoch, epoch);
	/* A reload does: routes may be others. */
	assert_int_equal(net_stack_configure(h->stack, &h->view, &h->now), 0);
	assert_int_not_equal(find(h, GATEWAY)->epoch, epoch);
	assert_false(find(h, GATEWAY)->gateway);
	connect_far(h);
	assert_true(takes_ipv4(h));
	assert_true(find(h, GATEWAY)->gateway);
	check(h);
	harness_destroy(h);
}

#define FRAMES 8u

static unsigned hold(struct harness *h, struct frame *held[FRAMES], unsigned keep)
{
	unsigned count = 0;

	while (sim_frame_pool_in_use(h->frames) + keep < FRAMES)
		held[count++] = frame_alloc(sim_frame_pool_interface(h->frames));
	return count;
}

static void release(struct harness *h, struct frame *held[FRAMES], unsigned count)
{
	while (count > 0)
		frame_free(sim_frame_pool_interface(h->frames), held[--count]);
}

/* A SYN that waits for the neighbour must not hold the frame that the question needs. */
static void the_last_frame_asks_and_does_not_wait(void **state)
{
	for (unsigned family = 0; family < 2; family++) {
		struct harness *h = quiet(&(struct harness_options){
			.seed = 1, .frames = FRAMES, .v6 = family, .connections = 4});
		struct frame *held[FRAMES];
		unsigned count = hold(h, held, 1);
		struct harness_connection *c = harness_connect(h, 25);
		uint8_t packet[2048];

		assert_non_null(c);
		assert_int_equal(harness_take(h, packet), 0); /* asked, and answered */
		harness_advance(h, 1100000);
		assert_true(harness_take(h, packet) > 0);
		assert_false(c->closed);
		release(h, held, count);
		harness_destroy(h);
	}
}

static void a_question_for_which_there_was_no_frame_is_no_failure(void **state)
{
	for (unsigned family = 0; family < 2; family++) {
		struct harness *h = quiet(&(struct harness_options){
			.seed = 1, .frames = FRAMES, .v6 = family, .connections = 4});
		struct harness_connection *c = harness_connect(h, 25);
		struct frame *held[FRAMES];
		uint8_t packet[2048];
		unsigned count;

		assert_true(harness_take_frame(h, packet) > 0); /* asked once, without an answer */
		count = hold(h, held, 0);
		for (unsigned second = 0; second < 15; second++) {
			harness_advance(h, 1000000);
			while (harness_take_frame(h, packet) > 0)
				;
			assert_false(c->closed);
			count += hold(h, held + count, 0);
		}
		release(h, held, count);
		harness_advance(h, 20000000);
		assert_true(harness_take(h, packet) > 0);
		assert_false(c->closed);
		harness_destroy(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_6583_a_scan_by_arp_does_not_push_the_gateway_out),
		cmocka_unit_test(rfc_6583_syns_from_nobody_do_not_push_the_gateway_out),
		cmocka_unit_test(rfc_6583_hosts_that_we_need_do_not_push_the_gateway_out_either),
		cmocka_unit_test(rfc_6583_a_full_table_makes_room_for_a_gateway_at_once),
		cmocka_unit_test(rfc_6583_strangers_who_only_asked_give_way_to_hosts_that_we_need),
		cmocka_unit_test(rfc_6583_addresses_where_nobody_is_fill_half_of_the_table),
		cmocka_unit_test(
			a_connection_whose_neighbour_gave_way_asks_anew_and_sends_to_no_other),
		cmocka_unit_test(others_that_give_way_void_no_path),
		cmocka_unit_test(the_last_frame_asks_and_does_not_wait),
		cmocka_unit_test(a_question_for_which_there_was_no_frame_is_no_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
