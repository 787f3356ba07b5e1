/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading leaves of a checked document, and checks that several parts share. */
#include "control/config/compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t config_number(const struct document *document, const struct lyd_node *parent,
		       const char *name)
{
	const char *value = document_value(document, parent, name);

	return value != NULL ? strtoull(value, NULL, 10) : 0;
}

bool config_flag(const struct document *document, const struct lyd_node *parent, const char *name)
{
	const char *value = document_value(document, parent, name);

	/* A leaf of type empty is true by being there. */
	return value != NULL && strcmp(value, "false") != 0;
}

void config_text(const struct document *document, const struct lyd_node *parent, const char *name,
		 char *out, size_t size)
{
	const char *value = document_value(document, parent, name);

	snprintf(out, size, "%s", value != NULL ? value : "");
}

unsigned config_count(const struct document *document, const struct lyd_node *parent,
		      const char *name)
{
	const struct lyd_node *node = document_child(document, parent, name);
	unsigned count = 0;

	for (; node != NULL; node = document_next(node))
		count++;
	return count;
}

unsigned config_index(const struct document *document, const char *list, const char *name)
{
	const struct lyd_node *node = document_child(document, NULL, list);
	unsigned index = 0;

	for (; node != NULL; node = document_next(node), index++) {
		if (strcmp(document_text(lyd_child(node)), name) == 0)
			return index;
	}
	return 0;
}

void config_check_readable(struct document *document, const struct lyd_node *node)
{
	if (node != NULL && access(document_text(node), R_OK) != 0)
		document_error_at(document, node, NULL, "%s: %s", document_text(node),
				  strerror(errno));
}

int config_parse_endpoint(const char *text, struct ip_address *address, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	char host[IP_ADDRESS_TEXT + 2], *end;
	unsigned long number;
	size_t size;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	size = (size_t)(colon - text);
	memcpy(host, text, size);
	host[size] = '\0';
	if (host[0] == '[' && size > 1 && host[size - 1] == ']') {
		host[size - 1] = '\0';
		memmove(host, host + 1, size - 1);
	}
	errno = 0;
	number = strtoul(colon + 1, &end, 10);
	if (ip_parse(host, address) != 0 || *end != '\0' || end == colon + 1 || number == 0 ||
	    number > 65535)
		return -EINVAL;
	*port = (uint16_t)number;
	return 0;
}
