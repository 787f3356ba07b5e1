/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/trace.h"

#include "drivers/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SECONDS_PER_DAY 86400u

/* Texts of known sizes: what is put fits. */
_Static_assert(TRACE_TEXT >= 2 * 256 + SMTP_ADDRESS_TEXT + 64 + IP_ADDRESS_TEXT + MESSAGE_ID_TEXT +
				     TRACE_DATE + 128,
	       "room for a Received field");
_Static_assert(TRACE_MISSING >= 256 + TRACE_DATE + MESSAGE_ID_TEXT + 32,
	       "room for Date and Message-ID");
_Static_assert(IP_ADDRESS_TEXT >= MESSAGE_ID_TEXT, "one buffer for each");

/** Days since 1970-01-01 into year, month (1..12) and day, proleptic Gregorian (Hinnant,
 * civil_from_days). */
static void civil_from_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	uint64_t shifted = days + 719468; /* since 0000-03-01 */
	uint64_t era = shifted / 146097;
	unsigned day_of_era = (unsigned)(shifted % 146097);
	unsigned year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned march_month = (5 * day_of_year + 2) / 153;

	*day = day_of_year - (153 * march_month + 2) / 5 + 1;
	*month = march_month < 10 ? march_month + 3 : march_month - 9;
	*year = (unsigned)(year_of_era + era * 400) + (*month <= 2);
}

char *trace_date(uint64_t wall_us, char *out)
{
	static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	uint64_t seconds = wall_us / US_PER_S;
	uint64_t day_number = seconds / SECONDS_PER_DAY;
	unsigned second = (unsigned)(seconds % SECONDS_PER_DAY);
	unsigned year, month, day;

	civil_from_days(day_number, &year, &month, &day);
	snprintf(out, TRACE_DATE, "%s, %02u %s %04u %02u:%02u:%02u +0000", days[day_number % 7],
		 day % 100, months[(month - 1) % 12], year % 10000, second / 3600 % 24,
		 second / 60 % 60, second % 60);
	return out;
}

size_t trace_received(const struct trace *trace, char *out)
{
	char text[IP_ADDRESS_TEXT > TRACE_DATE ? IP_ADDRESS_TEXT : TRACE_DATE];
	char *at = stpcpy(out, "Received: from ");

	at = stpcpy(at, trace->helo);
	at = stpcpy(at, ip_is_v4(trace->peer) ? " ([" : " ([IPv6:");
	at = stpcpy(at, ip_format(trace->peer, text));
	at = stpcpy(at, "])\r\n\tby ");
	at = stpcpy(at, trace->hostname);
	at = stpcpy(at, " (Millrace) with ");
	at = stpcpy(at, trace->protocol);
	at = stpcpy(at, " id ");
	at = stpcpy(at, message_id_format(&trace->id, text));
	if (trace->tls[0]) {
		at = stpcpy(at, "\r\n\t(");
		at = stpcpy(at, trace->tls);
		at = stpcpy(at, ")");
	}
	if (trace->recipient) {
		at = stpcpy(at, "\r\n\tfor <");
		at = stpcpy(at, trace->recipient);
		at = stpcpy(at, ">");
	}
	at = stpcpy(at, ";\r\n\t");
	at = stpcpy(at, trace_date(trace->wall_us, text));
	at = stpcpy(at, "\r\n");
	assert(at - out <= TRACE_TEXT);
	return (size_t)(at - out);
}

size_t trace_missing_fields(const struct trace *trace, bool date, bool message_id, char *out)
{
	char text[TRACE_DATE > MESSAGE_ID_TEXT ? TRACE_DATE : MESSAGE_ID_TEXT];
	char *at = out;

	if (date) {
		at = stpcpy(at, "Date: ");
		at = stpcpy(at, trace_date(trace->wall_us, text));
		at = stpcpy(at, "\r\n");
	}
	if (message_id) {
		at = stpcpy(at, "Message-ID: <");
		at = stpcpy(at, message_id_format(&trace->id, text));
		at = stpcpy(at, "@");
		at = stpcpy(at, trace->hostname);
		at = stpcpy(at, ">\r\n");
	}
	assert(at - out <= TRACE_MISSING);
	return (size_t)(at - out);
}
