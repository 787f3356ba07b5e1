/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Brace syntax, led by the model (RFC 7950): a word is looked up among the children of where we
 * are, and its node type says what must follow.
 *
 *   container { … }   list KEY … { … }   leaf VALUE;   leaf-list [ VALUE … ];   leaf-list VALUE;
 *   empty-leaf;   boolean-leaf;   (the same as: boolean-leaf true;)
 *
 * What must hold: the reader ends on any input; after an error it goes on with the next statement,
 * so that one run finds what is wrong in all of the file; nesting is bounded by the model's depth.
 */
#include "control/config/document.h"
#include "control/config/lexer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 4

/* What was stated before, to find what is stated twice: an open hash table. */
struct seen {
	const struct lyd_node *parent;
	const struct lysc_node *schema;
	const struct lyd_node *node;
	uint64_t hash;
};

struct reader {
	struct document *document;
	struct lexer lexer;
	struct token token;
	unsigned last_line;	   /**< of the token before */
	struct lyd_node *last_top; /**< the last one attached */
	struct seen *seen;
	size_t seen_count, seen_size;
};

static void read_statements(struct reader *r, const struct lysc_node *schema,
			    struct lyd_node *parent, unsigned open_line);

static void next(struct reader *r)
{
	r->last_line = r->token.line;
	lexer_next(&r->lexer, &r->token);
}

static void error(struct reader *r, const struct lyd_node *parent, const char *word, unsigned line,
		  const char *reason)
{
	char path[512];

	document_error(r->document, line, document_path(parent, word, path, sizeof(path)), "%s",
		       reason);
}

static bool is_value(const struct reader *r)
{
	return r->token.kind == TOKEN_WORD || r->token.kind == TOKEN_STRING;
}

/* Past the end of a statement that makes no sense, with all that is in its braces. */
static void skip_statement(struct reader *r)
{
	unsigned depth = 0;

	for (; r->token.kind != TOKEN_END; next(r)) {
		if (r->token.kind == TOKEN_OPEN) {
			depth++;
		} else if (r->token.kind == TOKEN_CLOSE) {
			if (depth == 0)
				return;
			if (--depth == 0) {
				next(r);
				return;
			}
		} else if (r->token.kind == TOKEN_SEMICOLON && depth == 0) {
			next(r);
			return;
		}
	}
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	/* FNV-1a; the end counts, so that "a" "bc" is not "ab" "c". */
	do {
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	} while (*text++ != '\0');
	return hash;
}

static bool same_keys(const struct lyd_node *node, char *const *keys, unsigned count)
{
	const struct lyd_node *key = node->schema->nodetype == LYS_LIST ? lyd_child(node) : node;

	for (unsigned i = 0; i < count; i++, key = key->next) {
		if (key == NULL || strcmp(document_text(key), keys[i]) != 0)
			return false;
	}
	return true;
}

static void seen_grow(struct reader *r)
{
	size_t size = r->seen_size == 0 ? 256 : r->seen_size * 2;
	struct seen *table = calloc(size, sizeof(*table));

	if (table == NULL)
		abort();
	for (size_t i = 0; i < r->seen_size; i++) {
		size_t at = r->seen[i].hash & (size - 1);

		if (r->seen[i].node == NULL)
			continue;
		while (table[at].node != NULL)
			at = (at + 1) & (size - 1);
		table[at] = r->seen[i];
	}
	free(r->seen);
	r->seen = table;
	r->seen_size = size;
}

/* @return where (parent, schema, keys) is or would be */
static struct seen *seen_find(struct reader *r, const struct lyd_node *parent,
			      const struct lysc_node *schema, char *const *keys, unsigned count)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)parent ^ ((uintptr_t)schema << 7);
	struct seen *slot;
	size_t at;

	if (r->seen_count * 2 >= r->seen_size)
		seen_grow(r);
	for (unsigned i = 0; i < count; i++)
		hash = hash_text(hash, keys[i]);
	hash ^= hash >> 32;
	for (at = hash & (r->seen_size - 1);; at = (at + 1) & (r->seen_size - 1)) {
		slot = &r->seen[at];
		if (slot->node == NULL)
			break;
		if (slot->hash == hash && slot->parent == parent && slot->schema == schema &&
		    same_keys(slot->node, keys, count))
			return slot;
	}
	slot->hash = hash;
	return slot;
}

static void seen_add(struct reader *r, struct seen *slot, const struct lyd_node *parent,
		     struct lyd_node *node, unsigned line)
{
	slot->parent = parent;
	slot->schema = node->schema;
	slot->node = node;
	r->seen_count++;
	document_set_line(node, line);
}

static void stated_twice(struct reader *r, const struct lyd_node *parent, const char *word,
			 unsigned line, const struct lyd_node *first)
{
	char path[512];

	document_error(r->document, line, document_path(parent, word, path, sizeof(path)),
		       "stated twice; first in line %u", document_line(first));
}

/* libyang refused what was checked before: say what it says. */
static void refused(struct reader *r, const struct lyd_node *parent, const char *word,
		    unsigned line)
{
	const struct ly_err_item *item = ly_err_last(r->document->module->ctx);

	error(r, parent, word, line, item != NULL ? item->msg : "not accepted by the model");
	ly_err_clean(r->document->module->ctx, NULL);
}

/*
 * A node of the top among its siblings. Behind the last one of its kind it goes by hand: libyang
 * would look for the place from the first sibling on, each time.
 */
static void attach_top(struct reader *r, const struct lyd_node *parent, struct lyd_node *node)
{
	struct lyd_node **tree = &r->document->tree;

	if (parent != NULL)
		return;
	if (r->last_top != NULL && r->last_top->schema == node->schema &&
	    node->schema->nodetype == LYS_LIST)
		lyd_insert_after(r->last_top, node);
	else if (*tree != NULL)
		lyd_insert_sibling(*tree, node, tree);
	else
		*tree = node;
	r->last_top = node;
}

/* After a leaf's value: a semicolon, or a line end where one was forgotten. */
static void end_statement(struct reader *r, const struct lyd_node *parent, const char *word)
{
	if (r->token.kind == TOKEN_SEMICOLON) {
		next(r);
	} else if (r->token.kind == TOKEN_BAD) {
		error(r, parent, word, r->token.line, r->token.text);
		skip_statement(r);
	} else if (r->token.line > r->last_line || r->token.kind == TOKEN_CLOSE ||
		   r->token.kind == TOKEN_END) {
		error(r, parent, word, r->last_line, "';' is missing at the end");
	} else if (is_value(r)) {
		error(r, parent, word, r->token.line,
		      "takes one value (several words need quotes; is a ';' missing?)");
		skip_statement(r);
	} else {
		error(r, parent, word, r->token.line, "';' expected after the value");
		skip_statement(r);
	}
}

/* One value of a leaf or leaf-list, from the present token. */
static void add_value(struct reader *r, const struct lysc_node *schema, struct lyd_node *parent,
		      const char *text, unsigned line)
{
	char canonical[SCHEMA_VALUE_MAX], reason[512];
	char *keys[] = {canonical};
	bool is_list = schema->nodetype == LYS_LEAFLIST;
	struct lyd_node *node = NULL;
	struct seen *slot;

	if (schema_read_value(schema, text, canonical, reason, sizeof(reason)) != 0) {
		error(r, parent, schema->name, line, reason);
		return;
	}
	slot = seen_find(r, parent, schema, keys, is_list ? 1 : 0);
	if (slot->node != NULL) {
		stated_twice(r, parent, schema->name, line, slot->node);
		return;
	}
	if (lyd_new_term(parent, schema->module, schema->name, canonical, 0, &node) != LY_SUCCESS) {
		refused(r, parent, schema->name, line);
		return;
	}
	attach_top(r, parent, node);
	seen_add(r, slot, parent, node, line);
}

static void read_leaf(struct reader *r, const struct lysc_node *schema, struct lyd_node *parent)
{
	LY_DATA_TYPE type = schema_leaf_type(schema)->basetype;
	unsigned line = r->last_line;

	if (type == LY_TYPE_EMPTY || (type == LY_TYPE_BOOL && r->token.kind == TOKEN_SEMICOLON)) {
		add_value(r, schema, parent, type == LY_TYPE_EMPTY ? "" : "true", line);
	} else if (is_value(r)) {
		add_value(r, schema, parent, r->token.text, r->token.line);
		next(r);
	} else if (r->token.kind == TOKEN_BAD) {
		error(r, parent, schema->name, r->token.line, r->token.text);
		skip_statement(r);
		return;
	} else {
		error(r, parent, schema->name, line, "needs a value");
		skip_statement(r);
		return;
	}
	end_statement(r, parent, schema->name);
}

static void read_leaf_list(struct reader *r, const struct lysc_node *schema,
			   struct lyd_node *parent)
{
	unsigned line = r->token.line;

	if (r->token.kind != TOKEN_LIST_OPEN) {
		read_leaf(r, schema, parent);
		return;
	}
	for (next(r); is_value(r); next(r))
		add_value(r, schema, parent, r->token.text, r->token.line);
	if (r->token.kind != TOKEN_LIST_CLOSE) {
		error(r, parent, schema->name, line,
		      r->token.kind == TOKEN_BAD ? r->token.text : "'[' is not closed by ']'");
		skip_statement(r);
		return;
	}
	next(r);
	end_statement(r, parent, schema->name);
}

/* After a container's or list entry's name: its block, or a semicolon for an empty one. */
static void read_block(struct reader *r, const struct lysc_node *schema, struct lyd_node *node)
{
	unsigned line = r->token.line;

	if (r->token.kind == TOKEN_SEMICOLON) {
		next(r);
	} else if (r->token.kind == TOKEN_OPEN) {
		next(r);
		read_statements(r, schema, node, line);
	} else {
		error(r, node, NULL, r->last_line,
		      r->token.kind == TOKEN_BAD ? r->token.text : "'{' or ';' expected here");
		skip_statement(r);
	}
}

static void read_container(struct reader *r, const struct lysc_node *schema,
			   struct lyd_node *parent)
{
	struct seen *slot = seen_find(r, parent, schema, NULL, 0);
	unsigned line = r->last_line;
	struct lyd_node *node = NULL;

	if (slot->node != NULL) {
		stated_twice(r, parent, schema->name, line, slot->node);
		skip_statement(r);
		return;
	}
	if (lyd_new_inner(parent, schema->module, schema->name, 0, &node) != LY_SUCCESS) {
		refused(r, parent, schema->name, line);
		skip_statement(r);
		return;
	}
	attach_top(r, parent, node);
	seen_add(r, slot, parent, node, line);
	read_block(r, schema, node);
}

/* @return how many keys were read; fewer than there are when one is missing or refused (said so) */
static unsigned read_keys(struct reader *r, const struct lysc_node *schema, struct lyd_node *parent,
			  char *keys[KEYS_MAX])
{
	const struct lysc_node *key = lysc_node_child(schema);
	unsigned count = 0;

	for (; key != NULL && lysc_is_key(key) && count < KEYS_MAX; key = key->next) {
		char canonical[SCHEMA_VALUE_MAX], reason[512];

		if (!is_value(r)) {
			snprintf(reason, sizeof(reason), "needs a %s", key->name);
			error(r, parent, schema->name, r->last_line,
			      r->token.kind == TOKEN_BAD ? r->token.text : reason);
			return count;
		}
		if (schema_read_value(key, r->token.text, canonical, reason, sizeof(reason)) != 0) {
			error(r, parent, schema->name, r->token.line, reason);
			return count;
		}
		keys[count] = strdup(canonical);
		if (keys[count] == NULL)
			abort();
		count++;
		next(r);
	}
	return count;
}

static unsigned count_keys(const struct lysc_node *schema)
{
	const struct lysc_node *key = lysc_node_child(schema);
	unsigned count = 0;

	for (; key != NULL && lysc_is_key(key); key = key->next)
		count++;
	return count;
}

static struct lyd_node *add_entry(struct reader *r, const struct lysc_node *schema,
				  struct lyd_node *parent, char *keys[KEYS_MAX], unsigned count,
				  unsigned line)
{
	struct seen *slot = seen_find(r, parent, schema, keys, count);
	struct lyd_node *node = NULL;
	char word[512];

	if (slot->node != NULL) {
		snprintf(word, sizeof(word), "%s %s", schema->name, keys[0]);
		stated_twice(r, parent, word, line, slot->node);
		return NULL;
	}
	/* It takes as many keys as the list has. */
	if (lyd_new_list(parent, schema->module, schema->name, 0, &node, keys[0], keys[1], keys[2],
			 keys[3]) != LY_SUCCESS) {
		refused(r, parent, schema->name, line);
		return NULL;
	}
	attach_top(r, parent, node);
	seen_add(r, slot, parent, node, line);
	return node;
}

static void read_list(struct reader *r, const struct lysc_node *schema, struct lyd_node *parent)
{
	char *keys[KEYS_MAX] = {NULL};
	unsigned line = r->last_line;
	unsigned count = read_keys(r, schema, parent, keys);
	struct lyd_node *node = NULL;

	if (count == count_keys(schema))
		node = add_entry(r, schema, parent, keys, count, line);
	if (node != NULL)
		read_block(r, schema, node);
	else
		skip_statement(r);
	for (unsigned i = 0; i < KEYS_MAX; i++)
		free(keys[i]);
}

static void unknown_word(struct reader *r, const struct lysc_node *schema, struct lyd_node *parent)
{
	const char *near = schema_suggest(r->document->module, schema, r->token.text);
	char reason[256];

	if (near != NULL)
		snprintf(reason, sizeof(reason), "no such statement here (did you mean '%s'?)",
			 near);
	else
		snprintf(reason, sizeof(reason), "no such statement here");
	error(r, parent, r->token.text, r->token.line, reason);
	next(r);
	skip_statement(r);
}

/* The present token is a statement's first word. */
static void read_statement(struct reader *r, const struct lysc_node *schema,
			   struct lyd_node *parent)
{
	const struct lysc_node *node = schema_find(r->document->module, schema, r->token.text);

	if (node == NULL || lysc_is_key(node)) {
		unknown_word(r, schema, parent);
		return;
	}
	next(r);
	switch (node->nodetype) {
	case LYS_CONTAINER:
		read_container(r, node, parent);
		break;
	case LYS_LIST:
		read_list(r, node, parent);
		break;
	case LYS_LEAFLIST:
		read_leaf_list(r, node, parent);
		break;
	default:
		read_leaf(r, node, parent);
		break;
	}
}

/* Until the closing brace, or the end at the top (open_line 0). */
static void read_statements(struct reader *r, const struct lysc_node *schema,
			    struct lyd_node *parent, unsigned open_line)
{
	char reason[64];

	for (;;) {
		switch (r->token.kind) {
		case TOKEN_WORD:
			read_statement(r, schema, parent);
			break;
		case TOKEN_CLOSE:
			if (open_line != 0) {
				next(r);
				return;
			}
			error(r, NULL, NULL, r->token.line, "'}' closes nothing");
			next(r);
			break;
		case TOKEN_END:
			snprintf(reason, sizeof(reason), "'{' of line %u is not closed", open_line);
			if (open_line != 0)
				error(r, parent, NULL, r->token.line, reason);
			return;
		case TOKEN_SEMICOLON:
			next(r);
			break;
		default:
			error(r, parent, NULL, r->token.line,
			      r->token.kind == TOKEN_BAD ? r->token.text
							 : "a statement expected here");
			skip_statement(r);
			break;
		}
	}
}

void document_read(struct document *document, const char *text, size_t size)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		abort();
	r->document = document;
	lexer_init(&r->lexer, text, size);
	r->token.line = 1;
	next(r);
	read_statements(r, NULL, NULL, 0);
	free(r->seen);
	free(r);
}
