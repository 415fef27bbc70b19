#include "runtime/text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/text/utf8.h"

namespace renga {
namespace {

// The Unicode property White_Space, as the inside of a character class.
constexpr std::string_view kWhiteSpace =
    R"re(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})re";

// Big enough for any pattern of the table: those that need a stack need it per match, not per
// character. What does not fit is an error, not a wrong answer.
constexpr size_t kJitStackStart = 32 * 1024;
constexpr size_t kJitStackLimit = 8 * 1024 * 1024;

std::string ExpandWhiteSpace(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's' && in_class) {
        out.append(kWhiteSpace);
      } else if (escaped == 's' || escaped == 'S') {
        StrAppend(&out, escaped == 's' ? "[" : "[^", kWhiteSpace, "]");
      } else {
        out.push_back(c);
        out.push_back(escaped);
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out.push_back(c);
  }
  return out;
}

std::string Pcre2Message(int code) {
  unsigned char buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// PCRE2 refuses surrogates, which a text may hold. A private-use character has the same length and
// belongs to the same classes (none), so it stands in for them while matching.
std::string StandInForSurrogates(std::string_view text) {
  std::string subject(text);
  for (size_t i = 0; i + 2 < subject.size(); ++i) {
    const auto lead = static_cast<unsigned char>(subject[i]);
    const auto second = static_cast<unsigned char>(subject[i + 1]);
    if (lead == 0xED && second >= 0xA0) subject.replace(i, 3, "\xEE\x80\x80");
  }
  return subject;
}

struct Deleter {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Deleter>;

// What one thread needs to match; made per call so that Split() is const for several threads.
struct Matcher {
  Owned<pcre2_match_data> data{pcre2_match_data_create(1, nullptr)};
  Owned<pcre2_match_context> context{pcre2_match_context_create(nullptr)};
  Owned<pcre2_jit_stack> stack{pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr)};

  absl::Status Init() {
    if (data == nullptr || context == nullptr) {
      return absl::ResourceExhaustedError("pre-tokenizer: out of memory for matching");
    }
    // Without a just-in-time compiler there is no such stack, and none is needed.
    if (stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    return absl::OkStatus();
  }
};

}  // namespace

class PreTokenizer::Pass {
 public:
  static absl::StatusOr<std::unique_ptr<Pass>> Create(std::string_view pattern) {
    const std::string expanded = ExpandWhiteSpace(pattern);
    int error = 0;
    size_t where = 0;
    auto pass = std::make_unique<Pass>();
    pass->code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expanded.data()), expanded.size(),
                                    PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE,
                                    &error, &where, nullptr));
    if (pass->code_ == nullptr) {
      return absl::InternalError(StrCat("pre-tokenizer: pattern ", pattern, ": at byte ", where,
                                        ": ", Pcre2Message(error)));
    }
    // A PCRE2 without (or forbidden) just-in-time compilation interprets: slower, same matches.
    pcre2_jit_compile(pass->code_.get(), PCRE2_JIT_COMPLETE);
    return pass;
  }

  // Cuts subject[begin, end) and appends the ends of its pieces.
  absl::Status Cut(const std::string& subject, size_t begin, size_t end, Matcher* matcher,
                   std::vector<size_t>* ends) const {
    const auto* piece = reinterpret_cast<PCRE2_SPTR>(subject.data() + begin);
    const size_t size = end - begin;
    size_t done = 0;
    for (size_t from = 0; from < size;) {
      const int rc = pcre2_match(code_.get(), piece, size, from, PCRE2_NO_UTF_CHECK,
                                 matcher->data.get(), matcher->context.get());
      if (rc == PCRE2_ERROR_NOMATCH) break;
      if (rc < 0) {
        return absl::ResourceExhaustedError(StrCat(
            "pre-tokenizer: a piece of ", size, " bytes: ", Pcre2Message(rc), "; split the text"));
      }
      const size_t* span = pcre2_get_ovector_pointer(matcher->data.get());
      if (span[1] <= span[0]) {
        return absl::InternalError("pre-tokenizer: a pattern of the table matched nothing");
      }
      if (span[0] > done) ends->push_back(begin + span[0]);
      ends->push_back(begin + span[1]);
      done = from = span[1];
    }
    if (done < size) ends->push_back(end);
    return absl::OkStatus();
  }

 private:
  Owned<pcre2_code> code_;
};

PreTokenizer::PreTokenizer() = default;
PreTokenizer::~PreTokenizer() = default;

absl::StatusOr<std::unique_ptr<PreTokenizer>> PreTokenizer::Create(std::string_view name) {
  const PreTokenizerName* entry = FindPreTokenizerName(name);
  if (entry == nullptr) {
    return absl::UnimplementedError(StrCat("tokenizer.ggml.pre: unknown pre-tokenizer \"", name,
                                           "\", known are: ", KnownPreTokenizers()));
  }
  const PreTokenizerFamily* family = FindPreTokenizerFamily(entry->family);
  if (family == nullptr) {
    return absl::InternalError(StrCat("pre-tokenizer ", name, ": no family ", entry->family));
  }
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<PreTokenizer> result, CreateFamily(*family));
  result->ignore_merges_ = entry->ignore_merges;
  return result;
}

absl::StatusOr<std::unique_ptr<PreTokenizer>> PreTokenizer::CreateFamily(
    const PreTokenizerFamily& family) {
  auto result = std::unique_ptr<PreTokenizer>(new PreTokenizer);
  result->raw_ = family.raw;
  for (std::string_view pattern : family.passes) {
    RENGA_ASSIGN_OR_RETURN(std::unique_ptr<Pass> pass, Pass::Create(pattern));
    result->passes_.push_back(std::move(pass));
  }
  return result;
}

absl::StatusOr<std::vector<std::string_view>> PreTokenizer::Split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (text.empty()) return pieces;
  const std::string subject = StandInForSurrogates(text);
  for (size_t offset = 0; offset < subject.size();) {
    const Utf8Step step = ReadUtf8(std::string_view(subject).substr(offset));
    if (step.kind != Utf8Step::Kind::kCharacter) {
      return absl::InvalidArgumentError(
          StrCat("pre-tokenizer: text is not UTF-8 at byte ", offset));
    }
    offset += step.bytes;
  }
  Matcher matcher;
  RENGA_RETURN_IF_ERROR(matcher.Init());
  std::vector<size_t> ends = {text.size()}, next;
  for (const auto& pass : passes_) {
    next.clear();
    size_t begin = 0;
    for (size_t end : ends) {
      RENGA_RETURN_IF_ERROR(pass->Cut(subject, begin, end, &matcher, &next));
      begin = end;
    }
    ends.swap(next);
  }
  pieces.reserve(ends.size());
  size_t begin = 0;
  for (size_t end : ends) {
    pieces.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

}  // namespace renga
