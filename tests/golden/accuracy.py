"""The tables of docs/accuracy.md, from the figures that the comparisons keep in results/.

    python accuracy.py                        writes the tables into docs/accuracy.md
    python accuracy.py --check                fails if they are not what results/ says
    python accuracy.py --exports FILE...      first takes over what golden_test --gtest_output=json:FILE found
    python accuracy.py --captum FILE...       first takes over what captum_compare/compare.py --json FILE found
"""

import argparse
import collections
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results", HERE.parents[1] / "docs" / "accuracy.md"

GROUPS = {
    "gradients and activations": {"saliency", "input-x-gradient", "gradient-x-activation", "activation"},
    "paths": {"integrated-gradients", "internal-influence"},
    "conductance": {"conductance"},
    "rules": {"guided-backprop", "deconvolution", "deep-lift", "deep-lift-shap", "lrp"},
    "class activation maps": {"grad-cam", "guided-grad-cam"},
    "perturbations": {"feature-ablation", "feature-permutation", "occlusion", "shapley-values"},
    "sampling": {"shapley-value-sampling", "kernel-shap", "lime", "gradient-shap", "noise-tunnel"},
}
NETS = ["resnet18", "cifar10_tutorial_cnn", "mnist_burn_bn", "bert_block", "lstm", "tabular"]


def read(name):
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else {}


def write(name, value):
    """One entry a line."""
    RESULTS.mkdir(exist_ok=True)

    def block(v):
        return "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(w)}" for k, w in sorted(v.items())) + "\n }"

    body = ",\n".join(f" {json.dumps(k)}: {block(v)}" for k, v in sorted(value.items()))
    (RESULTS / name).write_text("{\n" + body + "\n}\n")


def take_exports(files):
    kept = read("exports.json")
    for file in files:
        for suite in json.loads(pathlib.Path(file).read_text())["testsuites"]:
            for t in suite["testsuite"]:
                if "case" not in t:
                    continue
                entry = {k: float(t[k]) for k in ("float64", "float32", "flipped_median", "flipped_largest") if k in t}
                entry.update(rows=int(t["rows"]), flipped=int(t["flipped"]), passed="failures" not in t)
                kept.setdefault("cases", {})[t["case"]] = entry
    write("exports.json", kept)


def take_captum(files):
    kept = read("captum.json")
    for file in files:
        given = json.loads(pathlib.Path(file).read_text())
        for part in ("pairs", "left_out", "versions"):
            kept.setdefault(part, {}).update(given[part])
    write("captum.json", kept)


def number(v):
    return f"{v:.1e}" if v else "0"


def exports_table():
    lines = ["| export | inputs | float64 | float32, same decisions | with flipped decisions: median, largest |", "|---|---|---|---|---|"]
    for name, c in read("exports.json").get("cases", {}).items():
        same = number(c["float32"]) if c["flipped"] < c["rows"] else "none"
        flips = "none"
        if c["flipped"]:
            flips = f"{c['flipped']} of {c['rows']}: {number(c['flipped_median'])}, {number(c['flipped_largest'])}"
        verdict = "" if c["passed"] else " **fails**"
        lines.append(f"| {name}{verdict} | {c['rows']} | {number(c['float64'])} | {same} | {flips} |")
    return lines


def captum_table():
    worst, count, single = {}, collections.Counter(), collections.defaultdict(list)
    for name, p in read("captum.json").get("pairs", {}).items():
        net, method = name.split("/")[:2]
        group = next(g for g, members in GROUPS.items() if method in members)
        against = "the definition" if name.endswith("/definition") else "Captum"
        key = (NETS.index(net), list(GROUPS).index(group), against, p["kind"])
        count[key] += 1
        if key not in worst or p["figure"] / p["bound"] > worst[key]["figure"] / worst[key]["bound"]:
            worst[key] = p
        if "float32" in p:
            single[key].append(p["float32"])
    unit = {"random": " standard errors"}
    lines = ["| network | methods | against | pairs | worst | at most | float32, worst |", "|---|---|---|---|---|---|---|"]
    for key in sorted(worst):
        net, group, against, kind = key
        p = worst[key]
        mark = " **fails**" if p["figure"] > p["bound"] else ""
        figure = f"{p['figure']:.2f}" if kind == "random" else number(p["figure"])
        lines.append(
            f"| {NETS[net]} | {list(GROUPS)[group]} | {against} | {count[key]} | {figure}{unit.get(kind, '')}{mark} | {p['bound']:g} |"
            f" {number(max(single[key])) if single[key] else ''} |"
        )
    return lines


def left_out_table():
    by_reason = collections.OrderedDict()
    for name, reason in read("captum.json").get("left_out", {}).items():
        by_reason.setdefault(reason, []).append(name)
    lines = ["| why | pairs |", "|---|---|"]
    for reason, names in by_reason.items():
        what = collections.OrderedDict()
        for name in names:
            net, rest = name.split("/", 1)
            what.setdefault(rest, []).append(net)
        nets = collections.OrderedDict()
        for rest, members in what.items():
            nets.setdefault(tuple(members), []).append(rest)
        text = "; ".join(f"{', '.join(rest)} ({', '.join(members)})" for members, rest in nets.items())
        lines.append(f"| {reason} | {text} |")
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exports", nargs="*", default=[])
    parser.add_argument("--captum", nargs="*", default=[])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.exports:
        take_exports(args.exports)
    if args.captum:
        take_captum(args.captum)
    text = PAGE.read_text()
    tables = {"exports": exports_table, "captum": captum_table, "left out": left_out_table}
    for name, make in tables.items():
        begin, end = f"<!-- accuracy: {name} -->\n", f"<!-- /accuracy: {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        text, n = re.subn(pattern, lambda _: begin + "\n".join(make()) + "\n" + end, text, flags=re.S)
        if n != 1:
            sys.exit(f"{PAGE} holds {n} places for the table '{name}', expected 1")
    if args.check:
        if text != PAGE.read_text():
            sys.exit(f"{PAGE} is not what {RESULTS} says: run {pathlib.Path(__file__).name}")
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
