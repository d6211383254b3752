// Loops that read, copy and write memory as fast as the processor can: what ceilings.cpu measures.
//
// Compiled on the machine that is measured, for its widest vectors. Each thread works on its own part of the buffer,
// as the threads of a reduction do, and goes over it `repeats` times.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
// Loads in flight that do not wait for each other; few enough for the registers of every architecture.
#define UNROLLED 8
#define STEP (WIDTH * UNROLLED)

typedef uint64_t vector __attribute__((vector_size(WIDTH)));

// Whatever the compiler knows of memory, it has to forget here: no pass over the buffer may be dropped, or become a
// call of the C library's.
#define FORGET(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

static uint64_t read_part(const char *part, size_t nbytes, size_t repeats) {
    vector gathered[UNROLLED] = {{0}};
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t at = 0; at < nbytes; at += STEP)
#pragma GCC unroll 8
            for (int i = 0; i < UNROLLED; i++)
                gathered[i] |= *(const vector *)(part + at + i * WIDTH);
        FORGET(part);
    }
    uint64_t all = 0;
    for (int i = 0; i < UNROLLED; i++)
        for (size_t lane = 0; lane < WIDTH / sizeof(uint64_t); lane++) all |= gathered[i][lane];
    return all;
}

static void copy_part(char *to, const char *from, size_t nbytes, size_t repeats) {
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t at = 0; at < nbytes; at += STEP) {
#pragma GCC unroll 8
            for (int i = 0; i < UNROLLED; i++)
                *(vector *)(to + at + i * WIDTH) = *(const vector *)(from + at + i * WIDTH);
            FORGET(to);
        }
    }
}

static void write_part(char *to, size_t nbytes, size_t repeats) {
    const vector zero = {0};
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t at = 0; at < nbytes; at += STEP) {
#pragma GCC unroll 8
            for (int i = 0; i < UNROLLED; i++) *(vector *)(to + at + i * WIDTH) = zero;
            FORGET(to);
        }
    }
}

static void move_part(char *to, const char *from, size_t nbytes, size_t repeats) {
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        memcpy(to, from, nbytes);
        FORGET(to);
    }
}

static void set_part(char *to, size_t nbytes, size_t repeats) {
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        memset(to, 0, nbytes);
        FORGET(to);
    }
}

// The loops by number; `nbytes` is each thread's part, a multiple of STEP. Copies go from a part's first half to its
// second. Returns what the reads gathered, so that they are not for nothing.
uint64_t run(int loop, char *buffer, size_t nbytes, size_t repeats, int threads) {
    uint64_t all = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : all)
    for (int thread = 0; thread < threads; thread++) {
        char *part = buffer + thread * nbytes;
        switch (loop) {
            case 0: all |= read_part(part, nbytes, repeats); break;
            case 1: copy_part(part + nbytes / 2, part, nbytes / 2, repeats); break;
            case 2: move_part(part + nbytes / 2, part, nbytes / 2, repeats); break;
            case 3: write_part(part, nbytes, repeats); break;
            case 4: set_part(part, nbytes, repeats); break;
        }
    }
    return all;
}
