/* Taps: what --net says, opening one, and the guest's address on it. */
#include "virtio/net.h"

#define LOG_MODULE "net"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_SIZE 12 /* struct virtio_net_hdr_v1 */
#define WANTED_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define NUMBER_MAX 1000000

static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned int byte[6];
	char rest;
	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5], &rest) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)byte[i];
	return true;
}

int net_parse(const char *spec, struct net_config *config, char *error, size_t error_size)
{
	char copy[128], *rest = copy, *end;
	*config = (struct net_config){ .fd = -1 };
	if (snprintf(copy, sizeof copy, "%s", spec) >= (int)sizeof copy) {
		snprintf(error, error_size, "network: \"%.40s...\" is too long", spec);
		return -1;
	}
	const char *what = strsep(&rest, ",");
	if (strncmp(what, "tap=", 4) == 0) {
		/* No '/' and no '%': the kernel would take the latter for "the next free number". */
		if (what[4] == '\0' || strlen(what + 4) >= sizeof config->tap || strpbrk(what + 4, "/% \t") != NULL) {
			snprintf(error, error_size, "network: '%s' is no name of an interface: up to 15 characters, such as tap=tap0", what + 4);
			return -1;
		}
		strcpy(config->tap, what + 4);
	} else if (strncmp(what, "fd:", 3) == 0) {
		long number = strtol(what + 3, &end, 10);
		if (what[3] < '0' || what[3] > '9' || *end != '\0' || number > NUMBER_MAX) {
			snprintf(error, error_size, "network: '%s' is no number of a descriptor; write for example fd:5", what + 3);
			return -1;
		}
		config->fd = (int)number;
	} else {
		snprintf(error, error_size, "network: \"%s\" is neither tap=NAME nor fd:N", spec);
		return -1;
	}
	for (const char *option; (option = strsep(&rest, ",")) != NULL;) {
		if (strncmp(option, "mac=", 4) != 0) {
			snprintf(error, error_size, "network: unknown option \"%s\"; known is mac=XX:XX:XX:XX:XX:XX", option);
			return -1;
		}
		if (!parse_mac(option + 4, config->mac) || (config->mac[0] & 1)) {
			snprintf(error, error_size, "network: '%s' is no address of one machine; write for example mac=52:54:00:12:34:56", option + 4);
			return -1;
		}
		config->has_mac = true;
	}
	return 0;
}

static uint64_t hash(uint64_t value, const char *text)
{
	/* FNV-1a, 64 bits. */
	for (; *text != '\0'; text++)
		value = (value ^ (uint8_t)*text) * 0x100000001b3ull;
	return value;
}

/*
 * The same for a VM at each start, and another one on another machine, which may share the network: from the VM's name and what tells
 * machines apart. Locally administered, of one machine (IEEE 802, the two low bits of the first byte).
 */
static void make_mac(const char *vm, uint8_t mac[6])
{
	char machine[128] = "";
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, machine, sizeof machine - 1) : -1;
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		gethostname(machine, sizeof machine - 1);
	uint64_t value = hash(hash(hash(0xcbf29ce484222325ull, machine), "/rayvm/"), vm);
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)(value >> (8 * i));
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02);
}

static int refuse(char *error, size_t error_size, const char *name, int reason)
{
	const char *remedy = "";
	char text[160] = "";
	switch (reason) {
	case EPERM:
	case EACCES:
		snprintf(text, sizeof text, "; give it to this user: ip tuntap add dev %s mode tap user %u (as root)", name, (unsigned int)geteuid());
		remedy = text;
		break;
	case EBUSY:
		remedy = "; another program uses it";
		break;
	case EINVAL:
		remedy = "; there is an interface of this name that is no tap of one queue";
		break;
	default:
		break;
	}
	snprintf(error, error_size, "network: cannot use the tap %s: %s%s", name, strerror(reason), remedy);
	return -1;
}

static int open_by_name(const char *name, struct net_tap *tap, char *error, size_t error_size)
{
	char path[64];
	struct stat info;
	snprintf(path, sizeof path, "/sys/class/net/%s", name);
	bool was_there = stat(path, &info) == 0;
	tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (tap->fd < 0) {
		snprintf(error, error_size, "network: cannot open /dev/net/tun: %s%s", strerror(errno),
			errno == ENOENT || errno == ENODEV ? "; load the driver: modprobe tun (as root)" : errno == EACCES ? "; this user needs the right to read and write it" : "");
		return -1;
	}
	struct ifreq request = { .ifr_flags = WANTED_FLAGS };
	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(tap->fd, TUNSETIFF, &request) < 0)
		return refuse(error, error_size, name, errno);
	if (!was_there)
		log_warn("the tap %s was not there: it is made, is down, and goes with rayvm; bring it up: ip link set %s up", name, name);
	return 0;
}

static int open_by_number(int fd, struct net_tap *tap, char *error, size_t error_size)
{
	struct ifreq request = { 0 };
	tap->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (tap->fd < 0) {
		snprintf(error, error_size, "network: fd:%d is no open descriptor; open the tap before the start, or name it: tap=NAME", fd);
		return -1;
	}
	if (ioctl(tap->fd, TUNGETIFF, &request) < 0) {
		snprintf(error, error_size, "network: descriptor %d is no tap", fd);
		return -1;
	}
	if ((request.ifr_flags & WANTED_FLAGS) != WANTED_FLAGS) {
		snprintf(error, error_size, "network: the tap of descriptor %d was opened without headers; whoever opens it must ask for IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", fd);
		return -1;
	}
	int flags = fcntl(tap->fd, F_GETFL);
	if (flags < 0 || fcntl(tap->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		snprintf(error, error_size, "network: descriptor %d: %s", fd, strerror(errno));
		return -1;
	}
	return 0;
}

int net_tap_open(const struct net_config *config, const char *vm, struct net_tap *tap, char *error, size_t error_size)
{
	*tap = (struct net_tap){ .fd = -1 };
	int result = config->tap[0] != '\0' ? open_by_name(config->tap, tap, error, error_size) : open_by_number(config->fd, tap, error, error_size);
	if (result < 0)
		goto fail;
	struct ifreq request = { 0 };
	int header = HEADER_SIZE, little = 1;
	/* Without an offload until a driver asks: an earlier user of the tap may have left some. */
	if (ioctl(tap->fd, TUNGETIFF, &request) < 0 || ioctl(tap->fd, TUNSETVNETHDRSZ, &header) < 0 || ioctl(tap->fd, TUNSETOFFLOAD, 0) < 0) {
		snprintf(error, error_size, "network: the tap does not do headers of %d bytes: %s", header, strerror(errno));
		goto fail;
	}
	/* Only where the kernel also knows big-endian guests; elsewhere it is so anyway. */
	(void)ioctl(tap->fd, TUNSETVNETLE, &little);
	memcpy(tap->name, request.ifr_name, sizeof tap->name);
	tap->name[sizeof tap->name - 1] = '\0';
	if (config->has_mac)
		memcpy(tap->mac, config->mac, sizeof tap->mac);
	else
		make_mac(vm, tap->mac);
	return 0;

fail:
	net_tap_close(tap);
	return -1;
}

void net_tap_close(struct net_tap *tap)
{
	if (tap->fd >= 0)
		close(tap->fd);
	tap->fd = -1;
}
