/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Password checks on a thread of their own. crypt(3); RFC 4616 (PLAIN) hands us user and password
 * in UTF-8. */
#include "control/config/users.h"

#include "control/config/compile.h"
#include "control/config/users_file.h"
#include "control/telemetry/log.h"

#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Checked when there is no entry to take the cost from: yescrypt at its default cost. */
static const char costly_setting[] = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$";

/** The users of every listener, at one revision. */
struct table {
	unsigned references; /**< under users.lock */
	unsigned file_count;
	struct users_file *files;
	unsigned listener_count;
	struct table_listener {
		char name[VIEW_NAME_MAX];
		int file; /**< -1: no AUTH */
	} * listeners;
};

struct waiting {
	struct auth_request *request;
	void (*done)(void *user, struct auth_request *request);
	void *user;
};

struct users {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool stopping;
	struct table *table;
	unsigned head, count; /**< of the ring of waiting requests */
	struct waiting waiting[USERS_WAITING_MAX];
	struct crypt_data crypt; /**< the thread's */
};

/* ---- Tables ---- */

static void table_free(struct table *table)
{
	if (table == NULL)
		return;
	for (unsigned i = 0; i < table->file_count; i++)
		users_file_free(&table->files[i]);
	free(table->files);
	free(table->listeners);
	free(table);
}

/* The lock is held. */
static void table_release(struct table *table)
{
	if (--table->references == 0)
		table_free(table);
}

/* @return the file's index, loading it if no other listener has; or negative errno */
static int table_file(struct table *table, const char *path,
		      const struct configuration *configuration, char *error)
{
	int result;

	for (unsigned i = 0; i < table->file_count; i++) {
		if (strcmp(table->files[i].path, path) == 0)
			return (int)i;
	}
	result = users_file_load(&table->files[table->file_count], path, configuration, error);
	return result != 0 ? result : (int)table->file_count++;
}

static int table_load(const struct configuration *configuration, struct table **out, char *error)
{
	struct table *table = calloc(1, sizeof(*table));
	unsigned count = 0;

	while (config_listener_extra(configuration, count) != NULL)
		count++;
	if (table == NULL)
		abort();
	table->references = 1;
	table->listener_count = count;
	table->files = calloc(count + 1, sizeof(*table->files));
	table->listeners = calloc(count + 1, sizeof(*table->listeners));
	if (table->files == NULL || table->listeners == NULL)
		abort();
	for (unsigned i = 0; i < count; i++) {
		const char *path = config_listener_extra(configuration, i)->users_file;
		int file = path[0] != '\0' ? table_file(table, path, configuration, error) : -1;

		if (path[0] != '\0' && file < 0) {
			table_free(table);
			return file;
		}
		table->listeners[i].file = file;
		snprintf(table->listeners[i].name, VIEW_NAME_MAX, "%s",
			 configuration->view.listeners[i].name);
	}
	*out = table;
	return 0;
}

/* ---- Checking ---- */

/* Differences are found in the time that the whole takes. */
static bool same(const char *a, const char *b)
{
	size_t a_size = strlen(a), b_size = strlen(b);
	unsigned char difference = a_size != b_size;

	for (size_t i = 0; i < a_size && i < b_size; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}

/* The hash to compute when there is no such user: as dear as the others' are. */
static const char *stand_in(const struct users_file *file)
{
	for (size_t i = 0; file != NULL && i < file->count; i++) {
		if (file->entries[i].hash[0] == '$')
			return file->entries[i].hash;
	}
	return costly_setting;
}

/* By name: the session may have begun under a configuration with other listeners. */
static const struct users_file *file_of(const struct table *table, const char *listener)
{
	for (unsigned i = 0; i < table->listener_count; i++) {
		if (strcmp(table->listeners[i].name, listener) == 0)
			return table->listeners[i].file >= 0
				       ? &table->files[table->listeners[i].file]
				       : NULL;
	}
	return NULL;
}

static void check(struct users *users, const struct table *table, struct auth_request *request)
{
	const struct users_file *file = file_of(table, request->listener);
	const struct users_entry *entry =
		file != NULL ? users_file_find(file, request->user) : NULL;
	bool locked = entry == NULL || entry->hash[0] == '!' || entry->hash[0] == '*';
	const char *setting = locked ? stand_in(file) : entry->hash;
	const char *result = crypt_r(request->password, setting, &users->crypt);

	/* A failed crypt_r answers "*0" or "*1", which is never a hash of a file that was loaded.
	 */
	request->accepted = result != NULL && result[0] != '*' && same(result, setting) && !locked;
	if (request->accepted) {
		snprintf(request->tenant, sizeof(request->tenant), "%s", entry->tenant);
		snprintf(request->campaign, sizeof(request->campaign), "%s", entry->campaign);
		snprintf(request->pool, sizeof(request->pool), "%s", entry->pool);
	}
	explicit_bzero(&users->crypt, sizeof(users->crypt));
}

static void refuse(const struct waiting *waiting)
{
	waiting->request->accepted = false;
	explicit_bzero(waiting->request->password, sizeof(waiting->request->password));
	waiting->done(waiting->user, waiting->request);
}

static void *users_main(void *argument)
{
	struct users *users = argument;

	pthread_setname_np(pthread_self(), "auth");
	pthread_mutex_lock(&users->lock);
	while (!users->stopping) {
		struct waiting waiting;
		struct table *table;

		if (users->count == 0) {
			pthread_cond_wait(&users->wake, &users->lock);
			continue;
		}
		waiting = users->waiting[users->head];
		users->head = (users->head + 1) % USERS_WAITING_MAX;
		users->count--;
		table = users->table;
		table->references++;
		pthread_mutex_unlock(&users->lock);
		check(users, table, waiting.request);
		explicit_bzero(waiting.request->password, sizeof(waiting.request->password));
		waiting.done(waiting.user, waiting.request);
		pthread_mutex_lock(&users->lock);
		table_release(table);
	}
	pthread_mutex_unlock(&users->lock);
	return NULL;
}

void users_authenticate(void *context, struct auth_request *request,
			void (*done)(void *user, struct auth_request *request), void *user)
{
	struct users *users = context;
	struct waiting waiting = {request, done, user};
	bool taken = false;

	request->accepted = false;
	request->tenant[0] = request->campaign[0] = request->pool[0] = '\0';
	pthread_mutex_lock(&users->lock);
	if (!users->stopping && users->count < USERS_WAITING_MAX) {
		users->waiting[(users->head + users->count++) % USERS_WAITING_MAX] = waiting;
		pthread_cond_signal(&users->wake);
		taken = true;
	}
	pthread_mutex_unlock(&users->lock);
	if (taken)
		return;
	log_warning("users", "password check refused: %u wait already", USERS_WAITING_MAX);
	refuse(&waiting);
}

/* ---- Life ---- */

struct users *users_create(const struct configuration *configuration, char *error)
{
	struct users *users = calloc(1, sizeof(*users));
	int result;

	if (users == NULL)
		abort();
	if (table_load(configuration, &users->table, error) != 0) {
		free(users);
		return NULL;
	}
	pthread_mutex_init(&users->lock, NULL);
	pthread_cond_init(&users->wake, NULL);
	result = pthread_create(&users->thread, NULL, users_main, users);
	if (result == 0)
		return users;
	snprintf(error, 256, "password checks: no thread: %s", strerror(result));
	table_free(users->table);
	free(users);
	return NULL;
}

int users_reload(struct users *users, const struct configuration *configuration, char *error)
{
	struct table *table = NULL;
	int result = table_load(configuration, &table, error);

	if (result != 0)
		return result;
	pthread_mutex_lock(&users->lock);
	table_release(users->table);
	users->table = table;
	pthread_mutex_unlock(&users->lock);
	return 0;
}

void users_destroy(struct users *users)
{
	if (users == NULL)
		return;
	pthread_mutex_lock(&users->lock);
	users->stopping = true;
	pthread_cond_signal(&users->wake);
	pthread_mutex_unlock(&users->lock);
	pthread_join(users->thread, NULL);
	for (; users->count > 0; users->count--) {
		refuse(&users->waiting[users->head]);
		users->head = (users->head + 1) % USERS_WAITING_MAX;
	}
	table_free(users->table);
	pthread_cond_destroy(&users->wake);
	pthread_mutex_destroy(&users->lock);
	free(users);
}
