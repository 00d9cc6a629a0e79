/*
 * Random event sequences against the router. After each step the deliveries are compared with those of a model that knows
 * nothing of bitmaps and counters: a list of fingers, each with the side its key belongs to. Independent of the model, the
 * properties themselves are checked. A failing sequence is shrunk, printed, and kept as a file in ROUTER_SEQUENCES (a folder, sequences/),
 * whose files are run first from then on.
 *
 * ROUTER_SEED (environment) starts another series; the seed is printed with a failure.
 */
#include <dirent.h>
#include <limits.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>

#include "random_hand.h"
#include "toggle/router.h"
#include "unit.h"

#define STEPS 2000
#define SEQUENCES 750 /* 1.5 million steps */
#define MAX_OUT 64
#define MAX_FINGERS 256

static const uint16_t codes[] = { KEY_GRAVE, KEY_F11, KEY_F12, KEY_A, KEY_B, KEY_LEFTALT, KEY_LEFTCTRL, KEY_RIGHTCTRL, KEY_F2, BTN_LEFT, KEY_MAX };

enum op { OP_EVENT, OP_PRESENT, OP_GONE, OP_RELEASE_ALL };

struct step {
	enum op op;
	struct router_event event;
	enum presentation_event change;
	enum router_sink sink;
};

/* One delivery or (sink NOBODY) one presentation change, or (type VT) a terminal. */
#define VT 0xffff
struct out {
	enum router_sink sink;
	uint16_t type, code;
	int32_t value;
	uint32_t slot;
};

struct outs {
	unsigned n;
	struct out out[MAX_OUT];
};

/* --- the model --- */

struct finger {
	uint32_t device;
	uint16_t code;
	bool to_guest;
	enum router_sink owner;
};

/* A finger on a touch screen; its place here is its number for the sides. */
struct model_touch {
	bool on;
	uint32_t device, slot;
	enum router_sink owner;
};

struct model {
	enum presentation state;
	struct model_touch touch[ROUTER_TOUCHES];
	unsigned n;
	struct finger finger[MAX_FINGERS];
};

static void emit(struct outs *outs, enum router_sink sink, uint16_t type, uint16_t code, int32_t value)
{
	if (outs->n < MAX_OUT)
		outs->out[outs->n] = (struct out){ sink, type, code, value, 0 };
	outs->n++;
}

static bool is_touch(const struct router_event *event)
{
	return event->type == EV_ABS && event->code >= ABS_MT_SLOT;
}

static void emit_touch(struct outs *outs, enum router_sink sink, unsigned place, uint16_t code, int32_t value)
{
	if (sink == ROUTER_NOBODY)
		return;
	emit(outs, sink, EV_ABS, code, value);
	if (outs->n <= MAX_OUT)
		outs->out[outs->n - 1].slot = place;
}

static void model_touch(struct model *model, struct outs *outs, const struct router_event *event)
{
	unsigned place = ROUTER_TOUCHES, empty = ROUTER_TOUCHES;
	bool down = event->code == ABS_MT_TRACKING_ID && event->value >= 0, up = event->code == ABS_MT_TRACKING_ID && !down;

	for (unsigned i = ROUTER_TOUCHES; i-- > 0;) {
		if (!model->touch[i].on)
			empty = i;
		else if (model->touch[i].device == event->device && model->touch[i].slot == event->slot)
			place = i;
	}
	if (event->to_guest || (down && (place < ROUTER_TOUCHES || empty == ROUTER_TOUCHES)) || (!down && place == ROUTER_TOUCHES))
		return;
	if (down) {
		place = empty;
		model->touch[place] = (struct model_touch){ true, event->device, event->slot, model->state == PRESENTATION_PRESENTED ? ROUTER_GUEST : ROUTER_UI };
	}
	emit_touch(outs, model->touch[place].owner, place, event->code, event->value);
	model->touch[place].on = !up;
}

/* Fingers of this side, or (NOBODY) of this device, are lifted as far as their side knows. */
static void model_drop_touches(struct model *model, struct outs *outs, enum router_sink sink, uint32_t device)
{
	for (unsigned i = 0; i < ROUTER_TOUCHES; i++) {
		struct model_touch *touch = &model->touch[i];
		if (!touch->on || (sink != ROUTER_NOBODY ? touch->owner != sink : touch->device != device))
			continue;
		emit_touch(outs, touch->owner, i, ABS_MT_TRACKING_ID, -1);
		touch->owner = ROUTER_NOBODY;
		touch->on = sink != ROUTER_NOBODY;
	}
}

static bool model_down(const struct model *model, enum router_sink sink, uint16_t code)
{
	for (unsigned i = 0; i < model->n; i++)
		if (model->finger[i].code == code && model->finger[i].owner == sink)
			return true;
	return false;
}

/* Fingers of this lane lose `sink`; codes that are up there thereby are released, in order of code. */
static void model_drop(struct model *model, struct outs *outs, enum router_sink sink, bool to_guest)
{
	if (!to_guest)
		model_drop_touches(model, outs, sink, 0);
	for (unsigned code = 0; code <= KEY_MAX; code++) {
		bool was = false;
		for (unsigned i = 0; i < model->n; i++) {
			struct finger *finger = &model->finger[i];
			if (finger->code == code && finger->owner == sink && finger->to_guest == to_guest) {
				finger->owner = ROUTER_NOBODY;
				was = true;
			}
		}
		if (was && !model_down(model, sink, (uint16_t)code))
			emit(outs, sink, EV_KEY, (uint16_t)code, 0);
	}
}

static void model_present(struct model *model, struct outs *outs, enum presentation state)
{
	if (state == model->state)
		return;
	model_drop(model, outs, model->state == PRESENTATION_PRESENTED ? ROUTER_GUEST : ROUTER_UI, false);
	model->state = state;
	emit(outs, ROUTER_NOBODY, 0, 0, (int32_t)state);
}

static void model_lift(struct model *model, struct outs *outs, unsigned i)
{
	struct finger gone = model->finger[i];

	model->finger[i] = model->finger[--model->n];
	if (gone.owner != ROUTER_NOBODY && !model_down(model, gone.owner, gone.code))
		emit(outs, gone.owner, EV_KEY, gone.code, 0);
}

/* Is a finger on this key, pressed by a person? */
static bool finger_on(const struct model *model, uint16_t code)
{
	for (unsigned i = 0; i < model->n; i++)
		if (model->finger[i].code == code && !model->finger[i].to_guest)
			return true;
	return false;
}

/* The terminal that Ctrl, Alt and this key ask for. */
static int model_terminal(const struct model *model, uint16_t code)
{
	bool chord = (finger_on(model, KEY_LEFTCTRL) || finger_on(model, KEY_RIGHTCTRL)) && finger_on(model, KEY_LEFTALT);

	return !chord ? 0 : code == KEY_F2 ? 2 : code == KEY_F11 ? 11 : code == KEY_F12 ? 12 : 0;
}

static void model_key(struct model *model, struct outs *outs, const struct router_event *event)
{
	enum router_sink shown = model->state == PRESENTATION_PRESENTED ? ROUTER_GUEST : ROUTER_UI;
	struct finger finger = { event->device, event->code, event->to_guest, event->to_guest ? ROUTER_GUEST : shown };
	bool first = true;

	for (unsigned i = 0; i < model->n; i++) {
		if (model->finger[i].code != event->code || model->finger[i].to_guest != event->to_guest)
			continue;
		if (model->finger[i].device == event->device) {
			if (event->value == 0)
				model_lift(model, outs, i);
			return;
		}
		first = false;
		finger.owner = model->finger[i].owner;
	}
	if (event->value != 1)
		return;
	bool special = first && !event->to_guest;
	int terminal = special ? model_terminal(model, event->code) : 0;
	bool toggles = special && terminal == 0 && (event->code == KEY_GRAVE || event->code == KEY_F11 || event->code == KEY_F12);
	if (toggles && finger_on(model, KEY_RIGHTCTRL)) {
		/* Passed on: whoever has the pass key from that person loses it. */
		toggles = false;
		enum router_sink loser = ROUTER_NOBODY;
		for (unsigned i = 0; i < model->n; i++) {
			if (model->finger[i].code != KEY_RIGHTCTRL || model->finger[i].to_guest)
				continue;
			loser = model->finger[i].owner;
			model->finger[i].owner = ROUTER_NOBODY;
		}
		if (loser != ROUTER_NOBODY && !model_down(model, loser, KEY_RIGHTCTRL))
			emit(outs, loser, EV_KEY, KEY_RIGHTCTRL, 0);
	}
	if (terminal != 0)
		emit(outs, ROUTER_NOBODY, VT, 0, terminal);
	if (toggles || terminal != 0)
		finger.owner = ROUTER_NOBODY;
	bool press = first && finger.owner != ROUTER_NOBODY && !model_down(model, finger.owner, event->code);
	model->finger[model->n++] = finger;
	if (press)
		emit(outs, finger.owner, EV_KEY, event->code, 1);
	if (!toggles)
		return;
	/* The two conditions of the seed document. */
	if (model->state == PRESENTATION_PRESENTED && (event->code == KEY_F12 || event->code == KEY_GRAVE))
		model_present(model, outs, PRESENTATION_HIDDEN);
	else if (model->state != PRESENTATION_PRESENTED && (event->code == KEY_F11 || event->code == KEY_GRAVE))
		model_present(model, outs, PRESENTATION_PRESENTED);
}

static void model_step(struct model *model, struct outs *outs, const struct step *step)
{
	switch (step->op) {
	case OP_EVENT:
		if (step->event.type == EV_KEY)
			model_key(model, outs, &step->event);
		else if (is_touch(&step->event))
			model_touch(model, outs, &step->event);
		else
			emit(outs, step->event.to_guest || model->state == PRESENTATION_PRESENTED ? ROUTER_GUEST : ROUTER_UI,
				step->event.type, step->event.code, step->event.value);
		break;
	case OP_PRESENT:
		if (step->change == PRESENTATION_TOGGLE)
			model_present(model, outs, model->state == PRESENTATION_HIDDEN ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN);
		else
			model_present(model, outs, step->change == PRESENTATION_SHOW ? PRESENTATION_PRESENTED : PRESENTATION_HIDDEN);
		break;
	case OP_GONE:
		/* Routed fingers first, then addressed, each in order of code: the order of the router's answer is part of the check. */
		model_drop_touches(model, outs, ROUTER_NOBODY, step->event.device);
		for (int lane = 0; lane < 2; lane++)
			for (unsigned code = 0; code <= KEY_MAX; code++)
				for (unsigned i = 0; i < model->n; i++)
					if (model->finger[i].device == step->event.device && model->finger[i].code == code && model->finger[i].to_guest == (lane == 1))
						model_lift(model, outs, i--);
		break;
	case OP_RELEASE_ALL:
		for (int lane = 0; lane < 2; lane++) {
			if (step->sink != ROUTER_GUEST)
				model_drop(model, outs, ROUTER_UI, lane == 1);
			if (step->sink != ROUTER_UI)
				model_drop(model, outs, ROUTER_GUEST, lane == 1);
		}
		break;
	}
}

/* --- one run --- */

struct run {
	struct router *router;
	struct outs outs;
	bool down[ROUTER_GUEST + 1][KEY_MAX + 1];
	bool touched[ROUTER_GUEST + 1][ROUTER_TOUCHES];
	uint32_t held[ROUTER_GUEST + 1];
	const char *broken; /* first property found broken */
	const struct step *step;
	const struct model *model; /* as it was before the step */
};

/* Then the pass key is held there for a reason of its own. */
static bool guest_has_pass_by_command(const struct model *model, enum router_sink sink)
{
	for (unsigned i = 0; i < model->n; i++)
		if (sink == ROUTER_GUEST && model->finger[i].code == router_keys_default.pass && model->finger[i].to_guest)
			return true;
	return false;
}

static void on_deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	struct run *run = data;

	emit(&run->outs, sink, event->type, event->code, event->value);
	if (sink != ROUTER_UI && sink != ROUTER_GUEST) {
		run->broken = "delivered to nobody";
		return;
	}
	if (is_touch(event)) {
		run->outs.out[run->outs.n - 1].slot = event->slot;
		bool change = event->code == ABS_MT_TRACKING_ID, down = change && event->value >= 0;
		if (run->touched[sink][event->slot] == down)
			run->broken = "a finger moves or is lifted that did not touch";
		if (change)
			run->held[sink] += down ? 1u : UINT32_MAX;
		if (change)
			run->touched[sink][event->slot] = down;
		return;
	}
	if (event->type != EV_KEY)
		return;
	if (event->value == 2)
		run->broken = "repeat delivered";
	else if (run->down[sink][event->code] == (event->value == 1))
		run->broken = "press and release do not alternate";
	run->down[sink][event->code] = event->value == 1;
	if (event->value == 1)
		run->held[sink]++;
	else
		run->held[sink]--;
	if (sink == ROUTER_GUEST && event->value == 1 && !event->to_guest && router_presentation(run->router) == PRESENTATION_HIDDEN)
		run->broken = "un-addressed press to the hidden guest";
	if (sink == ROUTER_UI && event->value == 1 && router_presentation(run->router) == PRESENTATION_PRESENTED)
		run->broken = "press to the hidden UI";
	bool toggle_key = event->code == KEY_GRAVE || event->code == KEY_F11 || event->code == KEY_F12;
	if (!event->to_guest && event->value == 1 && toggle_key && !finger_on(run->model, router_keys_default.pass))
		run->broken = "toggle key delivered outside the pass chord";
	if (!event->to_guest && event->value == 1 && toggle_key && run->down[sink][router_keys_default.pass] && !guest_has_pass_by_command(run->model, sink))
		run->broken = "toggle key typed together with the pass key";
}

static void on_switch(void *data, int vt)
{
	struct run *run = data;

	emit(&run->outs, ROUTER_NOBODY, VT, 0, vt);
}

static void on_present(void *data, enum presentation state, uint64_t time_ns)
{
	struct run *run = data;

	emit(&run->outs, ROUTER_NOBODY, 0, 0, (int32_t)state);
	if (time_ns != run->step->event.time_ns)
		run->broken = "presentation change with a foreign time stamp";
	if (run->step->op == OP_EVENT && (run->step->event.to_guest || run->step->event.value != 1))
		run->broken = "toggled by something else than a press";
	if (state == PRESENTATION_PRESENTED && run->held[ROUTER_UI] != 0)
		run->broken = "UI holds keys after losing input";
}

/* Each finger up at the end of a sequence: gone devices, so nothing may be held anywhere. */
static void check_all_up(struct run *run)
{
	for (uint32_t device = 0; device < ROUTER_DEVICES; device++)
		router_device_gone(run->router, device, 1);
	if (run->held[ROUTER_UI] != 0 || run->held[ROUTER_GUEST] != 0)
		run->broken = "keys held with every finger up";
}

/* Runs the steps; NULL, or what broke, and *at is the step it broke in. */
static const char *check_sequence(const struct step *steps, unsigned n, unsigned *at)
{
	static struct run run;
	static struct model model;
	struct router_output output = { .deliver = on_deliver, .present = on_present, .switch_vt = on_switch, .data = &run };

	memset(&run, 0, sizeof(run));
	memset(&model, 0, sizeof(model));
	model.state = PRESENTATION_HIDDEN;
	run.model = &model;
	run.router = router_create(&router_keys_default, &output, PRESENTATION_HIDDEN);
	for (*at = 0; *at < n && !run.broken; (*at)++) {
		const struct step *step = &steps[*at];
		struct outs expected = { .n = 0 };

		run.outs.n = 0;
		run.step = step;
		switch (step->op) {
		case OP_EVENT:
			router_handle(run.router, &step->event);
			break;
		case OP_PRESENT:
			router_present(run.router, step->change, step->event.time_ns);
			break;
		case OP_GONE:
			router_device_gone(run.router, step->event.device, step->event.time_ns);
			break;
		case OP_RELEASE_ALL:
			router_release_all(run.router, step->sink, step->event.time_ns);
			break;
		}
		model_step(&model, &expected, step);
		if (run.broken)
			break;
		if (step->op == OP_EVENT && step->event.type != EV_KEY && !is_touch(&step->event) && run.outs.n != 1)
			run.broken = "motion not delivered to exactly one side";
		else if (run.outs.n != expected.n || run.outs.n > MAX_OUT || memcmp(run.outs.out, expected.out, run.outs.n * sizeof(struct out)) != 0)
			run.broken = "deliveries differ from the model";
		else if (router_presentation(run.router) != model.state)
			run.broken = "presentation differs from the model";
		else if (router_held(run.router, ROUTER_UI) != run.held[ROUTER_UI] || router_held(run.router, ROUTER_GUEST) != run.held[ROUTER_GUEST])
			run.broken = "router_held is wrong";
		if (run.broken)
			break;
	}
	if (!run.broken)
		check_all_up(&run);
	router_destroy(run.router);
	return run.broken;
}

/* --- generator and shrinking --- */

static struct random series;

static uint32_t below(uint32_t n)
{
	return random_below(&series, n);
}

static struct step random_step(uint64_t time_ns)
{
	uint32_t dice = below(1000);
	struct step step = { .op = OP_EVENT };

	step.event.time_ns = time_ns;
	step.event.device = below(4) == 3 ? ROUTER_DEVICES - 1 : below(3);
	if (dice < 5) {
		step.op = OP_GONE;
	} else if (dice < 8) {
		step.op = OP_RELEASE_ALL;
		step.sink = (enum router_sink)below(3);
	} else if (dice < 20) {
		step.op = OP_PRESENT;
		step.change = (enum presentation_event)below(3);
	} else {
		step.event.to_guest = below(6) == 0;
		if (dice < 300 && dice >= 80) {
			random_touch(&series, 6, &step.event);
		} else if (dice < 80) {
			step.event.type = below(2) ? EV_REL : EV_ABS;
			step.event.code = (uint16_t)below(2);
			step.event.value = (int32_t)below(100) - 50;
		} else {
			step.event.type = EV_KEY;
			step.event.code = codes[below(sizeof(codes) / sizeof(codes[0]))];
			step.event.value = (int32_t)below(3);
		}
	}
	return step;
}

/* Removes steps as long as the sequence still breaks; returns the new length. */
static unsigned shrink(struct step *steps, unsigned n)
{
	static struct step attempt[STEPS];
	unsigned at;

	for (unsigned chunk = n / 2 ? n / 2 : 1; chunk > 0; chunk /= 2) {
		for (unsigned from = 0; from + chunk <= n;) {
			memcpy(attempt, steps, from * sizeof(*steps));
			memcpy(attempt + from, steps + from + chunk, (n - from - chunk) * sizeof(*steps));
			if (check_sequence(attempt, n - chunk, &at)) {
				n -= chunk;
				memcpy(steps, attempt, n * sizeof(*steps));
			} else {
				from += chunk;
			}
		}
	}
	return n;
}

/* --- sequences as text: a step a line, # begins a comment --- */

static const char *const changes[] = { "toggle", "show", "hide" };
static const char *const sinks[] = { "both", "ui", "guest" };

static void print_step(FILE *file, const struct step *step)
{
	switch (step->op) {
	case OP_EVENT:
		fprintf(file, "event %u %u %u %d%s", step->event.device, step->event.type, step->event.code, step->event.value,
			step->event.to_guest ? " guest" : "");
		if (is_touch(&step->event))
			fprintf(file, " slot %u", step->event.slot);
		fputc('\n', file);
		break;
	case OP_PRESENT:
		fprintf(file, "command %s\n", changes[step->change]);
		break;
	case OP_GONE:
		fprintf(file, "gone %u\n", step->event.device);
		break;
	case OP_RELEASE_ALL:
		fprintf(file, "release %s\n", sinks[step->sink]);
		break;
	}
}

/* Which of three words it is; -1: none. */
static int word_of(const char *word, const char *const words[3])
{
	for (int i = 0; i < 3; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return -1;
}

static bool parse_step(const char *line, struct step *step)
{
	unsigned device, type, code;
	char word[16] = "";
	int value, n = sscanf(line, "event %u %u %u %d %15s", &device, &type, &code, &value, word), which;

	if (n >= 4) {
		step->op = OP_EVENT;
		step->event.device = device;
		step->event.type = (uint16_t)type;
		step->event.code = (uint16_t)code;
		step->event.value = value;
		step->event.to_guest = strstr(line, " guest") != NULL;
		const char *slot = strstr(line, " slot ");
		step->event.slot = slot ? (uint32_t)strtoul(slot + 6, NULL, 10) : 0;
		return n == 4 || step->event.to_guest || slot != NULL;
	}
	if (sscanf(line, "gone %u", &device) == 1) {
		step->op = OP_GONE;
		step->event.device = device;
		return true;
	}
	if (sscanf(line, "command %15s", word) == 1 && (which = word_of(word, changes)) >= 0) {
		step->op = OP_PRESENT;
		step->change = (enum presentation_event)which;
		return true;
	}
	if (sscanf(line, "release %15s", word) == 1 && (which = word_of(word, sinks)) >= 0) {
		step->op = OP_RELEASE_ALL;
		step->sink = (enum router_sink)which;
		return true;
	}
	return false;
}

/* The steps of a file; aborts the test where a line is none. */
static unsigned read_steps(const char *path, struct step *steps)
{
	char line[128];
	unsigned n = 0;
	FILE *file = fopen(path, "re");

	ck_assert_msg(file != NULL, "%s cannot be read", path);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		ck_assert_msg(n < STEPS, "%s is too long", path);
		steps[n] = (struct step){ .event.time_ns = n + 1 };
		ck_assert_msg(parse_step(line, &steps[n]), "%s: no step: %s", path, line);
		n++;
	}
	fclose(file);
	return n;
}

/* A file of the folder for a sequence that failed, if that can be written. */
static void keep(const char *name, const char *broken, const struct step *steps, unsigned n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), ROUTER_SEQUENCES "/%s", name);
	FILE *file = fopen(path, "we");
	if (!file)
		return;
	fprintf(file, "# Found by random: %s\n", broken);
	for (unsigned i = 0; i < n; i++)
		print_step(file, &steps[i]);
	fclose(file);
	fprintf(stderr, "# kept as %s\n", path);
}

START_TEST(sequences_that_failed_once)
{
	static struct step steps[STEPS];
	unsigned found = 0, at;
	DIR *dir = opendir(ROUTER_SEQUENCES);

	ck_assert_msg(dir != NULL, ROUTER_SEQUENCES " cannot be read");
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		char path[PATH_MAX];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), ROUTER_SEQUENCES "/%s", entry->d_name);
		unsigned n = read_steps(path, steps);
		const char *broken = check_sequence(steps, n, &at);
		ck_assert_msg(broken == NULL, "%s: step %u: %s", path, at + 1, broken);
		found++;
	}
	closedir(dir);
	ck_assert_uint_ge(found, 6);
}
END_TEST

START_TEST(random_sequences_keep_every_property)
{
	static struct step steps[STEPS];
	uint64_t seed = random_seed("ROUTER_SEED", 20240229);
	unsigned presses = 0;

	for (unsigned sequence = 0; sequence < SEQUENCES; sequence++) {
		unsigned at;
		series = random_series(seed + sequence);
		for (unsigned i = 0; i < STEPS; i++) {
			steps[i] = random_step((uint64_t)i + 1);
			presses += steps[i].op == OP_EVENT && steps[i].event.type == EV_KEY && steps[i].event.value == 1;
		}
		const char *broken = check_sequence(steps, STEPS, &at);
		if (!broken)
			continue;
		unsigned n = shrink(steps, at < STEPS ? at + 1 : STEPS);
		fprintf(stderr, "# ROUTER_SEED=%llu: %s; %u steps suffice:\n", (unsigned long long)(seed + sequence), broken, n);
		char name[64];
		for (unsigned i = 0; i < n; i++)
			print_step(stderr, &steps[i]);
		snprintf(name, sizeof(name), "seed-%llu", (unsigned long long)(seed + sequence));
		keep(name, broken, steps, n);
		ck_abort_msg("seed %llu: %s", (unsigned long long)(seed + sequence), broken);
	}
	/* The generator must not have gone idle. */
	ck_assert_uint_gt(presses, SEQUENCES * STEPS / 5);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("router-random");
	TCase *tcase = tcase_create("random");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, sequences_that_failed_once);
	tcase_add_test(tcase, random_sequences_keep_every_property);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
