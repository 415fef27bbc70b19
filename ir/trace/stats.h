// Statistics of a value.
#pragma once

#include "ir/trace/trace.h"

namespace renga {

// Of all elements of `value`; its `stats` are not looked at.
ValueStats ComputeStats(const TracedValue& value);

}  // namespace renga
