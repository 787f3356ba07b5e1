/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/views.h"

#include "control/telemetry/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEWAL_RETRY_US (60 * US_PER_S)

/* ---- Certificates ---- */

static const struct config_certificate *find_setting(const struct configuration *configuration,
						     const char *name)
{
	const struct config_certificate *list;
	unsigned count = config_certificates(configuration, &list);

	for (unsigned i = 0; i < count; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	return NULL;
}

static struct certificate *find_loaded(const struct certificate_set *set, const char *name)
{
	for (unsigned i = 0; i < set->count; i++)
		if (strcmp(set->entries[i].name, name) == 0)
			return set->entries[i].certificate;
	return NULL;
}

static struct certificate *load_one(const struct configuration *configuration, const char *name,
				    char *error)
{
	const struct config_system *system = config_system(configuration);
	const struct config_certificate *setting = find_setting(configuration, name);
	struct mr_now now;

	clock_read(&now);
	if (!setting) {
		snprintf(error, CERTIFICATE_ERROR, "certificate %.64s is not configured", name);
		return NULL;
	}
	if (setting->certificate_file[0])
		return certificate_load(setting->certificate_file,
					setting->key_file[0] ? setting->key_file
							     : setting->certificate_file,
					now.wall_us, error);
	return certificate_self_signed(system->state_directory, system->hostname, now.wall_us,
				       error);
}

static int add_certificate(struct certificate_set *set, const struct configuration *configuration,
			   const char *name, char *error)
{
	if (find_loaded(set, name))
		return 0;
	if (set->count == sizeof(set->entries) / sizeof(set->entries[0])) {
		snprintf(error, CERTIFICATE_ERROR, "too many certificates");
		return -E2BIG;
	}
	struct certificate *certificate = load_one(configuration, name, error);

	if (!certificate)
		return -EINVAL;
	if (certificate->warning[0])
		log_warning("certificates", "%s: %s", name, certificate->warning);
	snprintf(set->entries[set->count].name, VIEW_NAME_MAX, "%s", name);
	set->entries[set->count++].certificate = certificate;
	return 0;
}

struct certificate_set *certificate_set_load(const struct configuration *configuration, char *error)
{
	struct certificate_set *set = calloc(1, sizeof(*set));
	struct view *view = config_make_view(configuration, 0);

	if (!set || !view) {
		snprintf(error, CERTIFICATE_ERROR, "out of memory");
		goto failed;
	}
	for (unsigned i = 0; i < view->listener_count; i++)
		if (view->listeners[i].tls != LISTENER_TLS_NONE &&
		    add_certificate(set, configuration,
				    config_listener_extra(configuration, i)->certificate,
				    error) < 0)
			goto failed;
	view_free(view);
	return set;

failed:
	if (view)
		view_free(view);
	certificate_set_free(set);
	return NULL;
}

void certificate_set_free(struct certificate_set *set)
{
	if (!set)
		return;
	for (unsigned i = 0; i < set->count; i++)
		certificate_free(set->entries[i].certificate);
	free(set);
}

/* ---- Building ---- */

/* A ticket of one listener must not be taken by another: name and address make its identity,
 * whatever its place. */
static uint32_t listener_identity(const struct view_listener *listener)
{
	uint32_t h = 2166136261u;

	for (const char *c = listener->name; *c; c++)
		h = (h ^ (uint8_t)*c) * 16777619u;
	for (unsigned i = 0; i < 16; i++)
		h = (h ^ listener->address.bytes[i]) * 16777619u;
	return (h ^ listener->tcp_port) * 16777619u;
}

static struct tls_context *make_context(const struct appliance *appliance,
					const struct certificate *certificate,
					const struct view_listener *listener, char *error)
{
	const struct tls_ticket_keys *keys = &appliance->ticket_keys;
	struct tls_context *context =
		certificate_context(certificate, keys->current, listener_identity(listener), error);

	if (context && keys->has_previous)
		tls_context_set_previous_ticket_key(context, keys->previous);
	return context;
}

static int add_contexts(struct appliance *appliance, const struct configuration *configuration,
			const struct certificate_set *certificates, struct view *view, char *error)
{
	/* The view is ours until it is published. */
	struct view_listener *listeners = (struct view_listener *)view->listeners;

	for (unsigned i = 0; i < view->listener_count; i++) {
		struct view_listener *l = &listeners[i];

		if (l->tls == LISTENER_TLS_NONE)
			continue;
		struct certificate *certificate = find_loaded(
			certificates, config_listener_extra(configuration, i)->certificate);

		for (unsigned w = 0; w < appliance->worker_count; w++) {
			l->tls_contexts[w] = make_context(appliance, certificate, l, error);
			if (!l->tls_contexts[w])
				return -EINVAL;
		}
	}
	for (unsigned w = 0; w < appliance->worker_count; w++) {
		view->client_contexts[w] = tls_context_create_client(error);
		if (!view->client_contexts[w])
			return -EINVAL;
	}
	return 0;
}

struct view *views_build(struct appliance *appliance, const struct configuration *configuration,
			 const struct certificate_set *certificates, uint64_t revision, char *error)
{
	struct view *view = config_make_view(configuration, revision);

	if (!view) {
		snprintf(error, 256, "out of memory");
		return NULL;
	}
	if (worker_check_view(view, error) < 0) {
		view_free(view);
		return NULL;
	}
	struct view_port *ports = (struct view_port *)view->ports;

	for (unsigned i = 0; i < view->port_count && i < appliance->port_count; i++) {
		struct nic_port_information info;

		nic_port_information(appliance->ports[i], &info);
		memcpy(ports[i].mac, info.mac, sizeof(ports[i].mac));
		/* Another MTU needs a restart of the port. */
		ports[i].mtu = info.mtu;
	}
	if (add_contexts(appliance, configuration, certificates, view, error) < 0) {
		views_free(view);
		return NULL;
	}
	return view;
}

void views_free(struct view *view)
{
	for (unsigned i = 0; i < view->listener_count; i++)
		for (unsigned w = 0; w < WORKERS_MAX; w++)
			if (view->listeners[i].tls_contexts[w])
				tls_context_release(view->listeners[i].tls_contexts[w]);
	for (unsigned w = 0; w < WORKERS_MAX; w++)
		if (view->client_contexts[w])
			tls_context_release(view->client_contexts[w]);
	view_free(view);
}

/* ---- Life ---- */

int views_publish(struct appliance *appliance, struct view *view)
{
	struct view_version *version = malloc(sizeof(*version));

	if (!version)
		return -ENOMEM;
	*version = (struct view_version){.view = view, .next = appliance->views};
	appliance->views = version;
	for (unsigned i = 0; i < appliance->worker_count; i++)
		worker_publish_view(appliance->workers[i].worker, view);
	return 0;
}

bool views_adopted(const struct appliance *appliance)
{
	for (unsigned i = 0; i < appliance->worker_count; i++)
		if (worker_adopted_view(appliance->workers[i].worker) != appliance->views->view)
			return false;
	return true;
}

/** @return 0 or negative: nothing was published */
static int publish_anew(struct appliance *appliance, char *error)
{
	struct view *view = views_build(appliance, appliance->configuration,
					appliance->certificates, appliance->revision, error);

	if (!view)
		return -EINVAL;
	if (views_publish(appliance, view) < 0) {
		views_free(view);
		snprintf(error, CERTIFICATE_ERROR, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

void views_renew_ticket_keys(struct appliance *appliance)
{
	struct tls_ticket_keys *keys = &appliance->ticket_keys, before = *keys;
	char error[CERTIFICATE_ERROR];
	struct mr_random random;
	struct mr_now now;
	int code;

	clock_read(&now);
	if (!appliance->views || !tls_ticket_keys_are_due(keys, now.mono_us) ||
	    atomic_load_explicit(&appliance->draining, memory_order_relaxed))
		return;
	code = random_init(&random);
	if (code == 0) {
		tls_ticket_keys_rotate(keys, &random, now.mono_us);
		code = publish_anew(appliance, error);
	} else {
		snprintf(error, sizeof(error), "no randomness: %s", strerror(-code));
	}
	if (code < 0) {
		*keys = before;
		keys->due_us = now.mono_us + RENEWAL_RETRY_US;
		log_error("certificates", "the TLS ticket key is not renewed yet: %s", error);
	} else {
		log_info("certificates", "the TLS ticket key is renewed");
	}
	tls_ticket_keys_wipe(&before);
	explicit_bzero(&random, sizeof(random));
}

static bool is_held(const struct appliance *appliance, const struct view *view)
{
	for (unsigned w = 0; w < appliance->worker_count; w++)
		if (__atomic_load_n(&view->references[w].held, __ATOMIC_ACQUIRE) > 0)
			return true;
	return false;
}

void views_retire(struct appliance *appliance)
{
	if (!appliance->views || !views_adopted(appliance))
		return;
	for (struct view_version **link = &appliance->views->next; *link;) {
		struct view_version *version = *link;

		if (is_held(appliance, version->view)) {
			link = &version->next;
			continue;
		}
		*link = version->next;
		views_free(version->view);
		free(version);
	}
}

void views_free_all(struct appliance *appliance)
{
	while (appliance->views) {
		struct view_version *version = appliance->views;

		appliance->views = version->next;
		views_free(version->view);
		free(version);
	}
}
