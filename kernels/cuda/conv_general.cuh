// Convolutions of any layout, dtype and grouping as plain matrix products over a gather.
#pragma once
#include "kernels/cuda/conv_axis.cuh"
#include "kernels/cuda/general.cuh"

namespace onnxray::cuda {
namespace {

// Element steps of [batch, groups * channels, d, h, w] in either layout.
struct ConvLayout {
  long long image, channel, d, h, w;
};
ONNXRAY_HOST_DEVICE ConvLayout conv_layout(const ConvShape& s, bool of_x) {
  const long long channels = static_cast<long long>(s.groups) * (of_x ? s.x_channels : s.y_channels);
  const long long d = of_x ? s.axis[0].x : s.axis[0].y, h = of_x ? s.axis[1].x : s.axis[1].y;
  const long long w = of_x ? s.axis[2].x : s.axis[2].y;
  if (s.channels_last) return {d * h * w * channels, 1, h * w * channels, w * channels, channels};
  return {d * h * w * channels, d * h * w, h * w, w, 1};
}

// Batches: groups. Rows: images and positions of one class, columns: output channels, depth: (channel, tap).
template <class T>
struct ConvProduct {
  long long batches, rows, columns, depth;
  ConvShape shape;
  GatherAxis d, h, w;
  ConvLayout in_layout, out_layout;
  const T* in;
  const T* weights;
  T* out;
  Epilogue<T> epilogue;

  ONNXRAY_DEVICE T a(long long group, long long row, long long k) const {
    const long long taps = static_cast<long long>(d.taps) * h.taps * w.taps;
    const long long tap = k % taps, channel = k / taps + group * (depth / taps);
    const long long sw = w.base + row % w.count * w.in_step + tap % w.taps * w.base_step;
    const long long sh = h.base + row / w.count % h.count * h.in_step + tap / w.taps % h.taps * h.base_step;
    const long long sd = d.base + row / w.count / h.count % d.count * d.in_step + tap / w.taps / h.taps * d.base_step;
    const long long image = row / w.count / h.count / d.count;
    if (sw < 0 || sw >= w.in_extent || sh < 0 || sh >= h.in_extent || sd < 0 || sd >= d.in_extent) return T{0};
    return in[image * in_layout.image + channel * in_layout.channel + sd * in_layout.d + sh * in_layout.h +
              sw * in_layout.w];
  }
  ONNXRAY_DEVICE T b(long long group, long long k, long long column) const {
    const long long taps = static_cast<long long>(d.taps) * h.taps * w.taps, tap = k % taps, channel = k / taps;
    const long long tw = w.tap_first + tap % w.taps * w.tap_step, th = h.tap_first + tap / w.taps % h.taps * h.tap_step;
    const long long td = d.tap_first + tap / w.taps / h.taps * d.tap_step;
    const long long kernel = static_cast<long long>(shape.axis[0].kernel) * shape.axis[1].kernel * shape.axis[2].kernel;
    const long long flat = (td * shape.axis[1].kernel + th) * shape.axis[2].kernel + tw;
    const long long y_channel = group * shape.y_channels + (shape.backward ? channel : column);
    return weights[(y_channel * shape.x_channels + (shape.backward ? column : channel)) * kernel + flat];
  }
  ONNXRAY_DEVICE void store(long long group, long long row, long long column, T v) const {
    const long long channel = group * columns + column;
    const long long ow = w.first + row % w.count * w.out_step, oh = h.first + row / w.count % h.count * h.out_step;
    const long long od = d.first + row / w.count / h.count % d.count * d.out_step,
                    image = row / w.count / h.count / d.count;
    const long long at = image * out_layout.image + channel * out_layout.channel + od * out_layout.d +
                         oh * out_layout.h + ow * out_layout.w;
    out[at] = finish(v, epilogue, channel, at);
  }
};

// Batches: groups. Rows: output channels, columns: (input channel, tap), depth: images and positions.
template <class T>
struct WeightGradProduct {
  long long batches, rows, columns, depth;
  ConvShape shape;
  GatherAxis d, h, w;
  ConvLayout x_layout, y_layout;
  const T* x;
  const T* dy;
  T* dw;

  ONNXRAY_DEVICE T a(long long group, long long row, long long k) const {
    const long long ow = k % w.count, oh = k / w.count % h.count, od = k / w.count / h.count % d.count;
    return dy[k / w.count / h.count / d.count * y_layout.image + (group * rows + row) * y_layout.channel +
              od * y_layout.d + oh * y_layout.h + ow * y_layout.w];
  }
  ONNXRAY_DEVICE T b(long long group, long long k, long long column) const {
    const long long taps = static_cast<long long>(d.taps) * h.taps * w.taps, tap = column % taps;
    const long long channel = group * shape.x_channels + column / taps;
    const long long sw = w.base + k % w.count * w.in_step + tap % w.taps * w.base_step;
    const long long sh = h.base + k / w.count % h.count * h.in_step + tap / w.taps % h.taps * h.base_step;
    const long long sd = d.base + k / w.count / h.count % d.count * d.in_step + tap / w.taps / h.taps * d.base_step;
    if (sw < 0 || sw >= w.in_extent || sh < 0 || sh >= h.in_extent || sd < 0 || sd >= d.in_extent) return T{0};
    return x[k / w.count / h.count / d.count * x_layout.image + channel * x_layout.channel + sd * x_layout.d +
             sh * x_layout.h + sw * x_layout.w];
  }
  ONNXRAY_DEVICE void store(long long group, long long row, long long column, T v) const {
    dw[(group * rows + row) * columns + column] = v;
  }
};

}  // namespace

template <class T>
void run_conv_general(const ConvShape& s, const T* in, const T* w, T* out, const Epilogue<T>& epilogue, Stream stream) {
  ConvProduct<T> p{};
  p.shape = s;
  p.batches = s.groups;
  p.columns = s.backward ? s.x_channels : s.y_channels;
  p.in_layout = conv_layout(s, !s.backward);
  p.out_layout = conv_layout(s, s.backward);
  p.in = in;
  p.weights = w;
  p.out = out;
  p.epilogue = epilogue;
  const long long source = s.backward ? s.y_channels : s.x_channels;
  for (int d = 0; d < class_count(s.axis[0], s.backward); ++d) {
    for (int h = 0; h < class_count(s.axis[1], s.backward); ++h) {
      for (int v = 0; v < class_count(s.axis[2], s.backward); ++v) {
        p.d = gather_axis(s.axis[0], s.backward, d);
        p.h = gather_axis(s.axis[1], s.backward, h);
        p.w = gather_axis(s.axis[2], s.backward, v);
        p.rows = static_cast<long long>(s.batch) * p.d.count * p.h.count * p.w.count;
        p.depth = source * p.d.taps * p.h.taps * p.w.taps;
        if (p.rows > 0) run_general<T>(p, stream);
      }
    }
  }
  if (epilogue.out_bits != nullptr) {
    long long elements = s.batch * s.groups * p.columns;
    for (const ConvAxis& a : s.axis) elements *= s.backward ? a.x : a.y;
    launch_pack_mask<T>(out, epilogue.out_bits, elements, stream);
  }
}

template <class T>
void run_conv_weight_grad(const ConvShape& s, const T* x, const T* dy, T* dw, Stream stream) {
  WeightGradProduct<T> p{};
  p.shape = s;
  p.batches = s.groups;
  p.d = gather_axis(s.axis[0], false, 0);
  p.h = gather_axis(s.axis[1], false, 0);
  p.w = gather_axis(s.axis[2], false, 0);
  p.rows = s.y_channels;
  p.columns = static_cast<long long>(s.x_channels) * p.d.taps * p.h.taps * p.w.taps;
  p.depth = s.batch * p.d.count * p.h.count * p.w.count;
  p.x_layout = conv_layout(s, true);
  p.y_layout = conv_layout(s, false);
  p.x = x;
  p.dy = dy;
  p.dw = dw;
  run_general<T>(p, stream);
}

template void run_conv_general(const ConvShape&, const float*, const float*, float*, const Epilogue<float>&, Stream);
template void run_conv_general(const ConvShape&, const double*, const double*, double*, const Epilogue<double>&,
                               Stream);
template void run_conv_weight_grad(const ConvShape&, const float*, const float*, float*, Stream);
template void run_conv_weight_grad(const ConvShape&, const double*, const double*, double*, Stream);

}  // namespace onnxray::cuda
