/*
** options.h - the command line of lua(1), read before any Lua runs.
**
** Reads argv into a struct and touches nothing else: what an option does is
** main.c's business. The rules are lua 5.4.4's, word for word; --help and
** --version are added unless the program is called by a name that begins with
** `lua`.
*/
#ifndef LLMPOOL_OPTIONS_H
#define LLMPOOL_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

typedef struct Options {
  char **argv;
  int argc;
  int end;                 /* index behind the last option */
  int script;              /* index of the script; argc: none */
  const char *bad;         /* the option that is wrong, or NULL */
  const char *command;     /* a word that may name a command, or NULL */
  const char *lua_command; /* the command whose Lua file is to be run */
  const char *timeline;    /* --timeline: where the picture goes, or NULL */
  const char *record;      /* --record: where the trace goes, or NULL */
  bool is_lua;             /* called as lua: no commands, no --help */
  bool interactive;        /* -i */
  bool show_version;       /* -v, or -i */
  bool tells_version;      /* -v, and not called lua */
  bool has_code;           /* -e */
  bool ignore_env;         /* -E */
  bool no_rc;              /* --norc */
} Options;

/* False: options->bad names the word that is wrong. */
bool options_read(Options *options, int argc, char **argv);
/* Is the word behind this one a file's name? */
bool options_file_follows(const char *word);
/* Says what is wrong with options->bad, and how to call the program. */
void options_complain(const Options *options, const char *program);
/* The list of options in it: lua's, and ours. */
extern const char options_of_lua[], options_of_ours[];

#endif
