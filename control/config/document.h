/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A configuration as a libyang tree that remembers the line of each node, and the list of what is
 * wrong with it. Owner: whoever loads. A node's line lives in lyd_node.priv; nodes that libyang
 * adds (defaults) have none and answer with their parent's.
 */
#ifndef MILLRACE_CONTROL_CONFIG_DOCUMENT_H
#define MILLRACE_CONTROL_CONFIG_DOCUMENT_H

#include "control/config/config.h"
#include "control/config/schema.h"

struct document {
	const char *file; /**< for messages */
	const struct lys_module *module;
	struct lyd_node *tree; /**< first sibling of the top, or NULL */
	struct config_errors *errors;
};

/** @param path may be "" */
void document_error(struct document *document, unsigned line, const char *path, const char *format,
		    ...) __attribute__((format(printf, 4, 5)));
/** An error at a node: its line and path. @param below more words of the path, or NULL */
void document_error_at(struct document *document, const struct lyd_node *node, const char *below,
		       const char *format, ...) __attribute__((format(printf, 4, 5)));

unsigned document_line(const struct lyd_node *node);
void document_set_line(struct lyd_node *node, unsigned line);
/** The words that lead to a node, as in the file: "listener submission limits recipients". @return
 * out */
char *document_path(const struct lyd_node *node, const char *below, char *out, size_t size);

/** Canonical value of a leaf; "" for anything else. Never NULL. */
const char *document_text(const struct lyd_node *node);
/** Child of a node (parent NULL: of the top) by name, or NULL. */
struct lyd_node *document_child(const struct document *document, const struct lyd_node *parent,
				const char *name);
/** The next instance of the same list or leaf-list, or NULL. */
struct lyd_node *document_next(const struct lyd_node *node);
/** Canonical value of a child leaf, or NULL when it is absent. */
const char *document_value(const struct document *document, const struct lyd_node *parent,
			   const char *name);

/**
 * Read brace syntax into document->tree. What is wrong goes to document->errors, as much of it as
 * can be found at once.
 */
void document_read(struct document *document, const char *text, size_t size);
/**
 * Mandatory nodes, references and the model's rules; adds the defaults when all is well.
 */
void document_check(struct document *document);

#endif
