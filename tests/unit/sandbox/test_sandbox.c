/*
 * Attacks from threads of each kind, in a process of their own each: refused, or the process killed; and the same attacks without the sandbox,
 * which then succeed: so a sandbox that is not there cannot pass. Needs a kernel with seccomp and Landlock, else these tests are skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/attack.h"
#include "base/base.h"
#include "base/sandbox.h"
#include "base/sandbox_internal.h"
#include "base/thread.h"
#include "unit.h"

enum mode { OFF, ON, MACHINE };
enum verdict { REFUSED, SUCCEEDED, KILLED, STRANGE };

static const char *const kinds[] = { "front", "vcpu0", "block", "block-io", "vm-io", "console", "net", "machine", "loader", "log", "control", "worker", "card", "pattern", "probe", "ui", "nameless" };
/* Those that the machine's own process has. */
static const char *const machine_kinds[] = { "main", "vcpu0", "block", "block-io", "vm-io", "console", "net", "machine", "loader", "log" };

struct job {
	int attack, out;
};

static void *attack(void *data)
{
	const struct job *job = data;
	int error = attack_perform(job->attack);
	char text[32];
	int length = snprintf(text, sizeof text, error == 0 ? "SUCCEEDED\n" : "refused %d\n", error);
	ck_assert_int_eq(write(job->out, text, (size_t)length), length);
	return NULL;
}

/* A ring as a disk has it: disabled, and restricted where it is to be. -1: this kernel has none to give. */
static int make_ring(bool restricted)
{
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };
	struct io_uring_restriction only = { .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ };
	int ring = (int)syscall(SYS_io_uring_setup, 8u, &params);
	if (ring >= 0 && restricted)
		ck_assert_int_eq(syscall(SYS_io_uring_register, ring, (unsigned int)IORING_REGISTER_RESTRICTIONS, &only, 1u), 0);
	return ring;
}

/* In a process that is thrown away. `text` gets what it wrote: its log, and what an attack by exec prints. */
static enum verdict try_attack(enum mode mode, const char *kind, int which, char *text, size_t size)
{
	int ends[2], status;
	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct sandbox_config config = { .on = mode != OFF };
		struct job job = { which, ends[1] };
		pthread_t thread;
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		attack_prepare(getppid());
		make_ring(mode != OFF);
		sandbox_prepare(&config);
		if (mode == MACHINE)
			sandbox_begin_machine();
		if (mode == MACHINE && !sandbox_enter_machine())
			_exit(99);
		if (strcmp(kind, "front") == 0 || strcmp(kind, "main") == 0) {
			if (mode == ON)
				sandbox_enter_front();
			attack(&job);
		} else if (thread_start(&thread, kind, 0, attack, &job) == 0) {
			pthread_join(thread, NULL);
		}
		_exit(0);
	}
	close(ends[1]);
	size_t have = 0;
	for (ssize_t got; have < size - 1 && (got = read(ends[0], text + have, size - 1 - have)) > 0;)
		have += (size_t)got;
	text[have] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return KILLED;
	if (strstr(text, "SUCCEEDED") != NULL)
		return SUCCEEDED;
	return strstr(text, "refused ") != NULL && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? REFUSED : STRANGE;
}

/* Skips the test where the sandbox is not whole. */
static void need_sandbox(void)
{
	char text[256];
	if (!sandbox_describe(true, text, sizeof text))
		UNIT_SKIP("%s", text);
}

/* Is there a ring to attack with? Only where a disk's may be; and does this kernel have rings? */
static bool has_target(const char *kind, int which)
{
	if (which != ATTACK_RING)
		return true;
	int ring = make_ring(false);
	if (ring >= 0)
		close(ring);
	return ring >= 0 && strcmp(kind, "block") == 0;
}

START_TEST(each_thread_is_refused_every_attack)
{
	char text[2048];
	need_sandbox();
	const char *kind = kinds[_i];
	for (int which = 0; which < ATTACKS; which++) {
		if (!has_target(kind, which))
			continue;
		enum verdict verdict = try_attack(ON, kind, which, text, sizeof text);
		ck_assert_msg(verdict == REFUSED, "%s, %s: %s:\n%s", kind, attack_name(which),
			verdict == SUCCEEDED ? "succeeded" : verdict == KILLED ? "killed" : "strange", text);
	}
}
END_TEST

START_TEST(the_machines_process_is_killed)
{
	char text[2048];
	need_sandbox();
	const char *kind = machine_kinds[_i];
	for (int which = 0; which < ATTACKS; which++) {
		if (!has_target(kind, which))
			continue;
		/* The ring itself refuses, and kills nobody. */
		enum verdict verdict = try_attack(MACHINE, kind, which, text, sizeof text);
		ck_assert_msg(verdict == (which == ATTACK_RING ? REFUSED : KILLED), "%s, %s: %s:\n%s", kind, attack_name(which),
			verdict == SUCCEEDED ? "succeeded" : verdict == REFUSED ? "refused and lives" : "strange", text);
	}
}
END_TEST

/* What the two above prove nothing without. */
START_TEST(without_the_sandbox_attacks_succeed)
{
	char text[2048];
	need_sandbox();
	if (geteuid() != 0)
		UNIT_SKIP("not root: much of this is refused to others anyway");
	int succeeded = 0;
	for (int which = 0; which < ATTACKS; which++) {
		if (!has_target("block", which))
			continue;
		enum verdict verdict = try_attack(OFF, "block", which, text, sizeof text);
		ck_assert_msg(verdict == SUCCEEDED, "%s did not succeed:\n%s", attack_name(which), text);
		succeeded++;
	}
	ck_assert_int_ge(succeeded, ATTACKS - 1);
	unlink("/tmp/rayvm-attack");
}
END_TEST

START_TEST(a_refusal_names_thread_and_call)
{
	char text[2048];
	need_sandbox();
	ck_assert_int_eq(try_attack(ON, "vcpu0", ATTACK_SOCKET, text, sizeof text), REFUSED);
	ck_assert_ptr_nonnull(strstr(text, "thread vcpu0: the system call socket (41, 0x1) was refused"));
}
END_TEST

/* --- what must go on working ------------------------------------------------------------------------------------------------ */

static void *plain_work(void *data)
{
	int *failed = data;
	uint64_t one = 1;
	int fd = *failed; /* an eventfd */
	*failed = 0;
	*failed += write(fd, &one, sizeof one) != sizeof one;
	*failed += read(fd, &one, sizeof one) != sizeof one;
	void *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*failed += memory == MAP_FAILED || madvise(memory, 1 << 20, MADV_DONTNEED) != 0 || munmap(memory, 1 << 20) != 0;
	for (size_t size = 16; size <= 1 << 20; size *= 2) { /* of every kind that malloc() knows */
		char *text = malloc(size);
		*failed += text == NULL;
		free(text);
	}
	usleep(100);
	*failed += clock_now_ns() == 0;
	time_t now = time(NULL);
	struct tm parts;
	*failed += gmtime_r(&now, &parts) == NULL; /* the guest's clock */
	return NULL;
}

static void *start_another(void *data)
{
	int *failed = data;
	pthread_t thread;
	int other = *failed;
	bool started = thread_start(&thread, "vcpu3", 10, plain_work, &other) == 0;
	if (started)
		pthread_join(thread, NULL);
	*failed = !started || other != 0;
	return NULL;
}

/* Runs `work` in a thread of this kind, in a process of its own: true when nothing failed and nothing was refused. */
static bool works(enum mode mode, const char *kind, void *(*work)(void *data), char *text, size_t size)
{
	int ends[2], status;
	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct sandbox_config config = { .on = true };
		pthread_t thread;
		int failed = eventfd(0, 0);
		dup2(ends[1], STDERR_FILENO);
		sandbox_prepare(&config);
		if (mode == MACHINE)
			sandbox_begin_machine();
		if (mode == MACHINE && !sandbox_enter_machine())
			_exit(99);
		if (thread_start(&thread, kind, 0, work, &failed) < 0)
			_exit(98);
		pthread_join(thread, NULL);
		_exit(failed);
	}
	close(ends[1]);
	ssize_t got = read(ends[0], text, size - 1);
	text[got > 0 ? got : 0] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status == 0 && got == 0;
}

START_TEST(ordinary_work_is_not_refused)
{
	char text[2048];
	need_sandbox();
	for (size_t i = 1; i < ARRAY_LEN(kinds); i++)
		ck_assert_msg(works(ON, kinds[i], plain_work, text, sizeof text), "%s: %s", kinds[i], text);
	for (size_t i = 1; i < ARRAY_LEN(machine_kinds); i++)
		ck_assert_msg(works(MACHINE, machine_kinds[i], plain_work, text, sizeof text), "%s, machine's process: %s", machine_kinds[i], text);
	ck_assert_msg(works(ON, "machine", start_another, text, sizeof text), "%s", text);
	ck_assert_msg(works(MACHINE, "machine", start_another, text, sizeof text), "%s", text);
}
END_TEST

static void *make_memory(void *data)
{
	int *failed = data;
	*failed = memfd_create("memory", 0) < 0;
	return NULL;
}

/*
 * A file in memory that is written and not mapped is in nobody's account: whoever fills the host with it, the kernel would end others for it. What the
 * machine needs is there before its threads are.
 */
START_TEST(the_machine_makes_no_files_in_memory)
{
	static const char *const makers[] = { "machine", "loader", "vcpu0", "block", "net" };
	char text[2048];
	need_sandbox();
	ck_assert_msg(works(ON, "worker", make_memory, text, sizeof text), "%s", text);
	for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
		ck_assert_msg(!works(ON, makers[i], make_memory, text, sizeof text), "%s", makers[i]);
		ck_assert_msg(!works(MACHINE, makers[i], make_memory, text, sizeof text), "%s, machine's process", makers[i]);
	}
}
END_TEST

static void *change_flags(void *data)
{
	int *failed = data;
	*failed = fcntl(STDERR_FILENO, F_SETFL, O_APPEND) < 0;
	return NULL;
}

static void *unlock(void *data)
{
	int *failed = data;
	struct flock all = { .l_type = F_UNLCK };
	*failed = fcntl(*failed, F_OFD_SETLK, &all) < 0 && errno == EPERM;
	return NULL;
}

/*
 * Flags and locks belong to the open file, which a machine's process has in common with its successors, the panel and whoever started it: O_NONBLOCK
 * would stay on the user's terminal, O_APPEND would turn each later write of a disk into one at its end.
 */
START_TEST(the_machine_leaves_open_files_as_they_are)
{
	static const char *const kind[] = { "machine", "vcpu0", "block", "net", "log" };
	char text[2048];
	need_sandbox();
	ck_assert_msg(works(ON, "ui", change_flags, text, sizeof text) && works(ON, "ui", unlock, text, sizeof text), "%s", text);
	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		ck_assert_msg(!works(MACHINE, kind[i], change_flags, text, sizeof text), "%s: flags", kind[i]);
		ck_assert_msg(!works(MACHINE, kind[i], unlock, text, sizeof text), "%s: locks", kind[i]);
	}
}
END_TEST

static void *look_around(void *data)
{
	int *failed = data;
	*failed = 0;
	static const char *const readable[] = { "/usr/share", "/sys/class", "/etc/fonts" };
	for (size_t i = 0; i < ARRAY_LEN(readable); i++) {
		int fd = open(readable[i], O_RDONLY | O_DIRECTORY);
		*failed += fd < 0 && errno != ENOENT;
		close(fd);
	}
	return NULL;
}

START_TEST(front_and_ui_read_what_they_need_and_no_more)
{
	char text[2048];
	need_sandbox();
	ck_assert_msg(works(ON, "ui", look_around, text, sizeof text), "%s", text);
	fflush(NULL);
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		char folder[] = "/tmp/rayvm-sandbox-XXXXXX", inside[64], other[] = "/tmp/rayvm-other-XXXXXX";
		ck_assert_ptr_nonnull(mkdtemp(folder));
		snprintf(inside, sizeof inside, "%s/socket", folder);
		close(open(inside, O_CREAT | O_WRONLY, 0600));
		close(mkstemp(other));
		struct sandbox_config config = { .on = true, .remove_in = folder };
		freopen("/dev/null", "w", stderr);
		sandbox_prepare(&config);
		sandbox_enter_front();
		int failed = 0;
		look_around(&failed);
		failed += open("/etc/passwd", O_RDONLY) >= 0;
		failed += open(inside, O_WRONLY) >= 0;
		failed += unlink(inside) != 0; /* the control socket, at the end */
		failed += unlink(other) == 0;
		failed += socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT) < 0;
		failed += socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
		_exit(failed);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

#define SCHED_CORE 62 /* PR_SCHED_CORE, Linux 5.14 */
#define SCHED_CORE_GET 0
#define SCHED_CORE_CREATE 1

/* The linker lets prctl() through here (meson.build). What was asked of core scheduling, what the kernel said, and the cookie then. */
static unsigned int asked;
static unsigned long asked_for[3];
static int answer;
static uint64_t cookie;

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);

int __wrap_prctl(int option, ...)
{
	unsigned long argument[4];
	va_list list;
	va_start(list, option);
	for (size_t i = 0; i < ARRAY_LEN(argument); i++)
		argument[i] = va_arg(list, unsigned long);
	va_end(list);
	int result = __real_prctl(option, argument[0], argument[1], argument[2], argument[3]);
	if (option != SCHED_CORE)
		return result;
	int error = errno;
	asked++;
	memcpy(asked_for, argument, sizeof asked_for);
	answer = result == 0 ? 0 : error;
	if (result == 0)
		__real_prctl(SCHED_CORE, (unsigned long)SCHED_CORE_GET, 0ul, 0ul, (unsigned long)&cookie);
	errno = error;
	return result;
}

/* Where cores have several threads, no other process's runs beside a vCPU. */
START_TEST(the_machines_process_has_its_cores_to_itself)
{
	int status;
	need_sandbox();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct sandbox_config config = { .on = true };
		sandbox_prepare(&config);
		sandbox_begin_machine();
		if (asked != 0 || !sandbox_enter_machine())
			_exit(99);
		/* For itself and all of its threads: PR_SCHED_CORE_SCOPE_THREAD_GROUP. */
		if (asked != 1 || asked_for[0] != SCHED_CORE_CREATE || asked_for[1] != 0 || asked_for[2] != 1)
			_exit(1);
		/* ENODEV: no such cores. EINVAL: the kernel has no core scheduling. */
		_exit(answer == 0 ? (cookie != 0 ? 0 : 2) : answer == ENODEV || answer == EINVAL ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(the_machines_process_gives_everything_up)
{
	int status;
	need_sandbox();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct sandbox_config config = { .on = true };
		char line[200] = "";
		FILE *state = fopen("/proc/self/status", "r"); /* open before, read after */
		ck_assert_ptr_nonnull(state);
		setvbuf(state, NULL, _IONBF, 0);
		sandbox_prepare(&config);
		sandbox_begin_machine();
		if (!sandbox_enter_machine())
			_exit(99);
		int wrong = 0, seen = 0;
		while (fgets(line, sizeof line, state) != NULL) {
			unsigned long long value = 1;
			if (sscanf(line, "CapEff: %llx", &value) == 1 || sscanf(line, "CapPrm: %llx", &value) == 1) {
				wrong += value != 0;
				seen++;
			} else if (sscanf(line, "NoNewPrivs: %llu", &value) == 1 || sscanf(line, "Seccomp_filters: %llu", &value) == 1) {
				wrong += value != 1;
				seen++;
			}
		}
		_exit(wrong != 0 ? 1 : seen != 4 ? 2 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sandbox");
	TCase *c = tcase_create("attacks");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, each_thread_is_refused_every_attack, 0, (int)ARRAY_LEN(kinds));
	tcase_add_loop_test(c, the_machines_process_is_killed, 0, (int)ARRAY_LEN(machine_kinds));
	tcase_add_test(c, without_the_sandbox_attacks_succeed);
	tcase_add_test(c, a_refusal_names_thread_and_call);
	suite_add_tcase(s, c);
	c = tcase_create("work");
	tcase_add_test(c, ordinary_work_is_not_refused);
	tcase_add_test(c, the_machine_makes_no_files_in_memory);
	tcase_add_test(c, the_machine_leaves_open_files_as_they_are);
	tcase_add_test(c, front_and_ui_read_what_they_need_and_no_more);
	tcase_add_test(c, the_machines_process_has_its_cores_to_itself);
	tcase_add_test(c, the_machines_process_gives_everything_up);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
