/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Long output page by page. */
#include "control/cli/pager.h"

#include "control/cli/render_value.h"

#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char more[] = "--more-- (space: page, enter: line, q: enough)";

static struct winsize window(FILE *out)
{
	struct winsize size = {0};

	if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0) {
		/* A serial line does not know. */
		if (size.ws_col == 0)
			size.ws_col = 80;
		if (size.ws_row == 0)
			size.ws_row = 24;
	}
	return size;
}

unsigned pager_width(FILE *out)
{
	return window(out).ws_col;
}

/* One key, without waiting for enter. */
static char read_key(void)
{
	struct termios old, raw;
	char key = 'q';

	if (tcgetattr(STDIN_FILENO, &old) != 0)
		return key;
	raw = old;
	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	if (read(STDIN_FILENO, &key, 1) != 1)
		key = 'q';
	tcsetattr(STDIN_FILENO, TCSANOW, &old);
	return key;
}

static unsigned rows_of(const char *line, size_t size, unsigned columns)
{
	char text[512];
	unsigned width;

	snprintf(text, sizeof(text), "%.*s", (int)(size < 511 ? size : 511), line);
	width = render_width(text);
	return width == 0 ? 1 : (width + columns - 1) / columns;
}

void pager_print(FILE *out, const char *text)
{
	struct winsize size = window(out);
	unsigned room;

	if (size.ws_row < 4 || !isatty(STDIN_FILENO)) {
		fputs(text, out);
		return;
	}
	room = size.ws_row - 1u;
	while (*text != '\0') {
		size_t length = strcspn(text, "\n");
		unsigned rows = rows_of(text, length, size.ws_col);

		if (rows > room && room < size.ws_row - 1u) {
			char key;

			fprintf(out, "%s", more);
			fflush(out);
			key = read_key();
			fprintf(out, "\r%*s\r", (int)(sizeof(more) - 1), "");
			if (key == 'q' || key == 'Q' || key == 3)
				return;
			room = key == '\n' || key == '\r' ? rows : size.ws_row - 1u;
		}
		fprintf(out, "%.*s\n", (int)length, text);
		room = room > rows ? room - rows : 0;
		text += length + (text[length] == '\n');
	}
}
