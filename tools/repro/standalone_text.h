// Sources as one text that includes nothing but the standard library: for programs that are to be
// built elsewhere.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace renga {

// Each header comes once, where it is first needed.
class StandaloneText {
 public:
  // One of those that are embedded for this: tools/repro/standalone and the emulator's primitives.
  std::string Own(std::string_view name);

  // What primitives_host.h needs, and it.
  std::string Host();

  // `source` without its #include lines, whose headers (with what they include) are appended to
  // `includes`.
  std::string Body(std::string_view source, std::string* includes);

 private:
  std::string Expand(std::string_view text);
  std::string Header(std::string_view name);  // empty where it has been there

  std::set<std::string, std::less<>> seen_;
};

}  // namespace renga
