// Writes one step of a plan for GPUs: buffers, scratch, and the launches of each variant.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "codegen/emit/cuda_source.h"
#include "codegen/emit/plan_builder.h"
#include "runtime/plan/expr.h"

namespace renga::codegen {

// What a launch is, but for the kernel's text.
struct CudaLaunch {
  CudaKernel kernel;
  plan::Expr grid_x, grid_y, grid_z;
  plan::Expr shared = plan::Constant(0);  // bytes
  std::vector<plan::Arg> args;            // as codegen/kernels/args.cuh has them, in order
};

class CudaStep {
 public:
  // Adds buffers for the node's results, and the step. A result that the operator declares as an
  // alias of an operand is the operand's buffer. The variants are chosen by the symbol that sizes
  // the first axis of `rows`. Unimplemented where there is no such symbol.
  static absl::StatusOr<CudaStep> Create(const Node& node, std::string_view kernel, ValueId rows,
                                         PlanBuilder& builder);

  const Graph& graph() const { return builder_.graph(); }
  const plan::Plan& plan() const { return builder_.plan(); }
  const GpuLimits& gpu() const { return builder_.gpu(); }
  const Node& node() const { return node_; }

  // By the operand's name. No buffer (-1) where it is absent or the operator has none of that name.
  int32_t operand(std::string_view name) const;
  bool has(std::string_view name) const { return operand(name) >= 0; }
  const Value& value(std::string_view name) const;  // of an operand that is there
  const TensorType& type(std::string_view name) const { return value(name).type; }
  int32_t result(size_t index) const { return builder_.buffer(node_.results[index]); }
  const TensorType& result_type(size_t index) const {
    return graph().value(node_.results[index]).type;
  }

  // Attributes that the operator requires.
  int64_t Int(std::string_view attr) const;
  double Float(std::string_view attr) const;
  bool Bool(std::string_view attr) const;
  std::string NameAttr(std::string_view attr) const;

  // The symbol that chooses, its bound, and its value as an expression.
  plan::Expr rows() const { return plan::SymbolValue(symbol_); }
  int64_t max_rows() const;
  // Value of another symbol. InvalidArgument where the graph has none of that name.
  absl::StatusOr<plan::Expr> Symbol(std::string_view name) const;

  // Number of elements of a tensor as an expression.
  absl::StatusOr<plan::Expr> Elements(const TensorType& type) const;

  // Scratch of this step: [rows, size] or, in the second, of so many elements in all.
  absl::StatusOr<int32_t> RowScratch(std::string_view name, DType type, int64_t size);
  absl::StatusOr<int32_t> Scratch(std::string_view name, DType type, int64_t elements);
  // Counters, zero between steps.
  int32_t Persistent(std::string_view name, int64_t bytes);

  // Which of several ways computes the node, see PlanBuilder::ChooseKernel; the first is the usual.
  absl::StatusOr<std::string> ChooseWay(const std::vector<std::string>& ways, std::string reason) {
    return builder_.ChooseKernel(node_, ways[0], ways, ways, std::move(reason));
  }

  // The step reads that buffer too, which is no operand of the node's. Steps before it write it.
  void AddInput(int32_t buffer) { step().inputs.push_back(buffer); }

  // Adds to the variant that is next.
  void Launch(CudaLaunch launch);
  // Ends that variant: it serves up to `last` rows, and nothing where the one before does already.
  // `alike`, at most `last`: of so many rows each is to the bit what it is alone, in the first
  // variant (plan::Geometry::invariant_tokens).
  void EndVariant(int64_t last, std::string reason) { EndVariant(last, std::move(reason), last); }
  void EndVariant(int64_t last, std::string reason, int64_t alike);

  // Those of the operands that are there are f32, as all values that kernels compute with are; the
  // error names the first that is not.
  absl::Status RequireF32(std::initializer_list<std::string_view> operands) const;
  // Axis `axis` of the operand is a constant; its value.
  absl::StatusOr<int64_t> ConstSize(std::string_view operand, size_t axis) const;

 private:
  CudaStep(const Node& node, PlanBuilder& builder) : node_(node), builder_(builder) {}
  plan::Step& step() const;
  absl::StatusOr<int32_t> AddScratch(std::string_view name, plan::TensorType type);

  const Node& node_;
  PlanBuilder& builder_;
  size_t index_ = 0;  // of the step
  int32_t symbol_ = -1;
  int64_t served_ = 0;  // rows, by the variants so far
  std::vector<CudaLaunch> launches_;
};

// Arguments. A buffer below 0 is a null pointer.
plan::Arg Pointer(std::string_view name, int32_t buffer);
plan::Arg Int32(std::string_view name, plan::Expr size);
plan::Arg Int64(std::string_view name, plan::Expr size);
// Rows of f16 [rows, pitch] in tiles of 64 columns, swizzled.
plan::Arg RowTiles(std::string_view name, int32_t buffer, plan::Expr rows, int64_t pitch,
                   int64_t tile_rows);

// ceil(a / b) of sizes known now.
constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace renga::codegen
