// The cubin cache under everything that happens to caches.
#include "codegen/nvrtc/cache.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/support/temp_folder.h"

namespace renga::codegen {
namespace {

using testing::HasSubstr;

Digest Key(uint64_t number) { return {0x1122334455667788, number}; }

// What is stored under Key(number): different in content and size for each.
KernelBinary Binary(uint64_t number, size_t bytes = 1000) {
  KernelBinary binary;
  binary.cubin.resize(bytes + number % 7, static_cast<char>('a' + number % 26));
  binary.ptx = StrCat("ptx ", number);
  if (number % 2 == 1) binary.log = StrCat("log ", number);
  return binary;
}

std::string FileBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void SetAge(const std::string& path, int seconds) {
  const timespec then = {time(nullptr) - seconds, 0};
  const timespec times[2] = {then, then};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

TEST(CubinCache, FindsWhatWasStored) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.File("a/b/cubins")});
  EXPECT_EQ(cache.Find(Key(1)), std::nullopt);
  cache.Store(Key(1), Binary(1));
  cache.Store(Key(2), Binary(2));
  EXPECT_EQ(cache.Find(Key(1)), Binary(1));
  EXPECT_EQ(cache.Find(Key(2)), Binary(2));
  EXPECT_EQ(cache.Find(Key(3)), std::nullopt);
  cache.Store(Key(1), Binary(5));
  EXPECT_EQ(CubinCache({.folder = folder.File("a/b/cubins")}).Find(Key(1)), Binary(5));
  const CubinCacheUsage usage = UsageOfCubinCache(folder.File("a/b/cubins"));
  EXPECT_EQ(usage.count, 2);
  EXPECT_GT(usage.bytes, 2000u);
  EXPECT_EQ(UsageOfCubinCache(folder.File("none")).count, 0);
  EXPECT_EQ(cache.damaged(), 0);
}

TEST(CubinCache, WithoutAFolderKeepsNothing) {
  CubinCache cache({.on_problem = [](std::string_view message) { ADD_FAILURE() << message; }});
  cache.Store(Key(1), Binary(1));
  EXPECT_EQ(cache.Find(Key(1)), std::nullopt);
}

TEST(CubinCache, EveryChangedByteIsNoticed) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.path()});
  cache.Store(Key(1), Binary(1, 50));
  const std::string path = cache.PathOf(Key(1)), whole = FileBytes(path);
  ASSERT_GT(whole.size(), 110u);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << i % 8));
    folder.Write(std::filesystem::path(path).filename().string(), bytes);
    EXPECT_EQ(cache.Find(Key(1)), std::nullopt) << "byte " << i;
    EXPECT_FALSE(std::filesystem::exists(path)) << "byte " << i;
  }
  EXPECT_EQ(cache.damaged(), static_cast<int64_t>(whole.size()));
  cache.Store(Key(1), Binary(1, 50));
  EXPECT_EQ(cache.Find(Key(1)), Binary(1, 50));
}

TEST(CubinCache, EveryTruncationAndExtensionIsNoticed) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.path()});
  cache.Store(Key(1), Binary(1, 50));
  const std::string path = cache.PathOf(Key(1)), whole = FileBytes(path);
  const std::string name = std::filesystem::path(path).filename().string();
  for (size_t size = 0; size < whole.size(); ++size) {
    folder.Write(name, whole.substr(0, size));
    EXPECT_EQ(cache.Find(Key(1)), std::nullopt) << size;
  }
  folder.Write(name, whole + "x");
  EXPECT_EQ(cache.Find(Key(1)), std::nullopt);
}

TEST(CubinCache, ARenamedEntryIsNotTakenForAnother) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.path()});
  cache.Store(Key(1), Binary(1));
  std::filesystem::rename(cache.PathOf(Key(1)), cache.PathOf(Key(2)));
  EXPECT_EQ(cache.Find(Key(2)), std::nullopt);
  EXPECT_EQ(cache.damaged(), 1);
}

// Whatever else has the entry's name neither blocks nor is followed; where it can be replaced, it
// is.
TEST(CubinCache, OddThingsInPlaceOfAnEntry) {
  const TempFolder folder;
  std::vector<std::string> problems;
  CubinCache cache({.folder = folder.path(), .on_problem = [&](std::string_view message) {
                      problems.emplace_back(message);
                    }});
  ASSERT_EQ(mkfifo(cache.PathOf(Key(1)).c_str(), 0600), 0);
  std::filesystem::create_directory(cache.PathOf(Key(2)));
  const std::string elsewhere = folder.Write("elsewhere", "mine");
  std::filesystem::create_symlink(elsewhere, cache.PathOf(Key(3)));
  for (uint64_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(cache.Find(Key(i)), std::nullopt) << i;
    cache.Store(Key(i), Binary(i));
    EXPECT_EQ(cache.Find(Key(i)), Binary(i)) << i;
  }
  EXPECT_EQ(FileBytes(elsewhere), "mine");
  EXPECT_THAT(problems, testing::IsEmpty());
}

TEST(CubinCache, TheLeastRecentlyUsedGo) {
  const TempFolder folder;
  const CubinCacheOptions options = {.folder = folder.path(), .max_bytes = 11000};
  CubinCache cache(options);
  for (uint64_t i = 0; i < 9; ++i) {
    cache.Store(Key(i), Binary(i));
    SetAge(cache.PathOf(Key(i)), 1000 - static_cast<int>(i));
  }
  EXPECT_EQ(UsageOfCubinCache(folder.path()).count, 9);
  EXPECT_NE(cache.Find(Key(0)), std::nullopt);  // now the most recently used
  cache.Store(Key(9), Binary(9));
  cache.Store(Key(10), Binary(10));  // over 11000 bytes: down to 9900
  EXPECT_LE(UsageOfCubinCache(folder.path()).bytes, 9900u);
  EXPECT_EQ(cache.Find(Key(1)), std::nullopt);
  EXPECT_EQ(cache.Find(Key(2)), std::nullopt);
  for (const uint64_t kept : {0, 6, 7, 8, 9, 10}) EXPECT_EQ(cache.Find(Key(kept)), Binary(kept));

  // A cache that finds the folder too full makes room with its first entry.
  CubinCache smaller({.folder = folder.path(), .max_bytes = 4000});
  smaller.Store(Key(11), Binary(11));
  EXPECT_LE(UsageOfCubinCache(folder.path()).bytes, 3600u);
  EXPECT_EQ(smaller.Find(Key(11)), Binary(11));
  smaller.Store(Key(12), Binary(12, 5000));  // more than all there is room for
  EXPECT_EQ(smaller.Find(Key(12)), std::nullopt);
  EXPECT_EQ(smaller.Find(Key(11)), Binary(11));
}

TEST(CubinCache, TemporariesOfTheDeadAreRemoved) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.path(), .max_bytes = 10});
  const std::string stale = folder.Write("0123.cubin.tmp.aaaaaa", "half");
  const std::string fresh = folder.Write("0123.cubin.tmp.bbbbbb", "half");
  const std::string foreign = folder.Write("notes.txt", "mine");
  SetAge(stale, 2 * 3600);
  SetAge(foreign, 2 * 3600);
  UsageOfCubinCache(folder.path());  // only looks
  EXPECT_TRUE(std::filesystem::exists(stale));
  CubinCache roomy({.folder = folder.path()});
  roomy.Store(Key(1), Binary(1));
  EXPECT_FALSE(std::filesystem::exists(stale));
  EXPECT_TRUE(std::filesystem::exists(fresh));
  EXPECT_TRUE(std::filesystem::exists(foreign));
}

TEST(CubinCache, AFolderThatCannotBeWrittenIsReportedOnce) {
  const TempFolder folder;
  folder.Write("file", "in the way");
  std::vector<std::string> problems;
  CubinCache cache({.folder = folder.File("file/cubins"),
                    .on_problem = [&](std::string_view m) { problems.emplace_back(m); }});
  for (uint64_t i = 0; i < 3; ++i) {
    cache.Store(Key(i), Binary(i));
    EXPECT_EQ(cache.Find(Key(i)), std::nullopt);
  }
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0], HasSubstr(StrCat("compiled kernels are not kept: ",
                                            folder.File("file/cubins"), ": cannot be created: ")));
}

TEST(CubinCache, WhatIsThereIsReadFromAReadOnlyFolder) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TempFolder folder;
  CubinCache({.folder = folder.path()}).Store(Key(1), Binary(1));
  ASSERT_EQ(chmod(folder.path().c_str(), 0500), 0);
  int64_t problems = 0;
  CubinCache cache({.folder = folder.path(), .on_problem = [&](std::string_view) { ++problems; }});
  cache.Store(Key(2), Binary(2));
  cache.Store(Key(3), Binary(3));
  EXPECT_EQ(cache.Find(Key(1)), Binary(1));
  EXPECT_EQ(problems, 1);
  chmod(folder.path().c_str(), 0700);
}

// Runs `body` in a process of its own; returns its id. The body's result is the exit code.
template <typename Body>
pid_t Fork(const Body& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  return child;
}

int ExitCode(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// A file that may not grow fails in the middle of a write, as one on a full disk does.
TEST(CubinCache, AFullDiskIsReportedOnceAndLeavesNothingHalf) {
  const TempFolder folder;
  CubinCache before({.folder = folder.path()});
  before.Store(Key(1), Binary(1));
  const pid_t child = Fork([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {4096, 4096};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    int problems = 0;
    CubinCache cache({.folder = folder.path(), .on_problem = [&](std::string_view message) {
                        if (message.find("cannot write") != message.npos) ++problems;
                      }});
    for (uint64_t i = 2; i < 5; ++i) cache.Store(Key(i), Binary(i, 100000));
    if (cache.Find(Key(1)) != Binary(1)) return 3;
    return problems == 1 ? 0 : 4;
  });
  EXPECT_EQ(ExitCode(child), 0);
  EXPECT_EQ(Names(folder.path()).size(), 1u);
}

// Both processes store and look for the same keys, in a folder that is too small for them: entries
// are replaced and removed under each other's hands. Whatever is found must be right.
TEST(CubinCache, ManyProcessesShareAFolder) {
  const TempFolder folder;
  std::vector<pid_t> children;
  for (uint64_t process = 0; process < 3; ++process) {
    children.push_back(Fork([&] {
      int problems = 0, found = 0;
      CubinCache cache({.folder = folder.path(),
                        .max_bytes = 60000,
                        .on_problem = [&](std::string_view) { ++problems; }});
      std::mt19937_64 random(process);
      for (int round = 0; round < 400; ++round) {
        const uint64_t number = random() % 100;
        const auto binary = cache.Find(Key(number));
        if (binary.has_value() && *binary != Binary(number)) return 2;
        if (binary.has_value()) ++found;
        if (!binary.has_value()) cache.Store(Key(number), Binary(number));
      }
      if (problems != 0) return 3;
      if (cache.damaged() != 0) return 4;
      return found > 20 ? 0 : 5;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(ExitCode(child), 0);
  // Each may exceed the bound by a sixteenth and the entry that makes it look.
  EXPECT_LE(UsageOfCubinCache(folder.path()).bytes, 60000u + 3 * (60000u / 16 + 1100));
  EXPECT_EQ(Names(folder.path()).size(),
            static_cast<size_t>(UsageOfCubinCache(folder.path()).count));  // no temporaries
}

TEST(CubinCache, ManyThreadsStoreTheSameKey) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.path(),
                    .on_problem = [](std::string_view message) { ADD_FAILURE() << message; }});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        cache.Store(Key(i % 3), Binary(i % 3));
        if (cache.Find(Key(i % 3)) != Binary(i % 3)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(cache.damaged(), 0);
}

TEST(CubinCache, KilledWritersLeaveNoHalfEntries) {
  const TempFolder folder;
  std::mt19937 random(6);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = Fork([&] {
      CubinCache cache({.folder = folder.path()});
      for (uint64_t i = 0;; ++i) cache.Store(Key(i % 20), Binary(i % 20, 200000));
      return 0;
    });
    std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 8000));
    kill(child, SIGKILL);
    EXPECT_EQ(ExitCode(child), -SIGKILL);
  }
  CubinCache cache({.folder = folder.path()});
  int found = 0;
  for (uint64_t i = 0; i < 20; ++i) {
    const bool there = std::filesystem::exists(cache.PathOf(Key(i)));
    const auto binary = cache.Find(Key(i));
    EXPECT_EQ(binary.has_value(), there) << i;
    if (binary.has_value()) {
      ++found;
      EXPECT_EQ(*binary, Binary(i, 200000)) << i;
    }
  }
  EXPECT_GT(found, 0) << "every writer died before its first entry, so nothing was tested";
  EXPECT_EQ(cache.damaged(), 0);
}

}  // namespace
}  // namespace renga::codegen
