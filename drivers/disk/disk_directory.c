/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/disk/disk_directory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZEROS_SIZE (1u << 20)
#define NEW_SUFFIX ".new"

static struct disk_directory *directory_of(struct disk *disk)
{
	return (struct disk_directory *)disk;
}

static int open_flags(const struct disk_directory *directory)
{
	return O_RDWR | O_CLOEXEC | O_NOFOLLOW | (directory->direct ? O_DIRECT : 0);
}

int disk_directory_thread(struct disk_directory *directory, pthread_t *thread, void *(*run)(void *),
			  void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int error;

	if (pthread_attr_init(&attributes) != 0)
		return -ENOMEM;
	if (directory->pinned)
		pthread_attr_setaffinity_np(&attributes, sizeof(directory->cpus), &directory->cpus);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, &attributes, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -error;
}

/* ---- Making files ---- */

static bool is_stopping(struct disk_directory *directory)
{
	bool stop;

	pthread_mutex_lock(&directory->maker.mutex);
	stop = directory->maker.stop;
	pthread_mutex_unlock(&directory->maker.mutex);
	return stop;
}

/* Unwritten extents would cost a journal commit at the first write of each block: write real zeros.
 */
static int write_zeros(struct disk_directory *directory, int fd, uint64_t size)
{
	void *zeros;
	int result = 0;

	if (posix_memalign(&zeros, DISK_ALIGN, ZEROS_SIZE) != 0)
		return -ENOMEM;
	memset(zeros, 0, ZEROS_SIZE);
	for (uint64_t at = 0; at < size && result == 0;) {
		size_t part = size - at < ZEROS_SIZE ? (size_t)(size - at) : ZEROS_SIZE;
		ssize_t n = pwrite(fd, zeros, part, (off_t)at);

		if (n > 0)
			at += (uint64_t)n;
		else if (n == 0)
			result = -EIO;
		else if (errno != EINTR)
			result = -errno;
		if (is_stopping(directory))
			result = -ECANCELED;
	}
	free(zeros);
	return result;
}

static int make_file(struct disk_directory *directory, const char *name, uint64_t size,
		     struct disk_file **file)
{
	struct disk_file *made = malloc(sizeof(*made));
	char temporary[80];
	int result;

	if (made == NULL)
		return -ENOMEM;
	snprintf(temporary, sizeof(temporary), "%s" NEW_SUFFIX, name);
	unlinkat(directory->fd, temporary, 0);
	made->fd = openat(directory->fd, temporary, open_flags(directory) | O_CREAT | O_EXCL, 0600);
	if (made->fd < 0) {
		result = -errno;
		free(made);
		return result;
	}
	result = write_zeros(directory, made->fd, size);
	if (result == 0 && fsync(made->fd) != 0)
		result = -errno;
	if (result == 0 && renameat(directory->fd, temporary, directory->fd, name) != 0)
		result = -errno;
	if (result == 0 && fsync(directory->fd) != 0)
		result = -errno;
	if (result != 0) {
		unlinkat(directory->fd, temporary, 0);
		close(made->fd);
		free(made);
		return result;
	}
	*file = made;
	return 0;
}

static void *make_files(void *argument)
{
	struct disk_directory *directory = argument;
	struct disk_maker *maker = &directory->maker;

	pthread_mutex_lock(&maker->mutex);
	for (;;) {
		while (!maker->stop && (!maker->busy || maker->done))
			pthread_cond_wait(&maker->wake, &maker->mutex);
		if (maker->stop)
			break;
		pthread_mutex_unlock(&maker->mutex);
		int result = make_file(directory, maker->name, maker->size, maker->file);
		pthread_mutex_lock(&maker->mutex);
		maker->result = result;
		maker->done = true;
		pthread_cond_broadcast(&maker->made);
	}
	pthread_mutex_unlock(&maker->mutex);
	return NULL;
}

int disk_directory_create_start(struct disk *disk, const char *name, uint64_t size,
				struct disk_file **file, void *user)
{
	struct disk_maker *maker = &directory_of(disk)->maker;
	int result = -EAGAIN;

	assert(strlen(name) < sizeof(maker->name));
	pthread_mutex_lock(&maker->mutex);
	if (!maker->busy) {
		snprintf(maker->name, sizeof(maker->name), "%s", name);
		maker->size = size;
		maker->file = file;
		maker->user = user;
		maker->busy = true;
		maker->done = false;
		pthread_cond_signal(&maker->wake);
		result = 0;
	}
	pthread_mutex_unlock(&maker->mutex);
	return result;
}

int disk_directory_create(struct disk *disk, const char *name, uint64_t size,
			  struct disk_file **file)
{
	return make_file(directory_of(disk), name, size, file);
}

unsigned disk_directory_reap(struct disk_directory *directory, struct disk_completion *out)
{
	struct disk_maker *maker = &directory->maker;
	unsigned count = 0;

	/* Only this thread sets busy, so the common case needs no lock. */
	if (!maker->busy)
		return 0;
	pthread_mutex_lock(&maker->mutex);
	if (maker->done) {
		*out = (struct disk_completion){.user = maker->user, .result = maker->result};
		maker->busy = false;
		count = 1;
	}
	pthread_mutex_unlock(&maker->mutex);
	return count;
}

bool disk_directory_is_making(struct disk_directory *directory)
{
	return directory->maker.busy;
}

/* ---- Files ---- */

int disk_directory_list(struct disk *disk, char ***names)
{
	struct disk_directory *directory = directory_of(disk);
	int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	char **list = NULL;
	int count = 0;

	if (stream == NULL) {
		int error = -errno;

		if (fd >= 0)
			close(fd);
		return error;
	}
	while ((entry = readdir(stream)) != NULL) {
		size_t length = strlen(entry->d_name);
		char **longer;

		if (entry->d_name[0] == '.')
			continue;
		/* Left over from a stop while a file was made. */
		if (length > 4 && strcmp(entry->d_name + length - 4, NEW_SUFFIX) == 0) {
			unlinkat(directory->fd, entry->d_name, 0);
			continue;
		}
		longer = realloc(list, ((size_t)count + 1) * sizeof(*list));
		if (longer != NULL)
			list = longer;
		if (longer == NULL || (list[count] = strdup(entry->d_name)) == NULL) {
			while (count > 0)
				free(list[--count]);
			free(list);
			closedir(stream);
			return -ENOMEM;
		}
		count++;
	}
	closedir(stream);
	*names = list;
	return count;
}

int disk_directory_open_file(struct disk *disk, const char *name, struct disk_file **file,
			     uint64_t *size)
{
	struct disk_directory *directory = directory_of(disk);
	struct disk_file *opened = malloc(sizeof(*opened));
	struct stat status;
	int error;

	if (opened == NULL)
		return -ENOMEM;
	opened->fd = openat(directory->fd, name, open_flags(directory));
	if (opened->fd < 0 || fstat(opened->fd, &status) != 0) {
		error = -errno;
		if (opened->fd >= 0)
			close(opened->fd);
		free(opened);
		return error;
	}
	*size = (uint64_t)status.st_size;
	*file = opened;
	return 0;
}

int disk_directory_flush(struct disk *disk, struct disk_file *file)
{
	return fsync(file->fd) == 0 ? 0 : -errno;
}

void disk_directory_close_file(struct disk *disk, struct disk_file *file)
{
	close(file->fd);
	free(file);
}

/* ---- The directory ---- */

/* Ask the file system for O_DIRECT with a file that has no name. */
static bool can_direct(int directory_fd)
{
	int fd = openat(directory_fd, ".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		fd = openat(directory_fd, ".direct" NEW_SUFFIX,
			    O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
		unlinkat(directory_fd, ".direct" NEW_SUFFIX, 0);
	}
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int flush_parent(int directory_fd)
{
	int fd = openat(directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -errno;
	result = fsync(fd) == 0 ? 0 : -errno;
	close(fd);
	return result;
}

static int lock_directory(struct disk_directory *directory, const struct disk_settings *settings,
			  char *error)
{
	bool made = mkdir(settings->directory, 0700) == 0;
	int result;

	if (!made && errno != EEXIST) {
		result = -errno;
		snprintf(error, 256, "cannot make %s: %s", settings->directory, strerror(-result));
		return result;
	}
	directory->fd = open(settings->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory->fd < 0) {
		result = -errno;
		snprintf(error, 256, "cannot open %s: %s", settings->directory, strerror(-result));
		return result;
	}
	if (flock(directory->fd, LOCK_EX | LOCK_NB) != 0) {
		result = -errno;
		snprintf(error, 256, "%s is in use by another process", settings->directory);
		close(directory->fd);
		return result;
	}
	/* The directory's own name must outlive the power too. */
	result = made ? flush_parent(directory->fd) : 0;
	if (result != 0) {
		snprintf(error, 256, "cannot flush the directory above %s: %s", settings->directory,
			 strerror(-result));
		close(directory->fd);
		return result;
	}
	directory->direct = can_direct(directory->fd);
	if (!directory->direct && !settings->allow_buffered) {
		snprintf(error, 256, "the file system of %s has no O_DIRECT", settings->directory);
		close(directory->fd);
		return -EINVAL;
	}
	return 0;
}

int disk_directory_open(struct disk_directory *directory, const struct disk_settings *settings,
			char *error)
{
	int result = lock_directory(directory, settings, error);

	if (result != 0)
		return result;
	CPU_ZERO(&directory->cpus);
	for (unsigned i = 0; i < settings->helper_cpu_count; i++)
		CPU_SET(settings->helper_cpus[i], &directory->cpus);
	directory->pinned = settings->helper_cpu_count > 0;
	memset(&directory->maker, 0, sizeof(directory->maker));
	pthread_mutex_init(&directory->maker.mutex, NULL);
	pthread_cond_init(&directory->maker.wake, NULL);
	pthread_cond_init(&directory->maker.made, NULL);
	result = disk_directory_thread(directory, &directory->maker.thread, make_files, directory);
	if (result != 0) {
		snprintf(error, 256, "cannot start a thread: %s", strerror(-result));
		close(directory->fd);
	}
	return result;
}

void disk_directory_close(struct disk_directory *directory)
{
	struct disk_maker *maker = &directory->maker;

	pthread_mutex_lock(&maker->mutex);
	maker->stop = true;
	pthread_cond_signal(&maker->wake);
	pthread_mutex_unlock(&maker->mutex);
	pthread_join(maker->thread, NULL);
	if (maker->busy && maker->done && maker->result == 0)
		disk_directory_close_file(&directory->disk, *maker->file);
	pthread_cond_destroy(&maker->wake);
	pthread_cond_destroy(&maker->made);
	pthread_mutex_destroy(&maker->mutex);
	close(directory->fd);
}

struct disk *disk_open(const struct disk_settings *settings, char *error)
{
	struct disk *disk;
	int why = 0;

	if (!settings->no_io_uring) {
		disk = disk_uring_open(settings, &why, error);
		/* Forbidden by sysctl or a filter, or not built in: the thread does the same,
		 * slower. */
		if (disk != NULL || why == 0)
			return disk;
	}
	return disk_thread_open(settings, error);
}
