# Writes device headers as a function that returns them:
#   cmake -DOUT=F.cc -DFUNCTION=EmbeddedHeaders -DROOT=REPOSITORY "-DHEADERS=a/b.cuh;..." -P embed.cmake
# Every byte is written as \xNN: nothing in a text can end a literal, or be a list to CMake.

set(piece_bytes 4096)  # a literal has at most 64 KiB by the standard
math(EXPR piece_digits "${piece_bytes} * 2")

set(rows)
list(SORT HEADERS)
foreach(name ${HEADERS})
  file(READ "${ROOT}/${name}" hex HEX)
  string(LENGTH "${hex}" digits)
  string(APPEND rows "    {\"${name}\",\n     \"\"\n")
  set(at 0)
  while(at LESS digits)
    string(SUBSTRING "${hex}" ${at} ${piece_digits} piece)
    string(REGEX REPLACE "(..)" "\\\\x\\1" piece "${piece}")
    string(APPEND rows "     \"${piece}\"\n")
    math(EXPR at "${at} + ${piece_digits}")
  endwhile()
  string(APPEND rows "    },\n")
endforeach()

file(WRITE "${OUT}" "// Written by codegen/kernels/embed.cmake.
#include \"codegen/kernels/embedded.h\"

#include <iterator>

namespace renga::codegen {
namespace {

constexpr DeviceHeader kHeaders[] = {
${rows}    {\"\", \"\"},  // an array cannot be empty; not part of the result
};

}  // namespace

absl::Span<const DeviceHeader> ${FUNCTION}();
absl::Span<const DeviceHeader> ${FUNCTION}() { return {kHeaders, std::size(kHeaders) - 1}; }

}  // namespace renga::codegen
")
