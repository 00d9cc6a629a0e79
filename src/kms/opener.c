#include "kms/opener.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mailbox.h"
#include "base/thread.h"
#include "kms/backend.h"

enum question { QUESTION_CLOSE, QUESTION_LOOK, QUESTION_END };

struct opener {
	struct backend *backend;
	pthread_t thread;
	struct mailbox *questions; /* enum question */
	struct mailbox *answers;   /* bool */
	char why[OPENER_WHY];             /* the asker's from the answer to the next question */
};

static void *run(void *arg)
{
	struct opener *opener = arg;
	struct pollfd asked = {.fd = mailbox_fd(opener->questions), .events = POLLIN};
	for (;;) {
		enum question question;
		poll(&asked, 1, -1);
		mailbox_ack(opener->questions);
		while (mailbox_take(opener->questions, &question)) {
			if (question == QUESTION_END)
				return NULL;
			bool opened = opener->backend->ops->open_card(opener->backend, question == QUESTION_LOOK, opener->why, sizeof(opener->why));
			mailbox_post(opener->answers, &opened);
		}
	}
}

static void forget(struct opener *opener)
{
	if (opener->questions)
		mailbox_destroy(opener->questions);
	if (opener->answers)
		mailbox_destroy(opener->answers);
	free(opener);
}

struct opener *opener_create(struct backend *backend)
{
	struct opener *opener = calloc(1, sizeof(*opener));
	if (!opener)
		return NULL;
	opener->backend = backend;
	opener->questions = mailbox_create(4, sizeof(enum question));
	opener->answers = mailbox_create(4, sizeof(bool));
	if (opener->questions && opener->answers && thread_start(&opener->thread, "card", 0, run, opener) == 0)
		return opener;
	forget(opener);
	return NULL;
}

void opener_destroy(struct opener *opener)
{
	if (!opener)
		return;
	enum question end = QUESTION_END;
	mailbox_post(opener->questions, &end);
	pthread_join(opener->thread, NULL);
	forget(opener);
}

void opener_ask(struct opener *opener, bool look)
{
	enum question question = look ? QUESTION_LOOK : QUESTION_CLOSE;
	mailbox_post(opener->questions, &question);
}

int opener_fd(const struct opener *opener)
{
	return mailbox_fd(opener->answers);
}

bool opener_answer(struct opener *opener, bool *opened, const char **why)
{
	mailbox_ack(opener->answers);
	*why = opener->why;
	return mailbox_take(opener->answers, opened);
}
