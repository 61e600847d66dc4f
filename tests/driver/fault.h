/* A driver without a GPU, for tests: what it answers stands in the variable FAKE_DRIVER, a list of
 * `name=value` with commas. A function's own name takes the status that it returns, `hang` or `crash`;
 * other names are values: `devices=2`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* The text of a value, or NULL. */
static const char *text_of(const char *name) {
  static char copy[64];
  const char *list = getenv("FAKE_DRIVER");
  size_t length = strlen(name);
  for (const char *at = list; at && *at; at = strchr(at, ','), at += at != NULL) {
    if (strncmp(at, name, length) == 0 && at[length] == '=') {
      snprintf(copy, sizeof copy, "%.*s", (int)strcspn(at + length + 1, ","), at + length + 1);
      return copy;
    }
  }
  return NULL;
}

static long value_of(const char *name, long otherwise) {
  const char *text = text_of(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

/* What happens in a function: its status, or it never returns. */
static int enter(const char *function) {
  const char *text = text_of(function);
  if (text && strcmp(text, "hang") == 0)
    for (;;) pause();
  if (text && strcmp(text, "crash") == 0) {
    /* Not by raise: Rust's handler of the signal returns, so that the fault comes again. */
    volatile int *volatile nowhere = NULL;
    *nowhere = 0;
  }
  return (int)value_of(function, 0);
}

#define ENTER do { int status = enter(__func__); if (status) return status; } while (0)
