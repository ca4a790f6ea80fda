"""Draw the shipped pictures and their masks from fixed seeds.

Writes pictures/NAME.png (RGB) and pictures/NAME_mask.png (8-bit, one channel:
0 none, 1 sky, 2 vehicle, 3 ground).  The seeds lie outside the range that
train.py uses.  Usage: python make_pictures.py
"""

import pathlib

from PIL import Image

from scenes import scene

PICTURES = pathlib.Path(__file__).resolve().parent / "pictures"

# name: (seed, vehicle, sky)
SHIPPED = {
    "tank_0": (2, "tank", "cloudy"),
    "tank_1": (9, "tank", "cloudy"),
    "tank_2": (18, "tank", "cloudy"),
    "tank_3": (35, "tank", "cloudy"),
    "tank_4": (27, "tank", "cloudy"),
    "truck_0": (52, "truck", "clear"),
    "truck_1": (53, "truck", "clear"),
    "tank_clear_sky": (56, "tank", "clear"),
    "truck_cloudy_sky": (75, "truck", "cloudy"),
}


def main():
    PICTURES.mkdir(exist_ok=True)
    for name, (seed, vehicle, sky) in SHIPPED.items():
        picture, mask = scene(seed, vehicle, sky)
        Image.fromarray(picture).save(PICTURES / f"{name}.png", optimize=True)
        Image.fromarray(mask).save(PICTURES / f"{name}_mask.png", optimize=True)
        parts = ", ".join(f"{label} {(mask == code).mean():.3f}"
                          for code, label in ((1, "sky"), (2, "vehicle"), (3, "ground")))
        print(f"{name}: seed {seed}, area shares {parts}")


if __name__ == "__main__":
    main()
