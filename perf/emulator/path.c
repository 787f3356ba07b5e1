/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ways through the emulator; see path.h. */
#include "perf/emulator/path.h"

#include "dataplane/net/wire.h"

#include <stdlib.h>
#include <string.h>

double path_number(const char *text, double limit)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= 0 && value <= limit)) {
		fprintf(stderr, "emulator: %s is not a number from 0 to %g\n", text, limit);
		exit(2);
	}
	return value;
}

static void set_burst(struct sim_link_settings *link, const char *value)
{
	char enter[32];
	const char *comma = strpbrk(value, ",/");

	if (comma == NULL || (size_t)(comma - value) >= sizeof(enter)) {
		fputs("emulator: a burst is IN/OUT, both in percent\n", stderr);
		exit(2);
	}
	memcpy(enter, value, (size_t)(comma - value));
	enter[comma - value] = '\0';
	link->burst_enter = path_number(enter, 100) / 100;
	link->burst_leave = path_number(comma + 1, 100) / 100;
}

/* Which field of the settings an option is, its largest value and what one unit of it is there. */
static const struct {
	const char *key;
	enum { MICROSECONDS, BITS, COUNT, SHARE } kind;
	size_t offset;
	double limit;
} options[] = {
#define FIELD(name) offsetof(struct sim_link_settings, name)
	{"delay", MICROSECONDS, FIELD(delay_us), 60000},
	{"jitter", MICROSECONDS, FIELD(jitter_us), 60000},
	{"reorder-by", MICROSECONDS, FIELD(reorder_us), 60000},
	{"rate", BITS, FIELD(rate_bits), 1e6},
	{"queue", COUNT, FIELD(queue_packets), 1e6},
	{"mtu", COUNT, FIELD(mtu), 65535},
	{"loss", SHARE, FIELD(loss), 100},
	{"reorder", SHARE, FIELD(reorder), 100},
	{"duplicate", SHARE, FIELD(duplicate), 100},
	{"corrupt", SHARE, FIELD(corrupt), 100},
#undef FIELD
};

bool path_set_option(struct path *path, const char *key, const char *value)
{
	uint8_t *settings = (uint8_t *)&path->link;

	if (strcmp(key, "seed") == 0) {
		path->seed = (uint64_t)path_number(value, 9e15);
		return true;
	}
	if (strcmp(key, "burst") == 0) {
		set_burst(&path->link, value);
		return true;
	}
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		void *field = settings + options[i].offset;
		double number;

		if (strcmp(options[i].key, key) != 0)
			continue;
		number = path_number(value, options[i].limit);
		switch (options[i].kind) {
		case MICROSECONDS:
			*(uint64_t *)field = (uint64_t)(number * 1000);
			break;
		case BITS:
			*(uint64_t *)field = (uint64_t)(number * 1e6);
			break;
		case COUNT:
			*(uint32_t *)field = (uint32_t)number;
			break;
		case SHARE:
			*(double *)field = number / 100;
			break;
		}
		return true;
	}
	return false;
}

void path_add(struct path_set *set, char *text)
{
	struct path *path = &set->paths[set->count];
	char *rest = text, *part;

	if (set->count == PATHS_MAX) {
		fprintf(stderr, "emulator: more than %u paths\n", PATHS_MAX - 1);
		exit(2);
	}
	set->count++;
	*path = (struct path){.seed = 1, .name = strsep(&rest, ",")};
	if (ip_prefix_parse(path->name, &path->prefix) != 0) {
		fprintf(stderr, "emulator: %s is not an address prefix\n", path->name);
		exit(2);
	}
	while ((part = strsep(&rest, ",")) != NULL) {
		char *value = strchr(part, '=');

		if (value != NULL)
			*value++ = '\0';
		if (value == NULL || !path_set_option(path, part, value)) {
			fprintf(stderr, "emulator: a path has no setting '%s'\n", part);
			exit(2);
		}
	}
}

void path_start(struct path_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		for (unsigned side = 0; side < 2; side++)
			set->paths[i].out[side] =
				sim_link_create(&set->paths[i].link, set->paths[i].seed * 2 + side);
}

void path_stop(struct path_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		for (unsigned side = 0; side < 2; side++)
			sim_link_destroy(set->paths[i].out[side]);
}

/* @return false: not an IP packet */
static bool addresses(const uint8_t *frame, size_t size, struct ip_address *source,
		      struct ip_address *destination)
{
	if (size >= 34 && load16(frame + 12) == ETHERTYPE_IPV4) {
		*source = ip_from_v4(load32(frame + 26));
		*destination = ip_from_v4(load32(frame + 30));
		return true;
	}
	if (size >= 54 && load16(frame + 12) == ETHERTYPE_IPV6) {
		memcpy(source->bytes, frame + 22, 16);
		memcpy(destination->bytes, frame + 38, 16);
		return true;
	}
	return false;
}

struct path *path_of(struct path_set *set, const uint8_t *frame, size_t size)
{
	struct ip_address source, destination;

	if (set->count == 1 || !addresses(frame, size, &source, &destination))
		return &set->paths[0];
	for (unsigned i = 1; i < set->count; i++)
		if (ip_prefix_contains(&set->paths[i].prefix, &destination) ||
		    ip_prefix_contains(&set->paths[i].prefix, &source))
			return &set->paths[i];
	return &set->paths[0];
}

uint64_t path_next(const struct path_set *set)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < set->count; i++)
		for (unsigned side = 0; side < 2; side++) {
			uint64_t next = sim_link_next(set->paths[i].out[side]);

			if (next < best)
				best = next;
		}
	return best;
}

void path_report(const struct path_set *set, FILE *to, const char *const names[2],
		 const uint64_t oversized[2], const uint64_t refused[2])
{
	fputs("[\n", to);
	for (unsigned i = 0; i < set->count; i++)
		for (unsigned side = 0; side < 2; side++) {
			const struct path *path = &set->paths[i];
			const struct sim_link_counters *c = sim_link_counters(path->out[side]);
			bool last = i + 1 == set->count && side == 1;

			fprintf(to,
				"  {\"path\": \"%s\", \"from\": \"%s\", \"sent\": %lu, "
				"\"delivered\": %lu, \"lost\": %lu, \"overflowed\": %lu, "
				"\"duplicated\": %lu, \"reordered\": %lu, \"corrupted\": %lu, "
				"\"too_big\": %lu, \"late\": %lu, \"late_max_us\": %lu, "
				"\"oversized\": %lu, \"refused\": %lu}%s\n",
				path->name != NULL ? path->name : "default", names[side], c->sent,
				c->delivered, c->lost, c->overflowed, c->duplicated, c->reordered,
				c->corrupted, c->too_big, path->late[side], path->late_max_us[side],
				oversized[side], refused[1 - side], last ? "" : ",");
		}
	fputs("]\n", to);
}
