// --kv-type: what it says of all layers and of some, and what it refuses.
#include "tools/kv_type_flag.h"

#include "gmock/gmock.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

using testing::AllOf;
using testing::HasSubstr;

CompileOptions Parsed(const std::string& text) {
  CompileOptions options;
  const absl::Status status = ParseKvType(text, &options);
  EXPECT_TRUE(status.ok()) << text << ": " << status;
  return options;
}

// "k/v" of the first layers.
std::vector<std::string> TypesOf(const CompileOptions& options, int64_t layers) {
  std::vector<std::string> types;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const auto type = [&](auto which, DType of_all) {
      return Name(TypeOfLayer(options.kv_of_layers, layer, which, of_all));
    };
    types.push_back(StrCat(type(&KvTypesOfLayers::k, options.k_type), "/",
                           type(&KvTypesOfLayers::v, options.v_type)));
  }
  return types;
}

TEST(KvTypeFlag, SaysTheTypesOfLayers) {
  using Types = std::vector<std::string>;
  EXPECT_EQ(TypesOf(Parsed("k=q8_0"), 1), (Types{"q8_0/f16"}));
  EXPECT_EQ(TypesOf(Parsed("v=f32,k=bf16"), 1), (Types{"bf16/f32"}));
  EXPECT_EQ(TypesOf(Parsed("q4_0"), 1), (Types{"q4_0/q4_0"}));
  EXPECT_EQ(TypesOf(Parsed("k=f8_e4m3,0:f8_e4m3"), 2), (Types{"f8_e4m3/f8_e4m3", "f8_e4m3/f16"}));
  // Layers before all, whatever the order; of two that name a layer the later one.
  EXPECT_EQ(TypesOf(Parsed("0-1:f16,q8_0,3:v=q4_0"), 5),
            (Types{"f16/f16", "f16/f16", "q8_0/q8_0", "q8_0/q4_0", "q8_0/q8_0"}));
  EXPECT_EQ(TypesOf(Parsed("0-2:q8_0,1:k=f32"), 4),
            (Types{"q8_0/q8_0", "f32/q8_0", "q8_0/q8_0", "f16/f16"}));
}

TEST(KvTypeFlag, NamesThePartThatItDoesNotKnow) {
  for (const std::string part :
       {"", "k=", "k=q5_0", "k=fp8", "K=f16", "q=f16", "k=f16 ", "3-1:f16", "-1:f16", "1-:f16",
        "x:f16", "0:", ":f16", "0-1-2:f16", "0:k=v=f16", "99999999999999999999:f16", "0 :f16"}) {
    CompileOptions options;
    EXPECT_THAT(ToStd(ParseKvType("v=q8_0," + part, &options).message()),
                AllOf(HasSubstr("--kv-type: expected k=TYPE, v=TYPE or TYPE for both"),
                      HasSubstr("0-3:k=TYPE, with f32, f16, bf16, q8_0, q4_0 or f8_e4m3, got '" +
                                part + "'")))
        << part;
  }
}

}  // namespace
}  // namespace renga
