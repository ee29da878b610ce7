// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's IPVS interface (generic netlink, linux/ip_vs.h). Each request is one
 * message and waits for its answer. libnl merges errnos in its own codes, hence the
 * callback that keeps the kernel's number.
 */
#include "lb/ipvs.h"

#include "driver/kern/ns.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <linux/ip_vs.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FORWARD_MASQ	  0 /* IP_VS_CONN_F_MASQ */
#define FORWARD_MASK	  7 /* IP_VS_CONN_F_FWD_MASK */
#define IPVS_ADDRESS_SIZE 16

struct ipvs_sock {
	struct nl_sock *sk;
	struct nl_cb *cb;
	int family;

	/* Of the request under way. */
	bool done;
	int error; /* the kernel's or fn's */
	int (*fn)(void *ctx, struct nlattr **attrs);
	void *ctx;
};

DEFINE_CLEANUP(struct nl_msg *, nlmsg_free);

/* --- talking --- */

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *reply, void *arg)
{
	struct ipvs_sock *s = arg;

	(void)from;
	s->error = reply->error < 0 ? reply->error : -EPROTO;
	s->done = true;
	return NL_STOP;
}

static int on_done(struct nl_msg *msg, void *arg)
{
	struct ipvs_sock *s = arg;

	(void)msg;
	s->done = true;
	return NL_STOP;
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct ipvs_sock *s = arg;
	struct nlattr *attrs[IPVS_CMD_ATTR_MAX + 1];
	int r;

	if (!s->fn || s->error)
		return NL_OK;
	r = genlmsg_parse(nlmsg_hdr(msg), 0, attrs, IPVS_CMD_ATTR_MAX, NULL);
	s->error = r < 0 ? -EBADMSG : s->fn(s->ctx, attrs);
	return NL_OK;
}

static int receive(struct ipvs_sock *s)
{
	while (!s->done) {
		int r = nl_recvmsgs(s->sk, s->cb);

		if (r == -NLE_DUMP_INTR)
			return -EINTR;
		if (r < 0 && !s->done)
			return -EIO;
	}
	return s->error;
}

/* Sends msg and reads the whole answer; fn (may be NULL) gets each message of it. */
static int talk(struct ipvs_sock *s, struct nl_msg *msg,
		int (*fn)(void *ctx, struct nlattr **attrs), void *ctx)
{
	int r;

	s->done = false;
	s->error = 0;
	s->fn = fn;
	s->ctx = ctx;
	r = nl_send_auto(s->sk, msg) < 0 ? -EIO : receive(s);
	s->fn = NULL;
	s->ctx = NULL;
	return r;
}

static struct nl_msg *message_new(struct ipvs_sock *s, uint8_t command, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, s->family, 0, flags,
				command, IPVS_GENL_VERSION)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static int make_callbacks(struct ipvs_sock *s)
{
	int r;

	s->cb = nl_cb_alloc(NL_CB_DEFAULT);
	if (!s->cb)
		return -ENOMEM;
	r = nl_cb_err(s->cb, NL_CB_CUSTOM, on_error, s);
	if (r == 0)
		r = nl_cb_set(s->cb, NL_CB_ACK, NL_CB_CUSTOM, on_done, s);
	if (r == 0)
		r = nl_cb_set(s->cb, NL_CB_FINISH, NL_CB_CUSTOM, on_done, s);
	if (r == 0)
		r = nl_cb_set(s->cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, s);
	return r < 0 ? -ENOMEM : 0;
}

static int connect_socket(struct ipvs_sock *s, int nsfd, struct err *e)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	auto_close int fd = ns_socket(nsfd, AF_NETLINK, SOCK_RAW, NETLINK_GENERIC, e);

	if (fd < 0)
		return err_wrap(e, fd, "IPVS");
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		return err_sys(e, -errno, "IPVS socket");
	s->sk = nl_socket_alloc();
	if (!s->sk || make_callbacks(s) < 0)
		return err_sys(e, -ENOMEM, "IPVS socket");
	if (nl_socket_set_fd(s->sk, NETLINK_GENERIC, fd) < 0)
		return err_sys(e, -EIO, "IPVS socket");
	(void)TAKE_FD(fd); /* the socket's now */
	return 0;
}

int ipvs_open(int nsfd, struct ipvs_sock **ret, struct err *e)
{
	struct ipvs_sock *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "IPVS socket");
	r = connect_socket(s, nsfd, e);
	if (r == 0) {
		/* The kernel loads ip_vs when it is asked for the family. */
		s->family = genl_ctrl_resolve(s->sk, IPVS_GENL_NAME);
		if (s->family < 0)
			r = err_set(e, -ENOENT, "the kernel has no IPVS (ip_vs)");
	}
	if (r < 0) {
		ipvs_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void ipvs_close(struct ipvs_sock *s)
{
	if (!s)
		return;
	if (s->cb)
		nl_cb_put(s->cb);
	nl_socket_free(s->sk); /* takes NULL */
	free(s);
}

/* --- services --- */

static const char *family_name(uint8_t family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static bool put_service_key(struct nl_msg *msg, uint8_t family, uint32_t mark)
{
	return nla_put_u16(msg, IPVS_SVC_ATTR_AF, family) == 0 &&
	       nla_put_u32(msg, IPVS_SVC_ATTR_FWMARK, mark) == 0;
}

static bool put_service(struct nl_msg *msg, const struct ipvs_service *svc)
{
	struct ip_vs_flags flags = {.flags = svc->flags, .mask = ~0U};
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_SERVICE);
	/* One client is one address; for IPv6 the length of the prefix. */
	uint32_t netmask = svc->family == AF_INET ? INADDR_NONE : 128;

	if (!nest || !put_service_key(msg, svc->family, svc->mark) ||
	    nla_put_string(msg, IPVS_SVC_ATTR_SCHED_NAME, svc->scheduler) < 0 ||
	    nla_put(msg, IPVS_SVC_ATTR_FLAGS, sizeof(flags), &flags) < 0 ||
	    nla_put_u32(msg, IPVS_SVC_ATTR_TIMEOUT, 0) < 0 ||
	    nla_put_u32(msg, IPVS_SVC_ATTR_NETMASK, netmask) < 0)
		return false;
	return nla_nest_end(msg, nest) == 0;
}

static int service_request(struct ipvs_sock *s, uint8_t command,
			   const struct ipvs_service *svc, const char *verb,
			   struct err *e)
{
	auto_with(nlmsg_free) struct nl_msg *msg = message_new(s, command, 0);
	int r = msg && put_service(msg, svc) ? talk(s, msg, NULL, NULL) : -ENOMEM;

	return r < 0 ? err_sys(e, r, "%s %s service %u (%s) of IPVS", verb,
			       family_name(svc->family), svc->mark, svc->scheduler)
		     : 0;
}

int ipvs_service_add(struct ipvs_sock *s, const struct ipvs_service *svc, struct err *e)
{
	return service_request(s, IPVS_CMD_NEW_SERVICE, svc, "add", e);
}

int ipvs_service_set(struct ipvs_sock *s, const struct ipvs_service *svc, struct err *e)
{
	return service_request(s, IPVS_CMD_SET_SERVICE, svc, "change", e);
}

static bool put_service_nest(struct nl_msg *msg, uint8_t family, uint32_t mark)
{
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_SERVICE);

	return nest && put_service_key(msg, family, mark) && nla_nest_end(msg, nest) == 0;
}

int ipvs_service_del(struct ipvs_sock *s, uint8_t family, uint32_t mark, struct err *e)
{
	auto_with(nlmsg_free) struct nl_msg *msg =
		message_new(s, IPVS_CMD_DEL_SERVICE, 0);
	int r;

	r = msg && put_service_nest(msg, family, mark) ? talk(s, msg, NULL, NULL)
						       : -ENOMEM;
	return r < 0 ? err_sys(e, r, "delete %s service %u of IPVS", family_name(family),
			       mark)
		     : 0;
}

struct service_reading {
	int (*fn)(void *ctx, const struct ipvs_service *svc);
	void *ctx;
};

static int read_service(void *ctx, struct nlattr **attrs)
{
	static const struct nla_policy policy[IPVS_SVC_ATTR_MAX + 1] = {
		[IPVS_SVC_ATTR_AF] = {.type = NLA_U16},
		[IPVS_SVC_ATTR_FWMARK] = {.type = NLA_U32},
		[IPVS_SVC_ATTR_SCHED_NAME] = {.type = NLA_NUL_STRING,
					      .maxlen = IPVS_SCHEDULER_SIZE},
		[IPVS_SVC_ATTR_FLAGS] = {.minlen = sizeof(struct ip_vs_flags)},
	};
	const struct service_reading *reading = ctx;
	struct nlattr *svc[IPVS_SVC_ATTR_MAX + 1];
	struct ipvs_service service = {0};
	struct ip_vs_flags flags;

	if (!attrs[IPVS_CMD_ATTR_SERVICE] ||
	    nla_parse_nested(svc, IPVS_SVC_ATTR_MAX, attrs[IPVS_CMD_ATTR_SERVICE],
			     policy) < 0)
		return -EBADMSG;
	if (!svc[IPVS_SVC_ATTR_FWMARK])
		return 0; /* one by address, not ours */
	if (!svc[IPVS_SVC_ATTR_AF] || !svc[IPVS_SVC_ATTR_SCHED_NAME] ||
	    !svc[IPVS_SVC_ATTR_FLAGS])
		return -EBADMSG;
	service.family = (uint8_t)nla_get_u16(svc[IPVS_SVC_ATTR_AF]);
	service.mark = nla_get_u32(svc[IPVS_SVC_ATTR_FWMARK]);
	(void)snprintf(service.scheduler, sizeof(service.scheduler), "%s",
		       nla_get_string(svc[IPVS_SVC_ATTR_SCHED_NAME]));
	memcpy(&flags, nla_data(svc[IPVS_SVC_ATTR_FLAGS]), sizeof(flags));
	service.flags = flags.flags & ~(uint32_t)IP_VS_SVC_F_HASHED;
	return reading->fn(reading->ctx, &service);
}

int ipvs_service_list(struct ipvs_sock *s,
		      int (*fn)(void *ctx, const struct ipvs_service *svc), void *ctx,
		      struct err *e)
{
	struct service_reading reading = {fn, ctx};
	auto_with(nlmsg_free) struct nl_msg *msg =
		message_new(s, IPVS_CMD_GET_SERVICE, NLM_F_DUMP);
	int r;

	r = msg ? talk(s, msg, read_service, &reading) : -ENOMEM;
	return r < 0 ? err_sys(e, r, "list services of IPVS") : 0;
}

/* --- destinations --- */

struct dest_request {
	uint8_t command;
	const char *verb;
	uint32_t mark;
	const struct addr *addr;
	bool full; /* with weight and the like */
	uint32_t weight;
};

static bool put_dest(struct nl_msg *msg, const struct dest_request *d)
{
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_DEST);

	if (!nest ||
	    nla_put(msg, IPVS_DEST_ATTR_ADDR, IPVS_ADDRESS_SIZE, d->addr->bytes) < 0 ||
	    nla_put_u16(msg, IPVS_DEST_ATTR_PORT, 0) < 0 ||
	    nla_put_u16(msg, IPVS_DEST_ATTR_ADDR_FAMILY, d->addr->family) < 0)
		return false;
	if (d->full && (nla_put_u32(msg, IPVS_DEST_ATTR_FWD_METHOD, FORWARD_MASQ) < 0 ||
			nla_put_u32(msg, IPVS_DEST_ATTR_WEIGHT, d->weight) < 0 ||
			nla_put_u32(msg, IPVS_DEST_ATTR_U_THRESH, 0) < 0 ||
			nla_put_u32(msg, IPVS_DEST_ATTR_L_THRESH, 0) < 0))
		return false;
	return nla_nest_end(msg, nest) == 0;
}

static int dest_request(struct ipvs_sock *s, const struct dest_request *d, struct err *e)
{
	auto_with(nlmsg_free) struct nl_msg *msg = message_new(s, d->command, 0);
	char text[ADDR_TEXT_SIZE];
	int r = -ENOMEM;

	if (msg && put_service_nest(msg, d->addr->family, d->mark) && put_dest(msg, d))
		r = talk(s, msg, NULL, NULL);
	return r < 0 ? err_sys(e, r, "%s destination %s of service %u of IPVS", d->verb,
			       addr_format(d->addr, text), d->mark)
		     : 0;
}

int ipvs_dest_add(struct ipvs_sock *s, uint32_t mark, const struct addr *addr,
		  uint32_t weight, struct err *e)
{
	struct dest_request d = {IPVS_CMD_NEW_DEST, "add", mark, addr, true, weight};

	return dest_request(s, &d, e);
}

int ipvs_dest_set(struct ipvs_sock *s, uint32_t mark, const struct addr *addr,
		  uint32_t weight, struct err *e)
{
	struct dest_request d = {IPVS_CMD_SET_DEST, "change", mark, addr, true, weight};

	return dest_request(s, &d, e);
}

int ipvs_dest_del(struct ipvs_sock *s, uint32_t mark, const struct addr *addr,
		  struct err *e)
{
	struct dest_request d = {IPVS_CMD_DEL_DEST, "delete", mark, addr, false, 0};

	return dest_request(s, &d, e);
}

struct dest_reading {
	uint8_t family;
	int (*fn)(void *ctx, const struct addr *addr, uint32_t weight, bool ours);
	void *ctx;
};

static int read_dest(void *ctx, struct nlattr **attrs)
{
	static const struct nla_policy policy[IPVS_DEST_ATTR_MAX + 1] = {
		[IPVS_DEST_ATTR_ADDR] = {.minlen = IPVS_ADDRESS_SIZE},
		[IPVS_DEST_ATTR_PORT] = {.type = NLA_U16},
		[IPVS_DEST_ATTR_FWD_METHOD] = {.type = NLA_U32},
		[IPVS_DEST_ATTR_WEIGHT] = {.type = NLA_U32},
		[IPVS_DEST_ATTR_ADDR_FAMILY] = {.type = NLA_U16},
	};
	const struct dest_reading *reading = ctx;
	struct nlattr *dest[IPVS_DEST_ATTR_MAX + 1];
	struct addr addr = {.family = reading->family};
	bool ours;

	if (!attrs[IPVS_CMD_ATTR_DEST] ||
	    nla_parse_nested(dest, IPVS_DEST_ATTR_MAX, attrs[IPVS_CMD_ATTR_DEST],
			     policy) < 0)
		return -EBADMSG;
	if (!dest[IPVS_DEST_ATTR_ADDR] || !dest[IPVS_DEST_ATTR_FWD_METHOD] ||
	    !dest[IPVS_DEST_ATTR_WEIGHT])
		return -EBADMSG;
	ours = (nla_get_u32(dest[IPVS_DEST_ATTR_FWD_METHOD]) & FORWARD_MASK) ==
		       FORWARD_MASQ &&
	       (!dest[IPVS_DEST_ATTR_PORT] || !nla_get_u16(dest[IPVS_DEST_ATTR_PORT])) &&
	       (!dest[IPVS_DEST_ATTR_ADDR_FAMILY] ||
		nla_get_u16(dest[IPVS_DEST_ATTR_ADDR_FAMILY]) == reading->family);
	memcpy(addr.bytes, nla_data(dest[IPVS_DEST_ATTR_ADDR]), addr_size(&addr));
	return reading->fn(reading->ctx, &addr, nla_get_u32(dest[IPVS_DEST_ATTR_WEIGHT]),
			   ours);
}

int ipvs_dest_list(struct ipvs_sock *s, uint8_t family, uint32_t mark,
		   int (*fn)(void *ctx, const struct addr *addr, uint32_t weight,
			     bool ours),
		   void *ctx, struct err *e)
{
	struct dest_reading reading = {family, fn, ctx};
	auto_with(nlmsg_free) struct nl_msg *msg =
		message_new(s, IPVS_CMD_GET_DEST, NLM_F_DUMP);
	int r = -ENOMEM;

	if (msg && put_service_nest(msg, family, mark))
		r = talk(s, msg, read_dest, &reading);
	return r < 0 ? err_sys(e, r, "list destinations of service %u of IPVS", mark) : 0;
}

/* --- connections --- */

struct conn_reading {
	int (*fn)(void *ctx, const struct ipvs_conn *conn);
	void *ctx;
};

/* "0A8000C8" or an IPv6 address in full. */
static bool read_conn_addr(const char *text, struct addr *ret)
{
	char *end;
	unsigned long number;
	uint32_t be32;

	if (strchr(text, ':'))
		return addr_parse(text, ret) == 0;
	errno = 0;
	number = strtoul(text, &end, 16);
	if (errno || end == text || *end || number > UINT32_MAX)
		return false;
	be32 = htonl((uint32_t)number);
	*ret = (struct addr){.family = AF_INET};
	memcpy(ret->bytes, &be32, sizeof(be32));
	return true;
}

/* "TCP 0A80000A B8FA 0A8000C8 0050 0A800015 0050 ESTABLISHED    86399" */
static bool read_conn(const char *line, struct ipvs_conn *ret)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} protos[] = {{"TCP", IPPROTO_TCP}, {"UDP", IPPROTO_UDP}, {"SCTP", IPPROTO_SCTP}};
	char proto[8];
	char vip[64];
	char backend[64];
	char state[32];

	if (sscanf(line, "%7s %*s %*s %63s %*s %63s %*s %31s", proto, vip, backend,
		   state) != 4 ||
	    !read_conn_addr(vip, &ret->vip) || !read_conn_addr(backend, &ret->backend))
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(protos); i++) {
		if (strcmp(proto, protos[i].name) != 0)
			continue;
		ret->proto = protos[i].proto;
		ret->established =
			ret->proto == IPPROTO_UDP || !strcmp(state, "ESTABLISHED");
		return true;
	}
	return false;
}

static int call_conn_list(void *arg)
{
	const struct conn_reading *reading = arg;
	FILE *f = fopen("/proc/thread-self/net/ip_vs_conn", "re");
	char line[512];
	int r = 0;

	if (!f)
		return -errno;
	while (r == 0 && fgets(line, sizeof(line), f)) {
		struct ipvs_conn conn;

		if (read_conn(line, &conn)) /* not the head line */
			r = reading->fn(reading->ctx, &conn);
	}
	(void)fclose(f); /* only read */
	return r;
}

int ipvs_conn_list(int nsfd, int (*fn)(void *ctx, const struct ipvs_conn *conn),
		   void *ctx, struct err *e)
{
	struct conn_reading reading = {fn, ctx};
	struct err inner = {0};
	int r = ns_call(nsfd, call_conn_list, &reading, &inner);

	if (r < 0 && inner.code)
		return err_wrap(e, err_set(e, r, "%s", inner.text),
				"connections of IPVS");
	return r < 0 ? err_sys(e, r, "connections of IPVS") : 0;
}

/* --- time-outs --- */

static int read_timeout(void *ctx, struct nlattr **attrs)
{
	struct nlattr *attr = attrs[IPVS_CMD_ATTR_TIMEOUT_TCP];

	if (!attr || nla_len(attr) < (int)sizeof(uint32_t))
		return -EBADMSG;
	*(uint32_t *)ctx = nla_get_u32(attr);
	return 0;
}

int ipvs_timeout_get(struct ipvs_sock *s, uint32_t *ret_tcp_s, struct err *e)
{
	auto_with(nlmsg_free) struct nl_msg *msg = message_new(s, IPVS_CMD_GET_CONFIG, 0);
	uint32_t seconds = 0;
	int r;

	r = msg ? talk(s, msg, read_timeout, &seconds) : -ENOMEM;
	if (r < 0)
		return err_sys(e, r, "read the time-outs of IPVS");
	*ret_tcp_s = seconds;
	return 0;
}

int ipvs_timeout_set(struct ipvs_sock *s, uint32_t tcp_s, struct err *e)
{
	auto_with(nlmsg_free) struct nl_msg *msg = message_new(s, IPVS_CMD_SET_CONFIG, 0);
	int r = -ENOMEM;

	if (msg && nla_put_u32(msg, IPVS_CMD_ATTR_TIMEOUT_TCP, tcp_s) == 0)
		r = talk(s, msg, NULL, NULL);
	return r < 0 ? err_sys(e, r, "set the time-outs of IPVS") : 0;
}
