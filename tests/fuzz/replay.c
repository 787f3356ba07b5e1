/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A main for fuzz targets where the compiler has no libFuzzer: runs every file of the corpus
 * directories named as arguments, and up to PREFIXES of its prefixes, so that the corpus is a unit
 * test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFIXES 256
/* Those of larger files cost too much. */
#define PREFIXES_UP_TO 2048
#define FILE_MAX_BYTES (1 << 20)

/* In a block of just its size, so that AddressSanitizer sees a read behind it. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static int run_file(const char *path)
{
	static uint8_t data[FILE_MAX_BYTES];
	FILE *f = fopen(path, "rb");
	size_t size;

	if (!f) {
		perror(path);
		return -1;
	}
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	run(data, size);
	for (size_t n = 0; n < size && size <= PREFIXES_UP_TO; n += 1 + size / PREFIXES)
		run(data, n);
	return 0;
}

static int run_directory(const char *path, unsigned *count)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int result = 0;

	if (!directory) {
		perror(path);
		return -1;
	}
	while (result == 0 && (entry = readdir(directory))) {
		char file[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		result = run_file(file);
		(*count)++;
	}
	closedir(directory);
	return result;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++)
		if (run_directory(argv[i], &count) < 0)
			return 1;
	printf("%u inputs replayed\n", count);
	return count > 0 ? 0 : 1;
}
