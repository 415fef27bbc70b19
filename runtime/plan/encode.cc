// Plan -> bytes. The counterpart, decode.cc, reads the fields in the same order.
#include <cstring>
#include <limits>
#include <type_traits>

#include "ir/base/status.h"
#include "runtime/plan/flatbuffer.h"
#include "runtime/plan/serialize.h"

namespace renga::plan {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
template <typename T>
using Vector = Offset<flatbuffers::Vector<T>>;
using Texts = Vector<Offset<flatbuffers::String>>;

// FlatBuffers offsets are 32 bits; kept well below, for tables and padding.
constexpr uint64_t kMaxContent = uint64_t{1} << 30;

// Bytes of the parts that can be large; all others are small per node.
uint64_t ContentBytes(const Plan& plan) {
  const TokenizerData& tokenizer = plan.tokenizer;
  uint64_t bytes = plan.ir.size() + plan.source_ir.size() + tokenizer.text.size() +
                   tokenizer.chat_template.size() + 4 * tokenizer.offsets.size() +
                   4 * tokenizer.scores.size() + tokenizer.types.size() +
                   8 * tokenizer.merges.size();
  bytes += 256 * (plan.buffers.size() + plan.steps.size() + plan.weights.size());
  for (const GpuKernel& kernel : plan.gpu.kernels) {
    bytes += 256 + kernel.ir.size() + kernel.source.size();
    for (const GpuImage& image : kernel.images) {
      bytes += 256 + image.cubin.size() + image.ptx.size() + image.log.size();
    }
  }
  for (const Step& step : plan.steps) {
    for (const Variant& variant : step.variants) {
      for (const Launch& launch : variant.launches) bytes += 512 + 256 * launch.args.size();
    }
  }
  for (const LedgerEntry& entry : plan.ledger)
    bytes += 64 + entry.node.size() + entry.reason.size();
  for (const Choice& choice : plan.choices)
    bytes += 128 + choice.subject.size() + choice.reason.size();
  return bytes;
}

// A table for every element of `items`, made by `make`.
template <typename Item, typename Make>
auto Tables(FlatBufferBuilder& builder, const std::vector<Item>& items, Make make) {
  std::vector<decltype(make(builder, items[0]))> tables;
  tables.reserve(items.size());
  for (const Item& item : items) tables.push_back(make(builder, item));
  return builder.CreateVector(tables);
}

Offset<flatbuffers::String> Text(FlatBufferBuilder& builder, const std::string& text) {
  return builder.CreateString(text);
}

Texts MakeTexts(FlatBufferBuilder& builder, const std::vector<std::string>& texts) {
  return Tables(builder, texts, Text);
}

Offset<fb::Symbol> MakeSymbol(FlatBufferBuilder& builder, const Symbol& symbol) {
  return fb::CreateSymbol(builder, Text(builder, symbol.name), symbol.max);
}

Offset<fb::Buffer> MakeBuffer(FlatBufferBuilder& builder, const Buffer& buffer) {
  std::vector<fb::Dim> shape;
  for (const Dim& dim : buffer.type.shape) shape.emplace_back(dim.value, dim.symbol);
  const auto name = Text(builder, buffer.name);
  return fb::CreateBuffer(builder, name, static_cast<uint8_t>(buffer.type.dtype),
                          builder.CreateVectorOfStructs(shape),
                          static_cast<fb::Space>(buffer.space), buffer.index, buffer.offset,
                          buffer.bytes, buffer.view_of);
}

Offset<fb::Attr> MakeAttr(FlatBufferBuilder& builder, const Attr& attr) {
  const auto name = Text(builder, attr.name);
  return std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return fb::CreateAttr(builder, name, fb::AttrKind::Text, 0, 0, Text(builder, value));
        } else if constexpr (std::is_same_v<T, double>) {
          return fb::CreateAttr(builder, name, fb::AttrKind::Float, 0, value);
        } else if constexpr (std::is_same_v<T, bool>) {
          return fb::CreateAttr(builder, name, fb::AttrKind::Bool, value ? 1 : 0);
        } else {
          return fb::CreateAttr(builder, name, fb::AttrKind::Int, value);
        }
      },
      attr.value);
}

Offset<fb::Expr> MakeExpr(FlatBufferBuilder& builder, const Expr& expr) {
  std::vector<fb::ExprTerm> terms;
  for (const ExprTerm& term : expr.terms) {
    terms.emplace_back(term.value, static_cast<fb::ExprOp>(term.op));
  }
  return fb::CreateExpr(builder, builder.CreateVectorOfStructs(terms));
}

Offset<fb::MapAxis> MakeMapAxis(FlatBufferBuilder& builder, const MapAxis& axis) {
  return fb::CreateMapAxis(builder, MakeExpr(builder, axis.size), axis.stride, axis.tile);
}

Offset<fb::TensorMap> MakeTensorMap(FlatBufferBuilder& builder, const TensorMap& map) {
  return fb::CreateTensorMap(builder, static_cast<uint8_t>(map.type),
                             Tables(builder, map.axes, MakeMapAxis),
                             static_cast<fb::Swizzle>(map.swizzle));
}

Offset<fb::Arg> MakeArg(FlatBufferBuilder& builder, const Arg& arg) {
  const auto name = Text(builder, arg.name);
  const bool sized = arg.kind == ArgKind::kInt32 || arg.kind == ArgKind::kInt64;
  const auto size = sized ? MakeExpr(builder, arg.size) : Offset<fb::Expr>();
  const auto map =
      arg.kind == ArgKind::kTensorMap ? MakeTensorMap(builder, arg.map) : Offset<fb::TensorMap>();
  return fb::CreateArg(builder, static_cast<fb::ArgKind>(arg.kind), name, arg.buffer, arg.offset,
                       size, map);
}

Offset<fb::Launch> MakeLaunch(FlatBufferBuilder& builder, const Launch& launch) {
  const auto x = MakeExpr(builder, launch.grid[0]);
  const auto y = MakeExpr(builder, launch.grid[1]);
  const auto z = MakeExpr(builder, launch.grid[2]);
  const auto shared = MakeExpr(builder, launch.dynamic_shared);
  return fb::CreateLaunch(builder, launch.kernel, x, y, z, shared,
                          Tables(builder, launch.args, MakeArg), launch.overlaps_previous);
}

Offset<fb::Variant> MakeVariant(FlatBufferBuilder& builder, const Variant& variant) {
  const auto launches = Tables(builder, variant.launches, MakeLaunch);
  return fb::CreateVariant(builder, variant.last, launches, Text(builder, variant.reason));
}

Offset<fb::GpuTarget> MakeGpuTarget(FlatBufferBuilder& builder, const GpuTarget& target) {
  return fb::CreateGpuTarget(builder, Text(builder, target.name), target.sm,
                             target.shared_per_block, target.only_this);
}

Offset<fb::GpuImage> MakeImage(FlatBufferBuilder& builder, const GpuImage& image) {
  const auto limiter = Text(builder, image.limiter);
  const auto cubin = builder.CreateVector(reinterpret_cast<const uint8_t*>(image.cubin.data()),
                                          image.cubin.size());
  const auto ptx = Text(builder, image.ptx);
  return fb::CreateGpuImage(builder, image.target, image.registers, image.stack_bytes,
                            image.static_shared, image.blocks_per_sm, image.warps_per_sm, limiter,
                            cubin, ptx, Text(builder, image.log));
}

Offset<fb::GpuKernel> MakeGpuKernel(FlatBufferBuilder& builder, const GpuKernel& kernel) {
  const auto name = Text(builder, kernel.name);
  const auto ir = Text(builder, kernel.ir);
  const auto source = Text(builder, kernel.source);
  return fb::CreateGpuKernel(builder, name, ir, source, kernel.threads,
                             Tables(builder, kernel.images, MakeImage));
}

Offset<fb::GpuPacker> MakePacker(FlatBufferBuilder& builder, const GpuPacker& packer) {
  return fb::CreateGpuPacker(builder, static_cast<uint8_t>(packer.type), packer.kernel,
                             packer.dynamic_shared);
}

Offset<fb::Gpu> MakeGpu(FlatBufferBuilder& builder, const Gpu& gpu) {
  const auto targets = Tables(builder, gpu.targets, MakeGpuTarget);
  const auto kernels = Tables(builder, gpu.kernels, MakeGpuKernel);
  return fb::CreateGpu(builder, targets, kernels, Tables(builder, gpu.packers, MakePacker),
                       gpu.sampler.kernel, gpu.sampler.dynamic_shared);
}

Offset<fb::Step> MakeStep(FlatBufferBuilder& builder, const Step& step) {
  const auto name = Text(builder, step.name);
  const auto inputs = builder.CreateVector(step.inputs);
  const auto outputs = builder.CreateVector(step.outputs);
  const auto attrs = Tables(builder, step.attrs, MakeAttr);
  const auto provenance = MakeTexts(builder, step.provenance);
  const auto scratch = builder.CreateVector(step.scratch);
  return fb::CreateStep(builder, name, step.layer, static_cast<fb::StepKind>(step.kind),
                        step.kernel, inputs, outputs, attrs, provenance, scratch, step.chosen_by,
                        Tables(builder, step.variants, MakeVariant));
}

Offset<fb::Kernel> MakeKernel(FlatBufferBuilder& builder, const Kernel& kernel) {
  return fb::CreateKernel(builder, Text(builder, kernel.name));
}

Offset<fb::Weight> MakeWeight(FlatBufferBuilder& builder, const Weight& weight) {
  const WeightSource& source = weight.source;
  const fb::Digest digest(weight.digest.high, weight.digest.low);
  const auto name = Text(builder, source.name);
  const auto shape = builder.CreateVector(source.shape);
  const auto layout = Text(builder, weight.layout);
  Offset<fb::Embedded> embedded;
  if (weight.embedded.has_value()) {
    const fb::Digest of_bytes(weight.embedded->digest.high, weight.embedded->digest.low);
    embedded = fb::CreateEmbedded(builder, weight.embedded->offset, &of_bytes);
  }
  return fb::CreateWeight(builder, name, static_cast<uint8_t>(source.dtype), shape, source.file,
                          source.offset, source.bytes, &digest, layout, embedded);
}

Offset<fb::Cache> MakeCache(FlatBufferBuilder& builder, const Cache& cache) {
  return fb::CreateCache(builder, Text(builder, cache.name), cache.layer,
                         static_cast<uint8_t>(cache.dtype), cache.heads, cache.head_dim,
                         cache.cell_bytes, cache.group);
}

Offset<fb::ModelFile> MakeFile(FlatBufferBuilder& builder, const ModelFile& file) {
  return fb::CreateModelFile(builder, Text(builder, file.path), file.bytes);
}

Offset<fb::IgnoredTensor> MakeIgnored(FlatBufferBuilder& builder, const IgnoredTensor& ignored) {
  const auto name = Text(builder, ignored.name);
  return fb::CreateIgnoredTensor(builder, name, Text(builder, ignored.reason));
}

Offset<fb::ModelInfo> MakeModel(FlatBufferBuilder& builder, const ModelInfo& model) {
  const auto architecture = Text(builder, model.architecture);
  const auto name = Text(builder, model.name);
  return fb::CreateModelInfo(builder, architecture, name, Text(builder, model.file_type),
                             model.layers, model.embedding, model.heads, model.kv_heads,
                             model.head_dim, model.feed_forward, model.vocab, model.context_length);
}

Offset<fb::Tokenizer> MakeTokenizer(FlatBufferBuilder& builder, const TokenizerData& data) {
  std::vector<int32_t> merges;
  merges.reserve(2 * data.merges.size());
  for (const auto& [left, right] : data.merges) {
    merges.push_back(left);
    merges.push_back(right);
  }
  static_assert(sizeof(TokenType) == 1);
  const auto model = Text(builder, data.model);
  const auto pre = Text(builder, data.pre);
  const auto text =
      builder.CreateVector(reinterpret_cast<const uint8_t*>(data.text.data()), data.text.size());
  const auto offsets = builder.CreateVector(data.offsets);
  const auto scores = builder.CreateVector(data.scores);
  const auto types =
      builder.CreateVector(reinterpret_cast<const uint8_t*>(data.types.data()), data.types.size());
  const auto merge_pairs = builder.CreateVector(merges);
  const auto end_of_generation = builder.CreateVector(data.end_of_generation);
  return fb::CreateTokenizer(builder, model, pre, text, offsets, scores, types, merge_pairs,
                             data.bos, data.eos, data.eot, data.eom, data.unk, data.pad,
                             data.add_bos, data.add_eos, data.add_space_prefix, end_of_generation,
                             Text(builder, data.chat_template));
}

Offset<fb::PassRecord> MakePass(FlatBufferBuilder& builder, const PassRecord& pass) {
  return fb::CreatePassRecord(builder, Text(builder, pass.name), pass.changed, pass.nodes_before,
                              pass.nodes_after, pass.milliseconds);
}

Offset<fb::LedgerEntry> MakeEntry(FlatBufferBuilder& builder, const LedgerEntry& entry) {
  const auto pass = Text(builder, entry.pass);
  const auto node = Text(builder, entry.node);
  return fb::CreateLedgerEntry(builder, pass, node, entry.layer,
                               static_cast<fb::LedgerResult>(entry.result),
                               Text(builder, entry.reason));
}

Offset<fb::Choice> MakeChoice(FlatBufferBuilder& builder, const Choice& choice) {
  const auto subject = Text(builder, choice.subject);
  const auto what = Text(builder, choice.what);
  const auto chosen = Text(builder, choice.chosen);
  const auto considered = MakeTexts(builder, choice.considered);
  return fb::CreateChoice(builder, subject, what, chosen, considered, Text(builder, choice.reason));
}

void AppendLittleEndian(uint64_t value, int bytes, std::string* out) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

std::string Trailer(std::string_view body, uint32_t version, bool with_data) {
  std::string trailer(kTrailerMagic);
  AppendLittleEndian(version, 4, &trailer);
  AppendLittleEndian(with_data ? body.size() : 0, 4, &trailer);  // below 2 GiB: a FlatBuffer
  DigestStream stream;
  for (const std::string_view part : {body, std::string_view(trailer)}) {
    stream.Add(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(part.data()), part.size()));
  }
  const Digest digest = stream.Finish();
  AppendLittleEndian(digest.high, 8, &trailer);
  AppendLittleEndian(digest.low, 8, &trailer);
  return trailer;
}

}  // namespace

std::string Seal(std::string_view body, uint32_t version) {
  return std::string(body) + Trailer(body, version, /*with_data=*/false);
}

absl::StatusOr<std::string> Serialize(const Plan& plan) {
  if (plan.data_bytes > 0) {
    return absl::InvalidArgumentError(
        StrCat("plan: expected no data section, got one of ", plan.data_bytes, " bytes"));
  }
  RENGA_ASSIGN_OR_RETURN(PlanEnds ends, SerializeEnds(plan));
  return ends.head + ends.trailer;
}

absl::StatusOr<PlanEnds> SerializeEnds(const Plan& plan) {
  if (const uint64_t bytes = ContentBytes(plan); bytes > kMaxContent) {
    return absl::ResourceExhaustedError(
        StrCat("plan: expected at most ", kMaxContent, " bytes of content, got ", bytes));
  }
  FlatBufferBuilder builder(1 << 20);
  const auto target = Text(builder, plan.target);
  const auto producer = Text(builder, plan.producer);
  const auto model = MakeModel(builder, plan.model);
  const auto tokenizer = MakeTokenizer(builder, plan.tokenizer);
  const auto files = Tables(builder, plan.files, MakeFile);
  const auto ignored = Tables(builder, plan.ignored, MakeIgnored);
  const Geometry& of = plan.geometry;
  Offset<flatbuffers::Vector<int64_t>> windows;
  if (!of.windows.empty()) windows = builder.CreateVector(of.windows);
  const auto geometry = fb::CreateGeometry(builder, of.page_tokens, of.context, of.max_sequences,
                                           of.max_step_tokens, windows, of.invariant_tokens);
  const auto symbols = Tables(builder, plan.symbols, MakeSymbol);
  const auto inputs = MakeTexts(builder, plan.inputs);
  const auto outputs = MakeTexts(builder, plan.outputs);
  const auto weights = Tables(builder, plan.weights, MakeWeight);
  const auto caches = Tables(builder, plan.caches, MakeCache);
  const auto buffers = Tables(builder, plan.buffers, MakeBuffer);
  const auto kernels = Tables(builder, plan.kernels, MakeKernel);
  const auto steps = Tables(builder, plan.steps, MakeStep);
  const auto memory =
      fb::CreateMemory(builder, plan.memory.weights, plan.memory.kv, plan.memory.activations);
  const auto ir = Text(builder, plan.ir);
  const auto source_ir = Text(builder, plan.source_ir);
  const auto passes = Tables(builder, plan.passes, MakePass);
  const auto ledger = Tables(builder, plan.ledger, MakeEntry);
  const auto choices = Tables(builder, plan.choices, MakeChoice);
  const auto gpu = MakeGpu(builder, plan.gpu);
  fb::FinishPlanBuffer(
      builder,
      fb::CreatePlan(builder, target, producer, model, tokenizer, files, ignored, geometry, symbols,
                     inputs, outputs, weights, caches, buffers, kernels, steps, memory, ir,
                     source_ir, passes, ledger, choices, plan.data_bytes, gpu));
  PlanEnds ends;
  ends.head.assign(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
  ends.trailer = Trailer(ends.head, kFormatVersion, plan.data_bytes > 0);
  if (plan.data_bytes > 0) ends.head.resize(AlignToPage(ends.head.size()), '\0');
  return ends;
}

}  // namespace renga::plan
