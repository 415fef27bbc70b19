// What a model would go on with: the tokens that are likeliest to follow a text, with their logits.
//
//   what_follows MODEL TEXT
#include <cstdio>

#include <renga/renga.hpp>

int main(int argc, char** argv) {
  const auto fail = [](const renga::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.message.c_str());
    return 1;
  };
  auto model = renga::Model::Open(argc > 1 ? argv[1] : "model.gguf");
  if (!model) return fail(model.error());
  renga::Request request;
  request.prompt = argc > 2 ? argv[2] : "Once upon a time";
  request.max_tokens = 1;
  request.temperature = 0;
  request.top_logits = 5;
  const auto id = model->Add(request);
  if (!id) return fail(id.error());
  for (bool more = true; more;) {
    auto step = model->Step();
    if (!step) return fail(step.error());
    more = *step;
  }
  const auto result = model->ResultOf(*id);
  if (!result) return fail(result.error());
  for (const renga::Logit& logit : result->top[0]) {
    const auto text = model->Detokenize({logit.token});
    if (!text) return fail(text.error());
    std::printf("%8.3f  %s\n", logit.logit, text->c_str());
  }
}
