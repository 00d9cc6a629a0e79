/* SPDX-License-Identifier: MIT */
/*
 * Numbered blocks, for power cuts. The writer tells the serial port which number the disk has acknowledged with a flush; who
 * reads the disk afterwards, from inside or outside, can tell a block that is older than that.
 */
#ifndef FIO_RECORD_H
#define FIO_RECORD_H

/* Writes "FIO:", the text and a newline to the serial port. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Writes blocks of 4 KiB, numbered from 1, round and round over the first `blocks` blocks of `device`, in an order that looks random,
 * and flushes after each `every` of them. Says "FIO:FLUSHED N" when the flush after number N has returned. Goes on until the machine ends.
 */
void record_write(const char *device, unsigned long blocks, unsigned long every);
/* Reads them all back. Says "FIO:RECORD newest=N broken=N empty=N". */
void record_verify(const char *device);

#endif
