// Opens a model, has it go on with two prompts at once, and prints both texts.
#include <cstdio>
#include <vector>

#include <renga/renga.hpp>

int main(int argc, char** argv) {
  const auto fail = [](const renga::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.message.c_str());
    return 1;
  };
  renga::Options options;
  options.max_sequences = 2;
  auto model = renga::Model::Open(argc > 1 ? argv[1] : "model.gguf", options);
  if (!model) return fail(model.error());

  std::vector<renga::Request> requests(2);
  requests[0].prompt = "Once upon a time";
  requests[1].prompt = "The capital of France is";
  for (renga::Request& request : requests) {
    request.max_tokens = 32;
    request.temperature = 0;
    // Requests are numbered as they come: 0 and 1.
    if (auto id = model->Add(request); !id) return fail(id.error());
  }
  for (bool more = true; more;) {
    auto step = model->Step();
    if (!step) return fail(step.error());
    more = *step;
  }
  for (size_t id = 0; id < requests.size(); ++id) {
    auto result = model->ResultOf(static_cast<int64_t>(id));
    if (!result) return fail(result.error());
    std::printf("%s%s\n", requests[id].prompt.c_str(), result->text.c_str());
  }
}
