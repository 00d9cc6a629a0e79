/*
 * Pausing: the vCPUs stand still, and so do all clocks that the guest can read. After the pause each goes on where it was: nothing
 * in the guest can tell but by the time of the world outside (RTC, network).
 *
 *   kvmclock    KVM_GET_CLOCK and KVM_SET_CLOCK; each vCPU is told by KVM_KVMCLOCK_CTRL, so that watchdogs keep quiet
 *   TSC         its offset to the host's, a vCPU's attribute (Documentation/virt/kvm/devices/vcpu.rst, section 4); Linux 5.16
 *   PM timer    vm_time_ns()
 *
 * A timer interrupt that was due during the pause comes right after it, earlier than the guest's clock says; kernels look at the
 * clock and arm it again.
 */
#include <errno.h>
#include <string.h>
#include <x86intrin.h>

#define LOG_MODULE "vm"
#include "base/base.h"
#include "vmm/vm_internal.h"

uint64_t vm_time_ns(struct vm *vm)
{
	return clock_now_ns() - atomic_load(&vm->stopped_ns);
}

static bool all_parked(const struct vm *vm)
{
	for (uint32_t i = 0; i < vm->config.cpus; i++)
		if (vm->vcpu[i].started && !vm->vcpu[i].parked)
			return false;
	return true;
}

/* Sets the vCPU's TSC back by `ticks`. The guest's runs at the host's pace: nobody asked KVM for another. */
static int turn_back_tsc(const struct vcpu *vcpu, uint64_t ticks)
{
	uint64_t offset;
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)(uintptr_t)&offset,
	};
	if (kvm_ioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &attribute) < 0)
		return -1;
	offset -= ticks; /* wraps as the register does */
	return kvm_ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attribute);
}

/* All vCPUs are parked. run_lock held. */
static void stop_clocks(struct vm *vm)
{
	vm->paused_at_ns = clock_now_ns();
	vm->paused_at_tsc = __rdtsc();
	memset(&vm->clock, 0, sizeof(vm->clock));
	vm->clock_stands = kvm_ioctl(vm->kvm.vm_fd, KVM_GET_CLOCK, &vm->clock) == 0;
	if (!vm->clock_stands)
		log_warn("%s: the guest's clock cannot be stopped: %s", vm->name, strerror(errno));
}

static void start_clocks(struct vm *vm)
{
	atomic_fetch_add(&vm->stopped_ns, clock_now_ns() - vm->paused_at_ns);
	/* One number for all: they stay equal. */
	uint64_t ticks = __rdtsc() - vm->paused_at_tsc;
	for (uint32_t i = 0; i < vm->config.cpus; i++) {
		if (turn_back_tsc(&vm->vcpu[i], ticks) < 0) {
			log_warn("%s: the guest's TSC ran on during the pause: %s; Linux 5.16 and newer can stop it", vm->name, strerror(errno));
			break;
		}
	}
	/* After the TSC: KVM computes the clock's parameters from it. */
	struct kvm_clock_data clock = { .clock = vm->clock.clock };
	if (vm->clock_stands && kvm_ioctl(vm->kvm.vm_fd, KVM_SET_CLOCK, &clock) < 0)
		log_warn("%s: the guest's clock cannot be set back: %s", vm->name, strerror(errno));
}

void vm_pause(struct vm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	bool was = vm->paused;
	vm->paused = true;
	pthread_mutex_unlock(&vm->run_lock);
	if (was)
		return;
	vcpu_kick_all(vm);
	pthread_mutex_lock(&vm->run_lock);
	/* A vCPU that ended because of an event does not park; the event tells. */
	while (!all_parked(vm) && !atomic_load(&vm->stop))
		pthread_cond_wait(&vm->run_changed, &vm->run_lock);
	stop_clocks(vm);
	pthread_mutex_unlock(&vm->run_lock);
}

void vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	if (vm->paused) {
		start_clocks(vm);
		vm->paused = false;
		pthread_cond_broadcast(&vm->run_changed);
	}
	pthread_mutex_unlock(&vm->run_lock);
}
