"""Side views of tanks and trucks, drawn with Pillow polygons.

Everything is drawn in vehicle units: the hull is 1 long (x from -0.5 to 0.5),
y points up and y = 0 is the ground the vehicle stands on.  A `Pen` maps these
units to pixels (position, scale, facing direction, tilt) and paints every
shape twice: into the colour picture and into the vehicle mask, so the mask is
exact by construction.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

# Paint shared by both kinds of vehicle, so that colour alone does not tell them apart.
FIELD_PAINT = [(74, 80, 52), (60, 68, 48), (88, 84, 58), (66, 70, 66), (96, 86, 60),
               (54, 58, 46), (78, 72, 50), (58, 64, 62)]
CIVIL_PAINT = [(150, 52, 42), (48, 78, 122), (168, 132, 54), (120, 122, 120), (56, 104, 92)]
RUBBER = (34, 33, 32)


def tone(colour, factor):
    """The colour made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(int(min(255, max(0, round(c * factor)))) for c in colour)


class Pen:
    """Draws shapes given in vehicle units into a picture and a mask."""

    def __init__(self, picture, mask, x, y, scale, facing=1, tilt=0.0):
        self.picture = ImageDraw.Draw(picture)
        self.mask = ImageDraw.Draw(mask)
        self.x, self.y, self.scale, self.facing = x, y, scale, facing
        self.cos, self.sin = math.cos(tilt), math.sin(tilt)

    def at(self, px, py):
        """Pixel position of one point."""
        px *= self.facing
        return (self.x + self.scale * (px * self.cos - py * self.sin),
                self.y - self.scale * (px * self.sin + py * self.cos))

    def poly(self, points, colour):
        pixels = [self.at(*p) for p in points]
        self.picture.polygon(pixels, fill=colour)
        self.mask.polygon(pixels, fill=255)

    def rect(self, x0, y0, x1, y1, colour):
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, x, y, radius, colour):
        cx, cy = self.at(x, y)
        r = radius * self.scale
        box = [cx - r, cy - r, cx + r, cy + r]
        self.picture.ellipse(box, fill=colour)
        self.mask.ellipse(box, fill=255)

    def line(self, points, colour, width):
        pixels = [self.at(*p) for p in points]
        w = max(1, round(width * self.scale))
        self.picture.line(pixels, fill=colour, width=w, joint="curve")
        self.mask.line(pixels, fill=255, width=w, joint="curve")


def wheel(pen, x, y, radius, paint, spokes=0):
    """A wheel with tyre, rim and hub."""
    pen.disc(x, y, radius, RUBBER)
    pen.disc(x, y, radius * 0.66, tone(paint, 0.72))
    pen.disc(x, y + radius * 0.08, radius * 0.52, tone(paint, 0.95))
    for k in range(spokes):
        a = 2 * math.pi * k / spokes + 0.3
        pen.disc(x + radius * 0.36 * math.cos(a), y + radius * 0.36 * math.sin(a),
                 radius * 0.09, tone(paint, 0.5))
    pen.disc(x, y, radius * 0.2, tone(paint, 1.35))


def tracks(pen, paint, rng):
    """One track: belt, sprocket, idler, road wheels, links."""
    belt = (46, 43, 39)
    pen.poly([(-0.40, 0.0), (0.37, 0.0), (0.485, 0.075), (0.475, 0.165), (-0.485, 0.165),
              (-0.50, 0.085)], belt)
    pen.disc(-0.435, 0.105, 0.068, belt)
    pen.disc(0.425, 0.102, 0.066, belt)
    pen.poly([(-0.38, 0.022), (0.35, 0.022), (0.44, 0.085), (0.43, 0.14), (-0.44, 0.14),
              (-0.455, 0.09)], (22, 21, 20))
    count = int(rng.integers(5, 7))
    radius = 0.375 / count
    for k in range(count):
        wheel(pen, -0.33 + 0.66 * k / (count - 1), 0.02 + radius, radius, paint, spokes=6)
    wheel(pen, -0.432, 0.105, 0.048, paint, spokes=6)
    wheel(pen, 0.422, 0.102, 0.046, paint, spokes=6)
    for k in range(26):
        x = -0.395 + 0.76 * k / 25
        pen.line([(x, 0.001), (x, 0.019)], (104, 98, 88), 0.010)


def draw_tank(pen, rng):
    """A tank: tracks with wheels, hull, turret, gun; always in field paint."""
    paint = FIELD_PAINT[int(rng.integers(len(FIELD_PAINT)))]
    paint = tone(paint, rng.uniform(0.8, 1.1))
    dark, light, edge = tone(paint, 0.62), tone(paint, 1.42), tone(paint, 1.8)

    # Antenna first: everything else is in front of it.
    lean = rng.uniform(-0.10, 0.02)
    pen.line([(-0.22, 0.36), (-0.22 + lean, 0.36 + rng.uniform(0.16, 0.26))], (40, 42, 38), 0.009)

    tracks(pen, paint, rng)

    # Hull: side wall, sloped front plate, deck edge.
    pen.poly([(-0.49, 0.14), (-0.515, 0.225), (-0.47, 0.268), (0.27, 0.268), (0.525, 0.185),
              (0.49, 0.14)], paint)
    pen.poly([(0.27, 0.268), (0.525, 0.185), (0.51, 0.170), (0.25, 0.245)], light)
    pen.poly([(-0.47, 0.268), (0.27, 0.268), (0.25, 0.248), (-0.485, 0.248)], edge)
    if rng.random() < 0.5:                      # side skirt in panels
        pen.poly([(-0.49, 0.10), (-0.50, 0.19), (0.49, 0.19), (0.45, 0.10)], tone(paint, 0.85))
        for k in range(6):
            x = -0.36 + 0.145 * k
            pen.line([(x, 0.102), (x, 0.188)], dark, 0.010)
    else:                                       # narrow mudguard
        pen.rect(-0.505, 0.150, 0.495, 0.172, tone(paint, 1.15))
    pen.line([(-0.50, 0.145), (0.49, 0.145)], dark, 0.012)
    pen.rect(-0.40, 0.195, -0.27, 0.240, tone(paint, 0.78))     # tool box
    pen.rect(0.02, 0.195, 0.15, 0.235, tone(paint, 0.78))
    pen.disc(0.440, 0.205, 0.016, (214, 206, 160))              # head lamp

    # Gun.
    elevation = rng.uniform(-0.01, 0.10)
    reach = rng.uniform(0.78, 0.92)

    def gun(t, off):
        return (0.20 + (reach - 0.20) * t, 0.335 + elevation * t + off)

    pen.line([gun(0, 0), gun(1, 0)], tone(paint, 0.72), 0.034)
    pen.line([gun(0.02, 0.009), gun(1, 0.009)], light, 0.010)
    pen.line([gun(0.50, 0), gun(0.66, 0)], tone(paint, 0.85), 0.052)
    pen.line([gun(0.93, 0), gun(1.02, 0)], dark, 0.054)

    # Turret.
    if rng.random() < 0.5:                      # welded, angular
        shape = [(-0.27, 0.268), (-0.33, 0.325), (-0.27, 0.405), (0.06, 0.412), (0.235, 0.35),
                 (0.20, 0.268)]
        top = [(-0.27, 0.405), (0.06, 0.412), (0.235, 0.35), (0.20, 0.340), (0.05, 0.382),
               (-0.285, 0.382)]
    else:                                       # cast, round
        arc = [math.pi * k / 14 for k in range(15)]
        shape = [(-0.03 + 0.255 * math.cos(a), 0.262 + 0.152 * math.sin(a) ** 0.75) for a in arc]
        top = shape[2:13] + [(-0.03 + 0.225 * math.cos(a), 0.248 + 0.142 * math.sin(a) ** 0.75)
                             for a in reversed(arc[2:13])]
    pen.poly([(-0.42, 0.285), (-0.42, 0.365), (-0.26, 0.365), (-0.26, 0.285)], dark)  # bustle rack
    pen.line([(-0.42, 0.335), (-0.26, 0.335)], light, 0.010)
    pen.poly(shape, paint)
    pen.poly(top, edge)
    pen.poly([(-0.24, 0.268), (-0.27, 0.292), (0.215, 0.292), (0.20, 0.268)], dark)
    pen.poly([(0.17, 0.295), (0.265, 0.310), (0.265, 0.362), (0.16, 0.372)], tone(paint, 1.15))
    pen.poly([(0.17, 0.295), (0.265, 0.310), (0.265, 0.322), (0.17, 0.312)], dark)
    pen.rect(-0.15, 0.402, 0.0, 0.442, tone(paint, 1.1))        # cupola
    pen.rect(-0.15, 0.432, 0.0, 0.446, edge)
    pen.line([(-0.04, 0.452), (0.10, 0.470)], RUBBER, 0.016)    # machine gun
    if rng.random() < 0.7:                      # a white mark on the turret
        pen.disc(-0.10, 0.338, 0.026, (214, 210, 196))
        pen.disc(-0.10, 0.338, 0.013, paint)

def draw_truck(pen, rng):
    """A truck: chassis, wheels, cargo bed with tarpaulin or box, cab.

    Returns whether it is in civil paint."""
    civil = rng.random() < 0.35
    palette = CIVIL_PAINT if civil else FIELD_PAINT
    paint = tone(palette[int(rng.integers(len(palette)))], rng.uniform(0.85, 1.1))
    dark, light, edge = tone(paint, 0.62), tone(paint, 1.35), tone(paint, 1.7)

    pen.rect(-0.50, 0.105, 0.49, 0.150, (36, 35, 34))           # chassis
    pen.rect(-0.02, 0.075, 0.13, 0.140, tone(paint, 0.6))       # fuel tank
    pen.rect(-0.02, 0.122, 0.13, 0.134, tone(paint, 1.0))

    # Load.
    if rng.random() < 0.6:                      # tarpaulin over hoops
        cloth = tone(FIELD_PAINT[int(rng.integers(len(FIELD_PAINT)))], 1.25)
        pen.poly([(-0.51, 0.20), (-0.505, 0.43), (-0.47, 0.480), (-0.40, 0.497), (0.03, 0.497),
                  (0.10, 0.480), (0.135, 0.43), (0.14, 0.20)], cloth)
        pen.poly([(-0.503, 0.43), (-0.47, 0.480), (-0.40, 0.497), (0.03, 0.497), (0.10, 0.480),
                  (0.133, 0.43), (0.09, 0.458), (-0.46, 0.458)], tone(cloth, 1.32))
        for k in range(5):
            x = -0.41 + 0.115 * k
            pen.line([(x, 0.215), (x, 0.485)], tone(cloth, 0.72), 0.014)
            pen.line([(x + 0.018, 0.215), (x + 0.018, 0.485)], tone(cloth, 1.18), 0.012)
    else:                                       # box body
        box = tone(paint, 1.15) if not civil else (196, 192, 180)
        pen.rect(-0.51, 0.16, 0.14, 0.485, box)
        pen.rect(-0.51, 0.462, 0.14, 0.485, tone(box, 1.22))
        pen.rect(-0.51, 0.30, 0.14, 0.345, tone(paint, 0.9))
        for x in (-0.50, -0.185, 0.13):
            pen.line([(x, 0.165), (x, 0.48)], tone(box, 0.74), 0.012)
    pen.rect(-0.515, 0.145, 0.145, 0.225, tone(paint, 0.9))     # side boards
    pen.line([(-0.51, 0.222), (0.14, 0.222)], edge, 0.011)
    for k in range(4):
        x = -0.36 + 0.16 * k
        pen.line([(x, 0.15), (x, 0.215)], dark, 0.010)

    # Cab with bonnet or cab over engine.
    if rng.random() < 0.5:
        pen.poly([(0.165, 0.115), (0.165, 0.40), (0.19, 0.425), (0.34, 0.425), (0.385, 0.295),
                  (0.495, 0.270), (0.515, 0.24), (0.515, 0.115)], paint)
        pen.poly([(0.165, 0.40), (0.19, 0.425), (0.34, 0.425), (0.347, 0.405), (0.17, 0.398)], edge)
        pen.poly([(0.385, 0.295), (0.495, 0.270), (0.510, 0.252), (0.38, 0.272)], edge)
        glass = [(0.20, 0.295), (0.20, 0.385), (0.325, 0.385), (0.357, 0.295)]
        glint = [(0.225, 0.295), (0.265, 0.385), (0.295, 0.385), (0.255, 0.295)]
    else:
        pen.poly([(0.165, 0.115), (0.165, 0.435), (0.20, 0.465), (0.43, 0.465), (0.485, 0.30),
                  (0.50, 0.115)], paint)
        pen.poly([(0.165, 0.435), (0.20, 0.465), (0.43, 0.465), (0.437, 0.442), (0.17, 0.432)], edge)
        glass = [(0.225, 0.315), (0.225, 0.415), (0.405, 0.415), (0.440, 0.315)]
        glint = [(0.265, 0.315), (0.305, 0.415), (0.340, 0.415), (0.300, 0.315)]
    pen.poly(glass, (58, 78, 92))
    pen.poly(glint, (150, 176, 190))
    pen.line([(0.205, 0.135), (0.205, 0.29), (0.37, 0.29), (0.37, 0.20)], dark, 0.010)
    pen.rect(0.225, 0.245, 0.262, 0.257, edge)                  # door handle
    pen.rect(0.455, 0.095, 0.530, 0.140, tone(RUBBER, 1.6))     # bumper
    pen.disc(0.490, 0.195, 0.022, (236, 226, 176))              # head lamp
    pen.line([(0.165, 0.42), (0.150, 0.52)], RUBBER, 0.020)     # exhaust stack

    # Mudguards and wheels.
    axles = [-0.375, -0.185, 0.345] if rng.random() < 0.65 else [-0.31, 0.345]
    for x in axles:
        pen.disc(x, 0.098, 0.108, (24, 23, 23))
        pen.line([(x - 0.105, 0.15), (x - 0.07, 0.197), (x + 0.07, 0.197), (x + 0.105, 0.15)],
                 light, 0.018)
        wheel(pen, x, 0.090, 0.090, paint, spokes=6)
    return civil


def finish(picture, mask, noise, camouflage, light_from_above=0.30):
    """Shade a drawn vehicle from top to bottom and give it camouflage and dust.

    `picture` (float array 0..255) is changed in place where `mask` (bool) is true;
    `noise` is a smooth field with values about -1..1.
    """
    rows, cols = np.nonzero(mask)
    if rows.size == 0:
        return
    top, bottom = rows.min(), rows.max() + 1
    box = (slice(top, bottom), slice(cols.min(), cols.max() + 1))
    inside = mask[box][..., None]
    part = picture[box]
    t = np.linspace(1.0, 0.0, bottom - top)[:, None, None]
    shaded = part * (1.0 + light_from_above * (t - 0.55))
    if camouflage is not None:
        upper = np.clip((t - 0.36) * 12.0, 0.0, 1.0)            # not on tracks and wheels
        blotch = np.clip((noise[box][..., None] - 0.18) * 9.0, 0.0, 1.0) * upper * 0.5
        grey = shaded.mean(axis=2, keepdims=True) / 80.0
        shaded = shaded * (1 - blotch) + np.array(camouflage) * grey * blotch
    dust = np.clip((0.30 - t) / 0.30, 0.0, 1.0) * 0.16
    shaded = shaded * (1 - dust) + np.array([128.0, 112.0, 88.0]) * dust
    picture[box] = np.where(inside, np.clip(shaded, 0, 255), part)


def draw(kind, picture, mask, rng, x, y, scale, facing, tilt):
    """Draw a "tank" or a "truck" into an RGB Pillow image and an L mask image.

    Returns whether the vehicle wears civil paint (and should get no camouflage).
    """
    pen = Pen(picture, mask, x, y, scale, facing, tilt)
    if kind == "tank":
        draw_tank(pen, rng)
        return False
    if kind == "truck":
        return draw_truck(pen, rng)
    raise ValueError(f"unknown vehicle: {kind!r}")


def blank_mask(width, height):
    """An empty mask to draw into."""
    return Image.new("L", (width, height), 0)
