#include "kernels/cpu/onednn/onednn.h"

#include <new>

namespace onnxray::cpu::onednn {

const dnnl::engine& engine() {
  static const dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

Md strided(const MdDims& dims, const MdDims& strides) { return {dims, dnnl::memory::data_type::f32, strides}; }

Md any(const MdDims& dims) { return {dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any}; }

dnnl::memory memory(const Md& md, const void* data) { return {md, engine(), const_cast<void*>(data)}; }

Reorder::Reorder(const Md& from, const Md& to, Scratch& scratch) : from_(from), to_(to) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::reorder::primitive_desc pd(engine(), from, engine(), to, attr);
  pad_ = pd.scratchpad_desc();
  pad_at_ = scratch.take(pad_.get_size());
  primitive_ = dnnl::reorder(pd);
}

void Reorder::run(dnnl::stream& s, const void* from, void* to, std::byte* scratch) const {
  dnnl::memory a = memory(from_, from), b = memory(to_, to);
  primitive_.execute(s, {{DNNL_ARG_FROM, a}, {DNNL_ARG_TO, b}, {DNNL_ARG_SCRATCHPAD, memory(pad_, scratch + pad_at_)}});
}

std::shared_ptr<const Packed> pack(const Md& from, const void* data, const Md& to) {
  return guarded("packing weights", [&] {
    const auto allocate = [](std::size_t bytes) {
      return std::shared_ptr<std::byte>(
          static_cast<std::byte*>(::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{64})),
          [](std::byte* p) { ::operator delete (p, std::align_val_t{64}); });
    };
    auto packed = std::make_shared<Packed>();
    packed->data = allocate(to.get_size());
    Scratch scratch;
    const Reorder reorder(from, to, scratch);
    const std::shared_ptr<std::byte> pad = allocate(scratch.bytes());
    dnnl::stream s(engine());
    reorder.run(s, data, packed->data.get(), pad.get());
    s.wait();
    return packed;
  });
}

std::string layout_key(const Md& md) {
  const auto* bytes = reinterpret_cast<const char*>(&md.data);
  return {bytes, sizeof(md.data)};
}

Weights::Weights(const PrepareCtx& c, std::size_t i, const Md& user, const Md& wanted, Scratch& scratch,
                 Transform transform) {
  if (user == wanted && !transform.apply) return;
  if (const Tensor t = c.constant(i); t.defined()) {
    packed_ = c.prepared<Packed>(i, "onednn " + transform.key + layout_key(user) + layout_key(wanted), [&] {
      const void* data = t.raw();
      std::vector<float> transformed;
      if (transform.apply) {
        transformed.resize(static_cast<std::size_t>(transform.elements));
        transform.apply(static_cast<const float*>(data), transformed.data());
        data = transformed.data();
      }
      return pack(user, data, wanted);
    });
    return;
  }
  transform_ = std::move(transform);
  if (transform_.apply) {
    transformed_at_ = scratch.take(static_cast<std::size_t>(transform_.elements) * sizeof(float));
  }
  at_ = scratch.take(wanted.get_size());
  reorder_.emplace(user, wanted, scratch);
}

const void* Weights::get(dnnl::stream& s, const void* input, std::byte* scratch) const {
  if (packed_) return packed_->data.get();
  if (!reorder_) return input;
  if (transform_.apply) {
    auto* to = reinterpret_cast<float*>(scratch + transformed_at_);
    transform_.apply(static_cast<const float*>(input), to);
    input = to;
  }
  reorder_->run(s, input, scratch + at_, scratch);
  return scratch + at_;
}

}  // namespace onnxray::cpu::onednn
