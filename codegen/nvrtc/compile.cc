#include "codegen/nvrtc/compile.h"

#include <algorithm>

#include "ir/base/status.h"

namespace renga::codegen {
namespace {

// nvrtcResult, as far as it decides what an error means to the user.
constexpr int kOutOfMemory = 1, kCompilation = 6;

// Errors show this much of a log: the first error is at its beginning, and one wrong line in a
// template can fill megabytes.
constexpr size_t kMaxLogBytes = 6000;

// A bound on what we allocate on the word of the library.
constexpr size_t kMaxOutputBytes = size_t{256} << 20;

std::string Where(const KernelSource& source, const GpuTarget& target) {
  return StrCat("kernel ", source.name,
                source.context.empty() ? "" : StrCat(" (", source.context, ")"), " for ",
                target.name);
}

std::string LogExcerpt(std::string_view log) {
  while (!log.empty() && (log.back() == '\n' || log.back() == ' ')) log.remove_suffix(1);
  if (log.size() <= kMaxLogBytes) return std::string(log);
  std::string_view head = log.substr(0, kMaxLogBytes);
  if (const size_t end = head.rfind('\n'); end != std::string_view::npos)
    head = head.substr(0, end);
  return StrCat(head, "\n(", log.size() - head.size(), " more bytes)");
}

std::vector<std::string> Options(const GpuTarget& target, const KernelSettings& settings) {
  std::vector<std::string> options = {
      StrCat("--gpu-architecture=", target.name),
      "--std=c++20",
      // Nothing from the current folder: only what the key covers.
      "--no-source-include",
      // Into the log, so that an error over stack can say which of the two it is.
      "--ptxas-options=--warn-on-spills",
      "--ptxas-options=--warn-on-local-memory-usage",
  };
  if (settings.line_info) options.emplace_back("--generate-line-info");
  return options;
}

// Destroys the program whatever happens in between.
struct Program {
  const NvrtcApi& api;
  NvrtcApi::Program handle = nullptr;
  ~Program() {
    if (handle != nullptr) api.destroy_program(&handle);
  }
};

// One of the outputs; texts without the NULs that end them.
absl::StatusOr<std::string> Output(const NvrtcApi& api, std::string_view what,
                                   int (*size)(NvrtcApi::Program, size_t*),
                                   int (*get)(NvrtcApi::Program, char*), const Program& program,
                                   bool is_text) {
  size_t bytes = 0;
  if (const int result = size(program.handle, &bytes); result != 0) {
    return absl::UnavailableError(
        StrCat("NVRTC returns no ", what, ": ", api.error_string(result)));
  }
  if (bytes > kMaxOutputBytes) {
    return absl::UnavailableError(StrCat("NVRTC returns ", bytes, " bytes of ", what));
  }
  std::string output(bytes, '\0');
  if (const int result = get(program.handle, output.data()); result != 0) {
    return absl::UnavailableError(
        StrCat("NVRTC returns no ", what, ": ", api.error_string(result)));
  }
  // A log has one after each part that a pass wrote.
  if (is_text) std::erase(output, '\0');
  return output;
}

absl::Status ResultStatus(const NvrtcLibrary& library, int result, const std::string& log) {
  const std::string text = LogExcerpt(log);
  const std::string after = text.empty() ? "" : StrCat(":\n", text);
  if (result == kCompilation) {
    return absl::InvalidArgumentError(StrCat("the source does not compile", after));
  }
  const std::string what = StrCat("NVRTC ", ToString(library.version()), " (", library.path(),
                                  ") fails: ", library.api().error_string(result), after);
  return result == kOutOfMemory ? absl::ResourceExhaustedError(what) : absl::UnavailableError(what);
}

absl::StatusOr<KernelBinary> Compile(const NvrtcLibrary& library, const KernelSource& source,
                                     const GpuTarget& target, const KernelSettings& settings) {
  if (!library.Supports(target)) {
    return absl::UnavailableError(
        StrCat("NVRTC ", ToString(library.version()), " (", library.path(),
               ") does not know this target, expected ", ToString(target.since),
               " or newer; install a newer one or name its folder in RENGA_NVRTC"));
  }
  // NVRTC takes C strings: copies that end in NUL, and no NUL before.
  const std::string file = StrCat(source.name, ".cu");
  std::vector<std::string> texts, names;
  for (const DeviceHeader& header : settings.headers) {
    texts.emplace_back(header.text);
    names.emplace_back(header.name);
  }
  const auto has_nul = [](const std::string& text) { return text.find('\0') != text.npos; };
  if (has_nul(file) || has_nul(source.text) || std::any_of(texts.begin(), texts.end(), has_nul)) {
    return absl::InvalidArgumentError("the source has a NUL byte in it, expected text");
  }
  std::vector<const char*> text_pointers, name_pointers, option_pointers;
  for (const std::string& text : texts) text_pointers.push_back(text.c_str());
  for (const std::string& name : names) name_pointers.push_back(name.c_str());
  const std::vector<std::string> options = Options(target, settings);
  for (const std::string& option : options) option_pointers.push_back(option.c_str());

  const NvrtcApi& api = library.api();
  Program program{api};
  if (const int result = api.create_program(&program.handle, source.text.c_str(), file.c_str(),
                                            static_cast<int>(texts.size()), text_pointers.data(),
                                            name_pointers.data());
      result != 0) {
    return ResultStatus(library, result, "");
  }
  const int result =
      api.compile_program(program.handle, static_cast<int>(options.size()), option_pointers.data());
  KernelBinary binary;
  absl::StatusOr<std::string> log =
      Output(api, "log", api.log_size, api.log, program, /*is_text=*/true);
  if (result != 0) return ResultStatus(library, result, log.ok() ? *log : "");
  RENGA_ASSIGN_OR_RETURN(binary.log, std::move(log));
  RENGA_ASSIGN_OR_RETURN(binary.cubin,
                         Output(api, "cubin", api.cubin_size, api.cubin, program, false));
  RENGA_ASSIGN_OR_RETURN(binary.ptx, Output(api, "PTX", api.ptx_size, api.ptx, program, true));
  if (binary.cubin.empty()) return absl::UnavailableError("NVRTC returns no cubin");
  return binary;
}

absl::Status CheckLimits(const KernelSource& source, const GpuTarget& target,
                         const KernelSettings& settings, const KernelBinary& binary,
                         const KernelResources& kernel) {
  if (kernel.stack_bytes > 0 && !settings.allow_stack) {
    const std::string log = LogExcerpt(binary.log);
    return absl::InvalidArgumentError(
        StrCat("it keeps ", kernel.stack_bytes,
               " bytes a thread on the stack, expected none: registers are spilled, or an array is "
               "indexed at run time; use fewer registers or allow it",
               log.empty() ? "" : ":\n", log));
  }
  const int64_t most = kernel.max_threads > 0 ? kernel.max_threads : kMaxBlockThreads;
  if (source.threads < 1 || source.threads > most) {
    return absl::InvalidArgumentError(
        StrCat("it is to be launched with ", source.threads, " threads a block, expected 1 to ",
               most, kernel.max_threads > 0 ? ", its __launch_bounds__" : ""));
  }
  if (kernel.static_shared > kMaxStaticShared) {
    return absl::InvalidArgumentError(StrCat("it declares ", kernel.static_shared,
                                             " bytes of shared memory, expected at most ",
                                             kMaxStaticShared, "; ask for the rest at launch"));
  }
  if (source.dynamic_shared < 0 || source.dynamic_shared > target.shared_per_block ||
      source.dynamic_shared + kernel.static_shared > target.shared_per_block) {
    return absl::InvalidArgumentError(
        StrCat("it needs ", kernel.static_shared, " + ", source.dynamic_shared,
               " bytes of shared memory (declared and at launch), expected at most ",
               target.shared_per_block, " a block; use smaller tiles for this target"));
  }
  return absl::OkStatus();
}

absl::StatusOr<KernelReport> Check(const KernelSource& source, const GpuTarget& target,
                                   const KernelSettings& settings, const KernelBinary& binary) {
  RENGA_ASSIGN_OR_RETURN(CubinInfo info, ReadCubin(binary.cubin));
  if (info.sm != target.sm) {
    return absl::DataLossError(StrCat("the cubin is for sm_", info.sm, "; compile it again"));
  }
  const KernelResources* kernel = info.Find(source.name);
  if (kernel == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("the source defines no kernel of that name; declare it extern \"C\" __global__"));
  }
  RENGA_RETURN_IF_ERROR(CheckLimits(source, target, settings, binary, *kernel));
  KernelReport report;
  report.resources = *kernel;
  report.occupancy = ComputeOccupancy(target, *kernel, source.threads, source.dynamic_shared);
  if (report.occupancy.blocks_per_sm == 0) {
    return absl::InvalidArgumentError(
        StrCat("a block of ", source.threads, " threads with ", kernel->registers,
               " registers each does not fit, expected at most ", kSmRegisters,
               " registers a block; use fewer threads"));
  }
  return report;
}

}  // namespace

Digest KernelKey(std::string_view compiler, const KernelSource& source, const GpuTarget& target,
                 const KernelSettings& settings) {
  DigestStream digest;
  // With its length before it, so that no two lists of pieces give the same bytes.
  const auto add = [&](std::string_view piece) {
    digest.Add(StrCat(piece.size(), ":"));
    digest.Add(piece);
  };
  add(compiler);
  add(source.name);
  add(source.text);
  for (const std::string& option : Options(target, settings)) add(option);
  add(StrCat(settings.headers.size()));
  for (const DeviceHeader& header : settings.headers) {
    add(header.name);
    add(header.text);
  }
  return digest.Finish();
}

absl::StatusOr<KernelBinary> CompileKernel(const NvrtcLibrary& library, const KernelSource& source,
                                           const GpuTarget& target,
                                           const KernelSettings& settings) {
  absl::StatusOr<KernelBinary> binary = Compile(library, source, target, settings);
  if (!binary.ok()) return Annotate(binary.status(), Where(source, target));
  return binary;
}

absl::StatusOr<KernelReport> CheckKernel(const KernelSource& source, const GpuTarget& target,
                                         const KernelSettings& settings,
                                         const KernelBinary& binary) {
  absl::StatusOr<KernelReport> report = Check(source, target, settings, binary);
  if (!report.ok()) return Annotate(report.status(), Where(source, target));
  return report;
}

}  // namespace renga::codegen
