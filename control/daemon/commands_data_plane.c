/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show workers, ports, listeners, sessions, counters. */
#include "control/daemon/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS_SHOWN_MAX 10000

static json_t *text_of_address(const struct ip_address *address, uint16_t port)
{
	char text[IP_ADDRESS_TEXT];

	ip_format(address, text);
	return json_sprintf(ip_is_v4(address) ? "%s:%u" : "[%s]:%u", text, port);
}

/* ---- show workers ---- */

struct worker_look {
	struct worker *worker;
	struct net_gauges gauges;
	uint32_t sessions_in, sessions_out, deliveries;
	uint32_t chunks_free, chunks;
};

static void look_at_worker(void *argument)
{
	struct worker_look *look = argument;

	net_stack_gauges(worker_stack(look->worker), &look->gauges);
	look->sessions_in = smtp_server_sessions(worker_server(look->worker));
	look->sessions_out = path_table_sessions(worker_paths(look->worker));
	look->deliveries = path_table_deliveries(worker_paths(look->worker));
	look->chunks_free = chunk_pool_available(worker_chunks(look->worker));
	look->chunks = chunk_pool_count(worker_chunks(look->worker));
}

static json_t *show_workers(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		struct worker_thread *w = &appliance->workers[i];
		struct worker_load load = *worker_load(w->worker);
		struct worker_look look = {.worker = w->worker};
		uint64_t cycles = load.busy_cycles + load.idle_cycles;

		worker_call(w->worker, look_at_worker, &look);
		json_t *one = json_pack(
			"{s:i, s:f, s:I, s:I, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:i}",
			"worker", (int)i, "busy",
			cycles ? 100.0 * (double)load.busy_cycles / (double)cycles : 0, "turns",
			(json_int_t)load.turns, "sleeps", (json_int_t)load.sleeps, "connections",
			(int)look.gauges.connections, "sessions_in", (int)look.sessions_in,
			"sessions_out", (int)look.sessions_out, "deliveries", (int)look.deliveries,
			"handed_off", (json_int_t)load.handed_off, "handed_in",
			(json_int_t)load.handed_in, "hand_off_full", (json_int_t)load.hand_off_full,
			"chunks_free", (int)look.chunks_free, "chunks", (int)look.chunks);
		const struct net_counters *net = net_stack_counters(worker_stack(w->worker));

		json_object_set_new(one, "arrived_home",
				    json_integer((json_int_t)net->arrived_home));
		json_object_set_new(one, "arrived_elsewhere",
				    json_integer((json_int_t)net->arrived_elsewhere));
		json_object_set_new(one, "half_open", json_integer(look.gauges.half_open));
		json_object_set_new(one, "time_wait", json_integer(look.gauges.time_wait));
		json_object_set_new(one, "core",
				    w->core >= 0 ? json_integer(w->core) : json_string("any"));
		json_array_append_new(list, one);
	}
	return list;
}

static const struct command_column worker_columns[] = {
	{"worker", "Worker", "text", 0},
	{"core", "Core", "text", 0},
	{"busy", "Busy", "percent", 0},
	{"connections", "Connections", "count", 0},
	{"half_open", "Half open", "count", 4},
	{"time_wait", "Time wait", "count", 5},
	{"sessions_in", "In", "count", 0},
	{"sessions_out", "Out", "count", 0},
	{"deliveries", "Deliveries", "count", 0},
	{"handed_off", "Handed off", "count", 2},
	{"handed_in", "Handed in", "count", 3},
	{"chunks_free", "Chunks free", "count", 1},
	{"chunks", "of", "count", 1},
	{NULL, NULL, NULL, 0},
};

/* ---- show ports ---- */

static json_t *show_ports(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	for (unsigned i = 0; i < appliance->port_count; i++) {
		struct nic_port_information info;
		struct nic_port_statistics stats;
		struct net_arrivals arrivals;

		nic_port_information(appliance->ports[i], &info);
		nic_port_statistics(appliance->ports[i], &stats);
		appliance_arrivals(appliance, i, &arrivals);
		json_t *one = json_pack(
			"{s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b}",
			"port", info.name, "device", info.device, "driver", info.driver, "link",
			stats.link_up, "mbps", (int)stats.link_mbps, "mtu", info.mtu, "queues",
			info.queues, "rx_packets", (json_int_t)stats.rx_packets, "tx_packets",
			(json_int_t)stats.tx_packets, "rx_bytes", (json_int_t)stats.rx_bytes,
			"tx_bytes", (json_int_t)stats.tx_bytes, "rx_missed",
			(json_int_t)stats.rx_missed, "rx_errors", (json_int_t)stats.rx_errors,
			"tx_errors", (json_int_t)stats.tx_errors, "steering",
			nic_steering_name(info.steering), "tx_checksum", info.tx_tcp_checksum,
			"rx_checksum", info.rx_checksum);

		json_object_set_new(one, "mac",
				    json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", info.mac[0],
						 info.mac[1], info.mac[2], info.mac[3], info.mac[4],
						 info.mac[5]));
		json_object_set_new(one, "tx_segmentation", json_boolean(info.tx_segmentation));
		json_object_set_new(one, "steering_reason", json_string(info.steering_reason));
		json_object_set_new(one, "arrived_home", json_integer((json_int_t)arrivals.home));
		json_object_set_new(one, "arrived_elsewhere",
				    json_integer((json_int_t)arrivals.elsewhere));
		json_array_append_new(list, one);
	}
	return list;
}

static const struct command_column port_columns[] = {
	{"port", "Port", "text", 0},
	{"link", "Link", "up", 0},
	{"driver", "Driver", "text", 3},
	{"mac", "MAC", "text", 5},
	{"mtu", "MTU", "text", 6},
	{"queues", "Queues", "count", 2},
	{"steering", "Steering", "text", 1},
	{"arrived_elsewhere", "Misses", "count", 4},
	{"rx_packets", "Received", "count", 0},
	{"tx_packets", "Sent", "count", 0},
	{"rx_bytes", "In", "bytes", 0},
	{"tx_bytes", "Out", "bytes", 0},
	{"rx_missed", "Missed", "count", 0},
	{"steering_reason", "Steered so because", "note", 0},
	{NULL, NULL, NULL, 0},
};

/* ---- show listeners ---- */

static const char *const tls_names[] = {
	[LISTENER_TLS_NONE] = "none",
	[LISTENER_TLS_STARTTLS] = "starttls",
	[LISTENER_TLS_IMPLICIT] = "implicit",
};

static json_t *show_listeners(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	pthread_mutex_lock(&appliance->lock);
	const struct view *view = appliance_view(appliance);

	for (unsigned i = 0; i < view->listener_count; i++) {
		const struct view_listener *l = &view->listeners[i];
		const struct config_listener_extra *extra =
			config_listener_extra(appliance->configuration, i);
		char address[IP_ADDRESS_TEXT];

		ip_format(&l->address, address);
		json_array_append_new(
			list,
			json_pack(
				"{s:s, s:s, s:i, s:s, s:s, s:b, s:b, s:i, s:I, s:i, s:s, s:s, s:s}",
				"listener", l->name, "address", address, "tcp_port", l->tcp_port,
				"tls", tls_names[l->tls], "certificate", extra->certificate,
				"require_tls", l->require_tls, "auth", l->allow_auth,
				"relay_networks", (int)l->relay_network_count, "message_size",
				(json_int_t)l->limits.message_size, "recipients",
				(int)l->limits.recipients, "tenant", l->tenant, "campaign",
				l->campaign, "pool", l->pool));
	}
	pthread_mutex_unlock(&appliance->lock);
	return list;
}

static const struct command_column listener_columns[] = {
	{"listener", "Listener", "text", 0},
	{"address", "Address", "text", 0},
	{"tcp_port", "Port", "text", 0},
	{"tls", "TLS", "text", 0},
	{"certificate", "Certificate", "text", 3},
	{"auth", "AUTH", "text", 0},
	{"message_size", "Size limit", "bytes", 0},
	{"recipients", "Rcpt limit", "count", 2},
	{"tenant", "Tenant", "text", 1},
	{"pool", "Pool", "text", 1},
	{NULL, NULL, NULL, 0},
};

/* ---- show sessions ---- */

struct session_look {
	struct worker *worker;
	bool inbound, outbound;
	struct session_entry *entries;
	unsigned max, count;
};

static void look_at_sessions(void *argument)
{
	struct session_look *look = argument;

	if (look->inbound)
		look->count +=
			smtp_server_list(worker_server(look->worker), look->entries, look->max);
	if (look->outbound)
		look->count +=
			path_table_list(worker_paths(look->worker), look->entries + look->count,
					look->max - look->count);
}

/* The same keys always; null while nothing is known. */
static json_t *measure_json(const struct tcp_measure *m)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:i, s:b, s:b, s:I, s:s?}", "rtt_us",
			 m->rtt_us ? json_integer(m->rtt_us) : json_null(), "rtt_min_us",
			 m->rtt_min_us ? json_integer(m->rtt_min_us) : json_null(), "segments",
			 (json_int_t)m->segments, "retransmitted", (json_int_t)m->retransmitted,
			 "pmtu", m->pmtu, "reordering", m->reordering, "ecn", m->ecn, "cwnd_bytes",
			 (json_int_t)m->cwnd_bytes, "congestion", m->congestion);
}

static json_t *session_json(const struct session_entry *e, uint64_t now_us)
{
	json_t *one = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:I}", "direction",
				e->inbound ? "in" : "out", "name", e->name, "state", e->state,
				"peer_name", e->peer_name, "tls", e->tls ? e->tls_text : "",
				"age_us", (json_int_t)(now_us - e->since_us), "messages",
				(int)e->messages, "bytes", (json_int_t)e->bytes);

	json_object_set_new(one, "session",
			    json_sprintf("%016llx", (unsigned long long)e->session));
	json_object_set_new(one, "peer",
			    text_of_address(&e->endpoints.remote, e->endpoints.remote_port));
	json_object_set_new(one, "local",
			    text_of_address(&e->endpoints.local, e->endpoints.local_port));
	json_object_update_new(one, measure_json(&e->measure));
	return one;
}

static json_t *show_sessions(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	struct session_entry *entries = malloc(SESSIONS_SHOWN_MAX * sizeof(*entries));
	bool in = json_is_true(json_object_get(arguments, "in"));
	bool out = json_is_true(json_object_get(arguments, "out"));
	json_t *list = json_array();
	struct mr_now now;

	if (!entries) {
		snprintf(error, 256, "out of memory");
		json_decref(list);
		return NULL;
	}
	/* Workers fill it between two turns: page faults are to happen here. */
	memset(entries, 0, SESSIONS_SHOWN_MAX * sizeof(*entries));
	clock_read(&now);
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		struct session_look look = {
			.worker = appliance->workers[i].worker,
			.inbound = in || !out,
			.outbound = out || !in,
			.entries = entries,
			.max = SESSIONS_SHOWN_MAX,
		};
		worker_call(look.worker, look_at_sessions, &look);
		for (unsigned k = 0; k < look.count; k++)
			json_array_append_new(list, session_json(&entries[k], now.mono_us));
	}
	free(entries);
	return list;
}

static const struct command_argument session_arguments[] = {
	{"in", "sessions of senders", false, false, true},
	{"out", "sessions to receivers", false, false, true},
	{NULL, NULL, false, false, false},
};

static const struct command_column session_columns[] = {
	{"name", "Listener / site", "text", 0},
	{"direction", "Dir", "text", 0},
	{"peer", "Peer", "text", 0},
	{"peer_name", "Name", "text", 4},
	{"state", "State", "text", 0},
	{"tls", "TLS", "text", 2},
	{"age_us", "Age", "duration_us", 0},
	{"messages", "Messages", "count", 1},
	{"bytes", "Bytes", "bytes", 1},
	{"session", "Session", "text", 3},
	{"rtt_us", "RTT", "duration_us", 5},
	{"retransmitted", "Resent", "count", 6},
	{NULL, NULL, NULL, 0},
};

/* ---- show counters ---- */

static void add_counter(json_t *list, const char *area, const char *name, const char *text,
			uint64_t value)
{
	if (value > 0)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:I, s:s}", "area", area, "counter",
						name, "value", (json_int_t)value, "meaning", text));
}

static json_t *show_counters(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	struct net_counters net = {0};
	struct smtp_server_counters server = {0};
	struct path_counters path = {0};
	uint64_t hand_off_full = 0, drop_segmented = 0;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		struct worker *w = appliance->workers[i].worker;

		hand_off_full += worker_load(w)->hand_off_full;
		drop_segmented += worker_load(w)->drop_segmented;
#define X(name, text) net.name += net_stack_counters(worker_stack(w))->name;
		NET_COUNTERS(X)
#undef X
#define X(name, text) server.name += smtp_server_counters(worker_server(w))->name;
		SMTP_SERVER_COUNTERS(X)
#undef X
#define X(name, text) path.name += path_table_counters(worker_paths(w))->name;
		PATH_COUNTERS(X)
#undef X
	}
	add_counter(list, "worker", "hand_off_full",
		    "frames dropped: the ring to their owner was full", hand_off_full);
	add_counter(list, "worker", "drop_segmented",
		    "frames dropped: larger than a buffer, they came in several", drop_segmented);
#define X(name, text) add_counter(list, "net", #name, text, net.name);
	NET_COUNTERS(X)
#undef X
#define X(name, text) add_counter(list, "smtp in", #name, text, server.name);
	SMTP_SERVER_COUNTERS(X)
#undef X
#define X(name, text) add_counter(list, "smtp out", #name, text, path.name);
	PATH_COUNTERS(X)
#undef X
	for (unsigned s = 0; s < appliance->shard_count; s++) {
		const struct queue_counters *queue =
			queue_shard_counters(appliance->shards[s].shard);

#define X(name, text) add_counter(list, "queue", #name, text, queue->name);
		QUEUE_COUNTERS(X)
#undef X
	}
	return list;
}

static const struct command_column counter_columns[] = {
	{"counter", "Counter", "text", 0},
	{"area", "Area", "text", 0},
	{"value", "Value", "count", 0},
	{"meaning", "Meaning", "note", 0},
	{NULL, NULL, NULL, 0},
};

void commands_register_data_plane(struct management *management, struct appliance *appliance)
{
	static const struct daemon_command commands[] = {
		{.name = CATALOGUE_SHOW_WORKERS, .columns = worker_columns, .run = show_workers},
		{.name = CATALOGUE_SHOW_PORTS, .columns = port_columns, .run = show_ports},
		{.name = CATALOGUE_SHOW_LISTENERS,
		 .columns = listener_columns,
		 .run = show_listeners},
		{.name = CATALOGUE_SHOW_SESSIONS,
		 .arguments = session_arguments,
		 .columns = session_columns,
		 .run = show_sessions},
		{.name = CATALOGUE_SHOW_COUNTERS, .columns = counter_columns, .run = show_counters},
	};

	commands_add(management, appliance, commands, sizeof(commands) / sizeof(commands[0]));
}
