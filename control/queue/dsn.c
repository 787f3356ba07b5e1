/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See dsn.h. */
#include "control/queue/dsn.h"

#include "dataplane/smtp/orcpt.h"
#include "drivers/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/** Of a header that is looked for or returned alone; the rest of a longer one is cut off: a
 * stranger chose its size, and the notice must fit in one batch of the spool. */
#define HEADER_MAX (128u * 1024)

struct writer {
	struct chunk_list *list;
	struct chunk_pool *pool;
	bool full;
	bool ascii; /**< replies must not make the notice 8-bit: the way back may not take that */
};

static void put_bytes(struct writer *w, const void *data, size_t size)
{
	if (!w->full && chunk_list_append(w->list, w->pool, data, size) < 0)
		w->full = true;
}

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *format, ...)
{
	char text[1200];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size >= (int)sizeof(text))
		size = sizeof(text) - 1;
	if (size > 0)
		put_bytes(w, text, (size_t)size);
}

static bool is_ascii(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text & 0x80)
			return false;
	}
	return true;
}

/** A reply, in what the notice may hold. @param text at least REPLY_TEXT bytes */
static const char *reply_text(const struct writer *w, const char *reply, char *text)
{
	size_t i;

	for (i = 0; reply[i] && i < REPLY_TEXT - 1; i++)
		text[i] = (char)(w->ascii && (unsigned char)reply[i] & 0x80 ? '?' : reply[i]);
	text[i] = '\0';
	return text;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *xtext_decode(const char *text, char *to, size_t size)
{
	size_t used = 0;

	while (*text && used + 1 < size) {
		int high = text[0] == '+' ? hex(text[1]) : -1;
		int low = high >= 0 ? hex(text[2]) : -1;
		int value = high * 16 + low;

		/* What it decodes to must not end the line or the field. */
		if (low >= 0 && value >= 0x20 && value < 0x7f) {
			to[used++] = (char)value;
			text += 3;
		} else {
			to[used++] = *text++;
		}
	}
	to[used] = '\0';
	return to;
}

/** RFC 5322, 3.3, in UTC. @param text at least 40 bytes */
static char *date(uint64_t wall_us, char *text)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(wall_us / US_PER_S);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(text, 40, "%.3s, %d %.3s %d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday,
		 tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		 tm.tm_sec);
	return text;
}

static const char *subject(const struct dsn *dsn)
{
	switch (dsn->recipients[0].action) {
	case DSN_DELAYED:
		return "Delayed Mail (still being retried)";
	case DSN_RELAYED:
		return "Successful Mail Delivery Report";
	default:
		return "Undelivered Mail Returned to Sender";
	}
}

static void put_header(struct writer *w, const struct dsn *dsn, const char *boundary,
		       const struct dsn_result *result)
{
	char text[40], id[MESSAGE_ID_TEXT];

	put(w, "From: Mail Delivery System <%.320s>\r\n", dsn->postmaster);
	put(w, "To: <%.600s>\r\n", dsn->to);
	put(w, "Subject: %s\r\n", subject(dsn));
	put(w, "Date: %s\r\n", date(dsn->now_us, text));
	put(w, "Message-ID: <%s@%.255s>\r\n", message_id_format(&dsn->id, id), dsn->hostname);
	/* RFC 3834, 5 */
	put(w, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	put(w,
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n",
	    boundary);
	if (result->flags & MESSAGE_8BITMIME)
		put(w, "Content-Transfer-Encoding: 8bit\r\n");
	put(w, "\r\n");
}

/** Status of RFC 3464, 2.3.4. */
static struct enhanced_code status_of(const struct dsn_recipient *recipient)
{
	struct enhanced_code status = recipient->status;

	if (recipient->action == DSN_RELAYED)
		return status.class == 2 ? status : (struct enhanced_code){2, 0, 0};
	if (recipient->action == DSN_DELAYED)
		return status.class == 4 ? status : (struct enhanced_code){4, 0, 0};
	if (recipient->expired)
		return (struct enhanced_code){4, 4, 7};
	return status.class == 5 ? status : (struct enhanced_code){5, 0, 0};
}

static void put_people_recipient(struct writer *w, const struct dsn_recipient *recipient)
{
	char text[REPLY_TEXT];

	put(w, "  <%.600s>\r\n", recipient->address);
	if (!recipient->reply[0])
		return;
	if (recipient->remote)
		put(w, "    %.255s said:\r\n", recipient->host[0] ? recipient->host : "The peer");
	if (recipient->remote && recipient->code)
		put(w, "    %u %s\r\n", recipient->code, reply_text(w, recipient->reply, text));
	else
		put(w, "    %s\r\n", reply_text(w, recipient->reply, text));
}

static void put_people(struct writer *w, const struct dsn *dsn)
{
	char text[40], id[MESSAGE_ID_TEXT];

	put(w, "This is the mail system at host %.255s.\r\n\r\n", dsn->hostname);
	switch (dsn->recipients[0].action) {
	case DSN_FAILED:
		put(w,
		    "Your message could not be delivered to the recipients below, and will not\r\n"
		    "be tried again.\r\n\r\n");
		break;
	case DSN_DELAYED:
		put(w,
		    "Your message has not been delivered yet to the recipients below.\r\n"
		    "You need not send it again: it will be tried until\r\n%s.\r\n\r\n",
		    date(dsn->recipients[0].retry_until_us, text));
		break;
	case DSN_RELAYED:
		put(w,
		    "Your message was handed to the next mail system for the recipients below.\r\n"
		    "That system does not send reports of delivery.\r\n\r\n");
		break;
	}
	for (unsigned i = 0; i < dsn->recipient_count; i++)
		put_people_recipient(w, &dsn->recipients[i]);
	if (dsn->recipients[0].expired)
		put(w, "\r\nIts time is over; the last answer is given above.\r\n");
	put(w, "\r\nIt arrived here at %s\r\nas %s.\r\n", date(dsn->arrived_us, text),
	    message_id_format(&dsn->about, id));
}

/** Original-Recipient: type;value with the value decoded (RFC 3461, 4.2 and 6.3). */
static void put_orcpt(struct writer *w, const char *orcpt)
{
	const char *value = strchr(orcpt, ';');
	char text[1024];

	if (!value || value - orcpt > 60)
		return;
	if (strncasecmp(orcpt, "utf-8;", 6) == 0) { /* 7 bits: \x{...} (RFC 6533, 3) */
		if (orcpt_write(orcpt, false, text) > 0)
			put(w, "Original-Recipient: %s\r\n", text);
		return;
	}
	put(w, "Original-Recipient: %.*s;%.600s\r\n", (int)(value - orcpt), orcpt,
	    xtext_decode(value + 1, text, sizeof(text)));
}

static void put_status_recipient(struct writer *w, const struct dsn_recipient *recipient)
{
	static const char *const actions[] = {"failed", "delayed", "relayed"};
	struct enhanced_code status = status_of(recipient);
	char text[REPLY_TEXT];

	put(w, "\r\n");
	if (recipient->orcpt)
		put_orcpt(w, recipient->orcpt);
	put(w, "Final-Recipient: %s;%.600s\r\n", is_ascii(recipient->address) ? "rfc822" : "utf-8",
	    recipient->address);
	put(w, "Action: %s\r\nStatus: %u.%u.%u\r\n", actions[recipient->action], status.class,
	    status.subject, status.detail);
	if (recipient->host[0])
		put(w, "Remote-MTA: dns;%.255s\r\n", recipient->host);
	if (recipient->reply[0] && recipient->remote && recipient->code)
		put(w, "Diagnostic-Code: smtp;%u %s\r\n", recipient->code,
		    reply_text(w, recipient->reply, text));
	else if (recipient->reply[0])
		put(w, "Diagnostic-Code: x-millrace;%s\r\n", reply_text(w, recipient->reply, text));
	if (recipient->attempted_us)
		put(w, "Last-Attempt-Date: %s\r\n", date(recipient->attempted_us, text));
	if (recipient->action == DSN_DELAYED)
		put(w, "Will-Retry-Until: %s\r\n", date(recipient->retry_until_us, text));
}

static void put_status(struct writer *w, const struct dsn *dsn)
{
	char text[512];

	if (dsn->envid)
		put(w, "Original-Envelope-Id: %.400s\r\n",
		    xtext_decode(dsn->envid, text, sizeof(text)));
	put(w, "Reporting-MTA: dns;%.255s\r\n", dsn->hostname);
	put(w, "Arrival-Date: %s\r\n", date(dsn->arrived_us, text));
	for (unsigned i = 0; i < dsn->recipient_count; i++)
		put_status_recipient(w, &dsn->recipients[i]);
}

/** Octets of the header section with its blank line. */
static uint64_t header_size(const struct dsn *dsn)
{
	struct chunk_cursor cursor = chunk_list_begin(dsn->original);
	static const char end[] = "\r\n\r\n";
	const uint8_t *data;
	uint64_t seen = 0;
	unsigned matched = 2; /* an empty header begins with the blank line */
	size_t span;

	if (dsn->header_size && dsn->header_size <= dsn->original->size)
		return dsn->header_size < HEADER_MAX ? dsn->header_size : HEADER_MAX;
	while (seen < HEADER_MAX && (span = chunk_cursor_span(&cursor, &data)) > 0) {
		for (size_t i = 0; i < span; i++, seen++) {
			if (data[i] != (uint8_t)end[matched])
				matched = data[i] == '\r';
			else if (++matched == 4)
				return seen + 1;
		}
		chunk_cursor_advance(&cursor, span);
	}
	return seen;
}

static void put_original(struct writer *w, const struct dsn *dsn, uint64_t size)
{
	struct chunk_cursor cursor = chunk_list_begin(dsn->original);
	const uint8_t *data;
	uint8_t last = '\n';
	size_t span;

	while (size > 0 && (span = chunk_cursor_span(&cursor, &data)) > 0) {
		if (span > size)
			span = (size_t)size;
		put_bytes(w, data, span);
		last = data[span - 1];
		chunk_cursor_advance(&cursor, span);
		size -= span;
	}
	if (last != '\n')
		put(w, "\r\n");
}

static bool needs_utf8(const struct dsn *dsn)
{
	if (!is_ascii(dsn->to) || (dsn->original && dsn->flags & MESSAGE_HEADER_8BIT))
		return true;
	for (unsigned i = 0; i < dsn->recipient_count; i++) {
		if (!is_ascii(dsn->recipients[i].address))
			return true;
	}
	return false;
}

static uint32_t result_flags(const struct dsn *dsn, bool utf8)
{
	uint32_t flags = MESSAGE_GENERATED;

	if (utf8)
		flags |= MESSAGE_SMTPUTF8 | MESSAGE_8BITMIME;
	if (!is_ascii(dsn->to))
		flags |= MESSAGE_HEADER_8BIT;
	if (utf8 || (dsn->original && dsn->full && dsn->flags & MESSAGE_BODY_8BIT))
		flags |= MESSAGE_BODY_8BIT | MESSAGE_8BITMIME;
	if (dsn->original)
		flags |= dsn->flags & MESSAGE_LONG_LINES;
	return flags;
}

int dsn_compose(const struct dsn *dsn, struct chunk_list *out, struct chunk_pool *pool,
		struct dsn_result *result)
{
	bool utf8 = needs_utf8(dsn);
	struct writer w = {.list = out, .pool = pool, .ascii = !utf8};
	char boundary[MESSAGE_ID_TEXT + 16], id[MESSAGE_ID_TEXT];
	const char *encoding;

	result->flags = result_flags(dsn, utf8);
	encoding = result->flags & MESSAGE_8BITMIME ? "Content-Transfer-Encoding: 8bit\r\n" : "";
	snprintf(boundary, sizeof(boundary), "=_%s", message_id_format(&dsn->id, id));
	put_header(&w, dsn, boundary, result);
	result->header_size = (uint32_t)out->size;
	put(&w, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n%s\r\n", boundary, encoding);
	put_people(&w, dsn);
	put(&w, "\r\n--%s\r\nContent-Type: message/%s\r\n%s\r\n", boundary,
	    utf8 ? "global-delivery-status" : "delivery-status", encoding);
	put_status(&w, dsn);
	if (dsn->original) {
		const char *whole = utf8 ? "message/global" : "message/rfc822";
		const char *header = utf8 ? "message/global-headers" : "text/rfc822-headers";

		put(&w, "\r\n--%s\r\nContent-Type: %s\r\n%s\r\n", boundary,
		    dsn->full ? whole : header, encoding);
		put_original(&w, dsn, dsn->full ? dsn->original->size : header_size(dsn));
	}
	put(&w, "\r\n--%s--\r\n", boundary);
	if (!w.full)
		return 0;
	chunk_list_free(out, pool);
	return -ENOBUFS;
}
