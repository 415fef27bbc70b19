// Bytes -> Plan. Everything here is untrusted: the digest proves only that nobody damaged the file
// by accident.
#include <cstring>
#include <memory>

#include "ir/base/mapped_file.h"
#include "ir/base/status.h"
#include "runtime/plan/flatbuffer.h"
#include "runtime/plan/mismatch.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"

namespace renga::plan {
namespace {

// Generous: a plan of 80 layers has some 20,000 tables. Bounds the memory a hostile file can make
// us take.
constexpr uint32_t kMaxTables = 1 << 18;

// Turns tables into structs. A FlatBuffer may refer to one string from many places, which would let
// a small file grow a thousandfold when read; no plan of ours shares, so all that is copied must
// fit the file. The first failure is kept and the rest reads as empty.
class Reader {
 public:
  explicit Reader(uint64_t file_bytes) : budget_(file_bytes) {}

  const absl::Status& status() const { return status_; }

  std::string Text(const flatbuffers::String* text) {
    if (!Take(text->size(), 1)) return "";
    return text->str();
  }

  template <typename Out, typename In>
  std::vector<Out> Numbers(const flatbuffers::Vector<In>* numbers) {
    if (numbers == nullptr) return {};  // of a plan from before there was the field
    if (!Take(numbers->size(), sizeof(In))) return {};
    std::vector<Out> result;
    result.reserve(numbers->size());
    for (uint32_t i = 0; i < numbers->size(); ++i) {
      result.push_back(flatbuffers::EndianScalar(Element<In>(numbers->Data(), i)));
    }
    return result;
  }

  std::string Bytes(const flatbuffers::Vector<uint8_t>* bytes) {
    if (!Take(bytes->size(), 1)) return "";
    return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }

  std::vector<std::string> Texts(
      const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* texts) {
    std::vector<std::string> result;
    if (!Take(texts->size(), sizeof(uint32_t))) return result;
    result.reserve(texts->size());
    for (const flatbuffers::String* text : *texts) result.push_back(Text(text));
    return result;
  }

  // One struct per table, made by the member function `read`.
  template <typename Out, typename Table>
  std::vector<Out> Tables(const flatbuffers::Vector<flatbuffers::Offset<Table>>* tables,
                          Out (Reader::*read)(const Table&)) {
    std::vector<Out> result;
    if (!Take(tables->size(), sizeof(uint32_t))) return result;
    result.reserve(tables->size());
    for (const Table* table : *tables) result.push_back((this->*read)(*table));
    return result;
  }

  // `value` as the enumeration whose last enumerator is `last`.
  template <typename Out, typename In>
  Out Enum(In value, Out last, std::string_view what) {
    if (static_cast<uint8_t>(value) > static_cast<uint8_t>(last)) {
      Fail(StrCat(what, ": expected 0..", static_cast<int>(last), ", got ",
                  static_cast<int>(value)));
      return Out{};
    }
    return static_cast<Out>(value);
  }

  DType Known(std::optional<DType> type, uint8_t id, std::string_view what) {
    if (!type.has_value()) Fail(StrCat(what, ": unknown element type ", int{id}));
    return type.value_or(DType::kF32);
  }
  DType Type(uint8_t id, std::string_view what) { return Known(DTypeFromGgml(id), id, what); }
  DType TypeOfCells(uint8_t id, std::string_view what) {
    return Known(CacheDTypeFromId(id), id, what);
  }

  Symbol ReadSymbol(const fb::Symbol& table) { return {Text(table.name()), table.max()}; }

  Buffer ReadBuffer(const fb::Buffer& table) {
    Buffer buffer;
    buffer.name = Text(table.name());
    buffer.type.dtype = TypeOfCells(table.dtype(), "buffer");
    if (Take(table.shape()->size(), sizeof(fb::Dim))) {
      for (uint32_t i = 0; i < table.shape()->size(); ++i) {
        const fb::Dim dim = Element<fb::Dim>(table.shape()->Data(), i);
        buffer.type.shape.push_back({dim.symbol(), dim.value()});
      }
    }
    buffer.space = Enum(table.space(), Space::kPersistent, "buffer space");
    buffer.index = table.index();
    buffer.offset = table.offset();
    buffer.bytes = table.bytes();
    buffer.view_of = table.view_of();
    return buffer;
  }

  Attr ReadAttr(const fb::Attr& table) {
    Attr attr;
    attr.name = Text(table.name());
    switch (table.kind()) {
      case fb::AttrKind::Int:
        attr.value = table.int_value();
        return attr;
      case fb::AttrKind::Float:
        attr.value = table.float_value();
        return attr;
      case fb::AttrKind::Bool:
        attr.value = table.int_value() != 0;
        return attr;
      case fb::AttrKind::Text:
        if (table.text() == nullptr) break;
        attr.value = Text(table.text());
        return attr;
    }
    Fail(StrCat("attribute ", attr.name, ": expected a value of kind 0..3, got none of kind ",
                static_cast<int>(table.kind())));
    return attr;
  }

  Expr ReadExpr(const fb::Expr* table) {
    Expr expr = {{}};
    if (table == nullptr) {
      Fail("argument: expected an expression, got none");
      return expr;
    }
    if (!Take(table->terms()->size(), sizeof(fb::ExprTerm))) return expr;
    for (uint32_t i = 0; i < table->terms()->size(); ++i) {
      const fb::ExprTerm term = Element<fb::ExprTerm>(table->terms()->Data(), i);
      expr.terms.push_back({Enum(term.op(), ExprOp::kMax, "expression"), term.value()});
    }
    return expr;
  }

  MapAxis ReadMapAxis(const fb::MapAxis& table) {
    return {ReadExpr(table.size()), table.stride(), table.tile()};
  }

  TensorMap ReadTensorMap(const fb::TensorMap* table) {
    if (table == nullptr) {
      Fail("argument: expected a tensor map, got none");
      return {};
    }
    return {Type(table->dtype(), "tensor map"), Tables(table->axes(), &Reader::ReadMapAxis),
            Enum(table->swizzle(), Swizzle::k128Bytes, "swizzle")};
  }

  Arg ReadArg(const fb::Arg& table) {
    Arg arg;
    arg.kind = Enum(table.kind(), ArgKind::kTensorMap, "argument");
    arg.name = Text(table.name());
    arg.buffer = table.buffer();
    arg.offset = table.offset();
    if (arg.kind == ArgKind::kInt32 || arg.kind == ArgKind::kInt64) {
      arg.size = ReadExpr(table.size());
    }
    if (arg.kind == ArgKind::kTensorMap) arg.map = ReadTensorMap(table.map());
    return arg;
  }

  Launch ReadLaunch(const fb::Launch& table) {
    return {table.kernel(),
            {ReadExpr(table.grid_x()), ReadExpr(table.grid_y()), ReadExpr(table.grid_z())},
            ReadExpr(table.dynamic_shared()),
            Tables(table.args(), &Reader::ReadArg),
            table.overlaps_previous()};
  }

  Variant ReadVariant(const fb::Variant& table) {
    return {table.last(), Tables(table.launches(), &Reader::ReadLaunch), Text(table.reason())};
  }

  GpuTarget ReadGpuTarget(const fb::GpuTarget& table) {
    return {Text(table.name()), table.sm(), table.shared_per_block(), table.only_this()};
  }

  GpuImage ReadImage(const fb::GpuImage& table) {
    GpuImage image;
    image.target = table.target();
    image.registers = table.registers();
    image.stack_bytes = table.stack_bytes();
    image.static_shared = table.static_shared();
    image.blocks_per_sm = table.blocks_per_sm();
    image.warps_per_sm = table.warps_per_sm();
    image.limiter = Text(table.limiter());
    image.cubin = Bytes(table.cubin());
    image.ptx = Text(table.ptx());
    image.log = Text(table.log());
    return image;
  }

  GpuKernel ReadGpuKernel(const fb::GpuKernel& table) {
    return {Text(table.name()), Text(table.ir()), Text(table.source()), table.threads(),
            Tables(table.images(), &Reader::ReadImage)};
  }

  GpuPacker ReadPacker(const fb::GpuPacker& table) {
    return {Type(table.dtype(), "packer"), table.kernel(), table.dynamic_shared()};
  }

  Step ReadStep(const fb::Step& table) {
    Step step;
    step.name = Text(table.name());
    step.layer = table.layer();
    step.kind = Enum(table.kind(), StepKind::kSet, "step kind");
    step.kernel = table.kernel();
    step.inputs = Numbers<int32_t>(table.inputs());
    step.outputs = Numbers<int32_t>(table.outputs());
    step.attrs = Tables(table.attrs(), &Reader::ReadAttr);
    step.provenance = Texts(table.provenance());
    step.scratch = Numbers<int32_t>(table.scratch());
    step.chosen_by = table.chosen_by();
    step.variants = Tables(table.variants(), &Reader::ReadVariant);
    return step;
  }

  Kernel ReadKernel(const fb::Kernel& table) { return {Text(table.name())}; }

  Weight ReadWeight(const fb::Weight& table) {
    Weight weight;
    weight.source.name = Text(table.name());
    weight.source.dtype = Type(table.dtype(), "weight");
    weight.source.shape = Numbers<int64_t>(table.shape());
    weight.source.file = table.file();
    weight.source.offset = table.offset();
    weight.source.bytes = table.bytes();
    weight.digest = {table.digest()->high(), table.digest()->low()};
    weight.layout = Text(table.layout());
    if (const fb::Embedded* embedded = table.embedded()) {
      weight.embedded = {embedded->offset(),
                         {embedded->digest()->high(), embedded->digest()->low()}};
    }
    return weight;
  }

  Cache ReadCache(const fb::Cache& table) {
    return {Text(table.name()), table.layer(),    TypeOfCells(table.dtype(), "cache"),
            table.heads(),      table.head_dim(), table.cell_bytes(),
            table.group()};
  }

  ModelFile ReadFile(const fb::ModelFile& table) { return {Text(table.path()), table.bytes()}; }

  IgnoredTensor ReadIgnored(const fb::IgnoredTensor& table) {
    return {Text(table.name()), Text(table.reason())};
  }

  ModelInfo ReadModel(const fb::ModelInfo& table) {
    ModelInfo model;
    model.architecture = Text(table.architecture());
    model.name = Text(table.name());
    model.file_type = Text(table.file_type());
    model.layers = table.layers();
    model.embedding = table.embedding();
    model.heads = table.heads();
    model.kv_heads = table.kv_heads();
    model.head_dim = table.head_dim();
    model.feed_forward = table.feed_forward();
    model.vocab = table.vocab();
    model.context_length = table.context_length();
    return model;
  }

  TokenizerData ReadTokenizer(const fb::Tokenizer& table) {
    TokenizerData data;
    data.model = Text(table.model());
    data.pre = Text(table.pre());
    data.text = Bytes(table.text());
    data.offsets = Numbers<uint32_t>(table.offsets());
    data.scores = Numbers<float>(table.scores());
    const std::string types = Bytes(table.types());
    data.types.reserve(types.size());
    for (char type : types) {
      data.types.push_back(
          Enum(static_cast<uint8_t>(type), TokenType::kByte, "tokenizer: token type"));
    }
    const std::vector<int32_t> merges = Numbers<int32_t>(table.merges());
    if (merges.size() % 2 != 0) {
      Fail(StrCat("tokenizer: merges: expected pairs, got ", merges.size(), " ids"));
    }
    data.merges.reserve(merges.size() / 2);
    for (size_t i = 0; i + 1 < merges.size(); i += 2) {
      data.merges.emplace_back(merges[i], merges[i + 1]);
    }
    data.bos = table.bos();
    data.eos = table.eos();
    data.eot = table.eot();
    data.eom = table.eom();
    data.unk = table.unk();
    data.pad = table.pad();
    data.add_bos = table.add_bos();
    data.add_eos = table.add_eos();
    data.add_space_prefix = table.add_space_prefix();
    data.end_of_generation = Numbers<int32_t>(table.end_of_generation());
    data.chat_template = Text(table.chat_template());
    return data;
  }

  PassRecord ReadPass(const fb::PassRecord& table) {
    return {Text(table.name()), table.changed(), table.nodes_before(), table.nodes_after(),
            table.milliseconds()};
  }

  LedgerEntry ReadEntry(const fb::LedgerEntry& table) {
    LedgerEntry entry;
    entry.pass = Text(table.pass());
    entry.node = Text(table.node());
    entry.layer = table.layer();
    entry.result = Enum(table.result(), LedgerResult::kRejected, "ledger result");
    entry.reason = Text(table.reason());
    return entry;
  }

  Choice ReadChoice(const fb::Choice& table) {
    return {Text(table.subject()), Text(table.what()), Text(table.chosen()),
            Texts(table.considered()), Text(table.reason())};
  }

  Plan ReadPlan(const fb::Plan& table) {
    Plan plan;
    plan.target = Text(table.target());
    plan.producer = Text(table.producer());
    plan.model = ReadModel(*table.model());
    plan.tokenizer = ReadTokenizer(*table.tokenizer());
    plan.files = Tables(table.files(), &Reader::ReadFile);
    plan.ignored = Tables(table.ignored(), &Reader::ReadIgnored);
    plan.geometry = {table.geometry()->page_tokens(),
                     table.geometry()->context(),
                     table.geometry()->max_sequences(),
                     table.geometry()->max_step_tokens(),
                     Numbers<int64_t>(table.geometry()->windows()),
                     table.geometry()->invariant_tokens()};
    plan.symbols = Tables(table.symbols(), &Reader::ReadSymbol);
    plan.inputs = Texts(table.inputs());
    plan.outputs = Texts(table.outputs());
    plan.weights = Tables(table.weights(), &Reader::ReadWeight);
    plan.caches = Tables(table.caches(), &Reader::ReadCache);
    plan.buffers = Tables(table.buffers(), &Reader::ReadBuffer);
    plan.kernels = Tables(table.kernels(), &Reader::ReadKernel);
    plan.steps = Tables(table.steps(), &Reader::ReadStep);
    plan.memory = {table.memory()->weights(), table.memory()->kv(), table.memory()->activations()};
    plan.ir = Text(table.ir());
    plan.source_ir = Text(table.source_ir());
    plan.passes = Tables(table.passes(), &Reader::ReadPass);
    plan.ledger = Tables(table.ledger(), &Reader::ReadEntry);
    plan.choices = Tables(table.choices(), &Reader::ReadChoice);
    plan.data_bytes = table.data_bytes();
    for (Buffer& buffer : plan.buffers) {
      // Written once, with the weight. Validate looks at the index.
      if (buffer.space == Space::kWeight && buffer.index >= 0 &&
          static_cast<size_t>(buffer.index) < plan.weights.size()) {
        buffer.type.layout = plan.weights[buffer.index].layout;
      }
    }
    plan.gpu.targets = Tables(table.gpu()->targets(), &Reader::ReadGpuTarget);
    plan.gpu.kernels = Tables(table.gpu()->kernels(), &Reader::ReadGpuKernel);
    plan.gpu.packers = Tables(table.gpu()->packers(), &Reader::ReadPacker);
    plan.gpu.sampler = {table.gpu()->sampler_kernel(), table.gpu()->sampler_shared()};
    return plan;
  }

 private:
  // Element `i` of a vector. The verifier sees to it that a vector's length is aligned, not that
  // its elements are.
  template <typename In>
  static In Element(const uint8_t* elements, uint32_t i) {
    In element;
    std::memcpy(&element, elements + size_t{i} * sizeof(In), sizeof(In));
    return element;
  }

  // Whether `count` elements may be copied.
  bool Take(uint64_t count, uint64_t element_bytes) {
    if (!status_.ok()) return false;
    const uint64_t bytes = count * element_bytes;  // both below 2^32: a FlatBuffer has 2 GiB
    if (bytes > budget_) {
      Fail("content: expected no more than the file's size, got shared parts that repeat");
      return false;
    }
    budget_ -= bytes;
    return true;
  }

  void Fail(std::string_view what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(ToAbsl(what));
  }

  uint64_t budget_;
  absl::Status status_;
};

uint64_t LittleEndian(const uint8_t* bytes, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

bool HasIdentifier(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= 8 && std::memcmp(bytes.data() + 4, fb::PlanIdentifier(), 4) == 0;
}

bool HasTrailer(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= kTrailerBytes &&
         std::memcmp(bytes.data() + bytes.size() - kTrailerBytes, kTrailerMagic.data(),
                     kTrailerMagic.size()) == 0;
}

struct Sealed {
  absl::Span<const uint8_t> body;
  bool has_data = false;  // between the body, filled up to a page, and the trailer
};

// Checks the trailer.
absl::StatusOr<Sealed> Unseal(absl::Span<const uint8_t> bytes) {
  if (!IsPlanFile(bytes)) {
    return absl::InvalidArgumentError("not a plan: expected the identifier RNGP, got other bytes");
  }
  if (!HasTrailer(bytes)) {
    return absl::DataLossError(StrCat("damaged: expected a trailer at the end, got a file cut at ",
                                      bytes.size(), " bytes; compile it again"));
  }
  const absl::Span<const uint8_t> trailer = bytes.last(kTrailerBytes);
  const uint8_t* end = trailer.data() + 16;
  const Digest expected = {LittleEndian(end, 8), LittleEndian(end + 8, 8)};
  const uint64_t before = bytes.size() - kTrailerBytes;
  const uint64_t given = LittleEndian(end - 4, 4);
  // A size beyond the file is damage like any other.
  const Sealed sealed = {bytes.first(given == 0 ? before : std::min(given, before)), given != 0};
  DigestStream stream;
  stream.Add(sealed.body);
  stream.Add(trailer.first(16));
  const Digest digest = stream.Finish();
  if (!(digest == expected)) {
    return absl::DataLossError(StrCat("damaged: digest ", digest.ToHex(), ", expected ",
                                      expected.ToHex(), "; compile it again"));
  }
  const uint64_t version = LittleEndian(end - 8, 4);
  if (version != kFormatVersion) {
    return absl::FailedPreconditionError(
        StrCat("plan format ", version, ", this renga reads ", kFormatVersion, "; compile again"));
  }
  return sealed;
}

absl::Status CheckDataSection(const Plan& plan, const Sealed& sealed, uint64_t file_bytes) {
  const uint64_t start = AlignToPage(sealed.body.size());
  const uint64_t end = file_bytes - kTrailerBytes;
  const bool fits = sealed.has_data
                        ? plan.data_bytes > 0 && start <= end && plan.data_bytes == end - start
                        : plan.data_bytes == 0;
  if (fits) return absl::OkStatus();
  return Mismatch("data section", StrCat(plan.data_bytes, " bytes of embedded weights"),
                  sealed.has_data && start <= end ? end - start : 0);
}

absl::StatusOr<Plan> Decode(absl::Span<const uint8_t> bytes) {
  RENGA_ASSIGN_OR_RETURN(const Sealed sealed, Unseal(bytes));
  absl::Span<const uint8_t> body = sealed.body;
  if (body.size() >= FLATBUFFERS_MAX_BUFFER_SIZE) {
    return absl::InvalidArgumentError(StrCat(
        "size: expected less than ", FLATBUFFERS_MAX_BUFFER_SIZE, " bytes, got ", body.size()));
  }
  // Numbers are read in place, so the buffer must start where its largest number may.
  std::unique_ptr<uint64_t[]> aligned;
  if (reinterpret_cast<uintptr_t>(body.data()) % alignof(uint64_t) != 0) {
    aligned = std::make_unique<uint64_t[]>(body.size() / sizeof(uint64_t) + 1);
    std::memcpy(aligned.get(), body.data(), body.size());
    body = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(aligned.get()), body.size());
  }
  flatbuffers::Verifier verifier(body.data(), body.size(), /*max_depth=*/16, kMaxTables);
  if (!fb::VerifyPlanBuffer(verifier)) {
    return absl::InvalidArgumentError(
        "structure: expected a well-formed plan, got offsets that lead astray; compile it again");
  }
  Reader reader(body.size());
  Plan plan = reader.ReadPlan(*fb::GetPlan(body.data()));
  RENGA_RETURN_IF_ERROR(reader.status());
  RENGA_RETURN_IF_ERROR(CheckDataSection(plan, sealed, bytes.size()));
  RENGA_RETURN_IF_ERROR(Validate(plan));
  return plan;
}

}  // namespace

bool IsPlanFile(absl::Span<const uint8_t> bytes) {
  return HasIdentifier(bytes) || HasTrailer(bytes);
}

absl::StatusOr<Plan> Deserialize(absl::Span<const uint8_t> bytes, std::string_view file) {
  absl::StatusOr<Plan> plan = Decode(bytes);
  if (!plan.ok()) return Annotate(plan.status(), file);
  return plan;
}

absl::StatusOr<Plan> LoadPlan(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return Deserialize(file.bytes(), path);
}

}  // namespace renga::plan
