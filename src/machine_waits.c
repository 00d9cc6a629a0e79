#include "machine_waits.h"

#include <sys/epoll.h>

static bool add(const struct machine_waits *waits, int fd, uint32_t which)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = which };
	return fd < 0 || epoll_ctl(waits->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool machine_waits_begin(struct machine_waits *waits, const int fixed[WAIT_QUEUES], const struct machine_devices *devices)
{
	bool done = true;
	uint32_t which;
	waits->link_fd = fixed[WAIT_LINK];
	for (which = 0; which < WAIT_QUEUES; which++)
		done = done && add(waits, fixed[which], which);
	for (uint32_t i = 0; i < devices->n; i++) {
		const struct machine_device *own = &devices->device[i];
		for (uint32_t q = 0; !own->own_thread && q < own->device->n_queues; q++, which++) {
			waits->device[which] = own->device;
			waits->queue[which] = q;
			done = done && add(waits, own->device->kick_fd[q], which);
		}
	}
	return done;
}

void machine_waits_end_link(struct machine_waits *waits)
{
	if (waits->link_fd >= 0)
		epoll_ctl(waits->epoll_fd, EPOLL_CTL_DEL, waits->link_fd, NULL);
	waits->link_fd = -1;
}
