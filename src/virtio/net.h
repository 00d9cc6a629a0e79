/*
 * virtio-net (virtio 1.2, section 5.1) on a tap, one pair of queues, no control queue. A thread of its own ("net") moves packets between
 * the rings and the tap.
 *
 * Checksums and segmentation are the tap's: what the driver negotiated is asked of it (TUNSETOFFLOAD), and the 12 bytes before each
 * packet are its own format (struct virtio_net_hdr_v1). Towards the guest the kernel never sends what was not asked for; from the
 * guest every header is checked against what was negotiated before the kernel sees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/device.h"
#include "vmm/state.h"

struct stats;
struct net;

/* What --net says: "tap=NAME" or "fd:N", then ",mac=XX:XX:XX:XX:XX:XX". */
struct net_config {
	char tap[16]; /* IFNAMSIZ; empty: fd */
	int fd;
	bool has_mac;
	uint8_t mac[6];
};

/* A tap that is open; descriptors and names, so that it may be opened in another process than it is used in. */
struct net_tap {
	int fd; /* -1: none */
	char name[16];
	uint8_t mac[6];
};

/* 0, or -1 and a line in error. */
int net_parse(const char *spec, struct net_config *config, char *error, size_t error_size);
/*
 * Attaches to the tap, for packets with headers, without blocking. vm: the VM's name, by which it gets the same address at each start
 * on this machine. 0; or -1, with a line naming thing and remedy in error.
 */
int net_tap_open(const struct net_config *config, const char *vm, struct net_tap *tap, char *error, size_t error_size);
void net_tap_close(struct net_tap *tap);

/* tap is borrowed until net_destroy(). stats is borrowed and may be NULL. NULL with errno. */
struct net *net_create(const struct guest_memory *memory, const struct net_tap *tap, struct stats *stats);
/* Ends the thread. */
void net_destroy(struct net *net);
struct virtio_device *net_device(struct net *net);

/* The device's own state (vmm/state.h): whether the tap is there is the host's matter. */
#define NET_STATE_VERSION 1
struct net_state {
	struct state_head head;
	uint8_t mac[6], zero[2];
};
