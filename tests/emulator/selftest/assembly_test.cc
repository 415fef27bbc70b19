// The same kernels for real GPUs: NVRTC compiles and assembles them, which needs no GPU. That
// proves the PTX behind the primitives; what it computes is proved on the emulator for the host's
// meaning and on a GPU for its own.

#include <dlfcn.h>

#include <fstream>
#include <sstream>

#include "tests/emulator/compile.h"
#include "tests/emulator/selftest/support.h"

namespace renga::emulator {
namespace {

// As far as these tests need them, after nvrtc.h; results are 0 for success.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(Program, int, const char* const*);
  int (*log_bytes)(Program, size_t*);
  int (*log)(Program, char*);
  int (*cubin_bytes)(Program, size_t*);
  int (*destroy)(Program*);

  bool Load() {
    void* library = nullptr;
    for (const char* name :
         {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so",
          "/usr/local/cuda/lib/libnvrtc.so"}) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW);
    }
    if (library == nullptr) return false;
    const auto find = [&](auto* function, const char* name) {
      *function =
          reinterpret_cast<std::remove_reference_t<decltype(*function)>>(dlsym(library, name));
      return *function != nullptr;
    };
    return find(&create, "nvrtcCreateProgram") && find(&compile, "nvrtcCompileProgram") &&
           find(&log_bytes, "nvrtcGetProgramLogSize") && find(&log, "nvrtcGetProgramLog") &&
           find(&cubin_bytes, "nvrtcGetCUBINSize") && find(&destroy, "nvrtcDestroyProgram");
  }

  // The log of compiling a file for an architecture; "" for a clean one.
  std::string Compile(const std::string& file, const std::string& arch) const {
    std::ifstream stream(KernelFile(file));
    std::ostringstream text;
    text << stream.rdbuf();
    Program program = nullptr;
    if (create(&program, text.str().c_str(), file.c_str(), 0, nullptr, nullptr) != 0) {
      return "nvrtcCreateProgram failed";
    }
    const std::string architecture = "--gpu-architecture=" + arch;
    const char* options[] = {architecture.c_str(), "--std=c++17",
                             "--include-path=" RENGA_SOURCE_DIR};
    const int result = compile(program, 3, options);
    size_t bytes = 0;
    log_bytes(program, &bytes);
    std::string output(bytes, '\0');
    if (bytes > 0) log(program, output.data());
    output.resize(strlen(output.c_str()));
    size_t image = 0;
    cubin_bytes(program, &image);
    destroy(&program);
    if (result != 0) return StrCat("result ", result, "\n", output);
    // How ptxas spends registers is not this test's concern.
    if (image == 0) return StrCat("no machine code\n", output);
    return output.find("error") == output.npos && output.find("warning") == output.npos ? ""
                                                                                        : output;
  }
};

class Assembly : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Architectures, Assembly,
                         testing::Values("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"),
                         [](const auto& info) { return info.param; });

TEST_P(Assembly, EveryKernelAssembles) {
  Nvrtc nvrtc;
  if (nvrtc.Load()) {
    for (const std::string& file : KernelFiles()) {
      // All kernels for the two ends, every instruction for all.
      if (GetParam() != "sm_80" && GetParam() != "sm_90a" && file != "every_primitive.cu") continue;
      EXPECT_EQ(nvrtc.Compile(file, GetParam()), "") << file;
    }
    return;
  }
  if (RunCommand("nvcc --version").exit_code != 0) {
    GTEST_SKIP() << "neither libnvrtc nor nvcc: the PTX of the primitives is not checked";
  }
  const CommandOutput output =
      RunCommand(StrCat("nvcc -std=c++17 -Werror all-warnings -I ", ShellQuoted(RENGA_SOURCE_DIR),
                        " -arch=", GetParam(), " --cubin -o /dev/null ",
                        ShellQuoted(KernelFile("every_primitive.cu"))));
  EXPECT_EQ(output.exit_code, 0) << output.text;
}

// Each function that primitives.cuh declares is called in every_primitive.cu.
TEST(Assembly, CoversEveryPrimitive) {
  std::ifstream header(RENGA_SOURCE_DIR "/codegen/kernels/primitives.cuh");
  std::ifstream file(KernelFile("every_primitive.cu"));
  std::ostringstream calls;
  calls << file.rdbuf();
  int functions = 0;
  for (std::string line; std::getline(header, line);) {
    const size_t mark = line.find("__device__ __forceinline__ ");
    const size_t open = line.find('(', mark);
    if (mark == line.npos || open == line.npos) continue;
    size_t begin = open;
    while (isalnum(line[begin - 1]) || line[begin - 1] == '_') --begin;
    const std::string name = line.substr(begin, open - begin);
    if (name == "SharedArena") continue;  // its constructor
    ++functions;
    EXPECT_TRUE(calls.str().find(name + "(") != std::string::npos ||
                calls.str().find(name + "<") != std::string::npos)
        << name << " is called nowhere in every_primitive.cu";
  }
  EXPECT_GT(functions, 70);
}

}  // namespace
}  // namespace renga::emulator
