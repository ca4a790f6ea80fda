"""Both sides of the CPU benchmarks in one run on one machine: onnxray against Captum on PyTorch and against onnxruntime.

    python bench/cpu.py --onnxray build/onnxray --models DIR [--threads 2] [--repeat 3] [--only NAME,...] [--out FILE.json]

DIR receives the ONNX files of bench/peers/nets.py on the first run (random weights, nothing is downloaded). Sides take
turns, each as a process of its own; times are the medians of `repeat` calls after a warm-up inside the process, peak
memory is the process's largest resident size. Needs the packages that bench/peers/*.py name; onnxray itself needs none.
The JSON is written after every row; ratios are peer time / our time.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
import report  # noqa: E402

# The input of the last stage: the whole stage is differentiated at every step. Captum's side names the same block.
RESNET_LAST_STAGE = "/body/body.12/relu3/Relu_output_0"
BERT_LAYERS = ["/blocks.%d/norm2/LayerNormalization_output_0" % i for i in range(12)]
IG = ["--method", "integrated-gradients", "--n-steps", "50"]
OCCLUSION = ["--method", "occlusion", "--sliding-window-shapes", "3,15,15", "--strides", "3,8,8"]

# name: (net, our arguments, [(peer label, peer script and its arguments)])
BENCHES = {
    "forward_resnet50": ("resnet50", ["--method", "forward"], [("onnxruntime", ["ort_forward.py"])]),
    "forward_bert_base": ("bert_base", ["--method", "forward"], [("onnxruntime", ["ort_forward.py"])]),
    "ig_resnet50_n50": ("resnet50", IG, [(s, ["captum_ig.py", "--settings", s]) for s in
                                         ("default", "best:4", "best:8", "best:16")]),
    "ig_vgg19_n50": ("vgg19", IG, [(s, ["captum_ig.py", "--settings", s]) for s in ("best:4", "best:8")]),
    "layer_ig_resnet50_n50": ("resnet50", IG + ["--from", RESNET_LAST_STAGE],
                              [(s, ["captum_methods.py", "layer_ig", "--settings", s]) for s in ("best:8", "best:16")]),
    "conductance_bert_base_n10": ("bert_base_floats",
                                  ["--method", "conductance", "--n-steps", "10"] +
                                  [a for layer in BERT_LAYERS for a in ("--from", layer)],
                                  [(s, ["captum_methods.py", "conductance", "--settings", s]) for s in
                                   ("default", "best:4")]),
    "kernel_shap_resnet50_512": ("resnet50", ["--method", "kernel-shap", "--n-samples", "512", "--feature-mask", "grid:8"],
                                 [(s, ["captum_methods.py", "kernel_shap", "--settings", s]) for s in
                                  ("best:8", "best:16")]),
    "occlusion_resnet50": ("resnet50", OCCLUSION, [(s, ["captum_methods.py", "occlusion_resnet50", "--settings", s])
                                                   for s in ("best:8", "best:16")]),
    "occlusion_vgg19": ("vgg19", OCCLUSION, [(s, ["captum_methods.py", "occlusion_vgg19", "--settings", s])
                                             for s in ("best:4", "best:8")]),
}


def run(command, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if status != 0:
        raise RuntimeError(f"{command}: status {status}\n{text}")
    return text, usage.ru_maxrss / 1024


def ours(args, net, options):
    command = [args.onnxray, "bench", os.path.join(args.models, net + ".onnx"), *options, "--threads",
               str(args.threads), "--repeat", str(args.repeat), "--json", "--precision", "float32"]
    text, peak = run(command, args.threads)
    result = json.loads(text)
    m = result["methods"][0]
    return {"median_s": m["median_seconds"], "setup_s": m["setup_seconds"] + result["load_seconds"], "peak_rss_mb": peak,
            "arena_mb": m["arena_bytes"] / 1e6, "rows": m["rows"], "command": " ".join(["onnxray"] + command[1:])}


def peer(args, net, script):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "peer.json")
        command = [sys.executable, os.path.join(HERE, "peers", script[0]), *script[1:], "--threads", str(args.threads),
                   "--repeat", str(args.repeat), "--out", out]
        if script[0] == "captum_ig.py":
            command += ["--net", net, "--steps", "50"]
        if script[0] == "ort_forward.py":
            command.insert(2, os.path.join(args.models, net + ".onnx"))
        _, peak = run(command, args.threads)
        with open(out) as f:
            result = json.load(f)
    result["peak_rss_mb"] = peak
    return result


def median_of(result):
    """The first median_s found in a peer's JSON."""
    if isinstance(result, dict):
        if "median_s" in result:
            return result["median_s"]
        result = list(result.values())
    if isinstance(result, list):
        for item in result:
            found = median_of(item)
            if found:
                return found
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnxray", default="build/onnxray")
    parser.add_argument("--models", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", default="bench/results/cpu.json")
    args = parser.parse_args()
    os.makedirs(args.models, exist_ok=True)
    wanted = args.only.split(",") if args.only else list(BENCHES)
    for net in {BENCHES[name][0] for name in wanted}:
        if not os.path.exists(os.path.join(args.models, net + ".onnx")):
            run([sys.executable, os.path.join(HERE, "peers", "nets.py"), "--export", args.models, net], args.threads)
    document = {"machine": report.machine(), "threads": args.threads, "benchmarks": {}}
    if os.path.exists(args.out):
        with open(args.out) as f:
            document["benchmarks"] = json.load(f).get("benchmarks", {})
    for name in wanted:
        net, options, peers = BENCHES[name]
        row = {"ours": ours(args, net, options), "peers": {}}
        for label, script in peers:
            result = peer(args, net, script)
            ratio = median_of(result) / row["ours"]["median_s"]
            row["peers"][label] = {"result": result, "median_s": median_of(result), "ratio": ratio,
                                   "peak_rss_mb": result["peak_rss_mb"]}
        # A second turn of ours brackets the peers, so that a drifting machine shows.
        again = ours(args, net, options)
        row["ours_again"] = again
        row["best_ratio"] = min(p["median_s"] for p in row["peers"].values()) / row["ours"]["median_s"]
        row["best_ratio_against_slower_turn"] = (min(p["median_s"] for p in row["peers"].values()) /
                                                 max(row["ours"]["median_s"], again["median_s"]))
        document["benchmarks"][name] = row
        with open(args.out, "w") as f:
            json.dump(document, f, indent=1)
            f.write("\n")
        print(f"{name}: ours {row['ours']['median_s']:.3f} s ({again['median_s']:.3f} s), " +
              ", ".join(f"{k} {v['median_s']:.3f} s" for k, v in row["peers"].items()) +
              f"; best peer / ours = {row['best_ratio']:.2f}", flush=True)


if __name__ == "__main__":
    main()
