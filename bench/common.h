/* common.h - what fakeup and loadgen share: clocks, a timer heap, growable buffers, sockets, flags.
 *
 * The marker.  Every chunk of text that fakeup writes holds one, and loadgen looks for it:
 *
 *     ~t<19 digits>.<6 digits>.<6 digits>~      CLOCK_REALTIME ns, stream number, chunk number
 *
 * No JSON encoder escapes these characters, so a marker survives any re-encoding.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MARKER_BYTES = 2 + 19 + 1 + 6 + 1 + 6 + 1, EVENTS_PER_WAIT = 512 };

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static inline uint64_t mono_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static inline uint64_t wall_ns(void) { return clock_ns(CLOCK_REALTIME); }

static inline void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static inline void *must(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

/* ---- digits of fixed width ------------------------------------------------------------- */
static inline void put_digits(char *at, int width, uint64_t value) {
    while (width-- > 0) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}
static inline bool get_digits(const char *at, int width, uint64_t *value) {
    uint64_t sum = 0;
    for (int i = 0; i < width; i++) {
        unsigned digit = (unsigned)(at[i] - '0');
        if (digit > 9) return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

/* ---- a binary heap of timers ------------------------------------------------------------ */
typedef struct { uint64_t due_ns; uint32_t id; uint32_t kind; } timer_item;
typedef struct { timer_item *items; size_t count, room; } timer_heap;

static inline void timer_push(timer_heap *heap, timer_item item) {
    if (heap->count == heap->room) {
        heap->room = heap->room ? heap->room * 2 : 1024;
        heap->items = must(realloc(heap->items, heap->room * sizeof *heap->items));
    }
    size_t at = heap->count++;
    for (; at && heap->items[(at - 1) / 2].due_ns > item.due_ns; at = (at - 1) / 2)
        heap->items[at] = heap->items[(at - 1) / 2];
    heap->items[at] = item;
}
static inline timer_item timer_pop(timer_heap *heap) {
    timer_item top = heap->items[0], last = heap->items[--heap->count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && heap->items[child + 1].due_ns < heap->items[child].due_ns) child++;
        if (heap->items[child].due_ns >= last.due_ns) break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = last;
    return top;
}

/* ---- bytes that grow --------------------------------------------------------------------- */
typedef struct { char *data; size_t length, room; } bytes;

static inline void bytes_add(bytes *b, const void *data, size_t length) {
    if (b->length + length + 1 > b->room) {
        b->room = (b->length + length + 1) * 3 / 2 + 256;
        b->data = must(realloc(b->data, b->room));
    }
    memcpy(b->data + b->length, data, length);
    b->length += length;
    b->data[b->length] = 0;
}
static inline void bytes_drop(bytes *b, size_t length) {
    b->length -= length;
    memmove(b->data, b->data + length, b->length);
}
static inline void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){0};
}
static inline void bytes_printf(bytes *b, const char *format, ...) {
    char line[4096];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof line) die("a formatted line is too long");
    bytes_add(b, line, (size_t)length);
}

/* ---- sockets ------------------------------------------------------------------------------ */
static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}
static inline void send_at_once(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
static inline void watch(int epoll, int operation, int fd, uint32_t events, uint32_t id) {
    struct epoll_event event = {.events = events, .data.u32 = id};
    if (epoll_ctl(epoll, operation, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
}
static inline void raise_fd_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}
/* Milliseconds to wait for the next timer: rounded up, so that it is due when epoll returns. */
static inline int wait_ms(const timer_heap *heap, int longest_ms) {
    if (!heap->count) return longest_ms;
    uint64_t now = mono_ns(), due = heap->items[0].due_ns;
    if (due <= now) return 0;
    uint64_t ms = (due - now + 999999) / 1000000;
    return ms < (uint64_t)longest_ms ? (int)ms : longest_ms;
}

#endif
