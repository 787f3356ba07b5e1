/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pcap files; see pcap.h. */
#include "tests/sim/link/pcap.h"

#include <stdio.h>

#define MAGIC_US 0xa1b2c3d4u
#define ETHERNET 1u

/* The struct is the file: there is nothing else to keep. */
struct sim_pcap *sim_pcap_open(const char *path)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snap, link;
	} header = {MAGIC_US, 2, 4, 0, 0, 65535, ETHERNET};
	FILE *file = fopen(path, "wb");

	if (file != NULL && fwrite(&header, sizeof(header), 1, file) != 1) {
		fclose(file);
		file = NULL;
	}
	return (struct sim_pcap *)file;
}

void sim_pcap_write(struct sim_pcap *pcap, const void *frame, size_t size, uint64_t now_us)
{
	const uint32_t header[4] = {(uint32_t)(now_us / 1000000), (uint32_t)(now_us % 1000000),
				    (uint32_t)size, (uint32_t)size};

	fwrite(header, sizeof(header), 1, (FILE *)pcap);
	fwrite(frame, size, 1, (FILE *)pcap);
}

void sim_pcap_flush(struct sim_pcap *pcap)
{
	fflush((FILE *)pcap);
}

void sim_pcap_close(struct sim_pcap *pcap)
{
	fclose((FILE *)pcap);
}
