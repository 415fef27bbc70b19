// absl::Status as the C interface has it.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "renga/renga.h"

struct renga_error {
  renga_status status = RENGA_OK;
  std::string message;
};

namespace renga {

renga_status CodeOf(const absl::Status& status);

// Sets *error, where there is one to be set: to null for an ok status, else to a new error. Returns
// the code. Does not throw: an error for which there is no memory is null.
renga_status Report(const absl::Status& status, renga_error** error) noexcept;

// InvalidArgument unless `pointer` is there. `what` names the argument.
absl::Status CheckGiven(const void* pointer, std::string_view what);

// The body of a function of the interface, which gives a status. Ours throws nothing, but the
// standard library does where memory ends, and no caller in C could catch that.
template <typename Body>
renga_status Guarded(renga_error** error, const Body& body) noexcept {
  try {
    return Report(body(), error);
  } catch (const std::bad_alloc&) {
    return Report(absl::ResourceExhaustedError("out of memory"), error);
  } catch (const std::exception& exception) {
    return Report(absl::InternalError(exception.what()), error);
  }
}

}  // namespace renga
