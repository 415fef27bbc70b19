// The functions of renga.h: pointers are checked here, everything else behind them.
#include "renga/renga.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "tools/library/arguments.h"
#include "tools/library/error.h"
#include "tools/library/served_model.h"
#include "tools/library/structures.h"

struct renga_model {
  std::unique_ptr<renga::ServedModel> served;
};

namespace {

using renga::CheckArray;
using renga::CheckGiven;
using renga::Guarded;

// What a call gives, to where the caller wants it.
template <typename T, typename Out>
absl::Status Give(const absl::StatusOr<T>& value, Out* out) {
  RENGA_RETURN_IF_ERROR(value.status());
  *out = static_cast<Out>(*value);
  return absl::OkStatus();
}

template <typename Container, typename Element>
absl::Status GiveAll(const absl::StatusOr<Container>& values, Element* out, size_t capacity,
                     size_t* count) {
  RENGA_RETURN_IF_ERROR(values.status());
  if (values->size() <= capacity) std::copy(values->begin(), values->end(), out);
  *count = values->size();
  return absl::OkStatus();
}

}  // namespace

extern "C" {

int32_t renga_api_version(void) { return RENGA_API_VERSION; }

const char* renga_version(void) { return RENGA_VERSION; }

renga_status renga_error_status(const renga_error* error) {
  return error == nullptr ? RENGA_OK : error->status;
}

const char* renga_error_message(const renga_error* error) {
  return error == nullptr ? "" : error->message.c_str();
}

void renga_error_free(renga_error* error) { delete error; }

void renga_options_init(renga_options* options, size_t size) {
  renga::InitStructure(options, size);
}

void renga_info_init(renga_info* info, size_t size) { renga::InitStructure(info, size); }

void renga_request_init(renga_request* request, size_t size) {
  renga::InitStructure(request, size);
}

void renga_output_init(renga_output* output, size_t size) { renga::InitStructure(output, size); }

renga_status renga_open(const char* path, const renga_options* options, renga_model** model,
                        renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    RENGA_ASSIGN_OR_RETURN(auto served, renga::ServedModel::Open(path, options));
    *model = std::make_unique<renga_model>(renga_model{std::move(served)}).release();
    return absl::OkStatus();
  });
}

void renga_close(renga_model* model) { delete model; }

renga_status renga_get_info(const renga_model* model, renga_info* info, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    return model->served->GetInfo(info);
  });
}

renga_status renga_tokenize(const renga_model* model, const char* text, size_t bytes,
                            uint32_t flags, int32_t* tokens, size_t capacity, size_t* count,
                            renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    RENGA_RETURN_IF_ERROR(CheckGiven(count, "count"));
    RENGA_RETURN_IF_ERROR(CheckArray(tokens, capacity, "tokens"));
    return GiveAll(model->served->Tokenize(text, bytes, flags), tokens, capacity, count);
  });
}

renga_status renga_detokenize(const renga_model* model, const int32_t* tokens, size_t count,
                              char* text, size_t capacity, size_t* bytes, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    RENGA_RETURN_IF_ERROR(CheckGiven(bytes, "bytes"));
    RENGA_RETURN_IF_ERROR(CheckArray(text, capacity, "text"));
    return GiveAll(model->served->Detokenize(tokens, count), text, capacity, bytes);
  });
}

renga_status renga_add(renga_model* model, const renga_request* request, int64_t* id,
                       renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    RENGA_RETURN_IF_ERROR(CheckGiven(id, "id"));
    return Give(model->served->Add(request), id);
  });
}

renga_status renga_fork(renga_model* model, int64_t parent, size_t kept,
                        const renga_request* request, int64_t* id, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    RENGA_RETURN_IF_ERROR(CheckGiven(id, "id"));
    return Give(model->served->Fork(parent, kept, request), id);
  });
}

renga_status renga_step(renga_model* model, int32_t* unfinished, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    RENGA_RETURN_IF_ERROR(CheckGiven(unfinished, "unfinished"));
    return Give(model->served->Step(), unfinished);
  });
}

renga_status renga_poll(renga_model* model, int64_t id, renga_output* output, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    return model->served->Poll(id, output);
  });
}

renga_status renga_result(renga_model* model, int64_t id, renga_output* output,
                          renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    return model->served->Result(id, output);
  });
}

renga_status renga_cancel(renga_model* model, int64_t id, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    return model->served->Cancel(id);
  });
}

renga_status renga_remove(renga_model* model, int64_t id, renga_error** error) {
  return Guarded(error, [&]() -> absl::Status {
    RENGA_RETURN_IF_ERROR(CheckGiven(model, "model"));
    return model->served->Remove(id);
  });
}

}  // extern "C"
