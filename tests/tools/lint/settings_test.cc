// Checks of settings and of the vocabulary: cases that fire, and close ones that must not.
#include <string>
#include <vector>

#include "tests/tools/lint/lint_case.h"

namespace renga {
namespace {

std::string Bool(bool value) { return Raw(static_cast<uint8_t>(value)); }

// Byte-level BPE with tokens as they are and no merges.
void MakeBpe(TinyModel& tiny, std::string_view pre) {
  SetText(tiny, "tokenizer.ggml.model", "gpt2");
  SetKey(tiny, "tokenizer.ggml.merges", MetaType::kArray, RawArray(std::vector<std::string>{}));
  if (!pre.empty()) SetText(tiny, "tokenizer.ggml.pre", pre);
}

void Yarn(TinyModel& tiny) {
  tiny.SetString("rope.scaling.type", "yarn");
  tiny.SetF32("rope.scaling.factor", 4);
}

void SetTypes(TinyModel& tiny, const std::vector<int32_t>& types) {
  SetKey(tiny, "tokenizer.ggml.token_type", MetaType::kArray, RawArray(MetaType::kI32, types));
}

void SetTemplate(TinyModel& tiny, std::string_view source) {
  SetText(tiny, "tokenizer.chat_template", source);
}

class Settings : public testing::TestWithParam<LintCase> {};
TEST_P(Settings, Case) { RunCase(GetParam()); }

constexpr char kEps[] = "attention.layer_norm_rms_epsilon";

std::vector<LintCase> Cases() {
  return {
      {"EpsilonFarTooLarge",
       [](TinyModel& tiny) { tiny.SetF32(kEps, 0.5f); },
       {"likely norm-epsilon llama.attention.layer_norm_rms_epsilon: is 0.5; models have"}},
      {"EpsilonUnusual",
       [](TinyModel& tiny) { tiny.SetF32(kEps, 4e-3f); },
       {"maybe norm-epsilon llama.attention.layer_norm_rms_epsilon: is 0.004"}},
      {"EpsilonFarTooSmall",
       [](TinyModel& tiny) { tiny.SetF32(kEps, 1e-30f); },
       {"likely norm-epsilon llama.attention.layer_norm_rms_epsilon: is 1e-30"}},
      {"EpsilonAsModelsHaveIt", [](TinyModel& tiny) { tiny.SetF32(kEps, 1e-6f); }, {}},
      {"EpsilonAtTheEnd", [](TinyModel& tiny) { tiny.SetF32(kEps, 1e-3f); }, {}},

      {"BaseTooSmall",
       [](TinyModel& tiny) { tiny.SetF32("rope.freq_base", 100); },
       {"likely rope-settings llama.rope.freq_base: is 100; models have 10000 or more"}},
      // 2 pi sqrt(10000) = 628.3
      {"ContextBeyondTheSlowestPair",
       [](TinyModel& tiny) { tiny.SetU32("context_length", 629); },
       {"maybe rope-settings llama.rope.freq_base: with 10000 and 4 dimensions the slowest pair "
        "turns once in 628 tokens, but context_length is 629"}},
      {"ContextWithinTheSlowestPair",
       [](TinyModel& tiny) { tiny.SetU32("context_length", 628); },
       {}},
      {"LargeBaseAndContext",
       [](TinyModel& tiny) {
         tiny.SetF32("rope.freq_base", 1e12f);
         tiny.SetU32("context_length", 1000000);
       },
       {}},
      {"FactorIsAReciprocal",
       [](TinyModel& tiny) { tiny.SetF32("rope.scaling.factor", 0.25f); },
       {"likely rope-settings llama.rope.scaling.factor: is 0.25"}},
      {"FactorThatMeansNone", [](TinyModel& tiny) { tiny.SetF32("rope.scaling.factor", 0); }, {}},
      {"FactorOfNoScaling",
       [](TinyModel& tiny) {
         tiny.SetString("rope.scaling.type", "none");
         tiny.SetF32("rope.scaling.factor", 4);
       },
       {"maybe rope-settings llama.rope.scaling.type: is none, with a scaling.factor of 4"}},
      {"LinearFactor", [](TinyModel& tiny) { tiny.SetF32("rope.scaling.factor", 4); }, {}},
      {"YarnWithoutOriginal",
       Yarn,
       {"likely rope-settings llama.rope.scaling.original_context_length: is missing, and "
        "scaling.type is yarn"}},
      {"YarnWithOriginal",
       [](TinyModel& tiny) {
         Yarn(tiny);
         tiny.SetU32("rope.scaling.original_context_length", 16);
       },
       {}},
      {"Magnitude",
       [](TinyModel& tiny) { tiny.SetF32("rope.scaling.attn_factor", 3); },
       {"maybe rope-settings llama.rope.scaling.attn_factor: is 3"}},

      {"NegativeMultiplier",
       [](TinyModel& tiny) { tiny.SetF32("logit_scale", -1); },
       {"likely multipliers llama.logit_scale: is -1, expected a positive number"}},
      {"MultiplierOfNone", [](TinyModel& tiny) { tiny.SetF32("logit_scale", 0); }, {}},

      {"NoContext",
       [](TinyModel& tiny) { tiny.SetU32("context_length", 0); },
       {"likely context-length llama.context_length: is 0 tokens"}},
      {"ShortContext",
       [](TinyModel& tiny) { tiny.SetU32("context_length", 31); },
       {"maybe context-length llama.context_length: is 31 tokens"}},
      {"ContextLongEnough", [](TinyModel& tiny) { tiny.SetU32("context_length", 32); }, {}},

      {"OddHidden",
       [](TinyModel&) {},
       {"maybe odd-sizes llama.feed_forward_length: is 11, an odd number"},
       [](TinyModel& tiny) { tiny.hidden = 11; }},
      {"OddVocabulary", [](TinyModel&) {}, {}, [](TinyModel& tiny) { tiny.vocab = 13; }},

      {"KeyOfAnotherArchitecture",
       [](TinyModel& tiny) {
         tiny.writer.AddF32("qwen2.rope.freq_base", 1e6f).AddU32("qwen2.block_count", 2);
       },
       {"likely foreign-keys qwen2.rope.freq_base: a setting of qwen2 in a file of architecture "
        "llama, and 1 more"}},
      {"KeyOfNoArchitecture",
       [](TinyModel& tiny) { tiny.writer.AddU32("somebody.version", 2); },
       {}},

      {"PreMissing",
       [](TinyModel& tiny) { MakeBpe(tiny, ""); },
       {"likely pre-tokenizer tokenizer.ggml.pre: is missing"}},
      {"PreUnknown",
       [](TinyModel& tiny) { MakeBpe(tiny, "qwen-2"); },
       {"certain pre-tokenizer tokenizer.ggml.pre: is 'qwen-2', which is unknown"}},
      {"PreKnown", [](TinyModel& tiny) { MakeBpe(tiny, "qwen2"); }, {}},
      {"PreDefault",
       [](TinyModel& tiny) { MakeBpe(tiny, "default"); },
       {"maybe pre-tokenizer tokenizer.ggml.pre: is default"}},
      {"SentencePieceNeedsNoPre",
       [](TinyModel& tiny) { SetText(tiny, "tokenizer.ggml.pre", "default"); },
       {}},

      {"TemplateThatDoesNotParse",
       [](TinyModel& tiny) { SetTemplate(tiny, "a\n{% if x %}"); },
       {"certain chat-template tokenizer.chat_template: line 2: {% if %} is never closed"}},
      {"NamedTemplateThatDoesNotParse",
       [](TinyModel& tiny) { SetText(tiny, "tokenizer.chat_template.tool_use", "{{ x"); },
       {"certain chat-template tokenizer.chat_template.tool_use: line 1: {{ is never closed"}},
      {"TemplateWithAnUnknownTag",
       [](TinyModel& tiny) { SetTemplate(tiny, "{% trans %}"); },
       {"maybe chat-template tokenizer.chat_template: line 1: {% trans %} is no tag"}},
      {"TemplateWithAMarkerThatIsNoToken",
       [](TinyModel& tiny) { SetTemplate(tiny, "{{ '<|im_start|>' + x }}<s>"); },
       {"maybe chat-template tokenizer.chat_template: writes <|im_start|>, which no token is"}},
      {"TemplateWithMarkersThatAre",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "<s>", "</s>", "<|user|>", "<|end|>", "f", "g"});
         SetTemplate(tiny, "{% for m in messages %}<|user|>{{ m }}<|end|>{% endfor %} a <| b |> c");
       },
       {}},

      {"MoreRowsThanTokens",
       [](TinyModel& tiny) {
         tiny.Remove("token_embd.weight");
         tiny.AddWeight("token_embd.weight", {9, 12});
       },
       {"maybe padded-vocab token_embd.weight: 9 rows for 7 tokens"}},
      {"FewerTokensSaid",
       [](TinyModel& tiny) { tiny.SetU32("vocab_size", 5); },
       {"maybe padded-vocab llama.vocab_size: is 5, and there are 7 tokens"}},
      {"NonsenseSaid", [](TinyModel& tiny) { tiny.SetF32("vocab_size", -1e30f); }, {}},
      {"AsManyTokensSaid", [](TinyModel& tiny) { tiny.SetU32("vocab_size", 7); }, {}},

      {"BosWantedAndMissing",
       [](TinyModel& tiny) {
         MakeBpe(tiny, "qwen2");
         SetKey(tiny, "tokenizer.ggml.add_bos_token", MetaType::kBool, Bool(true));
       },
       {"likely special-tokens tokenizer.ggml.bos_token_id: is missing, and texts shall begin"}},
      {"BosMissingAndNotWanted",
       [](TinyModel& tiny) {
         MakeBpe(tiny, "qwen2");
         SetKey(tiny, "tokenizer.ggml.add_bos_token", MetaType::kBool, Bool(false));
       },
       {}},
      {"NothingEnds",
       [](TinyModel& tiny) {
         MakeBpe(tiny, "qwen2");
         SetTokens(tiny, {"a", "b", "c", "d", "e", "f", "g"});
       },
       {"likely special-tokens tokenizer.ggml.eos_token_id: there is no EOS, and no token whose"}},
      {"CustomaryIdIsAnotherToken",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "</s>", "<s>", "d", "e", "f", "g"});
       },
       {"likely special-tokens tokenizer.ggml.bos_token_id: is missing; by custom it is 1, but "
        "that token is '</s>'",
        "likely special-tokens tokenizer.ggml.eos_token_id: is missing; by custom it is 2"}},
      {"RecordedIds",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "</s>", "<s>", "d", "e", "f", "g"});
         tiny.writer.AddU32("tokenizer.ggml.bos_token_id", 2);
         tiny.writer.AddU32("tokenizer.ggml.eos_token_id", 1);
       },
       {}},
      {"EosIsANormalToken",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "<s>", "<end>", "d", "e", "f", "g"});
         SetTypes(tiny, {2, 3, 1, 1, 1, 1, 1});
         tiny.writer.AddU32("tokenizer.ggml.eos_token_id", 2);
       },
       {"maybe special-tokens tokenizer.ggml.token_type: EOS, token 2 '<end>', is a normal"}},

      {"IdBeyondTheTokens",
       [](TinyModel& tiny) {
         tiny.writer.AddU32("tokenizer.ggml.seperator_token_id", 7);
         tiny.writer.AddU32("tokenizer.ggml.mask_token_id", 6);
         tiny.writer.AddU32("tokenizer.ggml.cls_token_id", 0xFFFFFFFF);
         tiny.writer.Add("tokenizer.ggml.fim_pre_token_id", MetaType::kI32, Raw(int32_t{-1}));
       },
       {"maybe special-tokens tokenizer.ggml.seperator_token_id: is 7, and there are 7 tokens"}},

      {"TokenTwice",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "<s>", "</s>", "d", "e", "d", "d"});
       },
       {"likely duplicate-tokens tokenizer.ggml.tokens: 2 tokens have the text of an earlier one; "
        "the first is 5, 'd', as 3"}},
      {"UnusedTokensTwice",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "<s>", "</s>", "d", "x", "x", ""});
         SetTypes(tiny, {2, 3, 3, 1, 5, 5, 5});
       },
       {}},
      {"EmptyToken",
       [](TinyModel& tiny) {
         SetTokens(tiny, {"<unk>", "<s>", "</s>", "d", "", "f", "g"});
       },
       {"maybe duplicate-tokens tokenizer.ggml.tokens: 1 token is empty"}},
  };
}
INSTANTIATE_TEST_SUITE_P(Lint, Settings, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace renga
