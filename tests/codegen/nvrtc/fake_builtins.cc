// Stands in for libnvrtc-builtins, of which only the presence matters.
int renga_fake_nvrtc_builtins = 0;
