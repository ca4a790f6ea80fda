// Mutations that keep the bytes a model: plain byte flips hardly ever get past protobuf's lengths and the graph's
// names.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "onnx_import/convert.h"
#include "onnx_import/onnx.pb.h"

using namespace onnxray;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

constexpr std::int64_t kNumbers[] = {0,         1,        2,       3,          4,           5,          7,
                                     -1,        -2,       -3,      -7,         8,           16,         64,
                                     65,        255,      65536,   2147483647, -2147483648, 4294967296, INT64_MAX,
                                     INT64_MIN, -1000000, 1000000, 10,         11,          12,         INT64_MAX - 1,
                                     1LL << 40, 13,       100,     9};
constexpr const char* kAttributes[] = {"axis",   "axes",         "keepdims",    "pads",       "strides", "dilations",
                                       "group",  "kernel_shape", "auto_pad",    "alpha",      "mode",    "to",
                                       "perm",   "ceil_mode",    "value",       "batch_dims", "epsilon", "largest",
                                       "transA", "direction",    "hidden_size", "equation"};
constexpr float kReals[] = {0, 1, -1, 0.5f, 1e-30f, 1e30f, -1e30f, 3.5f};

class Mutator {
 public:
  Mutator(wire::ModelProto& model, unsigned seed) : model_(model), random_(seed) {}

  void run() {
    wire::GraphProto& g = *model_.mutable_graph();
    switch (pick(9)) {
      case 0: initializer(g); break;
      case 1: input(g); break;
      case 2:
        if (model_.opset_import_size() > 0) model_.mutable_opset_import(0)->set_version(1 + pick(28));
        break;
      case 3:
        if (g.node_size() > 0 && g.node_size() < 40) *g.add_node() = g.node(pick(g.node_size()));
        break;
      default:
        if (g.node_size() > 0) node(g, *g.mutable_node(pick(g.node_size())));
    }
  }

 private:
  int pick(int n) { return n <= 0 ? 0 : static_cast<int>(random_() % static_cast<unsigned>(n)); }
  std::int64_t number() { return pick(3) == 0 ? kNumbers[pick(std::size(kNumbers))] : pick(6) - 2; }

  std::string some_value(const wire::GraphProto& g) {
    std::vector<std::string> names = {""};
    for (const auto& v : g.input()) names.push_back(v.name());
    for (const auto& t : g.initializer()) names.push_back(t.name());
    for (const auto& n : g.node()) names.insert(names.end(), n.output().begin(), n.output().end());
    return names[static_cast<std::size_t>(pick(static_cast<int>(names.size())))];
  }

  void node(const wire::GraphProto& g, wire::NodeProto& n) {
    static const std::vector<onnx_import::OpRow> rows = onnx_import::op_table().all();
    switch (pick(7)) {
      case 0: n.set_op_type(rows[static_cast<std::size_t>(pick(static_cast<int>(rows.size())))].op_type); break;
      case 1:
        if (n.input_size() > 0) n.set_input(pick(n.input_size()), some_value(g));
        break;
      case 2: n.add_input(some_value(g)); break;
      case 3:
        if (n.input_size() > 0) n.mutable_input()->RemoveLast();
        break;
      default: attribute(n);
    }
  }

  void attribute(wire::NodeProto& n) {
    if (n.attribute_size() == 0 || pick(6) == 0) {
      wire::AttributeProto& fresh = *n.add_attribute();
      fresh.set_name(kAttributes[pick(std::size(kAttributes))]);
      if (pick(2) == 0) {
        fresh.set_type(2);
        fresh.set_i(number());
      } else {
        fresh.set_type(7);
        for (int i = pick(5); i > 0; --i) fresh.add_ints(number());
      }
      return;
    }
    const int which = pick(n.attribute_size());
    wire::AttributeProto& a = *n.mutable_attribute(which);
    if (pick(8) == 0) {
      n.mutable_attribute()->DeleteSubrange(which, 1);
    } else if (a.has_i()) {
      a.set_i(number());
    } else if (a.has_f()) {
      a.set_f(kReals[pick(std::size(kReals))]);
    } else if (a.ints_size() > 0 && pick(3) != 0) {
      a.set_ints(pick(a.ints_size()), number());
    } else if (a.type() == 7) {
      if (pick(2) == 0 && a.ints_size() > 0) a.mutable_ints()->RemoveLast();
      else a.add_ints(number());
    } else if (a.has_t()) {
      tensor(*a.mutable_t());
    } else if (a.has_g() && a.g().node_size() > 0) {
      node(a.g(), *a.mutable_g()->mutable_node(pick(a.g().node_size())));
    } else if (a.has_s()) {
      std::string s = a.s();
      if (!s.empty()) s[static_cast<std::size_t>(pick(static_cast<int>(s.size())))] ^= static_cast<char>(1 << pick(7));
      a.set_s(s);
    }
  }

  void initializer(wire::GraphProto& g) {
    if (g.initializer_size() > 0) tensor(*g.mutable_initializer(pick(g.initializer_size())));
  }

  // New dims or contents; the length follows while it is small.
  void tensor(wire::TensorProto& t) {
    std::string raw = t.raw_data();
    const int what = pick(4);
    if (what == 0 && t.dims_size() > 0) t.set_dims(pick(t.dims_size()), pick(4) == 0 ? number() : pick(7));
    if (what == 1 && t.dims_size() < 8) t.add_dims(pick(3));
    if (what == 2 && t.dims_size() > 0) t.mutable_dims()->RemoveLast();
    if (what == 3) {
      if (t.data_type() == 7 && raw.size() >= 8) {
        const std::int64_t v = number();
        std::memcpy(raw.data() + 8 * static_cast<std::size_t>(pick(static_cast<int>(raw.size() / 8))), &v, 8);
      } else if (!raw.empty()) {
        raw[static_cast<std::size_t>(pick(static_cast<int>(raw.size())))] = static_cast<char>(pick(256));
      }
    } else {
      std::int64_t count = 1;
      for (const std::int64_t d : t.dims()) count = d < 0 || d > 4096 || count > 4096 ? 4097 : count * d;
      if (count <= 4096) raw.resize(static_cast<std::size_t>(count) * width(t.data_type()), '\x01');
    }
    t.set_raw_data(raw);
  }

  static std::size_t width(int type) {
    if (type == 7 || type == 11 || type == 13) return 8;
    if (type == 2 || type == 3 || type == 9) return 1;
    return type == 10 || type == 16 ? 2 : 4;
  }

  void input(wire::GraphProto& g) {
    if (g.input_size() == 0) return;
    auto& type = *g.mutable_input(pick(g.input_size()))->mutable_type()->mutable_tensor_type();
    auto& shape = *type.mutable_shape();
    switch (pick(4)) {
      case 0: type.set_elem_type(1 + pick(16)); break;
      case 1:
        if (shape.dim_size() < 7) shape.add_dim()->set_dim_value(pick(4));
        break;
      case 2:
        if (shape.dim_size() > 0) shape.mutable_dim()->RemoveLast();
        break;
      default:
        if (shape.dim_size() > 0) shape.mutable_dim(pick(shape.dim_size()))->set_dim_value(pick(9));
    }
  }

  wire::ModelProto& model_;
  std::minstd_rand random_;
};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  wire::ModelProto model;
  if (seed % 5 == 0 || !model.ParseFromArray(data, static_cast<int>(size)) || !model.has_graph()) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  Mutator mutator(model, seed);
  for (unsigned i = 0; i <= seed % 3; ++i) mutator.run();
  const std::size_t bytes = model.ByteSizeLong();
  if (bytes > max_size || !model.SerializeToArray(data, static_cast<int>(max_size))) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  return bytes;
}
