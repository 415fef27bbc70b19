#include "frontend/models/experts.h"

#include "frontend/models/blocks.h"
#include "ir/base/status.h"

namespace renga {
namespace {

ValueId ExpertLinear(ModelBuilder& b, std::string name, ValueId x, const std::string& tensor,
                     int64_t experts, int64_t out, ValueId chosen) {
  if (!b.ok()) return kNoValue;
  const int64_t in = b.type(x).shape.back().value;
  return b.Op("expert_linear", std::move(name), {x, b.Weight(tensor, {experts, out, in}), chosen});
}

}  // namespace

ValueId Experts(ModelBuilder& b, int layer, ValueId x, const ExpertParams& p) {
  if (!b.ok()) return kNoValue;
  const int64_t width = b.type(x).shape.back().value;
  const ValueId scores = Linear(b, InLayer(layer, "router"), x, Block(layer, "ffn_gate_inp"),
                                p.experts, Presence::kAbsent);
  const std::vector<ValueId> route =
      b.Ops("moe_route", {InLayer(layer, "experts"), InLayer(layer, "expert_weights")}, {scores},
            {{"normalise", p.normalise}, {"used", p.used}});
  if (!b.ok()) return kNoValue;
  const auto linear = [&](std::string_view role, ValueId in, std::string_view tensor, int64_t out) {
    return ExpertLinear(b, InLayer(layer, role), in, Block(layer, tensor), p.experts, out,
                        route[0]);
  };
  const ValueId gate = linear("gate", x, "ffn_gate_exps.weight", p.hidden);
  const ValueId up = linear("up", x, "ffn_up_exps.weight", p.hidden);
  const ValueId act =
      b.Op("glu", InLayer(layer, "act"), {gate, up}, {{"activation", std::string(p.activation)}});
  const ValueId down = linear("down", act, "ffn_down_exps.weight", width);
  return b.Op("expert_sum", InLayer(layer, "ffn_out"), {down, route[1]});
}

}  // namespace renga
