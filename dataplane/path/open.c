/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Opening a connection of a path: which host of the route comes next, and what it means when one
 * fails, or all (RFC 5321, 5.1; RFC 7504). See table.h.
 *
 * A session that opens belongs to the path, not to a delivery: it takes the first that waits when
 * it is ready, and asks the first that waits for the route whenever it needs another host. So no
 * route is kept beyond its deliveries.
 */
#include "dataplane/path/table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* TCP gives up by itself; this is the net behind it. */
#define CONNECT_GRACE_US (2 * US_PER_S)

static bool is_tried(const struct path_session *session, const struct route_host *host)
{
	for (unsigned i = 0; i < session->tried_count; i++)
		if (session->tried[i].port == host->port &&
		    ip_equal(&session->tried[i].address, &host->address))
			return true;
	return false;
}

static bool is_reachable(const struct route *route, const struct route_host *host)
{
	return ip_is_v4(&host->address) ? route->has_v4 : route->has_v6;
}

/* In the route's order, but what failed lately last. */
static const struct route_host *choose_host(const struct path_session *session,
					    const struct route *route)
{
	struct path_table *table = session->table;
	const struct route_host *second_choice = NULL;

	if (session->tried_count >= ROUTE_HOSTS_MAX)
		return NULL;
	for (unsigned i = 0; i < route->host_count; i++) {
		const struct route_host *host = &route->hosts[i];
		const struct host_note *note;

		if (!is_reachable(route, host) || is_tried(session, host))
			continue;
		note = host_memory_find(table->hosts, &host->address, host->port);
		if (!note || note->bad_until_us <= table->now.mono_us)
			return host;
		if (!second_choice)
			second_choice = host;
	}
	return second_choice;
}

const struct route_host *route_find_host(const struct route *route, const struct session_host *host)
{
	for (unsigned i = 0; i < route->host_count; i++)
		if (route->hosts[i].port == host->port &&
		    ip_equal(&route->hosts[i].address, &host->address))
			return &route->hosts[i];
	return NULL;
}

/* ---- All hosts failed ---- */

/** Is anything else there that can still serve the path's waiting deliveries? */
static bool has_other_sessions(const struct path_session *session)
{
	const struct path_table *table = session->table;
	const struct path *path = &table->paths[session->path];

	for (uint32_t i = path->first; i != NONE; i = table->sessions[i].path_next) {
		const struct path_session *other = &table->sessions[i];

		if (other != session && !other->close_after &&
		    (other->state == SESSION_OPEN || other->state == SESSION_CONNECTING))
			return true;
	}
	return false;
}

static void decide_unreached(struct path_session *session, struct delivery *delivery, bool refused)
{
	const struct smtp_client_failure *failure = &session->client.failure;

	if (session->tried_count > 0)
		delivery->host = route_find_host(delivery->route, &session->host);
	delivery->source_address = session->source;
	delivery->hosts_tried = session->tried_count;
	delivery->session = (uint64_t)session->table->settings.worker << 48 | session->serial;
	delivery_decide(delivery, OUTCOME_DEFERRED, failure->phase, &failure->reply,
			failure->remote);
	for (uint32_t i = 0; i < delivery->recipient_count; i++)
		delivery->recipients[i].outcome = refused ? OUTCOME_BOUNCED : OUTCOME_DEFERRED;
}

/**
 * No host is left. The slot goes back; those who wait, wait for the path's other connections, or
 * are told.
 */
static void give_up(struct path_session *session)
{
	struct path_table *table = session->table;
	struct path *path = &table->paths[session->path];
	bool refused = session->tried_count > 0 && session->refused_count == session->tried_count;
	bool others = has_other_sessions(session);

	if (!others && path->waiting.count > 0) {
		/* The first one takes the slot home. */
		path->waiting.head->slot_closed = true;
		path->slots--;
		while (path->waiting.count > 0) {
			struct delivery *delivery = delivery_queue_take(&path->waiting);

			decide_unreached(session, delivery, refused);
			report_delivery(table, delivery);
		}
	} else {
		report_slots(table, path, 1);
	}
	session_free(session);
}

/* ---- One host ---- */

/** Remember why the host at hand cannot be used; ours, with the host's name. */
static void connect_failed(struct path_session *session, uint16_t subject, uint16_t detail,
			   const char *why)
{
	struct smtp_client_failure *failure = &session->client.failure;
	char address[IP_ADDRESS_TEXT];

	*failure =
		(struct smtp_client_failure){.kind = CLIENT_FAILURE_LOST, .phase = PHASE_CONNECT};
	smtp_reply_local(&failure->reply, 4, subject, detail, "connect to %s[%s]:%u: %s",
			 session->host_name, ip_format(&session->host.address, address),
			 session->host.port, why);
}

static void use_host(struct path_session *session, const struct route *route,
		     const struct route_host *host)
{
	size_t name_size;

	session->host = (struct session_host){.address = host->address, .port = host->port};
	session->tried[session->tried_count++] = session->host;
	session->route_generation = route->generation;
	session->settings = route->settings;
	session->source = ip_is_v4(&host->address) ? route->source_v4 : route->source_v6;
	session->avoid_tls = false;
	session->avoid_chunking = false;
	/* Names from DNS may end with the root's dot; SNI must not (RFC 6066, 3). */
	name_size = strlen(host->name);
	if (name_size > 1 && host->name[name_size - 1] == '.')
		name_size--;
	snprintf(session->host_name, sizeof(session->host_name), "%.*s", (int)name_size,
		 host->name);
	snprintf(session->site, sizeof(session->site), "%s", route->site);
	/* The engine's copy is made when the connection is up; the route may be gone by then. */
	snprintf(session->client.ehlo_name, sizeof(session->client.ehlo_name), "%s",
		 route->ehlo_name);
}

/** @return 0, or negative: this host cannot even be tried */
static int connect_host(struct path_session *session)
{
	struct path_table *table = session->table;
	tcp_handle connection;
	int code;

	session->tls = false;
	session->messages = 0;
	session->segments_told = 0;
	session->retransmitted_told = 0;
	session->bytes = 0;
	session->connect_us = 0;
	session->tls_us = 0;
	session->tls_version[0] = '\0';
	session->tls_cipher[0] = '\0';
	session->after = AFTER_FREE;
	session->connect_began_us = table->now.mono_us;
	code = tcp_connect(table->settings.stack, &session->source, &session->host.address,
			   session->host.port, session->settings.connect_timeout_us,
			   &stream_tcp_callbacks, &session->stream, &table->now, &connection);
	if (code != 0)
		return code;
	if (session->settings.use_bbr) /* CUBIC when there is no memory for it, counted */
		tcp_set_congestion(table->settings.stack, connection, TCP_BBR);
	session->serial = ++table->serial;
	stream_init(&session->stream, table->settings.stack, connection, table->settings.chunks,
		    &session_stream_callbacks, session, &table->now, true);
	session->state = SESSION_CONNECTING;
	session->deadline_us =
		table->now.mono_us + session->settings.connect_timeout_us + CONNECT_GRACE_US;
	session_arm(session);
	return 0;
}

static void connect_refused_by_us(struct path_session *session, int code)
{
	session->table->counters.connections_failed++;
	switch (code) {
	case -ENETUNREACH:
		connect_failed(session, 4, 4, "no route");
		break;
	case -EADDRNOTAVAIL:
		connect_failed(session, 4, 4, "source address unknown, or no port left");
		break;
	default:
		connect_failed(session, 3, 2, "connection table full");
		break;
	}
}

void session_open_next(struct path_session *session)
{
	struct path_table *table = session->table;
	struct path *path = &table->paths[session->path];

	for (;;) {
		const struct route_host *host;
		const struct route *route;
		int code;

		if (path->waiting.count == 0) {
			/* Others were faster: nobody needs it any more. */
			session_free(session);
			return;
		}
		route = path->waiting.head->route;
		host = choose_host(session, route);
		if (!host)
			break;
		use_host(session, route, host);
		code = connect_host(session);
		if (code == 0)
			return;
		connect_refused_by_us(session, code);
	}
	if (session->tried_count == 0) {
		struct smtp_client_failure *failure = &session->client.failure;

		*failure = (struct smtp_client_failure){.phase = PHASE_CONNECT};
		smtp_reply_local(
			&failure->reply, 4, 4, 4,
			"no host of the site has an address of a family that the source has");
	}
	give_up(session);
}

void session_open_again(struct path_session *session)
{
	struct path *path = &session->table->paths[session->path];
	int code;

	if (path->waiting.count == 0) {
		session_free(session);
		return;
	}
	code = connect_host(session);
	if (code == 0)
		return;
	connect_refused_by_us(session, code);
	session_open_next(session);
}

/*
 * RFC 7504, 3: 521 says that the host never takes mail, whoever asks. 554 in the greeting (RFC
 * 5321, 3.1) would say so too, but most hosts that say it mean the address that we come from: our
 * next attempt may have another, or a better name, so it waits.
 */
static bool takes_no_mail(const struct smtp_client_failure *failure)
{
	return failure->kind == CLIENT_FAILURE_REPLY && failure->remote &&
	       (failure->phase == PHASE_GREETING || failure->phase == PHASE_EHLO) &&
	       failure->reply.code == 521;
}

void session_host_failed(struct path_session *session)
{
	struct path_table *table = session->table;
	uint64_t now_us = table->now.mono_us;

	session->refused_count += takes_no_mail(&session->client.failure);
	host_note_failed(
		host_memory_touch(table->hosts, &session->host.address, session->host.port, now_us),
		now_us);
	session->after = AFTER_NEXT_HOST;
}
