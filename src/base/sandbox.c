#define LOG_MODULE "sandbox"
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/attack.h"
#include "base/base.h"
#include "base/filters/placeholder.h"
#include "base/log.h"
#include "base/sandbox_internal.h"
#include "sandbox-filters.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#ifndef PR_SCHED_CORE /* Linux 5.14 */
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif
#ifndef SYS_SECCOMP /* si_code, include/uapi/asm-generic/siginfo.h */
#define SYS_SECCOMP 1
#endif
#define SCOPE_THREAD_GROUP 1 /* PR_SCHED_CORE_SCOPE_THREAD_GROUP */

#ifndef RAYVM_ATTACK
#define RAYVM_ATTACK 0
#endif
#define ARENAS 64
#define REFUSALS_LOGGED 20
#define MACHINE_FILES 1024   /* descriptors of the machine's process: an eventfd for each queue and vector, the disks */

#define FILTER_MAX 512
struct filter {
	const struct sock_filter *step;
	size_t n;
};
/* Its length, or a compiler's error when it is too long for load_filter(). */
#define FILTER(name) { filter_##name, ARRAY_LEN(filter_##name) + 0 * sizeof(char[ARRAY_LEN(filter_##name) <= FILTER_MAX ? 1 : -1]) }

/* Which filter a thread gets, by the beginning of its name. A name that is not here gets the last: files and processes are denied. */
static const struct {
	const char *name;
	struct filter filter;
	bool reads_files; /* the panel's Landlock rules instead of none */
} kinds[] = {
	{ "vcpu", FILTER(vcpu), false },
	{ "block", FILTER(block), false },
	{ "vm-io", FILTER(io), false },
	{ "console", FILTER(io), false },
	{ "net", FILTER(net), false },
	{ "machine", FILTER(machine), false },
	{ "loader", FILTER(machine), false },
	{ "log", FILTER(log), false },
	{ "control", FILTER(control), false },
	{ "worker", FILTER(worker), false },
	{ "card", FILTER(front), true }, /* opens cards, by the seat manager and udev's word, as the front did the first */
	{ "pattern", FILTER(pattern), false },
	{ "probe", FILTER(pattern), false },
	{ "ui", FILTER(ui), true },
	{ "", FILTER(ui), true },
};
static const struct filter front_filter = FILTER(front), machine_filter = FILTER(machine_process);

/* The one sandbox of the process. Written by sandbox_prepare() and sandbox_enter_machine(), single-threaded; then only read. */
static struct {
	bool on, strict;
	bool machine; /* this is the machine's own process: filters kill */
	bool entered; /* and it has given everything up: new threads inherit that */
#if RAYVM_ATTACK
	pid_t panel;
#endif
	int abi;             /* Landlock's, 0: none */
	bool filters;        /* seccomp can do what we need */
	int nothing;         /* Landlock ruleset, -1: none */
	const char *remove_in;
	_Atomic uint32_t refused;
	_Atomic bool told;   /* a failure was logged */
} the_sandbox = { .nothing = -1 };

/* For log lines of a thread that may no longer ask the kernel for it. */
static _Thread_local char own_name[16] = "that begins";

static bool seccomp_has(uint32_t action)
{
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0u, &action) == 0;
}

static bool has_filters(void)
{
	return seccomp_has(SECCOMP_RET_TRAP) && seccomp_has(SECCOMP_RET_KILL_PROCESS);
}

/* A part that was there at the start and fails now. Once: it would fail for every thread. */
static void failed(const char *what)
{
	int error = errno;
	if (!atomic_exchange(&the_sandbox.told, true))
		log_warn("%s: %s; going on without", what, strerror(error));
}

/*
 * SIGSYS of a call that a filter refused. It comes from the call itself, on the thread that made it, so that nothing else is interrupted: no
 * lock of the log can be held. The call then fails with EPERM.
 */
static void on_refused(int number, siginfo_t *info, void *context)
{
	(void)number;
	if (info->si_code != SYS_SECCOMP)
		return;
	int saved = errno;
	ucontext_t *at = context;
	at->uc_mcontext.gregs[REG_RAX] = -EPERM;
	uint32_t count = atomic_fetch_add(&the_sandbox.refused, 1);
	if (count < REFUSALS_LOGGED) {
		unsigned int call = (unsigned int)info->si_syscall;
		/* The second argument tells one ioctl from another. */
		log_error("thread %s: the system call %s (%u, %#llx) was refused%s", own_name,
			call < ARRAY_LEN(call_names) && call_names[call] != NULL ? call_names[call] : "?", call, at->uc_mcontext.gregs[REG_RSI],
			count + 1 == REFUSALS_LOGGED ? "; no more such lines" : "");
	}
	if (the_sandbox.strict)
		abort();
	errno = saved;
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	if (syscall(SYS_capset, &header, none) < 0)
		failed("capabilities");
}

/*
 * Loads a filter into the calling thread. SPEC_ALLOW: before Linux 5.16 a filter would also switch speculation barriers on, which slow vCPUs and
 * copies and protect programs that run foreign code in their own address space; a guest is no such code.
 */
static bool load_filter(const struct filter *filter)
{
	struct sock_filter step[FILTER_MAX];
	for (size_t i = 0; i < filter->n; i++) {
		step[i] = filter->step[i];
		if (step[i].k == SANDBOX_PID_PLACEHOLDER)
			step[i].k = (uint32_t)getpid();
		/* In the machine's process nothing goes on after a forbidden call. */
		if (the_sandbox.machine && step[i].code == (BPF_RET | BPF_K) && step[i].k == SECCOMP_RET_TRAP)
			step[i].k = SECCOMP_RET_KILL_PROCESS;
	}
	struct sock_fprog program = { .len = (unsigned short)filter->n, .filter = step };
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, (unsigned int)SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0 ||
	       (errno == EINVAL && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program) == 0);
}

/* Only "noop", which tests use, opens devices in this process; all other seats hand descriptors over. */
static bool opens_devices(void)
{
	const char *seat = getenv("LIBSEAT_BACKEND");
	return seat != NULL && strcmp(seat, "noop") == 0;
}

/* The panel's rules cost some twenty lookups: made by the threads that need them, which no vCPU waits for. */
static void enter_panel_files(void)
{
	if (the_sandbox.abi == 0)
		return;
	int ruleset = landlock_panel(the_sandbox.abi, the_sandbox.remove_in, opens_devices());
	if (ruleset < 0 || landlock_enter(ruleset) < 0)
		failed("Landlock");
	if (ruleset >= 0)
		close(ruleset);
}

void sandbox_prepare(const struct sandbox_config *config)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		log_warn("no_new_privs: %s; going on without", strerror(errno));
	snprintf(own_name, sizeof own_name, "front");
#if RAYVM_ATTACK
	the_sandbox.panel = getpid();
	attack_prepare(getppid());
#endif
	/* Enough for each thread to have its own: without a number the C library would count the CPUs in /sys when some thread allocates. */
	mallopt(M_ARENA_MAX, ARENAS);
	/* gmtime_r(), too, would read the time zone at its first call: of the guest's clock, in a thread that opens nothing. */
	tzset();
	the_sandbox.on = config->on && !SANITIZED;
	the_sandbox.strict = config->strict;
	the_sandbox.remove_in = config->remove_in;
	if (!the_sandbox.on)
		return;
	the_sandbox.filters = has_filters();
	the_sandbox.abi = landlock_abi();
	if (the_sandbox.abi > 0)
		the_sandbox.nothing = landlock_nothing(the_sandbox.abi, false);
	struct sigaction action = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO };
	sigaction(SIGSYS, &action, NULL);
}

/* In builds that attack themselves; elsewhere there is nothing to call. */
static void attacked(const char *name)
{
#if RAYVM_ATTACK
	attack_thread(name);
#else
	(void)name;
#endif
}

static void enter_thread(const char *name)
{
	if (!the_sandbox.on)
		return;
	size_t kind = 0;
	snprintf(own_name, sizeof own_name, "%s", name);
	while (strncmp(name, kinds[kind].name, strlen(kinds[kind].name)) != 0)
		kind++;
	if (!the_sandbox.entered) { /* else it inherited both */
		drop_capabilities();
		if (kinds[kind].reads_files)
			enter_panel_files();
		else if (the_sandbox.nothing >= 0 && landlock_enter(the_sandbox.nothing) < 0)
			failed("Landlock");
	}
	if (the_sandbox.filters && !load_filter(&kinds[kind].filter))
		failed("system call filters");
}

void sandbox_enter_thread(const char *name)
{
	enter_thread(name);
	attacked(name);
}

static void enter_front(void)
{
	char text[256];
	bool all = sandbox_describe(the_sandbox.on || SANITIZED, text, sizeof text);
	if (all || SANITIZED)
		log_info("%s", text);
	else
		log_warn("%s", text);
	if (!the_sandbox.on)
		return;
	drop_capabilities();
	enter_panel_files();
	if (the_sandbox.filters && !load_filter(&front_filter))
		failed("system call filters");
}

void sandbox_enter_front(void)
{
	enter_front();
	attacked("front");
}

void sandbox_enter_spawner(void)
{
	if (the_sandbox.on)
		drop_capabilities();
}

void sandbox_begin_machine(void)
{
	the_sandbox.machine = true;
	/* The first arena only: others look into /proc before they give memory back. Nothing in this process allocates while requests run. */
	mallopt(M_ARENA_MAX, 1);
#if RAYVM_ATTACK
	attack_prepare(the_sandbox.panel);
#endif
	if (!the_sandbox.on)
		return;
	drop_capabilities();
	if (the_sandbox.nothing >= 0)
		close(the_sandbox.nothing);
	the_sandbox.nothing = the_sandbox.abi > 0 ? landlock_nothing(the_sandbox.abi, true) : -1;
}

bool sandbox_enter_machine(void)
{
	if (!the_sandbox.on || !the_sandbox.filters) {
		errno = ENOSYS;
		attacked("main");
		return false;
	}
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_max = files.rlim_max < MACHINE_FILES ? files.rlim_max : MACHINE_FILES;
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* Where cores have several threads: no foreign one beside a vCPU. ENODEV and EINVAL: there are none, or the kernel cannot. */
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, SCOPE_THREAD_GROUP, 0) < 0)
		log_debug("core scheduling: %s", strerror(errno));
	if (the_sandbox.nothing >= 0 && landlock_enter(the_sandbox.nothing) < 0)
		failed("Landlock");
	if (the_sandbox.nothing >= 0)
		close(the_sandbox.nothing);
	the_sandbox.nothing = -1;
	the_sandbox.entered = true;
	bool done = load_filter(&machine_filter);
	attacked("main");
	return done;
}

bool sandbox_describe(bool on, char *text, size_t size)
{
	if (SANITIZED) {
		snprintf(text, size, "off: this is a build with sanitizers");
		return false;
	}
	if (!on) {
		snprintf(text, size, "OFF, as asked for: whoever breaks into this program has all rights of its user; only for debugging");
		return false;
	}
	int abi = landlock_abi();
	bool filters = has_filters();
	char landlock[32] = "";
	if (abi > 0)
		snprintf(landlock, sizeof landlock, ", Landlock %d", abi);
	snprintf(text, size, "no_new_privs, no capabilities%s%s%s%s", filters ? ", system call filters" : "", landlock,
		filters ? "" : "; the kernel has no system call filters (seccomp)", abi > 0 ? "" : "; the kernel has no Landlock (lsm=landlock,... at its start)");
	return filters && abi > 0;
}
