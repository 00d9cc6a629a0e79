#include "base/attack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECRET "/etc/shadow"
#define LOOT "/tmp/rayvm-attack"
#define FDS 1024

static struct {
	pid_t target;
	bool has_rings;
	struct io_uring_params ring; /* where the kernel keeps what in a ring: the same in all of them */
} the_attack;

static const char *const names[ATTACKS] = {
	[ATTACK_READ] = "read", [ATTACK_WRITE] = "write", [ATTACK_EXEC] = "exec", [ATTACK_FORK] = "fork", [ATTACK_SOCKET] = "socket",
	[ATTACK_CODE] = "code", [ATTACK_PROTECT] = "protect", [ATTACK_URING] = "uring", [ATTACK_RING] = "ring", [ATTACK_PTRACE] = "ptrace",
	[ATTACK_PEEK] = "peek", [ATTACK_KILL] = "kill", [ATTACK_IOCTL] = "ioctl", [ATTACK_OWNER] = "owner", [ATTACK_SCHEDULE] = "schedule", [ATTACK_NICE] = "nice",
};

void attack_prepare(pid_t target)
{
	the_attack.target = target;
	int ring = (int)syscall(SYS_io_uring_setup, 8u, &the_attack.ring);
	the_attack.has_rings = ring >= 0;
	if (ring >= 0)
		close(ring);
}

const char *attack_name(int attack)
{
	return names[attack];
}

/* A call's result as errno, 0 for success; a descriptor that was had is closed. */
static int outcome(long result)
{
	if (result < 0)
		return errno;
	if (result > STDERR_FILENO)
		close((int)result);
	return 0;
}

static int own_code(bool later)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | (later ? 0 : PROT_EXEC), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return errno;
	int error = later && mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 ? errno : 0;
	munmap(page, 4096);
	return error;
}

static int try_fork(void)
{
	long pid = syscall(SYS_fork);
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	return pid < 0 ? errno : 0;
}

/* The disk's ring is still disabled when its thread begins: it is found by enabling it. */
static int find_ring(void)
{
	for (int fd = STDERR_FILENO + 1; fd < FDS; fd++)
		if (syscall(SYS_io_uring_register, fd, (unsigned int)IORING_REGISTER_ENABLE_RINGS, NULL, 0u) == 0)
			return fd;
	return -1;
}

static int open_by_ring(void)
{
	int ring = the_attack.has_rings ? find_ring() : -1;
	if (ring < 0)
		return ENOENT;
	uint8_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, (off_t)IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, (off_t)IORING_OFF_SQES);
	if (shared == MAP_FAILED || sqe == MAP_FAILED)
		return errno;
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uint64_t)(uintptr_t)SECRET, .open_flags = O_RDONLY };
	__atomic_store_n((uint32_t *)(void *)(shared + the_attack.ring.sq_off.tail), 1u, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1u, 1u, (unsigned int)IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return errno;
	const struct io_uring_cqe *cqe = (const void *)(shared + the_attack.ring.cq_off.cqes);
	return cqe->res < 0 ? -cqe->res : 0;
}

static int peek(void)
{
	char byte;
	struct iovec mine = { &byte, 1 }, its = { &the_attack, 1 };
	if (process_vm_readv(the_attack.target, &mine, 1, &its, 1, 0) >= 0)
		return 0;
	return errno == EFAULT ? 0 : errno; /* there was nothing at this address, but it was looked at */
}

static int seize(void)
{
	if (ptrace(PTRACE_SEIZE, the_attack.target, NULL, NULL) < 0)
		return errno;
	ptrace(PTRACE_DETACH, the_attack.target, NULL, NULL); /* fails while it runs; ends with this thread */
	return 0;
}

int attack_perform(int attack)
{
	/* To stderr: with --isolate the machine's process has no standard output. */
	char word[] = "echo rayvm-attack exec SUCCEEDED >&2", program[] = "/bin/sh", option[] = "-c", letter = 'x';
	char *argv[] = { program, option, word, NULL }, *environment[] = { NULL };
	switch (attack) {
	case ATTACK_READ:
		return outcome(open(SECRET, O_RDONLY));
	case ATTACK_WRITE:
		return outcome(open(LOOT, O_WRONLY | O_CREAT, 0600));
	case ATTACK_EXEC:
		execve(program, argv, environment);
		return errno;
	case ATTACK_FORK:
		return try_fork();
	case ATTACK_SOCKET:
		return outcome(socket(AF_INET, SOCK_STREAM, 0));
	case ATTACK_CODE:
		return own_code(false);
	case ATTACK_PROTECT:
		return own_code(true);
	case ATTACK_URING: {
		struct io_uring_params params = { 0 };
		return outcome(syscall(SYS_io_uring_setup, 8u, &params));
	}
	case ATTACK_RING:
		return open_by_ring();
	case ATTACK_PTRACE:
		return seize();
	case ATTACK_PEEK:
		return peek();
	case ATTACK_KILL:
		return kill(the_attack.target, 0) < 0 ? errno : 0;
	case ATTACK_IOCTL:
		/* ENOTTY and EIO come from behind the filter. */
		if (ioctl(STDIN_FILENO, TIOCSTI, &letter) == 0)
			return 0;
		return errno == ENOTTY || errno == EIO ? 0 : errno;
	case ATTACK_OWNER:
		/* Without O_ASYNC nothing is sent. */
		if (fcntl(STDERR_FILENO, F_SETOWN, the_attack.target) < 0)
			return errno;
		fcntl(STDERR_FILENO, F_SETOWN, 0);
		return 0;
	case ATTACK_SCHEDULE: {
		struct sched_param normal = { .sched_priority = 0 };
		return sched_setscheduler(the_attack.target, SCHED_OTHER, &normal) < 0 ? errno : 0;
	}
	case ATTACK_NICE:
		return setpriority(PRIO_PROCESS, (id_t)the_attack.target, 0) < 0 ? errno : 0;
	default:
		return EINVAL;
	}
}

/* Not by the log: a process that is killed loses what is in its ring. */
static void say(const char *thread, const char *attack, const char *verdict)
{
	char line[160];
	int length = snprintf(line, sizeof line, "rayvm-attack %s %s %s\n", thread, attack, verdict);
	ssize_t written = write(STDERR_FILENO, line, (size_t)length);
	(void)written;
}

void attack_thread(const char *name)
{
	const char *wish = getenv("RAYVM_ATTACK"), *colon = wish != NULL ? strchr(wish, ':') : NULL;
	if (colon == NULL || strlen(name) != (size_t)(colon - wish) || strncmp(name, wish, strlen(name)) != 0)
		return;
	for (int attack = 0; attack < ATTACKS; attack++) {
		if (strcmp(colon + 1, "all") != 0 && strcmp(colon + 1, names[attack]) != 0)
			continue;
		char verdict[80];
		say(name, names[attack], "begins");
		int error = attack_perform(attack);
		snprintf(verdict, sizeof verdict, error == 0 ? "SUCCEEDED" : error == ENOENT ? "found nothing to attack" : "refused: %s", strerror(error));
		say(name, names[attack], verdict);
	}
}
