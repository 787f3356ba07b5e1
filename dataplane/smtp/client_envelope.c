/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The envelope as the SMTP client sends it: which recipients may go at all to this peer, and the
 * MAIL and RCPT commands with the parameters that the peer offered (RFC 1870, 3461, 6152, 6531,
 * 9422). See client_private.h.
 */
#include "dataplane/smtp/client_private.h"
#include "dataplane/smtp/orcpt.h"
#include "dataplane/smtp/utf8.h"

#include <string.h>
#include <strings.h>

static bool is_ascii(const char *text)
{
	return text_is_ascii(text, strlen(text));
}

/* What ends a command or a path early must never come from an address: it was parsed at reception,
 * this is the net. */
static bool is_safe_path(const char *address)
{
	bool quoted = false;
	size_t size = 0;

	for (; address[size]; size++) {
		unsigned char c = (unsigned char)address[size];

		if (c < ' ' || c == 127)
			return false;
		if (quoted && c == '\\' && address[size + 1])
			size++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == ' ' || c == '<' || c == '>'))
			return false;
	}
	return size <= SMTP_PATH_MAX && !quoted;
}

/* RFC 3461, 4: xtext is printable ASCII without space. */
static bool is_xtext(const char *text, size_t most)
{
	size_t size = 0;

	for (; text[size]; size++)
		if (text[size] <= ' ' || text[size] > '~')
			return false;
	return size > 0 && size <= most;
}

static void refuse_at(struct delivery_recipient *recipient, enum smtp_phase phase, uint16_t code,
		      enum outcome outcome, struct enhanced_code enhanced, const char *text)
{
	struct smtp_reply reply;

	smtp_reply_local(&reply, enhanced.class, enhanced.subject, enhanced.detail, "%s", text);
	reply.code = code;
	delivery_recipient_decide(recipient, outcome, phase, &reply, false);
}

static void refuse(struct delivery_recipient *recipient, uint16_t code,
		   struct enhanced_code enhanced, const char *text)
{
	refuse_at(recipient, PHASE_MAIL, code, OUTCOME_BOUNCED, enhanced, text);
}

static void refuse_all(struct delivery *delivery, uint16_t code, struct enhanced_code enhanced,
		       const char *text)
{
	for (uint32_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i].outcome == OUTCOME_NONE)
			refuse(&delivery->recipients[i], code, enhanced, text);
}

/* RFC 6531, 3.4 and 3.6: the parameter is for messages that need it; a peer without it cannot have
 * those. */
static void check_utf8(struct smtp_client *client)
{
	struct delivery *delivery = client->transaction.delivery;
	const struct enhanced_code code = {5, 6, 7};
	bool all = (delivery->flags & MESSAGE_SMTPUTF8 && delivery->flags & MESSAGE_HEADER_8BIT) ||
		   !is_ascii(delivery->mail_from);

	client->transaction.smtputf8 =
		client->features.smtputf8 && (delivery->flags & MESSAGE_SMTPUTF8 || all);
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		struct delivery_recipient *recipient = &delivery->recipients[i];
		bool ascii = is_ascii(recipient->address);

		if (recipient->outcome != OUTCOME_NONE || (ascii && !all))
			continue;
		if (client->features.smtputf8)
			client->transaction.smtputf8 = true;
		else
			refuse(recipient, 0, code,
			       "the message needs SMTPUTF8, which the next host does not offer");
	}
}

static bool body_is_8bit(const struct delivery *delivery)
{
	return delivery->flags & (MESSAGE_BODY_8BIT | MESSAGE_HEADER_8BIT);
}

static void check_paths(struct delivery *delivery)
{
	const struct enhanced_code bad_sender = {5, 1, 7}, bad_recipient = {5, 1, 3};

	if (!is_safe_path(delivery->mail_from))
		refuse_all(delivery, 0, bad_sender, "the reverse-path cannot be sent");
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		struct delivery_recipient *recipient = &delivery->recipients[i];

		if (recipient->outcome == OUTCOME_NONE &&
		    (!recipient->address[0] || !is_safe_path(recipient->address)))
			refuse(recipient, 0, bad_recipient, "the address cannot be sent");
	}
}

uint32_t client_recipients_max(const struct smtp_client *client)
{
	uint32_t stated = client->features.recipients_max, learned = client->recipients_learned;

	if (stated == 0 || (learned != 0 && learned < stated))
		return learned;
	return stated;
}

/* Beyond the peer's limits, as if it had answered RCPT so: 452 4.5.3 tells the shard to send these
 * again at once. */
static uint32_t check_limits(struct smtp_client *client)
{
	struct delivery *delivery = client->transaction.delivery;
	const struct enhanced_code too_many = {4, 5, 3};
	uint32_t most = client_recipients_max(client), count = 0;
	const char *domain = NULL;

	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		struct delivery_recipient *recipient = &delivery->recipients[i];
		const char *at = strrchr(recipient->address, '@');

		if (recipient->outcome != OUTCOME_NONE)
			continue;
		/* RCPTDOMAINMAX above one is rare; one domain a transaction satisfies any. */
		if ((most && count >= most) ||
		    (client->features.domains_max && domain && at && strcasecmp(domain, at) != 0)) {
			refuse_at(recipient, PHASE_RCPT, 452, OUTCOME_DEFERRED, too_many,
				  "more recipients than the next host takes at once");
			continue;
		}
		if (!domain)
			domain = at;
		count++;
	}
	return count;
}

uint32_t client_envelope_check(struct smtp_client *client)
{
	struct delivery *delivery = client->transaction.delivery;

	check_paths(delivery);
	/* RFC 1870, 6.2: not worth the try. */
	if (client->features.size_max && delivery->body_size > client->features.size_max)
		refuse_all(delivery, 552, (struct enhanced_code){5, 3, 4},
			   "the message is larger than the next host takes");
	check_utf8(client);
	/* RFC 6152, 3: 8-bit octets go only to those who offer to take them. */
	if (body_is_8bit(delivery) && !client->features.eightbit && !client->transaction.smtputf8)
		refuse_all(delivery, 0, (struct enhanced_code){5, 6, 3},
			   "the message has 8-bit content, which the next host does not take");
	return check_limits(client);
}

/* ---- Commands ---- */

/** Text with an end that is known; what does not fit is a fault of ours (limits are checked
 * before). */
struct line {
	char *text;
	size_t size;
};

static void add(struct line *line, const char *text)
{
	size_t size = strlen(text);

	if (size > CLIENT_COMMAND_MAX - 3 - line->size)
		return;
	memcpy(line->text + line->size, text, size);
	line->size += size;
}

static void add_number(struct line *line, uint64_t value)
{
	char digits[21];
	char *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	add(line, at);
}

size_t client_envelope_mail(const struct smtp_client *client, char *text)
{
	const struct client_features *features = &client->features;
	const struct delivery *delivery = client->transaction.delivery;
	struct line line = {.text = text};

	add(&line, "MAIL FROM:<");
	add(&line, delivery->mail_from);
	add(&line, ">");
	if (features->size) {
		add(&line, " SIZE=");
		add_number(&line, delivery->body_size);
	}
	if (features->eightbit && (body_is_8bit(delivery) || delivery->flags & MESSAGE_8BITMIME))
		add(&line, " BODY=8BITMIME");
	if (client->transaction.smtputf8)
		add(&line, " SMTPUTF8");
	if (features->dsn) {
		if (delivery->flags & MESSAGE_RET_HDRS)
			add(&line, " RET=HDRS");
		else if (delivery->flags & MESSAGE_RET_FULL)
			add(&line, " RET=FULL");
		if (delivery->envid && is_xtext(delivery->envid, 100)) { /* RFC 3461, 4.4 */
			add(&line, " ENVID=");
			add(&line, delivery->envid);
		}
	}
	add(&line, "\r\n");
	return line.size;
}

static void add_notify(struct line *line, uint8_t notify)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} words[] = {
		{DSN_NOTIFY_SUCCESS, "SUCCESS"},
		{DSN_NOTIFY_FAILURE, "FAILURE"},
		{DSN_NOTIFY_DELAY, "DELAY"},
	};
	const char *separator = " NOTIFY=";

	if (notify & DSN_NOTIFY_NEVER) { /* RFC 3461, 4.1: NEVER stands alone */
		add(line, " NOTIFY=NEVER");
		return;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!(notify & words[i].bit))
			continue;
		add(line, separator);
		add(line, words[i].word);
		separator = ",";
	}
}

size_t client_envelope_rcpt(const struct smtp_client *client,
			    const struct delivery_recipient *recipient, char *text)
{
	struct line line = {.text = text};
	char orcpt[SMTP_ORCPT_MAX + 1];

	add(&line, "RCPT TO:<");
	add(&line, recipient->address);
	add(&line, ">");
	if (client->features.dsn) {
		add_notify(&line, recipient->notify);
		if (recipient->orcpt &&
		    orcpt_write(recipient->orcpt, client->transaction.smtputf8, orcpt) > 0) {
			add(&line, " ORCPT=");
			add(&line, orcpt);
		}
	}
	add(&line, "\r\n");
	return line.size;
}
