/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A configuration as text and as JSON, whole, with the model's defaults. The text is in the model's
 * order and reads back to the same configuration; what the operator did not state is marked. JSON
 * keeps numbers as numbers and sizes in octets; durations are text with their unit, as in the file.
 */
#include "control/config/compile.h"
#include "control/config/lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value of the model that does not hold, since it stands in a destination that leans on others.
 */
static bool is_overridden(const struct lyd_node *node)
{
	const struct lyd_node *top = node;

	if ((node->flags & LYD_DEFAULT) == 0)
		return false;
	while (lyd_parent(top) != NULL)
		top = lyd_parent(top);
	return strcmp(top->schema->name, "destination") == 0 &&
	       strcmp(document_text(lyd_child(top)), "default") != 0;
}

static void put_word(FILE *out, const char *text)
{
	if (!lexer_needs_quotes(text)) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void put_value(FILE *out, const struct lyd_node *node)
{
	char text[SCHEMA_VALUE_MAX];

	put_word(out, schema_write_value(node->schema, document_text(node), text, sizeof(text)));
}

static void put_indent(FILE *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		fputs("    ", out);
}

static void put_siblings(FILE *out, const struct lyd_node *node, unsigned depth);

static void put_leaf(FILE *out, const struct lyd_node *node)
{
	fputs(node->schema->name, out);
	if (schema_leaf_type(node->schema)->basetype != LY_TYPE_EMPTY) {
		fputc(' ', out);
		put_value(out, node);
	}
	fputs(node->flags & LYD_DEFAULT ? ";  # default\n" : ";\n", out);
}

/* @return the last instance that was written */
static const struct lyd_node *put_leaf_list(FILE *out, const struct lyd_node *node)
{
	const struct lyd_node *last = node;

	fprintf(out, "%s [", node->schema->name);
	for (; node != NULL; node = document_next(node)) {
		fputc(' ', out);
		put_value(out, node);
		last = node;
	}
	fputs(" ];\n", out);
	return last;
}

static void put_inner(FILE *out, const struct lyd_node *node, unsigned depth)
{
	const struct lyd_node *child = lyd_child(node);

	fputs(node->schema->name, out);
	for (; child != NULL && lysc_is_key(child->schema); child = child->next) {
		fputc(' ', out);
		put_value(out, child);
	}
	if (child == NULL) {
		fputs(";\n", out);
		return;
	}
	fputs(" {\n", out);
	put_siblings(out, child, depth + 1);
	put_indent(out, depth);
	fputs("}\n", out);
}

static void put_siblings(FILE *out, const struct lyd_node *node, unsigned depth)
{
	for (; node != NULL; node = node->next) {
		/* A container without anything in it says nothing. */
		if ((node->schema->nodetype == LYS_CONTAINER && lyd_child(node) == NULL) ||
		    is_overridden(node))
			continue;
		put_indent(out, depth);
		if (node->schema->nodetype == LYS_LEAF)
			put_leaf(out, node);
		else if (node->schema->nodetype == LYS_LEAFLIST)
			node = put_leaf_list(out, node);
		else
			put_inner(out, node, depth);
	}
}

char *config_to_text(const struct configuration *configuration)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	put_siblings(out, configuration->document.tree, 0);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static json_t *json_value(const struct lyd_node *node)
{
	LY_DATA_TYPE type = schema_leaf_type(node->schema)->basetype;
	bool is_duration = strcmp(schema_leaf_units(node->schema), "microseconds") == 0;
	const char *value = document_text(node);
	char text[SCHEMA_VALUE_MAX];

	if (type == LY_TYPE_EMPTY)
		return json_true();
	if (type == LY_TYPE_BOOL)
		return json_boolean(strcmp(value, "true") == 0);
	if (type == LY_TYPE_DEC64)
		return json_real(strtod(value, NULL));
	if (type >= LY_TYPE_UINT8 && type <= LY_TYPE_UINT64 && !is_duration)
		return json_integer((json_int_t)strtoull(value, NULL, 10));
	return json_string(schema_write_value(node->schema, value, text, sizeof(text)));
}

static json_t *json_siblings(const struct lyd_node *node)
{
	json_t *object = json_object();

	for (; node != NULL; node = node->next) {
		bool inner = (node->schema->nodetype & (LYS_CONTAINER | LYS_LIST)) != 0;
		json_t *value;

		if (is_overridden(node))
			continue;
		value = inner ? json_siblings(lyd_child(node)) : json_value(node);
		if (node->schema->nodetype & (LYS_LIST | LYS_LEAFLIST)) {
			json_t *array = json_object_get(object, node->schema->name);

			if (array == NULL) {
				array = json_array();
				json_object_set_new(object, node->schema->name, array);
			}
			json_array_append_new(array, value);
		} else {
			json_object_set_new(object, node->schema->name, value);
		}
	}
	return object;
}

json_t *config_to_json(const struct configuration *configuration)
{
	return json_siblings(configuration->document.tree);
}

json_t *config_to_document(const struct configuration *configuration)
{
	char *text = config_to_text(configuration);
	json_t *document = json_pack("{s:s, s:o}", "text", text != NULL ? text : "", "json",
				     config_to_json(configuration));

	free(text);
	return document;
}
