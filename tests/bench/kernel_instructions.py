#!/usr/bin/env python3
"""Counts the instructions of the decode products' inner loops.

  tests/bench/kernel_instructions.py [--arch sm_90a] [--nvcc nvcc] [--nvdisasm nvdisasm]

Compiles `linear` of 4096 x 4096 for each weight type, disassembles it and prints, for the innermost
loop that holds matrix products: instructions, weights of a lane, and the quotient. Needs no GPU.
docs/benchmarks/kernel-instructions.md has the table.
"""
import argparse
import pathlib
import re
import subprocess
import tempfile

# Weights of a lane in a step: 16 for each block of 32 k.
BLOCKS = {
    "F32": 1, "F16": 2, "BF16": 2, "Q8_0": 4, "Q4_0": 8, "Q4_1": 4, "Q5_0": 8, "Q5_1": 4,
    "IQ4_NL": 8, "MXFP4": 8, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8,
}

KERNEL = """
struct Config_{t} {{
  using Weight = Packed<{t}, 4096, 4096>;
  static constexpr int kTokens = 1, kWarps = 8;
  static constexpr bool kNorm = true;
  static constexpr float kEps = 1e-6f;
}};
extern "C" __global__ void __launch_bounds__(256, 2) linear_{t}(const LinearArgs args) {{
  Linear<Config_{t}>(args);
}}
"""


def loops(instructions, labels):
    """(first, last) of each backward branch's stretch."""
    for last, text in enumerate(instructions):
        target = re.search(r"BRA.*?(\.L_x_\d+)", text)
        if target and labels.get(target.group(1), last + 1) <= last:
            yield labels[target.group(1)], last


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--nvdisasm", default="nvdisasm")
    args = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = pathlib.Path(folder) / "k.cu", pathlib.Path(folder) / "k.cubin"
        source.write_text(
            '#include "codegen/kernels/linear.cuh"\nusing namespace renga::kernels;\n'
            + "".join(KERNEL.format(t=t) for t in BLOCKS))
        subprocess.run([args.nvcc, "-std=c++20", "-arch=" + args.arch, "-I", root, "--cubin", source,
                        "-o", cubin], check=True)
        text = subprocess.run([args.nvdisasm, "-c", cubin], check=True, capture_output=True,
                              text=True).stdout
    print("| type | instructions | weights of a lane | per weight |\n|---|---|---|---|")
    sections = re.split(r"\.section\s+\.text\.linear_(\w+?),", text)
    bodies = dict(zip(sections[1::2], sections[2::2]))
    for name, blocks in BLOCKS.items():
        instructions, labels = [], {}
        for line in bodies[name].splitlines():
            label = re.match(r"\s*(\.L_x_\d+):", line)
            if label:
                labels[label.group(1)] = len(instructions)
            code = re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", line)
            if code:
                instructions.append(code.group(1))
        with_products = [(last - first + 1) for first, last in loops(instructions, labels)
                         if any("HMMA" in i for i in instructions[first:last + 1])]
        count, weights = min(with_products), 16 * blocks
        if BLOCKS[name] == 4 and name in ("Q4_1", "Q5_1"):
            weights *= 2  # two steps under way
        print(f"| {name} | {count} | {weights} | {count / weights:.2f} |")


if __name__ == "__main__":
    main()
