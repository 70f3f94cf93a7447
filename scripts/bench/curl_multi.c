/*
** curl_multi.c - the peer of the HTTP benchmarks: libcurl's own multi loop in
** C. It sends what llmpool's provider sends, header by header, each request set
** up on a handle that was used before, and keeps the answer, of which it reads
** nothing.
**
**   curl_multi generate URL REQUESTS IN_FLIGHT ROUND
**   curl_multi streams URL STREAMS PACE_US ROUND
**
** generate tells the CPU time of a request; streams, of which one is begun
** every PACE_US, tells the median time to the first token and the memory of
** each at the moment when all are in flight.
*/
#include <curl/curl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

#define BODY                                       \
  "{\"messages\":[{\"role\":\"user\",\"content\":" \
  "\"Hello\"}],\"model\":\"model\"}"
#define STREAM_BODY                                                        \
  "{\"messages\":[{\"role\":\"user\",\"content\":"                         \
  "\"Hello\"}],\"model\":\"model\",\"stream\":true,\"stream_options\":{\"" \
  "include_usage\":true}}"

typedef struct request {
  CURL *easy;
  struct curl_slist *headers;
  char *body; /* of the answer */
  size_t length, size;
  int64_t begun, first; /* when its first token came; 0: not yet */
} request;

static CURLM *multi;

static int64_t process_cpu(void) { return bench_ns(CLOCK_PROCESS_CPUTIME_ID); }

/* Bytes of the machine's memory that the process has. */
static double resident(void) {
  long size, pages;
  FILE *file = fopen("/proc/self/statm", "r");
  bench_require(file && fscanf(file, "%ld %ld", &size, &pages) == 2, "statm");
  fclose(file);
  return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static size_t on_data(char *data, size_t size, size_t n, void *user) {
  request *r = user;
  if (r->first == 0 && memmem(data, n, "\"content\"", 9))
    r->first = bench_now();
  if (r->length + n > r->size) {
    r->size = 2 * (r->length + n);
    r->body = realloc(r->body, r->size);
    bench_require(r->body != NULL, "realloc");
  }
  memcpy(r->body + r->length, data, n);
  r->length += n;
  return size * n;
}

static struct curl_slist *make_headers(void) {
  struct curl_slist *list = NULL;
  list = curl_slist_append(list, "Content-Type: application/json");
  list = curl_slist_append(list, "Authorization: Bearer key-1");
  return curl_slist_append(list, "User-Agent: llmpool/0.1.0");
}

static void begin(request *r, const char *url, const char *body) {
  if (r->easy == NULL) r->easy = curl_easy_init();
  curl_easy_reset(r->easy);
  curl_slist_free_all(r->headers);
  r->headers = make_headers();
  curl_easy_setopt(r->easy, CURLOPT_URL, url);
  curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
  curl_easy_setopt(r->easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, body);
  curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
  curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
  curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
  curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, 600000L);
  r->length = 0;
  r->first = 0;
  r->begun = bench_now();
  bench_require(curl_multi_add_handle(multi, r->easy) == CURLM_OK, "add");
}

/* Takes out what has ended; the next that has, or NULL. */
static request *ended(void) {
  int left;
  CURLMsg *message = curl_multi_info_read(multi, &left);
  long status = 0;
  request *r = NULL;
  if (message == NULL) return NULL;
  bench_require(message->data.result == CURLE_OK, "a request");
  curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &r);
  curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
  bench_require(status == 200 && r->length > 0, "an answer");
  curl_multi_remove_handle(multi, r->easy);
  return r;
}

/* ---- generate ---------------------------------------------------------- */

static void run(request *requests, const char *url, int count, int in_flight) {
  int begun = 0, done = 0, running;
  while (begun < in_flight) begin(&requests[begun++], url, BODY);
  while (done < count) {
    curl_multi_perform(multi, &running);
    for (request *r; (r = ended()) != NULL; done++)
      if (begun < count) begin(r, url, BODY), begun++;
    if (done < count) curl_multi_poll(multi, NULL, 0, 1000, NULL);
  }
}

static void generate(const char *url, int count, int in_flight, int round) {
  request *requests = calloc((size_t)in_flight, sizeof *requests);
  run(requests, url, count / 10 + in_flight, in_flight); /* warm, connected */
  int64_t start = process_cpu();
  run(requests, url, count, in_flight);
  bench_sample("http generate", "curl", round,
               (double)(process_cpu() - start) / count);
}

/* ---- streams ----------------------------------------------------------- */

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void tell_first(const request *requests, int count, int round) {
  int64_t *waits = calloc((size_t)count, sizeof *waits);
  for (int i = 0; i < count; i++) {
    bench_require(requests[i].first != 0, "a first token");
    waits[i] = requests[i].first - requests[i].begun;
  }
  qsort(waits, (size_t)count, sizeof *waits, compare);
  bench_sample("http first", "curl", round, (double)waits[count / 2]);
  free(waits);
}

static void streams(const char *url, int count, int pace_us, int round) {
  request *requests = calloc((size_t)count, sizeof *requests), warm = {0};
  int begun = 0, done = 0, running;
  begin(&warm, url, STREAM_BODY); /* what is loaded once */
  do {
    curl_multi_perform(multi, &running);
    curl_multi_poll(multi, NULL, 0, 100, NULL);
  } while (ended() == NULL);
  double before = resident();
  int64_t start = bench_now();
  while (done < count) {
    int64_t next = start + (int64_t)begun * pace_us * 1000;
    int64_t wait = begun < count ? next - bench_now() : 1000000000;
    if (begun < count && wait <= 0) {
      begin(&requests[begun], url, STREAM_BODY);
      if (++begun == count)
        bench_sample("http memory", "curl", round,
                     (resident() - before) / count);
    }
    curl_multi_perform(multi, &running);
    while (ended()) done++;
    if (done < count && wait > 0)
      curl_multi_poll(multi, NULL, 0, (int)(wait / 1000000) + 1, NULL);
  }
  tell_first(requests, count, round);
}

int main(int argc, char **argv) {
  bench_require(argc == 6, "curl_multi generate|streams URL N M ROUND");
  curl_global_init(CURL_GLOBAL_ALL);
  multi = curl_multi_init();
  int n = atoi(argv[3]), m = atoi(argv[4]), round = atoi(argv[5]);
  if (strcmp(argv[1], "generate") == 0)
    generate(argv[2], n, m, round);
  else
    streams(argv[2], n, m, round);
  return 0;
}
