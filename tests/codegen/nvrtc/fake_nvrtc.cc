// A stand-in for libnvrtc whose answers the "source" orders, so that every way in which the real
// one can fail is tested where there is none. Built several times, with another version or without
// one function. Directives, one a line:
//   // fake: result N        compiling returns N
//   // fake: log TEXT        a line of the log
//   // fake: cubin HEX       the cubin's bytes; without it there is none
//   // fake: sleep MS        compiling takes this long
//   // fake: unsupported     asking for the cubin fails
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace {

struct Program {
  std::string source, name, log, options;
  int headers = 0;
};

std::string Directive(const std::string& source, const std::string& name) {
  const std::string start = "// fake: " + name + " ";
  std::string all;
  for (size_t at = source.find(start); at != std::string::npos; at = source.find(start, at + 1)) {
    const size_t from = at + start.size();
    if (!all.empty()) all += "\n";
    all += source.substr(from, source.find('\n', from) - from);
  }
  return all;
}

std::string Cubin(const Program& program) {
  const std::string hex = Directive(program.source, "cubin");
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = FAKE_MAJOR;
  *minor = FAKE_MINOR;
  return 0;
}

int nvrtcGetNumSupportedArchs(int* count) {
  *count = FAKE_MAJOR * 100 + FAKE_MINOR >= 1208 ? 6 : 4;
  return 0;
}

int nvrtcGetSupportedArchs(int* archs) {
  const int all[] = {80, 86, 89, 90, 100, 120};
  int count = 0;
  nvrtcGetNumSupportedArchs(&count);
  memcpy(archs, all, sizeof(int) * static_cast<size_t>(count));
  return 0;
}

const char* nvrtcGetErrorString(int result) {
  return result == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_OF_THE_FAKE";
}

int nvrtcCreateProgram(void** program, const char* source, const char* name, int headers,
                       const char* const*, const char* const*) {
  *program = new Program{source, name, "", "", headers};
  return 0;
}

int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}

int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
  Program& program = *static_cast<Program*>(handle);
  for (int i = 0; i < count; ++i) program.options += std::string(options[i]) + " ";
  const std::string sleep = Directive(program.source, "sleep");
  if (!sleep.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(sleep)));
  program.log = Directive(program.source, "log");
  const std::string result = Directive(program.source, "result");
  return result.empty() ? 0 : std::stoi(result);
}

int nvrtcGetCUBINSize(void* handle, size_t* bytes) {
  const Program& program = *static_cast<Program*>(handle);
  if (program.source.find("// fake: unsupported") != std::string::npos) return 4;
  *bytes = Cubin(program).size();
  return 0;
}

int nvrtcGetCUBIN(void* handle, char* out) {
  const std::string cubin = Cubin(*static_cast<Program*>(handle));
  memcpy(out, cubin.data(), cubin.size());
  return 0;
}

// The "PTX" says what was asked for.
int nvrtcGetPTXSize(void* handle, size_t* bytes) {
  const Program& program = *static_cast<Program*>(handle);
  *bytes = program.name.size() + program.options.size() + 2;
  return 0;
}

int nvrtcGetPTX(void* handle, char* out) {
  const Program& program = *static_cast<Program*>(handle);
  const std::string text = program.name + " " + program.options;
  memcpy(out, text.c_str(), text.size() + 1);
  return 0;
}

int nvrtcGetProgramLogSize(void* handle, size_t* bytes) {
  *bytes = static_cast<Program*>(handle)->log.size() + 1;
  return 0;
}

#ifndef FAKE_WITHOUT_LOG
int nvrtcGetProgramLog(void* handle, char* out) {
  const std::string& log = static_cast<Program*>(handle)->log;
  memcpy(out, log.c_str(), log.size() + 1);
  return 0;
}
#endif

}  // extern "C"
