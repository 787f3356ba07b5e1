/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads a ClientHello before the TLS library does (RFC 8446, 4.1.2 and 4.2; RFC 5246, 7.4.1.2; RFC
 * 6066, 3): junk is turned away before a session costs memory, the name that the client asks for is
 * known before a context is chosen, and what the library must not see (a group or an extension
 * twice, lengths that do not add up) never reaches it.
 *
 * Pure: bytes in, a verdict out. Nothing is copied unless the hello is spread over several records.
 * Always true: every length is checked against what is there before it is used, and every loop has
 * a limit.
 */
#include "tls/tls.h"

#include <errno.h>
#include <string.h>

#define RECORD_HEADER	 5u
#define RECORD_MAX	 16384u /* RFC 8446, 5.1 */
#define HANDSHAKE_HEADER 4u
#define HELLO_MAX	 16384u
#define EXTENSIONS_MAX	 64u
#define KEY_SHARES_MAX	 32u
#define NAME_MAX_OCTETS	 255u

enum { CHANGE_CIPHER_SPEC = 20, HANDSHAKE = 22 };
enum { CLIENT_HELLO = 1 };
enum {
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_SUPPORTED_GROUPS = 10,
	EXTENSION_SIGNATURE_ALGORITHMS = 13,
	EXTENSION_PRE_SHARED_KEY = 41,
	EXTENSION_SUPPORTED_VERSIONS = 43,
	EXTENSION_PSK_MODES = 45,
	EXTENSION_KEY_SHARE = 51,
};

/** What is left to read. */
struct span {
	const uint8_t *data;
	size_t size;
};

static bool take_bytes(struct span *from, size_t size, struct span *out)
{
	if (from->size < size)
		return false;
	*out = (struct span){from->data, size};
	from->data += size;
	from->size -= size;
	return true;
}

static bool take_u8(struct span *from, unsigned *value)
{
	struct span s;

	if (!take_bytes(from, 1, &s))
		return false;
	*value = s.data[0];
	return true;
}

static bool take_u16(struct span *from, unsigned *value)
{
	struct span s;

	if (!take_bytes(from, 2, &s))
		return false;
	*value = (unsigned)s.data[0] << 8 | s.data[1];
	return true;
}

/* vector<minimum..2^8-1> of elements of `unit` octets */
static bool take_vector8(struct span *from, size_t minimum, size_t unit, struct span *out)
{
	unsigned size;

	return take_u8(from, &size) && size >= minimum && size % unit == 0 &&
	       take_bytes(from, size, out);
}

static bool take_vector16(struct span *from, size_t minimum, size_t unit, struct span *out)
{
	unsigned size;

	return take_u16(from, &size) && size >= minimum && size % unit == 0 &&
	       take_bytes(from, size, out);
}

/* RFC 6066, 3: at most one name of a type; we know host_name only. Graphic ASCII, so that it can be
 * logged. */
static bool read_server_name(struct span body, char *server_name)
{
	struct span list;
	bool seen = false;

	if (!take_vector16(&body, 1, 1, &list) || body.size != 0)
		return false;
	while (list.size > 0) {
		struct span name;
		unsigned type;

		if (!take_u8(&list, &type) || !take_vector16(&list, 1, 1, &name))
			return false;
		if (type != 0)
			continue;
		if (seen || name.size > NAME_MAX_OCTETS)
			return false;
		for (size_t i = 0; i < name.size; i++)
			if (name.data[i] <= ' ' || name.data[i] >= 0x7f)
				return false;
		memcpy(server_name, name.data, name.size);
		server_name[name.size] = '\0';
		seen = true;
	}
	return true;
}

/* RFC 8446, 4.2.8: no group twice. The list may be empty, which asks for a HelloRetryRequest. */
static bool check_key_shares(struct span body)
{
	uint16_t groups[KEY_SHARES_MAX];
	unsigned count = 0;
	struct span list;

	if (!take_vector16(&body, 0, 1, &list) || body.size != 0)
		return false;
	while (list.size > 0) {
		struct span key;
		unsigned group;

		if (count == KEY_SHARES_MAX || !take_u16(&list, &group) ||
		    !take_vector16(&list, 1, 1, &key))
			return false;
		for (unsigned i = 0; i < count; i++)
			if (groups[i] == group)
				return false;
		groups[count++] = (uint16_t)group;
	}
	return true;
}

/* RFC 8446, 4.2.11: identities and as many binders. */
static bool check_pre_shared_keys(struct span body)
{
	struct span identities, binders, item;
	unsigned balance = 0;

	if (!take_vector16(&body, 7, 1, &identities) || !take_vector16(&body, 33, 1, &binders) ||
	    body.size != 0)
		return false;
	for (; identities.size > 0; balance++) {
		if (!take_vector16(&identities, 1, 1, &item) || !take_bytes(&identities, 4, &item))
			return false;
	}
	for (; binders.size > 0; balance--) {
		if (balance == 0 || !take_vector8(&binders, 32, 1, &item))
			return false;
	}
	return balance == 0;
}

static bool check_extension(unsigned type, struct span body, bool last, char *server_name)
{
	struct span list;

	switch (type) {
	case EXTENSION_SERVER_NAME:
		return read_server_name(body, server_name);
	case EXTENSION_SUPPORTED_GROUPS:
	case EXTENSION_SIGNATURE_ALGORITHMS:
		return take_vector16(&body, 2, 2, &list) && body.size == 0;
	case EXTENSION_SUPPORTED_VERSIONS:
		return take_vector8(&body, 2, 2, &list) && body.size == 0;
	case EXTENSION_PSK_MODES:
		return take_vector8(&body, 1, 1, &list) && body.size == 0;
	case EXTENSION_KEY_SHARE:
		return check_key_shares(body);
	case EXTENSION_PRE_SHARED_KEY:
		return last && check_pre_shared_keys(body);
	default:
		return true;
	}
}

/* RFC 8446, 4.2: no extension twice. */
static bool check_extensions(struct span list, char *server_name)
{
	uint16_t types[EXTENSIONS_MAX];
	unsigned count = 0;

	while (list.size > 0) {
		struct span body;
		unsigned type;

		if (count == EXTENSIONS_MAX || !take_u16(&list, &type) ||
		    !take_vector16(&list, 0, 1, &body))
			return false;
		for (unsigned i = 0; i < count; i++)
			if (types[i] == type)
				return false;
		types[count++] = (uint16_t)type;
		if (!check_extension(type, body, list.size == 0, server_name))
			return false;
	}
	return true;
}

static bool check_hello(struct span hello, char *server_name)
{
	struct span random, session_id, suites, compression, extensions;
	unsigned version;

	if (!take_u16(&hello, &version) || version >> 8 != 3 || !take_bytes(&hello, 32, &random) ||
	    !take_vector8(&hello, 0, 1, &session_id) || session_id.size > 32 ||
	    !take_vector16(&hello, 2, 2, &suites) || !take_vector8(&hello, 1, 1, &compression) ||
	    !memchr(compression.data, 0, compression.size))
		return false;
	if (hello.size == 0)
		return true; /* RFC 5246, 7.4.1.4: before extensions were invented */
	return take_vector16(&hello, 0, 1, &extensions) && hello.size == 0 &&
	       check_extensions(extensions, server_name);
}

/* One record's header. @return 1 with its payload size; 0: the header is not whole; -EPROTO */
static int record_header(const uint8_t *data, size_t size, unsigned type, size_t *payload)
{
	if (size >= 1 && data[0] != type)
		return -EPROTO;
	if (size >= 2 && data[1] != 3)
		return -EPROTO;
	if (size < RECORD_HEADER)
		return 0;
	*payload = (size_t)data[3] << 8 | data[4];
	/* RFC 8446, 5.1: no empty fragments of handshake messages. */
	return *payload == 0 || *payload > RECORD_MAX ? -EPROTO : 1;
}

/* Octets of the handshake message, header included; 0: not known yet. */
static int message_size(const uint8_t *data, size_t size, size_t *total)
{
	*total = 0;
	if (size >= 1 && data[0] != CLIENT_HELLO)
		return -EPROTO;
	if (size < HANDSHAKE_HEADER)
		return 0;
	*total = HANDSHAKE_HEADER + ((size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3]);
	return *total > HELLO_MAX ? -EPROTO : 0;
}

/* RFC 8446, D.4: `14 03 03 00 01 01` may come before the second hello. @return its size, 0: not
 * whole, -EPROTO */
static int skip_change_cipher_spec(const uint8_t *data, size_t size)
{
	size_t payload;
	int result = record_header(data, size, CHANGE_CIPHER_SPEC, &payload);

	if (result <= 0)
		return result;
	if (payload != 1)
		return -EPROTO;
	if (size < RECORD_HEADER + 1)
		return 0;
	return data[RECORD_HEADER] == 1 ? (int)RECORD_HEADER + 1 : -EPROTO;
}

int tls_client_hello_peek(const uint8_t *data, size_t size, char *server_name)
{
	uint8_t joined[HELLO_MAX];
	const uint8_t *message = NULL;
	size_t have = 0, total = 0, at = 0;

	server_name[0] = '\0';
	if (size > 0 && data[0] == CHANGE_CIPHER_SPEC) {
		int skipped = skip_change_cipher_spec(data, size);
		if (skipped <= 0)
			return skipped;
		at = (size_t)skipped;
	}
	for (;;) {
		size_t payload, there;
		int result = record_header(data + at, size - at, HANDSHAKE, &payload);

		if (result <= 0)
			return result;
		at += RECORD_HEADER;
		there = size - at < payload ? size - at : payload;
		if (have + payload > HELLO_MAX)
			return -EPROTO;
		if (have == 0) {
			message = data + at;
		} else {
			if (message != joined)
				memcpy(joined, message, have);
			memcpy(joined + have, data + at, there);
			message = joined;
		}
		have += there;
		if (message_size(message, have, &total) < 0)
			return -EPROTO;
		if (there < payload)
			return 0;
		at += payload;
		/* Nothing may follow the hello in its record: the peer cannot know our answer yet.
		 */
		if (total != 0 && have > total)
			return -EPROTO;
		if (total != 0 && have == total)
			break;
	}
	if (!check_hello((struct span){message + HANDSHAKE_HEADER, total - HANDSHAKE_HEADER},
			 server_name)) {
		server_name[0] = '\0';
		return -EPROTO;
	}
	return (int)at;
}
