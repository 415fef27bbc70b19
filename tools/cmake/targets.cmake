# renga_library(NAME DIR... DEPS ...): one static library per folder; every .cc in the folder(s)
# belongs to it, so a new operator, pass or model needs no build file edit. DEPS is the list of
# folders it may include (the include law of ARCHITECTURE.md, also enforced by a test).
# renga_test(NAME DIR LABELS ... COST N DEPS ...): one test program per folder of tests/. Those with
# the highest COST, about their seconds, start first, so that none runs alone at the end.

add_library(renga_options INTERFACE)
target_compile_options(renga_options INTERFACE -Wall -Wextra -Wno-unused-parameter
                                               -Wno-missing-field-initializers)
if(RENGA_WERROR)
  target_compile_options(renga_options INTERFACE -Werror)
endif()
if(RENGA_ASAN)
  target_compile_options(renga_options INTERFACE -fsanitize=address,undefined
                                                 -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_definitions(renga_options INTERFACE RENGA_SANITIZED)
  target_link_options(renga_options INTERFACE -fsanitize=address,undefined)
endif()
target_include_directories(renga_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/gen)

# Precompiled headers, for the build's time alone: every file includes what it uses. One set for the
# libraries and one for the tests, shared by all targets, which therefore all have the same definitions.
target_compile_definitions(renga_options INTERFACE HWY_SHARED_DEFINE)
file(WRITE ${CMAKE_BINARY_DIR}/gen/empty.cc "")
add_library(renga_pch STATIC ${CMAKE_BINARY_DIR}/gen/empty.cc)
target_link_libraries(renga_pch PUBLIC renga_options absl::status absl::statusor absl::span
                                       absl::strings absl::flat_hash_map)
target_precompile_headers(
  renga_pch PRIVATE <algorithm> <cstdint> <functional> <map> <memory> <string> <string_view>
  <variant> <vector> <absl/container/flat_hash_map.h> <absl/status/statusor.h>
  <absl/strings/str_cat.h> <absl/types/span.h>)

# Code that only drives the rest, whose headers cost most of the build: hardly optimised, under the sanitizers not
# at all.
function(renga_build_quickly name)
  target_compile_options(${name} PRIVATE $<IF:$<BOOL:${RENGA_ASAN}>,-O0,-O1>)
endfunction()

function(renga_test_pch)
  add_library(renga_test_pch STATIC ${CMAKE_BINARY_DIR}/gen/empty.cc)
  target_link_libraries(renga_test_pch PUBLIC renga_options absl::status absl::statusor absl::span
                                              GTest::gmock_main GTest::gtest)
  target_compile_definitions(renga_test_pch PRIVATE RENGA_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                    RENGA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_precompile_headers(
    renga_test_pch PRIVATE <algorithm> <cstdint> <functional> <map> <memory> <string>
    <string_view> <variant> <vector> <absl/status/statusor.h> <absl/types/span.h>
    <gmock/gmock.h> <gtest/gtest.h>)
  renga_build_quickly(renga_test_pch)
endfunction()

# Several files of a target as one: most of a file's time are headers and templates that its neighbours
# have too. Where they cannot be, compile-batch compiles each alone.
option(RENGA_BATCHES "Compile several files as one: quicker from nothing, slower after a change" OFF)
if(RENGA_BATCHES)
  list(PREPEND CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_SOURCE_DIR}/tools/cmake/compile-batch)
endif()
function(renga_batches name)
  if(RENGA_BATCHES)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()

function(renga_library name)
  cmake_parse_arguments(ARG "" "" "DIRS;DEPS" ${ARGN})
  set(sources)
  foreach(dir ${ARG_DIRS})
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*.cc)
    list(APPEND sources ${found})
  endforeach()
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC renga_options ${ARG_DEPS})
    target_precompile_headers(${name} REUSE_FROM renga_pch)
    renga_batches(${name})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE renga_options ${ARG_DEPS})
  endif()
endfunction()

function(renga_test name)
  cmake_parse_arguments(ARG "" "DIR;TIMEOUT;COST" "LABELS;DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${ARG_DIR}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock_main GTest::gtest)
  target_precompile_headers(${name} REUSE_FROM renga_test_pch)
  renga_build_quickly(${name})
  renga_batches(${name})
  target_compile_definitions(${name} PRIVATE RENGA_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             RENGA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
  if(ARG_COST)
    set_tests_properties(${name} PROPERTIES COST ${ARG_COST})
  endif()
  if("slow" IN_LIST ARG_LABELS)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)  # nobody waits for them by chance
    set_property(GLOBAL APPEND PROPERTY RENGA_SLOW_TESTS ${name})
  endif()
  if("unit" IN_LIST ARG_LABELS)
    set_property(GLOBAL APPEND PROPERTY RENGA_UNIT_TESTS ${name})
    if(NOT "tools" IN_LIST ARG_LABELS)
      set_property(GLOBAL APPEND PROPERTY RENGA_LIBRARY_TESTS ${name})
    endif()
  endif()
endfunction()

# A program of many tests as two of ctest, each with half of them, under names of their own because
# results go by the program's.
function(renga_split_test name)
  if(NOT TARGET ${name})
    return()
  endif()
  add_custom_command(TARGET ${name} POST_BUILD
                     COMMAND ${CMAKE_COMMAND} -E create_symlink ${name} ${name}_2
                     WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
  add_test(NAME ${name}_2 COMMAND ${CMAKE_BINARY_DIR}/${name}_2)
  foreach(property LABELS TIMEOUT COST)
    get_test_property(${name} ${property} value)
    set_tests_properties(${name}_2 PROPERTIES ${property} "${value}")
  endforeach()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=0")
  set_tests_properties(${name}_2 PROPERTIES ENVIRONMENT "GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=1")
endfunction()

# Call it last in a folder of tests: of these only the unit tests run under the sanitizers, and the
# others need not be built for them. library_tests are those without the label tools: they need
# neither the program nor what stands behind it, which is half of the build.
function(renga_build_unit_tests_only)
  get_property(library GLOBAL PROPERTY RENGA_LIBRARY_TESTS)
  add_custom_target(library_tests DEPENDS ${library})
  get_property(unit GLOBAL PROPERTY RENGA_UNIT_TESTS)
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    if(NOT target IN_LIST unit)
      set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL TRUE)
    endif()
  endforeach()
endfunction()
