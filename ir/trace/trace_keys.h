// Keys of a trace file's metadata.
#pragma once

#include <string_view>

namespace renga::trace_keys {

inline constexpr std::string_view kFormat = "format";
inline constexpr std::string_view kFormatName = "renga-trace";
inline constexpr std::string_view kVersion = "version";
inline constexpr std::string_view kVersionText = "2";
inline constexpr std::string_view kModel = "model";
inline constexpr std::string_view kModelDigest = "model_digest";
inline constexpr std::string_view kDevice = "device";
inline constexpr std::string_view kTarget = "target";
inline constexpr std::string_view kProducer = "producer";
inline constexpr std::string_view kPrompt = "prompt";
inline constexpr std::string_view kIds = "ids";              // "1,403,407"
inline constexpr std::string_view kPositions = "positions";  // "0,3,4"; empty: all
inline constexpr std::string_view kKType = "k_type";
inline constexpr std::string_view kVType = "v_type";
inline constexpr std::string_view kIr = "ir";
inline constexpr std::string_view kValues = "values";  // JSON: [{name, op, axes, min, ...}]

}  // namespace renga::trace_keys
