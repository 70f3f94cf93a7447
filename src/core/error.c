/*
** error.c - the kinds of error by name and as a sentence, from the one table
** in llmpool.h. The numbers that belong to a sentence are in llm_failure.
*/
#include "llmpool.h"

static const char *const names[] = {
#define XX(id, name, text) [LLM_##id] = name,
    LLM_ERRORS(XX)
#undef XX
};

static const char *const texts[] = {
#define XX(id, name, text) [LLM_##id] = text,
    LLM_ERRORS(XX)
#undef XX
};

const char *llm_err_name(llm_err err) {
  return (unsigned)err < LLM_ERR_COUNT ? names[err] : "unknown";
}

const char *llm_err_text(llm_err err) {
  return (unsigned)err < LLM_ERR_COUNT ? texts[err] : "unknown error";
}
