/*
 * Random event sequences against the router. After each step the deliveries are compared with those of a model that knows
 * nothing of bitmaps and counters: a list of fingers, each with the side its key belongs to. Independent of the model, the
 * properties themselves are checked. A failing sequence is shrunk before it is printed.
 *
 * ROUTER_SEED (environment) starts another series; the seed is printed with a failure.
 */
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>

#include "toggle/router.h"
#include "unit.h"

#define STEPS 2000
#define SEQUENCES 750 /* 1.5 million steps */
#define MAX_OUT 64
#define MAX_FINGERS 256

static const uint16_t codes[] = { KEY_GRAVE, KEY_F11, KEY_F12, KEY_A, KEY_B, KEY_LEFTSHIFT, KEY_LEFTCTRL, BTN_LEFT, KEY_MAX, KEY_ESC };
static const struct router_keys keys = { .toggle = KEY_GRAVE, .show = KEY_F11, .hide = KEY_F12 };

enum op { OP_EVENT, OP_PRESENT, OP_GONE, OP_RELEASE_ALL };

struct step {
	enum op op;
	struct router_event event;
	enum presentation_event change;
	enum router_sink sink;
};

/* One delivery or (sink NOBODY) one presentation change. */
struct out {
	enum router_sink sink;
	uint16_t type, code;
	int32_t value;
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

struct model {
	enum presentation state;
	unsigned n;
	struct finger finger[MAX_FINGERS];
};

static void emit(struct outs *outs, enum router_sink sink, uint16_t type, uint16_t code, int32_t value)
{
	if (outs->n < MAX_OUT)
		outs->out[outs->n] = (struct out){ sink, type, code, value };
	outs->n++;
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
	bool toggles = first && !event->to_guest && (event->code == KEY_GRAVE || event->code == KEY_F11 || event->code == KEY_F12);
	if (toggles)
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
	uint32_t held[ROUTER_GUEST + 1];
	const char *broken; /* first property found broken */
	const struct step *step;
};

static void on_deliver(void *data, enum router_sink sink, const struct router_event *event)
{
	struct run *run = data;

	emit(&run->outs, sink, event->type, event->code, event->value);
	if (sink != ROUTER_UI && sink != ROUTER_GUEST) {
		run->broken = "delivered to nobody";
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
	if (!event->to_guest && event->value == 1 && (event->code == keys.toggle || event->code == keys.show || event->code == keys.hide))
		run->broken = "toggle key delivered";
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
	struct router_output output = { .deliver = on_deliver, .present = on_present, .data = &run };

	memset(&run, 0, sizeof(run));
	memset(&model, 0, sizeof(model));
	model.state = PRESENTATION_HIDDEN;
	run.router = router_create(&keys, &output, PRESENTATION_HIDDEN);
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
		if (step->op == OP_EVENT && step->event.type != EV_KEY && run.outs.n != 1)
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

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	/* xorshift64* */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static struct step random_step(uint64_t time_ns)
{
	uint32_t dice = random_below(1000);
	struct step step = { .op = OP_EVENT };

	step.event.time_ns = time_ns;
	step.event.device = random_below(4) == 3 ? ROUTER_DEVICES - 1 : random_below(3);
	if (dice < 5) {
		step.op = OP_GONE;
	} else if (dice < 8) {
		step.op = OP_RELEASE_ALL;
		step.sink = (enum router_sink)random_below(3);
	} else if (dice < 20) {
		step.op = OP_PRESENT;
		step.change = (enum presentation_event)random_below(3);
	} else {
		step.event.to_guest = random_below(6) == 0;
		if (dice < 80) {
			step.event.type = random_below(2) ? EV_REL : EV_ABS;
			step.event.code = (uint16_t)random_below(2);
			step.event.value = (int32_t)random_below(100) - 50;
		} else {
			step.event.type = EV_KEY;
			step.event.code = codes[random_below(sizeof(codes) / sizeof(codes[0]))];
			step.event.value = (int32_t)random_below(3);
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

static void print_step(const struct step *step)
{
	static const char *const changes[] = { "toggle", "show", "hide" };

	switch (step->op) {
	case OP_EVENT:
		fprintf(stderr, "#   device %u type %u code %u value %d%s\n", step->event.device, step->event.type, step->event.code,
			step->event.value, step->event.to_guest ? " to guest" : "");
		break;
	case OP_PRESENT:
		fprintf(stderr, "#   command %s\n", changes[step->change]);
		break;
	case OP_GONE:
		fprintf(stderr, "#   device %u gone\n", step->event.device);
		break;
	case OP_RELEASE_ALL:
		fprintf(stderr, "#   release all of sink %d\n", step->sink);
		break;
	}
}

START_TEST(random_sequences_keep_every_property)
{
	static struct step steps[STEPS];
	const char *text = getenv("ROUTER_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 20240229;
	unsigned changes = 0;

	for (unsigned sequence = 0; sequence < SEQUENCES; sequence++) {
		unsigned at;
		random_state = (seed + sequence) * 0x9e3779b97f4a7c15ull | 1;
		for (unsigned i = 0; i < STEPS; i++) {
			steps[i] = random_step((uint64_t)i + 1);
			changes += steps[i].op == OP_EVENT && steps[i].event.type == EV_KEY && steps[i].event.value == 1;
		}
		const char *broken = check_sequence(steps, STEPS, &at);
		if (!broken)
			continue;
		unsigned n = shrink(steps, at < STEPS ? at + 1 : STEPS);
		fprintf(stderr, "# ROUTER_SEED=%llu: %s; %u steps suffice:\n", (unsigned long long)(seed + sequence), broken, n);
		for (unsigned i = 0; i < n; i++)
			print_step(&steps[i]);
		ck_abort_msg("seed %llu: %s", (unsigned long long)(seed + sequence), broken);
	}
	/* The generator must not have gone idle. */
	ck_assert_uint_gt(changes, SEQUENCES * STEPS / 5);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("router-random");
	TCase *tcase = tcase_create("random");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, random_sequences_keep_every_property);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
