"""two_prompts.cc in Python, on the shared library: two_prompts.py MODEL LIBRENGA.so"""
import ctypes as c
import sys


class Text(c.Structure):
    _fields_ = [("data", c.c_char_p), ("bytes", c.c_size_t)]


class Options(c.Structure):
    _fields_ = [("size", c.c_size_t), ("device", c.c_char_p), ("k_type", c.c_char_p),
                ("v_type", c.c_char_p), ("context", c.c_int64), ("max_sequences", c.c_int64),
                ("threads", c.c_int32), ("no_cache", c.c_int32)]


class Request(c.Structure):
    _fields_ = [("size", c.c_size_t), ("prompt", Text), ("prompt_tokens", c.c_void_p),
                ("prompt_token_count", c.c_size_t), ("stop", c.c_void_p),
                ("stop_count", c.c_size_t), ("logit_bias", c.c_void_p),
                ("logit_bias_count", c.c_size_t), ("max_tokens", c.c_int64), ("seed", c.c_uint64),
                ("plain_text", c.c_int32), ("ignore_eos", c.c_int32), ("temperature", c.c_float),
                ("top_k", c.c_int32), ("top_p", c.c_float), ("min_p", c.c_float),
                ("typical_p", c.c_float), ("penalty_tokens", c.c_int32),
                ("repeat_penalty", c.c_float), ("presence_penalty", c.c_float),
                ("frequency_penalty", c.c_float), ("reserved", c.c_int32)]


class Output(c.Structure):
    _fields_ = [("size", c.c_size_t), ("tokens", c.POINTER(c.c_int32)),
                ("token_count", c.c_size_t), ("text", Text), ("finish_reason", c.c_int32),
                ("reserved", c.c_int32), ("prompt_tokens", c.c_int64),
                ("reused_tokens", c.c_int64), ("prompt_seconds", c.c_double),
                ("decode_tokens", c.c_int64), ("decode_seconds", c.c_double)]


renga = c.CDLL(sys.argv[2])
renga.renga_error_message.restype = c.c_char_p
renga.renga_error_message.argtypes = renga.renga_error_free.argtypes = [c.c_void_p]
renga.renga_close.argtypes = [c.c_void_p]


def call(function, *arguments):
    error = c.c_void_p()
    if function(*arguments, c.byref(error)) == 0:
        return
    message = renga.renga_error_message(error).decode()
    renga.renga_error_free(error)
    sys.exit("error: " + message)


def initialised(structure, init):
    init(c.byref(structure), c.c_size_t(c.sizeof(structure)))
    return structure


options = initialised(Options(), renga.renga_options_init)
options.max_sequences = 2
model = c.c_void_p()
call(renga.renga_open, sys.argv[1].encode(), c.byref(options), c.byref(model))

prompts = ["Once upon a time", "The capital of France is"]
ids = []
for prompt in prompts:
    request = initialised(Request(), renga.renga_request_init)
    encoded = prompt.encode()
    request.prompt = Text(encoded, len(encoded))
    request.max_tokens = 32
    request.temperature = 0
    ids.append(c.c_int64())
    call(renga.renga_add, model, c.byref(request), c.byref(ids[-1]))
unfinished = c.c_int32(1)
while unfinished:
    call(renga.renga_step, model, c.byref(unfinished))
for prompt, id in zip(prompts, ids):
    output = initialised(Output(), renga.renga_output_init)
    call(renga.renga_result, model, id, c.byref(output))
    print(prompt + output.text.data.decode())
renga.renga_close(model)
