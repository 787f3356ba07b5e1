/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Loads certificates and keys, keeps self-signed ones, and makes TLS contexts of them. What cannot
 * be used is refused with the file and the reason; what can be used but should be seen to becomes a
 * warning.
 */
#include "control/certs/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX_BYTES (1 << 20)
#define DAY_S	       86400

__attribute__((format(printf, 2, 3))) static void say(char *to, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(to, CERTIFICATE_ERROR, format, arguments);
	va_end(arguments);
}

/* Text of a file with its end. @param mode_out of the file @return NULL with *error */
static char *read_file(const char *path, size_t *size_out, mode_t *mode_out, char *error)
{
	struct stat status;
	char *text = NULL;
	ssize_t n;
	/* A pipe must not make a reload wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &status) < 0) {
		say(error, "%s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX_BYTES) {
		say(error, "%s: %s", path,
		    S_ISREG(status.st_mode) ? "over 1 MiB" : "not a regular file");
		goto out;
	}
	text = malloc((size_t)status.st_size + 1);
	n = text ? read(fd, text, (size_t)status.st_size) : -1;
	if (n != status.st_size) {
		say(error, "%s: %s", path, n < 0 ? strerror(errno) : "changed while it was read");
		free(text);
		text = NULL;
		goto out;
	}
	text[n] = '\0';
	*size_out = (size_t)n;
	*mode_out = status.st_mode;
out:
	if (fd >= 0)
		close(fd);
	return text;
}

static void format_day(int64_t seconds, char *to, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(to, size, "%Y-%m-%d", &tm) == 0)
		snprintf(to, size, "?");
}

static void warn_of_dates(struct certificate *certificate, const char *file, int64_t now_s)
{
	const struct certificate_information *i = &certificate->information;
	char day[16];

	if (now_s < i->not_before_s) {
		format_day(i->not_before_s, day, sizeof(day));
		say(certificate->warning, "%s: not valid before %s", file, day);
	} else if (now_s > i->not_after_s) {
		format_day(i->not_after_s, day, sizeof(day));
		say(certificate->warning, "%s: expired on %s", file, day);
	} else if (i->not_after_s - now_s < CERTIFICATE_WARN_DAYS * DAY_S) {
		format_day(i->not_after_s, day, sizeof(day));
		say(certificate->warning, "%s: expires on %s", file, day);
	}
}

/* The library that will serve it is the judge of whether certificate and key can be used. */
static bool try_context(const struct certificate *certificate, const char *certificate_file,
			const char *key_file, char *error)
{
	char reason[256];
	struct tls_context *context = certificate_context(certificate, NULL, 0, reason);

	if (!context) {
		say(error, "%s%s%s: %s", certificate_file,
		    strcmp(certificate_file, key_file) ? ", " : "",
		    strcmp(certificate_file, key_file) ? key_file : "", reason);
		return false;
	}
	tls_context_release(context);
	return true;
}

static bool has_pem(const char *text, const char *label)
{
	const char *begin = text;

	while ((begin = strstr(begin, "-----BEGIN ")) != NULL) {
		const char *end = strchr(begin, '\n');
		const char *found = strstr(begin, label);

		if (found && (!end || found < end))
			return true;
		begin += 11;
	}
	return false;
}

static bool check_pem(const struct certificate *certificate, const char *certificate_file,
		      const char *key_file, char *error)
{
	if (!has_pem(certificate->chain_pem, "CERTIFICATE-----"))
		say(error, "%s: no PEM certificate in it", certificate_file);
	else if (has_pem(certificate->key_pem, "ENCRYPTED PRIVATE KEY") ||
		 strstr(certificate->key_pem, "Proc-Type: 4,ENCRYPTED"))
		say(error, "%s: the private key is encrypted", key_file);
	else if (!has_pem(certificate->key_pem, "PRIVATE KEY-----"))
		say(error, "%s: no PEM private key in it", key_file);
	else
		return true;
	return false;
}

struct certificate *certificate_load(const char *certificate_file, const char *key_file,
				     uint64_t wall_us, char *error)
{
	struct certificate *certificate = calloc(1, sizeof(*certificate));
	mode_t certificate_mode, key_mode;

	error[0] = '\0';
	if (!certificate) {
		say(error, "%s: out of memory", certificate_file);
		return NULL;
	}
	certificate->chain_pem =
		read_file(certificate_file, &certificate->chain_size, &certificate_mode, error);
	if (!certificate->chain_pem)
		goto fail;
	certificate->key_pem = read_file(key_file, &certificate->key_size, &key_mode, error);
	if (!certificate->key_pem || !check_pem(certificate, certificate_file, key_file, error))
		goto fail;
	if (certificate_inspect(certificate->chain_pem, certificate->chain_size,
				&certificate->information) < 0) {
		say(error, "%s: the certificate does not parse", certificate_file);
		goto fail;
	}
	if (!try_context(certificate, certificate_file, key_file, error))
		goto fail;
	snprintf(certificate->information.source, sizeof(certificate->information.source), "%s",
		 certificate_file);
	if (key_mode & (S_IRWXO | S_IWGRP))
		say(certificate->warning,
		    "%s: others can read or change the private key (mode %04o)", key_file,
		    (unsigned)(key_mode & 07777));
	warn_of_dates(certificate, certificate_file, (int64_t)(wall_us / 1000000));
	return certificate;
fail:
	certificate_free(certificate);
	return NULL;
}

void certificate_free(struct certificate *certificate)
{
	if (!certificate)
		return;
	/* Both may be one file, so both may hold the key. */
	if (certificate->chain_pem)
		explicit_bzero(certificate->chain_pem, certificate->chain_size);
	if (certificate->key_pem)
		explicit_bzero(certificate->key_pem, certificate->key_size);
	free(certificate->chain_pem);
	free(certificate->key_pem);
	free(certificate);
}

struct tls_context *certificate_context(const struct certificate *certificate,
					const uint8_t *ticket_keys, uint32_t listener_id,
					char *error)
{
	int result = tls_global_init();

	if (result < 0) {
		snprintf(error, 256, "TLS does not start: %s", strerror(-result));
		return NULL;
	}
	return tls_context_create_server(certificate->chain_pem, certificate->chain_size,
					 certificate->key_pem, certificate->key_size, ticket_keys,
					 listener_id, error);
}

/* --- self-signed ones --- */

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return result;
}

/* Whole or not at all: written beside, synced, renamed. */
static int store(const char *directory, const char *path, const char *pem, size_t size)
{
	char temporary[600];
	int fd, result;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	result = write_all(fd, pem, size);
	close(fd);
	if (result == 0 && rename(temporary, path) < 0)
		result = -errno;
	if (result < 0)
		unlink(temporary);
	return result < 0 ? result : sync_directory(directory);
}

static bool names_host(const struct certificate_information *information, const char *hostname)
{
	for (unsigned i = 0; i < information->name_count; i++)
		if (strcasecmp(information->names[i], hostname) == 0)
			return true;
	return false;
}

/* @return what is kept, or NULL with the reason why it cannot be used; "" when there is nothing */
static struct certificate *load_kept(const char *path, const char *hostname, uint64_t wall_us,
				     char *reason)
{
	struct certificate *certificate;

	reason[0] = '\0';
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return NULL;
	certificate = certificate_load(path, path, wall_us, reason);
	if (!certificate)
		return NULL;
	if (!names_host(&certificate->information, hostname))
		say(reason, "%s: it does not name %s", path, hostname);
	else if ((int64_t)(wall_us / 1000000) > certificate->information.not_after_s)
		say(reason, "%s: it has expired", path);
	else
		return certificate;
	certificate_free(certificate);
	return NULL;
}

static int make_and_store(const char *directory, const char *path, const char *hostname)
{
	char *pem = NULL;
	size_t size = 0;
	int result = tls_global_init();

	if (result == 0)
		result = certificate_make_self_signed(hostname, &pem, &size);
	if (result < 0 || !pem)
		return result;
	result = store(directory, path, pem, size);
	explicit_bzero(pem, size);
	free(pem);
	return result;
}

struct certificate *certificate_self_signed(const char *state_directory, const char *hostname,
					    uint64_t wall_us, char *error)
{
	char path[512], reason[CERTIFICATE_ERROR];
	struct certificate *certificate;
	int result;

	error[0] = '\0';
	if (strchr(hostname, '/') || hostname[0] == '.' ||
	    (size_t)snprintf(path, sizeof(path), "%s/self-signed-%s.pem", state_directory,
			     hostname) >= sizeof(path)) {
		say(error, "%.200s: not a host name for a certificate", hostname);
		return NULL;
	}
	certificate = load_kept(path, hostname, wall_us, reason);
	if (certificate)
		return certificate;
	result = make_and_store(state_directory, path, hostname);
	if (result < 0) {
		say(error, "%s: cannot make a self-signed certificate for '%.200s': %s", path,
		    hostname, strerror(-result));
		return NULL;
	}
	certificate = certificate_load(path, path, wall_us, error);
	if (certificate && reason[0] && !certificate->warning[0])
		say(certificate->warning, "replaced: %.480s", reason);
	return certificate;
}
