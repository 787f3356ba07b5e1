/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One event as one line of JSON. Written by hand since it is the hottest text of the control plane:
 * about a microsecond a line. Names are KumoMTA's where the meaning is equal, so that pipelines
 * read both.
 */
#include "control/events/event_format.h"

#include "drivers/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void text_buffer_reserve(struct text_buffer *buffer, size_t more)
{
	size_t room = buffer->room > 0 ? buffer->room : 4096;

	if (buffer->size + more <= buffer->room)
		return;
	while (room < buffer->size + more)
		room *= 2;
	buffer->data = realloc(buffer->data, room);
	if (buffer->data == NULL)
		abort();
	buffer->room = room;
}

static void put(struct text_buffer *buffer, const char *text, size_t size)
{
	text_buffer_reserve(buffer, size);
	memcpy(buffer->data + buffer->size, text, size);
	buffer->size += size;
}

#define PUT(buffer, literal) put(buffer, literal, sizeof(literal) - 1)

static void put_number(struct text_buffer *buffer, uint64_t value)
{
	char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	put(buffer, at, (size_t)(digits + sizeof(digits) - at));
}

static void put_hex(struct text_buffer *buffer, uint64_t value)
{
	static const char digits[] = "0123456789abcdef";
	char text[16];

	for (int i = 15; i >= 0; i--, value >>= 4)
		text[i] = digits[value & 15];
	put(buffer, text, sizeof(text));
}

/*
 * Octets of the UTF-8 sequence at `at` (RFC 3629): no overlong forms, no surrogates, nothing above
 * U+10FFFF. The end of the text is a NUL, which is no continuation.
 */
static unsigned utf8_length(const unsigned char *at)
{
	unsigned count = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;

	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	for (unsigned i = 1; i < count; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	return count;
}

static void put_escape(struct text_buffer *buffer, unsigned code)
{
	static const char digits[] = "0123456789abcdef";
	char text[6] = {'\\',
			'u',
			digits[code >> 12 & 15],
			digits[code >> 8 & 15],
			digits[code >> 4 & 15],
			digits[code & 15]};

	put(buffer, text, sizeof(text));
}

/* What cannot stand as it is; returns the octets taken. */
static unsigned put_special(struct text_buffer *buffer, const unsigned char *at)
{
	unsigned count;

	if (*at == '"' || *at == '\\') {
		char pair[2] = {'\\', (char)*at};

		put(buffer, pair, 2);
		return 1;
	}
	if (*at < 0x80) {
		put_escape(buffer, *at);
		return 1;
	}
	count = utf8_length(at);
	if (count == 0) {
		PUT(buffer, "\xef\xbf\xbd");
		return 1;
	}
	/* C1 controls drive terminals too. */
	if (at[0] == 0xc2 && at[1] < 0xa0)
		put_escape(buffer, at[1]);
	else
		put(buffer, (const char *)at, count);
	return count;
}

void event_put_string(struct text_buffer *buffer, const char *text)
{
	const unsigned char *at = (const unsigned char *)text, *from = at;

	PUT(buffer, "\"");
	while (*at != '\0') {
		if (*at >= 0x20 && *at < 0x7f && *at != '"' && *at != '\\') {
			at++;
			continue;
		}
		put(buffer, (const char *)from, (size_t)(at - from));
		at += put_special(buffer, at);
		from = at;
	}
	put(buffer, (const char *)from, (size_t)(at - from));
	PUT(buffer, "\"");
}

static void put_two(char *at, int value)
{
	at[0] = (char)('0' + value / 10);
	at[1] = (char)('0' + value % 10);
}

/* "2026-01-31T12:00:00.123456Z" in quotes. */
static void put_time(struct text_buffer *buffer, uint64_t wall_us)
{
	char text[30] = "\"0000-00-00T00:00:00.000000Z\"";
	time_t seconds = (time_t)(wall_us / US_PER_S);
	unsigned us = (unsigned)(wall_us % US_PER_S);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	put_two(text + 1, (tm.tm_year + 1900) / 100 % 100);
	put_two(text + 3, tm.tm_year % 100);
	put_two(text + 6, tm.tm_mon + 1);
	put_two(text + 9, tm.tm_mday);
	put_two(text + 12, tm.tm_hour);
	put_two(text + 15, tm.tm_min);
	put_two(text + 18, tm.tm_sec);
	for (int i = 26; i > 20; i--, us /= 10)
		text[i] = (char)('0' + us % 10);
	put(buffer, text, 29);
}

/* Members of the object; the first one has no comma before it. */

static void put_name(struct text_buffer *buffer, const char *name)
{
	if (buffer->size > 0 && buffer->data[buffer->size - 1] != '{')
		PUT(buffer, ",");
	PUT(buffer, "\"");
	put(buffer, name, strlen(name));
	PUT(buffer, "\":");
}

static void member_text(struct text_buffer *buffer, const char *name, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	put_name(buffer, name);
	event_put_string(buffer, text);
}

static void member_number(struct text_buffer *buffer, const char *name, uint64_t value)
{
	put_name(buffer, name);
	put_number(buffer, value);
}

static void member_number_if(struct text_buffer *buffer, const char *name, uint64_t value)
{
	if (value != 0)
		member_number(buffer, name, value);
}

static void member_true(struct text_buffer *buffer, const char *name, bool value)
{
	if (!value)
		return;
	put_name(buffer, name);
	PUT(buffer, "true");
}

static void member_time(struct text_buffer *buffer, const char *name, uint64_t wall_us)
{
	put_name(buffer, name);
	put_time(buffer, wall_us);
}

static void member_address(struct text_buffer *buffer, const char *name,
			   const struct ip_address *address)
{
	char text[IP_ADDRESS_TEXT];

	if (address != NULL)
		member_text(buffer, name, ip_format(address, text));
}

static void put_recipients(struct text_buffer *buffer, const struct event *event)
{
	if (event->recipient_count == 0)
		return;
	put_name(buffer, "recipient");
	if (event->recipient_count == 1) {
		event_put_string(buffer, event->recipients[0]);
		return;
	}
	PUT(buffer, "[");
	for (unsigned i = 0; i < event->recipient_count; i++) {
		if (i > 0)
			PUT(buffer, ",");
		event_put_string(buffer, event->recipients[i]);
	}
	PUT(buffer, "]");
}

static void put_response(struct text_buffer *buffer, const struct event *event)
{
	if (event->reply_code == 0 && event->reply_text == NULL)
		return;
	put_name(buffer, "response");
	PUT(buffer, "{");
	member_number(buffer, "code", event->reply_code);
	if (event->enhanced.class != 0) {
		put_name(buffer, "enhanced_code");
		PUT(buffer, "{");
		member_number(buffer, "class", event->enhanced.class);
		member_number(buffer, "subject", event->enhanced.subject);
		member_number(buffer, "detail", event->enhanced.detail);
		PUT(buffer, "}");
	}
	put_name(buffer, "content");
	/* Behind the codes a reply has a blank. */
	event_put_string(buffer, event->reply_text != NULL
					 ? event->reply_text + strspn(event->reply_text, " ")
					 : "");
	member_text(buffer, "command", event->phase);
	put_name(buffer, "remote");
	if (event->reply_remote)
		PUT(buffer, "true");
	else
		PUT(buffer, "false");
	PUT(buffer, "}");
}

static void put_addresses(struct text_buffer *buffer, const struct event *event)
{
	if (event->peer_address != NULL || event->peer_name != NULL) {
		put_name(buffer, "peer_address");
		PUT(buffer, "{");
		member_text(buffer, "name", event->peer_name);
		member_address(buffer, "addr", event->peer_address);
		PUT(buffer, "}");
	}
	if (event->source_address != NULL) {
		put_name(buffer, "source_address");
		PUT(buffer, "{");
		member_address(buffer, "address", event->source_address);
		PUT(buffer, "}");
	}
}

static void put_session(struct text_buffer *buffer, const struct event *event)
{
	member_text(buffer, "reception_protocol", event->reception_protocol);
	member_text(buffer, "tls_protocol_version", event->tls_version);
	member_text(buffer, "tls_cipher", event->tls_cipher);
	if (event->session != 0) {
		put_name(buffer, "session_id");
		PUT(buffer, "\"");
		put_hex(buffer, event->session);
		PUT(buffer, "\"");
	}
	member_true(buffer, "session_reused", event->reused);
}

/* What TCP saw of the path: an operator's answer to "is it the network?" */
static void put_measure(struct text_buffer *buffer, const struct tcp_measure *m)
{
	if (m->congestion == NULL)
		return;
	put_name(buffer, "tcp");
	PUT(buffer, "{");
	member_number_if(buffer, "rtt_us", m->rtt_us);
	member_number_if(buffer, "rtt_min_us", m->rtt_min_us);
	member_number(buffer, "segments", m->segments);
	member_number(buffer, "retransmitted", m->retransmitted);
	member_number(buffer, "loss_ppm",
		      m->segments != 0 ? (uint64_t)m->retransmitted * 1000000 / m->segments : 0);
	member_true(buffer, "reordering", m->reordering);
	member_true(buffer, "ecn", m->ecn);
	member_number(buffer, "pmtu", m->pmtu);
	member_number(buffer, "cwnd_bytes", m->cwnd_bytes);
	member_text(buffer, "congestion", m->congestion);
	PUT(buffer, "}");
}

static void put_ours(struct text_buffer *buffer, const struct event *event)
{
	char id[MESSAGE_ID_TEXT];

	member_text(buffer, "tenant", event->tenant);
	member_text(buffer, "campaign", event->campaign);
	member_text(buffer, "listener", event->listener);
	member_text(buffer, "auth_user", event->auth_user);
	member_text(buffer, "helo", event->helo);
	member_text(buffer, "message_id", event->message_id_header);
	member_true(buffer, "possible_duplicate", event->possible_duplicate);
	member_true(buffer, "generated", event->generated);
	if (event->dsn_for != NULL)
		member_text(buffer, "dsn_for", message_id_format(event->dsn_for, id));
	if (event->next_attempt_us != 0)
		member_time(buffer, "next_attempt", event->next_attempt_us);
	member_number_if(buffer, "connect_us", event->connect_us);
	member_number_if(buffer, "tls_us", event->tls_us);
	member_number_if(buffer, "transaction_us", event->transaction_us);
	member_number_if(buffer, "commit_us", event->commit_us);
	member_number(buffer, "worker", event->worker);
	member_number(buffer, "config_revision", event->config_revision);
}

const char *event_type_name(enum event_type type)
{
	static const char *const names[] = {
		[EVENT_RECEPTION] = "Reception",
		[EVENT_DELIVERY] = "Delivery",
		[EVENT_TRANSIENT_FAILURE] = "TransientFailure",
		[EVENT_BOUNCE] = "Bounce",
		[EVENT_EXPIRATION] = "Expiration",
		[EVENT_ADMIN_BOUNCE] = "AdminBounce",
	};

	return names[type];
}

/* NODE-SHARD-SERIAL: unlike in a whole fleet, so that a reader can drop what it saw before. */
static void put_event_id(struct text_buffer *buffer, uint64_t event_id, const char *node)
{
	put_name(buffer, "event_id");
	PUT(buffer, "\"");
	put(buffer, node, strlen(node));
	PUT(buffer, "-");
	put_number(buffer, event_id >> 48);
	PUT(buffer, "-");
	put_number(buffer, event_id & ((UINT64_C(1) << 48) - 1));
	PUT(buffer, "\"");
}

void event_format(struct text_buffer *buffer, const struct event *event, const char *node,
		  unsigned part)
{
	char id[MESSAGE_ID_TEXT];

	PUT(buffer, "{");
	member_text(buffer, "type", event_type_name(event->type));
	member_text(buffer, "id", message_id_format(&event->id, id));
	put_event_id(buffer, event->event_id, node);
	member_number_if(buffer, "part", part);
	member_number(buffer, "timestamp", event->time_us / US_PER_S);
	member_time(buffer, "event_time", event->time_us);
	if (event->created_us != 0) {
		member_number(buffer, "created", event->created_us / US_PER_S);
		member_time(buffer, "created_time", event->created_us);
	}
	put_name(buffer, "sender");
	event_put_string(buffer, event->sender != NULL ? event->sender : "");
	put_recipients(buffer, event);
	member_text(buffer, "queue", event->queue);
	member_text(buffer, "site", event->site);
	member_number(buffer, "size", event->size);
	member_number(buffer, "num_attempts", event->attempts);
	put_response(buffer, event);
	put_addresses(buffer, event);
	member_text(buffer, "egress_pool", event->pool);
	member_text(buffer, "egress_source", event->source);
	member_text(buffer, "nodeid", node);
	put_session(buffer, event);
	put_measure(buffer, &event->measure);
	put_ours(buffer, event);
	PUT(buffer, "}\n");
}
