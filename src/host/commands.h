/*
** commands.h - the words that `llmpool WORD` knows.
**
** A command is a file of lua/llmpool/command. It begins before a Lua state is
** made: some do all their work there, some turn the command line into that of
** a script (`run FILE`, `test`), which then runs as any script does; the others
** are run by their Lua file, in the place of a script.
*/
#ifndef LLMPOOL_COMMANDS_H
#define LLMPOOL_COMMANDS_H

#include <stdbool.h>

#include "options.h"

typedef enum CommandResult {
  COMMAND_SCRIPT, /* run options->script, or what there is without one */
  COMMAND_LUA,    /* run options->lua_command */
  COMMAND_DONE,
  COMMAND_FAILED /* it has said why */
} CommandResult;

/* Begins the command that options->command names, if it names one; for a
** script it changes options. */
CommandResult command_begin(Options *options, const char *program);
/* Whether `--word` is another way to write the command. */
bool command_is_option(const char *word);
/* The command that a mistyped word (or `--word`) may have meant, or NULL. */
const char *command_nearest(const char *word, bool as_option);

#endif
