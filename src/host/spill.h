/*
** spill.h - what is written while a line is typed, or a page is shown.
*/
#ifndef LLMPOOL_SPILL_H
#define LLMPOOL_SPILL_H

#include <stdbool.h>
#include <stddef.h>

/* Standard output and error go aside from now on. False: they stay. */
bool spill_begin(void);
/* Writes to the terminal, past what is aside. */
void spill_write(const char *text, size_t length);
/* They are the terminal again; what is left aside is written to it. */
void spill_end(void);
bool spill_is_active(void);
/* Whether something is there for spill_show. */
bool spill_is_there(void);
/* Writes the whole lines that are there to the terminal. */
void spill_show(void);

#endif
