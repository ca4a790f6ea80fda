#include "onnx_import/convert_matmul_einsum.h"

#include <algorithm>
#include <map>

namespace onnxray::onnx_import {
namespace {

// A label per axis: a letter's code, or kEllipsis + i for the i-th ellipsis axis counted from the right.
constexpr int kEllipsis = 1000;
using Labels = std::vector<int>;

struct Operand {
  ValueId v = kNoValue;
  Labels labels;
};

bool holds(const Labels& labels, int label) { return std::find(labels.begin(), labels.end(), label) != labels.end(); }

struct Term {
  Labels before, after;  // of the ellipsis
  bool ellipsis = false;
};

Term parse_term(const std::string& text, const std::string& equation) {
  Term t;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char ch = text[i];
    if (ch == ' ') continue;
    if (ch == '.') {
      ONNXRAY_CHECK(text.compare(i, 3, "...") == 0 && !t.ellipsis, "einsum: malformed ellipsis in '", equation, "'");
      t.ellipsis = true;
      i += 2;
      continue;
    }
    ONNXRAY_CHECK((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'), "einsum: unexpected '", ch, "' in '", equation,
                  "'");
    (t.ellipsis ? t.after : t.before).push_back(ch);
  }
  return t;
}

Labels with_ellipsis(const Term& t, std::size_t axes) {
  Labels out = t.before;
  for (std::size_t i = axes; t.ellipsis && i-- > 0;) out.push_back(kEllipsis + static_cast<int>(i));
  out.insert(out.end(), t.after.begin(), t.after.end());
  return out;
}

ValueId permuted(Builder& b, const Operand& o, const Labels& order) {
  std::vector<std::int64_t> perm;
  for (const int label : order) perm.push_back(std::find(o.labels.begin(), o.labels.end(), label) - o.labels.begin());
  return b.transpose(o.v, perm);
}

// x[i, i] -> x[i]: both axes last, flattened, every (n + 1)-th element.
void take_diagonals(Builder& b, Operand& o) {
  for (std::size_t i = 0; i < o.labels.size(); ++i) {
    for (std::size_t j = i + 1; j < o.labels.size(); ++j) {
      if (o.labels[i] != o.labels[j]) continue;
      const Dims d = b.dims(o.v);
      ONNXRAY_CHECK(d[i] == d[j], "einsum: a repeated index has extents ", d[i], " and ", d[j]);
      std::vector<std::int64_t> perm;
      Labels labels;
      Dims flat;
      for (std::size_t k = 0; k < d.size(); ++k) {
        if (k == i || k == j) continue;
        perm.push_back(static_cast<std::int64_t>(k));
        labels.push_back(o.labels[k]);
        flat.push_back(d[k]);
      }
      perm.push_back(static_cast<std::int64_t>(i));
      perm.push_back(static_cast<std::int64_t>(j));
      labels.push_back(o.labels[i]);
      flat.push_back(d[i] * d[i]);
      const auto axis = static_cast<std::int64_t>(flat.size()) - 1;
      const ValueId line = b.reshape(b.transpose(o.v, perm), flat);
      o.v = b.slice(line, axis, 0, flat.back(), d[i] + 1);
      o.labels = labels;
      return take_diagonals(b, o);
    }
  }
}

// Sums away the labels that `keep` does not hold.
void sum_out(Builder& b, Operand& o, const Labels& keep) {
  std::vector<std::int64_t> axes;
  Labels left;
  for (std::size_t i = 0; i < o.labels.size(); ++i) {
    if (holds(keep, o.labels[i])) left.push_back(o.labels[i]);
    else axes.push_back(static_cast<std::int64_t>(i));
  }
  if (!axes.empty()) o.v = b.reduce("reduce_sum", o.v, axes, false);
  o.labels = left;
}

// One operand from two; labels in `keep` survive.
Operand contract(Builder& b, const Operand& x, const Operand& y, const Labels& keep) {
  Labels batch, summed, left, right;
  for (const int label : x.labels) {
    if (!holds(y.labels, label)) left.push_back(label);
    else if (holds(keep, label)) batch.push_back(label);
    else summed.push_back(label);
  }
  for (const int label : y.labels) {
    if (!holds(x.labels, label)) right.push_back(label);
  }
  std::map<int, std::int64_t> extent;
  for (const Operand* o : {&x, &y}) {
    for (std::size_t i = 0; i < o->labels.size(); ++i) extent[o->labels[i]] = b.dims(o->v)[i];
  }
  const auto dims_of = [&](const Labels& labels) {
    Dims d;
    for (const int label : labels) d.push_back(extent[label]);
    return d;
  };
  const auto join = [](std::initializer_list<Labels> parts) {
    Labels out;
    for (const Labels& p : parts) out.insert(out.end(), p.begin(), p.end());
    return out;
  };
  Operand out;
  out.labels = join({batch, left, right});
  Dims matrix = dims_of(batch);
  const std::int64_t m = count_of(dims_of(left)), k = count_of(dims_of(summed)), n = count_of(dims_of(right));
  Dims a_dims = matrix, b_dims = matrix;
  a_dims.insert(a_dims.end(), {m, k});
  b_dims.insert(b_dims.end(), {k, n});
  const ValueId lhs = b.reshape(permuted(b, x, join({batch, left, summed})), a_dims);
  const ValueId rhs = b.reshape(permuted(b, y, join({batch, summed, right})), b_dims);
  out.v = b.reshape(summed.empty() ? b.mul(lhs, rhs) : b.matmul(lhs, rhs), dims_of(out.labels));
  return out;
}

}  // namespace

ValueId einsum_value(Builder& b, const std::string& equation, const std::vector<ValueId>& inputs) {
  const std::size_t arrow = equation.find("->");
  const std::string left = equation.substr(0, arrow);
  std::vector<Term> terms;
  for (std::size_t begin = 0; begin <= left.size();) {
    const std::size_t comma = std::min(left.find(',', begin), left.size());
    terms.push_back(parse_term(left.substr(begin, comma - begin), equation));
    begin = comma + 1;
  }
  ONNXRAY_CHECK(terms.size() == inputs.size(), "einsum: '", equation, "' has ", terms.size(), " operands, got ",
                inputs.size(), " inputs");
  std::vector<Operand> operands;
  std::size_t most = 0;  // ellipsis axes
  for (std::size_t i = 0; i < terms.size(); ++i) {
    ONNXRAY_CHECK(inputs[i] != kNoValue, "einsum: input ", i, " is missing");
    const std::size_t named = terms[i].before.size() + terms[i].after.size(), rank = b.rank(inputs[i]);
    ONNXRAY_CHECK(terms[i].ellipsis ? rank >= named : rank == named, "einsum: operand ", i, " of '", equation,
                  "' has shape ", to_string(b.dims(inputs[i])));
    const std::size_t axes = rank - named;
    most = std::max(most, axes);
    operands.push_back({inputs[i], with_ellipsis(terms[i], axes)});
  }
  Labels out;
  if (arrow != std::string::npos) {
    const Term t = parse_term(equation.substr(arrow + 2), equation);
    out = with_ellipsis(t, most);
  } else {
    // Implicit: the ellipsis, then every letter that occurs once, in alphabetical order.
    for (std::size_t i = most; i-- > 0;) out.push_back(kEllipsis + static_cast<int>(i));
    std::map<int, int> times;
    for (const Operand& o : operands) {
      for (const int label : o.labels) ++times[label];
    }
    for (const auto& [label, n] : times) {
      if (n == 1 && label < kEllipsis) out.push_back(label);
    }
  }
  // Extents; an axis of extent 1 broadcasts against others and is dropped where another operand has the label.
  std::map<int, std::int64_t> extent;
  for (Operand& o : operands) take_diagonals(b, o);
  for (const Operand& o : operands) {
    for (std::size_t i = 0; i < o.labels.size(); ++i) {
      std::int64_t& e = extent.emplace(o.labels[i], 1).first->second;
      const std::int64_t d = b.dims(o.v)[i];
      ONNXRAY_CHECK(e == d || e == 1 || d == 1, "einsum: an index of '", equation, "' has extents ", e, " and ", d);
      e = e == 1 ? d : e;
    }
  }
  for (Operand& o : operands) {
    Dims d;
    Labels labels;
    for (std::size_t i = 0; i < o.labels.size(); ++i) {
      const std::int64_t own = b.dims(o.v)[i];
      if (own == 1 && extent[o.labels[i]] != 1) continue;
      d.push_back(own);
      labels.push_back(o.labels[i]);
    }
    if (labels.size() != o.labels.size()) o.v = b.reshape(o.v, d);
    o.labels = labels;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    ONNXRAY_CHECK(extent.contains(out[i]) && std::count(out.begin(), out.end(), out[i]) == 1, "einsum: the output of '",
                  equation, "' has a repeated or unknown index");
  }
  while (true) {
    for (std::size_t i = 0; i < operands.size(); ++i) {
      Labels keep = out;
      for (std::size_t j = 0; j < operands.size(); ++j) {
        if (j != i) keep.insert(keep.end(), operands[j].labels.begin(), operands[j].labels.end());
      }
      sum_out(b, operands[i], keep);
    }
    if (operands.size() == 1) break;
    Labels keep = out;
    for (std::size_t j = 2; j < operands.size(); ++j) {
      keep.insert(keep.end(), operands[j].labels.begin(), operands[j].labels.end());
    }
    operands[0] = contract(b, operands[0], operands[1], keep);
    operands.erase(operands.begin() + 1);
  }
  return permuted(b, operands[0], out);
}

}  // namespace onnxray::onnx_import
