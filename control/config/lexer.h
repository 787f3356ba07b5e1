/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Words of the operator's file: words, "strings", braces, brackets, semicolons; # begins a comment
 * to the end of the line. Pure: text in, tokens out. Owner: whoever reads. Memory: token texts in
 * the lexer's own buffer, until the next token.
 */
#ifndef MILLRACE_CONTROL_CONFIG_LEXER_H
#define MILLRACE_CONTROL_CONFIG_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
	TOKEN_WORD,	  /**< unquoted: anything but space ; { } [ ] " */
	TOKEN_STRING,	  /**< in quotes; \" and \\ inside */
	TOKEN_OPEN,	  /**< { */
	TOKEN_CLOSE,	  /**< } */
	TOKEN_LIST_OPEN,  /**< [ */
	TOKEN_LIST_CLOSE, /**< ] */
	TOKEN_SEMICOLON,
	TOKEN_END, /**< of the text */
	TOKEN_BAD, /**< text says why; the lexer has moved on */
};

/** Longest word or string, in octets. */
#define TOKEN_TEXT_MAX 4096

struct token {
	enum token_kind kind;
	unsigned line;
	char text[TOKEN_TEXT_MAX + 1];
};

struct lexer {
	const char *at;
	const char *end;
	unsigned line;
};

void lexer_init(struct lexer *lexer, const char *text, size_t size);
void lexer_next(struct lexer *lexer, struct token *token);
/** Whether this text must stand in quotes to come back as one token. */
bool lexer_needs_quotes(const char *text);

#endif
