// How a test talks to the stand-in for libcuda (fake_driver.cc): its own functions beside
// cuGetProcAddress_v2.
#pragma once

#include <dlfcn.h>

#include <string>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/device/cuda/driver.h"

namespace renga::cuda {

inline std::string FakeFile(const std::string& name) {
  return StrCat(RENGA_BINARY_DIR, "/fake_cuda/", name, ".so");
}

// The stand-in as the whole process has it, in the state in which it starts.
class FakeDriver {
 public:
  explicit FakeDriver(const std::string& name = "fake_driver")
      : handle_(dlopen(FakeFile(name).c_str(), RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_NE(handle_, nullptr) << dlerror();
    Find<void()>("fake_reset")();
  }
  ~FakeDriver() { dlclose(handle_); }

  // From now on the call with this number (from 1) gives `result` and does nothing.
  void FailAt(int call, int result) { Find<void(int, int)>("fake_fail_at")(call, result); }
  // Once a kernel is launched that has this in its name, all calls give `result`.
  void FailKernel(const char* name, int result) {
    Find<void(const char*, int)>("fake_fail_kernel")(name, result);
  }
  // Once one is launched, no stream is ever done.
  void HangKernel(const char* name) { Find<void(const char*)>("fake_hang_kernel")(name); }
  void SetDevices(int count) { Find<void(int)>("fake_set_devices")(count); }
  void SetSm(int sm) { Find<void(int)>("fake_set_sm")(sm); }
  // What each byte of memory has when it is allocated.
  void SetFresh(int byte) { Find<void(int)>("fake_set_fresh")(byte); }
  // From now on no stream is ever done.
  void Hang() { Find<void()>("fake_hang")(); }
  // The first call after that which a driver would not have come back from; empty: none.
  std::string blocked() { return Find<const char*()>("fake_blocked")(); }
  // From now on streams do what they are told only when somebody waits for it.
  void BeLate() { Find<void(int)>("fake_set_late")(1); }
  // From now on streams do it at any moment that their order allows, by a seed other than 0.
  void ActByChance(unsigned seed) { Find<void(unsigned)>("fake_by_chance")(seed); }
  // Gives each launch, when its turn comes, to `run`: the function's handle, the struct that it
  // takes (of so many bytes), its blocks.
  void OnLaunch(void (*run)(void* function, const void* arguments, unsigned grid),
                size_t argument_bytes) {
    Find<void(void (*)(void*, const void*, unsigned), size_t)>("fake_on_launch")(run,
                                                                                 argument_bytes);
  }
  int calls() { return Find<int()>("fake_calls")(); }
  int Count(const char* call) { return Find<int(const char*)>("fake_count")(call); }
  // Launches, graphs not counted, and those that may start early.
  int launches() { return Find<int()>("fake_launches")(); }
  int overlapping() { return Find<int()>("fake_overlapping")(); }
  // Of a function's handle, the last name it was asked for by.
  std::string NameOf(void* function) { return Find<const char*(void*)>("fake_name")(function); }
  // The name of the call that failed; empty where none did.
  std::string failed() { return Find<const char*()>("fake_failed")(); }
  // Contexts, memory, modules, streams, graphs and events that nobody has freed.
  int live() { return Find<int()>("fake_live")(); }
  // Of the last launch.
  const LaunchConfig& config() { return *Find<const LaunchConfig*()>("fake_config")(); }
  const LaunchAttribute* attributes() {
    return Find<const LaunchAttribute*()>("fake_attributes")();
  }
  int first_argument() { return Find<int()>("fake_first_argument")(); }
  int shared_allowed() { return Find<int()>("fake_shared_allowed")(); }

 private:
  template <typename F>
  F* Find(const char* name) {
    return reinterpret_cast<F*>(dlsym(handle_, name));
  }

  void* handle_;
};

}  // namespace renga::cuda
