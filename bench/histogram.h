/* histogram.h - percentiles of times in a fixed space: 256 steps per power of two, so the error is below half a percent. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include "common.h"

enum { STEPS = 256, POWERS = 40 };
typedef struct { uint64_t count, max_us, cells[POWERS][STEPS]; } histogram;

static inline void histogram_add(histogram *h, uint64_t ns) {
    uint64_t us = ns / 1000, scaled = us;
    int power = 0;
    for (; scaled >= 2 * STEPS; scaled >>= 1) power++;
    if (scaled >= STEPS) { power++; scaled -= STEPS; }
    /* The first row is linear; row p > 0 starts at STEPS << (p - 1). */
    h->cells[power < POWERS ? power : POWERS - 1][scaled]++;
    h->count++;
    if (us > h->max_us) h->max_us = us;
}

/* The value in ms below which the given share lies; -1 if there is none. */
static inline double histogram_ms(const histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;
    if (!h->count) return -1;
    for (int power = 0; power < POWERS; power++)
        for (int step = 0; step < STEPS; step++)
            if ((seen += h->cells[power][step]) > wanted)
                return (double)(power ? ((uint64_t)(STEPS + step) << (power - 1)) : (uint64_t)step) / 1e3;
    return (double)h->max_us / 1e3;
}

#endif
