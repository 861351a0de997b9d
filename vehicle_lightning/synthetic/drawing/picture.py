"""Composes one picture: a place, the main vehicle, and what stands between it and the camera."""

from numpy.random import Generator
from PIL import Image

from vehicle_lightning.synthetic.drawing import scenery
from vehicle_lightning.synthetic.drawing.bodies import Body
from vehicle_lightning.synthetic.drawing.camera import choose_view
from vehicle_lightning.synthetic.drawing.canvas import Brush, Canvas
from vehicle_lightning.synthetic.drawing.chance import between, happens, pick
from vehicle_lightning.synthetic.drawing.daylight import choose_light, develop
from vehicle_lightning.synthetic.drawing.liveries import choose_vehicle
from vehicle_lightning.synthetic.drawing.places import Thing, choose_place
from vehicle_lightning.synthetic.drawing.vehicle import draw_vehicle


def draw_picture(rng: Generator, *, emergency: bool, image_size: int) -> Image.Image:
    """A square RGB picture, `image_size` pixels a side, of one main vehicle.

    `emergency` says whether it belongs to police, fire brigade or rescue; all else is up to `rng`.
    """
    vehicle = choose_vehicle(rng, emergency)
    body = vehicle.body
    canvas = Canvas(image_size, choose_light(rng))
    view = choose_view(rng, body.length, body.width, body.height, canvas.light.sun, canvas.size)
    brush = Brush(canvas, view)
    things = [thing for thing in choose_place(rng, brush) if _in_sight(brush, thing, body)]
    for thing in sorted(things, key=lambda thing: -view.depth((thing.x, thing.y, 0.0))):
        thing.draw(brush.beside(thing.x, thing.y, thing.heading))
    draw_vehicle(vehicle, brush.beside(0.0, 0.0, between(rng, -0.07, 0.07)))
    if happens(rng, 0.25):
        _obstruct(rng, brush, body)
    return develop(rng, canvas)


def _in_sight(brush: Brush, thing: Thing, body: Body) -> bool:
    """Whether a thing may be drawn: inside the picture, and not in front of the main vehicle."""
    view = brush.view
    depth = view.depth((thing.x, thing.y, 1.0))
    if depth < 2.0 + thing.reach * 0.3:
        return False
    ((x, _),) = view.project([(thing.x, thing.y, 1.0)])[0]
    margin = view.focal * thing.reach / depth
    if not -margin < x < brush.canvas.size + margin:
        return False
    main = view.depth((0.0, 0.0, 1.0))
    if depth - thing.reach > main:
        return True
    half = view.focal * 0.5 * body.length / main
    return depth > 0.3 * main and abs(x - view.centre[0]) > half + margin


def _obstruct(rng: Generator, brush: Brush, body: Body) -> None:
    """Put something slender or low between the camera and the main vehicle."""
    view = brush.view
    share = between(rng, 0.3, 0.62)
    aside = between(rng, -0.5, 0.5) * body.length
    x = view.eye[0] * share + view.right[0] * aside
    y = view.eye[1] * share + view.right[1] * aside
    if view.depth((x, y, 1.0)) < 2.5:
        return
    kinds = ("lamp", "sign", "person", "people", "bush", "fence", "tree")
    # From above, the head of a tree would hide everything.
    kind = pick(rng, kinds if view.eye[2] < 2.1 else kinds[:-1])
    spot = brush.beside(x, y)
    match kind:
        case "lamp":
            scenery.lamp_post(rng, spot)
        case "sign":
            scenery.road_sign(rng, spot)
        case "person":
            scenery.person(rng, spot)
        case "people":
            for step in (-0.6, 0.3):
                shift = step + between(rng, -0.3, 0.3)
                at = (x + view.right[0] * shift, y + view.right[1] * shift)
                scenery.person(rng, brush.beside(*at))
        case "tree":
            scenery.tree(rng, spot, between(rng, 6, 9))
        case "bush":
            scenery.bush(rng, spot, between(rng, 0.5, 0.9))
        case "fence":
            along = brush.beside(x - 12 * view.right[0], y - 12 * view.right[1])
            scenery.fence(rng, along, 24.0)
