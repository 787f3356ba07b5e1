/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Words of the operator's file. What must hold: every call moves on, so a reader that loops to
 * TOKEN_END ends. */
#include "control/config/lexer.h"

#include <stdio.h>
#include <string.h>

void lexer_init(struct lexer *lexer, const char *text, size_t size)
{
	lexer->at = text;
	lexer->end = text + size;
	lexer->line = 1;
	/* A byte order mark that some editors leave. */
	if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		lexer->at += 3;
}

static void skip_blank(struct lexer *lexer)
{
	for (; lexer->at < lexer->end; lexer->at++) {
		char c = *lexer->at;

		if (c == '\n') {
			lexer->line++;
		} else if (c == '#') {
			while (lexer->at + 1 < lexer->end && lexer->at[1] != '\n')
				lexer->at++;
		} else if (c != ' ' && c != '\t' && c != '\r') {
			return;
		}
	}
}

static void bad(struct token *token, const char *why)
{
	token->kind = TOKEN_BAD;
	snprintf(token->text, sizeof(token->text), "%s", why);
}

static bool ends_word(char c)
{
	return (c != '\0' && strchr(" \t\r\n;{}[]\"", c) != NULL);
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static void read_word(struct lexer *lexer, struct token *token)
{
	size_t size = 0;

	token->kind = TOKEN_WORD;
	for (; lexer->at < lexer->end && !ends_word(*lexer->at); lexer->at++) {
		if (token->kind == TOKEN_BAD)
			continue;
		if (is_control(*lexer->at))
			bad(token, "a control character");
		else if (size == TOKEN_TEXT_MAX)
			bad(token, "a word is longer than 4096 octets");
		else
			token->text[size++] = *lexer->at;
	}
	if (token->kind == TOKEN_WORD)
		token->text[size] = '\0';
}

/* The opening quote is already behind. */
static void read_string(struct lexer *lexer, struct token *token)
{
	size_t size = 0;

	token->kind = TOKEN_STRING;
	for (; lexer->at < lexer->end && *lexer->at != '\n'; lexer->at++) {
		char c = *lexer->at;

		if (c == '"') {
			lexer->at++;
			if (token->kind == TOKEN_STRING)
				token->text[size] = '\0';
			return;
		}
		if (c == '\\' && lexer->at + 1 < lexer->end &&
		    (lexer->at[1] == '"' || lexer->at[1] == '\\'))
			c = *++lexer->at;
		if (token->kind == TOKEN_BAD)
			continue;
		if (is_control(c) && c != '\t')
			bad(token, "a control character in a string");
		else if (size == TOKEN_TEXT_MAX)
			bad(token, "a string is longer than 4096 octets");
		else
			token->text[size++] = c;
	}
	bad(token, "a string is not closed on its line");
}

void lexer_next(struct lexer *lexer, struct token *token)
{
	static const char marks[] = "{}[];";
	static const enum token_kind kinds[] = {TOKEN_OPEN, TOKEN_CLOSE, TOKEN_LIST_OPEN,
						TOKEN_LIST_CLOSE, TOKEN_SEMICOLON};
	const char *mark;

	skip_blank(lexer);
	token->line = lexer->line;
	token->text[0] = '\0';
	if (lexer->at == lexer->end) {
		token->kind = TOKEN_END;
		return;
	}
	mark = *lexer->at != '\0' ? strchr(marks, *lexer->at) : NULL;
	if (mark != NULL) {
		token->kind = kinds[mark - marks];
		token->text[0] = *lexer->at++;
		token->text[1] = '\0';
	} else if (*lexer->at == '"') {
		lexer->at++;
		read_string(lexer, token);
	} else {
		read_word(lexer, token);
	}
}

bool lexer_needs_quotes(const char *text)
{
	if (text[0] == '\0' || text[0] == '#')
		return true;
	for (; *text != '\0'; text++) {
		if (ends_word(*text) || *text == '\\' || is_control(*text))
			return true;
	}
	return false;
}
