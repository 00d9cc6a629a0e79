/*
 * The Linux driver signals every earlier fence when a later one returns (virtgpu_fence.c), so a fenced reply may not overtake
 * another: they leave in ring order. Deadlines grow along the queue because each is its arrival plus a constant.
 */
#include "virtio/gpu_internal.h"

void gpu_fences_push(struct gpu_fences *fences, const struct gpu_fence *fence)
{
	fences->fence[(fences->first + fences->count++) % VIRTQ_MAX_SIZE] = *fence;
}

static bool ready(const struct gpu_fence *fence, const struct gpu_head head[LINK_MAX_HEADS], uint64_t now_ns)
{
	if (fence->deadline_ns <= now_ns)
		return true;
	for (uint32_t i = 0; i < LINK_MAX_HEADS; i++)
		if (fence->sequence[i] > head[i].presented)
			return false;
	return true;
}

bool gpu_fences_take(struct gpu_fences *fences, const struct gpu_head head[LINK_MAX_HEADS], uint64_t now_ns, struct gpu_fence *fence)
{
	if (fences->count == 0 || !ready(&fences->fence[fences->first], head, now_ns))
		return false;
	*fence = fences->fence[fences->first];
	fences->first = (fences->first + 1) % VIRTQ_MAX_SIZE;
	fences->count--;
	return true;
}

void gpu_fences_release_head(struct gpu_fences *fences, uint32_t head)
{
	for (uint32_t i = 0; i < fences->count; i++)
		fences->fence[(fences->first + i) % VIRTQ_MAX_SIZE].sequence[head] = 0;
}

uint64_t gpu_fences_deadline(const struct gpu_fences *fences)
{
	return fences->count > 0 ? fences->fence[fences->first].deadline_ns : UINT64_MAX;
}
