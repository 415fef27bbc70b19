// attn_scores(q, k_cache, sequences, pages, k_bias=) {page_tokens, scale, span, and those of rope}:
//   s[t,h,j] = scale * sum_d q[t,h,d] k[j,h / (H/K),d],  j in 0..L-1
//   k[j] = k_cache[cell(sequences[t], j)], plus rope(heads(k_bias)) at position j where there is a
//   k_bias
// j is a position of the token's own sequence; where the sequence has no page yet s is 0 (the mask
// hides it). `span` names the symbol L, the number of key positions of this run.
//
// k_bias is what all keys have in common but for their rotation, kept out of a cache that rounds
// coarsely (passes/simplify/key_bias_apart.h). Only with it there are attributes of rope.
#include <cmath>
#include <vector>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"
#include "ir/ops/paged.h"
#include "ir/ops/rotation.h"

namespace renga {
namespace {

enum Operand { kQ, kKCache, kSequences, kPages, kKBias };

// The attributes that a rotation must have, and those that yarn adds.
constexpr std::string_view kRotationAttrs[] = {"base",      "dims",    "factor",
                                               "magnitude", "pairing", "scaling"};
constexpr std::string_view kYarnAttrs[] = {"beta_fast", "beta_slow", "original_context"};

absl::Status ExpectKeyBias(const InferCall& call) {
  if (!call.has(kKBias)) {
    for (const absl::Span<const std::string_view> attrs :
         {absl::MakeConstSpan(kRotationAttrs), absl::MakeConstSpan(kYarnAttrs)}) {
      for (const std::string_view attr : attrs) {
        if (!call.has_attr(attr)) continue;
        return absl::InvalidArgumentError(StrCat(
            "attribute ", attr, ": expected none, as there is no k_bias to rotate, got one"));
      }
    }
    return absl::OkStatus();
  }
  for (const std::string_view attr : kRotationAttrs) {
    RENGA_RETURN_IF_ERROR(call.ExpectAttr(attr, "there is a k_bias"));
  }
  RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, call.ConstDim(kKCache, 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, call.ConstDim(kKCache, 2));
  RENGA_RETURN_IF_ERROR(call.ExpectType(kKBias, {DType::kF32, {kv_heads * head_dim}}));
  return ExpectRotation(call, head_dim);
}

// rope(heads(k_bias)) at positions 0..span-1, [span, width].
std::vector<double> BiasOfKeys(const EvalCall& call, int64_t span, int64_t head_dim) {
  const std::vector<float> bias = call.Vector(kKBias);
  const Rotation rotation = RotationOf(call, /*factors=*/{});
  const int64_t width = static_cast<int64_t>(bias.size());
  std::vector<double> keys(span * width);
  call.Parallel(span, [&](int64_t j) {
    double* key = keys.data() + j * width;
    std::copy(bias.begin(), bias.end(), key);
    for (int64_t p = 0; p < rotation.pairs(); ++p) {
      const double angle = static_cast<double>(j) * rotation.frequency[p];
      const double c = std::cos(angle) * rotation.magnitude;
      const double s = std::sin(angle) * rotation.magnitude;
      for (int64_t head = 0; head < width; head += head_dim) {
        const double a = bias[head + rotation.First(p)], b = bias[head + rotation.Second(p)];
        key[head + rotation.First(p)] = a * c - b * s;
        key[head + rotation.Second(p)] = a * s + b * c;
      }
    }
  });
  return keys;
}

}  // namespace

const OpDef kAttnScores = {
    .name = "attn_scores",
    .formula =
        "s[t,h,j] = scale * sum_d q[t,h,d] (k_cache[cell(t,j)] + rope_j(k_bias))[h / (H/K), d]",
    .operands =
        {{"q"}, {"k_cache"}, {"sequences"}, {"pages"}, {"k_bias", false, /*optional=*/true}},
    .attrs = {{"base", AttrType::kFloat, /*required=*/false},
              {"beta_fast", AttrType::kFloat, /*required=*/false},
              {"beta_slow", AttrType::kFloat, /*required=*/false},
              {"dims", AttrType::kInt, /*required=*/false},
              {"factor", AttrType::kFloat, /*required=*/false},
              {"magnitude", AttrType::kFloat, /*required=*/false},
              {"original_context", AttrType::kInt, /*required=*/false},
              {"page_tokens", AttrType::kInt},
              {"pairing", AttrType::kName, /*required=*/false},
              {"scale", AttrType::kFloat},
              {"scaling", AttrType::kName, /*required=*/false},
              {"span", AttrType::kName}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(ExpectPaged(call, kQ));
      RENGA_RETURN_IF_ERROR(call.ExpectDim(kKCache, 2, call.type(kQ).shape[2]));
      RENGA_ASSIGN_OR_RETURN(const int64_t heads, call.ConstDim(kQ, 1));
      RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, call.ConstDim(kKCache, 1));
      if (heads % kv_heads != 0) {
        return call.OperandError(kQ, StrCat("heads that are a multiple of ", kv_heads));
      }
      RENGA_RETURN_IF_ERROR(ExpectKeyBias(call));
      return std::vector<TensorType>{
          {DType::kF32, {call.type(kQ).shape[0], heads, Dim::Symbol(call.Name("span"))}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& q = call.in(kQ);
      const HostTensor& cache = call.in(kKCache);
      const HostTensor& sequences = call.in(kSequences);
      const HostTensor& pages = call.in(kPages);
      HostTensor& s = call.out(0);
      const int64_t page_tokens = call.Int("page_tokens");
      RENGA_RETURN_IF_ERROR(CheckPaging(cache, sequences, pages, page_tokens));
      const int64_t heads = q.shape[1], head_dim = q.shape[2], kv_heads = cache.shape[1];
      const int64_t span = s.shape[2];
      const double scale = call.Float("scale");
      const bool biased = call.has(kKBias);
      const std::vector<double> bias_of_keys =
          biased ? BiasOfKeys(call, span, head_dim) : std::vector<double>();
      call.Parallel(q.shape[0], [&](int64_t t) {
        for (int64_t j = 0; j < span; ++j) {
          const int64_t cell = CellOf(pages, sequences.i[t], j, page_tokens);
          if (cell < 0) continue;
          for (int64_t h = 0; h < heads; ++h) {
            const float* query = q.f.data() + (t * heads + h) * head_dim;
            const int64_t head = h / (heads / kv_heads);
            const float* key = cache.f.data() + (cell * kv_heads + head) * head_dim;
            double sum = 0;
            for (int64_t d = 0; d < head_dim; ++d) sum += double{query[d]} * key[d];
            const double* bias = bias_of_keys.data() + (j * kv_heads + head) * head_dim;
            for (int64_t d = 0; biased && d < head_dim; ++d) sum += query[d] * bias[d];
            s.f[(t * heads + h) * span + j] = static_cast<float>(scale * sum);
          }
        }
      });
      return absl::OkStatus();
    },
};

}  // namespace renga
