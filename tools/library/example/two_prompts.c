/* two_prompts.cc in C. */
#include <stdio.h>
#include <string.h>

#include <renga/renga.h>

static int Fail(renga_error* error) {
  fprintf(stderr, "error: %s\n", renga_error_message(error));
  renga_error_free(error);
  return 1;
}

int main(int argc, char** argv) {
  const char* prompts[] = {"Once upon a time", "The capital of France is"};
  int64_t ids[2];
  int32_t unfinished = 1;
  renga_error* error = NULL;
  renga_model* model = NULL;
  renga_options options;
  renga_options_init(&options, sizeof options);
  options.max_sequences = 2;
  if (renga_open(argc > 1 ? argv[1] : "model.gguf", &options, &model, &error)) return Fail(error);

  for (int i = 0; i < 2; ++i) {
    renga_request request;
    renga_request_init(&request, sizeof request);
    request.prompt.data = prompts[i];
    request.prompt.bytes = strlen(prompts[i]);
    request.max_tokens = 32;
    request.temperature = 0;
    if (renga_add(model, &request, &ids[i], &error)) return Fail(error);
  }
  while (unfinished) {
    if (renga_step(model, &unfinished, &error)) return Fail(error);
  }
  for (int i = 0; i < 2; ++i) {
    renga_output output;
    renga_output_init(&output, sizeof output);
    if (renga_result(model, ids[i], &output, &error)) return Fail(error);
    printf("%s%s\n", prompts[i], output.text.data);
  }
  renga_close(model);
  return 0;
}
