/*
** commands.c - the table of commands, and the small ones themselves.
**
** One idea: a command is one row. The list that help prints, the suggestion
** for a mistyped word and the dispatch all read the rows; whoever adds a
** command adds a row and the function in it, and nothing else.
*/
#include "commands.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <lua.h>

#include "host.h"

typedef struct Command {
  const char *name;
  const char *arguments; /* what may follow the name */
  const char *summary;   /* its line in the list */
  const char *details;   /* the rest of `help NAME` */
  bool is_option;        /* --NAME is the same */
  CommandResult (*begin)(Options *options, const char *program);
} Command;

static CommandResult begin_run(Options *options, const char *program);
static CommandResult begin_test(Options *options, const char *program);
static CommandResult begin_help(Options *options, const char *program);
static CommandResult begin_version(Options *options, const char *program);

static const Command commands[] = {
    {"run", "SCRIPT [ARGS]", "run a Lua script, whatever its name",
     "SCRIPT is a file, or - for standard input. The script finds ARGS in\n"
     "`...` and in the table `arg`. Options of the program go before `run`.\n"
     "The program ends when the script and all tasks that it has spawned\n"
     "have ended; its status is 1 if one of them failed.\n",
     false, begin_run},
    {"test", "[ARGS]", "run busted specs under this program",
     "ARGS are busted's own, and so is `test --help`. It is the busted found\n"
     "through PATH, with the settings of the file .busted.\n",
     false, begin_test},
    {"help", "[COMMAND]", "show how to call the program, or a command",
     "The same as --help.\n", true, begin_help},
    {"version", "", "show the versions of the program and of Lua",
     "The same as --version. (-v shows the line that lua shows.)\n", true,
     begin_version},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const Command *find(const char *name) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  return NULL;
}

bool command_is_option(const char *word) {
  const Command *command = find(word);
  return command != NULL && command->is_option;
}

CommandResult command_begin(Options *options, const char *program) {
  const Command *command = options->command ? find(options->command) : NULL;
  if (command == NULL) return COMMAND_SCRIPT;
  CommandResult result = command->begin(options, program);
  options->command = NULL; /* what stands there now is a script */
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
  for (size_t i = 0; i < COMMANDS; i++) {
    if (as_option && !commands[i].is_option) continue;
    int far = how_far(word, commands[i].name);
    if (far >= best) continue;
    best = far;
    nearest = commands[i].name;
  }
  return nearest;
}

/* ---- help, version ----------------------------------------------------- */

static void show_list(void) {
  printf("Commands are:\n");
  for (size_t i = 0; i < COMMANDS; i++) {
    const Command *command = &commands[i];
    int width = printf("  %s %s", command->name, command->arguments);
    printf("%*s%s\n", 22 - width, "", command->summary);
  }
  printf("A command's name is never a file: write ./NAME or -- NAME.\n");
}

static CommandResult show_command(const char *name, const char *program) {
  const Command *command = find(name);
  if (command) {
    printf("usage: %s [options] %s %s\n%s: %s\n\n%s", program, command->name,
           command->arguments, command->name, command->summary,
           command->details);
    return COMMAND_DONE;
  }
  fprintf(stderr, "%s: no command '%s'", program, name);
  const char *meant = command_nearest(name, false);
  if (meant) fprintf(stderr, " (did you mean '%s'?)", meant);
  fprintf(stderr, "; '%s help' lists them\n", program);
  return COMMAND_FAILED;
}

static CommandResult begin_help(Options *options, const char *program) {
  if (options->script + 1 < options->argc)
    return show_command(options->argv[options->script + 1], program);
  options_usage(stdout, options, program);
  show_list();
  return COMMAND_DONE;
}

static CommandResult begin_version(Options *options, const char *program) {
  (void)options;
  (void)program;
  puts("llmpool " LLMPOOL_VERSION "\n" LUA_COPYRIGHT);
  return COMMAND_DONE;
}

/* ---- run, test --------------------------------------------------------- */

static CommandResult begin_run(Options *options, const char *program) {
  const char *word = options->argv[++options->script];
  if (word && strcmp(word, "--help") == 0) return show_command("run", program);
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
