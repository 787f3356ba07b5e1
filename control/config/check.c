/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the model demands of the whole. libyang stops at the first breach, names no line for a
 * broken reference and neither line nor list entry for a missing mandatory node, so these are found
 * here, all at once; libyang's own validation then has the last word (must, when, unique …) and
 * adds the defaults.
 */
#include "control/config/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct lysc_node *next_schema(const struct document *document,
					   const struct lysc_node *parent,
					   const struct lysc_node *last)
{
	return lys_getnext(last, parent, parent == NULL ? document->module->compiled : NULL, 0);
}

static const char *first_sentence(const char *text, char *out, size_t size)
{
	snprintf(out, size, "%s%.*s", text != NULL ? ": " : "",
		 text != NULL ? (int)strcspn(text, "\n") : 0, text != NULL ? text : "");
	return out;
}

static void missing(struct document *document, const struct lyd_node *parent, const char *path,
		    const struct lysc_node *schema)
{
	char below[256], whole[512], about[200];

	snprintf(below, sizeof(below), "%s%s%s", path, path[0] != '\0' ? " " : "", schema->name);
	/* It was there, but could not be read: that is said already. */
	document_path(parent, below, whole, sizeof(whole));
	for (unsigned i = 0; i < document->errors->count; i++) {
		if (strcmp(document->errors->errors[i].path, whole) == 0)
			return;
	}
	document_error_at(document, parent, below, "is missing%s",
			  first_sentence(schema->dsc, about, sizeof(about)));
}

static unsigned min_elements(const struct lysc_node *schema)
{
	if (schema->nodetype == LYS_LIST)
		return ((const struct lysc_node_list *)schema)->min;
	if (schema->nodetype == LYS_LEAFLIST)
		return ((const struct lysc_node_leaflist *)schema)->min;
	return 0;
}

/*
 * The mandatory nodes below a node (NULL: the top). @param path words below `parent` when the
 * containers in between are not in the file themselves
 */
static void check_mandatory(struct document *document, const struct lysc_node *schema,
			    const struct lyd_node *parent, const char *path, bool present)
{
	const struct lysc_node *child = NULL;

	while ((child = next_schema(document, schema, child)) != NULL) {
		struct lyd_node *node =
			present ? document_child(document, parent, child->name) : NULL;
		char below[256];

		if (child->nodetype == LYS_CONTAINER && node == NULL) {
			snprintf(below, sizeof(below), "%s%s%s", path, path[0] != '\0' ? " " : "",
				 child->name);
			check_mandatory(document, child, parent, below, false);
		} else if (child->nodetype == LYS_CONTAINER) {
			check_mandatory(document, child, node, "", true);
		} else if (node == NULL &&
			   (((child->nodetype & LYS_LEAF) && (child->flags & LYS_MAND_TRUE)) ||
			    min_elements(child) > 0)) {
			missing(document, parent, path, child);
		}
		for (; child->nodetype == LYS_LIST && node != NULL; node = document_next(node))
			check_mandatory(document, child, node, "", true);
	}
}

/* "/mr:pool/mr:name": the list and its leaf. @return false for other forms, which are left to
 * libyang */
static bool split_path(const char *path, char *list, char *leaf, size_t size)
{
	const char *colon = strchr(path, ':');
	const char *slash = colon != NULL ? strchr(colon, '/') : NULL;
	const char *second = slash != NULL ? strchr(slash, ':') : NULL;

	if (path[0] != '/' || second == NULL || strchr(second, '/') != NULL)
		return false;
	snprintf(list, size, "%.*s", (int)(slash - colon - 1), colon + 1);
	snprintf(leaf, size, "%s", second + 1);
	return true;
}

static void check_reference(struct document *document, const struct lyd_node *node)
{
	const struct lysc_type_leafref *type =
		(const struct lysc_type_leafref *)((const struct lysc_node_leaf *)node->schema)
			->type;
	const char *value = document_text(node), *best = NULL;
	const struct lyd_node *entry;
	unsigned best_distance = 256;
	char list[64], leaf[64];

	if (!split_path(lyxp_get_expr(type->path), list, leaf, sizeof(list)))
		return;
	for (entry = document_child(document, NULL, list); entry != NULL;
	     entry = document_next(entry)) {
		const char *target = document_value(document, entry, leaf);
		unsigned distance;

		if (target == NULL)
			continue;
		if (strcmp(target, value) == 0)
			return;
		distance = schema_distance(value, target);
		if (distance < best_distance) {
			best = target;
			best_distance = distance;
		}
	}
	/* The path of a key that refers is that of its list entry. */
	if (lysc_is_key(node->schema))
		node = lyd_parent(node);
	if (best != NULL && schema_is_near(value, best_distance))
		document_error_at(document, node, NULL, "there is no %s '%s' (did you mean '%s'?)",
				  list, value, best);
	else
		document_error_at(document, node, NULL, "there is no %s '%s'", list, value);
}

static void check_references(struct document *document)
{
	struct lyd_node *top, *node;

	LY_LIST_FOR(document->tree, top)
	{
		LYD_TREE_DFS_BEGIN(top, node)
		{
			if (node->schema->nodetype == LYS_LEAF &&
			    ((const struct lysc_node_leaf *)node->schema)->type->basetype ==
				    LY_TYPE_LEAFREF)
				check_reference(document, node);
			LYD_TREE_DFS_END(top, node);
		}
	}
}

/* libyang's errors carry `data location "/millrace:listener[name='x']"` (or the path alone). */
static struct lyd_node *error_node(const struct document *document, const char *path)
{
	static const char mark[] = "ata location \"";
	struct lyd_node *node = NULL;
	const char *at = path != NULL ? strstr(path, mark) : NULL;
	char *copy;

	if (path == NULL || document->tree == NULL)
		return NULL;
	copy = strdup(at != NULL ? at + strlen(mark) : path);
	if (copy == NULL)
		return NULL;
	if (at != NULL && strrchr(copy, '"') != NULL)
		*strrchr(copy, '"') = '\0';
	lyd_find_path(document->tree, copy, 0, &node);
	free(copy);
	return node;
}

static void check_by_libyang(struct document *document)
{
	struct ly_ctx *context = document->module->ctx;
	struct ly_err_item *item;
	unsigned before = document->errors->count;

	ly_err_clean(context, NULL);
	if (lyd_validate_all(&document->tree, context, LYD_VALIDATE_NO_STATE, NULL) == LY_SUCCESS)
		return;
	/* Looking for a node may add errors of its own: note the last one now. */
	item = ly_err_first(context);
	for (struct ly_err_item *last = item != NULL ? item->prev : NULL; item != NULL;
	     item = item != last ? item->next : NULL) {
		if (item->level != LY_LLERR)
			continue;
		document_error_at(document, error_node(document, item->path), NULL, "%s",
				  item->msg != NULL ? item->msg : "not valid");
	}
	if (document->errors->count == before)
		document_error(document, 1, "", "the model refuses it, without a reason");
	ly_err_clean(context, NULL);
}

void document_check(struct document *document)
{
	check_mandatory(document, NULL, NULL, "", true);
	check_references(document);
	if (document->errors->count == 0)
		check_by_libyang(document);
}
