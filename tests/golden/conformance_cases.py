"""Lists ONNX's node test cases by tier, from their operators and types.

    python conformance_cases.py DATA_DIR [--tier 1] [--all] [--check FILE.tsv] > LIST

DATA_DIR holds NAME/model.onnx folders: Debian's libonnx-testdata (`dpkg -L libonnx-testdata`, .../backend/test/data/node)
or what unpack_conformance.py wrote. A case counts in the highest tier among all its operators (sub-graphs included) and
its graph types. Prints the names of one tier (--all: name, tier and operators, tab separated); --check compares with a
table that has the columns `case` and `tier`. How the two lists in ../conformance were made:

    python conformance_cases.py /usr/include/onnx/backend/test/data/node > ../conformance/debian_tier1.txt   # 632 of 932
    python conformance_cases.py OUT/node > ../conformance/newest_tier1.txt                                  # 1058 of 1802

Run with: onnx 1.23.2 and 1.16.2.
"""
import argparse
import os
import sys

import onnx
from onnx import TensorProto

# The operators of each tier; domain "" unless written. 1: forward and gradient (the second block has no gradient by
# nature), 2: forward, gradient where defined, 3: forward only; whatever is not listed is tier 4 (refused by name).
TIERS = {1: """
Abs Add Sub Mul Div Neg Pow Sqrt Exp Log Reciprocal Erf Tanh Sigmoid Relu LeakyRelu PRelu Elu Selu Celu Gelu
HardSigmoid HardSwish Softplus Softsign Mish Swish SwiGLU Clip Min Max Sum Mean Sin Cos Where Identity Dropout
Cast CastLike MatMul Gemm Einsum Conv ConvTranspose BatchNormalization InstanceNormalization LayerNormalization
GroupNormalization RMSNormalization LRN LpNormalization MeanVarianceNormalization Softmax LogSoftmax AveragePool
MaxPool GlobalAveragePool GlobalMaxPool ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2
ReduceSumSquare ReduceLogSum ReduceLogSumExp Reshape Flatten Transpose Squeeze Unsqueeze Concat Split Slice
Gather GatherElements GatherND ScatterND ScatterElements Expand Tile Pad Resize Upsample DepthToSpace
SpaceToDepth CumSum Trilu TopK LSTM GRU RNN Attention RotaryEmbedding

Constant ConstantOfShape Shape Size Range Equal Greater Less GreaterOrEqual LessOrEqual Not And Or Xor Floor Ceil
Round Sign ArgMax ArgMin OneHot NonZero Mod EyeLike IsNaN IsInf
""", 2: """
Acos Acosh Asin Asinh Atan Atanh Sinh Cosh Tan ThresholdedRelu Shrink Hardmax GridSample AffineGrid RoiAlign
MaxRoiPool MaxUnpool LpPool GlobalLpPool SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss Det DFT STFT
MelWeightMatrix HannWindow HammingWindow BlackmanWindow Bernoulli RandomNormal RandomNormalLike RandomUniform
RandomUniformLike Multinomial DeformConv CenterCropPad Col2Im ReverseSequence Compress Scatter If Loop Scan
TensorScatter LinearAttention CausalConvWithState CumProd QuantizeLinear DequantizeLinear
""", 3: """
DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger NonMaxSuppression Unique BitShift
BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitCast TfIdfVectorizer SequenceConstruct SequenceEmpty SequenceAt
SequenceInsert SequenceErase SequenceLength SplitToSequence ConcatFromSequence SequenceMap Optional
OptionalGetElement OptionalHasElement ai.onnx.ml:TreeEnsemble ai.onnx.ml:TreeEnsembleClassifier
ai.onnx.ml:TreeEnsembleRegressor ai.onnx.ml:LinearClassifier ai.onnx.ml:LinearRegressor ai.onnx.ml:SVMClassifier
ai.onnx.ml:SVMRegressor ai.onnx.ml:Scaler ai.onnx.ml:Normalizer ai.onnx.ml:Binarizer ai.onnx.ml:Imputer
ai.onnx.ml:LabelEncoder ai.onnx.ml:OneHotEncoder ai.onnx.ml:ArrayFeatureExtractor ai.onnx.ml:FeatureVectorizer
ai.onnx.ml:ZipMap ai.onnx.ml:CategoryMapper ai.onnx.ml:DictVectorizer
"""}
OP_TIER = {name: tier for tier, names in TIERS.items() for name in names.split()}

TYPE_TIER = {getattr(TensorProto, name): tier for tier, names in {
    1: "FLOAT DOUBLE INT32 INT64 BOOL",
    2: "FLOAT16 BFLOAT16 INT8 INT16 UINT8 UINT16 UINT32 UINT64"}.items() for name in names.split()}


def operators(graph):
    """Every (domain:)op in the graph and its sub-graphs."""
    for node in graph.node:
        domain = "" if node.domain in ("", "ai.onnx") else node.domain + ":"
        yield domain + node.op_type
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield from operators(a.g)
            for g in a.graphs:
                yield from operators(g)


def type_tier(t):
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        return TYPE_TIER.get(t.tensor_type.elem_type, 4)
    if kind == "sequence_type":
        return max(3, type_tier(t.sequence_type.elem_type))
    if kind == "optional_type":
        return max(3, type_tier(t.optional_type.elem_type))
    return 4


def tier(model):
    graph = model.graph
    ops = [op for f in model.functions for op in operators(f)] + list(operators(graph))
    tiers = [OP_TIER.get(op, 4) for op in ops]
    tiers += [type_tier(v.type) for v in list(graph.input) + list(graph.output) + list(graph.value_info)]
    tiers += [TYPE_TIER.get(t.data_type, 4) for t in graph.initializer]
    return max(tiers), sorted(set(ops))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--tier", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--check", metavar="TSV")
    args = parser.parse_args()
    found = {}
    for name in sorted(os.listdir(args.folder)):
        path = os.path.join(args.folder, name, "model.onnx")
        if os.path.exists(path):
            found[name] = tier(onnx.load(path))
    if args.check:
        with open(args.check) as f:
            head = f.readline().rstrip("\n").split("\t")
            table = [dict(zip(head, line.rstrip("\n").split("\t"))) for line in f]
        expected = {row["case"]: int(row["tier"]) for row in table}
        bad = [n for n in sorted(set(found) | set(expected)) if found.get(n, (0,))[0] != expected.get(n, 0)]
        for n in bad:
            print("differs: %s here %s, table %s" % (n, found.get(n), expected.get(n)), file=sys.stderr)
        print("%d cases compared, %d differ" % (len(expected), len(bad)), file=sys.stderr)
    for name, (t, ops) in found.items():
        if args.all:
            print("%s\t%d\t%s" % (name, t, " ".join(ops)))
        elif t == args.tier:
            print(name)
    counts = {t: sum(v[0] == t for v in found.values()) for t in (1, 2, 3, 4)}
    print("%d cases: %s" % (len(found), ", ".join("tier %d %d" % p for p in counts.items())), file=sys.stderr)


if __name__ == "__main__":
    main()
