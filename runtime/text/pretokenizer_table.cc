#include "runtime/text/pretokenizer_table.h"

namespace renga {
namespace {

using std::string_view;

// The patterns are those the models were published with, as llama.cpp reads them (it is what the
// GGUF files are tested with): `\p{Lu}` and its kin mean `\p{L}` there. Groups under a repeat are
// written as classes where that means the same, so that long words need no match stack.

// Contractions in lower case; whole digit runs; one leading space joins a word, number or sign run.
// The last alternative of the published pattern (`|\s+`) is what is left between matches anyway.
constexpr string_view kGpt2[] = {
    R"re('(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re",
};

// Every digit alone, then gpt2.
constexpr string_view kDigitsGpt2[] = {
    R"re(\p{N})re",
    R"re('(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re",
};

// At most three digits a piece; a word may take one leading blank or sign; line breaks stick to the
// sign or blank run before them.
constexpr string_view kLlama3[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As llama3, one digit a piece.
constexpr string_view kQwen2[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As qwen2, combining marks count as letters.
constexpr string_view kQwen35[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Case decides word borders, but only a-z and A-Z have case: `[^\P{L}a-z]` is "a letter other than
// a-z". Contractions are a suffix of the word.
constexpr string_view kGpt4o[] = {
    R"re([^\r\n\p{L}\p{N}]?[^\P{L}a-z]*[^\P{L}A-Z]+(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|)re"
    R"re([^\r\n\p{L}\p{N}]?[^\P{L}a-z]+[^\P{L}A-Z]*(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|)re"
    R"re(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As gpt-4o without contractions, one digit a piece.
constexpr string_view kTekken[] = {
    R"re([^\r\n\p{L}\p{N}]?[^\P{L}a-z]*[^\P{L}A-Z]+|)re"
    R"re([^\r\n\p{L}\p{N}]?[^\P{L}a-z]+[^\P{L}A-Z]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)re"
    R"re(\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As gpt-4o, marks count as letters: the class lists all that is neither letter nor mark.
constexpr string_view kGraniteEmbed[] = {
    R"re([^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}a-z]*[^\p{N}\p{P})re"
    R"re(\p{S}\p{Z}\p{C}A-Z]+(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|)re"
    R"re([^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}a-z]+[^\p{N}\p{P})re"
    R"re(\p{S}\p{Z}\p{C}A-Z]*(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|\p{N}{1,3}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Digits in threes; ideographs and kana; then an ASCII sign takes the Latin word after it.
constexpr string_view kDeepseekV3[] = {
    R"re(\p{N}{1,3})re",
    R"re([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re",
    R"re([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)re"
    R"re( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As deepseek-v3, line breaks are single pieces, and last every digit alone.
constexpr string_view kSpark25[] = {
    R"re(\p{N}{1,3})re",
    R"re([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re",
    R"re([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|)re"
    R"re([\r\n]|\s+(?!\S)|\s+)re",
    R"re(\p{N})re",
};

// Line breaks, words of cased scripts, signs, trailing blanks, wide characters, digit runs. The
// wide class is U+0800..U+9FA5 and Hangul less white space. The trailing blanks are only looked for
// where a run begins, so that long runs inside a text cost no quadratic search.
constexpr string_view kDeepseekLlm[] = {
    R"re([\r\n])re",
    R"re(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF})re"
    R"re(\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D})re"
    R"re(\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481})re"
    R"re(\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})re"
    R"re(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A})re"
    R"re(\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57})re"
    R"re(\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC})re"
    R"re(\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB})re"
    R"re(\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})re"
    R"re(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128})re"
    R"re(\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149})re"
    R"re(\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE})re"
    R"re(\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787})re"
    R"re(\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A})re"
    R"re(\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})re"
    R"re(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)re",
    R"re(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3001}\x{3002}]+)re",
    R"re((?<!\s)\s+$)re",
    R"re([\x{800}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E})re"
    R"re(\x{2060}-\x{2FFF}\x{3001}-\x{9FA5}\x{AC00}-\x{D7FF}]+)re",
    R"re(\p{N}+)re",
};

// As deepseek-llm with any letter and any punctuation; digits one by one.
constexpr string_view kDeepseekCoder[] = {
    R"re([\r\n])re",
    R"re(\s?\p{L}+)re",
    R"re(\s?\p{P}+)re",
    R"re([\x{800}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E})re"
    R"re(\x{2060}-\x{2FFF}\x{3001}-\x{9FA5}\x{AC00}-\x{D7FF}]+)re",
    R"re(\p{N})re",
};

// Signs, gpt2, then digit runs in threes from the left.
constexpr string_view kFalcon[] = {
    R"re([\p{P}$+<=>^~|`]+)re",
    R"re('(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re",
    R"re([0-9][0-9][0-9])re",
};

// A file that names no pre-tokenizer.
constexpr string_view kDefault[] = {
    R"re([\p{P}$+<=>^~|]+)re",
    R"re('(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re",
    R"re(\p{N}+)re",
    R"re([0-9][0-9][0-9])re",
};

// As llama3; a run of blanks is cut into powers of two.
constexpr string_view kJais2[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|)re"
    R"re(\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s)re",
};

// Hangul, CJK signs, bopomofo, ideographs and kana; then gpt-4o's pattern with one digit a piece
// and no case (Lu, Ll and their kin are read as L).
constexpr string_view kYoutu[] = {
    R"re([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|)re"
    R"re([\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A})re"
    R"re(\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|)re"
    R"re([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re",
    R"re([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|)re"
    R"re(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Digit runs in threes counted from the right: the odd one or two at the front, then threes (a
// look-ahead at every digit would be quadratic). Then gpt-4o's pattern without case.
constexpr string_view kTinyAya[] = {
    R"re(\p{N}+)re",
    R"re(^\p{N}{1,2}(?=(?:\p{N}{3})++\z))re",
    R"re(\p{N}{3})re",
    R"re([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|)re"
    R"re(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Digits as tiny_aya, East and South-East Asian scripts, then deepseek-v3's last pattern.
constexpr string_view kAfmoe[] = {
    R"re(\p{N}+)re",
    R"re(^\p{N}{1,2}(?=(?:\p{N}{3})++\z))re",
    R"re(\p{N}{3})re",
    R"re([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF})re"
    R"re(\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF})re"
    R"re(\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF})re"
    R"re(]+)re",
    R"re([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)re"
    R"re( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Digit runs in threes from the right (ASCII digits; the rest of a mixed run stays whole), nothing
// else: merges cross blanks.
constexpr string_view kSuperbpe[] = {
    R"re(\p{N}+)re",
    R"re(^[0-9]{1,2}(?=(?:[0-9]{3})++\z))re",
    R"re([0-9]{3})re",
};

// A word is anything but blanks, parentheses, `|` and these signs.
constexpr string_view kBloom[] = {
    R"re( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)re",
};

// As bloom, then every digit alone.
constexpr string_view kViking[] = {
    R"re( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)re",
    R"re(\p{N})re",
};

// Image sentinels and tokens, blanks, digits, signs, gpt2.
constexpr string_view kChameleon[] = {
    R"re(<sentinel:[0-9]+>)re",
    R"re(IMGIMG[A-I]{1,4}Z)re",
    R"re([\t\n]|    |  )re",
    R"re(\p{N})re",
    R"re([\p{P}!-/:-@\[-`{-~])re",
    R"re('(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re",
};

// Han runs; any run of other letters is one word.
constexpr string_view kKimiK2[] = {
    R"re(\p{sc:Han}+|)re"
    R"re([^\r\n\p{L}\p{N}]?[^\P{L}\p{sc:Han}]+(?:'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE]))?|)re"
    R"re(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As qwen2, one line break at a time.
constexpr string_view kBailingmoe[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)re",
};

// As qwen2, line breaks do not stick to signs.
constexpr string_view kSeedCoder[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// qwen2 without contractions.
constexpr string_view kUfakzeka[] = {
    R"re([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Runs of line breaks and of anything else, then qwen2.
constexpr string_view kLaguna[] = {
    R"re([^\n]+|\n+)re",
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// As qwen2, but single spaces join words, letters take their marks, and one line break or slash
// follows signs. Possessive because a long text of plain words is one match.
constexpr string_view kExaoneMoe[] = {
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|)re"
    R"re([^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*+(?: \p{L}\p{M}*+)*+)++|\p{N}|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)re",
};

// Digits in threes, then qwen2 with digit runs.
constexpr string_view kMinicpm5[] = {
    R"re(\p{N}{1,3})re",
    R"re('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+|)re"
    R"re( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

// Runs of line breaks and of anything else.
constexpr string_view kNewlineRuns[] = {
    R"re([^\n]+|\n+)re",
};

// Each word alone.
constexpr string_view kWhitespace[] = {
    R"re(\S+)re",
};

constexpr PreTokenizerFamily kFamilies[] = {
    {"gpt2", kGpt2},
    {"digits+gpt2", kDigitsGpt2},
    {"llama3", kLlama3},
    {"qwen2", kQwen2},
    {"qwen35", kQwen35},
    {"gpt-4o", kGpt4o},
    {"tekken", kTekken},
    {"granite-embed", kGraniteEmbed},
    {"deepseek-v3", kDeepseekV3},
    {"spark2_5", kSpark25},
    {"deepseek-llm", kDeepseekLlm},
    {"deepseek-coder", kDeepseekCoder},
    {"falcon", kFalcon},
    {"default", kDefault},
    {"jais-2", kJais2},
    {"youtu", kYoutu},
    {"tiny_aya", kTinyAya},
    {"afmoe", kAfmoe},
    {"superbpe", kSuperbpe},
    {"bloom", kBloom},
    {"viking", kViking},
    {"chameleon", kChameleon},
    {"kimi-k2", kKimiK2},
    {"bailingmoe", kBailingmoe},
    {"seed-coder", kSeedCoder},
    {"ufakzeka", kUfakzeka},
    {"laguna", kLaguna},
    {"exaone-moe", kExaoneMoe},
    {"minicpm5", kMinicpm5},
    {"newline runs", kNewlineRuns, true},
    {"whitespace", kWhitespace, true},
};

// Sorted by name.
constexpr PreTokenizerName kNames[] = {
    {"a.x-4.0", "gpt2"},
    {"afmoe", "afmoe"},
    {"bailingmoe", "bailingmoe"},
    {"bailingmoe2", "bailingmoe"},
    {"bloom", "bloom"},
    {"chameleon", "chameleon"},
    {"chatglm-bpe", "llama3"},
    {"codeshell", "digits+gpt2"},
    {"cohere2moe", "tiny_aya"},
    {"command-r", "digits+gpt2"},
    {"dbrx", "llama3"},
    {"deepseek-coder", "deepseek-coder"},
    {"deepseek-llm", "deepseek-llm"},
    {"deepseek-r1-qwen", "qwen2"},
    {"deepseek-v3", "deepseek-v3"},
    {"default", "default"},
    {"exaone", "digits+gpt2"},
    {"exaone-moe", "exaone-moe"},
    {"exaone4", "gpt2"},
    {"f2llmv2", "qwen2"},
    {"falcon", "falcon"},
    {"falcon-h1", "llama3", true},
    {"falcon3", "llama3", true},
    {"gemma4", "newline runs"},
    {"gigachat", "gpt2"},
    {"glm4", "llama3", true},
    {"glm5", "llama3", true},
    {"gpt-2", "gpt2"},
    {"gpt-4o", "gpt-4o"},
    {"gpt3-finnish", "bloom"},
    {"granite-docling", "gpt2"},
    {"granite-embed-multi-311m", "newline runs"},
    {"granite-embed-multi-97m", "granite-embed", true},
    {"grok-2", "qwen2"},
    {"hunyuan", "qwen2"},
    {"hunyuan-dense", "deepseek-v3"},
    {"hy_v4", "deepseek-v3"},
    {"jais", "gpt2"},
    {"jais-2", "jais-2"},
    {"jina-de", "gpt2"},
    {"jina-es", "gpt2"},
    {"jina-v1-en", "gpt2"},
    {"jina-v2-code", "gpt2"},
    {"jina-v2-de", "gpt2"},
    {"jina-v2-es", "gpt2"},
    {"jina-v5-nano", "llama3", true},
    {"joyai-llm", "deepseek-v3"},
    {"kanana2", "gpt-4o"},
    {"kimi-k2", "kimi-k2"},
    {"kormo", "qwen2"},
    {"laguna", "laguna"},
    {"lfm2", "llama3", true},
    {"llada-moe", "bailingmoe"},
    {"llama-bpe", "llama3", true},
    {"llama-v3", "llama3", true},
    {"llama3", "llama3", true},
    {"llama4", "gpt-4o"},
    {"megrez", "qwen2"},
    {"mellum", "gpt2"},
    {"mellum2", "digits+gpt2"},
    {"midm-2.0", "llama3", true},
    {"minerva-7b", "digits+gpt2"},
    {"minicpm5", "minicpm5", true},
    {"minimax-m2", "gpt-4o"},
    {"modern-bert", "gpt2"},
    {"mpt", "gpt2"},
    {"olmo", "gpt2"},
    {"phi-2", "gpt2"},
    {"pixtral", "llama3", true},
    {"poro-chat", "bloom"},
    {"qwen2", "qwen2"},
    {"qwen35", "qwen35"},
    {"refact", "digits+gpt2"},
    {"roberta-bpe", "gpt2"},
    {"sarvam-moe", "newline runs"},
    {"seed-coder", "seed-coder"},
    {"smaug-bpe", "llama3"},
    {"smollm", "digits+gpt2"},
    {"solar-open", "qwen2"},
    {"spark2_5", "spark2_5"},
    {"stablelm2", "qwen2"},
    {"starcoder", "digits+gpt2"},
    {"superbpe", "superbpe"},
    {"talkie", "gpt-4o"},
    {"tekken", "tekken", true},
    {"tiny_aya", "tiny_aya"},
    {"trillion", "gpt2"},
    {"ufakzeka", "ufakzeka"},
    {"viking", "viking"},
    {"whitespace", "whitespace"},
    {"youtu", "youtu", true},
};

}  // namespace

absl::Span<const PreTokenizerFamily> PreTokenizerFamilies() { return kFamilies; }
absl::Span<const PreTokenizerName> PreTokenizerNames() { return kNames; }

const PreTokenizerName* FindPreTokenizerName(string_view name) {
  if (name.empty()) name = "default";
  for (const PreTokenizerName& candidate : kNames) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

const PreTokenizerFamily* FindPreTokenizerFamily(string_view family) {
  for (const PreTokenizerFamily& candidate : kFamilies) {
    if (candidate.name == family) return &candidate;
  }
  return nullptr;
}

std::string KnownPreTokenizers() {
  std::string known;
  for (const PreTokenizerName& entry : kNames) {
    if (!known.empty()) known.append(", ");
    known.append(entry.name);
  }
  return known;
}

}  // namespace renga
