/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The grammar of the command line. */
#include "control/cli/grammar.h"

#include "control/cli/catalogue.h"
#include "control/cli/filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static bool is_set(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* The n-th word of a command, or NULL behind its last. @param size set to its length */
static const char *command_word(const json_t *command, unsigned n, size_t *size)
{
	const char *at = text_of(command, "words");

	while (n-- > 0) {
		at = strchr(at, ' ');
		if (at == NULL)
			return NULL;
		at++;
	}
	*size = strcspn(at, " ");
	return *size > 0 ? at : NULL;
}

static bool is_word(const char *at, size_t size, const char *text)
{
	return strlen(text) == size && memcmp(at, text, size) == 0;
}

static bool begins(const char *at, size_t size, const char *prefix)
{
	return strlen(prefix) <= size && memcmp(at, prefix, strlen(prefix)) == 0;
}

/* ---- Walking down the commands' words ---- */

struct walk {
	const json_t *commands;
	unsigned depth;		   /**< words understood */
	char path[WORDS_LINE_MAX]; /**< they, in full, with blanks */
};

/* Whether a command lies on the walk's way. */
static bool is_on_way(const struct walk *walk, const json_t *command)
{
	const char *words = text_of(command, "words");
	size_t size = strlen(walk->path);

	return size == 0 || (strncmp(words, walk->path, size) == 0 &&
			     (words[size] == ' ' || words[size] == '\0'));
}

static const json_t *command_here(const struct walk *walk)
{
	const json_t *command;
	size_t i;

	json_array_foreach(walk->commands, i, command)
	{
		if (strcmp(text_of(command, "words"), walk->path) == 0)
			return command;
	}
	return NULL;
}

static void add_choice(struct grammar_choice *choices, unsigned *count, const char *word,
		       size_t size, const char *help, bool is_value)
{
	struct grammar_choice *choice;

	for (unsigned i = 0; i < *count; i++) {
		if (is_word(word, size, choices[i].word))
			return;
	}
	if (*count == GRAMMAR_CHOICES_MAX)
		return;
	choice = &choices[(*count)++];
	snprintf(choice->word, sizeof(choice->word), "%.*s", (int)size, word);
	snprintf(choice->help, sizeof(choice->help), "%s", help);
	choice->is_value = is_value;
}

/* What the next word is for: its command, or what all behind it have in common. */
static const char *help_of_word(const struct walk *walk, const char *word, size_t size,
				const json_t *command)
{
	char path[WORDS_LINE_MAX + 64];
	size_t after;

	if (command_word(command, walk->depth + 1, &after) == NULL)
		return text_of(command, "help");
	snprintf(path, sizeof(path), "%s%s%.*s", walk->path, walk->path[0] != '\0' ? " " : "",
		 (int)size, word);
	return catalogue_group_help(path);
}

/* The next words from here that begin with a prefix. */
static unsigned next_words(const struct walk *walk, const char *prefix,
			   struct grammar_choice *choices)
{
	const json_t *command;
	unsigned count = 0;
	size_t i;

	json_array_foreach(walk->commands, i, command)
	{
		size_t size;
		const char *word = command_word(command, walk->depth, &size);

		if (word == NULL || !is_on_way(walk, command) || !begins(word, size, prefix))
			continue;
		add_choice(choices, &count, word, size, help_of_word(walk, word, size, command),
			   false);
	}
	return count;
}

static void list_choices(const struct grammar_choice *choices, unsigned count, char *out,
			 size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < count && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? ", " : "",
				       choices[i].word);
}

/* One word further. @return 0; -ENOENT: no such word; -EINVAL: several begin so (error says which)
 */
static int step(struct walk *walk, const char *word, char *error, size_t size)
{
	struct grammar_choice choices[GRAMMAR_CHOICES_MAX];
	unsigned count = next_words(walk, word, choices), chosen = 0;
	char list[512];
	size_t at;

	if (count == 0)
		return -ENOENT;
	while (chosen < count && strcmp(choices[chosen].word, word) != 0)
		chosen++;
	if (chosen == count && count > 1) {
		list_choices(choices, count, list, sizeof(list));
		snprintf(error, size, "'%.60s' may be %s", word, list);
		return -EINVAL;
	}
	if (chosen == count)
		chosen = 0;
	at = strlen(walk->path);
	snprintf(walk->path + at, sizeof(walk->path) - at, "%s%s", at > 0 ? " " : "",
		 choices[chosen].word);
	walk->depth++;
	return 0;
}

/* As many words as lead to a command. @return how many were taken, or negative errno with error set
 */
static int walk_words(struct walk *walk, const struct words *words, unsigned count, char *error,
		      size_t size)
{
	struct grammar_choice choices[GRAMMAR_CHOICES_MAX];
	char list[512];
	unsigned i;

	for (i = 0; i < count; i++) {
		int result = step(walk, words->word[i], error, size);

		if (result == -EINVAL)
			return result;
		if (result == -ENOENT && command_here(walk) != NULL)
			return (int)i;
		if (result == -ENOENT) {
			list_choices(choices, next_words(walk, "", choices), list, sizeof(list));
			snprintf(error, size, "'%.60s' is not known here; there is %s",
				 words->word[i], list);
			return -EINVAL;
		}
	}
	return (int)i;
}

/* ---- Arguments ---- */

/* The first positional argument that is not given yet. */
static const json_t *next_positional(const json_t *command, const json_t *given)
{
	const json_t *argument;
	size_t i;

	json_array_foreach(json_object_get(command, "arguments"), i, argument)
	{
		if (is_set(argument, "positional") &&
		    json_object_get(given, text_of(argument, "name")) == NULL)
			return argument;
	}
	return NULL;
}

/* An argument by its name or the beginning of it. @return NULL with error set when several begin
 * so, or none */
static const json_t *find_argument(const json_t *command, const char *word, char *error,
				   size_t size)
{
	const json_t *argument, *found = NULL;
	unsigned count = 0;
	size_t i;

	json_array_foreach(json_object_get(command, "arguments"), i, argument)
	{
		const char *name = text_of(argument, "name");

		if (is_set(argument, "positional"))
			continue;
		if (strcmp(name, word) == 0)
			return argument;
		if (strncmp(name, word, strlen(word)) == 0) {
			found = argument;
			count++;
		}
	}
	if (count == 1)
		return found;
	snprintf(error, size,
		 count == 0 ? "'%.60s' is not known after '%s'"
			    : "'%.60s' may be more than one thing after '%s'",
		 word, text_of(command, "words"));
	return NULL;
}

/*
 * Take arguments from words. @param waiting set to a named argument whose value is still to come
 * @return 0 or -EINVAL
 */
static int take_arguments(const json_t *command, const struct words *words, unsigned from,
			  unsigned count, json_t *given, const json_t **waiting, char *error,
			  size_t size)
{
	*waiting = NULL;
	for (unsigned i = from; i < count; i++) {
		const json_t *argument = next_positional(command, given);
		const char *name;

		if (argument == NULL)
			argument = find_argument(command, words->word[i], error, size);
		if (argument == NULL)
			return -EINVAL;
		name = text_of(argument, "name");
		if (json_object_get(given, name) != NULL) {
			snprintf(error, size, "'%s' is given twice", name);
			return -EINVAL;
		}
		if (is_set(argument, "flag")) {
			json_object_set_new(given, name, json_true());
			continue;
		}
		if (!is_set(argument, "positional") && ++i == count) {
			*waiting = argument;
			return 0;
		}
		if (json_object_set_new(given, name, json_string(words->word[i])) != 0) {
			snprintf(error, size, "'%s' is not UTF-8 text", name);
			return -EINVAL;
		}
	}
	return 0;
}

static const json_t *missing_argument(const json_t *command, const json_t *given)
{
	const json_t *argument;
	size_t i;

	json_array_foreach(json_object_get(command, "arguments"), i, argument)
	{
		if (is_set(argument, "required") &&
		    json_object_get(given, text_of(argument, "name")) == NULL)
			return argument;
	}
	return NULL;
}

static json_t *words_array(const char *path)
{
	json_t *array = json_array();

	while (*path != '\0') {
		size_t size = strcspn(path, " ");

		json_array_append_new(array, json_stringn(path, size));
		path += size + (path[size] == ' ');
	}
	return array;
}

int grammar_parse(const json_t *commands, const struct words *words, unsigned count,
		  struct grammar_request *out, char *error, size_t size)
{
	struct walk walk = {.commands = commands};
	struct grammar_choice choices[GRAMMAR_CHOICES_MAX];
	int taken = walk_words(&walk, words, count, error, size);
	json_t *given;
	const json_t *waiting, *missing;
	char list[512];

	memset(out, 0, sizeof(*out));
	if (taken < 0)
		return taken;
	out->command = command_here(&walk);
	if (out->command == NULL) {
		list_choices(choices, next_words(&walk, "", choices), list, sizeof(list));
		snprintf(error, size, "more is needed: %s", list);
		return -EINVAL;
	}
	given = json_object();
	if (take_arguments(out->command, words, (unsigned)taken, count, given, &waiting, error,
			   size) != 0)
		goto fail;
	missing = waiting != NULL ? waiting : missing_argument(out->command, given);
	if (missing != NULL) {
		snprintf(error, size, "%s is needed: %s", text_of(missing, "name"),
			 text_of(missing, "help"));
		goto fail;
	}
	out->request =
		json_pack("{s:o, s:o}", "command", words_array(walk.path), "arguments", given);
	return 0;
fail:
	json_decref(given);
	return -EINVAL;
}

/* ---- What may come next ---- */

static void value_choice(const json_t *argument, struct grammar_choice *choices, unsigned *count)
{
	char word[64];

	snprintf(word, sizeof(word), "<%.60s>", text_of(argument, "name"));
	add_choice(choices, count, word, strlen(word), text_of(argument, "help"), true);
}

static void argument_choices(const json_t *command, const json_t *given, const char *prefix,
			     struct grammar_choice *choices, unsigned *count)
{
	const json_t *argument = next_positional(command, given);
	size_t i;

	if (argument != NULL) {
		value_choice(argument, choices, count);
		if (is_set(argument, "required"))
			return;
	}
	json_array_foreach(json_object_get(command, "arguments"), i, argument)
	{
		const char *name = text_of(argument, "name");

		if (!is_set(argument, "positional") && json_object_get(given, name) == NULL &&
		    strncmp(name, prefix, strlen(prefix)) == 0)
			add_choice(choices, count, name, strlen(name), text_of(argument, "help"),
				   false);
	}
	if (prefix[0] == '\0' && missing_argument(command, given) == NULL) {
		add_choice(choices, count, "<enter>", 7, "run it", true);
		add_choice(choices, count, "|", 1, "filter or shape what it prints", true);
	}
}

unsigned grammar_choices(const json_t *commands, const struct words *words, unsigned count,
			 const char *prefix, struct grammar_choice *choices)
{
	struct walk walk = {.commands = commands};
	const json_t *command, *waiting;
	json_t *given;
	char error[1024];
	unsigned found, pipe = count;
	int taken;

	for (unsigned i = 0; i < count; i++) {
		if (words->is_pipe[i])
			pipe = i;
	}
	if (pipe < count)
		return filter_choices(words, pipe + 1, count, prefix, choices);
	taken = walk_words(&walk, words, count, error, sizeof(error));
	if (taken < 0)
		return 0;
	found = taken == (int)count ? next_words(&walk, prefix, choices) : 0;
	command = command_here(&walk);
	if (command == NULL)
		return found;
	given = json_object();
	if (take_arguments(command, words, (unsigned)taken, count, given, &waiting, error,
			   sizeof(error)) == 0) {
		if (waiting != NULL)
			value_choice(waiting, choices, &found);
		else
			argument_choices(command, given, prefix, choices, &found);
	}
	json_decref(given);
	return found;
}
