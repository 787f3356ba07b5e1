/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every command's words and what they do. */
#include "control/cli/catalogue.h"

#include <stddef.h>
#include <string.h>

const struct catalogue_entry catalogue[CATALOGUE_COMMANDS] = {
#define X(name, words, help) [CATALOGUE_##name] = {words, help},
	CATALOGUE(X)
#undef X
};

static const struct catalogue_entry groups[] = {
	{"show", "look at something; changes nothing"},
	{"request", "do something now"},
	{"request queue", "retry or delete what is queued"},
	{"request capture", "packet captures"},
	{"request config", "check or adopt the configuration file"},
	{"request system", "drain before a stop"},
};

const char *catalogue_group_help(const char *words)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (strcmp(groups[i].words, words) == 0)
			return groups[i].help;
	}
	return "...";
}
