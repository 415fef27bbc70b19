// A model on a device against the reference interpreter: every node alone, then the whole.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/trace/compare_log.h"
#include "ir/trace/verify.h"
#include "tools/llama_cpp_fidelity.h"
#include "tools/open_model.h"
#include "tools/verify_truth.h"

namespace renga {

// How far the device's distributions are from the interpreter's, over all tokens of a text.
struct Fidelity {
  std::string steps;  // "all at once", "1 token a step"
  int64_t positions = 0;
  double kl_mean = 0, kl_p99 = 0, kl_max = 0;  // KL(interpreter || device), in nats
  double top1 = 0;                             // share of equal arg max
  int64_t not_numbers = 0;  // positions that are NaN on both sides, in none of the figures

  // Caches of blocks round in steps, so that two right runs differ by about what the type costs,
  // up to 0.05 in q4_0 (docs/kv-types.md).
  bool coarse = false;

  // A wrong model is far beyond; llama.cpp's runs are at 0.001 to 0.005 (docs/verify.md).
  bool ok() const { return not_numbers == 0 && device_ok(); }
  bool device_ok() const {
    return coarse ? kl_mean < 0.2 && top1 >= 0.7 : kl_mean < 0.01 && top1 >= 0.9;
  }
};

struct VerifyModelOptions {
  OpenOptions open;
  std::vector<int32_t> ids;       // of the nodes' run: two at least, so that positions matter
  std::vector<int32_t> text_ids;  // for Fidelity
  bool quick = false;             // without the full context, and the text in one piece only
  // A plan that runs in place of what would be compiled of the model, which is a GGUF then: its
  // graph and its bytes are what the plan is held against. Empty: none.
  std::string plan;
  bool fresh = false;  // what a run that was interrupted has found is looked at again
  // llama.cpp's log of a run of text_ids, all at once; empty: none.
  std::string log;
  VerifyOptions nodes;
};

struct VerifyReport {
  std::string device;
  std::vector<int32_t> ids;
  std::optional<Verdict> nodes;
  std::vector<std::string> steps;    // in which nodes were checked: "9 tokens from an empty cache"
  std::vector<std::string> not_run;  // other kinds of steps, and why not
  // Of a plan beside the model those that differ from it; on a GPU those that did not arrive.
  std::vector<WeightFault> weights;
  std::vector<Fidelity> fidelity;
  std::optional<LlamaCppFidelity> llama_cpp;  // of the model, where it is known
  std::optional<LogComparison> against;
  int64_t known_ways = 0;  // of `fidelity`, from a run that was interrupted
  double seconds = 0;

  bool ok() const;
  // The device makes of the model what the interpreter makes of it, be that NaN.
  bool device_ok() const;
};

// Where the cache is used, what is right is kept there until it has ended: the next run goes on
// from it. Errors as OpenModel, TraceModel, OpenTruth, ReadLlamaLog and CompareWithLog;
// InvalidArgument for fewer ids than two.
absl::StatusOr<VerifyReport> VerifyModel(const std::string& model,
                                         const VerifyModelOptions& options);

}  // namespace renga
