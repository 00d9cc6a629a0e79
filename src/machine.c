#define LOG_MODULE "machine"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/console.h"
#include "base/log.h"
#include "base/status.h"
#include "base/thread.h"
#include "machine_devices.h"
#include "machine_files.h"
#include "machine_waits.h"
#include "options.h"
#include "vmm/vm.h"

#define EVENTS_PER_TURN 16
#define UNTOLD 8                             /* messages kept for a full link: more states than one command passes through */
#define UNTOLD_RETRY_NS (2 * NSEC_PER_MSEC)
#define LED_PACE_NS (20 * NSEC_PER_MSEC)     /* between changes of the keyboard's lights: faster is not for eyes, and wears on real keyboards */
#define RESTART_PACE_NS NSEC_PER_SEC         /* between starts that nobody asked for */

struct machine {
	const struct options *options;
	struct status_board *board;
	struct vm *vm;
	struct link *link;
	bool has_com1;
	struct console_end com1; /* the VM's own thread serves it */
	struct machine_devices devices;
	const struct machine_files *files;
	struct link_handles panel; /* the other half of a link that is apart */
	int quit_fd;
	struct machine_waits waits;
	pthread_t thread, loader;
	bool thread_runs, loader_runs;
	bool autoboot;
	/* machine thread */
	enum vm_state state;
	bool off_told; /* that nothing starts the VM but a command */
	struct link_message untold[UNTOLD]; /* what the link had no room for, in order */
	uint32_t n_untold;
	bool leds_due;
	uint32_t leds;
	uint64_t leds_ns;    /* not told before */
	uint64_t started_ns; /* the VM's last start */
	uint64_t restart_ns; /* when it starts by itself; 0: it does not */
};

/* Sends what a full link kept back. A guest can fill the ring at any moment; it must not be able to hide what became of it. */
static void tell_untold(struct machine *machine)
{
	uint32_t sent = 0;
	while (sent < machine->n_untold && link_send_to_panel(machine->link, &machine->untold[sent]))
		sent++;
	machine->n_untold -= sent;
	memmove(machine->untold, machine->untold + sent, machine->n_untold * sizeof machine->untold[0]);
}

static void send_panel(struct machine *machine, const struct link_message *message)
{
	tell_untold(machine);
	if (machine->n_untold == 0 && link_send_to_panel(machine->link, message))
		return;
	if (machine->n_untold == UNTOLD) {
		/* The panel has stood still for long. The newest is what counts. */
		log_warn("the panel does not take messages: the oldest of %d is dropped", UNTOLD);
		machine->n_untold--;
		memmove(machine->untold, machine->untold + 1, machine->n_untold * sizeof machine->untold[0]);
	}
	machine->untold[machine->n_untold++] = *message;
}

static void tell(struct machine *machine, enum vm_state state, const char *text)
{
	machine->state = state;
	struct link_message message = { .type = LINK_VM_STATE, .vm_state = { .state = state } };
	/* Cut where it is longer than a message takes; the log has all of it. */
	memcpy(message.vm_state.text, text, strnlen(text, sizeof message.vm_state.text - 1));
	send_panel(machine, &message);
	log_info("VM is %s%s%s", status_vm_name(state), *text != '\0' ? ": " : "", text);
}

struct machine *machine_create(const struct machine_config *wanted, char *error, size_t error_size, int *exit_status)
{
	const struct options *options = wanted->options;
	struct status_board *board = wanted->board;
	struct stats *stats = wanted->stats;

	*exit_status = EXIT_FAILED;
	struct machine *machine = calloc(1, sizeof *machine);
	if (machine == NULL) {
		snprintf(error, error_size, "out of memory");
		return NULL;
	}
	machine->options = options;
	machine->board = board;
	machine->files = wanted->files;
	machine->panel = (struct link_handles){ -1, -1, -1 };
	machine->waits.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	machine->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->quit_fd < 0 || machine->waits.epoll_fd < 0) {
		snprintf(error, error_size, "cannot make an eventfd or an epoll descriptor: %s", strerror(errno));
		goto fail;
	}

	console_end_init(&machine->com1, wanted->consoles != NULL ? wanted->consoles->machine[CONSOLE_COM1] : -1, true, stats);
	machine->has_com1 = true;
	struct vm_files files = { .kvm = wanted->files->kvm, .boot = &wanted->files->boot };
	struct vm_config config = {
		.name = MACHINE_NAME,
		.kernel = options->kernel,
		.initrd = options->initrd,
		.files = &files,
		.cmdline = options->cmdline,
		.memory = options->memory,
		.hugepages = options->hugepages,
		.cpus = options->cpus,
		.serial_in = wanted->files->serial_in,
		.serial_out = wanted->files->serial_out,
		.console = wanted->consoles != NULL ? &machine->com1 : NULL,
		.stats = stats,
	};
	machine->vm = vm_create(&config, error, error_size, exit_status);
	if (machine->vm == NULL)
		goto fail;
	*exit_status = EXIT_FAILED;
	struct guest_memory *memory = vm_memory(machine->vm);
	machine->link = wanted->apart ? link_create_apart(memory->fd, memory->size, &machine->panel) : link_create(memory->fd, memory->size);
	if (machine->link == NULL) {
		snprintf(error, error_size, "cannot join the machine to the panel: %s", strerror(errno));
		goto fail;
	}
	struct machine_parts parts = {
		.options = options,
		.files = wanted->files,
		.consoles = wanted->consoles,
		.memory = memory,
		.bus = vm_pci(machine->vm),
		.link = machine->link,
		.stats = stats,
		.board = board,
	};
	if (machine_devices_create(&machine->devices, &parts, error, error_size, exit_status) < 0)
		goto fail;
	status_board_line(board, STATUS_MEMORY, STATUS_OK, "%llu MiB for the guest, %u CPU%s",
		(unsigned long long)(options->memory >> 20), options->cpus, options->cpus == 1 ? "" : "s");
	return machine;

fail:
	machine_destroy(machine);
	return NULL;
}

struct link *machine_link(struct machine *machine)
{
	return machine->link;
}

void machine_take_handles(struct machine *machine, struct link_handles *handles)
{
	*handles = machine->panel;
	machine->panel = (struct link_handles){ -1, -1, -1 };
}

/* A disk whose host never answered may still write to the memory of the guest that is to come. */
static bool disks_are_back(const struct machine *machine, char *error, size_t error_size)
{
	for (uint32_t i = 0; i < OPTIONS_DISKS; i++)
		if (machine->devices.disk[i] != NULL && blk_is_stuck(machine->devices.disk[i])) {
			snprintf(error, error_size, "disk %u has requests that the host does not answer; see to its storage, then start again", i + 1);
			return false;
		}
	return true;
}

static void start_vm(struct machine *machine)
{
	char error[256];
	machine->started_ns = clock_now_ns();
	machine->restart_ns = 0;
	tell(machine, VM_STARTING, "");
	if (!disks_are_back(machine, error, sizeof error) || vm_start(machine->vm, error, sizeof error) < 0)
		tell(machine, VM_STOPPED, error);
	else
		tell(machine, VM_RUNNING, "");
}

static void halt_vm(struct machine *machine, enum vm_state state, const char *why)
{
	vm_halt(machine->vm);
	/* Whatever the guest did in its last moment is void: a reboot must not undo a stop that came first. */
	char none[1];
	vm_take_event(machine->vm, none, sizeof none);
	machine->restart_ns = 0;
	/* The devices forget the guest: nothing of it stays on the panel or in a ring. */
	machine_devices_reset(&machine->devices);
	for (uint32_t i = 0; i < machine->devices.n_inputs; i++)
		vinput_backlog_forget(machine->devices.backlog[i]);
	tell(machine, state, why);
}

static void command(struct machine *machine, uint32_t untrusted_command, uint32_t untrusted_argument)
{
	/* A VM that is about to start again runs, for who wants it stopped. */
	bool restarts = machine->restart_ns != 0;
	bool runs = machine->state == VM_RUNNING || machine->state == VM_PAUSED || machine->state == VM_STOPPING;
	switch (untrusted_command) {
	case LINK_VM_START:
		if (!runs)
			start_vm(machine);
		else if (machine->state == VM_PAUSED) {
			vm_resume(machine->vm);
			tell(machine, VM_RUNNING, "");
		}
		break;
	case LINK_VM_PAUSE:
		if (machine->state == VM_RUNNING) {
			vm_pause(machine->vm);
			tell(machine, VM_PAUSED, "");
		}
		break;
	case LINK_VM_RESUME:
		if (machine->state == VM_PAUSED) {
			vm_resume(machine->vm);
			tell(machine, VM_RUNNING, "");
		}
		break;
	case LINK_VM_POWERDOWN:
		if (machine->state == VM_PAUSED) {
			vm_resume(machine->vm);
			machine->state = VM_RUNNING;
		}
		if (machine->state == VM_RUNNING) {
			vm_power_button(machine->vm);
			tell(machine, VM_STOPPING, "power button pressed");
		} else if (machine->state == VM_STOPPING) {
			vm_power_button(machine->vm);
		} else if (restarts) {
			halt_vm(machine, VM_STOPPED, "switched off by command");
		}
		break;
	case LINK_VM_RESET:
		if (runs || restarts || machine->state == VM_CRASHED) {
			halt_vm(machine, VM_STOPPED, "reset by command");
			start_vm(machine);
		}
		break;
	case LINK_VM_STOP:
		if (runs || restarts)
			halt_vm(machine, VM_STOPPED, "switched off by command");
		break;
	case LINK_VM_RESIZE_DISK:
		if (untrusted_argument >= 1 && untrusted_argument <= OPTIONS_DISKS && machine->devices.disk[untrusted_argument - 1] != NULL)
			blk_resize(machine->devices.disk[untrusted_argument - 1]);
		break;
	default:
		break;
	}
}

/* The guest powered off, reset or crashed. */
static void vm_happened(struct machine *machine)
{
	char detail[96] = "";
	enum vm_event event = vm_take_event(machine->vm, detail, sizeof detail);
	enum policy policy;
	switch (event) {
	case VM_EVENT_POWEROFF:
		policy = machine->options->on_poweroff;
		halt_vm(machine, VM_STOPPED, "the guest powered off");
		break;
	case VM_EVENT_RESET:
		policy = machine->options->on_reboot;
		halt_vm(machine, VM_STOPPED, "the guest rebooted");
		break;
	case VM_EVENT_CRASH:
		policy = machine->options->on_crash;
		halt_vm(machine, VM_CRASHED, detail);
		break;
	default:
		return;
	}
	if (policy == POLICY_RESTART) {
		/* A guest that ends at once, again and again, would keep a core and the memory map of this process busy. */
		uint64_t earliest = machine->started_ns + RESTART_PACE_NS;
		if (clock_now_ns() >= earliest)
			start_vm(machine);
		else
			machine->restart_ns = earliest;
	} else if (policy == POLICY_EXIT) {
		struct link_message message = { .type = LINK_ACTION, .action = { LINK_ACTION_QUIT, event == VM_EVENT_CRASH } };
		send_panel(machine, &message);
	}
}

static void take_messages(struct machine *machine)
{
	struct link_message message;
	link_ack_producer(machine->link);
	while (link_receive_for_producer(machine->link, &message)) {
		switch (message.type) {
		case LINK_COMMAND:
			command(machine, message.command.command, message.command.argument);
			break;
		case LINK_INPUT:
			for (uint32_t i = 0; i < machine->devices.n_inputs; i++)
				if (message.input.device == i)
					vinput_backlog_packet(machine->devices.backlog[i], &message, clock_now_ns());
			break;
		default:
			if (machine->devices.gpu != NULL)
				gpu_link_message(machine->devices.gpu, &message);
			break;
		}
	}
}

static void clear(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got;
}

static void kick(int fd)
{
	uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof one);
	(void)written;
}

/* Runs a queue for one bounded batch; what is left kicks itself, so that everything else gets its turn. */
static void run_queue(struct virtio_device *device, uint32_t index)
{
	clear(device->kick_fd[index]);
	if (device->ops->run(device, index))
		kick(device->kick_fd[index]);
}

/* The newest lights, at a bearable pace: they end in devices of the host. */
static void check_leds(struct machine *machine, uint64_t now)
{
	uint32_t leds;
	if (machine->devices.n_inputs > 0 && vinput_take_leds(machine->devices.input[0], &leds)) {
		machine->leds = leds;
		machine->leds_due = true;
	}
	if (!machine->leds_due || now < machine->leds_ns)
		return;
	struct link_message message = { .type = LINK_LEDS, .leds = { machine->leds } };
	machine->leds_due = !link_send_to_panel(machine->link, &message);
	machine->leds_ns = now + LED_PACE_NS;
}

/* The last word of a VM that is off, after its state and what follows from it: where the machine is a process, that may end now. */
static void tell_off(struct machine *machine)
{
	bool off = (machine->state == VM_STOPPED || machine->state == VM_CRASHED) && machine->restart_ns == 0;
	struct link_message message = { .type = LINK_ACTION, .action = { LINK_ACTION_OFF } };
	if (off && !machine->off_told)
		send_panel(machine, &message);
	machine->off_told = off;
}

/* What is due by the clock; returns when to look again, UINT64_MAX: never. */
static uint64_t run_timers(struct machine *machine)
{
	if (machine->restart_ns != 0 && clock_now_ns() >= machine->restart_ns)
		start_vm(machine);
	uint64_t now = clock_now_ns(), next = UINT64_MAX, when;
	tell_untold(machine);
	tell_off(machine);
	check_leds(machine, now);
	if (machine->n_untold > 0)
		next = now + UNTOLD_RETRY_NS;
	if (machine->restart_ns != 0 && machine->restart_ns < next)
		next = machine->restart_ns;
	if (machine->leds_due && machine->leds_ns < next)
		next = machine->leds_ns;
	if (machine->devices.gpu != NULL && (when = gpu_tick(machine->devices.gpu, now)) < next)
		next = when;
	if ((when = rng_tick(machine->devices.rng, now)) < next)
		next = when;
	for (uint32_t i = 0; i < machine->devices.n_inputs; i++)
		if ((when = vinput_backlog_run(machine->devices.backlog[i], now)) < next)
			next = when;
	return next;
}

static void *load(void *arg)
{
	struct machine *machine = arg;
	char error[256];
	if (vm_prepare(machine->vm, error, sizeof error) < 0)
		log_debug("loading ahead: %s", error); /* vm_start() tries again, and its failure is told */
	return NULL;
}

void machine_preload(struct machine *machine)
{
	machine->loader_runs = thread_start(&machine->loader, "loader", 0, load, machine) == 0;
}

static void join_loader(struct machine *machine)
{
	if (machine->loader_runs)
		pthread_join(machine->loader, NULL);
	machine->loader_runs = false;
}

/* False: the end. */
static bool happened(struct machine *machine, uint32_t which)
{
	switch (which) {
	case WAIT_QUIT:
		return false;
	case WAIT_LINK:
		take_messages(machine);
		if (link_producer_fd(machine->link) < 0)
			machine_waits_end_link(&machine->waits);
		return true;
	case WAIT_VM:
		vm_happened(machine);
		return true;
	default:
		run_queue(machine->waits.device[which], machine->waits.queue[which]);
		return true;
	}
}

static void *run(void *arg)
{
	struct machine *machine = arg;
	const int fixed[] = { [WAIT_QUIT] = machine->quit_fd, [WAIT_LINK] = link_producer_fd(machine->link), [WAIT_VM] = vm_event_fd(machine->vm) };
	bool goes_on = machine_waits_begin(&machine->waits, fixed, &machine->devices);
	if (!goes_on)
		log_error("the machine's thread cannot wait: %s", strerror(errno));

	join_loader(machine);
	if (goes_on && machine->autoboot)
		start_vm(machine);
	while (goes_on) {
		struct epoll_event event[EVENTS_PER_TURN];
		int timeout = -1;
		uint64_t next = run_timers(machine), now = clock_now_ns();
		if (next != UINT64_MAX)
			timeout = next <= now ? 0 : (int)((next - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
		int n = epoll_wait(machine->waits.epoll_fd, event, EVENTS_PER_TURN, timeout);
		if (n < 0 && errno != EINTR) {
			log_error("the machine's thread cannot wait: %s", strerror(errno));
			break;
		}
		/* What the panel and the VM say comes before what the guest asks of devices. */
		for (uint32_t which = 0; which <= WAIT_QUEUES; which++)
			for (int i = 0; i < n && goes_on; i++)
				if (min_u32(event[i].data.u32, WAIT_QUEUES) == which)
					goes_on = happened(machine, event[i].data.u32);
	}
	vm_halt(machine->vm);
	return NULL;
}

int machine_start(struct machine *machine, bool autoboot)
{
	machine->autoboot = autoboot;
	/*
	 * Not when it was opened: a start that fails must not empty the file of one that runs. Pipes and terminals have no length. Where an earlier
	 * machine has written, the next one goes on.
	 */
	struct stat info;
	if (machine->options->serial == SERIAL_FILE && fstat(machine->files->serial_out, &info) == 0 && S_ISREG(info.st_mode) &&
		lseek(machine->files->serial_out, 0, SEEK_CUR) == 0 && ftruncate(machine->files->serial_out, 0) < 0)
		log_warn("%s keeps its old contents: %s", machine->options->serial_path, strerror(errno));
	if (thread_start(&machine->thread, "machine", 0, run, machine) < 0)
		return -1;
	machine->thread_runs = true;
	return 0;
}

void machine_stop(struct machine *machine)
{
	if (!machine->thread_runs)
		return;
	kick(machine->quit_fd);
	pthread_join(machine->thread, NULL);
	machine->thread_runs = false;
}

void machine_destroy(struct machine *machine)
{
	if (machine == NULL)
		return;
	machine_stop(machine);
	join_loader(machine); /* when machine_start() was never reached */
	machine_devices_destroy(&machine->devices);
	if (machine->link != NULL)
		link_destroy(machine->link);
	if (machine->vm != NULL)
		vm_destroy(machine->vm);
	if (machine->has_com1)
		console_end_finish(&machine->com1);
	link_handles_close(&machine->panel);
	if (machine->quit_fd >= 0)
		close(machine->quit_fd);
	if (machine->waits.epoll_fd >= 0)
		close(machine->waits.epoll_fd);
	free(machine);
}
