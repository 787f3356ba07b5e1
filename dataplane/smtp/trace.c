/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/trace.h"

#include "drivers/clock.h"

#include <assert.h>
#include <stdio.h>

#define SECONDS_PER_DAY 86400u

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
	char peer[IP_ADDRESS_TEXT], id[MESSAGE_ID_TEXT], date[TRACE_DATE];
	const char *recipient = trace->recipient ? trace->recipient : "";
	int size = snprintf(out, TRACE_TEXT,
			    "Received: from %s ([%s%s])\r\n"
			    "\tby %s (Millrace) with %s id %s%s%s%s%s%s%s;\r\n"
			    "\t%s\r\n",
			    trace->helo,
			    ip_is_v4(trace->peer) ? "" : "IPv6:", ip_format(trace->peer, peer),
			    trace->hostname, trace->protocol, message_id_format(&trace->id, id),
			    trace->tls[0] ? "\r\n\t(" : "", trace->tls, trace->tls[0] ? ")" : "",
			    recipient[0] ? "\r\n\tfor <" : "", recipient, recipient[0] ? ">" : "",
			    trace_date(trace->wall_us, date));

	assert(size > 0 && size < TRACE_TEXT);
	return (size_t)size;
}

size_t trace_missing_fields(const struct trace *trace, bool date, bool message_id, char *out)
{
	char text[TRACE_DATE > MESSAGE_ID_TEXT ? TRACE_DATE : MESSAGE_ID_TEXT];
	int size = 0;

	if (date)
		size += snprintf(out, TRACE_MISSING, "Date: %s\r\n",
				 trace_date(trace->wall_us, text));
	if (message_id)
		size += snprintf(out + size, TRACE_MISSING - (size_t)size,
				 "Message-ID: <%s@%s>\r\n", message_id_format(&trace->id, text),
				 trace->hostname);
	assert(size >= 0 && size < TRACE_MISSING);
	return (size_t)size;
}
