// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Transactions through the kernel: what nft(8) and iptables-nft show of them, what
 * we read back, what is refused and how it is told, and real traffic.
 */
#include "tests/netns/kern/traffic.h"

#include "driver/kern/nft.h"
#include "plugin/base/addr.h"
#include "plugin/base/mem.h"

static struct nft_sock *sock;
static int net; /* number of the namespace */

static int setup(void **state)
{
	struct err e = {0};

	if (fixture_setup(state) < 0)
		return -1;
	net = fixture_add();
	if (nft_open(fixture.fd[net], &sock, &e) < 0) {
		print_error("%s\n", e.text);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	nft_close(sock);
	sock = NULL;
	return fixture_teardown(state);
}

static struct nft_value ip(const char *text)
{
	struct nft_value v = {0};

	assert_int_equal(addr_parse(text, &v.addr), 0);
	v.type = v.addr.family == AF_INET ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6;
	return v;
}

static struct nft_value number(uint32_t n)
{
	return (struct nft_value){.type = NFT_TYPE_MARK, .number = n};
}

static struct nft_value chain(const char *name)
{
	return (struct nft_value){.type = NFT_TYPE_VERDICT, .name = name};
}

static struct nft_value ifname(const char *name)
{
	return (struct nft_value){.type = NFT_TYPE_IFNAME, .name = name};
}

static struct nft_value tuple(enum nft_type type, const char *addr, uint8_t proto,
			      uint16_t port)
{
	struct nft_value v = {.type = type, .proto = proto, .port = port};

	if (addr)
		assert_int_equal(addr_parse(addr, &v.addr), 0);
	return v;
}

static struct cidr net_of(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static struct nft_batch *batch(void)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);

	assert_non_null(b);
	return b;
}

static void commit(struct nft_batch *b)
{
	assert_ok(nft_commit(sock, b, &fixture_err));
	nft_batch_free(b);
}

static void refuse(struct nft_batch *b, int code, const char *text)
{
	struct err e = {0};
	int r = nft_commit(sock, b, &e);

	nft_batch_free(b);
	if (r != code || !strstr(e.text, text))
		fail_msg("%d instead of %d, no \"%s\" in \"%s\"", r, code, text, e.text);
}

static void list_ruleset(void)
{
	assert_int_equal(fixture_run(net, "nft list ruleset"), 0);
}

/* --- tables and chains --- */

static void adding_twice_is_success(void **state)
{
	static const struct nft_set set = {"vip4", NFT_TYPE_IPV4, NFT_TYPE_VERDICT,
					   false};
	struct nft_value key = ip("10.0.0.1");
	struct nft_value value = chain("be4-256");
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct nft_batch *b = batch();

		nft_table_add(b, false);
		nft_chain_add(b, "be4-256");
		nft_chain_add_base(b, "balance", NFT_CHAIN_TYPE_NAT, NFT_HOOK_OUTPUT,
				   -105);
		nft_set_add(b, &set);
		nft_elem_add(b, &set, &key, &value);
		commit(b);
	}
	list_ruleset();
	assert_output("type nat hook output priority -105; policy accept;");
	assert_output("type ipv4_addr : verdict");
	assert_output("10.0.0.1 : goto be4-256");
}

static void deleting_leaves_nothing(void **state)
{
	struct nft_batch *b = batch();

	(void)state;
	nft_table_del(b); /* is not there */
	commit(b);
	b = batch();
	nft_table_add(b, false);
	nft_chain_add(b, "a");
	nft_chain_add(b, "b");
	nft_rule_begin(b, "a", NULL);
	nft_act_accept(b);
	nft_rule_end(b);
	commit(b);
	b = batch();
	nft_chain_del(b, "a");
	commit(b);
	list_ruleset();
	assert_no_output("chain a");
	assert_output("chain b");
	b = batch();
	nft_table_del(b);
	commit(b);
	list_ruleset();
	assert_string_equal(fixture.output, "");
}

static void hooks_and_types(void **state)
{
	static const struct {
		enum nft_chain_type type;
		enum nft_hook hook;
		int priority;
		const char *text;
	} cases[] = {
		{NFT_CHAIN_TYPE_NAT, NFT_HOOK_PREROUTING, -100,
		 "type nat hook prerouting priority dstnat; policy accept;"},
		{NFT_CHAIN_TYPE_NAT, NFT_HOOK_POSTROUTING, 100,
		 "type nat hook postrouting priority srcnat; policy accept;"},
		{NFT_CHAIN_TYPE_FILTER, NFT_HOOK_INPUT, 0,
		 "type filter hook input priority filter; policy accept;"},
		{NFT_CHAIN_TYPE_FILTER, NFT_HOOK_FORWARD, 10,
		 "type filter hook forward priority filter + 10; policy accept;"},
		{NFT_CHAIN_TYPE_ROUTE, NFT_HOOK_OUTPUT, -150,
		 "type route hook output priority mangle; policy accept;"},
	};
	struct nft_batch *b = batch();
	char name[16];
	size_t i;

	(void)state;
	nft_table_add(b, false);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(name, sizeof(name), "c%zu", i);
		nft_chain_add_base(b, name, cases[i].type, cases[i].hook,
				   cases[i].priority);
	}
	commit(b);
	list_ruleset();
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_output(cases[i].text);
}

static void owner_table_goes_with_the_socket(void **state)
{
	struct nft_batch *b = batch();
	struct nft_sock *owner;

	(void)state;
	assert_ok(nft_open(fixture.fd[net], &owner, &fixture_err));
	nft_table_add(b, true);
	nft_chain_add(b, "dns");
	assert_ok(nft_commit(owner, b, &fixture_err));
	nft_table_add(b, true);
	assert_ok(nft_commit(owner, b, &fixture_err)); /* again */
	assert_int_equal(nft_chain_exists(sock, NFT_FAMILY_INET, NFT_TABLE, "dns", NULL),
			 1);
	list_ruleset();
	assert_output("flags owner");
	/* Others may not touch it. */
	nft_chain_add(b, "foreign");
	refuse(b, -EPERM, "add chain foreign in table inet fairlead");
	nft_close(owner);
	assert_int_equal(nft_chain_exists(sock, NFT_FAMILY_INET, NFT_TABLE, NULL, NULL),
			 0);
	/* Its owner may delete it, too. */
	b = batch();
	nft_table_add(b, true);
	commit(b);
	b = batch();
	nft_table_del(b);
	commit(b);
	list_ruleset();
	assert_string_equal(fixture.output, "");
}

/* --- sets --- */

static void types_are_readable(void **state)
{
	static const struct {
		struct nft_set set;
		const char *text;
	} cases[] = {
		{{"a", NFT_TYPE_IPV4, NFT_TYPE_NONE, true}, "type ipv4_addr\n"},
		{{"b", NFT_TYPE_IPV6, NFT_TYPE_NONE, false}, "type ipv6_addr\n"},
		{{"c", NFT_TYPE_IPV6, NFT_TYPE_VERDICT, false},
		 "type ipv6_addr : verdict"},
		{{"d", NFT_TYPE_IFNAME, NFT_TYPE_VERDICT, false},
		 "type ifname : verdict"},
		{{"e", NFT_TYPE_IPV4, NFT_TYPE_MARK, false}, "type ipv4_addr : mark"},
		{{"f", NFT_TYPE_MARK, NFT_TYPE_IPV4, false},
		 "typeof numgen inc mod 2 : ip daddr"},
		{{"g", NFT_TYPE_MARK, NFT_TYPE_IPV6, false},
		 "typeof numgen inc mod 2 : ip6 daddr"},
		{{"h", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
		 "type inet_proto . inet_service : ipv4_addr . inet_service"},
		{{"i", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
		 "type inet_proto . inet_service : ipv6_addr . inet_service"},
		{{"j", NFT_TYPE_IPV4_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
		 "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"},
		{{"k", NFT_TYPE_IPV6_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
		 "type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"},
		{{"l", NFT_TYPE_MARK, NFT_TYPE_VERDICT, false}, "type mark : verdict"},
		{{"a-name-of-sixty-three-characters-as-long-as-any-dns-label-can-be",
		  NFT_TYPE_IPV4, NFT_TYPE_NONE, false},
		 "set a-name-of-sixty-three-characters-as-long-as-any-dns-label-can-be "
		 "{"},
	};
	struct nft_batch *b = batch();
	size_t i;

	(void)state;
	nft_table_add(b, false);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		nft_set_add(b, &cases[i].set);
	commit(b);
	list_ruleset();
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_output(cases[i].text);
	/* What nft shows, nft takes. */
	assert_int_equal(fixture_run(net,
				     "nft list ruleset >%s/rules && "
				     "nft flush ruleset && nft -f %s/rules; "
				     "r=$?; rm %s/rules; exit $r",
				     fixture_dir, fixture_dir, fixture_dir),
			 0);
}

struct seen {
	const struct nft_value *key;
	const struct nft_value *value;
	bool found;
	unsigned int count;
};

static int see(void *ctx, const struct nft_value *key, const struct nft_value *value)
{
	struct seen *s = ctx;
	const struct nft_value *v = s->value;

	s->count++;
	if (key->type != s->key->type || key->number != s->key->number ||
	    !addr_equal(&key->addr, &s->key->addr) || key->proto != s->key->proto ||
	    key->port != s->key->port || key->prefix != s->key->prefix)
		return 0;
	if (key->name && strcmp(key->name, s->key->name) != 0)
		return 0;
	if (v && (value->type != v->type || value->number != v->number ||
		  !addr_equal(&value->addr, &v->addr) || value->port != v->port))
		return 0;
	if (v && v->name && strcmp(value->name, v->name) != 0)
		return 0;
	assert_true((v == NULL) == (value == NULL));
	s->found = true;
	return 0;
}

static void elements_go_round(void **state)
{
	const struct {
		struct nft_set set;
		struct nft_value key;
		struct nft_value value;
		const char *text;
	} cases[] = {
		{{"a", NFT_TYPE_IPV4, NFT_TYPE_NONE, false},
		 ip("192.0.2.1"),
		 {0},
		 "{ 192.0.2.1 }"},
		{{"b", NFT_TYPE_IPV6, NFT_TYPE_VERDICT, false},
		 ip("fd00::1"),
		 chain("there"),
		 "{ fd00::1 : goto there }"},
		{{"c", NFT_TYPE_IFNAME, NFT_TYPE_VERDICT, false},
		 ifname("flu0123456789"),
		 chain("there"),
		 "{ \"flu0123456789\" : goto there }"},
		{{"d", NFT_TYPE_IPV4, NFT_TYPE_MARK, false},
		 ip("10.0.0.9"),
		 number(0x101),
		 "{ 10.0.0.9 : 0x00000101 }"},
		{{"e", NFT_TYPE_MARK, NFT_TYPE_IPV4, false},
		 number(2),
		 ip("10.0.0.3"),
		 "{ 2 : 10.0.0.3 }"},
		{{"f", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
		 tuple(NFT_TYPE_PROTO_PORT, NULL, IPPROTO_TCP, 8080),
		 tuple(NFT_TYPE_IPV4_PORT, "10.0.0.3", 0, 80),
		 "{ tcp . 8080 : 10.0.0.3 . 80 }"},
		{{"g", NFT_TYPE_IPV6_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
		 tuple(NFT_TYPE_IPV6_PROTO_PORT, "fd00::7", IPPROTO_UDP, 53),
		 tuple(NFT_TYPE_IPV6_PORT, "fd00::8", 0, 5353),
		 "{ fd00::7 . udp . 53 : fd00::8 . 5353 }"},
		{{"h", NFT_TYPE_IPV4_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
		 tuple(NFT_TYPE_IPV4_PROTO_PORT, "10.9.9.9", IPPROTO_SCTP, 9),
		 tuple(NFT_TYPE_IPV4_PORT, "10.0.0.3", 0, 80),
		 "{ 10.9.9.9 . sctp . 9 : 10.0.0.3 . 80 }"},
	};
	struct nft_batch *b = batch();
	size_t i;

	(void)state;
	nft_table_add(b, false);
	nft_chain_add(b, "there");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		nft_set_add(b, &cases[i].set);
		nft_elem_add(b, &cases[i].set, &cases[i].key,
			     cases[i].set.value ? &cases[i].value : NULL);
	}
	commit(b);
	list_ruleset();
	b = batch();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen s = {.key = &cases[i].key,
				 .value = cases[i].set.value ? &cases[i].value : NULL};

		assert_output(cases[i].text);
		assert_ok(nft_elem_list(sock, NFT_TABLE, &cases[i].set, see, &s,
					&fixture_err));
		assert_true(s.found);
		assert_int_equal(s.count, 1);
		nft_elem_del(b, &cases[i].set, &cases[i].key);
	}
	commit(b);
	list_ruleset();
	assert_no_output("elements");
}

/* In one transaction, so that a VIP is never without its value. */
static void an_element_is_replaced(void **state)
{
	static const struct nft_set set = {"mark4", NFT_TYPE_IPV4, NFT_TYPE_MARK, false};
	struct nft_value key = ip("10.0.0.1");
	struct nft_value value = number(1);
	struct seen s = {.key = &key, .value = &value};
	struct nft_batch *b = batch();

	(void)state;
	nft_table_add(b, false);
	nft_set_add(b, &set);
	nft_elem_add(b, &set, &key, &value);
	commit(b);
	b = batch();
	nft_elem_del(b, &set, &key);
	value.number = 2;
	nft_elem_add(b, &set, &key, &value);
	commit(b);
	assert_ok(nft_elem_list(sock, NFT_TABLE, &set, see, &s, &fixture_err));
	assert_true(s.found && s.count == 1);
	b = batch();
	nft_set_flush(b, "mark4");
	nft_elem_add(b, &set, &key, &value);
	commit(b);
	list_ruleset();
	assert_output("{ 10.0.0.1 : 0x00000002 }");
}

static int stop(void *ctx, const struct nft_value *key, const struct nft_value *value)
{
	(void)ctx;
	(void)key;
	(void)value;
	return -ECANCELED;
}

static void listing_tells_what_is_wrong(void **state)
{
	static const struct nft_set set = {"s", NFT_TYPE_IPV4, NFT_TYPE_NONE, false};
	static const struct nft_set other = {"s", NFT_TYPE_IPV6, NFT_TYPE_NONE, false};
	static const struct nft_set none = {"none", NFT_TYPE_IPV4, NFT_TYPE_NONE, false};
	struct nft_value key = ip("10.0.0.1");
	struct nft_batch *b = batch();
	struct err e = {0};

	(void)state;
	assert_int_equal(nft_elem_list(sock, NFT_TABLE, &none, stop, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "none in table inet fairlead"));
	nft_table_add(b, false);
	nft_set_add(b, &set);
	nft_elem_add(b, &set, &key, NULL);
	commit(b);
	assert_int_equal(nft_elem_list(sock, NFT_TABLE, &none, stop, NULL, &e), -ENOENT);
	assert_int_equal(nft_elem_list(sock, NFT_TABLE, &set, stop, NULL, &e),
			 -ECANCELED);
	assert_int_equal(nft_elem_list(sock, NFT_TABLE, &other, stop, NULL, &e),
			 -EUCLEAN);
}

static void prefixes_go_round(void **state)
{
	/* neighbours, the whole end of the space, a single address */
	static const char *const list[] = {
		"10.0.0.0/24",	  "10.0.1.0/24",   "0.0.0.0/8",
		"192.168.0.0/16", "192.0.2.77/32", "255.255.255.0/24",
	};
	static const char *const list6[] = {"fd00::/64", "fd00:0:0:1::/64",
					    "ffff:ffff:ffff:ffff::/64"};
	static const struct nft_set set = {"nets", NFT_TYPE_IPV4, NFT_TYPE_NONE, true};
	static const struct nft_set set6 = {"nets6", NFT_TYPE_IPV6, NFT_TYPE_NONE, true};
	struct nft_batch *b = batch();
	size_t i;

	(void)state;
	nft_table_add(b, false);
	nft_set_add(b, &set);
	nft_set_add(b, &set6);
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		struct cidr c = net_of(list[i]);

		nft_elem_add_prefix(b, &set, &c);
	}
	for (i = 0; i < ARRAY_SIZE(list6); i++) {
		struct cidr c = net_of(list6[i]);

		nft_elem_add_prefix(b, &set6, &c);
	}
	commit(b);
	list_ruleset();
	assert_output("elements = { 0.0.0.0/8, 10.0.0.0/24,");
	assert_output("192.0.2.77,");
	assert_output("255.255.255.0/24 }");
	assert_output("ffff:ffff:ffff:ffff::/64 }");
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		struct cidr c = net_of(list[i]);
		struct nft_value key = {
			.type = NFT_TYPE_IPV4, .addr = c.addr, .prefix = c.prefix};
		struct seen s = {.key = &key};

		assert_ok(nft_elem_list(sock, NFT_TABLE, &set, see, &s, &fixture_err));
		assert_true(s.found);
		assert_int_equal(s.count, ARRAY_SIZE(list) - i);
		b = batch();
		nft_elem_del_prefix(b, &set, &c);
		commit(b);
	}
	b = batch();
	for (i = 0; i < ARRAY_SIZE(list6); i++) {
		struct cidr c = net_of(list6[i]);

		nft_elem_del_prefix(b, &set6, &c);
	}
	commit(b);
	list_ruleset();
	assert_no_output("elements");
}

static void everything_is_a_prefix(void **state)
{
	static const struct nft_set set = {"nets", NFT_TYPE_IPV4, NFT_TYPE_NONE, true};
	struct cidr all = net_of("0.0.0.0/0");
	struct nft_value key = {.type = NFT_TYPE_IPV4, .addr = all.addr};
	struct seen s = {.key = &key};
	struct nft_batch *b = batch();

	(void)state;
	nft_table_add(b, false);
	nft_set_add(b, &set);
	nft_elem_add_prefix(b, &set, &all);
	commit(b);
	assert_ok(nft_elem_list(sock, NFT_TABLE, &set, see, &s, &fixture_err));
	assert_true(s.found && s.count == 1);
	b = batch();
	nft_elem_del_prefix(b, &set, &all);
	commit(b);
}

/* What nft(8) writes (it closes the space before the first prefix) is read as well. */
static void prefixes_of_nft_are_read(void **state)
{
	static const struct nft_set set = {"nets", NFT_TYPE_IPV4, NFT_TYPE_NONE, true};
	static const char *const list[] = {"10.0.0.0/8", "255.0.0.0/8"};
	struct err e = {0};
	size_t i;

	(void)state;
	assert_int_equal(
		fixture_run(net, "nft \"add table inet fairlead; add set inet fairlead "
				 "nets { type ipv4_addr; flags interval; elements = { "
				 "10.0.0.0/8, 255.0.0.0/8 }; }\""),
		0);
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		struct cidr c = net_of(list[i]);
		struct nft_value key = {
			.type = NFT_TYPE_IPV4, .addr = c.addr, .prefix = c.prefix};
		struct seen s = {.key = &key};

		assert_ok(nft_elem_list(sock, NFT_TABLE, &set, see, &s, &fixture_err));
		assert_true(s.found && s.count == 2);
	}
	assert_int_equal(fixture_run(net, "nft add element inet fairlead nets "
					  "\"{ 11.0.0.1-11.0.0.4 }\""),
			 0);
	assert_int_equal(nft_elem_list(sock, NFT_TABLE, &set, stop, NULL, &e),
			 -ECANCELED);
	{
		struct nft_value key = ip("0.0.0.0");
		struct seen s = {.key = &key};

		assert_int_equal(nft_elem_list(sock, NFT_TABLE, &set, see, &s, &e),
				 -EUCLEAN);
	}
}

static int count(void *ctx, const struct nft_value *key, const struct nft_value *value)
{
	(void)key;
	(void)value;
	++*(unsigned int *)ctx;
	return 0;
}

static void big_batches_are_one_transaction(void **state)
{
	enum {
		ELEMENTS = 20000
	};
	static const struct nft_set set = {"big", NFT_TYPE_MARK, NFT_TYPE_IPV4, false};
	struct nft_value value = ip("10.0.0.1");
	struct nft_batch *b = batch();
	unsigned int n = 0;
	unsigned int i;

	(void)state;
	nft_table_add(b, false);
	nft_set_add(b, &set);
	for (i = 0; i < ELEMENTS; i++) {
		struct nft_value key = number(i);

		value.addr = addr_add(&value.addr, 1);
		nft_elem_add(b, &set, &key, &value);
	}
	commit(b);
	assert_ok(nft_elem_list(sock, NFT_TABLE, &set, count, &n, &fixture_err));
	assert_int_equal(n, ELEMENTS);
	/* One bad element in thousands: nothing happens, and it is named. */
	b = batch();
	for (i = 0; i < ELEMENTS; i++) {
		struct nft_value key = number(i + (i == 15000 ? 1000000 : 0));

		nft_elem_del(b, &set, &key);
	}
	refuse(b, -ENOENT, "delete an element of big 1015000 in table inet fairlead");
	n = 0;
	assert_ok(nft_elem_list(sock, NFT_TABLE, &set, count, &n, &fixture_err));
	assert_int_equal(n, ELEMENTS);
	/* All are bad: more refusals than the socket holds. */
	b = batch();
	nft_set_flush(b, "big");
	commit(b);
	b = batch();
	for (i = 0; i < ELEMENTS; i++) {
		nft_chain_flush(b, "none");
	}
	refuse(b, -ENOENT, "delete rules of chain none");
	b = batch();
	nft_table_add(b, false); /* the socket goes on */
	commit(b);
}

/* --- errors --- */

static void refusals_name_the_object(void **state)
{
	static const struct nft_set map = {"vip4", NFT_TYPE_IPV4, NFT_TYPE_VERDICT,
					   false};
	static const struct nft_set ports = {"ports", NFT_TYPE_PROTO_PORT,
					     NFT_TYPE_IPV4_PORT, false};
	struct nft_value key = ip("10.0.0.1");
	struct nft_value key2 = ip("10.0.0.2");
	struct nft_value a = chain("a");
	struct nft_value other = chain("b");
	struct nft_value port = tuple(NFT_TYPE_PROTO_PORT, NULL, IPPROTO_TCP, 80);
	struct nft_batch *b = batch();

	(void)state;
	nft_chain_add(b, "a");
	refuse(b, -ENOENT, "add chain a in table inet fairlead");
	b = batch();
	nft_table_add(b, false);
	nft_chain_add(b, "a");
	nft_chain_add(b, "b");
	nft_set_add(b, &map);
	nft_set_add(b, &ports);
	nft_elem_add(b, &map, &key, &a);
	commit(b);
	b = batch();
	nft_elem_add(b, &map, &key2, &a);
	nft_elem_add(b, &map, &key, &other);
	refuse(b, -EEXIST, "add an element of vip4 10.0.0.1 in table inet fairlead");
	list_ruleset();
	assert_no_output("10.0.0.2"); /* all or nothing */
	b = batch();
	nft_elem_del(b, &ports, &port);
	refuse(b, -ENOENT, "delete an element of ports 6 . 80 in table inet fairlead");
	b = batch();
	nft_chain_del(b, "a");
	refuse(b, -EBUSY, "delete chain a in table inet fairlead");
	b = batch();
	nft_rule_begin(b, "a", NULL);
	nft_act_jump(b, "nowhere");
	nft_rule_end(b);
	refuse(b, -ENOENT, "add a rule of chain a in table inet fairlead");
	b = batch();
	nft_set_del(b, "none");
	refuse(b, -ENOENT, "delete set none in table inet fairlead");
}

static void bad_appends_are_told_at_commit(void **state)
{
	static const struct nft_set set = {"s", NFT_TYPE_IPV4, NFT_TYPE_NONE, true};
	struct nft_value wrong = ip("fd00::1");
	struct cidr wrong_net = net_of("fd00::/64");
	char name[200];
	struct nft_batch *b = batch();

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	nft_table_add(b, false);
	nft_chain_add(b, name);
	nft_chain_add(b, "later");
	refuse(b, -ENAMETOOLONG, "a name of table inet fairlead");
	b = batch();
	nft_elem_add(b, &set, &wrong, NULL);
	refuse(b, -EINVAL, "the key of an element of table inet fairlead");
	b = batch();
	nft_elem_add_prefix(b, &set, &wrong_net);
	refuse(b, -EINVAL, "a prefix");
	b = batch();
	nft_act_accept(b);
	refuse(b, -EINVAL, "a rule");
	b = batch();
	nft_rule_begin(b, "c", NULL);
	refuse(b, -EINVAL, "a rule without its end");
	b = batch();
	nft_rule_begin(b, "c", NULL);
	nft_match_iifname(b, "a-name-too-long-for-one", true);
	nft_rule_end(b);
	refuse(b, -EINVAL, "name of an interface");
	commit(batch()); /* an empty one is success */
	list_ruleset();
	assert_string_equal(fixture.output, "");
}

/* --- rules --- */

static void add_sets_for_rules(struct nft_batch *b)
{
	static const struct nft_set sets[] = {
		{"nets", NFT_TYPE_IPV4, NFT_TYPE_NONE, true},
		{"nets6", NFT_TYPE_IPV6, NFT_TYPE_NONE, true},
		{"vip4", NFT_TYPE_IPV4, NFT_TYPE_VERDICT, false},
		{"vip6", NFT_TYPE_IPV6, NFT_TYPE_VERDICT, false},
		{"uplinks", NFT_TYPE_IFNAME, NFT_TYPE_VERDICT, false},
		{"mark4", NFT_TYPE_IPV4, NFT_TYPE_MARK, false},
		{"mark6", NFT_TYPE_IPV6, NFT_TYPE_MARK, false},
		{"be4-256", NFT_TYPE_MARK, NFT_TYPE_IPV4, false},
		{"be6-256", NFT_TYPE_MARK, NFT_TYPE_IPV6, false},
		{"ports", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
		{"ports6", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
		{"hostports", NFT_TYPE_IPV4_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
		{"hostports6", NFT_TYPE_IPV6_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
	};
	size_t i;

	nft_table_add(b, false);
	for (i = 0; i < ARRAY_SIZE(sets); i++)
		nft_set_add(b, &sets[i]);
	nft_chain_add(b, "be4-256");
	nft_chain_add_base(b, "pre", NFT_CHAIN_TYPE_NAT, NFT_HOOK_PREROUTING, -100);
	nft_chain_add_base(b, "post", NFT_CHAIN_TYPE_NAT, NFT_HOOK_POSTROUTING, 100);
}

#define RULE(b, chain, ...)                     \
	do {                                    \
		nft_rule_begin(b, chain, NULL); \
		__VA_ARGS__;                    \
		nft_rule_end(b);                \
	} while (0)

static void append_matches(struct nft_batch *b)
{
	static const struct {
		const char *prefix;
		enum nft_field field;
		bool equal;
	} addrs[] = {
		{"10.0.0.0/8", NFT_FIELD_SADDR, true},
		{"10.0.0.0/9", NFT_FIELD_SADDR, false},
		{"10.1.2.3/32", NFT_FIELD_DADDR, true},
		{"fd00::/64", NFT_FIELD_DADDR, true},
		{"fd00::/66", NFT_FIELD_SADDR, true},
		{"fd00::1/128", NFT_FIELD_DADDR, false},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(addrs); i++) {
		struct cidr c = net_of(addrs[i].prefix);

		RULE(b, "pre", nft_match_addr(b, addrs[i].field, &c, addrs[i].equal),
		     nft_act_drop(b));
	}
	RULE(b, "pre", nft_match_family(b, AF_INET), nft_act_accept(b));
	RULE(b, "pre", nft_match_family(b, AF_INET6), nft_act_accept(b));
	RULE(b, "pre", nft_match_l4proto(b, IPPROTO_UDP), nft_match_dport(b, 53),
	     nft_act_counter(b), nft_act_accept(b));
	RULE(b, "pre", nft_match_addr_set(b, NFT_FIELD_SADDR, AF_INET, "nets", true),
	     nft_act_drop(b));
	RULE(b, "pre", nft_match_addr_set(b, NFT_FIELD_DADDR, AF_INET6, "nets6", false),
	     nft_act_drop(b));
	RULE(b, "pre", nft_match_iifname(b, "eth0", true), nft_act_accept(b));
	RULE(b, "post", nft_match_oifname(b, "flu*", false), nft_act_masquerade(b));
	RULE(b, "pre", nft_match_mark(b, 0x101, true), nft_act_accept(b));
	RULE(b, "pre", nft_match_mark(b, 0x101, false), nft_act_jump(b, "be4-256"));
	RULE(b, "pre", nft_match_daddr_local(b), nft_act_accept(b));
	RULE(b, "post", nft_match_ct_dnat(b, true), nft_act_accept(b));
	RULE(b, "post", nft_match_ct_dnat(b, false), nft_act_drop(b));
	RULE(b, "pre", nft_match_ct_new(b), nft_act_accept(b));
	RULE(b, "pre", nft_match_ct_established(b), nft_act_accept(b));
}

static void append_actions(struct nft_batch *b)
{
	struct addr a4 = ip("10.0.0.1").addr;
	struct addr a6 = ip("fd00::1").addr;

	RULE(b, "post", nft_act_snat(b, &a4));
	RULE(b, "post", nft_act_snat(b, &a6));
	RULE(b, "pre", nft_act_dnat(b, &a4, 0));
	RULE(b, "pre", nft_match_l4proto(b, IPPROTO_TCP), nft_act_dnat(b, &a4, 8080));
	RULE(b, "pre", nft_match_l4proto(b, IPPROTO_TCP), nft_act_dnat(b, &a6, 8080));
	RULE(b, "pre", nft_act_daddr_vmap(b, AF_INET, "vip4"));
	RULE(b, "pre", nft_act_daddr_vmap(b, AF_INET6, "vip6"));
	RULE(b, "post", nft_act_oifname_vmap(b, "uplinks"));
	RULE(b, "pre", nft_act_mark_from_daddr(b, AF_INET, "mark4"));
	RULE(b, "pre", nft_act_mark_from_daddr(b, AF_INET6, "mark6"));
	RULE(b, "be4-256", nft_match_l4_ports(b),
	     nft_act_dnat_spread(b, AF_INET, NFT_SPREAD_INC, 3, "be4-256"));
	RULE(b, "be4-256",
	     nft_act_dnat_spread(b, AF_INET, NFT_SPREAD_RANDOM, 2, "be4-256"));
	RULE(b, "be4-256",
	     nft_act_dnat_spread(b, AF_INET, NFT_SPREAD_SADDR, 2, "be4-256"));
	RULE(b, "be4-256",
	     nft_act_dnat_spread(b, AF_INET6, NFT_SPREAD_SADDR, 4, "be6-256"));
	RULE(b, "pre", nft_act_dnat_from_port(b, AF_INET, false, "ports"));
	RULE(b, "pre", nft_act_dnat_from_port(b, AF_INET6, false, "ports6"));
	RULE(b, "pre", nft_act_dnat_from_port(b, AF_INET, true, "hostports"));
	RULE(b, "pre", nft_act_dnat_from_port(b, AF_INET6, true, "hostports6"));
}

static void rules_are_readable(void **state)
{
	static const char *const texts[] = {
		"ip saddr 10.0.0.0/8 drop\n",
		"ip saddr != 10.0.0.0/9 drop\n",
		"ip daddr 10.1.2.3 drop\n",
		"ip6 daddr fd00::/64 drop\n",
		"ip6 saddr fd00::/66 drop\n",
		"ip6 daddr != fd00::1 drop\n",
		"meta nfproto ipv4 accept\n",
		"meta nfproto ipv6 accept\n",
		"udp dport 53 counter packets 0 bytes 0 accept\n",
		"ip saddr @nets drop\n",
		"ip6 daddr != @nets6 drop\n",
		"iifname \"eth0\" accept\n",
		"oifname != \"flu*\" masquerade\n",
		"meta mark 0x00000101 accept\n",
		"meta mark != 0x00000101 jump be4-256\n",
		"fib daddr type local accept\n",
		"ct status dnat accept\n",
		"ct status ! dnat drop\n",
		"ct state new accept\n",
		"ct state established accept\n",
		"snat ip to 10.0.0.1\n",
		"snat ip6 to fd00::1\n",
		"\t\tdnat ip to 10.0.0.1\n",
		"meta l4proto tcp dnat ip to 10.0.0.1:8080\n",
		"meta l4proto tcp dnat ip6 to [fd00::1]:8080\n",
		"ip daddr vmap @vip4\n",
		"ip6 daddr vmap @vip6\n",
		"oifname vmap @uplinks\n",
		"meta mark set ip daddr map @mark4\n",
		"meta mark set ip6 daddr map @mark6\n",
		("meta l4proto { tcp, udp, sctp } dnat ip to numgen inc mod 3 map "
		 "@be4-256\n"),
		"\t\tdnat ip to numgen random mod 2 map @be4-256\n",
		"dnat ip to jhash ip saddr mod 2 seed 0x666c6272 map @be4-256\n",
		"dnat ip6 to jhash ip6 saddr mod 4 seed 0x666c6272 map @be6-256\n",
		"dnat ip to meta l4proto . th dport map @ports\n",
		"dnat ip6 to meta l4proto . th dport map @ports6\n",
		"dnat ip to ip daddr . meta l4proto . th dport map @hostports\n",
		"dnat ip6 to ip6 daddr . meta l4proto . th dport map @hostports6\n",
	};
	struct nft_batch *b = batch();
	size_t i;

	(void)state;
	add_sets_for_rules(b);
	append_matches(b);
	append_actions(b);
	commit(b);
	list_ruleset();
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		assert_output(texts[i]);
	assert_int_equal(nft_rule_count(sock, NFT_TABLE, "be4-256", NULL), 4);
}

/* nft makes the same expressions of the text it shows of ours. */
static void rules_are_as_nft_makes_them(void **state)
{
	struct nft_batch *b = batch();

	(void)state;
	add_sets_for_rules(b);
	append_matches(b);
	append_actions(b);
	commit(b);
	assert_int_equal(
		fixture_run(net,
			    "cd %s; show() { nft --debug=netlink list ruleset | "
			    "grep \"^  \\[\" | sed \"s/__set[0-9]*/set/\"; }; "
			    "nft list ruleset >rules; show >ours; nft flush ruleset; "
			    "nft -f rules && show >theirs && diff ours theirs; r=$?; "
			    "wc -l <ours; rm rules ours theirs; exit $r",
			    fixture_dir),
		0);
	assert_true(atoi(fixture.output) > 100);
}

static void comments_are_found(void **state)
{
	struct nft_batch *b = batch();
	struct err e = {0};
	struct nft_rules found;

	(void)state;
	assert_int_equal(nft_rule_count(sock, NFT_TABLE, "c", &e), -ENOENT);
	assert_non_null(strstr(e.text, "chain c in table inet fairlead"));
	nft_table_add(b, false);
	nft_chain_add(b, "c");
	nft_chain_add(b, "empty");
	nft_rule_begin(b, "c", "service web/1");
	nft_act_accept(b);
	nft_rule_end(b);
	commit(b);
	assert_ok(nft_rule_find(sock,
				&(struct nft_place){NFT_FAMILY_INET, NFT_TABLE, "c"},
				"service web/1", &found, &fixture_err));
	assert_int_equal(found.count, 1);
	assert_true(found.at_end);
	assert_int_equal(found.end, 0);
	b = batch();
	nft_rule_begin_before(b, "c", found.handles[0], "the first");
	nft_act_counter(b);
	nft_rule_end(b);
	commit(b);
	list_ruleset();
	assert_output("chain c {\n\t\tcounter packets 0 bytes 0 comment \"the first\"\n"
		      "\t\taccept comment \"service web/1\"\n");
	assert_int_equal(nft_rule_count(sock, NFT_TABLE, "c", NULL), 2);
	assert_int_equal(nft_rule_count(sock, NFT_TABLE, "empty", NULL), 0);
	assert_int_equal(nft_rule_exists(sock, NFT_FAMILY_INET, NFT_TABLE, "c",
					 "service web/1", NULL),
			 1);
	assert_int_equal(nft_rule_exists(sock, NFT_FAMILY_INET, NFT_TABLE, "c",
					 "service web", NULL),
			 0);
	assert_int_equal(nft_rule_exists(sock, NFT_FAMILY_INET, NFT_TABLE, "none",
					 "service web", NULL),
			 0);
	assert_ok(nft_rule_find(sock,
				&(struct nft_place){NFT_FAMILY_INET, NFT_TABLE, "c"},
				"the first", &found, &fixture_err));
	assert_int_equal(found.count, 1);
	assert_false(found.at_end);
	b = batch();
	nft_rule_del(b, "c", found.handles[0]);
	commit(b);
	b = batch();
	nft_rule_del(b, "c", found.handles[0]);
	refuse(b, -ENOENT, "rules of chain c");
	assert_ok(nft_rule_find(sock,
				&(struct nft_place){NFT_FAMILY_INET, NFT_TABLE, "none"},
				"the first", &found, &fixture_err));
	assert_int_equal(found.count, 0);
	assert_int_equal(nft_rule_count(sock, NFT_TABLE, "c", NULL), 1);
	b = batch();
	nft_chain_flush(b, "c");
	commit(b);
	assert_int_equal(nft_rule_count(sock, NFT_TABLE, "c", NULL), 0);
}

/* As in Docker's table: iptables-nft shows our rule and keeps it. */
static void rules_live_in_tables_of_iptables(void **state)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_IPV4, "filter");
	struct nft_rules found;

	(void)state;
	assert_int_equal(
		nft_chain_exists(sock, NFT_FAMILY_IPV4, "filter", "DOCKER-USER", NULL),
		0);
	if (fixture_run(net, "iptables-nft -N DOCKER-USER") != 0) {
		nft_batch_free(b);
		print_message("[  SKIP  ] no iptables-nft: %s\n", fixture.output);
		skip();
	}
	assert_int_equal(fixture_run(net, "iptables-nft -A DOCKER-USER -j RETURN"), 0);
	assert_int_equal(
		nft_chain_exists(sock, NFT_FAMILY_IPV4, "filter", "DOCKER-USER", NULL),
		1);
	assert_ok(nft_rule_find(
		sock, &(struct nft_place){NFT_FAMILY_IPV4, "filter", "DOCKER-USER"},
		"fairlead", &found, &fixture_err));
	assert_int_equal(found.count, 0);
	assert_true(found.end > 0);
	nft_rule_begin_before(b, "DOCKER-USER", found.end, "fairlead");
	nft_match_iifname(b, "flu*", true);
	nft_act_counter(b);
	nft_act_accept(b);
	nft_rule_end(b);
	nft_rule_begin_before(b, "DOCKER-USER", found.end, "fairlead");
	nft_match_oifname(b, "flu0", true);
	nft_act_counter(b);
	nft_act_accept(b);
	nft_rule_end(b);
	commit(b);
	assert_int_equal(fixture_run(net, "iptables-nft -S DOCKER-USER"), 0);
	assert_output("-A DOCKER-USER -i flu+ ");
	assert_output("-A DOCKER-USER -o flu0 ");
	assert_output("--comment fairlead -j ACCEPT\n-A DOCKER-USER -j RETURN");
	assert_int_equal(nft_rule_exists(sock, NFT_FAMILY_IPV4, "filter", "DOCKER-USER",
					 "fairlead", NULL),
			 1);
	/* Saved and restored by iptables, they are still known as ours. */
	assert_int_equal(fixture_run(net,
				     "iptables-nft-save >%s/rules; iptables-nft -F; "
				     "iptables-nft-restore <%s/rules; rm %s/rules",
				     fixture_dir, fixture_dir, fixture_dir),
			 0);
	assert_int_equal(nft_rule_exists(sock, NFT_FAMILY_IPV4, "filter", "DOCKER-USER",
					 "fairlead", NULL),
			 1);
	assert_ok(nft_rule_find(
		sock, &(struct nft_place){NFT_FAMILY_IPV4, "filter", "DOCKER-USER"},
		"fairlead", &found, &fixture_err));
	assert_int_equal(found.count, 2);
	assert_true(found.at_end);
	b = nft_batch_new(NFT_FAMILY_IPV4, "filter");
	nft_rule_del(b, "DOCKER-USER", found.handles[0]);
	nft_rule_del(b, "DOCKER-USER", found.handles[1]);
	commit(b);
	assert_int_equal(fixture_run(net, "iptables-nft -S DOCKER-USER"), 0);
	assert_no_output("fairlead");
	assert_output("-A DOCKER-USER -j RETURN");
}

/* --- traffic --- */

static void connections_are_spread(void **state)
{
	static const struct {
		uint8_t family;
		int type;
		enum nft_spread spread;
		int least; /* of the fewer */
		int most;
	} cases[] = {
		{AF_INET, SOCK_DGRAM, NFT_SPREAD_INC, 10, 10},
		{AF_INET, SOCK_STREAM, NFT_SPREAD_INC, 10, 10},
		{AF_INET6, SOCK_DGRAM, NFT_SPREAD_INC, 10, 10},
		{AF_INET6, SOCK_STREAM, NFT_SPREAD_INC, 10, 10},
		{AF_INET, SOCK_DGRAM, NFT_SPREAD_RANDOM, 1, 10}, /* none: 1 in 2^19 */
		{AF_INET, SOCK_DGRAM, NFT_SPREAD_SADDR, 0, 0},
		{AF_INET6, SOCK_STREAM, NFT_SPREAD_SADDR, 0, 0},
	};
	static const int slots[2] = {0, 1};
	struct nft_sock *client;
	size_t i;
	int n;

	(void)state;
	lan_setup();
	assert_ok(nft_open(fixture.fd[lan_ns[0]], &client, &fixture_err));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bool ipv4 = cases[i].family == AF_INET;
		int got[2] = {0};
		int server[2];
		int fd[20];
		int end;

		for (n = 0; n < 2; n++)
			server[n] = serve(lan_ns[n + 1], cases[i].type,
					  (ipv4 ? lan_addr4 : lan_addr6)[n + 1], 53);
		lan_balance(client, cases[i].family, cases[i].spread, slots);
		for (n = 0; n < 20; n++) {
			fd[n] = dial(cases[i].type, ipv4 ? VIP4 : VIP6, 53);
			if (cases[i].type == SOCK_DGRAM) {
				got[ask_udp(fd[n], server)]++;
				continue;
			}
			got[accept_tcp(fd[n], server, &end)]++;
			close(end);
		}
		for (n = 0; n < 20; n++)
			close(fd[n]);
		close(server[0]);
		close(server[1]);
		n = got[0] < got[1] ? got[0] : got[1];
		if (n < cases[i].least || n > cases[i].most)
			fail_msg("case %zu: %d and %d", i, got[0], got[1]);
		assert_int_equal(fixture_run(lan_ns[0], "conntrack -F"), 0);
	}
	nft_close(client);
}

static void ports_are_translated(void **state)
{
	static const struct nft_set ports = {"ports", NFT_TYPE_PROTO_PORT,
					     NFT_TYPE_IPV4_PORT, false};
	static const struct nft_set hosts = {"hosts", NFT_TYPE_IPV4_PROTO_PORT,
					     NFT_TYPE_IPV4_PORT, false};
	struct nft_value key = tuple(NFT_TYPE_PROTO_PORT, NULL, IPPROTO_UDP, 1053);
	struct nft_value key2 =
		tuple(NFT_TYPE_IPV4_PROTO_PORT, "10.1.0.77", IPPROTO_UDP, 2053);
	struct nft_value to = tuple(NFT_TYPE_IPV4_PORT, lan_addr4[1], 0, 53);
	struct nft_value to2 = tuple(NFT_TYPE_IPV4_PORT, lan_addr4[2], 0, 53);
	struct nft_batch *b = batch();
	struct nft_sock *client;
	int server[2];
	int fd;
	int i;

	(void)state;
	lan_setup();
	assert_ok(nft_open(fixture.fd[lan_ns[0]], &client, &fixture_err));
	nft_table_add(b, false);
	nft_set_add(b, &ports);
	nft_set_add(b, &hosts);
	nft_elem_add(b, &ports, &key, &to);
	nft_elem_add(b, &hosts, &key2, &to2);
	nft_chain_add_base(b, "out", NFT_CHAIN_TYPE_NAT, NFT_HOOK_OUTPUT, -100);
	RULE(b, "out", nft_act_dnat_from_port(b, AF_INET, true, "hosts"));
	RULE(b, "out", nft_act_dnat_from_port(b, AF_INET, false, "ports"));
	assert_ok(nft_commit(client, b, &fixture_err));
	nft_batch_free(b);
	for (i = 0; i < 2; i++)
		server[i] = serve(lan_ns[i + 1], SOCK_DGRAM, lan_addr4[i + 1], 53);
	fd = dial(SOCK_DGRAM, "10.1.0.77", 1053);
	assert_int_equal(ask_udp(fd, server), 0);
	close(fd);
	fd = dial(SOCK_DGRAM, "10.1.0.77", 2053);
	assert_int_equal(ask_udp(fd, server), 1);
	close(fd);
	fd = dial(SOCK_DGRAM, lan_addr4[2], 53); /* in no map: goes on */
	assert_int_equal(ask_udp(fd, server), 1);
	close(fd);
	close(server[0]);
	close(server[1]);
	nft_close(client);
}

static void packets_are_marked(void **state)
{
	static const struct nft_set marks = {"mark4", NFT_TYPE_IPV4, NFT_TYPE_MARK,
					     false};
	struct nft_value key = ip(lan_addr4[2]);
	struct nft_value mark = number(0x107);
	struct nft_batch *b = batch();
	struct nft_sock *client;
	int server[2];
	int fd;
	int i;

	(void)state;
	lan_setup();
	assert_ok(nft_open(fixture.fd[lan_ns[0]], &client, &fixture_err));
	nft_table_add(b, false);
	nft_set_add(b, &marks);
	nft_elem_add(b, &marks, &key, &mark);
	nft_chain_add_base(b, "out", NFT_CHAIN_TYPE_ROUTE, NFT_HOOK_OUTPUT, -150);
	RULE(b, "out", nft_act_mark_from_daddr(b, AF_INET, "mark4"));
	RULE(b, "out", nft_match_mark(b, 0x107, true), nft_act_counter(b));
	assert_ok(nft_commit(client, b, &fixture_err));
	nft_batch_free(b);
	for (i = 0; i < 2; i++) {
		server[i] = serve(lan_ns[i + 1], SOCK_DGRAM, lan_addr4[i + 1], 53);
	}
	for (i = 0; i < 2; i++) {
		fd = dial(SOCK_DGRAM, lan_addr4[i + 1], 53);
		assert_int_equal(ask_udp(fd, server), i);
		close(fd);
	}
	assert_int_equal(fixture_run(lan_ns[0], "nft list ruleset"), 0);
	assert_output("meta mark 0x00000107 counter packets 1 ");
	close(server[0]);
	close(server[1]);
	nft_close(client);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(adding_twice_is_success),	TEST(deleting_leaves_nothing),
		TEST(hooks_and_types),		TEST(owner_table_goes_with_the_socket),
		TEST(types_are_readable),	TEST(elements_go_round),
		TEST(an_element_is_replaced),	TEST(listing_tells_what_is_wrong),
		TEST(prefixes_go_round),	TEST(everything_is_a_prefix),
		TEST(prefixes_of_nft_are_read), TEST(big_batches_are_one_transaction),
		TEST(refusals_name_the_object), TEST(bad_appends_are_told_at_commit),
		TEST(rules_are_readable),	TEST(rules_are_as_nft_makes_them),
		TEST(comments_are_found),	TEST(rules_live_in_tables_of_iptables),
		TEST(connections_are_spread),	TEST(ports_are_translated),
		TEST(packets_are_marked),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
