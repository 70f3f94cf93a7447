/*
** statefile.c - files that are nobody else's business, and lists of files.
**
** What Lua's own library cannot say: a file with the mode 0600, in directories
** of 0700 where they have to be made, and what lies in a directory.
*/
#define _DEFAULT_SOURCE /* DT_DIR */
#include "statefile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

/* Makes what is missing of the directories to `path`, which is changed while
** it does so. What cannot be made is noticed by whoever opens the file. */
static void make_directories(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash;
       slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
  }
}

/* A file that others could read is closed to them before anything is added. */
static int open_private(const char *path) {
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  struct stat st;
  if (fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 077) != 0 &&
      S_ISREG(st.st_mode))
    fchmod(fd, 0600);
  return fd;
}

int statefile_append(lua_State *L) {
  size_t size, length;
  const char *path = luaL_checklstring(L, 1, &size);
  const char *text = luaL_checklstring(L, 2, &length);
  char *copy = lua_newuserdatauv(L, size + 1, 0);
  memcpy(copy, path, size + 1);
  if (size > 0) make_directories(copy);
  int fd = open_private(path);
  if (fd < 0) return luaL_fileresult(L, 0, path);
  bool whole = write(fd, text, length) == (ssize_t)length;
  int code = errno;
  close(fd);
  errno = code;
  return luaL_fileresult(L, whole, path);
}

static bool is_directory(int at, const struct dirent *entry) {
  struct stat st;
  if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN)
    return entry->d_type == DT_DIR;
  return fstatat(at, entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

/* The directory is closed by its owner, whatever is raised in between. */
static int close_directory(lua_State *L) {
  DIR **directory = lua_touserdata(L, 1);
  if (*directory) closedir(*directory);
  *directory = NULL;
  return 0;
}

int statefile_list(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  DIR **directory = lua_newuserdatauv(L, sizeof(DIR *), 0);
  const struct dirent *entry;
  lua_Integer n = 0;
  *directory = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, close_directory);
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);
  lua_newtable(L);
  *directory = opendir(path);
  while (*directory && (entry = readdir(*directory)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    bool is_dir = is_directory(dirfd(*directory), entry);
    lua_pushfstring(L, is_dir ? "%s/" : "%s", entry->d_name);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}
