/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a checked document to the views that the program reads. Each part compiles its piece and
 * says what the model cannot: whether an address is ours, a file can be read, numbers fit together.
 * Private to control/config. Memory: everything compiled lives in the configuration's arena and
 * dies with it.
 */
#ifndef MILLRACE_CONTROL_CONFIG_COMPILE_H
#define MILLRACE_CONTROL_CONFIG_COMPILE_H

#include "control/config/document.h"

struct arena_block;

struct configuration {
	char file[256];
	struct ly_ctx *context; /**< to be destroyed with it; NULL: another's */
	struct document document;
	struct arena_block *arena;

	struct config_system system;
	unsigned port_count;
	struct config_port *ports;
	unsigned certificate_count;
	struct config_certificate *certificates;
	struct config_listener_extra *listener_extras; /**< as many as view.listener_count */
	struct resolver_settings resolver;
	struct queue_settings_view queue;
	uint32_t address_slots;	 /**< a power of two; 0: no addresses */
	uint32_t *address_index; /**< place + 1 in view.addresses, by address; linear probing */
	struct view view;	 /**< revision 0; its arrays are in the arena */
};

/** As config_load_text, with a model that the caller keeps (a fuzzer loads thousands a second). */
struct configuration *config_load_with(const struct lys_module *module, const char *text,
				       size_t size, const char *name, struct config_errors *errors);

/** Zeroed. Never NULL: a configuration that does not fit in memory ends the program. */
void *config_allocate(struct configuration *configuration, size_t size);
char *config_copy_text(struct configuration *configuration, const char *text);

/* Reading leaves. An absent leaf is 0, false or "". */
uint64_t config_number(const struct document *document, const struct lyd_node *parent,
		       const char *name);
bool config_flag(const struct document *document, const struct lyd_node *parent, const char *name);
void config_text(const struct document *document, const struct lyd_node *parent, const char *name,
		 char *out, size_t size);
/** Instances of a list or leaf-list below a parent. */
unsigned config_count(const struct document *document, const struct lyd_node *parent,
		      const char *name);
/** Position of the entry with this key among the instances of a top-level list; the reference was
 * checked. */
unsigned config_index(const struct document *document, const char *list, const char *name);
/** Error when a file cannot be read by us. */
void config_check_readable(struct document *document, const struct lyd_node *node);
/** "192.0.2.1:9464" or "[2001:db8::1]:9464". @return 0 or -EINVAL */
int config_parse_endpoint(const char *text, struct ip_address *address, uint16_t *port);

void config_compile_system(struct configuration *configuration);
void config_compile_certificates(struct configuration *configuration);
/** Ports, addresses, routes. Before listeners and sources, which refer to addresses. */
void config_compile_network(struct configuration *configuration);
void config_compile_listeners(struct configuration *configuration);
/** Sources, pools, retry. */
void config_compile_queue(struct configuration *configuration);
void config_compile_destinations(struct configuration *configuration);
void config_compile_resolver(struct configuration *configuration);

/** The address of a port, or NULL. @param port index, or -1: of any */
const struct view_address *config_find_address(const struct configuration *configuration,
					       const struct ip_address *address, int port);

#endif
