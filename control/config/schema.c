/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The model and its values. RFC 7950 (YANG 1.1). */
#include "control/config/schema.h"

#include "control/config/units.h"
#include "dataplane/net/address.h"

#include <errno.h>
#include <inttypes.h>
#include <libyang/plugins_types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ly_ctx *schema_load(const char *directory, const struct lys_module **module, char *error)
{
	struct ly_ctx *context = NULL;
	struct lys_module *loaded = NULL;
	const struct ly_err_item *item;

	ly_log_options(LY_LOSTORE);
	if (ly_ctx_new(directory, LY_CTX_NO_YANGLIBRARY | LY_CTX_DISABLE_SEARCHDIR_CWD, &context) !=
	    LY_SUCCESS) {
		snprintf(error, 256, "libyang cannot start with directory %.150s",
			 directory != NULL ? directory : "(none)");
		return NULL;
	}
	if (directory != NULL)
		loaded = ly_ctx_load_module(context, "millrace", NULL, NULL);
	else if (lys_parse_mem(context, schema_text, LYS_IN_YANG, &loaded) != LY_SUCCESS)
		loaded = NULL;
	if (loaded == NULL) {
		item = ly_err_last(context);
		snprintf(error, 256, "the model does not load: %.200s",
			 item != NULL ? item->msg : "no reason given");
		ly_ctx_destroy(context);
		return NULL;
	}
	*module = loaded;
	return context;
}

static const struct lysc_node *next_child(const struct lys_module *module,
					  const struct lysc_node *parent,
					  const struct lysc_node *last)
{
	return lys_getnext(last, parent, parent == NULL ? module->compiled : NULL, 0);
}

const struct lysc_node *schema_find(const struct lys_module *module, const struct lysc_node *parent,
				    const char *name)
{
	const struct lysc_node *node = NULL;

	while ((node = next_child(module, parent, node)) != NULL) {
		if (strcmp(node->name, name) == 0)
			return node;
	}
	return NULL;
}

/* Levenshtein's distance, one row at a time. */
unsigned schema_distance(const char *a, const char *b)
{
	unsigned row[257];
	size_t a_size = strnlen(a, 255), b_size = strnlen(b, 255);

	for (size_t j = 0; j <= b_size; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_size; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_size; j++) {
			unsigned best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_size];
}

bool schema_is_near(const char *word, unsigned distance)
{
	size_t size = strlen(word);

	return distance <= (size < 4 ? 1 : size < 8 ? 2 : size / 3);
}

const char *schema_suggest(const struct lys_module *module, const struct lysc_node *parent,
			   const char *name)
{
	const struct lysc_node *node = NULL;
	const char *best = NULL;
	unsigned best_distance = 256;

	while ((node = next_child(module, parent, node)) != NULL) {
		unsigned distance = schema_distance(name, node->name);

		if (distance < best_distance) {
			best = node->name;
			best_distance = distance;
		}
	}
	return best != NULL && schema_is_near(name, best_distance) ? best : NULL;
}

const struct lysc_type *schema_leaf_type(const struct lysc_node *leaf)
{
	const struct lysc_type *type = leaf->nodetype == LYS_LEAF
					       ? ((const struct lysc_node_leaf *)leaf)->type
					       : ((const struct lysc_node_leaflist *)leaf)->type;

	while (type->basetype == LY_TYPE_LEAFREF)
		type = ((const struct lysc_type_leafref *)type)->realtype;
	return type;
}

const char *schema_leaf_units(const struct lysc_node *leaf)
{
	const char *units = leaf->nodetype == LYS_LEAF
				    ? ((const struct lysc_node_leaf *)leaf)->units
				    : ((const struct lysc_node_leaflist *)leaf)->units;

	return units != NULL ? units : "";
}

static bool units_are_duration(const char *units)
{
	return strcmp(units, "microseconds") == 0;
}

static bool units_are_size(const char *units)
{
	return strncmp(units, "octets", 6) == 0;
}

char *schema_write_value(const struct lysc_node *leaf, const char *canonical, char *out,
			 size_t size)
{
	const char *units = schema_leaf_units(leaf);

	if (units_are_duration(units))
		return units_write_duration(strtoull(canonical, NULL, 10), out, size);
	if (units_are_size(units))
		return units_write_size(strtoull(canonical, NULL, 10), out, size);
	snprintf(out, size, "%s", canonical);
	return out;
}

/* Which address types (plug-ins of libyang for RFC 6991) a type is, or a union has. */
static bool type_has(const struct lysc_type *type, const char *plugin)
{
	if (type->basetype == LY_TYPE_UNION) {
		const struct lysc_type_union *u = (const struct lysc_type_union *)type;

		for (LY_ARRAY_COUNT_TYPE i = 0; i < LY_ARRAY_COUNT(u->types); i++) {
			if (type_has(u->types[i], plugin))
				return true;
		}
		return false;
	}
	return type->plugin != NULL && type->plugin->id != NULL &&
	       strstr(type->plugin->id, plugin) != NULL;
}

static bool type_is_prefix(const struct lysc_type *type)
{
	return type_has(type, "ipv4-prefix") || type_has(type, "ipv6-prefix");
}

static void describe_enum(const struct lysc_type_enum *type, const char *text, char *reason,
			  size_t size)
{
	size_t at = (size_t)snprintf(reason, size, "'%.60s' is none of", text);
	const char *best = NULL;
	unsigned best_distance = 256;

	for (LY_ARRAY_COUNT_TYPE i = 0; i < LY_ARRAY_COUNT(type->enums); i++) {
		const char *name = type->enums[i].name;
		unsigned distance = schema_distance(text, name);

		if (at < size)
			at += (size_t)snprintf(reason + at, size - at, "%s %s", i > 0 ? "," : "",
					       name);
		if (distance < best_distance) {
			best = name;
			best_distance = distance;
		}
	}
	if (best != NULL && schema_is_near(text, best_distance) && at < size)
		snprintf(reason + at, size - at, " (did you mean %s?)", best);
}

static void describe_number(const struct lysc_node *leaf, const struct lysc_type *type,
			    const char *text, char *reason, size_t size)
{
	static const uint64_t type_max[LY_DATA_TYPE_COUNT] = {
		[LY_TYPE_UINT8] = UINT8_MAX,
		[LY_TYPE_UINT16] = UINT16_MAX,
		[LY_TYPE_UINT32] = UINT32_MAX,
		[LY_TYPE_UINT64] = UINT64_MAX,
	};
	const struct lysc_range *range = ((const struct lysc_type_num *)type)->range;
	uint64_t from = 0, to = type_max[type->basetype];
	char canonical[24], low[24], high[24];

	if (range != NULL) {
		from = range->parts[0].min_u64;
		to = range->parts[LY_ARRAY_COUNT(range->parts) - 1].max_u64;
	}
	snprintf(canonical, sizeof(canonical), "%" PRIu64, from);
	schema_write_value(leaf, canonical, low, sizeof(low));
	snprintf(canonical, sizeof(canonical), "%" PRIu64, to);
	schema_write_value(leaf, canonical, high, sizeof(high));
	snprintf(reason, size, "'%.60s' is not from %s to %s", text, low, high);
}

static void describe_decimal(const struct lysc_type_dec *type, const char *text, char *reason,
			     size_t size)
{
	double scale = 1;

	for (unsigned i = 0; i < type->fraction_digits; i++)
		scale *= 10;
	if (type->range == NULL)
		snprintf(reason, size, "'%.60s' is no number", text);
	else
		snprintf(reason, size, "'%.60s' is not from %g to %g", text,
			 (double)type->range->parts[0].min_64 / scale,
			 (double)type->range->parts[LY_ARRAY_COUNT(type->range->parts) - 1].max_64 /
				 scale);
}

/* Say what the value must be, in the operator's words. */
static void describe(const struct lysc_node *leaf, const struct lysc_type *type, const char *text,
		     const char *libyang_says, char *reason, size_t size)
{
	const struct lysc_type_str *string = (const struct lysc_type_str *)type;

	if (type_is_prefix(type)) {
		snprintf(reason, size, "'%.60s' is not a network, as 192.0.2.0/24 or 2001:db8::/32",
			 text);
	} else if (type_has(type, "ipv4-address") && type_has(type, "ipv6-address")) {
		snprintf(reason, size, "'%.60s' is not an IP address", text);
	} else if (type_has(type, "ipv4-address")) {
		snprintf(reason, size, "'%.60s' is not an IPv4 address", text);
	} else if (type_has(type, "ipv6-address")) {
		snprintf(reason, size, "'%.60s' is not an IPv6 address", text);
	} else if (type->basetype == LY_TYPE_ENUM) {
		describe_enum((const struct lysc_type_enum *)type, text, reason, size);
	} else if (type->basetype == LY_TYPE_BOOL) {
		snprintf(reason, size, "'%.60s' is neither true nor false", text);
	} else if (type->basetype >= LY_TYPE_UINT8 && type->basetype <= LY_TYPE_UINT64) {
		describe_number(leaf, type, text, reason, size);
	} else if (type->basetype == LY_TYPE_DEC64) {
		describe_decimal((const struct lysc_type_dec *)type, text, reason, size);
	} else if (type->basetype == LY_TYPE_STRING && string->length != NULL && text[0] == '\0') {
		snprintf(reason, size, "is empty");
	} else if (type->basetype == LY_TYPE_STRING && string->length != NULL &&
		   strlen(text) > string->length->parts[0].max_u64) {
		snprintf(reason, size, "longer than %" PRIu64 " octets",
			 string->length->parts[0].max_u64);
	} else {
		snprintf(reason, size, "'%.60s': %.300s", text, libyang_says);
	}
}

/* An address alone is its own network; host bits are an error that libyang would silently clear. */
static int read_prefix(const char *text, char *out, char *reason, size_t size)
{
	char whole[64];
	struct ip_prefix prefix;
	struct ip_address address;

	if (ip_parse(text, &address) == 0)
		snprintf(whole, sizeof(whole), "%.46s/%d", text, ip_is_v4(&address) ? 32 : 128);
	else
		snprintf(whole, sizeof(whole), "%.60s", text);
	snprintf(out, SCHEMA_VALUE_MAX, "%s", whole);
	if (ip_prefix_parse(whole, &prefix) == 0 || strchr(whole, '/') == NULL)
		return 0;
	*strchr(whole, '/') = '\0';
	if (ip_parse(whole, &address) != 0)
		return 0; /* Not a network at all: libyang refuses it. */
	snprintf(reason, size,
		 "'%.60s' is not a network: its length is wrong, or bits of a host are set in it",
		 text);
	return -EINVAL;
}

/* Take off the units; what is left is for libyang. */
static int read_units(const struct lysc_node *leaf, const char *text, char *out, char *reason,
		      size_t size)
{
	const char *units = schema_leaf_units(leaf);
	uint64_t value;
	int result = 0;

	snprintf(out, SCHEMA_VALUE_MAX, "%s", text);
	if (units_are_duration(units)) {
		result = units_read_duration(text, &value);
		if (result == -EINVAL)
			snprintf(reason, size,
				 "'%.60s' is not a time: a number and us, ms, s, m, h, d or w",
				 text);
	} else if (units_are_size(units)) {
		result = units_read_size(text, &value);
		if (result == -EINVAL)
			snprintf(reason, size,
				 "'%.60s' is not a size: a number, and k, m, g or t if you like",
				 text);
	} else {
		size_t end = strlen(out);

		if (strcmp(units, "percent") == 0 && end > 0 && out[end - 1] == '%')
			out[end - 1] = '\0';
		return 0;
	}
	if (result == -ERANGE)
		describe_number(leaf, schema_leaf_type(leaf), text, reason, size);
	if (result == 0)
		snprintf(out, SCHEMA_VALUE_MAX, "%" PRIu64, value);
	return result == 0 ? 0 : -EINVAL;
}

int schema_read_value(const struct lysc_node *leaf, const char *text, char *canonical, char *reason,
		      size_t size)
{
	const struct lysc_type *type = schema_leaf_type(leaf);
	struct ly_ctx *context = leaf->module->ctx;
	const char *result = NULL;
	const struct ly_err_item *item;
	char value[SCHEMA_VALUE_MAX];
	LY_ERR status;

	if (read_units(leaf, text, value, reason, size) != 0)
		return -EINVAL;
	if (type_is_prefix(type) && read_prefix(text, value, reason, size) != 0)
		return -EINVAL;
	status = lyd_value_validate(context, leaf, value, strlen(value), NULL, NULL, &result);
	if (status != LY_SUCCESS && status != LY_EINCOMPLETE) {
		item = ly_err_last(context);
		describe(leaf, type, text, item != NULL ? item->msg : "not valid", reason, size);
		ly_err_clean(context, NULL);
		return -EINVAL;
	}
	snprintf(canonical, SCHEMA_VALUE_MAX, "%s", result != NULL ? result : value);
	if (result != NULL)
		lydict_remove(context, result);
	return 0;
}
