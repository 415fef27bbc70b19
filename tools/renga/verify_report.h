// What `verify` says, for people, for scripts and as a page.
#pragma once

#include <string>
#include <string_view>

#include "tools/renga/output.h"
#include "tools/verify_model.h"

namespace renga {

std::string VerifyText(const VerifyReport& report);
Json VerifyJson(const VerifyReport& report);

// A page that needs no other file and no script. `model` is what was named.
std::string VerifyHtml(std::string_view model, const VerifyReport& report);

}  // namespace renga
