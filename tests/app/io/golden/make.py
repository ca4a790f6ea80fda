#!/usr/bin/env python3
"""Writes the small pictures and arrays beside it that the tests of app/io compare with; needs Pillow and NumPy.

Made with Pillow 9.4.0 and NumPy 1.24.2. picture.png is the source of the others.
"""
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).resolve().parent
rng = np.random.default_rng(1)
h, w = 47, 61
y, x = np.mgrid[0:h, 0:w]
rgb = np.stack([128 + 100 * np.sin(x / 5 + y / 9), 4 * x, 255 - 5 * y], -1) + rng.normal(0, 12, (h, w, 3))
rgb = np.clip(rgb, 0, 255).astype(np.uint8)
picture = Image.fromarray(rgb)
picture.save(here / "picture.png")
for name, size in {"smaller": (23, 17), "larger": (100, 83), "mixed": (30, 80)}.items():
    picture.resize(size, Image.BILINEAR).save(here / f"picture_{name}.png")

small = picture.resize((9, 7), Image.BILINEAR)
small.save(here / "rgb.png")
small.convert("L").save(here / "grey.png")
palette = small.convert("P", palette=Image.ADAPTIVE, colors=16)
palette.save(here / "palette.png", bits=4)
palette.convert("RGB").save(here / "palette_rgb.png")
alpha = np.linspace(0, 255, 63).astype(np.uint8).reshape(7, 9)
rgba = np.dstack([np.asarray(small), alpha])
Image.fromarray(rgba).save(here / "rgba.png")
Image.fromarray(np.dstack([np.asarray(small.convert("L")), alpha]), "LA").save(here / "grey_alpha.png")
Image.fromarray((np.asarray(small.convert("L")).astype(np.uint16) * 257)).save(here / "grey16.png")
small.convert("1").save(here / "bilevel.png")

# Interlaced by Adam7, which Pillow does not write.
raw = np.asarray(small)
data = b""
for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
    part = raw[y0::dy, x0::dx]
    if part.size:
        data += b"".join(b"\0" + row.tobytes() for row in part)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ihdr = struct.pack(">IIBBBBB", 9, 7, 8, 2, 0, 0, 1)
(here / "interlaced.png").write_bytes(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))

picture.save(here / "picture.jpg", quality=90)
picture.convert("L").save(here / "grey.jpg", quality=90)
picture.convert("CMYK").save(here / "cmyk.jpg", quality=90)
picture.save(here / "progressive.jpg", quality=90, progressive=True)
for name in ["picture", "grey", "cmyk", "progressive"]:
    Image.open(here / f"{name}.jpg").convert("RGB").save(here / f"{name}_jpg.png")

a = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7
np.save(here / "fortran_f4.npy", np.asfortranarray(a))
np.save(here / "half.npy", a[0].astype(np.float16))
np.save(here / "bool.npy", a[0] > 0.5)
np.save(here / "int64.npy", np.array([-5, 2**62], dtype=np.int64))
np.save(here / "scalar_u2.npy", np.array(65535, dtype=np.uint16))
np.save(here / "empty.npy", np.zeros((0, 3), dtype=np.float64))
np.save(here / "big_endian.npy", a.astype(">f4"))
with open(here / "version3.npy", "wb") as f:
    np.lib.format.write_array(f, a, version=(3, 0))
