/*
** options.c - the command line of lua(1), read before any Lua runs.
**
** One loop over argv, as lua.c has it: the whole line is checked before the
** first option takes effect. Option arguments stay in argv; main.c walks it a
** second time to run -e, -l and -W in their order.
*/
#include "options.h"

#include <string.h>

#include "commands.h"

const char options_of_lua[] =
    "Available options are:\n"
    "  -e stat   execute string 'stat'\n"
    "  -i        enter interactive mode after executing 'script'\n"
    "  -l mod    require library 'mod' into global 'mod'\n"
    "  -l g=mod  require library 'mod' into global 'g'\n"
    "  -v        show version information\n"
    "  -E        ignore environment variables\n"
    "  -W        turn warnings on\n"
    "  --        stop handling options\n"
    "  -         stop handling options and execute stdin\n";

const char options_of_ours[] =
    "  --timeline FILE, --record FILE  draw, or write, what the pools lend\n"
    "  --help    show this, and the commands\n"
    "  --norc    run no init.lua at the prompt\n"
    "  --version show the program's version\n";

static bool is_called_lua(const char *program) {
  if (program == NULL) return false;
  const char *slash = strrchr(program, '/');
  return strncmp(slash ? slash + 1 : program, "lua", 3) == 0;
}

/* `--word`: one of the commands that are options too? */
static bool read_long(Options *options, int i) {
  const char *word = options->argv[i] + 2;
  if (options->is_lua || !command_is_option(word)) return false;
  options->command = word;
  options->end = options->script = i;
  return true;
}

/* `--name FILE` or `--name=FILE`; returns the index of the last word read, or
** 0: it is another, has no file, or would be a second one. */
static int read_file(const Options *options, int i, const char *name,
                     const char **file) {
  const char *word = options->argv[i];
  const size_t length = strlen(name);
  if (*file || strncmp(word, name, length) != 0) return 0;
  if (word[length] == '=') {
    *file = word + length + 1;
    return **file ? i : 0;
  }
  if (word[length] != '\0' || options->argv[i + 1] == NULL) return 0;
  *file = options->argv[i + 1];
  return i + 1;
}

/* `--word`: one of the options that stand for themselves? Returns the index of
** the last word read, or 0. */
static int read_word(Options *options, int i) {
  if (options->is_lua) return 0;
  int last = read_file(options, i, "--timeline", &options->timeline);
  if (last == 0) last = read_file(options, i, "--record", &options->record);
  if (last == 0 && strcmp(options->argv[i], "--norc") == 0) {
    options->no_rc = true;
    last = i;
  }
  return last;
}

/* A letter and its argument; returns the index of the last word read, or 0. */
static int read_letter(Options *options, int i) {
  const char *word = options->argv[i];
  const char letter = word[1];
  if (letter == 'e' || letter == 'l') {
    options->has_code |= letter == 'e';
    if (word[2] != '\0') return i;
    const char *next = options->argv[i + 1];
    return next == NULL || next[0] == '-' ? 0 : i + 1;
  }
  if (word[2] != '\0') return 0;
  switch (letter) {
  case 'E': options->ignore_env = true; return i;
  case 'W': return i;
  case 'i':
    options->interactive = true;
    options->show_version = true;
    return i;
  case 'v':
    options->show_version = true;
    options->tells_version = !options->is_lua;
    return i;
  default: return 0;
  }
}

static void end_options(Options *options, int end, bool may_be_command) {
  options->end = options->script = end;
  if (may_be_command && !options->is_lua && end < options->argc)
    options->command = options->argv[end];
}

bool options_read(Options *options, int argc, char **argv) {
  memset(options, 0, sizeof *options);
  options->argc = argc;
  options->argv = argv;
  options->is_lua = is_called_lua(argv[0]);
  int i = 1;
  for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
    if (argv[i][1] == '-') {
      if (argv[i][2] == '\0') {
        end_options(options, i + 1, false);
        return true;
      }
      if (read_long(options, i)) return true;
    }
    int last = argv[i][1] == '-' ? read_word(options, i) : 0;
    if (last == 0) last = read_letter(options, i);
    if (last == 0) {
      options->bad = argv[i];
      return false;
    }
    i = last;
  }
  end_options(options, i < argc ? i : argc, true);
  return true;
}

static void usage(FILE *out, const Options *options, const char *program) {
  fprintf(out, "usage: %s [options] [script [args]]\n", program);
  if (!options->is_lua)
    fprintf(out, "       %s [options] COMMAND [args]\n", program);
  fputs(options_of_lua, out);
  if (!options->is_lua) fputs(options_of_ours, out);
}

static bool is_option(const char *word, const char *name) {
  const size_t length = strlen(name);
  return strncmp(word, name, length) == 0 &&
         (word[length] == '\0' || word[length] == '=');
}

/* Of two files one would be dropped without a word. */
static const char *given_twice(const Options *options) {
  const char *bad = options->bad;
  if (options->timeline && is_option(bad, "--timeline")) return "--timeline";
  if (options->record && is_option(bad, "--record")) return "--record";
  return NULL;
}

bool options_file_follows(const char *word) {
  return strcmp(word, "--timeline") == 0 || strcmp(word, "--record") == 0;
}

static bool needs_file(const char *word) {
  return options_file_follows(word) || strcmp(word, "--timeline=") == 0 ||
         strcmp(word, "--record=") == 0;
}

void options_complain(const Options *options, const char *program) {
  const char *bad = options->bad;
  const char *twice = given_twice(options);
  fprintf(stderr, "%s: ", program);
  if (twice)
    fprintf(stderr, "'%s' is given twice\n", twice);
  else if (bad[1] == 'e' || bad[1] == 'l' ||
           (!options->is_lua && needs_file(bad)))
    fprintf(stderr, "'%s' needs argument\n", bad);
  else {
    const char *meant = options->is_lua ? NULL : command_nearest(bad, true);
    fprintf(stderr, "unrecognized option '%s'", bad);
    if (meant) fprintf(stderr, " (did you mean '--%s'?)", meant);
    fputc('\n', stderr);
  }
  usage(stderr, options, program);
}
