/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a message costs must not depend on how much is queued; and what a queued recipient takes of
 * memory. */
#include "tests/unit/queue/house.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define FRESH 10000u

static void defer_waiting(struct house *house, struct delivery *delivery,
			  struct delivery_recipient *recipient)
{
	if (recipient->address[0] == 'w')
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 451, "4.2.1", "later");
}

static uint64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

static void push(struct house *house, unsigned count, char kind)
{
	for (unsigned i = 0; i < count; i++) {
		char recipient[64];
		const struct house_message message = {
			.from = "bounces@from.example", .recipients = recipient, .body_size = 300};

		snprintf(recipient, sizeof(recipient), "%c%u@d%u.example", kind, i, i % 500);
		house_submit(house, 0, &message);
		if (i % 16 == 15) {
			for (unsigned k = 0; k < 8; k++)
				house_step(house, 100);
		}
	}
	house_run(house, HOUSE_SECOND);
}

/** CPU of one fresh message beside so many that wait, in nanoseconds; the least of some runs. */
static uint64_t cost_beside(unsigned waiting, uint64_t *bytes)
{
	static struct house house;
	uint64_t least = UINT64_MAX;

	house_init(&house, 1);
	house.keep_no_books = true;
	house.decide = defer_waiting;
	house.settings.messages_max = house.settings.recipients_max = 300000;
	house.view.retry_initial_us = 4 * HOUSE_HOUR;
	house_start(&house);
	push(&house, waiting, 'w');
	assert_int_equal(house_ledger(&house).queued, waiting);
	if (bytes)
		*bytes = index_memory(&house.shard->index) / (waiting ? waiting : 1);
	for (unsigned run = 0; run < 5; run++) {
		uint64_t began = cpu_us(), spent;

		push(&house, FRESH, 'f');
		spent = (cpu_us() - began) * 1000 / FRESH;
		least = spent < least ? spent : least;
	}
	assert_int_equal(house_ledger(&house).queued, waiting);
	house_finish(&house);
	return least;
}

static void cost_does_not_depend_on_what_is_queued(void **state)
{
	uint64_t few = cost_beside(100, NULL), bytes;
	uint64_t many = cost_beside(100000, &bytes);

	print_message(
		"# a message: %llu ns beside 100, %llu ns beside 100,000; %llu bytes a recipient\n",
		(unsigned long long)few, (unsigned long long)many, (unsigned long long)bytes);
	/* A scan would be hundreds of times dearer; caches and noise of a shared machine are
	 * allowed for. */
	assert_true(many < 3 * few);
	assert_true(bytes < 320);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cost_does_not_depend_on_what_is_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
