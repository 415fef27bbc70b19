#include "tools/lint/jinja_syntax.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

std::string Error(std::string_view source) {
  const auto error = CheckJinjaSyntax(source);
  return error ? StrCat(error->line, ": ", error->what) : "";
}

TEST(JinjaSyntax, WhatParses) {
  for (const std::string_view source : {
           "",
           "plain } text %} with }} ends and { beginnings",
           "{{ x }}{{- x -}}{%- if a %}b{%+ endif -%}{# {% if #}",
           "{% if a %}{% elif b %}{% elif c %}{% else %}{% endif %}",
           "{% for x in y if z %}{{ loop.index }}{% else %}none{% endfor %}",
           "{% set x = 1 %}{% set y %}text{% endset %}{% set z | upper %}text{% endset %}",
           "{% set ns = namespace(a='b', c={'d': [1, 2]}) %}{% set ns.a = 'x' %}",
           "{{ {'a': {'b': 1}}}}{{ '}}' }}{% if '%}' == \"{{\" %}{% endif %}",
           "{{ 'it\\'s' }}{{ \"\\\\\" }}",
           "{% raw %}{% if {{ {# {% nonsense {%- endraw %}{{ x }}",
           "{% macro f(a, b=[]) -%}{{ caller() }}{%- endmacro %}{% call f(1) %}x{% endcall %}",
           "{% generation %}{{ x }}{% endgeneration %}{% break %}{% continue %}",
           "{%\n  if a\n%}{% endif %}",
       }) {
    EXPECT_EQ(Error(source), "") << source;
  }
}

TEST(JinjaSyntax, WhatDoesNot) {
  EXPECT_EQ(Error("a\nb {{ x"), "2: {{ is never closed by }}");
  EXPECT_EQ(Error("{% if x"), "1: {% is never closed by %}");
  EXPECT_EQ(Error("{# x"), "1: {# is never closed by #}");
  EXPECT_EQ(Error("{{ x }"), "1: a } that closes no {");
  EXPECT_EQ(Error("{{ f(x }}"), "1: a } that closes no {");
  EXPECT_EQ(Error("{{ f[(x]) }}"), "1: a ] that closes no [");
  EXPECT_EQ(Error("{{ 'x }}"), "1: a text that begins with ' never ends");
  EXPECT_EQ(Error("{{ 'x\\"), "1: a text that begins with ' never ends");
  EXPECT_EQ(Error("{% for x in y %}\n{% if z %}{% endfor %}"),
            "2: {% endfor %} where {% endif %} is expected");
  EXPECT_EQ(Error("\n\n{% endif %}"), "3: {% endif %} closes nothing");
  EXPECT_EQ(Error("{% else %}"), "1: {% else %} belongs to no {% if %}");
  EXPECT_EQ(Error("{% if a %}{% else %}{% elif b %}{% endif %}"),
            "1: {% elif %} belongs to no {% if %}");
  EXPECT_EQ(Error("{% for a in b %}{% elif c %}{% endfor %}"),
            "1: {% elif %} belongs to no {% if %}");
  EXPECT_EQ(Error("{% set x %}"), "1: {% set %} is never closed");
  EXPECT_EQ(Error("{% raw %}{{ x }}{% endra %}"), "1: {% raw %} is never closed");
  EXPECT_EQ(Error("{% fi x %}"), "1: {% fi %} is no tag");
  EXPECT_EQ(Error("{% %}"), "1: {% %} without a tag's name");
  EXPECT_EQ(Error("{%- -%}"), "1: {% %} without a tag's name");
  EXPECT_EQ(Error("{%%}"), "1: {% %} without a tag's name");
}

// Linear: a megabyte of openings is read at once.
TEST(JinjaSyntax, LongTemplates) {
  std::string open, nested, comments;
  for (int i = 0; i < 200000; ++i) {
    open += "{% if x %}";
    nested += "[";
    comments += "{# #}";
  }
  EXPECT_EQ(Error(open), "1: {% if %} is never closed");
  EXPECT_EQ(Error("{{" + nested), "1: {{ is never closed by }}");
  EXPECT_EQ(Error(comments), "");
}

}  // namespace
}  // namespace renga
