/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The event log: every event once and in order, over rotations, restarts and a failing disk; lines
 * that are JSON. */
#include "control/events/event_file.h"
#include "control/events/event_format.h"
#include "control/events/events.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[] = "/tmp/millrace-events-XXXXXX";
static char directory[64];
static char error[256];

static int make_base(void **state)
{
	return mkdtemp(base) == NULL ? -1 : 0;
}

static int remove_base(void **state)
{
	return rmdir(base);
}

static int fresh(void **state)
{
	snprintf(directory, sizeof(directory), "%s/events", base);
	return 0;
}

static int clear(void **state)
{
	char name[400];
	DIR *d = opendir(directory);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s", directory, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(name);
	}
	if (d != NULL)
		closedir(d);
	return rmdir(directory);
}

static struct event_log *open_log(uint64_t rotate_bytes, unsigned keep)
{
	struct event_log_settings settings = {directory, rotate_bytes, keep, "7"};
	struct event_log *log = event_log_open(&settings, error);

	if (log == NULL)
		print_message("# %s\n", error);
	assert_non_null(log);
	return log;
}

static const char *const one_recipient[] = {"user@example.com"};

static struct event sample(void)
{
	return (struct event){.type = EVENT_DELIVERY,
			      .event_id = UINT64_C(3) << 48 | 42,
			      .id = {1, 2},
			      .time_us = UINT64_C(1795365382705657),
			      .created_us = UINT64_C(1795365381000000),
			      .sender = "sender@example.net",
			      .recipient_count = 1,
			      .recipients = one_recipient,
			      .size = 10240,
			      .attempts = 2};
}

static void emit(struct event_log *log, const struct event *event)
{
	unsigned tries = 0;

	while (event_log_emit(log, event) != 0) {
		assert_true(++tries < 10000);
		usleep(1000);
	}
}

/* The lines of all files, oldest first. @return how many; each is checked to be JSON */
static unsigned read_all(void (*each)(void *context, const json_t *line), void *context)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, NULL, alphasort);
	unsigned lines = 0;

	assert_true(count > 0);
	/* "events-…" sorts before "events.jsonl". */
	for (int i = 0; i < count; i++) {
		char name[600], *line = NULL;
		size_t room = 0;
		FILE *in;

		snprintf(name, sizeof(name), "%s/%s", directory, entries[i]->d_name);
		in = entries[i]->d_name[0] != '.' ? fopen(name, "r") : NULL;
		free(entries[i]);
		while (in != NULL && getline(&line, &room, in) > 0) {
			json_t *object = json_loads(line, 0, NULL);

			if (object == NULL)
				fail_msg("not JSON: %s", line);
			if (each != NULL)
				each(context, object);
			json_decref(object);
			lines++;
		}
		free(line);
		if (in != NULL)
			fclose(in);
	}
	free(entries);
	return lines;
}

/* One event, as JSON. */
static json_t *formatted(const struct event *event)
{
	struct text_buffer buffer = {0};
	json_t *object;

	event_format(&buffer, event, "7", 0);
	assert_int_equal(buffer.data[buffer.size - 1], '\n');
	object = json_loadb(buffer.data, buffer.size, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	free(buffer.data);
	return object;
}

static const char *text_in(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	assert_non_null(text);
	return text;
}

static void a_delivery_has_the_fields_of_the_field(void **state)
{
	struct event event = sample();
	struct ip_address peer, source;
	json_t *j, *response, *code, *tcp;

	ip_parse("203.0.113.9", &peer);
	ip_parse("2001:db8::1", &source);
	event.queue = "example.com";
	event.site = "mx.example.com";
	event.source = "out1";
	event.pool = "main";
	event.peer_address = &peer;
	event.peer_name = "mx1.example.com";
	event.source_address = &source;
	event.reply_code = 250;
	event.enhanced = (struct enhanced_code){2, 1, 5};
	event.reply_text = "2.1.5 Ok";
	event.reply_remote = true;
	event.phase = "end-of-data";
	event.tls_version = "TLSv1.3";
	event.tls_cipher = "TLS_AES_128_GCM_SHA256";
	event.session = 0xabc;
	event.possible_duplicate = true;
	event.next_attempt_us = UINT64_C(1795365482000001);
	event.connect_us = 99;
	event.config_revision = 4;
	event.measure = (struct tcp_measure){.rtt_us = 40000,
					     .segments = 200,
					     .retransmitted = 3,
					     .pmtu = 1500,
					     .congestion = "cubic"};
	j = formatted(&event);
	assert_string_equal(text_in(j, "type"), "Delivery");
	assert_int_equal(strlen(text_in(j, "id")), 26);
	assert_string_equal(text_in(j, "event_id"), "7-3-42");
	assert_int_equal(json_integer_value(json_object_get(j, "timestamp")), 1795365382);
	assert_string_equal(text_in(j, "event_time"), "2026-11-22T16:36:22.705657Z");
	assert_string_equal(text_in(j, "created_time"), "2026-11-22T16:36:21.000000Z");
	assert_string_equal(text_in(j, "sender"), "sender@example.net");
	assert_string_equal(text_in(j, "recipient"), "user@example.com");
	assert_string_equal(text_in(j, "egress_source"), "out1");
	assert_string_equal(text_in(j, "session_id"), "0000000000000abc");
	assert_string_equal(text_in(j, "next_attempt"), "2026-11-22T16:38:02.000001Z");
	response = json_object_get(j, "response");
	assert_int_equal(json_integer_value(json_object_get(response, "code")), 250);
	assert_string_equal(text_in(response, "command"), "end-of-data");
	assert_true(json_is_true(json_object_get(response, "remote")));
	code = json_object_get(response, "enhanced_code");
	assert_int_equal(json_integer_value(json_object_get(code, "detail")), 5);
	assert_string_equal(text_in(json_object_get(j, "peer_address"), "addr"), "203.0.113.9");
	assert_string_equal(text_in(json_object_get(j, "source_address"), "address"),
			    "2001:db8::1");
	assert_true(json_is_true(json_object_get(j, "possible_duplicate")));
	tcp = json_object_get(j, "tcp");
	assert_int_equal(json_integer_value(json_object_get(tcp, "rtt_us")), 40000);
	assert_int_equal(json_integer_value(json_object_get(tcp, "retransmitted")), 3);
	assert_int_equal(json_integer_value(json_object_get(tcp, "loss_ppm")), 15000);
	assert_string_equal(text_in(tcp, "congestion"), "cubic");
	assert_null(json_object_get(tcp, "ecn"));
	assert_null(json_object_get(j, "tenant"));
	json_decref(j);
}

static void the_null_sender_is_empty_and_many_recipients_are_a_list(void **state)
{
	const char *const recipients[] = {"a@example.com", "b@example.com"};
	struct event event = sample();
	json_t *j;

	event.sender = "";
	event.recipients = recipients;
	event.recipient_count = 2;
	j = formatted(&event);
	assert_string_equal(text_in(j, "sender"), "");
	assert_int_equal(json_array_size(json_object_get(j, "recipient")), 2);
	json_decref(j);
}

static void any_octets_become_json_that_is_safe_to_print(void **state)
{
	static const char text[] =
		"q\" b\\ n\n t\t e\x1b[0m d\x7f c1\xc2\x9b bad\xff\xc0\xaf\xed\xa0\x80\xf5 "
		"ok\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 cut\xe2\x82";
	struct event event = sample();
	struct text_buffer buffer = {0};
	json_t *j;

	event.reply_text = text;
	event_format(&buffer, &event, "7", 0);
	for (size_t i = 0; i + 1 < buffer.size; i++)
		assert_true((unsigned char)buffer.data[i] >= 0x20 && buffer.data[i] != 0x7f);
	free(buffer.data);
	j = formatted(&event);
	assert_string_equal(text_in(json_object_get(j, "response"), "content"),
			    "q\" b\\ n\n t\t e\x1b[0m d\x7f c1\xc2\x9b "
			    "bad\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
			    "\xef\xbf\xbd\xef\xbf\xbd ok\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 "
			    "cut\xef\xbf\xbd\xef\xbf\xbd");
	json_decref(j);
}

struct order {
	uint64_t next;
	bool broken;
};

static void check_order(void *context, const json_t *line)
{
	struct order *order = context;
	char expected[64];

	snprintf(expected, sizeof(expected), "7-0-%llu", (unsigned long long)order->next++);
	if (strcmp(text_in(line, "event_id"), expected) != 0)
		order->broken = true;
}

static void events_are_written_once_and_in_order_over_rotations(void **state)
{
	struct event_log_statistics statistics;
	struct event_log *log = open_log(65536, 1000);
	struct event event = sample();
	struct order order = {0};

	for (unsigned i = 0; i < 5000; i++) {
		event.event_id = i;
		emit(log, &event);
	}
	event_log_close(log);
	assert_int_equal(read_all(check_order, &order), 5000);
	assert_false(order.broken);
	log = open_log(65536, 1000);
	event.event_id = 5000;
	emit(log, &event);
	for (unsigned i = 0; i < 1000; i++) {
		event_log_statistics(log, &statistics);
		if (statistics.written == 1)
			break;
		usleep(1000);
	}
	assert_int_equal(statistics.written, 1);
	assert_int_equal(statistics.waiting, 0);
	event_log_close(log);
	order.next = 0;
	assert_int_equal(read_all(check_order, &order), 5001);
}

static void only_so_many_old_files_are_kept(void **state)
{
	struct event_log *log = open_log(65536, 3);
	struct event event = sample();
	struct dirent **entries;
	int count;

	for (unsigned i = 0; i < 20000; i++)
		emit(log, &event);
	event_log_close(log);
	count = scandir(directory, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	/* ., .., the present one, and three. */
	assert_int_equal(count, 6);
}

static void a_torn_line_is_cut_off_when_the_log_is_opened(void **state)
{
	char name[128];
	struct event event = sample();
	struct event_log *log = open_log(1 << 20, 3);
	FILE *out;

	emit(log, &event);
	event_log_close(log);
	snprintf(name, sizeof(name), "%s/events.jsonl", directory);
	out = fopen(name, "a");
	fputs("{\"type\":\"Deliv", out);
	fclose(out);
	log = open_log(1 << 20, 3);
	emit(log, &event);
	event_log_close(log);
	assert_int_equal(read_all(NULL, NULL), 2);
}

static void a_file_that_was_moved_away_is_made_anew(void **state)
{
	char name[128], moved[160];
	struct event event = sample();
	struct event_log *log = open_log(1 << 20, 3);

	snprintf(name, sizeof(name), "%s/events.jsonl", directory);
	snprintf(moved, sizeof(moved), "%s/events.moved", directory);
	emit(log, &event);
	/* It looks once a second. */
	usleep(1200000);
	assert_int_equal(rename(name, moved), 0);
	usleep(1200000);
	emit(log, &event);
	event_log_close(log);
	assert_int_equal(access(name, F_OK), 0);
	assert_int_equal(read_all(NULL, NULL), 2);
}

static void many_recipients_are_split_into_parts_that_say_so(void **state)
{
	enum { COUNT = 20000 };
	static const char *recipients[COUNT];
	static char texts[COUNT][160];
	struct event_log *log = open_log(UINT64_C(1) << 30, 3);
	struct event event = sample();
	char name[128];
	FILE *in;
	char *line = NULL;
	size_t room = 0, found = 0;
	json_int_t part = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%0120u@example.com", i);
		recipients[i] = texts[i];
	}
	event.recipients = recipients;
	event.recipient_count = COUNT;
	emit(log, &event);
	event_log_close(log);
	snprintf(name, sizeof(name), "%s/events.jsonl", directory);
	in = fopen(name, "r");
	while (getline(&line, &room, in) > 0) {
		json_t *j = json_loads(line, 0, NULL);

		assert_int_equal(json_integer_value(json_object_get(j, "part")), ++part);
		found += json_array_size(json_object_get(j, "recipient"));
		json_decref(j);
	}
	free(line);
	fclose(in);
	assert_true(part > 1);
	assert_int_equal(found, COUNT);
}

static void a_full_ring_says_so_and_takes_nothing_of_the_event(void **state)
{
	static char long_text[8000];
	char name[128];
	struct event_log *log = open_log(UINT64_C(1) << 30, 3);
	struct event_log_statistics statistics;
	struct event event = sample();
	unsigned taken = 0;

	/* The disk fails: the log cannot be reopened while a directory stands in its place. */
	snprintf(name, sizeof(name), "%s/events.jsonl", directory);
	usleep(1200000);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkdir(name, 0700), 0);
	memset(long_text, 'x', sizeof(long_text) - 1);
	event.reply_text = long_text;
	while (event_log_emit(log, &event) == 0)
		assert_true(++taken < 100000);
	assert_int_equal(event_log_emit(log, &event), -EAGAIN);
	assert_true(taken > 100);
	usleep(600000);
	event_log_statistics(log, &statistics);
	assert_true(statistics.errors > 0);
	assert_int_equal(statistics.waiting, taken);
	/* The disk is well again: nothing was lost. */
	assert_int_equal(rmdir(name), 0);
	emit(log, &event);
	event_log_close(log);
	assert_int_equal(read_all(NULL, NULL), taken + 1);
}

struct emitter {
	struct event_log *log;
	unsigned shard;
};

static void *emit_many(void *argument)
{
	struct emitter *emitter = argument;
	struct event event = sample();

	for (unsigned i = 0; i < 5000; i++) {
		event.event_id = (uint64_t)emitter->shard << 48 | i;
		emit(emitter->log, &event);
	}
	return NULL;
}

static void check_shards(void *context, const json_t *line)
{
	uint64_t *next = context, serial;
	unsigned shard;

	assert_int_equal(sscanf(text_in(line, "event_id"), "7-%u-%lu", &shard, &serial), 2);
	assert_true(shard < 4);
	assert_int_equal(serial, next[shard]++);
}

static void several_shards_emit_at_once(void **state)
{
	struct event_log *log = open_log(1 << 20, 1000);
	struct emitter emitters[4];
	pthread_t threads[4];
	uint64_t next[4] = {0};

	for (unsigned i = 0; i < 4; i++) {
		emitters[i] = (struct emitter){log, i};
		pthread_create(&threads[i], NULL, emit_many, &emitters[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	event_log_close(log);
	assert_int_equal(read_all(check_shards, next), 20000);
}

static void a_directory_that_cannot_be_is_an_error(void **state)
{
	struct event_log_settings settings = {"/nonexistent/a/b", 65536, 3, "7"};

	assert_null(event_log_open(&settings, error));
	assert_non_null(strstr(error, "/nonexistent/a/b: No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_delivery_has_the_fields_of_the_field),
		cmocka_unit_test(the_null_sender_is_empty_and_many_recipients_are_a_list),
		cmocka_unit_test(any_octets_become_json_that_is_safe_to_print),
		cmocka_unit_test_setup_teardown(events_are_written_once_and_in_order_over_rotations,
						fresh, clear),
		cmocka_unit_test_setup_teardown(only_so_many_old_files_are_kept, fresh, clear),
		cmocka_unit_test_setup_teardown(a_torn_line_is_cut_off_when_the_log_is_opened,
						fresh, clear),
		cmocka_unit_test_setup_teardown(a_file_that_was_moved_away_is_made_anew, fresh,
						clear),
		cmocka_unit_test_setup_teardown(many_recipients_are_split_into_parts_that_say_so,
						fresh, clear),
		cmocka_unit_test_setup_teardown(a_full_ring_says_so_and_takes_nothing_of_the_event,
						fresh, clear),
		cmocka_unit_test_setup_teardown(several_shards_emit_at_once, fresh, clear),
		cmocka_unit_test(a_directory_that_cannot_be_is_an_error),
	};

	return cmocka_run_group_tests(tests, make_base, remove_base);
}
