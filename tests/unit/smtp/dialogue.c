/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/smtp/dialogue.h"

#include "dataplane/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A scenario that says more than so much is not cut at every octet. */
#define CUTS 700

/* ---- What the engine does to the world ---- */

static void op_write(void *context, const void *data, size_t size)
{
	struct dialogue *d = context;

	assert_false(d->closed);
	assert_true(d->output_size + size < DIALOGUE_OUTPUT);
	memcpy(d->output + d->output_size, data, size);
	d->output_size += size;
	d->output[d->output_size] = '\0';
}

static size_t op_unacknowledged(void *context)
{
	struct dialogue *d = context;

	return d->output_size - d->acknowledged;
}

static int op_start_tls(void *context)
{
	struct dialogue *d = context;

	assert_false(d->tls_started);
	d->tls_started = true;
	return d->start_tls_fails ? -1 : 0;
}

static uint8_t *copy_list(const struct chunk_list *list)
{
	uint8_t *copy = malloc(list->size + 1);
	struct chunk_cursor cursor = chunk_list_begin(list);

	assert_non_null(copy);
	assert_int_equal(chunk_cursor_read(&cursor, copy, list->size + 1), list->size);
	copy[list->size] = '\0';
	return copy;
}

static void op_submit(void *context, struct submission *submission)
{
	struct dialogue *d = context;
	struct dialogue_message *message = &d->messages[d->message_count];
	uint32_t chunks = 0;

	assert_true(d->message_count < DIALOGUE_MESSAGES);
	assert_false(d->commit_pending);
	for (struct chunk *c = submission->body.head; c; c = c->next) {
		assert_true(c->length > 0 && c->length <= CHUNK_DATA);
		chunks++;
	}
	assert_int_equal(chunks, submission->body.chunks);
	assert_int_equal(submission->session, 7);
	assert_int_equal(submission->session_generation, 3);
	*message = (struct dialogue_message){
		.envelope = copy_list(&submission->envelope),
		.envelope_size = submission->envelope.size,
		.body = copy_list(&submission->body),
		.body_size = submission->body.size,
		.recipients = submission->recipients,
		.flags = submission->flags,
		.id = submission->id,
	};
	d->message_count++;
	d->committed_id = submission->id;
	d->commit_pending = true;
	chunk_list_free(&submission->envelope, d->pool);
	chunk_list_free(&submission->body, d->pool);
	chunk_free(d->pool, submission->self);
}

static void op_authenticate(void *context, struct auth_request *request)
{
	struct dialogue *d = context;
	struct chunk *self = request->self;

	assert_false(d->auth_pending);
	d->auth_pending = true;
	snprintf(d->auth_user, sizeof(d->auth_user), "%s", request->user);
	snprintf(d->auth_password, sizeof(d->auth_password), "%s", request->password);
	memset(request, 0, sizeof(*request));
	chunk_free(d->pool, self);
}

static void op_close(void *context)
{
	struct dialogue *d = context;

	assert_false(d->closed);
	d->closed = true;
}

static const struct server_operations operations = {
	.write = op_write,
	.unacknowledged = op_unacknowledged,
	.start_tls = op_start_tls,
	.submit = op_submit,
	.authenticate = op_authenticate,
	.close = op_close,
};

/* ---- Talking ---- */

void dialogue_begin(struct dialogue *d)
{
	const struct server_engine_settings settings = {
		.environment = &d->environment,
		.context = d,
		.view = &d->view,
		.listener = &d->listener,
		.peer = &d->peer,
		.peer_port = 4321,
		.slot = 7,
		.generation = 3,
		.session = UINT64_C(1) << 48 | 9,
	};

	server_engine_init(&d->engine, &settings);
	server_engine_start(&d->engine, REPLY_OK, &d->now);
}

static void offer(struct dialogue *d)
{
	while (d->waiting_size > 0) {
		size_t taken = server_engine_input(&d->engine, (uint8_t *)d->waiting,
						   d->waiting_size, &d->now);

		assert_true(taken <= d->waiting_size);
		memmove(d->waiting, d->waiting + taken, d->waiting_size - taken);
		d->waiting_size -= taken;
		if (d->hold || (!d->commit_pending && !d->auth_pending)) {
			if (taken == 0)
				return;
			continue;
		}
		dialogue_answer(d, true);
	}
	if (!d->hold && (d->commit_pending || d->auth_pending))
		dialogue_answer(d, true);
}

/** One segment. */
static void send_octets(struct dialogue *d, const char *data, size_t size)
{
	char *joined = realloc(d->waiting, d->waiting_size + size + 1);

	assert_non_null(joined);
	memcpy(joined + d->waiting_size, data, size);
	d->waiting = joined;
	d->waiting_size += size;
	d->said += size;
	offer(d);
}

void dialogue_say_octets(struct dialogue *d, const void *data, size_t size)
{
	const char *at = data;

	if (!d->deaf)
		d->acknowledged = d->output_size;
	while (size > 0) {
		size_t n = size;

		if (d->cut < 0)
			n = 1;
		else if (d->cut > 0 && d->said < (size_t)d->cut && d->said + size > (size_t)d->cut)
			n = (size_t)d->cut - d->said;
		send_octets(d, at, n);
		at += n;
		size -= n;
	}
}

void dialogue_say(struct dialogue *d, const char *text)
{
	dialogue_say_octets(d, text, strlen(text));
}

void dialogue_say_repeated(struct dialogue *d, char octet, size_t count)
{
	char *text = malloc(count + 1);

	assert_non_null(text);
	memset(text, octet, count);
	text[count] = '\0';
	dialogue_say(d, text);
	free(text);
}

static void answer_auth(struct dialogue *d, bool accepted)
{
	struct auth_request answer = {.accepted = accepted, .tenant = "user-tenant"};

	d->auth_pending = false;
	snprintf(answer.user, sizeof(answer.user), "%s", d->auth_user);
	server_engine_authenticated(&d->engine, &answer, &d->now);
}

void dialogue_answer(struct dialogue *d, bool accepted)
{
	if (d->commit_pending) {
		d->commit_pending = false;
		server_engine_committed(&d->engine, d->commit_result, &d->committed_id, &d->now);
	} else {
		assert_true(d->auth_pending);
		answer_auth(d, accepted);
	}
	offer(d);
}

void dialogue_wait(struct dialogue *d, uint64_t us)
{
	d->now.mono_us += us;
	d->now.wall_us += us;
	server_engine_timer(&d->engine, &d->now);
	offer(d);
}

void dialogue_secure(struct dialogue *d)
{
	const struct tls_information information = {.version = "TLSv1.3",
						    .cipher = "TLS_AES_128_GCM_SHA256"};

	assert_true(d->tls_started || d->listener.tls == LISTENER_TLS_IMPLICIT);
	server_engine_secured(&d->engine, &information, &d->now);
}

const char *dialogue_output(const struct dialogue *d)
{
	return d->output + d->expected;
}

void dialogue_expect_nothing(struct dialogue *d)
{
	assert_string_equal(d->output + d->expected, "");
}

/** The end of the reply that begins at text; its last line begins at *last. */
static const char *reply_end(const char *text, const char **last)
{
	for (;;) {
		const char *end = strstr(text, "\r\n");

		if (!end)
			fail_msg("a reply without an end: %s", text);
		*last = text;
		if (text[3] != '-')
			return end + 2;
		text = end + 2;
	}
}

void dialogue_expect_replies(struct dialogue *d, const char *const *prefixes)
{
	const char *at = d->output + d->expected, *last;

	for (; *prefixes; prefixes++) {
		if (*at == '\0')
			fail_msg("cut %ld: no reply where '%s' is due; before: %s", d->cut,
				 *prefixes, d->output + d->expected);
		const char *end = reply_end(at, &last);

		if (strncmp(last, *prefixes, strlen(*prefixes)) != 0)
			fail_msg("cut %ld: '%s' is due, not: %s", d->cut, *prefixes, at);
		at = end;
	}
	if (*at != '\0')
		fail_msg("cut %ld: a reply too many: %s", d->cut, at);
	d->expected = d->output_size;
}

void dialogue_ehlo(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_expect(d, "220 mx.example.org ");
	dialogue_say(d, EHLO);
	dialogue_expect(d, "250 ");
}

void dialogue_data(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250 2.1.0", "250 2.1.5", "354 ");
}

/* ---- Messages ---- */

const char *message_field(const struct dialogue_message *message, unsigned field, unsigned index)
{
	static char text[1024];
	struct envelope_reader reader = {message->envelope,
					 message->envelope + message->envelope_size};
	struct envelope_value value;
	int more;

	while ((more = envelope_next(&reader, &value)) == 1) {
		if (value.field != field || index-- > 0)
			continue;
		assert_true(value.size < sizeof(text));
		memcpy(text, value.value, value.size);
		text[value.size] = '\0';
		return text;
	}
	assert_int_equal(more, 0);
	return NULL;
}

const char *message_content(const struct dialogue_message *message)
{
	const char *at = (const char *)message->body;

	assert_int_equal(strncmp(at, "Received: ", 10), 0);
	do {
		at = strstr(at, "\r\n");
		assert_non_null(at);
		at += 2;
	} while (*at == '\t');
	return at;
}

/* ---- Running ---- */

static void set_defaults(struct dialogue *d)
{
	d->now = (struct mr_now){.mono_us = 1000 * US_PER_S,
				 .wall_us = UINT64_C(1795363774) * US_PER_S};
	snprintf(d->view.hostname, sizeof(d->view.hostname), "mx.example.org");
	ip_parse("192.0.2.9", &d->peer);
	ip_prefix_parse("192.0.2.0/24", &d->relay_networks[0]);
	d->listener = (struct view_listener){
		.name = "in",
		.tls = LISTENER_TLS_STARTTLS,
		.allow_auth = true,
		.relay_network_count = 1,
		.relay_networks = d->relay_networks,
		.limits =
			{
				.messages_per_session = 100,
				.recipients = 10,
				.message_size = 100000,
				.errors = 20,
				.junk_commands = 100,
				.hops = 50,
				.header_size = 20000,
				.command_timeout_us = 300 * US_PER_S,
				.data_timeout_us = 600 * US_PER_S,
				.minimum_rate = 500,
				.tls_handshake_timeout_us = 30 * US_PER_S,
			},
	};
	/* Only looked at for being there. */
	d->listener.tls_contexts[1] = (struct tls_context *)d;
	d->view.listener_count = 1;
	d->view.listeners = &d->listener;
}

static size_t run(void (*set_up)(struct dialogue *), void (*scenario)(struct dialogue *), long cut)
{
	static struct dialogue dialogue;
	static struct chunk_pool *pool;
	static char output[DIALOGUE_OUTPUT];
	struct dialogue *d = &dialogue;
	size_t said;

	memset(d, 0, sizeof(*d));
	d->cut = cut;
	/* One pool and one buffer for all runs: making them costs more than a dialogue. */
	if (!pool)
		pool = chunk_pool_create(1, DIALOGUE_CHUNKS);
	assert_non_null(pool);
	d->pool = pool;
	d->output = output;
	output[0] = '\0';
	d->environment = (struct server_environment){
		.worker = 1,
		.chunks = d->pool,
		.id_origin = UINT64_C(0x0001000200000003),
		.operations = &operations,
	};
	set_defaults(d);
	if (set_up)
		set_up(d);
	scenario(d);
	said = d->said;
	server_engine_release(&d->engine);
	assert_int_equal(chunk_pool_available(d->pool), DIALOGUE_CHUNKS);
	for (unsigned i = 0; i < d->message_count; i++) {
		free(d->messages[i].envelope);
		free(d->messages[i].body);
	}
	free(d->waiting);
	return said;
}

void dialogue_run_once(void (*set_up)(struct dialogue *), void (*scenario)(struct dialogue *))
{
	run(set_up, scenario, 0);
}

void dialogue_run(void (*set_up)(struct dialogue *), void (*scenario)(struct dialogue *))
{
	long size = (long)run(set_up, scenario, 0);

	run(set_up, scenario, -1);
	for (long cut = 1; cut < size; cut += 1 + size / CUTS)
		run(set_up, scenario, cut);
}
