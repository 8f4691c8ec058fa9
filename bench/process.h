/* process.h - what a process tree cost: CPU time, memory, and what the rest of the machine took, from /proc. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "common.h"
#include <ctype.h>
#include <dirent.h>

enum { TREE_MAX = 256, ROOTS_MAX = 16 };

typedef struct { int pids[ROOTS_MAX], count; } pid_list;
typedef struct { double sut_s, helper_s, own_s, busy_s, stolen_s, rss_kib, pss_kib; uint64_t at_ns; } machine_sample;

/* The parent of a process, or -1.  The command's name may hold spaces and brackets: read from its last one. */
static inline int parent_of(int pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    size_t got = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[got] = 0;
    char *bracket = strrchr(line, ')');
    int parent = -1;
    if (bracket) sscanf(bracket + 1, " %*c %d", &parent);
    return parent;
}

/* The roots and all their descendants. */
static inline int process_tree(const pid_list *roots, int *tree) {
    int count = 0, grown = -1;
    for (int i = 0; i < roots->count; i++) tree[count++] = roots->pids[i];
    DIR *proc = count ? opendir("/proc") : NULL;
    while (proc && grown != count) {
        grown = count;
        rewinddir(proc);
        for (struct dirent *entry; (entry = readdir(proc)) && count < TREE_MAX;) {
            if (!isdigit((unsigned char)entry->d_name[0])) continue;
            int pid = atoi(entry->d_name), parent = parent_of(pid);
            bool known = false, child = false;
            for (int i = 0; i < count; i++) {
                known |= tree[i] == pid;
                child |= tree[i] == parent;
            }
            if (child && !known) tree[count++] = pid;
        }
    }
    if (proc) closedir(proc);
    return count;
}

/* The CPU clock of a process counts all its threads, in nanoseconds (the fields of /proc/PID/stat only in hundredths). */
static inline double cpu_seconds(const pid_list *roots) {
    int tree[TREE_MAX], count = process_tree(roots, tree);
    double sum = 0;
    for (int i = 0; i < count; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(tree[i], &clock) == 0) sum += (double)clock_ns(clock) / 1e9;
    }
    return sum;
}

static inline void memory_kib(const pid_list *roots, double *rss, double *pss) {
    int tree[TREE_MAX], count = process_tree(roots, tree);
    *rss = *pss = 0;
    for (int i = 0; i < count; i++) {
        char path[64], line[256];
        double kib;
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", tree[i]);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file)) {
            if (sscanf(line, "Rss: %lf", &kib) == 1) *rss += kib;
            if (sscanf(line, "Pss: %lf", &kib) == 1) *pss += kib;
        }
        if (file) fclose(file);
    }
}

/* Busy and stolen time of all cores, in seconds. */
static inline void cores(double *busy, double *stolen) {
    double user = 0, nice_ = 0, system_ = 0, idle, wait, irq = 0, soft = 0, steal = 0, tick = (double)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "r");
    if (file) {
        if (fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &user, &nice_, &system_, &idle, &wait, &irq, &soft, &steal) != 8) steal = 0;
        fclose(file);
    }
    *busy = (user + nice_ + system_ + irq + soft) / tick;
    *stolen = steal / tick;
}

static inline machine_sample sample_machine(const pid_list *sut, const pid_list *helpers, bool memory_first) {
    machine_sample s = {0};
    if (memory_first) memory_kib(sut, &s.rss_kib, &s.pss_kib);
    s.sut_s = cpu_seconds(sut);
    s.helper_s = cpu_seconds(helpers);
    s.own_s = (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9;
    cores(&s.busy_s, &s.stolen_s);
    s.at_ns = mono_ns();
    if (!memory_first) memory_kib(sut, &s.rss_kib, &s.pss_kib);
    return s;
}

#endif
