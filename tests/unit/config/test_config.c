/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A configuration that is sound compiles to what the program reads; text and JSON say the same. */
#include "control/config/config.h"
#include "tests/unit/config/example.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config_errors errors;

static struct configuration *load(const char *text)
{
	struct configuration *c = config_load_text(text, "test.conf", &errors);
	char line[2048];

	for (unsigned i = 0; i < errors.count; i++)
		print_message("# %s\n", config_error_format(&errors.errors[i], line, sizeof(line)));
	assert_non_null(c);
	return c;
}

static struct ip_address address(const char *text)
{
	struct ip_address a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

static void assert_address(const struct ip_address *a, const char *text)
{
	char found[IP_ADDRESS_TEXT];

	assert_string_equal(ip_format(a, found), text);
}

static const struct queue_destination *destination(const struct configuration *c,
						   const char *domain)
{
	const struct queue_settings_view *q = config_queue(c);

	for (unsigned i = 0; i < q->destination_count; i++) {
		if (strcmp(q->destinations[i].domain, domain) == 0)
			return &q->destinations[i];
	}
	fail_msg("no destination %s", domain);
	return NULL;
}

static void system_settings_and_defaults(void **state)
{
	struct configuration *c = load(EXAMPLE);
	const struct config_system *s = config_system(c);

	assert_string_equal(s->hostname, "relay.example.net");
	assert_int_equal(s->worker_count, 2);
	assert_int_equal(s->worker_cores[0], -1);
	assert_int_equal(s->control_core, -1);
	assert_int_equal(s->shard_count, 1);
	assert_int_equal(s->idle, IDLE_SLEEP);
	assert_int_equal(s->idle_sleep_max_us, 1000);
	assert_true(s->tcp_ecn);
	assert_int_equal(s->tcp_keepalive_s, 7200);
	assert_true(s->hugepages);
	assert_int_equal(s->memory_bytes, 512u << 20);
	assert_int_equal(s->chunk_memory_bytes, 128u << 20);
	assert_string_equal(s->user, "millrace");
	assert_string_equal(s->log_file, "");
	assert_string_equal(s->log_level, "info");
	assert_int_equal(s->log_rotate_bytes, 10u << 20);
	assert_string_equal(s->management_socket, "/run/millrace/millrace.sock");
	assert_string_equal(s->metrics_address, "127.0.0.1:9464");
	assert_string_equal(s->spool_directory, "/var/spool/millrace");
	assert_int_equal(s->spool_size_bytes, UINT64_C(4) << 30);
	assert_int_equal(s->spool_segment_bytes, 256u << 20);
	config_free(c);
}

static void the_example_is_sound(void **state)
{
	struct configuration *c = config_load(EXAMPLE_FILE, NULL, &errors);

	if (c == NULL)
		print_message("# %u: %s\n", errors.errors[0].line, errors.errors[0].reason);
	assert_non_null(c);
	assert_int_equal(config_system(c)->worker_cores[1], 3);
	assert_int_equal(destination(c, "partner.example.com")->message_rate_per_hour, 36000);
	config_free(c);
}

static void ports_addresses_and_routes(void **state)
{
	struct configuration *c = load(EXAMPLE);
	struct view *v = config_make_view(c, 42);
	const struct config_port *ports;

	assert_int_equal(config_ports(c, &ports), 2);
	assert_string_equal(ports[0].device, "net_af_packet0,iface=mrp0,qpairs=2");
	assert_string_equal(ports[1].device, "0000:3b:00.0");
	assert_int_equal(ports[1].mtu, 9000);
	assert_int_equal(v->revision, 42);
	assert_int_equal(v->port_count, 2);
	assert_int_equal(v->address_count, 4);
	assert_address(&v->addresses[1].address, "2001:db8:1::10");
	assert_int_equal(v->addresses[1].prefix_length, 64);
	assert_int_equal(v->addresses[1].vlan, 7);
	assert_int_equal(v->addresses[2].port, 1);
	assert_int_equal(v->route_count, 3);
	assert_int_equal(v->routes[0].prefix.length, 96);
	assert_address(&v->routes[0].gateway, "192.0.2.1");
	/* A route without a VLAN takes that of the network its gateway is on. */
	assert_int_equal(v->routes[1].vlan, 7);
	assert_int_equal(v->routes[2].port, 1);
	view_free(v);
	config_free(c);
}

static void a_range_stands_for_thousands_of_addresses(void **state)
{
	struct configuration *c = load(
		EXAMPLE_SYSTEM
		"port p { device x; address 10.0.0.2/16; address-range 10.0.16.1-10.0.31.160/16;\n"
		" address-range 2001:db8::1:1-2001:db8::1:fa0/64 { vlan 5; } route 0.0.0.0/0 10.0.0.1; }\n"
		"source a { port p; address 10.0.31.160; address6 2001:db8::1:fa0; } pool m { source a; }");
	struct view *v = config_make_view(c, 1);

	assert_int_equal(v->address_count, 1 + 4000 + 4000);
	assert_address(&v->addresses[1].address, "10.0.16.1");
	assert_address(&v->addresses[256].address, "10.0.17.0");
	assert_address(&v->addresses[4000].address, "10.0.31.160");
	assert_int_equal(v->addresses[4000].prefix_length, 16);
	assert_address(&v->addresses[4001].address, "2001:db8::1:1");
	assert_int_equal(v->addresses[8000].vlan, 5);
	assert_address(&v->addresses[8000].address, "2001:db8::1:fa0");
	view_free(v);
	config_free(c);
}

static void statements_may_stand_in_any_order(void **state)
{
	struct configuration *c = load(
		"pool main { source a; }\nport p { route 0.0.0.0/0 192.0.2.1; address 192.0.2.10/24;\n"
		" route 10.0.0.0/8 192.0.2.2; device x; address 192.0.2.11/24; }\n"
		"source a { address 192.0.2.11; port p; }\nsystem { user \"\"; hostname a.b; }\n"
		"port q { address 198.51.100.1/24; device y; }\nsource b { address 198.51.100.1; port q; }");
	struct view *v = config_make_view(c, 1);

	assert_int_equal(v->port_count, 2);
	assert_int_equal(v->address_count, 3);
	assert_int_equal(v->route_count, 2);
	assert_int_equal(config_queue(c)->source_count, 2);
	assert_int_equal(config_queue(c)->sources[1].port, 1);
	assert_string_equal(config_system(c)->user, "");
	view_free(v);
	config_free(c);
}

static void listeners(void **state)
{
	struct configuration *c = load(EXAMPLE);
	struct view *v = config_make_view(c, 1);
	const struct view_listener *l = &v->listeners[0];
	struct ip_address inside = address("192.0.2.7"), other = address("192.0.2.8");

	/* A view outlives the configuration that it was made from. */
	assert_string_equal(config_listener_extra(c, 0)->certificate, "default");
	assert_null(config_listener_extra(c, 1));
	config_free(c);
	assert_int_equal(v->listener_count, 1);
	assert_string_equal(l->name, "submission");
	assert_int_equal(l->tls, LISTENER_TLS_STARTTLS);
	assert_true(l->accept_long_lines);
	assert_false(l->allow_auth);
	assert_int_equal(l->line_endings, LINE_ENDINGS_REJECT);
	assert_int_equal(l->relay_network_count, 2);
	assert_true(ip_prefix_contains(&l->relay_networks[0], &inside));
	assert_int_equal(l->trusted_header_count, 1);
	assert_true(ip_prefix_contains(&l->trusted_header_networks[0], &inside));
	assert_false(ip_prefix_contains(&l->trusted_header_networks[0], &other));
	assert_string_equal(l->tenant, "acme");
	assert_string_equal(l->pool, "main");
	assert_int_equal(l->limits.message_size, 50u << 20);
	assert_int_equal(l->limits.command_timeout_us, 300 * 1000000);
	assert_int_equal(l->limits.hops, 50);
	view_free(v);
}

static void listener_with_several_addresses_becomes_several(void **state)
{
	struct configuration *c = load(EXAMPLE "listener two { address [ 192.0.2.10 2001:db8:1::10 "
					       "]; tcp-port 587; tls none; relay-from ::/0; }");
	struct view *v = config_make_view(c, 1);

	assert_int_equal(v->listener_count, 3);
	assert_string_equal(v->listeners[1].name, "two");
	assert_string_equal(v->listeners[2].name, "two");
	assert_address(&v->listeners[2].address, "2001:db8:1::10");
	assert_int_equal(v->listeners[2].tcp_port, 587);
	assert_non_null(config_listener_extra(c, 2));
	assert_ptr_not_equal(v->listeners[1].relay_networks, v->listeners[2].relay_networks);
	view_free(v);
	config_free(c);
}

static void sources_pools_and_retry(void **state)
{
	struct configuration *c = load(EXAMPLE);
	const struct queue_settings_view *q = config_queue(c);

	assert_int_equal(q->source_count, 2);
	assert_int_equal(q->sources[0].port, 1);
	assert_true(q->sources[0].has_v4 && q->sources[0].has_v6);
	assert_address(&q->sources[0].v6, "2001:db8:2::10");
	assert_string_equal(q->sources[1].ehlo_name, "relay.example.net");
	assert_false(q->sources[1].has_v6);
	assert_int_equal(q->pool_count, 1);
	assert_int_equal(q->pools[0].member_count, 2);
	assert_int_equal(q->pools[0].members[0].weight, 3);
	assert_int_equal(q->pools[0].members[1].source, 1);
	assert_int_equal(q->retry_factor_percent, 150);
	assert_int_equal(q->retry_jitter_percent, 10);
	assert_int_equal(q->expire_us, UINT64_C(432000000000));
	assert_int_equal(q->body_memory_bytes, 64u << 20);
	assert_string_equal(q->postmaster, "postmaster@example.net");
	config_free(c);
}

static void without_a_pool_all_sources_make_one(void **state)
{
	struct configuration *c = load(EXAMPLE_SYSTEM EXAMPLE_PORTS
				       "source a { port inside; address 192.0.2.10; }"
				       "source b { port outside; address 198.51.100.10; }");
	const struct queue_settings_view *q = config_queue(c);

	assert_int_equal(q->pool_count, 1);
	assert_string_equal(q->pools[0].name, "default");
	assert_int_equal(q->pools[0].member_count, 2);
	assert_string_equal(q->postmaster, "postmaster@relay.example.net");
	config_free(c);
}

static void a_destination_takes_what_it_does_not_state_from_its_parent_then_default(void **state)
{
	struct configuration *c = load(EXAMPLE);
	const struct queue_destination *d = destination(c, "mail.example.com");

	assert_string_equal(config_queue(c)->destinations[0].domain, "");
	assert_int_equal(d->settings.tls, TLS_LEVEL_ENCRYPT);
	assert_int_equal(d->settings.messages_per_connection, 5);
	assert_int_equal(d->settings.connections_max, 7);
	assert_int_equal(d->settings.connect_timeout_us, 11 * 1000000);
	assert_int_equal(d->settings.greeting_timeout_us, 300 * 1000000);
	assert_true(d->settings.use_pipelining);
	assert_int_equal(d->fixed_host_count, 2);
	assert_string_equal(d->fixed_hosts[1], "[203.0.113.9]:2525");
	assert_int_equal(destination(c, "")->fixed_host_count, 0);
	assert_int_equal(destination(c, "")->settings.tls, TLS_LEVEL_MAY);
	config_free(c);
}

static void a_destination_may_choose_bbr_for_those_below_it(void **state)
{
	struct configuration *c = load(EXAMPLE "destination .far.test { congestion bbr; }"
					       "destination mx.far.test;"
					       "destination near.far.test { congestion cubic; }");

	assert_true(destination(c, "mx.far.test")->settings.use_bbr);
	assert_false(destination(c, "near.far.test")->settings.use_bbr);
	assert_false(destination(c, "")->settings.use_bbr);
	config_free(c);
}

static void a_destination_in_utf8_becomes_an_a_label(void **state)
{
	struct configuration *c = load(EXAMPLE "destination Bücher.example { tls none; }");

	assert_int_equal(destination(c, "xn--bcher-kva.example")->settings.tls, TLS_LEVEL_NONE);
	config_free(c);
}

static void resolver_settings(void **state)
{
	struct configuration *c = load(EXAMPLE);
	const struct resolver_settings *r = config_resolver(c);

	assert_int_equal(r->stub_zone_count, 2);
	assert_string_equal(r->stub_zones[1].zone, "example.net");
	assert_string_equal(r->stub_zones[1].server, "203.0.113.54@5353");
	assert_int_equal(r->forwarder_count, 1);
	assert_null(r->trust_anchor_file);
	assert_int_equal(r->trust_anchor_count, 1);
	assert_int_equal(r->own_address_count, 4);
	assert_int_equal(r->timeout_us, 30 * 1000000);
	config_free(c);
}

static void text_reads_back_to_itself(void **state)
{
	struct configuration *c = load(EXAMPLE), *again;
	char *text = config_to_text(c), *second;
	char lines[32][256];

	again = load(text);
	second = config_to_text(again);
	/* What was a default is stated now, and no longer marked; a third round is the fixed point.
	 */
	assert_int_equal(config_needs_restart(c, again, lines, 32), 0);
	config_free(c);
	c = load(second);
	free(text);
	text = config_to_text(c);
	assert_string_equal(text, second);
	assert_int_equal(destination(c, "mail.example.com")->settings.connections_max, 7);
	free(text);
	free(second);
	config_free(again);
	config_free(c);
}

static void json_has_numbers_and_defaults(void **state)
{
	struct configuration *c = load(EXAMPLE);
	json_t *j = config_to_json(c);
	json_t *system = json_object_get(j, "system");
	json_t *limits =
		json_object_get(json_array_get(json_object_get(j, "listener"), 0), "limits");

	assert_int_equal(json_integer_value(json_object_get(system, "workers")), 2);
	assert_int_equal(json_integer_value(json_object_get(system, "memory")), 512 << 20);
	assert_true(json_is_true(json_object_get(system, "hugepages")));
	assert_string_equal(json_string_value(json_object_get(system, "drain-timeout")), "30s");
	assert_int_equal(json_integer_value(json_object_get(limits, "hops")), 50);
	json_decref(j);
	j = config_to_document(c);
	assert_non_null(strstr(json_string_value(json_object_get(j, "text")),
			       "hostname relay.example.net;\n"));
	assert_true(json_is_object(json_object_get(j, "json")));
	json_decref(j);
	config_free(c);
}

static void what_needs_a_restart_is_named(void **state)
{
	struct configuration *a = load(EXAMPLE), *b, *d;
	char lines[4][256];

	b = load(
		"system { hostname other.example.net; workers 1; memory 512m; tcp { ecn active; keepalive 2h; } }" EXAMPLE_PORTS
			EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES EXAMPLE_REST);
	d = load(
		"system { hostname other.example.net; workers 2; memory 512m; tcp { ecn active; keepalive 2h; } }" EXAMPLE_PORTS
			EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES EXAMPLE_REST);
	assert_int_equal(config_needs_restart(a, a, lines, 4), 0);
	assert_int_equal(config_needs_restart(a, b, lines, 4), 2);
	assert_string_equal(lines[0], "system workers: 2 -> 1");
	/* A name, listeners, destinations and limits change while it runs. */
	assert_int_equal(config_needs_restart(a, d, lines, 4), 0);
	config_free(a);
	config_free(b);
	config_free(d);
}

static void resolver_changes_need_a_restart(void **state)
{
	struct configuration *a = load(EXAMPLE);
	struct configuration *b = load(EXAMPLE_SYSTEM EXAMPLE_PORTS EXAMPLE_CERTIFICATE
					       EXAMPLE_LISTENER EXAMPLE_SOURCES EXAMPLE_DESTINATIONS
				       "retry { initial 5m; } resolver { timeout 30s; }");
	char lines[8][256];
	unsigned count = config_needs_restart(a, b, lines, 8);

	assert_true(count >= 3);
	assert_string_equal(lines[count - 3],
			    "resolver stub-zone: (as running) -> (as in the file)");
	assert_string_equal(lines[count - 2],
			    "resolver forwarder: (as running) -> (as in the file)");
	assert_string_equal(lines[count - 1],
			    "resolver trust-anchor: (as running) -> (as in the file)");
	assert_int_equal(config_needs_restart(b, b, lines, 8), 0);
	config_free(a);
	config_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolver_changes_need_a_restart),
		cmocka_unit_test(system_settings_and_defaults),
		cmocka_unit_test(the_example_is_sound),
		cmocka_unit_test(ports_addresses_and_routes),
		cmocka_unit_test(a_range_stands_for_thousands_of_addresses),
		cmocka_unit_test(statements_may_stand_in_any_order),
		cmocka_unit_test(listeners),
		cmocka_unit_test(listener_with_several_addresses_becomes_several),
		cmocka_unit_test(sources_pools_and_retry),
		cmocka_unit_test(without_a_pool_all_sources_make_one),
		cmocka_unit_test(
			a_destination_takes_what_it_does_not_state_from_its_parent_then_default),
		cmocka_unit_test(a_destination_may_choose_bbr_for_those_below_it),
		cmocka_unit_test(a_destination_in_utf8_becomes_an_a_label),
		cmocka_unit_test(resolver_settings),
		cmocka_unit_test(text_reads_back_to_itself),
		cmocka_unit_test(json_has_numbers_and_defaults),
		cmocka_unit_test(what_needs_a_restart_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
