/*
** spill.c - what is written while a line is being typed.
**
** One idea: while the prompt is on the screen, standard output and standard
** error are a file in memory, so that whoever writes - print, a C module, a
** child process, another thread - does not tear the line. Whoever owns the
** prompt takes it off the screen, has the whole lines shown, and puts it back.
** A file, not a pipe: nobody who writes ever has to wait for us.
*/
#define _GNU_SOURCE /* memfd_create, fallocate */
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int aside = -1;                   /* the file in memory */
static int real_out = -1, real_err = -1; /* the terminal, as it was before */
static off_t shown; /* so much of the file has been shown */
static bool active;

static bool open_aside(void) {
  if (aside >= 0) return true;
  aside = memfd_create("llmpool", MFD_CLOEXEC);
  if (aside < 0) return false;
  fcntl(aside, F_SETFL, O_APPEND);
  real_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  /* an error log that somebody asked for stays where it is */
  if (isatty(STDERR_FILENO))
    real_err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (real_out >= 0) return true;
  close(aside);
  aside = -1;
  return false;
}

bool spill_begin(void) {
  if (active || !open_aside()) return active;
  fflush(stdout);
  dup2(aside, STDOUT_FILENO);
  if (real_err >= 0) dup2(aside, STDERR_FILENO);
  active = true;
  return true;
}

static off_t size_now(void) {
  struct stat st;
  return fstat(aside, &st) == 0 ? st.st_size : shown;
}

bool spill_is_active(void) { return active; }

bool spill_is_there(void) { return active && size_now() > shown; }

static void write_all(const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = write(real_out, text, length);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text += n, length -= (size_t)n;
  }
}

/* Writes a part of at most `size` bytes; false: no whole line is in it. */
static bool show_part(char *buffer, size_t size, bool to_the_end) {
  ssize_t n = pread(aside, buffer, size, shown);
  if (n <= 0) return false;
  size_t length = (size_t)n;
  if (!to_the_end && length < size) {
    while (length > 0 && buffer[length - 1] != '\n') length--;
    if (length == 0) return false;
  }
  write_all(buffer, length);
  shown += (off_t)length;
  return true;
}

static void show(bool to_the_end) {
  char buffer[4096];
  while (show_part(buffer, sizeof buffer, to_the_end)) continue;
  /* gives the memory back; whoever appends meanwhile is not disturbed */
  fallocate(aside, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, shown);
}

void spill_show(void) {
  if (spill_is_there()) show(false);
}

void spill_write(const char *text, size_t length) {
  if (active) {
    write_all(text, length);
    return;
  }
  fwrite(text, 1, length, stdout);
  fflush(stdout);
}

void spill_end(void) {
  if (!active) return;
  fflush(stdout);
  fflush(stderr);
  dup2(real_out, STDOUT_FILENO);
  if (real_err >= 0) dup2(real_err, STDERR_FILENO);
  show(true);
  active = false;
}
