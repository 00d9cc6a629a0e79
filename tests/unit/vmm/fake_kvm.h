/*
 * A KVM of the test's own: the program under test is linked with --wrap=ioctl, so that its calls on the descriptors of here come here.
 * What it asks for is remembered; KVM_RUN is the test's. So exits that no CPU at hand can make go through the real code.
 */
#pragma once

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_CAPS 16
#define FAKE_RIP 0xffffffff81234567ull /* what a vCPU's registers read as */
#define FAKE_RAX 0xfeedface

struct fake_kvm {
	int device_fd;
	/* Set by the test before the VM is made. */
	struct {
		uint32_t cap;
		int value;
	} cap[FAKE_CAPS]; /* what KVM_CHECK_EXTENSION answers beside what every KVM has */
	uint32_t n_caps;
	/* Fills the shared page, returns 0, or -1 with errno; called on vCPU threads. */
	int (*run)(uint32_t vcpu, struct kvm_run *run);
	/* Seen. */
	struct kvm_enable_cap enabled[FAKE_CAPS];
	uint32_t n_enabled;
	_Atomic uint32_t runs, vcpus;
};

extern struct fake_kvm fake_kvm;

void fake_kvm_open(void);
void fake_kvm_close(void);
/* What it was enabled with; NULL: it was not. */
const struct kvm_enable_cap *fake_kvm_enabled(uint32_t cap);
