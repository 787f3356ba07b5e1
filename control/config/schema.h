/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The model and its values: finding a word's node, reading 5m and 10k by a leaf's units, saying in
 * an operator's words what a value must be. Owner: whoever made the context; no state beside it.
 */
#ifndef MILLRACE_CONTROL_CONFIG_SCHEMA_H
#define MILLRACE_CONTROL_CONFIG_SCHEMA_H

#include <libyang/libyang.h>
#include <stdbool.h>
#include <stddef.h>

/** The model's text, from millrace.yang at build time. */
extern const char schema_text[];

/**
 * @param directory where millrace.yang is, or NULL: the one built in
 * @param module set to the model @param error at least 256 bytes @return NULL on error
 */
struct ly_ctx *schema_load(const char *directory, const struct lys_module **module, char *error);

/** Child by name; parent NULL: of the top. */
const struct lysc_node *schema_find(const struct lys_module *module, const struct lysc_node *parent,
				    const char *name);
/** The child whose name looks most like it, or NULL. */
const char *schema_suggest(const struct lys_module *module, const struct lysc_node *parent,
			   const char *name);
/** How many single changes apart, counted up to 255 octets. */
unsigned schema_distance(const char *a, const char *b);
/** Whether a suggestion at this distance helps rather than puzzles. */
bool schema_is_near(const char *word, unsigned distance);

const struct lysc_type *schema_leaf_type(const struct lysc_node *leaf);
const char *schema_leaf_units(const struct lysc_node *leaf);

#define SCHEMA_VALUE_MAX 4200

/**
 * Turn what the operator wrote into the model's canonical value.
 * @param canonical SCHEMA_VALUE_MAX bytes @param reason set, size bytes, when it is refused
 * @return 0 or -EINVAL
 */
int schema_read_value(const struct lysc_node *leaf, const char *text, char *canonical, char *reason,
		      size_t size);
/** The canonical value as an operator would write it (300000000 microseconds: 5m), without quotes.
 * @return out */
char *schema_write_value(const struct lysc_node *leaf, const char *canonical, char *out,
			 size_t size);

#endif
