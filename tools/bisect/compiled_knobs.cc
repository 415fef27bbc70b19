#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "passes/core/pipeline.h"
#include "runtime/exec/cuda_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/serialize.h"
#include "tools/bisect/knobs.h"
#include "tools/cuda_device.h"
#include "tools/open_on_host.h"

namespace renga {
namespace {

// An option of the compiler that may differ as a whole.
struct OptionField {
  std::string_view name;
  std::string (*text)(const CompileOptions& options);
  void (*copy)(const CompileOptions& from, CompileOptions* to);
};

constexpr OptionField kFields[] = {
    {"k_type", [](const CompileOptions& o) { return std::string(Name(o.k_type)); },
     [](const CompileOptions& from, CompileOptions* to) { to->k_type = from.k_type; }},
    {"v_type", [](const CompileOptions& o) { return std::string(Name(o.v_type)); },
     [](const CompileOptions& from, CompileOptions* to) { to->v_type = from.v_type; }},
    {"kv_of_layers",
     [](const CompileOptions& o) {
       return o.kv_of_layers.empty() ? "none" : KvTypesText(o.kv_of_layers);
     },
     [](const CompileOptions& from, CompileOptions* to) { to->kv_of_layers = from.kv_of_layers; }},
    {"context", [](const CompileOptions& o) { return StrCat(o.context.value_or(0)); },
     [](const CompileOptions& from, CompileOptions* to) { to->context = from.context; }},
    {"max-step", [](const CompileOptions& o) { return StrCat(MaxStepTokens(o)); },
     [](const CompileOptions& from, CompileOptions* to) {
       to->max_step_tokens = from.max_step_tokens;
     }},
    {"max-seqs", [](const CompileOptions& o) { return StrCat(o.max_sequences); },
     [](const CompileOptions& from, CompileOptions* to) {
       to->max_sequences = from.max_sequences;
     }},
    {"max-rows", [](const CompileOptions& o) { return StrCat(MaxRows(o)); },
     [](const CompileOptions& from, CompileOptions* to) { to->max_rows = from.max_rows; }},
    {"kv-tokens", [](const CompileOptions& o) { return StrCat(o.kv_tokens.value_or(0)); },
     [](const CompileOptions& from, CompileOptions* to) { to->kv_tokens = from.kv_tokens; }},
};

// A rewrite that a configuration makes.
struct Site {
  std::string pass, node;  // no node: all of the pass
  friend auto operator<=>(const Site&, const Site&) = default;
};

// What the plan says that the passes did, in order.
std::vector<Site> SitesOf(const plan::Plan& plan, absl::Span<const Pass> pipeline) {
  std::vector<Site> sites;
  for (const Pass& pass : pipeline) {
    const auto ran = std::find_if(plan.passes.begin(), plan.passes.end(),
                                  [&](const auto& record) { return record.name == pass.name; });
    if (ran == plan.passes.end() || !ran->changed) continue;
    const std::string name(pass.name);
    if (pass.whole) {
      sites.push_back({name, ""});
      continue;
    }
    for (const plan::LedgerEntry& entry : plan.ledger) {
      if (entry.pass == name && entry.result == plan::LedgerResult::kMatched) {
        sites.push_back({name, entry.node});
      }
    }
    if (name != "pack-weights") continue;  // which tells the ledger what it chose instead
    for (const plan::Choice& choice : plan.choices) {
      if (choice.what == "layout" && choice.chosen != choice.considered.front()) {
        sites.push_back({name, choice.subject});
      }
    }
  }
  return sites;
}

// Kernels by the node that they were chosen for.
std::map<std::string, std::string> KernelsOf(const plan::Plan& plan) {
  std::map<std::string, std::string> kernels;
  for (const plan::Choice& choice : plan.choices) {
    if (choice.what == "kernel") kernels[choice.subject] = choice.chosen;
  }
  return kernels;
}

// Times and words do not decide what a plan does.
absl::StatusOr<Digest> DigestOfPlan(const plan::Plan& plan) {
  plan::Plan bare = plan;
  bare.passes.clear();
  bare.ledger.clear();
  bare.choices.clear();
  bare.source_ir.clear();
  RENGA_ASSIGN_OR_RETURN(const std::string bytes, plan::Serialize(bare));
  return DigestOf(bytes);
}

class Compiled final : public Knobs {
 public:
  Compiled(std::string gguf, OpenOptions good, OpenOptions bad)
      : gguf_(std::move(gguf)), good_(std::move(good)), bad_(std::move(bad)) {}

  absl::Status Prepare() {
    if (bad_.device.starts_with("cuda") && bad_.compile.target == "cpu") {
      RENGA_ASSIGN_OR_RETURN(const int ordinal, CudaOrdinal(bad_.device));
      RENGA_ASSIGN_OR_RETURN(cuda_, OpenCuda(ordinal));
      good_.compile.target = bad_.compile.target = cuda_.target;
    }
    RENGA_ASSIGN_OR_RETURN(const Compilation good, Compile(gguf_, good_.compile));
    RENGA_ASSIGN_OR_RETURN(const Compilation bad, Compile(gguf_, bad_.compile));
    good_ir_ = good.plan.ir;
    for (const OptionField& field : kFields) {
      const std::string from = field.text(good_.compile), to = field.text(bad_.compile);
      if (from == to) continue;
      differences_.push_back({.field = &field});
      items_.push_back(StrCat(field.name, ": ", from, " -> ", to));
    }
    const std::vector<Site> good_sites = SitesOf(good.plan, Pipeline());
    const std::vector<Site> bad_sites = SitesOf(bad.plan, Pipeline());
    const std::set<Site> in_good(good_sites.begin(), good_sites.end());
    const std::set<Site> in_bad(bad_sites.begin(), bad_sites.end());
    for (const Site& site : bad_sites) {
      if (!in_good.contains(site)) AddSite(site, /*of_bad=*/true);
    }
    for (const Site& site : good_sites) {
      if (!in_bad.contains(site)) AddSite(site, /*of_bad=*/false);
    }
    const std::map<std::string, std::string> good_kernels = KernelsOf(good.plan);
    for (const auto& [node, kernel] : KernelsOf(bad.plan)) {
      const auto other = good_kernels.find(node);
      if (other == good_kernels.end() || other->second == kernel) continue;
      differences_.push_back({.kernel = {node, other->second, kernel}});
      items_.push_back(StrCat("kernel:", node, ": ", other->second, " -> ", kernel));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Mixture> Mix(const Subset& bad) override {
    const std::set<int> taken(bad.begin(), bad.end());
    CompileOptions options = good_.compile;
    options.only_passes.emplace();
    options.disabled_passes.clear();
    options.sites_may_be_gone = true;
    // Those that both leave out stay out; the others are differences.
    const std::vector<std::string>& off = bad_.compile.sites_off;
    std::erase_if(options.sites_off, [&off](const std::string& site) {
      return std::find(off.begin(), off.end(), site) == off.end();
    });
    // A node that differs is named; of the others what the good side asks for holds.
    options.kernels_may_be_gone = true;
    std::erase_if(options.kernels, [this](const std::string& request) {
      return std::any_of(differences_.begin(), differences_.end(), [&](const Difference& each) {
        return !each.kernel.node.empty() && request.starts_with(each.kernel.node + "=");
      });
    });
    std::set<std::string> active;  // passes with a site that differs and is made
    for (size_t i = 0; i < differences_.size(); ++i) {
      const Difference& difference = differences_[i];
      const bool is_bad = taken.contains(static_cast<int>(i));
      if (difference.field != nullptr) {
        if (is_bad) difference.field->copy(bad_.compile, &options);
        continue;
      }
      if (const KernelDifference& kernel = difference.kernel; !kernel.node.empty()) {
        options.kernels.push_back(StrCat(kernel.node, "=", is_bad ? kernel.bad : kernel.good));
        continue;
      }
      if (is_bad == difference.of_bad) {
        active.insert(difference.site.pass);
      } else if (!difference.site.node.empty()) {
        options.sites_off.push_back(StrCat(difference.site.pass, ":", difference.site.node));
      }
    }
    // A pass that only one side has runs where one of its rewrites is wanted: so nothing of the bad
    // side is exactly the good one, and all of it the bad one.
    for (const Pass& pass : Pipeline()) {
      const std::string name(pass.name);
      const bool in_good = Runs(good_.compile, name), in_bad = Runs(bad_.compile, name);
      const bool differs = std::any_of(differences_.begin(), differences_.end(),
                                       [&](const auto& d) { return d.site.pass == name; });
      const bool runs = in_good == in_bad && !(pass.whole && differs) ? in_good
                        : differs                                     ? active.contains(name)
                                                                      : in_good;
      if (runs) options.only_passes->push_back(name);
    }
    if (options.target != "cpu") std::erase(*options.only_passes, "pack-weights");  // always runs
    RENGA_ASSIGN_OR_RETURN(Compilation compiled, Compile(gguf_, options));
    Mixture mixture;
    mixture.plan = std::make_shared<const plan::Plan>(std::move(compiled.plan));
    RENGA_ASSIGN_OR_RETURN(mixture.digest, DigestOfPlan(*mixture.plan));
    mixture.open = [plan = mixture.plan, device = bad_.device, cuda = cuda_,
                    threads = Threads()]() -> absl::StatusOr<std::unique_ptr<Forward>> {
      if (plan->target != "cpu" && cuda.context == nullptr) {
        return absl::UnimplementedError("plans for another machine's GPU are made, not run");
      }
      if (cuda.context != nullptr) {
        CudaOptions options;
        options.threads = threads;
        RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CudaRunner> runner,
                               CudaRunner::Create(plan, cuda.context, options, cuda.name));
        return std::make_unique<SequenceForward>(std::move(runner));
      }
      return OpenOnHost(device, plan, threads);
    };
    return mixture;
  }

  CulpritNodes NodesOf(const Subset& culprit, const plan::Plan& plan) const override {
    CulpritNodes found;
    found.good_ir = good_ir_;
    const auto graph = Parse(plan.ir, "the plan's graph");
    if (!graph.ok()) return found;
    std::set<std::string> sources;  // names of rewritten nodes, and weights with another layout
    for (const int i : culprit) {
      const Difference& difference = differences_[static_cast<size_t>(i)];
      if (!difference.kernel.node.empty()) sources.insert(difference.kernel.node);
      if (difference.field == nullptr) sources.insert(difference.site.node);
    }
    for (const Node& node : graph->nodes) {
      bool concerned = sources.contains(std::string(NodeName(*graph, node)));
      for (const std::string& name : node.provenance) concerned |= sources.contains(name);
      for (const ValueId id : node.operands) {
        if (id == kNoValue || graph->value(id).kind != ValueKind::kWeight) continue;
        const Value& value = graph->value(id);
        concerned |= value.packed() && sources.contains(graph->value(value.source).name);
      }
      if (concerned) found.nodes.emplace_back(NodeName(*graph, node));
    }
    return found;
  }

 private:
  struct KernelDifference {
    std::string node, good, bad;
  };
  struct Difference {
    const OptionField* field = nullptr;  // or else:
    KernelDifference kernel = {};        // of a node, or else:
    Site site = {};
    bool of_bad = true;  // else the good configuration makes it
  };

  absl::Span<const Pass> Pipeline() const {
    if (!bad_.compile.pipeline.empty()) return bad_.compile.pipeline;
    return bad_.compile.target == "cpu" ? DefaultPipeline() : GpuPipeline();
  }

  static bool Runs(const CompileOptions& options, const std::string& pass) {
    const auto has = [&pass](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), pass) != names.end();
    };
    return (!options.only_passes || has(*options.only_passes)) && !has(options.disabled_passes);
  }

  void AddSite(const Site& site, bool of_bad) {
    differences_.push_back({.site = site, .of_bad = of_bad});
    items_.push_back(
        StrCat(of_bad ? "" : "not ", site.pass, site.node.empty() ? "" : ":", site.node));
  }

  int Threads() const {
    return bad_.threads > 0 ? bad_.threads
                            : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }

  const std::string gguf_;
  OpenOptions good_, bad_;
  CudaDevice cuda_;                      // where both sides are on a GPU
  std::vector<Difference> differences_;  // by item
  std::string good_ir_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Knobs>> CompiledKnobs(const std::string& gguf,
                                                     const OpenOptions& good,
                                                     const OpenOptions& bad) {
  if (good.device != bad.device) {
    return absl::InvalidArgumentError(
        StrCat("expected both sides on one device, got ", good.device, " and ", bad.device));
  }
  auto knobs = std::make_unique<Compiled>(gguf, good, bad);
  RENGA_RETURN_IF_ERROR(knobs->Prepare());
  return knobs;
}

}  // namespace renga
