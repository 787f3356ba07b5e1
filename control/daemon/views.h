/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a configuration to the view that workers see, and a view's life: TLS contexts are built
 * off-line, the view is published with one pointer a worker, and freed when no worker and no
 * session looks at it any more (DESIGN.md, 7).
 */
#ifndef MILLRACE_CONTROL_DAEMON_VIEWS_H
#define MILLRACE_CONTROL_DAEMON_VIEWS_H

#include "control/certs/certs.h"
#include "control/daemon/appliance.h"

/** The certificates of a configuration, for `show certificates`. */
struct certificate_set {
	unsigned count;
	struct {
		char name[VIEW_NAME_MAX];
		struct certificate *certificate;
	} entries[64];
};

/**
 * Load the certificates that the listeners name.
 * @param error CERTIFICATE_ERROR bytes @return NULL on error
 */
struct certificate_set *certificate_set_load(const struct configuration *configuration,
					     char *error);
void certificate_set_free(struct certificate_set *set);

/** A complete view: contexts for every worker, MACs of the open ports. @return NULL with error set
 */
struct view *views_build(struct appliance *appliance, const struct configuration *configuration,
			 const struct certificate_set *certificates, uint64_t revision,
			 char *error);
void views_free(struct view *view);
/** Hand it to all workers; not waiting. The appliance owns it from now on. @return 0 or -ENOMEM */
int views_publish(struct appliance *appliance, struct view *view);
/** Has every worker adopted the newest view? */
bool views_adopted(const struct appliance *appliance);
/**
 * When the time has come: new ticket keys, and a view whose contexts have them. Sessions that run
 * keep what they have. Under the appliance's lock.
 */
void views_renew_ticket_keys(struct appliance *appliance);
/** Free old views that nobody looks at any more. */
void views_retire(struct appliance *appliance);
/** At the end, when no worker runs. */
void views_free_all(struct appliance *appliance);

#endif
