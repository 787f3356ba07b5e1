/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One process for a directory. */
#include "control/directory_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ERROR_TEXT 256

/* Who holds it wrote its number there. */
static long holder(int fd)
{
	char text[24];
	ssize_t size = pread(fd, text, sizeof(text) - 1, 0);

	text[size > 0 ? size : 0] = '\0';
	return strtol(text, NULL, 10);
}

static int write_holder(int fd)
{
	char text[24];
	int size = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)size, 0) == size ? 0 : -EIO;
}

int directory_lock(const char *directory, const char *what, char *error)
{
	char name[512];
	int fd, code;

	if (mkdir(directory, 0750) != 0 && errno != EEXIST) {
		code = -errno;
		snprintf(error, ERROR_TEXT, "%s directory %.150s: %s", what, directory,
			 strerror(-code));
		return code;
	}
	snprintf(name, sizeof(name), "%s/%s.lock", directory, what);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0) {
		code = -errno;
		snprintf(error, ERROR_TEXT, "%.180s: %s", name, strerror(-code));
		return code;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && write_holder(fd) == 0)
		return fd;
	code = errno == EWOULDBLOCK ? -EBUSY : -EIO;
	if (code == -EBUSY)
		snprintf(error, ERROR_TEXT,
			 "%s directory %.120s is in use by another daemon (process %ld)", what,
			 directory, holder(fd));
	else
		snprintf(error, ERROR_TEXT, "%.180s: %s", name, strerror(-code));
	close(fd);
	return code;
}
