/* A small libnvidia-ml.so.1: two GPUs, one of them with a MIG slice, whose state the tests set through standin_*().
 *
 * Structures and signatures are those of NVIDIA's nvml.h as far as gapbench calls it. Deprecated calls are left out, so
 * that using one fails; -DOLD_DRIVER leaves out what drivers before 2023 to 2025 lack and has the older temperature.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, VERSION_MISMATCH = 25 };
enum { POWER_INSTANT = 186 };

struct gpu {
    const char *uuid, *slice;
    unsigned sm_clock, memory_clock, power_mw, processes[4], process_count, compute_mode, mig, mig_pending, ecc, ecc_pending, pcie_gen;
    int temperature;
    unsigned long long reasons;
};
typedef struct device { struct gpu *gpu; int is_slice; } *nvmlDevice_t;

static struct gpu gpus[2];
static struct device whole[2] = {{&gpus[0], 0}, {&gpus[1], 0}}, slice = {&gpus[1], 1};
static unsigned gpu_count = 2;
static int started;
static char refused_call[64];
static int refusal;
static unsigned state[2][2]; /* persistence mode and locked clock of each */

void standin_reset(void) {
    static const struct gpu fresh = {.sm_clock = 1980, .memory_clock = 2619, .power_mw = 351250, .temperature = 41,
        .ecc = 1, .ecc_pending = 1, .pcie_gen = 5};
    gpus[0] = gpus[1] = fresh;
    gpus[0].uuid = "GPU-11111111-2222-3333-4444-000000000000";
    gpus[1].uuid = "GPU-11111111-2222-3333-4444-000000000001";
    gpus[1].slice = "MIG-99999999-2222-3333-4444-000000000001";
    gpu_count = 2;
    started = refusal = 0;
    refused_call[0] = 0;
    memset(state, 0, sizeof state);
}
__attribute__((constructor)) static void load(void) { standin_reset(); }

void standin_count(unsigned count) { gpu_count = count; }
void standin_clocks(int i, unsigned sm, unsigned memory) { gpus[i].sm_clock = sm; gpus[i].memory_clock = memory; }
void standin_reasons(int i, unsigned long long mask) { gpus[i].reasons = mask; }
void standin_heat(int i, int celsius, unsigned power_mw) { gpus[i].temperature = celsius; gpus[i].power_mw = power_mw; }
void standin_process(int i, unsigned pid) { gpus[i].processes[gpus[i].process_count++] = pid; }
void standin_modes(int i, unsigned mig, unsigned mig_pending, unsigned ecc, unsigned ecc_pending) {
    gpus[i].mig = mig; gpus[i].mig_pending = mig_pending; gpus[i].ecc = ecc; gpus[i].ecc_pending = ecc_pending;
}
void standin_compute_mode(int i, unsigned mode) { gpus[i].compute_mode = mode; }
/* Let one call ("" for every call that reads a device) answer with an error code from now on. */
void standin_refuse(const char *call, int code) {
    snprintf(refused_call, sizeof refused_call, "%s", call);
    refusal = code;
}
int standin_started(void) { return started; }

static int answer(const char *call) {
    if (!started) return UNINITIALIZED;
    return refusal && (!refused_call[0] || !strcmp(call, refused_call)) ? refusal : SUCCESS;
}
#define READ { int answered = answer(__func__); if (answered) return answered; }

int nvmlInitWithFlags(unsigned flags) {
    if (refusal && !strcmp(refused_call, __func__)) return refusal;
    started++;
    return flags ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlShutdown(void) { if (!started) return UNINITIALIZED; started--; return SUCCESS; }
const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : "an error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) { READ snprintf(text, size, "580.65.06"); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { READ *version = 13020; return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) { if (!started) return UNINITIALIZED; *count = gpu_count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t *device) {
    if (i >= gpu_count) return INVALID_ARGUMENT;
    *device = &whole[i];
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    for (unsigned i = 0; i < gpu_count; i++) {
        if (!strcmp(uuid, gpus[i].uuid)) { *device = &whole[i]; return SUCCESS; }
        if (gpus[i].slice && !strcmp(uuid, gpus[i].slice)) { *device = &slice; return SUCCESS; }
    }
    return NOT_FOUND;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t device, nvmlDevice_t *parent) {
    if (!device->is_slice) return INVALID_ARGUMENT;
    *parent = &whole[1];
    return SUCCESS;
}

int nvmlDeviceGetUUID(nvmlDevice_t d, char *text, unsigned size) { READ snprintf(text, size, "%s", d->gpu->uuid); return SUCCESS; }
int nvmlDeviceGetName(nvmlDevice_t d, char *text, unsigned size) { (void)d; READ snprintf(text, size, "NVIDIA Stand-in"); return SUCCESS; }

/* A slice has no clocks of its own. */
int nvmlDeviceGetClockInfo(nvmlDevice_t d, unsigned type, unsigned *mhz) {
    READ
    if (d->is_slice) return 3;
    if (type != 1 && type != 2) return INVALID_ARGUMENT;
    *mhz = type == 1 ? d->gpu->sm_clock : d->gpu->memory_clock;
    return SUCCESS;
}
int nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, unsigned type, unsigned *mhz) {
    (void)d; READ
    *mhz = type == 1 ? 1980 : 2619;
    return SUCCESS;
}

int nvmlDeviceGetMemoryBusWidth(nvmlDevice_t d, unsigned *bits) { (void)d; READ *bits = 5120; return SUCCESS; }

struct temperature { unsigned version, sensor; int celsius; };
#ifdef OLD_DRIVER
int nvmlDeviceGetTemperature(nvmlDevice_t d, unsigned sensor, unsigned *celsius) {
    READ
    if (sensor) return INVALID_ARGUMENT;
    *celsius = d->gpu->temperature;
    return SUCCESS;
}
#else
int nvmlDeviceGetTemperatureV(nvmlDevice_t d, struct temperature *t) {
    READ
    if (t->version != (sizeof *t | 1 << 24)) return VERSION_MISMATCH;
    if (t->sensor) return INVALID_ARGUMENT;
    t->celsius = d->gpu->temperature;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *mask) { READ *mask = d->gpu->reasons; return SUCCESS; }
#endif

struct field { unsigned id, scope; long long when, latency; unsigned type; int answer; union { double d; unsigned u; unsigned long long ull; } value; };
int nvmlDeviceGetFieldValues(nvmlDevice_t d, int count, struct field *fields) {
    if (!started) return UNINITIALIZED;
    for (struct field *f = fields; f < fields + count; f++) {
        f->answer = answer(__func__);
        memset(&f->value, 0xff, sizeof f->value); /* the wrong member of the union reads as nonsense */
        if (f->answer) continue;
        if (f->scope) f->answer = INVALID_ARGUMENT;
        else if (f->id == POWER_INSTANT) { f->type = 1; f->value.u = d->gpu->power_mw; }
        else f->answer = 3;
    }
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(nvmlDevice_t d, unsigned long long bytes[3]) {
    (void)d; READ
    bytes[0] = 150754820096ULL; bytes[1] = 150000000000ULL; bytes[2] = 754820096ULL;
    return SUCCESS;
}

struct process { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; };
int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, struct process *processes) {
    READ
    unsigned room = *count;
    *count = d->gpu->process_count;
    if (!*count) return SUCCESS;
    if (room < *count) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++) processes[i] = (struct process){d->gpu->processes[i], 1 << 20, 0, 0};
    return SUCCESS;
}
int nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *now, unsigned *pending) { READ *now = d->gpu->mig; *pending = d->gpu->mig_pending; return SUCCESS; }
int nvmlDeviceGetEccMode(nvmlDevice_t d, unsigned *now, unsigned *pending) { READ *now = d->gpu->ecc; *pending = d->gpu->ecc_pending; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t d, unsigned *gen) { READ *gen = d->gpu->pcie_gen; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t d, unsigned *gen) { (void)d; READ *gen = 5; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t d, unsigned *width) { (void)d; READ *width = 8; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t d, unsigned *width) { (void)d; READ *width = 16; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned *mw) { (void)d; READ *mw = 700000; return SUCCESS; }

/* What outlives a process, as a driver's state does: for each GPU persistence mode and locked clock (0: none), in the
 * file that STANDIN_STATE names. STANDIN_RIGHTS=none refuses changes, as to a user who is not root. */
static void state_load(void) {
    FILE *f = getenv("STANDIN_STATE") ? fopen(getenv("STANDIN_STATE"), "r") : NULL;
    if (!f) return;
    for (int i = 0; i < 2; i++) if (fscanf(f, "%u %u", &state[i][0], &state[i][1]) != 2) break;
    fclose(f);
}
static int state_store(nvmlDevice_t d, int which, unsigned value) {
    if (getenv("STANDIN_RIGHTS")) return 4;
    state_load();
    state[d->gpu - gpus][which] = value;
    FILE *f = getenv("STANDIN_STATE") ? fopen(getenv("STANDIN_STATE"), "w") : NULL;
    if (!f) return SUCCESS;
    for (int i = 0; i < 2; i++) fprintf(f, "%u %u\n", state[i][0], state[i][1]);
    fclose(f);
    return SUCCESS;
}
int nvmlDeviceGetDisplayActive(nvmlDevice_t d, unsigned *active) { READ *active = d->gpu == &gpus[1]; return SUCCESS; }
int nvmlDeviceGetComputeMode(nvmlDevice_t d, unsigned *mode) { READ *mode = d->gpu->compute_mode; return SUCCESS; }
int nvmlDeviceGetPersistenceMode(nvmlDevice_t d, unsigned *mode) { READ state_load(); *mode = state[d->gpu - gpus][0]; return SUCCESS; }
int nvmlDeviceSetPersistenceMode(nvmlDevice_t d, unsigned mode) { READ return state_store(d, 0, mode); }
int nvmlDeviceSetGpuLockedClocks(nvmlDevice_t d, unsigned least, unsigned most) { READ return least == most ? state_store(d, 1, most) : INVALID_ARGUMENT; }
int nvmlDeviceResetGpuLockedClocks(nvmlDevice_t d) { READ return state_store(d, 1, 0); }
int nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t d, unsigned memory, unsigned *count, unsigned *mhz) {
    (void)d; READ
    if (memory != 2619) return NOT_FOUND;
    unsigned room = *count;
    *count = 112;
    if (room < *count) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++) mhz[i] = 1980 - 15 * i;
    return SUCCESS;
}
