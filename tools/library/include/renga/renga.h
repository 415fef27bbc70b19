// The C interface of Renga: opens a GGUF language model or a compiled plan, and lets it write many
// texts at once. docs/library.md introduces it; renga.hpp wraps it for C++.
//
// Errors. A function that can fail returns a renga_status and takes a renga_error** last, which may
// be null. On failure it receives a new error, to be freed with renga_error_free; on success null.
// Nothing is thrown and nothing is printed. A failed call changes nothing, but where renga_step
// says otherwise, and leaves what its other pointers point to as it was.
//
// Memory. What a function hands out belongs to the model, and each function says until when it can
// be read. What a caller passes in need not outlive the call. A null pointer with a size of 0 is an
// empty array or text.
//
// Text is UTF-8, with its size in bytes beside it. Texts that come out are always whole characters
// (renga_detokenize says where not); texts that go in may be any bytes, NUL among them. Paths and
// names are UTF-8 that ends in NUL.
//
// Threads. There is no global state: models know nothing of each other. The functions of one model
// may be called from any thread; calls wait for one another, in the order in which they came, but
// renga_tokenize and renga_detokenize wait for nobody. No other call may be under way or follow
// when renga_close is called. An error belongs to whoever got it.
//
// Versions. Structures begin with their size, which their init function sets: a program goes on
// working with later versions of the library, without being compiled again. Names, values, the
// order of fields and what a call means stay as they are within one RENGA_API_VERSION.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define RENGA_API __attribute__((visibility("default")))
#else
#define RENGA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define RENGA_API_VERSION 1

// Of the library that the program runs with: RENGA_API_VERSION, and the release, "0.1.0".
RENGA_API int32_t renga_api_version(void);
RENGA_API const char* renga_version(void);

// ---- Errors ----

typedef int32_t renga_status;
enum {
  RENGA_OK = 0,
  RENGA_INVALID_ARGUMENT = 1,  // an argument, option or prompt out of range; a file that is broken
  RENGA_NOT_FOUND = 2,         // no such file; no such request
  RENGA_UNSUPPORTED = 3,       // something in the model that Renga does not know
  RENGA_NOT_NOW = 4,           // a result that is not there yet; a plan whose weights have changed
  RENGA_BAD_DATA = 5,          // damaged weights; a model that computes no numbers
  RENGA_EXHAUSTED = 6,         // memory, or what else there is only so much of
  RENGA_UNAVAILABLE = 7,       // no such device, or it failed
  RENGA_INTERNAL = 8           // a bug in Renga
};

typedef struct renga_error renga_error;

// The status that came with the error; RENGA_OK of null.
RENGA_API renga_status renga_error_status(const renga_error* error);
// What is wrong, expected and to do, for people: printable UTF-8 that ends in NUL, as long as the
// error lives. "" of null.
RENGA_API const char* renga_error_message(const renga_error* error);
// Null is fine.
RENGA_API void renga_error_free(renga_error* error);

// ---- Models ----

// A model on a device, with its key-value cache and the requests that it works on.
typedef struct renga_model renga_model;

typedef struct renga_options {
  size_t size;         // of this structure, bytes
  const char* device;  // "auto", "cpu", "cuda", "cuda:N" or "reference"; null: auto
  // The following four are for a GGUF, as is kv_types; a plan was compiled with its own and takes
  // none.
  const char* k_type;     // of the cache: "f32", "f16", "bf16", "q8_0", "q4_0", "f8_e4m3"; null:
  const char* v_type;     // the device chooses
  int64_t context;        // tokens that a request may have; 0: the model's, at most 4,096
  int64_t max_sequences;  // requests computed at a time, 1..4096 (others wait); 0: one
  int32_t threads;        // that compute, 1..1024; 0: all cores
  int32_t no_cache;       // 1: compiles anew, and keeps no plan in the user's cache
  // Newer than what is above. Types of single layers, as `renga compile --kv-type` has them:
  // "q8_0,0-1:f16" (all layers q8_0, the first two f16), "k=q4_0,v=q8_0,23:k=f16". k_type and
  // v_type are null then.
  const char* kv_types;
} renga_options;

// The defaults. `size` is sizeof(renga_options). Null and a wrong size do nothing: the function
// that gets the options says so.
RENGA_API void renga_options_init(renga_options* options, size_t size);

// Opens the GGUF (the first part of a split one) or plan at `path`. `options` may be null: the
// defaults. *model is to be closed with renga_close. Takes until the weights are in memory: from
// milliseconds to many seconds.
RENGA_API renga_status renga_open(const char* path, const renga_options* options,
                                  renga_model** model, renga_error** error);

// Ends all requests and frees everything of the model. Null is fine.
RENGA_API void renga_close(renga_model* model);

typedef struct renga_info {
  size_t size;               // of this structure, bytes
  const char* device;        // "cpu, 2 threads", "cuda:0 H100 80GB HBM3"; until the model is closed
  const char* architecture;  // "llama"; likewise
  const char* name;          // as the file calls the model, may be ""; likewise
  int64_t context;           // tokens that a request may have, prompt and generated ones
  int64_t vocab;             // token ids are 0..vocab-1
  int64_t max_sequences;     // requests computed at a time
  int32_t bos;               // token that begins a text; -1: none
  int32_t eos;               // token that ends it; -1: none
  double load_seconds;       // that renga_open took
} renga_info;

RENGA_API void renga_info_init(renga_info* info, size_t size);
RENGA_API renga_status renga_get_info(const renga_model* model, renga_info* info,
                                      renga_error** error);

// ---- Text and tokens ----

enum {
  RENGA_PLAIN_TEXT = 1,  // `<|...|>` in the text is text, not a special token
  RENGA_BARE_TEXT = 2    // no token is put before or behind the text's own
};

// The token ids of a text. `flags`: any of the above, or 0. *count receives their number. Where
// that is more than `capacity`, nothing is written to `tokens`, and the call has succeeded.
RENGA_API renga_status renga_tokenize(const renga_model* model, const char* text, size_t bytes,
                                      uint32_t flags, int32_t* tokens, size_t capacity,
                                      size_t* count, renga_error** error);

// The text of token ids, special ones included: their bytes as they are, which need not be whole
// characters. No NUL is put behind them. *bytes receives their number. Where that is more than
// `capacity`, nothing is written to `text`, and the call has succeeded.
RENGA_API renga_status renga_detokenize(const renga_model* model, const int32_t* tokens,
                                        size_t count, char* text, size_t capacity, size_t* bytes,
                                        renga_error** error);

// ---- Requests ----

typedef struct renga_text {
  const char* data;
  size_t bytes;
} renga_text;

typedef struct renga_logit_bias {
  int32_t token;
  float bias;  // added to its logit; -INFINITY forbids it
} renga_logit_bias;

// What is to be written, and how.
typedef struct renga_request {
  size_t size;                   // of this structure, bytes
  renga_text prompt;             // either this,
  const int32_t* prompt_tokens;  // or these; the other is null. Both are null in renga_fork
  size_t prompt_token_count;
  const renga_text* stop;  // texts before which it ends; not part of what is generated
  size_t stop_count;
  const renga_logit_bias* logit_bias;
  size_t logit_bias_count;
  int64_t max_tokens;       // to generate; -1: until the model or the context ends
  uint64_t seed;            // same seed, same text
  int32_t plain_text;       // 1: `<|...|>` in the prompt is text, not a special token
  int32_t ignore_eos;       // 1: tokens that end a text are never chosen
  float temperature;        // 0: always the likeliest token; default 0.8
  int32_t top_k;            // only the k likeliest; 0: all; default 40
  float top_p;              // only the likeliest up to this sum; 1: all; default 0.95
  float min_p;              // only with this part of the best's probability; default 0.05
  float typical_p;          // locally typical; 1: off, the default
  int32_t penalty_tokens;   // that penalties look back on; -1: all; default 64
  float repeat_penalty;     // 1: off, the default
  float presence_penalty;   // 0: off, the default
  float frequency_penalty;  // 0: off, the default
  int32_t reserved;         // 0
  // Newer than what is above:
  // 1: where the context is full, it goes on as if the prompt had been followed by the newer half
  // of what was generated, which is computed again. The prompt is at most half a context.
  int32_t shift;
  int32_t top_logits;     // of each generated token, 0..vocab: renga_output has them
  int32_t prompt_logits;  // 1: of each position of the prompt too
  int32_t reserved2;      // 0
} renga_request;

// The defaults: no prompt, seed 0. `size` is sizeof(renga_request), as with renga_options_init.
RENGA_API void renga_request_init(renga_request* request, size_t size);

// Queues a request. *id receives its number; numbers count up from 0 and are never used again.
// RENGA_INVALID_ARGUMENT for a prompt without tokens or longer than the context, and for sampling
// parameters out of range.
RENGA_API renga_status renga_add(renga_model* model, const renga_request* request, int64_t* id,
                                 renga_error** error);

// Queues a request that goes on from `parent`, whatever that is doing: with its prompt and the
// first `kept` tokens that it generated, which are the first that this one generates. What has been
// computed of them is shared. RENGA_NOT_FOUND for a parent that was removed,
// RENGA_INVALID_ARGUMENT where it has not generated as many tokens; else as renga_add.
RENGA_API renga_status renga_fork(renga_model* model, int64_t parent, size_t kept,
                                  const renga_request* request, int64_t* id, renga_error** error);

// Runs the model once: each request that it works on gets on, by a token or a piece of its prompt.
// *unfinished receives 0 when no request is left to work on, else 1. What goes wrong in one request
// ends that one: renga_poll says so. An error here is the device's, after which only renga_close is
// of use.
RENGA_API renga_status renga_step(renga_model* model, int32_t* unfinished, renga_error** error);

enum {
  RENGA_UNFINISHED = 0,
  RENGA_FINISH_STOP = 1,       // a stop text appeared
  RENGA_FINISH_LENGTH = 2,     // max_tokens are there, or the context is full
  RENGA_FINISH_EOS = 3,        // the model ended the text; its last token is not part of it
  RENGA_FINISH_CANCELLED = 4,  // by renga_cancel
  RENGA_FINISH_FAILED = 5      // renga_result has the error
};

typedef struct renga_logit {
  int32_t token;
  float logit;  // as the model has it, before anything is done to it
} renga_logit;

typedef struct renga_output {
  size_t size;            // of this structure, bytes
  const int32_t* tokens;  // generated
  size_t token_count;
  renga_text text;  // generated, and a NUL behind it. Lags behind the tokens where a character
                    // or what may become a stop text is incomplete
  int32_t finish_reason;  // RENGA_UNFINISHED, or why nothing follows
  int32_t reserved;       // 0
  int64_t prompt_tokens;  // of the prompt, computed for this request
  int64_t reused_tokens;  // of the prompt, that had been computed for another
  double prompt_seconds;  // from its first step until its first token
  int64_t decode_tokens;  // generated after the first
  double decode_seconds;  // that those took; 0 while it is unfinished
  // Newer than what is above. Where renga_request.top_logits is not 0; else null. Of a token that a
  // fork has from its parent nothing is known: NaN, and token -1.
  const double* logprobs;  // [token_count]: the logarithm of the probability that the model gives
                           // the token, from the logits as they are
  const renga_logit* top;  // [token_count][top_count], the largest logits of each, largest first
  size_t top_count;
  // Of the prompt's positions so far: what may follow each. Null without prompt_logits.
  const renga_logit* prompt_top;  // [prompt_top_positions][top_count]
  size_t prompt_top_positions;
  int64_t shifts;  // how often the context was full, renga_request.shift
} renga_output;

RENGA_API void renga_output_init(renga_output* output, size_t size);

// What a request has generated since the last poll. All polls together give what renga_result
// gives, but for prompt_top, which each gives whole. The tokens, the text and the logits can be
// read until the next renga_poll, renga_result or renga_remove of the same request.
// RENGA_NOT_FOUND.
RENGA_API renga_status renga_poll(renga_model* model, int64_t id, renga_output* output,
                                  renga_error** error);

// All that a finished request has generated, as often as asked for; to be read as long as that of
// renga_poll. RENGA_NOT_NOW while it is unfinished, RENGA_NOT_FOUND; else the error that ended it.
RENGA_API renga_status renga_result(renga_model* model, int64_t id, renga_output* output,
                                    renga_error** error);

// Finishes a request wherever it is; it keeps what it has generated. One that is finished stays as
// it is. RENGA_NOT_FOUND.
RENGA_API renga_status renga_cancel(renga_model* model, int64_t id, renga_error** error);

// Forgets a request, finished or not. Until then its result takes memory. RENGA_NOT_FOUND.
RENGA_API renga_status renga_remove(renga_model* model, int64_t id, renga_error** error);

#ifdef __cplusplus
}  // extern "C"
#endif
