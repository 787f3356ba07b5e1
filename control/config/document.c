/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A configuration's tree, its lines and its errors. */
#include "control/config/document.h"

#include "dataplane/smtp/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What it quotes may be no UTF-8, or is cut within a character; JSON takes neither. */
static void make_utf8(char *text)
{
	size_t size = strlen(text);

	for (size_t at = 0; at < size;) {
		unsigned length = utf8_sequence((const uint8_t *)text + at, size - at);

		if (length == 0)
			text[at] = '?';
		at += length > 0 ? length : 1;
	}
}

static void add_error(struct document *document, unsigned line, const char *path,
		      const char *format, va_list arguments)
{
	struct config_errors *errors = document->errors;
	struct config_error *error;

	if (errors->count == CONFIG_ERRORS_MAX)
		return;
	error = &errors->errors[errors->count++];
	error->line = line;
	snprintf(error->file, sizeof(error->file), "%s", document->file);
	snprintf(error->path, sizeof(error->path), "%s", path);
	vsnprintf(error->reason, sizeof(error->reason), format, arguments);
	make_utf8(error->path);
	make_utf8(error->reason);
}

void document_error(struct document *document, unsigned line, const char *path, const char *format,
		    ...)
{
	va_list arguments;

	va_start(arguments, format);
	add_error(document, line, path, format, arguments);
	va_end(arguments);
}

void document_error_at(struct document *document, const struct lyd_node *node, const char *below,
		       const char *format, ...)
{
	char path[512];
	va_list arguments;

	va_start(arguments, format);
	add_error(document, document_line(node), document_path(node, below, path, sizeof(path)),
		  format, arguments);
	va_end(arguments);
}

unsigned document_line(const struct lyd_node *node)
{
	for (; node != NULL; node = lyd_parent(node)) {
		if (node->priv != NULL)
			return (unsigned)(uintptr_t)node->priv;
	}
	return 1;
}

void document_set_line(struct lyd_node *node, unsigned line)
{
	node->priv = (void *)(uintptr_t)line;
}

static size_t add_word(char *out, size_t size, size_t at, const char *word)
{
	if (at + 1 >= size)
		return at;
	at += (size_t)snprintf(out + at, size - at, "%s%s", at > 0 ? " " : "", word);
	return at < size ? at : size - 1;
}

char *document_path(const struct lyd_node *node, const char *below, char *out, size_t size)
{
	const struct lyd_node *chain[16];
	unsigned depth = 0;
	size_t at = 0;

	out[0] = '\0';
	for (; node != NULL && depth < 16; node = lyd_parent(node))
		chain[depth++] = node;
	while (depth-- > 0) {
		const struct lyd_node *key = lyd_child(chain[depth]);

		at = add_word(out, size, at, chain[depth]->schema->name);
		if (chain[depth]->schema->nodetype != LYS_LIST)
			continue;
		for (; key != NULL && lysc_is_key(key->schema); key = key->next)
			at = add_word(out, size, at, document_text(key));
	}
	if (below != NULL)
		add_word(out, size, at, below);
	return out;
}

const char *document_text(const struct lyd_node *node)
{
	const char *text = lyd_get_value(node);

	return text != NULL ? text : "";
}

struct lyd_node *document_child(const struct document *document, const struct lyd_node *parent,
				const char *name)
{
	struct lyd_node *node = parent != NULL ? lyd_child(parent) : document->tree;

	for (; node != NULL; node = node->next) {
		if (strcmp(node->schema->name, name) == 0)
			return node;
	}
	return NULL;
}

struct lyd_node *document_next(const struct lyd_node *node)
{
	/* Instances stand together: libyang keeps siblings in the model's order. */
	return node->next != NULL && node->next->schema == node->schema ? node->next : NULL;
}

const char *document_value(const struct document *document, const struct lyd_node *parent,
			   const char *name)
{
	const struct lyd_node *node = document_child(document, parent, name);

	return node != NULL ? document_text(node) : NULL;
}
