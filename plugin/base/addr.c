// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses and prefixes; no I/O, no locale, no name look-up. */
#include "plugin/base/addr.h"

#include "plugin/base/str.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t addr_size(const struct addr *a)
{
	return a->family == AF_INET ? 4 : 16;
}

unsigned int addr_bits(const struct addr *a)
{
	return a->family == AF_INET ? 32 : 128;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int addr_parse(const char *text, struct addr *ret)
{
	struct addr a = {0};

	a.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(a.family, text, a.bytes) != 1)
		return -EINVAL;
	*ret = a;
	return 0;
}

const char *addr_format(const struct addr *a, char *buf)
{
	if (!addr_is_set(a) || !inet_ntop(a->family, a->bytes, buf, ADDR_TEXT_SIZE))
		buf[0] = '\0';
	return buf;
}

int cidr_parse(const char *text, struct cidr *ret)
{
	const char *slash = strchr(text, '/');
	char host[ADDR_TEXT_SIZE];
	struct cidr c;
	uint32_t prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (addr_parse(host, &c.addr) < 0)
		return -EINVAL;
	if (str_to_u32(slash + 1, 0, addr_bits(&c.addr), &prefix) < 0)
		return -EINVAL;
	c.prefix = (uint8_t)prefix;
	*ret = c;
	return 0;
}

const char *cidr_format(const struct cidr *c, char *buf)
{
	char host[ADDR_TEXT_SIZE];

	if (!addr_is_set(&c->addr))
		buf[0] = '\0';
	else
		(void)snprintf(buf, CIDR_TEXT_SIZE, "%s/%u", addr_format(&c->addr, host),
			       c->prefix);
	return buf;
}

/* Sets the host bits of a to 0 or 1. */
static struct addr fill_host_bits(const struct addr *a, unsigned int prefix, bool ones)
{
	struct addr r = *a;

	for (unsigned int i = 0; i < addr_size(a); i++) {
		unsigned int kept = prefix > i * 8 ? prefix - i * 8 : 0;
		uint8_t mask = kept >= 8 ? 0 : (uint8_t)(0xff >> kept);

		r.bytes[i] = ones ? r.bytes[i] | mask : r.bytes[i] & (uint8_t)~mask;
	}
	return r;
}

struct cidr cidr_network(const struct cidr *c)
{
	struct cidr r = {.prefix = c->prefix};

	r.addr = fill_host_bits(&c->addr, c->prefix, false);
	return r;
}

struct addr cidr_last(const struct cidr *c)
{
	return fill_host_bits(&c->addr, c->prefix, true);
}

bool cidr_contains(const struct cidr *c, const struct addr *a)
{
	struct addr want;
	struct addr have;

	if (c->addr.family != a->family)
		return false;
	want = fill_host_bits(&c->addr, c->prefix, false);
	have = fill_host_bits(a, c->prefix, false);
	return addr_equal(&want, &have);
}

bool cidr_covers(const struct cidr *outer, const struct cidr *inner)
{
	return outer->prefix <= inner->prefix && cidr_contains(outer, &inner->addr);
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
	return cidr_contains(a, &b->addr) || cidr_contains(b, &a->addr);
}

bool cidr_equal(const struct cidr *a, const struct cidr *b)
{
	return a->prefix == b->prefix && addr_equal(&a->addr, &b->addr);
}

static uint64_t low_bits(const struct addr *a)
{
	uint32_t v4;
	uint64_t v6;

	if (a->family == AF_INET) {
		memcpy(&v4, a->bytes, sizeof(v4));
		return be32toh(v4);
	}
	memcpy(&v6, a->bytes + 8, sizeof(v6));
	return be64toh(v6);
}

struct addr addr_add(const struct addr *base, uint64_t offset)
{
	uint64_t sum = low_bits(base) + offset;
	struct addr r = *base;

	if (base->family == AF_INET) {
		uint32_t v4 = htobe32((uint32_t)sum);

		memcpy(r.bytes, &v4, sizeof(v4));
	} else {
		sum = htobe64(sum);
		memcpy(r.bytes + 8, &sum, sizeof(sum));
	}
	return r;
}

uint64_t addr_offset(const struct addr *base, const struct addr *a)
{
	return low_bits(a) - low_bits(base);
}

uint64_t cidr_count(const struct cidr *c)
{
	unsigned int host = addr_bits(&c->addr) - c->prefix;

	return host >= 64 ? UINT64_MAX : UINT64_C(1) << host;
}

int mac_parse(const char *text, uint8_t ret[MAC_SIZE])
{
	/* strtoul alone would take signs, blanks and single digits. */
	for (size_t i = 0; i < MAC_TEXT_SIZE - 1; i++)
		if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return -EINVAL;
	if (text[MAC_TEXT_SIZE - 1])
		return -EINVAL;
	for (size_t i = 0; i < MAC_SIZE; i++)
		ret[i] = (uint8_t)strtoul(text + i * 3, NULL, 16);
	return 0;
}

const char *mac_format(const uint8_t mac[MAC_SIZE], char *buf)
{
	(void)snprintf(buf, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
		       mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}

void mac_from_addr(const struct addr *a, uint8_t ret[MAC_SIZE])
{
	ret[0] = 0x02;
	ret[1] = 0x42;
	memcpy(ret + 2, a->bytes + addr_size(a) - 4, 4);
}
