/* libcuda.so.1 without a GPU: see fault.h. With OLD it lacks what came after CUDA 5. */
#include "fault.h"

EXPORT int cuDriverGetVersion(int *version) {
  ENTER;
  *version = (int)value_of("cuda", 13000);
  return 0;
}

EXPORT int cuInit(unsigned flags) {
  (void)flags;
  puts("a driver may print what it likes");
  fflush(stdout);
  ENTER;
  return 0;
}

EXPORT int cuDeviceGetCount(int *count) {
  ENTER;
  *count = (int)value_of("devices", 1);
  return 0;
}

EXPORT int cuDeviceGet(int *device, int index) {
  ENTER;
  *device = index;
  return 0;
}

EXPORT int cuDeviceGetName(char *name, int size, int device) {
  (void)device;
  ENTER;
  snprintf(name, (size_t)size, "NVIDIA H100 80GB HBM3");
  return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  ENTER;
  *value = attribute == 75 ? 9 : 0;
  return attribute == 75 || attribute == 76 ? 0 : 1;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  (void)device;
  ENTER;
  *bytes = (size_t)80 << 30;
  return 0;
}

#ifndef OLD
EXPORT int cuGetErrorName(int status, const char **text) {
  *text = status == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
  return *text ? 0 : 1;
}

EXPORT int cuGetErrorString(int status, const char **text) {
  *text = status == 100 ? "no CUDA-capable device is detected" : NULL;
  return *text ? 0 : 1;
}
#endif
