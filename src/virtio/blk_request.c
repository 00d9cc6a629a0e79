/* virtio-blk: one request, from its header to its status (virtio 1.2, section 5.2.6). Runs on the block thread, without locks. */
#include "virtio/blk_internal.h"

#define LOG_MODULE "blk"
#include "base/base.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Section 5.2.6: request types and status. */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define ZEROES_UNMAP 1u
#define FILE_CUT " (the file was truncated)"
#define CHECK_NS (100 * NSEC_PER_MSEC) /* between looks whether the file was truncated */

#ifndef FALLOC_FL_NO_HIDE_STALE
#define FALLOC_FL_NO_HIDE_STALE 0x04
#endif

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

static const char *const fault_names[BLK_FAULTS] = {
	[BLK_FAULT_READ] = "read", [BLK_FAULT_WRITE] = "write", [BLK_FAULT_FLUSH] = "flush", [BLK_FAULT_DISCARD] = "discard", [BLK_FAULT_ZEROES] = "write zeros",
	[BLK_FAULT_FULL] = "write",
};

/* A disk that fails does so for every request of a guest that tries again for ever: said when it begins, and no more. */
static void complain(struct blk *blk, enum blk_fault fault, const char *remark, uint64_t offset, int error)
{
	uint32_t number = (uint32_t)error < BLK_ERRNO_WORDS * 64 ? (uint32_t)error : 0, left_out;
	uint64_t *word = &blk->said[fault][number / 64], bit = 1ull << number % 64;
	/* What the limit left out is not said, and tries again. */
	if ((*word & bit) || !log_limit_pass(&blk->limit, &left_out)) {
		blk->unsaid++;
		return;
	}
	char more[64] = "";
	if (blk->unsaid > 0)
		snprintf(more, sizeof(more), " (%" PRIu64 " more since the last such line)", blk->unsaid);
	*word |= bit;
	blk->unsaid = 0;
	log_error("disk %s: cannot %s%s at byte %" PRIu64 ": %s; the guest gets an I/O error%s%s", blk->disk->name, fault_names[fault], remark, offset,
		strerror(error), more, fault == BLK_FAULT_FULL ? "; give it more with overlay=mem:SIZE" : error == ENOSPC ? "; free space on its file system" : "");
}

void blk_complain(struct blk *blk, const char *what, uint64_t offset, int error)
{
	for (uint32_t fault = 0; fault < BLK_FAULTS; fault++)
		if (strcmp(fault_names[fault], what) == 0) {
			complain(blk, (enum blk_fault)fault, "", offset, error);
			return;
		}
}

/* Something of the kind has worked: the next failure is news. */
static void works(struct blk *blk, enum blk_fault fault)
{
	for (uint32_t i = 0; i < BLK_ERRNO_WORDS; i++)
		blk->said[fault][i] = 0;
}

static bool finish(struct blk_request *request, uint8_t status)
{
	request->status = status;
	return false;
}

static bool fail(struct blk *blk, struct blk_request *request, enum blk_fault fault, const char *remark, uint64_t offset, int error)
{
	complain(blk, fault, remark, offset, error);
	return finish(request, S_IOERR);
}

/* Whether the range lies in the disk; sums cannot wrap. */
static bool in_disk(const struct blk *blk, uint64_t untrusted_sector, uint64_t untrusted_bytes)
{
	uint64_t offset, size = atomic_load_explicit(&blk->size, memory_order_relaxed);
	return mul_u64(untrusted_sector, BLK_SECTOR, &offset) && offset <= size && untrusted_bytes <= size - offset;
}

/* Writing behind the end of a file that somebody truncated under the guest would make it long again. */
static bool is_gone(struct blk *blk, uint64_t offset, uint64_t length)
{
	if (blk->disk->fd < 0 || blk->disk->block_device || blk->has_memory)
		return false;
	uint64_t now = clock_now_ns();
	struct stat st;
	if (now >= blk->check_ns && fstat(blk->disk->fd, &st) == 0) {
		blk->present = (uint64_t)st.st_size;
		blk->check_ns = now + CHECK_NS;
		atomic_fetch_add_explicit(blk->syscalls, 1, memory_order_relaxed);
	}
	return offset > blk->present || length > blk->present - offset;
}

/* --- flush ---------------------------------------------------------------------------------------------------------------- */

bool blk_is_clean(const struct blk *blk)
{
	return blk->has_memory || (blk->flushed_seq == blk->write_seq && !blk->flush_failed);
}

static bool start_flush(struct blk *blk, struct blk_request *request)
{
	if (blk_is_clean(blk))
		return finish(request, S_OK);
	request->flush_seq = blk->write_seq;
	request->op.code = BLK_OP_FLUSH;
	request->op.buffered = false;
	return true;
}

static bool end_flush(struct blk *blk, struct blk_request *request)
{
	if (request->op.result < 0) {
		int error = (int)-request->op.result;
		/* The page cache forgets what it could not write and tells of it once. O_DIRECT has nothing to forget. */
		if (blk->disk->cache != DISK_DIRECT)
			blk->flush_failed = true;
		return fail(blk, request, BLK_FAULT_FLUSH, "", 0, error);
	}
	if (blk->flush_failed)
		return finish(request, S_IOERR);
	works(blk, BLK_FAULT_FLUSH);
	if (request->flush_seq > blk->flushed_seq)
		blk->flushed_seq = request->flush_seq;
	return finish(request, S_OK);
}

/* A write, or all ranges, are done: durable already, or to be made so. */
static bool end_of_writes(struct blk *blk, struct blk_request *request)
{
	return request->then_flush ? start_flush(blk, request) : finish(request, S_OK);
}

/* --- read and write -------------------------------------------------------------------------------------------------------- */

/* Whether O_DIRECT can do it. */
static bool is_aligned(const struct blk *blk, const struct blk_request *request)
{
	uint64_t bits = request->offset & (blk->disk->block_size - 1);
	for (uint32_t i = 0; i < request->n; i++)
		bits |= ((uintptr_t)request->iov[i].iov_base | request->iov[i].iov_len) & (blk->disk->memory_alignment - 1);
	return bits == 0 && request->length % blk->disk->block_size == 0;
}

static void set_op(struct blk *blk, struct blk_request *request, enum blk_op_code code)
{
	request->op.code = code;
	request->op.offset = request->offset;
	request->op.iov = request->iov;
	request->op.n = request->n;
	request->op.buffered = blk->disk->buffered_fd >= 0 && !is_aligned(blk, request);
	request->cut = 0;
}

static bool start_read(struct blk *blk, struct blk_request *request)
{
	if (blk->has_memory) {
		enum disk_presence presence = disk_memory_presence(&blk->memory, request->offset, request->length);
		if (presence == DISK_PRESENT) {
			disk_memory_read(&blk->memory, request->offset, request->iov, request->n);
			return finish(request, S_OK);
		}
		request->merge = true; /* also over nothing: a write may overtake it */
	}
	set_op(blk, request, BLK_OP_READ);
	return true;
}

static bool start_write(struct blk *blk, struct blk_request *request)
{
	if (blk->has_memory) {
		if (!disk_memory_write(&blk->memory, request->offset, request->iov, request->n))
			return fail(blk, request, BLK_FAULT_FULL, " (the overlay's memory is used up)", request->offset, ENOSPC);
		return finish(request, S_OK);
	}
	if (is_gone(blk, request->offset, request->length))
		return fail(blk, request, BLK_FAULT_WRITE, FILE_CUT, request->offset, EIO);
	set_op(blk, request, BLK_OP_WRITE);
	request->op.durable = false;
	if (request->writethrough) {
		/* What came before it without being durable has to become so as well: a driver that changed its mind sends no flush. */
		request->then_flush = !blk_is_clean(blk);
		request->op.durable = !request->then_flush;
	}
	if (!request->op.durable)
		blk->write_seq++;
	return true;
}

static bool start_transfer(struct blk *blk, struct blk_request *request, uint64_t untrusted_sector, bool write)
{
	uint64_t untrusted_length = request->length;
	if (untrusted_length == 0 || untrusted_length % BLK_SECTOR != 0 || untrusted_length > BLK_REQUEST_MAX ||
		!in_disk(blk, untrusted_sector, untrusted_length) || (write && blk->disk->readonly))
		return finish(request, S_IOERR);
	request->offset = untrusted_sector * BLK_SECTOR;
	return write ? start_write(blk, request) : start_read(blk, request);
}

/* Gives op.iov[0] back what was taken off it. */
static void uncut(struct blk_request *request)
{
	request->op.iov[0].iov_base = (uint8_t *)request->op.iov[0].iov_base - request->cut;
	request->op.iov[0].iov_len += request->cut;
	request->cut = 0;
}

/* Part of a transfer is done. True: some is left. */
static bool skip(struct blk_request *request, uint64_t moved)
{
	struct blk_op *op = &request->op;
	op->offset += moved;
	moved += request->cut;
	uncut(request);
	while (op->n > 0 && moved >= op->iov->iov_len) {
		moved -= op->iov->iov_len;
		op->iov++;
		op->n--;
	}
	if (op->n == 0)
		return false;
	op->iov->iov_base = (uint8_t *)op->iov->iov_base + moved;
	op->iov->iov_len -= moved;
	request->cut = moved;
	return true;
}

static bool advance_transfer(struct blk *blk, struct blk_request *request)
{
	struct blk_op *op = &request->op;
	bool write = op->code == BLK_OP_WRITE;
	if (op->result == -EINVAL && blk->disk->buffered_fd >= 0 && !op->buffered) {
		/* Aligned as we were told, and not as the file system likes it. */
		op->buffered = true;
		return true;
	}
	if (op->result > 0 && skip(request, (uint64_t)op->result))
		return true;
	if (op->result > 0) {
		works(blk, write ? BLK_FAULT_WRITE : BLK_FAULT_READ);
		if (write && !op->durable)
			blk->write_seq++;
		/* The disk may have become smaller meanwhile, and its memory with it. */
		if (request->merge && !in_disk(blk, request->offset / BLK_SECTOR, request->length))
			return finish(request, S_IOERR);
		if (request->merge)
			disk_memory_read(&blk->memory, request->offset, request->iov, request->n);
		return end_of_writes(blk, request);
	}
	int error = op->result < 0 ? (int)-op->result : EIO;
	uint64_t at = op->offset;
	if (request->cut > 0)
		uncut(request);
	if (op->result == 0) /* nothing where the disk goes on: somebody truncated the file */
		blk->check_ns = 0;
	return fail(blk, request, write ? BLK_FAULT_WRITE : BLK_FAULT_READ, !write && op->result == 0 ? FILE_CUT : "", at, error);
}

/* --- discard and write zeroes --------------------------------------------------------------------------------------------- */

/* As zeros of our own, where the host has no better way. */
static bool write_zeros(struct blk *blk, struct blk_request *request, uint64_t offset, uint64_t length)
{
	uint32_t n = 0;
	/* The ranges were copied: the chain's pieces are not needed any more. */
	for (uint64_t left = length; left > 0; n++) {
		uint64_t part = left < BLK_ZEROS_SIZE ? left : BLK_ZEROS_SIZE;
		request->chain.iov[n] = (struct iovec){ .iov_base = blk->zeros, .iov_len = part };
		left -= part;
	}
	request->iov = request->chain.iov;
	request->n = n;
	request->offset = offset;
	request->length = length;
	set_op(blk, request, BLK_OP_WRITE);
	request->op.durable = false;
	return true;
}

/*
 * The way that is best of those that the host has not refused yet; see blkdev_fallocate() for what the modes mean on a block device:
 * PUNCH_HOLE zeroes and may unmap, ZERO_RANGE zeroes and keeps, with NO_HIDE_STALE it discards (until Linux 6.12).
 */
static bool start_range(struct blk *blk, struct blk_request *request)
{
	for (; request->range_at < request->n_ranges; request->range_at++) {
		const struct blk_range *range = &request->range[request->range_at];
		uint64_t offset = range->sector * BLK_SECTOR, length = range->sectors * BLK_SECTOR;
		bool discard = request->type == T_DISCARD;
		if (blk->has_memory) {
			uint64_t used = blk->memory.used;
			disk_memory_zero(&blk->memory, offset, length);
			if (blk->memory.used < used)
				works(blk, BLK_FAULT_FULL); /* and not by writing again what it has already */
			continue;
		}
		if (is_gone(blk, offset, length))
			return fail(blk, request, discard ? BLK_FAULT_DISCARD : BLK_FAULT_ZEROES, FILE_CUT, offset, EIO);
		int mode = 0;
		if (discard && blk->disk->block_device && !blk->no_discard)
			mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_NO_HIDE_STALE;
		else if ((discard || (range->flags & ZEROES_UNMAP)) && !blk->no_punch)
			mode = FALLOC_FL_PUNCH_HOLE;
		else if (discard)
			continue; /* a hint, and the host cannot take it */
		else if (!blk->no_zero_range)
			mode = FALLOC_FL_ZERO_RANGE;
		blk->write_seq++;
		if (mode == 0)
			return write_zeros(blk, request, offset, length);
		request->op.code = BLK_OP_ALLOCATE;
		request->op.buffered = false;
		request->op.mode = mode | FALLOC_FL_KEEP_SIZE;
		request->op.offset = offset;
		request->op.length = length;
		return true;
	}
	return end_of_writes(blk, request);
}

static bool start_ranges(struct blk *blk, struct blk_request *request)
{
	bool zeroes = request->type == T_WRITE_ZEROES;
	uint32_t most = zeroes ? BLK_ZEROES_MAX : BLK_DISCARD_MAX;
	if (!(request->features & (zeroes ? BLK_F_WRITE_ZEROES : BLK_F_DISCARD)))
		return finish(request, S_UNSUPP);
	uint64_t size = request->length;
	if (size == 0 || size % sizeof(request->range[0]) != 0 || size > sizeof(request->range) || blk->disk->readonly)
		return finish(request, S_IOERR);
	virtq_chain_read(&request->chain, sizeof(struct header), request->range, size);
	request->n_ranges = (uint32_t)(size / sizeof(request->range[0]));
	request->range_at = 0;
	/* Every range is checked before the first is touched. */
	for (uint32_t i = 0; i < request->n_ranges; i++) {
		const struct blk_range *range = &request->range[i];
		/* Unknown flags, and unmap for a discard: section 5.2.6.2. */
		if (range->flags & ~(zeroes ? ZEROES_UNMAP : 0u))
			return finish(request, S_UNSUPP);
		if (range->sectors == 0 || range->sectors > most || !in_disk(blk, range->sector, range->sectors * BLK_SECTOR))
			return finish(request, S_IOERR);
	}
	request->then_flush = request->writethrough;
	return start_range(blk, request);
}

static bool advance_range(struct blk *blk, struct blk_request *request)
{
	struct blk_op *op = &request->op;
	enum blk_fault fault = request->type == T_DISCARD ? BLK_FAULT_DISCARD : BLK_FAULT_ZEROES;
	blk->write_seq++;
	if (op->code == BLK_OP_ALLOCATE && (op->result == -EOPNOTSUPP || op->result == -EINVAL || op->result == -ENODEV)) {
		/* Not this way: remembered, and the next one is tried. */
		if (op->mode & FALLOC_FL_NO_HIDE_STALE)
			blk->no_discard = true;
		else if (op->mode & FALLOC_FL_PUNCH_HOLE)
			blk->no_punch = true;
		else
			blk->no_zero_range = true;
		return start_range(blk, request);
	}
	if (op->result < 0)
		return fail(blk, request, fault, "", op->offset, (int)-op->result);
	if (op->code == BLK_OP_WRITE) {
		if (op->result == 0)
			return fail(blk, request, fault, "", op->offset, EIO);
		if (skip(request, (uint64_t)op->result))
			return true;
	}
	works(blk, fault);
	request->range_at++;
	return start_range(blk, request);
}

/* --- the whole ------------------------------------------------------------------------------------------------------------- */

/* Finds the data between header and status in the chain: framing is the driver's affair (section 2.7.4.1). False: no room for a status. */
static bool take_apart(struct blk_request *request, struct header *untrusted)
{
	struct virtq_chain *chain = &request->chain;
	request->status_at = NULL;
	if (chain->n_in == 0)
		return false;
	struct iovec *last = &chain->iov[chain->n_out + chain->n_in - 1];
	request->status_at = (uint8_t *)last->iov_base + last->iov_len - 1;
	bool whole = virtq_chain_read(chain, 0, untrusted, sizeof(*untrusted)) == sizeof(*untrusted);
	request->type = whole ? untrusted->type : UINT32_MAX;
	if (!whole)
		return true;
	if (request->type == T_IN) {
		request->iov = chain->iov + chain->n_out;
		request->n = chain->n_in;
		request->length = chain->in_size - 1;
		if (--last->iov_len == 0)
			request->n--;
	} else {
		uint64_t left = sizeof(*untrusted);
		request->iov = chain->iov;
		request->n = chain->n_out;
		request->length = chain->out_size - left;
		if (request->type != T_OUT)
			return true;
		while (request->n > 0 && left >= request->iov->iov_len) {
			left -= request->iov->iov_len;
			request->iov++;
			request->n--;
		}
		if (request->n > 0) {
			request->iov->iov_base = (uint8_t *)request->iov->iov_base + left;
			request->iov->iov_len -= left;
		}
	}
	return true;
}

bool blk_request_start(struct blk *blk, struct blk_request *request)
{
	struct header untrusted = { 0 };
	request->merge = request->then_flush = false;
	request->cut = 0;
	request->op = (struct blk_op){ 0 };
	request->status = S_IOERR;
	request->length = 0;
	if (!take_apart(request, &untrusted))
		return false;
	if (request->chain.out_size < sizeof(untrusted))
		return finish(request, S_IOERR);
	switch (request->type) {
	case T_IN:
		return start_transfer(blk, request, untrusted.sector, false);
	case T_OUT:
		return start_transfer(blk, request, untrusted.sector, true);
	case T_FLUSH:
		return start_flush(blk, request);
	case T_GET_ID: {
		uint64_t room = request->chain.in_size - 1;
		virtq_chain_write(&request->chain, 0, blk->id, room < BLK_ID_BYTES ? room : BLK_ID_BYTES);
		return finish(request, S_OK);
	}
	case T_DISCARD:
	case T_WRITE_ZEROES:
		return start_ranges(blk, request);
	default:
		return finish(request, S_UNSUPP);
	}
}

bool blk_request_advance(struct blk *blk, struct blk_request *request)
{
	struct blk_op *op = &request->op;
	/* Cancelled although its driver still waits for it: meant for others that were with the host then. */
	if (op->result == -EINTR || op->result == -ECANCELED)
		return true;
	if (op->result == -EAGAIN && !op->again) {
		op->again = true;
		return true;
	}
	if (op->code == BLK_OP_FLUSH)
		return end_flush(blk, request);
	return request->type == T_IN || request->type == T_OUT ? advance_transfer(blk, request) : advance_range(blk, request);
}
