#include "vmm/backing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define POOL "/sys/kernel/mm/hugepages/hugepages-%llukB/%s"

/* The file's beginning as text; false when there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/* The number behind `name` of /proc/meminfo, in bytes. */
static uint64_t meminfo(const char *text, const char *name)
{
	const char *line = strstr(text, name);
	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static uint64_t pool_number(uint64_t hugepages, const char *name, bool *known)
{
	char path[96], text[32];
	snprintf(path, sizeof(path), POOL, (unsigned long long)(hugepages / 1024), name);
	*known = read_text(path, text, sizeof(text));
	return *known ? strtoull(text, NULL, 10) : 0;
}

void backing_read(uint64_t hugepages, struct backing_host *host)
{
	memset(host, 0, sizeof(*host));
	char text[4096];
	if (read_text("/proc/meminfo", text, sizeof(text))) {
		host->total = meminfo(text, "MemTotal:");
		host->available = meminfo(text, "MemAvailable:") + meminfo(text, "SwapFree:");
	}
	struct sysinfo info;
	if (!host->total && sysinfo(&info) == 0)
		host->total = (uint64_t)info.totalram * info.mem_unit;
	const char *chosen = read_text(SHMEM_ENABLED, text, sizeof(text)) ? strchr(text, '[') : NULL;
	if (chosen)
		snprintf(host->shmem_enabled, sizeof(host->shmem_enabled), "%.*s", (int)strcspn(chosen + 1, "]"), chosen + 1);
	if (hugepages) {
		bool known;
		uint64_t reserved = pool_number(hugepages, "resv_hugepages", &known);
		uint64_t free_pages = pool_number(hugepages, "free_hugepages", &host->has_pool);
		host->pool_free = free_pages > reserved ? free_pages - reserved : 0;
	}
}

static const char *page_name(uint64_t hugepages)
{
	return hugepages >= 1024 * MIB ? "1 GiB" : "2 MiB";
}

static enum backing_verdict judge_pool(const struct backing_host *host, uint64_t size, uint64_t hugepages, char *text, size_t text_size)
{
	const char *name = page_name(hugepages);
	unsigned long long needed = size / hugepages;
	if (size % hugepages) {
		snprintf(text, text_size, "%llu MiB are no whole number of huge pages of %s; give another --memory", (unsigned long long)(size / MIB), name);
		return BACKING_IMPOSSIBLE;
	}
	if (!host->has_pool) {
		snprintf(text, text_size, "this machine has no huge pages of %s; give another size with --hugepages, or leave it out", name);
		return BACKING_IMPOSSIBLE;
	}
	if (host->pool_free < needed) {
		char path[96];
		snprintf(path, sizeof(path), POOL, (unsigned long long)(hugepages / 1024), "nr_hugepages");
		snprintf(text, text_size, "%llu huge pages of %s are needed, %llu are free; write a larger number to %s, or leave --hugepages out",
			needed, name, (unsigned long long)host->pool_free, path);
		return BACKING_IMPOSSIBLE;
	}
	snprintf(text, text_size, "%llu huge pages of %s", needed, name);
	return BACKING_GOOD;
}

enum backing_verdict backing_judge(const struct backing_host *host, uint64_t size, uint64_t hugepages, char *text, size_t text_size)
{
	if (host->total && size > host->total) {
		snprintf(text, text_size, "%llu MiB of memory are more than the %llu MiB of this machine; give less with --memory",
			(unsigned long long)(size / MIB), (unsigned long long)(host->total / MIB));
		return BACKING_IMPOSSIBLE;
	}
	if (hugepages)
		return judge_pool(host, size, hugepages, text, text_size);
	if (host->available && size > host->available) {
		snprintf(text, text_size, "%llu MiB for the guest, but %llu MiB are free: a guest that uses all of its memory may be killed; "
			"end other programs or give less with --memory", (unsigned long long)(size / MIB), (unsigned long long)(host->available / MIB));
		return BACKING_SMALL;
	}
	/* Documentation/admin-guide/mm/transhuge.rst: of these only "never" and "deny" refuse a mapping that asks by madvise(). */
	const char *word = host->shmem_enabled;
	if (!strcmp(word, "always") || !strcmp(word, "within_size") || !strcmp(word, "advise") || !strcmp(word, "force")) {
		snprintf(text, text_size, "huge pages where the kernel finds them (shmem_enabled is %s)", word);
		return BACKING_GOOD;
	}
	snprintf(text, text_size, "pages of 4 KiB (shmem_enabled is %s); for a faster guest write advise to " SHMEM_ENABLED ", or use --hugepages",
		*word ? word : "not known");
	return BACKING_SMALL;
}
