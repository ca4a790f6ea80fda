"""Procedural landscapes with a tank or a truck, and exact object masks.

`scene(seed, vehicle, sky)` draws one picture: a sky (clear or cloudy, in varied
light), hills, ground, trees, rocks and one vehicle.  Everything is drawn at
`oversample` times the wanted size and averaged down, which gives smooth edges.
The same seed always gives the same picture.

Mask codes: 0 none, 1 sky, 2 vehicle, 3 ground.  Hills, trees, rocks and the
shadow below the vehicle count as ground.  A pixel gets the code that covers most
of it.

Run as a script it writes a contact sheet: python scenes.py sheet.png
"""

import sys

import numpy as np
from PIL import Image, ImageDraw

import vehicles
from vehicles import tone

SKY, VEHICLE, GROUND = 1, 2, 3

# (top of the sky, sky at the horizon, lit side of clouds, shaded side of clouds)
LIGHTS = [
    ((62, 118, 190), (176, 208, 230), (250, 250, 248), (142, 154, 172)),    # noon
    ((96, 146, 198), (206, 220, 226), (248, 246, 240), (150, 156, 166)),    # pale morning
    ((44, 92, 164), (150, 194, 222), (252, 252, 252), (126, 142, 168)),     # deep blue
    ((120, 142, 166), (202, 206, 206), (240, 240, 238), (126, 132, 142)),   # hazy
    ((104, 124, 176), (246, 206, 160), (255, 226, 196), (132, 116, 140)),   # evening gold
    ((112, 112, 166), (240, 190, 180), (252, 214, 206), (116, 104, 140)),   # evening rose
    ((74, 134, 170), (198, 222, 214), (244, 248, 244), (128, 148, 156)),    # sea green
]

# (near ground, far ground, foliage)
LANDS = [
    ((104, 122, 62), (140, 150, 92), (58, 84, 44)),      # meadow
    ((128, 128, 72), (160, 154, 100), (74, 92, 48)),     # late summer
    ((150, 126, 82), (180, 158, 114), (90, 98, 58)),     # steppe
    ((86, 108, 58), (124, 140, 88), (44, 70, 42)),       # wet green
    ((172, 148, 104), (198, 178, 136), (96, 102, 64)),   # sand
]

CAMOUFLAGE = [None, (52, 44, 32), (46, 50, 40), (110, 98, 66)]


def smooth_noise(rng, height, width, cells_y, cells_x, octaves=4, fade=0.5):
    """A sum of smooth random fields, about zero mean and unit range."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for k in range(octaves):
        grid = rng.uniform(-1, 1, (max(2, round(cells_y * 2 ** k)) + 1,
                                   max(2, round(cells_x * 2 ** k)) + 1)).astype(np.float32)
        field = Image.fromarray(grid).resize((width, height), Image.BICUBIC)
        total += weight * np.asarray(field)
        weight *= fade
    return total


def smoothstep(low, high, value):
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def clear_sky(rng, light, height, width):
    """A gradient from the top of the sky to the horizon, sometimes with a sun glow."""
    top, low = np.array(light[0], np.float32), np.array(light[1], np.float32)
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** rng.uniform(0.8, 1.5)
    sky = top * (1 - t) + low * t
    sky = np.repeat(sky, width, axis=1)
    if rng.random() < 0.5:
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.25, 0.95) * height
        yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
        d2 = ((xx - x) ** 2 + (yy - y) ** 2) / (0.42 * width) ** 2
        glow = (0.45 * np.exp(-3.0 * d2))[..., None]
        disc = (1 - smoothstep(0.0058, 0.0074, d2))[..., None] * 0.9
        for alpha in (glow, disc):
            sky = sky * (1 - alpha) + np.array([255, 246, 222], np.float32) * alpha
    return sky


def add_clouds(rng, light, sky):
    """Cumulus or overcast clouds over a clear sky, flatter towards the horizon."""
    height, width = sky.shape[:2]
    overcast = rng.random() < 0.4
    cells = rng.uniform(2.2, 3.6)
    field = smooth_noise(rng, height * 2, width, cells * 1.8, cells, octaves=5, fade=0.55)
    # Perspective: rows near the horizon step faster through the noise field.
    t = np.linspace(0, 1, height)
    rows = np.clip((t ** 1.7) * 0.8 + 0.2 * t, 0, 1) * (2 * height - 1)
    rows = rows.astype(int)
    field = field[rows]
    # Light from above: compare the field with itself a little higher up.
    lift = max(2, height // 14)
    above = np.concatenate([np.repeat(field[:1], lift, axis=0), field[:-lift]], axis=0)
    relief = np.clip(0.5 + 0.75 * (field - above), 0, 1)
    level = rng.uniform(-0.75, -0.45) if overcast else rng.uniform(-0.15, 0.1)
    cover = smoothstep(level, level + 0.32, field)[..., None]
    depth = smoothstep(level, level + 1.5, field)
    shade = np.clip(relief * 1.05 - 0.35 * depth + (0.02 if overcast else 0.2), 0, 1)[..., None]
    lit, dim = np.array(light[2], np.float32), np.array(light[3], np.float32)
    if overcast:
        lit, dim = lit * 0.92, dim * 0.80
    cloud = dim * (1 - shade) + lit * shade
    haze = (0.35 * t ** 3)[:, None, None]
    cover = cover * (1 - haze)
    return sky * (1 - cover) + cloud * cover


def draw_conifer(pen, x, y, h, colour, rng):
    """A fir: trunk and four tiers with a lit left side."""
    pen.rectangle([x - 0.03 * h, y - 0.15 * h, x + 0.03 * h, y], fill=(70, 54, 40))
    for k in range(4):
        base = y - h * (0.10 + 0.20 * k)
        wide = h * (0.24 - 0.045 * k) * rng.uniform(0.92, 1.08)
        tip = base - h * 0.34
        pen.polygon([(x - wide, base), (x, tip), (x + wide, base)], fill=tone(colour, 0.80))
        pen.polygon([(x - wide, base), (x, tip), (x - 0.1 * wide, base)], fill=tone(colour, 1.12))


def draw_leafy(pen, x, y, h, colour, rng):
    """A round tree: trunk and a crown of discs, dark ones first, lit ones on top."""
    pen.rectangle([x - 0.04 * h, y - 0.45 * h, x + 0.04 * h, y], fill=(78, 62, 46))
    discs = [(rng.uniform(-0.2, 0.2), rng.uniform(0.42, 0.85), rng.uniform(0.13, 0.2))
             for _ in range(9)]
    for factor, shift in ((0.78, 0.0), (1.0, 0.05), (1.22, 0.10)):
        for dx, dy, r in discs:
            r *= 1.0 - 2.6 * shift
            cx, cy = x + (dx - shift * 0.6) * h, y - (dy + shift * 0.7) * h
            pen.ellipse([cx - r * h, cy - r * h, cx + r * h, cy + r * h], fill=tone(colour, factor))


def draw_rock(pen, x, y, r, rng):
    """A stone with a lit top face."""
    grey = tone((124, 118, 108), rng.uniform(0.8, 1.15))
    pen.polygon([(x - r, y), (x - 0.8 * r, y - 0.5 * r), (x - 0.2 * r, y - 0.85 * r),
                 (x + 0.55 * r, y - 0.6 * r), (x + r, y)], fill=tone(grey, 0.78))
    pen.polygon([(x - 0.8 * r, y - 0.5 * r), (x - 0.2 * r, y - 0.85 * r),
                 (x + 0.55 * r, y - 0.6 * r), (x + 0.1 * r, y - 0.40 * r)], fill=tone(grey, 1.2))


class Painter:
    """Draws shapes into the picture and into the land mask at the same time."""

    def __init__(self, picture, land):
        self.pens = (ImageDraw.Draw(picture), ImageDraw.Draw(land))

    def _both(self, name, shape, fill):
        getattr(self.pens[0], name)(shape, fill=fill)
        getattr(self.pens[1], name)(shape, fill=255)

    def polygon(self, shape, fill):
        self._both("polygon", shape, fill)

    def rectangle(self, shape, fill):
        self._both("rectangle", shape, fill)

    def ellipse(self, shape, fill):
        self._both("ellipse", shape, fill)


def paint_land(rng, canvas, land_mask, light, land, horizon):
    """Far hills, then the ground with soft patches; returns the float picture."""
    n = canvas.shape[0]
    near, far, _ = (np.array(c, np.float32) for c in land)
    haze = np.array(light[1], np.float32)
    columns = np.arange(n)
    for layer in range(2):
        ridge = smooth_noise(rng, 2, n, 1, rng.uniform(2, 5), octaves=3)[0]
        top = horizon - n * (0.055 - 0.03 * layer) + ridge * n * (0.018 - 0.006 * layer)
        inside = np.arange(n)[:, None] >= top[columns][None, :]
        mix = 0.55 - 0.25 * layer
        canvas[inside] = (far * 0.72) * (1 - mix) + haze * mix
        land_mask |= inside
    first = int(horizon)
    rows = n - first
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    ground = far * (1 - t) + near * t
    patches = smooth_noise(rng, rows, n, 5, 3, octaves=5, fade=0.7)[..., None]
    ground = np.repeat(ground, n, axis=1) * (1 + 0.045 * patches)
    grain = smooth_noise(rng, rows, n, 60, 40, octaves=2)[..., None]
    ground *= 1 + 0.03 * grain * (0.3 + t)
    canvas[first:] = np.clip(ground, 0, 255)
    land_mask[first:] = True


def plant(rng, painter, land, n, horizon, keep_clear):
    """Trees along the horizon and nearer ones, stones on the ground."""
    leaf = land[2]
    conifers = rng.random() < 0.5
    tree = draw_conifer if conifers else draw_leafy
    for _ in range(int(rng.integers(0, 9))):            # far wood
        x = rng.uniform(0, n)
        h = n * rng.uniform(0.035, 0.07)
        tree(painter, x, horizon + n * 0.004, h, tone(leaf, rng.uniform(1.05, 1.3)), rng)
    spots = sorted(rng.uniform(0.01, 0.09, int(rng.integers(0, 4))))
    for depth in spots:                                 # nearer trees, back to front
        x = rng.uniform(0, n)
        h = n * (0.11 + 1.0 * depth) * rng.uniform(0.8, 1.2)
        if keep_clear[0] - 0.24 * h < x < keep_clear[1] + 0.24 * h:
            continue
        tree(painter, x, horizon + n * depth, h, tone(leaf, rng.uniform(0.85, 1.15)), rng)
    for _ in range(int(rng.integers(0, 5))):
        depth = rng.uniform(0.15, 0.95)
        x, y = rng.uniform(0, n), horizon + (n - horizon) * depth
        draw_rock(painter, x, y, n * (0.008 + 0.022 * depth) * rng.uniform(0.7, 1.4), rng)


def scene(seed, vehicle, sky, size=96, oversample=4):
    """Draw one picture.

    vehicle: "tank", "truck" or None; sky: "clear" or "cloudy".
    Returns (picture uint8 [size, size, 3], mask uint8 [size, size]).
    """
    rng = np.random.default_rng(seed)
    n = size * oversample
    horizon = round(n * rng.uniform(0.50, 0.60))
    light = LIGHTS[int(rng.integers(len(LIGHTS)))]
    land = LANDS[int(rng.integers(len(LANDS)))]
    gain = rng.uniform(0.9, 1.06)

    canvas = np.zeros((n, n, 3), np.float32)
    backdrop = clear_sky(rng, light, horizon, n)
    clouds = np.random.default_rng(rng.integers(2 ** 31))   # own stream: same land either way
    canvas[:horizon] = add_clouds(clouds, light, backdrop) if sky == "cloudy" else backdrop
    land_mask = np.zeros((n, n), bool)
    paint_land(rng, canvas, land_mask, light, land, horizon)

    scale = n * rng.uniform(0.36, 0.45)
    x = n * rng.uniform(0.36, 0.64)
    y = horizon + (n - horizon) * rng.uniform(0.50, 0.78)
    facing = 1 if rng.random() < 0.5 else -1
    tilt = rng.uniform(-0.05, 0.05)
    if vehicle == "tank":                                   # leave room for the gun
        x -= facing * 0.14 * scale

    # A soft contact shadow below the vehicle.
    if vehicle:
        yy, xx = np.mgrid[horizon:n, 0:n].astype(np.float32)
        d2 = ((xx - x) / (0.56 * scale)) ** 2 + ((yy - y) / (0.055 * scale)) ** 2
        canvas[horizon:] *= 1 - 0.5 * np.exp(-1.5 * d2 ** 1.5)[..., None]

    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    land_image = Image.fromarray(land_mask.astype(np.uint8) * 255)
    plant(rng, Painter(picture, land_image), land, n, horizon,
          (x - 0.7 * scale, x + 0.7 * scale) if vehicle else (n, 0))

    mask_image = vehicles.blank_mask(n, n)
    camouflage = CAMOUFLAGE[int(rng.integers(len(CAMOUFLAGE)))]
    if vehicle:
        civil = vehicles.draw(vehicle, picture, mask_image, rng, x, y, scale, facing, tilt)
        if civil:
            camouflage = None
    canvas = np.asarray(picture, np.float32).copy()
    vehicle_mask = np.asarray(mask_image) > 0
    if vehicle:
        noise = smooth_noise(rng, n, n, 14, 12, octaves=2)
        vehicles.finish(canvas, vehicle_mask, noise, camouflage)
    land_mask = np.asarray(land_image) > 0

    def shrink(a):
        return a.reshape(size, oversample, size, oversample, -1).mean(axis=(1, 3))

    small = np.clip(shrink(canvas) * gain, 0, 255)
    cover_vehicle = shrink(vehicle_mask.astype(np.float32))[..., 0]
    cover_land = shrink((land_mask & ~vehicle_mask).astype(np.float32))[..., 0]
    cover_sky = 1 - cover_vehicle - cover_land
    code = np.array([SKY, VEHICLE, GROUND], np.uint8)
    mask = code[np.argmax(np.stack([cover_sky, cover_vehicle, cover_land]), axis=0)]
    return np.round(small).astype(np.uint8), mask


def contact_sheet(path, columns=6, rows=4, size=96, zoom=2):
    """Write a sheet of sample pictures: tanks above, trucks below, skies alternating."""
    sheet = Image.new("RGB", (columns * size * zoom, rows * size * zoom))
    for k in range(columns * rows):
        vehicle = "tank" if k < columns * rows // 2 else "truck"
        picture, _ = scene(1000 + k, vehicle, "cloudy" if k % 2 == 0 else "clear", size)
        tile = Image.fromarray(picture).resize((size * zoom, size * zoom), Image.LANCZOS)
        sheet.paste(tile, (k % columns * size * zoom, k // columns * size * zoom))
    sheet.save(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scenes.py sheet.png")
    contact_sheet(sys.argv[1])
