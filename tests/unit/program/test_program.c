#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/stats.h"
#include "options.h"
#include "packet.h"
#include "unit.h"

/* Parses with stderr into `said`. */
static int parse(struct options *options, char *said, size_t size, int *status, char *const words[])
{
	int argc = 0;
	char *argv[32] = { (char *)"rayvm" };
	for (argc = 1; words[argc - 1] != NULL; argc++)
		argv[argc] = words[argc - 1];
	char path[] = "/tmp/rayvm-test-XXXXXX";
	int capture = mkstemp(path), saved = dup(STDERR_FILENO);
	unlink(path);
	fflush(stderr);
	dup2(capture, STDERR_FILENO);
	int result = options_parse(options, argc, argv, status);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t n = pread(capture, said, size - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(capture);
	return result;
}

#define WORDS(...) ((char *const[]){ __VA_ARGS__, NULL })

START_TEST(defaults)
{
	struct options options;
	char said[512];
	int status;
	unsetenv("RAYOS_KERNEL_FEATURES");
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--display", "headless")), 0);
	ck_assert_uint_eq(options.memory, 2ull << 30);
	ck_assert(options.vmm_hypervisor && options.vmm_virtio_input && !options.dev_scanout);
	ck_assert_uint_eq(options.keys.act[ROUTER_TOGGLE].code, KEY_GRAVE);
	ck_assert_int_eq(options.serial, SERIAL_NONE);
	ck_assert_int_eq(options.outputs, OUTPUTS_MIRROR);
	ck_assert_int_eq(options.on_reboot, POLICY_RESTART);
	ck_assert_int_eq(options.on_crash, POLICY_STAY);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--display=none", "-k", "x", "--outputs=extend")), 0);
	ck_assert_int_eq(options.serial, SERIAL_STDIO);
	ck_assert_int_eq(options.on_poweroff, POLICY_EXIT);
	options_finish(&options);
}
END_TEST

/* Each wrong line ends with exit status 2 and one line on stderr that names the option. */
START_TEST(refusals)
{
	static const struct {
		const char *words[3], *names;
	} cases[] = {
		{ { "--memory", "0" }, "--memory" },
		{ { "--memory", "12Q" }, "12Q" },
		{ { "--memory", "99999999999G" }, "--memory" },
		{ { "--memory", "-5" }, "--memory" },
		{ { "--cpus", "0" }, "--cpus" },
		{ { "--cpus", "255" }, "255" },
		{ { "--display", "x11" }, "headless" },
		{ { "--mode", "1280" }, "--mode" },
		{ { "--mode", "1280x800@0" }, "--mode" },
		{ { "--scaling", "cubic" }, "bilinear" },
		{ { "--lid", "close" }, "none of ignore, blank, powerdown" },
		{ { "--outputs", "both" }, "none of mirror, extend" },
		{ { "--outputs" }, "--outputs needs a value" },
		{ { "--trusted-strip", "left" }, "none of off, top, bottom" },
		{ { "--features", "dev_scanout,nonsense" }, "nonsense" },
		{ { "--features", "dev_scanout,vmm_hypervisor" }, "exclude" },
		{ { "--toggle-key", "KEY_NOSUCH" }, "KEY_NOSUCH" },
		{ { "--toggle-key", "KEY_F11" }, "KEY_F11" },
		{ { "--stats-chord", "ctrl+s+alt" }, "modifier" },
		{ { "--stats-chord", "shift+KEY_GRAVE" }, "KEY_GRAVE is both" },
		{ { "--stats-chord", "F9" }, "--vt-switch off" },
		{ { "--toggle-key", "KEY_GRAV" }, "near are KEY_GRAVE" },
		{ { "--toggle-key", "ctrl+spaec" }, "'spaec'" },
		{ { "--toggle-key", "KEY_F5" }, "--vt-switch off" },
		{ { "--pass-key", "KEY_F11" }, "pass key" },
		{ { "--pass-key", "ctrl+a" }, "more than one key" },
		{ { "--vt-switch", "maybe" }, "neither on nor off" },
		{ { "--power-key", "maybe" }, "powerdown" },
		{ { "--toggle-key=KEY_POWER", "--power-key=ignore" }, "KEY_POWER" },
		{ { "--toggle-key", "none" }, "none" },
		{ { "--on-crash", "maybe" }, "maybe" },
		{ { "--frobnicate" }, "--frobnicate" },
		{ { "--probe-panel=0" }, "--probe-panel" },
		{ { "--probe-panel=abc" }, "between 1 and 600" },
		{ { "--probe-panel=99999" }, "--probe-panel=30" },
		{ { "--probe-panel=" }, "--probe-panel" },
		{ { "--probe-panel", "--display=none" }, "headless" },
		{ { "--json" }, "--probe-panel" },
		{ { "-k" }, "-k" },
		{ { "bzImage" }, "bzImage" },
		{ { "-c", "/nonexistent/rayvm.ini" }, "/nonexistent/rayvm.ini" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct options options;
		char said[512];
		int status = -1;
		char *words[4] = { (char *)cases[i].words[0], (char *)cases[i].words[1], NULL };
		ck_assert_msg(parse(&options, said, sizeof said, &status, words) < 0, "accepted %s %s", words[0], words[1]);
		ck_assert_int_eq(status, EXIT_USAGE);
		ck_assert_msg(strstr(said, cases[i].names) != NULL, "'%s' does not name %s", said, cases[i].names);
		ck_assert_msg(strchr(said, '\n') == said + strlen(said) - 1, "more than one line: %s", said);
		options_finish(&options);
	}
}
END_TEST

/* What the settings file says of a guest does not matter: it is the panel that is measured. */
START_TEST(probe)
{
	struct options options;
	char said[512];
	int status;
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--probe-panel", "--json", "-k", "x", "--isolate", "--display", "headless")), 0);
	ck_assert_uint_eq(options.probe_seconds, 30);
	ck_assert(options.json && options.dev_scanout && options.present_on_boot);
	ck_assert(!options.vmm_hypervisor && !options.isolate);
	ck_assert_int_eq(options.log_level, LOG_WARN);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--log-level", "info", "--probe-panel=600")), 0);
	ck_assert_uint_eq(options.probe_seconds, 600);
	ck_assert_int_eq(options.log_level, LOG_INFO);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--display", "headless")), 0);
	ck_assert_uint_eq(options.probe_seconds, 0);
	ck_assert_int_eq(options.log_level, LOG_INFO);
	options_finish(&options);
}
END_TEST

static void write_settings(char *path, const char *text)
{
	strcpy(path, "/tmp/rayvm-ini-XXXXXX");
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(settings_file)
{
	char path[64], said[512];
	struct options options;
	int status;
	write_settings(path, "# a comment\n[rayvm]\nkernel = /boot/vmlinuz\nmemory = 512M\ndisk = a.img\ndisk = b.img,readonly\n");
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--memory", "1G", "-c", path)), 0);
	ck_assert_str_eq(options.kernel, "/boot/vmlinuz");
	ck_assert_uint_eq(options.memory, 1ull << 30); /* the option wins */
	ck_assert_uint_eq(options.n_disks, 2);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("-c", path, "-d", "c.img")), 0);
	ck_assert_uint_eq(options.n_disks, 1); /* replaced, not added */
	options_finish(&options);
	unlink(path);

	write_settings(path, "[rayvm]\nscaling = bilinear\nstats-chord = super+F9\nlid = blank\noutputs = extend\ntrusted-strip = bottom\n");
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("-c", path)), 0);
	ck_assert(options.bilinear);
	ck_assert(options.lid == LID_BLANK && options.strip == PANEL_STRIP_BOTTOM && options.outputs == OUTPUTS_EXTEND);
	ck_assert_uint_eq(options.keys.act[ROUTER_STATS].code, KEY_F9);
	ck_assert_uint_eq(options.keys.act[ROUTER_STATS].with[0], KEY_LEFTMETA);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("-c", path, "--scaling", "nearest", "--stats-chord", "none", "--outputs", "mirror")), 0);
	ck_assert(!options.bilinear && options.outputs == OUTPUTS_MIRROR);
	ck_assert_uint_eq(options.keys.act[ROUTER_STATS].code, 0);
	options_finish(&options);
	unlink(path);

	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--display", "kms")), 0);
	bool has_guest = options.vmm_hypervisor;
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--features", "legacy_kms")), 0);
	ck_assert(options.legacy_kms && options.vmm_hypervisor == has_guest); /* the guest stays */
	options_finish(&options);

	write_settings(path, "[rayvm]\nmemory = 512M\n\nspeed = fast\n");
	ck_assert_int_lt(parse(&options, said, sizeof said, &status, WORDS("-c", path)), 0);
	ck_assert_ptr_nonnull(strstr(said, ":4: speed: unknown setting"));
	options_finish(&options);
	unlink(path);

	write_settings(path, "[rayvm]\nthis is no setting\n");
	ck_assert_int_lt(parse(&options, said, sizeof said, &status, WORDS("-c", path)), 0);
	ck_assert_ptr_nonnull(strstr(said, ":2:"));
	options_finish(&options);
	unlink(path);

	char text[5000] = "[rayvm]\nappend = ";
	memset(text + strlen(text), 'x', 4000);
	strcpy(text + 4017, "\n");
	write_settings(path, text);
	ck_assert_int_lt(parse(&options, said, sizeof said, &status, WORDS("-c", path)), 0);
	ck_assert_ptr_nonnull(strstr(said, "too long")); /* never silently cut */
	options_finish(&options);
	unlink(path);
}
END_TEST

START_TEST(environment)
{
	struct options options;
	char said[512];
	int status;
	setenv("RAYOS_KERNEL_FEATURES", "dev_scanout", 1);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--display=headless")), 0);
	ck_assert(options.dev_scanout && !options.vmm_hypervisor);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--features=vmm_hypervisor")), 0);
	ck_assert(!options.dev_scanout && options.vmm_hypervisor && !options.vmm_virtio_input && !options.legacy_kms);
	options_finish(&options);
	ck_assert_int_eq(parse(&options, said, sizeof said, &status, WORDS("--features=legacy_kms,vmm_hypervisor")), 0);
	ck_assert(options.legacy_kms && options.vmm_hypervisor && !options.vmm_virtio_input);
	options_finish(&options);
	setenv("RAYOS_KERNEL_FEATURES", "bogus", 1);
	ck_assert_int_lt(parse(&options, said, sizeof said, &status, WORDS("--display=headless")), 0);
	ck_assert_ptr_nonnull(strstr(said, "RAYOS_KERNEL_FEATURES"));
	options_finish(&options);
	unsetenv("RAYOS_KERNEL_FEATURES");
}
END_TEST

/* A receiver that can be full. */
struct sink {
	bool full, ui;
	uint32_t n;
	struct link_message got[64];
};

static bool sink_send(void *data, bool to_guest, const struct link_message *message)
{
	struct sink *sink = data;
	ck_assert(to_guest == !sink->ui);
	ck_assert_uint_eq(message->type, LINK_INPUT);
	ck_assert_uint_eq(message->input.event[message->input.count - 1].type, EV_SYN);
	if (sink->full)
		return false;
	ck_assert_uint_lt(sink->n, 64);
	sink->got[sink->n++] = *message;
	return true;
}

static void add(struct packer *packer, uint32_t device, uint16_t type, uint16_t code, int32_t value)
{
	struct router_event event = { .time_ns = 5, .device = device, .type = type, .code = code, .value = value };
	packer_add(packer, &event);
}

START_TEST(packets_are_whole)
{
	static struct stats stats;
	struct sink sink = { 0 };
	struct packer packer;
	packer_init(&packer, true, sink_send, &sink, &stats);
	add(&packer, 1, EV_REL, REL_X, 3);
	add(&packer, 1, EV_REL, REL_Y, -4);
	ck_assert(!packer_flush(&packer));
	ck_assert_uint_eq(sink.n, 1);
	ck_assert_uint_eq(sink.got[0].input.count, 3);
	ck_assert_uint_eq(sink.got[0].input.device, LINK_POINTER_RELATIVE);
	add(&packer, 0, EV_KEY, KEY_A, 1);
	add(&packer, 0, EV_KEY, KEY_A, 0);
	ck_assert_uint_eq(sink.n, 3);
	ck_assert_uint_eq(sink.got[1].input.device, LINK_KEYBOARD);
	for (int i = 0; i < 30; i++)
		add(&packer, 1, EV_REL, REL_X, 1);
	packer_flush(&packer);
	uint32_t moved = 0;
	for (uint32_t i = 3; i < sink.n; i++)
		moved += sink.got[i].input.count - 1;
	ck_assert_uint_eq(moved, 30);
}
END_TEST

START_TEST(releases_are_never_lost)
{
	static struct stats stats;
	struct sink sink = { 0 };
	struct packer packer;
	packer_init(&packer, true, sink_send, &sink, &stats);
	add(&packer, 0, EV_KEY, KEY_A, 1);
	add(&packer, 0, EV_KEY, KEY_B, 1);
	sink.full = true;
	add(&packer, 0, EV_KEY, KEY_C, 1); /* dropped */
	add(&packer, 0, EV_KEY, KEY_A, 0);
	add(&packer, 0, EV_KEY, KEY_B, 0);
	add(&packer, 0, EV_KEY, KEY_C, 0);
	ck_assert(packer_flush(&packer));
	ck_assert_uint_eq(sink.n, 2);
	sink.full = false;
	ck_assert(!packer_flush(&packer));
	bool a = false, b = false;
	for (uint32_t i = 2; i < sink.n; i++) {
		ck_assert_int_eq(sink.got[i].input.event[0].value, 0);
		a |= sink.got[i].input.event[0].code == KEY_A;
		b |= sink.got[i].input.event[0].code == KEY_B;
	}
	ck_assert(a && b);
	uint32_t n = sink.n;
	ck_assert(!packer_flush(&packer));
	ck_assert_uint_eq(sink.n, n); /* once */
	ck_assert_uint_gt(atomic_load(&stats.input_dropped), 0);
}
END_TEST

static void touch(struct packer *packer, uint32_t slot, uint16_t code, int32_t value)
{
	struct router_event event = { .time_ns = 5, .device = 4, .type = EV_ABS, .code = code, .value = value, .slot = slot };
	packer_add(packer, &event);
}

/* Packet `i` is of this finger, and its second event is this. */
static void got_touch(const struct sink *sink, uint32_t i, uint32_t slot, uint16_t code, int32_t value, uint32_t count)
{
	ck_assert_uint_lt(i, sink->n);
	ck_assert_uint_eq(sink->got[i].input.device, LINK_TOUCH);
	ck_assert_uint_eq(sink->got[i].input.count, count);
	ck_assert_uint_eq(sink->got[i].input.event[0].code, ABS_MT_SLOT);
	ck_assert_uint_eq((uint32_t)sink->got[i].input.event[0].value, slot);
	ck_assert_uint_eq(sink->got[i].input.event[1].code, code);
	ck_assert_int_eq(sink->got[i].input.event[1].value, value);
}

START_TEST(one_finger_a_packet)
{
	static struct stats stats;
	struct sink sink = { 0 };
	struct packer packer;
	packer_init(&packer, true, sink_send, &sink, &stats);
	touch(&packer, 0, ABS_MT_TRACKING_ID, 0);
	touch(&packer, 0, ABS_MT_POSITION_X, 7);
	touch(&packer, 0, ABS_MT_POSITION_Y, 8);
	touch(&packer, 1, ABS_MT_POSITION_X, 9);
	packer_flush(&packer);
	ck_assert_uint_eq(sink.n, 2);
	got_touch(&sink, 0, 0, ABS_MT_TRACKING_ID, 0, 5);
	ck_assert_int_eq(sink.got[0].input.event[3].value, 8);
	got_touch(&sink, 1, 1, ABS_MT_POSITION_X, 9, 3);
	touch(&packer, 0, ABS_MT_TRACKING_ID, -1);
	touch(&packer, 0, ABS_MT_TRACKING_ID, 0); /* another finger, another id */
	packer_flush(&packer);
	got_touch(&sink, 2, 0, ABS_MT_TRACKING_ID, -1, 3);
	got_touch(&sink, 3, 0, ABS_MT_TRACKING_ID, 1, 3);
	/* Many places at once are several whole packets. */
	for (int i = 0; i < 30; i++)
		touch(&packer, 0, ABS_MT_POSITION_X, i);
	packer_flush(&packer);
	uint32_t moved = 0;
	for (uint32_t i = 4; i < sink.n; i++)
		moved += sink.got[i].input.count - 2;
	ck_assert_uint_eq(moved, 30);
	/* The ring is full while two fingers are lifted and a third touches: two liftings come later, once. */
	sink.full = true;
	touch(&packer, 0, ABS_MT_TRACKING_ID, -1);
	touch(&packer, 2, ABS_MT_TRACKING_ID, 0);
	touch(&packer, 9, ABS_MT_TRACKING_ID, -1);
	ck_assert(packer_flush(&packer));
	sink.full = false;
	uint32_t n = sink.n;
	ck_assert(!packer_flush(&packer));
	ck_assert_uint_eq(sink.n, n + 2);
	got_touch(&sink, n, 0, ABS_MT_TRACKING_ID, -1, 3);
	got_touch(&sink, n + 1, 9, ABS_MT_TRACKING_ID, -1, 3);
	ck_assert(!packer_flush(&packer));
	ck_assert_uint_eq(sink.n, n + 2);
	/* The UI's are the same. */
	sink.ui = true;
	packer_init(&packer, false, sink_send, &sink, &stats);
	touch(&packer, 0, ABS_MT_TRACKING_ID, 0);
	ck_assert(!packer_flush(&packer));
	ck_assert_uint_eq(sink.n, n + 3);
	got_touch(&sink, n + 2, 0, ABS_MT_TRACKING_ID, 0, 3);
}
END_TEST

START_TEST(buttons_follow_their_pointer)
{
	static struct stats stats;
	struct sink sink = { 0 };
	struct packer packer;
	packer_init(&packer, true, sink_send, &sink, &stats);
	add(&packer, 2, EV_ABS, ABS_X, 100);
	packer_flush(&packer);
	add(&packer, 2, EV_KEY, BTN_LEFT, 1);
	add(&packer, 1, EV_REL, REL_X, 1);
	packer_flush(&packer);
	add(&packer, 2, EV_KEY, BTN_LEFT, 0);
	add(&packer, 1, EV_KEY, BTN_LEFT, 1);
	ck_assert_uint_eq(sink.got[1].input.device, LINK_POINTER_ABSOLUTE);
	ck_assert_uint_eq(sink.got[3].input.device, LINK_POINTER_ABSOLUTE);
	ck_assert_uint_eq(sink.got[4].input.device, LINK_POINTER_RELATIVE);
}
END_TEST

START_TEST(axis_mapping)
{
	/* Picture fills the panel: edges are exact. */
	ck_assert_int_eq(packet_map_axis(0, 1280, 0, 1280), 0);
	ck_assert_int_eq(packet_map_axis(65535, 1280, 0, 1280), 65535);
	ck_assert_int_eq(packet_map_axis(65534, 1280, 0, 1280), 65535); /* a tablet of 32768 steps goes no further */
	/* Bars of 160 pixels left and right. */
	ck_assert_int_eq(packet_map_axis(0, 1280, 160, 960), 0);
	ck_assert_int_eq(packet_map_axis(65535, 1280, 160, 960), 65535);
	int64_t first = (int64_t)160 * 65535 / 1279 + 1;
	ck_assert_int_le(packet_map_axis((int32_t)first, 1280, 160, 960), 0);
	ck_assert_int_ge(packet_map_axis(32767, 1280, 160, 960), 32700);
	ck_assert_int_le(packet_map_axis(32767, 1280, 160, 960), 32835);
	ck_assert_int_eq(packet_map_axis(5, 0, 0, 0), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("program");
	TCase *c = tcase_create("program");
	tcase_add_test(c, defaults);
	tcase_add_test(c, refusals);
	tcase_add_test(c, probe);
	tcase_add_test(c, settings_file);
	tcase_add_test(c, environment);
	tcase_add_test(c, packets_are_whole);
	tcase_add_test(c, releases_are_never_lost);
	tcase_add_test(c, buttons_follow_their_pointer);
	tcase_add_test(c, one_finger_a_packet);
	tcase_add_test(c, axis_mapping);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
