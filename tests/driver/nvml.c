/* libnvidia-ml.so.1 without a GPU: see fault.h. With OLD it lacks what came after driver 450. */
#include "fault.h"

typedef struct device *device_t;
#define INDEX(device) ((int)(size_t)(device) - 1)

/* A number that a card has: FUNCTION(name, type, value name, otherwise). */
#define NUMBER(function, type, name, otherwise) \
  EXPORT int function(device_t device, type *value) { \
    (void)device; \
    ENTER; \
    *value = (type)value_of(name, otherwise); \
    return 0; \
  }

static int say(char *text, unsigned size, const char *what) {
  return snprintf(text, size, "%s", what) < (int)size ? 0 : 7;
}

EXPORT int nvmlInit_v2(void) { ENTER; return 0; }
EXPORT int nvmlShutdown(void) { ENTER; return 0; }

EXPORT const char *nvmlErrorString(int status) {
  switch (status) {
  case 9: return "Driver Not Loaded";
  case 15: return "GPU is lost";
  case 18: return "Driver/library version mismatch";
  default: return "Unknown Error";
  }
}

EXPORT int nvmlSystemGetDriverVersion(char *text, unsigned size) {
  ENTER;
  const char *driver = text_of("driver");
  return say(text, size, driver ? driver : "580.65.06");
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version) {
  ENTER;
  *version = (int)value_of("cuda", 13000);
  return 0;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count) {
  ENTER;
  *count = (unsigned)value_of("devices", 1);
  return 0;
}

/* `lost=1`: the handle of that card cannot be had. */
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
  ENTER;
  *device = (device_t)(size_t)(index + 1);
  return value_of("lost", -1) == (long)index ? 15 : 0;
}

EXPORT int nvmlDeviceGetName(device_t device, char *text, unsigned size) {
  ENTER;
  return say(text, size, INDEX(device) >= 100 ? "NVIDIA H100 80GB HBM3 MIG 1g.10gb" : "NVIDIA H100 80GB HBM3");
}

typedef struct {
  char legacy[16];
  unsigned domain, bus, device, pci_id, subsystem;
  char bus_id[32];
} pci_t;

EXPORT int nvmlDeviceGetPciInfo_v3(device_t device, pci_t *pci) {
  ENTER;
  memset(pci, 0, sizeof *pci);
  snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", INDEX(device) + 1);
  return 0;
}

EXPORT int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor) {
  (void)device;
  ENTER;
  *major = 9;
  *minor = 0;
  return 0;
}

NUMBER(nvmlDeviceGetComputeMode, int, "mode", 0)
NUMBER(nvmlDeviceGetPersistenceMode, int, "persistence", 1)

EXPORT int nvmlDeviceGetMigMode(device_t device, unsigned *now, unsigned *pending) {
  (void)device;
  ENTER;
  *now = *pending = (unsigned)value_of("mig", 0);
  return 0;
}

NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, "most", 7)

/* Of the seven places two are taken. */
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *instance) {
  (void)device;
  ENTER;
  *instance = (device_t)(size_t)(index + 101);
  return index == 0 || index == 3 ? 0 : 6;
}

EXPORT int nvmlDeviceGetEccMode(device_t device, int *now, int *pending) {
  (void)device;
  ENTER;
  *now = *pending = (int)value_of("ecc", 1);
  return 0;
}

EXPORT int nvmlDeviceGetTotalEccErrors(device_t device, int type, int counter, unsigned long long *count) {
  (void)device;
  ENTER;
  *count = type == 1 && counter == 0 ? (unsigned long long)value_of("uncorrected", 0) : 77;
  return 0;
}

NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "throttle", 0)

EXPORT int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *celsius) {
  (void)device;
  ENTER;
  *celsius = 31;
  return sensor;
}

typedef struct {
  unsigned long long total, free, used;
} memory_t;

EXPORT int nvmlDeviceGetMemoryInfo(device_t device, memory_t *memory) {
  (void)device;
  ENTER;
  *memory = (memory_t){80ULL << 30, 79ULL << 30, 1ULL << 30};
  return 0;
}

NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, "generation", 5)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, "most_generation", 5)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "width", 16)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, "most_width", 16)

/* `links=18`, of which the last does not answer to `down=1`. */
EXPORT int nvmlDeviceGetNvLinkState(device_t device, unsigned link, int *active) {
  (void)device;
  ENTER;
  long links = value_of("links", 0);
  *active = (long)link < links - value_of("down", 0);
  return (long)link < links ? 0 : 3;
}

#ifndef OLD
typedef struct {
  unsigned version;
  unsigned long long total, reserved, free, used;
} memory_v2_t;

EXPORT int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_v2_t *memory) {
  (void)device;
  ENTER;
  *memory = (memory_v2_t){memory->version, 80ULL << 30, 1ULL << 30, 79ULL << 30, 4ULL << 20};
  return 0;
}

typedef struct {
  unsigned pid;
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
} process_t;

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count, process_t *list) {
  (void)device;
  ENTER;
  unsigned room = *count;
  *count = (unsigned)value_of("processes", 0);
  for (unsigned i = 0; i < room && i < *count; i++)
    list[i] = (process_t){i + 1, i ? ~0ULL : 3ULL << 30, ~0U, ~0U};
  return room < *count ? 7 : 0;
}

EXPORT int nvmlDeviceGetRemappedRows(device_t device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
  (void)device;
  ENTER;
  *corrected = *uncorrected = 2;
  *pending = (unsigned)value_of("remap_pending", 0);
  *failed = (unsigned)value_of("remap_failed", 0);
  return 0;
}

typedef struct {
  unsigned char cluster[16];
  int status;
  unsigned clique;
  unsigned char state;
} fabric_t;

EXPORT int nvmlDeviceGetGpuFabricInfo(device_t device, fabric_t *fabric) {
  (void)device;
  ENTER;
  memset(fabric, 0, sizeof *fabric);
  fabric->state = (unsigned char)value_of("fabric", 0);
  fabric->status = (int)value_of("fabric_status", 0);
  return 0;
}
#endif
