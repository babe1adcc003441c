// Writes a log to a block device, a record of 4 KiB each 40 ms, as one host in one epoch; see model/history.ts.
//   writer DEVICE EPOCH NOTES   looks for the log's end and goes on from there, until it is killed. What was answered
//                               ("A position") and what failed ("E position errno") is appended to the file NOTES. After
//                               an error the same record is tried again: this host does not believe that it lost.
//   writer DEVICE               prints the epoch of each record, or "-", a line for each block.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096 };
static const uint64_t MAGIC = 0x616f652d63736921;  // "aoe-csi!"

struct record {
    uint64_t magic, epoch, position, fill[BLOCK / 8 - 4], sum;
};

// FNV-1a over the words, which also tells where a record was torn.
static uint64_t sum(const struct record *r) {
    const uint64_t *words = (const uint64_t *)r;
    uint64_t hash = 0xcbf29ce484222325;
    for (int i = 0; i < BLOCK / 8 - 1; i++) hash = (hash ^ words[i]) * 0x100000001b3;
    return hash;
}

static void fill(struct record *r, uint64_t epoch, uint64_t position) {
    r->magic = MAGIC;
    r->epoch = epoch;
    r->position = position;
    uint64_t state = epoch << 32 ^ position;
    for (int i = 0; i < BLOCK / 8 - 4; i++) r->fill[i] = state = state * 6364136223846793005 + 1442695040888963407;
    r->sum = sum(r);
}

// Epoch of the record at a position, 0 when there is no whole one.
static uint64_t epoch_at(int device, uint64_t position, struct record *r) {
    ssize_t n = pread(device, r, BLOCK, position * BLOCK);
    if (n < 0) { perror("read"); exit(1); }
    return n == BLOCK && r->magic == MAGIC && r->position == position && r->sum == sum(r) ? r->epoch : 0;
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 4) return 2;
    int device = open(argv[1], (argc == 2 ? O_RDONLY : O_RDWR) | O_DIRECT);
    if (device < 0) { perror(argv[1]); return 1; }
    uint64_t blocks = lseek(device, 0, SEEK_END) / BLOCK;
    struct record *r;
    if (posix_memalign((void **)&r, BLOCK, BLOCK)) return 1;

    if (argc == 2) {
        // A hole of this size is the end.
        for (uint64_t position = 0, empty = 0; position < blocks && empty < 256; position++) {
            uint64_t epoch = epoch_at(device, position, r);
            empty = epoch ? 0 : empty + 1;
            if (epoch) printf("%llu\n", (unsigned long long)epoch);
            else puts("-");
        }
        return 0;
    }

    uint64_t epoch = strtoull(argv[2], NULL, 10), low = 0, high = blocks;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (epoch_at(device, middle, r)) low = middle + 1;
        else high = middle;
    }
    int notes = open(argv[3], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (notes < 0) { perror(argv[3]); return 1; }
    for (uint64_t position = low; position < blocks;) {
        fill(r, epoch, position);
        if (pwrite(device, r, BLOCK, position * BLOCK) == BLOCK) {
            dprintf(notes, "A %llu\n", (unsigned long long)position++);
            usleep(40000);
        } else {
            dprintf(notes, "E %llu %d\n", (unsigned long long)position, errno);
            usleep(200000);
        }
    }
    fprintf(stderr, "the device is full\n");
    return 1;
}
