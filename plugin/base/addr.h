/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_ADDR_H
#define PLUGIN_BASE_ADDR_H
/*
 * IPv4 and IPv6 addresses and prefixes as values. Arithmetic is on bytes in
 * network order, so both families share one code path. Thread: any.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDR_TEXT_SIZE INET6_ADDRSTRLEN
#define CIDR_TEXT_SIZE (INET6_ADDRSTRLEN + 4)
#define MAC_SIZE       6
#define MAC_TEXT_SIZE  18

/* family 0 means "none"; unused bytes are 0, so memcmp compares. */
struct addr {
	uint8_t family;	   /* AF_INET, AF_INET6 or 0 */
	uint8_t bytes[16]; /* network order; IPv4 uses the first 4 */
};

struct cidr {
	struct addr addr; /* may have host bits, see cidr_network() */
	uint8_t prefix;
};

/* 4 or 16. */
size_t addr_size(const struct addr *a);
/* 32 or 128. */
unsigned int addr_bits(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b);
static inline bool addr_is_set(const struct addr *a)
{
	return a->family != 0;
}

/* "10.1.2.3" or "fd00::1"; -EINVAL. */
int addr_parse(const char *text, struct addr *ret);
/* buf: at least ADDR_TEXT_SIZE; returns buf ("" for none). */
const char *addr_format(const struct addr *a, char *buf);

/* "10.1.2.0/24" or "fd00::/64"; the prefix must be there. -EINVAL. */
int cidr_parse(const char *text, struct cidr *ret);
/* buf: at least CIDR_TEXT_SIZE; returns buf. */
const char *cidr_format(const struct cidr *c, char *buf);

/* The prefix with all host bits 0. */
struct cidr cidr_network(const struct cidr *c);
/* The prefix's last address (an IPv4 subnet's broadcast address). */
struct addr cidr_last(const struct cidr *c);
bool cidr_contains(const struct cidr *c, const struct addr *a);
/* inner lies wholly in outer (or is it). */
bool cidr_covers(const struct cidr *outer, const struct cidr *inner);
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);
bool cidr_equal(const struct cidr *a, const struct cidr *b);

/*
 * The address at base + offset, and back. Only the low 64 bits of an IPv6 address
 * take part: subnets wider than /64 are addressed in their first 2^64 addresses.
 * addr_offset is meaningless for an address below base.
 */
struct addr addr_add(const struct addr *base, uint64_t offset);
uint64_t addr_offset(const struct addr *base, const struct addr *a);
/* Number of addresses in c, UINT64_MAX when 2^64 or more. */
uint64_t cidr_count(const struct cidr *c);

/* "02:42:0a:80:00:02"; -EINVAL. */
int mac_parse(const char *text, uint8_t ret[MAC_SIZE]);
const char *mac_format(const uint8_t mac[MAC_SIZE], char *buf);
/* The usual locally administered MAC of an IPv4 address: 02:42 and its bytes;
 * for IPv6 its last four bytes. */
void mac_from_addr(const struct addr *a, uint8_t ret[MAC_SIZE]);

#endif
