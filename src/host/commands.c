/*
** commands.c - which words are commands, and the ones that need no Lua.
**
** One idea: every command is a file of lua/llmpool/command, which says what it
** does and, for most, does it. The files travel inside the program, so their
** names are the table of commands, and no Lua state is made to find out
** whether a word is one. A few begin here: they change the command line, or
** have to answer before Lua is there.
*/
#include "commands.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <lua.h>

#include "../lua/embedded.h"
#include "host.h"

typedef struct Beginning {
  const char *name;
  CommandResult (*begin)(Options *options, const char *program);
} Beginning;

static CommandResult begin_run(Options *options, const char *program);
static CommandResult begin_test(Options *options, const char *program);
static CommandResult begin_help(Options *options, const char *program);
static CommandResult begin_version(Options *options, const char *program);

static const Beginning beginnings[] = {{"run", begin_run},
                                       {"test", begin_test},
                                       {"help", begin_help},
                                       {"version", begin_version}};

#define BEGINNINGS (sizeof beginnings / sizeof beginnings[0])

static const char prefix[] = "llmpool.command.";
enum { PREFIX = sizeof prefix - 1 };

/* The command behind an embedded file, or NULL. */
static const char *command_of(const llmpool_embedded_file *file) {
  return strncmp(file->name, prefix, PREFIX) == 0 ? file->name + PREFIX : NULL;
}

static const char *find(const char *word) {
  for (const llmpool_embedded_file *f = llmpool_embedded; f->name; f++) {
    const char *name = command_of(f);
    if (name && strcmp(name, word) == 0) return name;
  }
  return NULL;
}

bool command_is_option(const char *word) {
  return strcmp(word, "help") == 0 || strcmp(word, "version") == 0;
}

static CommandResult by_lua(Options *options, const char *name) {
  options->lua_command = name;
  return COMMAND_LUA;
}

static CommandResult begin(Options *options, const char *program) {
  const char *name = find(options->command);
  if (name == NULL) return COMMAND_SCRIPT;
  for (size_t i = 0; i < BEGINNINGS; i++)
    if (strcmp(beginnings[i].name, name) == 0)
      return beginnings[i].begin(options, program);
  return by_lua(options, name);
}

CommandResult command_begin(Options *options, const char *program) {
  if (options->command == NULL) return COMMAND_SCRIPT;
  CommandResult result = begin(options, program);
  /* what stands there now is a script; a word that is no command stays, for
  ** the suggestion */
  if (result != COMMAND_SCRIPT || find(options->command))
    options->command = NULL;
  return result;
}

/* ---- the nearest word -------------------------------------------------- */

enum { WORD_MAX = 31 };

static int least(int a, int b) { return a < b ? a : b; }

/* Insertions, deletions, changes and swaps of neighbours between two words
** of at most WORD_MAX characters. */
static int distance(const char *a, const char *b) {
  int rows[WORD_MAX + 1][WORD_MAX + 1];
  const int n = (int)strlen(a), m = (int)strlen(b);
  for (int i = 0; i <= n; i++) {
    for (int j = 0; j <= m; j++) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      int cost = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      cost = least(cost, rows[i - 1][j] + 1);
      cost = least(cost, rows[i][j - 1] + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost = least(cost, rows[i - 2][j - 2] + 1);
      rows[i][j] = cost;
    }
  }
  return rows[n][m];
}

/* How far a word is from a name; more than a third of it is too far. */
static int how_far(const char *word, const char *name) {
  const size_t length = strlen(word);
  if (length == 0 || length > WORD_MAX) return WORD_MAX;
  if (strncasecmp(word, name, length) == 0) return 0;
  int far = distance(word, name);
  return far <= ((int)strlen(name) + 1) / 3 ? far : WORD_MAX;
}

const char *command_nearest(const char *word, bool as_option) {
  const char *nearest = NULL;
  int best = WORD_MAX;
  if (as_option) word += strspn(word, "-");
  for (const llmpool_embedded_file *f = llmpool_embedded; f->name; f++) {
    const char *name = command_of(f);
    if (name == NULL || (as_option && !command_is_option(name))) continue;
    int far = how_far(word, name);
    if (far >= best) continue;
    best = far;
    nearest = name;
  }
  if (as_option && how_far(word, "norc") < best) nearest = "norc";
  return nearest;
}

/* ---- help, version ----------------------------------------------------- */

static CommandResult begin_help(Options *options, const char *program) {
  (void)program;
  return by_lua(options, "help");
}

/* Behind the command nothing may stand; behind the option all is ignored, as
** other programs do. */
static CommandResult begin_version(Options *options, const char *program) {
  (void)program;
  const bool is_option = options->argv[options->script][0] == '-';
  if (!is_option && options->argv[options->script + 1])
    return by_lua(options, "version");
  puts("llmpool " LLMPOOL_VERSION "\n" LUA_COPYRIGHT);
  return COMMAND_DONE;
}

/* ---- run, test --------------------------------------------------------- */

static CommandResult begin_run(Options *options, const char *program) {
  const char *word = options->argv[++options->script];
  if (word && strcmp(word, "--help") == 0) {
    options->script--;
    return by_lua(options, "run");
  }
  if (word && strcmp(word, "--") == 0)
    word = options->argv[++options->script];
  else if (word && word[0] == '-' && word[1] != '\0') {
    fprintf(stderr, "%s: run takes no option '%s'; options go before 'run'\n",
            program, word);
    return COMMAND_FAILED;
  }
  if (word) return COMMAND_SCRIPT;
  fprintf(stderr, "%s: run which script? (%s run SCRIPT [ARGS])\n", program,
          program);
  return COMMAND_FAILED;
}

/* The path of an executable, found as a shell would; NULL: none, or no
** memory. The caller frees it. */
static char *find_program(const char *name) {
  const char *path = getenv("PATH");
  while (path && *path) {
    const int length = (int)strcspn(path, ":");
    const size_t size = (size_t)length + strlen(name) + 3;
    char *file = malloc(size);
    if (file == NULL) return NULL;
    /* an empty element is the current directory */
    snprintf(file, size, "%.*s/%s", length ? length : 1, length ? path : ".",
             name);
    if (access(file, X_OK) == 0) return file;
    free(file);
    path += length + (path[length] == ':');
  }
  return NULL;
}

/* LuaRocks installs a shell script that calls the Lua of its own choice. */
static bool is_lua_script(const char *path) {
  char first[256] = "";
  FILE *file = fopen(path, "r");
  if (file == NULL) return false;
  bool read = fgets(first, sizeof first, file) != NULL;
  fclose(file);
  return read && (first[0] != '#' || strstr(first, "lua") != NULL);
}

/* Puts `busted --ignore-lua` in the place of `test`: a .busted file may name
** a Lua to start, and this is the one that was asked for. */
static bool become_busted(Options *options, char *busted) {
  static char ignore[] = "--ignore-lua";
  static char **kept __attribute__((used)); /* so that it is no leak */
  const int at = options->script;
  char **argv = calloc((size_t)options->argc + 2, sizeof *argv);
  if (argv == NULL) return false;
  memcpy(argv, options->argv, (size_t)at * sizeof *argv);
  argv[at] = busted;
  argv[at + 1] = ignore;
  memcpy(argv + at + 2, options->argv + at + 1,
         (size_t)(options->argc - at - 1) * sizeof *argv);
  kept = argv; /* as long as the program */
  options->argv = argv;
  options->argc++;
  return true;
}

static CommandResult begin_test(Options *options, const char *program) {
  char *busted = find_program("busted");
  if (busted == NULL)
    fprintf(stderr,
            "%s: test needs busted, which is not in PATH "
            "(on Debian: apt-get install lua-busted)\n",
            program);
  else if (!is_lua_script(busted))
    fprintf(stderr, "%s: %s is no Lua script; try: %s --lua=%s\n", program,
            busted, busted, program);
  else if (become_busted(options, busted))
    return COMMAND_SCRIPT;
  free(busted);
  return COMMAND_FAILED;
}
