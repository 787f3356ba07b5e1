/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Loading a configuration: read, check against the model, compile. Owner: the thread that loads;
 * immutable afterwards and then read by all. Memory: the heap, an arena for each configuration.
 */
#include "control/config/config.h"

#include "control/config/compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_SIZE_MAX (16u << 20)

struct arena_block {
	struct arena_block *next;
	max_align_t data[];
};

void *config_allocate(struct configuration *configuration, size_t size)
{
	struct arena_block *block = calloc(1, sizeof(*block) + (size > 0 ? size : 1));

	if (block == NULL)
		abort();
	block->next = configuration->arena;
	configuration->arena = block;
	return block->data;
}

char *config_copy_text(struct configuration *configuration, const char *text)
{
	char *copy = config_allocate(configuration, strlen(text) + 1);

	strcpy(copy, text);
	return copy;
}

static void add_error(struct config_errors *errors, const char *file, const char *reason)
{
	struct config_error *error = &errors->errors[errors->count++];

	memset(error, 0, sizeof(*error));
	snprintf(error->file, sizeof(error->file), "%s", file);
	snprintf(error->reason, sizeof(error->reason), "%s", reason);
}

/* What stands in every configuration, stated or not: the destination that all others lean on. */
static void add_implied(struct document *document)
{
	struct lyd_node *node;

	for (node = document_child(document, NULL, "destination"); node != NULL;
	     node = document_next(node)) {
		if (strcmp(document_value(document, node, "domain"), "default") == 0)
			return;
	}
	if (lyd_new_list(NULL, document->module, "destination", 0, &node, "default") != LY_SUCCESS)
		abort();
	if (lyd_insert_sibling(document->tree, node, &document->tree) != LY_SUCCESS)
		abort();
}

static void compile(struct configuration *configuration)
{
	config_compile_system(configuration);
	config_compile_certificates(configuration);
	config_compile_network(configuration);
	config_compile_listeners(configuration);
	config_compile_queue(configuration);
	config_compile_destinations(configuration);
	config_compile_resolver(configuration);
}

static int compare_errors(const void *a, const void *b)
{
	const struct config_error *left = a, *right = b;

	return (left->line > right->line) - (left->line < right->line);
}

struct configuration *config_load_with(const struct lys_module *module, const char *text,
				       size_t size, const char *name, struct config_errors *errors)
{
	struct configuration *configuration = calloc(1, sizeof(*configuration));
	struct document *document;

	if (configuration == NULL)
		abort();
	errors->count = 0;
	document = &configuration->document;
	snprintf(configuration->file, sizeof(configuration->file), "%s", name);
	document->file = configuration->file;
	document->errors = errors;
	document->module = module;
	document_read(document, text, size);
	if (document->tree != NULL)
		add_implied(document);
	document_check(document);
	if (errors->count == 0)
		compile(configuration);
	document->errors = NULL;
	if (errors->count == 0)
		return configuration;
	qsort(errors->errors, errors->count, sizeof(errors->errors[0]), compare_errors);
	config_free(configuration);
	return NULL;
}

static struct configuration *load(const char *text, size_t size, const char *name,
				  const char *yang_directory, struct config_errors *errors)
{
	struct configuration *configuration;
	const struct lys_module *module;
	struct ly_ctx *context;
	char error[256];

	errors->count = 0;
	context = schema_load(yang_directory, &module, error);
	if (context == NULL) {
		add_error(errors, name, error);
		return NULL;
	}
	configuration = config_load_with(module, text, size, name, errors);
	if (configuration != NULL)
		configuration->context = context;
	else
		ly_ctx_destroy(context);
	return configuration;
}

struct configuration *config_load_text(const char *text, const char *name,
				       struct config_errors *errors)
{
	return load(text, strlen(text), name, NULL, errors);
}

struct configuration *config_load(const char *file, const char *yang_directory,
				  struct config_errors *errors)
{
	struct configuration *configuration = NULL;
	FILE *in = fopen(file, "re");
	char *text = malloc(FILE_SIZE_MAX + 1);
	size_t size;

	errors->count = 0;
	if (text == NULL)
		abort();
	if (in == NULL) {
		add_error(errors, file, strerror(errno));
		goto out;
	}
	size = fread(text, 1, FILE_SIZE_MAX + 1, in);
	if (ferror(in))
		add_error(errors, file, strerror(errno));
	else if (size > FILE_SIZE_MAX)
		add_error(errors, file, "larger than 16 MiB");
	else
		configuration = load(text, size, file, yang_directory, errors);
out:
	if (in != NULL)
		fclose(in);
	free(text);
	return configuration;
}

void config_free(struct configuration *configuration)
{
	struct arena_block *block, *next;

	if (configuration == NULL)
		return;
	lyd_free_all(configuration->document.tree);
	if (configuration->context != NULL)
		ly_ctx_destroy(configuration->context);
	for (block = configuration->arena; block != NULL; block = next) {
		next = block->next;
		free(block);
	}
	free(configuration);
}

char *config_error_format(const struct config_error *error, char *out, size_t size)
{
	char line[16] = "";

	if (error->line > 0)
		snprintf(line, sizeof(line), "%u:", error->line);
	snprintf(out, size, "%s:%s %s%s%s", error->file, line, error->path,
		 error->path[0] != '\0' ? ": " : "", error->reason);
	return out;
}

const struct config_system *config_system(const struct configuration *configuration)
{
	return &configuration->system;
}

unsigned config_ports(const struct configuration *configuration, const struct config_port **ports)
{
	*ports = configuration->ports;
	return configuration->port_count;
}

unsigned config_certificates(const struct configuration *configuration,
			     const struct config_certificate **certificates)
{
	*certificates = configuration->certificates;
	return configuration->certificate_count;
}

const struct config_listener_extra *config_listener_extra(const struct configuration *configuration,
							  unsigned listener)
{
	return listener < configuration->view.listener_count
		       ? &configuration->listener_extras[listener]
		       : NULL;
}

const struct resolver_settings *config_resolver(const struct configuration *configuration)
{
	return &configuration->resolver;
}

const struct queue_settings_view *config_queue(const struct configuration *configuration)
{
	return &configuration->queue;
}
