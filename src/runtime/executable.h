/*
** executable.h - where the program of this process lies.
*/
#ifndef LLMPOOL_EXECUTABLE_H
#define LLMPOOL_EXECUTABLE_H

/* Its absolute path without links, to be freed; NULL: nobody knows. */
char *executable_path(void);

#endif
