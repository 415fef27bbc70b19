#include "tests/bench/synthetic/write_model.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "ir/base/digest.h"
#include "ir/base/status.h"
#include "tests/bench/synthetic/metadata.h"
#include "tests/bench/synthetic/random_blocks.h"
#include "tests/support/gguf_writer.h"

namespace renga::synthetic {
namespace {

// Prime, so that rows of any length begin at different places of the pattern until it has begun
// everywhere; more of them than any vocabulary has rows.
constexpr int64_t kPatternBlocks = 200003;
constexpr int64_t kPatternNumbers = 4194301;  // of types without blocks
constexpr int64_t kJobBytes = 8 << 20;

uint64_t SeedOf(std::string_view name) { return DigestOf(name).low; }

// A stretch of the file: `bytes` of a pattern from `begin` on, around its end.
struct Job {
  uint64_t offset;
  const std::string* pattern;
  size_t begin;
  size_t bytes;
};

class OutputFile {
 public:
  explicit OutputFile(const std::string& path)
      : path_(path), fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  ~OutputFile() {
    if (fd_ >= 0) close(fd_);
    if (fd_ >= 0 && !kept_) unlink(path_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  bool is_open() const { return fd_ >= 0; }

  absl::Status Write(uint64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Error("cannot write");
      bytes.remove_prefix(static_cast<size_t>(written));
      offset += static_cast<uint64_t>(written);
    }
    return absl::OkStatus();
  }

  absl::Status Resize(uint64_t bytes) {
    return ftruncate(fd_, static_cast<off_t>(bytes)) == 0 ? absl::OkStatus()
                                                          : Error("cannot make room");
  }

  absl::Status Become(const std::string& path) {
    if (rename(path_.c_str(), path.c_str()) != 0) return Error("cannot rename");
    kept_ = true;
    return absl::OkStatus();
  }

  absl::Status Error(std::string_view what) const {
    const int error = errno;
    const std::string message = StrCat(path_, ": ", what, ": ", strerror(error));
    return error == ENOSPC || error == EDQUOT ? absl::ResourceExhaustedError(message)
                                              : absl::InvalidArgumentError(message);
  }

 private:
  std::string path_;
  int fd_;
  bool kept_ = false;
};

// What the file's tensors consist of.
class Content {
 public:
  explicit Content(const Model& model) : model_(model) {}

  // Adds the tensor's bytes, which begin at `offset` of the data.
  void Add(const Tensor& tensor, uint64_t offset, size_t bytes) {
    const std::string& pattern = PatternOf(tensor);
    const size_t block = static_cast<size_t>(Info(tensor.type).block_bytes);
    // Vectors have a pattern each, which is all of them.
    size_t begin = tensor.values == Tensor::Values::kMatrix
                       ? SeedOf(tensor.name) % (pattern.size() / block) * block
                       : 0;
    while (bytes > 0) {
      const size_t part = std::min<size_t>(bytes, kJobBytes);
      jobs_.push_back({offset, &pattern, begin, part});
      begin = (begin + part) % pattern.size();
      offset += part;
      bytes -= part;
    }
  }

  const std::vector<Job>& jobs() const { return jobs_; }

 private:
  // Matrices N(0, 1/k) for rows of k, norms 1 + N(0, 0.01), biases N(0, 0.01): what neither grows
  // nor vanishes through any number of layers.
  const std::string& PatternOf(const Tensor& tensor) {
    const bool matrix = tensor.values == Tensor::Values::kMatrix;
    const int64_t width = tensor.shape.back();
    std::string& pattern = patterns_[matrix ? StrCat(Name(tensor.type), " ", width) : tensor.name];
    if (!pattern.empty()) return pattern;
    if (matrix) {
      const int64_t count = Info(tensor.type).quantized ? kPatternBlocks : kPatternNumbers;
      const double deviation = 1 / std::sqrt(static_cast<double>(width));
      pattern = RandomBlocks(tensor.type, deviation, count, SeedOf(Name(tensor.type)));
    } else if (tensor.values == Tensor::Values::kRopeFactors) {
      const std::vector<float> factors = RopeFactors(model_.shape);
      for (float factor : factors) pattern += Raw(factor);
    } else {
      const double mean = tensor.values == Tensor::Values::kNorm ? 1 : 0;
      pattern = RandomFloats(mean, 0.1, width, SeedOf(tensor.name));
    }
    return pattern;
  }

  const Model& model_;
  std::map<std::string, std::string> patterns_;  // stay where they are when others come
  std::vector<Job> jobs_;
};

absl::Status WriteJob(const Job& job, uint64_t data_offset, OutputFile* file) {
  uint64_t offset = data_offset + job.offset;
  size_t begin = job.begin, left = job.bytes;
  while (left > 0) {
    const size_t part = std::min(left, job.pattern->size() - begin);
    RENGA_RETURN_IF_ERROR(file->Write(offset, std::string_view(*job.pattern).substr(begin, part)));
    offset += part;
    left -= part;
    begin = (begin + part) % job.pattern->size();
  }
  return absl::OkStatus();
}

absl::Status WriteJobs(const std::vector<Job>& jobs, uint64_t data_offset, int threads,
                       OutputFile* file) {
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> statuses(threads);
  const auto work = [&](int thread) {
    for (size_t i = next++; i < jobs.size() && statuses[thread].ok(); i = next++) {
      statuses[thread] = WriteJob(jobs[i], data_offset, file);
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& thread : others) thread.join();
  for (const absl::Status& status : statuses) RENGA_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> WriteModel(const Model& model, const std::string& path, int threads) {
  GgufWriter writer;
  AddMetadata(model, &writer);
  Content content(model);
  uint64_t data_bytes = 0;
  for (const Tensor& tensor : model.tensors) {
    uint64_t bytes = static_cast<uint64_t>(RowBytes(tensor.type, tensor.shape.back()));
    for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) bytes *= tensor.shape[i];
    // The writer makes the header alone; the data are too many to hold.
    writer.tensors.push_back({.name = tensor.name,
                              .ne = {tensor.shape.rbegin(), tensor.shape.rend()},
                              .type = static_cast<uint32_t>(tensor.type),
                              .offset = data_bytes});
    content.Add(tensor, data_bytes, bytes);
    data_bytes = (data_bytes + bytes + writer.alignment - 1) / writer.alignment * writer.alignment;
  }
  const std::string header = writer.Bytes();
  const uint64_t file_bytes = writer.data_offset() + data_bytes;

  OutputFile file(StrCat(path, ".partial"));
  if (!file.is_open()) return file.Error("cannot create");
  RENGA_RETURN_IF_ERROR(file.Resize(file_bytes));
  RENGA_RETURN_IF_ERROR(file.Write(0, header));
  RENGA_RETURN_IF_ERROR(WriteJobs(content.jobs(), writer.data_offset(), threads, &file));
  RENGA_RETURN_IF_ERROR(file.Become(path));
  return file_bytes;
}

}  // namespace renga::synthetic
