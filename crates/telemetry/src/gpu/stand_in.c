/* A stand-in for NVIDIA's libnvidia-ml.so.1 whose devices do what a script says.
 *
 * The script is the file "<this library>.script" beside the library, read anew with each call, so
 * a test rewrites it while the library is in use. A line is "key number"; a reading without a line
 * is one that the device does not support.
 *
 *   init.error N     nvmlInit returns N            count.error N    nvmlDeviceGetCount returns N
 *   devices N        number of devices             hang 1           every reading waits until 0
 *   I.error N        every call on device I (its handle too) returns N
 *   I.uuid N         identity of device I          I.total I.used I.utilisation I.temperature
 *   I.power (mW)     I.energy (mJ)                 I.corrected I.uncorrected (ECC, aggregate)
 *   I.xid N          code of the last critical error; I.xid_serial N counts them
 *
 * Built with -DWITHOUT_SHUTDOWN, -DWITHOUT_EVENTS or -DWITHOUT_MEMORY it lacks those symbols, as
 * a library of another age would. Layouts and codes are those of nvml.h 12.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int result;
typedef unsigned long long number;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, TIMEOUT = 10 };
enum { MOST = 16 };

struct device { unsigned index; };
struct event_set { int device; number serial; };
struct event { struct device *device; number type, data; unsigned instance, compute; };
struct memory { unsigned version; number total, reserved, free, used; };
struct utilisation { unsigned gpu, memory; };

static struct device devices[MOST];

/* The value of a key; 0 when the script lacks it. */
static int find(const char *key, number *value) {
    Dl_info info;
    char path[4096], word[64];
    number found;
    int there = 0;
    if (!dladdr((void *)find, &info)) return 0;
    snprintf(path, sizeof path, "%s.script", info.dli_fname);
    FILE *script = fopen(path, "r");
    if (!script) return 0;
    while (fscanf(script, "%63s %llu", word, &found) == 2)
        if (!strcmp(word, key)) { *value = found; there = 1; }
    fclose(script);
    return there;
}

static number get(const char *key, number otherwise) {
    number value;
    return find(key, &value) ? value : otherwise;
}

static int find_of(const struct device *device, const char *name, number *value) {
    char key[64];
    snprintf(key, sizeof key, "%u.%s", device->index, name);
    return find(key, value);
}

static result state(const struct device *device) {
    number error = 0;
    while (get("hang", 0)) usleep(2000);
    find_of(device, "error", &error);
    return (result)error;
}

static result reading(const struct device *device, const char *name, number *value) {
    result error = state(device);
    if (error) return error;
    return find_of(device, name, value) ? SUCCESS : NOT_SUPPORTED;
}

static result small(const struct device *device, const char *name, unsigned *value) {
    number found = 0;
    result error = reading(device, name, &found);
    *value = (unsigned)found;
    return error;
}

result nvmlInit_v2(void) { return (result)get("init.error", SUCCESS); }
#ifndef WITHOUT_SHUTDOWN
result nvmlShutdown(void) { return SUCCESS; }
#endif

result nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "550.54.15");
    return SUCCESS;
}

result nvmlDeviceGetCount_v2(unsigned *count) {
    result error = (result)get("count.error", SUCCESS);
    if (!error) *count = (unsigned)get("devices", 0);
    return error;
}

result nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    if (index >= MOST || index >= get("devices", 0)) return INVALID_ARGUMENT;
    devices[index].index = index;
    *device = &devices[index];
    return state(*device);
}

result nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length) {
    number identity = device->index;
    result error = state(device);
    if (error) return error;
    find_of(device, "uuid", &identity);
    snprintf(uuid, length, "GPU-00000000-0000-0000-0000-%012llu", identity);
    return SUCCESS;
}

#ifndef WITHOUT_MEMORY
result nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory *memory) {
    result error = reading(device, "total", &memory->total);
    if (error) return error;
    memory->used = 0;
    find_of(device, "used", &memory->used);
    memory->reserved = 0;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
#endif

result nvmlDeviceGetUtilizationRates(struct device *device, struct utilisation *rates) {
    rates->memory = 0;
    return small(device, "utilisation", &rates->gpu);
}

result nvmlDeviceGetTemperature(struct device *device, int sensor, unsigned *celsius) {
    return sensor ? INVALID_ARGUMENT : small(device, "temperature", celsius);
}

result nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatts) {
    return small(device, "power", milliwatts);
}

result nvmlDeviceGetTotalEnergyConsumption(struct device *device, number *millijoules) {
    return reading(device, "energy", millijoules);
}

result nvmlDeviceGetTotalEccErrors(struct device *device, int error, int counter, number *count) {
    if (counter != 1) return INVALID_ARGUMENT; /* aggregate */
    return reading(device, error ? "uncorrected" : "corrected", count);
}

#ifndef WITHOUT_EVENTS
result nvmlEventSetCreate(struct event_set **set) {
    *set = malloc(sizeof **set);
    (*set)->device = -1;
    return SUCCESS;
}

result nvmlEventSetFree(struct event_set *set) {
    free(set);
    return SUCCESS;
}

result nvmlDeviceRegisterEvents(struct device *device, number types, struct event_set *set) {
    result error = state(device);
    if (error) return error;
    if (types != 8) return NOT_SUPPORTED; /* critical XID errors alone */
    set->device = (int)device->index;
    set->serial = 0;
    find_of(device, "xid_serial", &set->serial);
    return SUCCESS;
}

/* An event waits in its set until it is fetched, as in the driver, also when the device is gone. */
result nvmlEventSetWait_v2(struct event_set *set, struct event *event, unsigned milliseconds) {
    for (unsigned waited = 0;; waited += 2) {
        number serial = 0;
        if (set->device >= 0 && find_of(&devices[set->device], "xid_serial", &serial)
            && serial > set->serial) {
            set->serial++;
            memset(event, 0, sizeof *event);
            event->device = &devices[set->device];
            event->type = 8;
            find_of(event->device, "xid", &event->data);
            return SUCCESS;
        }
        if (waited >= milliseconds) return TIMEOUT;
        usleep(2000);
    }
}
#endif
