#include "onnx_import/tensor_proto.h"

#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <limits>

#include "tests/onnx_import/expect_error.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::onnx_import {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::ModelBuilder;

wire::TensorProto header(DType dtype, const Dims& dims) {
  wire::TensorProto t;
  t.set_data_type(code_of_dtype(dtype));
  t.mutable_dims()->Assign(dims.begin(), dims.end());
  return t;
}

Tensor take(wire::TensorProto t) {
  ExternalFiles none{fs::path()};
  return take_tensor(t, none);
}

TEST(TensorProto, RawDataOfEveryType) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16,
                            DType::i8, DType::u64, DType::u32, DType::u16, DType::u8, DType::boolean}) {
    for (const Dims& dims : {Dims{}, Dims{3}, Dims{0, 4}, Dims{7, 999}}) {
      const Tensor t = Tensor::full(dtype, dims, 1);
      EXPECT_TRUE(take(to_proto(t, "t")).same_bits(t)) << name_of(dtype) << to_string(dims);
    }
  }
}

TEST(TensorProto, TypedFields) {
  wire::TensorProto f = header(DType::f32, {2});
  f.add_float_data(1.5f);
  f.add_float_data(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(take(f).data<float>()[0], 1.5f);
  wire::TensorProto d = header(DType::f64, {1});
  d.add_double_data(0.1);
  EXPECT_EQ(take(d).data<double>()[0], 0.1);
  wire::TensorProto l = header(DType::i64, {});
  l.add_int64_data(std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(take(l).data<std::int64_t>()[0], std::numeric_limits<std::int64_t>::min());
  wire::TensorProto u = header(DType::u64, {1});
  u.add_uint64_data(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(*static_cast<const std::uint64_t*>(take(u).raw()), std::numeric_limits<std::uint64_t>::max());
  for (const DType dtype : {DType::i32, DType::i16, DType::i8}) {
    wire::TensorProto t = header(dtype, {2});
    t.add_int32_data(-5);
    t.add_int32_data(7);
    EXPECT_EQ(take(t).to_ints(), (std::vector<std::int64_t>{-5, 7})) << name_of(dtype);
  }
  for (const DType dtype : {DType::u16, DType::u8, DType::boolean}) {
    wire::TensorProto t = header(dtype, {2});
    t.add_int32_data(0);
    t.add_int32_data(1);
    EXPECT_EQ(take(t).to_ints(), (std::vector<std::int64_t>{0, 1})) << name_of(dtype);
  }
  wire::TensorProto u32 = header(DType::u32, {1});
  u32.add_uint64_data(4000000000u);
  EXPECT_EQ(take(u32).to_ints()[0], 4000000000);
}

// float16 and bfloat16 stand in int32_data as bits.
TEST(TensorProto, HalfBits) {
  wire::TensorProto h = header(DType::f16, {2});
  h.add_int32_data(0x3c00);
  h.add_int32_data(0xc000);
  EXPECT_EQ(take(h).to_doubles(), (std::vector<double>{1, -2}));
  wire::TensorProto b = header(DType::bf16, {1});
  b.add_int32_data(0xbf80);
  EXPECT_EQ(take(b).to_doubles()[0], -1);
}

TEST(TensorProto, BooleansAreZeroOrOne) {
  wire::TensorProto t = header(DType::boolean, {3});
  t.set_raw_data(std::string("\x00\x02\xff", 3));
  const Tensor b = take(t);
  const auto* p = static_cast<const std::uint8_t*>(b.raw());
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(p[1], 1);
  EXPECT_EQ(p[2], 1);
}

TEST(TensorProto, Malformed) {
  wire::TensorProto raw = header(DType::f32, {2});
  raw.set_raw_data("1234567");
  expect_error([&] { (void)take(raw); }, "float32[2] needs 8 bytes, raw_data has 7");
  wire::TensorProto few = header(DType::f32, {2});
  few.add_float_data(1);
  expect_error([&] { (void)take(few); }, "needs 2 values, float_data has 1");
  wire::TensorProto wrong_field = header(DType::i64, {1});
  wrong_field.add_int32_data(1);
  expect_error([&] { (void)take(wrong_field); }, "int64_data has 0");
  expect_error([&] { (void)take(header(DType::f32, {-1})); }, "-1");
  // Nothing of that size may be allocated.
  expect_error([&] { (void)take(header(DType::f32, {std::int64_t{1} << 47})); }, "float_data has 0");
  expect_error([&] { (void)take(header(DType::f32, {std::int64_t{1} << 40, std::int64_t{1} << 40})); }, "");
  expect_error([&] { (void)take(header(DType::f32, Dims(65, 1))); }, "rank 65");
  wire::TensorProto range = header(DType::u8, {1});
  range.add_int32_data(256);
  expect_error([&] { (void)take(range); }, "value 256 does not fit uint8");
  expect_error([&] { (void)take(wire::TensorProto()); }, "no element type");
  wire::TensorProto text;
  text.set_data_type(8);
  expect_error([&] { (void)take(text); }, "a tensor of type STRING", ErrorKind::kUnsupported);
  text.set_data_type(99);
  expect_error([&] { (void)take(text); }, "a tensor of type type 99", ErrorKind::kUnsupported);
  wire::TensorProto parts = header(DType::f32, {1});
  parts.mutable_segment()->set_begin(0);
  expect_error([&] { (void)take(parts); }, "segments", ErrorKind::kUnsupported);
  ModelBuilder m;
  *m.graph().add_initializer() = raw;
  m.graph().mutable_initializer(0)->set_name("w");
  expect_error([&] { (void)m.load(); }, "initializer 'w': float32[2] needs");
}

class ExternalData : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) / ("onnxray_external_" + std::to_string(::getpid()));
    fs::create_directories(root_ / "model" / "sub");
    write(root_ / "model" / "w.bin", std::string("\0\0\x80\x3f\0\0\0\x40\x01\x02", 10));  // 1.0f 2.0f and two bytes
    write(root_ / "secret.bin", std::string(8, 'x'));
  }
  void TearDown() override { fs::remove_all(root_); }

  static void write(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
  static void entry(wire::TensorProto& t, const std::string& key, const std::string& value) {
    auto& e = *t.add_external_data();
    e.set_key(key);
    e.set_value(value);
  }
  static wire::TensorProto at(const std::string& location, DType dtype = DType::f32, const Dims& dims = {2}) {
    wire::TensorProto t = header(dtype, dims);
    t.set_data_location(1);
    entry(t, "location", location);
    return t;
  }
  Tensor read(wire::TensorProto t) {
    ExternalFiles files(root_ / "model");
    return take_tensor(t, files);
  }

  fs::path root_;
};

TEST_F(ExternalData, IsReadAndOutlivesTheReader) {
  const Tensor t = read(at("w.bin"));
  EXPECT_EQ(t.to_doubles(), (std::vector<double>{1, 2}));
  wire::TensorProto second = at("./w.bin", DType::f32, {1});
  entry(second, "offset", "4");
  entry(second, "length", "4");
  EXPECT_EQ(read(second).to_doubles()[0], 2);
  wire::TensorProto unaligned = at("w.bin", DType::i16, {2});
  entry(unaligned, "offset", "5");
  EXPECT_EQ(read(unaligned).to_ints(), (std::vector<std::int64_t>{0, 0x140}));
  wire::TensorProto truth = at("w.bin", DType::boolean, {2});
  entry(truth, "offset", "8");
  EXPECT_EQ(*(static_cast<const std::uint8_t*>(read(truth).raw()) + 1), 1);
  EXPECT_EQ(read(at("w.bin", DType::f32, {0})).size(), 0);
  fs::create_symlink(root_ / "model" / "w.bin", root_ / "model" / "sub" / "link.bin");
  EXPECT_EQ(read(at("sub/link.bin")).to_doubles()[1], 2);
}

TEST_F(ExternalData, StaysInsideTheFolder) {
  expect_error([&] { (void)read(at((root_ / "secret.bin").string())); }, "is an absolute path");
  expect_error([&] { (void)read(at("../secret.bin")); }, "leaves the model's folder");
  expect_error([&] { (void)read(at("sub/../../secret.bin")); }, "leaves the model's folder");
  fs::create_symlink(root_ / "secret.bin", root_ / "model" / "link.bin");
  expect_error([&] { (void)read(at("link.bin")); }, "is a link that leaves the model's folder");
  fs::create_directory_symlink(root_, root_ / "model" / "up");
  expect_error([&] { (void)read(at("up/secret.bin")); }, "is a link that leaves the model's folder");
  expect_error([&] { (void)read(at(std::string("w.bin\0/x", 8))); }, "without a location");
  expect_error([&] { (void)read(at("")); }, "without a location");
  expect_error([&] { (void)take(at("w.bin")); }, "not read from a file");
}

TEST_F(ExternalData, Malformed) {
  expect_error([&] { (void)read(at("none.bin")); }, "cannot open external data 'none.bin'");
  expect_error([&] { (void)read(at("sub")); }, "is a folder");
  expect_error([&] { (void)read(at("w.bin", DType::f32, {3})); }, "external data 'w.bin' has 10 bytes");
  expect_error([&] { (void)read(at("w.bin", DType::f32, {std::int64_t{1} << 46})); }, "has 10 bytes");
  for (const char* offset : {"4", "18446744073709551615", "11"}) {
    wire::TensorProto t = at("w.bin");
    entry(t, "offset", offset);
    expect_error([&] { (void)read(t); }, "are asked for");
  }
  for (const char* offset : {"", "-1", "4x", "99999999999999999999"}) {
    wire::TensorProto t = at("w.bin");
    entry(t, "offset", offset);
    expect_error([&] { (void)read(t); }, "is not a number");
  }
  wire::TensorProto length = at("w.bin");
  entry(length, "length", "4");
  expect_error([&] { (void)read(length); }, "external data of 4 bytes, but float32[2] has 8");
}

}  // namespace
}  // namespace onnxray::onnx_import
