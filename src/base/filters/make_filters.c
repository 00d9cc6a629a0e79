/*
 * Runs while rayvm is built, never in it: writes the seccomp programs of all kinds of thread as C arrays, so that the program itself spends
 * no time on them and needs no library for them. What a thread may do is said in this file and nowhere else.
 *
 * Two forms. An allow-list (DEFAULT_TRAP, or DEFAULT_KILL in the machine's own process) is for threads that call the kernel from our own
 * code: everything they need is known. A deny-list is for threads that run libraries which find devices and fonts, whose needs change
 * with their versions: it names what none of them has any business with.
 *
 * TRAP: the call fails with EPERM and sandbox.c says so in the log. KILL: the process is over.
 */
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/filters/placeholder.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#ifndef KVM_PRE_FAULT_MEMORY /* Linux 6.11 */
#define KVM_PRE_FAULT_MEMORY 0xc040aed5u
#endif

static void fail(const char *what, int error)
{
	fprintf(stderr, "make_filters: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

/* A call by name: older libraries and headers do not know the newest, which then need no rule either. */
static int number_of(const char *name)
{
	int number = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);
	return number >= 0 ? number : -1;
}

static void rule(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned int n, const struct scmp_arg_cmp *compare)
{
	int number = number_of(name);
	if (number < 0)
		return;
	int result = seccomp_rule_add_array(filter, action, number, n, compare);
	if (result < 0)
		fail(name, result);
}

static void rules(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rule(filter, action, names[i], 0, NULL);
}

static void allow_one(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp compare)
{
	rule(filter, SCMP_ACT_ALLOW, name, 1, &compare);
}

/* --- what allow-lists are made of ----------------------------------------------------------------------------------------- */

/* Memory without code, waiting, clocks, what descriptors that are open already can do, and the end of a thread. */
static const char *const common[] = {
	"read", "write", "readv", "writev", "close", "futex", "poll", "ppoll", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl",
	"munmap", "madvise", "mremap", "brk", "clock_gettime", "gettimeofday", "time", "clock_nanosleep", "nanosleep", "restart_syscall", "sched_yield",
	"rt_sigreturn", "rt_sigprocmask", "sigaltstack", "exit", "exit_group", "getpid", "gettid", "getrandom", "fstat", "newfstatat", "lseek",
	"set_robust_list", "rseq", "membarrier", "sched_getaffinity", "getcpu", "sysinfo", "uname", "getuid", "geteuid",
	"timerfd_settime", "timerfd_gettime",
};

static void add_common(scmp_filter_ctx filter)
{
	rules(filter, SCMP_ACT_ALLOW, common, LEN(common));
	allow_one(filter, "mmap", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	allow_one(filter, "mprotect", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* Signals to threads of this process only. The number is put in when the filter is loaded. */
	allow_one(filter, "tgkill", SCMP_A0_32(SCMP_CMP_EQ, SANDBOX_PID_PLACEHOLDER));
	/*
	 * Not F_SETOWN and F_SETSIG, by which a descriptor sends any signal to any process of the same user, nor leases, which hold up whoever opens the
	 * file, nor flags and locks of open files, which others have in common with us.
	 */
	static const uint32_t commands[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL };
	for (size_t i = 0; i < LEN(commands); i++)
		allow_one(filter, "fcntl", SCMP_A1_32(SCMP_CMP_EQ, commands[i]));
	/* struct clone_args cannot be looked into: the C library takes clone() instead. */
	rule(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
}

/* Threads that start others. A new one runs under its creator's filter until it has loaded its own. */
static void add_threads(scmp_filter_ctx filter)
{
	static const char *const names[] = { "sched_getscheduler", "sched_getparam", "sched_get_priority_min", "sched_get_priority_max", "getpriority", "capset",
		"landlock_restrict_self" };
	rules(filter, SCMP_ACT_ALLOW, names, LEN(names));
	/* Its own: by number they would reach every process of the same user, the front thread too. */
	struct scmp_arg_cmp own_policy[] = { SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A1_32(SCMP_CMP_EQ, SCHED_OTHER) };
	struct scmp_arg_cmp own_nice[] = { SCMP_A0_32(SCMP_CMP_EQ, PRIO_PROCESS), SCMP_A1_32(SCMP_CMP_EQ, 0) };
	rule(filter, SCMP_ACT_ALLOW, "sched_setscheduler", LEN(own_policy), own_policy);
	rule(filter, SCMP_ACT_ALLOW, "setpriority", LEN(own_nice), own_nice);
	allow_one(filter, "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ,
		CLONE_THREAD | CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP, CLONE_THREAD));
	allow_one(filter, "prctl", SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME));
	/* The first thread of a process makes the C library listen to its own signal, 33 (nptl/pthread_create.c). */
	allow_one(filter, "rt_sigaction", SCMP_A0_32(SCMP_CMP_EQ, 33));
	allow_one(filter, "seccomp", SCMP_A0_32(SCMP_CMP_EQ, SECCOMP_SET_MODE_FILTER));
}

static void add_ioctls(scmp_filter_ctx filter, const uint32_t *numbers, size_t n)
{
	/* The kernel looks at the lower half only, and so do the filters. */
	for (size_t i = 0; i < n; i++)
		allow_one(filter, "ioctl", SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, numbers[i]));
}

/* All ioctls of one driver, by the letter it registered (Documentation/userspace-api/ioctl/ioctl-number.rst). */
static void add_ioctl_type(scmp_filter_ctx filter, char type)
{
	allow_one(filter, "ioctl", SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xff00, (uint64_t)type << 8));
}

/* Interrupts to the guest: messages are sent one by one until they are worth a route, which whoever sends the next one makes. */
static const uint32_t kvm_interrupts[] = { KVM_SIGNAL_MSI, KVM_IRQ_LINE, KVM_IRQFD, KVM_SET_GSI_ROUTING };

/* What a machine that runs asks of KVM: entering the guest, interrupts, doorbells, state. */
static const uint32_t kvm_running[] = {
	KVM_RUN, KVM_KVMCLOCK_CTRL, KVM_IOEVENTFD, KVM_GET_CLOCK, KVM_SET_CLOCK,
	KVM_CHECK_EXTENSION, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_MSRS, KVM_SET_MSRS, KVM_GET_LAPIC, KVM_SET_LAPIC, KVM_GET_IRQCHIP,
	KVM_SET_IRQCHIP, KVM_GET_FPU, KVM_SET_FPU, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, KVM_GET_MP_STATE, KVM_SET_MP_STATE, KVM_NMI, KVM_INTERRUPT,
	KVM_SMI, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, KVM_GET_XSAVE, KVM_SET_XSAVE, KVM_GET_XCRS, KVM_SET_XCRS, KVM_GET_PIT2,
	KVM_SET_PIT2, KVM_SET_SIGNAL_MASK, KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG, KVM_SET_BOOT_CPU_ID,
	KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO, KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR,
};

/* What makes one: a reboot is a new VM on the same memory. */
static const uint32_t kvm_making[] = {
	KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2, KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR, KVM_ENABLE_CAP,
	KVM_SET_CPUID2, KVM_GET_CPUID2, KVM_GET_SUPPORTED_CPUID, KVM_GET_VCPU_MMAP_SIZE, KVM_GET_API_VERSION, KVM_GET_MSR_INDEX_LIST, KVM_PRE_FAULT_MEMORY,
};

static void add_interrupts(scmp_filter_ctx filter)
{
	add_ioctls(filter, kvm_interrupts, LEN(kvm_interrupts));
	rule(filter, SCMP_ACT_ALLOW, "eventfd2", 0, NULL);
}

static void add_kvm_running(scmp_filter_ctx filter)
{
	add_ioctls(filter, kvm_running, LEN(kvm_running));
	add_interrupts(filter);
}

static void add_kvm_making(scmp_filter_ctx filter)
{
	static const char *const names[] = { "fallocate", "ftruncate", "pread64", "sendfile" };
	add_ioctls(filter, kvm_making, LEN(kvm_making));
	/* The handler of the signal that kicks vCPUs out of the guest, vmm/vcpu.c. */
	allow_one(filter, "rt_sigaction", SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)SIGRTMIN + 1));
	rules(filter, SCMP_ACT_ALLOW, names, LEN(names));
}

/*
 * A disk's requests. Its ring was made and restricted before the filter; nobody can make another, or change this one: what is left of
 * io_uring_register is enabling it, and giving files back.
 */
static void add_disk(scmp_filter_ctx filter)
{
	static const char *const names[] = { "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "fsync", "fdatasync", "sync_file_range", "fallocate", "ftruncate",
		"io_uring_enter", "statx" };
	static const uint32_t numbers[] = { BLKDISCARD, BLKZEROOUT, BLKGETSIZE64, BLKFLSBUF };
	/* Its thread enables the ring, for the first and only time; from then on its own restrictions refuse all but the first of these. */
	static const uint32_t ring_calls[] = { 3 /* IORING_UNREGISTER_FILES */, 12 /* IORING_REGISTER_ENABLE_RINGS */, 20 /* IORING_REGISTER_RING_FDS */, 21 /* and back */ };
	rules(filter, SCMP_ACT_ALLOW, names, LEN(names));
	add_ioctls(filter, numbers, LEN(numbers));
	for (size_t i = 0; i < LEN(ring_calls); i++)
		allow_one(filter, "io_uring_register", SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, ring_calls[i]));
}

/* --- one function a kind ----------------------------------------------------------------------------------------------------- */

/*
 * malloc() looks into /proc/sys/vm/overcommit_memory before it gives a thread's heap back, and goes on when it cannot: fails without a log
 * line. These flags are no other open() of ours.
 */
static void add_malloc(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp its_flags = SCMP_A2_32(SCMP_CMP_EQ, O_RDONLY | O_CLOEXEC);
	rule(filter, SCMP_ACT_ERRNO(EACCES), "openat", 1, &its_flags);
}

static void kind_vcpu(scmp_filter_ctx filter)
{
	add_common(filter);
	add_kvm_running(filter);
}

static void kind_block(scmp_filter_ctx filter)
{
	add_common(filter);
	add_interrupts(filter);
	add_disk(filter);
	add_threads(filter);
}

/* Bytes of consoles come and go over sockets that are connected: none may be sent elsewhere. */
static void add_sockets(scmp_filter_ctx filter)
{
	rule(filter, SCMP_ACT_ALLOW, "recvfrom", 0, NULL);
	allow_one(filter, "sendto", SCMP_A4_64(SCMP_CMP_EQ, 0));
}

/* Serial port, clock, consoles: bytes between descriptors that are open, and the interrupt of a port. */
static void kind_io(scmp_filter_ctx filter)
{
	add_common(filter);
	add_sockets(filter);
	add_kvm_running(filter);
}

static void kind_net(scmp_filter_ctx filter)
{
	static const uint32_t numbers[] = { TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETIFF, TUNGETFEATURES, TUNGETIFF };
	add_common(filter);
	add_kvm_running(filter);
	add_ioctls(filter, numbers, LEN(numbers));
}

static void kind_machine(scmp_filter_ctx filter)
{
	add_common(filter);
	add_threads(filter);
	add_kvm_running(filter);
	add_kvm_making(filter);
	add_disk(filter); /* flushed and closed by it */
}

static void kind_log(scmp_filter_ctx filter)
{
	add_common(filter);
}

static void kind_control(scmp_filter_ctx filter)
{
	static const char *const names[] = { "accept4", "recvfrom", "recvmsg", "sendto", "sendmsg", "shutdown", "ftruncate", "pwrite64", "eventfd2", "timerfd_create" };
	add_common(filter);
	rules(filter, SCMP_ACT_ALLOW, names, LEN(names));
}

/* The card's buffers, and buffers of other drivers given to it. */
static void kind_worker(scmp_filter_ctx filter)
{
	static const char *const names[] = { "memfd_create", "ftruncate", "eventfd2" };
	add_common(filter);
	rules(filter, SCMP_ACT_ALLOW, names, LEN(names));
	add_ioctl_type(filter, 'd'); /* DRM */
	add_ioctl_type(filter, 'b'); /* dma-buf */
	add_ioctl_type(filter, 'u'); /* udmabuf */
}

/* A producer of test pictures. */
static void kind_pattern(scmp_filter_ctx filter)
{
	add_common(filter);
}

/* What no thread of this program needs once everything is open. */
static void deny_everywhere(scmp_filter_ctx filter)
{
	static const char *const names[] = {
		/* other programs and processes */
		"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise", "tkill",
		/* the kernel itself */
		"bpf", "perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "iopl", "ioperm",
		"syslog", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname",
		"lookup_dcookie", "nfsservctl", "vm86", "modify_ldt", "vhangup",
		/* mounts and namespaces */
		"mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
		"open_by_handle_at", "name_to_handle_at", "fanotify_init",
		/* identities and keys */
		"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "add_key", "request_key", "keyctl",
		/* rings are made before; System V and old asynchronous input and output are not used at all */
		"io_uring_setup", "io_uring_register", "io_setup", "io_submit", "shmat", "shmget", "shmctl", "msgget", "semget",
		/* tricks on the address space */
		"personality", "remap_file_pages", "pkey_mprotect", "migrate_pages", "move_pages", "mbind", "set_mempolicy",
		/* files are looked at, not made or changed; unlink() stays for the control socket, with Landlock behind it */
		"creat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod",
		"fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "truncate", "setxattr", "lsetxattr", "fsetxattr", "utimensat",
		/* priorities of others */
		"sched_setattr", "ioprio_set",
	};
	rules(filter, SCMP_ACT_TRAP, names, LEN(names));
	struct scmp_arg_cmp other = SCMP_A0_64(SCMP_CMP_NE, 0), other_nice = SCMP_A1_64(SCMP_CMP_NE, 0);
	rule(filter, SCMP_ACT_TRAP, "sched_setscheduler", 1, &other);
	rule(filter, SCMP_ACT_TRAP, "setpriority", 1, &other_nice);
	/* Signals by way of descriptors, and leases. */
	static const uint32_t commands[] = { F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE, F_NOTIFY };
	for (size_t i = 0; i < LEN(commands); i++) {
		struct scmp_arg_cmp command = SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, commands[i]);
		rule(filter, SCMP_ACT_TRAP, "fcntl", 1, &command);
	}
	struct scmp_arg_cmp no_thread = SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
	rule(filter, SCMP_ACT_TRAP, "clone", 1, &no_thread);
	rule(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
	struct scmp_arg_cmp code = SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC);
	rule(filter, SCMP_ACT_TRAP, "mmap", 1, &code);
	rule(filter, SCMP_ACT_TRAP, "mprotect", 1, &code);
	/* Typing into a terminal as if its user did (TIOCSTI), and selecting on the console (TIOCLINUX). */
	struct scmp_arg_cmp type_in = SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, 0x5412), select = SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, 0x541c);
	rule(filter, SCMP_ACT_TRAP, "ioctl", 1, &type_in);
	rule(filter, SCMP_ACT_TRAP, "ioctl", 1, &select);
}

/*
 * libseat, libinput and libudev: hot-plug reads /sys and /run/udev, listens to udev (netlink), and the seat manager's socket stays as it
 * is. A netlink socket is made again when the session comes back.
 */
static void kind_front(scmp_filter_ctx filter)
{
	deny_everywhere(filter);
	static const char *const names[] = { "listen", "accept", "accept4", "socketpair", "kill", "pidfd_send_signal", "pidfd_open" };
	rules(filter, SCMP_ACT_TRAP, names, LEN(names));
	struct scmp_arg_cmp below = SCMP_A0_32(SCMP_CMP_LT, AF_NETLINK), above = SCMP_A0_32(SCMP_CMP_GT, AF_NETLINK);
	rule(filter, SCMP_ACT_TRAP, "socket", 1, &below);
	rule(filter, SCMP_ACT_TRAP, "socket", 1, &above);
}

/* fontconfig and FreeType open fonts when a character needs them; the C library reads the time zone. */
static void kind_ui(scmp_filter_ctx filter)
{
	deny_everywhere(filter);
	static const char *const names[] = { "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "unlink", "unlinkat", "kill", "pidfd_send_signal", "pidfd_open",
		"inotify_init", "inotify_init1" };
	rules(filter, SCMP_ACT_TRAP, names, LEN(names));
}

/* --- the machine's own process ------------------------------------------------------------------------------------------------ */

/* Everything its threads need, and nothing else: its first thread's filter, which those started later inherit beside their own. */
static void process_machine(scmp_filter_ctx filter)
{
	static const char *const names[] = { "recvmsg", "sendmsg" };
	static const uint32_t numbers[] = { TUNSETOFFLOAD, TUNSETVNETHDRSZ };
	kind_machine(filter);
	add_sockets(filter);
	rules(filter, SCMP_ACT_ALLOW, names, LEN(names));
	add_ioctls(filter, numbers, LEN(numbers));
}

/* --- writing them ---------------------------------------------------------------------------------------------------------------- */

#define DEFAULT_TRAP SCMP_ACT_TRAP
#define DEFAULT_KILL SCMP_ACT_KILL_PROCESS
#define DEFAULT_ALLOW SCMP_ACT_ALLOW

static const struct {
	const char *name;
	uint32_t otherwise;
	void (*fill)(scmp_filter_ctx filter);
	bool runs_guests;
} kinds[] = {
	{ "vcpu", DEFAULT_TRAP, kind_vcpu, true },
	{ "block", DEFAULT_TRAP, kind_block, false },
	{ "io", DEFAULT_TRAP, kind_io, false },
	{ "net", DEFAULT_TRAP, kind_net, false },
	{ "machine", DEFAULT_TRAP, kind_machine, true },
	{ "log", DEFAULT_TRAP, kind_log, false },
	{ "control", DEFAULT_TRAP, kind_control, false },
	{ "worker", DEFAULT_TRAP, kind_worker, false },
	{ "pattern", DEFAULT_TRAP, kind_pattern, false },
	{ "front", DEFAULT_ALLOW, kind_front, false },
	{ "ui", DEFAULT_ALLOW, kind_ui, false },
	{ "machine_process", DEFAULT_KILL, process_machine, true },
};

static void write_step(FILE *out, const struct sock_filter *step)
{
	fprintf(out, "\t{ 0x%04x, %u, %u, 0x%08x },\n", step->code, step->jt, step->jf, step->k);
}

static void write_filter(FILE *out, size_t kind)
{
	scmp_filter_ctx filter = seccomp_init(kinds[kind].otherwise);
	if (filter == NULL)
		fail(kinds[kind].name, ENOMEM);
	/* The programs are for x86-64 wherever they are made. */
	if (seccomp_arch_native() != SCMP_ARCH_X86_64 &&
		(seccomp_arch_add(filter, SCMP_ARCH_X86_64) < 0 || seccomp_arch_remove(filter, seccomp_arch_native()) < 0))
		fail("x86-64", EINVAL);
	/* Calls of the 32-bit tables: nothing in this program makes one. */
	seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* A binary tree over the numbers: as many steps for the last as for the first. */
	int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (result < 0)
		fail("SCMP_FLTATR_CTL_OPTIMIZE", result);
	kinds[kind].fill(filter);
	if (kinds[kind].otherwise == DEFAULT_TRAP)
		add_malloc(filter);

	FILE *program = tmpfile();
	if (program == NULL)
		fail("tmpfile", errno);
	result = seccomp_export_bpf(filter, fileno(program));
	if (result < 0)
		fail("seccomp_export_bpf", result);
	seccomp_release(filter);
	rewind(program);
	struct sock_filter step;
	fprintf(out, "\nstatic const struct sock_filter filter_%s[] = {\n", kinds[kind].name);
	/* Entering the guest is asked first: a vCPU makes hardly any other call. The steps of the tree follow, and load everything anew. */
	static const struct sock_filter first[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 16, 0, 3), /* ioctl */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	for (size_t i = 0; kinds[kind].runs_guests && i < LEN(first); i++)
		write_step(out, &first[i]);
	while (fread(&step, sizeof step, 1, program) == 1)
		write_step(out, &step);
	fputs("};\n", out);
	fclose(program);
}

int main(int argc, char **argv)
{
	FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;
	if (out == NULL)
		fail("usage: make_filters HEADER", errno);
	fputs("/* Made by make_filters.c. */\n", out);
	for (size_t i = 0; i < LEN(kinds); i++)
		write_filter(out, i);
	/* The names of system calls, for log lines. */
	fputs("\nstatic const char *const call_names[] = {\n", out);
	for (int number = 0; number < 512; number++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
		if (name != NULL)
			fprintf(out, "\t[%d] = \"%s\",\n", number, name);
		free(name);
	}
	fputs("};\n", out);
	if (fclose(out) != 0)
		fail(argv[1], errno);
	return 0;
}
